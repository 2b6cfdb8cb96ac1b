/* Normalisation over the last axis: layer_norm (Ba, Kiros & Hinton 2016) with an optional gain and bias, and rms_norm
 * (Zhang & Sennrich 2019). Attributes: eps. Statistics are taken in double, in two passes, so that a row far from zero
 * keeps its variance. */
#include <math.h>

#include "ops/iter.h"

static sg_status infer_like_rows(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];

    if (x->dtype != SG_F32 && x->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "f32 or f64 was wanted");
    if (x->n_dims == 0)
        return sg_infer_fail(s, err, SG_ESHAPE, "an axis was wanted");
    sg_infer_like(s, 0);
    return SG_OK;
}

static sg_status infer_layer(sg_infer *s, sg_error *err)
{
    SG_TRY(infer_like_rows(s, err));
    if (s->n_in == 2)
        return sg_infer_fail(s, err, SG_EARG, "gain and bias, or neither, were wanted");
    for (int i = 1; i < s->n_in; i++) {
        if (s->in[i]->dtype != s->dtype)
            return sg_infer_fail(s, err, SG_ETYPE, "the types differ");
        if (s->in[i]->n_dims != 1 || s->in[i]->dims[0] != s->dims[s->n_dims - 1])
            return sg_infer_fail(s, err, SG_ESHAPE, "gain and bias of the last axis' extent were wanted");
    }
    return SG_OK;
}

typedef struct job {
    const sg_kernel_args *k;
    sg_dim n;
    double eps;
} job;

/* Sums run in eight lanes, which vectorise and shorten the chain of additions. */
#define LANES 8
#define DEFINE_SUM(type, name, term)                                                                                   \
    static double name##_##type(const type *x, sg_dim n, double mean)                                                  \
    {                                                                                                                  \
        double lanes[LANES] = {0}, sum = 0;                                                                            \
        sg_dim i = 0;                                                                                                  \
        (void)mean;                                                                                                    \
        for (; i + LANES <= n; i += LANES)                                                                             \
            for (int l = 0; l < LANES; l++) {                                                                          \
                const double v = (double)x[i + l];                                                                     \
                lanes[l] += term;                                                                                      \
            }                                                                                                          \
        for (; i < n; i++) {                                                                                           \
            const double v = (double)x[i];                                                                             \
            sum += term;                                                                                               \
        }                                                                                                              \
        for (int l = 0; l < LANES; l++)                                                                                \
            sum += lanes[l];                                                                                           \
        return sum;                                                                                                    \
    }

#define DEFINE_NORMS(type)                                                                                             \
    DEFINE_SUM(type, sum, v)                                                                                           \
    DEFINE_SUM(type, squares, (v - mean) * (v - mean))                                                                 \
    static void layer_##type(void *context, sg_dim first, sg_dim last)                                                 \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const type *restrict w = j->k->n_in > 1 ? j->k->in[1]->data : NULL;                                            \
        const type *restrict b = j->k->n_in > 1 ? j->k->in[2]->data : NULL;                                            \
        for (sg_dim r = first; r < last; r++) {                                                                        \
            const type *restrict x = (const type *)j->k->in[0]->data + r * j->n;                                       \
            type *restrict y = (type *)j->k->out->data + r * j->n;                                                     \
            const double mean = sum_##type(x, j->n, 0) / (double)j->n;                                                 \
            const double scale = 1 / sqrt(squares_##type(x, j->n, mean) / (double)j->n + j->eps);                      \
            if (w)                                                                                                     \
                for (sg_dim i = 0; i < j->n; i++)                                                                      \
                    y[i] = (type)(((double)x[i] - mean) * scale * (double)w[i] + (double)b[i]);                        \
            else                                                                                                       \
                for (sg_dim i = 0; i < j->n; i++)                                                                      \
                    y[i] = (type)(((double)x[i] - mean) * scale);                                                      \
        }                                                                                                              \
    }                                                                                                                  \
    static void rms_##type(void *context, sg_dim first, sg_dim last)                                                   \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        for (sg_dim r = first; r < last; r++) {                                                                        \
            const type *restrict x = (const type *)j->k->in[0]->data + r * j->n;                                       \
            type *restrict y = (type *)j->k->out->data + r * j->n;                                                     \
            const double scale = 1 / sqrt(squares_##type(x, j->n, 0) / (double)j->n + j->eps);                         \
            for (sg_dim i = 0; i < j->n; i++)                                                                          \
                y[i] = (type)((double)x[i] * scale);                                                                   \
        }                                                                                                              \
    }

