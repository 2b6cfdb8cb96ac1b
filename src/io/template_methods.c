/* What stands behind a dot: members of maps, loops and lists, and the methods of texts and maps that templates use. */
#include <string.h>

#include <utf8proc.h>

#include "io/template_internal.h"
#include "io/tokenizer_internal.h"

const sg_tpl_value *sg_tpl_arg(const sg_tpl_args *args, int at, const char *name)
{
    for (int i = 0; name && i < args->n_named; i++)
        if (args->named[i].n_name == strlen(name) && memcmp(args->named[i].name, name, args->named[i].n_name) == 0)
            return &args->named[i].value;
    return at >= 0 && at < args->n ? &args->at[at] : NULL;
}

/* ---- members ---- */

static bool is_name(const sg_tpl_value *key, const char *name)
{
    return sg_tpl_is(key, name);
}

static sg_status loop_member(sg_tpl *t, const sg_tpl_loop *loop, const sg_tpl_value *key, sg_tpl_value *out)
{
    const size_t n = loop->over->n, i = loop->i;
    const struct {
        const char *name;
        sg_tpl_value value;
    } members[] = {
        {"index", sg_tpl_int((int64_t)i + 1)},
        {"index0", sg_tpl_int((int64_t)i)},
        {"revindex", sg_tpl_int((int64_t)(n - i))},
        {"revindex0", sg_tpl_int((int64_t)(n - i) - 1)},
        {"first", sg_tpl_bool(i == 0)},
        {"last", sg_tpl_bool(i + 1 == n)},
        {"length", sg_tpl_int((int64_t)n)},
        {"depth", sg_tpl_int(1)},
        {"depth0", sg_tpl_int(0)},
        {"previtem", i > 0 ? loop->over->items[i - 1] : sg_tpl_undefined("loop.previtem", 13)},
        {"nextitem", i + 1 < n ? loop->over->items[i + 1] : sg_tpl_undefined("loop.nextitem", 13)},
    };
    for (size_t k = 0; k < SG_COUNT_OF(members); k++) {
        if (is_name(key, members[k].name)) {
            *out = members[k].value;
            return SG_OK;
        }
    }
    return sg_tpl_fail(t, SG_EUNSUPPORTED, "this member of a loop is not supported");
}

/* Item i of n, counted from the end where it is negative; -1: there is none. */
static int64_t place(int64_t i, size_t n)
{
    const int64_t at = i < 0 ? i + (int64_t)n : i;
    return at >= 0 && at < (int64_t)n ? at : -1;
}

sg_status sg_tpl_member(sg_tpl *t, const sg_tpl_value *of, const sg_tpl_value *key, sg_tpl_value *out)
{
    int64_t i;
    *out = key->kind == SG_TPL_STRING ? sg_tpl_undefined(key->s.text, key->s.n) : sg_tpl_undefined("item", 4);
    switch (of->kind) {
    case SG_TPL_UNDEFINED:
        return sg_tpl_fail(t, SG_EFORMAT, "\"%.*s\" is not defined", (int)SG_MIN(of->s.n, 60u), of->s.text);
    case SG_TPL_MAP:
        if (key->kind == SG_TPL_STRING) {
            const sg_tpl_value *found = sg_tpl_get(of->map, key->s.text, key->s.n);
            if (found)
                *out = *found;
        }
        return SG_OK;
    case SG_TPL_LIST:
        if (sg_tpl_whole(key, &i) && (i = place(i, of->list->n)) >= 0)
            *out = of->list->items[i];
        return SG_OK;
    case SG_TPL_STRING:
        if (sg_tpl_whole(key, &i) && (i = place(i, sg_tpl_characters(of->s.text, of->s.n))) >= 0) {
            const char *s = of->s.text;
            SG_TRY(sg_tpl_step(t, i / 64));
            for (; i > 0; i--)
                s += sg_utf8_length(*s);
            *out = sg_tpl_text(s, sg_utf8_length(*s));
        }
        return SG_OK;
    case SG_TPL_LOOP:
        return loop_member(t, of->loop, key, out);
    default:
        return SG_OK;
    }
}

