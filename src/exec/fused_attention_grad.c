/* The gradient of attention in one step: from q, k, v, the mask and dz to dq, dk and dv. The pattern is computed again
 * for a block of queries at a time, so that neither it nor its gradient is ever stored (Dao et al. 2022, appendix B.2).
 *
 *     p = softmax(mask(c q k'))    dp = dz v'    ds = p (dp - sum(p dp))
 *     dq = c ds k                  dk = c ds' q  dv = p' dz */
#include <stdlib.h>

#include "exec/attention.h"
#include "ops/ops.h"

typedef struct attention_grad {
    sg_dim n_lead, n_queries, n_keys, width, padded, wide; /* wide: keys to whole blocks */
    matrices q, k, v, dz, mask;
    int at_q, at_k, at_v, at_dz, at_mask; /* inputs of the step; at_mask -1: none */
    int out_dq, out_dk, out_dv;           /* results of the step */
    written out[3];                       /* of dq, dk, dv */
    float scale;
    size_t scratch_each;
    int n_threads;
} attention_grad;

/* ---- kernel ---- */

/* One thread's buffers. */
typedef struct desk {
    float *keys, *values; /* turned: per block of keys [width][KEYS] */
    float *rows;          /* keys as they are: [wide][padded] */
    float *q, *dz, *out;  /* [MOST_QUERIES][padded] */
    float *p, *dp;        /* [MOST_QUERIES][wide] */
    float *dk, *dv;       /* [wide][padded] */
    open_mask open;
    mask_table table;
} desk;

static size_t numbers_of(const attention_grad *t)
{
    return (size_t)(5 * t->wide * t->padded + 3 * MOST_QUERIES * t->padded + 2 * MOST_QUERIES * t->wide + SMALL_MASK);
}

static desk desk_at(char *scratch, const attention_grad *t)
{
    float *at = (float *)(void *)scratch;
    desk d;

    d.keys = at;
    d.values = d.keys + t->wide * t->padded;
    d.rows = d.values + t->wide * t->padded;
    d.dk = d.rows + t->wide * t->padded;
    d.dv = d.dk + t->wide * t->padded;
    d.q = d.dv + t->wide * t->padded;
    d.dz = d.q + MOST_QUERIES * t->padded;
    d.out = d.dz + MOST_QUERIES * t->padded;
    d.p = d.out + MOST_QUERIES * t->padded;
    d.dp = d.p + MOST_QUERIES * t->wide;
    d.open = (open_mask){NULL, d.dp + MOST_QUERIES * t->wide};
    d.table = (mask_table){NULL, (uint8_t *)(d.open.bias + SMALL_MASK), NULL};
    d.table.reach = d.table.seen + mask_blocks(t->n_queries, t->n_keys);
    return d;
}

/* Per block of keys [width][KEYS], filled up with zeros. */
static void turn(const attention_grad *t, float *to, const float *from, sg_dim row)
{
    for (sg_dim first = 0; first < t->n_keys; first += KEYS) {
        const sg_dim n = SG_MIN((sg_dim)KEYS, t->n_keys - first);
        lay_turned(to + first * t->padded, from + first * row, row, n, t->width);
    }
}

/* Scores become the pattern, and its incoming gradient that of the scores, in one row of n numbers. */
static void one_row(float *x, float *g, sg_dim n)
{
    float best[LANES], sums[LANES] = {0}, flows[LANES] = {0};

    for (int l = 0; l < LANES; l++)
        best[l] = -INFINITY;
    for (sg_dim s = 0; s < n; s += LANES)
        SG_SIMD
    for (int l = 0; l < LANES; l++)
        best[l] = x[s + l] > best[l] ? x[s + l] : best[l];
    const float most = most_of_lanes(best);
    const float shift = most > -INFINITY && most < INFINITY ? most : 0;
    for (sg_dim s = 0; s < n; s += LANES)
        SG_SIMD
    for (int l = 0; l < LANES; l++) {
        x[s + l] = sg_expf_down(x[s + l] - shift);
        sums[l] += x[s + l];
        flows[l] += x[s + l] * g[s + l];
    }
    const float sum = sum_of_lanes(sums), flow = sum_of_lanes(flows);
    const float scale = sum == 0 ? 0 : 1 / sum, mean = sum == 0 ? 0 : flow / sum;
    SG_SIMD
    for (sg_dim s = 0; s < n; s++) {
        x[s] *= scale;
        g[s] = x[s] * (g[s] - mean);
    }
}

