/* sightglass othello: a game, the board that a model holds of it, and what the model does when that board is edited. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "line.h"
#include "othello_board.h"
#include "sightglass/world.h"

static const char usage[] =
    "usage: sightglass othello [MODEL] [options]\n\n"
    "Opens a model that was trained on nothing but the moves of Othello games: the true board and the board that is\n"
    "read inside the model, side by side, with the moves it expects. Squares can be played, and turned over in the\n"
    "model alone. MODEL is models/othello8 unless given. Commands come from the terminal, a pipe or a file.\n\n"
    "  --probes DIR       probes that read the model's board (MODEL/probes), as `sightglass probe fit` makes them\n"
    "  --layer N          the layer whose reading is shown, from 0 (the one that reads discs best)\n"
    "  --game MOVES       begins after these moves, as f5d6c3; \"\" for an empty board\n"
    "  --games FILE:N     begins with game N of a file, one game a line, also compressed\n"
    "  --script FILE      reads commands from a file, - for standard input, and ends; status 1 if one of them failed\n"
    "  --seed N           of random moves, the first position's among them (1)\n"
    "  --json             an object for each command, one a line\n"
    "  --no-colour        no colours on a terminal (as with NO_COLOR set)\n\n"
    "`help` inside lists the commands.\n";

typedef struct app {
    session s;
    board_style style;
    bool json, person; /* a terminal, with prompt and colours */
    bool drawn, quit;
    json_t *more; /* what a command has to add to its object */
} app;

typedef struct command {
    const char *name, *args, *help;
    int least, most; /* words behind the name; most -1: any number */
    sg_status (*run)(app *a, int n, char **words, sg_error *err);
} command;

/* Text for people only. */
#define SAY(a, ...)                                                                                                    \
    do {                                                                                                               \
        if (!(a)->json)                                                                                                \
            board_say(stdout, (a)->style, __VA_ARGS__);                                                                \
    } while (0)

static void draw(app *a)
{
    if (!a->json)
        board_draw(stdout, &a->s, a->style);
}

static sg_status square_of(const app *a, const char *word, int *out, sg_error *err)
{
    *out = strlen(word) == 2 ? sg_othello_parse(a->s.size, word) : -1;
    if (*out < 0)
        return sg_fail(err, SG_EARG, "\"%.20s\" is no square: they are a1 to %c%d", word, 'a' + a->s.size - 1,
                       a->s.size);
    return SG_OK;
}

static sg_status count_of(const char *word, const char *what, int most, int *out, sg_error *err)
{
    long long x = 0;
    SG_TRY(cli_whole(what, word, 0, most, &x, err));
    *out = (int)x;
    return SG_OK;
}

/* ---- commands: the game ---- */

static sg_status do_play(app *a, int n, char **words, sg_error *err)
{
    int square;
    (void)n;
    SG_TRY(square_of(a, words[0], &square, err));
    SG_TRY(session_play(&a->s, square, err));
    draw(a);
    return SG_OK;
}

static sg_status let(app *a, int n, char **words, bool sample, sg_error *err)
{
    int times = 1, played, first;
    char name[4], wanted[4];
    if (n)
        SG_TRY(count_of(words[0], "the number of moves", SG_OTHELLO_MAX_MOVES, &times, err));
    for (int i = 0; i < times && (i == 0 || a->s.now.mover != SG_OTHELLO_OVER); i++) {
        SG_TRY(session_let(&a->s, sample, &played, &first, err));
        sg_othello_name(a->s.size, played, name);
        sg_othello_name(a->s.size, first, wanted);
        if (first != played && !sample)
            SAY(a, "Its likeliest square was %s, which is illegal; it plays %s.", wanted, name);
    }
    draw(a);
    return SG_OK;
}

static sg_status do_best(app *a, int n, char **words, sg_error *err)
{
    return let(a, n, words, false, err);
}

static sg_status do_sample(app *a, int n, char **words, sg_error *err)
{
    return let(a, n, words, true, err);
}

static sg_status do_random(app *a, int n, char **words, sg_error *err)
{
    int times = 1;
    if (n)
        SG_TRY(count_of(words[0], "the number of moves", SG_OTHELLO_MAX_MOVES, &times, err));
    SG_TRY(session_random(&a->s, times, err));
    draw(a);
    return SG_OK;
}

