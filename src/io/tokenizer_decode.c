/* Decoders: from tokens back to text.
 *
 * A decoder is a chain of steps.  A step takes tokens, in fragments where it can work on those, and hands tokens on to
 * the next; what leaves the last one is text that no later token can change.  Decoding at once and decoding as a
 * stream are therefore the same code, and give the same bytes.  A fragment holds whole characters. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

enum kind {
    BYTE_LEVEL,    /* visible characters to bytes; all tokens become one */
    REPLACE,       /* a pattern in each token */
    BYTE_FALLBACK, /* a run of <0xNN> becomes its bytes, or one U+FFFD for each if they are not UTF-8 */
    FUSE,          /* all tokens become one */
    STRIP,         /* up to so many of a character from both ends of each token */
    METASPACE,     /* the mark to a space, or to nothing in the first token */
    END_OF_WORD,   /* the suffix to a space, or to nothing in the last token */
    WORD_PIECE,    /* a space before tokens but the first and those that begin with the prefix, which goes */
    JOIN           /* a space between tokens: what an absent decoder does */
};

struct step {
    enum kind kind;
    const char *text;    /* REPLACE: the replacement; STRIP, METASPACE: the character; END_OF_WORD: the suffix;
                            WORD_PIECE: the prefix */
    const char *space;   /* END_OF_WORD: what it becomes */
    bool cleanup;        /* WORD_PIECE: no space before punctuation */
    sg_pattern *pattern; /* REPLACE, END_OF_WORD */
    int64_t start, stop; /* STRIP */
    bool keeps_first;    /* METASPACE: the first token's mark is a space too */
};

struct sg_decoder {
    struct step *steps;
    int n;
};

/* What a step remembers between tokens. */
struct memory {
    sg_str token;     /* fragments of an unfinished token, for steps that need all of it */
    sg_str kept;      /* BYTE_LEVEL: a cut character; BYTE_FALLBACK: a run; END_OF_WORD: the latest token */
    sg_str made;      /* the step's latest result */
    int64_t n_tokens; /* finished */
    int64_t n_start;  /* STRIP: how many may still go from this token's start */
    int64_t n_held;   /* STRIP: characters at the end that may have to go */
    bool inside;      /* a token has begun and not ended */
};

struct sg_stream_state {
    const sg_decoder *decoder;
    struct memory *memory; /* one for each step */
    sg_matcher matcher;
    sg_str out;
    sg_status status; /* of the first failure */
    sg_error error;
};

/* ---- reading ---- */

static sg_status read_replace(struct step *step, const sg_reader *r, const json_t *json)
{
    SG_TRY(sg_json_text(r, json, "content", NULL, &step->text));
    return sg_pattern_read(&step->pattern, r, json, "pattern");
}

static sg_status read_strip(struct step *step, const sg_reader *r, const json_t *json)
{
    SG_TRY(sg_json_char(r, json, "content", NULL, &step->text));
    SG_TRY(sg_json_count(r, json, "start", 0, &step->start));
    return sg_json_count(r, json, "stop", 0, &step->stop);
}

static sg_status read_metaspace(struct step *step, const sg_reader *r, const json_t *json)
{
    const char *scheme;
    bool prefix;
    SG_TRY(sg_json_char(r, json, "replacement", "\xE2\x96\x81", &step->text));
    SG_TRY(sg_json_bool(r, json, "add_prefix_space", true, &prefix));
    SG_TRY(sg_json_text(r, json, "prepend_scheme", prefix ? "always" : "never", &scheme));
    step->keeps_first = strcmp(scheme, "never") == 0;
    return SG_OK;
}

static sg_status read_end_of_word(struct step *step, const sg_reader *r, const json_t *json)
{
    SG_TRY(sg_json_text(r, json, "suffix", "</w>", &step->text));
    step->space = " ";
    return sg_pattern_literal(&step->pattern, r, step->text);
}

static sg_status read_word_piece(struct step *step, const sg_reader *r, const json_t *json)
{
    SG_TRY(sg_json_text(r, json, "prefix", "##", &step->text));
    return sg_json_bool(r, json, "cleanup", true, &step->cleanup);
}

static const struct {
    const char *type;
    enum kind kind;
    sg_status (*read)(struct step *step, const sg_reader *r, const json_t *json); /* NULL: nothing to read */
} types[] = {
    {"ByteLevel", BYTE_LEVEL, NULL},
    {"Replace", REPLACE, read_replace},
    {"ByteFallback", BYTE_FALLBACK, NULL},
    {"Fuse", FUSE, NULL},
    {"Strip", STRIP, read_strip},
    {"Metaspace", METASPACE, read_metaspace},
    {"BPEDecoder", END_OF_WORD, read_end_of_word},
    {"WordPiece", WORD_PIECE, read_word_piece},
};

