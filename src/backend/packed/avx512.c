/* AVX-512 with VNNI: sixteen floats at a time, Q4_K in integers, and products in bf16 where the processor has them. */
#include "backend/packed/packed.h"

#ifdef __AVX512VNNI__

#include <immintrin.h>

#define LANES        16
#define ROW_VECTORS  3
#define TILE_WEIGHTS 8
#define TILE_ROWS    12
#define TILE_COLUMNS 2
#define HAS_FIXED    1
#define HAS_LOW      1

typedef __m512 vec;

static inline float half(const unsigned char *p)
{
    return _cvtsh_ss((unsigned short)(p[0] | p[1] << 8));
}

static inline vec v_zero(void)
{
    return _mm512_setzero_ps();
}

static inline vec v_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void v_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

static inline vec v_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec v_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

static inline vec v_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline float v_sum(vec v)
{
    return _mm512_reduce_add_ps(v);
}

static inline vec v_i8(const unsigned char *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

static inline __m256i halves(const unsigned char *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline vec v_bf16(const unsigned char *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves(p)), 16));
}

static inline vec v_f16(const unsigned char *p)
{
    return _mm512_cvtph_ps(halves(p));
}

#include "backend/packed/kernels.h"

/* ---- Q4_K in integers ----
 *
 * Unpacked to f32, Q4_K is limited by the shuffles that it takes to spread 4-bit numbers over 32-bit lanes, at half of
 * what memory gives. Products of bytes need none: activations become 24-bit integers over a scale of each 256, cut into
 * three bytes, and 64 weights meet one of them in one instruction. All sums in integers are exact: 4 products of at
 * most 15 * 2^23 per lane. What is lost is what f32 loses as well, half a unit in 2^23 of the largest of 256. */

#define LARGEST 8323072.0f /* 127 * 2^16: the first byte stays below 128 */

/* Where number i of 256 meets its weight: bytes 0..31 of a load are one group's and 32..63 the next but one's. */
static inline int place_of(int i)
{
    const int group = i / 32 % 4;
    return i / 128 * 128 + group % 2 * 64 + group / 2 * 32 + i % 32;
}

static bool fix(const float *x, sg_dim n, sg_packed_fixed *to)
{
    for (; n > 0; n -= 256, x += 256, to++) {
        const __m512 most = _mm512_set1_ps(3.4e38f);
        __m512 largest = _mm512_setzero_ps();
        __mmask16 finite = 0xffff;
        for (int i = 0; i < 256; i += 16) {
            const __m512 a = _mm512_abs_ps(_mm512_loadu_ps(x + i));
            finite &= _mm512_cmp_ps_mask(a, most, _CMP_LT_OQ);
            largest = _mm512_max_ps(largest, a);
        }
        const float peak = _mm512_reduce_max_ps(largest);
        if (finite != 0xffff)
            return false;
        if (peak < 1e-30f && peak > 0) /* its scale would be no normal number */
            return false;
        to->d = peak / LARGEST;
        const __m512 scale = _mm512_set1_ps(peak > 0 ? LARGEST / peak : 0);
        for (int i = 0; i < 256; i += 16) {
            const __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale));
            /* 2^15 + 2^7 make signed digits of the bytes below. */
            const __m512i u = _mm512_add_epi32(v, _mm512_set1_epi32(0x8080));
            const int at = place_of(i);
            const __m128i flip = _mm_set1_epi8((char)0x80);
            _mm_storeu_si128((__m128i *)(void *)(to->l[0] + at), _mm512_cvtepi32_epi8(_mm512_srai_epi32(u, 16)));
            _mm_storeu_si128((__m128i *)(void *)(to->l[1] + at),
                             _mm_xor_si128(_mm512_cvtepi32_epi8(_mm512_srai_epi32(u, 8)), flip));
            _mm_storeu_si128((__m128i *)(void *)(to->l[2] + at), _mm_xor_si128(_mm512_cvtepi32_epi8(u), flip));
        }
        v_store(to->sum, v_zero());
        for (int g = 0; g < 8; g++)
            to->sum[8 + g] = -v_sum(v_add(v_load(x + 32 * g), v_load(x + 32 * g + 16)));
    }
    return true;
}

INLINE __m512i load_bytes(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* Sixteen sums of four products, as integers over 2^-0. */
INLINE __m512i meet(__m512i q, const sg_packed_fixed *x, int at)
{
    __m512i t = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, load_bytes(x->l[0] + at));

    t = _mm512_dpbusd_epi32(_mm512_slli_epi32(t, 8), q, load_bytes(x->l[1] + at));
    return _mm512_dpbusd_epi32(_mm512_slli_epi32(t, 8), q, load_bytes(x->l[2] + at));
}

