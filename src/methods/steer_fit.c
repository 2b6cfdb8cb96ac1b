/* sightglass steer fit: directions, as edits or a control vector. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/steer_internal.h"
#include "sightglass/control_vector.h"
#include "sightglass/statistics.h"

static const double nan_ = (double)NAN;

sg_status sg_steer_asked(sg_method_run *r, const sg_model *m, const char *path, sg_steer_data **out, sg_error *err)
{
    sg_steer_read_opts opts = sg_steer_read_defaults();
    sg_steer_data *all, *first, *second;
    opts.form = sg_method_text(r, "form");
    opts.words = sg_method_text(r, "words");
    opts.n_cuts = (int)sg_method_number(r, "cuts");
    opts.most = (int)fmin(sg_method_number(r, "most"), INT_MAX);
    opts.longest = sg_model_get_info(m)->n_context - 1; /* a token more is read behind each */
    *out = NULL;
    SG_TRY(sg_method_data(r, path, err));
    SG_TRY(sg_steer_data_read(&all, path, sg_model_tokenizer(m), opts, err));
    if (all->n_left_out) {
        const sg_status noted = sg_result_note(
            sg_method_result(r), "%d texts are longer than the model's context and were left out", all->n_left_out);
        if (noted != SG_OK) {
            sg_steer_data_free(all);
            return noted;
        }
    }
    const int part = (int)sg_method_number(r, "part");
    if (part == 0) {
        *out = all;
        return SG_OK;
    }
    /* The halves borrow the texts, so a copy is made of the one that is wanted. */
    sg_status status = sg_steer_split(&first, &second, all, .5, sg_method_seed(r), err);
    if (status == SG_OK) {
        const sg_steer_data *wanted = part == 1 ? first : second;
        status = sg_steer_data_of(out, wanted->n, wanted->texts, err);
        sg_steer_data_free(first);
        sg_steer_data_free(second);
    }
    sg_steer_data_free(all);
    return status;
}

sg_status sg_steer_edits(sg_edit_list **out, const char *path, sg_error *err)
{
    if (!sg_ends_with(path, ".gguf"))
        return sg_edit_list_open(out, path, err);
    sg_control_vector *cv;
    SG_TRY(sg_control_vector_open(&cv, path, err));
    sg_status status = sg_edit_list_new(out, path, err);
    if (status == SG_OK)
        status = sg_control_vector_edits(cv, 1, (sg_span){0, INT64_MAX}, *out, err);
    sg_control_vector_close(cv);
    return status;
}

/* ---- heads ---- */

static sg_status tell_heads(sg_method_run *r, const sg_headrank *h, int n, sg_error *err)
{
    static const char *const columns[] = {"head", "ranked by", "on other questions", "shuffled kinds", "sigma"};
    sg_result *result = sg_method_result(r);
    const int all = h->n_layers * h->n_heads, shown = SG_MIN(n, 16);
    sg_cell cells[16 * 5];
    char names[16][24];
    double chosen = 0, shuffled = 0, best_shuffled = 0;
    for (int i = 0; i < all; i++)
        best_shuffled = fmax(best_shuffled, h->shuffled[i]);
    for (int i = 0; i < n; i++) {
        chosen += h->elsewhere[h->order[i]] / n;
        shuffled += h->shuffled[h->order[i]] / n;
    }
    SG_TRY(sg_result_add(
        result,
        &(sg_finding){.id = "heads",
                      .text =
                          "accuracy of the chosen heads' probes on questions that neither fitted nor ranked them, mean",
                      .value = chosen,
                      .low = nan_,
                      .high = nan_,
                      .n = n,
                      .control = "the same heads, fitted to shuffled kinds",
                      .control_value = shuffled,
                      .control_low = nan_,
                      .control_high = nan_},
        err));
    for (int i = 0; i < shown; i++) {
        const int k = h->order[i];
        snprintf(names[i], sizeof names[i], "%d.%d", k / h->n_heads, k % h->n_heads);
        const sg_cell row[5] = {{names[i], 0},
                                {NULL, h->accuracy[k]},
                                {NULL, h->elsewhere[k]},
                                {NULL, h->shuffled[k]},
                                {NULL, h->sigma[k]}};
        memcpy(cells + i * 5, row, sizeof row);
    }
    SG_TRY(sg_result_add_table(result,
                               &(sg_result_table){.id = "heads",
                                                  .title = "Heads that tell the kinds apart (layer.head), best first",
                                                  .n_columns = 5,
                                                  .n_rows = shown,
                                                  .columns = columns,
                                                  .cells = cells,
                                                  .control = "shuffled kinds"},
                               err));
    const sg_panel panel[] = {
        {.title = "on other questions", .n_rows = h->n_layers, .n_columns = h->n_heads, .cells = h->elsewhere},
        {.title = "shuffled kinds", .n_rows = h->n_layers, .n_columns = h->n_heads, .cells = h->shuffled}};
    SG_TRY(sg_result_add_figure(result,
                                &(sg_figure){.id = "heads",
                                             .title = "How well each head tells the kinds apart",
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "head"},
                                             .y = {.label = "layer"},
                                             .value = {"accuracy", NULL, false, .4, 1},
                                             .n_panels = 2,
                                             .panels = panel},
                                err));
    return sg_result_note(
        result,
        "guessing the more frequent kind is right in %.1f %%; of shuffled kinds the best of all heads gets %.1f %%",
        100 * h->larger, 100 * best_shuffled);
}

