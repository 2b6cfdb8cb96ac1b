/* softmax, log-softmax and log-sum-exp along any axis; the maximum is taken off first. A line that is all -inf, where
 * everything is masked, has softmax 0, log-softmax and log-sum-exp -inf. Attributes: i[0] axis, i[1] keep
 * (log-sum-exp). */
#include <math.h>
#include <string.h>

#include "base/math.h"
#include "ops/exp.h"
#include "ops/lines.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    if (s->in[0]->dtype != SG_F32 && s->in[0]->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64");
    SG_TRY(sg_infer_axis(s, 0, s->in[0]->n_dims, err));
    sg_infer_like(s, 0);
    return SG_OK;
}

static sg_status infer_reduced(sg_infer *s, sg_error *err)
{
    SG_TRY(infer(s, err));
    const int axis = (int)s->attrs->i[0];
    if (s->attrs->i[1]) {
        s->dims[axis] = 1;
        return SG_OK;
    }
    for (int k = axis; k + 1 < s->n_dims; k++)
        s->dims[k] = s->dims[k + 1];
    s->n_dims--;
    return SG_OK;
}

typedef enum kind { SOFTMAX, LOG_SOFTMAX, LOGSUMEXP } kind;

typedef struct job {
    const sg_kernel_args *k;
    sg_lines l;
    kind kind;
} job;

/* One rule covers every odd line: what is taken off is the maximum if it is finite, else nothing. A masked line then
 * sums to 0, an infinity to inf, and NaN, which the maximum passes over, shows in the sum.
 *
 * Partial maxima and sums in lanes let the compiler use vectors, in an order that no machine or thread count changes.
 */
#define LANES 16
#define TILE  64

