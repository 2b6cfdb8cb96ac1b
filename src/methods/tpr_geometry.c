/* What can be read off embeddings once nothing about them is arbitrary any more. */
#include "methods/tpr_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/linalg.h"
#include "sightglass/rng.h"

/* ---- linear probes ---- */

sg_status tpr_check_linear(const sg_tensor *w, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (w->dtype != SG_F32 && w->dtype != SG_F64)
        return sg_fail(err, SG_ETYPE, "tpr: the weights are %s, wanted f32 or f64", sg_dtype_name(w->dtype));
    if (w->n_dims != 3 || w->dims[0] < 1 || w->dims[1] < 1 || w->dims[2] < 2)
        return sg_fail(err, SG_ESHAPE, "tpr: the weights are %s, wanted [width,roles,classes]",
                       sg_shape_text(shape, w->n_dims, w->dims));
    return tpr_check_finite(w, "the weights", err);
}

sg_status tpr_centred(sg_tensor *out, const sg_tensor *w, sg_error *err)
{
    SG_TRY(tpr_copy(out, w, SG_F64, err));
    const sg_dim C = w->dims[2], n = w->dims[0] * w->dims[1];
    double *x = out->data;
    for (sg_dim i = 0; i < n; i++, x += C) {
        double mean = 0;
        for (sg_dim c = 0; c < C; c++)
            mean += x[c] / (double)C;
        for (sg_dim c = 0; c < C; c++)
            x[c] -= mean;
    }
    return SG_OK;
}

sg_status sg_tpr_differences(sg_tensor *out, const sg_tensor *w, int to, int from, sg_error *err)
{
    SG_TRY(tpr_check_linear(w, err));
    const sg_dim D = w->dims[0], S = w->dims[1], C = w->dims[2];
    if (to < 0 || to >= C || from < 0 || from >= C)
        return sg_fail(err, SG_EARG, "tpr: class %d less class %d, there are %" PRId64, to, from, C);
    SG_TRY(tpr_room(out, SG_F32, 2, (sg_dim[]){S, D}, err));
    for (sg_dim d = 0; d < D; d++)
        for (sg_dim s = 0; s < S; s++) {
            const sg_dim at = (d * S + s) * C;
            ((float *)out->data)[s * D + d] = (float)(sg_tensor_get(w, at + to) - sg_tensor_get(w, at + from));
        }
    return SG_OK;
}

sg_status sg_tpr_role_rows(sg_tensor *out, const sg_tensor *w, sg_error *err)
{
    sg_tensor centred;
    SG_TRY(tpr_check_linear(w, err));
    SG_TRY(tpr_centred(&centred, w, err));
    const sg_dim D = w->dims[0], S = w->dims[1], C = w->dims[2];
    const sg_status status = tpr_room(out, SG_F32, 2, (sg_dim[]){S, D * C}, err);
    for (sg_dim d = 0; status == SG_OK && d < D; d++)
        for (sg_dim s = 0; s < S; s++)
            for (sg_dim c = 0; c < C; c++)
                ((float *)out->data)[(s * D + d) * C + c] = (float)((double *)centred.data)[(d * S + s) * C + c];
    free(centred.data);
    return status;
}

sg_status sg_tpr_axis_rows(sg_tensor *rows, sg_tensor *columns, const sg_tensor *w, sg_dim n_rows, sg_error *err)
{
    const sg_dim D = w->dims[0], S = w->n_dims == 3 ? w->dims[1] : 0, C = w->dims[2], I = n_rows;
    rows->data = columns->data = NULL;
    sg_tensor role = {0};
    if (I < 1 || S % I != 0)
        return sg_fail(err, SG_EARG, "tpr: %" PRId64 " roles do not lie in %" PRId64 " rows", S, I);
    SG_TRY(sg_tpr_role_rows(&role, w, err)); /* [I J,D C] */
    const sg_dim J = S / I, n = D * C;
    *rows = tpr_as(&role, 2, (sg_dim[]){I, J * n});
    const sg_status status = tpr_room(columns, SG_F32, 2, (sg_dim[]){J, I * n}, err);
    if (status != SG_OK) {
        free(rows->data);
        rows->data = NULL;
        return status;
    }
    for (sg_dim i = 0; i < I; i++)
        for (sg_dim j = 0; j < J; j++)
            memcpy((float *)columns->data + (j * I + i) * n, (const float *)role.data + (i * J + j) * n,
                   (size_t)n * sizeof(float));
    return SG_OK;
}