static sg_status fit_heads(sg_method_run *r, const sg_model *m, const sg_steer_data *d, sg_edit_list *list,
                           sg_error *err)
{
    sg_headrank_opts opts = sg_headrank_defaults();
    sg_headrank *h;
    opts.kind = (sg_steer_kind)sg_method_number(r, "kind");
    opts.seed = sg_method_seed(r);
    opts.exec = sg_method_exec(r);
    opts.cancel = sg_method_cancel(r);
    sg_method_progress(r, 0, "heads");
    opts.progress = sg_method_on_progress;
    opts.context = r;
    SG_TRY(sg_headrank_new(&h, m, d, opts, err));
    const int n = (int)sg_method_number(r, "heads");
    const sg_steer_where where = sg_method_number(r, "where") > 0 ? SG_STEER_GENERATED : SG_STEER_ALL;
    sg_status status = sg_steer_iti(list, h, n, NULL, sg_method_number(r, "strength"), where, err);
    if (status == SG_OK)
        status = tell_heads(r, h, n, err);
    sg_headrank_free(h);
    return status;
}

/* ---- whole vectors ---- */

/* How well projections on a direction part the kinds of other texts. */
static sg_status auroc(double *out, const float *direction, const sg_tensor *acts, const sg_steer_data *d,
                       sg_error *err)
{
    const sg_dim width = acts->dims[1];
    double *along = malloc((size_t)SG_MAX(d->n, 1) * sizeof *along);
    bool *positive = malloc((size_t)SG_MAX(d->n, 1) * sizeof *positive);
    sg_status status = along && positive ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory");
    for (int i = 0; status == SG_OK && i < d->n; i++) {
        along[i] = 0;
        positive[i] = d->texts[i].positive;
        for (sg_dim k = 0; k < width; k++)
            along[i] += (double)((const float *)acts->data)[i * width + k] * (double)direction[k];
    }
    if (status == SG_OK)
        status = sg_stats_auroc(out, d->n, along, positive, err);
    free(along);
    free(positive);
    return status;
}

/* Where few dimensions hold most of what varies, one shuffle or one random direction may part the kinds by chance,
 * either way round: so many are drawn. */
enum { DRAWS = 8 };

typedef struct fitted {
    double part, sigma, norm;
    double shuffled, shuffled_low, shuffled_high, random; /* mean and range of all draws */
} fitted;

