#include "base/blocks.h"

#include "check.h"
#include "sightglass/rng.h"

static const struct {
    sg_dtype type;
    const char *name;
    sg_dim block;
    size_t bytes;
    double error; /* relative to the root mean square, of normal numbers; by hand for q8_0, else what the best known
                     give, up by a tenth */
} types[] = {
    {SG_Q8_0, "q8_0", 32, 34, 0.007},   {SG_Q4_0, "q4_0", 32, 18, 0.092},   {SG_Q4_1, "q4_1", 32, 20, 0.080},
    {SG_Q5_0, "q5_0", 32, 22, 0.046},   {SG_Q5_1, "q5_1", 32, 24, 0.040},   {SG_Q4_K, "q4_k", 256, 144, 0.082},
    {SG_Q5_K, "q5_k", 256, 176, 0.042}, {SG_Q6_K, "q6_k", 256, 210, 0.020}, {SG_IQ4_NL, "iq4_nl", 32, 18, 0.085},
};

static void each_type_has_its_name_and_size(void **state)
{
    (void)state;
    CHECK(SG_COUNT_OF(types) == SG_N_DTYPES - SG_Q8_0);
    for (size_t i = 0; i < SG_COUNT_OF(types); i++) {
        sg_dtype found = SG_F32;
        size_t room = 0;
        const sg_tensor t = sg_tensor_of(types[i].type, 2, (sg_dim[]){3, 2 * types[i].block}, NULL);
        CHECK(sg_dtype_block(types[i].type) == types[i].block && sg_dtype_block_bytes(types[i].type) == types[i].bytes);
        assert_string_equal(sg_dtype_name(types[i].type), types[i].name);
        CHECK(sg_dtype_named(types[i].name, &found) && found == types[i].type);
        CHECK(sg_tensor_bytes(&t) == 6 * types[i].bytes);
        CHECK_OK(sg_dtype_room(types[i].type, 6 * types[i].block, &room), NULL);
        CHECK(room == 6 * types[i].bytes);
        CHECK_STATUS(sg_dtype_room(types[i].type, 6 * types[i].block - 1, &room), SG_EARG);
        CHECK_STATUS(sg_dtype_room(types[i].type, -types[i].block, &room), SG_EARG);
        CHECK(!sg_dtype_is_float(types[i].type));
    }
    CHECK(sg_dtype_block(SG_F16) == 1 && sg_dtype_block_bytes(SG_F16) == 2);
    sg_dtype none = SG_F32;
    CHECK(!sg_dtype_named("q3_k", &none) && !sg_dtype_named("", &none));
}

/* Number i of a block made by hand. */
static double number(sg_dtype type, const void *block, int i)
{
    sg_tensor t = sg_tensor_of(type, 1, (sg_dim[]){sg_dtype_block(type)}, (void *)(uintptr_t)block);
    return sg_tensor_get(&t, i);
}

#define HALF_2    0x4000
#define HALF_HALF 0x3800 /* 0.5 */

