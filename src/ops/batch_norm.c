/* Normalisation of images, made of other builders: batch norm (Ioffe & Szegedy 2015) and group norm (Wu & He 2018). */
#include <string.h>

#include "ops/ops.h"
#include "sightglass/image.h"

/* v [C] as it lies along axis 1 of x. */
static sg_value *along_channels(sg_graph *g, const sg_value *x, sg_value *v)
{
    sg_dim dims[SG_MAX_DIMS];

    if (sg_graph_failed(g) || v->n_dims != 1)
        return sg_graph_fail(g, SG_ESHAPE, "norm: one number for each channel was wanted");
    for (int k = 0; k < x->n_dims; k++)
        dims[k] = 1;
    dims[1] = v->dims[0];
    return sg_reshape(g, v, x->n_dims, dims);
}

static bool has_channels(sg_graph *g, const char *what, const sg_value *x)
{
    if (sg_graph_failed(g))
        return false;
    if (x->n_dims >= 2)
        return true;
    sg_graph_fail(g, SG_ESHAPE, "%s: channels along axis 1 were wanted", what);
    return false;
}

/* n w + b, for whichever is there. */
static sg_value *scaled(sg_graph *g, sg_value *n, sg_value *w, sg_value *b)
{
    if (w)
        n = sg_mul(g, n, along_channels(g, n, w));
    return b ? sg_add(g, n, along_channels(g, n, b)) : n;
}

/* (x - mean) * (w / sqrt(var + eps)) + b, mean and var as they lie in x. */
static sg_value *normalised(sg_graph *g, sg_value *centred, sg_value *var, sg_value *w, sg_value *b, double eps)
{
    sg_value *scale = sg_rsqrt(g, sg_add_scalar(g, var, eps));

    if (w)
        scale = sg_mul(g, scale, along_channels(g, centred, w));
    return scaled(g, sg_mul(g, centred, scale), NULL, b);
}

sg_value *sg_batch_norm(sg_graph *g, sg_value *x, sg_value *w, sg_value *b, double eps, sg_batch_stats *stats)
{
    if (stats)
        stats->mean = stats->var = x;
    if (!has_channels(g, "batch_norm", x))
        return x;
    const unsigned others = ((1u << x->n_dims) - 1) & ~2u;
    sg_value *mean = sg_mean_axes(g, x, others, true), *centred = sg_sub(g, x, mean);
    sg_value *var = sg_mean_axes(g, sg_square(g, centred), others, true);

    if (stats) {
        sg_dim n = x->dims[0];
        for (int k = 2; k < x->n_dims; k++)
            n = sg_dim_mul(g, n, x->dims[k]);
        sg_value *count = sg_extent_of(g, x->dtype, n);
        stats->mean = sg_reshape(g, mean, 1, &x->dims[1]);
        stats->var = sg_mul(g, sg_reshape(g, var, 1, &x->dims[1]),
                            sg_div(g, count, sg_maximum(g, sg_add_scalar(g, count, -1), sg_scalar_like(g, count, 1))));
    }
    return normalised(g, centred, var, w, b, eps);
}

sg_value *sg_batch_norm_given(sg_graph *g, sg_value *x, sg_value *mean, sg_value *var, sg_value *w, sg_value *b,
                              double eps)
{
    if (!has_channels(g, "batch_norm_given", x))
        return x;
    return normalised(g, sg_sub(g, x, along_channels(g, x, mean)), along_channels(g, x, var), w, b, eps);
}

sg_value *sg_group_norm(sg_graph *g, sg_value *x, sg_dim n_groups, sg_value *w, sg_value *b, double eps)
{
    if (!has_channels(g, "group_norm", x))
        return x;
    if (n_groups < 1 || (n_groups > 1 && (!sg_dim_is_const(x->dims[1]) || x->dims[1] % n_groups)))
        return sg_graph_fail(g, SG_ESHAPE, "group_norm: %lld groups do not divide the channels", (long long)n_groups);
    sg_dim each = n_groups == 1 ? x->dims[1] : x->dims[1] / n_groups;
    for (int k = 2; k < x->n_dims; k++)
        each = sg_dim_mul(g, each, x->dims[k]);
    sg_value *rows = sg_reshape(g, x, 3, (const sg_dim[]){x->dims[0], n_groups, each});
    sg_value *n = sg_reshape(g, sg_layer_norm(g, rows, NULL, NULL, eps), x->n_dims, x->dims);

    return scaled(g, n, w, b);
}
