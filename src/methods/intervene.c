/* An intervener is a glass with a splice at each site. At the last token, in rows that are open,
 *
 *     x' = x + (|x| or 1) push + sum_k (wanted_k - x . read_k) write_k
 *
 * All that differs between kinds, strengths and rows is numbers in these inputs, so one plan serves them all. Gradient
 * steps go site by site instead: x is fetched, moved, and fed, with all rows closed. Rows are filled up on the left, so
 * that the last token is at the same place in each. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/intervene_internal.h"
#include "methods/probe_internal.h"
#include "sightglass/linalg.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

#define MAX_SITES 24 /* a glass takes 32 feeds: these and the splice's */

enum { OPEN, BY_NORM, PUSH, READ, WRITE, WANTED, N_INPUTS };

static const char *const input_names[N_INPUTS] = {"intervene.open", "intervene.by_norm", "intervene.push",
                                                  "intervene.read", "intervene.write",   "intervene.wanted"};

typedef struct site {
    const char *name;
    const sg_probe *probe;
    sg_value *whole;          /* [batch,time,D] after the splice: what has the name */
    sg_value *before, *after; /* [batch,D] at the last token */
    sg_mover *mover;          /* made when first wanted */
} site;

struct sg_intervener {
    sg_arena *arena;
    sg_exec_opts exec;
    sg_glass *glass;
    sg_dim width, tasks, n_vocab;
    int classes, n_sites;
    site *sites;
    sg_value *logits; /* [batch,V] at the last token */
};

typedef struct owned {
    sg_intervention face;
    sg_arena *arena;
} owned;

const char *sg_intervene_kind_name(sg_intervene_kind kind)
{
    static const char *const names[SG_N_INTERVENE_KINDS] = {"none", "direction", "wrong", "random", "gradient"};
    return kind >= 0 && kind < SG_N_INTERVENE_KINDS ? names[kind] : "unknown";
}

const char *sg_intervene_scale_name(sg_intervene_scale scale)
{
    static const char *const names[SG_N_INTERVENE_SCALES] = {"raw", "unit", "norm", "mirror"};
    return scale >= 0 && scale < SG_N_INTERVENE_SCALES ? names[scale] : "unknown";
}

sg_intervene_opts sg_intervene_defaults(void)
{
    return (sg_intervene_opts){.kind = SG_INTERVENE_DIRECTION,
                               .scale = SG_SCALE_NORM,
                               .strength = 0.3,
                               .n_steps = 30,
                               .lr = 0.02,
                               .keep = 0.2,
                               .batch = 64};
}

/* ---- the graph ---- */

/* [batch,D] at the last position of x [batch,time,D] */
static sg_value *at_last(sg_graph *g, sg_value *x)
{
    const sg_dim time = sg_value_dim(x, 1);
    return sg_squeeze(g, sg_slice(g, x, 1, sg_dim_sub(g, time, 1), time, 1), 1);
}

static sg_value *of_site(sg_graph *g, sg_value *input, int i)
{
    return sg_squeeze(g, sg_slice(g, input, 0, i, i + 1, 1), 0);
}

static void splice(sg_intervener *iv, sg_graph *g, int i, sg_value *const *in)
{
    site *s = &iv->sites[i];
    sg_value *x = sg_graph_find(g, s->name);
    const sg_dim time = sg_value_dim(x, 1);
    sg_scope(g, "intervene.%d", i);
    s->before = at_last(g, x);
    sg_value *size = sg_sqrt(g, sg_sum(g, sg_square(g, s->before), 1, true)); /* [batch,1] */
    sg_value *scale = sg_where(g, in[BY_NORM], size, sg_ones_like(g, size));
    sg_value *reads = sg_sum(g, sg_mul(g, sg_expand(g, s->before, 1), of_site(g, in[READ], i)), 2, true);
    sg_value *missing = sg_sub(g, sg_expand(g, of_site(g, in[WANTED], i), 2), reads); /* [batch,K,1] */
    sg_value *change = sg_add(g, sg_mul(g, scale, of_site(g, in[PUSH], i)),
                              sg_sum(g, sg_mul(g, missing, of_site(g, in[WRITE], i)), 1, false));
    sg_value *last =
        sg_equal(g, sg_iota(g, SG_I32, time), sg_sub(g, sg_extent_of(g, SG_I32, time), sg_scalar(g, SG_I32, 1)));
    sg_value *here = sg_and(g, sg_reshape(g, in[OPEN], 3, (sg_dim[]){sg_value_dim(x, 0), 1, 1}),
                            sg_reshape(g, last, 3, (sg_dim[]){1, time, 1}));
    s->whole = sg_where(g, here, sg_add(g, x, sg_expand(g, change, 1)), x);
    sg_replace(g, x, s->whole);
    s->after = at_last(g, s->whole);
    sg_scope(g, "%s", "");
}

