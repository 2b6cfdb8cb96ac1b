/* The command under mpirun: several processes are one, up to rounding; a killed one leaves a checkpoint from which any
 * number goes on; what goes wrong is said once. */
#include "check.h"
#include "folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "sightglass/learner.h"
#include "sightglass/npy.h"
#include "sightglass/safetensors.h"

#define TIME_LIMIT_S 100
enum { PATH_BYTES = 400, MAX_ARGS = 60, STEPS = 40 };
#define STEPS_TEXT "40"

static char folder[200], config[PATH_BYTES], mpirun[PATH_BYTES];

static const char *in_folder(char path[PATH_BYTES], const char *name)
{
    CHECK(snprintf(path, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES);
    return path;
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return calloc(1, 1);
    CHECK(fseek(f, 0, SEEK_END) == 0);
    const size_t n = (size_t)ftell(f);
    rewind(f);
    char *data = calloc(n + 1, 1);
    CHECK(data && fread(data, 1, n, f) == n);
    fclose(f);
    return data;
}

static void find_mpirun(void)
{
    const char *path = getenv("PATH");
    for (const char *at = path; at && *at; at += strcspn(at, ":"), at += *at == ':') {
        snprintf(mpirun, sizeof mpirun, "%.*s/mpirun", (int)strcspn(at, ":"), at);
        if (access(mpirun, X_OK) == 0)
            return;
    }
    mpirun[0] = 0;
}

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-mpi-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    find_mpirun();
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("OMP_WAIT_POLICY", "passive", 1);
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 1); /* ranks that wait make room: there are fewer cores than ranks */
    setenv("OMPI_MCA_btl", "self,vader", 1);
    setenv("OMPI_MCA_odls_base_sigkill_timeout", "0", 1); /* mpirun ends what is left of a failed job at once */
    const char *asan =
        getenv("ASAN_OPTIONS"); /* whole stacks, for test/lsan.supp; without a sanitizer it means nothing */
    char whole_stacks[1000];
    snprintf(whole_stacks, sizeof whole_stacks, "%s%sfast_unwind_on_malloc=0", asan ? asan : "", asan ? ":" : "");
    setenv("ASAN_OPTIONS", whole_stacks, 1);
    /* A model without biases: that of keys has no gradient but rounding, which Adam makes as large as any. */
    FILE *f = fopen(in_folder(config, "config.json"), "wb");
    CHECK(f &&
          fputs("{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
                "\"intermediate_size\":64,\"vocab_size\":30,\"max_position_embeddings\":16,\"hidden_act\":\"silu\","
                "\"initializer_range\":0.2}",
                f) >= 0 &&
          fclose(f) == 0);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

static void needs_mpi(void)
{
    const bool built = strlen(SG_MPI_OBJECT) > 0;
    if (mpirun[0] && built)
        return;
    print_message("skipped: %s is not here\n", built ? "mpirun" : "MPI in this build");
    skip();
}

/* ---- processes ---- */

typedef struct outcome {
    int status; /* exit status, or minus the signal */
    char *out, *err;
} outcome;

static void outcome_free(outcome *o)
{
    free(o->out);
    free(o->err);
}

static bool redirect(const char *path, int to)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    return fd >= 0 && dup2(fd, to) == to && close(fd) == 0;
}

static const char *program = SG_COMMAND; /* what start starts */

/* n processes, without mpirun where n is 0; the words up to NULL. */
static pid_t start(int n, ...)
{
    char *argv[MAX_ARGS + 1] = {NULL}, out[PATH_BYTES], err[PATH_BYTES], number[12];
    const char *const before[] = {mpirun, "--oversubscribe", "--allow-run-as-root", "-n", number};
    int count = 0;
    snprintf(number, sizeof number, "%d", n);
    for (int i = 0; n && i < 5; i++)
        argv[count++] = strdup(before[i]);
    argv[count++] = strdup(program);
    va_list args;
    va_start(args, n);
    for (const char *a; (a = va_arg(args, const char *));) {
        CHECK(count < MAX_ARGS);
        argv[count++] = strdup(a);
    }
    va_end(args);
    in_folder(out, "stdout");
    in_folder(err, "stderr");
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGINT, SIG_DFL); /* a test in the background of a shell is begun with it ignored */
        if (!redirect(out, STDOUT_FILENO) || !redirect(err, STDERR_FILENO))
            _exit(126);
        alarm(TIME_LIMIT_S);
        execv(argv[0], argv);
        _exit(127);
    }
    for (int i = 0; i < count; i++)
        free(argv[i]);
    return child;
}

