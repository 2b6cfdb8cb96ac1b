/* A tensor-product probe on disk: its parts as safetensors, whose shapes say the sizes, and what it is in JSON beside.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "methods/tpr_internal.h"
#include "sightglass/safetensors.h"

enum { N_RATES = 6, MOST_PARTS = 6 };
static const char *const rate_keys[N_RATES] = {"hard_accuracy", "linear",    "truncated",
                                               "untrained",     "agreement", "permuted"};

static void rates_of(double *to[N_RATES], sg_tpr_manifest *m)
{
    double *const all[N_RATES] = {&m->hard_accuracy, &m->linear,    &m->truncated,
                                  &m->untrained,     &m->agreement, &m->permuted};
    memcpy(to, all, sizeof all);
}

static sg_status path_of(char **out, const char *dir, const char *name, const char *ending, sg_error *err)
{
    *out = NULL;
    if (!name[0] || name[0] == '.' || strchr(name, '/'))
        return sg_fail(err, SG_EARG, "%s: \"%.80s\" cannot be the name of a probe", dir, name);
    sg_str path = {0};
    sg_str_printf(&path, "%s/%s%s", dir, name, ending);
    if (path.failed) {
        sg_str_free(&path);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    }
    *out = path.text;
    return SG_OK;
}

/* ---- saving ---- */

static json_t *text(const char *s)
{
    return s ? json_string(s) : json_null();
}

static sg_status describe(json_t **out, const sg_tpr *p, const sg_tpr_manifest *m, const char *path, sg_error *err)
{
    const sg_tpr_parts *q = &p->parts;
    sg_tpr_manifest copy = *m;
    double *rates[N_RATES];
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, m->model_hash);
    json_t *root =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:s, s:I, s:I, s:I}", "kind", "tpr", "form",
                  q->rows.data ? "trilinear" : "bilinear", "width", (json_int_t)q->binding.dims[0], "roles",
                  (json_int_t)q->roles.dims[0], "classes", (json_int_t)q->fillers.dims[0], "role_dim",
                  (json_int_t)q->roles.dims[1], "filler_dim", (json_int_t)q->fillers.dims[1], "parameters",
                  (json_int_t)sg_tpr_n_parameters(p), "site", text(m->site), "label", text(m->label), "world",
                  text(m->world), "model_hash", hash, "data_seed", (json_int_t)m->data_seed, "n_fit",
                  (json_int_t)m->n_fit, "n_test", (json_int_t)m->n_test);
    if (!root)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory, or a text is no UTF-8", path);
    rates_of(rates, &copy);
    for (int i = 0; i < N_RATES; i++)
        json_object_set_new(root, rate_keys[i], isfinite(*rates[i]) ? json_real(*rates[i]) : json_null());
    *out = root;
    return SG_OK;
}

