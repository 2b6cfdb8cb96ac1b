/* sightglass lre: a relation's map on a model, how faithful and how causal it is, chosen on one half of the tests and
 * reported on the other; and what the map reads at every token of a text. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/lre_internal.h"
#include "methods/methods.h"

enum { CHOOSING_PAIRS = 40 };

/* ---- fit ---- */

typedef struct work {
    sg_method_run *r;
    sg_model *m;
    sg_lre_relation *relation, *other_relation;
    sg_lre_data *data, *other_data;
    sg_prompts *beside; /* the prompts that are fitted, with the place before the subject in its place */
    sg_lre *lre, *wrong, *other;
    sg_lre_reader *reader;
    sg_lre_opts opts;
    sg_arena *arena;
    double *layers, *betas;
    int n_layers, n_betas, chosen;       /* chosen: a site's place */
    double *beta_at;                     /* [n_layers] the best at each */
    double *rates;                       /* [n_layers,n_betas], on the choosing half */
    sg_lre_score *scores, *wrong_scores; /* [n_layers], on the reported half */
    int also;                            /* SG_LRE_ALSO_UNKNOWN where none are known */
} work;

/* The pattern with the layer in the place of {}; by default what the block writes, and for -1 what enters the first. */
static const char *site_at(work *w, const char *pattern, int layer)
{
    const char *hole = pattern ? strstr(pattern, "{}") : NULL;
    if (!pattern)
        return layer < 0 ? sg_arena_strdup(w->arena, "blocks.0.hook_resid_pre")
                         : sg_arena_printf(w->arena, "blocks.%d.hook_resid_post", layer);
    return hole ? sg_arena_printf(w->arena, "%.*s%d%s", (int)(hole - pattern), pattern, layer, hole + 2)
                : sg_arena_strdup(w->arena, pattern);
}

static sg_status choose_sites(work *w, sg_error *err)
{
    const int n_layers = (int)sg_model_get_info(w->m)->n_layers;
    const char *pattern = sg_method_text(w->r, "site");
    SG_TRY(sg_method_numbers(w->r, "layer", &w->layers, &w->n_layers, err));
    if (!w->n_layers) {
        w->layers = malloc((size_t)n_layers * sizeof *w->layers);
        /* Not the last block's output, of which no other token reads. */
        for (int i = pattern ? 0 : -1; w->layers && i < n_layers - !pattern; i++)
            w->layers[w->n_layers++] = i;
    }
    const char **sites = sg_arena_array(w->arena, (size_t)SG_MAX(w->n_layers, 1), sizeof *sites);
    if (!w->layers || !sites)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    for (int i = 0; i < w->n_layers; i++) {
        if (w->layers[i] != floor(w->layers[i]) || w->layers[i] < (pattern ? 0 : -1) || w->layers[i] >= n_layers)
            return sg_fail(err, SG_EARG, "--layer %g: the model has layers %d to %d", w->layers[i], pattern ? 0 : -1,
                           n_layers - 1);
        sites[i] = site_at(w, pattern, (int)w->layers[i]);
        if (!sites[i])
            return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    }
    SG_TRY(sg_method_numbers(w->r, "beta", &w->betas, &w->n_betas, err));
    w->opts.n_sites = w->n_layers;
    w->opts.sites = sites;
    return w->n_betas ? SG_OK : sg_fail(err, SG_EARG, "--beta: wanted one number at least");
}

static sg_status shift(work *w, sg_error *err)
{
    SG_TRY(sg_prompts_new(&w->beside, err));
    for (int i = 0; i < w->data->train->n; i++) {
        SG_TRY(sg_prompts_add(w->beside, &w->data->train->at[i], err));
        sg_prompts_place(w->beside, i, SG_MAX(w->beside->at[i].subject - 1, (sg_dim)0));
    }
    return SG_OK;
}

static sg_lre_place place(const work *w)
{
    return sg_method_number(w->r, "at") > 0 ? SG_LRE_AT_LAST : SG_LRE_AT_SUBJECT;
}

