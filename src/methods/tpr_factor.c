/* A linear probe's weights as a product of parts, by alternating least squares: with two of binding, roles and fillers
 * held, the error is quadratic in the third, and one least squares solves it (a Tucker decomposition of which one way
 * is left whole; Tucker 1966, Kroonenberg & de Leeuw 1980). Each solve lowers the error or leaves it, so it never
 * rises.
 *
 * All in f64. What is multiplied is one graph, of which a solve fetches the matrix that it needs. */
#include "methods/tpr_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/linalg.h"
#include "sightglass/rng.h"

enum { U, R, F, N_PARTS };

sg_tpr_factor_opts sg_tpr_factor_defaults(void)
{
    return (sg_tpr_factor_opts){.role_dim = 16, .filler_dim = 2, .n_rounds = 100, .tolerance = 1e-7};
}

/* The struct leads an arena that holds the rest but the probe. */
typedef struct owned {
    sg_tpr_factored face;
    sg_arena *arena;
} owned;

typedef struct work {
    sg_dim D, S, C, r, f;
    sg_graph *g;
    sg_session *session;
    sg_value *input[N_PARTS], *w;
    sg_value *left[N_PARTS]; /* what part i is multiplied by, with as many columns as i has numbers a row */
    sg_value *error2;
    sg_tensor part[N_PARTS], target; /* target: W, centred */
    sg_tensor right[N_PARTS];        /* W with its axes so that left[i] x = right[i] gives part i */
} work;

/* ---- the graph ---- */

static void build(work *t)
{
    const sg_dim D = t->D, S = t->S, C = t->C, r = t->r, f = t->f;
    sg_graph *g = t->g;
    sg_value *u = t->input[U] = sg_input(g, "binding", SG_F64, 3, (sg_dim[]){D, r, f});
    sg_value *roles = t->input[R] = sg_input(g, "roles", SG_F64, 2, (sg_dim[]){S, r});
    sg_value *fillers = t->input[F] = sg_input(g, "fillers", SG_F64, 2, (sg_dim[]){C, f});
    t->w = sg_input(g, "w", SG_F64, 3, (sg_dim[]){D, S, C});
    sg_value *bindings = tpr_bindings(g, roles, fillers); /* [r f,S C] */
    t->left[U] = sg_swap_axes(g, bindings, 0, 1);         /* [S C,r f] */
    /* [D r,C], then as [D C,r] */
    sg_value *filled = sg_matmul(g, sg_reshape(g, u, 2, (sg_dim[]){D * r, f}), fillers, false, true);
    filled = sg_swap_axes(g, sg_reshape(g, filled, 3, (sg_dim[]){D, r, C}), 1, 2);
    t->left[R] = sg_reshape(g, filled, 2, (sg_dim[]){D * C, r});
    /* [D,f,S], then as [D S,f] */
    sg_value *placed = sg_matmul(g, sg_swap_axes(g, u, 1, 2), roles, false, true);
    t->left[F] = sg_reshape(g, sg_swap_axes(g, placed, 1, 2), 2, (sg_dim[]){D * S, f});
    sg_value *made = sg_matmul(g, sg_reshape(g, u, 2, (sg_dim[]){D, r * f}), bindings, false, false);
    sg_value *missed = sg_sub(g, sg_reshape(g, made, 3, (sg_dim[]){D, S, C}), t->w);
    t->error2 = sg_sum_all(g, sg_square(g, missed));
}

static sg_status fetch(sg_tensor *out, work *t, sg_value *v, sg_error *err)
{
    const sg_feed feeds[] = {
        {t->input[U], t->part[U]}, {t->input[R], t->part[R]}, {t->input[F], t->part[F]}, {t->w, t->target}};
    return sg_session_run(t->session, (int)SG_COUNT_OF(feeds), feeds, 1, &v, out, err);
}

/* ---- W, turned ---- */

/* [n axes] with axis i of the result being axis perm[i] of t, as a matrix of `columns` columns. */
static sg_status turned(sg_tensor *out, const sg_tensor *t, const int perm[3], sg_dim columns, sg_error *err)
{
    const sg_dim *n = t->dims, stride[3] = {n[1] * n[2], n[2], 1}, count = sg_tensor_count(t);
    SG_TRY(tpr_room(out, SG_F64, 2, (sg_dim[]){count / columns, columns}, err));
    double *to = out->data;
    const double *from = t->data;
    for (sg_dim i = 0; i < n[perm[0]]; i++)
        for (sg_dim j = 0; j < n[perm[1]]; j++)
            for (sg_dim k = 0; k < n[perm[2]]; k++)
                *to++ = from[i * stride[perm[0]] + j * stride[perm[1]] + k * stride[perm[2]]];
    return SG_OK;
}

/* ---- starting ---- */

static void draw(sg_tensor *t, uint64_t seed, uint32_t stream)
{
    sg_rng g = sg_rng_new(seed, stream);
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        ((double *)t->data)[i] = sg_rng_normal(&g);
}

