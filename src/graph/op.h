/* What an operation is. An op is one place: name, shape rule, reference kernel, gradient rule; see
 * src/ops/README.md for how one is added.
 *
 * Attributes are numbers: `i` holds extents, axes and flags (each may be symbolic, as any sg_dim), `f` holds
 * reals. Two values with the same op, inputs and attributes are the same value, unless the op has state. */
#ifndef SG_GRAPH_OP_H
#define SG_GRAPH_OP_H

#include "base/base.h"
#include "sightglass/graph.h"

typedef struct sg_op sg_op;

#define SG_MAX_ATTR_I 20
#define SG_MAX_ATTR_F 6

typedef struct sg_attrs {
    int n_i, n_f;
    sg_dim i[SG_MAX_ATTR_I];
    double f[SG_MAX_ATTR_F];
} sg_attrs;

/* The shape rule's page: reads in and attrs (which it may normalise), fills dtype, n_dims and dims. */
typedef struct sg_infer {
    sg_graph *g;
    const sg_op *op;
    int n_in;
    sg_value *const *in;
    sg_attrs *attrs;
    sg_dtype dtype;
    int n_dims;
    sg_dim dims[SG_MAX_DIMS];
} sg_infer;

/* Numbers as a kernel sees them: strides are in elements, 0 where an axis is broadcast. */
typedef struct sg_view {
    void *data;
    sg_dtype dtype;
    int n_dims;
    sg_dim dims[SG_MAX_DIMS];
    sg_dim strides[SG_MAX_DIMS];
} sg_view;

/* One node as its kernel sees it, all extents known. `out` is contiguous. Inputs are contiguous too unless
 * the op has SG_OP_STRIDED. */
typedef struct sg_kernel_args {
    const sg_op *op;
    int n_in;
    const sg_view *const *in;
    sg_view *out;
    const int64_t *i; /* attributes */
    const double *f;
    void *scratch;          /* op->scratch(args) bytes, 64-aligned, contents undefined */
    int n_threads;          /* how many threads the kernel may use */
    const void *self;       /* a backend's prepared object; NULL in reference kernels */
    sg_dtype compute;       /* in which f32 operands may be multiplied: SG_F32, SG_BF16 */
    unsigned fixed;         /* bit i: in[i] holds the same numbers as long as it lies at the same address */
    struct sg_packs *packs; /* where copies of those may be kept; NULL: nowhere (exec/packs.h) */
    int n_out;              /* of a fused step, which may have several results: outs[0] is out */
    sg_view *const *outs;
} sg_kernel_args;

/* Computes out. Fails only for what data can cause, such as an index out of range: the text says which. */
typedef sg_status (*sg_kernel_fn)(const sg_kernel_args *k, sg_error *err);

enum {
    SG_OP_STRIDED = 1,      /* the kernel takes inputs with any strides */
    SG_OP_VIEW = 2,         /* out can be in[0] under other extents and strides: see `view` */
    SG_OP_STATE = 4,        /* reads or writes state: never shared with an equal node, never folded */
    SG_OP_LEAF = 8,         /* input, constant, variable: has no kernel */
    SG_OP_ELEMENTWISE = 16, /* out may be stored over an input of the same type and extents that dies here */
    SG_OP_ALIAS = 32,       /* out is in[0], a variable, after the kernel changed it in place */
    SG_OP_PACKED = 64       /* takes inputs of block types, whose strides count numbers all the same */
};

/* Whether each row of the last axis can be computed on its own, so that a fused step may take the rows in parts. */
typedef enum sg_rows_kind {
    SG_ROWS_NO,
    SG_ROWS_ANY,  /* whatever the attributes: element-wise operations, norms of the last axis */
    SG_ROWS_AXIS, /* if the axis i[0] is the last */
    SG_ROWS_AXES  /* if the last axis is the one bit set in i[0] */
} sg_rows_kind;

struct sg_op {
    const char *name;
    int min_in, max_in;
    unsigned flags;
    sg_rows_kind rows;
    unsigned changes; /* bit i: in[i] is a variable that the kernel writes */

    /* The shape rule. Errors name the op and both shapes (sg_infer_fail does). */
    sg_status (*infer)(sg_infer *s, sg_error *err);

    /* The reference kernel: portable C, every type the shape rule lets through. */
    sg_kernel_fn run;

    /* Bytes of scratch the reference kernel wants; NULL: none. May not use data. */
    size_t (*scratch)(const sg_kernel_args *k);

    /* Builds dx[i] for each input from y (this value) and dy; dx[i] left NULL means no gradient flows there.
     * NULL: no gradient flows through this op. dy has y's shape, each dx[i] has in[i]'s shape. */
    void (*grad)(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx);

