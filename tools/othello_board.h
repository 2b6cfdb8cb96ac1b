/* Drawing a session on a terminal or into a file: two boards side by side and the model's bets, in at most 80 columns.
 */
#ifndef SG_TOOLS_OTHELLO_BOARD_H
#define SG_TOOLS_OTHELLO_BOARD_H

#include <stdio.h>

#include "othello_session.h"

typedef struct board_style {
    bool colour; /* 256 colours by escapes; else none at all */
    bool utf8;   /* discs and bars; else letters */
} board_style;

/* The position: who is to move, the true board, the board that the model holds, its next move, and how far they agree.
 */
void board_draw(FILE *to, const session *s, board_style style);
/* What the signs mean. */
void board_legend(FILE *to, board_style style);
/* All squares that could be played with their probabilities. */
void board_moves(FILE *to, const session *s, board_style style);
/* How every layer reads this position, beside what its probe was worth when it was judged. */
void board_layers(FILE *to, const session *s, board_style style);
/* What each disc does for a move. */
void board_show_saliency(FILE *to, const session *s, int move, const session_effects *e, board_style style);

/* Text in lines of at most 79 columns, the first beginning where the cursor is. */
void board_say(FILE *to, board_style style, const char *fmt, ...) SG_PRINTF(3, 4);

#endif
