/* Schedules: the learning rate of each step, a pure function of its number.
 *
 *     sg_schedule s = sg_schedule_defaults();
 *     s.kind = SG_SCHEDULE_COSINE, s.lr = 3e-4, s.warmup = 100, s.n_steps = 10000;
 *     double first = sg_schedule_lr(&s, 0); // 3e-6: warm-up has 100 equal steps up to lr */
#ifndef SIGHTGLASS_SCHEDULE_H
#define SIGHTGLASS_SCHEDULE_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_schedule_kind {
    SG_SCHEDULE_CONSTANT,
    SG_SCHEDULE_LINEAR, /* from lr straight down to end * lr */
    SG_SCHEDULE_COSINE, /* half a cosine between the same two (Loshchilov & Hutter 2017, equation 5, one period) */
    SG_SCHEDULE_WSD /* warm-up, stable, decay: at lr until `decay` steps before n_steps, then straight down to end * lr
                     * (Hu et al., "MiniCPM", 2024). Until the decay has begun n_steps may still be changed */
} sg_schedule_kind;

typedef struct sg_schedule {
    sg_schedule_kind kind; /* constant */
    double lr;             /* 1e-3; the rate after warm-up */
    double end;            /* 0; what part of lr is left at n_steps */
    sg_dim warmup;         /* 0; step k < warmup has the rate lr (k + 1) / warmup */
    sg_dim n_steps;        /* 1000; where the descent ends, warm-up counted; a constant schedule does not look at it */
    sg_dim decay;          /* 200; wsd: steps of the descent */
} sg_schedule;
sg_schedule sg_schedule_defaults(void);

/* SG_EARG: a rate that is not finite, a part outside [0,1], warm-up and decay of more than n_steps where that matters.
 */
sg_status sg_schedule_check(const sg_schedule *s, sg_error *err) SG_MUST_CHECK;

/* The rate of step k = 0, 1, ...; from n_steps on it stays at end * lr. */
double sg_schedule_lr(const sg_schedule *s, sg_dim step);

/* "cosine lr 0.0003 end 0 warmup 100 steps 10000" into buf; returns buf. Equal texts are equal schedules. */
#define SG_SCHEDULE_TEXT 160
const char *sg_schedule_text(const sg_schedule *s, char buf[SG_SCHEDULE_TEXT]);

/* "constant", "linear", "cosine", "wsd": SG_EARG for another word. */
sg_status sg_schedule_kind_of(sg_schedule_kind *out, const char *word, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
