/* Sources: training data as numbered batches, and a thread that fills them ahead of their use.
 *
 *     sg_prefetch *p;
 *     const sg_tensor *field;
 *     SG_TRY(sg_prefetch_new(&p, &source, 0, err));
 *     SG_TRY(sg_prefetch_next(p, &field, err)); // batch 0; field[0], field[1] ... until the next call
 *     sg_prefetch_free(p);
 *
 * A batch depends on its number alone (and on the seed that the source was made with), so training that begins again at
 * batch 1700 sees what it would have seen. */
#ifndef SIGHTGLASS_SOURCE_H
#define SIGHTGLASS_SOURCE_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SG_SOURCE_FIELDS 4

/* Whoever makes a source fills this in. */
typedef struct sg_source {
    int n_fields;
    sg_tensor field[SG_SOURCE_FIELDS]; /* type and extents, the same in every batch; data is NULL */
    /* Fills the numbers of batch `i`. Called by one thread at a time, not always the same one. A failure ends the
     * training with this status, once the batches before it have been used. */
    sg_status (*fill)(void *self, sg_dim i, sg_tensor *field, sg_error *err);
    void (*free)(void *self); /* NULL: nothing to free */
    void *self;
} sg_source;

void sg_source_free(sg_source *s); /* a zeroed struct is fine */
size_t sg_source_bytes(const sg_source *s); /* of one batch */

/* A source of some rows of each batch of `whole`, which has the same number of rows in every field and outlives it: `n`
 * rows from row `first` on. It fills the whole batch, so that it does not matter how rows come about. */
sg_status sg_source_rows(sg_source *out, const sg_source *whole, sg_dim first, sg_dim n, sg_error *err) SG_MUST_CHECK;

/* Fills batches `first`, `first` + 1, ... on a thread of its own into two buffers: one in use, one being filled. The
 * source outlives it. */
typedef struct sg_prefetch sg_prefetch;
sg_status sg_prefetch_new(sg_prefetch **out, const sg_source *source, sg_dim first, sg_error *err) SG_MUST_CHECK;
/* The next batch, borrowed until the next call. Waits for it; after a failure every call gives the same one. */
sg_status sg_prefetch_next(sg_prefetch *p, const sg_tensor **field, sg_error *err) SG_MUST_CHECK;
/* Ends the thread, at once if it waits, else after the batch that it is filling. NULL is fine. */
void sg_prefetch_free(sg_prefetch *p);

#define SG_PREFETCH_BUFFERS 2

#ifdef __cplusplus
}
#endif
#endif
