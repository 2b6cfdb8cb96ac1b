/* Ridge regression (Hoerl and Kennard 1970), by the smaller of the two Gram matrices. With rows as data,
 *
 *     w = (x'x + lambda I)^-1 x'y = x' (xx' + lambda I)^-1 y,
 *
 * so one symmetric system G z = t of size min(N,D) is left: primal with G = x'x, t = x'y and w = z, dual with
 * G = xx', t = y and w = x'z. Numbers are double; x is read in slices of rows, so that the primal costs no copy of it.
 */
#include "linalg/linalg_internal.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <cblas.h>

#define SLICE ((sg_dim)1 << 19) /* doubles of x at a time: 4 MB */

/* From so many lambdas on one syevd costs less than a potrf each: measured as 19 to 28 of them for sizes of 256 to
 * 2048. */
#define MANY 20

typedef struct system {
    const sg_tensor *x, *y;
    sg_dim n, d, c;
    double *mean_x, *mean_y; /* [d], [c]; zeros without intercept */
    double *rows_x, *rows_y; /* a slice of rows less their means, [.,d] and [.,c]; all of them if dual */
    bool dual;
    sg_dim size;                       /* of G */
    double *gram;                      /* [size,size], upper triangle (all of it in eigenvectors' place) */
    double *target;                    /* t [size,c] */
    double *again;                     /* [size,size], a factor or room for syevd */
    double *values, *vectors, *turned; /* [size], [size,size], vectors t [size,c]; vectors NULL until needed */
    double *z, *w;                     /* [size,c], [d,c] */
} system;

/* Rows from `first` on, as doubles less their means. */
static void load(double *to, const sg_tensor *from, sg_dim first, sg_dim n_rows, sg_dim width, const double *mean)
{
    if (n_rows * width == 0)
        return; /* there may be no data at all */
    const char *start = (const char *)from->data + (size_t)(first * width) * sg_dtype_bytes(from->dtype);
    sg_convert(to, SG_F64, start, from->dtype, n_rows * width);
    for (sg_dim i = 0; i < n_rows; i++)
        for (sg_dim j = 0; j < width; j++)
            to[i * width + j] -= mean[j];
}

static void add_rows(double *sum, const double *rows, sg_dim n_rows, sg_dim width)
{
    for (sg_dim i = 0; i < n_rows; i++)
        for (sg_dim j = 0; j < width; j++)
            sum[j] += rows[i * width + j];
}

static void form(system *s, sg_dim slice, bool intercept)
{
    const int d = (int)s->d, c = (int)s->c, size = (int)s->size;
    for (sg_dim i = 0; intercept && i < s->n; i += slice) {
        const sg_dim n_rows = SG_MIN(slice, s->n - i);
        /* Less nothing, for now: what is written are the sums, so the means are zero until the end. */
        double *zeros = s->z;
        load(s->rows_x, s->x, i, n_rows, s->d, zeros);
        load(s->rows_y, s->y, i, n_rows, s->c, zeros);
        add_rows(s->mean_x, s->rows_x, n_rows, s->d);
        add_rows(s->mean_y, s->rows_y, n_rows, s->c);
    }
    for (sg_dim j = 0; j < s->d && s->n > 0; j++)
        s->mean_x[j] /= (double)s->n;
    for (sg_dim j = 0; j < s->c && s->n > 0; j++)
        s->mean_y[j] /= (double)s->n;
    for (sg_dim i = 0; i < s->n; i += slice) {
        const int n_rows = (int)SG_MIN(slice, s->n - i);
        load(s->rows_x, s->x, i, n_rows, s->d, s->mean_x);
        load(s->rows_y, s->y, i, n_rows, s->c, s->mean_y);
        if (s->dual || size == 0)
            continue; /* one slice holds all */
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, d, n_rows, 1.0, s->rows_x, d, 1.0, s->gram, d);
        if (c > 0)
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, d, c, n_rows, 1.0, s->rows_x, d, s->rows_y, c, 1.0,
                        s->target, c);
    }
    if (s->dual && size > 0) {
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, size, d, 1.0, s->rows_x, d, 0.0, s->gram, size);
        memcpy(s->target, s->rows_y, (size_t)(s->n * s->c) * sizeof(double));
    }
}

