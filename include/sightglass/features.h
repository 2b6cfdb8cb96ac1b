/* The world of sparse features: n coordinates, each active with probability p and then uniform on [0,1), else 0. The
 * truth is the dictionary: feature i is coordinate i. After Elhage et al., "Toy Models of Superposition" (2022).
 *
 *     sg_features f = sg_features_defaults();
 *     f.n = 20;
 *     sg_value *p = sg_const(g, &p_of_each);                          // [K,1,1]
 *     sg_value *x = sg_features_value(g, &f, p, K, 1024, from, step); // [K,1024,20], drawn anew at each step
 *
 * Samples drawn here and in a graph from one origin are equal numbers. */
#ifndef SIGHTGLASS_FEATURES_H
#define SIGHTGLASS_FEATURES_H

#include "sightglass/ops.h"
#include "sightglass/world.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_feature_relation {
    SG_FEATURES_INDEPENDENT,
    SG_FEATURES_CORRELATED,    /* a group is active together, each member with a value of its own */
    SG_FEATURES_ANTICORRELATED /* of a group at most one is active; p stays the probability of each */
} sg_feature_relation;

typedef struct sg_features {
    sg_dim n;                     /* 5 */
    double p;                     /* .05; p(active), which is 1 - S in the paper's sparsity S */
    double decay;                 /* .9; feature i has importance decay^i */
    sg_feature_relation relation; /* independent */
    sg_dim group;                 /* 2; members of a group, which divides n unless features are independent */
} sg_features;
sg_features sg_features_defaults(void);

/* SG_EARG: extents or probabilities that make no sense, or group * p > 1 where features exclude each other. */
sg_status sg_features_check(const sg_features *f, sg_error *err) SG_MUST_CHECK;

/* x [B,n] f32. What is active has a resolution of 2^-24 / p. */
sg_status sg_features_sample(sg_tensor *x, const sg_features *f, sg_origin from, sg_error *err) SG_MUST_CHECK;

/* The same as a value of a graph, x [K,B,n] f32. `p` is f32, a scalar or [K,1,1], and takes the place of f->p, which it
 * may be where it is NULL. With from.row_streams instance k draws from stream + k, as that many graphs of their own
 * would. */
sg_value *sg_features_value(sg_graph *g, const sg_features *f, sg_value *p, sg_dim n_instances, sg_dim batch,
                            sg_random from, sg_value *step);

/* importance[i] = decay^i, n numbers. */
void sg_features_importance(float *importance, const sg_features *f);

#ifdef __cplusplus
}
#endif
#endif
