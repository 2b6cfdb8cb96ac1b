/* Answers about boards. */
#include "serve/board.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "serve/board_internal.h"
#include "sightglass/rng.h"

enum { MAX_VIEWS = 4, N_CONTROLS = 8, MAX_NODES = 256 };

struct board_desk {
    sg_mind *mind;
    json_t *score; /* score.json of the model's folder; NULL: none */
    pthread_mutex_t lock;
    sg_mind_view *idle[MAX_VIEWS];
    int n_idle;
};

sg_status board_desk_new(board_desk **out, const sg_model *m, sg_error *err)
{
    board_desk *d = calloc(1, sizeof *d);
    char path[4096];
    if (!d || pthread_mutex_init(&d->lock, NULL) != 0) {
        free(d);
        return sg_fail(err, SG_ENOMEM, "out of memory for a board");
    }
    const sg_status status = sg_mind_of(&d->mind, m, NULL, err);
    if (status != SG_OK) {
        board_desk_free(d);
        return status;
    }
    if (snprintf(path, sizeof path, "%s/score.json", sg_model_get_info(m)->path) < (int)sizeof path)
        d->score = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    *out = d;
    return SG_OK;
}

void board_desk_free(board_desk *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->n_idle; i++)
        sg_mind_view_free(d->idle[i]);
    sg_mind_close(d->mind);
    json_decref(d->score);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* A view of its own for each question that is answered at the same time; a few of them are kept, with their plans. */
static sg_status take_view(board_desk *d, sg_mind_view **out, sg_error *err)
{
    *out = NULL;
    pthread_mutex_lock(&d->lock);
    if (d->n_idle)
        *out = d->idle[--d->n_idle];
    pthread_mutex_unlock(&d->lock);
    return *out ? SG_OK : sg_mind_view_new(out, d->mind, err);
}

static void give_view(board_desk *d, sg_mind_view *v)
{
    pthread_mutex_lock(&d->lock);
    const bool kept = v && d->n_idle < MAX_VIEWS;
    if (kept)
        d->idle[d->n_idle++] = v;
    pthread_mutex_unlock(&d->lock);
    if (!kept)
        sg_mind_view_free(v);
}

/* ---- the model ---- */

static json_t *reader_json(const sg_mind_reader *r)
{
    json_t *controls = json_object();
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        json_object_set_new(controls, sg_probe_control_name((sg_probe_control)c),
                            board_number(r->about.hard_control[c], 1e6));
    return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:b, s:I, s:s*}", "layer", r->layer, "site", r->site, "kind",
                     sg_probe_kind_name(sg_probe_get_kind(r->probe)), "squares", board_number(r->about.accuracy, 1e6),
                     "discs", board_number(r->about.hard_accuracy, 1e6), "discs_controls", controls, "means",
                     (int)(r->means != NULL), "n_test", (json_int_t)r->about.n_test, "world", r->about.world);
}

sg_status board_about(json_t **out, board_desk *d, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(sg_mind_model(d->mind));
    const sg_mind_how how = sg_mind_how_defaults(d->mind);
    const int best = sg_mind_best_reader(d->mind);
    json_t *readers = json_array(), *warnings = json_array();
    for (int r = 0; r < sg_mind_n_readers(d->mind); r++)
        json_array_append_new(readers, reader_json(sg_mind_get_reader(d->mind, r)));
    for (int i = 0; sg_mind_warning(d->mind, i); i++)
        json_array_append_new(warnings, json_string(sg_mind_warning(d->mind, i)));
    *out = json_pack("{s:i, s:i, s:i, s:I, s:I, s:o, s:o, s:{s:f, s:i, s:i}, s:o, s:O?}", "size", sg_mind_size(d->mind),
                     "n_layers", sg_mind_n_layers(d->mind), "n_heads", (int)in->n_heads, "width",
                     (json_int_t)in->d_model, "n_parameters", (json_int_t)in->n_parameters, "best_layer",
                     best < 0 ? json_null() : json_integer(sg_mind_get_reader(d->mind, best)->layer), "readers",
                     readers, "how", "strength", how.strength, "first", how.first, "last", how.last, "warnings",
                     warnings, "score", d->score);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a board");
}

