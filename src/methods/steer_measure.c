/* Effect and cost of edits. Strengths are the inner loop: they are inputs, so one plan serves them all, and what the
 * model does without edits is computed once for each piece of text. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/bootstrap.h"
#include "sightglass/ops.h"
#include "sightglass/steer.h"
#include "sightglass/texts.h"

sg_steer_measure_opts sg_steer_measure_defaults(void)
{
    return (sg_steer_measure_opts){.batch = 16, .exec = sg_exec_defaults()};
}

typedef struct work {
    const sg_steer_measure_opts *opts;
    sg_glass *glass, *plain;
    const sg_edit *edits;
    int n_edits, n;
    const double *strength;
    sg_value *nll, *kl, *reference, *plain_logits;
    double *score; /* [n,texts] summed log-probability of each answer */
    double done, share;
} work;

static sg_status stopped(const work *w, sg_error *err)
{
    if (w->opts->cancel && *w->opts->cancel)
        return sg_fail(err, SG_ECANCELLED, "steer: stopped");
    return SG_OK;
}

static void tell(const work *w, double of_part)
{
    if (w->opts->progress)
        w->opts->progress(w->opts->context, fmin(1, w->done + w->share * of_part));
}

static sg_status set_strength(work *w, int s, sg_error *err)
{
    for (int i = 0; i < w->n_edits; i++)
        SG_TRY(sg_edits_strength(sg_glass_edits(w->glass), i, w->strength[s] * w->edits[i].strength, err));
    return SG_OK;
}

static sg_status open_glasses(work *w, const sg_model *m, bool other, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec = w->opts->exec;
    SG_TRY(sg_glass_new(&w->glass, m, opts, err));
    if (w->n_edits)
        SG_TRY(sg_glass_edit(w->glass, w->n_edits, w->edits, err));
    SG_TRY(sg_glass_find(w->glass, "nll", &w->nll, err));
    if (!other)
        return SG_OK;
    SG_TRY(sg_glass_new(&w->plain, m, opts, err));
    SG_TRY(sg_glass_find(w->plain, "logits", &w->plain_logits, err));
    sg_graph *g = sg_glass_graph(w->glass);
    sg_value *logits = sg_graph_find(g, "logits");
    w->reference = sg_input(g, "without edits", SG_F32, sg_value_n_dims(logits), sg_value_dims(logits));
    sg_value *p = sg_log_softmax(g, w->reference, -1), *q = sg_log_softmax(g, logits, -1);
    w->kl = sg_sum(g, sg_mul(g, sg_exp(g, p), sg_sub(g, p, q)), -1, false); /* [batch,time] */
    return sg_graph_status(g, err);
}

/* ---- answers ---- */

static sg_status score_texts(work *w, const sg_steer_data *d, sg_error *err)
{
    const sg_dim batch = SG_MIN(w->opts->batch, (sg_dim)d->n);
    const int32_t **rows = malloc((size_t)batch * sizeof *rows);
    sg_dim *lengths = malloc((size_t)batch * sizeof *lengths), longest = 2;
    sg_status status = rows && lengths ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory");
    for (int i = 0; i < d->n; i++)
        longest = SG_MAX(longest, d->texts[i].n);
    for (int first = 0; first < d->n && status == SG_OK; first += (int)batch) {
        for (sg_dim k = 0; k < batch; k++) { /* the last batch is filled up, so that all have one plan */
            const sg_steer_text *t = &d->texts[SG_MIN(first + (int)k, d->n - 1)];
            rows[k] = t->tokens;
            lengths[k] = t->n;
        }
        const sg_rows of = {.n_rows = (int)batch, .tokens = rows, .lengths = lengths, .time = longest};
        for (int s = 0; s < w->n && status == SG_OK; s++) {
            sg_tensor nll;
            status = stopped(w, err);
            if (status == SG_OK)
                status = set_strength(w, s, err);
            if (status == SG_OK)
                status = sg_glass_run(w->glass, &of, 0, NULL, 1, &w->nll, &nll, err);
            for (sg_dim k = 0; k < batch && first + k < d->n && status == SG_OK; k++) {
                const sg_steer_text *t = &d->texts[first + k];
                double sum = 0;
                for (sg_dim i = SG_MAX(t->shared, 1); i < t->n; i++)
                    sum -= sg_tensor_get(&nll, k * nll.dims[1] + i - 1);
                w->score[s * d->n + first + k] = sum;
            }
        }
        tell(w, (double)(first + batch) / d->n);
    }
    free(rows);
    free(lengths);
    return status;
}

