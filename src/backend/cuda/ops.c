/* Operations but for matmul: from views to what kernels.h describes. The reference kernel in src/ops says what each
 * computes; here is only which types are taken and how axes lie. */
#include <string.h>

#include "backend/cuda/context.h"

static cudaStream_t stream(void)
{
    return sg_cuda_gpu.stream;
}

static sg_status launched(const sg_kernel_args *k, cudaError_t code, sg_error *err)
{
    return code == cudaSuccess ? SG_OK : sg_cuda_check(code, k->op->name, err);
}

static sg_dim count_of(const sg_view *v)
{
    sg_dim n = 1;
    for (int d = 0; d < v->n_dims; d++)
        n *= v->dims[d];
    return n;
}

static size_t size_of(sg_dtype t)
{
    static const size_t sizes[SG_N_DTYPES] = {
        [SG_F32] = 4, [SG_F64] = 8, [SG_I32] = 4, [SG_BF16] = 2, [SG_F16] = 2, [SG_BOOL] = 1};
    return sizes[t];
}

static sg_status too_large(const char *what, sg_error *err)
{
    return sg_fail(err, SG_EUNSUPPORTED, "CUDA: %s of 2^31 elements or more", what);
}

/* ---- walks ---- */

static bool joins(const sgk_walk *w, int outer, int inner)
{
    for (int k = 0; k < w->n_operands; k++)
        if (w->strides[k][outer] != w->strides[k][inner] * (int64_t)w->dims[inner])
            return false;
    return true;
}

static void move_axis(sgk_walk *w, int to, int from)
{
    w->dims[to] = w->dims[from];
    for (int k = 0; k < w->n_operands; k++)
        w->strides[k][to] = w->strides[k][from];
}

sg_status sg_cuda_walk(sgk_walk *w, const sg_view *out, int n_in, const sg_view *const *in, sg_error *err)
{
    const sg_dim n = count_of(out);

    if (n > INT32_MAX)
        return too_large("a value", err);
    *w = (sgk_walk){.count = (uint32_t)n, .n_operands = n_in + 1, .data = {out->data}};
    for (int i = 0; i < n_in; i++)
        w->data[i + 1] = in[i]->data;
    for (int d = 0; d < out->n_dims; d++) {
        if (out->dims[d] == 1)
            continue;
        const int at = w->n_dims++;
        w->dims[at] = (uint32_t)out->dims[d];
        w->strides[0][at] = out->strides[d];
        for (int i = 0; i < n_in; i++) {
            const int own = d - (out->n_dims - in[i]->n_dims);
            w->strides[i + 1][at] = own < 0 || in[i]->dims[own] == 1 ? 0 : in[i]->strides[own];
        }
        if (at > 0 && joins(w, at - 1, at)) {
            const uint32_t both = w->dims[at - 1] * w->dims[at];
            move_axis(w, at - 1, at);
            w->dims[at - 1] = both;
            w->n_dims--;
        }
    }
    if (w->n_dims == 0) {
        w->n_dims = 1;
        w->dims[0] = 1;
        for (int k = 0; k < w->n_operands; k++)
            w->strides[k][0] = 1;
    }
    return SG_OK;
}

static sg_status walk_of(const sg_kernel_args *k, sgk_walk *w, sg_error *err)
{
    return sg_cuda_walk(w, k->out, k->n_in, k->in, err);
}

/* ---- element by element ---- */

