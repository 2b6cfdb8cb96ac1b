/* Sums, means, maxima and minima over any set of axes; f32 sums run in double. Attributes: i[0] a bit per
 * axis, i[1] whether reduced axes stay with extent 1. */
#include <math.h>
#include <string.h>

#include "ops/iter.h"

static bool reduces(const sg_attrs *a, int axis)
{
    return a->i[0] >> axis & 1;
}

static sg_status infer_any(sg_infer *s, bool with_i32, sg_error *err)
{
    const sg_value *x = s->in[0];

    if (x->dtype != SG_F32 && x->dtype != SG_F64 && !(with_i32 && x->dtype == SG_I32))
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32%s or f64", with_i32 ? ", i32" : "");
    s->dtype = x->dtype;
    for (int k = 0; k < x->n_dims; k++)
        if (!reduces(s->attrs, k))
            s->dims[s->n_dims++] = x->dims[k];
        else if (s->attrs->i[1])
            s->dims[s->n_dims++] = 1;
    return SG_OK;
}

static sg_status infer(sg_infer *s, sg_error *err)
{
    return infer_any(s, true, err);
}

static sg_status infer_float(sg_infer *s, sg_error *err)
{
    return infer_any(s, false, err);
}

/* Input axes sorted into those that stay and those that are reduced, neighbours joined. */
typedef struct plan {
    int n_keep, n_over;
    sg_dim keep[SG_MAX_DIMS], keep_stride[SG_MAX_DIMS], over[SG_MAX_DIMS], over_stride[SG_MAX_DIMS];
    sg_dim n_out, n_each;
} plan;

static void push(int *n, sg_dim *dims, sg_dim *strides, sg_dim extent, sg_dim stride)
{
    if (extent == 1)
        return;
    if (*n > 0 && strides[*n - 1] == stride * extent) {
        dims[*n - 1] *= extent;
        strides[*n - 1] = stride;
        return;
    }
    dims[*n] = extent;
    strides[(*n)++] = stride;
}

static plan plan_of(const sg_kernel_args *k)
{
    const sg_view *x = k->in[0];
    plan p = {.n_out = 1, .n_each = 1};

    for (int a = 0; a < x->n_dims; a++) {
        if (k->i[0] >> a & 1) {
            push(&p.n_over, p.over, p.over_stride, x->dims[a], x->strides[a]);
            p.n_each *= x->dims[a];
        } else {
            push(&p.n_keep, p.keep, p.keep_stride, x->dims[a], x->strides[a]);
            p.n_out *= x->dims[a];
        }
    }
    return p;
}

static sg_dim offset_of(int n, const sg_dim *dims, const sg_dim *strides, sg_dim i)
{
    sg_dim at = 0;

    for (int a = n - 1; a >= 0; a--) {
        at += i % dims[a] * strides[a];
        i /= dims[a];
    }
    return at;
}

typedef enum kind { SUM, MEAN, MAX, MIN } kind;

typedef struct job {
    const sg_kernel_args *k;
    plan p;
    kind kind;
} job;

/* Partial results in lanes let the compiler use vectors, in an order that no machine or thread count changes. */
#define LANES 8
#define TILE  64 /* neighbouring results that are computed together */

#define SUMS(T, A)                                                                                                     \
    static A sum_line_##T(const T *x, sg_dim stride, sg_dim n)                                                         \
    {                                                                                                                  \
        A lanes[LANES] = {0}, total = 0;                                                                               \
        sg_dim i = 0;                                                                                                  \
        if (stride == 1 && n >= LANES) {                                                                               \
            for (; i + LANES <= n; i += LANES)                                                                         \
                SG_SIMD                                                                                                \
            for (int l = 0; l < LANES; l++)                                                                            \
                lanes[l] += (A)x[i + l];                                                                               \
            for (int l = 0; l < LANES; l++)                                                                            \
                total += lanes[l];                                                                                     \
        }                                                                                                              \
        for (; i < n; i++)                                                                                             \
            total += (A)x[i * stride];                                                                                 \
        return total;                                                                                                  \
    }

