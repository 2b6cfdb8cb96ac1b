/* Tensors as plain values: extents and element types. */
#include "sightglass/tensor.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/base.h"

static const struct {
    const char *name;
    size_t bytes;
    bool is_float;
} dtypes[SG_N_DTYPES] = {
    [SG_F32] = {"f32", 4, true},   [SG_F64] = {"f64", 8, true}, [SG_I32] = {"i32", 4, false},
    [SG_BF16] = {"bf16", 2, true}, [SG_F16] = {"f16", 2, true}, [SG_BOOL] = {"bool", 1, false},
};

size_t sg_dtype_bytes(sg_dtype dtype)
{
    SG_ASSERT((unsigned)dtype < SG_N_DTYPES);
    return dtypes[dtype].bytes;
}

const char *sg_dtype_name(sg_dtype dtype)
{
    SG_ASSERT((unsigned)dtype < SG_N_DTYPES);
    return dtypes[dtype].name;
}

bool sg_dtype_is_float(sg_dtype dtype)
{
    SG_ASSERT((unsigned)dtype < SG_N_DTYPES);
    return dtypes[dtype].is_float;
}

sg_tensor sg_tensor_of(sg_dtype dtype, int n_dims, const sg_dim *dims, void *data)
{
    SG_ASSERT(n_dims >= 0 && n_dims <= SG_MAX_DIMS);
    sg_tensor t = {.dtype = dtype, .n_dims = n_dims, .data = data};
    for (int d = 0; d < n_dims; d++) {
        SG_ASSERT(dims[d] >= 0);
        t.dims[d] = dims[d];
    }
    return t;
}

sg_dim sg_tensor_count(const sg_tensor *t)
{
    sg_dim count = 1;
    for (int d = 0; d < t->n_dims; d++)
        count *= t->dims[d];
    return count;
}

size_t sg_tensor_bytes(const sg_tensor *t)
{
    return (size_t)sg_tensor_count(t) * sg_dtype_bytes(t->dtype);
}

sg_status sg_bytes(sg_dim count, size_t size, size_t *out)
{
    /* Half of the address space is more than any machine has, and keeps the sum of two sizes in range. */
    if (count < 0)
        return SG_EARG;
    if (size && (uint64_t)count > SIZE_MAX / 2 / size)
        return SG_ENOMEM;
    *out = (size_t)count * size;
    return SG_OK;
}

const char *sg_shape_text(char buf[SG_SHAPE_TEXT], int n_dims, const sg_dim *dims)
{
    size_t at = 0;
    buf[at++] = '[';
    for (int d = 0; d < n_dims; d++) {
        const int n = snprintf(buf + at, SG_SHAPE_TEXT - at, d ? ",%" PRId64 : "%" PRId64, dims[d]);
        if (n < 0 || (size_t)n + 2 > SG_SHAPE_TEXT - at) { /* eight extents of twenty digits do not all fit */
            at = SG_MIN(at, SG_SHAPE_TEXT - sizeof ",...]");
            at += (size_t)snprintf(buf + at, SG_SHAPE_TEXT - at, ",...");
            break;
        }
        at += (size_t)n;
    }
    buf[at++] = ']';
    buf[at] = '\0';
    return buf;
}
