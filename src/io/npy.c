/* NumPy's .npy: a magic, a version, and a header that is a Python dictionary literal of three known keys.
 *
 * The dictionary is read by a small scanner for exactly what NumPy writes: strings, True, False, and a tuple of
 * integers.  Anything else is named in the error, never guessed at. */
#include "sightglass/npy.h"

#include <inttypes.h>
#include <string.h>

#include "base/base.h"

#define MAGIC       "\x93NUMPY"
#define MAGIC_BYTES ((size_t)6)
#define PREFIX_MOST ((size_t)12) /* magic, version, and the longer kind of length */

static const struct type {
    const char *descr;
    size_t bytes;
    int dtype; /* -1: i8, which is narrowed */
} types[] = {
    {"<f4", 4, SG_F32}, {"<f8", 8, SG_F64}, {"<f2", 2, SG_F16}, {"<i4", 4, SG_I32}, {"|b1", 1, SG_BOOL}, {"<i8", 8, -1},
};

struct sg_npy {
    sg_arena *arena; /* owns everything, this struct included */
    const char *name;
    sg_tensor tensor;
};

/* What the dictionary said. */
struct header {
    const struct type *type;
    bool has_descr, has_order, has_shape, fortran;
    int n_dims;
    sg_dim dims[SG_MAX_DIMS];
};

struct scanner {
    const char *at, *end;
    const char *start; /* for positions in error texts */
    const char *name;
};

static sg_status no_memory(const char *name, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
}

/* ---- the scanner ---- */

static void skip_space(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

static bool take(struct scanner *s, const char *token)
{
    skip_space(s);
    const size_t n = strlen(token);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, token, n) != 0)
        return false;
    s->at += n;
    return true;
}

/* What stands at the scanner, cut to what fits an error text. */
static sg_status fail_at(const struct scanner *s, const char *wanted, sg_error *err)
{
    const int n = (int)SG_MIN(s->end - s->at, 40);
    return sg_fail(err, SG_EFORMAT, "%s: header byte %td: found \"%.*s\", wanted %s", s->name, s->at - s->start, n,
                   s->at, wanted);
}

/* A string without escapes, in either kind of quotes, as NumPy's keys and types are. */
static sg_status take_string(struct scanner *s, const char **text, size_t *bytes, sg_error *err)
{
    skip_space(s);
    if (s->at == s->end || (*s->at != '\'' && *s->at != '"'))
        return fail_at(s, "a string", err);
    const char *first = s->at + 1;
    const char *close = memchr(first, *s->at, (size_t)(s->end - first));
    if (!close)
        return fail_at(s, "a string that ends", err);
    *text = first;
    *bytes = (size_t)(close - first);
    s->at = close + 1;
    return SG_OK;
}

static sg_status take_extent(struct scanner *s, sg_dim *out, sg_error *err)
{
    skip_space(s);
    const char *first = s->at;
    int64_t x = 0;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
        const int digit = *s->at - '0';
        if (x > (INT64_MAX - digit) / 10) {
            s->at = first;
            return fail_at(s, "an extent below 2^63", err);
        }
        x = 10 * x + digit;
    }
    if (s->at == first)
        return fail_at(s, "an extent", err);
    (void)(s->at < s->end && *s->at == 'L' && s->at++); /* Python 2's long integers */
    *out = x;
    return SG_OK;
}

/* ---- the three entries ---- */

static sg_status take_descr(struct scanner *s, struct header *h, sg_error *err)
{
    skip_space(s);
    if (s->at < s->end && *s->at == '[')
        return sg_fail(err, SG_EUNSUPPORTED, "%s: elements with several fields are not supported: descr %.*s", s->name,
                       (int)SG_MIN(s->end - s->at, 60), s->at);
    const char *text;
    size_t bytes;
    SG_TRY(take_string(s, &text, &bytes, err));
    for (size_t i = 0; i < SG_COUNT_OF(types); i++)
        if (strlen(types[i].descr) == bytes && memcmp(types[i].descr, text, bytes) == 0) {
            h->type = &types[i];
            h->has_descr = true;
            return SG_OK;
        }
    return sg_fail(err, SG_EUNSUPPORTED, "%s: numbers of type '%.*s' are not supported", s->name,
                   (int)SG_MIN(bytes, (size_t)60), text);
}

