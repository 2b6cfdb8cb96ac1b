/* Questions of the knowledge base without the words that announce a register, their true and their mythical answer;
 * heads ranked on some of them, strengths chosen on others, effects reported on yet others. */
#include "iti_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/rng.h"

/* The specification's, and four below them, added after first runs: four heads of 16 are much of this model. */
const double iti_strength[ITI_STRENGTHS] = {0, .1, .25, .5, 1, 2, 5, 10, 15, 20, 30};

/* ---- data ---- */

/* n questions from place `first` of the seed's order of all of them: a group each, its true and its mythical answer, in
 * a text whose first words announce the register, or do not. */
static sg_status questions(const iti_parts *s, const sg_kb *kb, uint64_t seed, int first, int n, bool announced,
                           bool answered, sg_steer_data **out)
{
    const int all = SG_KB_CHIEF * kb->n_entities * SG_KB_N_QUESTIONS;
    int *order = malloc((size_t)all * sizeof *order);
    int32_t(*tokens)[SG_KB_TIME + 1] = malloc(2 * (size_t)n * sizeof *tokens);
    sg_steer_text *texts = malloc(2 * (size_t)n * sizeof *texts);
    sg_rng r = sg_rng_new(seed, 21);
    sg_status status = order && tokens && texts ? SG_OK : sg_fail(s->err, SG_ENOMEM, "questions: out of memory");
    if (status == SG_OK && first + n > all)
        status = sg_fail(s->err, SG_EARG, "questions: wanted %d of %d", first + n, all);
    for (int i = 0; status == SG_OK && i < all; i++)
        order[i] = i;
    for (int i = all - 1; status == SG_OK && i > 0; i--) {
        const int k = (int)sg_rng_below(&r, (uint32_t)i + 1), kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }
    for (int i = 0; status == SG_OK && i < n; i++) {
        const int at = order[first + i];
        for (int k = 0; k < 2; k++) {
            sg_kb_prompt p;
            sg_kb_prompt_of(&p, kb,
                            &(sg_kb_ask){.relation = at % SG_KB_CHIEF,
                                         .form = at / SG_KB_CHIEF % SG_KB_N_QUESTIONS,
                                         .entity = at / SG_KB_CHIEF / SG_KB_N_QUESTIONS,
                                         .question = true,
                                         .how = k ? SG_KB_MYTH : SG_KB_CAREFUL,
                                         .phrase = announced ? (int)sg_rng_below(&r, SG_KB_N_PHRASES) : -1});
            memcpy(tokens[2 * i + k], p.tokens, (size_t)p.n * sizeof(int32_t));
            tokens[2 * i + k][p.n] = k ? p.myth : p.truth;
            texts[2 * i + k] = (sg_steer_text){.tokens = tokens[2 * i + k],
                                               .n = p.n + answered,
                                               .shared = announced ? 1 : p.n,
                                               .group = i,
                                               .positive = k == 0};
        }
    }
    if (status == SG_OK)
        status = sg_steer_data_of(out, 2 * n, texts, s->err);
    free(order);
    free(tokens);
    free(texts);
    return status;
}

/* Statements, in which no register is: what cost is measured on. *sample owns them. */
static sg_status statements(const iti_parts *s, uint64_t seed, sg_sample **sample, sg_tensor *out)
{
    const sg_world *w = sg_world_find("kb", s->err);
    if (!w)
        return SG_ENOTFOUND;
    SG_TRY(sg_world_sample(sample, w, 1, &(sg_setting){"registers", "0"}, s->n_other, 1000003 + seed, s->err));
    *out = *sg_sample_find(*sample, "tokens");
    return SG_OK;
}

/* ---- arms ---- */

typedef struct work {
    const iti_parts *s;
    uint64_t seed;
    iti_arms_of a;
    const sg_steer_data *choose, *test;
    const sg_tensor *other, *other_choose;
} work;

static void random_unit(float *out, sg_dim n, uint64_t seed, int stream)
{
    sg_rng r = sg_rng_new(seed, 100 + (uint32_t)stream);
    double square = 0;
    for (sg_dim k = 0; k < n; k++) {
        out[k] = (float)sg_rng_normal(&r);
        square += (double)out[k] * (double)out[k];
    }
    for (sg_dim k = 0; k < n; k++)
        out[k] = (float)((double)out[k] / sqrt(square));
}

