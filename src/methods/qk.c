/* Contrasts of queries and keys: the covariances of matching and differing pairs, and what lies in their difference.
 *
 * Pairs wait in blocks of one kind; a full block becomes, in one run of a small graph in f64, q'k, (q^2)'(k^2) and the
 * sums of q and k, and once more q'k with its keys in another order. Rows that a last block lacks are zeros, which add
 * nothing. */
#include "sightglass/qk.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/linalg.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { BLOCK = 512 };

typedef struct kind {
    int64_t n;                         /* pairs in the sums */
    sg_dim waiting;                    /* and in the block */
    double *q, *k, *shuffled_k;        /* [BLOCK,K] */
    double *outer, *square, *shuffled; /* [K,K] */
    double *sum_q, *sum_k;             /* [K] */
} kind;

struct sg_qk_sums {
    sg_arena *arena;
    sg_dim width;
    kind kinds[2]; /* differ, match */
    sg_rng rng;
    sg_graph *g;
    sg_session *session;
    sg_value *q, *k, *outer, *square, *sum_q, *sum_k;
};

static sg_status build(sg_qk_sums *s, sg_exec_opts exec, sg_error *err)
{
    s->g = sg_graph_new();
    if (!s->g)
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    const sg_dim dims[2] = {BLOCK, s->width};
    s->q = sg_input(s->g, "q", SG_F64, 2, dims);
    s->k = sg_input(s->g, "k", SG_F64, 2, dims);
    s->outer = sg_matmul(s->g, s->q, s->k, true, false);
    s->square = sg_matmul(s->g, sg_square(s->g, s->q), sg_square(s->g, s->k), true, false);
    s->sum_q = sg_sum(s->g, s->q, 0, false);
    s->sum_k = sg_sum(s->g, s->k, 0, false);
    SG_TRY(sg_graph_status(s->g, err));
    exec.n_threads = 1; /* blocks are small */
    return sg_session_new(&s->session, s->g, NULL, exec, err);
}

sg_status sg_qk_sums_new(sg_qk_sums **out, sg_dim width, uint64_t seed, sg_exec_opts exec, sg_error *err)
{
    *out = NULL;
    if (width < 1 || width > 1 << 14)
        return sg_fail(err, SG_EARG, "qk: heads of width %" PRId64 ", wanted 1 to %d", width, 1 << 14);
    sg_arena *arena = sg_arena_new();
    sg_qk_sums *s = arena ? sg_arena_alloc(arena, sizeof *s) : NULL;
    bool ok = s != NULL;
    if (ok)
        *s = (sg_qk_sums){.arena = arena, .width = width, .rng = sg_rng_new(seed, 0)};
    const size_t w = (size_t)width;
    for (int i = 0; i < 2 && ok; i++) {
        kind *c = &s->kinds[i];
        double **const at[] = {&c->q, &c->k, &c->shuffled_k, &c->outer, &c->square, &c->shuffled, &c->sum_q, &c->sum_k};
        const size_t n[] = {BLOCK * w, BLOCK * w, BLOCK * w, w * w, w * w, w * w, w, w};
        for (size_t j = 0; j < SG_COUNT_OF(at) && ok; j++)
            ok = (*at[j] = sg_arena_array(arena, n[j], sizeof(double))) != NULL;
    }
    const sg_status status =
        ok ? build(s, exec, err) : sg_fail(err, SG_ENOMEM, "qk: out of memory for width %" PRId64, width);
    if (status != SG_OK) {
        if (s)
            sg_qk_sums_free(s);
        else
            sg_arena_free(arena);
        return status;
    }
    *out = s;
    return SG_OK;
}

void sg_qk_sums_free(sg_qk_sums *s)
{
    if (!s)
        return;
    sg_session_free(s->session);
    sg_graph_free(s->g);
    sg_arena_free(s->arena);
}

static void gather(double *to, const sg_tensor *from)
{
    const double *x = from->data;
    const sg_dim n = sg_tensor_count(from);
    for (sg_dim i = 0; i < n; i++)
        to[i] += x[i];
}

