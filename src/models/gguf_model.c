/* A GGUF file as the Hugging Face folder that it was made from. */
#include "models/gguf_model.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static sg_status no_memory(const char *path, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
}

/* ---- the config ---- */

/* The shortest decimal that is this f32, as the config most likely had it: 1e-05, and not 9.99999974737875e-06. */
static double shortest(double x)
{
    char text[40];
    for (int digits = 1; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if ((double)strtof(text, NULL) == x)
            return strtod(text, NULL);
    }
    return x;
}

static const char *key_of(char buf[160], const sg_gguf_family *f, const char *key)
{
    snprintf(buf, 160, "%s.%s", f->gguf, key);
    return buf;
}

static sg_status put_key(json_t *config, const sg_gguf_model *m, const sg_key_pair *k, const char *path, sg_error *err)
{
    char key[160];
    int64_t whole;
    double real;
    bool yes;
    sg_gguf_value v;

    key_of(key, m->family, k->gguf);
    if (!sg_gguf_lookup(m->file, key, &v))
        return k->required ? sg_fail(err, SG_EFORMAT, "%s: %s is missing", path, key) : SG_OK;
    json_t *value = NULL;
    if (k->kind == SG_KEY_WHOLE && sg_gguf_whole(m->file, key, &whole))
        value = json_integer(whole);
    else if (k->kind == SG_KEY_REAL && sg_gguf_real(m->file, key, &real) && isfinite(real))
        value = json_real(shortest(real));
    else if (k->kind == SG_KEY_BOOL && sg_gguf_bool(m->file, key, &yes))
        value = json_boolean(yes);
    if (!value)
        return sg_fail(err, SG_EFORMAT, "%s: %s is not %s", path, key,
                       k->kind == SG_KEY_WHOLE  ? "one whole number"
                       : k->kind == SG_KEY_REAL ? "a number"
                                                : "true or false");
    return json_object_set_new(config, k->hf, value) == 0 ? SG_OK : no_memory(path, err);
}

static json_t *factors_of(const sg_tensor *t)
{
    json_t *list = json_array();
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        json_array_append_new(list, json_real(shortest(sg_tensor_get(t, i))));
    return list;
}

/* What is done to the angles of rotary positions: named in the metadata, or a factor for each pair in tensors of their
 * own. */
