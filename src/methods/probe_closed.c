/* Probes that are computed, not trained: ridge by linalg, class means by products with one-hot labels. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "methods/probe_internal.h"
#include "sightglass/linalg.h"
#include "sightglass/ops.h"

#define ROWS 4096 /* whose products are formed at once */

/* ---- ridge ---- */

/* Tasks that lack a label on the same rows share one fit. */
static bool same_rows(const sg_tensor *labels, sg_dim a, sg_dim b)
{
    const int32_t *label = labels->data;
    const sg_dim tasks = labels->dims[1];
    for (sg_dim r = 0; r < labels->dims[0]; r++)
        if ((label[r * tasks + a] < 0) != (label[r * tasks + b] < 0))
            return false;
    return true;
}

/* The rows of acts that have labels of these tasks, and their one-hot labels. */
static void gather(float *x, float *y, const sg_tensor *acts, const sg_tensor *labels, const sg_dim *task, sg_dim n,
                   int classes)
{
    const sg_dim width = acts->dims[1], tasks = labels->dims[1];
    for (sg_dim r = 0; r < acts->dims[0]; r++) {
        const int32_t *label = (const int32_t *)labels->data + r * tasks;
        if (label[task[0]] < 0)
            continue;
        if (x) {
            memcpy(x, (const float *)acts->data + r * width, (size_t)width * sizeof *x);
            x += width;
        }
        for (sg_dim i = 0; i < n; i++, y += classes)
            y[label[task[i]]] = 1;
    }
}

/* The mean over features of their variance over rows. */
static double mean_variance(const sg_tensor *x, double *sum)
{
    const sg_dim n = x->dims[0], width = x->dims[1];
    const float *at = x->data;
    double squares = 0;
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (sg_dim r = 0; r < n; r++)
        for (sg_dim d = 0; d < width; d++) {
            sum[d] += (double)at[r * width + d];
            squares += (double)at[r * width + d] * (double)at[r * width + d];
        }
    for (sg_dim d = 0; d < width; d++)
        squares -= sum[d] * sum[d] / (double)n;
    return SG_MAX(squares, 0) / (double)SG_MAX(n * width, 1);
}

static sg_status fit_group(sg_probe *p, const sg_tensor *acts, const sg_tensor *labels, const sg_probe_opts *opts,
                           const sg_dim *task, sg_dim n, sg_error *err)
{
    const sg_dim width = acts->dims[1], tasks = labels->dims[1], outputs = n * p->classes;
    sg_dim rows = 0;
    for (sg_dim r = 0; r < acts->dims[0]; r++)
        rows += ((const int32_t *)labels->data)[r * tasks + task[0]] >= 0;
    if (rows == 0)
        return SG_OK; /* a task without any label keeps its zeros */
    const bool all = rows == acts->dims[0];
    float *x = all ? NULL : malloc((size_t)(rows * width) * sizeof *x);
    float *y = calloc((size_t)(rows * outputs), sizeof *y);
    double *sum = malloc((size_t)SG_MAX(width, 1) * sizeof *sum);
    sg_ridge *ridge = NULL;
    sg_status status =
        (all || x) && y && sum ? SG_OK : sg_fail(err, SG_ENOMEM, "probe: out of memory for %" PRId64 " rows", rows);
    if (status == SG_OK) {
        gather(x, y, acts, labels, task, n, p->classes);
        const sg_tensor in = sg_tensor_of(SG_F32, 2, (sg_dim[]){rows, width}, all ? acts->data : x);
        const sg_tensor out = sg_tensor_of(SG_F32, 2, (sg_dim[]){rows, outputs}, y);
        const double lambda = opts->lambda * (double)rows * mean_variance(&in, sum);
        status = sg_ridge_new(&ridge, &in, &out, &lambda, 1, sg_ridge_defaults(), err);
    }
    for (sg_dim i = 0; i < n && status == SG_OK; i++) {
        const size_t bytes = (size_t)p->classes * sizeof(float);
        const float *w = ridge->weights.data, *b = ridge->bias.data;
        for (sg_dim d = 0; d < width; d++)
            memcpy((float *)p->w.data + (d * tasks + task[i]) * p->classes, w + d * outputs + i * p->classes, bytes);
        memcpy((float *)p->b.data + task[i] * p->classes, b + i * p->classes, bytes);
    }
    sg_ridge_free(ridge);
    free(x);
    free(y);
    free(sum);
    return status;
}

