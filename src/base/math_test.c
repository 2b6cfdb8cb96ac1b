#include "base/math.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "check.h"

/* Random words of a fixed seed (Marsaglia's xorshift). */
static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static double between(uint64_t *state, double low, double high)
{
    return low + (high - low) * ((double)(next(state) >> 11) * 0x1p-53);
}

/* Any number at all, each exponent as likely as the next. */
static double any(uint64_t *state)
{
    return sg_math_double(next(state));
}

/* How many units in the last place of a double y is off. */
static double units(double y, long double wanted)
{
    if (isnan(wanted))
        return isnan(y) ? 0 : (double)INFINITY;
    if (isinf((double)wanted) || wanted == 0)
        return y == (double)wanted ? 0 : (double)INFINITY;
    int exponent;
    frexpl(wanted, &exponent);
    return (double)(fabsl((long double)y - wanted) / ldexpl(1, (exponent < -1021 ? -1021 : exponent) - 53));
}

static long double sigmoidl(long double x)
{
    return 1 / (1 + expl(-x));
}

typedef struct function {
    const char *name;
    double (*ours)(double);
    long double (*theirs)(long double); /* 64 bits of mantissa */
    double low, high;                   /* where something happens */
} function;

static const function functions[] = {
    {"exp", sg_math_exp, expl, -746, 710},
    {"exp", sg_math_exp, expl, -1, 1},
    {"expm1", sg_math_expm1, expm1l, -46, 710},
    {"expm1", sg_math_expm1, expm1l, -2, 2},
    {"log", sg_math_log, logl, 0, 10},
    {"log", sg_math_log, logl, 0.5, 1.5},
    {"log1p", sg_math_log1p, log1pl, -1, 9},
    {"log1p", sg_math_log1p, log1pl, -0.5, 0.5},
    {"tanh", sg_math_tanh, tanhl, -25, 25},
    {"tanh", sg_math_tanh, tanhl, -1, 1},
    {"sigmoid", sg_math_sigmoid, sigmoidl, -760, 60},
    {"sigmoid", sg_math_sigmoid, sigmoidl, -2, 2},
    {"erf", sg_math_erf, erfl, -7, 7},
    {"erf", sg_math_erf, erfl, -1.5, 1.5},
    {"sin", sg_math_sin, sinl, -10, 10},
    {"sin", sg_math_sin, sinl, -1e7, 1e7},
    {"cos", sg_math_cos, cosl, -10, 10},
    {"cos", sg_math_cos, cosl, -1e7, 1e7},
};

static void each_function_is_within_one_unit_in_the_last_place(void **state)
{
    (void)state;
    for (size_t f = 0; f < SG_COUNT_OF(functions); f++) {
        const function *of = &functions[f];
        const bool turns = of->ours == sg_math_sin || of->ours == sg_math_cos; /* beyond 2^62 the x87's give up */
        uint64_t seed = 88172645463325252u + f;
        double worst = 0, where = 0;
        for (int i = 0; i < 60000; i++) {
            const double x = i % 3 ? between(&seed, of->low, of->high) : any(&seed);
            if (turns && fabs(x) > 0x1p62)
                continue;
            const double off = units(of->ours(x), of->theirs((long double)x));
            if (off > worst)
                worst = off, where = x;
        }
        if (!(worst < 1))
            fail_msg("%s(%a) is off by %g units", of->name, where, worst);
    }
}

static void powers_are_within_one_unit_in_the_last_place(void **state)
{
    (void)state;
    uint64_t seed = 1;
    double worst = 0, x_worst = 0, y_worst = 0;
    for (int i = 0; i < 100000; i++) {
        const double x = i % 2 ? fabs(any(&seed)) : between(&seed, 0.001, 100);
        const double y = i % 2 ? between(&seed, -740, 709) / log(x) : between(&seed, -100, 100);
        const double off = units(sg_math_pow(x, y), powl((long double)x, (long double)y));
        if (off > worst)
            worst = off, x_worst = x, y_worst = y;
    }
    if (!(worst < 1))
        fail_msg("pow(%a, %a) is off by %g units", x_worst, y_worst, worst);
}

/* The doubles nearest to a multiple of pi / 2 among those of their exponent (convergents of the continued fraction of
 * pi / 2^e), with sine and cosine by mpmath in 400 digits. The last is the nearest of all. */
