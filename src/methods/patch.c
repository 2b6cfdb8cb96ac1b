/* Both runs once, as a batch of two; then for each site batches of places (or all at once by the gradient). A site
 * inside a block is fed together with what enters that block, so that nothing before the block runs; one that is no
 * part of a block is fed alone. */
#include "sightglass/patch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/ops.h"
#include "sightglass/statistics.h"

typedef struct site {
    const char *name;
    char entry[48]; /* what enters its block; "" where there is none */
    sg_value *value;
    int t, h;                         /* axes of position and head; h is -1 where there is none */
    sg_tensor base, source, entering; /* one row each, copied */
} site;

typedef struct work {
    const sg_patch_job *job;
    sg_arena *arena; /* of the table, and of what is only needed meanwhile */
    sg_arena *room;
    sg_glass *glass;
    sg_value *metric;
    site *sites;
    sg_dim *positions;
    int n_positions, n_heads;
    bool by_gradient; /* no place is run: all are estimated */
    const int32_t **rows;
    sg_dim *lengths;
    double *values; /* [sites,positions,heads] */
    double base, source;
} work;

typedef struct owned {
    sg_patch_table face;
    sg_arena *arena;
} owned;

sg_patch_job sg_patch_defaults(void)
{
    return (sg_patch_job){.metric = {.position = -1}, .batch = 64, .exec = sg_exec_defaults()};
}

/* ---- the metric ---- */

static sg_status token_check(const work *w, int32_t token, sg_error *err)
{
    const sg_dim n = sg_model_get_info(w->job->model)->n_vocab;
    return token >= 0 && token < n
               ? SG_OK
               : sg_fail(err, SG_EARG, "patch: token %" PRId32 " is outside the vocabulary 0 to %" PRId64, token,
                         n - 1);
}

/* Elements of v [batch,time,...] at a position, [batch,n] */
static sg_status at_position(const work *w, sg_value *v, sg_value **out, sg_error *err)
{
    sg_graph *g = sg_glass_graph(w->glass);
    const sg_dim time = sg_value_dim(v, 1), n = w->job->n_tokens, p = w->job->metric.position;
    const int n_dims = sg_value_n_dims(v);
    char shape[SG_SHAPE_TEXT];
    sg_dim count = 1;
    if (strncmp(sg_value_axes(v), "bt", 2) != 0)
        return sg_fail(err, SG_ESHAPE, "patch: the metric's site is %s, wanted rows and positions first",
                       sg_value_shape_text(v, shape));
    if (p >= n || p < -n)
        return sg_fail(err, SG_EARG, "patch: the metric is of position %" PRId64 " of %" PRId64, p, n);
    for (int k = 2; k < n_dims; k++)
        count *= sg_value_dim(v, k);
    const sg_dim from = p < 0 ? sg_dim_sub(g, time, -p) : p;
    sg_value *x = sg_slice(g, v, 1, from, sg_dim_add(g, from, 1), 1);
    *out = sg_reshape(g, x, 2, (sg_dim[]){sg_value_dim(v, 0), count});
    return sg_graph_status(g, err);
}

static sg_value *element(sg_graph *g, sg_value *x, sg_dim i)
{
    return sg_squeeze(g, sg_slice(g, x, 1, i, i + 1, 1), 1);
}

