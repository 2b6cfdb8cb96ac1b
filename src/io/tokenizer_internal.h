/* What the tokenizer's files share.
 *
 * A text goes through four parts, each read from its own object of the tokenizer.json by its own file:
 *
 *     added tokens      tokenizer_added.c        cut out whole, before and after the normalizer
 *     normalizer        tokenizer_normalize.c    text -> text
 *     pre-tokenizer     tokenizer_pretokenize.c  text -> pieces
 *     model             tokenizer_bpe.c          piece -> ids
 *
 * and back through tokenizer_decode.c.  tokenizer.c opens the file and joins the parts; the vocabulary,
 * patterns, JSON members and UTF-8 have a file each.  Inside, every text is valid UTF-8 with its length beside it, and
 * holds no NUL on the way in (the public functions see to that), so patterns may skip their own check. */
#ifndef SG_TOKENIZER_INTERNAL_H
#define SG_TOKENIZER_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "sightglass/tokenizer.h"

/* ---- UTF-8 and the byte alphabet (tokenizer_text.c) ---- */

typedef enum sg_utf8 {
    SG_UTF8_CHAR, /* a character of *bytes bytes */
    SG_UTF8_BAD,  /* *bytes bytes that cannot begin or go on as a character: one U+FFFD */
    SG_UTF8_CUT   /* all *bytes that are left begin a character which the end cuts off */
} sg_utf8;

#define SG_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* What stands at the beginning of n > 0 bytes. */
sg_utf8 sg_utf8_next(const char *text, size_t n, size_t *bytes);
/* The code point of a valid character, and the length of one by its first byte. */
int32_t sg_utf8_code(const char *text);
size_t sg_utf8_length(char first);
/* Appends the text with each faulty place as U+FFFD. */
void sg_utf8_repair(sg_str *out, const char *text, size_t n);

/* Byte-level vocabularies write each of the 256 bytes as one visible character, of one or two bytes in UTF-8. */
size_t sg_byte_to_char(unsigned char byte, char out[2]);
/* The byte that the valid character at `text` stands for, or -1. */
int sg_byte_of_char(const char *text);

/* The byte that a token like <0x0A> names, or -1. */
int sg_named_byte(const char *text, size_t n);

bool sg_is_space(int32_t code); /* Unicode White_Space */
bool sg_is_word(int32_t code);  /* letters, marks, decimal digits, connectors */
bool sg_is_mark(int32_t code);
bool sg_is_nonspacing(int32_t code); /* marks that take no room of their own */
bool sg_is_control(int32_t code);    /* controls, formats, private and unassigned ones; not tab and line ends */
bool sg_is_ideograph(int32_t code);  /* of Chinese, Japanese and Korean, as BERT counts them */

/* ---- reading JSON (tokenizer_json.c) ---- */

/* The file's name for error texts, and the arena for what is kept. */
typedef struct sg_reader {
    const char *name;
    sg_arena *arena;
    sg_error *err;
    const void *charsmap; /* of a SentencePiece model, for SG_STEP_CHARSMAP */
    size_t charsmap_bytes;
} sg_reader;

#define SG_MAX_STEPS 64
#define SG_SHOWN     72

/* The member, or NULL if it is absent or null. */
const json_t *sg_json_member(const json_t *object, const char *key);
sg_status sg_json_bool(const sg_reader *r, const json_t *object, const char *key, bool fallback, bool *out);
/* Copied to the arena.  A NULL fallback says that the member is required. */
sg_status sg_json_text(const sg_reader *r, const json_t *object, const char *key, const char *fallback,
                       const char **out);
/* A text of exactly one character. */
sg_status sg_json_char(const sg_reader *r, const json_t *object, const char *key, const char *fallback,
                       const char **out);
sg_status sg_json_count(const sg_reader *r, const json_t *object, const char *key, int64_t fallback, int64_t *out);
/* A token id: 0 <= id < 2^24. */
sg_status sg_json_id(const sg_reader *r, const json_t *value, const char *what, int32_t *out);

