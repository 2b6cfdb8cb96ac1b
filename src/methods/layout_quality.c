/* Trustworthiness and continuity of layouts (Venna & Kaski 2001), from all ranks:
 *
 *     T(k) = 1 - 2 / (n k (2n - 3k - 1)) sum_i sum_{j in U_k(i)} (r(i,j) - k)
 *
 * U_k(i): those among the k nearest of i in the picture that are not among the k nearest in the data, r their rank
 * there. For continuity picture and data change places. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/layout_internal.h"

sg_layout_judge_opts sg_layout_judge_defaults(void)
{
    return (sg_layout_judge_opts){.metric = SG_METRIC_EUCLIDEAN, .k = 15, .n_threads = 1};
}

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "layout: out of memory");
}

/* Points component by component, so that distances from one to all run in SIMD. */
typedef struct columns {
    double *x; /* [d,n] */
    sg_dim n, d;
} columns;

static sg_status columns_of(columns *c, const sg_tensor *x, sg_metric metric, sg_error *err)
{
    *c = (columns){malloc(sizeof(double) * (size_t)sg_tensor_count(x)), x->dims[0], x->dims[1]};
    double *row = malloc(sizeof *row * (size_t)c->d);
    for (sg_dim i = 0; c->x && row && i < c->n; i++) {
        double sum = 0;
        sg_convert(row, SG_F64, (const char *)x->data + (size_t)(i * c->d) * sg_dtype_bytes(x->dtype), x->dtype, c->d);
        for (sg_dim k = 0; k < c->d; k++)
            sum += row[k] * row[k];
        const double length = metric == SG_METRIC_COSINE && sum > 0 ? sqrt(sum) : 1;
        for (sg_dim k = 0; k < c->d; k++)
            c->x[k * c->n + i] = row[k] / length;
    }
    const bool good = c->x && row;
    free(row);
    return good ? SG_OK : no_memory(err);
}

/* Squared distances; of unit vectors they rise with the cosine's. */
static void distances(double *restrict far, const columns *c, sg_dim i)
{
    memset(far, 0, (size_t)c->n * sizeof *far);
    for (sg_dim k = 0; k < c->d; k++) {
        const double *restrict x = c->x + k * c->n;
        const double own = x[i];
        for (sg_dim j = 0; j < c->n; j++)
            far[j] += (x[j] - own) * (x[j] - own);
    }
}

/* 1 for the nearest; equal distances go by index, the point itself is left out. */
static sg_dim rank_of(const double *far, sg_dim n, sg_dim i, sg_dim j)
{
    sg_dim before = 0;
    const double own = far[j];
    for (sg_dim l = 0; l < n; l++)
        before += far[l] < own || (far[l] == own && l < j);
    return before + 1 - (far[i] < own || (far[i] == own && i < j));
}

/* What the other's k nearest of point i lose in rank here; *kept: how many are among the k nearest here too. */
static double lost(const double *far, const sg_neighbours *other, sg_dim n, sg_dim i, sg_dim *kept)
{
    double sum = 0;
    for (sg_dim l = 0; l < other->k; l++) {
        const sg_dim rank = rank_of(far, n, i, other->index[i * other->k + l]);
        if (rank > other->k)
            sum += (double)(rank - other->k);
        else if (kept)
            ++*kept;
    }
    return sum;
}

typedef struct judged {
    columns data, picture;
    sg_neighbours *near_data, *near_picture;
    double *lost; /* [n,2] */
    sg_dim *kept; /* [n] */
} judged;

static sg_status count(judged *j, sg_layout_judge_opts opts, sg_error *err)
{
    const sg_dim n = j->data.n;
    volatile sig_atomic_t stopped = 0, failed = 0;
    const int n_threads = SG_MAX(opts.n_threads, 1);
#pragma omp parallel num_threads(n_threads)
    {
        double *far = malloc(sizeof *far * (size_t)n);
        if (!far)
            failed = 1;
#pragma omp for schedule(dynamic, 16)
        for (sg_dim i = 0; i < n; i++) {
            if (failed || stopped || (opts.cancel && *opts.cancel)) {
                stopped = 1;
                continue;
            }
            distances(far, &j->data, i);
            j->kept[i] = 0;
            j->lost[2 * i] = lost(far, j->near_picture, n, i, &j->kept[i]);
            distances(far, &j->picture, i);
            j->lost[2 * i + 1] = lost(far, j->near_data, n, i, NULL);
        }
        free(far);
    }
    (void)n_threads;
    return failed ? no_memory(err) : stopped ? sg_fail(err, SG_ECANCELLED, "layout: stopped as asked") : SG_OK;
}

sg_status sg_layout_judge(sg_layout_quality *out, const sg_tensor *x, const sg_tensor *xy, sg_layout_judge_opts opts,
                          sg_error *err)
{
    *out = (sg_layout_quality){(double)NAN, (double)NAN, (double)NAN, 0};
    if (x->n_dims != 2 || xy->n_dims != 2 || x->dims[0] != xy->dims[0])
        return sg_fail(err, SG_ESHAPE, "layout: points and their picture have different numbers of rows");
    const sg_dim n = x->dims[0], k = opts.k;
    if (k < 1 || k >= n || 2 * n - 3 * k - 1 <= 0)
        return sg_fail(err, SG_EARG, "layout: %lld neighbours of %lld points cannot be judged", (long long)k,
                       (long long)n);
    judged j = {.lost = malloc(sizeof *j.lost * 2 * (size_t)n), .kept = malloc(sizeof *j.kept * (size_t)n)};
    sg_neighbours_opts how = {opts.metric, opts.n_threads, opts.cancel};
    sg_status status = j.lost && j.kept ? SG_OK : no_memory(err);
    if (status == SG_OK)
        status = sg_neighbours_new(&j.near_data, x, NULL, k, how, err);
    how.metric = SG_METRIC_EUCLIDEAN;
    if (status == SG_OK)
        status = sg_neighbours_new(&j.near_picture, xy, NULL, k, how, err);
    if (status == SG_OK)
        status = columns_of(&j.data, x, opts.metric, err);
    if (status == SG_OK)
        status = columns_of(&j.picture, xy, SG_METRIC_EUCLIDEAN, err);
    if (status == SG_OK)
        status = count(&j, opts, err);
    if (status == SG_OK) {
        const double scale = 2 / ((double)n * (double)k * (double)(2 * n - 3 * k - 1));
        double sum[2] = {0, 0}, kept = 0;
        for (sg_dim i = 0; i < n; i++) {
            sum[0] += j.lost[2 * i];
            sum[1] += j.lost[2 * i + 1];
            kept += (double)j.kept[i];
        }
        *out = (sg_layout_quality){1 - scale * sum[0], 1 - scale * sum[1], kept / ((double)n * (double)k), n};
    }
    sg_neighbours_free(j.near_data);
    sg_neighbours_free(j.near_picture);
    free(j.data.x);
    free(j.picture.x);
    free(j.lost);
    free(j.kept);
    return status;
}
