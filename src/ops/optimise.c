/* Optimiser steps, in place on variables: the parameter first, then its moments, then gradient, learning rate and
 * (Adam) the step counted from 1. */
#include <math.h>
#include <string.h>

#include "base/math.h"
#include "ops/iter.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *w = s->in[0];
    const int n_state = s->op == &sg_op_sgd ? 1 : s->op == &sg_op_adam ? 3 : 2;

    if (w->dtype != SG_F32 && w->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64");
    for (int i = 0; i < s->n_in; i++) {
        const bool scalar = i > n_state;
        if (i < n_state && s->in[i]->op != &sg_op_variable)
            return sg_infer_fail(s, err, SG_EARG, "%s is no variable", sg_value_name(s->in[i]));
        if (s->in[i]->dtype != w->dtype)
            return sg_infer_fail(s, err, SG_ETYPE, "input %d is of another type than the parameter", i);
        if (scalar ? s->in[i]->n_dims != 0
                   : s->in[i]->n_dims != w->n_dims ||
                         memcmp(s->in[i]->dims, w->dims, (size_t)w->n_dims * sizeof w->dims[0]) != 0)
            return sg_infer_fail(s, err, SG_ESHAPE,
                                 scalar ? "input %d is not a scalar" : "input %d has another shape than the parameter",
                                 i);
    }
    sg_infer_like(s, 0);
    return SG_OK;
}

static double scalar_of(const sg_view *v)
{
    return v->dtype == SG_F32 ? (double)*(const float *)v->data : *(const double *)v->data;
}

typedef struct job {
    void *w, *m, *v;
    const void *grad;
    double lr, a, b, eps, decay, scale_m, scale_v;
    int rule; /* 0 sgd, 1 momentum, 2 rmsprop, 3 adam */
} job;

#define STEP(T, ROOT)                                                                                                  \
    static void part_##T(void *context, sg_dim first, sg_dim last)                                                     \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        T *const w = j->w, *const m = j->m, *const v = j->v;                                                           \
        const T *const g = j->grad;                                                                                    \
        const T lr = (T)j->lr, a = (T)j->a, b = (T)j->b, eps = (T)j->eps;                                              \
        const T new_a = (T)(1 - j->a), new_b = (T)(1 - j->b); /* from doubles: 1 - .999f is off by 1e-5 */             \
        const T keep = (T)(1.0 - j->lr * j->decay), sm = (T)j->scale_m, sv = (T)j->scale_v;                            \
        if (j->rule == 0) {                                                                                            \
            SG_SIMD                                                                                                    \
            for (sg_dim i = first; i < last; i++)                                                                      \
                w[i] -= lr * g[i];                                                                                     \
        } else if (j->rule == 1) {                                                                                     \
            SG_SIMD                                                                                                    \
            for (sg_dim i = first; i < last; i++) {                                                                    \
                m[i] = a * m[i] + g[i];                                                                                \
                w[i] -= lr * m[i];                                                                                     \
            }                                                                                                          \
        } else if (j->rule == 2) {                                                                                     \
            SG_SIMD                                                                                                    \
            for (sg_dim i = first; i < last; i++) {                                                                    \
                m[i] = a * m[i] + new_a * g[i] * g[i];                                                                 \
                w[i] -= lr * g[i] / (ROOT(m[i]) + eps);                                                                \
            }                                                                                                          \
        } else {                                                                                                       \
            SG_SIMD                                                                                                    \
            for (sg_dim i = first; i < last; i++) {                                                                    \
                m[i] = a * m[i] + new_a * g[i];                                                                        \
                v[i] = b * v[i] + new_b * g[i] * g[i];                                                                 \
                w[i] = keep * w[i] - lr * (m[i] * sm) / (ROOT(v[i] * sv) + eps);                                       \
            }                                                                                                          \
        }                                                                                                              \
    }

STEP(float, sqrtf)
STEP(double, sqrt)

static sg_status apply(const sg_kernel_args *k, job *j)
{
    sg_split(sg_view_count(k->out), 4, k->n_threads, k->out->dtype == SG_F32 ? part_float : part_double, j);
    return SG_OK;
}

