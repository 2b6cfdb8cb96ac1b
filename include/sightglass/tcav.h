/* Concept activation vectors: does a network use stripes when it says zebra? (Kim et al. 2018, TCAV)
 *
 *     sg_cav *stripes; // acts [N,D] of pictures with stripes and without, at one site
 *     SG_TRY(sg_cav_fit(&stripes, D, &with, &without, &opts, err));
 *
 *     sg_tcav_result *r; // gradients [n,D] of the class's logit at that site, of pictures of the class
 *     SG_TRY(sg_tcav_test(&r, &job, err));
 *     printf("%.2f, against random %.2f, p %.2g\n", r->concepts[0].score, r->random_score, r->concepts[0].p);
 *     sg_tcav_free(r);
 *
 * A CAV v is the unit normal of a linear classifier of the concept's activations against others'. Sensitivity is
 * S(x) = grad_a logit_k(a) . v at a = f_l(x) (eq. 1), the score the share of class images with S > 0 (eq. 2). It means
 * nothing by itself: repeats against random sets are compared with repeats of random against random.
 *
 * Everything here works on activations and gradients that were computed once (sg_attributer_run, attribute.h): repeats
 * run no network. Classifiers are fitted through inner products, so that D costs one product a repeat. */
#ifndef SIGHTGLASS_TCAV_H
#define SIGHTGLASS_TCAV_H

#include <signal.h>

#include "sightglass/run.h"
#include "sightglass/statistics.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Activations of one set of inputs at a site, [n,D] f32, borrowed. */
typedef struct sg_tcav_set {
    const char *name; /* "stripes" */
    sg_dim n;
    const float *acts;
} sg_tcav_set;

typedef enum sg_cav_kind {
    SG_CAV_HINGE, /* hinge loss by SGD, as published: alpha .01, at most 1000 epochs, falling rate, stops when the loss
                     does */
    SG_CAV_LOGISTIC /* logistic loss with an L2 penalty, by Newton's method to the end: has no seed but the split's */
} sg_cav_kind;

typedef struct sg_cav_opts {
    sg_cav_kind kind; /* SG_CAV_HINGE */
    double alpha;     /* .01: penalty on |w|^2 / 2, beside the mean loss */
    int n_epochs;     /* 1000: hinge, at most */
    double tol;       /* 1e-3: hinge stops after five epochs without so much less loss a row */
    double held_out;  /* .33 of the rows judge the classifier */
    uint64_t seed;    /* 0; of the split and the order */
    sg_exec_opts exec;
} sg_cav_opts;
sg_cav_opts sg_cav_defaults(void);

#define SG_CAV_LEAST_ACCURACY 0.6 /* below this a CAV separates nothing, and is flagged */

typedef struct sg_cav {
    sg_dim width;
    float *v;        /* [D] unit vector, towards the concept */
    double bias;     /* the classifier says concept where v . x + bias > 0 */
    double accuracy; /* on the rows held out */
    sg_dim n_each;   /* rows of each side, after the longer was cut to the shorter */
} sg_cav;

/* SG_EARG: fewer than 2 rows of a side. SG_ENUMERIC: nothing to tell the sides apart by. */
sg_status sg_cav_fit(sg_cav **out, sg_dim width, const sg_tcav_set *concept, const sg_tcav_set *against,
                     const sg_cav_opts *opts, sg_error *err) SG_MUST_CHECK;
void sg_cav_free(sg_cav *c); /* NULL is fine */
/* Two different concepts can have one CAV. */
double sg_cav_cosine(const sg_cav *a, const sg_cav *b);
/* Places of the set's rows by x . v, the largest first: [n]; projection may be NULL. */
sg_status sg_cav_sort(sg_dim *order, double *projection, const sg_cav *c, const sg_tcav_set *set,
                      sg_error *err) SG_MUST_CHECK;
/* S of each row, out [n], of gradients [n,D]. */
void sg_cav_sensitivities(double *out, const sg_cav *c, sg_dim n, const float *gradients);
/* Share of S > 0; and sum of max(S,0) over sum of |S|, which counts size. NaN of nothing. */
double sg_cav_score(sg_dim n, const double *s);
double sg_cav_weighted_score(sg_dim n, const double *s);

/* ---- the test ---- */

typedef struct sg_tcav_job {
    sg_dim width;
    int n_concepts;
    const sg_tcav_set *concepts;
    sg_tcav_set random; /* a pool, which is cut into sets of set_size that do not overlap */
    sg_dim n_class;
    const float *gradients; /* [n_class,D] */
    sg_dim set_size;        /* rows of a set, of concepts and of random */
    int n_repeats; /* R: as many as this, if the pool has 3 R sets: R against the concept, R against R others */
    int n_tests;   /* 1; Bonferroni's number: concepts x layers, if more than the concepts here */
    double level;  /* .05 */
    sg_cav_opts cav;
    int n_resamples;                              /* 1000, of class images */
    void (*progress)(void *context, double done); /* NULL */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_tcav_job;
sg_tcav_job sg_tcav_defaults(void);

typedef struct sg_tcav_concept {
    const char *name;      /* borrowed from the job */
    double score;          /* mean over repeats */
    double low, high;      /* 95 % over class images, which all repeats share */
    double weighted;       /* mean magnitude-weighted score */
    double sensitivity;    /* mean S over images and repeats */
    double accuracy;       /* mean held-out accuracy of the CAVs */
    int n_flagged;         /* CAVs whose accuracy is below SG_CAV_LEAST_ACCURACY */
    double p, corrected_p; /* Welch's t test of the repeats' scores against random's; times n_tests */
    bool significant;      /* corrected_p < level: else the score is not to be shown */
    bool fresh;     /* each repeat had rows of the concept of its own; false: all share one set, and p is too small */
    double *scores; /* [n_repeats] */
    float *v;       /* [D] mean CAV, unit */
} sg_tcav_concept;

typedef struct sg_tcav_result {
    int n_concepts, n_repeats;
    sg_tcav_concept *concepts;
    double random_score, random_low, random_high; /* mean over repeats of random against random; their range */
    double *random_scores;                        /* [n_repeats] */
    double *cosines;                              /* [concepts,concepts] of mean CAVs */
} sg_tcav_result;

/* SG_EARG: a pool too small for two repeats, a concept with fewer than set_size rows (the text has how many are
 * wanted). */
sg_status sg_tcav_test(sg_tcav_result **out, const sg_tcav_job *job, sg_error *err) SG_MUST_CHECK;
void sg_tcav_free(sg_tcav_result *r); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