static sg_status step(app *a, int n, char **words, int sign, sg_error *err)
{
    int times = 1;
    const int there = a->s.now.n_moves, most = sign < 0 ? there : a->s.n_known - there;
    if (n)
        SG_TRY(count_of(words[0], "the number of moves", SG_OTHELLO_MAX_MOVES, &times, err));
    if (most == 0)
        return sg_fail(err, SG_EARG, sign < 0 ? "there is no move to take back" : "no further move is known");
    SG_TRY(session_go(&a->s, there + sign * SG_MIN(times, most), err));
    draw(a);
    return SG_OK;
}

static sg_status do_undo(app *a, int n, char **words, sg_error *err)
{
    return step(a, n, words, -1, err);
}

static sg_status do_redo(app *a, int n, char **words, sg_error *err)
{
    return step(a, n, words, 1, err);
}

static sg_status do_goto(app *a, int n, char **words, sg_error *err)
{
    int at;
    (void)n;
    SG_TRY(count_of(words[0], "the move", a->s.n_known, &at, err));
    SG_TRY(session_go(&a->s, at, err));
    draw(a);
    return SG_OK;
}

static sg_status do_new(app *a, int n, char **words, sg_error *err)
{
    (void)n;
    (void)words;
    SG_TRY(session_replay(&a->s, NULL, 0, err));
    draw(a);
    return SG_OK;
}

/* Moves written in any way, in one word or several. */
static sg_status replay(app *a, const char *text, sg_error *err)
{
    int squares[SG_OTHELLO_MAX_MOVES], n = 0;
    SG_TRY(sg_othello_read(squares, &n, a->s.size, text, err));
    return session_replay(&a->s, squares, n, err);
}

