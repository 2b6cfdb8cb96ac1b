/* gemma2: gemma with norms on both sides, every other layer windowed, caps on scores and logits. Gemma team 2024. */
#include <math.h>

#include "models/arch.h"

#define BLOCK "model.layers.%d."

/* A cap that may be null, which is none. */
static sg_status read_cap(const json_t *config, const char *path, const char *key, double fallback, double *cap,
                          sg_error *err)
{
    const json_t *v = json_object_get(config, key);

    return sg_config_real(config, path, key, v ? (double)INFINITY : fallback, cap, err);
}

sg_status sg_family_gemma2(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    double scalar;
    bool listed;

    SG_TRY(sg_config_gemma(arch, info, config, path, err));
    arch->family = "gemma2";
    arch->norms = SG_NORM_SANDWICH;
    arch->names[SG_W_NORM1_POST] = BLOCK "post_attention_layernorm.weight";
    arch->names[SG_W_NORM2] = BLOCK "pre_feedforward_layernorm.weight";
    arch->names[SG_W_NORM2_POST] = BLOCK "post_feedforward_layernorm.weight";
    SG_TRY(sg_config_real(config, path, "query_pre_attn_scalar", 256, &scalar, err));
    arch->query_scale = 1 / sqrt(scalar);
    SG_TRY(read_cap(config, path, "attn_logit_softcapping", 50, &arch->attention_cap, err));
    SG_TRY(read_cap(config, path, "final_logit_softcapping", 30, &arch->logit_cap, err));
    SG_TRY(sg_config_window(config, path, 4096, arch, info, err));
    for (int i = 0; i < (int)info->n_layers; i++)
        sg_arch_set_window(arch, i, i % 2 == 0);
    return sg_config_layers(config, path, info->n_layers, arch, &listed, err);
}
