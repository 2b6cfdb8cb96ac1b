/* Boards by JSON, against the command, whose numbers come by another way: a game in a session. */
#include <math.h>
#include <stdlib.h>

#include "serve/board_internal.h"

#include "check.h"

static const char *const shipped6 = SG_SOURCE_DIR "/models/othello6", *const shipped8 =
                                                                          SG_SOURCE_DIR "/models/othello8";

typedef struct desk {
    sg_model *model;
    board_desk *d;
} desk;

static desk open_desk(const char *path)
{
    desk k = {0};
    sg_error err;
    CHECK_OK(sg_model_open(&k.model, path, sg_model_defaults(), &err), &err);
    CHECK_OK(board_desk_new(&k.d, k.model, &err), &err);
    return k;
}

static void shut(desk *k)
{
    board_desk_free(k->d);
    sg_model_close(k->model);
}

typedef sg_status question(json_t **out, board_desk *d, const json_t *body, sg_error *err);

static json_t *ask(desk *k, question *of, const char *body)
{
    sg_error err;
    json_t *out = NULL, *in = json_loads(body, 0, NULL);
    CHECK(in != NULL);
    CHECK_OK(of(&out, k->d, in, &err), &err);
    json_decref(in);
    return out;
}

static void refused(desk *k, question *of, const char *body, const char *text)
{
    sg_error err;
    json_t *out = NULL, *in = json_loads(body, 0, NULL);
    CHECK(in != NULL);
    CHECK_STATUS(of(&out, k->d, in, &err), SG_EARG);
    CHECK(err.status == SG_EARG);
    CHECK_TEXT(err.text, text);
    json_decref(in);
}

static const json_t *at(const json_t *root, const char *path)
{
    char part[64];
    while (*path && root) {
        const size_t n = strcspn(path, "/");
        CHECK(n < sizeof part);
        memcpy(part, path, n);
        part[n] = 0;
        root = json_is_array(root) ? json_array_get(root, (size_t)atoi(part)) : json_object_get(root, part);
        path += n + (path[n] != 0);
    }
    CHECK(root != NULL);
    return root;
}

static double number(const json_t *root, const char *path)
{
    return json_number_value(at(root, path));
}

static const char *text(const json_t *root, const char *path)
{
    return json_string_value(at(root, path));
}

/* The last line of what the command prints for a script. */
static json_t *by_command(const char *model, const char *game, const char *script)
{
    char command[2000], *line = NULL, *last = NULL;
    size_t room = 0;
    snprintf(command, sizeof command, "printf '%s' | %s othello %s --game '%s' --json", script, SG_COMMAND, model,
             game);
    FILE *f = popen(command, "r");
    CHECK(f != NULL);
    while (getline(&line, &room, f) > 0) {
        free(last);
        last = strdup(line);
    }
    free(line);
    CHECK(pclose(f) == 0 && last);
    json_t *root = json_loads(last, 0, NULL);
    CHECK(root != NULL);
    free(last);
    return root;
}

/* The command's list of moves by probability, against an array by square. */
static void check_bets(const json_t *bets, const json_t *thought, int size)
{
    const json_t *moves = at(bets, "moves"), *move;
    size_t i;
    json_array_foreach(moves, i, move) CHECK_NEAR(
        json_number_value(json_array_get(at(thought, "next"), (size_t)sg_othello_parse(size, text(move, "square")))),
        number(move, "p"), 2e-6, 1e-4);
    CHECK_NEAR(number(thought, "legal_mass"), number(bets, "legal_mass"), 2e-6, 1e-4);
    CHECK(number(thought, "n_legal") == number(bets, "n_legal") &&
          number(thought, "n_wrong") == number(bets, "n_wrong"));
}

