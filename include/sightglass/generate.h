/* Writing on: several texts side by side, each row of a batch at its own length, with edits of its own.
 *
 *     sg_batch *b;
 *     SG_TRY(sg_batch_new(&b, model, sg_batch_defaults(), err));
 *     sg_generation g = {0};
 *     sg_generate_opts opts = sg_generate_defaults();
 *     SG_TRY(sg_generate(&g, b, prompt, n, &opts, err));
 *     puts(g.text);
 *     sg_generation_free(&g);
 *     sg_batch_free(b);
 *
 * What a row computes does not depend on the rows beside it, bit for bit: products of few rows add in one order
 * (sg_exec_opts.same_rows), keys are read in whole blocks of SG_BATCH_BLOCK, and prompts are read in pieces that end at multiples
 * of SG_BATCH_PIECE. So a text is what it is alone, and a prefix that another prompt had in common is worth as much as one
 * that was read again. */
#ifndef SIGHTGLASS_GENERATE_H
#define SIGHTGLASS_GENERATE_H

#include "sightglass/model.h"
#include "sightglass/sample.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rows side by side ---- */

enum { SG_BATCH_ROWS = 16, SG_BATCH_BLOCK = 64, SG_BATCH_PIECE = 128 };

typedef struct sg_batch sg_batch;

typedef struct sg_batch_opts {
    sg_exec_opts exec;
    sg_dim n_rows;   /* 1; up to SG_BATCH_ROWS */
    sg_dim capacity; /* tokens of a row; 0: the model's context */
    sg_dtype cache;  /* keys and values of an f32 model: SG_F32, or SG_BF16 for half the memory (SG_F32) */
    /* A bounded cache: the first `sinks` tokens and the last `window` (Xiao et al. 2023, StreamingLLM), at the positions
     * that they have in the cache; a text may then go on without end. window 0: all tokens are kept. Rotary positions alone. */
    sg_dim sinks, window;
    int n_edits; /* of their structure; numbers come by sg_batch_edit. Values are borrowed */
    const sg_edit *edits;
    int n_fetches; /* values by name that each run gives beside the logits */
    const char *const *fetches;
} sg_batch_opts;
sg_batch_opts sg_batch_defaults(void);

/* The bytes of keys and values that a batch keeps. */
sg_status sg_batch_cache_bytes(const sg_model *m, const sg_batch_opts *opts, size_t *out, sg_error *err) SG_MUST_CHECK;

