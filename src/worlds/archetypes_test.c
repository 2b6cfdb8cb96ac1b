/* Weights have the moments of Dirichlet(1, ..., 1), items are their mixtures, and directions are what the frame says.
 */
#include "base/base.h"
#include "check.h"
#include "sightglass/world.h"

enum { COUNT = 4000, N = 12, D = 20, K = 3 };

static sg_sample *drawn(const char *frame, const char *noise, uint64_t seed)
{
    const sg_setting settings[] = {{"n", "12"}, {"d", "20"}, {"active", "3"}, {"noise", noise}, {"frame", frame}};
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, sg_world_find("archetypes", &err), 5, settings, COUNT, seed, &err), &err);
    return s;
}

static void items_are_mixtures_and_weights_are_dirichlet(void **state)
{
    (void)state;
    sg_sample *s = drawn("hull", "0", 3);
    const float *x = sg_sample_find(s, "x")->data, *w = sg_sample_find(s, "weights")->data,
                *a = sg_sample_find(s, "archetypes")->data;
    double mean = 0, square = 0, taken[N] = {0};
    for (int i = 0; i < COUNT; i++) {
        double sum = 0;
        int active = 0;
        for (int k = 0; k < N; k++) {
            const double own = (double)w[i * N + k];
            CHECK(own >= 0);
            active += own > 0;
            taken[k] += own > 0;
            sum += own;
            mean += own;
            square += own * own;
        }
        CHECK(active == K);
        CHECK_NEAR(sum, 1, 1e-6, 0);
        for (int c = 0; c < D; c++) {
            double want = 0;
            for (int k = 0; k < N; k++)
                want += (double)w[i * N + k] * (double)a[k * D + c];
            CHECK_NEAR(x[i * D + c], want, 1e-6, 0);
        }
    }
    /* of Dirichlet(1,1,1): E w = 1/3, E w^2 = 2 / (3 * 4); five standard errors */
    CHECK_NEAR(mean / (COUNT * K), 1.0 / 3, 1e-6, 0);
    CHECK_NEAR(square / (COUNT * K), 1.0 / 6, 5 * 0.2 / sqrt(COUNT * K), 0);
    for (int k = 0; k < N; k++) {
        CHECK_NEAR(taken[k] / COUNT, (double)K / N, 5 * sqrt(0.25 * 0.75 / COUNT), 0);
        double length = 0;
        for (int c = 0; c < D; c++) {
            CHECK(a[k * D + c] >= 0);
            length += (double)a[k * D + c] * (double)a[k * D + c];
        }
        CHECK_NEAR(length, 1, 1e-6, 0);
    }
    sg_sample_free(s);
}

static void orthogonal_archetypes_are_and_noise_is_as_large_as_it_is_said(void **state)
{
    (void)state;
    sg_sample *s = drawn("orthogonal", "0.1", 4), *again = drawn("orthogonal", "0.1", 4);
    const float *x = sg_sample_find(s, "x")->data, *w = sg_sample_find(s, "weights")->data,
                *a = sg_sample_find(s, "archetypes")->data;
    CHECK(memcmp(x, sg_sample_find(again, "x")->data, sizeof(float) * COUNT * D) == 0);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double dot = 0;
            for (int c = 0; c < D; c++)
                dot += (double)a[i * D + c] * (double)a[j * D + c];
            CHECK_NEAR(dot, i == j, 1e-6, 0);
        }
    double noise = 0;
    for (int i = 0; i < COUNT; i++)
        for (int c = 0; c < D; c++) {
            double off = (double)x[i * D + c];
            for (int k = 0; k < N; k++)
                off -= (double)w[i * N + k] * (double)a[k * D + c];
            noise += off * off;
        }
    CHECK_NEAR(noise / (COUNT * D), 0.01, 5 * 0.01 * sqrt(2.0 / (COUNT * D)), 0);
    sg_sample_free(s);
    sg_sample_free(again);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    sg_sample *s;
    sg_error err;
    const sg_world *world = sg_world_find("archetypes", &err);
    CHECK(sg_world_sample(&s, world, 1, &(sg_setting){"n", "3"}, 5, 0, &err) == SG_EARG);
    CHECK_TEXT(err.text, "4 of 3 archetypes");
    const sg_setting wide[] = {{"n", "65"}, {"frame", "orthogonal"}};
    CHECK(sg_world_sample(&s, world, 2, wide, 5, 0, &err) == SG_EARG);
    CHECK_TEXT(err.text, "right angles");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_mixtures_and_weights_are_dirichlet),
        cmocka_unit_test(orthogonal_archetypes_are_and_noise_is_as_large_as_it_is_said),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
