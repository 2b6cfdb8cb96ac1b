/* Products over packed weights on x86: what the kernels of an instruction set offer, and what they are asked.
 *
 * kernels.h holds the algorithms over vectors of any width; avx2.c and avx512.c say what a vector is and compile them,
 * packed.c chooses between the two when a plan is made, and shares the work out among threads. */
#ifndef SG_BACKEND_PACKED_H
#define SG_BACKEND_PACKED_H

#include "base/base.h"

typedef struct sg_packed_weights {
    sg_dtype type;
    const unsigned char *data;
    sg_dim n_rows, n_cols;
    size_t row_bytes;
} sg_packed_weights;

#define SG_PACKED_FEW   8                 /* rows of activations up to which weights are read once and used at once */
#define SG_PACKED_ROWS  1008              /* of activations that are laid out for tiles at once */
#define SG_PACKED_DEPTH ((sg_dim)2048)    /* of a tile, at most */
#define SG_PACKED_TILE  ((size_t)1 << 19) /* bytes of the tiles that one thread unpacks, with room at the end */
#define SG_PACKED_FIXED 3                 /* rows up to which Q4_K is multiplied in integers */

/* A block of 256 activations in fixed point: x = d (l[0] 2^16 + l[1] 2^8 + l[2]), so to 24 bits of the largest, in the
 * order in which the halves of Q4_K's bytes come; and eight zeros, then sums of each 32 as they are, turned negative.
 */
typedef struct sg_packed_fixed {
    int8_t l[3][256];
    float sum[16];
    float d, unused[15];
} sg_packed_fixed;

typedef struct sg_packed_kernels {
    const char *name;
    int tile_rows; /* activations are laid out in groups of so many rows */
    bool low;      /* products in bf16 are there */

    /* y[r][n] = x[r] . w[n], + bias[n], for weights' rows n in [first, last); up to SG_PACKED_FEW rows r, ldx and ldy
     * apart. fixed: n_cols / 256 blocks for each row, or NULL. */
    void (*dots)(const sg_packed_weights *w, const float *x, sg_dim ldx, const sg_packed_fixed *fixed, sg_dim n_rows,
                 const float *bias, float *y, sg_dim ldy, sg_dim first, sg_dim last);
    /* False: x has a number that is not finite. */
    bool (*fix)(const float *x, sg_dim n, sg_packed_fixed *to);
    /* y[r][k] = sum over n of x[r][n] w[n][k], + bias[k], for columns k in [first, last), whole blocks of them. */
    void (*sums)(const sg_packed_weights *w, const float *x, sg_dim ldx, sg_dim n_rows, const float *bias, float *y,
                 sg_dim ldy, sg_dim first, sg_dim last);
    /* Lays rows [first, last) of groups out: to[group][depth][tile_rows], in f32 or (low) pairs of bf16. */
    void (*lay_out)(const float *x, sg_dim ldx, sg_dim n_rows, sg_dim depth, bool low, uint32_t *to, sg_dim first,
                    sg_dim last);
    /* The same as dots and sums over activations laid out: `tile` has SG_PACKED_TILE bytes. */
    void (*dot_tiles)(const sg_packed_weights *w, const uint32_t *x, sg_dim n_rows, bool low, const float *bias,
                      float *y, sg_dim ldy, void *tile, sg_dim first, sg_dim last);
    void (*sum_tiles)(const sg_packed_weights *w, const uint32_t *x, sg_dim n_rows, const float *bias, float *y,
                      sg_dim ldy, void *tile, sg_dim first, sg_dim last);
} sg_packed_kernels;

extern const sg_packed_kernels sg_packed_avx2, sg_packed_avx512;

#endif
