/* Element-wise operations on one float: against double, at the ends of the range, over views. exp_test measures how
 * exact the f32 formulas are; gradient_test checks derivatives. */
#include "values.h"

static const double nan_ = (double)NAN, inf_ = (double)INFINITY;

typedef sg_value *(*builder)(sg_graph *g, sg_value *x);

static double sign(double x)
{
    return x > 0 ? 1 : x < 0 ? -1 : 0;
}

static double rsqrt(double x)
{
    return 1 / sqrt(x);
}

static double reciprocal(double x)
{
    return 1 / x;
}

static double square(double x)
{
    return x * x;
}

static double negative(double x)
{
    return -x;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double relu(double x)
{
    return x > 0 ? x : 0;
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2.0));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static double gelu_tanh_slope(double x)
{
    const double a = 0.7978845608028654, u = a * (x + 0.044715 * x * x * x), t = tanh(u);

    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * a * (1 + 3 * 0.044715 * x * x);
}

static double silu(double x)
{
    return x * sigmoid(x);
}

static double softplus(double x)
{
    return log(1 + exp(x));
}

static const struct {
    builder build;
    double (*truth)(double);
    bool only_positive;
} table[] = {
    {sg_neg, negative, false},
    {sg_abs, fabs, false},
    {sg_sign, sign, false},
    {sg_exp, exp, false},
    {sg_log, log, true},
    {sg_sqrt, sqrt, true},
    {sg_rsqrt, rsqrt, true},
    {sg_reciprocal, reciprocal, true},
    {sg_square, square, false},
    {sg_sin, sin, false},
    {sg_cos, cos, false},
    {sg_erf, erf, false},
    {sg_tanh, tanh, false},
    {sg_sigmoid, sigmoid, false},
    {sg_relu, relu, false},
    {sg_gelu, gelu, false},
    {sg_gelu_tanh, gelu_tanh, false},
    {sg_gelu_tanh_slope, gelu_tanh_slope, false},
    {sg_silu, silu, false},
    {sg_softplus, softplus, false},
};

#define N 37 /* neither a multiple of a vector nor less than one */

static void formulas_agree_with_double(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof table / sizeof table[0]; row++) {
        double x[N], want[N];
        sg_graph *g = sg_graph_new();
        for (int i = 0; i < N; i++) {
            x[i] = (double)(float)(table[row].only_positive ? 0.05 + 0.21 * i : 0.31 * (i - 18));
            want[i] = table[row].truth(x[i]);
        }
        sg_value *f32 = table[row].build(g, numbers_of(g, SG_F32, DIMS(N), N, x));
        sg_value *f64 = table[row].build(g, numbers_of(g, SG_F64, DIMS(N), N, x));
        /* A few units in the last place of numbers up to 300. */
        check_values(g, f32, 1e-6, N, want, sg_value_op(f32), __FILE__, __LINE__);
        check_values(g, f64, 1e-14, N, want, sg_value_op(f64), __FILE__, __LINE__);
        sg_graph_free(g);
    }
}

static void nan_stays_visible(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof table / sizeof table[0]; row++)
        for (int t = 0; t < 2; t++) {
            /* Both alone and in a vector. */
            sg_graph *g = sg_graph_new();
            double x[N], want[N];
            for (int i = 0; i < N; i++)
                x[i] = want[i] = nan_;
            sg_value *y = table[row].build(g, numbers_of(g, t ? SG_F64 : SG_F32, DIMS(N), N, x));
            check_values(g, y, 0, N, want, sg_value_op(y), __FILE__, __LINE__);
            sg_graph_free(g);
        }
}