static const char *const unary_names[] = {
    [SGK_NEG] = "neg",
    [SGK_ABS] = "abs",
    [SGK_SIGN] = "sign",
    [SGK_EXP] = "exp",
    [SGK_LOG] = "log",
    [SGK_SQRT] = "sqrt",
    [SGK_RSQRT] = "rsqrt",
    [SGK_RECIPROCAL] = "reciprocal",
    [SGK_SQUARE] = "square",
    [SGK_SIN] = "sin",
    [SGK_COS] = "cos",
    [SGK_ERF] = "erf",
    [SGK_TANH] = "tanh",
    [SGK_SIGMOID] = "sigmoid",
    [SGK_RELU] = "relu",
    [SGK_GELU] = "gelu",
    [SGK_GELU_TANH] = "gelu_tanh",
    [SGK_GELU_TANH_SLOPE] = "gelu_tanh_slope",
    [SGK_SILU] = "silu",
    [SGK_SOFTPLUS] = "softplus",
};
static const char *const binary_names[] = {
    [SGK_ADD] = "add", [SGK_SUB] = "sub",         [SGK_MUL] = "mul",         [SGK_DIV] = "div",
    [SGK_POW] = "pow", [SGK_MAXIMUM] = "maximum", [SGK_MINIMUM] = "minimum",
};
static const char *const compare_names[] = {
    [SGK_EQUAL] = "equal",     [SGK_NOT_EQUAL] = "not_equal",
    [SGK_LESS] = "less",       [SGK_LESS_EQUAL] = "less_equal",
    [SGK_GREATER] = "greater", [SGK_GREATER_EQUAL] = "greater_equal",
    [SGK_AND] = "and",         [SGK_OR] = "or",
};

/* The op's place among names; only ops of the table below come here, so it is there. */
static int place_of(const sg_kernel_args *k, const char *const *names)
{
    int i = 0;
    while (strcmp(names[i], k->op->name) != 0)
        i++;
    return i;
}

static sg_status run_unary(const sg_kernel_args *k, sg_error *err)
{
    sgk_walk w;
    SG_TRY(walk_of(k, &w, err));
    return launched(k, sgk_map_unary(stream(), &w, (sgk_unary)place_of(k, unary_names)), err);
}

static sg_status run_binary(const sg_kernel_args *k, sg_error *err)
{
    sgk_walk w;
    SG_TRY(walk_of(k, &w, err));
    return launched(k,
                    sgk_map_binary(stream(), &w, (sgk_binary)place_of(k, binary_names),
                                   k->out->dtype == SG_F32 ? SGK_F32 : SGK_I32),
                    err);
}

static bool fits_binary(const sg_kernel_args *k)
{
    const bool i32 = strcmp(k->op->name, "div") != 0 && strcmp(k->op->name, "pow") != 0;
    return k->out->dtype == SG_F32 || (i32 && k->out->dtype == SG_I32);
}

static sg_status run_compare(const sg_kernel_args *k, sg_error *err)
{
    const sg_dtype t = k->in[0]->dtype;
    sgk_walk w;
    SG_TRY(walk_of(k, &w, err));
    return launched(k,
                    sgk_map_compare(stream(), &w, (sgk_compare)place_of(k, compare_names),
                                    t == SG_F32   ? SGK_F32
                                    : t == SG_I32 ? SGK_I32
                                                  : SGK_BOOL),
                    err);
}

static bool fits_compare(const sg_kernel_args *k)
{
    return k->in[0]->dtype == SG_F32 || k->in[0]->dtype == SG_I32 || k->in[0]->dtype == SG_BOOL;
}

static sg_status run_not(const sg_kernel_args *k, sg_error *err)
{
    sgk_walk w;
    SG_TRY(walk_of(k, &w, err));
    return launched(k, sgk_map_not(stream(), &w), err);
}

static bool fits_any(const sg_kernel_args *k)
{
    (void)k;
    return true;
}

static sg_status run_where(const sg_kernel_args *k, sg_error *err)
{
    sgk_walk w;
    SG_TRY(walk_of(k, &w, err));
    return launched(k, sgk_map_where(stream(), &w, size_of(k->out->dtype)), err);
}

static bool fits_where(const sg_kernel_args *k)
{
    return size_of(k->out->dtype) == 4 || size_of(k->out->dtype) == 1;
}

static bool fits_cast(const sg_kernel_args *k)
{
    const sg_dtype to = k->out->dtype, from = k->in[0]->dtype;
    return (to == SG_F32 && (from == SG_I32 || from == SG_BOOL)) || (to == SG_I32 && from == SG_BOOL) ||
           (to == SG_BF16 && from == SG_F32);
}

