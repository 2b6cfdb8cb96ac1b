/* The same on real text: phrases of movie reviews (SST-2). A model of words is trained on one half of them; heads are
 * ranked by its last tokens of phrases with labels; what it writes is judged by a bag of words that was fitted to the
 * other half. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iti_parts.h"
#include "sightglass/generate.h"
#include "sightglass/learner.h"
#include "sightglass/probe.h"
#include "sightglass/rng.h"

enum {
    BOS,
    UNKNOWN,
    FIRST_WORD,
    VOCABULARY = 3000,
    ROW = 32,
    MOST_WORDS = 30,
    JUDGED = 6000,
    TEXTS = 96,
    LENGTH = 12,
    ARMS = 4
};

static const iti_arm arms[ARMS] = {ITI_RANKED, ITI_RANDOM, ITI_SHUFFLED, ITI_RANDOM_HEADS};

typedef struct phrase {
    int32_t words[MOST_WORDS + 1]; /* BOS first */
    int n;
    bool positive;
} phrase;

typedef struct text_work {
    const iti_parts *s;
    phrase *phrases; /* even ones are the model's, odd ones the judge's */
    int n;
    int32_t *rows; /* [n_rows,ROW] of the model's half */
    sg_dim n_rows;
    char dir[64];
    sg_model *model;
    sg_probe *judge;
    double judge_right;
    /* [seeds][arms][strengths] */
    double positive[ITI_SEEDS][ARMS][ITI_STRENGTHS], chosen[ITI_SEEDS][ITI_STRENGTHS],
        loss[ITI_SEEDS][ARMS][ITI_STRENGTHS];
    double found[ITI_SEEDS], shuffled[ITI_SEEDS];
    int best[ITI_SEEDS];
    float *bag; /* [JUDGED,VOCABULARY] */
} text_work;

static sg_status no_memory(const text_work *w)
{
    return sg_fail(w->s->err, SG_ENOMEM, "phrases: out of memory");
}

/* ---- phrases ---- */

typedef struct word {
    const char *text;
    int count;
} word;

static int by_text(const void *a, const void *b)
{
    return strcmp(((const word *)a)->text, ((const word *)b)->text);
}

static int by_count(const void *a, const void *b)
{
    const word *x = a, *y = b;
    return x->count != y->count ? (y->count > x->count) - (y->count < x->count) : strcmp(x->text, y->text);
}

/* Sorted words with their counts; the most frequent ones get numbers. *vocabulary sorted by text, count the number. */
static int number_words(word *words, int n)
{
    int distinct = 0;
    qsort(words, (size_t)n, sizeof *words, by_text);
    for (int i = 0; i < n; i++) {
        if (distinct && !strcmp(words[distinct - 1].text, words[i].text))
            words[distinct - 1].count++;
        else
            words[distinct++] = (word){words[i].text, 1};
    }
    qsort(words, (size_t)distinct, sizeof *words, by_count);
    const int kept = distinct < VOCABULARY - FIRST_WORD ? distinct : VOCABULARY - FIRST_WORD;
    for (int i = 0; i < kept; i++)
        words[i].count = FIRST_WORD + i;
    qsort(words, (size_t)kept, sizeof *words, by_text);
    return kept;
}

/* Lines "text TAB label" into `all`, each as its label, its text and a NUL. */
static sg_status read_lines(text_work *w, const char *path, char *all, size_t room, int most, int *n_lines)
{
    FILE *f = fopen(path, "rb");
    char line[4096];
    size_t bytes = 0;
    if (!f)
        return sg_fail(w->s->err, SG_EIO, "%s: cannot be read", path);
    *n_lines = 0;
    while (fgets(line, sizeof line, f) && *n_lines < most) {
        char *tab = strchr(line, '\t');
        if (!tab || (tab[1] != '0' && tab[1] != '1')) /* the names of the columns */
            continue;
        const size_t length = (size_t)(tab - line);
        if (bytes + length + 2 > room)
            break;
        all[bytes] = tab[1];
        memcpy(all + bytes + 1, line, length);
        all[bytes + 1 + length] = 0;
        bytes += length + 2;
        ++*n_lines;
    }
    fclose(f);
    return SG_OK;
}