static sg_status put_rope(json_t *config, const sg_gguf_model *m, const char *path, sg_error *err)
{
    char key[160];
    const char *type = sg_gguf_text(m->file, key_of(key, m->family, "rope.scaling.type"));
    const sg_tensor *freqs = sg_gguf_find(m->file, "rope_freqs.weight");
    const sg_tensor *shorter = sg_gguf_find(m->file, "rope_factors_short.weight");
    const sg_tensor *longer = sg_gguf_find(m->file, "rope_factors_long.weight");
    double factor = 0, attention = 0, beta;
    int64_t original = 0, context = 0;

    sg_gguf_real(m->file, key_of(key, m->family, "rope.scaling.factor"), &factor);
    sg_gguf_real(m->file, key_of(key, m->family, "rope.scaling.attn_factor"), &attention);
    sg_gguf_whole(m->file, key_of(key, m->family, "rope.scaling.original_context_length"), &original);
    sg_gguf_whole(m->file, key_of(key, m->family, "context_length"), &context);
    json_t *rope = json_object();
    if (freqs || shorter || longer) {
        if (!freqs && !(shorter && longer)) {
            json_decref(rope);
            return sg_fail(err, SG_EFORMAT,
                           "%s: of rope_factors_short.weight and rope_factors_long.weight one is missing", path);
        }
        json_object_set_new(rope, "rope_type", json_string("longrope"));
        json_object_set_new(rope, "short_factor", factors_of(freqs ? freqs : shorter));
        json_object_set_new(rope, "long_factor", factors_of(freqs ? freqs : longer));
        json_object_set_new(rope, "original_max_position_embeddings",
                            json_integer(!freqs && original > 0 ? original : context));
        if (freqs || attention > 0)
            json_object_set_new(rope, "attention_factor", json_real(freqs ? 1.0 : shortest(attention)));
    } else if (type && strcmp(type, "none") != 0) {
        if ((strcmp(type, "linear") != 0 && strcmp(type, "yarn") != 0) || !(factor > 0)) {
            json_decref(rope);
            return sg_fail(err, SG_EUNSUPPORTED,
                           "%s: rope.scaling.type is \"%.40s\" with the factor %g, which this version does not know",
                           path, type, factor);
        }
        json_object_set_new(rope, "rope_type", json_string(type));
        json_object_set_new(rope, "factor", json_real(shortest(factor)));
        if (original > 0)
            json_object_set_new(rope, "original_max_position_embeddings", json_integer(original));
        if (sg_gguf_real(m->file, key_of(key, m->family, "rope.scaling.yarn_beta_fast"), &beta))
            json_object_set_new(rope, "beta_fast", json_real(shortest(beta)));
        if (sg_gguf_real(m->file, key_of(key, m->family, "rope.scaling.yarn_beta_slow"), &beta))
            json_object_set_new(rope, "beta_slow", json_real(shortest(beta)));
        if (attention > 0) /* of what comes from the length alone, for yarn (Peng et al. 2023, equation 22) */
            json_object_set_new(rope, "attention_factor",
                                json_real(strcmp(type, "yarn") == 0 ? attention * (0.1 * log(factor) + 1) : attention));
    } else {
        json_decref(rope);
        return SG_OK;
    }
    return json_object_set_new(config, "rope_scaling", rope) == 0 ? SG_OK : no_memory(path, err);
}

static void put_ids(json_t *config, const sg_gguf *g)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    int64_t id, first = -1;
    json_t *all = json_array();
    if (sg_gguf_whole(g, "tokenizer.ggml.bos_token_id", &id))
        json_object_set_new(config, "bos_token_id", json_integer(id));
    for (size_t i = 0; i < SG_COUNT_OF(ends); i++)
        if (sg_gguf_whole(g, ends[i], &id) && id != first) {
            first = first < 0 ? id : first;
            json_array_append_new(all, json_integer(id));
        }
    if (json_array_size(all) == 1)
        json_object_set(config, "eos_token_id", json_array_get(all, 0));
    else if (json_array_size(all) > 1)
        json_object_set(config, "eos_token_id", all);
    json_decref(all);
}

/* What the config of one family says and GGUF leaves unsaid. */
static void put_special(json_t *config, const sg_gguf_model *m)
{
    char key[160];
    int64_t width = 0, heads = 0, turn = 0, head_width = 0, layers = 0;
    const char *arch = m->family->gguf;

    sg_gguf_whole(m->file, key_of(key, m->family, "embedding_length"), &width);
    sg_gguf_whole(m->file, key_of(key, m->family, "attention.head_count"), &heads);
    sg_gguf_whole(m->file, key_of(key, m->family, "block_count"), &layers);
    if (!sg_gguf_whole(m->file, key_of(key, m->family, "attention.key_length"), &head_width))
        head_width = heads > 0 ? width / heads : 0;
    const bool turns = sg_gguf_whole(m->file, key_of(key, m->family, "rope.dimension_count"), &turn) && head_width > 0;
    if (strcmp(arch, "gptneox") == 0 && turns)
        json_object_set_new(config, "rotary_pct", json_real((double)turn / (double)head_width));
    if (strcmp(arch, "phi3") == 0 && turns && turn != head_width)
        json_object_set_new(config, "partial_rotary_factor", json_real((double)turn / (double)head_width));
    static const char *const biased[] = {"llama", "qwen3", "olmo", "olmo2"};
    for (size_t i = 0; i < SG_COUNT_OF(biased); i++)
        if (strcmp(arch, biased[i]) == 0 && sg_gguf_find(m->file, "blk.0.attn_q.bias"))
            json_object_set_new(config, "attention_bias", json_true());
    if (strcmp(arch, "llama") == 0 && sg_gguf_find(m->file, "blk.0.ffn_up.bias"))
        json_object_set_new(config, "mlp_bias", json_true());
    /* 27B is the one size whose scores are scaled otherwise. */
    if (strcmp(arch, "gemma2") == 0 && !json_object_get(config, "query_pre_attn_scalar"))
        json_object_set_new(config, "query_pre_attn_scalar",
                            json_integer(layers == 46 && heads > 0 ? width / heads : head_width));
}

