/* Linear relational embeddings: how a model gets from a subject to an object, as one affine map (Hernandez et al.,
 * "Linearity of relation decoding in transformer language models", 2023).
 *
 *     sg_lre_data *d;  // of a relation: which subjects the model knows, prompts, what it holds on them
 *     sg_lre *lre;
 *     sg_lre_score score;
 *     SG_TRY(sg_lre_data_new(&d, model, &source, opts, err));
 *     SG_TRY(sg_lre_fit(&lre, model, d->train, opts, err));
 *     SG_TRY(sg_lre_score_of(&score, reader, lre, 0, 2.25, d, NULL, 0, err));
 *
 * With s the subject's state at its last token in one layer and o the state of the last token behind the last block,
 * for prompt k
 *
 *     J_k = do/ds,  b_k = o_k - J_k s_k,   W = mean_k J_k,  b = mean_k b_k,   o^ = beta W s + b,
 *
 * and o^ is read as the model reads o: norm, unembedding, likeliest token. Each of the n prompts shows the other n - 1
 * samples before its own. A reading is faithful where its token is the model's own; it is judged on subjects whose
 * object the model says. */
#ifndef SIGHTGLASS_LRE_H
#define SIGHTGLASS_LRE_H

#include "sightglass/jacobian.h"
#include "sightglass/relation.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_lre_opts {
    int n_sites;
    const char *const *sites; /* of the subject, as blocks.2.hook_resid_post */
    const char *target;       /* NULL: the last block's hook_resid_post */
    int n;                    /* 8; prompts that are averaged */
    int n_tests;              /* 200; at most */
    uint64_t seed;            /* 0; of which samples are which */
    sg_dim batch;             /* 64; rows of a run */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_lre_opts;
sg_lre_opts sg_lre_defaults(void);

/* ---- what a model says and holds ---- */

