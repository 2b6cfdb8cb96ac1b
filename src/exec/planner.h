/* What a plan is made from, while it is made; for the files of this folder. */
#ifndef SG_EXEC_PLANNER_H
#define SG_EXEC_PLANNER_H

#include <string.h>

#include "exec/exec_internal.h"
#include "ops/iter.h"

typedef struct sg_planner sg_planner;

/* Fills a step, whose inputs and results are known, with the kernel of a cluster. */
typedef struct sg_cluster sg_cluster;
typedef sg_status (*sg_cluster_prepare)(sg_planner *pl, const sg_cluster *c, sg_plan_step *step);

/* Values that one step computes together. What only its members read lies nowhere outside it. */
struct sg_cluster {
    int n, capacity;
    int *members; /* in the order in which they can be computed */
    sg_cluster_prepare prepare;
    void *self;           /* what prepare wants to know, in the plan's arena */
    const char *op;       /* what the step is called in traces: "rows" */
    sg_dim rows, columns; /* of a cluster of rows */
    int n_inputs;         /* > 0: what the step reads is told here, not by its members */
    int inputs[6];
    int recomputes; /* value of another cluster that a member reads and that is computed again instead; -1 */
};

struct sg_planner {
    const sg_graph *g;
    sg_plan *p;
    sg_error *err;
    int *value_of;    /* by graph id: index into p->values, -1 */
    bool *strided_ok; /* by value: nobody needs it in one piece */
    int64_t least[SG_PLAN_SYMBOLS], middle[SG_PLAN_SYMBOLS];
    int *cluster_of; /* by value: index into clusters, -1 */
    sg_cluster *clusters;
    int n_clusters, clusters_capacity;
    bool *outside; /* by value: fetched, or read by another step than its own */
};

/* Input i of x, as index into p->values. */
static inline int sg_plan_input(const sg_planner *pl, const sg_plan_value *x, int i)
{
    return pl->value_of[x->v->in[i]->id];
}

bool sg_view_is_contiguous(const sg_view *v);

/* The version of a variable's storage that a value shows: the variable itself, or the last step that changed it. Of any
 * other value: what it is a view of. */
static inline int sg_plan_version(const sg_planner *pl, int a)
{
    while (pl->p->values[a].home == SG_HOME_VIEW)
        a = pl->p->values[a].at;
    return a;
}

/* *out: a fork of g (values keep their ids) in which slices are taken as early as can be, so that less is computed;
 * NULL if there is nothing to gain. symbols: every extent, >= 0; varying: those that may be less in a run. */
sg_status sg_narrow(sg_graph **out, const sg_graph *g, int n_feeds, sg_value *const *feeds, int n_fetches,
                    sg_value *const *fetches, const int64_t *symbols, unsigned varying, sg_error *err);

/* ---- gradients, and what is computed again for them ---- */

#define SG_SCOPE_GRADIENT "grad."
#define SG_SCOPE_AGAIN    "again."

static inline bool sg_plan_is_gradient(const sg_value *v)
{
    return strncmp(v->scope, SG_SCOPE_GRADIENT, strlen(SG_SCOPE_GRADIENT)) == 0;
}

static inline bool sg_plan_is_again(const sg_value *v)
{
    return strncmp(v->scope, SG_SCOPE_AGAIN, strlen(SG_SCOPE_AGAIN)) == 0;
}

/* Whether both are of the forward pass or neither is: only such are shared or computed in one step, where a forward
 * pass is computed again. */
static inline bool sg_plan_together(const sg_plan *p, const sg_value *a, const sg_value *b)
{
    return !p->opts.keep ||
           (sg_plan_is_gradient(a) || sg_plan_is_again(a)) == (sg_plan_is_gradient(b) || sg_plan_is_again(b));
}

/* *out: a fork of g (values keep their ids) in which gradients read, of what the forward pass computes, only values
 * whose names fit the pattern `keep`, and copies computed again from these. */
sg_status sg_recompute(sg_graph **out, const sg_graph *g, const char *keep, int n_feeds, sg_value *const *feeds,
                       int n_fetches, sg_value *const *fetches, sg_error *err);

/* The steps that wait for one: a list through `next`, -1 at its end. */
typedef struct sg_edge {
    int to, next;
} sg_edge;

/* Orders steps, each named by a value of it. By value: unit_of, the step it is in (-1: none); waits, for how many edges
 * a step waits; head, the first of its own edges. out: the steps, but for those that depend on each other in a circle.
 * Returns how many, -1 when memory is out. */
int sg_order(const sg_planner *pl, const int *unit_of, const int *waits, const int *head, const sg_edge *edges,
             int *out);

/* Joins values into clusters. */
sg_status sg_cluster_values(sg_planner *pl);
void sg_clusters_forget(sg_planner *pl); /* each value in a step of its own */
void sg_clusters_free(sg_planner *pl);
int sg_cluster_new(sg_planner *pl, sg_cluster_prepare prepare, const char *op); /* -1 when memory is out */
bool sg_cluster_add(sg_planner *pl, int c, int a);                              /* false when memory is out */

/* ---- for those who recognise what may be computed together ---- */

/* The value that input i of value a shows, behind views. */
static inline int sg_plan_behind(const sg_planner *pl, int a, int i)
{
    return sg_plan_version(pl, sg_plan_input(pl, &pl->p->values[a], i));
}

/* Whether value a is an f32 result of this operation, with extents known and in no cluster yet. */
bool sg_plan_is(const sg_planner *pl, int a, const sg_op *op);

/* Whether input i of value a shows all numbers of the value behind it in their order, whatever the axes. */
bool sg_plan_only_renamed(const sg_planner *pl, int a, int i);

/* Offers a node to the backends; the step's kernel is empty if they all decline. */
sg_status sg_plan_offer(sg_planner *pl, const sg_kernel_args *k, sg_plan_step *step);

/* Finds products with a bias. */
sg_status sg_linear_find(sg_planner *pl, const int *readers);

/* Finds attention; readers[a]: how often value a is read. */
sg_status sg_attention_find(sg_planner *pl, const int *readers);

/* The kernel of a cluster of row-wise operations (fused_rows.c). */
sg_status sg_rows_prepare(sg_planner *pl, const sg_cluster *c, sg_plan_step *step);
/* Whether value a can be computed row by row in rows of `columns`, given that those of its inputs that are computed
 * beside it are in cluster `c` (-1: none). */
bool sg_rows_fit(const sg_planner *pl, int a, int c, sg_dim rows, sg_dim columns);
/* Whether a is a sum over all axes but the last, which may end a cluster of rows. */
bool sg_rows_is_tail(const sg_planner *pl, int a);

#endif
