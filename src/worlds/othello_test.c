/* The rules against published counts, against a board of plain arrays, and against every tournament game of half a
 * century. Counts of 8 x 8 Othello are the published ones, to depth 9; those of the smaller boards were counted by an
 * independent program. */
#include "sightglass/othello.h"

#include <zlib.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/world.h"

static void the_tree_of_games_has_as_many_leaves_as_published(void **state)
{
    (void)state;
    static const uint64_t on8[] = {1, 4, 12, 56, 244, 1396, 8200, 55092, 390216, 3005288};
    static const uint64_t on6[] = {1, 4, 12, 56, 244, 1364, 7604};
    static const uint64_t on4[] = {1, 4, 12, 44, 128, 424, 1256};
    const sg_othello start8 = sg_othello_start(8), start6 = sg_othello_start(6), start4 = sg_othello_start(4);
    for (int depth = 0; depth <= 9; depth++)
        assert_int_equal(sg_othello_perft(&start8, depth), on8[depth]);
    for (int depth = 0; depth <= 6; depth++) {
        assert_int_equal(sg_othello_perft(&start6, depth), on6[depth]);
        assert_int_equal(sg_othello_perft(&start4, depth), on4[depth]);
    }
}

/* ---- the same rules on plain arrays ---- */

enum { NONE = -1 };

static int turned_by_hand(const int *disc, int size, int mover, int square, uint64_t *turned)
{
    *turned = 0;
    if (disc[square] != NONE)
        return 0;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) {
            int y = square / size + dy, x = square % size + dx;
            uint64_t line = 0;
            while ((dx || dy) && y >= 0 && y < size && x >= 0 && x < size && disc[y * size + x] == !mover) {
                line |= UINT64_C(1) << (y * size + x);
                y += dy;
                x += dx;
            }
            if (line && y >= 0 && y < size && x >= 0 && x < size && disc[y * size + x] == mover)
                *turned |= line;
        }
    return *turned != 0;
}

static uint64_t legal_by_hand(const int *disc, int size, int mover)
{
    uint64_t legal = 0, turned;
    for (int s = 0; s < size * size; s++)
        if (turned_by_hand(disc, size, mover, s, &turned))
            legal |= UINT64_C(1) << s;
    return legal;
}

