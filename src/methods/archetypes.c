/* Given A, the rows of Z are least squares over simplexes. Given Z and all archetypes but a_j the objective is, up to a
 * constant, |z_j|^2 |a_j - t_j|^2 with t_j = a_j + (Z'X - Z'Z A)_j / |z_j|^2, so the best a_j in the hull of the rows
 * is the point of the hull nearest to t_j: least squares over a simplex whose vertices are all rows. Both are warm:
 * they begin where the last round ended. */
#include "sightglass/archetypes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/simplex.h"

enum { STREAM_OF_ROWS = 1, STREAM_OF_SCOUTS, STREAM_OF_FIRST, SWEEPS = 2 };

sg_archetypes_opts sg_archetypes_defaults(void)
{
    return (sg_archetypes_opts){.n_restarts = 10, .max_rounds = 200, .tolerance = 1e-6, .scout = 1000, .trim = 0};
}

/* ---- furthest sum ---- */

static double distance(const double *x, sg_dim d, sg_dim a, sg_dim b)
{
    double sum = 0;
    for (sg_dim j = 0; j < d; j++) {
        const double e = x[a * d + j] - x[b * d + j];
        sum += e * e;
    }
    return sqrt(sum);
}

static sg_dim furthest(const double *sum, const bool *taken, sg_dim n)
{
    sg_dim best = -1;
    for (sg_dim i = 0; i < n; i++)
        if (!taken[i] && (best < 0 || sum[i] > sum[best]))
            best = i;
    return best;
}

static void furthest_sum(sg_dim *out, sg_dim k, const double *x, sg_dim n, sg_dim d, double *sum, bool *taken,
                         sg_rng *r)
{
    memset(sum, 0, (size_t)n * sizeof *sum);
    memset(taken, 0, (size_t)n * sizeof *taken);
    out[0] = (sg_dim)sg_rng_below(r, (uint32_t)n);
    taken[out[0]] = true;
    for (sg_dim c = 1; c <= k; c++) {
        for (sg_dim i = 0; i < n; i++)
            sum[i] += distance(x, d, i, out[c - 1]);
        if (c < k) {
            out[c] = furthest(sum, taken, n);
            taken[out[c]] = true;
        }
    }
    for (sg_dim i = 0; i < n; i++) /* the first was anywhere */
        sum[i] -= distance(x, d, i, out[0]);
    taken[out[0]] = false;
    out[0] = furthest(sum, taken, n);
}

/* ---- one fit ---- */

typedef struct fit {
    sg_dim n, d, k;
    int n_blocks;
    const sg_dim *block;
    const double *x;        /* [n,d] less the mean */
    double *a, *z, *b;      /* [k,d], [n,k], [k,n] */
    double *zz, *zx, *goal; /* [k,k], [k,d], [d] */
    double *rest;           /* [n,d] */
    double total;           /* |x|^2 */
    double objective;
    const sg_archetypes_opts *opts;
    sg_error *err;
} fit;

static sg_tensor matrix(sg_dim m, sg_dim n, const double *x)
{
    return sg_tensor_of(SG_F64, 2, (sg_dim[]){m, n}, (void *)(uintptr_t)x);
}

static sg_status make_fit(fit *f, sg_arena *arena)
{
    const size_t n = (size_t)f->n, d = (size_t)f->d, k = (size_t)f->k;
    f->a = sg_arena_array(arena, k * d, sizeof(double));
    f->z = sg_arena_array(arena, n * k, sizeof(double));
    f->b = sg_arena_array(arena, k * n, sizeof(double));
    f->zz = sg_arena_array(arena, k * k, sizeof(double));
    f->zx = sg_arena_array(arena, k * d, sizeof(double));
    f->goal = sg_arena_array(arena, d, sizeof(double));
    f->rest = sg_arena_array(arena, n * d, sizeof(double));
    if (!f->a || !f->z || !f->b || !f->zz || !f->zx || !f->goal || !f->rest)
        return sg_fail(f->err, SG_ENOMEM, "archetypes: out of memory for %" PRId64 " rows of %" PRId64, f->n, f->d);
    return SG_OK;
}