static sg_status fit_all(work *w, sg_error *err)
{
    sg_lre_opts opts = w->opts;
    opts.progress = sg_method_on_progress;
    opts.context = w->r;
    sg_method_progress(w->r, 0, "Jacobians");
    SG_TRY(sg_lre_fit(&w->lre, w->m, w->data->train, opts, err));
    sg_method_progress(w->r, 0, "Jacobians at the token before");
    SG_TRY(sg_lre_fit(&w->wrong, w->m, w->beside, opts, err));
    const char *other = sg_method_text(w->r, "other");
    if (!other)
        return SG_OK;
    sg_method_progress(w->r, 0, "the other relation");
    SG_TRY(sg_lre_relation_open(&w->other_relation, other, 0, place(w), w->m, err));
    SG_TRY(sg_lre_data_new(&w->other_data, w->m, &w->other_relation->source, w->opts, err));
    return sg_lre_fit(&w->other, w->m, w->other_data->train, opts, err);
}

static sg_status sweep(work *w, sg_error *err)
{
    const size_t n = (size_t)w->n_layers;
    sg_lre_rate *rates = sg_arena_array(w->arena, (size_t)w->n_betas, sizeof *rates);
    w->beta_at = sg_arena_array(w->arena, n, sizeof *w->beta_at);
    w->rates = sg_arena_array(w->arena, n * (size_t)w->n_betas, sizeof *w->rates);
    w->scores = sg_arena_array(w->arena, n, sizeof *w->scores);
    w->wrong_scores = sg_arena_array(w->arena, n, sizeof *w->wrong_scores);
    if (!rates || !w->beta_at || !w->rates || !w->scores || !w->wrong_scores)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    int n_known = 0;
    for (int i = 0; i < w->data->n_tests; i += 2)
        n_known += w->data->known[i];
    w->also = n_known ? 0 : SG_LRE_ALSO_UNKNOWN;
    double best = -1;
    for (int i = 0; i < w->n_layers; i++) {
        double here = -1;
        sg_method_progress(w->r, (double)i / w->n_layers, "layers and betas");
        SG_TRY(
            sg_lre_sweep(rates, w->reader, w->lre, i, w->n_betas, w->betas, w->data, SG_LRE_CHOOSING | w->also, err));
        for (int b = 0; b < w->n_betas; b++) {
            w->rates[i * w->n_betas + b] = rates[b].value;
            if (rates[b].value > here) {
                here = rates[b].value;
                w->beta_at[i] = w->betas[b];
            }
        }
        if (here > best) {
            best = here;
            w->chosen = i;
        }
        SG_TRY(sg_lre_score_of(&w->scores[i], w->reader, w->lre, i, w->beta_at[i], w->data, w->other, SG_LRE_REPORTED,
                               err));
        SG_TRY(sg_lre_score_of(&w->wrong_scores[i], w->reader, w->wrong, i, w->beta_at[i], w->data, NULL,
                               SG_LRE_REPORTED, err));
    }
    return SG_OK;
}

static sg_status add_rate(work *w, const char *id, const char *where, const char *text, sg_lre_rate value,
                          const char *control, sg_lre_rate beside, sg_error *err)
{
    const sg_finding f = {.id = id,
                          .where = where,
                          .text = text,
                          .value = value.value,
                          .low = value.low,
                          .high = value.high,
                          .n = value.n,
                          .control = control,
                          .control_value = beside.value,
                          .control_low = beside.low,
                          .control_high = beside.high,
                          .least = -(double)INFINITY,
                          .most = (double)INFINITY};
    return value.n ? sg_result_add(sg_method_result(w->r), &f, err) : SG_OK;
}

