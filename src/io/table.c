/* CSV as RFC 4180 has it. The bytes are kept once, and fields are made texts where they stand: a field never grows by
 * losing its quotes, and a NUL takes the place of what ended it. */
#include "sightglass/table.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/base.h"

#define MOST_BYTES ((size_t)1 << 31)

struct sg_table {
    char *bytes; /* NUL-terminated fields */
    size_t *at;  /* [rows+1,columns], where each begins; the first row are the names */
    size_t n, room;
    int n_columns;
};

typedef struct parser {
    sg_table *t;
    const char *name;
    size_t n, i, to; /* bytes, read, written */
    long long line;
} parser;

static sg_status push(parser *p, size_t at, sg_error *err)
{
    sg_table *t = p->t;
    if (t->n == t->room) {
        const size_t room = SG_MAX(2 * t->room, 256);
        size_t *more = realloc(t->at, room * sizeof *more);
        if (!more)
            return sg_fail(err, SG_ENOMEM, "%s: out of memory at line %lld", p->name, p->line);
        t->at = more;
        t->room = room;
    }
    t->at[t->n++] = at;
    return SG_OK;
}

/* The field in quotes at p->i, behind its first. */
static sg_status quoted(parser *p, sg_error *err)
{
    char *b = p->t->bytes;
    const long long began = p->line;
    for (;; p->i++) {
        if (p->i == p->n)
            return sg_fail(err, SG_EFORMAT, "%s: line %lld: a quote that nothing closes", p->name, began);
        if (b[p->i] == '"' && !(p->i + 1 < p->n && b[p->i + 1] == '"'))
            break;
        p->i += b[p->i] == '"';
        p->line += b[p->i] == '\n';
        b[p->to++] = b[p->i];
    }
    p->i++;
    if (p->i < p->n && b[p->i] != ',' && b[p->i] != '\n' && b[p->i] != '\r')
        return sg_fail(err, SG_EFORMAT, "%s: line %lld: \"%c\" behind a closing quote", p->name, p->line, b[p->i]);
    return SG_OK;
}

/* One row; p->i is at its first byte. */
static sg_status row(parser *p, int *n_fields, sg_error *err)
{
    char *b = p->t->bytes;
    for (*n_fields = 0;;) {
        if (*n_fields == INT32_MAX)
            return sg_fail(err, SG_EFORMAT, "%s: line %lld has too many fields", p->name, p->line);
        SG_TRY(push(p, p->to, err));
        ++*n_fields;
        if (p->i < p->n && b[p->i] == '"') {
            p->i++;
            SG_TRY(quoted(p, err));
        } else {
            while (p->i < p->n && b[p->i] != ',' && b[p->i] != '\n' && !(b[p->i] == '\r' && b[p->i + 1] == '\n'))
                b[p->to++] = b[p->i++];
        }
        /* What ended the field is read before the NUL may take its place. */
        const char end = p->i < p->n ? b[p->i] : '\n';
        p->i += p->i < p->n;
        if (end == '\r')
            p->i += p->i < p->n && b[p->i] == '\n';
        b[p->to++] = 0;
        if (end == ',')
            continue;
        p->line++;
        return SG_OK;
    }
}

static sg_status parse(sg_table *t, size_t n, const char *name, sg_error *err)
{
    parser p = {.t = t, .name = name, .n = n, .line = 1};
    if (n >= 3 && memcmp(t->bytes, "\xef\xbb\xbf", 3) == 0)
        p.i = 3; /* a byte order mark */
    for (bool first = true; p.i < n; first = false) {
        const long long line = p.line;
        int fields;
        if (t->bytes[p.i] == '\n' || (t->bytes[p.i] == '\r' && p.i + 1 < n && t->bytes[p.i + 1] == '\n')) {
            if (!first && t->n_columns > 1) { /* an empty line */
                p.i += t->bytes[p.i] == '\r' ? 2 : 1;
                p.line++;
                continue;
            }
        }
        SG_TRY(row(&p, &fields, err));
        if (first)
            t->n_columns = fields;
        else if (fields != t->n_columns)
            return sg_fail(err, SG_EFORMAT, "%s: line %lld has %d fields, the first line %d", name, line, fields,
                           t->n_columns);
    }
    return t->n_columns ? SG_OK : sg_fail(err, SG_EFORMAT, "%s: is empty, wanted a line of names", name);
}

