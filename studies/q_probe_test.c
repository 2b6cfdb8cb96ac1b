/* The study of Q-probes: it stops when asked, and says which model it has not. What it measures is tested beside the
 * method. */
#include "q_probe_parts.h"

#include "check.h"

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("q-probe"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

/* Picks that are counted lie about as far from their limit as the exact law says, and the law falls. */
static void counted_picks_follow_the_exact_law(void **state)
{
    (void)state;
    sg_study_opts opts = sg_study_defaults();
    sg_error err;
    qp_parts p = {.opts = &opts, .err = &err, .n_picks = 4000, .seeds = {1, 2, 3}};
    CHECK_OK(qp_laws(&p), &err);
    for (int s = 0; s < QP_SEEDS; s++)
        for (int b = 0; b < QP_BETAS; b++) {
            const qp_law *l = &p.laws[s][b];
            for (int i = 0; i < QP_DOUBLINGS; i++) {
                CHECK_NEAR(l->sampled[i], l->exact[i], .04, 0); /* 12 rates of 4000 */
                CHECK(i == 0 || l->exact[i] < l->exact[i - 1]);
            }
            CHECK(l->beyond_plain > l->beyond);
        }
}

/* The model that ships writes strings of which some are balanced, and a few prompts are enough for a report with its
 * controls. */
static void strings_are_sampled_and_rewarded(void **state)
{
    (void)state;
    sg_study_opts opts = sg_study_defaults();
    sg_error err;
    qp_parts p = {.opts = &opts, .err = &err, .n_prompts = {6, 4}, .k = 32, .seeds = {1, 2, 3}};
    CHECK_OK(sg_study_model(&p.model, &opts, "brackets", &err), &err);
    CHECK_OK(qp_model(&p), &err);
    for (int s = 0; s < QP_SEEDS; s++) {
        const qp_picks *c = &p.picks[s];
        CHECK(c->base > .2 && c->base < .9);
        CHECK_NEAR(c->own[0].picked, c->own[0].random, 1e-12, 0); /* one is any */
        for (int i = 0; i < QP_KS; i++)
            CHECK(c->own[i].picked <= c->own[i].oracle && c->own[i].n_sets == 4 * (32 >> i));
    }
    sg_model_close(p.model);
    /* Sums: half of them are right, and k = 1 is any. */
    CHECK_OK(sg_study_model(&p.adder, &opts, "sums", &err), &err);
    CHECK_OK(qp_sums(&p), &err);
    for (int s = 0; s < QP_SEEDS; s++) {
        CHECK(p.sums[s].base > .3 && p.sums[s].base < .7);
        CHECK_NEAR(p.sums[s].own[0].picked, p.sums[s].own[0].random, 1e-12, 0);
    }
    sg_model_close(p.adder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stops_when_asked),
        cmocka_unit_test(counted_picks_follow_the_exact_law),
        cmocka_unit_test(strings_are_sampled_and_rewarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
