/* Every op that has a gradient, over several shapes, against central differences: first and second derivatives and
 * forward mode (test/gradcheck.h). A new op needs a row here: the last tests see to it, and that a wrong
 * gradient is found out. */
#include "check.h"
#include "gradcheck.h"
#include "graph/op.h"
#include "sightglass/image.h"

#define BUILD(name, expression)                                                                                        \
    static sg_value *name(sg_graph *g, sg_value *const *x)                                                             \
    {                                                                                                                  \
        return expression;                                                                                             \
    }

static sg_value *ids(sg_graph *g, int n_dims, const sg_dim *dims, const int32_t *numbers)
{
    const sg_tensor t = {.dtype = SG_I32, .n_dims = n_dims};
    sg_tensor with = t;

    for (int k = 0; k < n_dims; k++)
        with.dims[k] = dims[k];
    int32_t copy[64] = {0};
    for (sg_dim i = 0; i < sg_tensor_count(&with); i++)
        copy[i] = numbers[i];
    with.data = copy;
    return sg_const(g, &with);
}

#define IDS(n_dims, dims, ...) ids(g, n_dims, (const sg_dim[])dims, (const int32_t[]){__VA_ARGS__})
#define D(...)                                                                                                         \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

/* ---- one input, every shape ---- */

BUILD(neg, sg_neg(g, x[0]))
BUILD(abs_, sg_abs(g, x[0]))
BUILD(sign, sg_mul(g, sg_sign(g, x[0]), x[0]))
BUILD(exp_, sg_exp(g, x[0]))
BUILD(log_, sg_log(g, x[0]))
BUILD(sqrt_, sg_sqrt(g, x[0]))
BUILD(rsqrt, sg_rsqrt(g, x[0]))
BUILD(reciprocal, sg_reciprocal(g, x[0]))
BUILD(square, sg_square(g, x[0]))
BUILD(sin_, sg_sin(g, x[0]))
BUILD(cos_, sg_cos(g, x[0]))
BUILD(erf_, sg_erf(g, x[0]))
BUILD(tanh_, sg_tanh(g, x[0]))
BUILD(sigmoid, sg_sigmoid(g, x[0]))
BUILD(relu, sg_relu(g, x[0]))
BUILD(gelu, sg_gelu(g, x[0]))
BUILD(gelu_tanh, sg_gelu_tanh(g, x[0]))
BUILD(gelu_tanh_slope, sg_gelu_tanh_slope(g, x[0]))
BUILD(silu, sg_silu(g, x[0]))
BUILD(softplus, sg_softplus(g, x[0]))
BUILD(identity, sg_square(g, sg_identity(g, x[0])))
BUILD(clamp, sg_clamp(g, x[0], -0.5, 0.6))
BUILD(pow_2_5, sg_pow_scalar(g, x[0], 2.5))
BUILD(softmax_last, x[0]->n_dims ? sg_softmax(g, x[0], -1) : sg_softmax(g, sg_expand(g, x[0], 0), 0))
BUILD(log_softmax_first, sg_log_softmax(g, x[0]->n_dims ? x[0] : sg_expand(g, x[0], 0), 0))
BUILD(layer_norm_plain, sg_layer_norm(g, x[0]->n_dims ? x[0] : sg_expand(g, x[0], 0), NULL, NULL, 0.1))
BUILD(rms_norm, sg_rms_norm(g, x[0]->n_dims ? x[0] : sg_expand(g, x[0], 0), 0.1))
BUILD(mean_all, sg_square(g, sg_mean_all(g, x[0])))
BUILD(sum_all, sg_square(g, sg_sum_all(g, x[0])))
BUILD(max_all, sg_square(g, sg_max_axes(g, x[0], SG_ALL_AXES, false)))
BUILD(min_all, sg_square(g, sg_min_axes(g, x[0], SG_ALL_AXES, true)))

