/* Ranks: the processes of one job, as mpirun starts them, numbered from 0, and the few things they do together.
 *
 *     sg_ranks *r;
 *     SG_TRY(sg_ranks_open(&r, err)); // NULL where this process is alone
 *     sg_dim first, n = sg_ranks_share(r, sg_ranks_index(r), n_rows, &first);
 *     ... rows first, ... first + n - 1 are ours ...
 *     sg_ranks_sum(r, 1, &loss);
 *     sg_ranks_close(r);
 *
 * Every function but send and receive takes NULL for a process that is alone. But for index, count and share, all ranks call
 * the same functions in the same order, and each waits for the others: who may fail before such a call says so by
 * sg_ranks_agree, and then all of them turn back. The same ranks give the same bytes. The work is MPI's; a process that
 * mpirun did not start neither loads nor starts it. */
#ifndef SIGHTGLASS_RANKS_H
#define SIGHTGLASS_RANKS_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_ranks sg_ranks;

/* Once in a process. SG_EUNSUPPORTED: started as one of several, and this build has no MPI or it cannot be loaded. */
sg_status sg_ranks_open(sg_ranks **out, sg_error *err) SG_MUST_CHECK;
void sg_ranks_close(sg_ranks *r); /* NULL is fine */

int sg_ranks_index(const sg_ranks *r); /* 0 where alone */
int sg_ranks_count(const sg_ranks *r); /* 1 where alone */

/* How many of n things are rank i's, and the first of them: ranks have neighbouring ones in order, equally many but for one. */
sg_dim sg_ranks_share(const sg_ranks *r, int i, sg_dim n, sg_dim *first);

/* The status on which all ranks go on: SG_OK if it is each one's `mine`. Else that of the first that failed, and *err has its
 * text, with its number before it unless all failed. Returns the same everywhere. */
sg_status sg_ranks_agree(sg_ranks *r, sg_status mine, sg_error *err) SG_MUST_CHECK;

/* x[i] becomes the sum over all ranks, the same bytes on each. */
void sg_ranks_sum(sg_ranks *r, int n, double *x);
/* data becomes rank 0's. */
void sg_ranks_broadcast(sg_ranks *r, void *data, size_t bytes);
/* From one rank to another, which receives as much. */
void sg_ranks_send(sg_ranks *r, int to, const void *data, size_t bytes);
void sg_ranks_receive(sg_ranks *r, int from, void *data, size_t bytes);

/* Sums that go on while something else is computed: begin takes numbers (f32 or f64) that are to be left alone until
 * sg_ranks_sums_end, which waits for all that were begun. MPI moves them along when it is called, so call progress at times. */
void sg_ranks_sum_begin(sg_ranks *r, const sg_tensor *x);
void sg_ranks_progress(sg_ranks *r);
void sg_ranks_sums_end(sg_ranks *r);

#ifdef __cplusplus
}
#endif
#endif