static sg_status check_site(const sg_intervener *iv, int i, const sg_value *x, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    const sg_probe *p = iv->sites[i].probe;
    if (strcmp(sg_value_axes(x), "btd") != 0 || sg_value_dtype(x) != SG_F32 || sg_value_dim(x, 2) != iv->width)
        return sg_fail(err, SG_ESHAPE, "intervene: %s is %s %s, wanted f32 [batch,time,%" PRId64 "]", iv->sites[i].name,
                       sg_dtype_name(sg_value_dtype(x)), sg_value_shape_text(x, shape), iv->width);
    if (sg_probe_width(p) != iv->width || sg_probe_n_tasks(p) != iv->tasks || sg_probe_n_classes(p) != iv->classes)
        return sg_fail(err, SG_ESHAPE,
                       "intervene: the probe of %s has width %" PRId64 ", %" PRId64
                       " tasks of %d classes, that of %s %" PRId64 ", %" PRId64 " of %d",
                       iv->sites[i].name, sg_probe_width(p), sg_probe_n_tasks(p), sg_probe_n_classes(p),
                       iv->sites[0].name, iv->width, iv->tasks, iv->classes);
    return SG_OK;
}

static sg_status build(sg_intervener *iv, sg_error *err)
{
    sg_graph *g = sg_glass_graph(iv->glass);
    const sg_dim batch = sg_extent(g, "batch"), k = sg_extent(g, "changes"), n = iv->n_sites, d = iv->width;
    sg_value *const in[N_INPUTS] = {
        [OPEN] = sg_input(g, input_names[OPEN], SG_BOOL, 1, &batch),
        [BY_NORM] = sg_input(g, input_names[BY_NORM], SG_BOOL, 0, NULL),
        [PUSH] = sg_input(g, input_names[PUSH], SG_F32, 3, (sg_dim[]){n, batch, d}),
        [READ] = sg_input(g, input_names[READ], SG_F32, 4, (sg_dim[]){n, batch, k, d}),
        [WRITE] = sg_input(g, input_names[WRITE], SG_F32, 4, (sg_dim[]){n, batch, k, d}),
        [WANTED] = sg_input(g, input_names[WANTED], SG_F32, 3, (sg_dim[]){n, batch, k}),
    };
    for (int i = 0; i < iv->n_sites; i++) {
        sg_value *x;
        SG_TRY(sg_glass_find(iv->glass, iv->sites[i].name, &x, err));
        SG_TRY(check_site(iv, i, x, err));
        splice(iv, g, i, in);
    }
    sg_value *logits;
    SG_TRY(sg_glass_find(iv->glass, "logits", &logits, err));
    iv->logits = at_last(g, logits);
    return sg_graph_status(g, err);
}

static void drop_glass(void *glass)
{
    sg_glass_free(glass);
}

static sg_status make(sg_intervener *iv, const sg_model *m, const char *const *sites, const sg_probe *const *probes,
                      sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec = iv->exec;
    iv->sites = sg_arena_array(iv->arena, (size_t)iv->n_sites, sizeof *iv->sites);
    for (int i = 0; i < iv->n_sites && iv->sites; i++) {
        iv->sites[i].probe = probes[i];
        if (!(iv->sites[i].name = sg_arena_strdup(iv->arena, sites[i])))
            iv->sites = NULL;
    }
    if (!iv->sites)
        return sg_fail(err, SG_ENOMEM, "intervene: out of memory");
    iv->width = sg_probe_width(probes[0]);
    iv->tasks = sg_probe_n_tasks(probes[0]);
    iv->classes = sg_probe_n_classes(probes[0]);
    iv->n_vocab = sg_model_get_info(m)->n_vocab;
    SG_TRY(sg_glass_new(&iv->glass, m, opts, err));
    SG_TRY(sg_arena_defer(iv->arena, drop_glass, iv->glass));
    return build(iv, err);
}