static sg_status read_phrases(text_work *w, const char *path)
{
    enum { MOST = 70000, MOST_TOLD = 1 << 20, ROOM = 8 << 20 };
    char *all = calloc(ROOM, 1), *told = malloc(ROOM), *save;
    word *words = malloc(MOST_TOLD * sizeof *words);
    int n_lines = 0, n_words = 0;
    w->phrases = malloc(MOST * sizeof *w->phrases);
    sg_status status = all && told && words && w->phrases ? SG_OK : no_memory(w);
    if (status == SG_OK)
        status = read_lines(w, path, all, ROOM, MOST, &n_lines);
    if (status == SG_OK)
        memcpy(told, all, ROOM); /* cut into words, which are counted: those of the model's half alone */
    char *at = told;
    for (int i = 0; status == SG_OK && i < n_lines; i++) {
        char *next = at + strlen(at) + 1;
        for (char *t = strtok_r(at + 1, " ", &save); t; t = strtok_r(NULL, " ", &save))
            if (i % 2 == 0 && n_words < MOST_TOLD)
                words[n_words++] = (word){t, 1};
        at = next;
    }
    const int kept = status == SG_OK ? number_words(words, n_words) : 0;
    at = all;
    for (int i = 0; status == SG_OK && i < n_lines; i++) {
        char *next = at + strlen(at) + 1;
        phrase *p = &w->phrases[w->n++];
        *p = (phrase){.words = {BOS}, .n = 1, .positive = *at == '1'};
        for (char *t = strtok_r(at + 1, " ", &save); t && p->n <= MOST_WORDS; t = strtok_r(NULL, " ", &save)) {
            const word *found = bsearch(&(word){t, 0}, words, (size_t)kept, sizeof *words, by_text);
            p->words[p->n++] = found ? found->count : UNKNOWN;
        }
        at = next;
    }
    free(all);
    free(told);
    free(words);
    return status;
}

/* The model's half as rows, phrases one behind the other: all but the last 64, which cost is measured on. */
static sg_status make_rows(text_work *w)
{
    sg_dim n = 0;
    w->rows = malloc((size_t)w->n * (MOST_WORDS + 1) / 2 * sizeof *w->rows + ROW * sizeof *w->rows);
    if (!w->rows)
        return no_memory(w);
    for (int i = 0; i < w->n; i += 2)
        for (int k = 0; k < w->phrases[i].n; k++)
            w->rows[n++] = w->phrases[i].words[k];
    w->n_rows = n / ROW;
    return w->n_rows > 1000 ? SG_OK
                            : sg_fail(w->s->err, SG_EFORMAT, "phrases: %lld rows are too few", (long long)w->n_rows);
}

enum { HELD = 64 };

/* ---- the model ---- */

static sg_status fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    const text_work *w = self;
    sg_rng r = sg_rng_new(7, 3);
    (void)err;
    r.step = (uint64_t)i;
    for (sg_dim row = 0; row < field[0].dims[0]; row++)
        memcpy((int32_t *)field[0].data + row * ROW,
               w->rows + ROW * (sg_dim)sg_rng_below(&r, (uint32_t)(w->n_rows - HELD)), ROW * sizeof(int32_t));
    return SG_OK;
}

static void pass_on(void *context, const sg_train_progress *at)
{
    const sg_study_opts *opts = context;
    if (opts->progress)
        opts->progress(opts->context, &(sg_study_progress){"a model of phrases", (double)at->step / (double)at->n_steps,
                                                           at->seconds_left, at->loss});
}

