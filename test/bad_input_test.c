/* The command on what goes wrong at a user's: broken files, wrong names, too little memory. Each case ends with exit
 * status 1 or 2 and one line on stderr that says what and where, and never in a signal or a sanitizer's report. The
 * models are copies of stories260K, each spoilt in one place; good uses of the same options stand beside. */
#include "check.h"
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "sightglass/model.h"
#include "sightglass/safetensors.h"

#define TIME_LIMIT_S 100
enum { FAILED = 1, WRONG_USE = 2, EITHER = -1 };
enum { PATH_BYTES = 600, MAX_ARGS = 24 };

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

/* ---- files ---- */

typedef struct bytes {
    char *data; /* with a 0 behind */
    size_t n;
} bytes;

static char folder[256];           /* of everything made here */
static char model[PATH_BYTES / 2]; /* the copy of the test at hand */
static bytes original[3];
static const char *const parts[3] = {"config.json", "model.safetensors", "tokenizer.json"};
enum { CONFIG, WEIGHTS, TOKENIZER };

static const char *in_folder(char path[PATH_BYTES], const char *name)
{
    CHECK(snprintf(path, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES);
    return path;
}

static bytes slurp(const char *path)
{
    bytes b = {NULL, 0};
    FILE *f = fopen(path, "rb");

    if (!f)
        return b;
    CHECK(fseek(f, 0, SEEK_END) == 0);
    b.n = (size_t)ftell(f);
    rewind(f);
    b.data = calloc(b.n + 1, 1);
    CHECK(b.data && fread(b.data, 1, b.n, f) == b.n);
    fclose(f);
    return b;
}

static void spill(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");

    CHECK(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static void spill_text(char path[PATH_BYTES], const char *name, const char *text)
{
    spill(in_folder(path, name), text, strlen(text));
}

/* Puts these bytes in the place of one of the model's files. */
static void put(int part, const void *data, size_t n)
{
    char path[PATH_BYTES];

    CHECK(snprintf(path, sizeof path, "%s/%s", model, parts[part]) < PATH_BYTES);
    spill(path, data, n);
}

/* A whole copy to spoil; skips the test, aloud, where the model is not at hand. */
static void fresh_model(void)
{
    char path[1024];

    for (int i = 0; i < 3; i++) {
        char name[100];
        snprintf(name, sizeof name, "models/stories260K/%s", parts[i]);
        SKIP_WITHOUT(sg_test_shared(path, name), name);
        if (!original[i].data)
            original[i] = slurp(path);
    }
    CHECK(snprintf(model, sizeof model, "%s/model", folder) < (int)sizeof model);
    CHECK(mkdir(model, 0700) == 0 || errno == EEXIST);
    for (int i = 0; i < 3; i++)
        put(i, original[i].data, original[i].n);
}

/* One file with the first `from` in it replaced by `to`. */
static void replace(int part, const char *from, const char *to)
{
    const bytes *b = &original[part];
    const size_t n_from = strlen(from), n_to = strlen(to);
    char *out = malloc(b->n + n_to);
    size_t at = 0;

    while (at + n_from <= b->n && memcmp(b->data + at, from, n_from) != 0)
        at++;
    CHECK(out && at + n_from <= b->n);
    memcpy(out, b->data, at);
    memcpy(out + at, to, n_to);
    memcpy(out + at + n_to, b->data + at + n_from, b->n - at - n_from);
    put(part, out, b->n - n_from + n_to);
    free(out);
}

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-bad-input-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        free(original[i].data);
    sg_test_remove_all(folder);
    return 0;
}

/* ---- the command ---- */

typedef struct outcome {
    int status; /* exit status, or minus the signal */
    bytes out, err;
} outcome;

static void outcome_free(outcome *o)
{
    free(o->out.data);
    free(o->err.data);
}

static bool redirect(const char *path, int to)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    return fd >= 0 && dup2(fd, to) == to && close(fd) == 0;
}

/* Runs the command with at most `memory` bytes of address space (0: any). */
static outcome command_within(size_t memory, char *const *argv)
{
    char out[PATH_BYTES], err[PATH_BYTES];
    int status = 0;

    in_folder(out, "stdout");
    in_folder(err, "stderr");
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const struct rlimit limit = {memory, memory};
        if (!redirect(out, STDOUT_FILENO) || !redirect(err, STDERR_FILENO) ||
            (memory && (setenv("OMP_NUM_THREADS", "1", 1) != 0 || setrlimit(RLIMIT_AS, &limit) != 0)))
            _exit(126);
        alarm(TIME_LIMIT_S);
        execv(SG_COMMAND, argv);
        _exit(127);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return (outcome){WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), slurp(out), slurp(err)};
}

