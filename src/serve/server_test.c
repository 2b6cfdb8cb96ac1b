/* The server by bytes, without a socket: what a head, a path, a token, a body may be, and what comes back. */
#include "check.h"
#include "faults.h"
#include "serve/call.h"

/* ---- routes of our own ---- */

static sg_status echo(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    (void)err;
    serve_reply_json(reply, json_pack("{s:s, s:O?, s:O}", "param", r->param[0] ? r->param[0] : "", "body", r->body,
                                      "query", r->query));
    return SG_OK;
}

static sg_status fail_as_asked(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    serve_reply_param(reply, "body.status");
    return sg_fail(err, (sg_status)serve_query_number(r, "status", 0), "it failed");
}

static sg_status wrong_reply(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    (void)r;
    (void)err;
    serve_reply_json(reply, json_pack("{s:s, s:s, s:s}", "status", "ok", "version", "1", "uptime", "long"));
    return SG_OK;
}

static sg_status no_reply(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    (void)r;
    (void)reply;
    (void)err;
    return SG_OK;
}

static sg_status count_bytes(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    (void)err;
    serve_reply_json(reply, json_pack("{s:I, s:s}", "n", (json_int_t)r->n_bytes, "type", r->content_type));
    return SG_OK;
}

static sg_status two_parts(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    SG_TRY(serve_stream_begin(reply, "text/plain", err));
    SG_TRY(serve_stream_write(reply, "one ", 4, err));
    if (serve_query_number(r, "fail", 0) != 0)
        return sg_fail(err, SG_ENUMERIC, "it broke off");
    return serve_stream_write(reply, "two", 3, err);
}

static sg_status three_numbers(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    float x[3] = {1, 2, 3};
    const char *const name = "x";
    const sg_tensor t = {.dtype = SG_F32, .n_dims = 1, .dims = {3}, .data = x};
    (void)s;
    return serve_reply_tensors(reply, r, 1, &name, &t, err);
}

static const serve_route routes[] = {
    {"POST", "/t/echo/{name}", echo, "NewJob", "", "n?: integer, all?: boolean", SERVE_FILE, "-", 0},
    {"GET", "/t/echo/{name}", echo, "", "", "n?: integer, word: 'a' | 'b'", SERVE_FILE, "-", 0},
    {"GET", "/t/echo/fixed", no_reply, "", "", "", SERVE_FILE, "-", 0},
    {"GET", "/t/fail", fail_as_asked, "", "", "status: integer", SERVE_FILE, "-", 0},
    {"GET", "/t/wrong", wrong_reply, "", "Health", "", 0, "-", 0},
    {"POST", "/t/bytes", count_bytes, "", "", "", SERVE_BYTES | SERVE_FILE, "-", 16 << 20},
    {"GET", "/t/stream", two_parts, "", "", "fail?: integer", SERVE_STREAM, "-", 0},
    {"GET", "/t/tensor", three_numbers, "", "", "", SERVE_FILE, "-", 0},
    {0},
};

static serve *open_server(void)
{
    sg_server_opts opts = sg_server_defaults();
    sg_error err;
    sg_server *s;
    opts.check_replies = true;
    opts.token = "test-token";
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    CHECK_OK(serve_add_routes(s, routes, &err), &err);
    return s;
}

/* Asks and returns the code; the body is kept in `last` until the next call. */
static serve_answer last;
static int ask(serve *s, const char *method, const char *target, const char *body)
{
    serve_answer_free(&last);
    last = serve_call(s, method, target, body);
    return last.code;
}

static int ask_with(serve *s, const serve_call_opts *opts)
{
    serve_answer_free(&last);
    last = serve_call_with(s, opts);
    return last.code;
}

static int ask_header(serve *s, const char *target, const char *name, const char *value)
{
    serve_call_opts opts = serve_call_defaults();
    const exchange_pair pair = {name, value};
    opts.target = target;
    opts.n_headers = 1;
    opts.headers = &pair;
    return ask_with(s, &opts);
}

