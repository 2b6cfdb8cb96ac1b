#include "base/base.h"
#include "check.h"

static void a_failure_fills_status_and_text(void **state)
{
    (void)state;
    sg_error err;
    CHECK(sg_fail(&err, SG_EFORMAT, "%s: %d of %d", "a.bin", 3, 7) == SG_EFORMAT);
    CHECK(err.status == SG_EFORMAT);
    assert_string_equal(err.text, "a.bin: 3 of 7");
    CHECK(sg_fail(NULL, SG_EIO, "nobody reads this") == SG_EIO);
}

static void a_text_may_be_wrapped_in_itself(void **state)
{
    (void)state;
    sg_error err;
    (void)sg_fail(&err, SG_EFORMAT, "inner");
    (void)sg_fail(&err, SG_EFORMAT, "outer: %s", err.text);
    assert_string_equal(err.text, "outer: inner");
}

static void a_hostile_name_stays_on_one_line(void **state)
{
    (void)state;
    sg_error err;
    (void)sg_fail(&err, SG_EFORMAT, "tensor %s", "a\nb\r\x1b[31m");
    assert_string_equal(err.text, "tensor a?b??[31m");
}

static void a_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char name[2 * SG_ERROR_TEXT + 1]; /* e with an acute accent, two bytes each */
    for (size_t i = 0; i + 1 < sizeof name; i += 2)
        memcpy(name + i, "\xc3\xa9", 2);
    name[sizeof name - 1] = '\0';
    sg_error err;
    (void)sg_fail(&err, SG_EFORMAT, "%s", name); /* 511 bytes fit: the 256th character would be halved */
    CHECK(strlen(err.text) == SG_ERROR_TEXT - 2);
    (void)sg_fail(&err, SG_EFORMAT, "x%s", name);
    CHECK(strlen(err.text) == SG_ERROR_TEXT - 1);
}

static void every_status_has_words(void **state)
{
    (void)state;
    for (int s = SG_OK; s <= SG_ECANCELLED; s++)
        CHECK(strlen(sg_status_text((sg_status)s)) > 3);
}

static void clocks_do_not_run_backwards(void **state)
{
    (void)state;
    const double then = sg_now();
    CHECK(sg_now() >= then);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_fills_status_and_text),  cmocka_unit_test(a_text_may_be_wrapped_in_itself),
        cmocka_unit_test(a_hostile_name_stays_on_one_line), cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(every_status_has_words),           cmocka_unit_test(clocks_do_not_run_backwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
