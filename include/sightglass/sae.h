/* Sparse autoencoders: a value of a model as a sum of few out of many features, in SAELens' layout (cfg.json beside
 * sae_weights.safetensors).
 *
 *     sg_sae *s;
 *     SG_TRY(sg_sae_open(&s, "blocks.5.hook_resid_post", err));
 *     printf("%s: %lld features of %lld numbers\n", s->hook, (long long)s->d_sae, (long long)s->d_in);
 *     sg_sae_close(s);
 *
 * With z = norm(x) - b_dec (where apply_b_dec) and p = z W_enc + b_enc the features are
 *
 *     standard  max(p, 0)                              jumprelu  p where p > max(threshold, 0), else 0 (Rajamanoharan
 * 2024b) topk      max(p, 0) of the k largest p, else 0   (Gao et al. 2024) gated     max(z W_enc e^r_mag + b_mag, 0)
 * where z W_enc + b_gate > 0, else 0 (Rajamanoharan et al. 2024a)
 *
 * and the reconstruction is unnorm(features W_dec + b_dec). adapt.h puts one into a model. */
#ifndef SIGHTGLASS_SAE_H
#define SIGHTGLASS_SAE_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_sae_kind { SG_SAE_STANDARD, SG_SAE_TOPK, SG_SAE_GATED, SG_SAE_JUMPRELU, SG_N_SAE_KINDS } sg_sae_kind;
const char *sg_sae_kind_name(sg_sae_kind kind); /* "standard", "topk", "gated", "jumprelu" */

/* What is done to x before, and undone behind. */
typedef enum sg_sae_norm {
    SG_SAE_NORM_NONE,     /* also where expected_average_only_in is said, whose factor the weights have in them */
    SG_SAE_NORM_CONSTANT, /* x sqrt(d_in) / |x| */
    SG_SAE_NORM_LAYER,    /* (x - mean) / (deviation + 1e-5), with d_in - 1 below the deviation's sum */
    SG_N_SAE_NORMS
} sg_sae_norm;

/* To be read, or filled in to be saved. Tensors that a kind does not have are without data. */
typedef struct sg_sae {
    sg_sae_kind kind;
    sg_dim d_in, d_sae, k; /* k: of topk */
    const char *hook;      /* "blocks.5.hook_resid_post" */
    const char *model;     /* the name of the model that it was trained on; NULL: not said */
    bool apply_b_dec;      /* b_dec is taken from the input */
    bool by_heads;         /* the site has a head axis, which is joined to the last (attn.hook_z) */
    sg_sae_norm norm;
    sg_tensor w_enc, w_dec;         /* [d_in,d_sae], [d_sae,d_in] */
    sg_tensor b_enc, b_dec;         /* [d_sae] (not in gated), [d_in] */
    sg_tensor threshold;            /* [d_sae], of jumprelu */
    sg_tensor r_mag, b_mag, b_gate; /* [d_sae], of gated */
    const char *const *labels;      /* [d_sae], each may be NULL; NULL: no feature has a name */
    const char *path;               /* where it was opened; NULL where it was filled in */
} sg_sae;

/* A folder; labels come from its features.json ({"12": "text"}, a list of texts, or of objects with index and label or
 * description) or features.csv (columns feature or index, label or description), where one is there. Scales that old
 * files have apart (finetuning_scaling_factor, rescale_acts_by_decoder_norm, log_threshold) are worked into the
 * weights. SG_EUNSUPPORTED: a transcoder, or another architecture, activation or normalisation, by its name. SG_EFORMAT
 * names the tensor and both shapes. The caller closes it. */
sg_status sg_sae_open(sg_sae **out, const char *dir, sg_error *err) SG_MUST_CHECK;
/* The same from the bytes of the two files, which the caller keeps until close, without labels. */
sg_status sg_sae_parse(sg_sae **out, const char *config, size_t n_config, const void *weights, size_t n_weights,
                       const char *name, sg_error *err) SG_MUST_CHECK;
void sg_sae_close(sg_sae *s); /* one that was opened; NULL is fine */

/* Writes the folder (made if it is not there): cfg.json, sae_weights.safetensors, and features.json if it has labels.
 */
sg_status sg_sae_save(const sg_sae *s, const char *dir, sg_error *err) SG_MUST_CHECK;

size_t sg_sae_bytes(const sg_sae *s); /* of its tensors */

#ifdef __cplusplus
}
#endif
#endif
