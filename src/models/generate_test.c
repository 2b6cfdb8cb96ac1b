/* Rows side by side are, bit for bit, what they are alone; prefixes that are taken over too. Beams against all texts
 * there are; a sliding cache against a run of what it holds. */
#include "sightglass/generate.h"

#include "base/base.h"
#include "check.h"

/* A small random model with rotary positions; logits spread enough that texts differ. */
static sg_model *model_of(int n_layers, int n_vocab, int n_context, int eos)
{
    char config[600], path[] = "/tmp/sg-generate-XXXXXX";
    sg_model *m;
    sg_error err;
    const int file = mkstemp(path);

    snprintf(
        config, sizeof config,
        "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 32, "
        "\"num_hidden_layers\": %d, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": "
        "48, \"vocab_size\": %d, \"max_position_embeddings\": %d, \"rms_norm_eps\": 1e-5, \"initializer_range\": 0.3, "
        "\"hidden_act\": \"silu\", \"eos_token_id\": %d}",
        n_layers, n_vocab, n_context, eos);
    CHECK(file >= 0 && write(file, config, strlen(config)) == (ssize_t)strlen(config));
    close(file);
    CHECK_OK(sg_model_new(&m, path, NULL, sg_model_defaults(), &err), &err);
    unlink(path);
    return m;
}

static sg_batch *batch_of(const sg_model *m, sg_batch_opts opts)
{
    sg_batch *b;
    sg_error err;

    opts.exec.n_threads = 1;
    CHECK_OK(sg_batch_new(&b, m, opts, &err), &err);
    return b;
}

static void random_tokens(int32_t *ids, int n, int n_vocab, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 0);

    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)(sg_rng_uniform(&r) * n_vocab);
}

static void read_all(sg_batch *b, int row, const int32_t *ids, sg_dim n, sg_dim from)
{
    sg_error err;

    for (sg_dim used; from < n; from += used)
        CHECK_OK(sg_batch_read(b, row, ids + from, n - from, &used, NULL, &err), &err);
}

static int open_row(sg_batch *b, const int32_t *ids, sg_dim n, const char *key, sg_dim *shared)
{
    const int row = sg_batch_open(b, ids, n, key, shared);

    CHECK(row >= 0);
    read_all(b, row, ids, n, *shared);
    return row;
}

static void step_rows(sg_batch *b, int n, const int *rows, const int32_t *ids)
{
    int32_t next[SG_BATCH_ROWS];
    sg_error err;

    for (int r = 0; r < SG_BATCH_ROWS; r++)
        next[r] = -1;
    for (int i = 0; i < n; i++)
        next[rows[i]] = ids[i];
    CHECK_OK(sg_batch_step(b, next, &err), &err);
}

static bool same_logits(const sg_batch *a, int ra, const sg_batch *b, int rb, int n_vocab)
{
    return memcmp(sg_batch_logits(a, ra), sg_batch_logits(b, rb), (size_t)n_vocab * sizeof(float)) == 0;
}

enum { V = 60, CONTEXT = 512, STEPS = 6 };

