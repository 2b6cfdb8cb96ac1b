/* Statistics against textbook numbers, and against counting that is slow and obvious. */
#include "sightglass/statistics.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/rng.h"

/* Hours of sleep gained by two drugs on ten people (Student 1908), whose tests R prints in its manual. */
static const double first[10] = {0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
static const double second[10] = {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};

static void students_sleep_data_give_the_printed_tests(void **state)
{
    (void)state;
    sg_error err;
    const sg_test w = sg_test_welch(10, first, 10, second), s = sg_test_student(10, first, 10, second);
    sg_test p;
    CHECK_OK(sg_test_paired(&p, 10, first, second, &err), &err);
    /* R prints 5 digits of t and df, 4 of p, 7 behind the point of intervals. */
    CHECK_NEAR(w.statistic, -1.8608, 5e-5, 0);
    CHECK_NEAR(w.df, 17.776, 5e-4, 0);
    CHECK_NEAR(w.p, 0.07939, 5e-6, 0);
    CHECK_NEAR(w.low, -3.3654832, 5e-8, 0);
    CHECK_NEAR(w.high, 0.2054832, 5e-8, 0);
    CHECK_NEAR(s.p, 0.07919, 5e-6, 0);
    CHECK(s.df == 18);
    CHECK_NEAR(s.low, -3.363874, 5e-7, 0);
    CHECK_NEAR(s.high, 0.203874, 5e-7, 0);
    CHECK_NEAR(p.statistic, -4.0621, 5e-5, 0);
    CHECK(p.df == 9);
    CHECK_NEAR(p.p, 0.002833, 5e-7, 0);
    CHECK_NEAR(p.low, -2.4598858, 5e-8, 0);
    CHECK_NEAR(p.high, -0.7001142, 5e-8, 0);
    CHECK_NEAR(sg_test_mean(10, first, 1).difference, -0.25, 1e-15, 0);
}

static void tests_of_what_does_not_vary(void **state)
{
    (void)state;
    const double ones[3] = {1, 1, 1}, twos[3] = {2, 2, 2};
    CHECK(sg_test_welch(3, ones, 3, ones).p == 1 && sg_test_student(3, ones, 3, ones).statistic == 0);
    const sg_test t = sg_test_welch(3, ones, 3, twos);
    CHECK(t.p == 0 && isinf(t.statistic) && t.statistic < 0 && t.low == -1 && t.high == -1);
    CHECK(isnan(sg_test_welch(1, ones, 3, twos).p) && isnan(sg_test_student(1, ones, 1, twos).p));
    CHECK(isnan(sg_test_mean(1, ones, 0).p));
    CHECK(isnan(sg_stats_mean(0, NULL)) && isnan(sg_stats_variance(1, ones)));
    CHECK(sg_test_bonferroni(0.02, 10) == 0.2 && sg_test_bonferroni(0.2, 10) == 1);
}

/* Numbers of 1e9 with a variance of 1: the sum of squares alone would have no digit left. */
static void variance_keeps_its_digits_far_from_zero(void **state)
{
    (void)state;
    const double x[5] = {1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4, 1e9 + 5};
    CHECK_NEAR(sg_stats_variance(5, x), 2.5, 1e-12, 0);
    CHECK_NEAR(sg_stats_deviation(5, x), sqrt(2.5), 1e-12, 0);
    const double s[4] = {1, 2, 4, 8};
    CHECK(sg_stats_quantile(4, s, 0) == 1 && sg_stats_quantile(4, s, 1) == 8);
    CHECK_NEAR(sg_stats_quantile(4, s, 0.5), 3, 1e-15, 0);
    CHECK_NEAR(sg_stats_quantile(4, s, 0.9), 6.8, 1e-14, 0); /* numpy.quantile([1,2,4,8], .9) */
}

/* Ranks by counting, AUROC by looking at all pairs, on numbers with many ties. */
static void ranks_and_auroc_are_what_counting_gives(void **state)
{
    (void)state;
    enum { N = 60 };
    double x[N], y[N], ranks[N], counted[N], counted_y[N], auroc, spearman;
    bool positive[N];
    sg_rng g = sg_rng_new(3, 0);
    sg_error err;
    for (int i = 0; i < N; i++) {
        x[i] = sg_rng_below(&g, 12);
        y[i] = x[i] + sg_rng_below(&g, 9);
        positive[i] = sg_rng_below(&g, 3) == 0;
    }
    CHECK_OK(sg_stats_ranks(ranks, N, x, &err), &err);
    double above = 0, pairs = 0;
    for (int i = 0; i < N; i++) {
        double less = 0, equal = 0, less_y = 0, equal_y = 0;
        for (int j = 0; j < N; j++) {
            less += x[j] < x[i];
            equal += x[j] == x[i];
            less_y += y[j] < y[i];
            equal_y += y[j] == y[i];
            if (positive[i] && !positive[j]) {
                pairs++;
                above += x[i] > x[j] ? 1 : x[i] == x[j] ? 0.5 : 0;
            }
        }
        counted[i] = less + (equal + 1) / 2;
        counted_y[i] = less_y + (equal_y + 1) / 2;
        CHECK(ranks[i] == counted[i]);
    }
    CHECK_OK(sg_stats_auroc(&auroc, N, x, positive, &err), &err);
    CHECK_NEAR(auroc, above / pairs, 1e-15, 0);
    CHECK_OK(sg_stats_spearman(&spearman, N, x, y, &err), &err);
    CHECK_NEAR(spearman, sg_stats_pearson(N, counted, counted_y), 1e-15, 0);

    sg_dim order[N];
    CHECK_OK(sg_stats_order(order, N, x, true, &err), &err);
    for (int i = 0; i + 1 < N; i++)
        CHECK(x[order[i]] > x[order[i + 1]] || (x[order[i]] == x[order[i + 1]] && order[i] < order[i + 1]));
    x[7] = nan("");
    CHECK_OK(sg_stats_ranks(ranks, N, x, &err), &err);
    CHECK(isnan(ranks[0]));
    CHECK_OK(sg_stats_order(order, N, x, true, &err), &err);
    CHECK(order[N - 1] == 7);
    CHECK_OK(sg_stats_auroc(&auroc, 1, y, positive, &err), &err);
    CHECK(isnan(auroc));
}

/* Anscombe's first set (1973): .81642 to five digits; Spearman .81818 = 1 - 6 * 40 / (11 * 120). */
static void correlations_of_anscombes_first_set(void **state)
{
    (void)state;
    const double x[11] = {10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5};
    const double y[11] = {8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68}, flat[11] = {0};
    double s;
    sg_error err;
    CHECK_NEAR(sg_stats_pearson(11, x, y), 0.81642, 5e-6, 0);
    CHECK_OK(sg_stats_spearman(&s, 11, x, y, &err), &err);
    CHECK_NEAR(s, 1 - 6.0 * 40 / (11 * 120), 1e-15, 0);
    CHECK(isnan(sg_stats_pearson(11, x, flat)));
    CHECK(sg_stats_pearson(11, x, x) == 1);
    const double up[3] = {0.1, 0.7, 3}, down[3] = {9, 4, 1};
    CHECK_OK(sg_stats_spearman(&s, 3, up, down, &err), &err);
    CHECK(s == -1); /* to the bit: orders are compared with it */
}

static void the_normal_distribution_and_its_inverse(void **state)
{
    (void)state;
    /* R: pnorm and qnorm to 16 digits. */
    CHECK_NEAR(sg_normal_cdf(1.96), 0.9750021048517795, 0, 1e-14);
    CHECK_NEAR(sg_normal_cdf(-1), 0.15865525393145705, 0, 1e-13);
    CHECK_NEAR(sg_normal_cdf(-10), 7.619853024160527e-24, 0, 1e-13);
    CHECK_NEAR(sg_normal_quantile(0.975), 1.959963984540054, 0, 1e-14);
    CHECK_NEAR(sg_normal_quantile(1e-10), -6.361340902404056, 0, 1e-13);
    CHECK(sg_normal_quantile(0.5) == 0 || fabs(sg_normal_quantile(0.5)) < 1e-15);
    CHECK(isinf(sg_normal_quantile(0)) && isnan(sg_normal_quantile(1.1)) && isnan(sg_normal_cdf(nan(""))));
    for (double x = -8; x <= 8; x += 0.37) {
        CHECK_NEAR(sg_normal_cdf(x) + sg_normal_cdf(-x), 1, 1e-15, 0);
        if (x < 4) /* above, the digits that tell x are no longer in 1 - p */
            CHECK_NEAR(sg_normal_quantile(sg_normal_cdf(x)), x, 1e-11, 0);
    }
}

/* For whole a and b I_x(a,b) is the probability of a or more successes in a + b - 1 trials. */
static void the_incomplete_beta_is_a_binomial_tail(void **state)
{
    (void)state;
    for (int a = 1; a < 30; a += 4)
        for (int b = 1; b < 40; b += 6)
            for (double x = 0.05; x < 1; x += 0.15) {
                const int n = a + b - 1;
                double tail = 0;
                for (int k = a; k <= n; k++) {
                    double term = 1;
                    for (int i = 1; i <= k; i++)
                        term *= x * (n - k + i) / i;
                    tail += term * pow(1 - x, n - k);
                }
                CHECK_NEAR(sg_beta_inc(a, b, x), tail, 1e-15, 1e-11);
            }
    CHECK(sg_beta_inc(2, 3, 0) == 0 && sg_beta_inc(2, 3, 1) == 1 && isnan(sg_beta_inc(0, 1, 0.5)));
    CHECK_NEAR(sg_beta_inc(0.5, 0.5, 0.25), 1.0 / 3, 0, 1e-13); /* 2 / pi asin(sqrt x) */
    CHECK_NEAR(sg_log_gamma(0.5), 0.57236494292470009, 0, 1e-13);
    CHECK_NEAR(sg_log_gamma(100), 359.13420536957540, 0, 1e-14);
    CHECK_NEAR(sg_log_gamma(1), 0, 1e-13, 0);
}

/* P(|T| < t) for even df, a finite sum (Abramowitz & Stegun 26.7.4). */
static double even_df(double t, int df)
{
    const double angle = atan(t / sqrt(df)), c = cos(angle) * cos(angle);
    double sum = 0, term = 1;
    for (int k = 0; k < df / 2; k++) {
        sum += term;
        term *= c * (2 * k + 1) / (2 * k + 2);
    }
    return sin(angle) * sum;
}

static void students_distribution(void **state)
{
    (void)state;
    CHECK_NEAR(sg_t_quantile(0.975, 10), 2.22813885198627, 0, 1e-13); /* where even_df below is .95 */
    CHECK_NEAR(sg_t_quantile(0.975, 1), 12.706204736174698, 0, 1e-11);
    CHECK_NEAR(sg_t_quantile(0.025, 30), -2.0422724563012373, 0, 1e-12);
    /* df 1 is Cauchy's, df 2 has 1 / sqrt(2 + t^2) in it. */
    for (double t = 0.1; t < 1e5; t *= 7) {
        CHECK_NEAR(sg_t_p(t, 1), 2 * atan(1 / t) / 3.14159265358979324, 0, 1e-12);
        CHECK_NEAR(sg_t_p(t, 2), 1 - t / sqrt(2 + t * t), 1e-14, 1e-6);
        CHECK(sg_t_p(-t, 3) == sg_t_p(t, 3));
        CHECK_NEAR(sg_t_p(t, 30), 1 - even_df(t, 30), 1e-14, 1e-12);
    }
    CHECK_NEAR(sg_t_p(1.96, 1e9), 2 * sg_normal_cdf(-1.96), 0, 1e-7);
    CHECK_NEAR(sg_t_cdf(-2, 7) + sg_t_cdf(2, 7), 1, 1e-15, 0);
    CHECK(sg_t_p(0, 5) == 1 && sg_t_p((double)INFINITY, 5) == 0);
}

/* What Marsaglia, Tsang and Wang (2003) print, what one and two numbers give by hand, and counting. */
static void kolmogorovs_distance(void **state)
{
    (void)state;
    enum { N = 7, DRAWS = 20000 };
    sg_rng g = sg_rng_new(5, 0);
    sg_test t;
    sg_error err;
    double above = 0, x[N];
    CHECK_NEAR(1 - sg_kolmogorov_p(0.274, 10), 0.62847961545650427, 0, 1e-13);
    CHECK_NEAR(sg_kolmogorov_p(0.7, 1), 0.6, 1e-14, 0);           /* 2 (1 - d) */
    CHECK_NEAR(sg_kolmogorov_p(0.8, 2), 2 * 0.2 * 0.2, 1e-14, 0); /* 2 (1 - d)^2 from 1/2 on */
    /* The exact and the limit meet where one takes over from the other, to what the correction is good for. */
    CHECK_NEAR(sg_kolmogorov_p(0.05, 500), sg_kolmogorov_p(0.05 * sqrt(500.0 / 501), 501), 0, 0.01);
    for (int k = 0; k < DRAWS; k++) {
        for (int i = 0; i < N; i++)
            x[i] = sg_rng_uniform(&g);
        CHECK_OK(sg_test_uniform(&t, N, x, &err), &err);
        above += t.p <= 0.1;
    }
    CHECK_NEAR(above / DRAWS, 0.1, 0.008, 0); /* 4 standard errors */
    x[0] = nan("");
    CHECK_OK(sg_test_uniform(&t, N, x, &err), &err);
    CHECK(isnan(t.p));
}

/* Of 3 against 3 the 20 ways to deal give the exact p; of 4 pairs the 16 ways to throw signs do. */
static void permutations_come_near_to_all_of_them(void **state)
{
    (void)state;
    const double x[3] = {5, 6, 9}, y[3] = {1, 2, 4}, pairs[4] = {1, 2, 3, 4}, none[4] = {0};
    const double all[6] = {5, 6, 9, 1, 2, 4};
    double as_large = 0, as_large_signs = 0;
    sg_test t;
    sg_error err;
    for (int set = 0; set < 64; set++)
        if (__builtin_popcount((unsigned)set) == 3) {
            double d = 0;
            for (int i = 0; i < 6; i++)
                d += set >> i & 1 ? all[i] / 3 : -all[i] / 3;
            as_large += fabs(d) > 13.0 / 3 - 1e-9;
        }
    for (int set = 0; set < 16; set++) {
        double d = 0;
        for (int i = 0; i < 4; i++)
            d += set >> i & 1 ? pairs[i] : -pairs[i];
        as_large_signs += fabs(d) > 10 - 1e-9;
    }
    CHECK_OK(sg_test_permutation(&t, 3, x, 3, y, 20000, 1, &err), &err);
    CHECK_NEAR(t.p, as_large / 20, 0.01, 0); /* 5 standard errors */
    CHECK_NEAR(t.difference, 13.0 / 3, 1e-14, 0);
    CHECK_OK(sg_test_signs(&t, 4, pairs, none, 20000, 1, &err), &err);
    CHECK_NEAR(t.p, as_large_signs / 16, 0.01, 0);
    CHECK_STATUS(sg_test_signs(&t, 4, pairs, none, 0, 1, &err), SG_EARG);
}

static void shares_near_one_stay_within_one(void **state)
{
    (void)state;
    double low, high;
    sg_stats_wilson(5, 10, &low, &high); /* R: prop.test(5, 10, correct = FALSE) */
    CHECK_NEAR(low, 0.2365931, 5e-8, 0);
    CHECK_NEAR(high, 0.7634069, 5e-8, 0);
    sg_stats_wilson(10, 10, &low, &high);
    CHECK(high == 1 && low > 0.7 && low < 0.73);
}

static void no_memory_is_said(void **state)
{
    (void)state;
    double out, ranks[10];
    sg_test t;
    sg_error err;
    for (int n = 0; n < 3; n++) {
        sg_faults_begin(n, SG_FAULT_ONCE);
        CHECK_STATUS(sg_stats_spearman(&out, 10, first, second, &err), SG_ENOMEM);
        CHECK(sg_faults_end());
    }
    sg_faults_begin(0, SG_FAULT_ONCE);
    CHECK_STATUS(sg_stats_ranks(ranks, 10, first, &err), SG_ENOMEM);
    CHECK(sg_faults_end());
    sg_faults_begin(0, SG_FAULT_ONCE);
    CHECK_STATUS(sg_test_paired(&t, 10, first, second, &err), SG_ENOMEM);
    CHECK(sg_faults_end());
    sg_faults_begin(0, SG_FAULT_ONCE);
    CHECK_STATUS(sg_test_uniform(&t, 10, first, &err), SG_ENOMEM);
    CHECK(sg_faults_end());
    sg_faults_begin(0, SG_FAULT_ONCE);
    CHECK_STATUS(sg_test_permutation(&t, 10, first, 10, second, 5, 1, &err), SG_ENOMEM);
    CHECK(sg_faults_end());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(students_sleep_data_give_the_printed_tests),
        cmocka_unit_test(tests_of_what_does_not_vary),
        cmocka_unit_test(variance_keeps_its_digits_far_from_zero),
        cmocka_unit_test(ranks_and_auroc_are_what_counting_gives),
        cmocka_unit_test(correlations_of_anscombes_first_set),
        cmocka_unit_test(the_normal_distribution_and_its_inverse),
        cmocka_unit_test(the_incomplete_beta_is_a_binomial_tail),
        cmocka_unit_test(students_distribution),
        cmocka_unit_test(kolmogorovs_distance),
        cmocka_unit_test(permutations_come_near_to_all_of_them),
        cmocka_unit_test(shares_near_one_stay_within_one),
        cmocka_unit_test(no_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
