/* Convolution of images (as everywhere in neural networks, a correlation): x [B,C,H,W], w [O,C/groups,KH,KW] ->
 * y [B,O,OH,OW].
 *
 * sum(y conv2d(x, w)) is linear in each of x, w and y. Its three derivatives are the three ops of this file, conv2d by
 * y, conv2d_transpose by x, conv2d_weight by w, and the gradients of each are the other two.
 *
 * Attributes, all three: i = stride, before, after, dilation (each down, across), groups, and the two extents that
 * come out: for conv2d OH, OW, which need only be right where they are symbolic. */
#include <string.h>

#include "ops/iter.h"
#include "ops/window.h"
#include "sightglass/image.h"

enum { STRIDE = 0, BEFORE = 2, AFTER = 4, DILATION = 6, GROUPS = 8, EXTENT = 9, N_ATTRS = 11 };

static sg_window_axis window_of(const sg_dim *i, int d, sg_dim kernel)
{
    return (sg_window_axis){kernel, i[STRIDE + d], i[BEFORE + d], i[AFTER + d], i[DILATION + d]};
}

/* ---- shape rules ---- */

/* Types and ranks of both inputs; channels [C] and [O] of x and w or y, which groups divide. */
static sg_status infer_common(sg_infer *s, sg_dim c, sg_dim o, sg_error *err)
{
    const sg_dim groups = s->attrs->i[GROUPS];

    if (groups < 1)
        return sg_infer_fail(s, err, SG_EARG, "%lld groups", (long long)groups);
    if (groups > 1 && (!sg_dim_is_const(c) || !sg_dim_is_const(o) || c % groups || o % groups))
        return sg_infer_fail(s, err, SG_ESHAPE, "%lld groups do not divide the channels", (long long)groups);
    s->dtype = s->in[0]->dtype;
    s->n_dims = 4;
    return SG_OK;
}

static sg_status infer_inputs(const sg_infer *s, sg_error *err)
{
    for (int i = 0; i < 2; i++) {
        if (s->in[i]->dtype != SG_F32 && s->in[i]->dtype != SG_F64)
            return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64");
        if (s->in[i]->n_dims != 4)
            return sg_infer_fail(s, err, SG_ESHAPE, "four axes each were wanted");
    }
    return s->in[0]->dtype == s->in[1]->dtype ? SG_OK : sg_infer_fail(s, err, SG_ETYPE, "types differ");
}

/* The number of windows over axis d of an image with n elements. */
static sg_status count_windows(const sg_infer *s, int d, sg_dim kernel, sg_dim n, sg_dim hint, sg_dim *out,
                               sg_error *err)
{
    if (!sg_dim_is_const(kernel))
        return sg_infer_fail(s, err, SG_EUNSUPPORTED, "a symbolic kernel");
    const sg_window_axis w = window_of(s->attrs->i, d, kernel);
    SG_TRY(sg_window_check(s, &w, err));
    return sg_window_count(s, &w, n, hint, out, err);
}

static sg_status infer_conv(sg_infer *s, sg_error *err)
{
    SG_TRY(infer_inputs(s, err));
    const sg_dim *x = s->in[0]->dims, *w = s->in[1]->dims;
    SG_TRY(infer_common(s, x[1], w[0], err));
    if (sg_dim_mul(s->g, w[1], s->attrs->i[GROUPS]) != x[1])
        return sg_infer_fail(s, err, SG_ESHAPE, "channels differ with %lld groups", (long long)s->attrs->i[GROUPS]);
    s->dims[0] = x[0];
    s->dims[1] = w[0];
    for (int d = 0; d < 2; d++) {
        SG_TRY(count_windows(s, d, w[2 + d], x[2 + d], s->attrs->i[EXTENT + d], &s->dims[2 + d], err));
        s->attrs->i[EXTENT + d] = s->dims[2 + d];
    }
    return SG_OK;
}

static sg_status infer_transpose(sg_infer *s, sg_error *err)
{
    SG_TRY(infer_inputs(s, err));
    const sg_dim *y = s->in[0]->dims, *w = s->in[1]->dims;
    if (y[1] != w[0])
        return sg_infer_fail(s, err, SG_ESHAPE, "channels differ");
    const sg_dim c = sg_dim_mul(s->g, w[1], s->attrs->i[GROUPS]);
    SG_TRY(infer_common(s, c, y[1], err));
    s->dims[0] = y[0];
    s->dims[1] = c;
    for (int d = 0; d < 2; d++) {
        sg_dim n;
        s->dims[2 + d] = s->attrs->i[EXTENT + d];
        SG_TRY(count_windows(s, d, w[2 + d], s->dims[2 + d], y[2 + d], &n, err));
        if (n != y[2 + d])
            return sg_infer_fail(s, err, SG_ESHAPE, "the convolution to be transposed would give other extents");
    }
    return SG_OK;
}

