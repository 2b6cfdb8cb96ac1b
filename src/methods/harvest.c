/* Rows are chosen first, from tokens and counts alone, so that the result is taken once in its final size. Then
 * sequences run in batches, each as long as its last row wants, and what was fetched at the rows is copied. */
#include "sightglass/harvest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

struct sg_store {
    sg_arena *arena;
    sg_dim n_rows, n_episodes, time;
    sg_store_row *rows;
    int n_sites;
    const char **sites;
    sg_tensor *acts;
};

sg_harvest_opts sg_harvest_defaults(void)
{
    return (sg_harvest_opts){.batch = 64, .positions = {0, INT64_MAX}, .exec = sg_exec_defaults()};
}

/* ---- rows ---- */

static sg_status check(const sg_tensor *tokens, const sg_tensor *counts, sg_span positions, sg_error *err)
{
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    if (tokens->dtype != SG_I32 || tokens->n_dims != 2)
        return sg_fail(err, SG_ESHAPE, "harvest: tokens are %s %s, wanted [episodes,time] i32",
                       sg_dtype_name(tokens->dtype), sg_shape_text(one, tokens->n_dims, tokens->dims));
    if (counts && (counts->dtype != SG_BOOL || counts->n_dims != 2 || counts->dims[0] != tokens->dims[0] ||
                   counts->dims[1] != tokens->dims[1]))
        return sg_fail(err, SG_ESHAPE, "harvest: counts are %s %s, wanted bool %s as tokens are",
                       sg_dtype_name(counts->dtype), sg_shape_text(one, counts->n_dims, counts->dims),
                       sg_shape_text(other, 2, tokens->dims));
    if (positions.first < 0 || positions.first > positions.last)
        return sg_fail(err, SG_EARG, "harvest: positions %" PRId64 " to %" PRId64, positions.first, positions.last);
    if (tokens->dims[0] > INT32_MAX || tokens->dims[1] > INT32_MAX)
        return sg_fail(err, SG_EUNSUPPORTED, "harvest: %s tokens are too many", sg_shape_text(one, 2, tokens->dims));
    return SG_OK;
}

static bool is_row(const sg_tensor *tokens, const uint8_t *counts, sg_dim e, sg_dim t)
{
    const sg_dim time = tokens->dims[1], at = e * time + t;
    return t + 1 < time && (!counts || (counts[at] && counts[at + 1]));
}

/* A store with its rows and room for the names and tensors of sites. */
static sg_status begin(sg_store **out, int n_sites, const sg_tensor *tokens, const sg_tensor *counts, sg_span positions,
                       sg_error *err)
{
    SG_TRY(check(tokens, counts, positions, err));
    const uint8_t *counted = counts ? counts->data : NULL;
    const sg_dim episodes = tokens->dims[0], last = SG_MIN(positions.last, tokens->dims[1] - 1);
    sg_dim n = 0;
    for (sg_dim e = 0; e < episodes; e++)
        for (sg_dim t = positions.first; t <= last; t++)
            n += is_row(tokens, counted, e, t);
    if (n == 0)
        return sg_fail(err, SG_EARG, "harvest: of %" PRId64 " sequences no token is followed by another", episodes);
    sg_arena *arena = sg_arena_new();
    sg_store *s = arena ? sg_arena_alloc(arena, sizeof *s) : NULL;
    if (!s) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "harvest: out of memory");
    }
    *s = (sg_store){.arena = arena, .n_episodes = episodes, .time = tokens->dims[1], .n_sites = n_sites};
    s->rows = sg_arena_array(arena, (size_t)n, sizeof *s->rows);
    s->sites = sg_arena_array(arena, (size_t)n_sites + 1, sizeof *s->sites);
    s->acts = sg_arena_array(arena, (size_t)n_sites + 1, sizeof *s->acts);
    if (!s->rows || !s->sites || !s->acts) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "harvest: out of memory for %" PRId64 " rows", n);
    }
    for (sg_dim e = 0; e < episodes; e++)
        for (sg_dim t = positions.first; t <= last; t++)
            if (is_row(tokens, counted, e, t))
                s->rows[s->n_rows++] =
                    (sg_store_row){(int32_t)e, (int32_t)t, ((const int32_t *)tokens->data)[e * s->time + t]};
    *out = s;
    return SG_OK;
}

