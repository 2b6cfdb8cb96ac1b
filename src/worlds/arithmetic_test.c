/* The rule holds, and counts are those of uniform draws; tolerances are five standard errors. */
#include "base/base.h"
#include "check.h"
#include "sightglass/world.h"

enum { COUNT = 20000, PAIRS = 113 * 113 };

static const sg_world *world(void)
{
    sg_error err;
    const sg_world *w = sg_world_find("arithmetic", &err);
    CHECK(w != NULL);
    return w;
}

static sg_sample *draw(int n, const sg_setting *settings, uint64_t seed)
{
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, world(), n, settings, COUNT, seed, &err), &err);
    return s;
}

static void the_rule_holds(void **state)
{
    (void)state;
    static const char *const operations[] = {"add", "subtract", "multiply"};
    for (int k = 0; k < 3; k++) {
        const sg_setting settings[] = {{"p", "7"}, {"operation", operations[k]}, {"part", "all"}};
        sg_sample *s = draw(3, settings, 1);
        const int32_t *t = sg_sample_find(s, "tokens")->data, *answer = sg_sample_find(s, "answer")->data;
        const uint8_t *counts = sg_sample_find(s, "counts")->data;
        double pairs[49] = {0};
        for (int i = 0; i < COUNT; i++, t += 4, counts += 4) {
            const int a = t[0], b = t[1], want = k == 0 ? a + b : k == 1 ? a - b + 7 : a * b;
            CHECK(a >= 0 && a < 7 && b >= 0 && b < 7 && t[2] == 7 && t[3] == want % 7 && answer[i] == t[3]);
            CHECK(!counts[0] && !counts[1] && !counts[2] && counts[3]);
            pairs[a * 7 + b]++;
        }
        const double p = 1.0 / 49;
        for (int i = 0; i < 49; i++)
            CHECK_NEAR(pairs[i] / COUNT, p, 5 * sqrt(p * (1 - p) / COUNT), 0);
        sg_sample_free(s);
    }
}

/* Of 12769 pairs about 30 % are for training, whatever the seed of the data; those of the test are others. */
static void the_parts_are_disjoint_and_their_shares_as_asked(void **state)
{
    (void)state;
    static uint8_t seen[2][PAIRS];
    for (int part = 0; part < 2; part++)
        for (uint64_t seed = 0; seed < 10; seed++) {
            sg_sample *s = draw(1, &(sg_setting){"part", part ? "test" : "train"}, seed);
            const int32_t *t = sg_sample_find(s, "tokens")->data;
            for (int i = 0; i < COUNT; i++)
                seen[part][t[4 * i] * 113 + t[4 * i + 1]] = 1;
            sg_sample_free(s);
        }
    double train = 0, test = 0;
    for (int i = 0; i < PAIRS; i++) {
        CHECK(!(seen[0][i] && seen[1][i]));
        train += seen[0][i];
        test += seen[1][i];
    }
    CHECK(train + test == PAIRS); /* 200 000 draws of a part miss none */
    CHECK_NEAR(train / PAIRS, 0.3, 5 * sqrt(0.3 * 0.7 / PAIRS), 0);
}

static void rows_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    sg_source whole, parts;
    sg_error err;
    sg_dim n_vocab;
    int32_t a[24][4], b[6][4];
    uint8_t counts[24][4];
    CHECK_OK(sg_world_source(&whole, world(), 1, &(sg_setting){"p", "29"}, 24, 5, &n_vocab, &err), &err);
    CHECK_OK(sg_world_source(&parts, world(), 1, &(sg_setting){"p", "29"}, 6, 5, &n_vocab, &err), &err);
    CHECK(n_vocab == 30 && whole.n_fields == 2 && whole.field[1].dtype == SG_BOOL && whole.field[0].dims[1] == 4);
    whole.field[0].data = a;
    whole.field[1].data = parts.field[1].data = counts;
    parts.field[0].data = b;
    CHECK_OK(whole.fill(whole.self, 3, whole.field, &err), &err);
    for (int k = 0; k < 4; k++) {
        CHECK_OK(parts.fill(parts.self, 12 + k, parts.field, &err), &err);
        CHECK(memcmp(a[6 * k], b, sizeof b) == 0);
    }
    CHECK(memcmp(a[0], a[6], sizeof b) != 0);
    sg_source_free(&whole);
    sg_source_free(&parts);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_sample *s;
    sg_source source;
    sg_dim n_vocab;
    CHECK_STATUS(sg_world_sample(&s, world(), 1, &(sg_setting){"fraction", "0"}, 1, 0, &err), SG_EARG);
    CHECK_TEXT(err.text, "none belongs");
    CHECK_STATUS(sg_world_source(&source, world(), 1, &(sg_setting){"p", "1"}, 1, 0, &n_vocab, &err), SG_EARG);
    CHECK_STATUS(sg_world_source(&source, world(), 0, NULL, 0, 0, &n_vocab, &err), SG_EARG);
    const sg_world *features = sg_world_find("features", &err);
    CHECK_STATUS(sg_world_source(&source, features, 0, NULL, 1, 0, &n_vocab, &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "features: has no sequences");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rule_holds),
        cmocka_unit_test(the_parts_are_disjoint_and_their_shares_as_asked),
        cmocka_unit_test(rows_do_not_depend_on_the_batch),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
