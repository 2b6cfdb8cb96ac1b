/* Othello: the game on boards of 4, 6 or 8 squares a side, as bits.
 *
 *     sg_othello o = sg_othello_start(8);
 *     uint64_t moves = sg_othello_legal(&o);          // bit s: square s may be played
 *     uint64_t turned = sg_othello_play(&o, square);  // 0: not legal, and nothing happened
 *     int token = sg_othello_token(8, square);        // what a model reads
 *
 * Square s is row s / size, column s % size, from the upper left; a1 is square 0, h8 square 63, as players write them
 * (column, then row). Black begins with d5 and e4, on smaller boards with the squares that lie so. Who cannot move
 * passes, which is no move of its own; the game ends when neither can.
 *
 * A model reads moves alone, as tokens: 0 is padding, 1, 2, ... are the squares in order without the four in the
 * middle, which are never played (Li et al., "Emergent World Representations", 2022). */
#ifndef SIGHTGLASS_OTHELLO_H
#define SIGHTGLASS_OTHELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SG_OTHELLO_BLACK, SG_OTHELLO_WHITE, SG_OTHELLO_OVER };

#define SG_OTHELLO_MAX_SQUARES 64
#define SG_OTHELLO_MAX_MOVES   60

typedef struct sg_othello {
    int size;         /* 4, 6 or 8 */
    int mover;        /* who is to move, or SG_OTHELLO_OVER */
    int n_moves;      /* made */
    uint64_t disc[2]; /* black's and white's: bit s is square s */
} sg_othello;

sg_othello sg_othello_start(int size);
/* Where the mover may play; 0 when the game is over. */
uint64_t sg_othello_legal(const sg_othello *o);
/* Discs that a move would turn; 0 if it is not legal. */
uint64_t sg_othello_turned(const sg_othello *o, int square);
/* Makes it, and gives the turn to whoever can move next. Returns what was turned; 0 if it is not legal. */
uint64_t sg_othello_play(sg_othello *o, int square);
/* The squares on which `mover` could play on any board, reachable or not. */
uint64_t sg_othello_moves_on(int size, uint64_t own, uint64_t other);

/* Leaves of the tree of move sequences of that many plies from here, a forced pass being a ply: the usual check of a
 * generator. */
uint64_t sg_othello_perft(const sg_othello *o, int depth);

/* ---- tokens and names ---- */

static inline int sg_othello_squares(int size)
{
    return size * size;
}
static inline int sg_othello_vocabulary(int size)
{
    return size * size - 3;
}
static inline int sg_othello_max_moves(int size)
{
    return size * size - 4;
}
int sg_othello_token(int size, int square); /* -1 for a square in the middle */
int sg_othello_square(int size, int token); /* -1 for padding and for what is no token */
/* "e4" into buf; returns buf. */
const char *sg_othello_name(int size, int square, char buf[4]);
/* The square that two characters name, in either case; -1 if they name none. */
int sg_othello_parse(int size, const char *text);

/* Reads moves written one after another ("f5d6c3", blanks between them allowed) into squares[SG_OTHELLO_MAX_MOVES].
 * SG_EFORMAT: something is no square, or no legal move; the text says which move. */
sg_status sg_othello_read(int *squares, int *n, int size, const char *text, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
