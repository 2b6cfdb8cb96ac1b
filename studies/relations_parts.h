/* What the study linear-relations measures of each relation, and draws: see relations_parts.c and relations_figures.c.
 */
#ifndef SG_STUDIES_RELATIONS_PARTS_H
#define SG_STUDIES_RELATIONS_PARTS_H

#include "sightglass/kb.h"
#include "sightglass/lre.h"
#include "study.h"

enum { RELATIONS_SEEDS = 3, RELATIONS_MOST_SITES = 8, RELATIONS_BETAS = 9 };
extern const double relations_betas[RELATIONS_BETAS];

/* One relation, each number for every seed; shares are of the half of the tests that chose nothing. */
typedef struct relations_row {
    int relation; /* of the world kb */
    int site[RELATIONS_SEEDS], rank[RELATIONS_SEEDS];
    double beta[RELATIONS_SEEDS];
    double known[RELATIONS_SEEDS];                         /* share of the tests that the model completes rightly */
    double faithful[SG_N_LRE_READINGS][RELATIONS_SEEDS];   /* at the chosen site */
    double all[RELATIONS_SEEDS];                           /* of all tests, known or not */
    double beside[RELATIONS_SEEDS];                        /* the map of the token before the subject */
    double changed[SG_N_LRE_CAUSES][RELATIONS_SEEDS];      /* by edits */
    double by_site[RELATIONS_SEEDS][RELATIONS_MOST_SITES]; /* faithful at each, with its own beta */
    double copy_at[RELATIONS_SEEDS][RELATIONS_MOST_SITES]; /* changed by copying s' there */
    double at_last[RELATIONS_SEEDS][RELATIONS_MOST_SITES]; /* faithful with the last token's state as s */
    double by_beta[RELATIONS_SEEDS][RELATIONS_BETAS];      /* at the chosen site, on the half that chooses */
} relations_row;

typedef struct relations_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    sg_model *model;
    sg_lre_reader *reader;
    char names[RELATIONS_MOST_SITES][48]; /* the embedding, then what each block but the last writes */
    const char *sites[RELATIONS_MOST_SITES];
    int n_sites, n_rows;
    relations_row rows[SG_KB_N_RELATIONS];
    uint64_t seeds[RELATIONS_SEEDS];
    double fresh[RELATIONS_SEEDS]; /* what a network with fresh weights completes rightly, of the first relation */
    int n_tests, n_pairs;
    double began;
} relations_parts;

sg_status relations_open(relations_parts *p, const sg_study_opts *opts, sg_report *report, sg_error *err) SG_MUST_CHECK;
void relations_close(relations_parts *p);

/* All rows at one seed: their `relation` is set. */
sg_status relations_measure(relations_parts *p, int seed) SG_MUST_CHECK;

/* The median over the rows of a group, shared objects or one to one, at a seed. */
double relations_median(const relations_parts *p, bool shared, int seed,
                        double (*of)(const relations_row *r, int seed));

sg_status relations_figures(relations_parts *p) SG_MUST_CHECK;

#endif
