/* Laws by counting picks beside the exact ones; and strings of brackets, rewarded where they are balanced. */
#include "q_probe_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/reward.h"
#include "sightglass/statistics.h"
#include "sightglass/world.h"

const double qp_betas[QP_BETAS] = {.1, .5, 1};

static void tell(const qp_parts *p, const char *part, double done)
{
    const sg_study_progress at = {.part = part, .done = done, .seconds_left = (double)NAN, .loss = (double)NAN};
    if (p->opts->progress)
        p->opts->progress(p->opts->context, &at);
}

static sg_status asked_to_stop(const qp_parts *p)
{
    return p->opts->cancel && *p->opts->cancel ? sg_fail(p->err, SG_ECANCELLED, "q-probe: stopped") : SG_OK;
}

/* ---- part A: no model ---- */

typedef struct completions {
    double pi0[QP_COMPLETIONS], q[QP_COMPLETIONS], w[QP_COMPLETIONS];
    double upto[QP_COMPLETIONS]; /* cumulated pi0 */
} completions;

static void draw_completions(completions *c, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 100);
    double sum = 0;
    for (int a = 0; a < QP_COMPLETIONS; a++) {
        c->pi0[a] = .05 + sg_rng_uniform(&r);
        c->q[a] = sg_rng_uniform(&r);
        sum += c->pi0[a];
    }
    for (int a = 0; a < QP_COMPLETIONS; a++) {
        c->pi0[a] /= sum;
        c->upto[a] = c->pi0[a] + (a ? c->upto[a - 1] : 0);
    }
}

/* Rates of completions among picks from k draws. A pick by weight is one of the draws as they come: draw i takes the
 * place of the pick so far with probability w_i over the sum of the first i (reservoir sampling), which is softmax over
 * all k in the end. */
static void count_picks(double *rate, const completions *c, int k, int n, sg_rng *r)
{
    for (int a = 0; a < QP_COMPLETIONS; a++)
        rate[a] = 0;
    for (int i = 0; i < n; i++) {
        double sum = 0;
        int pick = 0;
        for (int j = 0; j < k; j++) {
            const double u = (double)sg_rng_word(r) / 4294967296.0;
            int a = 0;
            while (a < QP_COMPLETIONS - 1 && u >= c->upto[a])
                a++;
            sum += c->w[a];
            if (j == 0 || (double)sg_rng_word(r) / 4294967296.0 * sum < c->w[a])
                pick = a;
        }
        rate[pick] += 1.0 / n;
    }
}

static double share_beyond(const double *rate, const double *law, int n)
{
    double beyond = 0;
    for (int a = 0; a < QP_COMPLETIONS; a++)
        beyond += fabs(rate[a] - law[a]) > 3 * sqrt(law[a] * (1 - law[a]) / n);
    return beyond / QP_COMPLETIONS;
}

static sg_status law_of(const qp_parts *p, qp_law *out, completions *c, double beta, uint64_t seed, uint32_t stream)
{
    double limit[QP_COMPLETIONS], wrong[QP_COMPLETIONS], law[QP_COMPLETIONS], rate[QP_COMPLETIONS];
    sg_rng r = sg_rng_new(seed, 200 + stream);
    SG_TRY(sg_qprobe_limit(limit, QP_COMPLETIONS, c->pi0, c->q, beta, p->err));
    SG_TRY(sg_qprobe_limit(wrong, QP_COMPLETIONS, c->pi0, c->q, beta / 2, p->err));
    for (int a = 0; a < QP_COMPLETIONS; a++)
        c->w[a] = exp(c->q[a] / beta);
    for (int i = 0; i < QP_DOUBLINGS; i++) {
        const int k = 2 << i;
        SG_TRY(asked_to_stop(p));
        SG_TRY(sg_qprobe_law(law, QP_COMPLETIONS, c->pi0, c->q, k, beta, p->err));
        count_picks(rate, c, k, p->n_picks, &r);
        out->exact[i] = sg_qprobe_distance(law, limit, QP_COMPLETIONS);
        out->sampled[i] = sg_qprobe_distance(rate, limit, QP_COMPLETIONS);
        out->to_wrong[i] = sg_qprobe_distance(rate, wrong, QP_COMPLETIONS);
        if (i == 0) {
            SG_TRY(sg_qprobe_law_by_sets(law, QP_COMPLETIONS, c->pi0, c->q, k, beta, p->err));
            out->beyond = share_beyond(rate, law, p->n_picks);
            out->beyond_plain = share_beyond(rate, c->pi0, p->n_picks);
        }
    }
    return SG_OK;
}

