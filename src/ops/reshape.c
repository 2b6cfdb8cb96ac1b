/* The same numbers in row-major order under other extents. Attributes: the extents. */
#include <string.h>

#include "ops/copy.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];
    char had[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    s->dtype = x->dtype;
    s->n_dims = s->attrs->n_i;
    if (s->n_dims > 0)
        memcpy(s->dims, s->attrs->i, (size_t)s->n_dims * sizeof s->dims[0]);
    const sg_dim before = sg_dims_product(s->g, x->n_dims, x->dims);
    const sg_dim after = sg_dims_product(s->g, s->n_dims, s->dims);
    if (before != after)
        return sg_infer_fail(s, err, SG_ESHAPE, "%s elements cannot become %s", sg_dim_text(s->g, before, had),
                             sg_dim_text(s->g, after, wanted));
    return SG_OK;
}

/* Matches runs of axes on both sides that hold equally many elements: such a run of x must be walkable by one stride,
 * and the run of out then takes its strides from it. */
static bool view(const sg_kernel_args *k)
{
    const sg_view *x = k->in[0];
    sg_view *out = k->out;
    sg_dim dims[SG_MAX_DIMS], strides[SG_MAX_DIMS];
    int n = 0, i = 0, j = 0;

    for (int a = 0; a < x->n_dims; a++)
        if (x->dims[a] != 1) {
            dims[n] = x->dims[a];
            strides[n++] = x->strides[a];
        }
    out->data = x->data;
    if (sg_view_count(x) == 0) {
        sg_view_row_major(out);
        return true;
    }
    while (j < out->n_dims) {
        if (i == n || out->dims[j] == 1) { /* an axis of extent 1: any stride will do */
            out->strides[j++] = 0;
            continue;
        }
        const int i0 = i, j0 = j;
        sg_dim left = dims[i++], right = out->dims[j++];
        while (left != right) {
            if (left < right)
                left *= dims[i++];
            else
                right *= out->dims[j++];
        }
        for (int a = i0; a + 1 < i; a++)
            if (strides[a] != strides[a + 1] * dims[a + 1])
                return false;
        sg_dim stride = strides[i - 1];
        for (int a = j - 1; a >= j0; a--) {
            out->strides[a] = stride;
            stride *= out->dims[a];
        }
    }
    return true;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    sg_view to = *k->in[0]; /* x's extents, laid out contiguously over out's numbers */

    sg_view_row_major(&to);
    to.data = k->out->data;
    sg_view_copy(&to, k->in[0], k->n_threads);
    return SG_OK;
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_reshape(g, dy, y->in[0]->n_dims, y->in[0]->dims);
}

const sg_op sg_op_reshape = {
    .name = "reshape",
    .min_in = 1,
    .max_in = 1,
    .flags = SG_OP_VIEW | SG_OP_STRIDED,
    .infer = infer,
    .run = run,
    .grad = grad,
    .view = view,
};

sg_value *sg_reshape(sg_graph *g, sg_value *x, int n_dims, const sg_dim *dims)
{
    sg_attrs attrs = {.n_i = n_dims};

    if (n_dims < 0 || n_dims > SG_MAX_DIMS)
        return sg_graph_fail(g, SG_ESHAPE, "reshape: %d axes, at most %d", n_dims, SG_MAX_DIMS);
    if (n_dims > 0)
        memcpy(attrs.i, dims, (size_t)n_dims * sizeof *dims);
    if (n_dims == x->n_dims && memcmp(attrs.i, x->dims, (size_t)n_dims * sizeof *dims) == 0)
        return x;
    return sg_node(g, &sg_op_reshape, 1, &x, &attrs);
}