static const struct {
    const char *op;
    sg_value *(*build)(sg_graph *g, sg_value *const *x);
    double low, high;
    bool apart;
} unary[] = {
    {"neg", neg, -2, 2, false},
    {"abs", abs_, -2, 2, true},
    {"sign", sign, -2, 2, true},
    {"exp", exp_, -2, 2, false},
    {"log", log_, 0.3, 3, false},
    {"sqrt", sqrt_, 0.3, 3, false},
    {"rsqrt", rsqrt, 0.4, 3, false},
    {"reciprocal", reciprocal, -2.5, -0.5, false},
    {"square", square, -2, 2, false},
    {"sin", sin_, -4, 4, false},
    {"cos", cos_, -4, 4, false},
    {"erf", erf_, -2, 2, false},
    {"tanh", tanh_, -3, 3, false},
    {"sigmoid", sigmoid, -4, 4, false},
    {"relu", relu, -2, 2, true},
    {"gelu", gelu, -3, 3, false},
    {"gelu_tanh", gelu_tanh, -3, 3, false},
    {"gelu_tanh_slope", gelu_tanh_slope, -3, 3, false},
    {"silu", silu, -4, 4, false},
    {"softplus", softplus, -4, 4, false},
    {"identity", identity, -2, 2, false},
    {"maximum", clamp, -0.97, 0.97, true},
    {"minimum", clamp, -0.97, 0.97, true},
    {"pow", pow_2_5, 0.4, 2, false},
    {"softmax", softmax_last, -2, 2, false},
    {"log_softmax", log_softmax_first, -2, 2, false},
    {"layer_norm", layer_norm_plain, -2, 2, false},
    {"rms_norm", rms_norm, -2, 2, false},
    {"mean", mean_all, -2, 2, false},
    {"sum", sum_all, -2, 2, false},
    {"max", max_all, -2, 2, true},
    {"min", min_all, -2, 2, true},
};

static const gradcheck_input shapes[] = {
    {.n_dims = 0},
    {.n_dims = 1, .dims = {5}},
    {.n_dims = 2, .dims = {3, 4}},
    {.n_dims = 3, .dims = {2, 1, 3}},
    {.n_dims = 2, .dims = {-3, 2}},
    {.n_dims = 3, .dims = {-2, -3, -2}},
};

/* ---- two and three inputs, broadcast ---- */

BUILD(add, sg_add(g, sg_square(g, x[0]), x[1]))
BUILD(sub, sg_sub(g, x[0], sg_square(g, x[1])))
BUILD(mul, sg_mul(g, x[0], x[1]))
BUILD(div_, sg_div(g, x[0], x[1]))
BUILD(pow_, sg_pow(g, x[1], x[0]))
BUILD(maximum, sg_maximum(g, sg_square(g, x[0]), x[1]))
BUILD(minimum, sg_minimum(g, sg_square(g, x[0]), x[1]))
BUILD(where, sg_where(g, sg_less(g, x[0], x[1]), sg_square(g, x[0]), sg_mul(g, x[0], x[1])))

static const struct {
    const char *op;
    sg_value *(*build)(sg_graph *g, sg_value *const *x);
    double low0, high0, low1, high1;
} binary[] = {
    {"add", add, -2, 2, -2, 2},         {"sub", sub, -2, 2, -2, 2},
    {"mul", mul, -2, 2, -2, 2},         {"div", div_, -2, 2, 0.6, 2},
    {"pow", pow_, -1.5, 2, 0.5, 1.5},   {"maximum", maximum, 0.2, 1.4, 0.3, 1.1},
    {"where", where, -2, 2, -1.9, 2.1}, {"minimum", minimum, 0.2, 1.4, 0.3, 1.1},
};

static const gradcheck_input pairs[][2] = {
    {{.n_dims = 0}, {.n_dims = 0}},
    {{.n_dims = 2, .dims = {2, 3}}, {.n_dims = 2, .dims = {2, 3}}},
    {{.n_dims = 2, .dims = {2, 3}}, {.n_dims = 0}},
    {{.n_dims = 0}, {.n_dims = 2, .dims = {2, 2}}},
    {{.n_dims = 2, .dims = {2, 3}}, {.n_dims = 1, .dims = {3}}},
    {{.n_dims = 2, .dims = {2, 1}}, {.n_dims = 2, .dims = {1, 3}}},
    {{.n_dims = 1, .dims = {2}}, {.n_dims = 3, .dims = {2, 3, 1}}},
    {{.n_dims = 2, .dims = {-2, -3}}, {.n_dims = 1, .dims = {-3}}},
    {{.n_dims = 2, .dims = {1, 3}}, {.n_dims = 2, .dims = {-2, 3}}},
};

