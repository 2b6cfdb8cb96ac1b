/* The backends there are. */
#ifndef SG_BACKEND_BACKENDS_H
#define SG_BACKEND_BACKENDS_H

#include "exec/backend.h"

/* Products over packed weights, on x86-64 (SG_HAVE_PACKED): the best instructions of the processor, or AVX2 at most. The
 * environment's SIGHTGLASS_ISA may ask for less: "avx2", or "reference" for none of them. */
extern const sg_backend sg_backend_packed, sg_backend_packed_avx2;

extern const sg_backend sg_backend_onednn; /* in builds with oneDNN (SG_HAVE_ONEDNN) */

/* In builds with CUDA (SG_HAVE_CUDA) a shared object of its own, loaded when somebody first asks: its libraries are
 * large, and most machines have no GPU. A list of one; NULL and the reason where it cannot be had. Never unloaded. */
const sg_backend *const *sg_backend_cuda(sg_error *err);

#endif
