/* Corners that are known, the constraints, and an objective that never rises. */
#include "sightglass/archetypes.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/world.h"

enum { K = 5, D = 8, N = 200 };

/* Mixtures of five random corners, which are rows themselves: 7, 47, 87, ... */
static void simplex(double *x, double *corners)
{
    sg_rng r = sg_rng_new(4, 0);
    for (int i = 0; i < K * D; i++)
        corners[i] = sg_rng_normal(&r);
    for (int n = 0; n < N; n++) {
        double w[K], sum = 0;
        for (int k = 0; k < K; k++)
            sum += w[k] = n % 40 == 7 ? n / 40 == k : -log(1 - sg_rng_uniform(&r));
        for (int j = 0; j < D; j++) {
            x[n * D + j] = 0;
            for (int k = 0; k < K; k++)
                x[n * D + j] += w[k] / sum * corners[k * D + j];
        }
    }
}

static void the_corners_of_a_simplex_are_recovered(void **state)
{
    (void)state;
    static double x[N * D], corners[K * D];
    simplex(x, corners);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, D}, x);
    for (int restarts = 1; restarts < 6; restarts += 4) { /* from far apart, and the best of random ones too */
        sg_archetypes_opts opts = sg_archetypes_defaults();
        opts.n_restarts = restarts;
        opts.scout = restarts == 1 ? N : 60;
        sg_archetypes *a;
        sg_error err;
        CHECK_OK(sg_archetypes_fit(&a, &t, 1, (sg_dim[]){K}, opts, &err), &err);
        for (int k = 0; k < K; k++) {
            double least = HUGE_VAL;
            for (int l = 0; l < K; l++) {
                double sum = 0;
                for (int j = 0; j < D; j++)
                    sum += pow(sg_tensor_get(&a->archetypes, l * D + j) - corners[k * D + j], 2);
                least = fmin(least, sqrt(sum));
            }
            CHECK_NEAR(least, 0, 1e-3, 0);
        }
        CHECK_NEAR(a->r2, 1, 1e-6, 0);
        CHECK(a->n_restarts == restarts && a->n_trimmed == 0);
        sg_archetypes_free(a);
    }
}

static void weights_and_mixtures_keep_the_constraints_and_the_objective_never_rises(void **state)
{
    (void)state;
    static const sg_dim blocks[2][3] = {{3, 4, 5}, {7}};
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, sg_world_find("minkowski", &err), 1, &(sg_setting){"d", "10"}, 300, 1, &err), &err);
    const sg_tensor *x = sg_sample_find(s, "x");
    for (int form = 0; form < 2; form++) {
        const int n_blocks = form ? 1 : 3, k = form ? 7 : 12;
        sg_archetypes_opts opts = sg_archetypes_defaults();
        opts.n_restarts = 2;
        opts.scout = 100;
        opts.max_rounds = 40;
        opts.trim = .05;
        sg_archetypes *a;
        CHECK_OK(sg_archetypes_fit(&a, x, n_blocks, blocks[form], opts, &err), &err);
        CHECK(a->n_trimmed == 15 && a->n_rounds > 3);
        for (int i = 1; i <= a->n_rounds; i++)
            CHECK(a->objective[i] <= a->objective[i - 1] * (1 + 1e-9));
        const double *z = a->weights.data, *at = a->archetypes.data, *mean = a->mean.data;
        double rest = 0;
        for (int n = 0; n < 300; n++) {
            for (int b = 0, first = 0; b < n_blocks; first += (int)blocks[form][b++]) {
                double sum = 0;
                for (int i = first; i < first + blocks[form][b]; i++) {
                    CHECK(z[n * k + i] >= 0);
                    sum += z[n * k + i];
                }
                CHECK_NEAR(sum, 1, 1e-9, 0);
            }
            bool kept = false;
            double squared = 0;
            for (int j = 0; j < 10; j++) {
                double e = sg_tensor_get(x, n * 10 + j) - mean[j];
                for (int i = 0; i < k; i++)
                    e -= z[n * k + i] * at[i * 10 + j];
                squared += e * e;
            }
            for (int i = 0; i < k; i++)
                kept = kept || sg_tensor_get(&a->mixtures, i * 300 + n) > 0;
            rest += kept ? squared : 0; /* those that are mixed into archetypes are among the fitted */
        }
        CHECK(rest <= a->objective[a->n_rounds] * (1 + 1e-6));
        for (int i = 0; i < k; i++) { /* archetypes lie in the hull: A = B X, less the mean where there are blocks */
            double sum = 0, got[10] = {0};
            for (int n = 0; n < 300; n++) {
                const double b = sg_tensor_get(&a->mixtures, i * 300 + n);
                CHECK(b >= 0);
                sum += b;
                for (int j = 0; j < 10; j++)
                    got[j] += b * (sg_tensor_get(x, n * 10 + j) - mean[j]);
            }
            CHECK_NEAR(sum, 1, 1e-5, 0);
            for (int j = 0; j < 10; j++)
                CHECK_NEAR(got[j], at[i * 10 + j], 1e-5, 0);
        }
        sg_archetypes_free(a);
    }
    sg_sample_free(s);
}

