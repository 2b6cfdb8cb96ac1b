/* Packed weights, unpacked and packed.
 *
 * Unpacking is arithmetic in f32, in one order, so that every machine gets the same numbers.  Packing looks for the
 * scale under which rounding to the nearest level costs the least squared error: some scales about the one that just
 * spans the numbers are tried, and for the levels that each gives, the best scale (and offset) is the solution of a
 * least squares problem of one or two unknowns.  A scale that is stored in fewer bits is rounded first and the levels
 * are chosen under the rounded one. */
#include "base/blocks.h"

#include <math.h>
#include <string.h>

const int8_t sg_iq4_nl_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* ---- unpacking ---- */

static void read_q8_0(float *to, const sg_block_q8_0 *b)
{
    const float d = sg_f16_to_f32(b->d);
    for (int i = 0; i < 32; i++)
        to[i] = d * (float)b->q[i];
}

static void read_q4_0(float *to, const sg_block_q4_0 *b)
{
    const float d = sg_f16_to_f32(b->d);
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)((b->q[i] & 15) - 8);
        to[i + 16] = d * (float)((b->q[i] >> 4) - 8);
    }
}

static void read_q4_1(float *to, const sg_block_q4_1 *b)
{
    const float d = sg_f16_to_f32(b->d), m = sg_f16_to_f32(b->m);
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)(b->q[i] & 15) + m;
        to[i + 16] = d * (float)(b->q[i] >> 4) + m;
    }
}

/* The fifth bit of number i, as 0 or 16. */
static int fifth(const uint8_t high[4], int i)
{
    return (high[i / 8] >> (i % 8) & 1) << 4;
}

static void read_q5_0(float *to, const sg_block_q5_0 *b)
{
    const float d = sg_f16_to_f32(b->d);
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)(((b->q[i] & 15) | fifth(b->high, i)) - 16);
        to[i + 16] = d * (float)(((b->q[i] >> 4) | fifth(b->high, i + 16)) - 16);
    }
}

static void read_q5_1(float *to, const sg_block_q5_1 *b)
{
    const float d = sg_f16_to_f32(b->d), m = sg_f16_to_f32(b->m);
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)((b->q[i] & 15) | fifth(b->high, i)) + m;
        to[i + 16] = d * (float)((b->q[i] >> 4) | fifth(b->high, i + 16)) + m;
    }
}

static void read_iq4_nl(float *to, const sg_block_iq4_nl *b)
{
    const float d = sg_f16_to_f32(b->d);
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)sg_iq4_nl_levels[b->q[i] & 15];
        to[i + 16] = d * (float)sg_iq4_nl_levels[b->q[i] >> 4];
    }
}

/* Scales and lows 0..3 are the low six bits of bytes 0..3 and 4..7. Those of groups 4..7 have their low four bits in
 * the halves of bytes 8..11 and their high two in the top of the bytes before. */
void sg_k_scales(const uint8_t packed[12], uint8_t scales[8], uint8_t lows[8])
{
    for (int g = 0; g < 4; g++) {
        scales[g] = packed[g] & 63;
        lows[g] = packed[g + 4] & 63;
        scales[g + 4] = (uint8_t)((packed[g + 8] & 15) | (packed[g] >> 6) << 4);
        lows[g + 4] = (uint8_t)(packed[g + 8] >> 4 | (packed[g + 4] >> 6) << 4);
    }
}

static void pack_k_scales(uint8_t packed[12], const uint8_t scales[8], const uint8_t lows[8])
{
    for (int g = 0; g < 4; g++) {
        packed[g] = (uint8_t)(scales[g] | (scales[g + 4] >> 4) << 6);
        packed[g + 4] = (uint8_t)(lows[g] | (lows[g + 4] >> 4) << 6);
        packed[g + 8] = (uint8_t)((scales[g + 4] & 15) | (lows[g + 4] & 15) << 4);
    }
}

