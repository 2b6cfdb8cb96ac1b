/* Sums, means, maxima, minima; argmax and running sums, which walk the same lines. */
#include "values.h"

static const double nan_ = (double)NAN, inf_ = (double)INFINITY;

static void values_by_hand(void **state)
{
    static const sg_dtype types[] = {SG_F32, SG_F64, SG_I32};

    (void)state;
    for (int t = 0; t < 3; t++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = NUMBERS(g, types[t], DIMS(2, 3), 1, 5, 3, 4, 2, 9);
        CHECK_VALUES(g, sg_sum(g, x, 0, false), 0, 5, 7, 12);
        CHECK_VALUES(g, sg_sum(g, x, -1, false), 0, 9, 15);
        CHECK_VALUES(g, sg_sum_all(g, x), 0, 24);
        CHECK_VALUES(g, sg_max(g, x, 0, false), 0, 4, 5, 9);
        CHECK_VALUES(g, sg_max(g, x, 1, false), 0, 5, 9);
        CHECK_VALUES(g, sg_min(g, x, 0, false), 0, 1, 2, 3);
        CHECK_VALUES(g, sg_min_axes(g, x, SG_ALL_AXES, false), 0, 1);
        CHECK_DIMS(sg_sum(g, x, 0, true), DIMS(1, 3));
        CHECK_DIMS(sg_sum(g, x, 1, true), DIMS(2, 1));
        CHECK_DIMS(sg_max_axes(g, x, 3, true), DIMS(1, 1));
        CHECK_VALUES(g, sg_sum_axes(g, x, 0, false), 0, 1, 5, 3, 4, 2, 9);
        if (types[t] != SG_I32) {
            CHECK_VALUES(g, sg_mean(g, x, 0, false), 0, 2.5, 3.5, 6);
            CHECK_VALUES(g, sg_mean(g, x, 1, false), 0, 3, 5);
            CHECK_VALUES(g, sg_mean_all(g, x), 0, 4);
        }
        CHECK_VALUES(g, sg_sum(g, sg_swap_axes(g, x, 0, 1), 0, false), 0, 9, 15);
        CHECK_VALUES(g, sg_sum(g, sg_swap_axes(g, x, 0, 1), 1, false), 0, 5, 7, 12);
        CHECK_VALUES(g, sg_sum(g, sg_broadcast(g, x, DIMS(4, 2, 3)), 0, false), 0, 4, 20, 12, 16, 8, 36);
        CHECK_VALUES(g, sg_sum_all(g, sg_scalar(g, types[t], 3)), 0, 3);
        sg_graph_free(g);
    }
}

/* Every set of axes of a [3,20,2,70], against sums by position: lines longer than the lanes, columns wider than a tile.
 */
static void every_set_of_axes(void **state)
{
    static const sg_dim dims[4] = {3, 20, 2, 70};
    enum { COUNT = 3 * 20 * 2 * 70 };
    static double x[COUNT], sum[COUNT], most[COUNT], least[COUNT];

    (void)state;
    for (int i = 0; i < COUNT; i++)
        x[i] = (double)((i * 7919) % 1009) / 8 - 60; /* exact in f32, and so are its sums */
    for (unsigned axes = 0; axes < 16; axes++)
        for (int t = 0; t < 2; t++) {
            sg_dim strides[4], n_out = 1;
            for (int k = 3; k >= 0; k--) {
                strides[k] = axes >> k & 1 ? 0 : n_out;
                n_out *= axes >> k & 1 ? 1 : dims[k];
            }
            for (sg_dim i = 0; i < n_out; i++) {
                sum[i] = 0;
                most[i] = -inf_;
                least[i] = inf_;
            }
            for (sg_dim i = 0; i < COUNT; i++) {
                sg_dim rest = i, at = 0;
                for (int k = 3; k >= 0; k--) {
                    at += rest % dims[k] * strides[k];
                    rest /= dims[k];
                }
                sum[at] += x[i];
                most[at] = fmax(most[at], x[i]);
                least[at] = fmin(least[at], x[i]);
            }
            sg_graph *g = sg_graph_new();
            sg_tensor numbers = sg_tensor_of(SG_F64, 4, dims, x);
            sg_value *v = sg_cast(g, sg_const(g, &numbers), t ? SG_F64 : SG_F32), *y[4];
            y[0] = sg_sum_axes(g, v, axes, false);
            y[1] = sg_max_axes(g, v, axes, false);
            y[2] = sg_min_axes(g, v, axes, true);
            y[3] = sg_mean_axes(g, v, axes, true);
            for (int threads = 1; threads <= 3; threads += 2) {
                sg_session *s;
                sg_tensor out[4];
                sg_error err;
                CHECK_OK(sg_session_new(&s, g, NULL, values_opts(threads), &err), &err);
                CHECK_OK(sg_session_run(s, 0, NULL, 4, y, out, &err), &err);
                CHECK(sg_tensor_count(&out[0]) == n_out && sg_tensor_count(&out[2]) == n_out && out[2].n_dims == 4);
                for (sg_dim i = 0; i < n_out; i++) {
                    CHECK_NEAR(sg_tensor_get(&out[0], i), sum[i], 0, 0);
                    CHECK_NEAR(sg_tensor_get(&out[1], i), most[i], 0, 0);
                    CHECK_NEAR(sg_tensor_get(&out[2], i), least[i], 0, 0);
                    CHECK_NEAR(sg_tensor_get(&out[3], i), sum[i] * (double)n_out / COUNT, 1e-12, t ? 1e-15 : 1e-7);
                }
                sg_session_free(s);
            }
            sg_graph_free(g);
        }
}

