/* Half the squared residual is f(w) = |V'w - x|^2 / 2, with gradient g = V (V'w - x). At the least value a multiplier
 * of each block, lambda, is g_i of every vertex in use, and no other vertex of the block has less. So we keep a set of
 * vertices in use, solve on it with the sums alone as constraints, go there, or as far as no weight becomes negative
 * (whoever reaches 0 leaves the set), and take in the vertex that has the least g_i - lambda. A vertex that is taken in
 * so is never in the span of what is in use: along that span the residual has no slope. That keeps the systems regular
 * however many vertices there are.
 *
 * The gap, the sum over blocks of the largest lambda - g_i, bounds f above its least value, f being convex. */
#include "sightglass/simplex.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "base/base.h"
#include "linalg/linalg_internal.h"

/* ---- projection ---- */

static int descending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static double threshold(double *sorted, sg_dim n, double total)
{
    qsort(sorted, (size_t)n, sizeof *sorted, descending);
    double sum = 0, off = 0;
    for (sg_dim i = 0; i < n; i++) {
        sum += sorted[i];
        const double t = (sum - total) / (double)(i + 1);
        if (!(sorted[i] > t))
            break;
        off = t;
    }
    return off;
}

sg_status sg_simplex_project(const sg_tensor *x, double total, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->dtype != SG_F32 && x->dtype != SG_F64)
        return sg_fail(err, SG_ETYPE, "simplex: x is %s, wanted f32 or f64", sg_dtype_name(x->dtype));
    if (!(total > 0 && isfinite(total)))
        return sg_fail(err, SG_EARG, "simplex: elements are to sum to %g, wanted more than 0", total);
    const sg_dim n = x->n_dims > 0 ? x->dims[x->n_dims - 1] : 0;
    if (n < 1)
        return sg_fail(err, SG_ESHAPE, "simplex: x is %s, wanted rows of elements",
                       sg_shape_text(shape, x->n_dims, x->dims));
    double *sorted = malloc((size_t)n * sizeof *sorted);
    if (!sorted)
        return sg_fail(err, SG_ENOMEM, "simplex: out of memory for rows of %" PRId64, n);
    const sg_dim n_rows = sg_tensor_count(x) / n;
    sg_tensor to = *x;
    for (sg_dim r = 0; r < n_rows; r++) {
        for (sg_dim i = 0; i < n; i++) {
            sorted[i] = sg_tensor_get(x, r * n + i);
            if (!isfinite(sorted[i])) {
                free(sorted);
                return sg_fail(err, SG_ENUMERIC, "simplex: element %" PRId64 " of row %" PRId64 " is not finite", i, r);
            }
        }
        const double off = threshold(sorted, n, total);
        for (sg_dim i = 0; i < n; i++)
            sg_tensor_set(&to, r * n + i, fmax(sg_tensor_get(x, r * n + i) - off, 0));
    }
    free(sorted);
    return SG_OK;
}

/* ---- least squares ---- */

sg_simplex_opts sg_simplex_defaults(void)
{
    return (sg_simplex_opts){.tolerance = 1e-12, .max_steps = 10000};
}

typedef struct solver {
    sg_dim k, d;
    int n_blocks;
    const sg_dim *block;
    const double *v; /* [k,d] */
    int *block_of;   /* [k]; all 0 where nothing sums */
    double longest;  /* of the squared lengths of v */
    sg_simplex_opts opts;
    /* Of a row: */
    double *w, *g; /* [k] */
    bool *used;    /* [k] */
    double *r;     /* [d] V'w - x */
    sg_dim n_used, room;
    sg_dim *set;       /* [room] the vertices in use */
    sg_dim *reference; /* [n_blocks] of the set, the vertex that takes what the others leave; -1: none yet */
    double *u;         /* [room,d] the others less their reference */
    double *gram;      /* [room,room] */
    double *y;         /* [room] their weights */
    double *base;      /* [d] x less the references */
    double *goal;      /* [room] weights of the set where the constraints allow it */
} solver;

static const double *vertex(const solver *s, sg_dim i)
{
    return s->v + i * s->d;
}

