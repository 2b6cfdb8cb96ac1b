/* The server by bytes, without a socket: what a head, a path, a token, a body may be. */
#include "check.h"
#include "serve/call.h"

static serve *open_server(void)
{
    sg_server_opts opts = sg_server_defaults();
    sg_error err;
    sg_server *s;
    opts.check_replies = true;
    opts.token = "test-token";
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    return s;
}

static void health_is_open_and_nothing_else(void **state)
{
    serve *s = open_server();
    serve_call_opts opts = serve_call_defaults();
    (void)state;

    opts.no_token = true;
    opts.target = "/health";
    serve_answer a = serve_call_with(s, &opts);
    CHECK(a.code == 200);
    assert_string_equal(json_string_value(json_object_get(a.json, "status")), "ok");
    serve_answer_free(&a);
    opts.target = "/metrics";
    a = serve_call_with(s, &opts);
    CHECK(a.code == 401);
    CHECK_TEXT(a.body, "\"type\":\"authentication_error\"");
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/metrics", NULL);
    CHECK(a.code == 200);
    CHECK_TEXT(a.body, "sightglass_requests_total{route=\"GET /health\",code=\"200\"} 1\n");
    serve_answer_free(&a);
    sg_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_is_open_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
