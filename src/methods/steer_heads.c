/* Heads: every head's output at the last token of each text, its own probe, its own direction. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/probe.h"
#include "sightglass/steer.h"

typedef struct owned {
    sg_headrank face;
    sg_arena *arena;
} owned;

sg_headrank_opts sg_headrank_defaults(void)
{
    return (sg_headrank_opts){.kind = SG_STEER_MEAN, .validation = .2, .exec = sg_exec_defaults()};
}

/* [texts, heads * width] of each layer. */
static sg_status gather(sg_store **out, const sg_model *m, const sg_steer_data *d, sg_exec_opts exec,
                        const volatile sig_atomic_t *cancel, sg_error *err)
{
    enum { NAME = 48 };
    const int n = (int)sg_model_get_info(m)->n_layers;
    char *names = malloc((size_t)n * NAME);
    const char **sites = malloc((size_t)n * sizeof *sites);
    sg_harvest_opts opts = sg_harvest_defaults();
    sg_status status = names && sites ? SG_OK : sg_fail(err, SG_ENOMEM, "heads: out of memory");
    opts.exec = exec;
    opts.cancel = cancel;
    opts.batch = 16;
    for (int i = 0; status == SG_OK && i < n; i++) {
        sites[i] = names + i * NAME;
        snprintf(names + i * NAME, NAME, "blocks.%d.attn.hook_z", i);
    }
    if (status == SG_OK)
        status = sg_steer_acts(out, m, d, n, sites, opts, err);
    free(names);
    free(sites);
    return status;
}

/* One head's columns of one layer's rows: out [n,width]. */
static void columns(float *out, const sg_tensor *acts, int head, sg_dim width)
{
    for (sg_dim i = 0; i < acts->dims[0]; i++)
        memcpy(out + i * width, (const float *)acts->data + i * acts->dims[1] + head * width,
               (size_t)width * sizeof *out);
}

/* ---- directions ---- */

static sg_status directions(sg_headrank *h, const sg_store *s, const sg_steer_data *d, sg_steer_kind kind,
                            uint64_t seed, sg_error *err)
{
    const sg_dim width = h->d_head;
    float *x = malloc((size_t)(d->n * width) * sizeof *x);
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){d->n, width}, x);
    sg_status status = x ? SG_OK : sg_fail(err, SG_ENOMEM, "heads: out of memory");
    for (int k = 0; k < h->n_layers * h->n_heads && status == SG_OK; k++) {
        columns(x, sg_store_acts(s, k / h->n_heads), k % h->n_heads, width);
        status = sg_steer_direction(h->theta + k * width, &h->sigma[k], kind, &acts, d, seed + (uint64_t)k, err);
    }
    free(x);
    return status;
}

sg_status sg_headrank_redirect(sg_headrank *h, const sg_model *m, const sg_steer_data *d, sg_steer_kind kind,
                               uint64_t seed, sg_exec_opts exec, sg_error *err)
{
    sg_store *s;
    SG_TRY(gather(&s, m, d, exec, NULL, err));
    const sg_status status = directions(h, s, d, kind, seed, err);
    sg_store_free(s);
    return status;
}

/* ---- ranking ---- */

/* Rows of a fold, as positions in the data. */
typedef struct part {
    int n;
    int *rows;
} part;

typedef struct ranking {
    const sg_steer_data *d, *shuffled;
    const sg_headrank_opts *opts;
    part fit, rest, other;
    float *x, *taken; /* [texts,width]: one head's, about the mean of those that are fitted to; those of a part */
    int32_t *labels, *read;
} ranking;

static sg_tensor take(const ranking *r, const part *p, sg_dim width, const sg_steer_data *kinds)
{
    for (int i = 0; i < p->n; i++) {
        memcpy(r->taken + i * width, r->x + p->rows[i] * width, (size_t)width * sizeof *r->taken);
        r->labels[i] = kinds->texts[p->rows[i]].positive;
    }
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){p->n, width}, r->taken);
}

