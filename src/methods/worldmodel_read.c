/* One reading: the probe that features allow, its penalty chosen on episodes of their own, marked on others again.
 *
 * Ridge is solved here for all penalties at once, since its cost is in products that they share. Features are brought
 * to a mean variance of 1 beforehand, by one factor for all: an untrained network's values may be a hundredth of a
 * trained one's, and neither a penalty nor a learning rate is to punish them for that. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/worldmodel_internal.h"
#include "sightglass/linalg.h"

static const double penalties[] = {1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1}; /* ridge */
static const double decays[] = {0, 0.01, 0.1};                       /* softmax, mlp: of AdamW */

static int32_t label(const sg_tensor *state, sg_dim i)
{
    return ((const int32_t *)state->data)[i];
}

/* ---- marks ---- */

static void mark_classes(sg_wm_marks *marks, const sg_wm *w, const sg_tensor *state, sg_dim first, sg_dim n,
                         const int32_t *read, bool judged)
{
    const sg_dim s = w->n_tasks;
    for (sg_dim i = 0; i < n * s; i++) {
        const int32_t is = label(state, first * s + i);
        const sg_dim e = judged ? w->episode[first + i / s] : 0;
        if (is < 0 || is == w->net->trivial)
            continue;
        marks->got[e] += read[i] == is;
        marks->of[e] += 1;
        marks->n_labels++;
    }
}

/* Squared errors against squares about the mean of these rows, task by task in units of the task's deviation. */
static void mark_numbers(sg_wm_marks *marks, const sg_wm *w, const sg_tensor *state, sg_dim first, sg_dim n,
                         const float *read, bool judged)
{
    const float *is = (const float *)state->data + first * w->n_tasks;
    for (sg_dim s = 0; s < w->n_tasks; s++) {
        double sum = 0;
        sg_dim there = 0;
        for (sg_dim i = s; i < n * w->n_tasks; i += w->n_tasks) {
            sum += isnan(is[i]) ? 0 : (double)is[i];
            there += !isnan(is[i]);
        }
        const double mean = there ? sum / (double)there : 0;
        for (sg_dim i = s; i < n * w->n_tasks; i += w->n_tasks) {
            if (isnan(is[i]))
                continue;
            const sg_dim e = judged ? w->episode[first + i / w->n_tasks] : 0;
            const double wrong = (double)is[i] - (double)read[i], off = (double)is[i] - mean;
            marks->got[e] += wrong * wrong;
            marks->of[e] += off * off;
            marks->n_labels++;
        }
    }
}

/* What the probe reads off rows first..first+n; judged: by episode, else all in one. */
static sg_status mark(sg_wm_marks *marks, const sg_wm *w, const sg_probe *p, const sg_tensor *x, const sg_tensor *state,
                      int part, sg_error *err)
{
    const bool judged = part == SG_WM_JUDGE, numbers = w->net->n_classes == 0;
    const sg_dim first = w->first[part], n = w->first[part + 1] - first;
    const sg_tensor rows = sg_rows_of(x, first, n);
    SG_TRY(sg_wm_marks_new(marks, judged ? w->n_judged : 1, err));
    void *read = malloc((size_t)(n * w->n_tasks) * 4 + 1); /* f32 or i32 */
    sg_status status = read ? SG_OK : sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld rows", (long long)n);
    if (status == SG_OK)
        status = numbers ? sg_probe_logits(p, &rows, read, err) : sg_probe_read(p, &rows, read, err);
    if (status == SG_OK && numbers)
        mark_numbers(marks, w, state, first, n, read, judged);
    else if (status == SG_OK)
        mark_classes(marks, w, state, first, n, read, judged);
    free(read);
    if (status != SG_OK)
        sg_wm_marks_free(marks);
    return status;
}

/* A single number from the rows that penalties are chosen on. */
static sg_status choice(double *out, const sg_wm *w, const sg_probe *p, const sg_tensor *x, const sg_tensor *state,
                        sg_error *err)
{
    sg_wm_marks marks;
    SG_TRY(mark(&marks, w, p, x, state, SG_WM_CHOOSE, err));
    const bool r2 = w->net->n_classes == 0;
    *out = marks.of[0] > 0 ? (r2 ? 1 - marks.got[0] / marks.of[0] : marks.got[0] / marks.of[0]) : -HUGE_VAL;
    sg_wm_marks_free(&marks);
    return SG_OK;
}

/* ---- fitting ---- */

