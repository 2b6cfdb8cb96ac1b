/* Structural probes: trees read off activations as squared distances (Hewitt & Manning 2019).
 *
 *     sg_treeprobe *p;
 *     SG_TRY(sg_treeprobe_fit(&p, &trees, sg_treeprobe_defaults(), err));   // acts [N,D] and the head of each word
 *     SG_TRY(sg_treeprobe_judge(&score, p, &others, err));
 *     printf("Spearman %.2f, by position alone %.2f\n", score.spearman, score.by_position);
 *
 * d_B(i,j) = |B (x_i - x_j)|^2 is fitted to the number of links between two words of a sentence's tree. Squared, since
 * a tree has an embedding in which squared distances are exact and none in general in which distances are (Coenen et
 * al. 2019). How far apart words stand explains much of it: by_position is the baseline, permuted trees and random maps
 * are the nulls. */
#ifndef SIGHTGLASS_TREEPROBE_H
#define SIGHTGLASS_TREEPROBE_H

#include "sightglass/run.h"

#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sentences one after another, a row for each word. Borrowed. */
typedef struct sg_trees {
    sg_tensor acts; /* [N,D], any floats */
    const int32_t
        *head; /* [N] the place of a word's head in its sentence, from 0; -1: the root, one in each sentence */
    sg_dim n_sentences;
    const sg_dim *first; /* [n_sentences + 1]; those of sentence s are rows first[s] .. first[s+1]-1 */
} sg_trees;
/* SG_EARG: a head outside its sentence, no root or two, a circle; the text names the sentence. */
sg_status sg_trees_check(const sg_trees *t, sg_error *err) SG_MUST_CHECK;
/* links [n,n]: how many lie between two words of a sentence. */
sg_status sg_trees_distances(int32_t *links, const sg_trees *t, sg_dim sentence, sg_error *err) SG_MUST_CHECK;
/* Heads dealt out anew between sentences of equal length: to [N]. The null whose trees are as probable. */
sg_status sg_trees_permute(int32_t *to, const sg_trees *t, uint64_t seed, sg_error *err) SG_MUST_CHECK;

typedef struct sg_treeprobe {
    sg_dim width, rank;
    float *b; /* [rank,width] */
} sg_treeprobe;

typedef struct sg_treeprobe_opts {
    sg_dim rank;   /* 64; at most the width */
    sg_dim epochs; /* 40 */
    sg_dim batch;  /* 20 sentences */
    double lr;     /* 1e-3, Adam */
    uint64_t seed; /* 0 */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_treeprobe_opts;
sg_treeprobe_opts sg_treeprobe_defaults(void);

/* The loss is the mean over sentences of sum_ij |d_T - d_B| / n^2. A graph is built and trained; sentences of one word
 * are passed over. SG_EARG: none of two or more. */
sg_status sg_treeprobe_fit(sg_treeprobe **out, const sg_trees *t, sg_treeprobe_opts opts, sg_error *err) SG_MUST_CHECK;
/* A map drawn at random, entries normal with variance 1 / width: what rank alone can do. */
sg_status sg_treeprobe_random(sg_treeprobe **out, sg_dim width, sg_dim rank, uint64_t seed,
                              sg_error *err) SG_MUST_CHECK;
void sg_treeprobe_free(sg_treeprobe *p); /* NULL is fine */

typedef struct sg_treeprobe_score {
    double spearman; /* of distances from each word: a mean over words, then sentences of one length, then lengths 5 to
                        50 */
    double attached; /* share of the trees' links that the minimum spanning tree of d_B has */
    double by_position; /* the same two of |i - j|, */
    double chain;       /* whose spanning tree is the chain of neighbours */
    sg_dim n_sentences; /* of lengths 5 to 50, over which the correlations are */
} sg_treeprobe_score;
sg_status sg_treeprobe_judge(sg_treeprobe_score *out, const sg_treeprobe *p, const sg_trees *t,
                             sg_error *err) SG_MUST_CHECK;

/* up [n]: the minimum spanning tree of far [n,n] by Prim's way from point 0: who it was linked to, -1 for point 0. Of
 * equal distances the lowest index is taken first. */
sg_status sg_spanning_tree(int32_t *up, const double *far, sg_dim n, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
