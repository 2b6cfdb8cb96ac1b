/* Running sums along an axis, in double; reversed: from each place to the end. Attributes: axis, reverse. */
#include "ops/lines.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    if (s->in[0]->dtype != SG_F32 && s->in[0]->dtype != SG_F64 && s->in[0]->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32, f64 or i32");
    SG_TRY(sg_infer_axis(s, 0, s->in[0]->n_dims, err));
    sg_infer_like(s, 0);
    return SG_OK;
}

#define RUN(T, A)                                                                                                      \
    do {                                                                                                               \
        const T *x = (const T *)k->in[0]->data + at;                                                                   \
        T *y = (T *)k->out->data + at;                                                                                 \
        A sum = 0;                                                                                                     \
        for (sg_dim i = 0; i < l.n; i++) {                                                                             \
            const sg_dim o = (k->i[1] ? l.n - 1 - i : i) * l.inner;                                                    \
            sum += (A)x[o];                                                                                            \
            y[o] = (T)sum;                                                                                             \
        }                                                                                                              \
    } while (0)

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    const sg_lines l = sg_lines_of(k->in[0], k->i[0]);

    (void)err;
    for (sg_dim line = 0; line < l.outer * l.inner; line++) {
        const sg_dim at = line / l.inner * l.n * l.inner + line % l.inner;
        if (k->out->dtype == SG_F32)
            RUN(float, double);
        else if (k->out->dtype == SG_F64)
            RUN(double, double);
        else
            RUN(int32_t, uint32_t);
    }
    return SG_OK;
}

static sg_value *build(sg_graph *g, sg_value *x, int axis, bool reverse);

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = build(g, dy, (int)y->attrs.i[0], !y->attrs.i[1]);
}

const sg_op sg_op_cumsum = {.name = "cumsum", .min_in = 1, .max_in = 1, .infer = infer, .run = run, .grad = grad};

static sg_value *build(sg_graph *g, sg_value *x, int axis, bool reverse)
{
    return sg_node(g, &sg_op_cumsum, 1, &x, &(sg_attrs){.n_i = 2, .i = {axis, reverse}});
}

sg_value *sg_cumsum(sg_graph *g, sg_value *x, int axis)
{
    return build(g, x, axis, false);
}

sg_value *sg_cumsum_reverse(sg_graph *g, sg_value *x, int axis)
{
    return build(g, x, axis, true);
}
