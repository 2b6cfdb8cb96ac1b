/* Matrix products by cuBLAS. A product of row-major matrices is, in its column-major eyes, B' A' = C'. An operand whose
 * strides it cannot take (no unit stride, leading axes that no one stride walks) is first copied into one piece; for
 * bf16 each is, since it has to be rounded anyway. Sums are f32, and for f32 operands so is everything (no TF32).
 *
 * Where bf16 may be used and each number is used few times, as in attention over short rows, rounding them costs more
 * than the product: the tensor cores then read f32 and keep 10 bits of it (TF32), which is nearer than bf16. */
#include "backend/cuda/context.h"

typedef struct operand {
    void *data;
    bool turned; /* stored with the columns of op(x) one after another */
    int64_t ld, stride;
    bool packed; /* to be copied */
    sg_view as;  /* what is copied, extents [lead..., slow, fast] */
} operand;

typedef struct product {
    sg_dim m, n, k, batch;
    operand a, b;
} product;

static size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* The one stride that walks the operand's leading axes as out's, 0 where it is one matrix; false if there is none. */
static bool one_stride(const sg_view *out, const sg_view *x, int64_t *stride)
{
    const int shift = out->n_dims - x->n_dims;
    int64_t next = -1; /* what an axis further out has to have */

    *stride = 0;
    for (int d = out->n_dims - 3; d >= 0; d--) {
        const int64_t s = d < shift || x->dims[d - shift] == 1 ? 0 : x->strides[d - shift];
        if (out->dims[d] == 1)
            continue;
        if (next < 0)
            *stride = s;
        else if (s != next)
            return false;
        next = s * out->dims[d];
    }
    return true;
}

/* op(x) has `rows` x `columns`. */
static operand look_at(const sg_view *out, const sg_view *x, bool transposed, sg_dim rows, sg_dim columns, bool bf16)
{
    const int r = x->n_dims - (transposed ? 1 : 2), c = x->n_dims - (transposed ? 2 : 1);
    const int64_t row = x->strides[r], column = x->strides[c];
    operand o = {.data = x->data};

    const bool straight = (column == 1 || columns == 1) && (row >= columns || rows == 1);
    const bool across = (row == 1 || rows == 1) && (column >= rows || columns == 1);
    o.packed = bf16 || !(straight || across) || !one_stride(out, x, &o.stride);
    o.turned = !straight && across;
    o.ld = o.turned ? (columns == 1 ? rows : column) : (rows == 1 ? columns : row);
    if (!o.packed)
        return o;
    o.as = *x;
    o.turned = row < column && rows > 1; /* copied in the order in which it lies */
    const int slow = o.turned ? c : r, fast = o.turned ? r : c;
    o.as.dims[x->n_dims - 2] = x->dims[slow];
    o.as.dims[x->n_dims - 1] = x->dims[fast];
    o.as.strides[x->n_dims - 2] = x->strides[slow];
    o.as.strides[x->n_dims - 1] = x->strides[fast];
    o.ld = x->dims[fast];
    /* Leading axes as in x, so that what is broadcast is copied once; where that leaves no one stride, as in out. */
    sg_view dense = o.as;
    int64_t stride = 1;
    for (int d = dense.n_dims - 1; d >= 0; d--) {
        dense.strides[d] = stride;
        stride *= dense.dims[d];
    }
    if (!one_stride(out, &dense, &o.stride)) {
        const int shift = out->n_dims - x->n_dims;
        sg_view full = *out;
        full.dtype = x->dtype;
        full.data = x->data;
        for (int d = 0; d < out->n_dims; d++) {
            const bool lead = d < out->n_dims - 2, there = d >= shift;
            full.dims[d] = lead ? out->dims[d] : o.as.dims[d - shift];
            full.strides[d] = !there || (lead && o.as.dims[d - shift] == 1) ? 0 : o.as.strides[d - shift];
        }
        o.as = full;
        o.stride = rows * columns;
    }
    return o;
}

