/* softmax, log-softmax, log-sum-exp: against double for every axis, and for lines that are masked, infinite or NaN. */
#include "values.h"

static const double nan_ = (double)NAN, inf_ = (double)INFINITY;

/* [3,n,inner] for line lengths below, at and past a vector, the axis last and not; large offsets must cancel. */
static void agrees_with_double_along_every_axis(void **state)
{
    static const sg_dim lengths[] = {1, 2, 7, 16, 19, 64, 77}, inners[] = {1, 2, 70};

    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
        for (size_t w = 0; w < sizeof inners / sizeof inners[0]; w++)
            for (int t = 0; t < 2; t++) {
                const sg_dim n = lengths[l], inner = inners[w], count = 3 * n * inner;
                static double x[3 * 77 * 70];
                for (sg_dim i = 0; i < count; i++)
                    x[i] = (double)(float)(500 + 9 * sin((double)(i * i))); /* e^500 alone would overflow f32 */
                sg_graph *g = sg_graph_new();
                sg_tensor numbers = sg_tensor_of(SG_F64, 3, (sg_dim[]){3, n, inner}, x);
                sg_value *v = sg_cast(g, sg_const(g, &numbers), t ? SG_F64 : SG_F32);
                sg_value *y[3] = {sg_softmax(g, v, 1), sg_log_softmax(g, v, -2), sg_logsumexp(g, v, 1, true)};
                CHECK_DIMS(y[2], DIMS(3, 1, inner));
                CHECK_DIMS(sg_logsumexp(g, v, 1, false), DIMS(3, inner));
                sg_tensor out[2][3];
                sg_session *s[2];
                sg_error err;
                for (int r = 0; r < 2; r++) {
                    CHECK_OK(sg_session_new(&s[r], g, NULL, values_opts(r ? 3 : 1), &err), &err);
                    CHECK_OK(sg_session_run(s[r], 0, NULL, 3, y, out[r], &err), &err);
                }
                for (int k = 0; k < 3; k++)
                    CHECK(memcmp(out[0][k].data, out[1][k].data, sg_tensor_bytes(&out[0][k])) == 0);
                for (sg_dim line = 0; line < 3 * inner; line++) {
                    const sg_dim at = line / inner * n * inner + line % inner;
                    double sum = 0;
                    for (sg_dim i = 0; i < n; i++)
                        sum += exp(x[at + i * inner] - 500);
                    const double lse = 500 + log(sum);
                    CHECK_NEAR(sg_tensor_get(&out[0][2], line), lse, 0, t ? 1e-15 : 6e-8);
                    for (sg_dim i = 0; i < n; i++) {
                        const double z = x[at + i * inner];
                        CHECK_NEAR(sg_tensor_get(&out[0][0], at + i * inner), exp(z - lse), 0, t ? 1e-13 : 4e-7);
                        /* The last bit of an f32 near 500 is 3e-5. */
                        CHECK_NEAR(sg_tensor_get(&out[0][1], at + i * inner), z - lse, t ? 2e-13 : 4e-5, 0);
                    }
                }
                sg_session_free(s[0]);
                sg_session_free(s[1]);
                sg_graph_free(g);
            }
}

/* The same line as one of 4 numbers, of 20, along the last axis and along the first. */
static void check_line(sg_dtype type, double a, double b, double soft_a, double soft_b, double log_a, double log_b,
                       double lse)
{
    for (int shape = 0; shape < 4; shape++) {
        const sg_dim n = shape & 1 ? 20 : 4;
        double x[20], soft[20], logs[20];
        for (sg_dim i = 0; i < n; i++) {
            x[i] = i == 1 ? a : b;
            soft[i] = i == 1 ? soft_a : soft_b;
            logs[i] = i == 1 ? log_a : log_b;
        }
        sg_graph *g = sg_graph_new();
        sg_value *v = numbers_of(g, type, DIMS(n), (int)n, x);
        const int axis = shape & 2 ? 0 : 1;
        v = sg_expand(g, v, 1 - axis);
        if (axis == 0)
            v = sg_concat(g, 2, (sg_value *[]){v, sg_zeros_like(g, v)}, 1); /* so that it is not one line in memory */
        sg_value *y[3] = {sg_softmax(g, v, axis), sg_log_softmax(g, v, axis), sg_logsumexp(g, v, axis, true)};
        for (int k = 0; k < 3; k++)
            y[k] = axis == 0 ? sg_slice(g, y[k], 1, 0, 1, 1) : y[k];
        check_values(g, y[0], 1e-6, (int)n, soft, "softmax", __FILE__, __LINE__);
        check_values(g, y[1], 1e-6, (int)n, logs, "log_softmax", __FILE__, __LINE__);
        check_values(g, y[2], 1e-6, 1, &lse, "logsumexp", __FILE__, __LINE__);
        sg_graph_free(g);
    }
}

static void odd_lines(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        const sg_dtype type = t ? SG_F64 : SG_F32;
        check_line(type, -inf_, -inf_, 0, 0, -inf_, -inf_, -inf_);   /* all masked */
        check_line(type, 3, -inf_, 1, 0, 0, -inf_, 3);               /* one left */
        check_line(type, nan_, -inf_, nan_, nan_, nan_, nan_, nan_); /* NaN among masks is not hidden */
        check_line(type, nan_, 1, nan_, nan_, nan_, nan_, nan_);
        check_line(type, nan_, inf_, nan_, nan_, nan_, nan_, nan_);
        check_line(type, 1000, -1000, 1, 0, 0, -2000, 1000);
    }
    sg_graph *g = sg_graph_new();
    CHECK_VALUES(g, sg_logsumexp(g, NUMBERS(g, SG_F32, DIMS(3), 1, inf_, -inf_), 0, false), 0, inf_);
    sg_graph_free(g);
}

/* A row that is all masked sends nothing back, rather than NaN. */
static void masked_rows_have_zero_gradients(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2, 2), 1, 2, 3, 4), *dx;
    sg_value *mask = NUMBERS(g, SG_BOOL, DIMS(2, 1), 0, 1);
    sg_value *y = sg_softmax(g, sg_where(g, mask, x, sg_scalar(g, SG_F64, -inf_)), 1);
    sg_gradients(g, y, NUMBERS(g, SG_F64, DIMS(2, 2), 1, 0, 1, 0), 1, &x, &dx);
    const double p = 1 / (1 + exp(1.0)), slope = p * (1 - p);
    CHECK_VALUES(g, dx, 1e-12, 0, 0, slope, -slope);
    sg_graph_free(g);
}

static void wrong_axes_and_types(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_softmax(g, NUMBERS(g, SG_F32, DIMS(2), 1, 2), 1);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "softmax: axis 1 of 1 axes (given f32 [2])");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_logsumexp(g, NUMBERS(g, SG_I32, DIMS(2), 1, 2), 0, false);
    CHECK_BUILD_FAILS(g, SG_ETYPE, "logsumexp: wanted f32 or f64");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_double_along_every_axis),
        cmocka_unit_test(odd_lines),
        cmocka_unit_test(masked_rows_have_zero_gradients),
        cmocka_unit_test(wrong_axes_and_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
