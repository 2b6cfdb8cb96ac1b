/* Patterns: literal texts, and regular expressions run by PCRE2.
 *
 * The files write their expressions for Oniguruma with Ruby's syntax. Nearly all of it means the same to PCRE2 with
 * UTF and Unicode properties on; translate() rewrites what does not:
 *
 *     \s \S       White_Space exactly (PCRE2 counts U+180E as well)
 *     \w \W       letters, marks, decimal digits and connectors (PCRE2 before 10.43 leaves marks out)
 *     \h \H       hexadecimal digits (PCRE2: horizontal space)
 *     \uHHHH      \x{HHHH}
 *     \p{Han}     the script alone (PCRE2: script extensions)
 *     [a[bc]]     a union, flattened
 *
 * and refuses what it cannot say: intersections (&&), negated sets inside sets, \S and the like inside sets.  ^ and $
 * match at every line, as in Ruby.  A pattern comes from a file that may be hostile, so every search runs under limits
 * of steps and memory. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

#define MAX_REGEX_BYTES 16384
#define MATCH_STEPS     1000000
#define MATCH_KIBIBYTES 65536
#define OPTIONS         (PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C)
/* Each ends in a range or a property, so that a hyphen which follows it inside a set stays a hyphen. */
#define SPACES "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}\\x{2000}-\\x{200A}"
#define WORDS  "\\x{200C}\\x{200D}\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}"
#define HEXES  "0-9A-Fa-f"

struct sg_pattern {
    const char *literal; /* or NULL */
    size_t n_literal;
    pcre2_code *code;
};

/* PCRE2 allocates through these, so that running out of memory can be tested. */
static void *allocate(size_t bytes, void *unused)
{
    (void)unused;
    return malloc(bytes);
}

static void release(void *memory, void *unused)
{
    (void)unused;
    free(memory);
}

/* ---- from Oniguruma's syntax to PCRE2's ---- */

static const struct {
    char letter;
    const char *set;
} classes[] = {{'s', SPACES}, {'w', WORDS}, {'h', HEXES}};

struct translation {
    const sg_reader *r;
    const char *from;
    sg_str to;
    int depth; /* of sets */
};

static sg_status unsupported(const struct translation *t, const char *what)
{
    char shown[SG_SHOWN];
    return sg_fail(t->r->err, SG_EUNSUPPORTED, "%s: pattern \"%s\" has %s", t->r->name, sg_show(shown, t->from), what);
}

static bool is_script(const char *name, size_t n)
{
    char probe[48];
    int code;
    size_t at;
    if (n < 3 || n > 32 || !isupper((unsigned char)name[0]) || !islower((unsigned char)name[1]))
        return false;
    snprintf(probe, sizeof probe, "\\p{sc:%.*s}", (int)n, name);
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)probe, PCRE2_ZERO_TERMINATED, OPTIONS, &code, &at, NULL);
    pcre2_code_free(compiled);
    return compiled != NULL;
}

/* A backslash and what belongs to it: returns where to go on, NULL if it cannot be said. */
static const char *translate_escape(struct translation *t, const char *s)
{
    for (size_t i = 0; i < SG_COUNT_OF(classes); i++) {
        if (s[1] == classes[i].letter) {
            sg_str_printf(&t->to, t->depth ? "%s" : "[%s]", classes[i].set);
            return s + 2;
        }
        if (s[1] == toupper((unsigned char)classes[i].letter)) {
            sg_str_printf(&t->to, "[^%s]", classes[i].set);
            return t->depth ? NULL : s + 2;
        }
    }
    if (s[1] == 'u' && isxdigit((unsigned char)s[2]) && isxdigit((unsigned char)s[3]) &&
        isxdigit((unsigned char)s[4]) && isxdigit((unsigned char)s[5])) {
        sg_str_printf(&t->to, "\\x{%.4s}", s + 2);
        return s + 6;
    }
    if ((s[1] == 'p' || s[1] == 'P') && s[2] == '{') {
        const char *name = s + 3 + (s[3] == '^');
        const size_t n = strcspn(name, "}");
        if (is_script(name, n)) {
            sg_str_append(&t->to, s, (size_t)(name - s));
            sg_str_printf(&t->to, "sc:%.*s", (int)n, name);
            return name + n;
        }
    }
    const size_t bytes = s[1] ? 1 + sg_utf8_length(s[1]) : 1;
    sg_str_append(&t->to, s, bytes);
    return s + bytes;
}