static sg_status infer_weight(sg_infer *s, sg_error *err)
{
    SG_TRY(infer_inputs(s, err));
    const sg_dim *x = s->in[0]->dims, *y = s->in[1]->dims, groups = s->attrs->i[GROUPS];
    if (x[0] != y[0])
        return sg_infer_fail(s, err, SG_ESHAPE, "batches differ");
    SG_TRY(infer_common(s, x[1], y[1], err));
    s->dims[0] = y[1];
    s->dims[1] = groups == 1 ? x[1] : x[1] / groups;
    for (int d = 0; d < 2; d++) {
        sg_dim n;
        s->dims[2 + d] = s->attrs->i[EXTENT + d];
        SG_TRY(count_windows(s, d, s->dims[2 + d], x[2 + d], y[2 + d], &n, err));
        if (n != y[2 + d])
            return sg_infer_fail(s, err, SG_ESHAPE, "the convolution would give other extents");
    }
    return SG_OK;
}

/* ---- geometry of the kernels ---- */

/* Along an axis, output t reads from tap i the source t * step + base + i * slope, if that is one of the n_src, and
 * writes element first + t * every. Tap i is number tap + i * tap_step of the kernel. */
typedef struct axis {
    sg_dim n, first, every;
    sg_dim n_src, step, base, slope;
    sg_dim n_taps, tap, tap_step;
} axis;

/* Outputs that have their taps in common. A convolution is one phase; a transposed one has stride by stride of them,
 * each a convolution of stride 1 with part of the kernel, so that nothing is multiplied by the zeros between. */
typedef struct phase {
    axis axis[2];
    sg_dim weights; /* where in a group's weights this phase's begin */
} phase;

typedef struct gathering {
    sg_dim batch, groups, rows, channels; /* rows: channels that come out of a group; channels: that go in */
    sg_dim src_image, src_plane, out_image, out_plane, out_row, group_weights; /* elements between */
    const void *src, *weights, *plain_weights;
    void *out, *turned;
    sg_dim n_phases, n_panels, n_stripes, most_rows;
    sg_dim kernel[2], x[2], y[2]; /* extents of kernel, image and windows */
    sg_window_axis window[2];
    phase (*phase)(const struct gathering *j, sg_dim i);
} gathering;

static inline sg_dim tap_offset(const axis *a, sg_dim i)
{
    return a->base + i * a->slope;
}

typedef struct range {
    sg_dim first, last; /* last is outside */
} range;

/* The outputs whose source at this offset is inside. */
static inline range columns_inside(const axis *a, sg_dim offset)
{
    sg_dim low = SG_MAX(-offset, 0), high = SG_MAX(a->n_src - offset, 0);
    if (a->step != 1) {
        low = (low + a->step - 1) / a->step;
        high = (high + a->step - 1) / a->step;
    }

    return (range){low, SG_MAX(low, SG_MIN(high, a->n))};
}

static phase forward_phase(const gathering *j, sg_dim i)
{
    phase p = {.weights = 0};

    (void)i;
    for (int d = 0; d < 2; d++) {
        const sg_window_axis *w = &j->window[d];
        p.axis[d] = (axis){.n = j->y[d],
                           .every = 1,
                           .n_src = j->x[d],
                           .step = w->stride,
                           .base = -w->before,
                           .slope = w->dilation,
                           .n_taps = w->kernel,
                           .tap_step = 1};
    }
    return p;
}