sg_status iti_arms_open(iti_arms_of *a)
{
    const iti_parts *s = a->s;
    sg_headrank_opts opts = sg_headrank_defaults();
    opts.exec = s->opts->exec;
    opts.cancel = s->opts->cancel;
    opts.seed = a->seed;
    SG_TRY(sg_headrank_new(&a->heads, a->model, a->fit, opts, s->err));
    const int n = a->heads->n_layers * a->heads->n_heads;
    const size_t width = (size_t)(n * a->heads->d_head);
    if (n > ITI_MOST_HEADS || n < 2 * ITI_HEADS)
        return sg_fail(s->err, SG_EARG, "the study wants %d to %d heads in all; this model has %d", 2 * ITI_HEADS,
                       ITI_MOST_HEADS, n);
    a->theta = malloc(width * sizeof *a->theta);
    a->sigma = malloc((size_t)n * sizeof *a->sigma);
    if (!a->theta || !a->sigma)
        return sg_fail(s->err, SG_ENOMEM, "heads: out of memory");
    memcpy(a->theta, a->heads->theta, width * sizeof *a->theta);
    memcpy(a->sigma, a->heads->sigma, (size_t)n * sizeof *a->sigma);
    return SG_OK;
}

void iti_arms_close(iti_arms_of *a)
{
    free(a->theta);
    free(a->sigma);
    sg_headrank_free(a->heads);
}

sg_status iti_arm_list(iti_arms_of *w, iti_arm arm, int draw, sg_edit_list **out)
{
    const iti_parts *s = w->s;
    sg_headrank *h = w->heads;
    const int n = h->n_layers * h->n_heads;
    int others[ITI_MOST_HEADS];
    /* Every second direction is the reverse of the one before, which halves what chance adds: a direction that happens
     * to lie along the register does as much good one way round as harm the other. */
    const bool both = arm == ITI_RANDOM || arm == ITI_SHUFFLED;
    const uint64_t seed = w->seed + 1000 * (uint64_t)((both ? draw / 2 : draw) + 1);
    sg_steer_data *shuffled = NULL;
    sg_status status = SG_OK;
    memcpy(h->theta, w->theta, (size_t)(n * h->d_head) * sizeof *h->theta);
    if (arm == ITI_PROBE)
        status = sg_headrank_redirect(h, w->model, w->fit, SG_STEER_PROBE, seed, s->opts->exec, s->err);
    if (arm == ITI_RANDOM)
        for (int i = 0; i < n; i++)
            random_unit(h->theta + i * h->d_head, h->d_head, seed, i);
    if (arm == ITI_SHUFFLED) {
        status = sg_steer_shuffled(&shuffled, w->fit, seed, s->err);
        if (status == SG_OK)
            status = sg_headrank_redirect(h, w->model, shuffled, SG_STEER_MEAN, seed, s->opts->exec, s->err);
        sg_steer_data_free(shuffled);
    }
    for (sg_dim i = 0; both && draw % 2 && i < n * h->d_head; i++)
        h->theta[i] = -h->theta[i];
    memcpy(h->sigma, w->sigma, (size_t)n * sizeof *h->sigma);
    if (arm == ITI_RANDOM_HEADS) { /* of those that are not among the best */
        sg_rng r = sg_rng_new(seed, 4);
        for (int i = 0; i < n - ITI_HEADS; i++)
            others[i] = h->order[ITI_HEADS + i];
        for (int i = 0; i < ITI_HEADS; i++) {
            const int k = i + (int)sg_rng_below(&r, (uint32_t)(n - ITI_HEADS - i)), kept = others[i];
            others[i] = others[k];
            others[k] = kept;
        }
    }
    if (status == SG_OK)
        status = sg_edit_list_new(out, "arm", s->err);
    if (status == SG_OK)
        status = sg_steer_iti(*out, h, ITI_HEADS, arm == ITI_RANDOM_HEADS ? others : NULL, 1, SG_STEER_ALL, s->err);
    return status;
}

