/* Types: notations read and refused, values let through and refused with the path of what is wrong. */
#include "check.h"
#include "faults.h"
#include "serve/json.h"
#include "serve/types.h"

static serve_types *all_types(void)
{
    serve_types *t;
    sg_error err;
    CHECK_OK(serve_types_new(&t, &err), &err);
    return t;
}

/* Holds a value against a type; returns "" where it fits, else "path|code|text". */
static const char *verdict(const char *type, const char *value)
{
    static char out[1200];
    serve_types *t = all_types();
    const serve_type *of;
    serve_misfit misfit;
    sg_error err;
    json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);

    CHECK(json != NULL);
    CHECK_OK(serve_type_parse(&of, t, "test", type, &err), &err);
    if (serve_type_check(of, t, json, &misfit, &err) == SG_OK)
        out[0] = '\0';
    else
        snprintf(out, sizeof out, "%s|%s|%s", misfit.path, misfit.code, err.text);
    json_decref(json);
    serve_types_free(t);
    return out;
}

static void values_of_every_kind_fit_and_do_not(void **state)
{
    static const char *const fits[][2] = {{"string", "\"a\""},
                                          {"number", "1.5"},
                                          {"number", "2"},
                                          {"integer", "-3"},
                                          {"boolean", "false"},
                                          {"null", "null"},
                                          {"unknown", "[{}]"},
                                          {"'word'", "\"word\""},
                                          {"12", "12"},
                                          {"string[][]", "[[\"a\"],[]]"},
                                          {"(string | null)[]", "[\"a\",null]"},
                                          {"{}", "{}"},
                                          {"{a: number, b?: string}", "{\"a\":1}"},
                                          {"{a: number; b?: string;}", "{\"a\":1,\"b\":\"\"}"},
                                          {"{a: number, [key: string]: unknown}", "{\"a\":1,\"z\":[]}"},
                                          {"Record<string, integer[]>", "{\"x\":[1],\"y\":[]}"},
                                          {"{'a b': /* a comment */ number}", "{\"a b\":1}"},
                                          {"Health | null", "null"}};
    static const char *const not [][3] = {
        {"string", "1", "|wrong_type|wanted a string, found a number"},
        {"integer", "1.5", "|wrong_type|wanted a whole number, found 1.5"},
        {"integer", "true", "|wrong_type|wanted a whole number, found a boolean"},
        {"'a' | 'b'", "\"c\"", "|wrong_type|wanted \"a\" or \"b\", found \"c\""},
        {"string | number | null", "[]", "|wrong_type|wanted a string, a number or null, found a list"},
        {"number[]", "[1, 2, \"x\"]", "[2]|wrong_type|[2]: wanted a number, found a string"},
        {"{edits: {strength?: number}[]}", "{\"edits\":[{},{},{\"strength\":\"x\"}]}",
         "edits[2].strength|wrong_type|edits[2].strength: wanted a number, found a string"},
        {"{a: {b: string}}", "{\"a\":{}}", "a.b|missing_field|a.b: missing; wanted a string"},
        {"{strength: number}", "{\"strenght\":1}",
         "strenght|unknown_field|strenght: there is no such field; the nearest is strength"},
        {"{}", "{\"x\":1}", "x|unknown_field|x: there is no such field, and no other"},
        {"Record<string, number>", "{\"a\":1,\"b\":\"c\"}", "b|wrong_type|b: wanted a number, found a string"},
        {"{a: string} | {a: {b: number}}", "{\"a\":{\"b\":\"c\"}}",
         "a.b|wrong_type|a.b: wanted a number, found a string"},
    };
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(fits); i++)
        assert_string_equal(verdict(fits[i][0], fits[i][1]), "");
    for (size_t i = 0; i < SG_COUNT_OF(not ); i++)
        assert_string_equal(verdict(not [i][0], not [i][1]), not [i][2]);
}

