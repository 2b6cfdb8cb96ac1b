/* Less work where only a part is wanted: a slice of a result becomes the result of slices.
 *
 * Backwards from what is fetched, every value learns which part of it its readers want: all of it, or one slice that
 * all of them agree on. Where an operation can give that part from parts of its inputs it is built anew for the part
 * alone. So the logits of the last token cost one row of the last block and of the unembedding, and the pattern of one
 * head one head. */
#include <stdlib.h>
#include <string.h>

#include "exec/planner.h"
#include "ops/ops.h"
#include "ops/packed.h"

#define MOST_PASSES 4 /* a pass moves one slice down; nested slices take one each */

/* Which part of a value: of one axis, seen as outer x extent x inner, the places start, start + step, ... of the
 * middle. */
typedef struct part {
    enum { NOBODY, SLICE, ALL } kind;
    int axis;
    sg_dim outer, extent, inner;
    sg_dim start, stop, step, n;
} part;

typedef struct work {
    sg_graph *g;
    const int64_t *symbols;
    unsigned varying; /* bit i: extent i may be another in the next run */
    bool *fed;
    part *wanted;    /* by id, for the values there were when the pass began */
    sg_value **part; /* by id: the value of that part */
} work;

static int64_t number(const work *w, sg_dim d)
{
    return d >= 0 ? d : sg_dim_eval(w->g, d, w->symbols);
}

static bool same_part(const part *a, const part *b)
{
    return a->kind == b->kind && a->axis == b->axis && a->outer == b->outer && a->extent == b->extent &&
           a->inner == b->inner && a->start == b->start && a->stop == b->stop && a->step == b->step;
}

static sg_dim product(sg_graph *g, int n, const sg_dim *dims)
{
    sg_dim p = 1;

    for (int k = 0; k < n; k++)
        p = sg_dim_mul(g, p, dims[k]);
    return p;
}

static bool varies(const work *w, int n, const sg_dim *dims)
{
    for (int k = 0; k < n; k++)
        if (dims[k] < 0 && (sg_dim_symbols(w->g, dims[k]) & w->varying))
            return true;
    return false;
}

static int64_t numbers_in(const work *w, int n, const sg_dim *dims)
{
    int64_t p = 1;

    for (int k = 0; k < n; k++)
        p *= number(w, dims[k]);
    return p;
}

/* The extent of the axis once only the part is there. */
static sg_dim left(sg_graph *g, const part *d)
{
    return sg_dim_mul(g, sg_dim_mul(g, d->outer, d->n), d->inner);
}

/* ---- which part of an input gives a part of the result ---- */

typedef enum mapping { CANNOT, WHOLE, PART } mapping;

static mapping aligned(const sg_value *v, const sg_value *in, const part *d, part *out)
{
    const int axis = d->axis - (v->n_dims - in->n_dims);

    if (axis < 0 || in->dims[axis] == 1)
        return WHOLE;
    *out = *d;
    out->axis = axis;
    return PART;
}

/* The same numbers in other axes. The part's axis of v, outer x extent x inner, lies in one axis of the input: some
 * whole axes of v before it, times what it is the middle of, times some after it. Compared as extents, not as numbers,
 * so that what is built is right for the symbols too. */
static mapping through_reshape(const work *w, const sg_value *v, const sg_value *in, const part *d, part *out)
{
    sg_graph *g = w->g;
    const int n = v->n_dims;

    if (number(w, d->extent) < 2 || varies(w, n, v->dims))
        return CANNOT;
    const sg_dim before = sg_dim_mul(g, product(g, d->axis, v->dims), d->outer);
    for (int j = 0; j < in->n_dims; j++) {
        const sg_dim passed = product(g, j, in->dims);
        for (int b = 0; b <= d->axis + 1; b++) {
            sg_dim outer = 1;
            if (b <= d->axis) {
                if (product(g, b, v->dims) != passed)
                    continue;
                outer = sg_dim_mul(g, product(g, d->axis - b, v->dims + b), d->outer);
            } else if (before != passed) {
                continue;
            }
            for (int e = d->axis; e <= n; e++) { /* e = axis: nothing of what comes after */
                const sg_dim inner =
                    e == d->axis ? 1 : sg_dim_mul(g, d->inner, product(g, e - d->axis - 1, v->dims + d->axis + 1));
                if (sg_dim_mul(g, sg_dim_mul(g, outer, d->extent), inner) != in->dims[j])
                    continue;
                *out = *d;
                out->axis = j;
                out->outer = outer;
                out->inner = inner;
                return PART;
            }
        }
    }
    return CANNOT;
}

