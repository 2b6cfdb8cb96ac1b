#include "base/base.h"
#include "check.h"

static uint32_t bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static void every_bf16_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const float x = sg_bf16_to_f32((uint16_t)h);
        if (isnan(x))
            CHECK(isnan(sg_bf16_to_f32(sg_f32_to_bf16(x))));
        else
            CHECK(sg_f32_to_bf16(x) == h);
    }
}

/* The value of a binary16 by its definition. */
static double f16_value(uint32_t h)
{
    const int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
    const double sign = h & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31)
        return mantissa ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24));
}

static void every_f16_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const float x = sg_f16_to_f32((uint16_t)h);
        if (isnan(f16_value(h))) {
            CHECK(isnan(x) && isnan(sg_f16_to_f32(sg_f32_to_f16(x))));
            continue;
        }
        CHECK((double)x == f16_value(h) && (bits(x) >> 31) == h >> 15);
        CHECK(sg_f32_to_f16(x) == h);
    }
}

static void f16_rounds_to_nearest_even_everywhere(void **state)
{
    (void)state;
    /* Between any two neighbours: the middle goes to the even one, a hair to either side to the nearer. */
    for (uint32_t h = 0; h < 0x7C00; h++) {
        const double low = f16_value(h), high = h + 1 == 0x7C00 ? 65536.0 : f16_value(h + 1);
        const float middle = (float)((low + high) / 2); /* exact: one bit more than an f16 */
        CHECK(sg_f32_to_f16(middle) == (h & 1 ? h + 1 : h));
        CHECK(sg_f32_to_f16(nextafterf(middle, 0.0f)) == h);
        CHECK(sg_f32_to_f16(nextafterf(middle, 1e9f)) == h + 1);
        CHECK(sg_f32_to_f16(-middle) == (0x8000 | (h & 1 ? h + 1 : h)));
    }
    CHECK(sg_f32_to_f16(1e9f) == 0x7C00 && sg_f32_to_f16(-INFINITY) == 0xFC00);
    CHECK(sg_f32_to_f16(1e-30f) == 0 && sg_f32_to_f16(-1e-30f) == 0x8000);
    CHECK(sg_f32_to_f16(from_bits(1)) == 0); /* an f32 denormal */
}

static void bf16_rounds_to_nearest_even_everywhere(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7F80; h++) {
        const uint32_t middle = h << 16 | 0x8000;
        CHECK(sg_f32_to_bf16(from_bits(middle)) == (h & 1 ? h + 1 : h));
        CHECK(sg_f32_to_bf16(from_bits(middle - 1)) == h);
        CHECK(sg_f32_to_bf16(from_bits(middle + 1)) == h + 1); /* past the largest: infinity */
        CHECK(sg_f32_to_bf16(from_bits(0x80000000u | middle)) == (0x8000 | (h & 1 ? h + 1 : h)));
    }
}

static void a_nan_stays_a_nan(void **state)
{
    (void)state;
    static const uint32_t nans[] = {0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7F801000};
    for (size_t i = 0; i < SG_COUNT_OF(nans); i++) {
        const float x = from_bits(nans[i]);
        CHECK(isnan(sg_bf16_to_f32(sg_f32_to_bf16(x))));
        CHECK(isnan(sg_f16_to_f32(sg_f32_to_f16(x))));
        CHECK(sg_f32_to_bf16(x) >> 15 == nans[i] >> 31 && sg_f32_to_f16(x) >> 15 == nans[i] >> 31);
    }
}

static void a_double_is_rounded_once(void **state)
{
    (void)state;
    /* Just above the middle of two halves, by less than an f32 can tell: rounding to f32 first would land on the
     * middle and then on the even neighbour below. */
    const double above = 1.0 + 0x1p-11 + 0x1p-40, below = 1.0 + 0x1p-10 + 0x1p-11 - 0x1p-40;
    uint16_t h;
    sg_convert(&h, SG_F16, &above, SG_F64, 1);
    CHECK_NEAR(sg_f16_to_f32(h), 1.0 + 0x1p-10, 0, 0);
    sg_convert(&h, SG_F16, &below, SG_F64, 1);
    CHECK_NEAR(sg_f16_to_f32(h), 1.0 + 0x1p-10, 0, 0);
    const double b_above = 1.0 + 0x1p-8 + 0x1p-40;
    sg_convert(&h, SG_BF16, &b_above, SG_F64, 1);
    CHECK_NEAR(sg_bf16_to_f32(h), 1.0 + 0x1p-7, 0, 0);
    const int32_t n = (1 << 30) + (1 << 22) + 1; /* an i32 has more bits than an f32, too */
    sg_convert(&h, SG_BF16, &n, SG_I32, 1);
    CHECK_NEAR(sg_bf16_to_f32(h), (double)((1 << 30) + (1 << 23)), 0, 0);
    const double huge = 1e300, tiny = -1e-300;
    sg_convert(&h, SG_F16, &huge, SG_F64, 1);
    CHECK(h == 0x7C00);
    sg_convert(&h, SG_F16, &tiny, SG_F64, 1);
    CHECK(h == 0x8000);
    const double nan = (double)NAN;
    sg_convert(&h, SG_F16, &nan, SG_F64, 1);
    CHECK(isnan(sg_f16_to_f32(h)));
}

static void every_pair_of_plain_types_keeps_small_integers(void **state)
{
    (void)state;
    /* 0 and 1 are in every type; -3 and 100 in all but bool, where they are true. */
    const float source[4] = {0, 1, -3, 100};
    double a[4], b[4]; /* room for any type */
    for (int from = 0; from <= SG_BOOL; from++)
        for (int to = 0; to <= SG_BOOL; to++) {
            sg_convert(a, (sg_dtype)from, source, SG_F32, 4);
            sg_convert(b, (sg_dtype)to, a, (sg_dtype)from, 4);
            const sg_tensor t = sg_tensor_of((sg_dtype)to, 1, (sg_dim[]){4}, b);
            const bool truth = from == SG_BOOL || to == SG_BOOL;
            CHECK_NEAR(sg_tensor_get(&t, 0), 0, 0, 0);
            CHECK_NEAR(sg_tensor_get(&t, 1), 1, 0, 0);
            CHECK_NEAR(sg_tensor_get(&t, 2), truth ? 1 : -3, 0, 0);
            CHECK_NEAR(sg_tensor_get(&t, 3), truth ? 1 : 100, 0, 0);
        }
    sg_convert(NULL, SG_F32, NULL, SG_F32, 0);
}

static void integers_are_cut_and_kept_in_range(void **state)
{
    (void)state;
    const double x[7] = {2.9, -2.9, 1e10, -1e10, (double)NAN, 2147483646.9, (double)INFINITY};
    const int32_t want[7] = {2, -2, INT32_MAX, INT32_MIN, 0, 2147483646, INT32_MAX};
    int32_t got[7];
    sg_convert(got, SG_I32, x, SG_F64, 7);
    for (int i = 0; i < 7; i++)
        CHECK(got[i] == want[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bf16_comes_back),
        cmocka_unit_test(every_f16_comes_back),
        cmocka_unit_test(f16_rounds_to_nearest_even_everywhere),
        cmocka_unit_test(bf16_rounds_to_nearest_even_everywhere),
        cmocka_unit_test(a_nan_stays_a_nan),
        cmocka_unit_test(a_double_is_rounded_once),
        cmocka_unit_test(every_pair_of_plain_types_keeps_small_integers),
        cmocka_unit_test(integers_are_cut_and_kept_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