/* The objects of a part in order, Sequences opened: none for null. */
typedef struct sg_json_steps {
    const json_t *step[SG_MAX_STEPS];
    const char *type[SG_MAX_STEPS]; /* borrowed from the JSON */
    int n;
} sg_json_steps;
sg_status sg_json_open_steps(const sg_reader *r, const json_t *root, const char *part, const char *list_key,
                             sg_json_steps *out);
sg_status sg_json_unsupported(const sg_reader *r, const char *part, const char *type);

/* A text fit for an error: short, on one line. */
const char *sg_show(char buf[SG_SHOWN], const char *text);
const char *sg_show_n(char buf[SG_SHOWN], const char *text, size_t n);

/* ---- patterns (tokenizer_pattern.c) ---- */

typedef struct sg_pattern sg_pattern;

/* From {"String": ...} or {"Regex": ...}. */
sg_status sg_pattern_read(sg_pattern **out, const sg_reader *r, const json_t *object, const char *key);
sg_status sg_pattern_regex(sg_pattern **out, const sg_reader *r, const char *regex);
sg_status sg_pattern_literal(sg_pattern **out, const sg_reader *r, const char *literal);

/* What a search writes to: one for each thread at work, zero-initialised. */
typedef struct sg_matcher {
    struct pcre2_real_match_data_8 *data;
    struct pcre2_real_match_context_8 *limits;
} sg_matcher;
void sg_matcher_free(sg_matcher *m);

/* Walks the matches of a text from left to right. */
typedef struct sg_finder {
    const sg_pattern *pattern;
    const char *text;
    size_t n;
    size_t from;       /* where the next search begins */
    size_t start, end; /* the latest match */
    bool any;          /* there was a match */
} sg_finder;
sg_status sg_find_next(sg_finder *f, sg_matcher *m, bool *found, sg_error *err);

/* Appends the text with every match replaced. */
sg_status sg_pattern_replace(const sg_pattern *p, sg_matcher *m, const char *text, size_t n, const char *by,
                             sg_str *out, sg_error *err);

/* ---- the vocabulary (tokenizer_vocab.c) ---- */

typedef struct sg_vocab_entry {
    const char *text; /* borrowed from the arena */
    size_t bytes;
    bool special;
} sg_vocab_entry;

typedef struct sg_vocab {
    char *store; /* where the next token's text goes */
    sg_vocab_entry *entries;
    int32_t n;
    int32_t *entry_of_id; /* [n_ids], entry + 1, 0 where no token has the id */
    int32_t n_ids;
    sg_map *model_ids; /* the model's own tokens, the only ones that merges see */
    sg_map *added_ids; /* added tokens that the model does not have */
} sg_vocab;

/* Where a token is found by its text: among the model's own, among the added, or nowhere. */
typedef enum sg_vocab_place { SG_VOCAB_MODEL, SG_VOCAB_ADDED, SG_VOCAB_SHOWN } sg_vocab_place;

/* Room for so many tokens, whose texts, each with a NUL, are so many bytes; each is then put under its id. */
sg_status sg_vocab_begin(sg_vocab *v, const sg_reader *r, size_t n_model, size_t n_added, int32_t n_ids, size_t bytes);
sg_status sg_vocab_put(sg_vocab *v, const sg_reader *r, sg_vocab_place place, const char *text, size_t bytes,
                       int32_t id);
void sg_vocab_mark(sg_vocab *v, int32_t id); /* as special */
/* Reads model.vocab and added_tokens, whose ids may lie beyond it. */
sg_status sg_vocab_read(sg_vocab *v, const sg_reader *r, const json_t *model, const json_t *added);
const sg_vocab_entry *sg_vocab_at(const sg_vocab *v, int32_t id); /* NULL if absent */
int32_t sg_vocab_find(const sg_vocab *v, const char *text, size_t n);

/* ---- added tokens (tokenizer_added.c) ---- */

typedef struct sg_added_token {
    const char *text; /* as it is looked for: normalized if the token says so */
    size_t bytes;
    int32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
} sg_added_token;