/* g and V'w - x for the weights as they are. */
static void look(solver *s, const double *x)
{
    for (sg_dim j = 0; j < s->d; j++)
        s->r[j] = -x[j];
    for (sg_dim p = 0; p < s->n_used; p++)
        cblas_daxpy((int)s->d, s->w[s->set[p]], vertex(s, s->set[p]), 1, s->r, 1);
    cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)s->k, (int)s->d, 1, s->v, (int)s->d, s->r, 1, 0, s->g, 1);
}

/* goal: the least squares over the set with its sums alone. False where rounding leaves no regular system. */
static bool solve(solver *s, const double *x)
{
    const int d = (int)s->d;
    int n = 0;
    memcpy(s->base, x, (size_t)s->d * sizeof *x);
    for (int b = 0; b < s->n_blocks; b++)
        s->reference[b] = -1;
    for (sg_dim p = 0; p < s->n_used; p++) { /* the heaviest of a block, so that it does not vanish */
        sg_dim *ref = s->n_blocks ? &s->reference[s->block_of[s->set[p]]] : NULL;
        if (ref && (*ref < 0 || s->w[s->set[p]] > s->w[*ref]))
            *ref = s->set[p];
    }
    for (int b = 0; b < s->n_blocks; b++)
        cblas_daxpy(d, -1, vertex(s, s->reference[b]), 1, s->base, 1);
    for (sg_dim p = 0; p < s->n_used; p++) {
        const sg_dim i = s->set[p], ref = s->n_blocks ? s->reference[s->block_of[i]] : -1;
        if (i == ref)
            continue;
        memcpy(s->u + n * s->d, vertex(s, i), (size_t)s->d * sizeof *s->u);
        if (ref >= 0)
            cblas_daxpy(d, -1, vertex(s, ref), 1, s->u + n * s->d, 1);
        n++;
    }
    if (n > 0) {
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, n, d, 1, s->u, d, 0, s->gram, n);
        cblas_dgemv(CblasRowMajor, CblasNoTrans, n, d, 1, s->u, d, s->base, 1, 0, s->y, 1);
        for (int i = 0; i < n; i++)
            if (!(s->gram[i * n + i] > 0))
                return false;
        if (sg_lapack_potrf(SG_F64, 'L', n, s->gram) > 0) /* LAPACK's lower triangle is our upper one */
            return false;
        cblas_dtrsv(CblasRowMajor, CblasUpper, CblasTrans, CblasNonUnit, n, s->gram, n, s->y, 1);
        cblas_dtrsv(CblasRowMajor, CblasUpper, CblasNoTrans, CblasNonUnit, n, s->gram, n, s->y, 1);
    }
    for (sg_dim p = 0, at = 0; p < s->n_used; p++) {
        const sg_dim i = s->set[p], ref = s->n_blocks ? s->reference[s->block_of[i]] : -1;
        s->goal[p] = i == ref ? 1 : s->y[at++];
        if (!isfinite(s->goal[p]))
            return false;
    }
    for (sg_dim p = 0; p < s->n_used && s->n_blocks; p++) {
        const sg_dim i = s->set[p], ref = s->reference[s->block_of[i]];
        for (sg_dim q = 0; i != ref && q < s->n_used; q++)
            if (s->set[q] == ref)
                s->goal[q] -= s->goal[p];
    }
    return true;
}

static void leave(solver *s, sg_dim p)
{
    s->w[s->set[p]] = 0;
    s->used[s->set[p]] = false;
    s->set[p] = s->set[--s->n_used];
    s->goal[p] = s->goal[s->n_used];
}

