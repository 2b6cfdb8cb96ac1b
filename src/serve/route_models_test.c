/* What there is to run, over HTTP's bytes. */
#include <string.h>

#include "serve/models.h"
#include "serve/route_test.h"
#include "sightglass/certificate.h"

static json_int_t number(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

static void models_are_listed_with_their_sizes(void **state)
{
    (void)state;
    serve *s = open_server(false);
    serve_answer a = serve_call(s, "GET", "/api/v1/models", NULL);
    const json_t *list = json_object_get(a.json, "models"), *first = json_array_get(list, 0);

    CHECK(a.code == 200);
    CHECK(json_array_size(list) == 2);
    assert_string_equal(json_string_value(json_object_get(first, "id")), "othello6");
    /* config.json of models/othello6 */
    CHECK(number(first, "layers") == 4 && number(first, "width") == 128 && number(first, "heads") == 4);
    CHECK(number(first, "vocabulary") == 33 && number(first, "context") == 32);
    assert_string_equal(json_string_value(json_object_get(first, "prompt")), "othello6");
    CHECK(json_is_false(json_object_get(first, "open")) && !json_object_get(first, "hash"));
    CHECK_TEXT(json_string_value(json_object_get(first, "from")), "/models/othello6");
    json_t *listed = json_deep_copy(first);
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/api/v1/models/othello6", NULL);
    CHECK(strlen(json_string_value(json_object_get(a.json, "hash"))) == 16);
    serve_answer opened = serve_call(s, "GET", "/api/v1/models", NULL);
    CHECK(json_equal(a.json, json_array_get(json_object_get(opened.json, "models"), 0)));
    CHECK(json_is_false(json_object_get(json_array_get(json_object_get(opened.json, "models"), 1), "open")));
    json_object_del(a.json, "hash");
    json_object_set_new(a.json, "open", json_false());
    CHECK(json_equal(a.json, listed));
    json_decref(listed);
    serve_answer_free(&opened);
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/api/v1/models/davinci", NULL);
    CHECK(a.code == 404);
    CHECK_TEXT(a.body, "there are othello6, othello8");
    serve_answer_free(&a);
    sg_server_free(s);
}

/* What a verification left beside a model is told with it, as long as it can be read. */
static void a_certificate_comes_with_its_model(void **state)
{
    (void)state;
    char folder[] = "/tmp/route_models_XXXXXX", path[128], line[600], data[128];
    static const sg_verify_row row = {.site = "logits", .n = 3, .max_abs = .5, .holds = true};
    static const sg_verify_run run = {.backend = "reference",
                                      .compute = "f32",
                                      .stored = "f32",
                                      .n_rows = 1,
                                      .rows = &row,
                                      .next = {.n = 3, .top1 = 1, .holds = true},
                                      .tolerance = {.1, .1, .1, "a test"},
                                      .holds = true};
    static const sg_verify_run *const runs[] = {&run};
    sg_file_identity *id;
    sg_server_opts opts = sg_server_defaults();
    sg_error err;
    serve *s;

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/small", folder);
    snprintf(data, sizeof data, "%s/data", folder);
    setenv("XDG_DATA_HOME", data, 1);
    snprintf(line, sizeof line,
             "mkdir %s && cp %s/models/othello6/config.json %s/models/othello6/model.safetensors %s/", path,
             SG_SOURCE_DIR, SG_SOURCE_DIR, path);
    CHECK(system(line) == 0);
    CHECK_OK(sg_file_identity_of(&id, path, sg_file_identity_defaults(), &err), &err);
    const sg_certificate c = {.program = "p",
                              .date = "2026-11-27T00:00:00Z",
                              .cpu = "c",
                              .model = "small",
                              .hash = id->hash,
                              .fingerprint = id->fingerprint,
                              .against = "self",
                              .reference = "r",
                              .n_prompts = 1,
                              .n_positions = 3,
                              .n_runs = 1,
                              .runs = runs,
                              .holds = true};
    opts.check_replies = true;
    opts.token = "test-token";
    opts.models = (const char *const[]){path};
    opts.n_models = 1;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);

    serve_answer a = serve_call(s, "GET", "/api/v1/models/small", NULL);
    CHECK(a.code == 200 && !json_object_get(a.json, "certificate"));
    serve_answer_free(&a);
    CHECK_OK(sg_certificate_save(&c, path, NULL, NULL, &err), &err);
    a = serve_call(s, "GET", "/api/v1/models/small", NULL);
    const json_t *got = json_object_get(a.json, "certificate"),
                 *first = json_array_get(json_object_get(got, "runs"), 0);
    CHECK(a.code == 200 && json_is_true(json_object_get(got, "holds")) && json_is_false(json_object_get(got, "stale")));
    assert_string_equal(json_string_value(json_object_get(got, "hash")), id->hash);
    CHECK(json_real_value(json_object_get(json_array_get(json_object_get(first, "rows"), 0), "max_abs")) == .5);
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/api/v1/models", NULL); /* and in the list */
    CHECK(json_object_get(json_array_get(json_object_get(a.json, "models"), 0), "certificate") != NULL);
    serve_answer_free(&a);
    snprintf(line, sizeof line, "echo '{' > %s/sightglass-certificate.json", path);
    CHECK(system(line) == 0);
    a = serve_call(s, "GET", "/api/v1/models/small", NULL);
    CHECK(a.code == 200 && !json_object_get(a.json, "certificate"));
    CHECK_TEXT(json_string_value(json_object_get(a.json, "certificate_error")), "line 2");
    serve_answer_free(&a);
    sg_server_free(s);
    sg_file_identity_free(id);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    CHECK(system(line) == 0);
}

