/* e^x in f32 and what is made of it, written so that compilers vectorise the loops they stand in: reduced to
 * |r| <= ln 2 / 2 and a polynomial of degree 7. exp_test measures each against double: e^x is within 1 unit in the last
 * place, the others within 3. NaN stays NaN, overflow is inf. */
#ifndef SG_OPS_EXP_H
#define SG_OPS_EXP_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float sg_exp_power(int n) /* 2^n for -126 <= n <= 127 */
{
    const int32_t bits = (n + 127) * (1 << 23);
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

/* e^x = 2^*n (1 + result), for x in -104..89 or NaN. */
static inline float sg_exp_reduce(float x, int *n)
{
    const float whole = rintf(x * 1.44269504f);
    const float r =
        (x - whole * 0.693359375f) - whole * -2.12194440e-4f; /* ln 2 in two parts, the first exact times n */
    float p = 1.9841270e-4f;                                  /* Taylor: what is left out is below 6e-9 */
    p = p * r + 1.3888889e-3f;
    p = p * r + 8.3333333e-3f;
    p = p * r + 4.1666667e-2f;
    p = p * r + 1.6666667e-1f;
    p = p * r + 0.5f;
    *n = (int)(whole == whole ? whole : 0.0f);
    return p * r * r + r;
}

static inline float sg_expf(float x)
{
    /* Below -104 the result is 0, above 89 it is inf; the clamp lets NaN through. */
    const float low = x < -104.0f ? -104.0f : x, c = low > 89.0f ? 89.0f : low;
    int n;
    const float p = 1.0f + sg_exp_reduce(c, &n);
    const int half = n / 2; /* in two steps: 2^-150 is not a normal number */

    return p * sg_exp_power(half) * sg_exp_power(n - half);
}

/* e^x as softmax wants it, for x <= 0: what is below e^-86 is 0, and above e^88 inf. Less work than sg_expf. */
static inline float sg_expf_down(float x)
{
    const float low = x < -86.0f ? -86.0f : x, c = low > 88.0f ? 88.0f : low;
    const float whole = rintf(c * 1.44269504f);
    const float r = (c - whole * 0.693359375f) - whole * -2.12194440e-4f;
    float p = 1.3888889e-3f, e;
    p = p * r + 8.3333333e-3f;
    p = p * r + 4.1666667e-2f;
    p = p * r + 1.6666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits;
    memcpy(&bits, &p, sizeof bits);
    bits += (int)(whole == whole ? whole : 0.0f) * (1 << 23); /* p is near 1, and its exponent stays a normal one's */
    memcpy(&e, &bits, sizeof e);
    return x < -86.0f ? 0.0f : x > 88.0f ? INFINITY : e;
}

/* (e^2a - 1) / (e^2a + 1) with a = |x|; e^2a - 1 keeps its digits near 0. */
static inline float sg_tanhf(float x)
{
    const float a = fabsf(x), c = a > 10.0f ? 10.0f : a; /* 1 - tanh 10 is 4e-9 */
    int n;
    const float r = sg_exp_reduce(2.0f * c, &n), power = sg_exp_power(n);
    const float e = power * r + (power - 1.0f);

    return copysignf(e / (e + 2.0f), x);
}

/* log(1 + u) for 0 <= u <= 1, as 2 atanh(s) with s = u / (2 + u) <= 1/3: odd powers of s over their exponents. */
static inline float sg_log1pf_unit(float u)
{
    const float s = u / (2.0f + u), q = s * s;
    float p = 1.0f / 15;
    p = p * q + 1.0f / 13;
    p = p * q + 1.0f / 11;
    p = p * q + 1.0f / 9;
    p = p * q + 1.0f / 7;
    p = p * q + 1.0f / 5;
    p = p * q + 1.0f / 3;
    return 2.0f * (s + p * q * s);
}

/* log(1 + e^x) */
static inline float sg_softplusf(float x)
{
    return (x > 0.0f ? x : 0.0f) + sg_log1pf_unit(sg_expf(-fabsf(x)));
}

#endif
