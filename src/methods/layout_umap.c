/* UMAP (McInnes, Healy, Melville 2018): a fuzzy set of links between neighbours, and a layout whose own fuzzy set is
 * like it.
 *
 * Links are drawn as often as they weigh, each pulls its two ends together and pushes the first away from some points
 * drawn at random. One thread does this, in an order that is fixed: it takes seconds, and more threads would give other
 * bytes. */
#include <math.h>
#include <stdlib.h>

#include "base/math.h"
#include "methods/layout_internal.h"
#include "sightglass/rng.h"

enum { STREAM = 0x756d6170, STREAM_START = 0x756d6171 };
#define CLIP 4.0 /* of a step's components */

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "layout: out of memory");
}

/* ---- memberships ---- */

/* exp(-(d - rho) / sigma), rho the nearest that is no copy, sigma such that they sum to log2 of their number. */
static void memberships(double *p, const double *far, sg_dim k, double mean_of_all)
{
    double rho = 0, mean = 0, sigma = 1, low = 0, high = (double)INFINITY;
    const double wanted = sg_math_log((double)k + 1) / sg_math_log(2);
    for (sg_dim j = k; j-- > 0;) {
        rho = far[j] > 0 ? far[j] : rho;
        mean += far[j] / (double)k;
    }
    for (int round = 0; round < 64; round++) {
        double sum = 0;
        for (sg_dim j = 0; j < k; j++)
            sum += far[j] > rho ? sg_math_exp(-(far[j] - rho) / sigma) : 1;
        if (fabs(sum - wanted) < 1e-5)
            break;
        if (sum > wanted)
            high = sigma;
        else
            low = sigma;
        sigma = isfinite(high) ? (low + high) / 2 : 2 * sigma;
    }
    /* Never below a thousandth of how far points lie apart, as the authors' code has it. */
    sigma = fmax(sigma, 1e-3 * (rho > 0 ? mean : mean_of_all));
    for (sg_dim j = 0; j < k; j++)
        p[j] = far[j] > rho && sigma > 0 ? sg_math_exp(-(far[j] - rho) / sigma) : 1;
}

static sg_status fuzzy_set(layout_weights *out, const sg_neighbours *near, sg_error *err)
{
    double *p = malloc(sizeof *p * (size_t)(near->n * near->k)), mean = 0;
    if (!p)
        return no_memory(err);
    for (sg_dim i = 0; i < near->n * near->k; i++)
        mean += near->distance[i] / (double)(near->n * near->k);
    for (sg_dim i = 0; i < near->n; i++)
        memberships(p + i * near->k, near->distance + i * near->k, near->k, mean);
    const sg_status status = layout_unite(out, near, p, true, err);
    free(p);
    return status;
}

/* ---- the curve ---- */

/* Gauss and Newton with damping, on 300 distances from 0 to 3 spreads. */
void layout_umap_curve(double *a, double *b, double min_dist, double spread)
{
    enum { POINTS = 300 };
    double damping = 1e-3, best = (double)INFINITY;
    *a = *b = 1;
    for (int round = 0; round < 200; round++) {
        double aa = 0, ab = 0, bb = 0, ra = 0, rb = 0, error = 0;
        for (int i = 0; i < POINTS; i++) {
            const double d = 3 * spread * i / (POINTS - 1);
            const double want = d < min_dist ? 1 : sg_math_exp(-(d - min_dist) / spread);
            const double power = d > 0 ? sg_math_pow(d, 2 * *b) : 0, f = 1 / (1 + *a * power);
            const double by_a = -f * f * power, by_b = d > 0 ? -f * f * *a * power * 2 * sg_math_log(d) : 0;
            const double off = want - f;
            error += off * off;
            aa += by_a * by_a, ab += by_a * by_b, bb += by_b * by_b;
            ra += by_a * off, rb += by_b * off;
        }
        if (fabs(best - error) < 1e-15)
            break;
        best = error;
        const double p = aa * (1 + damping), q = bb * (1 + damping), det = p * q - ab * ab;
        *a = fmax(*a + (q * ra - ab * rb) / det, 1e-3);
        *b = fmax(*b + (p * rb - ab * ra) / det, 1e-3);
    }
}

/* ---- descent ---- */

/* The components scaled into [0,10], with a little noise so that copies can part. */
static void start(double *y, sg_dim n, uint64_t seed)
{
    double most = 0;
    sg_rng r = sg_rng_new(seed, STREAM_START);
    for (sg_dim i = 0; i < 2 * n; i++)
        most = fmax(most, fabs(y[i]));
    for (sg_dim i = 0; i < 2 * n; i++)
        y[i] = (most > 0 ? 10 * y[i] / most : 0) + 1e-4 * sg_rng_normal(&r);
    for (int k = 0; k < 2; k++) {
        double low = (double)INFINITY, high = -(double)INFINITY;
        for (sg_dim i = 0; i < n; i++) {
            low = fmin(low, y[2 * i + k]);
            high = fmax(high, y[2 * i + k]);
        }
        for (sg_dim i = 0; i < n; i++)
            y[2 * i + k] = high > low ? 10 * (y[2 * i + k] - low) / (high - low) : 0;
    }
}

