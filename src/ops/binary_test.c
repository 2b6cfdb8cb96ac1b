/* Element-wise operations on two values, comparisons, where, and the builders with a plain number. */
#include "values.h"

static const double nan_ = (double)NAN, inf_ = (double)INFINITY;

typedef sg_value *(*builder)(sg_graph *g, sg_value *a, sg_value *b);

static void values_by_hand(void **state)
{
    static const sg_dtype types[] = {SG_F32, SG_F64, SG_I32};

    (void)state;
    for (int t = 0; t < 3; t++) {
        sg_graph *g = sg_graph_new();
        sg_value *a = NUMBERS(g, types[t], DIMS(4), 7, -7, 4, 0), *b = NUMBERS(g, types[t], DIMS(4), 2, 2, -4, 5);
        CHECK_VALUES(g, sg_add(g, a, b), 0, 9, -5, 0, 5);
        CHECK_VALUES(g, sg_sub(g, a, b), 0, 5, -9, 8, -5);
        CHECK_VALUES(g, sg_mul(g, a, b), 0, 14, -14, -16, 0);
        CHECK_VALUES(g, sg_maximum(g, a, b), 0, 7, 2, 4, 5);
        CHECK_VALUES(g, sg_minimum(g, a, b), 0, 2, -7, -4, 0);
        if (types[t] == SG_I32)
            CHECK_VALUES(g, sg_div(g, a, b), 0, 3, -3, -1, 0); /* toward zero */
        else
            CHECK_VALUES(g, sg_div(g, a, b), 0, 3.5, -3.5, -1, 0);
        if (types[t] != SG_I32)
            CHECK_VALUES(g, sg_pow(g, a, b), 1e-6, 49, 49, 1.0 / 256, 0);
        sg_graph_free(g);
    }
}

static void broadcasting_and_views(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 3), 1, 2, 3, 4, 5, 6);
    sg_value *row = NUMBERS(g, SG_F32, DIMS(3), 10, 20, 30), *column = NUMBERS(g, SG_F32, DIMS(2, 1), 100, 200);
    sg_value *one = sg_scalar(g, SG_F32, 1);

    CHECK_VALUES(g, sg_sub(g, x, row), 0, -9, -18, -27, -6, -15, -24);
    CHECK_VALUES(g, sg_sub(g, row, x), 0, 9, 18, 27, 6, 15, 24);
    CHECK_VALUES(g, sg_sub(g, x, column), 0, -99, -98, -97, -196, -195, -194);
    CHECK_VALUES(g, sg_sub(g, column, row), 0, 90, 80, 70, 190, 180, 170);
    CHECK_VALUES(g, sg_sub(g, x, one), 0, 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(g, sg_sub(g, one, x), 0, 0, -1, -2, -3, -4, -5);
    CHECK_VALUES(g, sg_sub(g, sg_swap_axes(g, x, 0, 1), NUMBERS(g, SG_F32, DIMS(2), 1, 2)), 0, 0, 2, 1, 3, 2, 4);
    CHECK_VALUES(g, sg_sub(g, sg_slice(g, x, 1, 0, 3, 2), sg_slice(g, x, 1, 1, 3, 1)), 0, -1, 0, -1, 0);
    CHECK_DIMS(sg_add(g, sg_reshape(g, x, DIMS(2, 1, 3)), NUMBERS(g, SG_F32, DIMS(4, 1), 1, 2, 3, 4)), DIMS(2, 4, 3));
    sg_graph_free(g);
}

/* Long enough for several threads: in one line, and in lines of 3 and 5000. */
static void large_values_are_cut_among_threads(void **state)
{
    static const sg_dim shapes[][2] = {{1, 70000}, {20000, 3}, {9, 5000}};

    (void)state;
    for (int shape = 0; shape < 3; shape++) {
        const sg_dim n = shapes[shape][0], d = shapes[shape][1];
        sg_graph *g = sg_graph_new();
        sg_value *x = sg_reshape(g, sg_iota(g, SG_F64, n * d), 2, shapes[shape]);
        sg_value *y = sg_sub(g, x, sg_expand(g, sg_iota(g, SG_F64, d), 0)); /* row r is r * d throughout */
        for (int threads = 1; threads <= 5; threads += 2) {
            sg_session *s;
            sg_tensor t;
            sg_error err;
            CHECK_OK(sg_session_new(&s, g, NULL, values_opts(threads), &err), &err);
            CHECK_OK(sg_session_run(s, 0, NULL, 1, &y, &t, &err), &err);
            const double *v = t.data;
            for (sg_dim i = 0; i < n * d; i++)
                if (v[i] != (double)(i / d * d))
                    CHECK_NEAR(v[i], i / d * d, 0, 0);
            sg_session_free(s);
        }
        sg_graph_free(g);
    }
}

