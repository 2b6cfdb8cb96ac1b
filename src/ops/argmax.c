/* The index of the largest along an axis; NaN counts as largest, the first of equals wins. Attributes: axis, keep. */
#include "ops/lines.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];

    if (x->dtype != SG_F32 && x->dtype != SG_F64 && x->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32, f64 or i32");
    SG_TRY(sg_infer_axis(s, 0, x->n_dims, err));
    s->dtype = SG_I32;
    for (int k = 0; k < x->n_dims; k++)
        if (k != s->attrs->i[0])
            s->dims[s->n_dims++] = x->dims[k];
        else if (s->attrs->i[1])
            s->dims[s->n_dims++] = 1;
    return SG_OK;
}

#define FIND(T)                                                                                                        \
    do {                                                                                                               \
        const T *x = (const T *)k->in[0]->data + at;                                                                   \
        for (sg_dim i = 1; i < l.n; i++) {                                                                             \
            const T v = x[i * l.inner], b = x[best * l.inner];                                                         \
            if (v > b || (v != v && b == b))                                                                           \
                best = i;                                                                                              \
        }                                                                                                              \
    } while (0)

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    const sg_lines l = sg_lines_of(k->in[0], k->i[0]);
    int32_t *y = k->out->data;

    if (l.n == 0 && l.outer * l.inner > 0)
        return sg_fail(err, SG_ESHAPE, "argmax over no elements");
    for (sg_dim line = 0; line < l.outer * l.inner; line++) {
        const sg_dim at = line / l.inner * l.n * l.inner + line % l.inner;
        sg_dim best = 0;
        if (k->in[0]->dtype == SG_F32)
            FIND(float);
        else if (k->in[0]->dtype == SG_F64)
            FIND(double);
        else
            FIND(int32_t);
        y[line] = (int32_t)best;
    }
    return SG_OK;
}

const sg_op sg_op_argmax = {.name = "argmax", .min_in = 1, .max_in = 1, .infer = infer, .run = run};

sg_value *sg_argmax(sg_graph *g, sg_value *x, int axis, bool keep)
{
    return sg_node(g, &sg_op_argmax, 1, &x, &(sg_attrs){.n_i = 2, .i = {axis, keep}});
}
