/* What the studies of a model of Othello share: the model, its world, claims, figures and progress. */
#ifndef SG_STUDIES_OTHELLO_PARTS_H
#define SG_STUDIES_OTHELLO_PARTS_H

#include "sightglass/othello_cases.h"
#include "sightglass/probe.h"
#include "study.h"

typedef struct othello_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    sg_model *model;
    const sg_world *world;
    int size; /* of the board, as the model's vocabulary tells */
    char size_text[4];
    sg_setting setting; /* size */
    int n_seeds;
    uint64_t seeds[8]; /* of the episodes: none that a shipped model was trained on */
    /* progress: what is being done, and since when */
    const char *part;
    double began;
} othello_parts;

/* Opens opts->model, or models/othello6 for the small budget and models/othello8 for the full one, and starts `n_seeds`
 * seeds from opts->seed. SG_EARG: a model whose vocabulary is no board's. */
sg_status othello_open(othello_parts *o, const sg_study_opts *opts, sg_report *report, int n_seeds,
                       sg_error *err) SG_MUST_CHECK;
void othello_close(othello_parts *o);

/* A job of probes of the model on the episodes of seed i, with progress and cancelling passed on. `part` names it, and
 * outlives it. */
sg_probe_job othello_job(othello_parts *o, int i, const char *part);
/* The sites blocks.0.hook_resid_pre, blocks.0.hook_resid_post, ...: before and after each block, n_layers + 1 of them.
 * free() the list. */
sg_status othello_layers(const othello_parts *o, char ***sites, int *n) SG_MUST_CHECK;

/* Tells progress of the part that was named last; for jobs of other kinds. */
void othello_begin(othello_parts *o, const char *part);
void othello_progress(void *o, double done);

/* Adds a claim over the seeds. */
sg_status othello_claim(const othello_parts *o, const char *id, const char *text, const char *source,
                        sg_measure measured, sg_control control) SG_MUST_CHECK;

/* ---- othello_causal.c ---- */

/* One disc turned along w_to - w_from of linear probes, on natural boards of a seed of their own. */
typedef struct othello_causes {
    sg_othello_outcome outcome;
    sg_rate wrong_less_null; /* by pairs */
    int first, last;         /* of the sites, those that are written at: chosen, as the strength, on other boards */
    double strength;         /* in lengths of the activation */
} othello_causes;

/* By the table's probes of its first label, board_rel, at all sites but the first; those are in the order of the model.
 */
sg_status othello_causal(othello_parts *o, int seed, const sg_probe_table *t, othello_causes *out) SG_MUST_CHECK;
/* causes [n_seeds] */
sg_status othello_causal_claims(const othello_parts *o, const othello_causes *causes) SG_MUST_CHECK;

#endif
