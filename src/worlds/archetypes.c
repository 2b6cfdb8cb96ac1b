/* Mixtures of a few archetypes: x = sum_i w_i a_i + noise, with w on the simplex, so that but for the noise every item
 * lies in the convex hull of the archetypes. With `frame` orthogonal the a_i are at right angles and the weights free:
 * what sparse dictionaries are made for, and no hull. Archetypes hang on the seed alone, so that any number of items
 * has the same. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

enum { STREAM_ARCHETYPES = 0x61726368, MOST_ACTIVE = 256 };
enum { N, D, ACTIVE, NOISE, FRAME };

static const sg_option options[] = {
    {"n", SG_OPTION_WHOLE, "64", 1, 1 << 16, NULL, "archetypes"},
    {"d", SG_OPTION_WHOLE, "64", 1, 1 << 16, NULL, "numbers of an item"},
    {"active", SG_OPTION_WHOLE, "4", 1, MOST_ACTIVE, NULL, "archetypes that an item is mixed of"},
    {"noise", SG_OPTION_REAL, "0.02", 0, 1e3, NULL, "deviation of what is added to each number"},
    {"frame", SG_OPTION_CHOICE, "hull", 0, 0, "hull|orthogonal",
     "random archetypes without negative numbers and weights that sum to 1; or orthogonal ones with weights from .5 to "
     "1.5"},
};

static const sg_world_field fields[] = {
    {"x", "[count,d] the items"},
    {"weights", "[count,n] of each archetype in each item, 0 where it takes no part"},
    {"archetypes", "[n,d] of length 1"},
};

static sg_status shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const sg_dim n = (sg_dim)option[N], d = (sg_dim)option[D], active = (sg_dim)option[ACTIVE];

    if (active > n)
        return sg_fail(err, SG_EARG, "archetypes: items of %lld of %lld archetypes", (long long)active, (long long)n);
    if (option[FRAME] > 0 && n > d)
        return sg_fail(err, SG_EARG, "archetypes: %lld directions at right angles in %lld dimensions", (long long)n,
                       (long long)d);
    field[0] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, d}, NULL);
    field[1] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, n}, NULL);
    field[2] = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, NULL);
    return SG_OK;
}

static void to_length_1(float *row, sg_dim d)
{
    double sum = 0;

    for (sg_dim c = 0; c < d; c++)
        sum += (double)row[c] * (double)row[c];
    for (sg_dim c = 0; c < d; c++)
        row[c] = (float)((double)row[c] / sqrt(sum));
}

/* Random directions; orthogonal ones by Gram and Schmidt, twice for the sake of f32. */
static void make_archetypes(float *a, sg_dim n, sg_dim d, bool orthogonal, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, STREAM_ARCHETYPES);

    for (sg_dim i = 0; i < n; i++) {
        float *row = a + i * d;
        for (sg_dim c = 0; c < d; c++)
            row[c] = (float)(orthogonal ? sg_rng_normal(&r) : fabs(sg_rng_normal(&r)));
        for (sg_dim j = 0; j < 2 * i && orthogonal; j++) {
            const float *other = a + j % i * d;
            double dot = 0;
            for (sg_dim c = 0; c < d; c++)
                dot += (double)row[c] * (double)other[c];
            for (sg_dim c = 0; c < d; c++)
                row[c] -= (float)(dot * (double)other[c]);
        }
        to_length_1(row, d);
    }
}

static void sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const sg_dim n = (sg_dim)option[N], d = (sg_dim)option[D], active = (sg_dim)option[ACTIVE];
    const bool orthogonal = option[FRAME] > 0;
    float *x = field[0].data, *weights = field[1].data, *archetypes = field[2].data;
    sg_rng r = sg_rng_new(from.seed, from.stream);

    r.step = from.step;
    make_archetypes(archetypes, n, d, orthogonal, from.seed);
    memset(x, 0, sg_tensor_bytes(&field[0]));
    memset(weights, 0, sg_tensor_bytes(&field[1]));
    for (sg_dim i = 0; i < count; i++) {
        float *w = weights + i * n, *row = x + i * d;
        sg_dim who[MOST_ACTIVE];
        double part[MOST_ACTIVE], sum = 0;
        for (sg_dim k = 0;
             k < active;) { /* different ones; exponential parts over their sum are Dirichlet(1, ..., 1) */
            const sg_dim at = sg_rng_below(&r, (uint32_t)n);
            bool again = false;
            for (sg_dim j = 0; j < k; j++)
                again |= who[j] == at;
            if (again)
                continue;
            who[k] = at;
            part[k] = orthogonal ? 0.5 + sg_rng_uniform(&r) : -sg_math_log(1 - sg_rng_uniform(&r));
            sum += part[k++];
        }
        for (sg_dim k = 0; k < active; k++) {
            const double own = orthogonal ? part[k] : part[k] / sum;
            w[who[k]] = (float)own;
            for (sg_dim c = 0; c < d; c++)
                row[c] += (float)(own * (double)archetypes[who[k] * d + c]);
        }
        for (sg_dim c = 0; c < d && option[NOISE] > 0; c++)
            row[c] += (float)(option[NOISE] * sg_rng_normal(&r));
    }
}

const sg_world sg_world_archetypes = {
    .name = "archetypes",
    .help = "mixtures of a few of many archetypes, which span the hull that all items lie in",
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = shape,
    .sample = sample,
};
