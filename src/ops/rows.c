/* Few rows of a large table: added with weights, each multiplied with a vector, and weighted vectors added into them.
 * Three ops, each the others' gradients, for codes of which only k are not zero: a product of [N,V] by [V,D] then costs
 * k / V of itself, and nothing of the size [N,V] is ever stored.
 *
 *     rows_sum    y[n] = sum_j w[n,j] t[ids[n,j]]
 *     rows_dot    y[n,j] = x[n] . t[ids[n,j]]
 *     rows_outer  y[v] = sum over n, j with ids[n,j] = v of w[n,j] x[n]       attributes: how many rows
 *
 * Sums run in f32 or f64 as the operands are, a dot in LANES parts, so that its bytes hang neither on the processor nor
 * on threads. rows_outer first sorts the ids by counting: each row of the result is then added up while it is near, in
 * the order of the ids. */
#include <string.h>

#include "ops/ids.h"
#include "ops/iter.h"

#define LANES 16

typedef struct job {
    const int32_t *ids;
    const void *table, *x, *w; /* x [N,D], w [N,K] */
    void *y;
    sg_dim n, k, width;
    const int32_t *first, *order; /* rows_outer: where each row's ids begin in `order`, [V+1] and [N*K] */
} job;

/* Inputs 0 and 2 of one float type; ids [...,K]. */
static sg_status check_types(sg_infer *s, const sg_value *a, const sg_value *b, const sg_value *ids, sg_error *err)
{
    if (ids->dtype != SG_I32 || ids->n_dims < 1)
        return sg_infer_fail(s, err, ids->n_dims < 1 ? SG_ESHAPE : SG_ETYPE, "i32 ids with an axis were wanted");
    if ((a->dtype != SG_F32 && a->dtype != SG_F64) || a->dtype != b->dtype)
        return sg_infer_fail(s, err, SG_ETYPE, "f32 or f64 of one type were wanted");
    return SG_OK;
}

static bool same_dims(const sg_value *a, const sg_value *b, int n)
{
    return memcmp(a->dims, b->dims, (size_t)n * sizeof a->dims[0]) == 0;
}

/* ---- rows_sum ---- */

static sg_status infer_sum(sg_infer *s, sg_error *err)
{
    const sg_value *table = s->in[0], *ids = s->in[1], *w = s->in[2];

    SG_TRY(check_types(s, table, w, ids, err));
    if (table->n_dims != 2)
        return sg_infer_fail(s, err, SG_ESHAPE, "a table [V,D] was wanted");
    if (w->n_dims != ids->n_dims || !same_dims(w, ids, w->n_dims))
        return sg_infer_fail(s, err, SG_ESHAPE, "weights of the ids' shape were wanted");
    sg_infer_like(s, 1);
    s->dtype = table->dtype;
    s->dims[s->n_dims - 1] = table->dims[1];
    return SG_OK;
}

