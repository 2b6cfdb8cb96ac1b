/* What the study of archetypal dictionaries fits: the same rows by several kinds from several starts, and what comes of
 * it. */
#ifndef SG_STUDIES_ARCHETYPAL_SAE_PARTS_H
#define SG_STUDIES_ARCHETYPAL_SAE_PARTS_H

#include "sightglass/dictionary.h"
#include "sightglass/world.h"
#include "study.h"

enum { ARCH_STARTS = 4, ARCH_PAIRS = ARCH_STARTS * (ARCH_STARTS - 1) / 2, ARCH_SORTED = 64, ARCH_BINS = 20 };

typedef enum arch_which {
    ARCH_TOPK,
    ARCH_RELAXED,       /* delta 1 */
    ARCH_TIGHT,         /* delta .1 */
    ARCH_HULL,          /* archetypal: no slack */
    ARCH_OWN,           /* relaxed; each start has centroids of its own */
    ARCH_RANDOM,        /* relaxed over random points as long as the rows */
    ARCH_TOPK_SHUFFLED, /* the rows in another order */
    ARCH_RELAXED_SHUFFLED,
    ARCH_TOPK_RIGHT, /* orthogonal sparse rows */
    ARCH_RELAXED_RIGHT,
    ARCH_ARMS
} arch_which;
const char *arch_name(arch_which which);

typedef struct arch_found {
    bool there;             /* false: not fitted in the small study */
    double r2[ARCH_STARTS]; /* on rows held out */
    double dead[ARCH_STARTS];
    double recovered[ARCH_STARTS]; /* true archetypes with a matched cosine of .9 or more */
    double outside[ARCH_STARTS];   /* of the farthest atom from the hull of the points, over its length */
    double stability[ARCH_PAIRS];
    double null;                 /* of random atoms */
    double cosine[ARCH_SORTED];  /* of true archetypes with their atoms, falling; first start */
    double histogram[ARCH_BINS]; /* of matched cosines of the first pair, from -1 to 1 */
} arch_found;

typedef struct arch_parts {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    int n_starts, n_pairs;
    sg_dim width, n_rows, n_held, n_points, n_steps;
    uint64_t seeds[ARCH_STARTS];
    double random_recovered; /* by random atoms: none, if anything */
    arch_found found[ARCH_ARMS];
    int n_done, n_todo; /* fits */
} arch_parts;

/* Makes the rows, fits all arms, and fills `found`. */
sg_status arch_run(arch_parts *p) SG_MUST_CHECK;
sg_status arch_figures(const arch_parts *p) SG_MUST_CHECK;

#endif
