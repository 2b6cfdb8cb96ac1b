/* Simplexes: weights that are not negative and sum to one, the nearest such weights, and least squares over them.
 *
 *     // x [N,D] as mixtures of the corners of two polytopes, 3 and 4 corners, one point of each added up
 *     sg_simplex_fit *fit;
 *     SG_TRY(sg_simplex_fit_new(&fit, &corners, 2, (sg_dim[]){3, 4}, &x, NULL, sg_simplex_defaults(), err));
 *     use(&fit->weights); // [N,7]: the first three sum to 1, the last four too
 *     sg_simplex_fit_free(fit);
 *
 * Projection: sort x descending; with rho the last i at which x_i > (x_1 + ... + x_i - total) / i, that quotient is what is
 * taken off everywhere, and what falls below 0 is 0 (Held, Wolfe, Crowder 1974; Duchi et al. 2008, figure 1). Least squares: an
 * active set as Lawson and Hanson (1974, chapter 23) have it for weights that are only not negative, with a multiplier for the
 * sum of each block. Both are exact: no step size, and as many steps as vertices come and go. */
#ifndef SIGHTGLASS_SIMPLEX_H
#define SIGHTGLASS_SIMPLEX_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each row of x [..,n], f32 or f64, becomes the nearest point whose elements are >= 0 and sum to total. SG_EARG: total is not
 * above 0; SG_ESHAPE: rows of no elements; SG_ETYPE; SG_ENUMERIC: a row is not finite. */
sg_status sg_simplex_project(const sg_tensor *x, double total, sg_error *err) SG_MUST_CHECK;

typedef struct sg_simplex_opts {
    double tolerance; /* 1e-12: of the gap, beside half the largest squared length of a vertex and of x */
    int max_steps;    /* 10000: vertices that come in, for each row */
} sg_simplex_opts;
sg_simplex_opts sg_simplex_defaults(void);

typedef struct sg_simplex_fit {
    sg_tensor weights;  /* [N,K] f64 */
    sg_tensor residual; /* [N] f64: |weights V - x| */
    double gap;         /* the largest by which half a squared residual may lie above the least */
    sg_dim n_stopped;   /* rows that ended by max_steps, or where rounding left no way on */
} sg_simplex_fit;

/* For each row of x [N,D] the weights w that minimise |w V - x|^2, where V = vertices [K,D]. The vertices come in n_blocks
 * blocks, one behind the other, of block[i] each, and within each the weights sum to 1; n_blocks 0: they only are >= 0 (NNLS).
 * f32 or f64, computed in f64. start [N,K] f64 (NULL: none): weights to begin at, as those of an earlier fit whose vertices have
 * moved a little. Where several weights do as well, it is one of them.
 * SG_ESHAPE: extents that do not fit, or a block without vertices; SG_ENUMERIC: not finite. */
sg_status sg_simplex_fit_new(sg_simplex_fit **out, const sg_tensor *vertices, int n_blocks, const sg_dim *block,
                             const sg_tensor *x, const sg_tensor *start, sg_simplex_opts opts,
                             sg_error *err) SG_MUST_CHECK;
void sg_simplex_fit_free(sg_simplex_fit *fit); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
