#include "sightglass/option.h"

#include "base/base.h"
#include "check.h"

static const sg_option options[] = {
    {"n", SG_OPTION_WHOLE, "5", 1, 100, NULL, "features"},
    {"p", SG_OPTION_REAL, "0.05", 0, 1, NULL, "p(active)"},
    {"relation", SG_OPTION_CHOICE, "independent", 0, 0, "independent|correlated", "how a group behaves"},
};

static sg_status parse(double *value, const char *name, const char *text, sg_error *err)
{
    return sg_options_parse(value, "features", 3, options, 1, &(sg_setting){name, text}, err);
}

static void defaults_hold_until_a_setting_says_otherwise(void **state)
{
    (void)state;
    double value[3];
    sg_error err;
    CHECK_OK(parse(value, "n", "20", &err), &err);
    CHECK(value[0] == 20 && value[1] == 0.05 && value[2] == 0);
    CHECK_OK(parse(value, "relation", "correlated", &err), &err);
    CHECK(value[0] == 5 && value[2] == 1);
}

static void an_unknown_option_suggests_the_nearest(void **state)
{
    (void)state;
    double value[3];
    sg_error err;
    CHECK(parse(value, "relations", "correlated", &err) == SG_EARG);
    CHECK_TEXT(err.text, "no option \"relations\"");
    CHECK_TEXT(err.text, "\"relation\"");
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const sg_setting bad[] = {{"n", "2.5"},    {"n", "0"},    {"n", "101"},
                                     {"n", "five"},   {"n", ""},     {"p", "nan"},
                                     {"p", "1.0001"}, {"p", "0.1x"}, {"relation", "correlate"}};
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        double value[3];
        sg_error err;
        CHECK(parse(value, bad[i].name, bad[i].value, &err) == SG_EARG);
        CHECK_TEXT(err.text, bad[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_until_a_setting_says_otherwise),
        cmocka_unit_test(an_unknown_option_suggests_the_nearest),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