/* ---- parts that filters share ---- */

static sg_status text_of(sg_tpl *t, const sg_tpl_value *v, const char *what, sg_tpl_value *out)
{
    sg_str text = {0};
    if (v->kind == SG_TPL_STRING) {
        *out = *v;
        return SG_OK;
    }
    if (v->kind == SG_TPL_UNDEFINED)
        return sg_tpl_fail(t, SG_EFORMAT, "%s of \"%.*s\", which is not defined", what, (int)SG_MIN(v->s.n, 60u),
                           v->s.text);
    sg_str_puts(&text, "");
    const sg_status status = sg_tpl_write(t, &text, v);
    if (status == SG_OK)
        return sg_tpl_take(t, &text, out);
    sg_str_free(&text);
    return status;
}

static bool strips(int32_t code, const sg_tpl_value *chars)
{
    if (!chars || chars->kind != SG_TPL_STRING)
        return sg_tpl_space(code);
    for (size_t i = 0; i < chars->s.n; i += sg_utf8_length(chars->s.text[i]))
        if (sg_utf8_code(chars->s.text + i) == code)
            return true;
    return false;
}

sg_status sg_tpl_strip(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_value *chars, bool left, bool right,
                       sg_tpl_value *out)
{
    sg_tpl_value v;
    SG_TRY(text_of(t, in, "strip", &v));
    SG_TRY(sg_tpl_step(t, (int64_t)(v.s.n / 64)));
    const char *start = v.s.text, *end = start + v.s.n;
    while (left && start < end && strips(sg_utf8_code(start), chars))
        start += sg_utf8_length(*start);
    while (right && end > start) {
        const char *last = end - 1;
        while (((unsigned char)*last & 0xC0) == 0x80)
            last--;
        if (!strips(sg_utf8_code(last), chars))
            break;
        end = last;
    }
    *out = sg_tpl_text(start, (size_t)(end - start));
    return SG_OK;
}

static const char *search(const char *text, const char *end, const char *part, size_t n)
{
    for (; (size_t)(end - text) >= n && n; text++) {
        text = memchr(text, part[0], (size_t)(end - text) - n + 1);
        if (!text || memcmp(text, part, n) == 0)
            return text;
    }
    return NULL;
}

sg_status sg_tpl_replace(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_value *from, const sg_tpl_value *to,
                         int64_t most, sg_tpl_value *out)
{
    sg_tpl_value v;
    SG_TRY(text_of(t, in, "replace", &v));
    if (!from || !to || from->kind != SG_TPL_STRING || to->kind != SG_TPL_STRING)
        return sg_tpl_fail(t, SG_EFORMAT, "replace wants two texts");
    if (from->s.n == 0)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "replace of an empty text");
    sg_str made = {0};
    sg_str_puts(&made, "");
    const char *at = v.s.text, *end = at + v.s.n;
    for (int64_t n = 0; most < 0 || n < most; n++) {
        const char *found = search(at, end, from->s.text, from->s.n);
        if (!found || made.bytes > SG_TPL_OUTPUT)
            break;
        sg_str_append(&made, at, (size_t)(found - at));
        sg_str_append(&made, to->s.text, to->s.n);
        at = found + from->s.n;
    }
    if (made.bytes > SG_TPL_OUTPUT) {
        sg_str_free(&made);
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "a text of more than %u MiB", SG_TPL_OUTPUT >> 20);
    }
    sg_str_append(&made, at, (size_t)(end - at));
    return sg_tpl_take(t, &made, out);
}

