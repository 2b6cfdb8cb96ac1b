/* What is added to an open model: low-rank adapters that change what it computes, sparse autoencoders that look at a
 * value or stand in its place.
 *
 *     SG_TRY(sg_model_open(&m, "llama", sg_model_defaults(), err));
 *     SG_TRY(sg_model_add_lora(m, "my-adapter", 1, err));
 *     SG_TRY(sg_model_add_sae(m, "sae/blocks.5.hook_resid_post", SG_SAE_LOOK, err));
 *     SG_TRY(sg_glass_new(&glass, m, sg_glass_defaults(), err)); // its graph has all of that, with names
 *
 * Both are graph like any other: every verb works on them, gradients flow through, the base may be quantised. They are
 * added before the model's first graph is made, up to 16 of each; the model closes them.
 *
 * The k-th LoRA, with modules at y = x W': y' = y + strength * s (x A') B'. Named values: lora.{k}.strength
 * [batch,time], which may be fed, and edited as any value (set it to .5 in row 3 from position 10 on); SITE.lora.{k},
 * what is added at strength 1 [batch,time,out]; SITE.lora.{k}.hidden, x A' [batch,time,r]. SITE is blocks.{i}.attn.q
 * (k, v, qkv, o), blocks.{i}.mlp.gate (up, down), embed, unembed, or else the module's own name.
 *
 * An autoencoder at HOOK: HOOK.hook_sae_acts_pre, HOOK.hook_sae_acts_post [batch,time,d_sae], HOOK.hook_sae_recons,
 * HOOK.hook_sae_error, as SAELens calls them. HOOK is what the autoencoder reads; HOOK.hook_sae_output what the model
 * reads behind it. */
#ifndef SIGHTGLASS_ADAPT_H
#define SIGHTGLASS_ADAPT_H

#include "sightglass/lora.h"
#include "sightglass/model.h"
#include "sightglass/sae.h"

#ifdef __cplusplus
extern "C" {
#endif

/* strength: of rows that are not told another. SG_EFORMAT, SG_EUNSUPPORTED: as sg_lora_open says, or a module that the
 * model does not have, or whose matrix has another shape; the model is as before then. */
sg_status sg_model_add_lora(sg_model *m, const char *dir, double strength, sg_error *err) SG_MUST_CHECK;
int sg_model_n_loras(const sg_model *m);
const sg_lora *sg_model_lora(const sg_model *m, int i);
double sg_model_lora_strength(const sg_model *m, int i);

/* Strength of LoRA i from the next run on, without a new plan: one for all rows (n 1), or of each row. */
sg_status sg_glass_lora(sg_glass *glass, int i, int n, const double *strengths, sg_error *err) SG_MUST_CHECK;

/* Works the LoRAs into the model's weights, at their strengths, and drops them. Weights that are quantised become what
 * is computed in. */
sg_status sg_model_merge(sg_model *m, sg_error *err) SG_MUST_CHECK;

/* Works into block `layer`'s bias what adding z [heads * d_head] to its heads' outputs (attn.hook_z) at every position would add:
 * b_O += W_O z. A llama without such biases gets some, with those of queries, keys and values, as its config has one switch for
 * all. Before the model's first graph; SG_EUNSUPPORTED: the family has none. */
sg_status sg_model_bake_attention(sg_model *m, int layer, const double *z, sg_error *err) SG_MUST_CHECK;

typedef enum sg_sae_use {
    SG_SAE_LOOK,   /* the model does not read it, unless an edit changes one of its values: then as SG_SAE_KEEP */
    SG_SAE_KEEP,   /* x becomes its reconstruction and the error that it makes: the same numbers, bit for bit, until its
                      values are edited; gradients flow by way of the features too */
    SG_SAE_REPLACE /* x becomes its reconstruction */
} sg_sae_use;

/* SG_ENOTFOUND: the model has no such hook; SG_EFORMAT names both widths. */
sg_status sg_model_add_sae(sg_model *m, const char *dir, sg_sae_use use, sg_error *err) SG_MUST_CHECK;
/* One that is borrowed until the model is closed. */
sg_status sg_model_put_sae(sg_model *m, const sg_sae *sae, sg_sae_use use, sg_error *err) SG_MUST_CHECK;
int sg_model_n_saes(const sg_model *m);
const sg_sae *sg_model_sae(const sg_model *m, int i);
sg_sae_use sg_model_sae_use(const sg_model *m, int i);

#ifdef __cplusplus
}
#endif
#endif
