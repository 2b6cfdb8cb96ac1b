/* The judgement: readings one after the other, the effect of edits, a verdict. Which parts there are and what they need
 * is checked first, so that nothing is computed for a verdict that cannot be given. */
#include "sightglass/worldmodel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/worldmodel_internal.h"

const char *sg_worldmodel_reading_name(sg_worldmodel_reading r)
{
    static const char *const names[SG_N_READINGS] = {
        [SG_READING_SITE] = "the site",
        [SG_READING_BAG] = "bag of tokens",
        [SG_READING_PLACES] = "tokens by position",
        [SG_READING_EMBEDDING] = "embedding layer",
        [SG_READING_UNTRAINED] = "untrained network",
        [SG_READING_OUTPUT] = "logits",
        [SG_READING_LABEL] = "next token",
    };
    return r >= 0 && r < SG_N_READINGS ? names[r] : "unknown";
}

const char *sg_worldmodel_verdict_text(sg_worldmodel_verdict v)
{
    static const char *const texts[] = {
        [SG_WORLDMODEL_YES] = "yes",
        [SG_WORLDMODEL_NOT_REPRESENTED] = "not represented",
        [SG_WORLDMODEL_FROM_INPUT] = "readable from the input",
        [SG_WORLDMODEL_FROM_UNTRAINED] = "readable from an untrained network",
        [SG_WORLDMODEL_FROM_OUTPUT] = "readable from the output",
        [SG_WORLDMODEL_NOT_USED] = "not used",
    };
    return v >= 0 && v < SG_N_WORLDMODEL_VERDICTS ? texts[v] : "unknown";
}

sg_worldmodel_opts sg_worldmodel_defaults(void)
{
    return (sg_worldmodel_opts){.probe = sg_probe_defaults(),
                                .tau = nan(""),
                                .share_fit = 0.6,
                                .share_choose = 0.15,
                                .n_rows = 16000,
                                .n_edits = 1000,
                                .n_resamples = 1000,
                                .exec = sg_exec_defaults()};
}

sg_status sg_wm_tell(const sg_wm *w, const char *part, double done, sg_error *err)
{
    if (w->opts.cancel && *w->opts.cancel)
        return sg_fail(err, SG_ECANCELLED, "stopped");
    if (w->opts.progress)
        w->opts.progress(w->opts.context, part, done);
    return SG_OK;
}

/* ---- what is asked ---- */

static sg_status check_state(const sg_worldmodel_network *net, sg_error *err)
{
    const sg_tensor *s = &net->state;
    char shape[SG_SHAPE_TEXT];
    if (s->n_dims != 2 || s->dims[0] != net->n_rows || s->dims[1] < 1)
        return sg_fail(err, SG_ESHAPE, "world model: the state is %s, wanted [%lld,S]",
                       sg_shape_text(shape, s->n_dims, s->dims), (long long)net->n_rows);
    if (s->dtype != (net->n_classes ? SG_I32 : SG_F32))
        return sg_fail(err, SG_ETYPE, "world model: the state is %s, wanted %s", sg_dtype_name(s->dtype),
                       net->n_classes ? "i32 classes" : "f32 numbers");
    if (net->n_classes != 0 && net->n_classes < 2)
        return sg_fail(err, SG_EARG, "world model: a state of %d class has nothing to tell", net->n_classes);
    for (sg_dim i = 0; net->n_classes && i < net->n_rows * s->dims[1]; i++)
        if (((const int32_t *)s->data)[i] >= net->n_classes)
            return sg_fail(err, SG_EARG, "world model: row %lld is of class %d, there are %d",
                           (long long)(i / s->dims[1]), ((const int32_t *)s->data)[i], net->n_classes);
    return SG_OK;
}

/* No episode is on two sides, and none appears twice: otherwise a probe is judged on what it was fitted on. */
static sg_status check_split(const sg_worldmodel_network *net, sg_error *err)
{
    const sg_dim at[2] = {net->first_choose, net->first_judge};
    if (!(at[0] > 0 && at[1] > at[0] && net->n_rows > at[1]))
        return sg_fail(err, SG_EARG,
                       "world model: %lld rows to fit on, %lld to choose on, %lld to judge on; each wants some",
                       (long long)at[0], (long long)(at[1] - at[0]), (long long)(net->n_rows - at[1]));
    int32_t most = -1;
    for (sg_dim i = 0; i < net->n_rows; i++)
        most = SG_MAX(most, net->rows[i].episode);
    sg_dim *last = malloc(((size_t)most + 1) * sizeof *last + 1); /* row in which an episode was seen last */
    if (!last)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld episodes", (long long)most + 1);
    for (int32_t e = 0; e <= most; e++)
        last[e] = -1;
    sg_status status = SG_OK;
    for (sg_dim i = 0; status == SG_OK && i < net->n_rows; i++) {
        const int32_t e = net->rows[i].episode;
        if (e < 0 || (last[e] >= 0 && (last[e] != i - 1 || i == at[0] || i == at[1])))
            status = sg_fail(err, SG_EARG, "world model: episode %d is on both sides of row %lld", e, (long long)i);
        else
            last[e] = i;
    }
    free(last);
    return status;
}