/* To the goal, or as far as the constraints reach; true: all the way. */
static bool go(solver *s)
{
    double part = 1;
    for (sg_dim p = 0; p < s->n_used; p++) {
        const double w = s->w[s->set[p]];
        if (s->goal[p] <= 0 && w > s->goal[p])
            part = fmin(part, w / (w - s->goal[p]));
        else if (s->goal[p] <= 0)
            part = 0;
    }
    for (sg_dim p = 0; p < s->n_used; p++)
        s->w[s->set[p]] = part >= 1 ? s->goal[p] : s->w[s->set[p]] + part * (s->goal[p] - s->w[s->set[p]]);
    bool whole = true;
    for (sg_dim p = s->n_used - 1; p >= 0; p--)
        if (s->goal[p] <= 0 && s->w[s->set[p]] <= 1e-15) {
            leave(s, p);
            whole = false;
        }
    return whole && part >= 1;
}

/* The vertex to take in, or -1, and the gap. Within a block lambda is the mean of g over what is in use, by weight. */
static sg_dim next(const solver *s, double *gap)
{
    sg_dim best = -1, first = 0;
    double worst = 0;
    *gap = 0;
    for (int b = 0; b < SG_MAX(s->n_blocks, 1); b++) {
        const sg_dim n = s->n_blocks ? s->block[b] : s->k;
        double lambda = 0, most = 0;
        for (sg_dim i = first; i < first + n && s->n_blocks; i++)
            lambda += s->w[i] * s->g[i];
        for (sg_dim i = first; i < first + n; i++) {
            const double slope = lambda - s->g[i];
            most = fmax(most, slope);
            if (!s->used[i] && slope > worst) {
                worst = slope;
                best = i;
            }
        }
        *gap += most;
        first += n;
    }
    return best;
}

/* One vertex of each block, the nearest to what is left of x. */
static void begin(solver *s, const double *x)
{
    memset(s->w, 0, (size_t)s->k * sizeof *s->w);
    memset(s->used, 0, (size_t)s->k * sizeof *s->used);
    s->n_used = 0;
    memcpy(s->base, x, (size_t)s->d * sizeof *x);
    for (sg_dim b = 0, first = 0; b < s->n_blocks; b++) {
        sg_dim best = first;
        double least = HUGE_VAL;
        for (sg_dim i = first; i < first + s->block[b]; i++) {
            double sum = 0;
            for (sg_dim j = 0; j < s->d; j++) {
                const double e = vertex(s, i)[j] - s->base[j];
                sum += e * e;
            }
            if (sum < least) {
                least = sum;
                best = i;
            }
        }
        s->w[best] = 1;
        s->used[best] = true;
        s->set[s->n_used++] = best;
        cblas_daxpy((int)s->d, -1, vertex(s, best), 1, s->base, 1);
        first += s->block[b];
    }
}

/* The weights of an earlier fit, made to keep the constraints; false where they are too many to begin with. */
static bool resume(solver *s, const double *start)
{
    s->n_used = 0;
    memset(s->used, 0, (size_t)s->k * sizeof *s->used);
    for (sg_dim b = 0, first = 0; b < SG_MAX(s->n_blocks, 1); b++) {
        const sg_dim n = s->n_blocks ? s->block[b] : s->k;
        double sum = 0;
        for (sg_dim i = first; i < first + n; i++)
            sum += fmax(start[i], 0);
        if (s->n_blocks && !(sum > 0))
            return false;
        for (sg_dim i = first; i < first + n; i++) {
            s->w[i] = start[i] > 0 ? start[i] / (s->n_blocks ? sum : 1) : 0;
            if (s->w[i] > 0) {
                if (s->n_used == s->room)
                    return false;
                s->used[i] = true;
                s->set[s->n_used++] = i;
            }
        }
        first += n;
    }
    return true;
}

static bool settle(solver *s, const double *x)
{
    for (;;) { /* each turn but the last takes a vertex out */
        if (!solve(s, x))
            return false;
        if (go(s))
            return true;
    }
}

