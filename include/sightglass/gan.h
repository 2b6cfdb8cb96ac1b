/* A generative adversarial network on points of the plane, in slow motion where one wants: a generator G bends noise into
 * points, a discriminator D says how real points look, and each learns from the other. After GAN Lab (Kahng, Thorat, Chau,
 * Viegas, Wattenberg 2018).
 *
 *     sg_gan_opts opts = sg_gan_defaults();
 *     opts.shape = SG_GAN_RING;
 *     sg_gan *gan;
 *     SG_TRY(sg_gan_new(&gan, &opts, err));
 *     for (int i = 0; i < 2000; i++)
 *         SG_TRY(sg_gan_step(gan, SG_GAN_BOTH, err));
 *     SG_TRY(sg_gan_look(gan, SG_GAN_SEE_ALL, err));
 *     printf("JS %.3f\n", sg_gan_view_of(gan)->js);
 *     sg_gan_free(gan);
 *
 * It is one graph, whose values have names (`noise`, `real`, `fake`, `d.real`, `d.fake`, `loss.d.log`, `arrows` ...), and
 * everything here is a run of it. An update fetches parameters after a step; D's opinion of the plane is `d.fake` with
 * points fed as `fake`; the bent sheet is `fake` with a lattice fed as `noise`; an arrow is the gradient of `d.fake` by
 * `fake`. What it computes is the same to the bit on every machine: reference kernels, one thread. */
#ifndef SIGHTGLASS_GAN_H
#define SIGHTGLASS_GAN_H

#include "sightglass/graph.h"
#include "sightglass/run.h"
#include "sightglass/tfjs.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SG_GAN_BATCH = 150,   /* rows of a batch; and of the batch that is always looked at, which is the first */
    SG_GAN_ATLAS = 12000, /* samples of each kind that batches cycle through */
    SG_GAN_SHOWN = 450,   /* real samples that are looked at: the first */
    SG_GAN_GRID = 30,     /* cells of the unit square along one axis: D's field, and densities that are compared */
    SG_GAN_CELLS = 20,    /* cells of the noise lattice along one axis */
    SG_GAN_LATTICE = (SG_GAN_CELLS + 1) * (SG_GAN_CELLS + 1),
    SG_GAN_MOST_LAYERS = 5,
    SG_GAN_MOST_UNITS = 100,
    SG_GAN_MOST_K = 10,
    SG_GAN_MOST_STROKES = 100000,
    SG_GAN_LAST = 999999 /* iteration after which there is none */
};

typedef enum sg_gan_shape {
    SG_GAN_LINE,
    SG_GAN_GAUSSIANS,
    SG_GAN_RING,
    SG_GAN_DISJOINT,
    SG_GAN_DRAWING, /* points of a stroke */
    SG_N_GAN_SHAPES
} sg_gan_shape;
typedef enum sg_gan_noise {
    SG_GAN_1D_UNIFORM, /* on [0,1] */
    SG_GAN_1D_NORMAL,  /* mean 0.5, deviation 0.25, none farther than two deviations */
    SG_GAN_2D_UNIFORM,
    SG_GAN_2D_NORMAL,
    SG_N_GAN_NOISES
} sg_gan_noise;
typedef enum sg_gan_loss {
    SG_GAN_LOG,     /* D: -mean(0.95 ln D(x)) - mean(ln(1 - D(G(z)))), G: -mean(ln D(G(z))) (Goodfellow et al. 2014) */
    SG_GAN_SQUARES, /* D: mean((D(x) - 1)^2) + mean(D(G(z))^2), G: mean((D(G(z)) - 1)^2) (Mao et al. 2017) */
    SG_N_GAN_LOSSES
} sg_gan_loss;
typedef enum sg_gan_rule { SG_GAN_SGD, SG_GAN_ADAM, SG_N_GAN_RULES } sg_gan_rule;
typedef enum sg_gan_net { SG_GAN_D, SG_GAN_G, SG_N_GAN_NETS } sg_gan_net;

/* One network: dense(n_units, relu), n_layers more of them, then dense(1, sigmoid) in D and dense(2, tanh) in G. */
typedef struct sg_gan_net_opts {
    int n_layers; /* 1; 0 to 5 */
    int n_units;  /* 8; 1 to 100 */
    int k;        /* updates in an iteration, 0 to 10: 2 of D, 1 of G */
    sg_gan_rule rule; /* SGD; Adam has betas 0.9 and 0.999, epsilon 1e-7 */
    double rate;      /* 0.1 */
} sg_gan_net_opts;