static sg_status judged(const ranking *r, const sg_probe *p, const part *on, sg_dim width, double *accuracy,
                        sg_error *err)
{
    const sg_tensor acts = take(r, on, width, r->d);
    double right = 0;
    SG_TRY(sg_probe_read(p, &acts, r->read, err));
    for (int i = 0; i < on->n; i++)
        right += r->read[i] == r->labels[i];
    *accuracy += .5 * right / on->n; /* of two folds */
    return SG_OK;
}

static sg_status fitted(const ranking *r, const sg_steer_data *kinds, sg_dim width, sg_probe **out, sg_error *err)
{
    const sg_tensor acts = take(r, &r->fit, width, kinds);
    const sg_tensor to = sg_tensor_of(SG_I32, 2, (sg_dim[]){r->fit.n, 1}, r->labels);
    sg_probe_opts opts = sg_probe_defaults();
    opts.kind = SG_PROBE_SOFTMAX;
    opts.n_epochs = 150;
    opts.batch = r->fit.n;
    opts.lr = .05;
    opts.weight_decay = 0;
    opts.n_held = 0;
    opts.seed = r->opts->seed;
    opts.exec = r->opts->exec;
    opts.exec.n_threads = 1;
    opts.cancel = r->opts->cancel;
    return sg_probe_fit(out, &acts, &to, opts, err);
}

/* About the mean of the rows that are fitted to, in units of their deviation: a probe reads the same there, and its
 * steps fit. */
static void centre(const ranking *r, sg_dim width)
{
    double square = 0;
    for (sg_dim k = 0; k < width; k++) {
        double mean = 0;
        for (int i = 0; i < r->fit.n; i++)
            mean += (double)r->x[r->fit.rows[i] * width + k] / r->fit.n;
        for (int i = 0; i < r->d->n; i++)
            r->x[i * width + k] = (float)((double)r->x[i * width + k] - mean);
        for (int i = 0; i < r->fit.n; i++)
            square += pow((double)r->x[r->fit.rows[i] * width + k], 2) / (double)(r->fit.n * width);
    }
    for (sg_dim i = 0; square > 0 && i < r->d->n * width; i++)
        r->x[i] = (float)((double)r->x[i] / sqrt(square));
}

static sg_status rank_head(sg_headrank *h, ranking *r, int k, sg_error *err)
{
    sg_probe *p;
    SG_TRY(fitted(r, r->d, h->d_head, &p, err));
    sg_status status = judged(r, p, &r->rest, h->d_head, &h->accuracy[k], err);
    if (status == SG_OK)
        status = judged(r, p, &r->other, h->d_head, &h->elsewhere[k], err);
    sg_probe_free(p);
    SG_TRY(status);
    SG_TRY(fitted(r, r->shuffled, h->d_head, &p, err));
    status = judged(r, p, &r->other, h->d_head, &h->shuffled[k], err);
    sg_probe_free(p);
    return status;
}

/* Rows of d whose group is one of those in `of`, a split of d: found again by their tokens' place. */
static void rows_of(part *p, const sg_steer_data *d, const sg_steer_data *of)
{
    p->n = 0;
    for (int i = 0, k = 0; i < d->n && k < of->n; i++)
        if (d->texts[i].tokens == of->texts[k].tokens)
            p->rows[p->n++] = i, k++;
}

static sg_status rank_fold(sg_headrank *h, ranking *r, const sg_store *s, const sg_steer_data *dev,
                           const sg_steer_data *other, int fold, sg_error *err)
{
    sg_steer_data *rest, *fit;
    SG_TRY(sg_steer_split(&rest, &fit, dev, r->opts->validation, r->opts->seed + 11 + (uint64_t)fold, err));
    rows_of(&r->fit, r->d, fit);
    rows_of(&r->rest, r->d, rest);
    rows_of(&r->other, r->d, other);
    sg_steer_data_free(rest);
    sg_steer_data_free(fit);
    if (r->fit.n < 2 || r->rest.n < 1 || r->other.n < 1)
        return sg_fail(err, SG_EARG, "heads: %d groups are too few for two folds with a part to fit and a part to rank",
                       r->d->n_groups);
    for (int k = 0; k < h->n_layers * h->n_heads; k++) {
        columns(r->x, sg_store_acts(s, k / h->n_heads), k % h->n_heads, h->d_head);
        centre(r, h->d_head);
        SG_TRY(rank_head(h, r, k, err));
        if (r->opts->progress)
            r->opts->progress(r->opts->context, .1 + .9 * (fold + (k + 1.0) / (h->n_layers * h->n_heads)) / 2);
    }
    return SG_OK;
}

