/* Errors as plain values.  A text may hold pieces of a hostile file, so whatever could break the line or steer a
 * terminal is replaced before anyone prints it. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* A cut in the middle of a UTF-8 sequence would make the text unfit for JSON: drop the part of it that is there. */
static void drop_cut_sequence(char *text, size_t bytes)
{
    size_t first = bytes;
    while (first > 0 && ((unsigned char)text[first - 1] & 0xC0) == 0x80)
        first--;
    if (first == 0)
        return;
    const unsigned char lead = (unsigned char)text[first - 1];
    const size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (bytes - (first - 1) < wanted)
        text[first - 1] = '\0';
}

sg_status sg_fail(sg_error *err, sg_status status, const char *fmt, ...)
{
    SG_ASSERT(status != SG_OK);
    if (!err)
        return status;

    char text[SG_ERROR_TEXT]; /* the arguments may point into err->text */
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);

    if (n < 0)
        snprintf(text, sizeof text, "%s", sg_status_text(status));
    else if ((size_t)n >= sizeof text)
        drop_cut_sequence(text, sizeof text - 1);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            *p = '?';
    err->status = status;
    memcpy(err->text, text, sizeof text);
    return status;
}

const char *sg_status_text(sg_status status)
{
    static const char *const texts[] = {
        [SG_OK] = "no error",
        [SG_EARG] = "wrong use",
        [SG_ENOTFOUND] = "not found",
        [SG_EIO] = "input or output failed",
        [SG_EFORMAT] = "malformed data",
        [SG_ESHAPE] = "extents do not fit",
        [SG_ETYPE] = "types do not fit",
        [SG_ENOMEM] = "out of memory",
        [SG_ENUMERIC] = "a number is not finite",
        [SG_EUNSUPPORTED] = "not supported",
        [SG_ECANCELLED] = "cancelled",
    };
    return (size_t)status < SG_COUNT_OF(texts) ? texts[status] : "unknown status";
}

void sg_assert_failed(const char *text, const char *file, int line)
{
    fprintf(stderr, "%s:%d: this should hold: %s\n", file, line, text);
    abort();
}
