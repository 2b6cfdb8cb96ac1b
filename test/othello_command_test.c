/* sightglass othello as a user meets it: what it draws, what it answers to scripts, what it refuses, and that its edits
 * are those of sightglass run. */
#include "check.h"
#include "folder.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "othello_fixture.h"
#include "sightglass/safetensors.h"

#define TIME_LIMIT_S 60
enum { PATH_BYTES = 400, MAX_ARGS = 20, N_SQUARES = 36 };

static char folder[200], zero[PATH_BYTES], drawn[PATH_BYTES];

static const char *in_folder(char path[PATH_BYTES], const char *name)
{
    CHECK(snprintf(path, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES);
    return path;
}

static const char *spill(char path[PATH_BYTES], const char *name, const char *text)
{
    FILE *f = fopen(in_folder(path, name), "wb");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
    return path;
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    CHECK(f && fseek(f, 0, SEEK_END) == 0);
    const size_t n = (size_t)ftell(f);
    rewind(f);
    char *data = calloc(n + 1, 1);
    CHECK(data && fread(data, 1, n, f) == n);
    fclose(f);
    return data;
}

static int begin(void **state)
{
    (void)state;
    char config[PATH_BYTES], probes[PATH_BYTES], means[PATH_BYTES];
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-othello-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("LC_ALL", "C", 1);
    in_folder(config, "config.json");
    fixture_model(config, in_folder(zero, "zero"), 6, true);
    fixture_constant_probes(zero, in_folder(probes, "zero/probes"), 6, "board_rel");
    fixture_model(config, in_folder(drawn, "drawn"), 6, false);
    fixture_fit(drawn, in_folder(probes, "drawn/probes"), 6, "board_rel", SG_PROBE_RIDGE);
    fixture_fit(drawn, in_folder(means, "drawn/probes/mean"), 6, "board_rel", SG_PROBE_MEAN);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

/* ---- the command ---- */

typedef struct outcome {
    int status; /* exit status, or minus the signal */
    char *out, *err;
} outcome;

/* The words up to NULL, with `input` on stdin. */
static outcome command(const char *input, ...)
{
    char *argv[MAX_ARGS + 2] = {strdup("sightglass")}, in[PATH_BYTES], out[PATH_BYTES], errors[PATH_BYTES];
    int n = 1, status = 0;
    va_list args;
    va_start(args, input);
    for (const char *a; (a = va_arg(args, const char *));) {
        CHECK(n < MAX_ARGS);
        argv[n++] = strdup(a);
    }
    va_end(args);
    spill(in, "stdin", input);
    in_folder(out, "stdout");
    in_folder(errors, "stderr");
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (!freopen(in, "r", stdin) || !freopen(out, "w", stdout) || !freopen(errors, "w", stderr))
            _exit(126);
        alarm(TIME_LIMIT_S);
        execv(SG_COMMAND, argv);
        _exit(127);
    }
    CHECK(waitpid(child, &status, 0) == child);
    for (int i = 0; i < n; i++)
        free(argv[i]);
    outcome o = {.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)};
    o.out = slurp(out);
    o.err = slurp(errors);
    if (strstr(o.err, "Sanitizer") || strstr(o.err, "runtime error:"))
        o.status = -1000;
    return o;
}

static void outcome_free(outcome *o)
{
    free(o->out);
    free(o->err);
}

static void expect(outcome o, int status, const char *out, const char *err)
{
    if (o.status != status) {
        print_error("exit status %d, wanted %d:\n%s%s\n", o.status, status, o.out, o.err);
        fail();
    }
    CHECK_TEXT(o.out, out);
    CHECK_TEXT(o.err, err);
    outcome_free(&o);
}

#define OTHELLO(input, ...) command(input, "othello", __VA_ARGS__, NULL)

