/* A model that was shown nothing but moves, and what can be read in it and done to it: the lowest of the three parts of
 * `sightglass othello`. It knows no game in progress (othello_session.h) and no screen (othello_board.h).
 *
 *     mind_open(&m, "models/othello8", NULL, err);
 *     mind_view_new(&view, m, 0, NULL, err);                  // the model as it is
 *     mind_think(view, tokens, n, SG_OTHELLO_BLACK, &thought, err);
 *     mind_set(&change, m, &here, 1, &square, &to, how, err);
 *     mind_view_new(&edited, m, change.n, change.edits, err); // the model that believes otherwise
 *
 * A square's disc is read by a linear probe of each layer (mine: the mover's). To make the model believe that a square
 * holds something else, its residual stream is moved, at the last token and after some layers, until the probe reads so
 * (Nanda, Lee, Wattenberg, "Emergent Linear Representations in World Models", 2023). It is moved along the difference
 * of the two classes' mean activations where PROBES/mean/ has such (probes of the kind "mean"), since that is how
 * activations of the one class differ from those of the other; along the probe's own rows, the shortest way, where it
 * has not.
 */
#ifndef SG_TOOLS_OTHELLO_MIND_H
#define SG_TOOLS_OTHELLO_MIND_H

#include "sightglass/model.h"
#include "sightglass/othello.h"
#include "sightglass/probe.h"

enum { MIND_EMPTY, MIND_MINE, MIND_YOURS, MIND_N_CLASSES };
enum { MIND_MAX_LAYERS = 64 };

typedef struct mind mind;

/* probes: a folder, or NULL for MODEL/probes. A model without probes that fit can be played with all the same, and
 * a warning says so. SG_EARG: it is no model of Othello's moves. */
sg_status mind_open(mind **out, const char *model, const char *probes, sg_error *err) SG_MUST_CHECK;
void mind_close(mind *m); /* NULL is fine */

const sg_model *mind_model(const mind *m);
int mind_size(const mind *m);                   /* squares a side */
int mind_n_layers(const mind *m);               /* blocks of the model */
const char *mind_warning(const mind *m, int i); /* one line each; NULL past the last */

/* A layer that has a probe. Reader i's numbers are thought.belief[i]. */
typedef struct mind_reader {
    int layer; /* 0-based block whose output it reads */
    const char *site;
    sg_probe *probe;
    sg_probe *means; /* the classes' means, along which to push; NULL: none */
    sg_probe_manifest about;
} mind_reader;
int mind_n_readers(const mind *m);
const mind_reader *mind_get_reader(const mind *m, int i);
int mind_reader_of(const mind *m, int layer); /* -1: no probe of that layer */
int mind_best_reader(const mind *m);          /* the one that read filled squares best when it was judged; -1: none */

/* ---- thinking ---- */

typedef struct mind_thought {
    int n_readers;
    float next[SG_OTHELLO_MAX_SQUARES];                                    /* probability of each square */
    float none;                                                            /* of what is no square */
    float logits[MIND_MAX_LAYERS][SG_OTHELLO_MAX_SQUARES][MIND_N_CLASSES]; /* the probes', mine being the mover's */
    float belief[MIND_MAX_LAYERS][SG_OTHELLO_MAX_SQUARES][MIND_N_CLASSES]; /* the same as shares of 1 */
} mind_thought;

/* The model with edits in place; they are borrowed until the view is freed. */
typedef struct mind_view mind_view;
sg_status mind_view_new(mind_view **out, mind *m, int n, const sg_edit *edits, sg_error *err) SG_MUST_CHECK;
void mind_view_free(mind_view *v); /* NULL is fine */

/* After n > 0 moves. mover: who is next, whose discs are MIND_MINE. */
sg_status mind_think(mind_view *v, const int32_t *tokens, int n, int mover, mind_thought *out,
                     sg_error *err) SG_MUST_CHECK;

/* ---- another belief ---- */

typedef struct mind_how {
    double strength; /* 1: it becomes as sure of the new as it was of the old; 0: undecided between them */
    int first, last; /* layers, both included */
} mind_how;
mind_how mind_how_defaults(const mind *m);

/* Where a belief is changed: after n > 0 moves, at the last of them, on top of edits that are in place. */
typedef struct mind_case {
    const int32_t *tokens;
    int n, mover;
    int n_edits;
    const sg_edit *edits;
    const mind_thought *thought; /* there, with those edits */
} mind_case;

/* What if square[i] were to[i], each for itself: next [n][MAX_SQUARES], probabilities of the next move. One run with a
 * row for each. SG_EUNSUPPORTED: no linear probe lies within the layers. */
sg_status mind_what_if(float (*next)[SG_OTHELLO_MAX_SQUARES], mind *m, const mind_case *at, int n, const int *square,
                       const int *to, mind_how how, sg_error *err) SG_MUST_CHECK;

/* All of them together as edits, an "add" for each layer: *edits [n_edits], freed as one by mind_edits_free. */
typedef struct mind_edits {
    int n;
    sg_edit *edits;
    void *room;
} mind_edits;
sg_status mind_set(mind_edits *out, mind *m, const mind_case *at, int n, const int *square, const int *to, mind_how how,
                   sg_error *err) SG_MUST_CHECK;
void mind_edits_free(mind_edits *e); /* a zeroed struct is fine */

/* The control of such edits: next [n] after pushes as long as theirs at the same places, in n times other random
 * directions. What the model does after those is due to its being pushed, not to where. */
sg_status mind_push_randomly(float (*next)[SG_OTHELLO_MAX_SQUARES], mind *m, const mind_case *at, const mind_edits *e,
                             int n, uint64_t seed, sg_error *err) SG_MUST_CHECK;

#endif
