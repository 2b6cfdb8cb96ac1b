/* Edits: interventions as data. One description serves the command line, C and JSON.
 *
 *     sg_edit e = sg_edit_defaults();
 *     e.site = "blocks.2.hook_resid_post";
 *     e.op = SG_EDIT_ADD;
 *     e.value = direction; // [D]
 *     e.strength = 4;
 *     SG_TRY(sg_glass_edit(glass, 1, &e, err)); // model.h
 *
 * Splicing builds the structure of the edits (sites, ops, which parts are there) into a graph; their numbers (values,
 * strengths, rows, positions, heads) are inputs of each run. x is the value at the site, v the value, s the strength; where rows,
 * positions, heads, features, steps and `when` all hold
 *
 *     set      x' = (1 - s) x + s v               patch    the same, v by position
 *     add      x' = x + s v                       scale    x' = s x, or s v x
 *     ablate   x' = (1 - s) x + s v, v = 0 unless given (its mean, say)
 *     project  x' = x - s sum_k (x . v_k) v_k     v_k orthonormalised rows of v [D] or [k,D]
 *     clamp    x' = x + s (c - x . u) u           u = v / |v|, c = x . u held in [low, high]; without v: x held in [low, high]
 *     mask     x' = x v; at attn_scores -inf where v is 0; `keys` names key positions that are masked instead of v
 *
 * and elsewhere x' = x, bit for bit; so also at attn_scores where x is -inf: attention keeps looking back only. */
#ifndef SIGHTGLASS_EDIT_H
#define SIGHTGLASS_EDIT_H

#include "sightglass/run.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_edit_op {
    SG_EDIT_SET,
    SG_EDIT_ADD,
    SG_EDIT_SCALE,
    SG_EDIT_ABLATE,
    SG_EDIT_PROJECT,
    SG_EDIT_CLAMP,
    SG_EDIT_PATCH,
    SG_EDIT_MASK,
    SG_N_EDIT_OPS
} sg_edit_op;
const char *sg_edit_op_name(sg_edit_op op);

/* Whole numbers from `first` to `last`, both included. */
typedef struct sg_span {
    sg_dim first, last;
} sg_span;

/* A list of spans; n = 0 stands for all. */
typedef struct sg_spans {
    int n;
    const sg_span *spans;
} sg_spans;

/* Holds where low < r <= high, r the number at `site`: component `index`, or the product with `direction` [D]. The site
 * lies before the edited one. */
typedef struct sg_edit_when {
    const char *site; /* NULL: always */
    sg_dim index;     /* -1: by direction */
    sg_tensor direction;
    double low, high; /* -inf, inf */
} sg_edit_when;

typedef struct sg_edit {
    const char *site;
    sg_edit_op op;
    /* data NULL: none. A vector over the site's last axes ([D], [K] for every head, [H,K]), a scalar, or the same with the
     * position [T,...] or row and position [B,T,...] before it. Borrowed until sg_edits_free. */
    sg_tensor value;
    double strength;   /* 1 */
    double low, high;  /* clamp: -inf, inf */
    sg_spans heads;    /* of sites with a head axis */
    sg_spans features; /* of the site's last axis: components, neurons, features of an autoencoder */
    sg_spans positions;/* 0-based, padding not counted; below 0 from the prompt's end: -1 is its last token */
    sg_spans rows;
    sg_spans steps;    /* of generation: 0 is the prompt */
    sg_spans keys;     /* mask: key positions */
    sg_edit_when when;
} sg_edit;
sg_edit sg_edit_defaults(void);

/* ---- splicing ---- */

typedef struct sg_edits sg_edits;

/* Splices edits into g, in order. SG_ENOTFOUND suggests the nearest site; SG_EARG and SG_ESHAPE name the edit by its place in
 * the list and what does not fit. */
sg_status sg_edits_splice(sg_edits **out, sg_graph *g, int n, const sg_edit *edits, sg_error *err) SG_MUST_CHECK;
void sg_edits_free(sg_edits *e); /* NULL is fine */

/* Changes numbers of edit i without a new plan. */
sg_status sg_edits_strength(sg_edits *e, int i, double strength, sg_error *err) SG_MUST_CHECK;

/* What of a list a plan depends on, as text: sites, ops, shapes of values, which parts are there. Lists of one text differ
 * in numbers alone. The caller frees it; NULL when memory is out. */
char *sg_edits_structure(int n, const sg_edit *edits);
/* Puts the numbers of another list of the same structure in the place of those spliced, without a new plan. It is borrowed
 * as the first one was, which is not needed any longer. SG_ESHAPE: of another structure; nothing was changed then.
 * After another failure some edits have new numbers and some have not. */