/* The answers to a script, one object each; json_decref the array. */
static json_t *answers(const char *model, const char *game, const char *script)
{
    outcome o = OTHELLO(script, model, "--json", "--game", game);
    json_t *list = json_array();
    if (o.status != 0 || o.err[0])
        print_error("exit status %d: %s\n", o.status, o.err);
    CHECK(o.status == 0);
    for (char *line = strtok(o.out, "\n"); line; line = strtok(NULL, "\n")) {
        json_error_t at;
        json_t *root = json_loads(line, 0, &at);
        CHECK(root != NULL);
        json_array_append_new(list, root);
    }
    outcome_free(&o);
    return list;
}

static const json_t *state_of(const json_t *list, size_t i)
{
    const json_t *state = json_object_get(json_array_get(list, i), "state");
    CHECK(state != NULL);
    return state;
}

static int n_moves(const json_t *list, size_t i)
{
    return (int)json_array_size(json_object_get(state_of(list, i), "moves"));
}

static double p_of(const json_t *next, const char *square)
{
    const json_t *moves = json_object_get(next, "moves");
    for (size_t i = 0; i < json_array_size(moves); i++) {
        const json_t *move = json_array_get(moves, i);
        if (strcmp(json_string_value(json_object_get(move, "square")), square) == 0)
            return json_real_value(json_object_get(move, "p"));
    }
    fail_msg("no move %s", square);
    return 0;
}

/* 0 empty, 1 mine, 2 yours, as the layer shown reads it. */
static int read_of(const json_t *list, size_t i, const char *square)
{
    const json_t *board = json_object_get(json_object_get(state_of(list, i), "reading"), "empty_mine_yours");
    const json_t *p = json_array_get(board, (size_t)sg_othello_parse(6, square));
    int best = 0;
    for (int c = 1; c < 3; c++)
        if (json_real_value(json_array_get(p, (size_t)c)) > json_real_value(json_array_get(p, (size_t)best)))
            best = c;
    CHECK(json_array_size(p) == 3);
    return best;
}

/* ---- what it draws ---- */

/* With numbers that are all zero each of the 33 tokens has 3.0 %, and the constant probes read three discs. */
static const char letters[] = "Move 2: b2 by white, 1 turned. Black is to move. X 3, O 3\n"
                              "  the board              the model, layer 2   its next move\n"
                              "   a  b  c  d  e  f       a  b  c  d  e  f \n"
                              "1  .  .  .  .  .  .    1 !X !O !X7 .  .  .    a1   3.0 % ######## x\n"
                              "2  + (O) X  .  .  .    2  . !. !.  .  .  .    b1   3.0 % ######## x\n"
                              "3  .  +  O  X  .  .    3  .  . !. !.  .  .    c1   3.0 % ######## x\n"
                              "4  .  .  X  O  +  .    4  .  . !. !.  .  .    d1   3.0 % ######## x\n"
                              "5  .  .  .  +  .  .    5  .  .  .  .  .  .    e1   3.0 % ######## x\n"
                              "6  .  .  .  .  .  .    6  .  .  .  .  .  .    f1   3.0 % ######## x\n"
                              "It has 27 of 36 squares right (0 of 6 discs). 12.1 % of its bets are on legal\n"
                              "moves; of its 4 likeliest squares 4 are illegal.\n";

static void the_boards_are_drawn_in_letters(void **state)
{
    (void)state;
    outcome o = OTHELLO("", zero, "--game", "c2b2");
    CHECK(strstr(o.out, "\033") == NULL);
    expect(o, 0, letters, "");
}

static void the_boards_are_drawn_in_discs_where_the_locale_has_them(void **state)
{
    (void)state;
    setenv("LC_ALL", "C.UTF-8", 1);
    outcome o = OTHELLO("", zero, "--game", "c2b2");
    setenv("LC_ALL", "C", 1);
    CHECK_TEXT(o.out, "2  + (\xe2\x97\x8b) \xe2\x97\x8f  \xc2\xb7  \xc2\xb7  \xc2\xb7    2  \xc2\xb7 !\xc2\xb7");
    CHECK_TEXT(o.out, "a1   3.0 % \xe2\x96\x88\xe2\x96\x88");
    expect(o, 0, "\xe2\x97\x8f 3, \xe2\x97\x8b 3", "");
}