static sg_status sgd_run(const sg_kernel_args *k, sg_error *err)
{
    job j = {.w = k->out->data, .grad = k->in[1]->data, .lr = scalar_of(k->in[2]), .rule = 0};

    (void)err;
    return apply(k, &j);
}

static sg_status momentum_run(const sg_kernel_args *k, sg_error *err)
{
    job j = {.w = k->out->data,
             .m = k->in[1]->data,
             .grad = k->in[2]->data,
             .lr = scalar_of(k->in[3]),
             .a = k->f[0],
             .rule = 1};

    (void)err;
    return apply(k, &j);
}

static sg_status rmsprop_run(const sg_kernel_args *k, sg_error *err)
{
    job j = {.w = k->out->data,
             .m = k->in[1]->data,
             .grad = k->in[2]->data,
             .lr = scalar_of(k->in[3]),
             .a = k->f[0],
             .eps = k->f[1],
             .rule = 2};

    (void)err;
    return apply(k, &j);
}

static sg_status adam_run(const sg_kernel_args *k, sg_error *err)
{
    const double step = scalar_of(k->in[5]);
    job j = {.w = k->out->data,
             .m = k->in[1]->data,
             .v = k->in[2]->data,
             .grad = k->in[3]->data,
             .lr = scalar_of(k->in[4]),
             .a = k->f[0],
             .b = k->f[1],
             .eps = k->f[2],
             .decay = k->f[3],
             .rule = 3};

    if (!(step >= 1))
        return sg_fail(err, SG_EARG, "adam: step %g, steps count from 1", step);
    j.scale_m = 1 / (1 - sg_math_pow(k->f[0], step));
    j.scale_v = 1 / (1 - sg_math_pow(k->f[1], step));
    return apply(k, &j);
}

#define UPDATE SG_OP_STATE | SG_OP_ALIAS
const sg_op sg_op_sgd = {
    .name = "sgd", .min_in = 3, .max_in = 3, .flags = UPDATE, .changes = 1, .infer = infer, .run = sgd_run};
const sg_op sg_op_momentum = {
    .name = "momentum", .min_in = 4, .max_in = 4, .flags = UPDATE, .changes = 3, .infer = infer, .run = momentum_run};
const sg_op sg_op_rmsprop = {
    .name = "rmsprop", .min_in = 4, .max_in = 4, .flags = UPDATE, .changes = 3, .infer = infer, .run = rmsprop_run};
const sg_op sg_op_adam = {
    .name = "adam", .min_in = 6, .max_in = 6, .flags = UPDATE, .changes = 7, .infer = infer, .run = adam_run};

sg_value *sg_sgd(sg_graph *g, sg_value *w, sg_value *grad, sg_value *lr)
{
    return sg_node(g, &sg_op_sgd, 3, (sg_value *[]){w, grad, lr}, NULL);
}

sg_value *sg_momentum(sg_graph *g, sg_value *w, sg_value *m, sg_value *grad, sg_value *lr, double mu)
{
    return sg_node(g, &sg_op_momentum, 4, (sg_value *[]){w, m, grad, lr}, &(sg_attrs){.n_f = 1, .f = {mu}});
}

sg_value *sg_rmsprop(sg_graph *g, sg_value *w, sg_value *v, sg_value *grad, sg_value *lr, double rho, double eps)
{
    return sg_node(g, &sg_op_rmsprop, 4, (sg_value *[]){w, v, grad, lr}, &(sg_attrs){.n_f = 2, .f = {rho, eps}});
}

sg_adam_opts sg_adam_defaults(void)
{
    return (sg_adam_opts){.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0};
}

sg_value *sg_adam(sg_graph *g, sg_value *w, sg_value *m, sg_value *v, sg_value *grad, sg_value *lr, sg_value *step,
                  sg_adam_opts opts)
{
    return sg_node(g, &sg_op_adam, 6, (sg_value *[]){w, m, v, grad, lr, step},
                   &(sg_attrs){.n_f = 4, .f = {opts.beta1, opts.beta2, opts.eps, opts.weight_decay}});
}