/* Cosine of two roles' differences between classes a and b; NaN where one has none. */
static double likeness(const sg_tensor *w, const sg_tensor *other, sg_dim s, sg_dim a, sg_dim b)
{
    const sg_dim D = w->dims[0], S = w->dims[1], C = w->dims[2];
    double xy = 0, xx = 0, yy = 0;
    for (sg_dim d = 0; d < D; d++) {
        const sg_dim at = (d * S + s) * C;
        const double x = sg_tensor_get(w, at + a) - sg_tensor_get(w, at + b);
        const double y = sg_tensor_get(other, at + a) - sg_tensor_get(other, at + b);
        xy += x * y, xx += x * x, yy += y * y;
    }
    return xy / sqrt(xx * yy);
}

sg_status sg_tpr_likeness(double *out, double *by_role, const sg_tensor *w, const sg_tensor *other, sg_error *err)
{
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];
    SG_TRY(tpr_check_linear(w, err));
    SG_TRY(tpr_check_linear(other, err));
    if (memcmp(w->dims, other->dims, 3 * sizeof w->dims[0]) != 0)
        return sg_fail(err, SG_ESHAPE, "tpr: weights %s beside %s", sg_shape_text(a, 3, w->dims),
                       sg_shape_text(b, 3, other->dims));
    const sg_dim S = w->dims[1], C = w->dims[2], pairs = C * (C - 1) / 2;
    *out = 0;
    for (sg_dim s = 0; s < S; s++) {
        double sum = 0;
        for (sg_dim i = 0; i < C; i++)
            for (sg_dim k = i + 1; k < C; k++)
                sum += likeness(w, other, s, i, k);
        if (by_role)
            by_role[s] = sum / (double)pairs;
        *out += sum / (double)(pairs * S);
    }
    return SG_OK;
}

/* ---- the gauge ---- */

typedef struct gauge {
    sg_dim D, r, f;    /* of what it is now */
    sg_tensor binding; /* [D,r,f] f64, all the caller's to free() */
    sg_tensor roles;   /* [S,r] */
    sg_tensor fillers; /* [C,f] */
} gauge;

/* U with its axes as [r,D f], for sums over d and f. */
static sg_status by_role(sg_tensor *out, const gauge *q, sg_error *err)
{
    SG_TRY(tpr_room(out, SG_F64, 2, (sg_dim[]){q->r, q->D * q->f}, err));
    for (sg_dim d = 0; d < q->D; d++)
        for (sg_dim i = 0; i < q->r; i++)
            memcpy((double *)out->data + i * q->D * q->f + d * q->f, (double *)q->binding.data + (d * q->r + i) * q->f,
                   (size_t)q->f * sizeof(double));
    return SG_OK;
}

static void replace(sg_tensor *t, sg_tensor with)
{
    free(t->data);
    *t = with;
}

/* F = u diag(s) vt: u stays, and each U_d becomes U_d (diag(s) vt)'. */
static sg_status fix_fillers(gauge *q, sg_error *err)
{
    const sg_dim C = q->fillers.dims[0];
    sg_tensor centred, mixing = {0}, mixed = {0};
    sg_svd *svd = NULL;
    /* As weights [1,1,C] of each column: its mean over fillers goes. */
    double *x = q->fillers.data;
    for (sg_dim k = 0; k < q->f; k++) {
        double mean = 0;
        for (sg_dim c = 0; c < C; c++)
            mean += x[c * q->f + k] / (double)C;
        for (sg_dim c = 0; c < C; c++)
            x[c * q->f + k] -= mean;
    }
    centred = q->fillers;
    SG_TRY(sg_svd_new(&svd, &centred, SG_FACTORS_THIN, err));
    const sg_dim all = svd->s.dims[0], kept = SG_MAX(sg_svd_rank(svd, SG_RCOND_DEFAULT), 1);
    sg_tensor fillers = {0};
    sg_status status = tpr_room(&fillers, SG_F64, 2, (sg_dim[]){C, kept}, err);
    if (status == SG_OK)
        status = tpr_room(&mixing, SG_F64, 2, (sg_dim[]){kept, q->f}, err);
    if (status == SG_OK) {
        for (sg_dim i = 0; i < kept; i++) {
            for (sg_dim c = 0; c < C; c++)
                ((double *)fillers.data)[c * kept + i] = ((double *)svd->u.data)[c * all + i];
            for (sg_dim k = 0; k < q->f; k++)
                ((double *)mixing.data)[i * q->f + k] =
                    ((double *)svd->s.data)[i] * ((double *)svd->vt.data)[i * q->f + k];
        }
        const sg_tensor flat = tpr_as(&q->binding, 2, (sg_dim[]){q->D * q->r, q->f});
        status = tpr_product(&mixed, &flat, false, &mixing, true, err);
    }
    sg_svd_free(svd);
    free(mixing.data);
    if (status != SG_OK) {
        free(fillers.data);
        return status;
    }
    replace(&q->fillers, fillers);
    replace(&q->binding, tpr_as(&mixed, 3, (sg_dim[]){q->D, q->r, kept}));
    q->f = kept;
    return SG_OK;
}

