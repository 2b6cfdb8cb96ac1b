/* The identities of picking and of its law, fits whose answer is known, and sampling beside plain generation. */
#include "sightglass/qprobe.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/method.h"
#include "sightglass/ops.h"

enum { N = 12 };

static double pi0[N], q[N];

static void completions(uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 0);
    double sum = 0;
    for (int a = 0; a < N; a++) {
        pi0[a] = .05 + sg_rng_uniform(&r);
        q[a] = sg_rng_uniform(&r);
        sum += pi0[a];
    }
    for (int a = 0; a < N; a++)
        pi0[a] /= sum;
}

/* ---- picking ---- */

static void small_and_large_beta_are_the_argmax_and_no_choice(void **state)
{
    (void)state;
    const double score[5] = {1, 3, -2, 3, 0}, huge[3] = {1e4, -1e4, 1e4 - 1e-3};
    double p[5];
    sg_rng r = sg_rng_new(1, 0);
    sg_qprobe_weights(p, score, 5, 0);
    CHECK(p[1] == 1 && p[3] == 0); /* the first of equals */
    CHECK(sg_qprobe_pick(score, 5, 0, &r) == 1);
    sg_qprobe_weights(p, score, 5, (double)INFINITY);
    for (int i = 0; i < 5; i++)
        CHECK(p[i] == .2);
    sg_qprobe_weights(p, score, 5, 1e-300);
    CHECK(p[1] == .5 && p[3] == .5); /* its limit from above shares among equals */
    sg_qprobe_weights(p, huge, 3, 1e-6);
    CHECK(p[0] == 1 && p[1] == 0 && p[2] == 0);
    sg_qprobe_weights(p, huge, 3, 1e-3);
    CHECK_NEAR(p[2], exp(-1) / (1 + exp(-1)), 1e-6, 0);
    for (int i = 0; i < 100; i++)
        CHECK(sg_qprobe_pick(huge, 3, 1e-6, &r) == 0);
}

static void one_completion_takes_nothing_from_the_generator(void **state)
{
    (void)state;
    sg_rng a = sg_rng_new(5, 2), b = a;
    CHECK(sg_qprobe_pick(q, 1, .1, &a) == 0);
    CHECK(sg_rng_word(&a) == sg_rng_word(&b));
}

/* Picks follow their weights; equal completions each have theirs, so that one drawn twice is as likely as two. */
static void duplicates_keep_their_multiplicity(void **state)
{
    (void)state;
    enum { PICKS = 40000 };
    const double score[4] = {.3, 1, .3, .3};
    double p[4], n[4] = {0};
    sg_rng r = sg_rng_new(7, 0);
    sg_qprobe_weights(p, score, 4, .5);
    CHECK(p[0] == p[2] && p[0] == p[3]);
    CHECK_NEAR(3 * p[0] + p[1], 1, 1e-15, 0);
    CHECK_NEAR(3 * p[0] / p[1], 3 * exp((.3 - 1) / .5), 1e-12, 0);
    for (int i = 0; i < PICKS; i++)
        n[sg_qprobe_pick(score, 4, .5, &r)]++;
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(n[i] / PICKS, p[i], 4 * sqrt(p[i] * (1 - p[i]) / PICKS), 0);
}

/* ---- laws ---- */

