/* Values of templates: made, compared, written as Python writes them. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/template_internal.h"
#include "io/tokenizer_internal.h"

/* ---- making ---- */

void *sg_tpl_memory(sg_tpl *t, size_t bytes)
{
    const bool within = bytes <= SG_TPL_MEMORY && sg_arena_used(t->arena) <= SG_TPL_MEMORY;
    return within ? sg_arena_alloc(t->arena, bytes + 1) : NULL;
}

sg_status sg_tpl_no_memory(sg_tpl *t)
{
    if (sg_arena_used(t->arena) > SG_TPL_MEMORY / 2)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "takes more than %u MiB of memory", SG_TPL_MEMORY >> 20);
    return sg_tpl_fail(t, SG_ENOMEM, "out of memory");
}

sg_tpl_value sg_tpl_none(void)
{
    return (sg_tpl_value){.kind = SG_TPL_NONE};
}

sg_tpl_value sg_tpl_bool(bool b)
{
    return (sg_tpl_value){.kind = SG_TPL_BOOL, .b = b};
}

sg_tpl_value sg_tpl_int(int64_t i)
{
    return (sg_tpl_value){.kind = SG_TPL_INT, .i = i};
}

sg_tpl_value sg_tpl_float(double f)
{
    return (sg_tpl_value){.kind = SG_TPL_FLOAT, .f = f};
}

sg_tpl_value sg_tpl_text(const char *text, size_t n)
{
    return (sg_tpl_value){.kind = SG_TPL_STRING, .s = {text, n}};
}

sg_tpl_value sg_tpl_undefined(const char *name, size_t n)
{
    return (sg_tpl_value){.kind = SG_TPL_UNDEFINED, .s = {name, n}};
}

sg_status sg_tpl_copy(sg_tpl *t, const char *text, size_t n, sg_tpl_value *out)
{
    char *copy;
    SG_TRY(sg_tpl_step(t, (int64_t)(n / 64)));
    SG_TRY(SG_TPL_ALLOC(t, &copy, n));
    if (n)
        memcpy(copy, text, n);
    *out = sg_tpl_text(copy, n);
    return SG_OK;
}

sg_status sg_tpl_take(sg_tpl *t, sg_str *s, sg_tpl_value *out)
{
    const sg_status status =
        s->failed ? sg_tpl_fail(t, SG_ENOMEM, "out of memory") : sg_tpl_copy(t, s->text, s->bytes, out);
    sg_str_free(s);
    return status;
}

sg_status sg_tpl_new_list(sg_tpl *t, size_t capacity, sg_tpl_value *out)
{
    sg_tpl_list *list;
    SG_TRY(SG_TPL_ALLOC(t, &list, sizeof *list));
    if (capacity) {
        if (capacity > SG_TPL_MEMORY / sizeof *list->items)
            return sg_tpl_fail(t, SG_EUNSUPPORTED, "a list of %zu items", capacity);
        SG_TRY(SG_TPL_ALLOC(t, &list->items, capacity * sizeof *list->items));
    }
    list->capacity = capacity;
    *out = (sg_tpl_value){.kind = SG_TPL_LIST, .list = list};
    return SG_OK;
}

sg_status sg_tpl_push(sg_tpl *t, sg_tpl_list *list, sg_tpl_value item)
{
    SG_TRY(sg_tpl_step(t, 1));
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 8;
        sg_tpl_value *items;
        SG_TRY(SG_TPL_ALLOC(t, &items, capacity * sizeof *items));
        if (list->n)
            memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = item;
    return SG_OK;
}

sg_status sg_tpl_new_map(sg_tpl *t, sg_tpl_value *out)
{
    sg_tpl_map *map;
    SG_TRY(SG_TPL_ALLOC(t, &map, sizeof *map));
    *out = (sg_tpl_value){.kind = SG_TPL_MAP, .map = map};
    return SG_OK;
}

