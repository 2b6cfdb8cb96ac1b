/* What the study of Q-probes measures: laws of picks without a model, and picks among strings of a small one. */
#ifndef SG_STUDIES_Q_PROBE_PARTS_H
#define SG_STUDIES_Q_PROBE_PARTS_H

#include "sightglass/qprobe.h"
#include "study.h"

enum { QP_SEEDS = 3, QP_COMPLETIONS = 12, QP_BETAS = 3, QP_DOUBLINGS = 8, QP_KS = 6 };

/* Of one seed and beta: total variation between picks and pi*, by k = 2, 4, ... 256. */
typedef struct qp_law {
    double sampled[QP_DOUBLINGS], exact[QP_DOUBLINGS], to_wrong[QP_DOUBLINGS]; /* to pi* of beta / 2 */
    double beyond,
        beyond_plain; /* share of completions whose rate of picks of k = 2 is beyond 3 errors of the law; of pi_0 */
} qp_law;

/* Picks among the completions of one seed's prompts, by k = 1, 2, 4, ... 32, at beta 0. */
typedef struct qp_picks {
    sg_qprobe_rates own[QP_KS], soft[QP_KS], shuffled[QP_KS], by_loss[SG_N_QPROBE_LOSSES],
        linear;                    /* soft: beta .1; the last two of 16 */
    double length, reward_length;  /* correlations of Q and of the reward with the number of tokens */
    double q_reward, q_reward_fit; /* of Q with the reward, on prompts held out and on those fitted */
    double base;
} qp_picks;

typedef struct qp_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    sg_model *model, *adder;      /* of brackets, of sums */
    int n_picks, n_prompts[2], k; /* of the laws; prompts to fit and to judge on; completions of each */
    uint64_t seeds[QP_SEEDS];
    qp_law laws[QP_SEEDS][QP_BETAS];
    qp_picks picks[QP_SEEDS], sums[QP_SEEDS];
} qp_parts;
extern const double qp_betas[QP_BETAS];

sg_status qp_laws(qp_parts *p) SG_MUST_CHECK;
sg_status qp_model(qp_parts *p) SG_MUST_CHECK;
sg_status qp_sums(qp_parts *p) SG_MUST_CHECK;
sg_status qp_figures(const qp_parts *p) SG_MUST_CHECK;

#endif