/* The integral against all multisets, for several sizes and betas; both are laws. */
static void the_law_is_that_of_all_multisets(void **state)
{
    (void)state;
    static const double betas[] = {.02, .1, .5, 5};
    double a[N], b[N], sum;
    sg_error err;
    for (uint64_t seed = 0; seed < 3; seed++) {
        completions(seed);
        for (size_t i = 0; i < SG_COUNT_OF(betas); i++)
            for (int k = 1; k <= 5; k++) {
                CHECK_OK(sg_qprobe_law(a, N, pi0, q, k, betas[i], &err), &err);
                CHECK_OK(sg_qprobe_law_by_sets(b, N, pi0, q, k, betas[i], &err), &err);
                sum = 0;
                for (int c = 0; c < N; c++) {
                    CHECK_NEAR(a[c], b[c], 1e-11, 0);
                    CHECK(k > 1 || fabs(b[c] - pi0[c]) < 1e-15); /* one draw is the model itself */
                    sum += b[c];
                }
                CHECK_NEAR(sum, 1, 1e-12, 0);
            }
    }
    /* Two completions, two draws, by hand: (0,0), (1,1) and the mixed pair, twice as likely as its order. */
    const double p[2] = {.3, .7}, s[2] = {0, 1};
    CHECK_OK(sg_qprobe_law(a, 2, p, s, 2, 1, &err), &err);
    CHECK_NEAR(a[0], .09 + 2 * .3 * .7 / (1 + exp(1)), 1e-12, 0);
    CHECK_STATUS(sg_qprobe_law_by_sets(a, N, pi0, q, 64, 1, &err), SG_EUNSUPPORTED);
    CHECK_STATUS(sg_qprobe_law(a, N, pi0, q, 2, 0, &err), SG_EARG);
    CHECK_STATUS(sg_qprobe_law(a, N, pi0, q, 2, 1e-4, &err), SG_EUNSUPPORTED);
}

/* Two draws and a pick, many times, against the exact law: 3 standard errors, 36 of them (4 for one in five thousand).
 */
static void sampled_picks_follow_the_law(void **state)
{
    (void)state;
    enum { PICKS = 100000 };
    sg_error err;
    for (uint64_t seed = 0; seed < 3; seed++) {
        double law[N], n[N] = {0};
        int beyond = 0;
        sg_rng r = sg_rng_new(seed, 3);
        completions(seed);
        CHECK_OK(sg_qprobe_law_by_sets(law, N, pi0, q, 2, .2, &err), &err);
        for (int i = 0; i < PICKS; i++) {
            int drawn[2];
            double score[2];
            for (int j = 0; j < 2; j++) {
                double left = sg_rng_uniform(&r);
                int a = 0;
                while (a < N - 1 && (left -= pi0[a]) >= 0)
                    a++;
                drawn[j] = a;
                score[j] = q[a];
            }
            n[drawn[sg_qprobe_pick(score, 2, .2, &r)]]++;
        }
        for (int a = 0; a < N; a++) {
            const double off = fabs(n[a] / PICKS - law[a]) / sqrt(law[a] * (1 - law[a]) / PICKS);
            beyond += off > 3;
            CHECK(off < 4);
        }
        CHECK(beyond <= 1);
    }
}

/* The law nears pi* as 1/k, and not the one of another beta; pi* is where E[Q] - beta KL is largest. */
static void the_law_tends_to_what_maximises_reward_less_kl(void **state)
{
    (void)state;
    double law[N], limit[N], wrong[N], before = HUGE_VAL;
    sg_error err;
    completions(4);
    CHECK_OK(sg_qprobe_limit(limit, N, pi0, q, .1, &err), &err);
    CHECK_OK(sg_qprobe_limit(wrong, N, pi0, q, .2, &err), &err);
    for (int k = 1; k <= 4096; k *= 4) {
        CHECK_OK(sg_qprobe_law(law, N, pi0, q, k, .1, &err), &err);
        const double away = sg_qprobe_distance(law, limit, N);
        CHECK(away < before);
        CHECK(k < 1024 || fabs(before / away - 4) < .1); /* four times the draws, a quarter of the distance */
        before = away;
    }
    CHECK(before < 1e-3 && sg_qprobe_distance(law, wrong, N) > .05);
    double at = -.1 * sg_qprobe_kl(limit, pi0, N), log_z = 0;
    for (int a = 0; a < N; a++) {
        at += limit[a] * q[a];
        log_z += pi0[a] * exp(q[a] / .1);
    }
    CHECK_NEAR(at, .1 * log(log_z), 1e-12, 0); /* the optimum is beta log Z */
    sg_rng r = sg_rng_new(1, 1);
    for (int i = 0; i < 50; i++) { /* whatever else is less */
        double other[N], sum = 0, value = 0;
        for (int a = 0; a < N; a++)
            sum += other[a] = limit[a] * (.5 + sg_rng_uniform(&r));
        for (int a = 0; a < N; a++)
            value += (other[a] /= sum) * q[a];
        CHECK(value - .1 * sg_qprobe_kl(other, pi0, N) < at);
    }
    CHECK_NEAR(sg_qprobe_best_kl(1), 0, 0, 0);
    CHECK_NEAR(sg_qprobe_best_kl(16), log(16) - 15.0 / 16, 1e-15, 0);
}

