/* LoRAs, autoencoders and control vectors as a user meets them at the command line. */
#include "check.h"

#include <jansson.h>
#include <sys/wait.h>

#include "sightglass/safetensors.h"

#define DATA SG_SOURCE_DIR "/test/data/adapters/"

enum { ROWS = 2, TIME = 6, VOCAB = 32, LINE = 3000, FAILED = 1, WRONG_USE = 2 };

static char folder[200], said[1 << 18];

/* Exit status; what it says on both streams is in `said`. */
static int command(const char *fmt, ...) SG_PRINTF(1, 2);
static int command(const char *fmt, ...)
{
    char line[LINE] = SG_COMMAND " ";
    const size_t n = strlen(line);
    va_list args;
    va_start(args, fmt);
    CHECK(vsnprintf(line + n, sizeof line - n - 6, fmt, args) < (int)(sizeof line - n - 6));
    va_end(args);
    strcat(line, " 2>&1");
    FILE *f = popen(line, "r");
    CHECK(f != NULL);
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    const int status = pclose(f);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define DONE(...)                                                                                                      \
    do {                                                                                                               \
        const int got_ = command(__VA_ARGS__);                                                                         \
        if (got_ != 0)                                                                                                 \
            print_error("%d: %s\n", got_, said);                                                                       \
        CHECK(got_ == 0);                                                                                              \
    } while (0)

#define REFUSED(status, words, ...)                                                                                    \
    do {                                                                                                               \
        const int got_ = command(__VA_ARGS__);                                                                         \
        if (got_ != (status))                                                                                          \
            print_error("%d: %s\n", got_, said);                                                                       \
        CHECK(got_ == (status));                                                                                       \
        CHECK_TEXT(said, words);                                                                                       \
    } while (0)

static int begin(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    setenv("OMP_NUM_THREADS", "1", 1);
    snprintf(folder, sizeof folder, "%s/sightglass-adapters-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(folder));
    return 0;
}

static int end(void **state)
{
    char line[300];
    (void)state;
    snprintf(line, sizeof line, "rm -r '%s'", folder);
    return system(line);
}

/* Logits that a run wrote to FOLDER/out.safetensors, beside golden ones. */
static void check_out(const char *golden, const char *name)
{
    char path[1024];
    sg_safetensors *got, *want;
    sg_error err;

    snprintf(path, sizeof path, "%s/out.safetensors", folder);
    CHECK_OK(sg_safetensors_open(&got, path, &err), &err);
    snprintf(path, sizeof path, DATA "%s/golden.safetensors", golden);
    CHECK_OK(sg_safetensors_open(&want, path, &err), &err);
    const sg_tensor *a = sg_safetensors_find(got, "logits"), *b = sg_safetensors_find(want, name);
    CHECK(a && b && sg_tensor_count(a) == sg_tensor_count(b));
    for (sg_dim i = 0; i < sg_tensor_count(a); i++)
        CHECK_NEAR(sg_tensor_get(a, i), sg_tensor_get(b, i), 2e-4, 2e-4);
    sg_safetensors_close(got);
    sg_safetensors_close(want);
}

#define RUN(model, more)                                                                                               \
    "run " DATA model " --tokens " DATA "tokens.safetensors:tokens --fetch logits --out '%s/out.safetensors' " more,   \
        folder

static void a_run_takes_adapters_of_each_kind(void **state)
{
    (void)state;
    DONE(RUN("llama", "--lora " DATA "lora-patterns=-2"));
    check_out("lora-patterns", "logits.-2");
    DONE(RUN("gpt2", "--lora " DATA "lora-gpt2"));
    check_out("lora-gpt2", "logits.1");
    DONE(RUN("llama", "--sae " DATA "sae-topk=replace"));
    check_out("sae-topk", "replaced");
    DONE(RUN("llama", "--sae " DATA "sae-topk=keep"));
    check_out("sae-topk", "plain");
    DONE(RUN("llama", "--control-vector " DATA "control/one.gguf=1.5"));
    check_out("control", "logits");
    DONE(RUN("llama", "--control-vector " DATA "control/two.gguf=1.5 --control-vector-layers 0-1"));
    check_out("control", "logits");
    DONE(RUN("llama", "--dry-run --lora " DATA "lora-patterns"));
    CHECK_TEXT(said, "together");
}

static void features_are_edited_named_and_shown(void **state)
{
    char path[300];
    json_error_t at;
    (void)state;
    snprintf(path, sizeof path, "%s/off.json", folder);
    sg_safetensors *st;
    sg_error err;
    CHECK_OK(sg_safetensors_open(&st, DATA "sae-gated/golden.safetensors", &err), &err);
    const int strongest = (int)sg_tensor_get(sg_safetensors_find(st, "strongest"), 0);
    sg_safetensors_close(st);
    json_t *edits = json_pack("[{s:s, s:s, s:[i]}]", "site", "blocks.1.hook_resid_post.hook_sae_acts_post", "op",
                              "ablate", "features", strongest);
    CHECK(edits && json_dump_file(edits, path, 0) == 0);
    json_decref(edits);
    DONE("run " DATA "llama --tokens " DATA
         "tokens.safetensors:tokens --fetch logits --out '%s/out.safetensors' --sae " DATA "sae-gated --edits '%s'",
         folder, path);
    check_out("sae-gated", "ablated");

    DONE("run " DATA "llama --tokens " DATA "tokens.safetensors:tokens --sae " DATA "sae-standard --top-features 24");
    CHECK_TEXT(said, "features at blocks.1.hook_resid_post");
    CHECK_TEXT(said, "na\xc3\xafve things");
    DONE("run " DATA "llama --tokens " DATA "tokens.safetensors:tokens --sae " DATA "sae-topk --top-features 3 --json "
         "--grad 'loss:*.hook_sae_acts_post'");
    json_t *root = json_loads(said, 0, &at);
    const json_t *rows = json_object_get(json_array_get(json_object_get(root, "features"), 0), "rows");
    CHECK(json_array_size(rows) == ROWS && json_array_size(json_array_get(rows, 1)) == TIME);
    const json_t *top = json_array_get(json_array_get(rows, 1), 2);
    CHECK(json_array_size(top) == 3);
    CHECK(json_real_value(json_object_get(json_array_get(top, 0), "value")) >=
          json_real_value(json_object_get(json_array_get(top, 1), "value")));
    const json_t *stats = json_object_get(
        json_object_get(json_object_get(root, "values"), "loss:blocks.1.hook_resid_post.hook_sae_acts_post"), "stats");
    CHECK(json_real_value(json_object_get(stats, "std")) > 0); /* gradients reach features that are only looked at */
    json_decref(root);
}

static void inspect_lists_adapters_and_their_values(void **state)
{
    json_error_t at;
    (void)state;
    DONE("inspect " DATA "llama --lora " DATA "lora-plain=0.25 --sae " DATA "sae-standard");
    CHECK_TEXT(said, "4 modules, rank 2, strength 0.25");
    CHECK_TEXT(said, "24 features (2 with labels), look");
    CHECK_TEXT(said, "blocks.1.attn.v.lora.0.hidden");
    CHECK_TEXT(said, "blocks.1.hook_resid_post.hook_sae_error");
    DONE("inspect " DATA "llama --lora " DATA "lora-plain --json");
    json_t *root = json_loads(said, 0, &at);
    CHECK(json_integer_value(json_object_get(json_array_get(json_object_get(root, "loras"), 0), "modules")) == 4);
    CHECK(json_array_size(json_object_get(root, "saes")) == 0);
    json_decref(root);
}

static void generation_goes_through_adapters(void **state)
{
    static char plain[sizeof said];
    char tokens[300], edits[300];
    (void)state;
    snprintf(tokens, sizeof tokens, "%s/prompt.txt", folder);
    FILE *f = fopen(tokens, "w");
    fputs("3 4 5\n", f);
    fclose(f);
    DONE("merge " DATA "llama --lora " DATA "lora-plain=2 --out '%s/merged'", folder);
    DONE("generate '%s/merged' --tokens '%s' -n 8", folder, tokens);
    memcpy(plain, said, sizeof plain);
    DONE("generate " DATA "llama --tokens '%s' -n 8 --lora " DATA "lora-plain=2", tokens);
    CHECK(strcmp(said, plain) == 0);
    DONE("generate " DATA "llama --tokens '%s' -n 8", tokens);
    CHECK(strcmp(said, plain) != 0);
    memcpy(plain, said, sizeof plain);
    DONE("generate " DATA "llama --tokens '%s' -n 8 --control-vector " DATA "control/one.gguf=8", tokens);
    CHECK(strcmp(said, plain) != 0);
    DONE("generate " DATA "llama --tokens '%s' -n 8 --sae " DATA "sae-standard=keep", tokens);
    CHECK(strcmp(said, plain) == 0);
    snprintf(edits, sizeof edits, "%s/set.json", folder);
    f = fopen(edits, "w");
    fputs("[{\"site\": \"blocks.1.hook_resid_post.hook_sae_acts_post\", \"op\": \"set\", \"value\": 40, \"features\": [3]}]", f);
    fclose(f);
    DONE("generate " DATA "llama --tokens '%s' -n 8 --sae " DATA "sae-standard --edits '%s'", tokens, edits);
    CHECK(strcmp(said, plain) != 0);
}

static void merging_writes_a_model_that_stands_alone(void **state)
{
    (void)state;
    DONE("merge " DATA "gpt2 --lora " DATA "lora-gpt2-all=0.5 --out '%s/alone'", folder);
    DONE("run '%s/alone' --tokens " DATA "tokens.safetensors:tokens --fetch logits --out '%s/out.safetensors'", folder,
         folder);
    check_out("lora-gpt2-all", "logits.0.5");
    REFUSED(WRONG_USE, "read from there", "merge '%s/alone' --lora " DATA "lora-gpt2 --out '%s/alone'", folder, folder);
    REFUSED(FAILED, "lora_B.bias", "merge " DATA "llama --lora " DATA "lora-half --out '%s/never'", folder);
    REFUSED(WRONG_USE, "wanted --lora", "merge " DATA "llama --out '%s/never'", folder);
}

static void edits_go_to_control_vectors_and_back(void **state)
{
    char path[300], out[300];
    (void)state;
    snprintf(path, sizeof path, "%s/push.json", folder);
    snprintf(out, sizeof out, "%s/push.gguf", folder);
    DONE("edits show --control-vector " DATA "control/one.gguf=1.5 --json");
    FILE *f = fopen(path, "w");
    fputs(said, f);
    fclose(f);
    DONE("edits export '%s' --control-vector '%s' --model-hint llama", path, out);
    DONE("run " DATA "llama --tokens " DATA
         "tokens.safetensors:tokens --fetch logits --out '%s/out.safetensors' --control-vector '%s'",
         folder, out);
    check_out("control", "logits");
    REFUSED(FAILED, "general.architecture is llama", "edits show --control-vector " DATA "control/other.gguf");
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    REFUSED(FAILED, "model.layers.0.self_attn.q_proj", "inspect " DATA "gpt2 --lora " DATA "lora-plain");
    REFUSED(FAILED, "adapter_config.json", "inspect " DATA "gpt2 --lora " DATA "gpt2");
    REFUSED(FAILED, "cfg.json", "inspect " DATA "gpt2 --sae " DATA "gpt2");
    REFUSED(WRONG_USE, "--top-features wants",
            "run " DATA "llama --tokens " DATA "tokens.safetensors:tokens --top-features 3");
    REFUSED(WRONG_USE, "FIRST-LAST",
            "run " DATA "llama --tokens " DATA "tokens.safetensors:tokens --control-vector " DATA
            "control/one.gguf --control-vector-layers 5-2");
    REFUSED(WRONG_USE, "from layer 3 to 9",
            "run " DATA "llama --tokens " DATA "tokens.safetensors:tokens --control-vector " DATA
            "control/one.gguf --control-vector-layers 3-9");
    REFUSED(FAILED, "blocks.5.hook_resid_post",
            "run " DATA "llama --tokens " DATA "tokens.safetensors:tokens --control-vector " DATA "control/two.gguf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_takes_adapters_of_each_kind),
        cmocka_unit_test(features_are_edited_named_and_shown),
        cmocka_unit_test(inspect_lists_adapters_and_their_values),
        cmocka_unit_test(generation_goes_through_adapters),
        cmocka_unit_test(merging_writes_a_model_that_stands_alone),
        cmocka_unit_test(edits_go_to_control_vectors_and_back),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
