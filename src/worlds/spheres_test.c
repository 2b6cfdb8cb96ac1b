/* What is known of spheres, against counting and against searching every direction of a plane. */
#include "sightglass/spheres.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/rng.h"
#include "sightglass/run.h"
#include "sightglass/statistics.h"

enum { MANY = 20000, TIMES = 10 };

static double length(const float *x, sg_dim d)
{
    double sum = 0;
    for (sg_dim i = 0; i < d; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void points_lie_on_the_sphere_that_their_label_names(void **state)
{
    (void)state;
    enum { N = 2000, D = 7 };
    static float x[N * D];
    static int32_t label[N];
    sg_spheres s = sg_spheres_defaults();
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
    s.d = D;
    CHECK_OK(sg_spheres_sample(&t, label, &s, (sg_origin){.seed = 4}, NULL), NULL);
    double outer = 0, square = 0;
    for (int i = 0; i < N; i++) {
        CHECK_NEAR(length(x + i * D, D), label[i] ? 1.3 : 1, 1e-6, 0);
        outer += label[i];
        square += label[i] ? 0 : (double)x[i * D] * (double)x[i * D];
    }
    CHECK_NEAR(outer / N, .5, 5 * .5 / sqrt(N), 0);
    CHECK_NEAR(square / (N - outer), 1.0 / D, .02, 0); /* every direction has its share */
}

static void a_training_set_is_drawn_from_and_nothing_else(void **state)
{
    (void)state;
    enum { N = 200, D = 3, TRAIN = 6 };
    float x[N * D], points[TRAIN * D];
    int32_t label[N];
    sg_spheres s = {.d = D, .outer = 2, .train = TRAIN};
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x),
              p = sg_tensor_of(SG_F32, 2, (sg_dim[]){TRAIN, D}, points);
    bool seen[TRAIN] = {false};
    CHECK_OK(sg_spheres_sample(&t, label, &s, (sg_origin){.seed = 4}, NULL), NULL);
    CHECK_OK(sg_spheres_points(&p, &s, 4, NULL), NULL);
    for (int i = 0; i < N; i++) {
        int k = 0;
        while (k < TRAIN && memcmp(x + i * D, points + k * D, D * sizeof(float)) != 0)
            k++;
        CHECK(k < TRAIN && label[i] == k % 2);
        seen[k] = true;
    }
    for (int k = 0; k < TRAIN; k++)
        CHECK(seen[k]);
    s.outer = 1;
    sg_error err;
    CHECK_STATUS(sg_spheres_sample(&t, label, &s, (sg_origin){.seed = 4}, &err), SG_EARG);
    CHECK_TEXT(err.text, "outer radius is 1");
}

/* Of the graph: [instances,batch,d] on the right spheres, from a set and new. */
static void the_graph_draws_the_same_kind_of_points(void **state)
{
    (void)state;
    enum { K = 2, B = 64, D = 5, TRAIN = 8 };
    const sg_spheres s = {.d = D, .outer = 1.3, .train = TRAIN};
    float points[K * TRAIN * D];
    sg_error err;
    for (uint64_t k = 0; k < K; k++) {
        sg_tensor p = sg_tensor_of(SG_F32, 2, (sg_dim[]){TRAIN, D}, points + k * TRAIN * D);
        CHECK_OK(sg_spheres_points(&p, &s, k, &err), &err);
    }
    const sg_tensor set = sg_tensor_of(SG_F32, 3, (sg_dim[]){K, TRAIN, D}, points);
    for (int from_set = 0; from_set < 2; from_set++) {
        sg_graph *g = sg_graph_new();
        sg_value *step = sg_input(g, "step", SG_I32, 0, NULL), *outer;
        sg_value *x = sg_spheres_value(g, &s, K, B, from_set ? &set : NULL, (sg_random){.seed = 3}, step, &outer);
        sg_state *st;
        sg_session *session;
        sg_tensor out[2];
        int32_t at = 7;
        double n_outer = 0;
        CHECK_OK(sg_state_new(&st, g, &err), &err);
        CHECK_OK(sg_session_new(&session, g, st, sg_exec_defaults(), &err), &err);
        CHECK_OK(sg_session_run(session, 1, &(sg_feed){step, sg_tensor_of(SG_I32, 0, NULL, &at)}, 2,
                                (sg_value *[]){x, outer}, out, &err),
                 &err);
        CHECK(out[0].n_dims == 3 && out[0].dims[0] == K && out[0].dims[1] == B && out[0].dims[2] == D);
        for (int i = 0; i < K * B; i++) {
            const float *row = (const float *)out[0].data + i * D;
            const double is_outer = sg_tensor_get(&out[1], i);
            n_outer += is_outer;
            CHECK(is_outer == 0 || is_outer == 1);
            CHECK_NEAR(length(row, D), 1 + .3 * is_outer, 1e-6, 0);
            int found = 0;
            for (int k = 0; k < TRAIN; k++)
                found += !memcmp(row, points + (i / B * TRAIN + k) * D, D * sizeof(float));
            CHECK(found == from_set);
        }
        CHECK(n_outer > .3 * K * B && n_outer < .7 * K * B);
        sg_session_free(session);
        sg_state_free(st);
        sg_graph_free(g);
    }
}

/* A quadric with axes of its own, as a net: W1 = diag(sqrt(alpha)) turned in the first two coordinates. */
static sg_quadric *quadric(sg_dim d, const double *alpha, float *w1)
{
    sg_error err;
    sg_quadric *q;
    memset(w1, 0, (size_t)(d * d) * sizeof *w1);
    for (sg_dim i = 0; i < d; i++)
        w1[i * d + i] = (float)sqrt(alpha[i]);
    w1[0] = .8f * w1[0], w1[1] = .6f * (float)sqrt(alpha[0]);
    w1[d + 1] = .8f * w1[d + 1], w1[d] = -.6f * (float)sqrt(alpha[1]);
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){d, d}, w1);
    CHECK_OK(sg_quadric_new(&q, &t, 2, -2, &err), &err);
    return q;
}

