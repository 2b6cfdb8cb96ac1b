/* Attention in one step: softmax(mask(c q k')) v without storing the scores or the pattern.
 *
 * What is recognised is the chain matmul, mul by a number, where, softmax, matmul, if nobody else reads what lies
 * between; before the mask there may be a cap, c tanh(x). A few queries at a time meet blocks of keys; their softmax is kept as a running maximum and sum (Milakov &
 * Gimelshein 2018; Dao et al. 2022, algorithm 1). Blocks of keys that no query of the block may see are passed over, so
 * a causal mask halves the work, whatever made it. */
#include <stdlib.h>

#include "exec/attention.h"
#include "ops/ops.h"

/* ---- kernel ---- */

typedef struct attention {
    sg_dim n_lead, n_queries, n_keys, width, padded; /* padded: to whole vectors */
    matrices q, k, v, mask;
    int at_q, at_k, at_v, at_mask; /* inputs of the step; at_mask -1: none */
    float scale, cap; /* cap 0: none */
    written out;
    sg_dim chunks; /* of queries per lead */
    size_t scratch_each;
    int n_threads;
} attention;

/* One thread's buffers. */
typedef struct desk {
    float *keys, *values; /* packed: per block of keys [width][KEYS], and [KEYS][padded] */
    float *q, *scores, *out, *most, *factor;
    double *sum;
    open_mask open;
    mask_table table;
} desk;

static size_t numbers_of(sg_dim n_keys, sg_dim padded)
{
    const sg_dim blocks = (n_keys + KEYS - 1) / KEYS;

    return (size_t)(blocks * KEYS * padded * 2 + MOST_QUERIES * (padded * 2 + KEYS + 2 + 2) + SMALL_MASK);
}

static desk desk_at(char *scratch, const attention *t)
{
    const sg_dim blocks = (t->n_keys + KEYS - 1) / KEYS;
    float *at = (float *)(void *)scratch;
    desk d;

    d.keys = at;
    at += blocks * KEYS * t->padded;
    d.values = at;
    at += blocks * KEYS * t->padded;
    d.q = at;
    at += MOST_QUERIES * t->padded;
    d.out = at;
    at += MOST_QUERIES * t->padded;
    d.scores = at;
    at += MOST_QUERIES * KEYS;
    d.most = at;
    at += MOST_QUERIES;
    d.factor = at;
    at += MOST_QUERIES;
    d.sum = (double *)(void *)at;
    d.open = (open_mask){NULL, at + 2 * MOST_QUERIES};
    d.table = (mask_table){NULL, (uint8_t *)(d.open.bias + SMALL_MASK), NULL};
    d.table.reach = d.table.seen + mask_blocks(t->n_queries, t->n_keys);
    return d;
}

/* Whether any query sees any key of a block. */
static bool is_seen(const attention *t, const uint8_t *seen_blocks, sg_dim block)
{
    const sg_dim n_blocks = (t->n_keys + KEYS - 1) / KEYS, n = (t->n_queries + MOST_QUERIES - 1) / MOST_QUERIES;

    for (sg_dim i = 0; i < n; i++)
        if (seen_blocks[i * n_blocks + block] != NONE)
            return true;
    return false;
}

/* Keys transposed and values, each block that is seen in one piece, filled up with zeros. */
static void pack(const attention *t, const desk *d, const float *k, const float *v, const uint8_t *seen_blocks)
{
    for (sg_dim first = 0; first < t->n_keys; first += KEYS) {
        if (seen_blocks && !is_seen(t, seen_blocks, first / KEYS))
            continue;
        const sg_dim n = SG_MIN((sg_dim)KEYS, t->n_keys - first);
        float *keys = d->keys + first * t->padded, *values = d->values + first * t->padded;
        lay_turned(keys, k + first * t->k.row, t->k.row, n, t->width);
        if (n < KEYS)
            memset(values, 0, (size_t)(KEYS * t->padded) * sizeof *values);
        for (sg_dim s = 0; s < n; s++) {
            const float *value = v + (first + s) * t->v.row;
            memcpy(values + s * t->padded, value, (size_t)t->width * sizeof *value);
            memset(values + s * t->padded + t->width, 0, (size_t)(t->padded - t->width) * sizeof *value);
        }
    }
}

/* The scores of some queries with the first n keys of a block become weights exp(score - most); the running maximum,
 * sum and result follow. */
