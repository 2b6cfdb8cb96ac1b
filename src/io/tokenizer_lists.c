/* A tokenizer from plain lists of tokens, scores and merges, as GGUF files and SentencePiece's models hold them.  What
 * surrounds the model (normalizer, pre-tokenizer, decoder) is written as the tokenizer.json of such a model would have
 * it and read by the same code, so that there is one meaning of each part. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

#define MARK "\xE2\x96\x81"

sg_tokenizer_vocab sg_tokenizer_vocab_defaults(void)
{
    return (sg_tokenizer_vocab){.name = "vocabulary",
                                .bos = -1,
                                .eos = -1,
                                .unk = -1,
                                .pad = -1,
                                .sep = -1,
                                .cls = -1,
                                .mask = -1,
                                .add_space_prefix = true};
}

static size_t bytes_of(const sg_tokenizer_vocab *in, int32_t i)
{
    return in->token_bytes ? in->token_bytes[i] : strlen(in->tokens[i]);
}

/* ---- the lists ---- */

static sg_status check_ids(const sg_tokenizer_vocab *in, sg_error *err)
{
    const struct {
        const char *name;
        int32_t id;
    } ids[] = {{"bos", in->bos}, {"eos", in->eos}, {"unk", in->unk},  {"pad", in->pad},
               {"sep", in->sep}, {"cls", in->cls}, {"mask", in->mask}};
    for (size_t i = 0; i < SG_COUNT_OF(ids); i++)
        if (ids[i].id < -1 || ids[i].id >= in->n)
            return sg_fail(err, SG_EFORMAT, "%s: the %s token is %d, of %d tokens", in->name, ids[i].name,
                           (int)ids[i].id, (int)in->n);
    return SG_OK;
}

static sg_status check_lists(const sg_tokenizer_vocab *in, sg_error *err)
{
    if (in->n < 0 || in->n > 1 << 24 || (in->n > 0 && !in->tokens))
        return sg_fail(err, SG_EFORMAT, "%s: a list of %d tokens", in->name, (int)in->n);
    if (in->n_merges < 0 || (in->n_merges > 0 && !in->merges))
        return sg_fail(err, SG_EFORMAT, "%s: a list of %lld merges", in->name, (long long)in->n_merges);
    if ((in->kind == SG_TOKENIZER_SPM || in->kind == SG_TOKENIZER_UNIGRAM) && !in->scores)
        return sg_fail(err, SG_EFORMAT, "%s: the tokens have no scores", in->name);
    for (int32_t i = 0; in->scores && i < in->n; i++)
        if (!isfinite(in->scores[i]))
            return sg_fail(err, SG_EFORMAT, "%s: the score of token %d is %g", in->name, (int)i, (double)in->scores[i]);
    for (int32_t i = 0; in->types && i < in->n; i++)
        if (in->types[i] < 0 || in->types[i] > SG_TOKEN_BYTE)
            return sg_fail(err, SG_EFORMAT, "%s: the type of token %d is %d, wanted 1 to 6", in->name, (int)i,
                           (int)in->types[i]);
    return check_ids(in, err);
}

/* What the token is, told from its text where the lists do not say. */
static sg_token_type type_of(const sg_tokenizer_vocab *in, int32_t i)
{
    if (in->types && in->types[i] != 0)
        return (sg_token_type)in->types[i];
    if (i == in->unk)
        return SG_TOKEN_UNKNOWN;
    if (i == in->bos || i == in->eos || i == in->pad || i == in->sep || i == in->cls || i == in->mask)
        return SG_TOKEN_CONTROL;
    const bool bytes = in->kind == SG_TOKENIZER_SPM || in->kind == SG_TOKENIZER_UNIGRAM;
    return bytes && sg_named_byte(in->tokens[i], bytes_of(in, i)) >= 0 ? SG_TOKEN_BYTE : SG_TOKEN_NORMAL;
}

