/* A template's source as tokens: text, and between {{ }} and {% %} names, literals and operators.
 *
 * Blocks are trimmed as chat templates expect (trim_blocks, lstrip_blocks): the line end after a block or a comment
 * goes, and so do spaces before one that begins its line. A minus inside the braces takes all space on its side, a plus
 * leaves all. One line end at the end of the source goes. */
#include <stdlib.h>
#include <string.h>

#include "io/template_internal.h"
#include "io/tokenizer_internal.h"

struct lexer {
    sg_tpl *t;
    const char *at, *end;
    sg_tpl_token *tokens;
    size_t n, capacity;
    bool line_start; /* what was read last ended a line */
};

static sg_status put(struct lexer *l, sg_tpl_token token)
{
    if (l->n == l->capacity) {
        const size_t capacity = l->capacity ? 2 * l->capacity : 256;
        sg_tpl_token *tokens;
        SG_TRY(SG_TPL_ALLOC(l->t, &tokens, capacity * sizeof *tokens));
        if (l->n)
            memcpy(tokens, l->tokens, l->n * sizeof *tokens);
        l->tokens = tokens;
        l->capacity = capacity;
    }
    token.line = l->t->line;
    l->tokens[l->n++] = token;
    return SG_OK;
}

static void advance(struct lexer *l, const char *to)
{
    for (; l->at < to; l->at++)
        l->t->line += *l->at == '\n';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool starts(const struct lexer *l, const char *text)
{
    const size_t n = strlen(text);
    return (size_t)(l->end - l->at) >= n && memcmp(l->at, text, n) == 0;
}

/* ---- text ---- */

static const char *next_brace(const struct lexer *l)
{
    for (const char *s = l->at; s + 1 < l->end; s++)
        if (s[0] == '{' && (s[1] == '{' || s[1] == '%' || s[1] == '#'))
            return s;
    return l->end;
}

/* The text up to `stop`, less what the opening there takes of it. */
static sg_status lex_text(struct lexer *l, const char *stop)
{
    const char *start = l->at, *end = stop;
    const char sign = stop + 2 < l->end ? stop[2] : '\0';
    if (stop < l->end && sign == '-') {
        while (end > start && is_blank(end[-1]))
            end--;
    } else if (stop < l->end && sign != '+' && stop[1] != '{') {
        const char *line = end;
        while (line > start && line[-1] != '\n')
            line--;
        bool blank = line > start || l->line_start;
        for (const char *s = line; s < end && blank; s++)
            blank = is_blank(*s);
        end = blank ? line : end;
    }
    if (stop > start)
        l->line_start = stop[-1] == '\n';
    if (end > start)
        SG_TRY(put(l, (sg_tpl_token){.kind = SG_TPL_T_TEXT, .text = start, .n = (size_t)(end - start)}));
    advance(l, stop);
    return SG_OK;
}

/* Past a closing, of which `sign` was before the brace: what it takes of the text behind it. */
static void close_brace(struct lexer *l, const char *after, char sign, bool trims)
{
    l->line_start = false;
    if (sign == '-') {
        while (after < l->end && is_blank(*after))
            after++;
    } else if (sign != '+' && trims && after < l->end && *after == '\n') {
        after++;
    }
    l->line_start = after[-1] == '\n';
    advance(l, after);
}

static sg_status lex_comment(struct lexer *l)
{
    const char *s = l->at + 2;
    while (s + 1 < l->end && !(s[0] == '#' && s[1] == '}'))
        s++;
    if (s + 1 >= l->end)
        return sg_tpl_fail(l->t, SG_EFORMAT, "a comment {# has no end");
    close_brace(l, s + 2, s > l->at + 2 ? s[-1] : '\0', true);
    return SG_OK;
}

/* ---- inside braces ---- */

static bool is_name(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80 ||
           (!first && c >= '0' && c <= '9');
}

static void put_code(sg_str *out, uint32_t code)
{
    char text[4];
    size_t n = 0;
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) || code == 0)
        code = 0xFFFD;
    if (code < 0x80) {
        text[n++] = (char)code;
    } else if (code < 0x800) {
        text[n++] = (char)(0xC0 | code >> 6);
    } else if (code < 0x10000) {
        text[n++] = (char)(0xE0 | code >> 12);
        text[n++] = (char)(0x80 | (code >> 6 & 63));
    } else {
        text[n++] = (char)(0xF0 | code >> 18);
        text[n++] = (char)(0x80 | (code >> 12 & 63));
        text[n++] = (char)(0x80 | (code >> 6 & 63));
    }
    if (code >= 0x80)
        text[n++] = (char)(0x80 | (code & 63));
    sg_str_append(out, text, n);
}

