/* Building updates. With one batch a step the gradients go straight into the update. With several, or where other ranks
 * have batches of the same step, each batch adds weight * gradient to variables, and the update reads those: sum_k w_k
 * g_k / sum_k w_k is the gradient of the mean over all batches' items, so n batches are one n times as large up to
 * rounding. The update is then a graph of its own, without activations, so its block of memory is small. */
#include "sightglass/update.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

sg_update_opts sg_update_defaults(void)
{
    return (sg_update_opts){.adam = sg_adam_defaults(), .clip = (double)INFINITY, .average = 0, .n_batches = 1};
}

/* A variable of w's shape beside it. */
static sg_value *beside(sg_graph *g, const char *what, const sg_value *w)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", what, sg_value_name(w));
    return sg_variable(g, name, sg_value_dtype(w), sg_value_n_dims(w), sg_value_dims(w), sg_init_constant(0));
}

static sg_value *adam(sg_graph *g, sg_value *w, sg_value *grad, sg_value *lr, sg_value *step, sg_adam_opts opts)
{
    const sg_dtype dtype = sg_value_dtype(w);
    sg_value *from_one = sg_add_scalar(g, sg_cast(g, step, dtype), 1);
    sg_value *rate = sg_value_dtype(lr) == dtype ? lr : sg_cast(g, lr, dtype);
    return sg_adam(g, w, beside(g, "adam.m", w), beside(g, "adam.v", w), grad, rate, from_one, opts);
}

void sg_train_adam(sg_graph *g, sg_value *loss, int n_params, sg_value *const *params, sg_value *lr, sg_value *step,
                   sg_adam_opts opts, sg_value **updates)
{
    sg_gradients(g, loss, NULL, n_params, params, updates);
    for (int i = 0; i < n_params; i++)
        updates[i] = adam(g, params[i], updates[i], lr, step, opts);
}

static sg_status check(const sg_update_opts *o, int n_params, sg_error *err)
{
    if (n_params < 1)
        return sg_fail(err, SG_EARG, "updates: there are no parameters");
    if (!(o->clip > 0))
        return sg_fail(err, SG_EARG, "updates: clip is %g, wanted a norm above 0", o->clip);
    if (!(o->average >= 0 && o->average < 1))
        return sg_fail(err, SG_EARG, "updates: average is %g, wanted 0 to less than 1", o->average);
    if (o->n_batches < 1)
        return sg_fail(err, SG_EARG, "updates: a step of %" PRId64 " batches", o->n_batches);
    if (!(o->adam.weight_decay >= 0))
        return sg_fail(err, SG_EARG, "updates: weight decay is %g, wanted a number from 0", o->adam.weight_decay);
    return SG_OK;
}

/* ---- several batches ---- */

/* x for the first batch of a step, else what the variable holds and x: whatever was left there does not matter. */
static void gather(sg_updates *u, sg_graph *g, sg_value *sum, sg_value *x)
{
    u->sums[u->n_gathers] = sum;
    u->gathers[u->n_gathers++] = sg_assign(g, sum, u->first ? sg_where(g, u->first, x, sg_add(g, sum, x)) : x);
}

/* Puts, for each gradient, what the step's batches have gathered of it. The last parameter comes first: so goes the
 * backward pass, and plans follow the order of what is fetched. */
static void gather_all(sg_updates *u, sg_graph *g, sg_value *weight, int n, sg_value *const *params, sg_value **grads)
{
    const sg_dtype dtype = sg_value_dtype(params[0]);
    if (u->n_batches > 1)
        u->first = sg_input(g, "first", SG_BOOL, 0, NULL);
    sg_value *total = sg_variable(g, "accumulate", dtype, 0, NULL, sg_init_constant(0));
    gather(u, g, total, weight ? sg_cast(g, weight, dtype) : sg_scalar(g, dtype, 1));
    sg_value *share = sg_reciprocal(g, total);
    for (int i = n - 1; i >= 0; i--) {
        sg_value *sum = beside(g, "accumulate", params[i]);
        gather(u, g, sum, grads[i]);
        grads[i] = sg_mul(g, sum, sg_cast(g, share, sg_value_dtype(sum)));
    }
}

