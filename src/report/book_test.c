#include "sightglass/report_book.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define CLAIM                                                                                                          \
    "{\"id\": \"a\", \"text\": \"t <b>\", \"source\": \"s\", \"paper_value\": {\"value\": 0.5, \"standing\": "         \
    "\"stated in the abstract\"}, \"value\": 1.5, \"interval\": [1, 2], \"seeds\": [0,1,2], \"criterion\": \"x: at "   \
    "least 1\", \"holds\": true, \"control\": {\"text\": \"random\", \"value\": 0, \"criterion\": \"x: at most 1\", "  \
    "\"holds\": true}}"

static sg_status add(sg_report_book *b, const char *json, sg_error *err)
{
    return sg_report_book_add(b, "r.json", json, strlen(json), err);
}

static char *page(const sg_report_book *b)
{
    char *text = NULL;
    size_t bytes = 0;
    sg_error err;
    FILE *to = open_memstream(&text, &bytes);
    CHECK(to != NULL);
    CHECK_OK(sg_report_book_write_html(b, to, &err), &err);
    fclose(to);
    return text;
}

static void what_a_report_writes_a_book_reads(void **state)
{
    (void)state;
    static const double values[] = {1, 2, 3}, control[] = {0, 0, 0}, x[] = {1, 10}, y[] = {0.5, (double)NAN},
                        cells[] = {1, 2, 3, 4};
    static const uint64_t seeds[] = {0, 1, 2};
    const sg_series series = {"loss", 2, x, y};
    const sg_panel lines = {.n_series = 1, .series = &series}, matrix = {.n_rows = 2, .n_columns = 2, .cells = cells};
    sg_report *r;
    sg_report_book *b;
    sg_error err;
    CHECK_OK(sg_report_new(&r, &(sg_report_info){.study = "toy", .question = "Why?", .budget = "small"}, &err), &err);
    CHECK_OK(sg_report_add_claim(r,
                                 &(sg_claim){.id = "c",
                                             .text = "It rises.",
                                             .source = "here",
                                             .n_seeds = 3,
                                             .seeds = seeds,
                                             .measured = {"rise", 3, values, 1, (double)INFINITY},
                                             .control = {"nothing", {"rise", 3, control, 1, 2}}},
                                 &err),
             &err);
    CHECK_OK(sg_report_add_figure(r,
                                  &(sg_figure){.id = "f",
                                               .title = "Loss",
                                               .kind = SG_FIGURE_LINES,
                                               .x = {.label = "step", .log = true},
                                               .y = {.label = "loss"},
                                               .n_panels = 1,
                                               .panels = &lines},
                                  &err),
             &err);
    CHECK_OK(sg_report_add_figure(r,
                                  &(sg_figure){.id = "m",
                                               .title = "Cells",
                                               .kind = SG_FIGURE_MATRIX,
                                               .x = {.label = "column"},
                                               .y = {.label = "row"},
                                               .value = {.label = "value"},
                                               .n_panels = 1,
                                               .panels = &matrix},
                                  &err),
             &err);
    char *json = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&json, &bytes);
    CHECK_OK(sg_report_write_json(r, to, &err), &err);
    fclose(to);
    CHECK_OK(sg_report_book_new(&b, &err), &err);
    CHECK_OK(sg_report_book_add(b, "toy.json", json, bytes, &err), &err);
    CHECK(sg_report_book_count(b) == 1);
    CHECK(strcmp(sg_report_book_study(b, 0), "toy") == 0);
    CHECK(sg_report_book_n_claims(b, 0) == 1);
    CHECK(strcmp(sg_report_book_claim(b, 0, 0), "c") == 0);
    CHECK(!sg_report_book_holds(b, 0, 0)); /* the claim holds, its control does not */
    char *html = page(b);
    CHECK(strstr(html, "0 of 1 claims of 1 study hold") != NULL);
    CHECK(strstr(html, "id=\"toy-f\"") != NULL);
    CHECK(strstr(html, "its control does not hold") != NULL);
    free(html);
    free(json);
    sg_report_book_free(b);
    sg_report_free(r);
}

static void texts_are_made_safe_and_the_papers_number_is_shown_by_its_standing(void **state)
{
    (void)state;
    sg_report_book *b;
    sg_error err;
    CHECK_OK(sg_report_book_new(&b, &err), &err);
    CHECK_OK(add(b, "{\"study\": \"s\", \"question\": \"<q>\", \"claims\": [" CLAIM "]}", &err), &err);
    char *html = page(b);
    CHECK(strstr(html, "<q>") == NULL);
    CHECK(strstr(html, "t &lt;b&gt;") != NULL);
    CHECK(strstr(html, "the paper: 0.5 (stated in the abstract)") != NULL);
    CHECK(strstr(html, "1.5</strong> (1 to 2)") != NULL);
    free(html);
    sg_report_book_free(b);
}

static void what_is_no_report_is_refused_and_leaves_the_book_as_it_was(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{\"study\": \"s\"}",
        "{\"study\": \"s\", \"question\": \"q\", \"claims\": {}}",
        "{\"study\": \"s\", \"question\": \"q\", \"claims\": [{\"id\": \"a\"}]}",
        "{\"study\": \"s\", \"question\": \"q\", \"claims\": [], \"figures\": [{}]}",
        "{\"study\": \"s\", \"question\": \"q\", \"claims\": [], \"figures\": [{\"id\": \"f\", \"title\": \"t\", "
        "\"kind\": \"lines\", \"panels\": [{\"series\": [{\"name\": \"n\", \"x\": [1], \"y\": []}]}]}]}",
        "{\"study\": \"s\", \"question\": \"q\", \"claims\": [], \"figures\": [{\"id\": \"f\", \"title\": \"t\", "
        "\"kind\": \"matrix\", \"panels\": [{\"matrix\": [[1], [1, 2]]}]}]}",
    };
    sg_report_book *b;
    sg_error err;
    CHECK_OK(sg_report_book_new(&b, &err), &err);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(add(b, bad[i], &err) == SG_EFORMAT);
    CHECK(
        add(b,
            "{\"study\": \"s\", \"question\": \"q\", \"claims\": [{\"id\": \"a\", \"text\": \"t\", \"holds\": true}]}",
            &err) == SG_EARG);
    CHECK(strstr(err.text, "no control") != NULL);
    CHECK(sg_report_book_count(b) == 0);
    CHECK(sg_report_book_read(b, "no-such-report.json", &err) == SG_ENOTFOUND);
    sg_report_book_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_report_writes_a_book_reads),
        cmocka_unit_test(texts_are_made_safe_and_the_papers_number_is_shown_by_its_standing),
        cmocka_unit_test(what_is_no_report_is_refused_and_leaves_the_book_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
