/* Judging: what is read off subjects' states beside what the model says, and what an edit by the map's inverse does to
 * it. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/lre_internal.h"
#include "sightglass/bootstrap.h"
#include "sightglass/linalg.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { STREAM_OF_PAIRS = 12, STREAM_OF_DIRECTIONS = 13 };

const char *sg_lre_reading_name(sg_lre_reading r)
{
    static const char *const names[SG_N_LRE_READINGS] = {"lre", "identity", "translation", "regression",
                                                         "another relation"};
    return names[r];
}

const char *sg_lre_cause_name(sg_lre_cause c)
{
    static const char *const names[SG_N_LRE_CAUSES] = {"other's state", "other's word", "random", "copy"};
    return names[c];
}

/* ---- rates ---- */

static sg_status rate(sg_lre_rate *out, const double *right, sg_dim n, uint64_t seed, sg_error *err)
{
    sg_bootstrap_opts opts = sg_bootstrap_defaults();
    sg_interval i;
    double sum = 0;
    *out = (sg_lre_rate){(double)NAN, (double)NAN, (double)NAN, n};
    if (n < 1)
        return SG_OK;
    opts.seed = seed;
    for (sg_dim k = 0; k < n; k++)
        sum += right[k];
    SG_TRY(sg_bootstrap_ratio(&i, n, right, NULL, opts, err));
    *out = (sg_lre_rate){sum / (double)n, i.low, i.high, n};
    return SG_OK;
}

static bool in_part(int i, int part)
{
    return part == SG_LRE_WHOLE || (part == SG_LRE_CHOOSING) == (i % 2 == 0);
}

/* ---- readings ---- */

/* Maps fitted to the same n pairs: mean(o - s), and least squares of least norm. */
static void translate(float *o, const sg_lre *lre, int site, sg_dim n, const float *s)
{
    const sg_dim d = lre->d_o;
    for (sg_dim c = 0; c < d; c++) {
        double mean = 0;
        for (int k = 0; k < lre->n; k++)
            mean += ((double)lre->o[k * d + c] - (double)lre->s[site][k * d + c]) / lre->n;
        for (sg_dim i = 0; i < n; i++)
            o[i * d + c] = (float)((double)s[i * d + c] + mean);
    }
}

static sg_status regress(float *o, const sg_lre *lre, int site, sg_dim n, const float *s, sg_error *err)
{
    const sg_dim ds = lre->width[site], d = lre->d_o;
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){lre->n, ds}, lre->s[site]);
    const sg_tensor y = sg_tensor_of(SG_F32, 2, (sg_dim[]){lre->n, d}, lre->o);
    const double none = 0;
    sg_ridge *fit;
    SG_TRY(sg_ridge_new(&fit, &x, &y, &none, 1, sg_ridge_defaults(), err));
    const sg_tensor w = sg_tensor_of(SG_F32, 2, (sg_dim[]){ds, d}, fit->weights.data);
    const sg_tensor from = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, ds}, (void *)(uintptr_t)s);
    const sg_tensor out = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, o);
    for (sg_dim i = 0; i < n; i++)
        memcpy(o + i * d, fit->bias.data, (size_t)d * sizeof *o);
    const sg_status status = sg_product(&out, &from, false, &w, false, 1, 1, err);
    sg_ridge_free(fit);
    return status;
}

/* *made false: the reading is not possible here. */
static sg_status predict(float *o, bool *made, sg_lre_reading how, const sg_lre *lre, int site, double beta,
                         const sg_lre *other, sg_dim n, const float *s, sg_error *err)
{
    *made = true;
    switch (how) {
    case SG_LRE_MAP:
        return sg_lre_apply(o, lre, site, beta, n, s, err);
    case SG_LRE_IDENTITY:
    case SG_LRE_TRANSLATION:
        *made = lre->width[site] == lre->d_o && (how == SG_LRE_IDENTITY || lre->n > 0);
        if (*made && how == SG_LRE_TRANSLATION)
            translate(o, lre, site, n, s);
        else if (*made)
            memcpy(o, s, (size_t)(n * lre->d_o) * sizeof *o);
        return SG_OK;
    case SG_LRE_REGRESSION:
        return regress(o, lre, site, n, s, err);
    default:
        *made = other != NULL;
        return other ? sg_lre_apply(o, other, site, beta, n, s, err) : SG_OK;
    }
}