DEFINE_NORMS(float)
DEFINE_NORMS(double)

static void run_rows(const sg_kernel_args *k, sg_range_fn fn)
{
    const sg_view *x = k->in[0];
    job j = {.k = k, .n = x->dims[x->n_dims - 1], .eps = k->f[0]};

    if (j.n > 0)
        sg_split(sg_view_count(x) / j.n, j.n, k->n_threads, fn, &j);
}

static sg_status run_layer(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    run_rows(k, k->out->dtype == SG_F32 ? layer_float : layer_double);
    return SG_OK;
}

static sg_status run_rms(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    run_rows(k, k->out->dtype == SG_F32 ? rms_float : rms_double);
    return SG_OK;
}

/* ---- gradients ---- */

static sg_value *mean_of_product(sg_graph *g, sg_value *a, sg_value *b)
{
    return sg_mean(g, sg_mul(g, a, b), -1, true);
}

/* With n = (x - mean) / sd and dn = dy w:  dx = (dn - mean(dn) - n mean(dn n)) / sd. */
static void grad_layer(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *x = y->in[0];
    const double eps = y->attrs.f[0];
    sg_value *n = y->n_in == 1 ? y : sg_layer_norm(g, x, NULL, NULL, eps);
    sg_value *dn = y->n_in == 1 ? dy : sg_mul(g, dy, y->in[1]);
    sg_value *centred = sg_sub(g, x, sg_mean(g, x, -1, true));
    sg_value *per_sd = sg_rsqrt(g, sg_add_scalar(g, mean_of_product(g, centred, centred), eps));
    sg_value *straight = sg_sub(g, dn, sg_mean(g, dn, -1, true));

    dx[0] = sg_mul(g, sg_sub(g, straight, sg_mul(g, n, mean_of_product(g, dn, n))), per_sd);
    if (y->n_in == 3) {
        dx[1] = sg_sum_to(g, sg_mul(g, dy, n), 1, y->in[1]->dims);
        dx[2] = sg_sum_to(g, dy, 1, y->in[2]->dims);
    }
}

/* y = x / rms:  dx = (dy - y mean(dy y)) / rms. */
static void grad_rms(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *x = y->in[0];
    sg_value *per_rms = sg_rsqrt(g, sg_add_scalar(g, mean_of_product(g, x, x), y->attrs.f[0]));

    dx[0] = sg_mul(g, sg_sub(g, dy, sg_mul(g, y, mean_of_product(g, dy, y))), per_rms);
}

const sg_op sg_op_layer_norm = {
    .name = "layer_norm",
    .min_in = 1,
    .max_in = 3,
    .flags = SG_OP_ELEMENTWISE,
    .rows = SG_ROWS_ANY,
    .infer = infer_layer,
    .run = run_layer,
    .grad = grad_layer,
};
const sg_op sg_op_rms_norm = {
    .name = "rms_norm",
    .min_in = 1,
    .max_in = 1,
    .flags = SG_OP_ELEMENTWISE,
    .rows = SG_ROWS_ANY,
    .infer = infer_like_rows,
    .run = run_rms,
    .grad = grad_rms,
};

sg_value *sg_layer_norm(sg_graph *g, sg_value *x, sg_value *w, sg_value *b, double eps)
{
    const sg_attrs attrs = {.n_f = 1, .f = {eps}};

    if (!w != !b)
        return sg_graph_fail(g, SG_EARG, "layer_norm: gain and bias, or neither, were wanted");
    return sg_node(g, &sg_op_layer_norm, w ? 3 : 1, (sg_value *const[]){x, w, b}, &attrs);
}

sg_value *sg_rms_norm(sg_graph *g, sg_value *x, double eps)
{
    return sg_node(g, &sg_op_rms_norm, 1, &x, &(sg_attrs){.n_f = 1, .f = {eps}});
}
