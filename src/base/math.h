/* Mathematical functions of double that give the same bytes on every machine: with gcc, with clang, in WebAssembly.
 *
 *     double y = sg_math_tanh(x);
 *     sg_math_tanh_n(ys, xs, n); // the same bytes, several at a time
 *
 * Nothing here calls libm or looks at a table; each function is additions, products and divisions of IEEE 754 in an
 * order that is written down, and must be compiled as written (no contraction). Each is off by less than one unit in
 * the last place; math_test measures it. 0, -0, infinities, NaN and subnormal numbers come out as C says. The square
 * root is the processor's, which rounds correctly everywhere.
 *
 * Those that are defined in this header have no branches, so that compilers vectorise the loops they stand in. For f32
 * the double is rounded: (float)sg_math_log((double)x).
 *
 * Products of two doubles are kept exactly as sums of two (Dekker: "A floating-point technique for extending the
 * available precision", 1971). Constants come from scripts/math-constants. */
#ifndef SG_BASE_MATH_H
#define SG_BASE_MATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/math_constants.h"

static inline double sg_math_exp(double x);
static inline double sg_math_expm1(double x);
static inline double sg_math_log(double x);
static inline double sg_math_log1p(double x);
static inline double sg_math_tanh(double x);
static inline double sg_math_sigmoid(double x); /* 1 / (1 + e^-x), also where e^-x overflows */
double sg_math_sin(double x);
double sg_math_cos(double x);
void sg_math_sincos(double x, double *sine, double *cosine); /* for less than both */
double sg_math_pow(double x, double y);
static inline double sg_math_erf(double x);

static inline float sg_math_powf(float x, float y); /* what sg_math_pow costs is 5 times more */

/* y may be x; otherwise they do not overlap. */
void sg_math_exp_n(double *y, const double *x, size_t n);
void sg_math_log_n(double *y, const double *x, size_t n);
void sg_math_tanh_n(double *y, const double *x, size_t n);
void sg_math_sigmoid_n(double *y, const double *x, size_t n);

/* ---- pieces ---- */