sg_status sg_tpl_recase(sg_tpl *t, const sg_tpl_value *in, sg_tpl_case how, sg_tpl_value *out)
{
    sg_tpl_value v;
    SG_TRY(text_of(t, in, "a case", &v));
    sg_str made = {0};
    sg_str_puts(&made, "");
    bool inside = false; /* a word has begun */
    for (size_t i = 0; i < v.s.n; i += sg_utf8_length(v.s.text[i])) {
        const int32_t code = sg_utf8_code(v.s.text + i);
        const bool upper =
            how == SG_TPL_UPPER || (how == SG_TPL_TITLE && !inside) || (how == SG_TPL_CAPITALIZE && i == 0);
        char bytes[4];
        const utf8proc_ssize_t n =
            utf8proc_encode_char(upper ? utf8proc_toupper(code) : utf8proc_tolower(code), (utf8proc_uint8_t *)bytes);
        sg_str_append(&made, bytes, (size_t)n);
        const utf8proc_category_t c = utf8proc_category(code);
        inside = c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
    }
    return sg_tpl_take(t, &made, out);
}

sg_status sg_tpl_items(sg_tpl *t, const sg_tpl_map *map, bool keys, bool values, sg_tpl_value *out)
{
    SG_TRY(sg_tpl_new_list(t, map->n, out));
    for (size_t i = 0; i < map->n; i++) {
        const sg_tpl_entry *e = &map->entries[i];
        sg_tpl_value pair, key = sg_tpl_text(e->key, e->n_key);
        if (keys && values) {
            SG_TRY(sg_tpl_new_list(t, 2, &pair));
            pair.list->tuple = true;
            SG_TRY(sg_tpl_push(t, pair.list, key));
            SG_TRY(sg_tpl_push(t, pair.list, e->value));
        } else {
            pair = keys ? key : e->value;
        }
        SG_TRY(sg_tpl_push(t, out->list, pair));
    }
    return SG_OK;
}

/* ---- methods of texts ---- */

/* split(), split(sep), split(sep, most): without a separator, at runs of spaces. */
static sg_status split(sg_tpl *t, const sg_tpl_value *on, const sg_tpl_value *sep, int64_t most, sg_tpl_value *out)
{
    const char *at = on->s.text, *end = at + on->s.n;
    SG_TRY(sg_tpl_new_list(t, 0, out));
    if (sep && sep->kind != SG_TPL_NONE) {
        if (sep->kind != SG_TPL_STRING || sep->s.n == 0)
            return sg_tpl_fail(t, SG_EFORMAT, "split by an empty text, or by none");
        for (const char *found;
             (most < 0 || (int64_t)out->list->n < most) && (found = search(at, end, sep->s.text, sep->s.n));
             at = found + sep->s.n)
            SG_TRY(sg_tpl_push(t, out->list, sg_tpl_text(at, (size_t)(found - at))));
        return sg_tpl_push(t, out->list, sg_tpl_text(at, (size_t)(end - at)));
    }
    for (;;) {
        while (at < end && sg_tpl_space(sg_utf8_code(at)))
            at += sg_utf8_length(*at);
        if (at == end)
            return SG_OK;
        const char *start = at;
        if (most >= 0 && (int64_t)out->list->n == most)
            return sg_tpl_push(t, out->list, sg_tpl_text(at, (size_t)(end - at)));
        while (at < end && !sg_tpl_space(sg_utf8_code(at)))
            at += sg_utf8_length(*at);
        SG_TRY(sg_tpl_push(t, out->list, sg_tpl_text(start, (size_t)(at - start))));
    }
}

/* rsplit(sep, most): the last `most` separators cut. */
static sg_status rsplit(sg_tpl *t, const sg_tpl_value *on, const sg_tpl_value *sep, int64_t most, sg_tpl_value *out)
{
    sg_tpl_value all;
    SG_TRY(split(t, on, sep, -1, &all));
    if (most < 0 || (int64_t)all.list->n <= most + 1) {
        *out = all;
        return SG_OK;
    }
    if (!sep || sep->kind == SG_TPL_NONE)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "rsplit without a separator is not supported");
    const sg_tpl_value *after = &all.list->items[all.list->n - (size_t)most - 1];
    SG_TRY(sg_tpl_new_list(t, 0, out));
    SG_TRY(sg_tpl_push(t, out->list, sg_tpl_text(on->s.text, (size_t)(after->s.text + after->s.n - on->s.text))));
    for (size_t i = all.list->n - (size_t)most; i < all.list->n; i++)
        SG_TRY(sg_tpl_push(t, out->list, all.list->items[i]));
    return SG_OK;
}

