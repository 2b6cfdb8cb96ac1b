/* Numbers from one element type to another.
 *
 * Every type's values are exact in a double, so the general path goes through one; pairs that whole models are made of
 * (halves to f32 and back) have loops of their own that the compiler can vectorise.  Halves are taken apart as
 * integers: the result does not depend on the processor or on its rounding and denormal modes. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "base/blocks.h"

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float bf16_to_f32(uint16_t x)
{
    return float_of((uint32_t)x << 16);
}

static inline uint16_t f32_to_bf16(float x)
{
    const uint32_t u = bits_of(x);
    const uint32_t rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16; /* a tie goes to the even neighbour */
    const uint32_t quiet = u >> 16 | 0x40;                       /* a NaN whose low bits fall off stays one */
    return (uint16_t)((u & 0x7FFFFFFF) > 0x7F800000 ? quiet : rounded);
}

static inline float f16_to_f32(uint16_t x)
{
    const uint32_t sign = (uint32_t)(x & 0x8000) << 16;
    const uint32_t exponent = x >> 10 & 0x1F, mantissa = x & 0x3FF;
    if (exponent == 0x1F)
        return float_of(sign | 0x7F800000 | mantissa << 13);
    if (exponent)
        return float_of(sign | (exponent + 112) << 23 | mantissa << 13); /* biases 127 and 15 */
    const float tiny = (float)mantissa * 0x1p-24f;
    return float_of(sign | bits_of(tiny));
}

static inline uint16_t f32_to_f16(float x)
{
    const uint32_t u = bits_of(x), magnitude = u & 0x7FFFFFFF;
    const uint32_t sign = u >> 16 & 0x8000;
    if (magnitude > 0x7F800000)
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000) /* 65520, half way from the largest f16 to the next power of two */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude >= 0x38800000) { /* 2^-14, the smallest normal f16 */
        const uint32_t rebiased = magnitude - (112u << 23);
        return (uint16_t)(sign | (rebiased + 0xFFF + (rebiased >> 13 & 1)) >> 13);
    }
    if (magnitude < 0x33000000) /* less than 2^-25, half the smallest denormal */
        return (uint16_t)sign;
    /* A denormal counts units of 2^-24: shift the mantissa there, round what falls off. */
    const uint32_t shift = 126 - (magnitude >> 23); /* 14..24 */
    const uint32_t mantissa = (magnitude & 0x7FFFFF) | 0x800000;
    const uint32_t kept = mantissa >> shift;
    const uint32_t rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
    return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1)))));
}

float sg_bf16_to_f32(uint16_t x)
{
    return bf16_to_f32(x);
}

uint16_t sg_f32_to_bf16(float x)
{
    return f32_to_bf16(x);
}

float sg_f16_to_f32(uint16_t x)
{
    return f16_to_f32(x);
}

uint16_t sg_f32_to_f16(float x)
{
    return f32_to_f16(x);
}

/* A double as an f32 that may be rounded once more without harm: cut toward zero, with the last bit set if anything
 * was cut, so that the second rounding still sees on which side of a tie the number lies. */
static float to_odd_f32(double x)
{
    const float nearest = (float)x;
    if (isnan(x) || (double)nearest == x)
        return nearest;
    uint32_t u = bits_of(nearest);
    if (fabs((double)nearest) > fabs(x))
        u--;
    return float_of(u | 1);
}

static int32_t to_i32(double x)
{
    if (isnan(x))
        return 0;
    if (x <= (double)INT32_MIN)
        return INT32_MIN;
    return x >= (double)INT32_MAX ? INT32_MAX : (int32_t)x;
}

static double load(const void *data, sg_dtype type, size_t i)
{
    switch ((int)type) {
    case SG_F32:
        return (double)((const float *)data)[i];
    case SG_F64:
        return ((const double *)data)[i];
    case SG_I32:
        return (double)((const int32_t *)data)[i];
    case SG_BF16:
        return (double)bf16_to_f32(((const uint16_t *)data)[i]);
    case SG_F16:
        return (double)f16_to_f32(((const uint16_t *)data)[i]);
    case SG_BOOL:
        return ((const unsigned char *)data)[i] ? 1.0 : 0.0;
    default:
        break;
    }
    sg_assert_failed("a known element type", __FILE__, __LINE__);
}