static double clip(double x)
{
    return x > CLIP ? CLIP : x < -CLIP ? -CLIP : x;
}

typedef struct curve {
    double a, b;
} curve;

/* x^b for x > 0 to about 2e-5 of it, far below the noise of the draws: 2^(b log2 x), each by a polynomial in IEEE
 * operations. */
static inline double power(double x, double b)
{
    const uint64_t bits = sg_math_bits(x);
    const double m = sg_math_double((bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u), t = m - 1; /* [0,1) */
    /* log2(1 + t), least squares on Chebyshev's points, exact at both ends. */
    const double log2 =
        t * (1.442662765256 +
             t * (-0.720487838641 +
                  t * (0.472915651710 +
                       t * (-0.323972021274 + t * (0.191330606663 + t * (-0.077314625592 + t * (0.014865461877)))))));
    const double e = b * ((double)((int64_t)(bits >> 52) - 1023) + log2);
    const double clamped = e < -1000 ? -1000 : e > 1000 ? 1000 : e, whole = clamped + SG_MATH_WHOLE;
    const double f = (clamped - (whole - SG_MATH_WHOLE)) * .69314718055994531; /* |f| <= .35 */
    return sg_math_power(whole) * (1 + f * (1 + f * (.5 + f * (1. / 6 + f * (1. / 24 + f * (1. / 120))))));
}

static void pull(double *one, double *other, const curve *c, double rate)
{
    const double dx = one[0] - other[0], dy = one[1] - other[1], d2 = dx * dx + dy * dy;
    if (!(d2 > 0))
        return;
    const double p = power(d2, c->b), by = -2 * c->a * c->b * p / (d2 * (1 + c->a * p));
    const double x = rate * clip(by * dx), y = rate * clip(by * dy);
    one[0] += x, one[1] += y;
    other[0] -= x, other[1] -= y;
}

static void push(double *one, const double *other, const curve *c, double rate)
{
    const double dx = one[0] - other[0], dy = one[1] - other[1], d2 = dx * dx + dy * dy;
    if (!(d2 > 0))
        return;
    const double p = power(d2, c->b), by = 2 * c->b / ((.001 + d2) * (1 + c->a * p));
    one[0] += rate * clip(by * dx);
    one[1] += rate * clip(by * dy);
}

static sg_status descend(double *y, const layout_weights *w, double *next, const sg_layout_opts *opts, sg_error *err)
{
    const sg_dim n = w->n;
    const int n_steps = opts->n_steps > 0 ? opts->n_steps : n > 10000 ? 200 : 500;
    double heaviest = 0, a, b;
    sg_rng r = sg_rng_new(opts->seed, STREAM);
    layout_umap_curve(&a, &b, opts->min_dist, opts->spread);
    const curve c = {a, b};
    for (sg_dim l = 0; l < w->first[n]; l++)
        heaviest = fmax(heaviest, w->weight[l]);
    /* The heaviest link is drawn in every step, others in proportion; next[l]: the step at which it is due. */
    for (sg_dim l = 0; l < w->first[n]; l++)
        next[l] = heaviest / w->weight[l];
    for (int step = 0; step < n_steps; step++) {
        const double rate = 1 - (double)step / (double)n_steps;
        SG_TRY(layout_tell(opts, step, n_steps, err));
        for (sg_dim i = 0; i < n; i++)
            for (sg_dim l = w->first[i]; l < w->first[i + 1]; l++) {
                if (next[l] > (double)step + 1 || w->weight[l] * (double)n_steps < heaviest)
                    continue;
                next[l] += heaviest / w->weight[l];
                pull(y + 2 * i, y + 2 * w->to[l], &c, rate);
                for (int k = 0; k < opts->n_negative; k++) {
                    const sg_dim other = (sg_dim)((uint64_t)sg_rng_word(&r) * (uint64_t)n >> 32);
                    if (other != i)
                        push(y + 2 * i, y + 2 * other, &c, rate);
                }
            }
    }
    return SG_OK;
}

sg_status layout_umap(double *y, const sg_neighbours *near, const sg_layout_opts *opts, sg_error *err)
{
    layout_weights w = {0};
    sg_status status = fuzzy_set(&w, near, err);
    double *next = status == SG_OK ? malloc(sizeof *next * (size_t)w.first[near->n]) : NULL;
    if (status == SG_OK && !next)
        status = no_memory(err);
    if (status == SG_OK) {
        start(y, near->n, opts->seed);
        status = descend(y, &w, next, opts, err);
    }
    free(next);
    layout_weights_free(&w);
    return status;
}