sg_status qp_laws(qp_parts *p)
{
    for (int s = 0; s < QP_SEEDS; s++) {
        completions c;
        draw_completions(&c, p->seeds[s]);
        for (int b = 0; b < QP_BETAS; b++) {
            SG_TRY(law_of(p, &p->laws[s][b], &c, qp_betas[b], p->seeds[s], (uint32_t)b));
            tell(p, "laws", (double)(s * QP_BETAS + b + 1) / (QP_SEEDS * QP_BETAS));
        }
    }
    return SG_OK;
}

/* ---- part B: brackets ---- */

enum { GIVEN = 7, MOST = 26, HELD_OUT = 1000003 }; /* a prompt: the beginning and six brackets */

typedef struct strings {
    sg_dim n, n_fit, width;
    float *x;
    double *reward, *length, *shuffled, *q;
    int32_t *group;
} strings;

static void strings_free(strings *s)
{
    free(s->x);
    free(s->reward);
    free(s->group);
    *s = (strings){.n = 0};
}

static sg_status strings_new(strings *s, const qp_parts *p, const sg_model *m, int n_fit, int n_judge)
{
    const size_t n = (size_t)(n_fit + n_judge) * (size_t)p->k;
    *s = (strings){.n = (sg_dim)n, .n_fit = (sg_dim)n_fit * p->k, .width = sg_model_get_info(m)->d_model};
    s->x = malloc(n * (size_t)s->width * sizeof *s->x);
    s->reward = calloc(4 * n, sizeof *s->reward);
    s->group = malloc(n * sizeof *s->group);
    if (!s->x || !s->reward || !s->group) {
        strings_free(s);
        return sg_fail(p->err, SG_ENOMEM, "out of memory");
    }
    s->length = s->reward + n;
    s->shuffled = s->length + n;
    s->q = s->shuffled + n;
    return SG_OK;
}

static char *bracket(const sg_model *m, int32_t id)
{
    static const char *const texts[] = {"", "(", ")", ""};
    (void)m;
    return strdup(id >= 0 && id < 4 ? texts[id] : "?");
}

static sg_status sample_prompt(const qp_parts *p, strings *s, sg_batch *b, const sg_reward *balanced,
                               const int32_t *prompt, int at, uint64_t seed)
{
    char given[GIVEN + 1] = "";
    sg_qprobe_samples got;
    sg_generate_opts opts = sg_generate_defaults();
    sg_status status = SG_OK;
    opts.most = MOST;
    opts.sample.temperature = 1;
    opts.seed = seed;
    opts.stream = (uint32_t)(at * p->k);
    opts.token_text = bracket;
    for (int i = 1; i < GIVEN; i++)
        strcat(given, prompt[i] == 1 ? "(" : ")");
    SG_TRY(sg_qprobe_sample(&got, b, prompt, GIVEN, p->k, &opts, p->err));
    for (int i = 0; i < p->k && status == SG_OK; i++) {
        const sg_dim k = (sg_dim)at * p->k + i;
        const bool ended = strcmp(got.texts[i].reason, "stop") == 0;
        memcpy(s->x + k * s->width, got.embeddings + i * s->width, (size_t)s->width * sizeof *s->x);
        s->group[k] = at;
        s->length[k] = (double)got.lengths[i];
        status = sg_reward_of(balanced, given, got.texts[i].text ? got.texts[i].text : "", &s->reward[k], p->err);
        s->reward[k] *= ended; /* a string that goes on is none */
    }
    sg_qprobe_samples_free(&got);
    return status;
}