static void blocks_of_32_say_what_their_bytes_say(void **state)
{
    (void)state;
    sg_block_q8_0 q8 = {.d = HALF_HALF, .q = {1, -128, [31] = 127}};
    CHECK_NEAR(number(SG_Q8_0, &q8, 0), 0.5, 0, 0);
    CHECK_NEAR(number(SG_Q8_0, &q8, 1), -64, 0, 0);
    CHECK_NEAR(number(SG_Q8_0, &q8, 31), 63.5, 0, 0);

    sg_block_q4_0 q4 = {.d = HALF_2, .q = {0x90, [15] = 0x8F}};
    CHECK_NEAR(number(SG_Q4_0, &q4, 0), -16, 0, 0); /* 2 (0 - 8) */
    CHECK_NEAR(number(SG_Q4_0, &q4, 16), 2, 0, 0);  /* 2 (9 - 8) */
    CHECK_NEAR(number(SG_Q4_0, &q4, 15), 14, 0, 0);
    CHECK_NEAR(number(SG_Q4_0, &q4, 31), 0, 0, 0);

    sg_block_q4_1 q41 = {.d = HALF_2, .m = HALF_HALF, .q = {0x1F}};
    CHECK_NEAR(number(SG_Q4_1, &q41, 0), 30.5, 0, 0);
    CHECK_NEAR(number(SG_Q4_1, &q41, 16), 2.5, 0, 0);
    CHECK_NEAR(number(SG_Q4_1, &q41, 3), 0.5, 0, 0);

    sg_block_q5_0 q50 = {.d = HALF_2, .high = {0x02, 0, 0x01, 0x80}, .q = {0x30, 0x07, [15] = 0x40}};
    CHECK_NEAR(number(SG_Q5_0, &q50, 0), -32, 0, 0); /* bit 0 clear: 2 (0 - 16) */
    CHECK_NEAR(number(SG_Q5_0, &q50, 1), 14, 0, 0);  /* bit 1: 2 (16 + 7 - 16) */
    CHECK_NEAR(number(SG_Q5_0, &q50, 16), 6, 0, 0);  /* bit 16: 2 (16 + 3 - 16) */
    CHECK_NEAR(number(SG_Q5_0, &q50, 31), 8, 0, 0);  /* bit 31: 2 (16 + 4 - 16) */

    sg_block_q5_1 q51 = {.d = HALF_2, .m = 0xBC00 /* -1 */, .high = {0x01}, .q = {0x32}};
    CHECK_NEAR(number(SG_Q5_1, &q51, 0), 35, 0, 0); /* 2 (16 + 2) - 1 */
    CHECK_NEAR(number(SG_Q5_1, &q51, 16), 5, 0, 0);

    sg_block_iq4_nl nl = {.d = HALF_HALF, .q = {0xF0, 0x80}};
    CHECK_NEAR(number(SG_IQ4_NL, &nl, 0), -63.5, 0, 0);
    CHECK_NEAR(number(SG_IQ4_NL, &nl, 16), 56.5, 0, 0);
    CHECK_NEAR(number(SG_IQ4_NL, &nl, 17), 0.5, 0, 0);
}

static void blocks_of_256_say_what_their_bytes_say(void **state)
{
    (void)state;
    /* Group 1: scale 5, low 3. Group 6: scale 0b100010 = 34 (low bits in byte 10, high in the top of byte 2), low
     * 0b010011 = 19 (high half of byte 10, top of byte 6). */
    sg_block_q4_k q4 = {.d = HALF_2, .least = HALF_HALF};
    q4.scales[1] = 5;
    q4.scales[5] = 3;
    q4.scales[2] = 2 << 6;
    q4.scales[6] = 1 << 6;
    q4.scales[10] = 3 << 4 | 2;
    q4.q[7] = 0x94;                                                             /* group 0, number 7: 4; group 1: 9 */
    q4.q[3 * 32 + 1] = 0x0B;                                                    /* group 6, number 1: 11 */
    CHECK_NEAR(number(SG_Q4_K, &q4, 7), 0, 0, 0);                               /* its scale is 0 */
    CHECK_NEAR(number(SG_Q4_K, &q4, 32 + 7), 2 * 5 * 9 - 0.5 * 3, 0, 0);        /* 88.5 */
    CHECK_NEAR(number(SG_Q4_K, &q4, 6 * 32 + 1), 2 * 34 * 11 - 0.5 * 19, 0, 0); /* 738.5 */
    CHECK_NEAR(number(SG_Q4_K, &q4, 6 * 32), -9.5, 0, 0);

    sg_block_q5_k q5 = {.d = HALF_2, .least = HALF_HALF};
    memcpy(q5.scales, q4.scales, sizeof q5.scales);
    q5.q[7] = 0x94;
    q5.high[7] = 1 << 1;
    q5.high[1] = 1 << 6;
    CHECK_NEAR(number(SG_Q5_K, &q5, 32 + 7), 2 * 5 * 25 - 0.5 * 3, 0, 0);
    CHECK_NEAR(number(SG_Q5_K, &q5, 6 * 32 + 1), 2 * 34 * 16 - 0.5 * 19, 0, 0);
    CHECK_NEAR(number(SG_Q5_K, &q5, 6 * 32 + 2), -9.5, 0, 0);

    sg_block_q6_k q6 = {.d = HALF_HALF};
    q6.scales[0] = 3;
    q6.scales[2] = -4;
    q6.scales[15] = 7;
    q6.low[5] = 0x0E;             /* number 5: 14, and number 64 + 5: 0 */
    q6.high[5] = 2 << 0 | 1 << 2; /* number 5: + 32; number 37: 16 */
    q6.low[64 + 63] = 0xD0;       /* of the second half, numbers 63: 0 and 127: 13 */
    q6.high[32 + 31] = 3 << 6;
    CHECK_NEAR(number(SG_Q6_K, &q6, 5), 0.5 * 3 * 14, 0, 0);
    CHECK_NEAR(number(SG_Q6_K, &q6, 37), 0.5 * -4 * (16 - 32), 0, 0);
    CHECK_NEAR(number(SG_Q6_K, &q6, 255), 0.5 * 7 * (48 + 13 - 32), 0, 0);
    CHECK_NEAR(number(SG_Q6_K, &q6, 16), 0, 0, 0);
}