static const char *error_text(const char *field)
{
    const char *text = json_string_value(json_object_get(json_object_get(last.json, "error"), field));
    return text ? text : "(none)";
}

/* ---- who may ask ---- */

static void health_is_open_and_nothing_else(void **state)
{
    serve *s = open_server();
    serve_call_opts opts = serve_call_defaults();
    static const char *const closed[] = {"/",        "/metrics",       "/api/v1/jobs", "/index.html",
                                         "/nowhere", "/api/v1/events", "/health/",     "/t/stream"};
    (void)state;

    opts.no_token = true;
    opts.target = "/health";
    CHECK(ask_with(s, &opts) == 200);
    assert_string_equal(json_string_value(json_object_get(last.json, "status")), "ok");
    for (size_t i = 0; i < SG_COUNT_OF(closed); i++) {
        opts.target = closed[i];
        CHECK(ask_with(s, &opts) == 401);
        assert_string_equal(error_text("type"), "authentication_error");
        assert_string_equal(error_text("code"), "no_token");
    }
    sg_server_free(s);
}

static void only_the_whole_token_lets_in(void **state)
{
    static const char *const wrong[] = {
        "Bearer test-toke", "Bearer test-tokenn", "Bearer ", "test-token", "Basic test-token", "", "Bearer TEST-TOKEN"};
    serve *s = open_server();
    serve_call_opts opts = serve_call_defaults();
    exchange_pair pair = {"Authorization", NULL};
    (void)state;

    opts.no_token = true;
    opts.target = "/metrics";
    opts.n_headers = 1;
    opts.headers = &pair;
    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        pair.value = wrong[i];
        CHECK(ask_with(s, &opts) == 401);
    }
    pair.value = "bearer test-token";
    CHECK(ask_with(s, &opts) == 200);
    sg_server_free(s);
}

static void the_address_with_the_token_becomes_a_cookie(void **state)
{
    serve *s = open_server();
    serve_call_opts opts = serve_call_defaults();
    exchange_pair pairs[2] = {{"Cookie", "other=1; sightglass_0=test-token; x=y"}, {"Sec-Fetch-Site", "same-origin"}};
    (void)state;

    opts.no_token = true;
    opts.target = "/?token=test-token";
    CHECK(ask_with(s, &opts) == 303);
    CHECK_TEXT(last.headers, "Location: /\n");
    CHECK_TEXT(last.headers, "Set-Cookie: sightglass_0=test-token; Path=/; HttpOnly; SameSite=Strict\n");
    opts.target = "/?token=test-tokem";
    CHECK(ask_with(s, &opts) == 401);
    opts.target = "/metrics?token=test-token";
    CHECK(ask_with(s, &opts) == 401);
    opts.target = "/metrics";
    opts.n_headers = 2;
    opts.headers = pairs;
    CHECK(ask_with(s, &opts) == 200);
    pairs[1].value = "same-site"; /* another port of this machine */
    CHECK(ask_with(s, &opts) == 401);
    pairs[1].value = "cross-site";
    CHECK(ask_with(s, &opts) == 401);
    pairs[1].value = "none";
    pairs[0].value = "sightglass_0=test-token2";
    CHECK(ask_with(s, &opts) == 401);
    pairs[0].value = "sightglass_1=test-token";
    CHECK(ask_with(s, &opts) == 401);
    sg_server_free(s);
}

static void a_browser_without_the_token_is_told_in_words(void **state)
{
    serve *s = open_server();
    serve_call_opts opts = serve_call_defaults();
    const exchange_pair pair = {"Accept", "text/html,application/xhtml+xml"};
    (void)state;
    opts.no_token = true;
    opts.n_headers = 1;
    opts.headers = &pair;
    CHECK(ask_with(s, &opts) == 401);
    CHECK_TEXT(last.content_type, "text/html");
    CHECK_TEXT(last.body, "needs its token");
    CHECK(strstr(last.body, "test-token") == NULL);
    sg_server_free(s);
}

