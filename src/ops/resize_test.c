/* Numbers by PyTorch 1.13's interpolate. */
#include "sightglass/image.h"

#include "values.h"

static void images_resize_as_pytorch_has_them(void **state)
{
    (void)state;
    static const sg_dtype types[] = {SG_F32, SG_F64};
    for (int i = 0; i < 2; i++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = NUMBERS(g, types[i], DIMS(1, 1, 2, 3), -2, 5, 1, -3, 4, 0);

        CHECK_VALUES(g, sg_resize2d(g, x, 3, 5, SG_RESIZE_NEAREST), 0, -2, -2, 5, 5, 1, -2, -2, 5, 5, 1, -3, -3, 4, 4,
                     0);
        CHECK_VALUES(g, sg_resize2d(g, x, 1, 2, SG_RESIZE_NEAREST), 0, -2, 5);
        CHECK_VALUES(g, sg_resize2d(g, x, 4, 1, SG_RESIZE_NEAREST), 0, -2, -2, -3, -3);
        CHECK_VALUES(g, sg_resize2d(g, x, 3, 5, SG_RESIZE_NEAREST_EXACT), 0, -2, -2, 5, 1, 1, -3, -3, 4, 0, 0, -3, -3,
                     4, 0, 0);
        CHECK_VALUES(g, sg_resize2d(g, x, 1, 2, SG_RESIZE_NEAREST_EXACT), 0, -3, 0);
        CHECK_VALUES(g, sg_resize2d(g, x, 4, 1, SG_RESIZE_NEAREST_EXACT), 0, 5, 5, 4, 4);
        CHECK_VALUES(g, sg_resize2d(g, x, 3, 5, SG_RESIZE_BILINEAR), 1e-6, -2, 0.8, 5, 2.6, 1, -2.5, 0.3, 4.5, 2.1, 0.5,
                     -3, -0.2, 4, 1.6, 0);
        CHECK_VALUES(g, sg_resize2d(g, x, 1, 2, SG_RESIZE_BILINEAR), 1e-6, -0.75, 1.5);
        CHECK_VALUES(g, sg_resize2d(g, x, 4, 1, SG_RESIZE_BILINEAR), 1e-6, 5, 4.75, 4.25, 4);
        CHECK_VALUES(g, sg_resize2d(g, x, 3, 5, SG_RESIZE_BILINEAR_CORNERS), 1e-6, -2, 1.5, 5, 3, 1, -2.5, 1, 4.5, 2.5,
                     0.5, -3, 0.5, 4, 2, 0);
        CHECK_VALUES(g, sg_resize2d(g, x, 1, 2, SG_RESIZE_BILINEAR_CORNERS), 1e-6, -2, 1);
        CHECK_VALUES(g, sg_resize2d(g, x, 4, 1, SG_RESIZE_BILINEAR_CORNERS), 1e-6, -2, -7.0 / 3, -8.0 / 3, -3);
        CHECK(sg_resize2d(g, x, 2, 3, SG_RESIZE_BILINEAR) == x);
        sg_graph_free(g);
    }
}

/* <resize(x), y> = <x, resize_back(y)>, and a constant image stays constant, over many planes. */
static void planes_on_threads(void **state)
{
    (void)state;
    for (int how = SG_RESIZE_NEAREST; how <= SG_RESIZE_BILINEAR_CORNERS; how++) {
        sg_graph *g = sg_graph_new();
        sg_value *n = sg_mul_scalar(g, sg_iota(g, SG_F64, 3 * 4 * 33 * 35), 0.37);
        sg_value *x = sg_reshape(g, sg_sin(g, n), DIMS(3, 4, 33, 35)), *dx;
        sg_value *y = sg_resize2d(g, x, 50, 21, (sg_resize)how);
        sg_value *dy = sg_cos(g, sg_mul_scalar(g, sg_iota(g, SG_F64, 3 * 4 * 50 * 21), 0.11));
        dy = sg_reshape(g, dy, DIMS(3, 4, 50, 21));
        sg_gradients(g, y, dy, 1, &x, &dx);
        sg_value *off = sg_sub(g, sg_sum_all(g, sg_mul(g, y, dy)), sg_sum_all(g, sg_mul(g, x, dx)));

        CHECK_VALUES(g, off, 1e-11, 0);
        sg_value *flat = sg_resize2d(g, sg_ones_like(g, x), 50, 21, (sg_resize)how);
        CHECK_VALUES(g, sg_min_axes(g, flat, SG_ALL_AXES, false), 1e-15, 1);
        CHECK_VALUES(g, sg_max_axes(g, flat, SG_ALL_AXES, false), 1e-15, 1);
        sg_graph_free(g);
    }
}

static void wrong_shapes_say_so(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    char text[SG_SHAPE_TEXT];
    const sg_dim b = sg_extent(g, "batch"), h = sg_extent(g, "h");
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(b, 3, h, 4));
    sg_value *y = sg_resize2d(g, x, sg_dim_mul(g, 2, h), 8, SG_RESIZE_NEAREST);
    assert_string_equal(sg_value_shape_text(y, text), "[batch,3,2*h,8]");
    (void)sg_resize2d(g, x, 0, 8, SG_RESIZE_NEAREST);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "resize2d: an image without elements");
    sg_graph_free(g);

    g = sg_graph_new();
    (void)sg_resize2d(g, sg_input(g, "x", SG_F32, DIMS(3, 4, 4)), 8, 8, SG_RESIZE_NEAREST);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "four axes");
    sg_graph_free(g);
    g = sg_graph_new();
    (void)sg_resize2d(g, sg_input(g, "x", SG_I32, DIMS(1, 3, 4, 4)), 8, 8, SG_RESIZE_NEAREST);
    CHECK_BUILD_FAILS(g, SG_ETYPE, "f32 or f64");
    sg_graph_free(g);
    g = sg_graph_new();
    (void)sg_resize2d(g, sg_input(g, "x", SG_F32, DIMS(1, 3, 4, 4)), 8, 8, (sg_resize)9);
    CHECK_BUILD_FAILS(g, SG_EARG, "9 is no way to resize");
    sg_graph_free(g);
    g = sg_graph_new();
    (void)sg_resize2d(g, sg_input(g, "x", SG_F32, DIMS(1, 3, 4, 4)), -8, 8, SG_RESIZE_NEAREST);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "-8 is neither an extent");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_resize_as_pytorch_has_them),
        cmocka_unit_test(planes_on_threads),
        cmocka_unit_test(wrong_shapes_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
