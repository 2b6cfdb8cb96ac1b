/* What pad's gradient needs of slice beyond the public builder. */
#ifndef SG_OPS_SLICE_H
#define SG_OPS_SLICE_H

#include "ops/ops.h"

/* x[start], x[start + step] ... n of them along an axis; n may be symbolic with any step. */
sg_value *sg_slice_n(sg_graph *g, sg_value *x, int axis, sg_dim start, sg_dim n, sg_dim step);

#endif
