/* Whether the rest of the network uses what was read: the site is moved along the probe, and the output is held against
 * what the world says after such a change. A move of the same length in a random direction is the control: what that
 * does too is damage, not use.
 *
 * A move for classes goes along w_to - w_from as far as the means of the two classes lie apart in that direction, on
 * the rows fitted on; for numbers it is the shortest that the probe reads as the change. Both times a strength, chosen
 * on rows that are not judged on. */
#include <math.h>
#include <stdlib.h>

#include "methods/worldmodel_internal.h"
#include "sightglass/linalg.h"

enum { BATCH = 64 };
static const double strengths[] = {0.5, 1, 2, 4, 8, 16, 32, 64};
enum { MOVE_NOTHING, MOVE_ALONG, MOVE_AT_RANDOM };

typedef struct mover {
    const sg_wm *w;
    const sg_worldmodel_effect *effect; /* NULL: by donors */
    sg_dim width;
    double unit;              /* of the site in those of the features that the probe knows */
    const sg_tensor *weights; /* [D,S,C] of the probe */
    double *means;            /* [S,C,C]: of class c's rows, the mean of logit k */
    sg_pinv *inverse;         /* [S,D], of numbers */
    /* A batch. */
    float *shift, *outputs, *donors; /* [BATCH,D], [BATCH,V], [BATCH,V] */
} mover;

/* ---- where to ---- */

static sg_status class_means(mover *m, const sg_probe *p, const sg_tensor *x, sg_error *err)
{
    const sg_wm *w = m->w;
    const sg_dim s = w->n_tasks, c = w->net->n_classes, n = w->first[1];
    const sg_tensor rows = sg_rows_of(x, 0, n);
    float *logits = malloc((size_t)(n * s * c) * sizeof *logits + 1);
    double *count = calloc((size_t)(s * c), sizeof *count);
    m->means = calloc((size_t)(s * c * c), sizeof *m->means);
    sg_status status = logits && count && m->means ? sg_probe_logits(p, &rows, logits, err)
                                                   : sg_fail(err, SG_ENOMEM, "world model: out of memory for logits");
    for (sg_dim i = 0; status == SG_OK && i < n * s; i++) {
        const int32_t is = ((const int32_t *)w->state.data)[i];
        if (is < 0)
            continue;
        count[i % s * c + is]++;
        for (sg_dim k = 0; k < c; k++)
            m->means[(i % s * c + is) * c + k] += (double)logits[i * c + k];
    }
    for (sg_dim i = 0; status == SG_OK && i < s * c; i++)
        for (sg_dim k = 0; k < c; k++)
            m->means[i * c + k] /= fmax(count[i], 1);
    free(logits);
    free(count);
    return status;
}

static double along_classes(const mover *m, const sg_worldmodel_edit *e, float *shift)
{
    const sg_dim c = m->w->net->n_classes, s = m->w->n_tasks;
    const float *at = (const float *)m->weights->data + e->task * c;
    const double *to = m->means + (e->task * c + e->to) * c, *from = m->means + (e->task * c + e->from) * c;
    const double apart = (to[e->to] - to[e->from]) - (from[e->to] - from[e->from]);
    double norm2 = 0;
    for (sg_dim j = 0; j < m->width; j++) {
        shift[j] = at[j * s * c + e->to] - at[j * s * c + e->from];
        norm2 += (double)shift[j] * (double)shift[j];
    }
    return norm2 > 0 ? apart / norm2 : 0;
}

static double along_numbers(const mover *m, const sg_worldmodel_edit *e, float *shift)
{
    const float *state = m->w->state.data, *inverse = m->inverse->inverse.data;
    const sg_dim n_tasks = m->w->n_tasks;
    for (sg_dim j = 0; j < m->width; j++) {
        double sum = 0;
        for (sg_dim s = 0; s < n_tasks; s++)
            sum += ((double)state[e->donor * n_tasks + s] - (double)state[e->row * n_tasks + s]) *
                   (double)inverse[s * m->width + j];
        shift[j] = (float)sum;
    }
    return 1;
}

/* Into shift [D]; `i` numbers the edit, for its random direction. */
static void move(const mover *m, const sg_worldmodel_edit *e, sg_dim i, double strength, int how, float *shift)
{
    const double by = strength * m->unit * (m->inverse ? along_numbers(m, e, shift) : along_classes(m, e, shift));
    double norm2 = 0, random2 = 0;
    for (sg_dim j = 0; j < m->width; j++) {
        shift[j] = (float)(by * (double)shift[j]);
        norm2 += (double)shift[j] * (double)shift[j];
    }
    if (how != MOVE_AT_RANDOM)
        return;
    sg_rng r = sg_rng_new(m->w->opts.seed, 0xd1f0000u + (uint32_t)i);
    for (sg_dim j = 0; j < m->width; j++) {
        shift[j] = (float)sg_rng_normal(&r);
        random2 += (double)shift[j] * (double)shift[j];
    }
    for (sg_dim j = 0; j < m->width; j++)
        shift[j] = (float)((double)shift[j] * sqrt(norm2 / random2));
}