static void sort_heads(sg_headrank *h)
{
    const int n = h->n_layers * h->n_heads;
    for (int i = 0; i < n; i++) { /* by insertion: equals stay in the model's order */
        int k = i;
        for (; k > 0 && h->accuracy[i] > h->accuracy[h->order[k - 1]]; k--)
            h->order[k] = h->order[k - 1];
        h->order[k] = i;
    }
}

static sg_status rank(owned *o, const sg_model *m, const sg_steer_data *d, const sg_headrank_opts *opts, sg_error *err)
{
    sg_headrank *h = &o->face;
    const sg_dim width = h->d_head;
    sg_steer_data *one = NULL, *two = NULL, *shuffled = NULL;
    sg_store *s = NULL;
    sg_arena *room = sg_arena_new();
    ranking r = {.d = d, .opts = opts};
    double positive = 0;
    for (int i = 0; i < d->n; i++)
        positive += d->texts[i].positive;
    h->larger = fmax(positive, d->n - positive) / fmax(1, d->n);
    sg_status status = room ? SG_OK : sg_fail(err, SG_ENOMEM, "heads: out of memory");
    if (status == SG_OK) {
        r.x = sg_arena_array(room, (size_t)(d->n * width), sizeof *r.x);
        r.taken = sg_arena_array(room, (size_t)(d->n * width), sizeof *r.taken);
        r.labels = sg_arena_array(room, (size_t)d->n, sizeof *r.labels);
        r.read = sg_arena_array(room, (size_t)d->n, sizeof *r.read);
        r.fit.rows = sg_arena_array(room, (size_t)d->n, sizeof *r.fit.rows);
        r.rest.rows = sg_arena_array(room, (size_t)d->n, sizeof *r.rest.rows);
        r.other.rows = sg_arena_array(room, (size_t)d->n, sizeof *r.other.rows);
        if (!r.x || !r.taken || !r.labels || !r.read || !r.fit.rows || !r.rest.rows || !r.other.rows)
            status = sg_fail(err, SG_ENOMEM, "heads: out of memory for %d texts", d->n);
    }
    if (status == SG_OK)
        status = gather(&s, m, d, opts->exec, opts->cancel, err);
    if (status == SG_OK)
        status = directions(h, s, d, opts->kind, opts->seed, err);
    if (status == SG_OK)
        status = sg_steer_split(&one, &two, d, .5, opts->seed, err);
    if (status == SG_OK)
        status = sg_steer_shuffled(&shuffled, d, opts->seed, err);
    r.shuffled = shuffled;
    if (status == SG_OK)
        status = rank_fold(h, &r, s, one, two, 0, err);
    if (status == SG_OK)
        status = rank_fold(h, &r, s, two, one, 1, err);
    if (status == SG_OK)
        sort_heads(h);
    sg_steer_data_free(one);
    sg_steer_data_free(two);
    sg_steer_data_free(shuffled);
    sg_store_free(s);
    sg_arena_free(room);
    return status;
}

