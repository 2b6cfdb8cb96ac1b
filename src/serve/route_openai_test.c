/* The door by bytes: what comes back for what is asked. With the official client: web/test/openai.spec.mjs. */
#include <string.h>

#include "serve/models.h"
#include "serve/route_test.h"
#include "sightglass/safetensors.h"

static void skip_without_stories(void)
{
    char path[1024];
    SKIP_WITHOUT(sg_test_shared(path, "models/stories260K"), "models/stories260K");
}

static json_t *golden(void)
{
    char path[1024];
    json_error_t at;
    json_t *j = sg_test_shared(path, "golden/stories260K.json") ? json_load_file(path, 0, &at) : NULL;

    if (!j) {
        print_message("skipped: golden/stories260K.json is not here\n");
        skip();
    }
    return j;
}

static serve_answer post(serve *s, const char *path, const char *body)
{
    return serve_call(s, "POST", path, body);
}

static serve_answer complete(serve *s, const char *body)
{
    return post(s, "/v1/completions", body);
}

static const json_t *choice(const serve_answer *a, size_t i)
{
    return json_array_get(json_object_get(a->json, "choices"), i);
}

static const char *text_of(const serve_answer *a, size_t i)
{
    if (a->code != 200)
        print_error("%d %s\n", a->code, a->body);
    CHECK(a->code == 200);
    return json_string_value(json_object_get(choice(a, i), "text"));
}

static const char *reason_of(const serve_answer *a, size_t i)
{
    return json_string_value(json_object_get(choice(a, i), "finish_reason"));
}

/* The events of a stream, a list; the last one is to be [DONE]. */
static json_t *events_of(const serve_answer *a)
{
    json_t *list = json_array();
    const char *at = a->body;
    bool done = false;

    CHECK(a->code == 200 && !a->cut);
    assert_string_equal(a->content_type, "text/event-stream");
    while (*at) {
        const char *end = strstr(at, "\n\n");
        CHECK(end && strncmp(at, "data: ", 6) == 0 && !done);
        done = strncmp(at, "data: [DONE]", 12) == 0;
        if (!done) {
            json_t *event = json_loadb(at + 6, (size_t)(end - at - 6), 0, NULL);
            CHECK(event != NULL);
            json_array_append_new(list, event);
        }
        at = end + 2;
    }
    CHECK(done);
    return list;
}

/* What the pieces of one choice read together; *n pieces had text. */
static void joined(const json_t *told, int index, const char *where, char *out, size_t size, int *n)
{
    size_t i, k;
    const json_t *event, *c;

    out[0] = '\0';
    *n = 0;
    json_array_foreach(told, i, event) json_array_foreach(json_object_get(event, "choices"), k, c)
    {
        const json_t *from = where[0] == 'd' ? json_object_get(c, "delta") : c;
        const char *text = json_string_value(json_object_get(from, where[0] == 'd' ? "content" : "text"));
        if (json_integer_value(json_object_get(c, "index")) != index || !text || !*text)
            continue;
        CHECK(strlen(out) + strlen(text) < size);
        strcat(out, text);
        ++*n;
    }
}

static void models_are_listed(void **state)
{
    (void)state;
    serve *s = open_server(true);
    serve_answer a = serve_call(s, "GET", "/v1/models", NULL);

    CHECK(a.code == 200);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(a.json, "data"), 0), "id")),
                        "othello6");
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/v1/models/othello6", NULL);
    CHECK(a.code == 200);
    assert_string_equal(json_string_value(json_object_get(a.json, "object")), "model");
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/v1/models/gpt-4o", NULL);
    CHECK(a.code == 404);
    CHECK_TEXT(a.body, "\"param\":\"model\"");
    serve_answer_free(&a);
    sg_server_free(s);
}

/* golden/stories260K.json holds what the original implementation writes from <s>, always the most likely token. */
static void greedy_text_is_that_of_the_original(void **state)
{
    (void)state;
    skip_without_stories();
    json_t *g = golden();
    const char *prompt = json_string_value(json_object_get(g, "prompt"));
    const char *whole = json_string_value(json_object_get(g, "greedy_text"));
    const size_t n = json_array_size(json_object_get(g, "greedy_from_bos_tokens"));
    serve *s = open_server(true);
    char *body = NULL;
    json_t *ask = json_pack("{s:s, s:s, s:i, s:i}", "model", "stories260K", "prompt", "", "max_tokens", (int)n - 1,
                            "temperature", 0);
    body = json_dumps(ask, 0);
    serve_answer a = complete(s, body);
    assert_string_equal(text_of(&a, 0), whole);
    assert_string_equal(reason_of(&a, 0), "length");
    CHECK(json_integer_value(json_object_get(json_object_get(a.json, "usage"), "completion_tokens")) ==
          (json_int_t)n - 1);
    serve_answer_free(&a);
    free(body);
    /* From the golden prompt it goes on as it does by itself, which wrote that prompt. */
    json_object_set_new(ask, "prompt", json_string(prompt));
    json_object_set_new(ask, "max_tokens",
                        json_integer((json_int_t)(n - json_array_size(json_object_get(g, "prompt_tokens")))));
    body = json_dumps(ask, 0);
    a = complete(s, body);
    assert_string_equal(text_of(&a, 0), whole + strlen(prompt));
    serve_answer_free(&a);
    free(body);
    json_decref(ask);
    json_decref(g);
    sg_server_free(s);
}

