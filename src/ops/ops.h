/* The operations' structs, by name: `sg_op_matmul` and so on. Builders are public, in sightglass/ops.h. */
#ifndef SG_OPS_OPS_H
#define SG_OPS_OPS_H

#include "graph/op.h"
#include "sightglass/ops.h"

#define SG_OP(name) extern const sg_op sg_op_##name;
#include "ops/ops.def"
#undef SG_OP

#endif