static void only_our_own_names_are_answered_for(void **state)
{
    static const char *const ours[] = {"127.0.0.1", "localhost:80", "LOCALHOST", "[::1]:80"};
    static const char *const others[] = {
        "evil.example", "127.0.0.1:81",  "127.0.0.1.evil.example", "localhost:", "",
        "[::1",         "localhost:80x", "127.0.0.1:800000",       "@127.0.0.1", "localhost.evil",
        "0.0.0.0",      "192.168.0.1"};
    serve *s = open_server();
    serve_call_opts opts = serve_call_defaults();
    exchange_pair pair = {"Host", NULL};
    (void)state;

    s->port = 80;
    opts.target = "/health";
    opts.no_host = true;
    CHECK(ask_with(s, &opts) == 421);
    opts.n_headers = 1;
    opts.headers = &pair;
    for (size_t i = 0; i < SG_COUNT_OF(ours); i++) {
        pair.value = ours[i];
        CHECK(ask_with(s, &opts) == 200);
    }
    for (size_t i = 0; i < SG_COUNT_OF(others); i++) {
        pair.value = others[i];
        CHECK(ask_with(s, &opts) == 421);
        assert_string_equal(error_text("code"), "wrong_host");
    }
    s->port = 0;
    sg_server_free(s);
}

static void another_origin_is_refused(void **state)
{
    static const char *const others[] = {"http://evil.example", "null", "https://127.0.0.1:80", "http://127.0.0.1:81",
                                         "http://localhost:80", ""};
    serve *s = open_server();
    (void)state;
    CHECK(ask_header(s, "/metrics", "Origin", "http://127.0.0.1:80") == 200);
    for (size_t i = 0; i < SG_COUNT_OF(others); i++) {
        CHECK(ask_header(s, "/metrics", "Origin", others[i]) == 403);
        assert_string_equal(error_text("code"), "wrong_origin");
    }
    sg_server_free(s);
}

static void a_header_that_may_come_once_comes_once(void **state)
{
    serve *s = open_server();
    (void)state;
    CHECK(ask_header(s, "/health", "Host", "127.0.0.1:80") == 400);
    CHECK(ask_header(s, "/health", "authorization", "Bearer test-token") == 400);
    assert_string_equal(error_text("code"), "repeated_header");
    sg_server_free(s);
}

/* ---- paths ---- */

static void paths_do_not_lead_out(void **state)
{
    static const char *const wrong[] = {"/../etc/passwd", "/a/../b",   "/a/./b",       "/%2e%2e/etc/passwd",
                                        "/a//b",          "//etc",     "/a%2f..%2fb",  "/a\\..\\b",
                                        "/%00",           "/a%0d%0ab", "/%",           "/%4",
                                        "/%zz",           "/a b",      "/caf\xc3\xa9", "http://x/",
                                        "relative",       "",          "/t/echo/..",   "/..",
                                        "/a/..",          "/.",        "/t/echo/a;b",  "/t/echo/%7e"};
    serve *s = open_server();
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        CHECK(ask(s, "GET", wrong[i], NULL) == 400);
        assert_string_equal(error_text("code"), "wrong_path");
    }
    CHECK(ask(s, "GET", "/nowhere", NULL) == 404);
    CHECK(ask(s, "GET", "/index.html/", NULL) == 404);
    char *longest = malloc(9000);
    memset(longest, 'a', 8999);
    longest[0] = '/';
    longest[8999] = '\0';
    CHECK(ask(s, "GET", longest, NULL) == 414);
    free(longest);
    sg_server_free(s);
}

static void what_stands_in_braces_is_passed_on(void **state)
{
    char target[200] = "/t/echo/";
    serve *s = open_server();
    (void)state;
    CHECK(ask(s, "GET", "/t/echo/a.b_c-9?word=a", NULL) == 200);
    assert_string_equal(json_string_value(json_object_get(last.json, "param")), "a.b_c-9");
    CHECK(ask(s, "GET", "/t/%65cho/%61?word=a", NULL) == 200);
    assert_string_equal(json_string_value(json_object_get(last.json, "param")), "a");
    CHECK(ask(s, "GET", "/t/echo/fixed", NULL) == 500); /* the form without braces, whose handler says nothing */
    CHECK_TEXT(error_text("message"), "gave no answer");
    memset(target + 8, 'x', 129);
    target[8 + 129] = '\0';
    CHECK(ask(s, "GET", target, NULL) == 404);
    CHECK(ask(s, "GET", "/t/echo/", NULL) == 404);
    sg_server_free(s);
}

