/* The gradient test's cases of operations on images: gradient_test.c includes this once, after its BUILD. */

static sg_conv2d_opts conv_opts(const sg_dim *stride, const sg_dim *before, const sg_dim *after, const sg_dim *dilation,
                                sg_dim groups)
{
    sg_conv2d_opts o = sg_conv2d_defaults();

    for (int d = 0; d < 2; d++) {
        o.stride[d] = stride[d];
        o.before[d] = before[d];
        o.after[d] = after[d];
        o.dilation[d] = dilation[d];
    }
    o.groups = groups;
    return o;
}

#define PAIR(a, b)                                                                                                     \
    (const sg_dim[])                                                                                                   \
    {                                                                                                                  \
        a, b                                                                                                           \
    }

static sg_value *conv2d_transpose_more(sg_graph *g, sg_value *const *x)
{
    sg_conv2d_opts o = conv_opts(PAIR(2, 3), PAIR(1, 0), PAIR(1, 1), PAIR(1, 1), 1);

    o.output_padding[0] = 1;
    o.output_padding[1] = 2;
    return sg_conv2d_transpose(g, x[0], x[1], x[2], o);
}

/* The gradient of a convolution by its weights, itself differentiated by image and incoming gradient. */
static sg_value *conv2d_weight_gradient(sg_graph *g, sg_value *const *x)
{
    const sg_conv2d_opts o = conv_opts(PAIR(2, 1), PAIR(1, 0), PAIR(0, 1), PAIR(1, 2), 1);
    sg_value *w = sg_full(g, SG_F64, 4, (const sg_dim[]){2, 1, 2, 2}, 0.5), *dw;

    sg_gradients(g, sg_conv2d(g, x[0], w, NULL, o), x[1], 1, &w, &dw);
    return dw;
}

BUILD(conv2d_plain, sg_conv2d(g, x[0], x[1], x[2], sg_conv2d_defaults()))
BUILD(conv2d_strided, sg_conv2d(g, x[0], x[1], NULL, sg_conv2d_strided(2, 1)))
BUILD(conv2d_odd, sg_conv2d(g, x[0], x[1], NULL, conv_opts(PAIR(3, 1), PAIR(2, 0), PAIR(0, 1), PAIR(2, 3), 1)))
BUILD(conv2d_groups, sg_conv2d(g, x[0], x[1], NULL, conv_opts(PAIR(1, 1), PAIR(1, 1), PAIR(0, 0), PAIR(1, 1), 2)))
BUILD(conv2d_square, sg_conv2d(g, x[0], x[0], NULL, sg_conv2d_strided(1, 1)))
BUILD(conv2d_transpose, sg_conv2d_transpose(g, x[0], x[1], NULL, sg_conv2d_strided(2, 1)))
BUILD(conv2d_transpose_groups,
      sg_conv2d_transpose(g, x[0], x[1], NULL, conv_opts(PAIR(2, 1), PAIR(0, 1), PAIR(0, 0), PAIR(3, 1), 2)))

static sg_pool2d_opts pool_opts(const sg_dim *kernel, const sg_dim *stride, const sg_dim *before, const sg_dim *after,
                                bool count_padding)
{
    sg_pool2d_opts o = {.count_padding = count_padding};

    for (int d = 0; d < 2; d++) {
        o.kernel[d] = kernel[d];
        o.stride[d] = stride[d];
        o.before[d] = before[d];
        o.after[d] = after[d];
    }
    return o;
}

/* The gradient of a mean by its input, itself differentiated by the incoming gradient. */
static sg_value *avg_pool2d_gradient(sg_graph *g, sg_value *const *x)
{
    sg_value *dx, *in = sg_full(g, SG_F64, 4, (const sg_dim[]){2, 1, 5, 4}, 0.5);
    const sg_pool2d_opts o = pool_opts(PAIR(3, 2), PAIR(2, 1), PAIR(1, 1), PAIR(1, 0), false);

    sg_gradients(g, sg_avg_pool2d(g, in, o), x[0], 1, &in, &dx);
    return sg_square(g, dx);
}

BUILD(max_pool2d, sg_square(g, sg_max_pool2d(g, x[0], sg_pool2d_strided(2, 2))))
BUILD(max_pool2d_odd,
      sg_square(g, sg_max_pool2d(g, x[0], pool_opts(PAIR(3, 2), PAIR(2, 1), PAIR(1, 1), PAIR(1, 0), false))))
