/* Comparisons and logic: results are bool, nothing flows back. */
#include "ops/iter.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_dtype t = s->in[0]->dtype;

    if (t != s->in[1]->dtype)
        return sg_infer_fail(s, err, SG_ETYPE, "types differ");
    if (t != SG_F32 && t != SG_F64 && t != SG_I32 && t != SG_BOOL)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32, f64, i32 or bool");
    s->dtype = SG_BOOL;
    return sg_infer_broadcast(s, 0, 1, err);
}

static sg_status infer_bool(sg_infer *s, sg_error *err)
{
    for (int i = 0; i < s->n_in; i++)
        if (s->in[i]->dtype != SG_BOOL)
            return sg_infer_fail(s, err, SG_ETYPE, "wanted bool");
    s->dtype = SG_BOOL;
    return sg_infer_broadcast(s, 0, s->n_in - 1, err);
}

#define BODY(T, A, B, formula)                                                                                         \
    SG_SIMD                                                                                                            \
    for (sg_dim i = 0; i < n; i++) {                                                                                   \
        const T a = A, b = B;                                                                                          \
        y[i] = (formula);                                                                                              \
    }

#define LOOP(T, name, formula)                                                                                         \
    static void name(void *const *at, const sg_dim *step, sg_dim n)                                                    \
    {                                                                                                                  \
        uint8_t *const y = at[0];                                                                                      \
        const T *const as = at[1], *const bs = at[2], a0 = as[0], b0 = bs[0];                                          \
        const sg_dim step_a = step[1], step_b = step[2];                                                               \
        if (step_a == 1 && step_b == 1)                                                                                \
            BODY(T, as[i], bs[i], formula)                                                                             \
        else if (step_a == 1 && step_b == 0)                                                                           \
            BODY(T, as[i], b0, formula)                                                                                \
        else if (step_a == 0 && step_b == 1)                                                                           \
            BODY(T, a0, bs[i], formula)                                                                                \
        else                                                                                                           \
            BODY(T, as[i * step_a], bs[i * step_b], formula)                                                           \
    }

#define COMPARE(op, rule, formula)                                                                                     \
    LOOP(float, op##_f32, formula)                                                                                     \
    LOOP(double, op##_f64, formula)                                                                                    \
    LOOP(int32_t, op##_i32, formula)                                                                                   \
    LOOP(uint8_t, op##_bool, formula)                                                                                  \
    static sg_status op##_run(const sg_kernel_args *k, sg_error *err)                                                  \
    {                                                                                                                  \
        const sg_dtype t = k->in[0]->dtype;                                                                            \
        (void)err;                                                                                                     \
        sg_walk(k, t == SG_F32 ? op##_f32 : t == SG_F64 ? op##_f64 : t == SG_I32 ? op##_i32 : op##_bool, 1);           \
        return SG_OK;                                                                                                  \
    }                                                                                                                  \
    const sg_op sg_op_##op = {.name = #op,                                                                             \
                              .min_in = 2,                                                                             \
                              .max_in = 2,                                                                             \
                              .flags = SG_OP_STRIDED,                                                                  \
                              .rows = SG_ROWS_ANY,                                                                     \
                              .infer = rule,                                                                           \
                              .run = op##_run};                                                                        \
    sg_value *sg_##op(sg_graph *g, sg_value *a, sg_value *b)                                                           \
    {                                                                                                                  \
        return sg_node(g, &sg_op_##op, 2, (sg_value *[]){a, b}, NULL);                                                 \
    }

COMPARE(equal, infer, a == b)
COMPARE(not_equal, infer, a != b)
COMPARE(less, infer, a < b)
COMPARE(less_equal, infer, a <= b)
COMPARE(greater, infer, a > b)
COMPARE(greater_equal, infer, a >= b)
COMPARE(and, infer_bool, (a != 0) & (b != 0))
COMPARE(or, infer_bool, (a != 0) | (b != 0))

static void not_loop(void *const *at, const sg_dim *step, sg_dim n)
{
    uint8_t *const y = at[0];
    const uint8_t *const x = at[1];

    for (sg_dim i = 0; i < n; i++)
        y[i] = !x[i * step[1]];
}

static sg_status not_run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    sg_walk(k, not_loop, 1);
    return SG_OK;
}

const sg_op sg_op_not = {.name = "not",
                         .min_in = 1,
                         .max_in = 1,
                         .flags = SG_OP_STRIDED,
                         .rows = SG_ROWS_ANY,
                         .infer = infer_bool,
                         .run = not_run};

sg_value *sg_not(sg_graph *g, sg_value *x)
{
    return sg_node(g, &sg_op_not, 1, &x, NULL);
}
