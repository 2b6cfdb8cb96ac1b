/* Graphs: values computed from values, with names.
 *
 *     sg_graph *g = sg_graph_new();
 *     sg_dim batch = sg_extent(g, "batch");
 *     sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){batch, 3});
 *     sg_value *w = sg_variable(g, "w", SG_F32, 2, (sg_dim[]){4, 3}, sg_init_normal(0.5));
 *     sg_value *h = sg_name(g, sg_tanh(g, sg_linear(g, x, w, NULL)), "hidden", "bd"); // [batch,4]
 *     SG_TRY(sg_graph_status(g, err)); // the first failure of any builder above
 *
 * A graph only grows while it is built: each value is one operation applied to earlier values. Builders
 * never return NULL; after a failure they return a harmless value and the graph keeps the first error.
 * An extent is a number >= 0, or symbolic: a polynomial in named symbols such as `batch` and `past + time`,
 * written as a negative sg_dim that belongs to the graph. */
#ifndef SIGHTGLASS_GRAPH_H
#define SIGHTGLASS_GRAPH_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_graph sg_graph;
typedef struct sg_value sg_value; /* borrowed from its graph */

sg_graph *sg_graph_new(void);    /* NULL when memory is out */
void sg_graph_free(sg_graph *g); /* NULL is fine */

/* The first failure of any builder, or SG_OK. */
sg_status sg_graph_status(const sg_graph *g, sg_error *err) SG_MUST_CHECK;

/* A copy to which more can be added, and in which values can be replaced, without touching `g`. Values keep
 * their numbers: the copy of v is sg_graph_at(copy, sg_value_id(v)). It borrows names and constants, so g outlives it. */
sg_status sg_graph_fork(sg_graph **out, const sg_graph *g, sg_error *err) SG_MUST_CHECK;

/* ---- extents ---- */

sg_dim sg_extent(sg_graph *g, const char *symbol);
sg_dim sg_dim_add(sg_graph *g, sg_dim a, sg_dim b);
sg_dim sg_dim_sub(sg_graph *g, sg_dim a, sg_dim b);
sg_dim sg_dim_mul(sg_graph *g, sg_dim a, sg_dim b);
/* "past+time" into buf; returns buf. */
const char *sg_dim_text(const sg_graph *g, sg_dim d, char buf[SG_SHAPE_TEXT]);
/* "[batch,time,64]" */
const char *sg_value_shape_text(const sg_value *v, char buf[SG_SHAPE_TEXT]);

/* ---- leaves ---- */

/* A value that every run feeds. */
sg_value *sg_input(sg_graph *g, const char *name, sg_dtype dtype, int n_dims, const sg_dim *dims);

/* A constant: its numbers are copied. */
sg_value *sg_const(sg_graph *g, const sg_tensor *t);
sg_value *sg_scalar(sg_graph *g, sg_dtype dtype, double x);

/* How a variable starts. */
typedef struct sg_init {
    enum { SG_INIT_CONSTANT, SG_INIT_NORMAL, SG_INIT_UNIFORM } kind;
    double a, b; /* the constant; mean and deviation; lower and upper end */
} sg_init;
sg_init sg_init_constant(double x);
sg_init sg_init_normal(double deviation);
sg_init sg_init_uniform(double low, double high);

/* State that outlives a run: its numbers live in an sg_state (run.h). Extents are constant. */
sg_value *sg_variable(sg_graph *g, const char *name, sg_dtype dtype, int n_dims, const sg_dim *dims, sg_init init);

/* ---- names ---- */

/* Gives v a name by which it can be fetched, fed, spliced. `axes` has one letter per axis, as edits
 * understand them: b batch, t position, s key position, h head, d any other. NULL: all d. Returns v, or an
 * identity of v if v has another name already (so both names are values of their own); with its own name, only the axes
 * are told, as for inputs and variables. */
sg_value *sg_name(sg_graph *g, sg_value *v, const char *name, const char *axes);

/* The value of that name, or NULL. After a replacement the name means the new value. */
sg_value *sg_graph_find(const sg_graph *g, const char *name);

/* Named values in the order in which they were named. */
int sg_graph_n_names(const sg_graph *g);
sg_value *sg_graph_named(const sg_graph *g, int i);

/* The name nearest to a wrong one, for error texts; NULL if the graph has none. */
const char *sg_graph_nearest(const sg_graph *g, const char *name);

/* Values built from here on belong to this scope ("blocks.0.attn"): it begins the names under which nodes
 * without a name of their own appear in traces. "" ends it. */
void sg_scope(sg_graph *g, const char *fmt, ...) SG_PRINTF(2, 3);

/* ---- splice ---- */

/* Whoever reads v reads `with` instead, except the values that `with` itself is computed from; v's name
 * moves to `with`, and v keeps NAME.unedited. Type and shape agree. */
void sg_replace(sg_graph *g, sg_value *v, sg_value *with);

/* ---- looking at values ---- */

int sg_graph_size(const sg_graph *g);
sg_value *sg_graph_at(const sg_graph *g, int id);
int sg_value_id(const sg_value *v);
const char *sg_value_name(const sg_value *v);  /* own name, or the operation's */
bool sg_value_is_named(const sg_value *v);
const char *sg_value_axes(const sg_value *v);  /* "" if not named */
const char *sg_value_op(const sg_value *v);    /* "matmul" */
sg_dtype sg_value_dtype(const sg_value *v);
int sg_value_n_dims(const sg_value *v);
sg_dim sg_value_dim(const sg_value *v, int axis); /* negative axes count from the end */
const sg_dim *sg_value_dims(const sg_value *v);
int sg_value_n_in(const sg_value *v);
sg_value *sg_value_in(const sg_value *v, int i);

/* ---- differentiate: gradients are graph ---- */

/* dy/dx, of x's shape, for y a scalar.  Zeros if y does not depend on x. */
sg_value *sg_grad(sg_graph *g, sg_value *y, sg_value *x);

/* Vector-Jacobian products: out[i] = sum_j dy_j * d y_j / d xs[i], of xs[i]'s shape; dy has y's shape (NULL: ones). */
void sg_gradients(sg_graph *g, sg_value *y, sg_value *dy, int n_xs, sg_value *const *xs, sg_value **out);

/* Jacobian-vector product: sum_i d y / d x_i * v_i, of y's shape; v has x's shape. (Double reverse: the
 * vector-Jacobian product is linear in dy, and its derivative by dy along v is this.) */
sg_value *sg_jvp(sg_graph *g, sg_value *y, sg_value *x, sg_value *v);

#ifdef __cplusplus
}
#endif
#endif