static sg_status do_replay(app *a, int n, char **words, sg_error *err)
{
    char text[1024] = "";
    for (int i = 0, at = 0; i < n && at < (int)sizeof text; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s ", words[i]);
    SG_TRY(replay(a, text, err));
    draw(a);
    return SG_OK;
}

/* A game of a file, standing after its first move. */
static sg_status load(app *a, const char *path, long long line, sg_error *err)
{
    const sg_world *world = sg_world_find("othello", err);
    char size[2] = {(char)('0' + a->s.size), 0};
    sg_world_file file = {0};
    int squares[SG_OTHELLO_MAX_MOVES], n = 0;

    if (!world)
        return err->status;
    SG_TRY(sg_world_file_read(&file, world, 1, &(sg_setting){"size", size}, path, err));
    const sg_dim n_games = file.tokens.dims[0], time = file.tokens.dims[1];
    sg_status status = SG_OK;
    if (line < 1 || line > n_games)
        status = sg_fail(err, SG_EARG, "%s has games 1 to %lld, no game %lld", path, (long long)n_games, line);
    for (sg_dim t = 0; status == SG_OK && t < time; t++) {
        const int32_t token = ((const int32_t *)file.tokens.data)[(line - 1) * time + t];
        if (token)
            squares[n++] = sg_othello_square(a->s.size, token);
    }
    sg_world_file_free(&file);
    if (status == SG_OK)
        status = session_replay(&a->s, squares, n, err);
    if (status == SG_OK && n)
        status = session_go(&a->s, 1, err);
    return status;
}

static sg_status do_load(app *a, int n, char **words, sg_error *err)
{
    long long line = 1;
    if (n > 1)
        SG_TRY(cli_whole("the number of the game", words[1], 1, INT64_MAX, &line, err));
    SG_TRY(load(a, words[0], line, err));
    SAY(a, "Game %lld of %s, %d moves: `redo` (or an empty line) shows the next, `goto 30` goes there.", line, words[0],
        a->s.n_known);
    draw(a);
    return SG_OK;
}

/* ---- commands: what it believes ---- */

static sg_status need_move(const app *a, sg_error *err)
{
    if (a->s.now.n_moves == 0)
        return sg_fail(err, SG_EARG, "the model has seen no move yet: play one first");
    if (a->s.reader < 0)
        return sg_fail(err, SG_EARG, "there are no probes, so the model's board can be neither read nor edited");
    return SG_OK;
}

static sg_status do_flip(app *a, int n, char **words, sg_error *err)
{
    sg_mind_belief b;
    int squares[SG_OTHELLO_MAX_SQUARES];
    bool changed;
    SG_TRY(need_move(a, err));
    if (n > a->s.n_squares)
        return sg_fail(err, SG_EARG, "there are %d squares, not %d", a->s.n_squares, n);
    for (int i = 0; i < n; i++) { /* all are looked at before any is turned */
        SG_TRY(square_of(a, words[i], &squares[i], err));
        (void)session_believes(&a->s, a->s.reader, &b);
        if (b.c[squares[i]] == SG_MIND_EMPTY)
            return sg_fail(
                err, SG_EARG,
                "the model believes %s empty, so there is no disc to turn over: `set %s black` puts one there",
                words[i], words[i]);
    }
    for (int i = 0; i < n; i++) {
        (void)session_believes(&a->s, a->s.reader, &b);
        SG_TRY(session_set(&a->s, squares[i], SG_MIND_MINE + SG_MIND_YOURS - b.c[squares[i]], &changed, err));
    }
    draw(a);
    return SG_OK;
}

static sg_status do_set(app *a, int n, char **words, sg_error *err)
{
    static const char *const names[] = {"empty", "mine", "yours", "black", "white"};
    int square, to = -1, n_fit = 0;
    bool changed;
    (void)n;
    SG_TRY(need_move(a, err));
    SG_TRY(square_of(a, words[0], &square, err));
    for (int i = 0; i < (int)SG_COUNT_OF(names); i++)
        if (strncmp(names[i], words[1], strlen(words[1])) == 0) {
            to = i;
            n_fit++;
        }
    if (n_fit != 1)
        return sg_fail(err, SG_EARG, "\"%.20s\" is none of empty, black, white, mine (of who is to move), yours",
                       words[1]);
    if (to > 2) /* a colour */
        to = (to == 3) == (session_mover(&a->s) == SG_OTHELLO_BLACK) ? SG_MIND_MINE : SG_MIND_YOURS;
    SG_TRY(session_set(&a->s, square, to, &changed, err));
    if (!changed)
        SAY(a, "It believes so already.");
    draw(a);
    return SG_OK;
}

static sg_status do_clear(app *a, int n, char **words, sg_error *err)
{
    (void)n;
    (void)words;
    (void)err;
    const int dropped = session_clear(&a->s);
    if (!dropped)
        SAY(a, "Nothing was edited.");
    draw(a);
    return SG_OK;
}

static sg_status do_strength(app *a, int n, char **words, sg_error *err)
{
    if (n) {
        double x;
        SG_TRY(cli_real("the strength", words[0], 0, 100, &x, err));
        a->s.how.strength = x;
        SG_TRY(session_again(&a->s, err));
        if (session_here(&a->s))
            draw(a);
    }
    SAY(a, "Strength %g: an edited square is made as sure as it was of its opposite, times %g.", a->s.how.strength,
        a->s.how.strength);
    return SG_OK;
}

static sg_status do_span(app *a, int n, char **words, sg_error *err)
{
    const int last = sg_mind_n_layers(a->s.mind) - 1;
    sg_mind_how how = a->s.how;
    if (n == 1)
        return sg_fail(err, SG_EARG, "wanted two layers, as in `span 1 %d`", last);
    if (n) {
        SG_TRY(count_of(words[0], "the first layer", last, &how.first, err));
        SG_TRY(count_of(words[1], "the last layer", last, &how.last, err));
        if (how.first > how.last)
            return sg_fail(err, SG_EARG, "layer %d lies behind layer %d", how.first, how.last);
        a->s.how = how;
        SG_TRY(session_again(&a->s, err));
        if (session_here(&a->s))
            draw(a);
    }
    SAY(a, "Edits are made after layers %d to %d of 0 to %d.", a->s.how.first, a->s.how.last, last);
    return SG_OK;
}

static sg_status do_layer(app *a, int n, char **words, sg_error *err)
{
    int layer;
    (void)n;
    SG_TRY(count_of(words[0], "the layer", sg_mind_n_layers(a->s.mind) - 1, &layer, err));
    const int reader = sg_mind_reader_of(a->s.mind, layer);
    if (reader < 0)
        return sg_fail(err, SG_EARG, "there is no probe of layer %d", layer);
    a->s.reader = reader;
    draw(a);
    return SG_OK;
}

static sg_status do_layers(app *a, int n, char **words, sg_error *err)
{
    sg_mind_belief b;
    (void)n;
    (void)words;
    SG_TRY(need_move(a, err));
    if (!a->json) {
        board_layers(stdout, &a->s, a->style);
        return SG_OK;
    }
    json_t *list = json_array();
    for (int r = 0; r < sg_mind_n_readers(a->s.mind); r++) {
        const sg_mind_reader *reader = sg_mind_get_reader(a->s.mind, r);
        const double hard = reader->about.hard_accuracy, untrained = reader->about.hard_control[SG_CONTROL_UNTRAINED];
        (void)session_believes(&a->s, r, &b);
        json_array_append_new(
            list, json_pack("{s:i, s:s, s:i, s:i, s:i, s:o, s:o}", "layer", reader->layer, "site", reader->site,
                            "n_right", b.n_right, "n_discs", b.n_discs, "n_discs_right", b.n_discs_right,
                            "test_discs_right", isfinite(hard) ? json_real(hard) : json_null(),
                            "test_discs_right_untrained", isfinite(untrained) ? json_real(untrained) : json_null()));
    }
    json_object_set_new(a->more, "layers", list);
    return SG_OK;
}

/* The square of a question about a move: its likeliest one unless named. */
static sg_status asked(const app *a, int n, char **words, int *square, sg_error *err)
{
    sg_mind_bets bets;
    if (n)
        return square_of(a, words[0], square, err);
    session_judge(&a->s, a->s.after->next, &bets);
    *square = bets.order[0];
    return SG_OK;
}

static sg_status do_saliency(app *a, int n, char **words, sg_error *err)
{
    session_effects e;
    char name[4];
    int move;
    SG_TRY(need_move(a, err));
    SG_TRY(asked(a, n, words, &move, err));
    SG_TRY(session_saliency(&a->s, move, &e, err));
    if (!a->json) {
        board_show_saliency(stdout, &a->s, move, &e, a->style);
        return SG_OK;
    }
    const uint64_t lines = session_lines(&a->s, move);
    json_t *list = json_array();
    for (int i = 0; i < e.n; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:f, s:f, s:b}", "square", sg_othello_name(a->s.size, e.square[i], name),
                                        "p_if", (double)e.p_if[i], "effect_nats", e.effect[i], "on_its_lines",
                                        (int)(lines >> e.square[i] & 1)));
    json_object_set_new(
        a->more, "saliency",
        json_pack("{s:s, s:f, s:o}", "move", sg_othello_name(a->s.size, move, name), "p", (double)e.p, "discs", list));
    return SG_OK;
}

