/* Ridge regression of activations on labels, one-hot: the sides of a probe exchanged. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/base.h"
#include "sightglass/intervene.h"
#include "sightglass/linalg.h"

static sg_status check(const sg_tensor *acts, const sg_tensor *labels, int n_classes, sg_error *err)
{
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    if (acts->dtype != SG_F32 || acts->n_dims != 2 || labels->dtype != SG_I32 || labels->n_dims != 2 ||
        acts->dims[0] != labels->dims[0] || acts->dims[0] < 1)
        return sg_fail(err, SG_ESHAPE, "parts: acts are %s and labels %s, wanted [rows,width] f32 and [rows,tasks] i32",
                       sg_shape_text(one, acts->n_dims, acts->dims),
                       sg_shape_text(other, labels->n_dims, labels->dims));
    const int32_t *label = labels->data;
    for (sg_dim i = 0; i < sg_tensor_count(labels); i++)
        if (label[i] >= n_classes)
            return sg_fail(err, SG_EARG, "parts: row %" PRId64 " has label %" PRId32 ", wanted 0 to %d",
                           i / labels->dims[1], label[i], n_classes - 1);
    return SG_OK;
}

sg_status sg_parts_fit(sg_probe **out, const sg_tensor *acts, const sg_tensor *labels, int n_classes, double lambda,
                       sg_error *err)
{
    *out = NULL;
    SG_TRY(check(acts, labels, n_classes, err));
    const sg_dim n = acts->dims[0], d = acts->dims[1], tasks = labels->dims[1], k = tasks * n_classes;
    const double penalty = lambda * (double)n;
    const int32_t *label = labels->data;
    sg_ridge *fit = NULL;
    float *hot = NULL, *w = NULL;
    size_t count;
    if (!__builtin_mul_overflow((size_t)n, (size_t)k, &count))
        hot = calloc(SG_MAX(count, 1), sizeof *hot);
    w = malloc((size_t)SG_MAX(d * k, 1) * sizeof *w);
    sg_status status = hot && w ? SG_OK : sg_fail(err, SG_ENOMEM, "parts: out of memory for %" PRId64 " rows", n);
    for (sg_dim i = 0; i < n * tasks && status == SG_OK; i++)
        if (label[i] >= 0)
            hot[i * n_classes + label[i]] = 1;
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, k}, hot);
    if (status == SG_OK)
        status = sg_ridge_new(&fit, &x, acts, &penalty, 1, sg_ridge_defaults(), err);
    for (sg_dim i = 0; i < k && status == SG_OK; i++) /* [S,C] by D becomes D by [S,C] */
        for (sg_dim j = 0; j < d; j++)
            w[j * k + i] = ((const float *)fit->weights.data)[i * d + j];
    const sg_tensor weights = sg_tensor_of(SG_F32, 3, (sg_dim[]){d, tasks, n_classes}, w);
    if (status == SG_OK)
        status = sg_probe_of(out, &weights, NULL, err);
    sg_ridge_free(fit);
    free(hot);
    free(w);
    return status;
}