static void a_stream_reads_as_the_whole(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body, *where;
    } asks[] = {
        {"/v1/completions", "\"prompt\": \"Once upon\", \"max_tokens\": 40, \"temperature\": 0.9, \"n\": 2", "t"},
        {"/v1/completions",
         "\"prompt\": \"Once upon\", \"max_tokens\": 40, \"temperature\": 0, \"stop\": [\"girl named\", \"x\"]", "t"},
        {"/v1/completions",
         "\"prompt\": [\"Once upon\", \"The dog\"], \"max_tokens\": 10, \"echo\": true, \"logprobs\": 2", "t"},
        {"/v1/chat/completions",
         "\"messages\": [{\"role\": \"user\", \"content\": \"Tell a story.\"}], \"max_tokens\": 30, \"n\": 2", "d"},
    };
    skip_without_stories();
    serve *s = open_server(true);

    for (size_t i = 0; i < SG_COUNT_OF(asks); i++) {
        char body[512], text[4096];
        snprintf(body, sizeof body, "{\"model\": \"stories260K\", \"seed\": 5, %s}", asks[i].body);
        serve_answer a = post(s, asks[i].path, body);
        snprintf(body, sizeof body,
                 "{\"model\": \"stories260K\", \"seed\": 5, \"stream\": true, \"stream_options\": {\"include_usage\": "
                 "true}, %s}",
                 asks[i].body);
        serve_answer b = post(s, asks[i].path, body);
        CHECK(a.code == 200);
        json_t *told = events_of(&b);
        const json_t *last = json_array_get(told, json_array_size(told) - 1);
        for (size_t k = 0; k < json_array_size(json_object_get(a.json, "choices")); k++) {
            const json_t *c = choice(&a, k);
            const char *whole = asks[i].where[0] == 'd'
                                    ? json_string_value(json_object_get(json_object_get(c, "message"), "content"))
                                    : json_string_value(json_object_get(c, "text"));
            int n;
            joined(told, (int)k, asks[i].where, text, sizeof text, &n);
            assert_string_equal(text, whole);
            CHECK(n > 3 || strlen(whole) < 40);
        }
        CHECK(json_equal(json_object_get(last, "usage"), json_object_get(a.json, "usage")));
        CHECK(json_array_size(json_object_get(last, "choices")) == 0);
        json_decref(told);
        serve_answer_free(&a);
        serve_answer_free(&b);
    }
    sg_server_free(s);
}

static void a_seed_gives_the_same_again(void **state)
{
    (void)state;
    skip_without_stories();
    serve *s = open_server(true);
    const char *body =
        "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"seed\": 11, \"n\": 3, \"max_tokens\": 24, \"top_p\": "
        "0.9, \"top_k\": 40}";
    serve_answer a = complete(s, body), b = complete(s, body);
    const char *one =
        "{\"model\": \"stories260K\", \"prompt\": [\"Lily\", \"Once\"], \"seed\": 11, \"max_tokens\": 24, \"top_p\": "
        "0.9, \"top_k\": 40}";

    for (size_t i = 0; i < 3; i++)
        assert_string_equal(text_of(&a, i), text_of(&b, i));
    CHECK(strcmp(text_of(&a, 0), text_of(&a, 1)) != 0);
    serve_answer_free(&b);
    b = complete(s, one); /* whatever is beside it, and however many are asked for */
    assert_string_equal(text_of(&b, 1), text_of(&a, 0));
    CHECK(json_integer_value(json_object_get(json_object_get(b.json, "origin"), "seed")) == 11);
    serve_answer_free(&a);
    serve_answer_free(&b);
    /* Without one it is drawn, and told: the answer can be had again. */
    a = complete(s, "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"max_tokens\": 24}");
    const json_int_t drawn = json_integer_value(json_object_get(json_object_get(a.json, "origin"), "seed"));
    char again[256];
    snprintf(again, sizeof again,
             "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"max_tokens\": 24, \"seed\": %lld}",
             (long long)drawn);
    b = complete(s, again);
    assert_string_equal(text_of(&a, 0), text_of(&b, 0));
    serve_answer_free(&a);
    serve_answer_free(&b);
    sg_server_free(s);
}

