/* Dense linear algebra: decompositions and closed-form fits of matrices held as tensors.
 *
 *     sg_ridge *fit; // x [N,D] activations, y [N,C] targets
 *     SG_TRY(sg_ridge_new(&fit, &x, &y, (double[]){0.1, 1, 10}, 3, sg_ridge_defaults(), err));
 *     use(&fit->weights); // [3,D,C], one map for each lambda
 *     sg_ridge_free(fit);
 *
 * Every matrix A, with M rows and N columns, is U diag(s) V': it turns, stretches by the singular values s, turns
 * again. Which of the s are zero says what cannot be undone (the rank); s[0] / s[last], the condition, says how many
 * times a relative error of the input may grow on its way to the answer. All else here is that picture, or a cheaper
 * one where it suffices: Q R for any matrix, L L' and V' diag(w) V for symmetric ones.
 *
 * What holds for all functions:
 *   - Matrices are f32 or f64 and are computed and returned in that type; s, w and the rest have no unit but that of A.
 *     Inputs are never written. A result belongs to the caller, its tensors live until its free.
 *   - SG_ETYPE: neither f32 nor f64, or two types. SG_ESHAPE: the text has both shapes. SG_ENUMERIC: an input holds
 *     what is not finite (the text says where; LAPACK may hang on it), the result does, or an iteration did not
 *     converge. SG_EUNSUPPORTED: beyond LAPACK's 32-bit int, for an extent or for the workspace: min(M,N) to about
 *     23,000 for singular vectors, N to 32,000 for eigenvectors, min(M,N) to about 45,000 for least squares. SG_ENOMEM.
 *   - No rows or no columns are fine: the products over nothing are 0, the orthogonal matrices are identities.
 *   - Signs are settled. A vector's *leading* component, the first whose magnitude is within 1/1000 of its largest, is
 *     positive: for singular vectors that of the right one (a row of vt), for eigenvectors each its own. R and L have
 *     diagonals >= 0. Where singular values or eigenvalues coincide their vectors remain free to turn among each other.
 *   - OpenBLAS is kept to one thread while a call of ours runs, and set back by the last to leave: called from many
 *     OpenMP threads it does not make more, and no number of threads changes a byte. To use more cores, call from more.
 *
 * The routines are LAPACK's (Anderson et al., LAPACK Users' Guide), named with each function without their s or d. */
#ifndef SIGHTGLASS_LINALG_H
#define SIGHTGLASS_LINALG_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How much of an orthogonal factor is wanted; K = min(M,N). */
typedef enum sg_factors {
    SG_FACTORS_THIN = 0, /* the K columns that take part */
    SG_FACTORS_FULL      /* completed to a square matrix */
} sg_factors;

/* Singular values at or below rcond * s[0] count as zero; 0 <= rcond < 1. This one means max(M,N) * epsilon of the
 * type. */
#define SG_RCOND_DEFAULT (-1.0)

/* ---- singular values ---- */

/* A = u diag(s) vt. */
typedef struct sg_svd {
    sg_tensor u;  /* thin [M,K], full [M,M]; columns are the left vectors */
    sg_tensor s;  /* [K], descending, >= 0 */
    sg_tensor vt; /* thin [K,N], full [N,N]; rows are the right vectors */
} sg_svd;

/* a [M,N].  gesdd (divide and conquer); gesvd (QR iteration) where that does not converge. */
sg_status sg_svd_new(sg_svd **out, const sg_tensor *a, sg_factors factors, sg_error *err) SG_MUST_CHECK;
void sg_svd_free(sg_svd *svd); /* NULL is fine, here and below */

/* How many singular values count, for a rcond as above. */
sg_dim sg_svd_rank(const sg_svd *svd, double rcond);

/* The pseudo-inverse of Moore and Penrose: V diag(1/s) U' over the singular values that count. */
typedef struct sg_pinv {
    sg_tensor inverse; /* [N,M] */
    sg_tensor s;       /* [K], all singular values of A */
    sg_dim rank;       /* how many of them were inverted */
} sg_pinv;

typedef struct sg_pinv_opts {
    double rcond;    /* SG_RCOND_DEFAULT */
    sg_dim max_rank; /* at most so many singular values, the largest; INT64_MAX */
} sg_pinv_opts;
sg_pinv_opts sg_pinv_defaults(void);

