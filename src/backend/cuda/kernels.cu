/* The kernels: element-wise walks, reductions, rows, tables, the optimiser. They are bound by memory, so what matters
 * is that neighbours in a warp read neighbours in memory, 16 bytes at a time where operands allow. No kernel adds with
 * atomics: the same numbers give the same bytes. */
#include <cuda_bf16.h>

#include "backend/cuda/kernels.h"

namespace
{

constexpr int THREADS = 256;

uint32_t blocks_for(uint64_t n, uint32_t each)
{
    return (uint32_t)((n + each - 1) / each);
}

/* ---- element by element ---- */

template <typename T, int VEC> struct alignas(sizeof(T) * VEC) pack {
    T at[VEC];
};

template <typename T, int VEC> __device__ pack<T, VEC> load(const void *data, int64_t offset, int64_t stride)
{
    const T *p = static_cast<const T *>(data) + offset;
    pack<T, VEC> v;
    if (VEC > 1 && stride == 1)
        return *reinterpret_cast<const pack<T, VEC> *>(p);
#pragma unroll
    for (int i = 0; i < VEC; i++)
        v.at[i] = p[i * stride];
    return v;
}

/* f(a, b, c) for every element; of the three those count that there are. */
template <typename F, typename To, typename A, typename B, typename C, int N, int VEC>
__global__ void __launch_bounds__(THREADS) map_kernel(const __grid_constant__ sgk_walk w, const F f)
{
    const uint64_t first = ((uint64_t)blockIdx.x * THREADS + threadIdx.x) * VEC;
    if (first >= w.count)
        return;
    uint32_t left = (uint32_t)first;
    int64_t at[N + 1] = {0};
    for (int d = w.n_dims - 1; d > 0; d--) {
        const uint32_t q = left / w.dims[d], r = left - q * w.dims[d];
#pragma unroll
        for (int k = 0; k <= N; k++)
            at[k] += r * w.strides[k][d];
        left = q;
    }
#pragma unroll
    for (int k = 0; k <= N; k++)
        at[k] += left * w.strides[k][0];
    const int last = w.n_dims - 1;
    pack<A, VEC> a;
    pack<B, VEC> b;
    pack<C, VEC> c;
    a = load<A, VEC>(w.data[1], at[1], w.strides[1][last]);
    if (N > 1)
        b = load<B, VEC>(w.data[N > 1 ? 2 : 1], at[N > 1 ? 2 : 1], w.strides[N > 1 ? 2 : 1][last]);
    if (N > 2)
        c = load<C, VEC>(w.data[N > 2 ? 3 : 1], at[N > 2 ? 3 : 1], w.strides[N > 2 ? 3 : 1][last]);
    pack<To, VEC> y;
#pragma unroll
    for (int i = 0; i < VEC; i++)
        y.at[i] = f(a.at[i], b.at[i], c.at[i]);
    To *to = static_cast<To *>(w.data[0]) + at[0];
    if (VEC > 1)
        *reinterpret_cast<pack<To, VEC> *>(to) = y;
    else
        *to = y.at[0];
}

/* Whether four neighbours of each operand lie side by side and aligned, or are one number. */
bool by_four(const sgk_walk *w, const size_t *sizes)
{
    const int last = w->n_dims - 1;
    if (w->dims[last] % 4 != 0 || w->strides[0][last] != 1)
        return false;
    for (int k = 0; k < w->n_operands; k++) {
        const int64_t inner = w->strides[k][last];
        if (inner == 0)
            continue;
        if (inner != 1 || (uintptr_t)w->data[k] % (4 * sizes[k]) != 0)
            return false;
        for (int d = 0; d < last; d++)
            if (w->strides[k][d] % 4 != 0)
                return false;
    }
    return true;
}

template <typename To, typename A, typename B, typename C, int N, typename F>
cudaError_t map(cudaStream_t s, const sgk_walk *w, F f)
{
    const size_t sizes[SGK_OPERANDS] = {sizeof(To), sizeof(A), sizeof(B), sizeof(C)};
    if (w->count == 0)
        return cudaSuccess;
    if (by_four(w, sizes))
        map_kernel<F, To, A, B, C, N, 4><<<blocks_for(w->count, THREADS * 4), THREADS, 0, s>>>(*w, f);
    else
        map_kernel<F, To, A, B, C, N, 1><<<blocks_for(w->count, THREADS), THREADS, 0, s>>>(*w, f);
    return cudaGetLastError();
}

constexpr double GELU_A = 0.7978845608028654; /* sqrt(2 / pi) */
constexpr double GELU_B = 0.044715;

__device__ float gelu_tanh_slope(float given)
{
    const float low = given < -10 ? -10 : given, x = low > 10 ? 10 : low; /* beyond it is 0 or 1 to the last bit */
    const float square = x * x;
    const float s = 1 / (1 + expf(-x * ((float)(2 * GELU_A) + (float)(2 * GELU_A * GELU_B) * square)));
    return s + x * s * (1 - s) * ((float)(2 * GELU_A) + (float)(6 * GELU_A * GELU_B) * square);
}

struct unary {
    sgk_unary op;
    __device__ float operator()(float x, float, float) const
    {
        switch (op) {
        case SGK_NEG:
            return -x;
        case SGK_ABS:
            return fabsf(x);
        case SGK_SIGN:
            return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;
        case SGK_EXP:
            return expf(x);
        case SGK_LOG:
            return logf(x);
        case SGK_SQRT:
            return sqrtf(x);
        case SGK_RSQRT:
            return 1.0f / sqrtf(x);
        case SGK_RECIPROCAL:
            return 1.0f / x;
        case SGK_SQUARE:
            return x * x;
        case SGK_SIN:
            return sinf(x);
        case SGK_COS:
            return cosf(x);
        case SGK_ERF:
            return erff(x);
        case SGK_TANH:
            return tanhf(x);
        case SGK_SIGMOID:
            return 1.0f / (1.0f + expf(-x));
        case SGK_RELU:
            return x < 0.0f ? 0.0f : x;
        case SGK_GELU:
            return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
        case SGK_GELU_TANH:
            return x / (1.0f + expf(-2.0f * (float)GELU_A * (x + (float)GELU_B * x * x * x)));
        case SGK_GELU_TANH_SLOPE:
            return gelu_tanh_slope(x);
        case SGK_SILU:
            return x / (1.0f + expf(-x));
        case SGK_SOFTPLUS:
            return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)));
        }
        return x;
    }
};

