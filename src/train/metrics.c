/* Lines of JSON. Continuing a stream cuts it after the last line that is to stay. */
#include "sightglass/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

struct sg_metrics {
    FILE *to;
    char *path;
    double seconds; /* of the last line that stayed */
    int code;       /* errno of the first write that failed */
};

/* How many bytes of the stream stay, and the seconds of the last line among them. */
static sg_status measure(const char *text, size_t bytes, const char *path, sg_dim after, size_t *stays, double *seconds,
                         sg_error *err)
{
    int n_line = 0;
    *stays = 0;
    while (*stays < bytes) {
        const char *line = text + *stays, *newline = memchr(line, '\n', bytes - *stays);
        if (!newline)
            return SG_OK; /* cut off while it was written */
        n_line++;
        json_t *root = json_loadb(line, (size_t)(newline - line), JSON_REJECT_DUPLICATES, NULL);
        const json_t *step = json_object_get(root, "step"), *when = json_object_get(root, "seconds");
        const bool good = json_is_integer(step) && json_is_number(when);
        const bool kept = good && json_integer_value(step) <= after;
        if (kept)
            *seconds = json_number_value(when);
        json_decref(root);
        if (!good)
            return sg_fail(err, SG_EFORMAT, "%s: line %d is no line of metrics", path, n_line);
        if (!kept)
            return SG_OK;
        *stays = (size_t)(newline - text) + 1;
    }
    return SG_OK;
}

static sg_status cut(const char *path, sg_dim after, double *seconds, sg_error *err)
{
    sg_file *file;
    size_t stays = 0;
    const sg_status opened = sg_file_open(&file, path, err);
    if (opened == SG_ENOTFOUND)
        return SG_OK;
    SG_TRY(opened);
    const size_t bytes = sg_file_bytes(file);
    const sg_status status = measure((const char *)sg_file_data(file), bytes, path, after, &stays, seconds, err);
    sg_file_close(file);
    if (status == SG_OK && stays < bytes && truncate(path, (off_t)stays) != 0)
        return sg_fail(err, SG_EIO, "%s: cannot be cut to continue it: %s", path, strerror(errno));
    return status;
}

sg_status sg_metrics_open(sg_metrics **out, const char *path, sg_dim after, sg_error *err)
{
    *out = NULL;
    double seconds = 0;
    if (after > 0)
        SG_TRY(cut(path, after, &seconds, err));
    sg_metrics *m = calloc(1, sizeof *m);
    if (!m || !(m->path = strdup(path))) {
        free(m);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    m->seconds = seconds;
    m->to = fopen(path, after > 0 ? "ab" : "wb");
    if (!m->to) {
        const sg_status status = errno == ENOENT ? SG_ENOTFOUND : SG_EIO;
        sg_fail(err, status, "%s: cannot write: %s", path, strerror(errno));
        free(m->path);
        free(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

/* JSON has no NaN. */
static void put(FILE *to, const char *key, double x)
{
    if (isfinite(x))
        fprintf(to, ",\"%s\":%.9g", key, x);
    else
        fprintf(to, ",\"%s\":null", key);
}

void sg_metrics_write(sg_metrics *m, const sg_train_progress *at, double tokens_per_step)
{
    fprintf(m->to, "{\"step\":%" PRId64, at->steps_done);
    put(m->to, "loss", at->loss);
    put(m->to, "lr", at->lr);
    put(m->to, "grad_norm", at->norm);
    put(m->to, "tokens_per_second", at->rate * tokens_per_step);
    put(m->to, "seconds", m->seconds + at->seconds);
    fputs("}\n", m->to);
    if (fflush(m->to) != 0 && !m->code)
        m->code = errno;
}

sg_status sg_metrics_close(sg_metrics *m, sg_error *err)
{
    if (!m)
        return SG_OK;
    const bool failed = ferror(m->to) != 0;
    if (fclose(m->to) != 0 && !m->code)
        m->code = errno;
    const sg_status status = failed || m->code ? sg_fail(err, SG_EIO, "%s: cannot write: %s", m->path,
                                                         m->code ? strerror(m->code) : "an earlier write failed")
                                               : SG_OK;
    free(m->path);
    free(m);
    return status;
}
