/* Filters (value|name) and tests (value is name), in two tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/template_internal.h"
#include "io/tokenizer_internal.h"

typedef sg_status filter(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out);

static sg_status undefined(sg_tpl *t, const char *what, const sg_tpl_value *v)
{
    if (v->kind == SG_TPL_UNDEFINED)
        return sg_tpl_fail(t, SG_EFORMAT, "%s of \"%.*s\", which is not defined", what, (int)SG_MIN(v->s.n, 60u),
                           v->s.text);
    return sg_tpl_fail(t, SG_EFORMAT, "%s of %s", what, sg_tpl_kind_name(v));
}

/* A member by a path such as "function.name" or "0". */
static sg_status by_path(sg_tpl *t, const sg_tpl_value *of, const sg_tpl_value *path, sg_tpl_value *out)
{
    *out = *of;
    if (path->kind != SG_TPL_STRING)
        return sg_tpl_member(t, of, path, out);
    const char *at = path->s.text, *end = at + path->s.n;
    while (at <= end) {
        const char *dot = at < end ? memchr(at, '.', (size_t)(end - at)) : NULL;
        const char *stop = dot ? dot : end;
        const sg_tpl_value from = *out;
        sg_tpl_value key = sg_tpl_text(at, (size_t)(stop - at));
        if (key.s.n && key.s.n < 9 && strspn(at, "0123456789") >= key.s.n)
            key = sg_tpl_int(strtol(at, NULL, 10));
        if (from.kind == SG_TPL_UNDEFINED)
            return SG_OK;
        SG_TRY(sg_tpl_member(t, &from, &key, out));
        at = stop + 1;
    }
    return SG_OK;
}

/* ---- texts ---- */

static sg_status f_trim(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    if (in->kind == SG_TPL_UNDEFINED) { /* which is an empty text here */
        *out = sg_tpl_text("", 0);
        return SG_OK;
    }
    return sg_tpl_strip(t, in, sg_tpl_arg(args, 0, "chars"), true, true, out);
}

static sg_status f_upper(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)args;
    return sg_tpl_recase(t, in, SG_TPL_UPPER, out);
}

static sg_status f_lower(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)args;
    return sg_tpl_recase(t, in, SG_TPL_LOWER, out);
}

static sg_status f_title(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)args;
    return sg_tpl_recase(t, in, SG_TPL_TITLE, out);
}

static sg_status f_capitalize(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)args;
    return sg_tpl_recase(t, in, SG_TPL_CAPITALIZE, out);
}

static sg_status f_replace(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    int64_t most = -1;
    const sg_tpl_value *count = sg_tpl_arg(args, 2, "count");
    if (count && count->kind != SG_TPL_NONE && !sg_tpl_whole(count, &most))
        return undefined(t, "a count", count);
    return sg_tpl_replace(t, in, sg_tpl_arg(args, 0, "old"), sg_tpl_arg(args, 1, "new"), most, out);
}

static sg_status f_string(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    sg_str text = {0};
    (void)args;
    sg_str_puts(&text, "");
    const sg_status status = sg_tpl_write(t, &text, in);
    if (status == SG_OK)
        return sg_tpl_take(t, &text, out);
    sg_str_free(&text);
    return status;
}

static sg_status f_escape(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    sg_tpl_value v;
    sg_str text = {0};
    SG_TRY(f_string(t, in, args, &v));
    sg_str_puts(&text, "");
    for (size_t i = 0; i < v.s.n; i++) {
        const char *known = v.s.text[i] ? strchr(from, v.s.text[i]) : NULL;
        if (known)
            sg_str_puts(&text, to[known - from]);
        else
            sg_str_append(&text, v.s.text + i, 1);
    }
    return sg_tpl_take(t, &text, out);
}

static sg_status f_safe(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)t, (void)args;
    *out = *in; /* nothing is escaped unasked */
    return SG_OK;
}