static sg_status fit_site(sg_method_run *r, const sg_value *site, const sg_tensor *acts, const sg_tensor *test,
                          const sg_steer_data *fit, sg_steer_data *const *shuffled, const sg_steer_data *rest,
                          sg_edit_list *list, fitted *out, sg_error *err)
{
    const sg_dim width = acts->dims[1];
    const sg_steer_kind kind = (sg_steer_kind)sg_method_number(r, "kind");
    const sg_steer_where where = sg_method_number(r, "where") > 0 ? SG_STEER_GENERATED : SG_STEER_ALL;
    float *v = malloc((size_t)width * sizeof *v);
    /* As the site has it behind rows and positions: [D], or [heads,width]. */
    const sg_tensor t = sg_tensor_of(SG_F32, sg_value_n_dims(site) - 2, sg_value_dims(site) + 2, v);
    double square = 0;
    if (!v)
        return sg_fail(err, SG_ENOMEM, "steer: out of memory");
    sg_status status = SG_OK;
    out->shuffled_low = 1;
    for (int k = 0; k < DRAWS && status == SG_OK; k++) {
        double part;
        status = sg_steer_direction(v, NULL, SG_STEER_RANDOM, acts, fit, sg_method_seed(r) + 77 + (uint64_t)k, err);
        if (status == SG_OK)
            status = auroc(&part, v, test, rest, err);
        out->random += status == SG_OK ? part / DRAWS : 0;
        if (status == SG_OK)
            status = sg_steer_direction(v, NULL, kind, acts, shuffled[k], sg_method_seed(r), err);
        if (status == SG_OK)
            status = auroc(&part, v, test, rest, err);
        if (status == SG_OK) {
            out->shuffled += part / DRAWS;
            out->shuffled_low = fmin(out->shuffled_low, part);
            out->shuffled_high = fmax(out->shuffled_high, part);
        }
    }
    if (status == SG_OK)
        status = sg_steer_direction(v, &out->sigma, kind, acts, fit, sg_method_seed(r), err);
    if (status == SG_OK)
        status = auroc(&out->part, v, test, rest, err);
    for (sg_dim i = 0; i < acts->dims[0] * width; i++)
        square += pow((double)((const float *)acts->data)[i], 2);
    out->norm = sqrt(square / (double)acts->dims[0]);
    for (sg_dim k = 0; k < width; k++)
        v[k] = (float)(out->sigma * (double)v[k]);
    if (status == SG_OK)
        status = sg_steer_add(list, sg_value_name(site), &t, sg_method_number(r, "strength"), where, err);
    free(v);
    return status;
}

static sg_status tell_sites(sg_method_run *r, int n, const char *const *sites, const fitted *f, int n_fit, int n_rest,
                            sg_error *err)
{
    static const char *const columns[] = {"site", "AUROC", "shuffled kinds", "random", "sigma", "length of x"};
    sg_result *result = sg_method_result(r);
    sg_cell *cells = malloc((size_t)n * 6 * sizeof *cells);
    double *x = malloc((size_t)n * 4 * sizeof *x);
    sg_status status = cells && x ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory");
    for (int i = 0; i < n && status == SG_OK; i++) {
        const sg_cell row[6] = {{sites[i], 0},       {NULL, f[i].part},  {NULL, f[i].shuffled},
                                {NULL, f[i].random}, {NULL, f[i].sigma}, {NULL, f[i].norm}};
        memcpy(cells + i * 6, row, sizeof row);
        x[i] = i, x[n + i] = f[i].part, x[2 * n + i] = f[i].shuffled, x[3 * n + i] = f[i].random;
        status = sg_result_add(
            result,
            &(sg_finding){.id = "auroc",
                          .where = sites[i],
                          .text = "how well projections part the kinds of held-out texts (AUROC, .5 is chance)",
                          .value = f[i].part,
                          .low = nan_,
                          .high = nan_,
                          .n = n_rest,
                          .control = "directions fitted to shuffled kinds, mean and range of eight",
                          .control_value = f[i].shuffled,
                          .control_low = f[i].shuffled_low,
                          .control_high = f[i].shuffled_high},
            err);
    }
    if (status == SG_OK)
        status = sg_result_add_table(
            result,
            &(sg_result_table){.id = "sites",
                               .title = "Directions, judged on texts of other questions",
                               .n_columns = 6,
                               .n_rows = n,
                               .columns = columns,
                               .cells = cells,
                               .control = "directions of shuffled kinds, and random ones: means of eight"},
            err);
    if (status == SG_OK && n > 1) {
        const sg_series lines[] = {
            {"fitted", n, x, x + n}, {"shuffled kinds", n, x, x + 2 * n}, {"random", n, x, x + 3 * n}};
        const sg_panel panel = {.n_series = 3, .series = lines};
        status = sg_result_add_figure(result,
                                      &(sg_figure){.id = "sites",
                                                   .title = "Where the kinds part",
                                                   .kind = SG_FIGURE_LINES,
                                                   .x = {.label = "site, in order"},
                                                   .y = {"AUROC", NULL, false, 0, 1},
                                                   .n_panels = 1,
                                                   .panels = &panel},
                                      err);
    }
    if (status == SG_OK)
        status = sg_result_note(result,
                                "fitted to %d texts, judged on %d; an edit's value is sigma times the direction, its "
                                "strength in units of that",
                                n_fit, n_rest);
    free(cells);
    free(x);
    return status;
}

