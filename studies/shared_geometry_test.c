/* The study of shared geometry: its parts on the models that ship, and that it stops when asked. */
#include "shared_geometry_parts.h"

#include "check.h"

/* Shipped models lie beside the source. */
static bool opens(geo_study *s, sg_study_opts *opts)
{
    static char path[1024];
    sg_error err;
    snprintf(path, sizeof path, "%s/models/shared-geometry", SG_SOURCE_DIR);
    *opts = sg_study_defaults();
    opts->model = path;
    CHECK_OK(geo_open(s, opts, NULL, &err), &err);
    s->err = NULL;
    return true;
}

static void a_model_is_its_own_geometry_and_seeds_are_alike(void **state)
{
    (void)state;
    geo_study s;
    sg_study_opts opts;
    geo_pair own, seeds, shuffled;
    CHECK(opens(&s, &opts) && s.n_vocab == 512 && s.n == 469);
    for (sg_dim i = 1; i < s.n; i++)
        CHECK(s.count[s.ids[i]] >= s.count[s.ids[i - 1]] && s.count[s.ids[0]] >= 100);
    CHECK_OK(geo_compare(&own, &s, 0, 0, 1), NULL);
    CHECK_NEAR(own.alike.r, 1, 1e-9, 0);
    CHECK_NEAR(own.lle, 1, 1e-9, 0);
    CHECK_NEAR(own.dim, 1, 1e-9, 0);
    CHECK(fabs(own.permuted.r) < .05 && own.lle_random < .2 && fabs(own.dim_permuted) < .2);
    CHECK_OK(geo_compare(&seeds, &s, 0, 1, 1), NULL);
    CHECK_OK(geo_compare(&shuffled, &s, 0, GEO_SHUFFLED, 1), NULL);
    CHECK(seeds.alike.r > .5 && seeds.alike.r < .95 && seeds.alike.r > shuffled.alike.r);
    CHECK(seeds.lle > .3 && seeds.lle > shuffled.lle);
    geo_close(&s);
}

static void a_direction_carried_home_is_the_models_own(void **state)
{
    (void)state;
    geo_study s;
    sg_study_opts opts;
    geo_steered *t;
    geo_carried home;
    double odds, cost;
    CHECK(opens(&s, &opts));
    s.n_draws = 1;
    CHECK_OK(geo_steered_new(&t, &s, 0), NULL);
    CHECK(geo_steered_width(t) == 64);
    CHECK_OK(geo_steered_ask(&odds, &cost, t, geo_steered_native(t), 0), NULL);
    CHECK_NEAR(odds, 0, 1e-6, 0);
    CHECK_NEAR(cost, 0, 1e-6, 0);
    CHECK_OK(geo_carry(&home, &s, t, t, 0, 0, 1), NULL); /* the map is the identity */
    CHECK_NEAR(home.way[GEO_CARRIED].log_odds, home.way[GEO_NATIVE].log_odds, 1e-2, 0);
    CHECK(home.way[GEO_NATIVE].log_odds > .2 && home.way[GEO_NATIVE].strength > 0);
    CHECK_OK(geo_steered_ask(&odds, &cost, t, geo_steered_native(t), home.way[GEO_NATIVE].strength), NULL);
    CHECK_NEAR(cost, GEO_COST, 1e-3, 0);
    geo_steered_free(t);
    geo_close(&s);
}

static void it_stops_when_asked_and_says_what_is_missing(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    char path[1024];
    sg_report *r;
    sg_error err;
    sg_study_opts opts = sg_study_defaults();
    snprintf(path, sizeof path, "%s/models/shared-geometry", SG_SOURCE_DIR);
    opts.model = path;
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("shared-geometry"), &opts, &err), SG_ECANCELLED);
    opts.cancel = NULL;
    opts.model = "/nowhere";
    CHECK_STATUS(sg_study_run(&r, sg_study_find("shared-geometry"), &opts, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "/nowhere/w64-1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_its_own_geometry_and_seeds_are_alike),
        cmocka_unit_test(a_direction_carried_home_is_the_models_own),
        cmocka_unit_test(it_stops_when_asked_and_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
