/* Rows of a table by their ids, and rows added into a table at their ids. Two ops, each the other's gradient.
 * embed: attribute the rows' type, where it is not the table's. scatter_add: attributes n_rows. Each element of its
 * result adds its rows in the order of the ids, on any number of threads. */
#include <string.h>

#include "ops/ids.h"
#include "ops/iter.h"
#include "ops/packed.h"

typedef struct job {
    const int32_t *ids;
    const char *from;
    char *to;
    sg_dim n_ids, width;
    size_t row_bytes;
    sg_dtype from_type, to_type;
    bool by_column; /* scatter_add: threads share out columns of the table, not rows */
} job;

sg_status sg_check_ids(const sg_kernel_args *k, const sg_view *ids, sg_dim n_rows, sg_error *err)
{
    const int32_t *id = ids->data;
    const sg_dim n = sg_view_count(ids);

    for (sg_dim i = 0; i < n; i++)
        if (id[i] < 0 || id[i] >= n_rows)
            return sg_fail(err, SG_EARG, "%s: id %d (element %lld of the ids) is outside 0..%lld", k->op->name, id[i],
                           (long long)i, (long long)n_rows - 1);
    return SG_OK;
}

/* ---- embed ---- */

static sg_status infer_embed(sg_infer *s, sg_error *err)
{
    const sg_value *table = s->in[0], *ids = s->in[1];

    if (ids->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "i32 ids were wanted");
    if (table->n_dims != 2)
        return sg_infer_fail(s, err, SG_ESHAPE, "a table [V,D] was wanted");
    if (ids->n_dims + 1 > SG_MAX_DIMS)
        return sg_infer_fail(s, err, SG_ESHAPE, "the result would have more than %d axes", SG_MAX_DIMS);
    sg_infer_like(s, 1);
    s->dtype = s->attrs->n_i ? (sg_dtype)s->attrs->i[0] : table->dtype;
    if (s->dtype != table->dtype && (!sg_is_packed(table->dtype) || (s->dtype != SG_F32 && s->dtype != SG_F64)))
        return sg_infer_fail(s, err, SG_ETYPE, "only a packed table's rows become another type, f32 or f64");
    if (sg_dtype_block(s->dtype) > 1)
        return sg_infer_fail(s, err, SG_ETYPE, "rows of a packed table become f32 or f64: sg_embed_as");
    if (s->dtype != table->dtype && !(table->op->flags & SG_OP_LEAF))
        return sg_infer_fail(s, err, SG_ETYPE, "a packed table is a variable or a constant, cast what was computed");
    s->dims[s->n_dims++] = table->dims[1];
    return SG_OK;
}

static void copy_rows(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;

    for (sg_dim i = first; i < last; i++)
        memcpy(j->to + (size_t)i * j->row_bytes, j->from + (size_t)j->ids[i] * j->row_bytes, j->row_bytes);
}

static void unpack_rows(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;

    for (sg_dim i = first; i < last; i++)
        sg_convert(j->to + (size_t)(i * j->width) * sg_dtype_bytes(j->to_type), j->to_type,
                   j->from + (size_t)j->ids[i] * j->row_bytes, j->from_type, j->width);
}

static sg_status run_embed(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *table = k->in[0], *ids = k->in[1];
    job j = {.ids = ids->data, .from = table->data, .to = k->out->data, .width = table->dims[1]};

    SG_TRY(sg_check_ids(k, ids, table->dims[0], err));
    j.row_bytes = (size_t)(j.width / sg_dtype_block(table->dtype)) * sg_dtype_block_bytes(table->dtype);
    j.from_type = table->dtype;
    j.to_type = k->out->dtype;
    if (j.row_bytes > 0)
        sg_split(sg_view_count(ids), j.width, k->n_threads, j.to_type == j.from_type ? copy_rows : unpack_rows, &j);
    return SG_OK;
}

static void grad_embed(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    if (y->dtype == y->in[0]->dtype) /* a packed table has no gradient */
        dx[0] = sg_scatter_add(g, y->in[1], dy, y->in[0]->dims[0]);
}