static sg_status fit_sites(sg_method_run *r, const sg_model *m, const sg_steer_data *d, sg_edit_list *list,
                           sg_error *err)
{
    const char *pattern = sg_method_text(r, "site");
    sg_graph *g = NULL;
    const char **sites = NULL;
    int n = 0;
    sg_steer_data *rest = NULL, *fit = NULL, *shuffled[DRAWS] = {NULL};
    sg_store *acts = NULL, *test = NULL;
    sg_harvest_opts opts = sg_harvest_defaults();
    opts.exec = sg_method_exec(r);
    opts.cancel = sg_method_cancel(r);
    opts.batch = 16;
    sg_status status = sg_model_graph(&g, m, 0, 1, err);
    if (status == SG_OK)
        status = sg_method_sites(g, pattern ? pattern : "blocks.*.hook_resid_post", &sites, &n, err);
    if (status == SG_OK)
        status = sg_steer_split(&rest, &fit, d, sg_method_number(r, "held"), sg_method_seed(r) + 5, err);
    for (int k = 0; k < DRAWS && status == SG_OK; k++)
        status = sg_steer_shuffled(&shuffled[k], fit, sg_method_seed(r) + (uint64_t)k, err);
    sg_method_progress(r, .05, "activations");
    if (status == SG_OK)
        status = sg_steer_acts(&acts, m, fit, n, sites, opts, err);
    sg_method_progress(r, .5, "activations of held-out texts");
    if (status == SG_OK)
        status = sg_steer_acts(&test, m, rest, n, sites, opts, err);
    fitted *f = calloc((size_t)n + 1, sizeof *f);
    if (status == SG_OK && !f)
        status = sg_fail(err, SG_ENOMEM, "steer: out of memory");
    for (int i = 0; i < n && status == SG_OK; i++) {
        sg_method_progress(r, .6 + .4 * i / n, "directions");
        status = fit_site(r, sg_graph_find(g, sites[i]), sg_store_acts(acts, i), sg_store_acts(test, i), fit, shuffled,
                          rest, list, &f[i], err);
    }
    if (status == SG_OK)
        status = tell_sites(r, n, sites, f, fit->n, rest->n, err);
    free(f);
    sg_store_free(acts);
    sg_store_free(test);
    for (int k = 0; k < DRAWS; k++)
        sg_steer_data_free(shuffled[k]);
    sg_steer_data_free(fit);
    sg_steer_data_free(rest);
    free(sites);
    sg_graph_free(g);
    return status;
}

