/* Numbers by PyTorch 1.13 where it is named: x and weights are (7 i + 3) mod 11 - 5 for the i-th. */
#include "sightglass/image.h"

#include "values.h"

/* (7 i + 3) mod 11 - 5 */
static sg_value *ramp(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims)
{
    static double numbers[1 << 18];
    sg_tensor t = sg_tensor_of(dtype, n_dims, dims, numbers);
    const sg_dim n = sg_tensor_count(&t);

    CHECK(n <= 1 << 18);
    for (sg_dim i = 0; i < n; i++)
        sg_tensor_set(&t, i, (double)((7 * i + 3) % 11 - 5));
    return sg_const(g, &t);
}

static sg_conv2d_opts options(sg_dim stride_y, sg_dim stride_x, sg_dim padding, sg_dim dilation_y, sg_dim dilation_x)
{
    sg_conv2d_opts o = sg_conv2d_strided(1, padding);

    o.stride[0] = stride_y;
    o.stride[1] = stride_x;
    o.dilation[0] = dilation_y;
    o.dilation[1] = dilation_x;
    return o;
}

static void convolutions_as_pytorch_has_them(void **state)
{
    (void)state;
    static const sg_dtype types[] = {SG_F32, SG_F64};
    for (int i = 0; i < 2; i++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = ramp(g, types[i], DIMS(1, 2, 4, 3)), *w = ramp(g, types[i], DIMS(2, 2, 2, 2));
        sg_value *y = sg_conv2d(g, x, w, NULL, sg_conv2d_defaults());

        CHECK_DIMS(y, DIMS(1, 2, 3, 2));
        CHECK_VALUES(g, y, 0, 18, -9, 14, -13, 10, 16, -23, -16, -24, -17, -25, 26);
        sg_value *b = NUMBERS(g, types[i], DIMS(2), 100, -1);
        CHECK_VALUES(g, sg_conv2d(g, x, w, b, sg_conv2d_defaults()), 0, 118, 91, 114, 87, 110, 116, -24, -17, -25, -18,
                     -26, 25);
        y = sg_conv2d(g, x, w, NULL, options(2, 1, 1, 1, 2));
        CHECK_DIMS(y, DIMS(1, 2, 3, 3));
        CHECK_VALUES(g, y, 0, -12, -34, 1, 8, -6, -1, 10, 8, -12, -6, -33, 7, -30, -16, 5, -12, 30, -12);
        sg_conv2d_opts two = sg_conv2d_strided(2, 0);
        two.groups = 2;
        CHECK_VALUES(g, sg_conv2d(g, x, ramp(g, types[i], DIMS(4, 1, 2, 2)), NULL, two), 0, 14, 12, 16, 10, -2, 10, 14,
                     0);
        sg_graph_free(g);
    }
}

static void transposed_convolutions_as_pytorch_has_them(void **state)
{
    (void)state;
    static const sg_dtype types[] = {SG_F32, SG_F64};
    for (int i = 0; i < 2; i++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = ramp(g, types[i], DIMS(1, 2, 2, 2));
        sg_conv2d_opts o = sg_conv2d_strided(2, 1);
        o.output_padding[0] = o.output_padding[1] = 1;
        sg_value *y = sg_conv2d_transpose(g, x, ramp(g, types[i], DIMS(2, 1, 3, 3)), NULL, o);

        CHECK_DIMS(y, DIMS(1, 1, 4, 4));
        CHECK_VALUES(g, y, 0, -4, -27, 20, 0, -9, -34, 6, -14, 0, 36, -9, -9, 3, 39, -9, -9);
        o = options(1, 2, 0, 1, 1);
        o.groups = 2;
        y = sg_conv2d_transpose(g, x, ramp(g, types[i], DIMS(2, 2, 1, 2)), NULL, o);
        CHECK_DIMS(y, DIMS(1, 4, 2, 4));
        CHECK_VALUES(g, y, 0, 4, -10, -10, 25, -2, 5, 6, -15, -2, 6, 5, -15, 1, -3, -3, 9, 16, 0, 0, 0, -16, 0, 12, 0,
                     -16, 12, 0, 0, 16, -12, -12, 9);
        sg_graph_free(g);
    }
}

