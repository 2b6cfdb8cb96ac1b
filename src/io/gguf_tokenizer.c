/* GGUF's lists of tokens from a tokenizer.json, and back.
 *
 * A tokenizer.json says how texts are cut by patterns, GGUF by the name of one of some dozen known ways.  Which of them
 * it is, is found by trying: the lists are good if texts that tell the ways apart get the same ids from both. */
#include "io/gguf_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

#define MARK "\xE2\x96\x81"

static sg_status no_memory(const char *path, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
}

/* ---- lists from JSON ---- */

static const char *const samples[] = {
    "Once upon a time",
    "  two  spaces, \t a tab and\n\n  lines\r\n ",
    "I'm sure they'LL say we've DON'T it's",
    "1 22 333 4444 55555, 3.14159 and 0x1F",
    ("na\xC3\xAFve caf\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD\xE4\xB8\x96\xE7\x95\x8C "
     "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xF0\x9F\x99\x82"),
    "e\xCC\x81 is two characters or one",
    "for (int i = 0; i < n; i++) { x[i] += y_2->z; } // #!",
    "CamelCase HTTPServer snake_case ALLCAPS iPhone15",
    " leading, trailing ",
    "...!!! ((())) ? <|>",
    "a",
    "",
};

static bool same_ids(const sg_tokens *a, const sg_tokens *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) == 0);
}

static sg_status agrees(bool *out, const sg_tokenizer *a, const sg_tokenizer *b, sg_error *err)
{
    sg_status status = SG_OK;
    *out = true;
    for (size_t i = 0; i < SG_COUNT_OF(samples) && *out && status == SG_OK; i++) {
        sg_tokens x = {0}, y = {0};
        status = sg_tokenizer_encode(a, samples[i], sg_encode_defaults(), &x, err);
        if (status == SG_OK)
            status = sg_tokenizer_encode(b, samples[i], sg_encode_defaults(), &y, err);
        *out = same_ids(&x, &y);
        sg_tokens_free(&x);
        sg_tokens_free(&y);
    }
    return status;
}

/* Whether texts are begun with bos and ended with eos. */
static sg_status find_ends(sg_tokenizer_vocab *v, const sg_tokenizer *t, sg_error *err)
{
    sg_encode_opts bare = sg_encode_defaults();
    sg_tokens with = {0}, without = {0};
    bare.add_special = false;
    sg_status status = sg_tokenizer_encode(t, "a", sg_encode_defaults(), &with, err);
    if (status == SG_OK)
        status = sg_tokenizer_encode(t, "a", bare, &without, err);
    if (status == SG_OK && with.n > without.n) {
        v->add_bos = v->bos >= 0 && with.ids[0] == v->bos;
        v->add_eos = v->eos >= 0 && with.ids[with.n - 1] == v->eos && with.n > without.n + v->add_bos;
    }
    sg_tokens_free(&with);
    sg_tokens_free(&without);
    return status;
}

/* The two halves of item i of "merges", written in either of its ways. */
static bool halves_of(const json_t *item, const char **left, size_t *n_left, const char **right)
{
    if (json_is_array(item) && json_array_size(item) == 2) {
        *left = json_string_value(json_array_get(item, 0));
        *right = json_string_value(json_array_get(item, 1));
        *n_left = *left ? strlen(*left) : 0;
        return *left && *right;
    }
    const char *text = json_string_value(item), *space = text ? strchr(text, ' ') : NULL;
    if (!space)
        return false;
    *left = text;
    *n_left = (size_t)(space - text);
    *right = space + 1;
    return true;
}

static sg_status take_merges(sg_tokenizer_vocab *v, sg_arena *arena, const json_t *merges, sg_error *err)
{
    const size_t n = json_array_size(merges);
    const char **texts = sg_arena_array(arena, SG_MAX(n, 1), sizeof *texts);
    if (!texts)
        return no_memory(v->name, err);
    for (size_t i = 0; i < n; i++) {
        const char *left, *right;
        size_t n_left;
        if (!halves_of(json_array_get(merges, i), &left, &n_left, &right))
            return sg_fail(err, SG_EFORMAT, "%s: merge %zu is no pair", v->name, i);
        texts[i] = sg_arena_printf(arena, "%.*s %s", (int)n_left, left, right);
        if (!texts[i])
            return no_memory(v->name, err);
    }
    v->merges = texts;
    v->n_merges = (int64_t)n;
    return SG_OK;
}

