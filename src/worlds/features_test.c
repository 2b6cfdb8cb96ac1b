/* Rates and moments are those of the definition: E x = p/2, E x^2 = p/3; tolerances are five standard errors. */
#include "sightglass/features.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/run.h"

#define COUNT 40000

static float *draw(const sg_features *f, sg_dim count, sg_origin from)
{
    float *x = malloc((size_t)(count * f->n) * sizeof *x);
    CHECK(x != NULL);
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, f->n}, x);
    sg_error err;
    CHECK_OK(sg_features_sample(&t, f, from, &err), &err);
    return x;
}

/* Share of items in which feature i is active. */
static double rate(const float *x, sg_dim n, sg_dim i)
{
    double active = 0;
    for (sg_dim k = 0; k < COUNT; k++)
        active += x[k * n + i] > 0;
    return active / COUNT;
}

static double both(const float *x, sg_dim n, sg_dim i, sg_dim j)
{
    double active = 0;
    for (sg_dim k = 0; k < COUNT; k++)
        active += x[k * n + i] > 0 && x[k * n + j] > 0;
    return active / COUNT;
}

static double five_errors(double p)
{
    return 5 * sqrt(p * (1 - p) / COUNT);
}

/* Rate p each, and values that are uniform where active, whatever the relation. */
static void each_feature_is_active_at_its_rate_and_then_uniform(void **state)
{
    (void)state;
    for (int relation = 0; relation < 3; relation++) {
        sg_features f = sg_features_defaults();
        f.n = 6;
        f.p = 0.2;
        f.group = 3;
        f.relation = (sg_feature_relation)relation;
        float *x = draw(&f, COUNT, (sg_origin){.seed = 3});
        for (sg_dim i = 0; i < f.n; i++) {
            CHECK_NEAR(rate(x, f.n, i), f.p, five_errors(f.p), 0);
            double sum = 0, squares = 0, active = rate(x, f.n, i) * COUNT;
            for (sg_dim k = 0; k < COUNT; k++) {
                const double v = (double)x[k * f.n + i];
                CHECK(v >= 0 && v < 1);
                sum += v;
                squares += v * v;
            }
            CHECK_NEAR(sum / active, 1.0 / 2, 5 * sqrt(1.0 / 12 / active), 0);
            CHECK_NEAR(squares / active, 1.0 / 3, 5 * sqrt(4.0 / 45 / active), 0);
        }
        free(x);
    }
}

static void groups_go_together_or_exclude_each_other(void **state)
{
    (void)state;
    sg_features f = sg_features_defaults();
    f.n = 4;
    f.p = 0.3;
    f.group = 2;
    float *x = draw(&f, COUNT, (sg_origin){.seed = 5});
    CHECK_NEAR(both(x, 4, 0, 1), 0.09, five_errors(0.09), 0);
    free(x);

    f.relation = SG_FEATURES_CORRELATED; /* one is active exactly when the other is, but with a value of its own */
    x = draw(&f, COUNT, (sg_origin){.seed = 5});
    CHECK_NEAR(both(x, 4, 0, 1), rate(x, 4, 0), 1e-3, 0);
    CHECK_NEAR(both(x, 4, 0, 2), 0.09, five_errors(0.09), 0);
    double product = 0;
    for (sg_dim k = 0; k < COUNT; k++)
        product += (double)x[4 * k] * (double)x[4 * k + 1];
    CHECK_NEAR(product / COUNT, 0.3 / 4, 5 * sqrt(0.3 / 9 / COUNT), 0); /* E uv = 1/4, E u^2 v^2 = 1/9 */
    free(x);

    f.relation = SG_FEATURES_ANTICORRELATED;
    x = draw(&f, COUNT, (sg_origin){.seed = 5});
    CHECK(both(x, 4, 0, 1) == 0);
    CHECK_NEAR(both(x, 4, 0, 2), 0.09, five_errors(0.09), 0);
    free(x);
}

static void dense_features_are_always_active(void **state)
{
    (void)state;
    sg_features f = sg_features_defaults();
    f.p = 1;
    float *x = draw(&f, COUNT, (sg_origin){.seed = 1});
    CHECK_NEAR(rate(x, f.n, 4), 1, 1e-3, 0); /* a draw of exactly 0 has probability 2^-24 */
    free(x);
}

static void another_seed_stream_or_step_is_another_sample(void **state)
{
    (void)state;
    const sg_features f = sg_features_defaults();
    static const sg_origin origin[] = {{1, 0, 0}, {2, 0, 0}, {1, 1, 0}, {1, 0, 1}, {1, 0, 0}};
    float *x[5];
    for (int i = 0; i < 5; i++)
        x[i] = draw(&f, 200, origin[i]);
    for (int i = 1; i < 4; i++)
        CHECK(memcmp(x[0], x[i], sizeof(float) * 1000) != 0);
    CHECK(memcmp(x[0], x[4], sizeof(float) * 1000) == 0);
    for (int i = 0; i < 5; i++)
        free(x[i]);
}

