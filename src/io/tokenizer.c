/* The tokenizer: opens the parts of a tokenizer.json and runs texts through them.  Nothing is written to it after it
 * was opened; what a call needs on the way lives in that call. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

/* ---- lists of ids ---- */

sg_status sg_tokens_push(sg_tokens *t, int32_t id, sg_error *err)
{
    if (t->n == t->capacity) {
        const int64_t capacity = t->capacity ? 2 * t->capacity : 64;
        int32_t *ids = realloc(t->ids, (size_t)capacity * sizeof *ids);
        if (!ids)
            return sg_fail(err, SG_ENOMEM, "out of memory for %lld token ids", (long long)capacity);
        t->ids = ids;
        t->capacity = capacity;
    }
    t->ids[t->n++] = id;
    return SG_OK;
}

void sg_tokens_free(sg_tokens *t)
{
    free(t->ids);
    *t = (sg_tokens){0};
}

sg_encode_opts sg_encode_defaults(void)
{
    return (sg_encode_opts){.add_special = true, .parse_special = true};
}

/* ---- the post-processor: ids before and after the text's ---- */

struct around {
    sg_tokens before, after;
};

/* The ids that a template's special token stands for. */
static sg_status template_ids(const sg_reader *r, const json_t *template, const char *name, sg_tokens *out)
{
    char shown[SG_SHOWN];
    const json_t *ids = json_object_get(json_object_get(json_object_get(template, "special_tokens"), name), "ids");
    if (!json_is_array(ids))
        return sg_fail(r->err, SG_EFORMAT, "%s: post_processor names \"%s\" without giving its ids", r->name,
                       sg_show(shown, name));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        int32_t id;
        SG_TRY(sg_json_id(r, json_array_get(ids, i), name, &id));
        SG_TRY(sg_tokens_push(out, id, r->err));
    }
    return SG_OK;
}

static sg_status read_template(const sg_reader *r, const json_t *json, struct around *out)
{
    const json_t *single = json_object_get(json, "single");
    if (!json_is_array(single))
        return sg_fail(r->err, SG_EFORMAT, "%s: post_processor's \"single\" is not a list", r->name);
    bool seen = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const char *name = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        const char *text = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
        if (name) {
            SG_TRY(template_ids(r, json, name, seen ? &out->after : &out->before));
        } else if (text && strcmp(text, "A") == 0 && !seen) {
            seen = true;
        } else {
            return sg_fail(r->err, SG_EFORMAT,
                           "%s: item %zu of post_processor's \"single\" is no special token and no "
                           "first sequence A",
                           r->name, i);
        }
    }
    return seen ? SG_OK : sg_fail(r->err, SG_EFORMAT, "%s: post_processor's \"single\" lacks the sequence A", r->name);
}

/* BERT's and RoBERTa's: "cls": [text, id] before, "sep": [text, id] after. */
static sg_status read_pair_of_ends(const sg_reader *r, const json_t *json, struct around *out)
{
    int32_t id;
    SG_TRY(sg_json_id(r, json_array_get(json_object_get(json, "cls"), 1), "cls", &id));
    SG_TRY(sg_tokens_push(&out->before, id, r->err));
    SG_TRY(sg_json_id(r, json_array_get(json_object_get(json, "sep"), 1), "sep", &id));
    return sg_tokens_push(&out->after, id, r->err);
}

/* Processors run one after another, so a later one's ids go around an earlier one's. */
static sg_status wrap(sg_tokenizer *t, const sg_reader *r, const struct around *new)
{
    const size_t n_new_before = (size_t) new->before.n, n_new_after = (size_t) new->after.n;
    const size_t n_old = t->n_before + t->n_after;
    int32_t *all = sg_arena_array(r->arena, n_new_before + n_old + n_new_after + 1, sizeof *all);
    if (!all)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    for (size_t i = 0; i < n_new_before; i++)
        all[i] = new->before.ids[i];
    for (size_t i = 0; i < n_old; i++)
        all[n_new_before + i] = t->around[i];
    for (size_t i = 0; i < n_new_after; i++)
        all[n_new_before + n_old + i] = new->after.ids[i];
    t->around = all;
    t->n_before += n_new_before;
    t->n_after += n_new_after;
    return SG_OK;
}

static sg_status read_post_processor(sg_tokenizer *t, const sg_reader *r, const json_t *root)
{
    sg_json_steps list;
    SG_TRY(sg_json_open_steps(r, root, "post_processor", "processors", &list));
    SG_TRY(wrap(t, r, &(struct around){0})); /* so that there is a list, if an empty one */
    for (int i = 0; i < list.n; i++) {
        const char *type = list.type[i];
        struct around ends = {0};
        sg_status status = SG_OK;
        if (strcmp(type, "TemplateProcessing") == 0)
            status = read_template(r, list.step[i], &ends);
        else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
            status = read_pair_of_ends(r, list.step[i], &ends);
        else if (strcmp(type, "ByteLevel") != 0) /* which is about offsets alone */
            status = sg_json_unsupported(r, "post_processor", type);
        if (status == SG_OK)
            status = wrap(t, r, &ends);
        sg_tokens_free(&ends.before);
        sg_tokens_free(&ends.after);
        SG_TRY(status);
    }
    return SG_OK;
}

