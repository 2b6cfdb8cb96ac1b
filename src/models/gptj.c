/* gptj: layer norm, one for attention and the MLP that stands beside it, neighbours of a head turn. Wang & Komatsuzaki
 * 2021. */
#include <math.h>
#include <string.h>

#include "models/arch.h"

#define BLOCK "transformer.h.%d."

sg_status sg_family_gptj(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err)
{
    sg_arch_defaults(arch);
    arch->family = "gptj";
    arch->layer_norm = true;
    arch->parallel = SG_PARALLEL_ONE_NORM;
    arch->rope_layout = SG_ROPE_INTERLEAVED;
    arch->act = SG_ACT_GELU_TANH;
    const char *const names[SG_N_WEIGHTS] = {[SG_W_EMBED] = "transformer.wte.weight",
                                             [SG_W_NORM1] = BLOCK "ln_1.weight",
                                             [SG_W_NORM1_BIAS] = BLOCK "ln_1.bias",
                                             [SG_W_Q] = BLOCK "attn.q_proj.weight",
                                             [SG_W_K] = BLOCK "attn.k_proj.weight",
                                             [SG_W_V] = BLOCK "attn.v_proj.weight",
                                             [SG_W_O] = BLOCK "attn.out_proj.weight",
                                             [SG_W_UP] = BLOCK "mlp.fc_in.weight",
                                             [SG_W_UP_BIAS] = BLOCK "mlp.fc_in.bias",
                                             [SG_W_DOWN] = BLOCK "mlp.fc_out.weight",
                                             [SG_W_DOWN_BIAS] = BLOCK "mlp.fc_out.bias",
                                             [SG_W_NORM_FINAL] = "transformer.ln_f.weight",
                                             [SG_W_NORM_FINAL_BIAS] = "transformer.ln_f.bias",
                                             [SG_W_UNEMBED] = "lm_head.weight",
                                             [SG_W_UNEMBED_BIAS] = "lm_head.bias"};
    memcpy(arch->names, names, sizeof names);
    SG_TRY(sg_config_int(config, path, "n_embd", 1, 1 << 20, &info->d_model, err));
    SG_TRY(sg_config_int(config, path, "n_layer", 1, SG_MOST_LAYERS, &info->n_layers, err));
    SG_TRY(sg_config_int(config, path, "n_head", 1, 1 << 12, &info->n_heads, err));
    SG_TRY(sg_config_int(config, path, "vocab_size", 1, 1 << 24, &info->n_vocab, err));
    SG_TRY(sg_config_int(config, path, "n_positions", 1, 1 << 26, &info->n_context, err));
    if (info->d_model % info->n_heads)
        return sg_fail(err, SG_EFORMAT, "%s: n_embd %lld is no multiple of n_head %lld", path, (long long)info->d_model,
                       (long long)info->n_heads);
    info->n_kv_heads = info->n_heads;
    info->d_head = info->d_model / info->n_heads;
    arch->query_scale = 1 / sqrt((double)info->d_head);
    SG_TRY(sg_config_int_or(config, path, "n_inner", 4 * info->d_model, 1, 1 << 22, &info->d_mlp, err));
    SG_TRY(sg_config_int_or(config, path, "rotary_dim", info->d_head, 2, 1 << 16, &arch->rotary, err));
    SG_TRY(sg_config_rope(config, path, 10000, arch, info, err));
    SG_TRY(sg_config_real(config, path, "layer_norm_epsilon", 1e-5, &arch->eps, err));
    SG_TRY(sg_config_real(config, path, "initializer_range", 0.02, &arch->deviation, err));
    arch->residual = arch->deviation;
    info->tied = sg_config_bool(config, "tie_word_embeddings", false);
    return sg_config_has(config, "activation_function") ? sg_config_act(config, path, "activation_function", arch, err)
                                                        : SG_OK;
}
