/* The JSON of TensorFlow.js model files, and the files of numbers beside it. It becomes facts and groups for tfjs.c. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/tfjs.h"

enum { MOST_WEIGHTS = 100000, MOST_DEPTH = 8 };

typedef struct reader {
    sg_tfjs *t;
    const char *name;
    sg_tfjs_find_fn *find;
    void *context;
    sg_error *err;
} reader;

static sg_status no_memory(const reader *r)
{
    return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
}

/* Texts, numbers and truths of the topology, by their way there. Lists are passed over. */
static sg_status facts(reader *r, const json_t *v, const char *at, int depth)
{
    char text[64];
    const char *key;
    json_t *child;
    if (json_is_object(v) && depth < MOST_DEPTH) {
        sg_status status = SG_OK;
        union {
            const json_t *in;
            json_t *out;
        } object = {v};
        json_object_foreach(object.out, key, child)
        {
            sg_str way = {0};
            if (at[0])
                sg_str_printf(&way, "%s.", at);
            sg_str_puts(&way, key);
            status = way.failed ? no_memory(r) : facts(r, child, way.text ? way.text : "", depth + 1);
            sg_str_free(&way);
            if (status != SG_OK)
                return status;
        }
        return SG_OK;
    }
    if (json_is_string(v))
        return sg_tfjs_add_fact(r->t, at, json_string_value(v), r->err);
    if (json_is_integer(v))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(text, sizeof text, "%.17g", json_real_value(v));
    else if (json_is_boolean(v))
        snprintf(text, sizeof text, "%s", json_is_true(v) ? "true" : "false");
    else
        return SG_OK;
    return sg_tfjs_add_fact(r->t, at, text, r->err);
}

static sg_status read_entry(const reader *r, const json_t *w, sg_tfjs_entry *e)
{
    const json_t *shape = json_object_get(w, "shape"), *q = json_object_get(w, "quantization");
    *e = (sg_tfjs_entry){.name = json_string_value(json_object_get(w, "name")),
                         .dtype = json_string_value(json_object_get(w, "dtype")),
                         .scale = (double)NAN,
                         .min = (double)NAN};
    if (!e->name || !e->dtype || !json_is_array(shape))
        return sg_fail(r->err, SG_EFORMAT, "%s: a weight of the manifest lacks its name, dtype or shape", r->name);
    if (json_array_size(shape) > SG_MAX_DIMS)
        return sg_fail(r->err, SG_EFORMAT, "%s: weight \"%.80s\" has %zu axes, more than %d", r->name, e->name,
                       json_array_size(shape), SG_MAX_DIMS);
    e->n_dims = (int)json_array_size(shape);
    for (int d = 0; d < e->n_dims; d++) {
        const json_t *extent = json_array_get(shape, (size_t)d);
        if (!json_is_integer(extent))
            return sg_fail(r->err, SG_EFORMAT, "%s: weight \"%.80s\" has an extent that is no whole number", r->name,
                           e->name);
        e->dims[d] = json_integer_value(extent);
    }
    if (!q || json_is_null(q))
        return SG_OK;
    e->packed = json_string_value(json_object_get(q, "dtype"));
    if (!e->packed)
        return sg_fail(r->err, SG_EFORMAT, "%s: the quantization of weight \"%.80s\" lacks its dtype", r->name,
                       e->name);
    if (json_is_number(json_object_get(q, "scale")))
        e->scale = json_number_value(json_object_get(q, "scale"));
    if (json_is_number(json_object_get(q, "min")))
        e->min = json_number_value(json_object_get(q, "min"));
    return SG_OK;
}