/* Spaces before every line but the first, and but empty ones, unless told. */
static sg_status f_indent(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *width = sg_tpl_arg(args, 0, "width"), *first = sg_tpl_arg(args, 1, "first"),
                       *blank = sg_tpl_arg(args, 2, "blank");
    const sg_tpl_value four = sg_tpl_int(4);
    sg_tpl_value v, line_end = sg_tpl_text("\n", 1), pad;
    sg_str text = {0};
    int64_t n;
    SG_TRY(f_string(t, in, args, &v));
    width = width ? width : &four;
    if (width->kind == SG_TPL_STRING) {
        pad = *width;
    } else {
        if (!sg_tpl_whole(width, &n) || n < 0 || n > 1000)
            return undefined(t, "indent by a width", width);
        char *spaces;
        SG_TRY(SG_TPL_ALLOC(t, &spaces, (size_t)n));
        memset(spaces, ' ', (size_t)n);
        pad = sg_tpl_text(spaces, (size_t)n);
    }
    (void)line_end;
    const char *at = v.s.text, *end = at + v.s.n;
    sg_str_puts(&text, "");
    for (bool begins = true;; begins = false) {
        const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        const size_t length = (size_t)((stop ? stop : end) - at);
        if (begins ? first && sg_tpl_true(first) : length > 0 || (blank && sg_tpl_true(blank)))
            sg_str_append(&text, pad.s.text, pad.s.n);
        sg_str_append(&text, at, length + (stop != NULL));
        if (text.bytes > SG_TPL_OUTPUT) {
            sg_str_free(&text);
            return sg_tpl_fail(t, SG_EUNSUPPORTED, "a text of more than %u MiB", SG_TPL_OUTPUT >> 20);
        }
        if (!stop)
            return sg_tpl_take(t, &text, out);
        at = stop + 1;
    }
}

static sg_status f_tojson(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *indent = sg_tpl_arg(args, 0, "indent"), *sort = sg_tpl_arg(args, -1, "sort_keys");
    int64_t n = -1;
    sg_str text = {0};
    if (sg_tpl_arg(args, -1, "separators"))
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "tojson(separators=...) is not supported");
    if (indent && indent->kind != SG_TPL_NONE && indent->kind != SG_TPL_BOOL &&
        (!sg_tpl_whole(indent, &n) || n < 0 || n > 64))
        return undefined(t, "tojson by an indent", indent);
    sg_str_puts(&text, "");
    const sg_status status = sg_tpl_json(t, &text, in, (int)n, sort && sg_tpl_true(sort));
    if (status == SG_OK)
        return sg_tpl_take(t, &text, out);
    sg_str_free(&text);
    return status;
}

/* ---- numbers ---- */

/* A number, or text that is one from end to end. */
static bool number_in(const sg_tpl_value *in, double *x)
{
    char digits[64], *end = digits;
    if (in->kind != SG_TPL_STRING || in->s.n == 0 || in->s.n >= sizeof digits)
        return sg_tpl_number(in, x);
    memcpy(digits, in->s.text, in->s.n);
    digits[in->s.n] = '\0';
    *x = strtod(digits, &end);
    return end > digits && *end == '\0';
}

static sg_status f_int(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *fallback = sg_tpl_arg(args, 0, "default");
    double x;
    (void)t;
    *out = fallback ? *fallback : sg_tpl_int(0);
    if (number_in(in, &x) && x > -9e18 && x < 9e18)
        *out = in->kind == SG_TPL_INT ? *in : sg_tpl_int((int64_t)x);
    return SG_OK;
}

static sg_status f_float(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *fallback = sg_tpl_arg(args, 0, "default");
    double x;
    (void)t;
    *out = fallback ? *fallback : sg_tpl_float(0);
    if (number_in(in, &x))
        *out = sg_tpl_float(x);
    return SG_OK;
}

static sg_status f_abs(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    int64_t i;
    double x;
    (void)args;
    if (sg_tpl_whole(in, &i) && i > INT64_MIN)
        *out = sg_tpl_int(i < 0 ? -i : i);
    else if (sg_tpl_number(in, &x))
        *out = sg_tpl_float(fabs(x));
    else
        return undefined(t, "abs", in);
    return SG_OK;
}