struct binary_f32 {
    sgk_binary op;
    __device__ float operator()(float a, float b, float) const
    {
        switch (op) {
        case SGK_ADD:
            return a + b;
        case SGK_SUB:
            return a - b;
        case SGK_MUL:
            return a * b;
        case SGK_DIV:
            return a / b;
        case SGK_POW:
            return powf(a, b);
        case SGK_MAXIMUM:
            return a != a || a >= b ? a : b;
        case SGK_MINIMUM:
            return a != a || a <= b ? a : b;
        }
        return a;
    }
};

/* Sums and products wrap; div is not among these, for a zero has to be reported. */
struct binary_i32 {
    sgk_binary op;
    __device__ int32_t operator()(int32_t a, int32_t b, int32_t) const
    {
        switch (op) {
        case SGK_ADD:
            return (int32_t)((uint32_t)a + (uint32_t)b);
        case SGK_SUB:
            return (int32_t)((uint32_t)a - (uint32_t)b);
        case SGK_MUL:
            return (int32_t)((uint32_t)a * (uint32_t)b);
        case SGK_MAXIMUM:
            return a > b ? a : b;
        default:
            return a < b ? a : b;
        }
    }
};

template <typename T> struct compare {
    sgk_compare op;
    __device__ uint8_t operator()(T a, T b, T) const
    {
        switch (op) {
        case SGK_EQUAL:
            return a == b;
        case SGK_NOT_EQUAL:
            return a != b;
        case SGK_LESS:
            return a < b;
        case SGK_LESS_EQUAL:
            return a <= b;
        case SGK_GREATER:
            return a > b;
        case SGK_GREATER_EQUAL:
            return a >= b;
        case SGK_AND:
            return (a != 0) & (b != 0);
        case SGK_OR:
            return (a != 0) | (b != 0);
        }
        return 0;
    }
};

