/* The tokenizer of a model's folder, in whichever files it is:
 *
 *     tokenizer.json                 all of it
 *     tokenizer.model, spiece.model  SentencePiece's
 *     vocab.json and merges.txt      byte-level pairs
 *     vocab.txt                      WordPiece's, a token a line
 *
 * and beside them tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja, gathered
 * here as "settings": the first two's members in one object, with "added" a list like a tokenizer.json's. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

/* ---- settings ---- */

static const char *const special_names[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                            "sep_token", "cls_token", "mask_token"};

/* The text of a special token, which is written as a text or as an object with one. */
static const char *special_text(const json_t *settings, const char *name)
{
    const json_t *value = json_object_get(settings, name);
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

static bool flag(const json_t *settings, const char *key, bool fallback)
{
    const json_t *value = json_object_get(settings, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

void sg_settings_ends(const json_t *settings, sg_tokenizer_vocab *v)
{
    v->add_bos = flag(settings, "add_bos_token", v->bos >= 0);
    v->add_eos = flag(settings, "add_eos_token", v->bos < 0 && v->eos >= 0);
    v->add_space_prefix = flag(settings, "add_prefix_space", v->add_space_prefix);
}

/* added_tokens_decoder: {"32000": {"content": ..., ...}}; added_tokens.json: {"<pad>": 32000}. */
static sg_status gather_added(const sg_reader *r, json_t *settings, json_t *plain)
{
    json_t *list = json_array(), *value;
    const char *key;
    bool failed = json_object_set_new(settings, "added", list) != 0;
    json_object_foreach(json_object_get(settings, "added_tokens_decoder"), key, value)
    {
        char *end;
        const long id = strtol(key, &end, 10);
        json_t *token = json_is_object(value) ? json_copy(value) : NULL;
        if (*key == '\0' || *end != '\0' || id < 0 || id >= 1 << 24 ||
            !json_is_string(json_object_get(token, "content"))) {
            json_decref(token);
            return sg_fail(r->err, SG_EFORMAT, "%s: added_tokens_decoder holds something else than tokens by their ids",
                           r->name);
        }
        failed |= json_object_set_new(token, "id", json_integer(id)) != 0 || json_array_append_new(list, token) != 0;
    }
    json_object_foreach(plain, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < json_array_size(list); i++)
            known |= strcmp(json_string_value(json_object_get(json_array_get(list, i), "content")), key) == 0;
        bool special = false;
        for (size_t i = 0; i < SG_COUNT_OF(special_names); i++) {
            const char *text = special_text(settings, special_names[i]);
            special |= text && strcmp(text, key) == 0;
        }
        if (!known)
            failed |= json_array_append_new(list, json_pack("{s:s, s:O, s:b, s:b}", "content", key, "id", value,
                                                            "special", special, "normalized", 0)) != 0;
    }
    return failed ? sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name) : SG_OK;
}

/* NULL without an error where there is no such file. */
static sg_status load_json(const sg_reader *r, const char *dir, const char *name, json_t **out)
{
    json_error_t why;
    sg_file *file;
    *out = NULL;
    char *path = sg_arena_printf(r->arena, "%s/%s", dir, name);
    if (!path)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    const sg_status status = sg_file_open(&file, path, r->err);
    if (status != SG_OK)
        return status == SG_ENOTFOUND ? SG_OK : status;
    const char *text = sg_file_data(file) ? (const char *)sg_file_data(file) : "";
    *out = json_loadb(text, sg_file_bytes(file), 0, &why);
    sg_file_close(file);
    if (!*out)
        return sg_json_refused(path, &why, r->err);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return sg_fail(r->err, SG_EFORMAT, "%s: not a JSON object", path);
    }
    return SG_OK;
}