static sg_status do_save(app *a, int n, char **words, sg_error *err)
{
    (void)n;
    if (a->s.after == a->s.before)
        return sg_fail(err, SG_EARG, "nothing is edited here, so there is nothing to save: `flip` a square first");
    SG_TRY(session_save(&a->s, words[0], err));
    const char *model = sg_model_get_info(sg_mind_model(a->s.mind))->path;
    SAY(a, "%s holds the edits and the moves as tokens. The same from the command line:", words[0]);
    if (!a->json)
        printf("  sightglass run %s --tokens %s --edits %s\n", model, words[0], words[0]);
    return SG_OK;
}

/* ---- commands: looking ---- */

static sg_status do_board(app *a, int n, char **words, sg_error *err)
{
    (void)n;
    (void)words;
    (void)err;
    draw(a);
    return SG_OK;
}

static sg_status do_moves(app *a, int n, char **words, sg_error *err)
{
    (void)n;
    (void)words;
    (void)err;
    if (!a->json)
        board_moves(stdout, &a->s, a->style);
    return SG_OK;
}

static sg_status do_legal(app *a, int n, char **words, sg_error *err)
{
    const uint64_t on_true = sg_othello_legal(&a->s.now), on_edited = session_legal(&a->s);
    const uint64_t sets[] = {on_true, on_edited};
    static const char *const titles[] = {"On the board:", "As edited:"};
    (void)n;
    (void)words;
    (void)err;
    for (int k = 0; k < 1 + (session_here(&a->s) != NULL) && !a->json; k++) {
        char name[4];
        fputs(titles[k], stdout);
        for (uint64_t left = sets[k]; left; left &= left - 1)
            printf(" %s", sg_othello_name(a->s.size, __builtin_ctzll(left), name));
        puts(sets[k] ? "" : " none");
    }
    return SG_OK;
}

static sg_status do_help(app *a, int n, char **words, sg_error *err);

