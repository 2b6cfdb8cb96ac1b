/* The SmoothGrad study's parts on a network of a few steps: maps, measures, and that it stops when asked. */
#include "smoothgrad_parts.h"

#include <math.h>

#include "check.h"

static void networks_of_shapes_are_trained_and_mapped(void **state)
{
    (void)state;
    sg_study_opts opts = sg_study_defaults();
    smooth_seed d = {.seed = 1, .n = 2};
    sg_attributer *a;
    sg_error err;
    double places[SHAPE_PIXELS], again[SHAPE_PIXELS], accuracy = 0, sum = 0;
    CHECK_OK(shape_net(&d.net, &opts, "training", 0, NULL, 60, 1, &err), &err);
    CHECK_OK(shape_images(&d.images, 0, NULL, 200, 1, &err), &err);
    CHECK_OK(shape_accuracy(&accuracy, d.net, d.images, opts.exec, &err), &err);
    CHECK(accuracy > 0.3); /* a quarter is chance */
    CHECK_OK(smooth_attributer(&a, d.net, &opts, &err), &err);
    sg_attribute_opts o = sg_attribute_defaults();
    o.kind = SG_ATTRIBUTE_SMOOTH;
    o.n = 5;
    CHECK_OK(smooth_places(places, a, &d, 0, &o, &err), &err);
    CHECK_OK(smooth_places(again, a, &d, 0, &o, &err), &err);
    CHECK(memcmp(places, again, sizeof places) == 0);
    for (int p = 0; p < SHAPE_PIXELS; p++) {
        CHECK(places[p] >= 0);
        sum += places[p];
    }
    CHECK(sum > 0);
    sg_attributer_free(a);
    sg_model_close(d.net);
    sg_sample_free(d.images);
}

static void labels_that_mean_nothing_are_learnt_by_heart(void **state)
{
    (void)state;
    static const sg_setting random_labels = {"labels", "random"};
    sg_study_opts opts = sg_study_defaults();
    sg_model *m;
    sg_error err;
    double accuracy;
    CHECK_OK(shape_net_by_heart(&m, &opts, "random labels", 1, &random_labels, 24, 150, 1, &accuracy, &err), &err);
    CHECK(accuracy > 0.8);
    sg_model_close(m);
}

static void ends_of_intervals_are_of_pairs(void **state)
{
    (void)state;
    double a[50], b[50];
    for (int i = 0; i < 50; i++) {
        b[i] = i;
        a[i] = i + 1 + 0.1 * (i % 2);
    }
    CHECK(smooth_end(a, b, 50, false) > 1 && smooth_end(a, b, 50, true) < 1.1);
    CHECK_NEAR(smooth_mean(b, 50), 24.5, 1e-12, 0);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("smoothgrad"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
    CHECK_STATUS(sg_study_run(&r, sg_study_find("tcav"), &opts, &err), SG_ECANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_of_shapes_are_trained_and_mapped),
        cmocka_unit_test(labels_that_mean_nothing_are_learnt_by_heart),
        cmocka_unit_test(ends_of_intervals_are_of_pairs),
        cmocka_unit_test(it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
