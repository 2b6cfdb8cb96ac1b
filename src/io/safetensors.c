/* Safetensors, read: 8 bytes of header length, a JSON header, then the numbers.
 *
 * Nothing is believed: a length, an offset or a shape from the header is used only after it has been checked against
 * the bytes that are there.  When parse returns, every tensor lies inside the data area, no two overlap, and together
 * they fill it.  The numbers themselves are not read, except those that have to be copied (see the header). */
#include "sightglass/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define HEADER_MOST ((uint64_t)100 * 1000 * 1000) /* the format's own limit */
#define INDEX_END   ".index.json"

/* The format's element types.  Those below a byte are packed. */
static const struct type {
    const char *name;
    unsigned bits;
    int dtype; /* an sg_dtype, or -1 */
} types[] = {
    {"F32", 32, SG_F32},    {"F64", 64, SG_F64},    {"I32", 32, SG_I32}, {"BF16", 16, SG_BF16}, {"F16", 16, SG_F16},
    {"BOOL", 8, SG_BOOL},   {"I64", 64, -1},        {"U8", 8, -1},       {"I8", 8, -1},         {"I16", 16, -1},
    {"U16", 16, -1},        {"U32", 32, -1},        {"U64", 64, -1},     {"F8_E5M2", 8, -1},    {"F8_E4M3", 8, -1},
    {"F8_E8M0", 8, -1},     {"F4", 4, -1},          {"F6_E2M3", 6, -1},  {"F6_E3M2", 6, -1},    {"C64", 64, -1},
    {"F8_E4M3FNUZ", 8, -1}, {"F8_E5M2FNUZ", 8, -1},
};

struct entry {
    const char *name;
    const struct type *type;
    sg_tensor tensor;     /* without data while there is an obstacle */
    const char *obstacle; /* why it cannot be read, or NULL */
    uint64_t begin, end;  /* in the data area */
};

struct sg_safetensors {
    sg_arena *arena; /* owns everything else, this struct included */
    const char *name;
    struct entry *entries; /* in the order of the header */
    int n_entries;
    const struct entry **readable;
    int n_readable;
    sg_map *by_name; /* name -> index in entries */
    sg_pair *metadata;
    int n_metadata;
};

static sg_status no_memory(const sg_safetensors *st, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", st->name);
}

static void free_map(void *map)
{
    sg_map_free(map);
}

static void close_file(void *file)
{
    sg_file_close(file);
}

static void close_shard(void *shard)
{
    sg_safetensors_close(shard);
}

static sg_status safetensors_new(sg_safetensors **out, const char *name, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_safetensors *st = arena ? sg_arena_alloc(arena, sizeof *st) : NULL;
    const char *copy = st ? sg_arena_strdup(arena, name) : NULL;
    if (!copy) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    st->arena = arena;
    st->name = copy;
    *out = st;
    return SG_OK;
}

/* Room for n entries and their names. */
static sg_status reserve(sg_safetensors *st, size_t n, sg_error *err)
{
    if (n > INT32_MAX)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: %zu tensors are more than can be counted here", st->name, n);
    st->entries = sg_arena_array(st->arena, n, sizeof *st->entries);
    st->readable = sg_arena_array(st->arena, n, sizeof *st->readable);
    st->by_name = sg_map_new(n);
    if (!st->by_name || sg_arena_defer(st->arena, free_map, st->by_name) != SG_OK || !st->entries || !st->readable)
        return no_memory(st, err);
    return SG_OK;
}

static sg_status add(sg_safetensors *st, struct entry entry, sg_error *err)
{
    const sg_status status = sg_map_put(st->by_name, entry.name, strlen(entry.name), st->n_entries);
    if (status == SG_ENOMEM)
        return no_memory(st, err);
    if (status != SG_OK)
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s is there twice", st->name, entry.name);
    st->entries[st->n_entries++] = entry;
    return SG_OK;
}

static void list_readable(sg_safetensors *st)
{
    for (int i = 0; i < st->n_entries; i++)
        if (!st->entries[i].obstacle)
            st->readable[st->n_readable++] = &st->entries[i];
}

/* ---- the header ---- */

