/* The value that attention ends in is found by walking from attn.hook_z through reshapes, a product with a variable and
 * the addition of one. Whatever is fed for hook_z, that value is W_O z + b: unit vectors read W_O off it, zeros b. */
#include "sightglass/minkowski.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/linalg.h"
#include "sightglass/simplex.h"

sg_minkowski_opts sg_minkowski_defaults(void)
{
    return (sg_minkowski_opts){.share = .5, .other = -1, .exec = sg_exec_defaults()};
}

typedef struct check {
    const sg_model *m;
    const sg_model_info *in;
    const sg_rows *rows;
    const sg_minkowski_opts *opts;
    sg_minkowski *k;
    sg_arena *arena, *scratch;
    sg_error *err;
    sg_glass *glass;
    sg_value *v, *pattern, *z, *out, *other_v;
    sg_dim time, heads, kv, d_head, width; /* time: of the longest row */
    double *w;                             /* [heads*d_head,width] rows of W_O' */
    double *b;                             /* [width] */
    double *values, *other_values;         /* [rows,time,kv,d_head] */
    double *patterns, *outs;               /* [rows,heads,time,time], [rows,time,width] */
} check;

/* ---- the graph ---- */

static bool is_variable(const sg_value *v)
{
    while (sg_value_n_in(v) == 1)
        v = sg_value_in(v, 0);
    return sg_value_n_in(v) == 0;
}

/* What reads v and nothing else of the run; NULL where that is no affine map, or where several do. */
static sg_value *affine_reader(const sg_graph *g, const sg_value *v)
{
    sg_value *only = NULL;
    for (int i = sg_value_id(v) + 1; i < sg_graph_size(g); i++) {
        sg_value *u = sg_graph_at(g, i);
        for (int k = 0; k < sg_value_n_in(u); k++)
            if (sg_value_in(u, k) == v) {
                if (only && only != u)
                    return NULL;
                only = u;
            }
    }
    if (!only)
        return NULL;
    const char *op = sg_value_op(only);
    if (!strcmp(op, "reshape") || !strcmp(op, "identity"))
        return only;
    if (sg_value_n_in(only) != 2 || (strncmp(op, "matmul", 6) != 0 && strcmp(op, "add") != 0))
        return NULL;
    return is_variable(sg_value_in(only, sg_value_in(only, 0) == v)) ? only : NULL;
}

static sg_status find(check *c, int layer, const char *what, sg_value **out)
{
    char name[64];
    snprintf(name, sizeof name, "blocks.%d.attn.%s", layer, what);
    return sg_glass_find(c->glass, name, out, c->err);
}

static sg_status look(check *c)
{
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec = c->opts->exec;
    opts.seed = c->opts->seed;
    SG_TRY(sg_glass_new(&c->glass, c->m, opts, c->err));
    SG_TRY(find(c, c->k->layer, "hook_v", &c->v));
    SG_TRY(find(c, c->k->layer, "hook_pattern", &c->pattern));
    SG_TRY(find(c, c->k->layer, "hook_z", &c->z));
    if (c->k->other >= 0)
        SG_TRY(find(c, c->k->other, "hook_v", &c->other_v));
    const sg_graph *g = sg_glass_graph(c->glass);
    bool product = false;
    for (sg_value *at = c->z; at; at = affine_reader(g, at)) {
        product = product || !strncmp(sg_value_op(at), "matmul", 6);
        c->out = at;
        if (at != c->z && sg_value_is_named(at))
            break;
    }
    if (!product || sg_value_n_dims(c->out) != 3)
        return sg_fail(c->err, SG_EUNSUPPORTED, "minkowski: what follows blocks.%d.attn.hook_z is no affine map alone",
                       c->k->layer);
    c->kv = sg_value_dim(c->v, 2);
    c->heads = sg_value_dim(c->z, 2);
    c->d_head = sg_value_dim(c->z, 3);
    c->width = sg_value_dim(c->out, -1);
    c->k->d_model = c->width;
    c->k->n_heads = c->heads;
    c->k->n_kv_heads = c->kv;
    return SG_OK;
}

static double *numbers(check *c, sg_arena *arena, sg_dim count)
{
    double *x = sg_arena_array(arena, (size_t)SG_MAX(count, 1), sizeof *x);
    if (!x)
        (void)sg_fail(c->err, SG_ENOMEM, "minkowski: out of memory for %" PRId64 " numbers", count);
    return x;
}

