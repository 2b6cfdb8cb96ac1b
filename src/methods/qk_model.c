/* One head of a model: its queries and keys where pairs have them, and what attention does when keys are exchanged.
 * Heads are slices of the values of a layer, so that the planner computes the one head and nothing of the others. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/ops.h"
#include "sightglass/qk.h"

sg_qk_job sg_qk_job_defaults(void)
{
    return (sg_qk_job){.contrast = sg_qk_factor_defaults(), .batch = 16, .exec = sg_exec_defaults()};
}

typedef struct qk {
    sg_qk face; /* first: what users hold */
    sg_qk_factor *factors[SG_QK_MOST_FACTORS];
} qk;

/* A head's values in a glass. */
typedef struct head {
    const sg_qk_job *job;
    sg_glass *glass;
    char query_site[64], key_site[64];
    sg_value *q, *k; /* [batch,time,1,width] */
    sg_dim n_groups, width;
    int group;
} head;

static sg_status cancelled(const sg_qk_job *j, sg_error *err)
{
    return j->cancel && *j->cancel ? sg_fail(err, SG_ECANCELLED, "qk: stopped") : SG_OK;
}

/* One place of an axis, as an axis of extent 1. */
static sg_value *one_of(sg_graph *g, sg_value *v, int axis, int at)
{
    return sg_slice(g, v, axis, at, at + 1, 1);
}

static sg_status check(const sg_qk_job *j, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(j->model);
    if (in->task != SG_TASK_NEXT)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "qk: %s does not go on with a text, and heads of decoders alone are looked into", in->path);
    if (j->layer < 0 || j->layer >= in->n_layers || j->head < 0 || j->head >= in->n_heads)
        return sg_fail(err, SG_EARG, "qk: head %d.%d of a model with %" PRId64 " layers of %" PRId64 " heads", j->layer,
                       j->head, in->n_layers, in->n_heads);
    if (j->batch < 1 || j->batch > 4096 || j->n_factors < 0 || j->n_factors > SG_QK_MOST_FACTORS)
        return sg_fail(err, SG_EARG, "qk: batches of %" PRId64 " texts and %d factors", j->batch, j->n_factors);
    for (int f = 0; f < j->n_factors; f++)
        if (j->factors[f] < 0 || j->factors[f] >= j->pairs->n_factors)
            return sg_fail(err, SG_EARG, "qk: factor %d of %d", j->factors[f], j->pairs->n_factors);
    return SG_OK;
}

static void site(char *to, int layer, const char *what)
{
    snprintf(to, 64, "blocks.%d.attn.%s", layer, what);
}

static sg_status find(head *h, sg_error *err)
{
    const sg_qk_job *j = h->job;
    sg_graph *g = sg_glass_graph(h->glass);
    char normalised[64], turned[64];
    sg_value *q, *k;
    site(normalised, j->layer, "k_norm.hook_normalized");
    site(turned, j->layer, "hook_rot_k");
    const bool turns = j->place == SG_QK_TURNED && sg_graph_find(g, turned);
    if (j->place == SG_QK_PLAIN && sg_graph_find(g, normalised))
        return sg_fail(
            err, SG_EUNSUPPORTED,
            "qk: this family normalises queries and keys behind hook_q and hook_k; they are to be taken turned");
    site(h->query_site, j->layer, turns ? "hook_rot_q" : "hook_q");
    site(h->key_site, j->layer, turns ? "hook_rot_k" : "hook_k");
    SG_TRY(sg_glass_find(h->glass, h->query_site, &q, err));
    SG_TRY(sg_glass_find(h->glass, h->key_site, &k, err));
    h->n_groups = sg_value_dim(k, 2);
    h->width = sg_value_dim(k, 3);
    if (h->n_groups < 1 || sg_value_dim(q, 2) % h->n_groups || sg_value_dim(q, 3) != h->width || h->width < 1)
        return sg_fail(err, SG_ESHAPE, "qk: %s has not the shape of queries of groups of keys", h->query_site);
    h->group = (int)(j->head / (sg_value_dim(q, 2) / h->n_groups));
    h->q = one_of(g, q, 2, j->head);
    h->k = one_of(g, k, 2, h->group);
    return sg_graph_status(g, err);
}

static sg_status open_head(head *h, const sg_qk_job *j, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec = j->exec;
    opts.seed = j->seed;
    *h = (head){.job = j};
    SG_TRY(check(j, err));
    SG_TRY(sg_glass_new(&h->glass, j->model, opts, err));
    return find(h, err);
}