enum { N = 4096 };

static void draw(float *x)
{
    sg_rng r = sg_rng_new(5, 1);
    for (int i = 0; i < N; i++)
        x[i] = (float)(0.02 * sg_rng_normal(&r));
}

static double relative_error(sg_dtype type, const float *x, void *packed, float *back)
{
    double error = 0, size = 0;
    sg_convert(packed, type, x, SG_F32, N);
    sg_convert(back, SG_F32, packed, type, N);
    for (int i = 0; i < N; i++) {
        const double e = (double)back[i] - (double)x[i];
        error += e * e;
        size += (double)x[i] * (double)x[i];
    }
    return sqrt(error / size);
}

static void packed_normal_numbers_err_as_little_as_they_can(void **state)
{
    (void)state;
    static float x[N], back[N], again[N];
    static char packed[2 * N];
    draw(x);
    for (size_t t = 0; t < SG_COUNT_OF(types); t++) {
        const double error = relative_error(types[t].type, x, packed, back);
        if (!(error < types[t].error))
            print_error("%s: %g\n", types[t].name, error);
        CHECK(error < types[t].error && error > types[t].error / 2);
        /* What lies on the levels stays there, but for scales that are rounded once more. */
        CHECK(relative_error(types[t].type, back, packed, again) < error / 3);
    }
}

/* Where every number is a level of some scale that an f16 holds, nothing is lost. */
static void numbers_on_levels_come_back_exactly(void **state)
{
    (void)state;
    static const sg_dtype exact[] = {SG_Q8_0, SG_Q4_0, SG_Q4_1, SG_Q5_0, SG_Q5_1, SG_Q4_K, SG_Q5_K, SG_Q6_K};
    for (size_t t = 0; t < SG_COUNT_OF(exact); t++) {
        float x[256], back[256];
        char packed[512];
        for (int i = 0; i < 256; i++)
            x[i] = 0.25f * (float)(i % 16 - 8);
        x[0] = exact[t] == SG_Q8_0 ? -127 * 0.25f : x[0]; /* so that its scale is .25 */
        for (int i = 32; exact[t] == SG_Q8_0 && i < 256; i += 32)
            x[i] = x[0];
        sg_convert(packed, exact[t], x, SG_F32, 256);
        sg_convert(back, SG_F32, packed, exact[t], 256);
        for (int i = 0; i < 256; i++)
            CHECK_NEAR(back[i], x[i], exact[t] >= SG_Q4_K ? 0.004 : 0, 0); /* .25 / 63 and 2 / 63 are no halves */
    }
}

