/* Growing strings.  After memory ran out nothing more is appended, so a text is whole or marked `failed`. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* Makes room for `bytes` more and the closing NUL. */
static bool reserve(sg_str *s, size_t bytes)
{
    if (s->failed)
        return false;
    if (bytes >= SIZE_MAX / 2 - s->bytes) {
        s->failed = true;
        return false;
    }
    const size_t wanted = s->bytes + bytes + 1;
    if (wanted <= s->capacity)
        return true;
    const size_t capacity = SG_MAX(SG_MAX(wanted, 2 * s->capacity), (size_t)64);
    char *text = realloc(s->text, capacity);
    if (!text) {
        s->failed = true;
        return false;
    }
    s->text = text;
    s->capacity = capacity;
    return true;
}

void sg_str_append(sg_str *s, const char *text, size_t bytes)
{
    if (!reserve(s, bytes))
        return;
    if (bytes)
        memcpy(s->text + s->bytes, text, bytes);
    s->bytes += bytes;
    s->text[s->bytes] = '\0';
}

void sg_str_puts(sg_str *s, const char *text)
{
    sg_str_append(s, text, strlen(text));
}

void sg_str_printf(sg_str *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        s->failed = true;
    if (n < 0 || !reserve(s, (size_t)n))
        return;
    va_start(args, fmt);
    vsnprintf(s->text + s->bytes, (size_t)n + 1, fmt, args);
    va_end(args);
    s->bytes += (size_t)n;
}

void sg_str_free(sg_str *s)
{
    free(s->text);
    *s = (sg_str){0};
}
