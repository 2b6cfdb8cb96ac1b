/* Decomposing query-key interactions with contrastive covariances (Lee, Belinkov, Viegas, Wattenberg, 2026).
 *
 * Question  Why does a head look at a token: in which subspaces do its queries meet its keys, and on what?
 *
 * Claim     The contrast of a factor has as many directions as the factor has latents and then nothing; it is far
 *           larger than that of shuffled pairs, is what the weights say in closed form, and the keys' parts in those
 *           directions carry the attention.
 *
 * Measure   Singular values of D_z; D_z beside (B W_Q')'(A W_K') by standard errors; the attention that goes along when
 *           two keys exchange their parts in a subspace, by edits at hook_k; the share of centred scores explained.
 *
 * Control   Pairs shuffled; pairs in which the other factor goes along; an untrained head; random subspaces of equal
 *           rank.
 *
 * Run       sightglass study run qk-contrastive [--small|--full]
 *
 * Expect    Accuracy .97; ranks 3 and 5, 5 and 7 (untrained: 3 and 5, 5 and 6); all of z1 + z2 moves .8 or more, random
 *           < .2. */
#include "qk_contrastive_parts.h"

#include <math.h>
#include <stdio.h>

#define SPEC "choice of this project; expected numbers from a pilot on one core"
#define PAPER                                                                                                          \
    "Lee et al. 2026: toy set-up, effective rank, swap test (checked against the authors' code); threshold of this "   \
    "project"
#define TRAP "derived: the rank of D is at most that of E[z z'] of the data"

static const qk_setting small[] = {{"3 + 5", 3, 5, 16, SG_RECALL_BINARY}, {"5 + 7", 5, 7, 16, SG_RECALL_BINARY}};
static const qk_setting full[] = {{"3 + 5", 3, 5, 16, SG_RECALL_BINARY},
                                  {"5 + 7", 5, 7, 16, SG_RECALL_BINARY},
                                  {"3 + 5, Gaussian", 3, 5, 16, SG_RECALL_GAUSSIAN}};
static const qk_setting sweep[QK_SWEEP] = {{"4", 3, 5, 4, SG_RECALL_BINARY},   {"6", 3, 5, 6, SG_RECALL_BINARY},
                                           {"8", 3, 5, 8, SG_RECALL_BINARY},   {"12", 3, 5, 12, SG_RECALL_BINARY},
                                           {"16", 3, 5, 16, SG_RECALL_BINARY}, {"32", 3, 5, 32, SG_RECALL_BINARY}};

/* Numbers of a setting over seeds, and of both factors where there is one for each. */
typedef struct half {
    const char *what;
    qk_number number;
    double low, high;
} half;

typedef struct row {
    const char *id, *text, *source, *control_text;
    half measured, control;
} row;

