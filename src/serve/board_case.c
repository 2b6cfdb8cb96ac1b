/* Requests about boards, and games in whichever way they are written. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/board_internal.h"
#include "sightglass/rng.h"

json_t *board_square_json(int size, int square)
{
    char name[4];
    return json_string(sg_othello_name(size, square, name));
}

json_t *board_squares_json(int size, uint64_t squares)
{
    json_t *list = json_array();
    for (uint64_t left = squares; left; left &= left - 1)
        json_array_append_new(list, board_square_json(size, __builtin_ctzll(left)));
    return list;
}

json_t *board_number(double x, double per_unit)
{
    return isfinite(x) ? json_real(round(x * per_unit) / per_unit) : json_null();
}

/* ---- a position with edits ---- */

static sg_status play_through(board_case *c, sg_error *err)
{
    c->after[0] = sg_othello_start(c->size);
    for (int i = 0; i < c->n_known; i++) {
        c->after[i + 1] = c->after[i];
        c->turned[i] = sg_othello_play(&c->after[i + 1], c->squares[i]);
        if (!c->turned[i]) /* sg_othello_read has said so before */
            return sg_fail(err, SG_EARG, "move %d is not legal", i + 1);
        c->tokens[i] = sg_othello_token(c->size, c->squares[i]);
        c->movers[i] = sg_mind_mover(&c->after[i + 1], c->squares[i]);
    }
    return SG_OK;
}

/* What a word says of a square, as the mover sees it; -1: nothing. */
static int class_of(const char *word, int mover)
{
    static const char *const words[] = {"empty", "mine", "yours"};
    for (int c = 0; c < SG_MIND_N_CLASSES; c++)
        if (strcmp(word, words[c]) == 0)
            return c;
    if (strcmp(word, "black") != 0 && strcmp(word, "white") != 0)
        return -1;
    return (word[0] == 'b') == (mover == SG_OTHELLO_BLACK) ? SG_MIND_MINE : SG_MIND_YOURS;
}

static sg_status read_place(board_case *c, int at, const sg_mind *mind, const json_t *edit, sg_error *err)
{
    sg_mind_place *p = &c->places[at];
    const json_t *ply = json_object_get(edit, "ply"), *first = json_object_get(edit, "first"),
                 *last = json_object_get(edit, "last"), *strength = json_object_get(edit, "strength");
    const int n_layers = sg_mind_n_layers(mind);
    const char *name;
    json_t *word;

    *p = (sg_mind_place){.position = (int)json_integer_value(ply) - 1,
                         .square = c->square[at],
                         .to = c->to[at],
                         .how = sg_mind_how_defaults(mind)};
    if (json_integer_value(ply) < 1 || json_integer_value(ply) > c->n_known)
        return sg_fail(err, SG_EARG,
                       "an edit after move %lld, of a game of %d: the model believes something after a move of its own",
                       (long long)json_integer_value(ply), c->n_known);
    if (first)
        p->how.first = (int)SG_MAX(SG_MIN(json_integer_value(first), n_layers), -1);
    if (last)
        p->how.last = (int)SG_MAX(SG_MIN(json_integer_value(last), n_layers), -1);
    if (strength)
        p->how.strength = json_number_value(strength);
    if (p->how.first < 0 || p->how.last >= n_layers || p->how.first > p->how.last)
        return sg_fail(err, SG_EARG, "an edit from layer %d to %d: the layers are 0 to %d", p->how.first, p->how.last,
                       n_layers - 1);
    if (!(fabs(p->how.strength) <= 100))
        return sg_fail(err, SG_EARG, "an edit of strength %g: 0 to 1 is usual, 100 is the most", p->how.strength);
    json_object_foreach(json_object_get(edit, "squares"), name, word)
    {
        const int square = strlen(name) == 2 ? sg_othello_parse(c->size, name) : -1,
                  to = json_is_string(word) ? class_of(json_string_value(word), c->movers[p->position]) : -1;
        if (square < 0 || to < 0)
            return sg_fail(err, SG_EARG, "an edit sets \"%.20s\" to \"%.20s\": wanted a square and what it is to hold",
                           name, json_is_string(word) ? json_string_value(word) : "what is no text");
        if (p->n == BOARD_MAX_SQUARES)
            return sg_fail(err, SG_EARG, "an edit sets %zu squares, at most %d at one move",
                           json_object_size(json_object_get(edit, "squares")), BOARD_MAX_SQUARES);
        c->square[at][p->n] = square;
        c->to[at][p->n++] = to;
    }
    return SG_OK;
}