static sg_status load_settings(const sg_reader *r, const char *dir, json_t **out)
{
    json_t *config = NULL, *map = NULL, *added = NULL;
    *out = NULL;
    sg_status status = load_json(r, dir, "tokenizer_config.json", &config);
    if (status == SG_OK)
        status = load_json(r, dir, "special_tokens_map.json", &map);
    if (status == SG_OK)
        status = load_json(r, dir, "added_tokens.json", &added);
    json_t *settings = status == SG_OK ? (config ? config : json_object()) : NULL;
    if (status == SG_OK && (!settings || json_object_update_missing(settings, map ? map : settings) != 0))
        status = sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    if (status == SG_OK)
        status = gather_added(r, settings, added);
    json_decref(map);
    json_decref(added);
    if (status == SG_OK) {
        *out = settings;
    } else {
        json_decref(settings ? settings : config);
    }
    return status;
}

/* ---- what every tokenizer of a folder gets: named ids and a chat template ---- */

/* One template, or a list of named ones of which "default" is taken, or else the first. */
static const char *template_of(const json_t *settings)
{
    const json_t *value = json_object_get(settings, "chat_template");
    const char *found = json_string_value(value);
    for (size_t i = json_array_size(value); i-- > 0;) {
        const json_t *item = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (i == 0 || (name && strcmp(name, "default") == 0)) {
            const char *text = json_string_value(json_object_get(item, "template"));
            if (text && (!found || i > 0))
                found = text;
        }
    }
    return found;
}

static sg_status load_template(sg_tokenizer *t, const sg_reader *r, const char *dir, const json_t *settings)
{
    sg_file *file;
    char *path = sg_arena_printf(r->arena, "%s/chat_template.jinja", dir);
    if (!path)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    const sg_status status = sg_file_open(&file, path, r->err);
    if (status != SG_OK && status != SG_ENOTFOUND)
        return status;
    const char *text = template_of(settings);
    if (status == SG_OK) {
        const char *bytes = (const char *)sg_file_data(file);
        t->chat_template = sg_arena_strndup(r->arena, bytes ? bytes : "", sg_file_bytes(file));
        sg_file_close(file);
    } else if (text) {
        t->chat_template = sg_arena_strdup(r->arena, text);
    } else {
        return SG_OK;
    }
    return t->chat_template ? SG_OK : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
}

static void name_ids(sg_tokenizer *t, const json_t *settings)
{
    int32_t *const ids[] = {&t->special.bos, &t->special.eos, &t->special.unk, &t->special.pad,
                            &t->special.sep, &t->special.cls, &t->special.mask};
    for (size_t i = 0; i < SG_COUNT_OF(ids); i++) {
        const char *text = special_text(settings, special_names[i]);
        const int32_t id = text ? sg_vocab_find(&t->vocab, text, strlen(text)) : -1;
        if (id >= 0)
            *ids[i] = id;
    }
}

/* ---- vocab.json and merges.txt ---- */

/* What a class of tokenizers is made of beyond its lists. */
static const struct {
    const char *class, *pre; /* the pre-tokenizer's name among GGUF's */
    const char *suffix;      /* of a word's last character */
    const char *bos, *eos;   /* put around a text; NULL: only where add_bos_token and add_eos_token say so */
} classes[] = {
    {"Qwen2Tokenizer", "qwen2", "", NULL, NULL},
    {"GPTNeoXTokenizer", "gpt-neox", "", NULL, NULL},
    {"RobertaTokenizer", "gpt-2", "", "<s>", "</s>"},
    {"BartTokenizer", "gpt-2", "", "<s>", "</s>"},
    {"LongformerTokenizer", "gpt-2", "", "<s>", "</s>"},
    {"CLIPTokenizer", "clip", "</w>", "<|startoftext|>", "<|endoftext|>"},
    {"GPT2Tokenizer", "gpt-2", "", NULL, NULL}, /* the last is for all that are not listed */
};

static size_t class_of(const json_t *settings)
{
    const char *name = json_string_value(json_object_get(settings, "tokenizer_class"));
    size_t i = 0;
    while (i + 1 < SG_COUNT_OF(classes) && (!name || strncmp(name, classes[i].class, strlen(classes[i].class)) != 0))
        i++;
    return i;
}