static sg_status judge(sg_lre_score *out, sg_lre_reading how, const int32_t *top, const sg_lre_data *d, int part,
                       double *right, sg_error *err)
{
    for (int all = 0; all < 2; all++) {
        sg_dim n = 0;
        for (int i = 0; i < d->n_tests; i++)
            if (in_part(i, part) && (all || d->known[i]))
                right[n++] = top[i] == d->states->top[i];
        SG_TRY(rate(all ? &out->faithful_all[how] : &out->faithful[how], right, n, 0, err));
        *(all ? &out->n_total : &out->n_known) = n;
    }
    return SG_OK;
}

sg_status sg_lre_score_of(sg_lre_score *out, sg_lre_reader *r, const sg_lre *lre, int site, double beta,
                          const sg_lre_data *d, const sg_lre *other, int part, sg_error *err)
{
    const sg_dim n = d->n_tests;
    float *o = malloc((size_t)(n * lre->d_o) * sizeof *o);
    int32_t *top = malloc((size_t)n * sizeof *top);
    double *right = malloc((size_t)n * sizeof *right);
    sg_status status =
        o && top && right ? SG_OK : sg_fail(err, SG_ENOMEM, "lre: out of memory for %d tests", d->n_tests);
    *out = (sg_lre_score){0};
    for (int how = 0; how < SG_N_LRE_READINGS && status == SG_OK; how++) {
        bool made;
        status = predict(o, &made, (sg_lre_reading)how, lre, site, beta, other, n, d->states->s[site], err);
        if (status == SG_OK && made)
            status = sg_lre_read(r, n, o, top, NULL, NULL, err);
        if (status == SG_OK && made)
            status = judge(out, (sg_lre_reading)how, top, d, part, right, err);
        else
            out->faithful[how] = out->faithful_all[how] = (sg_lre_rate){(double)NAN, (double)NAN, (double)NAN, 0};
    }
    free(o);
    free(top);
    free(right);
    return status;
}

sg_status sg_lre_sweep(sg_lre_rate *rates, sg_lre_reader *r, const sg_lre *lre, int site, int n_betas,
                       const double *betas, const sg_lre_data *d, int part, sg_error *err)
{
    const sg_dim n = d->n_tests, width = lre->width[site];
    sg_dim count = 0;
    float *s = malloc((size_t)(n * width) * sizeof *s), *o = malloc((size_t)(n * lre->d_o) * sizeof *o);
    int32_t *top = malloc((size_t)n * sizeof *top), *own = malloc((size_t)n * sizeof *own);
    double *right = malloc((size_t)n * sizeof *right);
    sg_status status =
        s && o && top && own && right ? SG_OK : sg_fail(err, SG_ENOMEM, "lre: out of memory for %d tests", d->n_tests);
    for (int i = 0; i < d->n_tests && status == SG_OK; i++)
        if (in_part(i, part & ~SG_LRE_ALSO_UNKNOWN) && (d->known[i] || (part & SG_LRE_ALSO_UNKNOWN))) {
            memcpy(s + count * width, d->states->s[site] + i * width, (size_t)width * sizeof *s);
            own[count++] = d->states->top[i];
        }
    for (int b = 0; b < n_betas && status == SG_OK; b++) {
        if (count)
            status = sg_lre_apply(o, lre, site, betas[b], count, s, err);
        if (status == SG_OK)
            status = sg_lre_read(r, count, o, top, NULL, NULL, err);
        for (sg_dim i = 0; i < count && status == SG_OK; i++)
            right[i] = top[i] == own[i];
        if (status == SG_OK)
            status = rate(&rates[b], right, count, 0, err);
    }
    free(s);
    free(o);
    free(top);
    free(own);
    free(right);
    return status;
}

/* ---- edits ---- */

typedef struct causes {
    const sg_lre *lre;
    int site;
    const sg_lre_inverse *inverse;
    sg_dim rank, d, d_o, time, batch;
    const sg_lre_data *data;
    sg_lre_reader *reader;
    sg_lre_opts opts;
    sg_dim n;        /* pairs */
    int *from, *to;  /* tests */
    float *delta;    /* [n,d] */
    double *changed; /* [n] */
    sg_glass *glass;
    sg_value *top;
    sg_edit edit;
    float *value; /* [batch,time,d] */
} causes;