static sg_status build_metric(work *w, sg_error *err)
{
    const sg_patch_metric *m = &w->job->metric;
    sg_graph *g = sg_glass_graph(w->glass);
    sg_value *v, *x = NULL;
    if (m->kind == SG_METRIC_BUILT) {
        w->metric = m->build(g, m->context);
        SG_TRY(sg_graph_status(g, err));
        sg_value *tokens = NULL;
        SG_TRY(sg_glass_find(w->glass, "tokens", &tokens, err));
        if (sg_value_n_dims(w->metric) != 1 || sg_value_dim(w->metric, 0) != sg_value_dim(tokens, 0))
            return sg_fail(err, SG_ESHAPE, "patch: the metric that was built has not one number for each row");
        return SG_OK;
    }
    SG_TRY(sg_glass_find(w->glass, m->kind == SG_METRIC_VALUE && m->site ? m->site : "logits", &v, err));
    if (m->kind != SG_METRIC_VALUE)
        SG_TRY(token_check(w, m->token, err));
    if (m->kind == SG_METRIC_LOGIT_DIFF)
        SG_TRY(token_check(w, m->other, err));
    SG_TRY(at_position(w, v, &x, err));
    switch (m->kind) {
    case SG_METRIC_LOGIT_DIFF:
        w->metric = sg_sub(g, element(g, x, m->token), element(g, x, m->other));
        break;
    case SG_METRIC_PROB:
        w->metric = element(g, sg_softmax(g, x, -1), m->token);
        break;
    case SG_METRIC_LOGPROB:
        w->metric = element(g, sg_log_softmax(g, x, -1), m->token);
        break;
    case SG_METRIC_VALUE:
        if (m->index < 0 || m->index >= sg_value_dim(x, 1))
            return sg_fail(err, SG_EARG, "patch: the metric is element %" PRId64 " of %" PRId64, m->index,
                           sg_value_dim(x, 1));
        w->metric = element(g, x, m->index);
        break;
    default:
        w->metric = element(g, x, m->token);
    }
    return sg_graph_status(g, err);
}

/* ---- sites ---- */

static sg_status find_site(work *w, int i, sg_error *err)
{
    site *s = &w->sites[i];
    char shape[SG_SHAPE_TEXT];
    int layer;
    s->name = w->job->sites[i];
    SG_TRY(sg_glass_find(w->glass, s->name, &s->value, err));
    const char *axes = sg_value_axes(s->value), *t = strchr(axes, 't'), *h = strchr(axes, 'h');
    if (axes[0] != 'b' || !t || !sg_dtype_is_float(sg_value_dtype(s->value)))
        return sg_fail(err, SG_ESHAPE, "patch: %s is %s, wanted floats by row and position", s->name,
                       sg_value_shape_text(s->value, shape));
    s->t = (int)(t - axes);
    s->h = h ? (int)(h - axes) : -1;
    if (w->job->by_head) {
        const sg_dim heads = h ? sg_value_dim(s->value, s->h) : 0;
        if (heads < 1 || (i > 0 && heads != w->n_heads))
            return sg_fail(err, SG_ESHAPE, "patch: %s has %" PRId64 " heads%s", s->name, heads,
                           i > 0 ? ", other sites have not" : "");
        w->n_heads = (int)heads;
    }
    if (sscanf(s->name, "blocks.%d.", &layer) == 1) {
        snprintf(s->entry, sizeof s->entry, "blocks.%d.hook_resid_pre", layer);
        if (strcmp(s->entry, s->name) == 0 || !sg_graph_find(sg_glass_graph(w->glass), s->entry))
            s->entry[0] = 0;
    }
    return SG_OK;
}

/* Row r of a fetched value, copied. */
static sg_status take_row(work *w, const sg_tensor *from, sg_dim r, sg_tensor *to, sg_error *err)
{
    *to = *from;
    to->dims[0] = 1;
    const size_t bytes = sg_tensor_bytes(to);
    to->data = sg_arena_alloc(w->room, SG_MAX(bytes, 1));
    if (!to->data)
        return sg_fail(err, SG_ENOMEM, "patch: out of memory");
    memcpy(to->data, (const char *)from->data + (size_t)r * bytes, bytes);
    return SG_OK;
}

static sg_status run_both(work *w, sg_error *err)
{
    const sg_patch_job *j = w->job;
    const int32_t *rows[2] = {j->base, j->source};
    const sg_rows both = {.n_rows = 2, .tokens = rows, .lengths = w->lengths};
    const size_t most = 2 * (size_t)j->n_sites + 1;
    sg_value **fetches = sg_arena_array(w->room, most, sizeof *fetches);
    sg_tensor *out = sg_arena_array(w->room, most, sizeof *out);
    int n = 0;
    if (!fetches || !out)
        return sg_fail(err, SG_ENOMEM, "patch: out of memory");
    fetches[n++] = w->metric;
    for (int i = 0; i < j->n_sites; i++) {
        fetches[n++] = w->sites[i].value;
        if (w->sites[i].entry[0])
            SG_TRY(sg_glass_find(w->glass, w->sites[i].entry, &fetches[n++], err));
    }
    SG_TRY(sg_glass_run(w->glass, &both, 0, NULL, n, fetches, out, err));
    w->base = sg_tensor_get(&out[0], 0);
    w->source = sg_tensor_get(&out[0], 1);
    n = 1;
    for (int i = 0; i < j->n_sites; i++) {
        site *s = &w->sites[i];
        SG_TRY(take_row(w, &out[n], 0, &s->base, err));
        SG_TRY(take_row(w, &out[n++], 1, &s->source, err));
        if (s->entry[0])
            SG_TRY(take_row(w, &out[n++], 0, &s->entering, err));
    }
    return SG_OK;
}