/* A byte-level model whose words end in a suffix (CLIP) has a decoder that says nothing of it, and readers that take it
 * away afterwards. Here it becomes the visible character of a space before bytes are decoded. */
static sg_status read_suffix(struct step *steps, int *n, const sg_reader *r, const json_t *json,
                             const sg_json_steps *list)
{
    const char *suffix = json_string_value(json_object_get(json_object_get(json, "model"), "end_of_word_suffix"));
    if (!suffix || !*suffix || list->n == 0 || strcmp(list->type[0], "ByteLevel") != 0)
        return SG_OK;
    struct step *step = &steps[(*n)++];
    step->kind = END_OF_WORD;
    step->space = "\xC4\xA0";
    step->text = sg_arena_strdup(r->arena, suffix);
    if (!step->text)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    return sg_pattern_literal(&step->pattern, r, step->text);
}

sg_status sg_decoder_read(sg_decoder **out, const sg_reader *r, const json_t *json)
{
    sg_json_steps list;
    SG_TRY(sg_json_open_steps(r, json, "decoder", "decoders", &list));
    sg_decoder *d = *out = sg_arena_alloc(r->arena, sizeof *d);
    struct step *steps = sg_arena_array(r->arena, (size_t)list.n + 2, sizeof *steps);
    int n = 0;
    if (!d || !steps)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    SG_TRY(read_suffix(steps, &n, r, json, &list));
    for (int i = 0; i < list.n; i++, n++) {
        size_t k = 0;
        while (k < SG_COUNT_OF(types) && strcmp(types[k].type, list.type[i]) != 0)
            k++;
        if (k == SG_COUNT_OF(types))
            return sg_json_unsupported(r, "decoder", list.type[i]);
        steps[n].kind = types[k].kind;
        if (types[k].read)
            SG_TRY(types[k].read(&steps[n], r, list.step[i]));
    }
    if (!sg_json_member(json, "decoder"))
        steps[n++].kind = JOIN;
    *d = (sg_decoder){.steps = steps, .n = n};
    return SG_OK;
}

/* ---- running ---- */

static void feed(sg_decode *d, int i, const char *text, size_t n, bool ends);

static void fail(sg_decode *d, sg_status status)
{
    if (d->status == SG_OK)
        d->status = status;
}

/* A C string ends at a NUL, so one that a model writes is shown as U+FFFD. */
static void put_out(sg_decode *d, const char *text, size_t n)
{
    for (size_t i = 0, run; i < n; i += run) {
        const char *nul = memchr(text + i, '\0', n - i);
        run = nul ? (size_t)(nul - text) - i : n - i;
        sg_str_append(&d->out, text + i, run);
        if (nul) {
            sg_str_puts(&d->out, SG_REPLACEMENT);
            run++;
        }
    }
    if (d->out.failed)
        fail(d, SG_ENOMEM);
}

/* Whether sg_str memory ran out; a failed string must not be read. */
static bool usable(sg_decode *d, const sg_str *s)
{
    if (s->failed)
        fail(d, SG_ENOMEM);
    return !s->failed;
}

static void byte_level(sg_decode *d, int i, const char *text, size_t n)
{
    struct memory *m = &d->memory[i];
    bool encoded = true;
    for (size_t at = 0; at < n && encoded; at += sg_utf8_length(text[at]))
        encoded = sg_byte_of_char(text + at) >= 0;
    for (size_t at = 0; encoded && at < n; at += sg_utf8_length(text[at])) {
        const char byte = (char)sg_byte_of_char(text + at);
        sg_str_append(&m->kept, &byte, 1);
    }
    if (!encoded)
        sg_str_append(&m->kept, text, n);
    if (!usable(d, &m->kept))
        return;
    /* Everything but a character that is cut off at the end is certain now. */
    size_t certain = 0;
    for (size_t bytes; certain < m->kept.bytes; certain += bytes)
        if (sg_utf8_next(m->kept.text + certain, m->kept.bytes - certain, &bytes) == SG_UTF8_CUT)
            break;
    if (certain == 0)
        return;
    m->made.bytes = 0;
    sg_utf8_repair(&m->made, m->kept.text, certain);
    memmove(m->kept.text, m->kept.text + certain, m->kept.bytes - certain);
    m->kept.bytes -= certain;
    if (usable(d, &m->made))
        feed(d, i + 1, m->made.text, m->made.bytes, false);
}

static void end_run(sg_decode *d, int i)
{
    struct memory *m = &d->memory[i];
    const size_t n = m->kept.bytes;
    bool valid = true;
    for (size_t at = 0, bytes; at < n && valid; at += bytes)
        valid = sg_utf8_next(m->kept.text + at, n - at, &bytes) == SG_UTF8_CHAR;
    if (n && valid)
        feed(d, i + 1, m->kept.text, n, true);
    for (size_t at = 0; at < n && !valid; at++)
        feed(d, i + 1, SG_REPLACEMENT, 3, true);
    m->kept.bytes = 0;
}

