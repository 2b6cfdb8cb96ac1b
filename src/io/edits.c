/* Edits from JSON: every key and type checked, errors name the edit and the key. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/edit.h"
#include "sightglass/npy.h"
#include "sightglass/safetensors.h"

struct sg_edit_list {
    sg_arena *arena;
    int n;
    sg_edit *edits;
    sg_edit_source *sources;
    bool *from_run;
    const char *name; /* for errors */
};

typedef struct reader {
    sg_edit_list *list;
    const char *key; /* "edits.json: edit 2: when" */
    sg_error *err;
} reader;

static sg_status no_memory(reader *r)
{
    return sg_fail(r->err, SG_ENOMEM, "out of memory for edits");
}

static sg_status only_keys(reader *r, const json_t *object, const char *const *known)
{
    const char *key;
    json_t *unused, *o = json_deep_copy(object);
    sg_status status = o ? SG_OK : no_memory(r);

    json_object_foreach(o, key, unused)
    {
        const char *nearest = known[0];
        bool found = false;
        for (const char *const *k = known; *k; k++) {
            found |= strcmp(*k, key) == 0;
            if (sg_edit_distance(key, *k) < sg_edit_distance(key, nearest))
                nearest = *k;
        }
        if (!found && status == SG_OK)
            status = sg_fail(r->err, SG_EFORMAT, "%s: no key \"%.40s\" is known; the nearest is \"%s\"", r->key, key, nearest);
    }
    json_decref(o);
    return status;
}

static sg_status read_number(reader *r, const json_t *object, const char *key, double *out)
{
    const json_t *v = json_object_get(object, key);

    if (!v)
        return SG_OK;
    if (!json_is_number(v))
        return sg_fail(r->err, SG_EFORMAT, "%s: %s is not a number", r->key, key);
    *out = json_number_value(v);
    return SG_OK;
}

/* [0, 2, [5, 9]] or one number. */
static sg_status read_spans(reader *r, const json_t *object, const char *key, sg_spans *out)
{
    const json_t *v = json_object_get(object, key);
    const size_t n = json_is_array(v) ? json_array_size(v) : 1;

    if (!v)
        return SG_OK;
    if (n == 0 || n > 1000000)
        return sg_fail(r->err, SG_EFORMAT, "%s: %s is an empty list (leave it out to mean all)", r->key, key);
    sg_span *spans = sg_arena_array(r->list->arena, n, sizeof *spans);
    if (!spans)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_is_array(v) ? json_array_get(v, i) : v;
        const json_t *a = json_is_array(e) ? json_array_get(e, 0) : e, *b = json_is_array(e) ? json_array_get(e, 1) : e;
        if ((json_is_array(e) && json_array_size(e) != 2) || !json_is_integer(a) || !json_is_integer(b) ||
            json_integer_value(a) > json_integer_value(b))
            return sg_fail(r->err, SG_EFORMAT, "%s: %s wants whole numbers and [first, last] pairs", r->key, key);
        spans[i] = (sg_span){json_integer_value(a), json_integer_value(b)};
    }
    *out = (sg_spans){(int)n, spans};
    return SG_OK;
}

/* How many things that are no lists a nest holds, looking no deeper than a tensor has axes. */
static sg_dim count_leaves(const json_t *v, int depth)
{
    sg_dim n = 0;

    if (!json_is_array(v) || depth > SG_MAX_DIMS)
        return 1;
    for (size_t i = 0; i < json_array_size(v); i++)
        n += count_leaves(json_array_get(v, i), depth + 1);
    return n;
}

/* Nested lists of numbers of one shape. */
static sg_status read_array(reader *r, const json_t *v, const char *key, sg_tensor *out)
{
    sg_dim dims[SG_MAX_DIMS], count = 1;
    int n_dims = 0;

    for (const json_t *e = v; json_is_array(e); e = json_array_get(e, 0)) {
        if (n_dims == SG_MAX_DIMS || json_array_size(e) == 0)
            return sg_fail(r->err, SG_EFORMAT, "%s: %s is empty or nested too deep", r->key, key);
        dims[n_dims++] = (sg_dim)json_array_size(e);
        if (__builtin_mul_overflow(count, dims[n_dims - 1], &count) || count > ((sg_dim)1 << 32))
            return sg_fail(r->err, SG_EFORMAT, "%s: %s is too large", r->key, key);
    }
    /* Before memory is taken: a few lists can claim to be the first of very many. */
    if (count_leaves(v, 0) != count)
        return sg_fail(r->err, SG_EFORMAT, "%s: %s has rows of different lengths", r->key, key);
    double *numbers = sg_arena_array(r->list->arena, (size_t)count, sizeof *numbers);
    if (!numbers)
        return no_memory(r);
    for (sg_dim i = 0; i < count; i++) {
        const json_t *e = v;
        sg_dim rest = i, each = count;
        for (int k = 0; k < n_dims; k++) {
            each /= dims[k];
            if (!json_is_array(e) || (sg_dim)json_array_size(e) != dims[k])
                return sg_fail(r->err, SG_EFORMAT, "%s: %s has rows of different lengths", r->key, key);
            e = json_array_get(e, (size_t)(rest / each));
            rest %= each;
        }
        if (!json_is_number(e))
            return sg_fail(r->err, SG_EFORMAT, "%s: %s holds something that is not a number", r->key, key);
        numbers[i] = json_number_value(e);
    }
    *out = sg_tensor_of(SG_F64, n_dims, dims, numbers);
    return SG_OK;
}

