/* The geometry of a dictionary and of the rows that it was fitted to: how its atoms lie to each other, which of them
 * fire together, and whether rows fill straight pieces of space or bend.
 *
 *     sg_dict_geometry *g;
 *     SG_TRY(sg_dict_geometry_new(&g, &atoms, &codes, sg_dict_geometry_defaults(), err)); // atoms [M,D], codes [N,M]
 *     const sg_dict_geometry_numbers *own = &g->of[SG_DICT_GEOMETRY_OWN], *random = &g->of[SG_DICT_GEOMETRY_GAUSSIAN];
 *     printf("coherence %.2f, of random atoms %.2f\n", own->coherence, random->coherence);
 *     sg_dict_geometry_free(g);
 *
 * After Fel et al., "Into the Rabbit Hull" (2025). Every number is taken of two more dictionaries of equal shape: one
 * of normal numbers, and one whose greatest |cosine| was made small by descent on its gradient, as a Grassmannian frame
 * has it. */
#ifndef SIGHTGLASS_GEOMETRY_H
#define SIGHTGLASS_GEOMETRY_H

#include <signal.h>

#include "sightglass/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a dictionary ---- */

typedef enum sg_dict_geometry_of { SG_DICT_GEOMETRY_OWN, SG_DICT_GEOMETRY_GAUSSIAN, SG_DICT_GEOMETRY_LOW, SG_N_DICT_GEOMETRIES } sg_dict_geometry_of;

#define SG_DICT_GEOMETRY_BINS 40
#define SG_ANTIPODAL     (-.8) /* atoms whose cosine is below this point away from each other */

typedef struct sg_dict_geometry_numbers {
    double coherence;      /* greatest |cosine| of two atoms */
    double nearest;        /* of an atom with the one nearest to its line, on average */
    double tail;           /* that 99 of 100 |cosines| are below */
    double rms;            /* root mean square of the cosines */
    double antipodal;      /* pairs below SG_ANTIPODAL for each 1000 atoms */
    double effective_rank; /* e to the entropy of the squared singular values as shares */
    /* With codes, else NaN: of the other two dictionaries the codes are the same number of greatest products with each
     * row. */
    double together; /* rank correlation of firing together, the cosine of two atoms' codes, with the atoms' cosine */
    double hoyer;    /* mean over rows of (sqrt n - |z|_1 / |z|_2) / (sqrt n - 1) */
} sg_dict_geometry_numbers;

