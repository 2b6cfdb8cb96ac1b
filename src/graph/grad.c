/* Gradients as graph: reverse mode from each op's rule, and forward mode by reversing twice.
 *
 * Walks back from y over the values that depend on some x, adding up what each reader sends. What is built is ordinary graph, so a
 * gradient can be fetched, spliced and differentiated again. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph_internal.h"
#include "sightglass/ops.h"

/* More inputs than this, which concat may have, take memory of their own. */
#define MAX_IN 64

static bool is_float(const sg_value *v)
{
    return sg_dtype_is_float(v->dtype);
}

/* Whether v is a float of g; else g has failed. role: "of" or "by". */
static bool differentiable(sg_graph *g, const char *role, const sg_value *v)
{
    if (v->graph != g)
        sg_graph_fail(g, SG_EARG, "gradient %s %s, which is of another graph", role, sg_value_name(v));
    else if (!is_float(v))
        sg_graph_fail(g, SG_ETYPE, "gradient %s %s, which is %s", role, sg_value_name(v), sg_dtype_name(v->dtype));
    return !sg_graph_failed(g);
}

/* Whether dy has y's type and shape; else g has failed. */
static bool incoming(sg_graph *g, const sg_value *y, const sg_value *dy)
{
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];

    if (dy->graph != g)
        sg_graph_fail(g, SG_EARG, "gradient of %s: the incoming gradient is of another graph", sg_value_name(y));
    else if (dy->dtype != y->dtype || dy->n_dims != y->n_dims ||
             memcmp(dy->dims, y->dims, (size_t)y->n_dims * sizeof y->dims[0]) != 0)
        sg_graph_fail(g, dy->dtype != y->dtype ? SG_ETYPE : SG_ESHAPE,
                      "gradient of %s: the incoming gradient is %s %s, the value %s %s", sg_value_name(y),
                      sg_dtype_name(dy->dtype), sg_value_shape_text(dy, a), sg_dtype_name(y->dtype),
                      sg_value_shape_text(y, b));
    return !sg_graph_failed(g);
}

/* a + b. The gradients of slices that lie side by side are zeros around numbers; they are put side by side instead of added. */
static sg_value *sum_of(sg_graph *g, sg_value *a, sg_value *b)
{
    enum { AXIS, BEFORE, AFTER, INNER };
    const sg_dim *i = a->attrs.i, *k = b->attrs.i;

    if (sg_graph_failed(g) || strcmp(a->op->name, "pad") != 0 || a->op != b->op || i[AXIS] != k[AXIS] || i[INNER] || k[INNER] ||
        a->attrs.f[0] < 0 || a->attrs.f[0] > 0 || b->attrs.f[0] < 0 || b->attrs.f[0] > 0)
        return sg_add(g, a, b);
    const int axis = (int)i[AXIS];
    for (int turn = 0; turn < 2; turn++) {
        sg_value *first = turn ? b : a, *second = turn ? a : b;
        if (sg_dim_add(g, first->attrs.i[BEFORE], first->in[0]->dims[axis]) == second->attrs.i[BEFORE])
            return sg_pad(g, sg_concat(g, 2, (sg_value *[]){first->in[0], second->in[0]}, axis), axis, first->attrs.i[BEFORE],
                          second->attrs.i[AFTER], 0, 0);
    }
    return sg_add(g, a, b);
}

