/* Verification: how far a model's values, as they are computed here, are from reference values.
 *
 *     sg_golden *want;
 *     sg_verify_run *run;
 *     SG_TRY(sg_golden_open(&want, "stories260K.safetensors", err));
 *     SG_TRY(sg_verify(&run, model, want, sg_verify_defaults(), err));
 *     printf("%s: %s\n", run->backend, run->holds ? "holds" : "fails");
 *
 * Golden values are named values of a model on stated prompts, from another program or from a run in f64 of our own.
 * What the former show is that the model means here what it means there. The latter show only that faster kernels and
 * narrower numbers agree with our own arithmetic: a misread config is the same mistake on both sides. */
#ifndef SIGHTGLASS_VERIFY_H
#define SIGHTGLASS_VERIFY_H

#include <signal.h>

#include "sightglass/model.h"
#include "sightglass/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- golden values ---- */

typedef struct sg_golden_prompt {
    int n_rows;            /* of tokens; where there is one, values may leave the batch out */
    sg_dim n_tokens;       /* of each; 0: the model reads images alone */
    const int32_t *tokens; /* [n_rows,n_tokens] */
    const char *text;      /* NULL: the tokens were not made from one */
    int n_sites;
    const sg_named_tensor *sites; /* values; and inputs that are fed: pixels, key_mask, token_types */
} sg_golden_prompt;

typedef struct sg_golden {
    const char *from; /* "stories260K.safetensors", "own run in f64, reference kernels" */
    const char *hash; /* of the model's files, as sg_file_identity has it; NULL: not known */
    bool own;         /* computed by this program */
    sg_dtype dtype;   /* in which the numbers are kept */
    int n_prompts;
    const sg_golden_prompt *prompts;
} sg_golden;

typedef struct sg_golden_opts {
    int n_prompts;                   /* 0: three are made from the model's vocabulary, by seed */
    const sg_golden_prompt *prompts; /* tokens, and text if there is one; their sites are not looked at */
    int n_patterns;                  /* 0: every named value that is computed */
    const char *const *patterns;     /* a name or pattern of which there are none in the model is SG_ENOTFOUND */
    uint64_t seed;                   /* 0 */
    sg_exec_opts exec;               /* the reference kernels */
    void (*progress)(void *context, const char *part, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_golden_opts;
sg_golden_opts sg_golden_defaults(void);

/* Values of m, which is to be opened in SG_F64 for what is meant by golden. A prompt at a time, so that none is padded.
 * Models that read images get one of random pixels beside each prompt, or alone. SG_ENUMERIC: a value is NaN, its name
 * in the text. */
sg_status sg_golden_make(sg_golden **out, const sg_model *m, sg_golden_opts opts, sg_error *err) SG_MUST_CHECK;

/* A safetensors file: `tokens` [T] i32 and values by name, batch left out; or [batch,T], and a batch in all values.
 * With several prompts names begin with "prompt.0.", "prompt.1." and so on. Values may be of any float type; inputs of
 * the model that are there (pixels, key_mask, token_types) are fed. */
sg_status sg_golden_open(sg_golden **out, const char *path, sg_error *err) SG_MUST_CHECK;
/* program, model and hash go into the file's metadata; NULL: left out. */
sg_status sg_golden_save(const sg_golden *golden, const char *path, const char *program, const char *model,
                         const char *hash, sg_error *err) SG_MUST_CHECK;
void sg_golden_free(sg_golden *golden); /* NULL is fine */

/* ---- comparing ---- */

/* What is still called agreement. */
typedef struct sg_tolerance {
    double relative;  /* of a site: greatest distance at one position, by the reference's length there */
    double variation; /* mean total variation of the next token's distribution, 0 to 1 */
    double lead; /* nats: where the reference prefers its first token to its second by more, ours has the same first */
    const char *why;
} sg_tolerance;

/* For what is computed in and how the model's weights are kept; `other` is the type of the weights that the reference
 * was computed from, `stored` again where they are the same weights. */
sg_tolerance sg_verify_tolerance(sg_dtype compute, sg_dtype stored, sg_dtype other);

/* One site over all prompts. A vector is all that a site holds at a position (at a head and a position for attention).
 */
typedef struct sg_verify_row {
    const char *site;
    sg_dim n;                 /* numbers compared */
    double max_abs, mean_abs; /* |ours - reference| */
    double max_rel,
        mean_rel; /* of vectors: |ours - reference|_2 / |reference|_2, the latter at least 1e-6 of the site's longest */
    int at_prompt; /* where max_rel is */
    sg_dim at_position;
    sg_dim n_bad; /* numbers that are NaN or infinite on one side */
    bool holds;
} sg_verify_row;

/* The distribution of what is predicted (`logits`: the next token; else `class_logits`), over all positions of all
 * prompts, from runs of which only the logits are fetched: inside, they are computed as they are for users. */
typedef struct sg_verify_next {
    sg_dim n;               /* positions; 0: the model has no logits, or the golden values have none */
    double top1;            /* share of positions with the same likeliest token */
    sg_dim n_clear;         /* positions where the reference's lead is above the tolerance's */
    double top1_clear;      /* share of those */
    double tv_mean, tv_max; /* total variation, 0 to 1 */
    double kl_mean, kl_max; /* nats, of ours from the reference */
    bool holds;
} sg_verify_next;

typedef struct sg_verify_run {
    const char *backend; /* "reference" */
    const char *compute; /* "f32": in which large products multiply */
    const char *stored;  /* "q8_0": how the weights are kept */
    int n_rows;
    const sg_verify_row *rows; /* in the model's order */
    sg_verify_next next;
    sg_tolerance tolerance;
    const char *first_bad; /* the first site with a NaN; NULL: none */
    const char *note;      /* NULL: none */
    uint64_t logits_hash;  /* runs with one hash made the same numbers */
    double seconds;
    bool holds;
} sg_verify_run;

typedef struct sg_verify_opts {
    sg_exec_opts exec;
    sg_tolerance tolerance; /* relative < 0: what sg_verify_tolerance says */
    sg_dtype other;         /* stored type of the reference's weights; SG_N_DTYPES: the same weights */
    int n_patterns;         /* 0: every site that is golden */
    const char *const *patterns;
    void (*progress)(void *context, const char *part, double done);
    void *context;
    const volatile sig_atomic_t *cancel;
} sg_verify_opts;
sg_verify_opts sg_verify_defaults(void);

/* Runs the prompts and compares. A failed comparison is a result, not an error. SG_ENOTFOUND: the model has no value of
 * a golden name; SG_ESHAPE: it is of another shape. */
sg_status sg_verify(sg_verify_run **out, const sg_model *m, const sg_golden *want, sg_verify_opts opts,
                    sg_error *err) SG_MUST_CHECK;
void sg_verify_run_free(sg_verify_run *run); /* of sg_verify; NULL is fine */

/* The sites by which a model is gone through layer by layer. */
extern const char *const sg_verify_sites[];
extern const int sg_verify_n_sites;

#ifdef __cplusplus
}
#endif
#endif