static sg_status f_round(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *digits = sg_tpl_arg(args, 0, "precision");
    int64_t n = 0;
    double x;
    if (!sg_tpl_number(in, &x) || (digits && (!sg_tpl_whole(digits, &n) || n < 0 || n > 15)) ||
        sg_tpl_arg(args, 1, "method"))
        return undefined(t, "round", in);
    char text[352];
    snprintf(text, sizeof text, "%.*f", (int)n, x); /* to even where it is in the middle, as Python */
    *out = sg_tpl_float(strtod(text, NULL));
    return SG_OK;
}

/* ---- lists ---- */

static sg_status f_length(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)args;
    switch (in->kind) {
    case SG_TPL_STRING:
        *out = sg_tpl_int((int64_t)sg_tpl_characters(in->s.text, in->s.n));
        return SG_OK;
    case SG_TPL_LIST:
        *out = sg_tpl_int((int64_t)in->list->n);
        return SG_OK;
    case SG_TPL_MAP:
        *out = sg_tpl_int((int64_t)in->map->n);
        return SG_OK;
    case SG_TPL_UNDEFINED:
        *out = sg_tpl_int(0);
        return SG_OK;
    default:
        return undefined(t, "length", in);
    }
}

static sg_status f_default(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *value = sg_tpl_arg(args, 0, "default_value"), *falsy = sg_tpl_arg(args, 1, "boolean");
    (void)t;
    const bool absent = in->kind == SG_TPL_UNDEFINED || (falsy && sg_tpl_true(falsy) && !sg_tpl_true(in));
    *out = !absent ? *in : value ? *value : sg_tpl_text("", 0);
    return SG_OK;
}

static sg_status f_first(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    sg_tpl_list *list;
    (void)args;
    SG_TRY(sg_tpl_iterate(t, in, &list));
    *out = list->n ? list->items[0] : sg_tpl_undefined("first", 5);
    return SG_OK;
}

static sg_status f_last(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    sg_tpl_list *list;
    (void)args;
    SG_TRY(sg_tpl_iterate(t, in, &list));
    *out = list->n ? list->items[list->n - 1] : sg_tpl_undefined("last", 4);
    return SG_OK;
}

static sg_status f_list(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    sg_tpl_list *list;
    (void)args;
    SG_TRY(sg_tpl_iterate(t, in, &list));
    SG_TRY(sg_tpl_new_list(t, list->n, out));
    for (size_t i = 0; i < list->n; i++)
        SG_TRY(sg_tpl_push(t, out->list, list->items[i]));
    return SG_OK;
}

static sg_status f_reverse(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    sg_tpl_list *list;
    (void)args;
    SG_TRY(sg_tpl_iterate(t, in, &list));
    if (in->kind == SG_TPL_STRING) {
        sg_str text = {0};
        sg_str_puts(&text, "");
        for (size_t i = list->n; i-- > 0;)
            sg_str_append(&text, list->items[i].s.text, list->items[i].s.n);
        return sg_tpl_take(t, &text, out);
    }
    SG_TRY(sg_tpl_new_list(t, list->n, out));
    for (size_t i = list->n; i-- > 0;)
        SG_TRY(sg_tpl_push(t, out->list, list->items[i]));
    return SG_OK;
}

static sg_status f_join(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *by = sg_tpl_arg(args, 0, "d"), *attribute = sg_tpl_arg(args, 1, "attribute");
    sg_tpl_list *list;
    sg_str text = {0};
    SG_TRY(sg_tpl_iterate(t, in, &list));
    sg_str_puts(&text, "");
    sg_status status = SG_OK;
    for (size_t i = 0; i < list->n && status == SG_OK; i++) {
        sg_tpl_value item = list->items[i];
        if (i && by)
            status = sg_tpl_write(t, &text, by);
        if (status == SG_OK && attribute)
            status = by_path(t, &list->items[i], attribute, &item);
        if (status == SG_OK)
            status = sg_tpl_write(t, &text, &item);
    }
    if (status == SG_OK)
        return sg_tpl_take(t, &text, out);
    sg_str_free(&text);
    return status;
}