sg_status sg_intervener_new(sg_intervener **out, const sg_model *m, int n_sites, const char *const *sites,
                            const sg_probe *const *probes, sg_exec_opts exec, sg_error *err)
{
    *out = NULL;
    if (n_sites < 1 || n_sites > MAX_SITES)
        return sg_fail(err, SG_EARG, "intervene: %d sites, wanted 1 to %d", n_sites, MAX_SITES);
    sg_arena *arena = sg_arena_new();
    sg_intervener *iv = arena ? sg_arena_alloc(arena, sizeof *iv) : NULL;
    if (!iv) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "intervene: out of memory");
    }
    *iv = (sg_intervener){.arena = arena, .exec = exec, .n_sites = n_sites};
    const sg_status status = make(iv, m, sites, probes, err);
    if (status != SG_OK) {
        sg_intervener_free(iv);
        return status;
    }
    *out = iv;
    return SG_OK;
}

void sg_intervener_free(sg_intervener *iv)
{
    if (!iv)
        return;
    for (int i = 0; i < iv->n_sites && iv->sites; i++)
        sg_mover_free(iv->sites[i].mover);
    sg_arena_free(iv->arena);
}

int sg_intervener_n_sites(const sg_intervener *iv)
{
    return iv->n_sites;
}

/* ---- one batch of rows ---- */

typedef struct work {
    sg_intervener *iv;
    const sg_intervene_opts *opts;
    owned *result;
    const sg_rewrite *all;
    sg_dim first, n; /* rows of this batch */
    sg_dim time;     /* of the longest of all rows: one plan for all batches */
    sg_dim changes;  /* most of any row, at least 1 */
    const int32_t **tokens;
    sg_dim *lengths;
    /* inputs of the splice, [n_sites,n,...] */
    uint8_t *open, by_norm;
    float *push, *read, *write, *wanted;
    /* what the probe is to read: one site's */
    sg_aim aim;
    bool *reads; /* [n] whether the probe reads all of a row's changes already */
    double *loss;
    float *fed; /* [n_sites,n,time,D] */
} work;

static bool changes_something(const sg_rewrite *r)
{
    for (int k = 0; k < r->n_changes; k++)
        if (r->changes[k].from != r->changes[k].to)
            return true;
    return false;
}

static sg_status run_glass(work *w, int n_fed, int n_fetches, sg_value *const *fetches, sg_tensor *out, sg_error *err)
{
    const sg_intervener *iv = w->iv;
    const sg_dim n = w->n, s = iv->n_sites, k = w->changes, d = iv->width;
    sg_named_feed feeds[N_INPUTS + MAX_SITES];
    int n_feeds = 0;
    SG_ASSERT(n_fed <= MAX_SITES);
    feeds[n_feeds++] = (sg_named_feed){input_names[OPEN], sg_tensor_of(SG_BOOL, 1, &n, w->open)};
    feeds[n_feeds++] = (sg_named_feed){input_names[BY_NORM], sg_tensor_of(SG_BOOL, 0, NULL, &w->by_norm)};
    feeds[n_feeds++] = (sg_named_feed){input_names[PUSH], sg_tensor_of(SG_F32, 3, (sg_dim[]){s, n, d}, w->push)};
    feeds[n_feeds++] = (sg_named_feed){input_names[READ], sg_tensor_of(SG_F32, 4, (sg_dim[]){s, n, k, d}, w->read)};
    feeds[n_feeds++] = (sg_named_feed){input_names[WRITE], sg_tensor_of(SG_F32, 4, (sg_dim[]){s, n, k, d}, w->write)};
    feeds[n_feeds++] = (sg_named_feed){input_names[WANTED], sg_tensor_of(SG_F32, 3, (sg_dim[]){s, n, k}, w->wanted)};
    for (int i = 0; i < n_fed; i++)
        feeds[n_feeds++] =
            (sg_named_feed){iv->sites[i].name, sg_tensor_of(SG_F32, 3, (sg_dim[]){n, w->time, d},
                                                            w->fed + (size_t)i * (size_t)(n * w->time * d))};
    const sg_rows rows = {
        .n_rows = (int)n, .tokens = w->tokens, .lengths = w->lengths, .pad_left = true, .time = w->time};
    return sg_glass_run(iv->glass, &rows, n_feeds, feeds, n_fetches, fetches, out, err);
}