static sg_status sample_all(const qp_parts *p, strings *s, uint64_t seed, int which)
{
    const int n = p->n_prompts[0] + p->n_prompts[1];
    sg_sample *world = NULL;
    sg_batch *b = NULL;
    sg_reward *balanced = NULL;
    sg_exec_opts exec = p->opts->exec;
    exec.n_threads = 1;
    sg_status status = sg_world_sample(&world, sg_world_find("brackets", NULL), 0, NULL, n, seed + HELD_OUT, p->err);
    if (status == SG_OK)
        status = sg_qprobe_batch(&b, p->model, SG_BATCH_ROWS, exec, p->err);
    if (status == SG_OK)
        status = sg_reward_open(&balanced, "brackets", p->err);
    for (int i = 0; i < n && status == SG_OK; i++) {
        const sg_tensor *t = sg_sample_find(world, "tokens");
        status = asked_to_stop(p);
        if (status == SG_OK)
            status = sample_prompt(p, s, b, balanced, (const int32_t *)t->data + i * t->dims[1], i, seed);
        tell(p, "strings", (which + (double)(i + 1) / n) / QP_SEEDS);
    }
    sg_reward_free(balanced);
    sg_batch_free(b);
    sg_sample_free(world);
    return status;
}

/* A probe fitted to the rewards, and Q of all strings. */
static sg_status fit(const qp_parts *p, const strings *s, const double *reward, sg_qprobe_loss loss, int n_hidden,
                     uint64_t seed)
{
    const sg_tensor fitted = sg_tensor_of(SG_F32, 2, (sg_dim[]){s->n_fit, s->width}, s->x),
                    all = sg_tensor_of(SG_F32, 2, (sg_dim[]){s->n, s->width}, s->x);
    sg_qprobe_opts o = sg_qprobe_defaults();
    sg_qprobe *q;
    o.loss = loss;
    o.n_hidden = n_hidden;
    o.width = 64;
    o.lr = 1e-3;
    o.n_epochs = 100;
    o.seed = seed;
    o.cancel = p->opts->cancel;
    o.exec = p->opts->exec;
    o.exec.n_threads = 1;
    SG_TRY(sg_qprobe_fit(&q, &fitted, reward, s->group, o, p->err));
    const sg_status status = sg_qprobe_score(q, &all, s->q, p->err);
    sg_qprobe_free(q);
    return status;
}

static sg_status judge(const qp_parts *p, const strings *s, sg_qprobe_rates *out, int k, double beta)
{
    return sg_qprobe_judge(out, s->n - s->n_fit, s->q + s->n_fit, s->reward + s->n_fit, s->group + s->n_fit, k, beta, 0,
                           p->err);
}

static sg_status look(const qp_parts *p, qp_picks *out, strings *s, uint64_t seed)
{
    const sg_dim held = s->n - s->n_fit, from = s->n_fit;
    memcpy(s->shuffled, s->reward, (size_t)s->n * sizeof *s->shuffled);
    sg_qprobe_shuffle(s->shuffled, s->n_fit, s->group, seed);
    SG_TRY(fit(p, s, s->shuffled, SG_QPROBE_PG, 1, seed));
    for (int i = 0; i < QP_KS; i++)
        SG_TRY(judge(p, s, &out->shuffled[i], 1 << i, 0));
    SG_TRY(fit(p, s, s->reward, SG_QPROBE_PG, 0, seed));
    SG_TRY(judge(p, s, &out->linear, 16, 0));
    for (int loss = 0; loss < SG_N_QPROBE_LOSSES; loss++) {
        SG_TRY(fit(p, s, s->reward, (sg_qprobe_loss)loss, 1, seed));
        SG_TRY(judge(p, s, &out->by_loss[loss], 16, 0));
        if (loss != SG_QPROBE_PG)
            continue;
        for (int i = 0; i < QP_KS; i++) {
            SG_TRY(judge(p, s, &out->own[i], 1 << i, 0));
            SG_TRY(judge(p, s, &out->soft[i], 1 << i, .1));
        }
        out->length = sg_stats_pearson(held, s->q + from, s->length + from);
        out->reward_length = sg_stats_pearson(held, s->reward + from, s->length + from);
        out->q_reward = sg_stats_pearson(held, s->q + from, s->reward + from);
        out->q_reward_fit = sg_stats_pearson(s->n_fit, s->q, s->reward);
    }
    out->base = out->own[0].random;
    return SG_OK;
}