/* What is sorted by: the item, or a member, texts in lower case unless told. */
static sg_status sort_key(sg_tpl *t, const sg_tpl_value *item, const sg_tpl_value *attribute, bool cased,
                          sg_tpl_value *out)
{
    *out = *item;
    if (attribute && attribute->kind != SG_TPL_NONE)
        SG_TRY(by_path(t, item, attribute, out));
    return out->kind == SG_TPL_STRING && !cased ? sg_tpl_recase(t, out, SG_TPL_LOWER, out) : SG_OK;
}

/* Insertion keeps equal ones in order; lists of templates are short, and every comparison is counted. */
static sg_status sort_list(sg_tpl *t, sg_tpl_list *list, const sg_tpl_value *attribute, bool cased, bool reverse)
{
    sg_tpl_value *keys;
    SG_TRY(SG_TPL_ALLOC(t, &keys, (list->n + 1) * sizeof *keys));
    for (size_t i = 0; i < list->n; i++)
        SG_TRY(sort_key(t, &list->items[i], attribute, cased, &keys[i]));
    for (size_t i = 1; i < list->n; i++) {
        const sg_tpl_value item = list->items[i], key = keys[i];
        size_t k = i;
        for (int order; k > 0; k--) {
            SG_TRY(sg_tpl_compare(t, &keys[k - 1], &key, &order));
            if (reverse ? order >= 0 : order <= 0)
                break;
            list->items[k] = list->items[k - 1];
            keys[k] = keys[k - 1];
        }
        list->items[k] = item;
        keys[k] = key;
    }
    return SG_OK;
}

static sg_status f_sort(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *reverse = sg_tpl_arg(args, 0, "reverse"), *cased = sg_tpl_arg(args, 1, "case_sensitive");
    SG_TRY(f_list(t, in, args, out));
    return sort_list(t, out->list, sg_tpl_arg(args, 2, "attribute"), cased && sg_tpl_true(cased),
                     reverse && sg_tpl_true(reverse));
}

static sg_status f_items(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)args;
    if (in->kind == SG_TPL_UNDEFINED)
        return sg_tpl_new_list(t, 0, out);
    return in->kind == SG_TPL_MAP ? sg_tpl_items(t, in->map, true, true, out) : undefined(t, "items", in);
}

static sg_status f_dictsort(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *cased = sg_tpl_arg(args, 0, "case_sensitive"), *by = sg_tpl_arg(args, 1, "by"),
                       *reverse = sg_tpl_arg(args, 2, "reverse");
    const sg_tpl_value which = sg_tpl_int(by && sg_tpl_is(by, "value"));
    if (in->kind != SG_TPL_MAP)
        return undefined(t, "dictsort", in);
    SG_TRY(sg_tpl_items(t, in->map, true, true, out));
    return sort_list(t, out->list, &which, cased && sg_tpl_true(cased), reverse && sg_tpl_true(reverse));
}

static sg_status f_unique(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    sg_tpl_list *list;
    (void)args;
    SG_TRY(sg_tpl_iterate(t, in, &list));
    SG_TRY(sg_tpl_new_list(t, 0, out));
    for (size_t i = 0; i < list->n; i++) {
        bool known = false;
        for (size_t k = 0; k < out->list->n && !known; k++)
            SG_TRY(sg_tpl_equal(t, &list->items[i], &out->list->items[k], &known));
        if (!known)
            SG_TRY(sg_tpl_push(t, out->list, list->items[i]));
    }
    return SG_OK;
}

