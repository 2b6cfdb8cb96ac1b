/* Inspect by bytes: what the routes answer is what runs of the library give. */
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "serve/call.h"
#include "serve/prompt.h"
#include "sightglass/patch.h"
#include "sightglass/safetensors.h"
#include "sightglass/serve.h"

static const char *const othello6 = SG_SOURCE_DIR "/models/othello6";
static sg_model *model;
static serve *server;

static int begin(void **state)
{
    (void)state;
    sg_error err;
    sg_server_opts opts = sg_server_defaults();
    opts.n_models = 1;
    opts.models = &othello6;
    opts.check_replies = true;
    if (sg_model_open(&model, othello6, sg_model_defaults(), &err) != SG_OK ||
        sg_server_new(&server, &opts, &err) != SG_OK)
        return print_error("%s\n", err.text), -1;
    return 0;
}

static int finish(void **state)
{
    (void)state;
    sg_server_free(server);
    sg_model_close(model);
    return 0;
}

static serve_answer ask(const char *method, const char *target, const char *body)
{
    serve_answer a = serve_call(server, method, target, body);
    if (a.code != 200)
        print_error("%s %s\n  %d: %s\n", method, target, a.code, a.body);
    CHECK(a.code == 200);
    return a;
}

static double number(const json_t *list, size_t i)
{
    const json_t *x = json_array_get(list, i);
    return json_is_number(x) ? json_number_value(x) : (double)NAN;
}

static const char moves[] = "c2 b4 e4 d2 c5 b2 e3";
enum { N = 7, V = 33 };

/* Numbers of a site for `moves`; the caller frees. */
static float *whole(const char *edits, const char *site, sg_dim *count)
{
    sg_glass *glass;
    sg_value *v;
    sg_tensor t;
    sg_error err;
    sg_edit_list *list = NULL;
    sg_tokens ids = {0};
    CHECK_OK(prompt_read(model, moves, &ids, &err), &err);
    const sg_dim n = ids.n;
    const int32_t *row = ids.ids;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    CHECK_OK(sg_glass_new(&glass, model, sg_glass_defaults(), &err), &err);
    if (edits) {
        CHECK_OK(sg_edit_list_parse(&list, edits, strlen(edits), "edits", &err), &err);
        CHECK_OK(sg_glass_edit_list(glass, list, &err), &err);
    }
    CHECK_OK(sg_glass_find(glass, site, &v, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &t, &err), &err);
    float *out = malloc(sg_tensor_bytes(&t));
    memcpy(out, t.data, sg_tensor_bytes(&t));
    *count = sg_tensor_count(&t);
    sg_glass_free(glass);
    sg_edit_list_free(list);
    sg_tokens_free(&ids);
    return out;
}

static const char edits[] =
    "[{\"site\": \"blocks.2.hook_mlp_out\", \"op\": \"scale\", \"strength\": -1, \"positions\": [3]}]";

static void a_run_says_what_it_predicts_edited_beside_unedited(void **state)
{
    (void)state;
    char body[500];
    snprintf(body, sizeof body, "{\"prompt\": {\"text\": \"%s\"}, \"edits\": %s, \"top\": 4, \"track\": [5]}", moves,
             edits);
    serve_answer a = ask("POST", "/api/v1/models/othello6/run", body);
    const json_t *rows = json_object_get(a.json, "rows"), *tokens = json_object_get(a.json, "tokens");
    CHECK(json_array_size(rows) == 2 && json_array_size(tokens) == N);
    CHECK(strcmp(json_string_value(json_object_get(json_array_get(tokens, 0), "text")), "c2") == 0);
    CHECK(json_is_string(json_object_get(json_object_get(a.json, "origin"), "backend")));
    for (int r = 0; r < 2; r++) {
        sg_dim n;
        float *logits = whole(r ? edits : NULL, "logits", &n);
        CHECK(n == N * V);
        const json_t *row = json_array_get(rows, (size_t)r), *ids = json_object_get(row, "ids");
        for (size_t i = 0; i < N * 4; i++)
            CHECK_NEAR(number(json_object_get(row, "logits"), i), logits[i / 4 * V + (size_t)number(ids, i)], 1e-4,
                       1e-4);
        for (size_t t = 0; t < N; t++)
            CHECK_NEAR(number(json_object_get(row, "tracked_logits"), t), logits[t * V + 5], 1e-4, 1e-4);
        CHECK(json_is_null(json_array_get(json_object_get(row, "loss"), N - 1)));
        free(logits);
    }
    const json_t *kl = json_object_get(a.json, "divergence");
    CHECK_NEAR(number(kl, 2), 0, 1e-6, 0);
    CHECK(number(kl, 3) > 1e-4);
    serve_answer_free(&a);
    /* As numbers of tokens, and of some positions. */
    a = ask("POST", "/api/v1/models/othello6/run",
            "{\"prompt\": {\"tokens\": [1, 2, 3]}, \"first\": 1, \"n\": 2, \"top\": 1}");
    CHECK(json_is_null(json_object_get(a.json, "edited")) && json_is_null(json_object_get(a.json, "divergence")));
    CHECK(json_array_size(json_object_get(json_array_get(json_object_get(a.json, "rows"), 0), "p")) == 2);
    serve_answer_free(&a);
}

