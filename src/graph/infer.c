/* What shape rules share: broadcasting, axes, and errors that show what the op was given. */
#include <string.h>

#include "graph/graph_internal.h"

sg_status sg_infer_fail(const sg_infer *s, sg_error *err, sg_status status, const char *fmt, ...)
{
    char text[SG_ERROR_TEXT / 2], inputs[SG_ERROR_TEXT / 2], shape[SG_SHAPE_TEXT];
    size_t at = 0;
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    inputs[0] = 0;
    for (int i = 0; i < s->n_in && at < sizeof inputs; i++)
        at += (size_t)snprintf(inputs + at, sizeof inputs - at, "%s%s %s", i ? ", " : "",
                               sg_dtype_name(s->in[i]->dtype), sg_value_shape_text(s->in[i], shape));
    return sg_fail(err, status, "%s%s%s: %s (given %s)", s->g->scope[0] ? s->g->scope : "", s->g->scope[0] ? "/" : "",
                   s->op->name, text, s->n_in ? inputs : "nothing");
}

void sg_infer_like(sg_infer *s, int i)
{
    s->dtype = s->in[i]->dtype;
    s->n_dims = s->in[i]->n_dims;
    memcpy(s->dims, s->in[i]->dims, sizeof s->dims);
}

sg_status sg_infer_broadcast(sg_infer *s, int first, int last, sg_error *err)
{
    s->n_dims = 0;
    for (int i = first; i <= last; i++)
        s->n_dims = SG_MAX(s->n_dims, s->in[i]->n_dims);
    for (int k = 0; k < s->n_dims; k++)
        s->dims[k] = 1;
    for (int i = first; i <= last; i++) {
        const int shift = s->n_dims - s->in[i]->n_dims;
        for (int k = 0; k < s->in[i]->n_dims; k++) {
            const sg_dim d = s->in[i]->dims[k];
            if (d == 1 || d == s->dims[shift + k])
                continue;
            if (s->dims[shift + k] != 1)
                return sg_infer_fail(s, err, SG_ESHAPE, "shapes do not broadcast");
            s->dims[shift + k] = d;
        }
    }
    return SG_OK;
}

sg_status sg_infer_axis(sg_infer *s, int at, int n_dims, sg_error *err)
{
    const sg_dim axis = s->attrs->i[at];

    if (axis < -n_dims || axis >= n_dims)
        return sg_infer_fail(s, err, SG_ESHAPE, "axis %lld of %d axes", (long long)axis, n_dims);
    s->attrs->i[at] = axis < 0 ? axis + n_dims : axis;
    return SG_OK;
}