/* Five rows of lengths 3 to 200, with edits of their own or without; each against a batch of its own. */
static void check_rows(bool edited)
{
    enum { ROWS = 5 };
    static const sg_dim lengths[ROWS] = {3, 17, 64, 200, 1};
    sg_model *m = model_of(2, V, CONTEXT, 0);
    int32_t ids[ROWS][200 + STEPS];
    float directions[ROWS][32];
    sg_edit edits[ROWS][3];
    const sg_span heads = {1, 1}, late = {2, 400};
    sg_batch_opts opts = sg_batch_defaults();
    int rows[ROWS];
    sg_dim shared;
    sg_error err;

    for (int i = 0; i < ROWS; i++) {
        random_tokens(ids[i], 200 + STEPS, V, (uint64_t)(20 + i));
        for (int d = 0; d < 32; d++)
            directions[i][d] = (float)((d * (i + 3)) % 7) - 3;
        const sg_tensor v = sg_tensor_of(SG_F32, 1, (sg_dim[]){32}, directions[i]);
        for (int k = 0; k < 3; k++)
            edits[i][k] = sg_edit_defaults();
        edits[i][0].site = "blocks.0.hook_resid_post";
        edits[i][0].op = SG_EDIT_ADD;
        edits[i][0].value = v;
        edits[i][0].strength = 0.1 * (i + 1);
        edits[i][1].site = "blocks.1.hook_resid_pre";
        edits[i][1].op = SG_EDIT_CLAMP;
        edits[i][1].value = v;
        edits[i][1].low = -0.5;
        edits[i][1].high = 0.1 * i;
        edits[i][1].positions = (sg_spans){1, &late};
        edits[i][2].site = "blocks.1.attn.hook_z";
        edits[i][2].op = SG_EDIT_SCALE;
        edits[i][2].strength = 0.5 * i;
        edits[i][2].heads = (sg_spans){1, &heads};
    }
    opts.n_rows = ROWS + 1;
    opts.n_edits = edited ? 3 : 0;
    opts.edits = edits[0];
    sg_batch *b = batch_of(m, opts);
    for (int i = 0; i < ROWS; i++) {
        rows[i] = sg_batch_open(b, ids[i], lengths[i], NULL, &shared);
        CHECK_OK(sg_batch_edit(b, rows[i], opts.n_edits, edits[i], &err), &err);
        read_all(b, rows[i], ids[i], lengths[i], 0);
    }
    float together[ROWS][STEPS][V];
    for (int s = 0; s < STEPS; s++) {
        int32_t next[ROWS];
        for (int i = 0; i < ROWS; i++)
            next[i] = ids[i][lengths[i] + s];
        step_rows(b, ROWS, rows, next);
        for (int i = 0; i < ROWS; i++)
            memcpy(together[i][s], sg_batch_logits(b, rows[i]), sizeof together[i][s]);
        if (s == 2) { /* one leaves and is not waited for; the hole goes along */
            sg_batch_close(b, rows[1]);
            rows[1] = sg_batch_open(b, ids[1], lengths[1], NULL, &shared);
            CHECK_OK(sg_batch_edit(b, rows[1], opts.n_edits, edits[1], &err), &err);
            read_all(b, rows[1], ids[1], lengths[1] + s + 1, shared);
        }
    }
    sg_batch_free(b);
    for (int i = 0; i < ROWS; i++) {
        opts.n_rows = 1;
        sg_batch *alone = batch_of(m, opts);
        const int row = sg_batch_open(alone, ids[i], lengths[i], NULL, &shared);
        CHECK_OK(sg_batch_edit(alone, row, opts.n_edits, edits[i], &err), &err);
        read_all(alone, row, ids[i], lengths[i], 0);
        for (int s = 0; s < STEPS; s++) {
            step_rows(alone, 1, &row, &ids[i][lengths[i] + s]);
            if (i == 1 && s > 2) /* it was read again in one piece, which may round otherwise */
                for (int t = 0; t < V; t++)
                    CHECK_NEAR(together[i][s][t], sg_batch_logits(alone, row)[t], 2e-3, 1e-3);
            else
                CHECK(memcmp(together[i][s], sg_batch_logits(alone, row), sizeof together[i][s]) == 0);
        }
        sg_batch_free(alone);
    }
    /* Edits do something, and not the same to all. */
    CHECK(memcmp(together[0][0], together[2][0], sizeof together[0][0]) != 0);
    sg_model_close(m);
}

static void a_row_is_what_it_is_alone(void **state)
{
    (void)state;
    check_rows(false);
}

static void a_row_with_edits_of_its_own_is_what_it_is_alone(void **state)
{
    (void)state;
    check_rows(true);
}

