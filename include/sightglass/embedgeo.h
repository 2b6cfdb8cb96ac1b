/* Geometry of embeddings: how alike two models arrange their tokens, in what patches tokens lie, how smooth states are
 * on a graph. (Lee, Weber, Viegas, Wattenberg: "Shared global and local geometry of language model embeddings", 2025.)
 *
 *     sg_embedding *a, *b;                                    // of two models
 *     sg_token_match *both;                                   // tokens of the same bytes
 *     SG_TRY(sg_token_match_new(&both, sg_model_tokenizer(m), sg_model_tokenizer(n), err));
 *     sg_geo_alike alike;
 *     SG_TRY(sg_geo_pearson(&alike, &a->table, &b->table, both->ids[0], both->ids[1], both->n, err));
 *     printf("cosines correlate %.2f, centred %.2f\n", alike.r, alike.centred);
 *
 * Embeddings are rows [V,D] of any floats. A large common mean makes all cosines alike in any two models: that is why
 * each number comes centred too. The nulls: tokens that correspond at random (permuted ids), neighbours drawn at
 * random, components that are shuffled each for itself, nodes that change places. */
#ifndef SIGHTGLASS_EMBEDGEO_H
#define SIGHTGLASS_EMBEDGEO_H

#include "sightglass/model.h"
#include "sightglass/neighbours.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tokens that two models share ---- */

/* How a vocabulary writes bytes. */
typedef enum sg_token_escape {
    SG_ESCAPE_NONE,
    SG_ESCAPE_BYTE_LEVEL, /* a visible character for each byte (GPT-2) */
    SG_ESCAPE_METASPACE,  /* U+2581 for a space, <0x0A> for bytes (SentencePiece) */
    SG_ESCAPE_WORDPIECE   /* ## before what goes on a word; what begins one has a space before it */
} sg_token_escape;
sg_token_escape sg_token_escape_of(const sg_tokenizer *t);
/* The bytes that a token stands for, by malloc, and how many; *out NULL where no token has that id. */
sg_status sg_token_bytes(char **out, size_t *n, const sg_tokenizer *t, sg_token_escape how, int32_t id,
                         sg_error *err) SG_MUST_CHECK;

typedef struct sg_token_match {
    sg_dim n;
    int32_t
        *ids[2]; /* [n] of the same bytes; those of the first rise. Of tokens with the same bytes the first counts */
} sg_token_match;
/* Without special tokens. */
sg_status sg_token_match_new(sg_token_match **out, const sg_tokenizer *a, const sg_tokenizer *b,
                             sg_error *err) SG_MUST_CHECK;
void sg_token_match_free(sg_token_match *m); /* NULL is fine */

/* ---- a model's embeddings ---- */

typedef struct sg_embedding {
    sg_tensor table; /* [V,D] f32 */
    bool tied;       /* input and output are one matrix */
} sg_embedding;
/* That of the input, or of the output (the unembedding). SG_EUNSUPPORTED: the model has none. */
sg_status sg_embedding_new(sg_embedding **out, const sg_model *m, bool output, sg_error *err) SG_MUST_CHECK;
void sg_embedding_free(sg_embedding *e); /* NULL is fine */

/* ---- globally alike ---- */

typedef struct sg_geo_alike {
    sg_dim n;       /* tokens */
    double r;       /* Pearson's correlation of the cosines of all pairs; NaN where one side does not vary */
    double centred; /* the same after the mean embedding is taken off */
    double turned; /* relative orientation: share of the second's variance that the first has, turned and scaled at best
                    * (orthogonal Procrustes) */
} sg_geo_alike;
/* ids NULL: rows 0..n-1. The n x n cosines are never there: sums over all pairs follow from d x d products, since
 * sum_ij (x_i.x_j)(y_i.y_j) = |X'Y|^2, in double. SG_EARG: fewer than 3 tokens, an id outside the table. */
sg_status sg_geo_pearson(sg_geo_alike *out, const sg_tensor *a, const sg_tensor *b, const int32_t *ids_a,
                         const int32_t *ids_b, sg_dim n, sg_error *err) SG_MUST_CHECK;

/* ---- locally alike ---- */

#define SG_GEO_REGULARISE 1e-3

/* Locally linear embedding's weights (Roweis & Saul 2000): w [n,k] f64 of the neighbours that reconstruct each point at
 * best, min |x_i - sum_j w_ij x_j|, sum_j w_ij = 1, with G + regularise tr(G)/k I in the place of the local Gram matrix
 * G. */
sg_status sg_geo_lle(const sg_tensor *w, const sg_tensor *x, const sg_neighbours *near, double regularise,
                     sg_error *err) SG_MUST_CHECK;
/* cosine [n] of the sparse rows of two such, of the same points. */
sg_status sg_geo_lle_alike(double *cosine, const sg_neighbours *near_a, const sg_tensor *w_a,
                           const sg_neighbours *near_b, const sg_tensor *w_b, sg_error *err) SG_MUST_CHECK;
/* k others of each of n points, drawn without repetition: the null of both. Distances are NaN. */
sg_status sg_neighbours_random(sg_neighbours **out, sg_dim n, sg_dim k, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* ---- dimension ---- */

/* dim [n]: principal components of each point's neighbours that reach `share` of their variance. At most k - 1, and it
 * grows with k: compare at one k alone. 0 where all neighbours are one point. */
sg_status sg_geo_localdim(int32_t *dim, const sg_tensor *x, const sg_neighbours *near, double share, int n_threads,
                          const volatile sig_atomic_t *cancel, sg_error *err) SG_MUST_CHECK;

/* Dimension of what the points are drawn from, by distances of neighbours alone. */
typedef struct sg_geo_dimension {
    double two_nn; /* from r2/r1, the farthest tenth left out (Facco et al. 2017) */
    double
        likely; /* maximum likelihood over k neighbours (Levina & Bickel 2004), averaged as MacKay & Ghahramani say */
    sg_dim n;   /* points used: those whose nearest neighbour is not a copy */
} sg_geo_dimension;
/* near: Euclidean, k >= 3. */
sg_status sg_geo_dimension_of(sg_geo_dimension *out, const sg_neighbours *near, sg_error *err) SG_MUST_CHECK;
/* The null of both: to [n,D] f32 has each component of x dealt out anew over the points: the same marginals, nothing
 * joint. */
sg_status sg_geo_shuffle(const sg_tensor *to, const sg_tensor *x, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* ---- on a graph ---- */

/* Dirichlet energy: how near linked points lie, against all pairs (Park et al. 2024, normalised). */
typedef struct sg_dirichlet {
    double ratio;                     /* edges / pairs: 1 means no structure, below 1 graph-like */
    double edges, pairs;              /* mean |x_i - x_j|^2 over links (by their weight), over all pairs */
    double null, null_low, null_high; /* ratio where points change places: mean, and 95 % of the permutations */
    sg_dim n_points, n_links;         /* that are there: a row with a NaN is missing, and its links with it */
} sg_dirichlet;
typedef struct sg_dirichlet_opts {
    int n_permutations; /* 200 */
    uint64_t seed;      /* 0 */
} sg_dirichlet_opts;
sg_dirichlet_opts sg_dirichlet_defaults(void);
/* x [n,D]. A bipartite graph (grids, even rings) has a two-colouring that makes linked points far: use odd ones.
 * SG_EARG: fewer than 3 points or no link. */
sg_status sg_dirichlet_energy(sg_dirichlet *out, const sg_tensor *x, const sg_links *links, sg_dirichlet_opts opts,
                              sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
