/* sightglass closure: the similarity index of figures of Kanizsa's kind, layer by layer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/convnet.h"
#include "sightglass/method.h"
#include "sightglass/simindex.h"

enum { FRESH = 3, CALIBRATED = 12 }; /* networks; figures that they are calibrated on */

static const sg_method_input inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1,
     "a model of images: convnet, MobileNet v2, a ResNet of CIFAR-10, vit, dinov2 ..."}};

static const sg_option options[] = {
    {"at", SG_OPTION_TEXT, "*.out", 0, 0, NULL, "names or a pattern of the values that are compared"},
    {"figure", SG_OPTION_CHOICE, "triangle", 0, 0, "triangle|open",
     "open: three parallel lines, whose pieces go on straight and close nothing"},
    {"n", SG_OPTION_WHOLE, "64", 4, 100000, NULL, "figures"},
    {"gap", SG_OPTION_REAL, "0", 0, 0.95, NULL, "share of each line that is left out; 0: .2 to .8 by tenths, in turn"},
    {"draws", SG_OPTION_WHOLE, "4", 1, 64, NULL, "how often the pieces of each are turned at random"},
    {"over-space", SG_OPTION_FLAG, "no", 0, 0, NULL,
     "maps are averaged over rows and columns before they are compared"},
    {"resamples", SG_OPTION_WHOLE, "2000", 100, 100000, NULL, "of the bootstrap over figures"},
};

/* A network with fresh weights: of convolutions, calibrated on the first stimuli, since one without is no fair control.
 */
static sg_status fresh_network(sg_model **out, const sg_model *m, const sg_tensor *some, uint64_t seed, sg_error *err)
{
    sg_error not_conv;

    if (sg_convnet_fresh(out, m, seed, &not_conv) != SG_OK)
        return sg_model_untrained(out, m, err);
    return sg_convnet_calibrate(*out, some, err);
}

typedef struct closure {
    sg_method_run *r;
    const sg_model *m;
    sg_triples t;
    int n_sites;
    const char **sites;
    sg_simindex_opts opts;
    sg_simindex *trained, *baselines, *fresh[FRESH];
} closure;

static double fresh_mean(const closure *c, int site, bool centred)
{
    double sum = 0;
    for (int k = 0; k < FRESH; k++) {
        const sg_simindex_site *x = sg_simindex_get(c->fresh[k], site);
        sum += (centred ? x->centred : x->plain).index / FRESH;
    }
    return sum;
}

/* Whole figures and pieces, to calibrate on. */
static sg_status first_stimuli(sg_tensor *out, const sg_triples *t, sg_error *err)
{
    const sg_dim stimuli = 2 + t->far.dims[1], n = SG_MIN(CALIBRATED, t->whole.dims[0]);
    const sg_dim each = sg_tensor_count(&t->whole) / t->whole.dims[0];

    *out = t->whole;
    out->dims[0] = n * stimuli;
    if (!(out->data = malloc(sg_tensor_bytes(out))))
        return sg_fail(err, SG_ENOMEM, "out of memory for stimuli");
    for (sg_dim i = 0; i < n; i++) {
        const sg_status status = t->fill(t->context, i, (float *)out->data + i * stimuli * each, err);
        if (status != SG_OK) {
            free(out->data);
            return status;
        }
    }
    return SG_OK;
}

static sg_status measure(closure *c, sg_error *err)
{
    sg_tensor some;

    sg_method_progress(c->r, 0.05, "the network");
    SG_TRY(sg_simindex_baselines(&c->baselines, &c->t, c->opts, err));
    SG_TRY(sg_simindex_new(&c->trained, c->m, &c->t, c->n_sites, c->sites, c->opts, err));
    SG_TRY(first_stimuli(&some, &c->t, err));
    for (int k = 0; k < FRESH; k++) {
        sg_model *fresh;
        sg_method_progress(c->r, 0.25 + 0.25 * k, "fresh weights");
        sg_status status = fresh_network(&fresh, c->m, &some, sg_method_seed(c->r) + 1 + (uint64_t)k, err);
        if (status == SG_OK)
            status = sg_simindex_new(&c->fresh[k], fresh, &c->t, c->n_sites, c->sites, c->opts, err);
        sg_model_close(fresh);
        if (status != SG_OK) {
            free(some.data);
            return status;
        }
    }
    free(some.data);
    return SG_OK;
}