/* w_to - w_from of a linear probe, and the difference of their biases. */
static double difference(const sg_probe *p, const sg_change *c, float *out)
{
    const float *w = p->w.data, *b = p->b.data;
    for (sg_dim d = 0; d < p->width; d++) {
        const float *at = w + (d * p->tasks + c->task) * p->classes;
        out[d] = at[c->to] - at[c->from];
    }
    return (double)b[c->task * p->classes + c->to] - (double)b[c->task * p->classes + c->from];
}

/* The class that is neither: the first such. */
static sg_change wrong(const sg_change *c)
{
    sg_change other = *c;
    for (other.to = 0; other.to == c->from || other.to == c->to;)
        other.to++;
    return other;
}

static double length(const float *x, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void random_unit(float *out, sg_dim n, uint64_t seed, uint32_t stream, sg_dim row)
{
    sg_rng r = sg_rng_new(seed, stream);
    r.step = (uint64_t)row;
    for (sg_dim i = 0; i < n; i++)
        out[i] = (float)sg_rng_normal(&r);
    const double size = length(out, n);
    for (sg_dim i = 0; i < n; i++)
        out[i] = (float)((double)out[i] / size);
}

/* push [D] of row r at site i: the sum of unit vectors, or a random one, times the strength or the given length. */
static sg_status push_of(work *w, int i, sg_dim r, float *push, float *scratch, sg_error *err)
{
    const sg_intervene_opts *o = w->opts;
    const site *s = &w->iv->sites[i];
    const sg_dim d = w->iv->width, row = w->first + r;
    const sg_rewrite *rewrite = &w->all[row];
    if (o->kind == SG_INTERVENE_RANDOM) {
        random_unit(push, d, o->seed, (uint32_t)i, row);
    } else {
        memset(push, 0, (size_t)d * sizeof *push);
        for (int k = 0; k < rewrite->n_changes; k++) {
            const sg_change c = o->kind == SG_INTERVENE_WRONG ? wrong(&rewrite->changes[k]) : rewrite->changes[k];
            if (rewrite->changes[k].from == rewrite->changes[k].to)
                continue;
            if (o->scale == SG_SCALE_RAW && !o->norms)
                (void)difference(s->probe, &c, scratch);
            else
                SG_TRY(sg_probe_direction(s->probe, c.task, c.to, c.from, scratch, err));
            for (sg_dim j = 0; j < d; j++)
                push[j] += scratch[j];
        }
    }
    double by = o->strength;
    if (o->norms) {
        const double size = length(push, d);
        by = size > 0 ? (double)o->norms[row * w->iv->n_sites + i] / size : 0;
    }
    for (sg_dim j = 0; j < d; j++)
        push[j] = (float)((double)push[j] * by);
    return SG_OK;
}

/* read, write and wanted of row r at site i, where x [D] is what was there before anything was changed. The rows of
 * `write` are such that a step along them changes its own margin alone: the pseudo-inverse of `read`. */
static sg_status mirror_of(work *w, int i, sg_dim r, const float *x, sg_error *err)
{
    const sg_dim d = w->iv->width, at = (i * w->n + r) * w->changes;
    const sg_rewrite *rewrite = &w->all[w->first + r];
    float *read = w->read + at * d, *write = w->write + at * d, *wanted = w->wanted + at;
    int n = 0;
    for (int k = 0; k < rewrite->n_changes; k++) {
        const sg_change *of = &rewrite->changes[k], c = w->opts->kind == SG_INTERVENE_WRONG ? wrong(of) : *of;
        if (of->from == of->to)
            continue;
        float *row = read + n * d;
        const double bias = difference(w->iv->sites[i].probe, &c, row);
        double margin = bias;
        for (sg_dim j = 0; j < d; j++)
            margin += (double)row[j] * (double)x[j];
        const double share = margin < 0 ? 1 - 2 * w->opts->strength : 1; /* else the probe reads `to` already */
        wanted[n++] = (float)(share * margin - bias);
    }
    sg_pinv *p;
    const sg_tensor m = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, read);
    SG_TRY(sg_pinv_new(&p, &m, sg_pinv_defaults(), err));
    for (sg_dim k = 0; k < n; k++)
        for (sg_dim j = 0; j < d; j++)
            write[k * d + j] = ((const float *)p->inverse.data)[j * n + k];
    sg_pinv_free(p);
    return SG_OK;
}

