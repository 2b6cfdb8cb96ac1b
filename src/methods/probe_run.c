/* A report of probes: for each site and label a probe and its controls, all fitted on the same episodes and judged on
 * the same others. Activations are held for as many sites at once as memory was allowed, of one network at a time. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/shuffle.h"
#include "methods/probe_internal.h"

#define EMBEDDING "blocks.0.hook_resid_pre" /* of the token and its position, before anything else is known */

const char *sg_probe_control_name(sg_probe_control c)
{
    static const char *const names[SG_N_PROBE_CONTROLS] = {
        [SG_CONTROL_UNTRAINED] = "untrained network",
        [SG_CONTROL_BAG] = "which tokens occurred",
        [SG_CONTROL_EMBEDDING] = "embedding",
        [SG_CONTROL_SHUFFLED] = "labels of other episodes",
    };
    return c >= 0 && c < SG_N_PROBE_CONTROLS ? names[c] : "unknown";
}

sg_probe_job sg_probe_job_defaults(void)
{
    return (sg_probe_job){.n_fit = 1500,
                          .n_test = 500,
                          .seed = 1000003,
                          .probe = sg_probe_defaults(),
                          .score = sg_score_defaults(),
                          .batch = 64,
                          .at_once = (size_t)512 << 20,
                          .exec = sg_exec_defaults()};
}

/* ---- the table ---- */

sg_status sg_probe_table_new(sg_probe_table **out, int n_sites, int n_labels, sg_error *err)
{
    sg_probe_table *t = calloc(1, sizeof *t);
    const int n = n_sites * n_labels;
    if (t)
        t->results = calloc((size_t)n, sizeof *t->results);
    if (!t || !t->results) {
        free(t);
        return sg_fail(err, SG_ENOMEM, "probe: out of memory for %d results", n);
    }
    t->n = n;
    t->n_labels = n_labels;
    *out = t;
    return SG_OK;
}

bool sg_probe_control_is_shared(int c)
{
    return c == SG_CONTROL_BAG || c == SG_CONTROL_EMBEDDING;
}

static void free_scores(sg_probe_table *t)
{
    for (int i = 0; i < t->n; i++) {
        sg_probe_result *r = &t->results[i];
        sg_probe_score_free(r->score);
        r->score = NULL;
        for (int c = 0; c < SG_N_PROBE_CONTROLS; c++) {
            if (!sg_probe_control_is_shared(c) || i < t->n_labels)
                sg_probe_score_free(r->control[c]);
            r->control[c] = NULL;
        }
    }
}

void sg_probe_table_free(sg_probe_table *t)
{
    if (!t)
        return;
    free_scores(t);
    for (int i = 0; i < t->n; i++) {
        sg_probe_free(t->results[i].probe);
        for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
            if (!sg_probe_control_is_shared(c) || i < t->n_labels)
                sg_probe_free(t->results[i].control_probe[c]);
    }
    free(t->results);
    free(t);
}

/* ---- the work ---- */

typedef struct work {
    const sg_probe_job *job;
    sg_probe_table *table;
    bool fitting; /* else probes are there, and only judged */
    sg_sample *sample;
    const sg_tensor *tokens, *counts;
    sg_dim n_vocab;
    sg_store *bag;       /* which has the rows of all others */
    sg_tensor *labels;   /* [n_labels], each [N,S] */
    sg_tensor *shuffled; /* the same of other episodes, for the rows that are fitted on; NULL where nothing is */
    int *classes;        /* [n_labels] */
    sg_dim split, held;  /* rows that are fitted on, and how many of them decide when to stop */
    double done, each, total;
    const char *what;
} work;

static void tell(const work *w, double part)
{
    if (w->job->progress)
        w->job->progress(w->job->context, (w->done + part * w->each) / w->total, w->what);
}

static void on_harvest(void *context, double done)
{
    tell(context, done);
}

static void on_fit(void *context, double done, double loss)
{
    (void)loss;
    tell(context, done);
}

static void begin_part(work *w, const char *what, double each)
{
    w->what = what;
    w->each = each;
    tell(w, 0);
}

static void end_part(work *w)
{
    w->done += w->each;
}

/* ---- labels ---- */

static sg_status greatest_class(const sg_tensor *labels, const char *name, int *classes, sg_error *err)
{
    int32_t most = 1;
    for (sg_dim i = 0; i < sg_tensor_count(labels); i++)
        most = SG_MAX(most, ((const int32_t *)labels->data)[i]);
    if (most >= 1 << 16)
        return sg_fail(err, SG_EARG, "probe: %s has label %" PRId32 ", wanted fewer classes", name, most);
    *classes = most + 1;
    return SG_OK;
}

