#include "sightglass/method.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* A method that tells what it was asked, and whose control can be left out. */
static sg_status echo_run(sg_method_run *r, sg_error *err)
{
    double *list;
    int n;
    SG_TRY(sg_method_numbers(r, "list", &list, &n, err));
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += list[i];
    free(list);
    if (sg_method_cancel(r) && *sg_method_cancel(r))
        return sg_fail(err, SG_ECANCELLED, "stopped");
    sg_method_progress(r, 0.5, "half");
    sg_method_on_progress(r, 0.75);
    SG_TRY(sg_result_note(sg_method_result(r), "%s of %d, %s", sg_method_input_at(r, 0), sg_method_n_inputs(r),
                          sg_method_text(r, "name") ? sg_method_text(r, "name") : "nobody"));
    return sg_result_add(sg_method_result(r),
                         &(sg_finding){.id = "sum",
                                       .text = "of the list",
                                       .value = sum * sg_method_number(r, "k"),
                                       .low = (double)NAN,
                                       .high = (double)NAN,
                                       .control = sg_method_flag(r, "bare") ? NULL : "nothing",
                                       .control_value = 0},
                         err);
}

static const sg_method_input inputs[] = {{"TEXT", SG_METHOD_TEXT, 1, 1, "what is said"},
                                         {"MORE", SG_METHOD_TEXT, 0, 2, "what else"}};
static const sg_option options[] = {{"k", SG_OPTION_WHOLE, "2", 1, 10, NULL, "times"},
                                    {"list", SG_OPTION_TEXT, "1,2.5", 0, 0, NULL, "numbers"},
                                    {"name", SG_OPTION_TEXT, "", 0, 0, NULL, "of somebody"},
                                    {"bare", SG_OPTION_FLAG, "no", 0, 0, NULL, "without control"}};
static const sg_method echo = {.name = "echo",
                               .help = "tells what it was asked",
                               .about = "For this test.",
                               .n_inputs = 2,
                               .inputs = inputs,
                               .n_options = 4,
                               .options = options,
                               .run = echo_run};

static sg_status asked(sg_result **out, const char *const *in, int n_in, int n, const sg_setting *settings,
                       sg_error *err)
{
    sg_method_ask ask = sg_method_ask_defaults();
    ask.inputs = in;
    ask.n_inputs = n_in;
    ask.n_settings = n;
    ask.settings = settings;
    ask.seed = 7;
    return sg_method_do(out, &echo, &ask, err);
}

static void a_method_gets_its_options_by_name(void **state)
{
    (void)state;
    sg_result *r;
    sg_error err;
    const char *in[] = {"hello"};
    CHECK_OK(asked(&r, in, 1, 2, (sg_setting[]){{"k", "3"}, {"list", "4"}}, &err), &err);
    CHECK_NEAR(sg_result_finding(r, 0)->value, 12, 0, 0);
    CHECK(sg_result_about(r)->seed == 7);
    CHECK(strcmp(sg_result_about(r)->options, "k 3, list 4, bare no") == 0);
    CHECK(sg_result_about(r)->seconds >= 0);
    sg_result_free(r);
    CHECK_OK(asked(&r, in, 1, 0, NULL, &err), &err);
    CHECK_NEAR(sg_result_finding(r, 0)->value, 7, 0, 0);
    sg_result_free(r);
}

static void what_a_method_has_not_is_said_by_name(void **state)
{
    (void)state;
    sg_result *r;
    sg_error err;
    const char *in[] = {"a", "b", "c", "d"};
    CHECK(asked(&r, in, 0, 0, NULL, &err) == SG_EARG);
    CHECK(strstr(err.text, "TEXT") != NULL);
    CHECK(asked(&r, in, 4, 0, NULL, &err) == SG_EARG);
    CHECK(strstr(err.text, "\"d\"") != NULL);
    CHECK(asked(&r, in, 1, 1, &(sg_setting){"lst", "1"}, &err) == SG_EARG);
    CHECK(strstr(err.text, "\"list\"") != NULL);
    CHECK(asked(&r, in, 1, 1, &(sg_setting){"bare", "perhaps"}, &err) == SG_EARG);
    for (const char *const *bad = (const char *const[]){"1,", ",", "1,x", "1 2", "inf", "nan", NULL}; *bad; bad++)
        CHECK(asked(&r, in, 1, 1, &(sg_setting){"list", *bad}, &err) == SG_EARG);
    CHECK(r == NULL);
}

static void a_result_without_its_control_does_not_come_back(void **state)
{
    (void)state;
    sg_result *r;
    sg_error err;
    const char *in[] = {"a"};
    CHECK(asked(&r, in, 1, 1, &(sg_setting){"bare", "yes"}, &err) == SG_EARG);
    CHECK(strstr(err.text, "no control") != NULL);
    CHECK(r == NULL);
}

/* Whatever methods.def lists is whole: texts, defaults that its own ranges allow, no name twice. */
static void every_method_of_the_table_is_whole(void **state)
{
    (void)state;
    for (int i = 0; i < sg_method_count(); i++) {
        const sg_method *m = sg_method_at(i);
        double value[64];
        sg_error err;
        CHECK(m->n_options < 64);
        CHECK(m->name && m->help && m->about && strlen(m->about) > 40 && m->run);
        CHECK(m->help[strlen(m->help) - 1] != '.');
        CHECK_OK(sg_options_parse(value, m->name, m->n_options, m->options, 0, NULL, &err), &err);
        for (int k = 0; k < m->n_options; k++) {
            const char *name = m->options[k].name;
            CHECK(m->options[k].help && *m->options[k].help);
            CHECK(strcmp(name, "seed") != 0 && strcmp(name, "out") != 0 && strcmp(name, "json") != 0 &&
                  strcmp(name, "html") != 0 && strcmp(name, "threads") != 0);
            for (int l = 0; l < k; l++)
                CHECK(strcmp(name, m->options[l].name) != 0);
        }
        for (int k = 0; k + 1 < m->n_inputs; k++)
            CHECK(m->inputs[k].least == m->inputs[k].most);
        CHECK(sg_method_find(m->name, m->action) == m);
        if (i && strcmp(sg_method_at(i - 1)->name, m->name) != 0)
            for (int l = 0; l < i; l++)
                CHECK(strcmp(sg_method_at(l)->name, m->name) != 0);
    }
}

/* docs/methods/README.md tells of every one, and where it links to there is a page. */
static void every_method_has_its_page(void **state)
{
    (void)state;
    static char index[1 << 16];
    FILE *f = fopen(SG_SOURCE_DIR "/docs/methods/README.md", "r");
    CHECK(f != NULL);
    index[fread(index, 1, sizeof index - 1, f)] = '\0';
    fclose(f);
    for (int i = 0; i < sg_method_count(); i++) {
        char name[80];
        snprintf(name, sizeof name, "`%s", sg_method_at(i)->name);
        CHECK_TEXT(index, name);
    }
    for (const char *at = index; (at = strstr(at, "](")) != NULL; at++) {
        char path[300];
        const int n = (int)strcspn(at + 2, ")");
        snprintf(path, sizeof path, SG_SOURCE_DIR "/docs/methods/%.*s", n, at + 2);
        f = fopen(path, "r");
        if (!f)
            print_error("%s is not there\n", path);
        CHECK(f != NULL);
        fclose(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_method_gets_its_options_by_name),
        cmocka_unit_test(what_a_method_has_not_is_said_by_name),
        cmocka_unit_test(a_result_without_its_control_does_not_come_back),
        cmocka_unit_test(every_method_of_the_table_is_whole),
        cmocka_unit_test(every_method_has_its_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