static void nothing_is_wider_than_a_terminal(void **state)
{
    (void)state;
    outcome o = OTHELLO(
        "set a1 white\nsaliency\nlayers\nmoves\nhelp\nhelp flip\nundo\nset a1 black\nset f6 mine\nrandom 30\n", drawn);
    CHECK(o.status == 0);
    for (const char *line = o.out; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strcspn(line, "\n") > 80 && strncmp(line, "  sightglass run", 16) != 0)
            fail_msg("%zu columns: %.*s", strcspn(line, "\n"), (int)strcspn(line, "\n"), line);
    }
    outcome_free(&o);
}

/* ---- the game ---- */

static void a_game_is_played_undone_and_replayed(void **state)
{
    (void)state;
    json_t *a =
        answers(zero, "",
                "c2\nplay b2\nundo\nundo 5\nredo 2\ngoto 1\nD2\nreplay c2 b2, a2\nnew\nrandom 4\n# no command\n\n"
                "undo 4\nbo\n");
    static const int moves[] = {1, 2, 1, 0, 2, 1, 2, 3, 0, 4, 0, 0};
    CHECK(json_array_size(a) == sizeof moves / sizeof moves[0]);
    for (size_t i = 0; i < json_array_size(a); i++) {
        if (n_moves(a, i) != moves[i])
            print_error("answer %zu: %d moves, wanted %d\n", i, n_moves(a, i), moves[i]);
        CHECK(n_moves(a, i) == moves[i]);
    }
    const json_t *s = state_of(a, 6); /* c2, then d2 in place of b2 */
    CHECK(strcmp(json_string_value(json_array_get(json_object_get(s, "moves"), 1)), "d2") == 0);
    CHECK(strcmp(json_string_value(json_array_get(json_object_get(s, "board"), 1)), "..XO..") == 0);
    CHECK(strcmp(json_string_value(json_array_get(json_object_get(s, "board"), 2)), "..XO..") == 0);
    CHECK(strcmp(json_string_value(json_object_get(s, "to_move")), "black") == 0);
    CHECK(json_is_null(json_object_get(state_of(a, 3), "next"))); /* nothing has been seen */
    json_decref(a);
}

static void the_model_plays_its_likeliest_legal_move(void **state)
{
    (void)state;
    json_t *a = answers(drawn, "c2", "board\nbest\nsample 3\n");
    const json_t *moves = json_object_get(json_object_get(state_of(a, 0), "next"), "moves");
    const char *want = NULL;
    for (size_t i = json_array_size(moves); i-- > 0;)
        if (json_is_true(json_object_get(json_array_get(moves, i), "legal")))
            want = json_string_value(json_object_get(json_array_get(moves, i), "square"));
    const char *got = json_string_value(json_array_get(json_object_get(state_of(a, 1), "moves"), 1));
    CHECK(want && got && strcmp(want, got) == 0);
    CHECK(n_moves(a, 2) == 5);
    json_decref(a);
}

static void games_are_loaded_from_a_file(void **state)
{
    (void)state;
    char path[PATH_BYTES], where[PATH_BYTES + 8], script[PATH_BYTES * 2];
    spill(path, "games.txt", "# two games\n1999 +3 c2b2a2\nc2d2\n");
    snprintf(script, sizeof script, "load %s\nredo\nredo\n", path);
    json_t *a = answers(zero, "", script);
    CHECK(n_moves(a, 0) == 1 && n_moves(a, 2) == 3);
    json_decref(a);
    snprintf(where, sizeof where, "%s:1", path);
    expect(OTHELLO("redo 2\n", zero, "--games", where), 0, "Move 3: a2 by black", "");
    snprintf(where, sizeof where, "%s:3", path);
    expect(OTHELLO("", zero, "--games", where), 2, "", "has games 1 to 2, no game 3");
    spill(path, "games.txt", "c2b2\nc2f6\n");
    snprintf(script, sizeof script, "load %s 1\n", path);
    expect(OTHELLO(script, zero, "--game", "c2"), 1, "", "2"); /* the line that is no game */
}

/* ---- edits ---- */

