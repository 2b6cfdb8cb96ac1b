/* What the C side asks of the kernels: plain descriptions of operands, and functions that launch. Everything happens in
 * one stream, in order. Each returns the status of the launch; the memory it names is the device's. */
#ifndef SG_CUDA_KERNELS_H
#define SG_CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SGK_DIMS     8
#define SGK_OPERANDS 4

/* Operands walked together, [0] being the result; strides are in elements, 0 where one is broadcast. */
typedef struct sgk_walk {
    uint32_t count;
    int n_dims, n_operands;
    uint32_t dims[SGK_DIMS];
    void *data[SGK_OPERANDS];
    int64_t strides[SGK_OPERANDS][SGK_DIMS];
} sgk_walk;

typedef enum sgk_unary {
    SGK_NEG,
    SGK_ABS,
    SGK_SIGN,
    SGK_EXP,
    SGK_LOG,
    SGK_SQRT,
    SGK_RSQRT,
    SGK_RECIPROCAL,
    SGK_SQUARE,
    SGK_SIN,
    SGK_COS,
    SGK_ERF,
    SGK_TANH,
    SGK_SIGMOID,
    SGK_RELU,
    SGK_GELU,
    SGK_GELU_TANH,
    SGK_GELU_TANH_SLOPE,
    SGK_SILU,
    SGK_SOFTPLUS
} sgk_unary;

typedef enum sgk_binary { SGK_ADD, SGK_SUB, SGK_MUL, SGK_DIV, SGK_POW, SGK_MAXIMUM, SGK_MINIMUM } sgk_binary;

typedef enum sgk_compare {
    SGK_EQUAL,
    SGK_NOT_EQUAL,
    SGK_LESS,
    SGK_LESS_EQUAL,
    SGK_GREATER,
    SGK_GREATER_EQUAL,
    SGK_AND,
    SGK_OR
} sgk_compare;

typedef enum sgk_type { SGK_F32, SGK_I32, SGK_BOOL, SGK_BF16 } sgk_type;

cudaError_t sgk_map_unary(cudaStream_t s, const sgk_walk *w, sgk_unary op);                  /* f32 */
cudaError_t sgk_map_binary(cudaStream_t s, const sgk_walk *w, sgk_binary op, sgk_type type); /* f32, i32 */
cudaError_t sgk_map_compare(cudaStream_t s, const sgk_walk *w, sgk_compare op, sgk_type of); /* f32, i32, bool */
cudaError_t sgk_map_not(cudaStream_t s, const sgk_walk *w);
cudaError_t sgk_map_where(cudaStream_t s, const sgk_walk *w, size_t size);               /* of an element: 1, 4 */
cudaError_t sgk_map_cast(cudaStream_t s, const sgk_walk *w, sgk_type to, sgk_type from); /* see can_cast */
cudaError_t sgk_map_copy(cudaStream_t s, const sgk_walk *w, size_t size);                /* 1, 2, 4, 8 */
cudaError_t sgk_fill(cudaStream_t s, uint32_t *to, uint32_t pattern, uint32_t n);        /* n words */
cudaError_t sgk_iota(cudaStream_t s, void *to, sgk_type type, uint32_t n);               /* f32, i32 */

/* A result for each place among the axes that stay; f32, sums in double. Where results are few, parts of each are made
 * first, in `partial`, which has room for SGK_PARTIALS of them. */
#define SGK_PARTIALS ((size_t)64 * 1024)
typedef enum sgk_reduction { SGK_SUM, SGK_MEAN, SGK_MAX, SGK_MIN } sgk_reduction;
typedef struct sgk_reduce {
    const float *x;
    float *y;
    double *partial;
    int n_keep, n_over;
    uint32_t keep[SGK_DIMS], over[SGK_DIMS];
    int64_t keep_strides[SGK_DIMS], over_strides[SGK_DIMS];
    uint32_t n_out, n_each;
} sgk_reduce;
cudaError_t sgk_reduce_run(cudaStream_t s, const sgk_reduce *r, sgk_reduction kind);

/* Rows in one piece. */
typedef enum sgk_lines { SGK_SOFTMAX, SGK_LOG_SOFTMAX, SGK_LOGSUMEXP } sgk_lines;
cudaError_t sgk_softmax(cudaStream_t s, sgk_lines kind, const float *x, float *y, uint32_t rows, uint32_t n);
/* gain and bias NULL: neither. centred: layer_norm, else rms_norm. */
cudaError_t sgk_norm(cudaStream_t s, int centred, const float *x, const float *gain, const float *bias, float *y,
                     uint32_t rows, uint32_t n, double eps);

/* What data did wrong, in memory that both sides see: 0 as long as nothing. Kernels write it in one piece, so that what
 * is read is what one of them said: the kind in the upper two bits, the index of the element in 30, its value in 32. */
typedef uint64_t sgk_trouble;
#define SGK_TROUBLE_INDEX 1u /* out of range */
#define SGK_TROUBLE_STEP  2u /* below 1 */
#define SGK_TROUBLE(kind, value, element)                                                                              \
    ((uint64_t)(kind) << 62 | ((uint64_t)(element)&0x3fffffffu) << 32 | (uint32_t)(value))

/* 4-byte elements. */
cudaError_t sgk_embed(cudaStream_t s, const uint32_t *table, const int32_t *ids, uint32_t *y, uint32_t n_ids,
                      uint32_t n_rows, uint32_t width, sgk_trouble *t);
/* Row r of y is the sum of rows whose id is r, in the order of ids within each of `splits` parts. partial: splits *
 * n_rows * width, unless splits is 1. */
cudaError_t sgk_scatter_add(cudaStream_t s, const int32_t *ids, const float *rows, float *y, float *partial,
                            uint32_t n_ids, uint32_t n_rows, uint32_t width, uint32_t splits, sgk_trouble *t);
cudaError_t sgk_take_along(cudaStream_t s, const uint32_t *x, const int32_t *index, uint32_t *y, uint32_t outer,
                           uint32_t n_x, uint32_t n_index, uint32_t inner, sgk_trouble *t);
cudaError_t sgk_put_along(cudaStream_t s, const int32_t *index, const float *rows, float *y, uint32_t outer,
                          uint32_t n_x, uint32_t n_index, uint32_t inner, sgk_trouble *t);

typedef struct sgk_adam {
    float *w, *m, *v;
    const float *grad, *lr, *step;
    double beta1, beta2, eps, decay;
    uint32_t n;
} sgk_adam;
cudaError_t sgk_adam_run(cudaStream_t s, const sgk_adam *a, sgk_trouble *t);

#ifdef __cplusplus
}
#endif
#endif
