/* Normalizers: a list of steps, each of which rewrites the whole text. */
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "io/tokenizer_internal.h"

enum kind { PREPEND, REPLACE, FORM, LOWERCASE, STRIP, STRIP_ACCENTS, BERT, CHARSMAP, NMT };

struct step {
    enum kind kind;
    utf8proc_option_t form; /* FORM */
    sg_pattern *pattern;    /* REPLACE */
    const char *text;       /* PREPEND, REPLACE */
    bool left, right;       /* STRIP */
    bool clean, ideographs; /* BERT; what follows of it are steps of their own */
    bool only_nonspacing;   /* STRIP_ACCENTS */
    sg_charsmap *charsmap;
};

struct sg_normalizer {
    struct step *steps;
    int n;
};

static const struct {
    const char *type;
    enum kind kind;
    utf8proc_option_t form;
} kinds[] = {
    {"Prepend", PREPEND, 0},
    {"Replace", REPLACE, 0},
    {"NFC", FORM, UTF8PROC_COMPOSE},
    {"NFD", FORM, UTF8PROC_DECOMPOSE},
    {"NFKC", FORM, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", FORM, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    {"Lowercase", LOWERCASE, 0},
    {"Strip", STRIP, 0},
    {"StripAccents", STRIP_ACCENTS, 0},
    {"BertNormalizer", BERT, 0},
    {"Precompiled", CHARSMAP, 0},
    {SG_STEP_CHARSMAP, CHARSMAP, 0},
    {"Nmt", NMT, 0},
};

/* BERT's cleaning, and as steps after it NFD with accents stripped, and lower case. Returns how many steps that is in
 * *n. */
static sg_status read_bert(struct step *steps, int *n, const sg_reader *r, const json_t *json)
{
    bool lower, accents;
    SG_TRY(sg_json_bool(r, json, "clean_text", true, &steps[0].clean));
    SG_TRY(sg_json_bool(r, json, "handle_chinese_chars", true, &steps[0].ideographs));
    SG_TRY(sg_json_bool(r, json, "lowercase", true, &lower));
    SG_TRY(sg_json_bool(r, json, "strip_accents", lower, &accents));
    *n = 1;
    if (accents) {
        steps[(*n)++] = (struct step){.kind = FORM, .form = UTF8PROC_DECOMPOSE};
        steps[(*n)++] = (struct step){.kind = STRIP_ACCENTS, .only_nonspacing = true};
    }
    if (lower)
        steps[(*n)++] = (struct step){.kind = LOWERCASE};
    return SG_OK;
}

/* Fills one step or a few, up to MOST_STEPS. */
#define MOST_STEPS 4
static sg_status read_step(struct step *step, int *n, const sg_reader *r, const json_t *json, const char *type)
{
    size_t i = 0;
    while (i < SG_COUNT_OF(kinds) && strcmp(kinds[i].type, type) != 0)
        i++;
    if (i == SG_COUNT_OF(kinds))
        return sg_json_unsupported(r, "normalizer", type);
    *step = (struct step){.kind = kinds[i].kind, .form = kinds[i].form};
    *n = 1;
    switch (step->kind) {
    case PREPEND:
        return sg_json_text(r, json, "prepend", NULL, &step->text);
    case REPLACE:
        SG_TRY(sg_json_text(r, json, "content", NULL, &step->text));
        return sg_pattern_read(&step->pattern, r, json, "pattern");
    case STRIP:
        SG_TRY(sg_json_bool(r, json, "strip_left", true, &step->left));
        return sg_json_bool(r, json, "strip_right", true, &step->right);
    case BERT:
        return read_bert(step, n, r, json);
    case CHARSMAP:
        return r->charsmap ? sg_charsmap_new(&step->charsmap, r, r->charsmap, r->charsmap_bytes, false)
                           : sg_charsmap_read(&step->charsmap, r, json);
    default:
        return SG_OK;
    }
}

sg_status sg_normalizer_read(sg_normalizer **out, const sg_reader *r, const json_t *json)
{
    sg_json_steps list;
    SG_TRY(sg_json_open_steps(r, json, "normalizer", "normalizers", &list));
    *out = sg_arena_alloc(r->arena, sizeof **out);
    struct step *steps = sg_arena_array(r->arena, MOST_STEPS * (size_t)list.n + 1, sizeof *steps);
    int n = 0;
    if (!*out || !steps)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    for (int i = 0, more = 0; i < list.n; i++, n += more)
        SG_TRY(read_step(&steps[n], &more, r, list.step[i], list.type[i]));
    **out = (sg_normalizer){.steps = steps, .n = n};
    return SG_OK;
}

/* ---- normal forms ---- */

/* A mark that follows this many is reordered among later ones only: the reordering is quadratic in the length of such
 * a run, and no writing stacks thousands of marks on one letter. */
#define MAX_MARKS 4096

static sg_status normal_form(utf8proc_option_t form, const char *text, size_t n, sg_str *out, sg_error *err)
{
    const utf8proc_option_t options = form | UTF8PROC_STABLE;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    const utf8proc_ssize_t n_codes = utf8proc_decompose(bytes, (utf8proc_ssize_t)n, NULL, 0, options);
    if (n_codes < 0)
        return sg_fail(err, SG_EFORMAT, "text cannot be normalized: %s", utf8proc_errmsg(n_codes));
    /* One more: the result is written back over the code points and closed by a NUL. */
    utf8proc_int32_t *codes = malloc(((size_t)n_codes + 1) * sizeof *codes);
    if (!codes)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    utf8proc_decompose(bytes, (utf8proc_ssize_t)n, codes, n_codes, options);
    const utf8proc_ssize_t n_out = utf8proc_reencode(codes, n_codes, options);
    sg_str_append(out, (const char *)codes, (size_t)n_out);
    free(codes);
    return SG_OK;
}

/* ASCII stays as it is and composes with nothing before it, so the text is cut before every ASCII character, and only
 * pieces that hold more than that one are worked on. */
static sg_status normal_forms(const struct step *step, const char *text, size_t n, sg_str *out, sg_error *err)
{
    for (size_t start = 0, end; start < n; start = end) {
        size_t n_marks = 0;
        for (end = start + sg_utf8_length(text[start]); end < n && (text[end] & 0x80) && n_marks < MAX_MARKS;
             end += sg_utf8_length(text[end]))
            n_marks = sg_is_mark(sg_utf8_code(text + end)) ? n_marks + 1 : 0;
        if (end == start + 1)
            sg_str_append(out, text + start, 1);
        else
            SG_TRY(normal_form(step->form, text + start, end - start, out, err));
    }
    return SG_OK;
}

/* ---- character by character ---- */

static void lowercase(const char *text, size_t n, sg_str *out)
{
    for (size_t i = 0; i < n; i += sg_utf8_length(text[i])) {
        const int32_t code = sg_utf8_code(text + i);
        char lower[4];
        if (code < 0x80) {
            lower[0] = (char)(code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code);
            sg_str_append(out, lower, 1);
            continue;
        }
        size_t bytes = (size_t)utf8proc_encode_char(utf8proc_tolower(code), (utf8proc_uint8_t *)lower);
        sg_str_append(out, lower, bytes);
        if (code == 0x130) /* the one letter whose lower case is two characters: i and a dot above */
            sg_str_puts(out, "\xCC\x87");
    }
}

static void strip_accents(const struct step *step, const char *text, size_t n, sg_str *out)
{
    for (size_t i = 0, start = 0, bytes; i < n; i += bytes, start = i) {
        while (i < n && !(text[i] & 0x80)) /* a run of ASCII is kept at once */
            i++;
        sg_str_append(out, text + start, i - start);
        bytes = i < n ? sg_utf8_length(text[i]) : 0;
        if (bytes && !(step->only_nonspacing ? sg_is_nonspacing : sg_is_mark)(sg_utf8_code(text + i)))
            sg_str_append(out, text + i, bytes);
    }
}

/* Controls go, every space becomes a plain one, and an ideograph stands alone. */
static void clean(const struct step *step, const char *text, size_t n, sg_str *out)
{
    for (size_t i = 0, bytes; i < n; i += bytes) {
        bytes = sg_utf8_length(text[i]);
        const int32_t code = sg_utf8_code(text + i);
        if (code > ' ' && code < 0x7F) {
            sg_str_append(out, text + i, 1);
            continue;
        }
        if (step->clean && (code == 0 || code == 0xFFFD || sg_is_control(code)))
            continue;
        if (step->clean && sg_is_space(code)) {
            sg_str_append(out, " ", 1);
            continue;
        }
        const bool alone = step->ideographs && sg_is_ideograph(code);
        if (alone)
            sg_str_append(out, " ", 1);
        sg_str_append(out, text + i, bytes);
        if (alone)
            sg_str_append(out, " ", 1);
    }
}

/* SentencePiece's earlier set: some controls go, spaces of all kinds and joiners become plain ones. */
static void nmt(const char *text, size_t n, sg_str *out)
{
    for (size_t i = 0, bytes; i < n; i += bytes) {
        bytes = sg_utf8_length(text[i]);
        const int32_t c = sg_utf8_code(text + i);
        if ((c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
            continue;
        const bool space = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
        sg_str_append(out, space ? " " : text + i, space ? 1 : bytes);
    }
}

static void strip(const struct step *step, const char *text, size_t n, sg_str *out)
{
    size_t start = 0, end = n;
    while (step->left && start < n && sg_is_space(sg_utf8_code(text + start)))
        start += sg_utf8_length(text[start]);
    while (step->right && end > start) {
        size_t last = end - 1;
        while (((unsigned char)text[last] & 0xC0) == 0x80)
            last--;
        if (!sg_is_space(sg_utf8_code(text + last)))
            break;
        end = last;
    }
    sg_str_append(out, text + start, end - start);
}

static sg_status apply(const struct step *step, sg_matcher *m, const char *text, size_t n, sg_str *out, sg_error *err)
{
    switch (step->kind) {
    case PREPEND:
        if (n) /* nothing stays nothing */
            sg_str_puts(out, step->text);
        sg_str_append(out, text, n);
        return SG_OK;
    case REPLACE:
        return sg_pattern_replace(step->pattern, m, text, n, step->text, out, err);
    case FORM:
        return normal_forms(step, text, n, out, err);
    case LOWERCASE:
        lowercase(text, n, out);
        return SG_OK;
    case STRIP:
        strip(step, text, n, out);
        return SG_OK;
    case STRIP_ACCENTS:
        strip_accents(step, text, n, out);
        return SG_OK;
    case BERT:
        clean(step, text, n, out);
        return SG_OK;
    case CHARSMAP:
        sg_charsmap_apply(step->charsmap, text, n, out);
        return SG_OK;
    case NMT:
        nmt(text, n, out);
        return SG_OK;
    }
    return SG_OK;
}

void sg_norm_work_free(sg_norm_work *w)
{
    sg_str_free(&w->buffer[0]);
    sg_str_free(&w->buffer[1]);
    sg_matcher_free(&w->matcher);
}

sg_status sg_normalize(const sg_normalizer *norm, sg_norm_work *w, const char *text, size_t n, const char **out,
                       size_t *n_out, sg_error *err)
{
    for (int i = 0; i < norm->n; i++) {
        sg_str *to = &w->buffer[i & 1];
        to->bytes = 0;
        SG_TRY(apply(&norm->steps[i], &w->matcher, text, n, to, err));
        if (to->failed)
            return sg_fail(err, SG_ENOMEM, "out of memory");
        text = to->text ? to->text : "";
        n = to->bytes;
    }
    *out = text;
    *n_out = n;
    return SG_OK;
}