static sg_status train_model(text_work *w)
{
    static const char config[] = "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], "
                                 "\"hidden_size\": 96, \"num_hidden_layers\": 4, "
                                 "\"num_attention_heads\": 4, \"num_key_value_heads\": 4, \"intermediate_size\": 192, "
                                 "\"max_position_embeddings\": 64, "
                                 "\"vocab_size\": 3000, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-5, "
                                 "\"rope_theta\": 10000, \"bos_token_id\": 0, "
                                 "\"tie_word_embeddings\": true}\n";
    enum { STEPS = 600, BATCH = 32 };
    char path[128];
    sg_model *fresh = NULL;
    sg_learner *l = NULL;
    sg_learner_opts opts = sg_learner_defaults();
    const sg_source source = {
        .n_fields = 1, .field = {sg_tensor_of(SG_I32, 2, (sg_dim[]){BATCH, ROW}, NULL)}, .fill = fill, .self = w};
    snprintf(w->dir, sizeof w->dir, "/tmp/sightglass-phrases-XXXXXX");
    if (!mkdtemp(w->dir)) {
        w->dir[0] = 0;
        return sg_fail(w->s->err, SG_EIO, "phrases: no folder for a model can be made in /tmp");
    }
    snprintf(path, sizeof path, "%s/config.json", w->dir);
    FILE *f = fopen(path, "w");
    if (!f || fputs(config, f) < 0 || fclose(f) != 0)
        return sg_fail(w->s->err, SG_EIO, "%s: cannot be written", path);
    opts.schedule.kind = SG_SCHEDULE_COSINE;
    opts.schedule.lr = 3e-3;
    opts.schedule.warmup = 50;
    opts.schedule.n_steps = STEPS;
    opts.update.clip = 1;
    opts.seed = 1;
    opts.exec = w->s->opts->exec;
    opts.cancel = w->s->opts->cancel;
    opts.progress = pass_on;
    opts.context = (void *)(uintptr_t)w->s->opts;
    sg_status status = sg_model_new(&fresh, path, NULL, sg_model_defaults(), w->s->err);
    if (status == SG_OK)
        status = sg_learner_new(&l, fresh, &source, opts, w->s->err);
    if (status == SG_OK)
        status = sg_learner_run(l, STEPS, w->s->err);
    if (status == SG_OK)
        status = sg_learner_export(l, w->dir, w->s->err);
    sg_learner_free(l);
    sg_model_close(fresh);
    if (status == SG_OK)
        status = sg_model_open(&w->model, w->dir, sg_model_defaults(), w->s->err);
    return status;
}

static void remove_model(const text_work *w)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    char path[128];
    if (!w->dir[0])
        return;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", w->dir, files[i]);
        remove(path);
    }
    rmdir(w->dir);
}

/* ---- the judge ---- */

static void bag_of(float *bag, const int32_t *words, int n)
{
    memset(bag, 0, VOCABULARY * sizeof *bag);
    for (int k = 0; k < n; k++)
        if (words[k] >= FIRST_WORD)
            bag[words[k]] = 1;
}

static sg_status train_judge(text_work *w)
{
    enum { OTHERS = 1000 };
    int32_t *labels = malloc(JUDGED * sizeof *labels);
    float logits[2 * OTHERS];
    w->bag = malloc((size_t)JUDGED * VOCABULARY * sizeof *w->bag);
    sg_status status = labels && w->bag ? SG_OK : no_memory(w);
    if (status == SG_OK && w->n / 2 < JUDGED + OTHERS)
        status = sg_fail(w->s->err, SG_EFORMAT, "phrases: %d are too few to judge by", w->n);
    for (int i = 0; status == SG_OK && i < JUDGED; i++) {
        const phrase *p = &w->phrases[2 * i + 1];
        bag_of(w->bag + (size_t)i * VOCABULARY, p->words, p->n);
        labels[i] = p->positive;
    }
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){JUDGED, VOCABULARY}, w->bag),
                    to = sg_tensor_of(SG_I32, 2, (sg_dim[]){JUDGED, 1}, labels);
    sg_probe_opts opts = sg_probe_defaults();
    opts.kind = SG_PROBE_SOFTMAX;
    opts.n_epochs = 6;
    opts.n_held = 0;
    opts.exec = w->s->opts->exec;
    if (status == SG_OK)
        status = sg_probe_fit(&w->judge, &acts, &to, opts, w->s->err);
    for (int i = 0; status == SG_OK && i < OTHERS; i++) {
        const phrase *p = &w->phrases[2 * (JUDGED + i) + 1];
        bag_of(w->bag + (size_t)i * VOCABULARY, p->words, p->n);
    }
    const sg_tensor others = sg_tensor_of(SG_F32, 2, (sg_dim[]){OTHERS, VOCABULARY}, w->bag);
    if (status == SG_OK)
        status = sg_probe_logits(w->judge, &others, logits, w->s->err);
    for (int i = 0; status == SG_OK && i < OTHERS; i++)
        w->judge_right +=
            ((logits[2 * i + 1] > logits[2 * i]) == w->phrases[2 * (JUDGED + i) + 1].positive) / (double)OTHERS;
    free(labels);
    return status;
}