static sg_status take_order(struct scanner *s, struct header *h, sg_error *err)
{
    h->fortran = take(s, "True");
    if (!h->fortran && !take(s, "False"))
        return fail_at(s, "True or False", err);
    h->has_order = true;
    return SG_OK;
}

static sg_status take_shape(struct scanner *s, struct header *h, sg_error *err)
{
    if (!take(s, "("))
        return fail_at(s, "a tuple", err);
    h->n_dims = 0; /* a key given twice means what it means in Python: the last one counts */
    while (!take(s, ")")) {
        sg_dim extent = 0;
        SG_TRY(take_extent(s, &extent, err));
        if (h->n_dims == SG_MAX_DIMS)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: has more than the %d supported axes", s->name, SG_MAX_DIMS);
        h->dims[h->n_dims++] = extent;
        if (take(s, ","))
            continue;
        if (h->n_dims == 1 || !take(s, ")")) /* (3) is a number, (3,) a tuple */
            return fail_at(s, h->n_dims == 1 ? "a comma" : "a comma or )", err);
        break;
    }
    h->has_shape = true;
    return SG_OK;
}

static const struct {
    const char *key;
    sg_status (*take)(struct scanner *, struct header *, sg_error *);
} entries[] = {{"descr", take_descr}, {"fortran_order", take_order}, {"shape", take_shape}};

static sg_status take_entry(struct scanner *s, struct header *h, sg_error *err)
{
    const char *key;
    size_t bytes;
    SG_TRY(take_string(s, &key, &bytes, err));
    if (!take(s, ":"))
        return fail_at(s, "a colon", err);
    for (size_t i = 0; i < SG_COUNT_OF(entries); i++)
        if (strlen(entries[i].key) == bytes && memcmp(entries[i].key, key, bytes) == 0)
            return entries[i].take(s, h, err);
    return sg_fail(err, SG_EFORMAT, "%s: header entry \"%.*s\" is not one of descr, fortran_order, shape", s->name,
                   (int)SG_MIN(bytes, (size_t)60), key);
}

static sg_status take_dictionary(struct scanner *s, struct header *h, sg_error *err)
{
    *h = (struct header){0};
    if (!take(s, "{"))
        return fail_at(s, "{", err);
    while (!take(s, "}")) {
        SG_TRY(take_entry(s, h, err));
        if (take(s, ","))
            continue;
        if (!take(s, "}"))
            return fail_at(s, "a comma or }", err);
        break;
    }
    skip_space(s);
    if (s->at != s->end)
        return fail_at(s, "the header's end", err);
    if (!h->has_descr || !h->has_order || !h->has_shape)
        return sg_fail(err, SG_EFORMAT, "%s: the header lacks %s", s->name,
                       !h->has_descr   ? "descr"
                       : !h->has_order ? "fortran_order"
                                       : "shape");
    return SG_OK;
}

/* ---- the numbers ---- */

static sg_status narrow(sg_npy *a, const unsigned char *data, size_t n, sg_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int64_t x;
        memcpy(&x, data + i * sizeof x, sizeof x);
        if (x < INT32_MIN || x > INT32_MAX)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: '<i8' number %" PRId64 " at element %zu does not fit i32",
                           a->name, x, i);
    }
    int32_t *narrowed = sg_arena_array(a->arena, n, sizeof *narrowed);
    if (!narrowed)
        return no_memory(a->name, err);
    for (size_t i = 0; i < n; i++) {
        int64_t x;
        memcpy(&x, data + i * sizeof x, sizeof x);
        narrowed[i] = (int32_t)x;
    }
    a->tensor.data = narrowed;
    return SG_OK;
}

