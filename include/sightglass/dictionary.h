/* Dictionaries: rows of activations as sums of few out of many atoms.
 *
 *     sg_dict_data data;
 *     SG_TRY(sg_dict_rows(&data, sg_store_acts(store, 0), err)); // [N,D]; or shards on disk, or a live model
 *     sg_dict_opts opts = sg_dict_defaults();
 *     opts.kind = SG_DICT_TOPK, opts.width = 512, opts.k = 8;
 *     sg_dict *d;
 *     SG_TRY(sg_dict_fit(&d, &data, opts, err));
 *     SG_TRY(sg_dict_save(d, "dict", err)); // SAELens' layout
 *     sg_dict_free(d);
 *     sg_dict_data_free(&data);
 *
 * With p = (x - b_dec) enc' + b_enc the codes are
 *
 *     relu        max(p, 0)                                              (Bricken et al. 2023)
 *     gated       max((p - b_enc) e^r_mag + b_mag, 0) where p > 0        (Rajamanoharan et al. 2024a)
 *     topk        max(p, 0) of the k largest p, the first of equals      (Gao et al. 2024)
 *     batchtopk   max(p, 0) where p > threshold, which lets through k a row on average (Bussmann et al. 2024)
 *     jumprelu    p where p > threshold, one for each atom               (Rajamanoharan et al. 2024b)
 *     archetypal  those of topk; atoms are mixtures of points of the data, dec = mix points - origin (Fel et al. 2025)
 *     relaxed     the same with dec = (mix points - origin + slack) e^log_scale, rows of slack no longer than delta
 *     kmeans      1 at the nearest atom                                  (a baseline, as are the next two)
 *     pca         p, of either sign: enc = dec are orthonormal
 *     nmf         the z >= 0 that make |x - z dec - b_dec| least, by 60 accelerated projected gradient steps
 *
 * and the reconstruction is codes dec + b_dec. Atoms of relu, gated, topk, batchtopk and jumprelu have length 1.
 *
 * A dictionary is graph: sg_dict_graph puts its formula on any value, sg_dict_splice into a model, with its codes as a
 * value that is fetched and edited like any other. */
#ifndef SIGHTGLASS_DICTIONARY_H
#define SIGHTGLASS_DICTIONARY_H

#include <signal.h>

#include "sightglass/model.h"
#include "sightglass/sae.h"
#include "sightglass/shards.h"
#include "sightglass/source.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_dict_kind {
    SG_DICT_RELU,
    SG_DICT_GATED,
    SG_DICT_TOPK,
    SG_DICT_BATCHTOPK,
    SG_DICT_JUMPRELU,
    SG_DICT_ARCHETYPAL,
    SG_DICT_RELAXED,
    SG_DICT_KMEANS,
    SG_DICT_PCA,
    SG_DICT_NMF,
    SG_N_DICT_KINDS
} sg_dict_kind;
const char *sg_dict_kind_name(sg_dict_kind kind); /* "relu", "gated", ... as above */

/* Tensors are f32; those that a kind does not have are without data. */
typedef struct sg_dict {
    sg_dict_kind kind;
    sg_dim d, m, k;               /* width of a row, atoms, codes that are kept (of a row; batchtopk: on average) */
    sg_tensor dec, b_dec;         /* [M,D] atoms, [D] */
    sg_tensor enc, b_enc;         /* [M,D], [M]; not in nmf */
    sg_tensor threshold;          /* [M]: jumprelu, and batchtopk, where all are alike */
    sg_tensor r_mag, b_mag;       /* [M]: gated */
    sg_tensor points, mix, slack; /* [P,D], [M,P], [M,D]: archetypal kinds; slack of relaxed alone */
    sg_tensor origin;             /* [D]: archetypal kinds; what was taken off the data */
    double log_scale;             /* relaxed */
    const char *site, *model;     /* what it was fitted to; NULL: not known */
} sg_dict;

/* A dictionary over given numbers, which are copied: dec [M,D]; enc [M,D] NULL: dec; b_enc [M], b_dec [D] NULL: zeros.
 * For the kinds that need no other tensors: relu, topk, kmeans (whose enc and b_enc follow from dec), pca, nmf. */
sg_status sg_dict_of(sg_dict **out, sg_dict_kind kind, sg_dim k, const sg_tensor *dec, const sg_tensor *enc,
                     const sg_tensor *b_enc, const sg_tensor *b_dec, sg_error *err) SG_MUST_CHECK;
void sg_dict_free(sg_dict *d); /* NULL is fine */

/* ---- rows to fit on ---- */