static sg_status table_of_layers(work *w, sg_error *err)
{
    static const char *const columns[] = {
        "site",       "beta",         "choosing half",    "lre",      "identity", "translation",
        "regression", "token before", "another relation", "lre, all", "known",    "tests"};
    enum { COLUMNS = 12 };
    sg_cell *cells = sg_arena_array(w->arena, (size_t)w->n_layers * COLUMNS, sizeof *cells);
    if (!cells)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    for (int i = 0; i < w->n_layers; i++) {
        sg_cell *c = cells + i * COLUMNS;
        const sg_lre_score *s = &w->scores[i];
        const sg_lre_rate *f = w->also ? s->faithful_all : s->faithful;
        const sg_lre_rate *wrong = w->also ? w->wrong_scores[i].faithful_all : w->wrong_scores[i].faithful;
        double best = 0;
        for (int b = 0; b < w->n_betas; b++)
            best = w->betas[b] == w->beta_at[i] ? w->rates[i * w->n_betas + b] : best;
        c[0].text = w->opts.sites[i];
        const double row[COLUMNS] = {0,
                                     w->beta_at[i],
                                     best,
                                     f[SG_LRE_MAP].value,
                                     f[SG_LRE_IDENTITY].value,
                                     f[SG_LRE_TRANSLATION].value,
                                     f[SG_LRE_REGRESSION].value,
                                     wrong[SG_LRE_MAP].value,
                                     f[SG_LRE_OTHER].value,
                                     s->faithful_all[SG_LRE_MAP].value,
                                     (double)s->n_known,
                                     (double)s->n_total};
        for (int k = 1; k < COLUMNS; k++) {
            c[k].number = row[k];
            c[k].text = isnan(row[k]) ? "-" : NULL;
        }
    }
    const sg_result_table t = {
        .id = "layers",
        .title = w->also ? "How faithful the readings are, by site, among all tests"
                         : "How faithful the readings are, by site",
        .n_columns = COLUMNS,
        .n_rows = w->n_layers,
        .columns = columns,
        .cells = cells,
        .control = "identity, translation and regression read the same states with other maps; the token before "
                   "and another relation are the map fitted where it should not work"};
    return sg_result_add_table(sg_method_result(w->r), &t, err);
}

static sg_status figures(work *w, sg_error *err)
{
    enum { LINES = 5 };
    static const char *const names[LINES] = {"lre", "identity", "translation", "regression", "token before"};
    double *y = sg_arena_array(w->arena, (size_t)(w->n_layers * LINES), sizeof *y);
    sg_series lines[LINES], *by_beta = sg_arena_array(w->arena, (size_t)w->n_layers, sizeof *by_beta);
    if (!y || !by_beta)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    for (int k = 0; k < LINES; k++) {
        for (int i = 0; i < w->n_layers; i++)
            y[k * w->n_layers + i] =
                k == LINES - 1 ? w->wrong_scores[i].faithful[SG_LRE_MAP].value : w->scores[i].faithful[k].value;
        lines[k] = (sg_series){names[k], w->n_layers, w->layers, y + k * w->n_layers};
    }
    for (int i = 0; i < w->n_layers; i++)
        by_beta[i] = (sg_series){w->opts.sites[i], w->n_betas, w->betas, w->rates + i * w->n_betas};
    const sg_panel panels[2] = {{.n_series = LINES, .series = lines}, {.n_series = w->n_layers, .series = by_beta}};
    const sg_figure f[2] = {{.id = "by-layer",
                             .title = "Faithfulness by layer",
                             .caption = "On the reported half, each layer with its own beta.",
                             .kind = SG_FIGURE_LINES,
                             .x = {.label = "layer"},
                             .y = {.label = "faithful", .low = 0, .high = 1},
                             .n_panels = 1,
                             .panels = &panels[0]},
                            {.id = "by-beta",
                             .title = "Faithfulness by beta",
                             .caption = "On the choosing half.",
                             .kind = SG_FIGURE_LINES,
                             .x = {.label = "beta"},
                             .y = {.label = "faithful", .low = 0, .high = 1},
                             .n_panels = 1,
                             .panels = &panels[1]}};
    if (w->scores[0].n_known && w->n_layers > 1)
        SG_TRY(sg_result_add_figure(sg_method_result(w->r), &f[0], err));
    return w->n_betas > 1 ? sg_result_add_figure(sg_method_result(w->r), &f[1], err) : SG_OK;
}

