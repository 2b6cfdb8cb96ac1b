/* Reading a harvest: every shard is mapped, and rows are converted as they are asked for. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "methods/shards_internal.h"
#include "sightglass/safetensors.h"

typedef struct mapped {
    sg_safetensors *file;
    sg_dim first, n; /* rows of the harvest */
    const sg_tensor **acts;
    const sg_tensor *tokens, *positions, *sequences, *offsets, *files, *texts;
} mapped;

struct sg_shards {
    json_t *index;
    int n_sites, n_shards;
    const char **sites;
    sg_dim *widths;
    sg_dim n_rows;
    mapped *shards;
};

static sg_status wanted(const sg_tensor **out, const mapped *m, const char *path, const char *name, int n_dims,
                        sg_dim rows, sg_dim width, sg_error *err)
{
    char found[SG_SHAPE_TEXT];
    SG_TRY(sg_safetensors_get(out, m->file, name, err));
    const sg_tensor *t = *out;
    if (t->n_dims != n_dims || (rows >= 0 && t->dims[0] != rows) || (n_dims == 2 && t->dims[1] != width) ||
        (n_dims == 2 && !sg_dtype_is_float(t->dtype)))
        return sg_fail(err, SG_EFORMAT, "%s: %s is %s %s, which the index does not say", path, name,
                       sg_dtype_name(t->dtype), sg_shape_text(found, t->n_dims, t->dims));
    return SG_OK;
}

static sg_status check_columns(const mapped *m, const char *path, sg_dim sequences, sg_error *err)
{
    const sg_tensor *i32[] = {m->tokens, m->positions, m->sequences, m->offsets, m->files};
    for (size_t i = 0; i < SG_COUNT_OF(i32); i++)
        if (i32[i]->dtype != SG_I32)
            return sg_fail(err, SG_EFORMAT, "%s: a column is %s, wanted i32", path, sg_dtype_name(i32[i]->dtype));
    const int32_t *of = m->sequences->data;
    for (sg_dim r = 0; r < m->n; r++)
        if (of[r] < 0 || of[r] >= sequences)
            return sg_fail(err, SG_EFORMAT, "%s: row %" PRId64 " is of sequence %" PRId32 " of %" PRId64, path, r,
                           of[r], sequences);
    return SG_OK;
}

static sg_status open_shard(sg_shards *s, mapped *m, const char *dir, const json_t *entry, sg_error *err)
{
    const char *name = json_string_value(json_object_get(entry, "file"));
    m->n = json_integer_value(json_object_get(entry, "rows"));
    const sg_dim sequences = json_integer_value(json_object_get(entry, "sequences"));
    if (!name || strchr(name, '/') || m->n < 0)
        return sg_fail(err, SG_EFORMAT, "%s: its index has a shard without a name or rows", dir);
    char *path = shards_path(dir, name, err);
    if (!path)
        return SG_ENOMEM;
    sg_status status = sg_safetensors_open(&m->file, path, err);
    m->acts = calloc((size_t)s->n_sites + 1, sizeof *m->acts);
    if (status == SG_OK && !m->acts)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    for (int i = 0; i < s->n_sites && status == SG_OK; i++)
        status = wanted(&m->acts[i], m, path, s->sites[i], 2, m->n, s->widths[i], err);
    const struct {
        const sg_tensor **to;
        const char *name;
        sg_dim n;
    } columns[] = {{&m->tokens, "tokens", m->n},
                   {&m->positions, "positions", m->n},
                   {&m->sequences, "sequences", m->n},
                   {&m->offsets, "offsets", m->n},
                   {&m->files, "sequence.files", sequences},
                   {&m->texts, "sequence.texts", sequences}};
    for (size_t i = 0; i < SG_COUNT_OF(columns) && status == SG_OK; i++)
        status = wanted(columns[i].to, m, path, columns[i].name, 1, columns[i].n, 0, err);
    if (status == SG_OK)
        status = check_columns(m, path, sequences, err);
    free(path);
    m->first = s->n_rows;
    s->n_rows += m->n;
    return status;
}

