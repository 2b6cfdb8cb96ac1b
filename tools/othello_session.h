/* A game with a model looking on: moves and where one stands among them, edits of what the model believes, and what
 * follows from both. It draws nothing and reads no commands, so that a terminal and a page can share it.
 *
 * An edit belongs to the position at which it was made. While the game goes on the model keeps it there, and later
 * positions see it through attention only, as they see everything of the past. Going back before the position puts the
 * edit aside, and another move there drops it. */
#ifndef SG_TOOLS_OTHELLO_SESSION_H
#define SG_TOOLS_OTHELLO_SESSION_H

#include <jansson.h>

#include "sightglass/mind.h"
#include "sightglass/rng.h"

enum { SESSION_N_RANDOM = 8, SESSION_MAX_SQUARES = 16, SESSION_MAX_PLACES = SG_OTHELLO_MAX_MOVES };

/* What the model is to believe of some squares at a position, in the order in which it was asked, and the edits that
 * make it do so, all squares at once. */
typedef struct session_place {
    int position; /* of the move's token, from 0 */
    int n;
    int square[SESSION_MAX_SQUARES], from[SESSION_MAX_SQUARES], to[SESSION_MAX_SQUARES];
    sg_mind_edits edits;
    float random[SESSION_N_RANDOM][SG_OTHELLO_MAX_SQUARES]; /* next, after random pushes as long in their place */
} session_place;

typedef struct session {
    const sg_mind *mind; /* borrowed */
    int size, n_squares;
    sg_rng rng;
    sg_mind_how how;
    int reader; /* whose reading is shown; -1: none */

    sg_othello now;
    int squares[SG_OTHELLO_MAX_MOVES]; /* moves that are known; the first now.n_moves are made */
    int n_known;
    uint64_t turned; /* by the last move */

    int n_places;
    session_place places[SESSION_MAX_PLACES];

    sg_mind_view *view;

    /* What the model makes of the position: without and with the edits. Valid after a move. */
    sg_mind_thought *before, *after; /* after == before where nothing is edited */
    sg_mind_thought room[2];
} session;

/* Of an empty board. */
sg_status session_begin(session *s, const sg_mind *m, uint64_t seed, sg_error *err) SG_MUST_CHECK;
void session_end(session *s);

/* ---- the game ---- */

/* Each leaves everything as it was where it fails, with a text for the player: SG_EARG. */
sg_status session_play(session *s, int square, sg_error *err) SG_MUST_CHECK;
sg_status session_replay(session *s, const int *squares, int n, sg_error *err) SG_MUST_CHECK; /* from the beginning */
sg_status session_go(session *s, int n_moves, sg_error *err) SG_MUST_CHECK; /* back and forth among the known moves */
sg_status session_random(session *s, int n, sg_error *err) SG_MUST_CHECK;   /* moves, all legal ones alike */
/* The model moves: its likeliest legal move, or one drawn from its probabilities of the legal ones. *first: its
 * likeliest of all squares. */
sg_status session_let(session *s, bool sample, int *played, int *first, sg_error *err) SG_MUST_CHECK;

/* ---- what the model believes ---- */

/* Makes it believe `to` (MIND_...) of a square here, along with what it was made to believe before. *changed is false
 * where it did so already; a square that is set back to what the model believes of itself is left alone again. */
sg_status session_set(session *s, int square, int to, bool *changed, sg_error *err) SG_MUST_CHECK;
/* Makes the edits of this position anew, after `how` has changed. */
sg_status session_again(session *s, sg_error *err) SG_MUST_CHECK;
int session_clear(session *s);                                   /* how many squares had been set */
bool session_in_place(const session *s, const session_place *p); /* its position has been reached */
const session_place *session_here(const session *s);             /* this position's; NULL: none */

/* { "model", "tokens", "edits" }: what `sightglass run MODEL --tokens FILE --edits FILE` takes. */
sg_status session_save(const session *s, const char *path, sg_error *err) SG_MUST_CHECK;

/* For a square that could be played, each disc on the board turned over in the model alone: its probability then.
 * n <= 64 discs. */
typedef struct session_effects {
    int n, square[SG_OTHELLO_MAX_SQUARES];
    float p, p_if[SG_OTHELLO_MAX_SQUARES]; /* now, and if square[i] were turned */
    double effect[SG_OTHELLO_MAX_SQUARES]; /* log p - log p_if, nats */
} session_effects;
sg_status session_saliency(session *s, int move, session_effects *out, sg_error *err) SG_MUST_CHECK;

/* ---- what follows ---- */

/* Who is to move, or would be after the end: whose discs are "mine". */
int session_mover(const session *s);
/* MIND_... of a square on the board that the model is to have: the true one with the edits of this position. */
int session_truth(const session *s, int square);
/* Where may be played on that board. */
uint64_t session_legal(const session *s);
/* The discs there that make a move legal: those that it would turn, and those beyond them that close the lines. */
uint64_t session_lines(const session *s, int move);

/* false: there is no move yet, or no such reader. */
bool session_believes(const session *s, int reader, sg_mind_belief *out);

/* A prediction, by what is legal on that board. */
void session_judge(const session *s, const float next[SG_OTHELLO_MAX_SQUARES], sg_mind_bets *out);
/* The means of mass and n_wrong over random pushes as long as this position's edits; false: nothing is edited here. */
bool session_judge_random(const session *s, double *mass, double *n_wrong);

/* Everything above as JSON, for machines. NULL: out of memory. */
json_t *session_json(const session *s);

#endif