static sg_status do_quit(app *a, int n, char **words, sg_error *err)
{
    (void)n;
    (void)words;
    (void)err;
    a->quit = true;
    return SG_OK;
}

static const command commands[] = {
    {"play", "SQUARE", "plays a move; the square alone does too", 1, 1, do_play},
    {"best", "[N]", "the model plays its likeliest legal move", 0, 1, do_best},
    {"sample", "[N]", "the model plays a legal move drawn from its probabilities", 0, 1, do_sample},
    {"random", "[N]", "N random moves", 0, 1, do_random},
    {"undo", "[N]", "takes moves back", 0, 1, do_undo},
    {"redo", "[N]", "plays them again", 0, 1, do_redo},
    {"goto", "N", "goes to the position after move N", 1, 1, do_goto},
    {"new", "", "an empty board", 0, 0, do_new},
    {"replay", "MOVES", "a game from its moves, as f5d6c3", 1, -1, do_replay},
    {"load", "FILE [N]", "game N of a file, one game a line", 1, 2, do_load},
    {"flip", "SQUARE ...", "turns discs over in the model's board, not in the true one", 1, -1, do_flip},
    {"set", "SQUARE WHAT", "makes it empty, black, white, mine or yours there", 2, 2, do_set},
    {"clear", "", "drops all edits", 0, 0, do_clear},
    {"strength", "[X]", "how sure edits make it: 1 is as sure as it was before", 0, 1, do_strength},
    {"span", "[A B]", "after which layers edits are made", 0, 2, do_span},
    {"save", "FILE", "the edits as JSON, for `sightglass run --edits`", 1, 1, do_save},
    {"saliency", "[SQUARE]", "which discs a move hangs on, each turned over for itself", 0, 1, do_saliency},
    {"layer", "N", "shows the board as layer N holds it", 1, 1, do_layer},
    {"layers", "", "how rightly each layer reads this position", 0, 0, do_layers},
    {"moves", "", "all squares and their probabilities", 0, 0, do_moves},
    {"legal", "", "the legal moves", 0, 0, do_legal},
    {"board", "", "draws the position again", 0, 0, do_board},
    {"help", "[COMMAND]", "this list, or more about one", 0, 1, do_help},
    {"quit", "", "ends; Ctrl-D does too", 0, 0, do_quit},
};

/* What does not fit in a line, by command. */
static const struct {
    const char *name, *text;
} longer[] = {
    {"flip",
     "An edit moves what is inside the model: after several layers its vector for the last move is pushed in the "
     "direction in which boards with the other colour there differ, until the probe reads that colour. The true board "
     "stays; legal moves are judged on the edited one. "
     "An edit belongs to the position at which it was made. When you play on it stays in place there, and the "
     "model sees it as it sees all of the past; when you go back before it, it is put aside, and another move "
     "there drops it. Flipping a square twice drops its edit."},
    {"set", "As flip, to any content. A board that no game could reach is fine: the model has an opinion about it all "
            "the same."},
    {"saliency", "For each disc on the board the model is run once with that disc turned over inside it, and the "
                 "move's probability compared. A model that plays by the rules hangs on the discs that the move would "
                 "turn and on those that close their lines."},
    {"layers", "The column of test games says how often the probe reads discs rightly in games it was not fitted to, "
               "the last one the same for a network of the same shape that was never trained: what lies between is "
               "what training put there."},
    {"strength", "0 leaves the probe undecided between old and new, 1 as sure of the new as it was of the old, 2 twice "
                 "as far. It also changes "
                 "edits made at this position."},
    {"save", "The file is read by `sightglass run` and `sightglass generate`, and by sg_edit_list_open in C. "
             "include/sightglass/edit.h says what its edits mean."},
    {"load", "A line may begin with other words, such as a year; the last one holds the moves. Files may be compressed "
             "by gzip."},
};

static const command *find(const char *word, char *nearest, size_t bytes, int *n_fit)
{
    const command *found = NULL;
    size_t at = 0;
    *n_fit = 0;
    for (size_t i = 0; i < SG_COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, word) == 0) {
            *n_fit = 1;
            return &commands[i];
        }
        if (strncmp(commands[i].name, word, strlen(word)) != 0)
            continue;
        found = &commands[i];
        at += (size_t)snprintf(nearest + at, bytes - SG_MIN(at, bytes), "%s%s", *n_fit ? ", " : "", commands[i].name);
        (*n_fit)++;
    }
    return *n_fit == 1 ? found : NULL;
}