sg_status sg_edits_replace(sg_edits *e, int n, const sg_edit *edits, sg_error *err) SG_MUST_CHECK;

/* ---- rows with numbers of their own ---- */

/* As sg_edits_splice, for rows that each have other numbers: several users' in one run. The list gives the structure alone;
 * row r has no edits until sg_edits_set_row, whose list is borrowed as that of sg_edits_replace is. `rows` of an edit counts
 * within one user's rows, of which there is one: 0. At sites with key positions a value is one number. */
sg_status sg_edits_splice_rows(sg_edits **out, sg_graph *g, sg_dim n_rows, int n, const sg_edit *edits,
                               sg_error *err) SG_MUST_CHECK;
sg_status sg_edits_set_row(sg_edits *e, sg_dim row, int n, const sg_edit *edits, sg_error *err) SG_MUST_CHECK;
/* Row `to` has the numbers of row `from`. */
sg_status sg_edits_copy_row(sg_edits *e, sg_dim from, sg_dim to, sg_error *err) SG_MUST_CHECK;
void sg_edits_clear_row(sg_edits *e, sg_dim row); /* it has no edits; NULL is fine */

/* What a run looks at: rows and positions of its tokens. */
typedef struct sg_edit_window {
    sg_dim n_rows, time, past;
    const int32_t *positions; /* [n_rows,time] */
    const uint8_t *real;      /* [n_rows,keys], false where padded */
    const sg_dim *prompt;     /* [n_rows] tokens of each row's prompt */
    sg_dim step;
    sg_dim n_images;          /* rows of sites that belong to images, whose places are 0, 1, ... in all of them */
    /* Where rows are of different lengths; zero otherwise. */
    sg_dim first;        /* the run's first row among those with numbers of their own */
    sg_dim keys;         /* 0: past + time */
    const sg_dim *pasts; /* [n_rows] where each row's first token is among the keys; NULL: `past` for all */
    const sg_dim *steps; /* [n_rows]; NULL: `step` for all */
} sg_edit_window;

/* The inputs of a run: at most sg_edits_n_feeds, valid until the next call. */
int sg_edits_n_feeds(const sg_edits *e);
sg_status sg_edits_feeds(sg_edits *e, const sg_edit_window *w, sg_feed *feeds, sg_error *err) SG_MUST_CHECK;

/* ---- edits as JSON ---- */

/* A parsed list; its edits are borrowed from it. {"site", "op", "value": numbers | {"file", "name"} | {"run": {"text" or "tokens"}},
 * "strength", "low", "high", "heads", "features", "positions", "rows", "steps", "keys": [0, 2, [5, 9]],
 * "when": {"site", "index" or "direction", "above", "below"}}; the list itself or {"edits": [...]}. */
typedef struct sg_edit_list sg_edit_list;

/* Where the value of an edit is to come from another run of the model. */
typedef struct sg_edit_source {
    const char *text;      /* NULL if by tokens */
    const int32_t *tokens; /* NULL if by text */
    sg_dim n_tokens;
    bool has_position; /* one position's value; else all, by position */
    sg_dim position;   /* below 0 from the end */
} sg_edit_source;

sg_status sg_edit_list_open(sg_edit_list **out, const char *path, sg_error *err) SG_MUST_CHECK;
sg_status sg_edit_list_parse(sg_edit_list **out, const char *json, size_t n_bytes, const char *name, sg_error *err) SG_MUST_CHECK;
void sg_edit_list_free(sg_edit_list *list); /* NULL is fine */
/* A list without edits, and one more edit, whose site, value and spans are copied: what another file says as edits. */
sg_status sg_edit_list_new(sg_edit_list **out, const char *name, sg_error *err) SG_MUST_CHECK;
sg_status sg_edit_list_add(sg_edit_list *list, const sg_edit *e, sg_error *err) SG_MUST_CHECK;
/* Writes a list that sg_edit_list_open reads back to the same numbers. SG_EARG: a value that is to come from another run. */
sg_status sg_edit_list_save(sg_edit_list *list, const char *path, sg_error *err) SG_MUST_CHECK;
int sg_edit_list_count(const sg_edit_list *list);
sg_edit *sg_edit_list_at(sg_edit_list *list, int i);
const sg_edit_source *sg_edit_list_source(const sg_edit_list *list, int i); /* NULL: the value is in the edit */
/* Gives edit i a value, which is copied: what its source said, say. */
sg_status sg_edit_list_fill(sg_edit_list *list, int i, const sg_tensor *value, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
