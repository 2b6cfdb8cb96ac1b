/* What the study rabbit-hull measures: attention as a sum of mixtures, clouds that are such sums, and a dictionary of a real model. */
#ifndef SG_STUDIES_RABBIT_HULL_PARTS_H
#define SG_STUDIES_RABBIT_HULL_PARTS_H

#include "sightglass/archetypes.h"
#include "sightglass/geometry.h"
#include "study.h"

enum { RH_SEEDS = 3, RH_MODELS = 2, RH_VERTICES = 12, RH_FACTORS = 3 };

/* One model: relative residuals, each seed with tokens of its own; the worst of all layers, and of controls the least. */
typedef struct rh_identity {
    char name[64];
    double rebuilt[RH_SEEDS], member[RH_SEEDS], other_layer[RH_SEEDS], other_sequence[RH_SEEDS];
    sg_dim vertices, dims, width;
} rh_identity;

/* A world of three polytopes: R^2 of archetypes in three blocks, in one, and in three blocks of a normal cloud; the mean cosine of
 * vertices with the archetypes matched to them, each less the mean of its factor. */
typedef struct rh_mixture {
    double blocks[RH_SEEDS], single[RH_SEEDS], normal[RH_SEEDS];
    double recovered[RH_SEEDS], recovered_normal[RH_SEEDS];
    /* Of the first seed, the smallest factor in its own plane: points, its vertices, the archetypes. */
    int n_points;
    double *points[2], vertices[2][3], corners[2][3];
} rh_mixture;

/* A TopK dictionary on a model's residual stream. */
typedef struct rh_statistics {
    sg_dict_geometry *g; /* of the first seed */
    double coherence[RH_SEEDS], coherence_normal[RH_SEEDS], coherence_low[RH_SEEDS];
    double together[RH_SEEDS], together_normal[RH_SEEDS];
    double modularity[RH_SEEDS], modularity_null[RH_SEEDS];
    double nearer[RH_SEEDS], nearer_normal[RH_SEEDS], nearer_removed[RH_SEEDS];
    double before[RH_SEEDS], after[RH_SEEDS];
    double archetypes[RH_SEEDS], archetypes_normal[RH_SEEDS];
    double r2[RH_SEEDS];
} rh_statistics;

typedef struct rh_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    uint64_t seeds[RH_SEEDS];
    int n_models;
    rh_identity identity[RH_MODELS];
    rh_mixture mixture;
    rh_statistics statistics;
} rh_parts;

sg_status rh_identities(rh_parts *p) SG_MUST_CHECK;
sg_status rh_mixtures(rh_parts *p) SG_MUST_CHECK;
sg_status rh_dictionary(rh_parts *p) SG_MUST_CHECK;
sg_status rh_figures(const rh_parts *p) SG_MUST_CHECK;
void rh_free(rh_parts *p);

#endif
