/* Why did this head look there? In which subspaces do a head's queries meet its keys, and on what.
 *
 *     sg_qk_sums *s;
 *     SG_TRY(sg_qk_sums_new(&s, 64, seed, sg_exec_defaults(), err));
 *     for (each pair)
 *         SG_TRY(sg_qk_add(s, match, query, key, err));          // [64] each
 *     SG_TRY(sg_qk_factor_new(&factor, "category", s, sg_qk_factor_defaults(), err));
 *     printf("rank %d, sigma_1 %g, pairs shuffled %g\n", factor->rank, factor->sigma[0], factor->sigma_shuffled[0]);
 *
 * The contrast of a factor z is  D_z = E[q k' | the key matches the query on z] - E[q k' | it differs on z], everything
 * else about query and key distributed alike in both (Lee, Belinkov, Viegas, Wattenberg 2026). D = U S V': the first
 * rows of `left` span where z lies in queries, those of `right` where it lies in keys. Two traps: the rank of D comes
 * from the data, and an untrained head shows it too; and what else differs between the two kinds of pairs is in D as
 * well. Size, swaps and shuffled pairs tell more.
 *
 * Swaps are edits: the parts of two keys in such a subspace change places, and one sees how much of the attention goes
 * along. */
#ifndef SIGHTGLASS_QK_H
#define SIGHTGLASS_QK_H

#include <signal.h>

#include "sightglass/bootstrap.h"
#include "sightglass/edit.h"
#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- contrasts, streamed: nothing is kept that is larger than width x width, but for 512 pairs of each kind ---- */

typedef struct sg_qk_sums sg_qk_sums;

