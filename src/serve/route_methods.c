/* Routes of methods: what there is, asking for one, and the files that a job wrote. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "serve/jobs.h"
#include "serve/methods.h"

enum { MOST_BYTES = 1 << 30 };

/* ---- what there is ---- */

static json_t *or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *words(const char *choices)
{
    json_t *list = json_array();
    while (choices && *choices) {
        const size_t n = strcspn(choices, "|");
        json_array_append_new(list, json_stringn(choices, n));
        choices += n + (choices[n] == '|');
    }
    return list;
}

static json_t *option_json(const sg_option *o)
{
    static const char *const kinds[] = {"whole", "real", "choice", "flag", "text", "path"};
    const bool number = o->kind == SG_OPTION_WHOLE || o->kind == SG_OPTION_REAL;
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:s}", "name", o->name, "kind", kinds[o->kind], "standard",
                     o->standard, "low", number ? json_real(o->low) : json_null(), "high",
                     number ? json_real(o->high) : json_null(), "choices", words(o->choices), "help", o->help);
}

static json_t *method_json(const sg_method *m)
{
    static const char *const kinds[] = {"model", "file", "text"};
    json_t *inputs = json_array(), *options = json_array();
    for (int i = 0; i < m->n_inputs; i++)
        json_array_append_new(inputs, json_pack("{s:s, s:s, s:i, s:i, s:s}", "name", m->inputs[i].name, "kind",
                                                kinds[m->inputs[i].kind], "least", m->inputs[i].least, "most",
                                                m->inputs[i].most, "help", m->inputs[i].help));
    for (int i = 0; i < m->n_options; i++)
        json_array_append_new(options, option_json(&m->options[i]));
    return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:o}", "name", m->name, "action", or_null(m->action), "help",
                     m->help, "about", m->about, "artefact", or_null(m->artefact), "inputs", inputs, "options",
                     options);
}

static sg_status list(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *methods = json_array();
    (void)s;
    (void)r;
    (void)err;
    for (int i = 0; i < sg_method_count(); i++)
        json_array_append_new(methods, method_json(sg_method_at(i)));
    serve_reply_json(reply, json_pack("{s:o}", "methods", methods));
    return SG_OK;
}

/* ---- asking for one ---- */

static sg_status ask(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    serve_method_ask a;
    serve_misfit misfit = {.code = NULL};
    json_t *job = NULL, *spec = json_copy((json_t *)(uintptr_t)r->body);
    char where[80];
    int code = 0;

    json_object_set_new(spec, "method", json_string(r->param[0]));
    sg_status status = serve_method_read(&a, s, spec, err); /* so that a mistake is told at once */
    if (status == SG_OK) {
        serve_method_end(&a);
        status = serve_jobs_add(s->jobs, "method", spec, &job, &code, &misfit, err);
    }
    json_decref(spec);
    if (status != SG_OK)
        return code ? serve_reply_error(reply, code, misfit.code, "%s", err->text) : status;
    snprintf(where, sizeof where, "/api/v1/jobs/%s", json_string_value(json_object_get(job, "id")));
    serve_reply_header(reply, "Location", where);
    serve_reply_code(reply, 201);
    serve_reply_json(reply, job);
    return SG_OK;
}

/* ---- files ---- */

static sg_status add_files(json_t *list_of, const char *folder, const char *within, sg_error *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT ? SG_OK : sg_fail(err, SG_EIO, "%s: %s", folder, strerror(errno));
    for (const struct dirent *e; (e = readdir(dir));) {
        char path[4500], name[400];
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%.4200s/%.200s", folder, e->d_name);
        snprintf(name, sizeof name, "%s%s%.200s", within, *within ? "/" : "", e->d_name);
        if (lstat(path, &st) != 0)
            continue;
        if (S_ISREG(st.st_mode))
            json_array_append_new(list_of, json_pack("{s:s, s:I}", "name", name, "bytes", (json_int_t)st.st_size));
        else if (S_ISDIR(st.st_mode) && !*within && add_files(list_of, path, e->d_name, NULL) != SG_OK)
            continue; /* a folder that cannot be read has no files for us */
    }
    closedir(dir);
    return SG_OK;
}

static sg_status files(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    char folder[4300];
    json_t *job = NULL, *all = json_array();
    sg_status status = serve_jobs_get(s->jobs, r->param[0], &job, err);
    json_decref(job);
    if (status == SG_OK)
        status = serve_job_folder_of(s, r->param[0], folder, err);
    if (status == SG_OK)
        status = add_files(all, folder, "", err);
    if (status != SG_OK) {
        json_decref(all);
        return status;
    }
    serve_reply_json(reply, json_pack("{s:o}", "files", all));
    return SG_OK;
}

static const char *type_of(const char *name)
{
    static const struct {
        const char *ending, *type;
    } types[] = {{".json", "application/json"}, {".png", "image/png"},  {".svg", "image/svg+xml"},
                 {".csv", "text/csv"},          {".txt", "text/plain"}, {".jsonl", "application/x-ndjson"}};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < SG_COUNT_OF(types); i++)
        if (strcmp(dot, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static sg_status file(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    char folder[4300], path[4700];
    const char *within = serve_query(r, "in");
    struct stat st;
    json_t *job = NULL;
    const sg_status there = serve_jobs_get(s->jobs, r->param[0], &job, err);
    json_decref(job);
    SG_TRY(there);
    SG_TRY(serve_job_folder_of(s, r->param[0], folder, err));
    if (within && (!*within || strchr(within, '/') || *within == '.' || strlen(within) > 200))
        return sg_fail(err, SG_EARG, "in is \"%.80s\", wanted the name of a folder that the job made", within);
    snprintf(path, sizeof path, "%s%s%s/%s", folder, within ? "/" : "", within ? within : "", r->param[1]);
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return sg_fail(err, SG_ENOTFOUND, "the job %.40s has no file \"%.80s\"", r->param[0], r->param[1]);
    if (st.st_size > MOST_BYTES)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: %lld bytes are more than an answer may have", r->param[1],
                       (long long)st.st_size);
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = f ? malloc((size_t)st.st_size + 1) : NULL;
    const size_t n = bytes ? fread(bytes, 1, (size_t)st.st_size, f) : 0;
    if (f)
        fclose(f);
    if (!bytes || n != (size_t)st.st_size) {
        free(bytes);
        return sg_fail(err, SG_EIO, "%s: could not be read", r->param[1]);
    }
    serve_reply_bytes(reply, type_of(r->param[1]), bytes, n, free);
    return SG_OK;
}

const serve_route serve_routes_methods[] = {
    {"GET", "/api/v1/methods", list, "", "Methods", "", 0, "Every method, with what it takes.", 0},
    {"POST", "/api/v1/methods/{method}", ask, "MethodAsk", "Job", "", 0,
     "Runs a method as a job of kind method: its events tell how far it is, its result is a MethodResult.", 0},
    {"GET", "/api/v1/jobs/{job}/files", files, "", "JobFiles", "", 0, "What a job wrote.", 0},
    {"GET", "/api/v1/jobs/{job}/files/{file}", file, "", "", "in?: string", SERVE_FILE,
     "One file that a job wrote; in names a folder that it lies in.", 0},
    {0},
};