static outcome end(pid_t child)
{
    char path[PATH_BYTES];
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    outcome o = {.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)};
    o.out = slurp(in_folder(path, "stdout"));
    o.err = slurp(in_folder(path, "stderr"));
    if (strstr(o.err, "Sanitizer") || strstr(o.err, "runtime error:")) {
        print_error("%s\n", o.err);
        o.status = -1000;
    }
    return o;
}

static void expect(outcome o, int status, const char *out, const char *err)
{
    if (o.status != status) {
        print_error("exit status %d, wanted %d:\n%s%s\n", o.status, status, o.out, o.err);
        fail();
    }
    CHECK_TEXT(o.out, out);
    CHECK_TEXT(o.err, err);
    outcome_free(&o);
}

/* How often `needle` is in `text`. */
static int times(const char *text, const char *needle)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, needle)); at++)
        n++;
    return n;
}

#define TRAIN                                                                                                          \
    "train", "--config", config, "--world", "arithmetic", "--p", "29", "--part", "all", "--seed", "5", "--warmup",     \
        "10", "--weight-decay", "0.1", "--clip", "0.5", "--average", "0.9", "--schedule", "cosine"
#define RUN(n, out, batch, ...)                                                                                        \
    expect(end(start(n, TRAIN, "--batch", batch, "--steps", STEPS_TEXT, "--out", out, __VA_ARGS__, NULL)), 0,          \
           STEPS_TEXT " steps", "")

/* ---- what comes out ---- */

/* The largest difference between two files' tensors. */
static double difference(const char *a, const char *b, const char *file)
{
    char path[2][PATH_BYTES];
    sg_safetensors *st[2];
    sg_error err;
    double most = 0;
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], PATH_BYTES, "%s/%s", i ? b : a, file);
        CHECK_OK(sg_safetensors_open(&st[i], path[i], &err), &err);
    }
    CHECK(sg_safetensors_count(st[0]) == sg_safetensors_count(st[1]) && sg_safetensors_count(st[0]) > 0);
    for (int i = 0; i < sg_safetensors_count(st[0]); i++) {
        const sg_tensor *x = sg_safetensors_at(st[0], i), *y;
        CHECK_OK(sg_safetensors_get(&y, st[1], sg_safetensors_name(st[0], i), &err), &err);
        CHECK(sg_tensor_count(x) == sg_tensor_count(y));
        for (sg_dim k = 0; k < sg_tensor_count(x); k++)
            most = fmax(most, fabs(sg_tensor_get(x, k) - sg_tensor_get(y, k)));
    }
    sg_safetensors_close(st[0]);
    sg_safetensors_close(st[1]);
    return most;
}

static bool same_bytes(const char *a, const char *b)
{
    char path[PATH_BYTES];
    struct stat st[2];
    snprintf(path, sizeof path, "%s/model.safetensors", a);
    char *x = slurp(path);
    CHECK(stat(path, &st[0]) == 0);
    snprintf(path, sizeof path, "%s/model.safetensors", b);
    char *y = slurp(path);
    CHECK(stat(path, &st[1]) == 0);
    const bool same = st[0].st_size == st[1].st_size && memcmp(x, y, (size_t)st[0].st_size) == 0;
    free(x);
    free(y);
    return same;
}

/* The run of one process that others are held to. The last batch dealt over three ranks is 16, 16 and 15 rows, so the
 * ranks have unequally many tokens that count. */
static const char *whole(char out[PATH_BYTES])
{
    struct stat st;
    if (stat(in_folder(out, "whole"), &st) != 0)
        RUN(0, out, "47", "--keep", "3");
    return out;
}

static void close_to_whole(const char *out)
{
    char one[PATH_BYTES];
    const double model = difference(whole(one), out, "model.safetensors");
    const double state = difference(one, out, "checkpoint-000000" STEPS_TEXT ".safetensors");
    print_message("model within %.2g, checkpoint within %.2g of one process\n", model, state);
    CHECK(model < 1e-5 && state < 1e-5);
}

static void ranks_are_one_process(void **state)
{
    (void)state;
    char out[PATH_BYTES];
    needs_mpi();
    RUN(3, in_folder(out, "three"), "47", "--keep", "2");
    close_to_whole(out);
}

