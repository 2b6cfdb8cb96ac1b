/* GGUF, written: metadata as bytes that grow, then the tensors' places, then the numbers. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "io/gguf_types.h"
#include "sightglass/gguf.h"

struct sg_gguf_meta {
    sg_arena *arena;
    sg_map *keys;
    sg_str bytes;
    int n;
    const char *twice; /* a key that was given before */
    bool failed;
};

static void put(sg_str *s, uint64_t x, size_t n)
{
    char bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(x >> 8 * i & 255);
    sg_str_append(s, bytes, n);
}

static void put_text(sg_str *s, const char *text, size_t n)
{
    put(s, n, 8);
    sg_str_append(s, text, n);
}

sg_gguf_meta *sg_gguf_meta_new(void)
{
    sg_gguf_meta *m = calloc(1, sizeof *m);
    if (!m || !(m->arena = sg_arena_new()) || !(m->keys = sg_map_new(32))) {
        sg_gguf_meta_free(m);
        return NULL;
    }
    return m;
}

void sg_gguf_meta_free(sg_gguf_meta *m)
{
    if (!m)
        return;
    sg_map_free(m->keys);
    sg_arena_free(m->arena);
    sg_str_free(&m->bytes);
    free(m);
}

bool sg_gguf_meta_has(const sg_gguf_meta *m, const char *key)
{
    return sg_map_get(m->keys, key, strlen(key)) >= 0;
}

static void begin(sg_gguf_meta *m, const char *key, sg_gguf_type type)
{
    const char *own = sg_arena_strdup(m->arena, key);
    const sg_status status = own ? sg_map_put(m->keys, own, strlen(own), m->n) : SG_ENOMEM;
    if (status == SG_EARG)
        m->twice = own;
    m->failed = m->failed || status == SG_ENOMEM;
    m->n++;
    put_text(&m->bytes, key, strlen(key));
    put(&m->bytes, (uint64_t)type, 4);
}

static void begin_array(sg_gguf_meta *m, const char *key, sg_gguf_type of, uint64_t n)
{
    begin(m, key, SG_GGUF_ARRAY);
    put(&m->bytes, (uint64_t)of, 4);
    put(&m->bytes, n, 8);
}

void sg_gguf_meta_whole(sg_gguf_meta *m, const char *key, int64_t x)
{
    const sg_gguf_type type = x >= 0 && x <= UINT32_MAX          ? SG_GGUF_U32
                              : x >= INT32_MIN && x <= INT32_MAX ? SG_GGUF_I32
                                                                 : SG_GGUF_I64;
    begin(m, key, type);
    put(&m->bytes, (uint64_t)x, type == SG_GGUF_I64 ? 8 : 4);
}

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

void sg_gguf_meta_real(sg_gguf_meta *m, const char *key, double x)
{
    begin(m, key, SG_GGUF_F32);
    put(&m->bytes, bits_of((float)x), 4);
}

void sg_gguf_meta_bool(sg_gguf_meta *m, const char *key, bool x)
{
    begin(m, key, SG_GGUF_BOOL);
    put(&m->bytes, x, 1);
}

void sg_gguf_meta_text(sg_gguf_meta *m, const char *key, const char *text)
{
    begin(m, key, SG_GGUF_TEXT);
    put_text(&m->bytes, text, strlen(text));
}

void sg_gguf_meta_texts(sg_gguf_meta *m, const char *key, int64_t n, const char *const *texts, const size_t *bytes)
{
    begin_array(m, key, SG_GGUF_TEXT, (uint64_t)n);
    for (int64_t i = 0; i < n; i++)
        put_text(&m->bytes, texts[i], bytes ? bytes[i] : strlen(texts[i]));
}

void sg_gguf_meta_reals(sg_gguf_meta *m, const char *key, int64_t n, const float *x)
{
    begin_array(m, key, SG_GGUF_F32, (uint64_t)n);
    for (int64_t i = 0; i < n; i++)
        put(&m->bytes, bits_of(x[i]), 4);
}

void sg_gguf_meta_wholes(sg_gguf_meta *m, const char *key, int64_t n, const int32_t *x)
{
    begin_array(m, key, SG_GGUF_I32, (uint64_t)n);
    for (int64_t i = 0; i < n; i++)
        put(&m->bytes, (uint64_t)(uint32_t)x[i], 4);
}

void sg_gguf_meta_copy(sg_gguf_meta *m, const char *key, const sg_gguf_value *v)
{
    if (v->type == SG_GGUF_ARRAY)
        begin_array(m, key, v->of, v->n);
    else
        begin(m, key, v->type);
    if (v->type == SG_GGUF_TEXT)
        put(&m->bytes, v->n, 8);
    sg_str_append(&m->bytes, (const char *)v->bytes, v->n_bytes);
}