static sg_status find_z(fit *f, bool warm)
{
    const sg_tensor a = matrix(f->k, f->d, f->a), x = matrix(f->n, f->d, f->x), z = matrix(f->n, f->k, f->z);
    sg_simplex_fit *s;
    SG_TRY(sg_simplex_fit_new(&s, &a, f->n_blocks, f->block, &x, warm ? &z : NULL, sg_simplex_defaults(), f->err));
    memcpy(f->z, s->weights.data, (size_t)(f->n * f->k) * sizeof(double));
    f->objective = 0;
    for (sg_dim i = 0; i < f->n; i++)
        f->objective += sg_tensor_get(&s->residual, i) * sg_tensor_get(&s->residual, i);
    sg_simplex_fit_free(s);
    return SG_OK;
}

static sg_status find_archetype(fit *f, sg_dim j)
{
    const double own = f->zz[j * f->k + j];
    if (!(own > 1e-12 * (double)f->n))
        return SG_OK; /* nobody uses it: anywhere is as good */
    for (sg_dim c = 0; c < f->d; c++) {
        double sum = f->zx[j * f->d + c];
        for (sg_dim l = 0; l < f->k; l++)
            sum -= f->zz[j * f->k + l] * f->a[l * f->d + c];
        f->goal[c] = f->a[j * f->d + c] + sum / own;
    }
    const sg_tensor x = matrix(f->n, f->d, f->x), goal = matrix(1, f->d, f->goal), b = matrix(1, f->n, f->b + j * f->n),
                    a = matrix(1, f->d, f->a + j * f->d);
    sg_simplex_opts opts = sg_simplex_defaults();
    opts.tolerance = 1e-8; /* another step here costs a pass over all rows, and the next round takes it anyhow */
    sg_simplex_fit *s;
    SG_TRY(sg_simplex_fit_new(&s, &x, 1, &f->n, &goal, &b, opts, f->err));
    double before = 0;
    for (sg_dim c = 0; c < f->d; c++)
        before += (f->a[j * f->d + c] - f->goal[c]) * (f->a[j * f->d + c] - f->goal[c]);
    sg_status status = SG_OK;
    if (sg_tensor_get(&s->residual, 0) < sqrt(before)) {
        memcpy(f->b + j * f->n, s->weights.data, (size_t)f->n * sizeof(double));
        status = sg_product(&a, &b, false, &x, false, 1, 0, f->err);
    }
    sg_simplex_fit_free(s);
    return status;
}

static sg_status find_a(fit *f)
{
    const sg_tensor z = matrix(f->n, f->k, f->z), x = matrix(f->n, f->d, f->x), zz = matrix(f->k, f->k, f->zz),
                    zx = matrix(f->k, f->d, f->zx);
    SG_TRY(sg_product(&zz, &z, true, &z, false, 1, 0, f->err));
    SG_TRY(sg_product(&zx, &z, true, &x, false, 1, 0, f->err));
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (sg_dim j = 0; j < f->k; j++)
            SG_TRY(find_archetype(f, j));
    return SG_OK;
}

/* Archetypes at rows: those that lie far apart, or, for blocks and for restarts, any. */
static sg_status begin(fit *f, bool apart, uint64_t restart)
{
    sg_rng r = sg_rng_new(f->opts->seed, STREAM_OF_ROWS);
    r.step = restart;
    sg_dim *row = malloc((size_t)f->k * sizeof *row);
    double *sum = malloc((size_t)f->n * sizeof *sum);
    bool *taken = malloc((size_t)f->n * sizeof *taken);
    const bool fine = row && sum && taken;
    if (fine && apart)
        furthest_sum(row, f->k, f->x, f->n, f->d, sum, taken, &r);
    for (sg_dim j = 0; fine && !apart && j < f->k; j++)
        row[j] = (sg_dim)sg_rng_below(&r, (uint32_t)f->n);
    memset(f->b, 0, (size_t)(f->k * f->n) * sizeof *f->b);
    for (sg_dim j = 0; fine && j < f->k; j++) {
        f->b[j * f->n + row[j]] = 1;
        memcpy(f->a + j * f->d, f->x + row[j] * f->d, (size_t)f->d * sizeof *f->a);
    }
    free(row);
    free(sum);
    free(taken);
    return fine ? SG_OK : sg_fail(f->err, SG_ENOMEM, "archetypes: out of memory");
}