/* False: it ended before the gap was small. */
static bool fit_row(solver *s, const double *x, const double *start, double *residual, double *gap)
{
    double size = s->longest;
    size = fmax(size, cblas_ddot((int)s->d, x, 1, x, 1)) / 2;
    if (!start || !resume(s, start) || !settle(s, x)) {
        begin(s, x);
        if (!settle(s, x))
            return false;
    }
    bool fine = false;
    for (int step = 0; step <= s->opts.max_steps; step++) {
        look(s, x);
        const sg_dim i = next(s, gap);
        fine = *gap <= s->opts.tolerance * size;
        if (fine || i < 0 || s->n_used == s->room || step == s->opts.max_steps)
            break;
        s->set[s->n_used++] = i;
        s->used[i] = true;
        if (settle(s, x))
            continue;
        for (sg_dim p = s->n_used - 1; p >= 0; p--) /* by rounding it lies in the span after all: as it was */
            if (s->w[s->set[p]] <= 0)
                leave(s, p);
        look(s, x);
        break;
    }
    *residual = cblas_dnrm2((int)s->d, s->r, 1);
    return fine;
}

/* The struct leads an arena that holds the rest. */
typedef struct owned {
    sg_simplex_fit face;
    sg_arena *arena;
} owned;

static sg_status to_double(double **out, sg_arena *arena, const char *name, const sg_tensor *t, sg_error *err)
{
    const sg_dim n = sg_tensor_count(t);
    *out = sg_arena_array(arena, (size_t)SG_MAX(n, 1), sizeof **out);
    if (!*out)
        return sg_fail(err, SG_ENOMEM, "simplex: out of memory for %" PRId64 " numbers", n);
    if (n > 0)
        sg_convert(*out, SG_F64, t->data, t->dtype, n);
    for (sg_dim i = 0; i < n; i++)
        if (!isfinite((*out)[i]))
            return sg_fail(err, SG_ENUMERIC, "simplex: element %" PRId64 " of %s is not finite", i, name);
    return SG_OK;
}

static sg_status make(solver *s, sg_arena *arena, const sg_tensor *vertices, sg_error *err)
{
    s->room = SG_MIN(s->d + s->n_blocks, s->k) + 1;
    double *v;
    SG_TRY(to_double(&v, arena, "the vertices", vertices, err));
    s->v = v;
    s->block_of = sg_arena_array(arena, (size_t)s->k, sizeof(int));
    s->w = sg_arena_array(arena, (size_t)s->k, sizeof(double));
    s->g = sg_arena_array(arena, (size_t)s->k, sizeof(double));
    s->used = sg_arena_array(arena, (size_t)s->k, sizeof(bool));
    s->r = sg_arena_array(arena, (size_t)s->d, sizeof(double));
    s->base = sg_arena_array(arena, (size_t)s->d, sizeof(double));
    s->set = sg_arena_array(arena, (size_t)s->room, sizeof(sg_dim));
    s->reference = sg_arena_array(arena, (size_t)SG_MAX(s->n_blocks, 1), sizeof(sg_dim));
    s->u = sg_arena_array(arena, (size_t)(s->room * s->d), sizeof(double));
    s->gram = sg_arena_array(arena, (size_t)(s->room * s->room), sizeof(double));
    s->y = sg_arena_array(arena, (size_t)s->room, sizeof(double));
    s->goal = sg_arena_array(arena, (size_t)s->room, sizeof(double));
    if (!s->block_of || !s->w || !s->g || !s->used || !s->r || !s->base || !s->set || !s->reference || !s->u ||
        !s->gram || !s->y || !s->goal)
        return sg_fail(err, SG_ENOMEM, "simplex: out of memory for %" PRId64 " vertices", s->k);
    for (sg_dim b = 0, i = 0; b < s->n_blocks; b++)
        for (sg_dim n = 0; n < s->block[b]; n++)
            s->block_of[i++] = (int)b;
    for (sg_dim i = 0; i < s->k; i++)
        s->longest = fmax(s->longest, cblas_ddot((int)s->d, vertex(s, i), 1, vertex(s, i), 1));
    return SG_OK;
}