/* A byte trie: nodes in an array, children as a linked list, the root's as a table. */
typedef struct sg_added_node {
    int32_t child, sibling, token; /* -1 if none */
    unsigned char byte;
} sg_added_node;

typedef struct sg_added {
    sg_added_token *tokens;
    sg_added_node *nodes;
    int32_t n_nodes;
    int32_t roots[256];
} sg_added;

typedef struct sg_normalizer sg_normalizer;

/* The tokens looked for in the raw text and those looked for in the normalized one. */
sg_status sg_added_read(sg_added *raw, sg_added *normalized, const sg_reader *r, const json_t *list,
                        const sg_normalizer *normalizer);

typedef struct sg_span {
    size_t start, end;
    int32_t id; /* of an added token, or -1 for text between */
} sg_span;

/* The next span of the text from *at on, which moves past it; false at the end.  `held` is zeroed at the start. */
typedef struct sg_added_walk {
    const sg_added *added;
    const char *text;
    size_t n, at;
    bool specials; /* special tokens count */
    bool have_held;
    sg_span held;
} sg_added_walk;
bool sg_added_next(sg_added_walk *w, sg_span *out);

/* ---- normalizer (tokenizer_normalize.c) ---- */

/* The step that a SentencePiece model's own map of characters takes; no tokenizer.json has it under this name. */
#define SG_STEP_CHARSMAP "SentencePiece"

typedef struct sg_charsmap sg_charsmap;

/* clusters: look up as tokenizer.json's readers do, not as SentencePiece itself (tokenizer_charsmap.c). */
sg_status sg_charsmap_new(sg_charsmap **out, const sg_reader *r, const void *bytes, size_t n, bool clusters);
sg_status sg_charsmap_read(sg_charsmap **out, const sg_reader *r, const json_t *json);
void sg_charsmap_apply(const sg_charsmap *m, const char *text, size_t n, sg_str *out);

sg_status sg_normalizer_read(sg_normalizer **out, const sg_reader *r, const json_t *json);

/* Two buffers that steps alternate between. */
typedef struct sg_norm_work {
    sg_str buffer[2];
    sg_matcher matcher;
} sg_norm_work;
void sg_norm_work_free(sg_norm_work *w);

/* *out is borrowed from the text or the work area until the next call. */
sg_status sg_normalize(const sg_normalizer *norm, sg_norm_work *w, const char *text, size_t n, const char **out,
                       size_t *n_out, sg_error *err);

/* ---- model (tokenizer_bpe.c) ---- */

typedef struct sg_bpe sg_bpe;

typedef struct sg_bpe_work {
    struct sg_symbol *symbols;
    uint64_t *queue;
    size_t n_symbols, n_queue; /* capacities */
    sg_str text;
} sg_bpe_work;
void sg_bpe_work_free(sg_bpe_work *w);

typedef struct sg_bpe_opts {
    const char *prefix, *suffix; /* of characters that continue, or end, a word; "" if none */
    const char *unk_token;       /* NULL if there is none */
    bool fuse_unk, byte_fallback, ignore_merges;
} sg_bpe_opts;

/* Its texts are borrowed from the arena. Merges follow: as many as are reserved, then the end; or all by score. */
sg_status sg_bpe_new(sg_bpe **out, const sg_reader *r, const sg_bpe_opts *opts, const sg_vocab *vocab);
sg_status sg_bpe_reserve(sg_bpe *b, const sg_reader *r, size_t n_merges);
sg_status sg_bpe_halves(const sg_reader *r, const char *text, size_t n_text, size_t i, const char *half[2],
                        size_t n[2]); /* of "left right" */
sg_status sg_bpe_add(sg_bpe *b, const sg_reader *r, const char *const half[2], const size_t n[2], sg_str *joined);
sg_status sg_bpe_finish(sg_bpe *b, const sg_reader *r);
/* makes [n_ids]: which tokens take part; scores of those. */
sg_status sg_bpe_merge_by_score(sg_bpe *b, const sg_reader *r, const float *scores, const bool *makes);
sg_status sg_bpe_read(sg_bpe **out, const sg_reader *r, const json_t *model, const sg_vocab *vocab);
/* Whether pieces may come as raw bytes that stand for their byte-level characters. */
bool sg_bpe_takes_bytes(const sg_bpe *b);
sg_status sg_bpe_encode(const sg_bpe *b, sg_bpe_work *w, const char *piece, size_t n, bool as_bytes, sg_tokens *out,
                        sg_error *err);

