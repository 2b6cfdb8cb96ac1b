/* GGUF: a model in one file: metadata, then tensors, mapped read-only.
 *
 *     sg_gguf *g;
 *     const sg_tensor *w;
 *     int64_t n_layers;
 *     SG_TRY(sg_gguf_open(&g, "model.gguf", err));
 *     if (sg_gguf_whole(g, "llama.block_count", &n_layers))
 *         ...
 *     sg_status status = sg_gguf_get(&w, g, "token_embd.weight", err);
 *     sg_gguf_close(g);
 *
 * Versions 2 and 3, little-endian.  Every length, count and offset is checked when the file is opened; a tensor handed
 * out lies inside the file and no two overlap.  Tensors are used as they are stored: opening reads the metadata, and no
 * numbers.
 *
 * Extents are turned round: GGUF lists the fastest axis first, sg_tensor the outermost.  Tensors of types other than
 * F32, F16, BF16, F64, I32 and the packed types of sg_dtype do not stand in the way of the rest: sg_gguf_get says what
 * they are. */
#ifndef SIGHTGLASS_GGUF_H
#define SIGHTGLASS_GGUF_H

#include "sightglass/safetensors.h"
#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_gguf sg_gguf;

/* SG_ENOTFOUND, SG_EIO; SG_EFORMAT says where the file contradicts itself; SG_EUNSUPPORTED: another version, or
 * big-endian. */
sg_status sg_gguf_open(sg_gguf **out, const char *path, sg_error *err) SG_MUST_CHECK;
/* The same over bytes that the caller keeps until close, at an address that is a multiple of 32; `name` stands in
 * errors for a path.
 */
sg_status sg_gguf_parse(sg_gguf **out, const void *bytes, size_t n_bytes, const char *name,
                        sg_error *err) SG_MUST_CHECK;
void sg_gguf_close(sg_gguf *g); /* NULL is fine */

/* Whether a file begins as GGUF does: false too where it cannot be read. */
bool sg_gguf_is(const char *path);
int sg_gguf_version(const sg_gguf *g);

/* ---- tensors ---- */

/* Finds a tensor, borrowed until close. SG_ENOTFOUND, with the nearest name that there is; SG_EUNSUPPORTED names its
 * type. */
sg_status sg_gguf_get(const sg_tensor **out, const sg_gguf *g, const char *name, sg_error *err) SG_MUST_CHECK;

/* All tensors, in the order of the file. `at` gives NULL for one whose type cannot be read, and so does `find`. */
int sg_gguf_count(const sg_gguf *g);
const sg_tensor *sg_gguf_at(const sg_gguf *g, int i);
const char *sg_gguf_name(const sg_gguf *g, int i);
const char *sg_gguf_type_name(const sg_gguf *g, int i); /* "F32", "Q4_K", "IQ2_XXS" ... */
const sg_tensor *sg_gguf_find(const sg_gguf *g, const char *name);

/* ---- metadata ---- */

typedef enum sg_gguf_type {
    SG_GGUF_U8 = 0,
    SG_GGUF_I8,
    SG_GGUF_U16,
    SG_GGUF_I16,
    SG_GGUF_U32,
    SG_GGUF_I32,
    SG_GGUF_F32,
    SG_GGUF_BOOL,
    SG_GGUF_TEXT,
    SG_GGUF_ARRAY,
    SG_GGUF_U64,
    SG_GGUF_I64,
    SG_GGUF_F64,
    SG_GGUF_N_TYPES
} sg_gguf_type;

/* A value in the file. */
typedef struct sg_gguf_value {
    sg_gguf_type type;
    sg_gguf_type of; /* of an array's elements */
    uint64_t n;      /* elements of an array, bytes of a text, else 1 */
    const unsigned char
        *bytes; /* little-endian, not aligned; an array's elements one after another, texts with their lengths */
    size_t n_bytes;
} sg_gguf_value;

int sg_gguf_n_keys(const sg_gguf *g);
const char *sg_gguf_key(const sg_gguf *g, int i);
sg_gguf_value sg_gguf_value_at(const sg_gguf *g, int i);
bool sg_gguf_lookup(const sg_gguf *g, const char *key, sg_gguf_value *out);

/* A key's value, if it is there and of such a kind: any integer type that fits, any number, a text that has no NUL
 * inside (NUL-terminated, borrowed until close). False, and *out as it was, if not. */
bool sg_gguf_whole(const sg_gguf *g, const char *key, int64_t *out);
bool sg_gguf_real(const sg_gguf *g, const char *key, double *out);
bool sg_gguf_bool(const sg_gguf *g, const char *key, bool *out);
const char *sg_gguf_text(const sg_gguf *g, const char *key); /* NULL if not */

/* Element i of an array of numbers (0 beyond its end), or the single number; texts are 0. */
double sg_gguf_number(const sg_gguf_value *v, uint64_t i);

/* The texts of an array and their lengths, in arrays of v->n entries that live until close; the texts end by their
 * lengths, not by a NUL.  SG_ETYPE: not an array of texts. */
sg_status sg_gguf_texts(sg_gguf *g, const sg_gguf_value *v, const char *const **texts, const size_t **bytes,
                        sg_error *err) SG_MUST_CHECK;

/* ---- writing ---- */

/* Metadata to write, in the order of the calls. What runs out of memory, or a key given twice, is said by the save. */
typedef struct sg_gguf_meta sg_gguf_meta;

sg_gguf_meta *sg_gguf_meta_new(void); /* NULL when memory is out */
void sg_gguf_meta_free(sg_gguf_meta *m);
bool sg_gguf_meta_has(const sg_gguf_meta *m, const char *key);
void sg_gguf_meta_whole(sg_gguf_meta *m, const char *key, int64_t x); /* as u32, else i32, else i64 */
void sg_gguf_meta_real(sg_gguf_meta *m, const char *key, double x);   /* as f32 */
void sg_gguf_meta_bool(sg_gguf_meta *m, const char *key, bool x);
void sg_gguf_meta_text(sg_gguf_meta *m, const char *key, const char *text);
void sg_gguf_meta_texts(sg_gguf_meta *m, const char *key, int64_t n, const char *const *texts,
                        const size_t *bytes); /* NULL: to NUL */
void sg_gguf_meta_reals(sg_gguf_meta *m, const char *key, int64_t n, const float *x);
void sg_gguf_meta_wholes(sg_gguf_meta *m, const char *key, int64_t n, const int32_t *x);
void sg_gguf_meta_copy(sg_gguf_meta *m, const char *key, const sg_gguf_value *v);

/* Writes version 3 by way of a temporary name, tensors in the order given, each at a multiple of 32 bytes.
 * SG_EARG: a name or key is given twice; SG_EUNSUPPORTED: a type that GGUF has not, or more than 4 axes. */
sg_status sg_gguf_save(const char *path, const sg_gguf_meta *m, const sg_named_tensor *tensors, int n_tensors,
                       sg_error *err) SG_MUST_CHECK;
/* The same where not all numbers are in memory at once: tensors' data are not looked at, but `write` puts each one's
 * bytes into the stream, in order. Its failure ends the writing, and no file appears. */
sg_status sg_gguf_stream(const char *path, const sg_gguf_meta *m, const sg_named_tensor *tensors, int n_tensors,
                         sg_status (*write)(void *context, int i, FILE *to, sg_error *err), void *context,
                         sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
