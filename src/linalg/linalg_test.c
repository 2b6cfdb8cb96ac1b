/* Each decomposition put together again, closed forms, limits, and what happens when something is wrong.
 *
 * Tolerances are multiples of epsilon * size * the largest singular value, which is what LAPACK promises (backward
 * stability); a test that allows more says why. */
#include "sightglass/linalg.h"

#include <float.h>

#include <cblas.h>
#include <lapacke.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "linalg/linalg_internal.h"
#include "sightglass/rng.h"

static const sg_dtype both[] = {SG_F32, SG_F64};

/* ---- matrices ---- */

static sg_tensor blank(sg_dtype dtype, sg_dim m, sg_dim n)
{
    void *data = calloc((size_t)(m * n) + 1, sg_dtype_bytes(dtype));
    CHECK(data);
    return sg_tensor_of(dtype, 2, (sg_dim[]){m, n}, data);
}

static sg_tensor filled(sg_dtype dtype, sg_dim m, sg_dim n, const double *values)
{
    sg_tensor t = blank(dtype, m, n);
    for (sg_dim i = 0; i < m * n; i++)
        sg_tensor_set(&t, i, values[i]);
    return t;
}

static sg_tensor noise(sg_dtype dtype, sg_dim m, sg_dim n, uint32_t stream)
{
    sg_tensor t = blank(dtype, m, n);
    sg_rng r = sg_rng_new(7, stream);
    for (sg_dim i = 0; i < m * n; i++)
        sg_tensor_set(&t, i, (double)(float)sg_rng_normal(&r)); /* the same numbers in either type */
    return t;
}

static sg_tensor hilbert(sg_dim n)
{
    sg_tensor t = blank(SG_F64, n, n);
    for (sg_dim i = 0; i < n * n; i++)
        sg_tensor_set(&t, i, 1.0 / (double)(i / n + i % n + 1));
    return t;
}

static double at(const sg_tensor *t, sg_dim i, sg_dim j)
{
    return sg_tensor_get(t, i * t->dims[1] + j);
}

/* op(a) op(b) in double, plainly. */
static sg_tensor product(const sg_tensor *a, bool turn_a, const sg_tensor *b, bool turn_b)
{
    const sg_dim m = a->dims[turn_a], inner = a->dims[!turn_a], n = b->dims[!turn_b];
    CHECK(b->dims[turn_b] == inner);
    sg_tensor t = blank(SG_F64, m, n);
    for (sg_dim i = 0; i < m; i++)
        for (sg_dim j = 0; j < n; j++) {
            double sum = 0;
            for (sg_dim k = 0; k < inner; k++)
                sum += (turn_a ? at(a, k, i) : at(a, i, k)) * (turn_b ? at(b, j, k) : at(b, k, j));
            sg_tensor_set(&t, i * n + j, sum);
        }
    return t;
}

static void check_same(const sg_tensor *a, const sg_tensor *b, double tolerance)
{
    CHECK(sg_tensor_count(a) == sg_tensor_count(b));
    for (sg_dim i = 0; i < sg_tensor_count(a); i++)
        CHECK_NEAR(sg_tensor_get(a, i), sg_tensor_get(b, i), tolerance, 0);
}

static void check_shape(const sg_tensor *t, sg_dtype dtype, int n_dims, sg_dim d0, sg_dim d1)
{
    CHECK(t->dtype == dtype && t->n_dims == n_dims && t->dims[0] == d0 && (n_dims < 2 || t->dims[1] == d1));
}

/* op(q)' op(q) is the identity. */
static void check_orthonormal(const sg_tensor *q, bool rows, double tolerance)
{
    sg_tensor gram = product(q, !rows, q, rows);
    for (sg_dim i = 0; i < gram.dims[0]; i++)
        for (sg_dim j = 0; j < gram.dims[1]; j++)
            CHECK_NEAR(at(&gram, i, j), i == j, tolerance, 0);
    free(gram.data);
}

/* a diag(s) b, where s may be shorter than the inner extents: then the rest of them meets zeros. */
static sg_tensor put_together(const sg_tensor *a, const sg_tensor *s, const sg_tensor *b)
{
    sg_tensor t = blank(SG_F64, a->dims[0], b->dims[1]);
    for (sg_dim i = 0; i < a->dims[0]; i++)
        for (sg_dim j = 0; j < b->dims[1]; j++) {
            double sum = 0;
            for (sg_dim k = 0; k < s->dims[0]; k++)
                sum += at(a, i, k) * sg_tensor_get(s, k) * at(b, k, j);
            sg_tensor_set(&t, i * b->dims[1] + j, sum);
        }
    return t;
}

static void check_leading_positive(const sg_tensor *rows)
{
    for (sg_dim i = 0; i < rows->dims[0]; i++) {
        double largest = 0;
        for (sg_dim j = 0; j < rows->dims[1]; j++)
            largest = fmax(largest, fabs(at(rows, i, j)));
        sg_dim j = 0;
        while (fabs(at(rows, i, j)) < 0.999 * largest)
            j++;
        CHECK(at(rows, i, j) > 0);
    }
}

static const sg_dim shapes[][2] = {{1, 1}, {1, 5}, {5, 1}, {4, 4}, {7, 3}, {3, 7}, {90, 20}, {20, 90}, {64, 64}};

/* ---- SVD ---- */

static void svd_puts_any_shape_together_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(shapes) * 4; i++) {
        const sg_dtype dtype = both[i % 2];
        const bool full = i / 2 % 2;
        const sg_dim m = shapes[i / 4][0], n = shapes[i / 4][1], k = SG_MIN(m, n);
        sg_tensor a = noise(dtype, m, n, (uint32_t)i), before = noise(dtype, m, n, (uint32_t)i);
        sg_svd *svd;
        sg_error err;
        CHECK_OK(sg_svd_new(&svd, &a, full ? SG_FACTORS_FULL : SG_FACTORS_THIN, &err), &err);
        check_shape(&svd->u, dtype, 2, m, full ? m : k);
        check_shape(&svd->s, dtype, 1, k, 0);
        check_shape(&svd->vt, dtype, 2, full ? n : k, n);
        check_same(&a, &before, 0);
        const double eps = sg_linalg_epsilon(dtype) * (double)(m + n);
        sg_tensor again = put_together(&svd->u, &svd->s, &svd->vt);
        check_same(&again, &a, eps * sg_tensor_get(&svd->s, 0));
        check_orthonormal(&svd->u, false, eps);
        check_orthonormal(&svd->vt, true, eps);
        check_leading_positive(&svd->vt);
        for (sg_dim j = 1; j < k; j++)
            CHECK(sg_tensor_get(&svd->s, j - 1) >= sg_tensor_get(&svd->s, j) && sg_tensor_get(&svd->s, j) > 0);
        CHECK(sg_svd_rank(svd, SG_RCOND_DEFAULT) == k);
        free(again.data);
        free(a.data);
        free(before.data);
        sg_svd_free(svd);
    }
}

/* [3 0; 4 5]: A'A = [25 20; 20 25], so s^2 = 45 and 5, v = (1,1) and (1,-1) over sqrt 2, u = A v / s. */
static void svd_of_two_by_two_by_hand(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        sg_tensor a = filled(both[d], 2, 2, (double[]){3, 0, 4, 5});
        const double tolerance = 10 * sg_linalg_epsilon(both[d]), h = sqrt(0.5);
        sg_svd *svd;
        CHECK_OK(sg_svd_new(&svd, &a, SG_FACTORS_THIN, NULL), NULL);
        CHECK_NEAR(sg_tensor_get(&svd->s, 0), sqrt(45), tolerance, 0);
        CHECK_NEAR(sg_tensor_get(&svd->s, 1), sqrt(5), tolerance, 0);
        const double vt[4] = {h, h, h, -h}, u[4] = {sqrt(0.1), 3 * sqrt(0.1), 3 * sqrt(0.1), -sqrt(0.1)};
        for (sg_dim i = 0; i < 4; i++) {
            CHECK_NEAR(sg_tensor_get(&svd->vt, i), vt[i], tolerance, 0);
            CHECK_NEAR(sg_tensor_get(&svd->u, i), u[i], tolerance, 0);
        }
        free(a.data);
        sg_svd_free(svd);
    }
}

/* Left and right exchange under transposition, and -A has A's right vectors: signs do not hang on the routine's mood.
 */
