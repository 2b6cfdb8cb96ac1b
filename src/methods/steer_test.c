/* Planted directions are found, edits are the same thing however they are made, and scores are what a double loop over
 * the model's logits gives. Small models with fresh weights stand for all; what a tokenizer is needed for runs on
 * stories260K. */
#include "sightglass/steer.h"

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/adapt.h"
#include "sightglass/generate.h"
#include "sightglass/method.h"
#include "sightglass/rng.h"

static const char *const llama = SG_SOURCE_DIR "/test/data/families/llama";
static const char *const gpt2 = SG_SOURCE_DIR "/test/data/families/gpt2";

static sg_model *opened(const char *path)
{
    sg_model *m;
    sg_error err;
    CHECK_OK(sg_model_open(&m, path, sg_model_defaults(), &err), &err);
    return m;
}

static sg_model *stories(void)
{
    char path[1024];
    return sg_test_shared(path, "models/stories260K") ? opened(path) : NULL;
}

/* ---- directions ---- */

enum { N = 300, D = 20 };

/* Two Gaussians, or pairs: text 2k is the positive one of group k. */
static sg_steer_data *pairs(int n)
{
    static const int32_t token = 3;
    static sg_steer_text texts[2 * N];
    sg_steer_data *d;
    sg_error err;
    for (int i = 0; i < n; i++)
        texts[i] = (sg_steer_text){.tokens = &token, .n = 1, .shared = 1, .group = i / 2, .positive = i % 2 == 0};
    CHECK_OK(sg_steer_data_of(&d, n, texts, &err), &err);
    return d;
}

static double cosine(const float *a, const double *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int k = 0; k < D; k++) {
        ab += (double)a[k] * b[k];
        aa += (double)a[k] * (double)a[k];
        bb += b[k] * b[k];
    }
    return ab / sqrt(aa * bb);
}

static void a_planted_direction_is_found(void **state)
{
    (void)state;
    static float x[N * D];
    double truth[D];
    float found[D];
    sg_error err;
    sg_rng r = sg_rng_new(3, 9);
    sg_steer_data *d = pairs(N), *shuffled;
    for (int k = 0; k < D; k++)
        truth[k] = .7 * sg_rng_normal(&r);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < D; k++)
            x[i * D + k] = (float)(5 + sg_rng_normal(&r) + (i % 2 == 0 ? 1 : -1) * truth[k]);
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
    CHECK_OK(sg_steer_direction(found, NULL, SG_STEER_MEAN, &acts, d, 1, &err), &err);
    CHECK(cosine(found, truth) >= .99);
    CHECK_OK(sg_steer_direction(found, NULL, SG_STEER_PCA, &acts, d, 1, &err), &err);
    CHECK(cosine(found, truth) >= .98); /* noise of one pair counts twice, and squared */
    CHECK_OK(sg_steer_direction(found, NULL, SG_STEER_PROBE, &acts, d, 1, &err), &err);
    CHECK(cosine(found, truth) >= .75); /* it minds those near the boundary, of which there are few */
    for (uint64_t seed = 0; seed < 5; seed++) {
        CHECK_OK(sg_steer_direction(found, NULL, SG_STEER_RANDOM, &acts, d, seed, &err), &err);
        CHECK(fabs(cosine(found, truth)) < .75);
    }
    double chance = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        CHECK_OK(sg_steer_shuffled(&shuffled, d, seed, &err), &err);
        CHECK_OK(sg_steer_direction(found, NULL, SG_STEER_MEAN, &acts, shuffled, 1, &err), &err);
        chance += cosine(found, truth) / 20; /* of either sign, since what varies most is still the truth */
        sg_steer_data_free(shuffled);
    }
    CHECK(fabs(chance) < .7);
    sg_steer_data_free(d);
}

/* Differences are all about one mean; along another direction they vary. Centring takes the mean away. */
static void centring_the_differences_takes_their_mean_away(void **state)
{
    (void)state;
    static float x[N * D];
    double mean[D] = {3, 0}, along[D] = {0, 1};
    float found[D];
    sg_error err;
    sg_rng r = sg_rng_new(5, 0);
    sg_steer_data *d = pairs(N);
    for (int i = 0; i < N; i += 2) {
        const double t = sg_rng_normal(&r);
        for (int k = 0; k < D; k++) {
            const double base = 2 * sg_rng_normal(&r), half = (mean[k] + t * along[k] + .05 * sg_rng_normal(&r)) / 2;
            x[i * D + k] = (float)(base + half);
            x[(i + 1) * D + k] = (float)(base - half);
        }
    }
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
    CHECK_OK(sg_steer_direction(found, NULL, SG_STEER_PCA, &acts, d, 1, &err), &err);
    CHECK(cosine(found, mean) > .99);
    CHECK_OK(sg_steer_direction(found, NULL, SG_STEER_PCA_CENTRED, &acts, d, 1, &err), &err);
    CHECK(fabs(cosine(found, along)) > .99 && fabs(cosine(found, mean)) < .1);
    sg_steer_data_free(d);
}

