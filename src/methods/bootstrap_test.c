/* Intervals against what statistics knows of them. */
#include "sightglass/bootstrap.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/rng.h"

/* A mean of n numbers of deviation 1 has a 95 % interval of 1.96 / sqrt(n) to each side, up to the noise of resampling:
 * with 4000 resamples a few percent of that. */
static void a_mean_varies_by_its_standard_error(void **state)
{
    (void)state;
    enum { N = 400 };
    double x[N], mean = 0, squares = 0;
    sg_rng g = sg_rng_new(1, 0);
    for (int i = 0; i < N; i++) {
        x[i] = sg_rng_normal(&g);
        mean += x[i] / N;
        squares += x[i] * x[i] / N;
    }
    const double error = 1.96 * sqrt((squares - mean * mean) / N);
    sg_bootstrap_opts opts = sg_bootstrap_defaults();
    sg_interval i;
    sg_error err;
    opts.n_resamples = 4000;
    CHECK_OK(sg_bootstrap_ratio(&i, N, x, NULL, opts, &err), &err);
    CHECK_NEAR(i.low, mean - error, 0.1 * error, 0);
    CHECK_NEAR(i.high, mean + error, 0.1 * error, 0);
}

/* Episodes of ten equal answers vary as one answer does, not as ten: the interval is as wide as that of the episodes.
 */
static void answers_of_an_episode_are_not_independent(void **state)
{
    (void)state;
    enum { N = 100 };
    double right[N], asked[N];
    for (int i = 0; i < N; i++) {
        asked[i] = 10;
        right[i] = i % 2 ? 10 : 0;
    }
    sg_interval i;
    sg_error err;
    CHECK_OK(sg_bootstrap_ratio(&i, N, right, asked, sg_bootstrap_defaults(), &err), &err);
    CHECK_NEAR(i.high - i.low, 2 * 1.96 * 0.5 / sqrt(N), 0, 0.15);
}

static void the_ends_of_no_spread_and_of_nothing(void **state)
{
    (void)state;
    const double one[3] = {1, 1, 1}, none[3] = {0};
    sg_interval i;
    sg_error err;
    CHECK_OK(sg_bootstrap_ratio(&i, 3, one, one, sg_bootstrap_defaults(), &err), &err);
    CHECK(i.low == 1 && i.high == 1);
    CHECK_OK(sg_bootstrap_ratio(&i, 3, none, none, sg_bootstrap_defaults(), &err), &err);
    CHECK(isnan(i.low) && isnan(i.high));
    CHECK_OK(sg_bootstrap_ratio(&i, 0, NULL, NULL, sg_bootstrap_defaults(), &err), &err);
    CHECK(isnan(i.low));
    sg_bootstrap_opts opts = sg_bootstrap_defaults();
    opts.share = 1;
    CHECK_STATUS(sg_bootstrap_ratio(&i, 3, one, one, opts, &err), SG_EARG);
    sg_faults_begin(0, SG_FAULT_ONCE);
    CHECK_STATUS(sg_bootstrap_ratio(&i, 3, one, one, sg_bootstrap_defaults(), &err), SG_ENOMEM);
    CHECK(sg_faults_end());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mean_varies_by_its_standard_error),
        cmocka_unit_test(answers_of_an_episode_are_not_independent),
        cmocka_unit_test(the_ends_of_no_spread_and_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