static sg_status add_site(sg_store *s, int i, const char *name, sg_dim width, sg_error *err)
{
    size_t bytes;
    s->sites[i] = sg_arena_strdup(s->arena, name);
    s->acts[i] = sg_tensor_of(SG_F32, 2, (sg_dim[]){s->n_rows, width}, NULL);
    if (s->sites[i] && sg_bytes(s->n_rows, (size_t)width * sizeof(float), &bytes) == SG_OK)
        s->acts[i].data = sg_arena_alloc(s->arena, SG_MAX(bytes, 1));
    return s->acts[i].data ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "harvest: out of memory for %" PRId64 " rows of %" PRId64 " at %s",
                                     s->n_rows, width, name);
}

/* ---- running ---- */

typedef struct work {
    sg_store *s;
    sg_glass *glass;
    sg_value **sites;
    const int32_t **rows;
    sg_dim *lengths;
    sg_tensor *fetched;
} work;

static sg_status find_site(work *w, int i, const char *name, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    SG_TRY(sg_glass_find(w->glass, name, &w->sites[i], err));
    sg_value *tokens = NULL;
    SG_TRY(sg_glass_find(w->glass, "tokens", &tokens, err));
    const sg_value *v = w->sites[i];
    const int n_dims = sg_value_n_dims(v);
    sg_dim width = 1;
    bool fits =
        n_dims >= 2 && sg_value_dim(v, 0) == sg_value_dim(tokens, 0) && sg_value_dim(v, 1) == sg_value_dim(tokens, 1);
    for (int k = 2; k < n_dims && fits; k++) {
        fits = sg_value_dim(v, k) >= 0;
        width *= sg_value_dim(v, k);
    }
    if (!fits)
        return sg_fail(err, SG_ESHAPE, "harvest: %s is %s, wanted [batch,time,...]: a row for each position", name,
                       sg_value_shape_text(v, shape));
    return add_site(w->s, i, name, width, err);
}

/* Copies what was fetched for rows first..last; place[i] is the batch's row that has the episode of row first + i. */
static void take(const work *w, sg_dim first, sg_dim last, const sg_dim *place)
{
    for (int i = 0; i < w->s->n_sites; i++) {
        const sg_tensor *from = &w->fetched[i];
        const sg_dim width = w->s->acts[i].dims[1], time = from->dims[1];
        const size_t bytes = (size_t)width * sg_dtype_bytes(from->dtype);
        for (sg_dim r = first; r < last; r++) {
            const sg_dim at = place[r - first] * time + w->s->rows[r].position;
            sg_convert((float *)w->s->acts[i].data + r * width, SG_F32, (const char *)from->data + (size_t)at * bytes,
                       from->dtype, width);
        }
    }
}

static sg_status run(work *w, const sg_tensor *tokens, const sg_harvest_opts *opts, sg_dim *place, sg_error *err)
{
    const sg_store *s = w->s;
    sg_dim longest = 0;
    for (sg_dim r = 0; r < s->n_rows; r++)
        longest = SG_MAX(longest, s->rows[r].position + 1);
    for (sg_dim first = 0, last; first < s->n_rows; first = last) {
        int n = 0;
        if (opts->cancel && *opts->cancel)
            return sg_fail(err, SG_ECANCELLED, "harvest: stopped after %" PRId64 " of %" PRId64 " rows", first,
                           s->n_rows);
        for (last = first; last < s->n_rows; last++) {
            const bool begins = last == first || s->rows[last].episode != s->rows[last - 1].episode;
            if (begins && n == opts->batch)
                break;
            n += begins;
            w->rows[n - 1] = (const int32_t *)tokens->data + s->rows[last].episode * s->time;
            w->lengths[n - 1] = s->rows[last].position + 1;
            place[last - first] = n - 1;
        }
        /* All batches have one length, so that they share a plan. */
        const sg_rows rows = {.n_rows = n, .tokens = w->rows, .lengths = w->lengths, .time = longest};
        SG_TRY(sg_glass_run(w->glass, &rows, 0, NULL, s->n_sites, w->sites, w->fetched, err));
        take(w, first, last, place);
        if (opts->progress)
            opts->progress(opts->context, (double)last / (double)s->n_rows);
    }
    return SG_OK;
}

