/* sightglass qprobe fit and pick: samples of a model, their rewards, a probe, and what its picks earn. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/methods.h"
#include "sightglass/qprobe.h"
#include "sightglass/reward.h"
#include "sightglass/statistics.h"
#include "sightglass/texts.h"

enum { MOST_K = 64, N_BETAS = 4, MOST_PROMPTS = 100000 };
static const double betas[N_BETAS] = {0, .01, .1, 1};

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "q-probe: out of memory");
}

/* ---- sampling ---- */

typedef struct work {
    sg_method_run *r;
    sg_model *m;
    sg_reward *reward;
    sg_batch *batch;
    sg_generate_opts opts;
    int k;
    sg_arena *arena;
    char **prompts;
    sg_dim n_prompts, room, n, n_fit, width; /* samples, in all and to fit on */
    float *x;
    double *rewards, *lengths, *shuffled, *q, *q_shuffled;
    int32_t *group;
    sg_qprobe *probe, *control;
} work;

static void work_free(work *w)
{
    for (sg_dim i = 0; i < w->n_prompts; i++)
        free(w->prompts[i]);
    free(w->prompts);
    free(w->x);
    free(w->rewards);
    free(w->group);
    sg_qprobe_free(w->probe);
    sg_qprobe_free(w->control);
    sg_batch_free(w->batch);
    sg_reward_free(w->reward);
    sg_arena_free(w->arena);
}

static sg_status read_prompts(work *w, const char *path, sg_error *err)
{
    sg_texts *t;
    sg_text text;
    sg_status status;
    SG_TRY(sg_texts_open(&t, path, sg_method_text(w->r, "field"), err));
    while ((status = sg_texts_next(t, &text, err)) == SG_OK && text.bytes) {
        if (w->n_prompts == w->room) {
            w->room = SG_MAX(2 * w->room, (sg_dim)64);
            char **more = realloc(w->prompts, (size_t)w->room * sizeof *more);
            if (!more) {
                status = no_memory(err);
                break;
            }
            w->prompts = more;
        }
        if (w->n_prompts == MOST_PROMPTS || !(w->prompts[w->n_prompts] = strdup(text.bytes))) {
            status = w->n_prompts == MOST_PROMPTS
                         ? sg_fail(err, SG_EARG, "%s has more than %d prompts", path, MOST_PROMPTS)
                         : no_memory(err);
            break;
        }
        w->n_prompts++;
    }
    sg_texts_close(t);
    SG_TRY(status);
    if (w->n_prompts < 8)
        return sg_fail(err, SG_EARG, "%s has %" PRId64 " prompts, wanted at least 8 to fit and to judge on", path,
                       w->n_prompts);
    return SG_OK;
}

static sg_generate_opts how(const sg_method_run *r)
{
    sg_generate_opts opts = sg_generate_defaults();
    opts.most = (sg_dim)sg_method_number(r, "tokens");
    opts.sample.temperature = sg_method_number(r, "temperature");
    opts.seed = sg_method_seed(r);
    return opts;
}

static sg_status encode(const sg_model *m, const char *prompt, sg_tokens *ids, sg_error *err)
{
    if (!sg_model_tokenizer(m))
        return sg_fail(err, SG_EUNSUPPORTED, "q-probe: %s has no tokenizer", sg_model_get_info(m)->path);
    return sg_tokenizer_encode(sg_model_tokenizer(m), prompt, sg_encode_defaults(), ids, err);
}

/* After each run of the model, so that a long completion can be stopped too. */
static sg_status stopped(void *run, int first, int n_rows, sg_dim time, sg_error *err)
{
    const volatile sig_atomic_t *cancel = sg_method_cancel(run);
    (void)first;
    (void)n_rows;
    (void)time;
    return cancel && *cancel ? sg_fail(err, SG_ECANCELLED, "q-probe: stopped") : SG_OK;
}

static sg_status sample(work *w, sg_dim p, sg_error *err)
{
    sg_tokens ids = {0};
    sg_qprobe_samples s = {.k = 0};
    sg_generate_opts opts = w->opts;
    opts.stream = (uint32_t)(p * w->k);
    sg_status status = encode(w->m, w->prompts[p], &ids, err);
    if (status == SG_OK)
        status = sg_qprobe_sample(&s, w->batch, ids.ids, ids.n, w->k, &opts, err);
    for (int i = 0; i < s.k && status == SG_OK; i++) {
        const sg_dim at = p * w->k + i;
        memcpy(w->x + at * w->width, s.embeddings + i * w->width, (size_t)w->width * sizeof(float));
        w->lengths[at] = (double)s.lengths[i];
        w->group[at] = (int32_t)p;
        status = sg_reward_of(w->reward, w->prompts[p], s.texts[i].text ? s.texts[i].text : "", &w->rewards[at], err);
    }
    sg_qprobe_samples_free(&s);
    sg_tokens_free(&ids);
    return status;
}