static void same_ranks_give_the_same_bytes(void **state)
{
    (void)state;
    char a[PATH_BYTES], b[PATH_BYTES], c[PATH_BYTES];
    needs_mpi();
    RUN(2, in_folder(a, "a"), "47", "--keep", "2");
    RUN(2, in_folder(b, "b"), "47", "--keep", "2");
    RUN(2, in_folder(c, "c"), "47", "--no-overlap");
    close_to_whole(a);
    CHECK(same_bytes(a, b));
    CHECK(same_bytes(a, c));
}

static void several_batches_are_dealt_out(void **state)
{
    (void)state;
    char one[PATH_BYTES], two[PATH_BYTES];
    needs_mpi();
    RUN(0, in_folder(one, "one-of-three"), "15", "--accumulate", "3");
    RUN(2, in_folder(two, "two-of-three"), "15", "--accumulate", "3");
    CHECK(difference(one, two, "model.safetensors") < 1e-5);
}

/* Full rows of text have no field that says what counts: there the weight is the rows. */
static void rows_without_counts_are_weighed(void **state)
{
    (void)state;
    char one[PATH_BYTES], two[PATH_BYTES], data[PATH_BYTES];
    int32_t ids[600];
    sg_error err;
    needs_mpi();
    for (int i = 0; i < 600; i++)
        ids[i] = i * i % 23;
    const sg_tensor t = sg_tensor_of(SG_I32, 1, (sg_dim[]){600}, ids);
    CHECK_OK(sg_npy_save(in_folder(data, "squares.npy"), &t, &err), &err);
    for (int n = 0; n <= 2; n += 2)
        expect(end(start(n, "train", "--config", config, "--data", data, "--context", "8", "--batch", "5", "--steps",
                         STEPS_TEXT, "--warmup", "10", "--out",
                         n ? in_folder(two, "text-two") : in_folder(one, "text-one"), NULL)),
               0, STEPS_TEXT " steps", "");
    CHECK(difference(one, two, "model.safetensors") < 1e-5);
}

/* ---- ended from outside ---- */

static int lines(const char *path)
{
    char *text = slurp(path);
    const int n = times(text, "\n");
    free(text);
    return n;
}

/* A process of mpirun's that runs the command: the last that /proc lists. */
static pid_t rank_of(pid_t launcher)
{
    char path[PATH_BYTES], wanted[40];
    pid_t found = -1;
    DIR *d = opendir("/proc");
    snprintf(wanted, sizeof wanted, "PPid:\t%d\n", (int)launcher);
    for (struct dirent *e; d && (e = readdir(d));) {
        const int pid = atoi(e->d_name);
        snprintf(path, sizeof path, "/proc/%d/status", pid);
        FILE *f = pid > 0 ? fopen(path, "rb") : NULL;
        char text[500] = "";
        if (f) {
            text[fread(text, 1, sizeof text - 1, f)] = 0;
            fclose(f);
        }
        if (strstr(text, wanted) && strstr(text, "sightglass"))
            found = pid;
    }
    if (d)
        closedir(d);
    return found;
}

static void a_killed_rank_leaves_a_checkpoint(void **state)
{
    (void)state;
    char out[PATH_BYTES], metrics[PATH_BYTES];
    needs_mpi();
    for (int n = 0; n <= 3; n += 3) { /* goes on with one process, and with three */
        in_folder(out, n ? "killed-three" : "killed-one");
        in_folder(metrics, n ? "three.jsonl" : "one.jsonl");
        const pid_t launcher = start(2, TRAIN, "--batch", "47", "--steps", STEPS_TEXT, "--save-every", "1", "--out",
                                     out, "--metrics", metrics, NULL);
        const time_t began = time(NULL);
        while (lines(metrics) < 5 && time(NULL) < began + TIME_LIMIT_S)
            usleep(500);
        const pid_t rank = rank_of(launcher);
        CHECK(rank > 0);
        kill(rank, SIGKILL);
        outcome o = end(launcher);
        CHECK(o.status != 0);
        outcome_free(&o);
        CHECK(lines(metrics) < STEPS);
        RUN(n, out, "47", "--resume", "--metrics", metrics);
        CHECK(lines(metrics) == STEPS);
        close_to_whole(out);
    }
}