static void soften(const attention *t, const desk *d, sg_dim begin, sg_dim end, sg_dim n, const uint8_t *mask,
                   const float *bias, sg_dim wide)
{
    const sg_dim whole = whole_lanes(n);

    for (sg_dim r = begin; r < end; r++) {
        float *x = d->scores + r * KEYS, most = d->most[r];
        if (bias) {
            hide(x, bias + r * wide, whole);
        } else if (mask) {
            const uint8_t *m = mask + r * t->mask.row;
            SG_SIMD
            for (sg_dim s = 0; s < n; s++)
                x[s] = m[s] ? x[s] : -INFINITY;
        }
        for (sg_dim s = n; s < whole && !bias; s++)
            x[s] = -INFINITY;
        float best[LANES];
        for (int l = 0; l < LANES; l++)
            best[l] = x[l];
        for (sg_dim s = LANES; s < whole; s += LANES)
            SG_SIMD
        for (int l = 0; l < LANES; l++)
            best[l] = x[s + l] > best[l] ? x[s + l] : best[l];
        const float here = most_of_lanes(best);
        most = here > most ? here : most;
        const float shift = most > -INFINITY && most < INFINITY ? most : 0;
        const float was = d->most[r] > -INFINITY && d->most[r] < INFINITY ? d->most[r] : 0;
        float sums[LANES] = {0};
        for (sg_dim s = 0; s < whole; s += LANES)
            SG_SIMD
        for (int l = 0; l < LANES; l++) {
            x[s + l] = sg_expf_down(x[s + l] - shift);
            sums[l] += x[s + l];
        }
        const double sum = (double)sum_of_lanes(sums);
        const float factor = d->sum[r] > 0 || d->sum[r] != d->sum[r] ? sg_expf_down(was - shift) : 1;
        d->sum[r] = d->sum[r] * (double)factor + sum;
        d->most[r] = most;
        if (factor != 1) {
            float *out = d->out + r * t->padded;
            SG_SIMD
            for (sg_dim p = 0; p < t->padded; p++)
                out[p] *= factor;
        }
    }
}

/* Scores, which lie KEYS apart, within +- cap. Not inlined, since it costs the products around it their registers. */
__attribute__((noinline)) static void bound(float *scores, sg_dim rows, sg_dim n, float cap)
{
    for (sg_dim r = 0; r < rows; r++) {
        float *x = scores + r * KEYS;
        SG_SIMD
        for (sg_dim s = 0; s < n; s++)
            x[s] = cap * sg_tanhf(x[s]);
    }
}

static void attend(const attention *t, const desk *d, const float *q, float *out, const uint8_t *mask,
                   const uint8_t *seen_blocks, const uint8_t *reach, const float *bias, sg_dim rows)
{
    const sg_dim whole = (rows + QUERIES - 1) / QUERIES * QUERIES, wide = (t->n_keys + KEYS - 1) / KEYS * KEYS;

    lay_rows(d->q, whole, t->padded, q, t->q.row, rows, t->width, t->scale);
    for (sg_dim r = 0; r < whole; r++) {
        d->most[r] = -INFINITY;
        d->sum[r] = 0;
    }
    memset(d->out, 0, (size_t)(whole * t->padded) * sizeof *d->out);
    for (sg_dim first = 0; first < t->n_keys; first += KEYS) {
        const sg_dim n = SG_MIN((sg_dim)KEYS, t->n_keys - first);
        const seen what = !seen_blocks ? ALL : (seen)seen_blocks[first / KEYS];
        if (what == NONE)
            continue;
        const float *keys = d->keys + first * t->padded, *values = d->values + first * t->padded;
        const sg_dim step = what == ALL ? whole : QUERIES; /* queries at once: all where all see the same */
        for (sg_dim i = 0; i < whole; i += step) {
            const sg_dim own = what == ALL ? n : reach[first / KEYS * GROUPS + i / QUERIES],
                         stop = SG_MIN(i + step, rows);
            float *scores = d->scores + i * KEYS;
            if (own == 0)
                continue;
            product(d->q + i * t->padded, t->padded, 1, keys, KEYS, scores, KEYS, step, whole_lanes(own), t->width,
                    false);
            if (t->cap > 0)
                bound(scores, step, whole_lanes(own), t->cap);
            soften(t, d, i, stop, own, what == SOME && !bias ? mask + first : NULL, bias ? bias + first : NULL, wide);
            for (sg_dim r = stop; r < i + step; r++)
                memset(d->scores + r * KEYS, 0, KEYS * sizeof *d->scores);
            product(scores, KEYS, 1, values, t->padded, d->out + i * t->padded, t->padded, step, t->padded, own, true);
        }
    }
    for (sg_dim r = 0; r < rows; r++) {
        const float scale = d->sum[r] == 0 ? 0 : (float)(1 / d->sum[r]);
        for (sg_dim p = 0; p < t->width; p++)
            out[r * t->out.at.row + p] = d->out[r * t->padded + p] * scale;
    }
}

