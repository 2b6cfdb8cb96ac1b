/* Operations on images, [B,C,H,W]: batch, channels, rows, columns.
 *
 *     sg_value *x = sg_input(g, "x", SG_F32, 4, (sg_dim[]){batch, 3, 32, 32});
 *     sg_value *w = sg_variable(g, "w", SG_F32, 4, (sg_dim[]){16, 3, 3, 3}, sg_init_normal(0.2));
 *     sg_value *h = sg_conv2d(g, x, w, NULL, sg_conv2d_strided(2, 1)); // [batch,16,16,16]
 *
 * Floats are f32 or f64, pairs are (down, across), and everything has gradients, and they have gradients. Any extent of
 * x may be symbolic; where a stride other than 1 meets a symbolic H or W, it is SG_EUNSUPPORTED, since no polynomial
 * says how many windows there are. Failures are the graph's, as with all builders: SG_ESHAPE for what does not fit,
 * SG_ETYPE, SG_EARG for options out of range. */
#ifndef SIGHTGLASS_IMAGE_H
#define SIGHTGLASS_IMAGE_H

#include "sightglass/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- convolution ---- */

typedef struct sg_conv2d_opts {
    sg_dim stride[2];         /* 1, 1: pixels from one window to the next */
    sg_dim before[2];         /* 0, 0: rows of zeros above, columns of zeros to the left */
    sg_dim after[2];          /* 0, 0: below, to the right */
    sg_dim dilation[2];       /* 1, 1: pixels from one tap of the kernel to the next */
    sg_dim groups;            /* 1: channels come in this many groups that do not mix; C: depthwise */
    sg_dim output_padding[2]; /* 0, 0: transposed only, below the stride: rows and columns more that come out */
} sg_conv2d_opts;
sg_conv2d_opts sg_conv2d_defaults(void);
/* The defaults with this stride, and this padding on all four sides: (2, 1) halves an image under a kernel of 3 or 4.
 */
sg_conv2d_opts sg_conv2d_strided(sg_dim stride, sg_dim padding);

/* x [B,C,H,W], w [O,C/groups,KH,KW], b [O] or NULL -> [B,O,OH,OW] with
 * OH = (H + before + after - (KH - 1) dilation - 1) / stride + 1, rounded down. The kernel is not flipped. */
sg_value *sg_conv2d(sg_graph *g, sg_value *x, sg_value *w, sg_value *b, sg_conv2d_opts opts);

/* The adjoint of sg_conv2d with the same w and opts, which enlarges by the stride ("deconvolution"):
 * x [B,O,H,W], w [O,C/groups,KH,KW], b [C] or NULL -> [B,C,TH,TW] with
 * TH = (H - 1) stride - before - after + (KH - 1) dilation + 1 + output_padding. */
sg_value *sg_conv2d_transpose(sg_graph *g, sg_value *x, sg_value *w, sg_value *b, sg_conv2d_opts opts);

/* ---- pooling ---- */

typedef struct sg_pool2d_opts {
    sg_dim kernel[2], stride[2];
    sg_dim before[2], after[2]; /* 0, 0: padding, less than the kernel; never the largest */
    bool count_padding;         /* true: a mean is over the whole kernel, padding being 0; false: over what is inside */
} sg_pool2d_opts;
/* Square windows without padding. */
sg_pool2d_opts sg_pool2d_strided(sg_dim kernel, sg_dim stride);

/* x [B,C,H,W] -> [B,C,OH,OW] with OH = (H + before + after - kernel) / stride + 1, rounded down. */
sg_value *sg_max_pool2d(sg_graph *g, sg_value *x,
                        sg_pool2d_opts opts); /* NaN wins; a tie's gradient goes to the first */
sg_value *sg_avg_pool2d(sg_graph *g, sg_value *x, sg_pool2d_opts opts);
sg_value *sg_global_avg_pool2d(sg_graph *g, sg_value *x); /* -> [B,C] */

/* ---- normalisation: channels along axis 1, [B,C,...] with any axes after; w, b [C], each may be NULL ---- */

/* What a batch says of each channel, [C]. */
typedef struct sg_batch_stats {
    sg_value *mean;
    sg_value
        *var; /* the unbiased estimate, n / (n - 1) times the batch's own, as running averages want it; for n = 1, 0 */
} sg_batch_stats;

/* For training: (x - mean) / sqrt(var + eps) w + b with the batch's own mean and variance of each channel.
 * stats, unless NULL, gets them; running averages are the caller's:
 *     sg_assign(g, running, sg_add(g, sg_mul_scalar(g, running, 0.9), sg_mul_scalar(g, stats.mean, 0.1))) */
sg_value *sg_batch_norm(sg_graph *g, sg_value *x, sg_value *w, sg_value *b, double eps, sg_batch_stats *stats);
/* For inference: the same with given mean, var [C]. */
sg_value *sg_batch_norm_given(sg_graph *g, sg_value *x, sg_value *mean, sg_value *var, sg_value *w, sg_value *b,
                              double eps);
/* Mean and variance over each group of C / n_groups neighbouring channels of each image. n_groups = C is instance norm,
 * 1 is layer norm over all of an image. */
sg_value *sg_group_norm(sg_graph *g, sg_value *x, sg_dim n_groups, sg_value *w, sg_value *b, double eps);

/* ---- resizing ---- */

typedef enum sg_resize {                          /* what PyTorch calls it */
                         SG_RESIZE_NEAREST,       /* "nearest": element i H / h, rounded down */
                         SG_RESIZE_NEAREST_EXACT, /* "nearest-exact": the pixel under the middle of the new one */
                         SG_RESIZE_BILINEAR, /* "bilinear", align_corners=False: middles of pixels are half way between
                                                their edges */
                         SG_RESIZE_BILINEAR_CORNERS /* "bilinear", align_corners=True: the middles of the corner pixels
                                                       stay */
} sg_resize;

/* x [B,C,H,W] -> [B,C,h,w]; h and w may be symbolic. When shrinking, pixels between are passed over. */
sg_value *sg_resize2d(sg_graph *g, sg_value *x, sg_dim h, sg_dim w, sg_resize how);

#ifdef __cplusplus
}
#endif
#endif
