/* What the study relational-composition measures of a way of binding: what can be read off its vectors, and which atoms a dictionary finds. */
#ifndef SG_STUDIES_RELATIONAL_PARTS_H
#define SG_STUDIES_RELATIONAL_PARTS_H

#include "study.h"

enum { RC_SEEDS = 3, RC_MOST = 12 };
/* What can be read: features, who fills which role by a linear probe and by a tensor-product probe, of one vector; which vectors
 * belong together (or of multi-token the order) by a product of two, and by a linear probe of one. NaN where it makes no sense. */
enum { RC_FEATURE, RC_ROLE, RC_TPR, RC_MATCH, RC_ALONE, RC_READ };

typedef struct rc_mechanism {
    const char *name; /* "matrix, low rank" */
    const char *mechanism, *maps, *directions;
    double read[RC_READ][RC_SEEDS];
    /* of a dictionary, where one is fitted */
    double found[RC_SEEDS], found_centred[RC_SEEDS]; /* share of R_r f with an atom of cosine >= .9; less the means of roles */
    double random[RC_SEEDS];                         /* the same of random atoms */
    double echo[RC_SEEDS], null_mean[RC_SEEDS], null_high[RC_SEEDS];
    double pairs[RC_SEEDS]; /* share of the features whose two atoms are paired */
} rc_mechanism;

typedef struct rc_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    uint64_t seeds[RC_SEEDS];
    sg_dim features, d, width, n_vectors, n_steps, n_decode;
    double done;
} rc_parts;

sg_status rc_decode(rc_parts *p, rc_mechanism *m) SG_MUST_CHECK;
sg_status rc_dictionary(rc_parts *p, rc_mechanism *m) SG_MUST_CHECK;
/* n mechanisms, of which the first n_echo have dictionaries. */
sg_status rc_figures(const rc_parts *p, int n, const rc_mechanism *m, int n_echo) SG_MUST_CHECK;

#endif
