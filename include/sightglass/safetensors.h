/* Safetensors: named tensors in one file, mapped read-only; or in several by an index.
 *
 *     sg_safetensors *st;
 *     const sg_tensor *w;
 *     SG_TRY(sg_safetensors_open(&st, "model.safetensors", err));
 *     sg_status status = sg_safetensors_get(&w, st, "transformer.wte.weight", err);
 *     ...
 *     sg_safetensors_close(st);
 *
 * Every length and offset is checked when the file is opened; a tensor handed out lies inside the file.
 *
 * The element types of sg_dtype are handed out as they are stored, I64 as an I32 copy where every number fits.  Tensors
 * of other types (U8, I8, F8_E4M3 ...), and I64 with larger numbers, do not stand in the way of the rest: they are
 * checked but neither listed nor found, and sg_safetensors_get says why. */
#ifndef SIGHTGLASS_SAFETENSORS_H
#define SIGHTGLASS_SAFETENSORS_H

#include <stdio.h>

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_safetensors sg_safetensors;

/* Opens one .safetensors file, or an index (a path that ends in .index.json, whose shards lie beside it).
 * SG_ENOTFOUND, SG_EIO; SG_EFORMAT with the tensor's name and the numbers that do not fit. */
sg_status sg_safetensors_open(sg_safetensors **out, const char *path, sg_error *err) SG_MUST_CHECK;

/* The same over bytes that the caller keeps until close; `name` stands in error texts for a path. */
sg_status sg_safetensors_parse(sg_safetensors **out, const void *bytes, size_t n_bytes, const char *name,
                               sg_error *err) SG_MUST_CHECK;
void sg_safetensors_close(sg_safetensors *st); /* NULL is fine */

/* Finds a tensor, borrowed until close.  SG_ENOTFOUND, with the nearest name that there is; SG_EUNSUPPORTED if it
 * is there with a type that cannot be read. */
sg_status sg_safetensors_get(const sg_tensor **out, const sg_safetensors *st, const char *name,
                             sg_error *err) SG_MUST_CHECK;

/* The tensors that can be read, in the order of the file's header (of the index's weight_map). The data are borrowed,
 * read-only, until close; they are aligned to their element size (a file whose offsets are not so aligned gets those
 * tensors copied once, when it is opened; nothing else is read then). */
int sg_safetensors_count(const sg_safetensors *st);
const sg_tensor *sg_safetensors_at(const sg_safetensors *st, int i);
const char *sg_safetensors_name(const sg_safetensors *st, int i);
const sg_tensor *sg_safetensors_find(const sg_safetensors *st, const char *name); /* NULL if absent or unreadable */

/* The __metadata__ entries of the (first) file: NULL if absent. */
const char *sg_safetensors_metadata(const sg_safetensors *st, const char *key);

/* One tensor to write. */
typedef struct sg_named_tensor {
    const char *name;
    sg_tensor tensor;
} sg_named_tensor;

/* Tensors that lie elsewhere (in another format's file, in memory), found by the same calls: names are copied, numbers are
 * borrowed until close. SG_EFORMAT: a name is there twice. */
sg_status sg_safetensors_list(sg_safetensors **out, const sg_named_tensor *tensors, int n, const char *name,
                              sg_error *err) SG_MUST_CHECK;

/* Key and text pairs for __metadata__. */
typedef struct sg_pair {
    const char *key, *text;
} sg_pair;

/* Writes a file in the order given, by way of a temporary name.  The data begin at a multiple of 8 bytes and have no
 * gaps: put wider types first, and every tensor is aligned.  SG_EARG: a name is given twice, reserved, or not UTF-8. */
sg_status sg_safetensors_save(const char *path, const sg_named_tensor *tensors, int n_tensors, const sg_pair *metadata,
                              int n_metadata, sg_error *err) SG_MUST_CHECK;

/* The same where not all numbers are in memory at once: tensors' data are not looked at, but `write` puts each one's
 * bytes into the stream, in order. Its failure ends the writing, and no file appears. */
sg_status sg_safetensors_stream(const char *path, const sg_named_tensor *tensors, int n_tensors, const sg_pair *metadata,
                                int n_metadata, sg_status (*write)(void *context, int i, FILE *to, sg_error *err),
                                void *context, sg_error *err) SG_MUST_CHECK;

/* The same bytes into a stream of the caller's, which stays open. */
sg_status sg_safetensors_write(FILE *to, const sg_named_tensor *tensors, int n_tensors, const sg_pair *metadata,
                               int n_metadata, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
