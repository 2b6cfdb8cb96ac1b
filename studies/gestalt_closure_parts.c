/* Making the networks, asking them, and numbers of the answers. */
#include "gestalt_closure_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/statistics.h"
#include "sightglass/world.h"

static const char config[] =
    "{\"architectures\": [\"ConvNetForImageClassification\"], \"image_size\": 32, \"num_channels\": 1, \"num_labels\": "
    "8, \"layers\": ["
    "{\"kind\": \"conv\", \"channels\": 16}, {\"kind\": \"conv\", \"channels\": 32, \"stride\": 2}, {\"kind\": "
    "\"conv\", \"channels\": 32}, "
    "{\"kind\": \"conv\", \"channels\": 64, \"stride\": 2}, {\"kind\": \"global_mean_pool\"}]}";
static const char *const layers[CLOSURE_LAYERS] = {"conv1.out", "conv2.out", "conv3.out", "conv4.out"};

enum { CALIBRATED = 96, FRESH_SEEDS = 1000, STIMULI_SEEDS = 5000, BATCH = 64 };

void closure_tell(const closure_study *s, const char *part, double done)
{
    if (s->opts->progress)
        s->opts->progress(
            s->opts->context,
            &(sg_study_progress){.part = part, .done = done, .seconds_left = (double)NAN, .loss = (double)NAN});
}

/* ---- networks ---- */

static void trained_step(void *context, const sg_train_progress *at)
{
    closure_study *s = context;
    if (s->opts->progress)
        s->opts->progress(s->opts->context,
                          &(sg_study_progress){"training", at->n_steps ? (double)at->step / (double)at->n_steps : 1,
                                               at->seconds_left, at->loss});
}

/* As scripts/train-model has it for the networks that ship, which saw twice as many images. */
static sg_status train(closure_study *s, sg_model *m, int kind, uint64_t seed)
{
    const sg_setting textures[] = {{"size", "32"}, {"classes", "8"}, {"content", "textures"}};
    const sg_setting shapes[] = {
        {"size", "32"}, {"classes", "8"}, {"fill", "either"}, {"occlusion", "0.3"}, {"labels", "random"}};
    static const char *const fields[] = {"pixels", "label"};
    sg_convnet_train_opts o = sg_convnet_train_defaults();
    sg_source images;

    SG_TRY(sg_world_batches(&images, sg_world_find("shapes", s->err),
                            kind == TEXTURES ? 3
                            : kind == LABELS ? 5
                                             : 4,
                            kind == TEXTURES ? textures : shapes, 2, fields, BATCH, seed, s->err));
    o.n_steps = kind == TEXTURES ? 500 : 940; /* 60,000 images of shapes */
    o.schedule.lr = 3e-3;
    o.progress = trained_step;
    o.context = s;
    o.cancel = s->opts->cancel;
    o.exec = s->opts->exec;
    const sg_status status = sg_convnet_train(m, &images, o, NULL, s->err);
    sg_source_free(&images);
    return status;
}

/* Whole figures of a seed of their own. */
static sg_status calibrate(const closure_study *s, sg_model *m, uint64_t seed)
{
    sg_sample *sample;

    SG_TRY(sg_world_sample(&sample, sg_world_find("kanizsa", s->err), 1, &(sg_setting){"draws", "1"}, CALIBRATED, seed,
                           s->err));
    const sg_status status = sg_convnet_calibrate(m, sg_sample_find(sample, "whole"), s->err);
    sg_sample_free(sample);
    return status;
}

static sg_status network(closure_study *s, sg_model **out, int kind, int i)
{
    static const char *const shipped[] = {"closure-shapes", "closure-labels", "closure-textures"};
    const bool fresh = kind == FRESH || kind == OTHER;
    const uint64_t seed = s->seeds[i] + (kind == OTHER ? 2 * FRESH_SEEDS : kind == FRESH ? FRESH_SEEDS : 0);
    const sg_study_opts standard = {.model = NULL};

    if (!fresh && !s->opts->full)
        return sg_study_model(out, &standard, shipped[kind], s->err);
    SG_TRY(sg_convnet_new(out, config, seed, s->err));
    const sg_status status = fresh ? calibrate(s, *out, seed) : train(s, *out, kind, seed);
    if (status != SG_OK) {
        sg_model_close(*out);
        *out = NULL;
    }
    return status;
}

/* ---- measuring ---- */

static sg_simindex_opts options(const closure_study *s)
{
    sg_simindex_opts o = sg_simindex_defaults();
    o.batch = 32;
    o.bootstrap.n_resamples = 1000; /* of each index: claims ask for more */
    o.exec = s->opts->exec;
    o.cancel = s->opts->cancel;
    return o;
}

