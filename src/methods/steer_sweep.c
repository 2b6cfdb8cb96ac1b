/* sightglass steer sweep: effect and cost against strength, beside what directions that mean nothing do. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/steer_internal.h"
#include "sightglass/rng.h"

static const double nan_ = (double)NAN;

enum { MOST_STRENGTHS = 32 };

static double length_of(const sg_tensor *t)
{
    double square = 0;
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        square += pow(sg_tensor_get(t, i), 2);
    return sqrt(square);
}

/* The same edits with other values: random directions as long, head by head where there are heads. */
static sg_status randomised(sg_edit_list **out, sg_edit_list *list, uint64_t seed, sg_error *err)
{
    sg_rng rng = sg_rng_new(seed, 5);
    SG_TRY(sg_edit_list_new(out, "random", err));
    float *before = NULL; /* of the edit before: both halves of one are the same */
    sg_dim n_before = 0;
    sg_status status = SG_OK;
    for (int i = 0; i < sg_edit_list_count(list) && status == SG_OK; i++) {
        sg_edit e = *sg_edit_list_at(list, i);
        const sg_dim n = sg_tensor_count(&e.value), width = e.value.n_dims ? e.value.dims[e.value.n_dims - 1] : 1;
        float *v = malloc((size_t)n * sizeof *v);
        if (!v) {
            status = sg_fail(err, SG_ENOMEM, "steer: out of memory");
            break;
        }
        const bool half = e.steps.n && before && n == n_before && !strcmp(e.site, sg_edit_list_at(list, i - 1)->site);
        for (sg_dim row = 0; row < n / width; row++) {
            sg_tensor of = sg_tensor_of(SG_F32, 1, &width, v + row * width);
            double square = 0;
            for (sg_dim k = 0; k < width; k++)
                square += pow(sg_tensor_get(&e.value, row * width + k), 2);
            for (sg_dim k = 0; k < width; k++)
                v[row * width + k] = half ? before[row * width + k] : (float)sg_rng_normal(&rng);
            const double now = length_of(&of);
            for (sg_dim k = 0; !half && k < width; k++)
                v[row * width + k] = (float)((double)v[row * width + k] * (now > 0 ? sqrt(square) / now : 0));
        }
        e.value = sg_tensor_of(SG_F32, e.value.n_dims, e.value.dims, v);
        status = sg_edit_list_add(*out, &e, err);
        free(before);
        before = v;
        n_before = n;
    }
    free(before);
    if (status != SG_OK)
        sg_edit_list_free(*out);
    return status;
}

