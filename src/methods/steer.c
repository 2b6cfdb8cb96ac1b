/* Directions: see steer.h. All sums are double; a direction is rounded to f32 once. */
#include "sightglass/steer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/linalg.h"
#include "sightglass/probe.h"
#include "sightglass/rng.h"

const char *sg_steer_kind_name(sg_steer_kind kind)
{
    static const char *const names[SG_N_STEER_KINDS] = {"mean", "probe", "pca", "pca-centred", "random"};
    return kind >= 0 && kind < SG_N_STEER_KINDS ? names[kind] : "?";
}

/* ---- activations ---- */

/* A harvest has a row for each token that another one follows, so every text gets one more, whose row is not asked for.
 * A model that looks back only does not see it. */
sg_status sg_steer_acts(sg_store **out, const sg_model *m, const sg_steer_data *d, int n_sites,
                        const char *const *sites, sg_harvest_opts opts, sg_error *err)
{
    sg_dim time = 2;
    *out = NULL;
    if (d->n < 1)
        return sg_fail(err, SG_EARG, "steer: no texts");
    for (int i = 0; i < d->n; i++)
        time = SG_MAX(time, d->texts[i].n + 1);
    int32_t *tokens = calloc((size_t)(d->n * time), sizeof *tokens);
    uint8_t *counts = calloc((size_t)(d->n * time), 1);
    sg_status status = tokens && counts ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory for %d texts", d->n);
    for (int i = 0; status == SG_OK && i < d->n; i++) {
        const sg_dim n = d->texts[i].n;
        memcpy(tokens + i * time, d->texts[i].tokens, (size_t)n * sizeof *tokens);
        counts[i * time + n - 1] = counts[i * time + n] = 1;
    }
    const sg_tensor t = sg_tensor_of(SG_I32, 2, (sg_dim[]){d->n, time}, tokens),
                    c = sg_tensor_of(SG_BOOL, 2, (sg_dim[]){d->n, time}, counts);
    opts.positions = (sg_span){0, INT64_MAX};
    if (status == SG_OK)
        status = sg_harvest(out, m, n_sites, sites, &t, &c, opts, err);
    free(tokens);
    free(counts);
    return status;
}

/* ---- directions ---- */

static sg_status unit(float *out, const double *v, sg_dim n, sg_error *err)
{
    double square = 0;
    for (sg_dim k = 0; k < n; k++)
        square += v[k] * v[k];
    if (!(square > 0) || !isfinite(square))
        return sg_fail(err, SG_ENUMERIC,
                       "steer: texts of both kinds have the same activations, so there is no direction");
    for (sg_dim k = 0; k < n; k++)
        out[k] = (float)(v[k] / sqrt(square));
    return SG_OK;
}

static sg_status mean_direction(float *out, const float *x, sg_dim width, const sg_steer_data *d, double *v,
                                sg_error *err)
{
    double count[2] = {0};
    for (int i = 0; i < d->n; i++)
        count[d->texts[i].positive]++;
    memset(v, 0, (size_t)width * sizeof *v);
    for (int i = 0; i < d->n; i++)
        for (sg_dim k = 0; k < width; k++)
            v[k] += (double)x[i * width + k] * (d->texts[i].positive ? 1 / count[1] : -1 / count[0]);
    return unit(out, v, width, err);
}

/* About the activations' mean and in units of their deviation, so that steps of one length fit. */
static sg_status probe_direction(float *out, const float *x, sg_dim width, const sg_steer_data *d, uint64_t seed,
                                 sg_error *err)
{
    const size_t n = (size_t)(d->n * width);
    float *scaled = malloc(n * sizeof *scaled);
    int32_t *labels = malloc((size_t)d->n * sizeof *labels);
    sg_probe *p = NULL;
    double square = 0;
    sg_status status = scaled && labels ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory for a probe");
    for (sg_dim k = 0; status == SG_OK && k < width; k++) {
        double mean = 0;
        for (int i = 0; i < d->n; i++)
            mean += (double)x[i * width + k] / d->n;
        for (int i = 0; i < d->n; i++) {
            const double c = (double)x[i * width + k] - mean;
            scaled[i * width + k] = (float)c;
            square += c * c / (double)n;
        }
    }
    for (size_t i = 0; status == SG_OK && i < n; i++)
        scaled[i] = (float)((double)scaled[i] / sqrt(square > 0 ? square : 1));
    for (int i = 0; status == SG_OK && i < d->n; i++)
        labels[i] = d->texts[i].positive;
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){d->n, width}, scaled),
                    to = sg_tensor_of(SG_I32, 2, (sg_dim[]){d->n, 1}, labels);
    sg_probe_opts opts = sg_probe_defaults();
    opts.kind = SG_PROBE_SOFTMAX;
    opts.n_epochs = 200;
    opts.batch = d->n;
    opts.lr = .05;
    opts.n_held = 0;
    opts.seed = seed;
    opts.exec.n_threads = 1;
    if (status == SG_OK)
        status = sg_probe_fit(&p, &acts, &to, opts, err);
    if (status == SG_OK)
        status = sg_probe_direction(p, 0, 1, 0, out, err);
    sg_probe_free(p);
    free(scaled);
    free(labels);
    return status;
}

/* pairs [2 n]: rows of the k-th positive and the k-th negative text of a group. */
static int pairs_of(int *pairs, const sg_steer_data *d)
{
    int n = 0;
    for (int i = 0; i < d->n;) {
        int end = i, negative = i;
        while (end < d->n && d->texts[end].group == d->texts[i].group)
            end++;
        for (int k = i; k < end; k++) {
            if (!d->texts[k].positive)
                continue;
            while (negative < end && d->texts[negative].positive)
                negative++;
            if (negative == end)
                break;
            pairs[2 * n] = k;
            pairs[2 * n++ + 1] = negative++;
        }
        i = end;
    }
    return n;
}

