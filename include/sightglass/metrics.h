/* Metrics: what training says of each step, as lines of JSON that can be followed while they are written.
 *
 *     {"step":41,"loss":3.0174,"lr":0.0003,"grad_norm":0.82,"tokens_per_second":51200,"seconds":12.31}
 *
 * step counts the steps done, this one included; loss is nats per token, of the weights before the step. */
#ifndef SIGHTGLASS_METRICS_H
#define SIGHTGLASS_METRICS_H

#include "sightglass/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_metrics sg_metrics;

/* Opens a file to write to. With after = 0 it begins anew; otherwise lines of steps up to `after` stay, later ones (of a
 * run that got further than its last checkpoint) and one that was cut off are removed, and seconds count on.
 * SG_EFORMAT: what is to be continued is no such stream. */
sg_status sg_metrics_open(sg_metrics **out, const char *path, sg_dim after, sg_error *err) SG_MUST_CHECK;

/* Adds a line and flushes it; a failure is kept and told by close. tokens_per_step may be fed anything that is counted. */
void sg_metrics_write(sg_metrics *m, const sg_train_progress *at, double tokens_per_step);

/* SG_EIO: not everything could be written. NULL is fine. */
sg_status sg_metrics_close(sg_metrics *m, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
