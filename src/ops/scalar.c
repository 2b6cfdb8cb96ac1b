/* Builders with a plain number in them: compositions, no operations of their own. */
#include "ops/ops.h"

sg_value *sg_scalar_like(sg_graph *g, sg_value *x, double c)
{
    return sg_scalar(g, x->dtype, c);
}

sg_value *sg_add_scalar(sg_graph *g, sg_value *x, double c)
{
    return sg_add(g, x, sg_scalar_like(g, x, c));
}

sg_value *sg_mul_scalar(sg_graph *g, sg_value *x, double c)
{
    return sg_mul(g, x, sg_scalar_like(g, x, c));
}

sg_value *sg_pow_scalar(sg_graph *g, sg_value *x, double c)
{
    /* The exponents that have an exact kernel of their own. */
    if (c == 1 && sg_dtype_is_float(x->dtype))
        return x;
    if (c == 2)
        return sg_square(g, x);
    if (c == -1)
        return sg_reciprocal(g, x);
    return sg_pow(g, x, sg_scalar_like(g, x, c));
}

sg_value *sg_full(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims, double c)
{
    return sg_broadcast(g, sg_scalar(g, dtype, c), n_dims, dims);
}

sg_value *sg_zeros_like(sg_graph *g, sg_value *x)
{
    return sg_full(g, x->dtype, x->n_dims, x->dims, 0);
}

sg_value *sg_ones_like(sg_graph *g, sg_value *x)
{
    return sg_full(g, x->dtype, x->n_dims, x->dims, 1);
}

sg_value *sg_clamp(sg_graph *g, sg_value *x, double low, double high)
{
    return sg_minimum(g, sg_maximum(g, x, sg_scalar_like(g, x, low)), sg_scalar_like(g, x, high));
}