static const row rows[] = {
    {"accuracy",
     "One head learns to answer.",
     SPEC,
     "the same head untrained",
     {"share of answers that are right, per seed", QK_ACCURACY, .97, HUGE_VAL},
     {"the same", QK_FRESH_ACCURACY, -HUGE_VAL, .3}},
    {"gap",
     "Behind as many directions as the factor has latents, the contrast has nothing.",
     PAPER,
     "pairs in which the other factor matches and differs along",
     {"sigma_{n+1} / sigma_n, per factor and seed", QK_GAP, -HUGE_VAL, .01},
     {"the same", QK_GAP_ALONG, .01, HUGE_VAL}},
    {"size",
     "The contrast is ten times what pairs at random give.",
     PAPER,
     "pairs at random beside others at random",
     {"sigma_1 over that of shuffled pairs, per factor and seed", QK_SIZE, 10, HUGE_VAL},
     {"sigma_1 of one shuffling over that of another", QK_SIZE_SHUFFLED, 1.0 / 3, 3}},
    {"rank-is-free",
     "An untrained head shows no more directions either: rank says nothing of what was learnt.",
     TRAP,
     "the trained head on pairs in which the other factor goes along",
     {"effective rank less the factor's latents, untrained", QK_FRESH_RANK_OVER, -HUGE_VAL, 0},
     {"the same", QK_RANK_OVER_ALONG, 1, HUGE_VAL}},
    {"closed-form",
     "The contrast is what the weights say: c (B W_Q')'(A W_K').",
     "derived",
     "the closed form of the other factor",
     {"share of entries beyond 3 standard errors", QK_BEYOND, -HUGE_VAL, .02},
     {"the same", QK_BEYOND_WRONG, .3, HUGE_VAL}},
    {"swap",
     "Exchanging what two keys have in both subspaces together moves the attention.",
     PAPER,
     "random subspaces of equal rank, mean of 10",
     {"share moved, per seed", QK_MOVED, .8, HUGE_VAL},
     {"the same", QK_MOVED_RANDOM, -HUGE_VAL, .2}},
    {"swap-one",
     "Exchanging one factor's part moves some of it, and not all.",
     SPEC,
     "whole keys exchanged",
     {"share moved less that of random subspaces of equal rank, per factor and seed", QK_MOVED_ONE, .01, .8},
     {"share moved, per seed", QK_MOVED_WHOLE, .999, 1.001}},
    {"explained",
     "The two subspaces explain the scores.",
     SPEC,
     "random subspaces of equal ranks, mean of 10",
     {"1 - |rest|^2 / |centred scores|^2, per seed", QK_EXPLAINED, .9, HUGE_VAL},
     {"the same", QK_EXPLAINED_RANDOM, -HUGE_VAL, .9}},
};

static sg_status claims(const qk_parts *p, int setting, const char *suffix)
{
    const char *name = p->settings[setting].name;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double measured[2 * QK_SEEDS], control[2 * QK_SEEDS];
        char id[64], text[256];
        const row *r = &rows[i];
        snprintf(id, sizeof id, "%s%s", r->id, suffix);
        snprintf(text, sizeof text, "%s Latents: %s.", r->text, name);
        const int n = qk_numbers(measured, p, setting, r->measured.number),
                  m = qk_numbers(control, p, setting, r->control.number);
        const sg_claim claim = {
            .id = id,
            .text = text,
            .source = r->source,
            .n_seeds = QK_SEEDS,
            .seeds = p->seeds,
            .measured = {r->measured.what, n, measured, r->measured.low, r->measured.high},
            .control = {r->control_text, {r->control.what, m, control, r->control.low, r->control.high}}};
        SG_TRY(sg_report_add_claim(p->report, &claim, p->err));
    }
    return SG_OK;
}

sg_status sg_study_qk_contrastive(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    static const char *const suffixes[] = {"", "-5-7", "-gaussian"};
    qk_parts p = {.opts = opts,
                  .report = report,
                  .err = err,
                  .n_settings = opts->full ? 3 : 2,
                  .settings = opts->full ? full : small,
                  .n_steps = opts->full ? 8000 : 2000,
                  .n_pairs = opts->full ? 80 * 512 : 40 * 512};
    char text[512];
    sg_status status = SG_OK;
    for (int i = 0; i < QK_SEEDS; i++)
        p.seeds[i] = opts->seed + (uint64_t)i;
    snprintf(text, sizeof text,
             "Context of 16, width 32, d_head 16, 10 payloads, noise .01; AdamW 1e-3 falling to 1e-4, decay .01, "
             "batches of 256, %d steps; "
             "contrasts of %d pairs; swaps on 512 contexts.",
             (int)p.n_steps, (int)p.n_pairs);
    SG_TRY(sg_report_set_setup(report, text, err));
    for (int s = 0; s < p.n_settings && status == SG_OK; s++)
        status = qk_measure(&p, s);
    for (int s = 0; s < p.n_settings && status == SG_OK; s++)
        status = claims(&p, s, suffixes[s]);
    if (status == SG_OK)
        status = qk_figures(&p);
    if (status == SG_OK && opts->full)
        status = qk_sweep(&p, sweep);
    qk_parts_free(&p);
    return status;
}
