/* Products of matrices held as tensors: BLAS gemm. */
#include "linalg/linalg_internal.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include <cblas.h>

sg_status sg_product(const sg_tensor *out, const sg_tensor *a, bool turn_a, const sg_tensor *b, bool turn_b,
                     double alpha, double beta, sg_error *err)
{
    char text_a[SG_SHAPE_TEXT], text_b[SG_SHAPE_TEXT], text[SG_SHAPE_TEXT];
    if (a->dtype != b->dtype || a->dtype != out->dtype || (a->dtype != SG_F32 && a->dtype != SG_F64))
        return sg_fail(err, SG_ETYPE, "product: %s of %s and %s, wanted one type, f32 or f64",
                       sg_dtype_name(out->dtype), sg_dtype_name(a->dtype), sg_dtype_name(b->dtype));
    const bool matrices = a->n_dims == 2 && b->n_dims == 2 && out->n_dims == 2;
    if (!matrices || a->dims[!turn_a] != b->dims[turn_b] || out->dims[0] != a->dims[turn_a] ||
        out->dims[1] != b->dims[!turn_b])
        return sg_fail(err, SG_ESHAPE, "product: %s%s of %s and %s%s do not fit",
                       sg_shape_text(text_a, a->n_dims, a->dims), turn_a ? "'" : "",
                       sg_shape_text(text, out->n_dims, out->dims), sg_shape_text(text_b, b->n_dims, b->dims),
                       turn_b ? "'" : "");
    for (int i = 0; i < 2; i++)
        if (a->dims[i] > INT_MAX || b->dims[i] > INT_MAX)
            return sg_fail(err, SG_EUNSUPPORTED, "product: %s or %s is beyond a 32-bit int",
                           sg_shape_text(text_a, 2, a->dims), sg_shape_text(text_b, 2, b->dims));
    const int m = (int)out->dims[0], n = (int)out->dims[1], inner = (int)a->dims[!turn_a];
    const int lda = (int)SG_MAX(a->dims[1], 1), ldb = (int)SG_MAX(b->dims[1], 1);
    if (m == 0 || n == 0)
        return SG_OK;
    const CBLAS_TRANSPOSE ta = turn_a ? CblasTrans : CblasNoTrans, tb = turn_b ? CblasTrans : CblasNoTrans;
    const int threads = sg_linalg_enter();
    if (out->dtype == SG_F64)
        cblas_dgemm(CblasRowMajor, ta, tb, m, n, inner, alpha, a->data, lda, b->data, ldb, beta, out->data, n);
    else
        cblas_sgemm(CblasRowMajor, ta, tb, m, n, inner, (float)alpha, a->data, lda, b->data, ldb, (float)beta,
                    out->data, n);
    sg_linalg_leave(threads);
    return SG_OK;
}
