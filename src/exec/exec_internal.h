/* What a plan holds; for the files of this folder.
 *
 * A plan has its own list of values (canonical ones: equal nodes are one) and of steps. A value's numbers lie in a
 * feed, a constant, a variable, the run's block, or inside another value (a view). Nothing here is written once the
 * plan is made. */
#ifndef SG_EXEC_INTERNAL_H
#define SG_EXEC_INTERNAL_H

#include "exec/backend.h"
#include "exec/packs.h"
#include "graph/op.h"

#define SG_PLAN_SYMBOLS 8
#define SG_BLOCK_ALIGN  64
#define SG_MAX_THREADS  256 /* of one kernel */

typedef enum sg_home {
    SG_HOME_FEED,     /* the caller's tensor: feed index in `at` */
    SG_HOME_CONST,    /* the graph's or the plan's memory: `data` */
    SG_HOME_VARIABLE, /* the state: slot in `at` */
    SG_HOME_BLOCK,    /* the run's block: byte offset in `offset` */
    SG_HOME_VIEW,     /* inside value `at`, by the op's view rule */
    SG_HOME_INSIDE    /* nowhere: it is read within the step that computes it */
} sg_home;

typedef struct sg_plan_value {
    const sg_value *v;
    sg_home home;
    int at;
    size_t offset, bytes; /* block */
    const void *data;
    int root;     /* the value that owns the storage; itself unless a view or an alias */
    int step;     /* that computes it; -1 */
    bool moves;   /* extents or address differ from run to run: depends on a feed or a varying extent */
    bool varies;  /* extents depend on a varying symbol */
    bool changes; /* a variable that a step of the plan stores into */
    sg_view view; /* at the largest extents; data NULL except constants */
    const int64_t *attr_i;
} sg_plan_value;

typedef struct sg_plan_step {
    int value; /* what it computes; the last of `outs` */
    int n_in, n_out;
    const int *in, *outs;
    const char *op; /* the operation's name, or what a fused step is called */
    sg_prepared kernel;
    const char *name, *backend;
    size_t scratch_offset;
    bool varies;
    bool on_device; /* the kernel works on the memory of the plan's device */
} sg_plan_step;

struct sg_plan {
    sg_arena *arena;
    sg_graph *extents; /* the graph's symbols and polynomials, nothing else */
    int n_symbols;
    int64_t most[SG_PLAN_SYMBOLS]; /* extents the block is laid out for; -1 unknown and not needed */
    unsigned varying;              /* bit i: symbol i may be less in a run */
    int n_values, n_steps, n_feeds, n_fetches, n_slots;
    sg_plan_value *values; /* every value comes after what it is computed from */
    sg_plan_step *steps;
    int *feeds; /* value of feed i; -1 if nothing needs it */
    sg_value **feed_of;
    int *fetches; /* value of fetch i */
    size_t block_bytes;
    const sg_device *device; /* where the block is; NULL: here */
    sg_exec_opts opts;
};

/* Lays out the block: gives each interval of steps [first, last] an offset so that no two that live together overlap.
 * Returns the size; SIZE_MAX when memory for the work is out. */
typedef struct sg_interval {
    int first, last;
    size_t bytes, offset;
} sg_interval;
size_t sg_layout(int n, sg_interval *intervals);

/* Fills dims from the value's symbolic extents. */
void sg_resolve_dims(const sg_graph *extents, const sg_value *v, const int64_t *symbols, sg_dim *dims);
void sg_resolve_attrs(const sg_graph *extents, const sg_value *v, const int64_t *symbols, int64_t *out);

/* Who has a variable's numbers where a device has a mirror of them. */
typedef enum sg_newest { SG_NEWEST_BOTH, SG_NEWEST_HERE, SG_NEWEST_MIRROR } sg_newest;

struct sg_state {
    int n_slots;
    struct sg_slot {
        const sg_value *v;
        sg_tensor tensor;
        bool bound, owned;
        void *mirror; /* on a device; NULL: none */
        const sg_device *device;
        sg_newest newest;
    } * slots;
    int n_mirrors;
    unsigned generation; /* changes whenever an address does */
    sg_packs *packs;     /* of bound variables */
};

/* Where the numbers of a slot, which has some, are read and written by a run on this device (NULL: here): brings them
 * there if they are newer elsewhere. `changes`: the run will store there. */
sg_status sg_state_place(sg_state *s, int slot, const sg_device *device, bool changes, void **out, sg_error *err);

/* Brings fetch i here, if it lies on a device and has not been; sg_run_fetch does too, but cannot say what failed. */
sg_status sg_run_land(const sg_run *run, int i, sg_error *err);

void sg_trace_add(sg_trace *t, const char *name, const char *op, const char *backend, double start, double end,
                  const sg_view *out, double bytes);

#endif
