/* Learners: a language model that is being trained on a source of tokens, with all that belongs to it.
 *
 *     SG_TRY(sg_model_new(&m, "config.json", NULL, sg_model_defaults(), err));
 *     SG_TRY(sg_learner_new(&l, m, &source, sg_learner_defaults(), err));
 *     SG_TRY(sg_learner_run(l, 1000, err));
 *     SG_TRY(sg_learner_save(l, "out", 3, err));   // a checkpoint, from which another learner can resume
 *     SG_TRY(sg_learner_export(l, "out", err));    // the model, for sg_model_open
 *     sg_learner_free(l);
 *
 * The same model, source, options and threads give the same bytes, also where the run was stopped and resumed.
 *
 * With ranks each has a learner of the same model, source (whole batches) and options, calls the same functions, and gets
 * the same status. Rank 0 alone reads and writes folders. Up to rounding it is the run of one process, and checkpoints are
 * the same. */
#ifndef SIGHTGLASS_LEARNER_H
#define SIGHTGLASS_LEARNER_H

#include "sightglass/model.h"
#include "sightglass/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_learner_opts {
    sg_schedule schedule;
    sg_update_opts update; /* decays NULL means here: biases, gains and embeddings do not decay */
    uint64_t seed;         /* 0; of the first weights */
    const char *data;      /* ""; what the source is, in words of which equal ones mean equal data: a fact of checkpoints */
    sg_dtype stored;       /* SG_F32; of the exported matrices: or SG_BF16 */
    void (*progress)(void *context, const sg_train_progress *at); /* after each step; NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* see train.h */
    sg_ranks *ranks; /* NULL; with others each rank takes its share of every batch's rows */
    bool overlap;    /* true; see train.h */
    sg_exec_opts exec;
} sg_learner_opts;
sg_learner_opts sg_learner_defaults(void);

typedef struct sg_learner sg_learner;

/* m comes from sg_model_new; the source has a field tokens [rows,time] i32, and may have a second, counts [rows,time] bool:
 * which tokens are to be predicted (else all that follow another). The loss is nats per token that counts, over all
 * batches of a step. Model and source outlive the learner. No memory is taken for weights yet.
 * SG_EARG: rows longer than the model's context, or options out of range. */
sg_status sg_learner_new(sg_learner **out, const sg_model *m, const sg_source *source, sg_learner_opts opts,
                         sg_error *err) SG_MUST_CHECK;
void sg_learner_free(sg_learner *l); /* NULL is fine */

/* n_steps more; see sg_train_run. */
sg_status sg_learner_run(sg_learner *l, sg_dim n_steps, sg_error *err) SG_MUST_CHECK;
sg_dim sg_learner_step(const sg_learner *l); /* steps done */
double sg_learner_loss(const sg_learner *l); /* of the last step; NaN before */
sg_dim sg_learner_tokens(const sg_learner *l); /* read in each step */

/* A checkpoint in a folder that is there; see checkpoint.h, also for `refused`. */
sg_status sg_learner_save(sg_learner *l, const char *dir, int keep, sg_error *err) SG_MUST_CHECK;
sg_status sg_learner_resume(sg_learner *l, const char *dir, void (*refused)(void *context, const char *reason),
                            void *context, sg_error *err) SG_MUST_CHECK;

/* The model as a folder: the averaged weights where an average is kept, else the last. */
sg_status sg_learner_export(sg_learner *l, const char *dir, sg_error *err) SG_MUST_CHECK;

/* Bytes that training takes, known before any of it is taken. */
typedef struct sg_learner_memory {
    size_t weights, moments, averages, gathered; /* variables: gathered are gradients of several batches */
    size_t blocks;                               /* activations and gradients, as planned */
    size_t batches;
} sg_learner_memory;
sg_status sg_learner_plan_memory(sg_learner *l, sg_learner_memory *out, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
