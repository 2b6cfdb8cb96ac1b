/* olmo2: llama with norms behind attention and MLP, and of queries and keys over all heads. OLMo team 2025. */
#include "models/arch.h"

#define BLOCK "model.layers.%d."

sg_status sg_family_olmo2(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    SG_TRY(sg_family_like_llama(arch, info, config, path, 0, err));
    arch->family = "olmo2";
    arch->norms = SG_NORM_OUTPUT;
    arch->qk_norm = SG_QK_NORM_ALL;
    arch->names[SG_W_NORM1] = arch->names[SG_W_NORM2] = NULL;
    arch->names[SG_W_NORM1_POST] = BLOCK "post_attention_layernorm.weight";
    arch->names[SG_W_NORM2_POST] = BLOCK "post_feedforward_layernorm.weight";
    arch->names[SG_W_Q_NORM] = BLOCK "self_attn.q_norm.weight";
    arch->names[SG_W_K_NORM] = BLOCK "self_attn.k_norm.weight";
    if (!sg_config_bool(config, "attention_bias", false))
        arch->names[SG_W_Q_BIAS] = arch->names[SG_W_K_BIAS] = arch->names[SG_W_V_BIAS] = arch->names[SG_W_O_BIAS] =
            NULL;
    return sg_config_act(config, path, "hidden_act", arch, err);
}