static int by_position(const void *a, const void *b)
{
    return ((const sg_mind_place *)a)->position - ((const sg_mind_place *)b)->position;
}

static sg_status read_places(board_case *c, const sg_mind *mind, const json_t *edits, sg_error *err)
{
    const int n = (int)json_array_size(edits);
    if (json_array_size(edits) > BOARD_MAX_PLACES)
        return sg_fail(err, SG_EARG, "edits after %zu moves, at most after %d", json_array_size(edits),
                       BOARD_MAX_PLACES);
    for (int i = 0; i < n; i++) {
        SG_TRY(read_place(c, c->n_places, mind, json_array_get(edits, (size_t)i), err));
        const sg_mind_place *p = &c->places[c->n_places];
        /* Later ones are put aside until the game gets there. */
        c->n_places += p->n > 0 && p->position < c->n;
    }
    qsort(c->places, (size_t)c->n_places, sizeof *c->places, by_position);
    for (int i = 1; i < c->n_places; i++)
        if (c->places[i].position == c->places[i - 1].position)
            return sg_fail(err, SG_EARG, "two edits after move %d: all its squares go into one",
                           c->places[i].position + 1);
    return SG_OK;
}

sg_status board_case_read(board_case *c, const sg_mind *mind, const json_t *body, sg_error *err)
{
    const char *moves = json_string_value(json_object_get(body, "moves"));
    const json_t *ply = json_object_get(body, "ply");

    memset(c, 0, sizeof *c);
    c->size = sg_mind_size(mind);
    const sg_status status = sg_othello_read(c->squares, &c->n_known, c->size, moves ? moves : "", err);
    if (status != SG_OK) {
        if (err && err->status == SG_EFORMAT) /* the request is wrong, no file */
            err->status = SG_EARG;
        return status == SG_EFORMAT ? SG_EARG : status;
    }
    SG_TRY(play_through(c, err));
    c->n = ply ? (int)SG_MIN(json_integer_value(ply), INT32_MAX) : c->n_known;
    if (c->n < 0 || c->n > c->n_known)
        return sg_fail(err, SG_EARG, "position after move %d, of a game of %d", c->n, c->n_known);
    c->mover = c->n ? c->movers[c->n - 1] : sg_mind_mover(&c->after[0], -1);
    sg_mind_held(c->held, &c->after[c->n], c->mover);
    SG_TRY(read_places(c, mind, json_object_get(body, "edits"), err));
    memcpy(c->wish, c->held, sizeof c->wish);
    const sg_mind_place *here = c->n_places ? &c->places[c->n_places - 1] : NULL;
    for (int j = 0; here && here->position == c->n - 1 && j < here->n; j++)
        c->wish[here->square[j]] = here->to[j];
    return SG_OK;
}

/* ---- games as text ---- */

enum { MAX_GAMES = 1000, MAX_TEXT = 1 << 20 };

static json_t *game_json(const char *label, int size, const int *squares, int n)
{
    char moves[2 * SG_OTHELLO_MAX_MOVES + 1] = "", name[4];
    sg_othello o = sg_othello_start(size);
    for (int i = 0; i < n; i++) {
        memcpy(moves + 2 * (size_t)i, sg_othello_name(size, squares[i], name), 3);
        (void)sg_othello_play(&o, squares[i]);
    }
    return json_pack("{s:s, s:s, s:i, s:b, s:[i, i]}", "label", label, "moves", moves, "n", n, "over",
                     (int)(o.mover == SG_OTHELLO_OVER), "discs", __builtin_popcountll(o.disc[0]),
                     __builtin_popcountll(o.disc[1]));
}

/* Whether a word says that somebody passes, which is no move here. */
static bool is_pass(const char *word, size_t n)
{
    static const char *const passes[] = {"pass", "pa", "ps", "--", "@@", "p"};
    for (size_t i = 0; i < SG_COUNT_OF(passes); i++)
        if (n == strlen(passes[i]) && strncasecmp(word, passes[i], n) == 0)
            return true;
    return false;
}

