/* A layout as a picture, with a label for each point. */
#ifndef SG_METHODS_LAYOUT_PICTURE_H
#define SG_METHODS_LAYOUT_PICTURE_H

#include <stdio.h>

#include "base/base.h"

typedef struct layout_labels {
    int32_t n;         /* distinct ones */
    int32_t *of;       /* [N] of each point: 0 is the most frequent */
    const char **text; /* [n] borrowed */
    sg_dim *count;     /* [n] */
    double *number;    /* [N] where they are many and all numbers, else NULL */
    double low, high;  /* of these */
} layout_labels;

/* text [n], borrowed for as long as the labels are used. */
sg_status layout_labels_of(layout_labels *out, sg_dim n, const char *const *text, sg_error *err) SG_MUST_CHECK;
void layout_labels_free(layout_labels *l); /* a zeroed struct is fine */

/* xy [n,2] f32; labels NULL: none. */
void layout_picture(FILE *to, const sg_tensor *xy, const char *title, const layout_labels *labels);

#endif
