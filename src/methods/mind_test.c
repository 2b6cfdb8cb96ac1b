/* Looks into a model's mind, against runs of the same model that know nothing of trees. */
#include <math.h>

#include "methods/mind_internal.h"

#include "check.h"
#include "faults.h"

typedef struct fixture {
    sg_mind *m;
    sg_mind_view *view;
    sg_othello o;
    int32_t tokens[SG_OTHELLO_MAX_MOVES];
    int movers[SG_OTHELLO_MAX_MOVES];
    int n;
} fixture;

static const char *const shipped = SG_SOURCE_DIR "/models/othello6";

/* n legal moves, each the one with the k-th lowest square, k going round. */
static void play(fixture *f, int n)
{
    f->o = sg_othello_start(sg_mind_size(f->m));
    for (f->n = 0; f->n < n; f->n++) {
        uint64_t legal = sg_othello_legal(&f->o);
        for (int k = f->n % __builtin_popcountll(legal); k > 0; k--)
            legal &= legal - 1;
        const int square = __builtin_ctzll(legal);
        CHECK(sg_othello_play(&f->o, square) != 0);
        f->tokens[f->n] = sg_othello_token(f->o.size, square);
        f->movers[f->n] = sg_mind_mover(&f->o, square);
    }
}

static fixture open_shipped(int n)
{
    fixture f = {0};
    sg_error err;
    CHECK_OK(sg_mind_open(&f.m, shipped, NULL, &err), &err);
    CHECK_OK(sg_mind_view_new(&f.view, f.m, &err), &err);
    play(&f, n);
    return f;
}

static void shut(fixture *f)
{
    sg_mind_view_free(f->view);
    sg_mind_close(f->m);
}

static sg_mind_question question(const fixture *f)
{
    return (sg_mind_question){.tokens = f->tokens, .movers = f->movers, .n = f->n, .attention = true};
}

/* The same by a glass: probabilities of tokens after the last move, and the pattern of a layer there. */
static void by_glass(const fixture *f, int n_edits, const sg_edit *edits, float *p, int layer, float *pattern)
{
    sg_error err;
    sg_glass *glass = NULL;
    sg_value *fetch[2];
    sg_tensor got[2];
    char name[64];
    const int32_t *tokens = f->tokens;
    const sg_dim n = f->n;
    snprintf(name, sizeof name, "blocks.%d.attn.hook_pattern", layer);
    CHECK_OK(sg_glass_new(&glass, sg_mind_model(f->m), sg_glass_defaults(), &err), &err);
    if (n_edits)
        CHECK_OK(sg_glass_edit(glass, n_edits, edits, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &fetch[0], &err), &err);
    CHECK_OK(sg_glass_find(glass, name, &fetch[1], &err), &err);
    CHECK_OK(
        sg_glass_run(glass, &(sg_rows){.n_rows = 1, .tokens = &tokens, .lengths = &n}, 0, NULL, 2, fetch, got, &err),
        &err);
    const sg_dim n_vocab = got[0].dims[2], n_heads = got[1].dims[1];
    const float *logits = (const float *)got[0].data + (n - 1) * n_vocab;
    double sum = 0;
    for (sg_dim t = 0; t < n_vocab; t++)
        sum += exp((double)logits[t]);
    for (sg_dim t = 0; t < n_vocab; t++)
        p[t] = (float)(exp((double)logits[t]) / sum);
    for (sg_dim h = 0; h < n_heads; h++)
        memcpy(pattern + h * n, (const float *)got[1].data + (h * n + n - 1) * n, (size_t)n * sizeof *pattern);
    sg_glass_free(glass);
}

static void check_thought(const fixture *f, const sg_mind_thought *t, const float *attention, int n_edits,
                          const sg_edit *edits)
{
    float p[64], pattern[8 * SG_OTHELLO_MAX_MOVES];
    const int n_heads = (int)sg_model_get_info(sg_mind_model(f->m))->n_heads;
    for (int layer = 0; layer < sg_mind_n_layers(f->m); layer++) {
        by_glass(f, n_edits, edits, p, layer, pattern);
        for (int i = 0; i < n_heads * f->n; i++)
            CHECK_NEAR(attention[layer * n_heads * f->n + i], pattern[i], 1e-5, 1e-4);
    }
    CHECK_NEAR(t->none, p[0], 1e-6, 1e-4);
    for (int q = 0; q < sg_othello_squares(f->o.size); q++) {
        const int token = sg_othello_token(f->o.size, q);
        CHECK_NEAR(t->next[q], token < 0 ? 0 : p[token], 1e-6, 1e-4);
    }
}