static sg_status save_json(const json_t *root, const char *path, sg_error *err)
{
    sg_writer *w;
    SG_TRY(sg_writer_begin(&w, path, err));
    /* A failed write leaves its mark on the stream, and commit looks at it. */
    (void)json_dumpf(root, sg_writer_stream(w), JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    fputc('\n', sg_writer_stream(w));
    return sg_writer_commit(w, err);
}

static sg_status save_numbers(const sg_tpr *p, const char *path, sg_error *err)
{
    const sg_tpr_parts *q = &p->parts;
    sg_named_tensor list[MOST_PARTS] = {{"binding", q->binding}, {"fillers", q->fillers}, {"lift", p->lift}};
    int n = 3;
    if (q->rows.data) {
        list[n++] = (sg_named_tensor){"rows", q->rows};
        list[n++] = (sg_named_tensor){"columns", q->columns};
    } else {
        list[n++] = (sg_named_tensor){"roles", q->roles};
    }
    if (q->bias.data)
        list[n++] = (sg_named_tensor){"bias", q->bias};
    return sg_safetensors_save(path, list, n, NULL, 0, err);
}

sg_status sg_tpr_save(const sg_tpr *p, const sg_tpr_manifest *manifest, const char *dir, const char *name,
                      sg_error *err)
{
    char *numbers = NULL, *beside = NULL;
    json_t *root = NULL;
    sg_status status = path_of(&numbers, dir, name, ".safetensors", err);
    if (status == SG_OK)
        status = path_of(&beside, dir, name, ".json", err);
    if (status == SG_OK)
        status = describe(&root, p, manifest, beside, err);
    if (status == SG_OK && mkdir(dir, 0777) != 0 && errno != EEXIST)
        status = sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    if (status == SG_OK)
        status = save_numbers(p, numbers, err);
    if (status == SG_OK)
        status = save_json(root, beside, err);
    json_decref(root);
    free(numbers);
    free(beside);
    return status;
}

/* ---- opening ---- */

/* A part, which may be absent where `optional`. */
static sg_status take(sg_tensor *to, const sg_safetensors *st, const char *name, bool optional, sg_error *err)
{
    const sg_tensor *t = sg_safetensors_find(st, name);
    if (!t && optional)
        return SG_OK;
    if (!t)
        SG_TRY(sg_safetensors_get(&t, st, name, err)); /* says which names there are */
    *to = *t;
    return SG_OK;
}

static sg_status open_numbers(sg_tpr **out, const char *path, sg_error *err)
{
    sg_safetensors *st;
    sg_tpr_parts parts = {0};
    sg_tensor lift = {0};
    sg_error why;
    SG_TRY(sg_safetensors_open(&st, path, err));
    sg_status status = take(&parts.binding, st, "binding", false, err);
    if (status == SG_OK)
        status = take(&parts.fillers, st, "fillers", false, err);
    if (status == SG_OK)
        status = take(&parts.rows, st, "rows", true, err);
    if (status == SG_OK)
        status = parts.rows.data ? take(&parts.columns, st, "columns", false, err)
                                 : take(&parts.roles, st, "roles", false, err);
    if (status == SG_OK)
        status = take(&parts.bias, st, "bias", true, err);
    if (status == SG_OK)
        status = take(&lift, st, "lift", false, err);
    if (status == SG_OK && (status = sg_tpr_of(out, &parts, &why)) != SG_OK)
        status = sg_fail(err, status == SG_ENOMEM ? status : SG_EFORMAT, "%s: %s", path, why.text);
    if (status == SG_OK) {
        sg_tensor *own = &(*out)->lift;
        if (lift.dtype != SG_F32 || lift.n_dims != 2 || memcmp(lift.dims, own->dims, 2 * sizeof lift.dims[0]) != 0)
            status = sg_fail(err, SG_EFORMAT, "%s: lift does not fit the other parts", path);
        else
            status = tpr_check_finite(&lift, "lift", err);
        if (status == SG_OK)
            memcpy(own->data, lift.data, sg_tensor_bytes(own));
    }
    sg_safetensors_close(st);
    return status;
}

static sg_status whole(sg_dim *out, const json_t *root, const char *path, const char *key, sg_error *err)
{
    const json_t *x = json_object_get(root, key);
    if (!json_is_integer(x) || json_integer_value(x) < 0)
        return sg_fail(err, SG_EFORMAT, "%s: %s is to be a whole number of at least 0", path, key);
    *out = json_integer_value(x);
    return SG_OK;
}

static const char *kept(const sg_tpr *p, const json_t *root, const char *key)
{
    const char *s = json_string_value(json_object_get(root, key));
    return s ? sg_arena_strdup(p->arena, s) : NULL;
}

static sg_status take_manifest(sg_tpr_manifest *m, const sg_tpr *p, const json_t *root, const char *path, sg_error *err)
{
    const char *kind = json_string_value(json_object_get(root, "kind"));
    const char *hash = json_string_value(json_object_get(root, "model_hash"));
    double *rates[N_RATES];
    sg_tpr_manifest found = {0};
    if (!kind || strcmp(kind, "tpr") != 0)
        return sg_fail(err, SG_EFORMAT, "%s: kind is \"%.40s\", wanted tpr", path, kind ? kind : "");
    SG_TRY(whole(&found.n_fit, root, path, "n_fit", err));
    SG_TRY(whole(&found.n_test, root, path, "n_test", err));
    found.site = kept(p, root, "site");
    found.label = kept(p, root, "label");
    found.world = kept(p, root, "world");
    found.model_hash = hash ? strtoull(hash, NULL, 16) : 0;
    found.data_seed = (uint64_t)json_integer_value(json_object_get(root, "data_seed"));
    rates_of(rates, &found);
    for (int i = 0; i < N_RATES; i++) {
        const json_t *x = json_object_get(root, rate_keys[i]);
        *rates[i] = json_is_number(x) ? json_number_value(x) : (double)NAN;
    }
    if (m)
        *m = found;
    return SG_OK;
}

static sg_status read_json(json_t **out, const char *path, sg_error *err)
{
    sg_file *file;
    json_error_t at;
    SG_TRY(sg_file_open(&file, path, err));
    const char *bytes = (const char *)sg_file_data(file);
    *out = json_loadb(bytes ? bytes : "", sg_file_bytes(file), JSON_REJECT_DUPLICATES, &at);
    sg_file_close(file);
    return *out ? SG_OK : sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
}

sg_status sg_tpr_open(sg_tpr **out, sg_tpr_manifest *manifest, const char *dir, const char *name, sg_error *err)
{
    char *numbers = NULL, *beside = NULL;
    json_t *root = NULL;
    *out = NULL;
    sg_status status = path_of(&numbers, dir, name, ".safetensors", err);
    if (status == SG_OK)
        status = path_of(&beside, dir, name, ".json", err);
    if (status == SG_OK)
        status = read_json(&root, beside, err);
    if (status == SG_OK)
        status = open_numbers(out, numbers, err);
    if (status == SG_OK)
        status = take_manifest(manifest, *out, root, beside, err);
    json_decref(root);
    free(numbers);
    free(beside);
    if (status != SG_OK) {
        sg_tpr_free(*out);
        *out = NULL;
    }
    return status;
}
