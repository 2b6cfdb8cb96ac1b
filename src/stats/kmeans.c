/* Which centroid is nearest comes from products, |x - c|^2 = |x|^2 - 2 x.c + |c|^2, a slice of rows at a time: the one
 * fast path of the steps and of whoever asks for the nearest. How far it is is then added up without them, as a
 * difference of large numbers in f32 would not tell. In k-means++ they only draw, and what is a little negative there
 * is 0. */
#include "sightglass/kmeans.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"

#define SLICE 1024

sg_kmeans_opts sg_kmeans_defaults(void)
{
    return (sg_kmeans_opts){.k = 8, .most_steps = 100, .tolerance = 1e-4};
}

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "k-means: out of memory");
}

static sg_tensor rows_of(const sg_tensor *t, sg_dim first, sg_dim n)
{
    const sg_dim dims[2] = {n, t->dims[1]};
    return sg_tensor_of(t->dtype, 2, dims, (float *)t->data + first * t->dims[1]);
}

static double square(const float *x, sg_dim n)
{
    double sum = 0;

    for (sg_dim d = 0; d < n; d++)
        sum += (double)x[d] * (double)x[d];
    return sum;
}

static double between(const float *x, const float *c, sg_dim n)
{
    double sum = 0;

    for (sg_dim d = 0; d < n; d++)
        sum += ((double)x[d] - (double)c[d]) * ((double)x[d] - (double)c[d]);
    return sum;
}

static sg_status check(const sg_tensor *x, const char *what, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];

    if (x->dtype != SG_F32 || x->n_dims != 2)
        return sg_fail(err, x->dtype != SG_F32 ? SG_ETYPE : SG_ESHAPE, "k-means: %s is %s %s, rows of f32 were wanted",
                       what, sg_dtype_name(x->dtype), sg_shape_text(shape, x->n_dims, x->dims));
    for (sg_dim i = 0; i < sg_tensor_count(x); i++)
        if (!isfinite(((const float *)x->data)[i]))
            return sg_fail(err, SG_ENUMERIC, "k-means: %s[%" PRId64 ",%" PRId64 "] is not finite", what, i / x->dims[1],
                           i % x->dims[1]);
    return SG_OK;
}

/* The nearest of the centroids; dots is room for [SLICE,K], halves [K]. */
static sg_status nearest(int32_t *labels, double *distances, const sg_tensor *x, const sg_tensor *centroids,
                         float *dots, float *halves, sg_error *err)
{
    const sg_dim k = centroids->dims[0], width = x->dims[1];

    for (sg_dim c = 0; c < k; c++)
        halves[c] = (float)(square((const float *)centroids->data + c * width, width) / 2);
    for (sg_dim first = 0; first < x->dims[0]; first += SLICE) {
        const sg_dim n = SG_MIN(SLICE, x->dims[0] - first);
        const sg_tensor rows = rows_of(x, first, n), to = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, k}, dots);
        SG_TRY(sg_product(&to, &rows, false, centroids, true, 1, 0, err));
        for (sg_dim i = 0; i < n; i++) {
            const float *dot = dots + i * k;
            int32_t best = 0;
            for (sg_dim c = 1; c < k; c++)
                if (dot[c] - halves[c] > dot[best] - halves[best])
                    best = (int32_t)c;
            labels[first + i] = best;
            if (distances)
                distances[first + i] =
                    between((const float *)rows.data + i * width, (const float *)centroids->data + best * width, width);
        }
    }
    return SG_OK;
}

sg_status sg_kmeans_nearest(int32_t *labels, double *distances, const sg_tensor *x, const sg_tensor *centroids,
                            sg_error *err)
{
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];

    SG_TRY(check(x, "x", err));
    SG_TRY(check(centroids, "centroids", err));
    if (x->dims[1] != centroids->dims[1] || centroids->dims[0] < 1 || centroids->dims[0] > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "k-means: x is %s and the centroids are %s", sg_shape_text(one, 2, x->dims),
                       sg_shape_text(other, 2, centroids->dims));
    sg_arena *arena = sg_arena_new();
    float *dots = arena ? sg_arena_array(arena, SLICE * (size_t)centroids->dims[0], sizeof *dots) : NULL;
    float *halves = arena ? sg_arena_array(arena, (size_t)centroids->dims[0], sizeof *halves) : NULL;
    const sg_status status =
        dots && halves ? nearest(labels, distances, x, centroids, dots, halves, err) : no_memory(err);
    sg_arena_free(arena);
    return status;
}

