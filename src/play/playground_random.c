/* The random stream of the original: ARC4, seeded by a text, read six bytes and a few more at a time (seedrandom). */
#include <string.h>

#include "sightglass/playground.h"

enum { CELLS = 256 };

/* The next UTF-16 code unit of a UTF-8 text, which is what the original mixes in; `low` holds the second of a pair.
 * Bytes that are no UTF-8 stand for themselves. */
static uint32_t next_unit(const unsigned char **at, uint32_t *low)
{
    const unsigned char *c = *at;
    if (*low) {
        const uint32_t unit = *low;
        *low = 0;
        return unit;
    }
    const int more = c[0] >= 0xF0 && c[0] < 0xF8 ? 3 : c[0] >= 0xE0 ? 2 : c[0] >= 0xC0 ? 1 : 0;
    uint32_t code = c[0];
    for (int i = 1; i <= more; i++)
        if ((c[i] & 0xC0) != 0x80) {
            ++*at;
            return c[0];
        }
    if (more) {
        code = c[0] & (0x3Fu >> more);
        for (int i = 1; i <= more; i++)
            code = code << 6 | (c[i] & 0x3Fu);
    }
    *at += more + 1;
    if (code < 0x10000)
        return code;
    *low = 0xDC00 | ((code - 0x10000) & 0x3FF);
    return 0xD800 | ((code - 0x10000) >> 10);
}

static int32_t next_byte(sg_play_stream *r)
{
    r->i = (r->i + 1) & 255;
    const int32_t t = r->s[r->i];
    r->j = (r->j + t) & 255;
    const int32_t other = r->s[r->j];
    r->s[r->i] = other;
    r->s[r->j] = t;
    return r->s[(other + t) & 255];
}

void sg_play_stream_seed(sg_play_stream *r, const char *text)
{
    uint8_t key[CELLS] = {0};
    uint32_t smear = 0, low = 0;
    size_t n = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c || low; n++) {
        smear ^= key[n & 255] * 19u;
        key[n & 255] = (uint8_t)(smear + next_unit(&c, &low));
    }
    const size_t length = n == 0 ? 1 : n < CELLS ? n : CELLS;
    for (int i = 0; i < CELLS; i++)
        r->s[i] = i;
    int32_t j = 0;
    for (int i = 0; i < CELLS; i++) {
        const int32_t t = r->s[i];
        j = (j + key[(size_t)i % length] + t) & 255;
        r->s[i] = r->s[j];
        r->s[j] = t;
    }
    r->i = r->j = 0;
    for (int i = 0; i < CELLS; i++)
        (void)next_byte(r);
}

double sg_play_stream_next(sg_play_stream *r)
{
    double n = 0, d = 0x1p48;
    uint64_t x = 0;
    for (int i = 0; i < 6; i++)
        n = n * 256 + next_byte(r);
    while (n < 0x1p52) {
        n = (n + (double)x) * 256;
        d *= 256;
        x = (uint64_t)next_byte(r);
    }
    while (n >= 0x1p53) {
        n /= 2;
        d /= 2;
        x >>= 1;
    }
    return (n + (double)x) / d;
}