/* The scores of one group: by sum, or by token. */
static void judge_group(const sg_steer_data *d, int first, int end, const double *score, bool each, double *mass,
                        double *first_right, double *probability)
{
    double most = -HUGE_VAL, positive = 0, all = 0, best = -HUGE_VAL, best_wrong = -HUGE_VAL;
    bool has_best = false;
    *probability = 0;
    for (int i = first; i < end; i++)
        has_best |= d->texts[i].best;
    for (int i = first; i < end; i++) {
        const sg_steer_text *t = &d->texts[i];
        const double s = score[i] / (each ? (double)SG_MAX(t->n - SG_MAX(t->shared, 1), 1) : 1);
        most = fmax(most, s);
        if (!t->positive)
            best_wrong = fmax(best_wrong, s);
        else if (!has_best || t->best)
            best = fmax(best, s);
    }
    for (int i = first; i < end; i++) {
        const sg_steer_text *t = &d->texts[i];
        const double s = score[i] / (each ? (double)SG_MAX(t->n - SG_MAX(t->shared, 1), 1) : 1);
        all += exp(s - most);
        positive += t->positive ? exp(s - most) : 0;
        *probability += t->positive ? exp(score[i]) : 0;
    }
    *mass = positive / all;
    *first_right = best > best_wrong;
}

static sg_status judge(work *w, const sg_steer_data *d, sg_steer_point *out, sg_error *err)
{
    double *mass = malloc((size_t)SG_MAX(d->n_groups, 1) * sizeof *mass);
    if (!mass)
        return sg_fail(err, SG_ENOMEM, "steer: out of memory");
    sg_status status = SG_OK;
    for (int s = 0; s < w->n && status == SG_OK; s++) {
        const double *score = w->score + (sg_dim)s * d->n;
        sg_steer_point *p = &out[s];
        sg_interval range;
        int n = 0;
        p->mass = p->first = p->mass_each = p->first_each = p->probability = 0;
        for (int i = 0; i < d->n;) {
            int end = i, n_positive = 0;
            for (; end < d->n && d->texts[end].group == d->texts[i].group; end++)
                n_positive += d->texts[end].positive;
            if (n_positive && n_positive < end - i) {
                double right, probability, each;
                judge_group(d, i, end, score, false, &mass[n], &right, &probability);
                p->mass += mass[n++];
                p->first += right;
                p->probability += probability;
                judge_group(d, i, end, score, true, &each, &right, &probability);
                p->mass_each += each;
                p->first_each += right;
            }
            i = end;
        }
        if (n == 0) {
            status = sg_fail(err, SG_EARG, "steer: no group has texts of both kinds, so no answer can be preferred");
            break;
        }
        double *const means[] = {&p->mass, &p->first, &p->mass_each, &p->first_each, &p->probability};
        for (size_t k = 0; k < SG_COUNT_OF(means); k++)
            *means[k] /= n;
        sg_bootstrap_opts opts = sg_bootstrap_defaults();
        opts.seed = w->opts->seed;
        status = sg_bootstrap_ratio(&range, n, mass, NULL, opts, err);
        p->mass_low = range.low;
        p->mass_high = range.high;
    }
    free(mass);
    return status;
}

/* ---- other text ---- */

