/* Operations on two numbers, element by element, broadcast. */
#include <math.h>

#include "base/math.h"
#include "ops/iter.h"

static sg_status infer_types(sg_infer *s, bool with_i32, sg_error *err)
{
    const sg_dtype t = s->in[0]->dtype;

    if (t != s->in[1]->dtype)
        return sg_infer_fail(s, err, SG_ETYPE, "types differ");
    if (t != SG_F32 && t != SG_F64 && !(with_i32 && t == SG_I32))
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32%s or f64", with_i32 ? ", i32" : "");
    s->dtype = t;
    return sg_infer_broadcast(s, 0, 1, err);
}

static sg_status infer(sg_infer *s, sg_error *err)
{
    return infer_types(s, true, err);
}

static sg_status infer_float(sg_infer *s, sg_error *err)
{
    return infer_types(s, false, err);
}

static sg_status apply(const sg_kernel_args *k, sg_loop_fn f32, sg_loop_fn f64, sg_loop_fn i32, sg_dim work)
{
    sg_walk(k, k->out->dtype == SG_F32 ? f32 : k->out->dtype == SG_F64 ? f64 : i32, work);
    return SG_OK;
}

#define BODY(T, A, B, formula)                                                                                         \
    SG_SIMD                                                                                                            \
    for (sg_dim i = 0; i < n; i++) {                                                                                   \
        const T a = as[A], b = bs[B];                                                                                  \
        y[i] = (formula);                                                                                              \
    }

#define LOOP(T, name, formula)                                                                                         \
    static void name(void *const *at, const sg_dim *step, sg_dim n)                                                    \
    {                                                                                                                  \
        T *const y = at[0];                                                                                            \
        const T *const as = at[1], *const bs = at[2];                                                                  \
        const sg_dim step_a = step[1], step_b = step[2];                                                               \
        if (step_a == 1 && step_b == 1) {                                                                              \
            BODY(T, i, i, formula)                                                                                     \
        } else if (step_a == 1 && step_b == 0) {                                                                       \
            const T fixed = bs[0];                                                                                     \
            SG_SIMD                                                                                                    \
            for (sg_dim i = 0; i < n; i++) {                                                                           \
                const T a = as[i], b = fixed;                                                                          \
                y[i] = (formula);                                                                                      \
            }                                                                                                          \
        } else if (step_a == 0 && step_b == 1) {                                                                       \
            const T fixed = as[0];                                                                                     \
            SG_SIMD                                                                                                    \
            for (sg_dim i = 0; i < n; i++) {                                                                           \
                const T a = fixed, b = bs[i];                                                                          \
                y[i] = (formula);                                                                                      \
            }                                                                                                          \
        } else {                                                                                                       \
            BODY(T, i *step_a, i *step_b, formula)                                                                     \
        }                                                                                                              \
    }

#define BINARY(op, work, formula32, formula64, infer_rule, i32)                                                        \
    LOOP(float, op##_f32, formula32)                                                                                   \
    LOOP(double, op##_f64, formula64)                                                                                  \
    static sg_status op##_run(const sg_kernel_args *k, sg_error *err)                                                  \
    {                                                                                                                  \
        (void)err;                                                                                                     \
        return apply(k, op##_f32, op##_f64, i32, work);                                                                \
    }                                                                                                                  \
    const sg_op sg_op_##op = {.name = #op,                                                                             \
                              .min_in = 2,                                                                             \
                              .max_in = 2,                                                                             \
                              .flags = SG_OP_STRIDED | SG_OP_ELEMENTWISE,                                              \
                              .rows = SG_ROWS_ANY,                                                                     \
                              .infer = infer_rule,                                                                     \
                              .run = op##_run,                                                                         \
                              .grad = op##_grad};                                                                      \
    sg_value *sg_##op(sg_graph *g, sg_value *a, sg_value *b)                                                           \
    {                                                                                                                  \
        return sg_node(g, &sg_op_##op, 2, (sg_value *[]){a, b}, NULL);                                                 \
    }

/* What flows to an input that was broadcast is summed over the places it was broadcast to. */
static sg_value *down_to(sg_graph *g, sg_value *d, const sg_value *like)
{
    return sg_sum_to(g, d, like->n_dims, like->dims);
}

static void add_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = down_to(g, dy, y->in[0]);
    dx[1] = down_to(g, dy, y->in[1]);
}

static void sub_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = down_to(g, dy, y->in[0]);
    dx[1] = down_to(g, sg_neg(g, dy), y->in[1]);
}

static void mul_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = down_to(g, sg_mul(g, dy, y->in[1]), y->in[0]);
    dx[1] = down_to(g, sg_mul(g, dy, y->in[0]), y->in[1]);
}

static void div_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *da = sg_div(g, dy, y->in[1]);

    dx[0] = down_to(g, da, y->in[0]);
    dx[1] = down_to(g, sg_neg(g, sg_mul(g, da, y)), y->in[1]);
}