static sg_status run_cast(const sg_kernel_args *k, sg_error *err)
{
    const sg_dtype to = k->out->dtype;
    sgk_walk w;
    SG_TRY(walk_of(k, &w, err));
    return launched(k,
                    sgk_map_cast(stream(), &w,
                                 to == SG_F32   ? SGK_F32
                                 : to == SG_I32 ? SGK_I32
                                                : SGK_BF16,
                                 k->in[0]->dtype == SG_I32 ? SGK_I32 : SGK_BOOL),
                    err);
}

/* ---- copies ---- */

static sg_status copy(const sg_kernel_args *k, const sg_view *to, const sg_view *from, sg_error *err)
{
    sgk_walk w;
    SG_TRY(sg_cuda_walk(&w, to, 1, &from, err));
    return launched(k, sgk_map_copy(stream(), &w, size_of(to->dtype)), err);
}

static void row_major(sg_view *v)
{
    sg_dim stride = 1;
    for (int d = v->n_dims - 1; d >= 0; d--) {
        v->strides[d] = stride;
        stride *= v->dims[d];
    }
}

/* What the op's view shows. */
static sg_status run_view(const sg_kernel_args *k, sg_error *err)
{
    sg_view shown = *k->out;
    sg_kernel_args args = *k;
    args.out = &shown;
    shown.data = NULL;
    if (!k->op->view(&args))
        return k->op->run(k, err); /* extents that do not fit: it says so, and touches nothing */
    return copy(k, k->out, &shown, err);
}

static sg_status run_reshape(const sg_kernel_args *k, sg_error *err)
{
    sg_view to = *k->in[0]; /* x's extents over out's numbers */
    row_major(&to);
    to.data = k->out->data;
    return copy(k, &to, k->in[0], err);
}

static void *at(const sg_view *v, sg_dim offset)
{
    return (char *)v->data + offset * (sg_dim)size_of(v->dtype);
}

static sg_status run_concat(const sg_kernel_args *k, sg_error *err)
{
    const int axis = (int)k->i[0];
    sg_dim from = 0;
    for (int i = 0; i < k->n_in; i++) {
        sg_view to = *k->out;
        to.dims[axis] = k->in[i]->dims[axis];
        to.data = at(k->out, from * to.strides[axis]);
        SG_TRY(copy(k, &to, k->in[i], err));
        from += to.dims[axis];
    }
    return SG_OK;
}

/* Attributes: axis, before, after, inner; the constant. */
static sg_status run_pad(const sg_kernel_args *k, sg_error *err)
{
    const int axis = (int)k->i[0];
    const sg_dim n = k->in[0]->dims[axis], step = k->i[3] + 1, span = n > 0 ? (n - 1) * step + 1 : 0;
    const float constant = (float)k->f[0];
    uint32_t pattern;

    if (k->i[1] < 0 || k->i[2] < 0 || k->out->dims[axis] != k->i[1] + span + k->i[2])
        return k->op->run(k, err); /* which says so, and touches nothing */
    memcpy(&pattern, &constant, sizeof pattern);
    if (count_of(k->out) > INT32_MAX)
        return too_large("pad", err);
    SG_TRY(launched(k, sgk_fill(stream(), k->out->data, pattern, (uint32_t)count_of(k->out)), err));
    sg_view to = *k->out;
    to.data = at(k->out, n > 0 ? k->i[1] * to.strides[axis] : 0);
    to.strides[axis] *= step;
    to.dims[axis] = n;
    return copy(k, &to, k->in[0], err);
}

/* What is stored may show the variable itself: then by way of a copy. */
static sg_status run_assign(const sg_kernel_args *k, sg_error *err)
{
    const size_t bytes = (size_t)count_of(k->out) * size_of(k->out->dtype);
    const uintptr_t to = (uintptr_t)k->out->data, from = (uintptr_t)k->in[1]->data;
    const void *source = k->in[1]->data;

    if (bytes == 0 || to == from)
        return SG_OK;
    if (to < from + bytes && from < to + bytes) {
        SG_TRY(launched(k, cudaMemcpyAsync(k->scratch, source, bytes, cudaMemcpyDeviceToDevice, stream()), err));
        source = k->scratch;
    }
    return launched(k, cudaMemcpyAsync(k->out->data, source, bytes, cudaMemcpyDeviceToDevice, stream()), err);
}

