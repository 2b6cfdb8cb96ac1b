/* Which files a model is made of, and SHA-256 of their bytes or of samples of them.
 *
 * Files are read, not mapped: what is hashed is then not counted as this process's memory, and a file that shrinks
 * meanwhile is an error and no crash. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/sha256.h"
#include "sightglass/certificate.h"
#include "sightglass/hub.h"

enum { BLOCK = 1 << 20, END_BYTES = 1 << 16, PAGE = 4096, N_PAGES = 256, MOST_FILES = 4096 };

typedef struct owned {
    sg_file_identity face;
    sg_arena *arena;
    sg_identity_file *files;
    const char **paths;
    uint64_t all, done;
    unsigned char *buffer;
} owned;

sg_file_identity_opts sg_file_identity_defaults(void)
{
    return (sg_file_identity_opts){.full = true};
}

static sg_status add(owned *id, const char *folder, const char *name, sg_error *err)
{
    struct stat st;
    const int n = id->face.n_files;

    if (n == MOST_FILES)
        return sg_fail(err, SG_EFORMAT, "%s: more than %d files", folder, MOST_FILES);
    sg_identity_file *files = sg_arena_array(id->arena, (size_t)n + 1, sizeof *files);
    const char **paths = sg_arena_array(id->arena, (size_t)n + 1, sizeof *paths);
    char *own = sg_arena_strdup(id->arena, name),
         *path = folder ? sg_arena_printf(id->arena, "%s/%s", folder, name) : own;
    if (!files || !paths || !own || !path)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model's files");
    if (stat(path, &st) != 0)
        return sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return sg_fail(err, SG_EIO, "%s: is not a regular file", path);
    if (n) {
        memcpy(files, id->files, (size_t)n * sizeof *files);
        memcpy(paths, id->paths, (size_t)n * sizeof *paths);
    }
    const char *slash = strrchr(own, '/');
    files[n] = (sg_identity_file){.name = slash ? slash + 1 : own, .bytes = (uint64_t)st.st_size};
    paths[n] = path;
    id->files = files;
    id->paths = paths;
    id->all += files[n].bytes;
    id->face.n_files++;
    return SG_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The shards that an index names, each once. */