static sg_status read_json(json_t **out, const char *bytes, size_t n, const char *name, const char *what, sg_error *err)
{
    json_error_t at;
    *out = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &at);
    if (*out)
        return SG_OK;
    /* When an allocation fails jansson often says nothing at all. */
    if (json_error_code(&at) == json_error_out_of_memory || at.text[0] == '\0')
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    return sg_fail(err, SG_EFORMAT, "%s: %s is not JSON: byte %d: %s", name, what, at.position, at.text);
}

static const char *kind_of(const json_t *json)
{
    static const char *const kinds[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",     [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a real number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    return json ? kinds[json_typeof(json)] : "nothing";
}

/* A number that counts something: an integer from 0. */
static sg_status read_count(uint64_t *out, const sg_safetensors *st, const char *tensor, const char *what,
                            const json_t *json, sg_error *err)
{
    if (!json_is_integer(json))
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s: %s holds %s, wanted whole numbers", st->name, tensor, what,
                       kind_of(json));
    const json_int_t x = json_integer_value(json);
    if (x < 0)
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s: %s holds %" JSON_INTEGER_FORMAT ", wanted 0 or more", st->name,
                       tensor, what, x);
    *out = (uint64_t)x;
    return SG_OK;
}

static sg_status read_type(const struct type **out, const sg_safetensors *st, const char *tensor, const json_t *json,
                           sg_error *err)
{
    if (!json_is_string(json))
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s: dtype is %s, wanted a string", st->name, tensor, kind_of(json));
    const char *name = json_string_value(json);
    for (size_t i = 0; i < SG_COUNT_OF(types); i++)
        if (strcmp(types[i].name, name) == 0) {
            *out = &types[i];
            return SG_OK;
        }
    return sg_fail(err, SG_EFORMAT, "%s: tensor %s: dtype \"%s\" is not one of the format's", st->name, tensor, name);
}

/* Fills the extents, and gives the bytes that so many elements take. */
static sg_status read_shape(struct entry *e, uint64_t *out, const sg_safetensors *st, const json_t *json, sg_error *err)
{
    if (!json_is_array(json))
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s: shape is %s, wanted an array", st->name, e->name,
                       kind_of(json));
    const size_t n_dims = json_array_size(json);
    if (n_dims > SG_MAX_DIMS)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: tensor %s has %zu axes, at most %d are supported", st->name, e->name,
                       n_dims, SG_MAX_DIMS);
    e->tensor.n_dims = (int)n_dims;
    /* The product of the extents that are not 0 has to fit as well: [2^62, 2^62, 0] is no shape either. */
    uint64_t bits = e->type->bits;
    bool empty = false;
    for (size_t d = 0; d < n_dims; d++) {
        uint64_t extent = 0;
        SG_TRY(read_count(&extent, st, e->name, "shape", json_array_get(json, d), err));
        e->tensor.dims[d] = (sg_dim)extent;
        empty = empty || extent == 0;
        if (extent && bits > (uint64_t)INT64_MAX / extent) {
            char text[SG_SHAPE_TEXT];
            return sg_fail(err, SG_EFORMAT, "%s: tensor %s: the size of shape %s overflows", st->name, e->name,
                           sg_shape_text(text, (int)d + 1, e->tensor.dims));
        }
        bits *= extent ? extent : 1;
    }
    if (empty)
        bits = 0;
    if (bits % 8)
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s: %" PRIu64 " bits of %s are not whole bytes", st->name, e->name,
                       bits, e->type->name);
    *out = bits / 8;
    return SG_OK;
}

