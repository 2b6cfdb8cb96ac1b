/* Tensors as plain values: extents and element types. */
#include "sightglass/tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static const struct {
    const char *name;
    sg_dim block; /* numbers in one */
    size_t bytes; /* of a block */
    bool is_float;
} dtypes[SG_N_DTYPES] = {
    [SG_F32] = {"f32", 1, 4, true},          [SG_F64] = {"f64", 1, 8, true},
    [SG_I32] = {"i32", 1, 4, false},         [SG_BF16] = {"bf16", 1, 2, true},
    [SG_F16] = {"f16", 1, 2, true},          [SG_BOOL] = {"bool", 1, 1, false},
    [SG_Q8_0] = {"q8_0", 32, 34, false},     [SG_Q4_0] = {"q4_0", 32, 18, false},
    [SG_Q4_1] = {"q4_1", 32, 20, false},     [SG_Q5_0] = {"q5_0", 32, 22, false},
    [SG_Q5_1] = {"q5_1", 32, 24, false},     [SG_Q4_K] = {"q4_k", 256, 144, false},
    [SG_Q5_K] = {"q5_k", 256, 176, false},   [SG_Q6_K] = {"q6_k", 256, 210, false},
    [SG_IQ4_NL] = {"iq4_nl", 32, 18, false},
};

size_t sg_dtype_bytes(sg_dtype dtype)
{
    SG_ASSERT((unsigned)dtype < SG_N_DTYPES && dtypes[dtype].block == 1);
    return dtypes[dtype].bytes;
}

sg_dim sg_dtype_block(sg_dtype dtype)
{
    SG_ASSERT((unsigned)dtype < SG_N_DTYPES);
    return dtypes[dtype].block;
}

size_t sg_dtype_block_bytes(sg_dtype dtype)
{
    SG_ASSERT((unsigned)dtype < SG_N_DTYPES);
    return dtypes[dtype].bytes;
}

sg_status sg_dtype_room(sg_dtype dtype, sg_dim count, size_t *out)
{
    const sg_dim block = sg_dtype_block(dtype);
    return count % block ? SG_EARG : sg_bytes(count / block, dtypes[dtype].bytes, out);
}

bool sg_dtype_named(const char *name, sg_dtype *out)
{
    for (int t = 0; t < SG_N_DTYPES; t++)
        if (strcmp(dtypes[t].name, name) == 0) {
            *out = (sg_dtype)t;
            return true;
        }
    return false;
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
    const sg_dim count = sg_tensor_count(t), block = sg_dtype_block(t->dtype);
    SG_ASSERT(count % block == 0);
    return (size_t)(count / block) * sg_dtype_block_bytes(t->dtype);
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