/* A backslash and what belongs to it; returns where to go on. */
static const char *put_escape(sg_str *out, const char *s, const char *end)
{
    static const char from[] = "ntrfvab\\'\"", to[] = "\n\t\r\f\v\a\b\\'\"";
    const char *known = strchr(from, s[1]);
    const int digits = s[1] == 'x' ? 2 : s[1] == 'u' ? 4 : s[1] == 'U' ? 8 : 0;
    if (known && s[1] != '\0') {
        sg_str_append(out, &to[known - from], 1);
        return s + 2;
    }
    uint32_t code = 0;
    int n = 0;
    for (; n < digits && s + 2 + n < end; n++) {
        const char c = s[2 + n];
        const int value = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (value < 0)
            break;
        code = code << 4 | (uint32_t)value;
    }
    if (digits && n == digits) {
        put_code(out, code);
        return s + 2 + digits;
    }
    if (s[1] == '\n') /* a line that goes on */
        return s + 2;
    sg_str_append(out, s, 1);
    return s + 1;
}

static sg_status lex_string(struct lexer *l)
{
    const char quote = *l->at, *s = l->at + 1;
    sg_str text = {0};
    sg_str_puts(&text, "");
    while (s < l->end && *s != quote) {
        if (*s == '\\' && s + 1 < l->end) {
            s = put_escape(&text, s, l->end);
        } else {
            sg_str_append(&text, s++, 1);
        }
    }
    if (s >= l->end) {
        sg_str_free(&text);
        return sg_tpl_fail(l->t, SG_EFORMAT, "a text in quotes has no end");
    }
    sg_tpl_value value;
    SG_TRY(sg_tpl_take(l->t, &text, &value));
    SG_TRY(put(l, (sg_tpl_token){.kind = SG_TPL_T_STRING, .text = value.s.text, .n = value.s.n}));
    advance(l, s + 1);
    return SG_OK;
}

static sg_status lex_number(struct lexer *l)
{
    char digits[48];
    size_t n = 0;
    bool is_float = false;
    const char *s = l->at;
    for (; s < l->end; s++) {
        const bool exponent = (*s == 'e' || *s == 'E') && s + 1 < l->end &&
                              ((s[1] >= '0' && s[1] <= '9') ||
                               ((s[1] == '-' || s[1] == '+') && s + 2 < l->end && s[2] >= '0' && s[2] <= '9'));
        const bool sign = (*s == '-' || *s == '+') && s > l->at && (s[-1] == 'e' || s[-1] == 'E');
        const bool point = *s == '.' && s + 1 < l->end && s[1] >= '0' && s[1] <= '9' && !is_float;
        if (*s == '_')
            continue;
        if (!(*s >= '0' && *s <= '9') && !exponent && !sign && !point)
            break;
        is_float |= exponent || point;
        if (n + 1 == sizeof digits)
            return sg_tpl_fail(l->t, SG_EFORMAT, "a number of more than %zu digits", sizeof digits - 1);
        digits[n++] = *s;
    }
    digits[n] = '\0';
    sg_tpl_token token = {.kind = is_float ? SG_TPL_T_FLOAT : SG_TPL_T_INT, .f = strtod(digits, NULL)};
    if (!is_float && token.f > 9e18)
        return sg_tpl_fail(l->t, SG_EUNSUPPORTED, "the number %s is too large", digits);
    token.i = is_float ? 0 : strtoll(digits, NULL, 10);
    SG_TRY(put(l, token));
    advance(l, s);
    return SG_OK;
}

static sg_status lex_operator(struct lexer *l)
{
    static const char *const two[] = {"==", "!=", "<=", ">=", "//", "**"};
    static const char one[] = "+-*/%~()[]{}.,:|=<>";
    for (size_t i = 0; i < SG_COUNT_OF(two); i++) {
        if (starts(l, two[i])) {
            SG_TRY(put(l, (sg_tpl_token){.kind = SG_TPL_T_OP, .text = two[i], .n = 2}));
            advance(l, l->at + 2);
            return SG_OK;
        }
    }
    if (*l->at == '\0' || !strchr(one, *l->at))
        return sg_tpl_fail(l->t, SG_EFORMAT, "the character '%c' has no place inside braces",
                           (unsigned char)*l->at < 0x20 || (unsigned char)*l->at > 0x7E ? '?' : *l->at);
    SG_TRY(put(l, (sg_tpl_token){.kind = SG_TPL_T_OP, .text = l->at, .n = 1}));
    advance(l, l->at + 1);
    return SG_OK;
}

