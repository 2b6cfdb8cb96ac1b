/* Convolutions and their two derivatives, each a primitive of oneDNN. It chooses the layouts (blocks of 16 channels as
 * a rule), so images and weights are copied into those and back. */
#include <string.h>

#include "backend/onednn/prepared.h"

/* The attributes of the three ops, as src/ops/conv.c has them. */
enum { STRIDE = 0, BEFORE = 2, AFTER = 4, DILATION = 6, GROUPS = 8 };

#define LEAST_PRODUCT_THREADS 4194304 /* eight times that of matrices: threads meet four times, for the layouts too */

/* Where oneDNN beats the reference kernel, as fitted to docs/decisions/0005-convolution.md: what the reference kernel
 * spends on products and on gathering, against what is moved into other layouts and back, in which channels come in
 * sixteens. */
static const struct {
    double gathered, least, overhead;
} thresholds[] = {{16, 3, 2000}, {1, 3, 0}, {8, 1, 500}}; /* conv2d, by image, by weights */

enum { CONV, BY_IMAGE, BY_WEIGHTS };

static double sixteens(sg_dim n)
{
    return (double)((n + 15) / 16 * 16);
}

static bool pays(int role, const sg_view *x, const sg_view *w, const sg_view *y, sg_dim groups)
{
    const double windows = (double)(y->dims[0] * y->dims[2] * y->dims[3]), taps = (double)(w->dims[2] * w->dims[3]);
    const double products = windows * (double)(y->dims[1] * w->dims[1]) * taps;
    const double gathered =
        taps > 1 ? windows * taps * (double)(role == BY_IMAGE ? y->dims[1] : w->dims[1] * groups) : 0;
    const double moved =
        sixteens(x->dims[1]) * (double)(x->dims[0] * x->dims[2] * x->dims[3]) + sixteens(y->dims[1]) * windows;

    return products + thresholds[role].gathered * gathered >=
           thresholds[role].least * (moved + thresholds[role].overhead);
}

/* Two descriptions of `dims` (all of which oneDNN may read): as they lie, row-major, and as oneDNN likes it. */
static bool describe(dnnl_memory_desc_t *row_major, dnnl_memory_desc_t *any, int n_dims, const dnnl_dims_t dims)
{
    dnnl_dims_t strides;
    dnnl_dim_t n = 1;

    for (int d = n_dims - 1; d >= 0; d--) {
        strides[d] = n;
        n *= dims[d];
    }
    return dnnl_memory_desc_init_by_strides(row_major, n_dims, dims, dnnl_f32, strides) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(any, n_dims, dims, dnnl_f32, dnnl_format_tag_any) == dnnl_success;
}

bool sg_onednn_conv(const sg_kernel_args *k, sg_prepared *out)
{
    const int role = strcmp(k->op->name, "conv2d_transpose") == 0 ? BY_IMAGE
                     : strcmp(k->op->name, "conv2d_weight") == 0  ? BY_WEIGHTS
                                                                  : CONV;
    const bool is_transpose = role == BY_IMAGE, is_weight = role == BY_WEIGHTS;
    const sg_view *x = is_transpose ? k->out : k->in[0], *w = is_weight ? k->out : k->in[1];
    const sg_view *y = is_transpose ? k->in[0] : is_weight ? k->in[1] : k->out;
    const sg_dim groups = k->i[GROUPS];
    const int grouped = groups > 1;
    dnnl_dims_t dims_x, dims_w = {groups, w->dims[0] / groups, w->dims[1], w->dims[2], w->dims[3]}, dims_y;
    dnnl_dims_t strides, dilates, before, after;
    dnnl_memory_desc_t any_x, any_w, any_y;
    dnnl_convolution_desc_t desc, forward;
    sg_onednn_arg args[3];

    if (!pays(role, x, w, y, groups))
        return false;
    const sg_dim products = y->dims[0] * y->dims[1] * y->dims[2] * y->dims[3] * w->dims[1] * w->dims[2] * w->dims[3];
    const int n_threads = products < LEAST_PRODUCT_THREADS ? 1 : k->n_threads;
    memcpy(dims_x, x->dims, 4 * sizeof x->dims[0]);
    memcpy(dims_y, y->dims, 4 * sizeof y->dims[0]);
    if (!grouped)
        memcpy(dims_w, w->dims, 4 * sizeof w->dims[0]);
    for (int d = 0; d < 2; d++) {
        strides[d] = k->i[STRIDE + d];
        before[d] = k->i[BEFORE + d];
        after[d] = k->i[AFTER + d];
        dilates[d] = k->i[DILATION + d] - 1;
    }
    args[0] = (sg_onednn_arg){.name = is_transpose ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC,
                              .view = is_transpose ? SG_ONEDNN_OUT : 0};
    args[1] = (sg_onednn_arg){.name = is_weight ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
                              .view = is_weight ? SG_ONEDNN_OUT : 1};
    args[2] = (sg_onednn_arg){.name = is_transpose || is_weight ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST,
                              .view = is_transpose ? 0
                                      : is_weight  ? 1
                                                   : SG_ONEDNN_OUT};
    if (!describe(&args[0].md, &any_x, 4, dims_x) || !describe(&args[1].md, &any_w, 4 + grouped, dims_w) ||
        !describe(&args[2].md, &any_y, 4, dims_y) ||
        dnnl_dilated_convolution_forward_desc_init(&forward, dnnl_forward_training, dnnl_convolution_direct, &any_x,
                                                   &any_w, NULL, &any_y, strides, dilates, before,
                                                   after) != dnnl_success)
        return false;
    if (is_transpose)
        return dnnl_dilated_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, &any_x, &any_w, &any_y,
                                                                strides, dilates, before, after) == dnnl_success &&
               sg_onednn_prepare_any(&desc, &forward, 3, args, n_threads, out);
    if (is_weight)
        return dnnl_dilated_convolution_backward_weights_desc_init(&desc, dnnl_convolution_direct, &any_x, &any_w, NULL,
                                                                   &any_y, strides, dilates, before,
                                                                   after) == dnnl_success &&
               sg_onednn_prepare_any(&desc, &forward, 3, args, n_threads, out);
    return sg_onednn_prepare_any(&forward, NULL, 3, args, n_threads, out);
}
