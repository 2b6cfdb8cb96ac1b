/* Neighbours: which points lie nearest to each, exactly, and the graph that they make.
 *
 *     sg_neighbours *near;
 *     SG_TRY(sg_neighbours_new(&near, &x, NULL, 10, sg_neighbours_defaults(), err)); // x [N,D]
 *     const int32_t *of_7 = near->index + 7 * near->k; // nearest first, 7 itself not among them
 *     sg_links *links;
 *     SG_TRY(sg_links_of_neighbours(&links, near, err));
 *     SG_TRY(sg_links_paths(far, NULL, links, 7, err)); // far [N]: lengths of the shortest ways from 7 (Isomap)
 *     sg_links_free(links);
 *     sg_neighbours_free(near);
 *
 * All pairs are looked at, each distance is a sum in double in the order of the components, and where two are equal the
 * lower index comes first: what is found does not depend on blocks or threads. Points that hold a NaN are SG_ENUMERIC.
 */
#ifndef SIGHTGLASS_NEIGHBOURS_H
#define SIGHTGLASS_NEIGHBOURS_H

#include <signal.h>

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_metric {
    SG_METRIC_EUCLIDEAN, /* |x - y| */
    SG_METRIC_COSINE     /* 1 - x.y / (|x| |y|), at least 0; 1 where one of them is 0 */
} sg_metric;

typedef struct sg_neighbours {
    sg_dim n, k;      /* points asked for, neighbours of each */
    int32_t *index;   /* [n,k] nearest first */
    double *distance; /* [n,k] */
} sg_neighbours;

typedef struct sg_neighbours_opts {
    sg_metric metric;                    /* SG_METRIC_EUCLIDEAN */
    int n_threads;                       /* 1; any number gives the same bytes */
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_neighbours_opts;
sg_neighbours_opts sg_neighbours_defaults(void);

/* The k nearest of x [N,D] to each of `to` [n,D], or where that is NULL to each of x, itself left out (copies of it are
 * neighbours at distance 0). Any type of floats. SG_EARG: k below 1 or above what there is; SG_ESHAPE. */
sg_status sg_neighbours_new(sg_neighbours **out, const sg_tensor *x, const sg_tensor *to, sg_dim k,
                            sg_neighbours_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_neighbours_free(sg_neighbours *n); /* NULL is fine */

/* ---- graphs of points ---- */

/* Links with a length or a weight each, kept for both ends and in the order of their other end. */
typedef struct sg_links {
    sg_dim n;       /* points */
    sg_dim n_links; /* each counted once */
    sg_dim *first;  /* [n+1]; those of point i are first[i] .. first[i+1]-1 */
    int32_t *to;    /* [2 n_links] */
    double *weight; /* [2 n_links] */
} sg_links;

/* Edges [n_edges,2], weights NULL: all 1. A pair that comes twice, either way round, is one link, of the first weight.
 * SG_EARG: an end outside 0..n-1, an edge from a point to itself, a weight that is negative or not finite. */
sg_status sg_links_new(sg_links **out, sg_dim n, sg_dim n_edges, const int32_t *edges, const double *weights,
                       sg_error *err) SG_MUST_CHECK;
/* Two points are linked where either is a neighbour of the other, by their distance. For sg_neighbours of x among
 * itself. */
sg_status sg_links_of_neighbours(sg_links **out, const sg_neighbours *n, sg_error *err) SG_MUST_CHECK;
void sg_links_free(sg_links *links); /* NULL is fine */

/* distance [n]: of the shortest way from a point to each (Dijkstra 1959), INFINITY where there is none. before [n] or
 * NULL: the point that comes before on that way, -1 at its start and where there is none; of equal ones that which was
 * reached first. */
sg_status sg_links_paths(double *distance, int32_t *before, const sg_links *links, sg_dim from,
                         sg_error *err) SG_MUST_CHECK;
/* part [n]: a number for each connected part, in the order of their first points; gives how many there are. */
sg_status sg_links_parts(int32_t *part, sg_dim *n_parts, const sg_links *links, sg_error *err) SG_MUST_CHECK;
/* to [n,n] f64: D - W, with D the sums of rows of the weights W; normalised: I - D^-1/2 W D^-1/2, a row of zeros for a
 * point without links. tr(X' L X) is the sum over links of w |x_i - x_j|^2. */
sg_status sg_links_laplacian(const sg_tensor *to, const sg_links *links, bool normalised, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