static void check_against_command(const char *model, int size, const char *game, const char *script, const char *body)
{
    desk k = open_desk(model);
    json_t *said = by_command(model, game, script), *got = ask(&k, board_ask, body);
    const json_t *state = at(said, "state"), *reading = at(state, "reading");
    char path[64];
    CHECK(number(got, "size") == size && json_equal(at(got, "legal_wish"), at(state, "legal")));
    CHECK(strcmp(text(got, "to_move"), text(state, "to_move")) == 0);
    const bool edited = !json_is_null(at(state, "next_unedited"));
    check_bets(at(state, "next"), at(got, edited ? "after" : "before"), size);
    if (edited) {
        check_bets(at(state, "next_unedited"), at(got, "unedited"), size);
        CHECK_NEAR(number(got, "controls/legal_mass"), number(state, "next_pushed_randomly/legal_mass"), 2e-6, 1e-4);
        CHECK_NEAR(number(got, "controls/n_wrong"), number(state, "next_pushed_randomly/n_wrong"), 1e-4, 0);
    }
    snprintf(path, sizeof path, "%s/layers/%d", edited ? "after" : "before", (int)number(reading, "layer"));
    const json_t *layer = at(got, path);
    CHECK(number(layer, "n_right") == number(reading, "n_right"));
    CHECK(number(layer, "n_discs_right") == number(reading, "n_discs_right"));
    for (int q = 0; q < size * size; q++)
        for (int c = 0; c < 3; c++) {
            snprintf(path, sizeof path, "empty_mine_yours/%d/%d", q, c);
            CHECK_NEAR(number(layer, path), number(reading, path), 1e-4, 0);
        }
    json_decref(said);
    json_decref(got);
    shut(&k);
}

static void a_position_is_what_the_command_says(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped8, "models/othello8");
    check_against_command(shipped8, 8, "f5d6c3d3c4f4f6", "legal", "{\"moves\": \"f5d6c3d3c4f4f6\"}");
    check_against_command(shipped8, 8, "f5d6c3d3c4f4f6", "legal", "{\"moves\": \"f5d6c3d3c4f4f6g5\", \"ply\": 7}");
}

/* d4 is black there, and so yours. */
static void an_edited_position_is_what_the_command_says(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped8, "models/othello8");
    check_against_command(
        shipped8, 8, "f5d6c3d3c4f4f6", "flip d4",
        "{\"moves\": \"f5d6c3d3c4f4f6\", \"edits\": [{\"ply\": 7, \"squares\": {\"d4\": \"white\"}}]}");
    check_against_command(shipped8, 8, "f5d6c3d3c4f4f6", "span 3 5\\nstrength 0.8\\nset a1 mine\\nset d4 mine",
                          "{\"moves\": \"f5d6c3d3c4f4f6\", \"edits\": [{\"ply\": 7, \"squares\": {\"a1\": \"mine\", "
                          "\"d4\": \"mine\"}, \"first\": 3, \"last\": 5, \"strength\": 0.8}]}");
}

static void saliency_is_what_the_command_says(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped8, "models/othello8");
    desk k = open_desk(shipped8);
    json_t *said = by_command(shipped8, "f5d6c3d3c4f4f6", "saliency g5"),
           *got = ask(&k, board_saliency, "{\"moves\": \"f5d6c3d3c4f4f6\"}");
    const json_t *discs = at(said, "saliency/discs"), *disc;
    const size_t g5 = (size_t)sg_othello_parse(8, "g5");
    const double p = json_number_value(json_array_get(at(got, "next"), g5));
    size_t i;
    CHECK(json_array_size(discs) == 11 && json_array_size(at(got, "discs")) == 11);
    CHECK_NEAR(p, number(said, "saliency/p"), 1e-6, 1e-4);
    json_array_foreach(discs, i, disc)
    {
        for (size_t j = 0; j < 11; j++) {
            const json_t *own = json_array_get(at(got, "discs"), j);
            if (strcmp(text(own, "square"), text(disc, "square")) == 0)
                CHECK_NEAR(log(p / json_number_value(json_array_get(at(own, "next"), g5))), number(disc, "effect_nats"),
                           1e-3, 1e-3);
        }
    }
    CHECK(json_array_size(at(got, "lines/g5")) == 3); /* f5 and e5, closed by d5 */
    json_decref(said);
    json_decref(got);
    shut(&k);
}

