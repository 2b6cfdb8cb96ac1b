/* Training: one step is one run of a graph that holds the forward pass, the gradient and the updates.
 *
 *     sg_value *step = sg_input(g, "step", SG_I32, 0, NULL), *lr = sg_input(g, "lr", SG_F32, 0, NULL);
 *     ... a loss, whose data may be drawn by sg_random_* at `step` ...
 *     sg_train_adam(g, loss, 2, (sg_value *[]){w, b}, lr, step, sg_adam_defaults(), updates);
 *     SG_TRY(sg_train_new(&t, g, state, (sg_train_graph){step, lr, loss, 2, updates}, sg_train_defaults(), err));
 *     SG_TRY(sg_train_run(t, 10000, err));
 *     sg_train_free(t); // the weights are in the state
 *
 * Steps count from 0 in the graph. Everything a step draws depends on its number alone, so a run that was cut in two is
 * the same run. */
#ifndef SIGHTGLASS_TRAIN_H
#define SIGHTGLASS_TRAIN_H

#include <signal.h>

#include "sightglass/ops.h"
#include "sightglass/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The values of a graph that training needs. */
typedef struct sg_train_graph {
    sg_value *step; /* input, i32 scalar: fed 0, 1, 2, ... */
    sg_value *lr;   /* input, f32 scalar, or NULL where the graph has the rate inside */
    sg_value *loss; /* scalar */
    int n_updates;
    sg_value *const *updates; /* what every step computes: assignments, parameters after the step */
} sg_train_graph;

typedef struct sg_train_progress {
    sg_dim step, n_steps; /* steps done of this run, of how many */
    double loss;          /* of the last step that was read */
    double seconds, seconds_left;
} sg_train_progress;

typedef struct sg_train_opts {
    double lr;         /* 1e-3 */
    sg_dim read_every; /* 100; the loss is read, checked and told that often, and at the last step */
    void (*progress)(void *context, const sg_train_progress *at); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* looked at before each step: not 0 ends the run.  NULL: nobody can */
    sg_exec_opts exec;
} sg_train_opts;
sg_train_opts sg_train_defaults(void);

typedef struct sg_train sg_train;

/* Graph and state stay the caller's and outlive the training. */
sg_status sg_train_new(sg_train **out, const sg_graph *g, sg_state *state, sg_train_graph what, sg_train_opts opts,
                       sg_error *err) SG_MUST_CHECK;

/* `n_steps` more.  SG_ENUMERIC: the loss that was read is not finite (the text has the step); SG_ECANCELLED: cancel was
 * set. After either the state holds the last step done. */
sg_status sg_train_run(sg_train *t, sg_dim n_steps, sg_error *err) SG_MUST_CHECK;

/* The rate of the steps to come; a schedule is this between runs. */
void sg_train_set_lr(sg_train *t, double lr);

sg_dim sg_train_step(const sg_train *t);         /* steps done */
double sg_train_loss(const sg_train *t);         /* of the last step that was read; NaN before */
const sg_plan *sg_train_plan(const sg_train *t); /* of the last step; NULL before */

void sg_train_free(sg_train *t); /* NULL is fine */

/* Builds the gradient of loss by each parameter (variables) and its Adam update; moments are variables named
 * "adam.m.NAME" and "adam.v.NAME". updates[i] is parameter i after the step. */
void sg_train_adam(sg_graph *g, sg_value *loss, int n_params, sg_value *const *params, sg_value *lr, sg_value *step,
                   sg_adam_opts opts, sg_value **updates);

#ifdef __cplusplus
}
#endif
#endif
