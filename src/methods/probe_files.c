/* A probe on disk: numbers as safetensors, and what they are in JSON beside them. A table's controls lie in a folder of
 * their own, DIR/controls, those that all sites share once for each label. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "methods/probe_internal.h"
#include "sightglass/safetensors.h"

static const char *const control_keys[SG_N_PROBE_CONTROLS] = {"untrained", "bag", "embedding", "shuffled"};

static char *path_of(const char *dir, const char *name, const char *ending, sg_error *err)
{
    const size_t n = strlen(dir) + strlen(name) + strlen(ending) + 2;
    char *path = malloc(n);
    if (path)
        snprintf(path, n, "%s/%s%s", dir, name, ending);
    else
        (void)sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    return path;
}

static sg_status check_name(const char *dir, const char *name, sg_error *err)
{
    if (!name[0] || strchr(name, '/') || name[0] == '.')
        return sg_fail(err, SG_EARG, "%s: \"%.80s\" cannot be the name of a probe", dir, name);
    return SG_OK;
}

/* ---- saving ---- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *text(const char *s)
{
    return s ? json_string(s) : json_null();
}

static json_t *numbers(const double *x)
{
    json_t *o = json_object();
    for (int c = 0; o && c < SG_N_PROBE_CONTROLS; c++)
        json_object_set_new(o, control_keys[c], number(x[c]));
    return o;
}

static json_t *describe(const sg_probe *p, const sg_probe_manifest *m)
{
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, m->model_hash);
    return json_pack("{s:s, s:I, s:I, s:i, s:I, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
                     "kind", sg_probe_kind_name(p->kind), "width", (json_int_t)p->width, "tasks", (json_int_t)p->tasks,
                     "classes", p->classes, "hidden", (json_int_t)p->hidden, "site", text(m->site), "label",
                     text(m->label), "world", text(m->world), "data", text(m->data), "model_hash", hash, "data_seed",
                     (json_int_t)m->data_seed, "untrained_seed", (json_int_t)m->untrained_seed, "n_fit",
                     (json_int_t)m->n_fit, "n_test", (json_int_t)m->n_test, "accuracy", number(m->accuracy),
                     "hard_accuracy", number(m->hard_accuracy), "controls", numbers(m->control), "hard_controls",
                     numbers(m->hard_control));
}

static sg_status save_json(json_t *root, const char *path, sg_error *err)
{
    sg_writer *w;
    SG_TRY(sg_writer_begin(&w, path, err));
    /* a failed write leaves its mark on the stream, and commit looks at it */
    (void)json_dumpf(root, sg_writer_stream(w), JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    fputc('\n', sg_writer_stream(w));
    return sg_writer_commit(w, err);
}

sg_status sg_probe_save(const sg_probe *p, const sg_probe_manifest *manifest, const char *dir, const char *name,
                        sg_error *err)
{
    SG_TRY(check_name(dir, name, err));
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    json_t *root = describe(p, manifest);
    char *to = path_of(dir, name, ".safetensors", err), *beside = path_of(dir, name, ".json", err);
    sg_status status =
        root && to && beside ? SG_OK : sg_fail(err, SG_ENOMEM, "%s/%s: out of memory, or no UTF-8", dir, name);
    if (status == SG_OK) {
        const sg_named_tensor list[4] = {{"w", p->w}, {"b", p->b}, {"first", p->first}, {"first_bias", p->first_bias}};
        status = sg_safetensors_save(to, list, p->hidden ? 4 : 2, NULL, 0, err);
    }
    if (status == SG_OK)
        status = save_json(root, beside, err);
    json_decref(root);
    free(to);
    free(beside);
    return status;
}

/* ---- opening ---- */

static sg_status whole(const json_t *root, const char *path, const char *key, long long least, long long most,
                       long long *out, sg_error *err)
{
    const json_t *x = json_object_get(root, key);
    if (!json_is_integer(x) || json_integer_value(x) < least || json_integer_value(x) > most)
        return sg_fail(err, SG_EFORMAT, "%s: %s wants to be a whole number from %lld to %lld", path, key, least, most);
    *out = json_integer_value(x);
    return SG_OK;
}

static double real(const json_t *x)
{
    return json_is_number(x) ? json_number_value(x) : (double)NAN;
}

static const char *kept(sg_probe *p, const json_t *root, const char *key)
{
    const char *s = json_string_value(json_object_get(root, key));
    return s ? sg_arena_strdup(p->arena, s) : NULL;
}