/* ---- the file ---- */

static int number_of(sg_dtype dtype)
{
    for (int i = 0; i < SG_GGUF_N_ELEMENTS; i++)
        if (sg_gguf_elements[i].name && sg_gguf_elements[i].dtype == (int)dtype)
            return i;
    return -1;
}

static size_t padding_of(size_t bytes)
{
    return (0 - bytes) & (SG_GGUF_ALIGNMENT - 1);
}

static sg_status put_tensors(sg_str *s, const sg_named_tensor *tensors, int n, const char *path, sg_error *err)
{
    sg_map *names = sg_map_new((size_t)n);
    sg_status status = names ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    uint64_t offset = 0;

    for (int i = 0; i < n && status == SG_OK; i++) {
        const sg_tensor *t = &tensors[i].tensor;
        const char *name = tensors[i].name;
        const int number = number_of(t->dtype);
        if (number < 0 || t->n_dims > 4) {
            status = number < 0 ? sg_fail(err, SG_EUNSUPPORTED, "%s: %s is %s, which GGUF has not", path, name,
                                          sg_dtype_name(t->dtype))
                                : sg_fail(err, SG_EUNSUPPORTED, "%s: %s has %d axes, GGUF has at most 4", path, name,
                                          t->n_dims);
            break;
        }
        status = sg_map_put(names, name, strlen(name), i);
        if (status != SG_OK) {
            status = status == SG_ENOMEM ? sg_fail(err, status, "%s: out of memory", path)
                                         : sg_fail(err, status, "%s: tensor name %s is given twice", path, name);
            break;
        }
        put_text(s, name, strlen(name));
        put(s, (uint64_t)t->n_dims, 4);
        for (int k = t->n_dims - 1; k >= 0; k--)
            put(s, (uint64_t)t->dims[k], 8);
        put(s, (uint64_t)number, 4);
        put(s, offset, 8);
        const size_t bytes = sg_tensor_bytes(t);
        offset += bytes + padding_of(bytes);
    }
    sg_map_free(names);
    return status;
}

static void pad(FILE *to, size_t n)
{
    static const char zeros[SG_GGUF_ALIGNMENT];
    if (n)
        fwrite(zeros, 1, n, to);
}

static sg_status put_header(sg_str *s, const sg_gguf_meta *m, const sg_named_tensor *tensors, int n_tensors,
                            const char *path, sg_error *err)
{
    if (m->twice)
        return sg_fail(err, SG_EARG, "%s: key %s is given twice", path, m->twice);
    sg_str_append(s, "GGUF", 4);
    put(s, 3, 4);
    put(s, (uint64_t)n_tensors, 8);
    put(s, (uint64_t)m->n, 8);
    if (m->bytes.bytes)
        sg_str_append(s, m->bytes.text, m->bytes.bytes);
    SG_TRY(put_tensors(s, tensors, n_tensors, path, err));
    return s->failed || m->failed || m->bytes.failed ? sg_fail(err, SG_ENOMEM, "%s: out of memory", path) : SG_OK;
}

sg_status sg_gguf_stream(const char *path, const sg_gguf_meta *m, const sg_named_tensor *tensors, int n_tensors,
                         sg_status (*write)(void *context, int i, FILE *to, sg_error *err), void *context,
                         sg_error *err)
{
    sg_str header = {0};
    sg_writer *w = NULL;
    sg_status status = put_header(&header, m, tensors, n_tensors, path, err);

    if (status == SG_OK)
        status = sg_writer_begin(&w, path, err);
    if (status != SG_OK) {
        sg_str_free(&header);
        return status;
    }
    FILE *to = sg_writer_stream(w);
    fwrite(header.text, 1, header.bytes, to); /* a failed write leaves its mark on the stream, and commit looks at it */
    pad(to, padding_of(header.bytes));
    sg_str_free(&header);
    for (int i = 0; i < n_tensors && status == SG_OK; i++) {
        status = write(context, i, to, err);
        pad(to, padding_of(sg_tensor_bytes(&tensors[i].tensor)));
    }
    if (status != SG_OK) {
        sg_writer_abort(w);
        return status;
    }
    return sg_writer_commit(w, err);
}

static sg_status write_one(void *context, int i, FILE *to, sg_error *err)
{
    const sg_named_tensor *tensors = context;
    const size_t bytes = sg_tensor_bytes(&tensors[i].tensor);
    (void)err;
    if (bytes)
        fwrite(tensors[i].tensor.data, 1, bytes, to);
    return SG_OK;
}

sg_status sg_gguf_save(const char *path, const sg_gguf_meta *m, const sg_named_tensor *tensors, int n_tensors,
                       sg_error *err)
{
    return sg_gguf_stream(path, m, tensors, n_tensors, write_one, (void *)(uintptr_t)tensors, err);
}
