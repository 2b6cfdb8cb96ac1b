/* Tokenizers: text to token ids and back, as a Hugging Face tokenizer.json states it.
 *
 *     sg_tokenizer *tok;
 *     sg_tokens ids = {0};
 *     SG_TRY(sg_tokenizer_open(&tok, "tokenizer.json", err));
 *     SG_TRY(sg_tokenizer_encode(tok, "Once upon a time", sg_encode_defaults(), &ids, err));
 *     ...
 *     sg_tokens_free(&ids);
 *     sg_tokenizer_free(tok);
 *
 * A tokenizer is immutable once open, so threads may share it. Models are byte-pair encodings, byte-level (GPT-2) or
 * with byte fallback (Llama). The members "truncation" and "padding" of the file are not read. */
#ifndef SIGHTGLASS_TOKENIZER_H
#define SIGHTGLASS_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_tokenizer sg_tokenizer;

/* A growing list of token ids; zero-initialise, free at the end. */
typedef struct sg_tokens {
    int32_t *ids;
    int64_t n, capacity;
} sg_tokens;

sg_status sg_tokens_push(sg_tokens *t, int32_t id, sg_error *err) SG_MUST_CHECK;
void sg_tokens_free(sg_tokens *t);

typedef struct sg_encode_opts {
    bool add_special;   /* add what the post-processor adds, such as a first <s> (true) */
    bool parse_special; /* recognise added special tokens written out in the text (true) */
} sg_encode_opts;
sg_encode_opts sg_encode_defaults(void);

/* SG_EFORMAT: the file is not a tokenizer; SG_EUNSUPPORTED: it asks for a part this version has not, named in the text.
 */
sg_status sg_tokenizer_open(sg_tokenizer **out, const char *path, sg_error *err) SG_MUST_CHECK;
sg_status sg_tokenizer_parse(sg_tokenizer **out, const char *json, size_t n_bytes, const char *name,
                             sg_error *err) SG_MUST_CHECK;
void sg_tokenizer_free(sg_tokenizer *t); /* NULL is fine */

/* Appends the ids of a NUL-terminated UTF-8 text. Bytes that are not UTF-8 are taken as U+FFFD. */
sg_status sg_tokenizer_encode(const sg_tokenizer *t, const char *text, sg_encode_opts opts, sg_tokens *out,
                              sg_error *err) SG_MUST_CHECK;

/* The text of ids in a malloc'd string (caller frees); special tokens are left out if skip_special, and so are ids that
 * no token has, since models often pad their vocabularies.  A NUL that a model writes is shown as U+FFFD. */
sg_status sg_tokenizer_decode(const sg_tokenizer *t, const int32_t *ids, int64_t n, bool skip_special, char **out,
                              sg_error *err) SG_MUST_CHECK;

/* Text as it streams: each call takes one id and gives, in a malloc'd piece that the caller frees, what has become
 * certain with it (whole UTF-8 characters, often none). Special tokens are left out. The pieces one after another are
 * the text that sg_tokenizer_decode gives for all ids at once. A zeroed struct starts a stream; sg_stream_free ends it.
 */
typedef struct sg_stream {
    struct sg_stream_state *state;
} sg_stream;
sg_status sg_stream_push(const sg_tokenizer *t, sg_stream *s, int32_t id, char **piece, sg_error *err) SG_MUST_CHECK;
/* What is still held back at the end of a stream (incomplete characters are shown as U+FFFD); a new one may start. */
sg_status sg_stream_finish(const sg_tokenizer *t, sg_stream *s, char **piece, sg_error *err) SG_MUST_CHECK;
void sg_stream_free(sg_stream *s);

int32_t sg_tokenizer_size(const sg_tokenizer *t);                  /* largest id + 1 */
const char *sg_tokenizer_token(const sg_tokenizer *t, int32_t id); /* as in the vocabulary; NULL if absent */
int32_t sg_tokenizer_id(const sg_tokenizer *t, const char *token); /* -1 if absent */
bool sg_tokenizer_is_special(const sg_tokenizer *t, int32_t id);

#ifdef __cplusplus
}
#endif
#endif
