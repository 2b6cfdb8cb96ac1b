/* Harvests: what a model holds at some sites, a row for each position, gathered over many sequences.
 *
 *     sg_store *s;
 *     SG_TRY(sg_harvest(&s, model, 1, (const char *const[]){"blocks.3.hook_resid_post"}, &tokens, &counts,
 *                       sg_harvest_defaults(), err));
 *     const sg_tensor *acts = sg_store_acts(s, 0); // [N,D]; row i is position sg_store_rows(s)[i].position of an
 * episode SG_TRY(sg_store_labels(&labels, s, sg_sample_find(sample, "board_rel"), err)); // [N,S] sg_store_free(s);
 *
 * An episode is one sequence. Rows of an episode resemble each other, so whatever is fitted on some rows is to be
 * judged on other episodes: sg_store_split parts them so. */
#ifndef SIGHTGLASS_HARVEST_H
#define SIGHTGLASS_HARVEST_H

#include <signal.h>

#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_store sg_store;

typedef struct sg_store_row {
    int32_t episode, position, token; /* position: 0-based in the episode */
} sg_store_row;

typedef struct sg_harvest_opts {
    sg_dim batch;      /* 64: sequences that are run at once */
    sg_span positions; /* {0, INT64_MAX}: of those, which become rows */
    uint64_t seed;     /* 0: of the weights, where the model has none (sg_model_new): an untrained network */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_harvest_opts;
sg_harvest_opts sg_harvest_defaults(void);

/* tokens [E,T] i32, counts [E,T] bool (NULL: all count): a row for every position whose token counts and is followed by
 * one that does, as a language model is asked about no others. Sites by name, each [batch,time,...]; what lies behind
 * the first two axes becomes one, D. SG_ENOTFOUND suggests the nearest name; SG_ESHAPE: a site without position. */
sg_status sg_harvest(sg_store **out, const sg_model *m, int n_sites, const char *const *sites, const sg_tensor *tokens,
                     const sg_tensor *counts, sg_harvest_opts opts, sg_error *err) SG_MUST_CHECK;

/* The same rows of what the model was given, with no model in it: what a probe can read off the input alone. */
typedef enum sg_input_features {
    SG_INPUT_BAG,    /* [N,V]: how often each token occurred so far */
    SG_INPUT_PLACES, /* [N,T*V]: which token stands at which position, so far */
} sg_input_features;
sg_status sg_harvest_input(sg_store **out, sg_input_features kind, sg_dim n_vocab, const sg_tensor *tokens,
                           const sg_tensor *counts, sg_span positions, sg_error *err) SG_MUST_CHECK;

void sg_store_free(sg_store *s); /* NULL is fine */

sg_dim sg_store_n_rows(const sg_store *s);
const sg_store_row *sg_store_rows(const sg_store *s); /* [N], in order of episode, then position */
int sg_store_n_sites(const sg_store *s);
const char *sg_store_site(const sg_store *s, int i);
const sg_tensor *sg_store_acts(const sg_store *s, int i); /* [N,D] f32, borrowed until the store is freed */

/* What belongs to the rows of a truth [E,T] or [E,T,S] i32 or bool, as a world's sample holds: [N,S] i32 (S = 1 without
 * the last axis), data the caller's to free(). */
sg_status sg_store_labels(sg_tensor *out, const sg_store *s, const sg_tensor *truth, sg_error *err) SG_MUST_CHECK;

/* The first row of the second part, where the first has `share` of the episodes: rows before it and from it on never
 * share an episode. */
sg_dim sg_store_split(const sg_store *s, double share);
/* Rows first..first+n of a tensor [N,...], borrowed. */
sg_tensor sg_rows_of(const sg_tensor *t, sg_dim first, sg_dim n);

#ifdef __cplusplus
}
#endif
#endif