/* The same edits in a glass of one user, as `sightglass run --edits` has them. */
static void edits_by_row_are_the_edits_of_a_glass(void **state)
{
    (void)state;
    sg_model *m = model_of(2, V, CONTEXT, 0);
    int32_t ids[9];
    float low[2][8] = {{1, 2, 3, 4, 5, 6, 7, 8}, {2, 0, 0, 1, 0, 0, 0, 0}};
    const sg_span first = {0, 0};
    sg_edit edits[4];
    sg_error err;
    sg_dim shared, n = 9;

    random_tokens(ids, 9, V, 5);
    for (int i = 0; i < 4; i++)
        edits[i] = sg_edit_defaults();
    edits[0].site = "blocks.0.attn.hook_z";
    edits[0].op = SG_EDIT_PROJECT;
    edits[0].value = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 8}, low);
    edits[1].site = "blocks.0.attn.hook_attn_scores";
    edits[1].op = SG_EDIT_MASK;
    edits[1].keys = (sg_spans){1, &first};
    edits[2].site = "blocks.1.hook_mlp_out";
    edits[2].op = SG_EDIT_ABLATE;
    edits[2].strength = 0.3;
    edits[2].when = (sg_edit_when){.site = "blocks.0.hook_resid_post", .index = 3, .low = 0, .high = 5};
    edits[3].site = "blocks.1.hook_resid_post";
    edits[3].op = SG_EDIT_CLAMP;
    edits[3].low = -1;
    edits[3].high = 1.5;
    sg_batch_opts opts = sg_batch_defaults();
    opts.n_rows = 3;
    opts.n_edits = 4;
    opts.edits = edits;
    sg_batch *b = batch_of(m, opts);
    const int other = sg_batch_open(b, ids, 9, NULL, &shared), row = sg_batch_open(b, ids, 9, NULL, &shared);
    CHECK_OK(sg_batch_edit(b, row, 4, edits, &err), &err);
    read_all(b, other, ids, 9, 0);
    read_all(b, row, ids, 9, 0);
    for (int edited = 0; edited < 2; edited++) {
        sg_glass *glass;
        sg_value *logits;
        sg_tensor out;
        const int32_t *tokens = ids;
        const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
        CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
        if (edited)
            CHECK_OK(sg_glass_edit(glass, 4, edits, &err), &err);
        CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
        for (int v = 0; v < V; v++) /* sums in another order, in front of a clamp of every number */
            CHECK_NEAR(sg_batch_logits(b, edited ? row : other)[v], ((const float *)out.data)[8 * V + v], 1e-3, 1e-3);
        sg_glass_free(glass);
    }
    CHECK(!same_logits(b, row, b, other, V));
    sg_batch_free(b);
    sg_model_close(m);
}

static void a_prefix_that_is_taken_over_is_worth_one_that_is_read(void **state)
{
    (void)state;
    enum { N = 300 };
    sg_model *m = model_of(2, V, CONTEXT, 0);
    int32_t ids[N], other[N];
    sg_batch_opts opts = sg_batch_defaults();
    sg_dim shared;

    random_tokens(ids, N, V, 3);
    memcpy(other, ids, sizeof ids);
    random_tokens(other + 270, N - 270, V, 4);
    opts.n_rows = 3;
    sg_batch *fresh = batch_of(m, opts), *b = batch_of(m, opts);
    const int wanted = open_row(fresh, other, N, "a", &shared);
    CHECK(shared == 0);
    const int first = open_row(b, ids, N, "a", &shared);
    int second = open_row(b, other, N, "a", &shared); /* while the first is live */
    CHECK(shared == 256 && second != first && same_logits(b, second, fresh, wanted, V));
    step_rows(b, 2, (int[]){first, second}, (int32_t[]){1, 2});
    sg_batch_close(b, first);
    sg_batch_close(b, second);
    second = open_row(b, other, N, "a", &shared);
    CHECK(shared == 256 && same_logits(b, second, fresh, wanted, V));
    sg_batch_close(b, second);
    /* Never across other edits, and never all of a prompt: its last token is read. */
    CHECK(sg_batch_open(b, other, N, "b", &shared) >= 0 && shared == 0);
    CHECK(sg_batch_open(b, other, 256, "a", &shared) >= 0 && shared == 128);
    sg_batch_free(fresh);
    sg_batch_free(b);
    sg_model_close(m);
}

/* Of one layer, keys and values depend on their token alone: a sliding cache is then a run of the tokens that it holds.
 */
static void a_sliding_cache_is_a_run_of_what_it_holds(void **state)
{
    (void)state;
    enum { CONTEXT_HERE = 48, SINKS = 3, WINDOW = 20, N = 10 * CONTEXT_HERE };
    sg_model *m = model_of(1, V, CONTEXT_HERE, 0);
    sg_batch_opts opts = sg_batch_defaults();
    int32_t ids[N];
    sg_dim shared;
    sg_error err;
    size_t bytes, held = 0;
    sg_glass *glass;
    sg_value *logits;

    random_tokens(ids, N, V, 8);
    opts.sinks = SINKS;
    opts.window = WINDOW;
    CHECK_OK(sg_batch_cache_bytes(m, &opts, &bytes, &err), &err);
    CHECK(bytes == 2 * 64 * 2 * 8 * sizeof(float)); /* keys and values, one block of places, two heads of 8 */
    sg_batch *b = batch_of(m, opts);
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    const int row = open_row(b, ids, 30, NULL, &shared);
    for (int n = 30; n < N; n++) {
        if (n % 37 == 0 || n < 33) {
            int32_t kept[SINKS + WINDOW];
            const int32_t *tokens = kept;
            const sg_dim count = SINKS + WINDOW;
            const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &count};
            sg_tensor out;
            memcpy(kept, ids, SINKS * sizeof *ids);
            memcpy(kept + SINKS, ids + n - WINDOW, WINDOW * sizeof *ids);
            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
            for (int v = 0; v < V; v++)
                CHECK_NEAR(sg_batch_logits(b, row)[v], ((const float *)out.data)[(count - 1) * V + v], 1e-4, 1e-4);
        }
        step_rows(b, 1, &row, &ids[n]);
        const size_t now = sg_session_bytes(sg_glass_session(sg_batch_glass(b)));
        held = n == 30 ? now : held;
        CHECK(now == held); /* however long the text */
    }
    CHECK(sg_batch_length(b, row) == N);
    sg_glass_free(glass);
    sg_batch_free(b);
    sg_model_close(m);
}

