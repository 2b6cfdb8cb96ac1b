/* Steering: directions along which texts of two kinds part inside a model, pushing along them, and what that does and
 * costs.
 *
 *     sg_headrank *h;
 *     sg_edit_list *list;
 *     SG_TRY(sg_headrank_new(&h, model, data, sg_headrank_defaults(), err)); // which heads tell true from false
 *     SG_TRY(sg_edit_list_new(&list, "truth", err));
 *     SG_TRY(sg_steer_iti(list, h, 48, NULL, 15, SG_STEER_GENERATED, err)); // z_h + 15 sigma_h theta_h in 48 of them
 *     SG_TRY(sg_edit_list_save(list, "truth.json", err));                   // or bake it into the model's biases
 *     sg_edit_list_free(list);
 *     sg_headrank_free(h);
 *
 * Inference-time intervention (Li, Patel et al. 2023) in heads, difference of means, a probe's direction or the first
 * principal component of pairs' differences anywhere else. An effect means something beside a random direction as long,
 * and beside what it costs on other text: sg_steer_measure gives both. */
#ifndef SIGHTGLASS_STEER_H
#define SIGHTGLASS_STEER_H

#include "sightglass/harvest.h"
#include "sightglass/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- texts of two kinds ---- */

typedef struct sg_steer_text {
    const int32_t *tokens;
    sg_dim n;
    sg_dim shared; /* tokens that all texts of the group begin with; what comes behind is the answer that is scored */
    int32_t group; /* of one question or pair, from 0: a group is never parted by a split */
    bool positive;
    bool best; /* the one answer that the first multiple-choice score asks for; false everywhere: any positive one */
} sg_steer_text;

typedef struct sg_steer_data {
    int n, n_groups; /* texts lie together by group */
    const sg_steer_text *texts;
    int n_left_out; /* by reading: longer than `longest` */
} sg_steer_data;

typedef struct sg_steer_read_opts {
    const char
        *form; /* NULL; with {question} and {answer}, or {word} and {text}. The first: "Q: {question}\nA: {answer}" */
    const char
        *words; /* NULL; "honest|untruthful": of lists of plain texts, what {word} is in positive and negative ones */
    int n_cuts; /* 1; of plain texts: so many beginnings of each, the last of them whole */
    int most;   /* INT_MAX; groups that are read */
    sg_dim longest; /* INT64_MAX; longer texts are left out */
} sg_steer_read_opts;
sg_steer_read_opts sg_steer_read_defaults(void);

/* FILE.csv, .tsv (columns), .jsonl (objects) or .json (a list): fields `positive` and `negative`; or `question` with
 * mc1_targets and mc2_targets (TruthfulQA's mc_task.json), or with best_answer, correct_answers, incorrect_answers,
 * parted by semicolons (its csv); or `text` or `sentence` with `label` 1 or 0, each a group of its own unless there is
 * a `group`; or plain texts, a list of strings. Case, blanks and underscores in the names of fields do not matter.
 * SG_EFORMAT names the place. */
sg_status sg_steer_data_read(sg_steer_data **out, const char *path, const sg_tokenizer *t, sg_steer_read_opts opts,
                             sg_error *err) SG_MUST_CHECK;
