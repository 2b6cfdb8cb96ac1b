/* Jacobians: how a value inside a model, at one position, moves with other values at another position.
 *
 *     sg_jacobian *j;
 *     sg_jacobian_opts opts = sg_jacobian_defaults();
 *     opts.n_sources = 1;
 *     opts.sources = (const char *const[]){"blocks.2.hook_resid_post"};
 *     opts.target = "blocks.11.hook_resid_post";
 *     SG_TRY(sg_jacobian_new(&j, model, opts, err));
 *     SG_TRY(sg_jacobian_run(j, tokens, n_tokens, subject, n_tokens - 1, &result, err));
 *     use(result.j[0]); // [Do,Ds]: d target[i] / d source[j]
 *     sg_jacobian_free(j);
 *
 * A row of the matrix is a vector-Jacobian product (reverse), a column a Jacobian-vector product (forward); many of
 * either are one batched run. What lies below the lowest source is computed once for a prompt and fed, and so are, in
 * models that look back only, keys and values of the positions before the source's, which nothing at the source can
 * change: the batch has the positions from the source to the target alone. Several sources come from one pass: what the
 * gradient is at each on its way down. */
#ifndef SIGHTGLASS_JACOBIAN_H
#define SIGHTGLASS_JACOBIAN_H

#include <signal.h>

#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_jacobian_mode {
    SG_JACOBIAN_NARROWER, /* columns where the (one) source is narrower than the target, else rows */
    SG_JACOBIAN_ROWS,
    SG_JACOBIAN_COLUMNS /* of one source only */
} sg_jacobian_mode;

typedef struct sg_jacobian_opts {
    int n_sources;
    const char *const
        *sources; /* values with a row and a position first, as blocks.3.hook_resid_post or blocks.1.attn.hook_z */
    const char *target;    /* NULL: the last block's hook_resid_post */
    sg_jacobian_mode mode; /* SG_JACOBIAN_NARROWER */
    sg_dim batch;          /* 64; rows or columns of one run */
    bool prefix;           /* true; false: every position is computed in each run */
    sg_dim pad;            /* 0; positions of padding on the left, which change nothing; not with prefix */
    sg_exec_opts exec;
    sg_dim most_runs;                    /* 0: all; after so many batches the rest is left out, as for an estimate */
    const volatile sig_atomic_t *cancel; /* NULL; looked at before each run */
} sg_jacobian_opts;
sg_jacobian_opts sg_jacobian_defaults(void);

typedef struct sg_jacobian sg_jacobian;

/* The strings of opts are borrowed until it is freed. SG_ENOTFOUND: no such value; SG_ESHAPE: one without rows and
 * positions; SG_EARG: the target lies below a source, or columns of several sources. */
sg_status sg_jacobian_new(sg_jacobian **out, const sg_model *m, sg_jacobian_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_jacobian_free(sg_jacobian *j); /* NULL is fine */

sg_dim sg_jacobian_source_width(const sg_jacobian *j, int source); /* Ds */
sg_dim sg_jacobian_target_width(const sg_jacobian *j);             /* Do */

/* Of one prompt, borrowed until the next run or until it is freed. */
typedef struct sg_jacobian_result {
    const float *const *j; /* [n_sources] of [Do,Ds] */
    const float *const *s; /* [n_sources] of [Ds]: the source there */
    const float *o;        /* [Do]: the target there */
} sg_jacobian_result;

/* at_source and at_target are places in tokens. SG_EARG: outside of them, or the target's lies before the source's in a
 * model that looks back only. SG_ECANCELLED. */
sg_status sg_jacobian_run(sg_jacobian *j, const int32_t *tokens, sg_dim n_tokens, sg_dim at_source, sg_dim at_target,
                          sg_jacobian_result *out, sg_error *err) SG_MUST_CHECK;

/* What was run so far. */
typedef struct sg_jacobian_cost {
    int64_t n_prompts;             /* in each of which what lies below was computed once */
    int64_t n_runs;                /* batches of rows or columns */
    int64_t n_rows;                /* rows or columns */
    int64_t n_positions;           /* of the batches, all rows of all runs together */
    int n_steps_below;             /* steps of blocks below the lowest source that the last batch's plan has: none */
    size_t bytes;                  /* that such a run holds */
    double seconds_below, seconds; /* in runs of prompts, and in batches */
} sg_jacobian_cost;
sg_jacobian_cost sg_jacobian_get_cost(const sg_jacobian *j);

#ifdef __cplusplus
}
#endif
#endif