sg_status sg_ends_set(sg_tokenizer *t, const sg_reader *r, int32_t before, int32_t after)
{
    t->n_before = t->n_after = 0;
    t->around = sg_arena_array(r->arena, 2, sizeof *t->around);
    if (!t->around)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    if (before >= 0)
        t->around[t->n_before++] = before;
    if (after >= 0)
        t->around[t->n_before + t->n_after++] = after;
    return SG_OK;
}

/* ---- opening ---- */

/* The members "truncation" and "padding" are left alone: how much to keep is the caller's choice here. */
sg_status sg_whole_read(sg_tokenizer *t, const sg_reader *r, const json_t *root)
{
    if (!json_is_object(root))
        return sg_fail(r->err, SG_EFORMAT, "%s: not a JSON object", r->name);
    const json_t *model = sg_json_member(root, "model"), *added = sg_json_member(root, "added_tokens");
    SG_TRY(sg_token_model_check(&t->model, r, model));
    SG_TRY(sg_vocab_read(&t->vocab, r, model, added));
    SG_TRY(sg_token_model_read(&t->model, r, model, &t->vocab));
    SG_TRY(sg_parts_read(t, r, root));
    return read_post_processor(t, r, root);
}

sg_status sg_parts_read(sg_tokenizer *t, const sg_reader *r, const json_t *root)
{
    SG_TRY(sg_normalizer_read(&t->normalizer, r, root));
    SG_TRY(sg_added_read(&t->raw, &t->normalized, r, sg_json_member(root, "added_tokens"), t->normalizer));
    SG_TRY(sg_pretokenizer_read(&t->pretokenizer, r, root, &t->model));
    return sg_decoder_read(&t->decoder, r, root);
}

/* jansson quotes the text near an error, line ends included; where memory ran out it mostly says nothing. */
sg_status sg_json_refused(const char *name, const json_error_t *why, sg_error *err)
{
    char text[JSON_ERROR_TEXT_LENGTH];
    snprintf(text, sizeof text, "%s", why->text);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    if (text[0] == '\0' || json_error_code(why) == json_error_out_of_memory)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    return sg_fail(err, SG_EFORMAT, "%s: line %d: %s", name, why->line, text);
}

sg_status sg_tokenizer_begin(sg_tokenizer **out, sg_reader *r, const char *name, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_tokenizer *t = *out = arena ? sg_arena_alloc(arena, sizeof *t) : NULL;
    if (!t) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    t->arena = arena;
    t->special = (sg_special_ids){-1, -1, -1, -1, -1, -1, -1};
    *r = (sg_reader){.name = name, .arena = arena, .err = err};
    return SG_OK;
}

sg_status sg_tokenizer_end(sg_tokenizer **t, sg_status status)
{
    if (status != SG_OK) {
        sg_tokenizer_free(*t);
        *t = NULL;
    }
    return status;
}

sg_status sg_tokenizer_parse(sg_tokenizer **out, const char *json, size_t n_bytes, const char *name, sg_error *err)
{
    json_error_t why;
    *out = NULL;
    json_t *root = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return sg_json_refused(name, &why, err);
    sg_reader r;
    sg_status status = sg_tokenizer_begin(out, &r, name, err);
    if (status == SG_OK)
        status = sg_tokenizer_end(out, sg_whole_read(*out, &r, root));
    json_decref(root);
    return status;
}

sg_status sg_tokenizer_open(sg_tokenizer **out, const char *path, sg_error *err)
{
    sg_file *file;
    *out = NULL;
    SG_TRY(sg_file_open(&file, path, err));
    const char *json = (const char *)sg_file_data(file), *end = strrchr(path, '.');
    const sg_status status =
        end && strcmp(end, ".model") == 0
            ? sg_tokenizer_parse_sentencepiece(out, json ? json : "", sg_file_bytes(file), path, err)
            : sg_tokenizer_parse(out, json ? json : "", sg_file_bytes(file), path, err);
    sg_file_close(file);
    return status;
}

void sg_tokenizer_free(sg_tokenizer *t)
{
    if (t)
        sg_arena_free(t->arena);
}

int32_t sg_tokenizer_size(const sg_tokenizer *t)
{
    return t->vocab.n_ids;
}

const char *sg_tokenizer_token(const sg_tokenizer *t, int32_t id)
{
    const sg_vocab_entry *e = sg_vocab_at(&t->vocab, id);
    return e ? e->text : NULL;
}

int32_t sg_tokenizer_id(const sg_tokenizer *t, const char *token)
{
    return sg_vocab_find(&t->vocab, token, strlen(token));
}

bool sg_tokenizer_is_special(const sg_tokenizer *t, int32_t id)
{
    const sg_vocab_entry *e = sg_vocab_at(&t->vocab, id);
    return e && e->special;
}

sg_special_ids sg_tokenizer_specials(const sg_tokenizer *t)
{
    return t->special;
}

const char *sg_tokenizer_chat_template(const sg_tokenizer *t)
{
    return t->chat_template;
}