/* The same edits along the difference of means of shuffled kinds, as long, row by row of each value. */
static sg_status misled(sg_edit_list **out, sg_method_run *r, const sg_model *m, sg_edit_list *list,
                        const sg_steer_data *d, sg_error *err)
{
    const int n = sg_edit_list_count(list);
    sg_steer_data *shuffled = NULL;
    const char **sites = calloc((size_t)n + 1, sizeof *sites);
    sg_store *acts = NULL;
    sg_harvest_opts opts = sg_harvest_defaults();
    sg_edit_list *made = NULL;
    opts.exec = sg_method_exec(r);
    opts.cancel = sg_method_cancel(r);
    opts.batch = 16;
    sg_status status = sites ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory");
    for (int i = 0; i < n && status == SG_OK; i++)
        sites[i] = sg_edit_list_at(list, i)->site;
    if (status == SG_OK)
        status = sg_steer_shuffled(&shuffled, d, sg_method_seed(r) + 3, err);
    if (status == SG_OK)
        status = sg_steer_acts(&acts, m, shuffled, n, sites, opts, err);
    if (status == SG_OK)
        status = sg_edit_list_new(&made, "shuffled", err);
    for (int i = 0; i < n && status == SG_OK; i++) {
        sg_edit e = *sg_edit_list_at(list, i);
        const sg_tensor *x = sg_store_acts(acts, i);
        const sg_dim count = sg_tensor_count(&e.value), width = e.value.n_dims ? e.value.dims[e.value.n_dims - 1] : 1;
        float *v = calloc((size_t)count, sizeof *v), *rows = malloc((size_t)(d->n * width) * sizeof *rows);
        if (!v || !rows || count != x->dims[1])
            status = !v || !rows ? sg_fail(err, SG_ENOMEM, "steer: out of memory")
                                 : sg_fail(err, SG_EARG, "steer: the value of edit %d is not of the site's size", i);
        for (sg_dim part = 0; part < count / width && status == SG_OK; part++) {
            double square = 0;
            for (sg_dim k = 0; k < width; k++)
                square += pow(sg_tensor_get(&e.value, part * width + k), 2);
            if (square <= 0)
                continue;
            for (int t = 0; t < d->n; t++)
                memcpy(rows + t * width, (const float *)x->data + t * x->dims[1] + part * width,
                       (size_t)width * sizeof *rows);
            const sg_tensor of = sg_tensor_of(SG_F32, 2, (sg_dim[]){d->n, width}, rows);
            status = sg_steer_direction(v + part * width, NULL, SG_STEER_MEAN, &of, shuffled, 0, err);
            for (sg_dim k = 0; k < width; k++)
                v[part * width + k] *= (float)sqrt(square);
        }
        e.value = sg_tensor_of(SG_F32, e.value.n_dims, e.value.dims, v);
        if (status == SG_OK)
            status = sg_edit_list_add(made, &e, err);
        free(v);
        free(rows);
    }
    sg_store_free(acts);
    sg_steer_data_free(shuffled);
    free(sites);
    if (status != SG_OK) {
        sg_edit_list_free(made);
        return status;
    }
    *out = made;
    return SG_OK;
}

typedef struct sweep {
    sg_method_run *r;
    const sg_model *m;
    int n;
    double *strength;
    sg_steer_data *d;
    sg_tensor other;
    sg_steer_point real[MOST_STRENGTHS], random[MOST_STRENGTHS], shuffled[MOST_STRENGTHS];
} sweep;

static sg_status measure(sweep *s, sg_edit_list *list, sg_steer_point *out, const char *part, sg_error *err)
{
    sg_steer_measure_opts opts = sg_steer_measure_defaults();
    opts.seed = sg_method_seed(s->r);
    opts.exec = sg_method_exec(s->r);
    opts.cancel = sg_method_cancel(s->r);
    sg_method_progress(s->r, 0, part);
    opts.progress = sg_method_on_progress;
    opts.context = s->r;
    return sg_steer_measure(out, s->m, sg_edit_list_count(list), sg_edit_list_at(list, 0), s->n, s->strength, s->d,
                            &s->other, opts, err);
}

static sg_status measure_random(sweep *s, sg_edit_list *list, sg_error *err)
{
    const int draws = (int)sg_method_number(s->r, "draws");
    sg_steer_point one[MOST_STRENGTHS];
    for (int i = 0; i < s->n; i++)
        s->random[i] = (sg_steer_point){.strength = s->strength[i]};
    for (int k = 0; k < draws; k++) {
        sg_edit_list *other;
        SG_TRY(randomised(&other, list, sg_method_seed(s->r) + (uint64_t)k, err));
        const sg_status status = measure(s, other, one, "random directions", err);
        sg_edit_list_free(other);
        SG_TRY(status);
        for (int i = 0; i < s->n; i++) {
            s->random[i].mass += one[i].mass / draws;
            s->random[i].first += one[i].first / draws;
            s->random[i].loss += one[i].loss / draws;
            s->random[i].kl += one[i].kl / draws;
        }
    }
    return SG_OK;
}

