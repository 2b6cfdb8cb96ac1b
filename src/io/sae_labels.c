/* Labels of features: features.json or features.csv beside the weights. Each entry says which feature it is of, or
 * stands at its place. */
#include "io/sae_labels.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/table.h"

typedef struct labels {
    sg_arena *arena;
    const char **of; /* [n] */
    sg_dim n;
    const char *path;
    sg_error *err;
} labels;

/* "12" or 12; -1 where it is neither. */
static sg_dim index_of(const char *text)
{
    char *end;
    const long long i = strtoll(text, &end, 10);

    return *text && !*end ? i : -1;
}

static sg_status put(labels *l, sg_dim i, const char *text)
{
    if (i < 0 || i >= l->n)
        return sg_fail(l->err, SG_EFORMAT, "%s: a label is of feature %lld, there are %lld (from 0)", l->path,
                       (long long)i, (long long)l->n);
    if (!text || !*text)
        return SG_OK;
    l->of[i] = sg_arena_strdup(l->arena, text);
    return l->of[i] ? SG_OK : sg_fail(l->err, SG_ENOMEM, "%s: out of memory", l->path);
}

static const char *text_of(const json_t *entry)
{
    static const char *const keys[] = {"label", "description", "explanation"};

    for (size_t k = 0; k < SG_COUNT_OF(keys); k++)
        if (json_is_string(json_object_get(entry, keys[k])))
            return json_string_value(json_object_get(entry, keys[k]));
    return NULL;
}

static sg_status read_entry(labels *l, const json_t *entry, sg_dim at)
{
    static const char *const keys[] = {"index", "feature", "feature_index"};

    if (json_is_string(entry))
        return put(l, at, json_string_value(entry));
    if (json_is_null(entry))
        return SG_OK;
    if (!json_is_object(entry))
        return sg_fail(l->err, SG_EFORMAT, "%s: entry %lld is neither a text nor an object", l->path, (long long)at);
    for (size_t k = 0; k < SG_COUNT_OF(keys); k++) {
        const json_t *i = json_object_get(entry, keys[k]);
        if (json_is_integer(i))
            return put(l, json_integer_value(i), text_of(entry));
        if (json_is_string(i))
            return put(l, index_of(json_string_value(i)), text_of(entry));
    }
    return put(l, at, text_of(entry));
}

static sg_status read_json(labels *l, const sg_file *file)
{
    const char *text = sg_file_data(file) ? (const char *)sg_file_data(file) : "", *key;
    json_error_t at;
    json_t *entry, *root = json_loadb(text, sg_file_bytes(file), 0, &at);
    sg_status status = SG_OK;

    if (!root)
        return sg_fail(l->err, SG_EFORMAT, "%s: line %d: %s", l->path, at.line, at.text);
    if (json_is_array(root)) {
        for (size_t i = 0; status == SG_OK && i < json_array_size(root); i++)
            status = read_entry(l, json_array_get(root, i), (sg_dim)i);
    } else if (json_is_object(root)) {
        json_object_foreach(root, key, entry)
        {
            if (status != SG_OK)
                break;
            status = json_is_string(entry) ? put(l, index_of(key), json_string_value(entry))
                                           : read_entry(l, entry, index_of(key));
        }
    } else {
        status = sg_fail(l->err, SG_EFORMAT, "%s: neither an object nor a list", l->path);
    }
    json_decref(root);
    return status;
}

static int column(const sg_table *t, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (sg_table_find(t, names[i]) >= 0)
            return sg_table_find(t, names[i]);
    return -1;
}

static sg_status read_csv(labels *l)
{
    static const char *const of[] = {"feature", "index", "feature_index"}, *const text[] = {"label", "description",
                                                                                            "explanation"};
    sg_table *t;

    SG_TRY(sg_table_open(&t, l->path, l->err));
    const int i = column(t, of, SG_COUNT_OF(of)), k = column(t, text, SG_COUNT_OF(text));
    sg_status status =
        i >= 0 && k >= 0 ? SG_OK : sg_fail(l->err, SG_EFORMAT, "%s: wanted columns feature and label", l->path);
    for (sg_dim row = 0; status == SG_OK && row < sg_table_n_rows(t); row++)
        status = put(l, index_of(sg_table_at(t, row, i)), sg_table_at(t, row, k));
    sg_table_free(t);
    return status;
}

sg_status sg_sae_read_labels(const char *const **out, sg_arena *arena, const char *dir, sg_dim n, sg_error *err)
{
    labels l = {.arena = arena, .n = n, .err = err, .path = sg_arena_printf(arena, "%s/features.json", dir)};
    sg_error quiet = {SG_OK, ""};
    sg_file *file = NULL;

    *out = NULL;
    if (!l.path || !(l.of = sg_arena_array(arena, (size_t)n, sizeof *l.of)))
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    sg_status status = sg_file_open(&file, l.path, &quiet);
    if (status == SG_OK) {
        status = read_json(&l, file);
        sg_file_close(file);
    } else {
        l.path = sg_arena_printf(arena, "%s/features.csv", dir);
        status = l.path ? sg_file_open(&file, l.path, &quiet) : SG_ENOMEM;
        if (status != SG_OK)
            return SG_OK; /* nobody has named them */
        sg_file_close(file);
        status = read_csv(&l);
    }
    if (status == SG_OK)
        *out = l.of;
    return status;
}

sg_status sg_sae_write_labels(const char *const *of, sg_dim n, const char *dir, sg_error *err)
{
    sg_str path = {0};
    json_t *root = json_object();
    sg_writer *w = NULL;
    char key[24];

    sg_str_printf(&path, "%s/features.json", dir);
    for (sg_dim i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%lld", (long long)i);
        if (of[i])
            json_object_set_new(root, key, json_string(of[i]));
    }
    sg_status status =
        root && !path.failed ? sg_writer_begin(&w, path.text, err) : sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    if (status == SG_OK) {
        json_dumpf(root, sg_writer_stream(w),
                   JSON_INDENT(1)); /* a failed write leaves its mark, and commit looks at it */
        status = sg_writer_commit(w, err);
    }
    json_decref(root);
    sg_str_free(&path);
    return status;
}
