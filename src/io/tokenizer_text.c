/* UTF-8 a character at a time, the byte alphabet of byte-level vocabularies, and three classes of characters. */
#include <string.h>

#include <utf8proc.h>

#include "io/tokenizer_internal.h"

/* The first byte fixes the length and, for four lead bytes, a narrower range of the second (no overlong forms, no
 * surrogates, nothing above U+10FFFF). What fails ends before the byte that does not fit, so that each maximal part of
 * a faulty place becomes one U+FFFD, as the Unicode standard recommends. */
sg_utf8 sg_utf8_next(const char *text, size_t n, size_t *bytes)
{
    const unsigned char *s = (const unsigned char *)text;
    const unsigned char first = s[0];
    *bytes = 1;
    if (first < 0x80)
        return SG_UTF8_CHAR;
    if (first < 0xC2 || first > 0xF4)
        return SG_UTF8_BAD;
    const size_t length = sg_utf8_length(text[0]);
    unsigned char low = 0x80, high = 0xBF;
    if (first == 0xE0)
        low = 0xA0;
    else if (first == 0xED)
        high = 0x9F;
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F;
    for (; *bytes < length; ++*bytes) {
        if (*bytes == n)
            return SG_UTF8_CUT;
        if (s[*bytes] < low || s[*bytes] > high)
            return SG_UTF8_BAD;
        low = 0x80;
        high = 0xBF;
    }
    return SG_UTF8_CHAR;
}

size_t sg_utf8_length(char first)
{
    const unsigned char byte = (unsigned char)first;
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

int32_t sg_utf8_code(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    switch (sg_utf8_length(text[0])) {
    case 1:
        return s[0];
    case 2:
        return (s[0] & 0x1F) << 6 | (s[1] & 0x3F);
    case 3:
        return (s[0] & 0x0F) << 12 | (s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    default:
        return (s[0] & 0x07) << 18 | (s[1] & 0x3F) << 12 | (s[2] & 0x3F) << 6 | (s[3] & 0x3F);
    }
}

void sg_utf8_repair(sg_str *out, const char *text, size_t n)
{
    size_t good = 0; /* start of the valid run not yet appended */
    for (size_t i = 0, bytes; i < n; i += bytes) {
        if (sg_utf8_next(text + i, n - i, &bytes) == SG_UTF8_CHAR)
            continue;
        sg_str_append(out, text + good, i - good);
        sg_str_puts(out, SG_REPLACEMENT);
        good = i + bytes;
    }
    sg_str_append(out, text + good, n - good);
}

/* Bytes that print as Latin-1 stand for themselves; the other 68 take U+0100 onwards in increasing order: 33 controls
 * and the space, then 34 from delete to the no-break space, then the soft hyphen. */
static int32_t code_of_byte(unsigned char byte)
{
    if (byte <= 0x20)
        return 0x100 + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x121 + (byte - 0x7F);
    return byte == 0xAD ? 0x143 : byte;
}

size_t sg_byte_to_char(unsigned char byte, char out[2])
{
    const int32_t code = code_of_byte(byte);
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    out[0] = (char)(0xC0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3F));
    return 2;
}

int sg_byte_of_char(const char *text)
{
    const int32_t code = sg_utf8_code(text);
    if (code < 0x100)
        return code_of_byte((unsigned char)code) == code ? code : -1;
    if (code <= 0x120)
        return code - 0x100;
    if (code <= 0x142)
        return 0x7F + (code - 0x121);
    return code == 0x143 ? 0xAD : -1;
}

bool sg_is_space(int32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
           code == 0x3000;
}

bool sg_is_mark(int32_t code)
{
    const utf8proc_category_t c = utf8proc_category(code);
    return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
}

bool sg_is_word(int32_t code)
{
    const utf8proc_category_t c = utf8proc_category(code);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC || code == 0x200C ||
           code == 0x200D;
}

/* ---- what BERT's cleaning asks for ---- */

bool sg_is_nonspacing(int32_t code)
{
    return utf8proc_category(code) == UTF8PROC_CATEGORY_MN;
}

bool sg_is_control(int32_t code)
{
    if (code == '\t' || code == '\n' || code == '\r')
        return false;
    const utf8proc_category_t c = utf8proc_category(code);
    return c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CS ||
           c == UTF8PROC_CATEGORY_CO || c == UTF8PROC_CATEGORY_CN;
}

bool sg_is_ideograph(int32_t code)
{
    static const int32_t ranges[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                        {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < SG_COUNT_OF(ranges); i++)
        if (code >= ranges[i][0] && code <= ranges[i][1])
            return true;
    return false;
}

/* ---- names of bytes ---- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int sg_named_byte(const char *text, size_t n)
{
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    const int high = hex_value(text[3]), low = hex_value(text[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}
