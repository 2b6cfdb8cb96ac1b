/* The parts that the study toy-superposition is put together from. */
#ifndef SG_STUDIES_TOY_PARTS_H
#define SG_STUDIES_TOY_PARTS_H

#include "toy_model.h"

enum { SEEDS = 3 };

typedef struct toy_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    int n_seeds;      /* of the claims to come */
    toy_model budget; /* steps, batch and rates; extents are set by each part */
} toy_parts;

/* full: 10,000 steps of 1024 at 1e-3. small: 6,000 of 256 at 5e-3, the last third at 5e-4. */
toy_model toy_budget(const sg_study_opts *opts);
/* Tells the report how the models are trained. */
sg_status toy_describe(const toy_parts *s) SG_MUST_CHECK;

/* Trains n_seeds models at each p in one batch: instance i * n_seeds + seed has p[i]. Importances are decay^i. */
sg_status toy_sweep(const toy_parts *s, toy_trained *out, const char *part, sg_dim n, sg_dim m, double decay, int n_p,
                    const double *p, int n_seeds, bool linear) SG_MUST_CHECK;

/* Adds a claim over the seeds 0 .. n_seeds - 1. */
sg_status toy_claim(const toy_parts *s, const char *id, const char *text, const char *source, sg_measure measured,
                    sg_control control) SG_MUST_CHECK;

/* --full: two features in one dimension over (p, r) against closed forms; 400 features in 30 dimensions over p. */
sg_status toy_phase_diagram(const toy_parts *s) SG_MUST_CHECK;
sg_status toy_plateaus(const toy_parts *s) SG_MUST_CHECK;

#endif
