/* Projections and fits against grids and enumerations: every set of vertices in use is tried, and the best feasible one
 * wins. */
#include "sightglass/simplex.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"

static double squared(const double *a, const double *b, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

/* The nearest point of the triangle in three dimensions: inside, on one of three edges, or a corner. */
static void brute_projection(double *out, const double *x)
{
    double least = HUGE_VAL;
    for (int set = 1; set < 8; set++) {
        double p[3] = {0}, sum = 0, n = 0;
        for (int i = 0; i < 3; i++)
            if (set >> i & 1) {
                sum += x[i];
                n++;
            }
        bool inside = true;
        for (int i = 0; i < 3; i++)
            if (set >> i & 1) {
                p[i] = x[i] - (sum - 1) / n;
                inside = inside && p[i] >= 0;
            }
        if (inside && squared(p, x, 3) < least) {
            least = squared(p, x, 3);
            memcpy(out, p, sizeof p);
        }
    }
}

static void projections_are_the_nearest_points_of_the_simplex(void **state)
{
    (void)state;
    sg_rng r = sg_rng_new(1, 0);
    sg_error err;
    for (int trial = 0; trial < 1000; trial++) {
        double x[3], y[3], want[3];
        for (int i = 0; i < 3; i++)
            y[i] = x[i] = 2 * sg_rng_normal(&r);
        const sg_tensor t = sg_tensor_of(SG_F64, 1, (sg_dim[]){3}, y);
        CHECK_OK(sg_simplex_project(&t, 1, &err), &err);
        brute_projection(want, x);
        for (int i = 0; i < 3; i++) {
            CHECK(y[i] >= 0);
            CHECK_NEAR(y[i], want[i], 1e-12, 0);
        }
        CHECK_NEAR(y[0] + y[1] + y[2], 1, 1e-12, 0);
        double again[3];
        memcpy(again, y, sizeof y);
        const sg_tensor u = sg_tensor_of(SG_F64, 1, (sg_dim[]){3}, again);
        CHECK_OK(sg_simplex_project(&u, 1, &err), &err);
        CHECK_NEAR(squared(again, y, 3), 0, 1e-24, 0);
    }
}

static void rows_are_projected_each_by_itself_in_f32_too(void **state)
{
    (void)state;
    float x[6] = {3, 0, 0, .2f, .3f, .1f}; /* onto sums of 2: a corner, and .4667 more on each */
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 3}, x);
    sg_error err;
    CHECK_OK(sg_simplex_project(&t, 2, &err), &err);
    static const double want[6] = {2, 0, 0, .2 + 1.4 / 3, .3 + 1.4 / 3, .1 + 1.4 / 3};
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(x[i], want[i], 1e-6, 0);
    CHECK_STATUS(sg_simplex_project(&t, 0, &err), SG_EARG);
    x[4] = NAN;
    CHECK_STATUS(sg_simplex_project(&t, 1, &err), SG_ENUMERIC);
}

/* The least squares on one set of vertices, by the KKT system; false: a weight is negative or a block is empty. */
static bool on_set(double *f, const double *v, sg_dim k, sg_dim d, int n_blocks, const sg_dim *block, const double *x,
                   unsigned set)
{
    double m[16 * 16] = {0}, b[16] = {0}, w[16] = {0};
    sg_dim at[16], n = 0;
    for (sg_dim i = 0; i < k; i++)
        if (set >> i & 1)
            at[n++] = i;
    const sg_dim size = n + n_blocks;
    for (sg_dim i = 0; i < n; i++) {
        for (sg_dim j = 0; j < n; j++)
            for (sg_dim l = 0; l < d; l++)
                m[i * size + j] += v[at[i] * d + l] * v[at[j] * d + l];
        for (sg_dim l = 0; l < d; l++)
            b[i] += v[at[i] * d + l] * x[l];
        for (sg_dim c = 0, first = 0; c < n_blocks; first += block[c++])
            if (at[i] >= first && at[i] < first + block[c])
                m[i * size + n + c] = m[(n + c) * size + i] = 1;
    }
    for (int c = 0; c < n_blocks; c++)
        b[n + c] = 1;
    const sg_tensor mt = sg_tensor_of(SG_F64, 2, (sg_dim[]){size, size}, m), bt = sg_tensor_of(SG_F64, 1, &size, b);
    sg_lstsq *solved;
    if (size == 0) {
        *f = squared(x, (double[8]){0}, d);
        return true;
    }
    CHECK_OK(sg_lstsq_new(&solved, &mt, &bt, 1e-12, NULL), NULL);
    double sums[4] = {0}, got[8] = {0};
    bool feasible = true;
    for (sg_dim i = 0; i < n; i++) {
        w[i] = sg_tensor_get(&solved->x, i);
        feasible = feasible && w[i] >= -1e-10;
        for (sg_dim c = 0, first = 0; c < n_blocks; first += block[c++])
            if (at[i] >= first && at[i] < first + block[c])
                sums[c] += w[i];
        for (sg_dim l = 0; l < d; l++)
            got[l] += w[i] * v[at[i] * d + l];
    }
    sg_lstsq_free(solved);
    for (int c = 0; c < n_blocks; c++)
        feasible = feasible && fabs(sums[c] - 1) < 1e-8;
    *f = squared(got, x, d);
    return feasible;
}

