/* With x_i the atoms of one side, y_i those paired with them and K = X X' + ridge, the prediction of y_i by a
 * regression on all other pairs is  y_i - (K^-1 Y)_i / (K^-1)_ii  (the dual form of leaving one out), so a round costs
 * one factorisation. In it y_k has the weight c_ik = -(K^-1)_ik / (K^-1)_ii; when i is compared with y_k as a partner,
 * that share of its own is taken off first: a partner is to be told by the others. */
#include "sightglass/echo.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/assignment.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"

enum { STREAM_OF_PAIRINGS = 1, STREAM_OF_ROTATIONS, QUANTILES = 32 };

sg_echo_opts sg_echo_defaults(void)
{
    return (sg_echo_opts){
        .same = .6, .centre = true, .ridge = .1, .n_rounds = 20, .n_restarts = 5, .n_nulls = 20, .most = 512};
}

typedef struct search {
    sg_dim n, m, d;               /* atoms on the first side and on the second; width */
    bool both;                    /* the sides are the same atoms */
    const int32_t *from, *to;     /* [n], [m] rows of `atoms` */
    const double *firing;         /* [.]; NULL: not known */
    double *x, *y;                /* [n,d] the first side, [m,d] the second */
    double *xc, *yc;              /* the same less the means of sides */
    double *px, *py;              /* [n,d] of pairs that take part in the fit */
    double *k, *inverse;          /* [n,n] */
    double *a;                    /* [n,d] K^-1 Y */
    double *predicted;            /* [n,d] */
    double *worth;                /* [n,m] */
    double *order;                /* [max(n,m)] */
    double *left, *right;         /* [n,QUANTILES], [m,QUANTILES] */
    int32_t *pair, *again, *best; /* [n] place on the second side, or -1 */
    double *cosine, *best_cosine; /* [n] */
    bool *kept, *best_kept;       /* [n] pairs that take part */
    int32_t *row;                 /* [n] of the fit's pairs, their place on the first side */
    const sg_echo_opts *opts;
    sg_error *err;
} search;

static sg_tensor matrix(sg_dim m, sg_dim n, const double *x)
{
    return sg_tensor_of(SG_F64, 2, (sg_dim[]){m, n}, (void *)(uintptr_t)x);
}