static void choose_pairs(causes *c, int part, int n_most)
{
    const sg_lre_data *d = c->data;
    sg_rng g = sg_rng_new(c->opts.seed, STREAM_OF_PAIRS);
    for (int i = 0; i < d->n_tests && c->n < n_most; i++) {
        int tries = 0, j;
        if (!in_part(i, part) || !d->known[i])
            continue;
        do
            j = (int)sg_rng_below(&g, (uint32_t)d->n_tests);
        while ((!in_part(j, part) || !d->known[j] || d->tests->at[j].object == d->tests->at[i].object) &&
               ++tries < 1000);
        if (tries >= 1000)
            continue; /* all known ones have the same object */
        c->from[c->n] = i;
        c->to[c->n++] = j;
    }
}

static double length(const float *x, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Each pair's own state, and where it is to go, [n,d_o]. */
static sg_status fill_ends(causes *c, sg_lre_cause how, float *from, float *to, sg_error *err)
{
    const sg_lre_states *st = c->data->states;
    const size_t bytes = (size_t)c->d_o * sizeof *from;
    for (sg_dim k = 0; k < c->n; k++) {
        float *word = to + k * c->d_o;
        memcpy(from + k * c->d_o, st->o + c->from[k] * c->d_o, bytes);
        memcpy(word, st->o + c->to[k] * c->d_o, bytes);
        if (how != SG_LRE_BY_WORD)
            continue;
        SG_TRY(sg_lre_word(word, c->reader, from + k * c->d_o, c->data->tests->at[c->to[k]].object, err));
        const double scale = length(from + k * c->d_o, c->d_o) / fmax(length(word, c->d_o), 1e-30);
        for (sg_dim i = 0; i < c->d_o; i++)
            word[i] = (float)((double)word[i] * scale);
    }
    return SG_OK;
}

static void randomise(const causes *c, sg_dim k, float *delta)
{
    sg_rng g = sg_rng_new(c->opts.seed, STREAM_OF_DIRECTIONS);
    g.step = (uint64_t)k;
    const double far = length(delta, c->d);
    for (sg_dim i = 0; i < c->d; i++)
        delta[i] = (float)sg_rng_normal(&g);
    const double scale = far / fmax(length(delta, c->d), 1e-30);
    for (sg_dim i = 0; i < c->d; i++)
        delta[i] = (float)((double)delta[i] * scale);
}

static sg_status fill_deltas(causes *c, sg_lre_cause how, sg_error *err)
{
    const float *s = c->data->states->s[c->site];
    for (sg_dim k = 0; k < c->n && how == SG_LRE_COPY; k++)
        for (sg_dim i = 0; i < c->d; i++)
            c->delta[k * c->d + i] = s[c->to[k] * c->d + i] - s[c->from[k] * c->d + i];
    if (how == SG_LRE_COPY)
        return SG_OK;
    float *from = malloc((size_t)(c->n * c->d_o) * sizeof *from), *to = malloc((size_t)(c->n * c->d_o) * sizeof *to);
    sg_status status = from && to ? SG_OK : sg_fail(err, SG_ENOMEM, "lre: out of memory for %" PRId64 " pairs", c->n);
    if (status == SG_OK)
        status = fill_ends(c, how, from, to, err);
    if (status == SG_OK)
        status = sg_lre_delta(c->delta, c->inverse, c->rank, c->n, from, to, err);
    for (sg_dim k = 0; k < c->n && status == SG_OK && how == SG_LRE_RANDOM; k++)
        randomise(c, k, c->delta + k * c->d);
    free(from);
    free(to);
    return status;
}

/* A batch of pairs through the model, with each one's delta added at its subject. */
static sg_status run_pairs(causes *c, sg_dim first, sg_dim n, sg_error *err)
{
    const int32_t *rows[256];
    sg_dim lengths[256];
    sg_tensor got;
    memset(c->value, 0, (size_t)(c->batch * c->time * c->d) * sizeof *c->value);
    for (sg_dim r = 0; r < c->batch; r++) { /* the last batch is filled up with its first pair */
        const sg_dim k = r < n ? first + r : first;
        const sg_fact_prompt *p = &c->data->tests->at[c->from[k]];
        rows[r] = p->tokens;
        lengths[r] = p->n;
        memcpy(c->value + (r * c->time + p->subject) * c->d, c->delta + k * c->d, (size_t)c->d * sizeof *c->value);
    }
    SG_TRY(sg_edits_replace(sg_glass_edits(c->glass), 1, &c->edit, err));
    const sg_rows all = {.n_rows = (int)c->batch, .tokens = rows, .lengths = lengths, .time = c->time};
    SG_TRY(sg_glass_run(c->glass, &all, 0, NULL, 1, &c->top, &got, err));
    for (sg_dim r = 0; r < n; r++)
        c->changed[first + r] =
            (int32_t)sg_tensor_get(&got, r * c->time + lengths[r] - 1) == c->data->tests->at[c->to[first + r]].object;
    return SG_OK;
}

static sg_status open_causes(causes *c, const sg_model *m, sg_error *err)
{
    sg_glass_opts how = sg_glass_defaults();
    sg_value *logits, *site;
    how.exec = c->opts.exec;
    for (int i = 0; i < c->data->n_tests; i++)
        c->time = SG_MAX(c->time, c->data->tests->at[i].n);
    c->batch = SG_MIN(SG_MIN(c->opts.batch, (sg_dim)256), c->n);
    c->value = calloc((size_t)(c->batch * c->time * c->d), sizeof *c->value);
    if (!c->value)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory for %" PRId64 " pairs", c->n);
    SG_TRY(sg_glass_new(&c->glass, m, how, err));
    SG_TRY(sg_glass_find(c->glass, c->lre->sites[c->site], &site, err));
    const int heads = sg_value_n_dims(site) - 2;
    c->edit = sg_edit_defaults();
    c->edit.site = c->lre->sites[c->site];
    c->edit.op = SG_EDIT_ADD;
    c->edit.value = sg_tensor_of(SG_F32, 2 + heads, (sg_dim[]){c->batch, c->time, c->d, 1}, c->value);
    for (int k = 0; k < heads; k++)
        c->edit.value.dims[2 + k] = sg_value_dim(site, 2 + k);
    SG_TRY(sg_glass_edit(c->glass, 1, &c->edit, err));
    SG_TRY(sg_glass_find(c->glass, "logits", &logits, err));
    c->top = sg_argmax(sg_glass_graph(c->glass), logits, -1, false);
    return sg_graph_status(sg_glass_graph(c->glass), err);
}

static sg_status run_causes(sg_lre_effect *out, causes *c, const sg_model *m, int part, int n_most, unsigned kinds,
                            sg_error *err)
{
    choose_pairs(c, part, n_most);
    out->n = c->n;
    for (int how = 0; how < SG_N_LRE_CAUSES; how++)
        out->changed[how] = (sg_lre_rate){(double)NAN, (double)NAN, (double)NAN, 0};
    if (!c->n)
        return SG_OK;
    SG_TRY(open_causes(c, m, err));
    for (int how = 0; how < SG_N_LRE_CAUSES; how++) {
        if (!(kinds >> how & 1))
            continue;
        SG_TRY(fill_deltas(c, (sg_lre_cause)how, err));
        for (sg_dim first = 0; first < c->n; first += c->batch) {
            if (c->opts.cancel && *c->opts.cancel)
                return sg_fail(err, SG_ECANCELLED, "stopped at pair %" PRId64 " of %" PRId64, first, c->n);
            SG_TRY(run_pairs(c, first, SG_MIN(c->batch, c->n - first), err));
        }
        SG_TRY(rate(&out->changed[how], c->changed, c->n, c->opts.seed, err));
    }
    return SG_OK;
}

sg_status sg_lre_causes(sg_lre_effect *out, const sg_model *m, sg_lre_reader *r, const sg_lre *lre, int site,
                        const sg_lre_inverse *v, sg_dim rank, const sg_lre_data *d, int part, int n_most,
                        unsigned kinds, sg_lre_opts opts, sg_error *err)
{
    const size_t most = (size_t)SG_MAX(SG_MIN(n_most, d->n_tests), 1);
    causes c = {.lre = lre,
                .site = site,
                .inverse = v,
                .rank = rank,
                .d = lre->width[site],
                .d_o = lre->d_o,
                .data = d,
                .reader = r,
                .opts = opts};
    *out = (sg_lre_effect){0};
    c.from = malloc(most * sizeof *c.from);
    c.to = malloc(most * sizeof *c.to);
    c.delta = malloc(most * (size_t)c.d * sizeof *c.delta);
    c.changed = malloc(most * sizeof *c.changed);
    const sg_status status = c.from && c.to && c.delta && c.changed
                                 ? run_causes(out, &c, m, part, (int)most, kinds, err)
                                 : sg_fail(err, SG_ENOMEM, "lre: out of memory for %zu pairs", most);
    sg_glass_free(c.glass);
    free(c.from);
    free(c.to);
    free(c.delta);
    free(c.changed);
    free(c.value);
    return status;
}

/* ---- the lens ---- */

typedef struct owned_lens {
    sg_lre_lens face;
    int32_t *top, *rank, *plain;
} owned_lens;

void sg_lre_lens_free(sg_lre_lens *l)
{
    owned_lens *o = (owned_lens *)l;
    if (!o)
        return;
    free(o->top);
    free(o->rank);
    free(o->plain);
    free(o);
}

static sg_status look(owned_lens *l, const sg_model *m, sg_lre_reader *r, const sg_lre *lre, int site, double beta,
                      const int32_t *tokens, int32_t token, sg_exec_opts exec, sg_error *err)
{
    const int n_layers = l->face.n_layers;
    const sg_dim n = l->face.n_tokens, d = lre->width[site];
    sg_glass *glass;
    sg_glass_opts how = sg_glass_defaults();
    how.exec = exec;
    SG_TRY(sg_glass_new(&glass, m, how, err));
    sg_value **fetches = calloc((size_t)n_layers, sizeof(sg_value *));
    sg_tensor *got = calloc((size_t)n_layers, sizeof *got);
    float *s = malloc((size_t)(n * d) * sizeof *s), *o = malloc((size_t)(n * lre->d_o) * sizeof *o);
    int32_t *wanted = malloc((size_t)n * sizeof *wanted);
    sg_status status = fetches && got && s && o && wanted ? SG_OK : sg_fail(err, SG_ENOMEM, "lre: out of memory");
    for (int layer = 0; layer < n_layers && status == SG_OK; layer++) {
        char name[48];
        if (layer)
            snprintf(name, sizeof name, "blocks.%d.hook_resid_post", layer - 1);
        else
            snprintf(name, sizeof name, "blocks.0.hook_resid_pre");
        status = sg_glass_find(glass, name, &fetches[layer], err);
        if (status == SG_OK && sg_value_dim(fetches[layer], -1) != d)
            status = sg_fail(err, SG_ESHAPE, "lre: the map reads %" PRId64 " numbers, %s has %" PRId64, d, name,
                             sg_value_dim(fetches[layer], -1));
    }
    const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
    if (status == SG_OK)
        status = sg_glass_run(glass, &rows, 0, NULL, n_layers, fetches, got, err);
    for (int layer = 0; layer < n_layers && status == SG_OK; layer++) {
        for (sg_dim i = 0; i < n * d; i++)
            s[i] = (float)sg_tensor_get(&got[layer], i);
        for (sg_dim i = 0; i < n; i++)
            wanted[i] = token;
        status = sg_lre_apply(o, lre, site, beta, n, s, err);
        if (status == SG_OK)
            status = sg_lre_read(r, n, o, l->top + layer * n, wanted, l->rank + layer * n, err);
        if (status == SG_OK && d == lre->d_o)
            status = sg_lre_read(r, n, s, l->plain + layer * n, NULL, NULL, err);
    }
    free(fetches);
    free(got);
    free(s);
    free(o);
    free(wanted);
    sg_glass_free(glass);
    return status;
}

sg_status sg_lre_lens_new(sg_lre_lens **out, const sg_model *m, sg_lre_reader *r, const sg_lre *lre, int site,
                          double beta, const int32_t *tokens, sg_dim n_tokens, int32_t token, sg_exec_opts exec,
                          sg_error *err)
{
    const int n_layers = (int)sg_model_get_info(m)->n_layers + 1;
    owned_lens *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    l->face.n_layers = n_layers;
    l->face.n_tokens = n_tokens;
    l->face.top = l->top = calloc((size_t)(n_layers * SG_MAX(n_tokens, 1)), sizeof *l->top);
    l->face.rank = l->rank = calloc((size_t)(n_layers * SG_MAX(n_tokens, 1)), sizeof *l->rank);
    l->face.plain = l->plain = calloc((size_t)(n_layers * SG_MAX(n_tokens, 1)), sizeof *l->plain);
    const sg_status status =
        l->top && l->rank && n_tokens > 0
            ? look(l, m, r, lre, site, beta, tokens, token, exec, err)
            : sg_fail(err, n_tokens > 0 ? SG_ENOMEM : SG_EARG, "lre: no tokens, or no memory for them");
    if (status != SG_OK) {
        sg_lre_lens_free(&l->face);
        return status;
    }
    *out = &l->face;
    return SG_OK;
}