/* ---- places ---- */

/* The base's row with the source's numbers at a position and head (-1: all). */
static void put_place(char *to, const site *s, sg_dim position, sg_dim head)
{
    const sg_tensor *t = &s->base;
    const size_t size = sg_dtype_bytes(t->dtype);
    sg_dim inner = 1, inner_of[SG_MAX_DIMS];
    for (int k = t->n_dims - 1; k >= 0; k--) {
        inner_of[k] = inner;
        inner *= t->dims[k];
    }
    memcpy(to, t->data, sg_tensor_bytes(t));
    for (sg_dim i = 0; i < inner; i++) {
        const bool here =
            i / inner_of[s->t] % t->dims[s->t] == position && (head < 0 || i / inner_of[s->h] % t->dims[s->h] == head);
        if (here)
            memcpy(to + (size_t)i * size, (const char *)s->source.data + (size_t)i * size, size);
    }
}

static sg_status run_site(work *w, int i, sg_error *err)
{
    const sg_patch_job *j = w->job;
    const site *s = &w->sites[i];
    const sg_dim n_places = (sg_dim)w->n_positions * w->n_heads, most = SG_MIN(j->batch, n_places);
    const size_t bytes = sg_tensor_bytes(&s->base), entry_bytes = s->entry[0] ? sg_tensor_bytes(&s->entering) : 0;
    sg_arena *arena = sg_arena_new();
    char *values = arena ? sg_arena_array(arena, (size_t)most, bytes) : NULL;
    char *entering = arena ? sg_arena_array(arena, (size_t)most, SG_MAX(entry_bytes, 1)) : NULL;
    sg_status status = values && entering ? SG_OK : sg_fail(err, SG_ENOMEM, "patch: out of memory for %s", s->name);

    for (sg_dim first = 0, n; first < n_places && status == SG_OK; first += n) {
        sg_named_feed feeds[2] = {{s->name, s->base}, {s->entry, s->entering}};
        sg_tensor out;
        n = SG_MIN(most, n_places - first);
        if (j->cancel && *j->cancel) {
            status = sg_fail(err, SG_ECANCELLED, "stopped at site %d of %d", i, j->n_sites);
            break;
        }
        for (sg_dim p = 0; p < n; p++) {
            const sg_dim place = first + p;
            put_place(values + (size_t)p * bytes, s, w->positions[place / w->n_heads],
                      j->by_head ? place % w->n_heads : -1);
            if (entry_bytes)
                memcpy(entering + (size_t)p * entry_bytes, s->entering.data, entry_bytes);
        }
        feeds[0].tensor.data = values;
        feeds[1].tensor.data = entering;
        feeds[0].tensor.dims[0] = feeds[1].tensor.dims[0] = n;
        const sg_rows rows = {.n_rows = (int)n, .tokens = w->rows, .lengths = w->lengths};
        status = sg_glass_run(w->glass, &rows, s->entry[0] ? 2 : 1, feeds, 1, &w->metric, &out, err);
        for (sg_dim p = 0; p < n && status == SG_OK; p++)
            w->values[i * n_places + first + p] = sg_tensor_get(&out, p);
    }
    sg_arena_free(arena);
    if (status == SG_OK && j->progress)
        j->progress(j->context, (double)(i + 1) / j->n_sites);
    return status;
}

/* ---- by the gradient ---- */

