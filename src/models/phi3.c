/* phi3: llama with q, k, v in one matrix and gate and up in another, windows, and angles stretched pair by pair. Abdin
 * et al. 2024. */
#include "models/arch.h"

#define BLOCK "model.layers.%d."

sg_status sg_family_phi3(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    static const sg_weight_role apart[] = {SG_W_Q, SG_W_K, SG_W_V, SG_W_GATE, SG_W_UP};

    SG_TRY(sg_family_like_llama(arch, info, config, path, 0, err));
    arch->family = "phi3";
    arch->names[SG_W_Q_BIAS] = arch->names[SG_W_K_BIAS] = arch->names[SG_W_V_BIAS] = arch->names[SG_W_O_BIAS] = NULL;
    for (size_t i = 0; i < SG_COUNT_OF(apart); i++)
        arch->names[apart[i]] = NULL;
    arch->names[SG_W_QKV] = BLOCK "self_attn.qkv_proj.weight";
    arch->names[SG_W_GATE_UP] = BLOCK "mlp.gate_up_proj.weight";
    SG_TRY(sg_config_real(config, path, "rms_norm_eps", 1e-5, &arch->eps, err));
    SG_TRY(sg_config_window(config, path, 0, arch, info, err));
    return sg_config_act(config, path, "hidden_act", arch, err);
}