static void a_cache_of_bf16_rounds_keys_and_values(void **state)
{
    (void)state;
    sg_model *m = model_of(2, V, CONTEXT, 0);
    sg_batch_opts opts = sg_batch_defaults();
    int32_t ids[40];
    size_t whole, half;
    double most = 0, spread = 0;
    sg_dim shared;
    sg_error err;

    random_tokens(ids, 40, V, 9);
    sg_batch *a = batch_of(m, opts);
    CHECK_OK(sg_batch_cache_bytes(m, &opts, &whole, &err), &err);
    opts.cache = SG_BF16;
    CHECK_OK(sg_batch_cache_bytes(m, &opts, &half, &err), &err);
    CHECK(half * 2 == whole);
    sg_batch *b = batch_of(m, opts);
    const int ra = open_row(a, ids, 40, NULL, &shared), rb = open_row(b, ids, 40, NULL, &shared);
    for (int v = 0; v < V; v++) {
        most = fmax(most, fabs((double)sg_batch_logits(a, ra)[v] - (double)sg_batch_logits(b, rb)[v]));
        spread = fmax(spread, fabs((double)sg_batch_logits(a, ra)[v]));
    }
    print_message("logits up to %.3g, at most %.3g away\n", spread, most);
    CHECK(most > 0 && most < 0.05 * spread); /* eight bits of a number are 0.4 % of it; these layers make it more */
    sg_batch_free(a);
    sg_batch_free(b);
    sg_model_close(m);
}

/* ---- texts ---- */

static void texts_of_a_batch_are_those_of_each_alone(void **state)
{
    (void)state;
    enum { PROMPTS = 6, BEST = 3 };
    sg_model *m = model_of(2, V, CONTEXT, 0);
    int32_t ids[PROMPTS][40];
    sg_prompt prompts[PROMPTS];
    sg_generation all[PROMPTS * BEST] = {0}, g = {0};
    sg_generate_opts opts = sg_generate_defaults();
    sg_batch_opts one = sg_batch_defaults(), many = one;
    sg_error err;
    int different = 0;

    for (int p = 0; p < PROMPTS; p++) {
        random_tokens(ids[p], 40, V, (uint64_t)(p + 1));
        prompts[p] = (sg_prompt){ids[p], 2 + 7 * p};
    }
    opts.sample.temperature = 1;
    opts.sample.min_p = 0.02;
    opts.seed = 11;
    opts.most = 12;
    opts.repetition = 1.2;
    opts.n_top = 2;
    many.n_rows = 5;
    sg_batch *b = batch_of(m, many), *alone = batch_of(m, one);
    CHECK_OK(sg_generate_all(all, b, PROMPTS, prompts, BEST, &opts, NULL, NULL, &err), &err);
    CHECK(sg_batch_n_free(b) == 5);
    for (int i = 0; i < PROMPTS * BEST; i++) {
        sg_generate_opts own = opts;
        own.stream = (uint32_t)(i % BEST);
        CHECK_OK(sg_generate(&g, alone, ids[i / BEST], prompts[i / BEST].n, &own, &err), &err);
        CHECK(strcmp(g.text, all[i].text) == 0 && strcmp(g.reason, all[i].reason) == 0 && g.logprob == all[i].logprob);
        CHECK(g.n_tokens == all[i].n_tokens && (g.n_tokens == 0 || g.tokens[0].logprob == all[i].tokens[0].logprob));
        different += i % BEST && strcmp(all[i].text, all[i - 1].text) != 0;
        sg_generation_free(&g);
    }
    CHECK(different > 6);
    for (int i = 0; i < PROMPTS * BEST; i++)
        sg_generation_free(&all[i]);
    sg_batch_free(b);
    sg_batch_free(alone);
    sg_model_close(m);
}