    /* SG_OP_VIEW: sets out's strides and data from in[0] (dims are filled in); false if these extents cannot be a view.
     */
    bool (*view)(const sg_kernel_args *k);
};

struct sg_value {
    int id;
    const sg_op *op;
    sg_graph *graph;
    sg_dtype dtype;
    int n_dims;
    sg_dim dims[SG_MAX_DIMS];
    int n_in;
    sg_value **in;
    sg_attrs attrs;
    const char *name; /* NULL until named */
    const char *axes;
    const char *scope;
    const void *data; /* constants: the numbers, in the graph's arena */
    int slot;         /* variables: index into sg_state; -1 otherwise */
    sg_init init;     /* variables */
};

/* Adds a value: checks inputs, runs the shape rule. attrs may be NULL. The one door through which ops enter a graph. */
sg_value *sg_node(sg_graph *g, const sg_op *op, int n_in, sg_value *const *in, const sg_attrs *attrs);

/* Like sg_replace, for what belongs to a model: names stay where they are, or v's moves without leaving NAME.unedited. */
void sg_graph_redirect(sg_graph *g, sg_value *v, sg_value *with);
void sg_graph_substitute(sg_graph *g, sg_value *v, sg_value *with);

/* Keeps the graph's first failure and returns a harmless value. */
sg_value *sg_graph_fail(sg_graph *g, sg_status status, const char *fmt, ...) SG_PRINTF(3, 4);
bool sg_graph_failed(const sg_graph *g);

/* ---- for shape rules ---- */

/* "scope/op: text (given f32 [2,3], f32 [4])" */
sg_status sg_infer_fail(const sg_infer *s, sg_error *err, sg_status status, const char *fmt, ...) SG_PRINTF(4, 5);

/* dtype and dims of in[i] as the result's. */
void sg_infer_like(sg_infer *s, int i);

/* dims = the broadcast of the inputs first..last (numpy's rule: aligned at the last axis, equal or 1). */
sg_status sg_infer_broadcast(sg_infer *s, int first, int last, sg_error *err);

/* Negative axes count from the end; SG_ESHAPE outside. Normalises attrs->i[at] in place. */
sg_status sg_infer_axis(sg_infer *s, int at, int n_dims, sg_error *err);

/* Product of extents as a symbolic dim; equality of dims is equality of numbers (canonical form). */
sg_dim sg_dims_product(sg_graph *g, int n_dims, const sg_dim *dims);

/* Least value a dim can take when every symbol is >= 1: used to reject slices that cannot fit. */
bool sg_dim_is_const(sg_dim d);

/* ---- symbols: used by the planner ---- */

int sg_graph_n_symbols(const sg_graph *g);
const char *sg_graph_symbol(const sg_graph *g, int i);
int sg_graph_symbol_index(const sg_graph *g, const char *name); /* -1 if absent */
/* d with symbol i = values[i]. */
int64_t sg_dim_eval(const sg_graph *g, sg_dim d, const int64_t *values);
/* Whether d is exactly one symbol: its index, else -1. */
int sg_dim_symbol(const sg_graph *g, sg_dim d);
/* Bit i: d depends on symbol i. */
unsigned sg_dim_symbols(const sg_graph *g, sg_dim d);

/* A graph with g's symbols and extents and no values; g's arena must outlive it. NULL when memory is out. */
sg_graph *sg_graph_copy_extents(const sg_graph *g);

int sg_graph_n_slots(const sg_graph *g); /* variables */

/* Ids in an order in which every value comes after its inputs, for all values that `roots` are computed from. `order`
 * has room for sg_graph_size entries; returns how many, or -1 when memory is out. `stop[id]`, if stop is not NULL,
 * keeps the walk from going behind a value. A replaced value's readers have smaller ids than what they read, so ids
 * alone are no order. */
int sg_graph_order(const sg_graph *g, int n_roots, sg_value *const *roots, const bool *stop, int *order);

/* Marks in seen[id] every value that v is computed from, v included. seen has sg_graph_size entries; false when
 * memory is out. */
bool sg_graph_ancestors(const sg_graph *g, const sg_value *v, bool *seen);
sg_value *sg_graph_slot(const sg_graph *g, int slot);

/* ---- leaves ---- */

extern const sg_op sg_op_input, sg_op_const, sg_op_variable;

/* ---- a process-wide read-only table, from src/ops/ops.def ---- */
const sg_op *sg_op_find(const char *name); /* NULL if absent */
int sg_op_count(void);
const sg_op *sg_op_at(int i);

#endif