/* W_O and b: rows of as many positions as the context has, each with another unit vector for hook_z. */
static sg_status read_map(check *c)
{
    const sg_dim n = c->heads * c->d_head, per_row = SG_MIN(n + 1, c->in->n_context), n_rows = n / per_row + 1;
    int32_t *tokens = sg_arena_array(c->scratch, (size_t)per_row, sizeof *tokens);
    const int32_t **rows = sg_arena_array(c->scratch, (size_t)n_rows, sizeof *rows);
    sg_dim *lengths = sg_arena_array(c->scratch, (size_t)n_rows, sizeof *lengths);
    const sg_dtype dtype = sg_value_dtype(c->z);
    void *unit = sg_arena_array(c->scratch, (size_t)(n_rows * per_row * n), sg_dtype_bytes(dtype));
    char name[64];
    c->w = numbers(c, c->scratch, n * c->width);
    c->b = numbers(c, c->scratch, c->width);
    if (!tokens || !rows || !lengths || !unit || !c->w || !c->b)
        return sg_fail(c->err, SG_ENOMEM, "minkowski: out of memory for %" PRId64 " unit vectors", n);
    for (sg_dim i = 0; i < n_rows; i++) {
        rows[i] = tokens;
        lengths[i] = per_row;
    }
    snprintf(name, sizeof name, "blocks.%d.attn.hook_z", c->k->layer);
    sg_named_feed feed = {name, sg_tensor_of(dtype, 4, (sg_dim[]){n_rows, per_row, c->heads, c->d_head}, unit)};
    for (sg_dim i = 0; i < n; i++)
        sg_tensor_set(&feed.tensor, i * n + i, 1); /* position n, and what lies behind, stays 0 */
    sg_tensor got;
    const sg_rows asked = {.n_rows = (int)n_rows, .tokens = rows, .lengths = lengths};
    SG_TRY(sg_glass_run(c->glass, &asked, 1, &feed, 1, &c->out, &got, c->err));
    for (sg_dim j = 0; j < c->width; j++) {
        c->b[j] = sg_tensor_get(&got, n * c->width + j);
        c->k->bias = c->k->bias || c->b[j] != 0;
        for (sg_dim i = 0; i < n; i++)
            c->w[i * c->width + j] = sg_tensor_get(&got, i * c->width + j) - c->b[j];
    }
    return SG_OK;
}

static sg_status fetch(check *c)
{
    sg_value *fetches[4] = {c->v, c->pattern, c->out, c->other_v};
    sg_tensor got[4];
    double **to[4] = {&c->values, &c->patterns, &c->outs, &c->other_values};
    const int n = c->other_v ? 4 : 3;
    SG_TRY(sg_glass_run(c->glass, c->rows, 0, NULL, n, fetches, got, c->err));
    c->time = got[0].dims[1];
    for (int i = 0; i < n; i++) {
        const sg_dim count = sg_tensor_count(&got[i]);
        *to[i] = numbers(c, c->scratch, count);
        if (!*to[i])
            return SG_ENOMEM;
        sg_convert(*to[i], SG_F64, got[i].data, got[i].dtype, count);
    }
    return SG_OK;
}

/* ---- the two tests ---- */

/* How far row r's tokens lie from the beginning of the rows' common time. */
static sg_dim offset_of(const check *c, int r)
{
    return c->rows->pad_left ? c->time - c->rows->lengths[r] : 0;
}

static const double *value_at(const check *c, const double *values, int r, sg_dim t, sg_dim head)
{
    return values + (((sg_dim)r * c->time + t) * c->kv + head / (c->heads / c->kv)) * c->d_head;
}

/* to [width]: W_O^h v. */
static void write_head(const check *c, double *to, sg_dim head, const double *v, double by)
{
    for (sg_dim i = 0; i < c->d_head; i++) {
        const double *row = c->w + (head * c->d_head + i) * c->width, x = by * v[i];
        for (sg_dim j = 0; j < c->width; j++)
            to[j] += x * row[j];
    }
}

