/* sin, cos, log and exp as fdlibm computes them. Names of constants are those of its papers and sources. */
#include "play/play_math.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The sign, exponent and upper 20 bits of the fraction, by which fdlibm chooses its ways. */
static uint32_t high_word(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint32_t)(bits >> 32);
}

static double from_high_word(uint32_t high)
{
    const uint64_t bits = (uint64_t)high << 32;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double with_high_word(double x, uint32_t high)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits & 0xFFFFFFFF) | (uint64_t)high << 32;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 2^k for normal results */
static double power_of_two(int k)
{
    return from_high_word((uint32_t)(1023 + k) << 20);
}

static const double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;

/* ---- sin and cos ---- */

static double sin_near(double x, double tail, int has_tail)
{
    static const double s1 = -1.66666666666666324348e-01, s2 = 8.33333333332248946124e-03,
                        s3 = -1.98412698298579493134e-04, s4 = 2.75573137070700676789e-06,
                        s5 = -2.50507602534068634195e-08, s6 = 1.58969099521155010221e-10;
    if ((high_word(x) & 0x7FFFFFFF) < 0x3E400000)
        return x;
    const double z = x * x, v = z * x, r = s2 + z * (s3 + z * (s4 + z * (s5 + z * s6)));
    return has_tail ? x - ((z * (0.5 * tail - v * r) - tail) - v * s1) : x + v * (s1 + z * r);
}

static double cos_near(double x, double tail)
{
    static const double c1 = 4.16666666666666019037e-02, c2 = -1.38888888888741095749e-03,
                        c3 = 2.48015872894767294178e-05, c4 = -2.75573143513906633035e-07,
                        c5 = 2.08757232129817482790e-09, c6 = -1.13596475577881948265e-11;
    const uint32_t high = high_word(x) & 0x7FFFFFFF;
    if (high < 0x3E400000)
        return 1;
    const double z = x * x, r = z * (c1 + z * (c2 + z * (c3 + z * (c4 + z * (c5 + z * c6)))));
    if (high < 0x3FD33333)
        return 1 - (0.5 * z - (z * r - x * tail));
    const double part = high > 0x3FE90000 ? 0.28125 : from_high_word(high - 0x00200000); /* about x / 4 */
    return (1 - part) - ((0.5 * z - part) - (z * r - x * tail));
}

/* x - n pi/2 as y + tail; returns n modulo 4. */
static int reduce(double x, double *y, double *tail)
{
    static const double parts[3] = {1.57079632673412561417e+00, 6.07710050630396597660e-11, 2.02226624871116645580e-21},
                        rests[3] = {6.07710050650619224932e-11, 2.02226624879595063154e-21, 8.47842766036889956997e-32};
    const uint32_t high = high_word(x) & 0x7FFFFFFF;
    const double size = fabs(x);
    int n;
    if (high < 0x4002D97C) {                 /* below 3 pi/4 */
        const int more = high == 0x3FF921FB; /* near pi/2, where a second part is needed */
        double z = size - parts[0];
        n = 1;
        if (more)
            z -= parts[1];
        *y = z - rests[more];
        *tail = (z - *y) - rests[more];
    } else {
        n = (int)(size * 6.36619772367581382433e-01 + 0.5);
        double r = size - n * parts[0], w = n * rests[0];
        *y = r - w;
        if (n >= 32 || high == high_word(n * 1.57079632679489661923)) {
            static const int lost[2] = {16, 49}; /* bits, after which another part is taken away */
            for (int i = 0; i < 2 && (int)(high >> 20) - (int)((high_word(*y) >> 20) & 0x7FF) > lost[i]; i++) {
                const double t = r;
                w = n * parts[i + 1];
                r = t - w;
                w = n * rests[i + 1] - ((t - r) - w);
                *y = r - w;
            }
        }
        *tail = (r - *y) - w;
    }
    if (x < 0) {
        *y = -*y;
        *tail = -*tail;
        n = -n;
    }
    return n & 3;
}