/* Moves, likeliest first, of a position without edits and with one, as `run` has them at the last token. */
static void same_as_run(const char *edits, const json_t *next)
{
    char path[PATH_BYTES], name[4];
    sg_error err;
    sg_safetensors *st = NULL;
    const sg_tensor *logits = NULL;
    expect(command("", "run", drawn, "--tokens", edits, "--edits", edits, "--fetch", "logits", "--out",
                   in_folder(path, "logits.safetensors"), NULL),
           0, "", "");
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    CHECK_OK(sg_safetensors_get(&logits, st, "logits", &err), &err);
    const sg_dim n = logits->dims[2];
    const float *last = (const float *)logits->data + (logits->dims[1] - 1) * n;
    double sum = 0;
    for (sg_dim t = 0; t < n; t++)
        sum += exp((double)last[t]);
    for (int t = 1; t < n; t++)
        CHECK_NEAR(p_of(next, sg_othello_name(6, sg_othello_square(6, t), name)), exp((double)last[t]) / sum, 1e-5,
                   1e-4);
    sg_safetensors_close(st);
}

static void an_edit_is_what_run_makes_of_the_saved_file(void **state)
{
    (void)state;
    char path[PATH_BYTES], script[PATH_BYTES * 2];
    /* Two squares here, then a move, and one more there: edits of two positions. */
    snprintf(script, sizeof script, "flip c3\nset a1 mine\nsave %s\n", in_folder(path, "edits.json"));
    json_t *a = answers(drawn, "c2b2a2d2", script);
    const json_t *s = state_of(a, 2);
    CHECK(fabs(p_of(json_object_get(s, "next"), "b1") - p_of(json_object_get(s, "next_unedited"), "b1")) > 1e-4);
    same_as_run(path, json_object_get(s, "next"));
    json_decref(a);
    snprintf(script, sizeof script, "flip c3\nset a1 mine\nrandom\nflip d4\nsave %s\n", path);
    a = answers(drawn, "c2b2a2d2", script);
    CHECK(json_array_size(json_object_get(state_of(a, 4), "edits")) == 3);
    json_t *saved = json_load_file(path, 0, NULL);
    const json_t *edits = json_object_get(saved, "edits");
    CHECK(json_array_size(edits) > 1 && json_array_size(json_object_get(saved, "tokens")) == 5);
    for (size_t i = 0; i < json_array_size(edits); i++) { /* each stays where it was made */
        const json_t *at = json_object_get(json_array_get(edits, i), "positions");
        CHECK(json_array_size(at) == 1);
        CHECK(json_integer_value(json_array_get(at, 0)) == (i < json_array_size(edits) / 2 ? 3 : 4));
    }
    json_decref(saved);
    same_as_run(path, json_object_get(state_of(a, 4), "next"));
    json_decref(a);
}

static void a_flip_is_read_and_a_second_one_undoes_it(void **state)
{
    (void)state;
    json_t *a = answers(drawn, "c2b2a2d2",
                        "layer 1\nflip d4\nset e5 yours\nset e5 empty\nflip d4\nstrength 3\nflip d4\nclear\n");
    const json_t *plain = json_object_get(state_of(a, 0), "next");
    const int before = read_of(a, 0, "d4");
    CHECK(before == 1 || before == 2);
    CHECK(read_of(a, 1, "d4") == 3 - before);
    CHECK(read_of(a, 2, "e5") == 2 && read_of(a, 2, "d4") == 3 - before);
    CHECK(read_of(a, 3, "e5") == 0);
    CHECK(json_equal(json_object_get(state_of(a, 4), "next"), plain)); /* to the bit */
    CHECK(json_is_null(json_object_get(state_of(a, 4), "next_unedited")));
    CHECK(read_of(a, 6, "d4") == 3 - before);
    CHECK(json_equal(json_object_get(state_of(a, 7), "next"), plain));
    CHECK(json_is_real(json_object_get(json_object_get(state_of(a, 1), "next_pushed_randomly"), "legal_mass")));
    CHECK(json_is_null(json_object_get(state_of(a, 4), "next_pushed_randomly")));
    /* Strength moves further. */
    const double near = p_of(json_object_get(state_of(a, 1), "next"), "b1"), p = p_of(plain, "b1"),
                 far = p_of(json_object_get(state_of(a, 6), "next"), "b1");
    CHECK(fabs(far - p) > fabs(near - p));
    json_decref(a);
}