static void back(sg_graph *g, sg_value *v, sg_value *dy, const bool *wanted, sg_value **sums)
{
    sg_value *few[MAX_IN] = {0}, **dx = few;

    if (!v->op->grad || !dy)
        return;
    if (v->n_in > MAX_IN && !(dx = calloc((size_t)v->n_in, sizeof *dx))) {
        sg_graph_fail(g, SG_ENOMEM, "out of memory for the gradient of %s", v->op->name);
        return;
    }
    char scope[256];
    snprintf(scope, sizeof scope, "%s", strncmp(v->scope, "grad.", 5) == 0 ? v->scope + 5 : v->scope);
    sg_scope(g, "grad.%s", scope);
    v->op->grad(g, v, dy, dx);
    for (int i = 0; i < v->n_in; i++) {
        sg_value *in = v->in[i];
        if (!dx[i] && in->id >= 0 && wanted[in->id] && (v->op->flags & SG_OP_PACKED) && in->dtype != v->dtype && is_float(in))
            sg_graph_fail(g, SG_ETYPE, "gradient by %s: weights that are read as %s have none, open the model with as_stored false",
                          sg_value_name(in), sg_dtype_name(in->dtype));
        if (!dx[i] || in->id < 0 || !wanted[in->id] || !is_float(in))
            continue;
        if (!sg_graph_failed(g) && (dx[i]->n_dims != in->n_dims || dx[i]->dtype != in->dtype ||
                                    memcmp(dx[i]->dims, in->dims, (size_t)in->n_dims * sizeof in->dims[0]) != 0)) {
            char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];
            sg_graph_fail(g, SG_ESHAPE, "gradient of %s: input %d is %s, its gradient %s", v->op->name, i,
                          sg_value_shape_text(in, a), sg_value_shape_text(dx[i], b));
        }
        sums[in->id] = sums[in->id] ? sum_of(g, sums[in->id], dx[i]) : dx[i];
    }
    if (dx != few)
        free(dx);
}

void sg_gradients(sg_graph *g, sg_value *y, sg_value *dy, int n_xs, sg_value *const *xs, sg_value **out)
{
    const size_t n = (size_t)SG_MAX(g->n_nodes, 1);
    int *order = NULL;
    bool *wanted = NULL;
    sg_value **sums = NULL;
    const char *scope = g->scope;

    for (int i = 0; i < n_xs; i++)
        out[i] = &g->dummy;
    if (sg_graph_failed(g) || !differentiable(g, "of", y) || (dy && !incoming(g, y, dy)))
        return;
    for (int i = 0; i < n_xs; i++)
        if (!differentiable(g, "by", xs[i]))
            return;

    order = malloc(n * sizeof *order);
    wanted = calloc(n, sizeof *wanted); /* depends on some x */
    sums = calloc(n, sizeof *sums);
    const int count = order && wanted && sums ? sg_graph_order(g, 1, &y, NULL, order) : -1;
    if (count < 0) {
        sg_graph_fail(g, SG_ENOMEM, "out of memory for gradients over %d values", g->n_nodes);
    } else {
        for (int i = 0; i < n_xs; i++)
            wanted[xs[i]->id] = true;
        for (int k = 0; k < count; k++) {
            const sg_value *v = g->nodes[order[k]];
            for (int i = 0; i < v->n_in && !wanted[v->id]; i++)
                wanted[v->id] = v->in[i]->id >= 0 && wanted[v->in[i]->id];
        }
        if (wanted[y->id])
            sums[y->id] = dy ? dy : sg_ones_like(g, y);
        for (int k = count - 1; k >= 0; k--)
            if (wanted[order[k]])
                back(g, g->nodes[order[k]], sums[order[k]], wanted, sums);
        g->scope = scope;
        for (int i = 0; i < n_xs; i++)
            out[i] = sums[xs[i]->id] ? sums[xs[i]->id] : sg_zeros_like(g, xs[i]);
    }
    free(order);
    free(wanted);
    free(sums);
}

sg_value *sg_grad(sg_graph *g, sg_value *y, sg_value *x)
{
    sg_value *dx;

    if (!sg_graph_failed(g) && y->n_dims != 0) {
        char shape[SG_SHAPE_TEXT];
        return sg_graph_fail(g, SG_ESHAPE, "gradient of %s: it is %s, a scalar was wanted (sg_gradients takes any shape)",
                             sg_value_name(y), sg_value_shape_text(y, shape));
    }
    sg_gradients(g, y, NULL, 1, &x, &dx);
    return dx;
}

sg_value *sg_jvp(sg_graph *g, sg_value *y, sg_value *x, sg_value *v)
{
    sg_value *u = sg_zeros_like(g, y), *pulled, *pushed;

    sg_gradients(g, y, u, 1, &x, &pulled);
    sg_gradients(g, pulled, v, 1, &u, &pushed);
    return pushed;
}
