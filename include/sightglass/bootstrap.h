/* Bootstrap: how far a number would have varied, had other items been drawn (Efron 1979).
 *
 *     sg_interval i; // of an accuracy, of which each episode has so many right answers out of so many
 *     SG_TRY(sg_bootstrap_ratio(&i, n_episodes, right, asked, sg_bootstrap_defaults(), err));
 *
 * Items are what is independent of each other: episodes, not positions of one. A paired difference has the
 * differences as its parts: what one method got right less what another did, on the same episode. */
#ifndef SIGHTGLASS_BOOTSTRAP_H
#define SIGHTGLASS_BOOTSTRAP_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_interval {
    double low, high;
} sg_interval;

typedef struct sg_bootstrap_opts {
    int n_resamples; /* 1000 */
    double share;    /* .95; of resamples that lie within */
    uint64_t seed;   /* 0 */
} sg_bootstrap_opts;
sg_bootstrap_opts sg_bootstrap_defaults(void);

/* Of sum(part) / sum(whole), over n items drawn with replacement; whole NULL: all 1, so that it is a mean. The
 * interval is that of percentiles. Both ends are NaN where the wholes sum to 0. SG_EARG: options out of range. */
sg_status sg_bootstrap_ratio(sg_interval *out, sg_dim n, const double *part, const double *whole,
                             sg_bootstrap_opts opts, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
