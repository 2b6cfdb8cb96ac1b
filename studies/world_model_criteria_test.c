/* The study of world-model criteria: that its four verdicts come out on the model that ships, and that it stops when
 * asked. */
#include "world_model_parts.h"

#include "check.h"

static const char *shipped(char path[1024])
{
    char file[1100];
    snprintf(path, 1024, "%s/models/othello6", SG_SOURCE_DIR);
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    return access(file, R_OK) == 0 ? path : NULL;
}

static void the_small_study_holds_on_the_model_that_ships(void **state)
{
    (void)state;
    char path[1024];
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.model = shipped(path);
    SKIP_WITHOUT(opts.model, "models/othello6");
    CHECK_OK(sg_study_run(&r, sg_study_find("world-model-criteria"), &opts, &err), &err);
    CHECK(sg_report_n_claims(r) == 6 && sg_report_n_figures(r) == 2);
    for (int i = 0; i < sg_report_n_claims(r); i++) {
        const sg_claim *c = sg_report_claim(r, i);
        if (!sg_claim_holds(c))
            print_error("%s does not hold\n", c->id);
        CHECK(sg_claim_holds(c) && c->n_seeds == CRITERIA_SEEDS);
    }
    CHECK(sg_report_holds(r));
    sg_report_free(r);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    char path[1024];
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.model = shipped(path);
    SKIP_WITHOUT(opts.model, "models/othello6");
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("world-model-criteria"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

static void numbers_are_what_their_names_say(void **state)
{
    (void)state;
    sg_worldmodel f = {.site_reads = {.rate = {.value = .8}},
                       .input = {.rate = {.value = .5}},
                       .untrained = {.rate = {.value = .6}},
                       .output = {.rate = {.value = .7}},
                       .used = {.effect = {.value = 2, .low = 1}, .random = {.value = -2, .low = -3}}};
    static const double want[CRITERIA_NUMBERS] = {
        [ACTIVATION] = .8, [INPUT] = .5,       [FRESH] = .6,     [OUTPUT] = .7,
        [EFFECT] = 2,      [RANDOM] = -2,      [MARGIN] = .1,    [OVER_INPUT] = .3,
        [OVER_FRESH] = .2, [OVER_OUTPUT] = .1, [EFFECT_LOW] = 1, [RANDOM_LOW] = -3};
    for (int i = 0; i < CRITERIA_NUMBERS; i++)
        CHECK_NEAR(criteria_number(&f, i), want[i], 1e-12, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_small_study_holds_on_the_model_that_ships),
        cmocka_unit_test(it_stops_when_asked),
        cmocka_unit_test(numbers_are_what_their_names_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
