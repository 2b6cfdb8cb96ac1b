/* What the studies of drawn shapes share: small convolutional networks trained on the world `shapes`, images of it,
 * progress. */
#ifndef SG_STUDIES_SHAPE_NETS_H
#define SG_STUDIES_SHAPE_NETS_H

#include "sightglass/attribute.h"
#include "sightglass/convnet.h"
#include "sightglass/world.h"
#include "study.h"

enum { SHAPE_SIDE = 24, SHAPE_PIXELS = SHAPE_SIDE * SHAPE_SIDE, SHAPE_CLASSES = 4 };

/* Two convolutions of 16 and 32 kernels, each pooled, and a dense layer of 32: 4 classes of 24 x 24 greys. Images of
 * step k on are those of no test: their seed is another. */
sg_status shape_net(sg_model **out, const sg_study_opts *opts, const char *part, int n_settings,
                    const sg_setting *settings, int n_steps, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* The same, shown the first n images of its world again and again, so that labels which mean nothing can be learnt. */
sg_status shape_net_by_heart(sg_model **out, const sg_study_opts *opts, const char *part, int n_settings,
                             const sg_setting *settings, int n, int n_steps, uint64_t seed, double *accuracy,
                             sg_error *err) SG_MUST_CHECK;

/* Images that no network was trained on. */
sg_status shape_images(sg_sample **out, int n_settings, const sg_setting *settings, int n, uint64_t seed,
                       sg_error *err) SG_MUST_CHECK;
const float *shape_pixels(const sg_sample *s); /* [n,1,24,24] */
const int32_t *shape_labels(const sg_sample *s);
const bool *shape_mask(const sg_sample *s, const char *field); /* "mask", "caption_mask": [n,24,24] */
sg_status shape_accuracy(double *out, const sg_model *m, const sg_sample *s, sg_exec_opts exec,
                         sg_error *err) SG_MUST_CHECK;

/* Tells progress of a part that trains nothing; SG_ECANCELLED where the study is to stop. */
sg_status shape_progress(const sg_study_opts *opts, const char *part, double done, sg_error *err) SG_MUST_CHECK;
/* What attributers ran on. */
sg_status shape_ran_on(sg_report *report, sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;

#endif
