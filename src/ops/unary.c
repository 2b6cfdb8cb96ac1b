/* Operations on one float, element by element. A row at the end of the file is an operation's one place: its formula in
 * f32 and f64 and, above it, its gradient. */
#include <math.h>

#include "base/math.h"
#include "ops/exp.h"
#include "ops/iter.h"

#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed" /* formulas that call libm cannot be vectorised, as we know */
#endif

static sg_status infer(sg_infer *s, sg_error *err)
{
    if (s->in[0]->dtype != SG_F32 && s->in[0]->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64");
    sg_infer_like(s, 0);
    return SG_OK;
}

static sg_status apply(const sg_kernel_args *k, sg_loop_fn f32, sg_loop_fn f64, sg_dim work)
{
    sg_walk(k, k->out->dtype == SG_F32 ? f32 : f64, work);
    return SG_OK;
}

#define LOOP(T, name, formula)                                                                                         \
    static void name(void *const *at, const sg_dim *step, sg_dim n)                                                    \
    {                                                                                                                  \
        T *const y = at[0];                                                                                            \
        const T *const xs = at[1];                                                                                     \
        const sg_dim stride = step[1];                                                                                 \
        if (stride == 1) {                                                                                             \
            SG_SIMD                                                                                                    \
            for (sg_dim i = 0; i < n; i++) {                                                                           \
                const T x = xs[i];                                                                                     \
                y[i] = (formula);                                                                                      \
            }                                                                                                          \
        } else {                                                                                                       \
            for (sg_dim i = 0; i < n; i++) {                                                                           \
                const T x = xs[i * stride];                                                                            \
                y[i] = (formula);                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

#define UNARY(op, work, formula32, formula64, gradient)                                                                \
    LOOP(float, op##_f32, formula32)                                                                                   \
    LOOP(double, op##_f64, formula64)                                                                                  \
    static sg_status op##_run(const sg_kernel_args *k, sg_error *err)                                                  \
    {                                                                                                                  \
        (void)err;                                                                                                     \
        return apply(k, op##_f32, op##_f64, work);                                                                     \
    }                                                                                                                  \
    static void op##_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)                                       \
    {                                                                                                                  \
        sg_value *x = y->in[0];                                                                                        \
        (void)x;                                                                                                       \
        dx[0] = (gradient);                                                                                            \
    }                                                                                                                  \
    const sg_op sg_op_##op = {.name = #op,                                                                             \
                              .min_in = 1,                                                                             \
                              .max_in = 1,                                                                             \
                              .flags = SG_OP_STRIDED | SG_OP_ELEMENTWISE,                                              \
                              .rows = SG_ROWS_ANY,                                                                     \
                              .infer = infer,                                                                          \
                              .run = op##_run,                                                                         \
                              .grad = op##_grad};                                                                      \
    sg_value *sg_##op(sg_graph *g, sg_value *x)                                                                        \
    {                                                                                                                  \
        return sg_node(g, &sg_op_##op, 1, &x, NULL);                                                                   \
    }

/* ---- gradients that take more than a product ---- */

static sg_value *times(sg_graph *g, sg_value *a, sg_value *b)
{
    return sg_mul(g, a, b);
}

static sg_value *one_minus(sg_graph *g, sg_value *x)
{
    return sg_add_scalar(g, sg_neg(g, x), 1);
}

/* Phi(x) + x phi(x) */
static sg_value *gelu_slope(sg_graph *g, sg_value *x)
{
    sg_value *cdf = sg_mul_scalar(g, sg_add_scalar(g, sg_erf(g, sg_mul_scalar(g, x, M_SQRT1_2)), 1), 0.5);
    sg_value *pdf = sg_mul_scalar(g, sg_exp(g, sg_mul_scalar(g, sg_square(g, x), -0.5)), 0.5 * M_2_SQRTPI * M_SQRT1_2);

    return sg_add(g, cdf, times(g, x, pdf));
}

#define GELU_A 0.7978845608028654 /* sqrt(2 / pi) */
#define GELU_B 0.044715

/* y = x s(v), v = 2 A (x + B x^3), s the sigmoid: y' = s + x s (1 - s) v' */
#define GELU_SLOPE(T, name, EXP)                                                                                       \
    static inline T name(T given)                                                                                      \
    {                                                                                                                  \
        const T low = given < -10 ? -10 : given, x = low > 10 ? 10 : low; /* beyond it is 0 or 1 to the last bit */    \
        const T square = x * x, s = 1 / (1 + EXP(-x * ((T)(2 * GELU_A) + (T)(2 * GELU_A * GELU_B) * square)));         \
        return s + x * s * (1 - s) * ((T)(2 * GELU_A) + (T)(6 * GELU_A * GELU_B) * square);                            \
    }
GELU_SLOPE(float, gelu_tanh_slope_32, sg_expf)
GELU_SLOPE(double, gelu_tanh_slope_64, sg_math_exp)

/* y'' = 2 s' + x s'', with s' = s (1 - s) v' and s'' = s' (1 - 2 s) v' + s (1 - s) v''. */
static sg_value *gelu_tanh_curvature(sg_graph *g, sg_value *x)
{
    sg_value *square = sg_square(g, x);
    sg_value *v = times(g, x, sg_add_scalar(g, sg_mul_scalar(g, square, 2 * GELU_A * GELU_B), 2 * GELU_A));
    sg_value *dv = sg_add_scalar(g, sg_mul_scalar(g, square, 6 * GELU_A * GELU_B), 2 * GELU_A);
    sg_value *s = sg_sigmoid(g, v), *spread = times(g, s, one_minus(g, s)), *ds = times(g, spread, dv);
    sg_value *bend = times(g, times(g, ds, dv), one_minus(g, sg_mul_scalar(g, s, 2)));
    sg_value *dds = sg_add(g, bend, times(g, spread, sg_mul_scalar(g, x, 12 * GELU_A * GELU_B)));

    return sg_add(g, sg_mul_scalar(g, ds, 2), times(g, x, dds));
}

static sg_value *silu_slope(sg_graph *g, sg_value *x)
{
    sg_value *s = sg_sigmoid(g, x);

    return times(g, s, sg_add_scalar(g, times(g, x, one_minus(g, s)), 1));
}

static sg_value *zero_scalar(sg_graph *g, sg_value *x)
{
    return sg_scalar_like(g, x, 0);
}

/* ---- the operations ---- */

UNARY(neg, 1, -x, -x, sg_neg(g, dy))
UNARY(abs, 1, fabsf(x), fabs(x), times(g, dy, sg_sign(g, x)))
UNARY(exp, 4, sg_expf(x), sg_math_exp(x), times(g, dy, y))
UNARY(log, 16, (float)sg_math_log((double)x), sg_math_log(x), sg_div(g, dy, x))
UNARY(sqrt, 2, sqrtf(x), sqrt(x), sg_div(g, sg_mul_scalar(g, dy, 0.5), y))
UNARY(rsqrt, 2, 1.0f / sqrtf(x), 1.0 / sqrt(x), times(g, dy, sg_mul_scalar(g, times(g, y, sg_square(g, y)), -0.5)))
UNARY(reciprocal, 1, 1.0f / x, 1.0 / x, sg_neg(g, times(g, dy, sg_square(g, y))))
UNARY(square, 1, x *x, x *x, times(g, dy, sg_mul_scalar(g, x, 2)))
UNARY(sin, 16, (float)sg_math_sin((double)x), sg_math_sin(x), times(g, dy, sg_cos(g, x)))
UNARY(cos, 16, (float)sg_math_cos((double)x), sg_math_cos(x), sg_neg(g, times(g, dy, sg_sin(g, x))))
UNARY(erf, 16, (float)sg_math_erf((double)x), sg_math_erf(x),
      times(g, dy, sg_mul_scalar(g, sg_exp(g, sg_neg(g, sg_square(g, x))), M_2_SQRTPI)))
UNARY(tanh, 4, sg_tanhf(x), sg_math_tanh(x), times(g, dy, one_minus(g, sg_square(g, y))))
UNARY(sigmoid, 4, 1.0f / (1.0f + sg_expf(-x)), sg_math_sigmoid(x), times(g, dy, times(g, y, one_minus(g, y))))
UNARY(relu, 1, x < 0.0f ? 0.0f : x, x < 0.0 ? 0.0 : x,
      sg_where(g, sg_greater(g, x, zero_scalar(g, x)), dy, zero_scalar(g, x)))
UNARY(gelu, 16, 0.5f * x * (1.0f + (float)sg_math_erf((double)x * M_SQRT1_2)),
      0.5 * x * (1.0 + sg_math_erf(x * M_SQRT1_2)), times(g, dy, gelu_slope(g, x)))
UNARY(gelu_tanh, 4, x / (1.0f + sg_expf(-2.0f * (float)GELU_A * (x + (float)GELU_B * x * x * x))),
      x / (1.0 + sg_math_exp(-2.0 * GELU_A * (x + GELU_B * x * x * x))), times(g, dy, sg_gelu_tanh_slope(g, x)))
UNARY(gelu_tanh_slope, 4, gelu_tanh_slope_32(x), gelu_tanh_slope_64(x), times(g, dy, gelu_tanh_curvature(g, x)))
UNARY(silu, 4, x / (1.0f + sg_expf(-x)), x / (1.0 + sg_math_exp(-x)), times(g, dy, silu_slope(g, x)))
UNARY(softplus, 4, sg_softplusf(x), (x > 0.0 ? x : 0.0) + sg_math_log1p(sg_math_exp(-sg_math_abs(x))),
      times(g, dy, sg_sigmoid(g, x)))

/* sign: -1, 0 or 1, NaN for NaN; nothing flows back */
LOOP(float, sign_f32, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x)
LOOP(double, sign_f64, x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x)

static sg_status sign_run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    return apply(k, sign_f32, sign_f64, 1);
}

const sg_op sg_op_sign = {.name = "sign",
                          .min_in = 1,
                          .max_in = 1,
                          .flags = SG_OP_STRIDED | SG_OP_ELEMENTWISE,
                          .rows = SG_ROWS_ANY,
                          .infer = infer,
                          .run = sign_run};

sg_value *sg_sign(sg_graph *g, sg_value *x)
{
    return sg_node(g, &sg_op_sign, 1, &x, NULL);
}