static void clear(work *w)
{
    const size_t n = (size_t)(w->iv->n_sites * w->n), k = n * (size_t)w->changes, d = (size_t)w->iv->width;
    memset(w->open, 0, (size_t)w->n);
    memset(w->push, 0, n * d * sizeof *w->push);
    memset(w->read, 0, k * d * sizeof *w->read);
    memset(w->write, 0, k * d * sizeof *w->write);
    memset(w->wanted, 0, k * sizeof *w->wanted);
    w->by_norm = 0;
}

/* Fills the inputs of the splice for a kind that goes along a direction. */
static sg_status aim_splice(work *w, sg_error *err)
{
    const sg_intervene_opts *o = w->opts;
    const sg_intervener *iv = w->iv;
    const bool mirror = !o->norms && o->scale == SG_SCALE_MIRROR;
    sg_tensor before[MAX_SITES];
    sg_value *fetches[MAX_SITES];
    if (mirror) {
        for (int i = 0; i < iv->n_sites; i++)
            fetches[i] = iv->sites[i].before;
        SG_TRY(run_glass(w, 0, iv->n_sites, fetches, before, err));
    }
    float *scratch = w->aim.x; /* wide enough, and not in use yet */
    for (sg_dim r = 0; r < w->n; r++) {
        w->open[r] = changes_something(&w->all[w->first + r]) && (o->norms || o->strength != 0);
        for (int i = 0; i < iv->n_sites && w->open[r]; i++) {
            if (mirror)
                SG_TRY(mirror_of(w, i, r, (const float *)before[i].data + r * iv->width, err));
            else
                SG_TRY(push_of(w, i, r, w->push + (i * w->n + r) * iv->width, scratch, err));
        }
    }
    w->by_norm = !o->norms && o->scale == SG_SCALE_NORM;
    return SG_OK;
}

/* What the probe of site i is to read off x [n,D]: as it does, but for the changes. x is copied into the aim. */
static sg_status aim_at(work *w, int i, const float *x, sg_error *err)
{
    const sg_intervener *iv = w->iv;
    memcpy(w->aim.x, x, (size_t)(w->n * iv->width) * sizeof *x);
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){w->n, iv->width}, w->aim.x);
    SG_TRY(sg_probe_read(iv->sites[i].probe, &acts, w->aim.labels, err));
    for (sg_dim r = 0; r < w->n; r++) {
        const sg_rewrite *rewrite = &w->all[w->first + r];
        const float keep = rewrite->n_changes ? (float)w->opts->keep : 0;
        for (sg_dim t = 0; t < iv->tasks; t++)
            w->aim.weights[r * iv->tasks + t] = keep;
        w->reads[r] = true;
        for (int k = 0; k < rewrite->n_changes; k++) {
            const sg_dim at = r * iv->tasks + rewrite->changes[k].task;
            w->reads[r] = w->reads[r] && w->aim.labels[at] == rewrite->changes[k].to;
            w->aim.labels[at] = rewrite->changes[k].to;
            w->aim.weights[at] = 1;
        }
    }
    return SG_OK;
}

/* Records site i, at which x became what w->aim has or, where `after` is given, that. */
static sg_status record(work *w, int i, const float *before, const float *after, sg_error *err)
{
    const sg_intervener *iv = w->iv;
    sg_intervention *r = &w->result->face;
    const sg_dim d = iv->width;
    for (int pass = 0; pass < 2; pass++) {
        const float *x = pass ? after : before;
        sg_aim aim = w->aim;
        if (aim.x != x)
            memcpy(aim.x, x, (size_t)(w->n * d) * sizeof *x);
        SG_TRY(sg_aim_loss(iv->sites[i].probe, aim, w->n, w->loss, err));
        for (sg_dim k = 0; k < w->n; k++)
            (pass ? r->loss_after : r->loss_before)[(w->first + k) * iv->n_sites + i] = w->loss[k];
    }
    for (sg_dim k = 0; k < w->n; k++) {
        const sg_dim at = (w->first + k) * iv->n_sites + i;
        for (sg_dim j = 0; j < d; j++)
            r->change[at * d + j] = after[k * d + j] - before[k * d + j];
        r->norm[at] = (float)length(r->change + at * d, d);
    }
    return SG_OK;
}