typedef struct sg_gan_opts {
    sg_gan_shape shape; /* gaussians */
    sg_gan_noise noise; /* 2D uniform */
    sg_gan_loss loss;   /* log */
    sg_gan_net_opts net[SG_N_GAN_NETS];
    uint64_t seed;        /* 0; of data, noise and first weights */
    const float *strokes; /* [n_strokes,2] of a drawing, in the unit square; copied */
    int n_strokes;
} sg_gan_opts;
sg_gan_opts sg_gan_defaults(void);

typedef struct sg_gan sg_gan;

/* SG_EARG: options out of range; a drawing without strokes. */
sg_status sg_gan_new(sg_gan **out, const sg_gan_opts *opts, sg_error *err) SG_MUST_CHECK;
void sg_gan_free(sg_gan *gan); /* NULL is fine */

/* ---- training ---- */

typedef enum sg_gan_part {
    SG_GAN_BOTH,  /* an iteration: k updates of D, each on fresh batches, then k of G, each on fresh noise */
    SG_GAN_ONE_D, /* one update of D */
    SG_GAN_ONE_G  /* one update of G */
} sg_gan_part;
/* Each counts as an iteration. One that slow motion has begun is finished instead. SG_ENUMERIC: a loss is not finite;
 * SG_EARG: the last iteration is done. */
sg_status sg_gan_step(sg_gan *gan, sg_gan_part part, sg_error *err) SG_MUST_CHECK;

/* Slow motion: the ten parts of an iteration, one a call, each by a run that fetches what is new in it; the view then
 * has that. Ten of them are an iteration to the bit. Losses and gradients are those of the batch that the update, or the
 * first of k, then learns from. */
typedef enum sg_gan_stage {
    SG_GAN_D_SAMPLES,     /* fake: G at the noise that is looked at */
    SG_GAN_D_PREDICTIONS, /* d_real, d_fake */
    SG_GAN_D_LOSS,        /* cost */
    SG_GAN_D_GRADIENTS,   /* norm */
    SG_GAN_D_UPDATE,      /* k updates of D; its field and predictions */
    SG_GAN_G_SAMPLES,
    SG_GAN_G_PREDICTIONS,
    SG_GAN_G_LOSS,
    SG_GAN_G_GRADIENTS, /* norm, arrows */
    SG_GAN_G_UPDATE,    /* k updates of G; everything */
    SG_N_GAN_STAGES
} sg_gan_stage;
/* *done: which one it was. */
sg_status sg_gan_slow(sg_gan *gan, sg_gan_stage *done, sg_error *err) SG_MUST_CHECK;

/* What changes while it lives. Another rule or rate, also the same again, begins with new moments. SG_EARG: out of range. */
sg_status sg_gan_set_rule(sg_gan *gan, sg_gan_net net, sg_gan_rule rule, double rate, sg_error *err) SG_MUST_CHECK;
sg_status sg_gan_set_k(sg_gan *gan, sg_gan_net net, int k, sg_error *err) SG_MUST_CHECK;
void sg_gan_set_loss(sg_gan *gan, sg_gan_loss loss);

/* ---- looking: changes nothing ---- */