#define LINES(T, EXP, INF)                                                                                             \
    static inline T most_##T(const T *x, sg_dim n)                                                                     \
    {                                                                                                                  \
        T lanes[LANES], most = -(INF);                                                                                 \
        sg_dim i = 0;                                                                                                  \
        if (n >= LANES) {                                                                                              \
            for (int l = 0; l < LANES; l++)                                                                            \
                lanes[l] = -(INF);                                                                                     \
            for (; i + LANES <= n; i += LANES)                                                                         \
                SG_SIMD                                                                                                \
            for (int l = 0; l < LANES; l++)                                                                            \
                lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];                                                  \
            for (int half = LANES / 2; half > 0; half /= 2)                                                            \
                for (int l = 0; l < half; l++)                                                                         \
                    lanes[l] = lanes[l + half] > lanes[l] ? lanes[l + half] : lanes[l];                                \
            most = lanes[0];                                                                                           \
        }                                                                                                              \
        for (; i < n; i++)                                                                                             \
            most = x[i] > most ? x[i] : most;                                                                          \
        return most;                                                                                                   \
    }                                                                                                                  \
    /* The sum of e^(x - shift); y, unless NULL, keeps the terms. */                                                   \
    static inline double terms_##T(T *y, const T *x, T shift, sg_dim n)                                                \
    {                                                                                                                  \
        double sum = 0;                                                                                                \
        sg_dim i = 0;                                                                                                  \
        if (n >= LANES) {                                                                                              \
            double lanes[LANES] = {0};                                                                                 \
            for (; i + LANES <= n; i += LANES) {                                                                       \
                T e[LANES];                                                                                            \
                SG_SIMD                                                                                                \
                for (int l = 0; l < LANES; l++)                                                                        \
                    e[l] = EXP(x[i + l] - shift);                                                                      \
                if (y)                                                                                                 \
                    memcpy(y + i, e, sizeof e);                                                                        \
                SG_SIMD                                                                                                \
                for (int l = 0; l < LANES; l++)                                                                        \
                    lanes[l] += (double)e[l];                                                                          \
            }                                                                                                          \
            for (int l = 0; l < LANES; l++)                                                                            \
                sum += lanes[l];                                                                                       \
        }                                                                                                              \
        if (y) {                                                                                                       \
            SG_SIMD                                                                                                    \
            for (sg_dim r = i; r < n; r++)                                                                             \
                y[r] = EXP(x[r] - shift);                                                                              \
        }                                                                                                              \
        for (; i < n; i++)                                                                                             \
            sum += (double)(y ? y[i] : EXP(x[i] - shift));                                                             \
        return sum;                                                                                                    \
    }                                                                                                                  \
    static inline T shift_##T(T most)                                                                                  \
    {                                                                                                                  \
        return most > -(INF) && most < (INF) ? most : (T)0;                                                            \
    }                                                                                                                  \
    /* Lines along the last axis. */                                                                                   \
    static void lines_##T(void *context, sg_dim first, sg_dim last)                                                    \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_dim n = j->l.n;                                                                                       \
        for (sg_dim line = first; line < last; line++) {                                                               \
            const T *x = (const T *)j->k->in[0]->data + line * n;                                                      \
            T *y = (T *)j->k->out->data + (j->kind == LOGSUMEXP ? line : line * n);                                    \
            const T shift = shift_##T(most_##T(x, n));                                                                 \
            const double sum = terms_##T(j->kind == SOFTMAX ? y : NULL, x, shift, n);                                  \
            if (j->kind == SOFTMAX) {                                                                                  \
                const T scale = sum == 0 ? (T)0 : (T)(1.0 / sum);                                                      \
                SG_SIMD                                                                                                \
                for (sg_dim i = 0; i < n; i++)                                                                         \
                    y[i] *= scale;                                                                                     \
                continue;                                                                                              \
            }                                                                                                          \
            const T total = (T)((double)shift + sg_math_log(sum));                                                     \
            if (j->kind == LOGSUMEXP)                                                                                  \
                *y = total;                                                                                            \
            else                                                                                                       \
                for (sg_dim i = 0; i < n; i++)                                                                         \
                    y[i] = sum == 0 ? x[i] : x[i] - total;                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    /* Lines along another axis: up to TILE neighbours at a time. */                                                   \
    static void tiles_##T(void *context, sg_dim first, sg_dim last)                                                    \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_dim n = j->l.n, inner = j->l.inner, n_tiles = (inner + TILE - 1) / TILE;                              \
        for (sg_dim tile = first; tile < last; tile++) {                                                               \
            const sg_dim outer = tile / n_tiles, column = tile % n_tiles * TILE;                                       \
            const sg_dim width = SG_MIN((sg_dim)TILE, inner - column);                                                 \
            const T *x = (const T *)j->k->in[0]->data + outer * n * inner + column;                                    \
            T *y = (T *)j->k->out->data + (j->kind == LOGSUMEXP ? outer : outer * n) * inner + column;                 \
            T shift[TILE], after[TILE];                                                                                \
            double sum[TILE] = {0};                                                                                    \
            for (sg_dim c = 0; c < width; c++)                                                                         \
                shift[c] = -(INF);                                                                                     \
            for (sg_dim i = 0; i < n; i++)                                                                             \
                SG_SIMD                                                                                                \
            for (sg_dim c = 0; c < width; c++)                                                                         \
                shift[c] = x[i * inner + c] > shift[c] ? x[i * inner + c] : shift[c];                                  \
            for (sg_dim c = 0; c < width; c++)                                                                         \
                shift[c] = shift_##T(shift[c]);                                                                        \
            for (sg_dim i = 0; i < n; i++) {                                                                           \
                T e[TILE];                                                                                             \
                SG_SIMD                                                                                                \
                for (sg_dim c = 0; c < width; c++)                                                                     \
                    e[c] = EXP(x[i * inner + c] - shift[c]);                                                           \
                SG_SIMD                                                                                                \
                for (sg_dim c = 0; c < width; c++)                                                                     \
                    sum[c] += (double)e[c];                                                                            \
                if (j->kind == SOFTMAX)                                                                                \
                    memcpy(y + i * inner, e, (size_t)width * sizeof e[0]);                                             \
            }                                                                                                          \
            for (sg_dim c = 0; c < width; c++)                                                                         \
                after[c] = j->kind == SOFTMAX ? (sum[c] == 0 ? (T)0 : (T)(1.0 / sum[c]))                               \
                                              : (T)((double)shift[c] + sg_math_log(sum[c]));                           \
            if (j->kind == LOGSUMEXP)                                                                                  \
                memcpy(y, after, (size_t)width * sizeof after[0]);                                                     \
            for (sg_dim i = 0; i < n && j->kind == SOFTMAX; i++)                                                       \
                SG_SIMD                                                                                                \
            for (sg_dim c = 0; c < width; c++)                                                                         \
                y[i * inner + c] *= after[c];                                                                          \
            for (sg_dim i = 0; i < n && j->kind == LOG_SOFTMAX; i++)                                                   \
                for (sg_dim c = 0; c < width; c++)                                                                     \
                    y[i * inner + c] = x[i * inner + c] - (sum[c] == 0 ? (T)0 : after[c]);                             \
        }                                                                                                              \
    }