static void a_notation_that_makes_no_sense_is_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "{a}",
                                        "{a:}",
                                        "string[",
                                        "'open",
                                        "{a: string",
                                        "(string",
                                        "Nowhere",
                                        "a b",
                                        "|",
                                        "Record<string>",
                                        "{a: string b: string}",
                                        "[number]",
                                        "number | ",
                                        "Record<number, string>"};
    serve_types *t = all_types();
    const serve_type *of;
    sg_error err;
    char deep[200] = "";
    (void)state;

    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        CHECK_STATUS(serve_type_parse(&of, t, "T", wrong[i], &err), SG_EARG);
        CHECK_TEXT(err.text, "type T: ");
    }
    for (int i = 0; i < 60; i++)
        strcat(deep, "(");
    CHECK_STATUS(serve_type_parse(&of, t, "T", deep, &err), SG_EARG);
    serve_types_free(t);
}

static void every_type_of_the_table_is_found(void **state)
{
    serve_types *t = all_types();
    (void)state;
    CHECK(serve_types_count(t) > 5);
    for (int i = 0; i < serve_types_count(t); i++) {
        CHECK(serve_types_find(t, serve_types_name(t, i)) == serve_types_at(t, i));
        CHECK(strlen(serve_types_what(t, i)) > 0);
    }
    CHECK(serve_types_find(t, "Nowhere") == NULL);
    serve_types_free(t);
}

static void a_querys_text_becomes_what_its_type_asks_for(void **state)
{
    static const char *const cases[][3] = {{"number", "1.5", "1.5"},       {"integer", "12", "12"},
                                           {"number", "0x10", "\"0x10\""}, {"number", "inf", "\"inf\""},
                                           {"boolean", "true", "true"},    {"boolean", "0", "false"},
                                           {"string", "12", "\"12\""},     {"number | 'all'", "all", "\"all\""},
                                           {"number | 'all'", "7", "7"},   {"number", "", "\"\""},
                                           {"integer", "1e3", "1000"},     {"number", " 1", "\" 1\""}};
    serve_types *t = all_types();
    sg_error err;
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        const serve_type *of;
        CHECK_OK(serve_type_parse(&of, t, "test", cases[i][0], &err), &err);
        json_t *value = serve_type_read_text(of, t, cases[i][1]);
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        assert_string_equal(text, cases[i][2]);
        free(text);
        json_decref(value);
    }
    serve_types_free(t);
}

static void json_is_bounded_before_it_is_read(void **state)
{
    char deep[300];
    json_t *out;
    sg_error err;
    (void)state;

    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    CHECK_STATUS(serve_json_read(&out, deep, 130, 64, 1000, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "nested deeper than 64 at byte 64");
    CHECK_OK(serve_json_read(&out, deep + 1, 128, 64, 1000, &err), &err);
    json_decref(out);
    /* What stands in a string is not looked at. */
    CHECK_OK(serve_json_read(&out, "\"[[[[\\\"[[[[\"", 12, 3, 10, &err), &err);
    json_decref(out);
    CHECK_STATUS(serve_json_read(&out, "[1,2,3,4,5,6,7,8,9]", 19, 3, 8, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "too many values");
    CHECK_STATUS(serve_json_read(&out, "{\"a\":1,\"a\":2}", 13, 3, 100, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "duplicate");
    CHECK_STATUS(serve_json_read(&out, "{\"a\":", 5, 3, 100, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "line 1");
    CHECK_STATUS(serve_json_read(&out, "\"\xff\"", 3, 3, 100, &err), SG_EFORMAT);
}

static void memory_that_runs_out_is_told(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        serve_types *t = NULL;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = serve_types_new(&t, NULL);
        const bool fired = sg_faults_end();
        if (status == SG_OK)
            serve_types_free(t);
        if (!fired) {
            CHECK_STATUS(status, SG_OK);
            CHECK(n > 3);
            break;
        }
        CHECK_STATUS(status, SG_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind_fit_and_do_not),
        cmocka_unit_test(a_notation_that_makes_no_sense_is_refused),
        cmocka_unit_test(every_type_of_the_table_is_found),
        cmocka_unit_test(a_querys_text_becomes_what_its_type_asks_for),
        cmocka_unit_test(json_is_bounded_before_it_is_read),
        cmocka_unit_test(memory_that_runs_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