struct negate {
    __device__ uint8_t operator()(uint8_t a, uint8_t, uint8_t) const
    {
        return !a;
    }
};

template <typename T> struct choose {
    __device__ T operator()(uint8_t c, T a, T b) const
    {
        return c ? a : b;
    }
};

template <typename T> struct same {
    __device__ T operator()(T a, T, T) const
    {
        return a;
    }
};

template <typename To, typename From> struct convert {
    __device__ To operator()(From a, From, From) const
    {
        return (To)a;
    }
};

template <> struct convert<__nv_bfloat16, float> {
    __device__ __nv_bfloat16 operator()(float a, float, float) const
    {
        return __float2bfloat16_rn(a);
    }
};

template <typename T> cudaError_t copy(cudaStream_t s, const sgk_walk *w)
{
    return map<T, T, T, T, 1>(s, w, same<T>{});
}

__global__ void fill_kernel(uint32_t *to, uint32_t pattern, uint32_t n)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n)
        to[i] = pattern;
}

__global__ void iota_kernel(void *to, bool whole, uint32_t n)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n && whole)
        static_cast<int32_t *>(to)[i] = (int32_t)i;
    else if (i < n)
        static_cast<float *>(to)[i] = (float)i;
}

/* ---- reductions ---- */

__device__ double join(sgk_reduction kind, double a, double b)
{
    if (kind == SGK_SUM || kind == SGK_MEAN)
        return a + b;
    if (a != a || b != b) /* NaN, once seen, stays */
        return a != a ? a : b;
    return kind == SGK_MAX ? (b > a ? b : a) : (b < a ? b : a);
}

__device__ double start_of(sgk_reduction kind)
{
    const double inf = __longlong_as_double(0x7ff0000000000000LL);
    return kind == SGK_MAX ? -inf : kind == SGK_MIN ? inf : 0;
}