static sg_status cost(work *w, const sg_tensor *other, sg_steer_point *out, sg_error *err)
{
    const sg_dim n = other->dims[0], time = other->dims[1];
    for (int s = 0; s < w->n; s++)
        out[s].loss = out[s].kl = 0;
    for (sg_dim r = 0; r < n; r++) {
        const int32_t *row = (const int32_t *)other->data + r * time;
        const sg_rows of = {.n_rows = 1, .tokens = &row, .lengths = &time};
        sg_tensor logits, got[2];
        SG_TRY(sg_glass_run(w->plain, &of, 0, NULL, 1, &w->plain_logits, &logits, err));
        const sg_named_feed feed = {"without edits", logits};
        for (int s = 0; s < w->n; s++) {
            double kl = 0, nll = 0;
            SG_TRY(stopped(w, err));
            SG_TRY(set_strength(w, s, err));
            SG_TRY(sg_glass_run(w->glass, &of, 1, &feed, 2, (sg_value *[]){w->nll, w->kl}, got, err));
            for (sg_dim i = 0; i < time; i++)
                kl += sg_tensor_get(&got[1], i) / (double)(n * time);
            for (sg_dim i = 0; i + 1 < time; i++)
                nll += sg_tensor_get(&got[0], i) / (double)(n * (time - 1));
            out[s].loss += nll;
            out[s].kl += fmax(kl, 0); /* rounding */
        }
        tell(w, (double)(r + 1) / (double)n);
    }
    return SG_OK;
}

sg_status sg_steer_measure(sg_steer_point *out, const sg_model *m, int n_edits, const sg_edit *edits, int n,
                           const double *strength, const sg_steer_data *d, const sg_tensor *other,
                           sg_steer_measure_opts opts, sg_error *err)
{
    const bool has_other = other && other->data;
    work w = {.opts = &opts, .edits = edits, .n_edits = n_edits, .n = n, .strength = strength};
    if (n < 1 || opts.batch < 1)
        return sg_fail(err, SG_EARG, "steer: %d strengths, batches of %" PRId64, n, opts.batch);
    if (has_other && (other->dtype != SG_I32 || other->n_dims != 2 || other->dims[1] < 2 || other->dims[0] < 1))
        return sg_fail(err, SG_ESHAPE, "steer: other text is not i32 [rows,time] with two tokens or more");
    for (int s = 0; s < n; s++) {
        const double none = (double)NAN;
        out[s] = (sg_steer_point){strength[s], none, none, none, none, none, none, none, none, none};
    }
    w.share = d && has_other ? .5 : 1;
    sg_status status = open_glasses(&w, m, has_other, err);
    if (status == SG_OK && d) {
        w.score = malloc((size_t)n * (size_t)SG_MAX(d->n, 1) * sizeof *w.score);
        status = w.score ? score_texts(&w, d, err) : sg_fail(err, SG_ENOMEM, "steer: out of memory for %d texts", d->n);
        if (status == SG_OK)
            status = judge(&w, d, out, err);
        w.done = w.share;
    }
    if (status == SG_OK && has_other)
        status = cost(&w, other, out, err);
    free(w.score);
    sg_glass_free(w.glass);
    sg_glass_free(w.plain);
    return status;
}

sg_status sg_steer_other(sg_tensor *out, const sg_model *m, const char *path, sg_dim n_rows, sg_dim time, sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(m);
    sg_texts *texts;
    sg_text text;
    sg_tokens ids = {0};
    sg_dim n = 0;
    *out = (sg_tensor){.data = NULL};
    if (!t)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: the model has no tokenizer, and this is text", path);
    SG_TRY(sg_texts_open(&texts, path, "text", err));
    int32_t *rows = malloc((size_t)(n_rows * time) * sizeof *rows);
    sg_status status = rows ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory for text");
    while (status == SG_OK && n < n_rows) {
        status = sg_texts_next(texts, &text, err);
        if (status != SG_OK || !text.bytes)
            break;
        ids.n = 0;
        status = sg_tokenizer_encode(t, text.bytes, sg_encode_defaults(), &ids, err);
        const bool marked = ids.n && ids.ids[0] == sg_model_get_info(m)->bos; /* every row begins as the text does */
        for (sg_dim at = 0; status == SG_OK && n < n_rows; n++) {
            const sg_dim own = at && marked, left = ids.n - at;
            if (left < time - own)
                break;
            if (own)
                rows[n * time] = ids.ids[0];
            memcpy(rows + n * time + own, ids.ids + at, (size_t)(time - own) * sizeof *rows);
            at += time - own;
        }
    }
    sg_tokens_free(&ids);
    sg_texts_close(texts);
    if (status == SG_OK && n < 1)
        status = sg_fail(err, SG_EARG, "%s: no text of %" PRId64 " tokens", path, time);
    if (status != SG_OK) {
        free(rows);
        return status;
    }
    *out = sg_tensor_of(SG_I32, 2, (sg_dim[]){n, time}, rows);
    return SG_OK;
}