static void many_squares_are_set_at_once(void **state)
{
    (void)state;
    static const char *const squares[] = {"a1", "b1", "c1", "d1", "e1", "f1", "a6", "b6", "c6", "d6", "e6", "f6"};
    char script[600] = "layer 1\n", *at = script + strlen(script);
    for (int i = 0; i < 12; i++)
        at += sprintf(at, "set %s %s\n", squares[i], i % 2 ? "mine" : "yours");
    json_t *a = answers(drawn, "c2b2a2d2", script);
    for (int i = 0; i < 12; i++)
        if (read_of(a, 12, squares[i]) != (i % 2 ? 1 : 2))
            fail_msg("%s is read as %d", squares[i], read_of(a, 12, squares[i]));
    json_decref(a);
}

/* With the classes' means beside the probes the model is pushed another way, to the same reading. */
static void an_edit_follows_the_means_where_there_are_some(void **state)
{
    (void)state;
    char dir[PATH_BYTES];
    fixture_fit(drawn, in_folder(dir, "alone"), 6, "board_rel", SG_PROBE_RIDGE);
    json_t *with = answers(drawn, "c2b2a2d2", "layer 1\nflip d4\n"), *alone = json_array();
    outcome o = OTHELLO("layer 1\nflip d4\n", drawn, "--json", "--game", "c2b2a2d2", "--probes", dir);
    for (char *line = strtok(o.out, "\n"); line; line = strtok(NULL, "\n"))
        json_array_append_new(alone, json_loads(line, 0, NULL));
    CHECK(read_of(alone, 1, "d4") == read_of(with, 1, "d4") && read_of(with, 1, "d4") != read_of(with, 0, "d4"));
    CHECK_NEAR(p_of(json_object_get(state_of(alone, 0), "next"), "b1"),
               p_of(json_object_get(state_of(with, 0), "next"), "b1"), 0, 0);
    CHECK(fabs(p_of(json_object_get(state_of(alone, 1), "next"), "b1") -
               p_of(json_object_get(state_of(with, 1), "next"), "b1")) > 1e-4);
    outcome_free(&o);
    json_decref(with);
    json_decref(alone);
}

static void the_edited_board_says_what_is_legal(void **state)
{
    (void)state;
    /* c2 b2: black may play a2, b3, e4, d5. With b2 black it may no longer play a2, nor b3. */
    json_t *a = answers(drawn, "c2b2", "set b2 black\n");
    const json_t *legal = json_object_get(state_of(a, 0), "legal");
    for (size_t i = 0; i < json_array_size(legal); i++)
        CHECK(strcmp(json_string_value(json_array_get(legal, i)), "a2") != 0);
    CHECK(json_array_size(legal) > 0);
    json_decref(a);
}

static void an_edit_belongs_to_its_position(void **state)
{
    (void)state;
    json_t *a = answers(drawn, "c2b2a2", "board\nd2\nflip c3\nundo\nredo\nrandom\nundo 2\ne3\n");
    const json_t *edits = json_object_get(state_of(a, 3), "edits");
    CHECK(json_equal(json_object_get(state_of(a, 3), "next"), json_object_get(state_of(a, 0), "next")));
    CHECK(json_array_size(edits) == 1 && json_is_false(json_object_get(json_array_get(edits, 0), "in_place")));
    CHECK(json_equal(json_object_get(state_of(a, 4), "next"), json_object_get(state_of(a, 2), "next")));
    CHECK(json_is_object(json_object_get(state_of(a, 5), "next_unedited"))); /* still in place one move on */
    CHECK(json_array_size(json_object_get(state_of(a, 7), "edits")) == 0);   /* another move at its place */
    json_decref(a);
}

