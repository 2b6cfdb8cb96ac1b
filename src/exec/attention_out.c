/* Where attention writes its results: not head by head, where what follows only puts them into another order.
 *
 * A model turns [heads,time,width] into [time,heads width], and the gradients of queries, keys and values are joined
 * before they reach the weights. Where nobody else reads the numbers in between, these copies become strides. */
#include "exec/attention.h"
#include "ops/ops.h"

void sg_attention_written(int value, int n_lead, const sg_dim *dims, sg_dim rows, sg_dim width, written *w)
{
    sg_dim stride = rows * width;

    *w = (written){.value = value, .rows = rows, .width = width};
    w->at.n_lead = n_lead;
    w->at.row = width;
    for (int a = 0; a < n_lead; a++) {
        w->at.extents[a] = dims[n_lead - 1 - a];
        w->at.strides[a] = stride;
        stride *= w->at.extents[a];
    }
}

/* How far apart a copy in row-major order lays what lies `stride` apart in the view it copies. */
static bool stride_in_copy(const sg_view *v, sg_dim extent, sg_dim stride, sg_dim *out)
{
    sg_dim inner = 1;

    *out = 0;
    if (extent == 1)
        return true;
    for (int d = v->n_dims - 1; d >= 0; d--) {
        *out = inner;
        if (v->dims[d] == extent && v->strides[d] == stride)
            return true;
        inner *= v->dims[d];
    }
    return false;
}

/* The only reader of a value, if it is this operation and there is only one; else -1. */
static int only_reader(const sg_planner *pl, const int *readers, int value, const sg_op *op)
{
    const sg_plan *p = pl->p;

    for (int a = value + 1; a < p->n_values && readers[value] == 1; a++)
        if (sg_plan_is(pl, a, op))
            for (int i = 0; i < p->values[a].v->n_in; i++)
                if (sg_plan_behind(pl, a, i) == value)
                    return a;
    return -1;
}

int sg_attention_copied(const sg_planner *pl, const int *readers, written *w)
{
    const int copy = only_reader(pl, readers, w->value, &sg_op_reshape);
    written to = *w;
    sg_dim column;

    if (copy < 0)
        return -1;
    const sg_view *v = &pl->p->values[sg_plan_input(pl, &pl->p->values[copy], 0)].view;
    if (sg_view_count(v) != sg_view_count(&pl->p->values[w->value].view) || v->n_dims == 0)
        return -1;
    for (int a = 0; a < w->at.n_lead; a++)
        if (!stride_in_copy(v, w->at.extents[a], w->at.strides[a], &to.at.strides[a]))
            return -1;
    if (!stride_in_copy(v, w->rows, w->at.row, &to.at.row) || !stride_in_copy(v, w->width, 1, &column) ||
        (w->width > 1 && column != 1))
        return -1;
    to.value = copy;
    *w = to;
    return copy;
}

/* The same for rows of `from` numbers that become a part of rows of `to`. */
static bool stride_in_rows(sg_dim extent, sg_dim from, sg_dim to, sg_dim *stride)
{
    if (extent == 1 || (*stride < from && *stride * (extent - 1) < from))
        return true;
    if (*stride % from != 0)
        return false;
    *stride = *stride / from * to;
    return true;
}

static bool widen(written *w, int value, sg_dim from, sg_dim to, sg_dim at)
{
    for (int a = 0; a < w->at.n_lead; a++)
        if (!stride_in_rows(w->at.extents[a], from, to, &w->at.strides[a]))
            return false;
    if (!stride_in_rows(w->rows, from, to, &w->at.row) || w->width > from)
        return false;
    w->offset = w->offset / from * to + w->offset % from + at;
    w->value = value;
    return true;
}

int sg_attention_joined(const sg_planner *pl, const int *readers, int n, written *w)
{
    const sg_plan *p = pl->p;

    for (int first = 0; first < n; first++) {
        const int join = only_reader(pl, readers, w[first].value, &sg_op_concat);
        written to[3];
        sg_dim at = 0;
        int found = 0;
        SG_ASSERT(n <= (int)SG_COUNT_OF(to));
        memcpy(to, w, (size_t)n * sizeof *to);
        if (join < 0)
            continue;
        const sg_plan_value *x = &p->values[join];
        const int last = x->view.n_dims - 1;
        bool ok = x->attr_i[0] == last;
        for (int i = 0; i < x->v->n_in && ok; i++) {
            const int input = sg_plan_behind(pl, join, i);
            const sg_dim from = p->values[sg_plan_input(pl, x, i)].view.dims[last];
            int parts = 0;
            for (int k = 0; k < n && ok; k++)
                if (w[k].value == input) {
                    ok = to[k].value == input && widen(&to[k], join, from, x->view.dims[last], at);
                    parts++;
                }
            ok = ok && parts > 0 && readers[input] == 1 && sg_plan_only_renamed(pl, join, i);
            found += parts;
            at += from;
        }
        if (!ok || found == 0)
            continue;
        memcpy(w, to, (size_t)n * sizeof *to);
        return join;
    }
    return -1;
}