sg_status sg_headrank_new(sg_headrank **out, const sg_model *m, const sg_steer_data *d, sg_headrank_opts opts,
                          sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(m);
    *out = NULL;
    if (!(opts.validation > 0 && opts.validation < 1))
        return sg_fail(err, SG_EARG, "heads: a validation share of %g, wanted more than 0 and less than 1",
                       opts.validation);
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    const size_t n = (size_t)(in->n_layers * in->n_heads);
    if (o) {
        *o = (owned){.arena = arena,
                     .face = {.n_layers = (int)in->n_layers, .n_heads = (int)in->n_heads, .d_head = in->d_head}};
        sg_headrank *h = &o->face;
        h->accuracy = sg_arena_array(arena, n, sizeof *h->accuracy);
        h->elsewhere = sg_arena_array(arena, n, sizeof *h->elsewhere);
        h->shuffled = sg_arena_array(arena, n, sizeof *h->shuffled);
        h->sigma = sg_arena_array(arena, n, sizeof *h->sigma);
        h->order = sg_arena_array(arena, n, sizeof *h->order);
        h->theta = sg_arena_array(arena, n * (size_t)in->d_head, sizeof *h->theta);
    }
    sg_status status = SG_OK;
    if (!o || !o->face.accuracy || !o->face.elsewhere || !o->face.shuffled || !o->face.sigma || !o->face.order ||
        !o->face.theta)
        status = sg_fail(err, SG_ENOMEM, "heads: out of memory");
    if (status == SG_OK)
        status = rank(o, m, d, &opts, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_headrank_free(sg_headrank *h)
{
    if (h)
        sg_arena_free(((owned *)h)->arena);
}

/* ---- intervening ---- */

/* A layer's heads in one edit: their vectors in [heads,width], zeros in others, which are left out of the edit too, so
 * that they keep every bit. */
static sg_status add_layer(sg_edit_list *list, const sg_headrank *h, int layer, const bool *chosen, double alpha,
                           sg_steer_where where, float *value, sg_span *spans, sg_error *err)
{
    char site[48];
    int n = 0;
    memset(value, 0, (size_t)(h->n_heads * h->d_head) * sizeof *value);
    for (int k = 0; k < h->n_heads; k++) {
        const int at = layer * h->n_heads + k;
        if (!chosen[at])
            continue;
        spans[n++] = (sg_span){k, k};
        for (sg_dim i = 0; i < h->d_head; i++)
            value[k * h->d_head + i] = (float)(h->sigma[at] * (double)h->theta[at * h->d_head + i]);
    }
    if (n == 0)
        return SG_OK;
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){h->n_heads, h->d_head}, value);
    snprintf(site, sizeof site, "blocks.%d.attn.hook_z", layer);
    /* Heads are told by editing the list's own copies: sg_steer_add knows of none. */
    sg_edit_list *own;
    SG_TRY(sg_edit_list_new(&own, "heads", err));
    sg_status status = sg_steer_add(own, site, &t, alpha, where, err);
    for (int i = 0; i < sg_edit_list_count(own) && status == SG_OK; i++) {
        sg_edit e = *sg_edit_list_at(own, i);
        e.heads = (sg_spans){n, spans};
        status = sg_edit_list_add(list, &e, err);
    }
    sg_edit_list_free(own);
    return status;
}

sg_status sg_steer_iti(sg_edit_list *list, const sg_headrank *h, int n, const int *heads, double alpha,
                       sg_steer_where where, sg_error *err)
{
    const int all = h->n_layers * h->n_heads;
    if (n < 1 || n > all)
        return sg_fail(err, SG_EARG, "steer: %d heads of %d", n, all);
    bool *chosen = calloc((size_t)all, sizeof *chosen);
    float *value = malloc((size_t)(h->n_heads * h->d_head) * sizeof *value);
    sg_span *spans = malloc((size_t)h->n_heads * sizeof *spans);
    sg_status status = chosen && value && spans ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory");
    for (int i = 0; status == SG_OK && i < n; i++) {
        const int k = heads ? heads[i] : h->order[i];
        if (k < 0 || k >= all)
            status = sg_fail(err, SG_EARG, "steer: head %d of %d", k, all);
        else
            chosen[k] = true;
    }
    for (int layer = 0; layer < h->n_layers && status == SG_OK; layer++)
        status = add_layer(list, h, layer, chosen, alpha, where, value, spans, err);
    free(chosen);
    free(value);
    free(spans);
    return status;
}
