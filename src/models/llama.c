/* llama: RMS norm, rotary positions (halves), grouped key/value heads, gated SiLU. Touvron et al. 2023. */
#include <string.h>

#include "models/arch.h"

#define BLOCK "model.layers.%d."

sg_status sg_family_llama(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    *arch = (sg_arch){
        .family = "llama",
        .gated = true,
        .prefix = "",
        .names = {[SG_W_EMBED] = "model.embed_tokens.weight",
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
                  [SG_W_UNEMBED] = "lm_head.weight"},
        .optional = {[SG_W_Q_BIAS] = true, [SG_W_K_BIAS] = true, [SG_W_V_BIAS] = true, [SG_W_O_BIAS] = true},
    };
    SG_TRY(sg_config_int(config, path, "hidden_size", 1, 1 << 20, &info->d_model, err));
    SG_TRY(sg_config_int(config, path, "num_hidden_layers", 1, 1 << 12, &info->n_layers, err));
    SG_TRY(sg_config_int(config, path, "num_attention_heads", 1, 1 << 12, &info->n_heads, err));
    SG_TRY(sg_config_int(config, path, "intermediate_size", 1, 1 << 22, &info->d_mlp, err));
    SG_TRY(sg_config_int(config, path, "vocab_size", 1, 1 << 24, &info->n_vocab, err));
    SG_TRY(sg_config_int(config, path, "max_position_embeddings", 1, 1 << 26, &info->n_context, err));
    info->n_kv_heads = info->n_heads;
    if (sg_config_has(config, "num_key_value_heads"))
        SG_TRY(sg_config_int(config, path, "num_key_value_heads", 1, info->n_heads, &info->n_kv_heads, err));
    if (info->n_heads % info->n_kv_heads)
        return sg_fail(err, SG_EFORMAT, "%s: num_attention_heads %lld is no multiple of num_key_value_heads %lld", path,
                       (long long)info->n_heads, (long long)info->n_kv_heads);
    if (sg_config_has(config, "head_dim"))
        SG_TRY(sg_config_int(config, path, "head_dim", 1, 1 << 16, &info->d_head, err));
    else if (info->d_model % info->n_heads)
        return sg_fail(err, SG_EFORMAT, "%s: hidden_size %lld is no multiple of num_attention_heads %lld", path,
                       (long long)info->d_model, (long long)info->n_heads);
    else
        info->d_head = info->d_model / info->n_heads;
    if (info->d_head % 2)
        return sg_fail(err, SG_EFORMAT, "%s: heads are %lld wide, rotary positions need an even width", path,
                       (long long)info->d_head);
    if (sg_config_has(config, "rope_scaling"))
        return sg_fail(err, SG_EUNSUPPORTED, "%s: rope_scaling is not something this version can do", path);
    SG_TRY(sg_config_real(config, path, "rms_norm_eps", 1e-6, &arch->eps, err));
    SG_TRY(sg_config_real(config, path, "rope_theta", 10000, &arch->rope_theta, err));
    SG_TRY(sg_config_real(config, path, "initializer_range", 0.02, &arch->deviation, err));
    arch->residual = arch->deviation;
    SG_TRY(sg_config_act(config, path, "hidden_act", arch, err));
    arch->attention_bias = json_is_true(json_object_get(config, "attention_bias"));
    arch->rotary = info->d_head;
    info->tied = json_is_true(json_object_get(config, "tie_word_embeddings"));
    return SG_OK;
}
