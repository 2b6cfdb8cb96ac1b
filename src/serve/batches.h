/* Texts of several requests, written in one run: each step runs all rows that have a token to read; rows join and
 * leave.
 *
 *     serve_row *row;
 *     SG_TRY(serve_row_take(&row, models, (serve_row_ask){.model = "othello8", .tokens = ids, .n = n, .capacity = n +
 * 32}, err)); SG_TRY(serve_row_read(row, gone, err)); // the prompt, or what of it no row had read for (...)
 *         SG_TRY(serve_row_step(row, next_of(serve_row_logits(row)), err)); // with whoever else has a token now
 *     serve_row_give(row);
 *
 * Requests whose edits have one structure share a batch, each with its own numbers. What comes out does not depend on
 * who else is there (generate.h). There is no thread of its own: of those who wait one runs for all, after it has
 * waited for the others no longer than half of what a step takes. */
#ifndef SG_SERVE_BATCHES_H
#define SG_SERVE_BATCHES_H

#include <stdatomic.h>

#include "serve/models.h"
#include "sightglass/generate.h"

typedef struct serve_batches serve_batches;
typedef struct serve_row serve_row;

/* Of serve_models, which makes and frees it. */
sg_status serve_batches_new(serve_batches **out, serve_models *models, int most_idle, size_t most_bytes,
                            sg_error *err) SG_MUST_CHECK;
void serve_batches_free(serve_batches *all); /* after all rows came back; NULL is fine */

typedef struct serve_row_ask {
    const char *model;
    const int32_t *tokens; /* the prompt, checked; borrowed until the row is given back */
    sg_dim n;
    sg_dim capacity;     /* of prompt and text, at most the model's context */
    const json_t *edits; /* a list as edit.h has it; NULL: none */
} serve_row_ask;

/* SG_EARG, SG_EFORMAT, SG_ENOTFOUND, SG_ESHAPE: what is wrong with the edits; SG_EUNSUPPORTED: edits that cannot be
 * told apart by rows, which a glass of one request takes. */
sg_status serve_row_take(serve_row **out, serve_models *models, serve_row_ask ask, sg_error *err) SG_MUST_CHECK;
/* SG_ECANCELLED: *gone became true; it may be NULL. */
sg_status serve_row_read(serve_row *row, const atomic_bool *gone, sg_error *err) SG_MUST_CHECK;
sg_status serve_row_step(serve_row *row, int32_t id, sg_error *err) SG_MUST_CHECK;
const float *serve_row_logits(const serve_row *row); /* [V] behind the last token read */
sg_dim serve_row_shared(const serve_row *row);       /* tokens that were taken over */
void serve_row_give(serve_row *row);                 /* NULL is fine */

typedef struct serve_batches_count {
    int n, rows;             /* batches there are, and rows in use */
    int made, joined;        /* batches so far, and rows taken */
    long long steps, tokens; /* runs of steps, and tokens they read */
    long long shared;        /* tokens of prompts that were taken over */
} serve_batches_count;
serve_batches_count serve_batches_counted(serve_batches *all);

#endif
