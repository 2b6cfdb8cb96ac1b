/* Picking one of k by softmax(Q / beta): its law for k draws, the limit of that law, and what it earns. */
#include "sightglass/qprobe.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { MOST_SETS = 2000000 };
#define MOST_RANGE 600.0 /* of q / beta; e^-600 is a normal number */

/* ---- picking ---- */

void sg_qprobe_weights(double *out, const double *score, int k, double beta)
{
    int best = 0;
    double sum = 0;
    for (int i = 1; i < k; i++)
        best = score[i] > score[best] ? i : best;
    for (int i = 0; i < k; i++) {
        /* The difference comes first: it is 0 or less, so that nothing overflows however small beta is. */
        const double away = score[i] - score[best];
        out[i] = beta > 0 ? (isinf(beta) ? 1 : exp(away / beta)) : i == best;
        sum += out[i];
    }
    for (int i = 0; i < k; i++)
        out[i] /= sum;
}

int sg_qprobe_pick(const double *score, int k, double beta, sg_rng *rng)
{
    int best = 0, last = 0;
    double sum = 0;
    for (int i = 1; i < k; i++)
        best = score[i] > score[best] ? i : best;
    if (k <= 1 || !(beta > 0))
        return best;
    for (int i = 0; i < k; i++)
        sum += isinf(beta) ? 1 : exp((score[i] - score[best]) / beta);
    double left = sg_rng_uniform(rng) * sum;
    for (int i = 0; i < k; i++) {
        const double w = isinf(beta) ? 1 : exp((score[i] - score[best]) / beta);
        last = w > 0 ? i : last;
        left -= w;
        if (left < 0)
            return i;
    }
    return last; /* rounding */
}

/* ---- laws ---- */

static sg_status check_law(int n, const double *pi0, const double *q, int k, double beta, sg_error *err)
{
    double sum = 0, low = HUGE_VAL, high = -HUGE_VAL;
    if (n < 1 || k < 1 || !(beta > 0) || isinf(beta))
        return sg_fail(err, SG_EARG, "q-probe: the law of %d draws from %d completions at beta %g", k, n, beta);
    for (int a = 0; a < n; a++) {
        if (!(pi0[a] >= 0) || !isfinite(q[a]))
            return sg_fail(err, SG_EARG, "q-probe: completion %d has probability %g and score %g", a, pi0[a], q[a]);
        sum += pi0[a];
        if (pi0[a] > 0) {
            low = fmin(low, q[a]);
            high = fmax(high, q[a]);
        }
    }
    if (fabs(sum - 1) > 1e-6)
        return sg_fail(err, SG_EARG, "q-probe: probabilities sum to %g", sum);
    if ((high - low) / beta > MOST_RANGE)
        return sg_fail(err, SG_EUNSUPPORTED, "q-probe: scores differ by %g beta, wanted at most %g",
                       (high - low) / beta, MOST_RANGE);
    return SG_OK;
}

/* exp(q / beta), the largest of those that occur being 1. */
static void weigh(double *w, int n, const double *pi0, const double *q, double beta)
{
    double high = -HUGE_VAL;
    for (int a = 0; a < n; a++)
        high = pi0[a] > 0 ? fmax(high, q[a]) : high;
    for (int a = 0; a < n; a++)
        w[a] = pi0[a] > 0 ? exp((q[a] - high) / beta) : 0;
}

sg_status sg_qprobe_law(double *out, int n, const double *pi0, const double *q, int k, double beta, sg_error *err)
{
    /* The integrand is analytic where |Im log t| < pi / 2, and the rule's error is about e^(-pi^2 / step). */
    const double step = .1;
    SG_TRY(check_law(n, pi0, q, k, beta, err));
    double *w = malloc(2 * (size_t)n * sizeof *w), *decay = w ? w + n : NULL, least = 1;
    if (!w)
        return sg_fail(err, SG_ENOMEM, "q-probe: out of memory");
    weigh(w, n, pi0, q, beta);
    for (int a = 0; a < n; a++) {
        least = pi0[a] > 0 ? fmin(least, w[a]) : least;
        out[a] = 0;
    }
    for (double u = -40; u < log(800 / least); u += step) {
        const double t = exp(u);
        double mean = 0;
        for (int a = 0; a < n; a++) {
            decay[a] = exp(-t * w[a]);
            mean += pi0[a] * decay[a];
        }
        const double others = pow(mean, k - 1);
        for (int a = 0; a < n; a++)
            out[a] += step * k * pi0[a] * w[a] * t * decay[a] * others;
    }
    free(w);
    return SG_OK;
}

typedef struct sets {
    int n, k;
    const double *pi0, *w;
    int *count;
    double *out;
} sets;

/* Completions from `a` on get the `left` draws that remain; p is the multinomial probability so far, sum the weights.
 */
static void go_through(sets *s, int a, int left, double p, double sum)
{
    if (a == s->n - 1) {
        s->count[a] = left;
        p *= pow(s->pi0[a], left); /* its coefficient is 1: all that remain */
        sum += left * s->w[a];
        for (int b = 0; b < s->n && p > 0; b++)
            s->out[b] += p * s->count[b] * s->w[b] / sum;
        return;
    }
    double choose = 1; /* left over c, times pi0^c */
    for (int c = 0; c <= left; c++) {
        s->count[a] = c;
        go_through(s, a + 1, left - c, p * choose, sum + c * s->w[a]);
        choose *= s->pi0[a] * (left - c) / (c + 1);
    }
}

