/* The model of "Toy Models of Superposition": h = W x, y = relu(W'h + b), loss sum_i I_i (x_i - y_i)^2, in K instances
 * that are trained together and do not know of each other. */
#ifndef SG_STUDIES_TOY_MODEL_H
#define SG_STUDIES_TOY_MODEL_H

#include "sightglass/superposition.h"
#include "study.h"

typedef struct toy_model {
    sg_dim n_instances, n_features, n_dims;
    const float *p;          /* [K] p(active) */
    const float *importance; /* [K,n] */
    bool linear;             /* without the ReLU: the baseline that cannot use sparsity */
    sg_dim n_steps, batch;
    double lr, lr_end; /* the last third of the steps runs at lr_end */
    uint64_t seed;
    uint32_t stream; /* instance k draws its start and its data from stream + k */
} toy_model;

/* Adam at 1e-3 throughout, batches of 1024, 10,000 steps. */
toy_model toy_defaults(void);

typedef struct toy_trained {
    float *w, *b;            /* [K,m,n], [K,n] */
    float *start_w;          /* [K,m,n], before training */
    sg_superposition *start; /* before training */
    sg_superposition *shape; /* after it */
} toy_trained;

/* `part` is for progress; the report, if there is one, is told the backends. Free what comes out, also after a failure.
 */
sg_status toy_train(toy_trained *out, const toy_model *m, const sg_study_opts *opts, const char *part,
                    sg_report *report, sg_error *err) SG_MUST_CHECK;
void toy_free(toy_trained *t);

#endif
