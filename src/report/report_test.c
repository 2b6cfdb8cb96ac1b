#include "sightglass/report.h"

#include <jansson.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"

static const uint64_t seeds[] = {0, 1, 2};
static const double d[] = {0.4, 0.39, 0.41}, linear[] = {2, 2, 2};

static sg_claim good_claim(void)
{
    return (sg_claim){.id = "pentagon",
                      .text = "Five <sparse> features share a plane & none is dropped.",
                      .source = "spec, pilot",
                      .n_seeds = 3,
                      .seeds = seeds,
                      .measured = {"D of each feature", 3, d, 0.38, 0.42},
                      .control = {"the same with a linear output", {"features represented", 3, linear, 2, 2}}};
}

static sg_report *empty_report(void)
{
    const sg_report_info info = {.study = "toy",
                                 .question = "Why?",
                                 .budget = "small",
                                 .seed = 7,
                                 .threads = 2,
                                 .seconds = 1.5,
                                 .commit = "abc",
                                 .backend = "reference",
                                 .cpu = "a processor"};
    sg_report *r;
    sg_error err;
    CHECK_OK(sg_report_new(&r, &info, &err), &err);
    return r;
}

static sg_report *report_of(sg_claim claim)
{
    sg_report *r = empty_report();
    sg_error err;
    CHECK_OK(sg_report_add_claim(r, &claim, &err), &err);
    return r;
}

/* What a writer wrote, to be freed; `status` is what it returned. */
static char *written(const sg_report *r, char how, sg_status *status, sg_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    CHECK(to != NULL);
    *status = how == 'j'   ? sg_report_write_json(r, to, err)
              : how == 'h' ? sg_report_write_html(r, to, err)
                           : sg_report_write_text(r, to, how == 'c', err);
    fclose(to);
    return text;
}

static char *well_written(const sg_report *r, char how)
{
    sg_status status;
    sg_error err;
    char *text = written(r, how, &status, &err);
    CHECK_OK(status, &err);
    return text;
}

static void nobody_writes_a_claim_without_its_control(void **state)
{
    (void)state;
    sg_claim bad[4];
    for (int i = 0; i < 4; i++)
        bad[i] = good_claim();
    bad[0].control = (sg_control){0};
    bad[1].control.text = " ";
    bad[2].control.measured.n = 0;
    bad[3].control.measured.low = -HUGE_VAL, bad[3].control.measured.high = HUGE_VAL; /* met by everything */
    for (int i = 0; i < 4; i++) {
        sg_report *r = report_of(bad[i]);
        for (const char *how = "jhtc"; *how; how++) {
            sg_error err;
            sg_status status;
            char *text = written(r, *how, &status, &err);
            CHECK(status == SG_EARG && strlen(text) == 0);
            CHECK_TEXT(err.text, "pentagon has no control");
            free(text);
        }
        char path[] = "report_test.json";
        sg_error err;
        CHECK(sg_report_save_json(r, path, &err) == SG_EARG && access(path, F_OK) != 0);
        sg_report_free(r);
    }
}

static void a_claim_wants_source_numbers_and_seeds(void **state)
{
    (void)state;
    sg_claim bad[4];
    for (int i = 0; i < 4; i++)
        bad[i] = good_claim();
    bad[0].source = NULL;
    bad[1].measured.n = 0;
    bad[2].n_seeds = 0;
    bad[3].measured.low = 1, bad[3].measured.high = 0;
    for (int i = 0; i < 4; i++) {
        sg_report *r = report_of(bad[i]);
        CHECK_STATUS(sg_report_check(r, NULL), SG_EARG);
        sg_report_free(r);
    }
}

