/* Blocks of atoms that fire together: modularity Q = sum over blocks of (links inside / links - (degrees / 2 links)^2),
 * raised by moving points one by one to the neighbouring block that gains most, then by the same with blocks as points,
 * until nothing gains (Blondel, Guillaume, Lambiotte, Lefebvre 2008). Some modularity is found in any graph; what
 * counts is how much more than in graphs in which every point has as many links as it had. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/geometry.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"

enum { STREAM_OF_SWAPS = 11, SWAPS_EACH = 10, MOST_PASSES = 50 };

typedef struct edge {
    double weight;
    int32_t a, b;
} edge;

static int stronger_first(const void *x, const void *y)
{
    const edge *p = x, *q = y;
    if (p->weight != q->weight)
        return (p->weight < q->weight) - (p->weight > q->weight);
    return p->a != q->a ? (p->a > q->a) - (p->a < q->a) : (p->b > q->b) - (p->b < q->b);
}

typedef struct search {
    sg_dim n;
    sg_dim n_links;
    const edge *links;
    double *weight; /* [n,n] between points of this level, own links on the diagonal twice */
    double *degree; /* [n] */
    double *total;  /* [n] degrees of a block */
    double *gain;   /* [n] links of a point to a block */
    int32_t *at;    /* [n] block of a point of this level */
    int32_t *name;  /* [n] */
} search;

/* Moves points of this level while that gains; true: some moved. */
static bool move(search *s, sg_dim n)
{
    const double whole = 2 * (double)s->n_links;
    bool any = false;
    for (sg_dim i = 0; i < n; i++) {
        s->at[i] = (int32_t)i;
        s->total[i] = s->degree[i];
    }
    for (int pass = 0; pass < MOST_PASSES; pass++) {
        bool moved = false;
        for (sg_dim i = 0; i < n; i++) {
            const int32_t own = s->at[i];
            memset(s->gain, 0, (size_t)n * sizeof *s->gain);
            for (sg_dim j = 0; j < n; j++)
                if (j != i)
                    s->gain[s->at[j]] += s->weight[i * n + j];
            s->total[own] -= s->degree[i];
            int32_t best = own;
            double most = s->gain[own] - s->total[own] * s->degree[i] / whole;
            for (int32_t b = 0; b < n; b++) {
                const double g = s->gain[b] - s->total[b] * s->degree[i] / whole;
                if (s->gain[b] > 0 && g > most + 1e-12) {
                    most = g;
                    best = b;
                }
            }
            s->total[best] += s->degree[i];
            s->at[i] = best;
            moved = moved || best != own;
        }
        any = any || moved;
        if (!moved)
            break;
    }
    return any;
}

/* block [n] of points, modularity. */
static double blocks_of(search *s, int32_t *block, sg_dim *n_blocks)
{
    sg_dim n = s->n;
    memset(s->weight, 0, (size_t)(n * n) * sizeof *s->weight);
    for (sg_dim l = 0; l < s->n_links; l++) {
        s->weight[s->links[l].a * n + s->links[l].b] += 1;
        s->weight[s->links[l].b * n + s->links[l].a] += 1;
    }
    for (sg_dim i = 0; i < n; i++)
        block[i] = (int32_t)i;
    for (;;) {
        for (sg_dim i = 0; i < n; i++) {
            s->degree[i] = 0;
            for (sg_dim j = 0; j < n; j++)
                s->degree[i] += s->weight[i * n + j];
        }
        if (!move(s, n))
            break;
        sg_dim fewer = 0;
        for (sg_dim i = 0; i < n; i++)
            s->name[i] = -1;
        for (sg_dim i = 0; i < n; i++)
            if (s->name[s->at[i]] < 0)
                s->name[s->at[i]] = (int32_t)fewer++;
        for (sg_dim i = 0; i < s->n; i++)
            block[i] = s->name[s->at[block[i]]];
        double *sum = calloc((size_t)(fewer * fewer), sizeof *sum);
        if (!sum)
            break;
        for (sg_dim i = 0; i < n; i++)
            for (sg_dim j = 0; j < n; j++)
                sum[s->name[s->at[i]] * fewer + s->name[s->at[j]]] += s->weight[i * n + j];
        memcpy(s->weight, sum, (size_t)(fewer * fewer) * sizeof *sum);
        free(sum);
        n = fewer;
    }
    double q = 0;
    const double whole = 2 * (double)s->n_links;
    for (sg_dim i = 0; i < n; i++)
        q += s->weight[i * n + i] / whole - s->degree[i] / whole * (s->degree[i] / whole);
    *n_blocks = n;
    return q;
}

