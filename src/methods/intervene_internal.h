/* What the files of interventions share. */
#ifndef SG_METHODS_INTERVENE_INTERNAL_H
#define SG_METHODS_INTERVENE_INTERNAL_H

#include "base/base.h"
#include "sightglass/intervene.h"

/* What a probe is to read off n activations. A row whose weights are all 0 is to stay as it is. */
typedef struct sg_aim {
    float *x;        /* [n,D] */
    int32_t *labels; /* [n,S] */
    float *weights;  /* [n,S] */
} sg_aim;

/* loss [n]: the mean over tasks of the cross-entropy, by weights, in nats. NaN without weight. */
sg_status sg_aim_loss(const sg_probe *probe, sg_aim aim, sg_dim n, double *loss, sg_error *err) SG_MUST_CHECK;

/* Moves activations there by gradient steps, n rows at once. The probe outlives it. */
typedef struct sg_mover sg_mover;
sg_status sg_mover_new(sg_mover **out, const sg_probe *probe, sg_dim n, sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;
void sg_mover_free(sg_mover *mover); /* NULL is fine */
sg_dim sg_mover_n_rows(const sg_mover *mover);

/* Each row of aim.x becomes the best that n_steps steps of Adam come by. */
sg_status sg_mover_run(sg_mover *mover, sg_aim aim, int n_steps, double lr, const volatile sig_atomic_t *cancel,
                       sg_error *err) SG_MUST_CHECK;

#endif