/* d a^b = b a^(b-1) da + a^b log a db. At b = 0 the first is 0 whatever a is, which an exponent of 1 gives without
 * dividing by zero, in higher derivatives too; at a = 0 the second is 0. */
static void pow_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *a = y->in[0], *b = y->in[1], *zero = sg_scalar_like(g, a, 0), *one = sg_scalar_like(g, a, 1);
    sg_value *less = sg_where(g, sg_equal(g, b, zero), one, sg_sub(g, b, one));
    sg_value *at_zero = sg_equal(g, a, zero);
    sg_value *slope_b = sg_mul(g, y, sg_log(g, sg_where(g, at_zero, one, a)));

    dx[0] = down_to(g, sg_mul(g, dy, sg_mul(g, b, sg_pow(g, a, less))), a);
    dx[1] = down_to(g, sg_mul(g, dy, sg_where(g, at_zero, zero, slope_b)), b);
}

static void pick_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx, sg_value *first)
{
    sg_value *zero = sg_scalar_like(g, dy, 0);

    dx[0] = down_to(g, sg_where(g, first, dy, zero), y->in[0]);
    dx[1] = down_to(g, sg_where(g, first, zero, dy), y->in[1]);
}

static void maximum_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    pick_grad(g, y, dy, dx, sg_greater_equal(g, y->in[0], y->in[1]));
}

static void minimum_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    pick_grad(g, y, dy, dx, sg_less_equal(g, y->in[0], y->in[1]));
}

/* i32 sums and products wrap, as the machine's do. */
LOOP(int32_t, add_i32, (int32_t)((uint32_t)a + (uint32_t)b))
LOOP(int32_t, sub_i32, (int32_t)((uint32_t)a - (uint32_t)b))
LOOP(int32_t, mul_i32, (int32_t)((uint32_t)a *(uint32_t)b))
LOOP(int32_t, maximum_i32, a > b ? a : b)
LOOP(int32_t, minimum_i32, a < b ? a : b)

/* div_run has refused zeros; -2^31 / -1 wraps */
LOOP(int32_t, div_i32, b == -1 ? (int32_t)(0u - (uint32_t)a) : a / b)

BINARY(add, 1, a + b, a + b, infer, add_i32)
BINARY(sub, 1, a - b, a - b, infer, sub_i32)
BINARY(mul, 1, a *b, a *b, infer, mul_i32)
BINARY(pow, 16, sg_math_powf(a, b), sg_math_pow(a, b), infer_float, NULL)
BINARY(maximum, 1, a != a || a >= b ? a : b, a != a || a >= b ? a : b, infer, maximum_i32)
BINARY(minimum, 1, a != a || a <= b ? a : b, a != a || a <= b ? a : b, infer, minimum_i32)

LOOP(float, div_f32, a / b)
LOOP(double, div_f64, a / b)

static sg_status div_run(const sg_kernel_args *k, sg_error *err)
{
    if (k->out->dtype == SG_I32) {
        const sg_view *b = k->in[1];
        sg_iter it;
        sg_iter_begin(&it, k->out, 1, &b);
        if (it.n)
            do {
                const int32_t *const x = (const int32_t *)b->data + it.at[1];
                for (sg_dim i = 0; i < it.n; i++)
                    if (x[i * it.step[1]] == 0)
                        return sg_fail(err, SG_ENUMERIC, "div: i32 division by zero");
            } while (sg_iter_next(&it));
    }
    return apply(k, div_f32, div_f64, div_i32, 2);
}

const sg_op sg_op_div = {.name = "div",
                         .min_in = 2,
                         .max_in = 2,
                         .flags = SG_OP_STRIDED | SG_OP_ELEMENTWISE,
                         .rows = SG_ROWS_ANY,
                         .infer = infer,
                         .run = div_run,
                         .grad = div_grad};

sg_value *sg_div(sg_graph *g, sg_value *a, sg_value *b)
{
    return sg_node(g, &sg_op_div, 2, (sg_value *[]){a, b}, NULL);
}