static void ends_of_the_range(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        const sg_dtype type = t ? SG_F64 : SG_F32;
        sg_graph *g = sg_graph_new();
        sg_value *ends = NUMBERS(g, type, DIMS(4), -inf_, -1000, 1000, inf_);
        CHECK_VALUES(g, sg_softplus(g, ends), 0, 0, 0, 1000, inf_);
        CHECK_VALUES(g, sg_softplus(g, NUMBERS(g, type, DIMS(2), 100, -100)), 1e-6, 100, exp(-100.0));
        CHECK_VALUES(g, sg_exp(g, ends), 0, 0, 0, inf_, inf_);
        CHECK_VALUES(g, sg_tanh(g, ends), 0, -1, -1, 1, 1);
        CHECK_VALUES(g, sg_sigmoid(g, ends), 0, 0, 0, 1, 1);
        CHECK_VALUES(g, sg_erf(g, ends), 0, -1, -1, 1, 1);
        CHECK_VALUES(g, sg_relu(g, ends), 0, 0, 0, 1000, inf_);
        CHECK_VALUES(g, sg_gelu(g, NUMBERS(g, type, DIMS(2), -1000, 1000)), 0, 0, 1000);
        CHECK_VALUES(g, sg_gelu_tanh(g, NUMBERS(g, type, DIMS(2), -1000, 1000)), 0, 0, 1000);
        CHECK_VALUES(g,
                     sg_gelu_tanh_slope(g, NUMBERS(g, type, DIMS(4), -(double)INFINITY, -1e30, 1e30, (double)INFINITY)),
                     1e-30, 0, 0, 1, 1);
        CHECK_VALUES(g, sg_silu(g, NUMBERS(g, type, DIMS(2), -1000, 1000)), 0, 0, 1000);
        CHECK_VALUES(g, sg_log(g, NUMBERS(g, type, DIMS(3), 0, -1, inf_)), 0, -inf_, nan_, inf_);
        CHECK_VALUES(g, sg_sqrt(g, NUMBERS(g, type, DIMS(2), 0, -1)), 0, 0, nan_);
        CHECK_VALUES(g, sg_rsqrt(g, NUMBERS(g, type, DIMS(2), 0, inf_)), 0, inf_, 0);
        CHECK_VALUES(g, sg_sign(g, NUMBERS(g, type, DIMS(3), 0, -inf_, 3)), 0, 0, -1, 1);
        sg_graph_free(g);
    }
}

static void views_and_empty_values(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 3), 1, 2, 3, 4, 5, 6);

    CHECK_VALUES(g, sg_neg(g, sg_swap_axes(g, x, 0, 1)), 0, -1, -4, -2, -5, -3, -6);
    CHECK_VALUES(g, sg_square(g, sg_slice(g, x, 1, 0, 3, 2)), 0, 1, 9, 16, 36);
    CHECK_VALUES(g, sg_neg(g, sg_full(g, SG_F64, DIMS(2, 2), 3)), 0, -3, -3, -3, -3);
    CHECK_VALUES(g, sg_neg(g, sg_scalar(g, SG_F32, 2)), 0, -2);
    sg_value *none = sg_neg(g, sg_slice(g, x, 0, 1, 1, 1));
    CHECK_DIMS(none, DIMS(0, 3));
    check_values(g, none, 0, 0, NULL, "none", __FILE__, __LINE__);
    sg_graph_free(g);
}

static void slopes_at_kinks(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(3), -1, 0, 2), *dx;

    sg_gradients(g, sg_relu(g, x), NULL, 1, &x, &dx);
    CHECK_VALUES(g, dx, 0, 0, 0, 1);
    sg_gradients(g, sg_sign(g, x), NULL, 1, &x, &dx);
    CHECK_VALUES(g, dx, 0, 0, 0, 0);
    sg_graph_free(g);
}

static void integers_are_refused(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_exp(g, NUMBERS(g, SG_I32, DIMS(2), 1, 2));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "exp: wanted f32 or f64 (given i32 [2])");
    sg_graph_free(g);
}

static void casts_between_all_types(void **state)
{
    static const sg_dtype types[] = {SG_F32, SG_F64, SG_I32, SG_BF16, SG_F16, SG_BOOL};

    (void)state;
    for (int from = 0; from < 6; from++)
        for (int to = 0; to < 6; to++) {
            sg_graph *g = sg_graph_new();
            sg_value *y = sg_cast(g, NUMBERS(g, types[from], DIMS(2, 2), 0, 1, 1, 0), types[to]);
            CHECK(sg_value_dtype(y) == types[to]);
            CHECK_VALUES(g, sg_swap_axes(g, y, 0, 1), 0, 0, 1, 1, 0);
            sg_graph_free(g);
        }
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(4), -2.75, 0, 2.75, 3e9);
    CHECK_VALUES(g, sg_cast(g, x, SG_I32), 0, -2, 0, 2, INT32_MAX); /* toward zero, kept in range */
    CHECK_VALUES(g, sg_cast(g, x, SG_BOOL), 0, 1, 0, 1, 1);
    sg_graph_free(g);
}

static void identity_and_stopped_gradients(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2), 3, 4), *dx;

    CHECK_VALUES(g, sg_identity(g, x), 0, 3, 4);
    CHECK_VALUES(g, sg_stop_gradient(g, x), 0, 3, 4);
    sg_gradients(g, sg_mul(g, sg_identity(g, x), sg_stop_gradient(g, x)), NULL, 1, &x, &dx);
    CHECK_VALUES(g, dx, 0, 3, 4); /* of x * constant, not 2x */
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formulas_agree_with_double),
        cmocka_unit_test(nan_stays_visible),
        cmocka_unit_test(ends_of_the_range),
        cmocka_unit_test(views_and_empty_values),
        cmocka_unit_test(slopes_at_kinks),
        cmocka_unit_test(integers_are_refused),
        cmocka_unit_test(casts_between_all_types),
        cmocka_unit_test(identity_and_stopped_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
