/* Layouts by their first two components, and what comes before and after the other kinds; see layout.h. */
#include "sightglass/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/layout_internal.h"
#include "sightglass/linalg.h"

static const char *const names[SG_N_LAYOUTS] = {"pca", "tsne", "umap"};

const char *sg_layout_name(sg_layout_kind kind)
{
    return names[kind];
}

sg_layout_opts sg_layout_defaults(void)
{
    return (sg_layout_opts){.kind = SG_LAYOUT_TSNE,
                            .metric = SG_METRIC_EUCLIDEAN,
                            .perplexity = 30,
                            .theta = .5,
                            .early = 12,
                            .n_neighbours = 15,
                            .min_dist = .1,
                            .spread = 1,
                            .n_negative = 5,
                            .n_threads = 1};
}

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "layout: out of memory");
}

sg_status layout_tell(const sg_layout_opts *opts, int step, int n_steps, sg_error *err)
{
    if (opts->cancel && *opts->cancel)
        return sg_fail(err, SG_ECANCELLED, "layout: stopped as asked, after %d of %d steps", step, n_steps);
    if (opts->progress && step % 10 == 0)
        opts->progress(opts->context, (double)step / (double)n_steps);
    return SG_OK;
}

/* ---- principal components ---- */

/* Rows in double, less their mean. */
static sg_status centred(double **out, const sg_tensor *x, sg_error *err)
{
    const sg_dim n = x->dims[0], d = x->dims[1];
    double *rows = *out = malloc(sizeof *rows * (size_t)(n * d)), *mean = calloc((size_t)d, sizeof *mean);
    if (!rows || !mean) {
        free(mean);
        return no_memory(err);
    }
    sg_convert(rows, SG_F64, x->data, x->dtype, n * d);
    for (sg_dim i = 0; i < n * d; i++)
        mean[i % d] += rows[i] / (double)n;
    for (sg_dim i = 0; i < n * d; i++)
        rows[i] -= mean[i % d];
    free(mean);
    for (sg_dim i = 0; i < n * d; i++)
        if (!isfinite(rows[i]))
            return sg_fail(err, SG_ENUMERIC, "layout: x[%lld,%lld] is not finite", (long long)(i / d),
                           (long long)(i % d));
    return SG_OK;
}

/* Of the smaller product: rows times the eigenvectors of X'X, or those of XX' by the roots of their values. */
static sg_status components(double *y, const double *rows, sg_dim n, sg_dim d, sg_error *err)
{
    const bool wide = d > n;
    const sg_dim m = wide ? n : d;
    double *cells = malloc(sizeof *cells * (size_t)(m * m));
    sg_eigen *eigen = NULL;
    if (!cells)
        return no_memory(err);
    const sg_tensor gram = sg_tensor_of(SG_F64, 2, (sg_dim[]){m, m}, cells);
    double *copy = malloc(sizeof *copy * (size_t)(n * d));
    sg_status status = copy ? SG_OK : no_memory(err);
    if (status == SG_OK) {
        memcpy(copy, rows, sizeof *copy * (size_t)(n * d));
        const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, d}, copy);
        status = sg_product(&gram, &t, !wide, &t, wide, 1, 0, err);
    }
    free(copy);
    if (status == SG_OK)
        status = sg_eigen_new(&eigen, &gram, err);
    for (int k = 0; status == SG_OK && k < 2; k++) {
        const bool there = k < m;
        const double *v = (const double *)eigen->vectors.data + SG_MAX(m - 1 - k, 0) * m;
        const double size = there ? sqrt(fmax(((const double *)eigen->values.data)[m - 1 - k], 0)) : 0;
        for (sg_dim i = 0; i < n; i++) {
            double sum = 0;
            for (sg_dim c = 0; there && !wide && c < d; c++)
                sum += rows[i * d + c] * v[c];
            y[2 * i + k] = !there ? 0 : wide ? v[i] * size : sum;
        }
    }
    sg_eigen_free(eigen);
    free(cells);
    return status;
}

/* ---- weights ---- */

void layout_weights_free(layout_weights *w)
{
    free(w->first);
    free(w->to);
    free(w->weight);
}