typedef struct sg_lre_states {
    sg_dim n, d_o;
    int n_sites;
    const sg_dim *width; /* [n_sites] */
    float *const *s;     /* [n_sites] of [n,width]: at the subject */
    const float *o;      /* [n,d_o]: at the last token; NULL without a target */
    const int32_t *top;  /* [n]: the likeliest next token */
    const float *p;      /* [n]: probability of the right one */
} sg_lre_states;
/* sites and target of opts; n_sites 0 and target NULL: neither is kept. */
sg_status sg_lre_states_new(sg_lre_states **out, const sg_model *m, int n, const sg_fact_prompt *prompts, bool keep_o,
                            sg_lre_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_lre_states_free(sg_lre_states *s); /* NULL is fine, here and below */

/* Where samples of a relation come from: `prompt` adds one with shots. */
typedef struct sg_lre_source {
    int n_samples;
    sg_status (*prompt)(void *self, sg_prompts *to, int n_shots, const int *shots, int sample, sg_error *err);
    void *self;
} sg_lre_source;

/* A relation on a model. Samples that the model completes rightly behind n others are known; n of them become the
 * prompts that are fitted, the others the tests, behind those n. */
typedef struct sg_lre_data {
    sg_prompts *train, *tests; /* train: each behind the n - 1 others */
    sg_lre_states *states;     /* of the tests */
    const uint8_t *known;      /* [tests] */
    int n_known, n_tests;
    bool fits_known; /* false: fewer than n samples are known, and any were taken */
    const int *train_samples, *test_samples;
} sg_lre_data;
/* SG_EARG: fewer than n + 1 samples. */
sg_status sg_lre_data_new(sg_lre_data **out, const sg_model *m, const sg_lre_source *source, sg_lre_opts opts,
                          sg_error *err) SG_MUST_CHECK;
void sg_lre_data_free(sg_lre_data *d);

/* A relation by name: a file of relation.h, for a model with a tokenizer; or kb:colour and the like, for a model of the
 * world kb. */
typedef struct sg_lre_relation {
    sg_lre_source source;
    const char *name;        /* "adjective superlative" */
    const sg_relation *file; /* NULL: of the world kb */
    int n_objects, n_colliding;
} sg_lre_relation;
/* Whose state is s: the subject's, or that of the prompt's last token, to which some models bring the subject in their
 * first blocks (no place of the paper's). */
typedef enum sg_lre_place { SG_LRE_AT_SUBJECT, SG_LRE_AT_LAST } sg_lre_place;
/* The model outlives it. SG_ENOTFOUND; SG_EARG: no such template; SG_EUNSUPPORTED: the model has no tokenizer, or other
 * words. */
sg_status sg_lre_relation_open(sg_lre_relation **out, const char *name, int template_index, sg_lre_place at,
                               const sg_model *m, sg_error *err) SG_MUST_CHECK;
void sg_lre_relation_free(sg_lre_relation *r);

/* ---- the map ---- */

typedef struct sg_lre {
    int n_sites, n; /* n prompts */
    const char *const *sites;
    const char *target;
    const sg_dim *width;
    sg_dim d_o;
    float *const *w;       /* [n_sites] of [d_o,width]: W */
    float *const *b;       /* [n_sites] of [d_o] */
    float *const *s;       /* [n_sites] of [n,width]: the subjects of its prompts */
    float *o;              /* [n,d_o] */
    sg_jacobian_cost cost; /* of all of them: below the lowest site once for each prompt */
} sg_lre;
/* At every site of opts at once. */
sg_status sg_lre_fit(sg_lre **out, const sg_model *m, const sg_prompts *prompts, sg_lre_opts opts,
                     sg_error *err) SG_MUST_CHECK;
void sg_lre_free(sg_lre *lre);

/* o [n,d_o] = beta W s + b of s [n,width]. */
sg_status sg_lre_apply(float *o, const sg_lre *lre, int site, double beta, sg_dim n, const float *s,
                       sg_error *err) SG_MUST_CHECK;

/* Safetensors with W and b of one site, and which site that is. */
sg_status sg_lre_save(const sg_lre *lre, int site, double beta, const char *path, sg_error *err) SG_MUST_CHECK;
sg_status sg_lre_open(sg_lre **out, double *beta, const char *path,
                      sg_error *err) SG_MUST_CHECK; /* of one site; no prompts */

/* ---- reading and judging ---- */

/* What a model says of states behind its last block. */
typedef struct sg_lre_reader sg_lre_reader;
sg_status sg_lre_reader_new(sg_lre_reader **out, const sg_model *m, const char *target, sg_exec_opts exec,
                            sg_error *err) SG_MUST_CHECK;
void sg_lre_reader_free(sg_lre_reader *r);
/* top [n]: the likeliest token; rank [n] or NULL: how many tokens are likelier than token[i]. */
sg_status sg_lre_read(sg_lre_reader *r, sg_dim n, const float *o, int32_t *top, const int32_t *token, int32_t *rank,
                      sg_error *err) SG_MUST_CHECK;
/* The row of the unembedding that writes a token, as the direction of the target in which its logit grows: [d_o], of a
 * state o. */
sg_status sg_lre_word(float *direction, sg_lre_reader *r, const float *o, int32_t token, sg_error *err) SG_MUST_CHECK;

typedef enum sg_lre_reading {
    SG_LRE_MAP,         /* beta W s + b */
    SG_LRE_IDENTITY,    /* s itself, as the logit lens has it; of sites as wide as the target */
    SG_LRE_TRANSLATION, /* s + mean(o - s); likewise */
    SG_LRE_REGRESSION,  /* least squares on the same n pairs */
    SG_LRE_OTHER,       /* another relation's W and b */
    SG_N_LRE_READINGS
} sg_lre_reading;
const char *sg_lre_reading_name(sg_lre_reading r);

/* A share with its interval by bootstrap over subjects. */
typedef struct sg_lre_rate {
    double value, low, high; /* NaN where there is nothing to count */
    sg_dim n;
} sg_lre_rate;

typedef struct sg_lre_score {
    sg_dim n_known, n_total;                     /* of the part that was asked */
    sg_lre_rate faithful[SG_N_LRE_READINGS];     /* among the known: the model's own token */
    sg_lre_rate faithful_all[SG_N_LRE_READINGS]; /* among all: another quantity, since the model's token may be wrong */
} sg_lre_score;
/* Which tests: all; every other one, for choosing layer and beta; the others, for reporting. */
enum { SG_LRE_WHOLE, SG_LRE_CHOOSING, SG_LRE_REPORTED, SG_LRE_ALSO_UNKNOWN = 4 };
sg_status sg_lre_score_of(sg_lre_score *out, sg_lre_reader *r, const sg_lre *lre, int site, double beta,
                          const sg_lre_data *d, const sg_lre *other, int part, sg_error *err) SG_MUST_CHECK;

/* How faithful the map is at each beta: rates [n_betas], among the known of the part, or all with SG_LRE_ALSO_UNKNOWN.
 */
sg_status sg_lre_sweep(sg_lre_rate *rates, sg_lre_reader *r, const sg_lre *lre, int site, int n_betas,
                       const double *betas, const sg_lre_data *d, int part, sg_error *err) SG_MUST_CHECK;

/* ---- editing ---- */

/* The pseudo-inverse of W at a site: all singular values, of which the largest `rank` are used. */
typedef struct sg_lre_inverse sg_lre_inverse;
sg_status sg_lre_inverse_new(sg_lre_inverse **out, const sg_lre *lre, int site, sg_error *err) SG_MUST_CHECK;
void sg_lre_inverse_free(sg_lre_inverse *v);
sg_dim sg_lre_inverse_most(const sg_lre_inverse *v); /* ranks there are */
/* delta [n,width] = W+ (to - from), [n,d_o] both. */
sg_status sg_lre_delta(float *delta, const sg_lre_inverse *v, sg_dim rank, sg_dim n, const float *from, const float *to,
                       sg_error *err) SG_MUST_CHECK;
/* The same of one as an edit, which adds delta at the subject; `value` [width] and `place` are the caller's, and
 * outlive it. */
sg_status sg_lre_edit(sg_edit *out, float *value, sg_span *place, const sg_lre *lre, int site, const sg_lre_inverse *v,
                      sg_dim rank, const float *from, const float *to, sg_dim subject, sg_error *err) SG_MUST_CHECK;

typedef enum sg_lre_cause {
    SG_LRE_BY_STATE, /* o' is the other subject's state */
    SG_LRE_BY_WORD,  /* o' is the direction of the object's word, as long as o */
    SG_LRE_RANDOM,   /* a random direction as long as the first one's delta */
    SG_LRE_COPY,     /* s' in the place of s: what could be had at most */
    SG_N_LRE_CAUSES
} sg_lre_cause;
const char *sg_lre_cause_name(sg_lre_cause c);

typedef struct sg_lre_effect {
    sg_dim n;                             /* pairs of known subjects with different objects */
    sg_lre_rate changed[SG_N_LRE_CAUSES]; /* how often the likeliest token is then the other's object */
} sg_lre_effect;
/* Every known test of the part, up to n_most, with another known one that has another object. kinds: bit k is cause k;
 * of the others nothing is known. */
enum { SG_LRE_ALL_CAUSES = (1 << SG_N_LRE_CAUSES) - 1 };
sg_status sg_lre_causes(sg_lre_effect *out, const sg_model *m, sg_lre_reader *r, const sg_lre *lre, int site,
                        const sg_lre_inverse *v, sg_dim rank, const sg_lre_data *d, int part, int n_most,
                        unsigned kinds, sg_lre_opts opts, sg_error *err) SG_MUST_CHECK;

/* ---- the attribute lens ---- */

/* W and b applied at every token to what enters the first block, and to what each block writes: top, and rank of
 * `token` (-1: none), [n_layers,n_tokens], one layer more than the model has blocks; and what is read there without
 * them, as the logit lens has it. */
typedef struct sg_lre_lens {
    int n_layers;
    sg_dim n_tokens;
    const int32_t *top, *rank, *plain;
} sg_lre_lens;
sg_status sg_lre_lens_new(sg_lre_lens **out, const sg_model *m, sg_lre_reader *r, const sg_lre *lre, int site,
                          double beta, const int32_t *tokens, sg_dim n_tokens, int32_t token, sg_exec_opts exec,
                          sg_error *err) SG_MUST_CHECK;
void sg_lre_lens_free(sg_lre_lens *l);

#ifdef __cplusplus
}
#endif
#endif