/* ---- one text after another ---- */

/* What is told of a text: its pairs, and q and k [time,width] of the head. */
typedef sg_status (*visit)(void *context, const head *h, int text, sg_dim first, sg_dim n, const float *q,
                           const float *k, sg_error *err);

static sg_dim pairs_of(const sg_qk_pairs *p, sg_dim first)
{
    sg_dim n = 0;
    while (first + n < p->n_pairs && p->pairs[first + n].text == p->pairs[first].text)
        n++;
    return n;
}

static sg_status run_texts(head *h, int first, int n, sg_tensor got[2], sg_error *err)
{
    const sg_qk_pairs *p = h->job->pairs;
    const sg_rows rows = {.n_rows = n, .tokens = p->tokens + first, .lengths = p->lengths + first};
    return sg_glass_run(h->glass, &rows, 0, NULL, 2, (sg_value *[]){h->q, h->k}, got, err);
}

static sg_status walk(head *h, visit fn, void *context, double from, double to, sg_error *err)
{
    const sg_qk_job *j = h->job;
    const sg_qk_pairs *p = j->pairs;
    sg_dim at = 0;
    for (int first = 0; first < p->n_texts; first += (int)j->batch) {
        const int n = (int)SG_MIN(j->batch, (sg_dim)(p->n_texts - first));
        sg_tensor got[2];
        SG_TRY(cancelled(j, err));
        SG_TRY(run_texts(h, first, n, got, err));
        const sg_dim row = got[0].dims[1] * h->width;
        for (int t = 0; t < n; t++) {
            if (at >= p->n_pairs || p->pairs[at].text != first + t)
                continue;
            const sg_dim of_text = pairs_of(p, at);
            SG_TRY(fn(context, h, first + t, at, of_text, (const float *)got[0].data + t * row,
                      (const float *)got[1].data + t * row, err));
            at += of_text;
        }
        if (j->progress)
            j->progress(j->context, from + (to - from) * (double)(first + n) / p->n_texts);
    }
    return SG_OK;
}

/* ---- contrasts ---- */

static sg_status add_pairs(void *context, const head *h, int text, sg_dim first, sg_dim n, const float *q,
                           const float *k, sg_error *err)
{
    sg_qk_sums **sums = context;
    const sg_qk_job *j = h->job;
    (void)text;
    for (sg_dim i = first; i < first + n; i++) {
        const sg_qk_pair *pair = &j->pairs->pairs[i];
        for (int f = 0; f < j->n_factors; f++)
            if (pair->match[j->factors[f]] >= 0)
                SG_TRY(sg_qk_add(sums[f], pair->match[j->factors[f]], q + pair->query * h->width,
                                 k + pair->key * h->width, err));
    }
    return SG_OK;
}

static void offsets(sg_qk *out, const sg_qk_pairs *p)
{
    for (sg_dim i = 0; i < p->n_pairs; i++) {
        const sg_dim offset = p->pairs[i].query - p->pairs[i].key;
        out->least_offset = i ? SG_MIN(out->least_offset, offset) : offset;
        out->most_offset = i ? SG_MAX(out->most_offset, offset) : offset;
    }
}

static sg_status contrast(qk *out, head *h, const sg_qk_job *j, sg_qk_sums **sums, sg_error *err)
{
    SG_TRY(open_head(h, j, err));
    for (int f = 0; f < j->n_factors; f++)
        SG_TRY(sg_qk_sums_new(&sums[f], h->width, j->seed, j->exec, err));
    SG_TRY(walk(h, add_pairs, sums, 0, 1, err));
    const sg_plan *plan = sg_session_plan(sg_glass_session(h->glass));
    sg_qk *face = &out->face;
    face->bytes = sg_plan_bytes(plan);
    face->n_steps = sg_plan_n_steps(plan);
    face->factors = out->factors;
    face->head = j->head;
    face->group = h->group;
    face->width = h->width;
    memcpy(face->query_site, h->query_site, sizeof face->query_site);
    memcpy(face->key_site, h->key_site, sizeof face->key_site);
    offsets(face, j->pairs);
    for (; face->n_factors < j->n_factors; face->n_factors++) {
        const int f = face->n_factors;
        SG_TRY(sg_qk_factor_new(&out->factors[f], j->pairs->factors[j->factors[f]], sums[f], j->contrast, err));
    }
    return SG_OK;
}