/* Mean P(positive) of TEXTS texts that the model writes with the edits at one strength. */
static sg_status judged(text_work *w, sg_edit_list *list, double strength, uint64_t seed, double *positive)
{
    static const int32_t begin = BOS;
    const int n_edits = sg_edit_list_count(list);
    sg_edit *edits = malloc((size_t)n_edits * sizeof *edits);
    float logits[2 * TEXTS];
    sg_generation *g = calloc(TEXTS, sizeof *g);
    sg_batch *b = NULL;
    sg_status status = edits && g ? SG_OK : no_memory(w);
    for (int i = 0; status == SG_OK && i < n_edits; i++) {
        edits[i] = *sg_edit_list_at(list, i);
        edits[i].strength *= strength;
    }
    sg_batch_opts opts = sg_batch_defaults();
    opts.exec = w->s->opts->exec;
    opts.n_rows = SG_BATCH_ROWS;
    opts.capacity = SG_BATCH_BLOCK;
    opts.n_edits = n_edits;
    opts.edits = edits;
    sg_generate_opts how = sg_generate_defaults();
    how.most = LENGTH;
    how.sample.temperature = 1;
    how.seed = seed;
    how.ends_at_eos = false;
    how.n_edits = n_edits;
    how.edits = edits;
    if (status == SG_OK)
        status = sg_batch_new(&b, w->model, opts, w->s->err);
    if (status == SG_OK)
        status = sg_generate_all(g, b, 1, &(sg_prompt){&begin, 1}, TEXTS, &how, NULL, NULL, w->s->err);
    for (int i = 0; status == SG_OK && i < TEXTS; i++) {
        int32_t words[LENGTH];
        int n = 0;
        for (; n < g[i].n_tokens && n < LENGTH; n++)
            words[n] = g[i].tokens[n].id;
        bag_of(w->bag + (size_t)i * VOCABULARY, words, n);
    }
    const sg_tensor bags = sg_tensor_of(SG_F32, 2, (sg_dim[]){TEXTS, VOCABULARY}, w->bag);
    if (status == SG_OK)
        status = sg_probe_logits(w->judge, &bags, logits, w->s->err);
    *positive = 0;
    for (int i = 0; status == SG_OK && i < TEXTS; i++)
        *positive += 1 / (1 + exp((double)logits[2 * i] - (double)logits[2 * i + 1])) / TEXTS;
    for (int i = 0; g && i < TEXTS; i++)
        sg_generation_free(&g[i]);
    free(g);
    free(edits);
    sg_batch_free(b);
    return status;
}

/* ---- one seed ---- */

/* Labelled phrases of the model's half, as many of each kind, each a group of its own. */
static sg_status labelled(const text_work *w, uint64_t seed, sg_steer_data **out)
{
    enum { EACH = 250 };
    sg_steer_text texts[2 * EACH];
    int n[2] = {0}, all = 0;
    sg_rng r = sg_rng_new(seed, 31);
    for (int tries = 0; all < 2 * EACH && tries < 100000; tries++) {
        const phrase *p = &w->phrases[2 * (int)sg_rng_below(&r, (uint32_t)(w->n / 2))];
        if (p->n < 5 || n[p->positive] == EACH)
            continue;
        n[p->positive]++;
        texts[all] = (sg_steer_text){.tokens = p->words, .n = p->n, .shared = 1, .group = all, .positive = p->positive};
        all++;
    }
    return sg_steer_data_of(out, all, texts, w->s->err);
}

