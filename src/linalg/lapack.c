/* LAPACK by element type: asks for the size of the work array, makes it, calls. An info below zero would be our
 * mistake.
 *
 * LAPACK tells sizes as floating-point numbers, and sums them in a 32-bit int: callers bound them first
 * (sg_linalg_fits), and an f32 answer, which may have been rounded down, is raised by its rounding. */
#include "linalg/linalg_internal.h"

#include <float.h>
#include <limits.h>
#include <math.h>

#include <lapacke.h>

_Static_assert(sizeof(lapack_int) == sizeof(int), "LAPACKE is expected with 32-bit integers");

#define COL LAPACK_COL_MAJOR

typedef struct query {
    double f64;
    float f32;
    int n_ints;
} query;

static sg_status work_of(sg_linalg_job *job, sg_dtype dtype, const query *q, void **work, int *n_work)
{
    const double told = dtype == SG_F64 ? q->f64 : (double)q->f32;
    const double n = fmax(1, ceil(told * (1 + 2 * sg_linalg_epsilon(dtype))));
    *n_work = (int)fmin(n, INT_MAX);
    *work = sg_linalg_room(job, *n_work, sg_dtype_bytes(dtype));
    if (!*work)
        return sg_fail(job->err, SG_ENOMEM, "%s: out of memory for a workspace of %d elements", job->who, *n_work);
    return SG_OK;
}

static sg_status ints_of(sg_linalg_job *job, sg_dim count, int **ints)
{
    *ints = sg_linalg_room(job, SG_MAX(count, 1), sizeof **ints);
    if (!*ints)
        return sg_fail(job->err, SG_ENOMEM, "%s: out of memory for a workspace of %lld integers", job->who,
                       (long long)count);
    return SG_OK;
}

static int gesdd(sg_dtype dtype, char which, int m, int n, void *a, void *s, void *u, void *vt, int ldvt, void *work,
                 int n_work, int *ints)
{
    return dtype == SG_F64 ? LAPACKE_dgesdd_work(COL, which, m, n, a, m, s, u, m, vt, ldvt, work, n_work, ints)
                           : LAPACKE_sgesdd_work(COL, which, m, n, a, m, s, u, m, vt, ldvt, work, n_work, ints);
}

sg_status sg_lapack_gesdd(sg_linalg_job *job, sg_dtype dtype, bool full, int m, int n, void *a, void *s, void *u,
                          void *vt, int *info)
{
    const char which = full ? 'A' : 'S';
    const int ldvt = full ? n : SG_MIN(m, n);
    query q = {0};
    void *work = dtype == SG_F64 ? (void *)&q.f64 : (void *)&q.f32;
    int *ints, n_work = -1;
    SG_TRY(ints_of(job, 8 * (sg_dim)SG_MIN(m, n), &ints));
    SG_ASSERT(gesdd(dtype, which, m, n, a, s, u, vt, ldvt, work, n_work, ints) == 0);
    SG_TRY(work_of(job, dtype, &q, &work, &n_work));
    *info = gesdd(dtype, which, m, n, a, s, u, vt, ldvt, work, n_work, ints);
    SG_ASSERT(*info >= 0);
    return SG_OK;
}

static int gesvd(sg_dtype dtype, char which, int m, int n, void *a, void *s, void *u, void *vt, int ldvt, void *work,
                 int n_work)
{
    return dtype == SG_F64 ? LAPACKE_dgesvd_work(COL, which, which, m, n, a, m, s, u, m, vt, ldvt, work, n_work)
                           : LAPACKE_sgesvd_work(COL, which, which, m, n, a, m, s, u, m, vt, ldvt, work, n_work);
}

sg_status sg_lapack_gesvd(sg_linalg_job *job, sg_dtype dtype, bool full, int m, int n, void *a, void *s, void *u,
                          void *vt, int *info)
{
    const char which = full ? 'A' : 'S';
    const int ldvt = full ? n : SG_MIN(m, n);
    query q = {0};
    void *work = dtype == SG_F64 ? (void *)&q.f64 : (void *)&q.f32;
    int n_work = -1;
    SG_ASSERT(gesvd(dtype, which, m, n, a, s, u, vt, ldvt, work, n_work) == 0);
    SG_TRY(work_of(job, dtype, &q, &work, &n_work));
    *info = gesvd(dtype, which, m, n, a, s, u, vt, ldvt, work, n_work);
    SG_ASSERT(*info >= 0);
    return SG_OK;
}

static int syevd(sg_dtype dtype, int n, void *a, void *w, void *work, int n_work, int *ints, int n_ints)
{
    return dtype == SG_F64 ? LAPACKE_dsyevd_work(COL, 'V', 'L', n, a, n, w, work, n_work, ints, n_ints)
                           : LAPACKE_ssyevd_work(COL, 'V', 'L', n, a, n, w, work, n_work, ints, n_ints);
}

sg_status sg_lapack_syevd(sg_linalg_job *job, sg_dtype dtype, int n, void *a, void *w, int *info)
{
    query q = {0};
    void *work = dtype == SG_F64 ? (void *)&q.f64 : (void *)&q.f32;
    int *ints, n_work = -1;
    SG_ASSERT(syevd(dtype, n, a, w, work, n_work, &q.n_ints, -1) == 0);
    SG_TRY(work_of(job, dtype, &q, &work, &n_work));
    SG_TRY(ints_of(job, q.n_ints, &ints));
    *info = syevd(dtype, n, a, w, work, n_work, ints, q.n_ints);
    SG_ASSERT(*info >= 0);
    return SG_OK;
}

