/* What is said of drawn boards is proved here another way: by playing the witness, and by playing every game there is.
 */
#include "sightglass/othello_cases.h"

#include "base/base.h"
#include "check.h"

static uint64_t bit(int s)
{
    return UINT64_C(1) << s;
}

static sg_othello play(int size, const int32_t *tokens, int n)
{
    sg_othello o = sg_othello_start(size);
    for (int k = 0; k < n; k++)
        CHECK(sg_othello_play(&o, sg_othello_square(size, tokens[k])) != 0);
    return o;
}

static void drawn_cases_are_what_their_kind_says(void **state)
{
    (void)state;
    enum { N = 120 };
    static sg_othello_case cases[N], again[N];
    sg_error err;
    for (int size = 6; size <= 8; size += 2)
        for (int kind = 0; kind < SG_OTHELLO_GIVEN; kind++) {
            CHECK_OK(sg_othello_cases_draw(cases, N, size, (sg_othello_case_kind)kind, 5, &err), &err);
            CHECK_OK(sg_othello_cases_draw(again, N, size, (sg_othello_case_kind)kind, 5, &err), &err);
            CHECK(memcmp(cases, again, sizeof cases) == 0);
            int least = 99, most = 0;
            for (int i = 0; i < N; i++) {
                const sg_othello_case *c = &cases[i];
                const int n = c->board.n_moves, s = (int)c->change.task;
                const sg_othello o = play(size, c->tokens, n);
                const uint64_t own = o.disc[o.mover], other = o.disc[!o.mover];
                CHECK(o.mover == c->board.mover && own == c->board.disc[o.mover]);
                least = SG_MIN(least, n);
                most = SG_MAX(most, n);
                /* one square differs, as the change says */
                CHECK(((own ^ c->own) | (other ^ c->other)) == bit(s));
                CHECK(c->change.from == (own & bit(s) ? 1 : other & bit(s) ? 2 : 0));
                CHECK(c->change.to == (c->own & bit(s) ? 1 : c->other & bit(s) ? 2 : 0));
                CHECK(c->change.from != 0 && (c->change.to == 0) == (kind == SG_OTHELLO_UNNATURAL));
                CHECK(c->legal != 0);
                for (int q = 0; q < size * size; q++)
                    if (c->legal & bit(q))
                        CHECK(sg_othello_moves_on(size, c->own, c->other) & bit(q) && sg_othello_token(size, q) > 0);
                CHECK(sg_othello_impossible(size, own | other) == false);
                CHECK(sg_othello_impossible(size, c->own | c->other) == (kind == SG_OTHELLO_UNNATURAL));
                if (kind == SG_OTHELLO_NATURAL) {
                    const sg_othello w = play(size, c->witness, n);
                    CHECK(w.mover == o.mover && w.disc[w.mover] == c->own && w.disc[!w.mover] == c->other);
                }
            }
            CHECK(least >= 4 && least < size * size / 3 && most > size * size / 2 && most <= size * size - 8);
        }
}

/* Marks every set of discs that a game on 4x4 ever has. */
static void all_games(const sg_othello *o, bool *seen, long *n)
{
    seen[o->disc[0] | o->disc[1]] = true;
    ++*n;
    for (uint64_t legal = sg_othello_legal(o); legal; legal &= legal - 1) {
        sg_othello next = *o;
        (void)sg_othello_play(&next, __builtin_ctzll(legal));
        all_games(&next, seen, n);
    }
}

static void no_game_has_a_board_that_is_said_to_be_impossible(void **state)
{
    (void)state;
    static bool seen[1 << 16];
    const sg_othello start = sg_othello_start(4);
    long n = 0;
    int n_impossible = 0, n_seen = 0;
    all_games(&start, seen, &n);
    for (uint64_t discs = 0; discs < 1 << 16; discs++) {
        n_impossible += sg_othello_impossible(4, discs);
        n_seen += seen[discs];
        CHECK(!seen[discs] || !sg_othello_impossible(4, discs));
    }
    CHECK(n > 60000 && n_seen > 1000 && n_impossible > 10000);
    CHECK(sg_othello_impossible(8, bit(27) | bit(28) | bit(35)));                      /* a middle square is empty */
    CHECK(sg_othello_impossible(8, bit(27) | bit(28) | bit(35) | bit(36) | bit(0)));   /* a1 alone */
    CHECK(!sg_othello_impossible(8, bit(27) | bit(28) | bit(35) | bit(36) | bit(18))); /* c3 touches d4 */
    /* h4 is joined to the middle, and a5 comes next to it in number alone. */
    const uint64_t to_h4 = bit(27) | bit(28) | bit(35) | bit(36) | bit(29) | bit(30) | bit(31);
    CHECK(!sg_othello_impossible(8, to_h4) && sg_othello_impossible(8, to_h4 | bit(32)));
}