/* ---- every path of the kernels against the definition ---- */

typedef struct shape {
    sg_dim b, c, h, w, o, kh, kw; /* c, o: of a group */
    sg_conv2d_opts opts;
} shape;

/* y = conv2d(x, w), or what one of its derivatives adds up, from the definition; all three are written down in turn. */
static void by_definition(const shape *s, sg_dim oh, sg_dim ow, double *x, double *w, double *y, const char *what)
{
    const sg_conv2d_opts *p = &s->opts;

    for (sg_dim b = 0; b < s->b; b++)
        for (sg_dim o = 0; o < s->o * p->groups; o++)
            for (sg_dim c = 0; c < s->c; c++)
                for (sg_dim i = 0; i < oh; i++)
                    for (sg_dim j = 0; j < ow; j++)
                        for (sg_dim k = 0; k < s->kh; k++)
                            for (sg_dim l = 0; l < s->kw; l++) {
                                const sg_dim row = i * p->stride[0] - p->before[0] + k * p->dilation[0];
                                const sg_dim col = j * p->stride[1] - p->before[1] + l * p->dilation[1];
                                if (row < 0 || row >= s->h || col < 0 || col >= s->w)
                                    continue;
                                const sg_dim channel = o / s->o * s->c + c;
                                double *at_x = &x[((b * s->c * p->groups + channel) * s->h + row) * s->w + col];
                                double *at_w = &w[((o * s->c + c) * s->kh + k) * s->kw + l];
                                double *at_y = &y[((b * s->o * p->groups + o) * oh + i) * ow + j];
                                if (*what == 'y')
                                    *at_y += *at_x * *at_w;
                                else if (*what == 'x')
                                    *at_x += *at_y * *at_w;
                                else
                                    *at_w += *at_x * *at_y;
                            }
}

static double *numbers(sg_dim n, sg_dim a)
{
    double *x = calloc((size_t)n, sizeof *x);

    CHECK(x);
    for (sg_dim i = 0; i < n && a; i++)
        x[i] = (double)((i * a + 3) % 11 - 5);
    return x;
}

/* Small whole numbers: sums are exact in f32 too. */
static void check_shape(const shape *s, sg_dtype dtype)
{
    sg_graph *g = sg_graph_new();
    const sg_dim batch = sg_extent(g, "batch"), c = s->c * s->opts.groups, o = s->o * s->opts.groups;
    sg_value *x = sg_input(g, "x", SG_F64, DIMS(batch, c, s->h, s->w));
    sg_value *w = sg_input(g, "w", SG_F64, DIMS(o, s->c, s->kh, s->kw));
    sg_value *of[2] = {sg_cast(g, x, dtype), sg_cast(g, w, dtype)}, *got[3];
    got[0] = sg_conv2d(g, of[0], of[1], NULL, s->opts);
    const sg_dim oh = sg_value_dim(got[0], 2), ow = sg_value_dim(got[0], 3);
    sg_value *y = sg_input(g, "y", SG_F64, DIMS(batch, o, oh, ow));
    sg_gradients(g, got[0], sg_cast(g, y, dtype), 2, of, got + 1);

    const sg_dim n[3] = {s->b * o * oh * ow, s->b * c * s->h * s->w, o * s->c * s->kh * s->kw};
    double *in[3] = {numbers(n[0], 3), numbers(n[1], 7), numbers(n[2], 5)};
    const sg_feed feeds[3] = {{y, sg_tensor_of(SG_F64, DIMS(s->b, o, oh, ow), in[0])},
                              {x, sg_tensor_of(SG_F64, DIMS(s->b, c, s->h, s->w), in[1])},
                              {w, sg_tensor_of(SG_F64, DIMS(o, s->c, s->kh, s->kw), in[2])}};
    for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
        sg_session *run;
        sg_tensor t[3];
        sg_error err;
        CHECK_OK(sg_session_new(&run, g, NULL, values_opts(n_threads), &err), &err);
        CHECK_OK(sg_session_run(run, 3, feeds, 3, got, t, &err), &err);
        for (int k = 0; k < 3; k++) {
            double *of_k[3] = {in[0], in[1], in[2]}, *want = of_k[k] = numbers(n[k], 0);
            by_definition(s, oh, ow, of_k[1], of_k[2], of_k[0], k == 0 ? "y" : k == 1 ? "x" : "w");
            CHECK(sg_tensor_count(&t[k]) == n[k]);
            for (sg_dim i = 0; i < n[k]; i++)
                if (sg_tensor_get(&t[k], i) != want[i]) {
                    print_error("derivative %d of [%d,%d,%d,%d] by [%d,%d]: number %d is %g, wanted %g\n", k, (int)s->b,
                                (int)c, (int)s->h, (int)s->w, (int)s->kh, (int)s->kw, (int)i, sg_tensor_get(&t[k], i),
                                want[i]);
                    fail();
                }
            free(want);
        }
        sg_session_free(run);
    }
    for (int k = 0; k < 3; k++)
        free(in[k]);
    sg_graph_free(g);
}

