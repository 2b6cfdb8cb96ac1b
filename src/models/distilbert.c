/* distilbert: bert in half its layers, without token types and pooling matrix. Sanh et al. 2019. */
#include <string.h>

#include "models/encoder.h"

#define BLOCK "transformer.layer.%d."

sg_status sg_encoder_distilbert(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                                sg_error *err)
{
    static const char *const unused[] = {"position_ids", NULL};
    static const sg_size_keys keys = {.width = "dim",
                                      .layers = "n_layers",
                                      .heads = "n_heads",
                                      .hidden = "hidden_dim",
                                      .act = "activation",
                                      .fallback_act = SG_ACT_GELU};
    const bool asks = strstr(architecture, "QuestionAnswering") != NULL;
    sg_tower *t = &e->towers[0];

    *t = (sg_tower){
        .prefix = "distilbert.",
        .scope = "",
        .post_norm = true,
        .pool = SG_POOL_DENSE,
        .labels_of = asks || strstr(architecture, "TokenClassification") ? SG_LABELS_OF_EACH : SG_LABELS_OF_FIRST,
        .eps = 1e-12,
        .slots = {[SG_P_TOKEN] = {"embeddings.word_embeddings.weight", "VD"},
                  [SG_P_POSITION] = {"embeddings.position_embeddings.weight", "TD"},
                  [SG_P_NORM_INPUT] = {"embeddings.LayerNorm.weight", "D"},
                  [SG_P_NORM_INPUT_BIAS] = {"embeddings.LayerNorm.bias", "D"},
                  [SG_P_Q] = {BLOCK "attention.q_lin.weight", "DD"},
                  [SG_P_Q_BIAS] = {BLOCK "attention.q_lin.bias", "D"},
                  [SG_P_K] = {BLOCK "attention.k_lin.weight", "DD"},
                  [SG_P_K_BIAS] = {BLOCK "attention.k_lin.bias", "D"},
                  [SG_P_V] = {BLOCK "attention.v_lin.weight", "DD"},
                  [SG_P_V_BIAS] = {BLOCK "attention.v_lin.bias", "D"},
                  [SG_P_O] = {BLOCK "attention.out_lin.weight", "DD"},
                  [SG_P_O_BIAS] = {BLOCK "attention.out_lin.bias", "D"},
                  [SG_P_NORM1] = {BLOCK "sa_layer_norm.weight", "D"},
                  [SG_P_NORM1_BIAS] = {BLOCK "sa_layer_norm.bias", "D"},
                  [SG_P_UP] = {BLOCK "ffn.lin1.weight", "FD"},
                  [SG_P_UP_BIAS] = {BLOCK "ffn.lin1.bias", "F"},
                  [SG_P_DOWN] = {BLOCK "ffn.lin2.weight", "DF"},
                  [SG_P_DOWN_BIAS] = {BLOCK "ffn.lin2.bias", "D"},
                  [SG_P_NORM2] = {BLOCK "output_layer_norm.weight", "D"},
                  [SG_P_NORM2_BIAS] = {BLOCK "output_layer_norm.bias", "D"},
                  [SG_P_HEAD] = {"vocab_transform.weight", "?DD"},
                  [SG_P_HEAD_BIAS] = {"vocab_transform.bias", "?D"},
                  [SG_P_HEAD_NORM] = {"vocab_layer_norm.weight", "?D"},
                  [SG_P_HEAD_NORM_BIAS] = {"vocab_layer_norm.bias", "?D"},
                  [SG_P_UNEMBED] = {"vocab_projector.weight", "?VD"},
                  [SG_P_UNEMBED_BIAS] = {"vocab_projector.bias", "?V"},
                  [SG_P_BEFORE_LABELS] = {"pre_classifier.weight", "?DD"},
                  [SG_P_BEFORE_LABELS_BIAS] = {"pre_classifier.bias", "?D"}},
    };
    sg_tower_linear(t, SG_P_LABELS, asks ? "qa_outputs.weight" : "classifier.weight",
                    asks ? "qa_outputs.bias" : "classifier.bias", "?LD");
    e->n_towers = 1;
    e->unused = unused;
    SG_TRY(sg_tower_sizes(t, config, path, &keys, err));
    SG_TRY(sg_config_int(config, path, "vocab_size", 1, 1 << 24, &t->n_vocab, err));
    SG_TRY(sg_config_int_or(config, path, "max_position_embeddings", 512, 1, 1 << 26, &t->n_places, err));
    t->head_act = t->act;
    return SG_OK;
}
