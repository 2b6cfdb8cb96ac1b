/* Operations: every builder adds one or a few values to a graph and returns the last.
 *
 *     sg_value *h = sg_softplus(g, sg_linear(g, x, w, b)); // [N,F]
 *
 * Shapes broadcast as in numpy: aligned at the last axis, equal or 1. Types never convert by themselves;
 * sg_cast does it. Negative axes count from the end. Unless said otherwise floats are f32 or f64, and each
 * operation that maps floats to floats has a gradient. */
#ifndef SIGHTGLASS_OPS_H
#define SIGHTGLASS_OPS_H

#include "sightglass/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one input, element by element ---- */

sg_value *sg_neg(sg_graph *g, sg_value *x);
sg_value *sg_abs(sg_graph *g, sg_value *x);
sg_value *sg_sign(sg_graph *g, sg_value *x); /* -1, 0, 1; gradient 0 */
sg_value *sg_exp(sg_graph *g, sg_value *x);
sg_value *sg_log(sg_graph *g, sg_value *x);
sg_value *sg_sqrt(sg_graph *g, sg_value *x);
sg_value *sg_rsqrt(sg_graph *g, sg_value *x);
sg_value *sg_reciprocal(sg_graph *g, sg_value *x);
sg_value *sg_square(sg_graph *g, sg_value *x);
sg_value *sg_sin(sg_graph *g, sg_value *x);
sg_value *sg_cos(sg_graph *g, sg_value *x);
sg_value *sg_erf(sg_graph *g, sg_value *x);
sg_value *sg_tanh(sg_graph *g, sg_value *x);
sg_value *sg_sigmoid(sg_graph *g, sg_value *x);
sg_value *sg_relu(sg_graph *g, sg_value *x);     /* gradient at 0 is 0 */
sg_value *sg_gelu(sg_graph *g, sg_value *x);     /* x Phi(x), exact (Hendrycks & Gimpel 2016) */
sg_value *sg_gelu_tanh(sg_graph *g, sg_value *x);/* its tanh form, GPT-2's */
sg_value *sg_gelu_tanh_slope(sg_graph *g, sg_value *x); /* its derivative */
sg_value *sg_silu(sg_graph *g, sg_value *x);     /* x sigmoid(x) */
sg_value *sg_softplus(sg_graph *g, sg_value *x); /* log(1 + e^x), no overflow */
sg_value *sg_cast(sg_graph *g, sg_value *x, sg_dtype to); /* any type to any; bf16 and f16 are storage */
sg_value *sg_identity(sg_graph *g, sg_value *x);
sg_value *sg_stop_gradient(sg_graph *g, sg_value *x);

/* ---- two inputs, element by element, broadcast ---- */