/* Sum over a place's numbers of (source - base) times the metric's gradient at the base. */
static double estimate_place(const site *s, const sg_tensor *gradient, sg_dim position, sg_dim head)
{
    const sg_tensor *t = &s->base;
    sg_dim inner = 1, inner_of[SG_MAX_DIMS];
    double sum = 0;
    for (int k = t->n_dims - 1; k >= 0; k--) {
        inner_of[k] = inner;
        inner *= t->dims[k];
    }
    for (sg_dim i = 0; i < inner; i++)
        if (i / inner_of[s->t] % t->dims[s->t] == position && (head < 0 || i / inner_of[s->h] % t->dims[s->h] == head))
            sum += (sg_tensor_get(&s->source, i) - sg_tensor_get(t, i)) * sg_tensor_get(gradient, i);
    return sum;
}

/* Both rows, and the gradient by all sites, in one run. */
static sg_status estimate(work *w, sg_error *err)
{
    const sg_patch_job *j = w->job;
    const size_t n = (size_t)j->n_sites;
    const int32_t *rows[2] = {j->base, j->source};
    const sg_rows both = {.n_rows = 2, .tokens = rows, .lengths = w->lengths};
    sg_value **fetches = sg_arena_array(w->room, 2 * n + 1, sizeof *fetches);
    sg_value **sites = sg_arena_array(w->room, n, sizeof *sites);
    sg_tensor *out = sg_arena_array(w->room, 2 * n + 1, sizeof *out);
    if (!fetches || !sites || !out)
        return sg_fail(err, SG_ENOMEM, "patch: out of memory");
    if (j->cancel && *j->cancel)
        return sg_fail(err, SG_ECANCELLED, "stopped before the estimate");
    for (size_t i = 0; i < n; i++)
        fetches[1 + i] = sites[i] = w->sites[i].value;
    fetches[0] = w->metric;
    sg_graph *g = sg_glass_graph(w->glass);
    sg_gradients(g, sg_sum_all(g, w->metric), NULL, j->n_sites, sites, fetches + 1 + n);
    SG_TRY(sg_graph_status(g, err));
    SG_TRY(sg_glass_run(w->glass, &both, 0, NULL, 2 * j->n_sites + 1, fetches, out, err));
    w->base = sg_tensor_get(&out[0], 0);
    w->source = sg_tensor_get(&out[0], 1);
    for (size_t i = 0; i < n; i++) {
        site *s = &w->sites[i];
        SG_TRY(take_row(w, &out[1 + i], 0, &s->base, err));
        SG_TRY(take_row(w, &out[1 + i], 1, &s->source, err));
        for (int p = 0; p < w->n_positions; p++)
            for (int h = 0; h < w->n_heads; h++)
                w->values[((int)i * w->n_positions + p) * w->n_heads + h] =
                    w->base + estimate_place(s, &out[1 + n + i], w->positions[p], j->by_head ? h : -1);
    }
    if (j->progress)
        j->progress(j->context, 1);
    return SG_OK;
}

/* ---- all ---- */

static sg_status check(work *w, sg_error *err)
{
    const sg_patch_job *j = w->job;
    if (j->n_sites < 1 || j->n_tokens < 1 || j->batch < 1 || j->batch > INT32_MAX || j->n_positions < 0 ||
        (j->metric.kind == SG_METRIC_BUILT && !j->metric.build))
        return sg_fail(err, SG_EARG, "patch: %d sites, %" PRId64 " tokens, batches of %" PRId64 " do not go together",
                       j->n_sites, j->n_tokens, j->batch);
    w->n_positions = j->n_positions ? j->n_positions : (int)j->n_tokens;
    w->n_heads = 1;
    const size_t rows = (size_t)SG_MAX(j->batch, 2);
    w->positions = sg_arena_array(w->room, (size_t)w->n_positions, sizeof *w->positions);
    w->sites = sg_arena_array(w->room, (size_t)j->n_sites, sizeof *w->sites);
    w->rows = sg_arena_array(w->room, rows, sizeof *w->rows);
    w->lengths = sg_arena_array(w->room, rows, sizeof *w->lengths);
    if (!w->positions || !w->sites || !w->rows || !w->lengths)
        return sg_fail(err, SG_ENOMEM, "patch: out of memory for %d places", w->n_positions);
    for (size_t r = 0; r < rows; r++) {
        w->rows[r] = j->base;
        w->lengths[r] = j->n_tokens;
    }
    for (int k = 0; k < w->n_positions; k++) {
        w->positions[k] = j->n_positions ? j->positions[k] : k;
        if (w->positions[k] < 0 || w->positions[k] >= j->n_tokens)
            return sg_fail(err, SG_EARG, "patch: position %" PRId64 " of %" PRId64, w->positions[k], j->n_tokens);
    }
    return SG_OK;
}

