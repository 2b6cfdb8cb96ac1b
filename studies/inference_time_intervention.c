/* Inference-time intervention (Li, Patel et al., 2023).
 *
 * Question  Can a model be made more truthful while it answers, by pushing a few of its heads along what they hold?
 * Claim     Some heads tell true answers from false ones. Pushed a fixed distance along the difference of the two, the
 * model gives the true answer more often, at little cost elsewhere; pushed too far it says nothing any more. Measure
 * P(true answer) of questions in which no word announces whether the truth or the myth is wanted, and loss on
 *           statements, by strength; strengths chosen on other questions and statements than are reported.
 * Control   Random directions as long in the same heads, as many other heads, directions of shuffled kinds.
 * Run       sightglass study run inference-time-intervention [--small|--full] [--model DIR]
 * Expect    P(true) from about .5 up by .2 or more while loss rises by less than a tenth. */
#include <math.h>
#include <stdio.h>

#include "iti_parts.h"

enum { K = ITI_SEEDS, LAST = ITI_STRENGTHS - 1 };

#define SPEC   "Li, Patel et al. 2023, on a model of registers; criterion of this project, set before the run"
#define LOOKED "choice of this project, set after a first look at one seed"
/* A first full run read at the end of question and answer, as the paper does: heads told the kinds by .98 and pushing
 * them did nothing. */
#define SITE                                                                                                           \
    "Li, Patel et al. 2023; criterion set before the run, read at the question's last token after a first full run"

static sg_status claim(const iti_parts *s, const char *id, const char *text, const char *source,
                       const sg_paper_value *paper, sg_measure measured, sg_control control)
{
    return sg_report_add_claim(s->report,
                               &(sg_claim){.id = id,
                                           .text = text,
                                           .source = source,
                                           .paper = paper,
                                           .n_seeds = K,
                                           .seeds = s->seeds,
                                           .measured = measured,
                                           .control = control},
                               s->err);
}

/* The most that an arm gains at any strength whose loss is less than a tenth above. */
static double affordable(const iti_seed *s, iti_arm arm)
{
    double most = 0;
    for (int i = 0; i < ITI_STRENGTHS; i++)
        if (iti_cost(s, arm, i) < .1)
            most = fmax(most, iti_gain(s, arm, i));
    return most;
}

/* The least that P(true) or the loss grows by from one strength to the next. */
static double least_step(const iti_seed *s, bool loss)
{
    double least = HUGE_VAL;
    for (int i = 1; i < ITI_STRENGTHS; i++) {
        const sg_steer_point *p = &s->test[ITI_RANKED][i];
        least = fmin(least, loss ? p->loss - p[-1].loss : p->probability - p[-1].probability);
    }
    return least;
}

static sg_status effect_claims(const iti_parts *s, const iti_seed *of)
{
    static const sg_paper_value alpaca = {.326, SG_STANDING_ABSTRACT};
    double gain[K], random[K], cost[K], far[K], over_heads[K], shuffled_over[K], shuffled[K], equal[K], equal_heads[K];
    for (int k = 0; k < K; k++) {
        const int b = of[k].best;
        gain[k] = iti_gain(&of[k], ITI_RANKED, b);
        random[k] = iti_gain(&of[k], ITI_RANDOM, b);
        shuffled[k] = iti_gain(&of[k], ITI_SHUFFLED, b);
        cost[k] = iti_cost(&of[k], ITI_RANKED, b);
        far[k] = iti_cost(&of[k], ITI_RANKED, LAST);
        over_heads[k] = gain[k] - iti_gain(&of[k], ITI_RANDOM_HEADS, b);
        shuffled_over[k] = shuffled[k] - iti_gain(&of[k], ITI_RANDOM_HEADS, b);
        equal[k] = affordable(&of[k], ITI_RANKED) - affordable(&of[k], ITI_RANDOM);
        equal_heads[k] = affordable(&of[k], ITI_RANDOM_HEADS) - affordable(&of[k], ITI_RANDOM);
    }
    SG_TRY(claim(s, "truth", "Pushed along what four of its heads hold, the model gives the true answer more often.",
                 SITE, &alpaca,
                 (sg_measure){"rise of P(true answer) at the strength that other questions chose", K, gain, .2, 1},
                 (sg_control){"a random direction as long in the same heads", {"the same", K, random, -.05, .05}}));
    SG_TRY(claim(s, "cost", "It costs little elsewhere.", SPEC, NULL,
                 (sg_measure){"relative rise of loss on statements, at that strength", K, cost, -HUGE_VAL, .1},
                 (sg_control){"at the greatest strength", {"the same", K, far, .5, HUGE_VAL}}));
    SG_TRY(claim(
        s, "heads-count", "The ranked heads do more than as many others.", SPEC, NULL,
        (sg_measure){"rise less that with other heads, as far along their own directions", K, over_heads, 1e-9, 1},
        (sg_control){"the ranked heads along shuffled kinds, less the same", {"the same", K, shuffled_over, -1, .05}}));
    SG_TRY(claim(s, "kinds", "Along directions of shuffled kinds nothing is gained.", SPEC, NULL,
                 (sg_measure){"rise of P(true answer) at the same strength, mean of draws", K, shuffled, -1, .05},
                 (sg_control){"true kinds", {"the same", K, gain, .2, 1}}));
    return claim(
        s, "equal-cost", "Nor does a random direction do as much at equal cost, whatever its strength.", LOOKED, NULL,
        (sg_measure){"most that is gained while loss rises by less than a tenth, less that of a random direction", K,
                     equal, .1, 1},
        (sg_control){"as many other heads, less the same", {"the same", K, equal_heads, -1, .1}});
}