/* ---- WordPiece (tokenizer_wordpiece.c) ---- */

typedef struct sg_wordpiece sg_wordpiece;

typedef struct sg_wordpiece_opts {
    const char *unk_token, *prefix; /* borrowed from the arena */
    int64_t max_chars;              /* a longer word is unknown */
} sg_wordpiece_opts;
sg_status sg_wordpiece_new(sg_wordpiece **out, const sg_reader *r, const sg_wordpiece_opts *opts,
                           const sg_vocab *vocab);
sg_status sg_wordpiece_read(sg_wordpiece **out, const sg_reader *r, const json_t *model, const sg_vocab *vocab);
sg_status sg_wordpiece_encode(const sg_wordpiece *p, sg_str *work, const char *word, size_t n, sg_tokens *out,
                              sg_error *err);

/* ---- Unigram (tokenizer_unigram.c) ---- */

typedef struct sg_unigram sg_unigram;

typedef struct sg_unigram_opts {
    const bool *makes;   /* [n_ids] which tokens take part */
    const float *scores; /* log probabilities of those */
    int32_t unk;         /* -1: none */
    bool byte_fallback;
} sg_unigram_opts;
sg_status sg_unigram_new(sg_unigram **out, const sg_reader *r, const sg_unigram_opts *opts, const sg_vocab *vocab);
sg_status sg_unigram_read(sg_unigram **out, const sg_reader *r, const json_t *model, const sg_vocab *vocab);

typedef struct sg_unigram_work {
    struct sg_path *paths;
    size_t n_paths; /* capacity */
} sg_unigram_work;
void sg_unigram_work_free(sg_unigram_work *w);
sg_status sg_unigram_encode(const sg_unigram *u, sg_unigram_work *w, const char *piece, size_t n, sg_tokens *out,
                            sg_error *err);

/* ---- the model, of whichever kind (tokenizer_model.c) ---- */

typedef struct sg_token_model {
    sg_tokenizer_kind kind;
    sg_bpe *bpe; /* SG_TOKENIZER_BPE, SG_TOKENIZER_SPM */
    sg_wordpiece *wordpiece;
    sg_unigram *unigram;
} sg_token_model;

/* What a call keeps: buffers, and in long texts the ids of words seen lately. */
typedef struct sg_model_work {
    sg_bpe_work bpe;
    sg_str text;
    sg_unigram_work unigram;
    struct sg_seen *seen;
    int64_t n_pieces;
} sg_model_work;
void sg_model_work_free(sg_model_work *w);

/* Which kind the JSON's model is, before its vocabulary is read. */
sg_status sg_token_model_check(sg_token_model *m, const sg_reader *r, const json_t *model);
sg_status sg_token_model_read(sg_token_model *m, const sg_reader *r, const json_t *model, const sg_vocab *vocab);
/* Whether pieces may come as raw bytes that stand for their byte-level characters. */
bool sg_token_model_takes_bytes(const sg_token_model *m);
sg_status sg_token_model_encode(const sg_token_model *m, sg_model_work *w, const char *piece, size_t n, bool as_bytes,
                                sg_tokens *out, sg_error *err);

/* ---- GGUF's names of patterns (tokenizer_pre.c) ---- */

/* GPT-2's: contractions, then runs of letters, of digits, of others, each with a space before it, then spaces. */
#define SG_PATTERN_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

struct sg_pre {
    const char *name;
    const char *patterns[6]; /* NULL after the last */
    bool nfc, ignore_merges;
    bool clip; /* cut at what the pattern leaves, in lower case */
};
sg_status sg_pre_find(const struct sg_pre **out, const char *file, const char *name, sg_error *err);

