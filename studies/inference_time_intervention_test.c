/* Of the study inference-time-intervention: what it asks, what its arms are, and that it stops when asked. The small
 * study itself is run by hand. */
#include <unistd.h>

#include "iti_parts.h"

#include "check.h"

static const char *shipped(char path[1100])
{
    snprintf(path, 1100, "%s/models/kb4", SG_SOURCE_DIR);
    char file[1200];
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    return access(file, R_OK) == 0 ? path : NULL;
}

/* One seed with few questions: the arms start from the same model, the ranked one moves it, and baking is editing. */
static void the_arms_of_one_seed_differ_in_nothing_but_their_direction(void **state)
{
    (void)state;
    char path[1100];
    sg_error err;
    const sg_study_opts opts = sg_study_defaults();
    iti_parts s = {.opts = &opts,
                   .err = &err,
                   .seeds = {5, 6, 7},
                   .n_fit = 60,
                   .n_choose = 6,
                   .n_test = 8,
                   .n_draws = 2,
                   .n_other = 2};
    static iti_seed one, two;
    s.path = shipped(path);
    SKIP_WITHOUT(s.path, "models/kb4");
    CHECK_OK(sg_model_open(&s.model, s.path, sg_model_defaults(), &err), &err);
    CHECK_OK(iti_measure(&s, 0, &one), &err);
    CHECK_OK(iti_measure(&s, 0, &two), &err);
    CHECK(memcmp(&one, &two, sizeof one) == 0); /* the same seed is the same numbers */
    for (int arm = 1; arm < ITI_ARMS; arm++) {
        CHECK_NEAR(one.test[arm][0].probability, one.test[ITI_RANKED][0].probability, 1e-9, 0);
        CHECK_NEAR(one.test[arm][0].loss, one.test[ITI_RANKED][0].loss, 1e-9, 0);
    }
    CHECK(one.test[ITI_RANKED][0].kl < 1e-6 && one.test[ITI_RANKED][ITI_STRENGTHS - 1].kl > .5);
    CHECK(one.baked < 1e-4 && one.moved > .1);
    CHECK(one.accuracy > .7 && one.accuracy > one.shuffled);
    CHECK(iti_gain(&one, ITI_RANKED, 0) == 0 && iti_cost(&one, ITI_RANKED, 0) == 0);
    sg_model_close(s.model);
}

static void it_stops_when_asked_and_says_which_model_it_wants(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    char path[1100];
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.model = SG_SOURCE_DIR "/test/data/families/llama"; /* another vocabulary */
    CHECK(sg_study_run(&r, sg_study_find("inference-time-intervention"), &opts, &err) != SG_OK);
    opts.model = shipped(path);
    SKIP_WITHOUT(opts.model, "models/kb4");
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("inference-time-intervention"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_arms_of_one_seed_differ_in_nothing_but_their_direction),
        cmocka_unit_test(it_stops_when_asked_and_says_which_model_it_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
