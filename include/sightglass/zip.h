/* Zip archives, as far as files of tensors use them: members that are stored as they are, uncompressed.
 *
 *     sg_zip *z; // what torch.save writes is a zip: a small pickle, and each tensor's numbers as NAME/data/0,
 * NAME/data/1 ... SG_TRY(sg_zip_open(&z, "probe.pth", err)); SG_TRY(sg_zip_numbers(&w, z, "*data/0", SG_F32, 4,
 * (sg_dim[]){512, 8, 8, 3}, err)); sg_zip_close(z);
 *
 * No pickle is interpreted, so the shape has to be known. Lengths and offsets of every member are checked when the
 * archive is opened, a member's checksum when it is asked for. */
#ifndef SIGHTGLASS_ZIP_H
#define SIGHTGLASS_ZIP_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_zip sg_zip;

/* SG_ENOTFOUND, SG_EIO; SG_EFORMAT says what does not fit; SG_EUNSUPPORTED: several volumes, or 4 GiB and more. */
sg_status sg_zip_open(sg_zip **out, const char *path, sg_error *err) SG_MUST_CHECK;
/* The same over bytes that the caller keeps until close; `name` stands in error texts for a path. */
sg_status sg_zip_parse(sg_zip **out, const void *bytes, size_t n_bytes, const char *name, sg_error *err) SG_MUST_CHECK;
void sg_zip_close(sg_zip *z); /* NULL is fine */

int sg_zip_count(const sg_zip *z);
const char *sg_zip_name(const sg_zip *z, int i); /* in the order of the archive's directory */

/* The bytes of the one member whose name fits a name or pattern ("*data/0"), borrowed until close. SG_ENOTFOUND: none
 * fits; SG_EARG: several do; SG_EUNSUPPORTED: it is compressed or encrypted; SG_EFORMAT: its checksum differs. */
sg_status sg_zip_member(const void **bytes, size_t *n_bytes, const sg_zip *z, const char *pattern,
                        sg_error *err) SG_MUST_CHECK;
/* The same as little-endian numbers of a type and shape, borrowed until close. SG_ESHAPE: they take another number of
 * bytes. */
sg_status sg_zip_numbers(sg_tensor *out, sg_zip *z, const char *pattern, sg_dtype dtype, int n_dims, const sg_dim *dims,
                         sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