static void byte_fallback(sg_decode *d, int i, const char *text, size_t n)
{
    struct memory *m = &d->memory[i];
    const int byte = sg_named_byte(text, n);
    if (byte < 0) {
        end_run(d, i);
        feed(d, i + 1, text, n, true);
        return;
    }
    sg_str_append(&m->kept, &(char){(char)byte}, 1);
    usable(d, &m->kept);
}

static void replace(sg_decode *d, int i, const char *text, size_t n, const char *by)
{
    struct memory *m = &d->memory[i];
    m->made.bytes = 0;
    const sg_status status =
        sg_pattern_replace(d->decoder->steps[i].pattern, &d->matcher, text, n, by, &m->made, &d->error);
    if (status == SG_OK)
        feed(d, i + 1, m->made.text, m->made.bytes, true);
    else
        fail(d, status);
}

static void end_of_word(sg_decode *d, int i, const char *text, size_t n)
{
    struct memory *m = &d->memory[i];
    if (m->n_tokens > 0)
        replace(d, i, m->kept.text, m->kept.bytes, d->decoder->steps[i].space);
    m->kept.bytes = 0;
    sg_str_append(&m->kept, text, n);
    usable(d, &m->kept);
}

/* The clean-up of WordPiece's texts: " ." is "." and " n't" is "n't", as a tokenizer.json's reader does it. */
static void clean_up(const char *text, size_t n, sg_str *out)
{
    static const char *const from[] = {" .", " ?", " !", " ,", " ' ", " n't", " 'm", " do not", " 's", " 've", " 're"};
    static const char *const to[] = {".", "?", "!", ",", "'", "n't", "'m", " don't", "'s", "'ve", "'re"};
    for (size_t at = 0; at < n;) {
        size_t k = 0;
        while (k < SG_COUNT_OF(from) && (n - at < strlen(from[k]) || memcmp(text + at, from[k], strlen(from[k])) != 0))
            k++;
        if (k < SG_COUNT_OF(from)) {
            sg_str_puts(out, to[k]);
            at += strlen(from[k]);
        } else {
            sg_str_append(out, text + at++, 1);
        }
    }
}

static void word_piece(sg_decode *d, int i, const char *text, size_t n)
{
    const struct step *step = &d->decoder->steps[i];
    struct memory *m = &d->memory[i];
    const size_t n_prefix = strlen(step->text);
    m->made.bytes = m->kept.bytes = 0;
    if (m->n_tokens > 0 && n >= n_prefix && memcmp(text, step->text, n_prefix) == 0) {
        sg_str_append(&m->kept, text + n_prefix, n - n_prefix);
    } else {
        sg_str_puts(&m->kept, m->n_tokens > 0 ? " " : "");
        sg_str_append(&m->kept, text, n);
    }
    if (!usable(d, &m->kept))
        return;
    if (step->cleanup)
        clean_up(m->kept.text, m->kept.bytes, &m->made);
    else
        sg_str_append(&m->made, m->kept.text, m->kept.bytes);
    if (usable(d, &m->made))
        feed(d, i + 1, m->made.text ? m->made.text : "", m->made.bytes, true);
}

static void strip(sg_decode *d, int i, const char *text, size_t n, bool ends)
{
    const struct step *step = &d->decoder->steps[i];
    struct memory *m = &d->memory[i];
    if (!m->inside)
        m->n_start = step->start;
    m->made.bytes = 0;
    const size_t n_mark = strlen(step->text);
    for (size_t at = 0, bytes; at < n; at += bytes) {
        bytes = sg_utf8_length(text[at]);
        const bool mark = bytes == n_mark && memcmp(text + at, step->text, bytes) == 0;
        if (mark && m->n_start > 0) {
            m->n_start--;
            continue;
        }
        if (mark && m->n_held < step->stop) {
            m->n_held++;
            continue;
        }
        /* Of marks in a row the latest `stop` are held, so one more lets one go. */
        for (; !mark && m->n_held > 0; m->n_held--)
            sg_str_append(&m->made, step->text, n_mark);
        sg_str_append(&m->made, text + at, bytes);
        m->n_start = 0;
    }
    if (ends)
        m->n_held = 0;
    if (usable(d, &m->made))
        feed(d, i + 1, m->made.text ? m->made.text : "", m->made.bytes, ends);
}