/* ---- losses ---- */

/* What is taken off is the same for all of a chunk, and a softmax sums to 1: the baseline has no gradient. */
static void a_baseline_changes_nothing(void **state)
{
    (void)state;
    enum { CHUNKS = 3, CHUNK = 10 };
    static const sg_qprobe_loss losses[2] = {SG_QPROBE_PG, SG_QPROBE_CPG};
    float x[CHUNKS * CHUNK], r[CHUNKS * CHUNK];
    float grad[2][CHUNKS * CHUNK];
    double loss[2];
    const sg_dim dims[2] = {CHUNKS, CHUNK};
    sg_rng g = sg_rng_new(3, 0);
    sg_error err;
    for (int i = 0; i < CHUNKS * CHUNK; i++) {
        x[i] = (float)sg_rng_normal(&g);
        r[i] = (float)sg_rng_uniform(&g);
    }
    for (int k = 0; k < 2; k++) {
        sg_graph *graph = sg_graph_new();
        sg_session *session;
        sg_tensor got[2];
        sg_value *in = sg_input(graph, "q", SG_F32, 2, dims), *rewards = sg_input(graph, "r", SG_F32, 2, dims),
                 *y = sg_qprobe_loss_value(graph, losses[k], in, rewards, .7), *dy = sg_grad(graph, y, in);
        CHECK_OK(sg_graph_status(graph, &err), &err);
        CHECK_OK(sg_session_new(&session, graph, NULL, sg_exec_defaults(), &err), &err);
        CHECK_OK(sg_session_run(
                     session, 2,
                     (sg_feed[]){{in, sg_tensor_of(SG_F32, 2, dims, x)}, {rewards, sg_tensor_of(SG_F32, 2, dims, r)}},
                     2, (sg_value *[]){y, dy}, got, &err),
                 &err);
        loss[k] = sg_tensor_get(&got[0], 0);
        memcpy(grad[k], got[1].data, sizeof grad[k]);
        sg_session_free(session);
        sg_graph_free(graph);
    }
    double largest = 0;
    for (int i = 0; i < CHUNKS * CHUNK; i++) {
        CHECK_NEAR(grad[0][i], grad[1][i], 1e-6, 0);
        largest = fmax(largest, fabs((double)grad[0][i]));
    }
    CHECK(largest > 1e-3 && fabs(loss[0] - loss[1]) > .1);
}

/* ---- fits ---- */

enum { GROUPS = 60, EACH = 20, D = 24, SAMPLES = GROUPS * EACH };

static float x[SAMPLES * D];
static double reward[SAMPLES];
static int32_t group[SAMPLES];

/* A reward that is a direction of the embedding, with something of the group beside it that no pick can use. */
static void samples(uint64_t seed, bool binary)
{
    sg_rng r = sg_rng_new(seed, 0);
    for (int i = 0; i < SAMPLES; i++) {
        group[i] = i / EACH;
        for (int d = 0; d < D; d++)
            x[i * D + d] = (float)(sg_rng_normal(&r) * (1 + d % 3) + (d == 5 ? i / EACH : 0));
        const double z = (double)x[i * D] - .25 * (double)x[i * D + 1];
        reward[i] = binary ? z > .3 : z;
    }
}

static sg_tensor embeddings(void)
{
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){SAMPLES, D}, x);
}

