/* Attribution: which parts of an input does a number that the network says depend on?
 *
 *     sg_attribute_target target = sg_attribute_target_defaults(); // a class's logit
 *     SG_TRY(sg_attributer_model(&a, model, "pixels", &target, 0, sg_exec_defaults(), err));
 *     sg_attribute_input in = {.n_feeds = 1, .feeds = &(sg_named_feed){"pixels", picture}, .index = tabby};
 *     sg_attribute_opts opts = sg_attribute_defaults();
 *     opts.kind = SG_ATTRIBUTE_SMOOTH;
 *     SG_TRY(sg_attribute(&map, a, &in, &opts, err));
 *     sg_attribute_map_free(map);
 *
 * S is the number, one for each row of a batch: a class's logit, a token's, a difference of two. x is the value that
 * one asks about: pixels, hook_embed, the columns of a table, or anything inside that has a name and rows first. S is a
 * graph and its gradient is too, so what holds for pixels holds for any site; x is fed, also where the model computes
 * it.
 *
 *     gradient          dS/dx (Simonyan et al. 2013)
 *     input-x-gradient  x * dS/dx
 *     smooth            mean over n of dS/dx at x + e, e ~ N(0, (noise (max x - min x))^2) (Smilkov et al. 2017,
 * SmoothGrad) smooth2           mean of the squares of these: not the paper's formula, though its library's default; it
 * has no sign vargrad           their variance (over n), so that smooth2 = smooth^2 + vargrad integrated        (x -
 * x0) * mean of dS/dx at n midpoints between x0 and x (Sundararajan et al. 2017) guided            as the gradient, but
 * each ReLU passes on only what is positive (Springenberg et al. 2014): NOT a gradient of anything, and known to
 * survive the randomisation of a network's weights occlusion         S less S with a part of x filled (Zeiler & Fergus
 * 2013)
 *
 * A map that looks good need not say anything of the network: sg_attributer_shuffled has the same network with weights
 * shuffled, top layer down (Adebayo et al. 2018), and sg_attribute_edges what needs no network at all. */
#ifndef SIGHTGLASS_ATTRIBUTE_H
#define SIGHTGLASS_ATTRIBUTE_H

#include <signal.h>

#include "sightglass/bitmap.h"
#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what is asked about ---- */

typedef struct sg_attribute_target {
    const char *site; /* NULL: `class_logits` where there are such, else `logits`; [batch,n] or [batch,time,n] */
    sg_dim position;  /* -1; of sites by position: below 0 from the end */
    bool less_other;  /* false; true: less that of input.other */
    bool probability; /* false: as it is; true: its softmax over the last axis */
    sg_value *(*build)(sg_graph *g, void *context); /* NULL; else S itself, [batch] */
    void *context;
} sg_attribute_target;
sg_attribute_target sg_attribute_target_defaults(void);

typedef struct sg_attributer sg_attributer;

/* Of a graph with its state, both borrowed. Values with rows first; symbolic rows. SG_ENOTFOUND suggests the nearest
 * name; SG_ESHAPE: no rows first. */
