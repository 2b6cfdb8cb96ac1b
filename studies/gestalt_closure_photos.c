/* The same question to networks that others trained on photographs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gestalt_closure_parts.h"
#include "sightglass/method.h"

enum { FRESH_NETWORKS = 4, CALIBRATION = 10, PARTS = 3 }; /* the fourth stands for the trained one */

#define SOURCE "a replication on another architecture, whatever its sign; threshold: choice of the specification"

/* A folder of files that are not this project's: beside it, or where SIGHTGLASS_SHARED says. */
static const char *beside(char path[1024], const char *name)
{
    const char *folder = getenv("SIGHTGLASS_SHARED");
    const int n = snprintf(path, 1024, "%s/data/%s", folder ? folder : "../shared", name);
    return n > 0 && n < 1024 && access(path, R_OK) == 0 ? path : NULL;
}

typedef struct photos {
    closure_study *s;
    const char *name;
    sg_model *m, *fresh[FRESH_NETWORKS];
    sg_triples t;
    int n_sites;
    const char **sites;
    sg_simindex *trained, *control[FRESH_NETWORKS], *front;
} photos;

/* Progress of one network of four. */
typedef struct told {
    const closure_study *s;
    const char *name;
    int which;
} told;

static void tell(void *context, double done)
{
    const told *t = context;
    closure_tell(t->s, t->name, (t->which + done) / (1 + FRESH_NETWORKS));
}

static sg_simindex_opts options(const photos *p, told *t)
{
    sg_simindex_opts o = sg_simindex_defaults();
    const bool large = sg_model_get_info(p->m)->image_side > 64;

    o.batch = large ? 2 : 32;
    o.centre_on = large ? 48 : 0;  /* a second pass over all of them takes as long as the first */
    o.bootstrap.n_resamples = 200; /* intervals are over networks */
    o.exec = p->s->opts->exec;
    o.cancel = p->s->opts->cancel;
    o.progress = tell;
    o.context = t;
    return o;
}

static sg_status calibrate(const photos *p, sg_model *fresh)
{
    sg_error *err = p->s->err;
    const sg_dim stimuli = 2 + p->t.far.dims[1], each = sg_tensor_count(&p->t.whole) / p->t.whole.dims[0];
    sg_tensor some = p->t.whole;

    some.dims[0] = CALIBRATION * stimuli;
    if (!(some.data = malloc(sg_tensor_bytes(&some))))
        return sg_fail(err, SG_ENOMEM, "out of memory for stimuli");
    sg_status status = SG_OK;
    for (sg_dim i = 0; i < CALIBRATION && status == SG_OK; i++)
        status = p->t.fill(p->t.context, i, (float *)some.data + i * stimuli * each, err);
    if (status == SG_OK)
        status = sg_convnet_calibrate(fresh, &some, err);
    free(some.data);
    return status;
}

static sg_status measure(photos *p)
{
    closure_study *s = p->s;
    told t = {s, p->name, 0};
    const bool large = sg_model_get_info(p->m)->image_side > 64;
    sg_figures_opts f = sg_figures_defaults();
    sg_triples some;
    sg_graph *g;

    f.n = s->opts->full ? 768 : 56;
    f.n_turns = large ? 2 : 4;
    f.seed = s->seeds[0];
    SG_TRY(sg_figures_new(&p->t, p->m, f, s->err));
    some = p->t; /* four fresh networks take as long as one that was trained */
    some.whole.dims[0] = some.near.dims[0] = some.far.dims[0] = f.n / FRESH_NETWORKS;
    SG_TRY(sg_model_graph(&g, p->m, 0, 1, s->err));
    sg_status status = sg_method_sites(g, "*.out", &p->sites, &p->n_sites, s->err);
    if (status == SG_OK)
        status = sg_simindex_new(&p->trained, p->m, &p->t, p->n_sites, p->sites, options(p, &t), s->err);
    if (status == SG_OK)
        status = sg_simindex_baselines(&p->front, &p->t, options(p, &t), s->err);
    for (int k = 0; k < FRESH_NETWORKS && status == SG_OK; k++) {
        t.which = k + 1;
        status = sg_convnet_fresh(&p->fresh[k], p->m, s->seeds[0] + (uint64_t)k, s->err);
        if (status == SG_OK)
            status = calibrate(p, p->fresh[k]);
        if (status == SG_OK)
            status = sg_simindex_new(&p->control[k], p->fresh[k], &some, p->n_sites, p->sites, options(p, &t), s->err);
    }
    sg_graph_free(g);
    return status;
}

