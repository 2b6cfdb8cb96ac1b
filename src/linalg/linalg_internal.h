/* What the functions of linalg.h share: checks of what comes in and goes out, memory, and LAPACK by element type.
 *
 * A row-major matrix is, to LAPACK, the column-major transpose; every call below is made on that, so nothing is
 * transposed but what gelsd reads. Work arrays are ours, so that their absence is a status. */
#ifndef SG_LINALG_INTERNAL_H
#define SG_LINALG_INTERNAL_H

#include "base/base.h"
#include "sightglass/linalg.h"

/* ---- one call ---- */

typedef struct sg_linalg_job {
    const char *who; /* "svd": how texts begin */
    sg_error *err;
    sg_arena *own;     /* the result and its numbers */
    sg_arena *scratch; /* freed with the job */
    void *face;        /* the result, zeroed */
    int n_threads;     /* for sg_linalg_leave */
} sg_linalg_job;

/* Makes room for a result of so many bytes and enters, as below. Each begin is followed by one end, which gives the
 * result, or frees it and gives NULL if the status is not SG_OK. A failed begin needs no end. */
sg_status sg_linalg_begin(sg_linalg_job *job, const char *who, size_t face_bytes, sg_error *err) SG_MUST_CHECK;
void *sg_linalg_end(sg_linalg_job *job, sg_status status);
void sg_linalg_free(void *face); /* NULL is fine */

/* Keeps OpenBLAS to one thread from enter to leave, which gets what enter gave. */
int sg_linalg_enter(void);
void sg_linalg_leave(int n_threads);

/* Zeroed numbers: for the result, which become a tensor, and for the time of the job (NULL when memory is out). */
sg_status sg_linalg_tensor(sg_linalg_job *job, sg_tensor *out, sg_dtype dtype, int n_dims,
                           const sg_dim *dims) SG_MUST_CHECK;
void *sg_linalg_room(sg_linalg_job *job, sg_dim count, size_t size);
sg_status sg_linalg_no_memory(const sg_linalg_job *job, const sg_tensor *a);

/* ---- checks ---- */

/* A matrix, or with `vector_too` a vector, of f32 or f64, finite, with extents that LAPACK's int holds. */
sg_status sg_linalg_check(const char *who, const char *name, const sg_tensor *a, bool vector_too,
                          sg_error *err) SG_MUST_CHECK;
sg_status sg_linalg_same_type(const char *who, const char *a_name, const sg_tensor *a, const char *b_name,
                              const sg_tensor *b, sg_error *err) SG_MUST_CHECK;
/* SG_EUNSUPPORTED if a workspace of so many elements is beyond LAPACK's int, which would wrap unseen. */
sg_status sg_linalg_fits(const sg_linalg_job *job, const sg_tensor *a, double n_elements) SG_MUST_CHECK;
/* SG_ENUMERIC if a result is not finite. */
sg_status sg_linalg_finite(const sg_linalg_job *job, const char *name, const sg_tensor *result) SG_MUST_CHECK;
sg_status sg_linalg_rcond(const char *who, double rcond, sg_error *err) SG_MUST_CHECK;

/* ---- numbers of either type ---- */

static inline double sg_linalg_get(const void *x, sg_dtype dtype, sg_dim i)
{
    return dtype == SG_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static inline void sg_linalg_set(void *x, sg_dtype dtype, sg_dim i, double value)
{
    if (dtype == SG_F64)
        ((double *)x)[i] = value;
    else
        ((float *)x)[i] = (float)value;
}

double sg_linalg_epsilon(sg_dtype dtype); /* distance from 1 to the next number */

/* How many of s[0..k) count; m and n are the matrix's extents. */
sg_dim sg_linalg_rank(const void *s, sg_dtype dtype, sg_dim k, double rcond, sg_dim m, sg_dim n);

/* -1 where the leading component (linalg.h) of x[0], x[step], ... is negative, else 1. */
double sg_linalg_sign(const void *x, sg_dtype dtype, sg_dim count, sg_dim step);
void sg_linalg_scale(void *x, sg_dtype dtype, sg_dim count, sg_dim step, double by);
/* to [n,m] from [m,n], both with rows `to_stride` and `from_stride` apart. */
void sg_linalg_transpose(void *to, sg_dim to_stride, const void *from, sg_dim from_stride, sg_dim m, sg_dim n,
                         sg_dtype dtype);

/* ---- LAPACK, by element type; matrices as LAPACK sees them, column-major. 0, or LAPACK's info > 0. ---- */

/* a is overwritten; u and vt stay as LAPACK's. "full" is job A, else S. *info > 0: no convergence. */
sg_status sg_lapack_gesdd(sg_linalg_job *job, sg_dtype dtype, bool full, int m, int n, void *a, void *s, void *u,
                          void *vt, int *info) SG_MUST_CHECK;
sg_status sg_lapack_gesvd(sg_linalg_job *job, sg_dtype dtype, bool full, int m, int n, void *a, void *s, void *u,
                          void *vt, int *info) SG_MUST_CHECK;
/* The lower triangle of a is read (the upper one of row-major), eigenvectors take its place. */
sg_status sg_lapack_syevd(sg_linalg_job *job, sg_dtype dtype, int n, void *a, void *w, int *info) SG_MUST_CHECK;
sg_status sg_lapack_syev(sg_linalg_job *job, sg_dtype dtype, int n, void *a, void *w, int *info) SG_MUST_CHECK;
/* tau [min(m,n)]. */
sg_status sg_lapack_gelqf(sg_linalg_job *job, sg_dtype dtype, int m, int n, void *a, void *tau) SG_MUST_CHECK;
sg_status sg_lapack_orglq(sg_linalg_job *job, sg_dtype dtype, int m, int n, int k, void *a,
                          const void *tau) SG_MUST_CHECK;
/* a [m,n], b [max(m,n),n_rhs]. */
sg_status sg_lapack_gelsd(sg_linalg_job *job, sg_dtype dtype, int m, int n, int n_rhs, void *a, void *b, void *s,
                          double rcond, int *rank, int *info) SG_MUST_CHECK;
sg_status sg_lapack_gelss(sg_linalg_job *job, sg_dtype dtype, int m, int n, int n_rhs, void *a, void *b, void *s,
                          double rcond, int *rank, int *info) SG_MUST_CHECK;
int sg_lapack_potrf(sg_dtype dtype, char triangle, int n, void *a);

/* ---- shared pieces ---- */

/* Singular values and vectors of a row-major a [m,n] that has elements, by gesdd or else gesvd; signs as they come.
 * u [m,k] and vt [k,n], or with `full` [m,m] and [n,n]. */
sg_status sg_linalg_svd(sg_linalg_job *job, const sg_tensor *a, bool full, void *u, void *s, void *vt) SG_MUST_CHECK;

/* Eigenvectors, as rows, take the place of a symmetric a [n,n], n > 0. `again` is room for a copy of a. */
sg_status sg_linalg_eigen(sg_linalg_job *job, sg_dtype dtype, sg_dim n, void *a, void *again, void *w) SG_MUST_CHECK;

#endif
