/* The logit lens, and who wrote a prediction.
 *
 *     sg_lens *lens;
 *     SG_TRY(sg_lens_view(&lens, model, n, tokens, sg_lens_defaults(), err));
 *     const sg_lens_place *p = &lens->places[row * lens->n + position];  // row 0: what enters the first block
 *     sg_lens_free(lens);
 *
 * The lens reads the residual stream before every block as if it were the last: final norm and unembedding are applied
 * to it (nostalgebraist, "interpreting GPT: the logit lens", 2020). Direct logit attribution goes the other way: the
 * stream that leaves the last block is the sum of what embedding, heads and MLPs wrote, so a logit is the sum of what
 * each of them wrote along one direction (Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021).
 * Both hold for any model whose blocks add to a stream: neither looks at weights. */
#ifndef SIGHTGLASS_LENS_H
#define SIGHTGLASS_LENS_H

#include <signal.h>

#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the lens ---- */

enum { SG_LENS_FINAL = -1, SG_LENS_NEXT = -2 };

typedef struct sg_lens_opts {
    int top;       /* 3: likeliest tokens that are told, 1 to 64 */
    int32_t token; /* whose probability is followed: SG_LENS_FINAL, what the model says at that position (the default);
                    * SG_LENS_NEXT, what comes next in the text (at its end: what the model says); or an id */
    sg_dim first;  /* 0: the first position that is read */
    sg_exec_opts exec;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_lens_opts;
sg_lens_opts sg_lens_defaults(void);

typedef struct sg_lens_guess {
    int32_t token;
    double p;
} sg_lens_guess;

typedef struct sg_lens_place {
    const sg_lens_guess *top; /* [top], the likeliest first */
    double p;                 /* of the token that is followed */
    sg_dim rank;              /* of it; 0: the likeliest */
    double entropy;           /* of the whole distribution, nats */
    double kl;                /* of the model's own distribution from this one, nats */
} sg_lens_place;

typedef struct sg_lens {
    int n_rows; /* layers + 1: what enters each block, then what leaves the last */
    int top;
    sg_dim first, n;        /* positions first to first + n - 1 */
    int32_t *token;         /* [n] that is followed */
    sg_lens_place *places;  /* [n_rows,n] */
    sg_lens_guess *guesses; /* [n_rows,n,top] */
} sg_lens;

/* One row of tokens. SG_EARG: none, too many, outside the vocabulary; SG_ENOTFOUND: a model without a residual stream.
 */
sg_status sg_lens_view(sg_lens **out, const sg_model *m, sg_dim n, const int32_t *tokens, sg_lens_opts opts,
                       sg_error *err) SG_MUST_CHECK;
void sg_lens_free(sg_lens *lens); /* NULL is fine */

/* ---- direct logit attribution ---- */

enum { SG_VERSUS_MEAN = -1 };

typedef struct sg_attribution_opts {
    sg_dim position; /* -1: the last */
    int32_t token;   /* SG_LENS_FINAL: what the model says there; SG_LENS_NEXT: what comes next; or an id */
    int32_t versus;  /* SG_VERSUS_MEAN: its logit less the mean of all; else less that of this token */
    int neurons;     /* 10: of all MLPs together, those with the most to do with it; 0: none */
    sg_exec_opts exec;
} sg_attribution_opts;
sg_attribution_opts sg_attribution_defaults(void);

typedef enum sg_writer_kind {
    SG_WROTE_EMBED,
    SG_WROTE_POSITION,
    SG_WROTE_HEAD,
    SG_WROTE_ATTENTION, /* what is no single head's: biases, a norm behind the heads */
    SG_WROTE_MLP,
    SG_WROTE_NEURON,
} sg_writer_kind;

typedef struct sg_attributed {
    sg_writer_kind kind;
    int layer;         /* -1: outside the blocks */
    sg_dim index;      /* head or neuron; -1 */
    double value;      /* logits */
    double activation; /* of a neuron; NaN */
} sg_attributed;

typedef struct sg_attribution {
    sg_dim position;
    int32_t token, versus;
    double logit;    /* of token, less versus */
    double constant; /* of that what an empty stream gives: biases of the final norm and the unembedding */
    int n;           /* embed, position, then by layer: heads, the rest of attention, MLP */
    sg_attributed *parts;
    double unexplained; /* logit - constant - sum of parts: rounding, where the model is a sum */
    int n_neurons;
    sg_attributed *neurons; /* the greatest first, by magnitude; they are parts of their MLP's */
} sg_attribution;

/* The final norm divides by what the whole stream measures; that divisor is held fixed, as is usual, so that the norm
 * is linear. A cap on the logits is not: parts are then scaled so that they sum to what came out. */
sg_status sg_attribution_view(sg_attribution **out, const sg_model *m, sg_dim n, const int32_t *tokens,
                              sg_attribution_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_attribution_free(sg_attribution *a); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