/* ---- the rest, each with its own shapes ---- */

BUILD(cast, sg_cast(g, sg_cast(g, x[0], SG_F32), SG_F64))

BUILD(sum_0, sg_square(g, sg_sum(g, x[0], 0, false)))
BUILD(sum_1_keep, sg_square(g, sg_sum(g, x[0], 1, true)))
BUILD(sum_axes_0_2, sg_square(g, sg_sum_axes(g, x[0], 5u, false)))
BUILD(sum_to_2_1, sg_square(g, sg_sum_to(g, x[0], 2, (const sg_dim[]){3, 1})))
BUILD(mean_last, sg_square(g, sg_mean(g, x[0], -1, false)))
BUILD(mean_0_keep, sg_square(g, sg_mean(g, x[0], 0, true)))
BUILD(max_last, sg_square(g, sg_max(g, x[0], -1, false)))
BUILD(max_0_keep, sg_square(g, sg_max(g, x[0], 0, true)))
BUILD(min_last, sg_square(g, sg_min(g, x[0], -1, true)))
BUILD(min_0, sg_square(g, sg_min(g, x[0], 0, false)))
BUILD(logsumexp_last, sg_logsumexp(g, x[0], -1, false))
BUILD(logsumexp_0_keep, sg_logsumexp(g, x[0], 0, true))
BUILD(softmax_0, sg_softmax(g, x[0], 0))
BUILD(log_softmax_last, sg_log_softmax(g, x[0], -1))
BUILD(cumsum_last, sg_square(g, sg_cumsum(g, x[0], -1)))
BUILD(cumsum_0, sg_square(g, sg_cumsum(g, x[0], 0)))
BUILD(cumsum_reverse, sg_square(g, sg_cumsum_reverse(g, x[0], 1)))

BUILD(matmul, sg_matmul(g, x[0], x[1], false, false))
BUILD(matmul_ta, sg_matmul(g, x[0], x[1], true, false))
BUILD(matmul_tb, sg_matmul(g, x[0], x[1], false, true))
BUILD(matmul_ta_tb, sg_matmul(g, x[0], x[1], true, true))
BUILD(linear, sg_linear(g, x[0], x[1], x[2]))

BUILD(layer_norm, sg_layer_norm(g, x[0], x[1], x[2], 1e-2))

static sg_value *rope(sg_graph *g, sg_value *const *x, sg_rope_layout layout)
{
    sg_value *positions = IDS(2, D(1, 3), 0, 4, 9);
    sg_tensor frequencies = sg_tensor_of(SG_F64, 1, (const sg_dim[]){2}, (double[]){0.7, 0.1});

    return sg_rope(g, x[0], positions, sg_const(g, &frequencies), layout);
}
BUILD(rope_half, rope(g, x, SG_ROPE_HALF))
BUILD(rope_interleaved, sg_square(g, rope(g, x, SG_ROPE_INTERLEAVED)))

