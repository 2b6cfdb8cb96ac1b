/* Q-Probe: a lightweight approach to reward maximization for language models (Li et al., 2024).
 *
 * Question  Does picking one of k completions by a probe of the hidden state earn what an optimal policy would?
 *
 * Claim     A: as k grows the law of the pick is pi_0 exp(Q / beta) / Z, the maximiser of E[Q] - beta KL. B, C: on a
 *           model's own completions a probe fitted by policy gradient earns more with k, at 16 half of what the best of
 *           16 by the true reward does.
 *
 * Measure   A: total variation of 10^5 picks, and of the exact law, to the limit, 12 completions. B: strings of
 *           models/brackets from six brackets on, rewarded where they are balanced. C: sums modulo 13 of models/sums,
 *           rewarded where they are right. Prompts held out.
 *
 * Control   A: the limit of half the beta; picks of one draw. B, C: probes of rewards shuffled within each prompt; any
 *           of the k.
 *
 * Run       sightglass study run q-probe [--small|--full] [--model DIR]
 *
 * Expect    A: below .02 at k = 256, falling as 1/k. B: half of the way, 3 of 3 seeds. The specification's film reviews
 *           are left out: what ships must not depend on data that does not. */
#include <math.h>
#include <stdio.h>

#include "q_probe_parts.h"

#define THEOREM "derived: the theorem of Li et al. 2024 (stated in the abstract); thresholds of this project"
#define CHOICE  "choice of this project: the world, model and thresholds; losses as in the authors' code"

static sg_status claim(const qp_parts *p, const char *id, const char *text, const char *source, sg_measure measured,
                       sg_control control)
{
    return sg_report_add_claim(p->report,
                               &(sg_claim){.id = id,
                                           .text = text,
                                           .source = source,
                                           .n_seeds = QP_SEEDS,
                                           .seeds = p->seeds,
                                           .measured = measured,
                                           .control = control},
                               p->err);
}

static sg_status law_claims(const qp_parts *p)
{
    enum { N = QP_SEEDS * QP_BETAS };
    double last[N], wrong[N], ratio[N], stays[N], beyond[N], plain[N];
    for (int i = 0; i < N; i++) {
        const qp_law *l = &p->laws[i / QP_BETAS][i % QP_BETAS];
        last[i] = l->sampled[QP_DOUBLINGS - 1];
        wrong[i] = l->to_wrong[QP_DOUBLINGS - 1];
        ratio[i] = 0;
        for (int k = 1; k < QP_DOUBLINGS; k++)
            ratio[i] = fmax(ratio[i], l->exact[k] / l->exact[k - 1]);
        stays[i] = l->to_wrong[QP_DOUBLINGS - 1] / l->to_wrong[QP_DOUBLINGS - 2];
        beyond[i] = l->beyond;
        plain[i] = l->beyond_plain;
    }
    SG_TRY(claim(p, "limit", "With 256 draws the picks follow pi_0 exp(Q / beta) / Z.", THEOREM,
                 (sg_measure){"total variation, per beta and seed", N, last, -HUGE_VAL, .02},
                 (sg_control){"the limit of half the beta", {"total variation", N, wrong, .05, HUGE_VAL}}));
    SG_TRY(claim(
        p, "falls", "Each doubling of k brings the exact law nearer to it.", THEOREM,
        (sg_measure){"largest total variation at 2k over that at k, per beta and seed", N, ratio, -HUGE_VAL, .999},
        (sg_control){"to the limit of half the beta, by the last doubling",
                     {"the same ratio", N, stays, .9, HUGE_VAL}}));
    return claim(
        p, "exact", "For two draws, rates of picks are those of the sum over all pairs.", THEOREM,
        (sg_measure){"share of completions beyond 3 standard errors, per beta and seed", N, beyond, -HUGE_VAL, .1},
        (sg_control){"the law of one draw", {"the same share", N, plain, .2, HUGE_VAL}});
}

