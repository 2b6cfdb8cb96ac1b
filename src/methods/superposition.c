/* Everything here follows from the Gram matrix G = W'W: |W_i|^2 = G_ii and (W_i/|W_i| . W_j)^2 = G_ij^2 / G_ii. */
#include "sightglass/superposition.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/base.h"

/* gram [n,n] from w [m,n]: a sum over m of outer products, so that the inner loop runs along memory. */
static void gram_of(double *restrict gram, const double *restrict w, sg_dim m, sg_dim n)
{
    for (sg_dim k = 0; k < m; k++)
        for (sg_dim i = 0; i < n; i++)
            for (sg_dim j = 0; j < n; j++)
                gram[i * n + j] += w[k * n + i] * w[k * n + j];
}

static void instance(sg_superposition *s, sg_dim k)
{
    const sg_dim n = s->n_features;
    const double *gram = s->gram + k * n * n;
    double total = 0;
    for (sg_dim i = 0; i < n; i++) {
        const double norm2 = gram[i * n + i];
        double others = 0;
        for (sg_dim j = 0; j < n; j++)
            if (j != i)
                others += gram[i * n + j] * gram[i * n + j];
        const bool absent = norm2 < SG_SUPERPOSITION_ABSENT;
        const double interference = absent ? 0 : others / norm2;
        const double dimensionality = absent ? 0 : norm2 / (norm2 + interference);
        s->norm2[k * n + i] = norm2;
        s->interference[k * n + i] = interference;
        s->dimensionality[k * n + i] = dimensionality;
        s->sum_dimensionality[k] += dimensionality;
        s->n_represented[k] += norm2 > SG_SUPERPOSITION_REPRESENTED;
        total += norm2;
    }
    s->per_dimension[k] = total / (double)s->n_dims;
}

/* The struct leads an arena that holds the rest. */
typedef struct owned {
    sg_superposition face;
    sg_arena *arena;
} owned;

static sg_status fill(sg_superposition *s, sg_arena *arena, const sg_tensor *w, sg_error *err)
{
    const size_t k = (size_t)s->n_instances, n = (size_t)s->n_features;
    size_t kn, knn;
    if (__builtin_mul_overflow(k, n, &kn) || __builtin_mul_overflow(kn, n, &knn))
        return sg_fail(err, SG_ENOMEM, "superposition: %" PRId64 " features are too many", s->n_features);
    s->dimensionality = sg_arena_array(arena, kn, sizeof(double));
    s->norm2 = sg_arena_array(arena, kn, sizeof(double));
    s->interference = sg_arena_array(arena, kn, sizeof(double));
    s->gram = sg_arena_array(arena, knn, sizeof(double));
    s->sum_dimensionality = sg_arena_array(arena, k, sizeof(double));
    s->per_dimension = sg_arena_array(arena, k, sizeof(double));
    s->n_represented = sg_arena_array(arena, k, sizeof(sg_dim));
    double *numbers = sg_arena_array(arena, (size_t)(s->n_dims * s->n_features), sizeof(double));
    if (!s->dimensionality || !s->norm2 || !s->interference || !s->gram || !s->sum_dimensionality ||
        !s->per_dimension || !s->n_represented || !numbers)
        return sg_fail(err, SG_ENOMEM, "superposition: out of memory for %" PRId64 " features", s->n_features);
    const sg_dim count = s->n_dims * s->n_features;
    for (sg_dim i = 0; i < s->n_instances; i++) {
        for (sg_dim j = 0; j < count; j++) {
            numbers[j] = sg_tensor_get(w, i * count + j);
            if (!isfinite(numbers[j]))
                return sg_fail(err, SG_ENUMERIC, "superposition: element %" PRId64 " of w is %g", i * count + j,
                               numbers[j]);
        }
        gram_of(s->gram + i * s->n_features * s->n_features, numbers, s->n_dims, s->n_features);
        instance(s, i);
    }
    return SG_OK;
}

sg_status sg_superposition_report(sg_superposition **out, const sg_tensor *w, sg_error *err)
{
    *out = NULL;
    char shape[SG_SHAPE_TEXT];
    if (!sg_dtype_is_float(w->dtype))
        return sg_fail(err, SG_ETYPE, "superposition: w is %s, wanted floats", sg_dtype_name(w->dtype));
    if ((w->n_dims != 2 && w->n_dims != 3) || sg_tensor_count(w) < 1)
        return sg_fail(err, SG_ESHAPE, "superposition: w is %s, wanted [dims,features] or [instances,dims,features]",
                       sg_shape_text(shape, w->n_dims, w->dims));
    sg_arena *arena = sg_arena_new();
    owned *s = arena ? sg_arena_alloc(arena, sizeof *s) : NULL;
    if (!s) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "superposition: out of memory");
    }
    s->arena = arena;
    s->face.n_instances = w->n_dims == 3 ? w->dims[0] : 1;
    s->face.n_dims = w->dims[w->n_dims - 2];
    s->face.n_features = w->dims[w->n_dims - 1];
    const sg_status status = fill(&s->face, arena, w, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &s->face;
    return SG_OK;
}

void sg_superposition_free(sg_superposition *s)
{
    if (s)
        sg_arena_free(((owned *)s)->arena);
}