static sg_status extreme(sg_tpl *t, const sg_tpl_value *in, bool most, sg_tpl_value *out)
{
    sg_tpl_list *list;
    SG_TRY(sg_tpl_iterate(t, in, &list));
    *out = list->n ? list->items[0] : sg_tpl_undefined("item", 4);
    for (size_t i = 1; i < list->n; i++) {
        int order;
        SG_TRY(sg_tpl_compare(t, &list->items[i], out, &order));
        if (most ? order > 0 : order < 0)
            *out = list->items[i];
    }
    return SG_OK;
}

static sg_status f_min(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)args;
    return extreme(t, in, false, out);
}

static sg_status f_max(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    (void)args;
    return extreme(t, in, true, out);
}

static sg_status f_sum(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *attribute = sg_tpl_arg(args, 0, "attribute");
    sg_tpl_list *list;
    int64_t whole = 0, i_value;
    double sum = 0, x;
    bool all_whole = true;
    SG_TRY(sg_tpl_iterate(t, in, &list));
    for (size_t i = 0; i < list->n; i++) {
        sg_tpl_value item = list->items[i];
        if (attribute)
            SG_TRY(by_path(t, &list->items[i], attribute, &item));
        if (!sg_tpl_number(&item, &x))
            return undefined(t, "sum", &item);
        all_whole = all_whole && sg_tpl_whole(&item, &i_value) && !__builtin_add_overflow(whole, i_value, &whole);
        sum += x;
    }
    *out = all_whole ? sg_tpl_int(whole) : sg_tpl_float(sum);
    return SG_OK;
}

/* The arguments from the second on. */
static sg_status rest_of(sg_tpl *t, const sg_tpl_args *args, int skip, sg_tpl_args **out)
{
    SG_TRY(SG_TPL_ALLOC(t, out, sizeof **out));
    **out = *args;
    (*out)->n = SG_MAX(args->n - skip, 0);
    memmove((*out)->at, args->at + SG_MIN(skip, args->n), (size_t)(*out)->n * sizeof args->at[0]);
    return SG_OK;
}

/* map(attribute="name", default=...) or map("filter", ...). */
static sg_status f_map(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    const sg_tpl_value *attribute = sg_tpl_arg(args, -1, "attribute"), *fallback = sg_tpl_arg(args, -1, "default");
    sg_tpl_list *list;
    sg_tpl_args *rest;
    if (!attribute && (args->n == 0 || args->at[0].kind != SG_TPL_STRING))
        return sg_tpl_fail(t, SG_EFORMAT, "map wants attribute=... or a filter's name");
    SG_TRY(rest_of(t, args, 1, &rest));
    SG_TRY(sg_tpl_iterate(t, in, &list));
    SG_TRY(sg_tpl_new_list(t, list->n, out));
    for (size_t i = 0; i < list->n; i++) {
        sg_tpl_value item;
        if (attribute)
            SG_TRY(by_path(t, &list->items[i], attribute, &item));
        else
            SG_TRY(sg_tpl_filter(t, args->at[0].s.text, args->at[0].s.n, &list->items[i], rest, &item));
        SG_TRY(sg_tpl_push(t, out->list, item.kind == SG_TPL_UNDEFINED && fallback ? *fallback : item));
    }
    return SG_OK;
}

/* select and reject (by a test of the item), selectattr and rejectattr (of a member). */
static sg_status choose(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, bool by_member, bool keep,
                        sg_tpl_value *out)
{
    sg_tpl_list *list;
    sg_tpl_args *rest;
    const int skip = by_member;
    const sg_tpl_value *test = sg_tpl_arg(args, skip, NULL);
    if ((by_member && args->n == 0) || (test && test->kind != SG_TPL_STRING))
        return sg_tpl_fail(t, SG_EFORMAT, "%s wants %s", keep ? "select" : "reject",
                           by_member ? "a member's name, a test's name and its argument" : "a test's name");
    SG_TRY(rest_of(t, args, skip + 1, &rest));
    SG_TRY(sg_tpl_iterate(t, in, &list));
    SG_TRY(sg_tpl_new_list(t, 0, out));
    for (size_t i = 0; i < list->n; i++) {
        sg_tpl_value item = list->items[i];
        bool holds;
        if (by_member)
            SG_TRY(by_path(t, &list->items[i], &args->at[0], &item));
        holds = sg_tpl_true(&item);
        if (test)
            SG_TRY(sg_tpl_test(t, test->s.text, test->s.n, &item, rest, &holds));
        if (holds == keep)
            SG_TRY(sg_tpl_push(t, out->list, list->items[i]));
    }
    return SG_OK;
}