static void block_of_queries(const attention_grad *t, const desk *d, const float *q, const float *dz, float *dq,
                             const uint8_t *mask, const uint8_t *seen_blocks, const uint8_t *reach, const float *bias,
                             sg_dim rows)
{
    const sg_dim whole = (rows + QUERIES - 1) / QUERIES * QUERIES, wide = t->wide, padded = t->padded;
    sg_dim last = 0, reached[GROUPS] = {0}; /* keys up to here are seen by somebody, and by somebody of eight */

    lay_rows(d->q, whole, padded, q, t->q.row, rows, t->width, t->scale);
    lay_rows(d->dz, whole, padded, dz, t->dz.row, rows, t->width, 1);
    for (sg_dim first = 0; first < t->n_keys; first += KEYS) {
        const sg_dim n = SG_MIN((sg_dim)KEYS, t->n_keys - first);
        const seen what = !seen_blocks ? ALL : (seen)seen_blocks[first / KEYS];
        for (sg_dim i = 0; i < whole; i += QUERIES) {
            const sg_dim own = what == NONE ? 0 : reach ? reach[first / KEYS * GROUPS + i / QUERIES] : n;
            const sg_dim computed = whole_lanes(own);
            float *p = d->p + i * wide + first, *dp = d->dp + i * wide + first;
            if (own > 0) {
                product(d->q + i * padded, padded, 1, d->keys + first * padded, KEYS, p, wide, QUERIES, computed,
                        t->width, false);
                product(d->dz + i * padded, padded, 1, d->values + first * padded, KEYS, dp, wide, QUERIES, computed,
                        t->width, false);
                reached[i / QUERIES] = first + computed;
                last = SG_MAX(last, first + computed);
            }
            for (sg_dim r = i; r < i + QUERIES; r++) {
                float *x = d->p + r * wide + first;
                const uint8_t *m = what == SOME && !bias && r < rows ? mask + r * t->mask.row + first : NULL;
                if (bias && r < rows)
                    hide(x, bias + r * wide + first, computed);
                for (sg_dim s = 0; s < own && m; s++)
                    x[s] = m[s] ? x[s] : -INFINITY;
                for (sg_dim s = own; s < KEYS; s++) {
                    x[s] = -INFINITY;
                    d->dp[r * wide + first + s] = 0;
                }
            }
        }
    }
    for (sg_dim r = 0; r < rows; r++) {
        const sg_dim own = reached[r / QUERIES];
        one_row(d->p + r * wide, d->dp + r * wide, own);
        memset(d->p + r * wide + own, 0, (size_t)(last - own) * sizeof *d->p);
    }
    for (sg_dim r = rows; r < whole; r++) {
        memset(d->p + r * wide, 0, (size_t)last * sizeof *d->p);
        memset(d->dp + r * wide, 0, (size_t)last * sizeof *d->dp);
    }
    for (sg_dim i = 0; i < whole; i += QUERIES)
        product(d->dp + i * wide, wide, 1, d->rows, padded, d->out + i * padded, padded, QUERIES, padded,
                reached[i / QUERIES], false);
    for (sg_dim s = 0; s < last; s += QUERIES) {
        sg_dim begin = 0; /* the first query that may see any of these keys */
        while (begin < rows && reached[begin / QUERIES] <= s)
            begin += QUERIES;
        if (begin >= rows)
            continue;
        product(d->p + begin * wide + s, 1, wide, d->dz + begin * padded, padded, d->dv + s * padded, padded, QUERIES,
                padded, rows - begin, true);
        product(d->dp + begin * wide + s, 1, wide, d->q + begin * padded, padded, d->dk + s * padded, padded, QUERIES,
                padded, rows - begin, true);
    }
    for (sg_dim r = 0; r < rows; r++) {
        float *y = dq + r * t->out[0].at.row;
        const float *x = d->out + r * padded;
        SG_SIMD
        for (sg_dim p = 0; p < t->width; p++)
            y[p] = x[p] * t->scale;
    }
}