static sg_status sample_all(work *w, sg_error *err)
{
    w->n = w->n_prompts * w->k;
    w->width = sg_model_get_info(w->m)->d_model;
    w->x = malloc((size_t)(w->n * w->width) * sizeof *w->x);
    w->rewards = calloc((size_t)(5 * w->n), sizeof *w->rewards);
    w->group = malloc((size_t)w->n * sizeof *w->group);
    if (!w->x || !w->rewards || !w->group)
        return no_memory(err);
    w->lengths = w->rewards + w->n;
    w->shuffled = w->lengths + w->n;
    w->q = w->shuffled + w->n;
    w->q_shuffled = w->q + w->n;
    SG_TRY(sg_qprobe_batch(&w->batch, w->m, w->k, sg_method_exec(w->r), err));
    sg_batch_watch(w->batch, stopped, w->r);
    for (sg_dim p = 0; p < w->n_prompts; p++) {
        SG_TRY(sample(w, p, err));
        sg_method_progress(w->r, .8 * (double)(p + 1) / (double)w->n_prompts, "samples");
    }
    return SG_OK;
}

/* ---- fitting ---- */

static sg_qprobe_opts fit_opts(const work *w)
{
    sg_qprobe_opts o = sg_qprobe_defaults();
    o.loss = (sg_qprobe_loss)(int)sg_method_number(w->r, "loss");
    o.n_hidden = (int)sg_method_number(w->r, "hidden");
    o.lr = sg_method_number(w->r, "lr");
    o.n_epochs = (sg_dim)sg_method_number(w->r, "epochs");
    o.chunk = SG_MIN(o.chunk, (sg_dim)w->k);
    o.seed = sg_method_seed(w->r);
    o.exec = sg_method_exec(w->r);
    o.cancel = sg_method_cancel(w->r);
    return o;
}

static sg_status fit_both(work *w, sg_error *err)
{
    const sg_tensor fitted = sg_tensor_of(SG_F32, 2, (sg_dim[]){w->n_fit, w->width}, w->x),
                    all = sg_tensor_of(SG_F32, 2, (sg_dim[]){w->n, w->width}, w->x);
    const sg_qprobe_opts opts = fit_opts(w);
    memcpy(w->shuffled, w->rewards, (size_t)w->n * sizeof *w->shuffled);
    sg_qprobe_shuffle(w->shuffled, w->n_fit, w->group, opts.seed);
    sg_method_progress(w->r, .8, "fit");
    SG_TRY(sg_qprobe_fit(&w->probe, &fitted, w->rewards, w->group, opts, err));
    sg_method_progress(w->r, .9, "rewards shuffled");
    SG_TRY(sg_qprobe_fit(&w->control, &fitted, w->shuffled, w->group, opts, err));
    SG_TRY(sg_qprobe_score(w->probe, &all, w->q, err));
    return sg_qprobe_score(w->control, &all, w->q_shuffled, err);
}

/* ---- what is told ---- */

typedef struct curve {
    int n, k[8];
    sg_qprobe_rates by[N_BETAS][8], shuffled[8];
} curve;

static sg_status judge(const work *w, curve *c, sg_error *err)
{
    const sg_dim n = w->n - w->n_fit;
    const double *q = w->q + w->n_fit, *r = w->rewards + w->n_fit;
    for (int k = 1; k <= w->k; k *= 2)
        c->k[c->n++] = k;
    for (int i = 0; i < c->n; i++) {
        for (int b = 0; b < N_BETAS; b++)
            SG_TRY(sg_qprobe_judge(&c->by[b][i], n, q, r, w->group + w->n_fit, c->k[i], betas[b], sg_method_seed(w->r),
                                   err));
        SG_TRY(sg_qprobe_judge(&c->shuffled[i], n, w->q_shuffled + w->n_fit, r, w->group + w->n_fit, c->k[i], 0,
                               sg_method_seed(w->r), err));
    }
    return SG_OK;
}