sg_status qp_model(qp_parts *p)
{
    for (int i = 0; i < QP_SEEDS; i++) {
        strings s;
        SG_TRY(strings_new(&s, p, p->model, p->n_prompts[0], p->n_prompts[1]));
        sg_status status = sample_all(p, &s, p->seeds[i], i);
        if (status == SG_OK)
            status = look(p, &p->picks[i], &s, p->seeds[i]);
        strings_free(&s);
        SG_TRY(status);
    }
    return SG_OK;
}

/* ---- part C: sums modulo 13, a b = c and whether c is right; c is right in half of what the model was trained on ----
 */

enum { P = 13, PAIRS = P * P, PAIRS_FIT = 120, EQUALS = P };

static sg_status sample_sums(const qp_parts *p, strings *s, uint64_t seed)
{
    int pairs[PAIRS];
    sg_rng r = sg_rng_new(seed, 300);
    sg_batch *b;
    sg_exec_opts exec = p->opts->exec;
    exec.n_threads = 1;
    for (int i = 0; i < PAIRS; i++) { /* some to fit on, the others to judge on */
        const int at = (int)sg_rng_below(&r, (uint32_t)i + 1);
        pairs[i] = i;
        pairs[i] = pairs[at];
        pairs[at] = i;
    }
    SG_TRY(sg_qprobe_batch(&b, p->adder, SG_BATCH_ROWS, exec, p->err));
    sg_status status = SG_OK;
    for (int i = 0; i < PAIRS && status == SG_OK; i++) {
        const int32_t prompt[3] = {pairs[i] / P, pairs[i] % P, EQUALS};
        sg_qprobe_samples got;
        sg_generate_opts opts = sg_generate_defaults();
        opts.most = 1;
        opts.sample.temperature = 1;
        opts.seed = seed;
        opts.stream = (uint32_t)(i * p->k);
        status = asked_to_stop(p);
        if (status == SG_OK)
            status = sg_qprobe_sample(&got, b, prompt, 3, p->k, &opts, p->err);
        for (int j = 0; j < p->k && status == SG_OK; j++) {
            const sg_dim at = (sg_dim)i * p->k + j;
            memcpy(s->x + at * s->width, got.embeddings + j * s->width, (size_t)s->width * sizeof *s->x);
            s->group[at] = i;
            s->length[at] = (double)got.lengths[j];
            s->reward[at] = got.texts[j].n_tokens == 1 && got.texts[j].tokens[0].id == (prompt[0] + prompt[1]) % P;
        }
        if (status == SG_OK)
            sg_qprobe_samples_free(&got);
    }
    sg_batch_free(b);
    return status;
}

sg_status qp_sums(qp_parts *p)
{
    for (int i = 0; i < QP_SEEDS; i++) {
        strings s;
        SG_TRY(strings_new(&s, p, p->adder, PAIRS_FIT, PAIRS - PAIRS_FIT));
        sg_status status = sample_sums(p, &s, p->seeds[i]);
        if (status == SG_OK)
            status = look(p, &p->sums[i], &s, p->seeds[i]);
        strings_free(&s);
        SG_TRY(status);
        tell(p, "sums", (double)(i + 1) / QP_SEEDS);
    }
    return SG_OK;
}

/* ---- figures ---- */