static sg_status make_config(sg_gguf_model *m, const char *path, sg_error *err)
{
    char key[160];
    const sg_tensor *embed, *position = sg_gguf_find(m->file, "position_embd.weight");
    int64_t experts;

    SG_TRY(sg_gguf_get(&embed, m->file, "token_embd.weight", err));
    if (embed->n_dims != 2)
        return sg_fail(err, SG_EFORMAT, "%s: token_embd.weight has %d axes, wanted 2", path, embed->n_dims);
    if (sg_gguf_whole(m->file, key_of(key, m->family, "expert_count"), &experts) && experts > 0)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: %s is %lld: mixtures of experts are not something this version can do", path, key,
                       (long long)experts);
    json_t *config = json_object();
    if (!config)
        return no_memory(path, err);
    sg_status status = SG_OK;
    for (size_t k = 0; k < SG_COUNT_OF(m->family->keys) && m->family->keys[k]; k++)
        for (const sg_key_pair *p = m->family->keys[k]; p->gguf && status == SG_OK; p++)
            status = put_key(config, m, p, path, err);
    if (status == SG_OK && strcmp(m->family->gguf, "llama") == 0 && json_object_get(config, "sliding_window"))
        m->family = sg_gguf_family_for("MistralForCausalLM", NULL);
    if (status == SG_OK)
        status = put_rope(config, m, path, err);
    if (status == SG_OK) {
        json_object_set_new(config, "architectures", json_pack("[s]", m->family->architecture));
        json_object_set_new(config, "model_type", json_string(m->family->model_type));
        json_object_set_new(config, m->family->act_key, json_string(m->family->act));
        json_object_set_new(config, "vocab_size", json_integer(embed->dims[0]));
        json_object_set_new(config, "tie_word_embeddings", json_boolean(!sg_gguf_find(m->file, "output.weight")));
        if (position && position->n_dims == 2)
            json_object_set_new(config, "n_positions", json_integer(position->dims[0]));
        put_special(config, m);
        put_ids(config, m->file);
        char *text = json_dumps(config, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
        m->config = text ? sg_arena_strdup(m->arena, text) : NULL;
        free(text);
        status = m->config ? SG_OK : no_memory(path, err);
    }
    json_decref(config);
    return status;
}

/* ---- weights ---- */

static sg_status move_rows(sg_gguf_model *m, sg_gguf_move move, const sg_gguf_heads *heads, const char *path,
                           const char *name, sg_tensor *t, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    const sg_dim n = t->n_dims ? t->dims[0] : 0;
    const sg_dim parts = move == SG_MOVE_QUERY ? 2 * heads->n_heads
                         : move == SG_MOVE_KEY ? 2 * heads->n_kv_heads
                                               : 3 * heads->n_heads;
    if (t->n_dims < 1 || t->n_dims > 2 || (t->n_dims == 1 && sg_dtype_block(t->dtype) > 1) || n % parts)
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s is %s, wanted rows for %lld heads", path, name,
                       sg_shape_text(shape, t->n_dims, t->dims),
                       (long long)(move == SG_MOVE_KEY ? heads->n_kv_heads : heads->n_heads));
    const size_t bytes = sg_tensor_bytes(t), row = n ? bytes / (size_t)n : 0;
    char *to = sg_arena_alloc(m->arena, SG_MAX(bytes, 1));
    if (!to)
        return no_memory(path, err);
    for (sg_dim i = 0; i < n; i++)
        memcpy(to + (size_t)i * row, (const char *)t->data + (size_t)sg_gguf_row(move, heads, n, i) * row, row);
    t->data = to;
    m->moved_bytes += bytes;
    return SG_OK;
}

