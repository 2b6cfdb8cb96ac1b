/* Weights as they are stored: matrices of 16-bit floats or of blocks, multiplied and gathered without a copy of them. */
#ifndef SG_OPS_PACKED_H
#define SG_OPS_PACKED_H

#include "graph/op.h"

/* Whether products read matrices of this type beside f32 or f64 activations. */
static inline bool sg_is_packed(sg_dtype type)
{
    return type == SG_BF16 || type == SG_F16 || sg_dtype_block(type) > 1;
}

/* The reference kernel of a matmul whose b is packed. */
sg_status sg_packed_product(const sg_kernel_args *k);

#endif