static void an_interruption_saves_on_all(void **state)
{
    (void)state;
    char out[PATH_BYTES], metrics[PATH_BYTES];
    static const int signals[] = {SIGINT, SIGUSR1};
    needs_mpi();
    /* An interrupted mpirun ends its processes by SIGTERM, and by SIGKILL after a second, as it is by itself. */
    unsetenv("OMPI_MCA_odls_base_sigkill_timeout");
    for (int i = 0; i < 2; i++) {
        in_folder(out, i ? "usr1" : "int");
        in_folder(metrics, i ? "usr1.jsonl" : "int.jsonl");
        const pid_t launcher = start(2, TRAIN, "--batch", "47", "--steps", "1000000", "--save-every", "1000000",
                                     "--out", out, "--metrics", metrics, NULL);
        const time_t began = time(NULL);
        while (lines(metrics) < 5 && time(NULL) < began + TIME_LIMIT_S)
            usleep(500);
        kill(launcher, signals[i]);
        outcome o = end(launcher);
        CHECK(o.status != 0);
        if (times(o.err, "--resume goes on") != 1) /* told by rank 0 alone */
            fail_msg("signal %d, status %d:\n%s", signals[i], o.status, o.err);
        outcome_free(&o);
        DIR *d = opendir(out);
        int n = 0;
        for (struct dirent *e; d && (e = readdir(d));)
            n += strncmp(e->d_name, "checkpoint-", 11) == 0;
        CHECK(d && closedir(d) == 0 && n == 1);
    }
}

/* ---- runs ---- */

static void a_harvest_is_one_file(void **state)
{
    (void)state;
    char model[PATH_BYTES], tokens[PATH_BYTES], out[PATH_BYTES];
    needs_mpi();
    whole(model);
    FILE *f = fopen(in_folder(tokens, "tokens"), "wb");
    CHECK(f && fputs("1 2 29\n3 4 29\n5\n6 7 8 9 10\n11 12\n13 14 15\n16 17\n", f) >= 0 && fclose(f) == 0);
    for (int n = 0; n <= 3; n++) {
        char name[20];
        snprintf(name, sizeof name, "acts%d", n);
        CHECK(mkdir(in_folder(out, name), 0700) == 0);
        strcat(out, "/acts.safetensors");
        if (n != 1)
            expect(end(start(n, "run", model, "--tokens", tokens, "--fetch", "blocks.*.hook_resid_post", "--fetch",
                             "blocks.0.attn.hook_pattern", "--out", out, NULL)),
                   0, n ? "3 values of 7 rows" : "blocks.0.hook_resid_post", "");
        out[strlen(out) - strlen("/acts.safetensors")] = 0;
        char one[PATH_BYTES];
        if (n > 1)
            CHECK(difference(in_folder(one, "acts0"), out, "acts.safetensors") < 1e-5);
    }
}

static void what_cannot_be_dealt_out_is_said(void **state)
{
    (void)state;
    char model[PATH_BYTES], tokens[PATH_BYTES], out[PATH_BYTES];
    needs_mpi();
    whole(model);
    in_folder(out, "not.safetensors");
    FILE *f = fopen(in_folder(tokens, "two"), "wb");
    CHECK(f && fputs("1 2\n3\n", f) >= 0 && fclose(f) == 0);
    expect(end(start(2, "run", model, "--tokens", tokens, "--fetch", "logits", NULL)), 2, "", "sightglass: several");
    expect(end(start(2, "run", model, "--tokens", tokens, "--fetch", "logits", "--out", out, "--grad",
                     "loss:hook_embed", NULL)),
           2, "", "sightglass: --grad wants one process");
    expect(end(start(2, "run", model, "--tokens", tokens, "--fetch", "loss", "--out", out, NULL)), 2, "",
           "--fetch loss: has no part for each row");
    expect(end(start(3, "run", model, "--tokens", tokens, "--fetch", "logits", "--out", out, NULL)), 2, "",
           "sightglass: 2 rows for 3 processes");
    CHECK(access(out, F_OK) != 0);
    in_folder(out, "nowhere/x.safetensors");
    expect(end(start(2, "run", model, "--tokens", tokens, "--fetch", "logits", "--out", out, NULL)), 1, "",
           "sightglass: rank 0: ");
}

/* ---- what goes wrong ---- */

static void errors_are_told_once(void **state)
{
    (void)state;
    char out[PATH_BYTES];
    needs_mpi();
    in_folder(out, "wrong");
    outcome o[] = {
        end(start(2, "train", "--config", "nowhere.json", "--world", "arithmetic", "--out", out, NULL)),
        end(start(2, TRAIN, "--btach", "8", "--out", out, NULL)),
        end(start(3, TRAIN, "--batch", "2", "--out", out, NULL)),
        end(start(2, TRAIN, "--lr", "1e6", "--warmup", "0", "--clip", "inf", "--out", out, NULL)),
    };
    static const char *const words[] = {"nowhere.json", "--btach", "batches of 2 rows for 3 ranks", "the loss is"};
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) {
        CHECK(o[i].status == 1 || o[i].status == 2);
        CHECK_TEXT(o[i].err, words[i]);
        CHECK(times(o[i].err, "\nsightglass") + (strncmp(o[i].err, "sightglass", 10) == 0) == 1);
        outcome_free(&o[i]);
    }
}