/* NaN, once seen, stays: no comparison with it is true. */
#define PICK(v, OP, best) ((v)OP(best) || (v) != (v) ? (v) : (best))

#define BESTS(T, name, OP)                                                                                             \
    static T name##_line_##T(const T *x, sg_dim stride, sg_dim n, T best)                                              \
    {                                                                                                                  \
        T lanes[LANES];                                                                                                \
        sg_dim i = 0;                                                                                                  \
        if (stride == 1 && n >= LANES) {                                                                               \
            for (int l = 0; l < LANES; l++)                                                                            \
                lanes[l] = best;                                                                                       \
            for (; i + LANES <= n; i += LANES)                                                                         \
                SG_SIMD                                                                                                \
            for (int l = 0; l < LANES; l++)                                                                            \
                lanes[l] = PICK(x[i + l], OP, lanes[l]);                                                               \
            for (int l = 0; l < LANES; l++)                                                                            \
                best = PICK(lanes[l], OP, best);                                                                       \
        }                                                                                                              \
        for (; i < n; i++)                                                                                             \
            best = PICK(x[i * stride], OP, best);                                                                      \
        return best;                                                                                                   \
    }                                                                                                                  \
    static void name##_row_##T(T *best, const T *x, sg_dim n)                                                          \
    {                                                                                                                  \
        SG_SIMD                                                                                                        \
        for (sg_dim c = 0; c < n; c++)                                                                                 \
            best[c] = PICK(x[c], OP, best[c]);                                                                         \
    }

/* `lines` makes results one by one, the innermost reduced axis being the inner loop; `columns` makes up to TILE that
 * lie side by side, adding whole rows, which reads memory in order where the innermost axis stays. */
#define PARTS(T, A)                                                                                                    \
    SUMS(T, A)                                                                                                         \
    BESTS(T, max, >)                                                                                                   \
    BESTS(T, min, <)                                                                                                   \
    static void lines_##T(void *context, sg_dim first, sg_dim last)                                                    \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const plan *p = &j->p;                                                                                         \
        const int inner = p->n_over - 1;                                                                               \
        const sg_dim n = p->n_over ? p->over[inner] : 1, stride = p->n_over ? p->over_stride[inner] : 1;               \
        const sg_dim n_lines = n ? p->n_each / n : 0;                                                                  \
        for (sg_dim o = first; o < last; o++) {                                                                        \
            const T *x = (const T *)j->k->in[0]->data + offset_of(p->n_keep, p->keep, p->keep_stride, o);              \
            A sum = 0;                                                                                                 \
            T best = p->n_each ? x[0] : 0;                                                                             \
            for (sg_dim r = 0; r < n_lines; r++) {                                                                     \
                const T *line = x + offset_of(inner, p->over, p->over_stride, r);                                      \
                if (j->kind == SUM || j->kind == MEAN)                                                                 \
                    sum += sum_line_##T(line, stride, n);                                                              \
                else if (j->kind == MAX)                                                                               \
                    best = max_line_##T(line, stride, n, best);                                                        \
                else                                                                                                   \
                    best = min_line_##T(line, stride, n, best);                                                        \
            }                                                                                                          \
            ((T *)j->k->out->data)[o] = j->kind == SUM ? (T)sum : j->kind == MEAN ? (T)(sum / (A)p->n_each) : best;    \
        }                                                                                                              \
    }                                                                                                                  \
    static void columns_##T(void *context, sg_dim first, sg_dim last)                                                  \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const plan *p = &j->p;                                                                                         \
        const int inner = p->n_over - 1;                                                                               \
        const sg_dim width = p->keep[p->n_keep - 1], n_tiles = (width + TILE - 1) / TILE;                              \
        const sg_dim n = p->over[inner], stride = p->over_stride[inner];                                               \
        for (sg_dim tile = first; tile < last; tile++) {                                                               \
            const sg_dim outer = tile / n_tiles, column = tile % n_tiles * TILE;                                       \
            const sg_dim n_columns = SG_MIN((sg_dim)TILE, width - column);                                             \
            const T *x =                                                                                               \
                (const T *)j->k->in[0]->data + offset_of(p->n_keep - 1, p->keep, p->keep_stride, outer) + column;      \
            T *y = (T *)j->k->out->data + outer * width + column;                                                      \
            A sums[TILE] = {0};                                                                                        \
            T best[TILE];                                                                                              \
            memcpy(best, x, (size_t)n_columns * sizeof best[0]);                                                       \
            for (sg_dim r = 0; r < p->n_each; r++) {                                                                   \
                const T *row = x + offset_of(inner, p->over, p->over_stride, r / n) + r % n * stride;                  \
                if (j->kind == SUM || j->kind == MEAN)                                                                 \
                    SG_SIMD                                                                                            \
                for (sg_dim c = 0; c < n_columns; c++)                                                                 \
                    sums[c] += (A)row[c];                                                                              \
                else if (j->kind == MAX) max_row_##T(best, row, n_columns);                                            \
                else min_row_##T(best, row, n_columns);                                                                \
            }                                                                                                          \
            for (sg_dim c = 0; c < n_columns; c++)                                                                     \
                y[c] = j->kind == SUM ? (T)sums[c] : j->kind == MEAN ? (T)(sums[c] / (A)p->n_each) : best[c];          \
        }                                                                                                              \
    }

