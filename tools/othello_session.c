/* A game with a model looking on. */
#include "othello_session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

sg_status session_begin(session *s, const sg_mind *m, uint64_t seed, sg_error *err)
{
    memset(s, 0, sizeof *s);
    s->mind = m;
    s->size = sg_mind_size(m);
    s->n_squares = sg_othello_squares(s->size);
    s->rng = sg_rng_new(seed, 0);
    s->how = sg_mind_how_defaults(m);
    s->reader = sg_mind_best_reader(m);
    s->now = sg_othello_start(s->size);
    s->before = s->after = &s->room[0];
    return sg_mind_view_new(&s->view, m, err);
}

void session_end(session *s)
{
    sg_mind_view_free(s->view);
    for (int i = 0; i < s->n_places; i++)
        sg_mind_edits_free(&s->places[i].edits);
    memset(s, 0, sizeof *s);
}

/* ---- edits ---- */

bool session_in_place(const session *s, const session_place *p)
{
    return p->position < s->now.n_moves;
}

const session_place *session_here(const session *s)
{
    for (int i = 0; i < s->n_places; i++)
        if (s->places[i].position == s->now.n_moves - 1)
            return &s->places[i];
    return NULL;
}

static void drop(session *s, int i)
{
    sg_mind_edits_free(&s->places[i].edits);
    memmove(s->places + i, s->places + i + 1, (size_t)(s->n_places - i - 1) * sizeof s->places[0]);
    s->n_places--;
}

/* Of places before a position, as one list. The caller frees it. */
static sg_status edits_before(const session *s, int position, sg_edit **out, int *n, sg_error *err)
{
    *n = 0;
    for (int i = 0; i < s->n_places; i++)
        *n += s->places[i].position < position ? s->places[i].edits.n : 0;
    *out = malloc((size_t)SG_MAX(*n, 1) * sizeof **out);
    if (!*out)
        return sg_fail(err, SG_ENOMEM, "out of memory for edits");
    sg_edit *to = *out;
    for (int i = 0; i < s->n_places; i++)
        if (s->places[i].position < position) {
            memcpy(to, s->places[i].edits.edits, (size_t)s->places[i].edits.n * sizeof *to);
            to += s->places[i].edits.n;
        }
    return SG_OK;
}

static void tokens_of(const session *s, int32_t tokens[SG_OTHELLO_MAX_MOVES])
{
    for (int i = 0; i < s->now.n_moves; i++)
        tokens[i] = sg_othello_token(s->size, s->squares[i]);
}

/* What the model makes of the position as it now is. */
static sg_status think(session *s, sg_error *err)
{
    int32_t tokens[SG_OTHELLO_MAX_MOVES];
    sg_mind_case here = {.tokens = tokens, .n = s->now.n_moves, .mover = session_mover(s)};
    sg_edit *edits = NULL;

    s->after = s->before;
    if (s->now.n_moves == 0)
        return SG_OK;
    tokens_of(s, tokens);
    SG_TRY(sg_mind_think(s->before, s->view, &here, err));
    if (s->n_places == 0 || !session_in_place(s, &s->places[0]))
        return SG_OK;
    SG_TRY(edits_before(s, here.n, &edits, &here.n_edits, err));
    here.edits = edits;
    s->after = &s->room[1];
    const sg_status status = sg_mind_think(s->after, s->view, &here, err);
    free(edits);
    return status;
}

/* Fills p's edits, from what the model believes here without them. What it believes anyway is held against what the
 * other squares' edits would make of it; where that is so of all, nothing is edited. */
static sg_status make_edits(session *s, session_place *p, sg_error *err)
{
    int32_t tokens[SG_OTHELLO_MAX_MOVES];
    sg_mind_case here = {.tokens = tokens, .n = s->now.n_moves, .mover = session_mover(s)};
    sg_mind_thought *without = malloc(sizeof *without);
    sg_edit *edits = NULL;
    int n = 0;

    tokens_of(s, tokens);
    sg_status status = without ? edits_before(s, here.n - 1, &edits, &here.n_edits, err)
                               : sg_fail(err, SG_ENOMEM, "out of memory for an edit");
    here.edits = edits;
    if (status == SG_OK)
        status = sg_mind_think(without, s->view, &here, err);
    for (int i = 0; i < p->n && status == SG_OK; i++) {
        p->from[i] = sg_mind_likeliest(without->belief[s->reader][p->square[i]]);
        n += p->from[i] != p->to[i];
    }
    p->n = n ? p->n : 0;
    if (status == SG_OK && n)
        status = sg_mind_set(&p->edits, s->view, &here, p->n, p->square, p->to, s->how, err);
    if (status == SG_OK && n)
        status =
            sg_mind_push_randomly(p->random, s->view, &here, &p->edits, SESSION_N_RANDOM, (uint64_t)p->position, err);
    if (status != SG_OK)
        sg_mind_edits_free(&p->edits);
    free(without);
    free(edits);
    return status;
}