/* Three axes that cannot be joined: a thread that starts in the middle finds its place in each. */
static void threads_start_inside_several_axes(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_reshape(g, sg_iota(g, SG_F32, 20 * 30 * 100), DIMS(20, 30, 100));
    sg_value *y = sg_sub(g, x, sg_reshape(g, sg_iota(g, SG_F32, 20 * 100), DIMS(20, 1, 100)));
    sg_session *s;
    sg_tensor t;
    sg_error err;
    CHECK_OK(sg_session_new(&s, g, NULL, values_opts(7), &err), &err);
    CHECK_OK(sg_session_run(s, 0, NULL, 1, &y, &t, &err), &err);
    for (sg_dim i = 0; i < 20 * 30 * 100; i++)
        CHECK_NEAR(sg_tensor_get(&t, i), i / 3000 * 2900 + i % 3000 / 100 * 100, 0, 0);
    sg_session_free(s);
    sg_graph_free(g);
}

static void nan_wins(void **state)
{
    static const builder all[] = {sg_add, sg_sub, sg_mul, sg_div, sg_maximum, sg_minimum};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (int t = 0; t < 2; t++) {
            const sg_dtype type = t ? SG_F64 : SG_F32;
            sg_graph *g = sg_graph_new();
            sg_value *a = NUMBERS(g, type, DIMS(9), nan_, 1, nan_, inf_, nan_, nan_, 1, 1, nan_);
            sg_value *b = NUMBERS(g, type, DIMS(9), 1, nan_, nan_, nan_, -inf_, 1, nan_, nan_, 1);
            CHECK_VALUES(g, all[i](g, a, b), 0, nan_, nan_, nan_, nan_, nan_, nan_, nan_, nan_, nan_);
            sg_graph_free(g);
        }
    sg_graph *g = sg_graph_new();
    CHECK_VALUES(g, sg_clamp(g, NUMBERS(g, SG_F32, DIMS(5), nan_, -3, 0.5, 3, inf_), -1, 2), 0, nan_, -1, 0.5, 2, 2);
    sg_graph_free(g);
}

static void integers_at_their_ends(void **state)
{
    const double most = INT32_MAX, least = INT32_MIN;

    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *a = NUMBERS(g, SG_I32, DIMS(2), most, least), *minus = sg_scalar(g, SG_I32, -1);
    CHECK_VALUES(g, sg_add(g, a, sg_scalar(g, SG_I32, 1)), 0, least, least + 1);
    CHECK_VALUES(g, sg_mul(g, a, sg_scalar(g, SG_I32, 2)), 0, -2, 0);
    CHECK_VALUES(g, sg_div(g, a, minus), 0, -most, least);
    sg_value *by_zero = sg_div(g, a, NUMBERS(g, SG_I32, DIMS(3, 1), 1, 2, 0));
    CHECK_RUN_FAILS(g, by_zero, SG_ENUMERIC, "i32 division by zero");
    CHECK_VALUES(g, sg_div(g, sg_scalar(g, SG_F32, 1), sg_scalar(g, SG_F32, 0)), 0, inf_);
    sg_graph_free(g);
}

static void shapes_and_types_that_do_not_fit(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_add(g, sg_zeros_like(g, NUMBERS(g, SG_F32, DIMS(2), 1, 2)), NUMBERS(g, SG_F32, DIMS(3), 1, 2, 3));
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "add: shapes do not broadcast (given f32 [2], f32 [3])");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_mul(g, sg_scalar(g, SG_F32, 1), sg_scalar(g, SG_F64, 1));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "mul: types differ (given f32 [], f64 [])");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_pow(g, sg_scalar(g, SG_I32, 1), sg_scalar(g, SG_I32, 1));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "pow: wanted f32 or f64");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_where(g, sg_scalar(g, SG_F32, 1), sg_scalar(g, SG_F32, 1), sg_scalar(g, SG_F32, 1));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "the condition is not bool");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_and(g, sg_scalar(g, SG_BOOL, 1), sg_scalar(g, SG_I32, 1));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "and: wanted bool");
    sg_graph_free(g);
}

