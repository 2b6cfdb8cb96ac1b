/* Methods over HTTP's bytes: what there is, running one, and the files that jobs left. */
#include <time.h>

#include "check.h"
#include "folder.h"
#include "serve/call.h"
#include "sightglass/npy.h"

static char folder[64];

/* Leaves points in its folder: 40 on a line in three dimensions. */
static sg_status leave_points(sg_server_job *job, const char *spec, char **result, sg_error *err)
{
    float x[120];
    const char *own;
    char path[4300];
    (void)spec;
    for (int i = 0; i < 40; i++)
        for (int k = 0; k < 3; k++)
            x[3 * i + k] = (float)(i * (k + 1));
    SG_TRY(sg_job_folder(job, &own, err));
    snprintf(path, sizeof path, "%s/points.npy", own);
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){40, 3}, x);
    SG_TRY(sg_npy_save(path, &t, err));
    *result = strdup("{}");
    return SG_OK;
}

static const sg_job_kind kinds[] = {{"points", "Leaves points.", "{}", false, leave_points}};

static sg_server *open_server(void)
{
    const char *const models[] = {SG_SOURCE_DIR "/models/othello6"};
    sg_server_opts opts = sg_server_defaults();
    sg_server *s;
    sg_error err;
    opts.check_replies = true;
    opts.models = models;
    opts.n_models = 1;
    opts.kinds = kinds;
    opts.n_kinds = SG_COUNT_OF(kinds);
    opts.commit = "abc123";
    opts.workspace = folder;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    CHECK_OK(sg_server_start(s, &err), &err);
    return s;
}

static serve_answer ask(sg_server *s, const char *method, const char *path, const char *body, int code)
{
    serve_answer a = serve_call(s, method, path, body);
    if (a.code != code)
        print_error("%s %s gives %d: %s\n", method, path, a.code, a.body);
    CHECK(a.code == code);
    return a;
}