/* Puts p, whose edits are not made yet, where this position's place is. Places stay in the order of their positions. */
static sg_status put(session *s, session_place p, sg_error *err)
{
    int at = 0;
    p.edits = (sg_mind_edits){0};
    SG_TRY(make_edits(s, &p, err));
    while (at < s->n_places && s->places[at].position < p.position)
        at++;
    if (at < s->n_places && s->places[at].position == p.position)
        drop(s, at);
    if (p.n) {
        SG_ASSERT(s->n_places < SESSION_MAX_PLACES);
        memmove(s->places + at + 1, s->places + at, (size_t)(s->n_places - at) * sizeof s->places[0]);
        s->places[at] = p;
        s->n_places++;
    }
    /* Later ones were made on top of what was here: they are made again where the game stands, or not at all. */
    while (s->n_places > at + (p.n > 0))
        drop(s, s->n_places - 1);
    return think(s, err);
}

sg_status session_set(session *s, int square, int to, bool *changed, sg_error *err)
{
    const session_place *here = session_here(s);
    session_place p = here ? *here : (session_place){.position = s->now.n_moves - 1};
    int i = 0;

    *changed = false;
    if (s->now.n_moves == 0)
        return sg_fail(err, SG_EARG,
                       "the model has seen no move yet, so it believes nothing that could be edited: play one first");
    if (s->reader < 0)
        return sg_fail(err, SG_EARG, "without probes the model's board can be neither read nor edited");
    while (i < p.n && p.square[i] != square)
        i++;
    if (i == SESSION_MAX_SQUARES)
        return sg_fail(err, SG_EARG, "%d squares are edited here, more are not kept: `clear` drops them",
                       SESSION_MAX_SQUARES);
    *changed = i < p.n ? p.to[i] != to : here || sg_mind_likeliest(s->after->belief[s->reader][square]) != to;
    if (!*changed)
        return SG_OK;
    if (i < p.n && p.from[i] == to) { /* back to what it was */
        p.n--;
        memmove(p.square + i, p.square + i + 1, (size_t)(p.n - i) * sizeof p.square[0]);
        memmove(p.to + i, p.to + i + 1, (size_t)(p.n - i) * sizeof p.to[0]);
        return put(s, p, err);
    }
    p.n = SG_MAX(p.n, i + 1);
    p.square[i] = square;
    p.to[i] = to;
    return put(s, p, err);
}

sg_status session_again(session *s, sg_error *err)
{
    const session_place *here = session_here(s);
    return here ? put(s, *here, err) : SG_OK;
}

int session_clear(session *s)
{
    int n = 0;
    while (s->n_places) {
        n += s->places[s->n_places - 1].n;
        drop(s, s->n_places - 1);
    }
    s->after = s->before;
    return n;
}

static json_t *edit_json(const sg_edit *e)
{
    json_t *value = json_array(), *positions = json_array();
    for (sg_dim d = 0; d < e->value.dims[0]; d++)
        json_array_append_new(value, json_real((double)((const float *)e->value.data)[d]));
    for (int i = 0; i < e->positions.n; i++)
        json_array_append_new(positions, json_integer(e->positions.spans[i].first));
    return json_pack("{s:s, s:s, s:o, s:o}", "site", e->site, "op", sg_edit_op_name(e->op), "positions", positions,
                     "value", value);
}

