/* The shared object that holds the CUDA backend, and the function in it that opens the GPU. It calls nothing of ours
 * but what it carries itself. */
#ifndef SG_CUDA_H
#define SG_CUDA_H

#include "exec/backend.h"

#define SG_CUDA_FILE   "libsightglass_cuda.so"
#define SG_CUDA_SYMBOL "sg_cuda_open"

/* A list of one backend, kept for good; NULL: there is no GPU that works, and why. */
typedef const sg_backend *const *(*sg_cuda_open_fn)(sg_error *err);
const sg_backend *const *sg_cuda_open(sg_error *err);

#endif
