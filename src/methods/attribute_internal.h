/* What the files of attribution share: the attributer's fields, and running rows of one input. */
#ifndef SG_METHODS_ATTRIBUTE_INTERNAL_H
#define SG_METHODS_ATTRIBUTE_INTERNAL_H

#include "base/base.h"
#include "sightglass/attribute.h"

#define SG_ATTRIBUTE_FEEDS 16

struct sg_attributer {
    const sg_graph *from; /* without what is added here */
    sg_state *state;
    sg_graph *own_graph; /* of a model; NULL: the caller's */
    sg_state *own_state;
    void **own_numbers; /* shuffled weights */
    int n_own;
    sg_graph *g; /* a fork, with S and its gradient */
    sg_session *session;
    sg_value *site, *score, *gradient, *index, *other; /* index, other: inputs [batch,1], or NULL */
    sg_value *tokens, *positions, *key_mask, *types;   /* inputs of a text; NULL: none */
    char *site_name;
    sg_attribute_target target; /* its site is a copy */
    char *target_site;
    sg_exec_opts exec;
    bool is_guided;
    sg_attributer *guided; /* made when it is first asked for */
    int32_t *ids;          /* [batch,time] twice, then [batch] twice */
    uint8_t *real;         /* [batch,time] */
    size_t ids_room, real_room;
    sg_dim rows_forward, rows_back;
    const sg_value **weights; /* matrices that S depends on, nearest first; made when first asked for */
    int n_weights;
};

/* The fork with S and its gradient; guided: by that other rule. */
sg_status sg_attributer_build(sg_attributer *a, sg_error *err) SG_MUST_CHECK;
/* dS/dx by the guided rule, for a graph to which the cuts below were made. */
typedef struct sg_guided_cuts {
    int n;
    sg_value **relu, **cut; /* each ReLU, and what its readers read instead */
} sg_guided_cuts;
sg_status sg_guided_cut(sg_guided_cuts *out, sg_graph *g, sg_error *err) SG_MUST_CHECK;
sg_value *sg_guided_gradient(sg_graph *g, const sg_guided_cuts *cuts, sg_value *score, sg_value *site);
void sg_guided_free(sg_guided_cuts *cuts);

/* ---- rows of one input, which differ at the site ---- */

typedef struct sg_attribute_work {
    sg_attributer *a;
    const sg_attribute_input *in;
    const sg_attribute_opts *opts;
    sg_arena *arena;
    sg_dim batch; /* rows at once */
    int n_dims;   /* of one row */
    sg_dim dims[SG_MAX_DIMS], n;
    bool by_position;     /* the first axis of a row is a text's */
    double *x;            /* [n] */
    double *points;       /* [batch,n] scratch */
    sg_named_feed *feeds; /* [n_feeds] repeated, but the site */
    int n_feeds;
    const int32_t **tokens; /* [batch] */
    sg_dim *lengths;
    int32_t *index, *other; /* [batch] */
    void *values;           /* [batch,n] of the site's type */
    double done, whole;     /* rows, for progress */
} sg_attribute_work;

/* Opens the work: repeats the input, finds x. */
sg_status sg_attribute_begin(sg_attribute_work *w, sg_attributer *a, const sg_attribute_input *in,
                             const sg_attribute_opts *opts, sg_error *err) SG_MUST_CHECK;
void sg_attribute_end(sg_attribute_work *w);

/* Fills x of row j. */
typedef void (*sg_attribute_point)(void *context, sg_dim j, double *x);
/* S of rows 0..n-1. */
sg_status sg_attribute_scores(sg_attribute_work *w, sg_dim n, sg_attribute_point point, void *context, double *scores,
                              sg_error *err) SG_MUST_CHECK;
/* Sums of gradients, and of their squares unless NULL, over rows 0..n-1, in order. */
sg_status sg_attribute_sums(sg_attribute_work *w, sg_attributer *by, sg_dim n, sg_attribute_point point, void *context,
                            double *sum, double *squares, sg_error *err) SG_MUST_CHECK;

/* Places: how many, which one an element belongs to, and what an element is filled with. */
sg_dim sg_attribute_n_places(const sg_attribute_work *w);
sg_dim sg_attribute_place(const sg_attribute_work *w, sg_dim element);
void sg_attribute_fill(const sg_attribute_work *w, double *fill);

sg_status sg_attribute_occlusion(sg_attribute_work *w, double *map, sg_error *err) SG_MUST_CHECK;

/* One batch: rows first.. of `rows`, what is fed, what comes out; site NULL: computed. */
sg_status sg_attributer_batch(sg_attributer *a, const sg_attribute_rows *rows, sg_dim first, sg_dim n,
                              const sg_tensor *site, int n_fetches, sg_value *const *fetches, sg_tensor *out,
                              sg_error *err) SG_MUST_CHECK;

#endif