static void read_q4_k(float *to, const sg_block_q4_k *b)
{
    const float d = sg_f16_to_f32(b->d), least = sg_f16_to_f32(b->least);
    uint8_t scales[8], lows[8];
    sg_k_scales(b->scales, scales, lows);
    for (int g = 0; g < 8; g++) {
        const float step = d * (float)scales[g], low = least * (float)lows[g];
        const uint8_t *q = b->q + g / 2 * 32;
        for (int i = 0; i < 32; i++)
            to[g * 32 + i] = step * (float)(q[i] >> g % 2 * 4 & 15) - low;
    }
}

static void read_q5_k(float *to, const sg_block_q5_k *b)
{
    const float d = sg_f16_to_f32(b->d), least = sg_f16_to_f32(b->least);
    uint8_t scales[8], lows[8];
    sg_k_scales(b->scales, scales, lows);
    for (int g = 0; g < 8; g++) {
        const float step = d * (float)scales[g], low = least * (float)lows[g];
        const uint8_t *q = b->q + g / 2 * 32;
        for (int i = 0; i < 32; i++)
            to[g * 32 + i] = step * (float)((q[i] >> g % 2 * 4 & 15) | (b->high[i] >> g & 1) << 4) - low;
    }
}

static void read_q6_k(float *to, const sg_block_q6_k *b)
{
    const float d = sg_f16_to_f32(b->d);
    for (int i = 0; i < 256; i++) {
        const int half = i / 128, at = i % 128, part = at / 32; /* part 0..3 of 32 numbers */
        const int low = b->low[half * 64 + at % 64] >> (part / 2 * 4) & 15;
        const int high = b->high[half * 32 + at % 32] >> (part * 2) & 3;
        to[i] = d * (float)b->scales[i / 16] * (float)((low | high << 4) - 32);
    }
}

#define EACH_BLOCK(function, type)                                                                                     \
    for (size_t b = 0; b < n_blocks; b++)                                                                              \
    function(to + b * (size_t)n, (const type *)blocks + b)

void sg_blocks_read(float *to, sg_dtype type, const void *blocks, size_t n_blocks)
{
    const sg_dim n = sg_dtype_block(type);
    switch ((int)type) {
    case SG_Q8_0:
        EACH_BLOCK(read_q8_0, sg_block_q8_0);
        return;
    case SG_Q4_0:
        EACH_BLOCK(read_q4_0, sg_block_q4_0);
        return;
    case SG_Q4_1:
        EACH_BLOCK(read_q4_1, sg_block_q4_1);
        return;
    case SG_Q5_0:
        EACH_BLOCK(read_q5_0, sg_block_q5_0);
        return;
    case SG_Q5_1:
        EACH_BLOCK(read_q5_1, sg_block_q5_1);
        return;
    case SG_Q4_K:
        EACH_BLOCK(read_q4_k, sg_block_q4_k);
        return;
    case SG_Q5_K:
        EACH_BLOCK(read_q5_k, sg_block_q5_k);
        return;
    case SG_Q6_K:
        EACH_BLOCK(read_q6_k, sg_block_q6_k);
        return;
    case SG_IQ4_NL:
        EACH_BLOCK(read_iq4_nl, sg_block_iq4_nl);
        return;
    default:
        sg_assert_failed("a block type", __FILE__, __LINE__);
    }
}

#undef EACH_BLOCK

/* ---- packing: scales ---- */

#define HALF_LEAST 0x1p-24 /* the smallest f16 above 0 */

/* A scale as it is stored. One that would vanish is kept as the smallest there is, since the levels then still say
 * something. */
static uint16_t half_scale(double d)
{
    const uint16_t h = sg_f32_to_f16((float)d);
    return (h & 0x7FFF) == 0 && d != 0 ? sg_f32_to_f16((float)copysign(HALF_LEAST, d)) : h;
}

static bool half_is_finite(uint16_t h)
{
    return (h & 0x7C00) != 0x7C00;
}

static bool all_finite(const float *x, int n)
{
    bool finite = true;
    for (int i = 0; i < n; i++)
        finite &= isfinite(x[i]) != 0;
    return finite;
}

static double clamped(double x, double least, double most)
{
    return x < least ? least : x > most ? most : x;
}

/* The level in least..most nearest to x / d. */
static int level(double x, double d, int least, int most)
{
    return d == 0 ? (int)clamped(0, least, most) : (int)clamped(rint(x / d), least, most);
}

