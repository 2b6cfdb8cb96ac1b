/* Corpora: files of tokens and of text, as a source of rows to train on.
 *
 *     sg_corpus *c;
 *     sg_source source;
 *     SG_TRY(sg_corpus_new(&c, err));
 *     SG_TRY(sg_corpus_add(c, "stories.txt", tokenizer, err));
 *     SG_TRY(sg_corpus_source(&source, c, 8, 256, seed, err)); // batches of 8 rows of 256 tokens
 *     ...
 *     sg_source_free(&source);
 *     sg_corpus_free(c);
 *
 * One epoch takes every row once, in an order drawn anew for each; a stream is cut into rows at an offset that is drawn
 * too. Row r of all that is ever drawn depends on (seed, r) alone, however large the batches are. */
#ifndef SIGHTGLASS_CORPUS_H
#define SIGHTGLASS_CORPUS_H

#include "sightglass/source.h"
#include "sightglass/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_corpus sg_corpus;
sg_status sg_corpus_new(sg_corpus **out, sg_error *err) SG_MUST_CHECK;
void sg_corpus_free(sg_corpus *c); /* after its sources; NULL is fine */

/* FILE.npy, FILE.safetensors (whose tensor is called tokens, or is the only one) or FILE.safetensors:NAME, i32: a stream
 * [time], or [rows,time], rows of their own. Any other name is text, for which a tokenizer is needed; each file's tokens
 * begin with what the tokenizer puts before a text. Streams go on from file to file; they and rows do not mix.
 * SG_EFORMAT: not tokens. SG_EARG: text without a tokenizer. */
sg_status sg_corpus_add(sg_corpus *c, const char *path, const sg_tokenizer *t, sg_error *err) SG_MUST_CHECK;

typedef struct sg_corpus_info {
    sg_dim n_tokens;
    sg_dim time;      /* of the shortest row; the whole stream's */
    int32_t greatest; /* token */
    size_t bytes;     /* of memory that it holds, mapped files included */
    uint64_t hash;    /* of the tokens */
} sg_corpus_info;
sg_corpus_info sg_corpus_get_info(const sg_corpus *c);

/* One field: tokens [rows,time] i32. Of rows longer than `time` the beginning is taken. SG_EARG: nothing is that long. */
sg_status sg_corpus_source(sg_source *out, const sg_corpus *c, sg_dim rows, sg_dim time, uint64_t seed,
                           sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
