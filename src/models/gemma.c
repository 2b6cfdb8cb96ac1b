/* gemma: llama whose gains are 1 + the weight, with scaled embeddings and GELU in its tanh form. Gemma team 2024. */
#include <math.h>

#include "models/arch.h"

sg_status sg_config_gemma(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    SG_TRY(sg_family_like_llama(arch, info, config, path, 256, err));
    arch->norm_offset = 1;
    arch->embed_scale = sqrt((double)info->d_model);
    arch->names[SG_W_Q_BIAS] = arch->names[SG_W_K_BIAS] = arch->names[SG_W_V_BIAS] = arch->names[SG_W_O_BIAS] = NULL;
    info->tied = sg_config_bool(config, "tie_word_embeddings", true);
    /* The first configs of gemma say gelu under hidden_act and mean the tanh form, which the models were trained with.
     */
    (void)sg_config_has(config, "hidden_act");
    arch->act = SG_ACT_GELU_TANH;
    return sg_config_has(config, "hidden_activation") ? sg_config_act(config, path, "hidden_activation", arch, err)
                                                      : SG_OK;
}

sg_status sg_family_gemma(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    SG_TRY(sg_config_gemma(arch, info, config, path, err));
    arch->family = "gemma";
    return SG_OK;
}
