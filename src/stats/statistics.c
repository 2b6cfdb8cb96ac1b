/* Moments in two passes, ranks by one sort, tests from both. */
#include "sightglass/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/rng.h"

enum { STREAM = 0x7065726d };

static sg_test no_test(void)
{
    const double x = nan("");
    return (sg_test){x, x, x, x, x, x};
}

/* ---- one list ---- */

double sg_stats_mean(sg_dim n, const double *x)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += x[i];
    return n > 0 ? sum / (double)n : nan("");
}

/* Of squares of distances, less what the mean was wrong by (Chan, Golub & LeVeque 1983, eq. 1.7). */
static double squares(sg_dim n, const double *x, double mean)
{
    double sum = 0, rest = 0;
    for (sg_dim i = 0; i < n; i++) {
        const double d = x[i] - mean;
        sum += d * d;
        rest += d;
    }
    return sum - rest * rest / (double)n;
}

double sg_stats_variance(sg_dim n, const double *x)
{
    return n > 1 ? SG_MAX(squares(n, x, sg_stats_mean(n, x)), 0) / (double)(n - 1) : nan("");
}

double sg_stats_deviation(sg_dim n, const double *x)
{
    return sqrt(sg_stats_variance(n, x));
}

double sg_stats_quantile(sg_dim n, const double *sorted, double q)
{
    if (n < 1 || !(q >= 0 && q <= 1))
        return nan("");
    const double at = q * (double)(n - 1);
    const sg_dim i = SG_MIN((sg_dim)at, SG_MAX(n - 2, 0));
    return n == 1 ? sorted[0] : sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

/* ---- order ---- */

typedef struct placed {
    double x;
    sg_dim at;
} placed;

/* NaN counts as the largest. */
static int by_number(double a, double b)
{
    if (isnan(a) || isnan(b))
        return (isnan(a) ? 1 : 0) - (isnan(b) ? 1 : 0);
    return (a > b) - (a < b);
}

static int rising(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    const int c = by_number(x->x, y->x);
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

static int by_size(const void *a, const void *b)
{
    return by_number(*(const double *)a, *(const double *)b);
}

void sg_stats_sort(sg_dim n, double *x)
{
    if (n > 1)
        qsort(x, (size_t)n, sizeof *x, by_size);
}

static sg_status sorted(placed **out, sg_dim n, const double *x, bool falling, sg_error *err)
{
    *out = malloc((size_t)SG_MAX(n, 1) * sizeof **out);
    if (!*out)
        return sg_fail(err, SG_ENOMEM, "statistics: out of memory for %lld numbers", (long long)n);
    for (sg_dim i = 0; i < n; i++)
        (*out)[i] = (placed){falling ? -x[i] : x[i], i};
    if (n > 1)
        qsort(*out, (size_t)n, sizeof **out, rising);
    return SG_OK;
}

sg_status sg_stats_order(sg_dim *order, sg_dim n, const double *x, bool falling, sg_error *err)
{
    placed *p;
    SG_TRY(sorted(&p, n, x, falling, err));
    for (sg_dim i = 0; i < n; i++)
        order[i] = p[i].at;
    free(p);
    return SG_OK;
}

sg_status sg_stats_ranks(double *ranks, sg_dim n, const double *x, sg_error *err)
{
    placed *p;
    SG_TRY(sorted(&p, n, x, false, err));
    const bool broken = n > 0 && isnan(p[n - 1].x);
    for (sg_dim i = 0, end; i < n; i = end) {
        end = i + 1;
        while (end < n && p[end].x == p[i].x)
            end++;
        for (sg_dim k = i; k < end; k++)
            ranks[p[k].at] = broken ? nan("") : 0.5 * (double)(i + 1 + end);
    }
    free(p);
    return SG_OK;
}

/* ---- two lists ---- */

double sg_stats_pearson(sg_dim n, const double *x, const double *y)
{
    const double mx = sg_stats_mean(n, x), my = sg_stats_mean(n, y);
    double xx = 0, yy = 0, xy = 0;
    for (sg_dim i = 0; i < n; i++) {
        const double a = x[i] - mx, b = y[i] - my;
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    if (isnan(xx) || isnan(yy) || !(xx > 0 && yy > 0))
        return nan("");
    return SG_MIN(SG_MAX(xy / xx * sqrt(xx / yy), -1), 1); /* exact where x and y are multiples of each other */
}

sg_status sg_stats_spearman(double *out, sg_dim n, const double *x, const double *y, sg_error *err)
{
    *out = nan("");
    double *ranks = malloc(2 * (size_t)SG_MAX(n, 1) * sizeof *ranks);
    sg_status status = ranks ? sg_stats_ranks(ranks, n, x, err)
                             : sg_fail(err, SG_ENOMEM, "statistics: out of memory for %lld ranks", (long long)n);
    if (status == SG_OK)
        status = sg_stats_ranks(ranks + n, n, y, err);
    if (status == SG_OK)
        *out = sg_stats_pearson(n, ranks, ranks + n);
    free(ranks);
    return status;
}

sg_status sg_stats_auroc(double *out, sg_dim n, const double *score, const bool *positive, sg_error *err)
{
    *out = nan("");
    double *ranks = malloc((size_t)SG_MAX(n, 1) * sizeof *ranks), sum = 0, n_positive = 0;
    const sg_status status = ranks ? sg_stats_ranks(ranks, n, score, err)
                                   : sg_fail(err, SG_ENOMEM, "statistics: out of memory for %lld ranks", (long long)n);
    for (sg_dim i = 0; i < n && status == SG_OK; i++) {
        sum += positive[i] ? ranks[i] : 0;
        n_positive += positive[i] ? 1 : 0;
    }
    const double others = (double)n - n_positive;
    if (status == SG_OK && n_positive > 0 && others > 0)
        *out = (sum - n_positive * (n_positive + 1) / 2) / (n_positive * others);
    free(ranks);
    return status;
}

/* ---- t tests ---- */

static sg_test t_test(double difference, double error, double df)
{
    sg_test t = {.df = df, .difference = difference};
    if (isnan(difference) || isnan(error) || !(df > 0))
        return no_test();
    if (error > 0)
        t.statistic = difference / error;
    else
        t.statistic = difference == 0 ? 0 : difference > 0 ? (double)INFINITY : -(double)INFINITY;
    t.p = sg_t_p(t.statistic, df);
    const double reach = error > 0 ? error * sg_t_quantile(0.975, df) : 0;
    t.low = difference - reach;
    t.high = difference + reach;
    return t;
}

sg_test sg_test_mean(sg_dim n, const double *x, double expected)
{
    return t_test(sg_stats_mean(n, x) - expected, sqrt(sg_stats_variance(n, x) / (double)n), (double)n - 1);
}

static double *differences(sg_dim n, const double *x, const double *y)
{
    double *d = malloc((size_t)SG_MAX(n, 1) * sizeof *d);
    for (sg_dim i = 0; i < n && d; i++)
        d[i] = x[i] - y[i];
    return d;
}

sg_status sg_test_paired(sg_test *out, sg_dim n, const double *x, const double *y, sg_error *err)
{
    double *d = differences(n, x, y);
    *out = no_test();
    if (!d)
        return sg_fail(err, SG_ENOMEM, "statistics: out of memory for %lld pairs", (long long)n);
    *out = sg_test_mean(n, d, 0);
    free(d);
    return SG_OK;
}

sg_test sg_test_student(sg_dim n, const double *x, sg_dim m, const double *y)
{
    const double a = (double)n, b = (double)m, mx = sg_stats_mean(n, x), my = sg_stats_mean(m, y);
    if (n < 1 || m < 1 || n + m < 3)
        return no_test();
    const double pooled = SG_MAX(squares(n, x, mx) + squares(m, y, my), 0) / (a + b - 2);
    return t_test(mx - my, sqrt(pooled * (1 / a + 1 / b)), a + b - 2);
}

sg_test sg_test_welch(sg_dim n, const double *x, sg_dim m, const double *y)
{
    if (n < 2 || m < 2)
        return no_test();
    const double u = sg_stats_variance(n, x) / (double)n, v = sg_stats_variance(m, y) / (double)m;
    const double below = u * u / (double)(n - 1) + v * v / (double)(m - 1);
    const double df = below > 0 ? (u + v) * (u + v) / below : (double)(n + m - 2);
    return t_test(sg_stats_mean(n, x) - sg_stats_mean(m, y), sqrt(u + v), df);
}

double sg_test_bonferroni(double p, sg_dim n_tests)
{
    return isnan(p) ? p : SG_MIN(p * (double)SG_MAX(n_tests, 1), 1);
}

/* ---- others ---- */

sg_status sg_test_uniform(sg_test *out, sg_dim n, const double *x, sg_error *err)
{
    *out = no_test();
    double *s = malloc((size_t)SG_MAX(n, 1) * sizeof *s), d = 0;
    if (!s)
        return sg_fail(err, SG_ENOMEM, "statistics: out of memory for %lld numbers", (long long)n);
    memcpy(s, x, (size_t)n * sizeof *s);
    sg_stats_sort(n, s);
    const bool fit = n > 0 && !isnan(s[n - 1]);
    for (sg_dim i = 0; i < n && fit; i++) {
        const double u = SG_MIN(SG_MAX(s[i], 0), 1);
        d = SG_MAX(d, SG_MAX((double)(i + 1) / (double)n - u, u - (double)i / (double)n));
    }
    free(s);
    if (fit) {
        out->statistic = d;
        out->p = sg_kolmogorov_p(d, n);
    }
    return SG_OK;
}

/* Sums that are equal but for the order of their parts are to count as equal. */
static bool as_large(double a, double b)
{
    return sg_math_abs(a) >= sg_math_abs(b) * (1 - 1e-12);
}

static sg_status check(int n_permutations, sg_dim n, sg_error *err)
{
    return n_permutations >= 1 && n < UINT32_MAX
               ? SG_OK
               : sg_fail(err, SG_EARG, "statistics: %d permutations of %lld numbers", n_permutations, (long long)n);
}

sg_status sg_test_permutation(sg_test *out, sg_dim n, const double *x, sg_dim m, const double *y, int n_permutations,
                              uint64_t seed, sg_error *err)
{
    *out = no_test();
    SG_TRY(check(n_permutations, n + m, err));
    const double difference = sg_stats_mean(n, x) - sg_stats_mean(m, y);
    if (n < 1 || m < 1 || isnan(difference))
        return SG_OK;
    double *all = malloc((size_t)(n + m) * sizeof *all), seen = 1;
    if (!all)
        return sg_fail(err, SG_ENOMEM, "statistics: out of memory for %lld numbers", (long long)(n + m));
    memcpy(all, x, (size_t)n * sizeof *all);
    memcpy(all + n, y, (size_t)m * sizeof *all);
    sg_rng g = sg_rng_new(seed, STREAM);
    for (int k = 0; k < n_permutations; k++) {
        for (sg_dim i = 0; i < n; i++) { /* the first n places are dealt anew */
            const sg_dim j = i + (sg_dim)sg_rng_below(&g, (uint32_t)(n + m - i));
            const double t = all[i];
            all[i] = all[j];
            all[j] = t;
        }
        seen += as_large(sg_stats_mean(n, all) - sg_stats_mean(m, all + n), difference) ? 1 : 0;
    }
    free(all);
    out->statistic = out->difference = difference;
    out->p = seen / (n_permutations + 1.0);
    return SG_OK;
}

sg_status sg_test_signs(sg_test *out, sg_dim n, const double *x, const double *y, int n_permutations, uint64_t seed,
                        sg_error *err)
{
    *out = no_test();
    SG_TRY(check(n_permutations, n, err));
    double *d = differences(n, x, y), seen = 1;
    if (!d)
        return sg_fail(err, SG_ENOMEM, "statistics: out of memory for %lld pairs", (long long)n);
    const double difference = sg_stats_mean(n, d);
    sg_rng g = sg_rng_new(seed, STREAM);
    for (int k = 0; k < n_permutations && n > 0; k++) {
        double sum = 0;
        uint32_t word = 0;
        for (sg_dim i = 0; i < n; i++) {
            word = i % 32 ? word >> 1 : sg_rng_word(&g);
            sum += word & 1 ? d[i] : -d[i];
        }
        seen += as_large(sum / (double)n, difference) ? 1 : 0;
    }
    free(d);
    if (isnan(difference))
        return SG_OK;
    out->statistic = out->difference = difference;
    out->p = seen / (n_permutations + 1.0);
    return SG_OK;
}

void sg_stats_wilson(sg_dim n_right, sg_dim n, double *low, double *high)
{
    const double z = 1.95996398454005424, share = (double)n_right / (double)n, z2 = z * z / (double)n;
    *low = *high = nan("");
    if (n < 1)
        return;
    const double centre = (share + z2 / 2) / (1 + z2);
    const double reach = z / (1 + z2) * sqrt(share * (1 - share) / (double)n + z2 / (4 * (double)n));
    *low = SG_MAX(centre - reach, 0);
    *high = SG_MIN(centre + reach, 1);
}
