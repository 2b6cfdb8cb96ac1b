/* Two numbers side by side, and the activations of many numbers. Lanes never mix but where it is written, so a build
 * gives the same bytes whatever its registers are.
 *
 * Each activation comes twice. The exact one gives fdlibm's bits (play_math.h), which both ways of its expm1 need two
 * quotients for. The quick one is as good, but other: about 2 units in the last place, for half the time. */
#ifndef SG_PLAY_LANES_H
#define SG_PLAY_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "play/play_math.h"

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__SSE4_1__)
#include <smmintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef double v2 __attribute__((vector_size(16)));
typedef int64_t v2i __attribute__((vector_size(16)));

static inline v2 v2_load(const double *p)
{
    v2 x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline void v2_store(double *p, v2 x)
{
    memcpy(p, &x, sizeof x);
}

static inline v2 v2_of(double x)
{
    return (v2){x, x};
}

static inline v2i v2_bits(v2 x)
{
    return (v2i)x;
}

static inline v2 v2_masked(v2i mask, v2 x)
{
    return (v2)(mask & (v2i)x);
}

static inline v2 v2_choose(v2i mask, v2 a, v2 b)
{
#if defined(__wasm_simd128__)
    return (v2)wasm_v128_bitselect((v128_t)a, (v128_t)b, (v128_t)mask);
#elif defined(__SSE4_1__)
    return _mm_blendv_pd(b, a, (__m128d)mask);
#else
    return (v2)((mask & (v2i)a) | (~mask & (v2i)b));
#endif
}

static inline int v2_any(v2i mask)
{
#if defined(__wasm_simd128__)
    return wasm_v128_any_true((v128_t)mask);
#elif defined(__SSE2__)
    return _mm_movemask_pd((__m128d)mask) != 0;
#else
    return (mask[0] | mask[1]) != 0;
#endif
}

/* The least of both; NaN in x stays, since it is neither below nor above anything. */
static inline v2 v2_at_most(v2 x, double most)
{
    const v2 high = v2_of(most);
#if defined(__wasm_simd128__)
    return (v2)wasm_f64x2_pmin((v128_t)x, (v128_t)high);
#elif defined(__SSE2__)
    return _mm_min_pd(high, x);
#else
    return v2_choose(high < x, high, x);
#endif
}

static inline v2 v2_at_least(v2 x, double least)
{
    const v2 low = v2_of(least);
#if defined(__wasm_simd128__)
    return (v2)wasm_f64x2_pmax((v128_t)x, (v128_t)low);
#elif defined(__SSE2__)
    return _mm_max_pd(low, x);
#else
    return v2_choose(low > x, low, x);
#endif
}

static inline v2 v2_trunc(v2 x)
{
#if defined(__wasm_simd128__)
    return (v2)wasm_f64x2_trunc((v128_t)x);
#elif defined(__SSE4_1__)
    return _mm_round_pd(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#else
    return (v2){trunc(x[0]), trunc(x[1])};
#endif
}

/* 2^k for whole k of moderate size: added to this, they come to lie in the low bits. */
static inline v2i v2_power_bits(v2 k)
{
    return (v2_bits(k + v2_of(0x1.8p52)) << 52) + 0x3FF0000000000000;
}

static inline v2 v2_relu(v2 x)
{
    return v2_at_least(x, 0);
}

/* ---- fdlibm's ---- */

/* tanh|x| is 1 - 2/(t + 2) with t = expm1(2|x|) from 1 on, and -t/(t + 2) with t = expm1(-2|x|) below. */
static inline v2 v2_tanh_exact(v2 x)
{
    const v2i sign = {INT64_MIN, INT64_MIN};
    const v2 a = v2_at_most((v2)(v2_bits(x) & ~sign), 22); /* from where on it is 1 */
    const v2i large = a >= v2_of(1), turn = ~large & sign;

    /* expm1 of y = 2a or -2a: y = k ln 2 + r, where c is what rounding r took away */
    const v2 y = (v2)(v2_bits(a + a) ^ turn);
    const v2 whole = v2_trunc(v2_of(1.44269504088896338700e+00) * y + (v2)(v2_bits(v2_of(0.5)) | turn));
    const v2 k =
        v2_masked(a >= v2_of(0x1.62e43p-3), whole); /* half of the first number above ln(2)/2 in its upper word */
    const v2 high = y - k * v2_of(6.93147180369123816490e-01), low = k * v2_of(1.90821492927058770002e-10);
    const v2 r = high - low, c = (high - r) - low;
    const v2 half = v2_of(0.5) * r, hxs = r * half;
    v2 q = v2_of(4.00821782732936239552e-06) + hxs * v2_of(-2.01099218183624371326e-07);
    q = v2_of(-7.93650757867487942473e-05) + hxs * q;
    q = v2_of(1.58730158725481460165e-03) + hxs * q;
    q = v2_of(-3.33333333333331316428e-02) + hxs * q;
    q = v2_of(1) + hxs * q;
    const v2 t = v2_of(3) - q * half;
    const v2 e = hxs * ((q - t) / (v2_of(6) - r * t));
    const v2 error = (r * (e - c) - c) - hxs, rest = r - error;

    /* fdlibm adds 1 - 2^-k, 1 or nothing before it scales by 2^k, and takes away nothing, 1/2 or 1 thereafter. */
    const v2i power = v2_power_bits(k);
    const v2 scale = (v2)power, inverse = (v2)(2 * 0x3FF0000000000000 - power);
    const v2i far = k < v2_of(-1.5);
    const v2 before = v2_choose(large, v2_of(1) - inverse, v2_masked(far, v2_of(1)));
    const v2 after = v2_masked(~large, v2_choose(far, v2_of(1), v2_of(1) - scale));
    v2 m = (before + rest) * scale - after;
    const v2i odd = (a < v2_of(0x1p-28)) | (k > v2_of(19.5));
    if (__builtin_expect(v2_any(odd), 0))
        m = v2_choose(k > v2_of(19.5), ((r - (error + inverse)) + v2_of(1)) * scale, m);

    const v2 ratio = v2_choose(large, v2_of(2), (v2)(v2_bits(m) ^ sign)) / (m + v2_of(2));
    v2 z = v2_masked(large, v2_of(1)) + (v2)(v2_bits(ratio) ^ (large & sign));
    if (__builtin_expect(v2_any(odd), 0))
        z = v2_choose(a < v2_of(0x1p-28), a, z);
    return (v2)(v2_bits(z) | (v2_bits(x) & sign));
}

static inline v2 v2_sigmoid_exact(v2 x)
{
    return (v2){1 / (1 + play_exp(-x[0])), 1 / (1 + play_exp(-x[1]))};
}

/* ---- quick ones ----
 * With x = k ln(2)/2 + r, s = 2^k and h = tanh(r) it is e^(2x) = s (1 + h) / (1 - h), so either is one quotient of sums
 * of s and h. h is r + r^3 P(r^2), where P is the polynomial of degree 5 with the least greatest error of h on |r| <=
 * ln(2)/4: 4e-18 of h. */

static inline void v2_halves(v2 x, v2 *s, v2 *h)
{
    const v2 whole = v2_of(0x1.8p52);
    const v2 shifted = x * v2_of(0x1.71547652b82fep+1) + whole; /* the nearest whole number, in the low bits */
    const v2 k = shifted - whole;
    /* ln(2)/2 in two parts, of which the first times any k is exact. */
    const v2 r = (x - k * v2_of(0x1.62e42fefa3000p-2)) - k * v2_of(0x1.3de6af278ece6p-43);
    const v2 z = r * r;
    /* Not from one end to the other: three parts that do not wait for each other. */
    const v2 z2 = z * z;
    const v2 low = v2_of(-0x1.55555555554bdp-2) + z * v2_of(0x1.11111110e0c6cp-3);
    const v2 middle = v2_of(-0x1.ba1ba1172cd45p-5) + z * v2_of(0x1.664eca0b28d35p-6);
    const v2 high = v2_of(-0x1.223c7fab05066p-7) + z * v2_of(0x1.c385cb8e867fcp-9);
    const v2 p = low + z2 * (middle + z2 * high);
    *h = r + r * z * p;
    *s = (v2)((v2_bits(shifted) << 52) + 0x3FF0000000000000);
}

static inline v2 v2_tanh_quick(v2 x)
{
    v2 s, h;
    v2_halves(v2_at_least(v2_at_most(x, 20), -20), &s, &h); /* beyond 20 it is 1 to the last bit */
    const v2 less = s - v2_of(1), more = s + v2_of(1);
    return (less + h * more) / (more + h * less);
}

static inline v2 v2_sigmoid_quick(v2 x)
{
    v2 s, h;
    v2_halves(v2_at_least(v2_at_most(x * v2_of(0.5), 350), -350), &s, &h);
    const v2 up = s + s * h;
    return up / (up + (v2_of(1) - h));
}

#endif
