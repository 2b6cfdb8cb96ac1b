/* Texts from files, one after another, without holding the file in memory.
 *
 *     sg_texts *t;
 *     sg_text text;
 *     SG_TRY(sg_texts_open(&t, "stories.jsonl.gz", "text", err));
 *     while ((status = sg_texts_next(t, &text, err)) == SG_OK && text.bytes)
 *         ...
 *     sg_texts_close(t);
 *
 * FILE.jsonl and FILE.ndjson hold one JSON object a line, of which one field is the text; any other file is text, cut
 * into pieces of up to 64 KiB at ends of lines where there are any. Both may be compressed (FILE.gz). */
#ifndef SIGHTGLASS_TEXTS_H
#define SIGHTGLASS_TEXTS_H

#include <stddef.h>
#include <stdint.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_texts sg_texts;

typedef struct sg_text {
    const char *bytes; /* with a NUL behind; borrowed until the next call; NULL: there are no more */
    size_t n;
    int64_t offset; /* where it begins in the (unpacked) file; of a JSON line, where the line does */
} sg_text;

/* field: of JSON lines. SG_ENOTFOUND, SG_EIO. */
sg_status sg_texts_open(sg_texts **out, const char *path, const char *field, sg_error *err) SG_MUST_CHECK;
void sg_texts_close(sg_texts *t); /* NULL is fine */

/* Empty lines are passed over. SG_EFORMAT with the byte: a NUL, a line that is no JSON object or lacks the field or is
 * longer than 64 MiB, compressed data that are damaged or end too early. */
sg_status sg_texts_next(sg_texts *t, sg_text *out, sg_error *err) SG_MUST_CHECK;

/* Goes on with the text at an offset that a text had. */
sg_status sg_texts_seek(sg_texts *t, int64_t offset, sg_error *err) SG_MUST_CHECK;

/* The share of the file's bytes, as they lie on the disk, that was read. */
double sg_texts_done(const sg_texts *t);

#ifdef __cplusplus
}
#endif
#endif
