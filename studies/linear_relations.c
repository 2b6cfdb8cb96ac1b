/* Linearity of relation decoding in transformer language models (Hernandez et al., 2023).
 *
 * Question  Is the way from a subject to its object inside a language model close to one affine map, and for which
 * relations? Claim     It is where many subjects share few objects, and not where each has its own; the model's own
 * mean Jacobian is such a map, its inverse changes what the model says. Measure   Among subjects whose object the model
 * says: share on which beta W s + b gives the model's token; share of edits by the inverse of W after which it says
 * another's object. Site, beta and rank chosen on the other half of the tests. Control   The map of another relation;
 * the map fitted at the token before the subject; the state itself, a translation, a regression; random edits as long;
 * a network with fresh weights. Run       sightglass study run linear-relations [--small|--full] Expect    A .6 to .95,
 * B below .3 (to be confirmed by this study: nobody had run it). */
#include <math.h>
#include <stdio.h>

#include "relations_parts.h"

enum { K = RELATIONS_SEEDS };

#define SPEC "Hernandez et al. 2023; thresholds are this project's, set before the first run"

static double map_of(const relations_row *r, int k)
{
    return r->faithful[SG_LRE_MAP][k];
}

static double other_of(const relations_row *r, int k)
{
    return r->faithful[SG_LRE_OTHER][k];
}

static double beside_of(const relations_row *r, int k)
{
    return r->beside[k];
}

static double over_baselines(const relations_row *r, int k)
{
    return map_of(r, k) - fmax(r->faithful[SG_LRE_IDENTITY][k], r->faithful[SG_LRE_TRANSLATION][k]);
}

static double beside_over_baselines(const relations_row *r, int k)
{
    return r->beside[k] - fmax(r->faithful[SG_LRE_IDENTITY][k], r->faithful[SG_LRE_TRANSLATION][k]);
}

static double changed_of(const relations_row *r, int k)
{
    return r->changed[SG_LRE_BY_STATE][k];
}

static double random_of(const relations_row *r, int k)
{
    return r->changed[SG_LRE_RANDOM][k];
}

static sg_status claim(const relations_parts *p, const char *id, const char *text, const char *source,
                       sg_measure measured, sg_control control)
{
    return sg_report_add_claim(p->report,
                               &(sg_claim){.id = id,
                                           .text = text,
                                           .source = source,
                                           .n_seeds = K,
                                           .seeds = p->seeds,
                                           .measured = measured,
                                           .control = control},
                               p->err);
}

static sg_status claims(const relations_parts *p)
{
    double apart[K], other[K], over[K], beside[K], beside_over[K], changed[K], random[K], gain[K],
        known[SG_KB_N_RELATIONS * K];
    for (int k = 0; k < K; k++) {
        apart[k] = relations_median(p, true, k, map_of) - relations_median(p, false, k, map_of);
        other[k] = relations_median(p, true, k, other_of);
        over[k] = relations_median(p, true, k, over_baselines);
        beside[k] = relations_median(p, true, k, beside_of);
        beside_over[k] = relations_median(p, true, k, beside_over_baselines);
        changed[k] = relations_median(p, true, k, changed_of);
        random[k] = relations_median(p, true, k, random_of);
        gain[k] = changed[k] - random[k];
        for (int i = 0; i < p->n_rows; i++)
            known[k * p->n_rows + i] = p->rows[i].known[k];
    }
    SG_TRY(
        claim(p, "known", "The model knows the relations of both groups.", SPEC,
              (sg_measure){"share of subjects completed rightly behind 7 shots", p->n_rows * K, known, .97, 1},
              (sg_control){"the same network with fresh weights", {"the same, first relation", K, p->fresh, 0, .2}}));
    SG_TRY(claim(p, "shared-above-one-to-one",
                 "Relations whose objects are shared are decoded by the map more often than those that are one to one, "
                 "by more than .2.",
                 SPEC, (sg_measure){"median faithfulness of A less that of B", K, apart, .2 + 1e-9, 1},
                 (sg_control){"the map of another relation, on A", {"median faithfulness", K, other, 0, .15}}));
    SG_TRY(
        claim(p, "above-baselines", "On shared objects the map is above the state itself and above a translation.",
              SPEC, (sg_measure){"median over A of faithfulness less the better of the two", K, over, 1e-9, 1},
              (sg_control){"the map fitted at the token before the subject", {"the same", K, beside_over, -1, .05}}));
    SG_TRY(claim(p, "token", "The map is of the subject's own token.", SPEC,
                 (sg_measure){"median faithfulness of A less that of the map at the token before", K,
                              (double[]){relations_median(p, true, 0, map_of) - beside[0],
                                         relations_median(p, true, 1, map_of) - beside[1],
                                         relations_median(p, true, 2, map_of) - beside[2]},
                              .05, 1},
                 (sg_control){"the map at the token before, which writes one object always",
                              {"its median faithfulness", K, beside, 0, .3}}));
    SG_TRY(claim(p, "causal",
                 "Edits by its inverse make the model say another subject's object, half the time or more.", SPEC,
                 (sg_measure){"median over A of the share changed", K, changed, .5, 1},
                 (sg_control){"a random direction as long", {"the same", K, random, 0, .2}}));
    return claim(p, "causal-gain", "And that more often than random edits as long, by .3 or more.", SPEC,
                 (sg_measure){"median share changed less that by random edits", K, gain, .3, 1},
                 (sg_control){"random edits alone", {"share changed", K, random, 0, .2}});
}

static sg_status run(relations_parts *p)
{
    char text[512];
    p->n_rows = p->opts->full ? SG_KB_N_RELATIONS : SG_KB_MOTTO; /* small: all of A, one of B */
    for (int i = 0; i < p->n_rows; i++)
        p->rows[i].relation = i;
    for (int k = 0; k < K; k++)
        SG_TRY(relations_measure(p, k));
    snprintf(text, sizeof text,
             "%s: world kb, n = 8 prompts of 7 shots each, %d tests, of which one half chooses site, beta (.5 to 8) "
             "and rank, and the "
             "other is reported; %d edits. Three seeds: other subjects, shots and templates, one and the same model.",
             sg_model_get_info(p->model)->path, p->n_tests, p->n_pairs);
    SG_TRY(sg_report_set_setup(p->report, text, p->err));
    SG_TRY(sg_report_set_machine(p->report, sg_exec_name(&p->opts->exec), p->opts->exec.n_threads, p->err));
    SG_TRY(claims(p));
    return relations_figures(p);
}

sg_status sg_study_linear_relations(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    relations_parts p;
    sg_status status = relations_open(&p, opts, report, err);
    if (status == SG_OK)
        status = run(&p);
    relations_close(&p);
    return status;
}