const sg_tpl_value *sg_tpl_get(const sg_tpl_map *map, const char *key, size_t n)
{
    for (size_t i = 0; i < map->n; i++)
        if (map->entries[i].n_key == n && memcmp(map->entries[i].key, key, n) == 0)
            return &map->entries[i].value;
    return NULL;
}

sg_status sg_tpl_put(sg_tpl *t, sg_tpl_map *map, const char *key, size_t n, sg_tpl_value value)
{
    SG_TRY(sg_tpl_step(t, 1 + (int64_t)(map->n / 16)));
    for (size_t i = 0; i < map->n; i++) {
        if (map->entries[i].n_key == n && memcmp(map->entries[i].key, key, n) == 0) {
            map->entries[i].value = value;
            return SG_OK;
        }
    }
    if (map->n == map->capacity) {
        const size_t capacity = map->capacity ? 2 * map->capacity : 8;
        sg_tpl_entry *entries;
        SG_TRY(SG_TPL_ALLOC(t, &entries, capacity * sizeof *entries));
        if (map->n)
            memcpy(entries, map->entries, map->n * sizeof *entries);
        map->entries = entries;
        map->capacity = capacity;
    }
    map->entries[map->n++] = (sg_tpl_entry){key, n, value};
    return SG_OK;
}

sg_status sg_tpl_of_json(sg_tpl *t, json_t *json, int depth, sg_tpl_value *out)
{
    SG_TRY(sg_tpl_step(t, 1));
    if (depth > SG_TPL_DEPTH)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "variables nest more than %d deep", SG_TPL_DEPTH);
    switch (json_typeof(json)) {
    case JSON_OBJECT: {
        const char *key;
        json_t *value;
        SG_TRY(sg_tpl_new_map(t, out));
        json_object_foreach(json, key, value)
        {
            sg_tpl_value name, item;
            SG_TRY(sg_tpl_copy(t, key, strlen(key), &name));
            SG_TRY(sg_tpl_of_json(t, value, depth + 1, &item));
            SG_TRY(sg_tpl_put(t, out->map, name.s.text, name.s.n, item));
        }
        return SG_OK;
    }
    case JSON_ARRAY:
        SG_TRY(sg_tpl_new_list(t, json_array_size(json), out));
        for (size_t i = 0; i < json_array_size(json); i++) {
            sg_tpl_value item;
            SG_TRY(sg_tpl_of_json(t, json_array_get(json, i), depth + 1, &item));
            SG_TRY(sg_tpl_push(t, out->list, item));
        }
        return SG_OK;
    case JSON_STRING:
        return sg_tpl_copy(t, json_string_value(json), json_string_length(json), out);
    case JSON_INTEGER:
        *out = sg_tpl_int(json_integer_value(json));
        return SG_OK;
    case JSON_REAL:
        *out = sg_tpl_float(json_real_value(json));
        return SG_OK;
    case JSON_NULL:
        *out = sg_tpl_none();
        return SG_OK;
    default:
        *out = sg_tpl_bool(json_is_true(json));
        return SG_OK;
    }
}

/* ---- asking ---- */

bool sg_tpl_is(const sg_tpl_value *v, const char *text)
{
    return v->kind == SG_TPL_STRING && v->s.n == strlen(text) && memcmp(v->s.text, text, v->s.n) == 0;
}

bool sg_tpl_true(const sg_tpl_value *v)
{
    switch (v->kind) {
    case SG_TPL_BOOL:
        return v->b;
    case SG_TPL_INT:
        return v->i != 0;
    case SG_TPL_FLOAT:
        return v->f < 0 || v->f > 0 || isnan(v->f);
    case SG_TPL_STRING:
        return v->s.n > 0;
    case SG_TPL_LIST:
        return v->list->n > 0;
    case SG_TPL_MAP:
        return v->map->space || v->map->n > 0;
    default:
        return v->kind != SG_TPL_UNDEFINED && v->kind != SG_TPL_NONE;
    }
}