static sg_status pick_claims(const qp_parts *p, const qp_picks *picks, const char *const ids[3])
{
    enum { STEPS = QP_SEEDS * (QP_KS - 2), AT_16 = 4 };
    double rise[STEPS], rise_shuffled[QP_SEEDS], way[QP_SEEDS], errors[QP_SEEDS * (AT_16 + 1)], goes[QP_SEEDS];
    int n = 0, m = 0;
    for (int s = 0; s < QP_SEEDS; s++) {
        const qp_picks *c = &picks[s];
        const sg_qprobe_rates *at = &c->own[AT_16], *off = &c->shuffled[AT_16];
        for (int i = 1; i <= AT_16; i++)
            rise[n++] = c->own[i].picked - c->own[i - 1].picked;
        rise_shuffled[s] = (off->picked - c->shuffled[0].picked) / (at->oracle - at->random);
        way[s] = (at->picked - at->random) / (at->oracle - at->random);
        for (int i = 0; i <= AT_16; i++) {
            const sg_qprobe_rates *r = &c->shuffled[i];
            errors[m++] = fabs(r->picked - r->random) / hypot((r->within.high - r->within.low) / 3.92, r->random_error);
        }
        goes[s] = c->q_reward;
    }
    SG_TRY(claim(
        p, ids[0], "The reward of the pick rises with k, from 1 to 16.", CHOICE,
        (sg_measure){"reward at 2k less that at k, per k and seed", n, rise, 0, HUGE_VAL},
        (sg_control){"a probe of rewards shuffled within each prompt",
                     {"rise from 1 to 16, in ways from any to the best", QP_SEEDS, rise_shuffled, -HUGE_VAL, .25}}));
    SG_TRY(claim(p, ids[1], "At k = 16 the pick earns half of the way from any to the best by the true reward.", CHOICE,
                 (sg_measure){"share of the way, per seed", QP_SEEDS, way, .5, HUGE_VAL},
                 (sg_control){"a probe of rewards shuffled within each prompt, at each k",
                              {"standard errors from any of the k", m, errors, -HUGE_VAL, 2}}));
    return claim(p, ids[2], "Q goes with the true reward on prompts that it was not fitted on.", CHOICE,
                 (sg_measure){"correlation of Q with the reward, per seed", QP_SEEDS, goes, .3, HUGE_VAL},
                 (sg_control){"the model alone, which the reward is to leave room for",
                              {"share of completions that are right, per seed", QP_SEEDS,
                               (double[]){picks[0].base, picks[1].base, picks[2].base}, .05, .95}});
}

static sg_status run(qp_parts *p)
{
    static const char *const brackets[3] = {"rises", "halfway", "held-out"}, *const sums[3] = {"rises-sums",
                                                                                               "halfway-sums",
                                                                                               "held-out-sums"};
    sg_study_opts shipped = *p->opts;
    char text[1024];
    SG_TRY(qp_laws(p));
    SG_TRY(sg_study_model(&p->model, p->opts, "brackets", p->err));
    SG_TRY(qp_model(p));
    shipped.model = NULL; /* --model names another one of brackets */
    SG_TRY(sg_study_model(&p->adder, &shipped, "sums", p->err));
    SG_TRY(qp_sums(p));
    const qp_picks *c = p->picks;
    snprintf(text, sizeof text,
             "A: %d picks of each k. B: %s, %d prompts to fit on and %d to judge on, %d strings of each, temperature "
             "1; probes with a hidden layer of 64 on the last hidden "
             "state, AdamW 1e-3, 100 epochs, chunks of 10. Correlation of Q with the length %.2f, %.2f, %.2f (of the "
             "reward %.2f, %.2f, %.2f); of Q "
             "with the reward where it was fitted %.2f, %.2f, %.2f. C: models/sums, 120 of the 169 sums to fit on, 49 "
             "to judge on.",
             p->n_picks, sg_model_get_info(p->model)->path, p->n_prompts[0], p->n_prompts[1], p->k, c[0].length,
             c[1].length, c[2].length, c[0].reward_length, c[1].reward_length, c[2].reward_length, c[0].q_reward_fit,
             c[1].q_reward_fit, c[2].q_reward_fit);
    SG_TRY(sg_report_set_setup(p->report, text, p->err));
    SG_TRY(law_claims(p));
    SG_TRY(pick_claims(p, p->picks, brackets));
    SG_TRY(pick_claims(p, p->sums, sums));
    return qp_figures(p);
}

sg_status sg_study_q_probe(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    const bool full = opts->full;
    qp_parts p = {.opts = opts,
                  .report = report,
                  .err = err,
                  .n_picks = full ? 100000 : 20000,
                  .n_prompts = {full ? 400 : 60, full ? 200 : 60},
                  .k = full ? 50 : 32};
    for (int i = 0; i < QP_SEEDS; i++)
        p.seeds[i] = opts->seed + (uint64_t)i;
    const sg_status status = run(&p);
    sg_model_close(p.model);
    sg_model_close(p.adder);
    return status;
}