/* The eight scales of a block times its d, then its eight lows times its least: the twelve bytes hold scales 0..3 and
 * lows 0..3 in six bits, with two more bits of scales and lows 4..7 above them, and four bits each of those last. */
INLINE vec scales_and_lows(const unsigned char *w)
{
    const __m128i u = _mm_loadu_si128((const __m128i *)(const void *)w);
    const __m128i low = _mm_shuffle_epi8(u, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m128i top = _mm_shuffle_epi8(u, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
    const __m128i kept = _mm_and_si128(_mm_mask_blend_epi32(8, low, _mm_srli_epi16(low, 4)),
                                       _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f));
    const __m128i both = _mm_or_si128(kept, _mm_and_si128(_mm_srli_epi16(top, 2), _mm_set1_epi8(0x30)));
    const __m512i d_or_least = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);

    return v_mul(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(both)),
                 _mm512_permutexvar_ps(d_or_least, _mm512_castps128_ps512(_mm_cvtph_ps(u))));
}

static float q4_k_fixed(const unsigned char *w, const sg_packed_fixed *x, sg_dim n_blocks)
{
    const __m512i four = _mm512_set1_epi8(15);
    const __m512i pair = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
    const __m512i at1 = _mm512_add_epi32(pair, _mm512_set1_epi32(1)),
                  at4 = _mm512_add_epi32(pair, _mm512_set1_epi32(4)),
                  at5 = _mm512_add_epi32(pair, _mm512_set1_epi32(5));
    vec even = v_zero(), odd = v_zero(), lows = v_zero();

    for (sg_dim b = 0; b < n_blocks; b++, w += sizeof(sg_block_q4_k), x++) {
        __builtin_prefetch(w + AHEAD);
        __builtin_prefetch(w + AHEAD + 64);
        __builtin_prefetch(w + AHEAD + 128);
        const vec all = scales_and_lows(w), scales = v_mul(all, v_set(x->d));
        const __m512i q0 = load_bytes(w + 16), q1 = load_bytes(w + 80);
        lows = v_fma(all, v_load(x->sum), lows);
        even = v_fma(_mm512_cvtepi32_ps(meet(_mm512_and_si512(q0, four), x, 0)), _mm512_permutexvar_ps(pair, scales),
                     even);
        odd = v_fma(_mm512_cvtepi32_ps(meet(_mm512_and_si512(_mm512_srli_epi16(q0, 4), four), x, 64)),
                    _mm512_permutexvar_ps(at1, scales), odd);
        even = v_fma(_mm512_cvtepi32_ps(meet(_mm512_and_si512(q1, four), x, 128)), _mm512_permutexvar_ps(at4, scales),
                     even);
        odd = v_fma(_mm512_cvtepi32_ps(meet(_mm512_and_si512(_mm512_srli_epi16(q1, 4), four), x, 192)),
                    _mm512_permutexvar_ps(at5, scales), odd);
    }
    return v_sum(v_add(v_add(even, odd), lows));
}

/* ---- products in bf16, pairs of them summed in f32 ---- */

static void round_bf16(const float *x, sg_dim n, uint16_t *to)
{
    for (sg_dim i = 0; i < n; i += LANES) {
        const __m256bh low = _mm512_cvtneps_pbh(v_load(x + i));
        memcpy(to + i, &low, sizeof low);
    }
}

static void dot_tile_low(sg_dim depth, const uint32_t *tile, sg_dim stride, const uint32_t *x, float *out)
{
    vec acc[TILE_WEIGHTS][ROW_VECTORS];

    for (int i = 0; i < TILE_WEIGHTS; i++)
        for (int j = 0; j < ROW_VECTORS; j++)
            acc[i][j] = v_zero();
    for (sg_dim k = 0; k < depth; k++, x += GROUP) {
        __m512bh a[ROW_VECTORS];
        for (int j = 0; j < ROW_VECTORS; j++)
            a[j] = (__m512bh)load_bytes(x + j * LANES);
        for (int i = 0; i < TILE_WEIGHTS; i++) {
            const __m512bh b = (__m512bh)_mm512_set1_epi32((int)tile[i * stride + k]);
            for (int j = 0; j < ROW_VECTORS; j++)
                acc[i][j] = _mm512_dpbf16_ps(acc[i][j], a[j], b);
        }
    }
    for (int i = 0; i < TILE_WEIGHTS; i++)
        for (int j = 0; j < ROW_VECTORS; j++)
            v_store(out + i * GROUP + j * LANES, acc[i][j]);
}

const sg_packed_kernels sg_packed_avx512 = {.name = "avx512",
                                            .tile_rows = GROUP,
                                            .low = true,
                                            .dots = dots,
                                            .fix = fix,
                                            .sums = sums,
                                            .lay_out = lay_out,
                                            .dot_tiles = dot_tiles,
                                            .sum_tiles = sum_tiles};

#endif