static sg_status read_merge_lines(const sg_reader *r, const char *dir, json_t *model)
{
    sg_file *file;
    char *path = sg_arena_printf(r->arena, "%s/merges.txt", dir);
    if (!path)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    SG_TRY(sg_file_open(&file, path, r->err));
    json_t *list = json_array();
    bool failed = json_object_set_new(model, "merges", list) != 0;
    const char *at = (const char *)sg_file_data(file), *end = at ? at + sg_file_bytes(file) : at;
    for (bool first = true; at < end && !failed; first = false) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        const size_t n = (size_t)(stop - at) - (stop > at && stop[-1] == '\r');
        /* Only the first line is a heading: a later one may be a merge of "#version". */
        if (n > 0 && !(first && n >= 8 && memcmp(at, "#version", 8) == 0))
            failed = json_array_append_new(list, json_stringn(at, n)) != 0; /* NULL where it is not UTF-8 */
        at = stop + 1;
    }
    sg_file_close(file);
    return failed ? sg_fail(r->err, SG_EFORMAT, "%s: line %zu is not UTF-8, or memory ran out", path,
                            json_array_size(list) + 1)
                  : SG_OK;
}

static int32_t id_of(const sg_tokenizer *t, const json_t *settings, const char *name, const char *fallback)
{
    const char *text = special_text(settings, name);
    text = text ? text : fallback;
    return text ? sg_vocab_find(&t->vocab, text, strlen(text)) : -1;
}

static sg_status read_pairs(sg_tokenizer *t, const sg_reader *r, const char *dir, json_t *root, const json_t *settings)
{
    const size_t class = class_of(settings);
    json_t *vocab, *model = json_object();
    SG_TRY(json_object_set_new(root, "model", model) == 0 ? SG_OK
                                                          : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name));
    SG_TRY(load_json(r, dir, "vocab.json", &vocab));
    const char *unk = special_text(settings, "unk_token");
    if (json_object_set_new(model, "type", json_string("BPE")) != 0 ||
        json_object_set_new(model, "vocab", vocab) != 0 ||
        (*classes[class].suffix &&
         json_object_set_new(model, "end_of_word_suffix", json_string(classes[class].suffix)) != 0) ||
        (unk && json_object_get(vocab, unk) && json_object_set_new(model, "unk_token", json_string(unk)) != 0) ||
        json_object_set(root, "added_tokens", json_object_get(settings, "added")) != 0)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    SG_TRY(read_merge_lines(r, dir, model));
    const struct sg_pre *pre;
    SG_TRY(sg_pre_find(&pre, r->name, classes[class].pre, r->err));
    if (!sg_byte_level_parts(root, pre, flag(settings, "add_prefix_space", false)))
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    SG_TRY(sg_whole_read(t, r, root));
    const bool around = classes[class].bos != NULL;
    const int32_t bos = id_of(t, settings, "bos_token", classes[class].bos);
    const int32_t eos = id_of(t, settings, "eos_token", classes[class].eos);
    return sg_ends_set(t, r, flag(settings, "add_bos_token", around) ? bos : -1,
                       flag(settings, "add_eos_token", around) ? eos : -1);
}

/* ---- vocab.txt ---- */