/* sightglass COMMAND ..., up to NULL. */
static outcome command(const char *first, ...)
{
    char *argv[MAX_ARGS + 2] = {strdup("sightglass")};
    int n = 1;
    va_list args;

    va_start(args, first);
    for (const char *a = first; a; a = va_arg(args, const char *)) {
        CHECK(n < MAX_ARGS);
        argv[n++] = strdup(a);
    }
    va_end(args);
    const outcome o = command_within(0, argv);
    for (int i = 0; i < n; i++)
        free(argv[i]);
    return o;
}

static bool reported(const outcome *o)
{
    return strstr(o->err.data, "ERROR: AddressSanitizer") || strstr(o->err.data, "LeakSanitizer") ||
           strstr(o->err.data, "runtime error:") || strstr(o->err.data, "assert");
}

/* A refusal: the status, and one line on stderr that holds both texts. Frees the outcome. */
static void refused(outcome o, int status, const char *what, const char *where)
{
    const char *end = strchr(o.err.data, '\n');

    if (reported(&o) || !end || end[1] || strncmp(o.err.data, "sightglass", 10) != 0 ||
        (status == EITHER ? o.status != FAILED && o.status != WRONG_USE : o.status != status)) {
        print_error("exit status %d, wanted %d, and one line on stderr from sightglass:\n%s\n", o.status, status,
                    o.err.data);
        fail();
    }
    CHECK_TEXT(o.err.data, what);
    CHECK_TEXT(o.err.data, where);
    outcome_free(&o);
}

static void accepted(const outcome *o)
{
    if (o->status != 0 || reported(o)) {
        print_error("exit status %d, wanted 0:\n%s\n", o->status, o->err.data);
        fail();
    }
}

static json_t *json_of(const outcome *o)
{
    json_error_t at;
    json_t *root = json_loadb(o->out.data, o->out.n, JSON_REJECT_DUPLICATES, &at);

    if (!root) {
        print_error("stdout is not JSON: line %d: %s\n", at.line, at.text);
        fail();
    }
    return root;
}

static void refused_model(const char *what, const char *where)
{
    refused(command("inspect", model, NULL), FAILED, what, where);
}

#define RUN(...) command("run", model, "--text", "Once upon a time", __VA_ARGS__, NULL)

/* ---- broken models ---- */

static void missing_files_are_named(void **state)
{
    (void)state;
    char path[PATH_BYTES];

    refused(command("inspect", in_folder(path, "nowhere"), NULL), FAILED, "nowhere", "No such file");
    fresh_model();
    snprintf(path, sizeof path, "%s/model.safetensors", model);
    CHECK(unlink(path) == 0);
    refused_model("model.safetensors", "No such file");
    fresh_model();
    snprintf(path, sizeof path, "%s/config.json", model);
    CHECK(unlink(path) == 0);
    refused_model("config.json", "No such file");
    fresh_model();
    snprintf(path, sizeof path, "%s/tokenizer.json", model);
    CHECK(unlink(path) == 0);
    refused(RUN("--json"), WRONG_USE, "tokenizer.json", "--tokens");
}

static void empty_files_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        fresh_model();
        put(i, "", 0);
        refused_model(parts[i], model);
    }
}

/* At every KiB, and where it is one byte off. The command is asked each time, except under the sanitizers, where a
 * start takes 30 ms: there the library is, within this process, and the command every 64 KiB. */