/* 2^24 and then a thousand ones: an f32 sum would stay at 2^24. */
static void f32_sums_run_in_double(void **state)
{
    enum { N = 1001 };
    double x[N];

    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = i ? 1 : 16777216;
    sg_graph *g = sg_graph_new();
    sg_value *v = numbers_of(g, SG_F32, DIMS(N, 1), N, x);
    CHECK_VALUES(g, sg_sum_all(g, v), 0, 16778216);
    CHECK_VALUES(g, sg_sum(g, sg_broadcast(g, v, DIMS(N, 2)), 0, false), 0, 16778216, 16778216);
    CHECK_VALUES(g, sg_slice(g, sg_cumsum(g, v, 0), 0, N - 1, N, 1), 0, 16778216);
    sg_graph_free(g);
}

static void nan_stays_visible(void **state)
{
    (void)state;
    for (int place = 0; place < 40; place++) {
        double x[40];
        for (int i = 0; i < 40; i++)
            x[i] = i == place ? nan_ : i;
        sg_graph *g = sg_graph_new();
        for (int t = 0; t < 2; t++) {
            sg_value *v = numbers_of(g, t ? SG_F64 : SG_F32, DIMS(40), 40, x);
            CHECK_VALUES(g, sg_sum_all(g, v), 0, nan_);
            CHECK_VALUES(g, sg_max(g, v, 0, false), 0, nan_);
            CHECK_VALUES(g, sg_min(g, v, 0, false), 0, nan_);
            CHECK_VALUES(g, sg_argmax(g, v, 0, false), 0, place);
            sg_value *two = sg_reshape(g, v, DIMS(20, 2));
            CHECK_VALUES(g, sg_max(g, two, 0, false), 0, place % 2 ? 38 : nan_, place % 2 ? nan_ : 39);
            CHECK_VALUES(g, sg_min(g, two, 0, false), 0, place % 2 ? 0 : nan_, place % 2 ? nan_ : 1);
        }
        sg_graph_free(g);
    }
}

static void over_nothing(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *none = sg_slice(g, NUMBERS(g, SG_F32, DIMS(2, 2), 1, 2, 3, 4), 0, 1, 1, 1);
    CHECK_DIMS(none, DIMS(0, 2));
    CHECK_VALUES(g, sg_sum(g, none, 0, false), 0, 0, 0);
    CHECK_VALUES(g, sg_sum_all(g, none), 0, 0);
    CHECK_VALUES(g, sg_mean(g, none, 0, false), 0, nan_, nan_);
    check_values(g, sg_max(g, none, 1, false), 0, 0, NULL, "none", __FILE__, __LINE__);
    CHECK_RUN_FAILS(g, sg_max(g, none, 0, false), SG_ESHAPE, "max over no elements");
    CHECK_RUN_FAILS(g, sg_argmax(g, none, 0, false), SG_ESHAPE, "argmax over no elements");
    sg_graph_free(g);
}

static void wrong_axes_and_types(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_sum(g, NUMBERS(g, SG_F32, DIMS(2), 1, 2), 1, false);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "sum: axis 1 of 1 axes");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_max_axes(g, NUMBERS(g, SG_F32, DIMS(2), 1, 2), 6, false);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "max: axes 0x6 of 1 axes");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_mean_all(g, NUMBERS(g, SG_I32, DIMS(2), 1, 2));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "mean: wanted f32 or f64 (given i32 [2])");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_cumsum(g, NUMBERS(g, SG_F32, DIMS(2), 1, 2), -2);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "cumsum: axis -2 of 1 axes");
    sg_graph_free(g);
}

