/* Tokens from tensors' files; what they are for is the callers' business, so no id is looked at. */
#include "io/token_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

bool sg_token_file_is(const char *path)
{
    return ends_with(path, ".npy") || ends_with(path, ".safetensors") || strstr(path, ".safetensors:");
}

static sg_status open_safetensors(sg_token_file *f, const char *path, sg_error *err)
{
    const char *colon = strstr(path, ".safetensors:");
    char *file = colon ? strndup(path, (size_t)(colon - path) + strlen(".safetensors")) : strdup(path);
    if (!file)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    const sg_status status = sg_safetensors_open(&f->safetensors, file, err);
    free(file);
    SG_TRY(status);
    if (!colon && sg_safetensors_count(f->safetensors) == 1) {
        f->tensor = sg_safetensors_at(f->safetensors, 0);
        return SG_OK;
    }
    return sg_safetensors_get(&f->tensor, f->safetensors, colon ? colon + strlen(".safetensors:") : "tokens", err);
}

sg_status sg_token_file_open(sg_token_file *f, const char *path, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    *f = (sg_token_file){0};
    if (ends_with(path, ".npy")) {
        SG_TRY(sg_npy_open(&f->npy, path, err));
        f->tensor = sg_npy_tensor(f->npy);
    } else {
        SG_TRY(open_safetensors(f, path, err));
    }
    const sg_tensor *t = f->tensor;
    if (t->dtype != SG_I32 || t->n_dims < 1 || t->n_dims > 2)
        return sg_fail(err, SG_EFORMAT, "%s: is %s %s, tokens are i32, [time] or [rows,time]", path,
                       sg_dtype_name(t->dtype), sg_shape_text(shape, t->n_dims, t->dims));
    return SG_OK;
}

void sg_token_file_close(sg_token_file *f)
{
    sg_npy_close(f->npy);
    sg_safetensors_close(f->safetensors);
    *f = (sg_token_file){0};
}