/* What all layers that are moved read rightly, set to what it is. */
static void a_board_set_to_what_it_is_changes_no_prediction(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped8, "models/othello8");
    desk k = open_desk(shipped8);
    json_t *plain = ask(&k, board_ask, "{\"moves\": \"f5d6c3d3c4f4f6\"}");
    for (int l = 2; l <= 6; l++) {
        char path[64];
        snprintf(path, sizeof path, "before/layers/%d/n_right", l);
        CHECK(number(plain, path) == 64);
    }
    json_t *same =
        ask(&k, board_ask,
            "{\"moves\": \"f5d6c3d3c4f4f6\", \"edits\": [{\"ply\": 7, \"squares\": {\"d4\": \"black\", \"c3\": "
            "\"black\", \"d3\": \"white\", \"a1\": \"empty\"}}]}");
    CHECK(number(same, "lengths/0") == 0);
    for (int q = 0; q < 64; q++)
        CHECK_NEAR(json_number_value(json_array_get(at(same, "after/next"), (size_t)q)),
                   json_number_value(json_array_get(at(plain, "before/next"), (size_t)q)), 2e-7, 1e-5);
    CHECK(json_equal(at(same, "legal"), at(same, "legal_wish")));
    json_decref(plain);
    json_decref(same);
    shut(&k);
}

/* Taken to a glass that knows nothing of boards, they give the same predictions. */
static void edits_as_data_do_the_same_elsewhere(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped8, "models/othello8");
    desk k = open_desk(shipped8);
    static const char body[] =
        "{\"moves\": \"f5d6c3d3c4f4f6\", \"edits\": [{\"ply\": 5, \"squares\": {\"d3\": \"empty\"}}, {\"ply\": 7, "
        "\"squares\": {\"d4\": \"white\", \"e4\": \"empty\"}}]}";
    json_t *asked = ask(&k, board_ask, body), *data = ask(&k, board_edits, body);
    char *list = json_dumps(at(data, "edits"), 0);
    sg_error err;
    sg_edit_list *edits = NULL;
    sg_glass *glass = NULL;
    sg_value *logits;
    sg_tensor got;
    int32_t tokens[7];
    const int32_t *row = tokens;
    const sg_dim n = 7;
    for (size_t i = 0; i < 7; i++)
        tokens[i] = (int32_t)json_integer_value(json_array_get(at(data, "tokens"), i));
    CHECK_OK(sg_edit_list_parse(&edits, list, strlen(list), "edits", &err), &err);
    CHECK_OK(sg_glass_new(&glass, k.model, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_edit_list(glass, edits, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    CHECK_OK(
        sg_glass_run(glass, &(sg_rows){.n_rows = 1, .tokens = &row, .lengths = &n}, 0, NULL, 1, &logits, &got, &err),
        &err);
    const float *last = (const float *)got.data + 6 * 61;
    double sum = 0;
    for (int t = 0; t < 61; t++)
        sum += exp((double)last[t]);
    for (int q = 0; q < 64; q++)
        if (sg_othello_token(8, q) > 0)
            CHECK_NEAR(json_number_value(json_array_get(at(asked, "after/next"), (size_t)q)),
                       exp((double)last[sg_othello_token(8, q)]) / sum, 1e-5, 1e-3);
    sg_glass_free(glass);
    sg_edit_list_free(edits);
    free(list);
    json_decref(asked);
    json_decref(data);
    shut(&k);
}

static void attention_adds_up_to_one(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped6, "models/othello6");
    desk k = open_desk(shipped6);
    json_t *games = NULL, *in = json_pack("{s:i, s:i, s:i, s:i}", "size", 6, "random", 1, "seed", 4, "n_moves", 12);
    sg_error err;
    char body[300];
    CHECK_OK(board_games(&games, in, &err), &err);
    snprintf(body, sizeof body, "{\"moves\": \"%s\", \"attention\": true}", text(games, "games/0/moves"));
    json_t *got = ask(&k, board_ask, body);
    for (int l = 0; l < 4; l++)
        for (int h = 0; h < 4; h++) {
            char path[64];
            double sum = 0;
            for (int i = 0; i < 12; i++) {
                snprintf(path, sizeof path, "before/attention/%d/%d/%d", l, h, i);
                sum += number(got, path);
            }
            CHECK_NEAR(sum, 1000, 6, 0); /* twelve thousandths, each rounded */
        }
    CHECK(json_is_null(at(got, "after")) && json_is_null(at(got, "controls")));
    json_decref(in);
    json_decref(games);
    json_decref(got);
    shut(&k);
}

/* Edits stay where they were made; later ones wait until the game gets there. */
static void edits_belong_to_their_move(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped8, "models/othello8");
    desk k = open_desk(shipped8);
    static const char format[] =
        "{\"moves\": \"f5d6c3d3c4f4f6\", \"ply\": %d, \"edits\": [{\"ply\": 6, \"squares\": {\"d4\": "
        "\"white\"}}, {\"ply\": 4, \"squares\": {\"d3\": \"empty\"}}]}";
    for (int ply = 0; ply <= 7; ply++) {
        char body[300];
        snprintf(body, sizeof body, format, ply);
        json_t *got = ask(&k, board_ask, body);
        CHECK(json_array_size(at(got, "lengths")) == (size_t)((ply >= 4) + (ply >= 6)));
        CHECK(json_is_null(at(got, "after")) == (ply < 4) && json_is_null(at(got, "before")) == (ply == 0));
        CHECK(json_equal(at(got, "legal"), at(got, "legal_wish")) == (ply != 4 && ply != 6));
        CHECK(ply < 4 || number(got, "controls/n") >= 2);
        json_decref(got);
    }
    shut(&k);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped8, "models/othello8");
    desk k = open_desk(shipped8);
    refused(&k, board_ask, "{\"moves\": \"f5f5\"}", "f5");
    refused(&k, board_ask, "{\"moves\": \"z9\"}", "z9");
    refused(&k, board_ask, "{\"moves\": \"f5\", \"ply\": 2}", "after move 2");
    refused(&k, board_ask, "{\"moves\": \"f5\", \"ply\": -1}", "after move -1");
    refused(&k, board_ask, "{\"moves\": \"f5\", \"controls\": 99}", "99 controls");
    refused(&k, board_ask, "{\"moves\": \"f5\", \"edits\": [{\"ply\": 0, \"squares\": {}}]}", "after move 0");
    refused(&k, board_ask, "{\"moves\": \"f5\", \"edits\": [{\"ply\": 1, \"squares\": {\"z1\": \"mine\"}}]}", "z1");
    refused(&k, board_ask, "{\"moves\": \"f5\", \"edits\": [{\"ply\": 1, \"squares\": {\"a1\": \"red\"}}]}", "red");
    refused(&k, board_ask,
            "{\"moves\": \"f5\", \"edits\": [{\"ply\": 1, \"squares\": {\"a1\": \"mine\"}, \"first\": 9}]}", "layer 8");
    refused(&k, board_ask,
            "{\"moves\": \"f5\", \"edits\": [{\"ply\": 1, \"squares\": {\"a1\": \"mine\"}, \"strength\": 1e9}]}",
            "strength");
    refused(&k, board_ask,
            "{\"moves\": \"f5\", \"edits\": [{\"ply\": 1, \"squares\": {\"a1\": \"mine\"}}, {\"ply\": 1, \"squares\": "
            "{\"a2\": "
            "\"mine\"}}]}",
            "two edits");
    refused(&k, board_saliency, "{\"moves\": \"\"}", "no move yet");
    shut(&k);
}