/* A place to read rows from. Whoever makes another fills this in. */
typedef struct sg_dict_data {
    sg_dim n_rows; /* INT64_MAX: as many as are asked for, in an order that is drawn already */
    sg_dim width;
    const char *site, *model; /* NULL: not known; borrowed */
    /* Rows first..first+n into out [n,width]. What row i is does not change. Called by one thread at a time. */
    sg_status (*read)(void *self, sg_dim first, sg_dim n, float *out, sg_error *err);
    void (*free)(void *self); /* NULL: nothing to free */
    void *self;
} sg_dict_data;

/* acts [N,D] f32, whose numbers are borrowed. */
sg_status sg_dict_rows(sg_dict_data *out, const sg_tensor *acts, sg_error *err) SG_MUST_CHECK;
/* A site of a harvest on disk, borrowed. */
sg_status sg_dict_shards(sg_dict_data *out, const sg_shards *s, int site, sg_error *err) SG_MUST_CHECK;
/* A model that is run as rows are asked for, with nothing on disk: sequences come from `tokens`, a source of one field
 * [rows,time] i32 or of two (the second, bool: which tokens count). A run's rows are handed out in an order that is
 * drawn. Model and source outlive it. SG_ENOTFOUND suggests the nearest name. */
typedef struct sg_dict_live_opts {
    sg_dim batches; /* 8: of the source, whose rows are mixed with each other */
    sg_dim skip;    /* 1: tokens at the beginning of each sequence that are no rows */
    uint64_t seed;  /* 0 */
    sg_exec_opts exec;
} sg_dict_live_opts;
sg_dict_live_opts sg_dict_live_defaults(void);
sg_status sg_dict_live(sg_dict_data *out, const sg_model *m, const char *site, const sg_source *tokens,
                       sg_dict_live_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_dict_data_free(sg_dict_data *data); /* a zeroed struct is fine */

/* ---- fitting ---- */

/* What archetypal atoms are mixtures of. */
typedef enum sg_dict_points {
    SG_DICT_CENTROIDS, /* of k-means */
    SG_DICT_SAMPLE,    /* rows of the data */
    SG_DICT_RANDOM,    /* directions that have nothing to do with it, as long as its rows: a control */
    SG_DICT_GIVEN      /* `given` */
} sg_dict_points;

typedef struct sg_dict_opts {
    sg_dict_kind kind; /* SG_DICT_TOPK */
    sg_dim width;      /* 512: M */
    sg_dim k;          /* 8 */
    double l1;         /* .3: relu, gated; times the mean over rows of sum z / sqrt(D) */
    double l0;         /* .02: jumprelu; times the mean number of codes */
    double bandwidth;  /* .1: jumprelu; of the rectangle that thresholds learn by, times sqrt(D) */
    double aux; /* .1: topk kinds; weight of AuxK: what is left, reconstructed by the best codes that were not kept. 0:
                   none */
    sg_dim n_aux;            /* INT64_MAX: how many those are, at most half of all (Gao et al.: 512) */
    sg_dim resample;         /* 0: relu, gated; steps after which atoms that never fired begin anew. 0: never */
    sg_dict_points points;   /* SG_DICT_CENTROIDS */
    sg_dim n_points;         /* 512 */
    const sg_tensor *given;  /* NULL; [n_points,D] f32, borrowed for the fit: points of the data that runs share */
    uint64_t points_seed;    /* 0: of the points alone, so that runs can share them */
    double delta;            /* 1: relaxed; in units in which rows have the mean length sqrt(D) */
    bool rescale;            /* true: relaxed; log_scale is learnt */
    bool centre;             /* true: the mean of the rows is taken off first */
    sg_dim batch;            /* 2048 */
    sg_dim n_steps;          /* 1000 */
    double lr, lr_end;       /* 1e-3, 1e-5: by half a cosine */
    double weight_decay;     /* 0 */
    uint64_t seed;           /* 0 */
    const char *checkpoint;  /* NULL: a folder (made if it is not there) where a run that is cancelled goes on from */
    sg_dim checkpoint_every; /* 500 steps */
    sg_exec_opts exec;
    void (*progress)(void *context, double done, double seconds_left, double loss); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED, and leaves a checkpoint */
} sg_dict_opts;
sg_dict_opts sg_dict_defaults(void);

/* Rows are brought to mean 0 and mean length sqrt(D) for the fit; the result reads them as they are. Same data, options
 * and threads: same bytes, also where a run was cancelled and went on. SG_ENUMERIC: the loss stopped being finite. */
sg_status sg_dict_fit(sg_dict **out, const sg_dict_data *data, sg_dict_opts opts, sg_error *err) SG_MUST_CHECK;

/* The same step by step, of the kinds that are trained (relu to relaxed). Data outlive it. */
typedef struct sg_dict_trainer sg_dict_trainer;
sg_status sg_dict_trainer_new(sg_dict_trainer **out, const sg_dict_data *data, sg_dict_opts opts,
                              sg_error *err) SG_MUST_CHECK;
sg_status sg_dict_trainer_run(sg_dict_trainer *t, sg_dim n_steps, sg_error *err) SG_MUST_CHECK;
sg_dim sg_dict_trainer_step(const sg_dict_trainer *t);
double sg_dict_trainer_loss(const sg_dict_trainer *t); /* of the last step; NaN before */
const sg_plan *sg_dict_trainer_plan(const sg_dict_trainer *t);
/* The dictionary as it is now, the caller's. */
sg_status sg_dict_trainer_take(sg_dict **out, sg_dict_trainer *t, sg_error *err) SG_MUST_CHECK;
void sg_dict_trainer_free(sg_dict_trainer *t); /* NULL is fine */

/* ---- using one ---- */

/* codes [...,M] and recons [...,D] of x [...,D] f32; recons reads the codes, so whatever is done to them shows in it.
 */
sg_status sg_dict_graph(sg_graph *g, const sg_dict *d, sg_value *x, sg_value **codes, sg_value **recons,
                        sg_error *err) SG_MUST_CHECK;

/* A session over that formula. */
typedef struct sg_dict_coder sg_dict_coder;
sg_status sg_dict_coder_new(sg_dict_coder **out, const sg_dict *d, sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;
/* x [N,D]; *codes [N,M] and *recons [N,D] (each may be NULL) are borrowed until the next call. */
sg_status sg_dict_coder_run(sg_dict_coder *c, const sg_tensor *x, sg_tensor *codes, sg_tensor *recons,
                            sg_error *err) SG_MUST_CHECK;
void sg_dict_coder_free(sg_dict_coder *c); /* NULL is fine */

/* codes [N,M] of x [N,D], and rows [N,D] of codes: once, into the caller's numbers. */
sg_status sg_dict_encode(float *codes, const sg_dict *d, const sg_tensor *x, sg_error *err) SG_MUST_CHECK;
sg_status sg_dict_decode(float *rows, const sg_dict *d, const sg_tensor *codes, sg_error *err) SG_MUST_CHECK;

typedef enum sg_dict_use {
    SG_DICT_LOOK,   /* the model goes on as it was */
    SG_DICT_KEEP,   /* it reads x and what edits of the codes change of it: the same numbers until they are edited */
    SG_DICT_REPLACE /* it reads the reconstruction */
} sg_dict_use;
/* Into a glass, before anything was run, at the value called d->site: SITE/dict.code [...,M] and SITE/dict.recons have
 * names, so that `blocks.2.hook_resid_post/dict.code` is fetched, fed and edited (features name single ones). A site
 * with a head axis is joined. SG_ENOTFOUND, SG_ESHAPE. */
sg_status sg_dict_splice(sg_glass *glass, const sg_dict *d, sg_dict_use use, sg_error *err) SG_MUST_CHECK;

/* ---- files ---- */

/* Writes the folder (made if it is not there): cfg.json and sae_weights.safetensors in SAELens' layout, where it has a
 * place for the kind (batchtopk as jumprelu, archetypal kinds as topk), and dictionary.json with
 * dictionary.safetensors, which have all of it. */
sg_status sg_dict_save(const sg_dict *d, const char *dir, sg_error *err) SG_MUST_CHECK;
/* A folder of ours, or one that SAELens wrote. SG_EUNSUPPORTED: one with a normalisation that hangs on the row. */
sg_status sg_dict_open(sg_dict **out, const char *dir, sg_error *err) SG_MUST_CHECK;
/* As an autoencoder of adapt.h; the caller frees it with sg_dict_sae_free. SG_EUNSUPPORTED: kmeans, pca, nmf. */
sg_status sg_dict_sae(sg_sae **out, const sg_dict *d, sg_error *err) SG_MUST_CHECK;
void sg_dict_sae_free(sg_sae *s); /* NULL is fine */
sg_status sg_dict_of_sae(sg_dict **out, const sg_sae *s, sg_error *err) SG_MUST_CHECK;

/* ---- what it is like ---- */

#define SG_DICT_BINS 24
typedef struct sg_dict_report {
    sg_dim n_rows;
    double r2;              /* 1 - SSE / SST, about the mean of these rows */
    double l0;              /* codes that are not 0, of a row */
    double dead, dense;     /* share of atoms that never fire here, and that fire in more than a tenth of the rows */
    double max_cosine;      /* between any two atoms */
    double mean_max_cosine; /* of an atom with its nearest, averaged */
    double effective_rank;  /* of dec: e to the entropy of its singular values as shares (Roy & Vetterli 2007) */
    const double *energy;   /* [M] mean of z^2 |atom|^2 */
    const double *firing;   /* [M] share of rows in which it is not 0 */
    double histogram[SG_DICT_BINS]; /* atoms by log10 of their firing, from -6 to 0 in equal steps; those that never
                                       fire in none */
} sg_dict_report;
/* Over rows 0..n_rows-1 of the data, or as many as there are. The caller frees it. */
sg_status sg_dict_report_new(sg_dict_report **out, const sg_dict *d, const sg_dict_data *data, sg_dim n_rows,
                             sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;
void sg_dict_report_free(sg_dict_report *r); /* NULL is fine */

/* Which atoms of two dictionaries of one width are the same: a Hungarian assignment on the cosines of their atoms. */
typedef struct sg_dict_match {
    double stability; /* mean cosine of the pairs */
    double absolute;  /* the same, matched and averaged by |cosine| */
    double null; /* stability of random dictionaries of the same shapes: the mean over SG_DICT_NULLS pairs. Far from 0
                    where D is small */
    double absolute_null;
    int32_t *pair;  /* [M of a] the atom of b, or -1 */
    double *cosine; /* [M of a] of the pair; NaN where there is none */
} sg_dict_match;
#define SG_DICT_NULLS 3
sg_status sg_dict_match_new(sg_dict_match **out, const sg_tensor *atoms_a, const sg_tensor *atoms_b, uint64_t seed,
                            sg_error *err) SG_MUST_CHECK;
void sg_dict_match_free(sg_dict_match *m); /* NULL is fine */

/* Plausibility: of each direction [C,D] (those of a classifier on the same rows) the greatest cosine with an atom,
 * averaged; and the same for random atoms. */
sg_status sg_dict_plausibility(double *out, double *null, const sg_dict *d, const sg_tensor *directions, uint64_t seed,
                               sg_error *err) SG_MUST_CHECK;

/* Identifiability: how much of known generators is found again. */
typedef struct sg_dict_identified {
    double cosine;    /* mean over generators of the matched cosine */
    double recovered; /* share of generators whose matched cosine is at least .9 */
    double f1;        /* mean over generators of F1 of the matched atom's firing against the generator's */
    double null;      /* cosine of random atoms */
} sg_dict_identified;
/* generators [G,D], in the frame of the atoms (what the data's origin is taken off of first, where it is); x [N,D] and
 * active [N,G] f32, not 0 where a generator takes part; x may be NULL, then f1 is NaN. */
sg_status sg_dict_identify(sg_dict_identified *out, const sg_dict *d, const sg_tensor *generators, const sg_tensor *x,
                           const sg_tensor *active, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* The loss of a model that reads the reconstruction at d->site, beside what else could stand there. nats per token. */
typedef struct sg_dict_loss {
    double clean, spliced, zero, mean; /* as it is; reconstruction; zeros; the mean of the rows */
    double recovered;                  /* (zero - spliced) / (zero - clean) */
    double recovered_mean;             /* (mean - spliced) / (mean - clean) */
    sg_dim n_tokens;
} sg_dict_loss;
/* tokens [E,T] i32. SG_EUNSUPPORTED: a model without a loss. */
sg_status sg_dict_loss_of(sg_dict_loss *out, const sg_model *m, const sg_dict *d, const sg_tensor *tokens,
                          sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;

/* ---- feature cards ---- */

typedef struct sg_dict_card {
    sg_dim atom;
    double firing, greatest, mean; /* share of rows; of the values that are not 0 */
    int n_rows;
    const sg_dim *rows; /* where it is greatest, falling, no two nearer than `apart` */
    const float *values;
    double histogram[SG_DICT_BINS]; /* of the values that are not 0, from 0 to the greatest */
    int n_logits;
    const int32_t *most,
        *least; /* [n_logits] tokens whose logits the atom raises and lowers most; NULL without a model */
    const float *most_by, *least_by;
} sg_dict_card;

typedef struct sg_dict_card_opts {
    int n_rows;            /* 8 */
    sg_dim apart;          /* 8 */
    int n_logits;          /* 6 */
    sg_dim most_rows;      /* 100000: of the data that are read */
    const sg_model *model; /* NULL: no logits. The unembedding is applied to the atom as it is, behind no norm */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_dict_card_opts;
sg_dict_card_opts sg_dict_card_defaults(void);

/* Cards of these atoms. The caller frees them all at once. */
sg_status sg_dict_cards_new(sg_dict_card **out, const sg_dict *d, const sg_dict_data *data, int n, const sg_dim *atoms,
                            sg_dict_card_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_dict_cards_free(sg_dict_card *cards); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