static sg_status along_directions(work *w, sg_error *err)
{
    const sg_intervener *iv = w->iv;
    sg_value *fetches[1 + 2 * MAX_SITES];
    sg_tensor out[1 + 2 * MAX_SITES];
    int n = 0;
    if (w->opts->kind != SG_INTERVENE_NONE)
        SG_TRY(aim_splice(w, err));
    fetches[n++] = iv->logits;
    for (int i = 0; i < iv->n_sites; i++) {
        fetches[n++] = iv->sites[i].before;
        fetches[n++] = iv->sites[i].after;
    }
    SG_TRY(run_glass(w, 0, n, fetches, out, err));
    for (int i = 0; i < iv->n_sites; i++) {
        SG_TRY(aim_at(w, i, out[1 + 2 * i].data, err));
        SG_TRY(record(w, i, out[1 + 2 * i].data, out[2 + 2 * i].data, err));
    }
    memcpy(w->result->face.logits + w->first * iv->n_vocab, out[0].data, sg_tensor_bytes(&out[0]));
    return SG_OK;
}

static sg_status by_gradient(work *w, sg_error *err)
{
    sg_intervener *iv = w->iv;
    const sg_dim d = iv->width, place = w->time - 1;
    sg_tensor out;
    for (int i = 0; i < iv->n_sites; i++) {
        site *s = &iv->sites[i];
        float *fed = w->fed + (size_t)i * (size_t)(w->n * w->time * d), *before = w->push; /* which is not used here */
        if (s->mover && sg_mover_n_rows(s->mover) != w->n) {
            sg_mover_free(s->mover);
            s->mover = NULL;
        }
        if (!s->mover)
            SG_TRY(sg_mover_new(&s->mover, s->probe, w->n, iv->exec, err));
        SG_TRY(run_glass(w, i, 1, &s->whole, &out, err));
        memcpy(fed, out.data, sg_tensor_bytes(&out));
        for (sg_dim r = 0; r < w->n; r++)
            memcpy(before + r * d, fed + (r * w->time + place) * d, (size_t)d * sizeof *fed);
        SG_TRY(aim_at(w, i, before, err));
        SG_TRY(sg_mover_run(s->mover, w->aim, w->opts->n_steps, w->opts->lr, w->opts->cancel, err));
        for (sg_dim r = 0; r < w->n; r++)
            if (w->reads[r]) /* nothing is to be done, and steps would only make the probe surer */
                memcpy(w->aim.x + r * d, before + r * d, (size_t)d * sizeof *before);
        for (sg_dim r = 0; r < w->n; r++)
            memcpy(fed + (r * w->time + place) * d, w->aim.x + r * d, (size_t)d * sizeof *fed);
        /* The aim's labels stay what they were before the steps; `after` is apart from it, as it is written over. */
        float *after = w->read;
        memcpy(after, w->aim.x, (size_t)(w->n * d) * sizeof *after);
        SG_TRY(record(w, i, before, after, err));
        memset(w->push, 0, (size_t)(w->n * d) * sizeof *w->push);
        memset(w->read, 0, (size_t)(w->n * d) * sizeof *w->read);
    }
    SG_TRY(run_glass(w, iv->n_sites, 1, &iv->logits, &out, err));
    memcpy(w->result->face.logits + w->first * iv->n_vocab, out.data, sg_tensor_bytes(&out));
    return SG_OK;
}

/* ---- all rows ---- */

