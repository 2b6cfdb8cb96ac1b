/* A matrix product and the bias that is added to each of its rows, in one step: a backend may add while it multiplies.
 */
#include <stdlib.h>
#include <string.h>

#include "exec/planner.h"
#include "ops/ops.h"

/* Without a backend: the reference product, then the bias. */
typedef struct both {
    const sg_plan_value *product;
    sg_view shape;
} both;

typedef struct job {
    float *y;
    const float *bias;
    sg_dim n;
} job;

static void add_rows(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;

    for (sg_dim r = first; r < last; r++) {
        float *y = j->y + r * j->n;
        SG_SIMD
        for (sg_dim i = 0; i < j->n; i++)
            y[i] += j->bias[i];
    }
}

static sg_status run(const sg_kernel_args *args, sg_error *err)
{
    const both *b = args->self;
    sg_view out = b->shape;
    sg_kernel_args k = *args;

    out.data = args->out->data;
    k.op = &sg_op_matmul;
    k.n_in = 2;
    k.out = &out;
    k.i = b->product->attr_i;
    k.f = b->product->v->attrs.f;
    SG_TRY(sg_op_matmul.run(&k, err));
    job j = {out.data, args->in[2]->data, out.dims[out.n_dims - 1]};
    if (j.n > 0)
        sg_split(sg_view_count(&out) / j.n, j.n, args->n_threads, add_rows, &j);
    return SG_OK;
}

static sg_status prepare(sg_planner *pl, const sg_cluster *cluster, sg_plan_step *step)
{
    sg_plan *p = pl->p;
    const sg_plan_value *product = &p->values[cluster->members[0]];
    both *b = sg_arena_alloc(p->arena, sizeof *b);
    sg_view views[3], out = product->view;
    const sg_view *ins[3] = {&views[0], &views[1], &views[2]};

    if (!b)
        return sg_fail(pl->err, SG_ENOMEM, "out of memory for a plan");
    SG_ASSERT(step->n_in == 3);
    for (int i = 0; i < 3; i++) {
        views[i] = p->values[step->in[i]].view;
        views[i].data = NULL;
    }
    out.data = NULL;
    const sg_kernel_args k = {.op = product->v->op,
                              .n_in = 3,
                              .in = ins,
                              .out = &out,
                              .i = product->attr_i,
                              .f = product->v->attrs.f,
                              .n_threads = p->opts.n_threads,
                              .compute = p->opts.compute};
    SG_TRY(sg_plan_offer(pl, &k, step));
    if (step->kernel.run)
        return SG_OK;
    *b = (both){product, out};
    step->kernel = (sg_prepared){.run = run, .self = b};
    return SG_OK;
}

/* Whether v is one row of n numbers for all rows of a result. */
static bool is_row(const sg_view *v, sg_dim n)
{
    return v->n_dims > 0 && v->dims[v->n_dims - 1] == n && sg_view_count(v) == n &&
           (n == 1 || v->strides[v->n_dims - 1] == 1);
}

sg_status sg_linear_find(sg_planner *pl, const int *readers)
{
    const sg_plan *p = pl->p;

    for (int a = 0; a < p->n_values; a++) {
        const sg_plan_value *x = &p->values[a];
        if (!sg_plan_is(pl, a, &sg_op_add))
            continue;
        for (int side = 0; side < 2; side++) {
            const int product = sg_plan_behind(pl, a, side), bias = sg_plan_input(pl, x, 1 - side);
            if (!sg_plan_is(pl, product, &sg_op_matmul) || readers[product] != 1 || !sg_plan_only_renamed(pl, a, side))
                continue;
            const sg_plan_value *y = &p->values[product];
            const sg_dim n = y->view.n_dims ? y->view.dims[y->view.n_dims - 1] : 0;
            if (sg_view_count(&x->view) != sg_view_count(&y->view) || n < 2 || x->view.dims[x->view.n_dims - 1] != n ||
                !is_row(&p->values[bias].view, n) || p->values[bias].varies || sg_plan_version(pl, bias) == product ||
                sg_plan_input(pl, y, 0) == sg_plan_input(pl, y, 1) || sg_plan_input(pl, y, 0) == bias ||
                sg_plan_input(pl, y, 1) == bias)
                continue;
            const int c = sg_cluster_new(pl, prepare, "matmul+add");
            if (c < 0 || !sg_cluster_add(pl, c, product) || !sg_cluster_add(pl, c, a))
                return sg_fail(pl->err, SG_ENOMEM, "out of memory for a plan");
            break;
        }
    }
    return SG_OK;
}
