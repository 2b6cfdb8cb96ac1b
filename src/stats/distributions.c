/* Distributions: each by the expansion that converges where its argument lies. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/statistics.h"

#define SQRT_HALF         0.70710678118654752440
#define ONE_OVER_SQRT_2PI 0.39894228040143267794
#define HALF_LOG_2PI      0.91893853320467274178

/* ---- normal ---- */

/* P(X < -x) for x > 2: the density over Laplace's continued fraction x + 1/(x + 2/(x + 3/...)), from below. */
static double normal_tail(double x)
{
    double f = x;
    for (int k = 120; k >= 1; k--)
        f = x + k / f;
    return ONE_OVER_SQRT_2PI * sg_math_exp(-0.5 * x * x) / f;
}

double sg_normal_cdf(double x)
{
    if (isnan(x))
        return x;
    if (x < -2)
        return x < -40 ? 0 : normal_tail(-x);
    if (x > 2)
        return x > 40 ? 1 : 1 - normal_tail(x);
    return 0.5 + 0.5 * sg_math_erf(x * SQRT_HALF);
}

/* A rational approximation (Abramowitz & Stegun 26.2.23, to 4.5e-4), then steps of Halley's method, each of which makes
 * three digits of one. All in the lower half, where the tail has all its digits. */
double sg_normal_quantile(double p)
{
    if (!(p >= 0 && p <= 1))
        return nan("");
    if (p == 0 || p == 1)
        return p == 0 ? -(double)INFINITY : (double)INFINITY;
    const double low = p < 0.5 ? p : 1 - p, t = sqrt(-2 * sg_math_log(low));
    double x = -(t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))));
    for (int k = 0; k < 4; k++) {
        const double slope = ONE_OVER_SQRT_2PI * sg_math_exp(-0.5 * x * x);
        const double step = slope > 0 ? (sg_normal_cdf(x) - low) / slope : 0;
        x -= step / (1 + 0.5 * x * step);
    }
    return p < 0.5 ? x : -x;
}

/* ---- gamma and beta ---- */

/* log Gamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + rest(x), by Stirling's series from 12 on, where its eighth term
 * is below 1e-17; below that by x Gamma(x) = Gamma(x + 1). */
static double stirling_rest(double x)
{
    static const double c[] = {1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156};
    double product = 1, series = 0, up = x;
    while (up < 12)
        product *= up++;
    const double y = 1 / (up * up);
    for (size_t k = SG_COUNT_OF(c); k-- > 0;)
        series = series * y + c[k];
    series /= up;
    if (up == x)
        return series;
    return series + ((up - 0.5) * sg_math_log(up) - up) - ((x - 0.5) * sg_math_log(x) - x) - sg_math_log(product);
}

double sg_log_gamma(double x)
{
    if (!(x > 0))
        return nan("");
    return (x - 0.5) * sg_math_log(x) - x + HALF_LOG_2PI + stirling_rest(x);
}

/* The continued fraction of I_x(a,b) (DLMF 8.17.22), evaluated from above by Lentz's method; converges fast for x below
 * (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (sg_math_abs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m < 100000; m++) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (sg_math_abs(d) < tiny ? tiny : d);
        c = sg_math_abs(c) < tiny ? tiny : c;
        f *= d * c;
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (sg_math_abs(d) < tiny ? tiny : d);
        c = sg_math_abs(c) < tiny ? tiny : c;
        const double step = d * c;
        f *= step;
        if (sg_math_abs(step - 1) < 1e-15)
            break;
    }
    return f;
}

/* x and 1 - x are both given, so that neither loses digits. */
static double beta_of(double a, double b, double x, double rest)
{
    if (!(a > 0 && b > 0 && x >= 0 && x <= 1))
        return nan("");
    if (x == 0 || rest == 0)
        return x == 0 ? 0 : 1;
    /* What is large in the logarithms of the three gammas cancels beforehand. */
    const double sum = a + b;
    const double front = sg_math_exp(a * sg_math_log(x * sum / a) + b * sg_math_log(rest * sum / b) +
                                     stirling_rest(sum) - stirling_rest(a) - stirling_rest(b) - HALF_LOG_2PI) *
                         sqrt(a * b / sum);
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a : 1 - front * beta_fraction(b, a, rest) / b;
}

double sg_beta_inc(double a, double b, double x)
{
    return beta_of(a, b, x, 1 - x);
}

/* ---- Student's t ---- */

double sg_t_p(double t, double df)
{
    if (isnan(t) || !(df > 0))
        return nan("");
    if (isinf(t))
        return 0;
    const double squared = t * t, whole = df + squared;
    return isinf(whole) ? 2 * sg_normal_cdf(-sg_math_abs(t)) : beta_of(df / 2, 0.5, df / whole, squared / whole);
}