/* ---- the whole ---- */

static sg_value *norm_of(sg_graph *g, int n, sg_value *const *grads)
{
    sg_value *sum = NULL;
    for (int i = 0; i < n; i++) {
        sg_value *part = sg_cast(g, sg_sum_all(g, sg_square(g, grads[i])), SG_F32);
        sum = sum ? sg_add(g, sum, part) : part;
    }
    return sg_sqrt(g, sum);
}

/* min(d, k / (k + 1)) as a -> a + (1 - that) (w - a): at k = 0 the average is the weights. */
static sg_value *averaged(sg_graph *g, sg_value *w, sg_value *after, sg_value *step, double d)
{
    const sg_dtype dtype = sg_value_dtype(w);
    sg_value *k = sg_cast(g, step, dtype), *average = beside(g, "average", w);
    sg_value *new_part = sg_maximum(g, sg_reciprocal(g, sg_add_scalar(g, k, 1)), sg_scalar_like(g, k, 1 - d));
    return sg_assign(g, average, sg_add(g, average, sg_mul(g, new_part, sg_sub(g, after, average))));
}

static void build(sg_updates *u, sg_graph *g, sg_value *loss, sg_value *weight, int n, sg_value *const *params,
                  sg_value *lr, sg_value *step, const sg_update_opts *o, sg_value **grads)
{
    sg_value *y = loss;
    const bool gathered = o->n_batches > 1 || o->apart;
    if (gathered && weight)
        y = sg_mul(g, loss, sg_cast(g, sg_stop_gradient(g, weight), sg_value_dtype(loss)));
    sg_gradients(g, y, NULL, n, params, grads);
    if (gathered)
        gather_all(u, g, weight, n, params, grads);
    u->norm = norm_of(g, n, grads);
    sg_value *scale = NULL;
    if (isfinite(o->clip)) /* clip / max(norm, clip) */
        scale = sg_div(g, sg_scalar(g, SG_F32, o->clip), sg_maximum(g, u->norm, sg_scalar(g, SG_F32, o->clip)));
    for (int i = 0; i < n; i++) {
        const sg_dtype dtype = sg_value_dtype(params[i]);
        sg_adam_opts opts = o->adam;
        if (o->decays && !o->decays[i])
            opts.weight_decay = 0;
        sg_value *grad = scale ? sg_mul(g, grads[i], sg_cast(g, scale, dtype)) : grads[i];
        u->updates[u->n_updates++] = adam(g, params[i], grad, lr, step, opts);
    }
    for (int i = 0; i < n && o->average > 0; i++)
        u->updates[u->n_updates++] = averaged(g, params[i], u->updates[i], step, o->average);
}

sg_status sg_updates_new(sg_updates **out, sg_graph *g, sg_value *loss, sg_value *weight, int n_params,
                         sg_value *const *params, sg_value *lr, sg_value *step, sg_update_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(&opts, n_params, err));
    const size_t n = (size_t)n_params;
    sg_updates *u = calloc(1, sizeof *u);
    sg_value **grads = calloc(n, sizeof *grads);
    if (u) {
        u->n_batches = opts.n_batches;
        u->updates = calloc(2 * n, sizeof *u->updates);
        u->gathers = calloc(n + 1, sizeof *u->gathers);
        u->sums = calloc(n + 1, sizeof *u->sums);
    }
    sg_status status = SG_OK;
    if (!u || !grads || !u->updates || !u->gathers || !u->sums)
        status = sg_fail(err, SG_ENOMEM, "out of memory for the updates of %d parameters", n_params);
    if (status == SG_OK) {
        build(u, g, loss, weight, n_params, params, lr, step, &opts, grads);
        status = sg_graph_status(g, err);
    }
    free(grads);
    if (status != SG_OK) {
        sg_updates_free(u);
        return status;
    }
    *out = u;
    return SG_OK;
}

void sg_updates_free(sg_updates *u)
{
    if (!u)
        return;
    free(u->updates);
    free(u->gathers);
    free(u->sums);
    free(u);
}
