/* Interventions: what a probe reads in a model is rewritten, and one sees what the model then does.
 *
 *     sg_intervener *iv; // a model, sites of it, and what reads each
 *     SG_TRY(sg_intervener_new(&iv, model, 1, (const char *[]){"blocks.3.hook_resid_post"}, &probe, sg_exec_defaults(),
 *                              err));
 *     const sg_rewrite row = {.tokens = moves, .n_tokens = n, .n_changes = 1, .changes = &(sg_change){square, MINE,
 * YOURS}}; SG_TRY(sg_intervener_run(&result, iv, 1, &row, sg_intervene_defaults(), err)); result->logits; // [1,V], as
 * if the square had another owner
 *
 * Each row is rewritten at its last token only, at every site in turn: later sites see what earlier ones did. That the
 * model follows shows that it uses what the probe reads; that it follows a random direction of the same length shows
 * nothing, so one is always run beside (SG_INTERVENE_RANDOM).
 *
 * Directions: Nanda, Lee, Wattenberg, "Emergent Linear Representations in World Models", 2023. Gradient steps: Li et
 * al., "Emergent World Representations", 2022, whose probes were not linear. */
#ifndef SIGHTGLASS_INTERVENE_H
#define SIGHTGLASS_INTERVENE_H

#include "sightglass/probe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Task `task` of a probe is to read `to` where it reads `from`. */
typedef struct sg_change {
    sg_dim task;
    int from, to;
} sg_change;

typedef struct sg_rewrite {
    const int32_t *tokens;
    sg_dim n_tokens;
    int n_changes; /* 0: the row is left alone */
    const sg_change *changes;
} sg_rewrite;

typedef enum sg_intervene_kind {
    SG_INTERVENE_NONE,      /* nothing is changed: what the others are compared with */
    SG_INTERVENE_DIRECTION, /* x + what `scale` makes of the directions w_to - w_from of a linear probe */
    SG_INTERVENE_WRONG,     /* the same towards a class that is neither */
    SG_INTERVENE_RANDOM,    /* the same along a direction drawn for each row and site */
    SG_INTERVENE_GRADIENT,  /* n_steps of Adam on x, towards what the probe is to read; where it does already, none */
    SG_N_INTERVENE_KINDS
} sg_intervene_kind;
const char *sg_intervene_kind_name(sg_intervene_kind kind); /* "none", "direction", "wrong", "random", "gradient" */

/* How far along a direction. u: the unit vector, summed over a row's changes; s: the strength. */
typedef enum sg_intervene_scale {
    SG_SCALE_RAW,    /* x + s (w_to - w_from): of weights that are parts of x, as those of sg_probe_fit's means are */
    SG_SCALE_UNIT,   /* x + s u */
    SG_SCALE_NORM,   /* x + s |x| u */
    SG_SCALE_MIRROR, /* the shortest way to margins (1 - 2 s) m: m is what logit_from - logit_to was before anything was
                      * changed, so s = .5 makes the probe undecided and s = 1 as sure of `to` as it was of `from`;
                      * where m was below 0 it stays */
    SG_N_INTERVENE_SCALES
} sg_intervene_scale;
const char *sg_intervene_scale_name(sg_intervene_scale scale); /* "raw", "unit", "norm", "mirror" */

typedef struct sg_intervene_opts {
    sg_intervene_kind kind;   /* SG_INTERVENE_DIRECTION */
    sg_intervene_scale scale; /* SG_SCALE_NORM */
    double strength;          /* 0.3; 0 changes no bit */
    int n_steps;              /* 30: gradient */
    double lr;                /* 0.02: gradient; in root mean squares of x */
    double keep;              /* 0.2: gradient; weight of each task that is to stay, where a change has 1 */
    /* NULL. For wrong and random directions: how long a change is, [N,n_sites], as another result has it; scale and
     * strength then have no meaning. */
    const float *norms;
    uint64_t seed;                                /* 0: of random directions */
    sg_dim batch;                                 /* 64: rows that are run at once */
    void (*progress)(void *context, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_intervene_opts;
sg_intervene_opts sg_intervene_defaults(void);

typedef struct sg_intervention {
    sg_dim n_rows, n_vocab, width;
    int n_sites;
    const char *const *sites;
    float *logits; /* [N,V] at each row's last token */
    float *change; /* [N,n_sites,D]: what was added to x */
    float *norm;   /* [N,n_sites]: how long that is */
    /* [N,n_sites] nats: the probe's cross-entropy with what it is to read, before and after: the mean over tasks with
     * weights 1 for a change and `keep` for what was read of the others. NaN where a row has no changes. */
    double *loss_before, *loss_after;
} sg_intervention;

typedef struct sg_intervener sg_intervener;

/* Sites in the order of the model, each [batch,time,D], with a probe of that width for each; all have the same tasks
 * and classes. Model and probes outlive it. SG_ENOTFOUND suggests the nearest name; SG_ESHAPE. */
sg_status sg_intervener_new(sg_intervener **out, const sg_model *m, int n_sites, const char *const *sites,
                            const sg_probe *const *probes, sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;
void sg_intervener_free(sg_intervener *iv); /* NULL is fine */
int sg_intervener_n_sites(const sg_intervener *iv);

/* Rows of any lengths. SG_EARG: a change that the probes do not have, options that do not go together, or rows that the
 * model does not take.  SG_EUNSUPPORTED: a direction of a probe that is not linear.  Rows do not know of each other. */
sg_status sg_intervener_run(sg_intervention **out, sg_intervener *iv, sg_dim n_rows, const sg_rewrite *rows,
                            sg_intervene_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_intervention_free(sg_intervention *r); /* NULL is fine */

/* What was done to a row, as edits that do the same to the last token of any run of it: n_sites of them, which borrow
 * from the result. */
void sg_intervention_edits(sg_edit *edits, const sg_intervention *r, sg_dim row);

/* Directions of another kind, as a linear probe: what each label adds to an activation, the others held fixed. It is
 * ridge regression with the sides exchanged, x = b + sum over tasks of w[task, its class], so w_to - w_from is what a
 * change of that label alone changes in x on average (SG_SCALE_RAW adds it as it is). A probe's own weights tell how
 * to read a label, which is another thing where labels go together (Haufe et al. 2014); these read badly. acts [N,D]
 * f32, labels [N,S] i32 in 0..n_classes-1, below 0 where there is none; lambda for each row, as in sg_probe_opts. */
sg_status sg_parts_fit(sg_probe **out, const sg_tensor *acts, const sg_tensor *labels, int n_classes, double lambda,
                       sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
