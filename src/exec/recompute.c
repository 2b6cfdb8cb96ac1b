/* Less memory for gradients: what the forward pass computes is computed again where the backward pass needs it.
 *
 * Backward is whatever has a gradient rule's scope, "grad.", or depends on such a value. What it reads of the forward
 * pass and what is not kept is replaced by a copy, built anew from what is kept, each value once (Griewank & Walther
 * 2000; Chen et al. 2016). Copies have scopes that begin with "again.": the planner shares nothing between them and the
 * forward pass, and order.c computes them just before their first reader.
 *
 * Kept are the values whose names fit, what is fed or fetched, leaves, what follows from constants alone, and what
 * state takes part in. So is what lies behind the last of these: there the backward pass begins, and computing it twice
 * in a row would save nothing. */
#include <stdlib.h>
#include <string.h>

#include "exec/planner.h"

enum { LATE = 1, KEPT = 2, CONSTANT = 4, CHANGED = 8, WANTED = 16, NAMED = 32, BEFORE = 64 };

typedef struct work {
    sg_graph *g;
    int n;
    int *order;           /* ids, inputs first */
    unsigned char *marks; /* by id */
    bool *fed;            /* by id */
    sg_value **again;     /* by id: the copy */
} work;

static bool has_state(const sg_value *v)
{
    return (v->op->flags & (SG_OP_STATE | SG_OP_ALIAS)) || v->op->changes;
}

/* The variable behind v, or whatever else v is a view of. */
static const sg_value *behind(const sg_value *v)
{
    while ((v->op->flags & (SG_OP_VIEW | SG_OP_ALIAS)) && v->n_in)
        v = v->in[0];
    return v;
}

/* What is backward, what follows from constants, and which variables the forward pass changes. */
static void look(work *w)
{
    for (int o = 0; o < w->n; o++) {
        const sg_value *v = sg_graph_at(w->g, w->order[o]);
        unsigned char *m = &w->marks[v->id], all = CONSTANT;
        if (w->fed[v->id])
            continue;
        for (int i = 0; i < v->n_in; i++) {
            *m |= w->marks[v->in[i]->id] & LATE;
            all &= w->marks[v->in[i]->id];
        }
        if (sg_plan_is_gradient(v))
            *m |= LATE;
        if (v->n_in ? all && !has_state(v) : v->op == &sg_op_const)
            *m |= CONSTANT;
        for (int i = 0; i < v->n_in && i < 32 && !(*m & LATE); i++)
            if (v->op->changes >> i & 1)
                w->marks[behind(v->in[i])->id] |= CHANGED;
    }
}

static bool stays(const work *w, const sg_value *v)
{
    if (w->fed[v->id] || v->n_in == 0 || (w->marks[v->id] & CONSTANT) || has_state(v))
        return true;
    for (int i = 0; i < v->n_in; i++) /* it may be another number later */
        if (w->marks[behind(v->in[i])->id] & CHANGED)
            return true;
    return false;
}

/* Marks what is kept. A view is where the value behind it is: with one the other is kept too. False if no name fits. */
static bool choose(work *w, const char *pattern, int n_fetches, sg_value *const *fetches)
{
    bool any = false;

    for (int i = 0; i < n_fetches; i++)
        if (!(w->marks[fetches[i]->id] & LATE))
            w->marks[fetches[i]->id] |= KEPT;
    for (int o = w->n - 1; o >= 0; o--) {
        const sg_value *v = sg_graph_at(w->g, w->order[o]);
        unsigned char *m = &w->marks[v->id];
        if (*m & LATE)
            continue;
        if (v->name && v->n_in && !w->fed[v->id] && sg_match(pattern, v->name)) {
            *m |= KEPT | NAMED;
            any = true;
        }
        if (stays(w, v))
            *m |= KEPT;
        else if ((*m & KEPT) && (v->op->flags & SG_OP_VIEW))
            w->marks[v->in[0]->id] |= KEPT;
        for (int i = 0; i < v->n_in && (*m & (NAMED | BEFORE)) && !w->fed[v->id]; i++)
            w->marks[v->in[i]->id] |= BEFORE;
    }
    for (int o = 0; o < w->n;
         o++) { /* what lies behind the last; views of it only where nothing else is held by them */
        const sg_value *v = sg_graph_at(w->g, w->order[o]);
        unsigned char *m = &w->marks[v->id];
        if (!(*m & (LATE | BEFORE | KEPT)) && (!(v->op->flags & SG_OP_VIEW) || (w->marks[v->in[0]->id] & KEPT)))
            *m |= KEPT;
    }
    return any;
}

