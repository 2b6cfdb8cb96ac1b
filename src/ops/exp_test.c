/* The f32 functions of exp.h against double over the whole range of f32, every 251st number and the edges. */
#include "check.h"
#include "ops/exp.h"

#define STRIDE 251u

typedef struct row {
    const char *name;
    float (*ours)(float);
    double (*truth)(double);
    float low, high;
    double most; /* units in the last place */
} row;

static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static float call_exp(float x)
{
    return sg_expf(x);
}

static float call_exp_down(float x)
{
    return sg_expf_down(x);
}

static float call_tanh(float x)
{
    return sg_tanhf(x);
}

static float call_log1p(float u)
{
    return sg_log1pf_unit(u);
}

static float call_softplus(float x)
{
    return sg_softplusf(x);
}

/* The distance between neighbouring f32 numbers around a true value. */
static double unit_of(double x)
{
    int e;

    frexp(x, &e);
    return ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

static void errors_stay_within_the_stated_bounds(void **state)
{
    static const row rows[] = {
        {"exp", call_exp, exp, -110.0f, 88.72f, 1},
        {"exp, x <= 0", call_exp_down, exp, -86.0f, 88.0f, 3},
        {"tanh", call_tanh, tanh, -20.0f, 20.0f, 3},
        {"log1p", call_log1p, log1p, 0.0f, 1.0f, 3},
        {"softplus", call_softplus, softplus, -110.0f, 100.0f, 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double worst = 0, at = 0;
        for (uint64_t bits = 0; bits <= UINT32_MAX; bits += STRIDE) {
            const uint32_t u = (uint32_t)bits;
            float x;
            memcpy(&x, &u, sizeof x);
            if (!(x >= rows[i].low && x <= rows[i].high))
                continue;
            const double want = rows[i].truth((double)x);
            const double error = fabs((double)rows[i].ours(x) - want) / unit_of(want);
            if (!(error <= worst)) {
                worst = error;
                at = (double)x;
            }
        }
        print_message("%s: at most %.2f units in the last place, at %.9g\n", rows[i].name, worst, at);
        CHECK(worst <= rows[i].most);
    }
}

static void ends_of_the_range_are_exact(void **state)
{
    (void)state;
    CHECK(sg_expf(0.0f) == 1.0f);
    CHECK(sg_expf(-INFINITY) == 0.0f);
    CHECK(sg_expf(-1e30f) == 0.0f);
    CHECK(sg_expf(INFINITY) == INFINITY);
    CHECK(sg_expf(88.73f) == INFINITY); /* log of the largest f32 is 88.7228 */
    CHECK(isnan(sg_expf(NAN)));
    CHECK(sg_expf_down(0.0f) == 1.0f && sg_expf_down(-INFINITY) == 0.0f && sg_expf_down(INFINITY) == INFINITY);
    CHECK(isnan(sg_expf_down(NAN)));
    CHECK(sg_tanhf(INFINITY) == 1.0f && sg_tanhf(-INFINITY) == -1.0f);
    CHECK(sg_tanhf(0.0f) == 0.0f && signbit(sg_tanhf(-0.0f)));
    CHECK(isnan(sg_tanhf(NAN)));
    CHECK(sg_softplusf(-INFINITY) == 0.0f && sg_softplusf(INFINITY) == INFINITY);
    CHECK(isnan(sg_softplusf(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_stay_within_the_stated_bounds),
        cmocka_unit_test(ends_of_the_range_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