static void a_graph_draws_the_same_numbers(void **state)
{
    (void)state;
    enum { K = 3, B = 17, N = 6, STEP = 41 };
    for (int relation = 0; relation < 3; relation++) {
        sg_features f = sg_features_defaults();
        f.n = N;
        f.group = 3;
        f.relation = (sg_feature_relation)relation;
        float p[K] = {0.3f, 0.05f, 0.2f};
        sg_graph *g = sg_graph_new();
        const sg_tensor p_of_each = sg_tensor_of(SG_F32, 3, (sg_dim[]){K, 1, 1}, p);
        sg_value *step = sg_input(g, "step", SG_I32, 0, NULL);
        const sg_random from = {.seed = 9, .stream = 4, .row_streams = true};
        sg_value *x = sg_features_value(g, &f, sg_const(g, &p_of_each), K, B, from, step);
        sg_error err;
        CHECK_OK(sg_graph_status(g, &err), &err);
        sg_state *numbers;
        sg_session *session;
        CHECK_OK(sg_state_new(&numbers, g, &err), &err);
        CHECK_OK(sg_state_init(numbers, 0, &err), &err);
        CHECK_OK(sg_session_new(&session, g, numbers, sg_exec_defaults(), &err), &err);
        int32_t at = STEP;
        const sg_feed feed = {step, sg_tensor_of(SG_I32, 0, NULL, &at)};
        sg_tensor got;
        CHECK_OK(sg_session_run(session, 1, &feed, 1, &x, &got, &err), &err);
        for (uint32_t k = 0; k < K; k++) {
            f.p = (double)p[k];
            float *want = draw(&f, B, (sg_origin){.seed = 9, .stream = 4 + k, .step = STEP});
            for (sg_dim i = 0; i < B * N; i++)
                CHECK(((const float *)got.data)[k * B * N + i] == want[i]);
            free(want);
        }
        sg_session_free(session);
        sg_state_free(numbers);
        sg_graph_free(g);
    }
}

static void settings_reach_the_sample(void **state)
{
    (void)state;
    sg_error err;
    const sg_world *w = sg_world_find("features", &err);
    CHECK(w != NULL);
    sg_sample *s;
    const sg_setting settings[] = {{"n", "3"}, {"p", "1"}, {"importance", "0.5"}};
    CHECK_OK(sg_world_sample(&s, w, 3, settings, 2, 0, &err), &err);
    const sg_tensor *x = sg_sample_find(s, "x");
    CHECK(x->dims[0] == 2 && x->dims[1] == 3);
    CHECK_NEAR(sg_tensor_get(sg_sample_find(s, "importance"), 2), 0.25, 0, 0);
    CHECK_NEAR(sg_tensor_get(sg_sample_find(s, "dictionary"), 4), 1, 0, 0);
    CHECK(sg_sample_find(s, "board") == NULL);

    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    CHECK_OK(sg_sample_write_json(s, to, &err), &err);
    fclose(to);
    CHECK_TEXT(text, "\"world\":\"features\"");
    CHECK_TEXT(text, "\"relation\":\"independent\"");
    CHECK_TEXT(text, "\"importance\":[1.0,0.5,0.25]");
    free(text);
    to = open_memstream(&text, &bytes);
    CHECK_OK(sg_sample_write_text(s, to, &err), &err);
    fclose(to);
    CHECK_TEXT(text, "dictionary [3,3]");
    free(text);
    sg_sample_free(s);
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_sample *s;
    const sg_world *w = sg_world_find("features", &err);
    CHECK(sg_world_sample(&s, w, 1, &(sg_setting){"q", "3"}, 1, 0, &err) == SG_EARG);
    CHECK_TEXT(err.text, "no option \"q\"");
    const sg_setting odd[] = {{"relation", "correlated"}, {"group", "2"}}; /* n = 5 */
    CHECK(sg_world_sample(&s, w, 2, odd, 1, 0, &err) == SG_EARG);
    CHECK_TEXT(err.text, "do not divide");
    const sg_setting crowded[] = {{"relation", "anticorrelated"}, {"group", "5"}, {"p", "0.3"}};
    CHECK(sg_world_sample(&s, w, 3, crowded, 1, 0, &err) == SG_EARG);
    CHECK_TEXT(err.text, "at most 0.2");
    CHECK(sg_world_sample(&s, w, 0, NULL, -1, 0, &err) == SG_EARG);
    CHECK(s == NULL);
    CHECK(sg_world_find("feature", &err) == NULL && err.status == SG_ENOTFOUND);
    CHECK_TEXT(err.text, "\"features\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_feature_is_active_at_its_rate_and_then_uniform),
        cmocka_unit_test(groups_go_together_or_exclude_each_other),
        cmocka_unit_test(dense_features_are_always_active),
        cmocka_unit_test(another_seed_stream_or_step_is_another_sample),
        cmocka_unit_test(a_graph_draws_the_same_numbers),
        cmocka_unit_test(settings_reach_the_sample),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
