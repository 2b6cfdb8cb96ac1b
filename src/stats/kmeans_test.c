/* Against all partitions where there are few rows, and against planted clusters where there are many. */
#include "sightglass/kmeans.h"

#include "check.h"
#include "faults.h"
#include "sightglass/rng.h"

enum { N = 10, D = 2 };

/* Mean squared distance to the means of a partition into two, bit i of `side` saying which row i is in. */
static double inertia(const float *x, unsigned side)
{
    double sum = 0;
    for (unsigned s = 0; s < 2; s++) {
        double mean[D] = {0};
        int n = 0;
        for (int i = 0; i < N; i++)
            if ((side >> i & 1u) == s) {
                n++;
                for (int d = 0; d < D; d++)
                    mean[d] += (double)x[i * D + d];
            }
        for (int i = 0; i < N; i++)
            if ((side >> i & 1u) == s)
                for (int d = 0; d < D; d++) {
                    const double off = (double)x[i * D + d] - mean[d] / n;
                    sum += off * off;
                }
    }
    return sum / N;
}

static void the_best_of_some_starts_is_the_best_of_all_partitions(void **state)
{
    (void)state;
    float x[N * D];
    for (uint64_t data = 0; data < 5; data++) {
        sg_rng r = sg_rng_new(data, 1);
        for (int i = 0; i < N * D; i++)
            x[i] = (float)sg_rng_normal(&r);
        double want = 1e300, got = 1e300;
        for (unsigned side = 1; side < (1u << N) - 1; side++)
            want = fmin(want, inertia(x, side));
        const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
        sg_kmeans_opts opts = sg_kmeans_defaults();
        opts.k = 2;
        opts.tolerance = 0;
        for (opts.seed = 0; opts.seed < 20; opts.seed++) {
            sg_kmeans *fit;
            CHECK_OK(sg_kmeans_fit(&fit, &t, opts, NULL), NULL);
            CHECK(fit->settled && fit->counts[0] + fit->counts[1] == N);
            unsigned side = 0;
            for (int i = 0; i < N; i++)
                side |= (unsigned)fit->labels[i] << i;
            CHECK_NEAR(fit->inertia, inertia(x, side), 1e-6, 1e-6); /* centroids are f32 */
            got = fmin(got, fit->inertia);
            sg_kmeans_free(fit);
        }
        CHECK_NEAR(got, want, 1e-5, 1e-5);
    }
}

/* 3000 rows about 12 places far apart, more than one slice of them. */
static void planted_places_are_found_and_a_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    enum { ROWS = 3000, K = 12, W = 5 };
    static float x[ROWS * W];
    sg_rng r = sg_rng_new(3, 0);
    float place[K * W];
    for (int i = 0; i < K * W; i++)
        place[i] = (float)(10 * sg_rng_normal(&r));
    for (int i = 0; i < ROWS; i++)
        for (int d = 0; d < W; d++)
            x[i * W + d] = place[i % K * W + d] + (float)(0.1 * sg_rng_normal(&r));
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){ROWS, W}, x);
    sg_kmeans_opts opts = sg_kmeans_defaults();
    opts.k = K;
    sg_kmeans *fit, *again;
    CHECK_OK(sg_kmeans_fit(&fit, &t, opts, NULL), NULL);
    while (fit->inertia > 1 && opts.seed < 10) { /* a start may put two centroids into one place */
        sg_kmeans_free(fit);
        opts.seed++;
        CHECK_OK(sg_kmeans_fit(&fit, &t, opts, NULL), NULL);
    }
    CHECK_NEAR(fit->inertia, W * 0.01, 0, 0.1);
    for (int k = 0; k < K; k++) {
        CHECK(fit->counts[k] == ROWS / K);
        const float *c = (const float *)fit->centroids.data + (size_t)fit->labels[k] * W;
        for (int d = 0; d < W; d++)
            CHECK_NEAR(c[d], place[k * W + d], 0.05, 0);
    }
    CHECK_OK(sg_kmeans_fit(&again, &t, opts, NULL), NULL);
    CHECK(memcmp(fit->centroids.data, again->centroids.data, sg_tensor_bytes(&fit->centroids)) == 0);
    int32_t labels[ROWS];
    double distances[ROWS];
    CHECK_OK(sg_kmeans_nearest(labels, distances, &t, &fit->centroids, NULL), NULL);
    CHECK(memcmp(labels, fit->labels, sizeof labels) == 0);
    for (int i = 0; i < ROWS; i++) {
        double want = 1e300;
        for (int k = 0; k < K; k++) {
            double sum = 0;
            for (int d = 0; d < W; d++) {
                const double off = (double)x[i * W + d] - (double)((float *)fit->centroids.data)[k * W + d];
                sum += off * off;
            }
            want = fmin(want, sum);
        }
        CHECK_NEAR(distances[i], want, 1e-12, 1e-12);
    }
    sg_kmeans_free(fit);
    sg_kmeans_free(again);
}

static void as_many_centroids_as_rows_and_rows_that_are_equal(void **state)
{
    (void)state;
    float x[6] = {1, 1, 1, 4, 4, 9};
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){6, 1}, x);
    sg_kmeans_opts opts = sg_kmeans_defaults();
    sg_kmeans *fit;
    opts.k = 6;
    CHECK_OK(sg_kmeans_fit(&fit, &t, opts, NULL), NULL);
    CHECK(fit->inertia == 0);
    sg_kmeans_free(fit);
    opts.k = 7;
    sg_error err;
    CHECK(sg_kmeans_fit(&fit, &t, opts, &err) == SG_EARG);
    CHECK_TEXT(err.text, "7 centroids of 6 rows");
    const volatile sig_atomic_t cancel = 1;
    opts.k = 2;
    opts.cancel = &cancel;
    CHECK_STATUS(sg_kmeans_fit(&fit, &t, opts, NULL), SG_ECANCELLED);
    x[3] = INFINITY;
    opts.cancel = NULL;
    CHECK_STATUS(sg_kmeans_fit(&fit, &t, opts, NULL), SG_ENUMERIC);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    float x[4] = {1, 2, 8, 9};
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, 1}, x);
    sg_kmeans_opts opts = sg_kmeans_defaults();
    opts.k = 2;
    for (long n = 0;; n++) {
        sg_kmeans *fit;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_kmeans_fit(&fit, &t, opts, NULL);
        if (!sg_faults_end()) {
            CHECK_OK(status, NULL);
            sg_kmeans_free(fit);
            break;
        }
        CHECK(status == SG_ENOMEM && !fit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_of_some_starts_is_the_best_of_all_partitions),
        cmocka_unit_test(planted_places_are_found_and_a_seed_gives_the_same_bytes),
        cmocka_unit_test(as_many_centroids_as_rows_and_rows_that_are_equal),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