/* "34-30", "1.", "12...", "1977", "*": what stands beside moves. */
static bool is_beside(const char *word, size_t n)
{
    return strspn(word, "0123456789.-*+:") >= n;
}

/* One game: words of moves, with what stands beside them passed over; {} and () are comments, ";" to the line's end.
 * What comes before the first move is its label. */
static sg_status read_game(json_t *games, int size, const char *text, size_t n_bytes, const char *tag, sg_error *err)
{
    sg_str moves = {0}, label = {0};
    int squares[SG_OTHELLO_MAX_MOVES], n = 0;
    bool failed = false;
    char odd[24] = "";

    sg_str_puts(&label, tag);
    for (size_t i = 0; i < n_bytes && !failed;) {
        const char *at = text + i;
        if (isspace((unsigned char)*at) || *at == ',') {
            i++;
        } else if (*at == '{' || *at == '(' || *at == ';') {
            const char closing = *at == '{' ? '}' : *at == '(' ? ')' : '\n';
            while (i < n_bytes && text[i] != closing)
                i++;
            i += i < n_bytes;
        } else {
            size_t n_word = 0;
            while (i + n_word < n_bytes && !isspace((unsigned char)at[n_word]) && !strchr(",{(;", at[n_word]))
                n_word++;
            const size_t number = strspn(at, "0123456789"), dots = strspn(at + number, ".");
            /* "1.f5": the number goes, the move stays. */
            const size_t skip = number && dots && number + dots < n_word ? number + dots : 0;
            const char *word = at + skip;
            const size_t n_left = n_word - skip;
            if (is_beside(word, n_left)) {
                if (!moves.bytes && !strchr("*.", word[n_left - 1]))
                    sg_str_printf(&label, "%s%.*s", label.bytes ? " " : "", (int)SG_MIN(n_left, 40), word);
            } else if (n_left % 2 == 0 && isalpha((unsigned char)word[0]) && isdigit((unsigned char)word[1])) {
                sg_str_append(&moves, word, n_left);
            } else if (!is_pass(word, n_left)) {
                failed = true;
                snprintf(odd, sizeof odd, "%.*s", (int)SG_MIN(n_left, 20), word);
            }
            i += n_word;
        }
    }
    sg_status status = moves.failed || label.failed ? sg_fail(err, SG_ENOMEM, "out of memory for a game") : SG_OK;
    if (failed)
        status = sg_fail(err, SG_EARG, "\"%s\" is no move: moves are a column and a row, such as f5", odd);
    if (status == SG_OK && moves.bytes) {
        status = sg_othello_read(squares, &n, size, moves.text, err);
        if (status == SG_OK)
            json_array_append_new(games, game_json(label.text ? label.text : "", size, squares, n));
    }
    sg_str_free(&moves);
    sg_str_free(&label);
    return status;
}

/* [Black "name"] [White "name"]: "name - name". */
static void tag_of(char *label, size_t room, const char *line, size_t n)
{
    const char *from = memchr(line, '"', n), *to = from ? memchr(from + 1, '"', n - (size_t)(from + 1 - line)) : NULL;
    const bool white = n > 6 && strncasecmp(line, "[white", 6) == 0,
               black = n > 6 && strncasecmp(line, "[black", 6) == 0;
    const size_t used = strlen(label);
    if (to && (white || black))
        snprintf(label + used, room - used, "%s%.*s", used ? " - " : "", (int)SG_MIN(to - from - 1, 60), from + 1);
}

static size_t line_at(const char *text, size_t i, size_t n)
{
    const char *end = memchr(text + i, '\n', n - i);
    return end ? (size_t)(end - (text + i)) : n - i;
}

/* Whether a line holds a game by itself, as tournament lists have it: many moves in one word. */
static bool is_whole(const char *line, size_t n)
{
    size_t run = 0;
    for (size_t i = 0; i < n; i++) {
        run = isspace((unsigned char)line[i]) ? 0 : run + 1;
        if (run >= 16 && isalpha((unsigned char)line[i - 1]))
            return true;
    }
    return false;
}