static sg_status take_manifest(sg_probe_manifest *m, sg_probe *p, const json_t *root, const char *path, sg_error *err)
{
    const char *hash = json_string_value(json_object_get(root, "model_hash"));
    const json_t *controls = json_object_get(root, "controls"), *hard = json_object_get(root, "hard_controls");
    long long n_fit = 0, n_test = 0;
    SG_TRY(whole(root, path, "n_fit", 0, INT64_MAX, &n_fit, err));
    SG_TRY(whole(root, path, "n_test", 0, INT64_MAX, &n_test, err));
    *m = (sg_probe_manifest){.site = kept(p, root, "site"),
                             .label = kept(p, root, "label"),
                             .world = kept(p, root, "world"),
                             .data = kept(p, root, "data"),
                             .model_hash = hash ? strtoull(hash, NULL, 16) : 0,
                             .data_seed = (uint64_t)json_integer_value(json_object_get(root, "data_seed")),
                             .untrained_seed = (uint64_t)json_integer_value(json_object_get(root, "untrained_seed")),
                             .n_fit = n_fit,
                             .n_test = n_test,
                             .accuracy = real(json_object_get(root, "accuracy")),
                             .hard_accuracy = real(json_object_get(root, "hard_accuracy"))};
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++) {
        m->control[c] = real(json_object_get(controls, control_keys[c]));
        m->hard_control[c] = real(json_object_get(hard, control_keys[c]));
    }
    return SG_OK;
}

static sg_status take(sg_tensor *to, const sg_safetensors *st, const char *path, const char *name, sg_error *err)
{
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
    const sg_tensor *t;
    SG_TRY(sg_safetensors_get(&t, st, name, err));
    if (t->dtype != SG_F32 || t->n_dims != to->n_dims ||
        memcmp(t->dims, to->dims, (size_t)to->n_dims * sizeof to->dims[0]) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: %s is %s %s, its manifest says f32 %s", path, name,
                       sg_dtype_name(t->dtype), sg_shape_text(found, t->n_dims, t->dims),
                       sg_shape_text(wanted, to->n_dims, to->dims));
    if (sg_tensor_bytes(t))
        memcpy(to->data, t->data, sg_tensor_bytes(t));
    return SG_OK;
}

static sg_status take_numbers(sg_probe *p, const char *path, sg_error *err)
{
    sg_safetensors *st;
    SG_TRY(sg_safetensors_open(&st, path, err));
    sg_status status = take(&p->w, st, path, "w", err);
    if (status == SG_OK)
        status = take(&p->b, st, path, "b", err);
    if (status == SG_OK && p->hidden)
        status = take(&p->first, st, path, "first", err);
    if (status == SG_OK && p->hidden)
        status = take(&p->first_bias, st, path, "first_bias", err);
    sg_safetensors_close(st);
    return status;
}

static sg_status make(sg_probe **out, const json_t *root, const char *path, sg_error *err)
{
    const char *kind = json_string_value(json_object_get(root, "kind"));
    long long width = 0, tasks = 0, classes = 0, hidden = 0;
    int k = 0;
    while (k < SG_N_PROBE_KINDS && (!kind || strcmp(kind, sg_probe_kind_name((sg_probe_kind)k)) != 0))
        k++;
    if (k == SG_N_PROBE_KINDS)
        return sg_fail(err, SG_EFORMAT, "%s: kind is \"%.40s\", wanted ridge, softmax, mlp or mean", path,
                       kind ? kind : "");
    SG_TRY(whole(root, path, "width", 0, 1 << 24, &width, err));
    SG_TRY(whole(root, path, "tasks", 0, 1 << 20, &tasks, err));
    SG_TRY(whole(root, path, "classes", 1, 1 << 16, &classes, err));
    SG_TRY(whole(root, path, "hidden", k == SG_PROBE_MLP, 1 << 20, &hidden, err));
    return sg_probe_new(out, (sg_probe_kind)k, width, tasks, (int)classes, hidden, err);
}

static sg_status read_manifest(json_t **out, const char *path, sg_error *err)
{
    sg_file *file;
    json_error_t at;
    SG_TRY(sg_file_open(&file, path, err));
    const char *text_of = sg_file_data(file) ? (const char *)sg_file_data(file) : "";
    *out = json_loadb(text_of, sg_file_bytes(file), JSON_REJECT_DUPLICATES, &at);
    sg_file_close(file);
    if (!*out)
        return sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
    return SG_OK;
}

sg_status sg_probe_open(sg_probe **out, sg_probe_manifest *manifest, const char *dir, const char *name, sg_error *err)
{
    *out = NULL;
    SG_TRY(check_name(dir, name, err));
    char *from = path_of(dir, name, ".safetensors", err), *beside = path_of(dir, name, ".json", err);
    json_t *root = NULL;
    sg_probe *p = NULL;
    sg_status status = from && beside ? read_manifest(&root, beside, err) : SG_ENOMEM;
    if (status == SG_OK)
        status = make(&p, root, beside, err);
    if (status == SG_OK)
        status = take_numbers(p, from, err);
    if (status == SG_OK && manifest)
        status = take_manifest(manifest, p, root, beside, err);
    json_decref(root);
    free(from);
    free(beside);
    if (status != SG_OK) {
        sg_probe_free(p);
        return status;
    }
    *out = p;
    return SG_OK;
}