static sg_status fill(sg_store *s, const sg_model *m, const char *const *sites, const sg_tensor *tokens,
                      const sg_harvest_opts *opts, sg_error *err)
{
    const size_t batch = (size_t)SG_MIN(opts->batch, s->n_episodes);
    work w = {.s = s,
              .sites = calloc((size_t)s->n_sites + 1, sizeof *w.sites),
              .rows = calloc(batch, sizeof *w.rows),
              .lengths = calloc(batch, sizeof *w.lengths),
              .fetched = calloc((size_t)s->n_sites + 1, sizeof *w.fetched)};
    sg_dim *place = calloc(batch * (size_t)s->time, sizeof *place);
    sg_glass_opts how = sg_glass_defaults();
    how.exec = opts->exec;
    how.seed = opts->seed;
    sg_status status = w.sites && w.rows && w.lengths && w.fetched && place
                           ? sg_glass_new(&w.glass, m, how, err)
                           : sg_fail(err, SG_ENOMEM, "harvest: out of memory");
    for (int i = 0; i < s->n_sites && status == SG_OK; i++)
        status = find_site(&w, i, sites[i], err);
    if (status == SG_OK)
        status = run(&w, tokens, opts, place, err);
    sg_glass_free(w.glass);
    free(w.sites);
    free(w.rows);
    free(w.lengths);
    free(w.fetched);
    free(place);
    return status;
}

sg_status sg_harvest(sg_store **out, const sg_model *m, int n_sites, const char *const *sites, const sg_tensor *tokens,
                     const sg_tensor *counts, sg_harvest_opts opts, sg_error *err)
{
    *out = NULL;
    if (n_sites < 1 || opts.batch < 1 || opts.batch > INT32_MAX)
        return sg_fail(err, SG_EARG, "harvest: %d sites in batches of %" PRId64 ", wanted at least one", n_sites,
                       opts.batch);
    sg_store *s = NULL;
    SG_TRY(begin(&s, n_sites, tokens, counts, opts.positions, err));
    const sg_status status = fill(s, m, sites, tokens, &opts, err);
    if (status != SG_OK) {
        sg_store_free(s);
        return status;
    }
    *out = s;
    return SG_OK;
}

/* ---- the input alone ---- */

static sg_status fill_input(sg_store *s, sg_input_features kind, sg_dim n_vocab, const sg_tensor *tokens, sg_error *err)
{
    const bool bag = kind == SG_INPUT_BAG;
    SG_TRY(add_site(s, 0, bag ? "bag of tokens" : "tokens at their places", bag ? n_vocab : s->time * n_vocab, err));
    const sg_dim width = s->acts[0].dims[1];
    for (sg_dim r = 0; r < s->n_rows; r++) {
        const int32_t *seen = (const int32_t *)tokens->data + s->rows[r].episode * s->time;
        float *to = (float *)s->acts[0].data + r * width;
        for (int32_t t = 0; t <= s->rows[r].position; t++) {
            if (seen[t] < 0 || seen[t] >= n_vocab)
                return sg_fail(err, SG_EARG,
                               "harvest: token %" PRId32 " of sequence %" PRId32 " is outside 0 to %" PRId64, seen[t],
                               s->rows[r].episode, n_vocab - 1);
            to[(bag ? 0 : t * n_vocab) + seen[t]] += 1;
        }
    }
    return SG_OK;
}