/* Every prefix of random games: what may be played, what turns, whose turn it is; and the fields of the sample. */
static void every_prefix_is_as_a_plain_board_has_it(void **state)
{
    (void)state;
    static const char *const sizes[] = {"4", "6", "8"};
    sg_error err;
    const sg_world *w = sg_world_find("othello", &err);
    int n_passes = 0;
    for (int k = 0; k < 3; k++) {
        enum { GAMES = 300 };
        sg_sample *sample;
        const int size = 4 + 2 * k, squares = size * size, time = squares - 4;
        CHECK_OK(sg_world_sample(&sample, w, 1, &(sg_setting){"size", sizes[k]}, GAMES, 7, &err), &err);
        const int32_t *token = sg_sample_find(sample, "tokens")->data,
                      *mover_of = sg_sample_find(sample, "mover")->data;
        const int32_t *colour = sg_sample_find(sample, "board_abs")->data;
        const int32_t *whose = sg_sample_find(sample, "board_rel")->data;
        const int32_t *by_parity = sg_sample_find(sample, "board_parity")->data;
        const int32_t *may = sg_sample_find(sample, "legal")->data, *turns = sg_sample_find(sample, "turned")->data;
        const uint8_t *counts = sg_sample_find(sample, "counts")->data, *next_of = sg_sample_find(sample, "next")->data;
        const int n_vocab = squares - 3;
        for (int r = 0; r < GAMES; r++) {
            int disc[64], mover = SG_OTHELLO_BLACK;
            for (int s = 0; s < squares; s++)
                disc[s] = NONE;
            disc[(size / 2 - 1) * (size + 1)] = disc[size / 2 * (size + 1)] = SG_OTHELLO_WHITE;
            disc[(size / 2 - 1) * (size + 1) + 1] = disc[size / 2 * (size + 1) - 1] = SG_OTHELLO_BLACK;
            for (int t = 0; t < time; t++) {
                const int at = r * time + t, square = sg_othello_square(size, token[at]);
                uint64_t turned = 0;
                CHECK((token[at] != 0) == counts[at]);
                if (!counts[at]) {
                    CHECK(legal_by_hand(disc, size, 0) == 0 && legal_by_hand(disc, size, 1) == 0);
                    CHECK(whose[at * squares] == -1 && may[at * squares] == -1);
                    continue;
                }
                CHECK(turned_by_hand(disc, size, mover, square, &turned));
                disc[square] = mover;
                for (int s = 0; s < squares; s++)
                    if (turned >> s & 1)
                        disc[s] = mover;
                const uint64_t next = legal_by_hand(disc, size, !mover), again = legal_by_hand(disc, size, mover);
                const uint64_t legal = next ? next : again;
                n_passes += !next && again;
                const int last = mover;
                mover = next ? !mover : mover;
                CHECK(mover_of[at] == (legal ? mover : SG_OTHELLO_OVER));
                for (int s = 0; s < squares; s++) {
                    const int i = at * squares + s, mine = legal ? mover : !last;
                    CHECK(colour[i] == (disc[s] == NONE ? 0 : 1 + disc[s]));
                    CHECK(whose[i] == (disc[s] == NONE ? 0 : disc[s] == mine ? 1 : 2));
                    CHECK(by_parity[i] == (disc[s] == NONE ? 0 : disc[s] == ((t + 1) & 1) ? 1 : 2));
                    CHECK(may[i] == (int)(legal >> s & 1) && turns[i] == (int)(turned >> s & 1));
                }
                for (int v = 0; v < n_vocab; v++) {
                    const int to = sg_othello_square(size, v);
                    CHECK(next_of[at * n_vocab + v] == (to >= 0 && (legal >> to & 1)));
                }
            }
        }
        sg_sample_free(sample);
    }
    CHECK(n_passes > 100); /* so that the mover was told apart from parity */
}

/* board_rel of board_rel, given who moves, is board_abs again: on every prefix of ten thousand games. */
static void mine_and_yours_turn_into_black_and_white_and_back(void **state)
{
    (void)state;
    enum { GAMES = 10000, TIME = 60, SQUARES = 64 };
    sg_error err;
    const sg_world *w = sg_world_find("othello", &err);
    sg_sample *sample;
    CHECK_OK(sg_world_sample(&sample, w, 0, NULL, GAMES, 3, &err), &err);
    const int32_t *mover = sg_sample_find(sample, "mover")->data, *colour = sg_sample_find(sample, "board_abs")->data;
    const int32_t *whose = sg_sample_find(sample, "board_rel")->data;
    int wrong = 0, n_other = 0, n = 0;
    for (int i = 0; i < GAMES * TIME; i++) {
        if (mover[i] == SG_OTHELLO_OVER || whose[i * SQUARES] < 0)
            continue;
        n++;
        n_other += mover[i] != (i % TIME + 1) % 2;
        for (int s = 0; s < SQUARES; s++) {
            const int32_t v = whose[i * SQUARES + s], back = v && mover[i] == SG_OTHELLO_WHITE ? 3 - v : v;
            wrong += back != colour[i * SQUARES + s];
        }
    }
    assert_int_equal(wrong, 0);
    /* after a pass parity tells otherwise than the true mover: 1.2 % of moves, measured on 20,000 games */
    CHECK_NEAR((double)n_other / n, 0.012, 0.003, 0);
    sg_sample_free(sample);
}

static void the_same_seed_gives_the_same_games_in_any_parts(void **state)
{
    (void)state;
    sg_error err;
    const sg_world *w = sg_world_find("othello", &err);
    const double option = 2; /* 8 x 8 */
    static int32_t all[64 * 60], part[64 * 60];
    static uint8_t counts[64 * 60];
    w->tokens(all, counts, &option, 64, (sg_origin){.seed = 5});
    for (int r = 0; r < 64; r++)
        w->tokens(part + r * 60, counts, &option, 1, (sg_origin){.seed = 5, .step = (uint64_t)r});
    assert_memory_equal(all, part, sizeof all);
    w->tokens(part, counts, &option, 64, (sg_origin){.seed = 6});
    CHECK(memcmp(all, part, sizeof all) != 0);
}

