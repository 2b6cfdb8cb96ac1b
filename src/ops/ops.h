/* The operations' structs, by name: `sg_op_matmul` and so on. Builders are public, in sightglass/ops.h. */
#ifndef SG_OPS_OPS_H
#define SG_OPS_OPS_H

#include "graph/op.h"
#include "sightglass/ops.h"

#define SG_OP(name) extern const sg_op sg_op_##name;
#include "ops/ops.def"
#undef SG_OP

/* Products of at most so many rows, by a kernel whose rows do not depend on how many there are (matmul_rows.c). in[2], if
 * there is one, is added to each row. */
#define SG_MATMUL_FEW_ROWS 16
bool sg_matmul_rows_fit(const sg_kernel_args *k);
sg_status sg_matmul_rows(const sg_kernel_args *k, sg_error *err);
sg_status sg_matmul_rows_turned(const sg_kernel_args *k, sg_error *err); /* b transposed */

#endif