__device__ double over_warp(sgk_reduction kind, double x)
{
#pragma unroll
    for (int d = 16; d > 0; d /= 2)
        x = join(kind, x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}

__device__ int64_t place(int n, const uint32_t *dims, const int64_t *strides, uint32_t i)
{
    int64_t at = 0;
    for (int d = n - 1; d > 0; d--) {
        const uint32_t q = i / dims[d];
        at += (i - q * dims[d]) * strides[d];
        i = q;
    }
    return n > 0 ? at + i * strides[0] : at;
}

__device__ void put(const sgk_reduce &r, sgk_reduction kind, uint32_t out, uint32_t split, uint32_t splits, double x)
{
    if (splits > 1)
        r.partial[(uint64_t)split * r.n_out + out] = x;
    else
        r.y[out] = (float)(kind == SGK_MEAN ? x / r.n_each : x);
}

/* A warp for each result (WARP) or a block: neighbours in the warp take neighbours along the reduced axes. */
template <bool WARP>
__global__ void __launch_bounds__(THREADS)
    lines_kernel(const __grid_constant__ sgk_reduce r, sgk_reduction kind, uint32_t splits)
{
    const uint32_t width = WARP ? 32 : THREADS, lane = WARP ? threadIdx.x % 32 : threadIdx.x;
    const uint32_t out = WARP ? blockIdx.x * (THREADS / 32) + threadIdx.x / 32 : blockIdx.x, split = blockIdx.y;
    if (WARP && out >= r.n_out)
        return;
    const uint32_t each = (r.n_each + splits - 1) / splits, first = split * each;
    const uint32_t end = first + each < r.n_each ? first + each : r.n_each;
    const float *x = r.x + place(r.n_keep, r.keep, r.keep_strides, out);
    double sum = start_of(kind);
    for (uint32_t i = first + lane; i < end; i += width)
        sum = join(
            kind, sum,
            (double)x[r.n_over == 1 ? (int64_t)i * r.over_strides[0] : place(r.n_over, r.over, r.over_strides, i)]);
    sum = over_warp(kind, sum);
    if (!WARP) {
        __shared__ double part[THREADS / 32];
        if (lane % 32 == 0)
            part[lane / 32] = sum;
        __syncthreads();
        sum = part[0];
        for (int i = 1; i < THREADS / 32; i++)
            sum = join(kind, sum, part[i]);
    }
    if (lane == 0)
        put(r, kind, out, split, splits, sum);
}

/* 32 neighbouring results in a block: eight rows of 32 read along the axis that stays. */
__global__ void __launch_bounds__(THREADS)
    columns_kernel(const __grid_constant__ sgk_reduce r, sgk_reduction kind, uint32_t splits)
{
    __shared__ double part[8][33];
    const uint32_t column = threadIdx.x % 32, row = threadIdx.x / 32;
    const uint32_t out = blockIdx.x * 32 + column, split = blockIdx.y;
    const uint32_t each = (r.n_each + splits - 1) / splits, first = split * each;
    const uint32_t end = first + each < r.n_each ? first + each : r.n_each;
    double sum = start_of(kind);
    if (out < r.n_out) {
        const float *x = r.x + place(r.n_keep, r.keep, r.keep_strides, out);
        for (uint32_t i = first + row; i < end; i += 8)
            sum = join(
                kind, sum,
                (double)x[r.n_over == 1 ? (int64_t)i * r.over_strides[0] : place(r.n_over, r.over, r.over_strides, i)]);
    }
    part[row][column] = sum;
    __syncthreads();
    if (row > 0 || out >= r.n_out)
        return;
    for (int i = 1; i < 8; i++)
        sum = join(kind, sum, part[i][column]);
    put(r, kind, out, split, splits, sum);
}

__global__ void join_kernel(const double *partial, float *y, uint32_t n_out, uint32_t splits, sgk_reduction kind,
                            uint32_t n_each)
{
    const uint32_t out = blockIdx.x * THREADS + threadIdx.x;
    if (out >= n_out)
        return;
    double sum = partial[out];
    for (uint32_t i = 1; i < splits; i++)
        sum = join(kind, sum, partial[(uint64_t)i * n_out + out]);
    y[out] = (float)(kind == SGK_MEAN ? sum / n_each : sum);
}

constexpr uint32_t MANY = 1024; /* blocks that keep the device busy */

/* Parts of each result, where results alone are too few blocks; at least `least` numbers each. */
uint32_t parts(uint32_t n_blocks, uint32_t n_each, uint32_t least)
{
    const uint32_t wanted = MANY / (n_blocks ? n_blocks : 1), most = n_each / least;
    const uint32_t n = wanted < most ? wanted : most;
    return n > 1 ? n : 1;
}

/* ---- rows ---- */

__device__ float most_of_warp(float x)
{
#pragma unroll
    for (int d = 16; d > 0; d /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, x, d);
        x = other > x ? other : x;
    }
    return x;
}

