/* Writing on from a prompt, for the doors: what generate.h writes, with edits, values fetched beside, and a client who
 * may leave.
 *
 *     generation g = {0};
 *     SG_TRY(generation_run(&g, &ask, NULL, err)); // tells ask.tell as it goes
 *     ... g.w.text, g.w.tokens, g.w.reason ...
 *     generation_free(&g);
 *
 * What comes out depends on the ask alone, whatever else runs: requests are rows of a batch (batches.h), and the
 * numbers drawn are those of (seed, stream). With stream 0 they are those of `sightglass generate --seed`. Who asks for
 * values beside the text, or for the log-probabilities of the prompt, has a glass alone, and so have edits that a batch
 * does not take. */
#ifndef SG_SERVE_GENERATION_H
#define SG_SERVE_GENERATION_H

#include <stdatomic.h>

#include "serve/fetched.h"
#include "serve/models.h"
#include "sightglass/generate.h"

enum { GENERATION_MOST_BIASES = 1024 };

typedef struct generation generation;

typedef struct generation_ask {
    serve_models *models;
    const char *model;
    sg_dim n; /* tokens of the prompt */
    const int32_t *tokens;
    sg_generate_opts write;      /* of which edits are not looked at */
    const json_t *edits, *fetch; /* NULL: none */
    int n_choices;               /* that are asked for in all, for the bounds of what is fetched */
    const atomic_bool *gone;     /* NULL: nobody leaves */
    /* Told when more has become certain: text from `text` on, tokens from `token` on, steps fetched from `step` on;
     * `last`: there is no more. NULL: nobody is told. */
    sg_status (*tell)(void *context, const generation *g, size_t text, int token, int step, bool last, sg_error *err);
    void *context;
} generation_ask;
generation_ask generation_defaults(void); /* 16 tokens */

struct generation {
    sg_generation w;  /* its reason is "stop" or "length" */
    fetched *fetched; /* NULL: nothing was asked for */
    const char *backend;
};

/* SG_EARG, SG_EFORMAT, SG_ESHAPE: what is wrong with the ask, its edits or its fetch; *field says which where one is to
 * blame ("edits"), and may be NULL. SG_ENOTFOUND: no such model. SG_ENUMERIC: logits that are all NaN. SG_ECANCELLED:
 * the client has left. */
sg_status generation_run(generation *g, const generation_ask *ask, const char **field, sg_error *err) SG_MUST_CHECK;
void generation_free(generation *g);

#endif
