/* The six models of the shared-geometry study, how alike pairs of them are, and steering carried from one to another.
 */
#ifndef SG_STUDIES_SHARED_GEOMETRY_PARTS_H
#define SG_STUDIES_SHARED_GEOMETRY_PARTS_H

#include "sightglass/emb2emb.h"
#include "sightglass/embedgeo.h"
#include "study.h"

enum {
    GEO_SEEDS = 3,    /* of width 64: models 0 to 2 */
    GEO_SAME = 5,     /* models of the same text: then widths 96 and 128 */
    GEO_SHUFFLED = 5, /* as model 0, on the text with its words in random order */
    GEO_MODELS = 6,
    GEO_PAIRS = GEO_SAME * (GEO_SAME - 1) / 2,
    GEO_BANDS = 3 /* of frequency */
};

/* How alike two models are, each number beside its null. */
typedef struct geo_pair {
    int a, b;
    sg_geo_alike alike, permuted;
    double lle, lle_random;
    double dim, dim_permuted;                     /* Spearman's correlation of local dimensions */
    double band[GEO_BANDS], band_null[GEO_BANDS]; /* r within frequency bands, rarest first */
} geo_pair;

/* What a direction does in a model: log-odds of upper case, at the strength that costs GEO_COST nats per token of plain
 * text. */
#define GEO_COST .1
typedef struct geo_effect {
    double log_odds, strength;
} geo_effect;

enum { GEO_NATIVE, GEO_CARRIED, GEO_PERMUTED, GEO_RANDOM_MAP, GEO_RANDOM, GEO_WAYS };

typedef struct geo_carried {
    int from, to;
    geo_effect way[GEO_WAYS]; /* of the nulls the mean of n_draws draws */
} geo_carried;
enum { GEO_CURVE = 9 };

typedef struct geo_study {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    sg_model *model[GEO_MODELS];
    sg_embedding *table[GEO_MODELS];
    sg_dim n_vocab;
    double *count;           /* [n_vocab] of each token in the text */
    int32_t *ids, *shuffled; /* [n] tokens above the floor, rarest first; room for a permutation */
    sg_dim n;
    int n_draws;              /* of each null of steering */
    double *dims[GEO_MODELS]; /* [n] local dimension of each of these */
    const char *part;
    double began;
} geo_study;

/* Opens models, tables and counts: those in opts->model, a folder, or those that ship. */
sg_status geo_open(geo_study *s, const sg_study_opts *opts, sg_report *report, sg_error *err) SG_MUST_CHECK;
void geo_close(geo_study *s);
void geo_tell(geo_study *s, const char *part, double done);
const char *geo_name(int model); /* "w64-1" */

/* Neighbours and permutations drawn by `seed`. */
sg_status geo_compare(geo_pair *out, geo_study *s, int a, int b, uint64_t seed) SG_MUST_CHECK;

/* ---- steering ---- */

/* A model that is steered: a direction is added behind its last block, at every position. */
typedef struct geo_steered geo_steered;
sg_status geo_steered_new(geo_steered **out, geo_study *s, int model) SG_MUST_CHECK;
void geo_steered_free(geo_steered *t); /* NULL is fine */
/* The model's own direction, [D]: upper less lower case, a mean over pairs of prompts; borrowed. */
const float *geo_steered_native(const geo_steered *t);
sg_dim geo_steered_width(const geo_steered *t);
/* Log-odds of upper case next over prompts that no direction came of, and the cost in nats per token of plain text,
 * both less those without the direction. */
sg_status geo_steered_ask(double *log_odds, double *cost, geo_steered *t, const float *v,
                          double strength) SG_MUST_CHECK;
/* At the strength where the cost is GEO_COST, found by halving. */
sg_status geo_steered_effect(geo_effect *out, geo_steered *t, const float *v) SG_MUST_CHECK;
/* All ways from one to another. */
sg_status geo_carry(geo_carried *out, geo_study *s, geo_steered *from, geo_steered *to, int i_from, int i_to,
                    uint64_t seed) SG_MUST_CHECK;
/* Effect against cost, at strengths up to where the direction costs several times GEO_COST: [GEO_CURVE] each. */
sg_status geo_curve(double *log_odds, double *cost, geo_steered *t, const float *v) SG_MUST_CHECK;

/* ---- figures ---- */

sg_status geo_figures(geo_study *s, const geo_pair *pairs, const geo_pair *shuffled, int n_carried,
                      const geo_carried *carried, geo_steered *from, geo_steered *to) SG_MUST_CHECK;

#endif