static void a_verdict_follows_from_numbers_and_criterion(void **state)
{
    (void)state;
    sg_claim c = good_claim();
    CHECK(sg_claim_holds(&c));
    c.measured.high = 0.405; /* one of three is outside, though the mean is not */
    CHECK(!sg_claim_holds(&c));
    const double bad[] = {0.4, (double)NAN, 0.4};
    c = good_claim();
    c.measured.values = bad;
    CHECK(!sg_claim_holds(&c));
    c = good_claim();
    c.control.measured.low = c.control.measured.high = 3;
    CHECK(sg_measure_holds(&c.measured) && !sg_claim_holds(&c));

    sg_report *r = report_of(c);
    CHECK(!sg_report_holds(r));
    sg_report_free(r);
    r = empty_report();
    CHECK(!sg_report_holds(r)); /* nothing was shown */
    sg_report_free(r);
}

static void a_criterion_is_said_in_words(void **state)
{
    (void)state;
    char buf[SG_CRITERION_TEXT];
    assert_string_equal(sg_measure_criterion(&(sg_measure){.low = 2, .high = 2}, buf), "exactly 2");
    assert_string_equal(sg_measure_criterion(&(sg_measure){.low = 0.95, .high = HUGE_VAL}, buf), "at least 0.95");
    assert_string_equal(sg_measure_criterion(&(sg_measure){.low = -HUGE_VAL, .high = 2.00001}, buf), "at most 2.00001");
    assert_string_equal(sg_measure_criterion(&(sg_measure){.low = 0.38, .high = 0.42}, buf), "between 0.38 and 0.42");
}

static void add_figures(sg_report *r)
{
    static const double x[] = {0.01, 0.1, 1}, y[] = {5, 4, 2}, z[] = {2, 2, 2};
    static const double ax[] = {1, -0.5, -0.5}, ay[] = {0, 0.866, -0.866};
    static const double gram[] = {1, -0.5, -0.5, 1};
    const sg_series lines[] = {{"ReLU", 3, x, y}, {"linear", 3, x, z}};
    const sg_series arrows[] = {{"W", 3, ax, ay}};
    const sg_panel panel[] = {{.n_series = 2, .series = lines},
                              {.title = "p = .1", .n_series = 1, .series = arrows},
                              {.n_rows = 2, .n_columns = 2, .cells = gram}};
    sg_error err;
    CHECK_OK(sg_report_add_figure(r,
                                  &(sg_figure){.id = "count",
                                               .title = "Features kept",
                                               .kind = SG_FIGURE_LINES,
                                               .x = {"p(active)", NULL, true, 0, 0},
                                               .y = {"features", NULL, false, 0, 6},
                                               .n_panels = 1,
                                               .panels = &panel[0]},
                                  &err),
             &err);
    CHECK_OK(sg_report_add_figure(
                 r,
                 &(sg_figure){
                     .id = "w", .title = "Columns of W", .kind = SG_FIGURE_ARROWS, .n_panels = 1, .panels = &panel[1]},
                 &err),
             &err);
    CHECK_OK(sg_report_add_figure(r,
                                  &(sg_figure){.id = "gram",
                                               .title = "Gram matrix",
                                               .kind = SG_FIGURE_MATRIX,
                                               .x = {.label = "feature"},
                                               .y = {.label = "feature"},
                                               .value = {.label = "W_i . W_j"},
                                               .n_panels = 1,
                                               .panels = &panel[2]},
                                  &err),
             &err);
}