static int nl_level(double y)
{
    int best = 0;
    while (best < 15 && y > 0.5 * (sg_iq4_nl_levels[best] + sg_iq4_nl_levels[best + 1]))
        best++;
    return best;
}

/* d for x = d l, where l is a whole number in least..most (the larger end is least), or with `nl` a level of IQ4_NL. */
static double search_scale(const float *x, int n, int least, int most, bool nl)
{
    double peak = 0, best_d = 0, best = 0;
    for (int i = 0; i < n; i++)
        if (fabs((double)x[i]) > fabs(peak))
            peak = (double)x[i];
    if (peak == 0)
        return 0;
    for (int k = -9; k <= 9; k++) {
        const double inverse = (least + 0.1 * k * (nl ? 8 : 1)) / peak;
        double xl = 0, ll = 0;
        for (int i = 0; i < n; i++) {
            const double y = (double)x[i] * inverse;
            const double l = nl ? sg_iq4_nl_levels[nl_level(y)] : clamped(rint(y), least, most);
            xl += (double)x[i] * l;
            ll += l * l;
        }
        /* The best scale for these levels is xl / ll, and the squared error then sum x^2 - xl^2 / ll. */
        if (ll > 0 && xl * xl > best * ll) {
            best = xl * xl / ll;
            best_d = xl / ll;
        }
    }
    return best_d;
}

/* d and m for x = d l + m with l in 0..most; with `below` m is at most 0. */
static void search_scale_and_low(const float *x, int n, int most, bool below, double *d, double *m)
{
    double low = (double)x[0], high = (double)x[0], best = (double)INFINITY;
    for (int i = 1; i < n; i++) {
        low = fmin(low, (double)x[i]);
        high = fmax(high, (double)x[i]);
    }
    if (below)
        low = fmin(low, 0);
    *d = 0;
    *m = low;
    if (high <= low)
        return;
    for (int k = -10; k <= 10; k++) {
        const double inverse = (most + 0.1 * k) / (high - low);
        double l[32], sx = 0, sl = 0, sxl = 0, sll = 0, error = 0;
        for (int i = 0; i < n; i++) {
            l[i] = clamped(rint(((double)x[i] - low) * inverse), 0, most);
            sx += (double)x[i];
            sl += l[i];
            sxl += (double)x[i] * l[i];
            sll += l[i] * l[i];
        }
        const double determinant = n * sll - sl * sl; /* 0 where all levels are one */
        if (sll <= 0 || (determinant <= 0 && !below))
            continue;
        double step = (n * sxl - sl * sx) / determinant, offset = (sx - step * sl) / n;
        if (below && (determinant <= 0 || offset > 0)) {
            offset = 0;
            step = sxl / sll;
        }
        for (int i = 0; i < n; i++) {
            const double e = step * l[i] + offset - (double)x[i];
            error += e * e;
        }
        if (error < best && step >= 0) {
            best = error;
            *d = step;
            *m = offset;
        }
    }
}

/* ---- packing: blocks ---- */

#define HALF_NAN 0x7E00

/* The scale of a block of 32 under whole levels from `least` up; false if no scale reaches the numbers. */
static bool scale_of(uint16_t *d, const float *x, int least, int most, bool nl)
{
    if (!all_finite(x, 32))
        return false;
    *d = half_scale(search_scale(x, 32, least, most, nl));
    return half_is_finite(*d);
}

static bool scale_and_low_of(uint16_t *d, uint16_t *m, const float *x, int most)
{
    double step, low;
    if (!all_finite(x, 32))
        return false;
    search_scale_and_low(x, 32, most, false, &step, &low);
    *d = half_scale(step);
    *m = sg_f32_to_f16((float)low);
    return half_is_finite(*d) && half_is_finite(*m);
}

static void write_q8_0(sg_block_q8_0 *b, const float *x)
{
    double peak = 0;
    memset(b, 0, sizeof *b);
    for (int i = 0; i < 32; i++)
        peak = fmax(peak, fabs((double)x[i]));
    b->d = half_scale(peak / 127);
    if (!all_finite(x, 32) || !half_is_finite(b->d)) {
        b->d = HALF_NAN;
        return;
    }
    const double d = (double)sg_f16_to_f32(b->d);
    for (int i = 0; i < 32; i++)
        b->q[i] = (int8_t)level((double)x[i], d, -127, 127);
}