/* After f5 white may play d6, f4 and f6. */
static void errors_are_counted_on_the_changed_board(void **state)
{
    (void)state;
    sg_othello_case c = {.board = sg_othello_start(8)};
    float logits[61] = {0};
    double errors;
    (void)sg_othello_play(&c.board, sg_othello_parse(8, "f5"));
    c.legal = sg_othello_legal(&c.board);
    CHECK(__builtin_popcountll(c.legal) == 3);
    logits[sg_othello_token(8, sg_othello_parse(8, "d6"))] = 1;
    logits[sg_othello_token(8, sg_othello_parse(8, "f4"))] = 5;
    logits[sg_othello_token(8, sg_othello_parse(8, "f6"))] = 2;
    sg_othello_errors(&errors, 1, &c, logits, 61);
    CHECK(errors == 0);
    logits[sg_othello_token(8, sg_othello_parse(8, "a1"))] = 1.5f; /* takes d6's place: one wrong, one missing */
    sg_othello_errors(&errors, 1, &c, logits, 61);
    CHECK(errors == 2);
    logits[0] = logits[60] = 9; /* padding is no move */
    sg_othello_errors(&errors, 1, &c, logits, 61);
    CHECK(errors == 4);
    for (int i = 0; i < 61; i++)
        logits[i] = NAN;
    sg_othello_errors(&errors, 1, &c, logits, 61);
    CHECK(errors == 6);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void cases_are_read_from_a_file(void **state)
{
    (void)state;
    static const char path[] = "othello_cases_test.json";
    sg_othello_case *cases;
    sg_dim n, left_out;
    sg_error err;
    /* After f5 it is white's turn: f5 is yours, and turned it is mine. d4 is then white's only disc: without it white
     * cannot play, and such a case is left out. */
    write_file(path, "{\"size\": 8, \"cases\": [{\"moves\": \"f5\", \"square\": \"f5\", \"to\": \"white\"},\n"
                     "{\"moves\": \"f5 d6\", \"square\": \"d6\", \"to\": \"empty\"},\n"
                     "{\"moves\": \"f5\", \"square\": \"d4\", \"to\": \"black\"}]}");
    CHECK_OK(sg_othello_cases_read(&cases, &n, &left_out, path, &err), &err);
    CHECK(n == 2 && left_out == 1);
    CHECK(cases[0].kind == SG_OTHELLO_GIVEN && cases[0].board.n_moves == 1 && cases[0].change.task == 37);
    CHECK(cases[0].change.from == SG_OTHELLO_YOURS && cases[0].change.to == SG_OTHELLO_MINE);
    CHECK(cases[1].change.from == SG_OTHELLO_YOURS && cases[1].change.to == SG_OTHELLO_EMPTY);
    const sg_rewrite row = sg_othello_case_rewrite(&cases[1]);
    CHECK(row.n_tokens == 2 && row.tokens == cases[1].tokens && row.n_changes == 1 && row.changes->task == 43);
    free(cases);

    static const struct {
        const char *json, *words[2];
    } bad[] = {
        {"{\"cases\": [", {"line 1", "column"}},
        {"[]", {"\"cases\"", "\"size\""}},
        {"{\"size\": 7, \"cases\": [{}]}", {"\"size\"", "4, 6 or 8"}},
        {"{\"cases\": []}", {"\"cases\"", "list"}},
        {"{\"cases\": [{\"moves\": \"f5\", \"square\": \"d4\"}]}", {"case 0", "\"to\""}},
        {"{\"cases\": [{\"moves\": \"f5f5\", \"square\": \"d4\", \"to\": \"black\"}]}", {"case 0", "move 2"}},
        {"{\"cases\": [{\"moves\": \"f5\", \"square\": \"i9\", \"to\": \"black\"}]}", {"case 0", "no square"}},
        {"{\"cases\": [{\"moves\": \"f5\", \"square\": \"f5\", \"to\": \"red\"}]}", {"case 0", "red"}},
        {"{\"cases\": [{\"moves\": \"f5\", \"square\": \"f5\", \"to\": \"black\"}]}", {"case 0", "already"}},
        {"{\"cases\": [{\"moves\": \"\", \"square\": \"d4\", \"to\": \"black\"}]}", {"case 0", "0 moves"}},
    };
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        write_file(path, bad[i].json);
        CHECK_STATUS(sg_othello_cases_read(&cases, &n, &left_out, path, &err), SG_EFORMAT);
        CHECK(cases == NULL);
        CHECK_TEXT(err.text, bad[i].words[0]);
        CHECK_TEXT(err.text, bad[i].words[1]);
    }
    unlink(path);
    CHECK_STATUS(sg_othello_cases_read(&cases, &n, &left_out, path, &err), SG_ENOTFOUND);
    CHECK_STATUS(sg_othello_cases_draw(NULL, 1, 7, SG_OTHELLO_NATURAL, 0, &err), SG_EARG);
    CHECK_STATUS(sg_othello_cases_draw(NULL, 1, 8, SG_OTHELLO_GIVEN, 0, &err), SG_EARG);
}

static void a_mean_of_pairs_has_an_interval(void **state)
{
    (void)state;
    double a[100], b[100];
    sg_rate r;
    sg_error err;
    for (int i = 0; i < 100; i++) {
        a[i] = i % 10;
        b[i] = a[i] + 1; /* pairs differ by 1 always */
    }
    CHECK_OK(sg_othello_mean(&r, a, b, 100, &err), &err);
    CHECK_NEAR(r.value, -1, 1e-12, 0);
    CHECK_NEAR(r.low, -1, 1e-12, 0);
    CHECK_NEAR(r.high, -1, 1e-12, 0);
    CHECK_OK(sg_othello_mean(&r, a, NULL, 100, &err), &err);
    CHECK_NEAR(r.value, 4.5, 1e-12, 0);
    CHECK(r.low > 3.7 && r.low < 4.2 && r.high > 4.8 && r.high < 5.3 && r.n == 100); /* 4.5 -+ 1.96 * 2.87 / 10 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_cases_are_what_their_kind_says),
        cmocka_unit_test(no_game_has_a_board_that_is_said_to_be_impossible),
        cmocka_unit_test(errors_are_counted_on_the_changed_board),
        cmocka_unit_test(cases_are_read_from_a_file),
        cmocka_unit_test(a_mean_of_pairs_has_an_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
