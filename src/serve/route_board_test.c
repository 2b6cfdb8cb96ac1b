/* Boards by bytes: the routes, their types and their refusals. What the numbers are is board_test.c's business. */
#include "check.h"
#include "serve/call.h"

static const char *const shipped = SG_SOURCE_DIR "/models/othello6";
static serve *server;

static int begin(void **state)
{
    (void)state;
    sg_error err;
    sg_server_opts opts = sg_server_defaults();
    opts.n_models = 1;
    opts.models = &shipped;
    opts.check_replies = true;
    if (access(shipped, R_OK) == 0 && sg_server_new(&server, &opts, &err) != SG_OK)
        return print_error("%s\n", err.text), -1;
    return 0;
}

static int finish(void **state)
{
    (void)state;
    sg_server_free(server);
    return 0;
}

static serve_answer ask(int code, const char *method, const char *target, const char *body)
{
    serve_answer a = serve_call(server, method, target, body);
    if (a.code != code)
        print_error("%s %s\n  %d: %s\n", method, target, a.code, a.body);
    CHECK(a.code == code);
    return a;
}

static void answers_are_of_their_types_and_say_where_they_come_from(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    static const struct {
        const char *method, *target, *body;
    } calls[] = {
        {"GET", "/api/v1/models/othello6/board", NULL},
        {"POST", "/api/v1/models/othello6/board", "{\"moves\": \"\"}"},
        {"POST", "/api/v1/models/othello6/board", "{\"moves\": \"c2\", \"attention\": true}"},
        {"POST", "/api/v1/models/othello6/board",
         "{\"moves\": \"c2d2\", \"ply\": 2, \"edits\": [{\"ply\": 1, \"squares\": {\"c3\": \"empty\"}}, {\"ply\": 2, "
         "\"squares\": "
         "{\"d3\": \"white\", \"a1\": \"mine\"}, \"first\": 1, \"last\": 2, \"strength\": 0.7}], \"attention\": true, "
         "\"controls\": "
         "3, \"seed\": 5}"},
        {"POST", "/api/v1/models/othello6/board/saliency", "{\"moves\": \"c2\", \"strength\": 1}"},
        {"POST", "/api/v1/models/othello6/board/edits",
         "{\"moves\": \"c2\", \"edits\": [{\"ply\": 1, \"squares\": {\"c3\": \"empty\"}}]}"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(calls); i++) {
        serve_answer a = ask(200, calls[i].method, calls[i].target, calls[i].body);
        const json_t *origin = json_object_get(a.json, "origin");
        assert_string_equal(json_string_value(json_object_get(origin, "where")), "server");
        assert_string_equal(json_string_value(json_object_get(origin, "model")), "othello6");
        serve_answer_free(&a);
    }
    serve_answer a =
        ask(200, "POST", "/api/v1/board/games", "{\"size\": 6, \"random\": 2, \"seed\": 1, \"n_moves\": 5}");
    CHECK(json_array_size(json_object_get(a.json, "games")) == 2);
    serve_answer_free(&a);
}

/* Nothing is kept between questions: each has the answer that it has alone. */
static void the_same_question_has_the_same_answer(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    static const char *const bodies[] = {
        "{\"moves\": \"c2d2\", \"edits\": [{\"ply\": 2, \"squares\": {\"d3\": \"white\"}}]}", "{\"moves\": \"c2\"}"};
    char *first[2];
    for (int i = 0; i < 6; i++) {
        serve_answer a = ask(200, "POST", "/api/v1/models/othello6/board", bodies[i % 2]);
        json_object_del(a.json, "origin"); /* it took another time */
        char *text = json_dumps(a.json, JSON_SORT_KEYS);
        CHECK(text != NULL);
        if (i < 2) {
            first[i] = text;
        } else {
            assert_string_equal(text, first[i % 2]);
            free(text);
        }
        serve_answer_free(&a);
    }
    free(first[0]);
    free(first[1]);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    static const struct {
        int code;
        const char *target, *body, *says;
    } calls[] = {
        {404, "/api/v1/models/nobody/board", "{\"moves\": \"\"}", "nobody"},
        {400, "/api/v1/models/othello6/board", "{\"moves\": \"c2c2\"}", "c2"},
        {400, "/api/v1/models/othello6/board", "{}", "moves"},
        {400, "/api/v1/models/othello6/board",
         "{\"moves\": \"c2\", \"edits\": [{\"ply\": 1, \"squares\": {\"a1\": \"red\"}}]}", "a1"},
        {400, "/api/v1/models/othello6/board", "{\"moves\": \"c2\", \"edits\": [{\"ply\": 9, \"squares\": {}}]}",
         "after move 9"},
        {400, "/api/v1/models/othello6/board/saliency", "{\"moves\": \"\"}", "no move yet"},
        {400, "/api/v1/board/games", "{\"size\": 8, \"text\": \"f5f5\"}", "f5"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(calls); i++) {
        serve_answer a = ask(calls[i].code, "POST", calls[i].target, calls[i].body);
        CHECK_TEXT(a.body, calls[i].says);
        serve_answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_of_their_types_and_say_where_they_come_from),
        cmocka_unit_test(the_same_question_has_the_same_answer),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