/* Byte-level merges may lead through any token; SentencePiece's only to what is normal. */
static sg_vocab_place place_of(const sg_tokenizer_vocab *in, int32_t i)
{
    const sg_token_type type = type_of(in, i);
    if (in->kind == SG_TOKENIZER_BPE || in->kind == SG_TOKENIZER_WORDPIECE || type == SG_TOKEN_NORMAL ||
        type == SG_TOKEN_BYTE || type == SG_TOKEN_UNKNOWN)
        return SG_VOCAB_MODEL;
    return SG_VOCAB_ADDED;
}

/* GGUF writes WordPiece's tokens with a mark before those that begin a word and nothing before those that go on; those
 * in brackets it leaves alone.  Here they are as in vocab.txt. */
static bool has_marks(const sg_tokenizer_vocab *in)
{
    for (int32_t i = 0; in->kind == SG_TOKENIZER_WORDPIECE && i < in->n; i++)
        if (bytes_of(in, i) > 3 && memcmp(in->tokens[i], MARK, 3) == 0)
            return true;
    return false;
}

static void put_text(const sg_tokenizer_vocab *in, int32_t i, bool marks, sg_str *out)
{
    const char *text = in->tokens[i];
    const size_t n = bytes_of(in, i);
    out->bytes = 0;
    sg_str_puts(out, "");
    const bool bracketed = n > 1 && text[0] == '[' && text[n - 1] == ']';
    if (marks && n >= 3 && memcmp(text, MARK, 3) == 0) {
        sg_utf8_repair(out, text + 3, n - 3);
        return;
    }
    if (marks && !bracketed && type_of(in, i) != SG_TOKEN_CONTROL)
        sg_str_puts(out, "##");
    sg_utf8_repair(out, text, n);
}

/* A text that another token has already is no error: some files pad their lists with copies. It is shown and never
 * made. */
static sg_status read_tokens(sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in, const json_t *more)
{
    size_t bytes = 0;
    int32_t n_ids = in->n, id;
    for (int32_t i = 0; i < in->n; i++)
        bytes += 3 * bytes_of(in, i) + 3; /* a byte that is not UTF-8 becomes three */
    for (size_t i = 0; i < json_array_size(more); i++) {
        const json_t *token = json_array_get(more, i);
        const char *content = json_string_value(json_object_get(token, "content"));
        SG_TRY(sg_json_id(r, json_object_get(token, "id"), content, &id));
        bytes += strlen(content) + 1;
        n_ids = SG_MAX(n_ids, id + 1);
    }
    const size_t n = (size_t)in->n + json_array_size(more);
    SG_TRY(sg_vocab_begin(&t->vocab, r, n, n, n_ids, bytes));
    const bool marks = has_marks(in);
    sg_str text = {0};
    sg_status status = SG_OK;
    for (int32_t i = 0; i < in->n && status == SG_OK; i++) {
        put_text(in, i, marks, &text);
        if (text.failed) {
            status = sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
            break;
        }
        const bool again = sg_vocab_find(&t->vocab, text.text, text.bytes) >= 0;
        status = sg_vocab_put(&t->vocab, r, again ? SG_VOCAB_SHOWN : place_of(in, i), text.text, text.bytes, i);
        const sg_token_type type = type_of(in, i);
        if (type == SG_TOKEN_CONTROL || type == SG_TOKEN_UNKNOWN)
            sg_vocab_mark(&t->vocab, i);
    }
    sg_str_free(&text);
    for (size_t i = 0; i < json_array_size(more) && status == SG_OK; i++)
        status = sg_vocab_put_added(&t->vocab, r, json_array_get(more, i));
    return status;
}

/* ---- the models ---- */

static sg_status copy_text(const sg_reader *r, const char *text, const char **out)
{
    *out = text ? sg_arena_strdup(r->arena, text) : NULL;
    return *out || !text ? SG_OK : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
}

static const char *token_text(const sg_tokenizer *t, int32_t id)
{
    return id < 0 ? NULL : sg_vocab_at(&t->vocab, id)->text;
}

