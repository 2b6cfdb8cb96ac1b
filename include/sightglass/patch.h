/* Activation patching: a value of one run is put into another, and one sees how much of the difference comes with it.
 *
 *     sg_patch_job job = sg_patch_defaults();
 *     job.model = m, job.n_sites = 12, job.sites = sites;    // blocks.0.hook_resid_pre, ...
 *     job.base = base, job.source = source, job.n_tokens = n; // two rows of one length
 *     job.metric = (sg_patch_metric){.kind = SG_METRIC_LOGIT_DIFF, .token = mary, .other = john, .position = -1};
 *     SG_TRY(sg_patch_run(&table, &job, err));
 *     table->effect[i * table->n_positions + t]; // 0: nothing comes with it, 1: all
 *
 * Each place (a site at a position, or at a head and a position) is a row of a batch, in which the value at the site is
 * the base's but for that place, where it is the source's. It is fed, so only what lies behind the site is computed.
 * (Meng et al., "Locating and Editing Factual Associations in GPT", 2022, call it causal tracing.) */
#ifndef SIGHTGLASS_PATCH_H
#define SIGHTGLASS_PATCH_H

#include <signal.h>

#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_metric_kind {
    SG_METRIC_LOGIT,      /* of a token */
    SG_METRIC_LOGIT_DIFF, /* of a token less that of another */
    SG_METRIC_PROB,       /* of a token */
    SG_METRIC_LOGPROB,    /* nats */
    SG_METRIC_VALUE,      /* a number inside the model: element `index` of what `site` has behind row and position */
    SG_METRIC_BUILT,      /* whatever `build` makes of the graph */
} sg_metric_kind;

/* A number of each row. */
typedef struct sg_patch_metric {
    sg_metric_kind kind;
    int32_t token, other;
    sg_dim position; /* below 0 from the end: -1 is the last token */
    const char *site;
    sg_dim index;
    sg_value *(*build)(sg_graph *g, void *context); /* -> [batch] */
    void *context;
} sg_patch_metric;

typedef struct sg_patch_job {
    const sg_model *model;
    int n_sites;
    const char *const *sites; /* names, no patterns; with rows first and a position: [batch,time,...], or attention's */
    const int32_t *base, *source; /* tokens */
    sg_dim n_tokens;              /* of each */
    int n_positions;              /* 0: all */
    const sg_dim *positions;      /* 0-based */
    bool by_head;                 /* false; true: each head of the sites, which all have heads, is a place of its own */
    sg_patch_metric metric;
    sg_dim batch; /* 64: places that are run at once */
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_patch_job;
sg_patch_job sg_patch_defaults(void);

typedef struct sg_patch_table {
    int n_sites, n_positions, n_heads; /* n_heads is 1 unless by_head */
    double base, source;               /* the metric of both runs as they are */
    double *metric;                    /* [sites,positions,heads] of the base with that place patched */
    double *effect;                    /* (metric - base) / (source - base); NaN where both runs have the same metric */
} sg_patch_table;

/* SG_ENOTFOUND suggests the nearest name; SG_EARG: places, tokens or a metric that are not there; SG_ESHAPE: a site
 * without rows or positions, heads of different numbers. */
sg_status sg_patch_run(sg_patch_table **out, const sg_patch_job *job, sg_error *err) SG_MUST_CHECK;
/* The same table by attribution patching (Nanda 2023; Kramar et al. 2024, AtP): each place's effect to first order, the sum of
 * (source - base) times the metric's gradient at the base. One run forward and one back for all sites together; exact where the
 * metric is linear in the site, and wrong where attention or an activation saturates. Beware of sites early in the network. */
sg_status sg_patch_estimate(sg_patch_table **out, const sg_patch_job *job, sg_error *err) SG_MUST_CHECK;
void sg_patch_table_free(sg_patch_table *t); /* NULL is fine */

/* How far effects that were estimated are from those of true patches of the same job. */
typedef struct sg_patch_agreement {
    sg_dim n;                             /* places */
    double error, error_of_nothing;       /* mean |difference|; and that of an estimate that says 0 everywhere */
    double correlation, rank_correlation; /* Pearson's and Spearman's, over places */
    double worst;                         /* largest |difference| */
    sg_dim worst_at;                      /* its place in the tables */
} sg_patch_agreement;
sg_status sg_patch_compare(sg_patch_agreement *out, const sg_patch_table *estimate, const sg_patch_table *patched,
                           sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