static sg_status read_entry(struct entry *e, const sg_safetensors *st, const char *name, json_t *json, uint64_t n_data,
                            sg_error *err)
{
    *e = (struct entry){.name = sg_arena_strdup(st->arena, name)};
    if (!e->name)
        return no_memory(st, err);
    if (!json_is_object(json))
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s is %s, wanted an object", st->name, name, kind_of(json));
    SG_TRY(read_type(&e->type, st, name, json_object_get(json, "dtype"), err));
    uint64_t bytes = 0;
    SG_TRY(read_shape(e, &bytes, st, json_object_get(json, "shape"), err));

    const json_t *offsets = json_object_get(json, "data_offsets");
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s: data_offsets is %s of %zu entries, wanted an array of 2",
                       st->name, name, kind_of(offsets), json_array_size(offsets));
    SG_TRY(read_count(&e->begin, st, name, "data_offsets", json_array_get(offsets, 0), err));
    SG_TRY(read_count(&e->end, st, name, "data_offsets", json_array_get(offsets, 1), err));
    if (e->begin > e->end)
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s begins at byte %" PRIu64 " and ends before, at %" PRIu64,
                       st->name, name, e->begin, e->end);
    if (e->end > n_data)
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s ends at byte %" PRIu64 " of %" PRIu64 " bytes of data", st->name,
                       name, e->end, n_data);
    if (e->end - e->begin != bytes) {
        char text[SG_SHAPE_TEXT];
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s: %s %s takes %" PRIu64 " bytes, data_offsets span %" PRIu64,
                       st->name, name, e->type->name, sg_shape_text(text, e->tensor.n_dims, e->tensor.dims), bytes,
                       e->end - e->begin);
    }
    return SG_OK;
}

static sg_status read_metadata(sg_safetensors *st, json_t *json, sg_error *err)
{
    if (!json_is_object(json))
        return sg_fail(err, SG_EFORMAT, "%s: __metadata__ is %s, wanted an object", st->name, kind_of(json));
    st->metadata = sg_arena_array(st->arena, json_object_size(json), sizeof *st->metadata);
    if (!st->metadata)
        return no_memory(st, err);
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value)
    {
        if (!json_is_string(value))
            return sg_fail(err, SG_EFORMAT, "%s: __metadata__ entry %s is %s, wanted a string", st->name, key,
                           kind_of(value));
        const sg_pair pair = {sg_arena_strdup(st->arena, key), sg_arena_strdup(st->arena, json_string_value(value))};
        if (!pair.key || !pair.text)
            return no_memory(st, err);
        st->metadata[st->n_metadata++] = pair;
    }
    return SG_OK;
}

static int by_begin(const void *a, const void *b)
{
    const struct entry *const *x = a, *const *y = b;
    if ((*x)->begin != (*y)->begin)
        return (*x)->begin < (*y)->begin ? -1 : 1;
    return ((*x)->end > (*y)->end) - ((*x)->end < (*y)->end);
}

/* The tensors side by side fill the data area exactly. */
static sg_status check_cover(sg_safetensors *st, uint64_t n_data, sg_error *err)
{
    const struct entry **sorted = st->readable; /* not in use yet */
    for (int i = 0; i < st->n_entries; i++)
        sorted[i] = &st->entries[i];
    if (st->n_entries)
        qsort(sorted, (size_t)st->n_entries, sizeof *sorted, by_begin);
    uint64_t filled = 0;
    for (int i = 0; i < st->n_entries; i++) {
        const struct entry *e = sorted[i];
        if (e->begin < filled)
            return sg_fail(err, SG_EFORMAT,
                           "%s: tensor %s begins at byte %" PRIu64 " inside %s, which ends at %" PRIu64, st->name,
                           e->name, e->begin, sorted[i - 1]->name, filled);
        if (e->begin > filled)
            return sg_fail(err, SG_EFORMAT,
                           "%s: bytes %" PRIu64 " to %" PRIu64 " of the data, before tensor %s, belong to no tensor",
                           st->name, filled, e->begin, e->name);
        filled = e->end;
    }
    if (filled != n_data)
        return sg_fail(err, SG_EFORMAT, "%s: the tensors end at byte %" PRIu64 " of %" PRIu64 " bytes of data",
                       st->name, filled, n_data);
    return SG_OK;
}

static sg_status read_header(sg_safetensors *st, json_t *root, uint64_t n_data, sg_error *err)
{
    SG_TRY(reserve(st, json_object_size(root), err));
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            SG_TRY(read_metadata(st, value, err));
            continue;
        }
        struct entry e;
        SG_TRY(read_entry(&e, st, name, value, n_data, err));
        SG_TRY(add(st, e, err));
    }
    return check_cover(st, n_data, err);
}

/* ---- the numbers ---- */