typedef struct sg_dict_geometry_opts {
    sg_dim most;      /* 512: atoms that are looked at: those with most energy, or the first */
    sg_dim most_rows; /* 4096: of codes */
    int n_steps;      /* 300: of descent for the dictionary of low coherence */
    uint64_t seed;    /* 0 */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_dict_geometry_opts;
sg_dict_geometry_opts sg_dict_geometry_defaults(void);

typedef struct sg_dict_geometry {
    sg_dim n_atoms, width, n_dead; /* looked at; never fire in the codes and are left out */
    double welch;                  /* no dictionary of this shape has a lesser coherence (Welch 1974) */
    sg_dict_geometry_numbers of[SG_N_DICT_GEOMETRIES];
    double histogram[SG_N_DICT_GEOMETRIES][SG_DICT_GEOMETRY_BINS]; /* shares of the pairs, cosines from -1 to 1 in equal steps */
    sg_dim n_spectrum;
    double *spectrum[SG_N_DICT_GEOMETRIES]; /* singular values, falling */
    int32_t *atom;                     /* [n_atoms] which they are */
    float *low;                        /* [n_atoms,width] the dictionary of low coherence */
} sg_dict_geometry;

/* atoms [M,D] floats, brought to length 1; codes [N,M] floats or NULL. SG_EARG: fewer than 3 atoms. */
sg_status sg_dict_geometry_new(sg_dict_geometry **out, const sg_tensor *atoms, const sg_tensor *codes, sg_dict_geometry_opts opts,
                          sg_error *err) SG_MUST_CHECK;
void sg_dict_geometry_free(sg_dict_geometry *g); /* NULL is fine */

/* (sqrt n - |z|_1 / |z|_2) / (sqrt n - 1): 1 where one number is not 0, 0 where all are alike. NaN for n < 2 or no
 * length. */
double sg_hoyer(sg_dim n, const double *z);

/* ---- which atoms a task uses ---- */

typedef struct sg_task_use {
    sg_dim n;          /* atoms */
    double *use;       /* [M] mean code times atom . w */
    double *on, *off;  /* [M] the same over rows where the mask is set, and where not; NaN without a mask */
    double *elsewhere; /* [M] mean code off the mask / mean code on it, of atoms that contribute; NaN of others, or
                          without a mask */
} sg_task_use;
/* w [D]: the row of a read-out. mask [N] or NULL: the rows in which the object is. */
sg_status sg_task_use_new(sg_task_use **out, const sg_tensor *atoms, const sg_tensor *codes, const double *w,
                          const bool *mask, sg_error *err) SG_MUST_CHECK;
void sg_task_use_free(sg_task_use *u); /* NULL is fine */

/* ---- blocks of atoms that fire together ---- */

typedef struct sg_blocks {
    sg_dim n, n_links, n_blocks;
    int32_t *block;    /* [n] */
    double modularity; /* Newman and Girvan (2004) */
    int n_shuffles;
    double null_mean, null_high; /* of graphs with the same degrees: mean, and what 95 % are below */
    double p;                    /* (1 + shuffles that reach it) / (1 + shuffles) */
} sg_blocks;
/* weight [M,M] f64 symmetric: how much two fire together. The n_links strongest pairs become a graph, in which blocks
 * are sought by moving and merging (Blondel et al. 2008), as in n_shuffles graphs whose links were exchanged two by
 * two. */
sg_status sg_blocks_new(sg_blocks **out, const sg_tensor *weight, sg_dim n_links, int n_shuffles, uint64_t seed,
                        sg_error *err) SG_MUST_CHECK;
void sg_blocks_free(sg_blocks *b); /* NULL is fine */
/* weight [M,M] f64: the cosine of two columns of codes [N,M], 0 on the diagonal. */
sg_status sg_blocks_weight(const sg_tensor *weight, const sg_tensor *codes, sg_error *err) SG_MUST_CHECK;

/* ---- ways and chords ---- */

typedef struct sg_ways {
    sg_dim n_pairs, n_points; /* pairs of rows that are connected, points that were compared */
    double longer;            /* length of the way through neighbours / length of the chord, on average */
    double nearer; /* share of points on the way that lie nearer to other rows than the chord's at the same share */
} sg_ways;
/* x [N,D]; k neighbours; n_pairs random pairs. Points are the middles of a way's links; neither their own two rows nor
 * the chord's two ends count as rows that they lie near to. */
sg_status sg_ways_against_chords(sg_ways *out, const sg_tensor *x, sg_dim k, int n_pairs, uint64_t seed,
                                 sg_error *err) SG_MUST_CHECK;
/* As many rows with the mean and the covariance of x, drawn normal: what the number is set beside. out [N,D] f64, the
 * caller's. */
sg_status sg_gaussian_like(const sg_tensor *out, const sg_tensor *x, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* ---- position ---- */

typedef struct sg_position {
    sg_dim removed;       /* dimensions */
    double before, after; /* R^2 of a linear probe for the targets on rows held out, before and after */
} sg_position;
/* Takes from rows x [N,D] f64, in place, the directions that vary with targets [N,C] f64 (position, or functions of
 * it): the span of the covariances of x with each, after which no linear map of x tells them better than their mean.
 * The first `n_fit` rows decide (their mean is taken off too); the probes are fitted on these and judged on the others.
 */
sg_status sg_position_remove(sg_position *out, const sg_tensor *x, const sg_tensor *targets, sg_dim n_fit,
                             sg_error *err) SG_MUST_CHECK;
/* targets [N,C] f64 of positions: cosines of 1, 2, .. C half periods over their range. */
sg_status sg_position_targets(const sg_tensor *targets, const int32_t *position, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