/* Something inside a set; *s is not its end. */
static sg_status translate_set_item(struct translation *t, const char **s)
{
    if ((*s)[0] == '&' && (*s)[1] == '&')
        return unsupported(t, "an intersection of sets");
    if ((*s)[0] == '[' && (*s)[1] == ':') {
        const char *end = strstr(*s, ":]");
        if (end) {
            sg_str_append(&t->to, *s, (size_t)(end + 2 - *s));
            *s = end + 2;
            return SG_OK;
        }
    }
    if (**s == '[') {
        if ((*s)[1] == '^')
            return unsupported(t, "a negated set inside a set");
        t->depth++;
        ++*s;
        return SG_OK;
    }
    sg_str_append(&t->to, *s, 1);
    ++*s;
    return SG_OK;
}

static sg_status translate(struct translation *t)
{
    for (const char *s = t->from; *s != '\0';) {
        if (*s == '\\') {
            s = translate_escape(t, s);
            if (!s)
                return unsupported(t, "a negated class inside a set");
        } else if (t->depth && *s == ']') {
            if (--t->depth == 0)
                sg_str_append(&t->to, s, 1);
            s++;
        } else if (t->depth) {
            SG_TRY(translate_set_item(t, &s));
        } else {
            const char *start = s;
            if (*s++ == '[') {
                t->depth = 1;
                s += *s == '^';
                s += *s == ']'; /* a bracket that comes first stands for itself */
            }
            sg_str_append(&t->to, start, (size_t)(s - start));
        }
    }
    return t->to.failed ? sg_fail(t->r->err, SG_ENOMEM, "%s: out of memory", t->r->name) : SG_OK;
}

/* ---- making ---- */

static void free_code(void *code)
{
    pcre2_code_free(code);
}

static sg_status compile(pcre2_code **out, const sg_reader *r, const char *regex, const sg_str *translated)
{
    pcre2_general_context *memory = pcre2_general_context_create(allocate, release, NULL);
    pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
    int code = PCRE2_ERROR_NOMEMORY;
    size_t at = 0;
    *out = NULL;
    if (context) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        pcre2_set_max_pattern_length(context, MAX_REGEX_BYTES);
        *out = pcre2_compile((PCRE2_SPTR)(translated->text ? translated->text : ""), translated->bytes, OPTIONS, &code,
                             &at, context);
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(memory);
    if (*out) {
        /* Without the compiler to machine code searches only become slower. */
        (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
        return sg_arena_defer(r->arena, free_code, *out);
    }
    if (code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAP_FAILED)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    char shown[SG_SHOWN], why[128];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    return sg_fail(r->err, SG_EFORMAT, "%s: pattern \"%s\": %s", r->name, sg_show(shown, regex), why);
}

static sg_status new_pattern(sg_pattern **out, const sg_reader *r)
{
    *out = sg_arena_alloc(r->arena, sizeof **out);
    return *out ? SG_OK : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
}

sg_status sg_pattern_regex(sg_pattern **out, const sg_reader *r, const char *regex)
{
    SG_TRY(new_pattern(out, r));
    struct translation t = {.r = r, .from = regex};
    sg_status status = translate(&t);
    if (status == SG_OK)
        status = compile(&(*out)->code, r, regex, &t.to);
    sg_str_free(&t.to);
    return status;
}

sg_status sg_pattern_literal(sg_pattern **out, const sg_reader *r, const char *literal)
{
    if (*literal == '\0')
        return sg_fail(r->err, SG_EFORMAT, "%s: a pattern is empty", r->name);
    SG_TRY(new_pattern(out, r));
    (*out)->n_literal = strlen(literal);
    (*out)->literal = sg_arena_strdup(r->arena, literal);
    return (*out)->literal ? SG_OK : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
}

sg_status sg_pattern_read(sg_pattern **out, const sg_reader *r, const json_t *object, const char *key)
{
    const json_t *json = json_object_get(object, key);
    const json_t *literal = json_object_get(json, "String"), *regex = json_object_get(json, "Regex");
    if (json_is_string(literal))
        return sg_pattern_literal(out, r, json_string_value(literal));
    if (json_is_string(regex))
        return sg_pattern_regex(out, r, json_string_value(regex));
    return sg_fail(r->err, SG_EFORMAT, "%s: \"%s\" is neither {\"String\": ...} nor {\"Regex\": ...}", r->name, key);
}

/* ---- searching ---- */

void sg_matcher_free(sg_matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->limits);
    *m = (sg_matcher){0};
}

