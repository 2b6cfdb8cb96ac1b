/* Walking strided operands together.
 *
 * Axes that can be merged are merged, so that most cases become one long inner loop. Element-wise kernels hand theirs
 * to sg_walk; a kernel with a need of its own walks by itself:
 *
 *     sg_iter it;
 *     sg_iter_begin(&it, out, 2, (const sg_view *const[]){a, b});
 *     do {
 *         // it.n elements: out at it.at[0] (stride it.step[0]), a at it.at[1] (stride it.step[1]), ...
 *     } while (sg_iter_next(&it)); */
#ifndef SG_OPS_ITER_H
#define SG_OPS_ITER_H

#include "ops/ops.h"

#define SG_ITER_MAX 4

typedef struct sg_iter {
    sg_dim n;                 /* elements of the inner loop; 0 if there is nothing to do */
    sg_dim at[SG_ITER_MAX];   /* element offsets at the start of the inner loop; [0] is out */
    sg_dim step[SG_ITER_MAX]; /* strides of the inner loop, in elements */
    int n_operands, n_dims;
    sg_dim dims[SG_MAX_DIMS], index[SG_MAX_DIMS];
    sg_dim strides[SG_ITER_MAX][SG_MAX_DIMS];
} sg_iter;

/* Operand 0 is `out`; inputs are aligned with it at the last axis and broadcast where their extent is 1. */
void sg_iter_begin(sg_iter *it, const sg_view *out, int n_in, const sg_view *const *in);
bool sg_iter_next(sg_iter *it);

/* Kernels below this many elements stay on one thread. */
#define SG_PARALLEL 32768

/* Calls fn on parts of [0, n) that together cover it, on up to n_threads threads when n * work_each is worth it. What
 * fn computes for an index may not depend on how the range was cut. */
typedef void (*sg_range_fn)(void *context, sg_dim first, sg_dim last);
void sg_split(sg_dim n, sg_dim work_each, int n_threads, sg_range_fn fn, void *context);

/* An element-wise kernel: `loop` sees n elements of every operand, out first, each with its own stride in elements.
 * Long walks are cut among threads; `work` is the price of an element, an addition being 1. */
typedef void (*sg_loop_fn)(void *const *at, const sg_dim *step, sg_dim n);
void sg_walk(const sg_kernel_args *k, sg_loop_fn loop, sg_dim work);

/* The loop below has no dependence between its turns, also when it works in place. */
#ifdef _OPENMP
#define SG_SIMD _Pragma("omp simd")
#elif defined(__clang__)
#define SG_SIMD _Pragma("clang loop vectorize(assume_safety)")
#else
#define SG_SIMD
#endif

/* Number of elements of a view. */
sg_dim sg_view_count(const sg_view *v);

#endif