static void one_lead(const attention_grad *t, const sg_kernel_args *args, desk *d, sg_dim lead)
{
    const float *q = (const float *)args->in[t->at_q]->data + begin_of(&t->q, lead);
    const float *k = (const float *)args->in[t->at_k]->data + begin_of(&t->k, lead);
    const float *v = (const float *)args->in[t->at_v]->data + begin_of(&t->v, lead);
    const float *dz = (const float *)args->in[t->at_dz]->data + begin_of(&t->dz, lead);
    const uint8_t *mask =
        t->at_mask < 0 ? NULL : (const uint8_t *)args->in[t->at_mask]->data + begin_of(&t->mask, lead);
    float *dq = (float *)args->outs[t->out_dq]->data + t->out[0].offset + begin_of(&t->out[0].at, lead);
    float *dk = (float *)args->outs[t->out_dk]->data + t->out[1].offset + begin_of(&t->out[1].at, lead);
    float *dv = (float *)args->outs[t->out_dv]->data + t->out[2].offset + begin_of(&t->out[2].at, lead);

    const float *bias = NULL;

    if (mask && mask_is_small(t->n_queries, t->wide)) {
        lay_mask(&d->open, mask, t->mask.row, t->n_queries, t->n_keys, t->wide);
        bias = d->open.bias;
    }
    if (mask)
        look_at_all(&d->table, mask, t->mask.row, t->n_queries, t->n_keys);
    turn(t, d->keys, k, t->k.row);
    turn(t, d->values, v, t->v.row);
    lay_rows(d->rows, t->wide, t->padded, k, t->k.row, t->n_keys, t->width, 1);
    memset(d->dk, 0, (size_t)(t->wide * t->padded) * sizeof *d->dk);
    memset(d->dv, 0, (size_t)(t->wide * t->padded) * sizeof *d->dv);
    for (sg_dim row = 0; row < t->n_queries; row += MOST_QUERIES)
        block_of_queries(t, d, q + row * t->q.row, dz + row * t->dz.row, dq + row * t->out[0].at.row,
                         mask ? mask + row * t->mask.row : NULL,
                         mask ? d->table.seen + row / MOST_QUERIES * (t->wide / KEYS) : NULL,
                         mask ? d->table.reach + row / MOST_QUERIES * (t->wide / KEYS) * GROUPS : NULL, bias,
                         SG_MIN((sg_dim)MOST_QUERIES, t->n_queries - row));
    for (sg_dim s = 0; s < t->n_keys; s++) {
        memcpy(dk + s * t->out[1].at.row, d->dk + s * t->padded, (size_t)t->width * sizeof *dk);
        memcpy(dv + s * t->out[2].at.row, d->dv + s * t->padded, (size_t)t->width * sizeof *dv);
    }
}

typedef struct job {
    const attention_grad *t;
    const sg_kernel_args *args;
} job;

static void part(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const attention_grad *t = j->t;

    for (sg_dim thread = first; thread < last; thread++) {
        desk d = desk_at((char *)j->args->scratch + (size_t)thread * t->scratch_each, t);
        for (sg_dim lead = t->n_lead * thread / t->n_threads; lead < t->n_lead * (thread + 1) / t->n_threads; lead++)
            one_lead(t, j->args, &d, lead);
    }
}

