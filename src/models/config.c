/* Reading config.json: each key checked, each error with path, key and what was found. Which keys were read is kept in
 * the config itself, under the empty key, so that what nobody read can be looked at when the family is done. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/arch.h"

/* The key's value, which counts as read. */
static const json_t *get(const json_t *config, const char *key)
{
    json_t *read = json_object_get(config, "");

    if (json_is_object(read))
        json_object_set_new(read, key, json_true());
    return json_object_get(config, key);
}

bool sg_config_has(const json_t *config, const char *key)
{
    const json_t *v = get(config, key);

    return v && !json_is_null(v);
}

bool sg_config_bool(const json_t *config, const char *key, bool fallback)
{
    const json_t *v = get(config, key);

    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

sg_status sg_config_int_or(const json_t *config, const char *path, const char *key, sg_dim fallback, sg_dim least,
                           sg_dim most, sg_dim *out, sg_error *err)
{
    *out = fallback;
    return sg_config_has(config, key) ? sg_config_int(config, path, key, least, most, out, err) : SG_OK;
}

sg_status sg_config_int(const json_t *config, const char *path, const char *key, sg_dim least, sg_dim most, sg_dim *out,
                        sg_error *err)
{
    const json_t *v = get(config, key);

    if (!v)
        return sg_fail(err, SG_EFORMAT, "%s: %s is missing", path, key);
    if (!json_is_integer(v))
        return sg_fail(err, SG_EFORMAT, "%s: %s is not a whole number", path, key);
    const json_int_t n = json_integer_value(v);
    if (n < least || n > most)
        return sg_fail(err, SG_EFORMAT, "%s: %s is %lld, wanted %lld to %lld", path, key, (long long)n,
                       (long long)least, (long long)most);
    *out = n;
    return SG_OK;
}

sg_status sg_config_real(const json_t *config, const char *path, const char *key, double fallback, double *out,
                         sg_error *err)
{
    const json_t *v = get(config, key);

    *out = fallback;
    if (!v || json_is_null(v))
        return SG_OK;
    if (!json_is_number(v) || !isfinite(json_number_value(v)) || json_number_value(v) <= 0)
        return sg_fail(err, SG_EFORMAT, "%s: %s is not a number above 0", path, key);
    *out = json_number_value(v);
    return SG_OK;
}

sg_status sg_config_act(const json_t *config, const char *path, const char *key, sg_arch *arch, sg_error *err)
{
    static const struct {
        const char *name;
        sg_activation act;
    } acts[] = {{"silu", SG_ACT_SILU},
                {"swish", SG_ACT_SILU},
                {"gelu", SG_ACT_GELU},
                {"gelu_new", SG_ACT_GELU_TANH},
                {"gelu_pytorch_tanh", SG_ACT_GELU_TANH},
                {"relu", SG_ACT_RELU},
                {"quick_gelu", SG_ACT_GELU_QUICK}};
    const char *name = json_string_value(get(config, key));

    if (!name)
        return sg_fail(err, SG_EFORMAT, "%s: %s is missing", path, key);
    for (size_t i = 0; i < SG_COUNT_OF(acts); i++)
        if (strcmp(acts[i].name, name) == 0) {
            arch->act = acts[i].act;
            return SG_OK;
        }
    return sg_fail(err, SG_EUNSUPPORTED, "%s: %s is \"%.40s\", which this version does not know", path, key, name);
}

sg_status sg_config_layers(const json_t *config, const char *path, sg_dim n_layers, sg_arch *arch, bool *found,
                           sg_error *err)
{
    const json_t *types = get(config, "layer_types"), *type;
    size_t i;

    *found = json_is_array(types);
    if (!types || json_is_null(types))
        return SG_OK;
    if (!*found || json_array_size(types) != (size_t)n_layers)
        return sg_fail(err, SG_EFORMAT, "%s: layer_types is no list of %lld layers", path, (long long)n_layers);
    json_array_foreach(types, i, type)
    {
        const char *name = json_is_string(type) ? json_string_value(type) : "";
        const bool slides = strcmp(name, "sliding_attention") == 0;
        if (!slides && strcmp(name, "full_attention") != 0)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: layer_types has \"%.40s\", which this version does not know",
                           path, name);
        sg_arch_set_window(arch, (int)i, slides);
    }
    return SG_OK;
}

sg_status sg_config_window(const json_t *config, const char *path, sg_dim fallback, sg_arch *arch,
                           const sg_model_info *info, sg_error *err)
{
    const json_t *v = get(config, "sliding_window");

    arch->window = v ? 0 : fallback;
    if (v && !json_is_null(v))
        SG_TRY(sg_config_int(config, path, "sliding_window", 1, INT32_MAX, &arch->window, err));
    for (int i = 0; i < (int)info->n_layers; i++)
        sg_arch_set_window(arch, i, true);
    return SG_OK;
}

/* ---- keys that nobody read ---- */

