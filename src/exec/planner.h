/* What a plan is made from, while it is made; for the files of this folder. */
#ifndef SG_EXEC_PLANNER_H
#define SG_EXEC_PLANNER_H

#include "exec/exec_internal.h"
#include "ops/iter.h"

typedef struct sg_planner sg_planner;

/* Values that one step computes together. What only its members read lies nowhere outside it. */
typedef struct sg_cluster {
    int n, capacity;
    int *members; /* in the order in which they can be computed */
    /* Fills the step (its inputs and results are known) with a kernel; SG_EUNSUPPORTED: there is none after all. */
    sg_status (*prepare)(sg_planner *pl, const struct sg_cluster *c, sg_plan_step *step);
    const char *op; /* what the step is called in traces: "rows" */
    sg_dim rows, columns; /* of a cluster of rows */
} sg_cluster;

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

/* The version of a variable's storage that a value shows: the variable itself, or the last step that changed it. Of any other
 * value: what it is a view of. */
static inline int sg_plan_version(const sg_planner *pl, int a)
{
    while (pl->p->values[a].home == SG_HOME_VIEW)
        a = pl->p->values[a].at;
    return a;
}

/* Joins values into clusters. */
sg_status sg_cluster_values(sg_planner *pl);
void sg_clusters_forget(sg_planner *pl); /* each value in a step of its own */
void sg_clusters_free(sg_planner *pl);
bool sg_cluster_add(sg_planner *pl, int c, int a); /* false when memory is out */

/* The kernel of a cluster of row-wise operations (fused_rows.c). */
sg_status sg_rows_prepare(sg_planner *pl, const sg_cluster *c, sg_plan_step *step);
/* Whether value a can be computed row by row in rows of `columns`, given that those of its inputs that are computed beside it
 * are in cluster `c` (-1: none). */
bool sg_rows_fit(const sg_planner *pl, int a, int c, sg_dim rows, sg_dim columns);
/* Whether a is a sum over all axes but the last, which may end a cluster of rows. */
bool sg_rows_is_tail(const sg_planner *pl, int a);

#endif
