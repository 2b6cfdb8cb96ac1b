/* Probes: how much of a label can be read off an activation, by a map of a kind that is said beforehand.
 *
 *     sg_probe_opts opts = sg_probe_defaults();
 *     opts.n_classes = 3; // empty, mine, yours
 *     SG_TRY(sg_probe_fit(&p, &acts, &labels, opts, err));      // acts [N,D], labels [N,S]: S questions at once
 *     SG_TRY(sg_probe_score_new(&score, p, &test_acts, &test_labels, episodes, sg_score_defaults(), err));
 *     sg_probe_direction(p, square, 1, direction);              // [D], an edit's value
 *
 * A number that a probe yields means nothing by itself: an untrained network, the input alone and shuffled labels can
 * be read too. sg_probe_run fits the same probe to these, and whoever prints an accuracy prints them beside it. */
#ifndef SIGHTGLASS_PROBE_H
#define SIGHTGLASS_PROBE_H

#include "sightglass/harvest.h"
#include "sightglass/world.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_probe_kind {
    SG_PROBE_RIDGE,   /* least squares on one-hot labels with a penalty, in closed form; logits are its outputs */
    SG_PROBE_SOFTMAX, /* W x + b, cross-entropy, AdamW */
    SG_PROBE_MLP,  /* W2 relu(W1 x + b1) + b2, the same; hidden units are shared by all tasks */
    SG_PROBE_MEAN, /* mass-mean: w_c is the mean of class c less the mean of all (Marks & Tegmark 2023); the nearest mean is read */
    SG_N_PROBE_KINDS
} sg_probe_kind;
const char *sg_probe_kind_name(sg_probe_kind kind); /* "ridge", "softmax", "mlp", "mean" */