/* The leading right singular vectors of W seen by role, or by filler: [n,k] of a matrix [.,n]. What it has too few of
 * stays 0. */
static sg_status leading(sg_tensor *part, const sg_tensor *by_column, sg_error *err)
{
    sg_svd *svd;
    SG_TRY(sg_svd_new(&svd, by_column, SG_FACTORS_THIN, err));
    const sg_dim n = part->dims[0], k = part->dims[1], there = SG_MIN(k, svd->s.dims[0]);
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < there; j++)
            ((double *)part->data)[i * k + j] = ((const double *)svd->vt.data)[j * n + i];
    sg_svd_free(svd);
    return SG_OK;
}

static sg_status start(work *t, const sg_tpr_factor_opts *o, sg_error *err)
{
    if (o->random) {
        for (int i = 0; i < N_PARTS; i++)
            draw(&t->part[i], o->seed, (uint32_t)i);
        return SG_OK;
    }
    SG_TRY(leading(&t->part[R], &t->right[R], err));
    return leading(&t->part[F], &t->right[F], err);
}

/* ---- solving ---- */

static sg_status solve(work *t, int i, sg_error *err)
{
    sg_tensor left;
    sg_lstsq *fit;
    SG_TRY(fetch(&left, t, t->left[i], err));
    SG_TRY(sg_lstsq_new(&fit, &left, &t->right[i], SG_RCOND_DEFAULT, err));
    const sg_dim m = fit->x.dims[0], n = fit->x.dims[1]; /* the part transposed */
    for (sg_dim k = 0; k < m; k++)
        for (sg_dim j = 0; j < n; j++)
            ((double *)t->part[i].data)[j * m + k] = ((const double *)fit->x.data)[k * n + j];
    sg_lstsq_free(fit);
    return SG_OK;
}

static sg_status iterate(work *t, sg_tpr_factored *out, const sg_tpr_factor_opts *o, sg_error *err)
{
    double norm2 = 0, before = (double)INFINITY;
    for (sg_dim i = 0; i < sg_tensor_count(&t->target); i++)
        norm2 += ((const double *)t->target.data)[i] * ((const double *)t->target.data)[i];
    if (!(norm2 > 0))
        return sg_fail(err, SG_EARG, "tpr: all classes have the same weights, there is nothing to factor");
    SG_TRY(start(t, o, err));
    SG_TRY(solve(t, U, err));
    for (int k = 0; k < o->n_rounds; k++) {
        sg_tensor error2;
        SG_TRY(solve(t, F, err));
        SG_TRY(solve(t, R, err));
        SG_TRY(solve(t, U, err));
        SG_TRY(fetch(&error2, t, t->error2, err));
        out->error[out->n_rounds++] = sqrt(sg_tensor_get(&error2, 0) / norm2);
        if (before - out->error[k] < o->tolerance)
            break;
        before = out->error[k];
    }
    return SG_OK;
}

static sg_status to_probe(sg_tpr **out, const work *t, sg_error *err)
{
    sg_tensor part[N_PARTS] = {{0}};
    sg_status status = SG_OK;
    for (int i = 0; status == SG_OK && i < N_PARTS; i++)
        status = tpr_copy(&part[i], &t->part[i], SG_F32, err);
    if (status == SG_OK)
        status = sg_tpr_of(out, &(sg_tpr_parts){.binding = part[U], .roles = part[R], .fillers = part[F]}, err);
    for (int i = 0; i < N_PARTS; i++)
        free(part[i].data);
    return status;
}

static sg_status factor(sg_tpr_factored *out, work *t, const sg_tensor *w, const sg_tpr_factor_opts *o, sg_error *err)
{
    static const int by_binding[3] = {1, 2, 0}, by_role[3] = {0, 2, 1}, by_filler[3] = {0, 1, 2};
    t->D = w->dims[0], t->S = w->dims[1], t->C = w->dims[2];
    t->r = o->role_dim, t->f = o->filler_dim;
    SG_TRY(tpr_centred(&t->target, w, err));
    SG_TRY(turned(&t->right[U], &t->target, by_binding, t->D, err));
    SG_TRY(turned(&t->right[R], &t->target, by_role, t->S, err));
    SG_TRY(turned(&t->right[F], &t->target, by_filler, t->C, err));
    SG_TRY(tpr_room(&t->part[U], SG_F64, 3, (sg_dim[]){t->D, t->r, t->f}, err));
    SG_TRY(tpr_room(&t->part[R], SG_F64, 2, (sg_dim[]){t->S, t->r}, err));
    SG_TRY(tpr_room(&t->part[F], SG_F64, 2, (sg_dim[]){t->C, t->f}, err));
    build(t);
    SG_TRY(sg_graph_status(t->g, err));
    SG_TRY(sg_session_new(&t->session, t->g, NULL, sg_exec_defaults(), err));
    SG_TRY(iterate(t, out, o, err));
    return to_probe(&out->probe, t, err);
}