static void stops_end_the_text(void **state)
{
    (void)state;
    skip_without_stories();
    serve *s = open_server(true);
    serve_answer a = complete(
        s, "{\"model\": \"stories260K\", \"prompt\": \"Once upon a time\", \"temperature\": 0, \"max_tokens\": "
           "60, \"stop\": \" named\", \"logprobs\": 0}");

    assert_string_equal(text_of(&a, 0), ", there was a little girl"); /* golden: "... girl named Lily" */
    assert_string_equal(reason_of(&a, 0), "stop");
    const json_t *tokens = json_object_get(json_object_get(choice(&a, 0), "logprobs"), "tokens");
    size_t i;
    json_t *token;
    char read[256] = "";
    json_array_foreach(tokens, i, token) strcat(read, json_string_value(token));
    assert_string_equal(read, ", there was a little girl");
    serve_answer_free(&a);
    /* The earliest of several, within a token as well. */
    a = complete(
        s, "{\"model\": \"stories260K\", \"prompt\": \"Once upon a time\", \"temperature\": 0, \"max_tokens\": 60, "
           "\"stop\": [\"Lily\", \"tle g\", \"zzz\", \"girl\"]}");
    assert_string_equal(text_of(&a, 0), ", there was a lit");
    serve_answer_free(&a);
    a = complete(s,
                 "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"stop\": [\"a\", \"b\", \"c\", \"d\", \"e\"]}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "\"param\":\"stop\"");
    serve_answer_free(&a);
    sg_server_free(s);
}

static double sum_of_top(const json_t *top)
{
    double sum = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)top, key, value) sum += exp(json_number_value(value));
    return sum;
}