static sg_status less_one(sg_gguf_model *m, const char *path, sg_tensor *t, sg_error *err)
{
    const sg_dim n = sg_tensor_count(t);
    float *to = sg_arena_array(m->arena, (size_t)SG_MAX(n, 1), sizeof *to);
    if (!to)
        return no_memory(path, err);
    sg_convert(to, SG_F32, t->data, t->dtype, n);
    for (sg_dim i = 0; i < n; i++)
        to[i] -= 1.0f;
    t->data = to;
    t->dtype = SG_F32;
    m->moved_bytes += (size_t)n * sizeof *to;
    return SG_OK;
}

/* What belongs to the config and the angles, not to the weights. */
static bool is_no_weight(const char *name)
{
    return strcmp(name, "rope_freqs.weight") == 0 || strcmp(name, "rope_factors_long.weight") == 0 ||
           strcmp(name, "rope_factors_short.weight") == 0;
}

static sg_status take_weights(sg_gguf_model *m, const char *path, bool only_sizes, sg_error *err)
{
    char key[160], name[320];
    const int n = sg_gguf_count(m->file);
    sg_named_tensor *list = sg_arena_array(m->arena, (size_t)n + 1, sizeof *list);
    int64_t n_heads = 1, n_kv_heads;
    int count = 0;

    if (!list)
        return no_memory(path, err);
    sg_gguf_whole(m->file, key_of(key, m->family, "attention.head_count"), &n_heads);
    n_kv_heads = n_heads;
    sg_gguf_whole(m->file, key_of(key, m->family, "attention.head_count_kv"), &n_kv_heads);
    if (n_heads < 1 || n_heads > 1 << 20 || n_kv_heads < 1 || n_kv_heads > n_heads)
        return sg_fail(err, SG_EFORMAT, "%s: %lld heads over %lld key/value heads", path, (long long)n_heads,
                       (long long)n_kv_heads);
    const sg_gguf_heads heads = {n_heads, n_kv_heads};
    for (int i = 0; i < n; i++) {
        sg_gguf_move move = SG_MOVE_NONE;
        const char *own = sg_gguf_name(m->file, i);
        if (is_no_weight(own))
            continue;
        const bool known = sg_gguf_name_to_hf(m->family, own, name, sizeof name, &move);
        const sg_tensor *t = sg_gguf_at(m->file, i);
        if (known && !t)
            SG_TRY(sg_gguf_get(&t, m->file, own, err)); /* says why not */
        if (!t)
            continue;
        list[count].tensor = *t;
        list[count].name = known ? sg_arena_strdup(m->arena, name) : own;
        if (!list[count].name)
            return no_memory(path, err);
        const bool rows = move == SG_MOVE_QUERY || move == SG_MOVE_KEY || move == SG_MOVE_QKV;
        if (only_sizes && (rows || move == SG_MOVE_ONE)) /* what the copies will take */
            m->moved_bytes += rows ? sg_tensor_bytes(t) : (size_t)sg_tensor_count(t) * sizeof(float);
        else if (rows)
            SG_TRY(move_rows(m, move, &heads, path, own, &list[count].tensor, err));
        else if (move == SG_MOVE_ONE)
            SG_TRY(less_one(m, path, &list[count].tensor, err));
        count++;
    }
    return sg_safetensors_list(&m->weights, list, count, path, err);
}

/* ---- the tokenizer ---- */