static void saliency_is_one_flip_at_a_time(void **state)
{
    (void)state;
    json_t *a = answers(drawn, "c2b2a2d2", "saliency b3\nflip d4\nclear\nflip c2\n");
    const json_t *saliency = json_object_get(json_array_get(a, 0), "saliency"),
                 *discs = json_object_get(saliency, "discs");
    int n_seen = 0;
    CHECK(json_array_size(discs) == 8); /* four in the middle, four moves */
    CHECK_NEAR(json_real_value(json_object_get(saliency, "p")), p_of(json_object_get(state_of(a, 0), "next"), "b3"),
               1e-6, 0);
    for (size_t i = 0; i < json_array_size(discs); i++) {
        const json_t *disc = json_array_get(discs, i);
        const char *square = json_string_value(json_object_get(disc, "square"));
        const double p_if = json_real_value(json_object_get(disc, "p_if"));
        const size_t at = strcmp(square, "d4") == 0 ? 1 : strcmp(square, "c2") == 0 ? 3 : 0;
        const int truth = strcmp(square, "d4") == 0 ? 2 : 1;
        /* Saliency turns over what is on the board, flip what is read: the same where that is right. */
        if (at == 0 || read_of(a, 0, square) != truth)
            continue;
        n_seen++;
        CHECK_NEAR(p_if, p_of(json_object_get(state_of(a, at), "next"), "b3"), 1e-6, 1e-4);
        CHECK_NEAR(json_real_value(json_object_get(disc, "effect_nats")),
                   log(json_real_value(json_object_get(saliency, "p")) / p_if), 1e-4, 0);
    }
    CHECK(n_seen > 0);
    json_decref(a);
}

/* ---- what it refuses ---- */

static void what_fails_is_told_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *line, *why;
    } wrong[] = {
        {"a1", "a1 would turn no disc; white may play"},
        {"c3", "c3 holds a disc already"},
        {"g1", "neither a square nor a command"},
        {"play g1", "\"g1\" is no square: they are a1 to f6"},
        {"bst", "the nearest is best"},
        {"s", "\"s\" may be sample, set, strength, span, save, saliency"},
        {"flip", "`flip` wants SQUARE ..."},
        {"new game", "`new` stands alone"},
        {"set d4 green", "is none of empty, black"},
        {"set d4 x", "is none of empty, black"},
        {"layer 9", "the layer is \"9\", wanted a whole number from 0 to 2"},
        {"strength nan", "the strength is \"nan\""},
        {"span 2 1", "layer 2 lies behind layer 1"},
        {"goto 2", "wanted a whole number from 0 to 1"},
        {"redo", "no further move is known"},
        {"replay c2c2", "move 2 is c2, which white may not play"},
        {"load /nowhere/games", "/nowhere/games"},
        {"save /nowhere/edits.json", "nothing is edited here"},
        {"saliency c3", "one of the four squares"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char script[200], path[PATH_BYTES], place[PATH_BYTES + 20];
        snprintf(script, sizeof script, "# a comment\n%s\nlegal\n", wrong[i].line);
        spill(path, "wrong.script", script);
        snprintf(place, sizeof place, "%s:2: ", path);
        outcome o = OTHELLO("", zero, "--game", "c2", "--script", path);
        CHECK_TEXT(o.err, place);
        CHECK_TEXT(o.err, "1 of the commands in");
        expect(o, 1, "On the board: b2 d2 b4\n", wrong[i].why); /* the next command is obeyed */
    }
    json_t *root = NULL;
    outcome o = OTHELLO("bst\n", zero, "--json");
    CHECK(o.status == 1 && (root = json_loads(o.out, 0, NULL)) && json_is_false(json_object_get(root, "ok")));
    CHECK_TEXT(json_string_value(json_object_get(root, "error")), "the nearest is best");
    json_decref(root);
    outcome_free(&o);
}

