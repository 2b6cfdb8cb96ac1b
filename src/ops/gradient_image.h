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
};
