/* Lines that somebody types, with editing and history where the terminal and the build (libedit) have them, or that a
 * file holds. */
#ifndef SG_TOOLS_LINE_H
#define SG_TOOLS_LINE_H

#include <stdbool.h>
#include <stdio.h>

typedef struct line_reader line_reader;

/* prompt: NULL for a file, from which lines are read as they are. words: NULL-terminated, what a first word may be,
 * for completion; both borrowed. NULL: out of memory. */
line_reader *line_open(FILE *from, const char *prompt, const char *const *words);
void line_close(line_reader *r); /* NULL is fine; leaves the file open */

typedef enum line_kind {
    LINE_TEXT,
    LINE_CANCELLED, /* Ctrl-C: what was typed is forgotten */
    LINE_END,       /* the end of the file, Ctrl-D */
    LINE_FAILED     /* the file could not be read */
} line_kind;

/* *text without its newline, until the next call; NUL bytes end it early. */
line_kind line_next(line_reader *r, char **text);

#endif
