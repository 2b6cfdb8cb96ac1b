/* Choosing the next token from logits.
 *
 *     sg_rng r = sg_rng_new(seed, 0);
 *     int32_t id = sg_sample_next(logits, n_vocab, sg_sample_defaults(), &r, scratch); */
#ifndef SIGHTGLASS_SAMPLE_H
#define SIGHTGLASS_SAMPLE_H

#include "sightglass/rng.h"
#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_sample_opts {
    double temperature; /* 0: the most likely token; else logits are divided by it */
    int top_k;          /* of the k most likely; 0: all */
    double top_p;       /* of the fewest most likely that together reach p (Holtzman et al. 2020); 1: all */
    double min_p;       /* of those at least min_p times as likely as the likeliest (Nguyen et al. 2024); 0: all */
} sg_sample_opts;
sg_sample_opts sg_sample_defaults(void); /* 0, 0, 1, 0 */

/* One token of n. At equal logits the smaller id counts as more likely. `scratch` has room for n pairs. Logits that are all
 * NaN or -inf give -1. */
typedef struct sg_sample_pair {
    double weight;
    int32_t id;
} sg_sample_pair;
int32_t sg_sample_next(const float *logits, int32_t n, sg_sample_opts opts, sg_rng *r, sg_sample_pair *scratch);

/* Logits of tokens that were there before become less: count[i] is how often token i was written, seen[i] whether it was in
 * prompt or text. */
typedef struct sg_penalties {
    double repetition;          /* 1; a seen token's logit is divided by it if above 0, else multiplied (Keskar et al. 2019) */
    double presence, frequency; /* 0; taken off once, and count times */
} sg_penalties;
void sg_penalise(float *logits, int32_t n, sg_penalties p, const int32_t *count, const uint8_t *seen);

#ifdef __cplusplus
}
#endif
#endif