double sg_t_cdf(double t, double df)
{
    const double p = sg_t_p(t, df);
    return t < 0 ? p / 2 : 1 - p / 2;
}

/* Bisection on the tail, in the lower half. */
double sg_t_quantile(double p, double df)
{
    if (!(p >= 0 && p <= 1 && df > 0))
        return nan("");
    if (p == 0 || p == 1)
        return p == 0 ? -(double)INFINITY : (double)INFINITY;
    if (p == 0.5)
        return 0;
    const double low = p < 0.5 ? p : 1 - p;
    double near = 0, far = 1;
    while (sg_t_p(far, df) / 2 > low && far < 1e300)
        far *= 2;
    for (int k = 0; k < 200 && far - near > 1e-15 * far; k++) {
        const double mid = 0.5 * (near + far);
        if (sg_t_p(mid, df) / 2 > low)
            near = mid;
        else
            far = mid;
    }
    return p < 0.5 ? -far : far;
}

/* ---- Kolmogorov's D ---- */

/* c = a b, [m,m]. Matrices here have at most some tens of rows. */
static void multiply(double *c, const double *a, const double *b, int m)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++) {
            double sum = 0;
            for (int k = 0; k < m; k++)
                sum += a[i * m + k] * b[k * m + j];
            c[i * m + j] = sum;
        }
}

/* Where numbers grow beyond 1e140 a power of ten is kept aside. */
static void keep_small(double *a, int m, int *exponent)
{
    if (a[(m / 2) * m + m / 2] > 1e140) {
        for (int i = 0; i < m * m; i++)
            a[i] *= 1e-140;
        *exponent += 140;
    }
}

/* P(D < d) as an entry of the n-th power of a matrix H (Marsaglia, Tsang & Wang 2003, after Durbin 1973), NaN where
 * there is no memory for it. */
static double durbin(double d, int n)
{
    const int k = (int)(n * d) + 1, m = 2 * k - 1;
    const double h = k - n * d;
    const size_t size = (size_t)m * (size_t)m;
    double *room = calloc(4 * size, sizeof *room), p = nan("");
    if (!room)
        return p;
    double *base = room, *power = room + size, *product = room + 2 * size;
    int base_exponent = 0, exponent = 0;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++)
            base[i * m + j] = i - j + 1 < 0 ? 0 : 1;
    for (int i = 0; i < m; i++) {
        base[i * m] -= sg_math_pow(h, i + 1);
        base[(m - 1) * m + i] -= sg_math_pow(h, m - i);
    }
    base[(m - 1) * m] += 2 * h - 1 > 0 ? sg_math_pow(2 * h - 1, m) : 0;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++)
            for (int g = 1; g <= i - j + 1; g++)
                base[i * m + j] /= g;
    for (int i = 0; i < m; i++)
        power[i * m + i] = 1;
    for (int left = n; left > 0; left /= 2) {
        if (left % 2) {
            multiply(product, power, base, m);
            memcpy(power, product, size * sizeof *power);
            exponent += base_exponent;
            keep_small(power, m, &exponent);
        }
        multiply(product, base, base, m);
        memcpy(base, product, size * sizeof *base);
        base_exponent *= 2;
        keep_small(base, m, &base_exponent);
    }
    p = power[(k - 1) * m + k - 1];
    for (int i = 1; i <= n; i++) {
        p *= (double)i / n;
        if (p < 1e-140) {
            p *= 1e140;
            exponent -= 140;
        }
    }
    p *= sg_math_pow(10, exponent);
    free(room);
    return p;
}

double sg_kolmogorov_p(double d, sg_dim n)
{
    if (n < 1 || isnan(d))
        return nan("");
    if (d <= 0.5 / (double)n || d >= 1)
        return d >= 1 ? 0 : 1;
    const double s = d * d * (double)n, root = sqrt((double)n);
    if (n <= 500 && (s > 7.24 || (s > 3.76 && n > 99))) /* seven digits, as its authors say */
        return 2 * sg_math_exp(-(2.000071 + 0.331 / root + 1.409 / (double)n) * s);
    if (n <= 500)
        return 1 - durbin(d, (int)n);
    const double l = (root + 0.12 + 0.11 / root) * d;
    double p = 0;
    if (l < 0.2)
        return 1;
    for (int k = 1; k <= 100; k++)
        p += (k % 2 ? 2 : -2) * sg_math_exp(-2.0 * k * k * l * l);
    return SG_MIN(SG_MAX(p, 0), 1);
}
