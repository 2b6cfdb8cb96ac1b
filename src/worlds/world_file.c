/* Sequences from text files, by a world that knows how a line of them reads. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/base.h"
#include "base/shuffle.h"
#include "sightglass/world.h"

enum { LINE_BYTES = 4096 };

typedef struct reading {
    const sg_world *world;
    const double *option;
    sg_dim time, n, room;
    int32_t *tokens;
    uint8_t *counts;
} reading;

static sg_status make_room(reading *r, sg_error *err)
{
    if (r->n < r->room)
        return SG_OK;
    const size_t room = (size_t)SG_MAX(2 * r->room, 1024), n = room * (size_t)r->time;
    int32_t *tokens = realloc(r->tokens, n * sizeof *tokens);
    if (tokens)
        r->tokens = tokens;
    uint8_t *counts = realloc(r->counts, n);
    if (counts)
        r->counts = counts;
    if (!tokens || !counts)
        return sg_fail(err, SG_ENOMEM, "out of memory after %" PRId64 " sequences", r->n);
    r->room = (sg_dim)room;
    return SG_OK;
}

/* zlib hands out what could still be unpacked, and tells with the last of it. */
static bool was_cut(gzFile file)
{
    int code;
    (void)gzerror(file, &code);
    return code == Z_BUF_ERROR;
}

static sg_status read_lines(reading *r, gzFile file, const char *path, sg_error *err)
{
    char line[LINE_BYTES];
    for (long long number = 1; gzgets(file, line, sizeof line); number++) {
        const size_t n = strlen(line), blank = strspn(line, " \t\r\n");
        sg_error why;
        if (n + 1 == sizeof line && line[n - 1] != '\n')
            return sg_fail(err, SG_EFORMAT, "%s: line %lld is longer than %d bytes", path, number, LINE_BYTES - 2);
        if (!line[blank] || line[blank] == '#')
            continue;
        SG_TRY(make_room(r, err));
        if (r->world->read(r->tokens + r->n * r->time, r->counts + r->n * r->time, r->option, line, &why) != SG_OK) {
            if (was_cut(file))
                break;
            return sg_fail(err, why.status, "%s: line %lld: %s", path, number, why.text);
        }
        r->n++;
    }
    int code;
    const char *words = gzerror(file, &code);
    if (was_cut(file))
        return sg_fail(err, SG_EFORMAT, "%s: the compressed data end too early", path);
    if (code != Z_OK && code != Z_STREAM_END)
        return sg_fail(err, code == Z_MEM_ERROR ? SG_ENOMEM : SG_EFORMAT, "%s: cannot be read: %s", path,
                       code == Z_ERRNO ? strerror(errno) : words);
    return r->n ? SG_OK : sg_fail(err, SG_EFORMAT, "%s: holds no sequences", path);
}

sg_status sg_world_file_read(sg_world_file *out, const sg_world *world, int n_settings, const sg_setting *settings,
                             const char *path, sg_error *err)
{
    *out = (sg_world_file){0};
    if (!world->read)
        return sg_fail(err, SG_EUNSUPPORTED, "world %s: no files of it are known", world->name);
    double *option = calloc((size_t)world->n_options + 1, sizeof *option);
    if (!option)
        return sg_fail(err, SG_ENOMEM, "world %s: out of memory", world->name);
    sg_dim n_vocab;
    reading r = {.world = world, .option = option};
    sg_file *there = NULL; /* says what is wrong with the path better than zlib does */
    sg_status status =
        sg_options_parse(option, world->name, world->n_options, world->options, n_settings, settings, err);
    if (status == SG_OK)
        status = world->sequence(&n_vocab, &r.time, option, err);
    if (status == SG_OK)
        status = sg_file_open(&there, path, err);
    sg_file_close(there);
    gzFile file = status == SG_OK ? gzopen(path, "rb") : NULL;
    if (status == SG_OK)
        status = file ? read_lines(&r, file, path, err) : sg_fail(err, SG_EIO, "%s: %s", path, strerror(errno));
    if (file)
        (void)gzclose_r(file);
    free(option);
    if (status != SG_OK) {
        free(r.tokens);
        free(r.counts);
        return status;
    }
    const sg_dim dims[2] = {r.n, r.time};
    *out = (sg_world_file){.tokens = sg_tensor_of(SG_I32, 2, dims, r.tokens),
                           .counts = sg_tensor_of(SG_BOOL, 2, dims, r.counts),
                           .hash = sg_hash(r.tokens, (size_t)(r.n * r.time) * sizeof *r.tokens, 0)};
    return SG_OK;
}

void sg_world_file_free(sg_world_file *f)
{
    free(f->tokens.data);
    free(f->counts.data);
    *f = (sg_world_file){0};
}

/* ---- as a source ---- */

typedef struct drawn {
    const sg_world_file *file;
    sg_shuffle order;
} drawn;

static sg_status fill(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    const drawn *d = self;
    const sg_dim rows = field[0].dims[0], time = field[0].dims[1];
    (void)err;
    for (sg_dim k = 0; k < rows; k++) {
        const sg_dim r = batch * rows + k, n = d->order.n_rows, row = sg_shuffle_at(&d->order, r / n, r % n);
        memcpy((int32_t *)field[0].data + k * time, (const int32_t *)d->file->tokens.data + row * time,
               (size_t)time * sizeof(int32_t));
        memcpy((uint8_t *)field[1].data + k * time, (const uint8_t *)d->file->counts.data + row * time, (size_t)time);
    }
    return SG_OK;
}

sg_status sg_world_file_source(sg_source *out, const sg_world_file *f, sg_dim rows, uint64_t seed, sg_error *err)
{
    *out = (sg_source){0};
    if (rows < 1)
        return sg_fail(err, SG_EARG, "world: batches of %" PRId64 " rows", rows);
    drawn *d = malloc(sizeof *d);
    if (!d)
        return sg_fail(err, SG_ENOMEM, "world: out of memory");
    *d = (drawn){f, sg_shuffle_new(seed, f->tokens.dims[0])};
    const sg_dim dims[2] = {rows, f->tokens.dims[1]};
    *out = (sg_source){.n_fields = 2,
                       .field = {sg_tensor_of(SG_I32, 2, dims, NULL), sg_tensor_of(SG_BOOL, 2, dims, NULL)},
                       .fill = fill,
                       .free = free,
                       .self = d};
    return SG_OK;
}
