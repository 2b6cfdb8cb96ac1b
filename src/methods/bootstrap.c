/* Percentiles of the ratio over resamples; see bootstrap.h. */
#include "sightglass/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "sightglass/rng.h"

enum { STREAM = 0x626f6f74 };

sg_bootstrap_opts sg_bootstrap_defaults(void)
{
    return (sg_bootstrap_opts){.n_resamples = 1000, .share = 0.95};
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between two order statistics, as most programs take a quantile (Hyndman & Fan 1996, type 7). */
static double quantile(const double *sorted, int n, double q)
{
    const double at = q * (n - 1);
    const int i = SG_MIN((int)at, n - 2 < 0 ? 0 : n - 2);
    return n == 1 ? sorted[0] : sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
}

sg_status sg_bootstrap_ratio(sg_interval *out, sg_dim n, const double *part, const double *whole,
                             sg_bootstrap_opts opts, sg_error *err)
{
    *out = (sg_interval){nan(""), nan("")};
    if (opts.n_resamples < 1 || !(opts.share > 0 && opts.share < 1) || n < 0 || n > UINT32_MAX)
        return sg_fail(err, SG_EARG, "bootstrap: %d resamples for a share of %g", opts.n_resamples, opts.share);
    double *ratios = malloc((size_t)opts.n_resamples * sizeof *ratios);
    if (!ratios)
        return sg_fail(err, SG_ENOMEM, "bootstrap: out of memory");
    int kept = 0;
    for (int r = 0; r < opts.n_resamples && n > 0; r++) {
        sg_rng g = sg_rng_new(opts.seed, STREAM);
        double parts = 0, wholes = 0;
        g.step = (uint64_t)r;
        for (sg_dim i = 0; i < n; i++) {
            const uint32_t k = sg_rng_below(&g, (uint32_t)n);
            parts += part[k];
            wholes += whole ? whole[k] : 1;
        }
        if (wholes != 0) /* items without any label may have been all that was drawn */
            ratios[kept++] = parts / wholes;
    }
    if (kept > 0) {
        qsort(ratios, (size_t)kept, sizeof *ratios, by_size);
        out->low = quantile(ratios, kept, (1 - opts.share) / 2);
        out->high = quantile(ratios, kept, (1 + opts.share) / 2);
    }
    free(ratios);
    return SG_OK;
}