static void truncated_weights_are_refused(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    sg_error err;
    sg_model *m = NULL;
    fresh_model();
    const size_t n = original[WEIGHTS].n, odd[] = {1, 7, 8, 9, 100, 5271, 5272, 5273, n - 4, n - 1};

    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        put(WEIGHTS, original[WEIGHTS].data, odd[i]);
        refused_model("model.safetensors", model);
    }
    put(WEIGHTS, original[WEIGHTS].data, n);
    CHECK(snprintf(path, sizeof path, "%s/%s", model, parts[WEIGHTS]) < PATH_BYTES);
    for (size_t kib = (n - 1) / 1024; kib > 0; kib--) {
        CHECK(truncate(path, (off_t)(kib * 1024)) == 0);
        CHECK(sg_model_open(&m, model, sg_model_defaults(), &err) == SG_EFORMAT);
        CHECK_TEXT(err.text, path);
        if (!SANITIZED || kib % 64 == 0)
            refused_model("model.safetensors", model);
    }
}

static void tensors_out_of_place_are_refused(void **state)
{
    (void)state;
    fresh_model();
    replace(WEIGHTS, "[131072, 131328]", "[131071, 131327]"); /* the first byte is the one before's */
    refused_model("model.norm.weight", "model.safetensors");
    replace(WEIGHTS, "[996096, 1040128]", "[996096, 9040128]");
    refused_model("model.layers.4.mlp.up_proj.weight", "model.safetensors");
    replace(WEIGHTS, "[996096, 1040128]", "[1040128, 996096]");
    refused_model("model.layers.4.mlp.up_proj.weight", "model.safetensors");
    replace(WEIGHTS, "\"shape\": [512, 64]", "\"shape\": [512, 65]");
    refused_model("model.embed_tokens.weight", "model.safetensors");
}

static void lying_header_lengths_are_refused(void **state)
{
    (void)state;
    static const unsigned char lengths[][8] = {{0},
                                               {1},
                                               {255, 255},
                                               {255, 255, 255, 255},
                                               {0, 0, 0, 0, 0, 0, 0, 128},
                                               {255, 255, 255, 255, 255, 255, 255, 255}};
    fresh_model();
    char *copy = malloc(original[WEIGHTS].n);
    CHECK(copy);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memcpy(copy, original[WEIGHTS].data, original[WEIGHTS].n);
        memcpy(copy, lengths[i], 8);
        put(WEIGHTS, copy, original[WEIGHTS].n);
        refused_model("model.safetensors", model);
    }
    free(copy);
}

static void unknown_types_and_missing_weights_are_named(void **state)
{
    (void)state;
    fresh_model();
    replace(WEIGHTS, "\"F32\"", "\"F99\"");
    refused_model("F99", "model.safetensors");
    replace(WEIGHTS, "model.norm.weight", "model.mron.weight");
    refused_model("model.norm.weight", "model.safetensors");
    replace(WEIGHTS, "layers.3.self_attn.v_proj", "layers.7.self_attn.v_proj");
    refused_model("model.layers.3.self_attn.v_proj.weight", "model.safetensors");
}

static void wrong_configs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *what;
    } cases[] = {
        {"\"num_attention_heads\": 8", "\"num_attention_heads\": 0", "num_attention_heads is 0"},
        {"\"num_attention_heads\": 8", "\"num_attention_heads\": 7", "num_attention_heads 7"},
        {"\"num_key_value_heads\": 4", "\"num_key_value_heads\": 3", "num_key_value_heads 3"},
        {"\"hidden_size\": 64", "\"hidden_size\": -64", "hidden_size is -64"},
        {"\"hidden_size\": 64", "\"hidden_size\": \"64\"", "hidden_size is not a whole number"},
        {"\"vocab_size\": 512", "\"vocab_sise\": 512", "vocab_size is missing"},
        {"\"vocab_size\": 512", "\"vocab_size\": 513", "513"},
        {"\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0", "rms_norm_eps"},
        {"\"silu\"", "\"sinus\"", "sinus"},
        {"LlamaForCausalLM", "StrangeForCausalLM", "StrangeForCausalLM"},
        {"\"hidden_size\": 64,", "\"hidden_size\": 64", "line 7"},
        {"{", "", "line 2"},
    };
    fresh_model();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        replace(CONFIG, cases[i].from, cases[i].to);
        refused_model(cases[i].what, model);
    }
    put(CONFIG, "[]", 2);
    refused_model("not a JSON object", "config.json");
    put(CONFIG, "this is no JSON", 15);
    refused_model("line 1", "config.json");
}