/* A file's own name. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *back = strrchr(path, '\\');
    const char *last = slash && back ? SG_MAX(slash, back) : slash ? slash : back;
    return last ? last + 1 : path;
}

static sg_status join(reader *r, const json_t *paths, sg_str *bytes)
{
    for (size_t i = 0; i < json_array_size(paths); i++) {
        const char *path = json_string_value(json_array_get(paths, i));
        const void *found;
        size_t n;
        if (!path)
            return sg_fail(r->err, SG_EFORMAT, "%s: a path of the manifest is no text", r->name);
        const char *file = base_name(path);
        if (!file[0] || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
            return sg_fail(r->err, SG_EFORMAT, "%s: the path \"%.80s\" names no file", r->name, path);
        SG_TRY(r->find(r->context, file, &found, &n, r->err));
        sg_str_append(bytes, found, n);
        if (bytes->failed)
            return no_memory(r);
    }
    return SG_OK;
}

static sg_status group(reader *r, const json_t *g)
{
    const json_t *paths = json_object_get(g, "paths"), *weights = json_object_get(g, "weights");
    if (!json_is_array(paths) || !json_is_array(weights) || json_array_size(weights) > MOST_WEIGHTS)
        return sg_fail(r->err, SG_EFORMAT, "%s: a group of the manifest lacks its lists of paths and weights", r->name);
    const size_t n = json_array_size(weights);
    sg_tfjs_entry *entries = calloc(n + 1, sizeof *entries);
    sg_str bytes = {0};
    sg_status status = entries ? SG_OK : no_memory(r);
    for (size_t i = 0; i < n && status == SG_OK; i++)
        status = read_entry(r, json_array_get(weights, i), &entries[i]);
    if (status == SG_OK)
        status = join(r, paths, &bytes);
    if (status == SG_OK)
        status = sg_tfjs_add_group(r->t, (int)n, entries, bytes.text ? bytes.text : "", bytes.bytes, r->err);
    sg_str_free(&bytes);
    free(entries);
    return status;
}

static sg_status read_root(reader *r, const json_t *root)
{
    const json_t *topology = json_object_get(root, "modelTopology"), *groups = json_object_get(root, "weightsManifest");
    if (!json_is_object(root))
        return sg_fail(r->err, SG_EFORMAT, "%s: wanted an object with modelTopology and weightsManifest", r->name);
    if (!json_is_array(groups))
        return sg_fail(r->err, SG_EFORMAT, "%s: there is no list weightsManifest", r->name);
    if (topology)
        SG_TRY(facts(r, topology, "", 0));
    for (size_t i = 0; i < json_array_size(groups); i++)
        SG_TRY(group(r, json_array_get(groups, i)));
    return SG_OK;
}

sg_status sg_tfjs_parse(sg_tfjs **out, const char *json, size_t n_bytes, const char *name, sg_tfjs_find_fn *find,
                        void *context, sg_error *err)
{
    *out = NULL;
    json_error_t bad;
    json_t *root = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &bad);
    if (!root)
        return sg_fail(err, SG_EFORMAT, "%s: line %d: %.200s", name, bad.line, bad.text);
    sg_tfjs *t = NULL;
    sg_status status = sg_tfjs_new(&t, name, err);
    if (status == SG_OK) {
        reader r = {.t = t, .name = name, .find = find, .context = context, .err = err};
        status = read_root(&r, root);
    }
    json_decref(root);
    if (status != SG_OK)
        sg_tfjs_free(t);
    else
        *out = t;
    return status;
}

/* ---- files beside the JSON ---- */

typedef struct folder {
    const char *path;
    int n; /* bytes of the path that are the folder, with its slash */
    sg_file *open;
} folder;

static sg_status find_file(void *context, const char *name, const void **bytes, size_t *n_bytes, sg_error *err)
{
    folder *f = context;
    sg_str path = {0};
    sg_file_close(f->open);
    f->open = NULL;
    sg_str_printf(&path, "%.*s%s", f->n, f->path, name);
    const sg_status status =
        path.failed ? sg_fail(err, SG_ENOMEM, "%s: out of memory", f->path) : sg_file_open(&f->open, path.text, err);
    sg_str_free(&path);
    SG_TRY(status);
    *bytes = sg_file_data(f->open);
    *n_bytes = sg_file_bytes(f->open);
    return SG_OK;
}

sg_status sg_tfjs_open(sg_tfjs **out, const char *path, sg_error *err)
{
    *out = NULL;
    sg_file *file = NULL;
    SG_TRY(sg_file_open(&file, path, err));
    const char *slash = strrchr(path, '/');
    folder f = {.path = path, .n = slash ? (int)(slash - path) + 1 : 0};
    const sg_status status = sg_tfjs_parse(out, sg_file_bytes(file) ? (const char *)sg_file_data(file) : "",
                                           sg_file_bytes(file), path, find_file, &f, err);
    sg_file_close(f.open);
    sg_file_close(file);
    return status;
}
