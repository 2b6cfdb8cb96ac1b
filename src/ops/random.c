/* Random numbers in the graph. Element e of a row comes from word e % 4 of block e / 4 of the row's stream at the step
 * given (rng.h), so the numbers do not depend on threads or on what else is drawn. Attributes: i = seed low, seed high,
 * stream, row_streams, extents; f = p, type. */
#include "ops/iter.h"
#include "sightglass/rng.h"

#define FIXED 4 /* attributes before the extents */

static sg_status infer_any(sg_infer *s, bool to_bool, sg_error *err)
{
    if (s->in[0]->dtype != SG_I32 || s->in[0]->n_dims != 0)
        return sg_infer_fail(s, err, SG_ETYPE, "the step is not an i32 scalar");
    s->dtype = to_bool ? SG_BOOL : (sg_dtype)s->attrs->f[1];
    if (!to_bool && s->dtype != SG_F32 && s->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64");
    for (int k = FIXED; k < s->attrs->n_i; k++)
        s->dims[s->n_dims++] = s->attrs->i[k];
    return SG_OK;
}

static sg_status infer(sg_infer *s, sg_error *err)
{
    return infer_any(s, false, err);
}

static sg_status infer_bool(sg_infer *s, sg_error *err)
{
    if (!(s->attrs->f[0] >= 0 && s->attrs->f[0] <= 1))
        return sg_infer_fail(s, err, SG_EARG, "probability %g", s->attrs->f[0]);
    return infer_any(s, true, err);
}

typedef enum kind { UNIFORM, NORMAL, BERNOULLI } kind;

typedef struct job {
    const sg_kernel_args *k;
    kind kind;
    sg_dim row; /* elements of a row */
} job;

static void store(const job *j, sg_dim at, double x)
{
    if (j->kind == BERNOULLI)
        ((uint8_t *)j->k->out->data)[at] = x < j->k->f[0];
    else if (j->k->out->dtype == SG_F32)
        ((float *)j->k->out->data)[at] = (float)x;
    else
        ((double *)j->k->out->data)[at] = x;
}

/* Blocks [first, last) over all rows. */
static void part(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const int64_t *i = j->k->i;
    const uint64_t seed = (uint64_t)i[0] | (uint64_t)i[1] << 32;
    const uint64_t step = (uint64_t)(int64_t) * (const int32_t *)j->k->in[0]->data;
    const sg_dim blocks = (j->row + 3) / 4;

    for (sg_dim b = first; b < last; b++) {
        const sg_dim row = b / blocks, block = b % blocks;
        const sg_dim base = row * j->row + block * 4, n = SG_MIN((sg_dim)4, j->row - block * 4);
        uint32_t words[4];
        sg_philox_block(words, seed, (uint32_t)i[2] + (i[3] ? (uint32_t)row : 0), step, (uint32_t)block);
        double x[4];
        if (j->kind == NORMAL) {
            sg_words_normal(words[0], words[1], &x[0], &x[1]);
            sg_words_normal(words[2], words[3], &x[2], &x[3]);
        } else {
            for (int w = 0; w < 4; w++)
                x[w] = (double)sg_word_uniform(words[w]);
        }
        for (sg_dim e = 0; e < n; e++)
            store(j, base + e, x[e]);
    }
}

static sg_status apply(const sg_kernel_args *k, kind what)
{
    const sg_dim count = sg_view_count(k->out);
    const sg_dim rows = k->i[3] && k->out->n_dims > 0 ? k->out->dims[0] : 1;
    job j = {k, what, rows ? count / rows : 0};

    if (count > 0)
        sg_split(rows * ((j.row + 3) / 4), 64, k->n_threads, part, &j);
    return SG_OK;
}

static sg_status uniform_run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    return apply(k, UNIFORM);
}

static sg_status normal_run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    return apply(k, NORMAL);
}

static sg_status bernoulli_run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    return apply(k, BERNOULLI);
}

const sg_op sg_op_random_uniform = {
    .name = "random_uniform", .min_in = 1, .max_in = 1, .infer = infer, .run = uniform_run};
const sg_op sg_op_random_normal = {
    .name = "random_normal", .min_in = 1, .max_in = 1, .infer = infer, .run = normal_run};
const sg_op sg_op_random_bernoulli = {
    .name = "random_bernoulli", .min_in = 1, .max_in = 1, .infer = infer_bool, .run = bernoulli_run};

static sg_value *build(sg_graph *g, const sg_op *op, double p, sg_dtype dtype, int n_dims, const sg_dim *dims,
                       sg_random from, sg_value *step)
{
    sg_attrs a = {.n_i = FIXED + n_dims,
                  .n_f = 2,
                  .f = {p, dtype},
                  .i = {(sg_dim)(from.seed & 0xffffffffu), (sg_dim)(from.seed >> 32), from.stream, from.row_streams}};

    if (n_dims < 0 || n_dims > SG_MAX_DIMS)
        return sg_graph_fail(g, SG_ESHAPE, "%s: %d axes", op->name, n_dims);
    for (int k = 0; k < n_dims; k++)
        a.i[FIXED + k] = dims[k];
    return sg_node(g, op, 1, &step, &a);
}

sg_value *sg_random_uniform(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims, sg_random from, sg_value *step)
{
    return build(g, &sg_op_random_uniform, 0, dtype, n_dims, dims, from, step);
}

sg_value *sg_random_normal(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims, sg_random from, sg_value *step)
{
    return build(g, &sg_op_random_normal, 0, dtype, n_dims, dims, from, step);
}

sg_value *sg_random_bernoulli(sg_graph *g, double p, int n_dims, const sg_dim *dims, sg_random from, sg_value *step)
{
    return build(g, &sg_op_random_bernoulli, p, SG_BOOL, n_dims, dims, from, step);
}