static sg_status check_opts(const sg_intervener *iv, const sg_intervene_opts *o, sg_error *err)
{
    const bool turned = o->kind == SG_INTERVENE_RANDOM || o->kind == SG_INTERVENE_WRONG;
    if (o->kind < 0 || o->kind >= SG_N_INTERVENE_KINDS || o->scale < 0 || o->scale >= SG_N_INTERVENE_SCALES ||
        !isfinite(o->strength) || o->n_steps < 0 || !(o->lr >= 0) || !(o->keep >= 0) || o->batch < 1 ||
        o->batch > INT32_MAX)
        return sg_fail(err, SG_EARG,
                       "intervene: kind %d, scale %d, strength %g, %d steps at rate %g, keep %g and batches of %" PRId64
                       " do not go together",
                       (int)o->kind, (int)o->scale, o->strength, o->n_steps, o->lr, o->keep, o->batch);
    if (o->norms && !turned)
        return sg_fail(err, SG_EARG, "intervene: lengths are given to a %s intervention",
                       sg_intervene_kind_name(o->kind));
    if (o->kind == SG_INTERVENE_RANDOM && !o->norms && o->scale == SG_SCALE_MIRROR)
        return sg_fail(err, SG_EARG, "intervene: a random direction has no margin to mirror: give it lengths");
    if (o->kind == SG_INTERVENE_WRONG && iv->classes < 3)
        return sg_fail(err, SG_EARG, "intervene: of %d classes none is wrong", iv->classes);
    for (int i = 0; i < iv->n_sites; i++)
        if ((o->kind == SG_INTERVENE_DIRECTION || o->kind == SG_INTERVENE_WRONG) &&
            sg_probe_get_kind(iv->sites[i].probe) == SG_PROBE_MLP)
            return sg_fail(err, SG_EUNSUPPORTED,
                           "intervene: the probe of %s is an mlp, which has no direction: take gradient steps",
                           iv->sites[i].name);
    return SG_OK;
}

static sg_status check_rows(const sg_intervener *iv, sg_dim n_rows, const sg_rewrite *rows, sg_error *err)
{
    for (sg_dim r = 0; r < n_rows; r++)
        for (int k = 0; k < rows[r].n_changes; k++) {
            const sg_change *c = &rows[r].changes[k];
            if (c->task < 0 || c->task >= iv->tasks || c->from < 0 || c->to < 0 || c->from >= iv->classes ||
                c->to >= iv->classes)
                return sg_fail(err, SG_EARG,
                               "intervene: row %" PRId64 " changes task %" PRId64 " from %d to %d; there are %" PRId64
                               " tasks of %d classes",
                               r, c->task, c->from, c->to, iv->tasks, iv->classes);
        }
    return SG_OK;
}

static sg_status new_result(owned **out, const sg_intervener *iv, sg_dim n_rows, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    owned *r = arena ? sg_arena_alloc(arena, sizeof *r) : NULL;
    const size_t n = (size_t)n_rows, at = n * (size_t)iv->n_sites;
    const char **sites = arena ? sg_arena_array(arena, (size_t)iv->n_sites, sizeof *sites) : NULL;
    bool good = r && sites;
    if (good) {
        *r = (owned){.arena = arena,
                     .face = {.n_rows = n_rows, .n_vocab = iv->n_vocab, .width = iv->width, .n_sites = iv->n_sites}};
        r->face.sites = sites;
        r->face.logits = sg_arena_array(arena, n * (size_t)iv->n_vocab, sizeof(float));
        r->face.change = sg_arena_array(arena, at * (size_t)iv->width, sizeof(float));
        r->face.norm = sg_arena_array(arena, at, sizeof(float));
        r->face.loss_before = sg_arena_array(arena, at, sizeof(double));
        r->face.loss_after = sg_arena_array(arena, at, sizeof(double));
        good = r->face.logits && r->face.change && r->face.norm && r->face.loss_before && r->face.loss_after;
    }
    for (int i = 0; i < iv->n_sites && good; i++)
        good = (sites[i] = sg_arena_strdup(arena, iv->sites[i].name)) != NULL;
    if (!good) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "intervene: out of memory for %" PRId64 " rows", n_rows);
    }
    *out = r;
    return SG_OK;
}

