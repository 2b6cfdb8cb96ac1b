/* The kernels, over vectors that the including file defines:
 *
 *     vec, LANES                        floats in one register
 *     v_zero() v_set(x) v_load(p) v_store(p, v) v_add(a, b) v_mul(a, b) v_fma(a, b, c) = a b + c, v_sum(v)
 *     v_i8(p) v_bf16(p) v_f16(p)        LANES weights as floats
 *     half(p)                           one f16 as float
 *     ROW_VECTORS, TILE_WEIGHTS         a tile of dots: vectors of activations' rows by weights' rows
 *     TILE_ROWS, TILE_COLUMNS           a tile of sums: activations' rows by vectors of columns
 *
 * Weights come from memory once: their rows are taken in order, so that a thread reads one stream, with a prefetch some
 * pages' lines ahead, since the processor's own stops at each page. */
#ifndef SG_BACKEND_PACKED_KERNELS_H
#define SG_BACKEND_PACKED_KERNELS_H

#include <string.h>

#include "backend/packed/packed.h"
#include "base/blocks.h"

#define GROUP   (ROW_VECTORS * LANES) /* rows of activations that lie side by side */
#define AHEAD   4096                  /* bytes: 1024 to 16384 made no difference, less is too late */
#define STRETCH 256                   /* weights that are unpacked at once where few rows are multiplied */
#define INLINE  static inline __attribute__((always_inline))

/* ---- unpacking: what sg_blocks_read says, in loops that become vectors ---- */

static void unpack_q8_0(const unsigned char *at, sg_dim n, float *restrict to)
{
    for (; n > 0; n -= 32, at += sizeof(sg_block_q8_0), to += 32) {
        const float d = half(at);
        const int8_t *q = (const int8_t *)at + 2;
        for (int i = 0; i < 32; i++)
            to[i] = d * (float)q[i];
    }
}