static void a_tokenizer_without_merges_is_refused(void **state)
{
    (void)state;
    fresh_model();
    replace(TOKENIZER, "\"merges\"", "\"mergers\"");
    refused_model("merges", "tokenizer.json");
    put(TOKENIZER, original[TOKENIZER].data, original[TOKENIZER].n / 2);
    refused_model("line", "tokenizer.json");
}

static void nan_weights_are_warned_of(void **state)
{
    (void)state;
    static const unsigned char nan_bytes[4] = {0, 0, 0xc0, 0x7f};
    fresh_model();
    const size_t n = original[WEIGHTS].n;
    char *copy = malloc(n);
    CHECK(copy);
    memcpy(copy, original[WEIGHTS].data, n);
    memcpy(copy + n - 4, nan_bytes, 4);
    put(WEIGHTS, copy, n);
    free(copy);
    outcome o = RUN("--fetch", "logits", "--json");
    accepted(&o);
    CHECK_TEXT(o.err.data, "sightglass: warning: ");
    CHECK_TEXT(o.err.data, "has NaN");
    json_decref(json_of(&o));
    outcome_free(&o);
    refused(RUN("--guard"), FAILED, "first NaN", "blocks.4.mlp");
}

/* ---- wrong use ---- */

static void wrong_names_suggest_the_nearest(void **state)
{
    (void)state;
    char path[PATH_BYTES], feed[PATH_BYTES + 100];
    fresh_model();
    refused(RUN("--fetch", "blocks.2.hook_resid_pots"), WRONG_USE, "blocks.2.hook_resid_pots",
            "nearest name is blocks.2.hook_resid_post");
    refused(RUN("--fetch", "nothing.*"), WRONG_USE, "nothing.*", "nearest");
    spill_text(path, "feed.npy", "");
    snprintf(feed, sizeof feed, "blocks.2.hook_resid_per=%s", path);
    refused(RUN("--feed", feed), WRONG_USE, "blocks.2.hook_resid_per", "nearest name is blocks.2.hook_resid_pre");
    refused(RUN("--grad", "logist:hook_embed"), WRONG_USE, "logist", "nearest name is logits");
    refused(RUN("--grad", "logits:hook_embde"), WRONG_USE, "hook_embde", "nearest name is hook_embed");
    refused(RUN("--grad", "logits"), WRONG_USE, "OF:WRT", "logits");
    refused(RUN("--grad", "logits[0,-1,512]:hook_embed"), WRONG_USE, "512", "logits[0,-1,512]");
    refused(RUN("--grad", "logits[0,x]:hook_embed"), WRONG_USE, "index", "logits[0,x]");
    refused(RUN("--fetch", "logits[0,1,2,3]"), WRONG_USE, "index or a range", "logits[0,1,2,3]");
    refused(RUN("--fetch", "logits[0"), WRONG_USE, "index or a range", "logits[0");
    refused(RUN("--fetch", "blocks.0.attn.hook_pattern[0,8]"), WRONG_USE, "axis 1 has 8 places", "hook_pattern[0,8]");
    refused(RUN("--feed", "hook_embed"), WRONG_USE, "hook_embed", "NAME=FILE");
}

static void a_feed_of_the_wrong_shape_names_both(void **state)
{
    (void)state;
    char path[PATH_BYTES], feed[PATH_BYTES + 100];
    float x[15] = {0};
    sg_error err;
    fresh_model();
    const sg_named_tensor t = {"x", sg_tensor_of(SG_F32, 3, (sg_dim[]){1, 3, 5}, x)};
    CHECK_OK(sg_safetensors_save(in_folder(path, "x.safetensors"), &t, 1, NULL, 0, &err), &err);
    snprintf(feed, sizeof feed, "blocks.2.hook_resid_pre=%s:x", path);
    refused(RUN("--feed", feed), WRONG_USE, "[1,3,5]", "64]");
    snprintf(feed, sizeof feed, "blocks.2.hook_resid_pre=%s:y", path);
    refused(RUN("--feed", feed), EITHER, "y", "x.safetensors");
    spill_text(path, "x.npy", "this is no npy");
    snprintf(feed, sizeof feed, "blocks.2.hook_resid_pre=%s", path);
    refused(RUN("--feed", feed), FAILED, "x.npy", "npy");
}