static sg_status splitlines(sg_tpl *t, const sg_tpl_value *on, sg_tpl_value *out)
{
    const char *at = on->s.text, *end = at + on->s.n;
    SG_TRY(sg_tpl_new_list(t, 0, out));
    while (at < end) {
        const char *stop = at;
        while (stop < end && *stop != '\n' && *stop != '\r')
            stop++;
        SG_TRY(sg_tpl_push(t, out->list, sg_tpl_text(at, (size_t)(stop - at))));
        at = stop + (stop < end) + (stop + 1 < end && stop[0] == '\r' && stop[1] == '\n');
    }
    return SG_OK;
}

static bool has_end(const sg_tpl_value *on, const sg_tpl_value *part, bool front)
{
    return part->kind == SG_TPL_STRING && part->s.n <= on->s.n &&
           memcmp(on->s.text + (front ? 0 : on->s.n - part->s.n), part->s.text, part->s.n) == 0;
}

/* startswith and endswith, of one text or a tuple of them. */
static sg_status ends(sg_tpl *t, const sg_tpl_value *on, const sg_tpl_value *part, bool front, sg_tpl_value *out)
{
    if (!part || (part->kind != SG_TPL_STRING && part->kind != SG_TPL_LIST))
        return sg_tpl_fail(t, SG_EFORMAT, "%s wants a text", front ? "startswith" : "endswith");
    *out = sg_tpl_bool(has_end(on, part, front));
    for (size_t i = 0; part->kind == SG_TPL_LIST && i < part->list->n; i++)
        out->b |= has_end(on, &part->list->items[i], front);
    return SG_OK;
}

static sg_status find(sg_tpl *t, const sg_tpl_value *on, const sg_tpl_value *part, bool last, sg_tpl_value *out)
{
    if (!part || part->kind != SG_TPL_STRING)
        return sg_tpl_fail(t, SG_EFORMAT, "find wants a text");
    SG_TRY(sg_tpl_step(t, (int64_t)(on->s.n / 16)));
    const char *end = on->s.text + on->s.n,
               *found = part->s.n ? search(on->s.text, end, part->s.text, part->s.n) : on->s.text;
    for (const char *next = found; last && next && part->s.n;) {
        next = search(next + 1, end, part->s.text, part->s.n);
        found = next ? next : found;
    }
    *out = sg_tpl_int(found ? (int64_t)sg_tpl_characters(on->s.text, (size_t)(found - on->s.text)) : -1);
    return SG_OK;
}

static sg_status count(sg_tpl *t, const sg_tpl_value *on, const sg_tpl_value *part, sg_tpl_value *out)
{
    if (!part || part->kind != SG_TPL_STRING || part->s.n == 0)
        return sg_tpl_fail(t, SG_EFORMAT, "count wants a text");
    int64_t n = 0;
    SG_TRY(sg_tpl_step(t, (int64_t)(on->s.n / 16)));
    for (const char *at = on->s.text, *end = at + on->s.n; (at = search(at, end, part->s.text, part->s.n));
         at += part->s.n)
        n++;
    *out = sg_tpl_int(n);
    return SG_OK;
}

