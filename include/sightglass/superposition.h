/* Superposition: how many features a weight matrix keeps in how many dimensions, and at what cost to each other.
 *
 *     sg_superposition *s;
 *     SG_TRY(sg_superposition_report(&s, &w, err)); // w [2,5]: five features in a plane
 *     printf("feature 0 has %.2f of a dimension\n", s->dimensionality[0]); // 0.40 in a pentagon
 *     sg_superposition_free(s);
 *
 * Elhage et al., "Toy Models of Superposition" (2022). Feature i is the column W_i. Dimensionality is
 * D_i = |W_i|^2 / sum_j (W_i/|W_i| . W_j)^2, j = i included; whatever W, the D_i sum to at most its rank. */
#ifndef SIGHTGLASS_SUPERPOSITION_H
#define SIGHTGLASS_SUPERPOSITION_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SG_SUPERPOSITION_REPRESENTED 0.25 /* a feature is represented where |W_i|^2 is more than this */
#define SG_SUPERPOSITION_ABSENT      1e-6 /* where |W_i|^2 is less, the feature has no direction, and D_i = 0 */

/* K instances of m dimensions and n features; all arrays row-major, owned by this. */
typedef struct sg_superposition {
    sg_dim n_instances, n_dims, n_features;
    double *dimensionality;     /* [K,n] D_i */
    double *norm2;              /* [K,n] |W_i|^2 */
    double *interference;       /* [K,n] sum over j != i of (W_i/|W_i| . W_j)^2 */
    double *gram;               /* [K,n,n] W_i . W_j */
    double *sum_dimensionality; /* [K] sum of D_i */
    double *per_dimension;      /* [K] features per dimension, |W|_F^2 / m; its inverse is the paper's D* */
    sg_dim *n_represented;      /* [K] */
} sg_superposition;

/* w [m,n] or [K,m,n], f32 or f64.  SG_ESHAPE, SG_ETYPE; SG_ENUMERIC: w holds what is not finite. */
sg_status sg_superposition_report(sg_superposition **out, const sg_tensor *w, sg_error *err) SG_MUST_CHECK;

void sg_superposition_free(sg_superposition *s); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