static sg_status run(const sg_kernel_args *args, sg_error *err)
{
    const attention_grad *t = args->self;
    job j = {t, args};

    (void)err;
    if (t->n_lead * t->n_queries * t->width > 0)
        sg_split(t->n_threads, t->n_threads > 1 ? SG_PARALLEL : 0, t->n_threads, part, &j);
    return SG_OK;
}

/* ---- recognising ---- */

static int place_of(const sg_plan_step *step, int value)
{
    for (int i = 0; i < step->n_out; i++)
        if (step->outs[i] == value)
            return i;
    return -1;
}

static sg_status prepare(sg_planner *pl, const sg_cluster *cluster, sg_plan_step *step)
{
    attention_grad *t = cluster->self;

    t->at_q = sg_attention_index(step, t->at_q);
    t->at_k = sg_attention_index(step, t->at_k);
    t->at_v = sg_attention_index(step, t->at_v);
    t->at_dz = sg_attention_index(step, t->at_dz);
    t->at_mask = sg_attention_index(step, t->at_mask);
    t->out_dq = place_of(step, t->out[0].value);
    t->out_dk = place_of(step, t->out[1].value);
    t->out_dv = place_of(step, t->out[2].value);
    SG_ASSERT(t->out_dq >= 0 && t->out_dk >= 0 && t->out_dv >= 0);
    const double work = (double)t->n_lead * (double)t->n_queries * (double)t->n_keys * (double)t->width;
    t->n_threads = work < LEAST_WORK ? 1 : (int)SG_MIN((sg_dim)pl->p->opts.n_threads, t->n_lead);
    t->n_threads = SG_MAX(1, SG_MIN(t->n_threads, SG_MAX_THREADS));
    t->scratch_each = (numbers_of(t) * sizeof(float) + mask_table_bytes(t->n_queries, t->n_keys) + SG_BLOCK_ALIGN - 1) /
                      SG_BLOCK_ALIGN * SG_BLOCK_ALIGN;
    step->kernel = (sg_prepared){.run = run, .self = t, .scratch_bytes = t->scratch_each * (size_t)t->n_threads};
    return SG_OK;
}

/* The values of the chain; -1 where there is none. */
typedef struct backward {
    int dp, flow, sum, product, difference, masked, scaled, dq, dk, dv;
} backward;

static bool reads(const sg_planner *pl, int a, int i, int value)
{
    return pl->p->values[a].v->n_in > i && sg_plan_behind(pl, a, i) == value && sg_plan_only_renamed(pl, a, i);
}

/* The side of a two-sided operation that is not `value`; -1 if neither is. */
static int other_side(const sg_planner *pl, int a, int value)
{
    for (int i = 0; i < 2; i++)
        if (reads(pl, a, i, value))
            return 1 - i;
    return -1;
}

static bool is_product(const sg_planner *pl, int a, bool first_turned, bool second_turned)
{
    return sg_plan_is(pl, a, &sg_op_matmul) && (pl->p->values[a].attr_i[0] != 0) == first_turned &&
           (pl->p->values[a].attr_i[1] != 0) == second_turned;
}

/* The only reader of `value` that is this operation, from `from` on; -1. */
static int reader_of(const sg_planner *pl, int value, const sg_op *op, int from)
{
    const sg_plan *p = pl->p;

    for (int a = from; a < p->n_values; a++)
        if (sg_plan_is(pl, a, op))
            for (int i = 0; i < p->values[a].v->n_in; i++)
                if (sg_plan_behind(pl, a, i) == value)
                    return a;
    return -1;
}

