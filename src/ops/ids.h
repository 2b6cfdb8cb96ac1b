/* Ids as kernels are given them. */
#ifndef SG_OPS_IDS_H
#define SG_OPS_IDS_H

#include "ops/ops.h"

/* SG_EARG names the first that is outside 0..n_rows-1. */
sg_status sg_check_ids(const sg_kernel_args *k, const sg_view *ids, sg_dim n_rows, sg_error *err) SG_MUST_CHECK;

#endif
