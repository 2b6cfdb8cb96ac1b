/* Resizing [B,C,H,W] to other H and W: each output is one element of its plane, or a mix of two by two.
 *
 * That is linear, and resize2d_back is its adjoint: each is the other's gradient. Attributes, both: i = the two extents
 * that come out, sg_resize. Positions are ratios of whole numbers, so that none is rounded to a wrong neighbour. */
#include <string.h>

#include "ops/iter.h"
#include "sightglass/image.h"

enum { EXTENT = 0, HOW = 2, N_ATTRS };

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];

    if (x->dtype != SG_F32 && x->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64");
    if (x->n_dims != 4)
        return sg_infer_fail(s, err, SG_ESHAPE, "four axes were wanted");
    if (s->attrs->i[HOW] < SG_RESIZE_NEAREST || s->attrs->i[HOW] > SG_RESIZE_BILINEAR_CORNERS)
        return sg_infer_fail(s, err, SG_EARG, "%lld is no way to resize", (long long)s->attrs->i[HOW]);
    sg_infer_like(s, 0);
    for (int d = 0; d < 2; d++) {
        if (s->attrs->i[EXTENT + d] == 0 || x->dims[2 + d] == 0)
            return sg_infer_fail(s, err, SG_ESHAPE, "an image without elements");
        s->dims[2 + d] = sg_dim_add(s->g, s->attrs->i[EXTENT + d], 0); /* which looks whether it is one */
    }
    return SG_OK;
}

/* An output along one axis: (1 - part) of element low and part of high. */
typedef struct mix {
    int32_t low, high;
    double part;
} mix;

typedef struct job {
    const void *src;
    void *dst;
    sg_dim from[2], to[2]; /* from H, W to OH, OW, also in the adjoint */
    const mix *mix;        /* OH of them, then OW */
    bool linear;
} job;

/* How n elements become n_out, in the words of PyTorch: i of n_out is at i n / n_out (nearest), at
 * (i + 1/2) n / n_out - 1/2 (nearest-exact; bilinear, not below 0), or at i (n - 1) / (n_out - 1) (align_corners). */
static void fill_mix(mix *out, sg_dim n, sg_dim n_out, int64_t how)
{
    for (sg_dim i = 0; i < n_out; i++) {
        sg_dim above = i * n, below = n_out;
        if (how == SG_RESIZE_NEAREST_EXACT) {
            above = (2 * i + 1) * n;
            below = 2 * n_out;
        } else if (how == SG_RESIZE_BILINEAR) {
            above = SG_MAX((2 * i + 1) * n - n_out, 0);
            below = 2 * n_out;
        } else if (how == SG_RESIZE_BILINEAR_CORNERS) {
            above = n_out > 1 ? i * (n - 1) : 0;
            below = SG_MAX(n_out - 1, 1);
        }
        const sg_dim low = SG_MIN(above / below, n - 1);
        const double part = (double)(above % below) / (double)below;
        const bool mixed = how >= SG_RESIZE_BILINEAR && part > 0 && low + 1 < n;
        out[i] = (mix){(int32_t)low, (int32_t)(mixed ? low + 1 : low), mixed ? part : 0};
    }
}

#define T       float
#define NAME(x) x##_f32
#include "ops/resize_kernels.h"
#undef T
#undef NAME
#define T       double
#define NAME(x) x##_f64
#include "ops/resize_kernels.h"
#undef T
#undef NAME

static sg_status apply(const sg_kernel_args *k, const sg_view *small, const sg_view *large, sg_range_fn fn,
                       sg_error *err)
{
    job j = {.src = k->in[0]->data, .dst = k->out->data, .mix = k->scratch, .linear = k->i[HOW] >= SG_RESIZE_BILINEAR};
    mix *at = k->scratch;

    for (int d = 0; d < 2; d++) {
        j.from[d] = small->dims[2 + d];
        j.to[d] = large->dims[2 + d];
        if (j.from[d] < 1 || j.to[d] < 1 || j.from[d] > INT32_MAX / 4 || j.to[d] > INT32_MAX / 4)
            return sg_fail(err, SG_ESHAPE, "%s: from %lld elements to %lld", k->op->name, (long long)j.from[d],
                           (long long)j.to[d]);
        fill_mix(at, j.from[d], j.to[d], k->i[HOW]);
        at += j.to[d];
    }
    sg_split(small->dims[0] * small->dims[1], (j.linear ? 4 : 1) * j.to[0] * j.to[1] + j.from[0] * j.from[1],
             k->n_threads, fn, &j);
    return SG_OK;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, k->in[0], k->out, k->out->dtype == SG_F32 ? resize_part_f32 : resize_part_f64, err);
}

static sg_status run_back(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, k->out, k->in[0], k->out->dtype == SG_F32 ? back_part_f32 : back_part_f64, err);
}

static size_t scratch(const sg_kernel_args *k)
{
    return (size_t)(k->out->dims[2] + k->out->dims[3]) * sizeof(mix);
}

static size_t scratch_back(const sg_kernel_args *k)
{
    return (size_t)(k->in[0]->dims[2] + k->in[0]->dims[3]) * sizeof(mix);
}

static sg_value *build(sg_graph *g, const sg_op *op, sg_value *x, sg_dim h, sg_dim w, sg_dim how)
{
    return sg_node(g, op, 1, &x, &(sg_attrs){.n_i = N_ATTRS, .i = {h, w, how}});
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = build(g, &sg_op_resize2d_back, dy, y->in[0]->dims[2], y->in[0]->dims[3], y->attrs.i[HOW]);
}

static void grad_back(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = build(g, &sg_op_resize2d, dy, y->in[0]->dims[2], y->in[0]->dims[3], y->attrs.i[HOW]);
}

const sg_op sg_op_resize2d = {
    .name = "resize2d", .min_in = 1, .max_in = 1, .infer = infer, .run = run, .scratch = scratch, .grad = grad};
const sg_op sg_op_resize2d_back = {.name = "resize2d_back",
                                   .min_in = 1,
                                   .max_in = 1,
                                   .infer = infer,
                                   .run = run_back,
                                   .scratch = scratch_back,
                                   .grad = grad_back};

sg_value *sg_resize2d(sg_graph *g, sg_value *x, sg_dim h, sg_dim w, sg_resize how)
{
    if (!sg_graph_failed(g) && x->n_dims == 4 && h == x->dims[2] && w == x->dims[3])
        return x;
    return build(g, &sg_op_resize2d, x, h, w, (sg_dim)how);
}