sg_status sg_qk_contrast(sg_qk **out, const sg_qk_job *job, sg_error *err)
{
    sg_qk_sums *sums[SG_QK_MOST_FACTORS] = {NULL};
    head h = {.job = job};
    qk *made = calloc(1, sizeof *made);
    *out = NULL;
    if (!made)
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    const sg_status status = contrast(made, &h, job, sums, err);
    for (int f = 0; f < SG_QK_MOST_FACTORS; f++)
        sg_qk_sums_free(sums[f]);
    sg_glass_free(h.glass);
    if (status != SG_OK) {
        sg_qk_free(&made->face);
        return status;
    }
    *out = &made->face;
    return SG_OK;
}

void sg_qk_free(sg_qk *face)
{
    qk *q = (qk *)face;
    if (!q)
        return;
    for (int f = 0; f < SG_QK_MOST_FACTORS; f++)
        sg_qk_factor_free(q->factors[f]);
    free(q);
}

/* ---- vectors ---- */

typedef struct taken {
    float *q, *k;
} taken;

static sg_status take(void *context, const head *h, int text, sg_dim first, sg_dim n, const float *q, const float *k,
                      sg_error *err)
{
    const taken *to = context;
    const size_t bytes = (size_t)h->width * sizeof(float);
    (void)text;
    (void)err;
    for (sg_dim i = first; i < first + n; i++) {
        const sg_qk_pair *pair = &h->job->pairs->pairs[i];
        memcpy(to->q + i * h->width, q + pair->query * h->width, bytes);
        memcpy(to->k + i * h->width, k + pair->key * h->width, bytes);
    }
    return SG_OK;
}

sg_status sg_qk_vectors(float **q, float **k, const sg_qk_job *job, sg_error *err)
{
    head h;
    taken to = {NULL, NULL};
    *q = *k = NULL;
    sg_status status = open_head(&h, job, err);
    if (status == SG_OK) {
        const size_t n = (size_t)(job->pairs->n_pairs * h.width);
        to = (taken){malloc(n * sizeof(float)), malloc(n * sizeof(float))};
        status = to.q && to.k ? walk(&h, take, &to, 0, 1, err) : sg_fail(err, SG_ENOMEM, "qk: out of memory");
    }
    sg_glass_free(h.glass);
    if (status != SG_OK) {
        free(to.q);
        free(to.k);
        return status;
    }
    *q = to.q;
    *k = to.k;
    return SG_OK;
}

/* ---- shares ---- */

enum { DRAWS = 5, AT_ONCE = 32 };

/* Queries wait until there are some, with the keys that they see, so that few graphs are made. */
typedef struct explained {
    int n_bases;
    const sg_qk_basis *bases;
    sg_qk_basis *drawn; /* [DRAWS][n_bases] */
    double score, rest, rest_drawn, *share;
    float *q, *k;                       /* [AT_ONCE,width], [AT_ONCE * context,width] */
    sg_dim n, seen, first[AT_ONCE + 1]; /* keys of query i: from first[i] on */
    uint8_t *visible;
} explained;

static sg_status explain_waiting(explained *e, const head *h, sg_error *err)
{
    if (e->n == 0)
        return SG_OK;
    e->first[e->n] = e->seen;
    memset(e->visible, 0, (size_t)(e->n * e->seen));
    for (sg_dim i = 0; i < e->n; i++)
        memset(e->visible + i * e->seen + e->first[i], 1, (size_t)(e->first[i + 1] - e->first[i]));
    for (int d = -1; d < DRAWS; d++) {
        sg_qk_shares *s;
        SG_TRY(sg_qk_explain(&s, e->n_bases, d < 0 ? e->bases : e->drawn + d * e->n_bases, e->n, e->q, e->seen, e->k,
                             h->width, e->visible, 1, h->job->exec, err));
        if (d < 0) {
            e->score += s->score_square;
            e->rest += s->rest_square;
            for (int b = 0; b < e->n_bases; b++)
                e->share[b] += s->square[b];
        } else {
            e->rest_drawn += s->rest_square / DRAWS;
        }
        sg_qk_shares_free(s);
    }
    e->n = e->seen = 0;
    return SG_OK;
}

static sg_status explain_text(void *context, const head *h, int text, sg_dim first, sg_dim n, const float *q,
                              const float *k, sg_error *err)
{
    explained *e = context;
    const sg_qk_pair *pairs = h->job->pairs->pairs;
    const size_t bytes = (size_t)h->width * sizeof(float);
    (void)text;
    for (sg_dim i = first; i < first + n; i++) {
        const sg_dim at = pairs[i].query;
        if (i > first && pairs[i - 1].query == at)
            continue;
        memcpy(e->q + e->n * h->width, q + at * h->width, bytes);
        memcpy(e->k + e->seen * h->width, k, (size_t)(at + 1) * bytes);
        e->first[e->n++] = e->seen;
        e->seen += at + 1;
        if (e->n == AT_ONCE)
            SG_TRY(explain_waiting(e, h, err));
    }
    return SG_OK;
}

