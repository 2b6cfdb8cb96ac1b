/* Singular values, and the pseudo-inverse made of them.
 *
 * LAPACK sees the transpose, A' = V diag(s) U': its left vectors are our right ones, and its column-major arrays are
 * our row-major ones, so that each lands where it is wanted. */
#include "linalg/linalg_internal.h"

#include <inttypes.h>
#include <string.h>

#include <cblas.h>

sg_status sg_linalg_svd(sg_linalg_job *job, const sg_tensor *a, bool full, void *u, void *s, void *vt)
{
    const int m = (int)a->dims[0], n = (int)a->dims[1];
    const double k = SG_MIN(m, n), larger = SG_MAX(m, n);
    /* gesdd's workspace: 4 k^2 + 7 k, and blocks of up to 64 rows for the parts that are done in blocks. */
    SG_TRY(sg_linalg_fits(job, a, 4 * k * k + 200 * k + (full ? 65 : 1) * larger));
    const size_t bytes = sg_tensor_bytes(a);
    void *copy = sg_linalg_room(job, sg_tensor_count(a), sg_dtype_bytes(a->dtype));
    if (!copy)
        return sg_linalg_no_memory(job, a);
    int info;
    memcpy(copy, a->data, bytes);
    SG_TRY(sg_lapack_gesdd(job, a->dtype, full, n, m, copy, s, vt, u, &info));
    if (info > 0) {
        memcpy(copy, a->data, bytes);
        SG_TRY(sg_lapack_gesvd(job, a->dtype, full, n, m, copy, s, vt, u, &info));
    }
    char shape[SG_SHAPE_TEXT];
    if (info > 0)
        return sg_fail(job->err, SG_ENUMERIC, "%s: no convergence for a %s: %d superdiagonals remain", job->who,
                       sg_shape_text(shape, 2, a->dims), info);
    return SG_OK;
}

static void identity(sg_tensor *square)
{
    for (sg_dim i = 0; i < square->dims[0]; i++)
        sg_linalg_set(square->data, square->dtype, i * square->dims[0] + i, 1);
}

/* Right vectors choose; left ones follow as far as they have a partner. */
static void settle_signs(sg_svd *svd, double *signs)
{
    const sg_dim k = svd->s.dims[0], m = svd->u.dims[0], n_u = svd->u.dims[1], n_vt = svd->vt.dims[0],
                 n = svd->vt.dims[1];
    const sg_dtype dtype = svd->s.dtype;
    for (sg_dim i = 0; i < n_vt; i++) {
        char *row = (char *)svd->vt.data + (size_t)(i * n) * sg_dtype_bytes(dtype);
        const double sign = sg_linalg_sign(row, dtype, n, 1);
        if (sign < 0)
            sg_linalg_scale(row, dtype, n, 1, -1);
        if (i < k)
            signs[i] = sign;
    }
    for (sg_dim j = k; j < n_u; j++)
        signs[j] = sg_linalg_sign((char *)svd->u.data + (size_t)j * sg_dtype_bytes(dtype), dtype, m, n_u);
    for (sg_dim i = 0; i < m; i++)
        for (sg_dim j = 0; j < n_u; j++)
            sg_linalg_set(svd->u.data, dtype, i * n_u + j, signs[j] * sg_linalg_get(svd->u.data, dtype, i * n_u + j));
}

static sg_status svd_fill(sg_linalg_job *job, const sg_tensor *a, bool full)
{
    sg_svd *svd = job->face;
    const sg_dim m = a->dims[0], n = a->dims[1], k = SG_MIN(m, n), n_u = full ? m : k, n_vt = full ? n : k;
    SG_TRY(sg_linalg_tensor(job, &svd->u, a->dtype, 2, (sg_dim[]){m, n_u}));
    SG_TRY(sg_linalg_tensor(job, &svd->s, a->dtype, 1, &k));
    SG_TRY(sg_linalg_tensor(job, &svd->vt, a->dtype, 2, (sg_dim[]){n_vt, n}));
    if (k == 0) {
        if (full) {
            identity(&svd->u);
            identity(&svd->vt);
        }
        return SG_OK;
    }
    double *signs = sg_linalg_room(job, n_u, sizeof *signs);
    if (!signs)
        return sg_linalg_no_memory(job, a);
    SG_TRY(sg_linalg_svd(job, a, full, svd->u.data, svd->s.data, svd->vt.data));
    SG_TRY(sg_linalg_finite(job, "s", &svd->s));
    settle_signs(svd, signs);
    return SG_OK;
}