typedef struct listener {
    size_t most;
    int calls;
    bool whole;
} listener;

static bool listen(void *context, int i, const sg_generation *g, size_t text)
{
    listener *l = context;

    (void)i;
    l->whole &= text <= g->bytes;
    l->most = g->reason ? l->most : g->bytes;
    l->calls++;
    return l->calls < 100;
}

static void a_stop_may_lie_across_tokens(void **state)
{
    (void)state;
    sg_model *m = model_of(2, V, CONTEXT, -1);
    sg_batch *b = batch_of(m, sg_batch_defaults());
    const int32_t ids[3] = {7, 8, 9};
    const sg_prompt prompt = {ids, 3};
    sg_generate_opts opts = sg_generate_defaults();
    sg_generation whole = {0}, g = {0};
    listener l = {.whole = true};
    char stop[32];
    sg_error err;

    opts.most = 10;
    CHECK_OK(sg_generate(&whole, b, ids, 3, &opts, &err), &err);
    CHECK(whole.n_tokens == 10 && whole.n_written == 10 && strcmp(whole.reason, "length") == 0);
    /* The end of a token's text, the blank and the beginning of the next, which are nowhere before. */
    size_t at = 0;
    for (int i = 2; i < 9 && !at; i++) {
        snprintf(stop, sizeof stop, "%.4s", whole.text + whole.tokens[i].text - 1);
        at = strstr(whole.text, stop) == whole.text + whole.tokens[i].text - 1 ? whole.tokens[i].text - 1 : 0;
    }
    CHECK(at > 0);
    opts.stops[opts.n_stops++] = stop;
    opts.stops[opts.n_stops++] = "that is never written";
    CHECK_OK(sg_generate_all(&g, b, 1, &prompt, 1, &opts, listen, &l, &err), &err);
    CHECK(g.bytes == at && memcmp(g.text, whole.text, at) == 0 && strcmp(g.reason, "stop") == 0);
    CHECK(l.whole && l.most <= at); /* nothing of it was shown before */
    sg_generation_free(&g);
    sg_generation_free(&whole);
    sg_batch_free(b);
    sg_model_close(m);
}