static void sine_and_cosine_are_right_next_to_multiples_of_half_pi(void **state)
{
    (void)state;
    static const struct {
        double x, sine, cosine;
    } hard[] = {
        {0x1.921fb54442d18p+0, 0x1.0000000000000p+0, 0x1.1a62633145c07p-54},
        {0x1.921fb54442d18p+0, 0x1.0000000000000p+0, 0x1.1a62633145c07p-54},
        {0x1.23f8c5bcf003ep+11, -0x1.0000000000000p+0, -0x1.082fc5668517fp-51},
        {0x1.6c6cbc45dc8dep+11, 0x1.6d61b58c99c43p-55, 0x1.0000000000000p+0},
        {0x1.93c05c9ed3cbcp+18, 0x1.0000000000000p+0, -0x1.065d73720c4f9p-52},
        {0x1.39c6fd67805a7p+19, 0x1.988efe18ff83fp-54, -0x1.0000000000000p+0},
        {0x1.39c6fd67805a7p+20, -0x1.988efe18ff83fp-53, 0x1.0000000000000p+0},
        {0x1.9eb7148f354d6p+20, 0x1.0000000000000p+0, -0x1.d0afa32c646cap-55},
        {0x1.55202aefde314p+30, -0x1.10c745b9374bcp-52, -0x1.0000000000000p+0},
        {0x1.5c9508c58aafap+32, 0x1.0000000000000p+0, 0x1.7091a64747dabp-54},
        {0x1.508ecb38f52f9p+52, 0x1.0000000000000p+0, -0x1.7b135449c16bfp-53},
        {0x1.5cba89af1f855p+52, 0x1.b5ebde2aae00bp-54, -0x1.0000000000000p+0},
        {0x1.1380fb2d27f50p+81, -0x1.0000000000000p+0, 0x1.9c7c895569388p-53},
        {0x1.f19e5d71b26bap+85, -0x1.0000000000000p+0, -0x1.230f73631c67dp-56},
        {0x1.9372c32b9b7f8p+150, -0x1.0000000000000p+0, 0x1.bff85a8d09fd8p-52},
        {0x1.b930d680374c2p+151, 0x1.4710c83c6a7d5p-55, -0x1.0000000000000p+0},
        {0x1.fff95ddf70100p+381, 0x1.0000000000000p+0, -0x1.0a26c78d1626ep-51},
        {0x1.715b33a0d143ep+384, 0x1.21f3a46c27f0ap-53, -0x1.0000000000000p+0},
        {0x1.24f4cc18965d0p+649, -0x1.0000000000000p+0, -0x1.e443de5c8f620p-51},
        {0x1.8cb6018bdd184p+650, -0x1.0000000000000p+0, 0x1.78245138de279p-53},
        {0x1.36bf9a50c0440p+1011, -0x1.d90bcc35ff8fap-53, 0x1.0000000000000p+0},
        {0x1.b1c15d78e7c7cp+1017, -0x1.0000000000000p+0, 0x1.20cfc515a2cbcp-54},
        {0x1.6ac5b262ca1ffp+849, 0x1.0000000000000p+0, -0x1.14ae72e6ba22fp-61},
    };
    for (size_t i = 0; i < SG_COUNT_OF(hard); i++) {
        double s, c;
        sg_math_sincos(hard[i].x, &s, &c);
        CHECK(fabs(s - hard[i].sine) <= DBL_EPSILON * fabs(hard[i].sine));
        CHECK(fabs(c - hard[i].cosine) <= DBL_EPSILON * fabs(hard[i].cosine));
    }
}

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

static void zeros_infinities_and_nan_come_out_as_c_says(void **state)
{
    (void)state;
    static const double xs[] = {0.0, -0.0, (double)INFINITY, -(double)INFINITY, (double)NAN, 5e-324, -5e-324, 1, -1,
                                2,   -2};
    double (*const theirs[])(double) = {exp,  exp,  expm1, expm1, log, log, log1p, log1p, tanh,
                                        tanh, NULL, NULL,  erf,   erf, sin, sin,   cos,   cos};
    for (size_t f = 0; f < SG_COUNT_OF(functions); f++)
        for (size_t i = 0; i < SG_COUNT_OF(xs); i++) {
            const double x = xs[i], y = functions[f].ours(x);
            const double wanted = theirs[f] ? theirs[f](x) : 1 / (1 + exp(-x));
            if (!same(y, wanted) && !(fabs(y - wanted) <= DBL_EPSILON * fabs(wanted) && wanted != 0))
                fail_msg("%s(%g) is %a, wanted %a", functions[f].name, x, y, wanted);
        }
}

