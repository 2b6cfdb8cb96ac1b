/* The types of types.def: read, and asked of values.
 *
 * Types live in one arena. A name is looked up when a value is checked, so that types may name each other in any order;
 * that each name exists is made sure of once, when all were read. */
#include "serve/types.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *text, *what;
} table[] = {
#define SERVE_TYPE(name, text, what) {#name, text, what},
#include "serve/types.def"
#undef SERVE_TYPE
};
enum { N_TABLE = SG_COUNT_OF(table), MAX_NESTING = 32 };

struct serve_types {
    sg_arena *arena;
    sg_map *names;
    const serve_type *type[N_TABLE];
};

/* ---- reading ---- */

typedef struct reader {
    serve_types *t;
    const char *name, *text, *at;
    int depth;
    sg_error *err;
} reader;

static sg_status complain(const reader *r, const char *wanted)
{
    return sg_fail(r->err, SG_EARG, "type %s: wanted %s at \"%.30s\"", r->name, wanted, r->at);
}

static void space(reader *r)
{
    for (;;) {
        r->at += strspn(r->at, " \t\n");
        if (r->at[0] != '/' || r->at[1] != '*')
            return;
        const char *end = strstr(r->at + 2, "*/");
        r->at = end ? end + 2 : r->at + strlen(r->at);
    }
}

static bool take(reader *r, const char *mark)
{
    space(r);
    const size_t n = strlen(mark);
    if (strncmp(r->at, mark, n) != 0)
        return false;
    r->at += n;
    return true;
}

static size_t word_bytes(const char *at)
{
    size_t n = 0;
    while ((at[n] >= 'a' && at[n] <= 'z') || (at[n] >= 'A' && at[n] <= 'Z') || at[n] == '_' || at[n] == '$' ||
           (n && at[n] >= '0' && at[n] <= '9'))
        n++;
    return n;
}

static sg_status make(reader *r, serve_type_kind kind, serve_type **out)
{
    *out = sg_arena_alloc(r->t->arena, sizeof **out);
    if (!*out)
        return sg_fail(r->err, SG_ENOMEM, "type %s: out of memory", r->name);
    (*out)->kind = kind;
    return SG_OK;
}

static sg_status make_over(reader *r, serve_type_kind kind, const serve_type *of, serve_type **out)
{
    SG_TRY(make(r, kind, out));
    (*out)->field = sg_arena_array(r->t->arena, 1, sizeof *(*out)->field);
    if (!(*out)->field)
        return sg_fail(r->err, SG_ENOMEM, "type %s: out of memory", r->name);
    (*out)->field[0].type = of;
    (*out)->n = 1;
    return SG_OK;
}

static sg_status read_type(reader *r, serve_type **out);

/* A quoted word, in either kind of quotes and without escapes. */
static sg_status read_quoted(reader *r, const char **out)
{
    const char quote = *r->at, *end = strchr(r->at + 1, quote);
    if (!end)
        return complain(r, "a closing quote");
    *out = sg_arena_strndup(r->t->arena, r->at + 1, (size_t)(end - r->at - 1));
    r->at = end + 1;
    return *out ? SG_OK : sg_fail(r->err, SG_ENOMEM, "type %s: out of memory", r->name);
}

static sg_status read_field(reader *r, serve_type *object, int *capacity)
{
    if (take(r, "[")) { /* [key: string]: unknown */
        r->at = strchr(r->at, ']') ? strchr(r->at, ']') + 1 : r->at;
        if (!take(r, ":") || !take(r, "unknown"))
            return complain(r, "[key: string]: unknown");
        object->open = true;
        return SG_OK;
    }
    if (object->n == *capacity) {
        serve_field *more = sg_arena_array(r->t->arena, (size_t)*capacity * 2 + 4, sizeof *more);
        if (!more)
            return sg_fail(r->err, SG_ENOMEM, "type %s: out of memory", r->name);
        if (object->n)
            memcpy(more, object->field, (size_t)object->n * sizeof *more);
        object->field = more;
        *capacity = *capacity * 2 + 4;
    }
    serve_field *f = &object->field[object->n];
    serve_type *type = NULL;
    space(r);
    if (*r->at == '\'' || *r->at == '"') {
        SG_TRY(read_quoted(r, &f->name));
    } else {
        const size_t n = word_bytes(r->at);
        if (!n)
            return complain(r, "the name of a field");
        f->name = sg_arena_strndup(r->t->arena, r->at, n);
        r->at += n;
    }
    if (!f->name)
        return sg_fail(r->err, SG_ENOMEM, "type %s: out of memory", r->name);
    f->optional = take(r, "?");
    if (!take(r, ":"))
        return complain(r, "a colon");
    SG_TRY(read_type(r, &type));
    f->type = type;
    object->n++;
    return SG_OK;
}

