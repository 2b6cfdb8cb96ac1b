/* What the study adversarial-spheres measures of its nets: see spheres_parts.c. */
#ifndef SG_STUDIES_SPHERES_PARTS_H
#define SG_STUDIES_SPHERES_PARTS_H

#include "spheres_model.h"

enum { SPHERES_MOST_D = 200 };

/* One setting, each number for every seed, on the inner sphere. */
typedef struct spheres_row {
    const char *name;
    sg_dim d, train, h, n_steps;
    double lr; /* 0: 1e-3 */
    bool relu;
    double counted[SPHERES_SEEDS],
        closed[SPHERES_SEEDS];                         /* share of the sphere that errs; in closed form (NaN of ReLU) */
    double outer[SPHERES_SEEDS];                       /* the same of the outer sphere, counted */
    double found[SPHERES_SEEDS];                       /* share of starts from which an error was found */
    double distance[SPHERES_SEEDS];                    /* mean distance of the errors found; starts that err count 0 */
    double exact[SPHERES_SEEDS];                       /* mean distance of the nearest errors; NaN of ReLU */
    double excess[SPHERES_SEEDS];                      /* mean of distance over exact, of starts that do not err */
    double bound[SPHERES_SEEDS], limit[SPHERES_SEEDS]; /* of a cap as large as what errs: exact, and its limit */
    double random[SPHERES_SEEDS]; /* share that errs after a step as long as the mean distance, in a random direction */
    double far[SPHERES_SEEDS];    /* distance to the nearest of 2,000 random points that err, over exact */
    double least[SPHERES_SEEDS], most[SPHERES_SEEDS]; /* alpha */
    double alpha[SPHERES_MOST_D];                     /* of the first seed */
    double band[SPHERES_SEEDS];      /* share of starts with an error, alphas clamped into the band, 10 restarts */
    double unclamped[SPHERES_SEEDS]; /* the same of the net as it was trained */
} spheres_row;

typedef struct spheres_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    uint64_t seeds[SPHERES_SEEDS];
    sg_dim n_starts, n_counted;
} spheres_parts;

/* Trains the row's nets and measures all of the above but band and unclamped. */
sg_status spheres_measure(const spheres_parts *s, spheres_row *row) SG_MUST_CHECK;
/* Clamps the alphas of this row's nets, trained anew, and looks for errors from n_starts starts. */
sg_status spheres_clamp(const spheres_parts *s, spheres_row *row, sg_dim n_starts) SG_MUST_CHECK;

/* Rows: the last one is online. */
sg_status spheres_figures(const spheres_parts *s, int n_rows, const spheres_row *rows) SG_MUST_CHECK;

#endif
