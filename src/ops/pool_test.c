/* Numbers by PyTorch 1.13 where it is named: x is (7 i + 3) mod 11 - 5 for the i-th. */
#include "sightglass/image.h"

#include "values.h"

static sg_value *ramp(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims)
{
    double numbers[VALUES_MOST];
    sg_tensor t = sg_tensor_of(dtype, n_dims, dims, numbers);

    CHECK(sg_tensor_count(&t) <= VALUES_MOST);
    for (sg_dim i = 0; i < sg_tensor_count(&t); i++)
        sg_tensor_set(&t, i, (double)((7 * i + 3) % 11 - 5));
    return sg_const(g, &t);
}

static sg_pool2d_opts uneven(bool count_padding, sg_dim stride_x)
{
    return (sg_pool2d_opts){{3, 2}, {2, stride_x}, {1, 1}, {1, 1}, count_padding};
}

static void pools_as_pytorch_has_them(void **state)
{
    (void)state;
    static const sg_dtype types[] = {SG_F32, SG_F64};
    for (int i = 0; i < 2; i++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = ramp(g, types[i], DIMS(1, 2, 4, 5));

        CHECK_VALUES(g, sg_max_pool2d(g, x, sg_pool2d_strided(2, 2)), 0, 5, 3, 4, 5, 4, 5, 1, 4);
        sg_value *y = sg_max_pool2d(g, x, uneven(true, 1));
        CHECK_DIMS(y, DIMS(1, 2, 2, 6));
        CHECK_VALUES(g, y, 0, 0, 5, 5, 3, 4, 4, 4, 4, 5, 5, 3, -1, -3, 4, 4, 5, 5, 3, 1, 4, 4, 4, 5, 5);
        y = sg_avg_pool2d(g, x, uneven(true, 3));
        CHECK_DIMS(y, DIMS(1, 2, 2, 2));
        CHECK_VALUES(g, y, 1e-7, -1.0 / 3, 0, 1, 7.0 / 6, -4.0 / 3, -1.0 / 6, -0.5, 0);
        CHECK_VALUES(g, sg_avg_pool2d(g, x, uneven(false, 3)), 1e-7, -1, 0, 2, 7.0 / 6, -4, -0.25, -1, 0);
        CHECK_VALUES(g, sg_global_avg_pool2d(g, ramp(g, types[i], DIMS(2, 2, 1, 3))), 1e-7, 4.0 / 3, 1.0 / 3, -2.0 / 3,
                     -5.0 / 3);
        sg_graph_free(g);
    }
}

/* By PyTorch: the gradient of sum(y r) with r the ramp. */
static void a_mean_shares_its_gradient(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = ramp(g, SG_F64, DIMS(1, 2, 4, 5)), *y = sg_avg_pool2d(g, x, uneven(false, 3)), *dx;
    sg_gradients(g, y, ramp(g, SG_F64, DIMS(1, 2, 2, 2)), 1, &x, &dx);

    CHECK_VALUES(g, sg_mul_scalar(g, dx, 12), 1e-14, -12, 0, 15, 15, 0, -8, 0, 9, 9, 0, 4, 0, -6, -6, 0, 4, 0, -6, -6,
                 0, 24, 0, 0, 0, 0, 8, 0, 6, 6, 0, -16, 0, 6, 6, 0, -16, 0, 6, 6, 0);
    sg_graph_free(g);
}

static void a_tie_goes_to_the_first(void **state)
{
    (void)state;
    const double inf = (double)INFINITY, nan = (double)NAN;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(1, 1, 2, 8), 1, 3, -inf, -inf, 2, nan, 0, 0, 3, 3, -inf, -inf, nan, 9, 0, 0);
    sg_value *y = sg_max_pool2d(g, x, sg_pool2d_strided(2, 2)), *dx;
    sg_gradients(g, y, NUMBERS(g, SG_F32, DIMS(1, 1, 1, 4), 1, 2, 3, 4), 1, &x, &dx);

    CHECK_VALUES(g, y, 0, 3, -inf, nan, 0);
    CHECK_VALUES(g, dx, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    /* Padding is no element: with nothing but -inf inside, the first inside gets it. */
    x = sg_full(g, SG_F32, DIMS(1, 1, 2, 2), -inf);
    y = sg_max_pool2d(g, x, (sg_pool2d_opts){{2, 2}, {2, 2}, {1, 1}, {1, 1}, false});
    sg_gradients(g, y, NULL, 1, &x, &dx);
    CHECK_VALUES(g, y, 0, -inf, -inf, -inf, -inf);
    CHECK_VALUES(g, dx, 0, 1, 1, 1, 1);
    sg_graph_free(g);
}