static sg_status other_claims(const iti_parts *s, const iti_seed *of)
{
    static const sg_paper_value llama = {.833, SG_STANDING_FROM_MEMORY};
    double answered[K], found_there[K], asked[K], found[K], shuffled[K], step[K], step_p[K], fall[K], fall_random[K],
        baked[K], moved[K];
    for (int k = 0; k < K; k++) {
        const sg_steer_point *p = of[k].test[ITI_RANKED], *q = of[k].test[ITI_RANDOM];
        double peak = 0;
        for (int i = 0; i < ITI_STRENGTHS; i++)
            peak = fmax(peak, p[i].probability);
        answered[k] = of[k].answered;
        found_there[k] = of[k].answered_found;
        asked[k] = iti_gain(&of[k], ITI_RANKED, of[k].best);
        found[k] = of[k].accuracy;
        shuffled[k] = of[k].shuffled;
        step[k] = least_step(&of[k], true);
        step_p[k] = least_step(&of[k], false);
        fall[k] = p[LAST].probability - peak;
        fall_random[k] = q[1].probability - p[0].probability;
        baked[k] = of[k].baked;
        moved[k] = of[k].moved;
    }
    SG_TRY(claim(
        s, "answered", "Also read at the last token of question and answer, as in the paper.", SPEC, NULL,
        (sg_measure){"most that P(true answer) rises by while loss rises by less than a tenth", K, answered, .2, 1},
        (sg_control){"read at the question's last token",
                     {"rise at the strength that other questions chose", K, asked, .2, 1}}));
    SG_TRY(claim(s, "readable", "There, too, some heads tell the kinds apart.", SPEC, &llama,
                 (sg_measure){"accuracy of the four best ranked heads' probes, mean", K, found_there, .7, 1},
                 (sg_control){"shuffled kinds, at the question", {"the same", K, shuffled, .25, .75}}));
    SG_TRY(claim(s, "found",
                 "Some heads know whether the truth or the myth is asked for, on questions that did not rank them.",
                 SPEC, NULL, (sg_measure){"accuracy of the four best ranked heads' probes, mean", K, found, .7, 1},
                 (sg_control){"fitted to shuffled kinds", {"the same", K, shuffled, .25, .75}}));
    SG_TRY(claim(s, "rises", "The further it is pushed, the more it costs.", SPEC, NULL,
                 (sg_measure){"least rise of loss from one strength to the next, nats", K, step, 1e-9, HUGE_VAL},
                 (sg_control){"P(true answer), which is not to rise all the way",
                              {"least rise from one strength to the next", K, step_p, -HUGE_VAL, 0}}));
    SG_TRY(claim(
        s, "peak", "Truth has a peak: pushed too far, the model does not answer any more.", SPEC, NULL,
        (sg_measure){"P(true answer) at the greatest strength less that at the peak", K, fall, -1, -.2},
        (sg_control){"a random direction at the least strength", {"less that of no push", K, fall_random, -.1, 1}}));
    return claim(s, "baked", "Worked into the biases the intervention is the same model.",
                 "derived: b_O += alpha sum over heads of W_O sigma theta", NULL,
                 (sg_measure){"largest difference of a logit, baked less edited", K, baked, 0, 1e-4},
                 (sg_control){"edited less not edited", {"the same", K, moved, .1, HUGE_VAL}});
}

static sg_status run(iti_parts *s)
{
    iti_seed of[K];
    char text[640];
    for (int k = 0; k < K; k++) {
        if (s->opts->progress) {
            const sg_study_progress at = {"seeds", (double)k / K, 0, (double)NAN};
            s->opts->progress(s->opts->context, &at);
        }
        SG_TRY(iti_measure(s, k, &of[k]));
    }
    snprintf(text, sizeof text,
             "%s. Heads ranked on %d questions, asked in a register, at their last token (two folds, a probe for each "
             "head); four of them "
             "pushed along the mean shift at every position, by 0 to 30 deviations. Strength chosen on %d other "
             "questions without "
             "a register and %lld texts of statements (%g, %g, %g), reported on %d and as many. %d draws of random "
             "directions and heads.",
             s->path, s->n_fit, s->n_choose, (long long)s->n_other, iti_strength[of[0].best], iti_strength[of[1].best],
             iti_strength[of[2].best], s->n_test, s->n_draws);
    SG_TRY(sg_report_set_machine(s->report, sg_exec_name(&s->opts->exec), s->opts->exec.n_threads, s->err));
    SG_TRY(effect_claims(s, of));
    SG_TRY(other_claims(s, of));
    SG_TRY(sg_report_set_setup(s->report, text, s->err));
    return iti_figures(s, of);
}

sg_status sg_study_inference_time_intervention(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    iti_parts s = {.opts = opts, .report = report, .err = err, .n_fit = 300};
    s.n_choose = 40, s.n_test = 60, s.n_draws = 2, s.n_other = 16;
    if (opts->full)
        s.n_choose = 100, s.n_test = 200, s.n_draws = 4, s.n_other = 32;
    for (int k = 0; k < K; k++)
        s.seeds[k] = 1000 * opts->seed + (uint64_t)k;
    SG_TRY(sg_study_model(&s.model, opts, "kb4", err));
    s.path = sg_model_get_info(s.model)->path;
    const sg_status status = run(&s);
    sg_model_close(s.model);
    return status;
}