/* Scores that order the tokens as the merges make them: minus the place of the first that makes it. */
static sg_status score(sg_tokenizer_vocab *v, sg_arena *arena, const sg_tokenizer *t, const json_t *merges,
                       sg_error *err)
{
    float *scores = sg_arena_array(arena, (size_t)SG_MAX(v->n, 1), sizeof *scores);
    sg_str joined = {0};
    if (!scores)
        return no_memory(v->name, err);
    int place = 0;
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const char *left, *right;
        size_t n_left;
        if (!halves_of(json_array_get(merges, i), &left, &n_left, &right))
            continue;
        joined.bytes = 0;
        sg_str_append(&joined, left, n_left);
        sg_str_puts(&joined, right);
        const int32_t id = joined.failed ? -1 : sg_tokenizer_id(t, joined.text);
        if (id >= 0 && id < v->n && scores[id] == 0)
            scores[id] = (float)-++place;
    }
    const bool failed = joined.failed;
    sg_str_free(&joined);
    for (int32_t i = 0; i < v->n;
         i++) /* what no merge makes comes last; single characters are never asked for theirs */
        if (scores[i] == 0 && v->types[i] == SG_TOKEN_NORMAL)
            scores[i] = (float)-++place;
    v->scores = scores;
    return failed ? no_memory(v->name, err) : SG_OK;
}

static sg_status take_tokens(sg_tokenizer_vocab *v, sg_arena *arena, const sg_tokenizer *t, const json_t *added,
                             bool bytes, sg_error *err)
{
    const char **texts = sg_arena_array(arena, (size_t)SG_MAX(v->n, 1), sizeof *texts);
    int32_t *types = sg_arena_array(arena, (size_t)SG_MAX(v->n, 1), sizeof *types);
    const json_t *token;
    size_t i;

    if (!texts || !types)
        return no_memory(v->name, err);
    for (int32_t id = 0; id < v->n; id++) {
        texts[id] = sg_tokenizer_token(t, id);
        types[id] = texts[id] ? SG_TOKEN_NORMAL : SG_TOKEN_UNUSED;
        if (!texts[id] && !(texts[id] = sg_arena_printf(arena, "[PAD%d]", (int)id)))
            return no_memory(v->name, err);
        if (bytes && sg_named_byte(texts[id], strlen(texts[id])) >= 0)
            types[id] = SG_TOKEN_BYTE;
    }
    json_array_foreach(added, i, token)
    {
        const json_t *id = json_object_get(token, "id");
        if (json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < v->n)
            types[json_integer_value(id)] =
                json_is_true(json_object_get(token, "special")) ? SG_TOKEN_CONTROL : SG_TOKEN_USER;
    }
    if (v->unk >= 0)
        types[v->unk] = SG_TOKEN_UNKNOWN;
    v->tokens = texts;
    v->types = types;
    return SG_OK;
}

#define MOST_CUTS 6

/* The patterns by which the JSON's pre-tokenizer cuts, as far as it is made of such: how many, or -1. */
static int cuts_of(const json_t *pre, const char *cuts[MOST_CUTS])
{
    const json_t *list = json_object_get(pre, "pretokenizers");
    const size_t n = json_is_array(list) ? json_array_size(list) : 1;
    int count = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *step = json_is_array(list) ? json_array_get(list, i) : pre;
        const char *type = json_string_value(json_object_get(step, "type"));
        const char *regex = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
        const bool level = type && strcmp(type, "ByteLevel") == 0;
        if (level && json_is_false(json_object_get(step, "use_regex")))
            continue;
        if (type && strcmp(type, "Digits") == 0 && json_is_true(json_object_get(step, "individual_digits")))
            regex = "\\p{N}";
        if (count == MOST_CUTS || (!level && !regex))
            return -1;
        cuts[count++] = level ? SG_PATTERN_GPT2 : regex;
    }
    return count;
}