static void store(void *data, sg_dtype type, size_t i, double x)
{
    switch ((int)type) {
    case SG_F32:
        ((float *)data)[i] = (float)x;
        return;
    case SG_F64:
        ((double *)data)[i] = x;
        return;
    case SG_I32:
        ((int32_t *)data)[i] = to_i32(x);
        return;
    case SG_BF16:
        ((uint16_t *)data)[i] = f32_to_bf16(to_odd_f32(x));
        return;
    case SG_F16:
        ((uint16_t *)data)[i] = f32_to_f16(to_odd_f32(x));
        return;
    case SG_BOOL:
        ((unsigned char *)data)[i] = x != 0.0; /* NaN is not zero */
        return;
    default:
        break;
    }
    sg_assert_failed("a known element type", __FILE__, __LINE__);
}

double sg_tensor_get(const sg_tensor *t, sg_dim i)
{
    SG_DEBUG_ASSERT(i >= 0 && i < sg_tensor_count(t));
    const sg_dim n = sg_dtype_block(t->dtype);
    if (n == 1)
        return load(t->data, t->dtype, (size_t)i);
    float numbers[SG_BLOCK_MOST];
    sg_blocks_read(numbers, t->dtype, (const char *)t->data + (size_t)(i / n) * sg_dtype_block_bytes(t->dtype), 1);
    return (double)numbers[i % n];
}

void sg_tensor_set(sg_tensor *t, sg_dim i, double x)
{
    SG_DEBUG_ASSERT(i >= 0 && i < sg_tensor_count(t));
    store(t->data, t->dtype, (size_t)i, x);
}

/* Where either side is packed: through f32, some blocks at a time. */
static void convert_blocks(char *to, sg_dtype to_type, const char *from, sg_dtype from_type, sg_dim count)
{
    enum { AT_ONCE = 8 * SG_BLOCK_MOST };
    const sg_dim to_block = sg_dtype_block(to_type), from_block = sg_dtype_block(from_type);
    float numbers[AT_ONCE];

    SG_ASSERT(count % to_block == 0 && count % from_block == 0);
    for (sg_dim n; count > 0; count -= n) {
        n = SG_MIN(count, AT_ONCE);
        if (from_block > 1)
            sg_blocks_read(numbers, from_type, from, (size_t)(n / from_block));
        else
            sg_convert(numbers, SG_F32, from, from_type, n);
        if (to_block > 1)
            sg_blocks_write(to, to_type, numbers, (size_t)(n / to_block));
        else
            sg_convert(to, to_type, numbers, SG_F32, n);
        from += (size_t)(n / from_block) * sg_dtype_block_bytes(from_type);
        to += (size_t)(n / to_block) * sg_dtype_block_bytes(to_type);
    }
}

void sg_convert(void *to, sg_dtype to_type, const void *from, sg_dtype from_type, sg_dim count)
{
    SG_ASSERT(count >= 0);
    const size_t n = (size_t)count;
    if (n == 0)
        return;
    if (to_type == from_type) {
        SG_ASSERT(count % sg_dtype_block(to_type) == 0);
        memcpy(to, from, n / (size_t)sg_dtype_block(to_type) * sg_dtype_block_bytes(to_type));
    } else if (sg_dtype_block(to_type) > 1 || sg_dtype_block(from_type) > 1) {
        convert_blocks(to, to_type, from, from_type, count);
    } else if (to_type == SG_F32 && from_type == SG_BF16) {
        for (size_t i = 0; i < n; i++)
            ((float *)to)[i] = bf16_to_f32(((const uint16_t *)from)[i]);
    } else if (to_type == SG_F32 && from_type == SG_F16) {
        for (size_t i = 0; i < n; i++)
            ((float *)to)[i] = f16_to_f32(((const uint16_t *)from)[i]);
    } else if (to_type == SG_BF16 && from_type == SG_F32) {
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)to)[i] = f32_to_bf16(((const float *)from)[i]);
    } else if (to_type == SG_F16 && from_type == SG_F32) {
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)to)[i] = f32_to_f16(((const float *)from)[i]);
    } else {
        for (size_t i = 0; i < n; i++)
            store(to, to_type, i, load(from, from_type, i));
    }
}