static void squares_have_tokens_and_names(void **state)
{
    (void)state;
    char name[4];
    for (int size = 4; size <= 8; size += 2) {
        int n = 0;
        for (int s = 0; s < size * size; s++) {
            const int token = sg_othello_token(size, s);
            if (token > 0) {
                assert_int_equal(token, ++n);
                assert_int_equal(sg_othello_square(size, token), s);
            }
            assert_int_equal(sg_othello_parse(size, sg_othello_name(size, s, name)), s);
        }
        assert_int_equal(n, sg_othello_max_moves(size));
        assert_int_equal(sg_othello_square(size, 0), -1);
        assert_int_equal(sg_othello_square(size, n + 1), -1);
    }
    assert_int_equal(sg_othello_token(8, 27), -1);
    assert_int_equal(sg_othello_parse(8, "D3"), 19);
    assert_int_equal(sg_othello_parse(6, "g1"), -1);
    assert_int_equal(sg_othello_parse(8, ""), -1);
}

static void moves_that_are_none_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {{"f5d6z9", "move 3 is \"z9\", wanted a square a1 to h8"},
               {"f5f5", "move 2 is f5, which white may not play"},
               {"d4", "move 1 is d4, which black may not play"},
               {"f5d", "move 2 is \"d\""}};
    int squares[SG_OTHELLO_MAX_MOVES], n;
    sg_error err;
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        CHECK_STATUS(sg_othello_read(squares, &n, 8, bad[i].text, &err), SG_EFORMAT);
        CHECK_TEXT(err.text, bad[i].words);
    }
    CHECK_OK(sg_othello_read(squares, &n, 8, "f5 d6\tc3,d3\n", &err), &err);
    assert_int_equal(n, 4);
    assert_int_equal(squares[3], 19);
}

/* ---- files of games ---- */

static const char *write_file(const char *name, const char *text, bool compress)
{
    gzFile f = gzopen(name, compress ? "wb" : "wbT");
    gzputs(f, text);
    gzclose(f);
    return name;
}

static void files_of_games_are_read_and_wrong_ones_named(void **state)
{
    (void)state;
    const char *good = "# two games\n1977 34-30 f5d6c3d3\n\n  f5f6e6f4\r\n";
    sg_error err;
    sg_world_file f;
    const sg_world *w = sg_world_find("othello", &err);
    for (int compress = 0; compress < 2; compress++) {
        CHECK_OK(sg_world_file_read(&f, w, 0, NULL, write_file("othello_games.tmp", good, compress), &err), &err);
        const int32_t *token = f.tokens.data;
        assert_int_equal(f.tokens.dims[0], 2);
        assert_int_equal(token[0], sg_othello_token(8, sg_othello_parse(8, "f5")));
        assert_int_equal(token[60 + 3], sg_othello_token(8, sg_othello_parse(8, "f4")));
        assert_int_equal(token[4], 0);
        CHECK(((uint8_t *)f.counts.data)[3] && !((uint8_t *)f.counts.data)[4]);
        sg_source source; /* each epoch has both rows */
        CHECK_OK(sg_world_file_source(&source, &f, 2, 1, &err), &err);
        int32_t rows[120];
        uint8_t counts[120];
        sg_tensor field[2] = {source.field[0], source.field[1]};
        field[0].data = rows;
        field[1].data = counts;
        for (sg_dim epoch = 0; epoch < 5; epoch++) {
            CHECK_OK(source.fill(source.self, epoch, field, &err), &err);
            CHECK(rows[1] != rows[61] && (rows[1] == token[1] || rows[1] == token[61]));
        }
        sg_source_free(&source);
        sg_world_file_free(&f);
    }
    static const struct {
        const char *text, *words;
        sg_status status;
    } bad[] = {{"f5d6\nf5f5\n", "line 2: move 2 is f5", SG_EFORMAT}, {"# none\n", "holds no sequences", SG_EFORMAT}};
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        CHECK_STATUS(sg_world_file_read(&f, w, 0, NULL, write_file("othello_games.tmp", bad[i].text, false), &err),
                     bad[i].status);
        CHECK_TEXT(err.text, bad[i].words);
    }
    /* compressed, and cut */
    write_file("othello_games.tmp", good, true);
    CHECK(truncate("othello_games.tmp", 30) == 0);
    CHECK_STATUS(sg_world_file_read(&f, w, 0, NULL, "othello_games.tmp", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "too early");
    unlink("othello_games.tmp");
    CHECK_STATUS(sg_world_file_read(&f, w, 0, NULL, "othello_games.tmp", &err), SG_ENOTFOUND);
    const sg_world *arithmetic = sg_world_find("arithmetic", &err);
    CHECK_STATUS(sg_world_file_read(&f, arithmetic, 0, NULL, "othello_games.tmp", &err), SG_EUNSUPPORTED);
}