/* z by Cholesky, where the sum is safely positive definite; false elsewhere. */
static bool solve_directly(system *s, double lambda, double trace)
{
    const int size = (int)s->size, c = (int)s->c;
    if (!(lambda > (double)s->size * DBL_EPSILON * trace))
        return false;
    memcpy(s->again, s->gram, (size_t)(s->size * s->size) * sizeof(double));
    for (sg_dim i = 0; i < s->size; i++)
        s->again[i * s->size + i] += lambda;
    if (sg_lapack_potrf(SG_F64, 'L', size, s->again) > 0) /* LAPACK's lower triangle is our upper one: G = R'R */
        return false;
    memcpy(s->z, s->target, (size_t)(s->size * s->c) * sizeof(double));
    if (c > 0) {
        cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasTrans, CblasNonUnit, size, c, 1.0, s->again, size, s->z,
                    c);
        cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, size, c, 1.0, s->again, size,
                    s->z, c);
    }
    return true;
}

static sg_status decompose(sg_linalg_job *job, system *s)
{
    const int size = (int)s->size, c = (int)s->c;
    s->values = sg_linalg_room(job, s->size, sizeof(double));
    s->vectors = sg_linalg_room(job, s->size * s->size, sizeof(double));
    s->turned = sg_linalg_room(job, s->size * s->c, sizeof(double));
    if (!s->values || !s->vectors || !s->turned)
        return sg_linalg_no_memory(job, s->x);
    memcpy(s->vectors, s->gram, (size_t)(s->size * s->size) * sizeof(double));
    SG_TRY(sg_linalg_eigen(job, SG_F64, s->size, s->vectors, s->again, s->values));
    if (c > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size, c, size, 1.0, s->vectors, size, s->target, c, 0.0,
                    s->turned, c);
    return SG_OK;
}

/* z = V' (e + lambda)^-1 V t. Where e + lambda is rounding beside the largest e, what t holds there is rounding too. */
static void solve_turned(system *s, double lambda)
{
    const int size = (int)s->size, c = (int)s->c;
    const double cut = (double)s->size * DBL_EPSILON * s->values[s->size - 1];
    double *scaled = s->again;
    for (sg_dim i = 0; i < s->size; i++) {
        const double sum = fmax(s->values[i], 0) + lambda;
        const double by = sum > cut ? 1 / sum : 0;
        for (sg_dim j = 0; j < s->size; j++)
            scaled[i * s->size + j] = by * s->vectors[i * s->size + j];
    }
    if (c > 0)
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, size, c, size, 1.0, scaled, size, s->turned, c, 0.0, s->z,
                    c);
}

static sg_status solve(sg_linalg_job *job, system *s, const double *lambdas, sg_dim n_lambdas)
{
    sg_ridge *ridge = job->face;
    const int d = (int)s->d, c = (int)s->c, size = (int)s->size;
    double trace = 0;
    for (sg_dim i = 0; i < s->size; i++)
        trace += s->gram[i * s->size + i];
    for (sg_dim i = 0; i < s->size * s->c; i++)
        trace += 0 * s->target[i]; /* NaN if that is not finite */
    if (!isfinite(trace))
        return sg_fail(job->err, SG_ENUMERIC, "%s: products of x and y come out as %g: beyond the range of f64",
                       job->who, trace);
    for (sg_dim l = 0; l < n_lambdas && s->d > 0; l++) {
        if (size > 0 && (n_lambdas >= MANY || !solve_directly(s, lambdas[l], trace))) {
            if (!s->vectors)
                SG_TRY(decompose(job, s));
            solve_turned(s, lambdas[l]);
        }
        double *w = s->dual ? s->w : s->z;
        if (s->dual && c > 0 && size > 0)
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, d, c, size, 1.0, s->rows_x, d, s->z, c, 0.0, w, c);
        for (sg_dim i = 0; i < s->d * s->c; i++)
            sg_linalg_set(ridge->weights.data, ridge->weights.dtype, l * s->d * s->c + i, w[i]);
        for (sg_dim j = 0; j < s->c; j++) {
            double drop = 0;
            for (sg_dim i = 0; i < s->d; i++)
                drop += s->mean_x[i] * w[i * s->c + j];
            sg_linalg_set(ridge->bias.data, ridge->bias.dtype, l * s->c + j, s->mean_y[j] - drop);
        }
    }
    for (sg_dim l = 0; l < n_lambdas && s->d == 0; l++)
        for (sg_dim j = 0; j < s->c; j++)
            sg_linalg_set(ridge->bias.data, ridge->bias.dtype, l * s->c + j, s->mean_y[j]);
    SG_TRY(sg_linalg_finite(job, "weights", &ridge->weights));
    return sg_linalg_finite(job, "bias", &ridge->bias);
}

