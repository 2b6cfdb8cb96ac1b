/* The guided rule: what flows back through a ReLU must be positive where it comes out. Gradients are graph, so the rule
 * is a splice: readers of each ReLU read a copy that no gradient passes; the gradient by that copy is taken, its
 * negative part cut off, and sent on through the ReLU by hand, from the last ReLU to the first. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "graph/op.h"
#include "methods/attribute_internal.h"
#include "sightglass/ops.h"

/* A ReLU, or the lower half of a clamp at 0 (ReLU6). */
static bool is_relu(const sg_value *v)
{
    const char *op = sg_value_op(v);
    if (strcmp(op, "relu") == 0)
        return true;
    if (strcmp(op, "maximum") != 0 || strcmp(sg_value_op(sg_value_in(v, 1)), "const") != 0)
        return false;
    const sg_value *c = sg_value_in(v, 1);
    const sg_tensor t = sg_tensor_of(c->dtype, c->n_dims, c->dims, (void *)(uintptr_t)c->data);
    return sg_tensor_count(&t) == 1 && sg_tensor_get(&t, 0) == 0;
}

sg_status sg_guided_cut(sg_guided_cuts *out, sg_graph *g, sg_error *err)
{
    const int size = sg_graph_size(g);
    *out = (sg_guided_cuts){0};
    out->relu = calloc((size_t)SG_MAX(size, 1), sizeof *out->relu);
    out->cut = calloc((size_t)SG_MAX(size, 1), sizeof *out->cut);
    if (!out->relu || !out->cut)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory for the guided rule");
    for (int i = 0; i < size; i++)
        if (is_relu(sg_graph_at(g, i)))
            out->relu[out->n++] = sg_graph_at(g, i);
    if (!out->n)
        return sg_fail(err, SG_EUNSUPPORTED, "attribute: the guided rule is about ReLUs, and this network has none");
    for (int i = 0; i < out->n; i++) {
        out->cut[i] = sg_stop_gradient(g, out->relu[i]);
        sg_replace(g, out->relu[i], out->cut[i]);
    }
    return sg_graph_status(g, err);
}

sg_value *sg_guided_gradient(sg_graph *g, const sg_guided_cuts *cuts, sg_value *score, sg_value *site)
{
    sg_value *whole = sg_sum_all(g, score);
    for (int i = cuts->n - 1; i >= 0; i--) { /* from the last: a graph that was not spliced before is in order */
        sg_value *in = sg_value_in(cuts->relu[i], 0), *back;
        sg_gradients(g, cuts->relu[i], sg_relu(g, sg_grad(g, whole, cuts->cut[i])), 1, &in, &back);
        whole = sg_add(g, whole, sg_sum_all(g, sg_mul(g, in, sg_stop_gradient(g, back))));
    }
    return sg_grad(g, whole, site);
}

void sg_guided_free(sg_guided_cuts *cuts)
{
    free(cuts->relu);
    free(cuts->cut);
    *cuts = (sg_guided_cuts){0};
}
