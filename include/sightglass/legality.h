/* Legality: how often a model of a world's sequences says what cannot come next.
 *
 *     sg_legality *l;
 *     SG_TRY(sg_legality_new(&l, model, sg_legality_defaults(), err));
 *     SG_TRY(sg_legality_add(l, tokens, counts, next, err)); // as often as there are sequences
 *     const sg_legality_result r = sg_legality_get(l);
 *     printf("%.2f %% of the likeliest moves are illegal\n", 100 * r.top.value);
 *     sg_legality_free(l);
 *
 * Asked is every position whose token counts and is followed by one that does: which token is the likeliest there, and
 * how much probability lies on tokens that cannot follow. A network with fresh weights tells what guessing gives. */
#ifndef SIGHTGLASS_LEGALITY_H
#define SIGHTGLASS_LEGALITY_H

#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_legality sg_legality;

typedef struct sg_legality_opts {
    sg_dim batch; /* 64: sequences that are run at once */
    sg_exec_opts exec;
} sg_legality_opts;
sg_legality_opts sg_legality_defaults(void);

/* The model outlives it. */
sg_status sg_legality_new(sg_legality **out, const sg_model *m, sg_legality_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_legality_free(sg_legality *l); /* NULL is fine */

/* tokens [E,T] i32, counts [E,T] bool, next [E,T,V] bool: whether token v may follow position t. SG_ESHAPE, SG_ETYPE.
 */
sg_status sg_legality_add(sg_legality *l, const sg_tensor *tokens, const sg_tensor *counts, const sg_tensor *next,
                          sg_error *err) SG_MUST_CHECK;

typedef struct sg_share {
    double value, low, high; /* mean over positions, and a 95 % interval that takes sequences for independent */
} sg_share;

typedef struct sg_legality_result {
    sg_dim n_sequences, n_asked;
    sg_share top;   /* share of positions at which the likeliest token cannot follow */
    sg_share mass;  /* probability on tokens that cannot follow */
    double loss;    /* nats per token */
    double uniform; /* share of tokens that cannot follow: what a uniform guess gives */
    sg_dim n_positions;
    const double *by_position; /* [n_positions] top, by position; NaN where nothing was asked; until the next add */
} sg_legality_result;
sg_legality_result sg_legality_get(sg_legality *l);

#ifdef __cplusplus
}
#endif
#endif