static sg_status read_object(reader *r, serve_type **out)
{
    int capacity = 0;
    SG_TRY(make(r, SERVE_OBJECT, out));
    while (!take(r, "}")) {
        SG_TRY(read_field(r, *out, &capacity));
        if (!take(r, ",") && !take(r, ";")) {
            if (!take(r, "}"))
                return complain(r, "a comma or }");
            break;
        }
    }
    return SG_OK;
}

static sg_status read_word(reader *r, serve_type **out)
{
    static const struct {
        const char *name;
        serve_type_kind kind;
    } words[] = {{"string", SERVE_STRING},   {"number", SERVE_NUMBER}, {"integer", SERVE_INTEGER},
                 {"boolean", SERVE_BOOLEAN}, {"null", SERVE_NULL},     {"unknown", SERVE_UNKNOWN}};
    const size_t n = word_bytes(r->at);
    if (!n)
        return complain(r, "a type");
    for (size_t i = 0; i < SG_COUNT_OF(words); i++) {
        if (strlen(words[i].name) == n && memcmp(words[i].name, r->at, n) == 0) {
            r->at += n;
            return make(r, words[i].kind, out);
        }
    }
    if (n == 6 && memcmp(r->at, "Record", 6) == 0) {
        serve_type *of = NULL;
        r->at += n;
        if (!take(r, "<") || !take(r, "string") || !take(r, ","))
            return complain(r, "Record<string, T>");
        SG_TRY(read_type(r, &of));
        if (!take(r, ">"))
            return complain(r, ">");
        return make_over(r, SERVE_RECORD, of, out);
    }
    SG_TRY(make(r, SERVE_NAMED, out));
    (*out)->text = sg_arena_strndup(r->t->arena, r->at, n);
    r->at += n;
    return (*out)->text ? SG_OK : sg_fail(r->err, SG_ENOMEM, "type %s: out of memory", r->name);
}

static sg_status read_one(reader *r, serve_type **out)
{
    space(r);
    if (*r->at == '{') {
        r->at++;
        SG_TRY(read_object(r, out));
    } else if (*r->at == '(') {
        r->at++;
        SG_TRY(read_type(r, out));
        if (!take(r, ")"))
            return complain(r, ")");
    } else if (*r->at == '\'' || *r->at == '"') {
        SG_TRY(make(r, SERVE_LITERAL, out));
        SG_TRY(read_quoted(r, &(*out)->text));
    } else if ((*r->at >= '0' && *r->at <= '9') || *r->at == '-') {
        char *end;
        SG_TRY(make(r, SERVE_LITERAL, out));
        (*out)->number = strtod(r->at, &end);
        if (end == r->at)
            return complain(r, "a number");
        r->at = end;
    } else {
        SG_TRY(read_word(r, out));
    }
    while (take(r, "[")) {
        const serve_type *of = *out;
        if (!take(r, "]"))
            return complain(r, "]");
        SG_TRY(make_over(r, SERVE_ARRAY, of, out));
    }
    return SG_OK;
}

static sg_status read_type(reader *r, serve_type **out)
{
    serve_type *first = NULL, *last = NULL;
    int n = 0;

    if (++r->depth > MAX_NESTING)
        return complain(r, "less nesting");
    take(r, "|");
    do {
        serve_type *one = NULL;
        SG_TRY(read_one(r, &one));
        if (last)
            last->next = one;
        else
            first = one;
        last = one;
        n++;
    } while (take(r, "|"));
    r->depth--;
    *out = first;
    if (n == 1)
        return SG_OK;
    SG_TRY(make(r, SERVE_UNION, out));
    (*out)->field = sg_arena_array(r->t->arena, (size_t)n, sizeof *(*out)->field);
    if (!(*out)->field)
        return sg_fail(r->err, SG_ENOMEM, "type %s: out of memory", r->name);
    for (serve_type *one = first; one; one = one->next)
        (*out)->field[(*out)->n++].type = one;
    return SG_OK;
}