static inline uint64_t sg_math_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double sg_math_double(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline double sg_math_abs(double x)
{
    return sg_math_double(sg_math_bits(x) & INT64_MAX);
}

#define SG_MATH_INF sg_math_double(0x7FF0000000000000u)
#define SG_MATH_NAN sg_math_double(0x7FF8000000000000u)

/* |x| with the sign of `sign` */
static inline double sg_math_sign(double x, double sign)
{
    return sg_math_double((sg_math_bits(x) & INT64_MAX) | (sg_math_bits(sign) & ~(uint64_t)INT64_MAX));
}

/* Adding this rounds to a whole number, which the low bits of the sum then hold. */
#define SG_MATH_WHOLE 0x1.8p52

/* 2^n, n being `sum` - SG_MATH_WHOLE, for -1022 <= n <= 1023. */
static inline double sg_math_power(double sum)
{
    return sg_math_double((sg_math_bits(sum) + 1023) << 52);
}

/* The polynomial of a name and degree at x, and its powers x2, x4, x8: pairs first, so that they do not wait for each
 * other. */
#define SG_POLY_1(P, A, B, x)                   (SG_##P##_##A + SG_##P##_##B * (x))
#define SG_POLY_3(P, A, B, C, D, x)             (SG_POLY_1(P, A, B, x) + SG_POLY_1(P, C, D, x) * x##2)
#define SG_POLY_7(P, A, B, C, D, E, F, G, H, x) (SG_POLY_3(P, A, B, C, D, x) + SG_POLY_3(P, E, F, G, H, x) * x##4)

/* e^x = 2^n (1 + (high + low)): what is left of x is at most ln 2 / 2, and what is left of its own rounding joins the
 * polynomial's small terms. `whole` is n + SG_MATH_WHOLE. x lies in -746 to 710 or is NaN. */
static inline void sg_math_reduce(double x, double *high, double *low, double *whole)
{
    const double sum = x * SG_LOG2E + SG_MATH_WHOLE, n = sum - SG_MATH_WHOLE;
    const double near = x - n * SG_LN2_0, rest = n * SG_LN2_1; /* the product is exact, and so is the difference */
    const double r = near - rest, lost = (near - r) - rest;
    const double r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const double q = SG_POLY_7(EXP, 0, 1, 2, 3, 4, 5, 6, 7, r) + SG_POLY_1(EXP, 8, 9, r) * r8;

    *high = r;
    *low = lost + (0.5 * r2 + r2 * r * q);
    *whole = sum;
}

/* x * 2^n in two steps, n from -1100 to 1100: only the second can leave the normal numbers. */
static inline double sg_math_scale(double x, double whole)
{
    const double n = whole - SG_MATH_WHOLE, half = n * 0.5 + SG_MATH_WHOLE, other = n - (half - SG_MATH_WHOLE);
    return x * sg_math_power(half) * sg_math_power(other + SG_MATH_WHOLE);
}

/* (n + m) / (d + e), m and e being small parts of n and d: the quotient of the large ones in its upper half alone, of
 * which the product with d is exact once d is cut in two, and then what remains. */
static inline double sg_math_divide(double n, double m, double d, double e)
{
    const uint64_t upper = ~(uint64_t)0 << 27;
    const double inverse = 1.0 / d;
    const double q = sg_math_double(sg_math_bits(n * inverse) & upper), d1 = sg_math_double(sg_math_bits(d) & upper);
    const double remains = ((n - q * d1) - q * (d - d1)) + (m - q * e);
    return q + remains * inverse;
}

/* ---- functions ---- */

static inline double sg_math_exp(double x)
{
    const double low = x < -746.0 ? -746.0 : x, c = low > 710.0 ? 710.0 : low; /* NaN passes */
    double r, rest, whole;
    sg_math_reduce(c, &r, &rest, &whole);
    const double y = 1.0 + r, lost = r - (y - 1.0);
    return sg_math_scale(y + (lost + rest), whole);
}

/* e^x - 1 as half of it, in two parts, so that it does not overflow before e^x does; x in -40 to 710 or NaN. */
static inline void sg_math_half_expm1(double x, double *large, double *small)
{
    double r, rest, whole;
    sg_math_reduce(x, &r, &rest, &whole);
    const double power = sg_math_power(whole - 1.0), most = power - 0.5, lost = (power - most) - 0.5;
    *large = most + power * r; /* most is 0, or more than what is added */
    *small = (power * r - (*large - most)) + (lost + power * rest);
}

static inline double sg_math_expm1(double x)
{
    const double low = x < -40.0 ? -40.0 : x, c = low > 710.0 ? 710.0 : low;
    double large, small;
    sg_math_half_expm1(c, &large, &small);
    const double y = 2.0 * (large + small);
    return sg_math_abs(x) < 0x1p-54 ? x : y;
}

/* e^2a - 1 over e^2a + 1, with a = |x|, all of it in two parts */
static inline double sg_math_tanh(double x)
{
    const double a = sg_math_abs(x), c = a > 22.0 ? 22.0 : a; /* 1 - tanh 22 is 2e-19 */
    double large, small;
    sg_math_half_expm1(2.0 * c, &large, &small);
    const double n = large + small, m = small - (n - large); /* half of e^2a - 1 */
    const double d = n + 1.0, back = d - n, e = ((n - (d - back)) + (1.0 - back)) + m;
    const double y = sg_math_divide(n, m, d, e);
    return sg_math_sign(a < 0x1p-28 ? a : y, x);
}

/* With e = e^-|x|: 1 / (1 + e), or e / (1 + e) left of 0. */
static inline double sg_math_sigmoid(double x)
{
    const double a = -sg_math_abs(x), c = a < -746.0 ? -746.0 : a;
    double r, rest, whole;
    sg_math_reduce(c, &r, &rest, &whole);
    const double one = 1.0 + r, tail = (r - (one - 1.0)) + rest, p = one + tail, lost = tail - (p - one);
    const double least = -60.0 + SG_MATH_WHOLE, shown = whole < least ? least : whole, power = sg_math_power(shown);
    const double e = power * p, d = 1.0 + e, d_low = (e - (d - 1.0)) + power * lost;
    const double right = sg_math_divide(1.0, 0.0, d, d_low);
    /* Left of -41 the divisor is 1. */
    const double ratio = sg_math_divide(p, lost, d, d_low), far = sg_math_scale(p + lost, whole);
    const double left = c < -41.0 ? far : power * ratio;
    return x < 0.0 ? left : right;
}

/* x = 2^k m with m from sqrt(1/2) to sqrt(2), as k and f = m - 1. x is positive and normal. */
static inline double sg_math_exponent(double x, double *f)
{
    const uint64_t bits = sg_math_bits(x), root = 0x3FE6A09E667F3BCDu; /* of 1/2 */
    const uint64_t above = bits - root + ((uint64_t)1023 << 52);       /* its exponent is k + 1023 */
    const double k = sg_math_double((above >> 52) | 0x4330000000000000u) - (0x1p52 + 1023.0);
    *f = sg_math_double(bits - ((above >> 52) << 52) + ((uint64_t)1023 << 52)) - 1.0;
    return k;
}

/* log(1 + f) + k ln 2 + c, c being small: log(1 + f) is 2 atanh(s) with s = f / (2 + f), which is f - f^2 / 2 and terms
 * that are smaller still. */
static inline double sg_math_log_of(double f, double k, double c)
{
    const double s = f / (2.0 + f), z = s * s, z2 = z * z, z4 = z2 * z2;
    const double p = SG_POLY_7(LOG, 0, 1, 2, 3, 4, 5, 6, 7, z), half = 0.5 * f * f;
    const double small = s * (half + z * p) + (c + k * SG_LN2_1);
    const double large = k * SG_LN2_0;
    /* large + f in two parts: large is 0 or the larger one. */
    const double sum = large + f, lost = f - (sum - large);
    const double y = sum - half, lost_too = (sum - y) - half;
    return y + (small + (lost + lost_too));
}

static inline double sg_math_log(double x)
{
    const double up = x * 0x1p54, n = x < 0x1p-1022 ? up : x, shift = x < 0x1p-1022 ? 54.0 : 0.0;
    double f;
    const double k = sg_math_exponent(n, &f) - shift;
    const double y = sg_math_log_of(f, k, 0.0);
    const double inf = SG_MATH_INF, nan = SG_MATH_NAN;
    const double ended = x < inf ? y : x; /* inf and NaN stay */
    return x > 0.0 ? ended : x == 0.0 ? -inf : x < 0.0 ? nan : x;
}

static inline double sg_math_log1p(double x)
{
    const double u = 1.0 + x, back = u - x, lost = (x - (u - back)) + (1.0 - back); /* u + lost is 1 + x */
    double f;
    const double k = sg_math_exponent(u, &f);
    const double near = sg_math_log_of(x, 0.0, 0.0), far = sg_math_log_of(f, k, lost / u);
    const double y = k == 0.0 ? near : far;
    const double inf = SG_MATH_INF, nan = SG_MATH_NAN;
    const double some = sg_math_abs(x) < 0x1p-54 ? x : y;
    const double ended = x < inf ? some : x;
    return x > -1.0 ? ended : x == -1.0 ? -inf : x < -1.0 ? nan : x;
}

static inline double sg_math_erf(double x)
{
    const double a = sg_math_abs(x), c = a > 6.0 ? 6.0 : a; /* 1 - erf 6 is 2e-17 */
    const double z = c * c, z2 = z * z, z4 = z2 * z2, z8 = z4 * z4;
    const double rest = SG_POLY_7(ERF, 2, 3, 4, 5, 6, 7, 8, 9, z) + (SG_POLY_1(ERF, 10, 11, z) + SG_ERF_12 * z2) * z8;
    const double near = c + c * (SG_ERF_0 + z * (SG_ERF_1 + z * rest));
    const double d = c - 1.0, d2 = d * d, d4 = d2 * d2, d8 = d4 * d4;
    const double bend =
        SG_POLY_7(ERF_1, 1, 2, 3, 4, 5, 6, 7, 8, d) +
        (SG_POLY_3(ERF_1, 9, 10, 11, 12, d) + (SG_POLY_1(ERF_1, 13, 14, d) + SG_ERF_1_15 * d2) * d4) * d8;
    const double slope = SG_ERF_1_0 + d * bend;
    const double middle = SG_ERF_OF_1_0 + (SG_ERF_OF_1_1 + d * slope);
    const double t = (c - 2.5) / (c + 2.5), t2 = t * t, t4 = t2 * t2, t8 = t4 * t4;
    const double tail =
        SG_POLY_7(ERFC, 2, 3, 4, 5, 6, 7, 8, 9, t) + (SG_POLY_3(ERFC, 10, 11, 12, 13, t) + SG_ERFC_14 * t4) * t8;
    const double p = SG_ERFC_0 + t * (SG_ERFC_1 + t * tail);
    /* e^-z with what the square lost. */
    const double c1 = sg_math_double(sg_math_bits(c) & ~(uint64_t)0 << 27), c2 = c - c1;
    const double z_lost = ((c1 * c1 - z) + 2.0 * c1 * c2) + c2 * c2, e = sg_math_exp(-z);
    const double far = 1.0 - (e - e * z_lost) * p;
    return sg_math_sign(a < 0.75 ? near : a < 1.25 ? middle : far, x);
}

static inline float sg_math_powf(float x, float y)
{
    const double a = sg_math_abs((double)x), b = sg_math_abs((double)y);
    const double size =
        sg_math_exp((double)y * sg_math_log(a)); /* off by 2^-45 of itself at most, before it is rounded */
    const double power = a == 1.0 || b == 0.0 ? 1.0 : size;
    const double sum = b + 0x1p52;
    const int whole = sum - 0x1p52 == b, odd = whole && (sg_math_bits(sum) & 1);
    const int negative = (int)(sg_math_bits((double)x) >> 63), defined = whole || a == 0.0 || a == SG_MATH_INF;
    const double wrong = x < 0.0f && !defined ? SG_MATH_NAN : power;
    const double some = x != x || y != y ? (double)x + (double)y : wrong;
    const double one = x == 1.0f || y == 0.0f ? 1.0 : some;
    return (float)(negative && odd ? -one : one);
}

#endif