/* Every p(j|i) goes into the row of i and into that of j; the two of a pair then meet. */
sg_status layout_unite(layout_weights *out, const sg_neighbours *near, const double *p, bool fuzzy, sg_error *err)
{
    const sg_dim n = near->n, k = near->k;
    sg_dim *fill = calloc((size_t)n + 1, sizeof *fill);
    *out = (layout_weights){.n = n,
                            .first = calloc((size_t)n + 1, sizeof *out->first),
                            .to = malloc(sizeof *out->to * (size_t)(2 * n * k)),
                            .weight = malloc(sizeof *out->weight * (size_t)(2 * n * k))};
    double *row = calloc((size_t)n, sizeof *row), *other = calloc((size_t)n, sizeof *other);
    int32_t *from = malloc(sizeof *from * (size_t)(n * k));
    double *back = malloc(sizeof *back * (size_t)(n * k));
    const bool good = fill && out->first && out->to && out->weight && row && other && from && back;
    if (good) {
        for (sg_dim i = 0; i < n * k; i++)
            fill[near->index[i] + 1]++;
        for (sg_dim i = 0; i < n; i++)
            fill[i + 1] += fill[i];
        sg_dim *at = out->first; /* borrowed for the while */
        memcpy(at, fill, (size_t)(n + 1) * sizeof *at);
        for (sg_dim i = 0; i < n; i++)
            for (sg_dim j = 0; j < k; j++) {
                const sg_dim place = at[near->index[i * k + j]]++;
                from[place] = (int32_t)i;
                back[place] = p[i * k + j];
            }
        sg_dim kept = 0;
        for (sg_dim i = 0; i < n; i++) {
            const sg_dim begins = kept;
            for (sg_dim j = 0; j < k; j++)
                row[near->index[i * k + j]] = p[i * k + j];
            for (sg_dim l = fill[i]; l < fill[i + 1]; l++)
                other[from[l]] = back[l];
            for (sg_dim j = 0; j < k; j++) {
                const int32_t to = near->index[i * k + j];
                const double a = row[to], b = other[to];
                out->to[kept] = to;
                out->weight[kept++] = fuzzy ? a + b - a * b : a + b;
                row[to] = 0;
                other[to] = -1; /* done */
            }
            for (sg_dim l = fill[i]; l < fill[i + 1]; l++) {
                if (other[from[l]] >= 0) {
                    out->to[kept] = from[l];
                    out->weight[kept++] = back[l];
                }
                other[from[l]] = 0;
            }
            for (sg_dim j = 0; j < k; j++)
                other[near->index[i * k + j]] = 0;
            out->first[i] = begins;
        }
        out->first[n] = kept;
    }
    free(fill);
    free(row);
    free(other);
    free(from);
    free(back);
    return good ? SG_OK : no_memory(err);
}

/* ---- all of it ---- */

static sg_status check(const sg_tensor *xy, const sg_tensor *x, const sg_layout_opts *o, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->n_dims != 2 || x->dims[1] < 1 || !sg_dtype_is_float(x->dtype))
        return sg_fail(err, SG_ESHAPE, "layout: x is %s %s; points are [N,D] of floats", sg_dtype_name(x->dtype),
                       sg_shape_text(shape, x->n_dims, x->dims));
    if (x->dims[0] < 4)
        return sg_fail(err, SG_EARG, "layout: %lld points; a layout takes 4", (long long)x->dims[0]);
    if (xy->dtype != SG_F32 || xy->n_dims != 2 || xy->dims[0] != x->dims[0] || xy->dims[1] != 2)
        return sg_fail(err, SG_ESHAPE, "layout: %lld points in a plane do not go into %s %s", (long long)x->dims[0],
                       sg_dtype_name(xy->dtype), sg_shape_text(shape, xy->n_dims, xy->dims));
    if (o->kind < 0 || o->kind >= SG_N_LAYOUTS || o->n_steps < 0 || !(o->perplexity >= 1) || !(o->theta >= 0) ||
        !(o->early >= 1) || !(o->rate >= 0) || o->n_neighbours < 2 || !(o->min_dist >= 0) || !(o->spread > 0) ||
        o->min_dist > 10 * o->spread || o->n_negative < 0)
        return sg_fail(
            err, SG_EARG,
            "layout: perplexity %g, theta %g, early %g, rate %g, %d neighbours, min_dist %g, spread %g: out of range",
            o->perplexity, o->theta, o->early, o->rate, o->n_neighbours, o->min_dist, o->spread);
    return SG_OK;
}

static sg_status by_neighbours(double *y, const sg_tensor *x, const sg_layout_opts *opts, sg_error *err)
{
    sg_neighbours *near;
    const sg_dim n = x->dims[0];
    const bool tsne = opts->kind == SG_LAYOUT_TSNE;
    /* Three times the perplexity hold nearly all of a Gaussian's weight (van der Maaten 2014). */
    const sg_dim k = SG_MAX(1, SG_MIN(n - 1, tsne ? (sg_dim)(3 * opts->perplexity) : opts->n_neighbours));
    SG_TRY(
        sg_neighbours_new(&near, x, NULL, k, (sg_neighbours_opts){opts->metric, opts->n_threads, opts->cancel}, err));
    const sg_status status = (tsne ? layout_tsne : layout_umap)(y, near, opts, err);
    sg_neighbours_free(near);
    return status;
}

sg_status sg_layout_make(const sg_tensor *xy, const sg_tensor *x, sg_layout_opts opts, sg_error *err)
{
    SG_TRY(check(xy, x, &opts, err));
    const sg_dim n = x->dims[0];
    double *rows = NULL, *y = malloc(sizeof *y * 2 * (size_t)n);
    sg_status status = y ? centred(&rows, x, err) : no_memory(err);
    if (status == SG_OK)
        status = components(y, rows, n, x->dims[1], err);
    free(rows);
    if (status == SG_OK && opts.kind != SG_LAYOUT_PCA)
        status = by_neighbours(y, x, &opts, err);
    for (sg_dim i = 0; status == SG_OK && i < 2 * n; i++) {
        if (!isfinite(y[i]))
            status = sg_fail(err, SG_ENUMERIC, "layout: point %lld went out of all bounds", (long long)(i / 2));
        ((float *)xy->data)[i] = (float)y[i];
    }
    free(y);
    return status;
}
