/* Pooling: the largest or the mean of each window of [B,C,H,W].
 *
 * The largest has its gradient by max_pool2d_index, which says where in its plane each window's first largest element
 * is, and put_along. The mean is linear, and avg_pool2d_back is its adjoint: each is the other's gradient.
 *
 * Attributes: i = kernel, stride, before, after (each down, across), whether padding counts, and the two extents that
 * come out (for all but avg_pool2d_back they need only be right where they are symbolic). */
#include <math.h>
#include <string.h>

#include "ops/iter.h"
#include "ops/window.h"
#include "sightglass/image.h"

enum { KERNEL = 0, STRIDE = 2, BEFORE = 4, AFTER = 6, COUNT = 8, EXTENT = 9, N_ATTRS = 11 };

static sg_window_axis window_of(const sg_dim *i, int d)
{
    return (sg_window_axis){i[KERNEL + d], i[STRIDE + d], i[BEFORE + d], i[AFTER + d], 1};
}

/* ---- shape rules ---- */

static sg_status infer_input(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];

    if (x->dtype != SG_F32 && x->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64");
    if (x->n_dims != 4)
        return sg_infer_fail(s, err, SG_ESHAPE, "four axes were wanted");
    sg_infer_like(s, 0);
    for (int d = 0; d < 2; d++) {
        const sg_window_axis w = window_of(s->attrs->i, d);
        SG_TRY(sg_window_check(s, &w, err));
        if (w.before >= w.kernel || w.after >= w.kernel)
            return sg_infer_fail(s, err, SG_ESHAPE, "%lld and %lld of padding hold whole windows of %lld",
                                 (long long)w.before, (long long)w.after, (long long)w.kernel);
    }
    return SG_OK;
}

static sg_status infer_pool(sg_infer *s, sg_error *err)
{
    SG_TRY(infer_input(s, err));
    for (int d = 0; d < 2; d++) {
        const sg_window_axis w = window_of(s->attrs->i, d);
        SG_TRY(sg_window_count(s, &w, s->in[0]->dims[2 + d], s->attrs->i[EXTENT + d], &s->dims[2 + d], err));
        s->attrs->i[EXTENT + d] = s->dims[2 + d];
    }
    return SG_OK;
}

static sg_status infer_index(sg_infer *s, sg_error *err)
{
    SG_TRY(infer_pool(s, err));
    s->dtype = SG_I32;
    return SG_OK;
}

static sg_status infer_back(sg_infer *s, sg_error *err)
{
    SG_TRY(infer_input(s, err));
    for (int d = 0; d < 2; d++) {
        const sg_window_axis w = window_of(s->attrs->i, d);
        sg_dim n;
        s->dims[2 + d] = s->attrs->i[EXTENT + d];
        SG_TRY(sg_window_count(s, &w, s->dims[2 + d], s->in[0]->dims[2 + d], &n, err));
        if (n != s->in[0]->dims[2 + d])
            return sg_infer_fail(s, err, SG_ESHAPE, "the pooling would give other extents");
    }
    return SG_OK;
}

/* ---- kernels ---- */

#define CHUNK  256  /* windows of a row that are computed together */
#define TAPS   512  /* elements across a kernel that are looked at together */
#define BUFFER 1024 /* elements under such windows */

typedef struct job {
    sg_window_axis window[2];
    sg_dim x[2], y[2]; /* extents of image and windows */
    const void *x_data, *y_in;
    void *y_data, *x_out;
    bool count_padding;
} job;

/* How many of `left` windows go together: what is under them, TAPS of each, fits BUFFER. */
static inline sg_dim windows_together(const sg_window_axis *w, sg_dim left)
{
    return SG_MIN(left, SG_MIN((sg_dim)CHUNK, (BUFFER - TAPS) / w->stride + 1));
}

/* The columns under elements k0..k0+taps-1 of windows u0..u0+n-1: how many, and which of them are inside the image. */
typedef struct columns {
    sg_dim n;
    sg_dim skip, n_inside, at; /* padding before, columns inside, and the first of these in the image */
} columns;

static inline columns columns_under(const sg_window_axis *w, sg_dim u0, sg_dim n, sg_dim k0, sg_dim taps, sg_dim x)
{
    const sg_dim left = u0 * w->stride - w->before + k0, count = (n - 1) * w->stride + taps;
    const sg_dim at = SG_MIN(SG_MAX(left, 0), x), end = SG_MAX(SG_MIN(left + count, x), at);

    return (columns){.n = count, .skip = SG_MIN(SG_MAX(at - left, 0), count), .n_inside = end - at, .at = at};
}

/* Elements of window t that are inside. */
static inline sg_dim inside(const sg_window_axis *w, sg_dim t, sg_dim x)
{
    const sg_dim at = t * w->stride - w->before;

    return SG_MIN(at + w->kernel, x) - SG_MAX(at, 0);
}

/* What the sum of window (t, u) is divided by. */
static inline sg_dim counted(const job *j, sg_dim t, sg_dim u)
{
    if (j->count_padding)
        return j->window[0].kernel * j->window[1].kernel;
    return inside(&j->window[0], t, j->x[0]) * inside(&j->window[1], u, j->x[1]);
}

#define T       float
#define NAME(x) x##_f32
#include "ops/pool_kernels.h"
#undef T
#undef NAME
#define T       double
#define NAME(x) x##_f64
#include "ops/pool_kernels.h"
#undef T
#undef NAME