/* M = mean over d of U_d U_d' = V' diag(m) V. With A = V' diag(sqrt m), R becomes R A and U becomes A^+ U. Where m is 0
 * to rounding no U_d has that direction, and it goes. */
static sg_status whiten(gauge *q, sg_error *err)
{
    sg_tensor u = {0}, m = {0}, forth = {0}, back = {0}, roles = {0}, turned = {0};
    sg_eigen *eigen = NULL;
    sg_dim first = 0;
    sg_status status = by_role(&u, q, err);
    if (status == SG_OK)
        status = tpr_product(&m, &u, false, &u, true, err);
    if (status == SG_OK)
        status = sg_eigen_new(&eigen, &m, err);
    if (status == SG_OK) {
        const double *value = eigen->values.data, *vector = eigen->vectors.data;
        const double least = value[q->r - 1] * (double)q->r * 1e-13;
        while (first < q->r - 1 && value[first] <= least)
            first++;
        const sg_dim kept = q->r - first;
        status = tpr_room(&forth, SG_F64, 2, (sg_dim[]){q->r, kept}, err);
        if (status == SG_OK)
            status = tpr_room(&back, SG_F64, 2, (sg_dim[]){kept, q->r}, err);
        for (sg_dim k = 0; status == SG_OK && k < kept; k++) {
            const double root = sqrt(SG_MAX(value[first + k], 0) / (double)q->D);
            for (sg_dim i = 0; i < q->r; i++) {
                const double v = vector[(first + k) * q->r + i];
                ((double *)forth.data)[i * kept + k] = v * root;
                ((double *)back.data)[k * q->r + i] = root > 0 ? v / root : 0;
            }
        }
        if (status == SG_OK)
            status = tpr_product(&roles, &q->roles, false, &forth, false, err);
        if (status == SG_OK)
            status = tpr_product(&turned, &back, false, &u, false, err); /* [kept,D f] */
    }
    if (status == SG_OK) {
        q->r = q->r - first;
        replace(&q->roles, roles);
        roles.data = NULL;
        for (sg_dim d = 0; d < q->D; d++) /* there is room: r has not grown */
            for (sg_dim i = 0; i < q->r; i++)
                memcpy((double *)q->binding.data + (d * q->r + i) * q->f,
                       (double *)turned.data + i * q->D * q->f + d * q->f, (size_t)q->f * sizeof(double));
        q->binding.dims[1] = q->r;
    }
    sg_eigen_free(eigen);
    free(u.data);
    free(m.data);
    free(forth.data);
    free(back.data);
    free(roles.data);
    free(turned.data);
    return status;
}

/* R = u diag(s) vt: R becomes u diag(s), and U becomes vt U, white as before. */
static sg_status turn(gauge *q, sg_error *err)
{
    sg_tensor u = {0}, turned = {0};
    sg_svd *svd = NULL;
    sg_status status = by_role(&u, q, err);
    if (status == SG_OK)
        status = sg_svd_new(&svd, &q->roles, SG_FACTORS_THIN, err);
    if (status == SG_OK)
        status = tpr_product(&turned, &svd->vt, false, &u, false, err);
    if (status == SG_OK) {
        const sg_dim S = q->roles.dims[0], kept = svd->s.dims[0];
        q->r = kept;
        for (sg_dim s = 0; s < S; s++)
            for (sg_dim i = 0; i < kept; i++)
                ((double *)q->roles.data)[s * kept + i] =
                    ((double *)svd->u.data)[s * kept + i] * ((double *)svd->s.data)[i];
        for (sg_dim d = 0; d < q->D; d++)
            for (sg_dim i = 0; i < kept; i++)
                memcpy((double *)q->binding.data + (d * kept + i) * q->f,
                       (double *)turned.data + i * q->D * q->f + d * q->f, (size_t)q->f * sizeof(double));
        q->roles.dims[1] = q->binding.dims[1] = kept;
    }
    sg_svd_free(svd);
    free(u.data);
    free(turned.data);
    return status;
}

