#include "sightglass/rng.h"

#include "base/base.h"
#include "check.h"

static void philox_gives_the_published_blocks(void **state)
{
    (void)state;
    /* Known-answer vectors for philox4x32-10 that come with the authors' Random123. */
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        uint32_t out[4];
        sg_philox(out, cases[i].counter, cases[i].key);
        for (int j = 0; j < 4; j++)
            CHECK(out[j] == cases[i].want[j]);
    }
}

static void a_block_is_addressed_by_its_numbers(void **state)
{
    (void)state;
    /* The third vector above, read as (block, stream, step) and seed. */
    uint32_t out[4];
    sg_philox_block(out, 0x299f31d0a4093822u, 0x85a308d3, 0x0370734413198a2eu, 0x243f6a88);
    CHECK(out[0] == 0xd16cfe09 && out[1] == 0x94fdcceb && out[2] == 0x5001e420 && out[3] == 0x24126ea1);
}

static void the_sequence_is_the_blocks_in_order(void **state)
{
    (void)state;
    sg_rng r = sg_rng_new(42, 7);
    for (uint32_t block = 0; block < 5; block++) {
        uint32_t want[4];
        sg_philox_block(want, 42, 7, 0, block);
        for (int i = 0; i < 4; i++)
            CHECK(sg_rng_word(&r) == want[i]);
    }
}

static void words_map_to_the_ends_of_their_ranges(void **state)
{
    (void)state;
    CHECK_NEAR(sg_word_uniform(0), 0, 0, 0);
    CHECK(sg_word_uniform(UINT32_MAX) < 1.0f);
    CHECK_NEAR(sg_word_uniform(0x80000000u), 0.5, 0, 0);
    double x, y;
    sg_words_normal(UINT32_MAX, 0, &x, &y); /* log 1 */
    CHECK_NEAR(x, 0, 0, 0);
    sg_words_normal(0, 0, &x, &y); /* sqrt(2 * 32 log 2): the farthest a number goes */
    CHECK_NEAR(x, 6.660, 1e-3, 0);
    CHECK_NEAR(y, 0, 1e-12, 0);
    sg_words_normal(0, 0x40000000u, &x, &y); /* a quarter turn */
    CHECK_NEAR(x, 0, 1e-12, 0);
    CHECK_NEAR(y, 6.660, 1e-3, 0);
}

#define N_DRAWS 200000

static void uniforms_have_the_right_moments(void **state)
{
    (void)state;
    sg_rng r = sg_rng_new(1, 0);
    double sum = 0, squares = 0, lagged = 0, last = 0;
    for (int i = 0; i < N_DRAWS; i++) {
        const double u = sg_rng_uniform(&r);
        CHECK(u >= 0.0 && u < 1.0);
        sum += u;
        squares += u * u;
        lagged += (u - 0.5) * (last - 0.5);
        last = u;
    }
    /* Five standard errors: sqrt(1/12), sqrt(4/45) and 1/12 over sqrt(200000). */
    CHECK_NEAR(sum / N_DRAWS, 0.5, 5 * 6.46e-4, 0);
    CHECK_NEAR(squares / N_DRAWS, 1.0 / 3.0, 5 * 6.67e-4, 0);
    CHECK_NEAR(lagged / N_DRAWS, 0.0, 5 * 1.87e-4, 0);
}

static void normals_have_the_right_moments_and_tails(void **state)
{
    (void)state;
    sg_rng r = sg_rng_new(2, 0);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    int beyond = 0;
    for (int i = 0; i < N_DRAWS; i++) {
        const double x = sg_rng_normal(&r);
        m1 += x;
        m2 += x * x;
        m3 += x * x * x;
        m4 += x * x * x * x;
        beyond += fabs(x) > 1.959964;
    }
    /* Five standard errors: 1, sqrt 2, sqrt 15, sqrt 96, and sqrt(0.05 * 0.95), over sqrt(200000). */
    CHECK_NEAR(m1 / N_DRAWS, 0, 5 * 2.24e-3, 0);
    CHECK_NEAR(m2 / N_DRAWS, 1, 5 * 3.16e-3, 0);
    CHECK_NEAR(m3 / N_DRAWS, 0, 5 * 8.66e-3, 0);
    CHECK_NEAR(m4 / N_DRAWS, 3, 5 * 2.19e-2, 0);
    CHECK_NEAR(beyond / (double)N_DRAWS, 0.05, 5 * 4.87e-4, 0);
}

static void streams_and_seeds_are_unrelated(void **state)
{
    (void)state;
    sg_rng a = sg_rng_new(3, 0), b = sg_rng_new(3, 1), c = sg_rng_new(4, 0);
    double ab = 0, ac = 0;
    for (int i = 0; i < N_DRAWS; i++) {
        const double x = sg_rng_normal(&a);
        ab += x * sg_rng_normal(&b);
        ac += x * sg_rng_normal(&c);
    }
    CHECK_NEAR(ab / N_DRAWS, 0, 5 * 2.24e-3, 0);
    CHECK_NEAR(ac / N_DRAWS, 0, 5 * 2.24e-3, 0);
}

static void small_integers_are_even(void **state)
{
    (void)state;
    sg_rng r = sg_rng_new(5, 0);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        const uint32_t k = sg_rng_below(&r, 7);
        CHECK(k < 7);
        counts[k]++;
    }
    for (int k = 0; k < 7; k++)
        CHECK_NEAR(counts[k], 10000, 5 * 92.6, 0); /* sqrt(70000 * 1/7 * 6/7) */
    CHECK(sg_rng_below(&r, 1) == 0);

    /* With n = 3 * 2^30 a plain product would give multiples of three half of the time, not a third. */
    int thirds[3] = {0};
    for (int i = 0; i < 30000; i++)
        thirds[sg_rng_below(&r, 3u << 30) % 3]++;
    for (int k = 0; k < 3; k++)
        CHECK_NEAR(thirds[k], 10000, 5 * 81.6, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_blocks),
        cmocka_unit_test(a_block_is_addressed_by_its_numbers),
        cmocka_unit_test(the_sequence_is_the_blocks_in_order),
        cmocka_unit_test(words_map_to_the_ends_of_their_ranges),
        cmocka_unit_test(uniforms_have_the_right_moments),
        cmocka_unit_test(normals_have_the_right_moments_and_tails),
        cmocka_unit_test(streams_and_seeds_are_unrelated),
        cmocka_unit_test(small_integers_are_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