/* Rounds from A as it is. history [max_rounds + 1] may be NULL; done is told from `from` to `to`. */
static sg_status go(fit *f, double *history, int *n_rounds, double from, double to)
{
    SG_TRY(find_z(f, false));
    *n_rounds = 0;
    for (;;) {
        if (history)
            history[*n_rounds] = f->objective;
        if (f->opts->cancel && *f->opts->cancel)
            return sg_fail(f->err, SG_ECANCELLED, "archetypes: stopped after %d rounds", *n_rounds);
        if (f->opts->progress)
            f->opts->progress(f->opts->context, from + (to - from) * *n_rounds / SG_MAX(f->opts->max_rounds, 1));
        if (*n_rounds == f->opts->max_rounds)
            return SG_OK;
        const double before = f->objective;
        SG_TRY(find_a(f));
        SG_TRY(find_z(f, true));
        ++*n_rounds;
        if (before - f->objective <= f->opts->tolerance * before + 1e-14 * f->total) {
            if (history)
                history[*n_rounds] = f->objective;
            return SG_OK;
        }
    }
}

/* ---- restarts, and the whole ---- */

typedef struct owned {
    sg_archetypes face;
    sg_arena *arena;
} owned;

/* n of m rows, in random order, the same for every restart. */
static void choose(sg_dim *out, sg_dim n, sg_dim m, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, STREAM_OF_SCOUTS);
    for (sg_dim i = 0; i < m; i++)
        out[i] = i;
    for (sg_dim i = 0; i < n; i++) {
        const sg_dim at = i + (sg_dim)sg_rng_below(&r, (uint32_t)(m - i)), other = out[at];
        out[at] = out[i];
        out[i] = other;
    }
}

/* The best start: archetypes that were found on few rows, as mixtures of those, into f. */
static sg_status scout(owned *o, fit *f, sg_arena *scratch)
{
    fit few = *f;
    few.n = SG_MIN(f->n, f->opts->scout);
    sg_dim *rows = sg_arena_array(scratch, (size_t)f->n, sizeof(sg_dim));
    double *x = sg_arena_array(scratch, (size_t)(few.n * f->d), sizeof(double)), best = HUGE_VAL;
    if (!rows || !x)
        return sg_fail(f->err, SG_ENOMEM, "archetypes: out of memory for %" PRId64 " rows", few.n);
    choose(rows, few.n, f->n, f->opts->seed);
    few.total = 0;
    for (sg_dim i = 0; i < few.n; i++)
        for (sg_dim c = 0; c < f->d; c++) {
            x[i * f->d + c] = f->x[rows[i] * f->d + c];
            few.total += x[i * f->d + c] * x[i * f->d + c];
        }
    few.x = x;
    SG_TRY(make_fit(&few, scratch));
    for (int i = 0; i < f->opts->n_restarts; i++) {
        const double from = .7 * i / f->opts->n_restarts, to = .7 * (i + 1) / f->opts->n_restarts;
        int n_rounds;
        SG_TRY(begin(&few, i == 0 && f->n_blocks == 1, (uint64_t)i));
        SG_TRY(go(&few, NULL, &n_rounds, from, to));
        o->face.restart_r2[i] = few.total > 0 ? 1 - few.objective / few.total : 0;
        if (few.objective >= best)
            continue;
        best = few.objective;
        memset(f->b, 0, (size_t)(f->k * f->n) * sizeof *f->b);
        for (sg_dim j = 0; j < f->k; j++)
            for (sg_dim l = 0; l < few.n; l++)
                f->b[j * f->n + rows[l]] = few.b[j * few.n + l];
        memcpy(f->a, few.a, (size_t)(f->k * f->d) * sizeof *f->a);
    }
    return SG_OK;
}

typedef struct by_length {
    double squared;
    sg_dim row;
} by_length;

static int longer_first(const void *a, const void *b)
{
    const by_length *x = a, *y = b;
    return x->squared != y->squared ? (x->squared < y->squared) - (x->squared > y->squared)
                                    : (x->row > y->row) - (x->row < y->row);
}