sg_status sg_tpr_fix_gauge(sg_tpr **out, const sg_tpr *p, sg_error *err)
{
    *out = NULL;
    const sg_tpr_parts *from = &p->parts;
    gauge q = {.D = from->binding.dims[0], .r = from->binding.dims[1], .f = from->binding.dims[2]};
    sg_tpr_parts to = {.bias = from->bias};
    sg_status status = tpr_copy(&q.binding, &from->binding, SG_F64, err);
    if (status == SG_OK)
        status = tpr_copy(&q.roles, &from->roles, SG_F64, err);
    if (status == SG_OK)
        status = tpr_copy(&q.fillers, &from->fillers, SG_F64, err);
    if (status == SG_OK)
        status = fix_fillers(&q, err);
    if (status == SG_OK)
        status = whiten(&q, err);
    if (status == SG_OK)
        status = turn(&q, err);
    if (status == SG_OK)
        status = tpr_copy(&to.binding, &q.binding, SG_F32, err);
    if (status == SG_OK)
        status = tpr_copy(&to.roles, &q.roles, SG_F32, err);
    if (status == SG_OK)
        status = tpr_copy(&to.fillers, &q.fillers, SG_F32, err);
    if (status == SG_OK)
        status = sg_tpr_of(out, &to, err);
    free(q.binding.data);
    free(q.roles.data);
    free(q.fillers.data);
    free(to.binding.data);
    free(to.roles.data);
    free(to.fillers.data);
    return status;
}

/* ---- neighbours ---- */

void sg_tpr_board(uint8_t *adjacency, sg_dim n_rows, sg_dim n_columns)
{
    const sg_dim n = n_rows * n_columns;
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < n; j++) {
            const sg_dim down = i / n_columns - j / n_columns, right = i % n_columns - j % n_columns;
            adjacency[i * n + j] = i != j && down >= -1 && down <= 1 && right >= -1 && right <= 1;
        }
}

sg_geometry_opts sg_geometry_defaults(void)
{
    return (sg_geometry_opts){.n_permutations = 1000};
}

/* The struct leads an arena that holds the rest. */
typedef struct owned {
    sg_geometry face;
    sg_arena *arena;
} owned;

typedef struct ranking {
    sg_dim n;
    const uint8_t *adjacency;
    sg_dim *order;     /* [S,S-1] the others of each role, nearest first */
    sg_dim *degree;    /* [S] */
    sg_dim *permuted;  /* [S] which role stands in a role's place */
    double *agreement; /* [n_permutations] */
} ranking;

/* Role i stands where permuted[i] is. */
static double agreement_of(const ranking *k)
{
    sg_dim hits = 0, pairs = 0;
    for (sg_dim i = 0; i < k->n; i++) {
        const uint8_t *near = k->adjacency + k->permuted[i] * k->n;
        const sg_dim n_near = k->degree[k->permuted[i]];
        for (sg_dim j = 0; j < n_near; j++)
            hits += near[k->permuted[k->order[i * (k->n - 1) + j]]] != 0;
        pairs += n_near;
    }
    return (double)hits / (double)pairs;
}