static sg_status numbers_of(void **out, sg_gguf_model *m, const char *path, const char *key, bool real, int64_t n,
                            sg_error *err)
{
    sg_gguf_value v;
    *out = NULL;
    if (!sg_gguf_lookup(m->file, key, &v))
        return SG_OK;
    if (v.type != SG_GGUF_ARRAY || v.of == SG_GGUF_TEXT || v.of == SG_GGUF_ARRAY || v.n != (uint64_t)n)
        return sg_fail(err, SG_EFORMAT, "%s: %s is no list of %lld numbers", path, key, (long long)n);
    float *reals = sg_arena_array(m->arena, (size_t)SG_MAX(n, 1), sizeof *reals); /* an int32_t takes as much */
    if (!reals)
        return no_memory(path, err);
    int32_t *wholes = (int32_t *)(void *)reals;
    for (int64_t i = 0; i < n; i++) {
        const double x = sg_gguf_number(&v, (uint64_t)i);
        if (real)
            reals[i] = (float)x;
        else
            wholes[i] = x >= INT32_MIN && x <= INT32_MAX ? (int32_t)x : -1;
    }
    *out = reals;
    return SG_OK;
}

static sg_status take_texts(sg_gguf_model *m, const char *path, const char *key, const char *const **texts,
                            const size_t **bytes, int64_t *n, sg_error *err)
{
    sg_gguf_value v;
    *n = 0;
    if (!sg_gguf_lookup(m->file, key, &v))
        return SG_OK;
    if (v.type != SG_GGUF_ARRAY || v.of != SG_GGUF_TEXT || v.n > INT32_MAX)
        return sg_fail(err, SG_EFORMAT, "%s: %s is no list of texts", path, key);
    *n = (int64_t)v.n;
    return sg_gguf_texts(m->file, &v, texts, bytes, err);
}

static void take_id(const sg_gguf *g, const char *name, int32_t *out)
{
    char key[64];
    int64_t id;
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    if (sg_gguf_whole(g, key, &id) && id >= 0 && id <= INT32_MAX)
        *out = (int32_t)id;
}

sg_status sg_gguf_vocab(sg_tokenizer_vocab *out, sg_gguf_model *m, const char *path, sg_error *err)
{
    static const struct {
        const char *name;
        sg_tokenizer_kind kind;
    } kinds[] = {{"llama", SG_TOKENIZER_SPM},
                 {"gpt2", SG_TOKENIZER_BPE},
                 {"bert", SG_TOKENIZER_WORDPIECE},
                 {"t5", SG_TOKENIZER_UNIGRAM}};
    const char *model = sg_gguf_text(m->file, "tokenizer.ggml.model");
    sg_tokenizer_vocab v = sg_tokenizer_vocab_defaults();
    int64_t n;
    void *scores, *types;
    size_t k = 0;

    *out = v;
    if (!model || strcmp(model, "none") == 0 || strcmp(model, "no_vocab") == 0)
        return SG_OK;
    while (k < SG_COUNT_OF(kinds) && strcmp(kinds[k].name, model) != 0)
        k++;
    if (k == SG_COUNT_OF(kinds))
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: tokenizer.ggml.model is \"%.40s\"; this version knows llama, gpt2, bert and t5", path,
                       model);
    v.name = path;
    v.kind = kinds[k].kind;
    SG_TRY(take_texts(m, path, "tokenizer.ggml.tokens", &v.tokens, &v.token_bytes, &n, err));
    v.n = (int32_t)n;
    SG_TRY(take_texts(m, path, "tokenizer.ggml.merges", &v.merges, &v.merge_bytes, &v.n_merges, err));
    SG_TRY(numbers_of(&scores, m, path, "tokenizer.ggml.scores", true, n, err));
    SG_TRY(numbers_of(&types, m, path, "tokenizer.ggml.token_type", false, n, err));
    v.scores = v.kind == SG_TOKENIZER_SPM || v.kind == SG_TOKENIZER_UNIGRAM ? scores : NULL;
    v.types = types;
    v.pre = sg_gguf_text(m->file, "tokenizer.ggml.pre");
    take_id(m->file, "bos", &v.bos);
    take_id(m->file, "eos", &v.eos);
    take_id(m->file, "unknown", &v.unk);
    take_id(m->file, "padding", &v.pad);
    take_id(m->file, "seperator", &v.sep); /* the format's own spelling */
    take_id(m->file, "separator", &v.sep);
    take_id(m->file, "cls", &v.cls);
    take_id(m->file, "mask", &v.mask);
    /* SentencePiece's models begin with bos where nothing is said. */
    v.add_bos = v.kind == SG_TOKENIZER_SPM;
    sg_gguf_bool(m->file, "tokenizer.ggml.add_bos_token", &v.add_bos);
    sg_gguf_bool(m->file, "tokenizer.ggml.add_eos_token", &v.add_eos);
    sg_gguf_bool(m->file, "tokenizer.ggml.add_space_prefix", &v.add_space_prefix);
    sg_gguf_bool(m->file, "tokenizer.ggml.remove_extra_whitespaces", &v.remove_extra_whitespaces);
    sg_gguf_value charsmap;
    if (sg_gguf_lookup(m->file, "tokenizer.ggml.precompiled_charsmap", &charsmap) && charsmap.type == SG_GGUF_ARRAY &&
        (charsmap.of == SG_GGUF_U8 || charsmap.of == SG_GGUF_I8)) {
        v.charsmap = charsmap.bytes;
        v.charsmap_bytes = charsmap.n_bytes;
    }
    v.chat_template = sg_gguf_text(m->file, "tokenizer.chat_template");
    v.add_bos = v.add_bos && v.bos >= 0;
    v.add_eos = v.add_eos && v.eos >= 0;
    *out = v;
    return SG_OK;
}