static void a_text_ends_where_the_context_does(void **state)
{
    (void)state;
    sg_model *m = model_of(1, V, 16, -1);
    sg_batch *b = batch_of(m, sg_batch_defaults());
    const int32_t ids[3] = {7, 8, 9};
    sg_generate_opts opts = sg_generate_defaults();
    sg_generation g = {0};
    sg_error err;

    CHECK_OK(sg_generate(&g, b, ids, 3, &opts, &err), &err);
    CHECK(strcmp(g.reason, "context") == 0 && g.n_written == 14); /* the last one is written and not read */
    sg_generation_free(&g);
    CHECK_STATUS(sg_generate(&g, b, (int32_t[]){1, V}, 2, &opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "token 60 at place 1 of the prompt is outside the vocabulary 0 to 59");
    sg_batch_free(b);
    sg_model_close(m);
}

/* ---- beams ---- */

enum { LETTERS = 4, DEEP = 3, EOS = 3 };

typedef struct text {
    int32_t ids[DEEP];
    int n;
    double sum, score;
} text;

/* Log-probabilities of what follows, by a run without a cache. */
static void follow(sg_glass *glass, const int32_t *ids, sg_dim n, double *logprobs)
{
    sg_value *logits;
    sg_tensor out;
    sg_error err;
    const sg_rows rows = {.n_rows = 1, .tokens = &ids, .lengths = &n};
    double sum = 0;

    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
    const float *x = (const float *)out.data + (n - 1) * LETTERS;
    for (int v = 0; v < LETTERS; v++)
        sum += exp((double)x[v]);
    for (int v = 0; v < LETTERS; v++)
        logprobs[v] = (double)x[v] - log(sum);
}

/* Every text there is: up to DEEP letters, ended or not. */
static int all_texts(sg_glass *glass, int32_t *ids, sg_dim n, int depth, double sum, double penalty, text *out)
{
    double logprobs[LETTERS];
    int count = 0;

    follow(glass, ids, n, logprobs);
    for (int v = 0; v < LETTERS; v++) {
        text *t = &out[count];
        ids[n] = v;
        if (v != EOS && depth + 1 < DEEP) {
            count += all_texts(glass, ids, n + 1, depth + 1, sum + logprobs[v], penalty, t);
            continue;
        }
        t->n = depth + (v != EOS);
        memcpy(t->ids, ids + n - depth, (size_t)t->n * sizeof *ids);
        t->sum = sum + logprobs[v];
        t->score = t->sum / pow(depth + 1, penalty);
        count++;
    }
    return count;
}

static int by_score(const void *a, const void *b)
{
    const double x = ((const text *)a)->score, y = ((const text *)b)->score;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void beams_wide_enough_find_the_best_of_all_texts(void **state)
{
    (void)state;
    static const double penalties[3] = {0, 1, 0.6};
    sg_model *m = model_of(2, LETTERS, 32, EOS);
    sg_batch_opts opts = sg_batch_defaults();
    sg_generate_opts write = sg_generate_defaults();
    sg_glass *glass;
    sg_error err;

    opts.n_rows = 16; /* all prefixes of two letters, the third being free */
    write.most = DEEP;
    sg_batch *b = batch_of(m, opts);
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    for (int k = 0; k < 3; k++) {
        int32_t ids[2 + DEEP] = {k, 1};
        text texts[64];
        sg_generation g[16] = {0};
        const int n = all_texts(glass, ids, 2, 0, 0, penalties[k], texts);
        CHECK(n == 1 + 3 + 9 * 4);
        qsort(texts, (size_t)n, sizeof *texts, by_score);
        CHECK_OK(sg_generate_beams(g, b, ids, 2, 16, penalties[k], &write, &err), &err);
        for (int i = 0; i < 16; i++) {
            CHECK_NEAR(g[i].logprob, texts[i].sum, 1e-4, 0);
            CHECK(g[i].n_tokens == texts[i].n);
            for (int t = 0; t < texts[i].n; t++)
                CHECK(g[i].tokens[t].id == texts[i].ids[t]);
            sg_generation_free(&g[i]);
        }
        CHECK(sg_batch_n_free(b) == 16);
    }
    /* One beam is the likeliest token each time. */
    sg_generation g = {0}, greedy = {0};
    CHECK_OK(sg_generate_beams(&g, b, (int32_t[]){0, 1}, 2, 1, 0, &write, &err), &err);
    CHECK_OK(sg_generate(&greedy, b, (int32_t[]){0, 1}, 2, &write, &err), &err);
    CHECK(strcmp(g.text, greedy.text) == 0);
    sg_generation_free(&g);
    sg_generation_free(&greedy);
    CHECK_STATUS(sg_generate_beams(&g, b, (int32_t[]){0}, 1, 17, 0, &write, &err), SG_EARG);
    sg_glass_free(glass);
    sg_batch_free(b);
    sg_model_close(m);
}

static void options_that_do_not_fit_say_so(void **state)
{
    (void)state;
    sg_model *m = model_of(1, V, 32, -1), *gpt2;
    sg_batch_opts opts = sg_batch_defaults();
    sg_batch *b;
    sg_error err;

    opts.window = 40;
    CHECK_STATUS(sg_batch_new(&b, m, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "a cache of 40 tokens, the model's context is 32");
    opts.n_rows = 17;
    CHECK_STATUS(sg_batch_new(&b, m, opts, &err), SG_EARG);
    sg_model_close(m);
    CHECK_OK(sg_model_open(&gpt2, SG_SOURCE_DIR "/models/othello6", sg_model_defaults(), &err), &err);
    opts = sg_batch_defaults();
    opts.window = 8;
    CHECK_STATUS(sg_batch_new(&b, gpt2, opts, &err), SG_EUNSUPPORTED);
    sg_model_close(gpt2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_what_it_is_alone),
        cmocka_unit_test(a_row_with_edits_of_its_own_is_what_it_is_alone),
        cmocka_unit_test(edits_by_row_are_the_edits_of_a_glass),
        cmocka_unit_test(a_prefix_that_is_taken_over_is_worth_one_that_is_read),
        cmocka_unit_test(a_sliding_cache_is_a_run_of_what_it_holds),
        cmocka_unit_test(a_cache_of_bf16_rounds_keys_and_values),
        cmocka_unit_test(texts_of_a_batch_are_those_of_each_alone),
        cmocka_unit_test(a_stop_may_lie_across_tokens),
        cmocka_unit_test(a_text_ends_where_the_context_does),
        cmocka_unit_test(beams_wide_enough_find_the_best_of_all_texts),
        cmocka_unit_test(options_that_do_not_fit_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
