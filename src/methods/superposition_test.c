/* Shapes whose dimensionality geometry knows: n unit vectors of a tight frame in m dimensions have D = m/n each. */
#include "sightglass/superposition.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/rng.h"

static sg_superposition *report(sg_dtype dtype, sg_dim k, sg_dim m, sg_dim n, void *w)
{
    const sg_tensor t =
        k ? sg_tensor_of(dtype, 3, (sg_dim[]){k, m, n}, w) : sg_tensor_of(dtype, 2, (sg_dim[]){m, n}, w);
    sg_superposition *s;
    sg_error err;
    CHECK_OK(sg_superposition_report(&s, &t, &err), &err);
    return s;
}

static void all_have(double d, sg_dim m, sg_dim n, double *w)
{
    sg_superposition *s = report(SG_F64, 0, m, n, w);
    for (sg_dim i = 0; i < n; i++)
        CHECK_NEAR(s->dimensionality[i], d, 1e-6, 0);
    CHECK_NEAR(s->sum_dimensionality[0], d * (double)n, 1e-6, 0);
    CHECK(s->n_represented[0] == n);
    sg_superposition_free(s);
}

/* n points at equal angles on the circle of radius r. */
static void polygon(double *w, int n, double r)
{
    for (int i = 0; i < n; i++) {
        w[i] = r * cos(2 * M_PI * i / n);
        w[n + i] = r * sin(2 * M_PI * i / n);
    }
}

static void regular_shapes_have_the_dimensionality_geometry_gives_them(void **state)
{
    (void)state;
    double w[24];
    all_have(1, 2, 2, (double[]){0.8, 0, 0, 1.1}); /* dedicated: an orthogonal pair */
    all_have(1.0 / 2, 1, 2, (double[]){1, -1});    /* digon */
    polygon(w, 3, 1);
    all_have(2.0 / 3, 2, 3, w); /* triangle */
    polygon(w, 5, 1.3);
    all_have(2.0 / 5, 2, 5, w); /* pentagon: D does not depend on size */
    all_have(3.0 / 4, 3, 4, (double[]){1, 1, -1, -1, /* */ 1, -1, 1, -1, /* */ 1, -1, -1, 1}); /* tetrahedron */

    /* Square antiprism: two squares, one turned by 45 degrees, at heights +h and -h. Eight unit vectors are a tight
     * frame where the sum of squares along each axis is 8/3: 8 h^2 = 8/3. */
    const double h = sqrt(1.0 / 3), r = sqrt(2.0 / 3);
    for (int i = 0; i < 8; i++) {
        const double angle = M_PI / 2 * (i % 4) + (i < 4 ? 0 : M_PI / 4);
        w[i] = r * cos(angle);
        w[8 + i] = r * sin(angle);
        w[16 + i] = i < 4 ? h : -h;
    }
    all_have(3.0 / 8, 3, 8, w);
}

static void a_feature_without_direction_has_none_of_a_dimension(void **state)
{
    (void)state;
    float w[6] = {1, 0, 1e-4f, 0, 0.4f, 0}; /* |W_2|^2 = 1e-8 counts as absent, |W_1|^2 = .16 as not represented */
    sg_superposition *s = report(SG_F32, 0, 2, 3, w);
    CHECK_NEAR(s->dimensionality[0], 1, 1e-6, 0);
    CHECK_NEAR(s->dimensionality[1], 1, 1e-6, 0);
    CHECK(s->dimensionality[2] == 0 && s->interference[2] == 0);
    CHECK(s->n_represented[0] == 1);
    CHECK_NEAR(s->per_dimension[0], 1.16 / 2, 1e-6, 0);
    sg_superposition_free(s);
}