/* Parts of the view. */
enum {
    SG_GAN_SEE_SAMPLES = 1,
    SG_GAN_SEE_PREDICTIONS = 2,
    SG_GAN_SEE_FIELD = 4,
    SG_GAN_SEE_ARROWS = 8,
    SG_GAN_SEE_MANIFOLD = 16,
    SG_GAN_SEE_METRICS = 32, /* of the samples seen last */
    SG_GAN_SEE_ALL = 63
};
/* A point is x, y; the unit square has y upwards. */
typedef struct sg_gan_view {
    sg_dim iteration;
    float fake[SG_GAN_BATCH][2];   /* G at the first batch of noise */
    float d_real[SG_GAN_BATCH];    /* D at the first batch of real samples */
    float d_fake[SG_GAN_BATCH];    /* D at fake */
    float arrow[SG_GAN_BATCH][2];  /* dD/dx there: of D's output, not of a loss */
    float field[SG_GAN_GRID][SG_GAN_GRID]; /* [j][i]: D at ((i + 1/2)/30, (j + 1/2)/30) */
    float manifold[SG_GAN_LATTICE][2];     /* [j * 21 + i]: G at (i/20, j/20); 1D noise: the first 21, G at i/20 */
    float area[SG_GAN_CELLS * SG_GAN_CELLS];    /* [j * 20 + i], shares of their sum; 2D noise only, as is */
    float opacity[SG_GAN_CELLS * SG_GAN_CELLS]; /* uniform: max(0.9 - 0.4 * 400 area, 0.1); normal: min(0.1 + 0.2 p /
                                                 * (400 area), 0.9), p the density in the cell's middle, untruncated */
    double cost[SG_N_GAN_NETS]; /* loss of the last batch learnt from, before the update; while there is none, of the next one
                                 * (NaN until predictions were seen) */
    double bar[SG_N_GAN_NETS];  /* length of its bar: log (cost_D/2)^2 * 50, cost_G^2 * 50; squares cost_D * 50, cost_G * 100 */
    double norm[SG_N_GAN_NETS]; /* Euclidean, of the gradient by all parameters, in slow motion; NaN: none yet */
    /* Over 30 x 30 cells, e = 1e-4: KL = sum (p + e) log2((p + e)/(q + e)); with m = (p + q)/2, JS = half of sum (p + e)
     * log2((p + e)/(m + e)) + (q + e) log2((q + e)/(m + e)). p: 450 real samples, q: fake. They do not sum to 1, so
     * these are GAN Lab's measures and no others. */
    double kl, js;
    int outside_real, outside_fake; /* samples outside the unit square, left out of both */
} sg_gan_view;
sg_status sg_gan_look(sg_gan *gan, unsigned parts, sg_error *err) SG_MUST_CHECK;
const sg_gan_view *sg_gan_view_of(const sg_gan *gan); /* borrowed; changes with each look and slow step */

/* Any points: G at noise z [n,1 or 2] -> [n,2]; D at x [n,2] -> [n], and its gradient [n,2] where arrows is not NULL. */
sg_status sg_gan_generate(sg_gan *gan, float *x, const float *z, sg_dim n, sg_error *err) SG_MUST_CHECK;
sg_status sg_gan_judge(sg_gan *gan, float *d, float *arrows, const float *x, sg_dim n, sg_error *err) SG_MUST_CHECK;

const sg_gan_opts *sg_gan_options(const sg_gan *gan);
sg_dim sg_gan_iteration(const sg_gan *gan);
const float *sg_gan_real(const sg_gan *gan);  /* [12000,2] */
const float *sg_gan_noise_of(const sg_gan *gan); /* [12000,noise_dims] */
int sg_gan_noise_dims(sg_gan_noise noise);
/* Updates made so far. */
sg_dim sg_gan_updates(const sg_gan *gan, sg_gan_net net);
/* The graph and its numbers: for probing, editing, differentiating like any other. Borrowed. */
const sg_graph *sg_gan_graph(const sg_gan *gan);
sg_state *sg_gan_state(sg_gan *gan);

/* Names as options and files have them: "ring", "2D Uniform", "Log loss", "Adam". */
const char *sg_gan_shape_name(sg_gan_shape shape);
const char *sg_gan_noise_name(sg_gan_noise noise);
const char *sg_gan_loss_name(sg_gan_loss loss);
const char *sg_gan_rule_name(sg_gan_rule rule);

/* The two measures between two sets of points, and how many lie outside. */
void sg_gan_compare(double *kl, double *js, int outside[2], const float *real, sg_dim n_real, const float *fake, sg_dim n_fake);

/* ---- model files: GAN Lab's own form ---- */

/* NAME.json with the topology and a manifest of the weights d-0 ..., g-0 ..., beside a file of their numbers. Names are
 * compared without case; without a loss it is the log loss. The seed is that of data and noise, unless the file has one.
 * SG_EFORMAT with the key that is missing or wrong. */
sg_status sg_gan_load(sg_gan **out, const char *path, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* path ends in .json; the numbers go to the same name with .weights.bin. Moments are not kept. */
sg_status sg_gan_save(sg_gan *gan, const char *path, sg_error *err) SG_MUST_CHECK;

/* The same from parsed parts, where there are no files. */
sg_status sg_gan_from(sg_gan **out, const sg_tfjs *file, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* The JSON text, which names the file of numbers, and the numbers; free() both. */
sg_status sg_gan_write(sg_gan *gan, const char *weights_name, char **json, float **weights, sg_dim *n_weights,
                       sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
