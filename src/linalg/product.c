/* Products of matrices, by gemm, for what is computed outside of graphs. */
#include "linalg/linalg_internal.h"

#include <cblas.h>

static sg_status check(const sg_tensor *c, const sg_tensor *a, bool trans_a, const sg_tensor *b, bool trans_b,
                       sg_error *err)
{
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT], third[SG_SHAPE_TEXT];

    SG_TRY(sg_linalg_check("product", "a", a, false, err));
    SG_TRY(sg_linalg_check("product", "b", b, false, err));
    SG_TRY(sg_linalg_same_type("product", "a", a, "b", b, err));
    SG_TRY(sg_linalg_same_type("product", "a", a, "c", c, err));
    if (c->n_dims != 2 || a->dims[!trans_a] != b->dims[trans_b] || c->dims[0] != a->dims[trans_a] ||
        c->dims[1] != b->dims[!trans_b])
        return sg_fail(err, SG_ESHAPE, "product: a is %s%s, b is %s%s, and c is %s", sg_shape_text(one, 2, a->dims),
                       trans_a ? " turned" : "", sg_shape_text(other, 2, b->dims), trans_b ? " turned" : "",
                       sg_shape_text(third, c->n_dims, c->dims));
    return SG_OK;
}

sg_status sg_product(const sg_tensor *c, const sg_tensor *a, bool trans_a, const sg_tensor *b, bool trans_b,
                     sg_error *err)
{
    SG_TRY(check(c, a, trans_a, b, trans_b, err));
    const int m = (int)c->dims[0], n = (int)c->dims[1], k = (int)a->dims[!trans_a];
    const CBLAS_TRANSPOSE turn_a = trans_a ? CblasTrans : CblasNoTrans, turn_b = trans_b ? CblasTrans : CblasNoTrans;
    const int step_a = SG_MAX((int)a->dims[1], 1), step_b = SG_MAX((int)b->dims[1], 1), step_c = SG_MAX(n, 1);

    if (m == 0 || n == 0)
        return SG_OK;
    const int n_threads = sg_linalg_enter();
    if (c->dtype == SG_F64)
        cblas_dgemm(CblasRowMajor, turn_a, turn_b, m, n, k, 1, a->data, step_a, b->data, step_b, 0, c->data, step_c);
    else
        cblas_sgemm(CblasRowMajor, turn_a, turn_b, m, n, k, 1, a->data, step_a, b->data, step_b, 0, c->data, step_c);
    sg_linalg_leave(n_threads);
    return SG_OK;
}
