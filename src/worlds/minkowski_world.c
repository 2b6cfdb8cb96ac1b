/* Sums of polytopes: an item is the sum of one point of each factor, and a point is a mixture of the factor's vertices
 * with weights from Dirichlet's distribution. What attention writes has this form (Fel et al., "Into the Rabbit Hull",
 * 2025), one factor for each head. The vertices hang on the seed alone, so that items of another stream lie in the same
 * sum.
 *
 * A cloud of equal mean and covariance that is no such sum, for a control: the covariance of Dirichlet weights, (1/n on
 * the diagonal less 1/n^2) / (n a + 1), is also that of 1/n + (g_i - mean g) / sqrt(n (n a + 1)) with g standard
 * normal. */
#include <math.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

enum { D, FACTORS, LEAST, CONCENTRATION, CLOUD, NOISE, N_OPTIONS };
enum { X, WEIGHTS, VERTICES, FACTOR, N_FIELDS };
enum { STREAM_OF_VERTICES = 0x6d696e6b };

static const sg_option options[N_OPTIONS] = {
    {"d", SG_OPTION_WHOLE, "32", 1, 4096, NULL, "dimensions"},
    {"factors", SG_OPTION_WHOLE, "3", 1, 64, NULL, "polytopes that are added"},
    {"least", SG_OPTION_WHOLE, "3", 1, 256, NULL, "vertices of the first; each further one has one more"},
    {"concentration", SG_OPTION_REAL, "1", 0.01, 1000, NULL,
     "of the weights: 1 is uniform, less is nearer to the vertices"},
    {"cloud", SG_OPTION_CHOICE, "sum", 0, 0, "sum|gaussian",
     "a sum of polytopes, or a normal cloud of equal covariance"},
    {"noise", SG_OPTION_REAL, "0.01", 0, 1e6, NULL, "deviation of what is added to each number"},
};

static const sg_world_field fields[N_FIELDS] = {
    {"x", "[count,d] the sums"},
    {"weights", "[count,vertices] of each vertex, so that x = weights vertices + noise"},
    {"vertices", "[vertices,d] of all factors, one behind the other; numbers of deviation 1"},
    {"factor", "[vertices] to which factor a vertex belongs"},
};

static sg_dim vertices_of(const double *option)
{
    const sg_dim factors = (sg_dim)option[FACTORS];
    return factors * (sg_dim)option[LEAST] + factors * (factors - 1) / 2;
}

static sg_status shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const sg_dim d = (sg_dim)option[D], k = vertices_of(option);
    (void)err;
    field[X] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, d}, NULL);
    field[WEIGHTS] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, k}, NULL);
    field[VERTICES] = sg_tensor_of(SG_F32, 2, (sg_dim[]){k, d}, NULL);
    field[FACTOR] = sg_tensor_of(SG_I32, 1, &k, NULL);
    return SG_OK;
}

/* Marsaglia and Tsang (2000); for a < 1 by u^(1/a) of a + 1. */
static double gamma_of(sg_rng *r, double a)
{
    if (a < 1)
        return gamma_of(r, a + 1) * sg_math_pow(fmax(sg_rng_uniform(r), 1e-300), 1 / a);
    const double d = a - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        const double x = sg_rng_normal(r), v = (1 + c * x) * (1 + c * x) * (1 + c * x);
        if (v > 0 && sg_math_log(fmax(sg_rng_uniform(r), 1e-300)) < x * x / 2 + d - d * v + d * sg_math_log(v))
            return d * v;
    }
}

static void weigh(float *w, sg_dim n, const double *option, sg_rng *r)
{
    const double a = option[CONCENTRATION];
    double sum = 0;
    for (sg_dim i = 0; i < n; i++) {
        w[i] = (float)((int)option[CLOUD] ? sg_rng_normal(r) : gamma_of(r, a));
        sum += (double)w[i];
    }
    if ((int)option[CLOUD]) {
        const double scale = 1 / sqrt((double)n * ((double)n * a + 1)), mean = sum / (double)n;
        for (sg_dim i = 0; i < n; i++)
            w[i] = (float)(1 / (double)n + ((double)w[i] - mean) * scale);
        return;
    }
    for (sg_dim i = 0; i < n; i++) /* all of a few may underflow where the concentration is very small */
        w[i] = sum > 0 ? (float)((double)w[i] / sum) : (float)(i == 0);
}

static void sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const sg_dim d = (sg_dim)option[D], factors = (sg_dim)option[FACTORS], least = (sg_dim)option[LEAST],
                 k = vertices_of(option);
    float *x = field[X].data, *weights = field[WEIGHTS].data, *vertices = field[VERTICES].data;
    int32_t *factor = field[FACTOR].data;
    sg_rng r = sg_rng_new(from.seed, STREAM_OF_VERTICES);
    for (sg_dim i = 0; i < k * d; i++)
        vertices[i] = (float)sg_rng_normal(&r);
    for (sg_dim f = 0, at = 0; f < factors; f++)
        for (sg_dim i = 0; i < least + f; i++)
            factor[at++] = (int32_t)f;
    for (sg_dim n = 0; n < count; n++) {
        float *w = weights + n * k, *to = x + n * d;
        r = sg_rng_new(from.seed, from.stream);
        r.step = from.step + (uint64_t)n;
        for (sg_dim f = 0, at = 0; f < factors; at += least + f++)
            weigh(w + at, least + f, option, &r);
        for (sg_dim j = 0; j < d; j++) {
            double sum = 0;
            for (sg_dim i = 0; i < k; i++)
                sum += (double)w[i] * (double)vertices[i * d + j];
            to[j] = (float)(sum + (option[NOISE] > 0 ? option[NOISE] * sg_rng_normal(&r) : 0));
        }
    }
}

const sg_world sg_world_minkowski = {
    .name = "minkowski",
    .help = "sums of points of several polytopes, whose vertices are known",
    .n_options = N_OPTIONS,
    .options = options,
    .n_fields = N_FIELDS,
    .fields = fields,
    .shape = shape,
    .sample = sample,
};
