/* The kind of jobs `method`: any method of methods.def, on models that the server knows and files that jobs left. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve/jobs.h"
#include "serve/methods.h"
#include "serve/models.h"
#include "serve/workspace.h"

static const char spec_type[] =
    "{method: string, action?: string, inputs?: string[], settings?: Record<string, string | number | boolean>,"
    " seed?: integer, out?: string}";

/* ---- what is asked ---- */

/* A name without a path in it. */
static bool is_plain(const char *name)
{
    return *name && *name != '.' && strlen(name) < 128 &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(name);
}

sg_status serve_job_folder_of(serve *s, const char *id, char path[4300], sg_error *err)
{
    const char *root = serve_workspace_path(s->workspace);
    if (!is_plain(id) || strlen(id) > 40)
        return sg_fail(err, SG_EARG, "\"%.40s\" is no job", id);
    if (!root)
        return sg_fail(err, SG_EUNSUPPORTED, "files of jobs need a workspace, and this server has none");
    snprintf(path, 4300, "%.4000s/runs/%s", root, id);
    return SG_OK;
}

/* job:ID or job:ID/NAME/... as a path that is there, within the job's folder. */
static sg_status job_file(serve *s, const char *text, char path[4400], sg_error *err)
{
    char id[64], folder[4300];
    struct stat st;
    const char *slash = strchr(text + 4, '/');
    const size_t bytes = slash ? (size_t)(slash - text) - 4 : strlen(text + 4);
    if (bytes >= sizeof id)
        return sg_fail(err, SG_EARG, "\"%.80s\" names no job", text);
    memcpy(id, text + 4, bytes);
    id[bytes] = '\0';
    SG_TRY(serve_job_folder_of(s, id, folder, err));
    if (slash && (strstr(slash, "..") || strlen(slash) > 90))
        return sg_fail(err, SG_EARG, "\"%.80s\" leads out of the job's folder", text);
    snprintf(path, 4400, "%s%s", folder, slash ? slash : "");
    if (lstat(path, &st) != 0 || S_ISLNK(st.st_mode))
        return sg_fail(err, SG_ENOTFOUND, "\"%.80s\": there is no such file", text);
    return SG_OK;
}

/* A text is a text: where a method would take a file instead, it is not to be one of the machine. */
static sg_status text_alone(const char *text, sg_error *err)
{
    if (*text && access(text, F_OK) == 0)
        return sg_fail(err, SG_EARG, "\"%.80s\" is a file here: requests name job:ID/NAME, a file that a job left",
                       text);
    return SG_OK;
}

static sg_status input(serve_method_ask *a, serve *s, sg_method_input_kind kind, const char *text, const char **out,
                       sg_error *err)
{
    char path[4400];
    const char *found = text;
    if (strncmp(text, "job:", 4) == 0) {
        SG_TRY(job_file(s, text, path, err));
        found = path;
    } else if (kind != SG_METHOD_TEXT) { /* where a file will do, a model's does too */
        serve_models *models = serve_models_of(s);
        const int i = serve_models_find(models, text);
        const sg_model *none;
        if (i < 0 && kind == SG_METHOD_FILE)
            return sg_fail(err, SG_EARG,
                           "\"%.80s\": wanted job:ID or job:ID/NAME, a file that a job of this server left", text);
        if (i < 0)
            return serve_models_open(&none, models, text, err); /* whose words say which there are */
        found = serve_models_path(models, i);
    } else {
        SG_TRY(text_alone(text, err));
    }
    *out = sg_arena_strdup(a->arena, found);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a request");
}

static sg_status inputs(serve_method_ask *a, serve *s, const json_t *list, sg_error *err)
{
    const size_t n = json_array_size(list);
    const char **in = sg_arena_array(a->arena, n + 1, sizeof *in);
    if (!in)
        return sg_fail(err, SG_ENOMEM, "out of memory for a request");
    int at = 0, taken = 0; /* the input that the next text belongs to, and how many it has */
    for (size_t i = 0; i < n; i++) {
        while (at + 1 < a->method->n_inputs && taken >= a->method->inputs[at].most) {
            at++;
            taken = 0;
        }
        const sg_method_input_kind kind = a->method->n_inputs ? a->method->inputs[at].kind : SG_METHOD_TEXT;
        SG_TRY(input(a, s, kind, json_string_value(json_array_get(list, i)), &in[i], err));
        taken++;
    }
    a->ask.n_inputs = (int)n;
    a->ask.inputs = in;
    return SG_OK;
}

static const sg_option *option_of(const sg_method *m, const char *name)
{
    for (int i = 0; i < m->n_options; i++)
        if (strcmp(m->options[i].name, name) == 0)
            return &m->options[i];
    return NULL;
}