static sg_status read_word_list(sg_tokenizer *t, const sg_reader *r, const sg_file *file, const json_t *settings)
{
    const char *at = (const char *)sg_file_data(file), *end = at ? at + sg_file_bytes(file) : at;
    size_t n = 0;
    for (const char *c = at; c < end; c++)
        n += *c == '\n';
    const char **tokens = malloc((n + 1) * sizeof *tokens);
    size_t *bytes = malloc((n + 1) * sizeof *bytes);
    sg_tokenizer_vocab v = sg_tokenizer_vocab_defaults();
    sg_status status = tokens && bytes ? SG_OK : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    for (n = 0; status == SG_OK && at < end; n++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        tokens[n] = at;
        bytes[n] = (size_t)(stop - at) - (stop > at && stop[-1] == '\r');
        at = stop + 1;
    }
    if (status == SG_OK && n >= 1 << 24)
        status = sg_fail(r->err, SG_EUNSUPPORTED, "%s: %zu tokens", r->name, n);
    if (status == SG_OK) {
        int32_t *const ids[] = {&v.unk, &v.pad, &v.sep, &v.cls, &v.mask};
        static const char *const texts[] = {"[UNK]", "[PAD]", "[SEP]", "[CLS]", "[MASK]"};
        v.name = r->name;
        v.kind = SG_TOKENIZER_WORDPIECE;
        v.n = (int32_t)n;
        v.tokens = tokens;
        v.token_bytes = bytes;
        v.add_bos = v.add_eos = true;
        for (size_t k = 0; k < SG_COUNT_OF(ids); k++) {
            const char *text = special_text(settings, special_names[k + 2]);
            text = text ? text : texts[k];
            for (size_t i = 0; i < n; i++)
                if (bytes[i] == strlen(text) && memcmp(tokens[i], text, bytes[i]) == 0)
                    *ids[k] = (int32_t)i;
        }
        status = sg_lists_read(t, r, &v, settings);
    }
    free(tokens);
    free(bytes);
    return status;
}

/* ---- which there is ---- */

/* Opens DIR/NAME; *out stays NULL where there is none. */
static sg_status open_if_there(const sg_reader *r, const char *dir, const char *name, sg_file **out, const char **path)
{
    *out = NULL;
    *path = sg_arena_printf(r->arena, "%s/%s", dir, name);
    if (!*path)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    const sg_status status = sg_file_open(out, *path, r->err);
    return status == SG_ENOTFOUND ? SG_OK : status;
}

static sg_status read_json_file(sg_tokenizer *t, const sg_reader *r, const sg_file *file)
{
    json_error_t why;
    const char *text = sg_file_data(file) ? (const char *)sg_file_data(file) : "";
    json_t *root = json_loadb(text, sg_file_bytes(file), JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return sg_json_refused(r->name, &why, r->err);
    const sg_status status = sg_whole_read(t, r, root);
    json_decref(root);
    return status;
}

static sg_status read_file(sg_tokenizer *t, const sg_reader *folder, const char *dir, json_t *settings)
{
    static const struct {
        const char *name;
        enum { JSON, PIECES, PAIRS, WORDS } kind;
    } files[] = {{"tokenizer.json", JSON},
                 {"tokenizer.model", PIECES},
                 {"spiece.model", PIECES},
                 {"vocab.json", PAIRS},
                 {"vocab.txt", WORDS}};
    sg_reader r = *folder;
    for (size_t i = 0; i < SG_COUNT_OF(files); i++) {
        sg_file *file;
        SG_TRY(open_if_there(folder, dir, files[i].name, &file, &r.name));
        if (!file)
            continue;
        sg_status status;
        if (files[i].kind == JSON) {
            status = read_json_file(t, &r, file);
        } else if (files[i].kind == PIECES) {
            status = sg_sentencepiece_read(t, &r, sg_file_data(file), sg_file_bytes(file), settings);
        } else if (files[i].kind == WORDS) {
            status = read_word_list(t, &r, file, settings);
        } else {
            json_t *root = json_object();
            status = read_pairs(t, &r, dir, root, settings);
            json_decref(root);
        }
        sg_file_close(file);
        return status;
    }
    return sg_fail(folder->err, SG_ENOTFOUND,
                   "%s: no tokenizer.json, tokenizer.model, vocab.json with merges.txt, or vocab.txt", dir);
}

static sg_status read_folder(sg_tokenizer *t, const sg_reader *r, const char *dir)
{
    json_t *settings;
    SG_TRY(load_settings(r, dir, &settings));
    sg_status status = read_file(t, r, dir, settings);
    if (status == SG_OK)
        status = load_template(t, r, dir, settings);
    if (status == SG_OK)
        name_ids(t, settings);
    json_decref(settings);
    return status;
}

sg_status sg_tokenizer_open_folder(sg_tokenizer **out, const char *dir, sg_error *err)
{
    sg_reader r;
    SG_TRY(sg_tokenizer_begin(out, &r, dir, err));
    return sg_tokenizer_end(out, read_folder(*out, &r, dir));
}