sg_status sg_qprobe_law_by_sets(double *out, int n, const double *pi0, const double *q, int k, double beta,
                                sg_error *err)
{
    double n_sets = 1;
    SG_TRY(check_law(n, pi0, q, k, beta, err));
    for (int i = 1; i < n; i++)
        n_sets *= (double)(k + i) / i;
    if (n_sets > MOST_SETS)
        return sg_fail(err, SG_EUNSUPPORTED, "q-probe: %.3g multisets of %d of %d, wanted at most %d", n_sets, k, n,
                       MOST_SETS);
    double *w = malloc((size_t)n * sizeof *w);
    int *count = calloc((size_t)n, sizeof *count);
    if (!w || !count) {
        free(w);
        free(count);
        return sg_fail(err, SG_ENOMEM, "q-probe: out of memory");
    }
    weigh(w, n, pi0, q, beta);
    memset(out, 0, (size_t)n * sizeof *out);
    sets s = {n, k, pi0, w, count, out};
    go_through(&s, 0, k, 1, 0);
    free(w);
    free(count);
    return SG_OK;
}

sg_status sg_qprobe_limit(double *out, int n, const double *pi0, const double *q, double beta, sg_error *err)
{
    double sum = 0;
    SG_TRY(check_law(n, pi0, q, 1, beta, err));
    weigh(out, n, pi0, q, beta);
    for (int a = 0; a < n; a++)
        sum += out[a] *= pi0[a];
    for (int a = 0; a < n; a++)
        out[a] /= sum;
    return SG_OK;
}

double sg_qprobe_distance(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += fabs(a[i] - b[i]) / 2;
    return sum;
}

double sg_qprobe_kl(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] > 0 ? a[i] * log(a[i] / b[i]) : 0;
    return sum;
}

double sg_qprobe_best_kl(int k)
{
    return log(k) - (k - 1.0) / k;
}

/* ---- judging ---- */

typedef struct tally {
    sg_dim n; /* groups that have a set */
    double *picked, *random, *sets;
    double oracle;
} tally;

static sg_dim end_of(const int32_t *group, sg_dim n, sg_dim first)
{
    sg_dim end = first;
    while (end < n && group[end] == group[first])
        end++;
    return end;
}

static void count_group(tally *t, double *room, sg_dim first, sg_dim end, const double *score, const double *reward,
                        int k, double beta)
{
    double picked = 0, random = 0, sets_of = 0;
    for (sg_dim i = first; i + k <= end; i += k, sets_of++) {
        double best = reward[i];
        sg_qprobe_weights(room, score + i, k, beta);
        for (int j = 0; j < k; j++) {
            picked += room[j] * reward[i + j];
            random += reward[i + j] / k;
            best = fmax(best, reward[i + j]);
        }
        t->oracle += best;
    }
    if (!(sets_of > 0))
        return;
    t->picked[t->n] = picked;
    t->random[t->n] = random;
    t->sets[t->n++] = sets_of;
}

static sg_status rates(sg_qprobe_rates *out, const tally *t, uint64_t seed, sg_error *err)
{
    sg_bootstrap_opts opts = sg_bootstrap_defaults();
    double picked = 0, random = 0, sets_of = 0, squares = 0;
    for (sg_dim g = 0; g < t->n; g++) {
        picked += t->picked[g];
        random += t->random[g];
        sets_of += t->sets[g];
    }
    *out = (sg_qprobe_rates){.n_sets = (sg_dim)sets_of,
                             .picked = picked / sets_of,
                             .random = random / sets_of,
                             .oracle = t->oracle / sets_of};
    for (sg_dim g = 0; g < t->n; g++) {
        const double off = t->random[g] - out->random * t->sets[g];
        squares += off * off;
    }
    out->random_error = t->n > 1 ? sqrt(squares * (double)t->n / (double)(t->n - 1)) / sets_of : (double)NAN;
    opts.seed = seed;
    SG_TRY(sg_bootstrap_ratio(&out->within, t->n, t->picked, t->sets, opts, err));
    return sg_bootstrap_ratio(&out->random_within, t->n, t->random, t->sets, opts, err);
}

sg_status sg_qprobe_judge(sg_qprobe_rates *out, sg_dim n, const double *score, const double *reward,
                          const int32_t *group, int k, double beta, uint64_t seed, sg_error *err)
{
    *out = (sg_qprobe_rates){.n_sets = 0};
    if (k < 1 || n < k || !(beta >= 0))
        return sg_fail(err, SG_EARG, "q-probe: the pick of %d among %" PRId64 " samples at beta %g", k, n, beta);
    double *room = malloc((size_t)(3 * n + k) * sizeof *room);
    if (!room)
        return sg_fail(err, SG_ENOMEM, "q-probe: out of memory");
    tally t = {.picked = room, .random = room + n, .sets = room + 2 * n};
    for (sg_dim first = 0, end; first < n; first = end) {
        end = end_of(group, n, first);
        count_group(&t, room + 3 * n, first, end, score, reward, k, beta);
    }
    const sg_status status =
        t.n ? rates(out, &t, seed, err) : sg_fail(err, SG_EARG, "q-probe: no group has %d samples", k);
    free(room);
    return status;
}

void sg_qprobe_shuffle(double *reward, sg_dim n, const int32_t *group, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 0);
    for (sg_dim first = 0, end; first < n; first = end) {
        end = end_of(group, n, first);
        for (sg_dim i = end - 1; i > first; i--) {
            const sg_dim at = first + sg_rng_below(&r, (uint32_t)(i - first + 1));
            const double kept = reward[i];
            reward[i] = reward[at];
            reward[at] = kept;
        }
    }
}