static sg_status law_figure(const qp_parts *p)
{
    static const char *const names[QP_BETAS][3] = {{"picks, beta .1", "exact, beta .1", "to pi* of beta .05"},
                                                   {"picks, beta .5", "exact, beta .5", "to pi* of beta .25"},
                                                   {"picks, beta 1", "exact, beta 1", "to pi* of beta .5"}};
    sg_series series[QP_BETAS][3];
    sg_panel panels[QP_BETAS] = {{0}};
    double k[QP_DOUBLINGS];
    for (int i = 0; i < QP_DOUBLINGS; i++)
        k[i] = 2 << i;
    for (int b = 0; b < QP_BETAS; b++) {
        const qp_law *l = &p->laws[0][b];
        const double *y[3] = {l->sampled, l->exact, l->to_wrong};
        for (int j = 0; j < 3; j++)
            series[b][j] = (sg_series){names[b][j], QP_DOUBLINGS, k, y[j]};
        panels[b] = (sg_panel){.title = names[b][1] + 7, .n_series = 3, .series = series[b]};
    }
    return sg_report_add_figure(p->report,
                                &(sg_figure){.id = "laws",
                                             .title = "How far the law of the pick is from its limit",
                                             .kind = SG_FIGURE_LINES,
                                             .caption = "Total variation to pi*. The exact law falls as 1/k; counted "
                                                        "picks end at the noise of counting; the limit of "
                                                        "half the beta stays away. First seed.",
                                             .x = {.label = "k", .log = true},
                                             .y = {.label = "total variation", .log = true},
                                             .n_panels = QP_BETAS,
                                             .panels = panels},
                                p->err);
}

static sg_status reward_figure(const qp_parts *p)
{
    static const char *const names[5] = {"picked, beta 0", "picked, beta .1", "shuffled rewards, beta 0", "any of them",
                                         "best of k (bound)"};
    double k[QP_KS], y[2][5][QP_KS] = {{{0}}};
    sg_series series[2][5];
    for (int i = 0; i < QP_KS; i++) {
        k[i] = 1 << i;
        for (int s = 0; s < 2 * QP_SEEDS; s++) {
            const qp_picks *c = s < QP_SEEDS ? &p->picks[s] : &p->sums[s - QP_SEEDS];
            const double of[5] = {c->own[i].picked, c->soft[i].picked, c->shuffled[i].picked, c->own[i].random,
                                  c->own[i].oracle};
            for (int j = 0; j < 5; j++)
                y[s / QP_SEEDS][j][i] += of[j] / QP_SEEDS;
        }
    }
    for (int j = 0; j < 10; j++)
        series[j / 5][j % 5] = (sg_series){names[j % 5], QP_KS, k, y[j / 5][j % 5]};
    const sg_panel panels[2] = {{.title = "brackets", .n_series = 5, .series = series[0]},
                                {.title = "sums", .n_series = 5, .series = series[1]}};
    return sg_report_add_figure(
        p->report,
        &(sg_figure){.id = "reward",
                     .title = "Balanced strings and right sums among the picks",
                     .kind = SG_FIGURE_LINES,
                     .caption =
                         "On prompts held out, mean of three seeds. The best of k is by the true reward: a bound, "
                         "no method.",
                     .x = {.label = "k", .log = true},
                     .y = {.label = "share right", .low = 0, .high = 1.02},
                     .n_panels = 2,
                     .panels = panels},
        p->err);
}

static sg_status loss_figure(const qp_parts *p)
{
    enum { N = QP_SEEDS * (SG_N_QPROBE_LOSSES + 1) };
    double x[N], y[N];
    int n = 0;
    for (int loss = 0; loss <= SG_N_QPROBE_LOSSES; loss++)
        for (int s = 0; s < QP_SEEDS; s++, n++) {
            const sg_qprobe_rates *r = loss < SG_N_QPROBE_LOSSES ? &p->picks[s].by_loss[loss] : &p->picks[s].linear;
            x[n] = loss + 1;
            y[n] = (r->picked - r->random) / (r->oracle - r->random);
        }
    const sg_series series = {"share of the way from any to the best, k = 16", N, x, y};
    const sg_panel panel = {.n_series = 1, .series = &series};
    return sg_report_add_figure(
        p->report,
        &(sg_figure){
            .id = "losses",
            .title = "Losses",
            .kind = SG_FIGURE_POINTS,
            .caption =
                "1 mse, 2 bce, 3 pg, 4 cpg, each with a hidden layer, 5 a linear probe by pg; a point for each seed.",
            .x = {.label = "loss", .low = .5, .high = 5.5},
            .y = {.label = "share of the way"},
            .n_panels = 1,
            .panels = &panel},
        p->err);
}

sg_status qp_figures(const qp_parts *p)
{
    SG_TRY(law_figure(p));
    SG_TRY(reward_figure(p));
    return loss_figure(p);
}
