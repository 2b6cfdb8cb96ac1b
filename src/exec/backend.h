/* A backend: faster kernels for operations that the reference kernels define.
 *
 * When a plan is made, each node is offered to the backends in order; the first that prepares a kernel gets it, and the
 * reference kernel is the last resort. What is prepared belongs to the plan and is shared by threads: running it may
 * not write to it.
 *
 * A backend may own memory that the processor cannot read. Then everything a run computes with lies there (device.c),
 * and steps that the backend declines run on copies. Only the first backend of a list may be such a one. */
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
    size_t code_bytes;      /* that it takes once for all such kernels, and keeps */
} sg_prepared;

/* Memory that kernels of a backend read and write and others do not. What is asked happens in order; of a failure hears
 * whoever next waits, which `download` and `finish` do. */
typedef struct sg_device {
    sg_status (*take)(const struct sg_device *self, size_t bytes, void **out, sg_error *err); /* aligned to 256 bytes */
    void (*give)(const struct sg_device *self, void *memory);
    sg_status (*upload)(const struct sg_device *self, void *to, const void *from, size_t bytes, sg_error *err);
    sg_status (*download)(const struct sg_device *self, void *to, const void *from, size_t bytes, sg_error *err);
    sg_status (*finish)(const struct sg_device *self, sg_error *err);
} sg_device;

struct sg_backend {
    const char *name;
    const sg_device *device; /* NULL: kernels work on the processor's memory */
    /* A matmul with a third input [n] wants it added to each row of the product.
     * `k` has op, n_in, extents, strides, types and attributes, but no data (all pointers NULL), and the strides are
     * those of every later run. Fills *out and returns true, or declines with false. A backend with a device is asked
     * of steps whose extents vary too: these are the largest then, and a view in one piece may lie in strides later. */
    bool (*prepare)(const sg_backend *self, const sg_kernel_args *k, sg_prepared *out);
};

#endif