/* The rank that is asked, or the best of some on the choosing half. */
static sg_status choose_rank(work *w, const sg_lre_inverse *v, sg_dim *rank, sg_error *err)
{
    static const sg_dim ranks[] = {2, 4, 8, 16, 32, 64, 100, 200};
    const sg_dim asked = (sg_dim)sg_method_number(w->r, "rank");
    double best = -1;
    *rank = asked ? asked : 100;
    for (size_t k = 0; k < SG_COUNT_OF(ranks) && !asked && (k == 0 || ranks[k] <= sg_lre_inverse_most(v)); k++) {
        sg_lre_effect e;
        sg_method_progress(w->r, (double)k / (double)SG_COUNT_OF(ranks), "ranks");
        SG_TRY(sg_lre_causes(&e, w->m, w->reader, w->lre, w->chosen, v, ranks[k], w->data, SG_LRE_CHOOSING,
                             CHOOSING_PAIRS, 1u << SG_LRE_BY_STATE, w->opts, err));
        if (e.changed[SG_LRE_BY_STATE].value > best) {
            best = e.changed[SG_LRE_BY_STATE].value;
            *rank = ranks[k];
        }
    }
    return SG_OK;
}

static sg_status causality(work *w, sg_error *err)
{
    const int pairs = (int)sg_method_number(w->r, "pairs");
    const char *site = w->opts.sites[w->chosen];
    sg_lre_inverse *v;
    sg_lre_effect e;
    sg_dim rank = 0;
    if (!pairs)
        return SG_OK;
    SG_TRY(sg_lre_inverse_new(&v, w->lre, w->chosen, err));
    sg_status status = choose_rank(w, v, &rank, err);
    sg_method_progress(w->r, 0, "edits");
    if (status == SG_OK)
        status = sg_lre_causes(&e, w->m, w->reader, w->lre, w->chosen, v, rank, w->data, SG_LRE_REPORTED, pairs,
                               SG_LRE_ALL_CAUSES, w->opts, err);
    sg_lre_inverse_free(v);
    SG_TRY(status);
    sg_result *out = sg_method_result(w->r);
    if (!e.n)
        return sg_result_note(out, "No two known subjects with different objects: nothing was edited.");
    SG_TRY(add_rate(w, "causality", site,
                    "edits by the map's inverse after which the model says the other subject's object",
                    e.changed[SG_LRE_BY_STATE], "a random direction as long", e.changed[SG_LRE_RANDOM], err));
    SG_TRY(add_rate(w, "causality-word", site, "the same where only the other object's word is known",
                    e.changed[SG_LRE_BY_WORD], "a random direction as long", e.changed[SG_LRE_RANDOM], err));
    SG_TRY(add_rate(
        w, "causality-copy", site, "the other subject's state in the place of the subject's: what could be had",
        e.changed[SG_LRE_COPY], "a random direction as long as the map's edits", e.changed[SG_LRE_RANDOM], err));
    return sg_result_note(out, "Edits use the %lld largest singular values of W; %lld pairs.", (long long)rank,
                          (long long)e.n);
}

static sg_status notes(work *w, sg_error *err)
{
    sg_result *out = sg_method_result(w->r);
    const sg_lre_data *d = w->data;
    const sg_jacobian_cost c = w->lre->cost;
    SG_TRY(sg_result_note(out,
                          "%s: %d samples, %d objects; of %d tests behind %d shots the model completes %d rightly.",
                          w->relation->name, w->relation->source.n_samples, w->relation->n_objects, d->n_tests,
                          w->opts.n - 1, d->n_known));
    if (!d->fits_known)
        SG_TRY(sg_result_note(out, "The model knows fewer than %d samples, so any were fitted.", w->opts.n));
    if (w->also)
        SG_TRY(sg_result_note(
            out, "It knows none of the tests that choose: layer and beta were chosen among all of them, where the "
                 "model's own token may be wrong."));
    if (w->relation->n_colliding)
        SG_TRY(sg_result_note(out, "%d objects begin with the same token as another: they count as one.",
                              w->relation->n_colliding));
    const sg_relation *file = w->relation->file;
    if (file && file->symmetric)
        SG_TRY(sg_result_note(out, "The file calls the relation symmetric; %d of its %d pairs are there both ways.",
                              file->n_reversed, file->n_samples));
    (void)err;
    return sg_result_note(
        out,
        "Blocks below the lowest site were computed once for each of %lld prompts (%d of their steps in a "
        "batch); %lld rows in %lld batches took %.2f s, %.0f MB.",
        (long long)c.n_prompts, c.n_steps_below, (long long)c.n_rows, (long long)c.n_runs, c.seconds,
        (double)c.bytes / 1e6);
}

