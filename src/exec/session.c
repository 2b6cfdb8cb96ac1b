/* Sessions: plans and runs kept by what was asked, for one thread. */
#include <stdlib.h>
#include <string.h>

#include "exec/exec_internal.h"

#define MAX_KEPT 64 /* plans; the one not used for longest goes first */

typedef struct kept {
    int n_feeds, n_fetches;
    sg_value **feeds, **fetches;
    int64_t extents[SG_PLAN_SYMBOLS]; /* most, for those that vary */
    unsigned varying;
    sg_plan *plan;
    sg_run *run;
    uint64_t used;
} kept;

struct sg_session {
    const sg_graph *g;
    sg_state *state;
    sg_exec_opts opts;
    struct {
        sg_dim value, most;
    } set[SG_PLAN_SYMBOLS]; /* by sg_session_extent; value -1: not set */
    kept entries[MAX_KEPT];
    int n_entries;
    kept *last;
    uint64_t clock;
    sg_trace *trace;
    bool guard;
};

sg_status sg_session_new(sg_session **out, const sg_graph *g, sg_state *state, sg_exec_opts opts, sg_error *err)
{
    SG_TRY(sg_graph_status(g, err));
    sg_session *s = calloc(1, sizeof *s);

    if (!s)
        return sg_fail(err, SG_ENOMEM, "out of memory for a session");
    s->g = g;
    s->state = state;
    s->opts = opts;
    for (int i = 0; i < SG_PLAN_SYMBOLS; i++)
        s->set[i].value = -1;
    *out = s;
    return SG_OK;
}

static void release(kept *k)
{
    sg_run_free(k->run);
    sg_plan_free(k->plan);
    free(k->feeds);
    free(k->fetches);
    memset(k, 0, sizeof *k);
}

void sg_session_free(sg_session *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_entries; i++)
        release(&s->entries[i]);
    free(s);
}

sg_status sg_session_extent(sg_session *s, const char *symbol, sg_dim value, sg_dim most, sg_error *err)
{
    const int i = sg_graph_symbol_index(s->g, symbol);

    if (i < 0)
        return sg_fail(err, SG_EARG, "this graph has no extent '%s'", symbol);
    if (value < 0 || (most > 0 && value > most))
        return sg_fail(err, SG_EARG, "extent '%s' is %lld, at most %lld", symbol, (long long)value, (long long)most);
    s->set[i].value = value;
    s->set[i].most = most;
    return SG_OK;
}

/* Extents that the feeds' shapes determine, or the error that they contradict each other. */
static sg_status solve(sg_session *s, int n_feeds, const sg_feed *feeds, int64_t *values, sg_error *err)
{
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    for (int i = 0; i < SG_PLAN_SYMBOLS; i++)
        values[i] = s->set[i].value;
    for (int f = 0; f < n_feeds; f++) {
        const sg_value *v = feeds[f].value;
        const sg_tensor *t = &feeds[f].tensor;
        bool fits = v && v->graph == s->g && t->n_dims == v->n_dims;
        for (int k = 0; fits && k < t->n_dims; k++) {
            const int symbol = sg_dim_symbol(s->g, v->dims[k]);
            if (symbol >= 0 && values[symbol] < 0)
                values[symbol] = t->dims[k];
            else if (v->dims[k] >= 0)
                fits = v->dims[k] == t->dims[k];
        }
        if (!v || v->graph != s->g)
            return sg_fail(err, SG_EARG, "feed %d is not a value of this graph", f);
        if (!fits)
            return sg_fail(err, SG_ESHAPE, "feed of %s is %s, wanted %s", sg_value_name(v),
                           sg_shape_text(found, t->n_dims, t->dims), sg_value_shape_text(v, wanted));
    }
    return SG_OK;
}

static bool asked_before(const kept *k, int n_feeds, const sg_feed *feeds, int n_fetches, sg_value *const *fetches,
                         const int64_t *extents, unsigned varying)
{
    if (k->n_feeds != n_feeds || k->n_fetches != n_fetches || k->varying != varying ||
        memcmp(k->extents, extents, sizeof k->extents) != 0 ||
        memcmp(k->fetches, fetches, (size_t)n_fetches * sizeof *fetches) != 0)
        return false;
    for (int f = 0; f < n_feeds; f++)
        if (k->feeds[f] != feeds[f].value)
            return false;
    return true;
}

