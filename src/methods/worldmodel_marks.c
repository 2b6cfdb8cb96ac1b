/* Rates and their intervals. Labels of one episode resemble each other, so an episode is what is drawn again: each is
 * averaged first, and resamples are of episodes (Efron 1979; percentiles). */
#include <math.h>
#include <stdlib.h>

#include "methods/worldmodel_internal.h"

sg_status sg_wm_marks_new(sg_wm_marks *m, sg_dim n, sg_error *err)
{
    *m = (sg_wm_marks){
        .n = n, .got = calloc((size_t)n + 1, sizeof(double)), .of = calloc((size_t)n + 1, sizeof(double))};
    if (m->got && m->of)
        return SG_OK;
    sg_wm_marks_free(m);
    return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld episodes", (long long)n);
}

void sg_wm_marks_free(sg_wm_marks *m)
{
    free(m->got);
    free(m->of);
    *m = (sg_wm_marks){0};
}

/* Of the episodes that at() names, NULL: all. */
static double rate_of(const sg_wm_marks *m, bool is_r2, sg_rng *r)
{
    double sum = 0, of = 0;
    for (sg_dim i = 0; i < m->n; i++) {
        const sg_dim e = r ? (sg_dim)sg_rng_below(r, (uint32_t)m->n) : i;
        if (is_r2) {
            sum += m->got[e];
            of += m->of[e];
        } else if (m->of[e] > 0) {
            sum += m->got[e] / m->of[e];
            of += 1;
        }
    }
    if (of <= 0)
        return NAN;
    return is_r2 ? 1 - sum / of : sum / of;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two nearest of n in order. */
static double quantile(const double *sorted, int n, double q)
{
    const double at = q * (n - 1);
    const int low = (int)at, high = SG_MIN(low + 1, n - 1);
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

sg_status sg_wm_marks_rate(sg_rate *out, const sg_wm_marks *m, bool is_r2, int n_resamples, uint64_t seed,
                           sg_error *err)
{
    double *drawn = malloc((size_t)n_resamples * sizeof *drawn);
    int n = 0;

    if (!drawn)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %d resamples", n_resamples);
    for (int i = 0; i < n_resamples; i++) {
        sg_rng r = sg_rng_new(seed, (uint32_t)i);
        const double x = rate_of(m, is_r2, &r);
        if (!isnan(x)) /* a resample may hold nothing but empty episodes */
            drawn[n++] = x;
    }
    *out = (sg_rate){.value = rate_of(m, is_r2, NULL), .low = NAN, .high = NAN, .n = m->n_labels};
    if (n) {
        qsort(drawn, (size_t)n, sizeof *drawn, by_size);
        out->low = quantile(drawn, n, 0.025);
        out->high = quantile(drawn, n, 0.975);
    }
    free(drawn);
    return SG_OK;
}