/* I64 as I32 where every number fits. */
static sg_status narrow(struct entry *e, const sg_safetensors *st, const unsigned char *data, sg_error *err)
{
    const size_t n = (size_t)(e->end - e->begin) / sizeof(int64_t);
    for (size_t i = 0; i < n; i++) { /* looked at before anything is allocated: a lying file costs nothing */
        int64_t x;
        memcpy(&x, data + i * sizeof x, sizeof x);
        if (x < INT32_MIN || x > INT32_MAX) {
            e->obstacle = sg_arena_printf(st->arena, "I64 number %" PRId64 " at element %zu does not fit i32", x, i);
            return e->obstacle ? SG_OK : no_memory(st, err);
        }
    }
    int32_t *narrowed = sg_arena_array(st->arena, n, sizeof *narrowed);
    if (!narrowed)
        return no_memory(st, err);
    for (size_t i = 0; i < n; i++) {
        int64_t x;
        memcpy(&x, data + i * sizeof x, sizeof x);
        narrowed[i] = (int32_t)x;
    }
    e->tensor.dtype = SG_I32;
    e->tensor.data = narrowed;
    return SG_OK;
}

static sg_status place(struct entry *e, const sg_safetensors *st, const unsigned char *data, sg_error *err)
{
    if (strcmp(e->type->name, "I64") == 0)
        return narrow(e, st, data, err);
    if (e->type->dtype < 0) {
        e->obstacle = sg_arena_printf(st->arena, "numbers of type %s are not supported", e->type->name);
        return e->obstacle ? SG_OK : no_memory(st, err);
    }
    e->tensor.dtype = (sg_dtype)e->type->dtype;
    if ((uintptr_t)data % sg_dtype_bytes(e->tensor.dtype) == 0) {
        e->tensor.data = (void *)(uintptr_t)data; /* const in the mapping, and in what is handed out */
        return SG_OK;
    }
    const size_t bytes = (size_t)(e->end - e->begin);
    e->tensor.data = sg_arena_alloc(st->arena, bytes);
    if (!e->tensor.data)
        return no_memory(st, err);
    memcpy(e->tensor.data, data, bytes);
    return SG_OK;
}

static sg_status parse_into(sg_safetensors *st, const unsigned char *bytes, size_t n_bytes, sg_error *err)
{
    if (n_bytes < 8)
        return sg_fail(err, SG_EFORMAT, "%s: has %zu bytes, wanted 8 for the header's length", st->name, n_bytes);
    uint64_t n_header = 0;
    for (int i = 0; i < 8; i++)
        n_header |= (uint64_t)bytes[i] << (8 * i);
    if (n_header > n_bytes - 8)
        return sg_fail(err, SG_EFORMAT, "%s: the header claims %" PRIu64 " bytes of the %zu that follow its length",
                       st->name, n_header, n_bytes - 8);
    if (n_header > HEADER_MOST)
        return sg_fail(err, SG_EFORMAT, "%s: the header claims %" PRIu64 " bytes, the format allows %" PRIu64, st->name,
                       n_header, HEADER_MOST);
    if (n_header == 0 || bytes[8] != '{')
        return sg_fail(err, SG_EFORMAT, "%s: the header does not begin with {", st->name);

    json_t *root;
    SG_TRY(read_json(&root, (const char *)bytes + 8, (size_t)n_header, st->name, "the header", err));
    const unsigned char *data = bytes + 8 + n_header;
    const sg_status status = read_header(st, root, n_bytes - 8 - n_header, err);
    json_decref(root);
    SG_TRY(status);
    for (int i = 0; i < st->n_entries; i++)
        SG_TRY(place(&st->entries[i], st, data + st->entries[i].begin, err));
    list_readable(st);
    return SG_OK;
}

/* ---- several files ---- */

