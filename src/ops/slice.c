/* x[start : stop : step] along an axis. Attributes: axis, start, stop, step, and the extent that comes out, which for
 * symbolic extents and step > 1 no polynomial gives: there (n - 1) step + 1 = stop - start is asked of it instead. */
#include "ops/slice.h"
#include "ops/copy.h"

enum { AXIS, START, STOP, STEP, EXTENT, N_ATTRS };

static sg_dim last_stop(sg_graph *g, sg_dim n, sg_dim step)
{
    return sg_dim_add(g, sg_dim_mul(g, sg_dim_sub(g, n, 1), step), 1);
}

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];
    const sg_dim *i = s->attrs->i;
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT], c[SG_SHAPE_TEXT];

    SG_TRY(sg_infer_axis(s, AXIS, x->n_dims, err));
    sg_infer_like(s, 0);
    const sg_dim extent = x->dims[i[AXIS]], start = i[START], stop = i[STOP], step = i[STEP];
    const bool start_known = sg_dim_is_const(start), stop_known = sg_dim_is_const(stop);
    if (!sg_dim_is_const(step) || step < 1)
        return sg_infer_fail(s, err, SG_ESHAPE, "step %s, at least 1 was wanted", sg_dim_text(s->g, step, a));
    if ((start_known && stop_known && start > stop) || (sg_dim_is_const(extent) && stop_known && stop > extent) ||
        (sg_dim_is_const(extent) && start_known && start > extent))
        return sg_infer_fail(s, err, SG_ESHAPE, "%s : %s does not lie in 0 : %s", sg_dim_text(s->g, start, a),
                             sg_dim_text(s->g, stop, b), sg_dim_text(s->g, extent, c));
    const sg_dim span = sg_dim_sub(s->g, stop, start);
    sg_dim n = span;
    if (step > 1) {
        n = sg_dim_is_const(span) ? (span + step - 1) / step : i[EXTENT];
        if (!sg_dim_is_const(span) && last_stop(s->g, n, step) != span)
            return sg_infer_fail(s, err, SG_EUNSUPPORTED, "step %s over %s elements, a number of them was wanted",
                                 sg_dim_text(s->g, step, a), sg_dim_text(s->g, span, b));
    }
    s->attrs->i[EXTENT] = n;
    s->dims[i[AXIS]] = n;
    return SG_OK;
}

/* What symbolic bounds hide until they are numbers. */
static bool fits(const sg_kernel_args *k)
{
    const sg_dim extent = k->in[0]->dims[k->i[AXIS]];

    return k->i[START] >= 0 && k->i[START] <= k->i[STOP] && k->i[STOP] <= extent;
}

static bool view(const sg_kernel_args *k)
{
    const sg_view *x = k->in[0];
    const int axis = (int)k->i[AXIS];

    if (!fits(k))
        return false;
    for (int a = 0; a < x->n_dims; a++)
        k->out->strides[a] = x->strides[a];
    k->out->strides[axis] *= k->i[STEP];
    /* An empty slice at the very end still begins inside. */
    k->out->data = sg_view_at(x, k->out->dims[axis] > 0 ? k->i[START] * x->strides[axis] : 0);
    return true;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    if (!fits(k))
        return sg_fail(err, SG_ESHAPE, "slice: %lld : %lld does not lie in 0 : %lld, the extent of axis %d",
                       (long long)k->i[START], (long long)k->i[STOP], (long long)k->in[0]->dims[k->i[AXIS]],
                       (int)k->i[AXIS]);
    return sg_view_kernel(k, err);
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    const sg_dim *i = y->attrs.i;
    const int axis = (int)i[AXIS];
    const sg_dim n = y->dims[axis];
    const bool dense = i[STEP] == 1 || n == 0;
    const sg_dim end = dense ? sg_dim_add(g, i[START], n) : sg_dim_add(g, i[START], last_stop(g, n, i[STEP]));

    dx[0] = sg_pad(g, dy, axis, i[START], sg_dim_sub(g, y->in[0]->dims[axis], end), i[STEP] - 1, 0);
}

const sg_op sg_op_slice = {
    .name = "slice",
    .min_in = 1,
    .max_in = 1,
    .flags = SG_OP_VIEW | SG_OP_STRIDED,
    .infer = infer,
    .run = run,
    .grad = grad,
    .view = view,
};

sg_value *sg_slice(sg_graph *g, sg_value *x, int axis, sg_dim start, sg_dim stop, sg_dim step)
{
    if (start == 0 && step == 1 && axis >= -x->n_dims && axis < x->n_dims && stop == sg_value_dim(x, axis))
        return x;
    return sg_node(g, &sg_op_slice, 1, &x, &(sg_attrs){.n_i = N_ATTRS, .i = {axis, start, stop, step, 1}});
}

/* By count rather than by stop. */
sg_value *sg_slice_n(sg_graph *g, sg_value *x, int axis, sg_dim start, sg_dim n, sg_dim step)
{
    const sg_dim stop = sg_dim_add(g, start, n == 0 ? 0 : last_stop(g, n, step));

    return sg_node(g, &sg_op_slice, 1, &x, &(sg_attrs){.n_i = N_ATTRS, .i = {axis, start, stop, step, n}});
}