static sg_status check(const sg_worldmodel_network *net, const sg_worldmodel_opts *opts, sg_error *err)
{
    SG_TRY(check_state(net, err));
    SG_TRY(check_split(net, err));
    if (!net->n_classes && opts->probe.kind != SG_PROBE_RIDGE)
        return sg_fail(err, SG_EUNSUPPORTED, "world model: a state of numbers is read by ridge, not by %s",
                       sg_probe_kind_name(opts->probe.kind));
    if (opts->probe.kind == SG_PROBE_MLP)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "world model: a probe of kind mlp has no direction to move the site along; use a linear one");
    if (opts->n_resamples < 1 || opts->n_edits < 1)
        return sg_fail(err, SG_EARG, "world model: %d resamples and %lld edits; at least 1 of each is wanted",
                       opts->n_resamples, (long long)opts->n_edits);
    return SG_OK;
}

/* ---- the parts ---- */

static sg_dim n_episodes(const sg_store_row *rows, sg_dim first, sg_dim last)
{
    sg_dim n = 0;
    for (sg_dim i = first; i < last; i++)
        n += i == first || rows[i].episode != rows[i - 1].episode;
    return n;
}

static void standardise(sg_wm *w, const float *from, float *to)
{
    const sg_dim s = w->n_tasks, n = w->net->n_rows;
    for (sg_dim k = 0; k < s; k++) {
        double sum = 0, squares = 0, count = 0;
        for (sg_dim i = k; i < w->first[1] * s; i += s)
            if (!isnan(from[i])) {
                sum += (double)from[i];
                squares += (double)from[i] * (double)from[i];
                count++;
            }
        w->centre[k] = count > 0 ? sum / count : 0;
        w->unit[k] = count > 0 ? sqrt(fmax(squares / count - w->centre[k] * w->centre[k], 0)) : 1;
        w->unit[k] = w->unit[k] > 0 ? w->unit[k] : 1;
        for (sg_dim i = k; i < n * s; i += s)
            to[i] = (float)(((double)from[i] - w->centre[k]) / w->unit[k]);
    }
}

static sg_status begin(sg_wm *w, sg_error *err)
{
    const sg_worldmodel_network *net = w->net;
    const sg_dim n = net->n_rows;
    w->n_tasks = net->state.dims[1];
    w->state = net->state;
    memcpy(w->first, (sg_dim[]){0, net->first_choose, net->first_judge, n}, sizeof w->first);
    w->episode = calloc((size_t)n, sizeof *w->episode);
    w->centre = malloc((size_t)w->n_tasks * sizeof(double));
    w->unit = malloc((size_t)w->n_tasks * sizeof(double));
    if (!w->episode || !w->centre || !w->unit)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld rows", (long long)n);
    for (sg_dim i = w->first[SG_WM_JUDGE]; i < n; i++) {
        const bool next = i > w->first[SG_WM_JUDGE] && net->rows[i].episode != net->rows[i - 1].episode;
        w->episode[i] = i > w->first[SG_WM_JUDGE] ? w->episode[i - 1] + next : 0;
    }
    w->n_judged = w->episode[n - 1] + 1;
    for (int p = 0; p < SG_WM_PARTS; p++) {
        w->found->n_rows[p] = w->first[p + 1] - w->first[p];
        w->found->n_episodes[p] = n_episodes(net->rows, w->first[p], w->first[p + 1]);
    }
    if (net->n_classes)
        return SG_OK;
    w->state.data = malloc((size_t)(n * w->n_tasks) * sizeof(float));
    if (!w->state.data)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld states", (long long)(n * w->n_tasks));
    standardise(w, net->state.data, w->state.data);
    return SG_OK;
}

static void end(sg_wm *w)
{
    if (w->net->n_classes == 0 && w->state.data != w->net->state.data)
        free(w->state.data);
    free(w->episode);
    free(w->centre);
    free(w->unit);
}