static void signs_hang_on_the_right_vectors_alone(void **state)
{
    (void)state;
    sg_tensor a = noise(SG_F64, 6, 4, 1), minus = noise(SG_F64, 6, 4, 1);
    for (sg_dim i = 0; i < 24; i++)
        sg_tensor_set(&minus, i, -sg_tensor_get(&a, i));
    sg_svd *one, *other;
    CHECK_OK(sg_svd_new(&one, &a, SG_FACTORS_THIN, NULL), NULL);
    CHECK_OK(sg_svd_new(&other, &minus, SG_FACTORS_THIN, NULL), NULL);
    check_same(&one->vt, &other->vt, 1e-13);
    for (sg_dim i = 0; i < 24; i++)
        CHECK_NEAR(sg_tensor_get(&one->u, i), -sg_tensor_get(&other->u, i), 1e-13, 0);
    sg_svd_free(one);
    sg_svd_free(other);
    free(a.data);
    free(minus.data);
}

static void f32_follows_f64(void **state)
{
    (void)state;
    sg_tensor single = noise(SG_F32, 40, 30, 3), twice = noise(SG_F64, 40, 30, 3);
    sg_svd *one, *other;
    CHECK_OK(sg_svd_new(&one, &single, SG_FACTORS_THIN, NULL), NULL);
    CHECK_OK(sg_svd_new(&other, &twice, SG_FACTORS_THIN, NULL), NULL);
    const double tolerance = 70 * (double)FLT_EPSILON * sg_tensor_get(&other->s, 0);
    check_same(&one->s, &other->s, tolerance);
    /* Vectors turn by the error over the distance between singular values, here at least 0.02. */
    check_same(&one->vt, &other->vt, tolerance / 0.02);
    sg_svd_free(one);
    sg_svd_free(other);
    sg_qr *q32, *q64;
    CHECK_OK(sg_qr_new(&q32, &single, SG_FACTORS_THIN, NULL), NULL);
    CHECK_OK(sg_qr_new(&q64, &twice, SG_FACTORS_THIN, NULL), NULL);
    check_same(&q32->r, &q64->r, tolerance);
    sg_qr_free(q32);
    sg_qr_free(q64);
    free(single.data);
    free(twice.data);
}

static void rank_is_told(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        sg_tensor left = noise(both[d], 30, 4, 5), right = noise(both[d], 4, 20, 6);
        sg_tensor wide = product(&left, false, &right, false), a = blank(both[d], 30, 20);
        for (sg_dim i = 0; i < 600; i++)
            sg_tensor_set(&a, i, sg_tensor_get(&wide, i));
        sg_svd *svd;
        CHECK_OK(sg_svd_new(&svd, &a, SG_FACTORS_THIN, NULL), NULL);
        CHECK(sg_svd_rank(svd, SG_RCOND_DEFAULT) == 4);
        CHECK(sg_svd_rank(svd, 0.999999) == 1);
        check_orthonormal(&svd->u, false, 50 * sg_linalg_epsilon(both[d])); /* of zeros' vectors too */
        sg_svd_free(svd);
        sg_tensor none = blank(both[d], 3, 2);
        CHECK_OK(sg_svd_new(&svd, &none, SG_FACTORS_FULL, NULL), NULL);
        CHECK(sg_svd_rank(svd, 0) == 0);
        check_orthonormal(&svd->u, false, 0);
        sg_svd_free(svd);
        free(none.data);
        free(left.data);
        free(right.data);
        free(wide.data);
        free(a.data);
    }
}

/* Extremes of H_8 (Todd 1954; Fettis and Caslin 1967): 1.6959389969219, 1.1115389663724e-10; condition 1.526e10.
 * Small singular values are known to epsilon of the largest, 1e-15, which is 1e-5 of the smallest. */
static void hilbert_keeps_what_its_condition_leaves(void **state)
{
    (void)state;
    sg_tensor h = hilbert(8), ones = blank(SG_F64, 8, 1);
    for (sg_dim i = 0; i < 8; i++)
        sg_tensor_set(&ones, i, 1);
    sg_tensor b = product(&h, false, &ones, false), x = blank(SG_F64, 8, 1);
    sg_svd *svd;
    sg_eigen *eigen;
    CHECK_OK(sg_svd_new(&svd, &h, SG_FACTORS_THIN, NULL), NULL);
    CHECK_OK(sg_eigen_new(&eigen, &h, NULL), NULL);
    CHECK_NEAR(sg_tensor_get(&svd->s, 0), 1.6959389969219, 1e-13, 0);
    CHECK_NEAR(sg_tensor_get(&svd->s, 7), 1.1115389663724e-10, 8 * DBL_EPSILON, 0);
    CHECK_NEAR(sg_tensor_get(&eigen->values, 7), 1.6959389969219, 1e-13, 0);
    CHECK_NEAR(sg_tensor_get(&eigen->values, 0), 1.1115389663724e-10, 8 * DBL_EPSILON, 0);
    /* Solutions may be off by condition * epsilon = 3.4e-6. */
    sg_cholesky *cholesky;
    sg_lstsq *lstsq;
    CHECK_OK(sg_cholesky_new(&cholesky, &h, NULL), NULL);
    CHECK_OK(sg_cholesky_solve(&x, cholesky, &b, NULL), NULL);
    check_same(&x, &ones, 3.4e-6);
    CHECK_OK(sg_lstsq_new(&lstsq, &h, &b, SG_RCOND_DEFAULT, NULL), NULL);
    check_same(&lstsq->x, &ones, 3.4e-6);
    CHECK(lstsq->rank == 8);
    sg_lstsq_free(lstsq);
    sg_cholesky_free(cholesky);
    sg_svd_free(svd);
    sg_eigen_free(eigen);
    free(h.data);
    free(b.data);
    free(x.data);

    /* H_14 has condition 1e18 > 1/epsilon: Cholesky refuses or not by luck, least squares give what can be had. */
    sg_tensor worse = hilbert(14), some = noise(SG_F64, 14, 1, 8), sides = product(&worse, false, &some, false);
    CHECK_OK(sg_lstsq_new(&lstsq, &worse, &sides, SG_RCOND_DEFAULT, NULL), NULL);
    CHECK(lstsq->rank < 14 && lstsq->rank > 8);
    sg_tensor back = product(&worse, false, &lstsq->x, false);
    check_same(&back, &sides, 1e-12);
    sg_lstsq_free(lstsq);
    free(worse.data);
    free(some.data);
    free(sides.data);
    free(back.data);
    free(ones.data);
}

/* ---- symmetric ---- */

/* The second difference, 2 on the diagonal and -1 beside it: values 2 - 2 cos(k pi / (n+1)), vectors sin(i k pi /
 * (n+1)). */
static void eigenvectors_of_a_string(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        enum { N = 20 };
        const double pi = acos(-1), tolerance = 40 * N * sg_linalg_epsilon(both[d]);
        sg_tensor a = blank(both[d], N, N);
        for (sg_dim i = 0; i < N; i++)
            for (sg_dim j = 0; j < N; j++)
                sg_tensor_set(&a, i * N + j, i == j ? 2 : i - j == 1 || j - i == 1 ? -1 : 0);
        sg_eigen *eigen;
        CHECK_OK(sg_eigen_new(&eigen, &a, NULL), NULL);
        check_shape(&eigen->values, both[d], 1, N, 0);
        check_shape(&eigen->vectors, both[d], 2, N, N);
        check_orthonormal(&eigen->vectors, true, tolerance);
        check_leading_positive(&eigen->vectors);
        for (int k = 0; k < N; k++) {
            CHECK_NEAR(sg_tensor_get(&eigen->values, k), 2 - 2 * cos((k + 1) * pi / (N + 1)), tolerance, 0);
            double overlap = 0; /* whole up to sign */
            for (int i = 0; i < N; i++)
                overlap += at(&eigen->vectors, k, i) * sqrt(2.0 / (N + 1)) * sin((i + 1) * (k + 1) * pi / (N + 1));
            CHECK_NEAR(fabs(overlap), 1, tolerance, 0);
        }
        free(a.data);
        sg_eigen_free(eigen);
    }
}

static void eigenvectors_put_noise_together_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        const sg_dtype dtype = both[i % 2];
        const sg_dim n = (sg_dim[]){1, 2, 9, 70}[i / 2];
        sg_tensor x = noise(dtype, n, n, 9), a = blank(dtype, n, n), scaled = blank(dtype, n, n);
        for (sg_dim j = 0; j < n * n; j++)
            sg_tensor_set(&a, j, at(&x, j / n, j % n) + at(&x, j % n, j / n));
        sg_eigen *eigen;
        CHECK_OK(sg_eigen_new(&eigen, &a, NULL), NULL);
        for (sg_dim j = 0; j < n * n; j++)
            sg_tensor_set(&scaled, j, sg_tensor_get(&eigen->vectors, j) * sg_tensor_get(&eigen->values, j / n));
        sg_tensor again = product(&eigen->vectors, true, &scaled, false);
        check_same(&again, &a, 100 * (double)n * sg_linalg_epsilon(dtype));
        for (sg_dim j = 1; j < n; j++)
            CHECK(sg_tensor_get(&eigen->values, j - 1) <= sg_tensor_get(&eigen->values, j));
        sg_eigen_free(eigen);
        free(x.data);
        free(a.data);
        free(scaled.data);
        free(again.data);
    }
}

