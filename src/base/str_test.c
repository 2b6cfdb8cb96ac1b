#include "base/base.h"
#include "check.h"
#include "faults.h"

static void pieces_join(void **state)
{
    (void)state;
    sg_str s = {0};
    CHECK(s.text == NULL);
    sg_str_puts(&s, "");
    assert_string_equal(s.text, "");
    sg_str_puts(&s, "blocks.");
    sg_str_printf(&s, "%d.%s", 3, "hook_z");
    sg_str_append(&s, "!!!", 1);
    assert_string_equal(s.text, "blocks.3.hook_z!");
    CHECK(s.bytes == strlen(s.text) && !s.failed);
    sg_str_free(&s);
    CHECK(s.text == NULL && s.bytes == 0);
}

static void growth_keeps_what_was_there(void **state)
{
    (void)state;
    sg_str s = {0};
    for (int i = 0; i < 10000; i++)
        sg_str_printf(&s, "%04d", i);
    CHECK(s.bytes == 40000 && strlen(s.text) == 40000);
    CHECK(memcmp(s.text + 4 * 1234, "1234", 4) == 0);
    sg_str_free(&s);
}

static void a_failure_stays_and_stops_appending(void **state)
{
    (void)state;
    sg_str s = {0};
    sg_str_puts(&s, "whole");
    char large[1000] = {0};
    memset(large, 'x', sizeof large - 1);
    sg_faults_begin(0, SG_FAULT_ONCE);
    sg_str_puts(&s, large);
    CHECK(sg_faults_end());
    sg_str_puts(&s, "not this");
    CHECK(s.failed);
    assert_string_equal(s.text, "whole");
    sg_str_free(&s);
    sg_str_append(&s, "x", SIZE_MAX - 1);
    CHECK(s.failed);
    sg_str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_join),
        cmocka_unit_test(growth_keeps_what_was_there),
        cmocka_unit_test(a_failure_stays_and_stops_appending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
