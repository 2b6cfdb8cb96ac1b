/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as
 * easy as 1, 2, 3", SC 2011).
 *
 *     sg_rng r = sg_rng_new(seed, stream);
 *     double u = sg_rng_uniform(&r);
 *
 * The i-th number of a stream depends on (seed, stream, step, i) alone, so streams can be drawn in any
 * order, on any number of threads, with the same result. */
#ifndef SIGHTGLASS_RNG_H
#define SIGHTGLASS_RNG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One block: four 32-bit words from a 4-word counter and a 2-word key. */
void sg_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* Four words of block `block` of a stream at a step: counter (block, stream, step low, step high), key the seed. */
void sg_philox_block(uint32_t out[4], uint64_t seed, uint32_t stream, uint64_t step, uint32_t block);

/* A 32-bit word as a number: uniform in [0,1) with 24 bits, and the standard normal by Box-Muller from two words. */
float sg_word_uniform(uint32_t word);
void sg_words_normal(uint32_t a, uint32_t b, double *x, double *y);

/* The sequential view of one stream, from step 0 and block 0.  A new step may be set where n_left is set to 0 and
 * block to 0 with it. */
typedef struct sg_rng {
    uint64_t seed, step;
    uint32_t stream, block;
    uint32_t words[4];
    int n_left;
} sg_rng;

sg_rng sg_rng_new(uint64_t seed, uint32_t stream);
uint32_t sg_rng_word(sg_rng *r);
double sg_rng_uniform(sg_rng *r);             /* [0,1) with 53 bits */
double sg_rng_normal(sg_rng *r);              /* mean 0, variance 1 */
uint32_t sg_rng_below(sg_rng *r, uint32_t n); /* 0..n-1, unbiased; n > 0 */

#ifdef __cplusplus
}
#endif
#endif