/* Waits for the end of the job that a request made; id gets its name. */
static serve_answer run(sg_server *s, const char *path, const char *body, const char *state, char id[64])
{
    char job[100];
    serve_answer a = ask(s, "POST", path, body, 201);
    snprintf(id, 64, "%s", json_string_value(json_object_get(a.json, "id")));
    serve_answer_free(&a);
    snprintf(job, sizeof job, "/api/v1/jobs/%s", id);
    for (int i = 0; i < 5000; i++) {
        a = ask(s, "GET", job, NULL, 200);
        const char *now = json_string_value(json_object_get(a.json, "state"));
        if (strcmp(now, "queued") != 0 && strcmp(now, "running") != 0) {
            if (strcmp(now, state) != 0)
                print_error("%s is %s: %s\n", body, now, a.body);
            CHECK(strcmp(now, state) == 0);
            return a;
        }
        serve_answer_free(&a);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    fail_msg("%s did not end", body);
    return a;
}

static void methods_are_listed_with_their_options(void **state)
{
    (void)state;
    sg_server *s = open_server();
    serve_answer a = ask(s, "GET", "/api/v1/methods", NULL, 200);
    const json_t *list = json_object_get(a.json, "methods");
    size_t i, found = 0;
    json_t *m;
    CHECK(json_array_size(list) > 0);
    json_array_foreach(list, i, m)
    {
        const char *action = json_string_value(json_object_get(m, "action"));
        if (action && strcmp(action, "localdim") == 0) {
            found++;
            CHECK(json_array_size(json_object_get(m, "options")) >= 3);
        }
    }
    CHECK(found == 1);
    serve_answer_free(&a);
    CHECK(sg_server_stop(s, 5));
    sg_server_free(s);
}

static void a_method_runs_as_a_job_on_a_model_that_the_server_knows(void **state)
{
    (void)state;
    char id[64];
    sg_server *s = open_server();
    serve_answer a =
        run(s, "/api/v1/methods/embeddings",
            "{\"action\": \"localdim\", \"inputs\": [\"othello6\"], \"settings\": {\"k\": 12, \"share\": 0.9}, "
            "\"seed\": 3}",
            "done", id);
    const json_t *result = json_object_get(a.json, "result"), *manifest = json_object_get(result, "manifest");
    CHECK(json_array_size(json_object_get(result, "findings")) > 0);
    CHECK_TEXT(json_string_value(json_object_get(manifest, "build")), "abc123");
    CHECK_TEXT(json_string_value(json_object_get(manifest, "options")), "k 12");
    CHECK(json_integer_value(json_object_get(manifest, "seed")) == 3);
    CHECK(json_string_length(json_object_get(manifest, "model_hash")) == 64);
    serve_answer_free(&a);
    CHECK(sg_server_stop(s, 5));
    sg_server_free(s);
}

static void what_one_job_left_another_reads(void **state)
{
    (void)state;
    char id[64], next[64], path[120], body[240];
    sg_server *s = open_server();
    serve_answer a = run(s, "/api/v1/jobs", "{\"kind\": \"points\", \"spec\": {}}", "done", id);
    serve_answer_free(&a);
    snprintf(path, sizeof path, "/api/v1/jobs/%s/files", id);
    a = ask(s, "GET", path, NULL, 200);
    CHECK_TEXT(json_string_value(json_object_get(json_array_get(json_object_get(a.json, "files"), 0), "name")),
               "points.npy");
    serve_answer_free(&a);
    snprintf(path, sizeof path, "/api/v1/jobs/%s/files/points.npy", id);
    a = ask(s, "GET", path, NULL, 200);
    CHECK(a.n > 480 && memcmp(a.body, "\x93NUMPY", 6) == 0);
    serve_answer_free(&a);
    snprintf(body, sizeof body,
             "{\"action\": \"localdim\", \"inputs\": [\"job:%s/points.npy\"], \"settings\": {\"k\": 5}}", id);
    a = run(s, "/api/v1/methods/embeddings", body, "done", next);
    const json_t *first = json_array_get(json_object_get(json_object_get(a.json, "result"), "findings"), 0);
    CHECK_NEAR(json_number_value(json_object_get(first, "value")), 1, 1e-6, 0); /* points of a line */
    serve_answer_free(&a);
    CHECK(sg_server_stop(s, 5));
    sg_server_free(s);
}

static void requests_run_no_commands(void **state)
{
    (void)state;
    char id[64], next[64], body[400];
    sg_server *s = open_server();
    serve_answer a = run(s, "/api/v1/jobs", "{\"kind\": \"points\", \"spec\": {}}", "done", id);
    serve_answer_free(&a);
    snprintf(body, sizeof body,
             "{\"action\": \"fit\", \"inputs\": [\"othello6\"], \"settings\": {\"prompts\": \"job:%s/points.npy\", "
             "\"reward\": \"command:touch %s/ran\"}}",
             id, folder);
    a = run(s, "/api/v1/methods/qprobe", body, "failed", next);
    CHECK_TEXT(json_string_value(json_object_get(a.json, "error")), "runs no commands");
    serve_answer_free(&a);
    CHECK(sg_server_stop(s, 5));
    sg_server_free(s);
}

static void requests_name_no_files_of_the_machine(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int code;
    } bad[] = {
        {"{\"action\": \"localdim\", \"inputs\": [\"/etc/passwd\"]}", 400},
        {"{\"action\": \"localdim\", \"inputs\": [\"../../etc\"]}", 400},
        {"{\"action\": \"localdim\", \"inputs\": [\"job:../x\"]}", 400},
        {"{\"action\": \"localdim\", \"inputs\": [\"job:abc/../../x\"]}", 400},
        {"{\"action\": \"localdim\", \"inputs\": [\"job:abc/x\"]}", 404},
        {"{\"action\": \"localdim\", \"inputs\": [\"othello6\"], \"settings\": {\"kk\": 1}}", 400},
        {"{\"action\": \"localdim\", \"inputs\": [\"othello6\"], \"settings\": {\"k\": \"many\"}}", 400},
        {"{\"action\": \"localdim\", \"inputs\": [\"othello6\"], \"out\": \"../x\"}", 400},
        {"{\"action\": \"localdim\", \"inputs\": [\"othello6\"], \"settings\": {\"side\": \"/etc\"}}", 400},
        {"{\"action\": \"nothing\"}", 404},
    };
    sg_server *s = open_server();
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        serve_answer a = ask(s, "POST", "/api/v1/methods/embeddings", bad[i].body, bad[i].code);
        CHECK(json_is_object(json_object_get(a.json, "error")));
        serve_answer_free(&a);
    }
    serve_answer a = ask(s, "POST", "/api/v1/methods/nothing", "{}", 404);
    serve_answer_free(&a);
    a = ask(s, "GET", "/api/v1/jobs/abc/files", NULL, 404);
    serve_answer_free(&a);
    CHECK(sg_server_stop(s, 5));
    sg_server_free(s);
}

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sg-methods-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(methods_are_listed_with_their_options, begin, finish),
        cmocka_unit_test_setup_teardown(a_method_runs_as_a_job_on_a_model_that_the_server_knows, begin, finish),
        cmocka_unit_test_setup_teardown(what_one_job_left_another_reads, begin, finish),
        cmocka_unit_test_setup_teardown(requests_run_no_commands, begin, finish),
        cmocka_unit_test_setup_teardown(requests_name_no_files_of_the_machine, begin, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
