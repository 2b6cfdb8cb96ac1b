/* The parts that the study othello-tpr is put together from. */
#ifndef SG_STUDIES_OTHELLO_TPR_PARTS_H
#define SG_STUDIES_OTHELLO_TPR_PARTS_H

#include "othello_parts.h"
#include "sightglass/tpr.h"

enum { TPR_SEEDS = 3, TPR_MOST_SIZES = 8 };

typedef struct tpr_study {
    othello_parts parts;
    char site[48];
    uint8_t board[SG_OTHELLO_MAX_SQUARES * SG_OTHELLO_MAX_SQUARES];
    sg_tpr_table *table[TPR_SEEDS]; /* of the first seed all sizes, of the others those that claims are about */
    sg_dim controlled, large;       /* role dimensions that claims are about */
} tpr_study;

/* The entry of a size; it is there. */
const sg_tpr_size *tpr_size(const sg_tpr_table *t, sg_dim role_dim);

/* Accuracy against numbers; agreement and likeness against the role dimension; cosines of squares; distances on the
 * board. All of the first seed. */
sg_status tpr_figures(const tpr_study *s) SG_MUST_CHECK;

#endif
