/* Rates and their intervals. Labels of one episode resemble each other, so an episode is what is drawn again: each is
 * averaged first, and resamples are of episodes. */
#include <math.h>
#include <stdlib.h>

#include "methods/worldmodel_internal.h"
#include "sightglass/bootstrap.h"

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

sg_status sg_wm_marks_rate(sg_rate *out, const sg_wm_marks *m, bool is_r2, int n_resamples, uint64_t seed,
                           sg_error *err)
{
    sg_bootstrap_opts how = sg_bootstrap_defaults();
    double *share = malloc((size_t)m->n * sizeof *share + 1), sum = 0, of = 0;
    sg_interval at;
    sg_dim n = 0;
    if (!share)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld episodes", (long long)m->n);
    how.n_resamples = n_resamples;
    how.seed = seed;
    for (sg_dim e = 0; e < m->n; e++) {
        if (!is_r2 && m->of[e] > 0)
            sum += share[n++] = m->got[e] / m->of[e];
        else if (is_r2)
            sum += m->got[e];
        of += is_r2 ? m->of[e] : m->of[e] > 0;
    }
    /* R2 is one less a ratio, and a low ratio is a high R2. */
    const sg_status status = is_r2 ? sg_bootstrap_ratio(&at, m->n, m->got, m->of, how, err)
                                   : sg_bootstrap_ratio(&at, n, share, NULL, how, err);
    free(share);
    SG_TRY(status);
    *out = (sg_rate){.value = is_r2 ? 1 - sum / of : sum / of,
                     .low = is_r2 ? 1 - at.high : at.low,
                     .high = is_r2 ? 1 - at.low : at.high,
                     .n = m->n_labels};
    return SG_OK;
}