sg_status sg_attributer_new(sg_attributer **out, const sg_graph *g, sg_state *state, const char *site,
                            const sg_attribute_target *target, sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;
/* Of a model, borrowed; seed: of the weights of one from nothing. */
sg_status sg_attributer_model(sg_attributer **out, const sg_model *m, const char *site,
                              const sg_attribute_target *target, uint64_t seed, sg_exec_opts exec,
                              sg_error *err) SG_MUST_CHECK;
void sg_attributer_free(sg_attributer *a); /* NULL is fine */

/* The same network with the weights that lie nearest to S shuffled, each array among its own numbers: n_top matrices or
 * kernels, and the vectors above them. Borrows a. SG_EUNSUPPORTED: weights in blocks, open the model with as_stored
 * false. */
sg_status sg_attributer_shuffled(sg_attributer **out, const sg_attributer *a, int n_top, uint64_t seed,
                                 sg_error *err) SG_MUST_CHECK;
int sg_attributer_n_weights(const sg_attributer *a);                /* matrices and kernels that S depends on */
const char *sg_attributer_weight(const sg_attributer *a, int i);    /* 0 is nearest to S */
sg_dim sg_attributer_n_rows_run(const sg_attributer *a, bool back); /* rows run so far; back: with gradients */

sg_session *sg_attributer_session(const sg_attributer *a); /* what it runs in, to trace; borrowed */

/* ---- one input ---- */

typedef struct sg_attribute_input {
    int n_feeds;
    const sg_named_feed *feeds; /* [1,...] each: the model's inputs, or the site */
    const int32_t *tokens;      /* NULL, or a text in the place of the inputs that go with it */
    sg_dim n_tokens;
    sg_dim index, other; /* which number of the target's site; other where there is a difference */
} sg_attribute_input;

typedef enum sg_attribute_kind {
    SG_ATTRIBUTE_GRADIENT,
    SG_ATTRIBUTE_INPUT_X_GRADIENT,
    SG_ATTRIBUTE_SMOOTH,
    SG_ATTRIBUTE_SMOOTH2,
    SG_ATTRIBUTE_VARGRAD,
    SG_ATTRIBUTE_INTEGRATED,
    SG_ATTRIBUTE_GUIDED,
    SG_ATTRIBUTE_OCCLUSION,
    SG_N_ATTRIBUTE_KINDS
} sg_attribute_kind;
const char *sg_attribute_kind_name(sg_attribute_kind kind); /* "input-x-gradient" */
/* What it is, in a line for people: "gradient, averaged over noisy copies"; of guided that it is no gradient. */
const char *sg_attribute_kind_text(sg_attribute_kind kind);

typedef struct sg_attribute_opts {
    sg_attribute_kind kind; /* SG_ATTRIBUTE_GRADIENT */
    int n;                  /* 25 noisy copies; of integrated 50 where it is not set (-1) */
    double noise;           /* .15 of max x - min x */
    uint64_t seed;          /* 0; copy j has a stream of its own, so that batches change nothing */
    const double
        *baseline;  /* NULL: zeros; of integrated x0, of occlusion what is filled in; the site's shape of one row */
    bool mean_fill; /* true: occlusion without a baseline fills each channel's mean, else zeros */
    sg_dim window,
        stride;   /* 0, 0: of occlusion; an eighth of the smaller side and half of that, or 1 of what is no image */
    sg_dim batch; /* 0 rows at once: as many as suits the site's size */
    void (*progress)(void *context, double done); /* NULL */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_attribute_opts;
sg_attribute_opts sg_attribute_defaults(void);

typedef struct sg_attribute_map {
    sg_attribute_kind kind;
    int n_dims;
    sg_dim dims[SG_MAX_DIMS]; /* of one row of the site: [C,H,W], [T,D], [D] */
    sg_dim n;                 /* numbers in all */
    double *map, *x;          /* [n] each: the map, and the site's value */
    double score;             /* S(x) */
    double sigma;             /* of the noise, in x's units; 0 without */
    double baseline_score;    /* integrated: S(x0); else NaN */
    double residual;          /* integrated: sum of the map less (S(x) - S(x0)); else NaN */
} sg_attribute_map;

sg_status sg_attribute(sg_attribute_map **out, sg_attributer *a, const sg_attribute_input *in,
                       const sg_attribute_opts *opts, sg_error *err) SG_MUST_CHECK;
void sg_attribute_map_free(sg_attribute_map *m); /* NULL is fine */

/* ---- many inputs, one gradient each ---- */

typedef struct sg_attribute_rows {
    sg_dim n;
    int n_feeds;
    const sg_named_feed *feeds;   /* [n,...] each */
    const int32_t *const *tokens; /* NULL, or n texts, filled up on the left */
    const sg_dim *lengths;
    const int32_t *index, *other; /* [n] */
    sg_dim batch;                 /* rows at once; 0: 32 */
} sg_attribute_rows;

/* acts, gradients [n,...] of the site's type, scores [n]: each NULL where it is not wanted. Texts of one length only,
 * if acts or gradients are wanted whole; position >= -n, as above, takes one of a site by position, [n,D]. INT64_MAX:
 * whole. */
sg_status sg_attributer_run(sg_attributer *a, const sg_attribute_rows *rows, sg_dim position, float *acts,
                            float *gradients, double *scores, const volatile sig_atomic_t *cancel,
                            sg_error *err) SG_MUST_CHECK;
/* Numbers of one row of the site, as sg_attributer_run writes it; 0 where it depends on the text. */
sg_dim sg_attributer_width(const sg_attributer *a, sg_dim position);

/* ---- maps as pictures and numbers ---- */

/* What is one place: a pixel of an image, a position of a text, a column. */
typedef enum sg_attribute_reduce {
    SG_REDUCE_ABS_SUM, /* over channels or components */
    SG_REDUCE_ABS_MAX,
    SG_REDUCE_L2,
    SG_REDUCE_SUM /* with its sign */
} sg_attribute_reduce;

/* Height and width of the places; width 1 of texts and tables. */
void sg_attribute_size(const sg_attribute_map *m, sg_dim *height, sg_dim *width);
/* places [height*width] */
void sg_attribute_places(double *places, const sg_attribute_map *m, sg_attribute_reduce how);

/* Divided by the q-quantile of |x| and cut there: into [-1,1]. Returns the cap. Order below the cap stays. q = 1: the
 * largest. */
double sg_attribute_cap(sg_dim n, double *x, double q);
/* Sum of |differences| of neighbours over the sum of |x|: how ragged a map is, whatever its scale. */
double sg_attribute_variation(sg_dim height, sg_dim width, const double *places);
/* Share of sum |x| inside of the mask. */
double sg_attribute_inside(sg_dim n, const double *places, const bool *mask);
/* Edges of the input itself, which no network has seen: |horizontal| + |vertical| central differences, summed over
 * channels. */
void sg_attribute_edges(double *places, sg_dim channels, sg_dim height, sg_dim width, const double *x);

/* S as places are filled, in order: [n_steps + 1] from nothing filled to all (deletion), or from all filled to nothing
 * (insertion); Petsiuk et al. 2018. */
typedef struct sg_attribute_curve {
    int n_steps;
    double *deletion, *insertion;
    double deletion_area,
        insertion_area; /* means under the curves, by trapezoids: a good map has a small and a large one */
} sg_attribute_curve;
/* places: as above, filled from the largest |x| on. opts: baseline, mean_fill, batch, cancel. */
sg_status sg_attribute_curves(sg_attribute_curve **out, sg_attributer *a, const sg_attribute_input *in,
                              const double *places, int n_steps, const sg_attribute_opts *opts,
                              sg_error *err) SG_MUST_CHECK;
void sg_attribute_curve_free(sg_attribute_curve *c); /* NULL is fine */

/* places [height,width] in [-1,1] as a picture of `zoom` pixels each: signed from blue over white to red, else from
 * black to white. under NULL, or a picture of any size that is laid under it, in grey, the map's strength being red
 * over it. */
sg_status sg_attribute_picture(sg_bitmap **out, sg_dim height, sg_dim width, const double *places, bool with_sign,
                               int zoom, const sg_bitmap *under, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