static sg_status f_select(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    return choose(t, in, args, false, true, out);
}

static sg_status f_reject(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    return choose(t, in, args, false, false, out);
}

static sg_status f_selectattr(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    return choose(t, in, args, true, true, out);
}

static sg_status f_rejectattr(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    return choose(t, in, args, true, false, out);
}

static sg_status f_attr(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_args *args, sg_tpl_value *out)
{
    return args->n == 1 ? sg_tpl_member(t, in, &args->at[0], out) : sg_tpl_fail(t, SG_EFORMAT, "attr wants a name");
}

static const struct {
    const char *name;
    filter *run;
} filters[] = {
    {"trim", f_trim},
    {"upper", f_upper},
    {"lower", f_lower},
    {"title", f_title},
    {"capitalize", f_capitalize},
    {"replace", f_replace},
    {"string", f_string},
    {"escape", f_escape},
    {"e", f_escape},
    {"safe", f_safe},
    {"indent", f_indent},
    {"tojson", f_tojson},
    {"int", f_int},
    {"float", f_float},
    {"abs", f_abs},
    {"round", f_round},
    {"length", f_length},
    {"count", f_length},
    {"default", f_default},
    {"d", f_default},
    {"first", f_first},
    {"last", f_last},
    {"list", f_list},
    {"reverse", f_reverse},
    {"join", f_join},
    {"sort", f_sort},
    {"items", f_items},
    {"dictsort", f_dictsort},
    {"unique", f_unique},
    {"min", f_min},
    {"max", f_max},
    {"sum", f_sum},
    {"map", f_map},
    {"select", f_select},
    {"reject", f_reject},
    {"selectattr", f_selectattr},
    {"rejectattr", f_rejectattr},
    {"attr", f_attr},
};

sg_status sg_tpl_filter(sg_tpl *t, const char *name, size_t n_name, const sg_tpl_value *in, const sg_tpl_args *args,
                        sg_tpl_value *out)
{
    char shown[SG_SHOWN];
    SG_TRY(sg_tpl_step(t, 1));
    if (++t->depth > 8 * SG_TPL_DEPTH)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "filters nest too deep");
    for (size_t i = 0; i < SG_COUNT_OF(filters); i++) {
        if (strlen(filters[i].name) == n_name && memcmp(filters[i].name, name, n_name) == 0) {
            SG_TRY(filters[i].run(t, in, args, out));
            t->depth--;
            return SG_OK;
        }
    }
    return sg_tpl_fail(t, SG_EUNSUPPORTED, "the filter \"%s\" is not supported", sg_show_n(shown, name, n_name));
}

/* ---- tests ---- */

static sg_status case_test(sg_tpl *t, const sg_tpl_value *in, sg_tpl_case how, bool *out)
{
    sg_tpl_value other;
    SG_TRY(sg_tpl_recase(t, in, how, &other));
    return sg_tpl_equal(t, in, &other, out);
}

static sg_status number_test(sg_tpl *t, const char *name, const sg_tpl_value *in, const sg_tpl_value *arg, bool *out)
{
    int64_t n, by = 2;
    if (!sg_tpl_whole(in, &n) || (arg && !sg_tpl_whole(arg, &by)) || by == 0 || by == -1)
        return undefined(t, name, in);
    *out = (n % by != 0) == (name[0] == 'o');
    return SG_OK;
}

