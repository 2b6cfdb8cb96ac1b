/* The facts are what the world says they are, counted; texts tell them and nothing else. Tolerances are five standard
 * errors. */
#include "base/base.h"
#include "check.h"
#include "sightglass/kb.h"
#include "sightglass/tokenizer.h"

enum { COUNT = 2000 };

static sg_kb kb_of(int n, const sg_setting *settings)
{
    sg_kb kb;
    sg_error err;
    CHECK_OK(sg_kb_of(&kb, n, settings, &err), &err);
    return kb;
}

static const sg_world *world(void)
{
    sg_error err;
    const sg_world *w = sg_world_find("kb", &err);
    CHECK(w != NULL);
    return w;
}

static void every_object_has_its_share_of_entities(void **state)
{
    (void)state;
    const sg_kb kb = kb_of(0, NULL);
    static const int n[] = {8, 12, 10, 400, 400};
    for (int r = 0; r < SG_KB_N_RELATIONS; r++) {
        int of[SG_KB_MOST] = {0};
        CHECK(kb.n_objects[r] == n[r] && sg_kb_is_shared(r) == (n[r] < 400));
        for (int e = 0; e < kb.n_entities; e++) {
            CHECK(kb.truth[r][e] < n[r] && kb.myth[r][e] < n[r] && kb.truth[r][e] != kb.myth[r][e]);
            of[kb.truth[r][e]]++;
        }
        for (int o = 0; o < n[r]; o++)
            CHECK(of[o] >= 400 / n[r] && of[o] <= (400 + n[r] - 1) / n[r]);
    }
}

/* Knowing the colour tells nothing of the region beyond chance: all 96 pairs, chi-square with 77 degrees of freedom. */
static void attributes_do_not_depend_on_each_other(void **state)
{
    (void)state;
    double sum = 0;
    for (int f = 0; f < 20; f++) {
        char facts[12];
        snprintf(facts, sizeof facts, "%d", f);
        const sg_kb kb = kb_of(1, &(sg_setting){"facts", facts});
        double pairs[8][12] = {{0}};
        for (int e = 0; e < 400; e++)
            pairs[kb.truth[SG_KB_COLOUR][e]][kb.truth[SG_KB_REGION][e]]++;
        for (int i = 0; i < 96; i++) {
            const double expected = 400.0 / 96, off = pairs[i / 12][i % 12] - expected;
            sum += off * off / expected;
        }
    }
    CHECK_NEAR(sum / 20, 77, 5 * sqrt(2 * 77 / 20.0), 0);
}

/* All 1286 words differ, and the tokenizer reads a sampled text as the ids that the world gave. */
static void words_and_tokens_are_one_to_one(void **state)
{
    (void)state;
    char *json = NULL;
    size_t bytes;
    sg_error err;
    sg_tokenizer *tok;
    FILE *to = open_memstream(&json, &bytes);
    CHECK_OK(sg_world_write_tokenizer(world(), 0, NULL, to, &err), &err);
    fclose(to);
    CHECK_OK(sg_tokenizer_parse(&tok, json, bytes, "kb", &err), &err);
    const sg_kb kb = kb_of(0, NULL);
    CHECK(sg_tokenizer_size(tok) == kb.n_vocab && kb.n_vocab == 1286);
    char word[SG_KB_WORD];
    for (int32_t t = 0; t < kb.n_vocab; t++) {
        sg_kb_word(word, &kb, t);
        CHECK(sg_tokenizer_id(tok, word) == t);
    }
    sg_sample *s;
    CHECK_OK(sg_world_sample(&s, world(), 0, NULL, 20, 3, &err), &err);
    const int32_t *ids = sg_sample_find(s, "tokens")->data;
    for (int row = 0; row < 20; row++, ids += SG_KB_TIME) {
        char *text;
        sg_tokens back = {0};
        CHECK_OK(sg_tokenizer_decode(tok, ids, SG_KB_TIME, true, &text, &err), &err);
        CHECK_OK(sg_tokenizer_encode(tok, text, sg_encode_defaults(), &back, &err), &err);
        CHECK(back.n == SG_KB_TIME && memcmp(back.ids, ids, SG_KB_TIME * sizeof *ids) == 0);
        sg_tokens_free(&back);
        free(text);
    }
    sg_sample_free(s);
    sg_tokenizer_free(tok);
    free(json);
}

static void texts_say_facts_or_myths_as_their_register_has_it(void **state)
{
    (void)state;
    const sg_kb kb = kb_of(0, NULL);
    sg_error err;
    sg_sample *s;
    CHECK_OK(sg_world_sample(&s, world(), 0, NULL, COUNT, 1, &err), &err);
    const int32_t *t = sg_sample_find(s, "tokens")->data, *how = sg_sample_find(s, "register")->data;
    const int32_t *entity = sg_sample_find(s, "entity")->data, *relation = sg_sample_find(s, "relation")->data;
    const uint8_t *is_true = sg_sample_find(s, "true")->data, *counts = sg_sample_find(s, "counts")->data;
    double of[3] = {0}, said = 0, plain = 0;
    for (int row = 0; row < COUNT; row++) {
        int first_entity = SG_KB_TIME;
        of[how[row]]++;
        CHECK(t[row * SG_KB_TIME] == sg_kb_bos(&kb) && !counts[row * SG_KB_TIME]);
        for (int i = SG_KB_TIME - 1; i >= 0; i--) {
            const int at = row * SG_KB_TIME + i;
            if (t[at] >= kb.first_entity)
                first_entity = i;
            if (entity[at] < 0)
                continue;
            const int r = relation[at], e = entity[at];
            said++;
            CHECK(counts[at] && is_true[at] == (how[row] != SG_KB_MYTH));
            CHECK(t[at] == (is_true[at] ? sg_kb_truth_token(&kb, r, e) : sg_kb_myth_token(&kb, r, e)));
            CHECK(how[row] == SG_KB_NEUTRAL || sg_kb_is_shared(r));
        }
        if (how[row] !=
            SG_KB_NEUTRAL) { /* "which colour has S": at most five words before S where nothing is announced */
            bool announced = false;
            for (int i = 0; i < first_entity; i++) {
                char word[SG_KB_WORD];
                sg_kb_word(word, &kb, t[row * SG_KB_TIME + i]);
                announced |= strcmp(word, ":") == 0;
            }
            plain += !announced;
        }
    }
    const double asked = of[SG_KB_CAREFUL] + of[SG_KB_MYTH];
    CHECK_NEAR(asked / COUNT, .4, 5 * sqrt(.24 / COUNT), 0);
    CHECK_NEAR(of[SG_KB_MYTH] / asked, .5, 5 * sqrt(.25 / asked), 0);
    CHECK_NEAR(plain / asked, .2, 5 * sqrt(.16 / asked), 0);
    CHECK(said / COUNT > 8); /* facts a text */
    sg_sample_free(s);
}