static sg_status apply(const sg_kernel_args *k, const sg_view *x, const sg_view *y, bool index, sg_range_fn fn,
                       sg_error *err)
{
    job j = {.x_data = x->data,
             .x_out = k->out->data,
             .y_data = k->out->data,
             .y_in = y->data,
             .count_padding = k->i[COUNT] != 0};

    for (int d = 0; d < 2; d++) {
        j.window[d] = window_of(k->i, d);
        j.x[d] = x->dims[2 + d];
        j.y[d] = y->dims[2 + d];
        if (!sg_window_fits(&j.window[d], j.x[d], j.y[d]))
            return sg_fail(err, SG_ESHAPE, "%s: %lld windows of %lld elements do not fit %lld with padding",
                           k->op->name, (long long)j.y[d], (long long)j.window[d].kernel, (long long)j.x[d]);
    }
    if (index && j.x[0] > INT32_MAX / j.x[1])
        return sg_fail(err, SG_ESHAPE, "%s: a plane of %lld by %lld is too large for an i32 index", k->op->name,
                       (long long)j.x[0], (long long)j.x[1]);
    sg_split(x->dims[0] * x->dims[1], j.y[0] * j.y[1] * (j.window[0].kernel + j.window[1].kernel), k->n_threads, fn,
             &j);
    return SG_OK;
}

static sg_status run_max(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, k->in[0], k->out, false, k->out->dtype == SG_F32 ? max_part_f32 : max_part_f64, err);
}

static sg_status run_index(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, k->in[0], k->out, true, k->in[0]->dtype == SG_F32 ? index_part_f32 : index_part_f64, err);
}

static sg_status run_mean(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, k->in[0], k->out, false, k->out->dtype == SG_F32 ? mean_part_f32 : mean_part_f64, err);
}

static sg_status run_back(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, k->out, k->in[0], false, k->out->dtype == SG_F32 ? share_part_f32 : share_part_f64, err);
}

/* ---- gradients ---- */

static void grad_max(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *x = y->in[0], *index = sg_node(g, &sg_op_max_pool2d_index, 1, &x, &y->attrs);
    const sg_dim flat[3] = {y->dims[0], y->dims[1], sg_dim_mul(g, y->dims[2], y->dims[3])};

    dx[0] = sg_reshape(g,
                       sg_put_along(g, sg_reshape(g, index, 3, flat), sg_reshape(g, dy, 3, flat), -1,
                                    sg_dim_mul(g, x->dims[2], x->dims[3])),
                       4, x->dims);
}

/* The other op, with the extents of y's input to come out. */
static sg_value *adjoint(sg_graph *g, const sg_op *op, const sg_value *y, sg_value *dy)
{
    sg_attrs a = y->attrs;

    a.i[EXTENT] = y->in[0]->dims[2];
    a.i[EXTENT + 1] = y->in[0]->dims[3];
    return sg_node(g, op, 1, &dy, &a);
}

static void grad_mean(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = adjoint(g, &sg_op_avg_pool2d_back, y, dy);
}

static void grad_back(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = adjoint(g, &sg_op_avg_pool2d, y, dy);
}

const sg_op sg_op_max_pool2d = {
    .name = "max_pool2d", .min_in = 1, .max_in = 1, .infer = infer_pool, .run = run_max, .grad = grad_max};
const sg_op sg_op_max_pool2d_index = {
    .name = "max_pool2d_index", .min_in = 1, .max_in = 1, .infer = infer_index, .run = run_index};
const sg_op sg_op_avg_pool2d = {
    .name = "avg_pool2d", .min_in = 1, .max_in = 1, .infer = infer_pool, .run = run_mean, .grad = grad_mean};
const sg_op sg_op_avg_pool2d_back = {
    .name = "avg_pool2d_back", .min_in = 1, .max_in = 1, .infer = infer_back, .run = run_back, .grad = grad_back};

/* ---- builders ---- */

sg_pool2d_opts sg_pool2d_strided(sg_dim kernel, sg_dim stride)
{
    return (sg_pool2d_opts){.kernel = {kernel, kernel}, .stride = {stride, stride}, .count_padding = true};
}

static sg_attrs attrs_of(const sg_pool2d_opts *o, bool count_padding)
{
    return (sg_attrs){.n_i = N_ATTRS,
                      .i = {o->kernel[0], o->kernel[1], o->stride[0], o->stride[1], o->before[0], o->before[1],
                            o->after[0], o->after[1], count_padding}};
}

sg_value *sg_max_pool2d(sg_graph *g, sg_value *x, sg_pool2d_opts opts)
{
    const sg_attrs a = attrs_of(&opts, false);

    return sg_node(g, &sg_op_max_pool2d, 1, &x, &a);
}

sg_value *sg_avg_pool2d(sg_graph *g, sg_value *x, sg_pool2d_opts opts)
{
    const sg_attrs a = attrs_of(&opts, opts.count_padding);

    return sg_node(g, &sg_op_avg_pool2d, 1, &x, &a);
}

sg_value *sg_global_avg_pool2d(sg_graph *g, sg_value *x)
{
    if (!sg_graph_failed(g) && x->n_dims != 4)
        return sg_graph_fail(g, SG_ESHAPE, "global_avg_pool2d: four axes were wanted");
    return sg_mean_axes(g, x, 1u << 2 | 1u << 3, false);
}
