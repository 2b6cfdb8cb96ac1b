/* What can be asked, written from the tables of routes and types: for the page, for OpenAPI's tools, for people. */
#include <stdlib.h>
#include <string.h>

#include "serve/server.h"

typedef struct writer {
    FILE *to;
    const serve_types *t;
    int n_routes;
    const serve_route *route[SERVE_MAX_ROUTES];
    const serve_type *query[SERVE_MAX_ROUTES];
} writer;

/* ---- TypeScript ---- */

static void put_ts(FILE *to, const serve_type *t, int indent);

static bool is_name(const char *text)
{
    size_t n = 0;
    while ((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= 'A' && text[n] <= 'Z') || text[n] == '_' ||
           text[n] == '$' || (n && text[n] >= '0' && text[n] <= '9'))
        n++;
    return n && !text[n];
}

static void put_ts_object(FILE *to, const serve_type *t, int indent)
{
    if (t->n == 0 && !t->open) {
        fputs("Record<string, never>", to);
        return;
    }
    fputs("{\n", to);
    for (int i = 0; i < t->n; i++) {
        const serve_field *f = &t->field[i];
        fprintf(to, is_name(f->name) ? "%*s%s%s: " : "%*s'%s'%s: ", indent + 4, "", f->name, f->optional ? "?" : "");
        put_ts(to, f->type, indent + 4);
        fputs(";\n", to);
    }
    if (t->open)
        fprintf(to, "%*s[key: string]: unknown;\n", indent + 4, "");
    fprintf(to, "%*s}", indent, "");
}

static void put_ts(FILE *to, const serve_type *t, int indent)
{
    static const char *const words[] = {
        [SERVE_STRING] = "string",   [SERVE_NUMBER] = "number", [SERVE_INTEGER] = "number",
        [SERVE_BOOLEAN] = "boolean", [SERVE_NULL] = "null",     [SERVE_UNKNOWN] = "unknown"};
    switch (t->kind) {
    case SERVE_LITERAL:
        if (t->text)
            fprintf(to, "'%s'", t->text);
        else
            fprintf(to, "%g", t->number);
        break;
    case SERVE_NAMED:
        fputs(t->text, to);
        break;
    case SERVE_ARRAY: {
        const bool braced = t->field[0].type->kind == SERVE_UNION;
        fputs(braced ? "(" : "", to);
        put_ts(to, t->field[0].type, indent);
        fputs(braced ? ")[]" : "[]", to);
        break;
    }
    case SERVE_RECORD:
        fputs("Record<string, ", to);
        put_ts(to, t->field[0].type, indent);
        fputs(">", to);
        break;
    case SERVE_UNION:
        for (int i = 0; i < t->n; i++) {
            fputs(i ? " | " : "", to);
            put_ts(to, t->field[i].type, indent);
        }
        break;
    case SERVE_OBJECT:
        put_ts_object(to, t, indent);
        break;
    default:
        fputs(words[t->kind], to);
    }
}

static const char *reply_of(const serve_route *r)
{
    return (r->flags & SERVE_FILE)                      ? "bytes"
           : (r->flags & SERVE_STREAM) && !r->output[0] ? "stream"
           : r->output[0]                               ? "json"
                                                        : "none";
}

static void put_braces(FILE *to, const char *path)
{
    int n = 0;
    fputs("[", to);
    for (const char *p = strchr(path, '{'); p; p = strchr(p, '{')) {
        const size_t k = strcspn(p + 1, "}");
        fprintf(to, "%s%.*s: string", n++ ? ", " : "", (int)k, p + 1);
        p += k;
    }
    fputs("]", to);
}