PARTS(float, double)
PARTS(double, double)
PARTS(int32_t, int64_t)

static sg_status apply(const sg_kernel_args *k, kind what, sg_error *err)
{
    const sg_dtype t = k->out->dtype;
    job j = {k, plan_of(k), what};
    const plan *p = &j.p;

    if (p->n_each == 0 && (what == MAX || what == MIN) && p->n_out > 0)
        return sg_fail(err, SG_ESHAPE, "%s over no elements", k->op->name);
    if (p->n_each > 0 && p->n_over > 0 && p->n_keep > 0 && p->keep_stride[p->n_keep - 1] == 1 && p->n_out > 0) {
        const sg_dim width = p->keep[p->n_keep - 1], n_tiles = (width + TILE - 1) / TILE;
        sg_split(p->n_out / width * n_tiles, p->n_each * SG_MIN(width, (sg_dim)TILE), k->n_threads,
                 t == SG_F32   ? columns_float
                 : t == SG_F64 ? columns_double
                               : columns_int32_t,
                 &j);
    } else {
        sg_split(p->n_out, p->n_each, k->n_threads,
                 t == SG_F32   ? lines_float
                 : t == SG_F64 ? lines_double
                               : lines_int32_t,
                 &j);
    }
    return SG_OK;
}

static sg_status sum_run(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, SUM, err);
}

static sg_status mean_run(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, MEAN, err);
}

static sg_status max_run(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, MAX, err);
}

static sg_status min_run(const sg_kernel_args *k, sg_error *err)
{
    return apply(k, MIN, err);
}

/* v, whose reduced axes may be gone, with them back as extent 1. */
static sg_value *with_axes(sg_graph *g, sg_value *v, const sg_value *y)
{
    const sg_value *x = y->in[0];
    sg_dim dims[SG_MAX_DIMS];

    for (int k = 0; k < x->n_dims; k++)
        dims[k] = reduces(&y->attrs, k) ? 1 : x->dims[k];
    return sg_reshape(g, v, x->n_dims, dims);
}

static void sum_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_broadcast(g, with_axes(g, dy, y), y->in[0]->n_dims, y->in[0]->dims);
}

static void mean_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_dim count = 1;

    for (int k = 0; k < y->in[0]->n_dims; k++)
        if (reduces(&y->attrs, k))
            count = sg_dim_mul(g, count, y->in[0]->dims[k]);
    sum_grad(g, y, sg_div(g, dy, sg_extent_of(g, dy->dtype, count)), dx);
}