static sg_status lex_inside(struct lexer *l, bool print)
{
    const char close[2] = {print ? '}' : '%', '}'};
    const sg_tpl_token_kind end = print ? SG_TPL_T_PRINT_END : SG_TPL_T_BLOCK_END;
    int open = 0; /* braces of maps, so that }} may close two of them */
    SG_TRY(put(l, (sg_tpl_token){.kind = print ? SG_TPL_T_PRINT : SG_TPL_T_BLOCK}));
    advance(l, l->at + 2);
    if (l->at < l->end && (*l->at == '-' || (*l->at == '+' && !print)))
        advance(l, l->at + 1);
    for (;;) {
        while (l->at < l->end && is_blank(*l->at))
            advance(l, l->at + 1);
        if (l->at >= l->end)
            return sg_tpl_fail(l->t, SG_EFORMAT, "%s has no end", print ? "{{" : "{%");
        const bool sign = (*l->at == '-' || (*l->at == '+' && !print)) && l->end - l->at >= 3 && l->at[1] == close[0] &&
                          l->at[2] == close[1];
        const char *at = l->at + sign;
        if (open == 0 && l->end - at >= 2 && at[0] == close[0] && at[1] == close[1]) {
            SG_TRY(put(l, (sg_tpl_token){.kind = end}));
            close_brace(l, at + 2, sign ? *l->at : '\0', !print);
            return SG_OK;
        }
        const char c = *l->at;
        if (is_name(c, true)) {
            const char *s = l->at;
            while (s < l->end && is_name(*s, false))
                s++;
            SG_TRY(put(l, (sg_tpl_token){.kind = SG_TPL_T_NAME, .text = l->at, .n = (size_t)(s - l->at)}));
            advance(l, s);
        } else if (c >= '0' && c <= '9') {
            SG_TRY(lex_number(l));
        } else if (c == '"' || c == '\'') {
            SG_TRY(lex_string(l));
        } else {
            open += (c == '{') - (c == '}');
            SG_TRY(lex_operator(l));
        }
    }
}

/* The end of a tag {% NAME %} that stands at s, or NULL. */
static const char *tag_at(const char *s, const char *end, const char *name, char *left, char *right)
{
    const size_t n = strlen(name);
    if (end - s < 2 || s[0] != '{' || s[1] != '%')
        return NULL;
    s += 2;
    *left = s < end && (*s == '-' || *s == '+') ? *s++ : '\0';
    while (s < end && is_blank(*s))
        s++;
    if ((size_t)(end - s) < n || memcmp(s, name, n) != 0)
        return NULL;
    for (s += n; s < end && is_blank(*s); s++)
        continue;
    *right = s < end && (*s == '-' || *s == '+') ? *s++ : '\0';
    return end - s >= 2 && s[0] == '%' && s[1] == '}' ? s + 2 : NULL;
}

/* What lies between {% raw %} and {% endraw %} is text. */
static sg_status lex_raw(struct lexer *l, const char *after, char sign)
{
    char left = '\0', right = '\0';
    close_brace(l, after, sign, true);
    for (const char *s = l->at; s < l->end; s++) {
        const char *stop = tag_at(s, l->end, "endraw", &left, &right);
        if (!stop)
            continue;
        SG_TRY(lex_text(l, s));
        close_brace(l, stop, right, true);
        return SG_OK;
    }
    return sg_tpl_fail(l->t, SG_EFORMAT, "{%% raw %%} has no {%% endraw %%}");
}

sg_status sg_tpl_lex(sg_tpl *t, const char *source, sg_tpl_token **out)
{
    size_t n = strlen(source), n_clean = 0;
    char *clean;
    if (n > SG_TPL_SOURCE)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "a template of %zu bytes, wanted at most %u", n, SG_TPL_SOURCE);
    sg_str valid = {0};
    sg_utf8_repair(&valid, source, n);
    sg_tpl_value text;
    SG_TRY(sg_tpl_take(t, &valid, &text));
    n = text.s.n;
    SG_TRY(SG_TPL_ALLOC(t, &clean, n + 1));
    for (size_t i = 0; i < n; i++) { /* all line ends are \n */
        if (text.s.text[i] == '\r' && text.s.text[i + 1] == '\n')
            continue;
        clean[n_clean++] = text.s.text[i] == '\r' ? '\n' : text.s.text[i];
    }
    if (n_clean && clean[n_clean - 1] == '\n')
        n_clean--;
    clean[n_clean] = '\0';
    struct lexer l = {.t = t, .at = clean, .end = clean + n_clean, .line_start = true};
    t->line = 1;
    while (l.at < l.end) {
        char left, right;
        const char *stop = next_brace(&l);
        if (stop > l.at || stop == l.end)
            SG_TRY(lex_text(&l, stop));
        if (stop == l.end)
            break;
        const char *raw = tag_at(stop, l.end, "raw", &left, &right);
        if (raw)
            SG_TRY(lex_raw(&l, raw, right));
        else if (stop[1] == '#')
            SG_TRY(lex_comment(&l));
        else
            SG_TRY(lex_inside(&l, stop[1] == '{'));
    }
    SG_TRY(put(&l, (sg_tpl_token){.kind = SG_TPL_T_END}));
    *out = l.tokens;
    return SG_OK;
}