/* ---- a position ---- */

static const char *const colours[] = {"black", "white", "nobody"};

static json_t *board_text(const sg_othello *o)
{
    char text[SG_OTHELLO_MAX_SQUARES + 1] = "";
    for (int q = 0; q < sg_othello_squares(o->size); q++)
        text[q] = o->disc[SG_OTHELLO_BLACK] >> q & 1 ? 'X' : o->disc[SG_OTHELLO_WHITE] >> q & 1 ? 'O' : '.';
    return json_string(text);
}

/* SG_MIND_... as the letter of a disc. */
static char letter(int c, int mover)
{
    return c == SG_MIND_EMPTY ? '.' : (c == SG_MIND_MINE) == (mover == SG_OTHELLO_BLACK) ? 'X' : 'O';
}

static json_t *held_text(const board_case *c, const int *held)
{
    char text[SG_OTHELLO_MAX_SQUARES + 1] = "";
    for (int q = 0; q < sg_othello_squares(c->size); q++)
        text[q] = letter(held[q], c->mover);
    return json_string(text);
}

/* All moves that are known, with who made them and whether the other one had to pass then. */
static json_t *plies_json(const board_case *c)
{
    json_t *list = json_array();
    for (int i = 0; i < c->n_known; i++) {
        const int by = c->after[i].mover, then = c->after[i + 1].mover;
        json_array_append_new(list, json_pack("{s:o, s:s, s:i, s:b}", "square",
                                              board_square_json(c->size, c->squares[i]), "by", colours[by], "turned",
                                              __builtin_popcountll(c->turned[i]), "pass_after", (int)(then == by)));
    }
    return list;
}

/* legal: of the board by which it is judged. */
static json_t *bets_json(json_t *to, const board_case *c, const float *next, float none, uint64_t legal)
{
    sg_mind_bets bets;
    json_t *p = json_array();
    sg_mind_judge(&bets, c->size, legal, next);
    for (int q = 0; q < sg_othello_squares(c->size); q++)
        json_array_append_new(p, board_number((double)next[q], 1e7));
    json_object_set_new(to, "next", p);
    json_object_set_new(to, "none", board_number((double)none, 1e7));
    json_object_set_new(to, "legal_mass", board_number(bets.mass, 1e7));
    json_object_set_new(to, "n_legal", json_integer(bets.n_legal));
    json_object_set_new(to, "n_wrong", json_integer(bets.n_wrong));
    json_object_set_new(to, "first", board_square_json(c->size, bets.order[0]));
    json_object_set_new(to, "first_legal", json_boolean(legal >> bets.order[0] & 1));
    return to;
}

/* Thousandths: [layer][head][move]. */
static json_t *attention_json(const sg_mind_answer *a, const float *attention, int n)
{
    json_t *layers = json_array();
    for (int l = 0; l < a->n_layers && attention; l++) {
        json_t *heads = json_array();
        for (int h = 0; h < a->n_heads; h++) {
            json_t *moves = json_array();
            for (int i = 0; i < n; i++)
                json_array_append_new(moves,
                                      json_integer(lround((double)attention[(l * a->n_heads + h) * n + i] * 1000)));
            json_array_append_new(heads, moves);
        }
        json_array_append_new(layers, heads);
    }
    return layers;
}

static json_t *layer_json(const board_case *c, const sg_mind_reader *r, sg_mind_thought *t, int reader, const int *held)
{
    char read[SG_OTHELLO_MAX_SQUARES + 1] = "";
    json_t *shares = json_array(), *wrong = json_array();
    sg_mind_belief b;
    sg_mind_compare(&b, c->size, t->belief[reader], held);
    for (int q = 0; q < sg_othello_squares(c->size); q++) {
        const float *p = t->belief[reader][q];
        read[q] = letter(b.c[q], c->mover);
        json_array_append_new(shares, json_pack("[o, o, o]", board_number((double)p[0], 1e4),
                                                board_number((double)p[1], 1e4), board_number((double)p[2], 1e4)));
        if (b.c[q] != held[q])
            json_array_append_new(wrong, board_square_json(c->size, q));
    }
    return json_pack("{s:i, s:s, s:o, s:o, s:i, s:i, s:i}", "layer", r->layer, "board", read, "empty_mine_yours",
                     shares, "wrong", wrong, "n_right", b.n_right, "n_discs", b.n_discs, "n_discs_right",
                     b.n_discs_right);
}