/* sum alpha z^2 has the mean of the alphas and variance 2 Var(alpha) / (d + 2), and errors are counted by it. */
static void the_error_rate_is_what_counting_finds(void **state)
{
    (void)state;
    enum { D = 40 };
    static float w1[D * D], x[MANY * D];
    double alpha[D], mean = 0, variance = 0, value = 0, square = 0, wrong[2] = {0};
    sg_rng r = sg_rng_new(9, 0);
    for (int i = 0; i < D; i++)
        alpha[i] = .55 + .6 * sg_rng_uniform(&r);
    sg_quadric *q = quadric(D, alpha, w1);
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){MANY, D}, x);
    for (int i = 0; i < D; i++)
        mean += q->alpha[i] / D;
    for (int i = 0; i < D; i++)
        variance += (q->alpha[i] - mean) * (q->alpha[i] - mean) / D;
    const double n = (double)MANY * TIMES;
    for (uint64_t time = 0; time < TIMES; time++) {
        CHECK_OK(sg_spheres_on(&t, 1, (sg_origin){.seed = 2, .step = time}, NULL), NULL);
        for (int k = 0; k < MANY; k++) {
            const double v = sg_quadric_value(q, x + k * D);
            value += v / n;
            square += v * v / n;
            wrong[0] += v > 1.0 / 1.3;
            wrong[1] += v * 1.3 * 1.3 < 1.4;
        }
    }
    CHECK_NEAR(value, mean, 5 * sqrt(2 * variance / (D + 2) / n), 0);
    CHECK_NEAR(square - value * value, 2 * variance / (D + 2), 0, .02); /* six deviations of such an estimate */
    /* Rates of an event at a radius: of the inner sphere at sqrt(1.3), of the outer one at 1.3 / sqrt(1.4). */
    CHECK_NEAR(wrong[0] / n, sg_quadric_error(q, sqrt(1.3), false), .015, 0);
    CHECK_NEAR(wrong[1] / n, sg_quadric_error(q, 1.3 / sqrt(1.4), true), .015, 0);
    sg_quadric_free(q);
}

static void no_errors_exist_if_and_only_if_all_alphas_lie_in_the_band(void **state)
{
    (void)state;
    enum { D = 8 };
    float w1[D * D], x[D] = {.1f, .9f, .3f, .2f, .1f, 0, .05f, .1f};
    double alpha[D];
    for (int i = 0; i < D; i++)
        alpha[i] = 1 / 1.69 + (1 - 1 / 1.69) * (i + .5) / D;
    sg_quadric *q = quadric(D, alpha, w1);
    CHECK(sg_quadric_error(q, 1, false) == 0 && sg_quadric_error(q, 1.3, true) == 0);
    const double r = length(x, D);
    for (int i = 0; i < D; i++)
        x[i] = (float)((double)x[i] / r);
    CHECK(isinf(sg_quadric_nearest(q, x, false, NULL)));
    for (int i = 0; i < D; i++)
        x[i] *= 1.3f;
    CHECK(isinf(sg_quadric_nearest(q, x, true, NULL)));
    sg_quadric_free(q);
    alpha[D - 1] = 1.2;
    q = quadric(D, alpha, w1);
    CHECK(sg_quadric_error(q, 1, false) > 0 && sg_quadric_error(q, 1.3, true) == 0);
    sg_quadric_free(q);
}

