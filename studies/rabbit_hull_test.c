/* Of the study rabbit-hull: the identity on the model that ships, three blocks against one on a small cloud, and that
 * it stops when asked. The small study itself is run by hand. */
#include "rabbit_hull_parts.h"

#include "check.h"
#include "sightglass/world.h"

static void attention_of_the_model_that_ships_is_a_sum_of_mixtures(void **state)
{
    (void)state;
    char file[1100];
    sg_study_opts opts = sg_study_defaults();
    sg_error err;
    snprintf(file, sizeof file, "%s/models/othello6/model.safetensors", SG_SOURCE_DIR);
    const char *const path = file;
    SKIP_WITHOUT(path, "models/othello6");
    rh_parts p = {.opts = &opts, .err = &err, .seeds = {0, 1, 2}};
    CHECK_OK(rh_identities(&p), &err);
    CHECK(p.n_models >= 1);
    for (int i = 0; i < p.n_models; i++)
        for (int k = 0; k < RH_SEEDS; k++) {
            const rh_identity *m = &p.identity[i];
            CHECK(m->rebuilt[k] < 1e-5 && m->member[k] < 1e-4 && m->other_layer[k] > .1 && m->other_sequence[k] > .1);
            CHECK(m->vertices <= m->width / 2);
        }
    rh_free(&p);
}

static void three_blocks_leave_less_of_a_sum_than_one(void **state)
{
    (void)state;
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, sg_world_find("minkowski", &err), 0, NULL, 400, 1, &err), &err);
    double r2[2];
    for (int form = 0; form < 2; form++) {
        sg_archetypes_opts o = sg_archetypes_defaults();
        sg_archetypes *a;
        o.n_restarts = 3;
        o.scout = 200;
        o.max_rounds = 30;
        CHECK_OK(sg_archetypes_fit(&a, sg_sample_find(s, "x"), form ? 1 : 3,
                                   form ? (const sg_dim[]){12} : (const sg_dim[]){3, 4, 5}, o, &err),
                 &err);
        r2[form] = a->r2;
        sg_archetypes_free(a);
    }
    CHECK(r2[0] > .94 && r2[1] < .9);
    sg_sample_free(s);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("rabbit-hull"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_of_the_model_that_ships_is_a_sum_of_mixtures),
        cmocka_unit_test(three_blocks_leave_less_of_a_sum_than_one),
        cmocka_unit_test(it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
