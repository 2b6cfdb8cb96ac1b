/* sightglass serve as a user meets it: the address it prints, how it ends, what it keeps when it is killed. */
#include "check.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "raw_client.h"

enum { PATH_BYTES = 300, MAX_ARGS = 20 };

static char folder[100];

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sg-serve-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    char command[200];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static const char *in_folder(char path[PATH_BYTES], const char *name)
{
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return path;
}

static char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    CHECK(fseek(f, 0, SEEK_END) == 0);
    *n = (size_t)ftell(f);
    rewind(f);
    char *data = calloc(*n + 1, 1);
    CHECK(data && fread(data, 1, *n, f) == *n);
    fclose(f);
    return data;
}

/* ---- a server of its own ---- */

typedef struct server {
    pid_t pid;
    int out; /* its stdout */
    int port;
    char line[400]; /* the first line that it printed */
} server;

static pid_t run(const char *program, const char *const *args, const char *cwd, int *out)
{
    const char *argv[MAX_ARGS + 3] = {program, "serve"};
    char err_path[PATH_BYTES];
    int pipe_ends[2];

    for (int i = 0; i < MAX_ARGS && args[i]; i++)
        argv[i + 2] = args[i];
    CHECK(pipe(pipe_ends) == 0);
    fcntl(pipe_ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(pipe_ends[1], F_SETFD, FD_CLOEXEC);
    in_folder(err_path, "stderr");
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        const int err = open(err_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        union {
            const char *const *in;
            char *const *out;
        } list = {argv};
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no server behind */
        dup2(pipe_ends[1], STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        if (cwd && chdir(cwd) != 0)
            _exit(126);
        setenv("OMP_NUM_THREADS", "1", 1);
        execv(program, list.out);
        _exit(127);
    }
    close(pipe_ends[1]);
    *out = pipe_ends[0];
    return pid;
}

static server start_with(const char *program, const char *cwd, const char *const *args)
{
    server s = {.pid = 0};
    size_t n = 0;

    s.pid = run(program, args, cwd, &s.out);
    while (n + 1 < sizeof s.line && read(s.out, s.line + n, 1) == 1 && s.line[n++] != '\n') {
    }
    s.line[n] = '\0';
    const char *colon = strncmp(s.line, "http://127.0.0.1:", 17) == 0 ? s.line + 17 : NULL;
    if (!colon) {
        char path[PATH_BYTES];
        char *said = slurp(in_folder(path, "stderr"), &n);
        print_error("it printed \"%s\" and said \"%s\"\n", s.line, said ? said : "");
    }
    CHECK(colon != NULL);
    s.port = atoi(colon);
    return s;
}

static server start(void)
{
    char workspace[PATH_BYTES];
    const char *const args[] = {"--port",
                                "0",
                                "--token",
                                "test-token",
                                "--workspace",
                                in_folder(workspace, "ws"),
                                SG_SOURCE_DIR "/models/othello6",
                                NULL};
    return start_with(SG_COMMAND, NULL, args);
}

/* Ends it by a signal, and returns its exit status (or minus the signal). *rest: what more it had printed. */
static int end(server *s, int signal_number, char rest[64])
{
    int status;
    CHECK(kill(s->pid, signal_number) == 0);
    CHECK(waitpid(s->pid, &status, 0) == s->pid);
    const ssize_t n = read(s->out, rest, 63);
    rest[n > 0 ? n : 0] = '\0';
    close(s->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static json_t *ask(const server *s, const char *method, const char *path, const char *body, int *code)
{
    raw_client c = raw_connect(s->port);
    char head[600];
    CHECK(c.fd >= 0);
    snprintf(
        head, sizeof head,
        "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer test-token\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\nConnection: close\r\n\r\n",
        method, path, s->port, body ? strlen(body) : 0);
    CHECK(raw_puts(&c, head) && raw_puts(&c, body ? body : ""));
    CHECK(raw_wait_end(&c));
    CHECK(c.got && sscanf(c.got, "HTTP/1.1 %d", code) == 1);
    json_t *json = json_loads(strstr(c.got, "\r\n\r\n") + 4, 0, NULL);
    raw_close(&c);
    return json;
}

static json_t *ask_ok(const server *s, const char *method, const char *path, const char *body)
{
    int code;
    json_t *json = ask(s, method, path, body, &code);
    if (code / 100 != 2)
        print_error("%s %s gives %d\n", method, path, code);
    CHECK(code / 100 == 2);
    return json;
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text ? text : "";
}

/* ---- ---- */

static void one_address_is_printed_and_ctrl_c_ends_it(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        server s = start();
        char rest[64], want[100];
        snprintf(want, sizeof want, "http://127.0.0.1:%d/?token=test-token\n", s.port);
        assert_string_equal(s.line, want);
        json_t *health = ask_ok(&s, "GET", "/health", NULL);
        assert_string_equal(text_of(health, "status"), "ok");
        json_decref(health);
        CHECK(end(&s, signals[i], rest) == 0);
        assert_string_equal(rest, "");
    }
}

static void wrong_use_is_told_and_has_its_status(void **state)
{
    static const struct {
        const char *args[6];
        int status;
        const char *text;
    } wrong[] = {{{"--port", "99999"}, 2, "--port is \"99999\", wanted a whole number from 0 to 65535"},
                 {{"--token", "short"}, 2, "the token has 5 characters"},
                 {{"--token", "a b c d e f g"}, 2, "the token holds \" \""},
                 {{"--host", "example.org", "--port", "0"}, 2, "wanted an address"},
                 {{"--nonsense"}, 2, "unrecognized option"},
                 {{"--api", "xml"}, 2, "wanted ts, openapi or markdown"},
                 {{"--workspace", "/proc/nowhere"}, 1, "/proc/nowhere: cannot be made"},
                 {{"nowhere/model"}, 1, "nowhere/model"}};
    char workspace[PATH_BYTES], err[PATH_BYTES];
    (void)state;
    in_folder(workspace, "ws");
    in_folder(err, "stderr");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *args[12] = {"--workspace", workspace};
        int out, status;
        size_t n;
        for (int k = 0; k < 6; k++)
            args[k + 2] = wrong[i].args[k];
        unlink(err);
        const pid_t pid = run(SG_COMMAND, args, NULL, &out);
        CHECK(waitpid(pid, &status, 0) == pid);
        close(out);
        char *said = slurp(err, &n);
        CHECK_TEXT(said, wrong[i].text);
        free(said);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == wrong[i].status);
    }
}

static void a_second_server_leaves_the_workspace_alone(void **state)
{
    server s = start();
    char workspace[PATH_BYTES], err[PATH_BYTES], rest[64];
    const char *const args[] = {
        "--port", "0", "--workspace", in_folder(workspace, "ws"), SG_SOURCE_DIR "/models/othello6", NULL};
    int out, status;
    size_t n;
    (void)state;
    const pid_t pid = run(SG_COMMAND, args, NULL, &out);
    CHECK(waitpid(pid, &status, 0) == pid);
    close(out);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    char *said = slurp(in_folder(err, "stderr"), &n);
    CHECK_TEXT(said, "has this workspace; stop it, or name another folder");
    free(said);
    CHECK(end(&s, SIGTERM, rest) == 0);
}

static void what_can_be_asked_stands_in_the_tree(void **state)
{
    static const char *const files[][2] = {{"markdown", SG_SOURCE_DIR "/docs/api.md"},
                                           {"openapi", SG_SOURCE_DIR "/docs/openapi.json"},
                                           {"ts", SG_SOURCE_DIR "/web/src/api.types.ts"}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const char *const args[] = {"--api", files[i][0], NULL};
        size_t n, printed = 0;
        int out, status;
        char *kept = slurp(files[i][1], &n);
        CHECK(kept != NULL);
        char *now = calloc(n + 65536, 1);
        CHECK(now != NULL);
        const pid_t pid = run(SG_COMMAND, args, NULL, &out);
        for (ssize_t k; printed < n + 65535 && (k = read(out, now + printed, n + 65535 - printed)) > 0;)
            printed += (size_t)k;
        close(out);
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        if (printed != n || memcmp(kept, now, n) != 0)
            print_error("%s is not what the server's tables say; scripts/write-api writes it\n", files[i][1]);
        CHECK(printed == n && memcmp(kept, now, n) == 0);
        free(kept);
        free(now);
    }
}

static const char train[] =
    "{\"kind\":\"train\",\"spec\":{\"config\":{\"architectures\":[\"GPT2LMHeadModel\"],\"model_type\":\"gpt2\",\"n_"
    "layer\":1,"
    "\"n_head\":2,\"n_embd\":64,\"n_positions\":64,\"vocab_size\":64},\"world\":\"othello\",\"steps\":%d,\"batch\":8,"
    "\"save_every\":20,\"seed\":5}}";

static json_t *wait_for(const server *s, const char *id, const char *state_name, double at_least)
{
    char path[80];
    snprintf(path, sizeof path, "/api/v1/jobs/%s", id);
    for (int i = 0; i < 6000; i++) {
        json_t *job = ask_ok(s, "GET", path, NULL);
        /* What runs may be done before it is looked at again. */
        if (strcmp(state_name, "running") == 0 && strcmp(text_of(job, "state"), "done") == 0)
            return job;
        if (strcmp(text_of(job, "state"), state_name) == 0 &&
            json_number_value(json_object_get(job, "done")) >= at_least)
            return job;
        if (strcmp(text_of(job, "state"), "failed") == 0)
            print_error("it failed: %s\n", text_of(job, "error"));
        CHECK(strcmp(text_of(job, "state"), "failed") != 0);
        json_decref(job);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    print_error("job %s never came to be %s\n", id, state_name);
    CHECK(false);
    return NULL;
}

static void jobs_survive_a_server_that_is_killed(void **state)
{
    server s = start();
    char body[600], first[40], second[40], rest[64], path[PATH_BYTES], name[100];
    size_t n, n_whole;
    enum { STEPS = 400 };
    (void)state;

    snprintf(body, sizeof body, train, 20);
    json_t *job = ask_ok(&s, "POST", "/api/v1/jobs", body);
    snprintf(first, sizeof first, "%s", text_of(job, "id"));
    json_decref(job);
    job = wait_for(&s, first, "done", 20);
    const double loss = json_number_value(json_object_get(json_object_get(job, "result"), "loss"));
    CHECK(loss > 0);
    json_decref(job);

    snprintf(body, sizeof body, train, STEPS);
    job = ask_ok(&s, "POST", "/api/v1/jobs", body);
    snprintf(second, sizeof second, "%s", text_of(job, "id"));
    json_decref(job);
    int kills = 0;
    for (; kills < 3; kills++) {
        job = wait_for(&s, second, "running", 20 + 80 * kills);
        const bool over = strcmp(text_of(job, "state"), "done") == 0; /* on a machine that looked away for long */
        json_decref(job);
        if (over)
            break;
        CHECK(end(&s, SIGKILL, rest) == -SIGKILL);
        s = start();
        /* What was done is there; what ran says that it was cut off, and goes on when asked to. */
        job = wait_for(&s, first, "done", 20);
        CHECK_NEAR(json_number_value(json_object_get(json_object_get(job, "result"), "loss")), loss, 0, 0);
        json_decref(job);
        job = wait_for(&s, second, "interrupted", 0);
        CHECK(json_is_true(json_object_get(job, "resumable")));
        json_decref(job);
        snprintf(name, sizeof name, "/api/v1/jobs/%s/resume", second);
        json_decref(ask_ok(&s, "POST", name, NULL));
    }
    job = wait_for(&s, second, "done", STEPS);
    CHECK(kills >= 1 && json_integer_value(json_object_get(job, "runs")) == kills + 1);
    json_decref(job);

    /* The same as if nothing had happened, to the last byte. */
    job = ask_ok(&s, "POST", "/api/v1/jobs", body);
    char third[40];
    snprintf(third, sizeof third, "%s", text_of(job, "id"));
    json_decref(job);
    job = wait_for(&s, third, "done", STEPS);
    json_decref(job);
    snprintf(name, sizeof name, "ws/runs/%s/model.safetensors", second);
    char *cut = slurp(in_folder(path, name), &n);
    snprintf(name, sizeof name, "ws/runs/%s/model.safetensors", third);
    char *whole = slurp(in_folder(path, name), &n_whole);
    CHECK(cut && whole && n == n_whole && memcmp(cut, whole, n) == 0);
    free(cut);
    free(whole);
    CHECK(end(&s, SIGTERM, rest) == 0);
}

static void a_study_runs_as_a_job_and_its_report_is_the_result(void **state)
{
    server s = start();
    char rest[64], id[40];
    (void)state;
    json_t *all = ask_ok(&s, "GET", "/api/v1/studies", NULL), *list = json_object_get(all, "studies");
    CHECK(json_array_size(list) >= 5);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *study = json_array_get(list, i), *claims = json_object_get(study, "claims");
        CHECK(json_array_size(claims) > 0); /* each has its committed report in the program */
        CHECK(strlen(text_of(json_object_get(json_array_get(claims, 0), "control"), "text")) > 0);
    }
    json_decref(all);
    json_t *job = ask_ok(&s, "POST", "/api/v1/jobs", "{\"kind\":\"study\",\"spec\":{\"study\":\"toy-superposition\"}}");
    snprintf(id, sizeof id, "%s", text_of(job, "id"));
    json_decref(job);
    job = wait_for(&s, id, "done", 0);
    const json_t *report = json_object_get(job, "result");
    assert_string_equal(text_of(report, "study"), "toy-superposition");
    CHECK(json_array_size(json_object_get(report, "claims")) > 0);
    json_decref(job);
    CHECK(end(&s, SIGTERM, rest) == 0);
}

static void a_command_that_was_moved_brings_its_models_along(void **state)
{
    char moved[PATH_BYTES], workspace[PATH_BYTES], command[3 * PATH_BYTES], path[PATH_BYTES], rest[64];
    struct stat st;
    size_t n, n_own;
    (void)state;
    snprintf(command, sizeof command, "cp %s %s", SG_COMMAND, in_folder(moved, "moved"));
    CHECK(system(command) == 0);
    const char *const args[] = {"--port",   "0", "--token", "test-token", "--workspace", in_folder(workspace, "ws"),
                                "othello6", NULL};
    server s = start_with(moved, folder, args);
    json_t *models = ask_ok(&s, "GET", "/v1/models", NULL);
    assert_string_equal(text_of(json_array_get(json_object_get(models, "data"), 0), "id"), "othello6");
    json_decref(models);
    CHECK(end(&s, SIGTERM, rest) == 0);
    char *unpacked = slurp(in_folder(path, "ws/models/othello6/model.safetensors"), &n);
    char *own = slurp(SG_SOURCE_DIR "/models/othello6/model.safetensors", &n_own);
    CHECK(unpacked && own && n == n_own && memcmp(own, unpacked, n) == 0);
    free(own);
    /* One that was damaged is put right; one that is whole is left alone. */
    unpacked[n / 2] ^= 1;
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(unpacked, 1, n, f) == n && fclose(f) == 0);
    free(unpacked);
    CHECK(stat(in_folder(path, "ws/models/othello6/config.json"), &st) == 0);
    const struct timespec before = st.st_mtim;
    s = start_with(moved, folder, args);
    CHECK(end(&s, SIGTERM, rest) == 0);
    CHECK(stat(path, &st) == 0 && st.st_mtim.tv_sec == before.tv_sec && st.st_mtim.tv_nsec == before.tv_nsec);
    unpacked = slurp(in_folder(path, "ws/models/othello6/model.safetensors"), &n);
    own = slurp(SG_SOURCE_DIR "/models/othello6/model.safetensors", &n_own);
    CHECK(unpacked && n == n_own && memcmp(own, unpacked, n) == 0);
    free(unpacked);
    free(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_address_is_printed_and_ctrl_c_ends_it, begin, finish),
        cmocka_unit_test_setup_teardown(wrong_use_is_told_and_has_its_status, begin, finish),
        cmocka_unit_test_setup_teardown(a_second_server_leaves_the_workspace_alone, begin, finish),
        cmocka_unit_test_setup_teardown(what_can_be_asked_stands_in_the_tree, begin, finish),
        cmocka_unit_test_setup_teardown(jobs_survive_a_server_that_is_killed, begin, finish),
        cmocka_unit_test_setup_teardown(a_study_runs_as_a_job_and_its_report_is_the_result, begin, finish),
        cmocka_unit_test_setup_teardown(a_command_that_was_moved_brings_its_models_along, begin, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
