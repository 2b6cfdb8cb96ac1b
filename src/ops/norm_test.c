#include "values.h"

static void rows_by_hand(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 4), 1, 2, 3, 6, -2, -2, 2, 2);
    sg_value *w = NUMBERS(g, SG_F32, DIMS(4), 1, 2, 0, -1), *b = NUMBERS(g, SG_F32, DIMS(4), 0, 10, 5, 0);

    /* means 3 and 0, variances 14/4 and 4; eps makes the roots sqrt(4) = 2 and sqrt(4.5) */
    const double a = 2 / sqrt(4.5);
    CHECK_VALUES(g, sg_layer_norm(g, x, NULL, NULL, 0.5), 1e-7, -1, -0.5, 0, 1.5, -a, -a, a, a);
    CHECK_VALUES(g, sg_layer_norm(g, x, w, b, 0.5), 1e-7, -1, 9, 5, -1.5, -a, 10 - 2 * a, 5, -a);
    /* mean squares 50/4 and 4 */
    const double r = 1 / sqrt(12.5);
    CHECK_VALUES(g, sg_rms_norm(g, x, 0), 1e-7, r, 2 * r, 3 * r, 6 * r, -1, -1, 1, 1);
    sg_graph_free(g);
}

static void rows_far_from_zero_keep_their_variance(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    /* The mean of squares minus the square of the mean would be lost in f32, whose neighbours here are 1/16 apart. */
    sg_value *x = NUMBERS(g, SG_F32, DIMS(4), 1e6, 1e6 + 1, 1e6 + 2, 1e6 + 3);
    const double a = sqrt(1.25); /* the deviation of 0 1 2 3 */

    CHECK_VALUES(g, sg_layer_norm(g, x, NULL, NULL, 0), 1e-7, -1.5 / a, -0.5 / a, 0.5 / a, 1.5 / a);
    /* and in f64, where squares of these are 128 apart */
    sg_value *far = NUMBERS(g, SG_F64, DIMS(4), 1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3);
    CHECK_VALUES(g, sg_layer_norm(g, far, NULL, NULL, 0), 1e-14, -1.5 / a, -0.5 / a, 0.5 / a, 1.5 / a);
    sg_graph_free(g);
}

static void constant_rows_and_nan(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(3, 2), 7, 7, (double)NAN, 1, 0, 0);
    const double nan = (double)NAN;

    CHECK_VALUES(g, sg_layer_norm(g, x, NULL, NULL, 1e-5), 0, 0, 0, nan, nan, 0, 0);
    CHECK_VALUES(g, sg_rms_norm(g, x, 1e-5), 1e-6, 1, 1, nan, nan, 0, 0);
    sg_graph_free(g);
}

static void long_rows_on_threads(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    /* [300,201]: above the size from which threads share the rows. Each row of 0..200 has mean 100, variance 3366.66 */
    sg_value *row = sg_iota(g, SG_F32, 201);
    sg_value *y = sg_layer_norm(g, sg_broadcast(g, row, DIMS(300, 201)), NULL, NULL, 0);
    const double a = sqrt((201.0 * 201.0 - 1) / 12);

    CHECK_VALUES(g, sg_max_axes(g, y, 3u, false), 1e-6, 100 / a);
    CHECK_VALUES(g, sg_slice(g, sg_slice(g, y, 0, 299, 300, 1), 1, 0, 201, 50), 1e-6, -100 / a, -50 / a, 0, 50 / a,
                 100 / a);
    sg_graph_free(g);
}

static void wrong_shapes_say_so(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 4)), *w = sg_input(g, "w", SG_F32, DIMS(3));
    (void)sg_layer_norm(g, x, w, w, 1e-5);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "layer_norm: gain and bias of the last axis' extent were wanted (given f32 [2,4]");
    sg_graph_free(g);

    g = sg_graph_new();
    x = sg_input(g, "x", SG_F32, DIMS(2, 4));
    (void)sg_layer_norm(g, x, sg_input(g, "w", SG_F32, DIMS(4)), NULL, 1e-5);
    CHECK_BUILD_FAILS(g, SG_EARG, "gain and bias, or neither");
    sg_graph_free(g);

    g = sg_graph_new();
    (void)sg_rms_norm(g, sg_input(g, "x", SG_I32, DIMS(2, 4)), 1e-5);
    CHECK_BUILD_FAILS(g, SG_ETYPE, "rms_norm");
    sg_graph_free(g);

    g = sg_graph_new();
    (void)sg_rms_norm(g, sg_input(g, "x", SG_F32, NO_DIMS), 1e-5);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "an axis");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_by_hand),          cmocka_unit_test(rows_far_from_zero_keep_their_variance),
        cmocka_unit_test(constant_rows_and_nan), cmocka_unit_test(long_rows_on_threads),
        cmocka_unit_test(wrong_shapes_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
