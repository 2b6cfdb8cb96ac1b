/* The nets of the study adversarial-spheres: trained, and asked where they err. */
#ifndef SG_STUDIES_SPHERES_MODEL_H
#define SG_STUDIES_SPHERES_MODEL_H

#include "sightglass/attack.h"
#include "sightglass/spheres.h"
#include "study.h"

enum { SPHERES_SEEDS = 3 };

/* A quadratic net, w sum_j ((W1 x)_j)^2 + b, or with w2 one of two ReLU layers with batch normalisation, as it stands
 * after training: the normalisation is in the weights. */
typedef struct spheres_net {
    sg_dim d, h;
    float *w1;                /* [h,d] */
    float w, b;               /* quadratic */
    float *b1, *w2, *b2, *w3; /* ReLU: [h], [h,h], [h], [h]; its last bias is b */
} spheres_net;

typedef struct spheres_job {
    sg_spheres world;
    sg_dim h, n_steps, batch;
    double lr; /* a tenth of it in the last third */
    uint64_t seed;
} spheres_job;

/* SPHERES_SEEDS quadratic nets at once, each with points of its own. `part` names it for progress. */
sg_status spheres_train(spheres_net net[SPHERES_SEEDS], const spheres_job *job, const sg_study_opts *opts,
                        const char *part, sg_report *report, sg_error *err) SG_MUST_CHECK;
/* One ReLU net. */
sg_status spheres_train_relu(spheres_net *net, const spheres_job *job, const sg_study_opts *opts, const char *part,
                             sg_report *report, sg_error *err) SG_MUST_CHECK;
void spheres_net_free(spheres_net *net);
/* The quadratic net with these axes: alpha [d], vectors [d,d]. */
sg_status spheres_net_of(spheres_net *net, sg_dim d, const double *alpha, const double *vectors,
                         sg_error *err) SG_MUST_CHECK;
sg_status spheres_quadric(sg_quadric **out, const spheres_net *net, sg_error *err) SG_MUST_CHECK;

/* A net as one that can be attacked, on one of the two spheres; its loss is minus the margin, whose gradient points as
 * that of the logistic loss does. */
typedef struct spheres_asked {
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    sg_value *logit; /* [N] */
    sg_attack_session ask;
} spheres_asked;
sg_status spheres_ask(spheres_asked *out, const spheres_net *net, bool outer, const sg_study_opts *opts,
                      sg_error *err) SG_MUST_CHECK;
void spheres_asked_free(spheres_asked *a);

#endif