/* a [M,N].  gesdd as above, then a product.  SG_EARG: rcond, or max_rank < 0. */
sg_status sg_pinv_new(sg_pinv **out, const sg_tensor *a, sg_pinv_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_pinv_free(sg_pinv *pinv);

/* ---- symmetric matrices ---- */

/* A = vectors' diag(values) vectors. */
typedef struct sg_eigen {
    sg_tensor values;  /* [N], ascending */
    sg_tensor vectors; /* [N,N]; row i belongs to values[i] and has length 1 (numpy has columns) */
} sg_eigen;

/* a [N,N] symmetric.  syevd (divide and conquer); syev (QR iteration) where that does not converge.  The mean of a and
 * its transpose is decomposed.  SG_EARG: they differ by more than sqrt(epsilon) of the largest magnitude. */
sg_status sg_eigen_new(sg_eigen **out, const sg_tensor *a, sg_error *err) SG_MUST_CHECK;
void sg_eigen_free(sg_eigen *eigen);

/* A = l l'. */
typedef struct sg_cholesky {
    sg_tensor l; /* [N,N], lower triangle, zeros above, diagonal > 0 */
} sg_cholesky;

/* a [N,N] symmetric as above and positive definite.  potrf.  SG_ENUMERIC: a is not positive definite; the text has the
 * order of the first leading minor that is not positive. */
sg_status sg_cholesky_new(sg_cholesky **out, const sg_tensor *a, sg_error *err) SG_MUST_CHECK;
void sg_cholesky_free(sg_cholesky *cholesky);

/* Solves A x = b for b [N] or [N,C], by two triangular solves (BLAS trsm).  x is the caller's, of b's type and shape,
 * and may be b. */
sg_status sg_cholesky_solve(const sg_tensor *x, const sg_cholesky *cholesky, const sg_tensor *b,
                            sg_error *err) SG_MUST_CHECK;

/* ---- any matrix ---- */

/* A = q r. */
typedef struct sg_qr {
    sg_tensor q; /* thin [M,K], full [M,M]; orthonormal columns */
    sg_tensor r; /* thin [K,N], full [M,N]; zeros below the diagonal, which is >= 0 */
} sg_qr;

/* a [M,N].  gelqf and orglq on the transpose, which is how LAPACK sees a row-major matrix.  No pivoting. */
sg_status sg_qr_new(sg_qr **out, const sg_tensor *a, sg_factors factors, sg_error *err) SG_MUST_CHECK;
void sg_qr_free(sg_qr *qr);

/* The x of least norm among those that minimise |A x - b|, one column at a time; any rank will do. */
typedef struct sg_lstsq {
    sg_tensor x; /* [N] or [N,C], as b */
    sg_tensor s; /* [K], singular values of A, descending */
    sg_dim rank; /* how many of them count */
} sg_lstsq;

/* a [M,N], b [M] or [M,C].  gelsd (divide and conquer); gelss where that does not converge.  SG_EARG: rcond. */
sg_status sg_lstsq_new(sg_lstsq **out, const sg_tensor *a, const sg_tensor *b, double rcond,
                       sg_error *err) SG_MUST_CHECK;
void sg_lstsq_free(sg_lstsq *lstsq);

/* ---- ridge regression ---- */

/* For each lambda the w and b that minimise  sum over rows of |x w + b - y|^2  +  lambda |w|^2. */
typedef struct sg_ridge {
    sg_tensor weights; /* [L,D,C], or [L,D] where y is [N] */
    sg_tensor bias;    /* [L,C], or [L]; zeros without intercept */
    bool dual;         /* how it was solved: see below */
} sg_ridge;

typedef struct sg_ridge_opts {
    bool intercept; /* true: fit b, which is not penalised; false: b = 0 */
} sg_ridge_opts;
sg_ridge_opts sg_ridge_defaults(void);

/* x [N,D], y [N] or [N,C], each f32 or f64; lambdas [L], each finite and >= 0, in units of x squared and *not* per row
 * (a penalty on the mean error is lambda = N times it).  The result has x's type.  SG_EARG: a lambda, or none.
 *
 * w = (x'x + lambda I)^-1 x'y where N >= D (primal), x' (xx' + lambda I)^-1 y where N < D (dual), with the means taken
 * off x and y first where there is an intercept.  The products are formed once for all lambdas, in double whatever
 * the type: they square the condition.  potrf for a few lambdas; syevd once for many, or for a lambda so small that
 * the sum is singular to rounding.  There the directions without substance get no weight, so that lambda = 0 gives
 * the least squares of least norm; singular values below some 1e-7 of the largest are lost, which sg_lstsq keeps.
 * Where x has lesser rank, expect errors in w of about 2e-16 |x| |y| / lambda. */
sg_status sg_ridge_new(sg_ridge **out, const sg_tensor *x, const sg_tensor *y, const double *lambdas, sg_dim n_lambdas,
                       sg_ridge_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_ridge_free(sg_ridge *ridge);

/* ---- products ---- */

/* out [M,N] = alpha op(a) op(b) + beta out, where op turns a matrix if its turn_ is set; one type, f32 or f64. gemm. The numbers
 * of out are the caller's, and not those of a or b; with beta 0 they are not read. What is not finite goes through. */
sg_status sg_product(const sg_tensor *out, const sg_tensor *a, bool turn_a, const sg_tensor *b, bool turn_b, double alpha,
                     double beta, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