static sg_status ask(closure_study *s, const sg_model *m, int kind, int i, bool open)
{
    sg_figures_opts f = sg_figures_defaults();
    sg_triples t;

    f.open = open;
    f.n = s->opts->full ? 768 : 98;
    f.n_turns = s->opts->full ? 8 : 4;
    f.seed = s->seeds[s->opts->full ? i : 0] + STIMULI_SEEDS;
    SG_TRY(sg_figures_new(&t, m, f, s->err));
    sg_status status = sg_simindex_new(open ? &s->open[kind][i] : &s->found[kind][i], m, &t, CLOSURE_LAYERS, layers,
                                       options(s), s->err);
    if (status == SG_OK && kind == SHAPES && !open)
        status = sg_simindex_baselines(&s->front[i], &t, options(s), s->err);
    sg_figures_free(&t);
    return status;
}

sg_status closure_measure(closure_study *s)
{
    for (int i = 0; i < CLOSURE_SEEDS; i++)
        for (int kind = i < s->n_seeds ? 0 : FRESH; kind < CLOSURE_KINDS; kind++) {
            sg_model *m;
            SG_TRY(network(s, &m, kind, i));
            closure_tell(s, "figures", (double)kind / CLOSURE_KINDS);
            sg_status status = ask(s, m, kind, i, false);
            if (status == SG_OK && (kind == SHAPES || kind == FRESH))
                status = ask(s, m, kind, i, true);
            sg_model_close(m);
            SG_TRY(status);
        }
    return SG_OK;
}

void closure_free(closure_study *s)
{
    for (int i = 0; i < CLOSURE_SEEDS; i++) {
        for (int k = 0; k < CLOSURE_KINDS; k++) {
            sg_simindex_free(s->found[k][i]);
            sg_simindex_free(s->open[k][i]);
        }
        sg_simindex_free(s->front[i]);
    }
}

/* ---- numbers ---- */

const sg_simindex_value *closure_value(const closure_study *s, int kind, int seed, int layer, bool centred)
{
    const sg_simindex_site *x =
        layer < 0 ? sg_simindex_get(s->front[seed], 0) : sg_simindex_get(s->found[kind][seed], layer);
    return centred ? &x->centred : &x->plain;
}

double closure_at_gap(const sg_simindex_value *v, int g)
{
    double sum = 0, n = 0;
    for (sg_dim i = g; i < v->n; i += CLOSURE_GAPS, n++)
        sum += v->each[i];
    return sum / n;
}

sg_status closure_lower(const closure_study *s, double *out, const sg_simindex_value *a, const sg_simindex_value *b)
{
    sg_simindex_value d;
    sg_bootstrap_opts o = sg_bootstrap_defaults();
    o.n_resamples = 10000;
    SG_TRY(sg_simindex_difference(&d, a, b, o, s->err));
    *out = d.low;
    return SG_OK;
}

double closure_over(int n_a, const double *a, const double *b)
{
    /* Student's t for 95 % and two degrees of freedom. */
    const double t = 4.302652729911275;
    double mean = 0, squares = 0, d[CLOSURE_SEEDS];

    for (int k = 0; k < CLOSURE_SEEDS; k++) {
        d[k] = a[n_a > 1 ? k : 0] - b[k];
        mean += d[k] / CLOSURE_SEEDS;
    }
    for (int k = 0; k < CLOSURE_SEEDS; k++)
        squares += (d[k] - mean) * (d[k] - mean);
    /* One against three: where a fourth of these would lie. */
    const double spread = squares / (CLOSURE_SEEDS - 1) * (n_a > 1 ? 1.0 / CLOSURE_SEEDS : 1 + 1.0 / CLOSURE_SEEDS);
    return mean - t * sqrt(spread);
}

sg_status closure_rise(const closure_study *s, double *out, const sg_simindex *x, bool centred, int first, int step)
{
    const int n = sg_simindex_n(x);
    double *at = calloc((size_t)n * 2, sizeof *at);

    if (!at)
        return sg_fail(s->err, SG_ENOMEM, "out of memory for %d layers", n);
    for (int k = 0; k < n; k++) {
        const sg_simindex_site *site = sg_simindex_get(x, k);
        const sg_simindex_value *v = centred ? &site->centred : &site->plain;
        at[k] = k;
        for (sg_dim i = first; i < v->n; i += step)
            at[n + k] += v->each[i];
    }
    const sg_status status = sg_stats_spearman(out, n, at, at + n, s->err);
    free(at);
    return status;
}

sg_status closure_claim(const closure_study *s, const char *id, const char *text, const char *source,
                        sg_measure measured, sg_control control)
{
    return sg_report_add_claim(s->report,
                               &(sg_claim){.id = id,
                                           .text = text,
                                           .source = source,
                                           .n_seeds = s->n_seeds,
                                           .seeds = s->seeds,
                                           .measured = measured,
                                           .control = control},
                               s->err);
}