/* From texts that the caller has, which are copied. SG_EARG: groups do not lie together, or are not 0, 1, ... */
sg_status sg_steer_data_of(sg_steer_data **out, int n, const sg_steer_text *texts, sg_error *err) SG_MUST_CHECK;
/* A share of the groups, drawn, and the others. Both borrow the texts. share 0..1. */
sg_status sg_steer_split(sg_steer_data **first, sg_steer_data **others, const sg_steer_data *d, double share,
                         uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* The same texts with kinds that mean nothing: dealt out anew among the texts of each group, or among all where groups
 * are of one text. */
sg_status sg_steer_shuffled(sg_steer_data **out, const sg_steer_data *d, uint64_t seed, sg_error *err) SG_MUST_CHECK;
void sg_steer_data_free(sg_steer_data *d); /* NULL is fine */

/* What the model holds at the last token of each text: row i is text i. */
sg_status sg_steer_acts(sg_store **out, const sg_model *m, const sg_steer_data *d, int n_sites,
                        const char *const *sites, sg_harvest_opts opts, sg_error *err) SG_MUST_CHECK;

/* ---- directions ---- */

typedef enum sg_steer_kind {
    SG_STEER_MEAN,  /* mean of the positive less mean of the negative texts (the authors' choice) */
    SG_STEER_PROBE, /* weights of a logistic probe */
    SG_STEER_PCA, /* first component of the differences of pairs and their reverses (Zou et al. 2023): about no mean */
    SG_STEER_PCA_CENTRED, /* the same about the mean of the differences, which that takes away (repeng's pca_diff) */
    SG_STEER_RANDOM,      /* the control */
    SG_N_STEER_KINDS
} sg_steer_kind;
const char *sg_steer_kind_name(sg_steer_kind kind); /* "mean", "probe", "pca", "pca-centred", "random" */

/* out [D]: a unit vector towards the positive texts, of acts [N,D] whose row i is text i of d; pairs are the k-th
 * positive and the k-th negative text of a group. sigma: the deviation (over N) of the rows' projections on it; may be
 * NULL. SG_EARG: there are no texts of both kinds, or of pca no pair. */
sg_status sg_steer_direction(float *out, double *sigma, sg_steer_kind kind, const sg_tensor *acts,
                             const sg_steer_data *d, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* Where along a text an edit is made. */
typedef enum sg_steer_where {
    SG_STEER_ALL,      /* at every position */
    SG_STEER_GENERATED /* at the prompt's last token and all that is written */
} sg_steer_where;

/* Adds to a list: value added at a site, strength times; [D], or whatever else an edit's value may be. */
sg_status sg_steer_add(sg_edit_list *list, const char *site, const sg_tensor *value, double strength,
                       sg_steer_where where, sg_error *err) SG_MUST_CHECK;

/* ---- heads ---- */

typedef struct sg_headrank_opts {
    sg_steer_kind kind; /* SG_STEER_MEAN; of the directions */
    double validation;  /* .2; share of a fold's groups that rank */
    uint64_t seed;      /* 0 */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_headrank_opts;
sg_headrank_opts sg_headrank_defaults(void);

/* Each head by itself at blocks.{i}.attn.hook_z, query heads counted. Two folds of groups; in each a logistic probe is
 * fitted to a part of it, judged on the rest (which ranks) and on the other fold (which is reported: ranking is not
 * judging). */
typedef struct sg_headrank {
    int n_layers, n_heads;
    sg_dim d_head;
    double *accuracy;  /* [layers,heads] on the rest of the fold, mean of both */
    double *elsewhere; /* [layers,heads] on the other fold, mean of both */
    double *shuffled;  /* [layers,heads] on the other fold after fitting to shuffled kinds: the control */
    double larger;     /* share of the more frequent kind: what guessing gets */
    float *theta;      /* [layers,heads,d_head] unit directions, of all texts */
    double *sigma;     /* [layers,heads] */
    int *order;        /* [layers * heads] layer * n_heads + head, best first */
} sg_headrank;
sg_status sg_headrank_new(sg_headrank **out, const sg_model *m, const sg_steer_data *d, sg_headrank_opts opts,
                          sg_error *err) SG_MUST_CHECK;
/* Directions alone, of d: theta and sigma are replaced. */
sg_status sg_headrank_redirect(sg_headrank *h, const sg_model *m, const sg_steer_data *d, sg_steer_kind kind,
                               uint64_t seed, sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;
void sg_headrank_free(sg_headrank *h); /* NULL is fine */

/* Adds z_h + alpha sigma_h theta_h for n heads: those given, else the first n of the order. One edit a layer. */
sg_status sg_steer_iti(sg_edit_list *list, const sg_headrank *h, int n, const int *heads, double alpha,
                       sg_steer_where where, sg_error *err) SG_MUST_CHECK;

/* Works edits into a model's weights: b_O += strength W_O v. Only what is added at blocks.{i}.attn.hook_z at every
 * position of every row; SG_EARG names the edit that is not, and nothing is changed. The model has no graph yet; see
 * sg_model_write. */
sg_status sg_steer_bake(sg_model *m, sg_edit_list *list, sg_error *err) SG_MUST_CHECK;

/* ---- what it does, and what it costs ---- */

typedef struct sg_steer_point {
    double strength;
    double mass; /* mean over groups: likelihood of the positive answers over that of all (MC2), by summed
                    log-probability */
    double mass_low, mass_high;
    double first;                 /* share of groups whose best answer is likelier than each negative one (MC1) */
    double mass_each, first_each; /* the same by log-probability a token, which does not favour short answers */
    double probability;           /* mean over groups: summed probability of the positive answers */
    double loss;                  /* of other text, nats per token */
    double kl;                    /* KL(without || with edits) of its next token, nats, mean over positions */
} sg_steer_point;

typedef struct sg_steer_measure_opts {
    sg_dim batch;  /* 16 */
    uint64_t seed; /* 0; of intervals */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_steer_measure_opts;
sg_steer_measure_opts sg_steer_measure_defaults(void);

/* out [n]: with each edit at strength[i] times its own. d: NULL, or texts of groups with both kinds (others are passed
 * over); other [rows,time] i32: other text, data NULL: none. What is not measured is NaN. Strengths are inputs: one
 * plan serves all. */
sg_status sg_steer_measure(sg_steer_point *out, const sg_model *m, int n_edits, const sg_edit *edits, int n,
                           const double *strength, const sg_steer_data *d, const sg_tensor *other,
                           sg_steer_measure_opts opts, sg_error *err) SG_MUST_CHECK;

/* Rows of so many tokens of a file's texts (texts.h), at most n_rows, each beginning with the model's first token: *out
 * [rows,time] i32, data by malloc. SG_EARG: there is not one row. */
sg_status sg_steer_other(sg_tensor *out, const sg_model *m, const char *path, sg_dim n_rows, sg_dim time,
                         sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