/* Two links a-b and c-d become a-d and c-b, unless one of these is there or joins a point to itself. */
static void shuffle(edge *links, sg_dim n_links, bool *linked, sg_dim n, sg_rng *r)
{
    for (sg_dim t = 0; t < SWAPS_EACH * n_links; t++) {
        edge *p = &links[sg_rng_below(r, (uint32_t)n_links)], *q = &links[sg_rng_below(r, (uint32_t)n_links)];
        const bool turn = sg_rng_below(r, 2);
        const int32_t c = turn ? q->b : q->a, d = turn ? q->a : q->b;
        if (p == q || p->a == d || c == p->b || linked[p->a * n + d] || linked[c * n + p->b])
            continue;
        linked[p->a * n + p->b] = linked[p->b * n + p->a] = linked[c * n + d] = linked[d * n + c] = false;
        const int32_t b = p->b;
        p->b = d;
        *q = (edge){0, c, b};
        linked[p->a * n + d] = linked[d * n + p->a] = linked[c * n + b] = linked[b * n + c] = true;
    }
}

typedef struct owned {
    sg_blocks face;
    sg_arena *arena;
} owned;

static sg_status fill(owned *o, const sg_tensor *weight, sg_dim n_links, int n_shuffles, uint64_t seed,
                      sg_arena *scratch, sg_error *err)
{
    const sg_dim n = weight->dims[0];
    sg_blocks *k = &o->face;
    search s = {.n = n};
    edge *all = sg_arena_array(scratch, (size_t)(n * (n - 1) / 2), sizeof *all);
    bool *linked = sg_arena_array(scratch, (size_t)(n * n), sizeof *linked);
    int32_t *other = sg_arena_array(scratch, (size_t)n, sizeof *other);
    double *null = sg_arena_array(scratch, (size_t)SG_MAX(n_shuffles, 1), sizeof *null);
    s.weight = sg_arena_array(scratch, (size_t)(n * n), sizeof(double));
    s.degree = sg_arena_array(scratch, (size_t)n, sizeof(double));
    s.total = sg_arena_array(scratch, (size_t)n, sizeof(double));
    s.gain = sg_arena_array(scratch, (size_t)n, sizeof(double));
    s.at = sg_arena_array(scratch, (size_t)n, sizeof(int32_t));
    s.name = sg_arena_array(scratch, (size_t)n, sizeof(int32_t));
    k->block = sg_arena_array(o->arena, (size_t)n, sizeof(int32_t));
    if (!all || !linked || !other || !null || !s.weight || !s.degree || !s.total || !s.gain || !s.at || !s.name ||
        !k->block)
        return sg_fail(err, SG_ENOMEM, "blocks: out of memory for %" PRId64 " points", n);
    sg_dim count = 0;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < i; j++) {
            const double w = sg_tensor_get(weight, i * n + j);
            if (!isfinite(w))
                return sg_fail(err, SG_ENUMERIC, "blocks: the weight of %d and %d is not finite", (int)i, (int)j);
            if (w > 0)
                all[count++] = (edge){w, i, j};
        }
    qsort(all, (size_t)count, sizeof *all, stronger_first);
    s.n_links = SG_MIN(count, n_links);
    s.links = all;
    if (s.n_links < 2)
        return sg_fail(err, SG_EARG, "blocks: %" PRId64 " pairs have a weight above 0, wanted at least 2", count);
    for (sg_dim l = 0; l < s.n_links; l++)
        linked[all[l].a * n + all[l].b] = linked[all[l].b * n + all[l].a] = true;
    k->n = n;
    k->n_links = s.n_links;
    k->modularity = blocks_of(&s, k->block, &k->n_blocks);
    k->n_shuffles = n_shuffles;
    double reach = 1;
    for (int i = 0; i < n_shuffles; i++) {
        sg_rng r = sg_rng_new(seed, STREAM_OF_SWAPS);
        r.step = (uint64_t)i;
        sg_dim ignored;
        shuffle(all, s.n_links, linked, n, &r);
        null[i] = blocks_of(&s, other, &ignored);
        k->null_mean += null[i] / n_shuffles;
        reach += null[i] >= k->modularity;
    }
    sg_stats_sort(n_shuffles, null);
    k->null_high = n_shuffles ? sg_stats_quantile(n_shuffles, null, .95) : (double)NAN;
    k->null_mean = n_shuffles ? k->null_mean : (double)NAN;
    k->p = reach / (1 + n_shuffles);
    return SG_OK;
}