/* With tags, a game lasts until the next tags; else each line that is whole is a game, and what is left is one. */
static sg_status read_games(json_t *games, int size, const char *text, size_t n, sg_error *err)
{
    char label[160] = "";
    size_t from = 0, to = 0; /* of the game that is being collected */
    bool open = false;
    for (size_t i = 0; i <= n && json_array_size(games) < MAX_GAMES;) {
        const size_t length = i < n ? line_at(text, i, n) : 0;
        const char *line = text + i;
        const bool tag = length && line[0] == '[', whole = !tag && is_whole(line, length);
        if (open && (tag || whole || i == n)) {
            SG_TRY(read_game(games, size, text + from, to - from, label, err));
            open = false;
            label[0] = 0;
        }
        if (i == n)
            break;
        if (tag) {
            tag_of(label, sizeof label, line, length);
        } else if (whole && !label[0]) {
            SG_TRY(read_game(games, size, line, length, "", err));
        } else {
            from = open ? from : i;
            to = i + length;
            open = true;
        }
        i += length + (i + length < n);
    }
    return SG_OK;
}

static void draw_games(json_t *games, int size, int n, uint64_t seed, int n_moves)
{
    for (int i = 0; i < n; i++) {
        sg_rng rng = sg_rng_new(seed, (uint32_t)i);
        sg_othello o = sg_othello_start(size);
        int squares[SG_OTHELLO_MAX_MOVES], k = 0;
        char label[64];
        for (uint64_t legal; k < n_moves && (legal = sg_othello_legal(&o)) != 0; k++) {
            for (uint32_t left = sg_rng_below(&rng, (uint32_t)__builtin_popcountll(legal)); left > 0; left--)
                legal &= legal - 1;
            squares[k] = __builtin_ctzll(legal);
            (void)sg_othello_play(&o, squares[k]);
        }
        snprintf(label, sizeof label, n > 1 ? "random, seed %llu, game %d" : "random, seed %llu",
                 (unsigned long long)seed, i + 1);
        json_array_append_new(games, game_json(label, size, squares, k));
    }
}

sg_status board_games(json_t **out, const json_t *body, sg_error *err)
{
    const json_t *text = json_object_get(body, "text"), *random = json_object_get(body, "random"),
                 *seed = json_object_get(body, "seed"), *most = json_object_get(body, "n_moves");
    const json_int_t size = json_integer_value(json_object_get(body, "size")), n = json_integer_value(random),
                     n_moves = most ? json_integer_value(most) : SG_OTHELLO_MAX_MOVES;
    if (size != 4 && size != 6 && size != 8)
        return sg_fail(err, SG_EARG, "a board of size %lld: they are 4, 6 and 8", (long long)size);
    if ((text != NULL) == (random != NULL))
        return sg_fail(err, SG_EARG, "wanted a text, or how many random games: one of them");
    if (random && (n < 1 || n > MAX_GAMES || n_moves < 0 || n_moves > SG_OTHELLO_MAX_MOVES))
        return sg_fail(err, SG_EARG, "%lld random games of %lld moves: 1 to %d of at most %d", (long long)n,
                       (long long)n_moves, MAX_GAMES, SG_OTHELLO_MAX_MOVES);
    if (text && json_string_length(text) > MAX_TEXT)
        return sg_fail(err, SG_EARG, "a text of %zu bytes, at most %d", json_string_length(text), MAX_TEXT);
    json_t *games = json_array();
    sg_status status = games ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for games");
    if (status == SG_OK && text)
        status = read_games(games, (int)size, json_string_value(text), json_string_length(text), err);
    else if (status == SG_OK)
        draw_games(games, (int)size, (int)n, (uint64_t)json_integer_value(seed), (int)n_moves);
    if (status == SG_OK && json_array_size(games) == 0)
        status = sg_fail(err, SG_EARG, "there is no move in this text");
    if (status == SG_EFORMAT) { /* a request is wrong, no file */
        status = SG_EARG;
        if (err)
            err->status = SG_EARG;
    }
    if (status != SG_OK) {
        json_decref(games);
        return status;
    }
    *out = json_pack("{s:o}", "games", games);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for games");
}