static sg_status flush(sg_qk_sums *s, kind *c, sg_error *err)
{
    const sg_dim w = s->width, dims[2] = {BLOCK, w}, n = c->waiting;
    sg_tensor got[4];
    if (n == 0)
        return SG_OK;
    memset(c->q + n * w, 0, (size_t)((BLOCK - n) * w) * sizeof(double));
    memset(c->k + n * w, 0, (size_t)((BLOCK - n) * w) * sizeof(double));
    const sg_tensor q = sg_tensor_of(SG_F64, 2, dims, c->q), k = sg_tensor_of(SG_F64, 2, dims, c->k);
    SG_TRY(sg_session_run(s->session, 2, (sg_feed[]){{s->q, q}, {s->k, k}}, 4,
                          (sg_value *[]){s->outer, s->square, s->sum_q, s->sum_k}, got, err));
    gather(c->outer, &got[0]);
    gather(c->square, &got[1]);
    gather(c->sum_q, &got[2]);
    gather(c->sum_k, &got[3]);
    /* Another order of the keys (Fisher and Yates). */
    int32_t order[BLOCK];
    for (int32_t i = 0; i < n; i++) {
        const uint32_t at = sg_rng_below(&s->rng, (uint32_t)i + 1);
        if (at != (uint32_t)i)
            order[i] = order[at];
        order[at] = i;
    }
    memset(c->shuffled_k, 0, (size_t)(BLOCK * w) * sizeof(double));
    for (sg_dim i = 0; i < n; i++)
        memcpy(c->shuffled_k + i * w, c->k + order[i] * w, (size_t)w * sizeof(double));
    const sg_tensor other = sg_tensor_of(SG_F64, 2, dims, c->shuffled_k);
    SG_TRY(sg_session_run(s->session, 2, (sg_feed[]){{s->q, q}, {s->k, other}}, 1, &s->outer, got, err));
    gather(c->shuffled, &got[0]);
    c->n += n;
    c->waiting = 0;
    return SG_OK;
}

sg_status sg_qk_add(sg_qk_sums *s, bool match, const float *q, const float *k, sg_error *err)
{
    kind *c = &s->kinds[match];
    double *to_q = c->q + c->waiting * s->width, *to_k = c->k + c->waiting * s->width;
    for (sg_dim i = 0; i < s->width; i++) {
        if (!isfinite(q[i]) || !isfinite(k[i]))
            return sg_fail(err, SG_ENUMERIC, "qk: pair %" PRId64 " has a number that is not finite",
                           s->kinds[0].n + s->kinds[1].n + s->kinds[0].waiting + s->kinds[1].waiting);
        to_q[i] = (double)q[i];
        to_k[i] = (double)k[i];
    }
    if (++c->waiting == BLOCK)
        return flush(s, c, err);
    return SG_OK;
}

/* ---- factors ---- */

sg_qk_factor_opts sg_qk_factor_defaults(void)
{
    return (sg_qk_factor_opts){.share = .99};
}

int sg_qk_rank(const double *sigma, sg_dim n, double share)
{
    double all = 0, sum = 0;
    int rank = 0;
    for (sg_dim i = 0; i < n; i++)
        all += sigma[i] * sigma[i];
    while (rank < n && all > 0 && sum < share * all) {
        sum += sigma[rank] * sigma[rank];
        rank++;
    }
    return rank;
}

typedef struct factor {
    sg_qk_factor face; /* first: what users hold */
    sg_arena *arena;
} factor;

/* E[qk'] of a kind, with means taken off or not. */
static double moment(const kind *c, const double *outer, sg_dim w, sg_dim i, sg_dim j, bool centred)
{
    const double n = (double)c->n, mean = outer[i * w + j] / n;
    return centred ? mean - c->sum_q[i] / n * (c->sum_k[j] / n) : mean;
}

static void difference(double *to, const sg_qk_sums *s, bool centred, bool shuffled)
{
    const kind *m = &s->kinds[1], *d = &s->kinds[0];
    const sg_dim w = s->width;
    for (sg_dim i = 0; i < w; i++)
        for (sg_dim j = 0; j < w; j++)
            to[i * w + j] = moment(m, shuffled ? m->shuffled : m->outer, w, i, j, centred) -
                            moment(d, shuffled ? d->shuffled : d->outer, w, i, j, centred);
}