typedef struct job {
    const attention *t;
    const sg_kernel_args *args;
} job;

static void part(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const attention *t = j->t;
    const float *q = j->args->in[t->at_q]->data, *k = j->args->in[t->at_k]->data, *v = j->args->in[t->at_v]->data;
    const uint8_t *mask = t->at_mask < 0 ? NULL : j->args->in[t->at_mask]->data;
    const sg_dim wide = (t->n_keys + KEYS - 1) / KEYS * KEYS;
    const sg_dim items = t->n_lead * t->chunks, each = (items + t->n_threads - 1) / t->n_threads;

    const bool heads = t->n_lead % t->n_threads == 0 || t->n_lead >= 8 * t->n_threads;

    for (sg_dim thread = first; thread < last; thread++) {
        desk d = desk_at((char *)j->args->scratch + (size_t)thread * t->scratch_each, t);
        sg_dim packed = -1;
        /* Whole heads if they go round; else chunks in turn, so that both ends of a causal mask fall to every thread.
         */
        for (sg_dim i = 0; i < each; i++) {
            const sg_dim item = heads ? items * thread / t->n_threads + i : i * t->n_threads + thread;
            if (item >= (heads ? items * (thread + 1) / t->n_threads : items))
                break;
            const sg_dim lead = item / t->chunks, chunk = item % t->chunks * CHUNK;
            const uint8_t *own = mask ? mask + begin_of(&t->mask, lead) : NULL;
            const bool small = own && mask_is_small(t->n_queries, wide);
            if (small)
                lay_mask(&d.open, own, t->mask.row, t->n_queries, t->n_keys, wide);
            if (own)
                look_at_all(&d.table, own, t->mask.row, t->n_queries, t->n_keys);
            if (packed != lead)
                pack(t, &d, k + begin_of(&t->k, lead), v + begin_of(&t->v, lead), own ? d.table.seen : NULL);
            packed = lead;
            const sg_dim stop = SG_MIN(chunk + CHUNK, t->n_queries);
            for (sg_dim row = chunk; row < stop; row += MOST_QUERIES)
                attend(t, &d, q + begin_of(&t->q, lead) + row * t->q.row,
                       (float *)j->args->out->data + begin_of(&t->out.at, lead) + row * t->out.at.row,
                       own ? own + row * t->mask.row : NULL,
                       own ? d.table.seen + row / MOST_QUERIES * (wide / KEYS) : NULL,
                       own ? d.table.reach + row / MOST_QUERIES * (wide / KEYS) * GROUPS : NULL,
                       small ? d.open.bias : NULL, SG_MIN((sg_dim)MOST_QUERIES, stop - row));
        }
    }
}

static sg_status run(const sg_kernel_args *args, sg_error *err)
{
    const attention *t = args->self;
    job j = {t, args};

    (void)err;
    if (t->n_lead * t->n_queries * t->width > 0)
        sg_split(t->n_threads, t->n_threads > 1 ? SG_PARALLEL : 0, t->n_threads, part, &j);
    return SG_OK;
}

/* ---- recognising ---- */

bool sg_attention_scalar(const sg_planner *pl, int a, int i, float *x)
{
    const sg_plan_value *in = &pl->p->values[sg_plan_input(pl, &pl->p->values[a], i)];

    if (pl->p->values[in->root].home != SG_HOME_CONST || in->view.dtype != SG_F32 || !in->view.data ||
        (sg_view_count(&in->view) != 1 && !(in->view.n_dims == 0)))
        return false;
    *x = *(const float *)in->view.data;
    return true;
}

