/* GGUF, read: a header, key and value pairs, tensors' names and places, padding, the numbers.
 *
 * A cursor walks over the bytes once, when the file is opened, and takes nothing that is not there: counts are held
 * against the bytes that so many entries need at least before memory is taken for them.  What stays are addresses in
 * the file. */
#include "sightglass/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "io/gguf_types.h"

#define MAGIC        "GGUF"
#define AXES_MOST    4
#define DEPTH_MOST   8  /* arrays in arrays */
#define PAIR_LEAST   13 /* bytes: a key's length, a type, a byte */
#define TENSOR_LEAST 24 /* a name's length, the number of axes, a type, an offset */

const sg_gguf_element sg_gguf_elements[SG_GGUF_N_ELEMENTS] = {
    [0] = {"F32", 1, 4, SG_F32},
    [1] = {"F16", 1, 2, SG_F16},
    [2] = {"Q4_0", 32, 18, SG_Q4_0},
    [3] = {"Q4_1", 32, 20, SG_Q4_1},
    [6] = {"Q5_0", 32, 22, SG_Q5_0},
    [7] = {"Q5_1", 32, 24, SG_Q5_1},
    [8] = {"Q8_0", 32, 34, SG_Q8_0},
    [9] = {"Q8_1", 32, 36, -1},
    [10] = {"Q2_K", 256, 84, -1},
    [11] = {"Q3_K", 256, 110, -1},
    [12] = {"Q4_K", 256, 144, SG_Q4_K},
    [13] = {"Q5_K", 256, 176, SG_Q5_K},
    [14] = {"Q6_K", 256, 210, SG_Q6_K},
    [15] = {"Q8_K", 256, 292, -1},
    [16] = {"IQ2_XXS", 256, 66, -1},
    [17] = {"IQ2_XS", 256, 74, -1},
    [18] = {"IQ3_XXS", 256, 98, -1},
    [19] = {"IQ1_S", 256, 50, -1},
    [20] = {"IQ4_NL", 32, 18, SG_IQ4_NL},
    [21] = {"IQ3_S", 256, 110, -1},
    [22] = {"IQ2_S", 256, 82, -1},
    [23] = {"IQ4_XS", 256, 136, -1},
    [24] = {"I8", 1, 1, -1},
    [25] = {"I16", 1, 2, -1},
    [26] = {"I32", 1, 4, SG_I32},
    [27] = {"I64", 1, 8, -1},
    [28] = {"F64", 1, 8, SG_F64},
    [29] = {"IQ1_M", 256, 56, -1},
    [30] = {"BF16", 1, 2, SG_BF16},
    [34] = {"TQ1_0", 256, 54, -1},
    [35] = {"TQ2_0", 256, 66, -1},
    [39] = {"MXFP4", 32, 17, -1},
};

struct entry {
    const char *name;
    const char *type; /* its name */
    sg_tensor tensor; /* without data while it cannot be read */
    bool readable;
    uint64_t begin, end; /* in the data area; end is begin where the type's size is not known */
};

struct pair {
    const char *key;
    sg_gguf_value value;
    const char *text; /* NUL-terminated, of a text without NULs */
};

struct sg_gguf {
    sg_arena *arena; /* owns everything else, this struct included */
    const char *name;
    uint32_t version;
    struct pair *pairs;
    int n_pairs;
    sg_map *by_key;
    struct entry *entries;
    int n_entries;
    sg_map *by_name;
};

static sg_status no_memory(const char *name, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
}

/* ---- the cursor ---- */

struct cursor {
    const char *name;
    const unsigned char *bytes;
    size_t n, at;
    sg_error *err;
};

static size_t rest_of(const struct cursor *c)
{
    return c->n - c->at;
}

static sg_status cut_off(const struct cursor *c, const char *what)
{
    return sg_fail(c->err, SG_EFORMAT, "%s: the file ends at byte %zu, within %s that begins at %zu", c->name, c->n,
                   what, c->at);
}

