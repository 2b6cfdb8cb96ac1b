/* sightglass harvest, lens and heads as a user meets them, on a shipped model: numbers for machines, and what is
 * refused. */
#include "check.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sightglass/npy.h"
#include "sightglass/shards.h"

#define MODEL SG_SOURCE_DIR "/models/othello6"
enum { FAILED = 1, WRONG_USE = 2 };

static char folder[200], said[1 << 18];

static int begin(void **state)
{
    (void)state;
    char path[300];
    int32_t ids[6 * 20];
    sg_error err;
    const char *tmp = getenv("TMPDIR");
    setenv("OMP_NUM_THREADS", "1", 1);
    snprintf(folder, sizeof folder, "%s/sightglass-harvest-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    for (int i = 0; i < 6 * 20; i++)
        ids[i] = i * 7 % 32;
    snprintf(path, sizeof path, "%s/t.npy", folder);
    const sg_tensor t = sg_tensor_of(SG_I32, 2, (sg_dim[]){6, 20}, ids);
    if (sg_npy_save(path, &t, &err) != SG_OK)
        return -1;
    snprintf(path, sizeof path, "%s/one.txt", folder);
    FILE *f = fopen(path, "w");
    return f && fputs("9 3 2 12 20 8\n", f) >= 0 && fclose(f) == 0 ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    static const char *const left[] = {"t.npy", "one.txt", "acts/shard-00000.safetensors", "acts/index.json", "acts"};
    char path[300];
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, left[i]);
        if (unlink(path) != 0)
            rmdir(path);
    }
    return rmdir(folder);
}

static int command(const char *fmt, ...) SG_PRINTF(1, 2);
static int command(const char *fmt, ...)
{
    char line[2000] = SG_COMMAND " ";
    const size_t n = strlen(line);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + n, sizeof line - n - 6, fmt, args);
    va_end(args);
    strcat(line, " 2>&1");
    FILE *f = popen(line, "r");
    CHECK(f != NULL);
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    const int status = pclose(f);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static json_t *answer(void)
{
    json_t *root = json_loads(said, 0, NULL);
    CHECK(root != NULL);
    return root;
}

static void a_harvest_is_written_and_read_back(void **state)
{
    (void)state;
    char path[300];
    sg_shards *s;
    sg_error err;
    CHECK(command("harvest %s --data %s/t.npy --fetch 'blocks.*.hook_resid_post' --out %s/acts --json", MODEL, folder,
                  folder) == 0);
    json_t *root = answer();
    CHECK(json_integer_value(json_object_get(root, "rows")) == 120 && json_is_true(json_object_get(root, "finished")) &&
          json_integer_value(json_object_get(root, "sites")) == 4);
    json_decref(root);
    snprintf(path, sizeof path, "%s/acts", folder);
    CHECK_OK(sg_shards_open(&s, path, &err), &err);
    CHECK(sg_shards_n_rows(s) == 120 && sg_shards_n_sites(s) == 4 && sg_shards_width(s, 3) == 128);
    sg_shards_close(s);
    CHECK(command("harvest %s --data %s/t.npy --fetch 'blocks.*.hook_resid_post' --out %s/acts", MODEL, folder,
                  folder) == 0);
    CHECK_TEXT(said, "nothing was left to do");
    CHECK(command("harvest %s --data %s/t.npy --fetch hook_embed --out %s/acts", MODEL, folder, folder) == WRONG_USE);
    CHECK_TEXT(said, "another harvest");
    CHECK(command("harvest %s --data %s/t.npy --fetch hook_embed --dry-run --json", MODEL, folder) == 0);
    root = answer();
    CHECK(json_integer_value(json_object_get(root, "row_bytes")) == 128 * 4 + 16);
    json_decref(root);
    CHECK(command("harvest %s --fetch hook_embed --out %s/acts", MODEL, folder) == WRONG_USE);
    CHECK_TEXT(said, "--data");
    CHECK(command("harvest %s --data %s/none.txt --fetch hook_embed --out %s/acts", MODEL, folder, folder) == FAILED);
    CHECK_TEXT(said, "none.txt");
}

static void the_lens_and_its_parts_are_told(void **state)
{
    (void)state;
    CHECK(command("lens %s --tokens %s/one.txt --json --top 3", MODEL, folder) == 0);
    json_t *root = answer(), *rows = json_object_get(root, "rows");
    CHECK(json_array_size(rows) == 5);
    const json_t *end = json_array_get(json_object_get(json_array_get(rows, 4), "places"), 5);
    CHECK(json_integer_value(json_object_get(end, "rank")) == 0 && json_array_size(json_object_get(end, "top")) == 3);
    json_decref(root);
    CHECK(command("lens %s --tokens %s/one.txt", MODEL, folder) == 0);
    CHECK_TEXT(said, "the end");
    CHECK(command("lens %s --tokens %s/one.txt --attribute --json --neurons 4", MODEL, folder) == 0);
    root = answer();
    double sum =
        json_number_value(json_object_get(root, "constant")) + json_number_value(json_object_get(root, "unexplained"));
    const json_t *parts = json_object_get(root, "parts");
    for (size_t i = 0; i < json_array_size(parts); i++)
        sum += json_number_value(json_object_get(json_array_get(parts, i), "value"));
    CHECK(json_array_size(parts) == 2 + 4 * (4 + 2) && json_array_size(json_object_get(root, "neurons")) == 4);
    CHECK_NEAR(sum, json_number_value(json_object_get(root, "logit")), 1e-6, 0);
    CHECK(fabs(json_number_value(json_object_get(root, "unexplained"))) < 1e-3);
    json_decref(root);
    CHECK(command("lens %s --tokens %s/one.txt --versus 3", MODEL, folder) == WRONG_USE);
    CHECK_TEXT(said, "--attribute");
    CHECK(command("lens %s --tokens %s/one.txt --token d3", MODEL, folder) == WRONG_USE);
    CHECK_TEXT(said, "no tokenizer");
    CHECK(command("lens %s", MODEL) == WRONG_USE);
}

static void heads_that_copy_are_told(void **state)
{
    (void)state;
    CHECK(command("heads %s --episodes 4 --json", MODEL) == 0);
    json_t *root = answer();
    CHECK(json_array_size(json_object_get(root, "heads")) == 16 &&
          json_integer_value(json_object_get(root, "period")) == 16);
    json_decref(root);
    CHECK(command("heads %s --world othello --period 5", MODEL) == WRONG_USE);
    CHECK(command("heads %s --period 17", MODEL) == WRONG_USE);
    CHECK_TEXT(said, "17");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_harvest_is_written_and_read_back),
        cmocka_unit_test(the_lens_and_its_parts_are_told),
        cmocka_unit_test(heads_that_copy_are_told),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
