/* sightglass train as a user meets it: what it writes, what it refuses, and that stopping it in any way changes
 * nothing. */
#include "check.h"
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "sightglass/model.h"
#include "sightglass/npy.h"
#include "sightglass/rng.h"

#define TIME_LIMIT_S 100
enum { PATH_BYTES = 400, MAX_ARGS = 40 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static char folder[200], config[PATH_BYTES];

static const char *in_folder(char path[PATH_BYTES], const char *name)
{
    CHECK(snprintf(path, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES);
    return path;
}

static void spill(const char *name, const char *text)
{
    char path[PATH_BYTES];
    FILE *f = fopen(in_folder(path, name), "wb");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* Freed by the caller; NULL where there is no file. A file that is being written, or cut where a run goes on, is read
 * as far as it then reaches. */
static char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    CHECK(fseek(f, 0, SEEK_END) == 0);
    *n = (size_t)ftell(f);
    rewind(f);
    char *data = calloc(*n + 1, 1);
    CHECK(data);
    *n = fread(data, 1, *n, f);
    CHECK(!ferror(f));
    data[*n] = 0;
    fclose(f);
    return data;
}

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-train-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    setenv("OMP_NUM_THREADS", "1", 1);
    /* Weights larger than gpt2's: so small a model else stays long where it starts. */
    spill(
        "config.json",
        "{\"initializer_range\":0.2,\"model_type\":\"gpt2\",\"n_embd\":32,\"n_layer\":1,\"n_head\":4,\"vocab_size\":30,"
        "\"n_positions\":16}");
    in_folder(config, "config.json");
    return 0;
}

static int finish(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

/* ---- the command ---- */

typedef struct outcome {
    int status; /* exit status, or minus the signal */
    char *out, *err;
    size_t most; /* bytes that it had in memory */
} outcome;

static bool redirect(const char *path, int to)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    return fd >= 0 && dup2(fd, to) == to && close(fd) == 0;
}

static pid_t begin_command(va_list args)
{
    char *argv[MAX_ARGS + 2] = {strdup("sightglass")}, out[PATH_BYTES], err[PATH_BYTES];
    int n = 1;
    for (const char *a; (a = va_arg(args, const char *));) {
        CHECK(n < MAX_ARGS);
        argv[n++] = strdup(a);
    }
    in_folder(out, "stdout");
    in_folder(err, "stderr");
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (!redirect(out, STDOUT_FILENO) || !redirect(err, STDERR_FILENO))
            _exit(126);
        alarm(TIME_LIMIT_S);
        execv(SG_COMMAND, argv);
        _exit(127);
    }
    for (int i = 0; i < n; i++)
        free(argv[i]);
    return child;
}

static outcome end_command(pid_t child)
{
    char path[PATH_BYTES];
    struct rusage used;
    int status = 0;
    size_t n;
    CHECK(wait4(child, &status, 0, &used) == child);
    outcome o = {.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
                 .most = (size_t)used.ru_maxrss * 1024};
    o.out = slurp(in_folder(path, "stdout"), &n);
    o.err = slurp(in_folder(path, "stderr"), &n);
    if (strstr(o.err, "Sanitizer") || strstr(o.err, "runtime error:"))
        o.status = -1000;
    return o;
}

static void outcome_free(outcome *o)
{
    free(o->out);
    free(o->err);
}