static json_t *games_of(const char *written, int size)
{
    sg_error err;
    json_t *out = NULL, *in = json_pack("{s:i, s:s}", "size", size, "text", written);
    CHECK_OK(board_games(&out, in, &err), &err);
    json_decref(in);
    return out;
}

static void games_are_read_however_they_are_written(void **state)
{
    (void)state;
    static const char *const same[] = {
        "f5d6c3d3c4f4f6",
        "F5D6C3D3C4F4F6",
        "f5 d6 c3, d3 c4\nf4 f6\n",
        "1. f5 d6 2. c3 d3 3. c4 f4 4. f6 *",
        "1.f5 d6 2.c3 d3 3.c4 {a comment f9} f4 4.f6 pass",
        "[Event \"x\"]\n[Black \"A\"]\n[White \"B\"]\n\n1. f5 d6 (c4 is better) c3 d3\nc4 f4 f6 34-30\n"};
    for (size_t i = 0; i < SG_COUNT_OF(same); i++) {
        json_t *got = games_of(same[i], 8);
        CHECK(json_array_size(at(got, "games")) == 1);
        assert_string_equal(text(got, "games/0/moves"), "f5d6c3d3c4f4f6");
        if (same[i][0] == '[')
            assert_string_equal(text(got, "games/0/label"), "A - B");
        json_decref(got);
    }
    json_t *got = games_of("1977 34-30 f5d6c3d3c4f4f6g5e6d7\n1978 52-12 f5f6e6f4f3d6c6d3g6\n\n", 8);
    CHECK(json_array_size(at(got, "games")) == 2);
    assert_string_equal(text(got, "games/1/label"), "1978 52-12");
    CHECK(number(got, "games/0/n") == 10);
    json_decref(got);
}