static void wrong_edits_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *what;
    } cases[] = {
        {"[\n{\"site\": \"hook_embed\"\n\"op\": \"scale\"}]", "line 3"},
        {"", "line 1"},
        {"[{\"site\": \"hook_embde\", \"op\": \"scale\", \"strength\": 2}]", "nearest is hook_embed"},
        {"[{\"site\": \"nll\", \"op\": \"scale\", \"strength\": 2}]", "not one place for each token"},
        {"[{\"site\": \"hook_embed\", \"op\": \"sacle\"}]", "edit 0: op \"sacle\""},
        {"[{\"site\": \"hook_embed\", \"op\": \"scale\", \"strenght\": 2}]", "nearest is \"strength\""},
        {"[{\"site\": \"hook_embed\", \"op\": \"add\", \"value\": [1, 2, 3]}]", "3"},
    };
    char path[PATH_BYTES];
    fresh_model();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spill_text(path, "edits.json", cases[i].json);
        refused(RUN("--edits", path), EITHER, cases[i].what, "edit");
    }
    refused(RUN("--edits", in_folder(path, "none.json")), FAILED, "none.json", "No such file");
}

static void wrong_prompts_are_refused(void **state)
{
    (void)state;
    char path[PATH_BYTES], text[8 * 600] = "";
    fresh_model();
    spill_text(path, "tokens", "1 403 512\n");
    refused(command("run", model, "--tokens", path, NULL), WRONG_USE, "token 512", "place 2");
    spill_text(path, "tokens", "1 403 x\n");
    refused(command("run", model, "--tokens", path, NULL), FAILED, "tokens", "byte 6");
    spill_text(path, "tokens", "[1, -3]");
    refused(command("run", model, "--tokens", path, NULL), EITHER, "tokens", "token id");
    spill_text(path, "tokens", "\n");
    refused(command("run", model, "--tokens", path, NULL), FAILED, "holds no tokens", path);
    for (int i = 0; i < 600; i++)
        strcat(text, i ? " 7" : "1");
    spill_text(path, "tokens", text);
    refused(command("run", model, "--tokens", path, NULL), WRONG_USE, "600 tokens", "context is 512");
    refused(command("generate", model, "--tokens", path, NULL), WRONG_USE, "600 tokens", "context is 512");
}

static void wrong_words_are_refused(void **state)
{
    (void)state;
    static const char *const commands[] = {"inspect", "run", "generate"};
    fresh_model();
    for (int i = 0; i < 3; i++) {
        refused(command(commands[i], NULL), WRONG_USE, commands[i], "MODEL");
        refused(command(commands[i], "--nonsense", NULL), WRONG_USE, commands[i], "--nonsense");
    }
    refused(command("study", "run", "--nonsense", NULL), WRONG_USE, "study", "--nonsense");
    refused(command("study", "run", "nonsense", NULL), WRONG_USE, "nonsense", "nearest");
    refused(command("study", NULL), WRONG_USE, "study", "NAME");
    refused(command("world", "sample", "nonsense", NULL), WRONG_USE, "nonsense", "world");
    refused(command("run", model, model, "--text", "a", NULL), WRONG_USE, "one MODEL", "2");
    refused(command("run", model, NULL), WRONG_USE, "--text", "--tokens");
    refused(command("run", model, "--text", NULL), WRONG_USE, "run", "text");
    refused(RUN("--top", "0"), WRONG_USE, "--top", "1 to 64");
    refused(RUN("--pad", "up"), WRONG_USE, "--pad", "left or right");
    refused(RUN("--dtype", "f16"), WRONG_USE, "--dtype", "f32, f64 or bf16");
    refused(command("generate", model, "--text", "a", "-n", "abc", NULL), WRONG_USE, "-n", "abc");
    refused(command("generate", model, "--text", "a", "--top-p", "2", NULL), WRONG_USE, "--top-p", "0 to 1");
    refused(command("generate", model, "--text", "a", "--temperature", "nan", NULL), WRONG_USE, "--temperature", "nan");
    refused(command("generate", model, "--text", "a", "--fetch", "*", NULL), WRONG_USE, "--fetch", "--out");
    refused(command("inspcet", model, NULL), WRONG_USE, "inspcet", "nearest is inspect");
}

