/* Texts by zlib, which reads what is not compressed as it is. One buffer grows with the longest line. */
#include "sightglass/texts.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/base.h"

enum { PIECE_BYTES = 1 << 16, CHUNK_BYTES = 1 << 16 };
#define LINE_BYTES ((size_t)64 << 20)

struct sg_texts {
    gzFile file;
    char *path, *field;
    size_t file_bytes;
    bool lines, ended;
    char *data; /* what was read and not yet handed out: data[from..to) */
    size_t from, to, room;
    int64_t offset; /* of data[from] */
    json_t *line;   /* holds the text that was handed out last */
    char *piece;    /* likewise, with its NUL */
};

static bool ends_with(const char *text, size_t n, const char *end)
{
    const size_t m = strlen(end);
    return n >= m && memcmp(text + n - m, end, m) == 0;
}

sg_status sg_texts_open(sg_texts **out, const char *path, const char *field, sg_error *err)
{
    sg_file *there;
    *out = NULL;
    SG_TRY(sg_file_open(&there, path, err)); /* says what is wrong with the path better than zlib does */
    const size_t bytes = sg_file_bytes(there);
    sg_file_close(there);
    sg_texts *t = calloc(1, sizeof *t);
    if (t)
        *t = (sg_texts){
            .path = strdup(path), .field = strdup(field), .file_bytes = bytes, .piece = malloc(PIECE_BYTES + 1)};
    if (!t || !t->path || !t->field || !t->piece) {
        sg_texts_close(t);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    const size_t n = strlen(path) - (ends_with(path, strlen(path), ".gz") ? 3 : 0);
    t->lines = ends_with(path, n, ".jsonl") || ends_with(path, n, ".ndjson");
    t->file = gzopen(path, "rb");
    if (!t->file) {
        const sg_status status = sg_fail(err, SG_EIO, "%s: %s", path, strerror(errno));
        sg_texts_close(t);
        return status;
    }
    gzbuffer(t->file, 1 << 17);
    *out = t;
    return SG_OK;
}

void sg_texts_close(sg_texts *t)
{
    if (!t)
        return;
    if (t->file)
        (void)gzclose_r(t->file);
    json_decref(t->line);
    free(t->path);
    free(t->field);
    free(t->data);
    free(t->piece);
    free(t);
}

double sg_texts_done(const sg_texts *t)
{
    const z_off_t at = gzoffset(t->file);
    return t->file_bytes && at >= 0 ? SG_MIN((double)at / (double)t->file_bytes, 1.0) : 1;
}

static sg_status failure(const sg_texts *t, sg_error *err)
{
    int code;
    const char *words = gzerror(t->file, &code);
    if (code == Z_OK || code == Z_STREAM_END)
        return SG_OK;
    if (code == Z_BUF_ERROR)
        return sg_fail(err, SG_EFORMAT, "%s: the compressed data end too early", t->path);
    return sg_fail(err,
                   code == Z_MEM_ERROR ? SG_ENOMEM
                   : code == Z_ERRNO   ? SG_EIO
                                       : SG_EFORMAT,
                   "%s: cannot be read: %s", t->path, code == Z_ERRNO ? strerror(errno) : words);
}

/* Reads more behind what there is. */
static sg_status more(sg_texts *t, sg_error *err)
{
    if (t->from) {
        memmove(t->data, t->data + t->from, t->to - t->from);
        t->to -= t->from;
        t->from = 0;
    }
    if (t->room - t->to < CHUNK_BYTES) {
        const size_t room = 2 * t->room + CHUNK_BYTES;
        char *data = realloc(t->data, room);
        if (!data)
            return sg_fail(err, SG_ENOMEM, "%s: out of memory for a line of %zu bytes", t->path, t->to);
        t->data = data;
        t->room = room;
    }
    const int n = gzread(t->file, t->data + t->to, CHUNK_BYTES);
    if (n <= 0) {
        t->ended = true;
        return failure(t, err);
    }
    const char *nul = memchr(t->data + t->to, 0, (size_t)n);
    if (nul)
        return sg_fail(err, SG_EFORMAT, "%s: byte %" PRId64 " is 0, so it is no text", t->path,
                       t->offset + (nul - t->data));
    t->to += (size_t)n;
    return SG_OK;
}

/* Text up to the end of a line, a blank, or at least of a character, where a piece has to be cut. */
static size_t cut(const char *data, size_t n)
{
    for (size_t i = n; i > n / 2; i--)
        if (data[i - 1] == '\n')
            return i;
    for (size_t i = n; i > n / 2; i--)
        if (data[i - 1] == ' ' && i > 1)
            return i - 1; /* a word keeps the blank before it, as tokenizers have it */
    size_t i = n;
    while (i > n / 2 && ((unsigned char)data[i] & 0xc0) == 0x80)
        i--;
    return i;
}

static sg_status next_piece(sg_texts *t, sg_text *out, sg_error *err)
{
    while (!t->ended && t->to - t->from <= PIECE_BYTES)
        SG_TRY(more(t, err));
    const size_t there = t->to - t->from;
    if (there == 0)
        return SG_OK;
    const size_t n = there <= PIECE_BYTES ? there : cut(t->data + t->from, PIECE_BYTES);
    memcpy(t->piece, t->data + t->from, n);
    t->piece[n] = 0;
    *out = (sg_text){t->piece, n, t->offset};
    t->from += n;
    t->offset += (int64_t)n;
    return SG_OK;
}

static sg_status parse_line(sg_texts *t, const char *line, size_t n, int64_t offset, sg_text *out, sg_error *err)
{
    json_error_t at;
    json_decref(t->line);
    t->line = json_loadb(line, n, 0, &at);
    if (!json_is_object(t->line))
        return sg_fail(err, SG_EFORMAT, "%s: the line at byte %" PRId64 " is no JSON object%s%s", t->path, offset,
                       t->line ? "" : ": ", t->line ? "" : at.text);
    const json_t *text = json_object_get(t->line, t->field);
    if (!json_is_string(text))
        return sg_fail(err, SG_EFORMAT, "%s: the line at byte %" PRId64 " has no text \"%.60s\"", t->path, offset,
                       t->field);
    *out = (sg_text){json_string_value(text), json_string_length(text), offset};
    return SG_OK;
}

static sg_status next_line(sg_texts *t, sg_text *out, sg_error *err)
{
    for (size_t seen = 0;;) {
        const char *line = t->data ? t->data + t->from : "",
                   *end = t->data ? memchr(line + seen, '\n', t->to - t->from - seen) : NULL;
        if (!end && !t->ended) {
            seen = t->to - t->from;
            if (seen > LINE_BYTES)
                return sg_fail(err, SG_EFORMAT, "%s: the line at byte %" PRId64 " is longer than %zu MiB", t->path,
                               t->offset, LINE_BYTES >> 20);
            SG_TRY(more(t, err));
            continue;
        }
        const size_t n = end ? (size_t)(end - line) : t->to - t->from;
        if (n == 0 && !end)
            return SG_OK;
        const int64_t offset = t->offset;
        t->from += n + (end != NULL);
        t->offset += (int64_t)n + (end != NULL);
        seen = 0;
        size_t blank = 0;
        while (blank < n && strchr(" \t\r", line[blank]))
            blank++;
        if (blank == n)
            continue;
        sg_text text;
        SG_TRY(parse_line(t, line, n, offset, &text, err));
        if (text.n) {
            *out = text;
            return SG_OK;
        }
    }
}

sg_status sg_texts_next(sg_texts *t, sg_text *out, sg_error *err)
{
    *out = (sg_text){NULL, 0, t->offset};
    return t->lines ? next_line(t, out, err) : next_piece(t, out, err);
}

sg_status sg_texts_seek(sg_texts *t, int64_t offset, sg_error *err)
{
    if (offset < 0 || gzseek(t->file, (z_off_t)offset, SEEK_SET) < 0) {
        SG_TRY(failure(t, err));
        return sg_fail(err, SG_EFORMAT, "%s: byte %" PRId64 " cannot be reached", t->path, offset);
    }
    t->from = t->to = 0;
    t->offset = offset;
    t->ended = false;
    return SG_OK;
}
