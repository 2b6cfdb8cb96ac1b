/* Writing on from a prompt, for the doors: sampling, stop texts, log-probabilities, edits, values fetched beside.
 *
 *     generation g = {0};
 *     SG_TRY(generation_run(&g, &ask, err)); // tells ask.tell as it goes
 *     ... g.text, g.tokens, g.reason ...
 *     generation_free(&g);
 *
 * What comes out depends on the ask alone, whatever else runs: a glass has one owner, and the numbers drawn are those
 * of (seed, stream). With stream 0 they are those of `sightglass generate --seed`. */
#ifndef SG_SERVE_GENERATION_H
#define SG_SERVE_GENERATION_H

#include <stdatomic.h>

#include "serve/fetched.h"
#include "serve/models.h"
#include "sightglass/sample.h"

enum { GENERATION_MOST_STOPS = 6, GENERATION_MOST_TOP = 20, GENERATION_MOST_BIASES = 1024 };

typedef struct generation generation;

typedef struct generation_bias {
    int32_t token;
    double add; /* to its logit */
} generation_bias;

typedef struct generation_ask {
    serve_models *models;
    const char *model;
    sg_dim n; /* tokens of the prompt */
    const int32_t *tokens;
    sg_dim most; /* tokens to write; the end of the context may come first */
    sg_sample_opts sample;
    uint64_t seed;
    uint32_t stream;
    double presence, frequency; /* taken off a logit once its token was written, and as often as it was */
    int n_biases;
    const generation_bias *biases;
    int n_top;   /* likeliest tokens told beside each one written, with log-probabilities; -1: neither */
    bool echo;   /* the prompt comes first, in text, tokens and log-probabilities */
    int n_stops; /* what ends the text, and is no part of it */
    const char *stops[GENERATION_MOST_STOPS];
    bool ends_at_eos;            /* at the model's own end of text (true) */
    bool trim;                   /* blanks at the text's beginning are left out */
    const json_t *edits, *fetch; /* NULL: none */
    int n_choices;               /* that are asked for in all, for the bounds of what is fetched */
    const atomic_bool *gone;     /* NULL: nobody leaves */
    /* Told when more has become certain: text from `text` on, tokens from `token` on, steps fetched from `step` on;
     * `last`: there is no more. NULL: nobody is told. */
    sg_status (*tell)(void *context, const generation *g, size_t text, int token, int step, bool last, sg_error *err);
    void *context;
} generation_ask;
generation_ask generation_defaults(void);

typedef struct generation_guess {
    int32_t token;
    double logprob; /* natural logarithm; of the model's own distribution, before temperature, bias and penalties */
} generation_guess;

typedef struct generation_token {
    int32_t id;
    double logprob;   /* NaN: the first of all, or not asked for */
    size_t text, end; /* where its text lies, in bytes */
    int n_top;
    generation_guess *top; /* likeliest first; the token itself is not among them where it is not so likely */
} generation_token;

struct generation {
    sg_str text; /* what is certain */
    int n_tokens, capacity;
    generation_token *tokens; /* with those of the prompt if it is echoed */
    sg_dim n_written;
    const char *reason; /* "stop" or "length"; NULL while it goes on */
    fetched *fetched;   /* NULL: nothing was asked for */
    const char *backend;
    double first; /* seconds to the first token */
};

/* SG_EARG, SG_EFORMAT, SG_ESHAPE: what is wrong with the ask, its edits or its fetch; *field says which where one is to
 * blame ("edits"), and may be NULL. SG_ENOTFOUND: no such model. SG_ENUMERIC: logits that are all NaN. SG_ECANCELLED:
 * the client has left. */
sg_status generation_run(generation *g, const generation_ask *ask, const char **field, sg_error *err) SG_MUST_CHECK;
void generation_free(generation *g);

#endif
