/* What all methods share: the table, options, the models and data that a run opens, and what its manifest says of them.
 */
#include "sightglass/method.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/sha256.h"
#include "methods/methods.h"
#include "sightglass/certificate.h"

/* ---- the table ---- */

/* Ended by NULL. */
static const sg_method *const methods[] = {
#define SG_METHOD(name) &sg_method_##name,
#include "methods/methods.def"
#undef SG_METHOD
    NULL};

int sg_method_count(void)
{
    return (int)SG_COUNT_OF(methods) - 1;
}

const sg_method *sg_method_at(int i)
{
    SG_ASSERT(i >= 0 && i < sg_method_count());
    return methods[i];
}

const sg_method *sg_method_find(const char *name, const char *action)
{
    for (int i = 0; i < sg_method_count(); i++)
        if (!strcmp(methods[i]->name, name) && (!action || (methods[i]->action && !strcmp(methods[i]->action, action))))
            return methods[i];
    return NULL;
}

/* ---- a run ---- */

enum { MOST_MODELS = 8 };

struct sg_method_run {
    const sg_method *method;
    const sg_method_ask *ask;
    double *value; /* of each option */
    sg_arena *arena;
    sg_result *result;
    sg_manifest about;
    int n_models;
    sg_model *model[MOST_MODELS];
    char part[80]; /* the last one told */
};

sg_method_ask sg_method_ask_defaults(void)
{
    return (sg_method_ask){.exec = sg_exec_defaults()};
}

static sg_status out_of_memory(const sg_method *m, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", m->name);
}

/* "dictionary fit" */
static const char *title(const sg_method *m, char buf[96])
{
    snprintf(buf, 96, "%s%s%s", m->name, m->action ? " " : "", m->action ? m->action : "");
    return buf;
}

static sg_status check_inputs(const sg_method *m, const sg_method_ask *ask, sg_error *err)
{
    char name[96];
    int least = 0, most = 0;
    for (int i = 0; i < m->n_inputs; i++) {
        least += m->inputs[i].least;
        most = m->inputs[i].most > 1000 - most ? 1000 : most + m->inputs[i].most;
    }
    if (ask->n_inputs < least) {
        int at = 0, n = 0; /* the first input that is missing */
        for (; at < m->n_inputs - 1 && n + m->inputs[at].least <= ask->n_inputs; at++)
            n += m->inputs[at].least;
        return sg_fail(err, SG_EARG, "%s: wanted %s (%s), found %d input%s", title(m, name), m->inputs[at].name,
                       m->inputs[at].help, ask->n_inputs, ask->n_inputs == 1 ? "" : "s");
    }
    if (ask->n_inputs > most)
        return sg_fail(err, SG_EARG, "%s: \"%.60s\" is one input too many", title(m, name), ask->inputs[most]);
    return SG_OK;
}

/* "k 32, width 512" */
static const char *options_text(sg_method_run *r)
{
    sg_str s = {0};
    for (int i = 0; i < r->method->n_options; i++) {
        const sg_option *o = &r->method->options[i];
        const char *text = sg_option_text(o, r->ask->n_settings, r->ask->settings);
        if (*text)
            sg_str_printf(&s, "%s%s %s", s.bytes ? ", " : "", o->name, text);
    }
    const char *copy = s.failed ? NULL : sg_arena_strdup(r->arena, s.text ? s.text : "");
    sg_str_free(&s);
    return copy;
}

static void close_models(void *run)
{
    sg_method_run *r = run;
    for (int i = 0; i < r->n_models; i++)
        sg_model_close(r->model[i]);
}

static sg_status begin(sg_method_run *r, sg_error *err)
{
    char name[96];
    const sg_method *m = r->method;
    r->value = sg_arena_array(r->arena, (size_t)m->n_options + 1, sizeof(double));
    const char *method = sg_arena_strdup(r->arena, title(m, name));
    if (!r->value || !method)
        return out_of_memory(m, err);
    SG_TRY(check_inputs(m, r->ask, err));
    SG_TRY(sg_options_parse(r->value, method, m->n_options, m->options, r->ask->n_settings, r->ask->settings, err));
    r->about = (sg_manifest){.method = method,
                             .build = r->ask->build,
                             .options = options_text(r),
                             .backend = sg_exec_name(&r->ask->exec),
                             .threads = r->ask->exec.n_threads,
                             .seed = r->ask->seed,
                             .seconds = (double)NAN};
    return sg_result_new(&r->result, &r->about, err);
}

