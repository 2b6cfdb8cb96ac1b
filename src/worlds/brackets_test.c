/* Strings are balanced, and of the Catalan number of them each is as likely as any other. */
#include "base/base.h"
#include "check.h"
#include "sightglass/world.h"

enum { COUNT = 28000, LENGTH = 8, TIME = LENGTH + 2, CATALAN = 14 };

static void all_balanced_strings_are_alike_likely(void **state)
{
    (void)state;
    sg_sample *s;
    sg_error err;
    double seen[1 << LENGTH] = {0};
    CHECK_OK(sg_world_sample(&s, sg_world_find("brackets", &err), 1, &(sg_setting){"length", "8"}, COUNT, 4, &err),
             &err);
    const int32_t *t = sg_sample_find(s, "tokens")->data, *depth = sg_sample_find(s, "depth")->data;
    const uint8_t *counts = sg_sample_find(s, "counts")->data;
    for (int i = 0; i < COUNT; i++, t += TIME, depth += TIME, counts += TIME) {
        int open = 0, code = 0;
        CHECK(t[0] == 0 && t[TIME - 1] == 3 && !counts[0] && counts[1] && counts[TIME - 1]);
        for (int k = 1; k <= LENGTH; k++) {
            CHECK(t[k] == 1 || t[k] == 2);
            open += t[k] == 1 ? 1 : -1;
            CHECK(open >= 0 && depth[k] == open);
            code = 2 * code + (t[k] == 1);
        }
        CHECK(open == 0);
        seen[code]++;
    }
    const double p = 1.0 / CATALAN;
    int n = 0;
    for (int i = 0; i < 1 << LENGTH; i++) {
        if (seen[i] > 0)
            CHECK_NEAR(seen[i] / COUNT, p, 4 * sqrt(p * (1 - p) / COUNT), 0);
        n += seen[i] > 0;
    }
    CHECK(n == CATALAN);
    sg_sample_free(s);
}

static void an_odd_length_is_refused(void **state)
{
    (void)state;
    sg_sample *s;
    sg_error err;
    CHECK_STATUS(sg_world_sample(&s, sg_world_find("brackets", &err), 1, &(sg_setting){"length", "7"}, 1, 0, &err),
                 SG_EARG);
    CHECK_TEXT(err.text, "length 7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_balanced_strings_are_alike_likely),
        cmocka_unit_test(an_odd_length_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