#define DEFINE_SUM(type)                                                                                               \
    static void sum_##type(void *context, sg_dim begin, sg_dim end)                                                    \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_dim width = j->width;                                                                                 \
        for (sg_dim i = begin; i < end; i++) {                                                                         \
            type *restrict y = (type *)j->y + i * width;                                                               \
            memset(y, 0, (size_t)width * sizeof *y);                                                                   \
            for (sg_dim c = i * j->k; c < (i + 1) * j->k; c++) {                                                       \
                const type *restrict row = (const type *)j->table + j->ids[c] * width;                                 \
                const type w = ((const type *)j->w)[c];                                                                \
                for (sg_dim d = 0; d < width; d++)                                                                     \
                    y[d] += w * row[d];                                                                                \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_SUM(float)
DEFINE_SUM(double)

static sg_status run_sum(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *table = k->in[0], *ids = k->in[1];
    const sg_dim n_k = ids->dims[ids->n_dims - 1];
    job j = {.ids = ids->data, .table = table->data, .w = k->in[2]->data, .y = k->out->data, .k = n_k};

    SG_TRY(sg_check_ids(k, ids, table->dims[0], err));
    j.width = table->dims[1];
    if (j.width > 0)
        sg_split(sg_view_count(k->out) / j.width, (n_k + 1) * j.width, k->n_threads,
                 k->out->dtype == SG_F32 ? sum_float : sum_double, &j);
    return SG_OK;
}

static void grad_sum(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_rows_outer(g, y->in[1], y->in[2], dy, y->in[0]->dims[0]);
    dx[2] = sg_rows_dot(g, y->in[0], y->in[1], dy);
}

const sg_op sg_op_rows_sum = {
    .name = "rows_sum", .min_in = 3, .max_in = 3, .infer = infer_sum, .run = run_sum, .grad = grad_sum};

sg_value *sg_rows_sum(sg_graph *g, sg_value *table, sg_value *ids, sg_value *weights)
{
    return sg_node(g, &sg_op_rows_sum, 3, (sg_value *const[]){table, ids, weights}, NULL);
}

/* ---- rows_dot ---- */

static sg_status infer_dot(sg_infer *s, sg_error *err)
{
    const sg_value *table = s->in[0], *ids = s->in[1], *x = s->in[2];

    SG_TRY(check_types(s, table, x, ids, err));
    if (table->n_dims != 2 || x->n_dims < 1 || x->dims[x->n_dims - 1] != table->dims[1])
        return sg_infer_fail(s, err, SG_ESHAPE, "a table [V,D] and vectors [...,D] were wanted");
    if (x->n_dims != ids->n_dims || !same_dims(x, ids, x->n_dims - 1))
        return sg_infer_fail(s, err, SG_ESHAPE, "ids for each vector were wanted");
    sg_infer_like(s, 1);
    s->dtype = table->dtype;
    return SG_OK;
}

#define DEFINE_DOT(type)                                                                                               \
    static void dot_##type(void *context, sg_dim begin, sg_dim end)                                                    \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_dim width = j->width, whole = width - width % LANES;                                                  \
        for (sg_dim i = begin; i < end; i++)                                                                           \
            for (sg_dim c = i * j->k; c < (i + 1) * j->k; c++) {                                                       \
                const type *restrict x = (const type *)j->x + i * width;                                               \
                const type *restrict row = (const type *)j->table + j->ids[c] * width;                                 \
                type part[LANES] = {0}, sum = 0;                                                                       \
                for (sg_dim d = 0; d < whole; d += LANES)                                                              \
                    for (int l = 0; l < LANES; l++)                                                                    \
                        part[l] += x[d + l] * row[d + l];                                                              \
                for (sg_dim d = whole; d < width; d++)                                                                 \
                    part[d - whole] += x[d] * row[d];                                                                  \
                for (int l = 0; l < LANES; l++)                                                                        \
                    sum += part[l];                                                                                    \
                ((type *)j->y)[c] = sum;                                                                               \
            }                                                                                                          \
    }

DEFINE_DOT(float)
DEFINE_DOT(double)

static sg_status run_dot(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *table = k->in[0], *ids = k->in[1];
    const sg_dim n_k = ids->dims[ids->n_dims - 1];
    job j = {.ids = ids->data, .table = table->data, .x = k->in[2]->data, .y = k->out->data, .k = n_k};

    SG_TRY(sg_check_ids(k, ids, table->dims[0], err));
    j.width = table->dims[1];
    if (n_k > 0)
        sg_split(sg_view_count(ids) / n_k, n_k * (j.width + 1), k->n_threads,
                 k->out->dtype == SG_F32 ? dot_float : dot_double, &j);
    return SG_OK;
}

static void grad_dot(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_rows_outer(g, y->in[1], dy, y->in[2], y->in[0]->dims[0]);
    dx[2] = sg_rows_sum(g, y->in[0], y->in[1], dy);
}

const sg_op sg_op_rows_dot = {
    .name = "rows_dot", .min_in = 3, .max_in = 3, .infer = infer_dot, .run = run_dot, .grad = grad_dot};

sg_value *sg_rows_dot(sg_graph *g, sg_value *table, sg_value *ids, sg_value *x)
{
    return sg_node(g, &sg_op_rows_dot, 3, (sg_value *const[]){table, ids, x}, NULL);
}

/* ---- rows_outer ---- */

static sg_status infer_outer(sg_infer *s, sg_error *err)
{
    const sg_value *w = s->in[0], *ids = s->in[1], *x = s->in[2];

    SG_TRY(check_types(s, w, x, ids, err));
    if (w->n_dims != ids->n_dims || !same_dims(w, ids, w->n_dims))
        return sg_infer_fail(s, err, SG_ESHAPE, "weights of the ids' shape were wanted");
    if (x->n_dims != ids->n_dims || !same_dims(x, ids, x->n_dims - 1))
        return sg_infer_fail(s, err, SG_ESHAPE, "ids for each vector were wanted");
    s->dtype = x->dtype;
    s->n_dims = 2;
    s->dims[0] = s->attrs->i[0];
    s->dims[1] = x->dims[x->n_dims - 1];
    return SG_OK;
}

#define DEFINE_OUTER(type)                                                                                             \
    static void outer_##type(void *context, sg_dim begin, sg_dim end)                                                  \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_dim width = j->width;                                                                                 \
        for (sg_dim v = begin; v < end; v++) {                                                                         \
            type *restrict y = (type *)j->y + v * width;                                                               \
            memset(y, 0, (size_t)width * sizeof *y);                                                                   \
            for (int32_t c = j->first[v]; c < j->first[v + 1]; c++) {                                                  \
                const int32_t at = j->order[c];                                                                        \
                const type *restrict x = (const type *)j->x + at / j->k * width;                                       \
                const type w = ((const type *)j->w)[at];                                                               \
                for (sg_dim d = 0; d < width; d++)                                                                     \
                    y[d] += w * x[d];                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_OUTER(float)
DEFINE_OUTER(double)

static size_t scratch_outer(const sg_kernel_args *k)
{
    return ((size_t)k->out->dims[0] + 1 + (size_t)sg_view_count(k->in[1])) * sizeof(int32_t);
}

static sg_status run_outer(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *ids = k->in[1];
    const sg_dim n_rows = k->out->dims[0], n = sg_view_count(ids);
    const int32_t *id = ids->data;
    int32_t *first = k->scratch, *order = first + n_rows + 1;
    job j = {.ids = id, .w = k->in[0]->data, .x = k->in[2]->data, .y = k->out->data, .first = first, .order = order};

    SG_TRY(sg_check_ids(k, ids, n_rows, err));
    if (n > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "rows_outer: %lld ids do not fit i32", (long long)n);
    j.k = ids->dims[ids->n_dims - 1];
    j.width = k->out->dims[1];
    memset(first, 0, (size_t)(n_rows + 1) * sizeof *first);
    for (sg_dim i = 0; i < n; i++)
        first[id[i] + 1]++;
    for (sg_dim v = 0; v < n_rows; v++)
        first[v + 1] += first[v];
    for (sg_dim i = 0; i < n; i++)
        order[first[id[i]]++] = (int32_t)i; /* leaves in first[v] where row v ends, */
    for (sg_dim v = n_rows; v > 0; v--)
        first[v] = first[v - 1]; /* which is where the next begins */
    first[0] = 0;
    if (n_rows > 0 && j.width > 0)
        sg_split(n_rows, (n / n_rows + 1) * j.width, k->n_threads, k->out->dtype == SG_F32 ? outer_float : outer_double,
                 &j);
    return SG_OK;
}

static void grad_outer(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_rows_dot(g, dy, y->in[1], y->in[2]);
    dx[2] = sg_rows_sum(g, dy, y->in[1], y->in[0]);
}

const sg_op sg_op_rows_outer = {.name = "rows_outer",
                                .min_in = 3,
                                .max_in = 3,
                                .infer = infer_outer,
                                .run = run_outer,
                                .scratch = scratch_outer,
                                .grad = grad_outer};

sg_value *sg_rows_outer(sg_graph *g, sg_value *ids, sg_value *weights, sg_value *x, sg_dim n_rows)
{
    return sg_node(g, &sg_op_rows_outer, 3, (sg_value *const[]){weights, ids, x}, &(sg_attrs){.n_i = 1, .i = {n_rows}});
}