/* W_0 = (1,0), W_1 = (.6,.8): G_01 = .6, so each sees an interference of .36 and D = 1/1.36. */
static void interference_is_what_the_others_project_onto_a_feature(void **state)
{
    (void)state;
    double w[4] = {1, 0.6, 0, 0.8};
    sg_superposition *s = report(SG_F64, 0, 2, 2, w);
    for (int i = 0; i < 2; i++) {
        CHECK_NEAR(s->interference[i], 0.36, 1e-12, 0);
        CHECK_NEAR(s->dimensionality[i], 1 / 1.36, 1e-12, 0);
    }
    CHECK_NEAR(s->gram[1], 0.6, 1e-12, 0);
    sg_superposition_free(s);
}

/* By Cauchy-Schwarz D_i <= W_i' S^+ W_i with S = WW', and those sum to the rank. */
static void dimensionalities_sum_to_at_most_the_dimensions(void **state)
{
    (void)state;
    double most = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        sg_rng r = sg_rng_new(7, i);
        const sg_dim m = 1 + sg_rng_below(&r, 8), n = 1 + sg_rng_below(&r, 24);
        float w[8 * 24];
        for (sg_dim j = 0; j < m * n; j++)
            w[j] = (float)(sg_rng_normal(&r) * (j % n < n / 3 ? 1e-3 : 1)); /* some small, as after training */
        sg_superposition *s = report(SG_F32, 0, m, n, w);
        CHECK(s->sum_dimensionality[0] <= (double)SG_MIN(m, n) + 1e-5);
        most = SG_MAX(most, s->sum_dimensionality[0] / (double)m);
        sg_superposition_free(s);
    }
    CHECK(most > 0.9); /* the bound is within reach, so the check above can fail */
}

static void instances_are_reported_one_by_one(void **state)
{
    (void)state;
    float w[12] = {1, 0, 0, /* */ 0, 1, 0, /* and a triangle: */ 1, -0.5f, -0.5f, /* */ 0, 0.8660254f, -0.8660254f};
    sg_superposition *s = report(SG_F32, 2, 2, 3, w);
    CHECK(s->n_instances == 2 && s->n_represented[0] == 2 && s->n_represented[1] == 3);
    CHECK_NEAR(s->dimensionality[0], 1, 1e-6, 0);
    CHECK_NEAR(s->dimensionality[3], 2.0 / 3, 1e-6, 0);
    CHECK_NEAR(s->gram[9 + 1], -0.5, 1e-6, 0);
    CHECK_NEAR(s->sum_dimensionality[1], 2, 1e-5, 0);
    sg_superposition_free(s);
}

static void what_is_no_matrix_of_numbers_is_refused(void **state)
{
    (void)state;
    sg_superposition *s;
    sg_error err;
    float w[2] = {1, NAN};
    sg_tensor t = sg_tensor_of(SG_F32, 1, (sg_dim[]){2}, w);
    CHECK_STATUS(sg_superposition_report(&s, &t, &err), SG_ESHAPE);
    t = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, 2}, w);
    CHECK_STATUS(sg_superposition_report(&s, &t, &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "element 1");
    t = sg_tensor_of(SG_I32, 2, (sg_dim[]){1, 2}, w);
    CHECK_STATUS(sg_superposition_report(&s, &t, &err), SG_ETYPE);
    CHECK(s == NULL);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    float w[2] = {1, -1};
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, 2}, w);
    sg_superposition *s;
    sg_error err;
    for (long n = 0;; n++) {
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_superposition_report(&s, &t, &err);
        if (!sg_faults_end()) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM && s == NULL);
    }
    sg_superposition_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regular_shapes_have_the_dimensionality_geometry_gives_them),
        cmocka_unit_test(a_feature_without_direction_has_none_of_a_dimension),
        cmocka_unit_test(interference_is_what_the_others_project_onto_a_feature),
        cmocka_unit_test(dimensionalities_sum_to_at_most_the_dimensions),
        cmocka_unit_test(instances_are_reported_one_by_one),
        cmocka_unit_test(what_is_no_matrix_of_numbers_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