static void sigma_is_the_deviation_recomputed_in_double(void **state)
{
    (void)state;
    static float x[N * D];
    float found[D];
    double sigma, mean = 0, square = 0, along[N];
    sg_error err;
    sg_rng r = sg_rng_new(7, 0);
    sg_steer_data *d = pairs(N);
    for (int i = 0; i < N * D; i++)
        x[i] = (float)(100 + 3 * sg_rng_normal(&r)); /* far from 0, where f32 would lose it */
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
    CHECK_OK(sg_steer_direction(found, &sigma, SG_STEER_MEAN, &acts, d, 1, &err), &err);
    for (int i = 0; i < N; i++) {
        along[i] = 0;
        for (int k = 0; k < D; k++)
            along[i] += (double)x[i * D + k] * (double)found[k];
        mean += along[i] / N;
    }
    for (int i = 0; i < N; i++)
        square += (along[i] - mean) * (along[i] - mean) / N;
    CHECK_NEAR(sigma, sqrt(square), 0, 1e-6);
    CHECK(sigma > 1);
    sg_steer_data_free(d);
}

static void what_has_no_direction_is_said(void **state)
{
    (void)state;
    float x[4] = {1, 1, 1, 1}, found[2];
    sg_error err;
    sg_steer_data *d = pairs(2), *other = NULL;
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 2}, x),
                    few = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, 2}, x);
    CHECK_STATUS(sg_steer_direction(found, NULL, SG_STEER_MEAN, &acts, d, 1, &err), SG_ENUMERIC);
    CHECK_STATUS(sg_steer_direction(found, NULL, SG_STEER_MEAN, &few, d, 1, &err), SG_ESHAPE);
    sg_steer_text lone[2] = {d->texts[0], d->texts[1]};
    lone[1].positive = true;
    CHECK_OK(sg_steer_data_of(&other, 2, lone, &err), &err);
    CHECK_STATUS(sg_steer_direction(found, NULL, SG_STEER_PCA, &acts, other, 1, &err), SG_EARG);
    CHECK_TEXT(err.text, "2 are positive");
    sg_steer_data_free(other);
    lone[1].group = 2;
    CHECK_STATUS(sg_steer_data_of(&other, 2, lone, &err), SG_EARG);
    sg_steer_data_free(d);
}

static void no_group_is_on_both_sides_of_a_split(void **state)
{
    (void)state;
    sg_steer_data *d = pairs(N), *first, *others;
    sg_error err;
    bool seen[N / 2] = {false};
    int32_t tokens[N];
    sg_steer_text texts[N];
    for (int i = 0; i < N; i++) { /* tokens name the group, so that it is known after the split */
        tokens[i] = d->texts[i].group;
        texts[i] = d->texts[i];
        texts[i].tokens = &tokens[i];
    }
    sg_steer_data_free(d);
    CHECK_OK(sg_steer_data_of(&d, N, texts, &err), &err);
    CHECK_OK(sg_steer_split(&first, &others, d, .2, 9, &err), &err);
    CHECK(first->n_groups == 30 && first->n == 60 && others->n_groups == 120 && first->n + others->n == N);
    for (int i = 0; i < first->n; i++)
        seen[first->texts[i].tokens[0]] = true;
    for (int i = 0; i < others->n; i++)
        CHECK(!seen[others->texts[i].tokens[0]]);
    for (int i = 0; i < others->n; i++)
        CHECK(others->texts[i].group == i / 2);
    sg_steer_data_free(first);
    sg_steer_data_free(others);
    sg_steer_data_free(d);
}

/* ---- a model and texts of it ---- */

/* Texts of token numbers whose last token tells the kind: groups of two with a beginning in common. */
static sg_steer_data *told_by_token(int n_groups, int n_vocab, int32_t positive, int32_t negative)
{
    enum { LENGTH = 6, MOST = 64 };
    static int32_t tokens[2 * MOST][LENGTH];
    sg_steer_text texts[2 * MOST];
    sg_steer_data *d;
    sg_error err;
    sg_rng r = sg_rng_new(2, 0);
    CHECK(n_groups <= MOST);
    for (int i = 0; i < 2 * n_groups; i++) {
        for (int k = 0; k < LENGTH - 1; k++)
            tokens[i][k] = i % 2 ? tokens[i - 1][k] : (int32_t)sg_rng_below(&r, (uint32_t)n_vocab);
        tokens[i][LENGTH - 1] = i % 2 ? negative : positive;
        texts[i] = (sg_steer_text){
            .tokens = tokens[i], .n = LENGTH, .shared = LENGTH - 1, .group = i / 2, .positive = i % 2 == 0};
    }
    CHECK_OK(sg_steer_data_of(&d, 2 * n_groups, texts, &err), &err);
    return d;
}

