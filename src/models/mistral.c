/* mistral: llama with windows in all layers, unless its config says there are none. Jiang et al. 2023. */
#include "models/arch.h"

#define WINDOW 4096 /* where the config says nothing */

sg_status sg_family_mistral(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    SG_TRY(sg_family_like_llama(arch, info, config, path, 0, err));
    arch->family = "mistral";
    arch->names[SG_W_Q_BIAS] = arch->names[SG_W_K_BIAS] = arch->names[SG_W_V_BIAS] = arch->names[SG_W_O_BIAS] = NULL;
    SG_TRY(sg_config_window(config, path, WINDOW, arch, info, err));
    return sg_config_act(config, path, "hidden_act", arch, err);
}
