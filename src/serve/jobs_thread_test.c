/* Jobs: their states, what is kept of them, and what is told; by bytes, with kinds of our own. */
#include <time.h>

#include "check.h"
#include "serve/call.h"
#include "serve/workspace.h"

static char folder[64];
static atomic_int n_runs, n_resumed;
static atomic_bool go;

static void rest(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static sg_status sum_up(sg_server_job *job, const char *spec, char **result, sg_error *err)
{
    json_t *of = json_loads(spec, 0, NULL), *out = json_object();
    const json_int_t n = json_integer_value(json_object_get(of, "n"));
    json_int_t sum = 0;
    (void)err;
    for (json_int_t i = 1; i <= n; i++) {
        sum += i;
        sg_job_progress(job, (double)i, (double)n, i <= n / 2 ? "first half" : "second half");
    }
    sg_job_ran_on(job, "head", 17);
    json_object_set_new(out, "sum", json_integer(sum));
    *result = json_dumps(out, 0);
    json_decref(of);
    json_decref(out);
    return SG_OK;
}

/* Waits until it may go on or is to stop; what it leaves in its folder says that it was here before. */
static sg_status wait_long(sg_server_job *job, const char *spec, char **result, sg_error *err)
{
    const char *own;
    char path[4300];
    (void)spec;
    SG_TRY(sg_job_folder(job, &own, err));
    snprintf(path, sizeof path, "%s/mark", own);
    n_runs++;
    if (sg_job_resumed(job) && access(path, F_OK) == 0)
        n_resumed++;
    FILE *f = fopen(path, "w");
    if (f)
        fclose(f);
    sg_job_progress(job, 1, 10, "waits");
    while (!go && !sg_job_cancelled(job))
        rest();
    if (sg_job_cancelled(job))
        return sg_fail(err, SG_ECANCELLED, "stopped");
    *result = strdup("\"done\"");
    return SG_OK;
}

static sg_status fail_always(sg_server_job *job, const char *spec, char **result, sg_error *err)
{
    (void)job;
    (void)spec;
    (void)result;
    return sg_fail(err, SG_ENUMERIC, "the loss of step 3 is not finite");
}

static sg_status say_nonsense(sg_server_job *job, const char *spec, char **result, sg_error *err)
{
    (void)job;
    (void)spec;
    (void)err;
    *result = strdup("{not JSON");
    return SG_OK;
}

static const sg_job_kind kinds[] = {{"sum", "Sums up.", "{n: integer}", false, sum_up},
                                    {"wait", "Waits.", "{}", true, wait_long},
                                    {"fail", "Fails.", "{}", false, fail_always},
                                    {"nonsense", "Speaks no JSON.", "{}", false, say_nonsense}};

static sg_server *open_server(bool kept)
{
    sg_server_opts opts = sg_server_defaults();
    sg_server *s;
    sg_error err;
    opts.check_replies = true;
    opts.kinds = kinds;
    opts.n_kinds = SG_COUNT_OF(kinds);
    opts.commit = "abc123";
    opts.workspace = kept ? folder : NULL;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    CHECK_OK(sg_server_start(s, &err), &err);
    return s;
}

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sg-jobs-XXXXXX");
    n_runs = n_resumed = 0;
    go = false;
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static serve_answer ask(sg_server *s, const char *method, const char *path, const char *body, int code)
{
    serve_answer a = serve_call(s, method, path, body);
    if (a.code != code)
        print_error("%s %s gives %d: %s\n", method, path, a.code, a.body);
    CHECK(a.code == code);
    return a;
}

static const char *field(const serve_answer *a, const char *name)
{
    const char *text = json_string_value(json_object_get(a->json, name));
    return text ? text : "";
}

/* Adds a job and returns its path. */
static const char *add(sg_server *s, const char *body)
{
    static char path[2][80];
    static int turn;
    serve_answer a = ask(s, "POST", "/api/v1/jobs", body, 201);
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "/api/v1/jobs/%s", field(&a, "id"));
    serve_answer_free(&a);
    return path[turn];
}

/* Waits for a state; the answer is the caller's. */
static serve_answer wait_for(sg_server *s, const char *path, const char *state)
{
    for (int i = 0; i < 5000; i++) {
        serve_answer a = ask(s, "GET", path, NULL, 200);
        if (strcmp(field(&a, "state"), state) == 0)
            return a;
        serve_answer_free(&a);
        rest();
    }
    print_error("%s never came to be %s\n", path, state);
    CHECK(false);
    return (serve_answer){0};
}

static const char *of(const char *path, const char *verb)
{
    static char out[120];
    snprintf(out, sizeof out, "%s/%s", path, verb);
    return out;
}