static void halves_must_agree_up_to_rounding(void **state)
{
    (void)state;
    sg_error err;
    sg_eigen *eigen;
    sg_cholesky *cholesky;
    sg_tensor a = filled(SG_F64, 2, 2, (double[]){2, 1, 1 + 1e-10, 2});
    CHECK_OK(sg_eigen_new(&eigen, &a, &err), &err);
    CHECK_NEAR(sg_tensor_get(&eigen->values, 1), 3 + 0.5e-10, 1e-14, 0);
    sg_eigen_free(eigen);
    sg_tensor_set(&a, 2, -1);
    CHECK_STATUS(sg_eigen_new(&eigen, &a, &err), SG_EARG);
    CHECK_TEXT(err.text, "eigen: a is not symmetric: a[0,1] is 1, its mirror -1");
    CHECK_STATUS(sg_cholesky_new(&cholesky, &a, &err), SG_EARG);
    CHECK(!eigen && !cholesky);
    free(a.data);
}

static void cholesky_by_hand(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        sg_tensor a = filled(both[d], 3, 3, (double[]){4, 12, -16, 12, 37, -43, -16, -43, 98});
        sg_tensor l = filled(both[d], 3, 3, (double[]){2, 0, 0, 6, 1, 0, -8, 5, 3});
        sg_tensor x = filled(both[d], 3, 2, (double[]){1, 0, -2, 1, 3, 2});
        sg_tensor wide = product(&a, false, &x, false), b = blank(both[d], 3, 2), got = blank(both[d], 3, 2);
        for (sg_dim i = 0; i < 6; i++)
            sg_tensor_set(&b, i, sg_tensor_get(&wide, i));
        const double tolerance = d ? 1e-11 : 1e-2; /* condition 3e4, and some */
        sg_cholesky *cholesky;
        sg_error err;
        CHECK_OK(sg_cholesky_new(&cholesky, &a, &err), &err);
        check_same(&cholesky->l, &l, 200 * sg_linalg_epsilon(both[d]));
        CHECK_OK(sg_cholesky_solve(&got, cholesky, &b, &err), &err);
        check_same(&got, &x, tolerance);
        CHECK_OK(sg_cholesky_solve(&b, cholesky, &b, &err), &err); /* in place */
        check_same(&b, &got, 0);
        sg_tensor column = sg_tensor_of(both[d], 1, (sg_dim[]){3}, b.data);
        CHECK_OK(sg_cholesky_solve(&column, cholesky, &column, &err), &err);
        CHECK_STATUS(sg_cholesky_solve(&got, cholesky, &column, &err), SG_ESHAPE);
        CHECK_TEXT(err.text, "x is [3,2] and b is [3]");
        sg_tensor two = sg_tensor_of(both[d], 1, (sg_dim[]){2}, b.data);
        CHECK_STATUS(sg_cholesky_solve(&two, cholesky, &two, &err), SG_ESHAPE);
        CHECK_TEXT(err.text, "l is [3,3] and b is [2]");
        sg_tensor other = blank(both[!d], 3, 2);
        CHECK_STATUS(sg_cholesky_solve(&other, cholesky, &other, &err), SG_ETYPE);
        CHECK_STATUS(sg_cholesky_solve(&other, cholesky, &b, &err), SG_ETYPE);
        free(other.data);
        sg_cholesky_free(cholesky);

        sg_tensor_set(&a, 4, 35); /* the minor of order 2 is 140 - 144 */
        CHECK_STATUS(sg_cholesky_new(&cholesky, &a, &err), SG_ENUMERIC);
        CHECK_TEXT(err.text, "its leading minor of order 2 is not positive");
        free(a.data);
        free(l.data);
        free(x.data);
        free(wide.data);
        free(b.data);
        free(got.data);
    }
}

/* ---- QR ---- */

static void qr_puts_any_shape_together_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(shapes) * 4; i++) {
        const sg_dtype dtype = both[i % 2];
        const bool full = i / 2 % 2;
        const sg_dim m = shapes[i / 4][0], n = shapes[i / 4][1], k = SG_MIN(m, n), n_q = full ? m : k;
        sg_tensor a = noise(dtype, m, n, (uint32_t)i), before = noise(dtype, m, n, (uint32_t)i);
        sg_qr *qr;
        sg_error err;
        CHECK_OK(sg_qr_new(&qr, &a, full ? SG_FACTORS_FULL : SG_FACTORS_THIN, &err), &err);
        check_shape(&qr->q, dtype, 2, m, n_q);
        check_shape(&qr->r, dtype, 2, n_q, n);
        check_same(&a, &before, 0);
        const double eps = sg_linalg_epsilon(dtype) * (double)(m + n);
        sg_tensor again = product(&qr->q, false, &qr->r, false);
        check_same(&again, &a, 10 * eps);
        check_orthonormal(&qr->q, false, eps);
        for (sg_dim r = 0; r < n_q; r++)
            for (sg_dim c = 0; c <= SG_MIN(r, n - 1); c++)
                CHECK(c < r ? at(&qr->r, r, c) == 0 : at(&qr->r, r, c) >= 0);
        free(again.data);
        free(a.data);
        free(before.data);
        sg_qr_free(qr);
    }
}

static void qr_of_two_columns_by_hand(void **state)
{
    (void)state;
    sg_tensor a = filled(SG_F64, 2, 2, (double[]){-3, 1, 4, 2}); /* Gram and Schmidt */
    sg_qr *qr;
    CHECK_OK(sg_qr_new(&qr, &a, SG_FACTORS_THIN, NULL), NULL);
    const double q[4] = {-0.6, 0.8, 0.8, 0.6}, r[4] = {5, 1, 0, 2};
    for (sg_dim i = 0; i < 4; i++) {
        CHECK_NEAR(sg_tensor_get(&qr->q, i), q[i], 1e-15, 0);
        CHECK_NEAR(sg_tensor_get(&qr->r, i), r[i], 2e-15, 0);
    }
    sg_qr_free(qr);
    free(a.data);
}

/* ---- least squares and the pseudo-inverse ---- */

/* A line through (0,1), (1,3), (2,4), (3,4): slope 1, height 1.5. */
static void lstsq_draws_a_line(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++) {
        sg_tensor a = filled(both[d], 4, 2, (double[]){0, 1, 1, 1, 2, 1, 3, 1}),
                  b = filled(both[d], 4, 1, (double[]){1, 3, 4, 4});
        sg_lstsq *lstsq;
        sg_error err;
        CHECK_OK(sg_lstsq_new(&lstsq, &a, &b, SG_RCOND_DEFAULT, &err), &err);
        check_shape(&lstsq->x, both[d], 2, 2, 1);
        const double tolerance = 50 * sg_linalg_epsilon(both[d]);
        CHECK_NEAR(sg_tensor_get(&lstsq->x, 0), 1, tolerance, 0);
        CHECK_NEAR(sg_tensor_get(&lstsq->x, 1), 1.5, tolerance, 0);
        CHECK(lstsq->rank == 2);
        CHECK_NEAR(sg_tensor_get(&lstsq->s, 0), sqrt(9 + sqrt(61)), 10 * tolerance, 0); /* s^2 of [14 6; 6 4] */
        CHECK_NEAR(sg_tensor_get(&lstsq->s, 1), sqrt(9 - sqrt(61)), 10 * tolerance, 0);
        sg_lstsq_free(lstsq);
        b = sg_tensor_of(both[d], 1, (sg_dim[]){4}, b.data);
        CHECK_OK(sg_lstsq_new(&lstsq, &a, &b, 0, &err), &err);
        check_shape(&lstsq->x, both[d], 1, 2, 0);
        CHECK_NEAR(sg_tensor_get(&lstsq->x, 1), 1.5, tolerance, 0);
        sg_lstsq_free(lstsq);
        free(a.data);
        free(b.data);
    }
}

