/* qwen3: llama whose queries and keys are normed head by head. Yang et al. 2025. */
#include "models/arch.h"

#define ATTENTION "model.layers.%d.self_attn."

sg_status sg_family_qwen3(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    SG_TRY(sg_family_like_llama(arch, info, config, path, 128, err));
    arch->family = "qwen3";
    arch->qk_norm = SG_QK_NORM_HEAD;
    arch->names[SG_W_Q_NORM] = ATTENTION "q_norm.weight";
    arch->names[SG_W_K_NORM] = ATTENTION "k_norm.weight";
    if (!sg_config_bool(config, "attention_bias", false))
        arch->names[SG_W_Q_BIAS] = arch->names[SG_W_K_BIAS] = arch->names[SG_W_V_BIAS] = arch->names[SG_W_O_BIAS] =
            NULL;
    SG_TRY(sg_config_qwen_window(config, path, arch, info, err));
    return sg_config_act(config, path, "hidden_act", arch, err);
}