static void write_ts(writer *w)
{
    FILE *to = w->to;
    fputs("/* Written by `sightglass serve --api ts` from src/serve/routes.def and types.def; a test holds this file "
          "to it. */\n",
          to);
    for (int i = 0; i < serve_types_count(w->t); i++) {
        fprintf(to, "\n/** %s */\nexport type %s = ", serve_types_what(w->t, i), serve_types_name(w->t, i));
        put_ts(to, serve_types_at(w->t, i), 0);
        fputs(";\n", to);
    }
    fputs("\n/** What each route takes and gives: the texts for its path's braces, its query, its body, its reply. */\n"
          "export interface Routes {\n",
          to);
    for (int i = 0; i < w->n_routes; i++) {
        const serve_route *r = w->route[i];
        fprintf(to, "    /** %s */\n    '%s %s': {\n        params: ", r->what, r->method, r->path);
        put_braces(to, r->path);
        fputs(";\n        query: ", to);
        put_ts(to, w->query[i], 8);
        fprintf(to, ";\n        body: %s;\n        reply: %s;\n    };\n",
                (r->flags & SERVE_BYTES) ? "Blob | ArrayBuffer"
                : r->input[0]            ? r->input
                                         : "null",
                strcmp(reply_of(r), "json") == 0   ? r->output
                : strcmp(reply_of(r), "none") == 0 ? "null"
                                                   : "Response");
    }
    fputs("}\n\n/** How each is asked. `stream`: it may answer by server-sent events. */\nexport const routes: { "
          "readonly [K in keyof Routes]: { "
          "readonly method: string; readonly path: string; readonly reply: 'json' | 'bytes' | 'stream' | 'none'; "
          "readonly stream: boolean } } = {\n",
          to);
    for (int i = 0; i < w->n_routes; i++) {
        const serve_route *r = w->route[i];
        fprintf(to, "    '%s %s': { method: '%s', path: '%s', reply: '%s', stream: %s },\n", r->method, r->path,
                r->method, r->path, reply_of(r), (r->flags & SERVE_STREAM) ? "true" : "false");
    }
    fputs("};\n", to);
}

/* ---- OpenAPI ---- */

static json_t *schema(const serve_type *t)
{
    static const char *const words[] = {[SERVE_STRING] = "string",
                                        [SERVE_NUMBER] = "number",
                                        [SERVE_INTEGER] = "integer",
                                        [SERVE_BOOLEAN] = "boolean",
                                        [SERVE_NULL] = "null"};
    switch (t->kind) {
    case SERVE_UNKNOWN:
        return json_object();
    case SERVE_LITERAL:
        return t->text ? json_pack("{s:s}", "const", t->text) : json_pack("{s:f}", "const", t->number);
    case SERVE_NAMED: {
        char ref[120];
        snprintf(ref, sizeof ref, "#/components/schemas/%.80s", t->text);
        return json_pack("{s:s}", "$ref", ref);
    }
    case SERVE_ARRAY:
        return json_pack("{s:s, s:o}", "type", "array", "items", schema(t->field[0].type));
    case SERVE_RECORD:
        return json_pack("{s:s, s:o}", "type", "object", "additionalProperties", schema(t->field[0].type));
    case SERVE_UNION: {
        json_t *any = json_array();
        for (int i = 0; i < t->n; i++)
            json_array_append_new(any, schema(t->field[i].type));
        return json_pack("{s:o}", "anyOf", any);
    }
    case SERVE_OBJECT: {
        json_t *properties = json_object(), *required = json_array();
        for (int i = 0; i < t->n; i++) {
            json_object_set_new(properties, t->field[i].name, schema(t->field[i].type));
            if (!t->field[i].optional)
                json_array_append_new(required, json_string(t->field[i].name));
        }
        return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required,
                         "additionalProperties", t->open);
    }
    default:
        return json_pack("{s:s}", "type", words[t->kind]);
    }
}

static json_t *content(const char *type, json_t *of)
{
    return json_pack("{s:{s:o}}", type, "schema", of);
}

static json_t *named(const char *name)
{
    const serve_type t = {.kind = SERVE_NAMED, .text = name};
    return schema(&t);
}