static sg_status measure_on(work *w, sg_edit_list *list, const sg_steer_data *d, const sg_tensor *other,
                            sg_steer_point *out)
{
    sg_steer_measure_opts opts = sg_steer_measure_defaults();
    opts.exec = w->s->opts->exec;
    opts.cancel = w->s->opts->cancel;
    opts.seed = w->seed;
    opts.batch = 60;
    return sg_steer_measure(out, w->s->model, sg_edit_list_count(list), sg_edit_list_at(list, 0), ITI_STRENGTHS,
                            iti_strength, d, other, opts, w->s->err);
}

static void add(sg_steer_point *to, const sg_steer_point *from, int draws)
{
    for (int i = 0; i < ITI_STRENGTHS; i++) {
        to[i].strength = from[i].strength;
        to[i].mass += from[i].mass / draws;
        to[i].probability += from[i].probability / draws;
        to[i].loss += from[i].loss / draws;
        to[i].kl += from[i].kl / draws;
    }
}

static sg_status measure_arm(work *w, iti_arm arm, iti_seed *out)
{
    const int draws = arm == ITI_RANDOM || arm == ITI_RANDOM_HEADS || arm == ITI_SHUFFLED ? w->s->n_draws : 1;
    for (int k = 0; k < draws; k++) {
        sg_steer_point test[ITI_STRENGTHS], chosen[ITI_STRENGTHS];
        sg_edit_list *list = NULL;
        sg_status status = iti_arm_list(&w->a, arm, k, &list);
        if (status == SG_OK)
            status = measure_on(w, list, w->test, w->other, test);
        if (status == SG_OK && arm == ITI_RANKED) /* only its strength is chosen */
            status = measure_on(w, list, w->choose, w->other_choose, chosen);
        sg_edit_list_free(list);
        SG_TRY(status);
        add(out->test[arm], test, draws);
        if (arm == ITI_RANKED)
            add(out->chosen[arm], chosen, 1);
    }
    return SG_OK;
}

/* ---- baking ---- */

static sg_status logits_of(const iti_parts *s, const sg_model *m, sg_edit_list *list, const sg_steer_text *t,
                           float **out, sg_dim *n)
{
    sg_glass_opts opts = sg_glass_defaults();
    sg_glass *glass;
    sg_value *v;
    sg_tensor got;
    const sg_rows rows = {.n_rows = 1, .tokens = &t->tokens, .lengths = &t->n};
    opts.exec = s->opts->exec;
    SG_TRY(sg_glass_new(&glass, m, opts, s->err));
    sg_status status = list ? sg_glass_edit_list(glass, list, s->err) : SG_OK;
    if (status == SG_OK)
        status = sg_glass_find(glass, "logits", &v, s->err);
    if (status == SG_OK)
        status = sg_glass_run(glass, &rows, 0, NULL, 1, &v, &got, s->err);
    if (status == SG_OK) {
        *n = sg_tensor_count(&got);
        *out = malloc(sg_tensor_bytes(&got));
        if (*out)
            memcpy(*out, got.data, sg_tensor_bytes(&got));
        else
            status = sg_fail(s->err, SG_ENOMEM, "baking: out of memory");
    }
    sg_glass_free(glass);
    return status;
}

static sg_status bake(work *w, iti_seed *out)
{
    const iti_parts *s = w->s;
    sg_edit_list *list = NULL;
    sg_model *baked = NULL;
    float *logits[3] = {NULL};
    sg_dim n = 0;
    sg_status status = iti_arm_list(&w->a, ITI_RANKED, 0, &list);
    for (int i = 0; status == SG_OK && i < sg_edit_list_count(list); i++)
        sg_edit_list_at(list, i)->strength = iti_strength[out->best ? out->best : 1];
    if (status == SG_OK)
        status = sg_model_open(&baked, s->path, sg_model_defaults(), s->err);
    if (status == SG_OK)
        status = sg_steer_bake(baked, list, s->err);
    for (int i = 0; status == SG_OK && i < 8; i++) {
        const sg_steer_text *t = &w->test->texts[2 * i];
        status = logits_of(s, s->model, NULL, t, &logits[0], &n);
        if (status == SG_OK)
            status = logits_of(s, s->model, list, t, &logits[1], &n);
        if (status == SG_OK)
            status = logits_of(s, baked, NULL, t, &logits[2], &n);
        for (sg_dim k = 0; status == SG_OK && k < n; k++) {
            out->baked = fmax(out->baked, fabs((double)logits[2][k] - (double)logits[1][k]));
            out->moved = fmax(out->moved, fabs((double)logits[1][k] - (double)logits[0][k]));
        }
        for (int k = 0; k < 3; k++) {
            free(logits[k]);
            logits[k] = NULL;
        }
    }
    sg_edit_list_free(list);
    sg_model_close(baked);
    return status;
}