static void metaspace(sg_decode *d, int i, const char *text, size_t n, bool ends)
{
    const struct step *step = &d->decoder->steps[i];
    struct memory *m = &d->memory[i];
    const size_t n_mark = strlen(step->text);
    m->made.bytes = 0;
    for (size_t at = 0, bytes; at < n; at += bytes) {
        bytes = sg_utf8_length(text[at]);
        if (bytes != n_mark || memcmp(text + at, step->text, bytes) != 0)
            sg_str_append(&m->made, text + at, bytes);
        else if (m->n_tokens > 0 || step->keeps_first)
            sg_str_append(&m->made, " ", 1);
    }
    if (usable(d, &m->made))
        feed(d, i + 1, m->made.text ? m->made.text : "", m->made.bytes, ends);
}

/* Steps that need a whole token. */
static void feed_token(sg_decode *d, int i, const char *text, size_t n)
{
    switch (d->decoder->steps[i].kind) {
    case BYTE_LEVEL:
        byte_level(d, i, text, n);
        break;
    case REPLACE:
        replace(d, i, text, n, d->decoder->steps[i].text);
        break;
    case BYTE_FALLBACK:
        byte_fallback(d, i, text, n);
        break;
    case WORD_PIECE:
        word_piece(d, i, text, n);
        break;
    default:
        end_of_word(d, i, text, n);
        break;
    }
}

static void gather(sg_decode *d, int i, const char *text, size_t n, bool ends)
{
    struct memory *m = &d->memory[i];
    if (ends && m->token.bytes == 0) {
        feed_token(d, i, text, n);
        return;
    }
    sg_str_append(&m->token, text, n);
    if (!usable(d, &m->token) || !ends)
        return;
    feed_token(d, i, m->token.text, m->token.bytes);
    m->token.bytes = 0;
}

/* Gives step i the next fragment of a token, the last one if `ends`. */
static void feed(sg_decode *d, int i, const char *text, size_t n, bool ends)
{
    if (d->status != SG_OK)
        return;
    if (i == d->decoder->n) {
        put_out(d, text, n);
        return;
    }
    struct memory *m = &d->memory[i];
    switch (d->decoder->steps[i].kind) {
    case FUSE:
        feed(d, i + 1, text, n, false);
        break;
    case STRIP:
        strip(d, i, text, n, ends);
        break;
    case METASPACE:
        metaspace(d, i, text, n, ends);
        break;
    case JOIN:
        if (m->n_tokens > 0 && !m->inside)
            feed(d, i + 1, " ", 1, false);
        feed(d, i + 1, text, n, ends);
        break;
    default:
        gather(d, i, text, n, ends);
        break;
    }
    m->inside = !ends;
    m->n_tokens += ends;
}

/* Tells step i that no token follows. */
static void end(sg_decode *d, int i)
{
    struct memory *m = &d->memory[i];
    switch (d->decoder->steps[i].kind) {
    case BYTE_LEVEL:
        feed(d, i + 1, SG_REPLACEMENT, m->kept.bytes ? 3 : 0, true);
        break;
    case FUSE:
        feed(d, i + 1, "", 0, true);
        break;
    case BYTE_FALLBACK:
        end_run(d, i);
        break;
    case END_OF_WORD:
        if (m->n_tokens > 0)
            replace(d, i, m->kept.text, m->kept.bytes, "");
        break;
    default:
        break;
    }
}

static sg_status report(const sg_decode *d, sg_error *err)
{
    if (d->status == SG_OK)
        return SG_OK;
    return sg_fail(err, d->status, "%s", d->status == SG_ENOMEM ? "out of memory" : d->error.text);
}

sg_decode *sg_decode_new(const sg_decoder *decoder)
{
    sg_decode *d = calloc(1, sizeof *d);
    struct memory *memory = calloc((size_t)decoder->n + 1, sizeof *memory);
    if (!d || !memory) {
        free(d);
        free(memory);
        return NULL;
    }
    d->decoder = decoder;
    d->memory = memory;
    return d;
}

void sg_decode_free(sg_decode *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->decoder->n; i++) {
        sg_str_free(&d->memory[i].token);
        sg_str_free(&d->memory[i].kept);
        sg_str_free(&d->memory[i].made);
    }
    free(d->memory);
    sg_matcher_free(&d->matcher);
    sg_str_free(&d->out);
    free(d);
}

sg_status sg_decode_push(sg_decode *d, const char *token, size_t n, sg_error *err)
{
    feed(d, 0, token, n, true);
    return report(d, err);
}

sg_status sg_decode_finish(sg_decode *d, sg_error *err)
{
    for (int i = 0; i < d->decoder->n && d->status == SG_OK; i++)
        end(d, i);
    return report(d, err);
}

sg_status sg_decode_take(sg_decode *d, char **out, sg_error *err)
{
    if (!d->out.text) /* nothing was ever appended */
        sg_str_puts(&d->out, "");
    if (d->out.failed)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    *out = d->out.text;
    d->out = (sg_str){0};
    return SG_OK;
}