static sg_dim common_divisor(sg_dim a, sg_dim b)
{
    while (b) {
        const sg_dim r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* Elements at, at + stride, ... of the image: those taps reach them for which (at + before - tap * dilation) is a
 * multiple of the stride, and the quotient is then the window. */
static axis transposed_axis(const gathering *j, int d, sg_dim at)
{
    const sg_window_axis *w = &j->window[d];
    const sg_dim tap_step = w->stride / common_divisor(w->stride, w->dilation);
    axis a = {.n = at < j->x[d] ? (j->x[d] - at - 1) / w->stride + 1 : 0,
              .first = at,
              .every = w->stride,
              .n_src = j->y[d],
              .step = 1,
              .tap_step = tap_step,
              .slope = -(tap_step * w->dilation / w->stride)};

    while (a.tap < SG_MIN(tap_step, w->kernel) && (at + w->before - a.tap * w->dilation) % w->stride != 0)
        a.tap++;
    if (a.tap < SG_MIN(tap_step, w->kernel)) {
        a.n_taps = (w->kernel - 1 - a.tap) / tap_step + 1;
        a.base = (at + w->before - a.tap * w->dilation) / w->stride;
    }
    return a;
}

static phase transposed_phase(const gathering *j, sg_dim i)
{
    const sg_dim across = j->window[1].stride;
    phase p = {.weights = 0};

    /* Earlier phases are all those further up, with every tap across, and those to the left. */
    p.axis[0] = transposed_axis(j, 0, i / across);
    p.axis[1] = transposed_axis(j, 1, i % across);
    for (sg_dim above = 0; above < i / across; above++)
        p.weights += transposed_axis(j, 0, above).n_taps * j->kernel[1];
    for (sg_dim left = 0; left < i % across; left++)
        p.weights += transposed_axis(j, 1, left).n_taps * p.axis[0].n_taps;
    p.weights *= j->rows * j->channels;
    return p;
}

/* ---- kernels ---- */

#define KB            256 /* rows of columns gathered together */
#define MR            4   /* rows of weights at a time */
#define STRIPE        128 /* rows in one piece of work: a multiple of MR, enough to make gathering cheap */
#define WEIGHT_STRIPE 64
#define FEW_ROWS      2   /* up to here sources are added where they lie; measured */
#define CHUNK         256 /* outputs that are added up together then */
#define LANES         16

#define T       float
#define NB      64
#define NAME(x) x##_f32
#include "ops/conv_kernels.h"
#undef T
#undef NB
#undef NAME
#define T       double
#define NB      32
#define NAME(x) x##_f64
#include "ops/conv_kernels.h"
#undef T
#undef NB
#undef NAME

/* What the three ops share. x, w, y: the roles, whichever of them is computed. */
static sg_status gathering_of(gathering *j, const sg_kernel_args *k, const sg_view *x, const sg_view *w,
                              const sg_view *y, sg_error *err)
{
    *j = (gathering){.batch = x->dims[0], .groups = k->i[GROUPS], .out = k->out->data};
    for (int d = 0; d < 2; d++) {
        j->x[d] = x->dims[2 + d];
        j->y[d] = y->dims[2 + d];
        j->kernel[d] = w->dims[2 + d];
        j->window[d] = window_of(k->i, d, j->kernel[d]);
        if (!sg_window_fits(&j->window[d], j->x[d], j->y[d]))
            return sg_fail(err, SG_ESHAPE, "%s: %lld windows over %lld elements do not fit %lld with padding",
                           k->op->name, (long long)j->y[d], (long long)sg_window_span(&j->window[d]),
                           (long long)j->x[d]);
    }
    j->group_weights = w->dims[0] / j->groups * w->dims[1] * w->dims[2] * w->dims[3];
    const sg_window_axis *down = &j->window[0], *across = &j->window[1];
    if (down->kernel * across->kernel == 1 && down->stride * across->stride == 1 && j->x[0] == j->y[0] &&
        j->x[1] == j->y[1] && down->before + across->before == 0) {
        j->x[1] = j->y[1] = j->x[0] * j->x[1]; /* 1x1: an image is one row */
        j->x[0] = j->y[0] = 1;
    }
    return SG_OK;
}

/* Fills in sources of `channels` channels in a group, from extents `src` to extents `out`. */
static void connect(gathering *j, sg_dim channels, const sg_dim *src, sg_dim rows, const sg_dim *out)
{
    j->channels = channels;
    j->rows = rows;
    j->src_plane = src[0] * src[1];
    j->src_image = j->src_plane * channels * j->groups;
    j->out_row = out[1];
    j->out_plane = out[0] * out[1];
    j->out_image = j->out_plane * rows * j->groups;
}

static sg_status run_gather(gathering *j, const sg_kernel_args *k)
{
    const bool f32 = k->out->dtype == SG_F32;
    const sg_dim width = f32 ? 64 : 32;
    const phase p = j->phase(j, 0); /* the one with the most outputs */
    const sg_dim rows = p.axis[0].n, columns = p.axis[1].n;
    const sg_dim inner = j->channels * SG_MAX(p.axis[0].n_taps * p.axis[1].n_taps, 1);

    if (sg_view_count(k->out) == 0)
        return SG_OK;
    if (j->rows <= FEW_ROWS) {
        j->most_rows = rows;
        sg_split(j->batch * j->groups * j->rows * j->n_phases * rows, inner * columns, k->n_threads,
                 f32 ? row_part_f32 : row_part_f64, j);
        return SG_OK;
    }
    j->n_panels = (j->batch * rows * columns + width - 1) / width;
    j->n_stripes = (j->rows + STRIPE - 1) / STRIPE;
    sg_split(j->groups * j->n_phases * j->n_stripes * j->n_panels,
             SG_MIN(STRIPE, j->rows) * inner * SG_MIN(width, rows * columns * j->batch) / 4, k->n_threads,
             f32 ? product_part_f32 : product_part_f64, j);
    return SG_OK;
}

static sg_status run_conv(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *x = k->in[0], *w = k->in[1];
    gathering j;

    SG_TRY(gathering_of(&j, k, x, w, k->out, err));
    connect(&j, x->dims[1] / j.groups, j.x, w->dims[0] / j.groups, j.y);
    j.src = x->data;
    j.weights = w->data;
    j.phase = forward_phase;
    j.n_phases = 1;
    return run_gather(&j, k);
}

static size_t transpose_scratch(const sg_kernel_args *k)
{
    return (size_t)sg_view_count(k->in[1]) * sg_dtype_bytes(k->out->dtype);
}

static sg_status run_transpose(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *y = k->in[0], *w = k->in[1];
    gathering j;

    SG_TRY(gathering_of(&j, k, k->out, w, y, err));
    connect(&j, y->dims[1] / j.groups, j.y, k->out->dims[1] / j.groups, j.x);
    j.src = y->data;
    j.plain_weights = w->data;
    j.weights = j.turned = k->scratch;
    j.phase = transposed_phase;
    j.n_phases = j.window[0].stride * j.window[1].stride;
    sg_split(j.groups * j.rows, j.channels * j.kernel[0] * j.kernel[1], k->n_threads,
             k->out->dtype == SG_F32 ? turn_part_f32 : turn_part_f64, &j);
    return run_gather(&j, k);
}

static sg_status run_weight(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *x = k->in[0], *y = k->in[1];
    const bool f32 = k->out->dtype == SG_F32;
    const sg_dim width = f32 ? 64 : 32;
    gathering j;

    SG_TRY(gathering_of(&j, k, x, k->out, y, err));
    connect(&j, x->dims[1] / j.groups, j.x, y->dims[1] / j.groups, j.y);
    j.src = x->data;
    j.weights = y->data;
    j.phase = forward_phase;
    if (sg_view_count(k->out) == 0)
        return SG_OK;
    const sg_dim n = j.channels * j.kernel[0] * j.kernel[1], positions = j.batch * j.y[0] * j.y[1];
    if (j.rows <= FEW_ROWS) {
        sg_split(j.groups * j.rows * j.channels, j.kernel[0] * j.kernel[1] * positions, k->n_threads,
                 f32 ? weight_row_part_f32 : weight_row_part_f64, &j);
        return SG_OK;
    }
    j.n_panels = (n + width - 1) / width;
    j.n_stripes = (j.rows + WEIGHT_STRIPE - 1) / WEIGHT_STRIPE;
    sg_split(j.groups * j.n_stripes * j.n_panels, SG_MIN(WEIGHT_STRIPE, j.rows) * positions * SG_MIN(width, n) / 4,
             k->n_threads, f32 ? weight_part_f32 : weight_part_f64, &j);
    return SG_OK;
}

/* ---- gradients ---- */

/* The attributes of `from` with other extents to come out. */
static sg_attrs with_extents(const sg_value *from, const sg_dim *extents)
{
    sg_attrs a = from->attrs;

    a.i[EXTENT] = extents[0];
    a.i[EXTENT + 1] = extents[1];
    return a;
}

static sg_value *conv(sg_graph *g, const sg_value *like, sg_value *x, sg_value *w, const sg_dim *y_dims)
{
    const sg_attrs a = with_extents(like, y_dims + 2);

    return sg_node(g, &sg_op_conv2d, 2, (sg_value *const[]){x, w}, &a);
}

static sg_value *transposed(sg_graph *g, const sg_value *like, sg_value *y, sg_value *w, const sg_dim *x_dims)
{
    const sg_attrs a = with_extents(like, x_dims + 2);

    return sg_node(g, &sg_op_conv2d_transpose, 2, (sg_value *const[]){y, w}, &a);
}

static sg_value *weight(sg_graph *g, const sg_value *like, sg_value *x, sg_value *y, const sg_dim *w_dims)
{
    const sg_attrs a = with_extents(like, w_dims + 2);

    return sg_node(g, &sg_op_conv2d_weight, 2, (sg_value *const[]){x, y}, &a);
}

static void grad_conv(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *x = y->in[0], *w = y->in[1];

    dx[0] = transposed(g, y, dy, w, x->dims);
    dx[1] = weight(g, y, x, dy, w->dims);
}

static void grad_transpose(sg_graph *g, sg_value *x, sg_value *dy, sg_value **dx)
{
    sg_value *y = x->in[0], *w = x->in[1];

    dx[0] = conv(g, x, dy, w, y->dims);
    dx[1] = weight(g, x, dy, y, w->dims);
}

static void grad_weight(sg_graph *g, sg_value *w, sg_value *dy, sg_value **dx)
{
    sg_value *x = w->in[0], *y = w->in[1];

    dx[0] = transposed(g, w, y, dy, x->dims);
    dx[1] = conv(g, w, x, dy, y->dims);
}

const sg_op sg_op_conv2d = {
    .name = "conv2d", .min_in = 2, .max_in = 2, .infer = infer_conv, .run = run_conv, .grad = grad_conv};
const sg_op sg_op_conv2d_transpose = {.name = "conv2d_transpose",
                                      .min_in = 2,
                                      .max_in = 2,
                                      .infer = infer_transpose,
                                      .run = run_transpose,
                                      .scratch = transpose_scratch,
                                      .grad = grad_transpose};
const sg_op sg_op_conv2d_weight = {
    .name = "conv2d_weight", .min_in = 2, .max_in = 2, .infer = infer_weight, .run = run_weight, .grad = grad_weight};

/* ---- builders ---- */

sg_conv2d_opts sg_conv2d_defaults(void)
{
    return sg_conv2d_strided(1, 0);
}

sg_conv2d_opts sg_conv2d_strided(sg_dim stride, sg_dim padding)
{
    return (sg_conv2d_opts){.stride = {stride, stride},
                            .before = {padding, padding},
                            .after = {padding, padding},
                            .dilation = {1, 1},
                            .groups = 1};
}

static sg_attrs attrs_of(const sg_conv2d_opts *o)
{
    return (sg_attrs){.n_i = N_ATTRS,
                      .i = {o->stride[0], o->stride[1], o->before[0], o->before[1], o->after[0], o->after[1],
                            o->dilation[0], o->dilation[1], o->groups, 0, 0}};
}

static sg_value *add_bias(sg_graph *g, sg_value *y, sg_value *b)
{
    if (!b || sg_graph_failed(g))
        return y;
    if (b->n_dims != 1)
        return sg_graph_fail(g, SG_ESHAPE, "%s: a bias of one axis was wanted", y->op->name);
    return sg_add(g, y, sg_reshape(g, b, 3, (const sg_dim[]){b->dims[0], 1, 1}));
}

sg_value *sg_conv2d(sg_graph *g, sg_value *x, sg_value *w, sg_value *b, sg_conv2d_opts opts)
{
    const sg_attrs a = attrs_of(&opts);

    return add_bias(g, sg_node(g, &sg_op_conv2d, 2, (sg_value *const[]){x, w}, &a), b);
}

sg_value *sg_conv2d_transpose(sg_graph *g, sg_value *x, sg_value *w, sg_value *b, sg_conv2d_opts opts)
{
    sg_attrs a = attrs_of(&opts);

    for (int d = 0; d < 2 && !sg_graph_failed(g) && x->n_dims == 4 && w->n_dims == 4; d++) {
        const sg_dim extra = opts.output_padding[d], n = sg_value_dim(x, 2 + d), kernel = sg_value_dim(w, 2 + d);
        const sg_window_axis window = window_of(a.i, d, kernel);
        if (extra < 0 || extra >= SG_MAX(window.stride, 1))
            return sg_graph_fail(g, SG_EARG, "conv2d_transpose: output padding %lld, less than the stride was wanted",
                                 (long long)extra);
        if (kernel < 1 || window.stride < 1 || window.before < 0 || window.after < 0 || window.dilation < 1)
            break; /* the shape rule says so */
        /* n windows end at (n - 1) stride + span. */
        const sg_dim end = sg_dim_add(g, sg_dim_mul(g, n, window.stride), sg_window_span(&window) + extra);
        a.i[EXTENT + d] = sg_dim_sub(g, end, window.stride + window.before + window.after);
    }
    return add_bias(g, sg_node(g, &sg_op_conv2d_transpose, 2, (sg_value *const[]){x, w}, &a), b);
}