static sg_status rebuild(check *c)
{
    double error = 0, whole = 0, *made = numbers(c, c->scratch, c->width), *z = numbers(c, c->scratch, c->d_head);
    if (!made || !z)
        return SG_ENOMEM;
    for (int r = 0; r < c->rows->n_rows; r++)
        for (sg_dim p = 0; p < c->rows->lengths[r]; p++) {
            const sg_dim t = p + offset_of(c, r);
            memcpy(made, c->b, (size_t)c->width * sizeof *made);
            for (sg_dim h = 0; h < c->heads; h++) {
                memset(z, 0, (size_t)c->d_head * sizeof *z);
                for (sg_dim s = 0; s < c->time; s++) {
                    const double a = c->patterns[(((sg_dim)r * c->heads + h) * c->time + t) * c->time + s],
                                 *v = value_at(c, c->values, r, s, h);
                    for (sg_dim i = 0; i < c->d_head; i++)
                        z[i] += a * v[i];
                }
                write_head(c, made, h, z, 1);
            }
            const double *out = c->outs + ((sg_dim)r * c->time + t) * c->width;
            for (sg_dim j = 0; j < c->width; j++) {
                error += (made[j] - out[j]) * (made[j] - out[j]);
                whole += (out[j] - c->b[j]) * (out[j] - c->b[j]);
            }
            c->k->n_positions++;
        }
    c->k->rebuilt = whole > 0 ? sqrt(error / whole) : 0;
    return SG_OK;
}

/* Vertices of every head at positions first..first+n of a row, and the residual of `goal` among their mixtures. */
static sg_status distance(check *c, double *vertices, const double *values, int r, sg_dim first, sg_dim n,
                          const double *goal, const sg_dim *blocks, double *residual)
{
    memset(vertices, 0, (size_t)(c->heads * n * c->width) * sizeof *vertices);
    for (sg_dim h = 0; h < c->heads; h++)
        for (sg_dim s = 0; s < n; s++)
            write_head(c, vertices + (h * n + s) * c->width, h, value_at(c, values, r, first + s, h), 1);
    const sg_tensor v = sg_tensor_of(SG_F64, 2, (sg_dim[]){c->heads * n, c->width}, vertices),
                    x = sg_tensor_of(SG_F64, 2, (sg_dim[]){1, c->width}, (void *)(uintptr_t)goal);
    sg_simplex_fit *fit;
    SG_TRY(sg_simplex_fit_new(&fit, &v, (int)c->heads, blocks, &x, NULL, sg_simplex_defaults(), c->err));
    *residual = sg_tensor_get(&fit->residual, 0);
    sg_simplex_fit_free(fit);
    return SG_OK;
}

typedef struct sums {
    double whole, member, other_layer, other_sequence, whole_sequence;
} sums;

static sg_status judge(check *c, int r, sg_dim p, double *vertices, double *goal, sg_dim *blocks, sums *s)
{
    const bool causal = c->in->task == SG_TASK_NEXT;
    const sg_dim length = c->rows->lengths[r], n = causal ? p + 1 : length, first = offset_of(c, r);
    sg_minkowski_place *at = &c->k->places[c->k->n_places++];
    const double *out = c->outs + ((sg_dim)r * c->time + first + p) * c->width;
    double size = 0, rest;
    for (sg_dim j = 0; j < c->width; j++) {
        goal[j] = out[j] - c->b[j];
        size += goal[j] * goal[j];
    }
    for (sg_dim h = 0; h < c->heads; h++)
        blocks[h] = n;
    *at = (sg_minkowski_place){r, p, c->heads * n, (double)NAN, (double)NAN, (double)NAN};
    size = sqrt(fmax(size, 1e-300));
    SG_TRY(distance(c, vertices, c->values, r, first, n, goal, blocks, &rest));
    at->member = rest / size;
    s->whole += size * size;
    s->member += rest * rest;
    c->k->worst = fmax(c->k->worst, at->member);
    if (c->other_values) {
        SG_TRY(distance(c, vertices, c->other_values, r, first, n, goal, blocks, &rest));
        at->other_layer = rest / size;
        s->other_layer += rest * rest;
    }
    const int next = (r + 1) % c->rows->n_rows;
    if (next != r && c->rows->lengths[next] >= n) {
        SG_TRY(distance(c, vertices, c->values, next, offset_of(c, next), n, goal, blocks, &rest));
        at->other_sequence = rest / size;
        s->other_sequence += rest * rest;
        s->whole_sequence += size * size;
    }
    c->k->most_vertices = SG_MAX(c->k->most_vertices, c->heads * n);
    c->k->most_dims = SG_MAX(c->k->most_dims, c->heads * (n - 1));
    return SG_OK;
}