/* Each episode's rows get the labels that the next in a random circle has at the same positions. */
static sg_status shuffle_labels(work *w, sg_tensor *out, const sg_tensor *truth, sg_error *err)
{
    const sg_store_row *rows = sg_store_rows(w->bag);
    const sg_dim time = w->tokens->dims[1], n = w->job->n_fit;
    const sg_shuffle order = sg_shuffle_new(w->job->seed, n);
    SG_TRY(sg_store_labels(out, w->bag, truth, err));
    sg_dim *next = malloc((size_t)n * sizeof *next);
    if (!next)
        return sg_fail(err, SG_ENOMEM, "probe: out of memory");
    for (sg_dim i = 0; i < n; i++)
        next[sg_shuffle_at(&order, 0, i)] = sg_shuffle_at(&order, 0, (i + 1) % n);
    const sg_dim tasks = out->dims[1];
    const uint8_t *counted = w->counts ? w->counts->data : NULL;
    for (sg_dim r = 0; r < w->split; r++) {
        const sg_dim at = next[rows[r].episode] * time + rows[r].position;
        for (sg_dim t = 0; t < tasks; t++)
            ((int32_t *)out->data)[r * tasks + t] =
                counted && !counted[at] ? -1 : (int32_t)sg_tensor_get(truth, at * tasks + t);
    }
    free(next);
    return SG_OK;
}

static sg_status take_labels(work *w, sg_error *err)
{
    const sg_probe_job *job = w->job;
    for (int l = 0; l < job->n_labels; l++) {
        const sg_tensor *truth = sg_sample_find(w->sample, job->labels[l]);
        if (!truth) {
            const char *nearest = job->world->fields[0].name;
            for (int i = 1; i < job->world->n_fields; i++)
                if (sg_edit_distance(job->labels[l], job->world->fields[i].name) <
                    sg_edit_distance(job->labels[l], nearest))
                    nearest = job->world->fields[i].name;
            return sg_fail(err, SG_ENOTFOUND, "world %s has no field \"%.60s\"; the nearest is %s", job->world->name,
                           job->labels[l], nearest);
        }
        SG_TRY(sg_store_labels(&w->labels[l], w->bag, truth, err));
        SG_TRY(greatest_class(&w->labels[l], job->labels[l], &w->classes[l], err));
        if (w->fitting)
            SG_TRY(shuffle_labels(w, &w->shuffled[l], truth, err));
    }
    return SG_OK;
}

/* ---- episodes ---- */

static sg_status take_episodes(work *w, sg_error *err)
{
    const sg_probe_job *job = w->job;
    const sg_dim n = job->n_fit + job->n_test;
    sg_source source;
    SG_TRY(sg_world_source(&source, job->world, job->n_settings, job->settings, 1, job->seed, &w->n_vocab, err));
    sg_source_free(&source);
    if (job->tokens && (job->tokens->n_dims != 2 || job->tokens->dims[0] != n))
        return sg_fail(err, SG_ESHAPE, "probe: %" PRId64 " episodes were given, wanted %" PRId64 " and %" PRId64,
                       job->tokens->n_dims ? job->tokens->dims[0] : 0, job->n_fit, job->n_test);
    SG_TRY(job->tokens ? sg_world_truth(&w->sample, job->world, job->n_settings, job->settings, job->tokens, err)
                       : sg_world_sample(&w->sample, job->world, job->n_settings, job->settings, n, job->seed, err));
    w->tokens = sg_sample_find(w->sample, "tokens");
    w->counts = job->tokens && job->counts ? job->counts : sg_sample_find(w->sample, "counts");
    if (!w->tokens)
        return sg_fail(err, SG_EUNSUPPORTED, "world %s: has no field tokens", job->world->name);
    const sg_model_info *in = sg_model_get_info(job->model);
    if (w->n_vocab > in->n_vocab)
        return sg_fail(err, SG_EARG, "%s: the vocabulary is %" PRId64 ", the world %s needs %" PRId64, in->path,
                       in->n_vocab, job->world->name, w->n_vocab);
    SG_TRY(sg_harvest_input(&w->bag, SG_INPUT_BAG, w->n_vocab, w->tokens, w->counts, (sg_span){0, INT64_MAX}, err));
    const sg_store_row *rows = sg_store_rows(w->bag);
    const sg_dim kept = job->n_fit - job->n_fit / 10;
    for (sg_dim r = 0; r < sg_store_n_rows(w->bag); r++) {
        w->split += rows[r].episode < job->n_fit;
        w->held += rows[r].episode < job->n_fit && rows[r].episode >= kept;
    }
    if ((w->fitting && w->split == w->held) || w->split == sg_store_n_rows(w->bag))
        return sg_fail(err, SG_EARG, "probe: %" PRId64 " episodes to fit and %" PRId64 " to judge are too few",
                       job->n_fit, job->n_test);
    return SG_OK;
}

