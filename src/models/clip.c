/* clip: a text tower that looks back only and an image tower, pre-norm, whose results meet in one space. Radford et al.
 * 2021. */
#include <string.h>

#include "models/encoder.h"

#define BLOCK "encoder.layers.%d."

static const char *const unused[] = {"embeddings.position_ids", NULL};
/* What equals these is left out of the nested configs that are written today. */
#define KEYS(...)                                                                                                      \
    {                                                                                                                  \
        .width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",                         \
        .hidden = "intermediate_size", .act = "hidden_act", .fallback = {__VA_ARGS__},                                 \
        .fallback_act = SG_ACT_GELU_QUICK                                                                              \
    }
static const sg_size_keys text_keys = KEYS(512, 12, 8, 2048), vision_keys = KEYS(768, 12, 12, 3072);

static void blocks(sg_tower *t)
{
    sg_tower_linear(t, SG_P_Q, BLOCK "self_attn.q_proj.weight", BLOCK "self_attn.q_proj.bias", "DD");
    sg_tower_linear(t, SG_P_K, BLOCK "self_attn.k_proj.weight", BLOCK "self_attn.k_proj.bias", "DD");
    sg_tower_linear(t, SG_P_V, BLOCK "self_attn.v_proj.weight", BLOCK "self_attn.v_proj.bias", "DD");
    sg_tower_linear(t, SG_P_O, BLOCK "self_attn.out_proj.weight", BLOCK "self_attn.out_proj.bias", "DD");
    sg_tower_linear(t, SG_P_NORM1, BLOCK "layer_norm1.weight", BLOCK "layer_norm1.bias", "D");
    sg_tower_linear(t, SG_P_UP, BLOCK "mlp.fc1.weight", BLOCK "mlp.fc1.bias", "FD");
    sg_tower_linear(t, SG_P_DOWN, BLOCK "mlp.fc2.weight", BLOCK "mlp.fc2.bias", "DF");
    sg_tower_linear(t, SG_P_NORM2, BLOCK "layer_norm2.weight", BLOCK "layer_norm2.bias", "D");
}

static sg_status text(sg_tower *t, const char *scope, const json_t *config, const char *path, sg_error *err)
{
    sg_dim end;

    *t = (sg_tower){
        .prefix = "text_model.",
        .scope = scope,
        .causal = true,
        .pool = SG_POOL_END,
        .slots = {[SG_P_TOKEN] = {"embeddings.token_embedding.weight", "VD"},
                  [SG_P_POSITION] = {"embeddings.position_embedding.weight", "TD"},
                  [SG_P_NORM_FINAL] = {"final_layer_norm.weight", "D"},
                  [SG_P_NORM_FINAL_BIAS] = {"final_layer_norm.bias", "D"}},
    };
    blocks(t);
    SG_TRY(sg_tower_sizes(t, config, path, &text_keys, err));
    SG_TRY(sg_config_int_or(config, path, "vocab_size", 49408, 1, 1 << 24, &t->n_vocab, err));
    SG_TRY(sg_config_int_or(config, path, "max_position_embeddings", 77, 1, 1 << 26, &t->n_places, err));
    SG_TRY(sg_config_int_or(config, path, "projection_dim", 512, 1, 1 << 20, &t->d_projection, err));
    SG_TRY(sg_config_int_or(config, path, "eos_token_id", 49407, 0, 1 << 24, &end, err));
    /* The first configs all say 2, whatever the vocabulary: a text then ends at its largest id, which is the last one.
     */
    t->end = end == 2 ? -1 : (int32_t)end;
    return sg_config_real(config, path, "layer_norm_eps", 1e-5, &t->eps, err);
}

static sg_status vision(sg_tower *t, const char *scope, const json_t *config, const char *path, sg_error *err)
{
    *t = (sg_tower){
        .prefix = "vision_model.",
        .scope = scope,
        .image = true,
        .pool = SG_POOL_NORM_FIRST,
        .n_first = 1,
        .slots = {[SG_P_CLASS] = {"embeddings.class_embedding", "D"},
                  [SG_P_POSITION] = {"embeddings.position_embedding.weight", "TD"},
                  [SG_P_PATCH] = {"embeddings.patch_embedding.weight", "DCPP"},
                  [SG_P_NORM_INPUT] = {"pre_layrnorm.weight", "D"}, /* so it is written */
                  [SG_P_NORM_INPUT_BIAS] = {"pre_layrnorm.bias", "D"},
                  [SG_P_NORM_FINAL] = {"post_layernorm.weight", "D"},
                  [SG_P_NORM_FINAL_BIAS] = {"post_layernorm.bias", "D"}},
    };
    blocks(t);
    SG_TRY(sg_tower_sizes(t, config, path, &vision_keys, err));
    SG_TRY(sg_tower_image(t, config, path, 32, err));
    SG_TRY(sg_config_int_or(config, path, "projection_dim", 512, 1, 1 << 20, &t->d_projection, err));
    return sg_config_real(config, path, "layer_norm_eps", 1e-5, &t->eps, err);
}

sg_status sg_encoder_clip_text(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                               sg_error *err)
{
    (void)architecture;
    e->n_towers = 1;
    e->unused = unused;
    SG_TRY(text(&e->towers[0], "", config, path, err));
    e->towers[0].slots[SG_P_PROJECTION] = (sg_slot){"text_projection.weight", "?JD"};
    return SG_OK;
}

sg_status sg_encoder_clip_vision(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                                 sg_error *err)
{
    (void)architecture;
    e->n_towers = 1;
    e->unused = unused;
    SG_TRY(vision(&e->towers[0], "", config, path, err));
    e->towers[0].slots[SG_P_PROJECTION] = (sg_slot){"visual_projection.weight", "?JD"};
    return SG_OK;
}

sg_status sg_encoder_clip(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                          sg_error *err)
{
    const json_t *of_text = json_object_get(config, "text_config"),
                 *of_vision = json_object_get(config, "vision_config");
    sg_dim meet;

    if (strcmp(architecture, "CLIPModel") != 0 && strcmp(architecture, "clip") != 0)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: architectures is \"%.60s\"; of clip this version knows CLIPModel, and its towers alone",
                       path, architecture);
    if (!json_is_object(of_text) || !json_is_object(of_vision))
        return sg_fail(err, SG_EFORMAT, "%s: %s is missing", path,
                       json_is_object(of_text) ? "vision_config" : "text_config");
    e->n_towers = 2;
    e->unused = unused;
    SG_TRY(text(&e->towers[0], "text.", of_text, path, err));
    SG_TRY(vision(&e->towers[1], "vision.", of_vision, path, err));
    SG_TRY(sg_config_int_or(config, path, "projection_dim", 512, 1, 1 << 20, &meet, err));
    e->towers[0].d_projection = e->towers[1].d_projection = meet;
    e->towers[0].slots[SG_P_PROJECTION] = (sg_slot){"text_projection.weight", "JD"};
    e->towers[1].slots[SG_P_PROJECTION] = (sg_slot){"visual_projection.weight", "JD"};
    e->towers[1].slots[SG_P_LOGIT_SCALE] = (sg_slot){"logit_scale", ""};
    return SG_OK;
}