static sg_status rate(sg_worldmodel_number *out, const sg_wm *w, const sg_wm_marks *marks, sg_error *err)
{
    out->known = true;
    return sg_wm_marks_rate(&out->rate, marks, w->net->n_classes == 0, w->opts.n_resamples, w->opts.seed, err);
}

/* A reading other than the site's: features, probe, marks, number. *marks stays with the caller where it is not NULL.
 */
static sg_status one(sg_worldmodel_number *out, sg_wm_marks *kept, const sg_wm *w, sg_worldmodel_reading what, int seed,
                     double done, sg_error *err)
{
    sg_tensor x = {0};
    sg_probe *probe = NULL;
    sg_wm_marks marks = {0};
    double unit;
    SG_TRY(sg_wm_tell(w, sg_worldmodel_reading_name(what), done, err));
    sg_status status = w->net->read(w->net->self, what, seed, &x, err);
    if (status == SG_OK && x.data) {
        status = sg_wm_scale(&unit, w, &x, err);
        if (status == SG_OK)
            status = sg_wm_read(&probe, &out->lambda, &marks, w, &x, &w->state, err);
        if (status == SG_OK)
            status = rate(out, w, &marks, err);
    }
    free(x.data);
    sg_probe_free(probe);
    if (kept && status == SG_OK)
        *kept = marks;
    else
        sg_wm_marks_free(&marks);
    return status;
}

/* Untrained networks: each by itself, and their mean by episode. */
static sg_status untrained(sg_wm *w, sg_error *err)
{
    sg_wm_marks all[SG_WORLDMODEL_SEEDS] = {0};
    sg_worldmodel *f = w->found;
    sg_status status = SG_OK;
    for (int k = 0; k < SG_WORLDMODEL_SEEDS && status == SG_OK; k++) {
        status = one(&f->untrained_seed[k], &all[k], w, SG_READING_UNTRAINED, k, 0.5 + 0.1 * k, err);
        if (status == SG_OK && !f->untrained_seed[k].known)
            break;
    }
    f->reading[SG_READING_UNTRAINED] = f->untrained_seed[0];
    if (status == SG_OK && f->untrained_seed[SG_WORLDMODEL_SEEDS - 1].known) {
        for (sg_dim e = 0; e < all[0].n; e++)
            for (int k = 1; k < SG_WORLDMODEL_SEEDS; k++) {
                all[0].got[e] += all[k].got[e];
                all[0].of[e] += all[k].of[e];
            }
        status = rate(&f->untrained, w, &all[0], err);
        f->untrained.lambda = nan("");
    }
    for (int k = 0; k < SG_WORLDMODEL_SEEDS; k++)
        sg_wm_marks_free(&all[k]);
    return status;
}

/* The site: its number, the same of shuffled states, chance, and what moving along its probe does. */
static sg_status site(sg_wm *w, sg_error *err)
{
    sg_tensor x = {0}, shuffled = {0};
    sg_probe *probe = NULL, *other = NULL;
    sg_wm_marks marks = {0}, none = {0}, chance = {0};
    sg_worldmodel *f = w->found;
    double unit = 1;
    SG_TRY(sg_wm_tell(w, "site", 0.05, err));
    sg_status status = w->net->read(w->net->self, SG_READING_SITE, 0, &x, err);
    if (status == SG_OK && !x.data)
        status = sg_fail(err, SG_EARG, "world model: the network has no value at its site");
    if (status == SG_OK)
        status = sg_wm_scale(&unit, w, &x, err);
    if (status == SG_OK)
        status = sg_wm_read(&probe, &f->site_reads.lambda, &marks, w, &x, &w->state, err);
    if (status == SG_OK)
        status = rate(&f->site_reads, w, &marks, err);
    f->reading[SG_READING_SITE] = f->site_reads;
    if (status == SG_OK)
        status = sg_wm_shuffled(&shuffled, w, err);
    if (status == SG_OK)
        status = sg_wm_read(&other, &f->shuffled.lambda, &none, w, &x, &shuffled, err);
    if (status == SG_OK)
        status = rate(&f->shuffled, w, &none, err);
    if (status == SG_OK && w->net->n_classes) {
        status = sg_wm_chance(&chance, w, err);
        if (status == SG_OK)
            status = sg_wm_marks_rate(&f->chance, &chance, false, w->opts.n_resamples, w->opts.seed, err);
    }
    if (status == SG_OK)
        status = sg_wm_use(&f->used, w, probe, &x, unit, err);
    free(x.data);
    free(shuffled.data);
    sg_probe_free(probe);
    sg_probe_free(other);
    sg_wm_marks_free(&marks);
    sg_wm_marks_free(&none);
    sg_wm_marks_free(&chance);
    return status;
}

