/* The CUDA backend: the device, and which operations it takes. Those it does not run on the processor, on copies. */
#include "backend/cuda/cuda.h"

#include <pthread.h>
#include <string.h>

#include "backend/cuda/context.h"

sg_cuda sg_cuda_gpu;

sg_status sg_cuda_check(cudaError_t code, const char *what, sg_error *err)
{
    if (code == cudaSuccess)
        return SG_OK;
    return sg_fail(err, code == cudaErrorMemoryAllocation ? SG_ENOMEM : SG_EIO, "CUDA: %s: %s", what,
                   cudaGetErrorString(code));
}

/* ---- memory ---- */

static sg_status take(const sg_device *self, size_t bytes, void **out, sg_error *err)
{
    (void)self;
    *out = NULL;
    const cudaError_t code = cudaMalloc(out, bytes);
    if (code == cudaSuccess)
        return SG_OK;
    size_t left = 0, all = 0;
    (void)cudaGetLastError(); /* this failure is told here */
    (void)cudaMemGetInfo(&left, &all);
    return sg_fail(err, SG_ENOMEM, "CUDA: %zu bytes of the GPU's memory were wanted, %zu of %zu are free: %s", bytes,
                   left, all, cudaGetErrorString(code));
}

static void give(const sg_device *self, void *memory)
{
    (void)self;
    if (memory)
        (void)cudaFree(memory);
}

/* What comes from pageable memory has been read when this returns. */
static sg_status upload(const sg_device *self, void *to, const void *from, size_t bytes, sg_error *err)
{
    (void)self;
    if (bytes == 0)
        return SG_OK;
    return sg_cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, sg_cuda_gpu.stream),
                         "copying to the GPU", err);
}

static sg_status finish(const sg_device *self, sg_error *err)
{
    volatile sgk_trouble *t = sg_cuda_gpu.trouble;
    (void)self;
    SG_TRY(sg_cuda_check(cudaStreamSynchronize(sg_cuda_gpu.stream), "waiting for the GPU", err));
    const sgk_trouble told = *t;
    if (!told)
        return SG_OK;
    *t = 0;
    if (told >> 62 == SGK_TROUBLE_STEP)
        return sg_fail(err, SG_EARG, "adam: steps count from 1");
    return sg_fail(err, SG_EARG, "an index of a table or an axis, %d (element %d of the indices), is out of range",
                   (int)(int32_t)(uint32_t)told, (int)(told >> 32 & 0x3fffffffu));
}

static sg_status download(const sg_device *self, void *to, const void *from, size_t bytes, sg_error *err)
{
    if (bytes > 0)
        SG_TRY(sg_cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, sg_cuda_gpu.stream),
                             "copying from the GPU", err));
    return finish(self, err);
}

/* ---- kernels ---- */

static sg_status matmul_f32(const sg_kernel_args *k, sg_error *err)
{
    return sg_cuda_matmul(k, false, err);
}

static sg_status matmul_bf16(const sg_kernel_args *k, sg_error *err)
{
    return sg_cuda_matmul(k, true, err);
}

bool sg_cuda_all_f32(const sg_kernel_args *k)
{
    bool f32 = k->out->dtype == SG_F32;
    for (int i = 0; i < k->n_in; i++)
        f32 &= k->in[i]->dtype == SG_F32;
    return f32;
}

static bool prepare(const sg_backend *self, const sg_kernel_args *k, sg_prepared *out)
{
    (void)self;
    if (strcmp(k->op->name, "matmul") == 0) {
        const bool bf16 = k->compute == SG_BF16;
        if (k->n_in != 2 || !sg_cuda_all_f32(k)) /* a bias is added by a step of its own */
            return false;
        out->run = bf16 ? matmul_bf16 : matmul_f32;
        out->scratch_bytes = sg_cuda_matmul_scratch(k);
        return true;
    }
    for (const sg_cuda_op *op = sg_cuda_ops; op->name; op++) {
        if (strcmp(op->name, k->op->name) != 0)
            continue;
        if (!(op->fits ? op->fits(k) : sg_cuda_all_f32(k)))
            return false;
        out->run = op->run;
        out->scratch_bytes = op->scratch ? op->scratch(k) : 0;
        return true;
    }
    return false;
}

/* ---- opening ---- */

static const sg_device device = {.take = take, .give = give, .upload = upload, .download = download, .finish = finish};
static const sg_backend backend = {.name = "cuda", .device = &device, .prepare = prepare};
static const sg_backend *const list[] = {&backend};

static sg_status open_gpu(sg_error *err)
{
    sg_cuda *g = &sg_cuda_gpu;
    int n = 0;
    void *trouble = NULL;

    const cudaError_t found = cudaGetDeviceCount(&n);
    if (found != cudaSuccess || n == 0)
        return sg_fail(err, SG_EUNSUPPORTED, "there is no GPU that CUDA can use: %s",
                       found == cudaSuccess ? "none was found" : cudaGetErrorString(found));
    SG_TRY(sg_cuda_check(cudaSetDevice(0), "opening the GPU", err));
    SG_TRY(sg_cuda_check(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "opening the GPU", err));
    SG_TRY(sg_cuda_check(cudaHostAlloc(&trouble, sizeof *g->trouble, cudaHostAllocMapped), "opening the GPU", err));
    g->trouble = trouble;
    *g->trouble = 0;
    if (cublasCreate(&g->blas) != CUBLAS_STATUS_SUCCESS || cublasSetStream(g->blas, g->stream) != CUBLAS_STATUS_SUCCESS)
        return sg_fail(err, SG_EUNSUPPORTED, "cuBLAS does not start on this GPU");
    return SG_OK;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sg_error failed; /* the first time, kept: a GPU that is not there does not come */
static bool opened;

__attribute__((visibility("default"))) const sg_backend *const *sg_cuda_open(sg_error *err)
{
    pthread_mutex_lock(&lock);
    if (!opened)
        (void)open_gpu(&failed);
    opened = true;
    const bool works = failed.status == SG_OK;
    if (!works && err)
        *err = failed;
    pthread_mutex_unlock(&lock);
    return works ? list : NULL;
}