/* Long rows and many planes: windows of 2 by 3 over i + 1000 j, whose largest is the last and whose mean the middle. */
static void long_rows_on_threads(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim rows = 4, columns = 700;
    sg_value *row = sg_iota(g, SG_F32, columns), *down = sg_mul_scalar(g, sg_iota(g, SG_F32, rows), 1000);
    sg_value *x = sg_broadcast(g, sg_add(g, row, sg_expand(g, down, -1)), DIMS(3, 5, rows, columns));
    const sg_pool2d_opts o = {{2, 3}, {2, 1}, {0, 1}, {0, 1}, false};
    sg_value *most = sg_max_pool2d(g, x, o), *mean = sg_avg_pool2d(g, x, o), *dx;

    CHECK_DIMS(most, DIMS(3, 5, 2, 700));
    sg_value *want = sg_minimum(g, sg_add_scalar(g, row, 1), sg_scalar(g, SG_F32, 699));
    want = sg_add(g, want, sg_expand(g, NUMBERS(g, SG_F32, DIMS(2), 1000, 3000), -1));
    CHECK_VALUES(g, sg_max_axes(g, sg_abs(g, sg_sub(g, most, want)), SG_ALL_AXES, false), 0, 0);
    want = sg_add(g, row, sg_expand(g, NUMBERS(g, SG_F32, DIMS(2), 500, 2500), -1));
    sg_value *off = sg_abs(g, sg_sub(g, mean, want)); /* at both ends a column is missing */
    CHECK_VALUES(g, sg_max_axes(g, sg_slice(g, off, 3, 1, 699, 1), SG_ALL_AXES, false), 1e-3, 0);
    CHECK_VALUES(g, sg_max_axes(g, off, SG_ALL_AXES, false), 1e-3, 0.5);
    sg_gradients(g, mean, NULL, 1, &x, &dx);
    /* Each element is in three windows of six, at the ends in one of four and one or two of six. */
    CHECK_VALUES(g, sg_slice(g, sg_slice(g, sg_slice(g, dx, 0, 2, 3, 1), 1, 4, 5, 1), 3, 0, 4, 1), 1e-6, 5.0 / 12,
                 7.0 / 12, 0.5, 0.5, 5.0 / 12, 7.0 / 12, 0.5, 0.5, 5.0 / 12, 7.0 / 12, 0.5, 0.5, 5.0 / 12, 7.0 / 12,
                 0.5, 0.5);
    sg_graph_free(g);
}

/* Ties everywhere, kernels longer than what is looked at together, by three threads: where the gradient of ones goes.
 */