sg_status sg_wm_scale(double *unit, const sg_wm *w, sg_tensor *x, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->dtype != SG_F32 || x->n_dims != 2 || x->dims[0] != w->net->n_rows)
        return sg_fail(err, SG_ESHAPE, "world model: features are %s %s, wanted f32 [%lld,D]", sg_dtype_name(x->dtype),
                       sg_shape_text(shape, x->n_dims, x->dims), (long long)w->net->n_rows);
    const sg_dim n = w->first[1], d = x->dims[1];
    float *v = x->data;
    double *sum = calloc((size_t)(2 * d) + 1, sizeof *sum), total = 0;
    if (!sum)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld features", (long long)d);
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < d; j++) {
            sum[j] += (double)v[i * d + j];
            sum[d + j] += (double)v[i * d + j] * (double)v[i * d + j];
        }
    for (sg_dim j = 0; j < d; j++)
        total += fmax(sum[d + j] / (double)n - sum[j] / (double)n * (sum[j] / (double)n), 0);
    free(sum);
    if (!isfinite(total))
        return sg_fail(err, SG_ENUMERIC, "world model: a feature is not finite");
    *unit = total > 0 ? sqrt(total / (double)d) : 1;
    for (sg_dim i = 0; i < w->net->n_rows * d; i++)
        v[i] = (float)((double)v[i] / *unit);
    return SG_OK;
}

/* y [n,S*C]: one-hot classes, or the numbers. What a row does not know is put at the mean, where it pulls nowhere. */
static float *targets(const sg_wm *w, const sg_tensor *state, sg_dim n)
{
    const sg_dim s = w->n_tasks, c = SG_MAX(w->net->n_classes, 1);
    float *y = calloc((size_t)(n * s * c) + 1, sizeof *y);
    double *share = calloc((size_t)(s * (c + 1)), sizeof *share);
    if (!y || !share) {
        free(y);
        free(share);
        return NULL;
    }
    for (sg_dim i = 0; i < n * s; i++) {
        if (w->net->n_classes == 0) {
            const float is = ((const float *)state->data)[i];
            y[i] = isnan(is) ? 0 : is;
        } else if (label(state, i) >= 0) {
            y[i * c + label(state, i)] = 1;
            share[i % s * (c + 1) + label(state, i)]++;
            share[i % s * (c + 1) + c]++;
        }
    }
    for (sg_dim i = 0; w->net->n_classes > 0 && i < n * s; i++)
        for (sg_dim k = 0; label(state, i) < 0 && k < c; k++)
            y[i * c + k] = (float)(share[i % s * (c + 1) + k] / fmax(share[i % s * (c + 1) + c], 1));
    free(share);
    return y;
}

static sg_status fit_ridge(sg_probe **best, double *lambda, const sg_wm *w, const sg_tensor *x, const sg_tensor *state,
                           sg_error *err)
{
    enum { L = SG_COUNT_OF(penalties) };
    const sg_dim n = w->first[1], d = x->dims[1], s = w->n_tasks, c = SG_MAX(w->net->n_classes, 1);
    const sg_tensor rows = sg_rows_of(x, 0, n);
    double lambdas[L], most = -HUGE_VAL;
    float *y = targets(w, state, n);
    sg_ridge *fit = NULL;
    if (!y)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld labels", (long long)(n * s));
    for (int l = 0; l < L; l++)
        lambdas[l] = penalties[l] * (double)n;
    const sg_tensor target = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, s * c}, y);
    sg_status status = sg_ridge_new(&fit, &rows, &target, lambdas, L, sg_ridge_defaults(), err);
    free(y);
    for (int l = 0; status == SG_OK && l < L; l++) {
        sg_tensor wl = sg_tensor_of(SG_F32, 3, (sg_dim[]){d, s, c}, (float *)fit->weights.data + l * d * s * c);
        sg_tensor bl = sg_tensor_of(SG_F32, 2, (sg_dim[]){s, c}, (float *)fit->bias.data + l * s * c);
        sg_probe *p = NULL;
        double right = 0;
        status = sg_probe_of(&p, &wl, &bl, err);
        if (status == SG_OK)
            status = choice(&right, w, p, x, state, err);
        if (status == SG_OK && (!*best || right > most)) {
            sg_probe_free(*best);
            *best = p;
            *lambda = penalties[l];
            most = right;
        } else {
            sg_probe_free(p);
        }
    }
    sg_ridge_free(fit);
    return status;
}

static sg_status fit_descent(sg_probe **best, double *lambda, const sg_wm *w, const sg_tensor *x,
                             const sg_tensor *state, sg_error *err)
{
    const sg_dim n = w->first[1];
    const sg_tensor rows = sg_rows_of(x, 0, n), labels = sg_rows_of(state, 0, n);
    const int n_tries = w->opts.probe.kind == SG_PROBE_MEAN ? 1 : (int)SG_COUNT_OF(decays);
    double most = -HUGE_VAL;
    sg_status status = SG_OK;
    for (int l = 0; status == SG_OK && l < n_tries; l++) {
        sg_probe_opts opts = w->opts.probe;
        sg_probe *p = NULL;
        double right = 0;
        opts.n_classes = w->net->n_classes;
        opts.weight_decay = decays[l];
        opts.exec = w->opts.exec;
        opts.cancel = w->opts.cancel;
        status = sg_probe_fit(&p, &rows, &labels, opts, err);
        if (status == SG_OK)
            status = choice(&right, w, p, x, state, err);
        if (status == SG_OK && (!*best || right > most)) {
            sg_probe_free(*best);
            *best = p;
            *lambda = decays[l];
            most = right;
        } else {
            sg_probe_free(p);
        }
    }
    return status;
}

