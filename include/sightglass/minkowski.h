/* What attention writes is a sum of polytopes: at each position one mixture of what each head could move there.
 *
 *     sg_minkowski *k;
 *     const sg_rows rows = {.n_rows = 2, .tokens = tokens, .lengths = lengths};
 *     SG_TRY(sg_minkowski_check(&k, model, 2, &rows, sg_minkowski_defaults(), err));
 *     printf("rebuilt to %.1e, found among mixtures to %.1e; with another layer's values %.2f\n", k->rebuilt, k->member,
 *            k->other_layer);
 *     sg_minkowski_free(k);
 *
 * Fel et al., "Into the Rabbit Hull" (2025):  out_t = b + sum_h W_O^h sum_i a_h,t,i v_h,i  lies in  b + (+)_h W_O^h conv{v_h,1..t},
 * since the pattern a is not negative and sums to 1. Two tests of it on a model as it runs:
 *   - rebuilt: the sum is made again of the pattern and the values that were fetched.
 *   - member: out_t alone is given, and weights on each head's simplex are looked for (simplex.h). That shows something only where
 *     vertices are few beside the width; positions are judged as far as heads * vertices of each <= share * width.
 * Beside the second stands what it must not find: the same with the values of another layer, and of another sequence, at the same
 * positions and through the same W_O. Residuals are lengths beside |out_t - b|, root mean square over positions.
 *
 * W_O and b are read off the graph: of all families, with biases and grouped heads, what follows attn.hook_z up to a norm is
 * fed unit vectors. */
#ifndef SIGHTGLASS_MINKOWSKI_H
#define SIGHTGLASS_MINKOWSKI_H

#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_minkowski_opts {
    double share;   /* .5: of the width, that a position's vertices are at most */
    int other;      /* -1: layer whose values are the first control; -1 is the next, or the one before for the last */
    uint64_t seed;  /* 0: of the weights of a model from nothing */
    sg_exec_opts exec;
} sg_minkowski_opts;
sg_minkowski_opts sg_minkowski_defaults(void);

typedef struct sg_minkowski_place {
    int row;
    sg_dim position;                              /* 0-based */
    sg_dim n_vertices;                            /* of all heads together */
    double member, other_layer, other_sequence; /* residuals; NaN: there is no such layer or sequence */
} sg_minkowski_place;

typedef struct sg_minkowski {
    int layer, other; /* other -1: the model has one layer */
    sg_dim d_model, n_heads, n_kv_heads;
    bool bias;        /* b is not 0 */
    sg_dim n_positions;
    double rebuilt;   /* over all positions */
    int n_places;     /* that were judged by membership; 0: vertices are too many at all, and the rest is NaN */
    sg_minkowski_place *places;
    sg_dim most_vertices, most_dims; /* of the places: vertices, and dimensions that their polytopes may span */
    double member, worst;            /* root mean square and largest */
    double other_layer, other_sequence;
} sg_minkowski;

/* SG_EARG: no such layer, or no tokens; SG_EUNSUPPORTED: what follows attn.hook_z is not one affine map (an adapter on it). */
sg_status sg_minkowski_check(sg_minkowski **out, const sg_model *m, int layer, const sg_rows *rows, sg_minkowski_opts opts,
                             sg_error *err) SG_MUST_CHECK;
void sg_minkowski_free(sg_minkowski *k); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