static sg_status work_on(work *w, owned *t, sg_error *err)
{
    const sg_patch_job *j = w->job;
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec = j->exec;
    SG_TRY(check(w, err));
    SG_TRY(sg_glass_new(&w->glass, j->model, opts, err));
    for (int i = 0; i < j->n_sites; i++)
        SG_TRY(find_site(w, i, err));
    SG_TRY(build_metric(w, err));
    const size_t n = (size_t)j->n_sites * (size_t)w->n_positions * (size_t)w->n_heads;
    t->face.metric = w->values = sg_arena_array(w->arena, n, sizeof(double));
    t->face.effect = sg_arena_array(w->arena, n, sizeof(double));
    if (!t->face.metric || !t->face.effect)
        return sg_fail(err, SG_ENOMEM, "patch: out of memory for %zu places", n);
    SG_TRY(w->by_gradient ? estimate(w, err) : run_both(w, err));
    for (int i = 0; i < j->n_sites && !w->by_gradient; i++)
        SG_TRY(run_site(w, i, err));
    for (size_t k = 0; k < n; k++)
        t->face.effect[k] = w->source == w->base ? (double)NAN : (w->values[k] - w->base) / (w->source - w->base);
    t->face.n_sites = j->n_sites;
    t->face.n_positions = w->n_positions;
    t->face.n_heads = w->n_heads;
    t->face.base = w->base;
    t->face.source = w->source;
    return SG_OK;
}

static sg_status make_table(sg_patch_table **out, const sg_patch_job *job, bool by_gradient, sg_error *err)
{
    work w = {.job = job, .arena = sg_arena_new(), .room = sg_arena_new(), .by_gradient = by_gradient};
    owned *t = w.arena && w.room ? sg_arena_alloc(w.arena, sizeof *t) : NULL;
    *out = NULL;
    sg_status status = t ? SG_OK : sg_fail(err, SG_ENOMEM, "patch: out of memory");
    if (status == SG_OK) {
        *t = (owned){.arena = w.arena};
        status = work_on(&w, t, err);
    }
    sg_glass_free(w.glass);
    sg_arena_free(w.room);
    if (status != SG_OK) {
        sg_arena_free(w.arena);
        return status;
    }
    *out = &t->face;
    return SG_OK;
}

sg_status sg_patch_run(sg_patch_table **out, const sg_patch_job *job, sg_error *err)
{
    return make_table(out, job, false, err);
}

sg_status sg_patch_estimate(sg_patch_table **out, const sg_patch_job *job, sg_error *err)
{
    return make_table(out, job, true, err);
}

sg_status sg_patch_compare(sg_patch_agreement *out, const sg_patch_table *estimate, const sg_patch_table *patched,
                           sg_error *err)
{
    const sg_dim n = (sg_dim)patched->n_sites * patched->n_positions * patched->n_heads;
    *out = (sg_patch_agreement){.n = n};
    if (estimate->n_sites != patched->n_sites || estimate->n_positions != patched->n_positions ||
        estimate->n_heads != patched->n_heads)
        return sg_fail(err, SG_ESHAPE, "patch: tables of %d sites, %d positions and of %d, %d are not of one job",
                       estimate->n_sites, estimate->n_positions, patched->n_sites, patched->n_positions);
    for (sg_dim i = 0; i < n; i++) {
        const double off = fabs(estimate->effect[i] - patched->effect[i]);
        out->error += off / (double)n;
        out->error_of_nothing += fabs(patched->effect[i]) / (double)n;
        if (i == 0 || off > out->worst) {
            out->worst = off;
            out->worst_at = i;
        }
    }
    out->correlation = sg_stats_pearson(n, estimate->effect, patched->effect);
    return sg_stats_spearman(&out->rank_correlation, n, estimate->effect, patched->effect, err);
}

void sg_patch_table_free(sg_patch_table *t)
{
    if (t)
        sg_arena_free(((owned *)t)->arena);
}