static sg_status report(work *w, sg_error *err)
{
    const int i = w->chosen;
    const char *site = sg_arena_printf(w->arena, "%s, beta %g", w->opts.sites[i], w->beta_at[i]);
    if (!site)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    SG_TRY(add_rate(w, "faithfulness", site, "known subjects of which the map reads the token that the model says",
                    w->scores[i].faithful[SG_LRE_MAP], "the same fitted at the token before the subject",
                    w->wrong_scores[i].faithful[SG_LRE_MAP], err));
    SG_TRY(add_rate(w, "faithfulness-all", site, "the same of all subjects, whether the model is right or wrong",
                    w->scores[i].faithful_all[SG_LRE_MAP], "the same fitted at the token before the subject",
                    w->wrong_scores[i].faithful_all[SG_LRE_MAP], err));
    SG_TRY(table_of_layers(w, err));
    SG_TRY(figures(w, err));
    SG_TRY(causality(w, err));
    SG_TRY(notes(w, err));
    const char *out = sg_method_out(w->r);
    if (!out)
        return SG_OK;
    SG_TRY(sg_lre_save(w->lre, i, w->beta_at[i], out, err));
    return sg_result_add_file(sg_method_result(w->r), out, "W and b at the chosen site, for lre lens", err);
}

/* One batch of one prompt, and what all of it would take. */
static sg_status estimate(work *w, sg_error *err)
{
    sg_jacobian *j;
    sg_jacobian_opts how = sg_jacobian_defaults();
    sg_jacobian_result result;
    sg_prompts *p;
    int *shots = sg_arena_array(w->arena, (size_t)w->opts.n, sizeof *shots);
    if (!shots)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    for (int i = 0; i < w->opts.n; i++)
        shots[i] = i;
    how.n_sources = w->opts.n_sites;
    how.sources = w->opts.sites;
    how.batch = w->opts.batch;
    how.exec = w->opts.exec;
    how.most_runs = 1;
    SG_TRY(sg_prompts_new(&p, err));
    sg_status status =
        w->relation->source.prompt(w->relation->source.self, p, w->opts.n - 1, shots, w->opts.n - 1, err);
    if (status == SG_OK)
        status = sg_jacobian_new(&j, w->m, how, err);
    if (status == SG_OK) {
        sg_jacobian_cost first = {0};
        for (int k = 0; k < 2 && status == SG_OK; k++) { /* the first one plans */
            first = sg_jacobian_get_cost(j);
            status = sg_jacobian_run(j, p->at[0].tokens, p->at[0].n, p->at[0].subject, p->at[0].n - 1, &result, err);
        }
        const sg_jacobian_cost c = sg_jacobian_get_cost(j);
        const double batches = ceil((double)sg_jacobian_target_width(j) / (double)how.batch);
        sg_jacobian_free(j);
        static const char *const columns[] = {"prompts", "tokens", "rows each", "positions of a row", "MB", "s in all"};
        const sg_cell cells[6] = {
            {NULL, w->opts.n},
            {NULL, (double)p->at[0].n},
            {NULL, batches * (double)how.batch},
            {NULL, (double)(p->at[0].n - p->at[0].subject)},
            {NULL, (double)c.bytes / 1e6},
            {NULL, w->opts.n * (c.seconds_below - first.seconds_below + batches * (c.seconds - first.seconds))}};
        const sg_result_table t = {.id = "estimate",
                                   .title = "What the Jacobians take, from two batches of one prompt",
                                   .n_columns = 6,
                                   .n_rows = 1,
                                   .columns = columns,
                                   .cells = cells,
                                   .control =
                                       "none: a cost, no finding. As much again for the map at the token before"};
        if (status == SG_OK)
            status = sg_result_add_table(sg_method_result(w->r), &t, err);
    }
    sg_prompts_free(p);
    return status;
}