/* ---- tables ---- */

/* "othello size 6": the world with all its options. */
static void say_world(sg_str *s, const sg_probe_job *job)
{
    sg_str_puts(s, job->world->name);
    for (int i = 0; i < job->world->n_options; i++) {
        const char *value = job->world->options[i].standard;
        for (int k = 0; k < job->n_settings; k++)
            if (strcmp(job->settings[k].name, job->world->options[i].name) == 0)
                value = job->settings[k].value;
        sg_str_printf(s, " %s %s", job->world->options[i].name, value);
    }
}

enum { NAME_TEXT = 240 };

static void say_name(char to[NAME_TEXT], const char *site, const char *label)
{
    snprintf(to, NAME_TEXT, "%s.%s", label, site);
}

static void say_control(char to[NAME_TEXT], const char *site, const char *label, int c)
{
    if (sg_probe_control_is_shared(c))
        snprintf(to, NAME_TEXT, "%s.%s", label, control_keys[c]);
    else
        snprintf(to, NAME_TEXT, "%s.%s.%s", label, site, control_keys[c]);
}

static sg_status save_result(const sg_probe_result *r, sg_probe_manifest m, bool shared_too, const char *dir,
                             const char *controls, sg_error *err)
{
    char name[NAME_TEXT], site[200];
    m.site = r->site;
    m.label = r->label;
    m.accuracy = r->score->all.value;
    m.hard_accuracy = r->score->hard.value;
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++) {
        m.control[c] = r->control[c]->all.value;
        m.hard_control[c] = r->control[c]->hard.value;
    }
    say_name(name, r->site, r->label);
    SG_TRY(sg_probe_save(r->probe, &m, dir, name, err));
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++) {
        if (sg_probe_control_is_shared(c) && !shared_too)
            continue;
        snprintf(site, sizeof site, "%s (%s)", r->site, sg_probe_control_name((sg_probe_control)c));
        m.site = site;
        m.accuracy = r->control[c]->all.value;
        m.hard_accuracy = r->control[c]->hard.value;
        say_control(name, r->site, r->label, c);
        SG_TRY(sg_probe_save(r->control_probe[c], &m, controls, name, err));
    }
    return SG_OK;
}

sg_status sg_probe_table_save(const sg_probe_table *t, const sg_probe_job *job, const char *dir, sg_error *err)
{
    sg_str world = {0};
    say_world(&world, job);
    char *controls = path_of(dir, "controls", "", err);
    sg_status status =
        world.failed || !controls ? sg_fail(err, SG_ENOMEM, "%s: out of memory for its names", dir) : SG_OK;
    if (status == SG_OK && mkdir(dir, 0777) != 0 && errno != EEXIST)
        status = sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    const sg_probe_manifest m = {.world = world.text,
                                 .data = job->data,
                                 .model_hash = sg_model_hash(job->model),
                                 .data_seed = job->seed,
                                 .untrained_seed = job->untrained_seed,
                                 .n_fit = job->n_fit,
                                 .n_test = job->n_test};
    for (int i = 0; i < t->n && status == SG_OK; i++)
        status = save_result(&t->results[i], m, i < t->n_labels, dir, controls, err);
    sg_str_free(&world);
    free(controls);
    return status;
}

static sg_status open_result(sg_probe_result *r, sg_probe_manifest *m, const char *dir, const char *name, sg_error *err)
{
    char other[NAME_TEXT];
    SG_TRY(sg_probe_open(&r->probe, m, dir, name, err));
    if (!m->site || !m->label || !m->world || strlen(m->site) >= sizeof r->site || strlen(m->label) >= sizeof r->label)
        return sg_fail(err, SG_EFORMAT, "%s/%s.json: site, label and world want to be texts", dir, name);
    memcpy(r->site, m->site, strlen(m->site) + 1);
    memcpy(r->label, m->label, strlen(m->label) + 1);
    char *controls = path_of(dir, "controls", "", err);
    sg_status status = controls ? SG_OK : SG_ENOMEM;
    for (int c = 0; c < SG_N_PROBE_CONTROLS && status == SG_OK; c++) {
        say_control(other, r->site, r->label, c);
        status = sg_probe_open(&r->control_probe[c], NULL, controls, other, err);
        if (status == SG_ENOTFOUND) /* left out, to save room */
            status = SG_OK;
    }
    free(controls);
    return status;
}

sg_status sg_probe_table_open(sg_probe_table **out, sg_probe_manifest *m, const char *dir, const char *name,
                              sg_error *err)
{
    sg_probe_table *t = NULL;
    *out = NULL;
    SG_TRY(sg_probe_table_new(&t, 1, 1, err));
    const sg_status status = open_result(&t->results[0], m, dir, name, err);
    if (status != SG_OK) {
        sg_probe_table_free(t);
        return status;
    }
    *out = t;
    return SG_OK;
}
