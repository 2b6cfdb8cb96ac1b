#include "sightglass/result.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static sg_finding good_finding(void)
{
    return (sg_finding){.id = "faithfulness",
                        .where = "blocks.2.hook_resid_post",
                        .text = "share of answers that are the model's own",
                        .value = 0.61,
                        .low = 0.55,
                        .high = 0.67,
                        .n = 212,
                        .control = "the map of another relation",
                        .control_value = 0.08,
                        .control_low = (double)NAN,
                        .control_high = (double)NAN,
                        .least = 0.5,
                        .most = (double)INFINITY,
                        .judged = true};
}

static sg_result *empty_result(void)
{
    sg_result *r;
    sg_error err;
    CHECK_OK(sg_result_new(&r, &(sg_manifest){.method = "lre", .build = "b", .backend = "cpu", .threads = 2}, &err),
             &err);
    return r;
}

/* What a writer wrote, to be freed. */
static char *written(const sg_result *r, char how, sg_status *status, sg_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    CHECK(to != NULL);
    *status = how == 'j'   ? sg_result_write_json(r, to, err)
              : how == 'h' ? sg_result_write_html(r, to, err)
                           : sg_result_write_text(r, to, false, err);
    fclose(to);
    return text;
}

static void a_number_without_its_control_is_refused_by_every_writer(void **state)
{
    (void)state;
    for (int without = 0; without < 3; without++) {
        sg_finding f = good_finding();
        if (without == 0)
            f.control = NULL;
        if (without == 1)
            f.control = "";
        if (without == 2)
            f.control_value = (double)NAN;
        sg_result *r = empty_result();
        sg_error err;
        CHECK_OK(sg_result_add(r, &f, &err), &err);
        for (const char *how = "tjh"; *how; how++) {
            sg_status status;
            char *text = written(r, *how, &status, &err);
            CHECK(status == SG_EARG);
            CHECK(strstr(err.text, "faithfulness") != NULL);
            CHECK(text[0] == 0);
            free(text);
        }
        CHECK(sg_result_save_json(r, "no-such-result.json", &err) == SG_EARG);
        CHECK(fopen("no-such-result.json", "r") == NULL);
        sg_result_free(r);
    }
}

static void a_table_that_does_not_say_its_control_is_refused(void **state)
{
    (void)state;
    sg_result *r = empty_result();
    sg_error err;
    const char *columns[] = {"site", "R2"};
    const sg_cell cells[] = {{"blocks.0", 0}, {NULL, 0.5}};
    CHECK_OK(sg_result_add_table(
                 r,
                 &(sg_result_table){
                     .id = "t", .title = "Sites", .n_columns = 2, .n_rows = 1, .columns = columns, .cells = cells},
                 &err),
             &err);
    CHECK(sg_result_check(r, &err) == SG_EARG);
    sg_result_free(r);
}

static void json_has_value_interval_control_and_verdict(void **state)
{
    (void)state;
    sg_result *r = empty_result();
    sg_error err;
    sg_status status;
    const sg_finding f = good_finding();
    const char *columns[] = {"site", "R2"};
    const sg_cell cells[] = {{"blocks.0", 0}, {NULL, 0.5}, {"rand\xE2om", 0}, {NULL, (double)NAN}};
    CHECK_OK(sg_result_add(r, &f, &err), &err);
    CHECK_OK(sg_result_add_table(r,
                                 &(sg_result_table){.id = "t",
                                                    .title = "Sites",
                                                    .n_columns = 2,
                                                    .n_rows = 2,
                                                    .columns = columns,
                                                    .cells = cells,
                                                    .control = "the last row"},
                                 &err),
             &err);
    CHECK_OK(sg_result_note(r, "%d were left out", 3), NULL);
    CHECK_OK(sg_result_add_file(r, "a.json", "the map", &err), &err);
    char *text = written(r, 'j', &status, &err);
    CHECK_OK(status, &err);
    json_t *root = json_loads(text, 0, NULL);
    const json_t *first = json_array_get(json_object_get(root, "findings"), 0);
    CHECK_NEAR(json_number_value(json_object_get(first, "value")), 0.61, 1e-7, 0);
    CHECK(json_is_true(json_object_get(first, "holds")));
    CHECK_NEAR(json_number_value(json_object_get(json_object_get(first, "control"), "value")), 0.08, 1e-7, 0);
    CHECK(json_is_null(json_array_get(json_object_get(json_object_get(first, "control"), "interval"), 0)));
    const json_t *rows = json_object_get(json_array_get(json_object_get(root, "tables"), 0), "rows");
    CHECK(json_is_null(json_array_get(json_array_get(rows, 1), 1)));
    CHECK(strcmp(json_string_value(json_array_get(json_array_get(rows, 1), 0)), "rand\\xE2om") == 0); /* no UTF-8 */
    CHECK(strcmp(json_string_value(json_array_get(json_object_get(root, "notes"), 0)), "3 were left out") == 0);
    CHECK(strcmp(json_string_value(json_object_get(json_object_get(root, "manifest"), "method")), "lre") == 0);
    json_decref(root);
    free(text);
    sg_result_free(r);
}

static void text_and_page_show_the_control_beside_the_number(void **state)
{
    (void)state;
    sg_result *r = empty_result();
    sg_error err;
    sg_finding f = good_finding();
    f.text = "share <of> answers";
    CHECK_OK(sg_result_add(r, &f, &err), &err);
    for (const char *how = "th"; *how; how++) {
        sg_status status;
        char *text = written(r, *how, &status, &err);
        CHECK_OK(status, &err);
        CHECK(strstr(text, "0.61 (0.55 to 0.67)") != NULL);
        CHECK(strstr(text, "0.08") != NULL);
        CHECK(strstr(text, "the map of another relation") != NULL);
        if (*how == 'h')
            CHECK(strstr(text, "share <of>") == NULL);
        free(text);
    }
    sg_result_free(r);
}

static void a_finding_below_what_was_asked_does_not_hold(void **state)
{
    (void)state;
    sg_finding f = good_finding();
    CHECK(sg_finding_holds(&f));
    f.value = 0.4;
    CHECK(!sg_finding_holds(&f));
    f.value = (double)NAN;
    CHECK(!sg_finding_holds(&f));
    f.judged = false;
    CHECK(sg_finding_holds(&f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_without_its_control_is_refused_by_every_writer),
        cmocka_unit_test(a_table_that_does_not_say_its_control_is_refused),
        cmocka_unit_test(json_has_value_interval_control_and_verdict),
        cmocka_unit_test(text_and_page_show_the_control_beside_the_number),
        cmocka_unit_test(a_finding_below_what_was_asked_does_not_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