static int syev(sg_dtype dtype, int n, void *a, void *w, void *work, int n_work)
{
    return dtype == SG_F64 ? LAPACKE_dsyev_work(COL, 'V', 'L', n, a, n, w, work, n_work)
                           : LAPACKE_ssyev_work(COL, 'V', 'L', n, a, n, w, work, n_work);
}

sg_status sg_lapack_syev(sg_linalg_job *job, sg_dtype dtype, int n, void *a, void *w, int *info)
{
    query q = {0};
    void *work = dtype == SG_F64 ? (void *)&q.f64 : (void *)&q.f32;
    int n_work = -1;
    SG_ASSERT(syev(dtype, n, a, w, work, n_work) == 0);
    SG_TRY(work_of(job, dtype, &q, &work, &n_work));
    *info = syev(dtype, n, a, w, work, n_work);
    SG_ASSERT(*info >= 0);
    return SG_OK;
}

static int gelqf(sg_dtype dtype, int m, int n, void *a, void *tau, void *work, int n_work)
{
    return dtype == SG_F64 ? LAPACKE_dgelqf_work(COL, m, n, a, m, tau, work, n_work)
                           : LAPACKE_sgelqf_work(COL, m, n, a, m, tau, work, n_work);
}

sg_status sg_lapack_gelqf(sg_linalg_job *job, sg_dtype dtype, int m, int n, void *a, void *tau)
{
    query q = {0};
    void *work = dtype == SG_F64 ? (void *)&q.f64 : (void *)&q.f32;
    int n_work = -1;
    SG_ASSERT(gelqf(dtype, m, n, a, tau, work, n_work) == 0);
    SG_TRY(work_of(job, dtype, &q, &work, &n_work));
    const int info = gelqf(dtype, m, n, a, tau, work, n_work);
    SG_ASSERT(info == 0);
    return SG_OK;
}

static int orglq(sg_dtype dtype, int m, int n, int k, void *a, const void *tau, void *work, int n_work)
{
    return dtype == SG_F64 ? LAPACKE_dorglq_work(COL, m, n, k, a, m, tau, work, n_work)
                           : LAPACKE_sorglq_work(COL, m, n, k, a, m, tau, work, n_work);
}

sg_status sg_lapack_orglq(sg_linalg_job *job, sg_dtype dtype, int m, int n, int k, void *a, const void *tau)
{
    query q = {0};
    void *work = dtype == SG_F64 ? (void *)&q.f64 : (void *)&q.f32;
    int n_work = -1;
    SG_ASSERT(orglq(dtype, m, n, k, a, tau, work, n_work) == 0);
    SG_TRY(work_of(job, dtype, &q, &work, &n_work));
    const int info = orglq(dtype, m, n, k, a, tau, work, n_work);
    SG_ASSERT(info == 0);
    return SG_OK;
}

static int gelsd(sg_dtype dtype, int m, int n, int n_rhs, void *a, void *b, void *s, double rcond, int *rank,
                 void *work, int n_work, int *ints)
{
    const int ldb = SG_MAX(m, n);
    return dtype == SG_F64
               ? LAPACKE_dgelsd_work(COL, m, n, n_rhs, a, m, b, ldb, s, rcond, rank, work, n_work, ints)
               : LAPACKE_sgelsd_work(COL, m, n, n_rhs, a, m, b, ldb, s, (float)rcond, rank, work, n_work, ints);
}

sg_status sg_lapack_gelsd(sg_linalg_job *job, sg_dtype dtype, int m, int n, int n_rhs, void *a, void *b, void *s,
                          double rcond, int *rank, int *info)
{
    query q = {0};
    void *work = dtype == SG_F64 ? (void *)&q.f64 : (void *)&q.f32;
    int *ints, n_work = -1;
    SG_ASSERT(gelsd(dtype, m, n, n_rhs, a, b, s, rcond, rank, work, n_work, &q.n_ints) == 0);
    SG_TRY(work_of(job, dtype, &q, &work, &n_work));
    SG_TRY(ints_of(job, q.n_ints, &ints));
    *info = gelsd(dtype, m, n, n_rhs, a, b, s, rcond, rank, work, n_work, ints);
    SG_ASSERT(*info >= 0);
    return SG_OK;
}

static int gelss(sg_dtype dtype, int m, int n, int n_rhs, void *a, void *b, void *s, double rcond, int *rank,
                 void *work, int n_work)
{
    const int ldb = SG_MAX(m, n);
    return dtype == SG_F64 ? LAPACKE_dgelss_work(COL, m, n, n_rhs, a, m, b, ldb, s, rcond, rank, work, n_work)
                           : LAPACKE_sgelss_work(COL, m, n, n_rhs, a, m, b, ldb, s, (float)rcond, rank, work, n_work);
}

sg_status sg_lapack_gelss(sg_linalg_job *job, sg_dtype dtype, int m, int n, int n_rhs, void *a, void *b, void *s,
                          double rcond, int *rank, int *info)
{
    query q = {0};
    void *work = dtype == SG_F64 ? (void *)&q.f64 : (void *)&q.f32;
    int n_work = -1;
    SG_ASSERT(gelss(dtype, m, n, n_rhs, a, b, s, rcond, rank, work, n_work) == 0);
    SG_TRY(work_of(job, dtype, &q, &work, &n_work));
    *info = gelss(dtype, m, n, n_rhs, a, b, s, rcond, rank, work, n_work);
    SG_ASSERT(*info >= 0);
    return SG_OK;
}

int sg_lapack_potrf(sg_dtype dtype, char triangle, int n, void *a)
{
    const int info =
        dtype == SG_F64 ? LAPACKE_dpotrf_work(COL, triangle, n, a, n) : LAPACKE_spotrf_work(COL, triangle, n, a, n);
    SG_ASSERT(info >= 0);
    return info;
}
