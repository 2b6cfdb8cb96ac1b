/* Files: read through a mapping, replaced through a rename.
 *
 * The writer's invariant: under `path` there is always a whole file, the old one or the new one, also after a crash. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

struct sg_file {
    char *path;
    void *data;
    size_t bytes;
};

static sg_status fail_errno(sg_error *err, const char *path, const char *what, int code)
{
    const sg_status status = code == ENOENT || code == ENOTDIR ? SG_ENOTFOUND : code == ENOMEM ? SG_ENOMEM : SG_EIO;
    return sg_fail(err, status, "%s: %s: %s", path, what, strerror(code));
}

static char *copy_text(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (copy) {
        memcpy(copy, text, bytes);
        copy[bytes] = '\0';
    }
    return copy;
}

/* ---- reading ---- */

static sg_status map_descriptor(sg_file *file, int fd, sg_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail_errno(err, file->path, "cannot read", errno);
    if (S_ISDIR(st.st_mode))
        return sg_fail(err, SG_EIO, "%s: is a directory, not a file", file->path);
    if (!S_ISREG(st.st_mode))
        return sg_fail(err, SG_EIO, "%s: is not a regular file", file->path);
    if ((uintmax_t)st.st_size > SIZE_MAX / 2)
        return sg_fail(err, SG_ENOMEM, "%s: %jd bytes do not fit the address space", file->path, (intmax_t)st.st_size);
    if (st.st_size == 0)
        return SG_OK;
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return fail_errno(err, file->path, "cannot map", errno);
    file->data = data;
    file->bytes = (size_t)st.st_size;
    return SG_OK;
}

sg_status sg_file_open(sg_file **out, const char *path, sg_error *err)
{
    *out = NULL;
    sg_file *file = calloc(1, sizeof *file);
    if (file)
        file->path = copy_text(path, strlen(path));
    if (!file || !file->path) {
        free(file);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    /* O_NONBLOCK: a named pipe without a writer is refused below instead of waited for. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const sg_status status = fd < 0 ? fail_errno(err, path, "cannot open", errno) : map_descriptor(file, fd, err);
    if (fd >= 0)
        close(fd); /* a mapping outlives its descriptor */
    if (status != SG_OK) {
        sg_file_close(file);
        return status;
    }
    *out = file;
    return SG_OK;
}

void sg_file_close(sg_file *file)
{
    if (!file)
        return;
    if (file->data)
        munmap(file->data, file->bytes);
    free(file->path);
    free(file);
}

const unsigned char *sg_file_data(const sg_file *file)
{
    return file->data;
}

size_t sg_file_bytes(const sg_file *file)
{
    return file->bytes;
}

const char *sg_file_path(const sg_file *file)
{
    return file->path;
}

/* ---- writing ---- */

struct sg_writer {
    char *path, *folder, *temporary;
    FILE *stream;
};

static void writer_free(sg_writer *w)
{
    free(w->path);
    free(w->folder);
    free(w->temporary);
    free(w);
}

static sg_writer *writer_new(const char *path)
{
    sg_writer *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    const char *slash = strrchr(path, '/');
    w->path = copy_text(path, strlen(path));
    w->folder = !slash ? copy_text(".", 1) : copy_text(path, slash == path ? 1 : (size_t)(slash - path));
    /* Not made from the file's own name, which may already be as long as a name can be. */
    const size_t room = w->folder ? strlen(w->folder) + 64 : 0;
    w->temporary = room ? calloc(room, 1) : NULL;
    if (!w->path || !w->folder || !w->temporary) {
        writer_free(w);
        return NULL;
    }
    return w;
}

/* A new file that nobody else has, with the rights that the process gives to any new file (mkstemp would keep it
 * from everybody else). */
static int open_temporary(sg_writer *w)
{
    const size_t room = strlen(w->folder) + 64;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    for (unsigned long attempt = 0;; attempt++) {
        snprintf(w->temporary, room, "%s/.sightglass-%ld-%lx.tmp", w->folder, (long)getpid(),
                 (unsigned long)t.tv_nsec + attempt);
        const int fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST || attempt == 1000)
            return fd;
    }
}

sg_status sg_writer_begin(sg_writer **out, const char *path, sg_error *err)
{
    *out = NULL;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return sg_fail(err, SG_EIO, "%s: cannot write: is a directory", path);
    sg_writer *w = writer_new(path);
    if (!w)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    const int fd = open_temporary(w);
    if (fd < 0) {
        const int code = errno;
        writer_free(w);
        return fail_errno(err, path, "cannot write", code);
    }
    w->stream = fdopen(fd, "wb");
    if (!w->stream) {
        const int code = errno;
        close(fd);
        unlink(w->temporary);
        writer_free(w);
        return fail_errno(err, path, "cannot write", code);
    }
    *out = w;
    return SG_OK;
}

FILE *sg_writer_stream(sg_writer *w)
{
    return w->stream;
}

/* After the rename the new name itself has to reach the disk.  Some file systems have no such call for folders and
 * say EINVAL: there is nothing better to do on them. */
static int sync_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    const int code = fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return code;
}

sg_status sg_writer_commit(sg_writer *w, sg_error *err)
{
    errno = 0;
    const bool had_failed = ferror(w->stream) != 0;
    bool whole = fflush(w->stream) == 0 && !had_failed && fsync(fileno(w->stream)) == 0;
    int code = errno;
    if (fclose(w->stream) != 0 && whole) {
        whole = false;
        code = errno;
    }
    if (whole && rename(w->temporary, w->path) != 0) {
        whole = false;
        code = errno;
    }
    sg_status status = SG_OK;
    if (!whole) {
        unlink(w->temporary);
        /* An earlier failed write has left its mark on the stream but not its reason. */
        status = code ? fail_errno(err, w->path, "cannot write", code)
                      : sg_fail(err, SG_EIO, "%s: cannot write: an earlier write failed", w->path);
    } else if ((code = sync_folder(w->folder)) != 0) {
        status = fail_errno(err, w->path, "is written, but its folder cannot be synced", code);
    }
    writer_free(w);
    return status;
}

void sg_writer_abort(sg_writer *w)
{
    if (!w)
        return;
    fclose(w->stream);
    unlink(w->temporary);
    writer_free(w);
}

sg_status sg_writer_end(sg_writer *w, sg_status written, sg_error *err)
{
    if (written == SG_OK)
        return sg_writer_commit(w, err);
    sg_writer_abort(w);
    return written;
}

sg_status sg_writer_check(const char *path, sg_error *err)
{
    sg_writer *w = NULL;
    const sg_status status = path ? sg_writer_begin(&w, path, err) : SG_OK;

    sg_writer_abort(w);
    return status;
}

void sg_writer_sweep(const char *folder)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        long pid;
        unsigned long number;
        char name[64];
        if (sscanf(e->d_name, ".sightglass-%ld-%lx.tmp", &pid, &number) != 2 || pid <= 0)
            continue;
        snprintf(name, sizeof name, ".sightglass-%ld-%lx.tmp", pid, number);
        if (strcmp(name, e->d_name) == 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH)
            unlinkat(dirfd(d), name, 0);
    }
    if (d)
        closedir(d);
}