static sg_status read_byte_level(sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in, bool ignore_merges)
{
    const sg_bpe_opts opts = {.prefix = "", .suffix = "", .ignore_merges = ignore_merges};
    SG_TRY(sg_bpe_new(&t->model.bpe, r, &opts, &t->vocab));
    SG_TRY(sg_bpe_reserve(t->model.bpe, r, (size_t)in->n_merges));
    sg_str joined = {0};
    sg_status status = SG_OK;
    for (int64_t i = 0; i < in->n_merges && status == SG_OK; i++) {
        const char *half[2], *text = in->merges[i];
        size_t n[2];
        status = sg_bpe_halves(r, text, in->merge_bytes ? in->merge_bytes[i] : strlen(text), (size_t)i, half, n);
        if (status == SG_OK)
            status = sg_bpe_add(t->model.bpe, r, half, n, &joined);
    }
    sg_str_free(&joined);
    return status == SG_OK ? sg_bpe_finish(t->model.bpe, r) : status;
}

/* Which tokens text may become, for the caller to free. */
static sg_status list_makers(const sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in, bool **out)
{
    bool *makes = *out = calloc((size_t)t->vocab.n_ids + 1, sizeof *makes);
    if (!makes)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    for (int32_t i = 0; i < in->n; i++) {
        const sg_vocab_entry *e = sg_vocab_at(&t->vocab, i);
        makes[i] = type_of(in, i) == SG_TOKEN_NORMAL && sg_map_get(t->vocab.model_ids, e->text, e->bytes) == i;
    }
    return SG_OK;
}

static sg_status read_scored_pairs(sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in)
{
    const sg_bpe_opts opts = {
        .prefix = "", .suffix = "", .unk_token = token_text(t, in->unk), .fuse_unk = true, .byte_fallback = true};
    SG_TRY(sg_bpe_new(&t->model.bpe, r, &opts, &t->vocab));
    bool *makes;
    SG_TRY(list_makers(t, r, in, &makes));
    const sg_status status = sg_bpe_merge_by_score(t->model.bpe, r, in->scores, makes);
    free(makes);
    return status;
}

static sg_status read_unigram(sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in)
{
    sg_unigram_opts opts = {.scores = in->scores, .unk = in->unk};
    bool *makes;
    for (int32_t i = 0; i < in->n; i++)
        opts.byte_fallback |= type_of(in, i) == SG_TOKEN_BYTE;
    SG_TRY(list_makers(t, r, in, &makes));
    opts.makes = makes;
    const sg_status status = sg_unigram_new(&t->model.unigram, r, &opts, &t->vocab);
    free(makes);
    return status;
}

static sg_status read_word_pieces(sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in)
{
    const char *unk = in->unk >= 0 ? token_text(t, in->unk) : "[UNK]";
    return sg_wordpiece_new(&t->model.wordpiece, r,
                            &(sg_wordpiece_opts){.unk_token = unk, .prefix = "##", .max_chars = 100}, &t->vocab);
}

/* ---- what surrounds the model ---- */

/* Appends a step that json_pack made; a NULL one says that memory ran out. */
static void add_step(json_t *list, bool *failed, json_t *step)
{
    if (json_array_append_new(list, step) != 0)
        *failed = true;
}

static json_t *sequence(const char *key, json_t *list)
{
    return json_pack("{s:s, s:o}", "type", "Sequence", key, list);
}