sg_status sg_wm_read(sg_probe **probe, double *lambda, sg_wm_marks *marks, const sg_wm *w, const sg_tensor *x,
                     const sg_tensor *state, sg_error *err)
{
    *probe = NULL;
    *marks = (sg_wm_marks){0};
    sg_status status = w->opts.probe.kind == SG_PROBE_RIDGE ? fit_ridge(probe, lambda, w, x, state, err)
                                                            : fit_descent(probe, lambda, w, x, state, err);
    if (status == SG_OK)
        status = mark(marks, w, *probe, x, state, SG_WM_JUDGE, err);
    if (status != SG_OK) {
        sg_probe_free(*probe);
        *probe = NULL;
    }
    return status;
}

/* ---- states that nothing can be read off ---- */

sg_status sg_wm_shuffled(sg_tensor *out, const sg_wm *w, sg_error *err)
{
    const sg_dim n = w->net->n_rows, s = w->n_tasks;
    const sg_store_row *rows = w->net->rows;
    const bool numbers = w->net->n_classes == 0;
    const float nothing = NAN;
    const int32_t none = -1;
    const size_t bytes = (size_t)s * 4; /* of a row, i32 or f32 */
    char *to = malloc((size_t)n * bytes + 1);
    sg_dim *order = malloc((size_t)n * sizeof *order + 1);
    if (!to || !order) {
        free(to);
        free(order);
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld states", (long long)(n * s));
    }
    for (int part = 0; part < SG_WM_PARTS; part++) {
        /* Rows of the part in a random order; each takes the state of the next one after it that stands at the same
         * position in another episode. */
        const sg_dim first = w->first[part], count = w->first[part + 1] - first;
        sg_rng r = sg_rng_new(w->opts.seed, 0x5f00u + (uint32_t)part);
        for (sg_dim i = 0; i < count; i++)
            order[i] = first + i;
        for (sg_dim i = count - 1; i > 0; i--) {
            const sg_dim k = (sg_dim)sg_rng_below(&r, (uint32_t)i + 1), was = order[i];
            order[i] = order[k];
            order[k] = was;
        }
        for (sg_dim i = 0; i < count; i++) {
            const sg_dim row = order[i];
            sg_dim from = -1;
            for (sg_dim k = 1; k < count && from < 0; k++) {
                const sg_dim other = order[(i + k) % count];
                if (rows[other].position == rows[row].position && rows[other].episode != rows[row].episode)
                    from = other;
            }
            if (from >= 0)
                memcpy(to + (size_t)row * bytes, (const char *)w->state.data + (size_t)from * bytes, bytes);
            else
                for (size_t k = 0; k < bytes; k += 4)
                    memcpy(to + (size_t)row * bytes + k, numbers ? (const void *)&nothing : (const void *)&none, 4);
        }
    }
    free(order);
    *out = w->state;
    out->data = to;
    return SG_OK;
}

sg_status sg_wm_chance(sg_wm_marks *marks, const sg_wm *w, sg_error *err)
{
    const sg_dim n = w->net->n_rows, s = w->n_tasks, c = w->net->n_classes, judge = w->first[SG_WM_JUDGE];
    const sg_store_row *rows = w->net->rows;
    sg_dim n_positions = 0;
    for (sg_dim i = 0; i < n; i++)
        n_positions = SG_MAX(n_positions, (sg_dim)rows[i].position + 1);
    /* Counts by position, and behind them of all positions together, for those that no row was fitted on. */
    int32_t *count = calloc((size_t)((n_positions + 1) * s * c), sizeof *count);
    int32_t *read = malloc((size_t)((n - judge) * s) * sizeof *read + 1);
    sg_status status = count && read ? sg_wm_marks_new(marks, w->n_judged, err)
                                     : sg_fail(err, SG_ENOMEM, "world model: out of memory for counts");
    for (sg_dim i = 0; status == SG_OK && i < w->first[1] * s; i++) {
        const int32_t is = label(&w->state, i);
        if (is >= 0) {
            count[(rows[i / s].position * s + i % s) * c + is]++;
            count[(n_positions * s + i % s) * c + is]++;
        }
    }
    for (sg_dim i = 0; status == SG_OK && i < (n - judge) * s; i++) {
        const int32_t *at = count + (rows[judge + i / s].position * s + i % s) * c;
        sg_dim seen = 0;
        for (sg_dim k = 0; k < c; k++)
            seen += at[k];
        if (!seen)
            at = count + (n_positions * s + i % s) * c;
        read[i] = 0;
        for (int32_t k = 1; k < c; k++)
            read[i] = at[k] > at[read[i]] ? k : read[i];
    }
    if (status == SG_OK)
        mark_classes(marks, w, &w->state, judge, n - judge, read, true);
    free(count);
    free(read);
    return status;
}