static sg_status tell_sweep(sweep *s, sg_error *err)
{
    static const char *const columns[] = {"strength", "mass",          "mass, random", "mass, shuffled",
                                          "first",    "first, random", "loss",         "loss, random",
                                          "KL",       "KL, random"};
    sg_result *result = sg_method_result(s->r);
    sg_cell cells[MOST_STRENGTHS * 10];
    double x[MOST_STRENGTHS], y[6][MOST_STRENGTHS];
    int still = 0, best = -1, random = -1;
    for (int i = 0; i < s->n; i++)
        if (fabs(s->strength[i]) < fabs(s->strength[still]))
            still = i;
    for (int i = 0; i < s->n; i++) {
        const sg_steer_point *p = &s->real[i], *q = &s->random[i], *w = &s->shuffled[i];
        const double row[10] = {p->strength, p->mass, q->mass, w->mass, p->first,
                                q->first,    p->loss, q->loss, p->kl,   q->kl};
        for (int c = 0; c < 10; c++)
            cells[i * 10 + c].text = NULL, cells[i * 10 + c].number = row[c];
        x[i] = p->strength, y[0][i] = p->mass, y[1][i] = q->mass, y[2][i] = w->mass, y[3][i] = p->loss,
        y[4][i] = q->loss, y[5][i] = w->loss;
        /* At equal cost: the most that can be had while loss rises by less than a tenth. */
        if (p->loss <= 1.1 * s->real[still].loss && (best < 0 || p->mass > s->real[best].mass))
            best = i;
        if (q->loss <= 1.1 * s->random[still].loss && (random < 0 || q->mass > s->random[random].mass))
            random = i;
    }
    SG_TRY(sg_result_add(
        result,
        &(sg_finding){
            .id = "effect",
            .text = "greatest probability mass on positive answers while loss on other text rises by less than a tenth",
            .value = s->real[best].mass,
            .low = s->real[best].mass_low,
            .high = s->real[best].mass_high,
            .n = s->d->n_groups,
            .control = "a random direction as long, at the same cost",
            .control_value = s->random[random].mass,
            .control_low = nan_,
            .control_high = nan_},
        err));
    SG_TRY(sg_result_note(result, "that is at strength %g, with a mass of %.4g where nothing is done",
                          s->strength[best], s->real[still].mass));
    SG_TRY(sg_result_add_table(result,
                               &(sg_result_table){.id = "sweep",
                                                  .title = "Effect and cost",
                                                  .n_columns = 10,
                                                  .n_rows = s->n,
                                                  .columns = columns,
                                                  .cells = cells,
                                                  .control = "a random direction as long, and one of shuffled kinds"},
                               err));
    const sg_series effect[] = {
        {"direction", s->n, x, y[0]}, {"random", s->n, x, y[1]}, {"shuffled kinds", s->n, x, y[2]}};
    const sg_series cost[] = {
        {"direction", s->n, x, y[3]}, {"random", s->n, x, y[4]}, {"shuffled kinds", s->n, x, y[5]}};
    const sg_series trade[] = {
        {"direction", s->n, y[3], y[0]}, {"random", s->n, y[4], y[1]}, {"shuffled kinds", s->n, y[5], y[2]}};
    const struct {
        const char *id, *title, *across, *up;
        const sg_series *series;
    } figures[] = {
        {"effect", "What it does", "strength", "mass on positive answers", effect},
        {"cost", "What it costs", "strength", "loss on other text, nats per token", cost},
        {"trade", "Effect against cost", "loss on other text, nats per token", "mass on positive answers", trade}};
    for (size_t i = 0; i < SG_COUNT_OF(figures); i++) {
        const sg_panel panel = {.n_series = 3, .series = figures[i].series};
        SG_TRY(sg_result_add_figure(result,
                                    &(sg_figure){.id = figures[i].id,
                                                 .title = figures[i].title,
                                                 .kind = SG_FIGURE_LINES,
                                                 .x = {.label = figures[i].across},
                                                 .y = {.label = figures[i].up},
                                                 .n_panels = 1,
                                                 .panels = &panel},
                                    err));
    }
    return SG_OK;
}