/* Keys that change what is computed in some family, and the value with which they do not. */
static const struct {
    const char *key, *neutral;
} changing[] = {
    {"alibi", "false"},
    {"add_cross_attention", "false"},
    {"attention_bias", "false"},
    {"attention_chunk_size", "null"},
    {"attention_multiplier", "null"},
    {"attn_logit_softcapping", "null"},
    {"clip_qkv", "null"},
    {"embedding_multiplier", "1"},
    {"expand_ratio", "null"},
    {"final_logit_softcapping", "null"},
    {"is_encoder_decoder", "false"},
    {"logit_scale", "1"},
    {"logits_scaling", "1"},
    {"mlp_bias", "false"},
    {"n_routed_experts", "0"},
    {"no_rope_layers", "[]"},
    {"num_experts", "0"},
    {"num_local_experts", "0"},
    {"num_nextn_predict_layers", "0"},
    {"parallel_attn", "false"},
    {"partial_rotary_factor", "1"},
    {"pruned_heads", "{}"},
    {"qk_layernorm", "false"},
    {"quantization_config", "null"},
    {"query_pre_attn_scalar", "null"},
    {"residual_multiplier", "1"},
    {"rope_interleaved", "false"},
    {"rope_parameters", "null"},
    {"rope_scaling", "null"},
    {"rotary", "true"},
    {"rotary_pct", "1"},
    {"scale_attn_by_inverse_layer_idx", "false"},
    {"scale_attn_weights", "true"},
    {"scale_depth", "null"},
    {"scale_emb", "1"},
    {"sliding_window", "null"},
    {"text_config", "null"},
    {"use_mrope", "false"},
    {"use_parallel_residual", "false"},
    {"use_qk_norm", "false"},
    {"use_sliding_window", "false"},
    {"vision_config", "null"},
};

/* Keys that say where a model is from, how it is trained or how text is drawn from it. */
static const char harmless[] =
    "architectures attn_implementation auto_map cache_implementation chunk_size_feed_forward classifier_dropout "
    "do_sample dtype finetuning_task gradient_checkpointing id2label initializer_range is_decoder is_llama_config "
    "label2id layer_norm_eps layer_norm_epsilon max_length max_position_embeddings min_length model_type "
    "mup_scale n_ctx name_or_path original_max_position_embeddings pretraining_tp problem_type "
    "reorder_and_upcast_attn return_dict sliding_window_size task_specific_params temperature tie_word_embeddings "
    "tokenizer_class top_k top_p torch_dtype torchscript transformers.js_config transformers_version "
    "unsloth_fixed unsloth_version use_bfloat16 use_cache use_flash_attention use_return_dict vocab_size ";

static bool ends_in(const char *key, const char *end)
{
    const size_t n = strlen(key), m = strlen(end);

    return n >= m && strcmp(key + n - m, end) == 0;
}

static bool is_harmless(const char *key)
{
    const size_t n = strlen(key);

    for (const char *at = harmless; *at; at += strcspn(at, " ") + 1)
        if (strncmp(at, key, n) == 0 && at[n] == ' ')
            return true;
    return key[0] == '_' || strncmp(key, "summary_", 8) == 0 || strncmp(key, "output_", 7) == 0 ||
           ends_in(key, "dropout") || ends_in(key, "pdrop") || ends_in(key, "_token_id") ||
           ends_in(key, "_token_index");
}

static bool is_neutral(const json_t *v, const char *text)
{
    json_t *neutral = json_loads(text, JSON_DECODE_ANY, NULL);
    const bool same = json_is_null(v) ||
                      (json_is_number(v) && json_is_number(neutral) ? json_number_value(v) == json_number_value(neutral)
                                                                    : json_equal(v, neutral) != 0);

    json_decref(neutral);
    return same;
}

sg_status sg_config_rest(const json_t *config, const char *path, const char *family, char **unknown, sg_error *err)
{
    const json_t *read = json_object_get(config, ""), *v;
    sg_str list = {0};
    const char *key;
    int n = 0;

    *unknown = NULL;
    json_object_foreach((json_t *)(uintptr_t)config, key, v)
    {
        bool known = !*key || json_object_get(read, key) || is_harmless(key);
        for (size_t i = 0; i < SG_COUNT_OF(changing) && !known; i++) {
            if (strcmp(changing[i].key, key) != 0)
                continue;
            known = true;
            if (!is_neutral(v, changing[i].neutral)) {
                sg_str_free(&list);
                return sg_fail(err, SG_EUNSUPPORTED, "%s: %s is something that this version cannot do in the family %s",
                               path, key, family);
            }
        }
        if (!known && n++ < 8)
            sg_str_printf(&list, "%s%.60s", n > 1 ? ", " : "", key);
    }
    if (n > 8)
        sg_str_printf(&list, " and %d more", n - 8);
    *unknown = list.text;
    return SG_OK;
}