static void activations_are_those_of_the_last_token(void **state)
{
    (void)state;
    sg_model *m = opened(llama);
    sg_steer_data *d = told_by_token(4, 20, 5, 9);
    sg_store *s;
    sg_glass *glass;
    sg_value *v;
    sg_tensor out;
    sg_error err;
    const char *const site = "blocks.1.hook_resid_post";
    CHECK_OK(sg_steer_acts(&s, m, d, 1, &site, sg_harvest_defaults(), &err), &err);
    CHECK(sg_store_n_rows(s) == d->n);
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, site, &v, &err), &err);
    for (int i = 0; i < d->n; i++) {
        const sg_rows rows = {.n_rows = 1, .tokens = &d->texts[i].tokens, .lengths = &d->texts[i].n};
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &out, &err), &err);
        const sg_dim width = out.dims[2];
        for (sg_dim k = 0; k < width; k++)
            CHECK_NEAR(sg_tensor_get(sg_store_acts(s, 0), i * width + k),
                       sg_tensor_get(&out, (d->texts[i].n - 1) * width + k), 1e-5, 1e-4);
    }
    sg_glass_free(glass);
    sg_store_free(s);
    sg_steer_data_free(d);
    sg_model_close(m);
}

static void heads_are_ranked_by_what_they_tell_and_shuffled_kinds_tell_nothing(void **state)
{
    (void)state;
    sg_model *m = opened(llama);
    sg_steer_data *d = told_by_token(48, 20, 5, 9);
    sg_headrank *h;
    sg_error err;
    CHECK_OK(sg_headrank_new(&h, m, d, sg_headrank_defaults(), &err), &err);
    const int n = h->n_layers * h->n_heads;
    double shuffled = 0;
    CHECK_NEAR(h->larger, .5, 1e-12, 0);
    for (int i = 1; i < n; i++)
        CHECK(h->accuracy[h->order[i - 1]] >= h->accuracy[h->order[i]]);
    for (int i = 0; i < n; i++)
        shuffled += h->shuffled[i] / n;
    CHECK(h->elsewhere[h->order[0]] > .95); /* the last token is in its value */
    CHECK(shuffled > .2 && shuffled < .8);
    sg_headrank_free(h);
    sg_steer_data *few, *rest;
    CHECK_OK(sg_steer_split(&few, &rest, d, .03, 1, &err), &err);
    CHECK_STATUS(sg_headrank_new(&h, m, few, sg_headrank_defaults(), &err), SG_EARG);
    sg_steer_data_free(few);
    sg_steer_data_free(rest);
    sg_steer_data_free(d);
    sg_model_close(m);
}

/* ---- edits that are one thing ---- */

static float *logits_of(const sg_model *m, int n_edits, const sg_edit *edits, const int32_t *tokens, sg_dim n)
{
    sg_glass *glass;
    sg_value *v;
    sg_tensor out;
    sg_error err;
    const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    if (n_edits)
        CHECK_OK(sg_glass_edit(glass, n_edits, edits, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &v, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &out, &err), &err);
    float *copy = malloc(sg_tensor_bytes(&out));
    CHECK(copy);
    memcpy(copy, out.data, sg_tensor_bytes(&out));
    sg_glass_free(glass);
    return copy;
}