static sg_status join(sg_tpl *t, const sg_tpl_value *by, const sg_tpl_value *items, sg_tpl_value *out)
{
    sg_tpl_list *list;
    sg_str text = {0};
    if (!items)
        return sg_tpl_fail(t, SG_EFORMAT, "join wants a list");
    SG_TRY(sg_tpl_iterate(t, items, &list));
    sg_str_puts(&text, "");
    sg_status status = SG_OK;
    for (size_t i = 0; i < list->n && status == SG_OK; i++) {
        if (i)
            sg_str_append(&text, by->s.text, by->s.n);
        status = list->items[i].kind == SG_TPL_STRING
                     ? sg_tpl_write(t, &text, &list->items[i])
                     : sg_tpl_fail(t, SG_EFORMAT, "joins %s", sg_tpl_kind_name(&list->items[i]));
    }
    if (status == SG_OK)
        return sg_tpl_take(t, &text, out);
    sg_str_free(&text);
    return status;
}

/* Whether all characters are of a class, and there are some. */
static bool all_of(const sg_tpl_value *on, bool digits, bool letters)
{
    for (size_t i = 0; i < on->s.n; i += sg_utf8_length(on->s.text[i])) {
        const utf8proc_category_t c = utf8proc_category(sg_utf8_code(on->s.text + i));
        const bool letter = c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
        if (!(digits && c == UTF8PROC_CATEGORY_ND) && !(letters && letter))
            return false;
    }
    return on->s.n > 0;
}

static bool all_spaces(const sg_tpl_value *on)
{
    for (size_t i = 0; i < on->s.n; i += sg_utf8_length(on->s.text[i]))
        if (!sg_tpl_space(sg_utf8_code(on->s.text + i)))
            return false;
    return on->s.n > 0;
}

enum method {
    STRIP,
    LSTRIP,
    RSTRIP,
    SPLIT,
    RSPLIT,
    SPLITLINES,
    STARTSWITH,
    ENDSWITH,
    UPPER,
    LOWER,
    TITLE,
    CAPITALIZE,
    REPLACE,
    FIND,
    RFIND,
    COUNT,
    JOIN,
    ISDIGIT,
    ISALPHA,
    ISALNUM,
    ISSPACE,
    REMOVEPREFIX,
    REMOVESUFFIX,
    N_METHODS
};
static const char *const method_names[] = {
    "strip", "lstrip",  "rstrip",  "split",      "rsplit",  "splitlines",   "startswith",   "endswith",
    "upper", "lower",   "title",   "capitalize", "replace", "find",         "rfind",        "count",
    "join",  "isdigit", "isalpha", "isalnum",    "isspace", "removeprefix", "removesuffix",
};

static sg_status text_method(sg_tpl *t, enum method method, const sg_tpl_value *on, const sg_tpl_args *args,
                             sg_tpl_value *out)
{
    const sg_tpl_value *first = sg_tpl_arg(args, 0, NULL), *second = sg_tpl_arg(args, 1, NULL);
    const sg_tpl_value *named = sg_tpl_arg(args, -1, "maxsplit");
    int64_t most = -1;
    switch (method) {
    case STRIP:
    case LSTRIP:
    case RSTRIP:
        return sg_tpl_strip(t, on, first, method != RSTRIP, method != LSTRIP, out);
    case SPLIT:
    case RSPLIT:
        first = first ? first : sg_tpl_arg(args, -1, "sep");
        if ((second || named) && !sg_tpl_whole(named ? named : second, &most))
            return sg_tpl_fail(t, SG_EFORMAT, "split at most %s times", sg_tpl_kind_name(named ? named : second));
        return (method == SPLIT ? split : rsplit)(t, on, first, most, out);
    case SPLITLINES:
        return splitlines(t, on, out);
    case STARTSWITH:
    case ENDSWITH:
        return ends(t, on, first, method == STARTSWITH, out);
    case UPPER:
    case LOWER:
    case TITLE:
    case CAPITALIZE:
        return sg_tpl_recase(t, on, SG_TPL_UPPER + (sg_tpl_case)(method - UPPER), out);
    case REPLACE:
        if (args->n > 2 && !sg_tpl_whole(&args->at[2], &most))
            return sg_tpl_fail(t, SG_EFORMAT, "replace %s times", sg_tpl_kind_name(&args->at[2]));
        return sg_tpl_replace(t, on, first, second, most, out);
    case FIND:
    case RFIND:
        return find(t, on, first, method == RFIND, out);
    case COUNT:
        return count(t, on, first, out);
    case JOIN:
        return join(t, on, first, out);
    case ISSPACE:
        *out = sg_tpl_bool(all_spaces(on));
        return SG_OK;
    case REMOVEPREFIX:
    case REMOVESUFFIX:
        *out = *on;
        if (first && has_end(on, first, method == REMOVEPREFIX))
            *out = sg_tpl_text(on->s.text + (method == REMOVEPREFIX ? first->s.n : 0), on->s.n - first->s.n);
        return SG_OK;
    default:
        *out = sg_tpl_bool(all_of(on, method != ISALPHA, method != ISDIGIT));
        return SG_OK;
    }
}