/* seed: of the shuffling of pairs, within each 512 of one kind. */
sg_status sg_qk_sums_new(sg_qk_sums **out, sg_dim width, uint64_t seed, sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;
/* One pair: q, k [width]. SG_ENUMERIC: not finite. */
sg_status sg_qk_add(sg_qk_sums *s, bool match, const float *q, const float *k, sg_error *err) SG_MUST_CHECK;
void sg_qk_sums_free(sg_qk_sums *s); /* NULL is fine */

typedef struct sg_qk_factor_opts {
    bool centred; /* false: D as above; true: the means of q and of k are taken off in each kind of pairs */
    double share; /* .99; of the sum of squares of sigma that `rank` directions have */
} sg_qk_factor_opts;
sg_qk_factor_opts sg_qk_factor_defaults(void);

typedef struct sg_qk_factor {
    const char *name;
    sg_dim width;
    int64_t n_match, n_differ; /* pairs */
    bool centred;
    const double *delta;          /* [width,width] D, queries by keys */
    const double *error;          /* [width,width] standard error of each entry, were all pairs independent */
    const double *left, *right;   /* [width,width] row i: direction i in queries, in keys */
    const double *sigma;          /* [width] descending */
    const double *sigma_other;    /* [width] centred if D is not, and the other way round */
    const double *sigma_shuffled; /* [width] of the same queries and keys, paired at random */
    int rank;                     /* the least r whose sigma_i^2 sum to `share` of all */
} sg_qk_factor;

/* More pairs may be added afterwards. SG_EARG: fewer than 2 pairs of a kind. */
sg_status sg_qk_factor_new(sg_qk_factor **out, const char *name, sg_qk_sums *s, sg_qk_factor_opts opts,
                           sg_error *err) SG_MUST_CHECK;
void sg_qk_factor_free(sg_qk_factor *f); /* NULL is fine */

int sg_qk_rank(const double *sigma, sg_dim n, double share); /* 0 where all are 0 */

/* ---- subspaces of keys ---- */

typedef struct sg_qk_basis {
    int rank;
    const double *rows; /* [rank,width] orthonormal */
} sg_qk_basis;

sg_qk_basis sg_qk_keys_of(const sg_qk_factor *f); /* its first `rank` right directions */
/* What several span together, orthonormalised in the order given: rows[i] is [ranks[i],width] of what basis i adds to
 * those before it. `rows` has room for all, width x width at most; *ranks[i] may be less than the basis' own. */
sg_status sg_qk_orthogonal(double *rows, int *ranks, int n, const sg_qk_basis *bases, sg_dim width,
                           sg_error *err) SG_MUST_CHECK;
/* A random one of equal rank, [rank,width]: the control. */
sg_status sg_qk_random(double *rows, int rank, sg_dim width, uint64_t seed, uint32_t stream,
                       sg_error *err) SG_MUST_CHECK;
/* The largest angle between two subspaces of equal rank, in degrees. */
sg_status sg_qk_angle(double *degrees, const sg_qk_basis *a, const sg_qk_basis *b, sg_dim width,
                      sg_error *err) SG_MUST_CHECK;

/* The parts of two keys in the subspace change places: o + VV'(t - o), t + VV'(o - t). At rank 0 nothing changes, at
 * rank `width` the keys do, both bit for bit. */
void sg_qk_exchange(float *o, float *t, const sg_qk_basis *basis, sg_dim width);

/* ---- splitting scores ---- */

typedef struct sg_qk_shares {
    int n_factors;
    sg_dim n_queries, n_keys;
    /* [n_queries,n_keys], each row less its mean over the keys that are seen; what is not seen is 0. A softmax does not
     * see a row's mean. score = sum of the shares + rest. */
    const double *score, *rest;
    const double *share; /* [n_factors,n_queries,n_keys] */
    double score_square; /* sum of squares of score, and of rest: explained is 1 - rest_square / score_square */
    double rest_square;
    const double *square; /* [n_factors] of each share alone */
} sg_qk_shares;

/* q [n_queries,width], k [n_keys,width], f32; visible [n_queries,n_keys], NULL: all. Factor i's share of q.k is the
 * product of q with the part of k in what basis i adds to those before it: the order is that of `bases`, and matters
 * where they overlap. `scale` multiplies all. */
sg_status sg_qk_explain(sg_qk_shares **out, int n_factors, const sg_qk_basis *bases, sg_dim n_queries, const float *q,
                        sg_dim n_keys, const float *k, sg_dim width, const uint8_t *visible, double scale,
                        sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;
void sg_qk_shares_free(sg_qk_shares *s); /* NULL is fine */

/* Queries and keys in one plane: queries divided by c and keys times c, so that products stay and both are as long in
 * the mean, within the basis, along the two axes in which they reach furthest. out [n_queries + n_keys,2]. */
sg_status sg_qk_joint(double *out, double *c, const sg_qk_basis *basis, sg_dim n_queries, const float *q, sg_dim n_keys,
                      const float *k, sg_dim width, sg_error *err) SG_MUST_CHECK;

/* ---- pairs of a text ---- */

enum { SG_QK_MOST_FACTORS = 16 };

typedef struct sg_qk_pair {
    int text;
    sg_dim query, key;                /* positions; the key's is not behind the query's */
    int8_t match[SG_QK_MOST_FACTORS]; /* by factor: 1, 0, or -1 where nothing is said */
    const char *of_query[SG_QK_MOST_FACTORS],
        *of_key[SG_QK_MOST_FACTORS]; /* values of the factor, where there are any */
} sg_qk_pair;

typedef struct sg_qk_pairs {
    int n_texts, n_factors;
    const int32_t *const *tokens; /* [n_texts][lengths] */
    const sg_dim *lengths;
    const char *const *factors; /* [n_factors] names */
    sg_dim n_pairs;
    const sg_qk_pair *pairs; /* those of one query of one text together */
} sg_qk_pairs;

/* JSON lines, one query each:
 *     {"text": "...", "query": WHERE, "keys": [{"at": WHERE, "NAME": true | false | ["its value in the query", "in the
 * key"]}]} or "tokens": [ids] for "text". WHERE is a position (below 0 from the end), or words: the token that ends
 * with their last occurrence (of a query) or their first (of a key). SG_EFORMAT names the line. */
sg_status sg_qk_pairs_read(sg_qk_pairs **out, const sg_model *m, const char *path, sg_error *err) SG_MUST_CHECK;
void sg_qk_pairs_free(sg_qk_pairs *p); /* NULL is fine */
/* SG_ENOTFOUND suggests the nearest. */
sg_status sg_qk_pairs_find(int *factor, const sg_qk_pairs *p, const char *name, sg_error *err) SG_MUST_CHECK;

/* ---- a head of a model ---- */

typedef enum sg_qk_place {
    SG_QK_PLAIN, /* hook_q and hook_k: where positions are rotary before the rotation, so the offset is 0. Not in
                  * families that normalise queries and keys behind them (qwen3, olmo2) */
    SG_QK_TURNED /* hook_rot_q and hook_rot_k, at the offsets that the pairs have; the same where nothing turns (gpt2)
                  */
} sg_qk_place;

typedef struct sg_qk_job {
    const sg_model *model;
    int layer, head;   /* the head of queries; its keys are those of its group */
    sg_qk_place place; /* SG_QK_PLAIN */
    const sg_qk_pairs *pairs;
    int n_factors;
    const int *factors; /* of the pairs' */
    sg_qk_factor_opts contrast;
    sg_dim batch; /* 16: texts that are run at once */
    uint64_t seed;
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_qk_job;
sg_qk_job sg_qk_job_defaults(void);

typedef struct sg_qk {
    int n_factors;
    sg_qk_factor *const *factors;
    char query_site[64], key_site[64];
    int head, group; /* of queries; of keys */
    sg_dim width;
    sg_dim least_offset, most_offset; /* of the pairs: the query's position less the key's */
    size_t bytes;                     /* of the values that a run held, and its steps: what of the model was computed */
    int n_steps;
} sg_qk;
sg_status sg_qk_contrast(sg_qk **out, const sg_qk_job *job, sg_error *err) SG_MUST_CHECK;
void sg_qk_free(sg_qk *qk); /* NULL is fine */

/* The exchange as an edit: keys [T,width] of the head's group as they are in the text, positions o and t. It sets those
 * two positions of that group, and nothing else, for any run of that text. */
typedef struct sg_qk_swap {
    sg_edit edit; /* borrows what follows */
    sg_span positions[2], group;
    float *value; /* [T,groups,width] */
} sg_qk_swap;
sg_status sg_qk_swap_new(sg_qk_swap **out, const sg_qk *qk, sg_dim n_groups, const sg_qk_basis *basis, sg_dim n,
                         const float *keys, sg_dim o, sg_dim t, sg_error *err) SG_MUST_CHECK;
void sg_qk_swap_free(sg_qk_swap *s); /* NULL is fine */

/* For every query that has a matching and a differing key (of factor `factor` of the job's; the first of each): how
 * much of the attention on the matching one less that on the other changes places when the two keys exchange their
 * parts in each basis. 0: none, 1: all, as when the whole keys are exchanged. Of the scores likewise. */
typedef struct sg_qk_moved {
    double attention, scores;                    /* sum of what moved over the sum of what was there */
    sg_interval attention_within, scores_within; /* 95 %, by bootstrap over queries */
} sg_qk_moved;
/* out [n_bases]; before [2]: the mean attention on the matching and on the differing key; n: queries. SG_EARG: there
 * are none. */
sg_status sg_qk_swaps(sg_qk_moved *out, double before[2], int64_t *n, const sg_qk_job *job, const sg_qk *qk, int factor,
                      int n_bases, const sg_qk_basis *bases, sg_error *err) SG_MUST_CHECK;

/* Queries and keys of the pairs as they were run, in the order of pairs: each [n_pairs,width], by malloc. */
sg_status sg_qk_vectors(float **q, float **k, const sg_qk_job *job, sg_error *err) SG_MUST_CHECK;

/* Shares of all scores of the queries that the pairs have, on every key that each sees, explained by the bases in their
 * order, and by random ones of equal ranks: 1 - |rest|^2 / |scores|^2, and each basis' |share|^2 / |scores|^2. */
sg_status sg_qk_explained(double *explained, double *by_random, double *share, const sg_qk_job *job, int n_bases,
                          const sg_qk_basis *bases, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