static double furthest(const float *a, const float *b, sg_dim n)
{
    double most = 0;
    for (sg_dim i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* Heads of fresh directions, so that every model has some to push. */
static sg_headrank *some_heads(const sg_model *m, const sg_steer_data *d)
{
    sg_headrank *h;
    sg_error err;
    CHECK_OK(sg_headrank_new(&h, m, d, sg_headrank_defaults(), &err), &err);
    return h;
}

static void check_baked(const char *path)
{
    enum { T = 7 };
    sg_model *m = opened(path), *baked = opened(path), *again;
    const sg_dim v = sg_model_get_info(m)->n_vocab;
    sg_steer_data *d = told_by_token(24, 20, 5, 9);
    sg_headrank *h = some_heads(m, d);
    sg_edit_list *list;
    sg_error err;
    int32_t tokens[T];
    for (int i = 0; i < T; i++)
        tokens[i] = (int32_t)((7 * i + 3) % SG_MIN(v, 20));
    CHECK_OK(sg_edit_list_new(&list, "test", &err), &err);
    CHECK_OK(sg_steer_iti(list, h, SG_MIN(3, h->n_layers * h->n_heads), NULL, 8, SG_STEER_ALL, &err), &err);
    CHECK_OK(sg_steer_bake(baked, list, &err), &err);
    CHECK_OK(sg_model_write(baked, SG_F32, "steer_test_baked", &err), &err);
    again = opened("steer_test_baked");
    float *plain = logits_of(m, 0, NULL, tokens, T),
          *edited = logits_of(m, sg_edit_list_count(list), sg_edit_list_at(list, 0), tokens, T);
    float *one = logits_of(baked, 0, NULL, tokens, T), *two = logits_of(again, 0, NULL, tokens, T);
    CHECK(furthest(edited, one, T * v) < 1e-4);
    CHECK(furthest(edited, two, T * v) < 1e-4);
    CHECK(furthest(edited, plain, T * v) > 1e-2); /* and the edit does something */
    /* What is made at some positions alone is no bias. */
    sg_edit_list *generated;
    CHECK_OK(sg_edit_list_new(&generated, "test", &err), &err);
    CHECK_OK(sg_steer_iti(generated, h, 1, NULL, 8, SG_STEER_GENERATED, &err), &err);
    CHECK_STATUS(sg_steer_bake(baked, generated, &err), SG_EARG);
    CHECK_TEXT(err.text, "not made at every position");
    free(plain);
    free(edited);
    free(one);
    free(two);
    sg_edit_list_free(list);
    sg_edit_list_free(generated);
    sg_headrank_free(h);
    sg_steer_data_free(d);
    sg_model_close(m);
    sg_model_close(baked);
    sg_model_close(again);
    sg_test_remove_all("steer_test_baked");
}

static void baked_is_edited(void **state)
{
    (void)state;
    char path[1024];
    check_baked(llama);
    check_baked(gpt2); /* whose matrices are stored the other way round, and which has biases already */
    SKIP_WITHOUT(sg_test_shared(path, "models/stories260K"), "models/stories260K");
    check_baked(path);
}

static void at_strength_0_nothing_changes_and_heads_apart_commute(void **state)
{
    (void)state;
    enum { T = 6 };
    static const int32_t tokens[T] = {1, 4, 2, 7, 11, 3};
    sg_model *m = opened(llama);
    const sg_dim v = sg_model_get_info(m)->n_vocab;
    sg_steer_data *d = told_by_token(24, 20, 5, 9);
    sg_headrank *h = some_heads(m, d);
    sg_edit_list *one, *two;
    sg_error err;
    const int first = 0, second = 1;
    CHECK_OK(sg_edit_list_new(&one, "one", &err), &err);
    CHECK_OK(sg_steer_iti(one, h, 2, NULL, 0, SG_STEER_ALL, &err), &err);
    float *plain = logits_of(m, 0, NULL, tokens, T),
          *still = logits_of(m, sg_edit_list_count(one), sg_edit_list_at(one, 0), tokens, T);
    CHECK(memcmp(plain, still, (size_t)(T * v) * sizeof(float)) == 0);
    sg_edit_list_free(one);
    free(still);
    CHECK_OK(sg_edit_list_new(&one, "one", &err), &err);
    CHECK_OK(sg_edit_list_new(&two, "two", &err), &err);
    CHECK_OK(sg_steer_iti(one, h, 1, &first, 9, SG_STEER_ALL, &err), &err);
    CHECK_OK(sg_steer_iti(one, h, 1, &second, 9, SG_STEER_ALL, &err), &err);
    CHECK_OK(sg_steer_iti(two, h, 1, &second, 9, SG_STEER_ALL, &err), &err);
    CHECK_OK(sg_steer_iti(two, h, 1, &first, 9, SG_STEER_ALL, &err), &err);
    float *ab = logits_of(m, 2, sg_edit_list_at(one, 0), tokens, T),
          *ba = logits_of(m, 2, sg_edit_list_at(two, 0), tokens, T);
    CHECK(memcmp(ab, ba, (size_t)(T * v) * sizeof(float)) == 0);
    CHECK(memcmp(ab, plain, (size_t)(T * v) * sizeof(float)) != 0);
    free(ab);
    free(ba);
    free(plain);
    sg_edit_list_free(one);
    sg_edit_list_free(two);
    sg_headrank_free(h);
    sg_steer_data_free(d);
    sg_model_close(m);
}

static void through_json_the_logits_are_the_same_bits(void **state)
{
    (void)state;
    enum { T = 6 };
    static const int32_t tokens[T] = {1, 4, 2, 7, 11, 3};
    sg_model *m = opened(llama);
    const sg_dim v = sg_model_get_info(m)->n_vocab;
    sg_steer_data *d = told_by_token(24, 20, 5, 9);
    sg_headrank *h = some_heads(m, d);
    sg_edit_list *list, *back;
    sg_error err;
    CHECK_OK(sg_edit_list_new(&list, "list", &err), &err);
    CHECK_OK(sg_steer_iti(list, h, 3, NULL, 1.0 / 3, SG_STEER_ALL, &err), &err);
    CHECK_OK(sg_steer_iti(list, h, 2, NULL, 5, SG_STEER_GENERATED, &err), &err);
    CHECK_OK(sg_edit_list_save(list, "steer_test.json", &err), &err);
    CHECK_OK(sg_edit_list_open(&back, "steer_test.json", &err), &err);
    CHECK(sg_edit_list_count(back) == sg_edit_list_count(list));
    for (int i = 0; i < sg_edit_list_count(list); i++) {
        const sg_edit *a = sg_edit_list_at(list, i), *b = sg_edit_list_at(back, i);
        CHECK(!strcmp(a->site, b->site) && a->op == b->op && a->strength == b->strength && a->heads.n == b->heads.n);
        CHECK(a->positions.n == b->positions.n && a->steps.n == b->steps.n);
        for (int k = 0; k < a->steps.n; k++)
            CHECK(a->steps.spans[k].first == b->steps.spans[k].first &&
                  a->steps.spans[k].last == b->steps.spans[k].last);
    }
    float *one = logits_of(m, sg_edit_list_count(list), sg_edit_list_at(list, 0), tokens, T),
          *two = logits_of(m, sg_edit_list_count(back), sg_edit_list_at(back, 0), tokens, T);
    CHECK(memcmp(one, two, (size_t)(T * v) * sizeof(float)) == 0);
    free(one);
    free(two);
    sg_edit_list_free(list);
    sg_edit_list_free(back);
    remove("steer_test.json");
    sg_headrank_free(h);
    sg_steer_data_free(d);
    sg_model_close(m);
}

/* What is generated: with a cache, without one token by token, and beside a row that nothing is done to. */
static void check_generated(sg_steer_where where)
{
    enum { PROMPT = 5, MOST = 6 };
    static const int32_t prompt[PROMPT] = {1, 4, 2, 7, 11};
    sg_model *m = opened(llama);
    const sg_dim v = sg_model_get_info(m)->n_vocab;
    sg_steer_data *d = told_by_token(24, 20, 5, 9);
    sg_headrank *h = some_heads(m, d);
    sg_edit_list *list;
    sg_error err;
    CHECK_OK(sg_edit_list_new(&list, "list", &err), &err);
    CHECK_OK(sg_steer_iti(list, h, 3, NULL, 12, where, &err), &err);
    const int n_edits = sg_edit_list_count(list);
    const sg_edit *edits = sg_edit_list_at(list, 0);
    sg_batch_opts opts = sg_batch_defaults();
    opts.n_rows = 2;
    opts.capacity = 32;
    opts.n_edits = n_edits;
    opts.edits = edits;
    sg_batch *b;
    sg_dim shared, used;
    CHECK_OK(sg_batch_new(&b, m, opts, &err), &err);
    const int other = sg_batch_open(b, prompt, PROMPT, NULL, &shared),
              row = sg_batch_open(b, prompt, PROMPT, NULL, &shared);
    float *first = malloc(2 * (size_t)v * sizeof *first);
    CHECK(first);
    CHECK_OK(sg_batch_edit(b, row, n_edits, edits, &err), &err);
    CHECK_OK(sg_batch_read(b, other, prompt, PROMPT, &used, first, &err), &err);
    CHECK_OK(sg_batch_read(b, row, prompt, PROMPT, &used, first + v, &err), &err);
    int32_t text[PROMPT + MOST];
    memcpy(text, prompt, sizeof prompt);
    for (int s = 0; s < MOST; s++) {
        const float *now = s ? sg_batch_logits(b, row) : first + v, *still = s ? sg_batch_logits(b, other) : first;
        const sg_dim n = PROMPT + s;
        /* Without a cache: the same text as one prompt, in which the edit is made from the prompt's last token on. */
        static const sg_span from = {PROMPT - 1, 1000};
        sg_edit at[8];
        int n_at = 0;
        for (int i = 0; i < n_edits; i++) {
            if (edits[i].steps.n)
                continue; /* the half that is made while writing */
            at[n_at] = edits[i];
            if (where == SG_STEER_GENERATED)
                at[n_at].positions = (sg_spans){1, &from};
            n_at++;
        }
        float *whole = logits_of(m, n_at, at, text, n), *plain = logits_of(m, 0, NULL, text, n);
        CHECK(furthest(whole + (n - 1) * v, now, v) < 1e-3);
        CHECK(furthest(plain + (n - 1) * v, still, v) < 1e-3);
        CHECK(furthest(now, still, v) > 1e-2);
        int32_t next[SG_BATCH_ROWS];
        for (int i = 0; i < SG_BATCH_ROWS; i++)
            next[i] = -1;
        next[row] = 0;
        for (int32_t k = 1; k < v; k++)
            if (now[k] > now[next[row]])
                next[row] = k;
        next[other] = text[n] = next[row];
        free(whole);
        free(plain);
        CHECK_OK(sg_batch_step(b, next, &err), &err);
    }
    free(first);
    sg_batch_free(b);
    sg_edit_list_free(list);
    sg_headrank_free(h);
    sg_steer_data_free(d);
    sg_model_close(m);
}

static void generated_with_a_cache_and_without_and_beside_others(void **state)
{
    (void)state;
    check_generated(SG_STEER_ALL);
    check_generated(SG_STEER_GENERATED);
}

/* ---- effect and cost ---- */

/* log p of token at position i of a text, from logits, in double. */
static double logprob(const float *logits, sg_dim v, const int32_t *tokens, sg_dim i)
{
    double most = -HUGE_VAL, sum = 0;
    const float *at = logits + (i - 1) * v;
    for (sg_dim k = 0; k < v; k++)
        most = fmax(most, (double)at[k]);
    for (sg_dim k = 0; k < v; k++)
        sum += exp((double)at[k] - most);
    return (double)at[tokens[i]] - most - log(sum);
}

static void scores_are_those_of_an_independent_double_loop(void **state)
{
    (void)state;
    enum { GROUPS = 5, EACH = 4, LONGEST = 7, OTHER = 2, T = 9 };
    sg_model *m = opened(llama);
    const sg_dim v = sg_model_get_info(m)->n_vocab;
    int32_t tokens[GROUPS * EACH][LONGEST], other[OTHER * T];
    sg_steer_text texts[GROUPS * EACH];
    sg_steer_data *d, *kinds = told_by_token(24, 20, 5, 9);
    sg_error err;
    sg_rng r = sg_rng_new(8, 0);
    for (int i = 0; i < GROUPS * EACH; i++) {
        for (int k = 0; k < LONGEST; k++)
            tokens[i][k] = k < 3 && i % EACH ? tokens[i - 1][k] : (int32_t)sg_rng_below(&r, 20);
        texts[i] = (sg_steer_text){.tokens = tokens[i],
                                   .n = 4 + i % 4,
                                   .shared = 3,
                                   .group = i / EACH,
                                   .positive = i % EACH < 2,
                                   .best = i % EACH == 1};
    }
    for (int i = 0; i < OTHER * T; i++)
        other[i] = (int32_t)sg_rng_below(&r, 20);
    CHECK_OK(sg_steer_data_of(&d, GROUPS * EACH, texts, &err), &err);
    sg_headrank *h = some_heads(m, kinds);
    sg_edit_list *list;
    CHECK_OK(sg_edit_list_new(&list, "list", &err), &err);
    CHECK_OK(sg_steer_iti(list, h, 3, NULL, 2, SG_STEER_ALL, &err), &err);
    const double strength[3] = {0, 1, 6};
    const sg_tensor rows = sg_tensor_of(SG_I32, 2, (sg_dim[]){OTHER, T}, other);
    sg_steer_point got[3];
    sg_steer_measure_opts opts = sg_steer_measure_defaults();
    opts.batch = 3; /* which does not divide the texts */
    CHECK_OK(
        sg_steer_measure(got, m, sg_edit_list_count(list), sg_edit_list_at(list, 0), 3, strength, d, &rows, opts, &err),
        &err);
    for (int s = 0; s < 3; s++) {
        sg_edit edits[4];
        double mass = 0, first = 0, mass_each = 0, first_each = 0, probability = 0, loss = 0, kl = 0;
        for (int i = 0; i < sg_edit_list_count(list); i++) {
            edits[i] = *sg_edit_list_at(list, i);
            edits[i].strength *= strength[s];
        }
        for (int g = 0; g < GROUPS; g++)
            for (int each = 0; each < 2; each++) {
                double score[EACH], good = 0, all = 0;
                for (int a = 0; a < EACH; a++) {
                    const sg_steer_text *t = &texts[g * EACH + a];
                    float *logits = logits_of(m, sg_edit_list_count(list), edits, t->tokens, t->n);
                    score[a] = 0;
                    for (sg_dim i = 3; i < t->n; i++)
                        score[a] += logprob(logits, v, t->tokens, i);
                    probability += each || a >= 2 ? 0 : exp(score[a]) / GROUPS;
                    score[a] /= each ? (double)(t->n - 3) : 1;
                    free(logits);
                    good += a < 2 ? exp(score[a]) : 0;
                    all += exp(score[a]);
                }
                *(each ? &mass_each : &mass) += good / all / GROUPS;
                *(each ? &first_each : &first) += (score[1] > score[2] && score[1] > score[3]) / (double)GROUPS;
            }
        for (int r0 = 0; r0 < OTHER; r0++) {
            float *with = logits_of(m, sg_edit_list_count(list), edits, other + r0 * T, T),
                  *without = logits_of(m, 0, NULL, other + r0 * T, T);
            for (sg_dim i = 1; i < T; i++)
                loss -= logprob(with, v, other + r0 * T, i) / (OTHER * (T - 1));
            for (sg_dim i = 0; i < T; i++)
                for (int32_t k = 0; k < v; k++) {
                    int32_t as[T + 1];
                    for (int j = 0; j <= T; j++)
                        as[j] = k;
                    const double p = logprob(without, v, as, i + 1);
                    kl += exp(p) * (p - logprob(with, v, as, i + 1)) / (OTHER * T);
                }
            free(with);
            free(without);
        }
        CHECK_NEAR(got[s].mass, mass, 1e-5, 0);
        CHECK_NEAR(got[s].first, first, 1e-12, 0);
        CHECK_NEAR(got[s].mass_each, mass_each, 1e-5, 0);
        CHECK_NEAR(got[s].first_each, first_each, 1e-12, 0);
        CHECK_NEAR(got[s].probability, probability, 0, 1e-3);
        CHECK_NEAR(got[s].loss, loss, 1e-4, 0);
        CHECK_NEAR(got[s].kl, kl, 1e-4, 0);
        CHECK(got[s].mass_low <= got[s].mass && got[s].mass <= got[s].mass_high && got[s].strength == strength[s]);
    }
    CHECK(got[0].kl < 1e-6 && got[2].kl > 1e-3);
    sg_edit_list_free(list);
    sg_headrank_free(h);
    sg_steer_data_free(d);
    sg_steer_data_free(kinds);
    sg_model_close(m);
}

/* ---- files ---- */

static sg_steer_data *read_text(const sg_model *m, const char *name, const char *bytes, sg_steer_read_opts opts,
                                sg_error *err)
{
    sg_steer_data *d = NULL;
    FILE *f = fopen(name, "wb");
    CHECK(f && fwrite(bytes, 1, strlen(bytes), f) == strlen(bytes) && fclose(f) == 0);
    if (sg_steer_data_read(&d, name, sg_model_tokenizer(m), opts, err) != SG_OK)
        CHECK(d == NULL);
    remove(name);
    return d;
}

static void check_text(const sg_model *m, const sg_steer_text *t, const char *want)
{
    char *text;
    sg_error err;
    CHECK_OK(sg_tokenizer_decode(sg_model_tokenizer(m), t->tokens, t->n, true, &text, &err), &err);
    CHECK_TEXT(text, want);
    free(text);
}

static void files_of_each_form_are_read(void **state)
{
    (void)state;
    sg_model *m = stories();
    sg_error err;
    if (!m) {
        print_message("skipped: models/stories260K is not here\n");
        skip();
        return;
    }
    sg_steer_read_opts opts = sg_steer_read_defaults();
    sg_steer_data *d = read_text(m, "steer_test.jsonl",
                                 "{\"positive\": \"The dog was happy\", \"negative\": \"The dog was sad\"}\n\n"
                                 "{\"negative\": \"No\", \"positive\": \"Yes\"}\n",
                                 opts, &err);
    CHECK(d && d->n == 4 && d->n_groups == 2 && d->texts[0].positive && !d->texts[1].positive &&
          d->texts[3].group == 1);
    CHECK(d->texts[0].shared > 2 && d->texts[0].shared < d->texts[0].n); /* "The dog was" */
    check_text(m, &d->texts[1], "The dog was sad");
    sg_steer_data_free(d);
    d = read_text(m, "steer_test.tsv", "sentence\tlabel\nshe said \"hi\" , \t1\nso bad\t0\n", opts, &err);
    CHECK(d && d->n == 2 && d->n_groups == 2 && d->texts[0].positive && !d->texts[1].positive);
    check_text(m, &d->texts[0], "she said \"hi\" ,");
    sg_steer_data_free(d);
    d = read_text(m, "steer_test.csv",
                  "Type,Question,Best Answer,Correct Answers,Incorrect Answers\n"
                  "x,What?,\"Yes, it is\",\"No one knows; Yes, it is; \",It was; It may\n",
                  opts, &err);
    CHECK(d && d->n == 4 && d->n_groups == 1 && d->texts[0].best && !d->texts[1].best && !d->texts[2].positive);
    check_text(m, &d->texts[0], "Q: What?");
    check_text(m, &d->texts[1], "No one knows");
    sg_steer_data_free(d);
    d = read_text(m, "steer_test.json",
                  "[{\"question\": \"Who?\", \"mc1_targets\": {\"He\": 1, \"She\": 0, \"It\": 0},"
                  " \"mc2_targets\": {\"They\": 1, \"He\": 1, \"She\": 0}}]",
                  opts, &err);
    CHECK(d && d->n == 4 && d->n_groups == 1);
    CHECK(d->texts[0].positive && !d->texts[0].best && d->texts[1].best && !d->texts[2].positive &&
          !d->texts[3].positive);
    sg_steer_data_free(d);
    opts.words = "happy|sad";
    opts.form = "A {word} girl said: {text}";
    opts.n_cuts = 2;
    d = read_text(m, "steer_test.json", "[\"one two three four\", \"five\"]", opts, &err);
    CHECK(d && d->n == 6 && d->n_groups == 2 && d->texts[0].positive && !d->texts[1].positive &&
          d->texts[4].group == 1);
    check_text(m, &d->texts[0], "A happy girl said: one two");
    check_text(m, &d->texts[3], "A sad girl said: one two three four");
    CHECK(d->texts[0].n < d->texts[2].n);
    sg_steer_data_free(d);
    opts = sg_steer_read_defaults();
    opts.most = 1;
    opts.longest = 3;
    d = read_text(m, "steer_test.jsonl",
                  "{\"text\": \"a very long text that is left out\", \"label\": 1}\n{\"text\": \"a\", \"label\": 0}\n"
                  "{\"text\": \"b\", \"label\": 1}\n",
                  opts, &err);
    CHECK(d && d->n == 1 && d->n_left_out == 1);
    sg_steer_data_free(d);
    static const struct {
        const char *name, *bytes, *says;
    } wrong[] = {{"steer_test.json", "[\"plain\"]", "words"},
                 {"steer_test.json", "{\"a\": 1}", "wanted a list"},
                 {"steer_test.json", "[{\"a\": 1}]", "record 0 has neither"},
                 {"steer_test.jsonl", "{\"text\": \"a\", \"label\": 7}", "neither 0 nor 1"},
                 {"steer_test.jsonl", "{\"text\": ", "steer_test.jsonl:1"},
                 {"steer_test.tsv", "a\tb\n1\t2\t3\n", "steer_test.tsv"},
                 {"steer_test.txt", "hello", "wanted a file called"},
                 {"steer_test.json", "", "is empty"},
                 {"steer_test.json", "[]", "no texts"}};
    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        d = read_text(m, wrong[i].name, wrong[i].bytes, sg_steer_read_defaults(), &err);
        CHECK(d == NULL);
        CHECK_TEXT(err.text, wrong[i].says);
    }
    sg_model_close(m);
}

static void the_real_data_sets_are_read(void **state)
{
    (void)state;
    char path[1024];
    sg_model *m = stories();
    sg_error err;
    sg_steer_data *d;
    sg_steer_read_opts opts = sg_steer_read_defaults();
    if (!m || !sg_test_shared(path, "data/truthfulqa/mc_task.json")) {
        print_message("skipped: models/stories260K or data/truthfulqa is not here\n");
        sg_model_close(m);
        skip();
        return;
    }
    CHECK_OK(sg_steer_data_read(&d, path, sg_model_tokenizer(m), opts, &err), &err);
    CHECK(d->n_groups == 790);
    int n_best = 0;
    for (int i = 0; i < d->n; i++)
        n_best += d->texts[i].best;
    CHECK(n_best == 790);
    sg_steer_data_free(d);
    CHECK(sg_test_shared(path, "data/truthfulqa/TruthfulQA_v1_817.csv"));
    CHECK_OK(sg_steer_data_read(&d, path, sg_model_tokenizer(m), opts, &err), &err);
    CHECK(d->n_groups == 817);
    sg_steer_data_free(d);
    if (sg_test_shared(path, "data/repeng/notebooks/data/true_facts.json")) {
        opts.words = "honest|untruthful";
        CHECK_OK(sg_steer_data_read(&d, path, sg_model_tokenizer(m), opts, &err), &err);
        CHECK(d->n_groups == 306 && d->n == 612);
        sg_steer_data_free(d);
    }
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planted_direction_is_found),
        cmocka_unit_test(centring_the_differences_takes_their_mean_away),
        cmocka_unit_test(sigma_is_the_deviation_recomputed_in_double),
        cmocka_unit_test(what_has_no_direction_is_said),
        cmocka_unit_test(no_group_is_on_both_sides_of_a_split),
        cmocka_unit_test(activations_are_those_of_the_last_token),
        cmocka_unit_test(heads_are_ranked_by_what_they_tell_and_shuffled_kinds_tell_nothing),
        cmocka_unit_test(baked_is_edited),
        cmocka_unit_test(at_strength_0_nothing_changes_and_heads_apart_commute),
        cmocka_unit_test(through_json_the_logits_are_the_same_bits),
        cmocka_unit_test(generated_with_a_cache_and_without_and_beside_others),
        cmocka_unit_test(scores_are_those_of_an_independent_double_loop),
        cmocka_unit_test(files_of_each_form_are_read),
        cmocka_unit_test(the_real_data_sets_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
