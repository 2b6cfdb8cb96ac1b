/* What the files of the GAN share. */
#ifndef SG_PLAY_GAN_INTERNAL_H
#define SG_PLAY_GAN_INTERNAL_H

#include "base/base.h"
#include "base/math.h"
#include "sightglass/gan.h"
#include "sightglass/ops.h"

enum { GAN_MOST_PARAMS = 2 * (SG_GAN_MOST_LAYERS + 2) };

/* The values of the graph that runs feed and fetch. */
typedef struct gan_values {
    sg_value *noise, *real;                              /* [batch,1 or 2], [batch,2] */
    sg_value *rate[SG_N_GAN_NETS], *step[SG_N_GAN_NETS]; /* scalars; steps count from 1 */
    sg_value *fake, *d_real, *d_fake, *arrows;           /* [batch,2], [batch,1] twice, [batch,2] */
    sg_value *loss[SG_N_GAN_NETS][SG_N_GAN_LOSSES];
    sg_value *norm[SG_N_GAN_NETS][SG_N_GAN_LOSSES]; /* of the gradient by all parameters */
    int n_params[SG_N_GAN_NETS];
    sg_value *param[SG_N_GAN_NETS][GAN_MOST_PARAMS];
    sg_value *moment[SG_N_GAN_NETS][2][GAN_MOST_PARAMS];
    sg_value *update[SG_N_GAN_NETS][SG_N_GAN_LOSSES][SG_N_GAN_RULES][GAN_MOST_PARAMS];
} gan_values;

/* Builds it all: both losses and both rules, of which a run takes what it fetches. */
sg_status gan_build(gan_values *v, sg_graph *g, const sg_gan_opts *opts, sg_error *err) SG_MUST_CHECK;

struct sg_gan {
    sg_gan_opts opts;
    float *strokes;
    float *real, *noise;          /* the atlas */
    sg_dim next_real, next_noise; /* batches taken so far */
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    gan_values v;
    sg_dim iteration;
    sg_dim updates[SG_N_GAN_NETS];
    float step[SG_N_GAN_NETS]; /* of the rule: since its moments began */
    int stage;                 /* of slow motion: the next; 0 between iterations */
    double cost[SG_N_GAN_NETS];
    sg_gan_view view;
};

/* ---- gan_data.c ---- */

/* n real samples [n,2], n of noise [n,dims]. */
void gan_sample_real(float *x, sg_dim n, const sg_gan_opts *opts);
void gan_sample_noise(float *z, sg_dim n, sg_gan_noise noise, uint64_t seed);
/* The lattice's points, [441,2] or [21,1]; returns how many. */
sg_dim gan_lattice(float *z, int noise_dims);
/* Shares of the whole, and opacities, of the cells of a lattice that was mapped. */
void gan_cells(float *area, float *opacity, float (*const manifold)[2], sg_gan_noise noise);

/* ---- gan_run.c ---- */

/* Fetches values of one run, in which the points are fed as `fed` ([n,dims] floats). */
sg_status gan_fetch(sg_gan *gan, sg_value *fed, const float *points, sg_dim n, int n_fetches, sg_value *const *fetches,
                    sg_tensor *out, sg_error *err) SG_MUST_CHECK;
/* Loss and norm (each may be NULL) of the batches that a network learns from next; takes none. */
sg_status gan_peek(sg_gan *gan, sg_gan_net net, double *loss, double *norm, sg_error *err) SG_MUST_CHECK;
/* One update; its loss becomes the cost. */
sg_status gan_update(sg_gan *gan, sg_gan_net net, sg_error *err) SG_MUST_CHECK;
/* New moments. */
void gan_fresh_moments(sg_gan *gan, sg_gan_net net);

#endif