/* ---- encoding ---- */

struct encoding {
    const sg_tokenizer *t;
    sg_encode_opts opts;
    sg_tokens *out;
    sg_error *err;
    sg_norm_work norm;
    sg_pretok_work pretok;
};

/* Text between two added tokens; `first` if the user's text begins with it. */
static sg_status encode_between(struct encoding *e, const char *text, size_t n, bool first)
{
    const sg_tokenizer *t = e->t;
    SG_TRY(sg_normalize(t->normalizer, &e->norm, text, n, &text, &n, e->err));
    sg_added_walk walk = {.added = &t->normalized, .text = text, .n = n, .specials = e->opts.parse_special};
    for (sg_span span; sg_added_next(&walk, &span);) {
        if (span.id >= 0)
            SG_TRY(sg_tokens_push(e->out, span.id, e->err));
        else
            SG_TRY(sg_pretokenize(t->pretokenizer, &e->pretok, text + span.start, span.end - span.start,
                                  first && span.start == 0, e->out, e->err));
    }
    return SG_OK;
}

static sg_status encode_text(struct encoding *e, const char *text, size_t n)
{
    sg_added_walk walk = {.added = &e->t->raw, .text = text, .n = n, .specials = e->opts.parse_special};
    for (sg_span span; sg_added_next(&walk, &span);) {
        if (span.id >= 0)
            SG_TRY(sg_tokens_push(e->out, span.id, e->err));
        else
            SG_TRY(encode_between(e, text + span.start, span.end - span.start, span.start == 0));
    }
    return SG_OK;
}

static sg_status push_all(sg_tokens *out, const int32_t *ids, size_t n, sg_error *err)
{
    for (size_t i = 0; i < n; i++)
        SG_TRY(sg_tokens_push(out, ids[i], err));
    return SG_OK;
}

static sg_status encode(struct encoding *e, const char *text)
{
    const sg_tokenizer *t = e->t;
    sg_str valid = {0};
    sg_utf8_repair(&valid, text, strlen(text));
    sg_status status = valid.failed ? sg_fail(e->err, SG_ENOMEM, "out of memory") : SG_OK;
    if (status == SG_OK && e->opts.add_special)
        status = push_all(e->out, t->around, t->n_before, e->err);
    if (status == SG_OK)
        status = encode_text(e, valid.text, valid.bytes);
    if (status == SG_OK && e->opts.add_special)
        status = push_all(e->out, t->around + t->n_before, t->n_after, e->err);
    sg_str_free(&valid);
    return status;
}

sg_status sg_tokenizer_encode(const sg_tokenizer *t, const char *text, sg_encode_opts opts, sg_tokens *out,
                              sg_error *err)
{
    const int64_t n_before = out->n;
    struct encoding e = {.t = t, .opts = opts, .out = out, .err = err};
    const sg_status status = encode(&e, text);
    sg_norm_work_free(&e.norm);
    sg_pretok_work_free(&e.pretok);
    if (status != SG_OK)
        out->n = n_before;
    return status;
}

/* ---- decoding ---- */

static sg_status push_id(const sg_tokenizer *t, sg_decode *d, int32_t id, bool skip_special, sg_error *err)
{
    const sg_vocab_entry *e = sg_vocab_at(&t->vocab, id);
    if (id < 0)
        return sg_fail(err, SG_EARG, "token id %d is negative", (int)id);
    if (!e || (skip_special && e->special))
        return SG_OK;
    return sg_decode_push(d, e->text, e->bytes, err);
}

sg_status sg_tokenizer_decode(const sg_tokenizer *t, const int32_t *ids, int64_t n, bool skip_special, char **out,
                              sg_error *err)
{
    *out = NULL;
    sg_decode *d = sg_decode_new(t->decoder);
    if (!d)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_status status = SG_OK;
    for (int64_t i = 0; i < n && status == SG_OK; i++)
        status = push_id(t, d, ids[i], skip_special, err);
    if (status == SG_OK)
        status = sg_decode_finish(d, err);
    if (status == SG_OK)
        status = sg_decode_take(d, out, err);
    sg_decode_free(d);
    return status;
}

static sg_status start(const sg_tokenizer *t, sg_stream *s, sg_error *err)
{
    if (!s->state)
        s->state = sg_decode_new(t->decoder);
    return s->state ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
}

sg_status sg_stream_push(const sg_tokenizer *t, sg_stream *s, int32_t id, char **piece, sg_error *err)
{
    *piece = NULL;
    SG_TRY(start(t, s, err));
    SG_TRY(push_id(t, s->state, id, true, err));
    return sg_decode_take(s->state, piece, err);
}

sg_status sg_stream_finish(const sg_tokenizer *t, sg_stream *s, char **piece, sg_error *err)
{
    *piece = NULL;
    SG_TRY(start(t, s, err));
    SG_TRY(sg_decode_finish(s->state, err));
    SG_TRY(sg_decode_take(s->state, piece, err));
    sg_stream_free(s);
    return SG_OK;
}

void sg_stream_free(sg_stream *s)
{
    sg_decode_free(s->state);
    *s = (sg_stream){0};
}