static uint64_t little(const unsigned char *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static sg_status take(struct cursor *c, size_t n, const char *what, uint64_t *out)
{
    *out = 0;
    if (rest_of(c) < n)
        return cut_off(c, what);
    *out = little(c->bytes + c->at, n);
    c->at += n;
    return SG_OK;
}

static sg_status take_text(struct cursor *c, const char *what, const unsigned char **text, uint64_t *n)
{
    *text = NULL;
    SG_TRY(take(c, 8, what, n));
    if (*n > rest_of(c))
        return sg_fail(c->err, SG_EFORMAT, "%s: %s at byte %zu is %" PRIu64 " bytes long, %zu are left", c->name, what,
                       c->at - 8, *n, rest_of(c));
    *text = c->bytes + c->at;
    c->at += (size_t)*n;
    return SG_OK;
}

/* A name or key: not empty, without NUL. */
static sg_status take_name(struct cursor *c, sg_gguf *g, const char *what, const char **out)
{
    const unsigned char *text;
    uint64_t n;
    const size_t begin = c->at;
    SG_TRY(take_text(c, what, &text, &n));
    if (n == 0 || memchr(text, 0, (size_t)n))
        return sg_fail(c->err, SG_EFORMAT, "%s: %s at byte %zu is %s", c->name, what, begin,
                       n ? "a text with a NUL inside" : "empty");
    *out = sg_arena_strndup(g->arena, (const char *)text, (size_t)n);
    return *out ? SG_OK : no_memory(c->name, c->err);
}

/* ---- metadata ---- */

static size_t size_of(sg_gguf_type type)
{
    static const unsigned char sizes[SG_GGUF_N_TYPES] = {
        [SG_GGUF_U8] = 1,  [SG_GGUF_I8] = 1,  [SG_GGUF_U16] = 2, [SG_GGUF_I16] = 2,
        [SG_GGUF_U32] = 4, [SG_GGUF_I32] = 4, [SG_GGUF_F32] = 4, [SG_GGUF_BOOL] = 1,
        [SG_GGUF_U64] = 8, [SG_GGUF_I64] = 8, [SG_GGUF_F64] = 8};
    return sizes[type]; /* 0: texts and arrays */
}

static sg_status take_type(struct cursor *c, const char *key, sg_gguf_type *out)
{
    uint64_t type;
    *out = SG_GGUF_U8;
    SG_TRY(take(c, 4, "a value's type", &type));
    if (type >= SG_GGUF_N_TYPES)
        return sg_fail(c->err, SG_EFORMAT, "%s: %s has the type %" PRIu64 ", there are 0 to %d", c->name, key, type,
                       SG_GGUF_N_TYPES - 1);
    *out = (sg_gguf_type)type;
    return SG_OK;
}

static sg_status take_elements(struct cursor *c, const char *key, sg_gguf_type of, uint64_t n, int depth);

/* What follows the type of a value: for an array its elements' type and their number, and then they. */
static sg_status take_value(struct cursor *c, const char *key, sg_gguf_type type, int depth, sg_gguf_value *out)
{
    *out = (sg_gguf_value){.type = type, .of = type, .n = 1};
    if (type == SG_GGUF_TEXT) {
        SG_TRY(take_text(c, key, &out->bytes, &out->n));
        out->n_bytes = (size_t)out->n;
        return SG_OK;
    }
    if (type == SG_GGUF_ARRAY) {
        if (depth == DEPTH_MOST)
            return sg_fail(c->err, SG_EUNSUPPORTED, "%s: %s holds arrays more than %d deep", c->name, key, DEPTH_MOST);
        SG_TRY(take_type(c, key, &out->of));
        SG_TRY(take(c, 8, "an array's length", &out->n));
    }
    out->bytes = c->bytes + c->at;
    SG_TRY(take_elements(c, key, out->of, out->n, depth + 1));
    out->n_bytes = (size_t)(c->bytes + c->at - out->bytes);
    return SG_OK;
}

static sg_status take_elements(struct cursor *c, const char *key, sg_gguf_type of, uint64_t n, int depth)
{
    const size_t least = of == SG_GGUF_TEXT ? 8 : of == SG_GGUF_ARRAY ? 12 : size_of(of);
    if (n > rest_of(c) / least)
        return sg_fail(c->err, SG_EFORMAT, "%s: %s has %" PRIu64 " values of at least %zu bytes, %zu bytes are left",
                       c->name, key, n, least, rest_of(c));
    if (of != SG_GGUF_TEXT && of != SG_GGUF_ARRAY) {
        c->at += (size_t)n * least;
        return SG_OK;
    }
    for (uint64_t i = 0; i < n; i++) {
        sg_gguf_value each;
        SG_TRY(take_value(c, key, of, depth, &each));
    }
    return SG_OK;
}

static sg_status take_pairs(struct cursor *c, sg_gguf *g, uint64_t n)
{
    if (n > rest_of(c) / PAIR_LEAST || n > INT32_MAX)
        return sg_fail(c->err, SG_EFORMAT, "%s: %" PRIu64 " keys do not fit the %zu bytes that follow", c->name, n,
                       rest_of(c));
    g->pairs = sg_arena_array(g->arena, (size_t)SG_MAX(n, 1), sizeof *g->pairs);
    if (!g->pairs)
        return no_memory(c->name, c->err);
    for (uint64_t i = 0; i < n; i++) {
        struct pair *p = &g->pairs[g->n_pairs];
        sg_gguf_type type;
        SG_TRY(take_name(c, g, "a key", &p->key));
        SG_TRY(take_type(c, p->key, &type));
        SG_TRY(take_value(c, p->key, type, 0, &p->value));
        if (type == SG_GGUF_TEXT && !memchr(p->value.bytes, 0, (size_t)p->value.n)) {
            p->text = sg_arena_strndup(g->arena, (const char *)p->value.bytes, (size_t)p->value.n);
            if (!p->text)
                return no_memory(c->name, c->err);
        }
        const sg_status status = sg_map_put(g->by_key, p->key, strlen(p->key), g->n_pairs);
        if (status != SG_OK)
            return status == SG_ENOMEM ? no_memory(c->name, c->err)
                                       : sg_fail(c->err, SG_EFORMAT, "%s: key %s is there twice", c->name, p->key);
        g->n_pairs++;
    }
    return SG_OK;
}

/* ---- tensors ---- */

static sg_status take_tensor(struct cursor *c, sg_gguf *g, struct entry *e)
{
    uint64_t n_axes, type, extent, extents[AXES_MOST] = {0};
    char text[SG_SHAPE_TEXT];

    SG_TRY(take_name(c, g, "a tensor's name", &e->name));
    SG_TRY(take(c, 4, "a tensor's axes", &n_axes));
    if (n_axes > AXES_MOST)
        return sg_fail(c->err, SG_EFORMAT, "%s: tensor %s has %" PRIu64 " axes, at most %d are possible", c->name,
                       e->name, n_axes, AXES_MOST);
    /* The product of the extents that are not 0 has to fit as well: [2^62, 2^62, 0] is no shape either. */
    uint64_t count = 1;
    bool empty = false;
    e->tensor.n_dims = (int)n_axes;
    for (uint64_t k = 0; k < n_axes; k++) {
        SG_TRY(take(c, 8, "a tensor's extents", &extent));
        extents[k] = extent;
        if (extent > INT64_MAX / 8 || (extent && count > INT64_MAX / 8 / extent))
            return sg_fail(c->err, SG_EFORMAT, "%s: tensor %s: the size overflows at extent %" PRIu64, c->name, e->name,
                           extent);
        empty = empty || extent == 0;
        count *= extent ? extent : 1;
        e->tensor.dims[n_axes - 1 - k] = (sg_dim)extent;
    }
    SG_TRY(take(c, 4, "a tensor's type", &type));
    SG_TRY(take(c, 8, "a tensor's offset", &e->begin));
    const sg_gguf_element *element = type < SG_GGUF_N_ELEMENTS ? &sg_gguf_elements[type] : NULL;
    e->end = e->begin;
    if (!element || !element->name) {
        e->type = sg_arena_printf(g->arena, "number %" PRIu64, type);
        return e->type ? SG_OK : no_memory(c->name, c->err);
    }
    e->type = element->name;
    if ((n_axes ? extents[0] : 1) % element->block)
        return sg_fail(c->err, SG_EFORMAT, "%s: tensor %s %s: rows of %s are whole blocks of %d numbers", c->name,
                       e->name, sg_shape_text(text, e->tensor.n_dims, e->tensor.dims), e->type, element->block);
    const uint64_t bytes =
        empty ? 0 : count / element->block * element->bytes; /* blocks are below 8 bytes a number but F64 */
    if (e->begin > INT64_MAX || bytes > INT64_MAX - e->begin)
        return sg_fail(c->err, SG_EFORMAT, "%s: tensor %s begins at byte %" PRIu64 " of the data and has %" PRIu64,
                       c->name, e->name, e->begin, bytes);
    e->end = e->begin + bytes;
    e->readable = element->dtype >= 0;
    e->tensor.dtype = e->readable ? (sg_dtype)element->dtype : SG_F32;
    return SG_OK;
}

static sg_status take_tensors(struct cursor *c, sg_gguf *g, uint64_t n)
{
    g->entries = sg_arena_array(g->arena, (size_t)SG_MAX(n, 1), sizeof *g->entries);
    if (!g->entries)
        return no_memory(c->name, c->err);
    for (uint64_t i = 0; i < n; i++) {
        struct entry *e = &g->entries[g->n_entries];
        SG_TRY(take_tensor(c, g, e));
        const sg_status status = sg_map_put(g->by_name, e->name, strlen(e->name), g->n_entries);
        if (status != SG_OK)
            return status == SG_ENOMEM ? no_memory(c->name, c->err)
                                       : sg_fail(c->err, SG_EFORMAT, "%s: tensor %s is there twice", c->name, e->name);
        g->n_entries++;
    }
    return SG_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct entry *x = *(const struct entry *const *)a, *y = *(const struct entry *const *)b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Every tensor's place against the data area and the others'. */
static sg_status place(struct cursor *c, sg_gguf *g)
{
    int64_t alignment = SG_GGUF_ALIGNMENT;
    sg_gguf_value v;
    if (sg_gguf_lookup(g, "general.alignment", &v) && !sg_gguf_whole(g, "general.alignment", &alignment))
        return sg_fail(c->err, SG_EFORMAT, "%s: general.alignment is no whole number", c->name);
    if (alignment < 8 || alignment > 1 << 30 || (alignment & (alignment - 1)))
        return sg_fail(c->err, SG_EFORMAT, "%s: general.alignment is %" PRId64 ", wanted a power of two from 8",
                       c->name, alignment);
    const size_t mask = (size_t)alignment - 1, padding = (0 - c->at) & mask;
    if (g->n_entries == 0)
        return SG_OK;
    const size_t begin = SG_MIN(c->at + padding, c->n), n_data = c->n - begin;

    const struct entry **order = malloc((size_t)g->n_entries * sizeof *order);
    if (!order)
        return no_memory(c->name, c->err);
    sg_status status = SG_OK;
    for (int i = 0; i < g->n_entries && status == SG_OK; i++) {
        struct entry *e = &g->entries[i];
        order[i] = e;
        if (e->begin & mask)
            status = sg_fail(c->err, SG_EFORMAT,
                             "%s: tensor %s begins at byte %" PRIu64 " of the data, no multiple of %" PRId64, c->name,
                             e->name, e->begin, alignment);
        else if (e->end > n_data)
            status = sg_fail(c->err, SG_EFORMAT, "%s: tensor %s ends at byte %" PRIu64 " of %zu bytes of data", c->name,
                             e->name, e->end, n_data);
        else if (e->readable)
            e->tensor.data = (void *)(uintptr_t)(c->bytes + begin + e->begin); /* const in the mapping */
    }
    if (status == SG_OK)
        qsort(order, (size_t)g->n_entries, sizeof *order, by_place);
    const struct entry *before = NULL; /* the last that is not empty */
    for (int i = 0; i < g->n_entries && status == SG_OK; i++) {
        if (before && order[i]->end > order[i]->begin && order[i]->begin < before->end)
            status = sg_fail(c->err, SG_EFORMAT, "%s: tensors %s and %s overlap at byte %" PRIu64 " of the data",
                             c->name, before->name, order[i]->name, order[i]->begin);
        if (order[i]->end > order[i]->begin)
            before = order[i];
    }
    free(order);
    return status;
}

/* ---- opening ---- */

static void free_map(void *map)
{
    sg_map_free(map);
}

static void close_file(void *file)
{
    sg_file_close(file);
}

static sg_status read_all(sg_gguf *g, const void *bytes, size_t n_bytes, sg_error *err)
{
    struct cursor c = {.name = g->name, .bytes = bytes, .n = n_bytes, .err = err};
    uint64_t version, n_tensors, n_pairs;

    if (n_bytes < 4 || memcmp(bytes, MAGIC, 4) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: does not begin with \"" MAGIC "\", so it is no such file", g->name);
    c.at = 4;
    SG_TRY(take(&c, 4, "the version", &version));
    if (version && version < 0x01000000 ? version < 2 || version > 3 : version == 0)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: version %" PRIu64 " of GGUF; this version reads 2 and 3", g->name,
                       version);
    if (version >= 0x01000000)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: is big-endian, only little-endian GGUF is read", g->name);
    g->version = (uint32_t)version;
    SG_TRY(take(&c, 8, "the number of tensors", &n_tensors));
    SG_TRY(take(&c, 8, "the number of keys", &n_pairs));
    if (n_tensors > rest_of(&c) / TENSOR_LEAST || n_tensors > INT32_MAX)
        return sg_fail(err, SG_EFORMAT, "%s: %" PRIu64 " tensors do not fit the %zu bytes that follow", g->name,
                       n_tensors, rest_of(&c));
    g->by_key = sg_map_new(16);
    if (!g->by_key || sg_arena_defer(g->arena, free_map, g->by_key) != SG_OK)
        return no_memory(g->name, err);
    g->by_name = sg_map_new(16);
    if (!g->by_name || sg_arena_defer(g->arena, free_map, g->by_name) != SG_OK)
        return no_memory(g->name, err);
    SG_TRY(take_pairs(&c, g, n_pairs));
    SG_TRY(take_tensors(&c, g, n_tensors));
    return place(&c, g);
}

/* With a file, which the new object owns from here on, whatever comes of it. */
static sg_status gguf_new(sg_gguf **out, sg_file *file, const void *bytes, size_t n_bytes, const char *name,
                          sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    if (!arena) {
        sg_file_close(file);
        return no_memory(name, err);
    }
    sg_status status = file ? sg_arena_defer(arena, close_file, file) : SG_OK;
    sg_gguf *g = status == SG_OK ? sg_arena_alloc(arena, sizeof *g) : NULL;
    if (!g || !(g->name = sg_arena_strdup(arena, name))) {
        status = no_memory(name, err);
    } else {
        g->arena = arena;
        status = read_all(g, bytes, n_bytes, err);
    }
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = g;
    return SG_OK;
}

sg_status sg_gguf_open(sg_gguf **out, const char *path, sg_error *err)
{
    sg_file *file;
    *out = NULL;
    SG_TRY(sg_file_open(&file, path, err));
    return gguf_new(out, file, sg_file_data(file), sg_file_bytes(file), path, err);
}

sg_status sg_gguf_parse(sg_gguf **out, const void *bytes, size_t n_bytes, const char *name, sg_error *err)
{
    *out = NULL;
    if ((uintptr_t)bytes % SG_GGUF_ALIGNMENT)
        return sg_fail(err, SG_EARG, "%s: the bytes are not at a multiple of %d", name, SG_GGUF_ALIGNMENT);
    return gguf_new(out, NULL, bytes, n_bytes, name, err);
}

void sg_gguf_close(sg_gguf *g)
{
    if (g)
        sg_arena_free(g->arena);
}

bool sg_gguf_is(const char *path)
{
    char start[4];
    FILE *f = fopen(path, "rb");
    const bool is = f && fread(start, 1, sizeof start, f) == sizeof start && memcmp(start, MAGIC, sizeof start) == 0;
    if (f)
        fclose(f);
    return is;
}

int sg_gguf_version(const sg_gguf *g)
{
    return (int)g->version;
}

/* ---- tensors, handed out ---- */

int sg_gguf_count(const sg_gguf *g)
{
    return g->n_entries;
}

const sg_tensor *sg_gguf_at(const sg_gguf *g, int i)
{
    SG_ASSERT(i >= 0 && i < g->n_entries);
    return g->entries[i].readable ? &g->entries[i].tensor : NULL;
}

const char *sg_gguf_name(const sg_gguf *g, int i)
{
    SG_ASSERT(i >= 0 && i < g->n_entries);
    return g->entries[i].name;
}

const char *sg_gguf_type_name(const sg_gguf *g, int i)
{
    SG_ASSERT(i >= 0 && i < g->n_entries);
    return g->entries[i].type;
}

const sg_tensor *sg_gguf_find(const sg_gguf *g, const char *name)
{
    const int32_t i = sg_map_get(g->by_name, name, strlen(name));
    return i < 0 ? NULL : sg_gguf_at(g, i);
}

sg_status sg_gguf_get(const sg_tensor **out, const sg_gguf *g, const char *name, sg_error *err)
{
    const int32_t i = sg_map_get(g->by_name, name, strlen(name));
    if (i >= 0 && g->entries[i].readable) {
        *out = &g->entries[i].tensor;
        return SG_OK;
    }
    if (i >= 0)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: tensor %s is stored as %s, which this version cannot read", g->name,
                       name, g->entries[i].type);
    int nearest = -1, least = INT32_MAX;
    for (int k = 0; k < g->n_entries; k++) {
        const int distance = sg_edit_distance(name, g->entries[k].name);
        if (distance < least) {
            least = distance;
            nearest = k;
        }
    }
    return nearest < 0 ? sg_fail(err, SG_ENOTFOUND, "%s: no tensor %s; the file has none", g->name, name)
                       : sg_fail(err, SG_ENOTFOUND, "%s: no tensor %s; the nearest name is %s", g->name, name,
                                 g->entries[nearest].name);
}