static void json_has_the_fields_that_the_design_fixes(void **state)
{
    (void)state;
    sg_claim c = good_claim();
    const sg_paper_value paper = {0.4, SG_STANDING_FROM_MEMORY};
    c.paper = &paper;
    sg_report *r = report_of(c);
    add_figures(r);
    char *text = well_written(r, 'j');
    json_error_t where;
    json_t *root = json_loads(text, 0, &where);
    CHECK(root != NULL);
    static const char *const fields[] = {"study",   "budget", "commit",  "seed",   "backend",
                                         "threads", "cpu",    "seconds", "claims", "figures"};
    for (size_t i = 0; i < SG_COUNT_OF(fields); i++)
        CHECK(json_object_get(root, fields[i]) != NULL);
    static const char *const of_claim[] = {"id",       "text",  "source",    "paper_value", "value",
                                           "interval", "seeds", "criterion", "holds",       "control"};
    const json_t *claim = json_array_get(json_object_get(root, "claims"), 0);
    for (size_t i = 0; i < SG_COUNT_OF(of_claim); i++)
        CHECK(json_object_get(claim, of_claim[i]) != NULL);
    CHECK(json_object_size(claim) == SG_COUNT_OF(of_claim));
    CHECK_NEAR(json_number_value(json_object_get(claim, "value")), 0.4, 1e-9, 0);
    CHECK_NEAR(json_number_value(json_array_get(json_object_get(claim, "interval"), 1)), 0.41, 1e-9, 0);
    CHECK(json_is_true(json_object_get(claim, "holds")));
    CHECK(json_array_size(json_object_get(claim, "seeds")) == 3);
    CHECK_TEXT(json_string_value(json_object_get(claim, "criterion")), "between 0.38 and 0.42");
    const json_t *control = json_object_get(claim, "control");
    CHECK(json_object_size(control) == 4 && json_is_true(json_object_get(control, "holds")));
    CHECK_TEXT(json_string_value(json_object_get(json_object_get(claim, "paper_value"), "standing")), "from memory");
    const json_t *gram = json_array_get(json_object_get(root, "figures"), 2);
    const json_t *cells = json_object_get(json_array_get(json_object_get(gram, "panels"), 0), "matrix");
    CHECK_NEAR(json_number_value(json_array_get(json_array_get(cells, 1), 0)), -0.5, 1e-9, 0);
    json_decref(root);
    free(text);
    sg_report_free(r);
}

/* A number from memory is kept in the record, but no reader is shown it as the paper's. */
static void only_numbers_of_good_standing_are_shown_as_the_papers(void **state)
{
    (void)state;
    for (int standing = SG_STANDING_CHECKED; standing <= SG_STANDING_DERIVED; standing++) {
        sg_claim c = good_claim();
        const sg_paper_value paper = {0.4321, (sg_standing)standing};
        c.paper = &paper;
        sg_report *r = report_of(c);
        for (const char *how = "ht"; *how; how++) {
            char *text = well_written(r, *how);
            CHECK((strstr(text, "the paper: 0.4321") != NULL) == (standing <= SG_STANDING_ABSTRACT));
            free(text);
        }
        sg_report_free(r);
    }
}

static void the_page_asks_nothing_of_any_machine(void **state)
{
    (void)state;
    sg_report *r = report_of(good_claim());
    add_figures(r);
    char *text = well_written(r, 'h');
    static const char *const outside[] = {"http://", "https://", "<script", "@import",
                                          "url(",    "src=",     "<link",   "<iframe"};
    for (size_t i = 0; i < SG_COUNT_OF(outside); i++)
        CHECK(strstr(text, outside[i]) == NULL);
    CHECK_TEXT(text, "Five &lt;sparse&gt; features share a plane &amp; none is dropped.");
    CHECK_TEXT(text, "prefers-color-scheme:dark");
    CHECK_TEXT(text, "role=\"img\"");
    CHECK_TEXT(text, "1 of 1 claims hold");
    CHECK(strstr(text, "nan") == NULL && strstr(text, "inf") == NULL);
    free(text);
    sg_report_free(r);
}

static void a_failure_is_shown_as_one(void **state)
{
    (void)state;
    sg_claim c = good_claim();
    c.measured.high = 0.405;
    sg_report *r = report_of(c);
    char *text = well_written(r, 't');
    CHECK_TEXT(text, "✗ pentagon  (does not hold)");
    CHECK_TEXT(text, "0 of 1 claims hold");
    free(text);
    text = well_written(r, 'h');
    CHECK_TEXT(text, "✗ does not hold");
    free(text);
    sg_report_free(r);
}