__device__ double sum_of_warp(double x)
{
#pragma unroll
    for (int d = 16; d > 0; d /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

/* A warp per row. As in the reference: the maximum is taken off if it is finite; a masked row sums to 0. */
__global__ void __launch_bounds__(THREADS)
    softmax_kernel(sgk_lines kind, const float *xs, float *ys, uint32_t rows, uint32_t n)
{
    const uint32_t row = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    const float inf = __int_as_float(0x7f800000);
    const float *x = xs + (uint64_t)row * n;
    float most = -inf;
    for (uint32_t i = lane; i < n; i += 32)
        most = x[i] > most ? x[i] : most;
    most = most_of_warp(most);
    const float shift = most > -inf && most < inf ? most : 0;
    double sum = 0;
    if (kind == SGK_SOFTMAX) {
        float *y = ys + (uint64_t)row * n;
        for (uint32_t i = lane; i < n; i += 32) {
            const float e = expf(x[i] - shift);
            y[i] = e;
            sum += (double)e;
        }
        sum = sum_of_warp(sum);
        const float scale = sum == 0 ? 0.0f : (float)(1.0 / sum);
        for (uint32_t i = lane; i < n; i += 32)
            y[i] *= scale;
        return;
    }
    for (uint32_t i = lane; i < n; i += 32)
        sum += (double)expf(x[i] - shift);
    sum = sum_of_warp(sum);
    const float total = (float)((double)shift + log(sum));
    if (kind == SGK_LOGSUMEXP) {
        if (lane == 0)
            ys[row] = total;
        return;
    }
    for (uint32_t i = lane; i < n; i += 32)
        ys[(uint64_t)row * n + i] = sum == 0 ? x[i] : x[i] - total;
}

/* A warp per row, statistics in double and in two passes. y may be x: each lane writes what only it has read. */
__global__ void __launch_bounds__(THREADS)
    norm_kernel(bool centred, const float *xs, const float *gain, const float *bias, float *ys, uint32_t rows,
                uint32_t n, double eps)
{
    const uint32_t row = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    const float *x = xs + (uint64_t)row * n;
    float *y = ys + (uint64_t)row * n;
    double mean = 0, squares = 0;
    if (centred) {
        for (uint32_t i = lane; i < n; i += 32)
            mean += (double)x[i];
        mean = sum_of_warp(mean) / n;
    }
    for (uint32_t i = lane; i < n; i += 32) {
        const double d = (double)x[i] - mean;
        squares += d * d;
    }
    const double scale = 1 / sqrt(sum_of_warp(squares) / n + eps);
    for (uint32_t i = lane; i < n; i += 32) {
        const double d = ((double)x[i] - mean) * scale;
        y[i] = (float)(gain ? d * (double)gain[i] + (double)bias[i] : d);
    }
}

/* ---- tables ---- */

__device__ void report(sgk_trouble *t, uint64_t told)
{
    *static_cast<volatile sgk_trouble *>(t) = told;
}

__global__ void embed_kernel(const uint32_t *table, const int32_t *ids, uint32_t *y, uint64_t n, uint32_t n_rows,
                             uint32_t width, sgk_trouble *t)
{
    const uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n)
        return;
    const uint32_t row = (uint32_t)(i / width), column = (uint32_t)(i - (uint64_t)row * width);
    const int32_t id = ids[row];
    const bool there = id >= 0 && (uint32_t)id < n_rows;
    if (!there && column == 0)
        report(t, SGK_TROUBLE(SGK_TROUBLE_INDEX, id, row));
    y[i] = there ? table[(uint64_t)id * width + column] : 0;
}

/* A block for a row of the table and a part of the ids. Threads read ids together and note which are this row's; then
 * each, having a column, adds those rows in their order. */
__global__ void __launch_bounds__(THREADS)
    scatter_kernel(const int32_t *ids, const float *rows, float *to, uint32_t n_ids, uint32_t n_rows, uint32_t width,
                   uint32_t each, sgk_trouble *t)
{
    __shared__ uint32_t hits[THREADS / 32];
    const uint32_t first = blockIdx.y * each, end = first + each < n_ids ? first + each : n_ids;
    to += ((uint64_t)blockIdx.y * n_rows + blockIdx.x) * width;
    for (uint32_t from = 0; from < width; from += THREADS) { /* columns, once for all but wide tables */
        const uint32_t column = from + threadIdx.x;
        float sum = 0;
        for (uint32_t i = first; i < end; i += THREADS) {
            const int32_t id = i + threadIdx.x < end ? ids[i + threadIdx.x] : (int32_t)blockIdx.x - 1;
            if (blockIdx.x == 0 && i + threadIdx.x < end && (id < 0 || (uint32_t)id >= n_rows))
                report(t, SGK_TROUBLE(SGK_TROUBLE_INDEX, id, i + threadIdx.x));
            const uint32_t ours = __ballot_sync(0xffffffffu, id == (int32_t)blockIdx.x);
            __syncthreads();
            if (threadIdx.x % 32 == 0)
                hits[threadIdx.x / 32] = ours;
            __syncthreads();
            for (uint32_t w = 0; w < THREADS / 32 && column < width; w++)
                for (uint32_t left = hits[w]; left; left &= left - 1)
                    sum += rows[(uint64_t)(i + w * 32 + (uint32_t)__ffs((int)left) - 1) * width + column];
        }
        if (column < width)
            to[column] = sum;
    }
}

__global__ void sum_parts_kernel(const float *partial, float *y, uint64_t n, uint32_t splits)
{
    const uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n)
        return;
    float sum = partial[i];
    for (uint32_t p = 1; p < splits; p++)
        sum += partial[p * n + i];
    y[i] = sum;
}