/* ---- metadata, handed out ---- */

int sg_gguf_n_keys(const sg_gguf *g)
{
    return g->n_pairs;
}

const char *sg_gguf_key(const sg_gguf *g, int i)
{
    SG_ASSERT(i >= 0 && i < g->n_pairs);
    return g->pairs[i].key;
}

sg_gguf_value sg_gguf_value_at(const sg_gguf *g, int i)
{
    SG_ASSERT(i >= 0 && i < g->n_pairs);
    return g->pairs[i].value;
}

bool sg_gguf_lookup(const sg_gguf *g, const char *key, sg_gguf_value *out)
{
    const int32_t i = sg_map_get(g->by_key, key, strlen(key));
    if (i >= 0)
        *out = g->pairs[i].value;
    return i >= 0;
}

static int64_t signed_of(uint64_t x, size_t n)
{
    const uint64_t top = (uint64_t)1 << (8 * n - 1);
    const uint64_t wide = (x ^ top) - top;
    int64_t out;
    memcpy(&out, &wide, sizeof out);
    return out;
}

static bool whole_of(const sg_gguf_value *v, sg_gguf_type type, uint64_t i, int64_t *out)
{
    const size_t n = size_of(type);
    const uint64_t x = little(v->bytes + (size_t)i * n, n);
    switch ((int)type) {
    case SG_GGUF_U8:
    case SG_GGUF_U16:
    case SG_GGUF_U32:
    case SG_GGUF_U64:
        if (x > INT64_MAX)
            return false;
        *out = (int64_t)x;
        return true;
    case SG_GGUF_I8:
    case SG_GGUF_I16:
    case SG_GGUF_I32:
    case SG_GGUF_I64:
        *out = signed_of(x, n);
        return true;
    default:
        return false;
    }
}

