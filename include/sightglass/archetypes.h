/* Archetypal analysis: rows as mixtures of few corners, which are themselves mixtures of rows.
 *
 *     sg_archetypes_opts opts = sg_archetypes_defaults();
 *     sg_archetypes *a;
 *     SG_TRY(sg_archetypes_fit(&a, &x, 1, (sg_dim[]){8}, opts, err)); // x [N,D]
 *     printf("%.3f of the variance\n", a->r2);
 *     use(&a->archetypes); // [8,D]
 *     sg_archetypes_free(a);
 *
 * Cutler and Breiman (1994): minimise |X - Z A|^2, where the rows of Z lie on the simplex, A = B X and so do the rows of B: every
 * archetype lies in the hull of the data. With several blocks each row is the mean plus one mixture out of each block,
 * x = m + Z_1 A_1 + Z_2 A_2 + ..., archetypes lying in the hull of X - m: a sum of polytopes, whose summands less their means
 * do lie there. One block is the same with or without m.
 *
 * Z and each archetype are found exactly in turn (simplex.h): row z given A; archetype a_j given all else, as the point of the hull
 * that is nearest to the best unconstrained one. So the objective never rises. It starts at the archetypes that lie furthest apart
 * (Moerup and Hansen 2012) and, for further restarts and for blocks, at random rows; the best of the restarts, which look at `scout`
 * rows alone, goes on with all. */
#ifndef SIGHTGLASS_ARCHETYPES_H
#define SIGHTGLASS_ARCHETYPES_H

#include <signal.h>

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_archetypes_opts {
    int n_restarts;   /* 10 */
    int max_rounds;   /* 200: of Z and A, for each restart and for the last fit */
    double tolerance; /* 1e-6: it ends when a round lessens the objective by less than this share of it */
    sg_dim scout;     /* 1000: rows that restarts look at */
    double trim;      /* 0: share of rows, those furthest from the mean, that are left out of the fit: outliers become archetypes */
    uint64_t seed;    /* 0 */
    void (*progress)(void *context, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_archetypes_opts;
sg_archetypes_opts sg_archetypes_defaults(void);

typedef struct sg_archetypes {
    sg_tensor archetypes; /* [K,D] f64, of all blocks, one behind the other, less the mean where there are several */
    sg_tensor weights;    /* [N,K] f64, Z, of every row, those left out of the fit too */
    sg_tensor mixtures;   /* [K,N] f32, B; 0 for rows that were left out */
    sg_tensor mean;       /* [D] f64; what several blocks add up to beside; zeros for one */
    double r2;            /* 1 - |X - m - Z A|^2 / |X - mean|^2, over rows that were fitted */
    sg_dim n_trimmed;
    int n_rounds;
    double *objective;    /* [n_rounds + 1] |X - m - Z A|^2 of the last fit, before it and after each round */
    int n_restarts;
    double *restart_r2;   /* [n_restarts] of scouted rows */
} sg_archetypes;

/* x [N,D] f32 or f64; n_blocks of block[i] archetypes each. SG_EARG: more archetypes in a block than rows, or options out of range;
 * SG_ESHAPE, SG_ETYPE, SG_ENUMERIC: not finite, or all rows are one. */
sg_status sg_archetypes_fit(sg_archetypes **out, const sg_tensor *x, int n_blocks, const sg_dim *block,
                            sg_archetypes_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_archetypes_free(sg_archetypes *a); /* NULL is fine */

/* Rows that lie far apart: from a random one on, each time the one with the greatest sum of distances to those chosen, and
 * at the end the first is chosen anew (Moerup and Hansen 2012, "furthest sum"). out [k]. */
sg_status sg_archetypes_furthest(sg_dim *out, sg_dim k, const sg_tensor *x, uint64_t seed, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