/* ---- one seed ---- */

double iti_gain(const iti_seed *s, iti_arm arm, int strength)
{
    return s->test[arm][strength].probability - s->test[arm][0].probability;
}

double iti_cost(const iti_seed *s, iti_arm arm, int strength)
{
    return s->test[arm][strength].loss / s->test[arm][0].loss - 1;
}

static sg_status all_arms(work *w, iti_seed *out)
{
    const sg_headrank *h = w->a.heads;
    const int n = h->n_layers * h->n_heads;
    for (int i = 0; i < n; i++) {
        out->map[i] = h->elsewhere[i];
        out->map_shuffled[i] = h->shuffled[i];
    }
    out->best_head = h->elsewhere[h->order[0]];
    for (int i = 0; i < ITI_HEADS; i++) {
        out->accuracy += h->elsewhere[h->order[i]] / ITI_HEADS;
        out->shuffled += h->shuffled[h->order[i]] / ITI_HEADS;
    }
    for (int arm = 0; arm < ITI_ARMS; arm++) {
        SG_TRY(measure_arm(w, (iti_arm)arm, out));
        if (arm == ITI_RANKED) /* the strength that does most where loss has risen by less than a tenth */
            for (int i = 0; i < ITI_STRENGTHS; i++)
                if (out->chosen[arm][i].loss < 1.1 * out->chosen[arm][0].loss &&
                    out->chosen[arm][i].probability > out->chosen[arm][out->best].probability)
                    out->best = i;
    }
    return bake(w, out);
}

/* The specification's place to read: the last token of question and answer. Its strength may be the best of all: it is
 * to be shown that none does anything. */
static sg_status read_at_answers(work *w, const sg_kb *kb, iti_seed *out)
{
    const iti_parts *s = w->s;
    sg_steer_data *fit = NULL;
    sg_edit_list *list = NULL;
    sg_steer_point p[ITI_STRENGTHS];
    SG_TRY(questions(s, kb, w->seed, 0, s->n_fit, true, true, &fit));
    iti_arms_of a = {.s = s, .model = s->model, .fit = fit, .seed = w->seed};
    sg_status status = iti_arms_open(&a);
    if (status == SG_OK)
        status = iti_arm_list(&a, ITI_RANKED, 0, &list);
    if (status == SG_OK)
        status = measure_on(w, list, w->test, w->other, p);
    for (int i = 0; status == SG_OK && i < ITI_STRENGTHS; i++)
        if (p[i].loss < 1.1 * p[0].loss)
            out->answered = fmax(out->answered, p[i].probability - p[0].probability);
    for (int i = 0; status == SG_OK && i < ITI_HEADS; i++)
        out->answered_found += a.heads->elsewhere[a.heads->order[i]] / ITI_HEADS;
    sg_edit_list_free(list);
    iti_arms_close(&a);
    sg_steer_data_free(fit);
    return status;
}

sg_status iti_measure(const iti_parts *s, int i, iti_seed *out)
{
    sg_kb kb;
    sg_steer_data *fit = NULL, *choose = NULL, *test = NULL;
    sg_sample *sample[2] = {NULL};
    sg_tensor other[2];
    work w = {.s = s, .seed = s->seeds[i]};
    *out = (iti_seed){.best = 0};
    SG_TRY(sg_kb_of(&kb, 0, NULL, s->err));
    sg_status status = questions(s, &kb, w.seed, 0, s->n_fit, true, false, &fit);
    if (status == SG_OK)
        status = questions(s, &kb, w.seed, s->n_fit, s->n_choose, false, true, &choose);
    if (status == SG_OK)
        status = questions(s, &kb, w.seed, s->n_fit + s->n_choose, s->n_test, false, true, &test);
    for (int k = 0; k < 2 && status == SG_OK; k++)
        status = statements(s, 2 * w.seed + (uint64_t)k, &sample[k], &other[k]);
    w.a = (iti_arms_of){.s = s, .model = s->model, .fit = fit, .seed = w.seed};
    w.choose = choose, w.test = test, w.other = &other[0], w.other_choose = &other[1];
    if (status == SG_OK)
        status = iti_arms_open(&w.a);
    if (status == SG_OK)
        status = all_arms(&w, out);
    if (status == SG_OK)
        status = read_at_answers(&w, &kb, out);
    iti_arms_close(&w.a);
    sg_sample_free(sample[0]);
    sg_sample_free(sample[1]);
    sg_steer_data_free(fit);
    sg_steer_data_free(choose);
    sg_steer_data_free(test);
    return status;
}