sg_status sg_blocks_new(sg_blocks **out, const sg_tensor *weight, sg_dim n_links, int n_shuffles, uint64_t seed,
                        sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    *out = NULL;
    if (weight->n_dims != 2 || weight->dims[0] != weight->dims[1] || weight->dims[0] < 3 || weight->dims[0] > 8192 ||
        weight->dtype != SG_F64)
        return sg_fail(err, SG_ESHAPE, "blocks: weights are %s%s, wanted f64 [M,M] of 3 to 8192 points",
                       sg_dtype_name(weight->dtype), sg_shape_text(shape, weight->n_dims, weight->dims));
    if (n_links < 2 || n_shuffles < 0)
        return sg_fail(err, SG_EARG, "blocks: %" PRId64 " links and %d shuffles make no sense", n_links, n_shuffles);
    sg_arena *arena = sg_arena_new(), *scratch = sg_arena_new();
    owned *o = arena && scratch ? sg_arena_alloc(arena, sizeof *o) : NULL;
    sg_status status = o ? SG_OK : sg_fail(err, SG_ENOMEM, "blocks: out of memory");
    if (status == SG_OK) {
        o->arena = arena;
        status = fill(o, weight, n_links, n_shuffles, seed, scratch, err);
    }
    sg_arena_free(scratch);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_blocks_free(sg_blocks *b)
{
    if (b)
        sg_arena_free(((owned *)b)->arena);
}

sg_status sg_blocks_weight(const sg_tensor *weight, const sg_tensor *codes, sg_error *err)
{
    const sg_dim n = codes->dims[0], m = codes->dims[1];
    if (codes->n_dims != 2 || weight->n_dims != 2 || weight->dims[0] != m || weight->dims[1] != m ||
        weight->dtype != SG_F64)
        return sg_fail(err, SG_ESHAPE, "blocks: weights are wanted as f64 [M,M] of codes [N,M]");
    double *z = malloc((size_t)SG_MAX(n * m, 1) * sizeof *z);
    if (!z)
        return sg_fail(err, SG_ENOMEM, "blocks: out of memory for %" PRId64 " codes", n * m);
    sg_convert(z, SG_F64, codes->data, codes->dtype, n * m);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, m}, z);
    const sg_status status = sg_product(weight, &t, true, &t, false, 1, 0, err);
    free(z);
    SG_TRY(status);
    double *w = weight->data;
    for (sg_dim i = 0; i < m; i++)
        for (sg_dim j = 0; j < m; j++)
            if (i != j)
                w[i * m + j] =
                    w[i * m + i] > 0 && w[j * m + j] > 0 ? w[i * m + j] / sqrt(w[i * m + i] * w[j * m + j]) : 0;
    for (sg_dim i = 0; i < m; i++)
        w[i * m + i] = 0;
    return SG_OK;
}