static sg_status tell_curve(const work *w, const curve *c, sg_error *err)
{
    enum { COLUMNS = 8 };
    static const char *const columns[COLUMNS] = {"k",         "random", "beta 1",           "beta 0.1",
                                                 "beta 0.01", "beta 0", "shuffled, beta 0", "best of k"};
    sg_cell cells[8 * COLUMNS];
    double x[8], y[4][8];
    for (int i = 0; i < c->n; i++) {
        const double row[COLUMNS] = {c->k[i],
                                     c->by[0][i].random,
                                     c->by[3][i].picked,
                                     c->by[2][i].picked,
                                     c->by[1][i].picked,
                                     c->by[0][i].picked,
                                     c->shuffled[i].picked,
                                     c->by[0][i].oracle};
        for (int j = 0; j < COLUMNS; j++)
            cells[i * COLUMNS + j] = (sg_cell){NULL, row[j]};
        x[i] = c->k[i];
        y[0][i] = row[5];
        y[1][i] = row[3];
        y[2][i] = row[6];
        y[3][i] = row[7];
    }
    SG_TRY(sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){.id = "reward",
                           .title = "Mean reward of the pick, on prompts held out",
                           .n_columns = COLUMNS,
                           .n_rows = c->n,
                           .columns = columns,
                           .cells = cells,
                           .control = "random: any of the k; shuffled: a probe fitted to rewards shuffled within each "
                                      "prompt. Best of k is by the true reward: an upper bound, no method"},
        err));
    const sg_series series[] = {{"picked, beta 0", c->n, x, y[0]},
                                {"picked, beta 0.1", c->n, x, y[1]},
                                {"probe of shuffled rewards", c->n, x, y[2]},
                                {"best of k (bound)", c->n, x, y[3]}};
    const sg_panel panel = {.n_series = 4, .series = series};
    return sg_result_add_figure(
        sg_method_result(w->r),
        &(sg_figure){.id = "reward",
                     .title = "Reward against k",
                     .kind = SG_FIGURE_LINES,
                     .caption = "On prompts held out. The best by the true reward is a bound that no method reaches.",
                     .x = {.label = "k", .log = true},
                     .y = {.label = "mean reward"},
                     .n_panels = 1,
                     .panels = &panel},
        err);
}

static sg_status finding(const work *w, const char *id, const char *text, double value, const sg_interval *within,
                         int64_t n, const char *control, double control_value, const sg_interval *control_within,
                         sg_error *err)
{
    const sg_interval unknown = {(double)NAN, (double)NAN};
    within = within ? within : &unknown;
    control_within = control_within ? control_within : &unknown;
    return sg_result_add(sg_method_result(w->r),
                         &(sg_finding){.id = id,
                                       .text = text,
                                       .value = value,
                                       .low = within->low,
                                       .high = within->high,
                                       .n = n,
                                       .control = control,
                                       .control_value = control_value,
                                       .control_low = control_within->low,
                                       .control_high = control_within->high},
                         err);
}

/* A correlation that is not there where nothing varies: told as 0. */
static double pearson(sg_dim n, const double *a, const double *b)
{
    const double r = sg_stats_pearson(n, a, b);
    return isfinite(r) ? r : 0;
}