static json_t *operation(const writer *w, int i)
{
    const serve_route *r = w->route[i];
    json_t *parameters = json_array(), *op = json_pack("{s:s}", "summary", r->what),
           *reply = json_pack("{s:s}", "description", "ok");

    for (const char *p = strchr(r->path, '{'); p; p = strchr(p + 1, '{'))
        json_array_append_new(parameters, json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name", p + 1, strcspn(p + 1, "}"),
                                                    "in", "path", "required", 1, "schema", "type", "string"));
    for (int k = 0; k < w->query[i]->n; k++) {
        const serve_field *f = &w->query[i]->field[k];
        json_array_append_new(parameters, json_pack("{s:s, s:s, s:b, s:o}", "name", f->name, "in", "query", "required",
                                                    !f->optional, "schema", schema(f->type)));
    }
    if (json_array_size(parameters))
        json_object_set(op, "parameters", parameters);
    json_decref(parameters);
    if (r->flags & SERVE_BYTES)
        json_object_set_new(op, "requestBody",
                            json_pack("{s:o}", "content", content("application/octet-stream", json_object())));
    else if (r->input[0])
        json_object_set_new(op, "requestBody",
                            json_pack("{s:b, s:o}", "required", !(r->flags & SERVE_OPTIONAL), "content",
                                      content("application/json", named(r->input))));
    if (r->output[0])
        json_object_set_new(reply, "content", content("application/json", named(r->output)));
    else if (r->flags & SERVE_STREAM)
        json_object_set_new(reply, "content", content("text/event-stream", json_pack("{s:s}", "type", "string")));
    else if (r->flags & SERVE_FILE)
        json_object_set_new(reply, "content", content("application/octet-stream", json_object()));
    json_object_set_new(op, "responses",
                        json_pack("{s:o, s:{s:s, s:o}}", "2XX", reply, "default", "description", "what went wrong",
                                  "content", content("application/json", named("ErrorReply"))));
    if (r->flags & SERVE_OPEN)
        json_object_set_new(op, "security", json_array());
    return op;
}

static void lower(char *to, const char *from)
{
    for (; *from; from++)
        *to++ = (char)(*from >= 'A' && *from <= 'Z' ? *from + 32 : *from);
    *to = '\0';
}

static sg_status write_openapi(writer *w, sg_error *err)
{
    json_t *paths = json_object(), *schemas = json_object();

    for (int i = 0; i < w->n_routes; i++) {
        char method[16];
        lower(method, w->route[i]->method);
        json_t *at = json_object_get(paths, w->route[i]->path);
        if (!at) {
            at = json_object();
            json_object_set_new(paths, w->route[i]->path, at);
        }
        json_object_set_new(at, method, operation(w, i));
    }
    for (int i = 0; i < serve_types_count(w->t); i++) {
        json_t *of = schema(serve_types_at(w->t, i));
        json_object_set_new(of, "description", json_string(serve_types_what(w->t, i)));
        json_object_set_new(schemas, serve_types_name(w->t, i), of);
    }
    json_t *root = json_pack("{s:s, s:{s:s, s:s, s:s}, s:[{s:s}], s:[{s:[]}], s:o, s:{s:o, s:{s:{s:s, s:s}}}}",
                             "openapi", "3.1.0", "info", "title", "Sightglass", "version", SG_VERSION, "description",
                             "Written by `sightglass serve --api openapi`.", "servers", "url", "http://127.0.0.1:8808",
                             "security", "token", "paths", paths, "components", "schemas", schemas, "securitySchemes",
                             "token", "type", "http", "scheme", "bearer");
    const int rc = root ? json_dumpf(root, w->to, JSON_INDENT(1)) : -1;
    json_decref(root);
    fputs("\n", w->to);
    return rc == 0 ? SG_OK : sg_fail(err, SG_ENOMEM, "the OpenAPI file could not be written");
}

/* ---- for people ---- */

static void link_to(FILE *to, const char *name)
{
    char anchor[120];
    lower(anchor, name);
    fprintf(to, "[%s](#%s)", name, anchor);
}

