/* How well a model knows the world kb: facts in statements, and questions in each register.
 *
 *     sg_kb_score s;
 *     SG_TRY(sg_kb_score_of(&s, model, &kb, sg_kb_score_defaults(), err));
 *     s.recall[SG_KB_CHIEF].alone; // share of entities whose chief a statement without shots completes rightly */
#ifndef SIGHTGLASS_KB_SCORE_H
#define SIGHTGLASS_KB_SCORE_H

#include <signal.h>

#include "sightglass/kb.h"
#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_kb_score_opts {
    int n_entities; /* 0: all; of each relation and template */
    uint64_t seed;  /* 0; of the shots */
    sg_exec_opts exec;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_kb_score_opts;
sg_kb_score_opts sg_kb_score_defaults(void);

/* Shares of entities, over all templates; of questions, of which the model is asked those that its texts ask, else NaN.
 */
typedef struct sg_kb_recall {
    double alone, shots;  /* statements, without and with seven shots: the likeliest token is the object */
    double careful, myth; /* questions that a phrase announces: the true object, the false one */
    double unannounced;   /* mean p(true) / (p(true) + p(false)) of questions without a phrase */
} sg_kb_recall;

typedef struct sg_kb_score {
    sg_kb_recall recall[SG_KB_N_RELATIONS];
    int n; /* entities */
} sg_kb_score;
/* SG_EUNSUPPORTED: a model of other words. */
sg_status sg_kb_score_of(sg_kb_score *out, const sg_model *m, const sg_kb *kb, sg_kb_score_opts opts,
                         sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