static json_t *thought_json(const board_desk *d, const board_case *c, sg_mind_thought *t, const int *held,
                            uint64_t legal)
{
    json_t *to = json_object(), *layers = json_array();
    bets_json(to, c, t->next, t->none, legal);
    for (int r = 0; r < sg_mind_n_readers(d->mind); r++)
        json_array_append_new(layers, layer_json(c, sg_mind_get_reader(d->mind, r), t, r, held));
    json_object_set_new(to, "layers", layers);
    return to;
}

/* What it would play: its likeliest legal square, one drawn from its probabilities of those, and what it likes best of
 * all squares, legal or not. Judged on the true board, since that is where it is played. */
static json_t *reply_json(const board_case *c, const float *next, uint64_t seed)
{
    const uint64_t legal = sg_othello_legal(&c->after[c->n]);
    sg_rng rng = sg_rng_new(seed, (uint32_t)c->n);
    int best = -1, first = 0, drawn = -1;
    double mass = 0;
    for (int q = 0; q < sg_othello_squares(c->size); q++) {
        first = next[q] > next[first] ? q : first;
        if (!(legal >> q & 1))
            continue;
        mass += (double)next[q];
        best = best < 0 || next[q] > next[best] ? q : best;
    }
    if (best < 0)
        return json_null();
    double left = sg_rng_uniform(&rng) * mass;
    drawn = best;
    for (int q = 0; q < sg_othello_squares(c->size) && left >= 0; q++)
        if (legal >> q & 1 && (left -= (double)next[q]) < 0)
            drawn = q;
    return json_pack("{s:o, s:o, s:o, s:b, s:I}", "best", board_square_json(c->size, best), "drawn",
                     board_square_json(c->size, drawn), "first", board_square_json(c->size, first), "first_legal",
                     (int)(legal >> first & 1), "seed", (json_int_t)seed);
}

/* The means over random pushes, and how they are spread. */
static json_t *controls_json(const board_case *c, const sg_mind_answer *a, uint64_t legal)
{
    double mass = 0, wrong = 0, mean[SG_OTHELLO_MAX_SQUARES] = {0};
    if (!a->n_random)
        return json_null();
    json_t *next = json_array();
    for (int i = 0; i < a->n_random; i++) {
        sg_mind_bets bets;
        sg_mind_judge(&bets, c->size, legal, a->random[i]);
        mass += bets.mass / a->n_random;
        wrong += (double)bets.n_wrong / a->n_random;
        for (int q = 0; q < sg_othello_squares(c->size); q++)
            mean[q] += (double)a->random[i][q] / a->n_random;
    }
    for (int q = 0; q < sg_othello_squares(c->size); q++)
        json_array_append_new(next, board_number(mean[q], 1e7));
    return json_pack("{s:i, s:o, s:o, s:o}", "n", a->n_random, "legal_mass", board_number(mass, 1e7), "n_wrong",
                     board_number(wrong, 1e4), "next", next);
}

/* As many controls as are wanted, but fewer where each takes many positions. */
static int n_controls(const board_case *c, int wanted)
{
    const int branch = c->n_places ? c->n - c->places[0].position : 1;
    return SG_MAX(SG_MIN(wanted, (MAX_NODES - c->n - branch) / branch), SG_MIN(wanted, 2));
}

static sg_status look(board_desk *d, const board_case *c, int controls, bool attention, sg_mind_answer **out,
                      sg_error *err)
{
    sg_mind_view *view = NULL;
    const sg_mind_question q = {.tokens = c->tokens,
                                .movers = c->movers,
                                .n = c->n,
                                .n_places = c->n_places,
                                .places = c->places,
                                .n_random = n_controls(c, controls),
                                .seed = (uint64_t)(c->n_places ? c->places[c->n_places - 1].position : 0),
                                .attention = attention};
    SG_TRY(take_view(d, &view, err));
    const sg_status status = sg_mind_look(out, view, &q, err);
    give_view(d, view);
    return status;
}

