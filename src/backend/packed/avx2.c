/* AVX2 with FMA and F16C: eight floats at a time. */
#include "backend/packed/packed.h"

#ifdef __AVX2__

#include <immintrin.h>

#define LANES        8
#define ROW_VECTORS  2
#define TILE_WEIGHTS 6
#define TILE_ROWS    4
#define TILE_COLUMNS 3

typedef __m256 vec;

static inline float half(const unsigned char *p)
{
    return _cvtsh_ss((unsigned short)(p[0] | p[1] << 8));
}

static inline vec v_zero(void)
{
    return _mm256_setzero_ps();
}

static inline vec v_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void v_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

static inline vec v_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

static inline vec v_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

static inline vec v_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline float v_sum(vec v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline vec v_i8(const unsigned char *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

static inline __m128i halves(const unsigned char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline vec v_bf16(const unsigned char *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves(p)), 16));
}

static inline vec v_f16(const unsigned char *p)
{
    return _mm256_cvtph_ps(halves(p));
}

#include "backend/packed/kernels.h"

const sg_packed_kernels sg_packed_avx2 = {.name = "avx2",
                                          .tile_rows = GROUP,
                                          .dots = dots,
                                          .sums = sums,
                                          .lay_out = lay_out,
                                          .dot_tiles = dot_tiles,
                                          .sum_tiles = sum_tiles};

#endif