static bool find_chain(const sg_planner *pl, int z, chain *c)
{
    const sg_plan *p = pl->p;
    float low;

    c->z = z;
    if (!sg_plan_is(pl, z, &sg_op_matmul) || p->values[z].attr_i[0] || p->values[z].attr_i[1])
        return false;
    c->pattern = sg_plan_behind(pl, z, 0);
    if (!sg_plan_is(pl, c->pattern, &sg_op_softmax) || !sg_plan_only_renamed(pl, z, 0))
        return false;
    const sg_plan_value *pattern = &p->values[c->pattern];
    if (pattern->attr_i[0] != pattern->view.n_dims - 1 || !sg_plan_only_renamed(pl, c->pattern, 0))
        return false;
    int at = sg_plan_behind(pl, c->pattern, 0);
    c->masked = -1;
    if (sg_plan_is(pl, at, &sg_op_where)) {
        if (!sg_attention_scalar(pl, at, 2, &low) || low != -INFINITY || !sg_plan_only_renamed(pl, at, 1))
            return false;
        c->masked = at;
        at = sg_plan_behind(pl, at, 1);
    }
    c->scaled = c->bounded = c->capped = -1;
    c->scale = 1;
    c->cap = 0;
    const int inner = sg_plan_is(pl, at, &sg_op_mul) ? sg_plan_behind(pl, at, 0) : -1;
    if (inner >= 0 && sg_plan_is(pl, inner, &sg_op_tanh)) {
        if (!sg_attention_scalar(pl, at, 1, &c->cap) || !(c->cap > 0) || !sg_plan_only_renamed(pl, at, 0) ||
            !sg_plan_only_renamed(pl, inner, 0))
            return false;
        c->capped = at;
        c->bounded = inner;
        at = sg_plan_behind(pl, inner, 0);
    }
    if (sg_plan_is(pl, at, &sg_op_mul)) {
        if (!sg_attention_scalar(pl, at, 1, &c->scale) || !sg_plan_only_renamed(pl, at, 0))
            return false;
        c->scaled = at;
        at = sg_plan_behind(pl, at, 0);
    }
    c->scores = at;
    return sg_plan_is(pl, at, &sg_op_matmul) && !p->values[at].attr_i[0] && p->values[at].attr_i[1];
}

bool sg_attention_matrices(const sg_view *x, int n_lead, const sg_dim *dims, bool broadcast_rows, matrices *m)
{
    const int shift = n_lead + 2 - x->n_dims, last = x->n_dims - 1;

    if (shift < 0 || x->n_dims < 2 || (x->dims[last] != 1 && x->strides[last] != 1))
        return false;
    m->row = broadcast_rows && x->dims[last - 1] == 1 ? 0 : x->strides[last - 1];
    m->n_lead = n_lead;
    for (int a = 0; a < n_lead; a++) {
        const int axis = n_lead - 1 - a;
        m->extents[a] = dims[axis];
        m->strides[a] = axis < shift || x->dims[axis - shift] == 1 ? 0 : x->strides[axis - shift];
    }
    return true;
}

static bool describe(const sg_planner *pl, const chain *c, attention *t)
{
    const sg_plan *p = pl->p;
    const sg_plan_value *scores = &p->values[c->scores], *z = &p->values[c->z];
    const sg_view *q = &p->values[sg_plan_input(pl, scores, 0)].view,
                  *k = &p->values[sg_plan_input(pl, scores, 1)].view, *v = &p->values[sg_plan_input(pl, z, 1)].view;
    const int n = z->view.n_dims, n_lead = n - 2;

    if (scores->view.n_dims != n || n < 2 ||
        memcmp(scores->view.dims, z->view.dims, (size_t)(n - 1) * sizeof(sg_dim)) != 0)
        return false;
    t->n_queries = z->view.dims[n - 2];
    t->width = z->view.dims[n - 1];
    t->n_keys = scores->view.dims[n - 1];
    t->padded = (t->width + LANES - 1) / LANES * LANES;
    t->n_lead = 1;
    for (int a = 0; a < n_lead; a++)
        t->n_lead *= z->view.dims[a];
    t->scale = c->scale;
    t->cap = c->cap;
    sg_attention_written(c->z, n_lead, z->view.dims, t->n_queries, t->width, &t->out);
    t->at_q = sg_plan_input(pl, scores, 0); /* as values, until the step has its inputs */
    t->at_k = sg_plan_input(pl, scores, 1);
    t->at_v = sg_plan_input(pl, z, 1);
    t->at_mask = c->masked < 0 ? -1 : sg_plan_input(pl, &p->values[c->masked], 0);
    if (t->width > MOST_WIDTH || t->width < 1 || t->n_keys < 1 || q->dims[q->n_dims - 1] != t->width)
        return false;
    if (!sg_attention_matrices(q, n_lead, z->view.dims, false, &t->q) ||
        !sg_attention_matrices(k, n_lead, z->view.dims, false, &t->k) ||
        !sg_attention_matrices(v, n_lead, z->view.dims, false, &t->v))
        return false;
    if (c->masked >= 0) {
        const sg_plan_value *masked = &p->values[c->masked];
        const sg_view *mask = &p->values[sg_plan_input(pl, masked, 0)].view;
        if (mask->n_dims < 2 || mask->dims[mask->n_dims - 1] != t->n_keys || mask->strides[mask->n_dims - 1] != 1 ||
            !sg_attention_matrices(mask, masked->view.n_dims - 2, masked->view.dims, true, &t->mask))
            return false;
    }
    return true;
}