static sg_status one_seed(text_work *w, int k)
{
    const iti_parts *s = w->s;
    const sg_tensor other = sg_tensor_of(SG_I32, 2, (sg_dim[]){HELD / 2, ROW}, w->rows + (w->n_rows - HELD) * ROW),
                    other_choose =
                        sg_tensor_of(SG_I32, 2, (sg_dim[]){HELD / 2, ROW}, w->rows + (w->n_rows - HELD / 2) * ROW);
    sg_steer_data *fit = NULL;
    sg_steer_measure_opts opts = sg_steer_measure_defaults();
    opts.exec = s->opts->exec;
    opts.cancel = s->opts->cancel;
    SG_TRY(labelled(w, s->seeds[k], &fit));
    iti_arms_of a = {.s = s, .model = w->model, .fit = fit, .seed = s->seeds[k]};
    sg_status status = iti_arms_open(&a);
    for (int i = 0; status == SG_OK && i < ITI_HEADS; i++) {
        w->found[k] += a.heads->elsewhere[a.heads->order[i]] / ITI_HEADS;
        w->shuffled[k] += a.heads->shuffled[a.heads->order[i]] / ITI_HEADS;
    }
    for (int m = 0; m < ARMS && status == SG_OK; m++) {
        const int draws = arms[m] == ITI_RANKED ? 1 : 2;
        for (int d = 0; d < draws && status == SG_OK; d++) {
            sg_steer_point p[ITI_STRENGTHS], c[ITI_STRENGTHS];
            sg_edit_list *list = NULL;
            status = iti_arm_list(&a, arms[m], d, &list);
            const sg_edit *edits = status == SG_OK ? sg_edit_list_at(list, 0) : NULL;
            const int n = status == SG_OK ? sg_edit_list_count(list) : 0;
            if (status == SG_OK)
                status =
                    sg_steer_measure(p, w->model, n, edits, ITI_STRENGTHS, iti_strength, NULL, &other, opts, s->err);
            if (status == SG_OK && arms[m] == ITI_RANKED)
                status = sg_steer_measure(c, w->model, n, edits, ITI_STRENGTHS, iti_strength, NULL, &other_choose, opts,
                                          s->err);
            for (int i = 0; i < ITI_STRENGTHS && status == SG_OK; i++) {
                double positive;
                status = judged(w, list, iti_strength[i], s->seeds[k] + 40, &positive);
                w->positive[k][m][i] += positive / draws;
                w->loss[k][m][i] += p[i].loss / draws;
                if (status == SG_OK && arms[m] == ITI_RANKED) {
                    status = judged(w, list, iti_strength[i], s->seeds[k] + 50000, &w->chosen[k][i]);
                    if (c[i].loss < 1.1 * c[0].loss && w->chosen[k][i] > w->chosen[k][w->best[k]])
                        w->best[k] = i;
                }
            }
            sg_edit_list_free(list);
        }
    }
    iti_arms_close(&a);
    sg_steer_data_free(fit);
    return status;
}

/* ---- claims ---- */

static double gain(const text_work *w, int k, int arm)
{
    return w->positive[k][arm][w->best[k]] - w->positive[k][arm][0];
}

static sg_status add_claim(const text_work *w, const char *id, const char *text, sg_measure measured,
                           sg_control control)
{
    return sg_report_add_claim(
        w->s->report,
        &(sg_claim){.id = id,
                    .text = text,
                    .source = "the same criteria as of the knowledge base, on text; set before the run",
                    .n_seeds = ITI_SEEDS,
                    .seeds = w->s->seeds,
                    .measured = measured,
                    .control = control},
        w->s->err);
}

