/* The second door says what the first one does. */
#include <string.h>

#include "serve/route_test.h"

static const char *text_at(const json_t *j, const char *a, const char *b)
{
    const json_t *inner = json_object_get(j, a);

    return json_string_value(b ? json_object_get(inner, b) : inner);
}

static void models_have_tags(void **state)
{
    (void)state;
    serve *s = open_server(true);
    serve_answer a = serve_call(s, "GET", "/api/tags", NULL);

    CHECK(a.code == 200);
    assert_string_equal(text_at(json_array_get(json_object_get(a.json, "models"), 0), "name", NULL), "othello6:latest");
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/api/version", NULL);
    CHECK(a.code == 200);
    serve_answer_free(&a);
    sg_server_free(s);
}

static void both_doors_write_the_same(void **state)
{
    (void)state;
    serve *s = open_server(true);
    serve_answer a =
        serve_call(s, "POST", "/v1/completions",
                   "{\"model\": \"othello6\", \"prompt\": \"d2 c5\", \"max_tokens\": 6, \"seed\": 4, \"temperature\": "
                   "0.7, \"top_k\": 10, \"top_p\": 0.8}");
    const char *wanted = text_at(json_array_get(json_object_get(a.json, "choices"), 0), "text", NULL);
    const char *const ask =
        "{\"model\": \"othello6:latest\", \"prompt\": \"d2 c5\", \"stream\": %s, \"options\": {\"num_predict\": 6, "
        "\"seed\": 4, \"temperature\": 0.7, \"top_k\": 10, \"top_p\": 0.8, \"num_ctx\": 32}}";
    char body[512], read[256] = "";

    CHECK(wanted != NULL);
    snprintf(body, sizeof body, ask, "false");
    serve_answer b = serve_call(s, "POST", "/api/generate", body);
    CHECK(b.code == 200);
    assert_string_equal(text_at(b.json, "response", NULL), wanted);
    assert_string_equal(text_at(b.json, "done_reason", NULL), "length");
    CHECK(json_integer_value(json_object_get(b.json, "eval_count")) == 6);
    serve_answer_free(&b);
    snprintf(body, sizeof body, ask, "true");
    b = serve_call(s, "POST", "/api/generate", body);
    CHECK(b.code == 200 && !b.cut);
    assert_string_equal(b.content_type, "application/x-ndjson");
    int lines = 0;
    bool done = false;
    for (const char *at = b.body, *end; (end = strchr(at, '\n')); at = end + 1) {
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        CHECK(line != NULL && !done);
        strcat(read, text_at(line, "response", NULL));
        done = json_is_true(json_object_get(line, "done"));
        lines++;
        json_decref(line);
    }
    assert_string_equal(read, wanted);
    CHECK(done && lines == 7);
    serve_answer_free(&a);
    serve_answer_free(&b);
    char path[1024];
    if (sg_test_shared(path, "models/stories260K")) {
        a = serve_call(s, "POST", "/v1/chat/completions",
                       "{\"model\": \"stories260K\", \"messages\": [{\"role\": \"user\", \"content\": \"A dog?\"}], "
                       "\"max_tokens\": 9, "
                       "\"temperature\": 0}");
        b = serve_call(s, "POST", "/api/chat",
                       "{\"model\": \"stories260K\", \"messages\": [{\"role\": \"user\", \"content\": \"A dog?\"}], "
                       "\"stream\": false, "
                       "\"options\": {\"num_predict\": 9, \"temperature\": 0}}");
        CHECK(a.code == 200 && b.code == 200);
        const json_t *message = json_object_get(json_array_get(json_object_get(a.json, "choices"), 0), "message");
        assert_string_equal(text_at(b.json, "message", "content"), text_at(message, "content", NULL));
        serve_answer_free(&a);
        serve_answer_free(&b);
    }
    sg_server_free(s);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body, *text;
        int code;
    } wrong[] = {
        {"/api/generate", "{\"model\": \"llama3\", \"prompt\": \"a\"}", "there are othello6", 404},
        {"/api/generate", "{\"model\": \"othello6\", \"prompt\": \"\"}", "no tokens", 400},
        {"/api/generate", "{\"model\": \"othello6\", \"prompt\": \"d2\", \"options\": {\"top_p\": 2}}", "options.top_p",
         400},
        {"/api/generate", "{\"model\": \"othello6\", \"prompt\": \"d2\", \"format\": \"json\"}", "\"param\":\"format\"",
         400},
        {"/api/generate",
         "{\"model\": \"othello6\", \"prompt\": \"d2\", \"edits\": [{\"site\": \"x\", \"op\": \"scale\"}]}",
         "\"param\":\"edits\"", 400},
        {"/api/chat", "{\"model\": \"othello6\", \"messages\": []}", "no tokenizer", 400},
    };
    serve *s = open_server(true);

    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        serve_answer a = serve_call(s, "POST", wrong[i].path, wrong[i].body);
        CHECK(a.code == wrong[i].code);
        CHECK_TEXT(a.body, wrong[i].text);
        serve_answer_free(&a);
    }
    sg_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_have_tags),
        cmocka_unit_test(both_doors_write_the_same),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