static void one_failing_rank_is_named(void **state)
{
    (void)state;
    char out[PATH_BYTES], ours[PATH_BYTES];
    needs_mpi();
    /* The folder can be made by nobody, which only rank 0 finds out. */
    in_folder(ours, "file");
    FILE *f = fopen(ours, "wb");
    CHECK(f && fclose(f) == 0);
    in_folder(out, "file/below");
    expect(end(start(2, TRAIN, "--batch", "8", "--out", out, NULL)), 1, "", "sightglass: rank 0: ");
}

/* This program itself is started as several ranks, whose learners have sources that one of them cannot read on. */
enum { FAILS_AT = 3, ROWS = 5, TIME = 8 };

static sg_status fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    const int rank = *(const int *)self;
    if (i == FAILS_AT && rank == 1)
        return sg_fail(err, SG_EIO, "batch %d cannot be read", FAILS_AT);
    for (sg_dim k = 0; k < ROWS * TIME; k++)
        ((int32_t *)field[0].data)[k] = (int32_t)((k + i) % 7);
    return SG_OK;
}

/* 0: as it should be. */
static int child(const char *path, bool other_data)
{
    sg_error err = {SG_OK, ""};
    sg_ranks *ranks;
    sg_model *m;
    sg_learner *l;
    if (sg_ranks_open(&ranks, &err) != SG_OK || sg_ranks_count(ranks) != 3)
        return 10;
    int rank = sg_ranks_index(ranks), wrong = 0;
    double x[2] = {1, rank};
    sg_ranks_sum(ranks, 2, x);
    wrong |= x[0] != 3 || x[1] != 3;
    sg_source source = {.n_fields = 1, .fill = fill, .self = &rank};
    source.field[0] = sg_tensor_of(SG_I32, 2, (sg_dim[]){ROWS, TIME}, NULL);
    sg_learner_opts opts = sg_learner_defaults();
    opts.ranks = ranks;
    opts.exec.n_threads = 1;
    opts.data = other_data && rank == 2 ? "these" : "those";
    sg_status status = sg_model_new(&m, path, NULL, sg_model_defaults(), &err);
    wrong |= (status != SG_OK) << 1;
    status = sg_learner_new(&l, m, &source, opts, &err);
    if (other_data) {
        wrong |= (status != SG_EARG || !strstr(err.text, "rank 2: data is \"these\"")) << 2;
    } else {
        wrong |= (status != SG_OK) << 3;
        status = sg_learner_run(l, 10, &err);
        wrong |= (status != SG_EIO || strcmp(err.text, "rank 1: batch 3 cannot be read") != 0) << 4;
        wrong |= (sg_learner_step(l) != FAILS_AT) << 5; /* the step that failed updated nothing */
    }
    if (wrong)
        fprintf(stderr, "rank %d: %d, %s\n", rank, wrong, err.text);
    sg_learner_free(l);
    sg_model_close(m);
    sg_ranks_close(ranks);
    return wrong;
}

static char self[PATH_BYTES];

static void a_rank_that_fails_takes_all_along(void **state)
{
    (void)state;
    needs_mpi();
    program = self;
    outcome o[2] = {end(start(3, "child", config, "fails", NULL)), end(start(3, "child", config, "other", NULL))};
    program = SG_COMMAND;
    expect(o[0], 0, "", "");
    expect(o[1], 0, "", "");
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "child") == 0)
        return child(argv[2], strcmp(argv[3], "other") == 0);
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_one_process),
        cmocka_unit_test(same_ranks_give_the_same_bytes),
        cmocka_unit_test(several_batches_are_dealt_out),
        cmocka_unit_test(rows_without_counts_are_weighed),
        cmocka_unit_test(a_killed_rank_leaves_a_checkpoint),
        cmocka_unit_test(a_harvest_is_one_file),
        cmocka_unit_test(what_cannot_be_dealt_out_is_said),
        cmocka_unit_test(errors_are_told_once),
        cmocka_unit_test(one_failing_rank_is_named),
        cmocka_unit_test(a_rank_that_fails_takes_all_along),
        cmocka_unit_test(an_interruption_saves_on_all), /* last: it changes the environment */
    };
    return cmocka_run_group_tests_name("mpi", tests, begin, finish);
}
