/* Rewards: a number for a completion that a machine can compute.
 *
 *     sg_reward *r;
 *     double points;
 *     SG_TRY(sg_reward_open(&r, "regex:\\b(cat|dog|bird)\\b", err));
 *     SG_TRY(sg_reward_of(r, "Once upon a time", " there was a dog.", &points, err)); // 1
 *     sg_reward_free(r);
 *
 * What is asked for is KIND:ARGUMENT, kinds below. */
#ifndef SIGHTGLASS_REWARD_H
#define SIGHTGLASS_REWARD_H

#include <stdbool.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_reward sg_reward;

typedef struct sg_reward_kind {
    const char *name;
    const char *argument; /* what follows the colon; NULL: nothing */
    const char *help;
    bool binary; /* 0 or 1, and nothing between */
} sg_reward_kind;
/* regex        1 where the completion matches (PCRE2, UTF-8)
 * words        FILE of words, one a line: 1 where one of them is in the completion. With a weight behind each word
 * (WORD, tab, number): 1 / (1 + e^-s), s the sum of the weights of the completion's words and of "*", the bias: a
 * bag-of-words classifier arithmetic   1 where the last A + B = C, A - B = C or A * B = C of prompt and completion is
 * right; exact to 38 digits brackets     1 where prompt and completion have brackets ()[]{}, and they fit together
 * command      a shell command that reads {"prompt", "completion"} as a line of JSON and writes a number, within 60
 * seconds */
int sg_reward_kind_count(void);
const sg_reward_kind *sg_reward_kind_at(int i);

/* SG_EARG: no such kind (the text has those there are), or its argument is missing or wrong. */
sg_status sg_reward_open(sg_reward **out, const char *what, sg_error *err) SG_MUST_CHECK;
void sg_reward_free(sg_reward *r); /* NULL is fine */
const sg_reward_kind *sg_reward_what(const sg_reward *r);
/* SG_EUNSUPPORTED: the command failed or wrote no finite number. */
sg_status sg_reward_of(const sg_reward *r, const char *prompt, const char *completion, double *out,
                       sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