static void every_value_is_named(void **state)
{
    (void)state;
    serve *s = open_server(false);
    serve_answer a = serve_call(s, "GET", "/api/v1/models/othello6/names", NULL);
    const json_t *names = json_object_get(a.json, "names"), *one;
    bool found = false;
    size_t i;

    CHECK(a.code == 200);
    json_array_foreach(names, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "name")), "blocks.3.attn.hook_pattern") != 0)
            continue;
        json_t *wanted = json_pack("[s, i, s, s]", "batch", 4, "time", "time");
        CHECK(json_equal(json_object_get(one, "shape"), wanted));
        assert_string_equal(json_string_value(json_object_get(one, "axes")), "bhts");
        assert_string_equal(json_string_value(json_object_get(one, "dtype")), "f32");
        json_decref(wanted);
        found = true;
    }
    CHECK(found);
    serve_answer_free(&a);
    sg_server_free(s);
}

static void text_becomes_tokens_and_back(void **state)
{
    (void)state;
    char path[1024];
    SKIP_WITHOUT(sg_test_shared(path, "models/stories260K"), "models/stories260K");
    serve *s = open_server(true);
    serve_answer a = serve_call(s, "POST", "/api/v1/models/stories260K/tokenize", "{\"text\": \"Once upon a time\"}");
    /* golden/stories260K.json, of the original implementation */
    json_t *wanted = json_pack("[i, i, i, i, i]", 1, 403, 407, 261, 378);

    CHECK(a.code == 200);
    CHECK(json_equal(json_object_get(a.json, "tokens"), wanted));
    assert_string_equal(json_string_value(json_array_get(json_object_get(a.json, "texts"), 2)), " upon");
    serve_answer_free(&a);
    json_decref(wanted);
    a = serve_call(s, "POST", "/api/v1/models/stories260K/tokenize",
                   "{\"text\": \"Once upon a time\", \"special\": false}");
    CHECK(json_array_size(json_object_get(a.json, "tokens")) == 4);
    serve_answer_free(&a);
    a = serve_call(s, "POST", "/api/v1/models/stories260K/detokenize", "{\"tokens\": [1, 403, 407, 261, 378]}");
    assert_string_equal(json_string_value(json_object_get(a.json, "text")), "Once upon a time");
    serve_answer_free(&a);
    sg_server_free(s);
}

static void squares_are_tokens_of_othello(void **state)
{
    (void)state;
    serve *s = open_server(false);
    serve_answer a = serve_call(s, "POST", "/api/v1/models/othello6/tokenize", "{\"text\": \"d2 c5 b2\"}");

    CHECK(a.code == 200);
    char *tokens = json_dumps(json_object_get(a.json, "tokens"), JSON_COMPACT), body[128];
    CHECK(json_array_size(json_object_get(a.json, "tokens")) == 3);
    snprintf(body, sizeof body, "{\"tokens\": %s}", tokens);
    serve_answer_free(&a);
    a = serve_call(s, "POST", "/api/v1/models/othello6/detokenize", body);
    assert_string_equal(json_string_value(json_object_get(a.json, "text")), "d2 c5 b2");
    serve_answer_free(&a);
    free(tokens);
    a = serve_call(s, "POST", "/api/v1/models/othello6/detokenize", "{\"tokens\": [3, 33]}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "\"param\":\"tokens[1]\"");
    serve_answer_free(&a);
    a = serve_call(s, "POST", "/api/v1/models/othello6/tokenize", "{\"text\": \"once\"}");
    CHECK(a.code == 400);
    CHECK_TEXT(a.body, "no square");
    serve_answer_free(&a);
    sg_server_free(s);
}