BUILD(max_pool2d_dense, sg_square(g, sg_max_pool2d(g, x[0], sg_pool2d_strided(2, 1))))
BUILD(avg_pool2d, sg_square(g, sg_avg_pool2d(g, x[0], sg_pool2d_strided(2, 2))))
BUILD(avg_pool2d_dense, sg_square(g, sg_avg_pool2d(g, x[0], sg_pool2d_strided(2, 1))))
BUILD(avg_pool2d_odd,
      sg_square(g, sg_avg_pool2d(g, x[0], pool_opts(PAIR(3, 2), PAIR(2, 1), PAIR(1, 1), PAIR(1, 0), false))))
BUILD(avg_pool2d_counted,
      sg_square(g, sg_avg_pool2d(g, x[0], pool_opts(PAIR(3, 2), PAIR(2, 1), PAIR(1, 1), PAIR(1, 0), true))))
BUILD(global_avg_pool2d, sg_square(g, sg_global_avg_pool2d(g, x[0])))

/* The gradient of resizing by its input, itself differentiated by the incoming gradient. */
static sg_value *resize2d_gradient(sg_graph *g, sg_value *const *x)
{
    sg_value *dx, *in = sg_full(g, SG_F64, 4, (const sg_dim[]){sg_value_dim(x[0], 0), 2, 3, 4}, 0.5);

    sg_gradients(g, sg_resize2d(g, in, sg_value_dim(x[0], 2), sg_value_dim(x[0], 3), SG_RESIZE_BILINEAR), x[0], 1, &in,
                 &dx);
    return sg_square(g, dx);
}

BUILD(resize2d_nearest, sg_square(g, sg_resize2d(g, x[0], 5, 3, SG_RESIZE_NEAREST)))
BUILD(resize2d_exact, sg_square(g, sg_resize2d(g, x[0], 5, 3, SG_RESIZE_NEAREST_EXACT)))
BUILD(resize2d_bilinear, sg_square(g, sg_resize2d(g, x[0], 7, 2, SG_RESIZE_BILINEAR)))
BUILD(resize2d_corners, sg_square(g, sg_resize2d(g, x[0], 2, 7, SG_RESIZE_BILINEAR_CORNERS)))
BUILD(resize2d_symbol,
      sg_square(g, sg_resize2d(g, x[0], sg_dim_mul(g, sg_value_dim(x[0], 2), 2), 3, SG_RESIZE_BILINEAR)))

BUILD(batch_norm, sg_batch_norm(g, x[0], x[1], x[2], 0.1, NULL))
BUILD(group_norm, sg_group_norm(g, x[0], 2, x[1], x[2], 0.1))
BUILD(batch_norm_given, sg_batch_norm_given(g, x[0], x[1], sg_square(g, x[1]), x[1], x[2], 0.5))
static sg_value *batch_stats(sg_graph *g, sg_value *const *x)
{
    sg_batch_stats s;

    (void)sg_batch_norm(g, x[0], NULL, NULL, 0.1, &s);
    return sg_mul(g, s.mean, s.var);
}

static sg_value *dropout(sg_graph *g, sg_value *const *x)
{
    const int32_t three = 3;
    const sg_tensor step = {.dtype = SG_I32, .data = (void *)(uintptr_t)&three};

    return sg_square(g, sg_dropout(g, x[0], 0.4, (sg_random){.seed = 1}, sg_const(g, &step)));
}