static sg_status work_on(work *w, sg_error *err)
{
    const char *relation = sg_method_text(w->r, "relation");
    if (!relation)
        return sg_fail(err, SG_EARG, "lre fit: wanted --relation, a file or kb:colour");
    SG_TRY(sg_method_model(w->r, 0, &w->m, err));
    SG_TRY(sg_lre_relation_open(&w->relation, relation, (int)sg_method_number(w->r, "template"), place(w), w->m, err));
    if (w->relation->file)
        SG_TRY(sg_method_data(w->r, relation, err));
    SG_TRY(choose_sites(w, err));
    w->opts.n = (int)sg_method_number(w->r, "n");
    w->opts.n_tests = (int)sg_method_number(w->r, "tests");
    w->opts.batch = (sg_dim)sg_method_number(w->r, "batch");
    w->opts.seed = sg_method_seed(w->r);
    w->opts.exec = sg_method_exec(w->r);
    w->opts.cancel = sg_method_cancel(w->r);
    if (sg_method_flag(w->r, "estimate"))
        return w->relation->source.n_samples > w->opts.n
                   ? estimate(w, err)
                   : sg_fail(err, SG_EARG, "lre fit: %d samples, wanted more than --n %d",
                             w->relation->source.n_samples, w->opts.n);
    sg_method_progress(w->r, 0, "what the model knows");
    SG_TRY(sg_lre_data_new(&w->data, w->m, &w->relation->source, w->opts, err));
    SG_TRY(sg_lre_reader_new(&w->reader, w->m, NULL, w->opts.exec, err));
    SG_TRY(shift(w, err));
    SG_TRY(fit_all(w, err));
    SG_TRY(sweep(w, err));
    return report(w, err);
}

static sg_status run_fit(sg_method_run *r, sg_error *err)
{
    work w = {.r = r, .opts = sg_lre_defaults(), .arena = sg_arena_new()};
    const sg_status status = w.arena ? work_on(&w, err) : sg_fail(err, SG_ENOMEM, "lre: out of memory");
    sg_lre_reader_free(w.reader);
    sg_lre_free(w.lre);
    sg_lre_free(w.wrong);
    sg_lre_free(w.other);
    sg_prompts_free(w.beside);
    sg_lre_data_free(w.data);
    sg_lre_data_free(w.other_data);
    sg_lre_relation_free(w.relation);
    sg_lre_relation_free(w.other_relation);
    free(w.layers);
    free(w.betas);
    sg_arena_free(w.arena);
    return status;
}

