/* Least squares of any rank. gelsd has no way to be told of a transpose, so here matrices are turned. */
#include "linalg/linalg_internal.h"

#include <float.h>

static sg_status lstsq_fill(sg_linalg_job *job, const sg_tensor *a, const sg_tensor *b, double rcond)
{
    sg_lstsq *lstsq = job->face;
    const sg_dim m = a->dims[0], n = a->dims[1], k = SG_MIN(m, n), n_columns = b->n_dims == 2 ? b->dims[1] : 1;
    const sg_dim height = SG_MAX(m, n), n_sides = SG_MAX(n_columns, 1); /* dlalsd refuses none; zeros stand in */
    const sg_dtype dtype = a->dtype;
    SG_TRY(sg_linalg_tensor(job, &lstsq->x, dtype, b->n_dims, (sg_dim[]){n, n_columns}));
    SG_TRY(sg_linalg_tensor(job, &lstsq->s, dtype, 1, &k));
    if (k == 0)
        return SG_OK;
    /* More than gelsd and gelss take: leaves of 25 and at most 32 levels, blocks of at most 64. */
    const double inner = (double)k, sides_most = (double)n_sides;
    SG_TRY(sg_linalg_fits(job, a, inner * (inner + sides_most + 800) + 65 * sides_most + (double)(m + n) + 1000));
    void *turned = sg_linalg_room(job, m * n, sg_dtype_bytes(dtype));
    void *sides = sg_linalg_room(job, height * n_sides, sg_dtype_bytes(dtype));
    if (!turned || !sides)
        return sg_linalg_no_memory(job, a);
    /* gelsd takes 0, and all from 1 on, for epsilon. */
    const double least = dtype == SG_F64 ? DBL_MIN : (double)FLT_MIN;
    const double cut = rcond == SG_RCOND_DEFAULT ? (double)height * sg_linalg_epsilon(dtype) : rcond;
    int info, rank;
    for (int attempt = 0; attempt < 2; attempt++) {
        sg_linalg_transpose(turned, m, a->data, n, m, n, dtype);
        sg_linalg_transpose(sides, height, b->data, n_columns, m, n_columns, dtype);
        SG_TRY((attempt ? sg_lapack_gelss : sg_lapack_gelsd)(job, dtype, (int)m, (int)n, (int)n_sides, turned, sides,
                                                             lstsq->s.data, SG_MAX(cut, least), &rank, &info));
        if (info == 0)
            break;
    }
    char shape[SG_SHAPE_TEXT];
    if (info > 0)
        return sg_fail(job->err, SG_ENUMERIC, "%s: no convergence for a %s: %d off-diagonals remain", job->who,
                       sg_shape_text(shape, 2, a->dims), info);
    sg_linalg_transpose(lstsq->x.data, n_columns, sides, height, n_columns, n, dtype);
    lstsq->rank = rank;
    SG_TRY(sg_linalg_finite(job, "s", &lstsq->s));
    return sg_linalg_finite(job, "x", &lstsq->x);
}

sg_status sg_lstsq_new(sg_lstsq **out, const sg_tensor *a, const sg_tensor *b, double rcond, sg_error *err)
{
    *out = NULL;
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    SG_TRY(sg_linalg_rcond("lstsq", rcond, err));
    SG_TRY(sg_linalg_check("lstsq", "a", a, false, err));
    SG_TRY(sg_linalg_check("lstsq", "b", b, true, err));
    SG_TRY(sg_linalg_same_type("lstsq", "a", a, "b", b, err));
    if (a->dims[0] != b->dims[0])
        return sg_fail(err, SG_ESHAPE, "lstsq: a is %s and b is %s; their rows differ", sg_shape_text(one, 2, a->dims),
                       sg_shape_text(other, b->n_dims, b->dims));
    sg_linalg_job job;
    SG_TRY(sg_linalg_begin(&job, "lstsq", sizeof **out, err));
    const sg_status status = lstsq_fill(&job, a, b, rcond);
    *out = sg_linalg_end(&job, status);
    return status;
}

void sg_lstsq_free(sg_lstsq *lstsq)
{
    sg_linalg_free(lstsq);
}