BUILD(embed, sg_square(g, sg_embed(g, x[0], IDS(2, D(2, 3), 3, 0, 3, 1, 3, 0))))
BUILD(embed_one, sg_embed(g, x[0], IDS(0, D(0), 2)))
BUILD(scatter_add, sg_square(g, sg_scatter_add(g, IDS(2, D(2, 3), 3, 0, 3, 1, 3, 0), x[0], 5)))
BUILD(rows_sum, sg_square(g, sg_rows_sum(g, x[0], IDS(2, D(2, 3), 3, 0, 3, 1, 3, 0), x[1])))
BUILD(rows_dot, sg_square(g, sg_rows_dot(g, x[0], IDS(2, D(2, 3), 3, 0, 3, 1, 3, 0), x[1])))
BUILD(rows_outer, sg_square(g, sg_rows_outer(g, IDS(2, D(2, 3), 3, 0, 3, 1, 3, 0), x[0], x[1], 5)))
BUILD(take_along_last, sg_square(g, sg_take_along(g, x[0], IDS(2, D(2, 3), 3, 0, 3, 1, 2, 1), -1)))
BUILD(take_along_0, sg_square(g, sg_take_along(g, x[0], IDS(2, D(3, 4), 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0), 0)))
BUILD(put_along_last, sg_square(g, sg_put_along(g, IDS(2, D(2, 3), 3, 0, 3, 1, 2, 1), x[0], -1, 5)))
BUILD(put_along_0, sg_square(g, sg_put_along(g, IDS(2, D(2, 3), 1, 0, 1, 1, 2, 0), x[0], 0, 3)))
BUILD(top_2, sg_square(g, sg_take_along(g, x[0], sg_top_k(g, x[0], 2), -1)))
BUILD(cross_entropy, sg_cross_entropy(g, x[0], IDS(2, D(2, 2), 0, 3, 2, 2)))

BUILD(reshape, sg_square(g, sg_reshape(g, x[0], 3, (const sg_dim[]){2, 3, 2})))
BUILD(reshape_flat, sg_square(g, sg_reshape(g, x[0], 1, (const sg_dim[]){sg_dim_mul(g, sg_value_dim(x[0], 0), 4)})))
BUILD(reshape_scalar, sg_square(g, sg_reshape(g, x[0], 0, NULL)))
BUILD(transpose, sg_square(g, sg_transpose(g, x[0], (const int[]){2, 0, 1})))
BUILD(transpose_negative, sg_square(g, sg_transpose(g, x[0], (const int[]){-1, 1, 0})))
BUILD(reshape_of_transpose,
      sg_square(g, sg_reshape(g, sg_transpose(g, x[0], (const int[]){2, 0, 1}), 2, (const sg_dim[]){8, 3})))
BUILD(swap_axes, sg_square(g, sg_swap_axes(g, x[0], 0, -1)))
BUILD(broadcast, sg_mul(g, sg_broadcast(g, x[0], 3, (const sg_dim[]){2, 3, 4}), x[1]))
BUILD(broadcast_symbol, sg_square(g, sg_broadcast(g, x[0], 2, (const sg_dim[]){sg_value_dim(x[1], 0), 3})))
BUILD(repeat, sg_square(g, sg_repeat(g, x[0], 1, 3)))
BUILD(slice_first, sg_square(g, sg_slice(g, x[0], 0, 1, 3, 1)))
BUILD(slice_step, sg_square(g, sg_slice(g, x[0], -1, 1, 6, 2)))
BUILD(slice_symbol, sg_square(g, sg_slice(g, x[0], 0, 1, sg_value_dim(x[0], 0), 1)))
BUILD(slice_empty, sg_square(g, sg_slice(g, x[0], 0, 2, 2, 1)))
BUILD(pad, sg_square(g, sg_pad(g, x[0], -1, 1, 2, 0, 1.5)))
BUILD(pad_inner, sg_square(g, sg_pad(g, x[0], 0, 2, 0, 2, 0.5)))
BUILD(concat, sg_square(g, sg_concat(g, 3, (sg_value *const[]){x[0], x[1], x[0]}, 1)))
BUILD(concat_symbol, sg_square(g, sg_concat(g, 2, (sg_value *const[]){x[1], x[0]}, 0)))