static const gradcheck_case image_cases[] = {
    {"conv2d",
     conv2d_plain,
     3,
     {{4, {2, 2, 4, 3}, -1, 1, false}, {4, {3, 2, 2, 3}, -1, 1, false}, {1, {3}, -1, 1, false}},
     0},
    {"conv2d",
     conv2d_plain,
     3,
     {{4, {-2, 3, 2, 2}, -1, 1, false}, {4, {2, 3, 1, 1}, -1, 1, false}, {1, {2}, -1, 1, false}},
     0},
    {"conv2d",
     conv2d_plain,
     3,
     {{4, {1, 1, -4, -3}, -1, 1, false}, {4, {1, 1, 2, 2}, -1, 1, false}, {1, {1}, -1, 1, false}},
     0},
    {"conv2d", conv2d_strided, 2, {{4, {-2, 1, 5, 4}, -1, 1, false}, {4, {4, 1, 3, 3}, -1, 1, false}}, 0},
    {"conv2d", conv2d_odd, 2, {{4, {1, 2, 5, 5}, -1, 1, false}, {4, {3, 2, 3, 2}, -1, 1, false}}, 0},
    {"conv2d", conv2d_groups, 2, {{4, {2, 4, 3, 3}, -1, 1, false}, {4, {6, 2, 2, 2}, -1, 1, false}}, 0},
    {"conv2d", conv2d_groups, 2, {{4, {2, 2, 3, 3}, -1, 1, false}, {4, {2, 1, 2, 2}, -1, 1, false}}, 0},
    {"conv2d", conv2d_square, 1, {{4, {2, 2, 3, 3}, -1, 1, false}}, 0},
    {"conv2d_transpose", conv2d_transpose, 2, {{4, {-2, 2, 3, 2}, -1, 1, false}, {4, {2, 3, 4, 3}, -1, 1, false}}, 0},
    {"conv2d_transpose", conv2d_transpose, 2, {{4, {1, 2, -3, -2}, -1, 1, false}, {4, {2, 1, 4, 4}, -1, 1, false}}, 0},
    {"conv2d_transpose",
     conv2d_transpose_groups,
     2,
     {{4, {1, 2, 2, 3}, -1, 1, false}, {4, {2, 2, 2, 3}, -1, 1, false}},
     0},
    {"conv2d_transpose",
     conv2d_transpose_more,
     3,
     {{4, {2, 2, 2, 2}, -1, 1, false}, {4, {2, 1, 3, 3}, -1, 1, false}, {1, {1}, -1, 1, false}},
     0},
    {"conv2d_weight",
     conv2d_weight_gradient,
     2,
     {{4, {-2, 1, 4, 4}, -1, 1, false}, {4, {-2, 2, 2, 3}, -1, 1, false}},
     0},

    {"max_pool2d", max_pool2d, 1, {{4, {-2, 2, 4, 5}, -1, 1, true}}, 0},
    {"max_pool2d", max_pool2d_odd, 1, {{4, {2, 1, 5, 4}, -1, 1, true}}, 0},
    {"max_pool2d", max_pool2d_dense, 1, {{4, {2, 1, -4, -3}, -1, 1, true}}, 0},
    {"avg_pool2d", avg_pool2d, 1, {{4, {-2, 2, 4, 5}, -1, 1, false}}, 0},
    {"avg_pool2d", avg_pool2d_dense, 1, {{4, {2, 1, -4, -3}, -1, 1, false}}, 0},
    {"avg_pool2d", avg_pool2d_odd, 1, {{4, {2, 1, 5, 4}, -1, 1, false}}, 0},
    {"avg_pool2d", avg_pool2d_counted, 1, {{4, {2, 1, 5, 4}, -1, 1, false}}, 0},
    {"avg_pool2d_back", avg_pool2d_gradient, 1, {{4, {2, 1, 3, 4}, -1, 1, false}}, 0},
    {"mean", global_avg_pool2d, 1, {{4, {-2, 3, 2, -3}, -1, 1, false}}, 0},

    {"resize2d", resize2d_nearest, 1, {{4, {-2, 2, 3, 4}, -1, 1, false}}, 0},
    {"resize2d", resize2d_exact, 1, {{4, {1, 2, 3, 4}, -1, 1, false}}, 0},
    {"resize2d", resize2d_bilinear, 1, {{4, {-2, 1, 3, 5}, -1, 1, false}}, 0},
    {"resize2d", resize2d_corners, 1, {{4, {2, 2, 3, 5}, -1, 1, false}}, 0},
    {"resize2d", resize2d_symbol, 1, {{4, {1, 2, -3, -4}, -1, 1, false}}, 0},
    {"resize2d_back", resize2d_gradient, 1, {{4, {-2, 2, 5, 3}, -1, 1, false}}, 0},
    {"mul", batch_norm, 3, {{4, {-2, 3, 2, 2}, -1, 1, false}, {1, {3}, -1, 1, false}, {1, {3}, -1, 1, false}}, 0},
    {"mul", batch_norm, 3, {{2, {4, 3}, -1, 1, false}, {1, {3}, -1, 1, false}, {1, {3}, -1, 1, false}}, 0},
    {"mul", batch_norm_given, 3, {{4, {-2, 3, 2, 2}, -1, 1, false}, {1, {3}, .3, 1, false}, {1, {3}, -1, 1, false}}, 0},
    {"mul", batch_stats, 1, {{4, {-2, 3, 2, 2}, -1, 1, false}}, 0},
    {"layer_norm",
     group_norm,
     3,
     {{4, {-2, 4, 2, -3}, -1, 1, false}, {1, {4}, -1, 1, false}, {1, {4}, -1, 1, false}},
     0},
    {"where", dropout, 1, {{2, {-3, 7}, -1, 1, false}}, 0},
};