static sg_status room_for_shares(explained *e, const head *h, sg_arena *arena, sg_error *err)
{
    const sg_qk_pairs *p = h->job->pairs;
    sg_dim most = 1;
    for (int t = 0; t < p->n_texts; t++)
        most = SG_MAX(most, p->lengths[t]);
    e->drawn = sg_arena_array(arena, (size_t)(DRAWS * e->n_bases) + 1, sizeof *e->drawn);
    e->q = sg_arena_array(arena, (size_t)(AT_ONCE * h->width), sizeof *e->q);
    e->k = sg_arena_array(arena, (size_t)(AT_ONCE * most * h->width), sizeof *e->k);
    e->visible = sg_arena_array(arena, (size_t)(AT_ONCE * AT_ONCE * most), 1);
    if (!e->drawn || !e->q || !e->k || !e->visible)
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    for (int i = 0; i < DRAWS * e->n_bases; i++) {
        const int rank = e->bases[i % e->n_bases].rank;
        double *rows = sg_arena_array(arena, (size_t)(rank * h->width) + 1, sizeof *rows);
        if (!rows)
            return sg_fail(err, SG_ENOMEM, "qk: out of memory");
        SG_TRY(sg_qk_random(rows, rank, h->width, h->job->seed, (uint32_t)(1000 + i), err));
        e->drawn[i] = (sg_qk_basis){rank, rows};
    }
    return SG_OK;
}

sg_status sg_qk_explained(double *by, double *by_random, double *share, const sg_qk_job *job, int n_bases,
                          const sg_qk_basis *bases, sg_error *err)
{
    head h = {.job = job};
    sg_arena *arena = sg_arena_new();
    explained e = {.n_bases = n_bases, .bases = bases, .share = share};
    for (int b = 0; b < n_bases; b++)
        share[b] = 0;
    sg_status status = arena ? open_head(&h, job, err) : sg_fail(err, SG_ENOMEM, "qk: out of memory");
    if (status == SG_OK)
        status = room_for_shares(&e, &h, arena, err);
    if (status == SG_OK)
        status = walk(&h, explain_text, &e, 0, 1, err);
    if (status == SG_OK)
        status = explain_waiting(&e, &h, err);
    sg_glass_free(h.glass);
    sg_arena_free(arena);
    SG_TRY(status);
    *by = 1 - e.rest / e.score;
    *by_random = 1 - e.rest_drawn / e.score;
    for (int b = 0; b < n_bases; b++)
        share[b] /= e.score;
    return SG_OK;
}

/* ---- exchanges ---- */

/* keys [n,width] of one group, with o and t exchanged, into to [n,groups,width]. */
static void put_keys(float *to, const float *keys, sg_dim n, sg_dim n_groups, int group, sg_dim width,
                     const sg_qk_basis *basis, sg_dim o, sg_dim t)
{
    for (sg_dim i = 0; i < n; i++)
        memcpy(to + (i * n_groups + group) * width, keys + i * width, (size_t)width * sizeof *to);
    if (basis)
        sg_qk_exchange(to + (o * n_groups + group) * width, to + (t * n_groups + group) * width, basis, width);
}

sg_status sg_qk_swap_new(sg_qk_swap **out, const sg_qk *of, sg_dim n_groups, const sg_qk_basis *basis, sg_dim n,
                         const float *keys, sg_dim o, sg_dim t, sg_error *err)
{
    *out = NULL;
    if (o < 0 || o >= n || t < 0 || t >= n || of->group >= n_groups)
        return sg_fail(err, SG_EARG,
                       "qk: keys %" PRId64 " and %" PRId64 " of %" PRId64 " change places in group %d of %" PRId64, o,
                       t, n, of->group, n_groups);
    sg_qk_swap *s = calloc(1, sizeof *s);
    float *value = s ? calloc((size_t)(n * n_groups * of->width), sizeof *value) : NULL;
    if (!value) {
        free(s);
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    }
    put_keys(value, keys, n, n_groups, of->group, of->width, basis, o, t);
    s->value = value;
    s->positions[0] = (sg_span){o, o};
    s->positions[1] = (sg_span){t, t};
    s->group = (sg_span){of->group, of->group};
    s->edit = sg_edit_defaults();
    s->edit.site = of->key_site;
    s->edit.op = SG_EDIT_PATCH;
    s->edit.value = sg_tensor_of(SG_F32, 3, (sg_dim[]){n, n_groups, of->width}, value);
    s->edit.positions = (sg_spans){2, s->positions};
    s->edit.heads = (sg_spans){1, &s->group};
    *out = s;
    return SG_OK;
}