static void other_methods_are_told_which_there_are(void **state)
{
    serve *s = open_server();
    (void)state;
    CHECK(ask(s, "DELETE", "/t/echo/x", NULL) == 405);
    CHECK_TEXT(last.headers, "Allow: POST, GET, HEAD\n");
    CHECK(ask(s, "BREW", "/t/echo/x", NULL) == 405);
    CHECK(ask(s, "OPTIONS", "/t/echo/x", NULL) == 204);
    CHECK_TEXT(last.headers, "Allow: POST, GET, HEAD\n");
    CHECK(strstr(last.headers, "Access-Control") == NULL);
    CHECK(ask(s, "HEAD", "/health", NULL) == 200);
    CHECK(ask(s, "HEAD", "/t/stream", NULL) == 405);
    sg_server_free(s);
}

/* ---- queries and bodies ---- */

static void a_query_is_held_against_its_type(void **state)
{
    serve *s = open_server();
    char many[400] = "/t/echo/x?word=a";
    (void)state;
    CHECK(ask(s, "GET", "/t/echo/x?word=a&n=12", NULL) == 200);
    CHECK(json_integer_value(json_object_get(json_object_get(last.json, "query"), "n")) == 12);
    CHECK(ask(s, "GET", "/t/echo/x?word=%62", NULL) == 200);
    CHECK(ask(s, "GET", "/t/echo/x", NULL) == 400);
    assert_string_equal(error_text("param"), "word");
    CHECK(ask(s, "GET", "/t/echo/x?word=c", NULL) == 400);
    CHECK_TEXT(error_text("message"), "word: wanted \"a\" or \"b\", found \"c\"");
    CHECK(ask(s, "GET", "/t/echo/x?word=a&n=x", NULL) == 400);
    CHECK(ask(s, "GET", "/t/echo/x?word=a&word=b", NULL) == 400);
    CHECK(ask(s, "GET", "/t/echo/x?wort=a", NULL) == 400);
    CHECK_TEXT(error_text("message"), "the nearest is word");
    CHECK(ask(s, "GET", "/t/echo/x?word=%", NULL) == 400);
    CHECK(ask(s, "GET", "/t/echo/x?word=%00", NULL) == 400);
    CHECK(ask(s, "GET", "/t/echo/x?word=%ff", NULL) == 400);
    for (int i = 0; i < 40; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "&a%d=1", i);
    CHECK(ask(s, "GET", many, NULL) == 400);
    CHECK_TEXT(error_text("message"), "too many parts");
    sg_server_free(s);
}

static void a_body_is_held_against_its_type(void **state)
{
    serve *s = open_server();
    serve_call_opts opts = serve_call_defaults();
    (void)state;
    CHECK(ask(s, "POST", "/t/echo/x", "{\"kind\": \"k\", \"spec\": {\"a\": [1]}}") == 200);
    CHECK(ask(s, "POST", "/t/echo/x", "{\"kind\": 3, \"spec\": 1}") == 400);
    assert_string_equal(error_text("message"), "kind: wanted a string, found a number");
    assert_string_equal(error_text("param"), "kind");
    assert_string_equal(error_text("code"), "wrong_type");
    CHECK(ask(s, "POST", "/t/echo/x", "{\"kind\": \"k\"}") == 400);
    assert_string_equal(error_text("code"), "missing_field");
    CHECK(ask(s, "POST", "/t/echo/x", "{\"kind\": \"k\", \"spec\": 1, \"spek\": 2}") == 400);
    assert_string_equal(error_text("code"), "unknown_field");
    CHECK(ask(s, "POST", "/t/echo/x", "{\"kind\": ") == 400);
    assert_string_equal(error_text("code"), "wrong_json");
    CHECK(ask(s, "POST", "/t/echo/x", "[]") == 400);
    CHECK(ask(s, "POST", "/t/echo/x", NULL) == 400);
    assert_string_equal(error_text("code"), "no_body");
    CHECK(ask(s, "POST", "/t/echo/x", "{\"kind\": \"k\", \"spec\": 1e999}") == 400);
    CHECK(ask(s, "POST", "/t/echo/x", "{\"kind\": \"k\", \"spec\": 99999999999999999999}") == 400);
    opts.method = "POST";
    opts.target = "/t/echo/x";
    opts.body = "{\"kind\": \"k\", \"spec\": 1}";
    opts.n_body = strlen(opts.body);
    opts.content_type = "text/plain"; /* what a form of another page could send */
    CHECK(ask_with(s, &opts) == 415);
    sg_server_free(s);
}