static void an_output_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    fresh_model();
    refused(RUN("--out", in_folder(path, "no/such/folder.safetensors")), FAILED, "folder.safetensors", "No such file");
}

/* ---- too little memory ---- */

/* KiB: what each try adds to what the loader and the libraries want before main, where it lies by chance. */
enum { CHANCE = 512 };

/* The smallest memory in KiB with which the command starts at all, to 64 KiB. */
static size_t memory_of_a_start(void)
{
    char *version[] = {strdup("sightglass"), strdup("--version"), NULL};
    size_t enough = 300000, less = 3000;
    while (enough - less > 64) {
        const size_t kb = less + (enough - less) / 2;
        outcome o = command_within(kb << 10, version);
        *(o.status == 0 ? &enough : &less) = kb;
        outcome_free(&o);
    }
    free(version[0]);
    free(version[1]);
    return enough;
}

/* Runs within so much memory: what fails is said by the command itself, and counted, except with less than a start
 * takes, where the loader and the libraries it starts may end it in their ways, and by the OpenMP runtime, which has
 * words of its own. */
static int status_within(size_t kb, char *const *argv, size_t start, int *said)
{
    outcome o = command_within(kb << 10, argv);
    const int status = o.status;
    const bool runtime = strstr(o.err.data, "libgomp:") || strstr(o.err.data, "OMP:");
    if (status != 0 && !runtime && kb > start + CHANCE) {
        if (status != FAILED || strncmp(o.err.data, "sightglass", 10) != 0)
            print_error("exit status %d within %zu KiB, %zu for a start:\n%s\n", status, kb, start, o.err.data);
        CHECK(status == FAILED && strncmp(o.err.data, "sightglass", 10) == 0);
        ++*said;
    }
    outcome_free(&o);
    return status;
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    char path[PATH_BYTES], line[2100] = "1";
    int said = 0;
    if (SANITIZED) {
        print_message("skipped: the sanitizers want more address space than the limit\n");
        skip();
    }
    fresh_model();
    /* 64 rows of 512: the attention scores of one block alone are 512 MB. */
    for (int i = 1; i < 512; i++)
        strcat(line, " 7");
    FILE *f = fopen(in_folder(path, "tokens"), "wb");
    for (int r = 0; f && r < 64; r++)
        fprintf(f, "%s\n", line);
    CHECK(f && fclose(f) == 0);
    char *big[] = {strdup("sightglass"),
                   strdup("run"),
                   strdup(model),
                   strdup("--tokens"),
                   strdup(path),
                   strdup("--fetch"),
                   strdup("blocks.0.attn.hook_pattern"),
                   NULL};
    refused(command_within((size_t)256 << 20, big), FAILED, "out of memory", "bytes");
    free(big[5]);
    free(big[6]);
    big[5] = NULL;
    free(big[3]);
    free(big[4]);
    big[3] = strdup("--text");
    big[4] = strdup("Once");
    /* Enough is found first, then the memory goes down from there to less than the loader and the OpenMP runtime want.
     */
    const size_t start = memory_of_a_start();
    size_t enough = 300000, less = 3000;
    CHECK(status_within(enough, big, start, &said) == 0);
    while (enough - less > 64) {
        const size_t kb = less + (enough - less) / 2;
        *(status_within(kb, big, start, &said) == 0 ? &enough : &less) = kb;
    }
    for (int i = 1; i <= 64; i++)
        status_within(enough - (size_t)i * 250, big, start, &said);
    CHECK(said > 0);
    for (int i = 0; i < 5; i++)
        free(big[i]);
}

