/* Training: one step is one run of a graph that holds the forward pass, the gradient and the updates.
 *
 *     sg_value *step = sg_input(g, "step", SG_I32, 0, NULL), *lr = sg_input(g, "lr", SG_F32, 0, NULL);
 *     ... a loss, whose data may be drawn by sg_random_* at `step`, or be inputs that a source fills ...
 *     sg_train_adam(g, loss, 2, (sg_value *[]){w, b}, lr, step, sg_adam_defaults(), updates);
 *     sg_train_graph what = {.step = step, .lr = lr, .loss = loss, .n_updates = 2, .updates = updates};
 *     SG_TRY(sg_train_new(&t, g, state, what, sg_train_defaults(), err));
 *     SG_TRY(sg_train_run(t, 10000, err));
 *     sg_train_free(t); // the weights are in the state
 *
 * Steps count from 0 in the graph. Everything a step draws or reads depends on its number alone, so a run that was cut
 * in two is the same run. */
#ifndef SIGHTGLASS_TRAIN_H
#define SIGHTGLASS_TRAIN_H

#include <signal.h>

#include "sightglass/ops.h"
#include "sightglass/ranks.h"
#include "sightglass/run.h"
#include "sightglass/schedule.h"
#include "sightglass/source.h"
#include "sightglass/update.h"

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
    const sg_updates *made;   /* NULL; or what sg_updates_new made, in the place of the two above */
    sg_value *weight;         /* NULL; as sg_updates_new was given it */
    int n_inputs;             /* 0; with a source, as many as it has fields: input i is fed field i */
    sg_value *const *inputs;
} sg_train_graph;

typedef struct sg_train_progress {
    sg_dim step, n_steps; /* steps done of this run, of how many */
    double loss;          /* of the last step that was read */
    double seconds, seconds_left;
    sg_dim steps_done; /* in all, those before this run counted */
    double lr;         /* of that step */
    double norm;       /* of its gradient; NaN where the updates were not made by sg_updates_new */
    double rate;       /* steps per second of this run, but for the first, which plans */
} sg_train_progress;

typedef struct sg_train_opts {
    double lr;                   /* 1e-3 */
    const sg_schedule *schedule; /* NULL; in the place of lr */
    const sg_source *source;     /* NULL: nothing comes from outside.  Step k uses batches k * n, ... k * n + n - 1 */
    sg_dim read_every;           /* 100; the loss is read, checked and told that often, and at the last step.  At 1 one plan serves all
                                  * steps; otherwise those with and without a loss have each a plan and its memory */
    void (*progress)(void *context, const sg_train_progress *at); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* looked at before each batch: not 0 ends the run.  NULL: nobody can */
    sg_ranks *ranks; /* NULL; with others each trains on its own source, with updates made apart, and a step is that of
                      * all ranks' batches as if they were one. States begin alike and stay so. Progress is told on rank
                      * 0; a failure of one rank, or cancel, ends all in the same step with the same status */
    bool overlap;    /* with ranks: gradients are summed while the backward pass goes on, not after it (true) */
    sg_exec_opts exec;
} sg_train_opts;
sg_train_opts sg_train_defaults(void);

typedef struct sg_train sg_train;

/* Graph, state, schedule and source stay the caller's and outlive the training; arrays are copied. */
sg_status sg_train_new(sg_train **out, const sg_graph *g, sg_state *state, sg_train_graph what, sg_train_opts opts,
                       sg_error *err) SG_MUST_CHECK;

/* `n_steps` more.  SG_ENUMERIC: the loss that was read is not finite (the text has the step); SG_ECANCELLED: cancel was
 * set; or the source's failure. After each the state holds the last step done. */
sg_status sg_train_run(sg_train *t, sg_dim n_steps, sg_error *err) SG_MUST_CHECK;

/* The rate of the steps to come, where there is no schedule. */
void sg_train_set_lr(sg_train *t, double lr);
/* The step that comes next, after the state has been given the numbers of that moment. */
void sg_train_set_step(sg_train *t, sg_dim step);

sg_dim sg_train_step(const sg_train *t);         /* steps done */
double sg_train_loss(const sg_train *t);         /* of the last step that was read; NaN before */
const sg_plan *sg_train_plan(const sg_train *t); /* of the last step; NULL before */

/* Bytes of the blocks that runs will take, and of the source's buffers; it plans, and runs nothing. */
typedef struct sg_train_memory {
    size_t blocks, batches;
} sg_train_memory;
sg_status sg_train_plan_memory(sg_train *t, sg_train_memory *out, sg_error *err) SG_MUST_CHECK;

void sg_train_free(sg_train *t); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