sg_value *sg_add(sg_graph *g, sg_value *a, sg_value *b); /* these four also i32 */
sg_value *sg_sub(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_mul(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_div(sg_graph *g, sg_value *a, sg_value *b); /* i32: toward zero; by zero is SG_ENUMERIC at run time */
sg_value *sg_pow(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_maximum(sg_graph *g, sg_value *a, sg_value *b); /* also i32; NaN wins; at a tie the gradient goes to a */
sg_value *sg_minimum(sg_graph *g, sg_value *a, sg_value *b);

sg_value *sg_equal(sg_graph *g, sg_value *a, sg_value *b); /* comparisons: f32 f64 i32 bool -> bool */
sg_value *sg_not_equal(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_less(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_less_equal(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_greater(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_greater_equal(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_and(sg_graph *g, sg_value *a, sg_value *b); /* bool -> bool */
sg_value *sg_or(sg_graph *g, sg_value *a, sg_value *b);
sg_value *sg_not(sg_graph *g, sg_value *x);

/* cond ? a : b; cond bool, a and b of one type; all three broadcast. */
sg_value *sg_where(sg_graph *g, sg_value *cond, sg_value *a, sg_value *b);
sg_value *sg_clamp(sg_graph *g, sg_value *x, double low, double high);

/* ---- with a plain number ---- */

sg_value *sg_scalar_like(sg_graph *g, sg_value *x, double c); /* a constant scalar of x's type */
sg_value *sg_add_scalar(sg_graph *g, sg_value *x, double c);
sg_value *sg_mul_scalar(sg_graph *g, sg_value *x, double c);
sg_value *sg_pow_scalar(sg_graph *g, sg_value *x, double c);
sg_value *sg_full(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims, double c);
sg_value *sg_zeros_like(sg_graph *g, sg_value *x);
sg_value *sg_ones_like(sg_graph *g, sg_value *x);

/* An extent as a scalar number: batch * time, for means over symbolic axes. */
sg_value *sg_extent_of(sg_graph *g, sg_dtype dtype, sg_dim d);
/* 0, 1, ... n-1 as [n]. i32, f32 or f64. */
sg_value *sg_iota(sg_graph *g, sg_dtype dtype, sg_dim n);

/* ---- reductions ---- */

#define SG_ALL_AXES (~0u)
/* Over the axes whose bits are set (bit k: axis k). keep: reduced axes stay, with extent 1. Sums run in double. */
sg_value *sg_sum_axes(sg_graph *g, sg_value *x, unsigned axes, bool keep); /* also i32 */
sg_value *sg_mean_axes(sg_graph *g, sg_value *x, unsigned axes, bool keep);
sg_value *sg_max_axes(sg_graph *g, sg_value *x, unsigned axes, bool keep); /* also i32; ties share the gradient equally */
sg_value *sg_min_axes(sg_graph *g, sg_value *x, unsigned axes, bool keep);

sg_value *sg_sum(sg_graph *g, sg_value *x, int axis, bool keep);
sg_value *sg_mean(sg_graph *g, sg_value *x, int axis, bool keep);
sg_value *sg_max(sg_graph *g, sg_value *x, int axis, bool keep);
sg_value *sg_min(sg_graph *g, sg_value *x, int axis, bool keep);
sg_value *sg_sum_all(sg_graph *g, sg_value *x);  /* -> scalar */
sg_value *sg_mean_all(sg_graph *g, sg_value *x); /* -> scalar */
/* Sums x down to these extents, undoing a broadcast. */
sg_value *sg_sum_to(sg_graph *g, sg_value *x, int n_dims, const sg_dim *dims);

sg_value *sg_argmax(sg_graph *g, sg_value *x, int axis, bool keep); /* -> i32; the first of equals; NaN counts as largest */
sg_value *sg_logsumexp(sg_graph *g, sg_value *x, int axis, bool keep); /* all -inf gives -inf */
/* A slice that is all -inf (everything masked) gives zeros in the softmax, so that masked rows stay finite, and -inf in
 * the log-softmax. */
sg_value *sg_softmax(sg_graph *g, sg_value *x, int axis);
sg_value *sg_log_softmax(sg_graph *g, sg_value *x, int axis);
sg_value *sg_cumsum(sg_graph *g, sg_value *x, int axis);
sg_value *sg_cumsum_reverse(sg_graph *g, sg_value *x, int axis); /* y_i = sum over j >= i */

/* ---- matrices ---- */

/* a [...,M,K] (or [...,K,M] if trans_a), b [...,K,N] (or [...,N,K] if trans_b) -> [...,M,N]; leading axes broadcast.
 * b may also be weights as they are stored, a variable or constant [K,N] or [N,K] of bf16, f16 or a block type, beside a in
 * f32 or f64, which is then the result's type: b is read in place, as the numbers that sg_convert gives. Gradients flow to a
 * alone. In f32 the error is that of a sum in f32 (docs/decisions/0011-packed-weights.md). */
sg_value *sg_matmul(sg_graph *g, sg_value *a, sg_value *b, bool trans_a, bool trans_b);
/* x [...,D], w [F,D], b [F] or NULL -> [...,F] */
sg_value *sg_linear(sg_graph *g, sg_value *x, sg_value *w, sg_value *b);

/* ---- normalisation, over the last axis ---- */

/* (x - mean) / sqrt(var + eps) * w + b; w, b [D] or both NULL */
sg_value *sg_layer_norm(sg_graph *g, sg_value *x, sg_value *w, sg_value *b, double eps);
/* x / sqrt(mean(x^2) + eps) (Zhang & Sennrich 2019), without gain */
sg_value *sg_rms_norm(sg_graph *g, sg_value *x, double eps);

/* ---- sequences ---- */

typedef enum sg_rope_layout {
    SG_ROPE_HALF,       /* pairs (k, k + R/2): GPT-NeoX, Llama as Hugging Face stores it */
    SG_ROPE_INTERLEAVED /* pairs (2k, 2k + 1): GPT-J, Su et al. 2021 */
} sg_rope_layout;
/* Rotary embedding: x [B,T,H,K], positions [B,T] i32, frequencies [R/2] of x's type; turns the first R numbers of each
 * head by position * frequency and leaves the rest. */
sg_value *sg_rope(sg_graph *g, sg_value *x, sg_value *positions, sg_value *frequencies, sg_rope_layout layout);

/* table [V,D], ids i32 [...] -> [...,D]. An id outside 0..V-1 is SG_EARG at run time. */
sg_value *sg_embed(sg_graph *g, sg_value *table, sg_value *ids);
/* The same from a table as it is stored, a variable or constant of bf16, f16 or a block type, with rows in f32 or f64: no
 * gradient flows to the table. Of a table of type `to` it is sg_embed. */
sg_value *sg_embed_as(sg_graph *g, sg_value *table, sg_value *ids, sg_dtype to);
/* ids [...] i32, rows [...,D] -> [V,D] with rows summed at their ids */
sg_value *sg_scatter_add(sg_graph *g, sg_value *ids, sg_value *rows, sg_dim n_rows);
/* Few rows of a large table [V,D] by their ids [...,k], whose gradients cost as little: weights [...,k] -> their weighted sum
 * [...,D]; x [...,D] -> its product with each [...,k]; and weights and x -> [V,D], where row v has w x of all ids that are v.
 * An id that occurs twice counts twice. */
sg_value *sg_rows_sum(sg_graph *g, sg_value *table, sg_value *ids, sg_value *weights);
sg_value *sg_rows_dot(sg_graph *g, sg_value *table, sg_value *ids, sg_value *x);
sg_value *sg_rows_outer(sg_graph *g, sg_value *ids, sg_value *weights, sg_value *x, sg_dim n_rows);
/* out[..,j,..] = x[.., index[..,j,..], ..] along an axis; index i32 of x's rank, other axes equal */
sg_value *sg_take_along(sg_graph *g, sg_value *x, sg_value *index, int axis);
/* the reverse: zeros with `rows` added at index along the axis, whose extent becomes n */
sg_value *sg_put_along(sg_graph *g, sg_value *index, sg_value *rows, int axis, sg_dim n);

/* true where key j may be seen by query i: j <= i + S - T -> bool [T,S] */
sg_value *sg_causal_mask(sg_graph *g, sg_dim n_queries, sg_dim n_keys);
/* true where key j is near query i, or behind it: j > i + S - T - width -> bool [T,S]; with a causal mask each query sees at most
 * `width` keys, its own among them (Beltagy et al. 2020, section 3.1) */
sg_value *sg_window_mask(sg_graph *g, sg_dim n_queries, sg_dim n_keys, sg_dim width);
/* lengths [B] i32 -> bool [B,T]: position < length */
sg_value *sg_length_mask(sg_graph *g, sg_value *lengths, sg_dim n);
/* logits [...,V], targets i32 [...] -> nats per position [...] */
sg_value *sg_cross_entropy(sg_graph *g, sg_value *logits, sg_value *targets);

/* The k largest along the last axis, in falling order, the first of equals first; NaN counts as largest. Values by
 * sg_take_along, through which gradients flow. -> i32 [...,k] */
sg_value *sg_top_k(sg_graph *g, sg_value *x, sg_dim k);
/* ids [...] i32 -> [...,n]: 1 at the id, else 0 (an id outside gives all 0) */
sg_value *sg_one_hot(sg_graph *g, sg_value *ids, sg_dim n, sg_dtype dtype);

/* ---- shape: any type ---- */

sg_value *sg_reshape(sg_graph *g, sg_value *x, int n_dims, const sg_dim *dims);
sg_value *sg_transpose(sg_graph *g, sg_value *x, const int *perm); /* out axis k is x's axis perm[k] */
sg_value *sg_swap_axes(sg_graph *g, sg_value *x, int a, int b);
sg_value *sg_broadcast(sg_graph *g, sg_value *x, int n_dims, const sg_dim *dims);
sg_value *sg_expand(sg_graph *g, sg_value *x, int axis);  /* inserts an axis of extent 1 */
sg_value *sg_squeeze(sg_graph *g, sg_value *x, int axis); /* removes one */
sg_value *sg_repeat(sg_graph *g, sg_value *x, int axis, sg_dim n); /* each element n times in a row */
/* x[start : stop : step] along an axis; 0 <= start <= stop <= extent (may be symbolic), step >= 1 */
sg_value *sg_slice(sg_graph *g, sg_value *x, int axis, sg_dim start, sg_dim stop, sg_dim step);
/* c before, after, and `inner` times between elements along an axis */
sg_value *sg_pad(sg_graph *g, sg_value *x, int axis, sg_dim before, sg_dim after, sg_dim inner, double c);
sg_value *sg_concat(sg_graph *g, int n, sg_value *const *xs, int axis);

/* ---- random: Philox4x32-10, see rng.h ---- */

/* Where numbers come from. The same origin and step give the same numbers on every machine and thread count. */
typedef struct sg_random {
    uint64_t seed;
    uint32_t stream;
    bool row_streams; /* row r of the first axis uses stream + r, numbered from 0 within the row */
} sg_random;
/* step: i32 scalar, usually a counter; the numbers of another step are independent. */
sg_value *sg_random_uniform(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims, sg_random from, sg_value *step);
sg_value *sg_random_normal(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims, sg_random from, sg_value *step);
/* true with probability p */
sg_value *sg_random_bernoulli(sg_graph *g, double p, int n_dims, const sg_dim *dims, sg_random from, sg_value *step);
/* 0 with probability p, else x / (1 - p); x itself for p = 0. 0 <= p < 1, or it is SG_EARG. For training: at inference
 * leave it out. */
sg_value *sg_dropout(sg_graph *g, sg_value *x, double p, sg_random from, sg_value *step);

/* ---- state ---- */

/* The variable after x was stored in it. Values read through the result see x; every other reader in the same run sees
 * what the variable held before. One run stores into a variable at most once. */
sg_value *sg_assign(sg_graph *g, sg_value *variable, sg_value *x);
/* Stores x at [start, start + extent) along an axis, as key/value caches want it. */
sg_value *sg_assign_slice(sg_graph *g, sg_value *variable, sg_value *x, int axis, sg_dim start);
/* Stores row b of x [B,T,...] in variable [N,C,...] as [first + b, places[b] : places[b] + T]: a cache whose rows have
 * different lengths. places [B] i32. f32 is rounded to the variable's type. */
sg_value *sg_assign_rows(sg_graph *g, sg_value *variable, sg_value *x, sg_value *places, sg_dim first);

/* Updates. Each returns the parameter after the step; moments are variables of its shape, lr and step scalars (step counts
 * from 1, any float type of the parameter's). */
sg_value *sg_sgd(sg_graph *g, sg_value *w, sg_value *grad, sg_value *lr);
sg_value *sg_momentum(sg_graph *g, sg_value *w, sg_value *m, sg_value *grad, sg_value *lr, double mu); /* m = mu m + g; w -= lr m */
sg_value *sg_rmsprop(sg_graph *g, sg_value *w, sg_value *v, sg_value *grad, sg_value *lr, double rho, double eps);

typedef struct sg_adam_opts {
    double beta1, beta2, eps; /* .9, .999, 1e-8 */
    double weight_decay;      /* 0; decoupled (AdamW, Loshchilov & Hutter 2019): w -= lr * weight_decay * w */
} sg_adam_opts;
sg_adam_opts sg_adam_defaults(void);
/* Adam (Kingma & Ba 2015, algorithm 1, with bias correction). */
sg_value *sg_adam(sg_graph *g, sg_value *w, sg_value *m, sg_value *v, sg_value *grad, sg_value *lr, sg_value *step,
                  sg_adam_opts opts);

#ifdef __cplusplus
}
#endif
#endif