static sg_status settings(serve_method_ask *a, serve *s, json_t *of, sg_error *err)
{
    const char *name;
    json_t *value;
    int n = 0;
    sg_setting *list = sg_arena_array(a->arena, json_object_size(of) + 1, sizeof *list);
    double *parsed = sg_arena_array(a->arena, (size_t)a->method->n_options + 1, sizeof *parsed);
    bool good = list && parsed;
    json_object_foreach(of, name, value)
    {
        const sg_option *o = option_of(a->method, name);
        char number[40];
        const char *text = json_is_string(value)    ? json_string_value(value)
                           : json_is_true(value)    ? "yes"
                           : json_is_boolean(value) ? "no"
                                                    : number;
        if (!good)
            break;
        if (json_is_integer(value))
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        else
            snprintf(number, sizeof number, "%.17g", json_number_value(value));
        list[n] = (sg_setting){sg_arena_strdup(a->arena, name), NULL};
        if (o && o->kind == SG_OPTION_PATH && *text)
            SG_TRY(input(a, s, SG_METHOD_FILE, text, &list[n].value, err));
        else
            list[n].value = sg_arena_strdup(a->arena, text);
        if (o && o->kind == SG_OPTION_TEXT)
            SG_TRY(text_alone(text, err));
        good = list[n].name && list[n].value;
        n++;
    }
    if (!good)
        return sg_fail(err, SG_ENOMEM, "out of memory for a request");
    a->ask.n_settings = n;
    a->ask.settings = list;
    return sg_options_parse(parsed, a->method->name, a->method->n_options, a->method->options, n, list, err);
}

static sg_status read_spec(serve_method_ask *a, serve *s, const json_t *spec, sg_error *err)
{
    const char *name = json_string_value(json_object_get(spec, "method")),
               *action = json_string_value(json_object_get(spec, "action")),
               *out = json_string_value(json_object_get(spec, "out"));
    const json_int_t seed = json_integer_value(json_object_get(spec, "seed"));
    a->method = name ? sg_method_find(name, action) : NULL;
    if (!a->method)
        return sg_fail(err, SG_ENOTFOUND, "no method is called \"%.40s%s%.40s\"", name ? name : "", action ? " " : "",
                       action ? action : "");
    a->ask = sg_method_ask_defaults();
    a->ask.from_afar = true;
    a->ask.seed = seed > 0 ? (uint64_t)seed : 0;
    if (out && !is_plain(out))
        return sg_fail(err, SG_EARG, "out is \"%.80s\", wanted a name of letters, digits, '.', '_' and '-'", out);
    if (a->method->artefact)
        a->ask.out = sg_arena_strdup(a->arena, out ? out : "out");
    SG_TRY(inputs(a, s, json_object_get(spec, "inputs"), err));
    return settings(a, s, json_object_get(spec, "settings"), err);
}

sg_status serve_method_read(serve_method_ask *out, serve *s, const json_t *spec, sg_error *err)
{
    *out = (serve_method_ask){.arena = sg_arena_new()};
    if (!out->arena)
        return sg_fail(err, SG_ENOMEM, "out of memory for a request");
    const sg_status status = read_spec(out, s, spec, err);
    if (status != SG_OK)
        serve_method_end(out);
    return status;
}

void serve_method_end(serve_method_ask *a)
{
    sg_arena_free(a->arena);
    a->arena = NULL;
}

/* ---- the job ---- */

static void on_progress(void *context, double done, const char *part)
{
    sg_job_progress(context, done, 1, part);
}

static sg_status as_text(const sg_result *r, char **out, sg_error *err)
{
    size_t n = 0;
    FILE *to = open_memstream(out, &n);
    if (!to)
        return sg_fail(err, SG_ENOMEM, "out of memory for a result");
    const sg_status status = sg_result_write_json(r, to, err);
    if (fclose(to) != 0 && status == SG_OK)
        return sg_fail(err, SG_ENOMEM, "out of memory for a result");
    return status;
}

static sg_status do_it(sg_server_job *job, serve_method_ask *a, char **result, sg_error *err)
{
    char build[160];
    const char *folder;
    sg_result *r = NULL;
    serve *s = serve_job_server(job);
    if (a->ask.out) {
        SG_TRY(sg_job_folder(job, &folder, err));
        a->ask.out = sg_arena_printf(a->arena, "%s/%s", folder, a->ask.out);
        if (!a->ask.out)
            return sg_fail(err, SG_ENOMEM, "out of memory for a job");
    }
    snprintf(build, sizeof build, "%s (%.100s)", SG_VERSION, serve_opts(s)->commit);
    a->ask.build = build;
    a->ask.exec.n_threads = SG_MIN(a->ask.exec.n_threads, SG_MAX(1, serve_opts(s)->n_threads));
    a->ask.progress = on_progress;
    a->ask.context = job;
    a->ask.cancel = sg_job_cancel_flag(job);
    sg_job_ran_on(job, sg_exec_name(&a->ask.exec), a->ask.seed);
    SG_TRY(sg_method_do(&r, a->method, &a->ask, err));
    const sg_status status = as_text(r, result, err);
    sg_result_free(r);
    return status;
}

static sg_status run(sg_server_job *job, const char *spec, char **result, sg_error *err)
{
    serve_method_ask a = {.arena = NULL};
    json_t *of = json_loads(spec, 0, NULL);
    sg_status status =
        of ? serve_method_read(&a, serve_job_server(job), of, err) : sg_fail(err, SG_ENOMEM, "out of memory for a job");
    json_decref(of);
    if (status == SG_OK)
        status = do_it(job, &a, result, err);
    serve_method_end(&a);
    return status;
}

const sg_job_kind serve_method_kind = {
    "method", "Runs a method, as GET /api/v1/methods lists them; the result is its findings, tables and figures.",
    spec_type, false, run};
