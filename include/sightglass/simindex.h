/* Similarity index: is what a network makes of one input nearer to what it makes of a second than of a third?
 *
 *     sg_triples t = {.whole = c, .near = i, .far = d};       // a figure, its pieces in place, the pieces turned away
 *     sg_simindex *x;
 *     SG_TRY(sg_simindex_new(&x, model, &t, n, sites, sg_simindex_defaults(), err));
 *     sg_simindex_get(x, 3)->centred.index;                   // of sites[3]
 *     sg_simindex_free(x);
 *
 * With f a fetched value, flattened, the index is the mean over triples of cos(f(whole), f(near)) - cos(f(whole),
 * f(far)), where there are several far ones their mean, and its interval a bootstrap over triples. Cosines of
 * activations are near 1 for any two pictures on one background, so all of it is also worked out of what f differs by
 * from its mean over the stimuli. Beside the sites stand the same index of the pixels, and of a bank of Gabor filters.
 * Kim, Reif, Wattenberg et al. 2019 (closure); the stimuli are whatever the caller has. */
#ifndef SIGHTGLASS_SIMINDEX_H
#define SIGHTGLASS_SIMINDEX_H

#include <signal.h>

#include "sightglass/bootstrap.h"
#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Inputs as the model reads `pixels`, f32: [n,C,S,S], far [n,k,C,S,S]. Where `fill` is given the tensors have shapes
 * alone, and it writes the images of triple i, one after another: whole, near, far ... */
typedef struct sg_triples {
    sg_tensor whole, near, far;
    sg_status (*fill)(void *context, sg_dim i, float *images, sg_error *err);
    void *context;
} sg_triples;

/* Figures of Kanizsa's kind (kanizsa.h) as a model of images reads them (sg_model_pixels): whole, in place, turned. */
typedef struct sg_figures_opts {
    int open;       /* 0: triangles; 1: three lines that enclose nothing */
    sg_dim n;       /* 64 */
    sg_dim n_turns; /* 4; how often pieces are turned at random */
    double gap;     /* 0: .2 to .8 by tenths, in turn */
    uint64_t seed;  /* 0 */
} sg_figures_opts;
sg_figures_opts sg_figures_defaults(void);
/* Drawn when they are needed. m outlives them. SG_EARG: it reads no images. */
sg_status sg_figures_new(sg_triples *out, const sg_model *m, sg_figures_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_figures_free(sg_triples *t); /* a zeroed struct is fine */

typedef struct sg_simindex_opts {
    bool over_space; /* false; maps [C,H,W] are averaged over H and W first */
    sg_dim
        centre_on; /* 0; the mean that is taken off is that of the stimuli of so many triples, the first; 0: of all */
    sg_dim batch;  /* 16; triples that are run at once */
    sg_bootstrap_opts bootstrap; /* 10,000 resamples */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* in [0,1]; NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* looked at before each batch; NULL: nobody can */
} sg_simindex_opts;
sg_simindex_opts sg_simindex_defaults(void);

typedef struct sg_simindex_value {
    double index, low, high; /* NaN where a value is the same for all */
    sg_dim n;                /* triples */
    const double *each;      /* [n] of each triple */
} sg_simindex_value;

typedef struct sg_simindex_site {
    const char *site;
    sg_simindex_value plain, centred;
} sg_simindex_site;

typedef struct sg_simindex sg_simindex;

/* SG_ENOTFOUND: no such site; SG_EARG: the model reads no pixels, or a site has not a row for each image. */
sg_status sg_simindex_new(sg_simindex **out, const sg_model *m, const sg_triples *t, int n_sites,
                          const char *const *sites, sg_simindex_opts opts, sg_error *err) SG_MUST_CHECK;
/* The same of two front ends that have learnt nothing: sites "pixels" and "gabor", the energy of 4 orientations at
 * wavelengths of 4 and 8 pixels of 32. model is not needed. */
sg_status sg_simindex_baselines(sg_simindex **out, const sg_triples *t, sg_simindex_opts opts,
                                sg_error *err) SG_MUST_CHECK;
int sg_simindex_n(const sg_simindex *x);
const sg_simindex_site *sg_simindex_get(const sg_simindex *x, int i);
/* The interval over triples of the mean of a - b, whose `each` belong to the same triples. */
sg_status sg_simindex_difference(sg_simindex_value *out, const sg_simindex_value *a, const sg_simindex_value *b,
                                 sg_bootstrap_opts bootstrap, sg_error *err) SG_MUST_CHECK;
void sg_simindex_free(sg_simindex *x); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