static sg_status parse(const serve_type **out, serve_types *t, const char *name, const char *text, sg_error *err)
{
    reader r = {t, name, text, text, 0, err};
    serve_type *type = NULL;

    SG_TRY(read_type(&r, &type));
    space(&r);
    if (*r.at)
        return complain(&r, "the end");
    *out = type;
    return SG_OK;
}

/* That every name is one of the table's, and that a name does not stand for itself alone. */
static sg_status resolve(const serve_types *t, const char *name, const serve_type *type, sg_error *err)
{
    if (type->kind == SERVE_NAMED) {
        const serve_type *at = type;
        for (int i = 0; at && at->kind == SERVE_NAMED; i++) {
            if (i > N_TABLE)
                return sg_fail(err, SG_EARG, "type %s: %s stands for itself", name, type->text);
            at = serve_types_find(t, at->text);
        }
        return at ? SG_OK : sg_fail(err, SG_EARG, "type %s: no type is named %s", name, type->text);
    }
    for (int i = 0; i < type->n; i++)
        SG_TRY(resolve(t, name, type->field[i].type, err));
    return SG_OK;
}

sg_status serve_type_parse(const serve_type **out, serve_types *t, const char *name, const char *text, sg_error *err)
{
    SG_TRY(parse(out, t, name, text, err));
    return resolve(t, name, *out, err);
}

sg_status serve_types_new(serve_types **out, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    serve_types *t = arena ? sg_arena_alloc(arena, sizeof *t) : NULL;
    sg_status status = t ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for types");

    if (!t) {
        sg_arena_free(arena);
        return status;
    }
    t->arena = arena;
    t->names = sg_map_new(N_TABLE);
    if (!t->names)
        status = sg_fail(err, SG_ENOMEM, "out of memory for types");
    for (int i = 0; i < N_TABLE && status == SG_OK; i++) {
        status = sg_map_put(t->names, table[i].name, strlen(table[i].name), i);
        if (status == SG_EARG)
            status = sg_fail(err, SG_EARG, "type %s is there twice", table[i].name);
        else if (status == SG_OK)
            status = parse(&t->type[i], t, table[i].name, table[i].text, err);
        else
            status = sg_fail(err, SG_ENOMEM, "out of memory for types");
    }
    for (int i = 0; i < N_TABLE && status == SG_OK; i++)
        status = resolve(t, table[i].name, t->type[i], err);
    if (status != SG_OK) {
        serve_types_free(t);
        return status;
    }
    *out = t;
    return SG_OK;
}

void serve_types_free(serve_types *t)
{
    if (!t)
        return;
    sg_map_free(t->names);
    sg_arena_free(t->arena);
}

int serve_types_count(const serve_types *t)
{
    (void)t;
    return N_TABLE;
}

const char *serve_types_name(const serve_types *t, int i)
{
    (void)t;
    return table[i].name;
}

const char *serve_types_what(const serve_types *t, int i)
{
    (void)t;
    return table[i].what;
}

const serve_type *serve_types_at(const serve_types *t, int i)
{
    return t->type[i];
}

const serve_type *serve_types_find(const serve_types *t, const char *name)
{
    const int32_t i = sg_map_get(t->names, name, strlen(name));
    return i >= 0 ? t->type[i] : NULL;
}

/* ---- asking ---- */

typedef struct checker {
    const serve_types *t;
    serve_misfit misfit;
    size_t path_bytes;
    sg_error *err;
} checker;