#define ADAPTERS SG_SOURCE_DIR "/test/data/adapters/"

/* The mean over tokens of the first logit. */
static double first_logit(serve *s, const char *edits)
{
    char body[400];

    snprintf(body, sizeof body, "{\"model\": \"llama\", \"input\": [3, 4, 5], \"site\": \"logits\", \"edits\": %s}",
             edits);
    serve_answer a = serve_call(s, "POST", "/v1/embeddings", body);
    if (a.code != 200)
        print_error("%s\n", a.body);
    CHECK(a.code == 200);
    const json_t *one = json_array_get(json_object_get(a.json, "data"), 0),
                 *x = json_array_get(json_object_get(one, "embedding"), 0);
    CHECK(json_is_real(x));
    const double logit = json_real_value(x);
    serve_answer_free(&a);
    return logit;
}

/* Opened with them, told of them, and each request sets a LoRA's strength and features by edits of its own. */
static void models_are_served_with_their_adapters(void **state)
{
    static const char *const models[] = {ADAPTERS "llama", ADAPTERS "gpt2"};
    const sg_server_adapter adapters[] = {{"llama", ADAPTERS "lora-plain", false, 0.5, 0},
                                          {"llama", ADAPTERS "sae-standard", true, 0, SG_SAE_LOOK}};
    sg_server_opts opts = sg_server_defaults();
    sg_error err;
    sg_server *s;
    (void)state;
    opts.check_replies = true;
    opts.token = "test-token";
    opts.models = models;
    opts.n_models = 2;
    opts.adapters = adapters;
    opts.n_adapters = 2;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    serve_answer a = serve_call(s, "GET", "/api/v1/models/llama", NULL);
    CHECK(a.code == 200);
    const json_t *lora = json_array_get(json_object_get(a.json, "loras"), 0);
    const json_t *sae = json_array_get(json_object_get(a.json, "autoencoders"), 0);
    assert_string_equal(json_string_value(json_object_get(lora, "name")), "lora-plain");
    CHECK(number(lora, "modules") == 4 && number(lora, "rank") == 2);
    assert_string_equal(json_string_value(json_object_get(sae, "hook")), "blocks.1.hook_resid_post");
    CHECK(number(sae, "features") == 24 && json_is_true(json_object_get(sae, "labelled")));
    serve_answer_free(&a);
    a = serve_call(s, "GET", "/api/v1/models/gpt2", NULL);
    CHECK(a.code == 200 && !json_object_get(a.json, "loras"));
    serve_answer_free(&a);

    const double half = first_logit(s, "[]");
    const double none = first_logit(s, "[{\"site\": \"lora.0.strength\", \"op\": \"set\", \"value\": 0}]");
    const double same = first_logit(s, "[{\"site\": \"lora.0.strength\", \"op\": \"set\", \"value\": 0.5}]");
    const double feature =
        first_logit(s, "[{\"site\": \"blocks.1.hook_resid_post.hook_sae_acts_post\", \"op\": \"set\", "
                       "\"value\": 20, \"features\": [3]}]");
    CHECK(half == same && fabs(half - none) > 1e-3 && fabs(half - feature) > 1e-3);
    sg_server_free(s);

    opts.adapters = &(sg_server_adapter){NULL, ADAPTERS "lora-plain", false, 1, 0};
    opts.n_adapters = 1;
    CHECK_STATUS(sg_server_new(&s, &opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "MODEL:");
    opts.adapters = &(sg_server_adapter){"lama", ADAPTERS "lora-plain", false, 1, 0};
    CHECK_STATUS(sg_server_new(&s, &opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "no model is called that");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_listed_with_their_sizes),
        cmocka_unit_test(a_certificate_comes_with_its_model),
        cmocka_unit_test(every_value_is_named),
        cmocka_unit_test(text_becomes_tokens_and_back),
        cmocka_unit_test(squares_are_tokens_of_othello),
        cmocka_unit_test(models_are_served_with_their_adapters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