static const sg_simindex_value *last(const sg_simindex *x, bool centred)
{
    const sg_simindex_site *site = sg_simindex_get(x, sg_simindex_n(x) - 1);
    return centred ? &site->centred : &site->plain;
}

/* Of the figures that fresh networks were asked about. */
static double of_same(const photos *p, const sg_simindex_value *v)
{
    const sg_dim n = last(p->control[0], false)->n;
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += v->each[i];
    return sum / (double)n;
}

static sg_status claims(const photos *p, bool centred)
{
    const double trained = of_same(p, last(p->trained, centred)), other = last(p->control[PARTS], centred)->index;
    const closure_study *s = p->s;
    double fresh[CLOSURE_SEEDS], c[PARTS], d[PARTS];
    char id[64], text[300];
    const char *how = centred ? ", activations less their mean over stimuli" : "";

    for (int k = 0; k < PARTS; k++) {
        fresh[k] = last(p->control[k], centred)->index;
        SG_TRY(closure_rise(s, &c[k], p->trained, centred, k, PARTS));
        SG_TRY(closure_rise(s, &d[k], p->control[k], centred, 0, 1));
    }
    snprintf(id, sizeof id, "%s-over-fresh%s", p->name, centred ? "-centred" : "");
    snprintf(text, sizeof text, "%s: in the last convolution it has a larger index than the same with fresh weights%s.",
             p->name, how);
    SG_TRY(
        closure_claim(s, id, text, SOURCE,
                      (sg_measure){"difference to three fresh networks, less what a fourth would be off", 1,
                                   (double[]){closure_over(1, &trained, fresh)}, 1e-9, HUGE_VAL},
                      (sg_control){"a fourth fresh network in the place of the trained one",
                                   {"the same number", 1, (double[]){closure_over(1, &other, fresh)}, -HUGE_VAL, 0}}));
    snprintf(id, sizeof id, "%s-rises%s", p->name, centred ? "-centred" : "");
    snprintf(text, sizeof text, "%s: the index rises with depth%s.", p->name, how);
    return closure_claim(
        s, id, text, SOURCE,
        (sg_measure){"Spearman's correlation of index and layer, by third of the figures", PARTS, c, 1e-9, HUGE_VAL},
        (sg_control){"three networks with fresh weights", {"the same correlation", PARTS, d, -HUGE_VAL, 0}});
}

static void close_photos(photos *p)
{
    sg_figures_free(&p->t);
    free(p->sites);
    sg_simindex_free(p->trained);
    sg_simindex_free(p->front);
    for (int k = 0; k < FRESH_NETWORKS; k++) {
        sg_simindex_free(p->control[k]);
        sg_model_close(p->fresh[k]);
    }
    sg_model_close(p->m);
}

sg_status closure_replicate(closure_study *s, const char *name, const char *path, char *setup, size_t n_setup)
{
    photos p = {.s = s, .name = name};
    char room[1024], id[64], title[160];

    if (!path && !(path = beside(room, name))) {
        snprintf(setup, n_setup, " %s is not beside this project, so it was not asked.", name);
        return SG_OK;
    }
    SG_TRY(sg_model_open(&p.m, path, sg_model_defaults(), s->err));
    sg_status status = measure(&p);
    for (int centred = 0; centred < 2 && status == SG_OK; centred++)
        status = claims(&p, centred);
    snprintf(id, sizeof id, "%s-depth", name);
    snprintf(title, sizeof title, "%s: index over its %d convolutions", name, p.n_sites);
    if (status == SG_OK)
        status = closure_depth_figure(s, id, title, p.trained, p.control[0], p.front);
    if (status == SG_OK)
        snprintf(setup, n_setup,
                 " %s (%s): %lld figures, pieces turned %lld times%s; four fresh networks, calibrated on %d of them "
                 "and asked about a quarter.",
                 name, sg_model_get_info(p.m)->architecture, (long long)p.t.whole.dims[0], (long long)p.t.far.dims[1],
                 sg_model_get_info(p.m)->image_side > 64 ? ", centred on 48 of them" : "", CALIBRATION);
    close_photos(&p);
    return status;
}