static void comparisons(void **state)
{
    static const sg_dtype types[] = {SG_F32, SG_F64, SG_I32};

    (void)state;
    for (int t = 0; t < 3; t++) {
        sg_graph *g = sg_graph_new();
        sg_value *a = NUMBERS(g, types[t], DIMS(3), 1, 2, 3), *b = sg_scalar(g, types[t], 2);
        CHECK(sg_value_dtype(sg_equal(g, a, b)) == SG_BOOL);
        CHECK_VALUES(g, sg_equal(g, a, b), 0, 0, 1, 0);
        CHECK_VALUES(g, sg_not_equal(g, a, b), 0, 1, 0, 1);
        CHECK_VALUES(g, sg_less(g, a, b), 0, 1, 0, 0);
        CHECK_VALUES(g, sg_less_equal(g, a, b), 0, 1, 1, 0);
        CHECK_VALUES(g, sg_greater(g, a, b), 0, 0, 0, 1);
        CHECK_VALUES(g, sg_greater_equal(g, b, a), 0, 1, 1, 0);
        CHECK_VALUES(g, sg_less(g, sg_expand(g, a, 1), a), 0, 0, 1, 1, 0, 0, 1, 0, 0, 0);
        sg_graph_free(g);
    }
    sg_graph *g = sg_graph_new();
    sg_value *p = NUMBERS(g, SG_BOOL, DIMS(4), 0, 0, 1, 1), *q = NUMBERS(g, SG_BOOL, DIMS(4), 0, 1, 0, 1);
    CHECK_VALUES(g, sg_and(g, p, q), 0, 0, 0, 0, 1);
    CHECK_VALUES(g, sg_or(g, p, q), 0, 0, 1, 1, 1);
    CHECK_VALUES(g, sg_not(g, p), 0, 1, 1, 0, 0);
    CHECK_VALUES(g, sg_equal(g, p, q), 0, 1, 0, 0, 1);
    sg_value *odd = sg_scalar(g, SG_F32, nan_);
    CHECK_VALUES(g, sg_equal(g, odd, odd), 0, 0);
    CHECK_VALUES(g, sg_not_equal(g, odd, odd), 0, 1);
    sg_graph_free(g);
}

static void where_of_every_type(void **state)
{
    static const sg_dtype types[] = {SG_F32, SG_F64, SG_I32, SG_BF16, SG_F16, SG_BOOL};

    (void)state;
    for (int t = 0; t < 6; t++) {
        sg_graph *g = sg_graph_new();
        sg_value *c = NUMBERS(g, SG_BOOL, DIMS(2, 2), 1, 0, 0, 1), *a = NUMBERS(g, types[t], DIMS(2, 2), 1, 1, 0, 0);
        sg_value *b = NUMBERS(g, types[t], DIMS(2, 2), 0, 0, 1, 1), *one = sg_scalar(g, types[t], 1);
        CHECK_VALUES(g, sg_where(g, c, a, b), 0, 1, 0, 1, 0);
        CHECK_VALUES(g, sg_where(g, c, one, b), 0, 1, 0, 1, 1);
        CHECK_VALUES(g, sg_where(g, c, a, one), 0, 1, 1, 1, 0);
        CHECK_VALUES(g, sg_where(g, NUMBERS(g, SG_BOOL, DIMS(2, 1), 1, 0), sg_swap_axes(g, a, 0, 1), b), 0, 1, 0, 1, 1);
        sg_graph_free(g);
    }
}

/* d/dx of where(x > 0, log x, 0) at x <= 0 is 0, although log's own slope is infinite or negative there. */
static void where_lets_no_nan_through(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(3), -1, 0.5, 2), *zero = sg_scalar(g, SG_F64, 0), *dx;
    sg_value *y = sg_where(g, sg_greater(g, x, zero), sg_log(g, x), zero);
    sg_gradients(g, sg_mul(g, y, y), NULL, 1, &x, &dx);
    CHECK_VALUES(g, dx, 1e-12, 0, 2 * log(0.5) / 0.5, 2 * log(2.0) / 2);
    sg_value *dy = NUMBERS(g, SG_F64, DIMS(3), nan_, 1, 1);
    sg_gradients(g, y, dy, 1, &x, &dx);
    CHECK_VALUES(g, dx, 1e-12, 0, 2, 0.5);
    sg_graph_free(g);
}