static const gradcheck_case cases[] = {
    {"cast", cast, 1, {{2, {2, 3}, -2, 2, false}}, 1.0 / 64}, /* multiples of 1/64 survive the trip through f32 */

    {"sum", sum_0, 1, {{2, {3, 4}, -1, 1, false}}, 0},
    {"sum", sum_0, 1, {{2, {-3, 4}, -1, 1, false}}, 0},
    {"sum", sum_1_keep, 1, {{3, {2, 3, 2}, -1, 1, false}}, 0},
    {"sum", sum_axes_0_2, 1, {{3, {2, -3, -2}, -1, 1, false}}, 0},
    {"sum", sum_to_2_1, 1, {{3, {2, 3, 4}, -1, 1, false}}, 0},
    {"mean", mean_last, 1, {{2, {3, 4}, -1, 1, false}}, 0},
    {"mean", mean_last, 1, {{2, {3, -4}, -1, 1, false}}, 0},
    {"mean", mean_0_keep, 1, {{3, {2, 3, 2}, -1, 1, false}}, 0},
    {"max", max_last, 1, {{2, {3, 4}, -1, 1, true}}, 0},
    {"max", max_0_keep, 1, {{3, {-3, 2, 2}, -1, 1, true}}, 0},
    {"min", min_last, 1, {{2, {3, -4}, -1, 1, true}}, 0},
    {"min", min_0, 1, {{3, {3, 2, 2}, -1, 1, true}}, 0},
    {"logsumexp", logsumexp_last, 1, {{2, {3, 4}, -2, 2, false}}, 0},
    {"logsumexp", logsumexp_last, 1, {{1, {4}, -2, 2, false}}, 0},
    {"logsumexp", logsumexp_0_keep, 1, {{3, {-3, 2, 2}, -2, 2, false}}, 0},
    {"softmax", softmax_0, 1, {{3, {3, 2, -2}, -2, 2, false}}, 0},
    {"log_softmax", log_softmax_last, 1, {{2, {-2, 4}, -2, 2, false}}, 0},
    {"cumsum", cumsum_last, 1, {{2, {2, 5}, -1, 1, false}}, 0},
    {"cumsum", cumsum_0, 1, {{2, {-4, 2}, -1, 1, false}}, 0},
    {"cumsum", cumsum_reverse, 1, {{3, {2, 3, 2}, -1, 1, false}}, 0},

    {"matmul", matmul, 2, {{2, {3, 4}, -1, 1, false}, {2, {4, 2}, -1, 1, false}}, 0},
    {"matmul", matmul_ta, 2, {{2, {4, 3}, -1, 1, false}, {2, {4, 2}, -1, 1, false}}, 0},
    {"matmul", matmul_tb, 2, {{2, {3, 4}, -1, 1, false}, {2, {2, 4}, -1, 1, false}}, 0},
    {"matmul", matmul_ta_tb, 2, {{2, {4, 3}, -1, 1, false}, {2, {2, 4}, -1, 1, false}}, 0},
    {"matmul", matmul, 2, {{2, {1, 5}, -1, 1, false}, {2, {5, 6}, -1, 1, false}}, 0},
    {"matmul", matmul_tb, 2, {{2, {7, 5}, -1, 1, false}, {2, {1, 5}, -1, 1, false}}, 0},
    {"matmul", matmul, 2, {{3, {2, 3, 4}, -1, 1, false}, {2, {4, 2}, -1, 1, false}}, 0},
    {"matmul", matmul, 2, {{3, {-2, -3, 4}, -1, 1, false}, {2, {4, 2}, -1, 1, false}}, 0},
    {"matmul", matmul_ta, 2, {{3, {2, 4, 3}, -1, 1, false}, {2, {4, 2}, -1, 1, false}}, 0},
    {"matmul", matmul_tb, 2, {{3, {2, 3, 4}, -1, 1, false}, {3, {2, 2, 4}, -1, 1, false}}, 0},
    {"matmul", matmul_tb, 2, {{4, {2, 3, 2, 3}, -1, 1, false}, {4, {2, 1, 2, 3}, -1, 1, false}}, 0},
    {"matmul", matmul_ta_tb, 2, {{4, {2, 1, 3, 2}, -1, 1, false}, {3, {2, 2, 3}, -1, 1, false}}, 0},
    {"matmul", matmul, 2, {{2, {3, 4}, -1, 1, false}, {3, {-2, 4, -2}, -1, 1, false}}, 0},
    {"matmul", linear, 3, {{3, {2, -2, 3}, -1, 1, false}, {2, {4, 3}, -1, 1, false}, {1, {4}, -1, 1, false}}, 0},
    {"matmul", linear, 3, {{1, {3}, -1, 1, false}, {2, {4, 3}, -1, 1, false}, {1, {4}, -1, 1, false}}, 0},

    {"layer_norm", layer_norm, 3, {{2, {3, 5}, -1, 1, false}, {1, {5}, -1, 1, false}, {1, {5}, -1, 1, false}}, 0},
    {"layer_norm", layer_norm, 3, {{3, {2, -2, 4}, -1, 1, false}, {1, {4}, -1, 1, false}, {1, {4}, -1, 1, false}}, 0},

    {"rope", rope_half, 1, {{4, {1, 3, 2, 4}, -1, 1, false}}, 0},
    {"rope", rope_half, 1, {{4, {1, 3, 2, 7}, -1, 1, false}}, 0},
    {"rope", rope_interleaved, 1, {{4, {1, 3, 2, 5}, -1, 1, false}}, 0},
    {"embed", embed, 1, {{2, {4, 3}, -1, 1, false}}, 0},
    {"embed", embed_one, 1, {{2, {-4, -3}, -1, 1, false}}, 0},
    {"scatter_add", scatter_add, 1, {{3, {2, 3, 2}, -1, 1, false}}, 0},
    {"rows_sum", rows_sum, 2, {{2, {4, 3}, -1, 1, false}, {2, {2, 3}, -1, 1, false}}, 0},
    {"rows_dot", rows_dot, 2, {{2, {4, 19}, -1, 1, false}, {2, {2, 19}, -1, 1, false}}, 0},
    {"rows_outer", rows_outer, 2, {{2, {2, 3}, -1, 1, false}, {2, {2, 2}, -1, 1, false}}, 0},
    {"take_along", take_along_last, 1, {{2, {2, 4}, -1, 1, false}}, 0},
    {"take_along", take_along_0, 1, {{2, {2, 4}, -1, 1, false}}, 0},
    {"take_along", top_2, 1, {{2, {3, 5}, -1, 1, true}}, 0},
    {"take_along", cross_entropy, 1, {{3, {2, 2, 4}, -2, 2, false}}, 0},
    {"put_along", put_along_last, 1, {{2, {2, 3}, -1, 1, false}}, 0},
    {"put_along", put_along_0, 1, {{2, {2, 3}, -1, 1, false}}, 0},

    {"reshape", reshape, 1, {{2, {4, 3}, -1, 1, false}}, 0},
    {"reshape", reshape_flat, 1, {{2, {-3, 4}, -1, 1, false}}, 0},
    {"reshape", reshape_scalar, 1, {{2, {1, 1}, -1, 1, false}}, 0},
    {"transpose", transpose, 1, {{3, {2, 3, 2}, -1, 1, false}}, 0},
    {"transpose", transpose_negative, 1, {{3, {-2, 3, -2}, -1, 1, false}}, 0},
    {"transpose", reshape_of_transpose, 1, {{3, {2, 3, 4}, -1, 1, false}}, 0},
    {"transpose", swap_axes, 1, {{4, {2, 1, 3, 2}, -1, 1, false}}, 0},
    {"broadcast", broadcast, 2, {{2, {3, 1}, -1, 1, false}, {3, {2, 3, 4}, -1, 1, false}}, 0},
    {"broadcast", broadcast, 2, {{0, {0}, -1, 1, false}, {1, {4}, -1, 1, false}}, 0},
    {"broadcast", broadcast_symbol, 2, {{1, {3}, -1, 1, false}, {1, {-4}, -1, 1, false}}, 0},
    {"broadcast", repeat, 1, {{3, {2, 2, 3}, -1, 1, false}}, 0},
    {"broadcast", repeat, 1, {{2, {-2, -3}, -1, 1, false}}, 0},
    {"slice", slice_first, 1, {{2, {4, 3}, -1, 1, false}}, 0},
    {"slice", slice_step, 1, {{2, {2, 7}, -1, 1, false}}, 0},
    {"slice", slice_symbol, 1, {{2, {-4, 2}, -1, 1, false}}, 0},
    {"slice", slice_empty, 1, {{2, {4, 2}, -1, 1, false}}, 0},
    {"pad", pad, 1, {{2, {2, -3}, -1, 1, false}}, 0},
    {"pad", pad_inner, 1, {{2, {3, 2}, -1, 1, false}}, 0},
    {"pad", pad_inner, 1, {{2, {-3, 2}, -1, 1, false}}, 0},
    {"concat", concat, 2, {{2, {2, 3}, -1, 1, false}, {2, {2, 1}, -1, 1, false}}, 0},
    {"concat", concat_symbol, 2, {{2, {-2, 3}, -1, 1, false}, {2, {-3, 3}, -1, 1, false}}, 0},
};

