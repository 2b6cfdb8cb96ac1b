/* The study of closure: its numbers are what their names say, the small one runs, and it stops when asked. */
#include "gestalt_closure_parts.h"

#include <signal.h>

#include "check.h"

static const char *const shipped = SG_SOURCE_DIR "/models/closure-shapes/model.safetensors";

static void intervals_over_networks_are_students(void **state)
{
    (void)state;
    static const double a[3] = {1, 2, 3}, b[3] = {.5, 1, 1.5};
    /* Differences .5, 1, 1.5: mean 1, deviation .5, t .975 with two degrees of freedom 4.3027. */
    CHECK_NEAR(closure_over(3, a, b), 1 - 4.302652729911275 * .5 / sqrt(3), 1e-9, 0);
    /* One at 5 against .5, 1, 1.5: where a fourth would lie has deviation .5 sqrt(4 / 3). */
    CHECK_NEAR(closure_over(1, (const double[]){5}, b), 4 - 4.302652729911275 * .5 * sqrt(4.0 / 3), 1e-9, 0);
}

static void gaps_are_every_seventh_figure(void **state)
{
    (void)state;
    double each[14];
    for (int i = 0; i < 14; i++)
        each[i] = i;
    const sg_simindex_value v = {.n = 14, .each = each};
    CHECK_NEAR(closure_at_gap(&v, 1), (1 + 8) / 2.0, 1e-12, 0);
    CHECK_NEAR(closure_at_gap(&v, 6), (6 + 13) / 2.0, 1e-12, 0);
}

static void the_small_study_finds_what_its_page_says(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        bool holds; /* the claim alone, whatever its control does */
    } expected[] = {{"over-fresh", true},    {"rises", true}, {"over-fresh-centred", true},
                    {"rises-centred", true}, {"gap", true},   {"closes", false}};
    SKIP_WITHOUT(shipped, "models/closure-shapes");
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    CHECK_OK(sg_study_run(&r, sg_study_find("gestalt-closure"), &opts, &err), &err);
    CHECK(sg_report_n_claims(r) == (int)(sizeof expected / sizeof expected[0]) && sg_report_n_figures(r) == 3);
    for (int i = 0; i < sg_report_n_claims(r); i++) {
        const sg_claim *c = sg_report_claim(r, i);
        if (strcmp(c->id, expected[i].id) != 0 || sg_measure_holds(&c->measured) != expected[i].holds)
            print_error("claim %d: %s, measured %g\n", i, c->id, sg_measure_mean(&c->measured));
        CHECK(strcmp(c->id, expected[i].id) == 0 && sg_measure_holds(&c->measured) == expected[i].holds);
    }
    sg_report_free(r);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    SKIP_WITHOUT(shipped, "models/closure-shapes");
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("gestalt-closure"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_over_networks_are_students),
        cmocka_unit_test(gaps_are_every_seventh_figure),
        cmocka_unit_test(the_small_study_finds_what_its_page_says),
        cmocka_unit_test(it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