static void a_move_is_wanted_before_the_model_is_asked(void **state)
{
    (void)state;
    static const char *const asked[] = {"best\n",     "sample\n",      "flip c3\n", "set a1 black\n",
                                        "saliency\n", "saliency a1\n", "layers\n"};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        expect(OTHELLO(asked[i], drawn, "--game", ""), 1, "No move yet", "");
    expect(OTHELLO("moves\nlegal\nboard\n", drawn, "--game", ""), 0, "No move yet", "");
}

static void wrong_words_are_refused(void **state)
{
    (void)state;
    char text[PATH_BYTES];
    expect(OTHELLO("", zero, zero), 2, "", "wanted one MODEL, got 2");
    expect(OTHELLO("", zero, "--layer", "x"), 2, "", "--layer");
    expect(OTHELLO("", zero, "--layer", "7"), 2, "", "no probe of that layer");
    expect(OTHELLO("", zero, "--game", "c2c2"), 1, "", "move 2 is c2");
    expect(OTHELLO("", zero, "--games", "file"), 2, "", "wanted FILE:N");
    expect(OTHELLO("", zero, "--game", "", "--games", "a:1"), 2, "", "either --game or --games");
    expect(OTHELLO("", zero, "--seed", "-1"), 2, "", "--seed");
    expect(OTHELLO("", zero, "--sead", "1"), 2, "", "sead");
    expect(OTHELLO("", zero, "--script", in_folder(text, "none.script")), 1, "", "none.script");
    expect(OTHELLO("", zero, "--script", folder), 1, "", "could not be read");
    expect(OTHELLO("", "--help"), 0, "usage: sightglass othello", "");
}

static void folders_that_are_no_model_are_named(void **state)
{
    (void)state;
    char dir[PATH_BYTES], path[PATH_BYTES], config[PATH_BYTES];
    in_folder(dir, "broken");
    expect(OTHELLO("", dir), 1, "", "broken");
    CHECK(mkdir(dir, 0700) == 0);
    expect(OTHELLO("", dir), 1, "", "config.json");
    fixture_model(in_folder(config, "config.json"), dir, 6, false);
    expect(OTHELLO("", dir, "--game", "c2"), 0, "Move 1", "no probes in");
    CHECK(truncate(in_folder(path, "broken/model.safetensors"), 1000) == 0);
    expect(OTHELLO("", dir), 1, "", "model.safetensors");
    CHECK(truncate(path, 0) == 0);
    expect(OTHELLO("", dir), 1, "", "model.safetensors");
}

static void a_model_of_something_else_is_refused(void **state)
{
    (void)state;
    char dir[PATH_BYTES], config[PATH_BYTES],
        text[] =
            "{\"model_type\":\"gpt2\",\"n_embd\":8,\"n_layer\":1,\"n_head\":1,\"vocab_size\":50,\"n_positions\":60}";
    sg_error err;
    sg_model *m = NULL;
    sg_graph *g = NULL;
    sg_state *s = NULL;
    spill(config, "other.json", text);
    CHECK_OK(sg_model_new(&m, config, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 1, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 0, &err), &err);
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, in_folder(dir, "other"), &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
    expect(OTHELLO("", dir), 2, "", "has a vocabulary of 50");
}

static void probes_that_do_not_fit_are_warned_of(void **state)
{
    (void)state;
    char dir[PATH_BYTES], path[PATH_BYTES];
    /* Of another model: they are of the right shape, and read all the same. */
    expect(OTHELLO("", drawn, "--game", "c2", "--probes", in_folder(dir, "zero/probes")), 0, "the model, layer 2",
           "3 of the 3 probes");
    /* Of another board. */
    fixture_constant_probes(zero, in_folder(dir, "small"), 4, "board_rel");
    expect(OTHELLO("", zero, "--game", "c2", "--probes", dir), 0, "Move 1", "of a board of another size");
    /* One is broken: the rest reads. */
    fixture_constant_probes(zero, in_folder(dir, "torn"), 6, "board_rel");
    in_folder(path, "torn/board_rel.blocks.2.hook_resid_post.safetensors");
    CHECK(truncate(path, 100) == 0);
    expect(OTHELLO("layers\n", zero, "--game", "c2", "--probes", dir), 0, "the model, layer 1",
           "a probe is passed over");
    expect(OTHELLO("flip c3\n", zero, "--game", "c2", "--probes", in_folder(dir, "nowhere")), 1, "Move 1",
           "no probes in");
}