static sg_status tell(work *w, sg_error *err)
{
    curve c = {.n = 0};
    char text[200];
    const sg_dim n = w->n - w->n_fit;
    const double *q = w->q + w->n_fit, *r = w->rewards + w->n_fit, *lengths = w->lengths + w->n_fit;
    SG_TRY(judge(w, &c, err));
    const int last = c.n - 1;
    snprintf(text, sizeof text, "mean reward of the best of %d by Q, on %" PRId64 " prompts held out", c.k[last],
             n / w->k);
    const sg_qprobe_rates *best = &c.by[0][last];
    SG_TRY(finding(w, "reward", text, best->picked, &best->within, best->n_sets, "any of them", best->random,
                   &best->random_within, err));
    SG_TRY(finding(w, "shuffled", "the same of a probe fitted to rewards shuffled within each prompt",
                   c.shuffled[last].picked, &c.shuffled[last].within, best->n_sets, "any of them", best->random,
                   &best->random_within, err));
    SG_TRY(finding(w, "q-reward", "correlation of Q with the true reward, on prompts held out", pearson(n, q, r), NULL,
                   n, "Q of the probe of shuffled rewards", pearson(n, w->q_shuffled + w->n_fit, r), NULL, err));
    SG_TRY(finding(w, "q-reward-fit", "the same on what was fitted", pearson(w->n_fit, w->q, w->rewards), NULL,
                   w->n_fit, "Q of the probe of shuffled rewards", pearson(w->n_fit, w->q_shuffled, w->rewards), NULL,
                   err));
    if (isfinite(sg_stats_pearson(n, lengths, r)) || isfinite(sg_stats_pearson(n, lengths, q))) {
        SG_TRY(finding(
            w, "q-length", "correlation of Q with the completion's length: is the probe a detector of length?",
            pearson(n, q, lengths), NULL, n, "the true reward's with the length", pearson(n, r, lengths), NULL, err));
    } else {
        SG_TRY(sg_result_note(sg_method_result(w->r),
                              "All completions are of one length, so that the probe cannot be a detector of it."));
    }
    SG_TRY(tell_curve(w, &c, err));
    const int shown = (int)SG_MIN(n, (sg_dim)1000);
    const sg_series points = {"completions", shown, q, r};
    const sg_panel panel = {.n_series = 1, .series = &points};
    SG_TRY(sg_result_add_figure(
        sg_method_result(w->r),
        &(sg_figure){.id = "q",
                     .title = "Q against the true reward",
                     .kind = SG_FIGURE_POINTS,
                     .caption =
                         "On prompts held out. Q that rises where the reward does not is a probe that is taken in.",
                     .x = {.label = "Q"},
                     .y = {.label = "reward"},
                     .n_panels = 1,
                     .panels = &panel},
        err));
    return sg_result_note(sg_method_result(w->r),
                          "%" PRId64 " prompts with %d completions each, of which %" PRId64
                          " prompts were fitted on; epoch %d was kept. The best of %d "
                          "has a KL of at most %.2f nats from the model.",
                          w->n_prompts, w->k, w->n_fit / w->k, sg_qprobe_n_epochs(w->probe), c.k[last],
                          sg_qprobe_best_kl(c.k[last]));
}

static sg_status save(const work *w, sg_error *err)
{
    const char *path = sg_method_out(w->r);
    char site[64];
    if (!path)
        return SG_OK;
    snprintf(site, sizeof site, "blocks.%" PRId64 ".hook_resid_post", sg_model_get_info(w->m)->n_layers - 1);
    const sg_qprobe_about about = {.site = site,
                                   .model = sg_method_input_at(w->r, 0),
                                   .reward = sg_method_text(w->r, "reward"),
                                   .loss = sg_qprobe_loss_name((sg_qprobe_loss)(int)sg_method_number(w->r, "loss")),
                                   .model_hash = sg_model_hash(w->m)};
    SG_TRY(sg_qprobe_save(w->probe, &about, path, err));
    return sg_result_add_file(sg_method_result(w->r), path, "the probe, for qprobe pick", err);
}

static sg_status fit(work *w, sg_error *err)
{
    const char *path = sg_method_text(w->r, "prompts"), *reward = sg_method_text(w->r, "reward");
    if (!path || !reward)
        return sg_fail(err, SG_EARG, "--%s is missing", path ? "reward WHAT" : "prompts FILE");
    if (sg_method_from_afar(w->r) && (strncmp(reward, "command:", 8) == 0 || strncmp(reward, "words:", 6) == 0))
        return sg_fail(err, SG_EARG, "--reward %.40s: a request runs no commands and names no files of the machine",
                       reward);
    w->k = (int)sg_method_number(w->r, "k");
    w->opts = how(w->r);
    SG_TRY(sg_reward_open(&w->reward, reward, err));
    if (sg_method_out(w->r))
        SG_TRY(sg_writer_check(sg_method_out(w->r), err));
    SG_TRY(sg_method_model(w->r, 0, &w->m, err));
    SG_TRY(sg_method_data(w->r, path, err));
    SG_TRY(read_prompts(w, path, err));
    SG_TRY(sample_all(w, err));
    const sg_dim held = SG_MAX((sg_dim)(sg_method_number(w->r, "held") * (double)w->n_prompts), (sg_dim)2);
    w->n_fit = (w->n_prompts - held) * w->k;
    SG_TRY(fit_both(w, err));
    SG_TRY(tell(w, err));
    return save(w, err);
}