/* ---- good uses ---- */

static void inspect_writes_json(void **state)
{
    (void)state;
    fresh_model();
    outcome o = command("inspect", model, "--json", NULL);
    accepted(&o);
    CHECK(o.err.n == 0);
    json_t *root = json_of(&o);
    const json_t *values = json_object_get(root, "values");
    bool found = false;
    for (size_t i = 0; i < json_array_size(values); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(values, i), "name"));
        found |= name && strcmp(name, "blocks.4.hook_resid_post") == 0;
    }
    CHECK(found);
    json_decref(root);
    outcome_free(&o);
}

static void run_writes_what_was_fetched(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    sg_error err;
    sg_safetensors *st = NULL;
    const sg_tensor *t = NULL;
    fresh_model();
    outcome o =
        command("run", model, "--text", "Once upon a time", "--text", "Lily", "--fetch", "blocks.*.hook_resid_post",
                "--fetch", "logits", "--json", "--out", in_folder(path, "out.safetensors"), NULL);
    accepted(&o);
    json_t *root = json_of(&o);
    const json_t *values = json_object_get(root, "values"), *tokens = json_object_get(root, "tokens");
    CHECK(json_array_size(json_object_get(root, "nodes_run")) > 0);
    CHECK(json_object_size(values) == 6 && json_object_get(values, "logits") && json_array_size(tokens) == 2);
    const sg_dim time = (sg_dim)json_array_size(json_array_get(tokens, 0));
    CHECK(json_integer_value(json_array_get(json_array_get(tokens, 0), 0)) == 1);
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    CHECK(sg_safetensors_count(st) == 7);
    CHECK_OK(sg_safetensors_get(&t, st, "tokens", &err), &err);
    CHECK(t->dtype == SG_I32 && t->n_dims == 2 && t->dims[0] == 2 && t->dims[1] == time);
    for (int i = 0; i < 5; i++) {
        char name[40];
        snprintf(name, sizeof name, "blocks.%d.hook_resid_post", i);
        CHECK_OK(sg_safetensors_get(&t, st, name, &err), &err);
        CHECK(t->n_dims == 3 && t->dims[0] == 2 && t->dims[1] == time && t->dims[2] == 64);
    }
    CHECK_OK(sg_safetensors_get(&t, st, "logits", &err), &err);
    CHECK(t->n_dims == 3 && t->dims[0] == 2 && t->dims[1] == time && t->dims[2] == 512);
    sg_safetensors_close(st);
    json_decref(root);
    outcome_free(&o);
}

static void a_fed_value_replaces_what_lies_before_it(void **state)
{
    (void)state;
    char whole[PATH_BYTES], part[PATH_BYTES], feed[PATH_BYTES + 100];
    sg_error err;
    sg_safetensors *a = NULL, *b = NULL;
    const sg_tensor *x = NULL, *y = NULL;
    fresh_model();
    outcome o =
        RUN("--fetch", "blocks.2.hook_resid_pre", "--fetch", "logits", "--out", in_folder(whole, "whole.safetensors"));
    accepted(&o);
    outcome_free(&o);
    snprintf(feed, sizeof feed, "blocks.2.hook_resid_pre=%s:blocks.2.hook_resid_pre", whole);
    o = RUN("--feed", feed, "--fetch", "logits", "--json", "--out", in_folder(part, "part.safetensors"));
    accepted(&o);
    json_t *root = json_of(&o);
    const json_t *nodes = json_object_get(root, "nodes_run");
    CHECK(json_array_size(nodes) > 0);
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const char *name = json_string_value(json_array_get(nodes, i));
        CHECK(name && strncmp(name, "blocks.0", 8) != 0 && strncmp(name, "blocks.1", 8) != 0);
    }
    CHECK_OK(sg_safetensors_open(&a, whole, &err), &err);
    CHECK_OK(sg_safetensors_open(&b, part, &err), &err);
    CHECK_OK(sg_safetensors_get(&x, a, "logits", &err), &err);
    CHECK_OK(sg_safetensors_get(&y, b, "logits", &err), &err);
    CHECK(sg_tensor_bytes(x) > 0 && sg_tensor_bytes(x) == sg_tensor_bytes(y) &&
          memcmp(x->data, y->data, sg_tensor_bytes(x)) == 0);
    sg_safetensors_close(a);
    sg_safetensors_close(b);
    json_decref(root);
    outcome_free(&o);
}