static sg_status add_finding(const closure *c, int i, bool centred, sg_error *err)
{
    const sg_simindex_site *x = sg_simindex_get(c->trained, i);
    const sg_simindex_value *v = centred ? &x->centred : &x->plain;
    double low = (double)INFINITY, high = -(double)INFINITY;

    for (int k = 0; k < FRESH; k++) {
        const sg_simindex_site *f = sg_simindex_get(c->fresh[k], i);
        const double y = (centred ? f->centred : f->plain).index;
        low = SG_MIN(low, y);
        high = SG_MAX(high, y);
    }
    return sg_result_add(sg_method_result(c->r),
                         &(sg_finding){.id = centred ? "index_centred" : "index",
                                       .where = x->site,
                                       .text = centred ? "the same of what differs from the mean over all stimuli"
                                                       : "cos(whole, pieces in place) - cos(whole, pieces turned)",
                                       .value = v->index,
                                       .low = v->low,
                                       .high = v->high,
                                       .n = v->n,
                                       .control = "the same network with fresh weights, calibrated (3 draws)",
                                       .control_value = fresh_mean(c, i, centred),
                                       .control_low = low,
                                       .control_high = high},
                         err);
}

static sg_status add_table(const closure *c, sg_error *err)
{
    static const char *const columns[] = {"value",   "index", "low",  "high",         "fresh weights",
                                          "centred", "low",   "high", "fresh weights"};
    enum { COLUMNS = 9 };
    const int n_rows = c->n_sites + 2;
    sg_cell *cells = calloc((size_t)n_rows * COLUMNS, sizeof *cells);

    if (!cells)
        return sg_fail(err, SG_ENOMEM, "out of memory for a table");
    for (int i = 0; i < n_rows; i++) {
        const bool base = i < 2;
        const sg_simindex_site *x = base ? sg_simindex_get(c->baselines, i) : sg_simindex_get(c->trained, i - 2);
        sg_cell *row = cells + i * COLUMNS;
        row[0].text = base ? i ? "(Gabor energy)" : "(pixels)" : x->site;
        for (int k = 0; k < 2; k++) {
            const sg_simindex_value *v = k ? &x->centred : &x->plain;
            row[1 + 4 * k].number = v->index;
            row[2 + 4 * k].number = v->low;
            row[3 + 4 * k].number = v->high;
            row[4 + 4 * k].number = base ? v->index : fresh_mean(c, i - 2, k == 1);
        }
    }
    const sg_status status = sg_result_add_table(
        sg_method_result(c->r),
        &(sg_result_table){
            .id = "layers",
            .title = "Index of each value",
            .n_columns = COLUMNS,
            .n_rows = n_rows,
            .columns = columns,
            .cells = cells,
            .control = "the columns of fresh weights, and the first two rows: front ends that have learnt nothing"},
        err);
    free(cells);
    return status;
}