static void fits_are_the_best_over_every_set_of_vertices(void **state)
{
    (void)state;
    static const struct {
        int n_blocks;
        sg_dim block[3], k, d;
    } shape[] = {{1, {6}, 6, 3}, {2, {3, 4}, 7, 4}, {3, {2, 2, 3}, 7, 2},
                 {0, {0}, 5, 4}, {1, {7}, 7, 1},    {2, {1, 4}, 5, 5}};
    sg_rng r = sg_rng_new(2, 0);
    sg_error err;
    for (int trial = 0; trial < 300; trial++) {
        const size_t s = (size_t)trial % SG_COUNT_OF(shape);
        const sg_dim k = shape[s].k, d = shape[s].d;
        double v[64], x[8], start[8];
        for (sg_dim i = 0; i < k * d; i++)
            v[i] = sg_rng_normal(&r);
        for (sg_dim i = 0; i < d; i++)
            x[i] = sg_rng_normal(&r);
        for (sg_dim i = 0; i < k; i++)
            start[i] = sg_rng_uniform(&r);
        const sg_tensor vt = sg_tensor_of(SG_F64, 2, (sg_dim[]){k, d}, v),
                        xt = sg_tensor_of(SG_F64, 2, (sg_dim[]){1, d}, x),
                        st = sg_tensor_of(SG_F64, 2, (sg_dim[]){1, k}, start);
        double least = HUGE_VAL;
        for (unsigned set = 0; set < 1u << k; set++) {
            double f;
            if (on_set(&f, v, k, d, shape[s].n_blocks, shape[s].block, x, set))
                least = fmin(least, f);
        }
        for (int warm = 0; warm < 2; warm++) { /* wherever it begins */
            sg_simplex_fit *fit;
            CHECK_OK(sg_simplex_fit_new(&fit, &vt, shape[s].n_blocks, shape[s].block, &xt, warm ? &st : NULL,
                                        sg_simplex_defaults(), &err),
                     &err);
            const double residual = sg_tensor_get(&fit->residual, 0);
            CHECK_NEAR(residual * residual, least, 1e-7, 1e-7);
            CHECK(fit->n_stopped == 0 && fit->gap < 1e-9);
            const double *w = fit->weights.data;
            for (sg_dim i = 0; i < k; i++)
                CHECK(w[i] >= 0);
            for (sg_dim c = 0, first = 0; c < shape[s].n_blocks; first += shape[s].block[c++]) {
                double sum = 0;
                for (sg_dim i = first; i < first + shape[s].block[c]; i++)
                    sum += w[i];
                CHECK_NEAR(sum, 1, 1e-12, 0);
            }
            sg_simplex_fit_free(fit);
        }
    }
}

/* A point that was mixed of the corners of four polytopes is found again exactly, and a shifted one is at its distance.
 */