#define OPTS(sy, sx, top, left, bottom, right, dy, dx, groups)                                                         \
    {                                                                                                                  \
        {sy, sx}, {top, left}, {bottom, right}, {dy, dx}, groups,                                                      \
        {                                                                                                              \
            0, 0                                                                                                       \
        }                                                                                                              \
    }

static void kernels_agree_with_the_definition(void **state)
{
    (void)state;
    static const shape shapes[] = {
        {2, 3, 9, 11, 5, 3, 3, OPTS(1, 1, 1, 1, 1, 1, 1, 1, 1)},
        {3, 31, 6, 7, 7, 3, 3, OPTS(1, 1, 0, 0, 0, 0, 1, 1, 1)},  /* more than KB products, several images a panel */
        {1, 2, 5, 4, 133, 3, 3, OPTS(1, 1, 1, 1, 1, 1, 1, 1, 1)}, /* more than STRIPE rows */
        {1, 133, 4, 5, 3, 2, 2, OPTS(2, 2, 1, 1, 1, 1, 1, 1, 1)},
        {2, 5, 20, 23, 9, 1, 1, OPTS(1, 1, 0, 0, 0, 0, 1, 1, 1)}, /* an image is one row */
        {2, 3, 8, 9, 4, 1, 1, OPTS(2, 3, 0, 0, 0, 0, 1, 1, 1)},   /* most elements have no tap */
        {2, 4, 13, 10, 6, 4, 4, OPTS(2, 2, 1, 1, 1, 1, 1, 1, 1)},
        {1, 3, 12, 13, 4, 3, 2, OPTS(3, 2, 2, 0, 0, 1, 2, 4, 1)}, /* stride and dilation with and without a divisor */
        {1, 3, 14, 12, 3, 3, 3, OPTS(2, 1, 4, 3, 5, 2, 4, 3, 1)},
        {2, 2, 7, 7, 3, 7, 7, OPTS(4, 4, 3, 3, 3, 3, 1, 1, 2)},
        {2, 1, 10, 19, 1, 3, 3, OPTS(1, 1, 1, 1, 1, 1, 1, 1, 5)}, /* depthwise */
        {1, 1, 9, 300, 2, 3, 5, OPTS(1, 1, 1, 2, 1, 2, 1, 1, 3)}, /* more than CHUNK outputs in a row */
        {1, 1, 11, 40, 1, 3, 3, OPTS(2, 2, 1, 1, 0, 0, 1, 2, 4)},
        {1, 12, 17, 18, 1, 5, 5, OPTS(1, 2, 2, 2, 2, 2, 1, 1, 1)},
        {1, 1, 2, 2, 3, 2, 2, OPTS(1, 1, 3, 3, 3, 3, 1, 1, 1)}, /* windows with nothing but padding */
    };

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(&shapes[i], SG_F32);
        check_shape(&shapes[i], SG_F64);
    }
}

/* ---- extents ---- */