/* Low halves of 16 bytes are the first numbers of a block, high halves the others. */
#define DEFINE_HALVES(name, type, number)                                                                              \
    static void unpack_##name(const unsigned char *at, sg_dim n, float *restrict to)                                   \
    {                                                                                                                  \
        for (; n > 0; n -= 32, at += sizeof(type), to += 32) {                                                         \
            const float d = half(at);                                                                                  \
            const uint8_t *q = at + sizeof(type) - 16;                                                                 \
            float low[16], high[16];                                                                                   \
            for (int i = 0; i < 16; i++) {                                                                             \
                low[i] = number(q[i] & 15);                                                                            \
                high[i] = number(q[i] >> 4);                                                                           \
            }                                                                                                          \
            for (int i = 0; i < 16; i++) {                                                                             \
                to[i] = low[i];                                                                                        \
                to[i + 16] = high[i];                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }
#define FROM_EIGHT(q) (d * (float)((q)-8))
#define WITH_LEAST(q) (d * (float)(q) + half(at + 2))
DEFINE_HALVES(q4_0, sg_block_q4_0, FROM_EIGHT)
DEFINE_HALVES(q4_1, sg_block_q4_1, WITH_LEAST)

static void unpack_iq4_nl(const unsigned char *at, sg_dim n, float *restrict to)
{
    float levels[16];

    for (int i = 0; i < 16; i++)
        levels[i] = (float)sg_iq4_nl_levels[i];
    for (; n > 0; n -= 32, at += sizeof(sg_block_iq4_nl), to += 32) {
        const float d = half(at);
        for (int i = 0; i < 16; i++) {
            to[i] = d * levels[at[2 + i] & 15];
            to[i + 16] = d * levels[at[2 + i] >> 4];
        }
    }
}

/* Fifth bits lie in a word of 32. */
static void unpack_fives(const unsigned char *at, sg_dim n, float *restrict to, size_t bytes, bool least)
{
    for (; n > 0; n -= 32, at += bytes, to += 32) {
        const float d = half(at), low = least ? half(at + 2) : -16 * d;
        const uint8_t *q = at + bytes - 16;
        uint32_t word;
        memcpy(&word, at + bytes - 20, sizeof word);
        for (int i = 0; i < 16; i++)
            to[i] = d * (float)((q[i] & 15) | (int)(word >> i & 1) << 4) + low;
        for (int i = 0; i < 16; i++)
            to[i + 16] = d * (float)((q[i] >> 4) | (int)(word >> (i + 16) & 1) << 4) + low;
    }
}

static void unpack_q5_0(const unsigned char *at, sg_dim n, float *restrict to)
{
    unpack_fives(at, n, to, sizeof(sg_block_q5_0), false);
}

static void unpack_q5_1(const unsigned char *at, sg_dim n, float *restrict to)
{
    unpack_fives(at, n, to, sizeof(sg_block_q5_1), true);
}

/* The eight scales and eight lows of six bits, a byte each. */
INLINE void k_scales(const unsigned char *packed, uint8_t scales[8], uint8_t lows[8])
{
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, two = 0x03030303;
    uint32_t u[3], s[2], l[2];

    memcpy(u, packed, sizeof u);
    s[0] = u[0] & six;
    s[1] = (u[2] & four) | (u[0] >> 6 & two) << 4;
    l[0] = u[1] & six;
    l[1] = (u[2] >> 4 & four) | (u[1] >> 6 & two) << 4;
    memcpy(scales, s, sizeof s);
    memcpy(lows, l, sizeof l);
}

static void unpack_q4_k(const unsigned char *at, sg_dim n, float *restrict to)
{
    for (; n > 0; n -= 256, at += sizeof(sg_block_q4_k), to += 256) {
        const float d = half(at), least = half(at + 2);
        uint8_t scales[8], lows[8];
        k_scales(at + 4, scales, lows);
        for (int g = 0; g < 8; g += 2) {
            const uint8_t *q = at + 16 + 16 * g;
            const float s0 = d * (float)scales[g], l0 = least * (float)lows[g];
            const float s1 = d * (float)scales[g + 1], l1 = least * (float)lows[g + 1];
            for (int i = 0; i < 32; i++)
                to[32 * g + i] = s0 * (float)(q[i] & 15) - l0;
            for (int i = 0; i < 32; i++)
                to[32 * g + 32 + i] = s1 * (float)(q[i] >> 4) - l1;
        }
    }
}

static void unpack_q5_k(const unsigned char *at, sg_dim n, float *restrict to)
{
    for (; n > 0; n -= 256, at += sizeof(sg_block_q5_k), to += 256) {
        const float d = half(at), least = half(at + 2);
        const uint8_t *high = at + 16;
        uint8_t scales[8], lows[8];
        k_scales(at + 4, scales, lows);
        for (int g = 0; g < 8; g += 2) {
            const uint8_t *q = at + 48 + 16 * g;
            const float s0 = d * (float)scales[g], l0 = least * (float)lows[g];
            const float s1 = d * (float)scales[g + 1], l1 = least * (float)lows[g + 1];
            for (int i = 0; i < 32; i++)
                to[32 * g + i] = s0 * (float)((q[i] & 15) | (high[i] >> g & 1) << 4) - l0;
            for (int i = 0; i < 32; i++)
                to[32 * g + 32 + i] = s1 * (float)((q[i] >> 4) | (high[i] >> (g + 1) & 1) << 4) - l1;
        }
    }
}

static void unpack_q6_k(const unsigned char *at, sg_dim n, float *restrict to)
{
    for (; n > 0; n -= 256, at += sizeof(sg_block_q6_k), to += 256) {
        const float d = half(at + 208);
        for (int part = 0; part < 8; part++) { /* of 32 numbers */
            const uint8_t *low = at + part / 4 * 64 + part % 2 * 32, *high = at + 128 + part / 4 * 32;
            const int8_t *scales = (const int8_t *)at + 192 + part * 2;
            const int up = part % 4 / 2 * 4, pair = part % 4 * 2;
            const float s[2] = {d * (float)scales[0], d * (float)scales[1]};
            float *restrict out = to + 32 * part;
            for (int h = 0; h < 2; h++)
                for (int i = 0; i < 16; i++)
                    out[16 * h + i] =
                        s[h] * (float)(((low[16 * h + i] >> up & 15) | (high[16 * h + i] >> pair & 3) << 4) - 32);
        }
    }
}

static void unpack_bf16(const unsigned char *at, sg_dim n, float *restrict to)
{
    sg_dim i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(to + i, v_bf16(at + 2 * i));
    for (; i < n; i++) {
        uint16_t u;
        memcpy(&u, at + 2 * i, sizeof u);
        const uint32_t wide = (uint32_t)u << 16;
        memcpy(to + i, &wide, sizeof wide);
    }
}

static void unpack_f16(const unsigned char *at, sg_dim n, float *restrict to)
{
    sg_dim i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(to + i, v_f16(at + 2 * i));
    for (; i < n; i++)
        to[i] = half(at + 2 * i);
}

/* n weights of a row, from column `first` on: whole blocks. */
static void unpack(const sg_packed_weights *w, sg_dim row, sg_dim first, sg_dim n, float *to)
{
    const sg_dim block = sg_dtype_block(w->type);
    const unsigned char *at =
        w->data + (size_t)row * w->row_bytes + (size_t)(first / block) * sg_dtype_block_bytes(w->type);

    switch ((int)w->type) {
    case SG_BF16:
        unpack_bf16(at, n, to);
        return;
    case SG_F16:
        unpack_f16(at, n, to);
        return;
    case SG_Q8_0:
        unpack_q8_0(at, n, to);
        return;
    case SG_Q4_0:
        unpack_q4_0(at, n, to);
        return;
    case SG_Q4_1:
        unpack_q4_1(at, n, to);
        return;
    case SG_Q5_0:
        unpack_q5_0(at, n, to);
        return;
    case SG_Q5_1:
        unpack_q5_1(at, n, to);
        return;
    case SG_Q4_K:
        unpack_q4_k(at, n, to);
        return;
    case SG_Q5_K:
        unpack_q5_k(at, n, to);
        return;
    case SG_Q6_K:
        unpack_q6_k(at, n, to);
        return;
    case SG_IQ4_NL:
        unpack_iq4_nl(at, n, to);
        return;
    default:
        sg_assert_failed("a packed type", __FILE__, __LINE__);
    }
}

/* ---- few rows of activations: each row of weights as it comes from memory ---- */

#define AT_ONCE 4 /* rows of activations that share an unpacked weight */

INLINE void q8_0_block(const unsigned char *w, const float *x, sg_dim ldx, const int rows, vec *sum)
{
    const vec d = v_set(half(w));
    vec q[32 / LANES];

    __builtin_prefetch(w + AHEAD);
    for (int i = 0; i < 32 / LANES; i++)
        q[i] = v_i8(w + 2 + i * LANES);
    for (int r = 0; r < rows; r++) {
        vec part = v_mul(q[0], v_load(x + r * ldx));
        for (int i = 1; i < 32 / LANES; i++)
            part = v_fma(q[i], v_load(x + r * ldx + i * LANES), part);
        sum[r] = v_fma(part, d, sum[r]);
    }
}

INLINE void q8_0_row(const unsigned char *w, const float *x, sg_dim ldx, sg_dim n, const int rows, float *y)
{
    vec even[AT_ONCE], odd[AT_ONCE];
    sg_dim k = 0;

    for (int r = 0; r < rows; r++)
        even[r] = odd[r] = v_zero();
    for (; k + 64 <= n; k += 64, w += 2 * sizeof(sg_block_q8_0)) {
        q8_0_block(w, x + k, ldx, rows, even);
        q8_0_block(w + sizeof(sg_block_q8_0), x + k + 32, ldx, rows, odd);
    }
    if (k < n)
        q8_0_block(w, x + k, ldx, rows, even);
    for (int r = 0; r < rows; r++)
        y[r] = v_sum(v_add(even[r], odd[r]));
}

#define DEFINE_PLAIN_ROW(name, v_of)                                                                                   \
    INLINE void name##_row(const unsigned char *w, const float *x, sg_dim ldx, sg_dim n, const int rows, float *y)     \
    {                                                                                                                  \
        vec even[AT_ONCE], odd[AT_ONCE];                                                                               \
        sg_dim k = 0;                                                                                                  \
        for (int r = 0; r < rows; r++)                                                                                 \
            even[r] = odd[r] = v_zero();                                                                               \
        for (; k + 2 * LANES <= n; k += 2 * LANES) {                                                                   \
            const vec a = v_of(w + 2 * k), b = v_of(w + 2 * (k + LANES));                                              \
            __builtin_prefetch(w + 2 * k + AHEAD);                                                                     \
            for (int r = 0; r < rows; r++) {                                                                           \
                even[r] = v_fma(a, v_load(x + r * ldx + k), even[r]);                                                  \
                odd[r] = v_fma(b, v_load(x + r * ldx + k + LANES), odd[r]);                                            \
            }                                                                                                          \
        }                                                                                                              \
        float rest[2 * LANES];                                                                                         \
        unpack_##name(w + 2 * k, n - k, rest);                                                                         \
        for (int r = 0; r < rows; r++) {                                                                               \
            y[r] = v_sum(v_add(even[r], odd[r]));                                                                      \
            for (sg_dim i = k; i < n; i++)                                                                             \
                y[r] += x[r * ldx + i] * rest[i - k];                                                                  \
        }                                                                                                              \
    }

DEFINE_PLAIN_ROW(bf16, v_bf16)
DEFINE_PLAIN_ROW(f16, v_f16)

/* A row of four at a time, or of what is left. */
#define DEFINE_ROWS(name)                                                                                              \
    static void name##_rows(const unsigned char *w, const float *x, sg_dim ldx, sg_dim n, sg_dim rows, float *y)       \
    {                                                                                                                  \
        for (; rows >= AT_ONCE; rows -= AT_ONCE, x += AT_ONCE * ldx, y += AT_ONCE)                                     \
            name##_row(w, x, ldx, n, AT_ONCE, y);                                                                      \
        if (rows >= 2) {                                                                                               \
            name##_row(w, x, ldx, n, 2, y);                                                                            \
            x += 2 * ldx;                                                                                              \
            y += 2;                                                                                                    \
        }                                                                                                              \
        if (rows % 2)                                                                                                  \
            name##_row(w, x, ldx, n, 1, y);                                                                            \
    }

DEFINE_ROWS(q8_0)
DEFINE_ROWS(bf16)
DEFINE_ROWS(f16)

/* Any type, a stretch at a time. */
static void any_rows(const sg_packed_weights *w, sg_dim row, const float *x, sg_dim ldx, sg_dim rows, float *y)
{
    float q[STRETCH];
    vec sum[SG_PACKED_FEW];

    for (sg_dim r = 0; r < rows; r++)
        sum[r] = v_zero();
    const unsigned char *at = w->data + (size_t)row * w->row_bytes;
    for (sg_dim k = 0; k < w->n_cols; k += STRETCH) {
        const sg_dim n = SG_MIN((sg_dim)STRETCH, w->n_cols - k); /* a multiple of 32 */
        const size_t bytes = (size_t)n * w->row_bytes / (size_t)w->n_cols;
        for (size_t line = 0; line < bytes; line += 64)
            __builtin_prefetch(at + line + AHEAD);
        at += bytes;
        unpack(w, row, k, n, q);
        for (sg_dim r = 0; r < rows; r++) {
            const float *a = x + r * ldx + k;
            vec part[4] = {sum[r], v_zero(), v_zero(), v_zero()};
            for (sg_dim i = 0; i < n; i += 32)
                for (int l = 0; l < 32 / LANES; l++)
                    part[l % 4] = v_fma(v_load(q + i + l * LANES), v_load(a + i + l * LANES), part[l % 4]);
            sum[r] = v_add(v_add(part[0], part[1]), v_add(part[2], part[3]));
        }
    }
    for (sg_dim r = 0; r < rows; r++)
        y[r] = v_sum(sum[r]);
}

#ifdef HAS_FIXED
static float q4_k_fixed(const unsigned char *w, const sg_packed_fixed *x, sg_dim n_blocks);
static bool fix(const float *x, sg_dim n, sg_packed_fixed *to);
#endif

static void dots(const sg_packed_weights *w, const float *x, sg_dim ldx, const sg_packed_fixed *fixed, sg_dim n_rows,
                 const float *bias, float *y, sg_dim ldy, sg_dim first, sg_dim last)
{
    for (sg_dim n = first; n < last; n++) {
        const unsigned char *at = w->data + (size_t)n * w->row_bytes;
        float out[SG_PACKED_FEW];
        if (w->type == SG_Q8_0)
            q8_0_rows(at, x, ldx, w->n_cols, n_rows, out);
        else if (w->type == SG_BF16)
            bf16_rows(at, x, ldx, w->n_cols, n_rows, out);
        else if (w->type == SG_F16)
            f16_rows(at, x, ldx, w->n_cols, n_rows, out);
#ifdef HAS_FIXED
        else if (fixed)
            for (sg_dim r = 0; r < n_rows; r++)
                out[r] = q4_k_fixed(at, fixed + r * (w->n_cols / 256), w->n_cols / 256);
#endif
        else
            any_rows(w, n, x, ldx, n_rows, out);
        for (sg_dim r = 0; r < n_rows; r++)
            y[r * ldy + n] = bias ? out[r] + bias[n] : out[r];
    }
    (void)fixed;
}

static void sums(const sg_packed_weights *w, const float *x, sg_dim ldx, sg_dim n_rows, const float *bias, float *y,
                 sg_dim ldy, sg_dim first, sg_dim last)
{
    float q[STRETCH];

    for (sg_dim r = 0; r < n_rows; r++)
        for (sg_dim k = first; k < last; k++)
            y[r * ldy + k] = bias ? bias[k] : 0;
    for (sg_dim n = 0; n < w->n_rows; n++)
        for (sg_dim k = first; k < last; k += STRETCH) {
            const sg_dim width = SG_MIN((sg_dim)STRETCH, last - k), whole = width / LANES * LANES;
            unpack(w, n, k, width, q);
            for (sg_dim r = 0; r < n_rows; r++) {
                float *to = y + r * ldy + k;
                const float a = x[r * ldx + n];
                const vec s = v_set(a);
                for (sg_dim i = 0; i < whole; i += LANES)
                    v_store(to + i, v_fma(v_load(q + i), s, v_load(to + i)));
                for (sg_dim i = whole; i < width; i++)
                    to[i] += a * q[i];
            }
        }
}

/* ---- many rows: tiles ---- */

#ifdef HAS_LOW
static void round_bf16(const float *x, sg_dim n, uint16_t *to); /* to nearest even, NaN kept; n a multiple of LANES */
#endif

/* Columns of a chunk that are turned at once. */
enum { TURNED = 64 };

static void lay_out(const float *x, sg_dim ldx, sg_dim n_rows, sg_dim depth, bool low, uint32_t *to, sg_dim first,
                    sg_dim last)
{
    const sg_dim units = low ? (depth + 1) / 2 : depth;

    for (sg_dim g = first; g < last; g++) {
        uint32_t *out = to + g * units * GROUP;
        const sg_dim rows = SG_MIN((sg_dim)GROUP, n_rows - g * GROUP);
        for (sg_dim k = 0; k < depth; k += TURNED) {
            const sg_dim width = SG_MIN((sg_dim)TURNED, depth - k);
            const sg_dim wide = low ? (width + 1) / 2 : width;
            uint32_t *at = out + (low ? k / 2 : k) * GROUP;
            uint32_t line[GROUP][TURNED + 1]; /* odd, so that columns of it do not meet in the cache */
            if (rows < GROUP)
                memset(line, 0, sizeof line);
            for (sg_dim r = 0; r < rows; r++) {
                const float *from = x + (g * GROUP + r) * ldx + k;
#ifdef HAS_LOW
                if (low) {
                    float whole[TURNED] = {0};
                    uint16_t halves[TURNED];
                    memcpy(whole, from, (size_t)width * sizeof *whole);
                    round_bf16(whole, TURNED, halves);
                    memcpy(line[r], halves, sizeof halves);
                    continue;
                }
#endif
                memcpy(line[r], from, (size_t)width * sizeof *from);
            }
            for (sg_dim i = 0; i < wide; i++)
                for (int r = 0; r < GROUP; r++)
                    at[i * GROUP + r] = line[r][i];
        }
    }
}

/* out[i][r] = sum over k of tile[i][k] x[k][r]. */
static void dot_tile(sg_dim depth, const float *tile, sg_dim stride, const float *x, float *out)
{
    vec acc[TILE_WEIGHTS][ROW_VECTORS];

    for (int i = 0; i < TILE_WEIGHTS; i++)
        for (int j = 0; j < ROW_VECTORS; j++)
            acc[i][j] = v_zero();
    for (sg_dim k = 0; k < depth; k++, x += GROUP) {
        vec a[ROW_VECTORS];
        for (int j = 0; j < ROW_VECTORS; j++)
            a[j] = v_load(x + j * LANES);
        for (int i = 0; i < TILE_WEIGHTS; i++) {
            const vec b = v_set(tile[i * stride + k]);
            for (int j = 0; j < ROW_VECTORS; j++)
                acc[i][j] = v_fma(a[j], b, acc[i][j]);
        }
    }
    for (int i = 0; i < TILE_WEIGHTS; i++)
        for (int j = 0; j < ROW_VECTORS; j++)
            v_store(out + i * GROUP + j * LANES, acc[i][j]);
}

#ifdef HAS_LOW
static void dot_tile_low(sg_dim depth, const uint32_t *tile, sg_dim stride, const uint32_t *x, float *out);
#endif

/* Adds out (or what it is, with the bias) to rows of y. */
static void give(const float *out, sg_dim n_rows, sg_dim n, bool first, const float *bias, float *y, sg_dim ldy)
{
    for (sg_dim r = 0; r < n_rows; r++, y += ldy)
        for (sg_dim i = 0; i < n; i++) {
            const float before = !first ? y[i] : bias ? bias[i] : 0;
            y[i] = out[i * GROUP + r] + before;
        }
}

static void dot_tiles(const sg_packed_weights *w, const uint32_t *x, sg_dim n_rows, bool low, const float *bias,
                      float *y, sg_dim ldy, void *tile, sg_dim first, sg_dim last)
{
    const sg_dim groups = (n_rows + GROUP - 1) / GROUP, units = low ? (w->n_cols + 1) / 2 : w->n_cols;
    const sg_dim parts = (w->n_cols + SG_PACKED_DEPTH - 1) / SG_PACKED_DEPTH;
    const sg_dim depth = SG_MIN(SG_PACKED_DEPTH, ((w->n_cols + parts - 1) / parts + 255) / 256 * 256);
    const sg_dim at_once =
        SG_MIN((sg_dim)32, (sg_dim)(SG_PACKED_TILE / sizeof(float)) / depth) / TILE_WEIGHTS * TILE_WEIGHTS;

    for (sg_dim n = first; n < last; n += at_once) {
        const sg_dim here = SG_MIN(at_once, last - n);
        for (sg_dim k = 0; k < w->n_cols; k += depth) {
            const sg_dim width = SG_MIN(depth, w->n_cols - k);
            float *rows = tile;
            for (sg_dim i = 0; i < (here + TILE_WEIGHTS - 1) / TILE_WEIGHTS * TILE_WEIGHTS; i++) {
                float *row = rows + i * depth;
                if (i >= here) {
                    memset(row, 0, (size_t)depth * sizeof *row);
                    continue;
                }
#ifdef HAS_LOW
                if (low) { /* depth pairs' halves: half the room of a row */
                    uint16_t *halves = (uint16_t *)(void *)row;
                    const unsigned char *at = w->data + (size_t)(n + i) * w->row_bytes + (size_t)k * 2;
                    float q[STRETCH];
                    for (sg_dim c = 0; c < width; c += STRETCH) {
                        const sg_dim count = SG_MIN((sg_dim)STRETCH, width - c);
                        if (w->type == SG_BF16) {
                            memcpy(halves + c, at + 2 * c, (size_t)count * 2);
                            if (count % 2)
                                halves[c + count] = 0;
                            continue;
                        }
                        if (count < STRETCH)
                            memset(q, 0, sizeof q);
                        unpack(w, n + i, k + c, count, q);
                        round_bf16(q, STRETCH, halves + c);
                    }
                    continue;
                }
#endif
                unpack(w, n + i, k, width, row);
            }
            for (sg_dim g = 0; g < groups; g++) {
                const sg_dim n_here = SG_MIN((sg_dim)GROUP, n_rows - g * GROUP);
                const uint32_t *a = x + (g * units + (low ? k / 2 : k)) * GROUP;
                for (sg_dim i = 0; i < here; i += TILE_WEIGHTS) {
                    _Alignas(64) float out[TILE_WEIGHTS * GROUP];
#ifdef HAS_LOW
                    if (low)
                        dot_tile_low((width + 1) / 2, (const uint32_t *)(const void *)(rows + i * depth), depth, a,
                                     out);
                    else
#endif
                        dot_tile(width, rows + i * depth, depth, (const float *)(const void *)a, out);
                    give(out, n_here, SG_MIN((sg_dim)TILE_WEIGHTS, here - i), k == 0, bias ? bias + n + i : NULL,
                         y + g * GROUP * ldy + n + i, ldy);
                }
            }
        }
    }
}

/* out[i][c] = sum over n of x[n][i] tile[n][c]. */
static void sum_tile(sg_dim depth, const float *tile, sg_dim stride, const float *x, float *out)
{
    vec acc[TILE_ROWS][TILE_COLUMNS];

    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < TILE_COLUMNS; j++)
            acc[i][j] = v_zero();
    for (sg_dim n = 0; n < depth; n++, x += GROUP, tile += stride) {
        vec b[TILE_COLUMNS];
        for (int j = 0; j < TILE_COLUMNS; j++)
            b[j] = v_load(tile + j * LANES);
        for (int i = 0; i < TILE_ROWS; i++) {
            const vec a = v_set(x[i]);
            for (int j = 0; j < TILE_COLUMNS; j++)
                acc[i][j] = v_fma(a, b[j], acc[i][j]);
        }
    }
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < TILE_COLUMNS; j++)
            v_store(out + (i * TILE_COLUMNS + j) * LANES, acc[i][j]);
}