static double dot(const double *a, const double *b, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- where it begins ---- */

/* Quantiles of the cosines that each has with the others of its side, less the side's mean where that counts. room:
 * [n,d]. */
static sg_status signatures(const search *s, double *to, const double *rows, double *room, sg_dim n)
{
    const sg_tensor r = matrix(n, s->d, room), gram = matrix(n, n, s->worth);
    for (sg_dim j = 0; j < s->d; j++) {
        double mean = 0;
        for (sg_dim i = 0; i < n && s->opts->centre && !s->both; i++)
            mean += rows[i * s->d + j] / (double)n;
        for (sg_dim i = 0; i < n; i++)
            room[i * s->d + j] = rows[i * s->d + j] - mean;
    }
    for (sg_dim i = 0; i < n; i++) {
        const double length = sqrt(fmax(dot(room + i * s->d, room + i * s->d, s->d), 1e-24));
        for (sg_dim j = 0; j < s->d; j++)
            room[i * s->d + j] /= length;
    }
    SG_TRY(sg_product(&gram, &r, false, &r, true, 1, 0, s->err));
    for (sg_dim i = 0; i < n; i++) {
        sg_dim count = 0;
        for (sg_dim j = 0; j < n; j++)
            if (j != i)
                s->order[count++] = s->worth[i * n + j];
        sg_stats_sort(count, s->order);
        for (int q = 0; q < QUANTILES; q++)
            to[i * QUANTILES + q] = sg_stats_quantile(count, s->order, q / (QUANTILES - 1.0));
    }
    return SG_OK;
}

static sg_status assign(search *s, int32_t *pair)
{
    const sg_tensor worth = matrix(s->n, s->m, s->worth);
    return sg_assignment(pair, NULL, &worth, SG_GREATEST, s->err);
}

static sg_status begin(search *s, int restart)
{
    if (restart == 0) {
        SG_TRY(signatures(s, s->left, s->x, s->xc, s->n));
        SG_TRY(signatures(s, s->right, s->y, s->yc, s->m));
    }
    sg_rng r = sg_rng_new(s->opts->seed, STREAM_OF_PAIRINGS);
    r.step = (uint64_t)restart;
    for (sg_dim i = 0; i < s->n; i++)
        for (sg_dim j = 0; j < s->m; j++) {
            double off = 0;
            if (restart == 0)
                for (int q = 0; q < QUANTILES; q++)
                    off += pow(s->left[i * QUANTILES + q] - s->right[j * QUANTILES + q], 2);
            else if (restart == 1 && s->firing)
                off = pow(s->firing[s->from[i]] - s->firing[s->to[j]], 2);
            else
                off = sg_rng_uniform(&r);
            s->worth[i * s->m + j] = s->both && i == j ? -1e6 : -off;
        }
    for (sg_dim i = 0; i < s->n; i++)
        s->kept[i] = true;
    return assign(s, s->pair);
}

/* ---- a round ---- */

/* Rows less the mean of those that pairs name, where sides are centred: to [.,d]. */
static void centred(const search *s, double *to, const double *rows, sg_dim count, bool second, sg_dim n_pairs)
{
    for (sg_dim j = 0; j < s->d; j++) {
        double mean = 0;
        for (sg_dim r = 0; r < n_pairs && s->opts->centre && !s->both; r++)
            mean += rows[(second ? s->pair[s->row[r]] : s->row[r]) * s->d + j] / (double)n_pairs;
        for (sg_dim i = 0; i < count; i++)
            to[i * s->d + j] = rows[i * s->d + j] - mean;
    }
}

/* K^-1 of the pairs' first atoms. Of centred ones it holds 1 / (n ridge) everywhere, which is the mean's part and is
 * taken off: what is left out of a regression with an intercept is left out of the mean as well. */
static sg_status invert(search *s, sg_dim n, double off)
{
    const sg_tensor px = matrix(n, s->d, s->px), k = matrix(n, n, s->k), inverse = matrix(n, n, s->inverse);
    SG_TRY(sg_product(&k, &px, false, &px, true, 1, 0, s->err));
    memset(s->inverse, 0, (size_t)(n * n) * sizeof(double));
    for (sg_dim i = 0; i < n; i++) {
        s->k[i * n + i] += s->opts->ridge;
        s->inverse[i * n + i] = 1;
    }
    sg_cholesky *c;
    SG_TRY(sg_cholesky_new(&c, &k, s->err));
    const sg_status status = sg_cholesky_solve(&inverse, c, &inverse, s->err);
    sg_cholesky_free(c);
    for (sg_dim i = 0; i < n * n; i++)
        s->inverse[i] -= off;
    return status;
}

/* Predictions of the pairs' second atoms by all other pairs that are kept; cosines of each with its partner, and worth
 * of all. */
static sg_status predict(search *s)
{
    sg_dim n = 0;
    for (sg_dim i = 0; i < s->n; i++)
        if (s->pair[i] >= 0 && s->kept[i])
            s->row[n++] = (int32_t)i;
    const bool centre = s->opts->centre && !s->both;
    centred(s, s->xc, s->x, s->n, false, n);
    centred(s, s->yc, s->y, s->m, true, n);
    for (sg_dim r = 0; r < n; r++) {
        memcpy(s->px + r * s->d, s->xc + s->row[r] * s->d, (size_t)s->d * sizeof(double));
        memcpy(s->py + r * s->d, s->yc + s->pair[s->row[r]] * s->d, (size_t)s->d * sizeof(double));
    }
    SG_TRY(invert(s, n, centre ? 1 / ((double)n * s->opts->ridge) : 0));
    /* Of all, by the map as it is; then of those that take part in it, without themselves. */
    const sg_tensor px = matrix(n, s->d, s->px), py = matrix(n, s->d, s->py), inverse = matrix(n, n, s->inverse),
                    a = matrix(n, s->d, s->a), x = matrix(s->n, s->d, s->xc), y = matrix(s->m, s->d, s->yc),
                    weights = matrix(s->n, n, s->k), predicted = matrix(s->n, s->d, s->predicted),
                    worth = matrix(s->n, s->m, s->worth);
    SG_TRY(sg_product(&a, &inverse, false, &py, false, 1, 0, s->err));
    SG_TRY(sg_product(&weights, &x, false, &px, true, 1, 0, s->err));
    SG_TRY(sg_product(&predicted, &weights, false, &a, false, 1, 0, s->err));
    const double own = centre ? (double)n / (double)(n - 1) : 1; /* beside the mean of the others */
    for (sg_dim r = 0; r < n; r++)
        for (sg_dim j = 0; j < s->d; j++)
            s->predicted[s->row[r] * s->d + j] = own * s->py[r * s->d + j] - s->a[r * s->d + j] / s->inverse[r * n + r];
    SG_TRY(sg_product(&worth, &predicted, false, &y, true, 1, 0, s->err));
    for (sg_dim j = 0; j < s->m; j++)
        s->order[j] = dot(s->yc + j * s->d, s->yc + j * s->d, s->d);
    for (sg_dim r = 0; r < n; r++)
        for (sg_dim q = 0; q < n; q++)
            if (q != r)
                s->worth[s->row[r] * s->m + s->pair[s->row[q]]] +=
                    s->inverse[r * n + q] / s->inverse[r * n + r] * s->order[s->pair[s->row[q]]];
    for (sg_dim i = 0; i < s->n; i++) {
        const double *p = s->predicted + i * s->d, length = fmax(dot(p, p, s->d), 1e-24);
        const sg_dim with = s->pair[i];
        for (sg_dim j = 0; j < s->m; j++)
            s->worth[i * s->m + j] =
                s->both && i == j ? -1e6 : s->worth[i * s->m + j] / sqrt(length * fmax(s->order[j], 1e-24));
        s->cosine[i] = with < 0 ? -2 : dot(p, s->yc + with * s->d, s->d) / sqrt(length * fmax(s->order[with], 1e-24));
    }
    return SG_OK;
}

/* The better half of the pairs where atoms may go anywhere, else all; the mean cosine of those. */
static double keep(search *s)
{
    sg_dim n = 0;
    for (sg_dim i = 0; i < s->n; i++)
        if (s->pair[i] >= 0)
            s->order[n++] = s->cosine[i];
    sg_stats_sort(n, s->order);
    const double least = s->both ? s->order[n / 2] : -3;
    double sum = 0, count = 0;
    for (sg_dim i = 0; i < s->n; i++) {
        s->kept[i] = s->pair[i] >= 0 && s->cosine[i] >= least;
        sum += s->kept[i] ? s->cosine[i] : 0;
        count += s->kept[i];
    }
    return count > 0 ? sum / count : -1;
}

static sg_status find(search *s, double *score)
{
    *score = -2;
    for (int restart = 0; restart < s->opts->n_restarts; restart++) {
        if (restart == 1 && !s->firing)
            continue;
        SG_TRY(begin(s, restart));
        for (int round = 0; round <= s->opts->n_rounds; round++) {
            if (s->opts->cancel && *s->opts->cancel)
                return sg_fail(s->err, SG_ECANCELLED, "echo: stopped");
            SG_TRY(predict(s));
            const double now = keep(s);
            if (now > *score) {
                *score = now;
                memcpy(s->best, s->pair, (size_t)s->n * sizeof *s->best);
                memcpy(s->best_cosine, s->cosine, (size_t)s->n * sizeof *s->best_cosine);
                memcpy(s->best_kept, s->kept, (size_t)s->n * sizeof *s->best_kept);
            }
            SG_TRY(assign(s, s->again));
            const bool same = memcmp(s->again, s->pair, (size_t)s->n * sizeof *s->pair) == 0;
            memcpy(s->pair, s->again, (size_t)s->n * sizeof *s->pair);
            if (same)
                break;
        }
    }
    return SG_OK;
}

static void gather(search *s, const double *atoms)
{
    for (sg_dim i = 0; i < s->n; i++)
        memcpy(s->x + i * s->d, atoms + s->from[i] * s->d, (size_t)s->d * sizeof(double));
    for (sg_dim i = 0; i < s->m; i++)
        memcpy(s->y + i * s->d, atoms + s->to[i] * s->d, (size_t)s->d * sizeof(double));
}

/* ---- sides ---- */

sg_status sg_echo_sides(int32_t *side, const sg_tensor *codes, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (codes->n_dims != 2 || !sg_dtype_is_float(codes->dtype) || codes->dims[1] < 2)
        return sg_fail(err, SG_ESHAPE, "echo: codes are %s%s, wanted floats [N,M]", sg_dtype_name(codes->dtype),
                       sg_shape_text(shape, codes->n_dims, codes->dims));
    const sg_dim n = codes->dims[0], m = codes->dims[1];
    double *together = calloc((size_t)(m * m), sizeof *together), *fires = calloc((size_t)m, sizeof *fires);
    sg_dim *on = malloc((size_t)m * sizeof *on);
    sg_status status =
        together && fires && on ? SG_OK : sg_fail(err, SG_ENOMEM, "echo: out of memory for %" PRId64 " atoms", m);
    for (sg_dim i = 0; status == SG_OK && i < n; i++) {
        sg_dim count = 0;
        for (sg_dim j = 0; j < m; j++)
            if (sg_tensor_get(codes, i * m + j) > 0)
                on[count++] = j;
        for (sg_dim a = 0; a < count; a++) {
            fires[on[a]]++;
            for (sg_dim b = 0; b < count; b++)
                together[on[a] * m + on[b]] += a != b;
        }
    }
    for (sg_dim i = 0; status == SG_OK && i < m; i++) {
        double sum = 0;
        for (sg_dim j = 0; j < m; j++)
            sum += together[i * m + j];
        side[i] = fires[i] > 0 ? 0 : -1;
        fires[i] = sum;
    }
    for (sg_dim i = 0; status == SG_OK && i < m * m; i++)
        if (together[i] > 0)
            together[i] /= sqrt(fires[i / m] * fires[i % m]);
    sg_eigen *e = NULL;
    const sg_tensor matrix_of = sg_tensor_of(SG_F64, 2, (sg_dim[]){m, m}, together);
    if (status == SG_OK)
        status = sg_eigen_new(&e, &matrix_of, err);
    for (sg_dim i = 0; status == SG_OK && i < m; i++)
        if (side[i] == 0)
            side[i] = sg_tensor_get(&e->vectors, i) < 0; /* the first row has the least eigenvalue */
    sg_eigen_free(e);
    free(together);
    free(fires);
    free(on);
    return status;
}

/* ---- all of it ---- */

typedef struct owned {
    sg_echo face;
    sg_arena *arena;
} owned;

typedef struct ranked {
    double firing;
    int32_t atom;
} ranked;

static int fires_more(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->firing != y->firing ? (x->firing < y->firing) - (x->firing > y->firing)
                                  : (x->atom > y->atom) - (x->atom < y->atom);
}

static int better_first(const void *a, const void *b)
{
    const sg_echo_pair *x = a, *y = b;
    return x->cosine != y->cosine ? (x->cosine < y->cosine) - (x->cosine > y->cosine)
                                  : (x->from > y->from) - (x->from < y->from);
}

/* Which atoms are looked at, and on which sides. */
static sg_status choose(sg_echo *e, search *s, const double *rows, const double *length, const int32_t *side,
                        int32_t *lists, ranked *order, sg_dim m)
{
    sg_dim n = 0;
    for (sg_dim i = 0; i < m; i++) {
        const bool out =
            (side && (side[i] < 0 || side[i] > 1)) || !(length[i] > 0) || (s->firing && !(s->firing[i] > 0));
        e->side[i] = -1;
        if (!out)
            order[n++] = (ranked){s->firing ? s->firing[i] : 0, (int32_t)i};
    }
    qsort(order, (size_t)n, sizeof *order, fires_more);
    sg_dim apart = 0; /* a copy of an atom is an echo by the identity, and not what is looked for */
    for (sg_dim i = 0; i < n && apart < s->opts->most; i++) {
        bool copy = false;
        for (sg_dim j = 0; j < apart && !copy; j++)
            copy = dot(rows + order[i].atom * s->d, rows + order[j].atom * s->d, s->d) > s->opts->same;
        if (!copy)
            order[apart++] = order[i];
    }
    e->n_copies = apart < s->opts->most ? n - apart : 0;
    n = apart;
    for (sg_dim i = 0; i < n; i++)
        e->side[order[i].atom] = side ? side[order[i].atom] : 2;
    int32_t *to = lists + m;
    for (int32_t i = 0; i < (int32_t)m; i++) {
        if (e->side[i] == 0 || e->side[i] == 2)
            lists[s->n++] = i;
        if (e->side[i] == 1 || e->side[i] == 2)
            to[s->m++] = i;
    }
    s->from = lists;
    s->to = to;
    e->n_atoms = n;
    s->both = !side;
    if (n < 4 || s->n < 2 || s->m < 2)
        return sg_fail(s->err, SG_EARG,
                       "echo: %" PRId64 " atoms, %" PRId64 " and %" PRId64 " on the sides, wanted at least 4, and 2 "
                       "on each",
                       n, s->n, s->m);
    e->n_side[0] = s->n;
    e->n_side[1] = s->m;
    return SG_OK;
}

static sg_status room(search *s, sg_arena *arena)
{
    const size_t n = (size_t)s->n, m = (size_t)s->m, d = (size_t)s->d, most = SG_MAX(n, m);
    struct {
        double **to;
        size_t count;
    } list[] = {{&s->x, n * d},
                {&s->y, m * d},
                {&s->px, n * d},
                {&s->py, n * d},
                {&s->xc, n * d},
                {&s->yc, m * d},
                {&s->k, n * n},
                {&s->inverse, n * n},
                {&s->a, n * d},
                {&s->predicted, n * d},
                {&s->worth, most * most},
                {&s->order, most},
                {&s->left, n * QUANTILES},
                {&s->right, m * QUANTILES},
                {&s->cosine, n},
                {&s->best_cosine, n}};
    bool fine = true;
    for (size_t i = 0; i < SG_COUNT_OF(list); i++)
        fine = (*list[i].to = sg_arena_array(arena, list[i].count, sizeof(double))) && fine;
    s->pair = sg_arena_array(arena, n, sizeof(int32_t));
    s->again = sg_arena_array(arena, n, sizeof(int32_t));
    s->best = sg_arena_array(arena, n, sizeof(int32_t));
    s->row = sg_arena_array(arena, n, sizeof(int32_t));
    s->kept = sg_arena_array(arena, n, sizeof(bool));
    s->best_kept = sg_arena_array(arena, n, sizeof(bool));
    fine = fine && s->pair && s->again && s->best && s->row && s->kept && s->best_kept;
    return fine ? SG_OK : sg_fail(s->err, SG_ENOMEM, "echo: out of memory for %" PRId64 " atoms", s->n);
}

/* The orthogonal map that takes the first atoms of the pairs nearest to the second: U V' of X'Y = U diag(s) V'. */
static sg_status procrustes(owned *o, search *s)
{
    sg_echo *e = &o->face;
    for (sg_dim i = 0, at = 0; i < s->n; i++)
        if (s->best_kept[i])
            s->row[at++] = (int32_t)i;
    memcpy(s->pair, s->best, (size_t)s->n * sizeof *s->pair);
    centred(s, s->xc, s->x, s->n, false, e->n_pairs);
    centred(s, s->yc, s->y, s->m, true, e->n_pairs);
    for (sg_dim i = 0; i < e->n_pairs; i++) {
        memcpy(s->px + i * s->d, s->xc + s->row[i] * s->d, (size_t)s->d * sizeof(double));
        memcpy(s->py + i * s->d, s->yc + s->best[s->row[i]] * s->d, (size_t)s->d * sizeof(double));
    }
    double *both = sg_arena_array(o->arena, (size_t)(s->d * s->d), sizeof *both),
           *map = sg_arena_array(o->arena, (size_t)(s->d * s->d), sizeof *map);
    if (!both || !map)
        return sg_fail(s->err, SG_ENOMEM, "echo: out of memory for a map of %" PRId64, s->d);
    const sg_tensor x = matrix(e->n_pairs, s->d, s->px), y = matrix(e->n_pairs, s->d, s->py),
                    xy = matrix(s->d, s->d, both);
    SG_TRY(sg_product(&xy, &x, true, &y, false, 1, 0, s->err));
    sg_svd *svd;
    SG_TRY(sg_svd_new(&svd, &xy, SG_FACTORS_THIN, s->err));
    e->map = matrix(s->d, s->d, map);
    e->rank = sg_svd_rank(svd, 1e-9);
    const sg_status status = sg_product(&e->map, &svd->u, false, &svd->vt, false, 1, 0, s->err);
    sg_svd_free(svd);
    return status;
}

static sg_status nulls(owned *o, search *s, double *turned, sg_dim m)
{
    sg_echo *e = &o->face;
    e->nulls = sg_arena_array(o->arena, (size_t)SG_MAX(s->opts->n_nulls, 1), sizeof(double));
    if (!e->nulls)
        return sg_fail(s->err, SG_ENOMEM, "echo: out of memory");
    double reach = 1;
    for (int i = 0; i < s->opts->n_nulls; i++) {
        for (sg_dim a = 0; a < m; a++) { /* a unit vector that is turned at random is any unit vector */
            sg_rng r = sg_rng_new(s->opts->seed, STREAM_OF_ROTATIONS);
            r.step = (uint64_t)i * (uint64_t)m + (uint64_t)a;
            double sum = 0;
            for (sg_dim j = 0; j < s->d; j++) {
                turned[a * s->d + j] = sg_rng_normal(&r);
                sum += turned[a * s->d + j] * turned[a * s->d + j];
            }
            for (sg_dim j = 0; j < s->d; j++)
                turned[a * s->d + j] /= sqrt(sum);
        }
        gather(s, turned);
        SG_TRY(find(s, &e->nulls[i]));
        e->null_mean += e->nulls[i] / s->opts->n_nulls;
        reach += e->nulls[i] >= e->score;
        if (s->opts->progress)
            s->opts->progress(s->opts->context, (double)(i + 2) / (s->opts->n_nulls + 1));
    }
    e->n_nulls = s->opts->n_nulls;
    sg_stats_sort(e->n_nulls, e->nulls);
    e->null_high = e->n_nulls ? sg_stats_quantile(e->n_nulls, e->nulls, .95) : (double)NAN;
    e->null_mean = e->n_nulls ? e->null_mean : (double)NAN;
    e->p = reach / (1 + e->n_nulls);
    return SG_OK;
}

static sg_status run(owned *o, search *s, sg_arena *scratch, const sg_tensor *atoms, const sg_tensor *codes,
                     const int32_t *side)
{
    sg_echo *e = &o->face;
    const sg_dim m = atoms->dims[0], d = s->d;
    double *rows = sg_arena_array(scratch, (size_t)(m * d), sizeof *rows),
           *length = sg_arena_array(scratch, (size_t)m, sizeof *length),
           *firing = sg_arena_array(scratch, (size_t)m, sizeof *firing),
           *turned = sg_arena_array(scratch, (size_t)(m * d), sizeof *turned);
    int32_t *lists = sg_arena_array(scratch, (size_t)(2 * m), sizeof *lists),
            *found = sg_arena_array(scratch, (size_t)m, sizeof *found);
    ranked *order = sg_arena_array(scratch, (size_t)m, sizeof *order);
    e->side = sg_arena_array(o->arena, (size_t)m, sizeof *e->side);
    if (!rows || !length || !firing || !turned || !lists || !found || !order || !e->side)
        return sg_fail(s->err, SG_ENOMEM, "echo: out of memory for %" PRId64 " atoms", m);
    sg_convert(rows, SG_F64, atoms->data, atoms->dtype, m * d);
    for (sg_dim i = 0; i < m; i++) {
        length[i] = sqrt(dot(rows + i * d, rows + i * d, d));
        if (!isfinite(length[i]))
            return sg_fail(s->err, SG_ENUMERIC, "echo: atom %" PRId64 " is not finite", i);
        for (sg_dim j = 0; length[i] > 0 && j < d; j++)
            rows[i * d + j] /= length[i];
    }
    if (codes) {
        for (sg_dim i = 0; i < sg_tensor_count(codes); i++)
            firing[i % m] += (sg_tensor_get(codes, i) > 0) / (double)codes->dims[0];
        s->firing = firing;
        if (!side)
            SG_TRY(sg_echo_sides(found, codes, s->err));
        side = side ? side : found;
    }
    SG_TRY(choose(e, s, rows, length, side, lists, order, m));
    SG_TRY(room(s, scratch));
    gather(s, rows);
    SG_TRY(find(s, &e->score));
    e->pairs = sg_arena_array(o->arena, (size_t)s->n, sizeof *e->pairs);
    if (!e->pairs)
        return sg_fail(s->err, SG_ENOMEM, "echo: out of memory");
    for (sg_dim i = 0; i < s->n; i++)
        if (s->best_kept[i])
            e->pairs[e->n_pairs++] = (sg_echo_pair){s->from[i], s->to[s->best[i]], s->best_cosine[i]};
    qsort(e->pairs, (size_t)e->n_pairs, sizeof *e->pairs, better_first);
    SG_TRY(procrustes(o, s));
    return nulls(o, s, turned, m);
}

static sg_status check(const sg_tensor *atoms, const sg_tensor *codes, const sg_echo_opts *opts, sg_error *err)
{
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];
    if (atoms->n_dims != 2 || !sg_dtype_is_float(atoms->dtype) || atoms->dims[1] < 1 || atoms->dims[0] > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "echo: atoms are %s%s, wanted floats [M,D]", sg_dtype_name(atoms->dtype),
                       sg_shape_text(a, atoms->n_dims, atoms->dims));
    if (codes && (codes->n_dims != 2 || codes->dims[1] != atoms->dims[0] || !sg_dtype_is_float(codes->dtype)))
        return sg_fail(err, SG_ESHAPE, "echo: codes are %s, wanted a column for each of the atoms %s",
                       sg_shape_text(b, codes->n_dims, codes->dims), sg_shape_text(a, atoms->n_dims, atoms->dims));
    if (!(opts->ridge > 0) || opts->n_rounds < 1 || opts->n_restarts < 1 || opts->n_nulls < 0 || opts->most < 4)
        return sg_fail(err, SG_EARG,
                       "echo: a ridge of %g, %d rounds, %d restarts, %d nulls, %" PRId64 " atoms: one makes no sense",
                       opts->ridge, opts->n_rounds, opts->n_restarts, opts->n_nulls, opts->most);
    return SG_OK;
}

sg_status sg_echo_search(sg_echo **out, const sg_tensor *atoms, const sg_tensor *codes, const int32_t *side,
                         sg_echo_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(atoms, codes, &opts, err));
    sg_arena *arena = sg_arena_new(), *scratch = sg_arena_new();
    owned *o = arena && scratch ? sg_arena_alloc(arena, sizeof *o) : NULL;
    sg_status status = o ? SG_OK : sg_fail(err, SG_ENOMEM, "echo: out of memory");
    if (status == SG_OK) {
        o->arena = arena;
        search s = {.d = atoms->dims[1], .opts = &opts, .err = err};
        status = run(o, &s, scratch, atoms, codes, side);
    }
    sg_arena_free(scratch);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_echo_free(sg_echo *e)
{
    if (e)
        sg_arena_free(((owned *)e)->arena);
}
