/* sightglass steer on stories260K: pairs of happy and sad beginnings, fitted, swept and baked; and what is refused. */
#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/control_vector.h"
#include "sightglass/edit.h"
#include "sightglass/method.h"

static char model[1024];

static bool have_model(void)
{
    return sg_test_shared(model, "models/stories260K") != NULL;
}

static void write_pairs(const char *path)
{
    static const char *const names[] = {"Lily", "Tom", "Ben", "Mia", "Sam", "Anna", "Max", "Sue", "Tim", "Lucy"};
    static const char *const happy[] = {"was very happy and", "smiled and laughed and", "had so much fun and"},
                             *const sad[] = {"was very sad and", "cried and cried and", "was hurt and"};
    FILE *f = fopen(path, "w");
    CHECK(f);
    for (int i = 0; i < 30; i++)
        fprintf(f, "{\"positive\": \"%s went to the park. %s %s\", \"negative\": \"%s went to the park. %s %s\"}\n",
                names[i % 10], names[i % 10], happy[i % 3], names[i % 10], names[i % 10], sad[i / 10]);
    CHECK(fclose(f) == 0);
}

static void write_text(const char *path)
{
    FILE *f = fopen(path, "w");
    CHECK(f);
    for (int i = 0; i < 40; i++)
        fputs("Once upon a time, there was a little dog who lived in a big house. One day, the dog saw a red ball.\n",
              f);
    CHECK(fclose(f) == 0);
}

static sg_status run(sg_result **out, const char *action, int n_inputs, const char *const *inputs, int n_settings,
                     const sg_setting *settings, const char *to, sg_error *err)
{
    sg_method_ask ask = sg_method_ask_defaults();
    ask.n_inputs = n_inputs;
    ask.inputs = inputs;
    ask.n_settings = n_settings;
    ask.settings = settings;
    ask.out = to;
    return sg_method_do(out, sg_method_find("steer", action), &ask, err);
}

static void fitted_edits_raise_what_they_are_for_and_a_random_direction_does_not(void **state)
{
    (void)state;
    sg_result *r;
    sg_error err;
    sg_edit_list *list;
    if (!have_model()) {
        print_message("skipped: models/stories260K is not here\n");
        skip();
        return;
    }
    write_pairs("steer_method_test.jsonl");
    write_text("steer_method_test.txt");
    const sg_setting fit[] = {{"site", "blocks.3.hook_resid_post"}, {"part", "first"}};
    CHECK_OK(run(&r, "fit", 2, (const char *const[]){model, "steer_method_test.jsonl"}, 2, fit,
                 "steer_method_test.json", &err),
             &err);
    CHECK(sg_result_n_findings(r) == 1);
    const sg_finding *f = sg_result_finding(r, 0);
    CHECK(f->value > .9 && f->control_value < .8);
    sg_result_free(r);
    CHECK_OK(sg_edit_list_open(&list, "steer_method_test.json", &err), &err);
    CHECK(sg_edit_list_count(list) == 1 && !strcmp(sg_edit_list_at(list, 0)->site, "blocks.3.hook_resid_post"));
    sg_edit_list_free(list);

    const sg_setting sweep[] = {
        {"strengths", "0,2"}, {"part", "second"}, {"text", "steer_method_test.txt"}, {"rows", "4"}, {"draws", "2"}};
    CHECK_OK(run(&r, "sweep", 3, (const char *const[]){model, "steer_method_test.json", "steer_method_test.jsonl"}, 5,
                 sweep, NULL, &err),
             &err);
    const sg_result_table *t = sg_result_get_table(r, 0);
    CHECK(t->n_rows == 2 && t->n_columns == 10);
    const sg_cell *still = t->cells, *pushed = t->cells + 10;
    CHECK(still[1].number == still[2].number && still[8].number < 1e-6); /* at 0 all are the same */
    CHECK(pushed[1].number - still[1].number > .1 && pushed[1].number > pushed[2].number + .05);
    CHECK(pushed[6].number > still[6].number && pushed[8].number > .01);
    sg_result_free(r);
    remove("steer_method_test.txt");
    remove("steer_method_test.json");
    remove("steer_method_test.jsonl");
}

static void heads_are_fitted_and_baked_and_vectors_saved(void **state)
{
    (void)state;
    sg_result *r;
    sg_error err;
    sg_control_vector *cv;
    if (!have_model()) {
        print_message("skipped: models/stories260K is not here\n");
        skip();
        return;
    }
    write_pairs("steer_method_test.jsonl");
    const char *const data[] = {model, "steer_method_test.jsonl"};
    const sg_setting heads[] = {{"heads", "3"}, {"strength", "4"}};
    CHECK_OK(run(&r, "fit", 2, data, 2, heads, "steer_method_test.json", &err), &err);
    CHECK(sg_result_finding(r, 0)->value > .8 && sg_result_finding(r, 0)->control_value < .8);
    sg_result_free(r);
    const char *const edits[] = {model, "steer_method_test.json"};
    CHECK_OK(run(&r, "bake", 2, edits, 0, NULL, "steer_method_test_baked", &err), &err);
    CHECK(sg_result_finding(r, 0)->value < 1e-4 && sg_result_finding(r, 0)->control_value > .1);
    sg_result_free(r);
    sg_test_remove_all("steer_method_test_baked");
    CHECK_OK(run(&r, "fit", 2, data, 1, &(sg_setting){"kind", "pca"}, "steer_method_test.gguf", &err), &err);
    sg_result_free(r);
    CHECK_OK(sg_control_vector_open(&cv, "steer_method_test.gguf", &err), &err);
    CHECK(sg_control_vector_count(cv) == 4 &&
          sg_control_vector_layer(cv, 0) == 1); /* of five layers all but the first */
    sg_control_vector_close(cv);
    /* A whole vector is no bias behind the heads. */
    const sg_setting site = {"site", "blocks.3.hook_resid_post"};
    CHECK_OK(run(&r, "fit", 2, data, 1, &site, "steer_method_test.json", &err), &err);
    sg_result_free(r);
    CHECK_STATUS(run(&r, "bake", 2, edits, 0, NULL, "steer_method_test_baked", &err), SG_EARG);
    CHECK_TEXT(err.text, "not at blocks.{i}.attn.hook_z");
    CHECK_STATUS(run(&r, "bake", 2, edits, 0, NULL, NULL, &err), SG_EARG);
    CHECK_STATUS(run(&r, "fit", 2, data, 1, &(sg_setting){"site", "blocks.9.hook_resid_post"}, NULL, &err),
                 SG_ENOTFOUND);
    CHECK_STATUS(run(&r, "fit", 2, data, 1, &(sg_setting){"most", "1"}, NULL, &err), SG_EARG);
    CHECK_STATUS(run(&r, "sweep", 3, (const char *const[]){model, "steer_method_test.json", "steer_method_test.jsonl"},
                     1, &(sg_setting){"strengths", "a"}, NULL, &err),
                 SG_EARG);
    remove("steer_method_test.json");
    remove("steer_method_test.gguf");
    remove("steer_method_test.jsonl");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fitted_edits_raise_what_they_are_for_and_a_random_direction_does_not),
        cmocka_unit_test(heads_are_fitted_and_baked_and_vectors_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
