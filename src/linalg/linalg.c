/* What surrounds a call of LAPACK: its thread, its memory, and looking at numbers before it and after it. */
#include "linalg/linalg_internal.h"

#include <float.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>

#include <cblas.h>
#ifdef _OPENMP
#include <omp.h>
#endif

/* ---- threads ---- */

/* OpenBLAS's number of threads is a global of the process, so what guards it is one too: the first call to enter
 * remembers it, the last to leave puts it back. OpenBLAS over OpenMP asks the calling thread's setting instead. */
static struct {
    pthread_mutex_t lock;
    int n_inside, before;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

int sg_linalg_enter(void)
{
#ifdef _OPENMP
    if (openblas_get_parallel() == OPENBLAS_OPENMP) {
        const int before = omp_get_max_threads();
        omp_set_num_threads(1);
        return before;
    }
#endif
    pthread_mutex_lock(&pool.lock);
    if (pool.n_inside++ == 0) {
        pool.before = openblas_get_num_threads();
        openblas_set_num_threads(1);
    }
    pthread_mutex_unlock(&pool.lock);
    return 0;
}

void sg_linalg_leave(int n_threads)
{
#ifdef _OPENMP
    if (n_threads > 0) {
        omp_set_num_threads(n_threads);
        return;
    }
#endif
    (void)n_threads;
    pthread_mutex_lock(&pool.lock);
    if (--pool.n_inside == 0)
        openblas_set_num_threads(pool.before);
    pthread_mutex_unlock(&pool.lock);
}

/* ---- memory ---- */

/* A result lies in the arena that it owns, behind that arena's address. */
typedef struct owned {
    sg_arena *arena;
    max_align_t face[];
} owned;

sg_status sg_linalg_begin(sg_linalg_job *job, const char *who, size_t face_bytes, sg_error *err)
{
    *job = (sg_linalg_job){.who = who, .err = err, .own = sg_arena_new(), .scratch = sg_arena_new()};
    owned *o = job->own && job->scratch ? sg_arena_alloc(job->own, sizeof *o + face_bytes) : NULL;
    if (!o) {
        sg_arena_free(job->own);
        sg_arena_free(job->scratch);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", who);
    }
    o->arena = job->own;
    job->face = o->face;
    job->n_threads = sg_linalg_enter();
    return SG_OK;
}

void *sg_linalg_end(sg_linalg_job *job, sg_status status)
{
    sg_linalg_leave(job->n_threads);
    sg_arena_free(job->scratch);
    if (status == SG_OK)
        return job->face;
    sg_arena_free(job->own);
    return NULL;
}

void sg_linalg_free(void *face)
{
    if (face)
        sg_arena_free(((owned *)(void *)((char *)face - offsetof(owned, face)))->arena);
}

sg_status sg_linalg_tensor(sg_linalg_job *job, sg_tensor *out, sg_dtype dtype, int n_dims, const sg_dim *dims)
{
    sg_dim count = 1; /* two extents of an int each and one of a few lambdas, so looked at again */
    for (int d = 0; d < n_dims; d++)
        if (__builtin_mul_overflow(count, dims[d], &count))
            count = INT64_MAX;
    void *data = sg_arena_array(job->own, (size_t)count, sg_dtype_bytes(dtype));
    *out = sg_tensor_of(dtype, n_dims, dims, data);
    return data ? SG_OK : sg_linalg_no_memory(job, out);
}

void *sg_linalg_room(sg_linalg_job *job, sg_dim count, size_t size)
{
    return sg_arena_array(job->scratch, (size_t)count, size);
}

sg_status sg_linalg_no_memory(const sg_linalg_job *job, const sg_tensor *a)
{
    char shape[SG_SHAPE_TEXT];
    return sg_fail(job->err, SG_ENOMEM, "%s: out of memory for %s %s", job->who, sg_dtype_name(a->dtype),
                   sg_shape_text(shape, a->n_dims, a->dims));
}

/* ---- checks ---- */

/* The first element that is not finite, or -1.  Whole blocks are asked first, without a branch for each element. */
static sg_dim first_not_finite(const sg_tensor *a)
{
    const sg_dim count = sg_tensor_count(a);
    for (sg_dim i = 0; i < count;) {
        const sg_dim end = SG_MIN(count, i + 4096);
        bool bad = false;
        if (a->dtype == SG_F64)
            for (sg_dim j = i; j < end; j++)
                bad |= !isfinite(((const double *)a->data)[j]);
        else
            for (sg_dim j = i; j < end; j++)
                bad |= !isfinite(((const float *)a->data)[j]);
        for (; bad && i < end; i++)
            if (!isfinite(sg_linalg_get(a->data, a->dtype, i)))
                return i;
        i = end;
    }
    return -1;
}

/* "a[3,7]" for element i. */
static const char *element_text(char buf[SG_SHAPE_TEXT], const sg_tensor *a, sg_dim i)
{
    sg_dim at[SG_MAX_DIMS];
    for (int d = a->n_dims - 1; d >= 0; d--) {
        at[d] = i % a->dims[d];
        i /= a->dims[d];
    }
    return sg_shape_text(buf, a->n_dims, at);
}

sg_status sg_linalg_check(const char *who, const char *name, const sg_tensor *a, bool vector_too, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (a->dtype != SG_F32 && a->dtype != SG_F64)
        return sg_fail(err, SG_ETYPE, "%s: %s is %s, wanted f32 or f64", who, name, sg_dtype_name(a->dtype));
    if (a->n_dims != 2 && !(vector_too && a->n_dims == 1))
        return sg_fail(err, SG_ESHAPE, "%s: %s is %s, wanted %s", who, name, sg_shape_text(shape, a->n_dims, a->dims),
                       vector_too ? "[rows] or [rows,columns]" : "[rows,columns]");
    for (int d = 0; d < a->n_dims; d++)
        if (a->dims[d] > INT_MAX)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: %s is %s, and LAPACK counts to %d", who, name,
                           sg_shape_text(shape, a->n_dims, a->dims), INT_MAX);
    const sg_dim bad = first_not_finite(a);
    if (bad >= 0)
        return sg_fail(err, SG_ENUMERIC, "%s: %s%s is %g", who, name, element_text(shape, a, bad),
                       sg_linalg_get(a->data, a->dtype, bad));
    return SG_OK;
}

