/* The methods archetypes, minkowski, geometry and echo as they are asked: of files, with their controls, and what they
 * write. */
#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/dictionary.h"
#include "sightglass/method.h"
#include "sightglass/npy.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"

enum { N = 120, D = 6 };

static sg_result *ask(const char *name, int n_inputs, const char *const *inputs, int n_settings,
                      const sg_setting *settings, const char *out)
{
    sg_method_ask a = sg_method_ask_defaults();
    sg_result *r;
    sg_error err;
    a.n_inputs = n_inputs;
    a.inputs = inputs;
    a.n_settings = n_settings;
    a.settings = settings;
    a.out = out;
    CHECK(sg_method_find(name, NULL) != NULL);
    CHECK_OK(sg_method_do(&r, sg_method_find(name, NULL), &a, &err), &err);
    CHECK_OK(sg_result_check(r, &err), &err);
    return r;
}

static sg_status ask_badly(const char *name, const char *input, const sg_setting *setting, sg_error *err)
{
    sg_method_ask a = sg_method_ask_defaults();
    sg_result *r;
    a.n_inputs = 1;
    a.inputs = &input;
    a.n_settings = setting ? 1 : 0;
    a.settings = setting;
    return sg_method_do(&r, sg_method_find(name, NULL), &a, err);
}

static const sg_finding *finding(const sg_result *r, const char *id)
{
    for (int i = 0; i < sg_result_n_findings(r); i++)
        if (!strcmp(sg_result_finding(r, i)->id, id))
            return sg_result_finding(r, i);
    return NULL;
}

/* A triangle in six dimensions, as a file in a folder of its own. */
static void write_rows(char folder[64], char path[128])
{
    static float x[N * D];
    sg_rng r = sg_rng_new(1, 0);
    for (int n = 0; n < N; n++) {
        double w[3], sum = 0;
        for (int k = 0; k < 3; k++)
            sum += w[k] = n % 3 == 0 ? k == n / 3 % 3 : sg_rng_uniform(&r);
        for (int j = 0; j < D; j++)
            x[n * D + j] = (float)(j < 3 ? 5 * w[j] / sum : .01 * sg_rng_normal(&r));
    }
    strcpy(folder, "/tmp/sg_hull_XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, 128, "%s/rows.npy", folder);
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
    CHECK_OK(sg_npy_save(path, &t, NULL), NULL);
}

static void archetypes_of_a_file_beside_a_normal_cloud(void **state)
{
    (void)state;
    char folder[64], path[128], out[128];
    write_rows(folder, path);
    snprintf(out, sizeof out, "%s/corners.safetensors", folder);
    const sg_setting settings[] = {{"k", "3"}, {"restarts", "2"}};
    sg_result *r = ask("archetypes", 1, (const char *const[]){path}, 2, settings, out);
    const sg_finding *f = finding(r, "r2");
    CHECK(f && f->value > .999 && f->control_value < .97);
    CHECK(sg_result_n_tables(r) == 1 && sg_result_get_table(r, 0)->n_rows == 3);
    sg_result_free(r);
    sg_safetensors *st;
    const sg_tensor *t;
    CHECK_OK(sg_safetensors_open(&st, out, NULL), NULL);
    CHECK_OK(sg_safetensors_get(&t, st, "archetypes", NULL), NULL);
    CHECK(t->dims[0] == 3 && t->dims[1] == D);
    sg_safetensors_close(st);
    sg_error err;
    CHECK_STATUS(ask_badly("archetypes", path, &(sg_setting){"blocks", "2,0"}, &err), SG_EARG);
    CHECK_TEXT(err.text, "block of 0");
    CHECK_STATUS(ask_badly("archetypes", "nowhere.npy", NULL, &err), SG_ENOTFOUND);
    sg_test_remove_all(folder);
}

static void minkowski_of_a_model_layer_by_layer(void **state)
{
    (void)state;
    const sg_setting settings[] = {{"share", "0.8"}};
    const char *const model = SG_SOURCE_DIR "/test/data/families/llama";
    sg_result *r = ask("minkowski", 1, &model, 1, settings, NULL);
    CHECK(sg_result_n_tables(r) == 1 && sg_result_get_table(r, 0)->n_rows >= 2);
    for (int i = 0; i < sg_result_n_findings(r); i++)
        CHECK(sg_finding_holds(sg_result_finding(r, i)));
    const sg_finding *f = finding(r, "member");
    CHECK(f && f->value < 1e-4 && f->control_value > .05);
    sg_result_free(r);
    sg_error err;
    CHECK_STATUS(ask_badly("minkowski", model, &(sg_setting){"layer", "7"}, &err), SG_EARG);
}

static void geometry_and_echo_of_a_dictionary_and_of_atoms_alone(void **state)
{
    (void)state;
    enum { M = 8 };
    char folder[64], path[128], dict[128], atoms[128], low[128];
    float dec[M * D];
    sg_rng rng = sg_rng_new(2, 0);
    sg_dict *d;
    sg_error err;
    write_rows(folder, path);
    for (int i = 0; i < M * D; i++)
        dec[i] = (float)sg_rng_normal(&rng);
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){M, D}, dec);
    CHECK_OK(sg_dict_of(&d, SG_DICT_TOPK, 2, &t, NULL, NULL, NULL, &err), &err);
    snprintf(dict, sizeof dict, "%s/dict", folder);
    snprintf(atoms, sizeof atoms, "%s/atoms.npy", folder);
    snprintf(low, sizeof low, "%s/low.npy", folder);
    CHECK_OK(sg_dict_save(d, dict, &err), &err);
    CHECK_OK(sg_npy_save(atoms, &t, &err), &err);
    sg_dict_free(d);

    const sg_setting steps[] = {{"steps", "40"}, {"acts", path}};
    sg_result *r = ask("geometry", 1, (const char *const[]){dict}, 2, steps, low);
    CHECK(finding(r, "coherence") && finding(r, "modularity") && finding(r, "nearer"));
    CHECK(sg_result_get_table(r, 0)->n_rows == 8 && sg_result_get_table(r, 0)->n_columns == 4);
    CHECK(access(low, R_OK) == 0);
    sg_result_free(r);
    r = ask("geometry", 1, (const char *const[]){atoms}, 1, steps, NULL);
    CHECK(sg_result_get_table(r, 0)->n_rows == 6 && !finding(r, "modularity"));
    sg_result_free(r);
    CHECK_STATUS(ask_badly("geometry", atoms, &(sg_setting){"acts", path}, &err), SG_EARG);
    CHECK_TEXT(err.text, "say no codes");

    const sg_setting few[] = {{"nulls", "3"}, {"split", "4"}, {"same", "1"}};
    r = ask("echo", 1, (const char *const[]){atoms}, 3, few, NULL);
    CHECK(finding(r, "echo") && finding(r, "echo")->n == 4);
    sg_result_free(r);
    CHECK_STATUS(ask_badly("echo", "nowhere", NULL, &err), SG_ENOTFOUND);
    sg_test_remove_all(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archetypes_of_a_file_beside_a_normal_cloud),
        cmocka_unit_test(minkowski_of_a_model_layer_by_layer),
        cmocka_unit_test(geometry_and_echo_of_a_dictionary_and_of_atoms_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