static void no_game_is_an_error_that_says_what_was_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *in, *says;
    } wrong[] = {{"{\"size\": 8, \"text\": \"\"}", "no move"},
                 {"{\"size\": 8, \"text\": \"hello\"}", "hello"},
                 {"{\"size\": 8, \"text\": \"f5f6e6e6\"}", "e6"},
                 {"{\"size\": 5, \"text\": \"f5\"}", "size 5"},
                 {"{\"size\": 8}", "one of them"},
                 {"{\"size\": 8, \"random\": 0}", "0 random games"},
                 {"{\"size\": 8, \"random\": 99999}", "99999 random"},
                 {"{\"size\": 8, \"text\": \"{f5\"}", "no move"}};
    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        sg_error err;
        json_t *out = NULL, *in = json_loads(wrong[i].in, 0, NULL);
        CHECK_STATUS(board_games(&out, in, &err), SG_EARG);
        CHECK_TEXT(err.text, wrong[i].says);
        json_decref(in);
    }
}

static void random_games_follow_from_their_seed_and_are_legal(void **state)
{
    (void)state;
    sg_error err;
    json_t *a = NULL, *b = NULL, *in = json_pack("{s:i, s:i, s:i}", "size", 8, "random", 3, "seed", 7);
    CHECK_OK(board_games(&a, in, &err), &err);
    CHECK_OK(board_games(&b, in, &err), &err);
    CHECK(json_equal(a, b) && strcmp(text(a, "games/0/moves"), text(a, "games/1/moves")) != 0);
    for (size_t i = 0; i < 3; i++) {
        int squares[SG_OTHELLO_MAX_MOVES], n = 0;
        const json_t *game = json_array_get(at(a, "games"), i);
        CHECK_OK(sg_othello_read(squares, &n, 8, text(game, "moves"), &err), &err);
        CHECK(n == number(game, "n") && json_is_true(at(game, "over")));
    }
    json_decref(in);
    json_decref(a);
    json_decref(b);
}

static void the_model_says_what_its_probes_and_their_controls_reach(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped8, "models/othello8");
    desk k = open_desk(shipped8);
    sg_error err;
    json_t *got = NULL;
    CHECK_OK(board_about(&got, k.d, &err), &err);
    CHECK(number(got, "size") == 8 && number(got, "n_layers") == 8 && number(got, "best_layer") == 4);
    CHECK(json_array_size(at(got, "readers")) == 8);
    CHECK_NEAR(number(got, "readers/4/discs"), 0.910799, 1e-6, 0); /* of its manifest */
    CHECK_NEAR(number(got, "readers/4/discs_controls/untrained network"), 0.465353, 1e-6, 0);
    CHECK(number(got, "score/score/illegal_top") < number(got, "score/untrained/illegal_top"));
    json_decref(got);
    shut(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_is_what_the_command_says),
        cmocka_unit_test(an_edited_position_is_what_the_command_says),
        cmocka_unit_test(saliency_is_what_the_command_says),
        cmocka_unit_test(a_board_set_to_what_it_is_changes_no_prediction),
        cmocka_unit_test(edits_as_data_do_the_same_elsewhere),
        cmocka_unit_test(attention_adds_up_to_one),
        cmocka_unit_test(edits_belong_to_their_move),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(games_are_read_however_they_are_written),
        cmocka_unit_test(no_game_is_an_error_that_says_what_was_wrong),
        cmocka_unit_test(random_games_follow_from_their_seed_and_are_legal),
        cmocka_unit_test(the_model_says_what_its_probes_and_their_controls_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
