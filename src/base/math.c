/* Sine and cosine, powers, and the loops over arrays. */
#include "base/math.h"

/* ---- two doubles for one number ---- */

typedef struct two {
    double high, low;
} two;

static two fast_sum(double a, double b) /* |a| >= |b|, or a is 0 */
{
    const double sum = a + b;
    return (two){sum, b - (sum - a)};
}

static two sum_of(double a, double b)
{
    const double sum = a + b, back = sum - a;
    return (two){sum, (a - (sum - back)) + (b - back)};
}

#ifdef __FMA__
static two product(double a, double b) /* the same numbers, since what is lost is itself a double */
{
    const double p = a * b;
    return (two){p, __builtin_fma(a, b, -p)};
}
#else
/* A double as two with 26 bits each: products of such are exact. */
static two split(double x)
{
    const double big = x * 134217729.0, high = big - (big - x); /* 2^27 + 1 */
    return (two){high, x - high};
}

static two product(double a, double b)
{
    const two x = split(a), y = split(b);
    const double p = a * b;
    return (two){p, ((x.high * y.high - p) + x.high * y.low + x.low * y.high) + x.low * y.low};
}
#endif

static two times(two a, two b)
{
    const two p = product(a.high, b.high);
    return fast_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

static two plus(two a, two b)
{
    const two s = sum_of(a.high, b.high);
    return fast_sum(s.high, s.low + (a.low + b.low));
}

/* ---- sine and cosine ---- */

/* x = n pi / 2 + the result, for |x| up to 2^20: pi / 2 in parts that are exact times n. The nearest that a double
 * comes to a multiple of pi / 2 is some 2^-60, and what is neglected is below 2^-130. */
static two quarter_near(double x, int *n)
{
    const double sum = x * SG_TWO_OVER_PI + SG_MATH_WHOLE, k = sum - SG_MATH_WHOLE;
    const two a = sum_of(x - k * SG_PI_2_0, -(k * SG_PI_2_1)), b = sum_of(a.high, -(k * SG_PI_2_2));
    *n = (int)(sg_math_bits(sum) & 3);
    return fast_sum(b.high, (a.low + b.low) - k * SG_PI_2_3);
}

/* The same for any x: x * 2 / pi as whole numbers, of which only what is below 4 counts, as far as 192 bits behind the
 * point (Payne & Hanek: "Radian reduction for trigonometric functions", 1983). x is positive. */
static two quarter_far(double x, int *n)
{
    static const uint32_t two_over_pi[SG_TWO_OVER_PI_WORDS] = {SG_TWO_OVER_PI_BITS};
    enum { WORDS = 9 };
    const uint64_t bits = sg_math_bits(x), mantissa = (bits & 0xFFFFFFFFFFFFFu) | 0x10000000000000u;
    const int exponent = (int)(bits >> 52) - 1075; /* x = mantissa * 2^exponent */
    /* Words before `first` only give multiples of 4. */
    const int first = exponent < 2 ? 0 : (exponent - 2) / 32;
    uint32_t p[WORDS + 2] = {0}; /* the product, most significant word first */
    for (int part = 0; part < 2; part++) {
        const uint64_t m = part == 0 ? mantissa & 0xFFFFFFFFu : mantissa >> 32;
        uint64_t carry = 0;
        for (int w = WORDS - 1; w >= 0; w--) {
            uint32_t *at = &p[w + 2 - part];
            const uint64_t t = m * two_over_pi[first + w] + *at + carry;
            *at = (uint32_t)t;
            carry = t >> 32;
        }
        p[1 - part] += (uint32_t)carry;
    }
    /* Word 0 of p weighs 2^32 times the first word's place; the point lies `point` bits behind p's first. */
    const int point = 64 + exponent - 32 * first;
    uint64_t f[4]; /* two whole bits, then 62 + 3 * 64 behind the point */
    for (int i = 0; i < 4; i++) {
        f[i] = 0;
        for (int b = 0; b < 64; b += 32) {
            const int at = point - 2 + 64 * i + b, w = at / 32, shift = at % 32;
            const uint64_t pair = ((uint64_t)(w < WORDS + 2 ? p[w] : 0) << 32) | (w + 1 < WORDS + 2 ? p[w + 1] : 0);
            f[i] = f[i] << 32 | (uint32_t)(pair << shift >> 32);
        }
    }
    int k = (int)(f[0] >> 62);
    f[0] &= (uint64_t)-1 >> 2;
    const int negative = (int)(f[0] >> 61); /* half or more: count from the next one */
    if (negative) {
        k++;
        for (int i = 0; i < 4; i++)
            f[i] = ~f[i];
        f[0] &= (uint64_t)-1 >> 2;
    }
    /* The first 106 bits that are not 0, as two doubles. */
    int zeros = 0;
    while (zeros < 128 && !(f[zeros / 64] >> (63 - zeros % 64) & 1))
        zeros++;
    uint64_t part[2];
    for (int i = 0; i < 2; i++) {
        const int at = zeros + 53 * i, w = at / 64, shift = at % 64;
        const uint64_t word = f[w] << shift | (shift ? f[w + 1] >> (64 - shift) : 0);
        part[i] = word >> 11;
    }
    const double unit = sg_math_double((uint64_t)(1023 - 51 - zeros) << 52); /* what the last of the first 53 weighs */
    const two fraction = {(double)part[0] * unit, (double)part[1] * unit * 0x1p-53};
    two r = times(fraction, (two){SG_HALF_PI_0, SG_HALF_PI_1});
    if (negative)
        r = (two){-r.high, -r.low};
    *n = k & 3;
    return r;
}

void sg_math_sincos(double x, double *sine, double *cosine)
{
    const double a = sg_math_abs(x);
    int n;

    if (!(a < SG_MATH_INF)) {
        *sine = *cosine = x - x;
        return;
    }
    two r = a <= 0x1p20 ? quarter_near(x, &n) : quarter_far(a, &n);
    if (a > 0x1p20 && x < 0) {
        r = (two){-r.high, -r.low};
        n = -n & 3;
    }
    const double y = r.high, z = y * y, z2 = z * z, z4 = z2 * z2;
    const double s = SG_SIN_0 + z * (SG_POLY_3(SIN, 1, 2, 3, 4, z) + SG_POLY_1(SIN, 5, 6, z) * z4);
    const double c = SG_POLY_3(COS, 0, 1, 2, 3, z) + (SG_POLY_1(COS, 4, 5, z) + SG_COS_6 * z2) * z4;
    const double half = 0.5 * z, one = 1.0 - half;
    const double s0 = a < 0x1p-27 ? x : y + (z * y * s + r.low * one);
    const double c0 = one + (((1.0 - one) - half) + (z2 * c - y * r.low));
    *sine = n == 0 ? s0 : n == 1 ? c0 : n == 2 ? -s0 : -c0;
    *cosine = n == 0 ? c0 : n == 1 ? -s0 : n == 2 ? -c0 : s0;
}

double sg_math_sin(double x)
{
    double s, c;
    sg_math_sincos(x, &s, &c);
    return s;
}

double sg_math_cos(double x)
{
    double s, c;
    sg_math_sincos(x, &s, &c);
    return c;
}

/* ---- powers ---- */

/* log x to some 2^-70 of itself, x positive and finite: m is divided by 1 or 1.5, so that s is at most 0.1 and all but
 * two terms of 2 atanh(s) are small enough for one double. */
static two log_of(double x)
{
    const int tiny = x < 0x1p-1022;
    double f;
    double k = sg_math_exponent(tiny ? x * 0x1p54 : x, &f) - (tiny ? 54 : 0), m = f + 1.0;
    if (m < 0.8660254037844386) {
        m *= 2.0;
        k -= 1.0;
    }
    const int above = m > 1.224744871391589;
    const double centre = above ? 1.5 : 1.0, n = m - centre;
    const two d = sum_of(m, centre);
    const double q = n / d.high;
    const two back = product(q, d.high);
    const two s = fast_sum(q, (((n - back.high) - back.low) - q * d.low) / d.high);
    const two z = times(s, s);
    const double y = z.high, y2 = y * y, y4 = y2 * y2;
    const double rest = y2 * SG_POLY_7(POW, 0, 1, 2, 3, 4, 5, 6, 7, y);
    const two third = times(z, (two){SG_THIRD_0, SG_THIRD_1});
    const two t = fast_sum(third.high, third.low + rest), u = plus((two){2.0, 0.0}, t);
    two l = times(s, u);
    if (above)
        l = plus((two){SG_LOG_1_5_0, SG_LOG_1_5_1}, l);
    const two ln2 = fast_sum(k * SG_LN2_0, k * SG_LN2_1);
    return plus(ln2, l);
}

static int is_whole(double y) /* 1: an even number, 2: an odd one, 0: neither */
{
    const double a = sg_math_abs(y);
    if (a >= 0x1p52)
        return a >= 0x1p53 ? 1 : 1 + (int)(sg_math_bits(a) & 1);
    return (a + 0x1p52) - 0x1p52 == a ? 1 + (int)(sg_math_bits(a + 0x1p52) & 1) : 0;
}

double sg_math_pow(double x, double y)
{
    const double a = sg_math_abs(x), b = sg_math_abs(y);

    if (x == 1.0 || y == 0.0)
        return 1.0;
    if (x != x || y != y)
        return x + y;
    const int whole = is_whole(y);
    const double sign = (sg_math_bits(x) >> 63) && whole == 2 ? -1.0 : 1.0;
    const int grows = (a > 1.0) == (y > 0.0);
    if (a == 1.0)
        return whole || b == SG_MATH_INF ? sign : SG_MATH_NAN;
    if (a == 0.0 || a == SG_MATH_INF || b == SG_MATH_INF)
        return (b == SG_MATH_INF ? 1.0 : sign) * (grows ? SG_MATH_INF : 0.0);
    if (x < 0.0 && !whole)
        return SG_MATH_NAN;
    if (b > 0x1p65) /* log a is at least 2^-54 */
        return sign * (grows ? SG_MATH_INF : 0.0);
    const two l = log_of(a);
    const double about = y * l.high;
    if (sg_math_abs(about) > 800.0)
        return sign * (grows ? SG_MATH_INF : 0.0);
    if (sg_math_abs(about) < 0x1p-60)
        return sign * (1.0 + about);
    const two e = times((two){y, 0.0}, l);
    const double c = e.high < -746.0 ? -746.0 : e.high > 710.0 ? 710.0 : e.high;
    double r, rest, power;
    sg_math_reduce(c, &r, &rest, &power);
    const two p = fast_sum(1.0, r);
    const double small = (p.low + rest) + e.low * (p.high + rest);
    return sign * sg_math_scale(p.high + small, power);
}

/* ---- arrays ---- */

#ifdef _OPENMP
#define SG_MATH_SIMD _Pragma("omp simd")
#elif defined(__clang__)
#define SG_MATH_SIMD _Pragma("clang loop vectorize(assume_safety)")
#else
#define SG_MATH_SIMD
#endif

#define ARRAY(name)                                                                                                    \
    void sg_math_##name##_n(double *y, const double *x, size_t n)                                                      \
    {                                                                                                                  \
        SG_MATH_SIMD                                                                                                   \
        for (size_t i = 0; i < n; i++)                                                                                 \
            y[i] = sg_math_##name(x[i]);                                                                               \
    }

ARRAY(exp)
ARRAY(log)
ARRAY(tanh)
ARRAY(sigmoid)