static void an_outlier_becomes_an_archetype_unless_it_is_trimmed(void **state)
{
    (void)state;
    static double x[N * D], corners[K * D];
    simplex(x, corners);
    for (int j = 0; j < D; j++)
        x[100 * D + j] = 50;
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, D}, x);
    for (int trimmed = 0; trimmed < 2; trimmed++) {
        sg_archetypes_opts opts = sg_archetypes_defaults();
        opts.n_restarts = 1;
        opts.trim = trimmed ? .005 : 0;
        sg_archetypes *a;
        sg_error err;
        CHECK_OK(sg_archetypes_fit(&a, &t, 1, (sg_dim[]){K}, opts, &err), &err);
        CHECK(a->n_trimmed == trimmed);
        double most = 0;
        for (int i = 0; i < K * D; i++)
            most = fmax(most, sg_tensor_get(&a->archetypes, i));
        CHECK((most > 40) == !trimmed);
        sg_archetypes_free(a);
    }
}

static void what_makes_no_sense_is_refused_and_it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    double x[12] = {0};
    sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){6, 2}, x);
    sg_archetypes_opts opts = sg_archetypes_defaults();
    sg_archetypes *a;
    sg_error err;
    CHECK_STATUS(sg_archetypes_fit(&a, &t, 1, (sg_dim[]){7}, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "7 archetypes");
    CHECK_STATUS(sg_archetypes_fit(&a, &t, 1, (sg_dim[]){2}, opts, &err), SG_ENUMERIC); /* all rows are one */
    x[3] = (double)NAN;
    CHECK_STATUS(sg_archetypes_fit(&a, &t, 1, (sg_dim[]){2}, opts, &err), SG_ENUMERIC);
    x[3] = 1;
    opts.cancel = &stop;
    CHECK_STATUS(sg_archetypes_fit(&a, &t, 1, (sg_dim[]){2}, opts, &err), SG_ECANCELLED);
    opts.trim = 1;
    CHECK_STATUS(sg_archetypes_fit(&a, &t, 1, (sg_dim[]){2}, opts, &err), SG_EARG);
    CHECK(a == NULL);
    sg_dim row[3];
    x[11] = 9; /* row 5 is far from all, then row 1, then the first that is left */
    CHECK_OK(sg_archetypes_furthest(row, 2, &t, 0, &err), &err);
    CHECK((row[0] == 5 || row[1] == 5) && row[0] != row[1]);
    CHECK_STATUS(sg_archetypes_furthest(row, 7, &t, 0, &err), SG_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_corners_of_a_simplex_are_recovered),
        cmocka_unit_test(weights_and_mixtures_keep_the_constraints_and_the_objective_never_rises),
        cmocka_unit_test(an_outlier_becomes_an_archetype_unless_it_is_trimmed),
        cmocka_unit_test(what_makes_no_sense_is_refused_and_it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
