/* Philox4x32-10: ten rounds of two 32x32 -> 64 bit products over a counter, the key moving by a constant each round.
 * The constants are those of the paper's section 4.3. */
#include "sightglass/rng.h"

#include <math.h>

#include "base/base.h"
#include "base/math.h"

#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0       0x9E3779B9u /* the golden ratio */
#define WEYL_1       0xBB67AE85u /* sqrt(3) - 1 */
#define N_ROUNDS     10

void sg_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < N_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)MULTIPLIER_0 * c0;
        const uint64_t p1 = (uint64_t)MULTIPLIER_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void sg_philox_block(uint32_t out[4], uint64_t seed, uint32_t stream, uint64_t step, uint32_t block)
{
    const uint32_t counter[4] = {block, stream, (uint32_t)step, (uint32_t)(step >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    sg_philox(out, counter, key);
}

float sg_word_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

void sg_words_normal(uint32_t a, uint32_t b, double *x, double *y)
{
    const double u = ((double)a + 1.0) * 0x1p-32; /* (0,1]: the logarithm stays finite */
    const double angle = 6.283185307179586477 * ((double)b * 0x1p-32);
    const double radius = sqrt(-2.0 * sg_math_log(u));
    double sine, cosine;
    sg_math_sincos(angle, &sine, &cosine);
    *x = radius * cosine;
    *y = radius * sine;
}

sg_rng sg_rng_new(uint64_t seed, uint32_t stream)
{
    return (sg_rng){.seed = seed, .stream = stream};
}

uint32_t sg_rng_word(sg_rng *r)
{
    if (r->n_left == 0) {
        sg_philox_block(r->words, r->seed, r->stream, r->step, r->block);
        r->n_left = 4;
        if (++r->block == 0)
            r->step++; /* 2^34 words on */
    }
    return r->words[4 - r->n_left--];
}

double sg_rng_uniform(sg_rng *r)
{
    const uint64_t high = sg_rng_word(r);
    const uint64_t low = sg_rng_word(r);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

double sg_rng_normal(sg_rng *r)
{
    const uint32_t a = sg_rng_word(r);
    const uint32_t b = sg_rng_word(r);
    double x, y; /* y is dropped: a number's place in the stream then depends on nothing kept aside */
    sg_words_normal(a, b, &x, &y);
    return x;
}

/* word * n / 2^32 maps equally many words to each result once the first 2^32 mod n fractions are left out
 * (Lemire: "Fast random integer generation in an interval", 2019). */
uint32_t sg_rng_below(sg_rng *r, uint32_t n)
{
    SG_ASSERT(n > 0);
    const uint32_t left_out = (0u - n) % n;
    uint64_t product;
    do {
        product = (uint64_t)sg_rng_word(r) * n;
    } while ((uint32_t)product < left_out);
    return (uint32_t)(product >> 32);
}
