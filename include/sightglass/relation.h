/* Relations: pairs of a subject and an object with sentences that tell them, as files and as prompts for a model.
 *
 *     sg_relation *r;
 *     sg_prompts *p;
 *     SG_TRY(sg_relation_open(&r, "adj_superlative.json", err));
 *     SG_TRY(sg_prompts_new(&p, err));
 *     SG_TRY(sg_relation_prompt(p, r, tokenizer, 0, 7, shots, 42, err)); // "The superlative form of big is
 * biggest\n... of cold is" p->at[0].subject; // place of the last token of "cold"
 *
 * Files are those of Hernandez et al. ("Linearity of relation decoding in transformer language models", 2023): {
 * "name", "prompt_templates": ["The capital of {} is"], "prompt_templates_zs", "properties": { "relation_type",
 * "domain_name", "range_name", "symmetric" }, "samples": [ { "subject", "object" } ] }. */
#ifndef SIGHTGLASS_RELATION_H
#define SIGHTGLASS_RELATION_H

#include <stdbool.h>

#include "sightglass/tensor.h"
#include "sightglass/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_relation_sample {
    const char *subject, *object;
} sg_relation_sample;

typedef struct sg_relation {
    const char *name, *type, *domain, *range; /* "country capital city", "factual", "country", "city" */
    bool symmetric;                           /* as the file says */
    int n_reversed;                           /* samples (a, b) of which (b, a) is one too */
    int n_objects;                            /* that differ */
    int n_templates, n_zero_shot, n_samples;
    const char *const *templates; /* each with one {} */
    const char *const *zero_shot;
    const sg_relation_sample *samples;
} sg_relation;

/* SG_EFORMAT: what is missing or of another kind, or a template without one {}. */
sg_status sg_relation_open(sg_relation **out, const char *path, sg_error *err) SG_MUST_CHECK;
void sg_relation_free(sg_relation *r); /* NULL is fine */

/* The first token of each sample's object behind a text, tokens [n_samples]: all that is asked of a model is this one,
 * so two objects that begin alike count as one. *n_colliding: objects that share theirs with another object. */
sg_status sg_relation_tokens(int32_t *tokens, int *n_colliding, const sg_relation *r, const sg_tokenizer *t,
                             sg_error *err) SG_MUST_CHECK;

/* A text as tokens, which ends where the object is to come. */
typedef struct sg_fact_prompt {
    const int32_t *tokens;
    sg_dim n, subject; /* place of the subject's last token */
    int32_t object;    /* the token that is right */
} sg_fact_prompt;

typedef struct sg_prompts {
    int n;
    const sg_fact_prompt *at;
} sg_prompts;
sg_status sg_prompts_new(sg_prompts **out, sg_error *err) SG_MUST_CHECK;                         /* empty */
sg_status sg_prompts_add(sg_prompts *p, const sg_fact_prompt *one, sg_error *err) SG_MUST_CHECK; /* tokens are copied */
void sg_prompts_place(sg_prompts *p, int i, sg_dim subject); /* another place in the subject's */
void sg_prompts_free(sg_prompts *p);                         /* NULL is fine */

/* Adds the prompt of a sample: shots in the same template with their objects, a line each, then the sample's own. The
 * subject's last token is the one with which all its letters are there. SG_EARG: no such template or sample;
 * SG_EFORMAT: the tokenizer does not give the text back. */
sg_status sg_relation_prompt(sg_prompts *to, const sg_relation *r, const sg_tokenizer *t, int template_index,
                             int n_shots, const int *shots, int sample, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
