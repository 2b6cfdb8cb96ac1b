/* Of the study relational-composition: that its probes read what is bound and not what is lost, that its dictionary
 * shows an echo, and that it stops when asked. The small study itself is run by hand. */
#include "relational_parts.h"

#include "check.h"

static rc_parts parts_of(const sg_study_opts *opts, sg_error *err)
{
    return (rc_parts){.opts = opts,
                      .err = err,
                      .seeds = {0, 1, 2},
                      .features = 12,
                      .d = 32,
                      .width = 40,
                      .n_vectors = 3000,
                      .n_steps = 500,
                      .n_decode = 500};
}

static void probes_read_matrix_binding_and_not_a_bag(void **state)
{
    (void)state;
    const sg_study_opts opts = sg_study_defaults();
    sg_error err;
    rc_parts p = parts_of(&opts, &err);
    rc_mechanism m[2] = {{.name = "matrix", .mechanism = "matrix", .maps = "orthogonal", .directions = "random"},
                         {.name = "bag", .mechanism = "bag", .maps = "orthogonal", .directions = "random"}};
    for (int i = 0; i < 2; i++) {
        CHECK_OK(rc_decode(&p, &m[i]), &err);
        for (int k = 0; k < RC_SEEDS; k++) {
            CHECK(m[i].read[RC_FEATURE][k] > .95 && isnan(m[i].read[RC_MATCH][k]));
            CHECK(i ? m[i].read[RC_ROLE][k] < .65 : m[i].read[RC_ROLE][k] > .95);
        }
    }
}

static void a_product_of_two_vectors_tells_what_neither_does(void **state)
{
    (void)state;
    const sg_study_opts opts = sg_study_defaults();
    sg_error err;
    rc_parts p = parts_of(&opts, &err);
    rc_mechanism m = {.name = "multi-token", .mechanism = "multi-token", .maps = "orthogonal", .directions = "random"};
    CHECK_OK(rc_decode(&p, &m), &err);
    for (int k = 0; k < RC_SEEDS; k++)
        CHECK(m.read[RC_MATCH][k] > .95 && m.read[RC_ALONE][k] < .65 && m.read[RC_ROLE][k] < .65);
}

static void a_dictionary_of_matrix_binding_has_an_echo(void **state)
{
    (void)state;
    const sg_study_opts opts = sg_study_defaults();
    sg_error err;
    rc_parts p = parts_of(&opts, &err);
    rc_mechanism m = {.name = "matrix", .mechanism = "matrix", .maps = "orthogonal", .directions = "random"};
    CHECK_OK(rc_dictionary(&p, &m), &err);
    double found = 0, score = 0, null = 0;
    for (int k = 0; k < RC_SEEDS; k++) {
        found += m.found_centred[k] / RC_SEEDS;
        score += m.echo[k] / RC_SEEDS;
        null += m.null_mean[k] / RC_SEEDS;
        CHECK(m.random[k] < .1);
    }
    CHECK(found > .8 && score > null + .1);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("relational-composition"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probes_read_matrix_binding_and_not_a_bag),
        cmocka_unit_test(a_product_of_two_vectors_tells_what_neither_does),
        cmocka_unit_test(a_dictionary_of_matrix_binding_has_an_echo),
        cmocka_unit_test(it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
