/* Resampling along a line: which old numbers make a new one, and with what weights. */
#ifndef SG_IO_RESAMPLE_H
#define SG_IO_RESAMPLE_H

#include "sightglass/bitmap.h"
#include "sightglass/tensor.h"

/* The window of one new number. */
typedef struct sg_taps {
    sg_dim first;
    int n;
    double *weights; /* [n], their sum 1 */
} sg_taps;

/* How many weights a window may have. */
sg_dim sg_resample_most(sg_filter filter, sg_dim from, sg_dim to);
/* Window `i` of `to` over `from` numbers; t->weights has room for sg_resample_most. */
void sg_resample_taps(sg_filter filter, sg_dim from, sg_dim to, sg_dim i, sg_taps *t);

/* The same as a matrix [to,from], which is zero on entry. */
void sg_resample_matrix(sg_filter filter, sg_dim from, sg_dim to, double *matrix);
/* A cubic through the four nearest numbers (Keys 1981, a = -3/4), the outermost standing for those beyond: what PyTorch
 * calls bicubic without antialias. [to,from], zero on entry. */
void sg_resample_points(sg_dim from, sg_dim to, double *matrix);

#endif