static sg_status keep(reader *r, const sg_tensor *t, sg_tensor *out)
{
    const size_t bytes = sg_tensor_bytes(t);

    *out = *t;
    out->data = sg_arena_alloc(r->list->arena, SG_MAX(bytes, 1));
    if (!out->data)
        return no_memory(r);
    memcpy(out->data, t->data, bytes);
    return SG_OK;
}

static sg_status read_file(reader *r, const json_t *v, sg_tensor *out)
{
    static const char *const known[] = {"file", "name", NULL};
    const char *path = json_string_value(json_object_get(v, "file")), *name = json_string_value(json_object_get(v, "name"));
    const size_t n = path ? strlen(path) : 0;

    SG_TRY(only_keys(r, v, known));
    if (!path)
        return sg_fail(r->err, SG_EFORMAT, "%s: value.file is not a path", r->key);
    if (n > 4 && strcmp(path + n - 4, ".npy") == 0) {
        sg_npy *a;
        SG_TRY(sg_npy_open(&a, path, r->err));
        const sg_status status = keep(r, sg_npy_tensor(a), out);
        sg_npy_close(a);
        return status;
    }
    sg_safetensors *st;
    SG_TRY(sg_safetensors_open(&st, path, r->err));
    const sg_tensor *t = name ? sg_safetensors_find(st, name) : NULL;
    const sg_status status = t ? keep(r, t, out)
                               : sg_fail(r->err, SG_ENOTFOUND, "%s: %s has no tensor \"%.100s\"", r->key, path, name ? name : "");
    sg_safetensors_close(st);
    return status;
}

static sg_status read_run(reader *r, const json_t *v, sg_edit_source *out)
{
    static const char *const outer[] = {"run", "position", NULL}, *const inner[] = {"text", "tokens", NULL};
    const json_t *run = json_object_get(v, "run"), *position = json_object_get(v, "position");
    const char *text = json_string_value(json_object_get(run, "text"));
    const json_t *tokens = json_object_get(run, "tokens");

    SG_TRY(only_keys(r, v, outer));
    if (!json_is_object(run))
        return sg_fail(r->err, SG_EFORMAT, "%s: value.run is not an object", r->key);
    SG_TRY(only_keys(r, run, inner));
    if (position && !json_is_integer(position))
        return sg_fail(r->err, SG_EFORMAT, "%s: value.position is not a whole number", r->key);
    out->has_position = position != NULL;
    out->position = position ? json_integer_value(position) : 0;
    if (text) {
        out->text = sg_arena_strdup(r->list->arena, text);
        return out->text ? SG_OK : no_memory(r);
    }
    const size_t n = json_array_size(tokens);
    int32_t *ids = sg_arena_array(r->list->arena, SG_MAX(n, 1), sizeof *ids);
    if (!ids)
        return no_memory(r);
    if (n == 0)
        return sg_fail(r->err, SG_EFORMAT, "%s: value.run has neither text nor tokens", r->key);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(tokens, i);
        if (!json_is_integer(e) || json_integer_value(e) < 0 || json_integer_value(e) > INT32_MAX)
            return sg_fail(r->err, SG_EFORMAT, "%s: value.run.tokens holds something that is no token", r->key);
        ids[i] = (int32_t)json_integer_value(e);
    }
    out->tokens = ids;
    out->n_tokens = (sg_dim)n;
    return SG_OK;
}

