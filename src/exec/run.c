/* Running a plan: one block of memory, views into it, a loop over steps.
 *
 * All addresses are known before the first step, and recomputed only for what can move: values that hang on a feed, or
 * on an extent that varies. */
#include <stdlib.h>
#include <string.h>

#include "exec/device.h"
#include "exec/exec_internal.h"
#include "ops/copy.h"

typedef struct run_step {
    sg_kernel_fn run;
    sg_kernel_args k;
    const sg_view **in;
    sg_view **outs;
} run_step;

struct sg_run {
    const sg_plan *plan;
    sg_state *state;
    unsigned generation; /* of the state, when addresses were taken */
    sg_arena *arena;
    unsigned char *block;
    sg_view *views;
    int64_t **attrs; /* of varying values: this run's own */
    run_step *steps;
    const sg_tensor **fed; /* NULL until fed */
    sg_tensor *feeds;
    sg_tensor *fetched;
    int64_t symbols[SG_PLAN_SYMBOLS];
    bool all_moved, some_moved, guard;
    sg_trace *trace;
    void (*observe)(void *context, int fetch, const sg_tensor *value); /* NULL: nobody */
    void *observer;
    sg_away *away; /* what it has on a device; NULL: nothing */
    int *by_step; /* fetches, those first that are final first; sorted once somebody observes */
};

sg_status sg_run_new(sg_run **out, const sg_plan *plan, sg_state *state, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_run *r = arena ? sg_arena_alloc(arena, sizeof *r) : NULL;

    if (!r)
        goto out_of_memory;
    r->arena = arena;
    r->plan = plan;
    r->state = state;
    r->all_moved = true;
    memcpy(r->symbols, plan->most, sizeof r->symbols);
    if (plan->device) {
        const sg_status status = sg_away_new(&r->away, arena, plan, &r->block, err);
        if (status != SG_OK) {
            sg_arena_free(arena);
            return status;
        }
    } else {
        r->block = aligned_alloc(SG_BLOCK_ALIGN, plan->block_bytes + SG_BLOCK_ALIGN);
        if (!r->block || sg_arena_defer(arena, free, r->block) != SG_OK)
            goto out_of_memory;
    }
    r->views = sg_arena_array(arena, (size_t)SG_MAX(plan->n_values, 1), sizeof *r->views);
    r->attrs = sg_arena_array(arena, (size_t)SG_MAX(plan->n_values, 1), sizeof *r->attrs);
    r->steps = sg_arena_array(arena, (size_t)SG_MAX(plan->n_steps, 1), sizeof *r->steps);
    r->fed = sg_arena_array(arena, (size_t)plan->n_feeds + 1, sizeof *r->fed);
    r->feeds = sg_arena_array(arena, (size_t)plan->n_feeds + 1, sizeof *r->feeds);
    r->fetched = sg_arena_array(arena, (size_t)plan->n_fetches + 1, sizeof *r->fetched);
    r->by_step = sg_arena_array(arena, (size_t)plan->n_fetches + 1, sizeof *r->by_step);
    if (!r->views || !r->attrs || !r->steps || !r->fed || !r->feeds || !r->fetched || !r->by_step)
        goto out_of_memory;
    for (int i = 0; i < plan->n_fetches; i++)
        r->by_step[i] = i;
    for (int a = 0; a < plan->n_values; a++) {
        const sg_plan_value *x = &plan->values[a];
        r->views[a] = x->view;
        if (x->varies && x->v->attrs.n_i &&
            !(r->attrs[a] = sg_arena_array(arena, (size_t)x->v->attrs.n_i, sizeof(int64_t))))
            goto out_of_memory;
    }
    for (int s = 0; s < plan->n_steps; s++) {
        const sg_plan_step *step = &plan->steps[s];
        const sg_plan_value *x = &plan->values[step->value];
        run_step *own = &r->steps[s];
        own->in = sg_arena_array(arena, (size_t)SG_MAX(step->n_in, 1), sizeof *own->in);
        own->outs = sg_arena_array(arena, (size_t)step->n_out, sizeof *own->outs);
        if (!own->in || !own->outs)
            goto out_of_memory;
        for (int i = 0; i < step->n_out; i++)
            own->outs[i] = &r->views[step->outs[i]];
        for (int i = 0; i < step->n_in; i++)
            own->in[i] = &r->views[step->in[i]];
        own->run = step->kernel.run;
        own->k = (sg_kernel_args){.op = x->v->op,
                                  .n_in = step->n_in,
                                  .in = own->in,
                                  .out = &r->views[step->value],
                                  .n_out = step->n_out,
                                  .outs = own->outs,
                                  .i = r->attrs[step->value] ? r->attrs[step->value] : x->attr_i,
                                  .f = x->v->attrs.f,
                                  .scratch = r->block + step->scratch_offset,
                                  .n_threads = plan->opts.n_threads,
                                  .self = step->kernel.self};
        if (plan->device && !step->on_device && !sg_away_shadow(r->away, step, &own->run, &own->k))
            goto out_of_memory;
    }
    *out = r;
    return SG_OK;

out_of_memory:
    sg_arena_free(arena);
    return sg_fail(err, SG_ENOMEM, "out of memory for a run (%zu bytes of values)", plan->block_bytes);
}