LINES(float, sg_expf, INFINITY)
LINES(double, sg_math_exp, (double)INFINITY)

static sg_status apply(const sg_kernel_args *k, kind what)
{
    const bool is_f32 = k->out->dtype == SG_F32;
    job j = {k, sg_lines_of(k->in[0], k->i[0]), what};

    if (j.l.inner == 1)
        sg_split(j.l.outer, j.l.n * 8, k->n_threads, is_f32 ? lines_float : lines_double, &j);
    else
        sg_split(j.l.outer * ((j.l.inner + TILE - 1) / TILE), j.l.n * TILE * 8, k->n_threads,
                 is_f32 ? tiles_float : tiles_double, &j);
    return SG_OK;
}

static sg_status softmax_run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    return apply(k, SOFTMAX);
}

static sg_status log_softmax_run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    return apply(k, LOG_SOFTMAX);
}

static sg_status logsumexp_run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    return apply(k, LOGSUMEXP);
}

/* dx = y (dy - sum(dy y)) */
static void softmax_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *flow = sg_mul(g, dy, y);

    dx[0] = sg_sub(g, flow, sg_mul(g, y, sg_sum(g, flow, (int)y->attrs.i[0], true)));
}

/* dx = dy - softmax(x) sum(dy) */
static void log_softmax_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    const int axis = (int)y->attrs.i[0];

    dx[0] = sg_sub(g, dy, sg_mul(g, sg_softmax(g, y->in[0], axis), sg_sum(g, dy, axis, true)));
}

/* dx = dy softmax(x) */
static void logsumexp_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    const int axis = (int)y->attrs.i[0];

    dx[0] = sg_mul(g, sg_softmax(g, y->in[0], axis), y->attrs.i[1] ? dy : sg_expand(g, dy, axis));
}

const sg_op sg_op_softmax = {.name = "softmax",
                             .min_in = 1,
                             .max_in = 1,
                             .rows = SG_ROWS_AXIS,
                             .infer = infer,
                             .run = softmax_run,
                             .grad = softmax_grad};
const sg_op sg_op_log_softmax = {.name = "log_softmax",
                                 .min_in = 1,
                                 .max_in = 1,
                                 .rows = SG_ROWS_AXIS,
                                 .infer = infer,
                                 .run = log_softmax_run,
                                 .grad = log_softmax_grad};
const sg_op sg_op_logsumexp = {.name = "logsumexp",
                               .min_in = 1,
                               .max_in = 1,
                               .rows = SG_ROWS_AXIS,
                               .infer = infer_reduced,
                               .run = logsumexp_run,
                               .grad = logsumexp_grad};

sg_value *sg_softmax(sg_graph *g, sg_value *x, int axis)
{
    return sg_node(g, &sg_op_softmax, 1, &x, &(sg_attrs){.n_i = 1, .i = {axis}});
}

sg_value *sg_log_softmax(sg_graph *g, sg_value *x, int axis)
{
    return sg_node(g, &sg_op_log_softmax, 1, &x, &(sg_attrs){.n_i = 1, .i = {axis}});
}

sg_value *sg_logsumexp(sg_graph *g, sg_value *x, int axis, bool keep)
{
    return sg_node(g, &sg_op_logsumexp, 1, &x, &(sg_attrs){.n_i = 2, .i = {axis, keep}});
}