static sg_status text_claims(const text_work *w)
{
    enum { K = ITI_SEEDS };
    double real[K], random[K], shuffled[K], over[K], shuffled_over[K], cost[K], far[K];
    for (int k = 0; k < K; k++) {
        real[k] = gain(w, k, 0);
        random[k] = gain(w, k, 1);
        shuffled[k] = gain(w, k, 2);
        over[k] = real[k] - gain(w, k, 3);
        shuffled_over[k] = shuffled[k] - gain(w, k, 3);
        cost[k] = w->loss[k][0][w->best[k]] / w->loss[k][0][0] - 1;
        far[k] = w->loss[k][0][ITI_STRENGTHS - 1] / w->loss[k][0][0] - 1;
    }
    SG_TRY(add_claim(
        w, "text-positive",
        "Real text: pushed along what its heads hold at the ends of positive phrases, a model writes more positively.",
        (sg_measure){"rise of P(positive) of what it writes, by the judge, at the strength that other texts chose", K,
                     real, .2, 1},
        (sg_control){"random directions as long in the same heads", {"the same", K, random, -.05, .05}}));
    SG_TRY(add_claim(w, "text-cost", "Real text: it costs little elsewhere.",
                     (sg_measure){"relative rise of loss on held-out phrases", K, cost, -HUGE_VAL, .1},
                     (sg_control){"at the greatest strength", {"the same", K, far, .5, HUGE_VAL}}));
    SG_TRY(add_claim(
        w, "text-heads", "Real text: the ranked heads do more than as many others.",
        (sg_measure){"rise less that with other heads", K, over, 1e-9, 1},
        (sg_control){"the ranked heads along shuffled kinds, less the same", {"the same", K, shuffled_over, -1, .05}}));
    return add_claim(
        w, "text-found", "Real text: some heads tell the ends of positive phrases from those of negative ones.",
        (sg_measure){"accuracy of the four best ranked heads' probes on other phrases", K, w->found, .7, 1},
        (sg_control){"fitted to shuffled kinds", {"the same", K, w->shuffled, .25, .75}});
}

static sg_status text_figure(const text_work *w)
{
    static const char *const names[ARMS] = {"ranked heads, mean shift", "random direction", "shuffled kinds",
                                            "random heads"};
    double p[ARMS][ITI_STRENGTHS] = {{0}}, loss[ARMS][ITI_STRENGTHS] = {{0}};
    sg_series series[ARMS];
    for (int m = 0; m < ARMS; m++) {
        for (int k = 0; k < ITI_SEEDS; k++)
            for (int i = 0; i < ITI_STRENGTHS; i++) {
                p[m][i] += w->positive[k][m][i] / ITI_SEEDS;
                loss[m][i] += w->loss[k][m][i] / ITI_SEEDS;
            }
        series[m] = (sg_series){names[m], ITI_STRENGTHS, loss[m], p[m]};
    }
    const sg_panel panel = {.n_series = ARMS, .series = series};
    return sg_report_add_figure(w->s->report,
                                &(sg_figure){.id = "text",
                                             .title = "Real text: positivity against what it costs",
                                             .caption = "Strengths 0 to 30 from left to right; mean of three seeds.",
                                             .kind = SG_FIGURE_LINES,
                                             .x = {.label = "loss on held-out phrases, nats per word", .log = true},
                                             .y = {.label = "P(positive) of what is written, by the judge"},
                                             .n_panels = 1,
                                             .panels = &panel},
                                w->s->err);
}

sg_status iti_text(const iti_parts *s, char note[512])
{
    const char *folder = getenv("SIGHTGLASS_SHARED");
    char path[1024];
    text_work *w = calloc(1, sizeof *w);
    snprintf(path, sizeof path, "%s/data/sst2/train.tsv", folder ? folder : "../shared");
    if (access(path, R_OK) != 0) {
        snprintf(note, 512, " Real text was left out: %.200s is not here.", path);
        free(w);
        return SG_OK;
    }
    if (!w)
        return sg_fail(s->err, SG_ENOMEM, "phrases: out of memory");
    w->s = s;
    sg_status status = read_phrases(w, path);
    if (status == SG_OK)
        status = make_rows(w);
    if (status == SG_OK)
        status = train_judge(w);
    if (status == SG_OK)
        status = train_model(w);
    for (int k = 0; k < ITI_SEEDS && status == SG_OK; k++)
        status = one_seed(w, k);
    if (status == SG_OK)
        status = text_claims(w);
    if (status == SG_OK)
        status = text_figure(w);
    snprintf(note, 512,
             " Real text: %d phrases of SST-2, half of them for a model of 4 layers of width 96 (600 steps of 32 rows "
             "of 32 words), half for the "
             "judge, who is right on %.1f %% of others; strengths %g, %g, %g.",
             w->n, 100 * w->judge_right, iti_strength[w->best[0]], iti_strength[w->best[1]], iti_strength[w->best[2]]);
    remove_model(w);
    sg_model_close(w->model);
    sg_probe_free(w->judge);
    free(w->bag);
    free(w->rows);
    free(w->phrases);
    free(w);
    return status;
}