static const sg_method_input fit_inputs[] = {{"MODEL", SG_METHOD_MODEL, 1, 1, "a language model"}};
static const sg_option fit_options[] = {
    {"relation", SG_OPTION_TEXT, "", 0, 0, NULL, "a relation's file, or kb:colour, kb:region ... of the world kb"},
    {"template", SG_OPTION_WHOLE, "0", 0, 1000, NULL, "which of its templates"},
    {"layer", SG_OPTION_TEXT, "", 0, 0, NULL,
     "the subject's state behind these blocks, \"2\" or \"-1,0,1\" (-1: before the first); all but the last where none "
     "are named"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL,
     "another value of the subject, {} for the layer, as blocks.{}.hook_mlp_out"},
    {"at", SG_OPTION_CHOICE, "subject", 0, 0, "subject|last",
     "whose state: the subject's last token's, or the prompt's"},
    {"beta", SG_OPTION_TEXT, "1,1.5,2,2.25,2.5,3,4,5", 0, 0, NULL,
     "the factor before W, one or several to choose from"},
    {"n", SG_OPTION_WHOLE, "8", 1, 1000, NULL, "prompts whose Jacobians are averaged"},
    {"tests", SG_OPTION_WHOLE, "200", 2, 1000000, NULL,
     "subjects to judge on, at most: half choose, half are reported"},
    {"rank", SG_OPTION_WHOLE, "0", 0, 1000000, NULL, "singular values that an edit inverts; 0: chosen"},
    {"pairs", SG_OPTION_WHOLE, "100", 0, 1000000, NULL, "edits, at most; 0: none"},
    {"other", SG_OPTION_TEXT, "", 0, 0, NULL, "another relation, whose map is to fail"},
    {"batch", SG_OPTION_WHOLE, "64", 1, 65536, NULL, "rows of a Jacobian that are computed at once"},
    {"estimate", SG_OPTION_FLAG, "no", 0, 0, NULL, "print time and memory, and fit nothing"},
};

const sg_method sg_method_lre_fit = {
    .name = "lre",
    .action = "fit",
    .help = "a relation as one affine map from subject to object, from the model's own Jacobians",
    .about = "W is the mean Jacobian of the last token's state by the subject's, over n prompts that show the other n "
             "- 1 samples, and b "
             "makes it exact there. A reading is faithful where it gives the token that the model says, among subjects "
             "it is right about. "
             "Layer, beta and rank are chosen on one half of the tests and reported on the other, beside the same "
             "fitted at the token "
             "before the subject, the state itself, a translation, a regression, and random edits as long (Hernandez "
             "et al. 2023).",
    .artefact = "FILE.safetensors with W and b at the chosen site",
    .n_inputs = 1,
    .inputs = fit_inputs,
    .n_options = SG_COUNT_OF(fit_options),
    .options = fit_options,
    .run = run_fit,
};

/* ---- lens ---- */

typedef struct lens_work {
    sg_method_run *r;
    sg_model *m;
    sg_lre *lre;
    sg_lre_reader *reader;
    sg_lre_lens *lens;
    sg_tokens ids;
    sg_arena *arena;
} lens_work;

static const char *token_text(lens_work *w, int32_t id)
{
    char *text = NULL;
    sg_error err;
    if (sg_tokenizer_decode(sg_model_tokenizer(w->m), &id, 1, false, &text, &err) != SG_OK)
        return "?";
    const char *kept = sg_arena_strdup(w->arena, text);
    free(text);
    return kept ? kept : "?";
}

/* Tokens by layers: likeliest token, or rank. */
static sg_status lens_table(lens_work *w, const char *id, const char *title, const int32_t *numbers, bool ranks,
                            const char *control, sg_error *err)
{
    const int n_layers = w->lens->n_layers, n_tokens = (int)w->lens->n_tokens, n_columns = n_layers + 1;
    const char **columns = sg_arena_array(w->arena, (size_t)n_columns, sizeof *columns);
    sg_cell *cells = sg_arena_array(w->arena, (size_t)(n_columns * n_tokens), sizeof *cells);
    if (!columns || !cells)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    columns[0] = "token";
    for (int k = 0; k < n_layers; k++)
        if (!(columns[k + 1] = k ? sg_arena_printf(w->arena, "block %d", k - 1) : "embedding"))
            return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    for (int t = 0; t < n_tokens; t++) {
        cells[t * n_columns].text = token_text(w, w->ids.ids[t]);
        for (int k = 0; k < n_layers; k++) {
            const int32_t x = numbers[k * n_tokens + t];
            cells[t * n_columns + k + 1] = (sg_cell){ranks ? NULL : token_text(w, x), ranks ? x + 1 : 0};
        }
    }
    const sg_result_table table = {id, title, n_columns, n_tokens, columns, cells, control};
    return sg_result_add_table(sg_method_result(w->r), &table, err);
}