static void bodies_have_bounds(void **state)
{
    serve *s = open_server();
    serve_call_opts opts = serve_call_defaults();
    const size_t most = 8 << 20;
    char *big = calloc(1, (16 << 20) + 2);
    (void)state;
    CHECK(big != NULL);
    opts.method = "POST";
    opts.target = "/t/echo/x";
    opts.body = big;
    opts.n_body = most + 1;
    memset(big, ' ', most + 1);
    CHECK(ask_with(s, &opts) == 413);
    assert_string_equal(error_text("code"), "too_large");
    opts.n_body = most;
    memcpy(big, "{\"kind\":\"k\",\"spec\":[[[]]]}", 26);
    CHECK(ask_with(s, &opts) == 200);
    memset(big, '[', 1000);
    opts.n_body = 1000;
    CHECK(ask_with(s, &opts) == 400);
    CHECK_TEXT(error_text("message"), "nested deeper than 64");
    for (size_t i = 0; i < most; i += 3)
        memcpy(big + i, "[],", 3);
    big[0] = '[';
    opts.n_body = most;
    CHECK(ask_with(s, &opts) == 400);
    CHECK_TEXT(error_text("message"), "too many values");
    opts.target = "/t/bytes";
    opts.content_type = "text/csv";
    opts.n_body = 16 << 20;
    CHECK(ask_with(s, &opts) == 200);
    CHECK(json_integer_value(json_object_get(last.json, "n")) == 16 << 20);
    assert_string_equal(json_string_value(json_object_get(last.json, "type")), "text/csv");
    opts.n_body++;
    CHECK(ask_with(s, &opts) == 413);
    /* Where no body is taken, {} is let through, since some clients send it with every POST. */
    CHECK(ask(s, "POST", "/api/v1/jobs/none/stop", "{ }") == 404);
    CHECK(ask(s, "POST", "/api/v1/jobs/none/stop", "{\"a\":1}") == 400);
    CHECK(ask(s, "POST", "/api/v1/jobs/none/stop", "{\"aaaaaaaaaaaaaaaaaaa\":1}") == 413);
    free(big);
    sg_server_free(s);
}

/* ---- what comes back ---- */

static void every_status_has_its_code_in_one_shape(void **state)
{
    static const struct {
        sg_status status;
        int code;
        const char *type;
    } want[] = {{SG_EARG, 400, "invalid_request_error"},
                {SG_ENOTFOUND, 404, "not_found_error"},
                {SG_EIO, 500, "server_error"},
                {SG_EFORMAT, 400, "invalid_request_error"},
                {SG_ESHAPE, 400, "invalid_request_error"},
                {SG_ETYPE, 400, "invalid_request_error"},
                {SG_ENOMEM, 503, "server_error"},
                {SG_ENUMERIC, 422, "invalid_request_error"},
                {SG_EUNSUPPORTED, 501, "invalid_request_error"},
                {SG_ECANCELLED, 499, "cancelled"}};
    serve *s = open_server();
    char target[40];
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(want); i++) {
        snprintf(target, sizeof target, "/t/fail?status=%d", (int)want[i].status);
        CHECK(ask(s, "GET", target, NULL) == want[i].code);
        assert_string_equal(error_text("type"), want[i].type);
        assert_string_equal(error_text("message"), "it failed");
        assert_string_equal(error_text("param"), "body.status");
        CHECK(json_object_size(json_object_get(last.json, "error")) == 4);
    }
    sg_server_free(s);
}