sg_status board_ask(json_t **out, board_desk *d, const json_t *body, sg_error *err)
{
    const json_t *wanted = json_object_get(body, "controls");
    const json_int_t controls = wanted ? json_integer_value(wanted) : N_CONTROLS;
    const uint64_t seed = (uint64_t)json_integer_value(json_object_get(body, "seed"));
    board_case c;
    sg_mind_answer *a = NULL;

    SG_TRY(board_case_read(&c, d->mind, body, err));
    if (controls < 0 || controls > SG_MIND_MAX_RANDOM)
        return sg_fail(err, SG_EARG, "%lld controls: 0 to %d", (long long)controls, SG_MIND_MAX_RANDOM);
    if (c.n)
        SG_TRY(look(d, &c, (int)controls, json_is_true(json_object_get(body, "attention")), &a, err));
    const sg_othello *o = &c.after[c.n];
    const uint64_t legal = sg_othello_legal(o);
    const bool here = c.n_places && c.places[c.n_places - 1].position == c.n - 1;
    const uint64_t legal_wish = here ? sg_mind_legal(c.size, c.wish) : legal;
    json_t *lengths = json_array();
    for (int i = 0; i < c.n_places; i++)
        json_array_append_new(lengths, board_number(a->length[i], 1e4));
    json_t *before = a ? thought_json(d, &c, &a->before, c.held, legal) : json_null(),
           *after = c.n_places ? thought_json(d, &c, &a->after, c.wish, legal_wish) : json_null();
    if (a && a->attention_before)
        json_object_set_new(before, "attention", attention_json(a, a->attention_before, c.n));
    if (c.n_places && a->attention_after)
        json_object_set_new(after, "attention", attention_json(a, a->attention_after, c.n));
    /* Unedited, but judged on the board that the edits stand for: what the edited bets are compared with. */
    json_t *unedited =
        c.n_places ? bets_json(json_object(), &c, a->before.next, a->before.none, legal_wish) : json_null();
    *out =
        json_pack("{s:i, s:o, s:i, s:o, s:s, s:s, s:[i, i], s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "size",
                  c.size, "plies", plies_json(&c), "ply", c.n, "board", board_text(o), "to_move", colours[o->mover],
                  "mine", colours[c.mover], "discs", __builtin_popcountll(o->disc[0]), __builtin_popcountll(o->disc[1]),
                  "legal", board_squares_json(c.size, legal), "wish", held_text(&c, c.wish), "legal_wish",
                  board_squares_json(c.size, legal_wish), "before", before, "after", after, "unedited", unedited,
                  "controls", a ? controls_json(&c, a, legal_wish) : json_null(), "lengths", lengths, "reply",
                  a ? reply_json(&c, a->after.next, seed) : json_null());
    sg_mind_answer_free(a);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a board");
}

/* ---- edits as data ---- */

static json_t *edit_json(const sg_edit *e)
{
    json_t *value = json_array();
    for (sg_dim i = 0; i < e->value.dims[0]; i++)
        json_array_append_new(value, json_real((double)((const float *)e->value.data)[i]));
    return json_pack("{s:s, s:s, s:[I], s:o}", "site", e->site, "op", sg_edit_op_name(e->op), "positions",
                     (json_int_t)e->positions.spans[0].first, "value", value);
}

sg_status board_edits(json_t **out, board_desk *d, const json_t *body, sg_error *err)
{
    board_case c;
    sg_mind_answer *a = NULL;
    SG_TRY(board_case_read(&c, d->mind, body, err));
    if (!c.n)
        return sg_fail(err, SG_EARG, "the model has seen no move yet, so it believes nothing that could be edited");
    SG_TRY(look(d, &c, 0, false, &a, err));
    json_t *tokens = json_array(), *edits = json_array();
    for (int i = 0; i < c.n; i++)
        json_array_append_new(tokens, json_integer(c.tokens[i]));
    for (int i = 0; i < a->edits.n; i++)
        json_array_append_new(edits, edit_json(&a->edits.edits[i]));
    sg_mind_answer_free(a);
    *out = json_pack("{s:o, s:o}", "tokens", tokens, "edits", edits);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for edits");
}