/* ---- pre-tokenizer (tokenizer_pretokenize.c) ---- */

typedef struct sg_pretokenizer sg_pretokenizer;

sg_status sg_pretokenizer_read(sg_pretokenizer **out, const sg_reader *r, const json_t *json,
                               const sg_token_model *model);

typedef struct sg_pretok_work {
    sg_str buffer[SG_MAX_STEPS];
    sg_matcher matcher;
    sg_model_work model;
} sg_pretok_work;
void sg_pretok_work_free(sg_pretok_work *w);

/* Cuts the text and hands every piece to the model.  `first`: the text begins where the user's text begins. */
sg_status sg_pretokenize(const sg_pretokenizer *p, sg_pretok_work *w, const char *text, size_t n, bool first,
                         sg_tokens *out, sg_error *err);

/* ---- decoder (tokenizer_decode.c) ---- */

typedef struct sg_decoder sg_decoder;
typedef struct sg_stream_state sg_decode;

sg_status sg_decoder_read(sg_decoder **out, const sg_reader *r, const json_t *json);

/* Tokens go in one by one; text comes out as soon as no later token can change it. */
sg_decode *sg_decode_new(const sg_decoder *d); /* NULL when memory is out */
void sg_decode_free(sg_decode *d);
sg_status sg_decode_push(sg_decode *d, const char *token, size_t n, sg_error *err);
sg_status sg_decode_finish(sg_decode *d, sg_error *err);
/* Takes what came out since the last call: malloc'd, the caller's. */
sg_status sg_decode_take(sg_decode *d, char **out, sg_error *err);

/* ---- the whole (tokenizer.c) ---- */

struct sg_tokenizer {
    sg_arena *arena; /* owns everything below */
    sg_vocab vocab;
    sg_added raw, normalized;
    sg_normalizer *normalizer;
    sg_pretokenizer *pretokenizer;
    sg_token_model model;
    sg_decoder *decoder;
    int32_t *around; /* what the post-processor adds: n_before ids, then n_after */
    size_t n_before, n_after;
    sg_special_ids special;
    const char *chat_template; /* or NULL */
};

/* An empty tokenizer and the reader that fills it; the end keeps it if the status is SG_OK, and else frees it. */
sg_status sg_tokenizer_begin(sg_tokenizer **t, sg_reader *r, const char *name, sg_error *err);
sg_status sg_tokenizer_end(sg_tokenizer **t, sg_status status);
sg_status sg_whole_read(sg_tokenizer *t, const sg_reader *r, const json_t *root);
/* What goes before and after a text, -1: nothing. */
sg_status sg_ends_set(sg_tokenizer *t, const sg_reader *r, int32_t before, int32_t after);
/* All but vocabulary, model and post-processor. */
sg_status sg_parts_read(sg_tokenizer *t, const sg_reader *r, const json_t *root);
/* "FILE: line N: ..." for what jansson refused. */
sg_status sg_json_refused(const char *name, const json_error_t *why, sg_error *err);

/* ---- lists, other files (tokenizer_lists.c, tokenizer_sentencepiece.c, tokenizer_folder.c) ---- */

/* settings (or NULL): what lies beside a tokenizer in its folder, see tokenizer_folder.c. */
sg_status sg_lists_read(sg_tokenizer *t, const sg_reader *r, const sg_tokenizer_vocab *in, const json_t *settings);
sg_status sg_sentencepiece_read(sg_tokenizer *t, const sg_reader *r, const void *bytes, size_t n,
                                const json_t *settings);
void sg_settings_ends(const json_t *settings, sg_tokenizer_vocab *v);
/* Puts a byte-level vocabulary's pre-tokenizer and the like into root; false when memory is out. */
bool sg_byte_level_parts(json_t *root, const struct sg_pre *pre, bool prefix_space);
/* An item of "added_tokens", whose id may lie beyond the model's but not beyond the vocabulary's. */
sg_status sg_vocab_put_added(sg_vocab *v, const sg_reader *r, const json_t *token);

#endif