/* Tall, wide and rank-deficient: x = A+ b, which satisfies the normal equations and lies in the rows of A. */
static void lstsq_agrees_with_the_pseudo_inverse(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(shapes) * 2; i++) {
        const sg_dim m = shapes[i / 2][0], n = shapes[i / 2][1], k = SG_MIN(m, n), rank = i % 2 ? SG_MAX(k / 2, 1) : k;
        sg_tensor left = noise(SG_F64, m, rank, 11), right = noise(SG_F64, rank, n, 12);
        sg_tensor a = product(&left, false, &right, false), b = noise(SG_F64, m, 3, 13);
        sg_lstsq *lstsq;
        sg_pinv *pinv;
        CHECK_OK(sg_lstsq_new(&lstsq, &a, &b, 1e-10, NULL), NULL);
        sg_pinv_opts opts = sg_pinv_defaults();
        opts.rcond = 1e-10;
        CHECK_OK(sg_pinv_new(&pinv, &a, opts, NULL), NULL);
        CHECK(lstsq->rank == rank && pinv->rank == rank);
        check_same(&lstsq->s, &pinv->s, 1e-12 * sg_tensor_get(&pinv->s, 0));
        sg_tensor x = product(&pinv->inverse, false, &b, false);
        const double condition = sg_tensor_get(&pinv->s, 0) / sg_tensor_get(&pinv->s, rank - 1);
        check_same(&lstsq->x, &x, 1e-12 * condition * condition);
        free(x.data);
        free(left.data);
        free(right.data);
        free(a.data);
        free(b.data);
        sg_lstsq_free(lstsq);
        sg_pinv_free(pinv);
    }
}

/* Penrose (1955): A P A = A, P A P = P, A P and P A symmetric; no other P has them. */
static void pinv_has_penroses_four_properties(void **state)
{
    (void)state;
    for (size_t d = 0; d < 2; d++)
        for (int turn = 0; turn < 2; turn++) {
            sg_tensor left = noise(both[d], turn ? 6 : 9, 4, 14), right = noise(both[d], 4, turn ? 9 : 6, 15);
            sg_tensor wide = product(&left, false, &right, false), a = blank(both[d], wide.dims[0], wide.dims[1]);
            for (sg_dim i = 0; i < 54; i++)
                sg_tensor_set(&a, i, sg_tensor_get(&wide, i));
            sg_pinv *pinv;
            CHECK_OK(sg_pinv_new(&pinv, &a, sg_pinv_defaults(), NULL), NULL);
            CHECK(pinv->rank == 4);
            check_shape(&pinv->inverse, both[d], 2, a.dims[1], a.dims[0]);
            sg_tensor ap = product(&a, false, &pinv->inverse, false), pa = product(&pinv->inverse, false, &a, false);
            sg_tensor apa = product(&ap, false, &a, false), pap = product(&pa, false, &pinv->inverse, false);
            sg_tensor ap_turned = product(&pinv->inverse, true, &a, true),
                      pa_turned = product(&a, true, &pinv->inverse, true);
            const double tolerance = 400 * sg_linalg_epsilon(both[d]);
            check_same(&apa, &a, tolerance);
            check_same(&pap, &pinv->inverse, tolerance);
            check_same(&ap, &ap_turned, tolerance);
            check_same(&pa, &pa_turned, tolerance);
            sg_tensor *const all[] = {&left, &right, &wide, &a, &ap, &pa, &apa, &pap, &ap_turned, &pa_turned};
            for (size_t i = 0; i < SG_COUNT_OF(all); i++)
                free(all[i]->data);
            sg_pinv_free(pinv);
        }
}

static void pinv_of_a_row_and_of_fewer_ranks(void **state)
{
    (void)state;
    sg_tensor row = filled(SG_F32, 1, 3, (double[]){1, 2, 2}), diagonal = filled(SG_F64, 2, 2, (double[]){4, 0, 0, 2});
    sg_pinv *pinv;
    CHECK_OK(sg_pinv_new(&pinv, &row, sg_pinv_defaults(), NULL), NULL); /* a' / |a|^2 */
    for (sg_dim i = 0; i < 3; i++)
        CHECK_NEAR(sg_tensor_get(&pinv->inverse, i), sg_tensor_get(&row, i) / 9, 1e-7, 0);
    sg_pinv_free(pinv);
    sg_pinv_opts opts = sg_pinv_defaults();
    for (int r = 0; r < 4; r++) {
        opts.max_rank = r;
        CHECK_OK(sg_pinv_new(&pinv, &diagonal, opts, NULL), NULL);
        CHECK(pinv->rank == SG_MIN(r, 2));
        CHECK_NEAR(at(&pinv->inverse, 0, 0), r > 0 ? 0.25 : 0, 1e-16, 0);
        CHECK_NEAR(at(&pinv->inverse, 1, 1), r > 1 ? 0.5 : 0, 1e-16, 0);
        sg_pinv_free(pinv);
    }
    opts = sg_pinv_defaults();
    opts.rcond = 0.5; /* at, so not counted */
    CHECK_OK(sg_pinv_new(&pinv, &diagonal, opts, NULL), NULL);
    CHECK(pinv->rank == 1);
    sg_pinv_free(pinv);
    free(row.data);
    free(diagonal.data);
}

/* ---- ridge ---- */

/* The normal equations with a column of ones that is not penalised, by Gauss's elimination with pivots: [D+1,C]. */
static sg_tensor normal_equations(const sg_tensor *x, const sg_tensor *y, double lambda, bool intercept)
{
    const sg_dim n = x->dims[0], d = x->dims[1], c = y->dims[1], size = d + intercept, width = size + c;
    sg_tensor wide = blank(SG_F64, n, size);
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < size; j++)
            sg_tensor_set(&wide, i * size + j, j < d ? at(x, i, j) : 1);
    sg_tensor gram = product(&wide, true, &wide, false), sides = product(&wide, true, y, false),
              w = blank(SG_F64, d + 1, c);
    double *m = calloc((size_t)(size * width), sizeof *m);
    CHECK(m);
    for (sg_dim i = 0; i < size; i++)
        for (sg_dim j = 0; j < width; j++)
            m[i * width + j] = j < size ? at(&gram, i, j) + (i == j && i < d ? lambda : 0) : at(&sides, i, j - size);
    for (sg_dim p = 0; p < size; p++) {
        sg_dim best = p;
        for (sg_dim i = p; i < size; i++)
            if (fabs(m[i * width + p]) > fabs(m[best * width + p]))
                best = i;
        for (sg_dim j = 0; j < width; j++) {
            const double swap = m[p * width + j];
            m[p * width + j] = m[best * width + j];
            m[best * width + j] = swap;
        }
        for (sg_dim i = 0; i < size; i++) {
            const double by = m[i * width + p] / m[p * width + p];
            for (sg_dim j = p; i != p && j < width; j++)
                m[i * width + j] -= by * m[p * width + j];
        }
    }
    for (sg_dim i = 0; i < size; i++)
        for (sg_dim j = 0; j < c; j++)
            sg_tensor_set(&w, i * c + j, m[i * width + size + j] / m[i * width + i]);
    free(m);
    free(wide.data);
    free(gram.data);
    free(sides.data);
    return w;
}

/* Entry l of a fit against [D+1,C]. */
static void check_fit(const sg_ridge *fit, sg_dim l, const sg_tensor *want, double tolerance)
{
    const sg_dim d = want->dims[0] - 1, c = want->dims[1];
    for (sg_dim i = 0; i < d * c; i++)
        CHECK_NEAR(sg_tensor_get(&fit->weights, l * d * c + i), sg_tensor_get(want, i), tolerance, tolerance);
    for (sg_dim j = 0; j < c; j++)
        CHECK_NEAR(sg_tensor_get(&fit->bias, l * c + j), at(want, d, j), tolerance, tolerance);
}

