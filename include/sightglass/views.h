/* Views of a model's parts on sequences whose truth is known: what each attention head looks at, what each neuron fires
 * on, which parts write what a probe reads.
 *
 *     sg_heads *h;
 *     SG_TRY(sg_heads_view(&h, model, &tokens, &counts, mover, sg_views_defaults(), err));
 *     for (int i = 0; i < h->n; i++)
 *         if (h->heads[i].kind >= 0)
 *             puts(sg_gaze_name((sg_gaze)h->heads[i].kind));
 *     sg_heads_free(h);
 *
 * After Nanda, Lee, Wattenberg, "Emergent Linear Representations" (2023), who find heads that attend to the moves of
 * the player about to move, or of the other, and neurons that fire on single squares. With so many heads and neurons
 * some fit anything: beside each number stands what chance and what an untrained network give, and what was chosen
 * among many is judged on other episodes than it was chosen on. */
#ifndef SIGHTGLASS_VIEWS_H
#define SIGHTGLASS_VIEWS_H

#include "sightglass/probe.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_views_opts {
    sg_dim batch;    /* 32: sequences that are run at once */
    sg_dim first;    /* 4: the first position that is asked about; before it everything is near everything */
    int n_resamples; /* 1000 */
    uint64_t seed;   /* 0: of the untrained network, of shuffles and resamples */
    sg_exec_opts exec;
    void (*progress)(void *context, const char *part, double done); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_views_opts;
sg_views_opts sg_views_defaults(void);

/* ---- heads ---- */

/* What a head may look at. The first three share out what it gives to earlier tokens, its own left out; the others are
 * of all it gives. */
typedef enum sg_gaze {
    SG_GAZE_MINE,     /* moves of the player about to move */
    SG_GAZE_YOURS,    /* moves of the other */
    SG_GAZE_PARITY,   /* moves as many plies ago as one's own would be, were there no passes: the 2nd, 4th ... last */
    SG_GAZE_SELF,     /* the token itself */
    SG_GAZE_PREVIOUS, /* the one before it */
    SG_GAZE_FIRST,    /* the first of all */
    SG_N_GAZES
} sg_gaze;
const char *sg_gaze_name(sg_gaze g); /* "mine" */
#define SG_GAZE_LEAST 0.005          /* an excess below this is no gaze, however certain */

typedef struct sg_head_gaze {
    double share;     /* of its attention; NaN where it is not known who moves */
    double uniform;   /* what even attention to the same tokens would give */
    sg_rate excess;   /* share - uniform, by episode; n episodes */
    double untrained; /* excess of the same head with fresh weights */
} sg_head_gaze;

typedef struct sg_head {
    int layer, head;
    sg_head_gaze gaze[SG_N_GAZES];
    int kind; /* the gaze with the greatest excess, of those whose interval lies above SG_GAZE_LEAST and `bar`; -1: none
               */
} sg_head;

typedef struct sg_heads {
    int n; /* [layers * heads], the most decided first */
    sg_head *heads;
    double bar[SG_N_GAZES]; /* the greatest excess of any untrained head */
    sg_dim n_episodes, n_positions;
} sg_heads;

/* tokens [E,T] i32, counts [E,T] bool (NULL: all), mover [E,T] i32: who moves after each token, 0 or 1 (NULL: not
 * known). */
