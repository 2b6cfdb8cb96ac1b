/* cond ? a : b */
#include "ops/iter.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    if (s->in[0]->dtype != SG_BOOL)
        return sg_infer_fail(s, err, SG_ETYPE, "the condition is not bool");
    if (s->in[1]->dtype != s->in[2]->dtype)
        return sg_infer_fail(s, err, SG_ETYPE, "types differ");
    s->dtype = s->in[1]->dtype;
    return sg_infer_broadcast(s, 0, 2, err);
}

#define BODY(A, B)                                                                                                     \
    SG_SIMD                                                                                                            \
    for (sg_dim i = 0; i < n; i++)                                                                                     \
        y[i] = c[i] ? A : B;

/* With the condition in one piece, either side is often a broadcast scalar. */
#define LOOP(T, name)                                                                                                  \
    static void name(void *const *at, const sg_dim *step, sg_dim n)                                                    \
    {                                                                                                                  \
        T *const y = at[0];                                                                                            \
        const uint8_t *const c = at[1];                                                                                \
        const T *const a = at[2], *const b = at[3], a0 = a[0], b0 = b[0];                                              \
        const sg_dim step_c = step[1], step_a = step[2], step_b = step[3];                                             \
        if (step_c == 1 && step_a == 1 && step_b == 1)                                                                 \
            BODY(a[i], b[i])                                                                                           \
        else if (step_c == 1 && step_a == 1 && step_b == 0)                                                            \
            BODY(a[i], b0)                                                                                             \
        else if (step_c == 1 && step_a == 0 && step_b == 1)                                                            \
            BODY(a0, b[i])                                                                                             \
        else                                                                                                           \
            for (sg_dim i = 0; i < n; i++)                                                                             \
                y[i] = c[i * step_c] ? a[i * step_a] : b[i * step_b];                                                  \
    }

LOOP(float, loop_f32)
LOOP(double, loop_f64)
LOOP(int32_t, loop_i32)
LOOP(uint16_t, loop_half)
LOOP(uint8_t, loop_bool)

static const sg_loop_fn loops[SG_N_DTYPES] = {
    [SG_F32] = loop_f32,   [SG_F64] = loop_f64,  [SG_I32] = loop_i32,
    [SG_BF16] = loop_half, [SG_F16] = loop_half, [SG_BOOL] = loop_bool,
};

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    sg_walk(k, loops[k->out->dtype], 1);
    return SG_OK;
}

/* The side not taken gets zero, whatever dy holds there. */
static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *zero = sg_scalar_like(g, dy, 0);

    dx[1] = sg_sum_to(g, sg_where(g, y->in[0], dy, zero), y->in[1]->n_dims, y->in[1]->dims);
    dx[2] = sg_sum_to(g, sg_where(g, y->in[0], zero, dy), y->in[2]->n_dims, y->in[2]->dims);
}

const sg_op sg_op_where = {.name = "where",
                           .min_in = 3,
                           .max_in = 3,
                           .flags = SG_OP_STRIDED,
                           .rows = SG_ROWS_ANY,
                           .infer = infer,
                           .run = run,
                           .grad = grad};

sg_value *sg_where(sg_graph *g, sg_value *cond, sg_value *a, sg_value *b)
{
    return sg_node(g, &sg_op_where, 3, (sg_value *[]){cond, a, b}, NULL);
}