static void symbolic_images_have_their_extents(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim b = sg_extent(g, "batch"), h = sg_extent(g, "h"), w = sg_extent(g, "w");
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(b, 3, h, w));
    char text[SG_SHAPE_TEXT];

    sg_value *y = sg_conv2d(g, x, sg_zeros_like(g, ramp(g, SG_F32, DIMS(8, 3, 3, 3))), NULL, sg_conv2d_strided(1, 1));
    assert_string_equal(sg_value_shape_text(y, text), "[batch,8,h,w]");
    y = sg_conv2d_transpose(g, y, ramp(g, SG_F32, DIMS(8, 2, 4, 4)), NULL, sg_conv2d_strided(2, 1));
    CHECK(sg_value_dim(y, 2) == sg_dim_mul(g, 2, h) && sg_value_dim(y, 3) == sg_dim_mul(g, 2, w));
    CHECK(sg_graph_status(g, NULL) == SG_OK);
    (void)sg_conv2d(g, x, ramp(g, SG_F32, DIMS(8, 3, 3, 3)), NULL, sg_conv2d_strided(2, 1));
    CHECK_BUILD_FAILS(g, SG_EUNSUPPORTED, "conv2d: stride 2 over h elements, a number of them was wanted");
    sg_graph_free(g);
}

static void no_images_no_outputs(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(sg_extent(g, "batch"), 2, 4, 4));
    sg_value *w = ramp(g, SG_F32, DIMS(1, 2, 3, 3)), *fetches[2];
    fetches[0] = sg_conv2d(g, x, w, NULL, sg_conv2d_defaults());
    sg_gradients(g, fetches[0], NULL, 1, &w, fetches + 1);
    sg_session *s;
    sg_tensor t[2];
    sg_error err;

    CHECK_OK(sg_session_new(&s, g, NULL, values_opts(1), &err), &err);
    CHECK_OK(sg_session_run(s, 1, &(sg_feed){x, sg_tensor_of(SG_F32, DIMS(0, 2, 4, 4), NULL)}, 2, fetches, t, &err),
             &err);
    CHECK(sg_tensor_count(&t[0]) == 0);
    for (sg_dim i = 0; i < 18; i++)
        CHECK(sg_tensor_get(&t[1], i) == 0);
    sg_session_free(s);
    sg_graph_free(g);
}

typedef struct wrong {
    sg_dim x[4], w[4];
    sg_conv2d_opts opts;
    sg_status status;
    const char *words;
} wrong;