static void write_q4_0(sg_block_q4_0 *b, const float *x)
{
    memset(b, 0, sizeof *b);
    if (!scale_of(&b->d, x, -8, 7, false)) {
        b->d = HALF_NAN;
        return;
    }
    const double d = (double)sg_f16_to_f32(b->d);
    for (int i = 0; i < 32; i++)
        b->q[i % 16] |= (uint8_t)((level((double)x[i], d, -8, 7) + 8) << i / 16 * 4);
}

static void write_q5_0(sg_block_q5_0 *b, const float *x)
{
    memset(b, 0, sizeof *b);
    if (!scale_of(&b->d, x, -16, 15, false)) {
        b->d = HALF_NAN;
        return;
    }
    const double d = (double)sg_f16_to_f32(b->d);
    for (int i = 0; i < 32; i++) {
        const int q = level((double)x[i], d, -16, 15) + 16;
        b->q[i % 16] |= (uint8_t)((q & 15) << i / 16 * 4);
        b->high[i / 8] |= (uint8_t)(q >> 4 << i % 8);
    }
}

static void write_q4_1(sg_block_q4_1 *b, const float *x)
{
    memset(b, 0, sizeof *b);
    if (!scale_and_low_of(&b->d, &b->m, x, 15)) {
        b->d = HALF_NAN;
        return;
    }
    const double d = (double)sg_f16_to_f32(b->d), m = (double)sg_f16_to_f32(b->m);
    for (int i = 0; i < 32; i++)
        b->q[i % 16] |= (uint8_t)(level((double)x[i] - m, d, 0, 15) << i / 16 * 4);
}

static void write_q5_1(sg_block_q5_1 *b, const float *x)
{
    memset(b, 0, sizeof *b);
    if (!scale_and_low_of(&b->d, &b->m, x, 31)) {
        b->d = HALF_NAN;
        return;
    }
    const double d = (double)sg_f16_to_f32(b->d), m = (double)sg_f16_to_f32(b->m);
    for (int i = 0; i < 32; i++) {
        const int q = level((double)x[i] - m, d, 0, 31);
        b->q[i % 16] |= (uint8_t)((q & 15) << i / 16 * 4);
        b->high[i / 8] |= (uint8_t)(q >> 4 << i % 8);
    }
}

static void write_iq4_nl(sg_block_iq4_nl *b, const float *x)
{
    memset(b, 0, sizeof *b);
    if (!scale_of(&b->d, x, -127, 113, true)) {
        b->d = HALF_NAN;
        return;
    }
    const double d = (double)sg_f16_to_f32(b->d);
    for (int i = 0; i < 32; i++)
        b->q[i % 16] |= (uint8_t)((d == 0 ? 0 : nl_level((double)x[i] / d)) << i / 16 * 4);
}

/* What Q4_K and Q5_K have in common: scales and lows of eight groups, packed, and all levels. */
static void write_k(uint16_t *d, uint16_t *least, uint8_t packed[12], uint8_t levels[256], const float *x, int most)
{
    double step[8], low[8], step_most = 0, low_most = 0;
    uint8_t scales[8] = {0}, lows[8] = {0};

    memset(levels, 0, 256);
    memset(packed, 0, 12);
    *d = HALF_NAN;
    *least = 0;
    if (!all_finite(x, 256))
        return;
    for (int g = 0; g < 8; g++) {
        search_scale_and_low(x + g * 32, 32, most, true, &step[g], &low[g]);
        step_most = fmax(step_most, step[g]);
        low_most = fmax(low_most, -low[g]);
    }
    const uint16_t d_half = half_scale(step_most / 63), least_half = half_scale(low_most / 63);
    if (!half_is_finite(d_half) || !half_is_finite(least_half))
        return;
    *d = d_half;
    *least = least_half;
    const double d_kept = (double)sg_f16_to_f32(d_half), least_kept = (double)sg_f16_to_f32(least_half);
    for (int g = 0; g < 8; g++) {
        scales[g] = (uint8_t)level(step[g], d_kept, 0, 63);
        lows[g] = (uint8_t)level(-low[g], least_kept, 0, 63);
        for (int i = g * 32; i < (g + 1) * 32; i++)
            levels[i] = (uint8_t)level((double)x[i] + least_kept * lows[g], d_kept * scales[g], 0, most);
    }
    pack_k_scales(packed, scales, lows);
}