/* The name of a run of `moves`, edited or not. */
static void run_of(const char *with, char id[20])
{
    char body[500];
    snprintf(body, sizeof body, "{\"prompt\": {\"text\": \"%s\"}%s%s}", moves, with ? ", \"edits\": " : "",
             with ? with : "");
    serve_answer a = ask("POST", "/api/v1/models/othello6/run", body);
    snprintf(id, 20, "%s", json_string_value(json_object_get(a.json, with ? "edited" : "run")));
    serve_answer_free(&a);
}

static serve_answer get(const char *id, const char *rest)
{
    char target[300];
    snprintf(target, sizeof target, "/api/v1/models/othello6/runs/%s/%s", id, rest);
    return ask("GET", target, NULL);
}

static void values_are_those_that_run_fetch_gives(void **state)
{
    (void)state;
    char id[20];
    run_of(edits, id);
    sg_dim n;
    float *want = whole(edits, "blocks.3.hook_resid_post", &n);
    serve_answer a = get(id, "value?site=blocks.3.hook_resid_post&part=2:4");
    const json_t *numbers = json_object_get(a.json, "numbers");
    const size_t d = json_array_size(numbers) / 2;
    CHECK(d == (size_t)sg_model_get_info(model)->d_model);
    for (size_t i = 0; i < 2 * d; i++)
        CHECK_NEAR(number(numbers, i), want[2 * d + i], 2e-4, 1e-4);
    CHECK(strcmp(json_string_value(json_object_get(a.json, "axes")), "td") == 0);
    serve_answer_free(&a);

    a = get(id, "tensor?site=blocks.3.hook_resid_post");
    char path[] = "route_model_test.bin";
    sg_safetensors *st;
    sg_error err;
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(a.body, 1, a.n, f) == a.n && fclose(f) == 0);
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    const sg_tensor *t = sg_safetensors_find(st, "blocks.3.hook_resid_post");
    CHECK(t && sg_tensor_count(t) == n);
    for (sg_dim i = 0; i < n; i++)
        CHECK_NEAR(sg_tensor_get(t, i), want[i], 2e-4, 1e-4);
    sg_safetensors_close(st);
    unlink(path);
    serve_answer_free(&a);
    free(want);
}

/* Reads an answer that is safetensors. */
static sg_safetensors *tensors(const serve_answer *a)
{
    sg_safetensors *st;
    sg_error err;
    FILE *f = fopen("route_model_test.bin", "wb");
    CHECK(f && fwrite(a->body, 1, a->n, f) == a->n && fclose(f) == 0);
    CHECK_OK(sg_safetensors_open(&st, "route_model_test.bin", &err), &err);
    unlink("route_model_test.bin");
    return st;
}

static void strips_heads_and_tiles_come_as_tensors(void **state)
{
    (void)state;
    char id[20], plain[20], rest[100];
    run_of(edits, id);
    run_of(NULL, plain);
    snprintf(rest, sizeof rest, "strip?against=%s", plain);
    serve_answer a = get(id, rest);
    sg_safetensors *st = tensors(&a);
    const sg_tensor *changed = sg_safetensors_find(st, "mlp_changed");
    CHECK(changed && changed->dims[0] == 4 && changed->dims[1] == N);
    CHECK_NEAR(sg_tensor_get(changed, 2 * N + 3), 2, 1e-4, 0); /* x became -x */
    CHECK_NEAR(sg_tensor_get(changed, 2 * N + 2), 0, 1e-6, 0);
    sg_safetensors_close(st);
    serve_answer_free(&a);

    a = get(plain, "heads?layer=1");
    st = tensors(&a);
    sg_dim n;
    float *p = whole(NULL, "blocks.1.attn.hook_pattern", &n);
    const sg_tensor *self = sg_safetensors_find(st, "self");
    const sg_dim heads = sg_model_get_info(model)->n_heads;
    CHECK(self && self->dims[0] == heads && self->dims[1] == N && sg_safetensors_find(st, "thumb"));
    for (sg_dim i = 0; i < heads * N; i++)
        CHECK_NEAR(sg_tensor_get(self, i), p[i * N + i % N], 1e-5, 1e-4);
    sg_safetensors_close(st);
    serve_answer_free(&a);

    a = get(plain, "attention/1/3?level=0");
    st = tensors(&a);
    const sg_tensor *tile = sg_safetensors_find(st, "tile");
    CHECK(tile && tile->dtype == SG_F16 && tile->dims[0] == N && tile->dims[1] == N);
    for (sg_dim i = 0; i < N * N; i++)
        CHECK_NEAR(sg_tensor_get(tile, i), p[3 * N * N + i], 1e-6, 1e-3);
    sg_safetensors_close(st);
    serve_answer_free(&a);
    free(p);
}