/* ---- edits ---- */

/* A row of the part, not this episode's, in which the task has the class; any row that has numbers for task -1. */
static sg_dim find_donor(const sg_wm *w, const sg_worldmodel_edit *e, int part, sg_rng *r)
{
    const sg_dim first = w->first[part], n = w->first[part + 1] - first, s = w->n_tasks;
    const sg_dim from = (sg_dim)sg_rng_below(r, (uint32_t)n);
    for (sg_dim k = 0; k < n; k++) {
        const sg_dim row = first + (from + k) % n;
        if (w->net->rows[row].episode == w->net->rows[e->row].episode)
            continue;
        if (e->task < 0) {
            bool known = true;
            for (sg_dim i = 0; i < s; i++)
                known = known && !isnan(((const float *)w->state.data)[row * s + i]);
            if (known)
                return row;
        } else if (((const int32_t *)w->state.data)[row * s + e->task] == e->to) {
            return row;
        }
    }
    return -1;
}

/* To another class of a task that is known here, and one that some row has. */
static bool choose_donor(const sg_wm *w, sg_worldmodel_edit *e, int part, sg_rng *r)
{
    const sg_dim s = w->n_tasks;
    e->task = -1;
    e->from = e->to = -1;
    if (w->net->n_classes > 0) {
        const int32_t *is = (const int32_t *)w->state.data + e->row * s;
        e->task = (sg_dim)sg_rng_below(r, (uint32_t)s);
        e->from = is[e->task];
        if (e->from < 0)
            return false;
        e->to = (int)sg_rng_below(r, (uint32_t)w->net->n_classes - 1);
        e->to += e->to >= e->from;
    } else {
        for (sg_dim i = 0; i < s; i++)
            if (isnan(((const float *)w->state.data)[e->row * s + i]))
                return false;
    }
    return (e->donor = find_donor(w, e, part, r)) >= 0;
}

/* At most `most` edits, on rows spread over the part. */
static sg_dim choose(const mover *m, int part, sg_dim most, sg_worldmodel_edit *edits)
{
    const sg_wm *w = m->w;
    const sg_dim first = w->first[part], n = w->first[part + 1] - first;
    sg_dim count = 0;
    most = SG_MIN(most, n);
    for (sg_dim i = 0; i < most; i++) {
        sg_rng r = sg_rng_new(w->opts.seed, 0xed1700u + (uint32_t)part);
        r.step = (uint64_t)i;
        edits[count] = (sg_worldmodel_edit){.row = first + i * n / most, .donor = -1};
        if (m->effect ? m->effect->choose(m->effect->self, &edits[count], &r)
                      : choose_donor(w, &edits[count], part, &r))
            count++;
    }
    return count;
}

/* ---- what they do ---- */

/* KL(softmax(want) | softmax(got)), in nats. */
static double divergence(const float *want, const float *got, sg_dim n)
{
    double most[2] = {-HUGE_VAL, -HUGE_VAL}, sum[2] = {0, 0}, kl = 0;
    for (sg_dim i = 0; i < n; i++) {
        most[0] = fmax(most[0], (double)want[i]);
        most[1] = fmax(most[1], (double)got[i]);
    }
    for (sg_dim i = 0; i < n; i++) {
        sum[0] += exp((double)want[i] - most[0]);
        sum[1] += exp((double)got[i] - most[1]);
    }
    for (sg_dim i = 0; i < n; i++) {
        const double log_want = (double)want[i] - most[0] - log(sum[0]);
        kl += exp(log_want) * (log_want - ((double)got[i] - most[1] - log(sum[1])));
    }
    return kl;
}

static sg_status errors(mover *m, sg_dim n, const sg_worldmodel_edit *edits, int how, double strength, double *error,
                        sg_error *err)
{
    const sg_worldmodel_network *net = m->w->net;
    const sg_dim v = net->n_outputs;
    for (sg_dim first = 0; first < n; first += BATCH) {
        const sg_dim count = SG_MIN(n - first, BATCH);
        sg_dim rows[BATCH], donors[BATCH];
        for (sg_dim i = 0; i < count; i++) {
            rows[i] = edits[first + i].row;
            donors[i] = edits[first + i].donor;
            if (how != MOVE_NOTHING)
                move(m, &edits[first + i], first + i, strength, how, m->shift + i * m->width);
        }
        SG_TRY(net->run(net->self, count, rows, how == MOVE_NOTHING ? NULL : m->shift, m->outputs, err));
        if (!m->effect)
            SG_TRY(net->run(net->self, count, donors, NULL, m->donors, err));
        for (sg_dim i = 0; i < count; i++) {
            error[first + i] = m->effect ? m->effect->error(m->effect->self, &edits[first + i], m->outputs + i * v)
                                         : divergence(m->donors + i * v, m->outputs + i * v, v);
            if (!isfinite(error[first + i]))
                return sg_fail(err, SG_ENUMERIC, "world model: the output of an edit is not finite");
        }
        SG_TRY(sg_wm_tell(m->w, "edits", (double)(first + count) / (double)n, err));
    }
    return SG_OK;
}