static void a_look_is_what_a_run_of_the_model_gives(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    for (int n = 1; n <= 25; n += 8) {
        fixture f = open_shipped(n);
        sg_error err;
        sg_mind_answer *a = NULL;
        const sg_mind_question q = question(&f);
        CHECK_OK(sg_mind_look(&a, f.view, &q, &err), &err);
        check_thought(&f, &a->before, a->attention_before, 0, NULL);
        CHECK(a->edits.n == 0 && memcmp(&a->before, &a->after, sizeof a->before) == 0);
        sg_mind_answer_free(a);
        shut(&f);
    }
}

/* Squares that the model reads as discs, the other way round: at two positions, the second on top of the first. */
static void the_edits_of_a_look_do_the_same_in_any_run(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    fixture f = open_shipped(12);
    sg_error err;
    sg_mind_answer *a = NULL;
    const sg_mind_how how = sg_mind_how_defaults(f.m);
    const int centre[] = {14, 15, 21}, to[] = {SG_MIND_EMPTY, SG_MIND_YOURS, SG_MIND_MINE};
    const sg_mind_place places[] = {{.position = 7, .n = 1, .square = centre, .to = to, .how = how},
                                    {.position = 11, .n = 3, .square = centre, .to = to, .how = {0.8, 2, 3}}};
    for (int from = 0; from < 2; from++)
        for (int n = 1; n <= 2 - from; n++) {
            sg_mind_question q = question(&f);
            q.n_places = n;
            q.places = places + from;
            CHECK_OK(sg_mind_look(&a, f.view, &q, &err), &err);
            CHECK(a->length[0] > 0.1 && a->edits.n > 0);
            check_thought(&f, &a->before, a->attention_before, 0, NULL);
            check_thought(&f, &a->after, a->attention_after, a->edits.n, a->edits.edits);
            sg_mind_answer_free(a);
        }
    shut(&f);
}

/* And the model then believes it: after the layers that were moved the probe reads what was asked. The way past one of
 * a square's two borders may lead back over the other one, which a single square is not moved over again. */
static void what_is_set_is_read(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    fixture f = open_shipped(12);
    sg_error err;
    sg_mind_answer *a = NULL;
    int n_read = 0;
    for (int square = 0; square < 36; square++)
        for (int to = 0; to < SG_MIND_N_CLASSES; to++) {
            const sg_mind_place place = {.position = 11, .n = 1, .square = &square, .to = &to, .how = {0.5, 1, 2}};
            sg_mind_question q = question(&f);
            q.n_places = 1;
            q.places = &place;
            CHECK_OK(sg_mind_look(&a, f.view, &q, &err), &err);
            n_read += sg_mind_likeliest(a->after.belief[2][square]) == to;
            sg_mind_answer_free(a);
        }
    CHECK(n_read >= 102); /* of 108 */
    shut(&f);
}

/* B' = B, whatever the strength up to 1. */
static void believing_what_is_believed_changes_nothing(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    fixture f = open_shipped(14);
    sg_error err;
    int square[16], to[16], n = 0;
    sg_mind_answer *a = NULL;
    sg_mind_question q = question(&f);
    CHECK_OK(sg_mind_look(&a, f.view, &q, &err), &err);
    for (int s = 0; s < 36 && n < 16; s++) { /* squares of which all layers that are moved read the same */
        const int c = sg_mind_likeliest(a->before.belief[1][s]);
        square[n] = s;
        to[n] = c;
        n += c == sg_mind_likeliest(a->before.belief[2][s]);
    }
    CHECK(n > 8);
    sg_mind_answer_free(a);
    for (int i = 0; i < 2; i++) {
        const sg_mind_place place = {.position = 13, .n = n, .square = square, .to = to, .how = {i ? 1 : 0.5, 1, 2}};
        q.n_places = 1;
        q.places = &place;
        CHECK_OK(sg_mind_look(&a, f.view, &q, &err), &err);
        if (i == 0)
            CHECK(a->length[0] == 0);
        CHECK(a->length[0] < 1e-4);
        for (int s = 0; s < 36; s++)
            CHECK_NEAR(a->after.next[s], a->before.next[s], 1e-6, 1e-4);
        sg_mind_answer_free(a);
    }
    shut(&f);
}

