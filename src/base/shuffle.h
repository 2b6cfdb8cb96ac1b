/* Rows in an order drawn anew for each epoch, without a list of them. */
#ifndef SG_SHUFFLE_H
#define SG_SHUFFLE_H

#include <stdint.h>

#include "sightglass/tensor.h"

typedef struct sg_shuffle {
    uint64_t seed;
    sg_dim n_rows; /* of an epoch; >= 1 */
    int half;      /* bits of each half of the network */
} sg_shuffle;

sg_shuffle sg_shuffle_new(uint64_t seed, sg_dim n_rows);
/* The row that is at place `i` of an epoch. */
sg_dim sg_shuffle_at(const sg_shuffle *s, sg_dim epoch, sg_dim i);

#endif