static int kept_axis(const sg_value *v, const sg_value *in, int axis, int64_t reduced)
{
    int k = 0;

    if (v->n_dims == in->n_dims)
        return reduced >> axis & 1 ? -1 : axis;
    for (int a = 0; a < in->n_dims; a++)
        if (!(reduced >> a & 1) && k++ == axis)
            return a;
    return -1;
}

static mapping map(const work *w, const sg_value *v, int i, const part *d, part *out)
{
    const sg_op *op = v->op;
    const sg_value *in = v->in[i];
    const int n = v->n_dims;
    const bool plain = number(w, d->outer) == 1 && number(w, d->inner) == 1;

    *out = *d;
    if (sg_is_packed(in->dtype) && (op == &sg_op_matmul || op == &sg_op_embed || sg_dtype_block(in->dtype) > 1))
        /* weights as they are stored are not cut: rows of what is multiplied with them are, and of the ids */
        return (op == &sg_op_matmul && d->axis == n - 2 && i == 1) || (op == &sg_op_embed && d->axis < n - 1 && plain)
                   ? WHOLE
                   : CANNOT;
    if (op->rows == SG_ROWS_ANY)
        return (op == &sg_op_layer_norm || op == &sg_op_rms_norm) && d->axis == n - 1 ? CANNOT : aligned(v, in, d, out);
    if (op->rows == SG_ROWS_AXIS || op->rows == SG_ROWS_AXES) {
        const int64_t reduced = op->rows == SG_ROWS_AXIS ? (int64_t)1 << v->attrs.i[0] : v->attrs.i[0];
        out->axis = kept_axis(v, in, d->axis, reduced);
        return out->axis < 0 ? CANNOT : PART;
    }
    if (op == &sg_op_matmul) {
        const bool turned = v->attrs.i[i] != 0;
        if (d->axis < n - 2)
            return aligned(v, in, d, out);
        if ((d->axis == n - 2) != (i == 0))
            return WHOLE;
        out->axis = in->n_dims - ((i == 0) == turned ? 1 : 2);
        return PART;
    }
    if (op == &sg_op_reshape)
        return through_reshape(w, v, in, d, out);
    if (op == &sg_op_transpose) {
        out->axis = (int)v->attrs.i[d->axis];
        return PART;
    }
    if (op == &sg_op_identity || op == &sg_op_stop_gradient)
        return PART;
    if (op == &sg_op_broadcast)
        return aligned(v, in, d, out);
    if (op == &sg_op_slice)
        return v->attrs.i[0] == d->axis ? CANNOT : PART;
    if (op == &sg_op_rope && plain && d->axis < 3)
        return i == 2 || (i == 1 && d->axis == 2) ? WHOLE : PART;
    if (op == &sg_op_embed && plain)
        return d->axis < n - 1 ? (i == 0 ? WHOLE : PART) : i == 0 ? (out->axis = 1, PART) : WHOLE;
    return CANNOT;
}

/* ---- the passes ---- */

static bool can_be_narrowed(const work *w, const sg_value *v, const part *d)
{
    part in;

    if (w->fed[v->id] || v->n_in == 0 || (v->op->flags & (SG_OP_LEAF | SG_OP_STATE)) || v->op->changes)
        return false;
    for (int i = 0; i < v->n_in; i++)
        if (map(w, v, i, d, &in) == CANNOT)
            return false;
    return true;
}

static void want(work *w, const sg_value *v, const part *d)
{
    part *had = &w->wanted[v->id];

    if (had->kind == NOBODY)
        *had = *d;
    else if (!same_part(had, d))
        had->kind = ALL;
}