bool sg_tpl_whole(const sg_tpl_value *v, int64_t *out)
{
    *out = v->kind == SG_TPL_BOOL ? v->b : v->kind == SG_TPL_INT ? v->i : 0;
    return v->kind == SG_TPL_BOOL || v->kind == SG_TPL_INT;
}

bool sg_tpl_number(const sg_tpl_value *v, double *out)
{
    int64_t whole;
    if (sg_tpl_whole(v, &whole)) {
        *out = (double)whole;
        return true;
    }
    *out = v->kind == SG_TPL_FLOAT ? v->f : 0;
    return v->kind == SG_TPL_FLOAT;
}

const char *sg_tpl_kind_name(const sg_tpl_value *v)
{
    static const char *const names[] = {"undefined", "none",  "a bool",  "a whole number", "a number", "a text",
                                        "a list",    "a map", "a macro", "a function",     "a loop"};
    return names[v->kind];
}

size_t sg_tpl_characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

bool sg_tpl_space(int32_t code)
{
    return sg_is_space(code) || (code >= 0x1C && code <= 0x1F);
}

/* ---- comparing ---- */

static sg_status equal_lists(sg_tpl *t, const sg_tpl_list *a, const sg_tpl_list *b, bool *out)
{
    *out = a->n == b->n && a->tuple == b->tuple;
    for (size_t i = 0; i < a->n && *out; i++)
        SG_TRY(sg_tpl_equal(t, &a->items[i], &b->items[i], out));
    return SG_OK;
}

static sg_status equal_maps(sg_tpl *t, const sg_tpl_map *a, const sg_tpl_map *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++) {
        const sg_tpl_value *other = sg_tpl_get(b, a->entries[i].key, a->entries[i].n_key);
        *out = other != NULL;
        if (other)
            SG_TRY(sg_tpl_equal(t, &a->entries[i].value, other, out));
    }
    return SG_OK;
}

sg_status sg_tpl_equal(sg_tpl *t, const sg_tpl_value *a, const sg_tpl_value *b, bool *out)
{
    double x, y;
    int64_t i, k;
    SG_TRY(sg_tpl_step(t, 1));
    *out = false;
    if (sg_tpl_whole(a, &i) && sg_tpl_whole(b, &k)) {
        *out = i == k;
    } else if (sg_tpl_number(a, &x) && sg_tpl_number(b, &y)) {
        *out = !(x < y) && !(x > y) && !isnan(x) && !isnan(y);
    } else if (a->kind == b->kind) {
        switch (a->kind) {
        case SG_TPL_STRING:
            *out = a->s.n == b->s.n && memcmp(a->s.text, b->s.text, a->s.n) == 0;
            break;
        case SG_TPL_LIST:
            return equal_lists(t, a->list, b->list, out);
        case SG_TPL_MAP:
            if (a->map->space || b->map->space)
                *out = a->map == b->map;
            else
                return equal_maps(t, a->map, b->map, out);
            break;
        case SG_TPL_MACRO:
            *out = a->macro == b->macro;
            break;
        case SG_TPL_LOOP:
            *out = a->loop == b->loop;
            break;
        default:
            *out = true;
            break;
        }
    }
    return SG_OK;
}

sg_status sg_tpl_compare(sg_tpl *t, const sg_tpl_value *a, const sg_tpl_value *b, int *out)
{
    double x, y;
    SG_TRY(sg_tpl_step(t, 1));
    if (sg_tpl_number(a, &x) && sg_tpl_number(b, &y)) {
        *out = (x > y) - (x < y);
        return SG_OK;
    }
    if (a->kind == SG_TPL_STRING && b->kind == SG_TPL_STRING) {
        const int order = memcmp(a->s.text, b->s.text, SG_MIN(a->s.n, b->s.n));
        *out = order ? order : (a->s.n > b->s.n) - (a->s.n < b->s.n);
        return SG_OK;
    }
    return sg_tpl_fail(t, SG_EFORMAT, "%s and %s have no order", sg_tpl_kind_name(a), sg_tpl_kind_name(b));
}