void sg_qk_swap_free(sg_qk_swap *s)
{
    if (!s)
        return;
    free(s->value);
    free(s);
}

/* A row for the keys as they are and one for each basis, all of one text and with keys of their own. */
typedef struct swapping {
    const sg_qk_job *job;
    int factor, n_bases;
    const sg_qk_basis *bases;
    sg_glass *glass;
    sg_value *pattern, *scores; /* [batch,1,time,time] */
    sg_edit edit;
    sg_span group;
    float *value; /* [rows,time,groups,width] */
    const int32_t **tokens;
    sg_dim *lengths, time;
    /* by basis, and query: what moved, and what there was */
    double *attention, *scored, *attention_there, *scores_there, before[2];
    sg_dim n, room;
} swapping;

static sg_status open_swaps(swapping *w, const head *h, sg_error *err)
{
    const sg_qk_job *j = w->job;
    const int n_rows = 1 + w->n_bases;
    const sg_qk_pairs *p = j->pairs;
    sg_glass_opts opts = sg_glass_defaults();
    char name[64];
    for (int t = 0; t < p->n_texts; t++)
        w->time = SG_MAX(w->time, p->lengths[t]);
    const size_t keys = (size_t)(n_rows * w->time * h->n_groups * h->width);
    w->value = calloc(keys, sizeof *w->value);
    w->tokens = calloc((size_t)n_rows, sizeof *w->tokens);
    w->lengths = calloc((size_t)n_rows, sizeof *w->lengths);
    w->room = p->n_pairs;
    w->attention = calloc((size_t)(p->n_pairs * (2 * w->n_bases + 2)), sizeof *w->attention);
    if (!w->value || !w->tokens || !w->lengths || !w->attention)
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    w->scored = w->attention + p->n_pairs * w->n_bases;
    w->attention_there = w->scored + p->n_pairs * w->n_bases;
    w->scores_there = w->attention_there + p->n_pairs;
    opts.exec = j->exec;
    opts.seed = j->seed;
    SG_TRY(sg_glass_new(&w->glass, j->model, opts, err));
    w->group = (sg_span){h->group, h->group};
    w->edit = sg_edit_defaults();
    w->edit.site = h->key_site;
    w->edit.op = SG_EDIT_PATCH;
    w->edit.value = sg_tensor_of(SG_F32, 4, (sg_dim[]){n_rows, w->time, h->n_groups, h->width}, w->value);
    w->edit.heads = (sg_spans){1, &w->group};
    SG_TRY(sg_glass_edit(w->glass, 1, &w->edit, err));
    sg_graph *g = sg_glass_graph(w->glass);
    site(name, j->layer, "hook_pattern");
    SG_TRY(sg_glass_find(w->glass, name, &w->pattern, err));
    site(name, j->layer, "hook_attn_scores");
    SG_TRY(sg_glass_find(w->glass, name, &w->scores, err));
    w->pattern = one_of(g, w->pattern, 1, j->head);
    w->scores = one_of(g, w->scores, 1, j->head);
    return sg_graph_status(g, err);
}