static sg_status compare(sg_tpr_factored *out, const sg_tensor *centred, sg_error *err)
{
    const sg_dim *n = centred->dims;
    const sg_tensor flat = tpr_as(centred, 2, (sg_dim[]){n[0], n[1] * n[2]});
    sg_svd *svd;
    SG_TRY(sg_svd_new(&svd, &flat, SG_FACTORS_THIN, err));
    double all = 0, left = 0;
    for (sg_dim i = 0; i < svd->s.dims[0]; i++) {
        const double s = ((const double *)svd->s.data)[i];
        all += s * s;
        left += i < out->rank ? 0 : s * s;
    }
    out->by_rank = sqrt(left / all);
    sg_svd_free(svd);
    return SG_OK;
}

static sg_status check(const sg_tensor *w, const sg_tpr_factor_opts *o, sg_error *err)
{
    SG_TRY(tpr_check_linear(w, err));
    if (o->role_dim < 1 || o->role_dim > w->dims[1] || o->filler_dim < 1 || o->filler_dim > w->dims[2])
        return sg_fail(err, SG_EARG,
                       "tpr: %" PRId64 " and %" PRId64 " dimensions for %" PRId64 " roles and %" PRId64 " fillers",
                       o->role_dim, o->filler_dim, w->dims[1], w->dims[2]);
    if (o->n_rounds < 1 || !(o->tolerance >= 0))
        return sg_fail(err, SG_EARG, "tpr: %d rounds to a tolerance of %g", o->n_rounds, o->tolerance);
    return SG_OK;
}

sg_status sg_tpr_factor(sg_tpr_factored **out, const sg_tensor *w, sg_tpr_factor_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(w, &opts, err));
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    work t = {.g = o ? sg_graph_new() : NULL};
    if (o)
        o->arena = arena;
    if (t.g)
        o->face.error = sg_arena_array(arena, (size_t)opts.n_rounds, sizeof(double));
    sg_status status = t.g && o->face.error ? SG_OK : sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    if (status == SG_OK)
        status = factor(&o->face, &t, w, &opts, err);
    if (status == SG_OK) {
        o->face.rank = sg_tpr_matched_rank(t.D, t.S, t.C, sg_tpr_n_parameters(o->face.probe));
        status = compare(&o->face, &t.target, err);
    }
    sg_session_free(t.session);
    sg_graph_free(t.g);
    for (int i = 0; i < N_PARTS; i++) {
        free(t.part[i].data);
        free(t.right[i].data);
    }
    free(t.target.data);
    if (status != SG_OK) {
        if (o)
            sg_tpr_free(o->face.probe);
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_tpr_factored_free(sg_tpr_factored *f)
{
    if (!f)
        return;
    sg_tpr_free(f->probe);
    sg_arena_free(((owned *)f)->arena);
}

/* ---- the control of the same size ---- */

sg_dim sg_tpr_matched_rank(sg_dim d, sg_dim s, sg_dim c, sg_dim n_parameters)
{
    return SG_MAX(SG_MIN(n_parameters / (d + s * c), SG_MIN(d, s * c)), 1);
}

sg_status sg_tpr_truncated(sg_tensor *out, const sg_tensor *w, sg_dim rank, sg_error *err)
{
    SG_TRY(tpr_check_linear(w, err));
    const sg_dim *n = w->dims;
    if (rank < 1 || rank > SG_MIN(n[0], n[1] * n[2]))
        return sg_fail(err, SG_EARG, "tpr: no rank %" PRId64 " of a [%" PRId64 ",%" PRId64 "]", rank, n[0],
                       n[1] * n[2]);
    const sg_tensor flat = tpr_as(w, 2, (sg_dim[]){n[0], n[1] * n[2]});
    sg_svd *svd;
    SG_TRY(sg_svd_new(&svd, &flat, SG_FACTORS_THIN, err));
    /* u diag(s) over the first columns, then by the first rows of vt. */
    const sg_dim k = svd->s.dims[0];
    sg_tensor left = {0}, made = {0};
    sg_status status = tpr_room(&left, w->dtype, 2, (sg_dim[]){n[0], rank}, err);
    if (status == SG_OK) {
        for (sg_dim i = 0; i < n[0]; i++)
            for (sg_dim j = 0; j < rank; j++)
                sg_tensor_set(&left, i * rank + j, sg_tensor_get(&svd->u, i * k + j) * sg_tensor_get(&svd->s, j));
        sg_tensor right = svd->vt;
        right.dims[0] = rank;
        status = tpr_product(&made, &left, false, &right, false, err);
    }
    if (status == SG_OK)
        *out = tpr_as(&made, 3, n);
    free(left.data);
    sg_svd_free(svd);
    return status;
}