static bool is_plain_file_name(const char *name)
{
    return name[0] && !strchr(name, '/') && !strchr(name, '\\') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

struct shards {
    sg_safetensors **opened;
    sg_map *by_file;
    int n;
    int folder_bytes; /* of the index's path, the last slash included */
};

/* The shard of that file name, opened on first use. */
static sg_status shard_of(sg_safetensors **out, struct shards *shards, sg_safetensors *st, const char *file,
                          sg_error *err)
{
    const int32_t known = sg_map_get(shards->by_file, file, strlen(file));
    if (known >= 0) {
        *out = shards->opened[known];
        return SG_OK;
    }
    const char *key = sg_arena_strdup(st->arena, file);
    const char *path = sg_arena_printf(st->arena, "%.*s%s", shards->folder_bytes, st->name, file);
    if (!key || !path)
        return no_memory(st, err);
    sg_safetensors *shard;
    SG_TRY(sg_safetensors_open(&shard, path, err));
    if (sg_arena_defer(st->arena, close_shard, shard) != SG_OK ||
        sg_map_put(shards->by_file, key, strlen(key), shards->n) != SG_OK)
        return no_memory(st, err);
    shards->opened[shards->n++] = shard;
    *out = shard;
    return SG_OK;
}

static sg_status read_index(sg_safetensors *st, const json_t *root, sg_error *err)
{
    json_t *files = json_object_get(root, "weight_map");
    if (!json_is_object(files))
        return sg_fail(err, SG_EFORMAT, "%s: weight_map is %s, wanted an object", st->name, kind_of(files));
    SG_TRY(reserve(st, json_object_size(files), err));

    const char *slash = strrchr(st->name, '/');
    struct shards shards = {.opened = sg_arena_array(st->arena, json_object_size(files), sizeof(sg_safetensors *)),
                            .by_file = sg_map_new(16),
                            .folder_bytes = slash ? (int)(slash - st->name) + 1 : 0};
    if (!shards.by_file || sg_arena_defer(st->arena, free_map, shards.by_file) != SG_OK || !shards.opened)
        return no_memory(st, err);

    const char *name;
    json_t *file;
    json_object_foreach(files, name, file)
    {
        if (!json_is_string(file))
            return sg_fail(err, SG_EFORMAT, "%s: the file of tensor %s is %s, wanted a string", st->name, name,
                           kind_of(file));
        /* An index may come from anywhere: it does not get to choose files elsewhere, nor another index. */
        const char *file_name = json_string_value(file);
        const size_t length = strlen(file_name), end = strlen(INDEX_END);
        if (!is_plain_file_name(file_name) || (length >= end && strcmp(file_name + length - end, INDEX_END) == 0))
            return sg_fail(err, SG_EFORMAT, "%s: the file of tensor %s is \"%s\", wanted the plain name of a shard",
                           st->name, name, file_name);
        sg_safetensors *shard = NULL;
        SG_TRY(shard_of(&shard, &shards, st, file_name, err));
        const int32_t i = sg_map_get(shard->by_name, name, strlen(name));
        if (i < 0)
            return sg_fail(err, SG_EFORMAT, "%s: tensor %s is not in %s, where the index %s puts it", shard->name, name,
                           file_name, st->name);
        SG_TRY(add(st, shard->entries[i], err));
    }
    if (shards.n) {
        st->metadata = shards.opened[0]->metadata;
        st->n_metadata = shards.opened[0]->n_metadata;
    }
    list_readable(st);
    return SG_OK;
}

static sg_status parse_index(sg_safetensors *st, const sg_file *file, sg_error *err)
{
    if (sg_file_bytes(file) > HEADER_MOST)
        return sg_fail(err, SG_EFORMAT, "%s: has %zu bytes, an index has at most %" PRIu64, st->name,
                       sg_file_bytes(file), HEADER_MOST);
    const char *bytes = sg_file_bytes(file) ? (const char *)sg_file_data(file) : "";
    json_t *root;
    SG_TRY(read_json(&root, bytes, sg_file_bytes(file), st->name, "the index", err));
    const sg_status status = read_index(st, root, err);
    json_decref(root);
    return status;
}

/* ---- the public functions ---- */

sg_status sg_safetensors_parse(sg_safetensors **out, const void *bytes, size_t n_bytes, const char *name, sg_error *err)
{
    *out = NULL;
    sg_safetensors *st = NULL;
    SG_TRY(safetensors_new(&st, name, err));
    const sg_status status = parse_into(st, bytes, n_bytes, err);
    if (status != SG_OK) {
        sg_safetensors_close(st);
        return status;
    }
    *out = st;
    return SG_OK;
}

static sg_status open_into(sg_safetensors *st, sg_error *err)
{
    sg_file *file;
    SG_TRY(sg_file_open(&file, st->name, err));
    if (sg_arena_defer(st->arena, close_file, file) != SG_OK)
        return no_memory(st, err);
    const size_t length = strlen(st->name), end = strlen(INDEX_END);
    if (length >= end && strcmp(st->name + length - end, INDEX_END) == 0)
        return parse_index(st, file, err);
    return parse_into(st, sg_file_data(file), sg_file_bytes(file), err);
}

sg_status sg_safetensors_open(sg_safetensors **out, const char *path, sg_error *err)
{
    *out = NULL;
    sg_safetensors *st = NULL;
    SG_TRY(safetensors_new(&st, path, err));
    const sg_status status = open_into(st, err);
    if (status != SG_OK) {
        sg_safetensors_close(st);
        return status;
    }
    *out = st;
    return SG_OK;
}

sg_status sg_safetensors_list(sg_safetensors **out, const sg_named_tensor *tensors, int n, const char *name,
                              sg_error *err)
{
    sg_safetensors *st;
    *out = NULL;
    SG_TRY(safetensors_new(&st, name, err));
    sg_status status = reserve(st, (size_t)n, err);
    for (int i = 0; i < n && status == SG_OK; i++) {
        const char *own = sg_arena_strdup(st->arena, tensors[i].name);
        status = own ? add(st, (struct entry){.name = own, .tensor = tensors[i].tensor}, err) : no_memory(st, err);
    }
    if (status != SG_OK) {
        sg_safetensors_close(st);
        return status;
    }
    list_readable(st);
    *out = st;
    return SG_OK;
}

void sg_safetensors_close(sg_safetensors *st)
{
    if (st)
        sg_arena_free(st->arena);
}

int sg_safetensors_count(const sg_safetensors *st)
{
    return st->n_readable;
}

const sg_tensor *sg_safetensors_at(const sg_safetensors *st, int i)
{
    SG_ASSERT(i >= 0 && i < st->n_readable);
    return &st->readable[i]->tensor;
}

const char *sg_safetensors_name(const sg_safetensors *st, int i)
{
    SG_ASSERT(i >= 0 && i < st->n_readable);
    return st->readable[i]->name;
}

static const struct entry *entry_of(const sg_safetensors *st, const char *name)
{
    const int32_t i = sg_map_get(st->by_name, name, strlen(name));
    return i < 0 ? NULL : &st->entries[i];
}

const sg_tensor *sg_safetensors_find(const sg_safetensors *st, const char *name)
{
    const struct entry *e = entry_of(st, name);
    return e && !e->obstacle ? &e->tensor : NULL;
}

sg_status sg_safetensors_get(const sg_tensor **out, const sg_safetensors *st, const char *name, sg_error *err)
{
    *out = NULL;
    const struct entry *e = entry_of(st, name);
    if (e && e->obstacle)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: tensor %s: %s", st->name, name, e->obstacle);
    if (e) {
        *out = &e->tensor;
        return SG_OK;
    }
    const struct entry *nearest = NULL;
    int distance = (int)strlen(name) / 2 + 1; /* farther than that is no likeness */
    for (int i = 0; i < st->n_entries && err; i++) {
        const int d = sg_edit_distance(name, st->entries[i].name);
        if (d < distance) {
            distance = d;
            nearest = &st->entries[i];
        }
    }
    if (nearest)
        return sg_fail(err, SG_ENOTFOUND, "%s: there is no tensor %s; the nearest is %s", st->name, name,
                       nearest->name);
    return sg_fail(err, SG_ENOTFOUND, "%s: there is no tensor %s among %d", st->name, name, st->n_entries);
}

const char *sg_safetensors_metadata(const sg_safetensors *st, const char *key)
{
    for (int i = 0; i < st->n_metadata; i++)
        if (strcmp(st->metadata[i].key, key) == 0)
            return st->metadata[i].text;
    return NULL;
}