static sg_status run_fit(sg_method_run *r, sg_error *err)
{
    work w = {.r = r};
    const sg_status status = fit(&w, err);
    work_free(&w);
    return status;
}

/* ---- picking ---- */

static sg_status tell_candidates(const work *w, const sg_qprobe_samples *s, const double *q, int picked, double beta,
                                 sg_error *err)
{
    enum { COLUMNS = 6 };
    static const char *const columns[COLUMNS] = {"", "Q", "p", "tokens", "times", "completion"};
    const int k = s->k;
    sg_cell *cells = sg_arena_array(w->arena, (size_t)(k * COLUMNS), sizeof *cells);
    double *p = sg_arena_array(w->arena, (size_t)k, sizeof *p);
    if (!cells || !p)
        return no_memory(err);
    sg_qprobe_weights(p, q, k, beta);
    for (int i = 0; i < k; i++) {
        const char *text = s->texts[i].text ? s->texts[i].text : "";
        double times = 0;
        for (int j = 0; j < k; j++)
            times += !strcmp(text, s->texts[j].text ? s->texts[j].text : "");
        char *one_line = sg_arena_strdup(w->arena, text);
        if (!one_line)
            return no_memory(err);
        for (char *c = one_line; *c; c++)
            *c = *c == '\n' || *c == '\t' || *c == '\r' ? ' ' : *c;
        const sg_cell row[COLUMNS] = {{i == picked ? ">" : " ", 0},  {NULL, q[i]},  {NULL, p[i]},
                                      {NULL, (double)s->lengths[i]}, {NULL, times}, {one_line, 0}};
        memcpy(cells + i * COLUMNS, row, sizeof row);
    }
    return sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){
            .id = "candidates",
            .title = "Candidates, in the order in which they were drawn; > is the pick",
            .n_columns = COLUMNS,
            .n_rows = k,
            .columns = columns,
            .cells = cells,
            .control = "p beside 1/k, that of no choice; a completion that was drawn several times has p as often"},
        err);
}

static sg_status pick(work *w, sg_error *err)
{
    const double beta = sg_method_number(w->r, "beta");
    const char *prompt = sg_method_input_at(w->r, 2);
    sg_qprobe_about about;
    sg_tokens ids = {0};
    sg_qprobe_samples s = {.k = 0};
    w->k = (int)sg_method_number(w->r, "k");
    w->opts = how(w->r);
    SG_TRY(sg_method_model(w->r, 0, &w->m, err));
    SG_TRY(sg_method_data(w->r, sg_method_input_at(w->r, 1), err));
    SG_TRY(sg_qprobe_open(&w->probe, &about, sg_method_input_at(w->r, 1), err));
    if (sg_qprobe_width(w->probe) != sg_model_get_info(w->m)->d_model)
        return sg_fail(err, SG_ESHAPE, "%s reads %" PRId64 " numbers, the model has %" PRId64,
                       sg_method_input_at(w->r, 1), sg_qprobe_width(w->probe), sg_model_get_info(w->m)->d_model);
    SG_TRY(sg_qprobe_batch(&w->batch, w->m, w->k, sg_method_exec(w->r), err));
    sg_batch_watch(w->batch, stopped, w->r);
    w->arena = sg_arena_new();
    double *q = w->arena ? sg_arena_array(w->arena, (size_t)w->k, sizeof *q) : NULL, mean = 0;
    if (!q)
        return no_memory(err);
    sg_method_progress(w->r, 0, "samples");
    sg_status status = encode(w->m, prompt, &ids, err);
    if (status == SG_OK)
        status = sg_qprobe_sample(&s, w->batch, ids.ids, ids.n, w->k, &w->opts, err);
    if (status == SG_OK)
        status = sg_qprobe_score(
            w->probe, &(sg_tensor){.dtype = SG_F32, .n_dims = 2, .dims = {w->k, s.width}, .data = s.embeddings}, q,
            err);
    if (status == SG_OK) {
        sg_rng rng = sg_rng_new(sg_method_seed(w->r), UINT32_MAX); /* no completion's stream */
        const int i = sg_qprobe_pick(q, w->k, beta, &rng);
        for (int j = 0; j < w->k; j++)
            mean += q[j] / w->k;
        status = finding(w, "q", "Q of the pick", q[i], NULL, w->k, "the mean of the candidates: a pick at random",
                         mean, NULL, err);
        if (status == SG_OK)
            status = tell_candidates(w, &s, q, i, beta, err);
        if (status == SG_OK)
            status = sg_result_note(sg_method_result(w->r), "The pick: %s%s", prompt,
                                    s.texts[i].text ? s.texts[i].text : "");
        if (status == SG_OK && about.model_hash != sg_model_hash(w->m))
            status = sg_result_note(sg_method_result(w->r), "The probe was fitted on another model, %s.", about.model);
    }
    sg_qprobe_samples_free(&s);
    sg_tokens_free(&ids);
    return status;
}