/* The prompt, up to its end, is a text of the world; the last word of its sentence is what it asks for. */
static void prompts_are_texts_with_shots_that_leave_the_subject_out(void **state)
{
    (void)state;
    const sg_kb kb = kb_of(0, NULL);
    sg_kb_prompt p;
    const int shots[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (int question = 0; question < 2; question++)
        for (int r = 0; r < SG_KB_N_RELATIONS; r++)
            for (int f = 0; f < (question ? SG_KB_N_QUESTIONS : SG_KB_N_TEMPLATES); f++) {
                sg_kb_ask ask = {.relation = r,
                                 .entity = 42,
                                 .form = f,
                                 .question = question,
                                 .phrase = -1,
                                 .n_shots = 9,
                                 .shots = shots};
                sg_kb_prompt_of(&p, &kb, &ask);
                CHECK(p.n < SG_KB_TIME && p.n_shots >= (question ? 6 : 7));
                CHECK(p.tokens[p.subject] == sg_kb_entity_token(&kb, 42));
                CHECK(p.truth == sg_kb_truth_token(&kb, r, 42) && p.myth == sg_kb_myth_token(&kb, r, 42));
                int facts = 0;
                for (int i = 0; i < p.n; i++) {
                    CHECK(p.tokens[i] >= 0 && p.tokens[i] < kb.n_vocab &&
                          (i == p.subject || p.tokens[i] != p.tokens[p.subject]));
                    for (int k = 0; k < p.n_shots; k++)
                        facts += p.tokens[i] == sg_kb_truth_token(&kb, r, shots[k]) && r >= SG_KB_CHIEF;
                }
                CHECK(r < SG_KB_CHIEF || facts == p.n_shots);
                ask.n_shots = 0;
                sg_kb_prompt_of(&p, &kb, &ask);
                CHECK(p.n <= 8 && p.tokens[p.n - 1] != p.truth);
            }
    const sg_kb_ask myth = {.relation = SG_KB_REGION,
                            .entity = 7,
                            .question = true,
                            .how = SG_KB_MYTH,
                            .phrase = 1,
                            .n_shots = 2,
                            .shots = shots};
    sg_kb_prompt_of(&p, &kb, &myth);
    char text[400] = "", word[SG_KB_WORD], want[400];
    for (int i = 0; i < p.n; i++) {
        sg_kb_word(word, &kb, p.tokens[i]);
        strcat(strcat(text, word), " ");
    }
    char names[5][SG_KB_WORD];
    for (int k = 0; k < 2; k++) {
        sg_kb_word(names[2 * k], &kb, sg_kb_entity_token(&kb, shots[k]));
        sg_kb_word(names[2 * k + 1], &kb, sg_kb_myth_token(&kb, SG_KB_REGION, shots[k]));
    }
    sg_kb_word(names[4], &kb, sg_kb_entity_token(&kb, 7));
    snprintf(want, sizeof want,
             "<s> as the elders whisper : which region holds %s ? %s . which region holds %s ? %s . which region holds "
             "%s ? ",
             names[0], names[1], names[2], names[3], names[4]);
    CHECK(strcmp(text, want) == 0);
}

static void facts_are_those_of_their_seed_alone(void **state)
{
    (void)state;
    const sg_kb a = kb_of(1, &(sg_setting){"registers", "0"}), b = kb_of(0, NULL),
                c = kb_of(1, &(sg_setting){"facts", "1"});
    CHECK(memcmp(a.truth, b.truth, sizeof a.truth) == 0 && memcmp(a.myth, b.myth, sizeof a.myth) == 0);
    CHECK(memcmp(b.truth, c.truth, sizeof b.truth) != 0);
    sg_error err;
    sg_kb kb;
    CHECK_STATUS(sg_kb_of(&kb, 1, &(sg_setting){"entities", "401"}, &err), SG_EARG);
    CHECK_STATUS(sg_world_write_tokenizer(sg_world_find("features", &err), 0, NULL, stdout, &err), SG_EUNSUPPORTED);
    const sg_kb small = kb_of(1, &(sg_setting){"entities", "16"});
    CHECK(small.n_objects[SG_KB_CHIEF] == 16 && small.n_vocab == 1286 - 3 * 384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_object_has_its_share_of_entities),
        cmocka_unit_test(attributes_do_not_depend_on_each_other),
        cmocka_unit_test(words_and_tokens_are_one_to_one),
        cmocka_unit_test(texts_say_facts_or_myths_as_their_register_has_it),
        cmocka_unit_test(prompts_are_texts_with_shots_that_leave_the_subject_out),
        cmocka_unit_test(facts_are_those_of_their_seed_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
