/* Symmetric matrices: eigenvectors, and Cholesky's square root. Of two halves that ought to agree the mean is taken, so
 * that rounding upstream is no error and a matrix that is not symmetric is one. */
#include "linalg/linalg_internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <cblas.h>

static sg_status check_symmetric(const char *who, const sg_tensor *a, sg_error *err)
{
    SG_TRY(sg_linalg_check(who, "a", a, false, err));
    char shape[SG_SHAPE_TEXT];
    const sg_dim n = a->dims[0];
    if (a->dims[1] != n)
        return sg_fail(err, SG_ESHAPE, "%s: a is %s, wanted [%" PRId64 ",%" PRId64 "] or any square", who,
                       sg_shape_text(shape, 2, a->dims), n, n);
    return SG_OK;
}

/* Writes (a + a')/2. */
static sg_status symmetrise(sg_linalg_job *job, void *to, const sg_tensor *a)
{
    const sg_dim n = a->dims[0];
    const sg_dtype dtype = a->dtype;
    double largest = 0;
    for (sg_dim i = 0; i < n * n; i++)
        largest = fmax(largest, fabs(sg_linalg_get(a->data, dtype, i)));
    const double slack = sqrt(sg_linalg_epsilon(dtype)) * largest;
    sg_linalg_transpose(to, n, a->data, n, n, n, dtype);
    for (sg_dim i = 0; i < n * n; i++) {
        const double x = sg_linalg_get(a->data, dtype, i), y = sg_linalg_get(to, dtype, i);
        if (fabs(x - y) > slack)
            return sg_fail(job->err, SG_EARG, "%s: a is not symmetric: a[%" PRId64 ",%" PRId64 "] is %g, its mirror %g",
                           job->who, i / n, i % n, x, y);
        sg_linalg_set(to, dtype, i, 0.5 * x + 0.5 * y);
    }
    return SG_OK;
}

/* ---- eigenvectors ---- */

sg_status sg_linalg_eigen(sg_linalg_job *job, sg_dtype dtype, sg_dim n, void *a, void *again, void *w)
{
    const sg_tensor shape = sg_tensor_of(dtype, 2, (sg_dim[]){n, n}, a);
    SG_TRY(sg_linalg_fits(job, &shape, 2 * (double)n * (double)n + 70 * (double)n + 1)); /* syevd's 2 n^2 + 6 n + 1 */
    int info;
    memcpy(again, a, sg_tensor_bytes(&shape));
    SG_TRY(sg_lapack_syevd(job, dtype, (int)n, a, w, &info));
    if (info > 0) {
        memcpy(a, again, sg_tensor_bytes(&shape));
        SG_TRY(sg_lapack_syev(job, dtype, (int)n, a, w, &info));
    }
    if (info > 0)
        return sg_fail(job->err, SG_ENUMERIC,
                       "%s: no convergence for a [%" PRId64 ",%" PRId64 "]: %d off-diagonals remain", job->who, n, n,
                       info);
    return SG_OK;
}

static sg_status eigen_fill(sg_linalg_job *job, const sg_tensor *a)
{
    sg_eigen *eigen = job->face;
    const sg_dim n = a->dims[0];
    SG_TRY(sg_linalg_tensor(job, &eigen->values, a->dtype, 1, &n));
    SG_TRY(sg_linalg_tensor(job, &eigen->vectors, a->dtype, 2, a->dims));
    if (n == 0)
        return SG_OK;
    void *again = sg_linalg_room(job, n * n, sg_dtype_bytes(a->dtype));
    if (!again)
        return sg_linalg_no_memory(job, a);
    SG_TRY(symmetrise(job, eigen->vectors.data, a));
    SG_TRY(sg_linalg_eigen(job, a->dtype, n, eigen->vectors.data, again, eigen->values.data));
    SG_TRY(sg_linalg_finite(job, "values", &eigen->values));
    for (sg_dim i = 0; i < n; i++) {
        char *row = (char *)eigen->vectors.data + (size_t)(i * n) * sg_dtype_bytes(a->dtype);
        if (sg_linalg_sign(row, a->dtype, n, 1) < 0)
            sg_linalg_scale(row, a->dtype, n, 1, -1);
    }
    return SG_OK;
}