bool sg_byte_level_parts(json_t *root, const struct sg_pre *pre, bool prefix_space)
{
    json_t *cuts = json_array(), *norms = json_array();
    bool failed = false;
    if (prefix_space) /* before cutting, and the text of the bytes stays as it is */
        add_step(cuts, &failed,
                 json_pack("{s:s, s:s, s:b, s:s}", "type", "Metaspace", "replacement", " ", "split", 0,
                           "prepend_scheme", "always"));
    for (size_t i = 0; i < SG_COUNT_OF(pre->patterns) && pre->patterns[i]; i++)
        add_step(cuts, &failed,
                 json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", pre->patterns[i],
                           "behavior", pre->clip ? "Removed" : "Isolated", "invert", pre->clip));
    add_step(cuts, &failed, json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0));
    if (pre->nfc)
        add_step(norms, &failed, json_pack("{s:s}", "type", "NFC"));
    if (pre->clip) {
        add_step(norms, &failed,
                 json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "Regex", "\\s+", "content", " "));
        add_step(norms, &failed, json_pack("{s:s}", "type", "Lowercase"));
    }
    failed |= json_object_set_new(root, "pre_tokenizer", sequence("pretokenizers", cuts)) != 0;
    failed |= json_object_set_new(root, "normalizer", sequence("normalizers", norms)) != 0;
    failed |= json_object_set_new(root, "decoder", json_pack("{s:s}", "type", "ByteLevel")) != 0;
    return !failed;
}