static sg_status read_index(sg_shards *s, const char *dir, sg_error *err)
{
    SG_TRY(shards_index_read(&s->index, dir, err));
    const json_t *sites = json_object_get(s->index, "sites"), *shards = json_object_get(s->index, "shards");
    s->n_sites = (int)json_array_size(sites);
    s->sites = calloc((size_t)s->n_sites + 1, sizeof *s->sites);
    s->widths = calloc((size_t)s->n_sites + 1, sizeof *s->widths);
    s->shards = calloc(json_array_size(shards) + 1, sizeof *s->shards);
    if (!s->sites || !s->widths || !s->shards)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    for (int i = 0; i < s->n_sites; i++) {
        s->sites[i] = json_string_value(json_object_get(json_array_get(sites, (size_t)i), "name"));
        s->widths[i] = json_integer_value(json_object_get(json_array_get(sites, (size_t)i), "width"));
        if (!s->sites[i] || s->widths[i] < 1)
            return sg_fail(err, SG_EFORMAT, "%s: its index has a site without a name or a width", dir);
    }
    for (size_t i = 0; i < json_array_size(shards); i++) {
        s->n_shards++;
        SG_TRY(open_shard(s, &s->shards[i], dir, json_array_get(shards, i), err));
    }
    return SG_OK;
}

sg_status sg_shards_open(sg_shards **out, const char *dir, sg_error *err)
{
    *out = NULL;
    sg_shards *s = calloc(1, sizeof *s);
    if (!s)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    const sg_status status = read_index(s, dir, err);
    if (status != SG_OK) {
        sg_shards_close(s);
        return status;
    }
    *out = s;
    return SG_OK;
}

void sg_shards_close(sg_shards *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_shards; i++) {
        sg_safetensors_close(s->shards[i].file);
        free(s->shards[i].acts);
    }
    free(s->shards);
    free(s->sites);
    free(s->widths);
    json_decref(s->index);
    free(s);
}

sg_dim sg_shards_n_rows(const sg_shards *s)
{
    return s->n_rows;
}

int sg_shards_n_sites(const sg_shards *s)
{
    return s->n_sites;
}

const char *sg_shards_site(const sg_shards *s, int i)
{
    return s->sites[i];
}

sg_dim sg_shards_width(const sg_shards *s, int i)
{
    return s->widths[i];
}

/* The shard that has a row: the last that begins no later. */
static const mapped *find(const sg_shards *s, sg_dim row)
{
    int low = 0, high = s->n_shards - 1;
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (s->shards[middle].first <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return &s->shards[low];
}

sg_status sg_shards_read(const sg_shards *s, int site, sg_dim first, sg_dim n, float *out, sg_error *err)
{
    if (site < 0 || site >= s->n_sites || first < 0 || n < 0 || first > s->n_rows - n)
        return sg_fail(err, SG_EARG, "harvest: rows %" PRId64 " to %" PRId64 " of site %d, there are %" PRId64 " of %d",
                       first, first + n - 1, site, s->n_rows, s->n_sites);
    const sg_dim width = s->widths[site];
    while (n > 0) {
        const mapped *m = find(s, first);
        const sg_dim at = first - m->first, now = SG_MIN(n, m->n - at);
        const sg_tensor *t = m->acts[site];
        sg_convert(out, SG_F32, (const char *)t->data + (size_t)(at * width) * sg_dtype_bytes(t->dtype), t->dtype,
                   now * width);
        out += now * width;
        first += now;
        n -= now;
    }
    return SG_OK;
}

sg_status sg_shards_row_at(const sg_shards *s, sg_dim row, sg_shards_row *out, sg_error *err)
{
    if (row < 0 || row >= s->n_rows)
        return sg_fail(err, SG_EARG, "harvest: row %" PRId64 " of %" PRId64, row, s->n_rows);
    const mapped *m = find(s, row);
    const sg_dim at = row - m->first, sequence = ((const int32_t *)m->sequences->data)[at];
    *out = (sg_shards_row){.token = ((const int32_t *)m->tokens->data)[at],
                           .position = ((const int32_t *)m->positions->data)[at],
                           .offset = ((const int32_t *)m->offsets->data)[at],
                           .file = ((const int32_t *)m->files->data)[sequence],
                           .text = (int64_t)sg_tensor_get(m->texts, sequence)};
    out->path = json_string_value(
        json_array_get(json_object_get(s->index, "files"), out->file < 0 ? SIZE_MAX : (size_t)out->file));
    return SG_OK;
}