static sg_status run_pick(sg_method_run *r, sg_error *err)
{
    work w = {.r = r};
    const sg_status status = pick(&w, err);
    work_free(&w);
    return status;
}

/* ---- the methods ---- */

static const sg_method_input fit_inputs[] = {{"MODEL", SG_METHOD_MODEL, 1, 1, "a model that goes on with a text"}};
static const sg_option fit_options[] = {
    {"prompts", SG_OPTION_PATH, "", 0, 0, NULL, "file of JSON lines, or of text"},
    {"field", SG_OPTION_TEXT, "prompt", 0, 0, NULL, "of the JSON lines that is the prompt"},
    {"reward", SG_OPTION_TEXT, "", 0, 0, NULL, "regex:PATTERN, words:FILE, arithmetic, brackets or command:COMMAND"},
    {"k", SG_OPTION_WHOLE, "50", 2, MOST_K, NULL, "completions of each prompt"},
    {"tokens", SG_OPTION_WHOLE, "32", 1, 4096, NULL, "of a completion, at most"},
    {"temperature", SG_OPTION_REAL, "1", 0.01, 100, NULL, "of sampling"},
    {"loss", SG_OPTION_CHOICE, "pg", 0, 0, "mse|bce|pg|cpg", "what is fitted: rewards, or the reward that picks earn"},
    {"hidden", SG_OPTION_WHOLE, "0", 0, 2, NULL, "hidden layers of 256; 0 is a linear probe"},
    {"epochs", SG_OPTION_WHOLE, "150", 1, 100000, NULL, "over the samples"},
    {"lr", SG_OPTION_REAL, "0.00005", 1e-9, 1, NULL, "learning rate"},
    {"held", SG_OPTION_REAL, "0.25", 0.01, 0.9, NULL, "share of prompts, the last ones, that are judged on"},
};

const sg_method sg_method_qprobe_fit = {
    .name = "qprobe",
    .action = "fit",
    .help = "fit a probe that picks among completions by their hidden state",
    .about = "Draws k completions of each prompt, rewards them, and fits a probe on the last hidden state such that "
             "picks by softmax(Q / beta) "
             "earn most (Li et al. 2024). Judged on prompts held out, beside any of the k, the best of k, and a probe "
             "of shuffled rewards.",
    .artefact = "a file: the probe, as safetensors",
    .n_inputs = SG_COUNT_OF(fit_inputs),
    .inputs = fit_inputs,
    .n_options = SG_COUNT_OF(fit_options),
    .options = fit_options,
    .run = run_fit,
};

static const sg_method_input pick_inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1, "the model that the probe was fitted on"},
    {"PROBE", SG_METHOD_FILE, 1, 1, "what qprobe fit wrote"},
    {"PROMPT", SG_METHOD_TEXT, 1, 1, "a text to go on with"}};
static const sg_option pick_options[] = {
    {"k", SG_OPTION_WHOLE, "16", 1, MOST_K, NULL, "completions to pick from"},
    {"beta", SG_OPTION_REAL, "0.1", 0, 1e9, NULL, "0 is the best by Q; large is any"},
    {"tokens", SG_OPTION_WHOLE, "32", 1, 4096, NULL, "of a completion, at most"},
    {"temperature", SG_OPTION_REAL, "1", 0.01, 100, NULL, "of sampling"},
};

const sg_method sg_method_qprobe_pick = {
    .name = "qprobe",
    .action = "pick",
    .help = "draw k completions and pick one by a probe",
    .about = "k completions of the prompt, which is read once; one is picked with probability softmax(Q / beta). As k "
             "grows this samples what "
             "maximises Q less beta times the KL from the model (Li et al. 2024).",
    .n_inputs = SG_COUNT_OF(pick_inputs),
    .inputs = pick_inputs,
    .n_options = SG_COUNT_OF(pick_options),
    .options = pick_options,
    .run = run_pick,
};