/* SentencePiece's: normalize, then spaces become marks, one more before the text. */
static bool sentence_parts(json_t *root, const sg_tokenizer_vocab *in)
{
    json_t *norms = json_array(), *decoders = json_array();
    bool failed = false;
    if (in->charsmap_bytes)
        add_step(norms, &failed, json_pack("{s:s}", "type", SG_STEP_CHARSMAP));
    if (in->remove_extra_whitespaces) {
        add_step(norms, &failed,
                 json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "Regex",
                           "\\A +| +\\z", "content", ""));
        add_step(norms, &failed,
                 json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "Regex", " {2,}", "content", " "));
    }
    if (in->add_space_prefix)
        add_step(norms, &failed, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", MARK));
    add_step(norms, &failed,
             json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", MARK));
    add_step(decoders, &failed,
             json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", MARK, "content", " "));
    add_step(decoders, &failed, json_pack("{s:s}", "type", "ByteFallback"));
    add_step(decoders, &failed, json_pack("{s:s}", "type", "Fuse"));
    if (in->add_space_prefix)
        add_step(decoders, &failed,
                 json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    failed |= json_object_set_new(root, "normalizer", sequence("normalizers", norms)) != 0;
    failed |= json_object_set_new(root, "decoder", sequence("decoders", decoders)) != 0;
    return !failed;
}

/* Lists do not say whether a text is to be in lower case. A vocabulary without a single capital says it. */
static bool word_parts(json_t *root, const sg_tokenizer *t, const json_t *settings)
{
    const json_t *lower = json_object_get(settings, "do_lower_case"),
                 *accents = json_object_get(settings, "strip_accents");
    const json_t *ideographs = json_object_get(settings, "tokenize_chinese_chars");
    bool capitals = false;
    for (int32_t i = 0; i < t->vocab.n && !json_is_boolean(lower); i++) {
        const char *text = t->vocab.entries[i].text;
        if (*text != '[' && *text != '<')
            capitals |= strpbrk(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL;
    }
    json_t *norm = json_pack("{s:s, s:b, s:b}", "type", "BertNormalizer", "lowercase",
                             json_is_boolean(lower) ? json_is_true(lower) : !capitals, "handle_chinese_chars",
                             !json_is_false(ideographs));
    const bool told = !json_is_boolean(accents) ||
                      json_object_set_new(norm, "strip_accents", json_boolean(json_is_true(accents))) == 0;
    return json_object_set_new(root, "normalizer", norm) == 0 && told &&
           json_object_set_new(root, "pre_tokenizer", json_pack("{s:s}", "type", "BertPreTokenizer")) == 0 &&
           json_object_set_new(root, "decoder", json_pack("{s:s}", "type", "WordPiece")) == 0;
}

static bool named_in(const json_t *list, int32_t id)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_integer_value(json_object_get(json_array_get(list, i), "id")) == id)
            return true;
    return false;
}

/* What texts are searched for: special tokens where the caller wants them, user-defined ones always. */
static bool added_parts(json_t *root, const sg_tokenizer *t, const sg_tokenizer_vocab *in, json_t *more)
{
    json_t *list = json_array();
    bool failed = false;
    for (int32_t i = 0; i < in->n; i++) {
        const sg_token_type type = type_of(in, i);
        const sg_vocab_entry *e = sg_vocab_at(&t->vocab, i);
        if (type != SG_TOKEN_CONTROL && type != SG_TOKEN_USER && type != SG_TOKEN_UNKNOWN)
            continue;
        if (e->bytes > 0 && strlen(e->text) == e->bytes && sg_vocab_find(&t->vocab, e->text, e->bytes) == i &&
            !named_in(more, i))
            add_step(list, &failed,
                     json_pack("{s:s, s:i, s:b, s:b}", "content", e->text, "id", (int)i, "special",
                               type != SG_TOKEN_USER, "normalized", 0));
    }
    if (more)
        failed |= json_array_extend(list, more) != 0;
    return json_object_set_new(root, "added_tokens", list) == 0 && !failed;
}

static sg_status read_ends(sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in)
{
    const bool words = in->kind == SG_TOKENIZER_WORDPIECE;
    const int32_t before = words && in->cls >= 0 ? in->cls : in->bos, after = words && in->sep >= 0 ? in->sep : in->eos;
    SG_TRY(sg_ends_set(t, r, in->add_bos ? before : -1, in->add_eos ? after : -1));
    t->special = (sg_special_ids){.bos = in->bos,
                                  .eos = in->eos,
                                  .unk = in->unk,
                                  .pad = in->pad,
                                  .sep = in->sep,
                                  .cls = in->cls,
                                  .mask = in->mask};
    return copy_text(r, in->chat_template, &t->chat_template);
}

sg_status sg_lists_read(sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in, const json_t *settings)
{
    const struct sg_pre *pre = NULL;
    SG_TRY(check_lists(in, r->err));
    if (in->kind == SG_TOKENIZER_BPE)
        SG_TRY(sg_pre_find(&pre, r->name, in->pre ? in->pre : "default", r->err));
    json_t *more = json_object_get(settings, "added");
    SG_TRY(read_tokens(t, r, in, more));
    t->model.kind = in->kind;
    switch (in->kind) {
    case SG_TOKENIZER_BPE:
        SG_TRY(read_byte_level(t, r, in, pre->ignore_merges));
        break;
    case SG_TOKENIZER_SPM:
        SG_TRY(read_scored_pairs(t, r, in));
        break;
    case SG_TOKENIZER_WORDPIECE:
        SG_TRY(read_word_pieces(t, r, in));
        break;
    case SG_TOKENIZER_UNIGRAM:
        SG_TRY(read_unigram(t, r, in));
        break;
    default:
        return sg_fail(r->err, SG_EARG, "%s: a vocabulary of kind %d", r->name, (int)in->kind);
    }
    json_t *root = json_object();
    const bool made = root &&
                      (pre                                  ? sg_byte_level_parts(root, pre, false)
                       : in->kind == SG_TOKENIZER_WORDPIECE ? word_parts(root, t, settings)
                                                            : sentence_parts(root, in)) &&
                      added_parts(root, t, in, more);
    sg_status status = made ? SG_OK : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    if (status == SG_OK)
        status = sg_parts_read(t, r, root);
    json_decref(root);
    return status == SG_OK ? read_ends(t, r, in) : status;
}

sg_status sg_tokenizer_new(sg_tokenizer **out, const sg_tokenizer_vocab *vocab, sg_error *err)
{
    sg_reader r;
    SG_TRY(sg_tokenizer_begin(out, &r, vocab->name ? vocab->name : "vocabulary", err));
    r.charsmap = vocab->charsmap;
    r.charsmap_bytes = vocab->charsmap_bytes;
    return sg_tokenizer_end(out, sg_lists_read(*out, &r, vocab, NULL));
}