#include "ops/gradient_image.h"

/* ---- running them ---- */

static void check(const gradcheck_case *c)
{
    char text[GRADCHECK_TEXT];

    if (gradcheck(c, text))
        return;
    print_error("%s\n  inputs:", text);
    for (int k = 0; k < c->n_in; k++) {
        char shape[SG_SHAPE_TEXT];
        print_error(" %s", sg_shape_text(shape, c->in[k].n_dims, c->in[k].dims));
    }
    print_error("\n");
    fail();
}

static void one_input(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(unary); i++)
        for (size_t s = 0; s < SG_COUNT_OF(shapes); s++) {
            gradcheck_case c = {unary[i].op, unary[i].build, 1, {shapes[s]}, 0};
            c.in[0].low = unary[i].low;
            c.in[0].high = unary[i].high;
            c.in[0].apart = unary[i].apart;
            check(&c);
        }
}

static void two_inputs_broadcast(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(binary); i++)
        for (size_t s = 0; s < SG_COUNT_OF(pairs); s++) {
            gradcheck_case c = {binary[i].op, binary[i].build, 2, {pairs[s][0], pairs[s][1]}, 0};
            c.in[0].low = binary[i].low0;
            c.in[0].high = binary[i].high0;
            c.in[1].low = binary[i].low1;
            c.in[1].high = binary[i].high1;
            check(&c);
        }
}

