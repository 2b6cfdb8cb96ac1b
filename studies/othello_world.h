/* The parts that the study othello-world is put together from. */
#ifndef SG_STUDIES_OTHELLO_WORLD_H
#define SG_STUDIES_OTHELLO_WORLD_H

#include "othello_parts.h"
#include "sightglass/legality.h"
#include "sightglass/othello_cases.h"

enum { WORLD_SEEDS = 3, WORLD_LAYERS = 24, WORLD_TRIES = 600 };
/* Seeds of boards lie apart from those of games that are fitted on. */
enum { TO_CHOOSE = 500000, TO_JUDGE = 600000, TO_SHUFFLE = 700000, ILLEGAL = 800000 };

/* How a direction is found, or how one goes without. */
typedef enum world_way {
    WAY_RIDGE, /* the weights of a ridge probe, in units of |x| */
    WAY_PARTS, /* what a square adds to x, as it is */
    WAY_STEPS, /* gradient steps against a softmax probe; --full */
    WAY_MLP,   /* gradient steps against a probe that is not linear; --full */
    N_WAYS
} world_way;
const char *world_way_name(world_way way);

/* Boards with one disc turned (any, and such that other moves lead there), the latter alone, and impossible ones. */
enum { ONE_TURNED, NATURAL, UNNATURAL, N_BOARDS };

/* What one seed found. */
typedef struct world_seed {
    int n_layers;
    char site_room[WORLD_LAYERS][48];
    const char
        *sites[WORLD_LAYERS]; /* resid_mid of each block: what its attention has gathered, before its MLP uses it */
    sg_probe *probes[N_WAYS][WORLD_LAYERS];   /* what is edited along, or against */
    sg_probe *shuffled[N_WAYS][WORLD_LAYERS]; /* the best's, fitted to boards of other games */
    sg_othello_try tries[WORLD_TRIES];        /* on boards of their own */
    world_way way_of[WORLD_TRIES];
    int n_tries, best;
    sg_othello_outcome outcome[N_BOARDS]; /* of the best */
    sg_rate shuffled_less_null;           /* of the best with `shuffled`, on ONE_TURNED boards */
    double same, moved,
        rightly; /* share of boards whose top N moves stay when gradient steps write the disc that is there,
                  * where it was read rightly, which share that is; and when they write the other */
    double saliency[SG_OTHELLO_MAX_SQUARES]; /* of the likeliest move of the first natural board, in probability */
    char saliency_of[200];
} world_seed;

/* Share of likeliest moves that are illegal on fresh games, and the probability that illegal ones have. */
typedef struct world_rates {
    double top, mass;
} world_rates;
sg_status world_illegal(world_rates *out, const othello_parts *o, int seed, const sg_model *m) SG_MUST_CHECK;

/* The steps of world_edit. Boards: n of each kind, one kind after the other. */
sg_status world_fit(world_seed *w, othello_parts *o, int seed) SG_MUST_CHECK;
sg_status world_fit_shuffled(world_seed *w, othello_parts *o, int seed) SG_MUST_CHECK; /* of the best alone */
sg_status world_choose(world_seed *w, othello_parts *o, int seed) SG_MUST_CHECK;
sg_status world_draw(sg_othello_case *out, const othello_parts *o, sg_dim n, uint64_t seed) SG_MUST_CHECK;

/* Fits, tries, judges. Freed by world_free, also after a failure. */
sg_status world_edit(world_seed *out, othello_parts *o, int seed) SG_MUST_CHECK;
void world_free(world_seed *s);

/* What was chosen and what came of it, for who wants to repeat it: the report's set-up. */
sg_status world_describe(const othello_parts *o, const world_seed *seeds, const world_rates *model,
                         const world_rates *fresh) SG_MUST_CHECK;

/* Errors by what was done, by strength, and a saliency map. */
sg_status world_figures(const othello_parts *o, const world_seed *seeds) SG_MUST_CHECK;

#endif
