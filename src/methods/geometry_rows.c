/* Rows: ways through neighbours beside straight chords, and rows without what varies with their position. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/geometry.h"
#include "sightglass/linalg.h"
#include "sightglass/neighbours.h"
#include "sightglass/rng.h"

enum { STREAM_OF_PAIRS = 21, STREAM_OF_CLOUD };

static double distance(const double *a, const double *b, sg_dim d)
{
    double sum = 0;
    for (sg_dim j = 0; j < d; j++)
        sum += (a[j] - b[j]) * (a[j] - b[j]);
    return sqrt(sum);
}

/* To the nearest row but two. */
static double to_rows(const double *x, sg_dim n, sg_dim d, const double *point, sg_dim but, sg_dim nor)
{
    double least = HUGE_VAL;
    for (sg_dim i = 0; i < n; i++)
        if (i != but && i != nor)
            least = fmin(least, distance(x + i * d, point, d));
    return least;
}

typedef struct walk {
    const double *x;
    sg_dim n, d;
    double *far, *middle, *chord; /* [n], [d], [d] */
    int32_t *before;              /* [n] */
} walk;

/* One pair: its length beside the chord's, and its points. */
static void compare(sg_ways *out, const walk *w, sg_dim from, sg_dim to, double *nearer)
{
    double behind = w->far[to];
    const double chord = distance(w->x + from * w->d, w->x + to * w->d, w->d), length = behind;
    out->n_pairs++;
    out->longer += length / chord;
    for (sg_dim at = to; w->before[at] >= 0; at = w->before[at]) {
        const sg_dim last = w->before[at];
        const double share = (behind + w->far[last]) / 2 / length; /* of the way, from `from` on */
        behind = w->far[last];
        if (last == from && at == to)
            return; /* neighbours: the way is the chord */
        for (sg_dim j = 0; j < w->d; j++) {
            w->middle[j] = (w->x[at * w->d + j] + w->x[last * w->d + j]) / 2;
            w->chord[j] = w->x[from * w->d + j] + share * (w->x[to * w->d + j] - w->x[from * w->d + j]);
        }
        out->n_points++;
        *nearer += to_rows(w->x, w->n, w->d, w->middle, at, last) < to_rows(w->x, w->n, w->d, w->chord, from, to);
    }
}

static sg_status ways(sg_ways *out, walk *w, const sg_links *links, int n_pairs, uint64_t seed, sg_error *err)
{
    sg_rng r = sg_rng_new(seed, STREAM_OF_PAIRS);
    double nearer = 0;
    for (int i = 0; i < n_pairs; i++) {
        const sg_dim from = (sg_dim)sg_rng_below(&r, (uint32_t)w->n), to = (sg_dim)sg_rng_below(&r, (uint32_t)w->n);
        if (from == to)
            continue;
        SG_TRY(sg_links_paths(w->far, w->before, links, from, err));
        if (isfinite(w->far[to]) && distance(w->x + from * w->d, w->x + to * w->d, w->d) > 0)
            compare(out, w, from, to, &nearer);
    }
    out->longer = out->n_pairs ? out->longer / (double)out->n_pairs : (double)NAN;
    out->nearer = out->n_points ? nearer / (double)out->n_points : (double)NAN;
    return SG_OK;
}

sg_status sg_ways_against_chords(sg_ways *out, const sg_tensor *x, sg_dim k, int n_pairs, uint64_t seed, sg_error *err)
{
    sg_neighbours *near;
    sg_links *links = NULL;
    *out = (sg_ways){0};
    SG_TRY(sg_neighbours_new(&near, x, NULL, k, sg_neighbours_defaults(), err));
    const sg_dim n = x->dims[0], d = x->dims[1];
    double *all = malloc((size_t)(n * d) * sizeof *all);
    walk w = {.x = all,
              .n = n,
              .d = d,
              .far = malloc((size_t)n * sizeof(double)),
              .middle = malloc((size_t)d * sizeof(double)),
              .chord = malloc((size_t)d * sizeof(double)),
              .before = malloc((size_t)n * sizeof(int32_t))};
    sg_status status = all && w.far && w.middle && w.chord && w.before
                           ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "ways: out of memory for %" PRId64 " rows", n);
    if (status == SG_OK)
        status = sg_links_of_neighbours(&links, near, err);
    if (status == SG_OK) {
        sg_convert(all, SG_F64, x->data, x->dtype, n * d);
        status = ways(out, &w, links, n_pairs, seed, err);
    }
    sg_links_free(links);
    sg_neighbours_free(near);
    free(all);
    free(w.far);
    free(w.middle);
    free(w.chord);
    free(w.before);
    return status;
}