static sg_status take_data(sg_npy *a, const struct header *h, const unsigned char *data, size_t n_data, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    sg_shape_text(shape, h->n_dims, h->dims);
    if (h->fortran && h->n_dims > 1)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: 'fortran_order': True is not supported for shape %s", a->name, shape);
    /* The product of the extents that are not 0 has to fit as well, so that no product of a few of them overflows. */
    uint64_t bytes = h->type->bytes;
    bool empty = false;
    for (int d = 0; d < h->n_dims; d++) {
        const uint64_t extent = (uint64_t)h->dims[d];
        empty = empty || extent == 0;
        if (extent && bytes > (uint64_t)INT64_MAX / extent)
            return sg_fail(err, SG_EFORMAT, "%s: the size of shape %s overflows", a->name, shape);
        bytes *= extent ? extent : 1;
    }
    if (empty)
        bytes = 0;
    if (bytes != n_data)
        return sg_fail(err, SG_EFORMAT, "%s: '%s' %s takes %" PRIu64 " bytes, %zu follow the header", a->name,
                       h->type->descr, shape, bytes, n_data);

    a->tensor = sg_tensor_of(h->type->dtype < 0 ? SG_I32 : (sg_dtype)h->type->dtype, h->n_dims, h->dims, NULL);
    if (h->type->dtype < 0)
        return narrow(a, data, n_data / h->type->bytes, err);
    if ((uintptr_t)data % h->type->bytes == 0) {
        a->tensor.data = (void *)(uintptr_t)data; /* const in the mapping, and in what is handed out */
        return SG_OK;
    }
    a->tensor.data = sg_arena_alloc(a->arena, n_data);
    if (!a->tensor.data)
        return no_memory(a->name, err);
    memcpy(a->tensor.data, data, n_data);
    return SG_OK;
}

