/* dinov2: vit with layer scale, a gated MLP in its largest, register tokens in its second edition; images of other
 * sizes than it was trained on. Oquab et al. 2023, Darcet et al. 2023. */
#include "models/encoder.h"

#define BLOCK "encoder.layer.%d."

static sg_status fill(sg_encoder *e, const json_t *config, const char *path, const char *prefix, sg_error *err)
{
    static const char *const unused[] = {"embeddings.mask_token", NULL};
    static const sg_size_keys keys = {.width = "hidden_size",
                                      .layers = "num_hidden_layers",
                                      .heads = "num_attention_heads",
                                      .act = "hidden_act",
                                      .fallback_act = SG_ACT_GELU};
    sg_tower *t = &e->towers[0];
    double ratio;

    *t = (sg_tower){
        .prefix = prefix,
        .scope = "",
        .image = true,
        .pool = SG_POOL_FIRST,
        .labels_of = SG_LABELS_OF_MEAN,
        .n_first = 1,
        .gated = json_is_true(json_object_get(config, "use_swiglu_ffn")),
        .slots = {[SG_P_CLASS] = {"embeddings.cls_token", "11D"},
                  [SG_P_POSITION] = {"embeddings.position_embeddings", "1TD"},
                  [SG_P_PATCH] = {"embeddings.patch_embeddings.projection.weight", "DCPP"},
                  [SG_P_PATCH_BIAS] = {"embeddings.patch_embeddings.projection.bias", "D"},
                  [SG_P_Q] = {BLOCK "attention.attention.query.weight", "DD"},
                  [SG_P_Q_BIAS] = {BLOCK "attention.attention.query.bias", "?D"},
                  [SG_P_K] = {BLOCK "attention.attention.key.weight", "DD"},
                  [SG_P_K_BIAS] = {BLOCK "attention.attention.key.bias", "?D"},
                  [SG_P_V] = {BLOCK "attention.attention.value.weight", "DD"},
                  [SG_P_V_BIAS] = {BLOCK "attention.attention.value.bias", "?D"},
                  [SG_P_O] = {BLOCK "attention.output.dense.weight", "DD"},
                  [SG_P_O_BIAS] = {BLOCK "attention.output.dense.bias", "D"},
                  [SG_P_SCALE1] = {BLOCK "layer_scale1.lambda1", "D"},
                  [SG_P_NORM1] = {BLOCK "norm1.weight", "D"},
                  [SG_P_NORM1_BIAS] = {BLOCK "norm1.bias", "D"},
                  [SG_P_NORM2] = {BLOCK "norm2.weight", "D"},
                  [SG_P_NORM2_BIAS] = {BLOCK "norm2.bias", "D"},
                  [SG_P_SCALE2] = {BLOCK "layer_scale2.lambda1", "D"},
                  [SG_P_NORM_FINAL] = {"layernorm.weight", "D"},
                  [SG_P_NORM_FINAL_BIAS] = {"layernorm.bias", "D"}},
    };
    sg_tower_linear(t, SG_P_UP, t->gated ? BLOCK "mlp.weights_in.weight" : BLOCK "mlp.fc1.weight",
                    t->gated ? BLOCK "mlp.weights_in.bias" : BLOCK "mlp.fc1.bias", t->gated ? "GD" : "FD");
    sg_tower_linear(t, SG_P_DOWN, t->gated ? BLOCK "mlp.weights_out.weight" : BLOCK "mlp.fc2.weight",
                    t->gated ? BLOCK "mlp.weights_out.bias" : BLOCK "mlp.fc2.bias", "DF");
    sg_tower_linear(t, SG_P_LABELS, "classifier.weight", "classifier.bias", "?LE");
    e->n_towers = 1;
    e->unused = unused;
    SG_TRY(sg_tower_sizes(t, config, path, &keys, err));
    SG_TRY(sg_tower_image(t, config, path, 16, err));
    SG_TRY(sg_config_real(config, path, "mlp_ratio", 4, &ratio, err));
    if (ratio > 1024 || ratio * (double)t->d_model < 1)
        return sg_fail(err, SG_EFORMAT, "%s: mlp_ratio is %g", path, ratio);
    t->d_mlp = (sg_dim)((double)t->d_model * ratio);
    if (t->gated) { /* two thirds, to a multiple of eight: as many numbers as without the gate */
        t->d_mlp = (t->d_mlp * 2 / 3 + 7) / 8 * 8;
        t->act = SG_ACT_SILU;
    }
    return sg_config_real(config, path, "layer_norm_eps", 1e-6, &t->eps, err);
}

sg_status sg_encoder_dinov2(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                            sg_error *err)
{
    (void)architecture;
    return fill(e, config, path, "dinov2.", err);
}

sg_status sg_encoder_dinov2_with_registers(sg_encoder *e, const json_t *config, const char *architecture,
                                           const char *path, sg_error *err)
{
    sg_tower *t = &e->towers[0];

    (void)architecture;
    SG_TRY(fill(e, config, path, "dinov2_with_registers.", err));
    SG_TRY(sg_config_int_or(config, path, "num_register_tokens", 4, 0, 1 << 10, &t->n_registers, err));
    if (t->n_registers)
        t->slots[SG_P_REGISTERS] = (sg_slot){"embeddings.register_tokens", "1RD"};
    t->antialias = true;
    return SG_OK;
}
