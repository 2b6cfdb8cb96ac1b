/* Checkpoints: all that training needs to go on as if it had never stopped, in one file of a folder.
 *
 *     const sg_pair facts[] = {{"seed", "7"}, {"schedule", "cosine lr 0.001 ..."}};
 *     SG_TRY(sg_checkpoint_save("out", g, state, sg_train_step(t), facts, 2, 3, err)); // and keeps the last three
 *     ...
 *     SG_TRY(sg_checkpoint_load("out", g, state, &step, facts, 2, NULL, NULL, err));
 *     sg_train_set_step(t, step);
 *
 * A file checkpoint-STEP.safetensors holds every variable of the graph (weights, moments, averages), and as metadata the
 * step, a hash of the variables' names, types and shapes, and the caller's facts: what has to be the same for the
 * continued run to be the same run. It appears whole or not at all, also when the process is killed. */
#ifndef SIGHTGLASS_CHECKPOINT_H
#define SIGHTGLASS_CHECKPOINT_H

#include "sightglass/run.h"
#include "sightglass/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the state after `step` steps, then removes all but the newest `keep` >= 1 checkpoints of the folder, and what
 * writers that were killed have left there. */
sg_status sg_checkpoint_save(const char *dir, const sg_graph *g, sg_state *s, sg_dim step, const sg_pair *facts,
                             int n_facts, int keep, sg_error *err) SG_MUST_CHECK;

/* Gives the state the numbers of the newest checkpoint that is whole and fits, and its step. Of newer ones that are not,
 * `refused` (unless NULL) is told the reason. A state is changed only by a success.
 * SG_ENOTFOUND: there is no checkpoint. Where there are some and none will do, the newest one's reason: SG_EFORMAT for a
 * file that is broken, SG_EARG for a different model or a different fact. */
sg_status sg_checkpoint_load(const char *dir, const sg_graph *g, sg_state *s, sg_dim *step, const sg_pair *facts,
                             int n_facts, void (*refused)(void *context, const char *reason), void *context,
                             sg_error *err) SG_MUST_CHECK;

/* The step of the newest checkpoint, whole or not, by its name; -1: there is none. */
sg_dim sg_checkpoint_newest(const char *dir);

#ifdef __cplusplus
}
#endif
#endif