static sg_status parse_into(sg_npy *a, const unsigned char *bytes, size_t n_bytes, sg_error *err)
{
    if (n_bytes < MAGIC_BYTES + 2 || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: does not begin as a .npy file does", a->name);
    const int major = bytes[6], minor = bytes[7];
    if (major < 1 || major > 3 || minor != 0)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: is of version %d.%d, wanted 1.0, 2.0 or 3.0", a->name, major, minor);
    const size_t prefix = major == 1 ? PREFIX_MOST - 2 : PREFIX_MOST;
    if (n_bytes < prefix)
        return sg_fail(err, SG_EFORMAT, "%s: ends in the header's length", a->name);
    size_t n_header = 0;
    for (size_t i = 8; i < prefix; i++)
        n_header |= (size_t)bytes[i] << (8 * (i - 8));
    if (n_header > n_bytes - prefix)
        return sg_fail(err, SG_EFORMAT, "%s: the header claims %zu bytes of the %zu that follow its length", a->name,
                       n_header, n_bytes - prefix);

    const char *text = (const char *)bytes + prefix;
    struct scanner s = {.at = text, .start = text, .end = text + n_header, .name = a->name};
    struct header h;
    SG_TRY(take_dictionary(&s, &h, err));
    return take_data(a, &h, bytes + prefix + n_header, n_bytes - prefix - n_header, err);
}

/* ---- the public functions ---- */

static sg_status npy_new(sg_npy **out, const char *name, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_npy *a = arena ? sg_arena_alloc(arena, sizeof *a) : NULL;
    const char *copy = a ? sg_arena_strdup(arena, name) : NULL;
    if (!copy) {
        sg_arena_free(arena);
        return no_memory(name, err);
    }
    *a = (sg_npy){.arena = arena, .name = copy};
    *out = a;
    return SG_OK;
}

sg_status sg_npy_parse(sg_npy **out, const void *bytes, size_t n_bytes, const char *name, sg_error *err)
{
    *out = NULL;
    sg_npy *a = NULL;
    SG_TRY(npy_new(&a, name, err));
    const sg_status status = parse_into(a, bytes, n_bytes, err);
    if (status != SG_OK) {
        sg_npy_close(a);
        return status;
    }
    *out = a;
    return SG_OK;
}

static void close_file(void *file)
{
    sg_file_close(file);
}

sg_status sg_npy_open(sg_npy **out, const char *path, sg_error *err)
{
    *out = NULL;
    sg_npy *a = NULL;
    SG_TRY(npy_new(&a, path, err));
    sg_file *file = NULL;
    sg_status status = sg_file_open(&file, path, err);
    if (status == SG_OK && sg_arena_defer(a->arena, close_file, file) != SG_OK)
        status = no_memory(path, err);
    else if (status == SG_OK)
        status = parse_into(a, sg_file_data(file), sg_file_bytes(file), err);
    if (status != SG_OK) {
        sg_npy_close(a);
        return status;
    }
    *out = a;
    return SG_OK;
}

void sg_npy_close(sg_npy *a)
{
    if (a)
        sg_arena_free(a->arena);
}

const sg_tensor *sg_npy_tensor(const sg_npy *a)
{
    return &a->tensor;
}

static const char *descr_of(sg_dtype dtype)
{
    for (size_t i = 0; i < SG_COUNT_OF(types); i++)
        if (types[i].dtype == (int)dtype)
            return types[i].descr;
    return NULL; /* bf16 and blocks, which NumPy does not have */
}

static void write_numbers(FILE *f, const sg_tensor *t)
{
    /* A failed write leaves its mark on the stream, and commit looks at it. */
    if (descr_of(t->dtype)) {
        const size_t bytes = sg_tensor_bytes(t);
        if (bytes)
            fwrite(t->data, 1, bytes, f);
        return;
    }
    const sg_dim n = sg_tensor_count(t);
    float wide[1024]; /* whole blocks of any type */
    for (sg_dim i = 0; i < n; i += (sg_dim)SG_COUNT_OF(wide)) {
        const sg_dim now = SG_MIN(n - i, (sg_dim)SG_COUNT_OF(wide));
        const size_t at = (size_t)(i / sg_dtype_block(t->dtype)) * sg_dtype_block_bytes(t->dtype);
        sg_convert(wide, SG_F32, (const char *)t->data + at, t->dtype, now);
        fwrite(wide, sizeof *wide, (size_t)now, f);
    }
}

sg_status sg_npy_write(FILE *to, const sg_tensor *t, sg_error *err)
{
    sg_str header = {0};
    sg_str_printf(&header, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                  descr_of(t->dtype) ? descr_of(t->dtype) : "<f4");
    for (int d = 0; d < t->n_dims; d++)
        sg_str_printf(&header, d ? ", %" PRId64 : "%" PRId64, t->dims[d]);
    sg_str_puts(&header, t->n_dims == 1 ? ",), }" : "), }");
    /* The numbers begin at a multiple of 64 bytes, as NumPy's do. */
    const size_t prefix = PREFIX_MOST - 2;
    while ((prefix + header.bytes + 1) % 64 && !header.failed)
        sg_str_puts(&header, " ");
    sg_str_puts(&header, "\n");
    if (header.failed) {
        sg_str_free(&header);
        return sg_fail(err, SG_ENOMEM, "npy: out of memory");
    }
    const unsigned char rest[4] = {1, 0, (unsigned char)(header.bytes & 0xFF), (unsigned char)(header.bytes >> 8)};
    fwrite(MAGIC, 1, MAGIC_BYTES, to);
    fwrite(rest, 1, sizeof rest, to);
    fwrite(header.text, 1, header.bytes, to);
    write_numbers(to, t);
    sg_str_free(&header);
    return fflush(to) == 0 && !ferror(to) ? SG_OK : sg_fail(err, SG_EIO, "npy: the bytes could not be written");
}

sg_status sg_npy_save(const char *path, const sg_tensor *t, sg_error *err)
{
    sg_writer *w = NULL;
    SG_TRY(sg_writer_begin(&w, path, err));
    sg_error inner;
    if (sg_npy_write(sg_writer_stream(w), t, &inner) == SG_OK || inner.status == SG_EIO)
        return sg_writer_commit(w, err); /* which says what the system said */
    sg_writer_abort(w);
    return sg_fail(err, inner.status, "%s: out of memory", path);
}
