/* What the files of this method share. A judgement goes reading by reading: features come, a probe is fitted and
 * marked, features go; of the site's reading its probe stays, which then says where to move the site. */
#ifndef SG_METHODS_WORLDMODEL_INTERNAL_H
#define SG_METHODS_WORLDMODEL_INTERNAL_H

#include "base/base.h"
#include "sightglass/worldmodel.h"

/* A share for each episode judged on: `got` of `of`, which is 0 where there was nothing. For R2 squared errors, of
 * squares about the mean. */
typedef struct sg_wm_marks {
    sg_dim n, n_labels;
    double *got, *of; /* [n] */
} sg_wm_marks;

sg_status sg_wm_marks_new(sg_wm_marks *m, sg_dim n, sg_error *err) SG_MUST_CHECK;
void sg_wm_marks_free(sg_wm_marks *m);
/* With its 95 % interval. The same seed draws the same episodes, so that rates of one split are resampled alike. */
sg_status sg_wm_marks_rate(sg_rate *out, const sg_wm_marks *m, bool is_r2, int n_resamples, uint64_t seed,
                           sg_error *err) SG_MUST_CHECK;

enum { SG_WM_FIT, SG_WM_CHOOSE, SG_WM_JUDGE, SG_WM_PARTS };

/* A judgement under way. */
typedef struct sg_wm {
    const sg_worldmodel_network *net;
    sg_worldmodel_opts opts;
    sg_dim first[SG_WM_PARTS + 1]; /* rows of each part; the last is n_rows */
    sg_dim n_tasks;
    sg_tensor state;       /* [N,S]: the network's classes, or its numbers less their mean over their deviation */
    sg_dim *episode;       /* [N] of a judged row: which of those judged on it is */
    sg_dim n_judged;       /* episodes */
    double *centre, *unit; /* [S] of numbers: mean and deviation of the rows fitted on */
    sg_worldmodel *found;
} sg_wm;

sg_status sg_wm_tell(const sg_wm *w, const char *part, double done, sg_error *err) SG_MUST_CHECK; /* SG_ECANCELLED */

/* Divides features x [N,D] by what makes their mean variance 1 on the rows fitted on: *unit. */
sg_status sg_wm_scale(double *unit, const sg_wm *w, sg_tensor *x, sg_error *err) SG_MUST_CHECK;
/* The probe of features x [N,D], so scaled, for a state shaped as w->state; *marks (not NULL) is made. */
sg_status sg_wm_read(sg_probe **probe, double *lambda, sg_wm_marks *marks, const sg_wm *w, const sg_tensor *x,
                     const sg_tensor *state, sg_error *err) SG_MUST_CHECK;
/* The state with each row's taken from another episode of its part, at the same position; data the caller's. */
sg_status sg_wm_shuffled(sg_tensor *out, const sg_wm *w, sg_error *err) SG_MUST_CHECK;
/* What the commonest class of each task and position reads right. */
sg_status sg_wm_chance(sg_wm_marks *marks, const sg_wm *w, sg_error *err) SG_MUST_CHECK;

/* x: the site's features, from which the probe was fitted, divided by `unit`. */
sg_status sg_wm_use(sg_worldmodel_used *out, const sg_wm *w, const sg_probe *probe, const sg_tensor *x, double unit,
                    sg_error *err) SG_MUST_CHECK;

/* The effect on an Othello board of states that are of one; rows of the network in question. */
typedef struct sg_wm_board {
    const sg_worldmodel_data *data;
    const sg_store_row *rows;
    const sg_tensor *state;
} sg_wm_board;
sg_worldmodel_effect sg_wm_board_effect(sg_wm_board *self);

#endif