static void best_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *x = y->in[0];
    sg_value *hit = sg_cast(g, sg_equal(g, x, with_axes(g, y, y)), x->dtype);
    sg_value *ties = sg_sum_axes(g, hit, (unsigned)y->attrs.i[0], true);

    dx[0] = sg_mul(g, hit, sg_div(g, with_axes(g, dy, y), ties));
}

const sg_op sg_op_sum = {.name = "sum",
                         .min_in = 1,
                         .max_in = 1,
                         .flags = SG_OP_STRIDED,
                         .rows = SG_ROWS_AXES,
                         .infer = infer,
                         .run = sum_run,
                         .grad = sum_grad};
const sg_op sg_op_mean = {.name = "mean",
                          .min_in = 1,
                          .max_in = 1,
                          .flags = SG_OP_STRIDED,
                          .rows = SG_ROWS_AXES,
                          .infer = infer_float,
                          .run = mean_run,
                          .grad = mean_grad};
const sg_op sg_op_max = {.name = "max",
                         .min_in = 1,
                         .max_in = 1,
                         .flags = SG_OP_STRIDED,
                         .rows = SG_ROWS_AXES,
                         .infer = infer,
                         .run = max_run,
                         .grad = best_grad};
const sg_op sg_op_min = {.name = "min",
                         .min_in = 1,
                         .max_in = 1,
                         .flags = SG_OP_STRIDED,
                         .rows = SG_ROWS_AXES,
                         .infer = infer,
                         .run = min_run,
                         .grad = best_grad};

static sg_value *over_axes(sg_graph *g, const sg_op *op, sg_value *x, unsigned axes, bool keep)
{
    const unsigned all = (1u << x->n_dims) - 1;

    if (!sg_graph_failed(g) && axes != SG_ALL_AXES && (axes & ~all))
        return sg_graph_fail(g, SG_ESHAPE, "%s: axes %#x of %d axes", op->name, axes, x->n_dims);
    return sg_node(g, op, 1, &x, &(sg_attrs){.n_i = 2, .i = {axes & all, keep}});
}

static sg_value *over_axis(sg_graph *g, const sg_op *op, sg_value *x, int axis, bool keep)
{
    const int k = axis < 0 ? axis + x->n_dims : axis;

    if (!sg_graph_failed(g) && (k < 0 || k >= x->n_dims))
        return sg_graph_fail(g, SG_ESHAPE, "%s: axis %d of %d axes", op->name, axis, x->n_dims);
    return over_axes(g, op, x, 1u << (k & 7), keep);
}

#define REDUCE(op)                                                                                                     \
    sg_value *sg_##op##_axes(sg_graph *g, sg_value *x, unsigned axes, bool keep)                                       \
    {                                                                                                                  \
        return over_axes(g, &sg_op_##op, x, axes, keep);                                                               \
    }                                                                                                                  \
    sg_value *sg_##op(sg_graph *g, sg_value *x, int axis, bool keep)                                                   \
    {                                                                                                                  \
        return over_axis(g, &sg_op_##op, x, axis, keep);                                                               \
    }

REDUCE(sum)
REDUCE(mean)
REDUCE(max)
REDUCE(min)

sg_value *sg_sum_all(sg_graph *g, sg_value *x)
{
    return sg_sum_axes(g, x, SG_ALL_AXES, false);
}

sg_value *sg_mean_all(sg_graph *g, sg_value *x)
{
    return sg_mean_axes(g, x, SG_ALL_AXES, false);
}

sg_value *sg_sum_to(sg_graph *g, sg_value *x, int n_dims, const sg_dim *dims)
{
    const int shift = x->n_dims - n_dims;
    unsigned axes = 0;

    if (sg_graph_failed(g))
        return x;
    for (int k = 0; k < x->n_dims; k++)
        if (k < shift || (dims[k - shift] == 1 && x->dims[k] != 1))
            axes |= 1u << k;
    if (!axes)
        return x;
    sg_value *y = sg_sum_axes(g, x, axes, true);
    return shift ? sg_reshape(g, y, n_dims, dims) : y;
}