static sg_status find_command(const char *word, const command **out, sg_error *err)
{
    char fits[256];
    int n_fit, nearest = 0;
    *out = find(word, fits, sizeof fits, &n_fit);
    if (*out)
        return SG_OK;
    if (n_fit > 1)
        return sg_fail(err, SG_EARG, "\"%.20s\" may be %s", word, fits);
    for (int i = 1; i < (int)SG_COUNT_OF(commands); i++)
        if (sg_edit_distance(word, commands[i].name) < sg_edit_distance(word, commands[nearest].name))
            nearest = i;
    return sg_fail(err, SG_EARG, "\"%.20s\" is neither a square nor a command; the nearest is %s, `help` lists all",
                   word, commands[nearest].name);
}

static sg_status do_help(app *a, int n, char **words, sg_error *err)
{
    const command *c = NULL;
    if (n)
        SG_TRY(find_command(words[0], &c, err));
    if (a->json)
        return SG_OK;
    for (size_t i = 0; i < SG_COUNT_OF(commands); i++)
        if (!c || c == &commands[i]) {
            char both[40];
            snprintf(both, sizeof both, "%s %s", commands[i].name, commands[i].args);
            printf("  %-18s %s\n", both, commands[i].help);
        }
    for (size_t i = 0; c && i < SG_COUNT_OF(longer); i++)
        if (strcmp(longer[i].name, c->name) == 0)
            board_say(stdout, a->style, "%s", longer[i].text);
    if (!c) {
        puts("Any beginning of a name will do if it is of one only. `help flip` tells more.");
        board_legend(stdout, a->style);
    }
    return SG_OK;
}

/* ---- one line after another ---- */

enum { MAX_WORDS = 80 };

static sg_status obey(app *a, char *line, sg_error *err)
{
    char *words[MAX_WORDS];
    int n = 0;
    const command *c = NULL;

    for (char *word = strtok(line, " \t"); word; word = strtok(NULL, " \t")) {
        if (n == MAX_WORDS)
            return sg_fail(err, SG_EARG, "a line of more than %d words", MAX_WORDS);
        words[n++] = word;
    }
    if (n == 1 && strlen(words[0]) == 2 && sg_othello_parse(a->s.size, words[0]) >= 0)
        return do_play(a, 1, words, err);
    SG_TRY(find_command(words[0], &c, err));
    if (n - 1 < c->least || (c->most >= 0 && n - 1 > c->most))
        return sg_fail(err, SG_EARG, c->args[0] ? "`%s` wants %s" : "`%s` stands alone%s", c->name, c->args);
    return c->run(a, n - 1, words + 1, err);
}

static void answer_json(app *a, const char *text, int line, sg_status status, const sg_error *err)
{
    json_t *state = session_json(&a->s),
           *root = json_pack("{s:s, s:i, s:b}", "command", text, "line", line, "ok", status == SG_OK);
    if (root && status != SG_OK)
        json_object_set_new(root, "error", json_string(err->text));
    if (root)
        json_object_update(root, a->more);
    if (root)
        json_object_set_new(root, "state", state ? state : json_null());
    if (!root || json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0)
        fprintf(stderr, "sightglass: line %d: the answer could not be written as JSON\n", line);
    putchar('\n');
    json_decref(root);
}

/* Runs all lines; returns how many failed, or -1 where they could not be read. */
static int converse(app *a, line_reader *lines, const char *name)
{
    int n_failed = 0;
    char *text = NULL;
    sg_error err;

    for (int line = 1; !a->quit; line++) {
        const line_kind kind = line_next(lines, &text);
        if (kind == LINE_CANCELLED) {
            if (a->person)
                putchar('\n');
            continue;
        }
        if (kind == LINE_END && a->person)
            putchar('\n');
        if (kind == LINE_END)
            break;
        if (kind == LINE_FAILED) {
            fprintf(stderr, "sightglass: %s could not be read on: %s\n", name, strerror(errno));
            return -1;
        }
        text += strspn(text, " \t");
        char *end = text + strlen(text);
        while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
            *--end = 0;
        if (*text == '#')
            continue;
        if (!*text) { /* a person who pages through a game */
            if (!a->person || a->s.now.n_moves == a->s.n_known)
                continue;
            text = strdup("redo");
        } else {
            text = strdup(text);
        }
        char *copy = text ? strdup(text) : NULL;
        a->more = json_object();
        if (!a->person && !a->json && text)
            printf("%s> %s\n", a->drawn ? "\n" : "", text);
        a->drawn = true;
        const sg_status status = copy ? obey(a, copy, &err) : sg_fail(&err, SG_ENOMEM, "out of memory for a line");
        if (a->json && text)
            answer_json(a, text, line, status, &err);
        n_failed += status != SG_OK;
        if (status != SG_OK && a->person)
            board_say(stdout, a->style, "%s.", err.text);
        fflush(stdout);
        if (status != SG_OK && !a->person)
            fprintf(stderr, "sightglass: %s:%d: %s: %s\n", name, line, text ? text : "", err.text);
        json_decref(a->more);
        free(text);
        free(copy);
    }
    return n_failed;
}

