/* Latent saliency: which parts of what a model believes does a prediction rest on?
 *
 *     SG_TRY(sg_saliency_latent(&s, iv, tokens, n, n_discs, flips, sg_intervene_defaults(), err));
 *     sg_saliency_score(s, i, d3); // p(d3) less p(d3 with disc i flipped inside the model)
 *
 * Each change is made alone, inside the model, and the prediction is compared with that of the run that nothing was
 * changed in; all of it is one batch. (Li et al., "Emergent World Representations", 2022, section 5.) */
#ifndef SIGHTGLASS_SALIENCY_H
#define SIGHTGLASS_SALIENCY_H

#include "sightglass/intervene.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_saliency {
    int n; /* changes */
    sg_dim n_vocab;
    double *before; /* [V] probability of each token next */
    double *after;  /* [n,V] with change i made */
} sg_saliency;

/* One row of tokens; change i is made alone in run i. */
sg_status sg_saliency_latent(sg_saliency **out, sg_intervener *iv, const int32_t *tokens, sg_dim n_tokens,
                             int n_changes, const sg_change *changes, sg_intervene_opts opts,
                             sg_error *err) SG_MUST_CHECK;
/* Above 0: the token is less likely with change i, so what was there speaks for it. */
double sg_saliency_score(const sg_saliency *s, int i, int32_t token);
void sg_saliency_free(sg_saliency *s); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