/* ---- one probe ---- */

static sg_status one(work *w, const char *what, const sg_tensor *acts, int l, const sg_tensor *fit_labels,
                     sg_probe **probe, sg_probe_score **score, sg_error *err)
{
    const sg_dim n = sg_store_n_rows(w->bag), split = w->split;
    begin_part(w, what, 1);
    if (w->fitting) {
        sg_probe_opts opts = w->job->probe;
        const sg_tensor x = sg_rows_of(acts, 0, split), y = sg_rows_of(fit_labels, 0, split);
        opts.n_classes = w->classes[l];
        opts.n_held = w->held;
        opts.exec = w->job->exec;
        opts.progress = on_fit;
        opts.context = w;
        opts.cancel = w->job->cancel;
        SG_TRY(sg_probe_fit(probe, &x, &y, opts, err));
    }
    if (w->job->cancel && *w->job->cancel)
        return sg_fail(err, SG_ECANCELLED, "probe: stopped");
    const sg_tensor x = sg_rows_of(acts, split, n - split), y = sg_rows_of(&w->labels[l], split, n - split);
    SG_TRY(sg_probe_score_new(score, *probe, &x, &y, sg_store_rows(w->bag) + split, w->job->score, err));
    end_part(w);
    return SG_OK;
}

/* A control of the input alone: at the first site, then shared. */
static sg_status one_shared(work *w, const sg_tensor *acts, sg_probe_control c, sg_error *err)
{
    const int n_labels = w->table->n_labels;
    for (int l = 0; l < n_labels; l++) {
        sg_probe_result *r = &w->table->results[l];
        SG_TRY(one(w, sg_probe_control_name(c), acts, l, &w->labels[l], &r->control_probe[c], &r->control[c], err));
        for (int i = l + n_labels; i < w->table->n; i += n_labels) {
            w->table->results[i].control_probe[c] = r->control_probe[c];
            w->table->results[i].control[c] = r->control[c];
        }
    }
    return SG_OK;
}

static sg_status at_site(work *w, int site, const sg_tensor *acts, bool trained, sg_error *err)
{
    for (int l = 0; l < w->table->n_labels; l++) {
        sg_probe_result *r = &w->table->results[site * w->table->n_labels + l];
        const int c = trained ? SG_CONTROL_SHUFFLED : SG_CONTROL_UNTRAINED;
        if (trained)
            SG_TRY(one(w, r->site, acts, l, &w->labels[l], &r->probe, &r->score, err));
        SG_TRY(one(w, sg_probe_control_name((sg_probe_control)c), acts, l,
                   trained && w->fitting ? &w->shuffled[l] : &w->labels[l], &r->control_probe[c], &r->control[c], err));
    }
    return SG_OK;
}

/* ---- networks ---- */

static sg_status harvest(work *w, sg_store **out, const sg_model *m, int n, const char *const *sites, sg_error *err)
{
    sg_harvest_opts opts = sg_harvest_defaults();
    opts.batch = w->job->batch;
    opts.exec = w->job->exec;
    opts.seed = w->job->untrained_seed;
    opts.progress = on_harvest;
    opts.context = w;
    opts.cancel = w->job->cancel;
    return sg_harvest(out, m, n, sites, w->tokens, w->counts, opts, err);
}

/* How many of the sites from `first` on fit into the memory that is allowed; at least one. */
static sg_status how_many(const work *w, sg_glass *glass, int first, int *n, sg_error *err)
{
    size_t bytes = 0;
    int site = first;
    for (; site < w->job->n_sites; site++) {
        sg_value *v;
        size_t each = sizeof(float) * (size_t)sg_store_n_rows(w->bag);
        SG_TRY(sg_glass_find(glass, w->job->sites[site], &v, err));
        for (int k = 2; k < sg_value_n_dims(v); k++)
            each *= (size_t)SG_MAX(sg_value_dim(v, k), 1);
        bytes += each;
        if (bytes > w->job->at_once && site > first)
            break;
    }
    *n = site - first;
    return SG_OK;
}

static sg_status network(work *w, const sg_model *m, bool trained, sg_error *err)
{
    const sg_probe_job *job = w->job;
    sg_glass *glass;
    SG_TRY(sg_glass_new(&glass, m, sg_glass_defaults(), err)); /* for the names and widths of its values */
    sg_status status = SG_OK;
    if (trained) {
        static const char *const embedding = EMBEDDING;
        sg_store *s = NULL;
        begin_part(w, "running the model", 0);
        status = harvest(w, &s, m, 1, &embedding, err);
        if (status == SG_OK)
            status = one_shared(w, sg_store_acts(s, 0), SG_CONTROL_EMBEDDING, err);
        sg_store_free(s);
    }
    for (int first = 0, n = 0; first < job->n_sites && status == SG_OK; first += n) {
        sg_store *s = NULL;
        status = how_many(w, glass, first, &n, err);
        if (status == SG_OK) {
            begin_part(w, trained ? "running the model" : "running the untrained network", 2 * n);
            status = harvest(w, &s, m, n, job->sites + first, err);
            end_part(w);
        }
        for (int i = 0; i < n && status == SG_OK; i++)
            status = at_site(w, first + i, sg_store_acts(s, i), trained, err);
        sg_store_free(s);
    }
    sg_glass_free(glass);
    return status;
}

