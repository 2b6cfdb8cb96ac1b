/* SentencePiece's tokenizer.model, a protobuf message of which a few fields matter here:
 *
 *     1 pieces*         1 text, 2 score (float), 3 type
 *     2 trainer_spec    3 model_type, 24 treat_whitespace_as_suffix, 40 to 43 ids of unk, bos, eos, pad
 *     3 normalizer_spec 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces
 *     5 denormalizer_spec, as 3
 *
 * (sentencepiece_model.proto).  A field is a varint of number << 3 | wire type, then a varint, 4 or 8 bytes, or a
 * length and as many bytes; a number that is not listed is passed over. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

enum { VARINT = 0, EIGHT = 1, BYTES = 2, FOUR = 5 };
enum { UNIGRAM = 1, BPE = 2 };

struct field {
    uint32_t number, wire;
    uint64_t value; /* VARINT, FOUR, EIGHT */
    const uint8_t *bytes;
    size_t n; /* BYTES */
};

struct message {
    const uint8_t *at, *end;
    const char *file, *what; /* for errors */
};

static sg_status broken(const struct message *m, const char *how, sg_error *err)
{
    return sg_fail(err, SG_EFORMAT, "%s: not a SentencePiece model: %s %s", m->file, m->what, how);
}

static bool varint(struct message *m, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        const uint8_t byte = *m->at++;
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool fixed(struct message *m, size_t n, uint64_t *out)
{
    *out = 0;
    if ((size_t)(m->end - m->at) < n)
        return false;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t)*m->at++ << (8 * i);
    return true;
}

/* Whether there was another field. */
static sg_status next_field(struct message *m, struct field *f, bool *found, sg_error *err)
{
    uint64_t tag;
    *found = m->at < m->end;
    if (!*found)
        return SG_OK;
    if (!varint(m, &tag) || tag >> 3 == 0 || tag >> 32 != 0)
        return broken(m, "has a field without a number", err);
    *f = (struct field){.number = (uint32_t)(tag >> 3), .wire = tag & 7};
    bool whole = false;
    switch (f->wire) {
    case VARINT:
        whole = varint(m, &f->value);
        break;
    case FOUR:
        whole = fixed(m, 4, &f->value);
        break;
    case EIGHT:
        whole = fixed(m, 8, &f->value);
        break;
    case BYTES:
        whole = varint(m, &f->value) && f->value <= (uint64_t)(m->end - m->at);
        if (whole) {
            f->bytes = m->at;
            f->n = (size_t)f->value;
            m->at += f->n;
        }
        break;
    default:
        return broken(m, "has a field of an unknown wire type", err);
    }
    return whole ? SG_OK : broken(m, "ends inside a field", err);
}

static struct message inside(const struct message *outer, const struct field *f, const char *what)
{
    return (struct message){f->bytes, f->bytes + f->n, outer->file, what};
}

/* ---- the parts ---- */

struct pieces {
    const char **texts;
    size_t *bytes;
    float *scores;
    int32_t *types;
    size_t n, capacity;
};

struct spec {
    uint64_t model_type;
    bool suffix, charsmap_back;
};

static void free_pieces(struct pieces *p)
{
    free(p->texts);
    free(p->bytes);
    free(p->scores);
    free(p->types);
}

static bool grow(struct pieces *p)
{
    const size_t capacity = p->capacity ? 2 * p->capacity : 1024;
    const char **texts = realloc(p->texts, capacity * sizeof *texts);
    p->texts = texts ? texts : p->texts;
    size_t *bytes = realloc(p->bytes, capacity * sizeof *bytes);
    p->bytes = bytes ? bytes : p->bytes;
    float *scores = realloc(p->scores, capacity * sizeof *scores);
    p->scores = scores ? scores : p->scores;
    int32_t *types = realloc(p->types, capacity * sizeof *types);
    p->types = types ? types : p->types;
    if (!texts || !bytes || !scores || !types)
        return false;
    p->capacity = capacity;
    return true;
}

static sg_status read_piece(struct pieces *p, struct message m, sg_error *err)
{
    struct field f;
    bool found;
    if (p->n == 1 << 24)
        return broken(&m, "is one too many", err);
    if (p->n == p->capacity && !grow(p))
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", m.file);
    p->texts[p->n] = "";
    p->bytes[p->n] = 0;
    p->scores[p->n] = 0;
    p->types[p->n] = SG_TOKEN_NORMAL;
    for (;;) {
        SG_TRY(next_field(&m, &f, &found, err));
        if (!found)
            break;
        if (f.number == 1 && f.wire == BYTES) {
            p->texts[p->n] = (const char *)f.bytes;
            p->bytes[p->n] = f.n;
        } else if (f.number == 2 && f.wire == FOUR) {
            const uint32_t bits = (uint32_t)f.value;
            memcpy(&p->scores[p->n], &bits, sizeof bits);
        } else if (f.number == 3 && f.wire == VARINT) {
            if (f.value < SG_TOKEN_NORMAL || f.value > SG_TOKEN_BYTE)
                return broken(&m, "has an unknown type", err);
            p->types[p->n] = (int32_t)f.value;
        }
    }
    p->n++;
    return SG_OK;
}