static sg_status add_figure(const closure *c, sg_error *err)
{
    const int n = c->n_sites;
    double *x = calloc((size_t)n * 6, sizeof *x);

    if (!x)
        return sg_fail(err, SG_ENOMEM, "out of memory for a figure");
    for (int i = 0; i < n; i++) {
        const sg_simindex_site *s = sg_simindex_get(c->trained, i);
        const double y[] = {s->plain.index,   fresh_mean(c, i, false), sg_simindex_get(c->baselines, 0)->plain.index,
                            s->centred.index, fresh_mean(c, i, true),  sg_simindex_get(c->baselines, 0)->centred.index};
        for (int k = 0; k < 6; k++)
            x[k * n + i] = y[k];
    }
    double *at = calloc((size_t)n, sizeof *at);
    for (int i = 0; i < n && at; i++)
        at[i] = i + 1;
    static const char *const names[] = {"this network", "fresh weights", "pixels"};
    sg_series series[6];
    for (int k = 0; k < 6; k++)
        series[k] = (sg_series){names[k % 3], n, at, x + k * n};
    const sg_panel panels[] = {{.title = "as they are", .n_series = 3, .series = series},
                               {.title = "centred", .n_series = 3, .series = series + 3}};
    const sg_status status =
        at ? sg_result_add_figure(
                 sg_method_result(c->r),
                 &(sg_figure){.id = "depth",
                              .title = "Similarity index over depth",
                              .caption =
                                  "Above 0: pieces in place are nearer to the whole figure than pieces turned away.",
                              .kind = SG_FIGURE_LINES,
                              .x = {.label = "value, in the order of the network"},
                              .y = {.label = "index"},
                              .n_panels = 2,
                              .panels = panels},
                 err)
           : sg_fail(err, SG_ENOMEM, "out of memory for a figure");
    free(at);
    free(x);
    return status;
}

static sg_status work(closure *c, const sg_graph *g, sg_error *err)
{
    SG_TRY(sg_method_sites(g, sg_method_text(c->r, "at"), &c->sites, &c->n_sites, err));
    sg_figures_opts figures = sg_figures_defaults();
    figures.open = (int)sg_method_number(c->r, "figure");
    figures.n = (sg_dim)sg_method_number(c->r, "n");
    figures.n_turns = (sg_dim)sg_method_number(c->r, "draws");
    figures.gap = sg_method_number(c->r, "gap");
    figures.seed = sg_method_seed(c->r);
    SG_TRY(sg_figures_new(&c->t, c->m, figures, err));
    SG_TRY(measure(c, err));
    SG_TRY(add_table(c, err));
    for (int centred = 0; centred < 2; centred++) /* the last value says most: all are in the table */
        SG_TRY(add_finding(c, c->n_sites - 1, centred, err));
    SG_TRY(sg_result_note(
        sg_method_result(c->r), "Pixels have the index %.4f (centred %.4f): what a layer has of it needs no network.",
        sg_simindex_get(c->baselines, 0)->plain.index, sg_simindex_get(c->baselines, 0)->centred.index));
    return add_figure(c, err);
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    closure c = {.r = r, .opts = sg_simindex_defaults()};
    sg_model *m;
    sg_graph *g;

    SG_TRY(sg_method_model(r, 0, &m, err));
    c.m = m;
    c.opts.over_space = sg_method_flag(r, "over-space");
    c.opts.bootstrap.n_resamples = (int)sg_method_number(r, "resamples");
    c.opts.bootstrap.seed = sg_method_seed(r);
    c.opts.exec = sg_method_exec(r);
    c.opts.cancel = sg_method_cancel(r);
    c.opts.batch = sg_model_get_info(m)->image_side > 64 ? 2 : 32;
    c.opts.centre_on = sg_model_get_info(m)->image_side > 64 ? 32 : 0;
    SG_TRY(sg_model_graph(&g, m, 0, 1, err));
    const sg_status status = work(&c, g, err);
    sg_figures_free(&c.t);
    free(c.sites);
    sg_graph_free(g);
    sg_simindex_free(c.trained);
    sg_simindex_free(c.baselines);
    for (int k = 0; k < FRESH; k++)
        sg_simindex_free(c.fresh[k]);
    return status;
}

const sg_method sg_method_closure = {
    .name = "closure",
    .help = "whether a network takes aligned pieces of a figure for the figure, layer by layer",
    .about = "Draws triangles, their corners alone, and the same corners turned away with as much ink, and compares "
             "what the network makes "
             "of them: cos(whole, in place) - cos(whole, turned), as they are and less the mean over all stimuli. "
             "Beside each layer stand the same "
             "network with fresh weights (calibrated, 3 draws), the pixels and a bank of Gabor filters. After Kim, "
             "Reif, Wattenberg et al. 2019.",
    .n_inputs = SG_COUNT_OF(inputs),
    .inputs = inputs,
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