static product product_of(const sg_kernel_args *k, bool bf16)
{
    const sg_view *a = k->in[0], *out = k->out;
    product p = {.m = out->dims[out->n_dims - 2], .n = out->dims[out->n_dims - 1], .batch = 1};

    p.k = a->dims[a->n_dims - (k->i[0] ? 2 : 1)];
    for (int d = 0; d < out->n_dims - 2; d++)
        p.batch *= out->dims[d];
    p.a = look_at(out, a, k->i[0] != 0, p.m, p.k, bf16);
    p.b = look_at(out, k->in[1], k->i[1] != 0, p.k, p.n, bf16);
    return p;
}

/* Room for a copy of each operand, the most that any strides can ask for: they may differ from run to run. */
size_t sg_cuda_matmul_scratch(const sg_kernel_args *k)
{
    const product p = product_of(k, false);
    const sg_dim a = p.m * p.k * (k->in[0]->n_dims > 2 ? p.batch : 1);
    const sg_dim b = p.k * p.n * (k->in[1]->n_dims > 2 ? p.batch : 1);
    return aligned((size_t)a * sizeof(float)) + aligned((size_t)b * sizeof(float));
}

static sg_status pack(operand *o, bool bf16, char **room, sg_error *err)
{
    if (!o->packed)
        return SG_OK;
    const sg_view *from = &o->as;
    sg_view to = *from;
    sgk_walk w;
    int64_t stride = 1;

    to.data = *room;
    for (int d = to.n_dims - 1; d >= 0; d--) {
        to.strides[d] = stride;
        stride *= to.dims[d];
    }
    SG_TRY(sg_cuda_walk(&w, &to, 1, &from, err));
    SG_TRY(sg_cuda_check(bf16 ? sgk_map_cast(sg_cuda_gpu.stream, &w, SGK_BF16, SGK_F32)
                              : sgk_map_copy(sg_cuda_gpu.stream, &w, 4),
                         "copying an operand of matmul", err));
    o->data = *room;
    *room += aligned((size_t)stride * (bf16 ? 2 : 4));
    return SG_OK;
}

#define FEW_USES 48 /* multiplications for each number that is read */

static bool is_worth_rounding(const sg_kernel_args *k)
{
    const sg_view *out = k->out;
    const sg_dim m = out->dims[out->n_dims - 2], n = out->dims[out->n_dims - 1];
    return m * n >= FEW_USES * (m + n);
}

sg_status sg_cuda_matmul(const sg_kernel_args *k, bool less, sg_error *err)
{
    const bool bf16 = less && is_worth_rounding(k);
    product p = product_of(k, bf16);
    const cublasComputeType_t how = less && !bf16 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const float one = 1, zero = 0;
    const cudaDataType_t type = bf16 ? CUDA_R_16BF : CUDA_R_32F;
    char *room = k->scratch;

    if (p.m == 0 || p.n == 0 || p.batch == 0)
        return SG_OK;
    if (p.k == 0)
        return sg_cuda_check(
            cudaMemsetAsync(k->out->data, 0, (size_t)(p.m * p.n * p.batch) * sizeof one, sg_cuda_gpu.stream), "matmul",
            err);
    if (p.m > INT32_MAX || p.n > INT32_MAX || p.k > INT32_MAX || p.batch > INT32_MAX || p.a.ld > INT32_MAX ||
        p.b.ld > INT32_MAX)
        return sg_fail(err, SG_EUNSUPPORTED, "matmul: an extent beyond 2^31");
    SG_TRY(pack(&p.a, bf16, &room, err));
    SG_TRY(pack(&p.b, bf16, &room, err));
    const cublasStatus_t code = cublasGemmStridedBatchedEx(
        sg_cuda_gpu.blas, p.b.turned ? CUBLAS_OP_T : CUBLAS_OP_N, p.a.turned ? CUBLAS_OP_T : CUBLAS_OP_N, (int)p.n,
        (int)p.m, (int)p.k, &one, p.b.data, type, (int)p.b.ld, p.b.stride, p.a.data, type, (int)p.a.ld, p.a.stride,
        &zero, k->out->data, CUDA_R_32F, (int)p.n, p.m * p.n, (int)p.batch, how, CUBLAS_GEMM_DEFAULT);
    return code == CUBLAS_STATUS_SUCCESS ? SG_OK
                                         : sg_fail(err, SG_EIO, "cuBLAS: matmul: %s", cublasGetStatusString(code));
}