/* ---- fitting ---- */

typedef struct fit {
    sg_kmeans face; /* first: what is handed out */
    sg_arena *own;
    const sg_tensor *x;
    const sg_kmeans_opts *opts;
    double *distances;    /* [N] */
    double *squares;      /* [N] |x|^2 */
    float *dots, *halves; /* [SLICE,K], [K] */
    double *sums;         /* [K,D] */
} fit;

static sg_status cancelled(const fit *f, sg_error *err)
{
    if (f->opts->cancel && *f->opts->cancel)
        return sg_fail(err, SG_ECANCELLED, "k-means: cancelled");
    return SG_OK;
}

/* Each next start is a row, drawn with a probability in proportion to its squared distance from the nearest so far. */
static sg_status start(fit *f, sg_error *err)
{
    const sg_dim n = f->x->dims[0], width = f->x->dims[1];
    const float *x = f->x->data;
    float *c = f->face.centroids.data;
    sg_rng r = sg_rng_new(f->opts->seed, 0x6b6d);

    for (sg_dim i = 0; i < n; i++)
        f->squares[i] = square(x + i * width, width);
    for (sg_dim k = 0; k < f->opts->k; k++) {
        SG_TRY(cancelled(f, err));
        double total = 0;
        for (sg_dim i = 0; i < n && k; i++)
            total += f->distances[i];
        sg_dim row = (sg_dim)(sg_rng_uniform(&r) * (double)n);
        if (total > 0) { /* else all rows are covered, and any will do */
            double left = sg_rng_uniform(&r) * total;
            for (row = 0; row + 1 < n && (left -= f->distances[row]) >= 0; row++)
                ;
        }
        memcpy(c + k * width, x + row * width, (size_t)width * sizeof *c);
        for (sg_dim first = 0; first < n; first += SLICE) {
            const sg_tensor rows = rows_of(f->x, first, SG_MIN(SLICE, n - first)),
                            one = rows_of(&f->face.centroids, k, 1),
                            to = sg_tensor_of(SG_F32, 2, (sg_dim[]){rows.dims[0], 1}, f->dots);
            SG_TRY(sg_product(&to, &rows, false, &one, true, 1, 0, err));
            const double own = square(c + k * width, width);
            for (sg_dim i = 0; i < rows.dims[0]; i++) {
                const double d = f->squares[first + i] - 2 * (double)f->dots[i] + own;
                f->distances[first + i] = k ? fmin(f->distances[first + i], fmax(d, 0)) : fmax(d, 0);
            }
        }
        f->distances[row] = 0; /* whatever rounding made of it: no row is drawn twice while others are left */
        if (f->opts->progress)
            f->opts->progress(f->opts->context, 0.5 * (double)(k + 1) / (double)f->opts->k);
    }
    return SG_OK;
}

/* Labels, distances and inertia for the centroids as they are. */
static sg_status judge(fit *f, sg_error *err)
{
    const sg_dim n = f->x->dims[0];

    SG_TRY(nearest(f->face.labels, f->distances, f->x, &f->face.centroids, f->dots, f->halves, err));
    memset(f->face.counts, 0, (size_t)f->opts->k * sizeof *f->face.counts);
    double sum = 0;
    for (sg_dim i = 0; i < n; i++) {
        sum += f->distances[i];
        f->face.counts[f->face.labels[i]]++;
    }
    f->face.inertia = sum / (double)n;
    return SG_OK;
}