/* The greatest of some readings: `n` of them from `first`. */
static void best(sg_worldmodel_number *out, sg_worldmodel_reading *which, const sg_worldmodel *f,
                 sg_worldmodel_reading first, int n)
{
    for (int i = (int)first; i < (int)first + n; i++)
        if (f->reading[i].known && (!out->known || f->reading[i].rate.value > out->rate.value)) {
            *out = f->reading[i];
            *which = (sg_worldmodel_reading)i;
        }
}

/* Which conditions failed. Of those that say what else shows the state, the verdict names the one that shows it most
 * nearly as the site does. */
static sg_worldmodel_verdict verdict(sg_worldmodel *f)
{
    const double reads = f->site_reads.rate.value;
    const double other[] = {[SG_WORLDMODEL_NOT_REPRESENTED] = fmax(f->shuffled.rate.value, f->chance.value),
                            [SG_WORLDMODEL_FROM_INPUT] = f->input.rate.value,
                            [SG_WORLDMODEL_FROM_UNTRAINED] = f->untrained.rate.value,
                            [SG_WORLDMODEL_FROM_OUTPUT] = f->output.rate.value};
    for (int v = SG_WORLDMODEL_NOT_REPRESENTED; v <= SG_WORLDMODEL_FROM_OUTPUT; v++)
        f->failed[v] = !(reads - other[v] > f->tau) && !(v == SG_WORLDMODEL_FROM_OUTPUT && f->output_allowed);
    f->failed[SG_WORLDMODEL_NOT_USED] = !(f->used.effect.low > 0) || f->used.random.low > 0;
    if (f->failed[SG_WORLDMODEL_NOT_REPRESENTED])
        return SG_WORLDMODEL_NOT_REPRESENTED;
    int named = SG_WORLDMODEL_YES;
    for (int v = SG_WORLDMODEL_FROM_INPUT; v <= SG_WORLDMODEL_FROM_OUTPUT; v++)
        if (f->failed[v] && (named == SG_WORLDMODEL_YES || fabs(reads - other[v]) < fabs(reads - other[named])))
            named = v;
    if (named == SG_WORLDMODEL_YES && f->failed[SG_WORLDMODEL_NOT_USED])
        named = SG_WORLDMODEL_NOT_USED;
    return (sg_worldmodel_verdict)named;
}

static sg_status judge(sg_wm *w, sg_error *err)
{
    sg_worldmodel *f = w->found;
    SG_TRY(begin(w, err));
    SG_TRY(site(w, err));
    for (int r = SG_READING_BAG; r <= SG_READING_EMBEDDING; r++)
        SG_TRY(one(&f->reading[r], NULL, w, (sg_worldmodel_reading)r, 0, 0.2 + 0.1 * r, err));
    SG_TRY(untrained(w, err));
    for (int r = SG_READING_OUTPUT; r <= SG_READING_LABEL; r++)
        SG_TRY(one(&f->reading[r], NULL, w, (sg_worldmodel_reading)r, 0, 0.3 + 0.1 * r, err));
    best(&f->input, &f->best_input, f, SG_READING_BAG, 3);
    best(&f->output, &f->best_output, f, SG_READING_OUTPUT, 2);
    const char *missing = !f->input.known ? "input" : !f->untrained.known ? "untrained network" : "output";
    if (!f->input.known || !f->untrained.known || !f->output.known)
        return sg_fail(err, SG_EARG, "world model: no verdict, since nothing could be read off the %s", missing);
    f->verdict = verdict(f);
    return SG_OK;
}

sg_status sg_worldmodel_judge(sg_worldmodel *out, const sg_worldmodel_network *net, sg_worldmodel_opts opts,
                              sg_error *err)
{
    memset(out, 0, sizeof *out);
    SG_TRY(check(net, &opts, err));
    sg_wm w = {.net = net, .opts = opts, .found = out};
    snprintf(out->site, sizeof out->site, "%s", net->site);
    snprintf(out->state, sizeof out->state, "%s", net->name);
    out->probe = opts.probe.kind;
    out->is_r2 = net->n_classes == 0;
    out->tau = isnan(opts.tau) ? (out->is_r2 ? 0.1 : 0.05) : opts.tau;
    out->seed = opts.seed;
    out->output_allowed = opts.allow_output;
    const sg_status status = judge(&w, err);
    end(&w);
    return status;
}