static size_t scratch_assign(const sg_kernel_args *k)
{
    return (size_t)count_of(k->out) * size_of(k->out->dtype);
}

/* ---- numbers from nothing ---- */

static bool fits_number(const sg_kernel_args *k)
{
    return k->out->dtype == SG_F32 || k->out->dtype == SG_I32;
}

static sg_status run_iota(const sg_kernel_args *k, sg_error *err)
{
    if (k->out->dims[0] > INT32_MAX)
        return too_large("iota", err);
    return launched(
        k, sgk_iota(stream(), k->out->data, k->out->dtype == SG_F32 ? SGK_F32 : SGK_I32, (uint32_t)k->out->dims[0]),
        err);
}

static sg_status run_extent(const sg_kernel_args *k, sg_error *err)
{
    const int32_t whole = (int32_t)k->i[0];
    const float real = (float)k->i[0];
    uint32_t pattern;
    if (k->out->dtype == SG_I32 && k->i[0] > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "extent: %lld does not fit i32", (long long)k->i[0]);
    memcpy(&pattern, k->out->dtype == SG_I32 ? (const void *)&whole : (const void *)&real, sizeof pattern);
    return launched(k, sgk_fill(stream(), k->out->data, pattern, 1), err);
}

/* ---- reductions ---- */

/* An axis is joined to the one before it where one stride walks both. */
static void push(int *n, uint32_t *dims, int64_t *strides, sg_dim extent, sg_dim stride)
{
    if (extent == 1)
        return;
    if (*n > 0 && strides[*n - 1] == stride * extent) {
        dims[*n - 1] *= (uint32_t)extent;
        strides[*n - 1] = stride;
        return;
    }
    dims[*n] = (uint32_t)extent;
    strides[(*n)++] = stride;
}

static sg_status run_reduce(const sg_kernel_args *k, sg_error *err)
{
    static const char *const names[] = {[SGK_SUM] = "sum", [SGK_MEAN] = "mean", [SGK_MAX] = "max", [SGK_MIN] = "min"};
    const sg_view *x = k->in[0];
    const sgk_reduction kind = (sgk_reduction)place_of(k, names);
    sgk_reduce r = {.x = x->data, .y = k->out->data, .partial = k->scratch, .n_out = 1, .n_each = 1};

    if (count_of(x) > INT32_MAX)
        return too_large("a value", err);
    for (int d = 0; d < x->n_dims; d++) {
        if (k->i[0] >> d & 1) {
            push(&r.n_over, r.over, r.over_strides, x->dims[d], x->strides[d]);
            r.n_each *= (uint32_t)x->dims[d];
        } else {
            push(&r.n_keep, r.keep, r.keep_strides, x->dims[d], x->strides[d]);
            r.n_out *= (uint32_t)x->dims[d];
        }
    }
    if (r.n_each == 0 && r.n_out > 0 && (kind == SGK_MAX || kind == SGK_MIN))
        return sg_fail(err, SG_ESHAPE, "%s over no elements", k->op->name);
    return launched(k, sgk_reduce_run(stream(), &r, kind), err);
}

static size_t scratch_reduce(const sg_kernel_args *k)
{
    (void)k;
    return SGK_PARTIALS * sizeof(double);
}

/* ---- rows ---- */

static uint32_t width_of(const sg_view *x)
{
    return x->n_dims ? (uint32_t)x->dims[x->n_dims - 1] : 1;
}

static bool fits_softmax(const sg_kernel_args *k)
{
    return sg_cuda_all_f32(k) && k->in[0]->n_dims > 0 && k->i[0] == k->in[0]->n_dims - 1;
}

static sg_status run_softmax(const sg_kernel_args *k, sg_error *err)
{
    static const char *const names[] = {
        [SGK_SOFTMAX] = "softmax", [SGK_LOG_SOFTMAX] = "log_softmax", [SGK_LOGSUMEXP] = "logsumexp"};
    const sg_view *x = k->in[0];
    const uint32_t n = width_of(x);
    if (count_of(x) > INT32_MAX)
        return too_large("a value", err);
    sg_dim rows = 1;
    for (int d = 0; d < x->n_dims - 1; d++)
        rows *= x->dims[d];
    return launched(k, sgk_softmax(stream(), (sgk_lines)place_of(k, names), x->data, k->out->data, (uint32_t)rows, n),
                    err);
}