typedef struct sg_probe_opts {
    sg_probe_kind kind;  /* SG_PROBE_RIDGE */
    int n_classes;       /* 2; C */
    double lambda;       /* 1e-4: ridge; for each row, in units of the mean variance of a feature, so that an untrained
                          * network, whose activations are small, is not fitted worse for that */
    bool bias;           /* true: softmax */
    int hidden;          /* 128: mlp */
    double lr;           /* 1e-2: softmax; 3e-3: mlp, where it is 0 */
    double weight_decay; /* 0.01 */
    int n_epochs;        /* 8: over the rows, at most */
    sg_dim batch;        /* 256 rows */
    sg_dim n_held;       /* -1: a tenth; so many rows at the end decide when to stop earlier. 0: none do */
    uint64_t seed;       /* 0 */
    sg_exec_opts exec;
    void (*progress)(void *context, double done, double loss); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_probe_opts;
sg_probe_opts sg_probe_defaults(void);

typedef struct sg_probe sg_probe;

/* acts [N,D] f32, labels [N,S] i32 in 0..C-1, or below 0 where there is none. Rows of an episode lie together.
 * SG_ESHAPE: the two N differ.  SG_EARG: a label of C or more, or nothing to fit.  SG_ENUMERIC: the loss stopped being
 * finite (the text has the step). */
sg_status sg_probe_fit(sg_probe **out, const sg_tensor *acts, const sg_tensor *labels, sg_probe_opts opts,
                       sg_error *err) SG_MUST_CHECK;
/* A linear probe from its numbers: w [D,S,C], b [S,C] or data NULL. Copied. */
sg_status sg_probe_of(sg_probe **out, const sg_tensor *w, const sg_tensor *b, sg_error *err) SG_MUST_CHECK;
void sg_probe_free(sg_probe *p); /* NULL is fine */

sg_probe_kind sg_probe_get_kind(const sg_probe *p);
sg_dim sg_probe_width(const sg_probe *p);   /* D */
sg_dim sg_probe_n_tasks(const sg_probe *p); /* S */
int sg_probe_n_classes(const sg_probe *p);  /* C */
/* w [D,S,C] of a linear probe, borrowed; data NULL for an mlp. */
const sg_tensor *sg_probe_weights(const sg_probe *p);

/* out [N,S,C], of acts [N,D]. */
sg_status sg_probe_logits(const sg_probe *p, const sg_tensor *acts, float *out, sg_error *err) SG_MUST_CHECK;
/* The class with the greatest logit: out [N,S]. */
sg_status sg_probe_read(const sg_probe *p, const sg_tensor *acts, int32_t *out, sg_error *err) SG_MUST_CHECK;
/* The probe as graph: logits [...,S,C] of x [...,D] f32, differentiable by x; its numbers are constants of the graph.
 */
sg_value *sg_probe_graph(sg_graph *g, const sg_probe *p, sg_value *x);
/* Unit vector out [D]: w_class less the mean of the task's other classes, of a linear probe. `from` >= 0: less w_from
 * instead. SG_EUNSUPPORTED: an mlp. */
sg_status sg_probe_direction(const sg_probe *p, sg_dim task, int to, int from, float *out, sg_error *err) SG_MUST_CHECK;

/* ---- how well it reads ---- */

typedef struct sg_rate {
    double value, low, high; /* with a 95 % interval, by bootstrap over episodes */
    sg_dim n;                /* labels */
} sg_rate;

typedef struct sg_score_opts {
    int trivial;     /* 0: a class that is nearly free (an empty square), left out of `hard`; -1: none is */
    int n_resamples; /* 1000 */
    uint64_t seed;   /* 0 */
} sg_score_opts;
sg_score_opts sg_score_defaults(void);

typedef struct sg_probe_score {
    sg_rate all, hard; /* accuracy: of every label; of those that are not trivial */
    double macro_f1;   /* mean over classes that occur, over tasks */
    int n_absent;      /* (task, class) pairs that never occurred and are left out of it */
    sg_dim n_tasks, n_rows, n_episodes;
    int n_classes;
    double *by_task;      /* [S] accuracy; NaN where the task has no label */
    double *hard_by_task; /* [S] */
    double *recall;       /* [C] share of a class's labels that were read as it */
    double *precision;    /* [C] */
    int n_positions;
    double *hard_by_position; /* [n_positions], NaN where there are none */
    /* [n_episodes] labels asked and read rightly, in order of the rows: what intervals, also of differences, are made of */
    double *asked, *right, *hard_asked, *hard_right;
} sg_probe_score;

/* rows: [N], the store's rows of the same acts. */
sg_status sg_probe_score_new(sg_probe_score **out, const sg_probe *p, const sg_tensor *acts, const sg_tensor *labels,
                             const sg_store_row *rows, sg_score_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_probe_score_free(sg_probe_score *s); /* NULL is fine */

/* ---- the same probe where there is nothing to be found ---- */

typedef enum sg_probe_control {
    SG_CONTROL_UNTRAINED, /* the network at the same site with fresh weights */
    SG_CONTROL_BAG,       /* the input alone: which tokens occurred */
    SG_CONTROL_EMBEDDING, /* the input alone: the model's embedding of the token and its position */
    SG_CONTROL_SHUFFLED,  /* labels of other episodes, at the same positions */
    SG_N_PROBE_CONTROLS
} sg_probe_control;
const char *sg_probe_control_name(sg_probe_control c); /* "untrained network" */

/* One row of a probe report: a site with a label, fitted and judged on other episodes, beside its controls. */
typedef struct sg_probe_result {
    char site[128], label[64];
    sg_probe *probe;
    sg_probe_score *score;
    /* Probes of the input alone, and their scores, are shared by all sites. */
    sg_probe *control_probe[SG_N_PROBE_CONTROLS];
    sg_probe_score *control[SG_N_PROBE_CONTROLS];
} sg_probe_result;

typedef struct sg_probe_job {
    const sg_model *model;
    const sg_world *world; /* one with fields `tokens` and `counts` */
    int n_settings;
    const sg_setting *settings;
    int n_sites;
    const char *const *sites; /* names, no patterns */
    int n_labels;
    const char *const *labels;        /* fields of the world's sample, i32 or bool */
    sg_dim n_fit, n_test;             /* episodes: 1500, 500 */
    uint64_t seed;                    /* of the episodes, 1000003: not one that a model was trained on */
    const sg_tensor *tokens, *counts; /* NULL: drawn. Else the episodes, n_fit + n_test of them; counts may be NULL */
    const char *data;                 /* NULL; what those are, in words for the manifest */
    uint64_t untrained_seed;          /* 0; of the untrained network's weights */
    sg_probe_opts probe;              /* but n_classes and n_held, which follow from the labels and the episodes */
    sg_score_opts score;
    sg_dim batch;    /* 64: sequences that are run at once */
    size_t at_once;  /* 512 MB: of activations; beyond, the model is run again for the sites left */
    sg_exec_opts exec;
    void (*progress)(void *context, double done, const char *what); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_probe_job;
sg_probe_job sg_probe_job_defaults(void);

typedef struct sg_probe_table {
    int n, n_labels;          /* n = n_sites * n_labels results, a site's together */
    sg_probe_result *results; /* each with all its controls */
} sg_probe_table;

/* Fits on the first n_fit episodes, judges on the n_test after them. SG_ENOTFOUND: a site or label that is not there. */
sg_status sg_probe_run(sg_probe_table **out, const sg_probe_job *job, sg_error *err) SG_MUST_CHECK;
/* Judges the probes of a table anew, on all episodes of the job (n_fit is 0), whose sites, labels and untrained network
 * are those that they were fitted to. SG_EARG: a control's probe is NULL. */
sg_status sg_probe_judge(sg_probe_table *t, const sg_probe_job *job, sg_error *err) SG_MUST_CHECK;
void sg_probe_table_free(sg_probe_table *t); /* NULL is fine */

/* ---- files ---- */

/* What a saved probe says of itself. */
typedef struct sg_probe_manifest {
    const char *site, *label, *world; /* world with its settings: "othello size 8" */
    const char *data;                 /* NULL: drawn from data_seed */
    uint64_t model_hash;              /* of the model's weights: sg_model_hash */
    uint64_t data_seed, untrained_seed;
    sg_dim n_fit, n_test;
    double accuracy, hard_accuracy; /* NaN: not known */
    double control[SG_N_PROBE_CONTROLS], hard_control[SG_N_PROBE_CONTROLS];
} sg_probe_manifest;

/* DIR/NAME.safetensors with the numbers and DIR/NAME.json with the manifest, kind and sizes; the folder is made if it
 * is not there. */
sg_status sg_probe_save(const sg_probe *p, const sg_probe_manifest *manifest, const char *dir, const char *name,
                        sg_error *err) SG_MUST_CHECK;
/* manifest: may be NULL; its texts are borrowed until the probe is freed. */
sg_status sg_probe_open(sg_probe **out, sg_probe_manifest *manifest, const char *dir, const char *name,
                        sg_error *err) SG_MUST_CHECK;

/* A table's probes as DIR/LABEL.SITE, and those of its controls in DIR/controls, from which sg_probe_judge can judge
 * them again. */
sg_status sg_probe_table_save(const sg_probe_table *t, const sg_probe_job *job, const char *dir,
                              sg_error *err) SG_MUST_CHECK;
/* One of them with its controls, as a table of one, NULL those whose files are not there; m: of the probe, borrowed until
 * the table is freed. */
sg_status sg_probe_table_open(sg_probe_table **out, sg_probe_manifest *m, const char *dir, const char *name,
                              sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
