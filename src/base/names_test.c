#include "base/base.h"
#include "check.h"

static void distances_count_edits(void **state)
{
    (void)state;
    CHECK(sg_edit_distance("", "") == 0);
    CHECK(sg_edit_distance("", "abc") == 3);
    CHECK(sg_edit_distance("abc", "") == 3);
    CHECK(sg_edit_distance("hook_pre", "hook_post") == 3);
    CHECK(sg_edit_distance("kitten", "sitting") == 3); /* the textbook's example */
    CHECK(sg_edit_distance("blocks.1.hook_z", "blocks.10.hook_z") == 1);
}

static void long_texts_are_compared_by_their_beginnings(void **state)
{
    (void)state;
    char a[1000], b[1000];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    a[999] = b[999] = '\0';
    CHECK(sg_edit_distance(a, b) == 255);
    b[255] = '\0';
    memset(b, 'a', 255);
    CHECK(sg_edit_distance(a, b) == 0);
}

static void patterns_match(void **state)
{
    (void)state;
    CHECK(sg_match("blocks.*.hook_resid_post", "blocks.12.hook_resid_post"));
    CHECK(!sg_match("blocks.*.hook_resid_post", "blocks.12.hook_resid_pre"));
    CHECK(sg_match("*", "") && sg_match("*", "anything") && sg_match("**", "x") && sg_match("", ""));
    CHECK(!sg_match("", "x") && !sg_match("?", "") && sg_match("?", "x") && !sg_match("?", "xy"));
    CHECK(sg_match("a*b*c", "a-b-b-c") && !sg_match("a*b*c", "a-c-b"));
    CHECK(sg_match("*.ln?.*", "blocks.0.ln1.hook_scale") && sg_match("*aab", "aaaab"));
    CHECK(!sg_match("blocks.1", "blocks.10") && !sg_match("blocks.10", "blocks.1"));
}

static void hostile_patterns_end_soon(void **state)
{
    (void)state;
    char text[4001];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    const double start = sg_now();
    CHECK(!sg_match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
    CHECK(sg_now() - start < 2.0); /* doubling with every star would take years */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_count_edits),
        cmocka_unit_test(long_texts_are_compared_by_their_beginnings),
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(hostile_patterns_end_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
