/* Gathering and adding along one axis by an index per element. Two ops, each the other's gradient.
 * take_along: attributes axis.  put_along: attributes axis, n; rows that meet at an index are added in row order. */
#include <string.h>

#include "ops/lines.h"

typedef struct job {
    const sg_kernel_args *k;
    const int32_t *index;
    sg_lines x, by; /* the side with n elements, and the side of the index */
} job;

static sg_status check_index(const sg_kernel_args *k, const sg_view *index, sg_dim n, int axis, sg_error *err)
{
    const int32_t *ids = index->data;
    const sg_dim count = sg_view_count(index);

    for (sg_dim i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= n)
            return sg_fail(err, SG_EARG, "%s: index %d (element %lld of the indices) is outside 0..%lld of axis %d",
                           k->op->name, ids[i], (long long)i, (long long)n - 1, axis);
    return SG_OK;
}

/* The index has x's rank and x's extents on other axes. */
static sg_status check_fit(sg_infer *s, const sg_value *x, const sg_value *index, int axis, sg_error *err)
{
    if (index->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "an i32 index was wanted");
    if (index->n_dims != x->n_dims)
        return sg_infer_fail(s, err, SG_ESHAPE, "the index has %d axes, %d were wanted", index->n_dims, x->n_dims);
    for (int a = 0; a < x->n_dims; a++)
        if (a != axis && x->dims[a] != index->dims[a])
            return sg_infer_fail(s, err, SG_ESHAPE, "axis %d of the index does not fit", a);
    return SG_OK;
}

/* ---- take_along ---- */

static sg_status infer_take(sg_infer *s, sg_error *err)
{
    SG_TRY(sg_infer_axis(s, 0, s->in[0]->n_dims, err));
    const int axis = (int)s->attrs->i[0];
    SG_TRY(check_fit(s, s->in[0], s->in[1], axis, err));
    sg_infer_like(s, 0);
    s->dims[axis] = s->in[1]->dims[axis];
    return SG_OK;
}

#define DEFINE_TAKE(type)                                                                                              \
    static void take_##type(void *context, sg_dim first, sg_dim last)                                                  \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_dim inner = j->by.inner;                                                                              \
        for (sg_dim o = first; o < last; o++) {                                                                        \
            const type *x = (const type *)j->k->in[0]->data + o * j->x.n * inner;                                      \
            const int32_t *at = j->index + o * j->by.n * inner;                                                        \
            type *y = (type *)j->k->out->data + o * j->by.n * inner;                                                   \
            for (sg_dim r = 0; r < j->by.n; r++)                                                                       \
                for (sg_dim c = 0; c < inner; c++)                                                                     \
                    y[r * inner + c] = x[at[r * inner + c] * inner + c];                                               \
        }                                                                                                              \
    }

DEFINE_TAKE(uint8_t)
DEFINE_TAKE(uint16_t)
DEFINE_TAKE(uint32_t)
DEFINE_TAKE(uint64_t)

static sg_status run_take(const sg_kernel_args *k, sg_error *err)
{
    const int axis = (int)k->i[0];
    job j = {.k = k, .index = k->in[1]->data, .x = sg_lines_of(k->in[0], axis), .by = sg_lines_of(k->in[1], axis)};
    const size_t size = sg_dtype_bytes(k->out->dtype);

    SG_TRY(check_index(k, k->in[1], j.x.n, axis, err));
    sg_split(j.by.outer, j.by.n * j.by.inner, k->n_threads,
             size == 4   ? take_uint32_t
             : size == 8 ? take_uint64_t
             : size == 2 ? take_uint16_t
                         : take_uint8_t,
             &j);
    return SG_OK;
}

static void grad_take(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    const int axis = (int)y->attrs.i[0];

    dx[0] = sg_put_along(g, y->in[1], dy, axis, y->in[0]->dims[axis]);
}

const sg_op sg_op_take_along = {
    .name = "take_along",
    .min_in = 2,
    .max_in = 2,
    .infer = infer_take,
    .run = run_take,
    .grad = grad_take,
};

sg_value *sg_take_along(sg_graph *g, sg_value *x, sg_value *index, int axis)
{
    return sg_node(g, &sg_op_take_along, 2, (sg_value *const[]){x, index}, &(sg_attrs){.n_i = 1, .i = {axis}});
}

/* ---- put_along ---- */

static sg_status infer_put(sg_infer *s, sg_error *err)
{
    const sg_value *index = s->in[0], *rows = s->in[1];

    SG_TRY(sg_infer_axis(s, 0, rows->n_dims, err));
    const int axis = (int)s->attrs->i[0];
    SG_TRY(check_fit(s, rows, index, axis, err));
    if (index->dims[axis] != rows->dims[axis])
        return sg_infer_fail(s, err, SG_ESHAPE, "axis %d of the index does not fit", axis);
    if (rows->dtype != SG_F32 && rows->dtype != SG_F64 && rows->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "rows of f32, f64 or i32 were wanted");
    sg_infer_like(s, 1);
    s->dims[axis] = s->attrs->i[1];
    return SG_OK;
}

#define DEFINE_PUT(type)                                                                                               \
    static void put_##type(void *context, sg_dim first, sg_dim last)                                                   \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_dim inner = j->by.inner;                                                                              \
        for (sg_dim o = first; o < last; o++) {                                                                        \
            const type *rows = (const type *)j->k->in[1]->data + o * j->by.n * inner;                                  \
            const int32_t *at = j->index + o * j->by.n * inner;                                                        \
            type *y = (type *)j->k->out->data + o * j->x.n * inner;                                                    \
            memset(y, 0, (size_t)(j->x.n * inner) * sizeof(type));                                                     \
            for (sg_dim r = 0; r < j->by.n; r++)                                                                       \
                for (sg_dim c = 0; c < inner; c++)                                                                     \
                    y[at[r * inner + c] * inner + c] += rows[r * inner + c];                                           \
        }                                                                                                              \
    }

DEFINE_PUT(float)
DEFINE_PUT(double)
DEFINE_PUT(uint32_t) /* i32: sums wrap around */

static sg_status run_put(const sg_kernel_args *k, sg_error *err)
{
    const int axis = (int)k->i[0];
    job j = {.k = k, .index = k->in[0]->data, .x = sg_lines_of(k->out, axis), .by = sg_lines_of(k->in[0], axis)};

    SG_TRY(check_index(k, k->in[0], j.x.n, axis, err));
    sg_split(j.x.outer, (j.x.n + j.by.n) * j.x.inner, k->n_threads,
             k->out->dtype == SG_F32   ? put_float
             : k->out->dtype == SG_F64 ? put_double
                                       : put_uint32_t,
             &j);
    return SG_OK;
}

static void grad_put(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[1] = sg_take_along(g, dy, y->in[0], (int)y->attrs.i[0]);
}

const sg_op sg_op_put_along = {
    .name = "put_along",
    .min_in = 2,
    .max_in = 2,
    .infer = infer_put,
    .run = run_put,
    .grad = grad_put,
};

sg_value *sg_put_along(sg_graph *g, sg_value *index, sg_value *rows, int axis, sg_dim n)
{
    return sg_node(g, &sg_op_put_along, 2, (sg_value *const[]){index, rows}, &(sg_attrs){.n_i = 2, .i = {axis, n}});
}
