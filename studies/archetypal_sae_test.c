/* The parts of the study of archetypal dictionaries, on few rows and few steps: numbers have the meaning that they are
 * said to have, and it stops when asked. */
#include "archetypal_sae_parts.h"

#include "check.h"

static arch_parts parts(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    return (arch_parts){.opts = opts,
                        .report = report,
                        .err = err,
                        .n_starts = 2,
                        .n_pairs = 1,
                        .width = 64,
                        .n_rows = 2000,
                        .n_held = 500,
                        .n_points = 80,
                        .n_steps = 40,
                        .seeds = {1, 2}};
}

static void atoms_lie_in_the_hull_and_pictures_are_made(void **state)
{
    (void)state;
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    CHECK_OK(sg_report_new(&r, &(sg_report_info){.study = "archetypal-sae", .question = "?", .budget = "small"}, &err),
             &err);
    arch_parts p = parts(&opts, r, &err);
    CHECK_OK(arch_run(&p), &err);
    for (int start = 0; start < 2; start++) {
        CHECK(p.found[ARCH_HULL].outside[start] < 1e-4);
        CHECK(p.found[ARCH_TOPK].outside[start] > 1e-2);
        CHECK(p.found[ARCH_TOPK].r2[start] > 0 && p.found[ARCH_TOPK].r2[start] < 1);
    }
    CHECK(p.found[ARCH_TOPK].there && !p.found[ARCH_OWN].there); /* which the full study alone fits */
    CHECK(p.n_done == p.n_todo && p.n_done == 16);
    CHECK(p.found[ARCH_TOPK].null > .15 && p.found[ARCH_TOPK].null < .35);
    double sum = 0;
    for (int b = 0; b < ARCH_BINS; b++)
        sum += p.found[ARCH_RELAXED].histogram[b];
    CHECK(sum == 64);
    CHECK_OK(arch_figures(&p), &err);
    CHECK(sg_report_n_figures(r) == 3);
    sg_report_free(r);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    const volatile sig_atomic_t cancel = 1;
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.cancel = &cancel;
    CHECK_OK(sg_report_new(&r, &(sg_report_info){.study = "archetypal-sae", .question = "?", .budget = "small"}, &err),
             &err);
    arch_parts p = parts(&opts, r, &err);
    CHECK_STATUS(arch_run(&p), SG_ECANCELLED);
    sg_report_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(atoms_lie_in_the_hull_and_pictures_are_made),
        cmocka_unit_test(it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
