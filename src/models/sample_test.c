/* The next token: bounds by hand, frequencies against the softmax. */
#include "base/base.h"
#include "check.h"
#include "sightglass/sample.h"

#define N     5
#define DRAWS 40000

static sg_sample_pair scratch[N];

static int32_t next(const float *logits, sg_sample_opts opts, sg_rng *r)
{
    return sg_sample_next(logits, N, opts, r, scratch);
}

static void at_temperature_0_the_likeliest_is_taken(void **state)
{
    (void)state;
    const float logits[N] = {1, 3, -2, 3, 0}, none[N] = {NAN, NAN, -(float)INFINITY, NAN, NAN},
                some[N] = {NAN, 1, 2, NAN, 0};
    sg_rng r = sg_rng_new(1, 0);

    CHECK(next(logits, sg_sample_defaults(), &r) == 1); /* of two alike the smaller id */
    CHECK(next(some, sg_sample_defaults(), &r) == 2);
    CHECK(next(none, sg_sample_defaults(), &r) == -1);
}

static void frequencies(const float *logits, sg_sample_opts opts, const double *wanted)
{
    sg_rng r = sg_rng_new(7, 0);
    int counts[N] = {0};

    for (int i = 0; i < DRAWS; i++)
        counts[next(logits, opts, &r)]++;
    for (int i = 0; i < N; i++) /* five deviations of a frequency */
        CHECK_NEAR((double)counts[i] / DRAWS, wanted[i], 5 * sqrt(wanted[i] * (1 - wanted[i]) / DRAWS), 0);
}

static void tokens_come_as_often_as_the_softmax_says(void **state)
{
    (void)state;
    /* exp(logit / temperature) is 1, 4, 2, 0, 1 of 8 */
    const double half = 0.5;
    const float logits[N] = {0, (float)(half * log(4)), (float)(half * log(2)), -(float)INFINITY, 0};

    frequencies(logits, (sg_sample_opts){.temperature = half, .top_p = 1}, (double[]){.125, .5, .25, 0, .125});
    frequencies(logits, (sg_sample_opts){.temperature = half, .top_k = 2, .top_p = 1},
                (double[]){0, 2. / 3, 1. / 3, 0, 0});
    /* Of 4, 2, 1, 1 the fewest that reach 0.8 are the first three; 1 and 1 are alike, the smaller id counts as
     * likelier. */
    frequencies(logits, (sg_sample_opts){.temperature = half, .top_p = .8}, (double[]){1. / 7, 4. / 7, 2. / 7, 0, 0});
    frequencies(logits, (sg_sample_opts){.temperature = half, .top_p = 0}, (double[]){0, 1, 0, 0, 0});
}

static void what_is_far_below_the_likeliest_is_left_out(void **state)
{
    (void)state;
    /* 0.4, 0.3, 0.2, 0.06, 0.04: with min_p 0.3 the bound is 0.12 */
    const double p[N] = {.4, .3, .2, .06, .04};
    float logits[N];

    for (int i = 0; i < N; i++)
        logits[i] = (float)log(p[i]);
    frequencies(logits, (sg_sample_opts){.temperature = 1, .top_p = 1, .min_p = .3},
                (double[]){4. / 9, 3. / 9, 2. / 9, 0, 0});
    frequencies(logits, (sg_sample_opts){.temperature = 1, .top_p = 1, .min_p = 1}, (double[]){1, 0, 0, 0, 0});
    /* Of the two that top_k leaves both are near enough. */
    frequencies(logits, (sg_sample_opts){.temperature = 1, .top_k = 2, .top_p = 1, .min_p = .3},
                (double[]){4. / 7, 3. / 7, 0, 0, 0});
}

static void penalties_are_as_computed_by_hand(void **state)
{
    (void)state;
    float logits[N] = {2, -1, 3, 0.5, -4};
    const int32_t count[N] = {0, 2, 1, 0, 0};
    const uint8_t seen[N] = {1, 1, 1, 0, 0};

    sg_penalise(logits, N, (sg_penalties){.repetition = 1.25, .presence = .5, .frequency = .25}, count, seen);
    CHECK_NEAR(logits[0], 1.6, 1e-6, 0);  /* 2 / 1.25: of the prompt alone */
    CHECK_NEAR(logits[1], -2.25, 1e-6, 0); /* -1 * 1.25 - .5 - 2 * .25 */
    CHECK_NEAR(logits[2], 1.65, 1e-6, 0); /* 3 / 1.25 - .5 - .25 */
    CHECK(logits[3] == 0.5f && logits[4] == -4);
}

static void logits_that_are_infinite_are_chosen(void **state)
{
    (void)state;
    const float logits[N] = {1, (float)INFINITY, NAN, 0, (float)INFINITY};
    sg_rng r = sg_rng_new(1, 0);

    CHECK(next(logits, (sg_sample_opts){.temperature = 1, .top_p = 1}, &r) == 1);
    CHECK(next(logits, (sg_sample_opts){.temperature = 1, .top_k = 3, .top_p = .5}, &r) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_temperature_0_the_likeliest_is_taken),
        cmocka_unit_test(tokens_come_as_often_as_the_softmax_says),
        cmocka_unit_test(what_is_far_below_the_likeliest_is_left_out),
        cmocka_unit_test(penalties_are_as_computed_by_hand),
        cmocka_unit_test(logits_that_are_infinite_are_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