/* SG_EARG: what of the options does not fit the model; edits fail as in sg_edits_splice_rows. */
sg_status sg_batch_new(sg_batch **out, const sg_model *m, sg_batch_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_batch_free(sg_batch *b); /* NULL is fine */
sg_glass *sg_batch_glass(sg_batch *b);
const sg_model *sg_batch_model(const sg_batch *b);

/* A free row for a prompt, -1: none. A row that was closed keeps what it had read: where the prompt begins as it does and `key`
 * (which names the numbers of edits; NULL: none) is the same, whole pieces are taken over. *shared says how many tokens;
 * reading goes on behind them. */
int sg_batch_open(sg_batch *b, const int32_t *tokens, sg_dim n, const char *key, sg_dim *shared);
void sg_batch_close(sg_batch *b, int row);
int sg_batch_n_free(const sg_batch *b);
/* The row's numbers, borrowed until it is closed. */
sg_status sg_batch_edit(sg_batch *b, int row, int n, const sg_edit *edits, sg_error *err) SG_MUST_CHECK;
/* Another row with all that this one has read; -1: none is free. It has this row's edits. */
int sg_batch_fork(sg_batch *b, int row, sg_error *err);

/* Reads tokens of the row's prompt, the next piece at most: *used. logits [V] get those behind the last token read; NULL: they
 * are not wanted. SG_EARG: no room, a token outside the vocabulary. */
sg_status sg_batch_read(sg_batch *b, int row, const int32_t *tokens, sg_dim n, sg_dim *used, float *logits,
                        sg_error *err) SG_MUST_CHECK;
/* One token more for every row whose next[row] >= 0, in one run. logits of a row by sg_batch_logits, until the next run. */
sg_status sg_batch_step(sg_batch *b, const int32_t next[SG_BATCH_ROWS], sg_error *err) SG_MUST_CHECK;
const float *sg_batch_logits(const sg_batch *b, int row);
/* What the last run fetched, [rows,...] from row *first on; borrowed until the next run. */
const sg_tensor *sg_batch_fetched(const sg_batch *b, int i, int *first);
/* Called after each run, of `n_rows` rows and `time` tokens from row `first` on; NULL: nobody is. */
void sg_batch_watch(sg_batch *b, sg_status (*fn)(void *context, int first, int n_rows, sg_dim time, sg_error *err),
                    void *context);
sg_dim sg_batch_length(const sg_batch *b, int row); /* tokens read, those that slid away counted */
sg_dim sg_batch_room(const sg_batch *b);            /* tokens that a row may have; INT64_MAX if it slides */

/* ---- what is to be written ---- */

enum { SG_MOST_STOPS = 16, SG_MOST_TOP = 20 };

typedef struct sg_bias {
    int32_t token;
    double add; /* to its logit */
} sg_bias;

typedef struct sg_generate_opts {
    sg_dim most; /* tokens (128); the context may end first */
    sg_sample_opts sample;
    uint64_t seed;
    uint32_t stream; /* the numbers drawn are those of (seed, stream) */
    double repetition;          /* 1; logits of tokens in prompt or text are divided by it if above 0, else multiplied
                                 * (Keskar et al. 2019) */
    double presence, frequency; /* 0; taken off a logit once its token was written, and as often as it was */
    int n_biases;
    const sg_bias *biases;
    int n_top;   /* likeliest tokens told beside each one written, with log-probabilities; -1: neither (-1) */
    int n_stops; /* what ends the text, and is no part of it; across tokens too */
    const char *stops[SG_MOST_STOPS];
    bool ends_at_eos; /* at the model's own end of text (true) */
    bool trim;        /* blanks at the text's beginning are left out (false) */
    bool echo;        /* the prompt comes first, in text and tokens (false) */
    int n_edits; /* of the structure that the batch was made for; the same for all texts */
    const sg_edit *edits;
    char *(*token_text)(const sg_model *m, int32_t id); /* by malloc; where the model has no tokenizer; NULL: numbers */
} sg_generate_opts;
sg_generate_opts sg_generate_defaults(void);

typedef struct sg_guess {
    int32_t token;
    double logprob; /* natural logarithm; of the model's own distribution, before temperature, bias and penalties */
} sg_guess;

typedef struct sg_written {
    int32_t id;
    double logprob;   /* NaN: the first of all, or not asked for */
    size_t text, end; /* where its text lies, in bytes */
    int n_top;
    sg_guess *top; /* likeliest first; the token itself is not among them where it is not so likely */
} sg_written;

typedef struct sg_generation {
    char *text; /* what is certain; NULL: nothing yet */
    size_t bytes;
    size_t text_room;
    int n_tokens, capacity;
    sg_written *tokens; /* those that are certain; with the prompt's if it is echoed */
    sg_dim n_written;
    const char *reason; /* "stop", "length" or "context"; NULL while it goes on */
    double logprob;     /* of all that was written, the end of text included: the sum, where n_top >= 0 or by beams */
    double first;       /* seconds to the first token */
    sg_dim n_shared;    /* tokens of the prompt that were taken over */
} sg_generation;
void sg_generation_free(sg_generation *g);

/* ---- one text as it is written ----
 *
 * Chooses tokens and keeps the text; runs nothing. What may yet become a stop is held back. */
typedef struct sg_scribe sg_scribe;

/* Options and prompt are borrowed. prompt_logits [n,V]: for an echo with log-probabilities; else NULL. */
sg_status sg_scribe_new(sg_scribe **out, sg_generation *g, const sg_model *m, const int32_t *prompt, sg_dim n,
                        const sg_generate_opts *opts, const float *prompt_logits, sg_error *err) SG_MUST_CHECK;
void sg_scribe_free(sg_scribe *s); /* before g; NULL is fine */
/* Chooses the next token from logits [V]: *id, which is to be read next; -1: the text has ended, g->reason says why.
 * SG_ENUMERIC: logits that are all NaN. */
sg_status sg_scribe_next(sg_scribe *s, const float *logits, int32_t *id, sg_error *err) SG_MUST_CHECK;
/* Ends it for another reason. */
sg_status sg_scribe_end(sg_scribe *s, const char *reason, sg_error *err) SG_MUST_CHECK;

/* ---- whole texts ---- */

/* Told as it goes, after each token: row i's text has grown from `text` on. False ends all. */
typedef bool (*sg_generate_tell)(void *context, int i, const sg_generation *g, size_t text);

typedef struct sg_prompt {
    const int32_t *tokens;
    sg_dim n;
} sg_prompt;

/* g[p * n_best + k] is text k of prompt p, of stream opts.stream + k; prompts and texts beyond the batch's rows wait until one
 * is free. A prompt's texts share what was read. On failure what was written stays. */
sg_status sg_generate_all(sg_generation *g, sg_batch *b, int n_prompts, const sg_prompt *prompts, int n_best,
                          const sg_generate_opts *opts, sg_generate_tell tell, void *context, sg_error *err) SG_MUST_CHECK;
/* One text of one prompt. */
sg_status sg_generate(sg_generation *g, sg_batch *b, const int32_t *prompt, sg_dim n, const sg_generate_opts *opts,
                      sg_error *err) SG_MUST_CHECK;

/* Beam search: of all continuations of the n_beams best so far the n_beams best are kept. A text that ended counts
 * logprob / length^penalty, length its tokens with the end (Wu et al. 2016 without the constant; 0: the sum, 1: the mean); it is
 * over when n_beams have ended and no open one can come before them, or at `most` tokens. g[0..n_beams) best first, g->logprob
 * the sum. Sampling, penalties and stops of opts play no part. */
sg_status sg_generate_beams(sg_generation *g, sg_batch *b, const int32_t *prompt, sg_dim n, int n_beams, double length_penalty,
                            const sg_generate_opts *opts, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
