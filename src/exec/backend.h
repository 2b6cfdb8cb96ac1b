/* A backend: faster kernels for operations that the reference kernels define.
 *
 * When a plan is made, each node is offered to the backends in order; the first that prepares a kernel gets it, and the
 * reference kernel is the last resort. What is prepared belongs to the plan and is shared by threads: running it may
 * not write to it. */
#ifndef SG_EXEC_BACKEND_H
#define SG_EXEC_BACKEND_H

#include "graph/op.h"
#include "sightglass/run.h"

typedef struct sg_prepared {
    sg_kernel_fn run;
    void *self;                  /* handed to run as k->self; NULL if it needs none */
    void (*release)(void *self); /* NULL if there is nothing to release */
    size_t scratch_bytes;
    size_t packed_bytes[4]; /* by input: what a copy of it that is kept (exec/packs.h) takes, where it is fixed */
    size_t hidden_bytes;    /* that a library takes by itself while the kernel runs, as far as known */
} sg_prepared;

struct sg_backend {
    const char *name;
    /* A matmul with a third input [n] wants it added to each row of the product.
     * `k` has op, n_in, extents, strides, types and attributes, but no data (all pointers NULL), and the strides are
     * those of every later run. Fills *out and returns true, or declines with false. */
    bool (*prepare)(const sg_backend *self, const sg_kernel_args *k, sg_prepared *out);
};

#endif