sg_status sg_eigen_new(sg_eigen **out, const sg_tensor *a, sg_error *err)
{
    *out = NULL;
    SG_TRY(check_symmetric("eigen", a, err));
    sg_linalg_job job;
    SG_TRY(sg_linalg_begin(&job, "eigen", sizeof **out, err));
    const sg_status status = eigen_fill(&job, a);
    *out = sg_linalg_end(&job, status);
    return status;
}

void sg_eigen_free(sg_eigen *eigen)
{
    sg_linalg_free(eigen);
}

/* ---- Cholesky ---- */

static sg_status cholesky_fill(sg_linalg_job *job, const sg_tensor *a)
{
    sg_cholesky *cholesky = job->face;
    const sg_dim n = a->dims[0];
    SG_TRY(sg_linalg_tensor(job, &cholesky->l, a->dtype, 2, a->dims));
    if (n == 0)
        return SG_OK;
    SG_TRY(symmetrise(job, cholesky->l.data, a));
    /* Our lower triangle is LAPACK's upper one: A = U'U with U = l'. */
    const int info = sg_lapack_potrf(a->dtype, 'U', (int)n, cholesky->l.data);
    if (info > 0)
        return sg_fail(job->err, SG_ENUMERIC,
                       "%s: a is not positive definite: its leading minor of order %d is not positive", job->who, info);
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = i + 1; j < n; j++)
            sg_linalg_set(cholesky->l.data, a->dtype, i * n + j, 0);
    return sg_linalg_finite(job, "l", &cholesky->l);
}

sg_status sg_cholesky_new(sg_cholesky **out, const sg_tensor *a, sg_error *err)
{
    *out = NULL;
    SG_TRY(check_symmetric("cholesky", a, err));
    sg_linalg_job job;
    SG_TRY(sg_linalg_begin(&job, "cholesky", sizeof **out, err));
    const sg_status status = cholesky_fill(&job, a);
    *out = sg_linalg_end(&job, status);
    return status;
}

void sg_cholesky_free(sg_cholesky *cholesky)
{
    sg_linalg_free(cholesky);
}

sg_status sg_cholesky_solve(const sg_tensor *x, const sg_cholesky *cholesky, const sg_tensor *b, sg_error *err)
{
    const sg_tensor *l = &cholesky->l;
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    SG_TRY(sg_linalg_check("cholesky_solve", "b", b, true, err));
    SG_TRY(sg_linalg_same_type("cholesky_solve", "l", l, "b", b, err));
    SG_TRY(sg_linalg_same_type("cholesky_solve", "x", x, "b", b, err));
    if (b->dims[0] != l->dims[0])
        return sg_fail(err, SG_ESHAPE, "cholesky_solve: l is %s and b is %s; their rows differ",
                       sg_shape_text(one, 2, l->dims), sg_shape_text(other, b->n_dims, b->dims));
    if (x->n_dims != b->n_dims || memcmp(x->dims, b->dims, (size_t)b->n_dims * sizeof b->dims[0]) != 0)
        return sg_fail(err, SG_ESHAPE, "cholesky_solve: x is %s and b is %s, wanted one shape",
                       sg_shape_text(one, x->n_dims, x->dims), sg_shape_text(other, b->n_dims, b->dims));
    const int n = (int)b->dims[0], n_columns = b->n_dims == 2 ? (int)b->dims[1] : 1;
    if (n == 0 || n_columns == 0)
        return SG_OK;
    if (x->data != b->data)
        memcpy(x->data, b->data, sg_tensor_bytes(b));
    const int n_threads = sg_linalg_enter();
    for (int half = 0; half < 2; half++) { /* l z = b, then l' x = z */
        const CBLAS_TRANSPOSE trans = half ? CblasTrans : CblasNoTrans;
        if (b->dtype == SG_F64)
            cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, trans, CblasNonUnit, n, n_columns, 1.0, l->data, n,
                        x->data, n_columns);
        else
            cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, trans, CblasNonUnit, n, n_columns, 1.0f, l->data, n,
                        x->data, n_columns);
    }
    sg_linalg_leave(n_threads);
    const sg_linalg_job job = {.who = "cholesky_solve", .err = err};
    return sg_linalg_finite(&job, "x", x);
}