static sg_status run_sweep(sg_method_run *r, sg_error *err)
{
    sg_model *m;
    sg_edit_list *list = NULL, *wrong = NULL;
    sweep s = {.r = r};
    const char *text = sg_method_text(r, "text");
    SG_TRY(sg_method_model(r, 0, &m, err));
    s.m = m;
    SG_TRY(sg_method_numbers(r, "strengths", &s.strength, &s.n, err));
    sg_status status = s.n < 1 || s.n > MOST_STRENGTHS
                           ? sg_fail(err, SG_EARG, "steer: %d strengths, wanted 1 to %d", s.n, MOST_STRENGTHS)
                           : SG_OK;
    if (status == SG_OK)
        status = sg_steer_edits(&list, sg_method_input_at(r, 1), err);
    if (status == SG_OK)
        status = sg_method_data(r, sg_method_input_at(r, 1), err);
    for (int i = 0; list && i < sg_edit_list_count(list) && status == SG_OK; i++)
        if (sg_edit_list_source(list, i) || !sg_edit_list_at(list, i)->value.data ||
            sg_edit_list_at(list, i)->op != SG_EDIT_ADD)
            status = sg_fail(err, SG_EARG, "%s: edit %d adds no numbers of its own, so there is no random one as long",
                             sg_method_input_at(r, 1), i);
    if (status == SG_OK)
        status = sg_steer_asked(r, m, sg_method_input_at(r, 2), &s.d, err);
    if (status == SG_OK && text)
        status = sg_method_data(r, text, err);
    if (status == SG_OK)
        status = sg_steer_other(&s.other, m, text ? text : sg_method_input_at(r, 2),
                                (sg_dim)sg_method_number(r, "rows"), (sg_dim)sg_method_number(r, "time"), err);
    if (status == SG_OK && !text)
        status = sg_result_note(sg_method_result(r), "other text is the data file itself; --text names another");
    if (status == SG_OK)
        status = measure(&s, list, s.real, "the edits", err);
    if (status == SG_OK)
        status = measure_random(&s, list, err);
    if (status == SG_OK)
        status = misled(&wrong, r, m, list, s.d, err);
    if (status == SG_OK)
        status = measure(&s, wrong, s.shuffled, "shuffled kinds", err);
    if (status == SG_OK)
        status = tell_sweep(&s, err);
    sg_edit_list_free(list);
    sg_edit_list_free(wrong);
    sg_steer_data_free(s.d);
    free(s.other.data);
    free(s.strength);
    return status;
}

static const sg_method_input sweep_inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1, "a model that writes texts"},
    {"EDITS", SG_METHOD_FILE, 1, 1, "edits (steer fit), or a control vector"},
    {"DATA", SG_METHOD_FILE, 1, 1, "questions or pairs as for steer fit, others than it was fitted to (--part)"},
};

static const sg_option sweep_options[] = {
    {"strengths", SG_OPTION_TEXT, "0,0.5,1,2,4,8", 0, 0, NULL, "each times the edits' own; several with commas"},
    {"text", SG_OPTION_PATH, "", 0, 0, NULL, "a file of other text, on which cost is measured"},
    {"rows", SG_OPTION_WHOLE, "16", 1, 100000, NULL, "pieces of other text"},
    {"time", SG_OPTION_WHOLE, "64", 2, 100000, NULL, "tokens of each"},
    {"draws", SG_OPTION_WHOLE, "3", 1, 100, NULL, "random directions"},
    DATA_OPTIONS,
};

const sg_method sg_method_steer_sweep = {
    .name = "steer",
    .action = "sweep",
    .help = "what edits do and what they cost, against their strength",
    .about = "mass: likelihood of the positive answers over that of all (MC2; of pairs, of the positive text), first: "
             "share of questions whose best answer is the likeliest (MC1), "
             "by summed log-probability. loss: of other text, nats per token. KL: of its next token, without the edits "
             "against with them. Each beside random directions as long "
             "and the difference of means of shuffled kinds.",
    .n_inputs = SG_COUNT_OF(sweep_inputs),
    .inputs = sweep_inputs,
    .n_options = SG_COUNT_OF(sweep_options),
    .options = sweep_options,
    .run = run_sweep,
};
