/* Copying between views of any strides: what the kernels of shape ops, concat, pad and the caches are made of. */
#ifndef SG_OPS_COPY_H
#define SG_OPS_COPY_H

#include "ops/iter.h"

/* Copies from into to, element by element. Extents and types agree, and the two do not overlap. Splits over at most
 * n_threads when there is enough to move. */
void sg_view_copy(const sg_view *to, const sg_view *from, int n_threads);

/* Gives v row-major strides for its extents. */
void sg_view_row_major(sg_view *v);

/* The address of an element offset; NULL while v has no data, as when planning. */
void *sg_view_at(const sg_view *v, sg_dim offset);

/* The reference kernel of ops with SG_OP_VIEW: copies what the op's view shows. */
sg_status sg_view_kernel(const sg_kernel_args *k, sg_error *err);

#endif