__global__ void take_kernel(const uint32_t *x, const int32_t *index, uint32_t *y, uint64_t n, uint32_t n_x,
                            uint32_t n_index, uint32_t inner, sgk_trouble *t)
{
    const uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n)
        return;
    const uint64_t o = i / ((uint64_t)n_index * inner);
    const int32_t id = index[i];
    const bool there = id >= 0 && (uint32_t)id < n_x;
    if (!there)
        report(t, SGK_TROUBLE(SGK_TROUBLE_INDEX, id, (uint32_t)i));
    y[i] = there ? x[(o * n_x + (uint32_t)id) * inner + i % inner] : 0;
}

/* A thread per line of y, which is zero but for what is added in the order of the index. */
__global__ void put_kernel(const int32_t *index, const float *rows, float *y, uint64_t n_lines, uint32_t n_x,
                           uint32_t n_index, uint32_t inner, sgk_trouble *t)
{
    const uint64_t line = (uint64_t)blockIdx.x * THREADS + threadIdx.x;
    if (line >= n_lines)
        return;
    const uint64_t o = line / inner, c = line % inner;
    for (uint32_t r = 0; r < n_index; r++) {
        const uint64_t i = (o * n_index + r) * inner + c;
        const int32_t id = index[i];
        if (id < 0 || (uint32_t)id >= n_x)
            report(t, SGK_TROUBLE(SGK_TROUBLE_INDEX, id, (uint32_t)i));
        else
            y[(o * n_x + (uint32_t)id) * inner + c] += rows[i];
    }
}

/* ---- the optimiser ---- */

__global__ void __launch_bounds__(THREADS) adam_kernel(const __grid_constant__ sgk_adam a, sgk_trouble *t)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.n)
        return;
    const double step = (double)*a.step;
    if (!(step >= 1)) {
        report(t, SGK_TROUBLE(SGK_TROUBLE_STEP, 0, 0));
        return;
    }
    const float lr = *a.lr, b1 = (float)a.beta1, b2 = (float)a.beta2, eps = (float)a.eps;
    const float new1 = (float)(1 - a.beta1), new2 = (float)(1 - a.beta2);
    const float scale_m = (float)(1 / (1 - pow(a.beta1, step))), scale_v = (float)(1 / (1 - pow(a.beta2, step)));
    const float keep = (float)(1.0 - (double)lr * a.decay), g = a.grad[i];
    const float m = b1 * a.m[i] + new1 * g, v = b2 * a.v[i] + new2 * g * g;
    a.m[i] = m;
    a.v[i] = v;
    a.w[i] = keep * a.w[i] - lr * (m * scale_m) / (sqrtf(v * scale_v) + eps);
}

} // namespace

/* ---- what C calls ---- */

cudaError_t sgk_map_unary(cudaStream_t s, const sgk_walk *w, sgk_unary op)
{
    return map<float, float, float, float, 1>(s, w, unary{op});
}

