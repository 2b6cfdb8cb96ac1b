/* Room before, after and between the elements along an axis, filled with a constant: the transpose of slice.
 * Attributes: axis, before, after, inner; the constant. */
#include <string.h>

#include "ops/copy.h"
#include "ops/slice.h"

enum { AXIS, BEFORE, AFTER, INNER, N_ATTRS };

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];
    const sg_dim *i = s->attrs->i;

    SG_TRY(sg_infer_axis(s, AXIS, x->n_dims, err));
    if (i[INNER] < 0)
        return sg_infer_fail(s, err, SG_ESHAPE, "the inner padding is no number >= 0");
    sg_infer_like(s, 0);
    const sg_dim n = x->dims[i[AXIS]];
    sg_dim span = n;
    if (i[INNER] > 0 && n != 0)
        span = sg_dim_add(s->g, n, sg_dim_mul(s->g, sg_dim_sub(s->g, n, 1), i[INNER]));
    s->dims[i[AXIS]] = sg_dim_add(s->g, sg_dim_add(s->g, i[BEFORE], span), i[AFTER]);
    return SG_OK;
}

/* Stores c in n elements of a type. */
static void fill(void *to, sg_dtype dtype, sg_dim n, double c)
{
    const size_t size = sg_dtype_bytes(dtype);
    unsigned char one[8];
    sg_tensor t = sg_tensor_of(dtype, 0, NULL, one);

    sg_tensor_set(&t, 0, c);
    bool zero = true;
    for (size_t b = 0; b < size; b++)
        zero &= one[b] == 0;
    if (zero)
        memset(to, 0, (size_t)n * size);
    else
        for (sg_dim j = 0; j < n; j++)
            memcpy((char *)to + (size_t)j * size, one, size);
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    const int axis = (int)k->i[AXIS];
    const sg_dim n = k->in[0]->dims[axis], step = k->i[INNER] + 1;
    const sg_dim span = n > 0 ? (n - 1) * step + 1 : 0;

    if (k->i[BEFORE] < 0 || k->i[AFTER] < 0 || k->out->dims[axis] != k->i[BEFORE] + span + k->i[AFTER])
        return sg_fail(err, SG_ESHAPE, "pad: %lld before, %lld after and %lld between %lld elements make no %lld",
                       (long long)k->i[BEFORE], (long long)k->i[AFTER], (long long)k->i[INNER], (long long)n,
                       (long long)k->out->dims[axis]);
    fill(k->out->data, k->out->dtype, sg_view_count(k->out), k->f[0]);
    sg_view to = *k->out;
    to.data = sg_view_at(k->out, n > 0 ? k->i[BEFORE] * to.strides[axis] : 0);
    to.strides[axis] *= step;
    to.dims[axis] = n;
    sg_view_copy(&to, k->in[0], k->n_threads);
    return SG_OK;
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    const sg_dim *i = y->attrs.i;
    const int axis = (int)i[AXIS];

    dx[0] = sg_slice_n(g, dy, axis, i[BEFORE], y->in[0]->dims[axis], i[INNER] + 1);
}

const sg_op sg_op_pad = {
    .name = "pad",
    .min_in = 1,
    .max_in = 1,
    .flags = SG_OP_STRIDED,
    .infer = infer,
    .run = run,
    .grad = grad,
};

sg_value *sg_pad(sg_graph *g, sg_value *x, int axis, sg_dim before, sg_dim after, sg_dim inner, double c)
{
    if (before == 0 && after == 0 && inner == 0)
        return x;
    return sg_node(g, &sg_op_pad, 1, &x,
                   &(sg_attrs){.n_i = N_ATTRS, .i = {axis, before, after, inner}, .n_f = 1, .f = {c}});
}