static const char *found(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static const serve_type *behind_names(const serve_types *t, const serve_type *type)
{
    while (type->kind == SERVE_NAMED)
        type = serve_types_find(t, type->text);
    return type;
}

static void describe(const serve_types *t, sg_str *s, const serve_type *type)
{
    static const char *const words[] = {
        [SERVE_STRING] = "a string",   [SERVE_NUMBER] = "a number",  [SERVE_INTEGER] = "a whole number",
        [SERVE_BOOLEAN] = "a boolean", [SERVE_NULL] = "null",        [SERVE_UNKNOWN] = "anything",
        [SERVE_ARRAY] = "a list",      [SERVE_OBJECT] = "an object", [SERVE_RECORD] = "an object"};
    type = behind_names(t, type);
    if (type->kind == SERVE_LITERAL && type->text) {
        sg_str_printf(s, "\"%s\"", type->text);
    } else if (type->kind == SERVE_LITERAL) {
        sg_str_printf(s, "%g", type->number);
    } else if (type->kind == SERVE_UNION) {
        for (int i = 0; i < type->n; i++) {
            sg_str_puts(s, i == 0 ? "" : i + 1 < type->n ? ", " : " or ");
            describe(t, s, type->field[i].type);
        }
    } else {
        sg_str_puts(s, words[type->kind]);
    }
}

static sg_status misfit(checker *c, const char *code, const char *fmt, ...) SG_PRINTF(3, 4);
static sg_status misfit(checker *c, const char *code, const char *fmt, ...)
{
    char text[320];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    c->misfit.code = code;
    return sg_fail(c->err, SG_EARG, "%s%s%s", c->misfit.path, c->path_bytes ? ": " : "", text);
}

static sg_status wrong_type(checker *c, const serve_type *type, const json_t *value)
{
    sg_str wanted = {0};
    describe(c->t, &wanted, type);
    const char *text = wanted.text && !wanted.failed ? wanted.text : "something else";
    const sg_status status =
        json_is_string(value) && strchr(text, '"')
            ? misfit(c, "wrong_type", "wanted %.200s, found \"%.60s\"", text, json_string_value(value))
        : json_is_real(value) ? misfit(c, "wrong_type", "wanted %.200s, found %g", text, json_real_value(value))
                              : misfit(c, "wrong_type", "wanted %.200s, found %s", text, found(value));
    sg_str_free(&wanted);
    return status;
}

/* The path grows by a part; what does not fit is left away. Returns the old length. */
static size_t deeper(checker *c, const char *fmt, ...) SG_PRINTF(2, 3);
static size_t deeper(checker *c, const char *fmt, ...)
{
    const size_t before = c->path_bytes;
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(c->misfit.path + before, SERVE_PATH - before, fmt, args);
    va_end(args);
    c->path_bytes = SG_MIN(before + (size_t)SG_MAX(n, 0), (size_t)SERVE_PATH - 1);
    return before;
}

static void back(checker *c, size_t to)
{
    c->path_bytes = to;
    c->misfit.path[to] = '\0';
}

static sg_status check(checker *c, const serve_type *type, const json_t *value);

static const serve_field *find_field(const serve_type *type, const char *name)
{
    for (int i = 0; i < type->n; i++)
        if (strcmp(type->field[i].name, name) == 0)
            return &type->field[i];
    return NULL;
}

static sg_status unknown_field(checker *c, const serve_type *type, const char *name)
{
    const char *nearest = NULL;
    int least = 0;

    for (int i = 0; i < type->n; i++) {
        const int d = sg_edit_distance(name, type->field[i].name);
        if (!nearest || d < least) {
            nearest = type->field[i].name;
            least = d;
        }
    }
    deeper(c, "%s%.100s", c->path_bytes ? "." : "", name);
    return nearest ? misfit(c, "unknown_field", "there is no such field; the nearest is %s", nearest)
                   : misfit(c, "unknown_field", "there is no such field, and no other");
}

static sg_status check_object(checker *c, const serve_type *type, const json_t *value)
{
    const char *name;
    json_t *inner;

    if (!json_is_object(value))
        return wrong_type(c, type, value);
    /* Jansson's iteration takes the object as writable, though it writes nothing. */
    json_object_foreach((json_t *)(uintptr_t)value, name, inner)
    {
        const serve_type *of = type->field ? type->field[0].type : NULL;
        if (type->kind == SERVE_OBJECT) {
            const serve_field *f = find_field(type, name);
            if (!f && !type->open)
                return unknown_field(c, type, name);
            of = f ? f->type : NULL;
        }
        if (!of)
            continue;
        const size_t before = deeper(c, "%s%.100s", c->path_bytes ? "." : "", name);
        SG_TRY(check(c, of, inner));
        back(c, before);
    }
    for (int i = 0; type->kind == SERVE_OBJECT && i < type->n; i++) {
        if (type->field[i].optional || json_object_get(value, type->field[i].name))
            continue;
        sg_str wanted = {0};
        describe(c->t, &wanted, type->field[i].type);
        deeper(c, "%s%s", c->path_bytes ? "." : "", type->field[i].name);
        const sg_status status = misfit(c, "missing_field", "missing; wanted %.200s", wanted.text ? wanted.text : "it");
        sg_str_free(&wanted);
        return status;
    }
    return SG_OK;
}

/* Of several types the one whose complaint lies deepest is the one that was meant. */
static sg_status check_union(checker *c, const serve_type *type, const json_t *value)
{
    const size_t before = c->path_bytes;
    checker best = *c;
    sg_error best_error = {SG_OK, ""};
    bool any = false;

    for (int i = 0; i < type->n; i++) {
        sg_error error;
        checker one = *c;
        one.err = &error;
        if (check(&one, type->field[i].type, value) == SG_OK)
            return SG_OK;
        if (one.path_bytes > before && (!any || one.path_bytes > best.path_bytes)) {
            best = one;
            best_error = error;
            any = true;
        }
    }
    if (!any)
        return wrong_type(c, type, value);
    c->misfit = best.misfit;
    c->path_bytes = best.path_bytes;
    return sg_fail(c->err, SG_EARG, "%s", best_error.text);
}

static sg_status check_array(checker *c, const serve_type *type, const json_t *value)
{
    if (!json_is_array(value))
        return wrong_type(c, type, value);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const size_t before = deeper(c, "[%zu]", i);
        SG_TRY(check(c, type->field[0].type, json_array_get(value, i)));
        back(c, before);
    }
    return SG_OK;
}