static sg_status check(const sg_probe_job *job, bool fitting, sg_error *err)
{
    if (job->n_sites < 1 || job->n_labels < 1)
        return sg_fail(err, SG_EARG, "probe: %d sites and %d labels, wanted at least one of each", job->n_sites,
                       job->n_labels);
    if (job->n_fit < (fitting ? 2 : 0) || (!fitting && job->n_fit > 0) || job->n_test < 1)
        return sg_fail(err, SG_EARG, "probe: %" PRId64 " episodes to fit and %" PRId64 " to judge", job->n_fit,
                       job->n_test);
    if (!job->world->tokens || !job->world->truth)
        return sg_fail(err, SG_EUNSUPPORTED, "world %s: has no sequences of tokens with a truth behind them",
                       job->world->name);
    return SG_OK;
}

static sg_status work_on(work *w, sg_error *err)
{
    const sg_probe_job *job = w->job;
    const size_t n = (size_t)job->n_labels;
    sg_model *untrained = NULL;
    w->total = 2.0 * (double)n + 2.0 * job->n_sites * 2 + 3.0 * (double)n * job->n_sites;
    w->labels = calloc(n, sizeof *w->labels);
    w->shuffled = calloc(n, sizeof *w->shuffled);
    w->classes = calloc(n, sizeof *w->classes);
    if (!w->labels || !w->shuffled || !w->classes)
        return sg_fail(err, SG_ENOMEM, "probe: out of memory");
    SG_TRY(take_episodes(w, err));
    SG_TRY(take_labels(w, err));
    SG_TRY(one_shared(w, sg_store_acts(w->bag, 0), SG_CONTROL_BAG, err));
    SG_TRY(network(w, job->model, true, err));
    SG_TRY(sg_model_untrained(&untrained, job->model, err));
    const sg_status status = network(w, untrained, false, err);
    sg_model_close(untrained);
    return status;
}

static sg_status run(sg_probe_table *t, const sg_probe_job *job, bool fitting, sg_error *err)
{
    work w = {.job = job, .table = t, .fitting = fitting};
    const sg_status status = work_on(&w, err);
    for (int l = 0; l < job->n_labels; l++) {
        if (w.labels)
            free(w.labels[l].data);
        if (w.shuffled)
            free(w.shuffled[l].data);
    }
    free(w.labels);
    free(w.shuffled);
    free(w.classes);
    sg_store_free(w.bag);
    sg_sample_free(w.sample);
    return status;
}

sg_status sg_probe_run(sg_probe_table **out, const sg_probe_job *job, sg_error *err)
{
    sg_probe_table *t = NULL;
    *out = NULL;
    SG_TRY(check(job, true, err));
    SG_TRY(sg_probe_table_new(&t, job->n_sites, job->n_labels, err));
    for (int i = 0; i < t->n; i++) {
        sg_probe_result *r = &t->results[i];
        snprintf(r->site, sizeof r->site, "%s", job->sites[i / job->n_labels]);
        snprintf(r->label, sizeof r->label, "%s", job->labels[i % job->n_labels]);
    }
    const sg_status status = run(t, job, true, err);
    if (status != SG_OK) {
        sg_probe_table_free(t);
        return status;
    }
    *out = t;
    return SG_OK;
}

sg_status sg_probe_judge(sg_probe_table *t, const sg_probe_job *job, sg_error *err)
{
    SG_TRY(check(job, false, err));
    bool fits = t->n_labels == job->n_labels && t->n == job->n_sites * job->n_labels;
    for (int i = 0; i < t->n && fits; i++)
        fits = strcmp(t->results[i].site, job->sites[i / job->n_labels]) == 0 &&
               strcmp(t->results[i].label, job->labels[i % job->n_labels]) == 0;
    if (!fits)
        return sg_fail(err, SG_EARG, "probe: the table is of other sites or labels");
    for (int i = 0; i < t->n; i++)
        for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
            if (!t->results[i].probe || !t->results[i].control_probe[c])
                return sg_fail(err, SG_EARG, "probe: %s at %s has no probe of the control %s", t->results[i].label,
                               t->results[i].site, sg_probe_control_name((sg_probe_control)c));
    free_scores(t);
    return run(t, job, false, err);
}
