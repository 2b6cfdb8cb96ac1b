/* Model files of TensorFlow.js: a JSON text with a topology and a manifest of weights, and files of numbers beside it.
 *
 *     sg_tfjs *t;
 *     SG_TRY(sg_tfjs_open(&t, "model.json", err));
 *     const sg_tensor *w = sg_tfjs_find(t, "d-0");
 *     const char *shape = sg_tfjs_fact(t, "shape_name");
 *     sg_tfjs_free(t);
 *
 * The files of a group are joined in the order of its paths, then cut in the order of its weights. A path is taken for the
 * file of that name beside the JSON, whatever folder it goes through. Numbers are little-endian; quantised ones are
 * widened, value = q * scale + min. Natively the JSON is read here; where another program has parsed it (a page), it
 * hands over facts and groups, and the same code reads them. */
#ifndef SIGHTGLASS_TFJS_H
#define SIGHTGLASS_TFJS_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_tfjs sg_tfjs;

/* SG_ENOTFOUND, SG_EIO; SG_EFORMAT with what does not fit; SG_EUNSUPPORTED: a type of element that is not read. */
sg_status sg_tfjs_open(sg_tfjs **out, const char *path, sg_error *err) SG_MUST_CHECK;

/* The same over bytes. `find` gives the bytes of a file of numbers, borrowed until the next call; `name` is a file's own,
 * without folders. */
typedef sg_status sg_tfjs_find_fn(void *context, const char *name, const void **bytes, size_t *n_bytes, sg_error *err);
sg_status sg_tfjs_parse(sg_tfjs **out, const char *json, size_t n_bytes, const char *name, sg_tfjs_find_fn *find,
                        void *context, sg_error *err) SG_MUST_CHECK;
void sg_tfjs_free(sg_tfjs *t); /* NULL is fine */

/* A text, number or truth of the topology by its way there, "config.noiseSize", as text; NULL if absent. */
const char *sg_tfjs_fact(const sg_tfjs *t, const char *key);

/* Weights: f32, i32 or bool. */
int sg_tfjs_count(const sg_tfjs *t);
const char *sg_tfjs_weight_name(const sg_tfjs *t, int i);
const sg_tensor *sg_tfjs_weight(const sg_tfjs *t, int i);
const sg_tensor *sg_tfjs_find(const sg_tfjs *t, const char *name); /* NULL if absent */

/* ---- from parsed parts ---- */

typedef struct sg_tfjs_entry {
    const char *name;
    const char *dtype; /* "float32", "int32", "bool" */
    int n_dims;
    sg_dim dims[SG_MAX_DIMS];
    const char *packed; /* NULL; "uint8", "uint16" or "float16": how the numbers of a float32 are stored */
    double scale, min;  /* of the first two */
} sg_tfjs_entry;

/* `name` stands in error texts for a path. */
sg_status sg_tfjs_new(sg_tfjs **out, const char *name, sg_error *err) SG_MUST_CHECK;
sg_status sg_tfjs_add_fact(sg_tfjs *t, const char *key, const char *text, sg_error *err) SG_MUST_CHECK;
/* SG_EFORMAT: the bytes are not as many as the entries take, or a name is there twice. All is copied. */
sg_status sg_tfjs_add_group(sg_tfjs *t, int n, const sg_tfjs_entry *entries, const void *bytes, size_t n_bytes,
                            sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