static bool holds(const char *text, size_t n, const char *part, size_t n_part)
{
    for (const char *s = text; (size_t)(text + n - s) >= n_part; s++) {
        s = n_part ? memchr(s, part[0], (size_t)(text + n - s) - n_part + 1) : s;
        if (!s)
            return false;
        if (memcmp(s, part, n_part) == 0)
            return true;
    }
    return false;
}

sg_status sg_tpl_in(sg_tpl *t, const sg_tpl_value *item, const sg_tpl_value *in, bool *out)
{
    *out = false;
    switch (in->kind) {
    case SG_TPL_UNDEFINED:
        return SG_OK;
    case SG_TPL_STRING:
        if (item->kind != SG_TPL_STRING)
            return sg_tpl_fail(t, SG_EFORMAT, "looks for %s in a text", sg_tpl_kind_name(item));
        SG_TRY(sg_tpl_step(t, (int64_t)(in->s.n / 16)));
        *out = holds(in->s.text, in->s.n, item->s.text, item->s.n);
        return SG_OK;
    case SG_TPL_MAP:
        *out = item->kind == SG_TPL_STRING && sg_tpl_get(in->map, item->s.text, item->s.n);
        return SG_OK;
    case SG_TPL_LIST:
        for (size_t i = 0; i < in->list->n && !*out; i++)
            SG_TRY(sg_tpl_equal(t, item, &in->list->items[i], out));
        return SG_OK;
    default:
        return sg_tpl_fail(t, SG_EFORMAT, "looks for something in %s", sg_tpl_kind_name(in));
    }
}

sg_status sg_tpl_iterate(sg_tpl *t, const sg_tpl_value *v, sg_tpl_list **out)
{
    sg_tpl_value list;
    if (v->kind == SG_TPL_LIST) {
        *out = v->list;
        return SG_OK;
    }
    if (v->kind != SG_TPL_UNDEFINED && v->kind != SG_TPL_MAP && v->kind != SG_TPL_STRING)
        return sg_tpl_fail(t, SG_EFORMAT, "goes through the items of %s", sg_tpl_kind_name(v));
    SG_TRY(sg_tpl_new_list(t, 0, &list));
    *out = list.list;
    if (v->kind == SG_TPL_MAP)
        for (size_t i = 0; i < v->map->n; i++)
            SG_TRY(sg_tpl_push(t, *out, sg_tpl_text(v->map->entries[i].key, v->map->entries[i].n_key)));
    if (v->kind == SG_TPL_STRING)
        for (size_t i = 0, n; i < v->s.n; i += n) {
            n = sg_utf8_length(v->s.text[i]);
            SG_TRY(sg_tpl_push(t, *out, sg_tpl_text(v->s.text + i, n)));
        }
    return SG_OK;
}

/* ---- writing ---- */