static sg_status swap_query(swapping *w, const head *h, int text, sg_dim query, sg_dim o, sg_dim t, const float *keys,
                            sg_error *err)
{
    const sg_qk_pairs *p = w->job->pairs;
    const int n_rows = 1 + w->n_bases;
    const sg_dim row = w->time * h->n_groups * h->width;
    sg_tensor got[2];
    for (int r = 0; r < n_rows; r++) {
        w->tokens[r] = p->tokens[text];
        w->lengths[r] = p->lengths[text];
        put_keys(w->value + r * row, keys, p->lengths[text], h->n_groups, h->group, h->width,
                 r ? &w->bases[r - 1] : NULL, o, t);
    }
    SG_TRY(sg_edits_replace(sg_glass_edits(w->glass), 1, &w->edit, err));
    const sg_rows rows = {.n_rows = n_rows, .tokens = w->tokens, .lengths = w->lengths, .time = w->time};
    SG_TRY(sg_glass_run(w->glass, &rows, 0, NULL, 2, (sg_value *[]){w->pattern, w->scores}, got, err));
    double a[2] = {0}, s[2] = {0};
    for (int r = 0; r < n_rows; r++) {
        const sg_dim at = (r * w->time + query) * w->time;
        const double a_o = sg_tensor_get(&got[0], at + o), a_t = sg_tensor_get(&got[0], at + t),
                     s_o = sg_tensor_get(&got[1], at + o), s_t = sg_tensor_get(&got[1], at + t);
        if (r == 0) {
            a[0] = a_o, a[1] = a_t, s[0] = s_o, s[1] = s_t;
            continue;
        }
        w->attention[(r - 1) * w->room + w->n] = a_t - a[1];
        w->scored[(r - 1) * w->room + w->n] = ((s[0] - s[1]) - (s_o - s_t)) / 2;
    }
    w->attention_there[w->n] = a[0] - a[1];
    w->scores_there[w->n] = s[0] - s[1];
    w->before[0] += a[0];
    w->before[1] += a[1];
    w->n++;
    return SG_OK;
}

static sg_status swap_text(void *context, const head *h, int text, sg_dim first, sg_dim n, const float *q,
                           const float *k, sg_error *err)
{
    swapping *w = context;
    const sg_qk_pair *pairs = w->job->pairs->pairs;
    const int factor = w->job->factors[w->factor];
    (void)q;
    for (sg_dim i = first, end; i < first + n; i = end) {
        sg_dim place[2] = {-1, -1}; /* of a key that differs, and one that matches */
        for (end = i; end < first + n && pairs[end].query == pairs[i].query; end++) {
            const int match = pairs[end].match[factor];
            if (match >= 0 && place[match] < 0)
                place[match] = pairs[end].key;
        }
        SG_TRY(cancelled(w->job, err));
        if (place[0] >= 0 && place[1] >= 0)
            SG_TRY(swap_query(w, h, text, pairs[i].query, place[1], place[0], k, err));
    }
    return SG_OK;
}

static sg_status judge(sg_qk_moved *out, const swapping *w, sg_error *err)
{
    sg_bootstrap_opts opts = sg_bootstrap_defaults();
    opts.seed = w->job->seed;
    for (int b = 0; b < w->n_bases; b++) {
        const double *part[2] = {w->attention + b * w->room, w->scored + b * w->room},
                     *whole[2] = {w->attention_there, w->scores_there};
        double sum[2] = {0}, all[2] = {0};
        for (int i = 0; i < 2; i++)
            for (sg_dim n = 0; n < w->n; n++) {
                sum[i] += part[i][n];
                all[i] += whole[i][n];
            }
        out[b].attention = sum[0] / all[0];
        out[b].scores = sum[1] / all[1];
        SG_TRY(sg_bootstrap_ratio(&out[b].attention_within, w->n, part[0], whole[0], opts, err));
        SG_TRY(sg_bootstrap_ratio(&out[b].scores_within, w->n, part[1], whole[1], opts, err));
    }
    return SG_OK;
}

sg_status sg_qk_swaps(sg_qk_moved *out, double before[2], int64_t *n, const sg_qk_job *job, const sg_qk *of, int factor,
                      int n_bases, const sg_qk_basis *bases, sg_error *err)
{
    head h = {.job = job};
    swapping w = {.job = job, .factor = factor, .n_bases = n_bases, .bases = bases};
    if (factor < 0 || factor >= of->n_factors || n_bases < 1)
        return sg_fail(err, SG_EARG, "qk: swaps of factor %d of %d in %d bases", factor, of->n_factors, n_bases);
    sg_status status = open_head(&h, job, err);
    if (status == SG_OK)
        status = open_swaps(&w, &h, err);
    if (status == SG_OK)
        status = walk(&h, swap_text, &w, 0, 1, err);
    if (status == SG_OK && w.n == 0)
        status = sg_fail(err, SG_EARG, "qk: no query has both a key that matches on %s and one that differs",
                         of->factors[factor]->name);
    if (status == SG_OK)
        status = judge(out, &w, err);
    if (status == SG_OK) {
        before[0] = w.before[0] / (double)w.n;
        before[1] = w.before[1] / (double)w.n;
        *n = w.n;
    }
    sg_glass_free(w.glass);
    sg_glass_free(h.glass);
    free(w.value);
    free((void *)(uintptr_t)w.tokens);
    free(w.lengths);
    free(w.attention);
    return status;
}