sg_status sg_heads_view(sg_heads **out, const sg_model *m, const sg_tensor *tokens, const sg_tensor *counts,
                        const sg_tensor *mover, sg_views_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_heads_free(sg_heads *h); /* NULL is fine */

/* ---- heads on repeated tokens ---- */

/* What heads do that copy (Olsson et al., "In-context Learning and Induction Heads", 2022): on tokens drawn at random
 * and then repeated, where nothing but what was seen before can help. At the second occurrence of a token an induction
 * head looks at what came after the first. */
typedef enum sg_copying {
    SG_COPY_INDUCTION, /* from the second half, at the token behind the first occurrence */
    SG_COPY_DUPLICATE, /* from the second half, at the first occurrence itself */
    SG_COPY_PREVIOUS,  /* at the token before, everywhere */
    SG_COPY_FIRST,     /* at the first token of all, everywhere behind it */
    SG_N_COPYINGS
} sg_copying;
const char *sg_copying_name(sg_copying c); /* "induction" */

typedef struct sg_copy_head {
    int layer, head;
    sg_rate score[SG_N_COPYINGS];    /* mean attention, by sequence; n sequences */
    double untrained[SG_N_COPYINGS]; /* of the same head with fresh weights */
    int kind; /* the copying, of the first three, whose interval lies above .1 and above every untrained head's score,
                 with the greatest score; -1: none */
} sg_copy_head;

typedef struct sg_copy_heads {
    int n; /* [layers * heads], by layer and head */
    sg_copy_head *heads;
    double even[SG_N_COPYINGS]; /* what even attention gives */
    double bar[SG_N_COPYINGS];  /* the greatest score of any untrained head */
    double nll[2];              /* nats per token: the first time, the second; the gain is what copying is worth */
    sg_dim n_sequences, period;
} sg_copy_heads;

#define SG_COPY_LEAST 0.1

/* n_sequences of 2 * period tokens, drawn from the vocabulary without special ones, behind the model's first token
 * where it has one; period 0: 50, or what the context holds. Of opts, `first` and `batch` are not used. */
sg_status sg_copy_heads_view(sg_copy_heads **out, const sg_model *m, sg_dim n_sequences, sg_dim period,
                             sg_views_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_copy_heads_free(sg_copy_heads *h); /* NULL is fine */

/* ---- neurons ---- */

/* A label of the world: each of its classes at each of its S places is a feature that is there or not. */
typedef struct sg_label {
    const char *name;
    const sg_tensor *values; /* [E,T] or [E,T,S], i32 or bool; below 0 where there is none */
} sg_label;

typedef struct sg_feature {
    int label, place, class_id; /* board_rel, square, mine */
} sg_feature;

typedef struct sg_neuron {
    int layer, index;
    sg_feature feature; /* with which it correlates most, on the first half of the episodes */
    double chosen;      /* that correlation */
    sg_rate r;          /* on the other half; n episodes */
    double shuffled;    /* the same, of features of other episodes at the same positions: chosen and judged likewise */
    double untrained;   /* the same of that neuron with fresh weights */
    double on, off;     /* mean activation where the feature is there and where not, on the other half */
    double cos_in, cos_out; /* of its weights with a probe's direction for the feature; NaN: no probe for it */
} sg_neuron;

typedef struct sg_neurons {
    int n; /* the neurons with the greatest r */
    sg_neuron *neurons;
    int n_layers;
    sg_dim n_in_layer, n_features, n_episodes, n_rows; /* rows: of the half judged on */
    double bar;                                        /* the greatest r of any neuron with shuffled features */
    sg_dim *above;                                     /* [layers] neurons above it */
    sg_dim *untrained_above;                           /* [layers] of the untrained network */
} sg_neurons;

/* probe: NULL, or of label 0, with a task for each place; its directions are of the residual stream. `most` neurons are
 * told. SG_EARG: no labels, or fewer than four episodes. */
sg_status sg_neurons_view(sg_neurons **out, const sg_model *m, const sg_tensor *tokens, const sg_tensor *counts,
                          int n_labels, const sg_label *labels, const sg_probe *probe, int most, sg_views_opts opts,
                          sg_error *err) SG_MUST_CHECK;
void sg_neurons_free(sg_neurons *n); /* NULL is fine */

/* ---- what is read, by who wrote it ---- */

/* The residual stream is a sum of what the parts before it wrote, and a linear probe reads a sum of what it would read
 * off each: so much of the logit of the true class, less the mean of the others, came from here. */
typedef struct sg_part {
    char name[64];    /* "blocks.1.attn head 3", "blocks.1.mlp", "embedding" */
    int layer, head;  /* -1: outside the blocks; of a head */
    sg_rate toward;   /* per label, by episode; n labels */
    sg_rate shuffled; /* the same for labels of other episodes at the same positions */
} sg_part;

typedef struct sg_parts {
    int n; /* in the order in which they write */
    sg_part *parts;
    sg_part whole; /* what the probe reads off the site itself, without its bias: the sum of all */
    sg_dim n_episodes, n_rows;
} sg_parts;

/* probe: linear, of the label with a task for each place, fitted at `site`, blocks.{i}.hook_resid_post or _pre or _mid.
 * trivial: a class whose labels are left out; -1: none. SG_EARG: another site. */
sg_status sg_parts_view(sg_parts **out, const sg_model *m, const char *site, const sg_probe *probe,
                        const sg_tensor *tokens, const sg_tensor *counts, const sg_label *label, int trivial,
                        sg_views_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_parts_free(sg_parts *p); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
