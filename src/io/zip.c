/* Zip archives (PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.16), read from their end: a record that says where
 * the directory is, the directory with an entry for each member, and before each member's bytes a header of its own.
 *
 * All three are checked against each other and against the file's length when the archive is opened. What is left for
 * the moment in which a member is asked for is whether it can be read at all, and its checksum. */
#include "sightglass/zip.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "base/base.h"

enum { END_BYTES = 22, ENTRY_BYTES = 46, LOCAL_BYTES = 30, COMMENT_MOST = 65535 };
static const uint32_t end_mark = 0x06054b50, entry_mark = 0x02014b50, local_mark = 0x04034b50;

typedef struct member {
    const char *name;
    const unsigned char *bytes; /* as they are stored */
    size_t n_stored, n_bytes;
    uint32_t checksum;
    unsigned method, flags;
} member;

struct sg_zip {
    sg_arena *arena; /* owns everything, this struct included */
    const char *name;
    member *members;
    int n;
};

static sg_status no_memory(const char *name, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
}

static unsigned u16(const unsigned char *at)
{
    return (unsigned)at[0] | (unsigned)at[1] << 8;
}

static uint32_t u32(const unsigned char *at)
{
    return (uint32_t)u16(at) | (uint32_t)u16(at + 2) << 16;
}

/* ---- the three records ---- */

typedef struct directory {
    size_t first, bytes, n_entries, limit; /* limit: where the record after it begins */
} directory;

static sg_status find_directory(directory *d, const sg_zip *z, const unsigned char *bytes, size_t n, sg_error *err)
{
    /* The record may be followed by a comment, whose length it tells. */
    size_t at = 0;
    bool found = false;
    for (size_t comment = 0; !found && comment <= COMMENT_MOST && comment + END_BYTES <= n; comment++) {
        at = n - END_BYTES - comment;
        found = u32(bytes + at) == end_mark && u16(bytes + at + 20) == comment;
    }
    if (!found)
        return sg_fail(err, SG_EFORMAT, "%s: does not end as a zip archive does", z->name);
    const unsigned char *end = bytes + at;
    if (u32(end + 12) == UINT32_MAX || u32(end + 16) == UINT32_MAX || u16(end + 10) == UINT16_MAX)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: archives of 4 GiB or 65535 members are not supported", z->name);
    if (u16(end + 4) != 0 || u16(end + 6) != 0 || u16(end + 8) != u16(end + 10))
        return sg_fail(err, SG_EUNSUPPORTED, "%s: archives of several volumes are not supported", z->name);
    *d = (directory){.first = u32(end + 16), .bytes = u32(end + 12), .n_entries = u16(end + 10), .limit = at};
    if (d->first > at || d->bytes > at - d->first)
        return sg_fail(err, SG_EFORMAT, "%s: the directory claims bytes %zu to %zu, its end is at %zu", z->name,
                       d->first, d->first + d->bytes, at);
    if (d->n_entries > d->bytes / ENTRY_BYTES)
        return sg_fail(err, SG_EFORMAT, "%s: a directory of %zu bytes claims %zu members", z->name, d->bytes,
                       d->n_entries);
    return SG_OK;
}