static void write_markdown(writer *w)
{
    FILE *to = w->to;
    fputs(
        "# The interface for programs\n\n"
        "Written by `sightglass serve --api markdown` from `src/serve/routes.def` and `types.def`; a test holds this "
        "file to it.\n\n"
        "`sightglass serve` prints one address, `http://127.0.0.1:PORT/?token=TOKEN`. Programs send the token with "
        "every request:\n\n"
        "    curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8808/api/v1/jobs\n\n"
        "JSON goes in and out (`Content-Type: application/json`). A body is held against its type: a field that the "
        "type does not have is\n"
        "refused, and the path of what is wrong is told. Every failure looks like OpenAI's, `{\"error\": {\"message\", "
        "\"type\", \"param\",\n"
        "\"code\"}}`, where `param` is that path. Tensors come as safetensors, or as npy where one is asked for with\n"
        "`Accept: application/x-npy`.\n\n"
        "| code | means |\n|---|---|\n"
        "| 400 | the request makes no sense: no JSON, another type, shapes that do not fit |\n"
        "| 401, 403, 421 | no token; another page asks; another name than this server's |\n"
        "| 404, 405, 409 | nothing of that name; another method; not in this state |\n"
        "| 413, 414, 415, 431 | too large; the address too long; not application/json; too many headers |\n"
        "| 422 | a number stopped being finite |\n"
        "| 429, 503 | too many jobs; too many requests wait, try again after Retry-After |\n"
        "| 500, 501 | the system refused; not something this version does |\n\n"
        "## Routes\n",
        to);
    for (int i = 0; i < w->n_routes; i++) {
        const serve_route *r = w->route[i];
        fprintf(to, "\n### %s %s\n\n%s", r->method, r->path, r->what);
        if (r->flags & SERVE_OPEN)
            fputs(" Needs no token.", to);
        fputs("\n", to);
        if (r->query[0])
            fprintf(to, "\nQuery: `%s`\n", r->query);
        if (r->flags & SERVE_BYTES)
            fputs("\nBody: bytes", to);
        else if (r->input[0]) {
            fputs("\nBody: ", to);
            link_to(to, r->input);
        }
        if (r->body_bytes)
            fprintf(to, ", at most %zu KiB", r->body_bytes / 1024);
        if (r->input[0] || (r->flags & SERVE_BYTES))
            fputs("\n", to);
        fputs("\nReply: ", to);
        if (r->output[0]) {
            link_to(to, r->output);
            fputs((r->flags & SERVE_STREAM) ? ", or server-sent events\n" : "\n", to);
        } else {
            fputs((r->flags & SERVE_FILE)     ? "bytes\n"
                  : (r->flags & SERVE_STREAM) ? "server-sent events\n"
                                              : "nothing\n",
                  to);
        }
    }
    fputs("\n## Types\n", to);
    for (int i = 0; i < serve_types_count(w->t); i++) {
        fprintf(to, "\n### %s\n\n%s\n\n```ts\n", serve_types_name(w->t, i), serve_types_what(w->t, i));
        put_ts(to, serve_types_at(w->t, i), 0);
        fputs("\n```\n", to);
    }
}

/* ---- ---- */

static sg_status list_routes(writer *w, serve_types *t, sg_error *err)
{
    int n;
    const serve_route *const *lists = serve_route_lists(&n);

    for (int k = 0; k < n; k++) {
        for (const serve_route *r = lists[k]; r->path; r++) {
            char query[600];
            if (w->n_routes == SERVE_MAX_ROUTES)
                return sg_fail(err, SG_EARG, "there are more than %d routes", SERVE_MAX_ROUTES);
            snprintf(query, sizeof query, "{%s}", r->query);
            SG_TRY(serve_type_parse(&w->query[w->n_routes], t, r->path, query, err));
            w->route[w->n_routes++] = r;
        }
    }
    return SG_OK;
}

sg_status sg_server_api(FILE *to, const char *form, sg_error *err)
{
    serve_types *t = NULL;
    writer *w = calloc(1, sizeof *w);

    if (!w)
        return sg_fail(err, SG_ENOMEM, "out of memory for the list of routes");
    sg_status status = serve_types_new(&t, err);
    if (status == SG_OK) {
        w->to = to;
        w->t = t;
        status = list_routes(w, t, err);
    }
    if (status == SG_OK && strcmp(form, "ts") == 0)
        write_ts(w);
    else if (status == SG_OK && strcmp(form, "openapi") == 0)
        status = write_openapi(w, err);
    else if (status == SG_OK && strcmp(form, "markdown") == 0)
        write_markdown(w);
    else if (status == SG_OK)
        status = sg_fail(err, SG_EARG, "the form is \"%.40s\", wanted ts, openapi or markdown", form);
    serve_types_free(t);
    free(w);
    return status;
}
