/* What the study inference-time-intervention measures: see iti_parts.c. */
#ifndef SG_STUDIES_ITI_PARTS_H
#define SG_STUDIES_ITI_PARTS_H

#include "sightglass/kb.h"
#include "sightglass/steer.h"
#include "study.h"

enum { ITI_SEEDS = 3, ITI_STRENGTHS = 11, ITI_HEADS = 4, ITI_MOST_HEADS = 64 };
extern const double iti_strength[ITI_STRENGTHS]; /* 0 to 30 */

/* The interventions that are compared, all of one length in each head. */
typedef enum iti_arm {
    ITI_RANKED,       /* mean shift in the best ranked heads */
    ITI_PROBE,        /* the probe's direction in them */
    ITI_RANDOM,       /* a random direction in them, mean of draws */
    ITI_SHUFFLED,     /* mean shift of shuffled kinds in them */
    ITI_RANDOM_HEADS, /* mean shift in as many other heads, mean of draws */
    ITI_ARMS
} iti_arm;

typedef struct iti_seed {
    sg_steer_point chosen[ITI_ARMS][ITI_STRENGTHS]; /* on questions that strengths are chosen on */
    sg_steer_point test[ITI_ARMS][ITI_STRENGTHS];   /* on others, which are reported */
    int best;                                       /* strength of the ranked arm, by `chosen` and cost */
    double accuracy, shuffled, best_head; /* of the chosen heads on other questions; of shuffled kinds; of the first */
    double map[ITI_MOST_HEADS], map_shuffled[ITI_MOST_HEADS]; /* [layers,heads] */
    double answered; /* most gained at less than a tenth of loss by the mean shift at the end of question and answer */
    double answered_found; /* accuracy of the four best heads there */
    double baked, moved;   /* largest difference of a logit: baked less edited, edited less plain */
} iti_seed;

typedef struct iti_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    sg_model *model;
    uint64_t seeds[ITI_SEEDS];
    int n_fit, n_choose, n_test, n_draws; /* questions; draws of random directions and heads */
    sg_dim n_other;                       /* statements that cost is measured on */
    const char *path;                     /* of the model, to open it again for baking */
} iti_parts;

/* Ranked heads of a model, from which the edits of every arm are made. */
typedef struct iti_arms_of {
    const iti_parts *s;
    const sg_model *model;
    const sg_steer_data *fit; /* what they were ranked on */
    uint64_t seed;
    sg_headrank *heads;
    float *theta; /* of the mean shift, and its sigma: what every arm is as long as */
    double *sigma;
} iti_arms_of;
/* Ranks heads on a->fit, the rest is given. SG_EARG: too few heads, or too many. */
sg_status iti_arms_open(iti_arms_of *a) SG_MUST_CHECK;
void iti_arms_close(iti_arms_of *a);
/* Edits of strength 1. Draws of an arm differ by `draw`; every second direction is the reverse of the one before. */
sg_status iti_arm_list(iti_arms_of *a, iti_arm arm, int draw, sg_edit_list **out) SG_MUST_CHECK;

/* All of one seed: questions, heads, arms. */
sg_status iti_measure(const iti_parts *s, int seed, iti_seed *out) SG_MUST_CHECK;
/* How far P(true) is above that of strength 0, on the test questions. */
double iti_gain(const iti_seed *s, iti_arm arm, int strength);
double iti_cost(const iti_seed *s, iti_arm arm, int strength); /* loss over that of strength 0, less 1 */

sg_status iti_figures(const iti_parts *s, const iti_seed *of) SG_MUST_CHECK;

#endif
