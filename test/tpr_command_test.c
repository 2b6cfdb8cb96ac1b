/* sightglass tpr as a user meets it: the weights of a probe in every kind of file, and what is refused. */
#include "check.h"

#include <jansson.h>
#include <sys/wait.h>

#include "sightglass/rng.h"
#include "sightglass/safetensors.h"
#include "sightglass/tpr.h"

enum { PATH_BYTES = 400, FAILED = 1, WRONG_USE = 2 };

static char folder[200], said[1 << 16];

static const char *in_folder(char path[PATH_BYTES], const char *name)
{
    CHECK(snprintf(path, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES);
    return path;
}

/* Exit status of the command; what it says on both streams is in `said`. */
static int tpr(const char *fmt, ...) SG_PRINTF(1, 2);
static int tpr(const char *fmt, ...)
{
    char line[3 * PATH_BYTES] = SG_COMMAND " tpr ";
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

#define REFUSED(status, words, ...)                                                                                    \
    do {                                                                                                               \
        const int got_ = tpr(__VA_ARGS__);                                                                             \
        if (got_ != (status))                                                                                          \
            print_error("exit status %d: %s\n", got_, said);                                                           \
        CHECK(got_ == (status));                                                                                       \
        CHECK_TEXT(said, words);                                                                                       \
    } while (0)

/* Of a 4 x 4 board: square s lies where it is on the board, so that its neighbours are near. */
enum { D = 6, S = 16, C = 3 };
static float weights[D * S * C];

static int begin(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    const char *tmp = getenv("TMPDIR");
    sg_error err;
    setenv("OMP_NUM_THREADS", "1", 1);
    snprintf(folder, sizeof folder, "%s/sightglass-tpr-command-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    sg_rng rng = sg_rng_new(1, 1);
    for (int s = 0; s < S; s++) {
        const double place[3] = {s / 4 - 1.5, s % 4 - 1.5, 10};
        for (int d = 0; d < D; d++)
            for (int c = 0; c < C; c++) /* fillers -1, 0, 1 */
                weights[(d * S + s) * C + c] = (float)((c - 1) * (d < 3 ? place[d] : 0) + 1e-3 * sg_rng_normal(&rng));
    }
    const sg_named_tensor w = {"w", sg_tensor_of(SG_F32, 4, (sg_dim[]){D, 4, 4, C}, weights)};
    return sg_safetensors_save(in_folder(path, "w.safetensors"), &w, 1, NULL, 0, &err) == SG_OK ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    static const char *const left[] = {"w.safetensors", "kept/factored.r4.safetensors", "kept/factored.r4.json",
                                       "bad.pth"};
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        unlink(in_folder(path, left[i]));
    rmdir(in_folder(path, "kept"));
    return rmdir(folder);
}

static void weights_are_factored_and_what_comes_of_it_is_kept(void **state)
{
    (void)state;
    json_error_t at;
    CHECK(tpr("factor %s/w.safetensors:w --role-dim 4,16 --filler-dim 1 --json", folder) == 0);
    json_t *root = json_loads(said, 0, &at);
    const json_t *list = json_object_get(root, "factored"), *ways = json_object_get(root, "directions");
    CHECK(json_array_size(list) == 2 && json_array_size(ways) == 4); /* three pairs of classes, and all */
    CHECK(json_real_value(json_object_get(json_array_get(list, 0), "error")) < 1e-2);
    const json_t *g = json_object_get(json_array_get(list, 0), "geometry");
    CHECK_NEAR(json_real_value(json_object_get(g, "agreement")), 1, 0, 0);
    CHECK(json_real_value(json_object_get(g, "permuted_high")) < 0.7);
    json_decref(root);
    CHECK(tpr("factor %s/w.safetensors:w --role-dim 4 --filler-dim 1 --out %s/kept", folder, folder) == 0);
    CHECK_TEXT(said, "truncated SVD of at most as many numbers");
    CHECK_TEXT(said, "class 2 less 0");
    CHECK(tpr("show %s/kept/factored.r4", folder) == 0);
    CHECK_TEXT(said, "bilinear, width 6, 16 roles in 4 dimensions, 3 fillers in 1");
    CHECK_TEXT(said, "neighbour agreement of roles 1.000; with roles permuted 0.3");
    CHECK(tpr("show %s/kept/factored.r4 --json", folder) == 0);
    root = json_loads(said, 0, &at);
    CHECK(json_array_size(json_object_get(json_object_get(root, "geometry"), "cosine")) == S);
    CHECK(json_is_null(json_object_get(root, "not_0")));
    json_decref(root);
}

static void a_published_probe_is_read_as_it_is(void **state)
{
    (void)state;
    char path[1024];
    const char *found = sg_test_shared(path, "data/othello_probes/mech_int/probes/linear/resid_6_linear.pth");
    SKIP_WITHOUT(found, "data/othello_probes");
    CHECK(tpr("factor %s --shape 512,8,8,3 --role-dim 4", found) == 0);
    CHECK_TEXT(said, "class 2 less 1    0.807");
    REFUSED(WRONG_USE, "f32 [512,8,8,2] takes 262144", "factor %s --shape 512,8,8,2", found);
    REFUSED(WRONG_USE, "--shape", "factor %s", found);
    REFUSED(FAILED, "none of 3 members fits", "factor %s --shape 512,8,8,3 --member nothing", found);
}

static void wrong_use_is_told_and_ends_with_two(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    REFUSED(WRONG_USE, "fit, factor or show", "%s", "");
    REFUSED(WRONG_USE, "fit, factor or show", "fitt");
    REFUSED(WRONG_USE, "fit wants a MODEL", "fit");
    REFUSED(WRONG_USE, "--world", "fit model");
    REFUSED(WRONG_USE, "trilinear", "fit model --world othello --at x --form quadratic");
    REFUSED(WRONG_USE, "of the bilinear form", "fit model --world othello --at x --form trilinear --role-dim 4");
    REFUSED(WRONG_USE, "nearest", "fit model --world othelo --at x");
    REFUSED(WRONG_USE, "--role-dim", "factor %s/w.safetensors:w --role-dim 4,,5", folder);
    REFUSED(WRONG_USE, "17 and 2 dimensions for 16 roles", "factor %s/w.safetensors:w --role-dim 17", folder);
    REFUSED(WRONG_USE, "does not hold 16 roles", "factor %s/w.safetensors:w --grid 3x5", folder);
    REFUSED(WRONG_USE, "--filler-dim", "factor %s/w.safetensors:w --filler-dim none", folder);
    REFUSED(WRONG_USE, "no option --epochs here", "factor %s/w.safetensors:w --epochs 3", folder);
    REFUSED(WRONG_USE, "one name too many", "factor a b");
    REFUSED(WRONG_USE, "neither", "factor nothing");
    REFUSED(FAILED, "No such file", "factor %s/none.safetensors:w", folder);
    REFUSED(FAILED, "none.json", "show %s/none", folder);
    REFUSED(FAILED, "config.json", "fit %s --world othello --size 4 --at x", folder);
    FILE *f = fopen(in_folder(path, "bad.pth"), "wb");
    CHECK(f && fputs("PK, and no zip", f) >= 0 && fclose(f) == 0);
    REFUSED(FAILED, "does not end as a zip archive does", "factor %s --shape 2,2,2", path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_factored_and_what_comes_of_it_is_kept),
        cmocka_unit_test(a_published_probe_is_read_as_it_is),
        cmocka_unit_test(wrong_use_is_told_and_ends_with_two),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