/* The member's own header, whose name and sizes may not differ; the sizes may be 0 there and follow the bytes. */
static sg_status take_local(member *m, const sg_zip *z, const unsigned char *bytes, size_t at, size_t limit,
                            const char *name, size_t n_name, sg_error *err)
{
    if (at > limit || limit - at < LOCAL_BYTES || u32(bytes + at) != local_mark)
        return sg_fail(err, SG_EFORMAT, "%s: member %.80s: no header at byte %zu", z->name, m->name, at);
    const size_t own_name = u16(bytes + at + 26), extra = u16(bytes + at + 28), left = limit - at - LOCAL_BYTES;
    if (own_name != n_name || own_name > left || memcmp(bytes + at + LOCAL_BYTES, name, n_name) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: member %.80s: another name stands in its header", z->name, m->name);
    if (extra > left - own_name || m->n_stored > left - own_name - extra)
        return sg_fail(err, SG_EFORMAT, "%s: member %.80s: %zu bytes do not fit before the directory", z->name, m->name,
                       m->n_stored);
    if (u16(bytes + at + 8) != m->method)
        return sg_fail(err, SG_EFORMAT, "%s: member %.80s: directory and header differ in how it is compressed",
                       z->name, m->name);
    m->bytes = bytes + at + LOCAL_BYTES + own_name + extra;
    return SG_OK;
}

static sg_status take_entry(member *m, size_t *at, const directory *d, const sg_zip *z, const unsigned char *bytes,
                            sg_error *err)
{
    const size_t end = d->first + d->bytes;
    if (end - *at < ENTRY_BYTES || u32(bytes + *at) != entry_mark)
        return sg_fail(err, SG_EFORMAT, "%s: the directory has no entry at byte %zu", z->name, *at);
    const unsigned char *entry = bytes + *at;
    const size_t n_name = u16(entry + 28), rest = n_name + u16(entry + 30) + u16(entry + 32);
    if (rest > end - *at - ENTRY_BYTES)
        return sg_fail(err, SG_EFORMAT, "%s: the directory's entry at byte %zu is longer than the directory", z->name,
                       *at);
    const char *name = (const char *)entry + ENTRY_BYTES;
    if (memchr(name, 0, n_name))
        return sg_fail(err, SG_EFORMAT, "%s: the name at byte %zu has a zero in it", z->name, *at + ENTRY_BYTES);
    *m = (member){.name = sg_arena_strndup(z->arena, name, n_name),
                  .n_stored = u32(entry + 20),
                  .n_bytes = u32(entry + 24),
                  .checksum = u32(entry + 16),
                  .method = u16(entry + 10),
                  .flags = u16(entry + 8)};
    if (!m->name)
        return no_memory(z->name, err);
    if (m->n_stored == UINT32_MAX || m->n_bytes == UINT32_MAX || u32(entry + 42) == UINT32_MAX)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: member %.80s: 4 GiB and more are not supported", z->name, m->name);
    if (m->method == 0 && m->n_stored != m->n_bytes)
        return sg_fail(err, SG_EFORMAT, "%s: member %.80s: %zu bytes are stored as %zu", z->name, m->name, m->n_bytes,
                       m->n_stored);
    *at += ENTRY_BYTES + rest;
    return take_local(m, z, bytes, u32(entry + 42), d->first, name, n_name, err);
}

static sg_status parse_into(sg_zip *z, const unsigned char *bytes, size_t n_bytes, sg_error *err)
{
    directory d = {0};
    SG_TRY(find_directory(&d, z, bytes, n_bytes, err));
    z->members = sg_arena_array(z->arena, d.n_entries, sizeof *z->members);
    if (!z->members)
        return no_memory(z->name, err);
    size_t at = d.first;
    for (; (size_t)z->n < d.n_entries; z->n++)
        SG_TRY(take_entry(&z->members[z->n], &at, &d, z, bytes, err));
    if (at != d.first + d.bytes)
        return sg_fail(err, SG_EFORMAT, "%s: the directory's %zu members end at byte %zu, not at %zu", z->name,
                       d.n_entries, at, d.first + d.bytes);
    return SG_OK;
}

/* ---- the public functions ---- */

static sg_status zip_new(sg_zip **out, const char *name, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_zip *z = arena ? sg_arena_alloc(arena, sizeof *z) : NULL;
    const char *copy = z ? sg_arena_strdup(arena, name) : NULL;
    if (!copy) {
        sg_arena_free(arena);
        return no_memory(name, err);
    }
    *z = (sg_zip){.arena = arena, .name = copy};
    *out = z;
    return SG_OK;
}

sg_status sg_zip_parse(sg_zip **out, const void *bytes, size_t n_bytes, const char *name, sg_error *err)
{
    *out = NULL;
    sg_zip *z = NULL;
    SG_TRY(zip_new(&z, name, err));
    const sg_status status = parse_into(z, bytes, n_bytes, err);
    if (status != SG_OK) {
        sg_zip_close(z);
        return status;
    }
    *out = z;
    return SG_OK;
}

static void close_file(void *file)
{
    sg_file_close(file);
}

sg_status sg_zip_open(sg_zip **out, const char *path, sg_error *err)
{
    *out = NULL;
    sg_zip *z = NULL;
    SG_TRY(zip_new(&z, path, err));
    sg_file *file = NULL;
    sg_status status = sg_file_open(&file, path, err);
    if (status == SG_OK && sg_arena_defer(z->arena, close_file, file) != SG_OK)
        status = no_memory(path, err);
    else if (status == SG_OK)
        status = parse_into(z, sg_file_data(file), sg_file_bytes(file), err);
    if (status != SG_OK) {
        sg_zip_close(z);
        return status;
    }
    *out = z;
    return SG_OK;
}

void sg_zip_close(sg_zip *z)
{
    if (z)
        sg_arena_free(z->arena);
}

int sg_zip_count(const sg_zip *z)
{
    return z->n;
}

const char *sg_zip_name(const sg_zip *z, int i)
{
    return z->members[i].name;
}

sg_status sg_zip_member(const void **bytes, size_t *n_bytes, const sg_zip *z, const char *pattern, sg_error *err)
{
    const member *m = NULL;
    for (int i = 0; i < z->n; i++) {
        if (!sg_match(pattern, z->members[i].name))
            continue;
        if (m)
            return sg_fail(err, SG_EARG, "%s: \"%.80s\" fits %.80s and %.80s", z->name, pattern, m->name,
                           z->members[i].name);
        m = &z->members[i];
    }
    if (!m)
        return sg_fail(err, SG_ENOTFOUND, "%s: none of %d members fits \"%.80s\"%s%.80s", z->name, z->n, pattern,
                       z->n ? "; the first is " : "", z->n ? z->members[0].name : "");
    if (m->flags & 1)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: member %.80s is encrypted", z->name, m->name);
    if (m->method != 0)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: member %.80s is compressed (method %u); only stored members are supported, as torch.save "
                       "writes them",
                       z->name, m->name, m->method);
    const uint32_t found = (uint32_t)crc32_z(crc32_z(0, NULL, 0), m->bytes, m->n_bytes);
    if (found != m->checksum)
        return sg_fail(err, SG_EFORMAT,
                       "%s: member %.80s: its checksum is %08" PRIx32 ", the directory says %08" PRIx32, z->name,
                       m->name, found, m->checksum);
    *bytes = m->bytes;
    *n_bytes = m->n_bytes;
    return SG_OK;
}

