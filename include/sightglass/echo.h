/* Echoes: atoms of a dictionary that are one feature in two roles, related by one linear map that all of them share.
 *
 *     sg_echo *e;
 *     SG_TRY(sg_echo_search(&e, &atoms, &codes, NULL, sg_echo_defaults(), err)); // atoms [M,D], codes [N,M]
 *     printf("held out %.2f, of rotated atoms at most %.2f in 95 of 100\n", e->score, e->null_high);
 *     sg_echo_free(e);
 *
 * If features are bound to roles by matrices (Wattenberg and Viegas 2024), v = R_1 f + R_2 g, a dictionary finds R_1 f and R_2 f as two
 * atoms that seem to have nothing to do with each other, but D_j = M D_i with M = R_2 R_1^-1 for every feature. The search alternates:
 * given pairs, predict each D_j by a ridge regression on all other pairs (in closed form, by the dual); given predictions, pair anew
 * so that the cosines sum to most (assignment.h). It begins at a pairing by the cosines that an atom has with those of its own side,
 * which an orthogonal map does not change; at one by how often atoms fire; and at random ones. The best is kept.
 *
 * Sides: which atoms may be mapped to which. Roles that are filled at the same time make atoms fire together across sides and never
 * within, so the sides follow from codes; or they are given; or, with neither, any atom may go to any other but itself, and the
 * better half of the pairs counts: that finds little where echoes go one way only.
 *
 * Where exactly one atom of each side is always active, a vector may be added to all atoms of the one and taken from all of the other, and
 * the sums stay what they were: a dictionary has them up to that. So the mean of its side is taken off each atom first.
 *
 * The score is the mean cosine of each D_j with its prediction by the others: the pair itself is held out, but the pairing was chosen
 * by such numbers, and with few pairs any map fits. So it means something only beside the null: the same search over atoms each of
 * which was turned by a rotation of its own. Signs count: codes are taken not to be negative. */
#ifndef SIGHTGLASS_ECHO_H
#define SIGHTGLASS_ECHO_H

#include <signal.h>

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_echo_opts {
    double same;    /* .6: of atoms whose cosine is above this all but the one that fires most are left out */
    bool centre;    /* true: the mean of a side is taken off its atoms, where there are two sides */
    double ridge;   /* .1: penalty, beside atoms of length 1 */
    int n_rounds;   /* 20: of map and pairing, at most */
    int n_restarts; /* 5 */
    int n_nulls;    /* 20: searches over rotated atoms */
    sg_dim most;    /* 512: atoms that are looked at, those that fire most (or the first) */
    uint64_t seed;  /* 0 */
    void (*progress)(void *context, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_echo_opts;
sg_echo_opts sg_echo_defaults(void);

typedef struct sg_echo_pair {
    int32_t from, to; /* atoms */
    double cosine;    /* of D_to with what the other pairs make of D_from */
} sg_echo_pair;

typedef struct sg_echo {
    sg_dim n_atoms, n_side[2]; /* that were looked at; on either side */
    sg_dim n_copies;           /* left out as copies of others */
    int32_t *side;             /* [M] 0 or 1; 2: on both; -1: not looked at, as it never fires or is one too many */
    sg_dim n_pairs;
    sg_echo_pair *pairs;       /* the best first */
    double score;
    int n_nulls;
    double *nulls;              /* [n_nulls] rising */
    double null_mean, null_high; /* 95 % of the nulls are below; NaN without nulls */
    double p;                   /* (1 + nulls that reach the score) / (1 + nulls) */
    sg_tensor map;              /* [D,D] f64, orthogonal (Procrustes on all pairs): D_to = D_from map, both less the means of their sides */
    sg_dim rank;                /* of what determines it: pairs beyond that are free to turn */
} sg_echo;

/* atoms [M,D] floats, brought to length 1 (an atom of length 0 is not looked at); codes [N,M] floats or NULL; side [M] or NULL: 0, 1,
 * or -1 for neither. SG_EARG: fewer than 4 atoms, or 2 on a side; SG_ESHAPE; SG_ENUMERIC. */
sg_status sg_echo_search(sg_echo **out, const sg_tensor *atoms, const sg_tensor *codes, const int32_t *side, sg_echo_opts opts,
                         sg_error *err) SG_MUST_CHECK;
void sg_echo_free(sg_echo *e); /* NULL is fine */

/* side [M] of codes [N,M]: the parting across which atoms fire together most, by the last eigenvector of the normalised counts of
 * firing together; -1 where an atom never fires. */
sg_status sg_echo_sides(int32_t *side, const sg_tensor *codes, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
