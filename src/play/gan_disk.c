/* Model files on disk. */
#include <stdlib.h>
#include <string.h>

#include "play/gan_internal.h"

sg_status sg_gan_load(sg_gan **out, const char *path, uint64_t seed, sg_error *err)
{
    sg_tfjs *file = NULL;
    sg_error inner = {SG_OK, ""};
    *out = NULL;
    SG_TRY(sg_tfjs_open(&file, path, err));
    const sg_status status = sg_gan_from(out, file, seed, &inner);
    sg_tfjs_free(file);
    return status == SG_OK ? SG_OK : sg_fail(err, status, "%s: %s", path, inner.text);
}

static sg_status write_file(const char *path, const void *bytes, size_t n, sg_error *err)
{
    sg_writer *w = NULL;
    SG_TRY(sg_writer_begin(&w, path, err));
    fwrite(bytes, 1, n, sg_writer_stream(w)); /* commit tells of a failed write */
    return sg_writer_commit(w, err);
}

sg_status sg_gan_save(sg_gan *gan, const char *path, sg_error *err)
{
    const size_t n = strlen(path);
    if (n < 6 || strcmp(path + n - 5, ".json") != 0)
        return sg_fail(err, SG_EARG, "%s: wanted a path that ends in .json", path);
    sg_str numbers_path = {0};
    sg_str_printf(&numbers_path, "%.*s.weights.bin", (int)(n - 5), path);
    if (numbers_path.failed) {
        sg_str_free(&numbers_path);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    const char *slash = strrchr(numbers_path.text, '/');
    char *json = NULL;
    float *weights = NULL;
    sg_dim n_weights;
    sg_status status = sg_gan_write(gan, slash ? slash + 1 : numbers_path.text, &json, &weights, &n_weights, err);
    /* The numbers first: a JSON that is there has them beside it. */
    if (status == SG_OK)
        status = write_file(numbers_path.text, weights, (size_t)n_weights * sizeof *weights, err);
    if (status == SG_OK)
        status = write_file(path, json, strlen(json), err);
    free(json);
    free(weights);
    sg_str_free(&numbers_path);
    return status;
}
