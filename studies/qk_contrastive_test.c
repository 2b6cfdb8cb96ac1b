/* The head of the study of query-key contrasts: it learns, edits at its keys do what exchanging keys does, and it stops
 * when asked. */
#include "qk_head.h"

#include "check.h"

static sg_report *report(void)
{
    sg_report *r;
    sg_error err;
    CHECK_OK(sg_report_new(&r, &(sg_report_info){.study = "qk-contrastive", .question = "?", .budget = "small"}, &err),
             &err);
    return r;
}

static void a_head_learns_and_its_keys_can_be_exchanged(void **state)
{
    (void)state;
    sg_recall world = sg_recall_defaults();
    sg_study_opts opts = sg_study_defaults();
    sg_report *r = report();
    qk_head h;
    sg_error err;
    double before, after, moved[2], rows[16 * 16];
    sg_qk_factor *z;
    CHECK_OK(qk_head_new(&h, &world, 16, 3, &opts, &err), &err);
    CHECK_OK(qk_head_accuracy(&h, &before, &err), &err);
    CHECK_OK(qk_head_train(&h, 300, 3e-3, &opts, r, &err), &err);
    CHECK_OK(qk_head_accuracy(&h, &after, &err), &err);
    CHECK(before < .3 && after > .7);
    CHECK_OK(qk_head_contrast(&h, &z, 0, false, 4096, 1, &err), &err);
    CHECK(z->rank == 3 && z->sigma[3] < .01 * z->sigma[2] && z->n_match == 4096);
    /* Whole keys exchanged move all, none nothing. */
    CHECK_OK(sg_qk_random(rows, 16, 16, 1, 0, &err), &err);
    CHECK_OK(qk_head_swaps(&h, moved, 2, (sg_qk_basis[]){{16, rows}, {0, rows}}, 64, &err), &err);
    CHECK_NEAR(moved[0], 1, 1e-5, 0);
    CHECK_NEAR(moved[1], 0, 1e-7, 0);
    /* The trace of D is c times that of its block of G. */
    double form[16 * 16], meeting[8 * 8], trace = 0, diagonal = 0;
    CHECK_OK(qk_head_closed_form(&h, form, 0, &err), &err);
    CHECK_OK(qk_head_meeting(&h, meeting, &err), &err);
    for (int i = 0; i < 16; i++)
        trace += form[i * 16 + i];
    for (int i = 0; i < 3; i++)
        diagonal += meeting[i * 8 + i];
    CHECK_NEAR(trace, diagonal * 8 / 7, 1e-4, 1e-4); /* c = 1 + 1/(2^3 - 1) */
    sg_qk_factor_free(z);
    qk_head_free(&h);
    sg_report_free(r);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("qk-contrastive"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_learns_and_its_keys_can_be_exchanged),
        cmocka_unit_test(it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