static bool read_once(const sg_planner *pl, const int *readers, int a)
{
    return a < 0 || (readers[a] == 1 && pl->cluster_of[a] < 0);
}

int sg_attention_index(const sg_plan_step *step, int value)
{
    for (int i = 0; i < step->n_in; i++)
        if (step->in[i] == value)
            return i;
    return -1;
}

static sg_status prepare(sg_planner *pl, const sg_cluster *cluster, sg_plan_step *step)
{
    attention *t = cluster->self;

    t->at_q = sg_attention_index(step, t->at_q);
    t->at_k = sg_attention_index(step, t->at_k);
    t->at_v = sg_attention_index(step, t->at_v);
    t->at_mask = sg_attention_index(step, t->at_mask);
    t->chunks = (t->n_queries + CHUNK - 1) / CHUNK;
    const double work = (double)t->n_lead * (double)t->n_queries * (double)t->n_keys * (double)t->width;
    t->n_threads = work < LEAST_WORK ? 1 : (int)SG_MIN((sg_dim)pl->p->opts.n_threads, t->n_lead * t->chunks);
    t->n_threads = SG_MAX(1, SG_MIN(t->n_threads, SG_MAX_THREADS));
    t->scratch_each = numbers_of(t->n_keys, t->padded) * sizeof(float) + mask_table_bytes(t->n_queries, t->n_keys);
    t->scratch_each = (t->scratch_each + SG_BLOCK_ALIGN - 1) / SG_BLOCK_ALIGN * SG_BLOCK_ALIGN;
    step->kernel = (sg_prepared){.run = run, .self = t, .scratch_bytes = t->scratch_each * (size_t)t->n_threads};
    return SG_OK;
}

sg_status sg_attention_find(sg_planner *pl, const int *readers)
{
    for (int a = 0; a < pl->p->n_values; a++) {
        attention t = {0};
        chain c;
        if (!find_chain(pl, a, &c) || !describe(pl, &c, &t) || !read_once(pl, readers, c.scores) ||
            !read_once(pl, readers, c.scaled) || !read_once(pl, readers, c.bounded) || !read_once(pl, readers, c.capped) ||
            !read_once(pl, readers, c.masked))
            continue;
        /* In training the gradient reads the pattern too; it then makes its own. */
        bool alone = readers[c.pattern] == 1;
        if (!alone && c.capped < 0) /* a cap's gradient is computed from the scores, which are then stored */
            SG_TRY(sg_attention_grad_find(pl, readers, &c, &alone));
        if (!alone)
            continue;
        const int copy = sg_attention_copied(pl, readers, &t.out),
                  members[8] = {c.scores, c.scaled, c.bounded, c.capped, c.masked, c.pattern, c.z, copy},
                  at = sg_cluster_new(pl, prepare, "attention");
        attention *self = sg_arena_alloc(pl->p->arena, sizeof *self);
        bool ok = at >= 0 && self;
        for (int m = 0; m < 8 && ok; m++)
            if (members[m] >= 0)
                ok = sg_cluster_add(pl, at, members[m]);
        if (!ok)
            return sg_fail(pl->err, SG_ENOMEM, "out of memory for a plan");
        *self = t;
        pl->clusters[at].self = self;
    }
    return SG_OK;
}