/* The part of its input that a slice takes, if at most half of it. */
static bool small_slice(const work *w, const sg_value *v, part *d)
{
    const sg_dim *i = v->attrs.i;

    if (v->op != &sg_op_slice || w->fed[v->id] || varies(w, 4, i) || varies(w, 1, &v->in[0]->dims[i[0]]))
        return false;
    const sg_dim extent = v->in[0]->dims[i[0]];
    *d = (part){SLICE, (int)i[0], 1, extent, 1, i[1], i[2], i[3], v->dims[i[0]]};
    return number(w, d->n) * 2 <= number(w, extent);
}

static sg_value *cut(sg_graph *g, sg_value *x, const part *d)
{
    sg_dim dims[SG_MAX_DIMS + 2];
    const int n = x->n_dims;

    if (d->outer == 1 && d->inner == 1)
        return sg_slice(g, x, d->axis, d->start, d->stop, d->step);
    if (n + 2 > SG_MAX_DIMS)
        return sg_graph_fail(g, SG_ESHAPE, "slice: too many axes");
    memcpy(dims, x->dims, (size_t)n * sizeof dims[0]);
    memmove(dims + d->axis + 3, dims + d->axis + 1, (size_t)(n - d->axis - 1) * sizeof dims[0]);
    dims[d->axis] = d->outer;
    dims[d->axis + 1] = d->extent;
    dims[d->axis + 2] = d->inner;
    sg_value *y = sg_slice(g, sg_reshape(g, x, n + 2, dims), d->axis + 1, d->start, d->stop, d->step);
    memcpy(dims, x->dims, (size_t)n * sizeof dims[0]);
    dims[d->axis] = left(g, d);
    return sg_reshape(g, y, n, dims);
}

static sg_value *build(work *w, const sg_value *v)
{
    sg_graph *g = w->g;
    const part *d = &w->wanted[v->id];
    sg_attrs attrs = v->attrs;
    sg_value **in = malloc((size_t)v->n_in * sizeof *in);

    if (!in)
        return NULL;
    for (int i = 0; i < v->n_in; i++) {
        part p;
        in[i] = v->in[i];
        if (map(w, v, i, d, &p) != PART)
            continue;
        const part *has = &w->wanted[in[i]->id];
        in[i] = has->kind == SLICE && same_part(has, &p) ? w->part[in[i]->id] : cut(g, in[i], &p);
        if (!in[i])
            break;
    }
    if (v->op == &sg_op_reshape || v->op == &sg_op_broadcast)
        attrs.i[d->axis] = left(g, d);
    sg_scope(g, "%s", v->scope);
    sg_value *y = in[v->n_in - 1] ? sg_node(g, v->op, v->n_in, in, &attrs) : NULL;
    sg_scope(g, "%s", "");
    free(in);
    return y;
}

/* One pass over the values in `order` (inputs first). *changed: some slice has moved. */
static sg_status pass(work *w, int n, const int *order, int n_fetches, sg_value *const *fetches, bool *changed,
                      sg_error *err)
{
    const int size = sg_graph_size(w->g);
    static const part all = {.kind = ALL};

    *changed = false;
    w->wanted = calloc((size_t)size + 1, sizeof *w->wanted);
    w->part = calloc((size_t)size + 1, sizeof *w->part);
    sg_status status = w->wanted && w->part ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a plan");
    if (status == SG_OK) {
        for (int i = 0; i < n_fetches; i++)
            want(w, sg_graph_at(w->g, fetches[i]->id), &all);
        for (int o = n - 1; o >= 0; o--) {
            const sg_value *v = sg_graph_at(w->g, order[o]);
            part *d = &w->wanted[v->id], in;
            if (d->kind == SLICE && !can_be_narrowed(w, v, d))
                d->kind = ALL;
            for (int i = 0; i < v->n_in && !w->fed[v->id]; i++) {
                if (d->kind == SLICE)
                    want(w, v->in[i], map(w, v, i, d, &in) == PART ? &in : &all);
                else
                    want(w, v->in[i], small_slice(w, v, &in) ? &in : &all);
            }
        }
        for (int o = 0; o < n && status == SG_OK; o++) {
            sg_value *v = sg_graph_at(w->g, order[o]);
            part d;
            if (w->fed[v->id])
                continue;
            if (w->wanted[v->id].kind == SLICE) {
                w->part[v->id] = build(w, v);
                if (!w->part[v->id])
                    status = sg_fail(err, SG_ENOMEM, "out of memory for a plan");
            } else if (small_slice(w, v, &d) && w->wanted[v->in[0]->id].kind == SLICE) {
                v->in[0] = w->part[v->in[0]->id]; /* it is all of that now */
                v->op = &sg_op_identity;
                v->attrs = (sg_attrs){0};
                *changed = true;
            }
        }
    }
    free(w->wanted);
    free(w->part);
    if (status == SG_OK)
        status = sg_graph_status(w->g, err);
    return status;
}

