/* Against the same counts by hand, from the model's own logits; and against the exact share that a model without any
 * preference gives. */
#include "sightglass/legality.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/world.h"

enum { E = 7, T = 12, V = 13 };

static sg_model *tiny(void)
{
    static const char config[] = "{\"model_type\": \"gpt2\", \"n_embd\": 16, \"n_layer\": 1, \"n_head\": 2, "
                                 "\"n_positions\": 12, \"vocab_size\": 13, \"tie_word_embeddings\": false, "
                                 "\"initializer_range\": 0.5}";
    FILE *f = fopen("legality_config.json", "w");
    sg_model *m;
    sg_error err;
    CHECK(f && fwrite(config, 1, sizeof config - 1, f) == sizeof config - 1 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, "legality_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("legality_config.json");
    return m;
}

static sg_sample *games(void)
{
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, sg_world_find("othello", &err), 1, &(sg_setting){"size", "4"}, E, 1, &err), &err);
    return s;
}

static void shares_are_those_counted_by_hand(void **state)
{
    (void)state;
    sg_error err;
    sg_model *m = tiny();
    sg_sample *s = games();
    const sg_tensor *tokens = sg_sample_find(s, "tokens"), *counts = sg_sample_find(s, "counts");
    const sg_tensor *next = sg_sample_find(s, "next");
    sg_legality *l;
    sg_legality_opts opts = sg_legality_defaults();
    opts.batch = 3; /* the last batch is a part of one */
    CHECK_OK(sg_legality_new(&l, m, opts, &err), &err);
    CHECK_OK(sg_legality_add(l, tokens, counts, next, &err), &err);
    const sg_legality_result r = sg_legality_get(l);

    sg_glass *glass;
    sg_value *logits;
    sg_tensor out;
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    double wrong = 0, mass = 0, loss = 0, asked = 0, cannot = 0, at3 = 0;
    for (int e = 0; e < E; e++) {
        const int32_t *row = (const int32_t *)tokens->data + e * T;
        const uint8_t *may = (const uint8_t *)next->data + e * T * V, *real = (const uint8_t *)counts->data + e * T;
        const sg_dim n = T;
        const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
        for (int t = 0; t < T - 1; t++) {
            if (!real[t] || !real[t + 1])
                continue;
            const float *y = (const float *)out.data + t * V;
            double sum = 0, bad = 0;
            int best = 0;
            for (int v = 0; v < V; v++) {
                sum += exp((double)y[v]);
                bad += may[t * V + v] ? 0 : exp((double)y[v]);
                cannot += !may[t * V + v];
                best = y[v] > y[best] ? v : best;
            }
            asked++;
            wrong += !may[t * V + best];
            at3 += t == 3 && !may[t * V + best];
            mass += bad / sum;
            loss += log(sum) - (double)y[row[t + 1]];
        }
    }
    assert_int_equal(r.n_sequences, E);
    CHECK_NEAR((double)r.n_asked, asked, 0, 0);
    CHECK(wrong > 0 && wrong < asked);
    CHECK_NEAR(r.top.value, wrong / asked, 1e-12, 0);
    CHECK_NEAR(r.mass.value, mass / asked, 1e-6, 0);
    CHECK_NEAR(r.loss, loss / asked, 1e-5, 0);
    CHECK_NEAR(r.uniform, cannot / (asked * V), 1e-12, 0);
    CHECK_NEAR(r.by_position[3], at3 / E, 1e-12, 0);
    CHECK(r.top.low < r.top.value && r.top.value < r.top.high);
    CHECK(isnan(r.by_position[T - 1]));
    sg_glass_free(glass);
    sg_legality_free(l);
    sg_sample_free(s);
    sg_model_close(m);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_model *m = tiny();
    sg_sample *s = games();
    sg_legality *l;
    CHECK_OK(sg_legality_new(&l, m, sg_legality_defaults(), &err), &err);
    const sg_tensor *tokens = sg_sample_find(s, "tokens"), *counts = sg_sample_find(s, "counts");
    sg_tensor next = *sg_sample_find(s, "next");
    CHECK_STATUS(sg_legality_add(l, counts, counts, &next, &err), SG_ETYPE);
    next.dims[1]--;
    CHECK_STATUS(sg_legality_add(l, tokens, counts, &next, &err), SG_ESHAPE);
    next.dims[1]++;
    next.dims[2] = 14;
    CHECK_STATUS(sg_legality_add(l, tokens, counts, &next, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "next is of 14 tokens, the model has 13");
    sg_legality_free(l);
    sg_sample_free(s);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_those_counted_by_hand),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