static sg_status order_test(sg_tpl *t, const char *op, const sg_tpl_value *in, const sg_tpl_value *arg, bool *out)
{
    int order;
    if (!arg)
        return sg_tpl_fail(t, SG_EFORMAT, "a test that compares wants something to compare with");
    if (op[0] == '=' || op[0] == '!') {
        SG_TRY(sg_tpl_equal(t, in, arg, out));
        *out ^= op[0] == '!';
        return SG_OK;
    }
    SG_TRY(sg_tpl_compare(t, in, arg, &order));
    *out = op[0] == '<' ? (op[1] ? order <= 0 : order < 0) : (op[1] ? order >= 0 : order > 0);
    return SG_OK;
}

static const struct {
    const char *name, *op;
} orders[] = {{"eq", "=="},      {"equalto", "=="}, {"==", "=="}, {"ne", "!="},    {"!=", "!="}, {"lt", "<"},
              {"lessthan", "<"}, {"<", "<"},        {"le", "<="}, {"<=", "<="},    {"gt", ">"},  {"greaterthan", ">"},
              {">", ">"},        {"ge", ">="},      {">=", ">="}, {"sameas", "=="}};

sg_status sg_tpl_test(sg_tpl *t, const char *name, size_t n_name, const sg_tpl_value *in, const sg_tpl_args *args,
                      bool *out)
{
    const sg_tpl_value key = sg_tpl_text(name, n_name), *arg = sg_tpl_arg(args, 0, NULL);
    const sg_tpl_kind kind = in->kind;
    char shown[SG_SHOWN];
    const struct {
        const char *name;
        bool holds;
    } simple[] = {
        {"defined", kind != SG_TPL_UNDEFINED},
        {"undefined", kind == SG_TPL_UNDEFINED},
        {"none", kind == SG_TPL_NONE},
        {"string", kind == SG_TPL_STRING},
        {"boolean", kind == SG_TPL_BOOL},
        {"true", kind == SG_TPL_BOOL && in->b},
        {"false", kind == SG_TPL_BOOL && !in->b},
        {"integer", kind == SG_TPL_INT},
        {"float", kind == SG_TPL_FLOAT},
        {"number", kind == SG_TPL_INT || kind == SG_TPL_FLOAT || kind == SG_TPL_BOOL},
        {"mapping", kind == SG_TPL_MAP && !in->map->space},
        {"sequence", kind == SG_TPL_LIST || kind == SG_TPL_STRING || kind == SG_TPL_MAP},
        {"iterable", kind == SG_TPL_LIST || kind == SG_TPL_STRING || kind == SG_TPL_MAP || kind == SG_TPL_UNDEFINED},
        {"callable", kind == SG_TPL_MACRO || kind == SG_TPL_FUNCTION},
    };
    SG_TRY(sg_tpl_step(t, 1));
    for (size_t i = 0; i < SG_COUNT_OF(simple); i++) {
        if (sg_tpl_is(&key, simple[i].name)) {
            *out = simple[i].holds;
            return SG_OK;
        }
    }
    for (size_t i = 0; i < SG_COUNT_OF(orders); i++)
        if (sg_tpl_is(&key, orders[i].name))
            return order_test(t, orders[i].op, in, arg, out);
    if (sg_tpl_is(&key, "in"))
        return arg ? sg_tpl_in(t, in, arg, out)
                   : sg_tpl_fail(t, SG_EFORMAT, "the test \"in\" wants something to look in");
    if (sg_tpl_is(&key, "odd"))
        return number_test(t, "odd", in, NULL, out);
    if (sg_tpl_is(&key, "even"))
        return number_test(t, "even", in, NULL, out);
    if (sg_tpl_is(&key, "divisibleby"))
        return number_test(t, "divisibleby", in, arg, out);
    if (sg_tpl_is(&key, "upper") || sg_tpl_is(&key, "lower"))
        return case_test(t, in, key.s.text[0] == 'u' ? SG_TPL_UPPER : SG_TPL_LOWER, out);
    return sg_tpl_fail(t, SG_EUNSUPPORTED, "the test \"%s\" is not supported", sg_show_n(shown, name, n_name));
}
