/* What the study of query-key contrasts measures, setting by setting and seed by seed, and its figures. */
#ifndef SG_STUDIES_QK_CONTRASTIVE_PARTS_H
#define SG_STUDIES_QK_CONTRASTIVE_PARTS_H

#include "qk_head.h"

enum { QK_SEEDS = 3, QK_SETTINGS = 3, QK_SWEEP = 6, QK_DRAWS = 10 };

typedef struct qk_setting {
    const char *name;
    sg_dim n, m, width; /* of the head */
    sg_recall_latents latents;
} qk_setting;

typedef enum qk_number {
    QK_ACCURACY,
    QK_FRESH_ACCURACY,
    QK_MOVED, /* in both subspaces together */
    QK_MOVED_RANDOM,
    QK_MOVED_WHOLE,
    QK_EXPLAINED,
    QK_EXPLAINED_RANDOM,
    QK_ANGLE,      /* the least between the keys' two subspaces, degrees */
    QK_OF_FACTORS, /* from here on one of each factor */
    QK_GAP = QK_OF_FACTORS,
    QK_GAP_ALONG,
    QK_SIZE,
    QK_SIZE_SHUFFLED,
    QK_RANK,
    QK_FRESH_RANK_OVER,
    QK_RANK_OVER_ALONG,
    QK_BEYOND,
    QK_BEYOND_WRONG,
    QK_MOVED_ONE, /* less random of equal rank */
    QK_NUMBERS
} qk_number;

typedef struct qk_case {
    double number[QK_NUMBERS][2];
    sg_qk_factor *factor[2], *fresh[2];
    double *meeting; /* G */
} qk_case;

typedef struct qk_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    int n_settings;
    const qk_setting *settings;
    sg_dim n_steps, n_pairs;
    uint64_t seeds[QK_SEEDS];
    qk_case cases[QK_SETTINGS][QK_SEEDS];
} qk_parts;

/* Trains the setting's heads, one for each seed, and looks into them. */
sg_status qk_measure(qk_parts *p, int setting) SG_MUST_CHECK;
/* A number over seeds and, where there is one for each, factors: how many. */
int qk_numbers(double *out, const qk_parts *p, int setting, qk_number which);
void qk_parts_free(qk_parts *p);

sg_status qk_figures(qk_parts *p) SG_MUST_CHECK;
/* Heads of fewer and fewer dimensions. */
sg_status qk_sweep(qk_parts *p, const qk_setting sweep[QK_SWEEP]) SG_MUST_CHECK;

#endif
