/* What can be known without a whole run: that instances do not know of each other, that the closed forms are right, and
 * that a study tells how far it is, stops when asked, and is found. */
#include "study.h"
#include "toy_closed_form.h"
#include "toy_model.h"

#include "check.h"

enum { K = 4, N = 5, M = 2 };

static toy_trained train(sg_dim n_instances, const float *p, const float *importance, uint32_t stream)
{
    const sg_study_opts opts = sg_study_defaults();
    toy_model m = toy_defaults();
    m.n_instances = n_instances;
    m.n_features = N;
    m.n_dims = M;
    m.p = p;
    m.importance = importance;
    m.n_steps = 60;
    m.batch = 128;
    m.lr = 1e-2;
    m.lr_end = 1e-3;
    m.seed = 11;
    m.stream = stream;
    toy_trained t;
    sg_error err;
    CHECK_OK(toy_train(&t, &m, &opts, "test", NULL, &err), &err);
    return t;
}

static void instances_trained_together_are_those_trained_alone(void **state)
{
    (void)state;
    const float p[K] = {1, 0.3f, 0.1f, 0.05f};
    float importance[K * N];
    for (int i = 0; i < K * N; i++)
        importance[i] = powf(0.9f, (float)(i % N));
    toy_trained together = train(K, p, importance, 0);
    for (int k = 0; k < K; k++) {
        toy_trained alone = train(1, p + k, importance + k * N, (uint32_t)k);
        for (int i = 0; i < M * N; i++)
            CHECK_NEAR(alone.w[i], together.w[k * M * N + i], 1e-5, 0);
        for (int i = 0; i < N; i++)
            CHECK_NEAR(alone.b[i], together.b[k * N + i], 1e-5, 0);
        CHECK(memcmp(alone.start_w, together.start_w + k * M * N, sizeof(float) * M * N) == 0);
        toy_free(&alone);
    }
    CHECK(memcmp(together.w, together.start_w, sizeof(float) * K * M * N) != 0); /* something was learnt */
    toy_free(&together);
}

static void the_same_seed_gives_the_same_weights(void **state)
{
    (void)state;
    const float p[1] = {0.3f}, importance[N] = {1, 1, 1, 1, 1};
    toy_trained a = train(1, p, importance, 5), b = train(1, p, importance, 5);
    CHECK(memcmp(a.w, b.w, sizeof(float) * M * N) == 0);
    toy_free(&a);
    toy_free(&b);
}

/* The three closed forms are losses of weights that can be written down, so quadrature must find them. At the boundary
 * antipodal and the better of the two others are equal. */
static void closed_forms_are_the_losses_of_their_weights(void **state)
{
    (void)state;
    static const double p[] = {1, 0.4, 0.05}, r[] = {0.2, 1, 4};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            const float half = (float)(p[i] / 2);
            CHECK_NEAR(toy_exact_loss((float[]){1, 0}, (float[]){0, half}, p[i], r[k]),
                       toy_closed_loss(TOY_FIRST, p[i], r[k]), 0, 1e-4);
            CHECK_NEAR(toy_exact_loss((float[]){0, 1}, (float[]){half, 0}, p[i], r[k]),
                       toy_closed_loss(TOY_SECOND, p[i], r[k]), 0, 1e-4);
            CHECK_NEAR(toy_exact_loss((float[]){1, -1}, (float[]){0, 0}, p[i], r[k]),
                       toy_closed_loss(TOY_ANTIPODAL, p[i], r[k]), 0, 1e-4);
            const double at = toy_boundary(r[k]);
            CHECK(toy_closed_winner(at * 0.99, r[k]) == TOY_ANTIPODAL);
            CHECK(toy_closed_winner(at * 1.01, r[k]) == (r[k] <= 1 ? TOY_FIRST : TOY_SECOND));
        }
    CHECK_NEAR(toy_boundary(1), 2 / 3.5, 1e-12, 0);
    CHECK(toy_kind((float[]){1, -0.9f}) == TOY_ANTIPODAL && toy_kind((float[]){0.4f, 0.6f}) == TOY_SECOND);
}

static volatile sig_atomic_t stop;

static void stop_soon(void *context, const sg_study_progress *at)
{
    int *n_told = context;
    CHECK_TEXT(at->part, "phases");
    CHECK(at->done > 0 && isfinite(at->loss) && at->seconds_left >= 0);
    if (++*n_told == 2)
        stop = 1;
}

static void a_study_tells_how_far_it_is_and_stops_when_asked(void **state)
{
    (void)state;
    int n_told = 0;
    sg_study_opts opts = sg_study_defaults();
    opts.progress = stop_soon;
    opts.context = &n_told;
    opts.cancel = &stop;
    opts.json = "toy_superposition_test.json";
    sg_report *r;
    sg_error err;
    CHECK(sg_study_run(&r, sg_study_find("toy-superposition"), &opts, &err) == SG_ECANCELLED);
    CHECK(r == NULL && n_told == 2 && access(opts.json, F_OK) != 0);
}

static void a_study_is_found_by_its_name_or_its_file(void **state)
{
    (void)state;
    CHECK(sg_study_find("toy-superposition") != NULL);
    CHECK(sg_study_find("toy_superposition") == sg_study_find("toy-superposition"));
    CHECK(sg_study_find("toy") == NULL);
    CHECK(sg_study_count() >= 1 && sg_study_at(sg_study_count()) == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instances_trained_together_are_those_trained_alone),
        cmocka_unit_test(the_same_seed_gives_the_same_weights),
        cmocka_unit_test(closed_forms_are_the_losses_of_their_weights),
        cmocka_unit_test(a_study_tells_how_far_it_is_and_stops_when_asked),
        cmocka_unit_test(a_study_is_found_by_its_name_or_its_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