static bool same_cuts(const struct sg_pre *pre, const char *const *cuts, int n)
{
    int k = 0;
    while (k < n && k < (int)SG_COUNT_OF(pre->patterns) && pre->patterns[k] && strcmp(pre->patterns[k], cuts[k]) == 0)
        k++;
    return k == n && (k == (int)SG_COUNT_OF(pre->patterns) || !pre->patterns[k]);
}

static sg_status fits(sg_tokenizer_vocab *v, const sg_tokenizer *t, bool *out, sg_error *err)
{
    sg_tokenizer *other;
    *out = false;
    const sg_status made = sg_tokenizer_new(&other, v, err);
    if (made != SG_OK)
        return made == SG_EUNSUPPORTED ? SG_OK : made;
    const sg_status status = agrees(out, t, other, err);
    sg_tokenizer_free(other);
    return status;
}

/* The first surroundings that do what t does: of those with the same patterns, else of the others. */
static sg_status choose(sg_tokenizer_vocab *v, const sg_tokenizer *t, const json_t *root, bool *found, sg_error *err)
{
    static const char *const pres[] = {"gpt-2",  "llama-bpe", "dbrx",        "qwen2",        "stablelm2",
                                       "olmo",   "smollm",    "command-r",   "gpt-4o",       "tekken",
                                       "falcon", "default",   "deepseek-v3", "deepseek-llm", "bloom"};
    const char *cuts[MOST_CUTS];
    const int n_cuts = cuts_of(json_object_get(root, "pre_tokenizer"), cuts);

    *found = false;
    for (int i = 0; v->kind == SG_TOKENIZER_SPM && i < 4 && !*found; i++) {
        v->add_space_prefix = i % 2 == 0;
        v->remove_extra_whitespaces = i / 2 == 1;
        SG_TRY(fits(v, t, found, err));
    }
    for (int others = 0; v->kind == SG_TOKENIZER_BPE && others < 2; others++)
        for (size_t i = 0; i < SG_COUNT_OF(pres) && !*found; i++) {
            const struct sg_pre *pre;
            SG_TRY(sg_pre_find(&pre, v->name, pres[i], err));
            if (same_cuts(pre, cuts, n_cuts) != (others == 0))
                continue;
            v->pre = pres[i];
            SG_TRY(fits(v, t, found, err));
        }
    return SG_OK;
}

static int32_t id_of(const json_t *model, const char *key, const sg_tokenizer *t)
{
    const char *text = json_string_value(json_object_get(model, key));
    return text ? sg_tokenizer_id(t, text) : -1;
}

static sg_status take_lists(sg_tokenizer_vocab *v, sg_arena *arena, const sg_tokenizer *t, const json_t *root,
                            const char **obstacle, sg_error *err)
{
    const json_t *model = json_object_get(root, "model"), *decoder = json_object_get(root, "decoder");
    const json_t *merges = json_object_get(model, "merges");
    const char *type = json_string_value(json_object_get(model, "type")),
               *with = json_string_value(json_object_get(decoder, "type"));
    const bool bytes = json_is_true(json_object_get(model, "byte_fallback"));
    bool found = false;

    if ((type && strcmp(type, "BPE") != 0) || !json_is_array(merges)) {
        *obstacle = sg_arena_printf(arena, "its tokenizer is a %.40s, of which lists are not made",
                                    type ? type : "model without merges");
        return *obstacle ? SG_OK : no_memory(v->name, err);
    }
    if (sg_tokenizer_size(t) > v->n) {
        *obstacle =
            sg_arena_printf(arena, "its tokenizer has %d ids, the model %d", (int)sg_tokenizer_size(t), (int)v->n);
        return *obstacle ? SG_OK : no_memory(v->name, err);
    }
    v->kind = bytes && !(with && strcmp(with, "ByteLevel") == 0) ? SG_TOKENIZER_SPM : SG_TOKENIZER_BPE;
    if (v->unk < 0)
        v->unk = id_of(model, "unk_token", t);
    SG_TRY(take_tokens(v, arena, t, json_object_get(root, "added_tokens"), v->kind == SG_TOKENIZER_SPM, err));
    if (v->kind == SG_TOKENIZER_BPE)
        SG_TRY(take_merges(v, arena, merges, err));
    else
        SG_TRY(score(v, arena, t, merges, err));
    SG_TRY(find_ends(v, t, err));
    SG_TRY(choose(v, t, root, &found, err));
    if (!found)
        *obstacle = "its tokenizer cuts texts in no way that GGUF has a name for";
    return SG_OK;
}