double sg_gguf_number(const sg_gguf_value *v, uint64_t i)
{
    const size_t n = size_of(v->of);
    int64_t whole;
    if (v->type == SG_GGUF_TEXT || n == 0 || i >= v->n)
        return 0;
    const uint64_t x = little(v->bytes + (size_t)i * n, n);
    if (v->of == SG_GGUF_F32) {
        const uint32_t bits = (uint32_t)x;
        float f;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    if (v->of == SG_GGUF_F64) {
        double d;
        memcpy(&d, &x, sizeof d);
        return d;
    }
    if (v->of == SG_GGUF_BOOL)
        return x ? 1 : 0;
    return whole_of(v, v->of, i, &whole) ? (double)whole : (double)x;
}

bool sg_gguf_whole(const sg_gguf *g, const char *key, int64_t *out)
{
    sg_gguf_value v;
    return sg_gguf_lookup(g, key, &v) && v.type != SG_GGUF_TEXT && v.type != SG_GGUF_ARRAY &&
           whole_of(&v, v.type, 0, out); /* an empty array has not a byte */
}

bool sg_gguf_real(const sg_gguf *g, const char *key, double *out)
{
    sg_gguf_value v;
    if (!sg_gguf_lookup(g, key, &v) || v.type == SG_GGUF_TEXT || v.type == SG_GGUF_ARRAY || v.type == SG_GGUF_BOOL)
        return false;
    *out = sg_gguf_number(&v, 0);
    return true;
}

bool sg_gguf_bool(const sg_gguf *g, const char *key, bool *out)
{
    sg_gguf_value v;
    if (!sg_gguf_lookup(g, key, &v) || v.type != SG_GGUF_BOOL)
        return false;
    *out = v.bytes[0] != 0;
    return true;
}

const char *sg_gguf_text(const sg_gguf *g, const char *key)
{
    const int32_t i = sg_map_get(g->by_key, key, strlen(key));
    return i < 0 ? NULL : g->pairs[i].text;
}

sg_status sg_gguf_texts(sg_gguf *g, const sg_gguf_value *v, const char *const **texts, const size_t **bytes,
                        sg_error *err)
{
    if (v->type != SG_GGUF_ARRAY || v->of != SG_GGUF_TEXT)
        return sg_fail(err, SG_ETYPE, "%s: a value is no array of texts", g->name);
    const size_t n = (size_t)v->n;
    const char **all = sg_arena_array(g->arena, SG_MAX(n, 1), sizeof *all);
    size_t *lengths = sg_arena_array(g->arena, SG_MAX(n, 1), sizeof *lengths), at = 0;
    if (!all || !lengths)
        return no_memory(g->name, err);
    for (size_t i = 0; i < n; i++) {
        lengths[i] = (size_t)little(v->bytes + at, 8);
        all[i] = (const char *)v->bytes + at + 8;
        at += 8 + lengths[i];
    }
    *texts = all;
    *bytes = lengths;
    return SG_OK;
}
