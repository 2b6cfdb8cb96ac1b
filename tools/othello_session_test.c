/* A session under memory that runs out, and its counts against boards that were looked at by hand. The tools are no
 * library, so their sources are part of this test. */
#include "othello_session.c"

#include "check.h"
#include "faults.h"
#include "othello_fixture.h"

static char folder[200];

static const char *in_folder(char path[300], const char *name)
{
    snprintf(path, 300, "%s/%s", folder, name);
    return path;
}

static int begin(void **state)
{
    (void)state;
    char config[300], model[300], probes[300];
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-session-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    fixture_model(in_folder(config, "config.json"), in_folder(model, "model"), 4, false);
    fixture_fit(model, in_folder(probes, "model/probes"), 4, "board_rel", SG_PROBE_RIDGE);
    fixture_fit(model, in_folder(probes, "model/probes/mean"), 4, "board_rel", SG_PROBE_MEAN);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* Everything that takes memory. */
static sg_status whole_life(session *s, sg_mind **m, const char *model, sg_error *err)
{
    static session_effects effects;
    bool changed;
    int played, first;
    SG_TRY(sg_mind_open(m, model, NULL, err));
    if (sg_mind_warning(*m, 0)) /* a probe was passed over where memory was out */
        return sg_fail(err, SG_ENOMEM, "%s", sg_mind_warning(*m, 0));
    SG_TRY(session_begin(s, *m, 1, err));
    SG_TRY(session_random(s, 4, err));
    const int square = s->now.disc[0] ? __builtin_ctzll(s->now.disc[0]) : 0;
    SG_TRY(session_set(s, square, SG_MIND_EMPTY, &changed, err));
    SG_TRY(session_set(s, 5, SG_MIND_MINE, &changed, err));
    SG_TRY(session_saliency(s, 0, &effects, err));
    SG_TRY(session_let(s, true, &played, &first, err));
    SG_TRY(session_go(s, 2, err));
    SG_TRY(session_go(s, 5, err));
    SG_TRY(session_set(s, 5, SG_MIND_YOURS, &changed, err));
    char path[300];
    SG_TRY(session_save(s, in_folder(path, "edits.json"), err));
    json_t *root = session_json(s);
    json_decref(root);
    return root ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for JSON");
}

static void memory_that_runs_out_is_an_error_and_leaves_nothing_behind(void **state)
{
    (void)state;
    static session s;
    char model[300];
    int n_failed = 0;
    in_folder(model, "model");
    /* All places of a run that succeeds are thousands: the first hundred, and from there on ever fewer. */
    for (long n = 0;; n += 1 + n / 100) {
        sg_error err = {SG_OK, ""};
        sg_mind *m = NULL;
        memset(&s, 0, sizeof s);
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = whole_life(&s, &m, model, &err);
        const bool fired = sg_faults_end();
        session_end(&s);
        sg_mind_close(m);
        if (!fired) {
            CHECK_OK(status, &err);
            CHECK(n_failed > 200);
            break;
        }
        /* Where a faster kernel finds no memory the plain one does its work, and nothing fails. */
        n_failed += status != SG_OK;
        CHECK(status == SG_OK || err.text[0]);
    }
}

static session *fresh(sg_mind **m)
{
    static session s;
    char model[300];
    sg_error err;
    CHECK_OK(sg_mind_open(m, in_folder(model, "model"), NULL, &err), &err);
    CHECK_OK(session_begin(&s, *m, 1, &err), &err);
    return &s;
}

static void a_failed_move_leaves_the_game_as_it_was(void **state)
{
    (void)state;
    sg_mind *m = NULL;
    sg_error err;
    session *s = fresh(&m);
    CHECK_OK(session_random(s, 3, &err), &err);
    const session before = *s;
    CHECK_STATUS(session_play(s, 5, &err), SG_EARG);
    CHECK_STATUS(session_go(s, 4, &err), SG_EARG);
    CHECK(memcmp(&before.now, &s->now, sizeof s->now) == 0 && before.n_known == s->n_known);
    session_end(s);
    sg_mind_close(m);
}

static void bets_are_judged_on_the_edited_board(void **state)
{
    (void)state;
    sg_mind *m = NULL;
    sg_error err;
    sg_mind_bets bets;
    bool changed;
    session *s = fresh(&m);
    /* b1, on 4x4: black has b1, b2, b3, c2; white may play a1, c1, a3. */
    CHECK_OK(session_play(s, sg_othello_parse(4, "b1"), &err), &err);
    CHECK(session_legal(s) == (UINT64_C(1) << 0 | UINT64_C(1) << 2 | UINT64_C(1) << 8));
    memset(s->before->next, 0, sizeof s->before->next);
    s->before->next[0] = 0.5f;   /* a1, legal */
    s->before->next[15] = 0.25f; /* d4 */
    s->before->next[2] = 0.125f; /* c1, legal */
    session_judge(s, s->before->next, &bets);
    CHECK(bets.n_legal == 3 && bets.n_wrong == 1 && bets.n == 12);
    CHECK_NEAR(bets.mass, 0.625, 1e-7, 0);
    CHECK(bets.order[0] == 0 && bets.order[1] == 15 && bets.order[2] == 2);
    /* With b2 white the board is that, whatever the model made of it before. */
    CHECK_OK(session_set(s, 5, SG_MIND_MINE, &changed, &err), &err);
    if (!changed) /* it had b2 white by mistake: then nothing is edited */
        skip();
    CHECK(session_truth(s, 5) == SG_MIND_MINE);
    CHECK(session_legal(s) == sg_othello_moves_on(4, s->now.disc[1] | 1 << 5, s->now.disc[0] & ~(UINT64_C(1) << 5)));
    session_end(s);
    sg_mind_close(m);
}

/* What a move turns is known from the game itself; on its lines also lie the mover's discs that close them. */
static void lines_are_what_a_move_turns_and_what_closes_them(void **state)
{
    (void)state;
    sg_mind *m = NULL;
    sg_error err;
    session *s = fresh(&m);
    CHECK_OK(session_replay(s, (const int[]){1}, 1, &err), &err);         /* b1 */
    CHECK(session_lines(s, 0) == (UINT64_C(1) << 5 | UINT64_C(1) << 10)); /* a1: b2, closed by c3 */
    for (int n = 0; n < 10 && s->now.mover != SG_OTHELLO_OVER; n++) {
        for (int q = 0; q < 16; q++) {
            const uint64_t lines = session_lines(s, q), turned = sg_othello_turned(&s->now, q);
            CHECK((lines & s->now.disc[!s->now.mover]) == turned && (lines != 0) == (turned != 0));
        }
        CHECK_OK(session_random(s, 1, &err), &err);
    }
    session_end(s);
    sg_mind_close(m);
}

/* The control is to differ from the edit in its direction alone. */
static void random_pushes_are_as_long_as_the_edits(void **state)
{
    (void)state;
    sg_mind *m = NULL;
    sg_error err;
    bool changed;
    double mass, n_wrong;
    session *s = fresh(&m);
    CHECK_OK(session_random(s, 3, &err), &err);
    CHECK(!session_judge_random(s, &mass, &n_wrong));
    for (int q = 0; q < 16 && !session_here(s); q++) /* the first square of which it does not believe so */
        CHECK_OK(session_set(s, q, SG_MIND_MINE, &changed, &err), &err);
    CHECK(session_judge_random(s, &mass, &n_wrong) && mass > 0 && mass < 1);
    const session_place *here = session_here(s);
    CHECK(memcmp(here->random[0], here->random[1], sizeof here->random[0]) != 0);
    /* Pushes of no length change nothing. */
    static float next[2][SG_OTHELLO_MAX_SQUARES];
    int32_t tokens[SG_OTHELLO_MAX_MOVES];
    sg_mind_edits none = here->edits;
    for (int k = 0; k < none.n; k++)
        memset(none.edits[k].value.data, 0, sg_tensor_bytes(&none.edits[k].value));
    tokens_of(s, tokens);
    CHECK_OK(
        sg_mind_push_randomly(next, s->view, &(sg_mind_case){tokens, 3, session_mover(s), 0, NULL}, &none, 2, 1, &err),
        &err);
    for (int q = 0; q < 16; q++)
        CHECK_NEAR(next[1][q], s->before->next[q], 1e-6, 1e-4);
    session_end(s);
    sg_mind_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_runs_out_is_an_error_and_leaves_nothing_behind),
        cmocka_unit_test(a_failed_move_leaves_the_game_as_it_was),
        cmocka_unit_test(bets_are_judged_on_the_edited_board),
        cmocka_unit_test(random_pushes_are_as_long_as_the_edits),
        cmocka_unit_test(lines_are_what_a_move_turns_and_what_closes_them),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