/* Takes bytes, which have room for one more than n. */
static sg_status from(sg_table **out, char *bytes, size_t n, const char *name, sg_error *err)
{
    sg_table *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t) {
        free(bytes);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    t->bytes = bytes;
    bytes[n] = 0;
    sg_status status = SG_OK;
    if (memchr(bytes, 0, n))
        status = sg_fail(err, SG_EFORMAT, "%s: holds a zero byte, which no table of text does", name);
    if (status == SG_OK)
        status = parse(t, n, name, err);
    if (status != SG_OK) {
        sg_table_free(t);
        return status;
    }
    *out = t;
    return SG_OK;
}

sg_status sg_table_parse(sg_table **out, const void *bytes, size_t n_bytes, const char *name, sg_error *err)
{
    *out = NULL;
    if (n_bytes > MOST_BYTES)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: %zu bytes are more than a table may have", name, n_bytes);
    char *copy = malloc(n_bytes + 2);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    if (n_bytes)
        memcpy(copy, bytes, n_bytes);
    return from(out, copy, n_bytes, name, err);
}

sg_status sg_table_open(sg_table **out, const char *path, sg_error *err)
{
    *out = NULL;
    sg_file *there; /* says what is wrong with the path better than zlib does */
    SG_TRY(sg_file_open(&there, path, err));
    size_t room = SG_MAX(sg_file_bytes(there), 1) + 2, n = 0;
    sg_file_close(there);
    gzFile file = gzopen(path, "rb"); /* reads what is not compressed as it is */
    if (!file)
        return sg_fail(err, SG_EIO, "%s: %s", path, strerror(errno));
    char *bytes = malloc(room);
    sg_status status = bytes ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    for (int got = 1; status == SG_OK && got > 0; n += (size_t)SG_MAX(got, 0)) {
        if (room - n < 3) {
            char *more = room < MOST_BYTES ? realloc(bytes, 2 * room) : NULL;
            if (!more) {
                status = sg_fail(err, room < MOST_BYTES ? SG_ENOMEM : SG_EUNSUPPORTED,
                                 "%s: out of memory after %zu bytes", path, n);
                break;
            }
            bytes = more;
            room *= 2;
        }
        got = gzread(file, bytes + n, (unsigned)SG_MIN(room - n - 2, (size_t)1 << 20));
        if (got < 0)
            status =
                sg_fail(err, SG_EFORMAT, "%s: the compressed data cannot be read: %s", path, gzerror(file, &(int){0}));
    }
    /* That it was cut short is only said when the file is closed. */
    const int closed = gzclose_r(file);
    if (status == SG_OK && closed != Z_OK)
        status = sg_fail(err, SG_EFORMAT, "%s: the compressed data end too early", path);
    if (status != SG_OK) {
        free(bytes);
        return status;
    }
    return from(out, bytes, n, path, err);
}

void sg_table_free(sg_table *t)
{
    if (!t)
        return;
    free(t->bytes);
    free(t->at);
    free(t);
}

sg_dim sg_table_n_rows(const sg_table *t)
{
    return (sg_dim)(t->n / (size_t)t->n_columns) - 1;
}

int sg_table_n_columns(const sg_table *t)
{
    return t->n_columns;
}

const char *sg_table_column(const sg_table *t, int i)
{
    return t->bytes + t->at[i];
}

int sg_table_find(const sg_table *t, const char *column)
{
    for (int i = 0; i < t->n_columns; i++)
        if (strcmp(column, sg_table_column(t, i)) == 0)
            return i;
    return -1;
}

sg_status sg_table_get(int *out, const sg_table *t, const char *column, sg_error *err)
{
    int nearest = 0;
    if ((*out = sg_table_find(t, column)) >= 0)
        return SG_OK;
    for (int i = 1; i < t->n_columns; i++)
        if (sg_edit_distance(column, sg_table_column(t, i)) < sg_edit_distance(column, sg_table_column(t, nearest)))
            nearest = i;
    return sg_fail(err, SG_ENOTFOUND, "no column is called \"%.60s\"; the nearest is %.60s", column,
                   sg_table_column(t, nearest));
}

const char *sg_table_at(const sg_table *t, sg_dim r, int column)
{
    return t->bytes + t->at[(size_t)(r + 1) * (size_t)t->n_columns + (size_t)column];
}

double sg_table_number(const sg_table *t, sg_dim r, int column)
{
    const char *text = sg_table_at(t, r, column);
    char *end;
    const double x = strtod(text, &end);
    return end != text && !*end ? x : nan("");
}