static double mean_of(const double *x, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

/* a - b, averaged by episode. */
static sg_status rate_between(sg_rate *out, const mover *m, sg_dim n, const sg_worldmodel_edit *edits, const double *a,
                              const double *b, sg_error *err)
{
    const sg_wm *w = m->w;
    sg_wm_marks marks;
    SG_TRY(sg_wm_marks_new(&marks, w->n_judged, err));
    for (sg_dim i = 0; i < n; i++) {
        const sg_dim e = w->episode[edits[i].row];
        marks.got[e] += a[i] - b[i];
        marks.of[e] += 1;
        marks.n_labels++;
    }
    const sg_status status = sg_wm_marks_rate(out, &marks, false, w->opts.n_resamples, w->opts.seed, err);
    sg_wm_marks_free(&marks);
    return status;
}

static sg_status measure(mover *m, sg_worldmodel_used *out, sg_worldmodel_edit *edits, double *error[3], sg_error *err)
{
    const sg_wm *w = m->w;
    double least = HUGE_VAL;
    sg_dim n = choose(m, SG_WM_CHOOSE, SG_MAX(w->opts.n_edits / 4, 1), edits);
    if (n < 1)
        return sg_fail(err, SG_EARG, "world model: no row to choose a strength on can be edited");
    for (size_t i = 0; i < SG_COUNT_OF(strengths); i++) {
        SG_TRY(errors(m, n, edits, MOVE_ALONG, strengths[i], error[0], err));
        const double mean = mean_of(error[0], n);
        if (mean < least) {
            least = mean;
            out->strength = strengths[i];
        }
    }
    n = choose(m, SG_WM_JUDGE, w->opts.n_edits, edits);
    if (n < 1)
        return sg_fail(err, SG_EARG, "world model: no row judged on can be edited");
    for (int how = 0; how < 3; how++)
        SG_TRY(errors(m, n, edits, how, out->strength, error[how], err));
    out->before = mean_of(error[MOVE_NOTHING], n);
    out->after = mean_of(error[MOVE_ALONG], n);
    out->random_after = mean_of(error[MOVE_AT_RANDOM], n);
    SG_TRY(rate_between(&out->effect, m, n, edits, error[MOVE_NOTHING], error[MOVE_ALONG], err));
    SG_TRY(rate_between(&out->random, m, n, edits, error[MOVE_NOTHING], error[MOVE_AT_RANDOM], err));
    return rate_between(&out->difference, m, n, edits, error[MOVE_AT_RANDOM], error[MOVE_ALONG], err);
}

sg_status sg_wm_use(sg_worldmodel_used *out, const sg_wm *w, const sg_probe *probe, const sg_tensor *x, double unit,
                    sg_error *err)
{
    const sg_worldmodel_network *net = w->net;
    const size_t n = (size_t)SG_MAX(w->opts.n_edits, 1), v = (size_t)net->n_outputs;
    mover m = {.w = w, .effect = net->effect, .width = x->dims[1], .weights = sg_probe_weights(probe), .unit = unit};
    if (!m.weights->data)
        return sg_fail(err, SG_EUNSUPPORTED, "world model: a probe of kind %s has no direction to move along",
                       sg_probe_kind_name(sg_probe_get_kind(probe)));
    *out = (sg_worldmodel_used){.measure = net->effect
                                               ? net->effect->measure
                                               : "nats between the output and that of a row with the state asked for"};
    sg_worldmodel_edit *edits = malloc(n * sizeof *edits);
    double *error = malloc(3 * n * sizeof *error);
    m.shift = malloc((size_t)(BATCH * m.width) * sizeof(float));
    m.outputs = malloc(BATCH * v * sizeof(float) + 1);
    m.donors = malloc(BATCH * v * sizeof(float) + 1);
    sg_status status = edits && error && m.shift && m.outputs && m.donors
                           ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "world model: out of memory for %zu edits", n);
    if (status == SG_OK && net->n_classes > 0) {
        status = class_means(&m, probe, x, err);
    } else if (status == SG_OK) {
        const sg_tensor flat = sg_tensor_of(SG_F32, 2, (sg_dim[]){m.width, w->n_tasks}, m.weights->data);
        status = sg_pinv_new(&m.inverse, &flat, sg_pinv_defaults(), err);
    }
    if (status == SG_OK)
        status = measure(&m, out, edits, (double *[]){error, error + n, error + 2 * n}, err);
    sg_pinv_free(m.inverse);
    free(m.means);
    free(m.shift);
    free(m.outputs);
    free(m.donors);
    free(edits);
    free(error);
    return status;
}
