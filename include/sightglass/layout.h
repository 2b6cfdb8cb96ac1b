/* Layouts: points of many dimensions in a plane, and how far such a picture can be trusted.
 *
 *     sg_layout_opts opts = sg_layout_defaults();
 *     opts.kind = SG_LAYOUT_UMAP;
 *     SG_TRY(sg_layout_make(&xy, &x, opts, err));                     // x [N,D], xy [N,2] f32
 *     SG_TRY(sg_layout_judge(&quality, &x, &xy, sg_layout_judge_defaults(), err));
 *     printf("trustworthiness %.3f\n", quality.trust);
 *
 * PCA keeps the directions of largest variance. t-SNE (van der Maaten & Hinton 2008; by a quadtree, van der Maaten
 * 2014) keeps who is near whom, and its distances between groups mean nothing. UMAP (McInnes, Healy, Melville 2018) is
 * between the two. Neighbours are exact. The same seed gives the same bytes, with any number of threads. */
#ifndef SIGHTGLASS_LAYOUT_H
#define SIGHTGLASS_LAYOUT_H

#include "sightglass/neighbours.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_layout_kind { SG_LAYOUT_PCA, SG_LAYOUT_TSNE, SG_LAYOUT_UMAP, SG_N_LAYOUTS } sg_layout_kind;
const char *sg_layout_name(sg_layout_kind kind); /* "tsne" */

typedef struct sg_layout_opts {
    sg_layout_kind kind; /* SG_LAYOUT_TSNE */
    sg_metric metric;    /* SG_METRIC_EUCLIDEAN; of neighbours. PCA has none */
    int n_steps;         /* 0: 1000 for t-SNE; for UMAP 500, or 200 above 10,000 points */
    /* t-SNE */
    double perplexity; /* 30; neighbours that count, smoothly; at most a third of the points */
    double theta; /* .5; a cell of the tree stands for its points where its side is less than so much of its distance;
                     0: exact */
    double early; /* 12; exaggeration in the first 250 steps */
    double rate;  /* 0: N / early / 4, at least 50 (Belkina et al. 2019) */
    /* UMAP */
    int n_neighbours;                             /* 15 */
    double min_dist;                              /* .1; how near points may come, */
    double spread;                                /* 1; in units of this */
    int n_negative;                               /* 5; points pushed away for each that is drawn near */
    uint64_t seed;                                /* 0 */
    int n_threads;                                /* 1 */
    void (*progress)(void *context, double done); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_layout_opts;
sg_layout_opts sg_layout_defaults(void);

/* xy [N,2] f32 are the caller's. x [N,D], any floats. t-SNE and UMAP begin with the two first components. SG_EARG:
 * fewer than 4 points, options out of range; SG_ENUMERIC: a point that is not finite. */
sg_status sg_layout_make(const sg_tensor *xy, const sg_tensor *x, sg_layout_opts opts, sg_error *err) SG_MUST_CHECK;

/* ---- how far it can be trusted ---- */

/* (Venna & Kaski 2001.) 1 is perfect, about .5 is a layout of other points. */
typedef struct sg_layout_quality {
    double trust;      /* are those near in the picture near in the data? */
    double continuity; /* are those near in the data near in the picture? */
    double kept;       /* share of the k nearest that are among the k nearest */
    sg_dim n;          /* points judged */
} sg_layout_quality;

typedef struct sg_layout_judge_opts {
    sg_metric metric;                    /* SG_METRIC_EUCLIDEAN; of the data */
    sg_dim k;                            /* 15 */
    int n_threads;                       /* 1 */
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_layout_judge_opts;
sg_layout_judge_opts sg_layout_judge_defaults(void);

/* All ranks are counted, which takes N^2 D. SG_EARG: 2 N - 3 k - 1 is not above 0. */
sg_status sg_layout_judge(sg_layout_quality *out, const sg_tensor *x, const sg_tensor *xy, sg_layout_judge_opts opts,
                          sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