sg_status sg_method_do(sg_result **out, const sg_method *m, const sg_method_ask *ask, sg_error *err)
{
    const double began = sg_now();
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    if (!arena)
        return out_of_memory(m, err);
    sg_method_run r = {.method = m, .ask = ask, .arena = arena};
    sg_status status = begin(&r, err);
    if (status == SG_OK)
        status = m->run(&r, err);
    if (status == SG_OK) {
        r.about.seconds = sg_now() - began;
        status = sg_result_set_manifest(r.result, &r.about, err);
    }
    if (status == SG_OK)
        status = sg_result_check(r.result, err);
    close_models(&r);
    sg_arena_free(arena);
    if (status != SG_OK) {
        sg_result_free(r.result);
        return status;
    }
    *out = r.result;
    return SG_OK;
}

/* ---- what was asked ---- */

int sg_method_n_inputs(const sg_method_run *r)
{
    return r->ask->n_inputs;
}

const char *sg_method_input_at(const sg_method_run *r, int i)
{
    SG_ASSERT(i >= 0 && i < r->ask->n_inputs);
    return r->ask->inputs[i];
}

static int place_of(const sg_method_run *r, const char *option)
{
    int i = 0;
    while (i < r->method->n_options && strcmp(r->method->options[i].name, option) != 0)
        i++;
    SG_ASSERT(i < r->method->n_options);
    return i;
}

double sg_method_number(const sg_method_run *r, const char *option)
{
    return r->value[place_of(r, option)];
}

bool sg_method_flag(const sg_method_run *r, const char *option)
{
    return sg_method_number(r, option) > 0;
}

const char *sg_method_text(const sg_method_run *r, const char *option)
{
    const char *text = sg_option_text(&r->method->options[place_of(r, option)], r->ask->n_settings, r->ask->settings);
    return *text ? text : NULL;
}

bool sg_method_given(const sg_method_run *r, const char *option)
{
    for (int i = 0; i < r->ask->n_settings; i++)
        if (!strcmp(r->ask->settings[i].name, option))
            return true;
    return false;
}

sg_status sg_method_numbers(const sg_method_run *r, const char *option, double **out, int *n, sg_error *err)
{
    const char *text = sg_method_text(r, option);
    *out = NULL;
    *n = 0;
    if (!text)
        return SG_OK;
    double *list = malloc((strlen(text) / 2 + 1) * sizeof *list);
    if (!list)
        return out_of_memory(r->method, err);
    for (const char *at = text; *at;) {
        char *end;
        list[*n] = strtod(at, &end);
        if (end == at || (*end && *end != ',') || (*end && !end[1]) || !isfinite(list[*n])) {
            free(list);
            return sg_fail(err, SG_EARG, "--%s is \"%.60s\", wanted numbers with commas between", option, text);
        }
        (*n)++;
        at = *end ? end + 1 : end;
    }
    *out = list;
    return SG_OK;
}

bool sg_method_from_afar(const sg_method_run *r)
{
    return r->ask->from_afar;
}

uint64_t sg_method_seed(const sg_method_run *r)
{
    return r->ask->seed;
}

const char *sg_method_out(const sg_method_run *r)
{
    return r->ask->out;
}

sg_exec_opts sg_method_exec(const sg_method_run *r)
{
    return r->ask->exec;
}

const volatile sig_atomic_t *sg_method_cancel(const sg_method_run *r)
{
    return r->ask->cancel;
}

void sg_method_progress(const sg_method_run *r, double done, const char *part)
{
    if (part != r->part) /* what was told last, for sg_method_on_progress; told on the thread of the run alone */
        snprintf(((sg_method_run *)(uintptr_t)r)->part, sizeof r->part, "%s", part);
    if (r->ask->progress)
        r->ask->progress(r->ask->context, done, part);
}

void sg_method_on_progress(void *run, double done)
{
    const sg_method_run *r = run;
    sg_method_progress(r, done, *r->part ? r->part : r->method->name);
}

sg_result *sg_method_result(const sg_method_run *r)
{
    return r->result;
}

const sg_manifest *sg_method_manifest(const sg_method_run *r)
{
    return &r->about;
}

/* ---- models and data ---- */

/* A second text of the same kind stands behind the first: "a, b". */
static sg_status note(sg_method_run *r, const char **at, const char *text, sg_error *err)
{
    const char *both = *at ? sg_arena_printf(r->arena, "%s, %s", *at, text) : sg_arena_strdup(r->arena, text);
    if (!both)
        return out_of_memory(r->method, err);
    *at = both;
    return SG_OK;
}

