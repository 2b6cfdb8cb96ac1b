/* Tensor-product probes: whether the directions that a linear probe finds, one for every role and filler (square and
 * colour), are products of fewer parts: an embedding for each role, one for each filler, and one map that binds them.
 *
 *     sg_tpr_opts opts = sg_tpr_defaults();
 *     opts.n_classes = 3, opts.role_dim = 16;                  // empty, mine, yours
 *     SG_TRY(sg_tpr_fit(&p, &acts, &labels, opts, err));        // acts [N,D], labels [N,S]: a filler for each role
 *     SG_TRY(sg_tpr_linear(&w, p, err));                        // [D,S,C]: the linear probe that it amounts to
 *     SG_TRY(sg_tpr_delta(direction, p, square, 2, 1, err));    // an edit's value: yours becomes mine
 *     sg_tpr_free(p);
 *
 * After Lee, Viégas, Wattenberg (2026). With binding U [D,r,f], roles R [S,r] and fillers F [C,f] an activation h is
 * bound as T(h) = sum_d h_d U_d, [r,f], and role s has filler c to the degree logit[s,c] = R_s' T(h) F_c. So it is a
 * linear probe whose weights are W[d,s,c] = R_s' U_d F_c; r = S and f = C contain all of those.
 *
 * What such a probe shows is shared structure, and only beside what would show it anyway: a truncated SVD of the linear
 * probe with as many parameters, squares permuted, an untrained network, data whose roles have nothing to do with each
 * other. */
#ifndef SIGHTGLASS_TPR_H
#define SIGHTGLASS_TPR_H

#include <signal.h>

#include "sightglass/ops.h"
#include "sightglass/probe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the probe ---- */

/* Its numbers, f32. A trilinear probe has two embeddings in the place of one: role (i,j) is row i and column j, as on a
 * board, and its embedding is their product, R[(i,j),(a,b)] = rows[i,a] columns[j,b]. */
typedef struct sg_tpr_parts {
    sg_tensor binding; /* U [D,r,f] */
    sg_tensor roles;   /* R [S,r] */
    sg_tensor fillers; /* F [C,f] */
    sg_tensor bias;    /* [S,C]; data NULL: none */
    sg_tensor rows;    /* [I,a], S = I J, r = a b; data NULL: the form is bilinear */
    sg_tensor columns; /* [J,b] */
} sg_tpr_parts;

typedef struct sg_tpr sg_tpr;

/* From numbers, which are copied; roles are not looked at where there are rows and columns. SG_ESHAPE, SG_ETYPE;
 * SG_ENUMERIC: they are not finite. */
sg_status sg_tpr_of(sg_tpr **out, const sg_tpr_parts *parts, sg_error *err) SG_MUST_CHECK;
void sg_tpr_free(sg_tpr *p); /* NULL is fine */

const sg_tpr_parts *sg_tpr_get_parts(const sg_tpr *p); /* borrowed until the probe is freed; roles are always there */
sg_dim sg_tpr_n_parameters(const sg_tpr *p);

/* The linear probe that it amounts to: W [D,S,C], data the caller's to free(). Its rank is at most r f. */
sg_status sg_tpr_linear(sg_tensor *out, const sg_tpr *p, sg_error *err) SG_MUST_CHECK;
/* The same as a probe, to be scored (sg_probe_score_new), saved and asked for directions like any other. */
sg_status sg_tpr_probe(sg_probe **out, const sg_tpr *p, sg_error *err) SG_MUST_CHECK;

/* As graph: logits [...,S,C] of x [...,D] f32, by two products, x U and that by all R_s x F_c. Differentiable by x; the
 * probe's numbers are constants. */
sg_value *sg_tpr_graph(sg_graph *g, const sg_tpr *p, sg_value *x);
/* The same with numbers of the graph, of one float type, to differentiate by or to train: binding [D,r,f], roles [S,r],
 * fillers [C,f], bias [S,C] or NULL. */
sg_value *sg_tpr_logits(sg_graph *g, sg_value *x, sg_value *binding, sg_value *roles, sg_value *fillers,
                        sg_value *bias);

/* Where an activation moves when role s changes its filler: out [D] is the least change with U' out = R_s x (F_to -
 * F_from), by the pseudo-inverse of U, and exactly 0 where from = to. Changes of several roles add up.
 * SG_EARG: no such role or filler. */
sg_status sg_tpr_delta(float *out, const sg_tpr *p, sg_dim role, int from, int to, sg_error *err) SG_MUST_CHECK;
/* From here on deltas go by a map from T(h) to h that is fitted on activations [N,D] instead, by ridge regression with
 * a bias and this penalty on each row's error (the paper's 1e-4): they then keep to where activations lie. */