static bool find(const sg_planner *pl, const int *readers, const chain *c, backward *b)
{
    const sg_plan *p = pl->p;
    float x;

    *b = (backward){-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    /* The two products of the pattern: with what comes in, and with that one's sum. */
    for (int a = reader_of(pl, c->pattern, &sg_op_mul, 0); a >= 0; a = reader_of(pl, c->pattern, &sg_op_mul, a + 1)) {
        const int side = other_side(pl, a, c->pattern);
        if (side < 0)
            return false;
        const int with = sg_plan_behind(pl, a, side);
        if (sg_plan_is(pl, with, &sg_op_sum))
            b->product = a, b->sum = with;
        else
            b->flow = a, b->dp = with;
    }
    if (b->flow < 0 || b->product < 0 || !is_product(pl, b->dp, false, true) || readers[b->dp] != 1 ||
        !reads(pl, b->flow, other_side(pl, b->flow, c->pattern), b->dp) || readers[b->flow] != 2 ||
        sg_plan_behind(pl, b->sum, 0) != b->flow || readers[b->sum] != 1)
        return false;
    const sg_plan_value *sum = &p->values[b->sum];
    if (sum->attr_i[0] != (int64_t)1 << (sum->view.n_dims - 1) || readers[b->product] != 1)
        return false;
    b->difference = reader_of(pl, b->product, &sg_op_sub, 0);
    if (b->difference < 0 || !reads(pl, b->difference, 0, b->flow) || !reads(pl, b->difference, 1, b->product))
        return false;
    int at = b->difference;
    if (c->masked >= 0) {
        if (readers[at] != 1)
            return false;
        b->masked = reader_of(pl, at, &sg_op_where, 0);
        if (b->masked < 0 || !reads(pl, b->masked, 1, at) || !sg_attention_scalar(pl, b->masked, 2, &x) || x < 0 ||
            x > 0 || sg_plan_input(pl, &p->values[b->masked], 0) != sg_plan_input(pl, &p->values[c->masked], 0))
            return false;
        at = b->masked;
    }
    if (c->scaled >= 0) {
        if (readers[at] != 1)
            return false;
        b->scaled = reader_of(pl, at, &sg_op_mul, 0);
        if (b->scaled < 0 || !reads(pl, b->scaled, 0, at) || !sg_attention_scalar(pl, b->scaled, 1, &x) ||
            x < c->scale || x > c->scale)
            return false;
        at = b->scaled;
    }
    if (readers[at] != 2)
        return false;
    const sg_plan_value *scores = &p->values[c->scores], *z = &p->values[c->z];
    const int q = sg_plan_input(pl, scores, 0), k = sg_plan_input(pl, scores, 1), v = sg_plan_input(pl, z, 1);
    for (int a = reader_of(pl, at, &sg_op_matmul, 0); a >= 0; a = reader_of(pl, at, &sg_op_matmul, a + 1)) {
        if (!reads(pl, a, 0, at))
            return false;
        if (is_product(pl, a, false, false) && sg_plan_input(pl, &p->values[a], 1) == k)
            b->dq = a;
        else if (is_product(pl, a, true, false) && sg_plan_input(pl, &p->values[a], 1) == q)
            b->dk = a;
    }
    for (int a = reader_of(pl, c->pattern, &sg_op_matmul, 0); a >= 0;
         a = reader_of(pl, c->pattern, &sg_op_matmul, a + 1))
        if (a != c->z && is_product(pl, a, true, false) && reads(pl, a, 0, c->pattern))
            b->dv = a;
    if (b->dq < 0 || b->dk < 0 || b->dv < 0)
        return false;
    const int dz = sg_plan_input(pl, &p->values[b->dp], 0);
    return sg_plan_input(pl, &p->values[b->dp], 1) == v && sg_plan_input(pl, &p->values[b->dv], 1) == dz;
}

static bool describe(const sg_planner *pl, const chain *c, const backward *b, attention_grad *t)
{
    const sg_plan *p = pl->p;
    const sg_plan_value *scores = &p->values[c->scores], *z = &p->values[c->z];
    const int n = z->view.n_dims, n_lead = n - 2;
    const sg_dim *dims = z->view.dims;

    *t = (attention_grad){.at_q = sg_plan_input(pl, scores, 0),
                          .at_k = sg_plan_input(pl, scores, 1),
                          .at_v = sg_plan_input(pl, z, 1),
                          .at_dz = sg_plan_input(pl, &p->values[b->dp], 0),
                          .at_mask = c->masked < 0 ? -1 : sg_plan_input(pl, &p->values[c->masked], 0),
                          .scale = c->scale,
                          .n_queries = dims[n - 2],
                          .n_keys = scores->view.dims[scores->view.n_dims - 1],
                          .width = dims[n - 1],
                          .n_lead = 1};
    t->padded = (t->width + LANES - 1) / LANES * LANES;
    t->wide = (t->n_keys + KEYS - 1) / KEYS * KEYS;
    for (int a = 0; a < n_lead; a++)
        t->n_lead *= dims[a];
    const int outs[3] = {b->dq, b->dk, b->dv};
    for (int i = 0; i < 3; i++)
        sg_attention_written(outs[i], n_lead, dims, i == 0 ? t->n_queries : t->n_keys, t->width, &t->out[i]);
    for (int i = 0; i < 3; i++)
        if (sg_view_count(&p->values[outs[i]].view) != t->n_lead * (i == 0 ? t->n_queries : t->n_keys) * t->width)
            return false;
    if (!sg_attention_matrices(&p->values[t->at_q].view, n_lead, dims, false, &t->q) ||
        !sg_attention_matrices(&p->values[t->at_k].view, n_lead, dims, false, &t->k) ||
        !sg_attention_matrices(&p->values[t->at_v].view, n_lead, dims, false, &t->v) ||
        !sg_attention_matrices(&p->values[t->at_dz].view, n_lead, dims, false, &t->dz))
        return false;
    if (c->masked >= 0) {
        const sg_plan_value *masked = &p->values[c->masked];
        if (!sg_attention_matrices(&p->values[t->at_mask].view, masked->view.n_dims - 2, masked->view.dims, true,
                                   &t->mask))
            return false;
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

sg_status sg_attention_grad_find(sg_planner *pl, const int *readers, const chain *c, bool *found)
{
    backward b;
    attention_grad t;

    *found = false;
    if (readers[c->pattern] != 4 || !find(pl, readers, c, &b) || !describe(pl, c, &b, &t))
        return SG_OK;
    int members[16] = {b.dp, b.flow, b.sum, b.product, b.difference, b.masked, b.scaled, b.dq, b.dk, b.dv}, n = 10;
    for (int i = 0; i < 3; i++)
        members[n++] = sg_attention_copied(pl, readers, &t.out[i]);
    while ((members[n] = sg_attention_joined(pl, readers, 3, t.out)) >= 0)
        n++; /* at most twice: three become one */
    const int at = sg_cluster_new(pl, prepare, "attention gradient");
    attention_grad *self = sg_arena_alloc(pl->p->arena, sizeof *self);
    bool ok = at >= 0 && self;
    qsort(members, (size_t)n, sizeof members[0], by_value);
    for (int m = 0; m < n && ok; m++)
        if (members[m] >= 0)
            ok = sg_cluster_add(pl, at, members[m]);
    if (!ok)
        return sg_fail(pl->err, SG_ENOMEM, "out of memory for a plan");
    *self = t;
    sg_cluster *cluster = &pl->clusters[at];
    cluster->self = self;
    cluster->recomputes = c->pattern;
    const int inputs[5] = {t.at_q, t.at_k, t.at_v, t.at_dz, t.at_mask};
    for (int i = 0; i < 5; i++)
        if (inputs[i] >= 0)
            cluster->inputs[cluster->n_inputs++] = inputs[i];
    *found = true;
    return SG_OK;
}
