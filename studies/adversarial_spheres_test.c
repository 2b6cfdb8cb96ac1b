/* Of the study adversarial-spheres: that its nets are what their closed forms speak of, and that it stops when asked.
 * The small study itself is run by hand. */
#include "spheres_parts.h"

#include "check.h"

enum { D = 20, K = SPHERES_SEEDS };

static void train(spheres_net net[K])
{
    static sg_study_opts opts;
    const sg_report_info info = {.study = "test", .question = "?", .budget = "small", .threads = 1};
    spheres_job job = {
        .world = {.d = D, .outer = 1.3, .train = 200}, .h = 2 * D, .n_steps = 1500, .batch = 50, .lr = 3e-3, .seed = 2};
    sg_report *r;
    sg_error err;
    opts = sg_study_defaults();
    CHECK_OK(sg_report_new(&r, &info, &err), &err);
    CHECK_OK(spheres_train(net, &job, &opts, "test", r, &err), &err);
    sg_report_free(r);
}

static void alphas_say_what_the_net_says_on_a_hundred_thousand_points(void **state)
{
    (void)state;
    enum { N = 5000, TIMES = 20 };
    static float x[N * D];
    const sg_study_opts opts = sg_study_defaults();
    spheres_net net[K] = {{0}};
    spheres_asked a;
    sg_quadric *q;
    sg_error err;
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
    double off = 0, n_outer = 0;
    train(net);
    CHECK_OK(spheres_quadric(&q, &net[1], &err), &err);
    CHECK_OK(spheres_ask(&a, &net[1], false, &opts, &err), &err);
    for (uint64_t time = 0; time < TIMES; time++) {
        const uint8_t *wrong;
        CHECK_OK(sg_spheres_on(&t, 1 + .05 * (double)(time % 7), (sg_origin){.seed = 3, .step = time}, &err), &err);
        CHECK_OK(sg_attack_ask_session(&a.ask).ask(&a.ask, &t, NULL, &wrong, &err), &err);
        for (int i = 0; i < N; i++) {
            const double value = sg_quadric_value(q, x + i * D);
            n_outer += wrong[i];
            if (fabs(value - 1) > 1e-5) /* at the boundary itself f32 decides */
                off += wrong[i] != (value > 1);
        }
    }
    CHECK(off == 0 && n_outer > 1000 && n_outer < N * TIMES - 1000);
    sg_quadric_free(q);
    spheres_asked_free(&a);
    for (int k = 0; k < K; k++)
        spheres_net_free(&net[k]);
}

/* d/dx of w |W1 x|^2 + b is 2 w W1' W1 x. */
static void the_gradient_is_the_closed_form(void **state)
{
    (void)state;
    float x[D];
    const sg_study_opts opts = sg_study_defaults();
    spheres_net net[K] = {{0}};
    spheres_asked a;
    sg_error err;
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, D}, x);
    const float *gradient;
    const uint8_t *wrong;
    train(net);
    for (int outer = 0; outer < 2; outer++) {
        CHECK_OK(spheres_ask(&a, &net[0], outer == 1, &opts, &err), &err);
        CHECK_OK(sg_spheres_on(&t, 1.3, (sg_origin){.seed = 6}, &err), &err);
        CHECK_OK(sg_attack_ask_session(&a.ask).ask(&a.ask, &t, &gradient, &wrong, &err), &err);
        double want[D] = {0}, scale = 0;
        for (sg_dim j = 0; j < net[0].h; j++) {
            double h = 0;
            for (int i = 0; i < D; i++)
                h += (double)net[0].w1[j * D + i] * (double)x[i];
            for (int i = 0; i < D; i++)
                want[i] += 2 * (double)net[0].w * h * (double)net[0].w1[j * D + i];
        }
        for (int i = 0; i < D; i++)
            scale = fmax(scale, fabs(want[i]));
        for (int i = 0; i < D; i++)
            CHECK_NEAR(gradient[i], outer ? -want[i] : want[i], 1e-5 * scale, 0);
        spheres_asked_free(&a);
    }
    for (int k = 0; k < K; k++)
        spheres_net_free(&net[k]);
}

static void nets_of_one_seed_are_one_net_and_their_errors_within_the_bound(void **state)
{
    (void)state;
    const sg_report_info info = {.study = "test", .question = "?", .budget = "small", .threads = 1};
    const sg_study_opts opts = sg_study_defaults();
    spheres_parts s = {.opts = &opts, .seeds = {5, 6, 7}, .n_starts = 40, .n_counted = 4000};
    spheres_row row[2];
    sg_error err;
    s.err = &err;
    CHECK_OK(sg_report_new(&s.report, &info, &err), &err);
    for (int i = 0; i < 2; i++) {
        row[i] = (spheres_row){.name = "test", .d = D, .train = 300, .h = 2 * D, .n_steps = 600, .lr = 1e-2};
        CHECK_OK(spheres_measure(&s, &row[i]), &err);
    }
    CHECK(memcmp(row[0].distance, row[1].distance, sizeof row[0].distance) == 0);
    CHECK(memcmp(row[0].alpha, row[1].alpha, sizeof row[0].alpha) == 0);
    for (int k = 0; k < K; k++) {
        CHECK(row[0].found[k] == 1 && row[0].excess[k] >= 1 - 1e-4 && row[0].excess[k] < 1.03);
        CHECK(row[0].distance[k] > .2 * row[0].bound[k] && row[0].distance[k] < row[0].bound[k]);
        CHECK_NEAR(row[0].random[k] / row[0].counted[k], 1, .4, 0);
        CHECK_NEAR(row[0].closed[k] / row[0].counted[k], 1, .4, 0);
        CHECK(row[0].far[k] > 1.5);
    }
    CHECK_OK(spheres_clamp(&s, &row[0], 20), &err);
    for (int k = 0; k < K; k++)
        CHECK(row[0].band[k] == 0 && row[0].unclamped[k] == 1);
    sg_report_free(s.report);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("adversarial-spheres"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alphas_say_what_the_net_says_on_a_hundred_thousand_points),
        cmocka_unit_test(the_gradient_is_the_closed_form),
        cmocka_unit_test(nets_of_one_seed_are_one_net_and_their_errors_within_the_bound),
        cmocka_unit_test(it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
