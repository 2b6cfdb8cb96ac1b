/* The maps of the SmoothGrad study, and what is measured of them on images whose truth is known. */
#ifndef SG_STUDIES_SMOOTHGRAD_PARTS_H
#define SG_STUDIES_SMOOTHGRAD_PARTS_H

#include "shape_nets.h"

enum { SMOOTH_SEEDS = 3 };

typedef enum smooth_map {
    GRADIENT, /* of the true class's logit, |.| */
    SMOOTH,   /* noise .15, 25 copies */
    STILL,    /* the same with noise 0 */
    LOUD,     /* with noise 2 */
    SHUFFLED, /* smooth of the network with all weights shuffled */
    EDGES,    /* of the image; no network */
    LABELS,   /* smooth of a network that learnt random labels; full */
    N_SMOOTH_MAPS
} smooth_map;

typedef struct smooth_seed {
    uint64_t seed;
    sg_model *net, *by_heart;
    double accuracy, heart_accuracy;
    sg_sample *images;
    int n;                                                 /* images */
    double *auc[N_SMOOTH_MAPS], *variation[N_SMOOTH_MAPS]; /* [n] */
    double *kept,
        *again; /* [n] rank correlation of smooth with that of shuffled weights, and with that of other noise */
} smooth_seed;

typedef struct smooth_study {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    smooth_seed seeds[SMOOTH_SEEDS];
} smooth_study;

/* Trains, draws and measures one seed. */
sg_status smooth_measure(smooth_study *s, int i) SG_MUST_CHECK;
void smooth_free(smooth_study *s);

/* One map of image i as places [24,24], of class `label`. */
sg_status smooth_places(double places[SHAPE_PIXELS], sg_attributer *a, const smooth_seed *s, int i,
                        const sg_attribute_opts *opts, sg_error *err) SG_MUST_CHECK;
sg_status smooth_attributer(sg_attributer **out, const sg_model *m, const sg_study_opts *opts,
                            sg_error *err) SG_MUST_CHECK;

/* An end of the 95 % interval of the mean of a - b over images (b NULL: of a). */
double smooth_end(const double *a, const double *b, int n, bool high);
double smooth_mean(const double *x, int n);

/* ---- smoothgrad_figures.c ---- */

sg_status smooth_figures(smooth_study *s) SG_MUST_CHECK;

#endif
