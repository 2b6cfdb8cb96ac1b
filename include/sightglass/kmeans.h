/* K-means: points that stand for the rows nearest to them.
 *
 *     sg_kmeans_opts opts = sg_kmeans_defaults();
 *     opts.k = 512, opts.seed = 3;
 *     sg_kmeans *fit;
 *     SG_TRY(sg_kmeans_fit(&fit, &x, opts, err)); // x [N,D]
 *     use(&fit->centroids, fit->labels);          // [512,D]; row i is nearest to centroid labels[i]
 *     sg_kmeans_free(fit);
 *
 * Starts are drawn by k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's steps (1982) go on until hardly anything
 * moves. A centroid that no row is nearest to is put on the row that is farthest from its own. The same seed gives the
 * same bytes. */
#ifndef SIGHTGLASS_KMEANS_H
#define SIGHTGLASS_KMEANS_H

#include <signal.h>

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_kmeans {
    sg_tensor centroids; /* [K,D] f32 */
    int32_t *labels;     /* [N] */
    sg_dim *counts;      /* [K] rows of each */
    double inertia;      /* mean over rows of the squared distance to their centroid */
    int n_steps;         /* of Lloyd's that were made */
    bool settled;        /* false: `most_steps` ended it */
} sg_kmeans;

typedef struct sg_kmeans_opts {
    sg_dim k;         /* 8 */
    int most_steps;   /* 100 */
    double tolerance; /* 1e-4: it ends when a step lowers the inertia by no more than this part of it */
    uint64_t seed;    /* 0 */
    void (*progress)(void *context, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_kmeans_opts;
sg_kmeans_opts sg_kmeans_defaults(void);

/* x [N,D] f32, finite.  SG_EARG: k is less than 1 or more than N. */
sg_status sg_kmeans_fit(sg_kmeans **out, const sg_tensor *x, sg_kmeans_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_kmeans_free(sg_kmeans *fit); /* NULL is fine */

/* Which of centroids [K,D] f32 is nearest to each row of x [N,D] f32, the first of equals, and (unless NULL) how far it
 * is, squared: labels [N], distances [N]. */
sg_status sg_kmeans_nearest(int32_t *labels, double *distances, const sg_tensor *x, const sg_tensor *centroids,
                            sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