static void errors(double *to, const sg_qk_sums *s)
{
    const sg_dim w = s->width;
    for (sg_dim i = 0; i < w * w; i++) {
        to[i] = 0;
        for (int c = 0; c < 2; c++) {
            const double n = (double)s->kinds[c].n, mean = s->kinds[c].outer[i] / n;
            to[i] += fmax(s->kinds[c].square[i] / n - mean * mean, 0) / (n - 1);
        }
        to[i] = sqrt(to[i]);
    }
}

/* Singular values of a into sigma, and directions as rows where they are wanted. */
static sg_status decompose(double *sigma, double *left, double *right, double *a, sg_dim w, sg_error *err)
{
    sg_svd *svd;
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){w, w}, a);
    SG_TRY(sg_svd_new(&svd, &t, SG_FACTORS_THIN, err));
    const double *u = svd->u.data;
    memcpy(sigma, svd->s.data, (size_t)w * sizeof *sigma);
    for (sg_dim i = 0; i < w && left; i++)
        for (sg_dim j = 0; j < w; j++)
            left[i * w + j] = u[j * w + i];
    if (right)
        memcpy(right, svd->vt.data, (size_t)(w * w) * sizeof *right);
    sg_svd_free(svd);
    return SG_OK;
}

sg_status sg_qk_factor_new(sg_qk_factor **out, const char *name, sg_qk_sums *s, sg_qk_factor_opts opts, sg_error *err)
{
    *out = NULL;
    if (!(opts.share > 0 && opts.share <= 1))
        return sg_fail(err, SG_EARG, "qk: a rank that has %g of the squares, wanted more than 0, at most 1",
                       opts.share);
    SG_TRY(flush(s, &s->kinds[0], err));
    SG_TRY(flush(s, &s->kinds[1], err));
    if (s->kinds[0].n < 2 || s->kinds[1].n < 2)
        return sg_fail(err, SG_EARG, "%s: %" PRId64 " pairs match and %" PRId64 " differ, wanted at least 2 of each",
                       name, s->kinds[1].n, s->kinds[0].n);
    const sg_dim w = s->width;
    sg_arena *arena = sg_arena_new();
    factor *f = arena ? sg_arena_alloc(arena, sizeof *f) : NULL;
    double *numbers = f ? sg_arena_array(arena, (size_t)(w * w * 5 + w * 3), sizeof *numbers) : NULL;
    const char *kept = numbers ? sg_arena_strdup(arena, name) : NULL;
    if (!kept) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    }
    double *delta = numbers, *error = delta + w * w, *left = error + w * w, *right = left + w * w,
           *room = right + w * w, *sigma = room + w * w, *other = sigma + w, *shuffled = other + w;
    *f = (factor){.face = {.name = kept,
                           .width = w,
                           .n_match = s->kinds[1].n,
                           .n_differ = s->kinds[0].n,
                           .centred = opts.centred,
                           .delta = delta,
                           .error = error,
                           .left = left,
                           .right = right,
                           .sigma = sigma,
                           .sigma_other = other,
                           .sigma_shuffled = shuffled},
                  .arena = arena};
    difference(delta, s, opts.centred, false);
    errors(error, s);
    sg_status status = decompose(sigma, left, right, delta, w, err);
    difference(room, s, !opts.centred, false);
    if (status == SG_OK)
        status = decompose(other, NULL, NULL, room, w, err);
    difference(room, s, opts.centred, true);
    if (status == SG_OK)
        status = decompose(shuffled, NULL, NULL, room, w, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    f->face.rank = sg_qk_rank(sigma, w, opts.share);
    *out = &f->face;
    return SG_OK;
}

void sg_qk_factor_free(sg_qk_factor *f)
{
    if (f)
        sg_arena_free(((factor *)f)->arena);
}

/* ---- subspaces ---- */

sg_qk_basis sg_qk_keys_of(const sg_qk_factor *f)
{
    return (sg_qk_basis){f->rank, f->right};
}

