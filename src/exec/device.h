/* What a run has on a device: its block, feeds and constants there, places here where fetches land, and copies for the
 * steps that only the processor can do. */
#ifndef SG_EXEC_DEVICE_H
#define SG_EXEC_DEVICE_H

#include "exec/exec_internal.h"

typedef struct sg_away sg_away;

/* Takes memory on the plan's device and sends constants there. Lives as long as the arena. */
sg_status sg_away_new(sg_away **out, sg_arena *arena, const sg_plan *plan, unsigned char **block, sg_error *err);

/* Where value a, a feed or a constant, lies on the device. */
void *sg_away_at(const sg_away *w, int a);

/* Sends the feeds' numbers. */
sg_status sg_away_feed(sg_away *w, const sg_tensor *const *fed, sg_error *err);

/* Has a step, whose kernel is the processor's, compute on copies: changes *run and k->self. False when memory is out.
 */
bool sg_away_shadow(sg_away *w, const sg_plan_step *step, sg_kernel_fn *run, sg_kernel_args *k);

/* Brings a contiguous value: fetch i to a place of its own, or any to one that the next look uses again. t has the
 * extents; its data are set. */
sg_status sg_away_land(sg_away *w, int i, const void *from, sg_tensor *t, sg_error *err);
sg_status sg_away_look(sg_away *w, sg_tensor *t, sg_error *err);

#endif
