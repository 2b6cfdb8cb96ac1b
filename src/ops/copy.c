/* Copies between strided views. Axes that lie the same way in both are merged first; what is left has an inner axis
 * that is a plain move, a fill or a strided walk. A transposition, where the unit strides of the two sides are on
 * different axes, goes in tiles so that each cache line is used whole. */
#include "ops/copy.h"

#include <string.h>

#define TILE 16 /* 16 floats are one cache line */

typedef struct layout {
    int n_dims;
    sg_dim dims[SG_MAX_DIMS], to[SG_MAX_DIMS], from[SG_MAX_DIMS];
} layout;

void *sg_view_at(const sg_view *v, sg_dim offset)
{
    return v->data ? (char *)v->data + offset * (sg_dim)sg_dtype_bytes(v->dtype) : NULL;
}

void sg_view_row_major(sg_view *v)
{
    sg_dim stride = 1;

    for (int k = v->n_dims - 1; k >= 0; k--) {
        v->strides[k] = stride;
        stride *= v->dims[k];
    }
}

/* Leaves out axes of extent 1 and merges neighbours that one stride can walk; at least one axis stays. */
static layout merge(const sg_view *to, const sg_view *from)
{
    layout l = {0};

    for (int k = 0; k < to->n_dims; k++) {
        const int last = l.n_dims - 1;
        if (to->dims[k] == 1)
            continue;
        if (last >= 0 && l.to[last] == to->strides[k] * to->dims[k] && l.from[last] == from->strides[k] * to->dims[k]) {
            l.dims[last] *= to->dims[k];
            l.to[last] = to->strides[k];
            l.from[last] = from->strides[k];
        } else {
            l.dims[l.n_dims] = to->dims[k];
            l.to[l.n_dims] = to->strides[k];
            l.from[l.n_dims++] = from->strides[k];
        }
    }
    if (l.n_dims == 0)
        l = (layout){1, {1}, {1}, {1}};
    return l;
}

/* One row: n elements at strides st and sf. */
#define DEFINE_ROW(type)                                                                                               \
    static void row_##type(void *to, sg_dim st, const void *from, sg_dim sf, sg_dim n)                                 \
    {                                                                                                                  \
        type *restrict t = to;                                                                                         \
        const type *restrict f = from;                                                                                 \
        if (st == 1 && sf == 0) {                                                                                      \
            const type x = n > 0 ? f[0] : 0;                                                                           \
            for (sg_dim i = 0; i < n; i++)                                                                             \
                t[i] = x;                                                                                              \
        } else if (st == 1) {                                                                                          \
            for (sg_dim i = 0; i < n; i++)                                                                             \
                t[i] = f[i * sf];                                                                                      \
        } else {                                                                                                       \
            for (sg_dim i = 0; i < n; i++)                                                                             \
                t[i * st] = f[i * sf];                                                                                 \
        }                                                                                                              \
    }

DEFINE_ROW(uint8_t)
DEFINE_ROW(uint16_t)
DEFINE_ROW(uint32_t)
DEFINE_ROW(uint64_t)

static void row(char *to, sg_dim st, const char *from, sg_dim sf, sg_dim n, size_t size)
{
    if (st == 1 && sf == 1)
        memcpy(to, from, (size_t)n * size);
    else if (size == 4)
        row_uint32_t(to, st, from, sf, n);
    else if (size == 8)
        row_uint64_t(to, st, from, sf, n);
    else if (size == 2)
        row_uint16_t(to, st, from, sf, n);
    else
        row_uint8_t(to, st, from, sf, n);
}

/* Axes p and q (the last one, with to[q] == 1) of a transposition in tiles. */
static void tiles(const layout *l, char *to, const char *from, int p, int q, size_t size)
{
    const sg_dim bytes = (sg_dim)size;

    for (sg_dim i0 = 0; i0 < l->dims[p]; i0 += TILE)
        for (sg_dim j0 = 0; j0 < l->dims[q]; j0 += TILE) {
            const sg_dim i1 = SG_MIN(i0 + TILE, l->dims[p]), n = SG_MIN(TILE, l->dims[q] - j0);
            for (sg_dim i = i0; i < i1; i++)
                row(to + (i * l->to[p] + j0 * l->to[q]) * bytes, l->to[q],
                    from + (i * l->from[p] + j0 * l->from[q]) * bytes, l->from[q], n, size);
        }
}

/* Axis `axis` and all within it. */
static void walk(const layout *l, int axis, char *to, const char *from, size_t size)
{
    const int last = l->n_dims - 1;

    if (axis == last) {
        row(to, l->to[last], from, l->from[last], l->dims[last], size);
    } else if (axis == last - 1 && l->from[axis] == 1 && l->from[last] != 1) {
        tiles(l, to, from, axis, last, size);
    } else {
        for (sg_dim i = 0; i < l->dims[axis]; i++)
            walk(l, axis + 1, to + i * l->to[axis] * (sg_dim)size, from + i * l->from[axis] * (sg_dim)size, size);
    }
}

typedef struct job {
    layout l;
    int axis; /* split over threads */
    size_t size;
    char *to;
    const char *from;
} job;

static void part(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    layout l = j->l;

    l.dims[j->axis] = last - first;
    walk(&l, 0, j->to + first * l.to[j->axis] * (sg_dim)j->size, j->from + first * l.from[j->axis] * (sg_dim)j->size,
         j->size);
}

void sg_view_copy(const sg_view *to, const sg_view *from, int n_threads)
{
    const sg_dim n = sg_view_count(to);

    if (n == 0)
        return;
    job j = {merge(to, from), 0, sg_dtype_bytes(to->dtype), to->data, from->data};
    for (int k = 1; k < j.l.n_dims; k++)
        if (j.l.dims[k] > j.l.dims[j.axis])
            j.axis = k;
    sg_split(j.l.dims[j.axis], n / j.l.dims[j.axis], n_threads, part, &j);
}

sg_status sg_view_kernel(const sg_kernel_args *k, sg_error *err)
{
    sg_view shown = *k->out;
    sg_kernel_args args = *k;

    args.out = &shown;
    shown.data = NULL;
    if (!k->op->view(&args))
        return sg_fail(err, SG_ESHAPE, "%s: these extents cannot be shown", k->op->name);
    sg_view_copy(k->out, &shown, k->n_threads);
    return SG_OK;
}