static double dot(const double *a, const double *b, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* What v has beside the rows, with length 1; false where nothing is left. Twice, for the rounding of the first time. */
static bool beside(double *v, const double *rows, int n, sg_dim w)
{
    const double before = sqrt(dot(v, v, w));
    for (int again = 0; again < 2; again++)
        for (int i = 0; i < n; i++) {
            const double along = dot(v, rows + i * w, w);
            for (sg_dim d = 0; d < w; d++)
                v[d] -= along * rows[i * w + d];
        }
    const double length = sqrt(dot(v, v, w));
    if (!(length > 1e-9 * before))
        return false;
    for (sg_dim d = 0; d < w; d++)
        v[d] /= length;
    return true;
}

sg_status sg_qk_orthogonal(double *rows, int *ranks, int n, const sg_qk_basis *bases, sg_dim width, sg_error *err)
{
    double *v = malloc((size_t)width * sizeof *v);
    int have = 0;
    if (!v)
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    for (int b = 0; b < n; b++) {
        ranks[b] = 0;
        for (int i = 0; i < bases[b].rank && have < width; i++) {
            memcpy(v, bases[b].rows + i * width, (size_t)width * sizeof *v);
            if (!beside(v, rows, have, width))
                continue;
            memcpy(rows + have++ * width, v, (size_t)width * sizeof *v);
            ranks[b]++;
        }
    }
    free(v);
    return SG_OK;
}

sg_status sg_qk_random(double *rows, int rank, sg_dim width, uint64_t seed, uint32_t stream, sg_error *err)
{
    sg_rng r = sg_rng_new(seed, stream);
    if (rank < 0 || rank > width)
        return sg_fail(err, SG_EARG, "qk: a subspace of rank %d in %" PRId64 " dimensions", rank, width);
    for (int have = 0; have < rank;) {
        for (sg_dim d = 0; d < width; d++)
            rows[have * width + d] = sg_rng_normal(&r);
        have += beside(rows + have * width, rows, have, width);
    }
    return SG_OK;
}

sg_status sg_qk_angle(double *degrees, const sg_qk_basis *a, const sg_qk_basis *b, sg_dim width, sg_error *err)
{
    const int n = a->rank;
    sg_svd *svd;
    if (n < 1 || n != b->rank)
        return sg_fail(err, SG_EARG, "qk: an angle between subspaces of rank %d and %d", a->rank, b->rank);
    double *products = malloc((size_t)(n * n) * sizeof *products);
    if (!products)
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            products[i * n + j] = dot(a->rows + i * width, b->rows + j * width, width);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, n}, products);
    const sg_status status = sg_svd_new(&svd, &t, SG_FACTORS_THIN, err);
    free(products);
    SG_TRY(status);
    *degrees = acos(fmin(((const double *)svd->s.data)[n - 1], 1)) * 57.295779513082320877;
    sg_svd_free(svd);
    return SG_OK;
}

void sg_qk_exchange(float *o, float *t, const sg_qk_basis *basis, sg_dim width)
{
    if (basis->rank == width) { /* VV' is the identity; said so, no rounding comes in */
        for (sg_dim d = 0; d < width; d++) {
            const float kept = o[d];
            o[d] = t[d];
            t[d] = kept;
        }
        return;
    }
    for (int i = 0; i < basis->rank; i++) {
        /* Rows are orthonormal, so that one row's exchange leaves the products with the others as they were. */
        const double *v = basis->rows + i * width;
        double along = 0;
        for (sg_dim d = 0; d < width; d++)
            along += v[d] * ((double)t[d] - (double)o[d]);
        for (sg_dim d = 0; d < width; d++) {
            o[d] = (float)((double)o[d] + along * v[d]);
            t[d] = (float)((double)t[d] - along * v[d]);
        }
    }
}

/* ---- shares ---- */

typedef struct shares {
    sg_qk_shares face;
    sg_arena *arena;
} shares;

typedef struct splitting {
    sg_graph *g;
    sg_session *session;
    sg_value *q, *k, *score;
    sg_value **share;
} splitting;