/* The words up to NULL. */
static outcome command(const char *first, ...)
{
    va_list args;
    (void)first; /* always "sightglass", so that all words are alike */
    va_start(args, first);
    const pid_t child = begin_command(args);
    va_end(args);
    return end_command(child);
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

/* A refusal is one line on stderr. */
static void refused(outcome o, int status, const char *what)
{
    const char *end = strchr(o.err, '\n');
    if (!end || end[1] || strncmp(o.err, "sightglass", 10) != 0) {
        print_error("wanted one line on stderr:\n%s\n", o.err);
        fail();
    }
    expect(o, status, "", what);
}

#define TRAIN(...) command("sightglass", "train", "--config", config, __VA_ARGS__, NULL)
#define ARITHMETIC "--world", "arithmetic", "--p", "29", "--part", "all", "--batch", "64"
#define THOROUGH   "--warmup", "10", "--weight-decay", "0.1", "--average", "0.9", "--accumulate", "2", "--seed", "5"
enum { STEPS = 120 };
#define STEPS_TEXT "120"

/* ---- what it writes ---- */

static int lines(const char *path)
{
    size_t n = 0;
    char *text = slurp(path, &n);
    int count = 0;
    for (size_t i = 0; text && i < n; i++)
        count += text[i] == '\n';
    free(text);
    return count;
}

static long long check_metrics(const char *name)
{
    char path[PATH_BYTES];
    size_t n = 0;
    char *text = slurp(in_folder(path, name), &n);
    long long step = 0;
    double seconds = 0;
    for (char *line = text; line && *line;) {
        char *end = strchr(line, '\n');
        CHECK(end != NULL);
        json_t *root = json_loadb(line, (size_t)(end - line), 0, NULL);
        CHECK(json_integer_value(json_object_get(root, "step")) == ++step);
        CHECK(json_real_value(json_object_get(root, "seconds")) >= seconds);
        seconds = json_real_value(json_object_get(root, "seconds"));
        CHECK(json_is_number(json_object_get(root, "loss")) && json_is_number(json_object_get(root, "lr")));
        CHECK(json_number_value(json_object_get(root, "grad_norm")) > 0);
        CHECK(json_number_value(json_object_get(root, "tokens_per_second")) > 0);
        json_decref(root);
        line = end + 1;
    }
    free(text);
    return step;
}

static void a_world_becomes_a_model(void **state)
{
    (void)state;
    char out[PATH_BYTES], metrics[PATH_BYTES], tokens[PATH_BYTES];
    outcome o = TRAIN("--world", "arithmetic", "--p", "5", "--part", "all", "--batch", "64", "--steps", "300", "--lr",
                      "0.005", "--schedule", "cosine", "--out", in_folder(out, "model"), "--metrics",
                      in_folder(metrics, "model.jsonl"), "--json");
    CHECK(o.err[0] == 0); /* no progress where there is no terminal */
    json_t *root = json_loads(o.out, 0, NULL);
    CHECK(json_integer_value(json_object_get(root, "step")) == 300);
    CHECK(json_number_value(json_object_get(root, "loss")) < 0.1); /* chance is log 5 = 1.6 */
    json_decref(root);
    outcome_free(&o);
    CHECK(check_metrics("model.jsonl") == 300);
    size_t n;
    char path[PATH_BYTES], *made = slurp(in_folder(path, "model/recipe.json"), &n);
    root = json_loads(made, 0, NULL);
    CHECK(json_integer_value(json_object_get(root, "sequences")) == 300 * 64);
    CHECK(json_integer_value(json_object_get(root, "tokens")) == 300 * 64 * 4);
    CHECK_TEXT(json_string_value(json_array_get(json_object_get(root, "command"), 5)), "arithmetic");
    CHECK_TEXT(json_string_value(json_object_get(root, "data")), "world arithmetic p 5");
    json_decref(root);
    free(made);
    made = slurp(in_folder(path, "model/loss.csv"), &n);
    CHECK(strncmp(made, "step,loss\n2,", 12) == 0);
    CHECK(lines(path) == 1 + 150);
    free(made);
    expect(command("sightglass", "inspect", out, NULL), 0, "gpt2", "");
    spill("tokens", "3 4 5\n"); /* 3 + 4 = 2 modulo 5 */
    in_folder(tokens, "tokens");
    expect(command("sightglass", "generate", out, "--tokens", tokens, "-n", "1", NULL), 0, "2", "");
    expect(command("sightglass", "run", out, "--tokens", tokens, "--grad", "logits[0,-1,2]:hook_embed", NULL), 0,
           "hook_embed", "");
}

static void token_files_are_learnt(void **state)
{
    (void)state;
    char out[PATH_BYTES], path[PATH_BYTES];
    int32_t ids[1000];
    sg_error err;
    for (int i = 0; i < 1000; i++)
        ids[i] = i % 7; /* what comes next is certain */
    const sg_tensor t = sg_tensor_of(SG_I32, 1, (sg_dim[]){1000}, ids);
    CHECK_OK(sg_npy_save(in_folder(path, "seven.npy"), &t, &err), &err);
    outcome o = TRAIN("--data", path, "--context", "8", "--steps", "150", "--lr", "0.01", "--out",
                      in_folder(out, "seven"), "--json");
    json_t *root = json_loads(o.out, 0, NULL);
    CHECK(json_number_value(json_object_get(root, "loss")) < 0.05);
    CHECK(json_number_value(json_object_get(root, "tokens")) == 150 * 8 * 8);
    json_decref(root);
    outcome_free(&o);
    ids[500] = 30;
    CHECK_OK(sg_npy_save(path, &t, &err), &err);
    refused(TRAIN("--data", path, "--out", out), 2, "token 30");
}

static void text_is_learnt_with_its_tokenizer(void **state)
{
    (void)state;
    char out[PATH_BYTES], path[PATH_BYTES], tokenizer[1024];
    SKIP_WITHOUT(sg_test_shared(tokenizer, "models/stories260K/tokenizer.json"), "stories260K");
    char text[4000] = "";
    while (strlen(text) < 3900)
        strcat(text, "Once upon a time. ");
    spill("text.txt", text);
    spill("llama.json",
          "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
          "\"intermediate_size\":64,\"vocab_size\":512,\"max_position_embeddings\":32,"
          "\"hidden_act\":\"silu\"}");
    char llama[PATH_BYTES];
    in_folder(llama, "llama.json");
    in_folder(path, "text.txt");
    refused(command("sightglass", "train", "--config", llama, "--data", path, "--out", in_folder(out, "text"), NULL), 2,
            "tokenizer");
    expect(command("sightglass", "train", "--config", llama, "--data", path, "--tokenizer", tokenizer, "--steps", "60",
                   "--lr", "0.01", "--out", out, NULL),
           0, "60 steps", "");
    expect(command("sightglass", "generate", out, "--text", "Once upon", "-n", "6", NULL), 0, "Once upon a time.", "");
}

/* ---- stopping and going on ---- */

static void same_file(const char *a, const char *b, const char *file)
{
    char path[PATH_BYTES], name[100];
    size_t n = 0, m = 0;
    snprintf(name, sizeof name, "%s/%s", a, file);
    char *x = slurp(in_folder(path, name), &n);
    snprintf(name, sizeof name, "%s/%s", b, file);
    char *y = slurp(in_folder(path, name), &m);
    CHECK(x && y && n > 1000 && n == m && memcmp(x, y, n) == 0);
    free(x);
    free(y);
}

static void same(const char *a, const char *b)
{
    char name[60];
    same_file(a, b, "model.safetensors");
    snprintf(name, sizeof name, "checkpoint-%08d.safetensors", STEPS);
    same_file(a, b, name);
}

/* The run that the others are held to; made once. */
static void whole(void)
{
    char out[PATH_BYTES], metrics[PATH_BYTES];
    struct stat st;
    in_folder(out, "whole");
    if (stat(out, &st) == 0)
        return;
    expect(TRAIN(ARITHMETIC, THOROUGH, "--schedule", "cosine", "--steps", STEPS_TEXT, "--save-every", "50", "--out",
                 out, "--metrics", in_folder(metrics, "whole.jsonl")),
           0, "120 steps", "");
    CHECK(check_metrics("whole.jsonl") == STEPS);
}

static pid_t start(const char *first, ...)
{
    va_list args;
    (void)first;
    va_start(args, first);
    const pid_t child = begin_command(args);
    va_end(args);
    return child;
}

/* Waits until that many steps are done, then sends the signal. Returns how it ended. */
static outcome stop_at(pid_t child, const char *metrics, int steps, int signal_number)
{
    const time_t began = time(NULL);
    while (lines(metrics) < steps && time(NULL) < began + TIME_LIMIT_S)
        usleep(500);
    kill(child, signal_number);
    return end_command(child);
}

#define WHOLE_RUN                                                                                                      \
    "train", "--config", config, ARITHMETIC, THOROUGH, "--schedule", "cosine", "--steps", STEPS_TEXT, "--out", out,    \
        "--metrics", metrics

static void ctrl_c_saves_and_resume_goes_on(void **state)
{
    (void)state;
    char out[PATH_BYTES], metrics[PATH_BYTES];
    whole();
    in_folder(out, "stopped");
    in_folder(metrics, "stopped.jsonl");
    const pid_t child = start("sightglass", WHOLE_RUN, NULL);
    outcome o = stop_at(child, metrics, 20, SIGINT);
    CHECK(o.status == 130);
    CHECK_TEXT(o.err, "--resume goes on");
    outcome_free(&o);
    const int done = lines(metrics);
    CHECK(done >= 20 && done < STEPS);
    refused(command("sightglass", WHOLE_RUN, NULL), 2, "--resume");
    expect(command("sightglass", WHOLE_RUN, "--resume", NULL), 0, "120 steps", "");
    CHECK(check_metrics("stopped.jsonl") == STEPS);
    same("whole", "stopped");
    expect(command("sightglass", WHOLE_RUN, "--resume", NULL), 0, "nothing left", "");
    same("whole", "stopped");
}

/* A step of this size takes longer than the two signals. */
static void a_second_ctrl_c_ends_at_once(void **state)
{
    (void)state;
    char out[PATH_BYTES], metrics[PATH_BYTES], slow[PATH_BYTES];
    spill("slow.json", "{\"model_type\":\"gpt2\",\"n_embd\":256,\"n_layer\":4,\"n_head\":4,\"vocab_size\":20000,"
                       "\"n_positions\":16}");
    in_folder(slow, "slow.json");
    in_folder(metrics, "slow.jsonl");
    const pid_t child = start("sightglass", "train", "--config", slow, "--world", "arithmetic", "--batch", "1024",
                              "--out", in_folder(out, "slow"), "--metrics", metrics, NULL);
    while (access(metrics, F_OK) != 0)
        usleep(500);
    usleep(30000);
    kill(child, SIGINT);
    usleep(100000); /* two signals that wait at once are one */
    outcome o = stop_at(child, metrics, 0, SIGINT);
    CHECK(o.status == -SIGINT);
    outcome_free(&o);
}

static void a_killed_run_goes_on(void **state)
{
    (void)state;
    char out[PATH_BYTES], metrics[PATH_BYTES], left[PATH_BYTES];
    sg_rng r = sg_rng_new((uint64_t)getpid(), 1);
    whole();
    in_folder(out, "killed");
    in_folder(metrics, "killed.jsonl");
    for (int time = 0; time < 2; time++) { /* killed, gone on, killed again */
        const pid_t child = time ? start("sightglass", WHOLE_RUN, "--save-every", "3", "--resume", NULL)
                                 : start("sightglass", WHOLE_RUN, "--save-every", "3", NULL);
        outcome o = stop_at(child, metrics, 5 + 50 * time + (int)sg_rng_below(&r, 40), SIGKILL);
        CHECK(o.status == -SIGKILL);
        outcome_free(&o);
    }
    spill("killed/.sightglass-999999999-1.tmp", "left by a killed writer");
    expect(command("sightglass", WHOLE_RUN, "--resume", NULL), 0, "120 steps", "");
    CHECK(check_metrics("killed.jsonl") == STEPS);
    CHECK(access(in_folder(left, "killed/.sightglass-999999999-1.tmp"), F_OK) != 0);
    same("whole", "killed");
}

/* Killed at ten moments, wherever they fall: between steps, in one, or while a checkpoint is written. */
static void games_of_othello_are_learnt_through_ten_kills(void **state)
{
    (void)state;
    char out[PATH_BYTES], metrics[PATH_BYTES];
    sg_rng r = sg_rng_new((uint64_t)getpid(), 2);
#define OTHELLO_RUN                                                                                                    \
    "train", "--config", config, "--world", "othello", "--size", "4", "--batch", "16", THOROUGH, "--schedule", "wsd",  \
        "--decay", "20", "--steps", STEPS_TEXT, "--out", out, "--metrics", metrics
    in_folder(out, "othello");
    in_folder(metrics, "othello.jsonl");
    expect(command("sightglass", OTHELLO_RUN, NULL), 0, "120 steps", "");
    in_folder(out, "othello_killed");
    in_folder(metrics, "othello_killed.jsonl");
    for (int time = 0; time < 10; time++) {
        const pid_t child = time ? start("sightglass", OTHELLO_RUN, "--save-every", "3", "--resume", NULL)
                                 : start("sightglass", OTHELLO_RUN, "--save-every", "3", NULL);
        outcome o = stop_at(child, metrics, 4 + 11 * time + (int)sg_rng_below(&r, 8), SIGKILL);
        CHECK(o.status == -SIGKILL);
        outcome_free(&o);
    }
    expect(command("sightglass", OTHELLO_RUN, "--resume", NULL), 0, "120 steps", "");
    CHECK(check_metrics("othello_killed.jsonl") == STEPS);
    same("othello", "othello_killed");
}

/* 40 steps, and 17 + 23; the newest checkpoint is then spoilt, and the one before takes its place. */
static void a_truncated_checkpoint_is_passed_over(void **state)
{
    (void)state;
    char out[PATH_BYTES], path[PATH_BYTES];
    expect(TRAIN(ARITHMETIC, "--steps", "40", "--out", in_folder(out, "forty")), 0, "40 steps", "");
    in_folder(out, "parts");
    expect(TRAIN(ARITHMETIC, "--steps", "17", "--out", out), 0, "17 steps", "");
    expect(TRAIN(ARITHMETIC, "--steps", "23", "--out", out, "--resume"), 0, "23 steps", "");
    CHECK(truncate(in_folder(path, "parts/checkpoint-00000023.safetensors"), 5000) == 0);
    expect(TRAIN(ARITHMETIC, "--steps", "40", "--out", out, "--resume", "--keep", "2"), 0, "40 steps",
           "warning: refused");
    same_file("forty", "parts", "model.safetensors");
    same_file("forty", "parts", "checkpoint-00000040.safetensors");
    CHECK(access(in_folder(path, "parts/checkpoint-00000017.safetensors"), F_OK) != 0); /* two are kept */
    CHECK(truncate(in_folder(path, "parts/checkpoint-00000040.safetensors"), 0) == 0);
    outcome o = TRAIN(ARITHMETIC, "--steps", "40", "--out", out, "--resume"); /* none is whole */
    CHECK(o.status == 1);
    CHECK_TEXT(o.err, "checkpoint-00000040.safetensors");
    outcome_free(&o);
}

/* ---- memory ---- */

static void dry_run_knows_the_memory(void **state)
{
    (void)state;
    char out[PATH_BYTES], big[PATH_BYTES], path[PATH_BYTES];
    sg_error err;
    if (SANITIZED) {
        print_message("skipped: the sanitizers take memory of their own\n");
        skip();
    }
    spill("big.json", "{\"model_type\":\"llama\",\"hidden_size\":256,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
                      "\"intermediate_size\":512,\"vocab_size\":16384,\"max_position_embeddings\":64,"
                      "\"hidden_act\":\"silu\"}");
    in_folder(big, "big.json");
    int32_t ids[2000];
    for (int i = 0; i < 2000; i++)
        ids[i] = i;
    const sg_tensor t = sg_tensor_of(SG_I32, 1, (sg_dim[]){2000}, ids);
    CHECK_OK(sg_npy_save(in_folder(path, "count.npy"), &t, &err), &err);
    for (int k = 0; k < 2; k++) {
        const char *n = k ? "2" : "1";
        outcome o = command("sightglass", "train", "--config", big, "--data", path, "--batch", "8", "--accumulate", n,
                            "--average", "0.9", "--dry-run", "--json", NULL);
        CHECK(o.status == 0);
        json_t *root = json_loads(o.out, 0, NULL);
        const double total = json_number_value(json_object_get(root, "total_bytes"));
        const double measured = json_number_value(json_object_get(root, "measured_bytes"));
        json_decref(root);
        outcome_free(&o);
        in_folder(out, k ? "two" : "one");
        o = command("sightglass", "train", "--config", big, "--data", path, "--batch", "8", "--accumulate", n,
                    "--average", "0.9", "--steps", "1", "--out", out, NULL);
        CHECK(o.status == 0);
        print_message("%.1f MB foreseen, %.1f measured, %.1f at most in training\n", total / 1e6, measured / 1e6,
                      (double)o.most / 1e6);
        CHECK(total > 2e8);
        CHECK_NEAR(measured, total, 0, 0.05);
        CHECK_NEAR(o.most, total, 0, 0.05);
        outcome_free(&o);
    }
}

static double foreseen(const char *config_path, const char *option)
{
    outcome o =
        command("sightglass", "train", "--config", config_path, ARITHMETIC, "--dry-run", "--json", option, NULL);
    CHECK(o.status == 0);
    json_t *root = json_loads(o.out, 0, NULL);
    const double blocks = json_number_value(json_object_get(root, "blocks_bytes"));
    json_decref(root);
    outcome_free(&o);
    return blocks;
}

/* The numbers of the last line of a stream of metrics. */
static json_t *last_line(const char *path)
{
    size_t n;
    char *text = slurp(path, &n), *at = text;
    CHECK(text);
    for (char *c = text; *c; c++)
        at = *c == '\n' && c[1] ? c + 1 : at;
    json_t *root = json_loads(at, JSON_DISABLE_EOF_CHECK, NULL);
    free(text);
    return root;
}

static void what_is_computed_again_gives_the_same_model_in_less_memory(void **state)
{
    (void)state;
    char deep[PATH_BYTES], out[PATH_BYTES], metrics[PATH_BYTES];
    double loss[2], norm[2];
    spill("deep.json", "{\"model_type\":\"gpt2\",\"n_embd\":32,\"n_layer\":6,\"n_head\":4,\"vocab_size\":30,"
                       "\"n_positions\":16}");
    in_folder(deep, "deep.json");
    const double kept = foreseen(deep, NULL), again = foreseen(deep, "--recompute");
    print_message("%.2f MB of activations and gradients, %.2f where they are computed again\n", kept / 1e6,
                  again / 1e6);
    CHECK(again < 0.5 * kept);
    for (int k = 0; k < 2; k++) {
        in_folder(out, k ? "again" : "kept");
        in_folder(metrics, k ? "again.jsonl" : "kept.jsonl");
        expect(command("sightglass", "train", "--config", deep, ARITHMETIC, "--steps", "20", "--out", out, "--metrics",
                       metrics, k ? "--recompute" : NULL, NULL),
               0, "20 steps", "");
        json_t *line = last_line(metrics);
        loss[k] = json_number_value(json_object_get(line, "loss"));
        norm[k] = json_number_value(json_object_get(line, "grad_norm"));
        json_decref(line);
    }
    CHECK(loss[0] > 0 && norm[0] > 0);
    CHECK_NEAR(loss[1], loss[0], 0, 1e-4); /* fused steps round differently */
    CHECK_NEAR(norm[1], norm[0], 0, 1e-2);
}

/* ---- wrong use ---- */

static void wrong_use_is_said(void **state)
{
    (void)state;
    char out[PATH_BYTES], path[PATH_BYTES];
    in_folder(out, "wrong");
    refused(command("sightglass", "train", NULL), 2, "--config");
    refused(TRAIN("--out", out), 2, "--data or --world");
    refused(TRAIN(ARITHMETIC, "--data", "x.npy", "--out", out), 2, "no files of the world arithmetic are known");
    refused(TRAIN(ARITHMETIC), 2, "--out");
    refused(TRAIN("--world", "arithmatic", "--out", out), 2, "nearest is \"arithmetic\"");
    refused(TRAIN("--world", "features", "--out", out), 1, "no sequences");
    refused(TRAIN(ARITHMETIC, "--relation", "add", "--out", out), 2, "relation");
    refused(TRAIN(ARITHMETIC, "--p", "113", "--out", out), 2, "needs 114");
    refused(TRAIN(ARITHMETIC, "--p", "x", "--out", out), 2, "p");
    refused(TRAIN(ARITHMETIC, "--context", "5", "--out", out), 2, "--context");
    refused(TRAIN(ARITHMETIC, "--steps", "many", "--out", out), 2, "--steps");
    refused(TRAIN(ARITHMETIC, "--clip", "0", "--out", out), 2, "--clip");
    refused(TRAIN(ARITHMETIC, "--average", "1", "--out", out), 2, "average is 1");
    refused(TRAIN(ARITHMETIC, "--schedule", "cosinus", "--out", out), 2, "cosinus");
    refused(TRAIN(ARITHMETIC, "--schedule", "linear", "--steps", "5", "--warmup", "6", "--out", out), 2, "warm-up");
    refused(TRAIN(ARITHMETIC, "--out", out, "more"), 2, "more");
    refused(TRAIN(ARITHMETIC, "--out", out, "--nonsense"), 2, "nonsense");
    refused(TRAIN("--data", in_folder(path, "none.npy"), "--out", out), 1, "none.npy");
    refused(TRAIN(ARITHMETIC, "--out", in_folder(path, "no/such/folder")), 1, "no/such/folder");
    refused(command("sightglass", "train", "--config", in_folder(path, "none.json"), ARITHMETIC, "--out", out, NULL), 1,
            "none.json");
    CHECK(access(out, F_OK) != 0); /* nothing of it began */
    refused(TRAIN(ARITHMETIC, "--out", out, "--resume"), 1, "no checkpoint");
    spill("wild.json", "{\"initializer_range\":1e30,\"model_type\":\"gpt2\",\"n_embd\":32,\"n_layer\":1,\"n_head\":4,"
                       "\"vocab_size\":30,"
                       "\"n_positions\":16}");
    refused(command("sightglass", "train", "--config", in_folder(path, "wild.json"), ARITHMETIC, "--out", out, NULL), 1,
            "the loss is");
    expect(command("sightglass", "train", "--help", NULL), 0, "--operation", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_world_becomes_a_model),
        cmocka_unit_test(token_files_are_learnt),
        cmocka_unit_test(text_is_learnt_with_its_tokenizer),
        cmocka_unit_test(ctrl_c_saves_and_resume_goes_on),
        cmocka_unit_test(a_second_ctrl_c_ends_at_once),
        cmocka_unit_test(a_killed_run_goes_on),
        cmocka_unit_test(games_of_othello_are_learnt_through_ten_kills),
        cmocka_unit_test(a_truncated_checkpoint_is_passed_over),
        cmocka_unit_test(dry_run_knows_the_memory),
        cmocka_unit_test(what_is_computed_again_gives_the_same_model_in_less_memory),
        cmocka_unit_test(wrong_use_is_said),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