static sg_status ridge_fill(sg_linalg_job *job, const sg_tensor *x, const sg_tensor *y, const double *lambdas,
                            sg_dim n_lambdas, sg_ridge_opts opts)
{
    sg_ridge *ridge = job->face;
    const bool columns = y->n_dims == 2;
    system s = {.x = x, .y = y, .n = x->dims[0], .d = x->dims[1], .c = columns ? y->dims[1] : 1};
    s.dual = ridge->dual = s.n < s.d;
    s.size = SG_MIN(s.n, s.d);
    SG_TRY(sg_linalg_tensor(job, &ridge->weights, x->dtype, columns ? 3 : 2, (sg_dim[]){n_lambdas, s.d, s.c}));
    SG_TRY(sg_linalg_tensor(job, &ridge->bias, x->dtype, columns ? 2 : 1, (sg_dim[]){n_lambdas, s.c}));
    const sg_dim slice = s.dual ? SG_MAX(s.n, 1) : SG_MIN(SG_MAX(s.n, 1), SG_MAX(SLICE / SG_MAX(s.d + s.c, 1), 16));
    s.mean_x = sg_linalg_room(job, s.d, sizeof(double));
    s.mean_y = sg_linalg_room(job, s.c, sizeof(double));
    s.rows_x = sg_linalg_room(job, slice * s.d, sizeof(double));
    s.rows_y = sg_linalg_room(job, slice * s.c, sizeof(double));
    s.gram = sg_linalg_room(job, s.size * s.size, sizeof(double));
    s.again = sg_linalg_room(job, s.size * s.size, sizeof(double));
    s.target = sg_linalg_room(job, s.size * s.c, sizeof(double));
    s.z = sg_linalg_room(job, SG_MAX(s.size * s.c, SG_MAX(s.d, s.c)), sizeof(double));
    s.w = sg_linalg_room(job, s.dual ? s.d * s.c : 0, sizeof(double));
    if (!s.mean_x || !s.mean_y || !s.rows_x || !s.rows_y || !s.gram || !s.again || !s.target || !s.z || !s.w)
        return sg_linalg_no_memory(job, x);
    form(&s, slice, opts.intercept);
    return solve(job, &s, lambdas, n_lambdas);
}

sg_ridge_opts sg_ridge_defaults(void)
{
    return (sg_ridge_opts){.intercept = true};
}

sg_status sg_ridge_new(sg_ridge **out, const sg_tensor *x, const sg_tensor *y, const double *lambdas, sg_dim n_lambdas,
                       sg_ridge_opts opts, sg_error *err)
{
    *out = NULL;
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    if (n_lambdas < 1)
        return sg_fail(err, SG_EARG, "ridge: %" PRId64 " lambdas, wanted at least 1", n_lambdas);
    for (sg_dim l = 0; l < n_lambdas; l++)
        if (!isfinite(lambdas[l]) || lambdas[l] < 0)
            return sg_fail(err, SG_EARG, "ridge: lambda[%" PRId64 "] is %g, wanted finite and at least 0", l,
                           lambdas[l]);
    SG_TRY(sg_linalg_check("ridge", "x", x, false, err));
    SG_TRY(sg_linalg_check("ridge", "y", y, true, err));
    if (x->dims[0] != y->dims[0])
        return sg_fail(err, SG_ESHAPE, "ridge: x is %s and y is %s; their rows differ", sg_shape_text(one, 2, x->dims),
                       sg_shape_text(other, y->n_dims, y->dims));
    sg_linalg_job job;
    SG_TRY(sg_linalg_begin(&job, "ridge", sizeof **out, err));
    const sg_status status = ridge_fill(&job, x, y, lambdas, n_lambdas, opts);
    *out = sg_linalg_end(&job, status);
    return status;
}

void sg_ridge_free(sg_ridge *ridge)
{
    sg_linalg_free(ridge);
}