static void a_part_is_the_same_as_of_the_whole(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    sg_error err;
    sg_safetensors *st = NULL;
    const sg_tensor *whole = NULL, *part = NULL;
    fresh_model();
    outcome o = RUN("--fetch", "blocks.3.attn.hook_pattern", "--json", "--out", in_folder(path, "whole.safetensors"));
    accepted(&o);
    outcome_free(&o);
    o = RUN("--fetch", "blocks.3.attn.hook_pattern[:,5,-2:]", "--json", "--out", in_folder(path, "part.safetensors"));
    accepted(&o);
    outcome_free(&o);
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    CHECK_OK(sg_safetensors_get(&part, st, "blocks.3.attn.hook_pattern[:,5,-2:]", &err), &err);
    sg_safetensors *all = NULL;
    CHECK_OK(sg_safetensors_open(&all, in_folder(path, "whole.safetensors"), &err), &err);
    CHECK_OK(sg_safetensors_get(&whole, all, "blocks.3.attn.hook_pattern", &err), &err);
    const sg_dim time = whole->dims[2];
    CHECK(part->n_dims == 4 && part->dims[0] == 1 && part->dims[1] == 1 && part->dims[2] == 2 && part->dims[3] == time);
    for (sg_dim r = 0; r < 2; r++)
        for (sg_dim s = 0; s < time; s++)
            CHECK_NEAR(sg_tensor_get(part, r * time + s), sg_tensor_get(whole, (5 * time + time - 2 + r) * time + s),
                       1e-6, 0);
    sg_safetensors_close(st);
    sg_safetensors_close(all);
}

static void generate_writes_the_golden_story(void **state)
{
    (void)state;
    char path[1024];
    json_error_t at;
    fresh_model();
    SKIP_WITHOUT(sg_test_shared(path, "golden/stories260K.json"), "golden/stories260K.json");
    json_t *golden = json_load_file(path, 0, &at);
    const json_t *want = json_object_get(golden, "greedy_from_bos_tokens");
    char n[24]; /* all but the first, which the empty text gives */
    snprintf(n, sizeof n, "%zu", json_array_size(want) - 1);
    CHECK(json_array_size(want) >= 200);
    outcome o = command("generate", model, "--text", "", "-n", n, "--json", NULL);
    accepted(&o);
    json_t *root = json_of(&o);
    CHECK(json_equal(json_object_get(root, "tokens"), want));
    json_decref(root);
    json_decref(golden);
    outcome_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(empty_files_are_refused),
        cmocka_unit_test(truncated_weights_are_refused),
        cmocka_unit_test(tensors_out_of_place_are_refused),
        cmocka_unit_test(lying_header_lengths_are_refused),
        cmocka_unit_test(unknown_types_and_missing_weights_are_named),
        cmocka_unit_test(wrong_configs_are_refused),
        cmocka_unit_test(a_tokenizer_without_merges_is_refused),
        cmocka_unit_test(nan_weights_are_warned_of),
        cmocka_unit_test(wrong_names_suggest_the_nearest),
        cmocka_unit_test(a_feed_of_the_wrong_shape_names_both),
        cmocka_unit_test(wrong_edits_are_refused),
        cmocka_unit_test(wrong_prompts_are_refused),
        cmocka_unit_test(wrong_words_are_refused),
        cmocka_unit_test(an_output_that_cannot_be_written_is_named),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(inspect_writes_json),
        cmocka_unit_test(run_writes_what_was_fetched),
        cmocka_unit_test(a_fed_value_replaces_what_lies_before_it),
        cmocka_unit_test(a_part_is_the_same_as_of_the_whole),
        cmocka_unit_test(generate_writes_the_golden_story),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
