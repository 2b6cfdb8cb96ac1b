/* gpt2: layer norm, learned positions, one matrix for q, k and v, GELU in its tanh form, matrices stored [in,out].
 * Radford et al. 2019. */
#include <math.h>
#include <string.h>

#include "models/arch.h"

#define BLOCK "h.%d."

sg_status sg_family_gpt2(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    *arch = (sg_arch){
        .family = "gpt2",
        .layer_norm = true,
        .learned_positions = true,
        .in_out = true,
        .attention_bias = true,
        .act = SG_ACT_GELU_TANH,
        .prefix = "transformer.",
        .names = {[SG_W_EMBED] = "wte.weight",
                  [SG_W_POSITION] = "wpe.weight",
                  [SG_W_NORM1] = BLOCK "ln_1.weight",
                  [SG_W_NORM1_BIAS] = BLOCK "ln_1.bias",
                  [SG_W_QKV] = BLOCK "attn.c_attn.weight",
                  [SG_W_QKV_BIAS] = BLOCK "attn.c_attn.bias",
                  [SG_W_O] = BLOCK "attn.c_proj.weight",
                  [SG_W_O_BIAS] = BLOCK "attn.c_proj.bias",
                  [SG_W_NORM2] = BLOCK "ln_2.weight",
                  [SG_W_NORM2_BIAS] = BLOCK "ln_2.bias",
                  [SG_W_UP] = BLOCK "mlp.c_fc.weight",
                  [SG_W_UP_BIAS] = BLOCK "mlp.c_fc.bias",
                  [SG_W_DOWN] = BLOCK "mlp.c_proj.weight",
                  [SG_W_DOWN_BIAS] = BLOCK "mlp.c_proj.bias",
                  [SG_W_NORM_FINAL] = "ln_f.weight",
                  [SG_W_NORM_FINAL_BIAS] = "ln_f.bias",
                  [SG_W_UNEMBED] = "lm_head.weight"},
        .optional = {[SG_W_QKV_BIAS] = true},
    };
    SG_TRY(sg_config_int(config, path, "n_embd", 1, 1 << 20, &info->d_model, err));
    SG_TRY(sg_config_int(config, path, "n_layer", 1, 1 << 12, &info->n_layers, err));
    SG_TRY(sg_config_int(config, path, "n_head", 1, 1 << 12, &info->n_heads, err));
    SG_TRY(sg_config_int(config, path, "vocab_size", 1, 1 << 24, &info->n_vocab, err));
    SG_TRY(sg_config_int(config, path, sg_config_has(config, "n_positions") ? "n_positions" : "n_ctx", 1, 1 << 26,
                         &info->n_context, err));
    if (info->d_model % info->n_heads)
        return sg_fail(err, SG_EFORMAT, "%s: n_embd %lld is no multiple of n_head %lld", path, (long long)info->d_model,
                       (long long)info->n_heads);
    info->n_kv_heads = info->n_heads;
    info->d_head = info->d_model / info->n_heads;
    info->d_mlp = 4 * info->d_model;
    if (sg_config_has(config, "n_inner"))
        SG_TRY(sg_config_int(config, path, "n_inner", 1, 1 << 22, &info->d_mlp, err));
    SG_TRY(sg_config_real(config, path, "layer_norm_epsilon", 1e-5, &arch->eps, err));
    SG_TRY(sg_config_real(config, path, "initializer_range", 0.02, &arch->deviation, err));
    arch->residual = arch->deviation / sqrt(2.0 * (double)info->n_layers);
    if (sg_config_has(config, "activation_function"))
        SG_TRY(sg_config_act(config, path, "activation_function", arch, err));
    info->tied = !json_is_false(json_object_get(config, "tie_word_embeddings"));
    return SG_OK;
}