static sg_status read_trainer(struct spec *s, sg_tokenizer_vocab *v, struct message m, sg_error *err)
{
    struct field f;
    for (bool found;;) {
        SG_TRY(next_field(&m, &f, &found, err));
        if (!found)
            return SG_OK;
        if (f.wire != VARINT)
            continue;
        const int64_t value = (int64_t)f.value;
        if (f.number == 3)
            s->model_type = f.value;
        else if (f.number == 24)
            s->suffix = f.value != 0;
        else if (f.number >= 40 && f.number <= 43 && value < 1 << 24)
            *(f.number == 40   ? &v->unk
              : f.number == 41 ? &v->bos
              : f.number == 42 ? &v->eos
                               : &v->pad) = value < 0 ? -1 : (int32_t)value;
    }
}

static sg_status read_normalizer(sg_tokenizer_vocab *v, struct message m, sg_error *err)
{
    struct field f;
    for (bool found;;) {
        SG_TRY(next_field(&m, &f, &found, err));
        if (!found)
            return SG_OK;
        if (f.number == 2 && f.wire == BYTES) {
            v->charsmap = f.bytes;
            v->charsmap_bytes = f.n;
        } else if (f.number == 3 && f.wire == VARINT) {
            v->add_space_prefix = f.value != 0;
        } else if (f.number == 4 && f.wire == VARINT) {
            v->remove_extra_whitespaces = f.value != 0;
        } else if (f.number == 5 && f.wire == VARINT && f.value == 0) {
            return sg_fail(err, SG_EUNSUPPORTED, "%s: escape_whitespaces = false is not supported", m.file);
        }
    }
}

static sg_status read_denormalizer(struct message m, sg_error *err)
{
    struct field f;
    for (bool found;;) {
        SG_TRY(next_field(&m, &f, &found, err));
        if (!found)
            return SG_OK;
        if (f.number == 2 && f.wire == BYTES && f.n > 0)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: a denormalizer_spec is not supported", m.file);
    }
}

static sg_status read_all(struct message m, struct pieces *p, struct spec *s, sg_tokenizer_vocab *v, sg_error *err)
{
    struct field f;
    for (bool found;;) {
        SG_TRY(next_field(&m, &f, &found, err));
        if (!found)
            break;
        if (f.wire != BYTES)
            continue;
        if (f.number == 1)
            SG_TRY(read_piece(p, inside(&m, &f, "a piece"), err));
        else if (f.number == 2)
            SG_TRY(read_trainer(s, v, inside(&m, &f, "trainer_spec"), err));
        else if (f.number == 3)
            SG_TRY(read_normalizer(v, inside(&m, &f, "normalizer_spec"), err));
        else if (f.number == 5)
            SG_TRY(read_denormalizer(inside(&m, &f, "denormalizer_spec"), err));
    }
    if (p->n == 0)
        return broken(&m, "has no pieces", err);
    if (s->model_type != UNIGRAM && s->model_type != BPE)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: a SentencePiece model of model_type %llu is not supported, unigram (1) and bpe (2) are",
                       m.file, (unsigned long long)s->model_type);
    if (s->suffix)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: treat_whitespace_as_suffix is not supported", m.file);
    return SG_OK;
}

/* An id that lies outside the list is none: specs have ids of tokens that were then not made. */
static int32_t within(int32_t id, size_t n)
{
    return id >= 0 && (size_t)id < n ? id : -1;
}

sg_status sg_sentencepiece_read(sg_tokenizer *t, const sg_reader *r, const void *bytes, size_t n,
                                const json_t *settings)
{
    sg_tokenizer_vocab v = sg_tokenizer_vocab_defaults();
    struct pieces p = {0};
    struct spec s = {.model_type = UNIGRAM};
    v.name = r->name;
    v.bos = 1;
    v.eos = 2;
    v.remove_extra_whitespaces = true;
    const uint8_t *from = bytes;
    sg_status status = read_all((struct message){from, from + n, r->name, "the message"}, &p, &s, &v, r->err);
    if (status == SG_OK) {
        v.kind = s.model_type == BPE ? SG_TOKENIZER_SPM : SG_TOKENIZER_UNIGRAM;
        v.n = (int32_t)p.n;
        v.tokens = p.texts;
        v.token_bytes = p.bytes;
        v.scores = p.scores;
        v.types = p.types;
        v.unk = -1;
        for (size_t i = 0; i < p.n; i++)
            v.unk = p.types[i] == SG_TOKEN_UNKNOWN ? (int32_t)i : v.unk;
        v.bos = within(v.bos, p.n);
        v.eos = within(v.eos, p.n);
        v.pad = within(v.pad, p.n);
        sg_settings_ends(settings, &v);
        const sg_reader with_map = {r->name, r->arena, r->err, v.charsmap_bytes ? v.charsmap : NULL, v.charsmap_bytes};
        status = sg_lists_read(t, &with_map, &v, settings);
    }
    free_pieces(&p);
    return status;
}

sg_status sg_tokenizer_parse_sentencepiece(sg_tokenizer **out, const void *bytes, size_t n, const char *name,
                                           sg_error *err)
{
    sg_reader r;
    SG_TRY(sg_tokenizer_begin(out, &r, name, err));
    return sg_tokenizer_end(out, sg_sentencepiece_read(*out, &r, bytes, n, NULL));
}
