/* What kinds of layouts share. */
#ifndef SG_METHODS_LAYOUT_INTERNAL_H
#define SG_METHODS_LAYOUT_INTERNAL_H

#include "base/base.h"
#include "sightglass/layout.h"

/* Weights between points, each pair from both its ends: those of i are first[i] .. first[i+1]-1. */
typedef struct layout_weights {
    sg_dim n;
    sg_dim *first;
    int32_t *to;
    double *weight;
} layout_weights;

/* Unites p(j|i), given for the neighbours of each point, with p(i|j): p + q, or with `fuzzy` p + q - p q. */
sg_status layout_unite(layout_weights *out, const sg_neighbours *near, const double *p, bool fuzzy,
                       sg_error *err) SG_MUST_CHECK;
void layout_weights_free(layout_weights *w); /* a zeroed struct is fine */

/* y [n,2] holds the first two components of the points, and becomes the layout. */
sg_status layout_tsne(double *y, const sg_neighbours *near, const sg_layout_opts *opts, sg_error *err) SG_MUST_CHECK;
sg_status layout_umap(double *y, const sg_neighbours *near, const sg_layout_opts *opts, sg_error *err) SG_MUST_CHECK;

/* Every so many steps: progress, and whether it is to stop. */
sg_status layout_tell(const sg_layout_opts *opts, int step, int n_steps, sg_error *err) SG_MUST_CHECK;

/* The a and b of 1 / (1 + a d^2b) nearest to UMAP's curve: 1 up to min_dist, then exp(-(d - min_dist) / spread). */
void layout_umap_curve(double *a, double *b, double min_dist, double spread);

#endif
