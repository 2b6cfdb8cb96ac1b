/* Updates: from a loss to what a training step computes. All of it is graph: gradients, their norm and its bound, AdamW,
 * the average of the weights.
 *
 *     sg_update_opts opts = sg_update_defaults();
 *     opts.adam.weight_decay = 0.1, opts.clip = 1, opts.average = 0.999;
 *     sg_updates *u;
 *     SG_TRY(sg_updates_new(&u, g, loss, NULL, n, weights, lr, step, opts, err));
 *     sg_train_graph what = {.step = step, .lr = lr, .loss = loss, .updates = u, ...}; // see train.h
 *     sg_updates_free(u); // the values stay the graph's
 *
 * What it remembers are variables beside each parameter: adam.m.NAME, adam.v.NAME, average.NAME, and, where a step has
 * several batches, accumulate.NAME, which means nothing between steps. */
#ifndef SIGHTGLASS_UPDATE_H
#define SIGHTGLASS_UPDATE_H

#include "sightglass/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_update_opts {
    sg_adam_opts adam;
    const bool *decays; /* NULL; by parameter: whether weight_decay applies to it. NULL: to all of them */
    double clip;        /* infinity; longer gradients are scaled to this Euclidean norm, taken over all parameters at once
                         * (Pascanu et al. 2013) */
    double average;     /* 0: the average is the weights, so none is kept. Else an average of the weights after each step: their
                         * mean while steps are few, then a running one, a <- d a + (1 - d) w, with d = min(this, k / (k + 1)) */
    sg_dim n_batches;   /* 1; batches that make one step, as if they were one */
    bool apart;         /* false; gradients go through variables with one batch too, so that ranks can sum them */
} sg_update_opts;
sg_update_opts sg_update_defaults(void);

typedef struct sg_updates {
    int n_updates;
    sg_value **updates; /* fetched once a step: each parameter after it, then averages */
    sg_value *norm;     /* of the whole gradient before it was bounded, f32 scalar */
    sg_dim n_batches;
    /* With several batches, or apart: fetched for each batch, before `updates`, in the order in which a backward pass
     * goes. Each stores into the variable at its place in `sums`, the first a weight, the others weighted gradients.
     * `first` is an input, a bool scalar; NULL with one batch. */
    int n_gathers;
    sg_value **gathers, **sums;
    sg_value *first;
} sg_updates;

/* loss is a scalar, the mean over what is counted in `weight` (a scalar such as the number of tokens that a batch
 * predicts; NULL: batches count the same): the step's loss is then the mean over all batches' tokens. step and lr are as in
 * train.h. SG_EARG: options out of range; else the graph's status. */
sg_status sg_updates_new(sg_updates **out, sg_graph *g, sg_value *loss, sg_value *weight, int n_params,
                         sg_value *const *params, sg_value *lr, sg_value *step, sg_update_opts opts,
                         sg_error *err) SG_MUST_CHECK;
void sg_updates_free(sg_updates *u); /* NULL is fine */

/* Builds the gradient of loss by each parameter and its Adam update, nothing else; updates[i] is parameter i after the
 * step. */
void sg_train_adam(sg_graph *g, sg_value *loss, int n_params, sg_value *const *params, sg_value *lr, sg_value *step,
                   sg_adam_opts opts, sg_value **updates);

#ifdef __cplusplus
}
#endif
#endif