const sg_op sg_op_embed = {
    .name = "embed",
    .min_in = 2,
    .max_in = 2,
    .flags = SG_OP_PACKED,
    .infer = infer_embed,
    .run = run_embed,
    .grad = grad_embed,
};

sg_value *sg_embed(sg_graph *g, sg_value *table, sg_value *ids)
{
    return sg_node(g, &sg_op_embed, 2, (sg_value *const[]){table, ids}, NULL);
}

sg_value *sg_embed_as(sg_graph *g, sg_value *table, sg_value *ids, sg_dtype to)
{
    if (sg_graph_failed(g) || table->dtype == to)
        return sg_embed(g, table, ids);
    return sg_node(g, &sg_op_embed, 2, (sg_value *const[]){table, ids}, &(sg_attrs){.n_i = 1, .i = {to}});
}

/* ---- scatter_add ---- */

static sg_status infer_scatter(sg_infer *s, sg_error *err)
{
    const sg_value *ids = s->in[0], *rows = s->in[1];

    if (ids->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "i32 ids were wanted");
    if (rows->dtype != SG_F32 && rows->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "rows of f32 or f64 were wanted");
    if (rows->n_dims != ids->n_dims + 1 ||
        memcmp(rows->dims, ids->dims, (size_t)ids->n_dims * sizeof rows->dims[0]) != 0)
        return sg_infer_fail(s, err, SG_ESHAPE, "rows of the ids' shape and one more axis were wanted");
    s->dtype = rows->dtype;
    s->n_dims = 2;
    s->dims[0] = s->attrs->i[0];
    s->dims[1] = rows->dims[rows->n_dims - 1];
    return SG_OK;
}

#define DEFINE_ADD_ROWS(type)                                                                                          \
    static void add_rows_##type(void *context, sg_dim first, sg_dim last)                                              \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_dim width = j->width, c0 = j->by_column ? first : 0, c1 = j->by_column ? last : width;                \
        for (sg_dim i = 0; i < j->n_ids; i++) {                                                                        \
            const sg_dim id = j->ids[i];                                                                               \
            if (!j->by_column && (id < first || id >= last))                                                           \
                continue;                                                                                              \
            type *restrict to = (type *)(void *)j->to + id * width;                                                    \
            const type *restrict row = (const type *)(const void *)j->from + i * width;                                \
            for (sg_dim c = c0; c < c1; c++)                                                                           \
                to[c] += row[c];                                                                                       \
        }                                                                                                              \
    }

DEFINE_ADD_ROWS(float)
DEFINE_ADD_ROWS(double)

static sg_status run_scatter(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *ids = k->in[0], *rows = k->in[1];
    const sg_dim n_rows = k->out->dims[0], width = k->out->dims[1], n_ids = sg_view_count(ids);
    job j = {.ids = ids->data, .from = rows->data, .to = k->out->data, .n_ids = n_ids, .width = width};

    SG_TRY(sg_check_ids(k, ids, n_rows, err));
    memset(k->out->data, 0, (size_t)(n_rows * width) * sg_dtype_bytes(k->out->dtype));
    /* Rows by columns reads each row in parts, which pays only if the parts are cache lines. */
    j.by_column = width >= (sg_dim)16 * k->n_threads;
    const sg_dim n = j.by_column ? width : n_rows;
    if (n > 0)
        sg_split(n, n_ids * width / n, k->n_threads, k->out->dtype == SG_F32 ? add_rows_float : add_rows_double, &j);
    return SG_OK;
}

static void grad_scatter(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[1] = sg_embed(g, dy, y->in[0]);
}

const sg_op sg_op_scatter_add = {
    .name = "scatter_add",
    .min_in = 2,
    .max_in = 2,
    .infer = infer_scatter,
    .run = run_scatter,
    .grad = grad_scatter,
};

sg_value *sg_scatter_add(sg_graph *g, sg_value *ids, sg_value *rows, sg_dim n_rows)
{
    return sg_node(g, &sg_op_scatter_add, 2, (sg_value *const[]){ids, rows}, &(sg_attrs){.n_i = 1, .i = {n_rows}});
}