/* In three dimensions the sphere can be searched: a fine grid of angles. */
static void the_nearest_error_is_the_one_that_a_search_finds(void **state)
{
    (void)state;
    enum { GRID = 1200 };
    const double alpha[3] = {.5, .8, 1.4}, pi = 3.14159265358979;
    float w1[9], at[3];
    sg_quadric *q = quadric(3, alpha, w1);
    for (int outer = 0; outer < 2; outer++)
        for (int trial = 0; trial < 4; trial++) {
            const double r = outer ? 1.3 : 1;
            sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, 3}, at);
            float found[3];
            double best = HUGE_VAL;
            for (uint64_t k = 0;; k++) { /* a point that is right */
                CHECK_OK(sg_spheres_on(&t, r, (sg_origin){.seed = 7 + k, .step = (uint64_t)trial}, NULL), NULL);
                if ((sg_quadric_value(q, at) > 1) == (outer == 1))
                    break;
            }
            for (int i = 0; i <= GRID; i++)
                for (int k = 0; k < 2 * GRID; k++) {
                    const double a = pi * i / GRID, b = pi * k / GRID;
                    const float p[3] = {(float)(r * sin(a) * cos(b)), (float)(r * sin(a) * sin(b)),
                                        (float)(r * cos(a))};
                    if ((sg_quadric_value(q, p) > 1) == (outer == 1))
                        continue;
                    const float d[3] = {p[0] - at[0], p[1] - at[1], p[2] - at[2]};
                    best = fmin(best, length(d, 3));
                }
            const double exact = sg_quadric_nearest(q, at, outer == 1, found);
            CHECK_NEAR(exact, best, 4 * pi / GRID, 0);
            CHECK(exact <= best + 1e-9); /* it is the nearest of all */
            CHECK_NEAR(length(found, 3), r, 1e-6, 0);
            CHECK_NEAR(sg_quadric_value(q, found), 1, 1e-5, 0);
        }
    sg_quadric_free(q);
}

static void caps_are_measured_as_counting_does(void **state)
{
    (void)state;
    enum { D = 12 };
    static float x[MANY * D];
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){MANY, D}, x);
    CHECK_OK(sg_spheres_on(&t, 1, (sg_origin){.seed = 5}, NULL), NULL);
    static const double angles[] = {.9, 1.3, 1.7};
    for (int a = 0; a < 3; a++) {
        double within = 0, distance = 0;
        for (int k = 0; k < MANY; k++) {
            const double angle = acos((double)x[k * D]);
            within += angle <= angles[a];
            distance += angle > angles[a] ? 2 * sin((angle - angles[a]) / 2) / MANY : 0;
        }
        const double measure = sg_cap_measure(D, angles[a]);
        CHECK_NEAR(within / MANY, measure, 5 * sqrt(measure / MANY), 0);
        CHECK_NEAR(sg_cap_angle(D, measure), angles[a], 1e-9, 0);
        CHECK_NEAR(distance, sg_cap_distance(D, measure), .012, 0);
    }
    CHECK_NEAR(sg_cap_measure(2, 1), 1 / 3.14159265358979, 1e-9, 0); /* of a circle: 2 of 2 pi */
    CHECK_NEAR(sg_cap_measure(3, 1), (1 - cos(1.0)) / 2, 1e-9, 0);   /* of a globe: Archimedes */
}

static void in_high_dimension_the_bound_is_its_limit_within_a_twentieth(void **state)
{
    (void)state;
    static const sg_dim d[] = {200, 500, 2000};
    static const double measure[] = {1e-3, 1e-2, .1};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            CHECK_NEAR(sg_cap_distance(d[i], measure[k]), sg_cap_limit(d[i], measure[k]), 0, .05);
    CHECK(fabs(sg_cap_distance(3, .1) / sg_cap_limit(3, .1) - 1) > .05); /* and in low dimension it is not */
}

static void what_is_no_net_of_this_kind_is_refused(void **state)
{
    (void)state;
    float w1[4] = {1, 0, 0, 1};
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 2}, w1),
                    flat = sg_tensor_of(SG_F32, 1, (sg_dim[]){4}, w1);
    sg_quadric *q;
    sg_error err;
    CHECK_STATUS(sg_quadric_new(&q, &t, 1, 0, &err), SG_EARG);
    CHECK_TEXT(err.text, "wanted b below 0");
    CHECK_STATUS(sg_quadric_new(&q, &flat, 1, -1, &err), SG_ESHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_lie_on_the_sphere_that_their_label_names),
        cmocka_unit_test(a_training_set_is_drawn_from_and_nothing_else),
        cmocka_unit_test(the_graph_draws_the_same_kind_of_points),
        cmocka_unit_test(the_error_rate_is_what_counting_finds),
        cmocka_unit_test(no_errors_exist_if_and_only_if_all_alphas_lie_in_the_band),
        cmocka_unit_test(the_nearest_error_is_the_one_that_a_search_finds),
        cmocka_unit_test(caps_are_measured_as_counting_does),
        cmocka_unit_test(in_high_dimension_the_bound_is_its_limit_within_a_twentieth),
        cmocka_unit_test(what_is_no_net_of_this_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