static void what_no_scale_reaches_becomes_nan(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f, -3e38f};
    for (size_t t = 0; t < SG_COUNT_OF(types); t++)
        for (size_t k = 0; k < SG_COUNT_OF(bad); k++) {
            static float x[N], back[N];
            static char packed[2 * N];
            const int n = (int)types[t].block;
            draw(x);
            x[n + 7] = bad[k];
            sg_convert(packed, types[t].type, x, SG_F32, N);
            sg_convert(back, SG_F32, packed, types[t].type, N);
            for (int i = 0; i < N; i++)
                CHECK((isnan(back[i]) != 0) == (i / n == 1));
        }
}

static void zeros_and_the_smallest_numbers_are_kept(void **state)
{
    (void)state;
    for (size_t t = 0; t < SG_COUNT_OF(types); t++) {
        float x[256] = {0}, back[256];
        char packed[512];
        sg_convert(packed, types[t].type, x, SG_F32, 256);
        sg_convert(back, SG_F32, packed, types[t].type, 256);
        for (int i = 0; i < 256; i++)
            CHECK_NEAR(back[i], 0, 0, 0);
        for (int i = 0; i < 256; i++)
            x[i] = 3.0f; /* all alike */
        sg_convert(packed, types[t].type, x, SG_F32, 256);
        sg_convert(back, SG_F32, packed, types[t].type, 256);
        for (int i = 0; i < 256; i++)
            CHECK_NEAR(back[i], 3, 0, types[t].block == 256 ? 0.01 : 0.001);
        for (int i = 0; i < 256; i++)
            x[i] = i % 2 ? 1e-7f : -1e-7f; /* below every f16 but one: not NaN, and not far off */
        sg_convert(packed, types[t].type, x, SG_F32, 256);
        sg_convert(back, SG_F32, packed, types[t].type, 256);
        for (int i = 0; i < 256; i++)
            CHECK_NEAR(back[i], x[i], 1e-5, 0);
    }
}

static void every_other_type_goes_by_f32(void **state)
{
    (void)state;
    static float x[N], wide[N];
    static double d[N], d_back[N];
    static uint16_t h[N];
    static char one[2 * N], two[2 * N], other[2 * N];
    draw(x);
    for (size_t t = 0; t < SG_COUNT_OF(types); t++) {
        const size_t bytes = N / (size_t)types[t].block * types[t].bytes;
        sg_convert(d, SG_F64, x, SG_F32, N);
        sg_convert(one, types[t].type, x, SG_F32, N);
        sg_convert(two, types[t].type, d, SG_F64, N);
        CHECK(memcmp(one, two, bytes) == 0);
        sg_convert(two, types[t].type, one, types[t].type, N);
        CHECK(memcmp(one, two, bytes) == 0);
        sg_convert(wide, SG_F32, one, types[t].type, N);
        sg_convert(d_back, SG_F64, one, types[t].type, N);
        sg_convert(h, SG_BF16, one, types[t].type, N);
        sg_convert(two, SG_Q8_0, one, types[t].type, N);
        sg_convert(other, SG_Q8_0, wide, SG_F32, N);
        CHECK(memcmp(two, other, N / 32 * 34) == 0 || types[t].type == SG_Q8_0);
        const sg_tensor tensor = sg_tensor_of(types[t].type, 1, (sg_dim[]){N}, one);
        for (int i = 0; i < N; i++) {
            CHECK(d_back[i] == (double)wide[i] && h[i] == sg_f32_to_bf16(wide[i]));
            CHECK(i % 37 || sg_tensor_get(&tensor, i) == (double)wide[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_has_its_name_and_size),
        cmocka_unit_test(blocks_of_32_say_what_their_bytes_say),
        cmocka_unit_test(blocks_of_256_say_what_their_bytes_say),
        cmocka_unit_test(packed_normal_numbers_err_as_little_as_they_can),
        cmocka_unit_test(numbers_on_levels_come_back_exactly),
        cmocka_unit_test(what_no_scale_reaches_becomes_nan),
        cmocka_unit_test(zeros_and_the_smallest_numbers_are_kept),
        cmocka_unit_test(every_other_type_goes_by_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