static double turned(double x, int quarter)
{
    double y, tail;
    if (!(fabs(x) < 823549))
        x = fmod(x, 6.28318530717958647692); /* exact; only the period is rounded */
    if ((high_word(x) & 0x7FFFFFFF) <= 0x3FE921FB)
        return quarter ? cos_near(x, 0) : sin_near(x, 0, 0);
    switch ((reduce(x, &y, &tail) + quarter) & 3) {
    case 0:
        return sin_near(y, tail, 1);
    case 1:
        return cos_near(y, tail);
    case 2:
        return -sin_near(y, tail, 1);
    default:
        return -cos_near(y, tail);
    }
}

double play_sin(double x)
{
    return turned(x, 0);
}

double play_cos(double x)
{
    return turned(x, 1);
}

/* ---- log and exp ---- */

double play_log(double x)
{
    static const double l1 = 6.666666666666735130e-01, l2 = 3.999999999940941908e-01, l3 = 2.857142874366239149e-01,
                        l4 = 2.222219843214978396e-01, l5 = 1.818357216161805012e-01, l6 = 1.531383769920937332e-01,
                        l7 = 1.479819860511658591e-01;
    uint32_t high = high_word(x);
    int k = (int)(high >> 20) - 1023;
    high &= 0xFFFFF;
    const uint32_t up = (high + 0x95F64) & 0x100000; /* whether the fraction is nearer to 2, by sqrt(2) */
    const double f = with_high_word(x, high | (up ^ 0x3FF00000)) - 1;
    k += (int)(up >> 20);
    if ((0xFFFFF & (2 + high)) < 3) { /* |f| < 2^-20 */
        if (f == 0)
            return k * ln2_high + k * ln2_low;
        const double r = f * f * (0.5 - 0.33333333333333333 * f);
        return k ? k * ln2_high - ((r - k * ln2_low) - f) : f - r;
    }
    const double s = f / (2 + f), z = s * s, w = z * z;
    const double r = z * (l1 + w * (l3 + w * (l5 + w * l7))) + w * (l2 + w * (l4 + w * l6));
    if ((((int)high - 0x6147A) | (0x6B851 - (int)high)) > 0) {
        const double half = 0.5 * f * f;
        return k ? k * ln2_high - ((half - (s * (half + r) + k * ln2_low)) - f) : f - (half - s * (half + r));
    }
    return k ? k * ln2_high - ((s * (f - r) - k * ln2_low) - f) : f - s * (f - r);
}

double play_exp(double x)
{
    static const double p1 = 1.66666666666666019037e-01, p2 = -2.77777777770155933842e-03,
                        p3 = 6.61375632143793436117e-05, p4 = -1.65339022054652515390e-06,
                        p5 = 4.13813679705723846039e-08;
    const uint32_t high = high_word(x) & 0x7FFFFFFF;
    double above = 0, below = 0;
    int k = 0;
    if (!(x <= 7.09782712893383973096e+02))
        return x > 0 ? HUGE_VAL : x; /* too large, or NaN */
    if (x < -7.45133219101941108420e+02)
        return 0;
    if (high > 0x3FD62E42) {
        if (high < 0x3FF0A2B2) {
            if (x == 1)
                return 2.718281828459045235;
            k = x < 0 ? -1 : 1;
        } else {
            k = (int)(1.44269504088896338700e+00 * x + (x < 0 ? -0.5 : 0.5));
        }
        above = x - k * ln2_high;
        below = k * ln2_low;
        x = above - below;
    } else if (high < 0x3E300000) {
        return 1 + x;
    }
    const double t = x * x, c = x - t * (p1 + t * (p2 + t * (p3 + t * (p4 + t * p5))));
    if (k == 0)
        return 1 - ((x * c) / (c - 2) - x);
    const double y = 1 - ((below - (x * c) / (2 - c)) - above);
    if (k >= -1021)
        return k == 1024 ? y * 2 * 0x1p1023 : y * power_of_two(k);
    return y * power_of_two(k + 1000) * 0x1p-1000;
}