static void every_loss_finds_a_planted_direction(void **state)
{
    (void)state;
    static double score[SAMPLES], shuffled[SAMPLES];
    const sg_tensor t = embeddings();
    sg_error err;
    for (int loss = 0; loss < SG_N_QPROBE_LOSSES; loss++)
        for (int n_hidden = 0; n_hidden < (loss == SG_QPROBE_PG ? 3 : 1); n_hidden++) {
            sg_qprobe_opts opts = sg_qprobe_defaults();
            sg_qprobe_rates own, control;
            sg_qprobe *p;
            samples(3, loss == SG_QPROBE_BCE);
            opts.loss = (sg_qprobe_loss)loss;
            opts.lr = n_hidden ? 1e-3 : 1e-2;
            opts.n_hidden = n_hidden;
            opts.width = 16;
            opts.n_epochs = 100;
            opts.batch = 200;
            CHECK_OK(sg_qprobe_fit(&p, &t, reward, group, opts, &err), &err);
            CHECK(sg_qprobe_width(p) == D && sg_qprobe_n_epochs(p) >= 1 && isfinite(sg_qprobe_held_out(p)));
            samples(4, loss == SG_QPROBE_BCE); /* others */
            CHECK_OK(sg_qprobe_score(p, &t, score, &err), &err);
            CHECK_OK(sg_qprobe_judge(&own, SAMPLES, score, reward, group, 10, 0, 0, &err), &err);
            CHECK(own.n_sets == 2 * GROUPS && own.picked > own.random + .7 * (own.oracle - own.random));
            CHECK(own.within.low < own.picked && own.within.high > own.picked);
            sg_qprobe_free(p);

            samples(3, loss == SG_QPROBE_BCE);
            memcpy(shuffled, reward, sizeof shuffled);
            sg_qprobe_shuffle(shuffled, SAMPLES, group, 1);
            double sum[2] = {0};
            for (int i = 0; i < EACH; i++) {
                sum[0] += reward[i];
                sum[1] += shuffled[i];
            }
            CHECK_NEAR(sum[0], sum[1], 1e-9, 0); /* of the same group */
            CHECK_OK(sg_qprobe_fit(&p, &t, shuffled, group, opts, &err), &err);
            samples(4, loss == SG_QPROBE_BCE);
            CHECK_OK(sg_qprobe_score(p, &t, score, &err), &err);
            CHECK_OK(sg_qprobe_judge(&control, SAMPLES, score, reward, group, 10, 0, 0, &err), &err);
            CHECK(control.picked < control.random + .5 * (control.oracle - control.random));
            sg_qprobe_free(p);
        }
}

/* A probe that knows the reward is the oracle at beta 0 and the mean at beta infinity, whatever k. */
static void judging_is_exact_at_the_ends(void **state)
{
    (void)state;
    sg_qprobe_rates a;
    sg_error err;
    samples(5, false);
    for (int k = 1; k <= EACH; k *= 2) {
        CHECK_OK(sg_qprobe_judge(&a, SAMPLES, reward, reward, group, k, 0, 0, &err), &err);
        CHECK_NEAR(a.picked, a.oracle, 1e-12, 0);
        CHECK(a.n_sets == GROUPS * (EACH / k));
        CHECK_OK(sg_qprobe_judge(&a, SAMPLES, reward, reward, group, k, (double)INFINITY, 0, &err), &err);
        CHECK_NEAR(a.picked, a.random, 1e-12, 0);
        CHECK(k > 1 || fabs(a.oracle - a.random) < 1e-12);
    }
    CHECK_STATUS(sg_qprobe_judge(&a, SAMPLES, reward, reward, group, EACH + 1, 0, 0, &err), SG_EARG);
}