sg_status sg_method_model(sg_method_run *r, int i, sg_model **out, sg_error *err)
{
    const char *path = sg_method_input_at(r, i);
    sg_file_identity_opts opts = sg_file_identity_defaults();
    sg_file_identity *id = NULL;
    opts.cancel = r->ask->cancel;
    *out = NULL;
    SG_ASSERT(r->n_models < MOST_MODELS);
    SG_TRY(sg_model_open(&r->model[r->n_models], path, sg_model_defaults(), err));
    r->n_models++;
    sg_status status = sg_file_identity_of(&id, sg_model_get_info(r->model[r->n_models - 1])->path, opts, err);
    if (status == SG_OK)
        status = note(r, &r->about.model, path, err);
    if (status == SG_OK)
        status = note(r, &r->about.model_hash, id->hash, err);
    sg_file_identity_free(id);
    if (status == SG_OK)
        *out = r->model[r->n_models - 1];
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static sg_status hash_file(sg_sha256_stream *h, const char *path, sg_error *err)
{
    sg_file *f;
    SG_TRY(sg_file_open(&f, path, err));
    sg_sha256_add(h, sg_file_data(f), sg_file_bytes(f));
    sg_file_close(f);
    return SG_OK;
}

/* Names and bytes of a folder's files, in order of their names, and of the folders in it. */
static sg_status hash_folder(sg_sha256_stream *h, const char *path, int depth, sg_error *err)
{
    char **names = NULL, *inside = NULL;
    size_t n = 0, capacity = 0;
    sg_status status = SG_OK;
    DIR *dir = opendir(path);
    if (!dir)
        return sg_fail(err, SG_EIO, "%s: %s", path, strerror(errno));
    for (const struct dirent *e; status == SG_OK && (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        if (n == capacity) {
            char **more = realloc(names, (capacity = 2 * capacity + 16) * sizeof *names);
            if (!more) {
                status = sg_fail(err, SG_ENOMEM, "%s: out of memory for its names", path);
                break;
            }
            names = more;
        }
        if (!(names[n] = strdup(e->d_name)))
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory for its names", path);
        else
            n++;
    }
    closedir(dir);
    if (n)
        qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n && status == SG_OK; i++) {
        struct stat st;
        const size_t bytes = strlen(path) + strlen(names[i]) + 2;
        inside = malloc(bytes);
        if (!inside) {
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory for its names", path);
            break;
        }
        snprintf(inside, bytes, "%s/%s", path, names[i]);
        sg_sha256_add(h, names[i], strlen(names[i]) + 1);
        if (stat(inside, &st) != 0)
            status = sg_fail(err, SG_EIO, "%s: %s", inside, strerror(errno));
        else if (S_ISDIR(st.st_mode))
            status = depth < 8 ? hash_folder(h, inside, depth + 1, err)
                               : sg_fail(err, SG_EARG, "%s: folders within folders, more than eight deep", inside);
        else if (S_ISREG(st.st_mode))
            status = hash_file(h, inside, err);
        free(inside);
    }
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return status;
}

sg_status sg_method_data(sg_method_run *r, const char *path, sg_error *err)
{
    struct stat st;
    char text[SG_HASH_TEXT];

    if (stat(path, &st) != 0)
        return sg_fail(err, SG_ENOTFOUND, "%s: %s", path, strerror(errno));
    sg_sha256_stream *h = sg_sha256_new();
    if (!h)
        return out_of_memory(r->method, err);
    const sg_status status = S_ISDIR(st.st_mode) ? hash_folder(h, path, 0, err) : hash_file(h, path, err);
    sg_sha256_end(h, status == SG_OK ? text : NULL);
    if (status != SG_OK)
        return status;
    SG_TRY(note(r, &r->about.data, path, err));
    return note(r, &r->about.data_hash, text, err);
}

sg_status sg_method_sites(const sg_graph *g, const char *pattern, const char ***out, int *n, sg_error *err)
{
    const int most = sg_graph_n_names(g);
    *out = NULL;
    *n = 0;
    const char **names = malloc(((size_t)most + 1) * sizeof *names);
    if (!names)
        return sg_fail(err, SG_ENOMEM, "out of memory for the names of values");
    for (int i = 0; i < most; i++) {
        const char *name = sg_value_name(sg_graph_named(g, i));
        if (!*pattern || sg_match(pattern, name))
            names[(*n)++] = name;
    }
    if (!*n) {
        const char *nearest = sg_graph_nearest(g, pattern);
        free(names);
        return sg_fail(err, SG_ENOTFOUND, "no value is called \"%.80s\"%s%s", pattern,
                       nearest ? "; the nearest is " : "", nearest ? nearest : "");
    }
    *out = names;
    return SG_OK;
}
