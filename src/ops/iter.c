/* Walking strided operands together; cutting ranges for threads. */
#include <string.h>

#include "ops/iter.h"

sg_dim sg_view_count(const sg_view *v)
{
    sg_dim n = 1;

    for (int k = 0; k < v->n_dims; k++)
        n *= v->dims[k];
    return n;
}

static bool like(const sg_view *out, const sg_view *in)
{
    const size_t bytes = (size_t)out->n_dims * sizeof out->dims[0];

    return in->n_dims == out->n_dims && memcmp(in->dims, out->dims, bytes) == 0 &&
           memcmp(in->strides, out->strides, bytes) == 0;
}

void sg_iter_begin(sg_iter *it, const sg_view *out, int n_in, const sg_view *const *in)
{
    bool all_alike = true;

    it->n_operands = n_in + 1;
    for (int i = 0; i <= n_in; i++) {
        it->at[i] = 0;
        it->step[i] = 1;
    }
    it->n_dims = 0;
    for (int i = 0; i < n_in && all_alike; i++)
        all_alike = like(out, in[i]);
    if (all_alike) {
        it->n = sg_view_count(out);
        return;
    }

    /* Collect axes innermost first, joining each to the one before when every operand's strides continue. */
    int n = 0;
    for (int k = out->n_dims - 1; k >= 0; k--) {
        const sg_dim extent = out->dims[k];
        sg_dim strides[SG_ITER_MAX];
        if (extent == 1)
            continue;
        strides[0] = out->strides[k];
        for (int i = 0; i < n_in; i++) {
            const int axis = k - (out->n_dims - in[i]->n_dims);
            strides[i + 1] = axis < 0 || in[i]->dims[axis] == 1 ? 0 : in[i]->strides[axis];
        }
        bool joins = n > 0;
        for (int i = 0; i <= n_in && joins; i++)
            joins = strides[i] == it->strides[i][n - 1] * it->dims[n - 1];
        if (joins) {
            it->dims[n - 1] *= extent;
            continue;
        }
        it->dims[n] = extent;
        it->index[n] = 0;
        for (int i = 0; i <= n_in; i++)
            it->strides[i][n] = strides[i];
        n++;
    }
    it->n = n ? it->dims[0] : 1;
    it->n_dims = n;
    for (int i = 0; i <= n_in && n; i++)
        it->step[i] = it->strides[i][0];
    for (int k = 0; k < n; k++)
        if (it->dims[k] == 0)
            it->n = 0;
    if (it->n == 0)
        it->n_dims = 0;
}

bool sg_iter_next(sg_iter *it)
{
    for (int k = 1; k < it->n_dims; k++) {
        for (int i = 0; i < it->n_operands; i++)
            it->at[i] += it->strides[i][k];
        if (++it->index[k] < it->dims[k])
            return true;
        it->index[k] = 0;
        for (int i = 0; i < it->n_operands; i++)
            it->at[i] -= it->strides[i][k] * it->dims[k];
    }
    return false;
}

void sg_split(sg_dim n, sg_dim work_each, int n_threads, sg_range_fn fn, void *context)
{
    if (n_threads <= 1 || n < 2 || n * work_each < SG_PARALLEL) {
        if (n > 0)
            fn(context, 0, n);
        return;
    }
#ifdef _OPENMP
    const sg_dim parts = SG_MIN((sg_dim)n_threads, n);
#pragma omp parallel for num_threads((int)parts) schedule(static, 1)
    for (sg_dim p = 0; p < parts; p++)
        fn(context, n * p / parts, n * (p + 1) / parts);
#else
    fn(context, 0, n);
#endif
}

/* ---- element-wise kernels ---- */

typedef struct walk {
    sg_loop_fn loop;
    const sg_iter *it;
    char *data[SG_ITER_MAX];
    sg_dim size[SG_ITER_MAX];
} walk;

static void call(const walk *w, const sg_iter *it, sg_dim first, sg_dim n)
{
    void *at[SG_ITER_MAX];

    for (int i = 0; i < it->n_operands; i++)
        at[i] = w->data[i] + (it->at[i] + first * it->step[i]) * w->size[i];
    w->loop(at, it->step, n);
}

/* Elements [first, last) of the only line. */
static void walk_line(void *context, sg_dim first, sg_dim last)
{
    const walk *w = context;

    call(w, w->it, first, last - first);
}

/* Lines [first, last) of many. */
static void walk_lines(void *context, sg_dim first, sg_dim last)
{
    const walk *w = context;
    sg_iter it = *w->it;
    sg_dim rest = first;

    for (int k = 1; k < it.n_dims; k++) {
        it.index[k] = rest % it.dims[k];
        rest /= it.dims[k];
        for (int i = 0; i < it.n_operands; i++)
            it.at[i] += it.index[k] * it.strides[i][k];
    }
    for (sg_dim line = first; line < last; line++) {
        call(w, &it, 0, it.n);
        sg_iter_next(&it);
    }
}

void sg_walk(const sg_kernel_args *k, sg_loop_fn loop, sg_dim work)
{
    sg_iter it;
    walk w = {.loop = loop, .it = &it};
    sg_dim n_lines = 1;

    sg_iter_begin(&it, k->out, k->n_in, k->in);
    if (it.n == 0)
        return;
    for (int i = 0; i < it.n_operands; i++) {
        const sg_view *v = i ? k->in[i - 1] : k->out;
        w.data[i] = v->data;
        w.size[i] = (sg_dim)sg_dtype_bytes(v->dtype);
    }
    for (int a = 1; a < it.n_dims; a++)
        n_lines *= it.dims[a];
    if (n_lines == 1)
        sg_split(it.n, work, k->n_threads, walk_line, &w);
    else
        sg_split(n_lines, it.n * work, k->n_threads, walk_lines, &w);
}
