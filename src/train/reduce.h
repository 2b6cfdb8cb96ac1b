/* Sums over ranks of a list of variables, each begun as soon as it may be; for train.c.
 *
 *     sg_reduce_begin(r);               // a step
 *     sg_reduce_ready(r, i);            // for each, in any order: its numbers are there
 *     sg_reduce_end(r);                 // those not told are taken as they are; all are summed now
 */
#ifndef SG_REDUCE_H
#define SG_REDUCE_H

#include "sightglass/ranks.h"

typedef struct sg_reduce sg_reduce;

/* Tensors f32 or f64, whose numbers stay where they are. The list is the same on all ranks, and best in the order in
 * which they become ready. */
sg_status sg_reduce_new(sg_reduce **out, sg_ranks *ranks, int n, const sg_tensor *tensors, sg_error *err) SG_MUST_CHECK;
void sg_reduce_free(sg_reduce *r); /* NULL is fine */

void sg_reduce_begin(sg_reduce *r);
void sg_reduce_ready(sg_reduce *r, int i);
void sg_reduce_end(sg_reduce *r);

size_t sg_reduce_bytes(int n, const sg_tensor *tensors); /* of what it takes to pack small tensors together */

#endif