sg_status sg_svd_new(sg_svd **out, const sg_tensor *a, sg_factors factors, sg_error *err)
{
    *out = NULL;
    SG_TRY(sg_linalg_check("svd", "a", a, false, err));
    sg_linalg_job job;
    SG_TRY(sg_linalg_begin(&job, "svd", sizeof **out, err));
    const sg_status status = svd_fill(&job, a, factors == SG_FACTORS_FULL);
    *out = sg_linalg_end(&job, status);
    return status;
}

void sg_svd_free(sg_svd *svd)
{
    sg_linalg_free(svd);
}

sg_dim sg_svd_rank(const sg_svd *svd, double rcond)
{
    return sg_linalg_rank(svd->s.data, svd->s.dtype, svd->s.dims[0], rcond, svd->u.dims[0], svd->vt.dims[1]);
}

/* ---- pseudo-inverse ---- */

sg_pinv_opts sg_pinv_defaults(void)
{
    return (sg_pinv_opts){.rcond = SG_RCOND_DEFAULT, .max_rank = INT64_MAX};
}

static sg_status pinv_fill(sg_linalg_job *job, const sg_tensor *a, sg_pinv_opts opts)
{
    sg_pinv *pinv = job->face;
    const sg_dim m = a->dims[0], n = a->dims[1], k = SG_MIN(m, n);
    const sg_dtype dtype = a->dtype;
    SG_TRY(sg_linalg_tensor(job, &pinv->inverse, dtype, 2, (sg_dim[]){n, m}));
    SG_TRY(sg_linalg_tensor(job, &pinv->s, dtype, 1, &k));
    if (k == 0)
        return SG_OK;
    char *u = sg_linalg_room(job, m * k, sg_dtype_bytes(dtype));
    char *vt = sg_linalg_room(job, k * n, sg_dtype_bytes(dtype));
    if (!u || !vt)
        return sg_linalg_no_memory(job, a);
    SG_TRY(sg_linalg_svd(job, a, false, u, pinv->s.data, vt));
    SG_TRY(sg_linalg_finite(job, "s", &pinv->s));
    pinv->rank = SG_MIN(sg_linalg_rank(pinv->s.data, dtype, k, opts.rcond, m, n), opts.max_rank);
    for (sg_dim i = 0; i < pinv->rank; i++)
        sg_linalg_scale(vt + (size_t)(i * n) * sg_dtype_bytes(dtype), dtype, n, 1,
                        1 / sg_linalg_get(pinv->s.data, dtype, i));
    if (dtype == SG_F64)
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasTrans, (int)n, (int)m, (int)pinv->rank, 1.0,
                    (const double *)(void *)vt, (int)n, (const double *)(void *)u, (int)k, 0.0, pinv->inverse.data,
                    (int)m);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasTrans, (int)n, (int)m, (int)pinv->rank, 1.0f,
                    (const float *)(void *)vt, (int)n, (const float *)(void *)u, (int)k, 0.0f, pinv->inverse.data,
                    (int)m);
    return sg_linalg_finite(job, "inverse", &pinv->inverse);
}

sg_status sg_pinv_new(sg_pinv **out, const sg_tensor *a, sg_pinv_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(sg_linalg_rcond("pinv", opts.rcond, err));
    if (opts.max_rank < 0)
        return sg_fail(err, SG_EARG, "pinv: max_rank is %" PRId64 ", wanted at least 0", opts.max_rank);
    SG_TRY(sg_linalg_check("pinv", "a", a, false, err));
    sg_linalg_job job;
    SG_TRY(sg_linalg_begin(&job, "pinv", sizeof **out, err));
    const sg_status status = pinv_fill(&job, a, opts);
    *out = sg_linalg_end(&job, status);
    return status;
}

void sg_pinv_free(sg_pinv *pinv)
{
    sg_linalg_free(pinv);
}