/* Means of columns, which are taken off. */
static void centre(double *x, sg_dim n, sg_dim fit, sg_dim d, double *mean)
{
    memset(mean, 0, (size_t)d * sizeof *mean);
    for (sg_dim i = 0; i < fit * d; i++)
        mean[i % d] += x[i] / (double)fit;
    for (sg_dim i = 0; i < n * d; i++)
        x[i] -= mean[i % d];
}

sg_status sg_gaussian_like(const sg_tensor *out, const sg_tensor *x, uint64_t seed, sg_error *err)
{
    if (x->n_dims != 2 || out->n_dims != 2 || out->dtype != SG_F64 || out->dims[1] != x->dims[1] || x->dims[0] < 2)
        return sg_fail(err, SG_ESHAPE, "gaussian: wanted rows [N,D], and f64 of the same width to write to");
    const sg_dim n = x->dims[0], d = x->dims[1];
    double *all = malloc((size_t)(n * d) * sizeof *all), *mean = malloc((size_t)d * sizeof *mean),
           *noise = malloc((size_t)SG_MAX(out->dims[0] * SG_MIN(n, d), 1) * sizeof *noise);
    sg_status status =
        all && mean && noise ? SG_OK : sg_fail(err, SG_ENOMEM, "gaussian: out of memory for %" PRId64 " rows", n);
    sg_svd *svd = NULL;
    if (status == SG_OK) {
        sg_convert(all, SG_F64, x->data, x->dtype, n * d);
        centre(all, n, n, d, mean);
        const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, d}, all);
        status = sg_svd_new(&svd, &t, SG_FACTORS_THIN, err);
    }
    if (status == SG_OK) {
        const sg_dim k = svd->s.dims[0];
        sg_rng r = sg_rng_new(seed, STREAM_OF_CLOUD);
        for (sg_dim i = 0; i < out->dims[0] * k; i++)
            noise[i] = sg_rng_normal(&r) * sg_tensor_get(&svd->s, i % k) / sqrt((double)n - 1);
        const sg_tensor g = sg_tensor_of(SG_F64, 2, (sg_dim[]){out->dims[0], k}, noise);
        status = sg_product(out, &g, false, &svd->vt, false, 1, 0, err);
    }
    for (sg_dim i = 0; status == SG_OK && i < out->dims[0] * d; i++)
        ((double *)out->data)[i] += mean[i % d];
    sg_svd_free(svd);
    free(all);
    free(mean);
    free(noise);
    return status;
}

/* ---- position ---- */

sg_status sg_position_targets(const sg_tensor *targets, const int32_t *position, sg_error *err)
{
    if (targets->n_dims != 2 || targets->dtype != SG_F64)
        return sg_fail(err, SG_ESHAPE, "position: targets are wanted as f64 [N,C]");
    const sg_dim n = targets->dims[0], c = targets->dims[1];
    int32_t least = INT32_MAX, most = 0;
    for (sg_dim i = 0; i < n; i++) {
        least = SG_MIN(least, position[i]);
        most = SG_MAX(most, position[i]);
    }
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < c; j++) {
            const double share = ((double)(position[i] - least) + .5) / ((double)(most - least) + 1);
            ((double *)targets->data)[i * c + j] = sg_math_cos(3.14159265358979323846 * (double)(j + 1) * share);
        }
    return SG_OK;
}

/* R^2 of a ridge regression fitted on the first rows, on the others; below 0 counts as 0: no better than the mean. */
static sg_status probe(double *r2, const sg_tensor *x, const sg_tensor *y, sg_dim fit, sg_error *err)
{
    const sg_dim n = x->dims[0], d = x->dims[1], c = y->dims[1], rest = n - fit;
    const sg_tensor fx = sg_tensor_of(SG_F64, 2, (sg_dim[]){fit, d}, x->data),
                    fy = sg_tensor_of(SG_F64, 2, (sg_dim[]){fit, c}, y->data),
                    rx = sg_tensor_of(SG_F64, 2, (sg_dim[]){rest, d}, (double *)x->data + fit * d);
    const double *ry = (const double *)y->data + fit * c;
    double squares = 0;
    for (sg_dim i = 0; i < fit * d; i++)
        squares += ((double *)x->data)[i] * ((double *)x->data)[i];
    sg_ridge *ridge;
    SG_TRY(sg_ridge_new(&ridge, &fx, &fy, (double[]){1e-3 * squares / (double)d + 1e-12}, 1, sg_ridge_defaults(), err));
    double *got = malloc((size_t)(rest * c) * sizeof *got);
    sg_status status = got ? SG_OK : sg_fail(err, SG_ENOMEM, "position: out of memory");
    const sg_tensor w = sg_tensor_of(SG_F64, 2, (sg_dim[]){d, c}, ridge->weights.data),
                    out = sg_tensor_of(SG_F64, 2, (sg_dim[]){rest, c}, got);
    if (status == SG_OK)
        status = sg_product(&out, &rx, false, &w, false, 1, 0, err);
    double error = 0, whole = 0;
    for (sg_dim j = 0; status == SG_OK && j < c; j++) {
        double mean = 0;
        for (sg_dim i = 0; i < rest; i++)
            mean += ry[i * c + j] / (double)rest;
        for (sg_dim i = 0; i < rest; i++) {
            const double e = got[i * c + j] + sg_tensor_get(&ridge->bias, j) - ry[i * c + j];
            error += e * e;
            whole += (ry[i * c + j] - mean) * (ry[i * c + j] - mean);
        }
    }
    *r2 = whole > 0 ? fmax(1 - error / whole, 0) : 0;
    free(got);
    sg_ridge_free(ridge);
    return status;
}

