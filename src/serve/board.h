/* Boards: what a page or a program asks about a game of Othello that a model looks at. Nothing is kept between
 * requests but the model: a request carries the moves and the edits, so a link restores everything.
 *
 * Requests and answers are JSON, as BoardRequest and its neighbours in types.def say. */
#ifndef SG_SERVE_BOARD_H
#define SG_SERVE_BOARD_H

#include <jansson.h>

#include "sightglass/mind.h"

/* A model at which boards are asked about: its probes, and views of it that wait for the next question. Threads may
 * share one. */
typedef struct board_desk board_desk;
sg_status board_desk_new(board_desk **out, const sg_model *m, sg_error *err) SG_MUST_CHECK; /* m outlives it */
void board_desk_free(board_desk *d);                                                        /* NULL is fine */

/* The model: its layers, what its probes reach beside their controls, how often it plays what is illegal. */
sg_status board_about(json_t **out, board_desk *d, sg_error *err) SG_MUST_CHECK;
/* A position, as it is and as the model has it, with and without edits of that. */
sg_status board_ask(json_t **out, board_desk *d, const json_t *body, sg_error *err) SG_MUST_CHECK;
/* Latent saliency of all predictions at once: each disc turned over in the model alone. */
sg_status board_saliency(json_t **out, board_desk *d, const json_t *body, sg_error *err) SG_MUST_CHECK;
/* The edits as the list that a run of any kind takes, with the game's tokens beside them. */
sg_status board_edits(json_t **out, board_desk *d, const json_t *body, sg_error *err) SG_MUST_CHECK;
/* Games: read from a text in whichever way it is written, or drawn at random. Needs no model. */
sg_status board_games(json_t **out, const json_t *body, sg_error *err) SG_MUST_CHECK;

#endif