/* Rows as doubles less their mean, and which of them are fitted: kept [n], in order. */
static sg_status load(owned *o, fit *f, double *all, sg_dim *kept, const sg_tensor *x, sg_arena *scratch)
{
    const sg_dim n = x->dims[0], d = f->d;
    double *mean = o->face.mean.data;
    sg_convert(all, SG_F64, x->data, x->dtype, n * d);
    for (sg_dim i = 0; i < n * d; i++) {
        if (!isfinite(all[i]))
            return sg_fail(f->err, SG_ENUMERIC, "archetypes: element %" PRId64 " of row %" PRId64 " is not finite",
                           i % d, i / d);
        mean[i % d] += all[i] / (double)n;
    }
    by_length *order = sg_arena_array(scratch, (size_t)n, sizeof *order);
    if (!order)
        return sg_fail(f->err, SG_ENOMEM, "archetypes: out of memory for %" PRId64 " rows", n);
    for (sg_dim i = 0; i < n; i++) {
        order[i].row = i;
        for (sg_dim c = 0; c < d; c++) {
            all[i * d + c] -= mean[c];
            order[i].squared += all[i * d + c] * all[i * d + c];
        }
    }
    o->face.n_trimmed = (sg_dim)(f->opts->trim * (double)n);
    qsort(order, (size_t)n, sizeof *order, longer_first);
    f->n = n - o->face.n_trimmed;
    for (sg_dim i = 0; i < n; i++)
        kept[i] = 1;
    for (sg_dim i = 0; i < o->face.n_trimmed; i++)
        kept[order[i].row] = 0;
    for (sg_dim i = 0, at = 0; i < n; i++)
        if (kept[i])
            kept[at++] = i;
    return SG_OK;
}

static sg_status fill(owned *o, fit *f, const sg_tensor *x, sg_arena *scratch)
{
    sg_archetypes *a = &o->face;
    const sg_dim n = x->dims[0], d = f->d, k = f->k;
    double *all = sg_arena_array(scratch, (size_t)(n * d), sizeof(double)),
           *few = sg_arena_array(scratch, (size_t)(n * d), sizeof(double)),
           *spread = sg_arena_array(scratch, (size_t)d, sizeof(double));
    sg_dim *kept = sg_arena_array(scratch, (size_t)n, sizeof(sg_dim));
    double *mean = sg_arena_array(o->arena, (size_t)d, sizeof(double));
    a->objective = sg_arena_array(o->arena, (size_t)f->opts->max_rounds + 1, sizeof(double));
    a->restart_r2 = sg_arena_array(o->arena, (size_t)f->opts->n_restarts, sizeof(double));
    void *archetypes = sg_arena_array(o->arena, (size_t)(k * d), sizeof(double)),
         *weights = sg_arena_array(o->arena, (size_t)(n * k), sizeof(double)),
         *mixtures = sg_arena_array(o->arena, (size_t)(k * n), sizeof(float));
    if (!all || !few || !spread || !kept || !mean || !a->objective || !a->restart_r2 || !archetypes || !weights ||
        !mixtures)
        return sg_fail(f->err, SG_ENOMEM, "archetypes: out of memory for %" PRId64 " rows of %" PRId64, n, d);
    a->mean = sg_tensor_of(SG_F64, 1, &d, mean);
    a->archetypes = matrix(k, d, archetypes);
    a->weights = matrix(n, k, weights);
    a->mixtures = sg_tensor_of(SG_F32, 2, (sg_dim[]){k, n}, mixtures);
    a->n_restarts = f->opts->n_restarts;
    SG_TRY(load(o, f, all, kept, x, scratch));
    for (sg_dim i = 0; i < f->n; i++)
        for (sg_dim c = 0; c < d; c++) {
            few[i * d + c] = all[kept[i] * d + c];
            spread[c] += few[i * d + c] / (double)f->n;
        }
    for (sg_dim i = 0; i < f->n * d; i++) {
        const double e = few[i] - spread[i % d];
        f->total += e * e;
    }
    if (!(f->total > 0))
        return sg_fail(f->err, SG_ENUMERIC, "archetypes: all %" PRId64 " rows are one", f->n);
    f->x = few;
    SG_TRY(make_fit(f, scratch));
    SG_TRY(scout(o, f, scratch));
    SG_TRY(go(f, a->objective, &a->n_rounds, .7, 1));
    a->r2 = 1 - f->objective / f->total;
    for (sg_dim j = 0; j < k; j++)
        for (sg_dim i = 0; i < f->n; i++)
            ((float *)mixtures)[j * n + kept[i]] = (float)f->b[j * f->n + i];
    const sg_tensor rows = matrix(n, d, all), corners = matrix(k, d, f->a);
    sg_simplex_fit *s;
    SG_TRY(sg_simplex_fit_new(&s, &corners, f->n_blocks, f->block, &rows, NULL, sg_simplex_defaults(), f->err));
    memcpy(weights, s->weights.data, (size_t)(n * k) * sizeof(double));
    sg_simplex_fit_free(s);
    for (sg_dim i = 0; i < k * d; i++) /* one block has its archetypes where the rows are */
        ((double *)archetypes)[i] = f->a[i] + (f->n_blocks == 1 ? mean[i % d] : 0);
    if (f->n_blocks == 1)
        memset(mean, 0, (size_t)d * sizeof *mean);
    return SG_OK;
}