static sg_status membership(check *c)
{
    const sg_dim most = (sg_dim)(c->opts->share * (double)c->width) / c->heads; /* vertices of each head */
    const bool causal = c->in->task == SG_TASK_NEXT;
    sg_dim places = 0;
    for (int r = 0; r < c->rows->n_rows; r++)
        if (causal)
            places += SG_MAX(SG_MIN(most, c->rows->lengths[r]) - 1, 0);
        else
            places += c->rows->lengths[r] <= most ? c->rows->lengths[r] : 0;
    sg_minkowski *k = c->k;
    k->places = sg_arena_array(c->arena, (size_t)SG_MAX(places, 1), sizeof *k->places);
    double *vertices = numbers(c, c->scratch, most * c->heads * c->width), *goal = numbers(c, c->scratch, c->width);
    sg_dim *blocks = sg_arena_array(c->scratch, (size_t)c->heads, sizeof *blocks);
    if (!k->places || !vertices || !goal || !blocks)
        return sg_fail(c->err, SG_ENOMEM, "minkowski: out of memory for %" PRId64 " places", places);
    sums s = {0};
    for (int r = 0; r < c->rows->n_rows; r++) {
        const sg_dim length = c->rows->lengths[r];
        for (sg_dim p = causal ? 1 : 0; p < length && (causal ? p < most : length <= most);
             p++) /* one vertex each shows nothing */
            SG_TRY(judge(c, r, p, vertices, goal, blocks, &s));
    }
    k->member = k->n_places ? sqrt(s.member / s.whole) : (double)NAN;
    k->worst = k->n_places ? k->worst : (double)NAN;
    k->other_layer = k->n_places && c->other_values ? sqrt(s.other_layer / s.whole) : (double)NAN;
    k->other_sequence = s.whole_sequence > 0 ? sqrt(s.other_sequence / s.whole_sequence) : (double)NAN;
    return SG_OK;
}

/* ---- all of it ---- */

typedef struct owned {
    sg_minkowski face;
    sg_arena *arena;
} owned;

static sg_status sensible(const check *c)
{
    const sg_dim n = c->in->n_layers, layer = c->k->layer, other = c->opts->other;
    if (layer < 0 || layer >= n)
        return sg_fail(c->err, SG_EARG, "minkowski: layer %" PRId64 ", wanted 0 to %" PRId64, layer, n - 1);
    if (other < -1 || other >= n || other == layer)
        return sg_fail(c->err, SG_EARG,
                       "minkowski: another layer than %" PRId64 " is wanted, of 0 to %" PRId64 ", not %" PRId64, layer,
                       n - 1, other);
    if (!c->rows || c->rows->n_rows < 1)
        return sg_fail(c->err, SG_EARG, "minkowski: no tokens");
    if (!(c->opts->share > 0 && c->opts->share <= 1))
        return sg_fail(c->err, SG_EARG, "minkowski: vertices to a share of %g of the width, wanted up to 1",
                       c->opts->share);
    c->k->other = other >= 0 ? (int)other : layer + 1 < n ? (int)layer + 1 : (int)layer - 1;
    return SG_OK;
}

static sg_status run(check *c)
{
    SG_TRY(sensible(c));
    SG_TRY(look(c));
    SG_TRY(read_map(c));
    SG_TRY(fetch(c));
    SG_TRY(rebuild(c));
    return membership(c);
}

sg_status sg_minkowski_check(sg_minkowski **out, const sg_model *m, int layer, const sg_rows *rows,
                             sg_minkowski_opts opts, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new(), *scratch = sg_arena_new();
    owned *o = arena && scratch ? sg_arena_alloc(arena, sizeof *o) : NULL;
    sg_status status = o ? SG_OK : sg_fail(err, SG_ENOMEM, "minkowski: out of memory");
    if (status == SG_OK) {
        o->arena = arena;
        o->face.layer = layer;
        check c = {.m = m,
                   .in = sg_model_get_info(m),
                   .rows = rows,
                   .opts = &opts,
                   .k = &o->face,
                   .arena = arena,
                   .scratch = scratch,
                   .err = err};
        status = run(&c);
        sg_glass_free(c.glass);
    }
    sg_arena_free(scratch);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_minkowski_free(sg_minkowski *k)
{
    if (k)
        sg_arena_free(((owned *)k)->arena);
}
