/* Routes about Othello: boards in the minds of models (board.h says how). */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "serve/board.h"
#include "serve/models.h"
#include "serve/route.h"

/* A desk for each model that was asked about: its probes are read once. */
typedef struct desk_entry {
    struct desk_entry *next;
    const sg_model *model;
    board_desk *desk;
} desk_entry;

typedef struct desks {
    pthread_mutex_t lock;
    desk_entry *first;
} desks;

static sg_status make(void **out, serve *s, sg_error *err)
{
    desks *all = calloc(1, sizeof *all);
    (void)s;
    if (!all || pthread_mutex_init(&all->lock, NULL) != 0) {
        free(all);
        return sg_fail(err, SG_ENOMEM, "out of memory for boards");
    }
    *out = all;
    return SG_OK;
}

static void end(void *part)
{
    desks *all = part;
    for (desk_entry *e = all ? all->first : NULL, *next; e; e = next) {
        next = e->next;
        board_desk_free(e->desk);
        free(e);
    }
    if (all)
        pthread_mutex_destroy(&all->lock);
    free(all);
}

const serve_part serve_part_boards = {"boards", make, end};

/* The model's desk, made if there is none: under the lock, so that two requests do not read its probes twice. */
static sg_status desk_of(board_desk **out, serve *s, const char *name, sg_error *err)
{
    desks *all = serve_part_of(s, &serve_part_boards);
    const sg_model *m = NULL;
    SG_TRY(serve_models_open(&m, serve_models_of(s), name, err));
    pthread_mutex_lock(&all->lock);
    desk_entry *e = all->first;
    while (e && e->model != m)
        e = e->next;
    sg_status status = SG_OK;
    if (!e) {
        e = calloc(1, sizeof *e);
        status = e ? board_desk_new(&e->desk, m, err) : sg_fail(err, SG_ENOMEM, "out of memory for a board");
        if (status == SG_OK) {
            e->model = m;
            e->next = all->first;
            all->first = e;
        } else {
            free(e);
            e = NULL;
        }
    }
    pthread_mutex_unlock(&all->lock);
    *out = e ? e->desk : NULL;
    return status;
}

/* Adds where it was computed. Views run on one thread each. */
static void reply_from(serve_reply *reply, json_t *answer, serve *s, const char *model, double began)
{
    const sg_model *m = NULL;
    if (answer && serve_models_open(&m, serve_models_of(s), model, NULL) == SG_OK) {
        const sg_exec_opts exec = serve_models_exec(serve_models_of(s), m);
        json_object_set_new(answer, "origin",
                            json_pack("{s:s, s:s, s:s, s:f}", "where", "server", "backend", sg_exec_name(&exec),
                                      "model", model, "seconds", sg_now() - began));
    }
    serve_reply_json(reply, answer);
}

typedef sg_status question(json_t **out, board_desk *d, const json_t *body, sg_error *err);

static sg_status answer(question *of, serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const double began = sg_now();
    board_desk *d = NULL;
    json_t *out = NULL;
    SG_TRY(desk_of(&d, s, r->param[0], err));
    SG_TRY(of(&out, d, r->body, err));
    reply_from(reply, out, s, r->param[0], began);
    return SG_OK;
}

static sg_status answer_board(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    return answer(board_ask, s, r, reply, err);
}

static sg_status answer_saliency(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    return answer(board_saliency, s, r, reply, err);
}

static sg_status answer_edits(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    return answer(board_edits, s, r, reply, err);
}

static sg_status about(json_t **out, board_desk *d, const json_t *body, sg_error *err)
{
    (void)body;
    return board_about(out, d, err);
}

static sg_status answer_about(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    return answer(about, s, r, reply, err);
}

static sg_status answer_games(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *out = NULL;
    (void)s;
    SG_TRY(board_games(&out, r->body, err));
    serve_reply_json(reply, out);
    return SG_OK;
}

const serve_route serve_routes_board[] = {
    {"GET", "/api/v1/models/{model}/board", answer_about, "", "BoardAbout", "", 0,
     "A model of Othello: what its probes read beside what controls reach, and how often it would play what is "
     "illegal.",
     0},
    {"POST", "/api/v1/models/{model}/board", answer_board, "BoardRequest", "BoardReply", "", 0,
     "A position of a game: the true board, the board that is read at each layer, the bets on the next move, and all "
     "of it "
     "again with squares edited in the model alone, beside random pushes as long.",
     0},
    {"POST", "/api/v1/models/{model}/board/saliency", answer_saliency, "BoardSaliencyRequest", "BoardSaliency", "", 0,
     "Latent saliency: what each prediction becomes with one disc turned over in the model alone, for every disc.", 0},
    {"POST", "/api/v1/models/{model}/board/edits", answer_edits, "BoardRequest", "BoardEdits", "", 0,
     "The edits of a position as the list that runs take (`sightglass run --tokens FILE --edits FILE`, `edits` of "
     "/v1).",
     0},
    {"POST", "/api/v1/board/games", answer_games, "BoardGamesRequest", "BoardGames", "", 0,
     "Games of Othello from a text (moves, numbered moves with tags, tournament lists), or drawn at random.", 0},
    {0},
};
