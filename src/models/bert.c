/* bert: post-norm, token types, learned positions; heads for masked tokens, the next sentence, labels. Devlin et al.
 * 2018. */
#include <string.h>

#include "models/encoder.h"

#define BLOCK "encoder.layer.%d."

sg_status sg_encoder_bert(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                          sg_error *err)
{
    /* Masked positions of old files; what a decoder of the family would bring is not here and so has no place. */
    static const char *const unused[] = {"position_ids", "cls.predictions.decoder.bias", NULL};
    static const sg_size_keys keys = {.width = "hidden_size",
                                      .layers = "num_hidden_layers",
                                      .heads = "num_attention_heads",
                                      .hidden = "intermediate_size",
                                      .act = "hidden_act",
                                      .fallback_act = SG_ACT_GELU};
    const bool each = strstr(architecture, "TokenClassification") || strstr(architecture, "QuestionAnswering");
    const char *const labels = strstr(architecture, "QuestionAnswering") ? "qa_outputs" : "classifier";
    sg_tower *t = &e->towers[0];

    *t = (sg_tower){
        .prefix = "bert.",
        .scope = "",
        .post_norm = true,
        .pool = SG_POOL_DENSE,
        .labels_of = each ? SG_LABELS_OF_EACH : SG_LABELS_OF_POOLED,
        .slots = {[SG_P_TOKEN] = {"embeddings.word_embeddings.weight", "VD"},
                  [SG_P_TYPE] = {"embeddings.token_type_embeddings.weight", "YD"},
                  [SG_P_POSITION] = {"embeddings.position_embeddings.weight", "TD"},
                  [SG_P_NORM_INPUT] = {"embeddings.LayerNorm.weight", "D"},
                  [SG_P_NORM_INPUT_BIAS] = {"embeddings.LayerNorm.bias", "D"},
                  [SG_P_Q] = {BLOCK "attention.self.query.weight", "DD"},
                  [SG_P_Q_BIAS] = {BLOCK "attention.self.query.bias", "D"},
                  [SG_P_K] = {BLOCK "attention.self.key.weight", "DD"},
                  [SG_P_K_BIAS] = {BLOCK "attention.self.key.bias", "D"},
                  [SG_P_V] = {BLOCK "attention.self.value.weight", "DD"},
                  [SG_P_V_BIAS] = {BLOCK "attention.self.value.bias", "D"},
                  [SG_P_O] = {BLOCK "attention.output.dense.weight", "DD"},
                  [SG_P_O_BIAS] = {BLOCK "attention.output.dense.bias", "D"},
                  [SG_P_NORM1] = {BLOCK "attention.output.LayerNorm.weight", "D"},
                  [SG_P_NORM1_BIAS] = {BLOCK "attention.output.LayerNorm.bias", "D"},
                  [SG_P_UP] = {BLOCK "intermediate.dense.weight", "FD"},
                  [SG_P_UP_BIAS] = {BLOCK "intermediate.dense.bias", "F"},
                  [SG_P_DOWN] = {BLOCK "output.dense.weight", "DF"},
                  [SG_P_DOWN_BIAS] = {BLOCK "output.dense.bias", "D"},
                  [SG_P_NORM2] = {BLOCK "output.LayerNorm.weight", "D"},
                  [SG_P_NORM2_BIAS] = {BLOCK "output.LayerNorm.bias", "D"},
                  [SG_P_POOL] = {"pooler.dense.weight", "?DD"},
                  [SG_P_POOL_BIAS] = {"pooler.dense.bias", "?D"},
                  [SG_P_HEAD] = {"cls.predictions.transform.dense.weight", "?DD"},
                  [SG_P_HEAD_BIAS] = {"cls.predictions.transform.dense.bias", "?D"},
                  [SG_P_HEAD_NORM] = {"cls.predictions.transform.LayerNorm.weight", "?D"},
                  [SG_P_HEAD_NORM_BIAS] = {"cls.predictions.transform.LayerNorm.bias", "?D"},
                  [SG_P_UNEMBED] = {"cls.predictions.decoder.weight", "?VD"},
                  [SG_P_UNEMBED_BIAS] = {"cls.predictions.bias", "?V"},
                  [SG_P_NEXT_SENTENCE] = {"cls.seq_relationship.weight", "?2D"},
                  [SG_P_NEXT_SENTENCE_BIAS] = {"cls.seq_relationship.bias", "?2"}},
    };
    sg_tower_linear(t, SG_P_LABELS, *labels == 'q' ? "qa_outputs.weight" : "classifier.weight",
                    *labels == 'q' ? "qa_outputs.bias" : "classifier.bias", "?LD");
    e->n_towers = 1;
    e->unused = unused;
    if (json_is_true(json_object_get(config, "is_decoder")))
        return sg_fail(err, SG_EUNSUPPORTED, "%s: is_decoder is true, which this version does not know of bert", path);
    const char *kind = json_string_value(json_object_get(config, "position_embedding_type"));
    if (kind && strcmp(kind, "absolute") != 0)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: position_embedding_type is \"%.40s\", this version knows absolute",
                       path, kind);
    SG_TRY(sg_tower_sizes(t, config, path, &keys, err));
    SG_TRY(sg_config_int(config, path, "vocab_size", 1, 1 << 24, &t->n_vocab, err));
    SG_TRY(sg_config_int_or(config, path, "type_vocab_size", 2, 1, 1 << 16, &t->n_types, err));
    SG_TRY(sg_config_int_or(config, path, "max_position_embeddings", 512, 1, 1 << 26, &t->n_places, err));
    t->head_act = t->act;
    return sg_config_real(config, path, "layer_norm_eps", 1e-12, &t->eps, err);
}
