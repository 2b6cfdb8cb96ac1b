/* vit: patches of an image behind a class token, pre-norm; deit: a second token, taught by another network. Dosovitskiy
 * et al. 2020, Touvron et al. 2020. */
#include <string.h>

#include "models/encoder.h"

#define BLOCK "encoder.layer.%d."

static sg_status fill(sg_encoder *e, const json_t *config, const char *path, const char *prefix, bool distilled,
                      sg_error *err)
{
    static const char *const unused[] = {"embeddings.mask_token", NULL}; /* for training on hidden patches */
    static const sg_size_keys keys = {.width = "hidden_size",
                                      .layers = "num_hidden_layers",
                                      .heads = "num_attention_heads",
                                      .hidden = "intermediate_size",
                                      .act = "hidden_act",
                                      .fallback_act = SG_ACT_GELU};
    sg_tower *t = &e->towers[0];

    *t = (sg_tower){
        .prefix = prefix,
        .scope = "",
        .image = true,
        .pool = SG_POOL_DENSE,
        .labels_of = SG_LABELS_OF_FIRST,
        .n_first = distilled ? 2 : 1,
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
                  [SG_P_NORM1] = {BLOCK "layernorm_before.weight", "D"},
                  [SG_P_NORM1_BIAS] = {BLOCK "layernorm_before.bias", "D"},
                  [SG_P_UP] = {BLOCK "intermediate.dense.weight", "FD"},
                  [SG_P_UP_BIAS] = {BLOCK "intermediate.dense.bias", "F"},
                  [SG_P_DOWN] = {BLOCK "output.dense.weight", "DF"},
                  [SG_P_DOWN_BIAS] = {BLOCK "output.dense.bias", "D"},
                  [SG_P_NORM2] = {BLOCK "layernorm_after.weight", "D"},
                  [SG_P_NORM2_BIAS] = {BLOCK "layernorm_after.bias", "D"},
                  [SG_P_NORM_FINAL] = {"layernorm.weight", "D"},
                  [SG_P_NORM_FINAL_BIAS] = {"layernorm.bias", "D"},
                  [SG_P_POOL] = {"pooler.dense.weight", "?DD"},
                  [SG_P_POOL_BIAS] = {"pooler.dense.bias", "?D"}},
    };
    if (distilled)
        t->slots[SG_P_DISTILLATION] = (sg_slot){"embeddings.distillation_token", "11D"};
    e->n_towers = 1;
    e->unused = unused;
    const char *act = json_string_value(json_object_get(config, "pooler_act"));
    if (act && strcmp(act, "tanh") != 0)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: pooler_act is \"%.40s\", this version knows tanh", path, act);
    SG_TRY(sg_tower_sizes(t, config, path, &keys, err));
    SG_TRY(sg_tower_image(t, config, path, 16, err));
    return sg_config_real(config, path, "layer_norm_eps", 1e-12, &t->eps, err);
}

sg_status sg_encoder_vit(sg_encoder *e, const json_t *config, const char *architecture, const char *path, sg_error *err)
{
    (void)architecture;
    SG_TRY(fill(e, config, path, "vit.", false, err));
    sg_tower_linear(&e->towers[0], SG_P_LABELS, "classifier.weight", "classifier.bias", "?LD");
    return SG_OK;
}

sg_status sg_encoder_deit(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                          sg_error *err)
{
    const bool taught = strstr(architecture, "WithTeacher") != NULL;
    sg_tower *t = &e->towers[0];

    SG_TRY(fill(e, config, path, "deit.", true, err));
    sg_tower_linear(t, SG_P_LABELS, taught ? "cls_classifier.weight" : "classifier.weight",
                    taught ? "cls_classifier.bias" : "classifier.bias", "?LD");
    if (taught)
        sg_tower_linear(t, SG_P_LABELS2, "distillation_classifier.weight", "distillation_classifier.bias", "LD");
    return SG_OK;
}