static void ties_send_their_gradient_to_the_first(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x[2] = {NUMBERS(g, SG_F64, DIMS(3), 1, 2, 3), NUMBERS(g, SG_F64, DIMS(3), 2, 2, 2)}, *dx[2];
    sg_gradients(g, sg_maximum(g, x[0], x[1]), NULL, 2, x, dx);
    CHECK_VALUES(g, dx[0], 0, 0, 1, 1);
    CHECK_VALUES(g, dx[1], 0, 1, 0, 0);
    sg_gradients(g, sg_minimum(g, x[0], x[1]), NULL, 2, x, dx);
    CHECK_VALUES(g, dx[0], 0, 1, 1, 0);
    CHECK_VALUES(g, dx[1], 0, 0, 0, 1);
    sg_graph_free(g);
}

static sg_value *derive(sg_graph *g, sg_value *y, sg_value *x, int times)
{
    for (int i = 0; i < times; i++)
        sg_gradients(g, y, NULL, 1, &x, &y);
    return y;
}

static void powers_at_zero(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(3), 0, -2, 3), *three = sg_scalar(g, SG_F64, 3), *cube = sg_pow(g, x, three);
    CHECK_VALUES(g, cube, 0, 0, -8, 27);
    CHECK_VALUES(g, derive(g, cube, x, 1), 0, 0, 12, 27);
    CHECK_VALUES(g, derive(g, cube, x, 2), 0, 0, -12, 18);
    CHECK_VALUES(g, derive(g, cube, x, 3), 0, 6, 6, 6);
    CHECK_VALUES(g, derive(g, cube, x, 4), 0, 0, 0, 0);
    CHECK_VALUES(g, derive(g, sg_pow_scalar(g, x, 0), x, 1), 0, 0, 0, 0);
    sg_value *b = NUMBERS(g, SG_F64, DIMS(2), 2, -1), *db;
    sg_gradients(g, sg_pow(g, NUMBERS(g, SG_F64, DIMS(2), 0, 0), b), NULL, 1, &b, &db);
    CHECK_VALUES(g, db, 0, 0, 0);
    CHECK_VALUES(g, sg_pow_scalar(g, x, 1), 0, 0, -2, 3);
    CHECK_VALUES(g, sg_pow_scalar(g, x, 2), 0, 0, 4, 9);
    CHECK_VALUES(g, sg_pow_scalar(g, NUMBERS(g, SG_F64, DIMS(2), 4, -0.5), -1), 0, 0.25, -2);
    CHECK_VALUES(g, sg_pow_scalar(g, NUMBERS(g, SG_F64, DIMS(2), 4, 0), 0.5), 0, 2, 0);
    sg_graph_free(g);
}

static void plain_numbers(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_I32, DIMS(2), 3, 4);
    CHECK_VALUES(g, sg_add_scalar(g, x, 2), 0, 5, 6);
    CHECK_VALUES(g, sg_mul_scalar(g, x, -1), 0, -3, -4);
    CHECK_VALUES(g, sg_zeros_like(g, x), 0, 0, 0);
    CHECK_VALUES(g, sg_ones_like(g, x), 0, 1, 1);
    CHECK_VALUES(g, sg_full(g, SG_F32, DIMS(1, 2), 0.5), 0, 0.5, 0.5);
    CHECK(sg_value_dtype(sg_scalar_like(g, x, 7)) == SG_I32);
    sg_dim batch = sg_extent(g, "batch");
    sg_value *in = sg_input(g, "in", SG_F32, DIMS(batch, 2));
    CHECK_DIMS(sg_zeros_like(g, in), DIMS(batch, 2));
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(broadcasting_and_views),
        cmocka_unit_test(large_values_are_cut_among_threads),
        cmocka_unit_test(threads_start_inside_several_axes),
        cmocka_unit_test(nan_wins),
        cmocka_unit_test(integers_at_their_ends),
        cmocka_unit_test(shapes_and_types_that_do_not_fit),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(where_of_every_type),
        cmocka_unit_test(where_lets_no_nan_through),
        cmocka_unit_test(ties_send_their_gradient_to_the_first),
        cmocka_unit_test(powers_at_zero),
        cmocka_unit_test(plain_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
