/* Means of windows and their gradient. The largest is left to the reference kernel: oneDNN's passes over NaN, and gives
 * -FLT_MAX where all is -inf. */
#include <string.h>

#include "backend/onednn/prepared.h"

#define LEAST             256 /* elements of the image for which it pays, docs/decisions/0005-convolution.md */
#define LEAST_FOR_THREADS 65536

/* The attributes of the ops, as src/ops/pool.c has them. */
enum { KERNEL = 0, STRIDE = 2, BEFORE = 4, AFTER = 6, COUNT = 8 };

bool sg_onednn_pool(const sg_kernel_args *k, sg_prepared *out)
{
    const bool is_back = strcmp(k->op->name, "avg_pool2d_back") == 0;
    const sg_view *x = is_back ? k->out : k->in[0], *y = is_back ? k->in[0] : k->out;
    const dnnl_alg_kind_t alg = k->i[COUNT] ? dnnl_pooling_avg_include_padding : dnnl_pooling_avg_exclude_padding;
    const sg_dim n = x->dims[0] * x->dims[1] * x->dims[2] * x->dims[3];
    const int n_threads = n < LEAST_FOR_THREADS ? 1 : k->n_threads;
    dnnl_pooling_desc_t desc, forward;
    sg_onednn_arg args[2] = {{.name = is_back ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, .view = is_back ? SG_ONEDNN_OUT : 0},
                             {.name = is_back ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST, .view = is_back ? 0 : SG_ONEDNN_OUT}};

    if (n < LEAST || (!is_back && strcmp(k->op->name, "avg_pool2d") != 0))
        return false;
    dnnl_dims_t dims[2], kernel, strides, before, after; /* oneDNN may read all of an array */
    for (int d = 0; d < 4; d++) {
        dims[0][d] = x->dims[d];
        dims[1][d] = y->dims[d];
    }
    for (int d = 0; d < 2; d++) {
        kernel[d] = k->i[KERNEL + d];
        strides[d] = k->i[STRIDE + d];
        before[d] = k->i[BEFORE + d];
        after[d] = k->i[AFTER + d];
    }
    if (dnnl_memory_desc_init_by_tag(&args[0].md, 4, dims[0], dnnl_f32, dnnl_nchw) != dnnl_success ||
        dnnl_memory_desc_init_by_tag(&args[1].md, 4, dims[1], dnnl_f32, dnnl_nchw) != dnnl_success ||
        dnnl_pooling_forward_desc_init(&forward, is_back ? dnnl_forward_training : dnnl_forward_inference, alg,
                                       &args[0].md, &args[1].md, strides, kernel, before, after) != dnnl_success)
        return false;
    if (!is_back)
        return sg_onednn_prepare_any(&forward, NULL, 2, args, n_threads, out);
    return dnnl_pooling_backward_desc_init(&desc, alg, &args[0].md, &args[1].md, k->i + STRIDE, k->i + KERNEL,
                                           k->i + BEFORE, k->i + AFTER) == dnnl_success &&
           sg_onednn_prepare_any(&desc, &forward, 2, args, n_threads, out);
}
