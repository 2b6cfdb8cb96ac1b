/* Control vectors: a direction for each of some layers, which is added to the residual stream behind that layer
 * (representation engineering; Zou et al. 2023), in GGUF files whose general.architecture is "controlvector".
 *
 *     sg_control_vector *cv;
 *     SG_TRY(sg_control_vector_open(&cv, "happy.gguf", err));
 *     SG_TRY(sg_control_vector_edits(cv, 1.5, (sg_span){0, 100}, list, err)); // add at blocks.{i}.hook_resid_post
 *     sg_control_vector_close(cv);
 *
 * The tensor direction.{i} belongs behind block i, counted from 0; the format has none behind block 0. */
#ifndef SIGHTGLASS_CONTROL_VECTOR_H
#define SIGHTGLASS_CONTROL_VECTOR_H

#include "sightglass/edit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_control_vector sg_control_vector;

/* SG_EFORMAT: no control vector, a tensor that is no direction, or directions of different lengths. */
sg_status sg_control_vector_open(sg_control_vector **out, const char *path, sg_error *err) SG_MUST_CHECK;
void sg_control_vector_close(sg_control_vector *cv); /* NULL is fine */

int sg_control_vector_count(const sg_control_vector *cv);
sg_dim sg_control_vector_layer(const sg_control_vector *cv, int i);
const sg_tensor *sg_control_vector_direction(const sg_control_vector *cv, int i); /* [D], borrowed until close */
const char *sg_control_vector_model(const sg_control_vector *cv); /* what it says it is for; NULL: nothing */

/* Appends an edit for each of its layers within `layers`. SG_EARG: none is. */
sg_status sg_control_vector_edits(const sg_control_vector *cv, double strength, sg_span layers, sg_edit_list *list,
                                  sg_error *err) SG_MUST_CHECK;

/* Writes a list as such a file. Only what the format can say: op add, whole vectors at blocks.{i}.hook_resid_post, or
 * hook_resid_pre of the next block, i >= 1, without conditions; several at one place add up. SG_EARG names the edit
 * that is none. `model` may be NULL. */
sg_status sg_control_vector_save(const char *path, sg_edit_list *list, const char *model, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