/* x - (x V) V' for the rows of vt that count. */
static sg_status project_out(const sg_tensor *x, const sg_svd *svd, sg_dim rank, sg_error *err)
{
    const sg_dim n = x->dims[0], d = x->dims[1];
    double *along = malloc((size_t)SG_MAX(n * rank, 1) * sizeof *along);
    if (!along)
        return sg_fail(err, SG_ENOMEM, "position: out of memory for %" PRId64 " rows", n);
    const sg_tensor v = sg_tensor_of(SG_F64, 2, (sg_dim[]){rank, d}, svd->vt.data),
                    a = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, rank}, along);
    sg_status status = sg_product(&a, x, false, &v, true, 1, 0, err);
    if (status == SG_OK)
        status = sg_product(x, &a, false, &v, false, -1, 1, err);
    free(along);
    return status;
}

static sg_status remove_from(sg_position *out, const sg_tensor *x, const sg_tensor *y, sg_dim fit, double *covariance,
                             double *mean, sg_error *err)
{
    const sg_dim n = x->dims[0], d = x->dims[1], c = y->dims[1];
    centre(x->data, n, fit, d, mean);
    centre(y->data, n, fit, c, mean);
    SG_TRY(probe(&out->before, x, y, fit, err));
    const sg_tensor fx = sg_tensor_of(SG_F64, 2, (sg_dim[]){fit, d}, x->data),
                    fy = sg_tensor_of(SG_F64, 2, (sg_dim[]){fit, c}, y->data),
                    yx = sg_tensor_of(SG_F64, 2, (sg_dim[]){c, d}, covariance);
    SG_TRY(sg_product(&yx, &fy, true, &fx, false, 1 / (double)fit, 0, err));
    sg_svd *svd;
    SG_TRY(sg_svd_new(&svd, &yx, SG_FACTORS_THIN, err));
    out->removed = sg_svd_rank(svd, 1e-10);
    const sg_status status = project_out(x, svd, out->removed, err);
    sg_svd_free(svd);
    SG_TRY(status);
    return probe(&out->after, x, y, fit, err);
}

sg_status sg_position_remove(sg_position *out, const sg_tensor *x, const sg_tensor *targets, sg_dim n_fit,
                             sg_error *err)
{
    *out = (sg_position){0};
    if (x->n_dims != 2 || targets->n_dims != 2 || x->dtype != SG_F64 || targets->dtype != SG_F64 ||
        x->dims[0] != targets->dims[0] || x->dims[1] < 1 || targets->dims[1] < 1)
        return sg_fail(err, SG_ESHAPE, "position: wanted rows [N,D] and targets [N,C], f64");
    if (n_fit < 2 || n_fit > x->dims[0] - 2)
        return sg_fail(err, SG_EARG, "position: %" PRId64 " rows to fit of %" PRId64, n_fit, x->dims[0]);
    const sg_dim d = x->dims[1], c = targets->dims[1];
    double *y = malloc((size_t)(targets->dims[0] * c) * sizeof *y),
           *covariance = malloc((size_t)(c * d) * sizeof *covariance),
           *mean = malloc((size_t)SG_MAX(c, d) * sizeof *mean);
    sg_status status = y && covariance && mean ? SG_OK : sg_fail(err, SG_ENOMEM, "position: out of memory");
    if (status == SG_OK) {
        memcpy(y, targets->data, (size_t)(targets->dims[0] * c) * sizeof *y);
        const sg_tensor t = sg_tensor_of(SG_F64, 2, targets->dims, y);
        status = remove_from(out, x, &t, n_fit, covariance, mean, err);
    }
    free(y);
    free(covariance);
    free(mean);
    return status;
}