void sg_run_free(sg_run *run)
{
    if (run)
        sg_arena_free(run->arena);
}

sg_status sg_run_feed(sg_run *run, int i, const sg_tensor *t, sg_error *err)
{
    if (i < 0 || i >= run->plan->n_feeds)
        return sg_fail(err, SG_EARG, "feed %d of %d", i, run->plan->n_feeds);
    const sg_value *v = run->plan->feed_of[i];
    if (t->dtype != sg_value_dtype(v))
        return sg_fail(err, SG_ETYPE, "feed of %s is %s, wanted %s", sg_value_name(v), sg_dtype_name(t->dtype),
                       sg_dtype_name(sg_value_dtype(v)));
    const sg_tensor *was = run->fed[i];
    if (!was || was->data != t->data || was->n_dims != t->n_dims ||
        memcmp(was->dims, t->dims, (size_t)t->n_dims * sizeof t->dims[0]) != 0)
        run->some_moved = true;
    run->feeds[i] = *t;
    run->fed[i] = &run->feeds[i];
    return SG_OK;
}

sg_status sg_run_extent(sg_run *run, const char *symbol, sg_dim value, sg_error *err)
{
    const int s = sg_graph_symbol_index(run->plan->extents, symbol);

    if (s < 0 || run->symbols[s] == value)
        return SG_OK;
    if (!(run->plan->varying >> s & 1) || value < 0 || value > run->plan->most[s])
        return sg_fail(err, SG_EARG, "extent '%s' is %lld, the plan holds for %s%lld", symbol, (long long)value,
                       run->plan->varying >> s & 1 ? "0 to " : "", (long long)run->plan->most[s]);
    run->symbols[s] = value;
    run->some_moved = true;
    return SG_OK;
}

/* The address (and for varying values the extents) of value a. */
static sg_status settle(sg_run *r, int a, sg_error *err)
{
    const sg_plan *p = r->plan;
    const sg_plan_value *x = &p->values[a];
    sg_view *view = &r->views[a];
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    if (x->varies) {
        sg_resolve_dims(p->extents, x->v, r->symbols, view->dims);
        if (r->attrs[a])
            sg_resolve_attrs(p->extents, x->v, r->symbols, r->attrs[a]);
        sg_view_row_major(view);
    }
    switch (x->home) {
    case SG_HOME_FEED: {
        const sg_tensor *t = r->fed[x->at];
        if (!t)
            return sg_fail(err, SG_EARG, "%s was not fed", sg_value_name(x->v));
        if (t->n_dims != view->n_dims || memcmp(t->dims, view->dims, (size_t)t->n_dims * sizeof t->dims[0]) != 0)
            return sg_fail(err, SG_ESHAPE, "feed of %s is %s, wanted %s", sg_value_name(x->v),
                           sg_shape_text(found, t->n_dims, t->dims), sg_shape_text(wanted, view->n_dims, view->dims));
        view->data = r->away ? sg_away_at(r->away, a) : t->data;
        break;
    }
    case SG_HOME_CONST:
        memcpy(&view->data, &x->data, sizeof view->data);
        if (r->away)
            view->data = sg_away_at(r->away, a);
        break;
    case SG_HOME_VARIABLE:
        if (!r->state || x->at >= r->state->n_slots || !r->state->slots[x->at].tensor.data)
            return sg_fail(err, SG_EARG, "variable %s has no numbers yet (bind it or start the state)",
                           sg_value_name(x->v));
        SG_TRY(sg_state_place(r->state, x->at, p->device, false, &view->data, err));
        break;
    case SG_HOME_BLOCK:
        if (x->root != a) { /* a variable after a step changed it */
            if (r->state && p->values[x->root].home == SG_HOME_VARIABLE && r->state->slots[p->values[x->root].at].bound)
                return sg_fail(err, SG_EARG, "%s would store into %s, which is bound to read-only memory",
                               x->v->op->name, sg_value_name(p->values[x->root].v));
            view->data = r->views[x->root].data;
        } else {
            view->data = r->block + x->offset;
        }
        break;
    case SG_HOME_INSIDE:
        break;
    case SG_HOME_VIEW: {
        if (p->values[x->root].home == SG_HOME_INSIDE)
            break;
        const sg_view *in[1] = {&r->views[x->at]};
        const sg_kernel_args k = {.op = x->v->op,
                                  .n_in = 1,
                                  .in = in,
                                  .out = view,
                                  .i = r->attrs[a] ? r->attrs[a] : x->attr_i,
                                  .f = x->v->attrs.f,
                                  .n_threads = 1};
        if (!x->v->op->view(&k)) {
            sg_fail(err, SG_ESHAPE, "%s does not fit its input", x->v->op->name);
            return x->v->op->run ? (x->v->op->run(&k, err) == SG_OK ? SG_ESHAPE
                                    : err                           ? err->status
                                                                    : SG_ESHAPE)
                                 : SG_ESHAPE;
        }
        break;
    }
    }
    return SG_OK;
}

