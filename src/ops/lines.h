/* Kernels along one axis: the view as [outer, n, inner] lines, for contiguous values. */
#ifndef SG_OPS_LINES_H
#define SG_OPS_LINES_H

#include "ops/iter.h"

typedef struct sg_lines {
    sg_dim outer, n, inner;
} sg_lines;

static inline sg_lines sg_lines_of(const sg_view *x, int64_t axis)
{
    sg_lines l = {1, 1, 1};

    for (int k = 0; k < x->n_dims; k++)
        *(k < axis ? &l.outer : k == axis ? &l.n : &l.inner) *= x->dims[k];
    return l;
}

#endif
