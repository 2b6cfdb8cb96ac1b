/* A oneDNN primitive as the kernel of a plan's step.
 *
 * The primitive belongs to the plan and is never written once made. What oneDNN wants to write in each execution,
 * memory objects that carry addresses and a stream, is lent by a pool in the prepared object: an execution takes a
 * context that is free, or adds one where all are busy, so after the first runs nothing is allocated. oneDNN's own
 * scratchpad is the step's scratch, in the run's block. */
#ifndef SG_BACKEND_ONEDNN_PREPARED_H
#define SG_BACKEND_ONEDNN_PREPARED_H

#include <oneapi/dnnl/dnnl.h>

#include "exec/backend.h"

#define SG_ONEDNN_MAX_ARGS 4
#define SG_ONEDNN_OUT      (-1)

/* What oneDNN calls an argument, which of the step's views it is, and how that lies in memory. */
typedef struct sg_onednn_arg {
    int name; /* DNNL_ARG_... */
    int view; /* index into k->in, or SG_ONEDNN_OUT */
    dnnl_memory_desc_t md;
} sg_onednn_arg;

/* Makes the primitive that `desc`, a oneDNN operation descriptor, describes, to run on n_threads. False if oneDNN
 * fails, or has nothing better for it than its reference implementation, which is slower than ours. */
bool sg_onednn_prepare(const_dnnl_op_desc_t desc, int n_args, const sg_onednn_arg *args, int n_threads,
                       sg_prepared *out);

/* The same where `desc` leaves layouts to oneDNN (format "any"): what it wants laid out otherwise than args say is
 * copied into that layout, in scratch, before or after. `hint`: for the backward pass of something, its forward pass;
 * else NULL. */
bool sg_onednn_prepare_any(const_dnnl_op_desc_t desc, const_dnnl_op_desc_t hint, int n_args, const sg_onednn_arg *args,
                           int n_threads, sg_prepared *out);

/* c [m,n] = a [m,inner] b [inner,n], rows in one piece; `turned`: the operand is stored transposed. */
typedef struct sg_onednn_gemm {
    sg_dim m, n, inner, lda, ldb;
    bool turned_a, turned_b;
} sg_onednn_gemm;
/* `biased`: in[2] is added to each row. */
bool sg_onednn_sgemm(const sg_onednn_gemm *shape, bool biased, int n_threads, sg_prepared *out);

/* One per kind of operation: as sg_backend's prepare, with types and extents already looked at. */
bool sg_onednn_matmul(const sg_kernel_args *k, sg_prepared *out);
bool sg_onednn_eltwise(const sg_kernel_args *k, sg_prepared *out);
bool sg_onednn_conv(const sg_kernel_args *k, sg_prepared *out); /* conv2d and its two derivatives */
bool sg_onednn_pool(const sg_kernel_args *k, sg_prepared *out);

#endif
