/* Activations of a tensor-product code with random numbers: what a fitted probe's geometry has to be judged against.
 * The embeddings of roles are independent, so neighbours that a probe finds in them come from the labels. */
#include "methods/tpr_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/shuffle.h"
#include "sightglass/rng.h"

enum { ROLES = 1, FILLERS, BINDING, NOISE };

sg_tpr_synthetic_opts sg_tpr_synthetic_defaults(void)
{
    return (sg_tpr_synthetic_opts){.width = 128, .role_dim = 16, .filler_dim = 2, .n_classes = 2, .noise = 0.1};
}

static sg_status drawn(sg_tensor *out, sg_dim m, sg_dim n, double deviation, uint64_t seed, uint32_t stream,
                       sg_error *err)
{
    SG_TRY(tpr_room(out, SG_F32, 2, (sg_dim[]){m, n}, err));
    sg_rng rng = sg_rng_new(seed, stream);
    for (sg_dim i = 0; i < m * n; i++)
        ((float *)out->data)[i] = (float)(deviation * sg_rng_normal(&rng));
    return SG_OK;
}

/* Each role's labels from another row, which is another one for each role. */
static void part_roles(sg_tensor *labels, const sg_tensor *from, uint64_t seed)
{
    const sg_dim n = from->dims[0], S = from->dims[1];
    for (sg_dim s = 0; s < S; s++) {
        const sg_shuffle order = sg_shuffle_new(seed + (uint64_t)s + 1, n);
        for (sg_dim i = 0; i < n; i++)
            ((int32_t *)labels->data)[i * S + s] = ((const int32_t *)from->data)[sg_shuffle_at(&order, 0, i) * S + s];
    }
}

/* One-hot labels [N,S C], by which each row picks its bindings. */
static sg_status picked(sg_tensor *out, const sg_tensor *labels, sg_dim C, sg_error *err)
{
    const sg_dim n = sg_tensor_count(labels), N = labels->dims[0], S = labels->dims[1];
    SG_TRY(tpr_room(out, SG_F32, 2, (sg_dim[]){N, S * C}, err));
    for (sg_dim i = 0; i < n; i++) {
        const int32_t label = ((const int32_t *)labels->data)[i];
        if (label >= 0)
            ((float *)out->data)[i * C + label] = 1;
    }
    return SG_OK;
}

/* acts = one-hot labels . (R_s x F_c)' . B, with B [r f,D] random. */
static sg_status bind(sg_tensor *acts, const sg_tensor *labels, const sg_tpr_synthetic_opts *o, sg_error *err)
{
    const sg_dim S = labels->dims[1], C = o->n_classes, rf = o->role_dim * o->filler_dim;
    sg_tensor roles = {0}, fillers = {0}, binding = {0}, one_hot = {0};
    sg_status status = drawn(&roles, S, o->role_dim, 1 / sqrt((double)o->role_dim), o->seed, ROLES, err);
    if (status == SG_OK)
        status = drawn(&fillers, C, o->filler_dim, 1 / sqrt((double)o->filler_dim), o->seed, FILLERS, err);
    if (status == SG_OK)
        status = drawn(&binding, rf, o->width, 1 / sqrt((double)o->width), o->seed, BINDING, err);
    if (status == SG_OK)
        status = picked(&one_hot, labels, C, err);
    sg_graph *g = status == SG_OK ? sg_graph_new() : NULL;
    if (status == SG_OK && !g)
        status = sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    if (status == SG_OK) {
        const sg_feed feed = {sg_input(g, "one_hot", SG_F32, 2, one_hot.dims), one_hot};
        sg_value *bindings = tpr_bindings(g, sg_const(g, &roles), sg_const(g, &fillers)); /* [r f,S C] */
        sg_value *of_role = sg_matmul(g, bindings, sg_const(g, &binding), true, false);   /* [S C,D] */
        status = tpr_evaluate(acts, g, sg_matmul(g, feed.value, of_role, false, false), 1, &feed, err);
    }
    free(roles.data);
    free(fillers.data);
    free(binding.data);
    free(one_hot.data);
    return status;
}

static void add_noise(sg_tensor *acts, double noise, uint64_t seed)
{
    const sg_dim n = sg_tensor_count(acts);
    float *x = acts->data;
    sg_rng rng = sg_rng_new(seed, NOISE);
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    const double deviation = noise * sqrt(sum / (double)n);
    for (sg_dim i = 0; i < n; i++)
        x[i] += (float)(deviation * sg_rng_normal(&rng));
}

sg_status sg_tpr_synthesize(sg_tpr_synthetic *out, const sg_tensor *labels, sg_tpr_synthetic_opts opts, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    *out = (sg_tpr_synthetic){0};
    if (labels->dtype != SG_I32 || labels->n_dims != 2 || sg_tensor_count(labels) < 1)
        return sg_fail(err, SG_ESHAPE, "tpr: labels are %s %s, wanted i32 [rows,roles]", sg_dtype_name(labels->dtype),
                       sg_shape_text(shape, labels->n_dims, labels->dims));
    if (opts.width < 1 || opts.role_dim < 1 || opts.filler_dim < 1 || opts.n_classes < 2 || !(opts.noise >= 0))
        return sg_fail(err, SG_EARG, "tpr: sizes of what is to be made are out of range");
    for (sg_dim i = 0; i < sg_tensor_count(labels); i++)
        if (((const int32_t *)labels->data)[i] >= opts.n_classes)
            return sg_fail(err, SG_EARG, "tpr: label %d with %d classes", (int)((const int32_t *)labels->data)[i],
                           opts.n_classes);
    sg_status status = tpr_copy(&out->labels, labels, SG_I32, err);
    if (status == SG_OK && opts.independent)
        part_roles(&out->labels, labels, opts.seed);
    if (status == SG_OK)
        status = bind(&out->acts, &out->labels, &opts, err);
    if (status == SG_OK)
        add_noise(&out->acts, opts.noise, opts.seed);
    else
        sg_tpr_synthetic_free(out);
    return status;
}

void sg_tpr_synthetic_free(sg_tpr_synthetic *s)
{
    free(s->acts.data);
    free(s->labels.data);
    *s = (sg_tpr_synthetic){0};
}
