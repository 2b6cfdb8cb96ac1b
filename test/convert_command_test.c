/* sightglass convert, quantize and inspect on GGUF files, as a user meets them. */
#include "check.h"
#include "folder.h"

#include <jansson.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#define DATA SG_SOURCE_DIR "/test/data/"
enum { FAILED = 1, WRONG_USE = 2 };

static char folder[200], said[1 << 18];

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    setenv("OMP_NUM_THREADS", "1", 1);
    snprintf(folder, sizeof folder, "%s/sightglass-convert-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

static int command(const char *fmt, ...) SG_PRINTF(1, 2);
static int command(const char *fmt, ...)
{
    char line[2000] = "cd '";
    size_t n = strlen(line);
    va_list args;
    n += (size_t)snprintf(line + n, sizeof line - n, "%s' && " SG_COMMAND " ", folder);
    va_start(args, fmt);
    n += (size_t)vsnprintf(line + n, sizeof line - n, fmt, args);
    va_end(args);
    snprintf(line + n, sizeof line - n, " 2>&1");
    FILE *f = popen(line, "r");
    CHECK(f != NULL);
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    const int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static json_t *answer(void)
{
    json_t *root = json_loads(said, 0, NULL);
    if (!root)
        print_error("%.400s\n", said);
    CHECK(root != NULL);
    return root;
}

static void a_model_goes_to_gguf_and_back(void **state)
{
    (void)state;
    CHECK(command("convert " DATA "families/llama a.gguf") == 0);
    CHECK_TEXT(said, "tensors as they were");
    CHECK(command("convert a.gguf back --dtype f32 --json") == 0);
    json_t *root = answer();
    CHECK(json_real_value(json_object_get(root, "error")) == 0); /* f16 is in f32 */
    CHECK(json_array_size(json_object_get(root, "tensors")) == 35);
    json_decref(root);
    CHECK(command("inspect back --json") == 0);
    CHECK_TEXT(said, "\"stored\": \"f32\"");
    CHECK(command("convert a.gguf back") == WRONG_USE);
    CHECK_TEXT(said, "there is a model already");
}

static void packing_tells_what_it_cost(void **state)
{
    (void)state;
    CHECK(command("quantize " DATA "gguf/packed.gguf q.gguf --type q4_0 --keep 'blk.*.attn_v.weight=f16' --json") == 0);
    json_t *root = answer();
    const double error = json_real_value(json_object_get(root, "error"));
    CHECK(error > 0.01 && error < 0.15);
    json_decref(root);
    CHECK(command("inspect q.gguf") == 0);
    CHECK_TEXT(said, "GGUF version 3, 21 tensors:");
    CHECK_TEXT(said, "2 of F16");
    CHECK_TEXT(said, "general.architecture                       \"llama\"");
    CHECK(command("inspect q.gguf --json") == 0);
    root = answer();
    CHECK(json_array_size(json_object_get(json_object_get(root, "gguf"), "tensors")) == 21);
    json_decref(root);
}

static void a_file_that_is_no_model_is_shown_all_the_same(void **state)
{
    (void)state;
    CHECK(command("inspect " DATA "gguf/types.gguf") == FAILED);
    CHECK_TEXT(said, "9 tensors");
    CHECK_TEXT(said, "general.architecture is \"none\"");
}

static void wrong_use_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"convert", "wanted MODEL and where it goes"},
        {"convert x y --dtype q3_k", "wanted one of f32, bf16, f16, q8_0"},
        {"convert x y --type q8_0", "--dtype"},
        {"quantize x y.gguf --dtype q8_0", "--type"},
        {"quantize x y.gguf --type f16", "f16 packs nothing"},
        {"quantize x y", "does not end in .gguf"},
        {"quantize x y.gguf --keep abc", "wanted PATTERN=TYPE"},
        {"convert x y --pure", "--pure is an option of quantize"},
        {"convert " DATA "gguf/llama.gguf out --dtype q8_0", "folders hold f32, f16 and bf16"},
        {"convert " DATA "gguf/llama.gguf out.gguf --keep nothing=f16", "no tensor's name fits nothing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int code = command("%s", cases[i].line);
        if (code != WRONG_USE)
            print_error("%s: %d, %.200s\n", cases[i].line, code, said);
        CHECK(code == WRONG_USE);
        CHECK_TEXT(said, cases[i].words);
    }
    CHECK(command("convert absent out.gguf") == FAILED);
    CHECK(command("convert --help") == 0);
    CHECK(command("quantize --help") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_goes_to_gguf_and_back),
        cmocka_unit_test(packing_tells_what_it_cost),
        cmocka_unit_test(a_file_that_is_no_model_is_shown_all_the_same),
        cmocka_unit_test(wrong_use_is_told),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
