/* gpt2: layer norm, learned positions, one matrix for q, k and v, GELU in its tanh form, matrices stored [in,out].
 * Radford et al. 2019. */
#include <math.h>
#include <string.h>

#include "models/arch.h"

#define BLOCK "h.%d."

sg_status sg_family_gpt2(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    static const char *const names[SG_N_WEIGHTS] = {
                  [SG_W_EMBED] = "wte.weight",
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
                  [SG_W_UNEMBED] = "lm_head.weight"};

    sg_arch_defaults(arch);
    arch->family = "gpt2";
    arch->layer_norm = true;
    arch->learned_positions = true;
    arch->in_out = true;
    arch->attention_bias = true;
    arch->act = SG_ACT_GELU_TANH;
    arch->prefix = "transformer.";
    memcpy(arch->names, names, sizeof names);
    arch->optional[SG_W_QKV_BIAS] = true;
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
    SG_TRY(sg_config_int_or(config, path, "n_inner", 4 * info->d_model, 1, 1 << 22, &info->d_mlp, err));
    SG_TRY(sg_config_real(config, path, "layer_norm_epsilon", 1e-5, &arch->eps, err));
    SG_TRY(sg_config_real(config, path, "initializer_range", 0.02, &arch->deviation, err));
    arch->residual = arch->deviation / sqrt(2.0 * (double)info->n_layers);
    if (sg_config_has(config, "activation_function"))
        SG_TRY(sg_config_act(config, path, "activation_function", arch, err));
    arch->query_scale = sg_config_bool(config, "scale_attn_weights", true) ? 1 / sqrt((double)info->d_head) : 1;
    arch->scale_by_layer = sg_config_bool(config, "scale_attn_by_inverse_layer_idx", false);
    info->tied = sg_config_bool(config, "tie_word_embeddings", true);
    return SG_OK;
}
