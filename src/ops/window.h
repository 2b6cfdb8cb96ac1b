/* Windows that slide over the last two axes of [B,C,H,W]: what convolution and pooling share.
 *
 * Along an axis, window t covers the elements t * stride - before + i * dilation for i in 0..kernel-1; what lies
 * outside the input is padding. There are as many windows as fit between `before` elements ahead and `after` behind. */
#ifndef SG_OPS_WINDOW_H
#define SG_OPS_WINDOW_H

#include "ops/ops.h"

typedef struct sg_window_axis {
    sg_dim kernel, stride, before, after, dilation;
} sg_window_axis;

/* Elements from the first to the last that a window looks at. */
sg_dim sg_window_span(const sg_window_axis *w);

/* Rejects what is no window: SG_ESHAPE for kernel, stride or dilation below 1, for padding below 0 and for symbols. */
sg_status sg_window_check(const sg_infer *s, const sg_window_axis *w, sg_error *err);

/* How many windows there are over n elements. Where n is symbolic and the stride is not 1 no polynomial says it: then
 * `hint` is asked, which is the number of windows if it leaves less than a stride over, and otherwise (0 is never the
 * number) it is SG_EUNSUPPORTED. */
sg_status sg_window_count(const sg_infer *s, const sg_window_axis *w, sg_dim n, sg_dim hint, sg_dim *out,
                          sg_error *err);

/* What symbolic extents hide until they are numbers: that n_windows fit n elements. */
static inline bool sg_window_fits(const sg_window_axis *w, sg_dim n, sg_dim n_windows)
{
    return n_windows >= 1 && n >= 1 && (n_windows - 1) * w->stride + sg_window_span(w) <= n + w->before + w->after;
}

#endif