static void a_job_runs_and_its_result_is_kept(void **state)
{
    sg_server *s = open_server(true);
    (void)state;
    const char *path = add(s, "{\"kind\": \"sum\", \"spec\": {\"n\": 10}}");
    serve_answer a = wait_for(s, path, "done");
    for (int again = 0; again < 2; again++) {
        const json_t *origin = json_object_get(a.json, "origin");
        CHECK(json_integer_value(json_object_get(json_object_get(a.json, "result"), "sum")) == 55);
        CHECK_NEAR(json_number_value(json_object_get(a.json, "done")), 10, 0, 0);
        assert_string_equal(field(&a, "phase"), "second half");
        assert_string_equal(json_string_value(json_object_get(origin, "backend")), "head");
        assert_string_equal(json_string_value(json_object_get(origin, "code_version")), "abc123");
        CHECK(json_integer_value(json_object_get(origin, "seed")) == 17);
        /* printf '{"n":10}' | sha256sum */
        assert_string_equal(json_string_value(json_object_get(origin, "spec_hash")),
                            "3ff6698e101869f36e088516c6c0ca6495c40c0abdae72f6e4d124610dace7b0");
        serve_answer_free(&a);
        sg_server_free(s);
        s = open_server(true);
        a = ask(s, "GET", path, NULL, 200);
    }
    serve_answer_free(&a);
    a = ask(s, "GET", "/api/v1/jobs", NULL, 200);
    CHECK(json_array_size(json_object_get(a.json, "jobs")) == 1);
    CHECK(json_array_size(json_object_get(a.json, "kinds")) == 6); /* train is the server's own */
    CHECK(json_object_get(json_array_get(json_object_get(a.json, "jobs"), 0), "result") == NULL);
    serve_answer_free(&a);
    a = ask(s, "DELETE", path, NULL, 204);
    serve_answer_free(&a);
    a = ask(s, "GET", path, NULL, 404);
    serve_answer_free(&a);
    sg_server_free(s);
}

static void a_job_that_makes_no_sense_is_not_taken(void **state)
{
    static const struct {
        const char *body, *param, *text;
    } wrong[] = {{"{\"kind\": \"sun\", \"spec\": {}}", "kind", "the nearest is sum"},
                 {"{\"kind\": \"sum\", \"spec\": {\"n\": \"ten\"}}", "spec.n", "spec.n: wanted a whole number"},
                 {"{\"kind\": \"sum\", \"spec\": {\"n\": 1, \"m\": 2}}", "spec.m", "no such field; the nearest is n"},
                 {"{\"kind\": \"sum\", \"spec\": []}", "spec", "spec: wanted an object"}};
    sg_server *s = open_server(false);
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        serve_answer a = ask(s, "POST", "/api/v1/jobs", wrong[i].body, 400);
        const json_t *error = json_object_get(a.json, "error");
        assert_string_equal(json_string_value(json_object_get(error, "param")), wrong[i].param);
        CHECK_TEXT(json_string_value(json_object_get(error, "message")), wrong[i].text);
        serve_answer_free(&a);
    }
    serve_answer a = ask(s, "GET", "/api/v1/jobs", NULL, 200);
    CHECK(json_array_size(json_object_get(a.json, "jobs")) == 0);
    serve_answer_free(&a);
    sg_server_free(s);
}

static void what_fails_says_why(void **state)
{
    sg_server *s = open_server(false);
    (void)state;
    serve_answer a = wait_for(s, add(s, "{\"kind\": \"fail\", \"spec\": {}}"), "failed");
    assert_string_equal(field(&a, "error"), "the loss of step 3 is not finite");
    serve_answer_free(&a);
    a = wait_for(s, add(s, "{\"kind\": \"nonsense\", \"spec\": {}}"), "failed");
    assert_string_equal(field(&a, "error"), "the result is no JSON");
    serve_answer_free(&a);
    const char *path =
        add(s, "{\"kind\": \"wait\", \"spec\": {}}"); /* which wants a folder, and there is no workspace */
    a = wait_for(s, path, "failed");
    CHECK_TEXT(field(&a, "error"), "needs a workspace");
    serve_answer_free(&a);
    sg_server_free(s);
}

