/* What the files of a look share. Functions here expect the look's lock to be held. */
#ifndef SG_SERVE_LOOK_INTERNAL_H
#define SG_SERVE_LOOK_INTERNAL_H

#include <pthread.h>

#include "base/base.h"
#include "serve/look.h"

/* Levels above the first of one head's pattern, newest first in a list. */
typedef struct look_pyramid {
    struct look_pyramid *next;
    int layer, head, n_levels;
    size_t bytes;
    uint16_t *most[24], *mean[24]; /* [size,size] f16 of level 1.. at [1..]; [0] is not there */
} look_pyramid;

/* A band of full rows, from which the tiles of level 0 are cut. */
typedef struct look_band {
    int layer, head;
    sg_dim first, stop;
    float *rows; /* NULL: none */
    uint64_t used;
} look_band;
#define LOOK_BANDS 4

struct look {
    char id[17];
    look_of of;
    int32_t *tokens;
    json_t *edits;      /* NULL: none */
    sg_edit_list *list; /* NULL until it is needed */
    pthread_mutex_t lock;
    float *entering;   /* [L+1,T,D]: what enters each block, and what leaves the last */
    look_scan **scans; /* [L] */
    look_pyramid *pyramids;
    look_band bands[LOOK_BANDS];
    uint64_t clock;
    size_t bytes;
};

/* A fresh glass, with the look's edits or without any. */
sg_status look_glass(look *l, bool edited, sg_glass **out, sg_error *err) SG_MUST_CHECK;
/* Runs the look's tokens, if what it takes is not too much. */
sg_status look_run(look *l, sg_glass *glass, int n_feeds, const sg_named_feed *feeds, int n_fetches,
                   sg_value *const *fetches, sg_tensor *out, sg_error *err) SG_MUST_CHECK;
/* The same for rows of any tokens. */
sg_status look_run_rows(sg_glass *glass, const sg_rows *rows, int n_feeds, const sg_named_feed *feeds, int n_fetches,
                        sg_value *const *fetches, sg_tensor *out, sg_error *err) SG_MUST_CHECK;
/* Makes sure that what enters the blocks is kept. */
sg_status look_enter(look *l, sg_error *err) SG_MUST_CHECK;
/* What enters block `layer` (n_layers: what leaves the last), [T,D], borrowed. */
const float *look_entering(const look *l, int layer);
/* The feed from which a block is computed; name has room for 48. */
sg_named_feed look_feed(const look *l, int layer, char name[48]);

/* What is read of logits [B,n,V] in the graph: fetches at `at` and behind. */
typedef struct look_readout {
    sg_value *ids, *tops, *sum, *entropy; /* [B,n,k] i32, [B,n,k], [B,n], [B,n] */
    sg_value *wanted, *rank;              /* logit of the target [B,n], tokens above it [B,n]; NULL without targets */
} look_readout;
look_readout look_read_logits(sg_graph *g, sg_value *logits, int k, sg_value *targets);

#endif
