/* Tokenizers: text to token ids and back, as a tokenizer.json states it, or older files, or a list of tokens.
 *
 *     sg_tokenizer *tok;
 *     sg_tokens ids = {0};
 *     SG_TRY(sg_tokenizer_open(&tok, "tokenizer.json", err));
 *     SG_TRY(sg_tokenizer_encode(tok, "Once upon a time", sg_encode_defaults(), &ids, err));
 *     ...
 *     sg_tokens_free(&ids);
 *     sg_tokenizer_free(tok);
 *
 * A tokenizer is immutable once open, so threads may share it. Models are byte-pair encodings, byte-level (GPT-2), with
 * byte fallback (Llama) or merged by score (SentencePiece), WordPiece (BERT) and Unigram (T5). The members "truncation"
 * and "padding" of a tokenizer.json are not read. */
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

/* A tokenizer.json, or a SentencePiece model if the name ends in .model.
 * SG_EFORMAT: the file is not a tokenizer; SG_EUNSUPPORTED: it asks for a part this version has not, named in the text.
 */
sg_status sg_tokenizer_open(sg_tokenizer **out, const char *path, sg_error *err) SG_MUST_CHECK;
sg_status sg_tokenizer_parse(sg_tokenizer **out, const char *json, size_t n_bytes, const char *name,
                             sg_error *err) SG_MUST_CHECK;
/* Whichever a model's folder has: tokenizer.json; SentencePiece's tokenizer.model; vocab.json with merges.txt;
 * vocab.txt. What tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja say is
 * heeded. SG_ENOTFOUND: it has none of them. */
sg_status sg_tokenizer_open_folder(sg_tokenizer **out, const char *dir, sg_error *err) SG_MUST_CHECK;
/* The bytes of a SentencePiece model (unigram or bpe). */
sg_status sg_tokenizer_parse_sentencepiece(sg_tokenizer **out, const void *bytes, size_t n_bytes, const char *name,
                                           sg_error *err) SG_MUST_CHECK;
void sg_tokenizer_free(sg_tokenizer *t); /* NULL is fine */

/* ---- from lists of tokens, as GGUF files hold them ---- */

typedef enum sg_tokenizer_kind {
    SG_TOKENIZER_BPE,       /* byte-level, by merges (GGUF: "gpt2") */
    SG_TOKENIZER_SPM,       /* SentencePiece's byte pairs, merged by score, bytes as fallback (GGUF: "llama") */
    SG_TOKENIZER_WORDPIECE, /* GGUF: "bert" */
    SG_TOKENIZER_UNIGRAM    /* GGUF: "t5" */
} sg_tokenizer_kind;

/* What a token is: SentencePiece's numbers, which are GGUF's tokenizer.ggml.token_type. */
typedef enum sg_token_type {
    SG_TOKEN_NORMAL = 1,
    SG_TOKEN_UNKNOWN,
    SG_TOKEN_CONTROL, /* such as <s>: special, and never made from text unless parse_special */
    SG_TOKEN_USER,    /* cut out of a text whole */
    SG_TOKEN_UNUSED,  /* no text gives it */
    SG_TOKEN_BYTE     /* <0x00> to <0xFF> */
} sg_token_type;

/* Lists, all borrowed for the call alone. The token at index i has the id i. Texts end in NUL, or have their lengths
 * beside them. Start from sg_tokenizer_vocab_defaults(). */
typedef struct sg_tokenizer_vocab {
    const char *name; /* for errors: the file ("vocabulary") */
    sg_tokenizer_kind kind;
    int32_t n;
    const char *const *tokens; /* [n] UTF-8; WordPiece: "##ing", or with a mark before what begins a word */
    const size_t *token_bytes; /* [n] or NULL */
    const float *scores;       /* [n], SPM and UNIGRAM: log probabilities; else NULL */
    const int32_t *types;      /* [n] of sg_token_type; NULL: told from the ids below and texts like <0x0A> */
    int64_t n_merges;          /* BPE */
    const char *const *merges; /* [n_merges] "left right", the first learnt first */
    const size_t *merge_bytes; /* [n_merges] or NULL */
    const char *pre;           /* BPE: GGUF's tokenizer.ggml.pre ("llama-bpe"); NULL is "default" */
    int32_t bos, eos, unk, pad, sep, cls, mask; /* ids, -1: none */
    bool add_bos, add_eos;         /* around a text (false); WORDPIECE: cls, or else bos, and sep, or else eos */
    bool add_space_prefix;         /* SPM, UNIGRAM: a space before a text that has any (true) */
    bool remove_extra_whitespaces; /* SPM, UNIGRAM: at both ends and repeated ones (false) */
    const void *charsmap;          /* SPM, UNIGRAM: SentencePiece's precompiled normalization, or NULL */
    size_t charsmap_bytes;
    const char *chat_template; /* source, or NULL */
} sg_tokenizer_vocab;
sg_tokenizer_vocab sg_tokenizer_vocab_defaults(void);

/* SG_EFORMAT: lists that do not fit together; SG_EUNSUPPORTED: a `pre` whose pattern is not known here. */
sg_status sg_tokenizer_new(sg_tokenizer **out, const sg_tokenizer_vocab *vocab, sg_error *err) SG_MUST_CHECK;

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

/* Named ids, -1 where the files name none. */
typedef struct sg_special_ids {
    int32_t bos, eos, unk, pad, sep, cls, mask;
} sg_special_ids;
sg_special_ids sg_tokenizer_specials(const sg_tokenizer *t);
/* The source of the chat template (sightglass/template.h), borrowed; NULL if the files have none. */
const char *sg_tokenizer_chat_template(const sg_tokenizer *t);

#ifdef __cplusplus
}
#endif
#endif