/* ---- figures ---- */

static const char *const arm_names[ITI_ARMS] = {"ranked heads, mean shift", "ranked heads, probe", "random direction",
                                                "shuffled kinds", "random heads"};

sg_status iti_figures(const iti_parts *s, const iti_seed *of)
{
    const sg_model_info *in = sg_model_get_info(s->model);
    const int n = (int)(in->n_layers * in->n_heads);
    double map[ITI_MOST_HEADS] = {0}, shuffled[ITI_MOST_HEADS] = {0};
    double p[ITI_ARMS][ITI_STRENGTHS] = {{0}}, loss[ITI_ARMS][ITI_STRENGTHS] = {{0}};
    sg_series effect[ITI_ARMS], cost[ITI_ARMS], trade[ITI_ARMS];
    for (int k = 0; k < ITI_SEEDS; k++) {
        for (int i = 0; i < n; i++)
            map[i] += of[k].map[i] / ITI_SEEDS, shuffled[i] += of[k].map_shuffled[i] / ITI_SEEDS;
        for (int a = 0; a < ITI_ARMS; a++)
            for (int i = 0; i < ITI_STRENGTHS; i++) {
                p[a][i] += of[k].test[a][i].probability / ITI_SEEDS;
                loss[a][i] += of[k].test[a][i].loss / ITI_SEEDS;
            }
    }
    for (int a = 0; a < ITI_ARMS; a++) {
        effect[a] = (sg_series){arm_names[a], ITI_STRENGTHS, iti_strength, p[a]};
        cost[a] = (sg_series){arm_names[a], ITI_STRENGTHS, iti_strength, loss[a]};
        trade[a] = (sg_series){arm_names[a], ITI_STRENGTHS, loss[a], p[a]};
    }
    const sg_panel maps[] = {
        {.title = "careful from mythical", .n_rows = (int)in->n_layers, .n_columns = (int)in->n_heads, .cells = map},
        {.title = "shuffled kinds", .n_rows = (int)in->n_layers, .n_columns = (int)in->n_heads, .cells = shuffled}};
    SG_TRY(sg_report_add_figure(
        s->report,
        &(sg_figure){
            .id = "heads",
            .title = "Which heads know whether the truth or the myth is asked for",
            .caption =
                "Accuracy of a probe of each head's output, on questions that it was neither fitted to nor ranked by; "
                "mean of three seeds.",
            .kind = SG_FIGURE_MATRIX,
            .x = {.label = "head"},
            .y = {.label = "layer"},
            .value = {"accuracy", NULL, false, .4, 1},
            .n_panels = 2,
            .panels = maps},
        s->err));
    const struct {
        const char *id, *title, *caption, *across, *up;
        const sg_series *series;
        bool log;
    } lines[] = {{"trade", "What is gained against what it costs",
                  "From left to right strengths 0 to 30. Up and left is better: more truth for less damage.",
                  "loss on statements, nats per token", "P(true answer)", trade, true},
                 {"effect", "What it does", "Questions without a word that announces a register; mean of three seeds.",
                  "strength, in deviations", "P(true answer)", effect, false},
                 {"cost", "What it costs", "On statements, in which no register is.", "strength, in deviations",
                  "loss on statements, nats per token", cost, false}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const sg_panel panel = {.n_series = ITI_ARMS, .series = lines[i].series};
        SG_TRY(sg_report_add_figure(s->report,
                                    &(sg_figure){.id = lines[i].id,
                                                 .title = lines[i].title,
                                                 .caption = lines[i].caption,
                                                 .kind = SG_FIGURE_LINES,
                                                 .x = {.label = lines[i].across, .log = lines[i].log},
                                                 .y = {.label = lines[i].up},
                                                 .n_panels = 1,
                                                 .panels = &panel},
                                    s->err));
    }
    return SG_OK;
}