static void wrong_shapes_say_so(void **state)
{
    (void)state;
    static const wrong wrongs[] = {
        {{1, 2, 4, 4},
         {3, 3, 2, 2},
         OPTS(1, 1, 0, 0, 0, 0, 1, 1, 1),
         SG_ESHAPE,
         "conv2d: channels differ with 1 groups"},
        {{1, 4, 4, 4}, {3, 2, 2, 2}, OPTS(1, 1, 0, 0, 0, 0, 1, 1, 2), SG_ESHAPE, "2 groups do not divide the channels"},
        {{1, 2, 4, 4},
         {3, 2, 5, 2},
         OPTS(1, 1, 0, 0, 0, 0, 1, 1, 1),
         SG_ESHAPE,
         "a window over 5 elements does not fit 4"},
        {{1, 2, 4, 4},
         {3, 2, 3, 2},
         OPTS(1, 1, 0, 0, 0, 0, 2, 1, 1),
         SG_ESHAPE,
         "a window over 5 elements does not fit 4"},
        {{1, 2, 4, 4}, {3, 2, 2, 2}, OPTS(0, 1, 0, 0, 0, 0, 1, 1, 1), SG_ESHAPE, "stride 0"},
        {{1, 2, 4, 4}, {3, 2, 2, 2}, OPTS(1, 1, 0, -1, 0, 0, 1, 1, 1), SG_ESHAPE, "padding -1 and 0"},
        {{1, 2, 4, 4}, {3, 2, 2, 2}, OPTS(1, 1, 0, 0, 0, 0, 1, 0, 1), SG_ESHAPE, "dilation 0"},
        {{1, 2, 4, 4}, {3, 2, 2, 2}, OPTS(1, 1, 0, 0, 0, 0, 1, 1, 0), SG_EARG, "0 groups"},
    };
    sg_graph *g;

    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        g = sg_graph_new();
        (void)sg_conv2d(g, sg_input(g, "x", SG_F32, 4, wrongs[i].x), sg_input(g, "w", SG_F32, 4, wrongs[i].w), NULL,
                        wrongs[i].opts);
        CHECK_BUILD_FAILS(g, wrongs[i].status, wrongs[i].words);
        sg_graph_free(g);
    }

    g = sg_graph_new();
    (void)sg_conv2d(g, sg_input(g, "x", SG_F32, DIMS(2, 4, 4)), sg_input(g, "w", SG_F32, DIMS(1, 2, 2, 2)), NULL,
                    sg_conv2d_defaults());
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "four axes");
    sg_graph_free(g);
    g = sg_graph_new();
    (void)sg_conv2d(g, sg_input(g, "x", SG_F32, DIMS(1, 2, 4, 4)), sg_input(g, "w", SG_F64, DIMS(1, 2, 2, 2)), NULL,
                    sg_conv2d_defaults());
    CHECK_BUILD_FAILS(g, SG_ETYPE, "types differ");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_conv2d_opts o = sg_conv2d_strided(2, 1);
    o.output_padding[1] = 2;
    (void)sg_conv2d_transpose(g, sg_input(g, "x", SG_F32, DIMS(1, 2, 4, 4)), sg_input(g, "w", SG_F32, DIMS(2, 2, 2, 2)),
                              NULL, o);
    CHECK_BUILD_FAILS(g, SG_EARG, "output padding 2");
    sg_graph_free(g);
    g = sg_graph_new();
    (void)sg_conv2d_transpose(g, sg_input(g, "x", SG_F32, DIMS(1, 2, 1, 1)), sg_input(g, "w", SG_F32, DIMS(2, 2, 2, 2)),
                              NULL, sg_conv2d_strided(1, 1));
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "0");
    sg_graph_free(g);
}

/* A symbolic extent can turn out too small for the kernel. */
static void a_kernel_that_does_not_fit_is_said_when_it_runs(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(1, 1, sg_extent(g, "h"), 4));
    sg_value *y = sg_conv2d(g, x, ramp(g, SG_F32, DIMS(1, 1, 3, 3)), NULL, sg_conv2d_defaults());
    sg_session *s;
    sg_tensor t;
    sg_error err;
    float numbers_of_x[8] = {0};

    CHECK_OK(sg_session_new(&s, g, NULL, values_opts(1), &err), &err);
    CHECK(sg_session_run(s, 1, &(sg_feed){x, sg_tensor_of(SG_F32, DIMS(1, 1, 2, 4), numbers_of_x)}, 1, &y, &t, &err) ==
          SG_ESHAPE);
    CHECK(sg_session_run(s, 1, &(sg_feed){x, sg_tensor_of(SG_F32, DIMS(1, 1, 1, 4), numbers_of_x)}, 1, &y, &t, &err) ==
          SG_ESHAPE);
    sg_session_free(s);
    sg_graph_free(g);
}

static void nan_stays_in_its_windows(void **state)
{
    (void)state;
    const double nan = (double)NAN;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(1, 1, 2, 4), nan, 1, 1, 1, 1, 1, 1, 1);
    sg_value *w = sg_full(g, SG_F32, DIMS(3, 1, 2, 2), 1);

    CHECK_VALUES(g, sg_conv2d(g, x, w, NULL, sg_conv2d_defaults()), 0, nan, 4, 4, nan, 4, 4, nan, 4, 4);
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_as_pytorch_has_them),
        cmocka_unit_test(transposed_convolutions_as_pytorch_has_them),
        cmocka_unit_test(kernels_agree_with_the_definition),
        cmocka_unit_test(symbolic_images_have_their_extents),
        cmocka_unit_test(no_images_no_outputs),
        cmocka_unit_test(wrong_shapes_say_so),
        cmocka_unit_test(a_kernel_that_does_not_fit_is_said_when_it_runs),
        cmocka_unit_test(nan_stays_in_its_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
