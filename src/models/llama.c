/* llama: RMS norm, rotary positions (halves), grouped key/value heads, gated SiLU. Touvron et al. 2023. */
#include <math.h>
#include <string.h>

#include "models/arch.h"

#define BLOCK "model.layers.%d."

static const char *const names[SG_N_WEIGHTS] = {[SG_W_EMBED] = "model.embed_tokens.weight",
                                                [SG_W_NORM1] = BLOCK "input_layernorm.weight",
                                                [SG_W_Q] = BLOCK "self_attn.q_proj.weight",
                                                [SG_W_Q_BIAS] = BLOCK "self_attn.q_proj.bias",
                                                [SG_W_K] = BLOCK "self_attn.k_proj.weight",
                                                [SG_W_K_BIAS] = BLOCK "self_attn.k_proj.bias",
                                                [SG_W_V] = BLOCK "self_attn.v_proj.weight",
                                                [SG_W_V_BIAS] = BLOCK "self_attn.v_proj.bias",
                                                [SG_W_O] = BLOCK "self_attn.o_proj.weight",
                                                [SG_W_O_BIAS] = BLOCK "self_attn.o_proj.bias",
                                                [SG_W_NORM2] = BLOCK "post_attention_layernorm.weight",
                                                [SG_W_GATE] = BLOCK "mlp.gate_proj.weight",
                                                [SG_W_UP] = BLOCK "mlp.up_proj.weight",
                                                [SG_W_DOWN] = BLOCK "mlp.down_proj.weight",
                                                [SG_W_NORM_FINAL] = "model.norm.weight",
                                                [SG_W_UNEMBED] = "lm_head.weight"};

static sg_status sizes(sg_model_info *info, const json_t *config, const char *path, sg_dim head, sg_error *err)
{
    SG_TRY(sg_config_int(config, path, "hidden_size", 1, 1 << 20, &info->d_model, err));
    SG_TRY(sg_config_int(config, path, "num_hidden_layers", 1, SG_MOST_LAYERS, &info->n_layers, err));
    SG_TRY(sg_config_int(config, path, "num_attention_heads", 1, 1 << 12, &info->n_heads, err));
    SG_TRY(sg_config_int(config, path, "intermediate_size", 1, 1 << 22, &info->d_mlp, err));
    SG_TRY(sg_config_int(config, path, "vocab_size", 1, 1 << 24, &info->n_vocab, err));
    SG_TRY(sg_config_int(config, path, "max_position_embeddings", 1, 1 << 26, &info->n_context, err));
    SG_TRY(
        sg_config_int_or(config, path, "num_key_value_heads", info->n_heads, 1, info->n_heads, &info->n_kv_heads, err));
    if (info->n_heads % info->n_kv_heads)
        return sg_fail(err, SG_EFORMAT, "%s: num_attention_heads %lld is no multiple of num_key_value_heads %lld", path,
                       (long long)info->n_heads, (long long)info->n_kv_heads);
    SG_TRY(sg_config_int_or(config, path, "head_dim", head, 1, 1 << 16, &info->d_head, err));
    if (!info->d_head && info->d_model % info->n_heads)
        return sg_fail(err, SG_EFORMAT, "%s: hidden_size %lld is no multiple of num_attention_heads %lld", path,
                       (long long)info->d_model, (long long)info->n_heads);
    if (!info->d_head)
        info->d_head = info->d_model / info->n_heads;
    return SG_OK;
}

sg_status sg_family_like_llama(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_dim head,
                               sg_error *err)
{
    sg_arch_defaults(arch);
    arch->gated = true;
    memcpy(arch->names, names, sizeof names);
    SG_TRY(sizes(info, config, path, head, err));
    SG_TRY(sg_config_real(config, path, "rms_norm_eps", 1e-6, &arch->eps, err));
    SG_TRY(sg_config_real(config, path, "initializer_range", 0.02, &arch->deviation, err));
    arch->residual = arch->deviation;
    arch->query_scale = 1 / sqrt((double)info->d_head);
    SG_TRY(sg_config_rotary(config, path, "partial_rotary_factor", 1, arch, info, err));
    SG_TRY(sg_config_rope(config, path, 10000, arch, info, err));
    info->tied = sg_config_bool(config, "tie_word_embeddings", false);
    return SG_OK;
}

sg_status sg_family_llama(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    static const sg_weight_role biases[] = {SG_W_Q_BIAS, SG_W_K_BIAS, SG_W_V_BIAS, SG_W_O_BIAS};

    SG_TRY(sg_family_like_llama(arch, info, config, path, 0, err));
    arch->family = "llama";
    arch->attention_bias = sg_config_bool(config, "attention_bias", false);
    for (size_t i = 0; i < SG_COUNT_OF(biases); i++)
        arch->optional[biases[i]] = true;
    if (sg_config_bool(config, "mlp_bias", false)) {
        arch->names[SG_W_GATE_BIAS] = BLOCK "mlp.gate_proj.bias";
        arch->names[SG_W_UP_BIAS] = BLOCK "mlp.up_proj.bias";
        arch->names[SG_W_DOWN_BIAS] = BLOCK "mlp.down_proj.bias";
    }
    return sg_config_act(config, path, "hidden_act", arch, err);
}