static void probes_of_colours_read_and_edit_too(void **state)
{
    (void)state;
    char dir[PATH_BYTES];
    fixture_constant_probes(zero, in_folder(dir, "constant"), 6, "board_abs");
    outcome c = OTHELLO("board\nb2\n", zero, "--game", "c2", "--json", "--probes", dir);
    for (int i = 0; i < 2; i++) { /* a1 is read as black: yours while white is to move, then mine */
        json_t *list = json_array();
        json_array_append_new(list, json_loads(strtok(i ? NULL : c.out, "\n"), 0, NULL));
        CHECK(read_of(list, 0, "a1") == (i ? 1 : 2) && read_of(list, 0, "b1") == (i ? 2 : 1));
        json_decref(list);
    }
    outcome_free(&c);
    fixture_fit(drawn, in_folder(dir, "colours"), 6, "board_abs", SG_PROBE_RIDGE);
    outcome o = OTHELLO("layer 1\nflip d4\nrandom\nflip d4\n", drawn, "--game", "c2b2a2d2", "--json", "--probes", dir);
    int seen[4] = {0}, k = 0;
    for (char *line = strtok(o.out, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *root = json_loads(line, 0, NULL), *list = json_array();
        CHECK(root && k < 4);
        json_array_append_new(list, root);
        seen[k++] = read_of(list, 0, "d4");
        json_decref(list);
    }
    CHECK(o.status == 0 && k == 4);
    CHECK(seen[0] > 0 && seen[1] == 3 - seen[0] && seen[2] > 0 && seen[3] == 3 - seen[2]);
    outcome_free(&o);
}

static void a_reader_that_goes_away_ends_it(void **state)
{
    (void)state;
    int ends[2], status = 0;
    char script[PATH_BYTES];
    FILE *f = fopen(in_folder(script, "long.script"), "wb");
    CHECK(f && pipe(ends) == 0);
    for (int i = 0; i < 3000; i++)
        fputs("legal\nboard\n", f);
    fclose(f);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(TIME_LIMIT_S);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(SG_COMMAND, "sightglass", "othello", zero, "--script", script, (char *)NULL);
        _exit(127);
    }
    char first[10];
    close(ends[1]);
    CHECK(read(ends[0], first, sizeof first) > 0);
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE) || (WIFEXITED(status) && WEXITSTATUS(status) == 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_boards_are_drawn_in_letters),
        cmocka_unit_test(the_boards_are_drawn_in_discs_where_the_locale_has_them),
        cmocka_unit_test(nothing_is_wider_than_a_terminal),
        cmocka_unit_test(a_game_is_played_undone_and_replayed),
        cmocka_unit_test(the_model_plays_its_likeliest_legal_move),
        cmocka_unit_test(games_are_loaded_from_a_file),
        cmocka_unit_test(an_edit_is_what_run_makes_of_the_saved_file),
        cmocka_unit_test(a_flip_is_read_and_a_second_one_undoes_it),
        cmocka_unit_test(many_squares_are_set_at_once),
        cmocka_unit_test(an_edit_follows_the_means_where_there_are_some),
        cmocka_unit_test(the_edited_board_says_what_is_legal),
        cmocka_unit_test(an_edit_belongs_to_its_position),
        cmocka_unit_test(saliency_is_one_flip_at_a_time),
        cmocka_unit_test(what_fails_is_told_with_its_line),
        cmocka_unit_test(a_move_is_wanted_before_the_model_is_asked),
        cmocka_unit_test(wrong_words_are_refused),
        cmocka_unit_test(folders_that_are_no_model_are_named),
        cmocka_unit_test(a_model_of_something_else_is_refused),
        cmocka_unit_test(probes_that_do_not_fit_are_warned_of),
        cmocka_unit_test(probes_of_colours_read_and_edit_too),
        cmocka_unit_test(a_reader_that_goes_away_ends_it),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