static void logprobs_are_the_models(void **state)
{
    (void)state;
    skip_without_stories();
    json_t *g = golden();
    serve *s = open_server(true);
    json_t *ask =
        json_pack("{s:s, s:O, s:i, s:b, s:i, s:f}", "model", "stories260K", "prompt", json_object_get(g, "prompt"),
                  "max_tokens", 2, "echo", 1, "logprobs", 5, "temperature", 0.0);
    char *body = json_dumps(ask, 0);
    serve_answer a = complete(s, body);
    const size_t n = json_array_size(json_object_get(g, "prompt_tokens"));
    CHECK(a.code == 200);
    const json_t *l = json_object_get(choice(&a, 0), "logprobs"), *each = json_object_get(l, "token_logprobs");

    CHECK(json_array_size(each) == n + 2 && json_array_size(json_object_get(l, "tokens")) == n + 2);
    CHECK(json_is_null(json_array_get(each, 0)));
    double loss = 0;
    for (size_t i = 1; i < n; i++)
        loss -= json_number_value(json_array_get(each, i)) / (double)(n - 1);
    /* The original's mean over the prompt; 9 digits are written, and its sums run in another order. */
    CHECK_NEAR(loss, json_number_value(json_object_get(g, "loss_nats_per_token_on_prompt")), 2e-6, 0);
    for (size_t i = 1; i < n + 2; i++) {
        const json_t *top = json_array_get(json_object_get(l, "top_logprobs"), i);
        const char *token = json_string_value(json_array_get(json_object_get(l, "tokens"), i));
        CHECK(json_object_size(top) >= 4 && json_object_size(top) <= 6 && sum_of_top(top) <= 1 + 1e-6);
        CHECK_NEAR(json_number_value(json_object_get(top, token)), json_number_value(json_array_get(each, i)), 1e-8, 0);
    }
    /* Text and offsets agree. */
    const char *text = text_of(&a, 0);
    CHECK(strncmp(text, json_string_value(json_object_get(g, "prompt")), 20) == 0);
    const json_t *last = json_array_get(json_object_get(l, "tokens"), n + 1);
    assert_string_equal(text + json_integer_value(json_array_get(json_object_get(l, "text_offset"), n + 1)),
                        json_string_value(last));
    serve_answer_free(&a);
    free(body);
    /* Nothing is written, and the prompt is weighed all the same. */
    json_object_set_new(ask, "max_tokens", json_integer(0));
    body = json_dumps(ask, 0);
    a = complete(s, body);
    assert_string_equal(text_of(&a, 0), json_string_value(json_object_get(g, "prompt")));
    CHECK(json_array_size(json_object_get(json_object_get(choice(&a, 0), "logprobs"), "tokens")) == n);
    serve_answer_free(&a);
    free(body);
    json_decref(ask);
    json_decref(g);
    a = complete(
        s, "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"n\": 128, \"max_tokens\": 500, \"logprobs\": 20}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "a stream has no such bound");
    serve_answer_free(&a);
    a = post(
        s, "/v1/chat/completions",
        "{\"model\": \"stories260K\", \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"logprobs\": true, "
        "\"top_logprobs\": 3, \"max_tokens\": 4, \"seed\": 1}");
    CHECK(a.code == 200);
    const json_t *content = json_object_get(json_object_get(choice(&a, 0), "logprobs"), "content");
    CHECK(json_array_size(content) == 4);
    CHECK(json_array_size(json_object_get(json_array_get(content, 0), "top_logprobs")) == 3);
    serve_answer_free(&a);
    sg_server_free(s);
}

static void edits_are_in_place_while_it_writes(void **state)
{
    (void)state;
    skip_without_stories();
    serve *s = open_server(true);
    char body[1024];
    static const char *const edits[] = {
        "[]", "[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"scale\", \"strength\": 0.3}]",
        "[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"scale\", \"strength\": 1}]",
        /* Masked from every logit but that of one token, it can write no other. */
        "[{\"site\": \"logits\", \"op\": \"scale\", \"strength\": 0}]"};
    char texts[4][512];

    for (int i = 0; i < 4; i++) {
        snprintf(body, sizeof body,
                 "{\"model\": \"stories260K\", \"prompt\": \"Once upon a time\", \"temperature\": 0, \"max_tokens\": "
                 "20, \"edits\": "
                 "%s}",
                 edits[i]);
        serve_answer a = complete(s, body);
        snprintf(texts[i], sizeof texts[i], "%s", text_of(&a, 0));
        serve_answer_free(&a);
    }
    CHECK(strcmp(texts[0], texts[1]) != 0);
    assert_string_equal(texts[0], texts[2]); /* times 1 */
    assert_string_equal(texts[3], "");       /* all logits alike: the first, <unk>, which is not shown */
    /* With the generate command's numbers: test/serve_command_test.c. */
    serve_answer a = complete(s, "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"edits\": [{\"site\": "
                                 "\"blocks.9.hook_resid_post\", \"op\": \"scale\"}]}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "\"param\":\"edits\"");
    CHECK_TEXT(a.body, "the nearest is blocks.");
    serve_answer_free(&a);
    a = complete(
        s, "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"edits\": [{\"site\": \"logits\", \"op\": \"set\", "
           "\"value\": {\"file\": \"/etc/passwd\"}}]}");
    CHECK(a.code == 400);
    serve_answer_free(&a);
    a = complete(
        s, "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"edits\": [{\"site\": \"logits\", \"op\": \"sets\"}]}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "edits[0].op");
    serve_answer_free(&a);
    sg_server_free(s);
}

static void values_come_back_beside_the_text(void **state)
{
    (void)state;
    skip_without_stories();
    serve *s = open_server(true);
    /* 4 tokens are read, 3 written; the last one is not read any more. */
    serve_answer a = complete(
        s, "{\"model\": \"stories260K\", \"prompt\": [1, 403, 407, 261], \"temperature\": 0, \"max_tokens\": 3, "
           "\"logprobs\": 0, \"fetch\": {\"names\": [\"blocks.1.hook_resid_post\", \"logits\", "
           "\"blocks.0.attn.hook_pattern\"], \"as\": \"numbers\"}}");
    text_of(&a, 0);
    const json_t *fetched = json_object_get(choice(&a, 0), "fetched"), *logits = json_array_get(fetched, 1);
    json_t *shape = json_pack("[i, i]", 6, 512);
    CHECK(json_array_size(fetched) == 3);
    CHECK(json_equal(json_object_get(logits, "shape"), shape));
    assert_string_equal(json_string_value(json_object_get(logits, "axes")), "td");
    json_decref(shape);
    shape = json_pack("[i, i, i]", 8, 6, 6);
    const json_t *pattern = json_array_get(fetched, 2);
    CHECK(json_equal(json_object_get(pattern, "shape"), shape));
    for (int q = 0; q < 6; q++) { /* of head 3: it sums to 1, and looks back only */
        double sum = 0;
        for (int k = 0; k < 6; k++) {
            const double p =
                json_number_value(json_array_get(json_object_get(pattern, "numbers"), (size_t)((3 * 6 + q) * 6 + k)));
            sum += p;
            CHECK(k <= q || p == 0);
        }
        CHECK_NEAR(sum, 1, 1e-6, 0);
    }
    json_decref(shape);
    /* The logits that came back are those that chose. */
    const json_t *numbers = json_object_get(logits, "numbers");
    double most = -(double)INFINITY, sum = 0;
    for (size_t i = 0; i < 512; i++)
        most = fmax(most, json_number_value(json_array_get(numbers, 3 * 512 + i)));
    for (size_t i = 0; i < 512; i++)
        sum += exp(json_number_value(json_array_get(numbers, 3 * 512 + i)) - most);
    CHECK_NEAR(-log(sum),
               json_number_value(
                   json_array_get(json_object_get(json_object_get(choice(&a, 0), "logprobs"), "token_logprobs"), 0)),
               1e-6, 0);
    json_t *all = json_incref(json_object_get(json_array_get(fetched, 0), "numbers"));
    serve_answer_free(&a);
    /* Some positions alone: the prompt's last two, and the one behind it. */
    a = complete(s, "{\"model\": \"stories260K\", \"prompt\": [1, 403, 407, 261], \"temperature\": 0, \"max_tokens\": "
                    "3, \"fetch\": "
                    "{\"names\": \"blocks.1.hook_resid_post\", \"positions\": [[-2, -1], 4], \"as\": \"numbers\"}}");
    fetched = json_array_get(json_object_get(choice(&a, 0), "fetched"), 0);
    json_t *positions = json_pack("[i, i, i]", 2, 3, 4);
    CHECK(json_equal(json_object_get(fetched, "positions"), positions));
    json_decref(positions);
    const json_t *some = json_object_get(fetched, "numbers");
    CHECK(json_array_size(some) == 3 * 64 && json_array_size(all) == 6 * 64);
    for (size_t i = 0; i < 3 * 64; i++) /* fewer values are looked at, so more is fused: the last digits may differ */
        CHECK_NEAR(json_number_value(json_array_get(some, i)), json_number_value(json_array_get(all, 2 * 64 + i)), 1e-5,
                   1e-5);
    json_decref(all);
    serve_answer_free(&a);
    /* Streamed, each step brings its own, as bytes. */
    a = complete(s, "{\"model\": \"stories260K\", \"prompt\": [1, 403, 407, 261], \"temperature\": 0, \"max_tokens\": "
                    "3, \"stream\": "
                    "true, \"fetch\": [\"blocks.*.hook_resid_post\"]}");
    json_t *told = events_of(&a);
    size_t i, n = 0;
    const json_t *event;
    json_array_foreach(told, i, event)
    {
        const json_t *f = json_object_get(json_array_get(json_object_get(event, "choices"), 0), "fetched");
        if (!f)
            continue;
        CHECK(json_array_size(f) == 5);
        positions = n ? json_pack("[i]", (int)n + 3) : json_pack("[i, i, i, i]", 0, 1, 2, 3);
        CHECK(json_equal(json_object_get(json_array_get(f, 0), "positions"), positions));
        const size_t bytes = (n ? 1 : 4) * 64 * 4; /* width 64, f32 */
        CHECK(strlen(json_string_value(json_object_get(json_array_get(f, 4), "base64"))) == (bytes + 2) / 3 * 4);
        json_decref(positions);
        n++;
    }
    CHECK(n == 3);
    json_decref(told);
    serve_answer_free(&a);
    static const char *const wrong[][2] = {
        {"[\"blocks.1.hook_resid\"]", "the nearest name is blocks.1.hook_resid_p"},
        {"[\"embed.*\"]", "no value is named"},
        {"{\"names\": \"logits\", \"positions\": [\"a\"]}", "fetch"},
        {"{\"names\": \"*\", \"as\": \"numbers\"}", "at most"},
    };
    for (size_t k = 0; k < SG_COUNT_OF(wrong); k++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"max_tokens\": 400, \"fetch\": %s}", wrong[k][0]);
        a = complete(s, body);
        CHECK(a.code == 400);
        CHECK_TEXT(a.body, "\"param\":\"fetch");
        CHECK_TEXT(a.body, wrong[k][1]);
        serve_answer_free(&a);
    }
    sg_server_free(s);
}

static void games_go_on(void **state)
{
    (void)state;
    serve *s = open_server(true);
    serve_answer a =
        complete(s, "{\"model\": \"othello6\", \"prompt\": \"d2 c5\", \"temperature\": 0, \"max_tokens\": 3, "
                    "\"logprobs\": 1}");
    char text[64], body[256];

    snprintf(text, sizeof text, "%s", text_of(&a, 0));
    CHECK(strlen(text) == 9 && text[0] == ' ' && text[3] == ' '); /* " b5 b4 e2", say */
    CHECK(json_array_size(json_object_get(choice(&a, 0), "tokens")) == 3);
    char *tokens = json_dumps(json_object_get(choice(&a, 0), "tokens"), JSON_COMPACT);
    serve_answer_free(&a);
    /* The same by tokens, with the prompt. */
    a = post(s, "/api/v1/models/othello6/tokenize", "{\"text\": \"d2 c5\"}");
    char *prompt = json_dumps(json_object_get(a.json, "tokens"), JSON_COMPACT);
    serve_answer_free(&a);
    snprintf(body, sizeof body,
             "{\"model\": \"othello6\", \"prompt\": %s, \"temperature\": 0, \"max_tokens\": 3, \"echo\": true}",
             prompt);
    a = complete(s, body);
    CHECK(strncmp(text_of(&a, 0), "d2 c5 ", 6) == 0);
    assert_string_equal(text_of(&a, 0) + 5, text);
    serve_answer_free(&a);
    free(tokens);
    free(prompt);
    /* The context ends at 32. */
    a = complete(s, "{\"model\": \"othello6\", \"prompt\": \"d2 c5\", \"seed\": 3, \"max_tokens\": 100}");
    assert_string_equal(reason_of(&a, 0), "length");
    CHECK(json_array_size(json_object_get(choice(&a, 0), "tokens")) == 31); /* the last is written and not read */
    serve_answer_free(&a);
    a = post(s, "/v1/chat/completions",
             "{\"model\": \"othello6\", \"messages\": [{\"role\": \"user\", \"content\": \"d2\"}]}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "no tokenizer");
    serve_answer_free(&a);
    sg_server_free(s);
}

static void biases_and_penalties_move_the_choice(void **state)
{
    (void)state;
    skip_without_stories();
    serve *s = open_server(true);
    serve_answer a = complete(
        s, "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"max_tokens\": 5, \"logit_bias\": {\"261\": 100}}");

    assert_string_equal(text_of(&a, 0), " a a a a a"); /* token 261, "▁a" */
    serve_answer_free(&a);
    a = complete(s, "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"max_tokens\": 5, \"temperature\": 0, "
                    "\"logit_bias\": {\"261\": "
                    "100}, \"frequency_penalty\": 90}");
    CHECK(strncmp(text_of(&a, 0), " a a", 4) == 0 && strcmp(text_of(&a, 0), " a a a a a") != 0);
    serve_answer_free(&a);
    a = complete(s, "{\"model\": \"stories260K\", \"prompt\": \"Once\", \"logit_bias\": {\"512\": 1}}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "\"param\":\"logit_bias\"");
    serve_answer_free(&a);
    sg_server_free(s);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body, *text;
        int code;
    } wrong[] = {
        {"/v1/completions", "{\"model\": \"gpt-4o\", \"prompt\": \"a\"}", "there are othello6", 404},
        {"/v1/completions", "{\"prompt\": \"a\"}", "\"param\":\"model\"", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": []}", "prompt", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": \"\"}", "no tokens", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [3, 40]}", "outside the vocabulary", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [3, -1]}", "outside the vocabulary", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [3], \"temperature\": -1}",
         "\"param\":\"temperature\"", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [3], \"temperature\": \"hot\"}", "temperature", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [3], \"n\": 129}", "\"param\":\"n\"", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [[3], [3]], \"n\": 100}", "choices in all", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [3], \"tempreature\": 1}",
         "the nearest is temperature", 400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [3], \"suffix\": \"b\"}", "\"param\":\"suffix\"",
         400},
        {"/v1/completions", "{\"model\": \"othello6\", \"prompt\": [3], \"best_of\": 4}", "\"param\":\"best_of\"", 400},
        {"/v1/chat/completions", "{\"model\": \"othello6\", \"messages\": [], \"tools\": [{\"type\": \"function\"}]}",
         "\"param\":\"tools\"", 400},
        {"/v1/chat/completions",
         "{\"model\": \"othello6\", \"messages\": [], \"response_format\": {\"type\": \"json_object\"}}",
         "\"param\":\"response_format\"", 400},
    };
    serve *s = open_server(true);

    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        serve_answer a = post(s, wrong[i].path, wrong[i].body);
        if (a.code != wrong[i].code || !strstr(a.body, wrong[i].text))
            print_error("%s: %d %s\n", wrong[i].body, a.code, a.body);
        CHECK(a.code == wrong[i].code);
        CHECK_TEXT(a.body, wrong[i].text);
        serve_answer_free(&a);
    }
    /* And what asks for nothing is let through. */
    serve_answer a = complete(
        s,
        "{\"model\": \"othello6\", \"prompt\": [3, 4], \"user\": \"me\", \"suffix\": null, \"best_of\": 1, \"stop\": "
        "null, \"logprobs\": null, \"seed\": null, \"edits\": null, \"stream\": false}");
    text_of(&a, 0);
    serve_answer_free(&a);
    sg_server_free(s);
}