static sg_status run_norm(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *x = k->in[0];
    const uint32_t n = width_of(x);
    if (count_of(x) > INT32_MAX)
        return too_large("a value", err);
    const uint32_t rows = n > 0 ? (uint32_t)(count_of(x) / n) : 0;
    return launched(k,
                    sgk_norm(stream(), strcmp(k->op->name, "layer_norm") == 0, x->data,
                             k->n_in > 1 ? k->in[1]->data : NULL, k->n_in > 1 ? k->in[2]->data : NULL, k->out->data,
                             rows, n, k->f[0]),
                    err);
}

/* ---- tables ---- */

static bool fits_embed(const sg_kernel_args *k)
{
    return size_of(k->out->dtype) == 4;
}

static sg_status run_embed(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *table = k->in[0], *ids = k->in[1];
    if (count_of(ids) > INT32_MAX || table->dims[0] > INT32_MAX)
        return too_large("ids", err);
    return launched(k,
                    sgk_embed(stream(), table->data, ids->data, k->out->data, (uint32_t)count_of(ids),
                              (uint32_t)table->dims[0], (uint32_t)table->dims[1], sg_cuda_gpu.trouble),
                    err);
}

/* Parts of the ids that are added apart: a thousand ids each, while all tables of sums are at most some megabytes. */
static uint32_t scatter_splits(const sg_kernel_args *k)
{
    const sg_dim n = (count_of(k->in[0]) + 1023) / 1024, table = count_of(k->out);
    const sg_dim most = ((sg_dim)4 << 20) / (table > 0 ? table : 1);
    const sg_dim splits = n < most ? n : most;
    return (uint32_t)(splits < 1 ? 1 : splits > 64 ? 64 : splits);
}

static size_t scratch_scatter(const sg_kernel_args *k)
{
    return (size_t)scatter_splits(k) * (size_t)count_of(k->out) * sizeof(float);
}

static bool fits_scatter(const sg_kernel_args *k)
{
    return k->out->dtype == SG_F32;
}

static sg_status run_scatter(const sg_kernel_args *k, sg_error *err)
{
    if (count_of(k->in[0]) > INT32_MAX || k->out->dims[0] > INT32_MAX)
        return too_large("ids", err);
    return launched(k,
                    sgk_scatter_add(stream(), k->in[0]->data, k->in[1]->data, k->out->data, k->scratch,
                                    (uint32_t)count_of(k->in[0]), (uint32_t)k->out->dims[0], (uint32_t)k->out->dims[1],
                                    scatter_splits(k), sg_cuda_gpu.trouble),
                    err);
}

typedef struct lines {
    uint32_t outer, n, inner;
} lines;

static lines lines_of(const sg_view *x, int64_t axis)
{
    lines l = {1, 1, 1};
    for (int d = 0; d < x->n_dims; d++)
        *(d < axis ? &l.outer : d == axis ? &l.n : &l.inner) *= (uint32_t)x->dims[d];
    return l;
}

static sg_status run_take(const sg_kernel_args *k, sg_error *err)
{
    const lines x = lines_of(k->in[0], k->i[0]), by = lines_of(k->in[1], k->i[0]);
    if (count_of(k->in[0]) > INT32_MAX || count_of(k->in[1]) > INT32_MAX)
        return too_large("a value", err);
    return launched(k,
                    sgk_take_along(stream(), k->in[0]->data, k->in[1]->data, k->out->data, by.outer, x.n, by.n,
                                   by.inner, sg_cuda_gpu.trouble),
                    err);
}

static sg_status run_put(const sg_kernel_args *k, sg_error *err)
{
    const lines x = lines_of(k->out, k->i[0]), by = lines_of(k->in[0], k->i[0]);
    if (count_of(k->in[0]) > INT32_MAX || count_of(k->out) > INT32_MAX)
        return too_large("a value", err);
    return launched(k,
                    sgk_put_along(stream(), k->in[0]->data, k->in[1]->data, k->out->data, x.outer, x.n, by.n, x.inner,
                                  sg_cuda_gpu.trouble),
                    err);
}

