/* Any bytes as a request: the first line is "METHOD TARGET", what follows an empty line is the body. It goes the whole
 * way through a server without models: the path, the route, the bounds of JSON, its type, the handler, the reply held
 * against its type; a body that is an object with "edits" is also read as a list of edits, as the handlers that run
 * models do it. */
#include <stdlib.h>
#include <string.h>

#include "serve/call.h"
#include "serve/json.h"
#include "sightglass/edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static sg_server *the_server(void)
{
    static sg_server *s;
    static int n_calls;
    if (++n_calls % 2048 == 0) { /* what requests had it keep */
        sg_server_free(s);
        s = NULL;
    }
    if (!s) {
        sg_server_opts opts = sg_server_defaults();
        sg_error err;
        opts.check_replies = true;
        opts.token = "test-token";
        if (sg_server_new(&s, &opts, &err) != SG_OK) {
            fprintf(stderr, "%s\n", err.text);
            abort();
        }
    }
    return s;
}

static void read_edits(const char *body, size_t n)
{
    json_t *root = NULL;
    sg_edit_list *list = NULL;
    sg_error err = {SG_OK, ""};

    if (memchr(body, '/', n) || serve_json_read(&root, body, n, 64, 1 << 20, &err) != SG_OK)
        return; /* a value may name a file, and none outside the working folder is to be opened */
    char *text = json_dumps(json_object_get(root, "edits"), JSON_COMPACT | JSON_ENCODE_ANY);
    if (text && sg_edit_list_parse(&list, text, strlen(text), "edits", &err) != SG_OK)
        SG_ASSERT(err.text[0] && !strchr(err.text, '\n'));
    sg_edit_list_free(list);
    free(text);
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"};
    serve_call_opts opts = serve_call_defaults();
    const char *text = (const char *)bytes;
    char target[2048];

    /* "POST /path?query\n\nbody" */
    const char *line_end = n ? memchr(text, '\n', n) : NULL;
    const size_t line = line_end ? (size_t)(line_end - text) : n;
    const char *space = line ? memchr(text, ' ', line) : NULL;
    if (!space)
        return 0;
    opts.method = methods[SG_COUNT_OF(methods) - 1];
    for (size_t i = 0; i < SG_COUNT_OF(methods); i++)
        if (strlen(methods[i]) == (size_t)(space - text) && memcmp(methods[i], text, (size_t)(space - text)) == 0)
            opts.method = methods[i];
    const size_t k = SG_MIN(line - (size_t)(space + 1 - text), sizeof target - 1);
    memcpy(target, space + 1, k);
    target[k] = '\0';
    opts.target = target;
    size_t at = line + 1;
    if (at < n && text[at] == '\n')
        at++;
    if (at < n) {
        opts.body = text + at;
        opts.n_body = n - at;
        read_edits(opts.body, opts.n_body);
    }
    serve_answer a = serve_call_with(the_server(), &opts);
    SG_ASSERT(a.code >= 200 && a.code < 600 && a.code != 500);
    if (a.code >= 400 && a.code != 401) {
        const json_t *error = json_object_get(a.json, "error");
        SG_ASSERT(json_is_string(json_object_get(error, "message")) && json_is_string(json_object_get(error, "type")));
        SG_ASSERT(json_object_get(error, "param") && json_object_get(error, "code"));
    }
    serve_answer_free(&a);
    return 0;
}