sg_status sg_vocab_from_json(sg_tokenizer_vocab *v, sg_arena *arena, const sg_tokenizer *t, const char *json,
                             size_t n_bytes, const char *path, int64_t n_vocab, int32_t bos, int32_t eos,
                             const char **obstacle, sg_error *err)
{
    json_error_t why;
    const sg_special_ids ids = sg_tokenizer_specials(t);

    *v = sg_tokenizer_vocab_defaults();
    *obstacle = NULL;
    v->name = path;
    v->n = (int32_t)n_vocab;
    v->bos = ids.bos >= 0 ? ids.bos : bos;
    v->eos = ids.eos >= 0 ? ids.eos : eos;
    v->unk = ids.unk;
    v->pad = ids.pad;
    v->chat_template = sg_tokenizer_chat_template(t);
    json_t *root = json_loadb(json, n_bytes, 0, &why);
    if (!root)
        return sg_json_refused(path, &why, err);
    const sg_status status = take_lists(v, arena, t, root, obstacle, err);
    json_decref(root);
    return status;
}

void sg_gguf_meta_vocab(sg_gguf_meta *meta, const sg_tokenizer_vocab *v)
{
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {{"tokenizer.ggml.bos_token_id", v->bos},
               {"tokenizer.ggml.eos_token_id", v->eos},
               {"tokenizer.ggml.unknown_token_id", v->unk},
               {"tokenizer.ggml.padding_token_id", v->pad}};
    const bool pairs = v->kind == SG_TOKENIZER_BPE;

    sg_gguf_meta_text(meta, "tokenizer.ggml.model", pairs ? "gpt2" : "llama");
    sg_gguf_meta_text(meta, "tokenizer.ggml.pre", pairs ? v->pre : "default");
    sg_gguf_meta_texts(meta, "tokenizer.ggml.tokens", v->n, v->tokens, v->token_bytes);
    if (!pairs)
        sg_gguf_meta_reals(meta, "tokenizer.ggml.scores", v->n, v->scores);
    sg_gguf_meta_wholes(meta, "tokenizer.ggml.token_type", v->n, v->types);
    if (pairs)
        sg_gguf_meta_texts(meta, "tokenizer.ggml.merges", v->n_merges, v->merges, v->merge_bytes);
    for (size_t i = 0; i < SG_COUNT_OF(ids); i++)
        if (ids[i].id >= 0)
            sg_gguf_meta_whole(meta, ids[i].key, ids[i].id);
    sg_gguf_meta_bool(meta, "tokenizer.ggml.add_bos_token", v->add_bos);
    sg_gguf_meta_bool(meta, "tokenizer.ggml.add_eos_token", v->add_eos);
    if (!pairs) {
        sg_gguf_meta_bool(meta, "tokenizer.ggml.add_space_prefix", v->add_space_prefix);
        sg_gguf_meta_bool(meta, "tokenizer.ggml.remove_extra_whitespaces", v->remove_extra_whitespaces);
    }
    if (v->chat_template)
        sg_gguf_meta_text(meta, "tokenizer.chat_template", v->chat_template);
}

/* ---- JSON from lists ---- */

static size_t bytes_of(const sg_tokenizer_vocab *v, int32_t i)
{
    return v->token_bytes ? v->token_bytes[i] : strlen(v->tokens[i]);
}

static int type_of(const sg_tokenizer_vocab *v, int32_t i)
{
    if (v->types)
        return v->types[i];
    return i == v->unk                                 ? SG_TOKEN_UNKNOWN
           : i == v->bos || i == v->eos || i == v->pad ? SG_TOKEN_CONTROL
                                                       : SG_TOKEN_NORMAL;
}

/* A way to make a token of SentencePiece's from two others. */
struct pair {
    float score;
    int32_t left, right, makes;
};

