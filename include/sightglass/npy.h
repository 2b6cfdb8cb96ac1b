/* NumPy's .npy files: one tensor each (versions 1.0 to 3.0, C order, little-endian).
 *
 *     sg_npy *a;
 *     SG_TRY(sg_npy_open(&a, "direction.npy", err));
 *     printf("%g\n", sg_tensor_get(sg_npy_tensor(a), 0));
 *     sg_npy_close(a); */
#ifndef SIGHTGLASS_NPY_H
#define SIGHTGLASS_NPY_H

#include <stdio.h>

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_npy sg_npy;

/* Types f2 f4 f8 i4 b1 as they are; i8 is narrowed to i32 where every number fits. Fortran order, big-endian and
 * other types are SG_EUNSUPPORTED with the text of the header's entry. */
sg_status sg_npy_open(sg_npy **out, const char *path, sg_error *err) SG_MUST_CHECK;
sg_status sg_npy_parse(sg_npy **out, const void *bytes, size_t n_bytes, const char *name, sg_error *err) SG_MUST_CHECK;
void sg_npy_close(sg_npy *a);                    /* NULL is fine */
const sg_tensor *sg_npy_tensor(const sg_npy *a); /* borrowed until close */

/* Writes version 1.0; bf16 and packed types are written as f4. */
sg_status sg_npy_save(const char *path, const sg_tensor *t, sg_error *err) SG_MUST_CHECK;
/* The same bytes into a stream of the caller's, which stays open. */
sg_status sg_npy_write(FILE *to, const sg_tensor *t, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