static void ridge_solves_the_normal_equations(void **state)
{
    (void)state;
    static const sg_dim sizes[][3] = {{40, 6, 3}, {6, 40, 3}, {1, 1, 1},     {1, 4, 2},
                                      {9, 9, 1},  {10, 9, 1}, {14000, 40, 2}};
    double lambdas[25];
    for (int l = 0; l < 25; l++)
        lambdas[l] = 0.01 * pow(2, l);
    for (size_t i = 0; i < SG_COUNT_OF(sizes) * 8; i++) {
        const bool intercept = i % 2, many = i / 4 % 2;
        const sg_dtype dtype = both[i / 2 % 2];
        const sg_dim *size = sizes[i / 8], n_lambdas = many ? 25 : 3; /* syevd, or potrf */
        sg_tensor x = noise(dtype, size[0], size[1], 20), y = noise(SG_F32, size[0], size[2], 21);
        for (sg_dim j = 0; j < size[0] * size[1]; j++)
            sg_tensor_set(&x, j, sg_tensor_get(&x, j) + 3); /* far from 0, so that the intercept matters */
        sg_ridge *fit;
        sg_error err;
        CHECK_OK(sg_ridge_new(&fit, &x, &y, lambdas, n_lambdas, (sg_ridge_opts){intercept}, &err), &err);
        CHECK(fit->dual == (size[0] < size[1]));
        CHECK(fit->weights.dtype == dtype && fit->weights.n_dims == 3 && fit->weights.dims[0] == n_lambdas);
        for (sg_dim l = 0; l < n_lambdas; l += 12) {
            sg_tensor want = normal_equations(&x, &y, lambdas[l], intercept);
            /* The elimination's condition, at most 1e5, times epsilon; f32 results are rounded once. */
            check_fit(fit, l, &want, dtype == SG_F64 ? 1e-9 : 2e-7);
            free(want.data);
        }
        sg_ridge_free(fit);
        free(x.data);
        free(y.data);
    }
}

/* One feature, no intercept: w = sum xy / (sum x^2 + lambda) = 14 / (14 + lambda). */
static void ridge_of_one_feature_by_hand(void **state)
{
    (void)state;
    sg_tensor x = filled(SG_F64, 3, 1, (double[]){1, 2, 3}), y = sg_tensor_of(SG_F64, 1, (sg_dim[]){3}, x.data);
    sg_ridge *fit;
    CHECK_OK(sg_ridge_new(&fit, &x, &y, (double[]){0, 14, 1e300}, 3, (sg_ridge_opts){.intercept = false}, NULL), NULL);
    check_shape(&fit->weights, SG_F64, 2, 3, 1);
    check_shape(&fit->bias, SG_F64, 1, 3, 0);
    CHECK_NEAR(sg_tensor_get(&fit->weights, 0), 1, 1e-15, 0);
    CHECK_NEAR(sg_tensor_get(&fit->weights, 1), 0.5, 1e-15, 0);
    CHECK_NEAR(sg_tensor_get(&fit->weights, 2), 1.4e-299, 0, 1e-14);
    CHECK_NEAR(sg_tensor_get(&fit->bias, 0), 0, 0, 0);
    sg_ridge_free(fit);
    free(x.data);
}

static void ridge_tends_to_its_limits(void **state)
{
    (void)state;
    for (int dual = 0; dual < 2; dual++)
        for (int deficient = 0; deficient < 2; deficient++) {
            const sg_dim n = dual ? 8 : 30, d = dual ? 30 : 8, rank = deficient ? 4 : 8;
            sg_tensor left = noise(SG_F64, n, rank, 30), right = noise(SG_F64, rank, d, 31);
            sg_tensor x = product(&left, false, &right, false), y = noise(SG_F64, n, 2, 32);
            sg_ridge *fit;
            sg_lstsq *lstsq;
            /* No penalty, none to speak of, and 1e-7: all are the least squares of least norm, the last up to lambda
             * over the least s^2, about 0.1, and to epsilon |x| |y| / lambda, about 1e-6. */
            CHECK_OK(
                sg_ridge_new(&fit, &x, &y, (double[]){0, 1e-300, 1e-7}, 3, (sg_ridge_opts){.intercept = false}, NULL),
                NULL);
            CHECK_OK(sg_lstsq_new(&lstsq, &x, &y, 1e-10, NULL), NULL);
            CHECK(lstsq->rank == rank);
            for (sg_dim i = 0; i < 3 * d * 2; i++)
                CHECK_NEAR(sg_tensor_get(&fit->weights, i), sg_tensor_get(&lstsq->x, i % (d * 2)),
                           i < 2 * d * 2 ? 1e-10 : 1e-5, 0);
            sg_lstsq_free(lstsq);
            sg_ridge_free(fit);
            /* All penalty: no weights, and the means for bias. */
            CHECK_OK(sg_ridge_new(&fit, &x, &y, (double[]){1e15}, 1, sg_ridge_defaults(), NULL), NULL);
            double mean = 0;
            for (sg_dim i = 0; i < n; i++)
                mean += at(&y, i, 1) / (double)n;
            CHECK_NEAR(sg_tensor_get(&fit->bias, 1), mean, 1e-12, 0);
            for (sg_dim i = 0; i < d * 2; i++)
                CHECK_NEAR(sg_tensor_get(&fit->weights, i), 0, 1e-12, 0);
            sg_ridge_free(fit);
            free(left.data);
            free(right.data);
            free(x.data);
            free(y.data);
        }
}

/* A million added to every input and target changes the bias alone: the means go before the products are formed. */
static void the_intercept_takes_up_what_is_common(void **state)
{
    (void)state;
    for (int dual = 0; dual < 2; dual++) {
        const sg_dim n = dual ? 5 : 50, d = 7;
        sg_tensor x = noise(SG_F64, n, d, 40), y = noise(SG_F64, n, 1, 41);
        sg_ridge *near, *far;
        CHECK_OK(sg_ridge_new(&near, &x, &y, (double[]){0.5}, 1, sg_ridge_defaults(), NULL), NULL);
        for (sg_dim i = 0; i < n * d; i++)
            sg_tensor_set(&x, i, sg_tensor_get(&x, i) + 1e6);
        for (sg_dim i = 0; i < n; i++)
            sg_tensor_set(&y, i, sg_tensor_get(&y, i) + 1e6);
        CHECK_OK(sg_ridge_new(&far, &x, &y, (double[]){0.5}, 1, sg_ridge_defaults(), NULL), NULL);
        check_same(&near->weights, &far->weights, 1e-8); /* x has lost 1e-10 to rounding */
        sg_ridge_free(near);
        sg_ridge_free(far);
        free(x.data);
        free(y.data);
    }
}

/* ---- nothing, and what is wrong ---- */

static void nothing_is_a_matrix_too(void **state)
{
    (void)state;
    static const sg_dim empties[][2] = {{0, 0}, {0, 3}, {3, 0}};
    for (size_t i = 0; i < 6; i++) {
        const sg_dim m = empties[i / 2][0], n = empties[i / 2][1];
        const sg_tensor a = sg_tensor_of(both[i % 2], 2, empties[i / 2], NULL);
        double room[6] = {1, 1, 1, 1, 1, 1};
        const sg_tensor b = sg_tensor_of(both[i % 2], 2, (sg_dim[]){m, 2}, memset(room, 0, sizeof room));
        sg_svd *svd;
        CHECK_OK(sg_svd_new(&svd, &a, SG_FACTORS_THIN, NULL), NULL);
        CHECK(svd->u.dims[0] == m && svd->u.dims[1] == 0 && svd->vt.dims[0] == 0 && svd->vt.dims[1] == n);
        CHECK(sg_svd_rank(svd, SG_RCOND_DEFAULT) == 0);
        sg_svd_free(svd);
        CHECK_OK(sg_svd_new(&svd, &a, SG_FACTORS_FULL, NULL), NULL);
        check_orthonormal(&svd->u, false, 0);
        check_orthonormal(&svd->vt, true, 0);
        sg_svd_free(svd);
        sg_qr *qr;
        CHECK_OK(sg_qr_new(&qr, &a, SG_FACTORS_THIN, NULL), NULL);
        CHECK(sg_tensor_count(&qr->q) == 0 && sg_tensor_count(&qr->r) == 0);
        sg_qr_free(qr);
        CHECK_OK(sg_qr_new(&qr, &a, SG_FACTORS_FULL, NULL), NULL);
        check_orthonormal(&qr->q, false, 0);
        sg_qr_free(qr);
        sg_pinv *pinv;
        CHECK_OK(sg_pinv_new(&pinv, &a, sg_pinv_defaults(), NULL), NULL);
        CHECK(pinv->rank == 0 && pinv->inverse.dims[0] == n && pinv->inverse.dims[1] == m);
        sg_pinv_free(pinv);
        sg_lstsq *lstsq;
        CHECK_OK(sg_lstsq_new(&lstsq, &a, &b, SG_RCOND_DEFAULT, NULL), NULL);
        CHECK(lstsq->rank == 0 && lstsq->x.dims[0] == n && lstsq->x.dims[1] == 2);
        for (sg_dim j = 0; j < n * 2; j++)
            CHECK_NEAR(sg_tensor_get(&lstsq->x, j), 0, 0, 0);
        sg_lstsq_free(lstsq);
        for (int intercept = 0; intercept < 2; intercept++) {
            sg_tensor y = b;
            for (sg_dim j = 0; j < m * 2; j++)
                sg_tensor_set(&y, j, (double)(j % 2 + 1)); /* columns of 1 and of 2 */
            sg_ridge *fit;
            CHECK_OK(sg_ridge_new(&fit, &a, &y, (double[]){0, 1}, 2, (sg_ridge_opts){intercept}, NULL), NULL);
            for (sg_dim j = 0; j < sg_tensor_count(&fit->weights); j++)
                CHECK_NEAR(sg_tensor_get(&fit->weights, j), 0, 0, 0);
            for (sg_dim j = 0; j < 4; j++)
                CHECK_NEAR(sg_tensor_get(&fit->bias, j), intercept && m ? j % 2 + 1 : 0, 0, 0);
            sg_ridge_free(fit);
        }
    }
    const sg_tensor none = sg_tensor_of(SG_F64, 2, (sg_dim[]){0, 0}, NULL);
    sg_eigen *eigen;
    sg_cholesky *cholesky;
    CHECK_OK(sg_eigen_new(&eigen, &none, NULL), NULL);
    CHECK_OK(sg_cholesky_new(&cholesky, &none, NULL), NULL);
    CHECK_OK(sg_cholesky_solve(&none, cholesky, &none, NULL), NULL);
    sg_eigen_free(eigen);
    sg_cholesky_free(cholesky);

    /* No right-hand sides: the rank is told all the same. */
    sg_tensor a = noise(SG_F32, 4, 3, 50);
    const sg_tensor sides = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, 0}, NULL);
    sg_lstsq *lstsq;
    sg_ridge *fit;
    CHECK_OK(sg_lstsq_new(&lstsq, &a, &sides, SG_RCOND_DEFAULT, NULL), NULL);
    CHECK(lstsq->rank == 3 && lstsq->x.dims[0] == 3 && lstsq->x.dims[1] == 0 && sg_tensor_get(&lstsq->s, 0) > 0);
    CHECK_OK(sg_ridge_new(&fit, &a, &sides, (double[]){0, 1}, 2, sg_ridge_defaults(), NULL), NULL);
    CHECK(fit->weights.dims[1] == 3 && fit->weights.dims[2] == 0);
    sg_lstsq_free(lstsq);
    sg_ridge_free(fit);
    free(a.data);
    sg_svd_free(NULL);
    sg_eigen_free(NULL);
    sg_qr_free(NULL);
    sg_cholesky_free(NULL);
    sg_lstsq_free(NULL);
    sg_pinv_free(NULL);
    sg_ridge_free(NULL);
}

