/* olmo: llama with layer norms that have no weights; queries, keys and values may be clipped. Groeneveld et al. 2024.
 */
#include <math.h>

#include "models/arch.h"

sg_status sg_family_olmo(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    SG_TRY(sg_family_like_llama(arch, info, config, path, 0, err));
    arch->family = "olmo";
    arch->layer_norm = true;
    arch->eps = 1e-5; /* not in the config */
    arch->names[SG_W_NORM1] = arch->names[SG_W_NORM2] = arch->names[SG_W_NORM_FINAL] = NULL;
    if (!sg_config_bool(config, "attention_bias", false))
        arch->names[SG_W_Q_BIAS] = arch->names[SG_W_K_BIAS] = arch->names[SG_W_V_BIAS] = arch->names[SG_W_O_BIAS] =
            NULL;
    SG_TRY(sg_config_real(config, path, "clip_qkv", (double)INFINITY, &arch->qkv_cap, err));
    return sg_config_act(config, path, "hidden_act", arch, err);
}
