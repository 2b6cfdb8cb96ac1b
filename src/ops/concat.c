/* Values one after another along an axis. Attributes: the axis. */
#include "ops/copy.h"

#define MAX_IN 65536

static sg_status infer(sg_infer *s, sg_error *err)
{
    SG_TRY(sg_infer_axis(s, 0, s->in[0]->n_dims, err));
    const int axis = (int)s->attrs->i[0];
    sg_infer_like(s, 0);
    for (int i = 1; i < s->n_in; i++) {
        if (s->in[i]->dtype != s->dtype)
            return sg_infer_fail(s, err, SG_ETYPE, "the types differ");
        if (s->in[i]->n_dims != s->n_dims)
            return sg_infer_fail(s, err, SG_ESHAPE, "the numbers of axes differ");
        for (int a = 0; a < s->n_dims; a++)
            if (a != axis && s->in[i]->dims[a] != s->dims[a])
                return sg_infer_fail(s, err, SG_ESHAPE, "axis %d of input %d does not fit", a, i);
        s->dims[axis] = sg_dim_add(s->g, s->dims[axis], s->in[i]->dims[axis]);
    }
    return SG_OK;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    const int axis = (int)k->i[0];
    sg_dim at = 0;

    for (int i = 0; i < k->n_in; i++) {
        sg_view to = *k->out;
        to.dims[axis] = k->in[i]->dims[axis];
        to.data = sg_view_at(k->out, at * to.strides[axis]);
        sg_view_copy(&to, k->in[i], k->n_threads);
        at += to.dims[axis];
    }
    return SG_OK;
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    const int axis = (int)y->attrs.i[0];
    sg_dim at = 0;

    for (int i = 0; i < y->n_in; i++) {
        const sg_dim end = sg_dim_add(g, at, y->in[i]->dims[axis]);
        dx[i] = sg_slice(g, dy, axis, at, end, 1);
        at = end;
    }
}

const sg_op sg_op_concat = {
    .name = "concat",
    .min_in = 1,
    .max_in = MAX_IN,
    .flags = SG_OP_STRIDED,
    .infer = infer,
    .run = run,
    .grad = grad,
};

sg_value *sg_concat(sg_graph *g, int n, sg_value *const *xs, int axis)
{
    return n == 1 ? xs[0] : sg_node(g, &sg_op_concat, n, xs, &(sg_attrs){.n_i = 1, .i = {axis}});
}