static void each_with_its_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++)
        check(&cases[i]);
}

static void images(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(image_cases); i++)
        check(&image_cases[i]);
}

static bool has_case(const char *op)
{
    for (size_t i = 0; i < SG_COUNT_OF(image_cases); i++)
        if (strcmp(image_cases[i].op, op) == 0)
            return true;
    for (size_t i = 0; i < SG_COUNT_OF(unary); i++)
        if (strcmp(unary[i].op, op) == 0)
            return true;
    for (size_t i = 0; i < SG_COUNT_OF(binary); i++)
        if (strcmp(binary[i].op, op) == 0)
            return true;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++)
        if (strcmp(cases[i].op, op) == 0)
            return true;
    return false;
}

/* Whether the value a case builds is computed by the op that the case names. */
static bool uses_op(const char *op, sg_value *(*build)(sg_graph *, sg_value *const *), int n_in,
                    const gradcheck_input *in)
{
    sg_graph *g = sg_graph_new();
    sg_value *x[GRADCHECK_INPUTS];
    bool found = false;

    for (int k = 0; k < n_in; k++) {
        char name[16];
        sg_dim dims[SG_MAX_DIMS];
        for (int a = 0; a < in[k].n_dims; a++)
            dims[a] = gradcheck_number(in[k].dims[a]);
        snprintf(name, sizeof name, "x%d", k);
        x[k] = sg_input(g, name, SG_F64, in[k].n_dims, dims);
    }
    build(g, x);
    for (int i = 0; i < sg_graph_size(g); i++)
        found |= strcmp(sg_value_op(sg_graph_at(g, i)), op) == 0;
    sg_graph_free(g);
    return found;
}

static void every_differentiable_op_has_a_case(void **state)
{
    (void)state;
    int n_missing = 0;

    for (int i = 0; i < sg_op_count(); i++)
        if (sg_op_at(i)->grad && !has_case(sg_op_at(i)->name)) {
            print_error("%s has a gradient and no case here\n", sg_op_at(i)->name);
            n_missing++;
        }
    for (size_t i = 0; i < SG_COUNT_OF(unary); i++)
        CHECK(uses_op(unary[i].op, unary[i].build, 1, &shapes[2]));
    for (size_t i = 0; i < SG_COUNT_OF(binary); i++)
        CHECK(uses_op(binary[i].op, binary[i].build, 2, pairs[1]));
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++)
        CHECK(uses_op(cases[i].op, cases[i].build, cases[i].n_in, cases[i].in));
    for (size_t i = 0; i < SG_COUNT_OF(image_cases); i++)
        CHECK(uses_op(image_cases[i].op, image_cases[i].build, image_cases[i].n_in, image_cases[i].in));
    CHECK(n_missing == 0);
}

