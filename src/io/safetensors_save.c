/* Safetensors, written: the header first, so every offset is known before a number is written. */
#include <inttypes.h>
#include <string.h>
#include <utf8proc.h>

#include "base/base.h"
#include "sightglass/safetensors.h"

static const char *const type_names[SG_N_DTYPES] = {
    [SG_F32] = "F32", [SG_F64] = "F64", [SG_I32] = "I32", [SG_BF16] = "BF16", [SG_F16] = "F16", [SG_BOOL] = "BOOL",
};

/* A JSON string.  SG_EARG where the text is not UTF-8, which JSON cannot carry. */
static sg_status put_string(sg_str *s, const char *text, const char *path, sg_error *err)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text;
    sg_str_puts(s, "\"");
    while (*p) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t n = utf8proc_iterate(p, -1, &code);
        if (n < 1)
            return sg_fail(err, SG_EARG, "%s: name or text \"%s\" is not UTF-8 at byte %td", path, text,
                           p - (const utf8proc_uint8_t *)text);
        if (code == '"' || code == '\\')
            sg_str_printf(s, "\\%c", (char)code);
        else if (code < 0x20)
            sg_str_printf(s, "\\u%04" PRIx32, (uint32_t)code);
        else
            sg_str_append(s, (const char *)p, (size_t)n);
        p += n;
    }
    sg_str_puts(s, "\"");
    return SG_OK;
}

static sg_status put_metadata(sg_str *s, const sg_pair *metadata, int n, const char *path, sg_error *err)
{
    sg_str_puts(s, "\"__metadata__\":{");
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++)
            if (strcmp(metadata[i].key, metadata[j].key) == 0)
                return sg_fail(err, SG_EARG, "%s: metadata key %s is given twice", path, metadata[i].key);
        sg_str_puts(s, i ? "," : "");
        SG_TRY(put_string(s, metadata[i].key, path, err));
        sg_str_puts(s, ":");
        SG_TRY(put_string(s, metadata[i].text, path, err));
    }
    sg_str_puts(s, "}");
    return SG_OK;
}

static sg_status put_tensor(sg_str *s, const sg_named_tensor *t, size_t *offset, const char *path, sg_error *err)
{
    if (!type_names[t->tensor.dtype])
        return sg_fail(err, SG_EUNSUPPORTED, "%s: %s is %s, which such a file cannot hold", path, t->name,
                       sg_dtype_name(t->tensor.dtype));
    SG_TRY(put_string(s, t->name, path, err));
    sg_str_printf(s, ":{\"dtype\":\"%s\",\"shape\":[", type_names[t->tensor.dtype]);
    for (int d = 0; d < t->tensor.n_dims; d++)
        sg_str_printf(s, d ? ",%" PRId64 : "%" PRId64, t->tensor.dims[d]);
    const size_t begin = *offset;
    *offset += sg_tensor_bytes(&t->tensor);
    sg_str_printf(s, "],\"data_offsets\":[%zu,%zu]}", begin, *offset);
    return SG_OK;
}

static sg_status make_header(sg_str *s, const char *path, const sg_named_tensor *tensors, int n_tensors,
                             const sg_pair *metadata, int n_metadata, sg_map *names, sg_error *err)
{
    size_t offset = 0;
    sg_str_puts(s, "{");
    if (n_metadata)
        SG_TRY(put_metadata(s, metadata, n_metadata, path, err));
    for (int i = 0; i < n_tensors; i++) {
        const char *name = tensors[i].name;
        const sg_status status = sg_map_put(names, name, strlen(name), i);
        if (status == SG_ENOMEM)
            return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
        if (status != SG_OK || strcmp(name, "__metadata__") == 0)
            return sg_fail(err, SG_EARG, "%s: tensor name %s is %s", path, name,
                           status != SG_OK ? "given twice" : "reserved");
        sg_str_puts(s, i || n_metadata ? "," : "");
        SG_TRY(put_tensor(s, &tensors[i], &offset, path, err));
    }
    sg_str_puts(s, "}");
    while (s->bytes % 8 && !s->failed)
        sg_str_puts(s, " ");
    return s->failed ? sg_fail(err, SG_ENOMEM, "%s: out of memory", path) : SG_OK;
}

typedef sg_status tensor_writer(void *context, int i, FILE *to, sg_error *err);

/* A failed write leaves its mark on the stream, and whoever closes it looks at that. */
static sg_status put_all(FILE *f, const sg_str *header, int n_tensors, tensor_writer *write, void *context, sg_error *err)
{
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header->bytes >> (8 * i));
    fwrite(length, 1, sizeof length, f);
    fwrite(header->text, 1, header->bytes, f);
    for (int i = 0; i < n_tensors; i++)
        SG_TRY(write(context, i, f, err));
    return SG_OK;
}

/* The header; name stands in texts for the file. */
static sg_status checked_header(sg_str *header, const char *name, const sg_named_tensor *tensors, int n_tensors,
                                const sg_pair *metadata, int n_metadata, sg_error *err)
{
    sg_map *names = sg_map_new((size_t)n_tensors);
    if (!names)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    const sg_status status = make_header(header, name, tensors, n_tensors, metadata, n_metadata, names, err);
    sg_map_free(names);
    return status;
}

sg_status sg_safetensors_stream(const char *path, const sg_named_tensor *tensors, int n_tensors,
                                const sg_pair *metadata, int n_metadata,
                                sg_status (*write)(void *context, int i, FILE *to, sg_error *err), void *context,
                                sg_error *err)
{
    sg_str header = {0};
    sg_writer *w = NULL;
    sg_status status = checked_header(&header, path, tensors, n_tensors, metadata, n_metadata, err);
    if (status == SG_OK)
        status = sg_writer_begin(&w, path, err);
    if (status == SG_OK) {
        status = put_all(sg_writer_stream(w), &header, n_tensors, write, context, err);
        if (status == SG_OK)
            status = sg_writer_commit(w, err);
        else
            sg_writer_abort(w);
    }
    sg_str_free(&header);
    return status;
}

static sg_status write_numbers(void *context, int i, FILE *to, sg_error *err)
{
    const sg_tensor *t = &((const sg_named_tensor *)context)[i].tensor;
    const size_t bytes = sg_tensor_bytes(t);
    (void)err;
    if (bytes)
        fwrite(t->data, 1, bytes, to);
    return SG_OK;
}

sg_status sg_safetensors_save(const char *path, const sg_named_tensor *tensors, int n_tensors, const sg_pair *metadata,
                              int n_metadata, sg_error *err)
{
    union {
        const sg_named_tensor *in;
        void *out;
    } list = {tensors};
    return sg_safetensors_stream(path, tensors, n_tensors, metadata, n_metadata, write_numbers, list.out, err);
}

sg_status sg_safetensors_write(FILE *to, const sg_named_tensor *tensors, int n_tensors, const sg_pair *metadata,
                               int n_metadata, sg_error *err)
{
    union {
        const sg_named_tensor *in;
        void *out;
    } list = {tensors};
    sg_str header = {0};
    sg_status status = checked_header(&header, "safetensors", tensors, n_tensors, metadata, n_metadata, err);
    if (status == SG_OK)
        status = put_all(to, &header, n_tensors, write_numbers, list.out, err);
    if (status == SG_OK && (fflush(to) != 0 || ferror(to)))
        status = sg_fail(err, SG_EIO, "safetensors: the bytes could not be written");
    sg_str_free(&header);
    return status;
}
