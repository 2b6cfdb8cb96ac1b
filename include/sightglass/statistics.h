/* Statistics: moments, correlations, tests and the distributions that they need.
 *
 *     const sg_test t = sg_test_welch(n, trained, m, untrained);
 *     printf("differ by %.3f [%.3f, %.3f], p %.2g\n", t.difference, t.low, t.high, t.p);
 *
 * All numbers are double, sums run in order, and the same numbers give the same bytes on every machine. What does not
 * exist (a variance of one number, a correlation with a constant) is NaN, and a NaN that is put in comes out. */
#ifndef SIGHTGLASS_STATISTICS_H
#define SIGHTGLASS_STATISTICS_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- of one list ---- */

double sg_stats_mean(sg_dim n, const double *x);
double sg_stats_variance(sg_dim n, const double *x);  /* over n - 1; for the population's multiply by (n - 1) / n */
double sg_stats_deviation(sg_dim n, const double *x); /* its root */
/* Between two order statistics of a list in rising order (Hyndman & Fan 1996, type 7); 0 <= q <= 1. */
double sg_stats_quantile(sg_dim n, const double *sorted, double q);
void sg_stats_sort(sg_dim n, double *x); /* rising; NaN last */

/* Places in rising (or falling) order, equals in the order in which they stand, NaN last: x[order[0]] is the least. */
sg_status sg_stats_order(sg_dim *order, sg_dim n, const double *x, bool falling, sg_error *err) SG_MUST_CHECK;
/* Ranks from 1, rising; equals share the mean of their ranks. All NaN where x holds one. */
sg_status sg_stats_ranks(double *ranks, sg_dim n, const double *x, sg_error *err) SG_MUST_CHECK;

/* ---- of two lists ---- */

double sg_stats_pearson(sg_dim n, const double *x, const double *y);
/* Pearson's correlation of the ranks, ties included. */
sg_status sg_stats_spearman(double *out, sg_dim n, const double *x, const double *y, sg_error *err) SG_MUST_CHECK;
/* Area under the ROC: the probability that one of the positives scores above one of the others, a tie counted as a half
 * (Mann & Whitney 1947). NaN where there is no positive, or nothing else. */
sg_status sg_stats_auroc(double *out, sg_dim n, const double *score, const bool *positive, sg_error *err) SG_MUST_CHECK;

/* ---- tests ---- */

typedef struct sg_test {
    double statistic, df; /* df NaN where there is none */
    double p;             /* two-sided */
    double difference;    /* of the means; NaN where the test is of something else */
    double low, high;     /* 95 % interval of the difference; NaN likewise */
} sg_test;

/* Student's t (1908) of one mean against a number, and of pairs: of the differences x - y against 0. */
sg_test sg_test_mean(sg_dim n, const double *x, double expected);
sg_status sg_test_paired(sg_test *out, sg_dim n, const double *x, const double *y, sg_error *err) SG_MUST_CHECK;
/* Two independent lists: with a common variance, and without (Welch 1947). Where nothing varies t is 0, p 1 for equal
 * means, and t infinite, p 0 for unequal ones. */
sg_test sg_test_student(sg_dim n, const double *x, sg_dim m, const double *y);
sg_test sg_test_welch(sg_dim n, const double *x, sg_dim m, const double *y);

/* p for the smallest of so many tests: p * n, at most 1. */
double sg_test_bonferroni(double p, sg_dim n_tests);

/* Kolmogorov-Smirnov: were these numbers drawn uniformly from [0,1]? statistic is the largest distance of the
 * distributions; p is exact (Marsaglia, Tsang & Wang 2003) up to 500 numbers but in the far tail, and the limit with
 * Stephens' correction (1970) above. */
sg_status sg_test_uniform(sg_test *out, sg_dim n, const double *x, sg_error *err) SG_MUST_CHECK;

/* Permutations: how often would a difference of means at least as large come of the same numbers dealt out by chance
 * (two lists), or of differences whose signs are thrown (pairs)? p = (1 + as large) / (1 + permutations), so never 0
 * (Phipson & Smyth 2010). No interval. */
sg_status sg_test_permutation(sg_test *out, sg_dim n, const double *x, sg_dim m, const double *y, int n_permutations,
                              uint64_t seed, sg_error *err) SG_MUST_CHECK;
sg_status sg_test_signs(sg_test *out, sg_dim n, const double *x, const double *y, int n_permutations, uint64_t seed,
                        sg_error *err) SG_MUST_CHECK;

/* 95 % interval of a share, of which n_right of n were seen (Wilson 1927). */
void sg_stats_wilson(sg_dim n_right, sg_dim n, double *low, double *high);

/* ---- distributions; errors below 1e-10 of the number, also in the tails ---- */

double sg_normal_cdf(double x);
double sg_normal_quantile(double p);              /* -inf at 0, inf at 1 */
double sg_log_gamma(double x);                    /* x > 0; to 1e-13 + 1e-15 of the number */
double sg_beta_inc(double a, double b, double x); /* regularised incomplete beta I_x(a,b); a, b > 0 */
double sg_t_cdf(double t, double df);
double sg_t_p(double t, double df); /* two-sided: P(|T| >= |t|) */
double sg_t_quantile(double p, double df);
double sg_kolmogorov_p(double d, sg_dim n); /* P(D >= d) for n numbers */

#ifdef __cplusplus
}
#endif
#endif