static sg_status check(checker *c, const serve_type *type, const json_t *value)
{
    bool fits = false;

    type = behind_names(c->t, type);
    switch (type->kind) {
    case SERVE_STRING:
        fits = json_is_string(value);
        break;
    case SERVE_NUMBER:
        fits = json_is_number(value);
        break;
    case SERVE_INTEGER:
        fits = json_is_integer(value); /* 3.0 would read as 0 where a handler asks for an integer */
        break;
    case SERVE_BOOLEAN:
        fits = json_is_boolean(value);
        break;
    case SERVE_NULL:
        fits = json_is_null(value);
        break;
    case SERVE_UNKNOWN:
        fits = true;
        break;
    case SERVE_LITERAL:
        fits = type->text ? json_is_string(value) && strcmp(json_string_value(value), type->text) == 0
                          : json_is_number(value) && json_number_value(value) == type->number;
        break;
    case SERVE_ARRAY:
        return check_array(c, type, value);
    case SERVE_UNION:
        return check_union(c, type, value);
    case SERVE_OBJECT:
    case SERVE_RECORD:
        return check_object(c, type, value);
    case SERVE_NAMED:
        break;
    }
    return fits ? SG_OK : wrong_type(c, type, value);
}

sg_status serve_type_check(const serve_type *type, const serve_types *t, const json_t *value, serve_misfit *where,
                           sg_error *err)
{
    checker c = {.t = t, .err = err};
    const sg_status status = check(&c, type, value);
    if (where)
        *where = c.misfit;
    return status;
}

json_t *serve_type_read_text(const serve_type *type, const serve_types *t, const char *text)
{
    type = behind_names(t, type);
    if (type->kind == SERVE_UNION) {
        for (int i = 0; i < type->n; i++) {
            json_t *value = serve_type_read_text(type->field[i].type, t, text);
            if (!value || serve_type_check(type->field[i].type, t, value, NULL, NULL) == SG_OK)
                return value;
            json_decref(value);
        }
    }
    if (type->kind == SERVE_BOOLEAN && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0))
        return json_true();
    if (type->kind == SERVE_BOOLEAN && (strcmp(text, "false") == 0 || strcmp(text, "0") == 0))
        return json_false();
    if (type->kind == SERVE_NUMBER || type->kind == SERVE_INTEGER || (type->kind == SERVE_LITERAL && !type->text)) {
        char *end;
        const double x = strtod(text, &end);
        /* strtod takes hexadecimal numbers, infinities and spaces too, which no query has. */
        if (end != text && !*end && isfinite(x) && strspn(text, "+-.0123456789eE") == strlen(text))
            return x == floor(x) && fabs(x) <= 9007199254740992.0 ? json_integer((json_int_t)x) : json_real(x);
    }
    return json_string(text);
}