/* By insertion: stable, so that equals stay in the order of roles. */
static void rank_others(const ranking *k, const double *cosine)
{
    for (sg_dim i = 0; i < k->n; i++) {
        sg_dim *order = k->order + i * (k->n - 1), n = 0;
        for (sg_dim j = 0; j < k->n; j++) {
            if (j == i)
                continue;
            sg_dim at = n++;
            for (; at > 0 && cosine[i * k->n + order[at - 1]] < cosine[i * k->n + j]; at--)
                order[at] = order[at - 1];
            order[at] = j;
        }
    }
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void permute(ranking *k, sg_geometry *g, const sg_geometry_opts *o)
{
    sg_rng rng = sg_rng_new(o->seed, 0);
    g->permuted = 0;
    for (int p = 0; p < o->n_permutations; p++) {
        for (sg_dim i = k->n - 1; i > 0; i--) { /* Fisher and Yates */
            const sg_dim j = (sg_dim)sg_rng_below(&rng, (uint32_t)i + 1), kept = k->permuted[i];
            k->permuted[i] = k->permuted[j];
            k->permuted[j] = kept;
        }
        k->agreement[p] = agreement_of(k);
        g->permuted += k->agreement[p] / o->n_permutations;
    }
    qsort(k->agreement, (size_t)o->n_permutations, sizeof(double), ascending);
    g->permuted_low = k->agreement[(int)(0.025 * (o->n_permutations - 1))];
    g->permuted_high = k->agreement[(int)(0.975 * (o->n_permutations - 1) + 0.5)];
}

static sg_status measure(sg_geometry *g, const sg_tensor *vectors, const uint8_t *adjacency, sg_error *err)
{
    const sg_dim n = g->n_roles;
    sg_tensor x, gram;
    SG_TRY(tpr_copy(&x, vectors, SG_F64, err));
    const sg_status status = tpr_product(&gram, &x, false, &x, true, err);
    free(x.data);
    SG_TRY(status);
    memcpy(g->gram, gram.data, sg_tensor_bytes(&gram));
    free(gram.data);
    sg_dim n_near = 0, n_far = 0;
    for (sg_dim i = 0; i < n; i++)
        if (!(g->gram[i * n + i] > 0))
            return sg_fail(err, SG_EARG, "geometry: the vector of role %" PRId64 " is 0", i);
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < n; j++) {
            const double cosine = g->gram[i * n + j] / sqrt(g->gram[i * n + i] * g->gram[j * n + j]);
            g->cosine[i * n + j] = cosine;
            if (i == j)
                continue;
            n_near += adjacency[i * n + j] != 0;
            n_far += adjacency[i * n + j] == 0;
            *(adjacency[i * n + j] ? &g->near : &g->far) += cosine;
        }
    g->near /= (double)n_near;
    g->far = n_far ? g->far / (double)n_far : (double)NAN;
    return n_near ? SG_OK : sg_fail(err, SG_EARG, "geometry: no role has a neighbour");
}

static sg_status fill(owned *o, const sg_tensor *vectors, const uint8_t *adjacency, const sg_geometry_opts *opts,
                      sg_error *err)
{
    sg_geometry *g = &o->face;
    const size_t n = (size_t)g->n_roles;
    ranking k = {.n = g->n_roles, .adjacency = adjacency};
    g->gram = sg_arena_array(o->arena, n * n, sizeof(double));
    g->cosine = sg_arena_array(o->arena, n * n, sizeof(double));
    k.order = sg_arena_array(o->arena, n * (n - 1), sizeof(sg_dim));
    k.degree = sg_arena_array(o->arena, n, sizeof(sg_dim));
    k.permuted = sg_arena_array(o->arena, n, sizeof(sg_dim));
    k.agreement = sg_arena_array(o->arena, (size_t)opts->n_permutations, sizeof(double));
    if (!g->gram || !g->cosine || !k.order || !k.degree || !k.permuted || !k.agreement)
        return sg_fail(err, SG_ENOMEM, "geometry: out of memory for %" PRId64 " roles", g->n_roles);
    SG_TRY(measure(g, vectors, adjacency, err));
    for (sg_dim i = 0; i < g->n_roles; i++) {
        k.permuted[i] = i;
        for (sg_dim j = 0; j < g->n_roles; j++)
            k.degree[i] += i != j && adjacency[i * g->n_roles + j];
    }
    rank_others(&k, g->cosine);
    g->agreement = agreement_of(&k);
    permute(&k, g, opts);
    return SG_OK;
}

sg_status sg_geometry_new(sg_geometry **out, const sg_tensor *vectors, const uint8_t *adjacency, sg_geometry_opts opts,
                          sg_error *err)
{
    *out = NULL;
    char shape[SG_SHAPE_TEXT];
    if (!sg_dtype_is_float(vectors->dtype) || vectors->n_dims != 2 || vectors->dims[0] < 2 || vectors->dims[1] < 1)
        return sg_fail(err, SG_ESHAPE, "geometry: vectors are %s %s, wanted floats [roles,width]",
                       sg_dtype_name(vectors->dtype), sg_shape_text(shape, vectors->n_dims, vectors->dims));
    if (opts.n_permutations < 1 || vectors->dims[0] > 65536)
        return sg_fail(err, SG_EARG, "geometry: %d permutations of %" PRId64 " roles", opts.n_permutations,
                       vectors->dims[0]);
    SG_TRY(tpr_check_finite(vectors, "the vectors", err));
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    if (!o) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "geometry: out of memory");
    }
    o->arena = arena;
    o->face.n_roles = vectors->dims[0];
    const sg_status status = fill(o, vectors, adjacency, &opts, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_geometry_free(sg_geometry *g)
{
    if (g)
        sg_arena_free(((owned *)g)->arena);
}
