/* The GPU as the files of this folder share it. */
#ifndef SG_CUDA_CONTEXT_H
#define SG_CUDA_CONTEXT_H

#include <cublas_v2.h>

#include "backend/cuda/kernels.h"
#include "exec/backend.h"

/* One GPU, one stream: made once in a process and kept. */
typedef struct sg_cuda {
    cudaStream_t stream;
    cublasHandle_t blas;
    sgk_trouble *trouble; /* memory of the processor that kernels write to */
} sg_cuda;
extern sg_cuda sg_cuda_gpu;

/* SG_OK, or CUDA's words for what `what` ran into. */
sg_status sg_cuda_check(cudaError_t code, const char *what, sg_error *err);

/* Of the result and all inputs. */
bool sg_cuda_all_f32(const sg_kernel_args *k);

/* An operation that has a kernel: whether it does for these types, and how it is launched. */
typedef struct sg_cuda_op {
    const char *name;
    sg_status (*run)(const sg_kernel_args *k, sg_error *err);
    bool (*fits)(const sg_kernel_args *k);      /* NULL: all that are f32 */
    size_t (*scratch)(const sg_kernel_args *k); /* NULL: none */
} sg_cuda_op;
extern const sg_cuda_op sg_cuda_ops[]; /* the last has no name */

/* less: operands may be rounded to bf16, or to what lies between that and f32. */
sg_status sg_cuda_matmul(const sg_kernel_args *k, bool less, sg_error *err);
size_t sg_cuda_matmul_scratch(const sg_kernel_args *k);

/* A walk over `out` and inputs broadcast to it, axes merged. SG_EUNSUPPORTED: more than 2^31 elements. */
sg_status sg_cuda_walk(sgk_walk *w, const sg_view *out, int n_in, const sg_view *const *in, sg_error *err);

#endif