/* q.k, and for each factor (q V')(k V')'. */
static sg_status split(splitting *w, shares *s, const double *rows, const int *ranks, const double *q, const double *k,
                       sg_dim width, sg_exec_opts exec, sg_error *err)
{
    const sg_dim n_q = s->face.n_queries, n_k = s->face.n_keys, q_dims[2] = {n_q, width}, k_dims[2] = {n_k, width};
    const int n = s->face.n_factors;
    sg_tensor *got = sg_arena_array(s->arena, (size_t)n + 1, sizeof *got);
    w->share = sg_arena_array(s->arena, (size_t)n + 1, sizeof *w->share);
    w->g = sg_graph_new();
    if (!got || !w->share || !w->g)
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    w->q = sg_input(w->g, "q", SG_F64, 2, q_dims);
    w->k = sg_input(w->g, "k", SG_F64, 2, k_dims);
    w->share[0] = sg_matmul(w->g, w->q, w->k, false, true);
    for (int i = 0, at = 0; i < n; at += ranks[i++]) {
        const sg_tensor v =
            sg_tensor_of(SG_F64, 2, (sg_dim[]){ranks[i], width}, (void *)(uintptr_t)(rows + at * width));
        if (ranks[i] == 0) {
            w->share[i + 1] = sg_mul_scalar(w->g, w->share[0], 0);
            continue;
        }
        sg_value *basis = sg_const(w->g, &v);
        w->share[i + 1] = sg_matmul(w->g, sg_matmul(w->g, w->q, basis, false, true),
                                    sg_matmul(w->g, w->k, basis, false, true), false, true);
    }
    SG_TRY(sg_graph_status(w->g, err));
    SG_TRY(sg_session_new(&w->session, w->g, NULL, exec, err));
    const sg_feed feeds[2] = {{w->q, sg_tensor_of(SG_F64, 2, q_dims, (void *)(uintptr_t)q)},
                              {w->k, sg_tensor_of(SG_F64, 2, k_dims, (void *)(uintptr_t)k)}};
    SG_TRY(sg_session_run(w->session, 2, feeds, n + 1, w->share, got, err));
    memcpy((void *)(uintptr_t)s->face.score, got[0].data, (size_t)(n_q * n_k) * sizeof(double));
    for (int i = 0; i < n; i++)
        memcpy((double *)(uintptr_t)s->face.share + i * n_q * n_k, got[i + 1].data,
               (size_t)(n_q * n_k) * sizeof(double));
    return SG_OK;
}

/* Scales, and takes off each row's mean over what it sees. */
static void centre(double *x, const shares *s, const uint8_t *visible, double scale)
{
    const sg_dim n = s->face.n_keys;
    for (sg_dim i = 0; i < s->face.n_queries; i++) {
        double sum = 0, seen = 0;
        for (sg_dim j = 0; j < n; j++) {
            const bool here = !visible || visible[i * n + j];
            x[i * n + j] = here ? scale * x[i * n + j] : 0;
            sum += x[i * n + j];
            seen += here;
        }
        for (sg_dim j = 0; j < n; j++)
            if (!visible || visible[i * n + j])
                x[i * n + j] -= sum / seen;
    }
}

static double square(const double *x, sg_dim n)
{
    return dot(x, x, n);
}