/* Every function on a and b; those of one matrix leave b alone. Each result is freed. */
typedef sg_status call(const sg_tensor *a, const sg_tensor *b, sg_error *err);

static sg_status call_svd(const sg_tensor *a, const sg_tensor *b, sg_error *err)
{
    (void)b;
    sg_svd *svd;
    const sg_status status = sg_svd_new(&svd, a, SG_FACTORS_FULL, err);
    CHECK((status == SG_OK) == (svd != NULL));
    sg_svd_free(svd);
    return status;
}

static sg_status call_pinv(const sg_tensor *a, const sg_tensor *b, sg_error *err)
{
    (void)b;
    sg_pinv *pinv;
    const sg_status status = sg_pinv_new(&pinv, a, sg_pinv_defaults(), err);
    CHECK((status == SG_OK) == (pinv != NULL));
    sg_pinv_free(pinv);
    return status;
}

static sg_status call_eigen(const sg_tensor *a, const sg_tensor *b, sg_error *err)
{
    (void)b;
    sg_eigen *eigen;
    const sg_status status = sg_eigen_new(&eigen, a, err);
    CHECK((status == SG_OK) == (eigen != NULL));
    sg_eigen_free(eigen);
    return status;
}

static sg_status call_cholesky(const sg_tensor *a, const sg_tensor *b, sg_error *err)
{
    (void)b;
    sg_cholesky *cholesky;
    const sg_status status = sg_cholesky_new(&cholesky, a, err);
    CHECK((status == SG_OK) == (cholesky != NULL));
    sg_cholesky_free(cholesky);
    return status;
}

static sg_status call_qr(const sg_tensor *a, const sg_tensor *b, sg_error *err)
{
    (void)b;
    sg_qr *qr;
    const sg_status status = sg_qr_new(&qr, a, SG_FACTORS_FULL, err);
    CHECK((status == SG_OK) == (qr != NULL));
    sg_qr_free(qr);
    return status;
}

static sg_status call_lstsq(const sg_tensor *a, const sg_tensor *b, sg_error *err)
{
    sg_lstsq *lstsq;
    const sg_status status = sg_lstsq_new(&lstsq, a, b, SG_RCOND_DEFAULT, err);
    CHECK((status == SG_OK) == (lstsq != NULL));
    sg_lstsq_free(lstsq);
    return status;
}

static sg_status call_ridge(const sg_tensor *a, const sg_tensor *b, sg_error *err)
{
    sg_ridge *fit;
    const sg_status status = sg_ridge_new(&fit, a, b, (double[]){0, 1}, 2, sg_ridge_defaults(), err);
    CHECK((status == SG_OK) == (fit != NULL));
    sg_ridge_free(fit);
    return status;
}

static const struct {
    const char *name, *second; /* what b is called, where it is read */
    call *run;
} calls[] = {
    {"svd", NULL, call_svd}, {"pinv", NULL, call_pinv},  {"eigen", NULL, call_eigen}, {"cholesky", NULL, call_cholesky},
    {"qr", NULL, call_qr},   {"lstsq", "b", call_lstsq}, {"ridge", "y", call_ridge},
};