sg_status sg_probe_fit_closed(sg_probe *p, const sg_tensor *acts, const sg_tensor *labels, const sg_probe_opts *opts,
                              sg_error *err)
{
    const sg_dim tasks = p->tasks;
    sg_dim *task = malloc((size_t)SG_MAX(tasks, 1) * sizeof *task);
    bool *done = calloc((size_t)SG_MAX(tasks, 1), sizeof *done);
    sg_status status = task && done ? SG_OK : sg_fail(err, SG_ENOMEM, "probe: out of memory");
    for (sg_dim first = 0; first < tasks && status == SG_OK; first++) {
        sg_dim n = 0;
        if (done[first])
            continue;
        for (sg_dim i = first; i < tasks; i++)
            if (!done[i] && same_rows(labels, first, i)) {
                done[i] = true;
                task[n++] = i;
            }
        status = fit_group(p, acts, labels, opts, task, n, err);
        if (status == SG_OK && opts->progress)
            opts->progress(opts->context, (double)(first + 1) / (double)tasks, 0);
        if (status == SG_OK && opts->cancel && *opts->cancel)
            status = sg_fail(err, SG_ECANCELLED, "probe: stopped");
    }
    free(task);
    free(done);
    return status;
}

/* ---- class means ---- */

/* sums [S*C,D] and counts [S*C], in double, of f32 products over slices of rows. */
static sg_status class_sums(double *sums, double *counts, const sg_probe *p, const sg_tensor *acts,
                            const sg_tensor *labels, const sg_probe_opts *opts, sg_error *err)
{
    const sg_dim outputs = p->tasks * p->classes, width = p->width;
    sg_graph *g = sg_graph_new();
    sg_session *session = NULL;
    if (!g)
        return sg_fail(err, SG_ENOMEM, "probe: out of memory");
    const sg_dim batch = sg_extent(g, "batch");
    sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){batch, width});
    sg_value *label = sg_input(g, "labels", SG_I32, 2, (sg_dim[]){batch, p->tasks});
    sg_value *one_hot = sg_reshape(g, sg_one_hot(g, label, p->classes, SG_F32), 2, (sg_dim[]){batch, outputs});
    sg_value *fetches[2] = {sg_matmul(g, one_hot, x, true, false), sg_sum(g, one_hot, 0, false)};
    sg_status status = sg_graph_status(g, err);
    if (status == SG_OK)
        status = sg_session_new(&session, g, NULL, opts->exec, err);
    for (sg_dim i = 0; i < acts->dims[0] && status == SG_OK; i += ROWS) {
        const sg_dim n = SG_MIN(ROWS, acts->dims[0] - i);
        const sg_feed feeds[2] = {{x, sg_rows_of(acts, i, n)}, {label, sg_rows_of(labels, i, n)}};
        sg_tensor out[2];
        status = sg_session_run(session, 2, feeds, 2, fetches, out, err);
        for (sg_dim k = 0; k < outputs * width && status == SG_OK; k++)
            sums[k] += (double)((const float *)out[0].data)[k];
        for (sg_dim k = 0; k < outputs && status == SG_OK; k++)
            counts[k] += (double)((const float *)out[1].data)[k];
    }
    sg_session_free(session);
    sg_graph_free(g);
    return status;
}

/* w_c = m_c - m. What is read is the class whose mean is nearest: |x - m_c|^2 is, but for a part that all classes
 * share, -2 (w_c . x + b_c) with b_c = -w_c . m - |w_c|^2 / 2. A class that never occurs is never read. */
static void means_of(sg_probe *p, sg_dim task, const double *sums, const double *counts, double *mean)
{
    const int classes = p->classes;
    const sg_dim width = p->width;
    double all = 0;
    memset(mean, 0, (size_t)width * sizeof *mean);
    for (int c = 0; c < classes; c++) {
        all += counts[c];
        for (sg_dim d = 0; d < width; d++)
            mean[d] += sums[c * width + d];
    }
    for (sg_dim d = 0; d < width; d++)
        mean[d] /= SG_MAX(all, 1);
    for (int c = 0; c < classes; c++) {
        double b = 0;
        for (sg_dim d = 0; d < width && counts[c] > 0; d++) {
            const double w = sums[c * width + d] / counts[c] - mean[d];
            ((float *)p->w.data)[(d * p->tasks + task) * classes + c] = (float)w;
            b -= w * mean[d] + w * w / 2;
        }
        ((float *)p->b.data)[task * classes + c] = counts[c] > 0 ? (float)b : -1e30f;
    }
}

sg_status sg_probe_fit_means(sg_probe *p, const sg_tensor *acts, const sg_tensor *labels, const sg_probe_opts *opts,
                             sg_error *err)
{
    const sg_dim outputs = p->tasks * p->classes;
    double *sums = calloc((size_t)SG_MAX(outputs * p->width, 1), sizeof *sums);
    double *counts = calloc((size_t)SG_MAX(outputs, 1), sizeof *counts);
    double *mean = calloc((size_t)SG_MAX(p->width, 1), sizeof *mean);
    sg_status status = sums && counts && mean ? class_sums(sums, counts, p, acts, labels, opts, err)
                                              : sg_fail(err, SG_ENOMEM, "probe: out of memory");
    for (sg_dim s = 0; s < p->tasks && status == SG_OK; s++)
        means_of(p, s, sums + s * p->classes * p->width, counts + s * p->classes, mean);
    free(sums);
    free(counts);
    free(mean);
    return status;
}