cudaError_t sgk_map_binary(cudaStream_t s, const sgk_walk *w, sgk_binary op, sgk_type type)
{
    return type == SGK_F32 ? map<float, float, float, float, 2>(s, w, binary_f32{op})
                           : map<int32_t, int32_t, int32_t, int32_t, 2>(s, w, binary_i32{op});
}

cudaError_t sgk_map_compare(cudaStream_t s, const sgk_walk *w, sgk_compare op, sgk_type of)
{
    return of == SGK_F32   ? map<uint8_t, float, float, float, 2>(s, w, compare<float>{op})
           : of == SGK_I32 ? map<uint8_t, int32_t, int32_t, int32_t, 2>(s, w, compare<int32_t>{op})
                           : map<uint8_t, uint8_t, uint8_t, uint8_t, 2>(s, w, compare<uint8_t>{op});
}

cudaError_t sgk_map_not(cudaStream_t s, const sgk_walk *w)
{
    return map<uint8_t, uint8_t, uint8_t, uint8_t, 1>(s, w, negate{});
}

cudaError_t sgk_map_where(cudaStream_t s, const sgk_walk *w, size_t size)
{
    return size == 4 ? map<uint32_t, uint8_t, uint32_t, uint32_t, 3>(s, w, choose<uint32_t>{})
                     : map<uint8_t, uint8_t, uint8_t, uint8_t, 3>(s, w, choose<uint8_t>{});
}

cudaError_t sgk_map_cast(cudaStream_t s, const sgk_walk *w, sgk_type to, sgk_type from)
{
    if (to == SGK_BF16)
        return map<__nv_bfloat16, float, float, float, 1>(s, w, convert<__nv_bfloat16, float>{});
    if (to == SGK_I32)
        return map<int32_t, uint8_t, uint8_t, uint8_t, 1>(s, w, convert<int32_t, uint8_t>{});
    return from == SGK_I32 ? map<float, int32_t, int32_t, int32_t, 1>(s, w, convert<float, int32_t>{})
                           : map<float, uint8_t, uint8_t, uint8_t, 1>(s, w, convert<float, uint8_t>{});
}

cudaError_t sgk_map_copy(cudaStream_t s, const sgk_walk *w, size_t size)
{
    return size == 4   ? copy<uint32_t>(s, w)
           : size == 8 ? copy<uint64_t>(s, w)
           : size == 2 ? copy<uint16_t>(s, w)
                       : copy<uint8_t>(s, w);
}

cudaError_t sgk_fill(cudaStream_t s, uint32_t *to, uint32_t pattern, uint32_t n)
{
    if (n == 0)
        return cudaSuccess;
    fill_kernel<<<blocks_for(n, THREADS), THREADS, 0, s>>>(to, pattern, n);
    return cudaGetLastError();
}

cudaError_t sgk_iota(cudaStream_t s, void *to, sgk_type type, uint32_t n)
{
    if (n == 0)
        return cudaSuccess;
    iota_kernel<<<blocks_for(n, THREADS), THREADS, 0, s>>>(to, type == SGK_I32, n);
    return cudaGetLastError();
}

cudaError_t sgk_reduce_run(cudaStream_t s, const sgk_reduce *r, sgk_reduction kind)
{
    uint32_t splits;
    if (r->n_out == 0)
        return cudaSuccess;
    if (r->n_keep > 0 && r->n_over > 0 && r->keep_strides[r->n_keep - 1] == 1 && r->keep[r->n_keep - 1] >= 8) {
        const uint32_t blocks = blocks_for(r->n_out, 32);
        splits = parts(blocks, r->n_each, 64);
        columns_kernel<<<dim3(blocks, splits), THREADS, 0, s>>>(*r, kind, splits);
    } else if (r->n_out >= MANY && r->n_each <= 1024) {
        splits = 1;
        lines_kernel<true><<<dim3(blocks_for(r->n_out, THREADS / 32)), THREADS, 0, s>>>(*r, kind, 1);
    } else {
        splits = parts(r->n_out, r->n_each, 2048);
        lines_kernel<false><<<dim3(r->n_out, splits), THREADS, 0, s>>>(*r, kind, splits);
    }
    if (splits > 1)
        join_kernel<<<blocks_for(r->n_out, THREADS), THREADS, 0, s>>>(r->partial, r->y, r->n_out, splits, kind,
                                                                      r->n_each);
    return cudaGetLastError();
}