static bool worth_it(const work *w, int n, const int *order)
{
    part d;

    for (int o = 0; o < n; o++) {
        const sg_value *v = sg_graph_at(w->g, order[o]);
        if (small_slice(w, v, &d) && !w->fed[v->in[0]->id] && !(v->in[0]->op->flags & SG_OP_LEAF) &&
            numbers_in(w, v->in[0]->n_dims, v->in[0]->dims) >= 4096)
            return true;
    }
    return false;
}

static sg_status narrow(work *w, const sg_graph *g, int n_fetches, sg_value *const *fetches, sg_graph **out,
                        sg_error *err)
{
    sg_value **roots = malloc((size_t)SG_MAX(n_fetches, 1) * sizeof *roots);
    sg_status status = SG_OK;

    for (int turn = 0; turn < MOST_PASSES && status == SG_OK; turn++) {
        const sg_graph *from = w->g ? w->g : g;
        int *order = malloc(((size_t)sg_graph_size(from) + 1) * sizeof *order);
        bool *stop = calloc((size_t)sg_graph_size(from) + 1, sizeof *stop);
        bool changed = false;
        int n = -1;
        if (order && stop && roots) {
            memcpy(stop, w->fed, (size_t)sg_graph_size(g) * sizeof *stop);
            for (int i = 0; i < n_fetches; i++)
                roots[i] = sg_graph_at(from, fetches[i]->id);
            n = sg_graph_order(from, n_fetches, roots, stop, order);
        }
        if (n < 0)
            status = sg_fail(err, SG_ENOMEM, "out of memory for a plan");
        work look = *w;
        bool *fed = w->fed;
        look.fed = stop;
        if (status == SG_OK && !w->g) {
            sg_graph *fork = NULL;
            memcpy(&look.g, &g, sizeof look.g); /* only looked at */
            if (!worth_it(&look, n, order)) {
                free(order);
                free(stop);
                break;
            }
            status = sg_graph_fork(&fork, g, err);
            w->g = fork;
        }
        if (status == SG_OK) {
            w->fed = stop;
            status = pass(w, n, order, n_fetches, roots, &changed, err);
            w->fed = fed;
        }
        free(order);
        free(stop);
        if (!changed)
            break;
    }
    free(roots);
    if (status != SG_OK) {
        sg_graph_free(w->g);
        w->g = NULL;
    }
    *out = w->g;
    return status;
}

sg_status sg_narrow(sg_graph **out, const sg_graph *g, int n_feeds, sg_value *const *feeds, int n_fetches,
                    sg_value *const *fetches, const int64_t *symbols, unsigned varying, sg_error *err)
{
    work w = {.symbols = symbols, .varying = varying, .fed = calloc((size_t)sg_graph_size(g) + 1, sizeof *w.fed)};

    *out = NULL;
    if (!w.fed)
        return sg_fail(err, SG_ENOMEM, "out of memory for a plan");
    for (int i = 0; i < n_feeds; i++)
        w.fed[feeds[i]->id] = true;
    const sg_status status = narrow(&w, g, n_fetches, fetches, out, err);
    free(w.fed);
    return status;
}
