/* Axes in another order. Attributes: the permutation. */
#include "ops/copy.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];
    unsigned seen = 0;

    for (int k = 0; k < x->n_dims; k++) {
        SG_TRY(sg_infer_axis(s, k, x->n_dims, err));
        const int from = (int)s->attrs->i[k];
        if (seen >> from & 1)
            return sg_infer_fail(s, err, SG_ESHAPE, "axis %d appears twice in the permutation", from);
        seen |= 1u << from;
        s->dims[k] = x->dims[from];
    }
    s->dtype = x->dtype;
    s->n_dims = x->n_dims;
    return SG_OK;
}

static bool view(const sg_kernel_args *k)
{
    const sg_view *x = k->in[0];

    for (int a = 0; a < x->n_dims; a++)
        k->out->strides[a] = x->strides[k->i[a]];
    k->out->data = x->data;
    return true;
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    int back[SG_MAX_DIMS];

    for (int k = 0; k < y->n_dims; k++)
        back[y->attrs.i[k]] = k;
    dx[0] = sg_transpose(g, dy, back);
}

const sg_op sg_op_transpose = {
    .name = "transpose",
    .min_in = 1,
    .max_in = 1,
    .flags = SG_OP_VIEW | SG_OP_STRIDED,
    .infer = infer,
    .run = sg_view_kernel,
    .grad = grad,
    .view = view,
};

sg_value *sg_transpose(sg_graph *g, sg_value *x, const int *perm)
{
    sg_attrs attrs = {.n_i = x->n_dims};
    bool same = true;

    for (int k = 0; k < x->n_dims; k++) {
        attrs.i[k] = perm[k];
        same &= perm[k] == k || perm[k] == k - x->n_dims;
    }
    return same ? x : sg_node(g, &sg_op_transpose, 1, &x, &attrs);
}
