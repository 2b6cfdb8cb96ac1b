/* WordPiece: a word is the longest token that begins it, then the longest that goes on, and so on; a word of which some
 * part is no token is unknown as a whole (Devlin et al. 2018). */
#include <string.h>

#include "io/tokenizer_internal.h"

struct sg_wordpiece {
    const char *name; /* the file's */
    const sg_vocab *vocab;
    sg_wordpiece_opts opts;
    size_t n_prefix, longest; /* bytes */
    int32_t unk;              /* -1 if the vocabulary lacks it */
};

sg_status sg_wordpiece_new(sg_wordpiece **out, const sg_reader *r, const sg_wordpiece_opts *opts, const sg_vocab *vocab)
{
    sg_wordpiece *p = *out = sg_arena_alloc(r->arena, sizeof *p);
    if (!p || !(p->name = sg_arena_strdup(r->arena, r->name)))
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    p->vocab = vocab;
    p->opts = *opts;
    p->n_prefix = strlen(opts->prefix);
    p->unk = sg_vocab_find(vocab, opts->unk_token, strlen(opts->unk_token));
    for (int32_t i = 0; i < vocab->n; i++)
        p->longest = SG_MAX(p->longest, vocab->entries[i].bytes);
    return SG_OK;
}

sg_status sg_wordpiece_read(sg_wordpiece **out, const sg_reader *r, const json_t *model, const sg_vocab *vocab)
{
    sg_wordpiece_opts opts;
    SG_TRY(sg_json_text(r, model, "unk_token", "[UNK]", &opts.unk_token));
    SG_TRY(sg_json_text(r, model, "continuing_subword_prefix", "##", &opts.prefix));
    SG_TRY(sg_json_count(r, model, "max_input_chars_per_word", 100, &opts.max_chars));
    return sg_wordpiece_new(out, r, &opts, vocab);
}

static sg_status unknown(const sg_wordpiece *p, sg_tokens *out, sg_error *err)
{
    char shown[SG_SHOWN];
    if (p->unk < 0)
        return sg_fail(err, SG_EFORMAT, "%s: unk_token \"%s\" is needed and not in the vocabulary", p->name,
                       sg_show(shown, p->opts.unk_token));
    return sg_tokens_push(out, p->unk, err);
}

/* The longest token in the n bytes of whole characters; -1, or how long it is in *n. */
static int32_t longest_token(const sg_wordpiece *p, const char *text, size_t *n)
{
    size_t end = *n;
    for (; end > 0; end--) {
        if (end < *n && ((unsigned char)text[end] & 0xC0) == 0x80)
            continue; /* would cut a character */
        const int32_t id = end <= p->longest ? sg_map_get(p->vocab->model_ids, text, end) : -1;
        if (id >= 0) {
            *n = end;
            return id;
        }
    }
    return -1;
}

sg_status sg_wordpiece_encode(const sg_wordpiece *p, sg_str *work, const char *word, size_t n, sg_tokens *out,
                              sg_error *err)
{
    int64_t n_chars = 0;
    const int64_t n_before = out->n;
    for (size_t i = 0; i < n; i += sg_utf8_length(word[i]))
        n_chars++;
    if (n_chars > p->opts.max_chars)
        return unknown(p, out, err);
    for (size_t at = 0; at < n;) {
        size_t found = n - at;
        int32_t id;
        if (at == 0) {
            id = longest_token(p, word, &found);
        } else {
            work->bytes = 0;
            sg_str_append(work, p->opts.prefix, p->n_prefix);
            sg_str_append(work, word + at, n - at);
            if (work->failed)
                return sg_fail(err, SG_ENOMEM, "out of memory");
            found += p->n_prefix;
            id = longest_token(p, work->text, &found);
            if (found <= p->n_prefix)
                id = -1; /* the prefix alone is no part of a word */
            found -= SG_MIN(found, p->n_prefix);
        }
        if (id < 0) {
            out->n = n_before;
            return unknown(p, out, err);
        }
        SG_TRY(sg_tokens_push(out, id, err));
        at += found;
    }
    return SG_OK;
}