static sg_status read_when(reader *r, const json_t *v, sg_edit_when *out)
{
    static const char *const known[] = {"site", "index", "direction", "above", "below", NULL};
    const char *site = json_string_value(json_object_get(v, "site"));
    const json_t *index = json_object_get(v, "index"), *direction = json_object_get(v, "direction");

    if (!v)
        return SG_OK;
    if (!json_is_object(v) || !site)
        return sg_fail(r->err, SG_EFORMAT, "%s: when wants an object with a site", r->key);
    SG_TRY(only_keys(r, v, known));
    if (!index == !direction)
        return sg_fail(r->err, SG_EFORMAT, "%s: when wants either an index or a direction", r->key);
    if (index && (!json_is_integer(index) || json_integer_value(index) < 0))
        return sg_fail(r->err, SG_EFORMAT, "%s: when.index is not a whole number from 0", r->key);
    if (!json_object_get(v, "above") && !json_object_get(v, "below"))
        return sg_fail(r->err, SG_EFORMAT, "%s: when wants above, below or both", r->key);
    out->site = sg_arena_strdup(r->list->arena, site);
    if (!out->site)
        return no_memory(r);
    if (index)
        out->index = json_integer_value(index);
    else
        SG_TRY(read_array(r, direction, "when.direction", &out->direction));
    SG_TRY(read_number(r, v, "above", &out->low));
    return read_number(r, v, "below", &out->high);
}

static sg_status read_edit(reader *r, const json_t *v, int i)
{
    static const char *const known[] = {"site", "op", "value", "strength", "low", "high", "heads", "features", "positions", "rows", "steps",
                                        "keys", "when", NULL};
    sg_edit *e = &r->list->edits[i];
    const char *site = json_string_value(json_object_get(v, "site")), *op = json_string_value(json_object_get(v, "op"));
    const json_t *value = json_object_get(v, "value");

    *e = sg_edit_defaults();
    if (!json_is_object(v))
        return sg_fail(r->err, SG_EFORMAT, "%s: not an object", r->key);
    SG_TRY(only_keys(r, v, known));
    if (!site || !op)
        return sg_fail(r->err, SG_EFORMAT, "%s: %s is missing", r->key, site ? "op" : "site");
    e->site = sg_arena_strdup(r->list->arena, site);
    if (!e->site)
        return no_memory(r);
    e->op = SG_N_EDIT_OPS;
    for (int o = 0; o < SG_N_EDIT_OPS; o++)
        if (strcmp(op, sg_edit_op_name((sg_edit_op)o)) == 0)
            e->op = (sg_edit_op)o;
    if (e->op == SG_N_EDIT_OPS)
        return sg_fail(r->err, SG_EFORMAT, "%s: op \"%.40s\" is none of set, add, scale, ablate, project, clamp, patch, mask",
                       r->key, op);
    if (json_is_number(value) || json_is_array(value)) {
        SG_TRY(read_array(r, value, "value", &e->value));
    } else if (json_object_get(value, "run")) {
        SG_TRY(read_run(r, value, &r->list->sources[i]));
        r->list->from_run[i] = true;
    } else if (json_is_object(value)) {
        SG_TRY(read_file(r, value, &e->value));
    } else if (value) {
        return sg_fail(r->err, SG_EFORMAT, "%s: value is neither numbers nor {\"file\"} nor {\"run\"}", r->key);
    }
    SG_TRY(read_number(r, v, "strength", &e->strength));
    SG_TRY(read_number(r, v, "low", &e->low));
    SG_TRY(read_number(r, v, "high", &e->high));
    if (e->low > e->high)
        return sg_fail(r->err, SG_EFORMAT, "%s: low %g is above high %g", r->key, e->low, e->high);
    SG_TRY(read_spans(r, v, "heads", &e->heads));
    SG_TRY(read_spans(r, v, "features", &e->features));
    SG_TRY(read_spans(r, v, "positions", &e->positions));
    SG_TRY(read_spans(r, v, "rows", &e->rows));
    SG_TRY(read_spans(r, v, "steps", &e->steps));
    SG_TRY(read_spans(r, v, "keys", &e->keys));
    return read_when(r, json_object_get(v, "when"), &e->when);
}

static sg_status read_list(sg_edit_list *list, const json_t *root, sg_error *err)
{
    const json_t *items = json_is_object(root) ? json_object_get(root, "edits") : root;
    const size_t n = json_array_size(items);
    reader r = {list, list->name, err};

    if (!json_is_array(items) || n > 100000)
        return sg_fail(err, SG_EFORMAT, "%s: a list of edits was wanted", list->name);
    list->edits = sg_arena_array(list->arena, SG_MAX(n, 1), sizeof *list->edits);
    list->sources = sg_arena_array(list->arena, SG_MAX(n, 1), sizeof *list->sources);
    list->from_run = sg_arena_array(list->arena, SG_MAX(n, 1), sizeof *list->from_run);
    if (!list->edits || !list->sources || !list->from_run)
        return no_memory(&r);
    for (size_t i = 0; i < n; i++) {
        r.key = sg_arena_printf(list->arena, "%s: edit %zu", list->name, i);
        if (!r.key)
            return no_memory(&r);
        SG_TRY(read_edit(&r, json_array_get(items, i), (int)i));
        list->n++;
    }
    return SG_OK;
}