static sg_status fill(owned *o, solver *s, const sg_tensor *vertices, const sg_tensor *x, const sg_tensor *start,
                      sg_error *err)
{
    sg_simplex_fit *f = &o->face;
    const sg_dim n = x->dims[0];
    double *xs, *starts = NULL;
    sg_arena *scratch = sg_arena_new();
    if (!scratch)
        return sg_fail(err, SG_ENOMEM, "simplex: out of memory");
    sg_status status = make(s, scratch, vertices, err);
    if (status == SG_OK)
        status = to_double(&xs, scratch, "x", x, err);
    if (status == SG_OK && start)
        status = to_double(&starts, scratch, "the start", start, err);
    double *weights = sg_arena_array(o->arena, (size_t)SG_MAX(n * s->k, 1), sizeof(double));
    double *residual = sg_arena_array(o->arena, (size_t)SG_MAX(n, 1), sizeof(double));
    if (status == SG_OK && (!weights || !residual))
        status = sg_fail(err, SG_ENOMEM, "simplex: out of memory for %" PRId64 " rows", n);
    if (status == SG_OK) {
        const int threads = sg_linalg_enter();
        for (sg_dim i = 0; i < n; i++) {
            double gap = 0;
            f->n_stopped += !fit_row(s, xs + i * s->d, starts ? starts + i * s->k : NULL, &residual[i], &gap);
            memcpy(weights + i * s->k, s->w, (size_t)s->k * sizeof *weights);
            f->gap = fmax(f->gap, gap);
        }
        sg_linalg_leave(threads);
        f->weights = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, s->k}, weights);
        f->residual = sg_tensor_of(SG_F64, 1, &n, residual);
    }
    sg_arena_free(scratch);
    return status;
}

static sg_status check(const sg_tensor *vertices, int n_blocks, const sg_dim *block, const sg_tensor *x,
                       const sg_tensor *start, sg_error *err)
{
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];
    if (vertices->n_dims != 2 || x->n_dims != 2 || vertices->dims[1] != x->dims[1] || vertices->dims[0] < 1 ||
        vertices->dims[1] < 1 || vertices->dims[0] > INT32_MAX || vertices->dims[1] > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "simplex: vertices are %s and x is %s, wanted [K,D] and [N,D]",
                       sg_shape_text(a, vertices->n_dims, vertices->dims), sg_shape_text(b, x->n_dims, x->dims));
    if (!sg_dtype_is_float(vertices->dtype) || !sg_dtype_is_float(x->dtype) || (start && start->dtype != SG_F64))
        return sg_fail(err, SG_ETYPE, "simplex: vertices are %s and x is %s, wanted floats, and a start in f64",
                       sg_dtype_name(vertices->dtype), sg_dtype_name(x->dtype));
    if (start && (start->n_dims != 2 || start->dims[0] != x->dims[0] || start->dims[1] != vertices->dims[0]))
        return sg_fail(err, SG_ESHAPE, "simplex: the start is %s, wanted [%" PRId64 ",%" PRId64 "]",
                       sg_shape_text(a, start->n_dims, start->dims), x->dims[0], vertices->dims[0]);
    sg_dim sum = 0;
    for (int i = 0; i < n_blocks; i++) {
        if (block[i] < 1)
            return sg_fail(err, SG_ESHAPE, "simplex: block %d has %" PRId64 " vertices, wanted at least 1", i,
                           block[i]);
        sum += block[i];
    }
    if (n_blocks < 0 || (n_blocks > 0 && sum != vertices->dims[0]))
        return sg_fail(err, SG_ESHAPE, "simplex: %d blocks have %" PRId64 " vertices of %" PRId64, n_blocks, sum,
                       vertices->dims[0]);
    return SG_OK;
}

sg_status sg_simplex_fit_new(sg_simplex_fit **out, const sg_tensor *vertices, int n_blocks, const sg_dim *block,
                             const sg_tensor *x, const sg_tensor *start, sg_simplex_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(vertices, n_blocks, block, x, start, err));
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    if (!o) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "simplex: out of memory");
    }
    o->arena = arena;
    solver s = {.k = vertices->dims[0], .d = vertices->dims[1], .n_blocks = n_blocks, .block = block, .opts = opts};
    const sg_status status = fill(o, &s, vertices, x, start, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_simplex_fit_free(sg_simplex_fit *fit)
{
    if (fit)
        sg_arena_free(((owned *)fit)->arena);
}