static int by_score(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->makes != y->makes)
        return x->makes < y->makes ? -1 : 1;
    return x->left != y->left ? (x->left < y->left ? -1 : 1) : x->right < y->right ? -1 : x->right > y->right;
}

static sg_status all_pairs(struct pair **out, size_t *n, const sg_tokenizer_vocab *v, sg_error *err)
{
    sg_map *ids = sg_map_new((size_t)v->n);
    size_t capacity = 0;
    bool failed = !ids;

    *out = NULL;
    *n = 0;
    for (int32_t i = 0; i < v->n && !failed; i++)
        if (type_of(v, i) == SG_TOKEN_NORMAL)
            failed = sg_map_put(ids, v->tokens[i], bytes_of(v, i), i) == SG_ENOMEM;
    for (int32_t i = 0; i < v->n && !failed; i++) {
        const char *text = v->tokens[i];
        const size_t bytes = bytes_of(v, i);
        if (type_of(v, i) != SG_TOKEN_NORMAL || sg_map_get(ids, text, bytes) != i)
            continue;
        for (size_t at = 1; at < bytes; at++) {
            if (((unsigned char)text[at] & 0xC0) == 0x80) /* within a character */
                continue;
            const int32_t left = sg_map_get(ids, text, at), right = sg_map_get(ids, text + at, bytes - at);
            if (left < 0 || right < 0)
                continue;
            if (*n == capacity) {
                capacity = capacity ? 2 * capacity : 1024;
                struct pair *more = realloc(*out, capacity * sizeof *more);
                failed = !more;
                if (failed)
                    break;
                *out = more;
            }
            (*out)[(*n)++] = (struct pair){v->scores ? v->scores[i] : 0, left, right, i};
        }
    }
    sg_map_free(ids);
    if (failed) {
        free(*out);
        *out = NULL;
        return no_memory(v->name, err);
    }
    if (*n)
        qsort(*out, *n, sizeof **out, by_score);
    return SG_OK;
}

static json_t *text_of(const sg_tokenizer_vocab *v, int32_t i)
{
    return json_stringn(v->tokens[i], bytes_of(v, i));
}

/* NULL when memory is out or a text is not UTF-8. */
static json_t *model_of(const sg_tokenizer_vocab *v, bool ignore_merges, const struct pair *pairs, size_t n_pairs)
{
    const bool scored = v->kind == SG_TOKENIZER_SPM;
    json_t *vocab = json_object(), *merges = json_array();
    bool failed = false;

    for (int32_t i = 0; i < v->n; i++) {
        char *key = malloc(bytes_of(v, i) + 1);
        if (!key) {
            failed = true;
            break;
        }
        memcpy(key, v->tokens[i], bytes_of(v, i));
        key[bytes_of(v, i)] = 0;
        if (type_of(v, i) != SG_TOKEN_UNUSED && !json_object_get(vocab, key)) /* copies pad a list */
            failed = failed || json_object_set_new(vocab, key, json_integer(i)) != 0;
        free(key);
    }
    for (int64_t i = 0; i < v->n_merges && !scored; i++)
        failed =
            json_array_append_new(
                merges, json_stringn(v->merges[i], v->merge_bytes ? v->merge_bytes[i] : strlen(v->merges[i]))) != 0 ||
            failed;
    for (size_t i = 0; i < n_pairs; i++)
        failed = json_array_append_new(
                     merges, json_pack("[o,o]", text_of(v, pairs[i].left), text_of(v, pairs[i].right))) != 0 ||
                 failed;
    json_t *model = json_pack("{s:s, s:n, s:o?, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                              "unk_token", v->unk >= 0 ? text_of(v, v->unk) : NULL, "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", (int)scored, "byte_fallback", (int)scored,
                              "ignore_merges", (int)ignore_merges, "vocab", vocab, "merges", merges);
    if (failed) {
        json_decref(model);
        return NULL;
    }
    return model;
}