static void sum_tiles(const sg_packed_weights *w, const uint32_t *x, sg_dim n_rows, const float *bias, float *y,
                      sg_dim ldy, void *tile, sg_dim first, sg_dim last)
{
    enum { ACROSS = TILE_COLUMNS * LANES, DEPTH = 256, ROOM = (256 + ACROSS - 1) / ACROSS * ACROSS };
    const sg_dim groups = (n_rows + GROUP - 1) / GROUP;
    float *rows = tile;

    for (sg_dim k = first; k < last; k += STRETCH) {
        const sg_dim width = SG_MIN((sg_dim)STRETCH, last - k);
        for (sg_dim n = 0; n < w->n_rows; n += DEPTH) {
            const sg_dim depth = SG_MIN((sg_dim)DEPTH, w->n_rows - n);
            for (sg_dim i = 0; i < depth; i++) {
                unpack(w, n + i, k, width, rows + i * ROOM);
                for (sg_dim c = width; c < (width + ACROSS - 1) / ACROSS * ACROSS; c++)
                    rows[i * ROOM + c] = 0;
            }
            for (sg_dim g = 0; g < groups; g++)
                for (sg_dim i = 0; i < GROUP && g * GROUP + i < n_rows; i += TILE_ROWS)
                    for (sg_dim c = 0; c < width; c += ACROSS) {
                        _Alignas(64) float out[TILE_ROWS * ACROSS];
                        const sg_dim n_here = SG_MIN((sg_dim)TILE_ROWS, n_rows - g * GROUP - i);
                        const sg_dim across = SG_MIN((sg_dim)ACROSS, width - c);
                        sum_tile(depth, rows + c, ROOM,
                                 (const float *)(const void *)(x + (g * w->n_rows + n) * GROUP + i), out);
                        for (sg_dim r = 0; r < n_here; r++) {
                            float *to = y + (g * GROUP + i + r) * ldy + k + c;
                            for (sg_dim e = 0; e < across; e++)
                                to[e] = out[r * ACROSS + e] + (n > 0 ? to[e] : bias ? bias[k + c + e] : 0);
                        }
                    }
        }
    }
}

#endif
