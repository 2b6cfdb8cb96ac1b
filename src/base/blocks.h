/* Blocks: 32 or 256 numbers packed with the scales that they share, byte for byte as ggml lays them out.
 *
 * Every field lies at a multiple of its own size and structs have no padding, so that a mapped file is an array of them
 * (halves at even addresses).  What a block means is written in blocks.c beside the loop that unpacks it: products over
 * packed weights are held to those numbers. */
#ifndef SG_BASE_BLOCKS_H
#define SG_BASE_BLOCKS_H

#include "base/base.h"

#define SG_BLOCK_MOST 256 /* numbers in the largest block */

typedef struct sg_block_q8_0 { /* d q */
    uint16_t d;                /* scales are binary16 */
    int8_t q[32];
} sg_block_q8_0;

typedef struct sg_block_q4_0 { /* d (q - 8) */
    uint16_t d;
    uint8_t q[16]; /* low halves: numbers 0..15, high halves: 16..31 */
} sg_block_q4_0;

typedef struct sg_block_q4_1 { /* d q + m */
    uint16_t d, m;
    uint8_t q[16];
} sg_block_q4_1;

typedef struct sg_block_q5_0 { /* d (q - 16) */
    uint16_t d;
    uint8_t high[4]; /* bit i of this little-endian word is the fifth bit of number i */
    uint8_t q[16];
} sg_block_q5_0;

typedef struct sg_block_q5_1 { /* d q + m */
    uint16_t d, m;
    uint8_t high[4];
    uint8_t q[16];
} sg_block_q5_1;

typedef struct sg_block_iq4_nl { /* d sg_iq4_nl_levels[q] */
    uint16_t d;
    uint8_t q[16];
} sg_block_iq4_nl;

typedef struct sg_block_q4_k { /* eight groups of 32: d scale q - least low */
    uint16_t d, least;
    uint8_t scales[12]; /* eight scales and eight lows of six bits: sg_k_scales */
    uint8_t q[128];     /* 32 bytes for each two groups: low halves the first, high halves the second */
} sg_block_q4_k;

typedef struct sg_block_q5_k { /* the same with a fifth bit */
    uint16_t d, least;
    uint8_t scales[12];
    uint8_t high[32]; /* bit g of byte i is the fifth bit of number i of group g */
    uint8_t q[128];
} sg_block_q5_k;

typedef struct sg_block_q6_k { /* sixteen groups of 16: d scale (q - 32) */
    uint8_t low[128];          /* of each 128 numbers: 64 bytes, low halves the first 64 and high halves the others */
    uint8_t high[64];          /* of each 128: 32 bytes, two bits each for numbers i, i + 32, i + 64, i + 96 */
    int8_t scales[16];
    uint16_t d;
} sg_block_q6_k;

_Static_assert(sizeof(sg_block_q8_0) == 34 && sizeof(sg_block_q4_0) == 18 && sizeof(sg_block_q4_1) == 20 &&
                   sizeof(sg_block_q5_0) == 22 && sizeof(sg_block_q5_1) == 24 && sizeof(sg_block_iq4_nl) == 18 &&
                   sizeof(sg_block_q4_k) == 144 && sizeof(sg_block_q5_k) == 176 && sizeof(sg_block_q6_k) == 210,
               "blocks lie in files as ggml lays them out");

extern const int8_t sg_iq4_nl_levels[16];

/* The eight scales and eight lows, 0..63, of a Q4_K or Q5_K block. */
void sg_k_scales(const uint8_t packed[12], uint8_t scales[8], uint8_t lows[8]);

/* n_blocks blocks of a type to their numbers, in f32: the definition of what a packed tensor holds. */
void sg_blocks_read(float *to, sg_dtype type, const void *blocks, size_t n_blocks);

/* And back: the levels nearest to the numbers under scales that were searched for the least squared error.  A block
 * with a number that no scale reaches (NaN, infinity, far beyond an f16) becomes NaN as a whole, so that it stays
 * visible. */
void sg_blocks_write(void *blocks, sg_dtype type, const float *from, size_t n_blocks);

#endif
