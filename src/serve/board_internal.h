/* What the parts of board.h share. */
#ifndef SG_SERVE_BOARD_INTERNAL_H
#define SG_SERVE_BOARD_INTERNAL_H

#include "base/base.h"
#include "serve/board.h"

enum { BOARD_MAX_PLACES = 16, BOARD_MAX_SQUARES = 16 };

/* A request that was read: the game up to the position, and what is to be believed on the way there. */
typedef struct board_case {
    int size, n_known, n; /* n <= n_known moves are made */
    int squares[SG_OTHELLO_MAX_MOVES];
    sg_othello after[SG_OTHELLO_MAX_MOVES + 1]; /* i moves, of all that are known */
    uint64_t turned[SG_OTHELLO_MAX_MOVES];      /* by move i */
    int32_t tokens[SG_OTHELLO_MAX_MOVES];
    int movers[SG_OTHELLO_MAX_MOVES]; /* whose discs are "mine" after move i */
    int mover;                        /* after n of them */
    int held[SG_OTHELLO_MAX_SQUARES]; /* the true board as the mover sees it */
    int wish[SG_OTHELLO_MAX_SQUARES]; /* with what is edited at this position */
    int n_places;
    sg_mind_place places[BOARD_MAX_PLACES]; /* those that lie at or before this position */
    int square[BOARD_MAX_PLACES][BOARD_MAX_SQUARES], to[BOARD_MAX_PLACES][BOARD_MAX_SQUARES];
} board_case;

/* mind: NULL where the model has no probes to edit with: then edits are refused. */
sg_status board_case_read(board_case *c, const sg_mind *mind, const json_t *body, sg_error *err) SG_MUST_CHECK;

json_t *board_square_json(int size, int square);
json_t *board_squares_json(int size, uint64_t squares);
/* Rounded: what a page shows needs no more digits, and they are bytes. */
json_t *board_number(double x, double per_unit);

#endif