static void chats_are_transcripts(void **state)
{
    (void)state;
    skip_without_stories();
    serve *s = open_server(true);
    serve_answer a = post(
        s, "/v1/chat/completions",
        "{\"model\": \"stories260K\", \"messages\": [{\"role\": \"system\", \"content\": \"Be kind.\"}, {\"role\": "
        "\"user\", \"content\": [{\"type\": \"text\", \"text\": \"Tell a story.\"}]}, {\"role\": \"assistant\", "
        "\"content\": \"No.\"}, {\"role\": \"user\", \"content\": \"Please.\"}], \"max_tokens\": 12, \"temperature\": "
        "0, \"response_format\": {\"type\": \"text\"}, \"tool_choice\": \"none\", \"metadata\": {\"a\": \"b\"}}");
    CHECK(a.code == 200);
    serve_answer b =
        complete(s, "{\"model\": \"stories260K\", \"prompt\": \"System: Be kind.\\nUser: Tell a story.\\nAssistant: "
                    "No.\\nUser: Please.\\nAssistant:\", \"max_tokens\": 12, \"temperature\": 0}");
    const char *said = json_string_value(json_object_get(json_object_get(choice(&a, 0), "message"), "content"));
    const char *text = text_of(&b, 0);
    CHECK(json_equal(json_object_get(a.json, "usage"), json_object_get(b.json, "usage")));
    assert_string_equal(said, text + strspn(text, " \n"));
    serve_answer_free(&a);
    serve_answer_free(&b);
    a = post(
        s, "/v1/chat/completions",
        "{\"model\": \"stories260K\", \"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "messages[0].content[0]");
    serve_answer_free(&a);
    sg_server_free(s);
}

static void numbers_that_run_away_are_told(void **state)
{
    (void)state;
    serve *s = open_server(true);
    /* Infinite, then not a number: what cannot be sampled is a failure of its own kind. */
    serve_answer a = complete(
        s, "{\"model\": \"othello6\", \"prompt\": [9, 8], \"edits\": [{\"site\": \"blocks.1.hook_resid_post\", "
           "\"op\": \"scale\", \"strength\": 1e300}]}");
    CHECK(a.code == 422);
    CHECK_TEXT(a.body, "NaN");
    serve_answer_free(&a);
    a = complete(s,
                 "{\"model\": \"othello6\", \"prompt\": [9, 8], \"max_tokens\": 3, \"logprobs\": 3, \"fetch\": "
                 "{\"names\": \"logits\", "
                 "\"as\": \"numbers\"}, \"edits\": [{\"site\": \"logits\", \"op\": \"scale\", \"strength\": 1e300}]}");
    text_of(&a, 0); /* infinite logits: the likeliest, and numbers that JSON has no words for are null */
    CHECK_TEXT(a.body, "null");
    serve_answer_free(&a);
    /* After the code went out: an event with the reason, and no end. */
    a = complete(s, "{\"model\": \"othello6\", \"prompt\": [9, 8], \"stream\": true, \"edits\": [{\"site\": "
                    "\"blocks.1.hook_resid_post\", \"op\": \"scale\", \"strength\": 1e300, \"steps\": [2]}]}");
    CHECK(a.code == 200 && a.cut);
    CHECK_TEXT(a.body, "data: {\"error\":{\"message\":\"the logits after");
    CHECK(!strstr(a.body, "[DONE]"));
    serve_answer_free(&a);
    sg_server_free(s);
}

static void embeddings_are_means_of_a_value(void **state)
{
    (void)state;
    serve *s = open_server(true);
    serve_answer a =
        post(s, "/v1/embeddings",
             "{\"model\": \"othello6\", \"input\": [[9, 8, 2], [9]], \"site\": \"blocks.1.hook_resid_post\"}");
    serve_answer b =
        complete(s, "{\"model\": \"othello6\", \"prompt\": [9, 8, 2], \"max_tokens\": 0, \"fetch\": {\"names\": "
                    "\"blocks.1.hook_resid_post\", \"as\": \"numbers\"}}");
    text_of(&b, 0);
    CHECK(a.code == 200);
    const json_t *data = json_object_get(a.json, "data"), *mean = json_object_get(json_array_get(data, 0), "embedding");
    const json_t *rows = json_object_get(json_array_get(json_object_get(choice(&b, 0), "fetched"), 0), "numbers");
    CHECK(json_array_size(data) == 2 && json_array_size(mean) == 128 && json_array_size(rows) == 3 * 128);
    for (size_t d = 0; d < 128; d++) {
        double sum = 0;
        for (size_t i = 0; i < 3; i++)
            sum += json_number_value(json_array_get(rows, i * 128 + d));
        CHECK_NEAR(json_number_value(json_array_get(mean, d)), sum / 3, 1e-5, 1e-5);
    }
    serve_answer_free(&a);
    serve_answer_free(&b);
    a = post(s, "/v1/embeddings", "{\"model\": \"othello6\", \"input\": \"d2 c5\", \"encoding_format\": \"base64\"}");
    CHECK(a.code == 200);
    CHECK(strlen(json_string_value(json_object_get(json_array_get(json_object_get(a.json, "data"), 0), "embedding"))) ==
          (128 * 4 + 2) / 3 * 4);
    serve_answer_free(&a);
    a = post(s, "/v1/embeddings",
             "{\"model\": \"othello6\", \"input\": \"d2\", \"site\": \"blocks.0.attn.hook_pattern\"}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "\"param\":\"site\"");
    serve_answer_free(&a);
    sg_server_free(s);
}

/* Of an encoder the mean of its last hidden state, which test/make_models/encoders.py computed in double; and one vector
 * as it is. Whatever else is asked of encoders is refused in words. */
static void encoders_embed(void **state)
{
    (void)state;
    const char *const folder = SG_SOURCE_DIR "/test/data/encoders";
    sg_server_opts opts = sg_server_defaults();
    sg_safetensors *golden;
    sg_error err;
    sg_server *s;

    opts.check_replies = true;
    opts.token = "test-token";
    opts.models = &folder;
    opts.n_models = 1;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    CHECK_OK(
        sg_safetensors_open(&golden, SG_SOURCE_DIR "/test/data/encoders/distilbert_masked/golden.safetensors", &err),
        &err);
    const sg_tensor *last = sg_safetensors_find(golden, "last_hidden_state"); /* [2,5,8], the second row of 3 tokens */
    serve_answer a = post(s, "/v1/embeddings", "{\"model\": \"distilbert_masked\", \"input\": [[2, 9, 3]]}");
    const json_t *mean = json_object_get(json_array_get(json_object_get(a.json, "data"), 0), "embedding");
    CHECK(a.code == 200 && json_array_size(mean) == 8);
    for (sg_dim d = 0; d < 8; d++) {
        double sum = 0;
        for (sg_dim t = 0; t < 3; t++)
            sum += sg_tensor_get(last, (5 + t) * 8 + d);
        CHECK_NEAR(json_number_value(json_array_get(mean, (size_t)d)), sum / 3, 1e-5, 1e-5);
    }
    serve_answer_free(&a);
    a = post(s, "/v1/embeddings",
             "{\"model\": \"clip_text_alone\", \"input\": [[2, 9, 3]], \"site\": \"text_embeds\"}");
    CHECK(a.code == 200);
    CHECK(json_array_size(json_object_get(json_array_get(json_object_get(a.json, "data"), 0), "embedding")) == 5);
    serve_answer_free(&a);
    a = complete(s, "{\"model\": \"bert_pretraining\", \"prompt\": [2, 9], \"max_tokens\": 2}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "is an encoder");
    serve_answer_free(&a);
    a = post(s, "/v1/embeddings", "{\"model\": \"vit_labels\", \"input\": [[1]]}");
    CHECK(a.code == 400);
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/api/v1/models/vit_labels", NULL);
    CHECK(a.code == 200);
    serve_answer_free(&a);
    sg_safetensors_close(golden);
    sg_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_listed),
        cmocka_unit_test(greedy_text_is_that_of_the_original),
        cmocka_unit_test(a_stream_reads_as_the_whole),
        cmocka_unit_test(a_seed_gives_the_same_again),
        cmocka_unit_test(stops_end_the_text),
        cmocka_unit_test(logprobs_are_the_models),
        cmocka_unit_test(edits_are_in_place_while_it_writes),
        cmocka_unit_test(values_come_back_beside_the_text),
        cmocka_unit_test(games_go_on),
        cmocka_unit_test(biases_and_penalties_move_the_choice),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(chats_are_transcripts),
        cmocka_unit_test(numbers_that_run_away_are_told),
        cmocka_unit_test(embeddings_are_means_of_a_value),
        cmocka_unit_test(encoders_embed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