/* ---- opening ---- */

/* Looks for a folder of models where the project keeps them: below the current folder, beside the command's own source
 * tree, where it is installed. `tried` collects what was looked for. */
static bool look_for(const char *name, char *out, size_t bytes, sg_str *tried)
{
    char self[3000] = "";
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = n > 0 ? strrchr(self, '/') : NULL;
    static const char *const places[] = {"models/", "/../models/", "/../share/sightglass/models/"};

    if (slash)
        *slash = 0;
    for (int i = 0; i < (slash ? 3 : 1); i++) {
        char config[4096];
        snprintf(out, bytes, "%s%s%s", i ? self : "", places[i], name);
        snprintf(config, sizeof config, "%s/config.json", out);
        if (access(config, R_OK) == 0)
            return true;
        sg_str_printf(tried, "%s%s", tried->bytes ? ", " : "", out);
    }
    return false;
}

static sg_status find_model(char *out, size_t bytes, sg_error *err)
{
    sg_str tried = {0};
    sg_status status = SG_OK;

    if (!look_for("othello8", out, bytes, &tried)) {
        if (look_for("othello6", out, bytes, &tried))
            fprintf(stderr, "sightglass: models/othello8 is not there; %s, of the 6x6 board, is opened instead\n", out);
        else
            status = sg_fail(err, SG_ENOTFOUND,
                             "no model of Othello was found (looked for %s): name one, sightglass othello MODEL",
                             tried.text ? tried.text : "");
    }
    sg_str_free(&tried);
    return status;
}

typedef struct request {
    const char *model, *probes, *script, *game, *games;
    long long layer, seed;
    bool json, no_colour;
} request;

/* The first position: the user's, or some moves into a random game, where there is something to be seen. */
static sg_status first_position(app *a, const request *q, sg_error *err)
{
    static const int moves[] = {[4] = 4, [6] = 12, [8] = 20};
    if (q->game)
        return replay(a, q->game, err);
    if (q->games) {
        const char *colon = strrchr(q->games, ':');
        long long line = 1;
        char path[4096];
        if (!colon)
            return sg_fail(err, SG_EARG, "--games is \"%.100s\", wanted FILE:N", q->games);
        SG_TRY(cli_whole("--games FILE:N", colon + 1, 1, INT64_MAX, &line, err));
        snprintf(path, sizeof path, "%.*s", (int)(colon - q->games), q->games);
        return load(a, path, line, err);
    }
    return session_random(&a->s, moves[a->s.size], err);
}

static void greet(const app *a, const request *q)
{
    const sg_model_info *in = sg_model_get_info(sg_mind_model(a->s.mind));
    char weights[32];
    snprintf(weights, sizeof weights, in->n_parameters < 100000 ? "%.0f" : "%.1f million",
             (double)in->n_parameters / (in->n_parameters < 100000 ? 1 : 1e6));
    board_say(stdout, a->style,
              "%s: %lld layers of width %lld, %s parameters. It was trained on the moves of Othello games and never "
              "shown a board. The right one is read inside it.%s",
              in->path, (long long)in->n_layers, (long long)in->d_model, weights,
              !q->game && !q->games ? " This is a random game." : "");
    if (a->person)
        puts("Try: flip d4, saliency, best, undo, layers, help, quit.");
    putchar('\n');
}