static sg_status map_method(sg_tpl *t, const sg_tpl_value *on, const sg_tpl_value *name, const sg_tpl_args *args,
                            sg_tpl_value *out, bool *found)
{
    *found = true;
    if (is_name(name, "items") && args->n == 0)
        return sg_tpl_items(t, on->map, true, true, out);
    if (is_name(name, "keys") && args->n == 0)
        return sg_tpl_items(t, on->map, true, false, out);
    if (is_name(name, "values") && args->n == 0)
        return sg_tpl_items(t, on->map, false, true, out);
    if (is_name(name, "get") && args->n >= 1) {
        const sg_tpl_value *value =
            args->at[0].kind == SG_TPL_STRING ? sg_tpl_get(on->map, args->at[0].s.text, args->at[0].s.n) : NULL;
        const sg_tpl_value *fallback = sg_tpl_arg(args, 1, NULL);
        *out = value ? *value : fallback ? *fallback : sg_tpl_none();
        return SG_OK;
    }
    *found = false;
    return SG_OK;
}

static sg_status loop_method(sg_tpl *t, sg_tpl_loop *loop, const sg_tpl_value *name, const sg_tpl_args *args,
                             sg_tpl_value *out, bool *found)
{
    *found = true;
    if (is_name(name, "cycle") && args->n > 0) {
        *out = args->at[loop->i % (size_t)args->n];
        return SG_OK;
    }
    if (is_name(name, "changed") && args->n == 1) {
        bool same = false;
        if (loop->i > 0)
            SG_TRY(sg_tpl_equal(t, &loop->changed, &args->at[0], &same));
        loop->changed = args->at[0];
        *out = sg_tpl_bool(!same);
        return SG_OK;
    }
    *found = false;
    return SG_OK;
}

sg_status sg_tpl_method(sg_tpl *t, const sg_tpl_value *on, const char *name, size_t n_name, const sg_tpl_args *args,
                        sg_tpl_value *out, bool *found)
{
    const sg_tpl_value key = sg_tpl_text(name, n_name);
    *found = false;
    if (on->kind == SG_TPL_STRING) {
        for (int i = 0; i < N_METHODS; i++) {
            if (is_name(&key, method_names[i])) {
                *found = true;
                return text_method(t, (enum method)i, on, args, out);
            }
        }
    }
    if (on->kind == SG_TPL_MAP)
        return map_method(t, on, &key, args, out, found);
    if (on->kind == SG_TPL_LOOP)
        return loop_method(t, on->loop, &key, args, out, found);
    if (on->kind == SG_TPL_LIST && is_name(&key, "index") && args->n == 1) {
        bool same = false;
        for (size_t i = 0; i < on->list->n && !same; i++) {
            SG_TRY(sg_tpl_equal(t, &on->list->items[i], &args->at[0], &same));
            *out = sg_tpl_int((int64_t)i);
        }
        *found = same;
        return same ? SG_OK : sg_tpl_fail(t, SG_EFORMAT, "index of what is not in the list");
    }
    return SG_OK;
}