sg_status sg_tpr_fit_delta(sg_tpr *p, const sg_tensor *acts, double lambda, sg_error *err) SG_MUST_CHECK;

/* ---- fitted to labels ---- */

typedef enum sg_tpr_form { SG_TPR_BILINEAR, SG_TPR_TRILINEAR } sg_tpr_form;

typedef struct sg_tpr_opts {
    sg_tpr_form form;           /* bilinear */
    int n_classes;              /* 2; C */
    sg_dim role_dim;            /* 16; r of the bilinear form */
    sg_dim filler_dim;          /* 2; f */
    sg_dim n_rows;              /* 8; I of the trilinear form: S = I J */
    sg_dim row_dim, column_dim; /* 8, 8; a and b */
    bool bias;                  /* false */
    double lr;                  /* 1e-2: falls in a line to nothing */
    double weight_decay;        /* 1e-2 */
    int n_epochs;               /* 16: over the rows, but the last tenth, which decides when to stop earlier */
    sg_dim batch;               /* 1024 rows */
    int patience;               /* 10: looks at the last tenth that find no lower loss end the training */
    uint64_t seed;              /* 0 */
    sg_exec_opts exec;
    void (*progress)(void *context, double done, double loss); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_tpr_opts;
sg_tpr_opts sg_tpr_defaults(void);

/* acts [N,D] f32, labels [N,S] i32 in 0..C-1, or below 0 where there is none; rows of an episode lie together. The loss
 * is that of sg_tpr_loss; each look at the last tenth of the rows keeps the numbers if it is the lowest so far. AdamW,
 * first numbers normal with variances 1/D, 1/r and 1/f; features are brought to deviation 1 while training (with a bias
 * also to mean 0), so that the rate means the same for all. SG_ESHAPE; SG_EARG: a label of C or more, or nothing to
 * fit; SG_ENUMERIC: the loss stopped being finite. */
sg_status sg_tpr_fit(sg_tpr **out, const sg_tensor *acts, const sg_tensor *labels, sg_tpr_opts opts,
                     sg_error *err) SG_MUST_CHECK;

/* S times the mean of -log p over all labels, in nats: with no label missing the paper's sum over squares of the mean
 * over positions. */
sg_status sg_tpr_loss(double *out, const sg_tpr *p, const sg_tensor *acts, const sg_tensor *labels,
                      sg_error *err) SG_MUST_CHECK;

/* ---- factored from a linear probe ---- */

typedef struct sg_tpr_factor_opts {
    sg_dim role_dim, filler_dim; /* 16, 2 */
    int n_rounds;                /* 100: of solving for fillers, roles, binding */
    double tolerance;            /* 1e-7: stops where a round lowers the relative error by less */
    bool random;                 /* false: starts at the leading singular vectors of W, by role and by filler; true: at
                                  * random numbers */
    uint64_t seed;               /* 0 */
} sg_tpr_factor_opts;
sg_tpr_factor_opts sg_tpr_factor_defaults(void);

typedef struct sg_tpr_factored {
    sg_tpr *probe;
    int n_rounds;
    double *error;  /* [n_rounds] |W - W~| / |W| after each round; never rises */
    sg_dim rank;    /* of the truncated SVD of W as [D,S C] that has at most as many parameters: rank (D + S C) */
    double by_rank; /* the relative error of that: what no structure at all would leave */
} sg_tpr_factored;

/* w [D,S,C] f32 or f64, whose mean over classes is taken off first, since no softmax sees it. Alternating least
 * squares; every solve is LAPACK's. SG_ESHAPE; SG_EARG: dimensions of 0, or above those of w; SG_ENUMERIC. */
sg_status sg_tpr_factor(sg_tpr_factored **out, const sg_tensor *w, sg_tpr_factor_opts opts,
                        sg_error *err) SG_MUST_CHECK;
void sg_tpr_factored_free(sg_tpr_factored *f); /* NULL is fine */

/* The greatest rank at which an SVD of [D,S C] has no more numbers than this; at least 1, at most what the matrix has.
 */
sg_dim sg_tpr_matched_rank(sg_dim d, sg_dim s, sg_dim c, sg_dim n_parameters);
/* W [D,S,C] less all but its largest singular values as [D,S C]: the control of the same size. Data of out the caller's
 * to free(). */
sg_status sg_tpr_truncated(sg_tensor *out, const sg_tensor *w, sg_dim rank, sg_error *err) SG_MUST_CHECK;

/* ---- geometry ---- */

/* R and U are only defined up to an invertible map, R M and U M^-T, and so are F and U: whatever is read off R before
 * that is settled is arbitrary. The gauge: F less its mean over fillers, with orthonormal columns; then the mean over d
 * of U_d U_d' is the identity; then R along its principal axes. Cosines of R's rows in this gauge are those of W's rows
 * (all D C numbers of a role, less the mean over fillers), so both ways of fixing it tell the same geometry. A
 * trilinear probe becomes bilinear. Logits change by what all fillers of a role share, probabilities do not. */
sg_status sg_tpr_fix_gauge(sg_tpr **out, const sg_tpr *p, sg_error *err) SG_MUST_CHECK;

/* One vector for each role of W [D,S,C], as a matrix whose data are the caller's to free(). */
/* [S,D]: of filler `to` less of filler `from` */
sg_status sg_tpr_differences(sg_tensor *out, const sg_tensor *w, int to, int from, sg_error *err) SG_MUST_CHECK;
/* [S,D C]: all of a role's numbers less the mean over fillers */
sg_status sg_tpr_role_rows(sg_tensor *out, const sg_tensor *w, sg_error *err) SG_MUST_CHECK;

/* Of roles in n_rows rows of a board one vector for each row, [I,J D C], and one for each column, [J,I D C]: all
 * numbers of the roles in it, the geometry of a trilinear probe's rows and columns whatever their gauge. Data the
 * caller's. */
sg_status sg_tpr_axis_rows(sg_tensor *rows, sg_tensor *columns, const sg_tensor *w, sg_dim n_rows,
                           sg_error *err) SG_MUST_CHECK;

/* Mean over roles and pairs of fillers of the cosine between two probes' differences, both w [D,S,C]. by_role [S]:
 * NULL, or where each role's goes. */
sg_status sg_tpr_likeness(double *out, double *by_role, const sg_tensor *w, const sg_tensor *other,
                          sg_error *err) SG_MUST_CHECK;

/* adjacency [I J,I J]: squares of a board that touch, by a side or a corner. */
void sg_tpr_board(uint8_t *adjacency, sg_dim n_rows, sg_dim n_columns);

typedef struct sg_geometry_opts {
    int n_permutations; /* 1000 */
    uint64_t seed;      /* 0 */
} sg_geometry_opts;
sg_geometry_opts sg_geometry_defaults(void);

/* Whether roles that are near in a space given are near in the embedding. Agreement: of all pairs (role, neighbour) the
 * share in which the neighbour is among the role's nearest by cosine, as many as it has neighbours. */
typedef struct sg_geometry {
    sg_dim n_roles;
    double *gram;   /* [S,S] */
    double *cosine; /* [S,S] */
    double agreement;
    double permuted, permuted_low, permuted_high; /* the same with roles permuted: mean, and where 95 % of it lie */
    double near, far;                             /* mean cosine of neighbours, and of other pairs */
} sg_geometry;

/* vectors [S,E] f32, adjacency [S,S], 1 where a role's neighbour is. SG_ESHAPE; SG_EARG: there are no neighbours, or a
 * role has no direction. */
sg_status sg_geometry_new(sg_geometry **out, const sg_tensor *vectors, const uint8_t *adjacency, sg_geometry_opts opts,
                          sg_error *err) SG_MUST_CHECK;
void sg_geometry_free(sg_geometry *g); /* NULL is fine */

/* ---- what has no structure but this ---- */

/* Labels that a tensor-product probe with random numbers of these sizes would have been fitted to, and activations that
 * hold them: acts [N,D] = sum over roles of the delta that binds it to its filler, times a random binding, plus noise
 * of this deviation for each entry (relative to the root mean square). With labels from play it has the statistics of
 * play and no geometry of roles; where `independent`, each role's labels are permuted over rows, so that it has
 * neither. */
typedef struct sg_tpr_synthetic {
    sg_tensor acts;   /* [N,D] f32 */
    sg_tensor labels; /* [N,S] i32 */
} sg_tpr_synthetic;
typedef struct sg_tpr_synthetic_opts {
    sg_dim width, role_dim, filler_dim; /* 128, 16, 2 */
    int n_classes;                      /* 2 */
    double noise;                       /* 0.1 */
    bool independent;                   /* false */
    uint64_t seed;                      /* 0 */
} sg_tpr_synthetic_opts;
sg_tpr_synthetic_opts sg_tpr_synthetic_defaults(void);
sg_status sg_tpr_synthesize(sg_tpr_synthetic *out, const sg_tensor *labels, sg_tpr_synthetic_opts opts,
                            sg_error *err) SG_MUST_CHECK;
void sg_tpr_synthetic_free(sg_tpr_synthetic *s); /* a zeroed struct is fine */

/* ---- all of it at one site of a model ---- */

/* A probe fitted to some activations, and judged on other episodes. */
typedef struct sg_tpr_fitted {
    sg_tpr *probe;
    sg_dim n_parameters;
    sg_rate all, hard;     /* accuracy, see sg_probe_score */
    sg_geometry *geometry; /* of the roles, in the gauge; NULL without adjacency */
} sg_tpr_fitted;

/* One size, beside what has as many numbers and no structure. */
typedef struct sg_tpr_size {
    sg_dim role_dim;
    sg_tpr_fitted fitted;
    sg_dim rank; /* of the linear probe's truncated SVD of at most as many numbers */
    sg_rate truncated_all, truncated_hard;
    double likeness;           /* to the linear probe: see sg_tpr_likeness */
    double likeness_permuted;  /* the same to other roles of it, mean over all shifts */
    double likeness_truncated; /* of the truncated SVD */
} sg_tpr_size;

typedef struct sg_tpr_table {
    sg_dim width, n_roles, n_rows, n_test_rows;
    int n_classes;
    sg_probe *linear; /* softmax, without bias, fitted to the same rows */
    sg_dim linear_parameters;
    sg_rate linear_all, linear_hard;
    sg_geometry *linear_geometry;
    double likeness_again; /* of the linear probe to itself, fitted to the same rows with another seed: the most there
                              is */
    int n_sizes;
    sg_tpr_size *sizes; /* as the job names them */
    /* Controls, of the size of the job's `fit`. */
    sg_tpr_fitted untrained;   /* the network at the same site with fresh weights */
    sg_tpr_fitted board;       /* synthetic activations with random roles that hold the same labels */
    sg_tpr_fitted independent; /* the same with each role's labels permuted over rows */
} sg_tpr_table;

typedef struct sg_tpr_job {
    const sg_model *model;
    const sg_world *world; /* one with fields `tokens` and `counts` */
    int n_settings;
    const sg_setting *settings;
    const char *site, *label; /* no patterns; a field of the world's sample, i32, [count,time,roles] */
    sg_dim n_fit, n_test;     /* episodes: 1500, 500 */
    uint64_t seed;            /* of the episodes, 1000003: not one that a model was trained on */
    int n_sizes;              /* 0: that of `fit` alone */
    const sg_dim *role_dims;  /* bilinear: as many probes, each of another size; borrowed */
    sg_tpr_opts fit;          /* but n_classes, which follows from the labels, and progress and cancel */
    const uint8_t *adjacency; /* [S,S]; NULL: nothing is said of geometry */
    sg_score_opts score;
    void (*progress)(void *context, double done, const char *what); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_tpr_job;
sg_tpr_job sg_tpr_job_defaults(void);

/* SG_ENOTFOUND: a site or label that is not there; SG_ESHAPE: a label without roles. */
sg_status sg_tpr_run(sg_tpr_table **out, const sg_tpr_job *job, sg_error *err) SG_MUST_CHECK;
void sg_tpr_table_free(sg_tpr_table *t); /* NULL is fine */

/* ---- files ---- */

/* What a saved probe says of itself. Rates are accuracies on hard labels of other episodes; NaN: not known. */
typedef struct sg_tpr_manifest {
    const char *site, *label, *world; /* world with its settings: "othello size 8"; NULL: not known */
    uint64_t model_hash;              /* of the model's weights: sg_model_hash */
    uint64_t data_seed;
    sg_dim n_fit, n_test;
    double hard_accuracy;
    double linear, truncated, untrained; /* beside it: the linear probe, its truncated SVD, the untrained network */
    double agreement, permuted;          /* of the roles' geometry with the adjacency; where roles are permuted */
} sg_tpr_manifest;

/* DIR/NAME.safetensors with the numbers and DIR/NAME.json with the manifest and sizes; the folder is made if it is not
 * there. SG_EARG: NAME is no name of a file. */
sg_status sg_tpr_save(const sg_tpr *p, const sg_tpr_manifest *manifest, const char *dir, const char *name,
                      sg_error *err) SG_MUST_CHECK;
/* manifest: may be NULL; its texts are borrowed until the probe is freed. SG_EFORMAT. */
sg_status sg_tpr_open(sg_tpr **out, sg_tpr_manifest *manifest, const char *dir, const char *name,
                      sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