static sg_status look(lens_work *w, sg_error *err)
{
    double beta;
    const char *path = sg_method_text(w->r, "lre"), *object = sg_method_text(w->r, "object");
    if (!path)
        return sg_fail(err, SG_EARG, "lre lens: wanted --lre, a file that lre fit wrote");
    SG_TRY(sg_method_model(w->r, 0, &w->m, err));
    const sg_tokenizer *tok = sg_model_tokenizer(w->m);
    if (!tok)
        return sg_fail(err, SG_EUNSUPPORTED, "%s has no tokenizer", sg_model_get_info(w->m)->path);
    SG_TRY(sg_method_data(w->r, path, err));
    SG_TRY(sg_lre_open(&w->lre, &beta, path, err));
    if (sg_method_given(w->r, "beta"))
        beta = sg_method_number(w->r, "beta");
    SG_TRY(sg_tokenizer_encode(tok, sg_method_input_at(w->r, 1), sg_encode_defaults(), &w->ids, err));
    int32_t wanted = -1;
    if (object) {
        sg_tokens ids = {0};
        const sg_status status =
            sg_tokenizer_encode(tok, object, (sg_encode_opts){.add_special = false, .parse_special = false}, &ids, err);
        wanted = status == SG_OK && ids.n ? ids.ids[0] : -1;
        sg_tokens_free(&ids);
        SG_TRY(status);
    }
    SG_TRY(sg_lre_reader_new(&w->reader, w->m, w->lre->target, sg_method_exec(w->r), err));
    SG_TRY(sg_lre_lens_new(&w->lens, w->m, w->reader, w->lre, 0, beta, w->ids.ids, w->ids.n, wanted,
                           sg_method_exec(w->r), err));
    SG_TRY(lens_table(w, "lens", "What the map reads off the embedding and what each block writes", w->lens->top, false,
                      "the next table: the same states read without the map", err));
    SG_TRY(lens_table(w, "plain", "The same states as they are, the logit lens", w->lens->plain, false,
                      "the table before", err));
    if (wanted >= 0)
        SG_TRY(lens_table(w, "rank", "Rank of the object's first token in what the map reads, 1 the likeliest",
                          w->lens->rank, true, "other tokens of the same text, of which the relation says nothing",
                          err));
    return sg_result_note(sg_method_result(w->r),
                          "The map was fitted at %s, with beta %g, and is applied to every block.", w->lre->sites[0],
                          beta);
}

static sg_status run_lens(sg_method_run *r, sg_error *err)
{
    lens_work w = {.r = r, .arena = sg_arena_new()};
    const sg_status status = w.arena ? look(&w, err) : sg_fail(err, SG_ENOMEM, "lre: out of memory");
    sg_lre_lens_free(w.lens);
    sg_lre_reader_free(w.reader);
    sg_lre_free(w.lre);
    sg_tokens_free(&w.ids);
    sg_arena_free(w.arena);
    return status;
}

static const sg_method_input lens_inputs[] = {{"MODEL", SG_METHOD_MODEL, 1, 1, "the model of which the map was fitted"},
                                              {"TEXT", SG_METHOD_TEXT, 1, 1, "what is looked at"}};
static const sg_option lens_options[] = {
    {"lre", SG_OPTION_PATH, "", 0, 0, NULL, "the map, a file that lre fit wrote"},
    {"object", SG_OPTION_TEXT, "", 0, 0, NULL, "a word whose rank is told"},
    {"beta", SG_OPTION_REAL, "0", -1e6, 1e6, NULL, "the factor before W (that of the file)"},
};

const sg_method sg_method_lre_lens = {
    .name = "lre",
    .action = "lens",
    .help = "what a relation's map reads at every token and layer of a text",
    .about = "The attribute lens: W and b applied to what each block writes at each token, read by the model's own "
             "norm and unembedding. "
             "Beside it stands what is read there without the map (Hernandez et al. 2023, section 6).",
    .n_inputs = 2,
    .inputs = lens_inputs,
    .n_options = SG_COUNT_OF(lens_options),
    .options = lens_options,
    .run = run_lens,
};