static sg_status add_shards(owned *id, const char *folder, const char *index, sg_error *err)
{
    json_error_t at;
    json_t *root = json_load_file(index, 0, &at), *map = json_object_get(root, "weight_map"), *file;
    const char **names = sg_arena_array(id->arena, json_object_size(map) + 1, sizeof *names), *key;
    size_t n = 0;
    sg_status status = names ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a model's files");

    if (status == SG_OK && !json_object_size(map))
        status = sg_fail(err, SG_EFORMAT, "%s: no weight_map", index);
    if (status == SG_OK)
        json_object_foreach(map, key, file)
        {
            const char *name = json_string_value(file);
            if (!name || strchr(name, '/'))
                status = sg_fail(err, SG_EFORMAT, "%s: %.100s is in no file of the folder", index, key);
            else
                names[n++] = name;
        }
    if (n)
        qsort(names, n, sizeof *names, by_text);
    for (size_t i = 0; i < n && status == SG_OK; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            status = add(id, folder, names[i], err);
    json_decref(root);
    return status;
}

static sg_status list(owned *id, const char *model, sg_error *err)
{
    struct stat st;

    if (stat(model, &st) != 0)
        return sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: %s", model, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return add(id, NULL, model, err);
    SG_TRY(add(id, model, "config.json", err));
    const char *one = sg_arena_printf(id->arena, "%s/model.safetensors", model);
    const char *index = sg_arena_printf(id->arena, "%s/model.safetensors.index.json", model);
    if (!one || !index)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model's files");
    return access(one, F_OK) != 0 && access(index, F_OK) == 0 ? add_shards(id, model, index, err)
                                                              : add(id, model, "model.safetensors", err);
}

/* Feeds bytes first..first+n to a stream. */
static sg_status take(owned *id, int fd, const char *path, uint64_t first, uint64_t n, sg_sha256_stream *to,
                      const sg_file_identity_opts *opts, sg_error *err)
{
    while (n) {
        const ssize_t got = pread(fd, id->buffer, (size_t)SG_MIN(n, BLOCK), (off_t)first);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return sg_fail(err, SG_EIO, "%s: cannot read: %s", path, got < 0 ? strerror(errno) : "it became shorter");
        sg_sha256_add(to, id->buffer, (size_t)got);
        first += (uint64_t)got;
        n -= (uint64_t)got;
        if (!opts->full)
            continue;
        id->done += (uint64_t)got;
        if (opts->cancel && *opts->cancel)
            return sg_fail(err, SG_ECANCELLED, "stopped while reading %s", path);
        if (opts->progress)
            opts->progress(opts->context, "reading", id->all ? (double)id->done / (double)id->all : 1);
    }
    return SG_OK;
}

static sg_status sample(owned *id, int fd, int i, sg_sha256_stream *to, const sg_file_identity_opts *opts,
                        sg_error *err)
{
    const uint64_t bytes = id->files[i].bytes;
    sg_file_identity_opts quiet = *opts;

    quiet.full = false;
    if (bytes <= 2 * END_BYTES + N_PAGES * PAGE)
        return take(id, fd, id->paths[i], 0, bytes, to, &quiet, err);
    SG_TRY(take(id, fd, id->paths[i], 0, END_BYTES, to, &quiet, err));
    for (uint64_t k = 1; k <= N_PAGES; k++)
        SG_TRY(take(id, fd, id->paths[i], (bytes - END_BYTES) / (N_PAGES + 1) * k, PAGE, to, &quiet, err));
    return take(id, fd, id->paths[i], bytes - END_BYTES, END_BYTES, to, &quiet, err);
}

static sg_status read_files(owned *id, sg_sha256_stream *samples, const sg_file_identity_opts *opts, sg_error *err)
{
    sg_str all = {0};
    sg_status status = SG_OK;

    for (int i = 0; i < id->face.n_files && status == SG_OK; i++) {
        sg_identity_file *f = &id->files[i];
        char line[64];
        const int n = snprintf(line, sizeof line, " %llu\n", (unsigned long long)f->bytes);
        const int fd = open(id->paths[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            status = sg_fail(err, SG_EIO, "%s: cannot open: %s", id->paths[i], strerror(errno));
            break;
        }
        /* A lone file may be called anything; in a folder names say what is what. */
        if (id->face.n_files > 1)
            sg_sha256_add(samples, f->name, strlen(f->name));
        sg_sha256_add(samples, line, (size_t)n);
        status = sample(id, fd, i, samples, opts, err);
        if (status == SG_OK && opts->full) {
            sg_sha256_stream *whole = sg_sha256_new();
            status = whole ? take(id, fd, id->paths[i], 0, f->bytes, whole, opts, err)
                           : sg_fail(err, SG_ENOMEM, "out of memory for a hash");
            sg_sha256_end(whole, f->sha256);
            sg_str_printf(&all, "%s %s%s", f->sha256, id->face.n_files > 1 ? f->name : "", line);
        }
        close(fd);
    }
    if (status == SG_OK && all.failed)
        status = sg_fail(err, SG_ENOMEM, "out of memory for a hash");
    if (status == SG_OK && opts->full)
        sg_sha256(id->face.hash, all.text, all.bytes);
    sg_str_free(&all);
    return status;
}

sg_status sg_file_identity_of(sg_file_identity **out, const char *model, sg_file_identity_opts opts, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    owned *id = arena ? sg_arena_alloc(arena, sizeof *id) : NULL;
    sg_sha256_stream *samples = sg_sha256_new();

    *out = NULL;
    if (id) {
        id->arena = arena;
        id->buffer = sg_arena_alloc(arena, BLOCK);
    }
    char *found = NULL;
    sg_status status = id && id->buffer && samples ? sg_hub_locate(&found, model, err)
                                                   : sg_fail(err, SG_ENOMEM, "out of memory for a hash");
    if (status == SG_OK)
        status = list(id, found, err);
    free(found);
    if (status == SG_OK)
        status = read_files(id, samples, &opts, err);
    sg_sha256_end(samples, status == SG_OK ? id->face.fingerprint : NULL);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    id->face.files = id->files;
    *out = &id->face;
    return SG_OK;
}

void sg_file_identity_free(sg_file_identity *id)
{
    if (id)
        sg_arena_free(((owned *)id)->arena);
}