static json_t *added_of(const sg_tokenizer_vocab *v)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < v->n; i++) {
        const int type = type_of(v, i);
        if (type == SG_TOKEN_CONTROL || type == SG_TOKEN_USER || type == SG_TOKEN_UNKNOWN)
            json_array_append_new(list, json_pack("{s:i, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (int)i, "content",
                                                  text_of(v, i), "single_word", 0, "lstrip", 0, "rstrip", 0,
                                                  "normalized", 0, "special", type != SG_TOKEN_USER));
    }
    return list;
}

static json_t *ends_of(const sg_tokenizer_vocab *v)
{
    if (!v->add_bos && !v->add_eos)
        return json_null();
    json_t *single = json_array(), *pair = json_array(), *tokens = json_object();
    const int32_t ends[2] = {v->add_bos ? v->bos : -1, v->add_eos ? v->eos : -1};
    for (int side = 0; side < 2; side++) {
        const char *name = side ? "B" : "A";
        for (int k = 0; k < 3; k++) {
            if (k != 1 && ends[k / 2] < 0)
                continue;
            json_t *step =
                k == 1 ? json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", side)
                       : json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", text_of(v, ends[k / 2]), "type_id", side);
            json_array_append_new(pair, step);
            if (!side)
                json_array_append(single, step);
        }
    }
    for (int k = 0; k < 2; k++)
        if (ends[k] >= 0) {
            json_t *text = text_of(v, ends[k]);
            const char *key = json_string_value(text);
            if (key)
                json_object_set_new(tokens, key,
                                    json_pack("{s:s, s:[i], s:[s]}", "id", key, "ids", (int)ends[k], "tokens", key));
            json_decref(text);
        }
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair", pair,
                     "special_tokens", tokens);
}

/* What stands around SentencePiece's merges in the tokenizer.json of a Llama. */
static bool sentence_parts(json_t *root, const sg_tokenizer_vocab *v)
{
    json_t *norms = json_array(), *decoders = json_array();
    if (v->add_space_prefix)
        json_array_append_new(norms, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", MARK));
    json_array_append_new(
        norms, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", MARK));
    json_array_append_new(
        decoders, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", MARK, "content", " "));
    json_array_append_new(decoders, json_pack("{s:s}", "type", "ByteFallback"));
    json_array_append_new(decoders, json_pack("{s:s}", "type", "Fuse"));
    if (v->add_space_prefix)
        json_array_append_new(
            decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    json_object_set_new(root, "pre_tokenizer", json_null());
    return json_object_set_new(root, "normalizer", json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", norms)) ==
               0 &&
           json_object_set_new(root, "decoder", json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decoders)) == 0;
}

sg_status sg_vocab_to_json(char **out, const sg_tokenizer_vocab *v, sg_error *err)
{
    const struct sg_pre *pre = NULL;
    struct pair *pairs = NULL;
    size_t n_pairs = 0;

    *out = NULL;
    if (v->kind != SG_TOKENIZER_BPE && v->kind != SG_TOKENIZER_SPM)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: no tokenizer.json is written for word pieces and unigrams", v->name);
    if (v->charsmap_bytes || (v->kind == SG_TOKENIZER_SPM && v->remove_extra_whitespaces))
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: no tokenizer.json is written for SentencePiece's normalization of texts", v->name);
    if (v->kind == SG_TOKENIZER_BPE)
        SG_TRY(sg_pre_find(&pre, v->name, v->pre ? v->pre : "default", err));
    else
        SG_TRY(all_pairs(&pairs, &n_pairs, v, err));
    json_t *root =
        json_pack("{s:s, s:n, s:n, s:o}", "version", "1.0", "truncation", "padding", "added_tokens", added_of(v));
    bool made = root && (pre ? sg_byte_level_parts(root, pre, false) : sentence_parts(root, v));
    made = made && json_object_set_new(root, "post_processor", ends_of(v)) == 0 &&
           json_object_set_new(root, "model", model_of(v, pre && pre->ignore_merges, pairs, n_pairs)) == 0;
    *out = made ? json_dumps(root, JSON_INDENT(1) | JSON_ENSURE_ASCII) : NULL;
    json_decref(root);
    free(pairs);
    return *out ? SG_OK : sg_fail(err, SG_EFORMAT, "%s: the tokens could not be written as JSON", v->name);
}