sg_status sg_edit_list_parse(sg_edit_list **out, const char *json, size_t n_bytes, const char *name, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_edit_list *list = arena ? sg_arena_alloc(arena, sizeof *list) : NULL;
    json_error_t at;

    if (!list || !(list->name = sg_arena_strdup(arena, name))) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for edits");
    }
    list->arena = arena;
    json_t *root = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &at);
    sg_status status = root ? read_list(list, root, err)
                            : sg_fail(err, SG_EFORMAT, "%s: line %d, column %d: %s", name, at.line, at.column, at.text);
    json_decref(root);
    if (status != SG_OK) {
        sg_edit_list_free(list);
        return status;
    }
    *out = list;
    return SG_OK;
}

sg_status sg_edit_list_open(sg_edit_list **out, const char *path, sg_error *err)
{
    sg_file *file;

    SG_TRY(sg_file_open(&file, path, err));
    const sg_status status =
        sg_edit_list_parse(out, sg_file_data(file) ? (const char *)sg_file_data(file) : "", sg_file_bytes(file), path, err);
    sg_file_close(file);
    return status;
}

sg_status sg_edit_list_new(sg_edit_list **out, const char *name, sg_error *err)
{
    return sg_edit_list_parse(out, "[]", 2, name, err);
}

static sg_status copy_spans(reader *r, const sg_spans *from, sg_spans *to)
{
    sg_span *spans = sg_arena_array(r->list->arena, (size_t)SG_MAX(from->n, 1), sizeof *spans);

    if (!spans)
        return no_memory(r);
    if (from->n)
        memcpy(spans, from->spans, (size_t)from->n * sizeof *spans);
    *to = (sg_spans){from->n, spans};
    return SG_OK;
}

/* Arrays with room for one more: the arena keeps the old ones, which lists of a few hundred bear. */
static sg_status grow(reader *r)
{
    sg_edit_list *list = r->list;
    const size_t n = (size_t)list->n;
    sg_edit *edits = sg_arena_array(list->arena, n + 1, sizeof *edits);
    sg_edit_source *sources = sg_arena_array(list->arena, n + 1, sizeof *sources);
    bool *from_run = sg_arena_array(list->arena, n + 1, sizeof *from_run);

    if (!edits || !sources || !from_run)
        return no_memory(r);
    memcpy(edits, list->edits, n * sizeof *edits);
    memcpy(sources, list->sources, n * sizeof *sources);
    memcpy(from_run, list->from_run, n * sizeof *from_run);
    list->edits = edits;
    list->sources = sources;
    list->from_run = from_run;
    return SG_OK;
}

sg_status sg_edit_list_add(sg_edit_list *list, const sg_edit *e, sg_error *err)
{
    reader r = {list, list->name, err};

    SG_TRY(grow(&r));
    sg_edit *to = &list->edits[list->n];
    *to = *e;
    to->site = e->site ? sg_arena_strdup(list->arena, e->site) : NULL;
    to->when.site = e->when.site ? sg_arena_strdup(list->arena, e->when.site) : NULL;
    if ((e->site && !to->site) || (e->when.site && !to->when.site))
        return no_memory(&r);
    if (e->value.data)
        SG_TRY(keep(&r, &e->value, &to->value));
    if (e->when.direction.data)
        SG_TRY(keep(&r, &e->when.direction, &to->when.direction));
    const sg_spans *const from[] = {&e->heads, &e->features, &e->positions, &e->rows, &e->steps, &e->keys};
    sg_spans *const copies[] = {&to->heads, &to->features, &to->positions, &to->rows, &to->steps, &to->keys};
    for (size_t i = 0; i < SG_COUNT_OF(from); i++)
        SG_TRY(copy_spans(&r, from[i], copies[i]));
    list->n++;
    return SG_OK;
}

void sg_edit_list_free(sg_edit_list *list)
{
    if (list)
        sg_arena_free(list->arena);
}

int sg_edit_list_count(const sg_edit_list *list)
{
    return list->n;
}

sg_edit *sg_edit_list_at(sg_edit_list *list, int i)
{
    return &list->edits[i];
}

const sg_edit_source *sg_edit_list_source(const sg_edit_list *list, int i)
{
    return list->from_run[i] ? &list->sources[i] : NULL;
}

sg_status sg_edit_list_fill(sg_edit_list *list, int i, const sg_tensor *value, sg_error *err)
{
    reader r = {list, list->name, err};

    return keep(&r, value, &list->edits[i].value);
}