static sg_status room(work *w, sg_arena *arena, sg_dim n, sg_error *err)
{
    const sg_intervener *iv = w->iv;
    const size_t rows = (size_t)n, s = (size_t)iv->n_sites, d = (size_t)iv->width, k = (size_t)w->changes,
                 tasks = (size_t)iv->tasks;
    const bool feeds = w->opts->kind == SG_INTERVENE_GRADIENT;
    w->tokens = sg_arena_array(arena, rows, sizeof *w->tokens);
    w->lengths = sg_arena_array(arena, rows, sizeof *w->lengths);
    w->open = sg_arena_array(arena, rows, 1);
    w->push = sg_arena_array(arena, s * rows * d, sizeof(float));
    w->read = sg_arena_array(arena, s * rows * k * d, sizeof(float));
    w->write = sg_arena_array(arena, s * rows * k * d, sizeof(float));
    w->wanted = sg_arena_array(arena, s * rows * k, sizeof(float));
    w->aim = (sg_aim){.x = sg_arena_array(arena, rows * d, sizeof(float)),
                      .labels = sg_arena_array(arena, rows * tasks, sizeof(int32_t)),
                      .weights = sg_arena_array(arena, rows * tasks, sizeof(float))};
    w->reads = sg_arena_array(arena, rows, sizeof(bool));
    w->loss = sg_arena_array(arena, rows, sizeof(double));
    w->fed = feeds ? sg_arena_array(arena, s * rows * (size_t)w->time * d, sizeof(float)) : NULL;
    if (!w->tokens || !w->lengths || !w->open || !w->push || !w->read || !w->write || !w->wanted || !w->aim.x ||
        !w->aim.labels || !w->aim.weights || !w->reads || !w->loss || (feeds && !w->fed))
        return sg_fail(err, SG_ENOMEM, "intervene: out of memory for %zu rows at once", rows);
    return SG_OK;
}

static sg_status run(work *w, sg_dim n_rows, sg_error *err)
{
    const sg_intervene_opts *o = w->opts;
    for (w->first = 0; w->first < n_rows; w->first += w->n) {
        w->n = SG_MIN(o->batch, n_rows - w->first);
        if (o->cancel && *o->cancel)
            return sg_fail(err, SG_ECANCELLED, "stopped after %" PRId64 " of %" PRId64 " rows", w->first, n_rows);
        for (sg_dim r = 0; r < w->n; r++) {
            w->tokens[r] = w->all[w->first + r].tokens;
            w->lengths[r] = w->all[w->first + r].n_tokens;
        }
        clear(w);
        SG_TRY(o->kind == SG_INTERVENE_GRADIENT ? by_gradient(w, err) : along_directions(w, err));
        if (o->progress)
            o->progress(o->context, (double)(w->first + w->n) / (double)n_rows);
    }
    return SG_OK;
}

sg_status sg_intervener_run(sg_intervention **out, sg_intervener *iv, sg_dim n_rows, const sg_rewrite *rows,
                            sg_intervene_opts opts, sg_error *err)
{
    *out = NULL;
    if (n_rows < 1)
        return sg_fail(err, SG_EARG, "intervene: no rows");
    SG_TRY(check_opts(iv, &opts, err));
    SG_TRY(check_rows(iv, n_rows, rows, err));
    work w = {.iv = iv, .opts = &opts, .all = rows, .changes = 1};
    for (sg_dim r = 0; r < n_rows; r++) {
        w.time = SG_MAX(w.time, rows[r].n_tokens);
        w.changes = SG_MAX(w.changes, rows[r].n_changes);
    }
    SG_TRY(new_result(&w.result, iv, n_rows, err));
    sg_arena *arena = sg_arena_new();
    sg_status status =
        arena ? room(&w, arena, SG_MIN(opts.batch, n_rows), err) : sg_fail(err, SG_ENOMEM, "intervene: out of memory");
    if (status == SG_OK)
        status = run(&w, n_rows, err);
    sg_arena_free(arena);
    if (status != SG_OK) {
        sg_intervention_free(&w.result->face);
        return status;
    }
    *out = &w.result->face;
    return SG_OK;
}

void sg_intervention_free(sg_intervention *r)
{
    if (r)
        sg_arena_free(((owned *)r)->arena);
}

void sg_intervention_edits(sg_edit *edits, const sg_intervention *r, sg_dim row)
{
    static const sg_span last = {-1, -1};
    for (int i = 0; i < r->n_sites; i++) {
        edits[i] = sg_edit_defaults();
        edits[i].site = r->sites[i];
        edits[i].op = SG_EDIT_ADD;
        edits[i].value = sg_tensor_of(SG_F32, 1, &r->width, r->change + (row * r->n_sites + i) * r->width);
        edits[i].positions = (sg_spans){1, &last};
    }
}