static int run(const request *q)
{
    char model[4096];
    sg_error err = {SG_OK, ""};
    sg_mind *m = NULL;
    app *a = calloc(1, sizeof *a);
    FILE *from = stdin;
    sg_status status = a ? SG_OK : sg_fail(&err, SG_ENOMEM, "out of memory");
    const char *name = q->script && strcmp(q->script, "-") != 0 ? q->script : "standard input";
    int code = 0;

    if (status == SG_OK && q->script && strcmp(q->script, "-") != 0 && !(from = fopen(q->script, "r")))
        status = sg_fail(&err, SG_ENOTFOUND, "%s: %s", q->script, strerror(errno));
    if (status == SG_OK && !q->model)
        status = find_model(model, sizeof model, &err);
    else if (status == SG_OK)
        snprintf(model, sizeof model, "%s", q->model);
    if (status == SG_OK)
        status = sg_mind_open(&m, model, q->probes, &err);
    for (int i = 0; status == SG_OK && sg_mind_warning(m, i); i++)
        fprintf(stderr, "sightglass: warning: %s\n", sg_mind_warning(m, i));
    if (status == SG_OK)
        status = session_begin(&a->s, m, (uint64_t)q->seed, &err);
    if (status == SG_OK && q->layer >= 0 && (a->s.reader = sg_mind_reader_of(m, (int)q->layer)) < 0)
        status = sg_fail(&err, SG_EARG, "--layer is %lld, and there is no probe of that layer", q->layer);
    if (status == SG_OK)
        status = first_position(a, q, &err);
    if (status != SG_OK) {
        code = cli_fail(&err);
    } else {
        const char *no = getenv("NO_COLOR");
        const char *words[SG_COUNT_OF(commands) + 1] = {NULL};
        for (size_t i = 0; i < SG_COUNT_OF(commands); i++)
            words[i] = commands[i].name;
        setlocale(LC_CTYPE, "");
        a->json = q->json;
        a->person = !q->script && !q->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
        a->style.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
        a->style.colour = isatty(STDOUT_FILENO) && !q->no_colour && !q->json && !(no && no[0]);
        if (!a->json) {
            greet(a, q);
            draw(a);
        }
        a->drawn = true;
        fflush(stdout);
        line_reader *lines = line_open(from, a->person ? "> " : NULL, words);
        const int n_failed = lines ? converse(a, lines, name) : -1;
        line_close(lines);
        code = n_failed == 0 || (a->person && n_failed > 0) ? 0 : EXIT_FAILED;
        if (n_failed > 0 && !a->person)
            fprintf(stderr, "sightglass: %d of the commands in %s failed\n", n_failed, name);
        if (fflush(stdout) != 0 || ferror(stdout)) {
            fprintf(stderr, "sightglass: standard output could not be written\n");
            code = EXIT_FAILED;
        }
    }
    if (a)
        session_end(&a->s);
    sg_mind_close(m);
    if (from && from != stdin)
        fclose(from);
    free(a);
    return code;
}

int cmd_othello(int argc, char **argv)
{
    static const struct option options[] = {{"probes", required_argument, NULL, 'p'},
                                            {"layer", required_argument, NULL, 'l'},
                                            {"script", required_argument, NULL, 's'},
                                            {"game", required_argument, NULL, 'g'},
                                            {"games", required_argument, NULL, 'G'},
                                            {"seed", required_argument, NULL, 'S'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"no-colour", no_argument, NULL, 'n'},
                                            {"no-color", no_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    request q = {.layer = -1, .seed = 1};
    sg_error err = {SG_OK, ""};
    sg_status status = SG_OK;

    for (int o; status == SG_OK && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'p':
            q.probes = optarg;
            break;
        case 'l':
            status = cli_whole("--layer", optarg, 0, SG_MIND_MAX_LAYERS - 1, &q.layer, &err);
            break;
        case 's':
            q.script = optarg;
            break;
        case 'g':
            q.game = optarg;
            break;
        case 'G':
            q.games = optarg;
            break;
        case 'S':
            status = cli_whole("--seed", optarg, 0, INT64_MAX, &q.seed, &err);
            break;
        case 'j':
            q.json = true;
            break;
        case 'n':
            q.no_colour = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    if (status != SG_OK)
        return cli_fail(&err);
    if (argc - optind > 1)
        return cli_usage("othello", "wanted one MODEL, got %d", argc - optind);
    if (q.game && q.games)
        return cli_usage("othello", "wanted either --game or --games");
    q.model = argv[optind];
    return run(&q);
}