/* No line of a terminal report is longer than 80 characters, and no escape is written unless asked for. */
static void a_terminal_of_80_columns_is_enough(void **state)
{
    (void)state;
    sg_claim c = good_claim();
    c.text =
        "A claim whose text is long enough that it has to be broken into several lines, none of which may be wider "
        "than eighty characters, not even – with – characters – of – several – bytes – each – in – it.";
    sg_report *r = report_of(c);
    add_figures(r);
    char *text = well_written(r, 't');
    CHECK(strchr(text, '\x1b') == NULL);
    int width = 0;
    for (const char *s = text; *s; s++) {
        width = *s == '\n' ? 0 : width + ((*s & 0xC0) != 0x80);
        CHECK(width <= 80);
    }
    free(text);
    text = well_written(r, 'c');
    CHECK_TEXT(text, "\x1b[32m✓\x1b[0m");
    free(text);
    sg_report_free(r);
}

static void a_picture_is_what_it_was(void **state)
{
    (void)state;
    static const double x[] = {1, 10, 100}, y[] = {0, 5, 10};
    const sg_series series = {"s", 3, x, y};
    const sg_panel panel = {.n_series = 1, .series = &series};
    const sg_figure f = {.id = "f",
                         .title = "F",
                         .kind = SG_FIGURE_POINTS,
                         .x = {"steps", "thousand", true, 0, 0},
                         .y = {.label = "height"},
                         .n_panels = 1,
                         .panels = &panel};
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    sg_error err;
    CHECK_OK(sg_figure_write_text(&f, to, false, &err), &err);
    fclose(to);
    static const char want[] = "\n"
                               "     10┤                                                                      ●\n"
                               "       │\n"
                               "       │\n"
                               "      8┤\n"
                               "       │\n"
                               "       │\n"
                               "      6┤\n"
                               "       │                                   ●\n"
                               "       │\n"
                               "      4┤\n"
                               "       │\n"
                               "       │\n"
                               "      2┤\n"
                               "       │\n"
                               "       │\n"
                               "      0┤●\n"
                               "       └┬──────────┬────────────┬──────────┬──────────┬────────────┬──────────┬\n"
                               "        1          2            5         10         20           50        100\n"
                               "                                   steps (thousand)\n"
                               "  up: height\n";
    if (strcmp(text, want) != 0)
        print_error("the picture is now\n%s\n", text);
    CHECK(strcmp(text, want) == 0);
    free(text);
}

static sg_status whole_report(sg_report **r, sg_error *err)
{
    static const double x[] = {1, 2};
    static const sg_series series = {"s", 2, x, x};
    static const sg_panel panel = {.title = "p", .n_series = 1, .series = &series};
    static const sg_figure figure = {.id = "f", .title = "F", .kind = SG_FIGURE_LINES, .n_panels = 1, .panels = &panel};
    const sg_report_info info = {.study = "toy", .question = "Why?", .cpu = "c"};
    const sg_claim claim = good_claim();
    SG_TRY(sg_report_new(r, &info, err));
    SG_TRY(sg_report_add_claim(*r, &claim, err));
    return sg_report_add_figure(*r, &figure, err);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    sg_report *r;
    sg_error err;
    for (long n = 0;; n++) {
        r = NULL;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = whole_report(&r, &err);
        if (!sg_faults_end()) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM);
        sg_report_free(r);
    }
    sg_report_free(r);
}

static void the_processor_has_a_name(void **state)
{
    (void)state;
    char name[SG_CPU_TEXT];
    CHECK(strlen(sg_cpu_name(name)) > 0 && !strchr(name, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_writes_a_claim_without_its_control),
        cmocka_unit_test(a_claim_wants_source_numbers_and_seeds),
        cmocka_unit_test(a_verdict_follows_from_numbers_and_criterion),
        cmocka_unit_test(a_criterion_is_said_in_words),
        cmocka_unit_test(json_has_the_fields_that_the_design_fixes),
        cmocka_unit_test(only_numbers_of_good_standing_are_shown_as_the_papers),
        cmocka_unit_test(the_page_asks_nothing_of_any_machine),
        cmocka_unit_test(a_failure_is_shown_as_one),
        cmocka_unit_test(a_terminal_of_80_columns_is_enough),
        cmocka_unit_test(a_picture_is_what_it_was),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(the_processor_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
