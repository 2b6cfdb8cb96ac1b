/* QR. LAPACK sees A' and factors it as L Q; transposed back, that is our Q R, with R and the reflectors lying in the
 * row-major copy of A just as geqrf would leave them. */
#include "linalg/linalg_internal.h"

#include <string.h>

/* A negative R[i,i] takes its row of R and its column of Q along; the columns that complete Q have none. */
static void settle_signs(sg_qr *qr, sg_dim k, double *signs)
{
    const sg_dim m = qr->q.dims[0], n_q = qr->q.dims[1], n = qr->r.dims[1];
    const sg_dtype dtype = qr->q.dtype;
    const size_t bytes = sg_dtype_bytes(dtype);
    for (sg_dim i = 0; i < n_q; i++) {
        if (i >= k) {
            signs[i] = sg_linalg_sign((char *)qr->q.data + (size_t)i * bytes, dtype, m, n_q);
            continue;
        }
        signs[i] = sg_linalg_get(qr->r.data, dtype, i * n + i) < 0 ? -1 : 1;
        if (signs[i] < 0)
            sg_linalg_scale((char *)qr->r.data + (size_t)(i * n + i) * bytes, dtype, n - i, 1, -1);
    }
    for (sg_dim i = 0; i < m; i++)
        for (sg_dim j = 0; j < n_q; j++)
            sg_linalg_set(qr->q.data, dtype, i * n_q + j, signs[j] * sg_linalg_get(qr->q.data, dtype, i * n_q + j));
}

static sg_status qr_fill(sg_linalg_job *job, const sg_tensor *a, bool full)
{
    sg_qr *qr = job->face;
    const sg_dim m = a->dims[0], n = a->dims[1], k = SG_MIN(m, n), n_q = full ? m : k;
    const size_t bytes = sg_dtype_bytes(a->dtype);
    SG_TRY(sg_linalg_tensor(job, &qr->q, a->dtype, 2, (sg_dim[]){m, n_q}));
    SG_TRY(sg_linalg_tensor(job, &qr->r, a->dtype, 2, (sg_dim[]){n_q, n}));
    if (k == 0) {
        for (sg_dim i = 0; i < n_q; i++)
            sg_linalg_set(qr->q.data, a->dtype, i * n_q + i, 1);
        return SG_OK;
    }
    SG_TRY(sg_linalg_fits(job, a, 65 * (double)SG_MAX(n_q, n))); /* blocks of 64 rows */
    char *copy = sg_linalg_room(job, m * n, bytes);
    void *tau = sg_linalg_room(job, k, bytes);
    double *signs = sg_linalg_room(job, n_q, sizeof *signs);
    if (!copy || !tau || !signs)
        return sg_linalg_no_memory(job, a);
    memcpy(copy, a->data, sg_tensor_bytes(a));
    SG_TRY(sg_lapack_gelqf(job, a->dtype, (int)n, (int)m, copy, tau));
    for (sg_dim i = 0; i < k; i++)
        memcpy((char *)qr->r.data + (size_t)(i * n + i) * bytes, copy + (size_t)(i * n + i) * bytes,
               (size_t)(n - i) * bytes);
    for (sg_dim i = 0; i < m; i++)
        memcpy((char *)qr->q.data + (size_t)(i * n_q) * bytes, copy + (size_t)(i * n) * bytes, (size_t)k * bytes);
    SG_TRY(sg_lapack_orglq(job, a->dtype, (int)n_q, (int)m, (int)k, qr->q.data, tau));
    settle_signs(qr, k, signs);
    SG_TRY(sg_linalg_finite(job, "r", &qr->r));
    return sg_linalg_finite(job, "q", &qr->q);
}

sg_status sg_qr_new(sg_qr **out, const sg_tensor *a, sg_factors factors, sg_error *err)
{
    *out = NULL;
    SG_TRY(sg_linalg_check("qr", "a", a, false, err));
    sg_linalg_job job;
    SG_TRY(sg_linalg_begin(&job, "qr", sizeof **out, err));
    const sg_status status = qr_fill(&job, a, factors == SG_FACTORS_FULL);
    *out = sg_linalg_end(&job, status);
    return status;
}

void sg_qr_free(sg_qr *qr)
{
    sg_linalg_free(qr);
}