static void a_point_of_a_minkowski_sum_has_no_residual_and_one_outside_its_distance(void **state)
{
    (void)state;
    enum { K = 24, D = 40, N = 30 };
    static const sg_dim block[4] = {6, 6, 6, 6};
    static double v[K * D], x[N * D];
    sg_rng r = sg_rng_new(3, 0);
    sg_error err;
    for (int i = 0; i < K * D; i++)
        v[i] = i % D == D - 1 ? 0 : sg_rng_normal(&r); /* the last coordinate is nobody's */
    for (int n = 0; n < N; n++) {
        for (int b = 0; b < 4; b++) {
            double w[6], sum = 0;
            for (int i = 0; i < 6; i++)
                sum += w[i] = i % 2 && n % 2 ? 0 : sg_rng_uniform(&r);
            for (int i = 0; i < 6; i++)
                for (int j = 0; j < D; j++)
                    x[n * D + j] += w[i] / sum * v[(b * 6 + i) * D + j];
        }
        x[n * D + D - 1] = n % 3;
    }
    const sg_tensor vt = sg_tensor_of(SG_F64, 2, (sg_dim[]){K, D}, v),
                    xt = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, D}, x);
    sg_simplex_fit *fit;
    CHECK_OK(sg_simplex_fit_new(&fit, &vt, 4, block, &xt, NULL, sg_simplex_defaults(), &err), &err);
    for (int n = 0; n < N; n++)
        CHECK_NEAR(sg_tensor_get(&fit->residual, n), n % 3, 2e-5, 0); /* the gap's root, by 1e-12 of |v|^2 */
    sg_simplex_fit_free(fit);
}

static void doubled_and_equal_vertices_do_no_harm(void **state)
{
    (void)state;
    const double v[12] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2}, x[6] = {1, 1, .5, .5, 9, 9};
    const sg_tensor vt = sg_tensor_of(SG_F64, 2, (sg_dim[]){6, 2}, (void *)(uintptr_t)v),
                    xt = sg_tensor_of(SG_F64, 2, (sg_dim[]){3, 2}, (void *)(uintptr_t)x);
    double even[18];
    for (int i = 0; i < 18; i++)
        even[i] = 1;
    const sg_tensor st = sg_tensor_of(SG_F64, 2, (sg_dim[]){3, 6}, even);
    sg_error err;
    for (int warm = 0; warm < 2; warm++) {
        sg_simplex_fit *fit;
        CHECK_OK(sg_simplex_fit_new(&fit, &vt, 1, (sg_dim[]){6}, &xt, warm ? &st : NULL, sg_simplex_defaults(), &err),
                 &err);
        CHECK_NEAR(sg_tensor_get(&fit->residual, 0), 0, 1e-7, 0);
        CHECK_NEAR(sg_tensor_get(&fit->residual, 1), 0, 1e-7, 0);
        CHECK_NEAR(sg_tensor_get(&fit->residual, 2), 7 * sqrt(2), 1e-7, 0);
        sg_simplex_fit_free(fit);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    double v[6] = {0}, x[4] = {0};
    const sg_tensor vt = sg_tensor_of(SG_F64, 2, (sg_dim[]){3, 2}, v),
                    xt = sg_tensor_of(SG_F64, 2, (sg_dim[]){2, 2}, x);
    sg_simplex_fit *fit;
    sg_error err;
    CHECK_STATUS(sg_simplex_fit_new(&fit, &vt, 1, (sg_dim[]){2}, &xt, NULL, sg_simplex_defaults(), &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "2 vertices of 3");
    CHECK_STATUS(sg_simplex_fit_new(&fit, &vt, 2, (sg_dim[]){3, 0}, &xt, NULL, sg_simplex_defaults(), &err), SG_ESHAPE);
    const sg_tensor thin = sg_tensor_of(SG_F64, 2, (sg_dim[]){4, 1}, x);
    CHECK_STATUS(sg_simplex_fit_new(&fit, &vt, 1, (sg_dim[]){3}, &thin, NULL, sg_simplex_defaults(), &err), SG_ESHAPE);
    x[1] = (double)INFINITY;
    CHECK_STATUS(sg_simplex_fit_new(&fit, &vt, 1, (sg_dim[]){3}, &xt, NULL, sg_simplex_defaults(), &err), SG_ENUMERIC);
    CHECK(fit == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(projections_are_the_nearest_points_of_the_simplex),
        cmocka_unit_test(rows_are_projected_each_by_itself_in_f32_too),
        cmocka_unit_test(fits_are_the_best_over_every_set_of_vertices),
        cmocka_unit_test(a_point_of_a_minkowski_sum_has_no_residual_and_one_outside_its_distance),
        cmocka_unit_test(doubled_and_equal_vertices_do_no_harm),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
