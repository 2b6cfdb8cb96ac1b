/* qwen2 and qwen2.5: llama with biases of q, k and v; windows, where they are used, from a layer on. Yang et al. 2024.
 */
#include "models/arch.h"

/* In this and the next generation: use_sliding_window, and which layers. */
sg_status sg_config_qwen_window(const json_t *config, const char *path, sg_arch *arch, const sg_model_info *info,
                                sg_error *err)
{
    bool listed;
    sg_dim first;

    SG_TRY(sg_config_window(config, path, 4096, arch, info, err));
    SG_TRY(sg_config_int_or(config, path, "max_window_layers", 28, 0, INT32_MAX, &first, err));
    for (int i = 0; i < (int)info->n_layers; i++)
        sg_arch_set_window(arch, i, i >= first);
    SG_TRY(sg_config_layers(config, path, info->n_layers, arch, &listed, err));
    if (!sg_config_bool(config, "use_sliding_window", false))
        arch->window = 0;
    return SG_OK;
}

sg_status sg_family_qwen2(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    SG_TRY(sg_family_like_llama(arch, info, config, path, 0, err));
    arch->family = "qwen2";
    arch->names[SG_W_O_BIAS] = NULL;
    SG_TRY(sg_config_qwen_window(config, path, arch, info, err));
    return sg_config_act(config, path, "hidden_act", arch, err);
}