static void a_job_is_stopped_and_goes_on(void **state)
{
    sg_server *s = open_server(true);
    (void)state;
    const char *path = add(s, "{\"kind\": \"wait\", \"spec\": {}}"),
               *second = add(s, "{\"kind\": \"wait\", \"spec\": {}}");
    serve_answer a = wait_for(s, path, "running");
    serve_answer_free(&a);
    a = ask(s, "DELETE", path, NULL, 409);
    serve_answer_free(&a);
    a = ask(s, "POST", of(path, "resume"), NULL, 409);
    CHECK_TEXT(a.body, "is running");
    serve_answer_free(&a);
    a = ask(s, "POST", of(second, "stop"), NULL, 200); /* it had not begun */
    assert_string_equal(field(&a, "state"), "stopped");
    serve_answer_free(&a);
    a = ask(s, "POST", of(path, "stop"), NULL, 200);
    serve_answer_free(&a);
    a = wait_for(s, path, "stopped");
    CHECK(json_is_true(json_object_get(a.json, "resumable")));
    serve_answer_free(&a);
    CHECK(n_runs == 1);
    go = true;
    a = ask(s, "POST", of(path, "resume"), NULL, 200);
    serve_answer_free(&a);
    a = wait_for(s, path, "done");
    CHECK(json_integer_value(json_object_get(a.json, "runs")) == 2);
    serve_answer_free(&a);
    CHECK(n_runs == 2 && n_resumed == 1);
    const char *sum = add(s, "{\"kind\": \"fail\", \"spec\": {}}");
    a = wait_for(s, sum, "failed");
    serve_answer_free(&a);
    a = ask(s, "POST", of(sum, "resume"), NULL, 409);
    CHECK_TEXT(a.body, "begin anew each time");
    serve_answer_free(&a);
    sg_server_free(s);
}

static void a_server_that_ends_leaves_its_jobs_to_the_next(void **state)
{
    sg_server *s = open_server(true);
    (void)state;
    const char *path = add(s, "{\"kind\": \"wait\", \"spec\": {}}");
    serve_answer a = wait_for(s, path, "running");
    serve_answer_free(&a);
    const char *queued = add(s, "{\"kind\": \"sum\", \"spec\": {\"n\": 3}}");
    CHECK(sg_server_stop(s, 10));
    sg_server_free(s);
    s = open_server(true);
    a = wait_for(s, queued, "done");
    serve_answer_free(&a);
    a = wait_for(s, path, "interrupted");
    CHECK(json_is_true(json_object_get(a.json, "resumable")));
    serve_answer_free(&a);
    sg_server_free(s);
}

static void a_workspace_has_one_server(void **state)
{
    workspace *w, *second;
    sg_error err;
    (void)state;
    CHECK_OK(serve_workspace_open(&w, folder, &err), &err);
    CHECK_STATUS(serve_workspace_open(&second, folder, &err), SG_EARG);
    CHECK_TEXT(err.text, "another server (process ");
    serve_workspace_close(w);
    CHECK_OK(serve_workspace_open(&w, folder, &err), &err);
    CHECK_OK(serve_workspace_do(w, &err, "PRAGMA user_version=99", ""), &err);
    serve_workspace_close(w);
    CHECK_STATUS(serve_workspace_open(&w, folder, &err), SG_EARG);
    CHECK_TEXT(err.text, "a later version");
}

static void a_view_is_kept(void **state)
{
    sg_server *s = open_server(true);
    (void)state;
    serve_answer a =
        ask(s, "POST", "/api/v1/snapshots", "{\"name\": \"mine\", \"view\": {\"sel\": [1, 2], \"a\": null}}", 201);
    char path[80];
    snprintf(path, sizeof path, "/api/v1/snapshots/%s", field(&a, "id"));
    serve_answer_free(&a);
    a = ask(s, "GET", path, NULL, 200);
    CHECK(json_integer_value(json_array_get(json_object_get(json_object_get(a.json, "view"), "sel"), 1)) == 2);
    CHECK(strlen(field(&a, "hash")) == 64);
    serve_answer_free(&a);
    a = ask(s, "GET", "/api/v1/snapshots", NULL, 200);
    CHECK_TEXT(a.body, "\"name\":\"mine\"");
    serve_answer_free(&a);
    a = ask(s, "DELETE", path, NULL, 204);
    serve_answer_free(&a);
    a = ask(s, "GET", path, NULL, 404);
    serve_answer_free(&a);
    sg_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_job_runs_and_its_result_is_kept, begin, finish),
        cmocka_unit_test_setup_teardown(a_job_that_makes_no_sense_is_not_taken, begin, finish),
        cmocka_unit_test_setup_teardown(what_fails_says_why, begin, finish),
        cmocka_unit_test_setup_teardown(a_job_is_stopped_and_goes_on, begin, finish),
        cmocka_unit_test_setup_teardown(a_server_that_ends_leaves_its_jobs_to_the_next, begin, finish),
        cmocka_unit_test_setup_teardown(a_workspace_has_one_server, begin, finish),
        cmocka_unit_test_setup_teardown(a_view_is_kept, begin, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
