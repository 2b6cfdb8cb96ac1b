/* gpt_neox (Pythia): layer norm, blocks whose MLP stands beside attention, a part of each head turns. Black et al.
 * 2022. */
#include <math.h>
#include <string.h>

#include "models/arch.h"

#define BLOCK "gpt_neox.layers.%d."

sg_status sg_family_gpt_neox(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    sg_arch_defaults(arch);
    arch->family = "gpt_neox";
    arch->layer_norm = true;
    arch->qkv = SG_QKV_HEADS;
    const char *const names[SG_N_WEIGHTS] = {[SG_W_EMBED] = "gpt_neox.embed_in.weight",
                                             [SG_W_NORM1] = BLOCK "input_layernorm.weight",
                                             [SG_W_NORM1_BIAS] = BLOCK "input_layernorm.bias",
                                             [SG_W_QKV] = BLOCK "attention.query_key_value.weight",
                                             [SG_W_QKV_BIAS] = BLOCK "attention.query_key_value.bias",
                                             [SG_W_O] = BLOCK "attention.dense.weight",
                                             [SG_W_O_BIAS] = BLOCK "attention.dense.bias",
                                             [SG_W_NORM2] = BLOCK "post_attention_layernorm.weight",
                                             [SG_W_NORM2_BIAS] = BLOCK "post_attention_layernorm.bias",
                                             [SG_W_UP] = BLOCK "mlp.dense_h_to_4h.weight",
                                             [SG_W_UP_BIAS] = BLOCK "mlp.dense_h_to_4h.bias",
                                             [SG_W_DOWN] = BLOCK "mlp.dense_4h_to_h.weight",
                                             [SG_W_DOWN_BIAS] = BLOCK "mlp.dense_4h_to_h.bias",
                                             [SG_W_NORM_FINAL] = "gpt_neox.final_layer_norm.weight",
                                             [SG_W_NORM_FINAL_BIAS] = "gpt_neox.final_layer_norm.bias",
                                             [SG_W_UNEMBED] = "embed_out.weight"};
    memcpy(arch->names, names, sizeof names);
    if (!sg_config_bool(config, "attention_bias", true))
        arch->names[SG_W_QKV_BIAS] = arch->names[SG_W_O_BIAS] = NULL;
    SG_TRY(sg_config_int(config, path, "hidden_size", 1, 1 << 20, &info->d_model, err));
    SG_TRY(sg_config_int(config, path, "num_hidden_layers", 1, SG_MOST_LAYERS, &info->n_layers, err));
    SG_TRY(sg_config_int(config, path, "num_attention_heads", 1, 1 << 12, &info->n_heads, err));
    SG_TRY(sg_config_int(config, path, "intermediate_size", 1, 1 << 22, &info->d_mlp, err));
    SG_TRY(sg_config_int(config, path, "vocab_size", 1, 1 << 24, &info->n_vocab, err));
    SG_TRY(sg_config_int(config, path, "max_position_embeddings", 1, 1 << 26, &info->n_context, err));
    if (info->d_model % info->n_heads)
        return sg_fail(err, SG_EFORMAT, "%s: hidden_size %lld is no multiple of num_attention_heads %lld", path,
                       (long long)info->d_model, (long long)info->n_heads);
    info->n_kv_heads = info->n_heads;
    info->d_head = info->d_model / info->n_heads;
    arch->query_scale = 1 / sqrt((double)info->d_head);
    arch->parallel = sg_config_bool(config, "use_parallel_residual", true) ? SG_PARALLEL_TWO_NORMS : SG_SERIAL;
    SG_TRY(sg_config_real(config, path, "layer_norm_eps", 1e-5, &arch->eps, err));
    SG_TRY(sg_config_real(config, path, "initializer_range", 0.02, &arch->deviation, err));
    arch->residual = arch->deviation;
    double theta;
    SG_TRY(sg_config_real(config, path, "rotary_emb_base", 10000, &theta, err));
    SG_TRY(sg_config_rotary(config, path, "rotary_pct", 0.25, arch, info, err));
    SG_TRY(sg_config_rope(config, path, theta, arch, info, err));
    info->tied = sg_config_bool(config, "tie_word_embeddings", false);
    return sg_config_act(config, path, "hidden_act", arch, err);
}