static bool is_copied(const work *w, const sg_value *v)
{
    return !(w->marks[v->id] & (LATE | KEPT));
}

/* Builds v from kept values and other copies. */
static bool build(work *w, const sg_value *v)
{
    sg_value **in = malloc((size_t)v->n_in * sizeof *in);

    if (!in)
        return false;
    for (int i = 0; i < v->n_in; i++)
        in[i] = is_copied(w, v->in[i]) ? w->again[v->in[i]->id] : v->in[i];
    sg_scope(w->g, SG_SCOPE_AGAIN "%s", v->scope);
    w->again[v->id] = sg_node(w->g, v->op, v->n_in, in, &v->attrs);
    sg_scope(w->g, "%s", "");
    free(in);
    return true;
}

static sg_status rewrite(work *w, sg_error *err)
{
    for (int o = w->n - 1; o >= 0; o--) {
        const sg_value *v = sg_graph_at(w->g, w->order[o]);
        if (w->fed[v->id] || !(w->marks[v->id] & (LATE | WANTED)))
            continue;
        for (int i = 0; i < v->n_in; i++)
            if (is_copied(w, v->in[i]))
                w->marks[v->in[i]->id] |= WANTED;
    }
    for (int o = 0; o < w->n; o++) {
        sg_value *v = sg_graph_at(w->g, w->order[o]);
        if ((w->marks[v->id] & WANTED) && !build(w, v))
            return sg_fail(err, SG_ENOMEM, "out of memory for a plan");
        for (int i = 0; i < v->n_in && (w->marks[v->id] & LATE); i++)
            if (is_copied(w, v->in[i]))
                v->in[i] = w->again[v->in[i]->id];
    }
    return sg_graph_status(w->g, err);
}

sg_status sg_recompute(sg_graph **out, const sg_graph *g, const char *keep, int n_feeds, sg_value *const *feeds,
                       int n_fetches, sg_value *const *fetches, sg_error *err)
{
    const size_t size = (size_t)sg_graph_size(g) + 1;
    work w = {.order = malloc(size * sizeof *w.order),
              .marks = calloc(size, sizeof *w.marks),
              .fed = calloc(size, sizeof *w.fed),
              .again = calloc(size, sizeof *w.again)};
    sg_status status = SG_OK;

    *out = NULL;
    if (w.order && w.marks && w.fed && w.again) {
        for (int i = 0; i < n_feeds; i++)
            w.fed[feeds[i]->id] = true;
        w.n = sg_graph_order(g, n_fetches, fetches, w.fed, w.order);
    }
    if (!w.order || !w.marks || !w.fed || !w.again || w.n < 0)
        status = sg_fail(err, SG_ENOMEM, "out of memory for a plan");
    if (status == SG_OK)
        status = sg_graph_fork(&w.g, g, err);
    if (status == SG_OK) {
        look(&w);
        const bool any = choose(&w, keep, n_fetches, fetches);
        if (any)
            status = rewrite(&w, err);
        if (!any || status != SG_OK) {
            sg_graph_free(w.g);
            w.g = NULL;
        }
    }
    free(w.order);
    free(w.marks);
    free(w.fed);
    free(w.again);
    *out = w.g;
    return status;
}