static void firsts_by_definition(void **state)
{
    (void)state;
    static const struct {
        sg_dim h, w;
        sg_pool2d_opts opts;
    } shapes[] = {
        {9, 8, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, false}},    {9, 8, {{3, 2}, {2, 2}, {0, 1}, {2, 0}, false}},
        {7, 11, {{2, 4}, {3, 3}, {1, 3}, {1, 3}, false}},   {2, 900, {{2, 700}, {1, 1}, {1, 600}, {0, 650}, false}},
        {1, 1500, {{1, 3}, {1, 2}, {0, 1}, {0, 1}, false}}, {1, 2000, {{1, 2}, {1, 700}, {0, 0}, {0, 0}, false}},
    };

    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        enum { MOST = 2000 };
        const sg_pool2d_opts *o = &shapes[s].opts;
        const sg_dim h = shapes[s].h, w = shapes[s].w;
        double x[MOST], want[MOST] = {0};
        for (sg_dim i = 0; i < h * w; i++)
            x[i] = (double)((i * i * 7 + i * 3) % 5);
        sg_graph *g = sg_graph_new();
        const sg_tensor t = sg_tensor_of(SG_F64, DIMS(1, 1, h, w), x);
        sg_value *in = sg_cast(g, sg_const(g, &t), s % 2 ? SG_F64 : SG_F32), *dx;
        sg_value *y = sg_max_pool2d(g, in, *o);
        for (sg_dim a = 0; a < sg_value_dim(y, 2); a++)
            for (sg_dim b = 0; b < sg_value_dim(y, 3); b++) {
                sg_dim best = -1;
                for (sg_dim r = a * o->stride[0] - o->before[0], i = 0; i < o->kernel[0]; i++, r++)
                    for (sg_dim c = b * o->stride[1] - o->before[1], j = 0; j < o->kernel[1]; j++, c++)
                        if (r >= 0 && r < h && c >= 0 && c < w && (best < 0 || x[r * w + c] > x[best]))
                            best = r * w + c;
                want[best] += 1;
            }
        sg_gradients(g, y, NULL, 1, &in, &dx);
        check_values(g, dx, 0, (int)(h * w), want, "where the largest are", __FILE__, __LINE__);
        sg_graph_free(g);
    }
}

static void wrong_shapes_say_so(void **state)
{
    (void)state;
    static const struct {
        sg_pool2d_opts opts;
        const char *words;
    } wrongs[] = {
        {{{5, 2}, {1, 1}, {0, 0}, {0, 0}, true}, "a window over 5 elements does not fit 4"},
        {{{2, 2}, {0, 1}, {0, 0}, {0, 0}, true}, "stride 0"},
        {{{2, 2}, {1, 1}, {0, 2}, {0, 0}, true}, "2 and 0 of padding hold whole windows of 2"},
        {{{2, 2}, {1, 1}, {0, 0}, {0, -1}, true}, "padding 0 and -1"},
    };
    char text[SG_SHAPE_TEXT];

    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        sg_graph *g = sg_graph_new();
        (void)sg_max_pool2d(g, sg_input(g, "x", SG_F32, DIMS(1, 1, 4, 4)), wrongs[i].opts);
        CHECK_BUILD_FAILS(g, SG_ESHAPE, wrongs[i].words);
        sg_graph_free(g);
        g = sg_graph_new();
        (void)sg_avg_pool2d(g, sg_input(g, "x", SG_F32, DIMS(1, 1, 4, 4)), wrongs[i].opts);
        CHECK_BUILD_FAILS(g, SG_ESHAPE, wrongs[i].words);
        sg_graph_free(g);
    }
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(sg_extent(g, "batch"), 1, sg_extent(g, "h"), 4));
    assert_string_equal(sg_value_shape_text(sg_max_pool2d(g, x, sg_pool2d_strided(2, 1)), text), "[batch,1,h-1,3]");
    (void)sg_max_pool2d(g, x, sg_pool2d_strided(2, 2));
    CHECK_BUILD_FAILS(g, SG_EUNSUPPORTED, "max_pool2d: stride 2 over h elements");
    sg_graph_free(g);
    g = sg_graph_new();
    (void)sg_max_pool2d(g, sg_input(g, "x", SG_I32, DIMS(1, 1, 4, 4)), sg_pool2d_strided(2, 2));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "max_pool2d");
    sg_graph_free(g);
    g = sg_graph_new();
    (void)sg_global_avg_pool2d(g, sg_input(g, "x", SG_F32, DIMS(4, 4)));
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "four axes");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pools_as_pytorch_has_them), cmocka_unit_test(a_mean_shares_its_gradient),
        cmocka_unit_test(a_tie_goes_to_the_first),   cmocka_unit_test(long_rows_on_threads),
        cmocka_unit_test(firsts_by_definition),      cmocka_unit_test(wrong_shapes_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
