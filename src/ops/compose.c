/* Builders made of other builders: no operations, so no kernels and no gradients of their own. */
#include <string.h>

#include "ops/ops.h"

/* The axis from the start; or -1, and the graph has failed, so that any value may be returned. */
static int axis_of(sg_graph *g, const char *what, int axis, int n_dims)
{
    if (axis >= -n_dims && axis < n_dims)
        return axis < 0 ? axis + n_dims : axis;
    sg_graph_fail(g, SG_ESHAPE, "%s: axis %d of %d axes", what, axis, n_dims);
    return -1;
}

sg_value *sg_expand(sg_graph *g, sg_value *x, int axis)
{
    const int at = axis_of(g, "expand", axis, x->n_dims + 1);
    sg_dim dims[SG_MAX_DIMS + 1];

    if (at < 0)
        return x;
    memcpy(dims, x->dims, (size_t)at * sizeof dims[0]);
    dims[at] = 1;
    memcpy(dims + at + 1, x->dims + at, (size_t)(x->n_dims - at) * sizeof dims[0]);
    return sg_reshape(g, x, x->n_dims + 1, dims);
}

sg_value *sg_squeeze(sg_graph *g, sg_value *x, int axis)
{
    const int at = axis_of(g, "squeeze", axis, x->n_dims);
    sg_dim dims[SG_MAX_DIMS];
    char text[SG_SHAPE_TEXT];

    if (at < 0)
        return x;
    if (x->dims[at] != 1)
        return sg_graph_fail(g, SG_ESHAPE, "squeeze: axis %d of %s is not 1", at, sg_value_shape_text(x, text));
    memcpy(dims, x->dims, (size_t)at * sizeof dims[0]);
    memcpy(dims + at, x->dims + at + 1, (size_t)(x->n_dims - 1 - at) * sizeof dims[0]);
    return sg_reshape(g, x, x->n_dims - 1, dims);
}

sg_value *sg_swap_axes(sg_graph *g, sg_value *x, int a, int b)
{
    const int p = axis_of(g, "swap_axes", a, x->n_dims), q = axis_of(g, "swap_axes", b, x->n_dims);
    int perm[SG_MAX_DIMS];

    if (p < 0 || q < 0)
        return x;
    for (int k = 0; k < x->n_dims; k++)
        perm[k] = k == p ? q : k == q ? p : k;
    return sg_transpose(g, x, perm);
}

sg_value *sg_repeat(sg_graph *g, sg_value *x, int axis, sg_dim n)
{
    const int at = axis_of(g, "repeat", axis, x->n_dims);

    if (at < 0)
        return x;
    if (n == 1)
        return x;
    sg_value *y = sg_expand(g, x, at + 1);
    if (sg_graph_failed(g))
        return y;
    sg_dim dims[SG_MAX_DIMS];
    memcpy(dims, y->dims, sizeof dims);
    dims[at + 1] = n;
    y = sg_broadcast(g, y, y->n_dims, dims);
    memcpy(dims, x->dims, sizeof dims);
    dims[at] = sg_dim_mul(g, dims[at], n);
    return sg_reshape(g, y, x->n_dims, dims);
}

sg_value *sg_causal_mask(sg_graph *g, sg_dim n_queries, sg_dim n_keys)
{
    /* j - S <= i - T: counted from the end, so that nothing has to be subtracted from a smaller extent. */
    sg_value *i = sg_sub(g, sg_iota(g, SG_I32, n_queries), sg_extent_of(g, SG_I32, n_queries));
    sg_value *j = sg_sub(g, sg_iota(g, SG_I32, n_keys), sg_extent_of(g, SG_I32, n_keys));

    return sg_less_equal(g, j, sg_expand(g, i, -1));
}

sg_value *sg_window_mask(sg_graph *g, sg_dim n_queries, sg_dim n_keys, sg_dim width)
{
    /* i - T < j - S + width */
    sg_value *i = sg_sub(g, sg_iota(g, SG_I32, n_queries), sg_extent_of(g, SG_I32, n_queries));
    sg_value *j = sg_sub(g, sg_iota(g, SG_I32, n_keys), sg_extent_of(g, SG_I32, n_keys));

    return sg_less(g, sg_expand(g, i, -1), sg_add(g, j, sg_scalar(g, SG_I32, (double)width)));
}

sg_value *sg_length_mask(sg_graph *g, sg_value *lengths, sg_dim n)
{
    return sg_less(g, sg_iota(g, SG_I32, n), sg_expand(g, lengths, -1));
}

sg_value *sg_cross_entropy(sg_graph *g, sg_value *logits, sg_value *targets)
{
    /* log sum exp - logit, rather than the whole log_softmax of which one number in V would be read. */
    sg_value *own = sg_take_along(g, logits, sg_expand(g, targets, -1), -1);

    return sg_sub(g, sg_logsumexp(g, logits, -1, false), sg_squeeze(g, own, -1));
}

sg_value *sg_dropout(sg_graph *g, sg_value *x, double p, sg_random from, sg_value *step)
{
    if (!(p >= 0 && p < 1))
        return sg_graph_fail(g, SG_EARG, "dropout: probability %g", p);
    if (p == 0)
        return x;
    /* Chosen rather than multiplied, so that what is dropped is 0 also where x is not finite. */
    return sg_where(g, sg_random_bernoulli(g, p, x->n_dims, x->dims, from, step), sg_scalar_like(g, x, 0),
                    sg_mul_scalar(g, x, 1 / (1 - p)));
}