sg_status session_save(const session *s, const char *path, sg_error *err)
{
    sg_writer *w = NULL;
    sg_edit *edits = NULL;
    int n = 0;

    SG_TRY(edits_before(s, s->now.n_moves, &edits, &n, err));
    json_t *tokens = json_array(), *list = json_array();
    for (int i = 0; i < s->now.n_moves; i++)
        json_array_append_new(tokens, json_integer(sg_othello_token(s->size, s->squares[i])));
    for (int i = 0; i < n; i++)
        json_array_append_new(list, edit_json(&edits[i]));
    json_t *root = json_pack("{s:s, s:o, s:o}", "model", sg_model_get_info(sg_mind_model(s->mind))->path, "tokens",
                             tokens, "edits", list);
    sg_status status = root ? sg_writer_begin(&w, path, err) : sg_fail(err, SG_ENOMEM, "out of memory for edits");
    if (status == SG_OK && (json_dumpf(root, sg_writer_stream(w), JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0 ||
                            fputc('\n', sg_writer_stream(w)) == EOF)) {
        status = sg_fail(err, SG_EIO, "%s could not be written", path);
        sg_writer_abort(w);
    } else if (status == SG_OK) {
        status = sg_writer_commit(w, err);
    }
    json_decref(root);
    free(edits);
    return status;
}

/* ---- the game ---- */

static const char *colour(int mover)
{
    return mover == SG_OTHELLO_BLACK ? "black" : "white";
}

/* The board after the first n of the known moves. */
static sg_othello board_after(const session *s, int n, uint64_t *turned)
{
    sg_othello o = sg_othello_start(s->size);
    *turned = 0;
    for (int i = 0; i < n; i++)
        *turned = sg_othello_play(&o, s->squares[i]);
    return o;
}

sg_status session_go(session *s, int n_moves, sg_error *err)
{
    if (n_moves < 0 || n_moves > s->n_known)
        return sg_fail(err, SG_EARG, "there are moves 0 to %d", s->n_known);
    s->now = board_after(s, n_moves, &s->turned);
    return think(s, err);
}

/* Adds a legal move behind where the game stands; edits at positions that so are no longer known are dropped. */
static uint64_t add(session *s, int square)
{
    const int at = s->now.n_moves;
    const uint64_t turned = sg_othello_play(&s->now, square);
    if (!turned)
        return 0;
    s->turned = turned;
    if (at < s->n_known && s->squares[at] == square)
        return turned;
    for (int i = s->n_places - 1; i >= 0; i--)
        if (s->places[i].position >= at)
            drop(s, i);
    s->squares[at] = square;
    s->n_known = at + 1;
    return turned;
}

static sg_status no_move(const session *s, int square, sg_error *err)
{
    char name[4], list[4 * SG_OTHELLO_MAX_SQUARES + 1] = "";
    size_t n = 0;
    if (s->now.mover == SG_OTHELLO_OVER)
        return sg_fail(err, SG_EARG, "the game is over: `undo` goes back, `new` begins another");
    for (uint64_t left = sg_othello_legal(&s->now); left; left &= left - 1)
        n += (size_t)snprintf(list + n, sizeof list - n, " %s",
                              sg_othello_name(s->size, __builtin_ctzll(left), (char[4]){0}));
    const bool taken = ((s->now.disc[0] | s->now.disc[1]) >> square & 1) != 0;
    return sg_fail(err, SG_EARG, "%s %s; %s may play%s", sg_othello_name(s->size, square, name),
                   taken ? "holds a disc already" : "would turn no disc", colour(s->now.mover), list);
}

sg_status session_play(session *s, int square, sg_error *err)
{
    if (!add(s, square))
        return no_move(s, square, err);
    return think(s, err);
}

sg_status session_replay(session *s, const int *squares, int n, sg_error *err)
{
    session_clear(s);
    s->now = sg_othello_start(s->size);
    s->n_known = 0;
    s->turned = 0;
    for (int i = 0; i < n; i++)
        if (!add(s, squares[i]))
            return no_move(s, squares[i], err);
    return think(s, err);
}

sg_status session_random(session *s, int n, sg_error *err)
{
    if (s->now.mover == SG_OTHELLO_OVER)
        return no_move(s, 0, err);
    for (uint64_t legal; n-- > 0 && (legal = sg_othello_legal(&s->now)) != 0;) {
        for (uint32_t k = sg_rng_below(&s->rng, (uint32_t)__builtin_popcountll(legal)); k > 0; k--)
            legal &= legal - 1;
        (void)add(s, __builtin_ctzll(legal));
    }
    return think(s, err);
}

sg_status session_let(session *s, bool sample, int *played, int *first, sg_error *err)
{
    uint64_t legal = sg_othello_legal(&s->now);
    const float *p = s->after->next;
    double mass = 0;

    if (s->now.mover == SG_OTHELLO_OVER)
        return no_move(s, 0, err);
    if (s->now.n_moves == 0)
        return sg_fail(err, SG_EARG,
                       "the model predicts a move from those before it, and there is none: play one, or `random`");
    *played = -1;
    *first = 0;
    for (int q = 0; q < s->n_squares; q++) {
        *first = p[q] > p[*first] ? q : *first;
        if (!(legal >> q & 1))
            continue;
        mass += (double)p[q];
        *played = *played < 0 || p[q] > p[*played] ? q : *played;
    }
    double left = sample ? sg_rng_uniform(&s->rng) * mass : -1;
    for (int q = 0; q < s->n_squares && left >= 0; q++)
        if (legal >> q & 1 && (left -= (double)p[q]) < 0)
            *played = q;
    return session_play(s, *played, err);
}

/* ---- what follows ---- */

int session_mover(const session *s)
{
    return sg_mind_mover(&s->now, s->now.n_moves ? s->squares[s->now.n_moves - 1] : -1);
}

/* The board that the model is to have. */
static void held(const session *s, int out[SG_OTHELLO_MAX_SQUARES])
{
    const session_place *here = session_here(s);
    sg_mind_held(out, &s->now, session_mover(s));
    for (int i = 0; here && i < here->n; i++)
        out[here->square[i]] = here->to[i];
}

int session_truth(const session *s, int square)
{
    int board[SG_OTHELLO_MAX_SQUARES];
    held(s, board);
    return board[square];
}

uint64_t session_legal(const session *s)
{
    int board[SG_OTHELLO_MAX_SQUARES];
    if (!session_here(s))
        return sg_othello_legal(&s->now);
    held(s, board);
    return sg_mind_legal(s->size, board);
}

uint64_t session_lines(const session *s, int move)
{
    int board[SG_OTHELLO_MAX_SQUARES];
    held(s, board);
    return sg_mind_lines(s->size, board, move);
}

bool session_believes(const session *s, int reader, sg_mind_belief *out)
{
    int board[SG_OTHELLO_MAX_SQUARES];
    if (reader < 0 || reader >= sg_mind_n_readers(s->mind) || s->now.n_moves == 0)
        return false;
    held(s, board);
    sg_mind_compare(out, s->size, s->after->belief[reader], board);
    return true;
}

void session_judge(const session *s, const float next[SG_OTHELLO_MAX_SQUARES], sg_mind_bets *out)
{
    sg_mind_judge(out, s->size, session_legal(s), next);
}

bool session_judge_random(const session *s, double *mass, double *n_wrong)
{
    const session_place *here = session_here(s);
    *mass = *n_wrong = 0;
    for (int i = 0; here && i < SESSION_N_RANDOM; i++) {
        sg_mind_bets bets;
        session_judge(s, here->random[i], &bets);
        *mass += bets.mass / SESSION_N_RANDOM;
        *n_wrong += (double)bets.n_wrong / SESSION_N_RANDOM;
    }
    return here != NULL;
}

sg_status session_saliency(session *s, int move, session_effects *out, sg_error *err)
{
    int32_t tokens[SG_OTHELLO_MAX_MOVES];
    int to[SG_OTHELLO_MAX_SQUARES], n_edits = 0;
    float(*next)[SG_OTHELLO_MAX_SQUARES] = NULL;
    sg_edit *edits = NULL;
    char name[4];

    memset(out, 0, sizeof *out);
    if (s->now.n_moves == 0)
        return sg_fail(err, SG_EARG, "the model has seen no move yet, so nothing makes it play %s",
                       sg_othello_name(s->size, move, name));
    if (sg_othello_token(s->size, move) < 0)
        return sg_fail(err, SG_EARG, "%s is one of the four squares that no move is made on",
                       sg_othello_name(s->size, move, name));
    if (sg_mind_n_readers(s->mind) == 0)
        return sg_fail(err, SG_EARG, "without probes nothing can be turned over in the model's board");
    for (int q = 0; q < s->n_squares; q++)
        if (session_truth(s, q) != SG_MIND_EMPTY) {
            to[out->n] = SG_MIND_MINE + SG_MIND_YOURS - session_truth(s, q);
            out->square[out->n++] = q;
        }
    tokens_of(s, tokens);
    sg_status status = edits_before(s, s->now.n_moves, &edits, &n_edits, err);
    if (status == SG_OK && !(next = malloc((size_t)out->n * sizeof *next)))
        status = sg_fail(err, SG_ENOMEM, "out of memory for %d boards", out->n);
    if (status == SG_OK)
        status =
            sg_mind_what_if(next, s->view, &(sg_mind_case){tokens, s->now.n_moves, session_mover(s), n_edits, edits},
                            out->n, out->square, to, s->how, err);
    out->p = s->after->next[move];
    for (int i = 0; i < out->n && status == SG_OK; i++) {
        out->p_if[i] = next[i][move];
        out->effect[i] = log((double)fmaxf(out->p, 1e-12f)) - log((double)fmaxf(out->p_if[i], 1e-12f));
    }
    free(next);
    free(edits);
    return status;
}

/* ---- for machines ---- */

static json_t *names_of(const session *s, uint64_t squares)
{
    json_t *list = json_array();
    char name[4];
    for (uint64_t left = squares; left; left &= left - 1)
        json_array_append_new(list, json_string(sg_othello_name(s->size, __builtin_ctzll(left), name)));
    return list;
}

static const char *const class_names[SG_MIND_N_CLASSES] = {"empty", "mine", "yours"};

static json_t *bets_json(const session *s, const sg_mind_thought *t)
{
    const uint64_t legal = session_legal(s);
    json_t *moves = json_array();
    sg_mind_bets bets;
    char name[4];
    session_judge(s, t->next, &bets);
    for (int i = 0; i < bets.n; i++)
        json_array_append_new(moves,
                              json_pack("{s:s, s:f, s:b}", "square", sg_othello_name(s->size, bets.order[i], name), "p",
                                        (double)t->next[bets.order[i]], "legal", (int)(legal >> bets.order[i] & 1)));
    return json_pack("{s:f, s:i, s:i, s:o}", "legal_mass", bets.mass, "n_legal", bets.n_legal, "n_wrong", bets.n_wrong,
                     "moves", moves);
}

static json_t *reading_json(const session *s)
{
    sg_mind_belief b;
    if (!session_believes(s, s->reader, &b))
        return json_null();
    const sg_mind_reader *r = sg_mind_get_reader(s->mind, s->reader);
    json_t *squares = json_array();
    for (int q = 0; q < s->n_squares; q++) {
        const float *p = s->after->belief[s->reader][q];
        json_array_append_new(squares, json_pack("[f, f, f]", (double)p[0], (double)p[1], (double)p[2]));
    }
    return json_pack("{s:i, s:s, s:i, s:i, s:i, s:o}", "layer", r->layer, "site", r->site, "n_right", b.n_right,
                     "n_discs", b.n_discs, "n_discs_right", b.n_discs_right, "empty_mine_yours", squares);
}

json_t *session_json(const session *s)
{
    static const char *const movers[] = {"black", "white", "nobody"};
    json_t *moves = json_array(), *board = json_array(), *edits = json_array();
    char name[4];

    for (int i = 0; i < s->now.n_moves; i++)
        json_array_append_new(moves, json_string(sg_othello_name(s->size, s->squares[i], name)));
    for (int row = 0; row < s->size; row++) {
        char text[9] = "";
        for (int q = row * s->size; q < (row + 1) * s->size; q++)
            text[q % s->size] = s->now.disc[0] >> q & 1 ? 'X' : s->now.disc[1] >> q & 1 ? 'O' : '.';
        json_array_append_new(board, json_string(text));
    }
    for (int i = 0; i < s->n_places; i++)
        for (int k = 0; k < s->places[i].n; k++) {
            const session_place *p = &s->places[i];
            json_array_append_new(edits, json_pack("{s:i, s:s, s:s, s:s, s:b}", "position", p->position, "square",
                                                   sg_othello_name(s->size, p->square[k], name), "from",
                                                   class_names[p->from[k]], "to", class_names[p->to[k]], "in_place",
                                                   (int)session_in_place(s, p)));
        }
    const bool thinks = s->now.n_moves > 0;
    double mass, n_wrong;
    json_t *random = session_judge_random(s, &mass, &n_wrong)
                         ? json_pack("{s:f, s:f}", "legal_mass", mass, "n_wrong", n_wrong)
                         : json_null();
    return json_pack("{s:i, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "size", s->size, "moves", moves,
                     "to_move", movers[s->now.mover], "mine", movers[session_mover(s)], "board", board, "legal",
                     names_of(s, session_legal(s)), "edits", edits, "reading", reading_json(s), "next",
                     thinks ? bets_json(s, s->after) : json_null(), "next_unedited",
                     thinks && s->after != s->before ? bets_json(s, s->before) : json_null(), "next_pushed_randomly",
                     random);
}