static void a_reply_of_another_type_is_our_own_mistake(void **state)
{
    serve *s = open_server();
    (void)state;
    CHECK(ask(s, "GET", "/t/wrong", NULL) == 500);
    assert_string_equal(error_text("code"), "wrong_reply");
    CHECK_TEXT(error_text("message"), "uptime: wanted a number, found a string");
    sg_server_free(s);
}

static void a_stream_that_fails_has_no_end(void **state)
{
    serve *s = open_server();
    (void)state;
    CHECK(ask(s, "GET", "/t/stream", NULL) == 200);
    assert_string_equal(last.body, "one two");
    CHECK(!last.cut);
    CHECK(ask(s, "GET", "/t/stream?fail=1", NULL) == 200);
    assert_string_equal(last.body, "one ");
    CHECK(last.cut);
    sg_server_free(s);
}

static void tensors_come_as_safetensors_or_npy(void **state)
{
    serve *s = open_server();
    const float x[3] = {1, 2, 3};
    (void)state;
    CHECK(ask(s, "GET", "/t/tensor", NULL) == 200);
    assert_string_equal(last.content_type, "application/x-safetensors");
    CHECK_TEXT(last.body + 8, "{\"x\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}");
    CHECK(memcmp(last.body + last.n - 12, x, 12) == 0);
    CHECK(ask_header(s, "/t/tensor", "Accept", "application/x-npy") == 200);
    assert_string_equal(last.content_type, "application/x-npy");
    CHECK(memcmp(last.body, "\x93NUMPY\x01", 7) == 0 && memcmp(last.body + last.n - 12, x, 12) == 0);
    sg_server_free(s);
}

static void the_pages_files_are_served_and_no_others(void **state)
{
    static const unsigned char html[] = "<p>", packed[] = "\x1f\x8b...", secret[] = "secret";
    static const sg_server_asset assets[] = {
        {"page/index.html", html, 3, "0011223344556677889900112233445566778899001122334455667788990011", false},
        {"page/assets/index-AbCd_123.js", packed, 5, "aa11223344556677889900112233445566778899001122334455667788990011",
         true},
        {"models/m/config.json", secret, 6, "bb11223344556677889900112233445566778899001122334455667788990011", false}};
    sg_server_opts opts = sg_server_defaults();
    sg_server *s;
    sg_error err;
    (void)state;
    opts.assets = assets;
    opts.n_assets = 3;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    CHECK(ask(s, "GET", "/", NULL) == 200);
    assert_string_equal(last.body, "<p>");
    assert_string_equal(last.content_type, "text/html; charset=utf-8");
    CHECK_TEXT(last.headers, "ETag: \"00112233445566778899001122334455\"\n");
    CHECK_TEXT(last.headers, "Cache-Control: no-cache\n");
    CHECK(ask_header(s, "/index.html", "If-None-Match", "\"00112233445566778899001122334455\"") == 304);
    CHECK(last.n == 0);
    CHECK(ask(s, "GET", "/assets/index-AbCd_123.js", NULL) == 200);
    CHECK_TEXT(last.headers, "Content-Encoding: gzip\n");
    CHECK_TEXT(last.headers, "immutable");
    CHECK(ask(s, "GET", "/models/m/config.json", NULL) == 404);
    CHECK(ask(s, "GET", "/config.json", NULL) == 404);
    CHECK(ask(s, "GET", "/page/index.html", NULL) == 404);
    sg_server_free(s);
}