cudaError_t sgk_softmax(cudaStream_t s, sgk_lines kind, const float *x, float *y, uint32_t rows, uint32_t n)
{
    if (rows == 0)
        return cudaSuccess;
    softmax_kernel<<<blocks_for(rows, THREADS / 32), THREADS, 0, s>>>(kind, x, y, rows, n);
    return cudaGetLastError();
}

cudaError_t sgk_norm(cudaStream_t s, int centred, const float *x, const float *gain, const float *bias, float *y,
                     uint32_t rows, uint32_t n, double eps)
{
    if (rows == 0)
        return cudaSuccess;
    norm_kernel<<<blocks_for(rows, THREADS / 32), THREADS, 0, s>>>(centred != 0, x, gain, bias, y, rows, n, eps);
    return cudaGetLastError();
}

cudaError_t sgk_embed(cudaStream_t s, const uint32_t *table, const int32_t *ids, uint32_t *y, uint32_t n_ids,
                      uint32_t n_rows, uint32_t width, sgk_trouble *t)
{
    const uint64_t n = (uint64_t)n_ids * width;
    if (n == 0)
        return cudaSuccess;
    embed_kernel<<<blocks_for(n, THREADS), THREADS, 0, s>>>(table, ids, y, n, n_rows, width, t);
    return cudaGetLastError();
}

cudaError_t sgk_scatter_add(cudaStream_t s, const int32_t *ids, const float *rows, float *y, float *partial,
                            uint32_t n_ids, uint32_t n_rows, uint32_t width, uint32_t splits, sgk_trouble *t)
{
    const uint64_t n = (uint64_t)n_rows * width;
    if (n == 0)
        return cudaSuccess;
    scatter_kernel<<<dim3(n_rows, splits), THREADS, 0, s>>>(ids, rows, splits > 1 ? partial : y, n_ids, n_rows, width,
                                                            (n_ids + splits - 1) / splits, t);
    if (splits > 1)
        sum_parts_kernel<<<blocks_for(n, THREADS), THREADS, 0, s>>>(partial, y, n, splits);
    return cudaGetLastError();
}

cudaError_t sgk_take_along(cudaStream_t s, const uint32_t *x, const int32_t *index, uint32_t *y, uint32_t outer,
                           uint32_t n_x, uint32_t n_index, uint32_t inner, sgk_trouble *t)
{
    const uint64_t n = (uint64_t)outer * n_index * inner;
    if (n == 0)
        return cudaSuccess;
    take_kernel<<<blocks_for(n, THREADS), THREADS, 0, s>>>(x, index, y, n, n_x, n_index, inner, t);
    return cudaGetLastError();
}

cudaError_t sgk_put_along(cudaStream_t s, const int32_t *index, const float *rows, float *y, uint32_t outer,
                          uint32_t n_x, uint32_t n_index, uint32_t inner, sgk_trouble *t)
{
    const uint64_t n_lines = (uint64_t)outer * inner;
    if (n_lines * n_x == 0)
        return cudaSuccess;
    const cudaError_t failed = cudaMemsetAsync(y, 0, n_lines * n_x * sizeof *y, s);
    if (failed != cudaSuccess)
        return failed;
    put_kernel<<<blocks_for(n_lines, THREADS), THREADS, 0, s>>>(index, rows, y, n_lines, n_x, n_index, inner, t);
    return cudaGetLastError();
}

cudaError_t sgk_adam_run(cudaStream_t s, const sgk_adam *a, sgk_trouble *t)
{
    if (a->n == 0)
        return cudaSuccess;
    adam_kernel<<<blocks_for(a->n, THREADS), THREADS, 0, s>>>(*a, t);
    return cudaGetLastError();
}
