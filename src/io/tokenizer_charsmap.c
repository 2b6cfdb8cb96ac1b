/* SentencePiece's precompiled map of characters: texts to what they are normalized to.
 *
 *     uint32 n | n bytes: a double array (Darts-clone) of uint32 units | texts, each closed by a NUL
 *
 * A unit of the double array holds a label, an offset to its children and whether a key ends there; the unit of a key's
 * end has the place of its text. Every index that a file gives is checked where it is followed. */
#include <stdlib.h>
#include <string.h>

#include <nettle/base64.h>
#include <utf8proc.h>

#include "io/tokenizer_internal.h"

struct sg_charsmap {
    const uint32_t *units;
    size_t n_units;
    const char *texts;
    size_t n_texts; /* bytes, of which the last is a NUL */
    bool clusters;
};

sg_status sg_charsmap_new(sg_charsmap **out, const sg_reader *r, const void *bytes, size_t n, bool clusters)
{
    uint32_t n_trie = 0;
    if (n >= 4)
        n_trie = (uint32_t)((const uint8_t *)bytes)[0] | (uint32_t)((const uint8_t *)bytes)[1] << 8 |
                 (uint32_t)((const uint8_t *)bytes)[2] << 16 | (uint32_t)((const uint8_t *)bytes)[3] << 24;
    if (n < 4 || n_trie > n - 4 || n_trie % 4 != 0)
        return sg_fail(r->err, SG_EFORMAT,
                       "%s: the precompiled map of characters is broken: its table has %lu of %zu bytes", r->name,
                       (unsigned long)n_trie, n);
    sg_charsmap *m = *out = sg_arena_alloc(r->arena, sizeof *m);
    uint32_t *units = sg_arena_array(r->arena, n_trie / 4 + 1, sizeof *units);
    char *texts = sg_arena_alloc(r->arena, n - 4 - n_trie + 1);
    if (!m || !units || !texts)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    const uint8_t *from = (const uint8_t *)bytes + 4;
    for (size_t i = 0; i < n_trie / 4; i++, from += 4)
        units[i] = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
    memcpy(texts, from, n - 4 - n_trie);
    *m = (sg_charsmap){units, n_trie / 4, texts, n - 4 - n_trie + 1, clusters};
    return SG_OK;
}

sg_status sg_charsmap_read(sg_charsmap **out, const sg_reader *r, const json_t *json)
{
    const char *text = json_string_value(json_object_get(json, "precompiled_charsmap"));
    if (!text)
        return sg_fail(r->err, SG_EFORMAT, "%s: \"precompiled_charsmap\" is missing", r->name);
    const size_t n = strlen(text);
    size_t n_bytes = BASE64_DECODE_LENGTH(n);
    uint8_t *bytes = malloc(n_bytes + 1);
    if (!bytes)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    struct base64_decode_ctx ctx;
    base64_decode_init(&ctx);
    sg_status status = SG_OK;
    if (!base64_decode_update(&ctx, &n_bytes, bytes, n, text) || !base64_decode_final(&ctx))
        status = sg_fail(r->err, SG_EFORMAT, "%s: \"precompiled_charsmap\" is not base64", r->name);
    if (status == SG_OK)
        status = sg_charsmap_new(out, r, bytes, n_bytes, true);
    free(bytes);
    return status;
}

static uint32_t offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The text for the longest key, or else the shortest, that begins the n bytes; NULL if none does. */
static const char *find(const sg_charsmap *m, const char *text, size_t n, bool longest, size_t *matched)
{
    const char *found = NULL;
    if (m->n_units == 0)
        return NULL;
    uint32_t at = offset(m->units[0]);
    for (size_t i = 0; i < n && (longest || !found); i++) {
        const unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= m->n_units || (m->units[at] & (0x80000000u | 0xFF)) != byte)
            break;
        const uint32_t unit = m->units[at];
        at ^= offset(unit);
        if (!(unit >> 8 & 1))
            continue;
        const uint32_t place = at < m->n_units ? m->units[at] & 0x7FFFFFFF : UINT32_MAX;
        if (place >= m->n_texts)
            break;
        found = m->texts + place;
        *matched = i + 1;
    }
    return found;
}

/* Appends a text of the map, which a broken file may have as anything. */
static void put(sg_str *out, const char *text)
{
    sg_utf8_repair(out, text, strlen(text));
}

/* As SentencePiece has it: from left to right, each time the longest key. */
static void map_longest(const sg_charsmap *m, const char *text, size_t n, sg_str *out)
{
    for (size_t at = 0, bytes = 0; at < n; at += bytes) {
        const char *to = find(m, text + at, n - at, true, &bytes);
        if (to && (at + bytes == n || ((unsigned char)text[at + bytes] & 0xC0) != 0x80)) {
            put(out, to);
            continue;
        }
        bytes = sg_utf8_length(text[at]);
        sg_str_append(out, text + at, bytes);
    }
}

/* As tokenizer.json's readers have it: a short grapheme cluster that some key begins is that key's text; of others each
 * character is looked up. */
static void map_clusters(const sg_charsmap *m, const char *text, size_t n, sg_str *out)
{
    for (size_t at = 0, end, bytes; at < n; at = end) {
        utf8proc_int32_t state = 0, code = sg_utf8_code(text + at);
        for (end = at + sg_utf8_length(text[at]); end < n; end += sg_utf8_length(text[end])) {
            const utf8proc_int32_t next = sg_utf8_code(text + end);
            if (utf8proc_grapheme_break_stateful(code, next, &state))
                break;
            code = next;
        }
        const char *to = end - at < 6 ? find(m, text + at, end - at, false, &bytes) : NULL;
        if (to) {
            put(out, to);
            continue;
        }
        for (size_t i = at, length; i < end; i += length) {
            length = sg_utf8_length(text[i]);
            to = find(m, text + i, length, false, &bytes);
            if (to)
                put(out, to);
            else
                sg_str_append(out, text + i, length);
        }
    }
}

void sg_charsmap_apply(const sg_charsmap *m, const char *text, size_t n, sg_str *out)
{
    (m->clusters ? map_clusters : map_longest)(m, text, n, out);
}