sg_status sg_harvest_input(sg_store **out, sg_input_features kind, sg_dim n_vocab, const sg_tensor *tokens,
                           const sg_tensor *counts, sg_span positions, sg_error *err)
{
    *out = NULL;
    if (n_vocab < 1)
        return sg_fail(err, SG_EARG, "harvest: a vocabulary of %" PRId64, n_vocab);
    sg_store *s = NULL;
    SG_TRY(begin(&s, 1, tokens, counts, positions, err));
    const sg_status status = fill_input(s, kind, n_vocab, tokens, err);
    if (status != SG_OK) {
        sg_store_free(s);
        return status;
    }
    *out = s;
    return SG_OK;
}

/* ---- looking ---- */

void sg_store_free(sg_store *s)
{
    if (s)
        sg_arena_free(s->arena);
}

sg_dim sg_store_n_rows(const sg_store *s)
{
    return s->n_rows;
}

const sg_store_row *sg_store_rows(const sg_store *s)
{
    return s->rows;
}

int sg_store_n_sites(const sg_store *s)
{
    return s->n_sites;
}

const char *sg_store_site(const sg_store *s, int i)
{
    SG_ASSERT(i >= 0 && i < s->n_sites);
    return s->sites[i];
}

const sg_tensor *sg_store_acts(const sg_store *s, int i)
{
    SG_ASSERT(i >= 0 && i < s->n_sites);
    return &s->acts[i];
}

sg_status sg_store_labels(sg_tensor *out, const sg_store *s, const sg_tensor *truth, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    *out = (sg_tensor){0};
    if ((truth->dtype != SG_I32 && truth->dtype != SG_BOOL) || truth->n_dims < 2 || truth->n_dims > 3 ||
        truth->dims[0] != s->n_episodes || truth->dims[1] != s->time)
        return sg_fail(err, SG_ESHAPE,
                       "harvest: labels are %s %s, wanted i32 or bool [%" PRId64 ",%" PRId64 "] or with one axis more",
                       sg_dtype_name(truth->dtype), sg_shape_text(shape, truth->n_dims, truth->dims), s->n_episodes,
                       s->time);
    const sg_dim tasks = truth->n_dims == 3 ? truth->dims[2] : 1;
    size_t bytes;
    int32_t *to = NULL;
    if (sg_bytes(s->n_rows, (size_t)tasks * sizeof *to, &bytes) == SG_OK)
        to = malloc(SG_MAX(bytes, 1));
    if (!to)
        return sg_fail(err, SG_ENOMEM, "harvest: out of memory for %" PRId64 " labels", s->n_rows);
    const size_t one = sg_dtype_bytes(truth->dtype);
    for (sg_dim r = 0; r < s->n_rows; r++) {
        const sg_dim at = (s->rows[r].episode * s->time + s->rows[r].position) * tasks;
        sg_convert(to + r * tasks, SG_I32, (const char *)truth->data + (size_t)at * one, truth->dtype, tasks);
    }
    *out = sg_tensor_of(SG_I32, 2, (sg_dim[]){s->n_rows, tasks}, to);
    return SG_OK;
}

sg_dim sg_store_split(const sg_store *s, double share)
{
    const double first = share * (double)s->n_episodes;
    sg_dim r = 0;
    while (r < s->n_rows && (double)s->rows[r].episode < first)
        r++;
    return r;
}

sg_tensor sg_rows_of(const sg_tensor *t, sg_dim first, sg_dim n)
{
    SG_ASSERT(t->n_dims >= 1 && first >= 0 && n >= 0 && first + n <= t->dims[0]);
    sg_tensor rows = *t;
    rows.dims[0] = 1;
    const size_t one = sg_tensor_bytes(&rows);
    rows.dims[0] = n;
    rows.data = (char *)t->data + (size_t)first * one;
    return rows;
}