static void requests_are_counted(void **state)
{
    serve *s = open_server();
    (void)state;
    ask(s, "GET", "/health", NULL);
    ask(s, "GET", "/health", NULL);
    ask(s, "GET", "/t/fail?status=2", NULL);
    serve_count(s, SERVE_COUNT_tokens, 2.5);
    CHECK(ask(s, "GET", "/metrics", NULL) == 200);
    CHECK_TEXT(last.body, "sightglass_requests_total{route=\"GET /health\",code=\"200\"} 2\n");
    CHECK_TEXT(last.body, "sightglass_requests_total{route=\"GET /t/fail\",code=\"404\"} 1\n");
    CHECK_TEXT(last.body, "sightglass_request_seconds_count{route=\"GET /health\"} 2\n");
    CHECK_TEXT(last.body, "sightglass_tokens_generated_total 2.500000\n");
    sg_server_free(s);
}

static void memory_that_runs_out_is_an_answer(void **state)
{
    static const char *const requests[][3] = {{"GET", "/t/echo/x?word=a&n=1", NULL},
                                              {"POST", "/t/echo/x", "{\"kind\":\"k\",\"spec\":[1,2,{\"a\":\"b\"}]}"},
                                              {"POST", "/t/echo/x", "{\"kind\":1}"},
                                              {"GET", "/t/stream", NULL},
                                              {"GET", "/t/tensor", NULL},
                                              {"GET", "/?token=test-token", NULL}};
    serve *s = open_server();
    (void)state;
    json_set_alloc_funcs(malloc, free);
    for (size_t i = 0; i < SG_COUNT_OF(requests); i++) {
        const int good = ask(s, requests[i][0], requests[i][1], requests[i][2]);
        for (long n = 0;; n++) {
            serve_answer_free(&last);
            sg_faults_begin(n, SG_FAULT_ONCE);
            last = serve_call(s, requests[i][0], requests[i][1], requests[i][2]);
            if (!sg_faults_end()) {
                CHECK(last.code == good);
                CHECK(n > 2);
                break;
            }
            /* Or what was missing was not needed; and jansson takes a name that it has no memory for as no name. */
            CHECK(last.code == 503 || last.code == 500 || last.code == good || last.code == 401 ||
                  (last.code == 400 && strcmp(error_text("code"), "wrong_json") == 0));
        }
    }
    sg_server_free(s);
}

static void a_server_that_memory_runs_out_for_is_not_made(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        sg_server_opts opts = sg_server_defaults();
        sg_server *s = NULL;
        sg_error err = {SG_OK, ""};
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_server_new(&s, &opts, &err);
        const bool fired = sg_faults_end();
        sg_server_free(s);
        if (!fired) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_OK || status == SG_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_is_open_and_nothing_else),
        cmocka_unit_test(only_the_whole_token_lets_in),
        cmocka_unit_test(the_address_with_the_token_becomes_a_cookie),
        cmocka_unit_test(a_browser_without_the_token_is_told_in_words),
        cmocka_unit_test(only_our_own_names_are_answered_for),
        cmocka_unit_test(another_origin_is_refused),
        cmocka_unit_test(a_header_that_may_come_once_comes_once),
        cmocka_unit_test(paths_do_not_lead_out),
        cmocka_unit_test(what_stands_in_braces_is_passed_on),
        cmocka_unit_test(other_methods_are_told_which_there_are),
        cmocka_unit_test(a_query_is_held_against_its_type),
        cmocka_unit_test(a_body_is_held_against_its_type),
        cmocka_unit_test(bodies_have_bounds),
        cmocka_unit_test(every_status_has_its_code_in_one_shape),
        cmocka_unit_test(a_reply_of_another_type_is_our_own_mistake),
        cmocka_unit_test(a_stream_that_fails_has_no_end),
        cmocka_unit_test(tensors_come_as_safetensors_or_npy),
        cmocka_unit_test(the_pages_files_are_served_and_no_others),
        cmocka_unit_test(requests_are_counted),
        cmocka_unit_test(memory_that_runs_out_is_an_answer),
        cmocka_unit_test(a_server_that_memory_runs_out_for_is_not_made),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    serve_answer_free(&last);
    return failed;
}
