/* The board in a model's mind: a model that was shown nothing but Othello's moves, what probes read in it, and what it
 * does when it is made to believe something else.
 *
 *     SG_TRY(sg_mind_open(&m, "models/othello8", NULL, err));
 *     SG_TRY(sg_mind_view_new(&view, m, err));
 *     const sg_mind_place flip = {.position = n - 1, .n = 1, .square = &d4, .to = &yours, .how =
 * sg_mind_how_defaults(m)}; SG_TRY(sg_mind_look(&look, view, &(sg_mind_question){.tokens = tokens, .movers = movers, .n
 * = n, .n_places = 1, .places = &flip, .n_random = 8}, err)); look->before.next[f6]; // probability of f6, as the model
 * is look->after.next[f6];  // where it believes d4 to be the other's
 *
 * A square's disc is read by a linear probe of each layer, as the mover's or the other's. To make the model believe
 * that a square holds something else, its residual stream is moved at one position and after some layers, until the
 * probe reads so (Nanda, Lee, Wattenberg, "Emergent Linear Representations in World Models", 2023). It is moved along
 * the difference of the two classes' mean activations where PROBES/mean/ has such (probes of the kind "mean"), since
 * that is how activations of the one class differ from those of the other; along the probe's own rows, the shortest
 * way, where it has not.
 *
 * Whatever is asked about one game is one run: positions form a tree, of which the game is the trunk, and a token sees
 * what lies between it and the root. The run goes from layer to layer, and between them the residual stream is read
 * and moved. So nothing is planned anew when a square, a layer or a strength changes. */
#ifndef SIGHTGLASS_MIND_H
#define SIGHTGLASS_MIND_H

#include "sightglass/edit.h"
#include "sightglass/model.h"
#include "sightglass/othello.h"
#include "sightglass/probe.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SG_MIND_EMPTY, SG_MIND_MINE, SG_MIND_YOURS, SG_MIND_N_CLASSES };
enum { SG_MIND_MAX_LAYERS = 64, SG_MIND_MAX_RANDOM = 16 };

/* ---- a model and its probes: never written once it is open, so threads may share it ---- */

typedef struct sg_mind sg_mind;

/* probes: a folder, or NULL for MODEL/probes. A model without probes that fit can be played with all the same, and a
 * warning says so. SG_EARG: it is no model of Othello's moves. */
sg_status sg_mind_open(sg_mind **out, const char *model, const char *probes, sg_error *err) SG_MUST_CHECK;
/* The same of a model that is open, which outlives it. */
sg_status sg_mind_of(sg_mind **out, const sg_model *model, const char *probes, sg_error *err) SG_MUST_CHECK;
void sg_mind_close(sg_mind *m); /* after its views; NULL is fine */

const sg_model *sg_mind_model(const sg_mind *m);
int sg_mind_size(const sg_mind *m);                   /* squares a side */
int sg_mind_n_layers(const sg_mind *m);               /* blocks of the model */
const char *sg_mind_warning(const sg_mind *m, int i); /* one line each; NULL past the last */

/* A layer that has a probe. Reader i's numbers are thought.belief[i]. */
typedef struct sg_mind_reader {
    int layer; /* 0-based block whose output it reads */
    const char *site;
    sg_probe *probe;
    sg_probe *means; /* the classes' means, along which to push; NULL: none */
    sg_probe_manifest about;
} sg_mind_reader;
int sg_mind_n_readers(const sg_mind *m);
const sg_mind_reader *sg_mind_get_reader(const sg_mind *m, int i);
int sg_mind_reader_of(const sg_mind *m, int layer); /* -1: no probe of that layer */
int sg_mind_best_reader(const sg_mind *m);          /* the one that read discs best when it was judged; -1: none */

/* ---- thinking ---- */

typedef struct sg_mind_thought {
    int n_readers;
    float next[SG_OTHELLO_MAX_SQUARES];                                          /* probability of each square */
    float none;                                                                  /* of what is no square */
    float logits[SG_MIND_MAX_LAYERS][SG_OTHELLO_MAX_SQUARES][SG_MIND_N_CLASSES]; /* the probes', mine the mover's */
    float belief[SG_MIND_MAX_LAYERS][SG_OTHELLO_MAX_SQUARES][SG_MIND_N_CLASSES]; /* the same as shares of 1 */
} sg_mind_thought;
int sg_mind_likeliest(const float p[SG_MIND_N_CLASSES]);

/* One thread's: the model's graph with its plans. */
typedef struct sg_mind_view sg_mind_view;
sg_status sg_mind_view_new(sg_mind_view **out, const sg_mind *m, sg_error *err) SG_MUST_CHECK;
void sg_mind_view_free(sg_mind_view *v); /* NULL is fine */

/* After n > 0 moves. mover: who is next, whose discs are SG_MIND_MINE. Edits in place are those that sg_mind_set makes:
 * an "add" of a vector after a block, at one position. */
typedef struct sg_mind_case {
    const int32_t *tokens;
    int n, mover;
    int n_edits;
    const sg_edit *edits;
} sg_mind_case;
sg_status sg_mind_think(sg_mind_thought *out, sg_mind_view *v, const sg_mind_case *at, sg_error *err) SG_MUST_CHECK;

