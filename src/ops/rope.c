/* Rotary position embedding (Su et al. 2021, "RoFormer", equation 34): the pair (x1, x2) at position p turns by the
 * angle p * frequency. Attributes: layout, inverse. A rotation's gradient is the rotation back. */
#include <math.h>

#include "base/math.h"
#include "ops/iter.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0], *positions = s->in[1], *frequencies = s->in[2];

    if (s->attrs->i[0] != SG_ROPE_HALF && s->attrs->i[0] != SG_ROPE_INTERLEAVED)
        return sg_infer_fail(s, err, SG_EARG, "layout %lld", (long long)s->attrs->i[0]);
    if ((x->dtype != SG_F32 && x->dtype != SG_F64) || frequencies->dtype != x->dtype || positions->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "x and frequencies f32 or f64, positions i32 were wanted");
    if (x->n_dims != 4 || positions->n_dims != 2 || frequencies->n_dims != 1 || positions->dims[0] != x->dims[0] ||
        positions->dims[1] != x->dims[1])
        return sg_infer_fail(s, err, SG_ESHAPE, "x [B,T,H,K], positions [B,T] and frequencies [R/2] were wanted");
    const sg_dim half = frequencies->dims[0], k = x->dims[3];
    if (!sg_dim_is_const(half) || !sg_dim_is_const(k) || 2 * half > k)
        return sg_infer_fail(s, err, SG_ESHAPE, "pairs do not fit the heads, both of which must be numbers");
    sg_infer_like(s, 0);
    return SG_OK;
}

typedef struct job {
    const sg_kernel_args *k;
    sg_dim heads, width, half, apart, step; /* pair j is at step * j and apart further */
    double sign;
} job;

/* Positions [first, last) of the flattened [B,T]. The angle is a double, and so is what is made of it until it is
 * rounded once: at position 10^5 a float angle would be off by 0.004. Pairs go outermost, so that each sine serves all
 * heads. */
#define DEFINE_ROPE(type)                                                                                              \
    static void rope_##type(void *context, sg_dim first, sg_dim last)                                                  \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        const sg_view *x = j->k->in[0], *positions = j->k->in[1], *frequencies = j->k->in[2];                          \
        const sg_dim sk = x->strides[3], apart = j->apart;                                                             \
        for (sg_dim at = first; at < last; at++) {                                                                     \
            const sg_dim b = at / x->dims[1], t = at % x->dims[1];                                                     \
            const type *from = (const type *)x->data + b * x->strides[0] + t * x->strides[1];                          \
            type *to = (type *)j->k->out->data + at * j->heads * j->width;                                             \
            const double p =                                                                                           \
                ((const int32_t *)positions->data)[b * positions->strides[0] + t * positions->strides[1]];             \
            for (sg_dim r = 0; r < j->half; r++) {                                                                     \
                const double f = (double)((const type *)frequencies->data)[r * frequencies->strides[0]];               \
                const double angle = p * f * j->sign;                                                                  \
                double sine, cosine;                                                                                   \
                sg_math_sincos(angle, &sine, &cosine);                                                                 \
                const type c = (type)cosine, s = (type)sine;                                                           \
                const type *u = from + r * j->step * sk;                                                               \
                type *v = to + r * j->step;                                                                            \
                for (sg_dim h = 0; h < j->heads; h++, u += x->strides[2], v += j->width) {                             \
                    const type x1 = u[0], x2 = u[apart * sk];                                                          \
                    v[0] = x1 * c - x2 * s;                                                                            \
                    v[apart] = x2 * c + x1 * s;                                                                        \
                }                                                                                                      \
            }                                                                                                          \
            for (sg_dim h = 0; h < j->heads; h++)                                                                      \
                for (sg_dim r = 2 * j->half; r < j->width; r++)                                                        \
                    to[h * j->width + r] = from[h * x->strides[2] + r * sk];                                           \
        }                                                                                                              \
    }

DEFINE_ROPE(float)
DEFINE_ROPE(double)

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    const sg_view *x = k->in[0];
    const bool halves = k->i[0] == SG_ROPE_HALF;
    job j = {.k = k, .heads = x->dims[2], .width = x->dims[3], .half = k->in[2]->dims[0], .sign = k->i[1] ? -1 : 1};

    j.apart = halves ? j.half : 1;
    j.step = halves ? 1 : 2;
    /* A sine and cosine in double cost about as much as twenty elements. */
    sg_split(x->dims[0] * x->dims[1], j.heads * j.width + 20 * j.half, k->n_threads,
             x->dtype == SG_F32 ? rope_float : rope_double, &j);
    return SG_OK;
}

/* Frequencies are settings: no gradient flows to them. */
static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_attrs attrs = y->attrs;

    attrs.i[1] = !attrs.i[1];
    dx[0] = sg_node(g, y->op, 3, (sg_value *const[]){dy, y->in[1], y->in[2]}, &attrs);
}

const sg_op sg_op_rope = {
    .name = "rope",
    .min_in = 3,
    .max_in = 3,
    .flags = SG_OP_STRIDED,
    .infer = infer,
    .run = run,
    .grad = grad,
};

sg_value *sg_rope(sg_graph *g, sg_value *x, sg_value *positions, sg_value *frequencies, sg_rope_layout layout)
{
    return sg_node(g, &sg_op_rope, 3, (sg_value *const[]){x, positions, frequencies},
                   &(sg_attrs){.n_i = 2, .i = {(sg_dim)layout, 0}});
}
