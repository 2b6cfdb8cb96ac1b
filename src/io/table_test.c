/* Tables: what quotes hold, that rows which do not fit are refused by their line, and files as they come. */
#include "sightglass/table.h"

#include <zlib.h>

#include "check.h"
#include "faults.h"

static sg_table *parse(const char *text)
{
    sg_table *t;
    sg_error err;
    CHECK_OK(sg_table_parse(&t, text, strlen(text), "it", &err), &err);
    return t;
}

static void fields_are_what_stands_between_commas(void **state)
{
    (void)state;
    sg_table *t = parse("name,latitude,is_test\nParis,48.85,True\n\nLima,-12.05,\n");
    CHECK(sg_table_n_columns(t) == 3 && sg_table_n_rows(t) == 2);
    CHECK(strcmp(sg_table_column(t, 1), "latitude") == 0 && sg_table_find(t, "is_test") == 2);
    CHECK(strcmp(sg_table_at(t, 1, 0), "Lima") == 0 && strcmp(sg_table_at(t, 1, 2), "") == 0);
    CHECK_NEAR(sg_table_number(t, 1, 1), -12.05, 0, 0);
    CHECK(isnan(sg_table_number(t, 0, 0)) && isnan(sg_table_number(t, 1, 2)));
    sg_table_free(t);
}

static void quotes_hold_commas_lines_and_quotes(void **state)
{
    (void)state;
    sg_table *t = parse("\xef\xbb\xbfname,x\r\n\"a, b\",1\r\n\"say \"\"x\"\"\",\"two\nlines\"\r\n\"\",3");
    CHECK(sg_table_n_rows(t) == 3);
    CHECK(strcmp(sg_table_column(t, 0), "name") == 0);
    CHECK(strcmp(sg_table_at(t, 0, 0), "a, b") == 0);
    CHECK(strcmp(sg_table_at(t, 1, 0), "say \"x\"") == 0);
    CHECK(strcmp(sg_table_at(t, 1, 1), "two\nlines") == 0);
    CHECK(strcmp(sg_table_at(t, 2, 0), "") == 0 && sg_table_number(t, 2, 1) == 3);
    sg_table_free(t);
    t = parse("only\n\nb\n"); /* of one column an empty line is an empty field */
    CHECK(sg_table_n_rows(t) == 2 && strcmp(sg_table_at(t, 1, 0), "b") == 0);
    sg_table_free(t);
}

static void what_is_no_table_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"", "is empty"},
        {"a,b\n1,2\n3\n", "line 3 has 1 fields, the first line 2"},
        {"a\n1,2\n", "line 2 has 2 fields"},
        {"a,b\n1,\"2\n\n", "line 2: a quote that nothing closes"},
        {"a\n\"1\"2\n", "behind a closing quote"},
    };
    sg_table *t;
    sg_error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(sg_table_parse(&t, bad[i].text, strlen(bad[i].text), "it", &err), SG_EFORMAT);
        CHECK_TEXT(err.text, bad[i].words);
        CHECK(t == NULL);
    }
    CHECK_STATUS(sg_table_parse(&t, "a\0b", 3, "it", &err), SG_EFORMAT);
    CHECK_STATUS(sg_table_open(&t, "nowhere.csv", &err), SG_ENOTFOUND);
    t = parse("latitude\n1\n");
    int at;
    CHECK_STATUS(sg_table_get(&at, t, "lattitude", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "the nearest is latitude");
    sg_table_free(t);
}

/* Every truncation is a table or is refused; none is read past its end. */
static void truncations_are_harmless(void **state)
{
    (void)state;
    static const char text[] = "name,x\r\n\"a, b\",1\r\n\"say \"\"x\"\"\",\"two\nlines\"\r\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char *copy = malloc(n + 1);
        sg_table *t;
        memcpy(copy, text, n);
        if (sg_table_parse(&t, copy, n, "it", NULL) == SG_OK)
            for (sg_dim r = 0; r < sg_table_n_rows(t); r++)
                CHECK(strlen(sg_table_at(t, r, 1)) <= n);
        sg_table_free(t);
        free(copy);
    }
}

static void a_file_may_be_compressed(void **state)
{
    (void)state;
    static const char text[] = "a,b\n1,2\n3,4\n";
    sg_table *t;
    sg_error err;
    for (int packed = 0; packed < 2; packed++) {
        const char *path = packed ? "table_test.csv.gz" : "table_test.csv";
        gzFile to = gzopen(path, packed ? "wb" : "wbT");
        CHECK(to && gzputs(to, text) > 0 && gzclose(to) == Z_OK);
        CHECK_OK(sg_table_open(&t, path, &err), &err);
        CHECK(sg_table_n_rows(t) == 2 && sg_table_number(t, 1, 1) == 4);
        sg_table_free(t);
    }
    CHECK(truncate("table_test.csv.gz", 20) == 0);
    CHECK_STATUS(sg_table_open(&t, "table_test.csv.gz", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "too early");
    unlink("table_test.csv");
    unlink("table_test.csv.gz");
}

static void memory_that_runs_out_leaves_nothing_behind(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        sg_table *t = NULL;
        sg_error err;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_table_parse(&t, "a,b\n1,2\n", 8, "it", &err);
        const bool failed = sg_faults_end();
        sg_table_free(t);
        if (!failed) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM && t == NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_what_stands_between_commas),
        cmocka_unit_test(quotes_hold_commas_lines_and_quotes),
        cmocka_unit_test(what_is_no_table_is_refused_with_its_line),
        cmocka_unit_test(truncations_are_harmless),
        cmocka_unit_test(a_file_may_be_compressed),
        cmocka_unit_test(memory_that_runs_out_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