static void a_probe_is_kept_in_a_file_and_in_a_graph(void **state)
{
    (void)state;
    static double score[2][SAMPLES];
    const sg_tensor t = embeddings();
    sg_qprobe_opts opts = sg_qprobe_defaults();
    sg_qprobe_about about;
    sg_qprobe *p, *again;
    sg_error err;
    samples(6, false);
    opts.n_hidden = 1;
    opts.width = 8;
    opts.n_epochs = 3;
    opts.lr = 1e-2;
    opts.held_out = 0;
    CHECK_OK(sg_qprobe_fit(&p, &t, reward, group, opts, &err), &err);
    CHECK(isnan(sg_qprobe_held_out(p)) && sg_qprobe_n_epochs(p) == 3);
    CHECK_OK(sg_qprobe_save(
                 p, &(sg_qprobe_about){.site = "blocks.1.hook_resid_post", .reward = "brackets", .model_hash = 42},
                 "qprobe_test.safetensors", &err),
             &err);
    CHECK_OK(sg_qprobe_open(&again, &about, "qprobe_test.safetensors", &err), &err);
    CHECK(strcmp(about.reward, "brackets") == 0 && about.model_hash == 42 && strcmp(about.loss, "") == 0 &&
          sg_qprobe_n_epochs(again) == 3);
    CHECK_OK(sg_qprobe_score(p, &t, score[0], &err), &err);
    CHECK_OK(sg_qprobe_score(again, &t, score[1], &err), &err);
    CHECK(memcmp(score[0], score[1], sizeof score[0]) == 0 && score[0][0] != score[0][1]);
    sg_qprobe_free(again);
    unlink("qprobe_test.safetensors");
    CHECK_STATUS(sg_qprobe_open(&again, NULL, "qprobe_test.safetensors", &err), SG_ENOTFOUND);
    const sg_tensor narrow = sg_tensor_of(SG_F32, 2, (sg_dim[]){SAMPLES, D - 1}, x);
    CHECK_STATUS(sg_qprobe_score(p, &narrow, score[0], &err), SG_ESHAPE);
    sg_qprobe_free(p);
    opts.chunk = EACH + 1;
    CHECK_STATUS(sg_qprobe_fit(&p, &t, reward, group, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "21 samples of a chunk");
    opts = sg_qprobe_defaults();
    opts.loss = SG_QPROBE_BCE;
    CHECK_STATUS(sg_qprobe_fit(&p, &t, reward, group, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "bce wants 0 to 1");
    static const volatile sig_atomic_t stop = 1;
    opts.loss = SG_QPROBE_PG;
    opts.cancel = &stop;
    CHECK_STATUS(sg_qprobe_fit(&p, &t, reward, group, opts, &err), SG_ECANCELLED);
}

/* ---- sampling ---- */

static sg_model *tiny(void)
{
    static const char config[] =
        "{\"model_type\": \"llama\", \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 2, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"max_position_embeddings\": 64, "
        "\"vocab_size\": 13, \"initializer_range\": 0.1, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-5, "
        "\"eos_token_id\": 2}";
    FILE *f = fopen("qprobe_config.json", "w");
    sg_model *m;
    sg_error err;
    CHECK(f && fputs(config, f) >= 0 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, "qprobe_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("qprobe_config.json");
    return m;
}

/* What leaves the last block at the last token of a whole sequence, in a run of its own; and the logits there. */
static void apart(const sg_model *m, const int32_t *row, sg_dim n, float *hidden, float *logits)
{
    sg_glass *glass;
    sg_value *v[2];
    sg_tensor t[2];
    sg_error err;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, "blocks.1.hook_resid_post", &v[0], &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &v[1], &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, v, t, &err), &err);
    memcpy(hidden, (float *)t[0].data + (n - 1) * 32, 32 * sizeof *hidden);
    memcpy(logits, (float *)t[1].data + (n - 1) * 13, 13 * sizeof *logits);
    sg_glass_free(glass);
}

/* k texts of one prompt are those that plain sampling writes, the first of them the one that k = 1 is; their hidden
 * states are those of runs of their own; some end early, some at their length, more than there are rows. */
static void completions_share_their_prompt_and_are_those_of_plain_sampling(void **state)
{
    (void)state;
    enum { TEXTS = 11, ROWS = 4, PROMPT = 5 };
    const int32_t prompt[PROMPT] = {1, 5, 7, 3, 9};
    sg_model *m = tiny();
    sg_batch *b, *plain;
    sg_error err;
    sg_generate_opts opts = sg_generate_defaults();
    sg_generation g[TEXTS] = {{0}};
    sg_qprobe_samples s, one;
    sg_batch_opts how = sg_batch_defaults();
    opts.most = 7;
    opts.sample.temperature = 1;
    opts.seed = 3;
    opts.stream = 20;
    how.n_rows = ROWS;
    CHECK_OK(sg_qprobe_batch(&b, m, ROWS, sg_exec_defaults(), &err), &err);
    CHECK_OK(sg_batch_new(&plain, m, how, &err), &err);
    CHECK_OK(sg_qprobe_sample(&s, b, prompt, PROMPT, TEXTS, &opts, &err), &err);
    CHECK_OK(sg_generate_all(g, plain, 1, &(sg_prompt){prompt, PROMPT}, TEXTS, &opts, NULL, NULL, &err), &err);
    int ended = 0, full = 0;
    for (int i = 0; i < TEXTS; i++) {
        int32_t whole[PROMPT + 8];
        float hidden[32], logits[13];
        CHECK(s.texts[i].n_tokens == g[i].n_tokens && strcmp(s.texts[i].reason, g[i].reason) == 0);
        CHECK(!!s.texts[i].text == !!g[i].text && (!g[i].text || strcmp(s.texts[i].text, g[i].text) == 0));
        memcpy(whole, prompt, sizeof prompt);
        for (int t = 0; t < g[i].n_tokens; t++) {
            CHECK(s.texts[i].tokens[t].id == g[i].tokens[t].id);
            whole[PROMPT + t] = g[i].tokens[t].id;
        }
        CHECK(s.lengths[i] == g[i].n_tokens);
        apart(m, whole, PROMPT + g[i].n_tokens, hidden, logits);
        for (int d = 0; d < 32; d++)
            CHECK_NEAR(s.embeddings[i * 32 + d], hidden[d], 1e-5, 1e-5);
        ended += strcmp(g[i].reason, "stop") == 0;
        full += strcmp(g[i].reason, "length") == 0;
    }
    CHECK(ended > 0 && full > 0);
    CHECK_OK(sg_qprobe_sample(&one, b, prompt, PROMPT, 1, &opts, &err), &err);
    CHECK(one.texts[0].n_tokens == g[0].n_tokens && memcmp(one.embeddings, s.embeddings, 32 * sizeof(float)) == 0);
    for (int t = 0; t < g[0].n_tokens; t++)
        CHECK(one.texts[0].tokens[t].id == g[0].tokens[t].id);
    sg_qprobe_samples_free(&one);
    sg_qprobe_samples_free(&s);
    for (int i = 0; i < TEXTS; i++)
        sg_generation_free(&g[i]);

    /* Logits behind a forked prompt are those of a prompt that was read alone. */
    float hidden[32], logits[13];
    sg_dim shared, used;
    int32_t next[SG_BATCH_ROWS];
    const int first = sg_batch_open(plain, prompt, PROMPT, NULL, &shared);
    CHECK(first >= 0);
    for (sg_dim at = shared; at < PROMPT; at += used)
        CHECK_OK(sg_batch_read(plain, first, prompt + at, PROMPT - at, &used, NULL, &err), &err);
    const int second = sg_batch_fork(plain, first, &err);
    CHECK(second >= 0);
    for (int r = 0; r < SG_BATCH_ROWS; r++)
        next[r] = r == first ? 4 : r == second ? 8 : -1;
    CHECK_OK(sg_batch_step(plain, next, &err), &err);
    for (int r = 0; r < 2; r++) {
        int32_t whole[PROMPT + 1];
        memcpy(whole, prompt, sizeof prompt);
        whole[PROMPT] = r ? 8 : 4;
        apart(m, whole, PROMPT + 1, hidden, logits);
        for (int v = 0; v < 13; v++)
            CHECK_NEAR(sg_batch_logits(plain, r ? second : first)[v], logits[v], 1e-5, 1e-5);
    }
    CHECK_STATUS(sg_qprobe_sample(&s, b, prompt, 0, 2, &opts, &err), SG_EARG);
    sg_batch_free(b);
    sg_batch_free(plain);
    sg_model_close(m);
}

/* fit, then pick, on a model of stories: more animals than by chance, and among the candidates the one that was picked.
 */
static void the_commands_fit_and_pick(void **state)
{
    (void)state;
    char path[1024];
    sg_result *r;
    sg_error err;
    sg_method_ask ask = sg_method_ask_defaults();
    const char *inputs[3] = {sg_test_shared(path, "models/stories260K"), "qprobe_animals.probe",
                             "In the forest, Tim heard a sound."};
    SKIP_WITHOUT(inputs[0], "shared/models/stories260K");
    sg_setting settings[] = {{"prompts", SG_SOURCE_DIR "/examples/qprobe-prompts.jsonl"},
                             {"reward", "words:" SG_SOURCE_DIR "/examples/animals.txt"},
                             {"k", "32"},
                             {"tokens", "6"},
                             {"lr", "0.001"}};
    ask.n_inputs = 1;
    ask.inputs = inputs;
    ask.n_settings = 5;
    ask.settings = settings;
    ask.out = inputs[1];
    ask.exec.n_threads = 1;
    CHECK_OK(sg_method_do(&r, sg_method_find("qprobe", "fit"), &ask, &err), &err);
    const sg_finding *reward_of = sg_result_finding(r, 0);
    CHECK(strcmp(reward_of->id, "reward") == 0 && reward_of->value > 3 * reward_of->control_value);
    CHECK(sg_result_n_tables(r) == 1 && sg_result_get_table(r, 0)->n_rows == 6);
    sg_result_free(r);
    static const volatile sig_atomic_t stop = 1;
    ask.cancel = &stop;
    CHECK_STATUS(sg_method_do(&r, sg_method_find("qprobe", "fit"), &ask, &err), SG_ECANCELLED);
    ask.cancel = NULL;
    settings[1].value = "poems";
    CHECK_STATUS(sg_method_do(&r, sg_method_find("qprobe", "fit"), &ask, &err), SG_EARG);
    const sg_setting how[] = {{"k", "5"}, {"tokens", "6"}, {"beta", "0"}};
    ask.n_inputs = 3;
    ask.n_settings = 3;
    ask.settings = how;
    ask.out = NULL;
    CHECK_OK(sg_method_do(&r, sg_method_find("qprobe", "pick"), &ask, &err), &err);
    const sg_result_table *t = sg_result_get_table(r, 0);
    double best = -HUGE_VAL;
    CHECK(t->n_rows == 5 && t->n_columns == 6);
    for (int i = 0; i < 5; i++)
        best = fmax(best, t->cells[i * 6 + 1].number);
    for (int i = 0; i < 5; i++)
        CHECK((strcmp(t->cells[i * 6].text, ">") == 0) == (t->cells[i * 6 + 2].number == 1));
    CHECK_NEAR(sg_result_finding(r, 0)->value, best, 0, 0);
    sg_result_free(r);
    unlink(inputs[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_and_large_beta_are_the_argmax_and_no_choice),
        cmocka_unit_test(one_completion_takes_nothing_from_the_generator),
        cmocka_unit_test(duplicates_keep_their_multiplicity),
        cmocka_unit_test(the_law_is_that_of_all_multisets),
        cmocka_unit_test(sampled_picks_follow_the_law),
        cmocka_unit_test(the_law_tends_to_what_maximises_reward_less_kl),
        cmocka_unit_test(a_baseline_changes_nothing),
        cmocka_unit_test(every_loss_finds_a_planted_direction),
        cmocka_unit_test(judging_is_exact_at_the_ends),
        cmocka_unit_test(a_probe_is_kept_in_a_file_and_in_a_graph),
        cmocka_unit_test(completions_share_their_prompt_and_are_those_of_plain_sampling),
        cmocka_unit_test(the_commands_fit_and_pick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