static sg_status take_tokenizer(sg_gguf_model *m, const char *path, sg_error *err)
{
    sg_tokenizer_vocab v;
    SG_TRY(sg_gguf_vocab(&v, m, path, err));
    return v.n ? sg_tokenizer_new(&m->tokenizer, &v, err) : SG_OK;
}

/* ---- opening ---- */

static sg_status open_in(sg_gguf_model *m, const char *path, bool only_sizes, sg_error *err)
{
    char known[256];
    int64_t n_parts;

    SG_TRY(sg_gguf_open(&m->file, path, err));
    const char *arch = sg_gguf_text(m->file, "general.architecture");
    if (!arch)
        return sg_fail(err, SG_EFORMAT, "%s: general.architecture is missing", path);
    sg_gguf_families(known, sizeof known);
    m->family = sg_gguf_family_of(arch);
    if (!m->family)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: general.architecture is \"%.60s\"; this version knows %s", path, arch,
                       known);
    if (sg_gguf_whole(m->file, "split.count", &n_parts) && n_parts > 1)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: is one of %lld files of a model; only whole ones are read", path,
                       (long long)n_parts);
    SG_TRY(make_config(m, path, err));
    SG_TRY(take_weights(m, path, only_sizes, err));
    return take_tokenizer(m, path, err);
}

sg_status sg_gguf_model_open(sg_gguf_model **out, const char *path, bool only_sizes, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_gguf_model *m = arena ? sg_arena_alloc(arena, sizeof *m) : NULL;

    *out = NULL;
    if (!m) {
        sg_arena_free(arena);
        return no_memory(path, err);
    }
    m->arena = arena;
    const sg_status status = open_in(m, path, only_sizes, err);
    if (status != SG_OK) {
        sg_gguf_model_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

void sg_gguf_model_close(sg_gguf_model *m)
{
    if (!m)
        return;
    sg_tokenizer_free(m->tokenizer);
    sg_safetensors_close(m->weights);
    sg_gguf_close(m->file);
    sg_arena_free(m->arena);
}