/* One by one, and the two ways to ask for a control. */
static void all_questions_give_the_same_answers(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    static sg_mind_thought thought;
    float if_set[3][SG_OTHELLO_MAX_SQUARES], pushed[4][SG_OTHELLO_MAX_SQUARES];
    fixture f = open_shipped(9);
    sg_error err;
    const sg_mind_how how = {0.7, 1, 3};
    const int square[] = {14, 15, 20}, to[] = {SG_MIND_YOURS, SG_MIND_MINE, SG_MIND_EMPTY};
    const sg_mind_case at = {f.tokens, f.n, f.movers[f.n - 1], 0, NULL};
    int n_moved = 0;
    CHECK_OK(sg_mind_what_if(if_set, f.view, &at, 3, square, to, how, &err), &err);
    for (int i = 0; i < 3; i++) {
        sg_mind_answer *a = NULL;
        sg_mind_edits edits;
        const sg_mind_place place = {.position = 8, .n = 1, .square = &square[i], .to = &to[i], .how = how};
        sg_mind_question q = question(&f);
        q.n_places = 1;
        q.places = &place;
        q.n_random = 4;
        q.seed = 8;
        CHECK_OK(sg_mind_look(&a, f.view, &q, &err), &err);
        CHECK_OK(sg_mind_set(&edits, f.view, &at, 1, &square[i], &to[i], how, &err), &err);
        CHECK(edits.n == 3 && a->edits.n == 3);
        const sg_mind_case edited = {f.tokens, f.n, f.movers[f.n - 1], edits.n, edits.edits};
        CHECK_OK(sg_mind_think(&thought, f.view, &edited, &err), &err);
        CHECK_OK(sg_mind_push_randomly(pushed, f.view, &at, &edits, 4, 8, &err), &err);
        for (int s = 0; s < 36; s++) {
            CHECK_NEAR(if_set[i][s], a->after.next[s], 1e-6, 1e-4);
            CHECK_NEAR(thought.next[s], a->after.next[s], 1e-6, 1e-4);
            for (int k = 0; k < 4; k++)
                CHECK_NEAR(pushed[k][s], a->random[k][s], 1e-6, 1e-4);
        }
        CHECK((a->length[0] > 0) == (memcmp(a->random[0], a->random[1], sizeof a->random[0]) != 0));
        n_moved += a->length[0] > 0;
        sg_mind_edits_free(&edits);
        sg_mind_answer_free(a);
    }
    CHECK(n_moved > 0);
    shut(&f);
}

static void questions_that_have_no_answer_are_refused(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    fixture f = open_shipped(6);
    sg_error err;
    sg_mind_answer *a = NULL;
    const int square[] = {14, 36, -1}, to[] = {SG_MIND_MINE, SG_MIND_N_CLASSES};
    const sg_mind_how how = sg_mind_how_defaults(f.m);
    const sg_mind_place places[] = {{3, 1, &square[0], &to[0], how}, {3, 1, &square[0], &to[0], how},
                                    {6, 1, &square[0], &to[0], how}, {5, 1, &square[1], &to[0], how},
                                    {5, 1, &square[2], &to[0], how}, {5, 1, &square[0], &to[1], how}};
    sg_mind_question q = question(&f);
    q.n_places = 2;
    q.places = places;
    CHECK_STATUS(sg_mind_look(&a, f.view, &q, &err), SG_EARG);
    CHECK_TEXT(err.text, "ascending order");
    q.n_places = 1;
    for (int i = 2; i < 6; i++) {
        q.places = places + i;
        CHECK_STATUS(sg_mind_look(&a, f.view, &q, &err), SG_EARG);
    }
    const sg_mind_place nowhere = {5, 1, &square[0], &to[0], {0.5, 7, 9}};
    q.places = &nowhere;
    CHECK_STATUS(sg_mind_look(&a, f.view, &q, &err), SG_EUNSUPPORTED);
    q.n_places = 0;
    q.n = 0;
    CHECK_STATUS(sg_mind_look(&a, f.view, &q, &err), SG_EARG);
    shut(&f);
}

static void memory_that_runs_out_is_an_error_and_leaves_nothing_behind(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    fixture f = open_shipped(6);
    const int square = 14, to[] = {SG_MIND_EMPTY};
    const sg_mind_place place = {3, 1, &square, to, sg_mind_how_defaults(f.m)};
    sg_mind_question q = question(&f);
    q.n_places = 1;
    q.places = &place;
    q.n_random = 2;
    int n_failed = 0;
    for (long n = 0;; n += 1 + n / 50) {
        sg_error err = {SG_OK, ""};
        sg_mind_view *view = NULL;
        sg_mind_answer *a = NULL;
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = sg_mind_view_new(&view, f.m, &err);
        if (status == SG_OK)
            status = sg_mind_look(&a, view, &q, &err);
        const bool fired = sg_faults_end();
        sg_mind_answer_free(a);
        sg_mind_view_free(view);
        if (!fired) {
            CHECK_OK(status, &err);
            break;
        }
        n_failed += status != SG_OK;
        CHECK(status == SG_OK || err.text[0]);
    }
    CHECK(n_failed > 50);
    shut(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_is_what_a_run_of_the_model_gives),
        cmocka_unit_test(the_edits_of_a_look_do_the_same_in_any_run),
        cmocka_unit_test(what_is_set_is_read),
        cmocka_unit_test(believing_what_is_believed_changes_nothing),
        cmocka_unit_test(all_questions_give_the_same_answers),
        cmocka_unit_test(questions_that_have_no_answer_are_refused),
        cmocka_unit_test(memory_that_runs_out_is_an_error_and_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