static sg_status check(const sg_tensor *x, int n_blocks, const sg_dim *block, const sg_archetypes_opts *opts, sg_dim *k,
                       sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->dtype != SG_F32 && x->dtype != SG_F64)
        return sg_fail(err, SG_ETYPE, "archetypes: x is %s, wanted f32 or f64", sg_dtype_name(x->dtype));
    if (x->n_dims != 2 || x->dims[0] < 2 || x->dims[1] < 1 || x->dims[0] > INT32_MAX || x->dims[1] > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "archetypes: x is %s, wanted [N,D] with at least two rows",
                       sg_shape_text(shape, x->n_dims, x->dims));
    if (opts->n_restarts < 1 || opts->max_rounds < 0 || opts->scout < 2 || !(opts->trim >= 0 && opts->trim < 1) ||
        n_blocks < 1)
        return sg_fail(err, SG_EARG,
                       "archetypes: %d restarts, %d rounds, %" PRId64 " rows to scout, a share of %g to trim, %d "
                       "blocks: one of these makes no sense",
                       opts->n_restarts, opts->max_rounds, opts->scout, opts->trim, n_blocks);
    const sg_dim n = SG_MIN(x->dims[0] - (sg_dim)(opts->trim * (double)x->dims[0]), opts->scout);
    *k = 0;
    for (int b = 0; b < n_blocks; b++) {
        if (block[b] < 1 || block[b] > n)
            return sg_fail(err, SG_EARG,
                           "archetypes: block %d has %" PRId64 " archetypes, wanted 1 to %" PRId64
                           ", the rows that are fitted or scouted",
                           b, block[b], n);
        *k += block[b];
    }
    return SG_OK;
}

sg_status sg_archetypes_fit(sg_archetypes **out, const sg_tensor *x, int n_blocks, const sg_dim *block,
                            sg_archetypes_opts opts, sg_error *err)
{
    *out = NULL;
    fit f = {.n_blocks = n_blocks, .block = block, .opts = &opts, .err = err};
    SG_TRY(check(x, n_blocks, block, &opts, &f.k, err));
    f.d = x->dims[1];
    sg_arena *arena = sg_arena_new(), *scratch = sg_arena_new();
    owned *o = arena && scratch ? sg_arena_alloc(arena, sizeof *o) : NULL;
    sg_status status = o ? SG_OK : sg_fail(err, SG_ENOMEM, "archetypes: out of memory");
    if (status == SG_OK) {
        o->arena = arena;
        o->face.mean = sg_tensor_of(SG_F64, 1, &f.d, NULL);
        status = fill(o, &f, x, scratch);
    }
    sg_arena_free(scratch);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_archetypes_free(sg_archetypes *a)
{
    if (a)
        sg_arena_free(((owned *)a)->arena);
}

sg_status sg_archetypes_furthest(sg_dim *out, sg_dim k, const sg_tensor *x, uint64_t seed, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->n_dims != 2 || !sg_dtype_is_float(x->dtype) || k < 1 || k > x->dims[0] || x->dims[0] > INT32_MAX)
        return sg_fail(err, SG_EARG, "archetypes: %" PRId64 " rows that lie far apart out of %s%s", k,
                       sg_dtype_name(x->dtype), sg_shape_text(shape, x->n_dims, x->dims));
    const sg_dim n = x->dims[0], d = x->dims[1];
    double *all = malloc((size_t)SG_MAX(n * d, 1) * sizeof *all), *sum = malloc((size_t)n * sizeof *sum);
    bool *taken = malloc((size_t)n * sizeof *taken);
    sg_rng r = sg_rng_new(seed, STREAM_OF_FIRST);
    const bool fine = all && sum && taken;
    if (fine) {
        sg_convert(all, SG_F64, x->data, x->dtype, n * d);
        furthest_sum(out, k, all, n, d, sum, taken, &r);
    }
    free(all);
    free(sum);
    free(taken);
    return fine ? SG_OK : sg_fail(err, SG_ENOMEM, "archetypes: out of memory for %" PRId64 " rows", n);
}