/* Bound variables are nobody's to change. */
static void find_fixed(sg_run *r)
{
    const sg_plan *p = r->plan;

    for (int s = 0; s < p->n_steps; s++) {
        const sg_plan_step *step = &p->steps[s];
        sg_kernel_args *k = &r->steps[s].k;
        k->fixed = 0;
        k->packs = r->state->packs;
        for (int i = 0; i < step->n_in && i < 32; i++) {
            const sg_plan_value *root = &p->values[p->values[step->in[i]].root];
            if (root->home == SG_HOME_VARIABLE && r->state->slots[root->at].bound && !r->away)
                k->fixed |= 1u << i;
        }
    }
}

static sg_status settle_all(sg_run *r, sg_error *err)
{
    const sg_plan *p = r->plan;
    const bool all = r->all_moved || (r->state && r->generation != r->state->generation);

    for (int a = 0; a < p->n_values; a++)
        if (all || p->values[a].moves)
            SG_TRY(settle(r, a, err));
    for (int i = 0; i < p->n_fetches; i++) {
        const sg_view *v = &r->views[p->fetches[i]];
        r->fetched[i] = sg_tensor_of(v->dtype, v->n_dims, v->dims, r->away ? NULL : v->data);
    }
    if (r->state && (all || r->generation != r->state->generation))
        find_fixed(r);
    r->generation = r->state ? r->state->generation : 0;
    r->all_moved = r->some_moved = false;
    return SG_OK;
}

/* The first number of a float value that is NaN: its index, or -1. (Infinities are what masks are made of.) */
static sg_status first_nan(sg_run *r, const sg_view *v, sg_dim *bad, sg_error *err)
{
    sg_tensor t = sg_tensor_of(v->dtype, v->n_dims, v->dims, v->data);

    *bad = -1;
    if (!sg_dtype_is_float(v->dtype))
        return SG_OK;
    if (r->away)
        SG_TRY(sg_away_look(r->away, &t, err));
    for (sg_dim i = 0; i < sg_tensor_count(&t) && *bad < 0; i++) {
        const double x = sg_tensor_get(&t, i);
        if (x != x)
            *bad = i;
    }
    return SG_OK;
}

static sg_status watched_step(sg_run *r, int s, sg_error *err)
{
    const sg_plan_step *step = &r->plan->steps[s];
    run_step *own = &r->steps[s];
    const double start = sg_now();

    SG_TRY(own->run(&own->k, err));
    if (r->trace && r->away)
        SG_TRY(r->plan->device->finish(r->plan->device, err));
    if (r->trace) {
        double bytes = 0;
        for (int i = -step->n_out; i < step->n_in; i++) {
            const sg_view *v = i < 0 ? own->outs[-i - 1] : own->in[i];
            double n = (double)sg_dtype_block_bytes(v->dtype) / (double)sg_dtype_block(v->dtype);
            for (int k = 0; k < v->n_dims; k++)
                n *= v->strides[k] == 0 ? 1.0 : (double)v->dims[k];
            bytes += n;
        }
        sg_trace_add(r->trace, step->name, step->op, step->backend, start, sg_now(), own->k.out, bytes);
    }
    for (int i = 0; i < step->n_out && r->guard; i++) {
        sg_dim bad;
        SG_TRY(first_nan(r, own->outs[i], &bad, err));
        if (bad >= 0)
            return sg_fail(err, SG_ENUMERIC, "the first NaN is in %s, element %lld (step %d, %s kernel)",
                           step->n_out == 1 ? step->name : sg_value_name(r->plan->values[step->outs[i]].v),
                           (long long)bad, s, step->backend);
    }
    return SG_OK;
}