/* ---- another belief ---- */

typedef struct sg_mind_how {
    double strength; /* 1: it becomes as sure of the new as it was of the old; 0: undecided between them */
    int first, last; /* layers, both included */
} sg_mind_how;
sg_mind_how sg_mind_how_defaults(const sg_mind *m);

/* What if square[i] were to[i], each for itself, on top of the case's edits: next [n][MAX_SQUARES], probabilities of
 * the next move. SG_EUNSUPPORTED: no linear probe lies within the layers. */
sg_status sg_mind_what_if(float (*next)[SG_OTHELLO_MAX_SQUARES], sg_mind_view *v, const sg_mind_case *at, int n,
                          const int *square, const int *to, sg_mind_how how, sg_error *err) SG_MUST_CHECK;

/* All of them together as edits, an "add" for each layer: *edits [n_edits], freed as one by sg_mind_edits_free. */
typedef struct sg_mind_edits {
    int n;
    sg_edit *edits;
    void *room;
} sg_mind_edits;
sg_status sg_mind_set(sg_mind_edits *out, sg_mind_view *v, const sg_mind_case *at, int n, const int *square,
                      const int *to, sg_mind_how how, sg_error *err) SG_MUST_CHECK;
void sg_mind_edits_free(sg_mind_edits *e); /* a zeroed struct is fine */

/* The control of such edits: next [n] after pushes as long as theirs at the same places, in n times other random
 * directions. What the model does after those is due to its being pushed, not to where. */
sg_status sg_mind_push_randomly(float (*next)[SG_OTHELLO_MAX_SQUARES], sg_mind_view *v, const sg_mind_case *at,
                                const sg_mind_edits *e, int n, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* ---- everything about a position at once ---- */

/* What the model is to believe of some squares at a position. */
typedef struct sg_mind_place {
    int position; /* of the move's token, from 0 */
    int n;
    const int *square, *to;
    sg_mind_how how;
} sg_mind_place;

typedef struct sg_mind_question {
    const int32_t *tokens; /* [n] */
    const int *movers;     /* [n] who is next after each move */
    int n;
    int n_places; /* in the order of their positions, one for each; each made on top of those before it */
    const sg_mind_place *places;
    /* Where there are places: so many controls, with random pushes as long as each place's in its stead; at most
     * SG_MIND_MAX_RANDOM. */
    int n_random;
    uint64_t seed;
    bool attention; /* whether it is wanted */
} sg_mind_question;

typedef struct sg_mind_answer {
    sg_mind_thought before, after; /* after equals before where there are no places */
    int n_random;
    float (*random)[SG_OTHELLO_MAX_SQUARES]; /* [n_random] probabilities of squares after random pushes */
    /* [n_layers,n_heads,n] what the last position looks at, without and with the edits; NULL: not wanted */
    int n_layers, n_heads;
    float *attention_before, *attention_after;
    double *length;      /* [n_places] of what was added, root of the sum of squares over layers */
    sg_mind_edits edits; /* that do the same in any run of these tokens */
    void *room;
} sg_mind_answer;
/* SG_EARG: places that are out of order or outside. */
sg_status sg_mind_look(sg_mind_answer **out, sg_mind_view *v, const sg_mind_question *q, sg_error *err) SG_MUST_CHECK;
void sg_mind_answer_free(sg_mind_answer *a); /* NULL is fine */

/* ---- boards as the mover sees them: held [squares], SG_MIND_... ---- */

void sg_mind_held(int *held, const sg_othello *o, int mover);
/* Whose turn it is after some moves, or would be after the end: the last move's square tells whose it was; -1: none. */
int sg_mind_mover(const sg_othello *o, int last);
/* Where the mover could play, on a board that no game need reach. */
uint64_t sg_mind_legal(int size, const int *held);
/* The discs that make a move legal: those that it would turn, and those beyond them that close the lines. */
uint64_t sg_mind_lines(int size, const int *held, int move);

/* What is believed, beside what is so. */
typedef struct sg_mind_belief {
    int c[SG_OTHELLO_MAX_SQUARES];       /* SG_MIND_..., the likeliest */
    float sure[SG_OTHELLO_MAX_SQUARES];  /* its share, 1/3 to 1 */
    int n_right, n_discs, n_discs_right; /* discs: squares that hold one in truth */
} sg_mind_belief;
void sg_mind_compare(sg_mind_belief *out, int size, float (*belief)[SG_MIND_N_CLASSES], const int *held);

/* Of the model's n likeliest squares, n the number of moves that may be played, those that may not: half the error of
 * Li et al. 2022, who count what is missing as well. mass: of probability on the moves that may be played. */
typedef struct sg_mind_bets {
    int n_legal, n_wrong;
    double mass;
    int order[SG_OTHELLO_MAX_SQUARES]; /* squares that could be played, the likeliest first */
    int n;
} sg_mind_bets;
void sg_mind_judge(sg_mind_bets *out, int size, uint64_t legal, const float next[SG_OTHELLO_MAX_SQUARES]);

#ifdef __cplusplus
}
#endif
#endif