sg_status sg_qk_explain(sg_qk_shares **out, int n_factors, const sg_qk_basis *bases, sg_dim n_queries, const float *q,
                        sg_dim n_keys, const float *k, sg_dim width, const uint8_t *visible, double scale,
                        sg_exec_opts exec, sg_error *err)
{
    *out = NULL;
    if (n_factors < 0 || n_queries < 1 || n_keys < 1 || width < 1)
        return sg_fail(err, SG_EARG, "qk: %d factors, %" PRId64 " queries and %" PRId64 " keys do not go together",
                       n_factors, n_queries, n_keys);
    const size_t cells = (size_t)(n_queries * n_keys), vectors = (size_t)((n_queries + n_keys) * width);
    sg_arena *arena = sg_arena_new();
    shares *s = arena ? sg_arena_alloc(arena, sizeof *s) : NULL;
    double *numbers = s ? sg_arena_array(arena, cells * ((size_t)n_factors + 2), sizeof *numbers) : NULL;
    double *wide =
        s ? sg_arena_array(arena, vectors + (size_t)(width * width) + (size_t)n_factors, sizeof *wide) : NULL;
    int *ranks = s ? sg_arena_array(arena, (size_t)n_factors + 1, sizeof *ranks) : NULL;
    if (!numbers || !wide || !ranks) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "qk: out of memory for %zu scores", cells);
    }
    double *rest = numbers + cells, *share = rest + cells, *rows = wide + vectors, *squares = rows + width * width;
    *s = (shares){.face = {.n_factors = n_factors,
                           .n_queries = n_queries,
                           .n_keys = n_keys,
                           .score = numbers,
                           .rest = rest,
                           .share = share,
                           .square = squares},
                  .arena = arena};
    for (sg_dim i = 0; i < n_queries * width; i++)
        wide[i] = (double)q[i];
    for (sg_dim i = 0; i < n_keys * width; i++)
        wide[n_queries * width + i] = (double)k[i];
    splitting w = {.g = NULL};
    sg_status status = sg_qk_orthogonal(rows, ranks, n_factors, bases, width, err);
    if (status == SG_OK)
        status = split(&w, s, rows, ranks, wide, wide + n_queries * width, width, exec, err);
    sg_session_free(w.session);
    sg_graph_free(w.g);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    centre(numbers, s, visible, scale);
    memcpy(rest, numbers, cells * sizeof *rest);
    for (int f = 0; f < n_factors; f++) {
        double *of = share + (size_t)f * cells;
        centre(of, s, visible, scale);
        for (size_t i = 0; i < cells; i++)
            rest[i] -= of[i];
        squares[f] = square(of, (sg_dim)cells);
    }
    s->face.score_square = square(numbers, (sg_dim)cells);
    s->face.rest_square = square(rest, (sg_dim)cells);
    *out = &s->face;
    return SG_OK;
}

void sg_qk_shares_free(sg_qk_shares *s)
{
    if (s)
        sg_arena_free(((shares *)s)->arena);
}

/* ---- queries and keys in one plane ---- */

static double along(const float *x, const double *v, sg_dim width)
{
    double sum = 0;
    for (sg_dim d = 0; d < width; d++)
        sum += (double)x[d] * v[d];
    return sum;
}

sg_status sg_qk_joint(double *out, double *c, const sg_qk_basis *basis, sg_dim n_queries, const float *q, sg_dim n_keys,
                      const float *k, sg_dim width, sg_error *err)
{
    const sg_dim n = n_queries + n_keys, r = basis->rank;
    if (r < 1 || n < 1)
        return sg_fail(err, SG_EARG, "qk: %" PRId64 " points in %" PRId64 " dimensions", n, r);
    double *in = malloc((size_t)(n * r + r * r) * sizeof *in), of[2] = {0, 0};
    if (!in)
        return sg_fail(err, SG_ENOMEM, "qk: out of memory");
    double *second = in + n * r;
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < r; j++) {
            const float *x = i < n_queries ? q + i * width : k + (i - n_queries) * width;
            in[i * r + j] = along(x, basis->rows + j * width, width);
            of[i >= n_queries] += in[i * r + j] * in[i * r + j] / (double)(i < n_queries ? n_queries : n_keys);
        }
    /* As long in the mean: |q|^2 / c^2 = |k|^2 c^2. */
    *c = of[0] > 0 && of[1] > 0 ? pow(of[0] / of[1], .25) : 1;
    memset(second, 0, (size_t)(r * r) * sizeof *second);
    for (sg_dim i = 0; i < n; i++) {
        for (sg_dim j = 0; j < r; j++)
            in[i * r + j] *= i < n_queries ? 1 / *c : *c;
        for (sg_dim a = 0; a < r; a++)
            for (sg_dim b = 0; b < r; b++)
                second[a * r + b] += in[i * r + a] * in[i * r + b];
    }
    sg_eigen *axes;
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){r, r}, second);
    const sg_status status = sg_eigen_new(&axes, &t, err);
    if (status == SG_OK) {
        const double *v = axes->vectors.data;
        for (sg_dim i = 0; i < n; i++)
            for (int a = 0; a < 2; a++)
                out[i * 2 + a] = a < r ? dot(in + i * r, v + (r - 1 - a) * r, r) : 0;
        sg_eigen_free(axes);
    }
    free(in);
    return status;
}