static void move(fit *f)
{
    const sg_dim n = f->x->dims[0], width = f->x->dims[1], k = f->opts->k;
    const float *x = f->x->data;
    float *c = f->face.centroids.data;

    memset(f->sums, 0, (size_t)(k * width) * sizeof *f->sums);
    for (sg_dim i = 0; i < n; i++) {
        double *sum = f->sums + f->face.labels[i] * width;
        for (sg_dim d = 0; d < width; d++)
            sum[d] += (double)x[i * width + d];
    }
    for (sg_dim j = 0; j < k; j++) {
        if (f->face.counts[j]) {
            for (sg_dim d = 0; d < width; d++)
                c[j * width + d] = (float)(f->sums[j * width + d] / (double)f->face.counts[j]);
            continue;
        }
        sg_dim far = 0;
        for (sg_dim i = 1; i < n; i++)
            if (f->distances[i] > f->distances[far])
                far = i;
        memcpy(c + j * width, x + far * width, (size_t)width * sizeof *c);
        f->distances[far] = 0; /* the next empty one takes another row */
    }
}

static sg_status run(fit *f, sg_error *err)
{
    SG_TRY(start(f, err));
    SG_TRY(judge(f, err));
    while (!f->face.settled && f->face.n_steps < f->opts->most_steps) {
        SG_TRY(cancelled(f, err));
        const double before = f->face.inertia;
        move(f);
        SG_TRY(judge(f, err));
        f->face.n_steps++;
        f->face.settled = before - f->face.inertia <= f->opts->tolerance * before;
        if (f->opts->progress)
            f->opts->progress(f->opts->context,
                              f->face.settled ? 1 : 0.5 + 0.5 * f->face.n_steps / (double)f->opts->most_steps);
    }
    return SG_OK;
}

sg_status sg_kmeans_fit(sg_kmeans **out, const sg_tensor *x, sg_kmeans_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(x, "x", err));
    const sg_dim n = x->dims[0], width = x->dims[1], k = opts.k;
    if (k < 1 || k > n || k > INT32_MAX)
        return sg_fail(err, SG_EARG, "k-means: %" PRId64 " centroids of %" PRId64 " rows", k, n);
    if (opts.most_steps < 0 || !(opts.tolerance >= 0))
        return sg_fail(err, SG_EARG, "k-means: most_steps %d and tolerance %g, wanted at least 0", opts.most_steps,
                       opts.tolerance);
    sg_arena *own = sg_arena_new(), *scratch = sg_arena_new();
    fit *f = own && scratch ? sg_arena_alloc(own, sizeof *f) : NULL;
    float *centroids = NULL;
    if (f) {
        *f = (fit){.own = own, .x = x, .opts = &opts};
        centroids = sg_arena_array(own, (size_t)(k * width), sizeof *centroids);
        f->face.labels = sg_arena_array(own, (size_t)n, sizeof *f->face.labels);
        f->face.counts = sg_arena_array(own, (size_t)k, sizeof *f->face.counts);
        f->distances = sg_arena_array(scratch, (size_t)n, sizeof *f->distances);
        f->squares = sg_arena_array(scratch, (size_t)n, sizeof *f->squares);
        f->dots = sg_arena_array(scratch, SLICE * (size_t)k, sizeof *f->dots);
        f->halves = sg_arena_array(scratch, (size_t)k, sizeof *f->halves);
        f->sums = sg_arena_array(scratch, (size_t)(k * width), sizeof *f->sums);
    }
    sg_status status = no_memory(err);
    if (f && centroids && f->face.labels && f->face.counts && f->distances && f->squares && f->dots && f->halves &&
        f->sums) {
        f->face.centroids = sg_tensor_of(SG_F32, 2, (sg_dim[]){k, width}, centroids);
        status = run(f, err);
    }
    sg_arena_free(scratch);
    if (status != SG_OK) {
        sg_arena_free(own);
        return status;
    }
    f->x = NULL;
    f->opts = NULL;
    *out = &f->face;
    return SG_OK;
}

void sg_kmeans_free(sg_kmeans *face)
{
    if (face)
        sg_arena_free(((fit *)(void *)face)->own);
}