/* ---- wrong gradients: y = x^3 with 3 x^2 times a factor ---- */

static double factor; /* of the gradient of `cube`, and what its second use is off by */

static sg_status cube_infer(sg_infer *s, sg_error *err)
{
    (void)err;
    sg_infer_like(s, 0);
    return SG_OK;
}

static sg_status cube_run(const sg_kernel_args *k, sg_error *err)
{
    const double *x = k->in[0]->data;
    double *y = k->out->data;
    sg_dim n = 1;

    (void)err;
    for (int a = 0; a < k->out->n_dims; a++)
        n *= k->out->dims[a];
    for (sg_dim i = 0; i < n; i++)
        y[i] = x[i] * x[i] * x[i];
    return SG_OK;
}

static void cube_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_mul(g, dy, sg_mul_scalar(g, sg_square(g, sg_value_in(y, 0)), 3 * factor));
}

/* Right in value, but its own derivative is lost on the way. */
static void cube_grad_once(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_mul(g, dy, sg_mul_scalar(g, sg_square(g, sg_stop_gradient(g, sg_value_in(y, 0))), 3));
}

static const sg_op op_cube = {
    .name = "cube", .min_in = 1, .max_in = 1, .infer = cube_infer, .run = cube_run, .grad = cube_grad};
static const sg_op op_cube_once = {
    .name = "cube_once", .min_in = 1, .max_in = 1, .infer = cube_infer, .run = cube_run, .grad = cube_grad_once};

BUILD(cube, sg_node(g, &op_cube, 1, x, NULL))
BUILD(cube_once, sg_node(g, &op_cube_once, 1, x, NULL))

static void wrong_gradients_are_found_out(void **state)
{
    (void)state;
    const gradcheck_case c = {"cube", cube, 1, {{2, {2, 3}, -1.5, 1.5, true}}, 0};
    const gradcheck_case once = {"cube_once", cube_once, 1, {{2, {2, 3}, -1.5, 1.5, true}}, 0};
    char text[GRADCHECK_TEXT];

    factor = 1;
    check(&c);
    factor = -1;
    CHECK(!gradcheck(&c, text));
    CHECK_TEXT(text, "cube: gradient by element 0");
    factor = 1.01;
    CHECK(!gradcheck(&c, text));
    factor = 1.0001;
    CHECK(!gradcheck(&c, text));
    factor = 0;
    CHECK(!gradcheck(&c, text));
    factor = (double)NAN;
    CHECK(!gradcheck(&c, text));
    CHECK(!gradcheck(&once, text));
    CHECK_TEXT(text, "second gradient");
}

static void gradients_that_stop_are_zero(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F64, 1, (const sg_dim[]){2});
    sg_value *y = sg_sum_all(g, sg_mul(g, x, sg_stop_gradient(g, x)));
    sg_value *dx = sg_grad(g, y, x);
    sg_session *s;
    sg_tensor t;
    sg_error err;
    double numbers[2] = {3, -5};

    CHECK_OK(sg_session_new(&s, g, NULL, sg_exec_defaults(), &err), &err);
    CHECK_OK(
        sg_session_run(s, 1, &(sg_feed){x, sg_tensor_of(SG_F64, 1, (const sg_dim[]){2}, numbers)}, 1, &dx, &t, &err),
        &err);
    CHECK(sg_tensor_get(&t, 0) == 3 && sg_tensor_get(&t, 1) == -5); /* not 2x */
    sg_session_free(s);
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_input),
        cmocka_unit_test(two_inputs_broadcast),
        cmocka_unit_test(each_with_its_shapes),
        cmocka_unit_test(images),
        cmocka_unit_test(every_differentiable_op_has_a_case),
        cmocka_unit_test(wrong_gradients_are_found_out),
        cmocka_unit_test(gradients_that_stop_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
