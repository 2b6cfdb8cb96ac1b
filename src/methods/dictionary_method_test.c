/* The four commands over rows in a file: what was fitted is saved with its manifest, reported, compared and shown, and
 * what makes no sense is said. */
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "methods/dictionary_internal.h"
#include "sightglass/method.h"
#include "sightglass/npy.h"

enum { N = 900, D = 8, G = 8 };

static char dir[] = "/tmp/sightglass-dict-XXXXXX";
static char acts[64], one[64], two[64];

static int begin(void **state)
{
    (void)state;
    static float rows[N * D];
    float atoms[G * D];
    if (!mkdtemp(dir))
        return -1;
    snprintf(acts, sizeof acts, "%s/acts.npy", dir);
    snprintf(one, sizeof one, "%s/one", dir);
    snprintf(two, sizeof two, "%s/two", dir);
    dict_random_rows(atoms, G, D, 1, 1);
    for (int i = 0; i < N; i++)
        for (int c = 0; c < D; c++)
            rows[i * D + c] = atoms[i % G * D + c] + (float)(i % 3) * atoms[(i / 7 + 1) % G * D + c];
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, rows);
    return sg_npy_save(acts, &t, NULL) == SG_OK ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_test_remove_all(dir);
    return 0;
}

static sg_status ask(sg_result **r, const char *action, int n, const char *const *inputs, int n_settings,
                     const sg_setting *settings, const char *out, uint64_t seed, sg_error *err)
{
    sg_method_ask a = sg_method_ask_defaults();
    a.n_inputs = n;
    a.inputs = inputs;
    a.n_settings = n_settings;
    a.settings = settings;
    a.out = out;
    a.seed = seed;
    return sg_method_do(r, sg_method_find("dictionary", action), &a, err);
}

static void fit(const char *out, const char *kind, uint64_t seed)
{
    const sg_setting settings[] = {{"kind", kind},   {"width", "16"},  {"k", "2"},
                                   {"batch", "128"}, {"steps", "300"}, {"lr", "0.01"}};
    sg_result *r;
    sg_error err;
    CHECK_OK(ask(&r, "fit", 1, (const char *const[]){acts}, 6, settings, out, seed, &err), &err);
    const sg_finding *f = sg_result_finding(r, 0);
    CHECK(strcmp(f->id, "r2") == 0 && f->n == N);
    CHECK(f->value > .6 && f->value > f->control_value + .1);
    sg_result_free(r);
}

static void a_dictionary_is_fitted_saved_reported_compared_and_shown(void **state)
{
    (void)state;
    sg_result *r;
    sg_error err;
    char path[128];
    fit(one, "topk", 1);
    fit(two, "topk", 2);
    for (int i = 0; i < 3; i++) {
        static const char *const files[] = {"cfg.json", "dictionary.json", "manifest.json"};
        snprintf(path, sizeof path, "%s/%s", one, files[i]);
        CHECK(access(path, R_OK) == 0);
    }
    snprintf(path, sizeof path, "%s/checkpoint", one);
    CHECK(access(path, R_OK) != 0); /* it is done */
    CHECK_OK(ask(&r, "report", 2, (const char *const[]){one, acts}, 0, NULL, NULL, 0, &err), &err);
    CHECK(sg_result_n_findings(r) == 1 && sg_result_n_tables(r) == 1);
    CHECK(sg_result_get_table(r, 0)->cells[1].number <= 2); /* L0 */
    sg_result_free(r);
    CHECK_OK(ask(&r, "compare", 3, (const char *const[]){one, one, two}, 0, NULL, NULL, 0, &err), &err);
    const sg_result_table *t = sg_result_get_table(r, 0);
    CHECK(t->n_rows == 3);
    CHECK_NEAR(t->cells[2].number, 1, 1e-12, 0); /* with itself */
    CHECK(t->cells[6 + 2].number < 1 && t->cells[6 + 2].number > t->cells[6 + 3].number);
    sg_result_free(r);
    CHECK_OK(ask(&r, "cards", 2, (const char *const[]){one, acts}, 1, &(sg_setting){"n", "3"}, NULL, 0, &err), &err);
    CHECK(sg_result_n_tables(r) == 4); /* three of examples, and all atoms */
    sg_result_free(r);
}

static void what_makes_no_sense_is_said(void **state)
{
    (void)state;
    sg_result *r;
    sg_error err;
    CHECK(ask(&r, "cards", 2, (const char *const[]){one, acts}, 1, &(sg_setting){"atoms", "16"}, NULL, 0, &err) ==
          SG_EARG);
    CHECK_TEXT(err.text, "atom 16, wanted 0 to 15");
    CHECK(ask(&r, "compare", 1, (const char *const[]){one}, 0, NULL, NULL, 0, &err) == SG_EARG);
    CHECK(ask(&r, "report", 2, (const char *const[]){dir, acts}, 0, NULL, NULL, 0, &err) != SG_OK);
    CHECK_TEXT(err.text, "cfg.json");
    CHECK(ask(&r, "fit", 1, (const char *const[]){acts}, 1, &(sg_setting){"k", "600"}, NULL, 0, &err) == SG_EARG);
    CHECK_TEXT(err.text, "k is 600 of 512 atoms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dictionary_is_fitted_saved_reported_compared_and_shown),
        cmocka_unit_test(what_makes_no_sense_is_said),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