static void ties_share_the_gradient(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2, 3), 5, 5, 1, 2, 2, 2), *dx;
    sg_value *dy = NUMBERS(g, SG_F64, DIMS(2), 6, 12);
    sg_gradients(g, sg_max(g, x, 1, false), dy, 1, &x, &dx);
    CHECK_VALUES(g, dx, 0, 3, 3, 0, 4, 4, 4);
    sg_gradients(g, sg_min(g, x, 1, false), dy, 1, &x, &dx);
    CHECK_VALUES(g, dx, 0, 0, 0, 6, 4, 4, 4);
    sg_graph_free(g);
}

/* d mean / dx is 1 / (batch * 2), whatever batch is in the run. */
static void means_over_symbolic_axes(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(sg_extent(g, "batch"), 2));
    sg_value *y[2] = {sg_mean_all(g, x), NULL};
    y[1] = sg_grad(g, y[0], x);
    float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    sg_session *s;
    sg_error err;
    CHECK_OK(sg_session_new(&s, g, NULL, values_opts(1), &err), &err);
    for (sg_dim batch = 1; batch <= 4; batch *= 2) {
        sg_tensor out[2];
        const sg_feed feed = {x, sg_tensor_of(SG_F32, 2, (sg_dim[]){batch, 2}, numbers)};
        CHECK_OK(sg_session_run(s, 1, &feed, 2, y, out, &err), &err);
        CHECK_NEAR(sg_tensor_get(&out[0], 0), (double)batch + 0.5, 0, 0);
        CHECK_NEAR(sg_tensor_get(&out[1], 2 * batch - 1), 1.0 / (2.0 * (double)batch), 0, 0);
    }
    sg_session_free(s);
    sg_graph_free(g);
}

static void sums_to_a_shape_undo_a_broadcast(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 1, 3), 1, 2, 3, 4, 5, 6);
    CHECK(sg_sum_to(g, x, DIMS(2, 1, 3)) == x);
    CHECK_VALUES(g, sg_sum_to(g, x, DIMS(1, 3)), 0, 5, 7, 9);
    CHECK_VALUES(g, sg_sum_to(g, x, DIMS(2, 1, 1)), 0, 6, 15);
    CHECK_VALUES(g, sg_sum_to(g, x, NO_DIMS), 0, 21);
    CHECK_DIMS(sg_sum_to(g, x, NO_DIMS), NO_DIMS);
    sg_graph_free(g);
}

static void the_first_of_equals_is_the_argmax(void **state)
{
    static const sg_dtype types[] = {SG_F32, SG_F64, SG_I32};

    (void)state;
    for (int t = 0; t < 3; t++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = NUMBERS(g, types[t], DIMS(2, 3), 1, 5, 5, 4, 2, -9);
        CHECK_VALUES(g, sg_argmax(g, x, 1, false), 0, 1, 0);
        CHECK_VALUES(g, sg_argmax(g, x, 0, true), 0, 1, 0, 0);
        CHECK_DIMS(sg_argmax(g, x, -2, true), DIMS(1, 3));
        CHECK(sg_value_dtype(sg_argmax(g, x, 0, false)) == SG_I32);
        sg_graph_free(g);
    }
    sg_graph *g = sg_graph_new();
    CHECK_VALUES(g, sg_argmax(g, NUMBERS(g, SG_F32, DIMS(4), inf_, nan_, nan_, 1), 0, false), 0, 1);
    CHECK_VALUES(g, sg_argmax(g, NUMBERS(g, SG_F32, DIMS(2), -inf_, -inf_), 0, false), 0, 0);
    sg_graph_free(g);
}

static void running_sums(void **state)
{
    static const sg_dtype types[] = {SG_F32, SG_F64, SG_I32};

    (void)state;
    for (int t = 0; t < 3; t++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = NUMBERS(g, types[t], DIMS(2, 3), 1, 2, 3, 4, 5, 6);
        CHECK_VALUES(g, sg_cumsum(g, x, 1), 0, 1, 3, 6, 4, 9, 15);
        CHECK_VALUES(g, sg_cumsum(g, x, 0), 0, 1, 2, 3, 5, 7, 9);
        CHECK_VALUES(g, sg_cumsum_reverse(g, x, -1), 0, 6, 5, 3, 15, 11, 6);
        CHECK_VALUES(g, sg_cumsum(g, sg_swap_axes(g, x, 0, 1), 0), 0, 1, 4, 3, 9, 6, 15);
        sg_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(every_set_of_axes),
        cmocka_unit_test(f32_sums_run_in_double),
        cmocka_unit_test(nan_stays_visible),
        cmocka_unit_test(over_nothing),
        cmocka_unit_test(wrong_axes_and_types),
        cmocka_unit_test(ties_share_the_gradient),
        cmocka_unit_test(means_over_symbolic_axes),
        cmocka_unit_test(sums_to_a_shape_undo_a_broadcast),
        cmocka_unit_test(the_first_of_equals_is_the_argmax),
        cmocka_unit_test(running_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