static sg_status pca_direction(float *out, const float *x, sg_dim width, const sg_steer_data *d, bool centred,
                               sg_error *err)
{
    int *pairs = malloc(2 * (size_t)d->n * sizeof *pairs);
    if (!pairs)
        return sg_fail(err, SG_ENOMEM, "steer: out of memory for pairs");
    const int n = pairs_of(pairs, d);
    double *diff = calloc((size_t)(SG_MAX(n, 1) * width), sizeof *diff);
    sg_svd *svd = NULL;
    sg_status status = SG_OK;
    if (!diff)
        status = sg_fail(err, SG_ENOMEM, "steer: out of memory for %d pairs", n);
    else if (n < 1)
        status = sg_fail(err, SG_EARG, "steer: no group has a positive and a negative text, and pca is of pairs");
    for (int p = 0; status == SG_OK && p < n; p++)
        for (sg_dim k = 0; k < width; k++)
            diff[p * width + k] = (double)x[pairs[2 * p] * width + k] - (double)x[pairs[2 * p + 1] * width + k];
    for (sg_dim k = 0; status == SG_OK && centred && k < width; k++) {
        double mean = 0;
        for (int p = 0; p < n; p++)
            mean += diff[p * width + k] / n;
        for (int p = 0; p < n; p++)
            diff[p * width + k] -= mean;
    }
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, width}, diff);
    if (status == SG_OK)
        status = sg_svd_new(&svd, &t, SG_FACTORS_THIN, err);
    if (status == SG_OK)
        status = unit(out, svd->vt.data, width, err);
    sg_svd_free(svd);
    /* Towards where most pairs have their positive text. */
    int above = 0, below = 0;
    for (int p = 0; status == SG_OK && p < n; p++) {
        double along = 0;
        for (sg_dim k = 0; k < width; k++)
            along += (double)out[k] * ((double)x[pairs[2 * p] * width + k] - (double)x[pairs[2 * p + 1] * width + k]);
        above += along > 0;
        below += along < 0;
    }
    for (sg_dim k = 0; status == SG_OK && below > above && k < width; k++)
        out[k] = -out[k];
    free(diff);
    free(pairs);
    return status;
}

static double deviation(const float *x, sg_dim n, sg_dim width, const float *direction)
{
    double sum = 0, square = 0;
    for (int pass = 0; pass < 2; pass++)
        for (sg_dim i = 0; i < n; i++) {
            double along = 0;
            for (sg_dim k = 0; k < width; k++)
                along += (double)x[i * width + k] * (double)direction[k];
            if (pass == 0)
                sum += along / (double)n;
            else
                square += (along - sum) * (along - sum) / (double)n;
        }
    return sqrt(square);
}

sg_status sg_steer_direction(float *out, double *sigma, sg_steer_kind kind, const sg_tensor *acts,
                             const sg_steer_data *d, uint64_t seed, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    int n_positive = 0;
    if (acts->dtype != SG_F32 || acts->n_dims != 2 || acts->dims[0] != d->n)
        return sg_fail(err, SG_ESHAPE, "steer: activations are %s %s, wanted f32 [%d,D]: a row for each text",
                       sg_dtype_name(acts->dtype), sg_shape_text(shape, acts->n_dims, acts->dims), d->n);
    for (int i = 0; i < d->n; i++)
        n_positive += d->texts[i].positive;
    if (n_positive == 0 || n_positive == d->n)
        return sg_fail(err, SG_EARG, "steer: of %d texts %d are positive, wanted some of both kinds", d->n, n_positive);
    const sg_dim width = acts->dims[1];
    double *v = malloc((size_t)width * sizeof *v);
    if (!v)
        return sg_fail(err, SG_ENOMEM, "steer: out of memory");
    sg_status status = SG_OK;
    sg_rng r = sg_rng_new(seed, 0);
    switch (kind) {
    case SG_STEER_MEAN:
        status = mean_direction(out, acts->data, width, d, v, err);
        break;
    case SG_STEER_PROBE:
        status = probe_direction(out, acts->data, width, d, seed, err);
        break;
    case SG_STEER_PCA:
    case SG_STEER_PCA_CENTRED:
        status = pca_direction(out, acts->data, width, d, kind == SG_STEER_PCA_CENTRED, err);
        break;
    default:
        for (sg_dim k = 0; k < width; k++)
            v[k] = sg_rng_normal(&r);
        status = unit(out, v, width, err);
    }
    free(v);
    if (status == SG_OK && sigma)
        *sigma = deviation(acts->data, d->n, width, out);
    return status;
}

/* ---- edits ---- */

sg_status sg_steer_add(sg_edit_list *list, const char *site, const sg_tensor *value, double strength,
                       sg_steer_where where, sg_error *err)
{
    /* The prompt's last token, in the step that reads the prompt; then every step that writes. */
    static const sg_span last = {-1, -1}, written = {1, INT64_C(1) << 52};
    sg_edit e = sg_edit_defaults();
    e.site = site;
    e.op = SG_EDIT_ADD;
    e.value = *value;
    e.strength = strength;
    if (where == SG_STEER_ALL)
        return sg_edit_list_add(list, &e, err);
    e.positions = (sg_spans){1, &last};
    SG_TRY(sg_edit_list_add(list, &e, err));
    e.positions = (sg_spans){0};
    e.steps = (sg_spans){1, &written};
    return sg_edit_list_add(list, &e, err);
}