static bool prepare(sg_matcher *m)
{
    if (m->data)
        return true;
    pcre2_general_context *memory = pcre2_general_context_create(allocate, release, NULL);
    if (!memory)
        return false;
    m->limits = m->limits ? m->limits : pcre2_match_context_create(memory);
    m->data = m->limits ? pcre2_match_data_create(1, memory) : NULL;
    pcre2_general_context_free(memory);
    if (!m->data)
        return false;
    pcre2_set_match_limit(m->limits, MATCH_STEPS);
    pcre2_set_heap_limit(m->limits, MATCH_KIBIBYTES);
    return true;
}

static sg_status search_regex(sg_finder *f, sg_matcher *m, bool *found, sg_error *err)
{
    if (!prepare(m))
        return sg_fail(err, SG_ENOMEM, "out of memory in a pattern search");
    const PCRE2_SPTR text = (PCRE2_SPTR)f->text;
    int rc = pcre2_match(f->pattern->code, text, f->n, f->from, PCRE2_NO_UTF_CHECK, m->data, m->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(f->pattern->code, text, f->n, f->from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data, m->limits);
    *found = rc >= 0;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return sg_fail(err, SG_ENOMEM, "out of memory in a pattern search");
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return sg_fail(err, SG_EUNSUPPORTED, "a pattern of the tokenizer takes too many steps on %zu bytes of text",
                       f->n - f->from);
    if (*found) {
        const size_t *ends = pcre2_get_ovector_pointer(m->data);
        f->start = ends[0];
        f->end = ends[1];
        /* \K may move the start, and could move it before an earlier match. */
        if (f->start < f->from || f->end < f->start)
            return sg_fail(err, SG_EUNSUPPORTED, "a pattern of the tokenizer matches backwards");
    }
    return SG_OK;
}

static bool search_literal(sg_finder *f)
{
    const sg_pattern *p = f->pattern;
    const char *at = f->text + f->from;
    const char *stop = f->text + f->n;
    while ((size_t)(stop - at) >= p->n_literal) {
        at = memchr(at, p->literal[0], (size_t)(stop - at) - p->n_literal + 1);
        if (!at)
            return false;
        if (memcmp(at, p->literal, p->n_literal) == 0) {
            f->start = (size_t)(at - f->text);
            f->end = f->start + p->n_literal;
            return true;
        }
        at++;
    }
    return false;
}

sg_status sg_find_next(sg_finder *f, sg_matcher *m, bool *found, sg_error *err)
{
    const size_t last_end = f->end;
    for (*found = false; f->from <= f->n;) {
        if (f->pattern->literal)
            *found = search_literal(f);
        else
            SG_TRY(search_regex(f, m, found, err));
        if (!*found)
            return SG_OK;
        f->from = f->end;
        if (f->end > f->start || !f->any || f->end != last_end) {
            f->any = true;
            return SG_OK;
        }
        /* An empty match right after the last match is no match: look again one character on. */
        *found = false;
        f->from += f->from < f->n ? sg_utf8_length(f->text[f->from]) : 1;
    }
    return SG_OK;
}

sg_status sg_pattern_replace(const sg_pattern *p, sg_matcher *m, const char *text, size_t n, const char *by,
                             sg_str *out, sg_error *err)
{
    sg_finder f = {.pattern = p, .text = text, .n = n};
    size_t done = 0;
    for (bool found;;) {
        SG_TRY(sg_find_next(&f, m, &found, err));
        if (!found)
            break;
        sg_str_append(out, text + done, f.start - done);
        sg_str_puts(out, by);
        done = f.end;
    }
    sg_str_append(out, text + done, n - done);
    return out->failed ? sg_fail(err, SG_ENOMEM, "out of memory") : SG_OK;
}
