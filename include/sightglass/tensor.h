/* Tensors: a type, extents, and the address of row-major numbers.
 *
 *     float x[6] = {1, 2, 3, 4, 5, 6};
 *     sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 3}, x);
 *
 * An sg_tensor is a plain value that borrows its numbers: copying one copies the address. Whoever
 * hands one out says how long the numbers live. Symbolic values inside a graph are `sg_value`, see graph.h. */
#ifndef SIGHTGLASS_TENSOR_H
#define SIGHTGLASS_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int64_t sg_dim; /* an extent or an index */

#define SG_MAX_DIMS 8

typedef enum sg_dtype {
    SG_F32 = 0,
    SG_F64,
    SG_I32,
    SG_BF16, /* storage: the upper half of an f32 */
    SG_F16,  /* storage: IEEE binary16 */
    SG_BOOL, /* one byte; 0 is false, and we write 1 for true */
    /* Storage of weights in blocks of 32 or (the _K types) 256 numbers with scales in common, laid out as ggml does. */
    SG_Q8_0,
    SG_Q4_0,
    SG_Q4_1,
    SG_Q5_0,
    SG_Q5_1,
    SG_Q4_K,
    SG_Q5_K,
    SG_Q6_K,
    SG_IQ4_NL,
    SG_N_DTYPES
} sg_dtype;

typedef struct sg_tensor {
    sg_dtype dtype;
    int n_dims;               /* 0 for a scalar */
    sg_dim dims[SG_MAX_DIMS]; /* outermost first */
    void *data;               /* contiguous, row-major, borrowed */
} sg_tensor;

/* A tensor over numbers that the caller keeps. */
sg_tensor sg_tensor_of(sg_dtype dtype, int n_dims, const sg_dim *dims, void *data);

/* Number of elements; 1 for a scalar. Extents come from checked places, so the product cannot overflow. */
sg_dim sg_tensor_count(const sg_tensor *t);

/* Number of bytes that the elements take. Of a block type the last extent is a multiple of the block. */
size_t sg_tensor_bytes(const sg_tensor *t);

/* Element i (in row-major order) as a double, whatever the type. */
double sg_tensor_get(const sg_tensor *t, sg_dim i);

/* Stores x at element i, converted as by sg_convert. Not for block types, whose numbers only change together. */
void sg_tensor_set(sg_tensor *t, sg_dim i, double x);

/* Converts count elements from one type to another.  Floats are rounded once, to nearest even, and a NaN stays one.
 * A float becomes an i32 by truncation, NaN becoming 0 and what lies outside the nearest end; anything but 0 is true.
 * Block types are converted by whole blocks: count is a multiple of theirs. Packing takes the levels nearest to the
 * numbers, under scales searched for the least squared error, and makes a block with a NaN, an infinity or a number
 * beyond any scale NaN as a whole.  `to` and `from` do not overlap. */
void sg_convert(void *to, sg_dtype to_type, const void *from, sg_dtype from_type, sg_dim count);

/* Bytes of one element of a type that is none of blocks, and the short name of any: "f32", "f64", "i32", "bf16", "f16",
 * "bool", "q8_0", "q4_k" ... */
size_t sg_dtype_bytes(sg_dtype dtype);
const char *sg_dtype_name(sg_dtype dtype);
bool sg_dtype_named(const char *name, sg_dtype *out); /* the type of that short name; false if there is none */
bool sg_dtype_is_float(sg_dtype dtype);               /* f32, f64, bf16, f16 */

/* Numbers in a block, 1 for types that have none, and the bytes that it takes. */
sg_dim sg_dtype_block(sg_dtype dtype);
size_t sg_dtype_block_bytes(sg_dtype dtype);

/* Bytes of count numbers of any type: SG_EARG if count is negative or no whole number of blocks, SG_ENOMEM if no memory
 * could hold so much. */
sg_status sg_dtype_room(sg_dtype dtype, sg_dim count, size_t *out) SG_MUST_CHECK;

/* count * size with an overflow check: SG_EARG if count is negative, SG_ENOMEM if no memory could hold so much. */
sg_status sg_bytes(sg_dim count, size_t size, size_t *out) SG_MUST_CHECK;

/* "[2,3]" into buf; returns buf, for use inside one printf. */
#define SG_SHAPE_TEXT 128
const char *sg_shape_text(char buf[SG_SHAPE_TEXT], int n_dims, const sg_dim *dims);

#ifdef __cplusplus
}
#endif
#endif