/* The step after which fetch i is final; -1: before the first. */
static int final_step(const sg_plan *p, int i)
{
    int a = p->fetches[i];
    while (p->values[a].home == SG_HOME_VIEW)
        a = p->values[a].at;
    return p->values[a].step;
}

void sg_run_observe(sg_run *run, void (*fn)(void *context, int fetch, const sg_tensor *value), void *context)
{
    const sg_plan *p = run->plan;
    run->observe = fn;
    run->observer = context;
    for (int i = 1; fn && i < p->n_fetches;
         i++) { /* insertion: nearly sorted as a rule, and sorted from the second time on */
        const int fetch = run->by_step[i], step = final_step(p, fetch);
        int at = i;
        for (; at > 0 && final_step(p, run->by_step[at - 1]) > step; at--)
            run->by_step[at] = run->by_step[at - 1];
        run->by_step[at] = fetch;
    }
}

/* Tells of the fetches that are final after step s, *told being those told before. */
static sg_status tell(sg_run *r, int s, int *told, sg_error *err)
{
    for (; *told < r->plan->n_fetches && final_step(r->plan, r->by_step[*told]) <= s; (*told)++) {
        SG_TRY(sg_run_land(r, r->by_step[*told], err));
        r->observe(r->observer, r->by_step[*told], &r->fetched[r->by_step[*told]]);
    }
    return SG_OK;
}

/* Has the newest numbers of variables where this run works on them, of feeds too. */
static sg_status bring(sg_run *r, sg_error *err)
{
    const sg_plan *p = r->plan;

    for (int a = 0; a < p->n_values && r->state; a++) {
        const sg_plan_value *x = &p->values[a];
        void *at;
        if (x->home == SG_HOME_VARIABLE && x->at < r->state->n_slots && r->state->slots[x->at].tensor.data)
            SG_TRY(sg_state_place(r->state, x->at, p->device, x->changes, &at, err));
    }
    for (int i = 0; i < p->n_fetches && r->away; i++)
        r->fetched[i].data = NULL;
    return SG_OK;
}

static sg_status come_home(sg_run *r, sg_error *err)
{
    const sg_plan *p = r->plan;

    for (int i = 0; i < p->n_fetches; i++) /* variables are many, and brought when somebody reads them */
        if (p->values[p->values[p->fetches[i]].root].home != SG_HOME_VARIABLE)
            SG_TRY(sg_run_land(r, i, err));
    return SG_OK;
}

sg_status sg_run_execute(sg_run *run, sg_error *err)
{
    const int n = run->plan->n_steps;
    int told = 0;

    if (run->away || (run->state && run->state->n_mirrors))
        SG_TRY(bring(run, err));
    if (run->some_moved || run->all_moved || (run->state && run->generation != run->state->generation))
        SG_TRY(settle_all(run, err));
    if (run->away)
        SG_TRY(sg_away_feed(run->away, run->fed, err));
    if (run->trace || run->guard || run->observe) {
        for (int s = 0; s < n; s++) {
            if (run->observe)
                SG_TRY(tell(run, s - 1, &told, err));
            SG_TRY(watched_step(run, s, err));
        }
        if (run->observe)
            SG_TRY(tell(run, n, &told, err));
        return run->away ? come_home(run, err) : SG_OK;
    }
    for (int s = 0; s < n; s++)
        SG_TRY(run->steps[s].run(&run->steps[s].k, err));
    return run->away ? come_home(run, err) : SG_OK;
}

sg_status sg_run_land(const sg_run *run, int i, sg_error *err)
{
    const sg_plan *p = run->plan;
    const sg_plan_value *root = &p->values[p->values[p->fetches[i]].root];
    const char *from = run->views[p->fetches[i]].data;
    void *here;

    if (!run->away || run->fetched[i].data)
        return SG_OK;
    if (root->home != SG_HOME_VARIABLE)
        return sg_away_land(run->away, i, from, &run->fetched[i], err);
    const struct sg_slot *slot = &run->state->slots[root->at];
    const size_t offset = slot->mirror ? (size_t)(from - (const char *)slot->mirror) : 0;
    SG_TRY(sg_state_place(run->state, root->at, NULL, false, &here, err));
    run->fetched[i].data = (char *)here + offset;
    return SG_OK;
}

const sg_tensor *sg_run_fetch(const sg_run *run, int i)
{
    (void)sg_run_land(run, i, NULL); /* its data are NULL where that fails */
    return &run->fetched[i];
}

void sg_run_trace(sg_run *run, sg_trace *trace)
{
    run->trace = trace;
}

void sg_run_guard(sg_run *run, bool on)
{
    run->guard = on;
}
