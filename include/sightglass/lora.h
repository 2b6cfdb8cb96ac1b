/* Low-rank adapters (LoRA; Hu et al. 2021) as PEFT saves them: adapter_config.json beside adapter_model.safetensors.
 *
 *     sg_lora *l;
 *     SG_TRY(sg_lora_open(&l, "my-adapter", err));
 *     for (int i = 0; i < sg_lora_count(l); i++)
 *         puts(sg_lora_at(l, i)->module); // model.layers.0.self_attn.q_proj
 *     sg_lora_close(l);
 *
 * Each part changes one matrix of a model: y = x W' becomes y = x W' + s (x A') B', s = alpha / r, or alpha / sqrt(r)
 * where the configuration says use_rslora (Kalajdzievski 2023). adapt.h puts one into a model. */
#ifndef SIGHTGLASS_LORA_H
#define SIGHTGLASS_LORA_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_lora sg_lora;

typedef struct sg_lora_part {
    const char *module; /* as the base names it, without ".weight" */
    bool embedding;     /* rows of a' are looked up instead of multiplied: a [r,V], b [D,r] */
    sg_tensor a, b;     /* [r,in], [out,r], as stored */
    sg_tensor b_bias;   /* [out], added behind B (lora_bias); data NULL: none */
    double scale;       /* s */
} sg_lora_part;

/* A bias of the base that was trained along, which takes the place of the base's (bias: all, or lora_only). */
typedef struct sg_lora_bias {
    const char *name; /* as the base names it: "transformer.h.0.attn.c_attn.bias" */
    sg_tensor tensor;
} sg_lora_bias;

/* A folder. What would change the numbers and cannot be done is SG_EUNSUPPORTED by its name: DoRA (use_dora), whole
 * modules (modules_to_save), peft_type other than LORA, and the like. SG_EFORMAT names the tensor or the key that does
 * not fit, with both shapes. */
sg_status sg_lora_open(sg_lora **out, const char *dir, sg_error *err) SG_MUST_CHECK;
/* The same from the bytes of the two files, which the caller keeps until close; `name` stands in errors for the folder.
 */
sg_status sg_lora_parse(sg_lora **out, const char *config, size_t n_config, const void *weights, size_t n_weights,
                        const char *name, sg_error *err) SG_MUST_CHECK;
void sg_lora_close(sg_lora *l); /* NULL is fine */

/* Borrowed until close. */
const char *sg_lora_path(const sg_lora *l);
const char *sg_lora_base(const sg_lora *l); /* base_model_name_or_path; NULL: not said */
sg_dim sg_lora_rank(const sg_lora *l);      /* the largest of its parts' */
size_t sg_lora_bytes(const sg_lora *l);     /* of its tensors, as stored */
int sg_lora_count(const sg_lora *l);
const sg_lora_part *sg_lora_at(const sg_lora *l, int i);
int sg_lora_n_biases(const sg_lora *l);
const sg_lora_bias *sg_lora_bias_at(const sg_lora *l, int i);

#ifdef __cplusplus
}
#endif
#endif