static void the_lens_ends_at_what_the_run_predicts(void **state)
{
    (void)state;
    char id[20];
    run_of(edits, id);
    sg_dim n;
    float *logits = whole(edits, "logits", &n);
    serve_answer a = get(id, "lens?first=2&n=3&top=2&token=final");
    const json_t *rows = json_object_get(a.json, "rows"), *last = json_array_get(rows, 4);
    CHECK(json_array_size(rows) == 5);
    for (size_t t = 0; t < 3; t++) {
        const float *x = logits + (t + 2) * V;
        size_t best = 0;
        double sum = 0;
        for (size_t v = 0; v < V; v++) {
            best = x[v] > x[best] ? v : best;
            sum += exp((double)x[v]);
        }
        CHECK(number(json_object_get(last, "ids"), 2 * t) == (double)best);
        CHECK_NEAR(number(json_object_get(last, "wanted_p"), t), exp((double)x[best]) / sum, 1e-5, 1e-3);
        CHECK(number(json_object_get(last, "rank"), t) == 0);
    }
    serve_answer_free(&a);
    free(logits);
}

static void a_patch_is_what_the_method_gives(void **state)
{
    (void)state;
    sg_tokens base = {0}, source = {0};
    sg_error err;
    CHECK_OK(prompt_read(model, "c2 b4 e4 d2", &base, &err), &err);
    CHECK_OK(prompt_read(model, "c2 b4 e4 b2", &source, &err), &err);
    for (int by_head = 0; by_head < 2; by_head++) {
        char body[500];
        const char *site = by_head ? "blocks.2.attn.hook_z" : "blocks.2.hook_resid_pre";
        snprintf(body, sizeof body,
                 "{\"base\": {\"text\": \"c2 b4 e4 d2\"}, \"source\": {\"text\": \"c2b4e4b2\"}, \"site\": \"%s\", "
                 "\"layer\": 2, "
                 "\"metric\": {\"kind\": \"difference\", \"token\": 4, \"other\": 9}}",
                 by_head ? "attn.hook_z" : "hook_resid_pre");
        serve_answer a = ask("POST", "/api/v1/models/othello6/patch", body);
        sg_patch_table *t;
        sg_patch_job job = sg_patch_defaults();
        job.model = model;
        job.n_sites = 1;
        job.sites = &site;
        job.base = base.ids;
        job.source = source.ids;
        job.n_tokens = 4;
        job.by_head = by_head;
        job.metric = (sg_patch_metric){.kind = SG_METRIC_LOGIT_DIFF, .token = 4, .other = 9, .position = -1};
        CHECK_OK(sg_patch_run(&t, &job, &err), &err);
        const json_t *effect = json_object_get(a.json, "effect");
        CHECK(json_array_size(effect) == (size_t)(t->n_positions * t->n_heads));
        for (size_t i = 0; i < json_array_size(effect); i++)
            CHECK_NEAR(number(effect, i), t->effect[i], 1e-4, 1e-3);
        sg_patch_table_free(t);
        serve_answer_free(&a);
    }
    sg_tokens_free(&base);
    sg_tokens_free(&source);
}