/* ---- the optimiser ---- */

static sg_status run_adam(const sg_kernel_args *k, sg_error *err)
{
    if (count_of(k->out) > INT32_MAX)
        return too_large("a parameter", err);
    const sgk_adam a = {.w = k->out->data,
                        .m = k->in[1]->data,
                        .v = k->in[2]->data,
                        .grad = k->in[3]->data,
                        .lr = k->in[4]->data,
                        .step = k->in[5]->data,
                        .beta1 = k->f[0],
                        .beta2 = k->f[1],
                        .eps = k->f[2],
                        .decay = k->f[3],
                        .n = (uint32_t)count_of(k->out)};
    return launched(k, sgk_adam_run(stream(), &a, sg_cuda_gpu.trouble), err);
}

#define UNARY(op)                                                                                                      \
    {                                                                                                                  \
#op, run_unary, NULL, NULL                                                                                     \
    }
#define BINARY(op)                                                                                                     \
    {                                                                                                                  \
#op, run_binary, fits_binary, NULL                                                                             \
    }
#define COMPARE(op)                                                                                                    \
    {                                                                                                                  \
#op, run_compare, fits_compare, NULL                                                                           \
    }
#define VIEW(op)                                                                                                       \
    {                                                                                                                  \
#op, run_view, fits_any, NULL                                                                                  \
    }
#define REDUCE(op)                                                                                                     \
    {                                                                                                                  \
#op, run_reduce, NULL, scratch_reduce                                                                          \
    }
const sg_cuda_op sg_cuda_ops[] = {
    UNARY(neg),
    UNARY(abs),
    UNARY(sign),
    UNARY(exp),
    UNARY(log),
    UNARY(sqrt),
    UNARY(rsqrt),
    UNARY(reciprocal),
    UNARY(square),
    UNARY(sin),
    UNARY(cos),
    UNARY(erf),
    UNARY(tanh),
    UNARY(sigmoid),
    UNARY(relu),
    UNARY(gelu),
    UNARY(gelu_tanh),
    UNARY(gelu_tanh_slope),
    UNARY(silu),
    UNARY(softplus),
    BINARY(add),
    BINARY(sub),
    BINARY(mul),
    BINARY(div),
    BINARY(pow),
    BINARY(maximum),
    BINARY(minimum),
    COMPARE(equal),
    COMPARE(not_equal),
    COMPARE(less),
    COMPARE(less_equal),
    COMPARE(greater),
    COMPARE(greater_equal),
    COMPARE(and),
    COMPARE(or),
    {"not", run_not, fits_any, NULL},
    {"where", run_where, fits_where, NULL},
    {"cast", run_cast, fits_cast, NULL},
    VIEW(identity),
    VIEW(stop_gradient),
    VIEW(transpose),
    VIEW(broadcast),
    VIEW(slice),
    {"reshape", run_reshape, fits_any, NULL},
    {"concat", run_concat, fits_any, NULL},
    {"pad", run_pad, NULL, NULL},
    {"assign", run_assign, fits_any, scratch_assign},
    {"iota", run_iota, fits_number, NULL},
    {"extent", run_extent, fits_number, NULL},
    REDUCE(sum),
    REDUCE(mean),
    REDUCE(max),
    REDUCE(min),
    {"softmax", run_softmax, fits_softmax, NULL},
    {"log_softmax", run_softmax, fits_softmax, NULL},
    {"logsumexp", run_softmax, fits_softmax, NULL},
    {"layer_norm", run_norm, NULL, NULL},
    {"rms_norm", run_norm, NULL, NULL},
    {"embed", run_embed, fits_embed, NULL},
    {"scatter_add", run_scatter, fits_scatter, scratch_scatter},
    {"take_along", run_take, fits_embed, NULL},
    {"put_along", run_put, fits_scatter, NULL},
    {"adam", run_adam, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};
