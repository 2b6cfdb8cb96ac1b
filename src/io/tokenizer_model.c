/* The model of a tokenizer, of whichever kind: pieces to ids.
 *
 * Pieces are mostly words, and words recur, so in a long text the ids of short pieces are kept: a table in which each
 * piece has one place and a newer one takes it over. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

#define N_SEEN     16384 /* places, a power of two: 1 MiB */
#define SEEN_AFTER 512   /* pieces; before, the table is not worth its memory */
#define SEEN_BYTES 27
#define SEEN_IDS   8

struct sg_seen {
    int32_t ids[SEEN_IDS];
    char text[SEEN_BYTES];
    uint8_t n_bytes; /* 0: empty */
    uint8_t n_ids;
};

static const struct {
    const char *type;
    sg_tokenizer_kind kind;
} kinds[] = {{"BPE", SG_TOKENIZER_BPE}, {"WordPiece", SG_TOKENIZER_WORDPIECE}, {"Unigram", SG_TOKENIZER_UNIGRAM}};

sg_status sg_token_model_check(sg_token_model *m, const sg_reader *r, const json_t *model)
{
    const json_t *type = sg_json_member(model, "type");
    if (!json_is_object(model))
        return sg_fail(r->err, SG_EFORMAT, "%s: \"model\" is %s", r->name, model ? "not an object" : "missing");
    if (type && !json_is_string(type))
        return sg_fail(r->err, SG_EFORMAT, "%s: the model's \"type\" is not a text", r->name);
    /* Without a type, a list of scores tells Unigram and this member tells WordPiece. */
    const char *name = type                                                 ? json_string_value(type)
                       : json_is_array(json_object_get(model, "vocab"))     ? "Unigram"
                       : json_object_get(model, "max_input_chars_per_word") ? "WordPiece"
                                                                            : "BPE";
    size_t i = 0;
    while (i < SG_COUNT_OF(kinds) && strcmp(kinds[i].type, name) != 0)
        i++;
    if (i == SG_COUNT_OF(kinds))
        return sg_json_unsupported(r, "model", name);
    m->kind = kinds[i].kind;
    if (m->kind != SG_TOKENIZER_UNIGRAM && json_is_array(json_object_get(model, "vocab")))
        return sg_fail(r->err, SG_EFORMAT, "%s: model.vocab is a list, as only a Unigram model's is", r->name);
    return SG_OK;
}

sg_status sg_token_model_read(sg_token_model *m, const sg_reader *r, const json_t *model, const sg_vocab *vocab)
{
    switch (m->kind) {
    case SG_TOKENIZER_WORDPIECE:
        return sg_wordpiece_read(&m->wordpiece, r, model, vocab);
    case SG_TOKENIZER_UNIGRAM:
        return sg_unigram_read(&m->unigram, r, model, vocab);
    default:
        return sg_bpe_read(&m->bpe, r, model, vocab);
    }
}

bool sg_token_model_takes_bytes(const sg_token_model *m)
{
    return m->bpe && sg_bpe_takes_bytes(m->bpe);
}

static sg_status encode(const sg_token_model *m, sg_model_work *w, const char *piece, size_t n, bool as_bytes,
                        sg_tokens *out, sg_error *err)
{
    if (m->wordpiece)
        return sg_wordpiece_encode(m->wordpiece, &w->text, piece, n, out, err);
    if (m->unigram)
        return sg_unigram_encode(m->unigram, &w->unigram, piece, n, out, err);
    return sg_bpe_encode(m->bpe, &w->bpe, piece, n, as_bytes, out, err);
}

/* A call encodes with one model, and all its pieces are of one kind, bytes or characters. */
sg_status sg_token_model_encode(const sg_token_model *m, sg_model_work *w, const char *piece, size_t n, bool as_bytes,
                                sg_tokens *out, sg_error *err)
{
    if (n > SEEN_BYTES || n == 0 || (!w->seen && ++w->n_pieces < SEEN_AFTER))
        return encode(m, w, piece, n, as_bytes, out, err);
    if (!w->seen && !(w->seen = calloc(N_SEEN, sizeof *w->seen)))
        return sg_fail(err, SG_ENOMEM, "out of memory");
    struct sg_seen *s = &w->seen[sg_hash(piece, n, 0) & (N_SEEN - 1)];
    if (s->n_bytes == n && memcmp(s->text, piece, n) == 0) {
        for (int i = 0; i < s->n_ids; i++)
            SG_TRY(sg_tokens_push(out, s->ids[i], err));
        return SG_OK;
    }
    const int64_t first = out->n;
    SG_TRY(encode(m, w, piece, n, as_bytes, out, err));
    if (out->n - first > SEEN_IDS)
        return SG_OK;
    s->n_bytes = (uint8_t)n;
    s->n_ids = (uint8_t)(out->n - first);
    memcpy(s->text, piece, n);
    for (int64_t i = first; i < out->n; i++)
        s->ids[i - first] = out->ids[i];
    return SG_OK;
}

void sg_model_work_free(sg_model_work *w)
{
    sg_bpe_work_free(&w->bpe);
    sg_str_free(&w->text);
    sg_unigram_work_free(&w->unigram);
    free(w->seen);
}