sg_status sg_zip_numbers(sg_tensor *out, sg_zip *z, const char *pattern, sg_dtype dtype, int n_dims, const sg_dim *dims,
                         sg_error *err)
{
    const void *bytes;
    size_t n_bytes, wanted = sg_dtype_bytes(dtype);
    char shape[SG_SHAPE_TEXT];
    if (n_dims < 0 || n_dims > SG_MAX_DIMS)
        return sg_fail(err, SG_EARG, "%s: %d axes, at most %d are supported", z->name, n_dims, SG_MAX_DIMS);
    SG_TRY(sg_zip_member(&bytes, &n_bytes, z, pattern, err));
    for (int k = 0; k < n_dims; k++)
        if (dims[k] < 0 || __builtin_mul_overflow(wanted, (size_t)dims[k], &wanted))
            return sg_fail(err, SG_EARG, "%s: the size of shape %s makes no sense", z->name,
                           sg_shape_text(shape, n_dims, dims));
    if (wanted != n_bytes)
        return sg_fail(err, SG_ESHAPE, "%s: %.80s has %zu bytes, %s %s takes %zu", z->name, pattern, n_bytes,
                       sg_dtype_name(dtype), sg_shape_text(shape, n_dims, dims), wanted);
    *out = sg_tensor_of(dtype, n_dims, dims, (void *)(uintptr_t)bytes); /* const in the mapping */
    if ((uintptr_t)bytes % sg_dtype_bytes(dtype) == 0)
        return SG_OK;
    out->data = sg_arena_alloc(z->arena, n_bytes);
    if (!out->data)
        return no_memory(z->name, err);
    memcpy(out->data, bytes, n_bytes);
    return SG_OK;
}