static void what_cannot_be_is_refused_with_its_place(void **state)
{
    (void)state;
    sg_error err;
    char text[64];
    sg_tensor a = blank(SG_F32, 70, 70), b = blank(SG_F32, 70, 2);
    for (size_t i = 0; i < SG_COUNT_OF(calls); i++) {
        const double bad[] = {(double)NAN, HUGE_VAL, -HUGE_VAL};
        for (size_t j = 0; j < 3; j++) {
            sg_tensor_set(&a, 66 * 70 + 7, bad[j]);
            CHECK_STATUS(calls[i].run(&a, &b, &err), SG_ENUMERIC);
            snprintf(text, sizeof text, "%s: %s[66,7] is %g", calls[i].name,
                     calls[i].second && *calls[i].second == 'y' ? "x" : "a", bad[j]);
            CHECK_TEXT(err.text, text);
            sg_tensor_set(&a, 66 * 70 + 7, 0);
            if (!calls[i].second)
                continue;
            sg_tensor_set(&b, 3, bad[j]);
            CHECK_STATUS(calls[i].run(&a, &b, &err), SG_ENUMERIC);
            snprintf(text, sizeof text, "%s: %s[1,1] is %g", calls[i].name, calls[i].second, bad[j]);
            CHECK_TEXT(err.text, text);
            sg_tensor_set(&b, 3, 0);
        }
        sg_tensor wrong = a;
        wrong.dtype = SG_I32;
        CHECK_STATUS(calls[i].run(&wrong, &b, &err), SG_ETYPE);
        CHECK_TEXT(err.text, "is i32, wanted f32 or f64");
        wrong = sg_tensor_of(SG_F32, 3, (sg_dim[]){2, 2, 2}, a.data);
        CHECK_STATUS(calls[i].run(&wrong, &b, &err), SG_ESHAPE);
        CHECK_TEXT(err.text, "is [2,2,2], wanted [rows,columns]");
        wrong = sg_tensor_of(SG_F32, 1, (sg_dim[]){70}, a.data);
        CHECK_STATUS(calls[i].run(&wrong, &b, &err), SG_ESHAPE);
        /* Sizes that no int holds are seen before any number is read. */
        wrong = sg_tensor_of(SG_F32, 2, (sg_dim[]){3000000000, 3000000000}, NULL);
        CHECK_STATUS(calls[i].run(&wrong, &b, &err), SG_EUNSUPPORTED);
        CHECK_TEXT(err.text, "is [3000000000,3000000000], and LAPACK counts to 2147483647");
        if (calls[i].second) {
            wrong = sg_tensor_of(SG_F32, 2, (sg_dim[]){69, 2}, b.data);
            CHECK_STATUS(calls[i].run(&a, &wrong, &err), SG_ESHAPE);
            CHECK_TEXT(err.text, "is [70,70] and ");
            CHECK_TEXT(err.text, "is [69,2]; their rows differ");
        }
    }
    sg_tensor tall = sg_tensor_of(SG_F32, 2, (sg_dim[]){7, 2}, a.data);
    CHECK_STATUS(call_eigen(&tall, NULL, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "eigen: a is [7,2], wanted [7,7]");
    CHECK_STATUS(call_cholesky(&tall, NULL, &err), SG_ESHAPE);
    sg_tensor other = blank(SG_F64, 70, 2);
    CHECK_STATUS(call_lstsq(&a, &other, &err), SG_ETYPE);
    CHECK_TEXT(err.text, "a is f32 and b is f64");
    CHECK_OK(call_ridge(&a, &other, &err), &err); /* which computes in double anyway */

    sg_lstsq *lstsq;
    sg_pinv *pinv;
    sg_ridge *fit;
    const double rconds[] = {-2, 1, (double)NAN, HUGE_VAL};
    for (size_t i = 0; i < 4; i++) {
        CHECK_STATUS(sg_lstsq_new(&lstsq, &a, &b, rconds[i], &err), SG_EARG);
        sg_pinv_opts opts = sg_pinv_defaults();
        opts.rcond = rconds[i];
        CHECK_STATUS(sg_pinv_new(&pinv, &a, opts, &err), SG_EARG);
    }
    sg_pinv_opts opts = sg_pinv_defaults();
    opts.max_rank = -1;
    CHECK_STATUS(sg_pinv_new(&pinv, &a, opts, &err), SG_EARG);
    const double lambdas[] = {1, -1, (double)NAN, HUGE_VAL};
    for (size_t i = 1; i < 4; i++) {
        CHECK_STATUS(sg_ridge_new(&fit, &a, &b, (double[]){1, lambdas[i]}, 2, sg_ridge_defaults(), &err), SG_EARG);
        CHECK_TEXT(err.text, "ridge: lambda[1] is ");
    }
    CHECK_STATUS(sg_ridge_new(&fit, &a, &b, lambdas, 0, sg_ridge_defaults(), &err), SG_EARG);
    free(a.data);
    free(b.data);
    free(other.data);
}

/* Finite numbers whose result is not: never handed out as if nothing had happened. */
static void results_beyond_the_type_are_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_tensor a = blank(SG_F32, 4, 4), b = blank(SG_F32, 4, 1);
    for (sg_dim i = 0; i < 16; i++)
        sg_tensor_set(&a, i, (double)FLT_MAX);
    CHECK_STATUS(call_svd(&a, NULL, &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "svd: s[0] comes out as inf: beyond the range of f32");
    CHECK_STATUS(call_eigen(&a, NULL, &err), SG_ENUMERIC);
    CHECK_STATUS(call_qr(&a, NULL, &err), SG_ENUMERIC);
    CHECK_STATUS(call_pinv(&a, NULL, &err), SG_ENUMERIC);
    CHECK_STATUS(call_lstsq(&a, &b, &err), SG_ENUMERIC);
    CHECK_OK(call_ridge(&a, &b, &err), &err); /* in double there is room */
    sg_tensor huge = blank(SG_F64, 2, 1), y = filled(SG_F64, 2, 1, (double[]){1, 2});
    sg_tensor_set(&huge, 0, 1e200);
    CHECK_STATUS(call_ridge(&huge, &y, &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "ridge: products of x and y come out as inf");
    free(a.data);
    free(b.data);
    free(huge.data);
    free(y.data);
}

static void memory_running_out_is_a_status(void **state)
{
    (void)state;
    enum { N = 40 }; /* so large that each array is an allocation */
    sg_tensor a = blank(SG_F64, N, N), b = noise(SG_F64, N, N, 61);
    for (sg_dim i = 0; i < N * N; i++)
        sg_tensor_set(&a, i, (i / N == i % N) + 1.0 / (double)(i / N + i % N + 1)); /* symmetric, positive definite */
    for (size_t i = 0; i < SG_COUNT_OF(calls); i++)
        for (int kind = 0; kind < 2; kind++)
            for (long n = 0;; n++) {
                sg_error err;
                sg_faults_begin(n, kind ? SG_FAULT_ONWARD : SG_FAULT_ONCE);
                const sg_status status = calls[i].run(&a, &b, &err);
                if (!sg_faults_end()) {
                    CHECK_OK(status, &err);
                    CHECK(n >= 4 || calls[i].run == call_cholesky); /* two arenas and what lies in them */
                    break;
                }
                CHECK_STATUS(status, SG_ENOMEM);
                CHECK_TEXT(err.text, "out of memory");
            }
    CHECK(openblas_get_num_threads() == *(int *)*state);
    free(a.data);
    free(b.data);
}

/* One row, so many columns to solve for that LAPACK could not count its workspace. */
static void a_workspace_beyond_an_int_is_refused(void **state)
{
    (void)state;
    sg_tensor a = noise(SG_F32, 1, 1, 63), b = blank(SG_F32, 1, 33000000);
    sg_error err;
    CHECK_STATUS(call_lstsq(&a, &b, &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "lstsq: a workspace for [1,1] takes 2.18e+09 elements, and LAPACK counts to 2147483647");
    free(a.data);
    free(b.data);
}

/* A matrix of nothing, whose full factor no machine holds. */
static void too_much_memory_is_a_status_too(void **state)
{
    (void)state;
    const sg_tensor a = sg_tensor_of(SG_F64, 2, (sg_dim[]){2000000000, 0}, NULL);
    sg_qr *qr;
    sg_error err;
    const sg_status status = sg_qr_new(&qr, &a, SG_FACTORS_FULL, &err);
    CHECK(status == SG_ENOMEM && !qr);
    CHECK_TEXT(err.text, "qr: out of memory for f64 [2000000000,2000000000]");
}

/* ---- no convergence, which no matrix at hand brings about: these stand in front of LAPACKE's own ---- */

static int n_refusals; /* how many of the following calls that compute fail; they leave NaN behind */
static int n_asked;

static bool refuse(lapack_int lwork, double *a, lapack_int count)
{
    if (lwork == -1)
        return false;
    n_asked++;
    if (n_refusals == 0)
        return false;
    n_refusals--;
    for (lapack_int i = 0; i < count; i++)
        a[i] = (double)NAN;
    return true;
}

lapack_int LAPACKE_dgesdd_work(int layout, char job, lapack_int m, lapack_int n, double *a, lapack_int lda, double *s,
                               double *u, lapack_int ldu, double *vt, lapack_int ldvt, double *work, lapack_int lwork,
                               lapack_int *iwork)
{
    lapack_int info = 1;
    CHECK(layout == LAPACK_COL_MAJOR);
    if (!refuse(lwork, a, lda * n))
        LAPACK_dgesdd(&job, &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, work, &lwork, iwork, &info);
    return info;
}

lapack_int LAPACKE_dgesvd_work(int layout, char job_u, char job_vt, lapack_int m, lapack_int n, double *a,
                               lapack_int lda, double *s, double *u, lapack_int ldu, double *vt, lapack_int ldvt,
                               double *work, lapack_int lwork)
{
    lapack_int info = 1;
    CHECK(layout == LAPACK_COL_MAJOR);
    if (!refuse(lwork, a, lda * n))
        LAPACK_dgesvd(&job_u, &job_vt, &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, work, &lwork, &info);
    return info;
}

lapack_int LAPACKE_dsyevd_work(int layout, char job, char uplo, lapack_int n, double *a, lapack_int lda, double *w,
                               double *work, lapack_int lwork, lapack_int *iwork, lapack_int liwork)
{
    lapack_int info = 1;
    CHECK(layout == LAPACK_COL_MAJOR);
    if (!refuse(lwork, a, lda * n))
        LAPACK_dsyevd(&job, &uplo, &n, a, &lda, w, work, &lwork, iwork, &liwork, &info);
    return info;
}

lapack_int LAPACKE_dsyev_work(int layout, char job, char uplo, lapack_int n, double *a, lapack_int lda, double *w,
                              double *work, lapack_int lwork)
{
    lapack_int info = 1;
    CHECK(layout == LAPACK_COL_MAJOR);
    if (!refuse(lwork, a, lda * n))
        LAPACK_dsyev(&job, &uplo, &n, a, &lda, w, work, &lwork, &info);
    return info;
}

lapack_int LAPACKE_dgelsd_work(int layout, lapack_int m, lapack_int n, lapack_int n_rhs, double *a, lapack_int lda,
                               double *b, lapack_int ldb, double *s, double rcond, lapack_int *rank, double *work,
                               lapack_int lwork, lapack_int *iwork)
{
    lapack_int info = 1;
    CHECK(layout == LAPACK_COL_MAJOR);
    if (!refuse(lwork, b, ldb * n_rhs))
        LAPACK_dgelsd(&m, &n, &n_rhs, a, &lda, b, &ldb, s, &rcond, rank, work, &lwork, iwork, &info);
    return info;
}

lapack_int LAPACKE_dgelss_work(int layout, lapack_int m, lapack_int n, lapack_int n_rhs, double *a, lapack_int lda,
                               double *b, lapack_int ldb, double *s, double rcond, lapack_int *rank, double *work,
                               lapack_int lwork)
{
    lapack_int info = 1;
    CHECK(layout == LAPACK_COL_MAJOR);
    if (!refuse(lwork, b, ldb * n_rhs))
        LAPACK_dgelss(&m, &n, &n_rhs, a, &lda, b, &ldb, s, &rcond, rank, work, &lwork, &info);
    return info;
}

static void the_second_routine_steps_in(void **state)
{
    (void)state;
    sg_tensor a = noise(SG_F64, 9, 6, 70), b = noise(SG_F64, 9, 2, 71), symmetric = product(&a, true, &a, false);
    sg_svd *svd[2];
    sg_eigen *eigen[2];
    sg_lstsq *lstsq[2];
    sg_ridge *ridge[2];
    for (int i = 0; i < 2; i++) {
        n_asked = 0;
        n_refusals = i;
        CHECK_OK(sg_svd_new(&svd[i], &a, SG_FACTORS_FULL, NULL), NULL);
        n_refusals = i;
        CHECK_OK(sg_eigen_new(&eigen[i], &symmetric, NULL), NULL);
        n_refusals = i;
        CHECK_OK(sg_lstsq_new(&lstsq[i], &a, &b, SG_RCOND_DEFAULT, NULL), NULL);
        n_refusals = i;
        CHECK_OK(sg_ridge_new(&ridge[i], &a, &b, (double[]){0}, 1, sg_ridge_defaults(), NULL), NULL);
        CHECK(n_refusals == 0 && n_asked == 4 + 4 * i);
    }
    /* Two algorithms, one answer, signs included; the full u has freedom in its last three columns. */
    check_same(&svd[0]->s, &svd[1]->s, 1e-13);
    check_same(&svd[0]->vt, &svd[1]->vt, 1e-12);
    check_same(&eigen[0]->vectors, &eigen[1]->vectors, 1e-12);
    check_same(&lstsq[0]->x, &lstsq[1]->x, 1e-12);
    check_same(&ridge[0]->weights, &ridge[1]->weights, 1e-12);
    CHECK(lstsq[1]->rank == 6);
    for (int i = 0; i < 2; i++) {
        sg_svd_free(svd[i]);
        sg_eigen_free(eigen[i]);
        sg_lstsq_free(lstsq[i]);
        sg_ridge_free(ridge[i]);
    }

    call *const iterative[] = {call_svd, call_pinv, call_lstsq, call_ridge, call_eigen};
    for (size_t i = 0; i < SG_COUNT_OF(iterative); i++) {
        sg_error err;
        n_refusals = 2;
        CHECK_STATUS(iterative[i](i < 4 ? &a : &symmetric, &b, &err), SG_ENUMERIC);
        CHECK_TEXT(err.text, "no convergence for a [");
        CHECK(n_refusals == 0);
    }
    free(a.data);
    free(b.data);
    free(symmetric.data);
}

/* ---- threads ---- */

static void many_threads_give_the_same_bytes(void **state)
{
    (void)state;
    enum { N = 150, CALLS = 8 };
    sg_tensor a = noise(SG_F64, N, N, 80), y = noise(SG_F64, N, 5, 81);
    sg_svd *svd[CALLS + 1] = {0};
    sg_ridge *ridge[CALLS + 1] = {0};
    CHECK_OK(sg_svd_new(&svd[CALLS], &a, SG_FACTORS_THIN, NULL), NULL);
    CHECK_OK(sg_ridge_new(&ridge[CALLS], &a, &y, (double[]){0, 1}, 2, sg_ridge_defaults(), NULL), NULL);
    int n_threads_inside = 1;
#pragma omp parallel for num_threads(4) reduction(max : n_threads_inside)
    for (int i = 0; i < CALLS; i++) {
        const int token = sg_linalg_enter();
        if (sg_svd_new(&svd[i], &a, SG_FACTORS_THIN, NULL) != SG_OK ||
            sg_ridge_new(&ridge[i], &a, &y, (double[]){0, 1}, 2, sg_ridge_defaults(), NULL) != SG_OK)
            svd[i] = NULL;
        n_threads_inside = SG_MAX(n_threads_inside, openblas_get_num_threads());
        sg_linalg_leave(token);
    }
    CHECK(openblas_get_parallel() == OPENBLAS_OPENMP || n_threads_inside == 1);
    for (int i = 0; i < CALLS; i++) {
        CHECK(svd[i] && ridge[i]);
        CHECK(memcmp(svd[i]->u.data, svd[CALLS]->u.data, sg_tensor_bytes(&svd[i]->u)) == 0);
        CHECK(memcmp(svd[i]->s.data, svd[CALLS]->s.data, sg_tensor_bytes(&svd[i]->s)) == 0);
        CHECK(memcmp(ridge[i]->weights.data, ridge[CALLS]->weights.data, sg_tensor_bytes(&ridge[i]->weights)) == 0);
    }
    for (int i = 0; i <= CALLS; i++) {
        sg_svd_free(svd[i]);
        sg_ridge_free(ridge[i]);
    }
    CHECK(openblas_get_num_threads() == *(int *)*state);
    free(a.data);
    free(y.data);
}

/* ---- products ---- */

static void products_are_what_sums_say_turned_or_not(void **state)
{
    (void)state;
    for (int c = 0; c < 16; c++) {
        const sg_dtype dtype = both[c & 1];
        const bool turn_a = c & 2, turn_b = c & 4, add = c & 8;
        sg_tensor a = turn_a ? noise(dtype, 5, 7, 1) : noise(dtype, 7, 5, 1),
                  b = turn_b ? noise(dtype, 3, 5, 2) : noise(dtype, 5, 3, 2);
        sg_tensor out = noise(dtype, 7, 3, 3), before = noise(dtype, 7, 3, 3), want = product(&a, turn_a, &b, turn_b);
        sg_error err;
        CHECK_OK(sg_product(&out, &a, turn_a, &b, turn_b, 2, add ? -1 : 0, &err), &err);
        for (sg_dim i = 0; i < 21; i++)
            CHECK_NEAR(sg_tensor_get(&out, i), 2 * sg_tensor_get(&want, i) - (add ? sg_tensor_get(&before, i) : 0),
                       100 * sg_linalg_epsilon(dtype), 0);
        CHECK_STATUS(sg_product(&out, &a, !turn_a, &b, turn_b, 1, 0, &err), SG_ESHAPE);
        sg_tensor *all[] = {&a, &b, &out, &before, &want};
        for (size_t i = 0; i < SG_COUNT_OF(all); i++)
            free(all[i]->data);
    }
}

int main(void)
{
    static int n_threads;
    static void *start = &n_threads;
    n_threads = openblas_get_num_threads();
#define TEST(name) cmocka_unit_test_prestate(name, start)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_what_sums_say_turned_or_not),
        TEST(svd_puts_any_shape_together_again),
        TEST(svd_of_two_by_two_by_hand),
        TEST(signs_hang_on_the_right_vectors_alone),
        TEST(f32_follows_f64),
        TEST(rank_is_told),
        TEST(hilbert_keeps_what_its_condition_leaves),
        TEST(eigenvectors_of_a_string),
        TEST(eigenvectors_put_noise_together_again),
        TEST(halves_must_agree_up_to_rounding),
        TEST(cholesky_by_hand),
        TEST(qr_puts_any_shape_together_again),
        TEST(qr_of_two_columns_by_hand),
        TEST(lstsq_draws_a_line),
        TEST(lstsq_agrees_with_the_pseudo_inverse),
        TEST(pinv_has_penroses_four_properties),
        TEST(pinv_of_a_row_and_of_fewer_ranks),
        TEST(ridge_solves_the_normal_equations),
        TEST(ridge_of_one_feature_by_hand),
        TEST(ridge_tends_to_its_limits),
        TEST(the_intercept_takes_up_what_is_common),
        TEST(nothing_is_a_matrix_too),
        TEST(what_cannot_be_is_refused_with_its_place),
        TEST(results_beyond_the_type_are_refused),
        TEST(memory_running_out_is_a_status),
        TEST(a_workspace_beyond_an_int_is_refused),
        TEST(too_much_memory_is_a_status_too),
        TEST(the_second_routine_steps_in),
        TEST(many_threads_give_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
