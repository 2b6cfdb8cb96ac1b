/* How many windows fit along an axis. */
#include "ops/window.h"

sg_dim sg_window_span(const sg_window_axis *w)
{
    return (w->kernel - 1) * w->dilation + 1;
}

/* Extents above this are no images, and keep products from overflowing. */
#define MOST ((sg_dim)1 << 30)

sg_status sg_window_check(const sg_infer *s, const sg_window_axis *w, sg_error *err)
{
    if (w->kernel < 1 || w->stride < 1 || w->dilation < 1 || w->before < 0 || w->after < 0 || w->kernel > MOST ||
        w->stride > MOST || w->dilation > MOST || w->before > MOST || w->after > MOST)
        return sg_infer_fail(s, err, SG_ESHAPE,
                             "kernel %lld, stride %lld, dilation %lld, padding %lld and %lld: numbers >= 1, padding >= "
                             "0 were wanted",
                             (long long)w->kernel, (long long)w->stride, (long long)w->dilation, (long long)w->before,
                             (long long)w->after);
    return SG_OK;
}

sg_status sg_window_count(const sg_infer *s, const sg_window_axis *w, sg_dim n, sg_dim hint, sg_dim *out, sg_error *err)
{
    const sg_dim span = sg_window_span(w), padding = w->before + w->after;
    char text[SG_SHAPE_TEXT];

    if (sg_dim_is_const(n)) {
        if (n < 1 || n + padding < span)
            return sg_infer_fail(s, err, SG_ESHAPE,
                                 "a window over %lld elements does not fit %lld with %lld of padding", (long long)span,
                                 (long long)n, (long long)padding);
        *out = (n + padding - span) / w->stride + 1;
        return SG_OK;
    }
    if (w->stride == 1) {
        const sg_dim room = sg_dim_add(s->g, n, padding + 1);
        *out = sg_dim_sub(s->g, room, span);
        return SG_OK;
    }
    if (hint != 0) {
        /* What is over, plus a stride so that it is an extent. */
        const sg_dim used = sg_dim_add(s->g, sg_dim_mul(s->g, hint, w->stride), span);
        const sg_dim over = sg_dim_sub(s->g, sg_dim_add(s->g, n, padding + 2 * w->stride), used);
        if (sg_dim_is_const(over) && over >= w->stride && over < 2 * w->stride) {
            *out = hint;
            return SG_OK;
        }
    }
    return sg_infer_fail(s, err, SG_EUNSUPPORTED, "stride %lld over %s elements, a number of them was wanted",
                         (long long)w->stride, sg_dim_text(s->g, n, text));
}
