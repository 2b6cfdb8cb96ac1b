/* Repeats along axes of extent 1 and along new leading axes, without storing the repetitions. Attributes: the extents.
 */
#include <string.h>

#include "ops/copy.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];
    const int shift = s->attrs->n_i - x->n_dims;
    char text[SG_SHAPE_TEXT];

    if (shift < 0)
        return sg_infer_fail(s, err, SG_ESHAPE, "%d axes cannot become %d", x->n_dims, s->attrs->n_i);
    for (int k = 0; k < s->attrs->n_i; k++) {
        s->dims[k] = s->attrs->i[k];
        if (k >= shift && x->dims[k - shift] != 1 && x->dims[k - shift] != s->dims[k])
            return sg_infer_fail(s, err, SG_ESHAPE, "axis %d cannot become %s long", k - shift,
                                 sg_dim_text(s->g, s->dims[k], text));
    }
    s->dtype = x->dtype;
    s->n_dims = s->attrs->n_i;
    return SG_OK;
}

static bool view(const sg_kernel_args *k)
{
    const sg_view *x = k->in[0];
    const int shift = k->out->n_dims - x->n_dims;

    for (int a = 0; a < k->out->n_dims; a++)
        k->out->strides[a] = a < shift || x->dims[a - shift] == 1 ? 0 : x->strides[a - shift];
    k->out->data = x->data;
    return true;
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_sum_to(g, dy, y->in[0]->n_dims, y->in[0]->dims);
}

const sg_op sg_op_broadcast = {
    .name = "broadcast",
    .min_in = 1,
    .max_in = 1,
    .flags = SG_OP_VIEW | SG_OP_STRIDED,
    .infer = infer,
    .run = sg_view_kernel,
    .grad = grad,
    .view = view,
};

sg_value *sg_broadcast(sg_graph *g, sg_value *x, int n_dims, const sg_dim *dims)
{
    sg_attrs attrs = {.n_i = n_dims};

    if (n_dims < 0 || n_dims > SG_MAX_DIMS)
        return sg_graph_fail(g, SG_ESHAPE, "broadcast: %d axes, at most %d", n_dims, SG_MAX_DIMS);
    if (n_dims == 0)
        return x->n_dims == 0 ? x : sg_node(g, &sg_op_broadcast, 1, &x, &attrs);
    if (n_dims == x->n_dims && memcmp(dims, x->dims, (size_t)n_dims * sizeof *dims) == 0)
        return x;
    memcpy(attrs.i, dims, (size_t)n_dims * sizeof *dims);
    return sg_node(g, &sg_op_broadcast, 1, &x, &attrs);
}