static sg_status remember(sg_session *s, int n_feeds, const sg_feed *feeds, int n_fetches, sg_value *const *fetches,
                          const int64_t *extents, unsigned varying, kept **out, sg_error *err)
{
    kept *k = &s->entries[0];
    sg_extent_value values[SG_PLAN_SYMBOLS];
    int n_values = 0;

    if (s->n_entries < MAX_KEPT) {
        k = &s->entries[s->n_entries++];
    } else {
        for (int i = 1; i < MAX_KEPT; i++)
            if (s->entries[i].used < k->used)
                k = &s->entries[i];
        if (s->last == k)
            s->last = NULL;
        release(k);
    }
    k->feeds = malloc((size_t)SG_MAX(n_feeds, 1) * sizeof *k->feeds);
    k->fetches = malloc((size_t)SG_MAX(n_fetches, 1) * sizeof *k->fetches);
    sg_status status = SG_ENOMEM;
    if (!k->feeds || !k->fetches) {
        sg_fail(err, SG_ENOMEM, "out of memory for a plan");
        goto failed;
    }
    for (int f = 0; f < n_feeds; f++)
        k->feeds[f] = feeds[f].value;
    memcpy(k->fetches, fetches, (size_t)n_fetches * sizeof *fetches);
    memcpy(k->extents, extents, sizeof k->extents);
    k->varying = varying;
    k->n_feeds = n_feeds;
    k->n_fetches = n_fetches;
    for (int i = 0; i < sg_graph_n_symbols(s->g); i++)
        if (extents[i] >= 0)
            values[n_values++] = (sg_extent_value){sg_graph_symbol(s->g, i), extents[i], varying >> i & 1};
    sg_exec_opts opts = s->opts;
    opts.fuse &= !s->guard;
    status = sg_plan_new(&k->plan, s->g, n_feeds, k->feeds, n_fetches, k->fetches, n_values, values, opts, err);
    if (status != SG_OK)
        goto failed;
    *out = k;
    return SG_OK;

failed:
    release(k);
    *k = s->entries[s->n_entries - 1]; /* keep the list dense */
    if (s->last == &s->entries[s->n_entries - 1])
        s->last = k;
    memset(&s->entries[--s->n_entries], 0, sizeof *k);
    return status;
}

/* The plan for what is asked, from those that are kept or new. values: the extents of this run; varying: those that the
 * plan leaves open. */
static sg_status find_plan(sg_session *s, int n_feeds, const sg_feed *feeds, int n_fetches, sg_value *const *fetches,
                           int64_t *values, unsigned *varying, kept **out, sg_error *err)
{
    int64_t extents[SG_PLAN_SYMBOLS];
    kept *k = NULL;

    *varying = 0;
    SG_TRY(solve(s, n_feeds, feeds, values, err));
    for (int i = 0; i < SG_PLAN_SYMBOLS; i++) {
        extents[i] = values[i];
        if (s->set[i].value >= 0 && s->set[i].most > 0) {
            extents[i] = s->set[i].most;
            *varying |= 1u << i;
        }
    }
    if (s->last && asked_before(s->last, n_feeds, feeds, n_fetches, fetches, extents, *varying))
        k = s->last;
    for (int i = 0; !k && i < s->n_entries; i++)
        if (asked_before(&s->entries[i], n_feeds, feeds, n_fetches, fetches, extents, *varying))
            k = &s->entries[i];
    if (!k)
        SG_TRY(remember(s, n_feeds, feeds, n_fetches, fetches, extents, *varying, &k, err));
    k->used = ++s->clock;
    *out = k;
    return SG_OK;
}

sg_status sg_session_run(sg_session *s, int n_feeds, const sg_feed *feeds, int n_fetches, sg_value *const *fetches,
                         sg_tensor *out, sg_error *err)
{
    int64_t values[SG_PLAN_SYMBOLS];
    unsigned varying;
    kept *k;

    SG_TRY(find_plan(s, n_feeds, feeds, n_fetches, fetches, values, &varying, &k, err));
    if (!k->run)
        SG_TRY(sg_run_new(&k->run, k->plan, s->state, err));
    s->last = k;
    for (int i = 0; varying && i < sg_graph_n_symbols(s->g); i++)
        if (varying >> i & 1)
            SG_TRY(sg_run_extent(k->run, sg_graph_symbol(s->g, i), values[i], err));
    for (int f = 0; f < n_feeds; f++)
        SG_TRY(sg_run_feed(k->run, f, &feeds[f].tensor, err));
    sg_run_trace(k->run, s->trace);
    sg_run_guard(k->run, s->guard);
    SG_TRY(sg_run_execute(k->run, err));
    for (int i = 0; i < n_fetches; i++) {
        SG_TRY(sg_run_land(k->run, i, err));
        out[i] = *sg_run_fetch(k->run, i);
    }
    return SG_OK;
}

sg_status sg_session_prepare(sg_session *s, int n_feeds, const sg_feed *feeds, int n_fetches, sg_value *const *fetches,
                             const sg_plan **out, sg_error *err)
{
    int64_t values[SG_PLAN_SYMBOLS];
    unsigned varying;
    kept *k;

    SG_TRY(find_plan(s, n_feeds, feeds, n_fetches, fetches, values, &varying, &k, err));
    *out = k->plan;
    return SG_OK;
}

const sg_plan *sg_session_plan(const sg_session *s)
{
    return s->last ? s->last->plan : NULL;
}

size_t sg_session_bytes(const sg_session *s)
{
    size_t bytes = 0, packed = 0;

    for (int i = 0; i < s->n_entries; i++)
        if (s->entries[i].run) {
            bytes += sg_plan_bytes(s->entries[i].plan);
            packed = SG_MAX(packed, sg_plan_packed_bytes(s->entries[i].plan)); /* plans share them */
        }
    return bytes + packed;
}

void sg_session_trace(sg_session *s, sg_trace *trace)
{
    s->trace = trace;
}

void sg_session_guard(sg_session *s, bool on)
{
    if (s->guard == on)
        return;
    s->guard = on;
    /* What lies within a fused step cannot be searched: plans of the other kind are no use. */
    for (int i = 0; i < s->n_entries; i++)
        release(&s->entries[i]);
    s->n_entries = 0;
    s->last = NULL;
}