/* ---- saliency ---- */

static sg_status turn_over(board_desk *d, const board_case *c, int n, const int *square, const int *to, sg_mind_how how,
                           sg_mind_thought *now, float (*next)[SG_OTHELLO_MAX_SQUARES], sg_error *err)
{
    sg_mind_answer *a = NULL;
    sg_mind_view *view = NULL;
    SG_TRY(look(d, c, 0, false, &a, err));
    *now = a->after;
    sg_status status = take_view(d, &view, err);
    if (status == SG_OK)
        status = sg_mind_what_if(next, view, &(sg_mind_case){c->tokens, c->n, c->mover, a->edits.n, a->edits.edits}, n,
                                 square, to, how, err);
    if (view)
        give_view(d, view);
    sg_mind_answer_free(a);
    return status;
}

sg_status board_saliency(json_t **out, board_desk *d, const json_t *body, sg_error *err)
{
    const json_t *first = json_object_get(body, "first"), *last = json_object_get(body, "last"),
                 *strength = json_object_get(body, "strength");
    int square[SG_OTHELLO_MAX_SQUARES], to[SG_OTHELLO_MAX_SQUARES], n = 0;
    sg_mind_how how = sg_mind_how_defaults(d->mind);
    board_case c;

    SG_TRY(board_case_read(&c, d->mind, body, err));
    if (!c.n)
        return sg_fail(err, SG_EARG, "the model has seen no move yet, so nothing makes it play anything");
    if (first)
        how.first = (int)SG_MAX(SG_MIN(json_integer_value(first), SG_MIND_MAX_LAYERS), 0);
    if (last)
        how.last = (int)SG_MAX(SG_MIN(json_integer_value(last), SG_MIND_MAX_LAYERS), 0);
    if (strength)
        how.strength = json_number_value(strength);
    if (!(fabs(how.strength) <= 100))
        return sg_fail(err, SG_EARG, "a strength of %g: 0 to 1 is usual, 100 is the most", how.strength);
    for (int q = 0; q < sg_othello_squares(c.size); q++)
        if (c.wish[q] != SG_MIND_EMPTY) {
            to[n] = SG_MIND_MINE + SG_MIND_YOURS - c.wish[q];
            square[n++] = q;
        }
    sg_mind_thought *now = malloc(sizeof *now);
    float(*next)[SG_OTHELLO_MAX_SQUARES] = malloc((size_t)SG_MAX(n, 1) * sizeof *next);
    sg_status status = now && next ? turn_over(d, &c, n, square, to, how, now, next, err)
                                   : sg_fail(err, SG_ENOMEM, "out of memory for %d boards", n);
    if (status == SG_OK) {
        json_t *discs = json_array(), *lines = json_object(), *p = json_array();
        char name[4];
        for (int q = 0; q < sg_othello_squares(c.size); q++) {
            json_array_append_new(p, board_number((double)now->next[q], 1e7));
            const uint64_t line = sg_mind_lines(c.size, c.wish, q);
            if (line)
                json_object_set_new(lines, sg_othello_name(c.size, q, name), board_squares_json(c.size, line));
        }
        for (int i = 0; i < n; i++) {
            json_t *p_if = json_array();
            for (int q = 0; q < sg_othello_squares(c.size); q++)
                json_array_append_new(p_if, board_number((double)next[i][q], 1e7));
            json_array_append_new(
                discs, json_pack("{s:o, s:o}", "square", board_square_json(c.size, square[i]), "next", p_if));
        }
        *out = json_pack("{s:i, s:i, s:o, s:o, s:o}", "size", c.size, "ply", c.n, "next", p, "discs", discs, "lines",
                         lines);
        status = *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for saliency");
    }
    free(now);
    free(next);
    return status;
}
