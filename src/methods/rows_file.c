#include "methods/rows_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sightglass/npy.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"
#include "sightglass/shards.h"

enum { STREAM_OF_ROWS = 0x726f7773 };

/* "acts.safetensors:codes" parts at the last colon behind a name that ends so. */
static const char *name_of(const char *path)
{
    const char *at = strstr(path, ".safetensors:");
    return at ? at + strlen(".safetensors:") : NULL;
}

const char *sg_rows_file_path(const char *path, char buf[1024])
{
    const char *name = name_of(path);
    snprintf(buf, 1024, "%.*s", name ? (int)(name - path) - 1 : (int)strlen(path), path);
    return buf;
}

static sg_status make(sg_rows_file *f, sg_dim n_all, sg_dim width, sg_dim most, uint64_t seed, const char *path,
                      sg_error *err)
{
    if (n_all < 1 || width < 1 || n_all > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "%s: %" PRId64 " rows of %" PRId64 " numbers", path, n_all, width);
    const sg_dim n = SG_MIN(n_all, most);
    f->n_all = n_all;
    f->which = sg_arena_array(f->arena, (size_t)n, sizeof *f->which);
    float *rows = sg_arena_array(f->arena, (size_t)n * (size_t)width, sizeof *rows);
    if (!f->which || !rows)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory for %" PRId64 " rows", path, n);
    f->rows = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, width}, rows);
    sg_rng r = sg_rng_new(seed, STREAM_OF_ROWS);
    for (sg_dim i = 0, kept = 0; kept < n; i++) /* each of those that are left with the chance that makes n of them */
        if (sg_rng_uniform(&r) * (double)(n_all - i) < (double)(n - kept))
            f->which[kept++] = (int32_t)i;
    return SG_OK;
}

static sg_status from_tensor(sg_rows_file *f, const sg_tensor *t, const char *path, sg_dim most, uint64_t seed,
                             sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (t->n_dims != 2 || !sg_dtype_is_float(t->dtype))
        return sg_fail(err, SG_ESHAPE, "%s: %s%s, wanted rows of floats [N,D]", path, sg_dtype_name(t->dtype),
                       sg_shape_text(shape, t->n_dims, t->dims));
    const sg_dim d = t->dims[1];
    SG_TRY(make(f, t->dims[0], d, most, seed, path, err));
    for (sg_dim i = 0; i < f->rows.dims[0]; i++)
        sg_convert((float *)f->rows.data + i * d, SG_F32,
                   (const char *)t->data + (size_t)(f->which[i] * d) * sg_dtype_bytes(t->dtype), t->dtype, d);
    return SG_OK;
}

static sg_status from_npy(sg_rows_file *f, const char *path, sg_dim most, uint64_t seed, sg_error *err)
{
    sg_npy *a;
    SG_TRY(sg_npy_open(&a, path, err));
    const sg_status status = from_tensor(f, sg_npy_tensor(a), path, most, seed, err);
    sg_npy_close(a);
    return status;
}

static sg_status from_safetensors(sg_rows_file *f, const char *path, sg_dim most, uint64_t seed, sg_error *err)
{
    char file[1024];
    sg_safetensors *st;
    const sg_tensor *t = NULL;
    SG_TRY(sg_safetensors_open(&st, sg_rows_file_path(path, file), err));
    sg_status status = SG_OK;
    if (name_of(path))
        status = sg_safetensors_get(&t, st, name_of(path), err);
    else if (sg_safetensors_count(st) == 1)
        t = sg_safetensors_at(st, 0);
    else
        status =
            sg_fail(err, SG_EARG, "%s holds %d tensors: name one behind a colon, as %s:%s", path,
                    sg_safetensors_count(st), path, sg_safetensors_count(st) ? sg_safetensors_name(st, 0) : "NAME");
    if (status == SG_OK)
        status = from_tensor(f, t, path, most, seed, err);
    sg_safetensors_close(st);
    return status;
}

static sg_status from_shards(sg_rows_file *f, sg_shards *s, const char *path, const char *site, sg_dim most,
                             uint64_t seed, sg_error *err)
{
    int which = site ? -1 : 0;
    for (int i = 0; i < sg_shards_n_sites(s) && site; i++)
        if (!strcmp(sg_shards_site(s, i), site))
            which = i;
    if (which < 0)
        return sg_fail(err, SG_ENOTFOUND, "%s: no site \"%s\"; the first is \"%s\"", path, site, sg_shards_site(s, 0));
    f->site = sg_arena_strdup(f->arena, sg_shards_site(s, which));
    const sg_dim d = sg_shards_width(s, which);
    SG_TRY(make(f, sg_shards_n_rows(s), d, most, seed, path, err));
    f->position = sg_arena_array(f->arena, (size_t)f->rows.dims[0], sizeof *f->position);
    if (!f->site || !f->position)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    for (sg_dim i = 0; i < f->rows.dims[0]; i++) {
        sg_shards_row row;
        SG_TRY(sg_shards_read(s, which, f->which[i], 1, (float *)f->rows.data + i * d, err));
        SG_TRY(sg_shards_row_at(s, f->which[i], &row, err));
        f->position[i] = row.position;
    }
    return SG_OK;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

sg_status sg_rows_file_read(sg_rows_file *out, const char *path, const char *site, sg_dim most, uint64_t seed,
                            sg_error *err)
{
    struct stat st;
    sg_shards *s;
    *out = (sg_rows_file){.arena = sg_arena_new()};
    sg_status status = out->arena ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    if (status == SG_OK && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        status = sg_shards_open(&s, path, err);
        if (status == SG_OK) {
            status = from_shards(out, s, path, site, most, seed, err);
            sg_shards_close(s);
        }
    } else if (status == SG_OK && ends_with(path, ".npy")) {
        status = from_npy(out, path, most, seed, err);
    } else if (status == SG_OK && (ends_with(path, ".safetensors") || name_of(path))) {
        status = from_safetensors(out, path, most, seed, err);
    } else if (status == SG_OK) {
        status = sg_fail(err, SG_EARG, "%s: wanted a harvest's folder, FILE.npy or FILE.safetensors[:NAME]", path);
    }
    if (status != SG_OK)
        sg_rows_file_free(out);
    return status;
}

void sg_rows_file_free(sg_rows_file *f)
{
    sg_arena_free(f->arena);
    *f = (sg_rows_file){0};
}