sg_status sg_linalg_same_type(const char *who, const char *a_name, const sg_tensor *a, const char *b_name,
                              const sg_tensor *b, sg_error *err)
{
    if (a->dtype != b->dtype)
        return sg_fail(err, SG_ETYPE, "%s: %s is %s and %s is %s, wanted one type", who, a_name,
                       sg_dtype_name(a->dtype), b_name, sg_dtype_name(b->dtype));
    return SG_OK;
}

sg_status sg_linalg_fits(const sg_linalg_job *job, const sg_tensor *a, double n_elements)
{
    char shape[SG_SHAPE_TEXT];
    if (n_elements > INT_MAX)
        return sg_fail(job->err, SG_EUNSUPPORTED, "%s: a workspace for %s takes %.3g elements, and LAPACK counts to %d",
                       job->who, sg_shape_text(shape, a->n_dims, a->dims), n_elements, INT_MAX);
    return SG_OK;
}

sg_status sg_linalg_finite(const sg_linalg_job *job, const char *name, const sg_tensor *result)
{
    char at[SG_SHAPE_TEXT];
    const sg_dim bad = first_not_finite(result);
    if (bad >= 0)
        return sg_fail(job->err, SG_ENUMERIC, "%s: %s%s comes out as %g: beyond the range of %s", job->who, name,
                       element_text(at, result, bad), sg_linalg_get(result->data, result->dtype, bad),
                       sg_dtype_name(result->dtype));
    return SG_OK;
}

sg_status sg_linalg_rcond(const char *who, double rcond, sg_error *err)
{
    const bool good = rcond == SG_RCOND_DEFAULT || (rcond >= 0 && rcond < 1); /* NaN is neither */
    if (!good)
        return sg_fail(err, SG_EARG, "%s: rcond is %g, wanted at least 0 and less than 1, or SG_RCOND_DEFAULT", who,
                       rcond);
    return SG_OK;
}

/* ---- numbers of either type ---- */

double sg_linalg_epsilon(sg_dtype dtype)
{
    return dtype == SG_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
}

sg_dim sg_linalg_rank(const void *s, sg_dtype dtype, sg_dim k, double rcond, sg_dim m, sg_dim n)
{
    if (rcond == SG_RCOND_DEFAULT)
        rcond = (double)SG_MAX(m, n) * sg_linalg_epsilon(dtype);
    sg_dim rank = 0;
    while (rank < k && sg_linalg_get(s, dtype, rank) > rcond * sg_linalg_get(s, dtype, 0))
        rank++;
    return rank;
}

double sg_linalg_sign(const void *x, sg_dtype dtype, sg_dim count, sg_dim step)
{
    double largest = 0;
    for (sg_dim i = 0; i < count; i++)
        largest = fmax(largest, fabs(sg_linalg_get(x, dtype, i * step)));
    for (sg_dim i = 0; i < count; i++) {
        const double value = sg_linalg_get(x, dtype, i * step);
        /* Equal magnitudes, as in (1,-1)/sqrt(2), differ by rounding: the slack keeps that from choosing. */
        if (fabs(value) >= 0.999 * largest)
            return value < 0 ? -1 : 1;
    }
    return 1;
}

void sg_linalg_scale(void *x, sg_dtype dtype, sg_dim count, sg_dim step, double by)
{
    for (sg_dim i = 0; i < count; i++)
        sg_linalg_set(x, dtype, i * step, by * sg_linalg_get(x, dtype, i * step));
}

#define TILE 32 /* rows and columns that stay in the cache together */

void sg_linalg_transpose(void *to, sg_dim to_stride, const void *from, sg_dim from_stride, sg_dim m, sg_dim n,
                         sg_dtype dtype)
{
    for (sg_dim i0 = 0; i0 < m; i0 += TILE)
        for (sg_dim j0 = 0; j0 < n; j0 += TILE)
            for (sg_dim i = i0; i < SG_MIN(m, i0 + TILE); i++)
                for (sg_dim j = j0; j < SG_MIN(n, j0 + TILE); j++)
                    sg_linalg_set(to, dtype, j * to_stride + i, sg_linalg_get(from, dtype, i * from_stride + j));
}