static void powers_of_special_numbers_come_out_as_c_says(void **state)
{
    (void)state;
    static const double v[] = {0.0,
                               -0.0,
                               1,
                               -1,
                               2,
                               -2,
                               3,
                               -3,
                               0.5,
                               -0.5,
                               (double)INFINITY,
                               -(double)INFINITY,
                               (double)NAN,
                               5e-324,
                               -5e-324,
                               1e308,
                               -1e308,
                               1e300,
                               1.5,
                               -1.5,
                               33,
                               -33,
                               0x1p53,
                               0x1p53 - 1,
                               1 - 0x1p53,
                               0x1p52 + 1,
                               0x1p52 - 0.5,
                               1 + 0x1p-52,
                               1 - 0x1p-53};
    for (size_t i = 0; i < SG_COUNT_OF(v); i++)
        for (size_t j = 0; j < SG_COUNT_OF(v); j++) {
            const double y = sg_math_pow(v[i], v[j]), wanted = pow(v[i], v[j]);
            if (!same(y, wanted) && !(fabs(y - wanted) <= DBL_EPSILON * fabs(wanted) && wanted != 0))
                fail_msg("pow(%a, %a) is %a, wanted %a", v[i], v[j], y, wanted);
        }
}

static void powers_in_f32_are_rounded_from_more(void **state)
{
    (void)state;
    static const float v[] = {0.0f, -0.0f, 1,        -1,        2,       -2,          3,       -3,
                              0.5f, -0.5f, INFINITY, -INFINITY, NAN,     1e-45f,      -1e-45f, 3e38f,
                              1.5f, -1.5f, 33,       -33,       0x1p24f, 0x1p23f + 1, 0x1p127f};
    uint64_t seed = 3;
    for (size_t i = 0; i < SG_COUNT_OF(v); i++)
        for (size_t j = 0; j < SG_COUNT_OF(v); j++) {
            const double y = (double)sg_math_powf(v[i], v[j]), wanted = (double)(float)pow((double)v[i], (double)v[j]);
            if (!same(y, wanted) && !(fabs(y - wanted) <= 0x1p-23 * fabs(wanted) && wanted != 0))
                fail_msg("powf(%a, %a) is %a, wanted %a", (double)v[i], (double)v[j], y, wanted);
        }
    int off = 0;
    for (int i = 0; i < 100000; i++) {
        const float x = (float)between(&seed, 0.001, 50), y = (float)between(&seed, -20, 20);
        off += sg_math_powf(x, y) != (float)powl((long double)x, (long double)y);
    }
    CHECK(off < 5); /* a double's error next to the middle of two f32 */
}

static void arrays_have_the_bytes_of_single_numbers(void **state)
{
    (void)state;
    static const struct {
        double (*one)(double);
        void (*many)(double *, const double *, size_t);
    } pairs[] = {{sg_math_exp, sg_math_exp_n},
                 {sg_math_log, sg_math_log_n},
                 {sg_math_tanh, sg_math_tanh_n},
                 {sg_math_sigmoid, sg_math_sigmoid_n}};
    static double x[4099], y[4099];
    uint64_t seed = 7;
    for (size_t f = 0; f < SG_COUNT_OF(pairs); f++) {
        for (size_t i = 0; i < SG_COUNT_OF(x); i++)
            x[i] = i % 2 ? between(&seed, -30, 30) : any(&seed);
        pairs[f].many(y, x, SG_COUNT_OF(x));
        for (size_t i = 0; i < SG_COUNT_OF(x); i++)
            CHECK(same(y[i], pairs[f].one(x[i])));
        pairs[f].many(x, x, SG_COUNT_OF(x)); /* in place */
        for (size_t i = 0; i < SG_COUNT_OF(x); i++)
            CHECK(same(x[i], y[i]));
    }
}

/* Every compiler and every processor has to come to this number. */
static void the_bytes_of_many_results_are_what_they_always_were(void **state)
{
    (void)state;
    uint64_t seed = 2026, hash = 0;
    for (int i = 0; i < 20000; i++)
        for (size_t f = 0; f < SG_COUNT_OF(functions); f++) {
            const double x = between(&seed, functions[f].low, functions[f].high);
            const double y[2] = {functions[f].ours(x), sg_math_pow(fabs(x), between(&seed, -9, 9))};
            hash = sg_hash(y, sizeof y, hash);
        }
    if (hash != 0x10483827767B8B23)
        fail_msg("the hash is 0x%016" PRIX64, hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_function_is_within_one_unit_in_the_last_place),
        cmocka_unit_test(powers_are_within_one_unit_in_the_last_place),
        cmocka_unit_test(sine_and_cosine_are_right_next_to_multiples_of_half_pi),
        cmocka_unit_test(zeros_infinities_and_nan_come_out_as_c_says),
        cmocka_unit_test(powers_of_special_numbers_come_out_as_c_says),
        cmocka_unit_test(powers_in_f32_are_rounded_from_more),
        cmocka_unit_test(arrays_have_the_bytes_of_single_numbers),
        cmocka_unit_test(the_bytes_of_many_results_are_what_they_always_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