/* The fewest digits that read back as the same number, laid out as Python's repr(). */
static void write_float(sg_str *out, double f)
{
    char digits[32];
    if (isnan(f) || isinf(f)) {
        sg_str_puts(out, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    int n = 0;
    double back;
    do {
        snprintf(digits, sizeof digits, "%.*e", n, f);
        back = strtod(digits, NULL);
    } while ((back < f || back > f) && ++n < 17);
    const int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent >= 16 || exponent < -4) {
        *strchr(digits, 'e') = '\0';
        sg_str_printf(out, "%se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
    } else {
        sg_str_printf(out, "%.*f", SG_MAX(n - exponent, 1), f);
    }
}

static sg_status bound(sg_tpl *t, const sg_str *out)
{
    if (out->failed)
        return sg_tpl_fail(t, SG_ENOMEM, "out of memory");
    return out->bytes > SG_TPL_OUTPUT ? sg_tpl_fail(t, SG_EUNSUPPORTED, "writes more than %u MiB", SG_TPL_OUTPUT >> 20)
                                      : SG_OK;
}

static void repr_text(sg_str *out, const char *text, size_t n)
{
    const bool apostrophe = memchr(text, '\'', n) != NULL, quote = memchr(text, '"', n) != NULL;
    const char mark = apostrophe && !quote ? '"' : '\'';
    sg_str_append(out, &mark, 1);
    for (size_t i = 0, bytes; i < n; i += bytes) {
        bytes = SG_MIN(sg_utf8_length(text[i]), n - i);
        const unsigned char c = (unsigned char)text[i];
        if (c == '\n' || c == '\r' || c == '\t')
            sg_str_puts(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (c < 0x20 || c == 0x7F)
            sg_str_printf(out, "\\x%02x", c);
        else {
            if (c == '\\' || c == (unsigned char)mark)
                sg_str_puts(out, "\\");
            sg_str_append(out, text + i, bytes);
        }
    }
    sg_str_append(out, &mark, 1);
}

static sg_status repr_items(sg_tpl *t, sg_str *out, const sg_tpl_value *v)
{
    if (++t->depth > 4 * SG_TPL_DEPTH)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "a value nests too deep to be written");
    if (v->kind == SG_TPL_LIST) {
        sg_str_puts(out, v->list->tuple ? "(" : "[");
        for (size_t i = 0; i < v->list->n; i++) {
            sg_str_puts(out, i ? ", " : "");
            SG_TRY(sg_tpl_repr(t, out, &v->list->items[i]));
        }
        sg_str_puts(out, v->list->tuple ? (v->list->n == 1 ? ",)" : ")") : "]");
    } else {
        sg_str_puts(out, "{");
        for (size_t i = 0; i < v->map->n; i++) {
            sg_str_puts(out, i ? ", " : "");
            repr_text(out, v->map->entries[i].key, v->map->entries[i].n_key);
            sg_str_puts(out, ": ");
            SG_TRY(sg_tpl_repr(t, out, &v->map->entries[i].value));
        }
        sg_str_puts(out, "}");
    }
    t->depth--;
    return SG_OK;
}

sg_status sg_tpl_repr(sg_tpl *t, sg_str *out, const sg_tpl_value *v)
{
    SG_TRY(sg_tpl_step(t, 1));
    SG_TRY(bound(t, out));
    switch (v->kind) {
    case SG_TPL_STRING:
        repr_text(out, v->s.text, v->s.n);
        return SG_OK;
    case SG_TPL_LIST:
    case SG_TPL_MAP:
        return repr_items(t, out, v);
    case SG_TPL_UNDEFINED:
        sg_str_puts(out, "Undefined");
        return SG_OK;
    default:
        return sg_tpl_write(t, out, v);
    }
}

sg_status sg_tpl_write(sg_tpl *t, sg_str *out, const sg_tpl_value *v)
{
    switch (v->kind) {
    case SG_TPL_UNDEFINED:
        break;
    case SG_TPL_NONE:
        sg_str_puts(out, "None");
        break;
    case SG_TPL_BOOL:
        sg_str_puts(out, v->b ? "True" : "False");
        break;
    case SG_TPL_INT:
        sg_str_printf(out, "%" PRId64, v->i);
        break;
    case SG_TPL_FLOAT:
        write_float(out, v->f);
        break;
    case SG_TPL_STRING:
        SG_TRY(sg_tpl_step(t, (int64_t)(v->s.n / 64)));
        sg_str_append(out, v->s.text, v->s.n);
        break;
    case SG_TPL_LIST:
    case SG_TPL_MAP:
        SG_TRY(sg_tpl_repr(t, out, v));
        break;
    default:
        return sg_tpl_fail(t, SG_EFORMAT, "writes %s", sg_tpl_kind_name(v));
    }
    return bound(t, out);
}

/* ---- JSON ---- */

static void json_text(sg_str *out, const char *text, size_t n)
{
    sg_str_puts(out, "\"");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        static const char from[] = "\n\r\t\b\f\"\\", to[] = "nrtbf\"\\";
        const char *known = c ? strchr(from, c) : NULL;
        if (known)
            sg_str_append(out, (const char[]){'\\', to[known - from]}, 2);
        else if (c < 0x20)
            sg_str_printf(out, "\\u%04x", c);
        else
            sg_str_append(out, text + i, 1);
    }
    sg_str_puts(out, "\"");
}

static void json_break(sg_str *out, int indent, int level, bool first)
{
    if (indent < 0) {
        sg_str_puts(out, first ? "" : ", ");
        return;
    }
    sg_str_puts(out, first ? "\n" : ",\n");
    for (int i = 0; i < indent * level; i++)
        sg_str_append(out, " ", 1);
}

static int by_key(const void *a, const void *b)
{
    const sg_tpl_entry *x = a, *y = b;
    const int order = memcmp(x->key, y->key, SG_MIN(x->n_key, y->n_key));
    return order ? order : (x->n_key > y->n_key) - (x->n_key < y->n_key);
}

static sg_status write_json(sg_tpl *t, sg_str *out, const sg_tpl_value *v, int indent, bool sort, int level)
{
    SG_TRY(sg_tpl_step(t, 1));
    SG_TRY(bound(t, out));
    if (level > SG_TPL_DEPTH)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "tojson of a value that nests more than %d deep", SG_TPL_DEPTH);
    switch (v->kind) {
    case SG_TPL_NONE:
        sg_str_puts(out, "null");
        return SG_OK;
    case SG_TPL_BOOL:
        sg_str_puts(out, v->b ? "true" : "false");
        return SG_OK;
    case SG_TPL_INT:
    case SG_TPL_FLOAT:
        if (v->kind == SG_TPL_FLOAT && !isfinite(v->f)) {
            sg_str_puts(out, isnan(v->f) ? "NaN" : v->f > 0 ? "Infinity" : "-Infinity");
            return SG_OK;
        }
        return sg_tpl_write(t, out, v);
    case SG_TPL_STRING:
        json_text(out, v->s.text, v->s.n);
        return SG_OK;
    case SG_TPL_LIST:
        sg_str_puts(out, "[");
        for (size_t i = 0; i < v->list->n; i++) {
            json_break(out, indent, level + 1, i == 0);
            SG_TRY(write_json(t, out, &v->list->items[i], indent, sort, level + 1));
        }
        if (indent >= 0 && v->list->n)
            json_break(out, indent, level, true);
        sg_str_puts(out, "]");
        return SG_OK;
    case SG_TPL_MAP: {
        sg_tpl_entry *entries = v->map->entries;
        if (sort && v->map->n) {
            SG_TRY(SG_TPL_ALLOC(t, &entries, v->map->n * sizeof *entries));
            memcpy(entries, v->map->entries, v->map->n * sizeof *entries);
            qsort(entries, v->map->n, sizeof *entries, by_key);
        }
        sg_str_puts(out, "{");
        for (size_t i = 0; i < v->map->n; i++) {
            json_break(out, indent, level + 1, i == 0);
            json_text(out, entries[i].key, entries[i].n_key);
            sg_str_puts(out, ": ");
            SG_TRY(write_json(t, out, &entries[i].value, indent, sort, level + 1));
        }
        if (indent >= 0 && v->map->n)
            json_break(out, indent, level, true);
        sg_str_puts(out, "}");
        return SG_OK;
    }
    default:
        return sg_tpl_fail(t, SG_EFORMAT, "tojson of %s", sg_tpl_kind_name(v));
    }
}

sg_status sg_tpl_json(sg_tpl *t, sg_str *out, const sg_tpl_value *v, int indent, bool sort)
{
    return write_json(t, out, v, indent, sort, 0);
}
