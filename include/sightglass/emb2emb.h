/* Maps from one model's embeddings to another's, which carry steering vectors across (Lee, Weber, Viegas, Wattenberg
 * 2025).
 *
 *     sg_emb2emb *map;
 *     SG_TRY(sg_emb2emb_fit(&map, &source->table, &target->table, both->ids[0], both->ids[1], both->n,
 *                           sg_emb2emb_defaults(), err));
 *     SG_TRY(sg_emb2emb_apply(map, n_layers_source, edits, n_layers_target, carried, err)); // edits for the other
 * model sg_emb2emb_free(map);
 *
 * A = argmin |E_s A - E_t| over shared tokens; a direction v of the source's residual stream becomes v A, and layer l
 * of L_s becomes round(l L_t / L_s). What has to be beaten: a map of tokens that correspond at random, and a random map
 * of the same singular values. */
#ifndef SIGHTGLASS_EMB2EMB_H
#define SIGHTGLASS_EMB2EMB_H

#include "sightglass/edit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_emb2emb {
    sg_tensor a; /* [D_s,D_t] f32 */
    double fit;  /* share of the target embeddings' variance (about 0) that it reaches on the tokens it was fitted to */
} sg_emb2emb;

typedef struct sg_emb2emb_opts {
    double
        ridge; /* 1e-6; times the mean square of a source component, so that the scale of embeddings does not matter */
} sg_emb2emb_opts;
sg_emb2emb_opts sg_emb2emb_defaults(void);

/* ids NULL: rows 0..n-1. Any floats. SG_EARG: an id outside its table, no token, a ridge that is negative. */
sg_status sg_emb2emb_fit(sg_emb2emb **out, const sg_tensor *source, const sg_tensor *target, const int32_t *ids_source,
                         const int32_t *ids_target, sg_dim n, sg_emb2emb_opts opts, sg_error *err) SG_MUST_CHECK;
/* A random map with the singular values of another: between random orthonormal frames. */
sg_status sg_emb2emb_random(sg_emb2emb **out, const sg_emb2emb *like, uint64_t seed, sg_error *err) SG_MUST_CHECK;
void sg_emb2emb_free(sg_emb2emb *map); /* NULL is fine */

/* to [D_t] = v [D_s] A. */
void sg_emb2emb_vector(float *to, const sg_emb2emb *map, const float *v);
/* The layer of the target that stands for one of the source. */
sg_dim sg_emb2emb_layer(sg_dim layer, sg_dim n_layers_source, sg_dim n_layers_target);

/* Appends to `to` the edits of `from`, vectors and layers carried over. What can be: set, add, ablate and project with
 * vectors [D_s] (or rows of them) at sites of the residual stream (hook_embed, hook_resid_pre, _mid, _post,
 * hook_attn_out, hook_mlp_out), and ablate without a vector. SG_EARG names the edit that cannot: its place in the list
 * and why. */
sg_status sg_emb2emb_apply(const sg_emb2emb *map, sg_dim n_layers_source, sg_edit_list *from, sg_dim n_layers_target,
                           sg_edit_list *to, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
