/* Assignment: which row goes with which column, so that the sum of what the pairs are worth is greatest, or least.
 *
 *     int32_t column_of[3];
 *     double total;
 *     SG_TRY(sg_assignment(column_of, &total, &cosines, SG_GREATEST, err)); // cosines [3,5]
 *     // row i goes with column column_of[i], and no two rows with the same one
 *
 * Exact: the Hungarian method by shortest augmenting paths with potentials (Kuhn 1955; Jonker and Volgenant 1987),
 * O(n^2 m) for n <= m. */
#ifndef SIGHTGLASS_ASSIGNMENT_H
#define SIGHTGLASS_ASSIGNMENT_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_assignment_sense { SG_LEAST, SG_GREATEST } sg_assignment_sense;

/* worth [N,M] f32 or f64. column_of [N]: where N > M the rows that are left over have -1. *total (may be NULL) is the
 * sum over the pairs. One of several best pairings is chosen, always the same. SG_ENUMERIC: a number is not finite. */
sg_status sg_assignment(int32_t *column_of, double *total, const sg_tensor *worth, sg_assignment_sense sense,
                        sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