/* A control vector has nothing behind block 0, and knows of no halves of an edit. */
static sg_status save_vector(sg_method_run *r, sg_edit_list *list, const char *path, sg_error *err)
{
    sg_edit_list *whole;
    int n_first = 0;
    SG_TRY(sg_edit_list_new(&whole, "control vector", err));
    sg_status status = SG_OK;
    for (int i = 0; i < sg_edit_list_count(list) && status == SG_OK; i++) {
        sg_edit e = *sg_edit_list_at(list, i);
        if (e.steps.n) /* the half that is made while writing: the other one says the same */
            continue;
        e.positions = (sg_spans){0};
        if (!strcmp(e.site, "blocks.0.hook_resid_post"))
            n_first++;
        else
            status = sg_edit_list_add(whole, &e, err);
    }
    if (status == SG_OK)
        status = sg_control_vector_save(path, whole, NULL, err);
    if (status == SG_OK && n_first)
        status =
            sg_result_note(sg_method_result(r), "the format has nothing behind block 0; its direction is left out");
    sg_edit_list_free(whole);
    return status;
}

static sg_status save_edits(sg_method_run *r, sg_edit_list *list, sg_error *err)
{
    const char *path = sg_method_out(r);
    if (!path)
        return SG_OK;
    if (sg_ends_with(path, ".gguf"))
        SG_TRY(save_vector(r, list, path, err));
    else
        SG_TRY(sg_edit_list_save(list, path, err));
    return sg_result_add_file(sg_method_result(r), path, sg_ends_with(path, ".gguf") ? "a control vector" : "the edits",
                              err);
}

static sg_status run_fit(sg_method_run *r, sg_error *err)
{
    sg_model *m;
    sg_steer_data *d;
    sg_edit_list *list;
    SG_TRY(sg_writer_check(sg_method_out(r), err));
    SG_TRY(sg_method_model(r, 0, &m, err));
    if (sg_model_get_info(m)->task != SG_TASK_NEXT)
        return sg_fail(err, SG_EUNSUPPORTED, "steer: %s does not write texts", sg_model_get_info(m)->path);
    SG_TRY(sg_steer_asked(r, m, sg_method_input_at(r, 1), &d, err));
    sg_status status = sg_edit_list_new(&list, "steer", err);
    if (status == SG_OK) {
        status = sg_method_number(r, "heads") > 0 ? fit_heads(r, m, d, list, err) : fit_sites(r, m, d, list, err);
        if (status == SG_OK)
            status = save_edits(r, list, err);
        sg_edit_list_free(list);
    }
    sg_steer_data_free(d);
    return status;
}

static const sg_method_input fit_inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1, "a model that writes texts"},
    {"DATA", SG_METHOD_FILE, 1, 1,
     "texts of two kinds: pairs, questions with right and wrong answers, or labelled ones (.csv .tsv .jsonl .json)"},
};

static const sg_option fit_options[] = {
    {"kind", SG_OPTION_CHOICE, "mean", 0, 0, "mean|probe|pca|pca-centred|random",
     "the direction: difference of means, a probe's, first component of pairs' differences (about no mean; as repeng), "
     "the control"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "where, by name or pattern (blocks.*.hook_resid_post)"},
    {"heads", SG_OPTION_WHOLE, "0", 0, 100000, NULL,
     "instead: so many heads of all, the best ranked (inference-time intervention)"},
    {"strength", SG_OPTION_REAL, "1", -1e6, 1e6, NULL,
     "of the edits that are written, in deviations along the direction"},
    {"where", SG_OPTION_CHOICE, "all", 0, 0, "all|generated",
     "positions: all, or the prompt's last and what is written"},
    {"held", SG_OPTION_REAL, "0.2", 0.01, 0.9, NULL, "share of the questions that directions are judged on"},
    DATA_OPTIONS,
};

const sg_method sg_method_steer_fit = {
    .name = "steer",
    .action = "fit",
    .help = "find directions along which texts of two kinds part, as edits or a control vector",
    .about = "Directions at the last token of each text, judged on texts of other questions beside a direction of "
             "shuffled kinds and a random one. "
             "With --heads each attention head has its own (Li, Patel et al. 2023): two folds of questions, a probe "
             "for each head, the best K are pushed by strength times sigma.",
    .artefact = "FILE.json: edits for --edits; FILE.gguf: a control vector",
    .n_inputs = SG_COUNT_OF(fit_inputs),
    .inputs = fit_inputs,
    .n_options = SG_COUNT_OF(fit_options),
    .options = fit_options,
    .run = run_fit,
};