static void wrong_requests_are_refused_in_words(void **state)
{
    (void)state;
    char id[20], run[60];
    run_of(NULL, id);
    snprintf(run, sizeof run, "/api/v1/models/othello6/runs/%s/", id);
    static const struct {
        const char *method, *target, *body; /* a target without / follows the run's own path */
        int code;
        const char *text;
    } bad[] = {
        {"POST", "/api/v1/models/othello9/run", "{\"prompt\": {\"text\": \"c2\"}}", 404, "othello6"},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {\"text\": \"once\"}}", 400, "no square"},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {}}", 400, "text or tokens"},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {\"tokens\": [-1]}}", 400, "tokens[0]"},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {\"tokens\": [99]}}", 400, "vocabulary"},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {\"tokens\": []}}", 400, "no tokens"},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {\"tokens\": [1]}, \"top\": 0}", 400, "likeliest"},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {\"tokens\": [1]}, \"top\": 1e3}", 400, ""},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {\"tokens\": [1]}, \"n\": 1}", 400, "together"},
        {"POST", "/api/v1/models/othello6/run", "{\"prompt\": {\"tokens\": [1]}, \"track\": [77]}", 400, "vocabulary"},
        {"POST", "/api/v1/models/othello6/run",
         "{\"prompt\": {\"tokens\": [1]}, \"edits\": [{\"site\": \"logits\", \"op\": \"set\", \"value\": {\"file\": "
         "\"/etc/passwd\"}}]}",
         400, "file"},
        {"POST", "/api/v1/models/othello6/run",
         "{\"prompt\": {\"tokens\": [1]}, \"edits\": [{\"site\": \"blocks.0.hook_resid_pots\", \"op\": \"ablate\"}]}",
         404, "nearest"},
        {"GET", "/api/v1/models/othello6/runs/0123456789abcdef/value?site=logits", NULL, 404, "run the prompt again"},
        {"GET", "value?site=logits&part=4:99", NULL, 400, "it has 7"},
        {"GET", "value?site=logits&part=a", NULL, 400, "wanted an index"},
        {"GET", "value?site=logist", NULL, 404, "nearest"},
        {"GET", "value", NULL, 400, "site"},
        {"GET", "heads?layer=6", NULL, 400, "4 layers"},
        {"GET", "heads?layer=1e30", NULL, 400, ""},
        {"GET", "strip?layer=77", NULL, 400, "layer 77"},
        {"GET", "attention/1/4", NULL, 400, "heads"},
        {"GET", "attention/1/x", NULL, 400, "head"},
        {"GET", "attention/1/1?level=1", NULL, 400, "level 1 of 1"},
        {"GET", "attention/1/1?row=1", NULL, 400, "tile"},
        {"GET", "lens?first=5&n=9", NULL, 400, "of 7"},
        {"GET", "lens?token=-1", NULL, 400, "next, final"},
        {"POST", "/api/v1/models/othello6/patch",
         "{\"base\": {\"tokens\": [1, 2]}, \"source\": {\"tokens\": [1]}, \"site\": \"hook_mlp_out\", \"layer\": 0, "
         "\"metric\": {\"kind\": \"p\", "
         "\"token\": 1}}",
         400, "as many"},
        {"POST", "/api/v1/models/othello6/patch",
         "{\"base\": {\"tokens\": [1]}, \"source\": {\"tokens\": [1]}, \"site\": \"hook_mlp_out\", \"layer\": 9, "
         "\"metric\": {\"kind\": \"p\", "
         "\"token\": 1}}",
         400, "layer 9"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        char target[300];
        snprintf(target, sizeof target, "%s%s", bad[i].target[0] == '/' ? "" : run, bad[i].target);
        serve_answer a = serve_call(server, bad[i].method, target, bad[i].body);
        if (a.code != bad[i].code || !strstr(a.body, bad[i].text))
            print_error("%s %s: %d %s\n", bad[i].method, target, a.code, a.body);
        CHECK(a.code == bad[i].code && strstr(a.body, bad[i].text));
        serve_answer_free(&a);
    }
}

static void a_story_is_text(void **state)
{
    (void)state;
    char room[1024];
    const char *path = sg_test_shared(room, "models/stories260K");
    SKIP_WITHOUT(path, "models/stories260K");
    sg_error err;
    serve *s;
    sg_server_opts opts = sg_server_defaults();
    opts.n_models = 1;
    opts.models = &path;
    opts.check_replies = true;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    serve_answer a =
        serve_call(s, "POST", "/api/v1/models/stories260K/run",
                   "{\"prompt\": {\"text\": \"Once upon a time\"}, \"top\": 1, \"edits\": [{\"site\": "
                   "\"blocks.2.hook_resid_post\", \"op\": \"add\", \"value\": {\"run\": {\"text\": \"The big dog\"}, "
                   "\"position\": -1}, \"strength\": 2}]}");
    CHECK(a.code == 200);
    const json_t *row = json_array_get(json_object_get(a.json, "rows"), 0);
    const size_t n = json_array_size(json_object_get(a.json, "tokens"));
    char key[16];
    snprintf(key, sizeof key, "%.0f", number(json_object_get(row, "ids"), n - 1));
    /* What the model is known to write next. */
    CHECK(strcmp(json_string_value(json_object_get(json_object_get(a.json, "texts"), key)), ",") == 0);
    CHECK(number(json_object_get(a.json, "divergence"), n - 1) > 0.01);
    serve_answer_free(&a);
    sg_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_says_what_it_predicts_edited_beside_unedited),
        cmocka_unit_test(values_are_those_that_run_fetch_gives),
        cmocka_unit_test(strips_heads_and_tiles_come_as_tensors),
        cmocka_unit_test(the_lens_ends_at_what_the_run_predicts),
        cmocka_unit_test(a_patch_is_what_the_method_gives),
        cmocka_unit_test(wrong_requests_are_refused_in_words),
        cmocka_unit_test(a_story_is_text),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