static void the_truth_of_what_is_no_game_is_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_sample *s;
    int32_t token[12] = {1}; /* a corner first */
    const sg_world *w = sg_world_find("othello", &err);
    const sg_setting small = {"size", "4"};
    sg_tensor t = sg_tensor_of(SG_I32, 2, (sg_dim[]){1, 12}, token);
    CHECK_STATUS(sg_world_truth(&s, w, 1, &small, &t, &err), SG_EARG);
    CHECK_TEXT(err.text, "game 0 has token 1 at move 1");
    CHECK_STATUS(sg_world_truth(&s, w, 0, NULL, &t, &err), SG_ESHAPE);
    t.dtype = SG_F32;
    CHECK_STATUS(sg_world_truth(&s, w, 1, &small, &t, &err), SG_ESHAPE);
    const sg_world *features = sg_world_find("features", &err);
    CHECK_STATUS(sg_world_truth(&s, features, 0, NULL, &t, &err), SG_EUNSUPPORTED);
}

/* 136,015 games from 1977 to 2025: as many moves and passes as an independent program counted. */
static void every_tournament_game_is_legal(void **state)
{
    (void)state;
    char path[1024];
    SKIP_WITHOUT(sg_test_shared(path, "data/othello_wthor/wthor_1977_2025.txt.gz"), "the tournament games");
    sg_error err;
    sg_world_file f;
    long long n_moves = 0, n_whole = 0, n_passes = 0, n_with_pass = 0, n_other = 0;
    CHECK_OK(sg_world_file_read(&f, sg_world_find("othello", &err), 0, NULL, path, &err), &err);
    const sg_dim n = f.tokens.dims[0];
    for (sg_dim r = 0; r < n; r++) {
        const int32_t *token = (const int32_t *)f.tokens.data + r * 60;
        sg_othello o = sg_othello_start(8);
        int passes = 0;
        for (int t = 0, last = SG_OTHELLO_WHITE; t < 60 && token[t]; t++) {
            n_other += o.mover != t % 2;
            passes += o.mover == last;
            last = o.mover;
            CHECK(sg_othello_play(&o, sg_othello_square(8, token[t])) != 0);
        }
        n_moves += o.n_moves;
        n_whole += o.n_moves == 60;
        n_passes += passes;
        n_with_pass += passes > 0;
    }
    assert_int_equal(n, 136015);
    assert_int_equal(n_moves, 8139735);
    assert_int_equal(n_whole, 129262);
    assert_int_equal(n_passes, 154716);
    assert_int_equal(n_with_pass, 79221);
    assert_int_equal(n_other, 278379); /* moves whose mover is not that of the ply's parity */
    sg_world_file_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_of_games_has_as_many_leaves_as_published),
        cmocka_unit_test(every_prefix_is_as_a_plain_board_has_it),
        cmocka_unit_test(mine_and_yours_turn_into_black_and_white_and_back),
        cmocka_unit_test(the_same_seed_gives_the_same_games_in_any_parts),
        cmocka_unit_test(squares_have_tokens_and_names),
        cmocka_unit_test(moves_that_are_none_are_named),
        cmocka_unit_test(files_of_games_are_read_and_wrong_ones_named),
        cmocka_unit_test(the_truth_of_what_is_no_game_is_refused),
        cmocka_unit_test(every_tournament_game_is_legal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