static void write_q4_k(sg_block_q4_k *b, const float *x)
{
    uint8_t levels[256];
    write_k(&b->d, &b->least, b->scales, levels, x, 15);
    for (int i = 0; i < 128; i++)
        b->q[i] = (uint8_t)(levels[i / 32 * 64 + i % 32] | levels[i / 32 * 64 + 32 + i % 32] << 4);
}

static void write_q5_k(sg_block_q5_k *b, const float *x)
{
    uint8_t levels[256];
    write_k(&b->d, &b->least, b->scales, levels, x, 31);
    memset(b->high, 0, sizeof b->high);
    for (int i = 0; i < 256; i++)
        b->high[i % 32] |= (uint8_t)(levels[i] >> 4 << i / 32);
    for (int i = 0; i < 128; i++)
        b->q[i] = (uint8_t)((levels[i / 32 * 64 + i % 32] & 15) | levels[i / 32 * 64 + 32 + i % 32] << 4);
}

static void write_q6_k(sg_block_q6_k *b, const float *x)
{
    double step[16], peak = 0;

    memset(b, 0, sizeof *b);
    b->d = HALF_NAN;
    b->scales[0] = 1;
    if (!all_finite(x, 256))
        return;
    for (int g = 0; g < 16; g++) {
        step[g] = search_scale(x + g * 16, 16, -32, 31, false);
        if (fabs(step[g]) > fabs(peak))
            peak = step[g];
    }
    const uint16_t d_half = half_scale(peak / -128);
    if (!half_is_finite(d_half))
        return;
    b->d = d_half;
    const double d = (double)sg_f16_to_f32(d_half);
    for (int i = 0; i < 256; i++) {
        const int half = i / 128, at = i % 128, part = at / 32;
        if (i % 16 == 0)
            b->scales[i / 16] = (int8_t)level(step[i / 16], d, -128, 127);
        const int q = level((double)x[i], d * b->scales[i / 16], -32, 31) + 32;
        b->low[half * 64 + at % 64] |= (uint8_t)((q & 15) << part / 2 * 4);
        b->high[half * 32 + at % 32] |= (uint8_t)(q >> 4 << part * 2);
    }
}

#define EACH_BLOCK(function, type)                                                                                     \
    for (size_t b = 0; b < n_blocks; b++)                                                                              \
    function((type *)blocks + b, from + b * (size_t)n)

void sg_blocks_write(void *blocks, sg_dtype type, const float *from, size_t n_blocks)
{
    const sg_dim n = sg_dtype_block(type);
    switch ((int)type) {
    case SG_Q8_0:
        EACH_BLOCK(write_q8_0, sg_block_q8_0);
        return;
    case SG_Q4_0:
        EACH_BLOCK(write_q4_0, sg_block_q4_0);
        return;
    case SG_Q4_1:
        EACH_BLOCK(write_q4_1, sg_block_q4_1);
        return;
    case SG_Q5_0:
        EACH_BLOCK(write_q5_0, sg_block_q5_0);
        return;
    case SG_Q5_1:
        EACH_BLOCK(write_q5_1, sg_block_q5_1);
        return;
    case SG_Q4_K:
        EACH_BLOCK(write_q4_k, sg_block_q4_k);
        return;
    case SG_Q5_K:
        EACH_BLOCK(write_q5_k, sg_block_q5_k);
        return;
    case SG_Q6_K:
        EACH_BLOCK(write_q6_k, sg_block_q6_k);
        return;
    case SG_IQ4_NL:
        EACH_BLOCK(write_iq4_nl, sg_block_iq4_nl);
        return;
    default:
        sg_assert_failed("a block type", __FILE__, __LINE__);
    }
}
