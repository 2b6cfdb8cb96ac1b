#include "serve/looks.h"

#include "base/base.h"
#include "check.h"
#include "serve/prompt.h"

static sg_model *model_of(int vocabulary)
{
    char config[300];
    sg_model *m;
    sg_error err;
    snprintf(config, sizeof config,
             "{\"model_type\": \"gpt2\", \"n_embd\": 8, \"n_layer\": 1, \"n_head\": 2, \"n_positions\": 16, "
             "\"vocab_size\": %d, \"tie_word_embeddings\": false}",
             vocabulary);
    FILE *f = fopen("looks_config.json", "w");
    CHECK(f && fputs(config, f) >= 0 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, "looks_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("looks_config.json");
    return m;
}

static look *open_look(looks *s, const sg_model *m, int first)
{
    int32_t ids[3] = {first, 1, 2};
    look *l;
    sg_error err;
    CHECK_OK(looks_open(s, (look_of){m, sg_exec_defaults(), 3, ids, 0, NULL}, "m", &l, &err), &err);
    return l;
}

static void a_look_is_found_by_its_name_while_it_is_kept(void **state)
{
    (void)state;
    sg_model *m = model_of(13);
    looks *s;
    look *l[4], *again;
    char id[4][17];
    sg_error err;
    CHECK_OK(looks_new(&s, 2, 1 << 20, &err), &err);
    for (int i = 0; i < 2; i++) {
        l[i] = open_look(s, m, i);
        snprintf(id[i], sizeof id[i], "%s", look_id(l[i]));
        looks_let_go(s, l[i]);
    }
    again = open_look(s, m, 0);
    CHECK(again == l[0]);
    l[2] = open_look(s, m, 2); /* one too many: the one asked for least recently goes */
    CHECK_STATUS(looks_find(s, id[1], "m", &again, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "run the prompt again");
    CHECK_OK(looks_find(s, id[0], "m", &again, &err), &err);
    CHECK(again == l[0]);
    CHECK_STATUS(looks_find(s, id[0], "another", &again, &err), SG_ENOTFOUND);
    snprintf(id[2], sizeof id[2], "%s", look_id(l[2]));
    l[3] = open_look(s, m, 3); /* held ones stay, whatever the bound */
    CHECK_OK(looks_find(s, id[0], "m", &again, &err), &err);
    looks_let_go(s, again);
    looks_let_go(s, l[0]);
    looks_let_go(s, l[0]);
    looks_let_go(s, l[2]);
    looks_let_go(s, l[3]);
    CHECK_STATUS(looks_find(s, id[2], "m", &again, &err), SG_ENOTFOUND); /* 0 was asked for after it */
    looks_free(s);
    sg_model_close(m);
}

static void looks_that_keep_much_go_sooner(void **state)
{
    (void)state;
    sg_model *m = model_of(13);
    looks *s;
    look *l, *again;
    sg_tensor t;
    char axes[SG_MAX_DIMS + 1], id[17], second[17];
    sg_error err;
    CHECK_OK(looks_new(&s, 10, 300, &err), &err); /* what enters a block and leaves it: 2 * 3 * 8 * 4 = 192 bytes */
    l = open_look(s, m, 0);
    snprintf(id, sizeof id, "%s", look_id(l));
    CHECK_OK(look_value(l, "logits", NULL, &t, axes, &err), &err);
    free(t.data);
    CHECK(look_bytes(l) == 192);
    looks_let_go(s, l);
    l = open_look(s, m, 1);
    snprintf(second, sizeof second, "%s", look_id(l));
    CHECK_OK(look_value(l, "logits", NULL, &t, axes, &err), &err);
    free(t.data);
    CHECK_OK(looks_find(s, id, "m", &again, &err), &err);
    looks_let_go(s, again);
    looks_let_go(s, l);
    CHECK_STATUS(looks_find(s, second, "m", &again, &err), SG_ENOTFOUND);
    looks_free(s);
    sg_model_close(m);
}

static void prompts_are_squares_where_the_vocabulary_is_othellos(void **state)
{
    (void)state;
    sg_model *board = model_of(61), *plain = model_of(17);
    sg_tokens ids = {0};
    sg_error err;
    CHECK(strcmp(prompt_kind(board), "othello8") == 0 && strcmp(prompt_kind(plain), "numbers") == 0);
    CHECK_OK(prompt_read(board, "f5 d6c3,12", &ids, &err), &err);
    CHECK(ids.n == 4 && ids.ids[3] == 12);
    for (int i = 0; i < 3; i++) {
        static const char *const names[3] = {"f5", "d6", "c3"};
        char *text = prompt_token(board, ids.ids[i]);
        CHECK(strcmp(text, names[i]) == 0);
        free(text);
    }
    char *pad = prompt_token(board, 0), *seven = prompt_token(plain, 7);
    CHECK(strcmp(pad, "pad") == 0 && strcmp(seven, "7") == 0);
    free(pad);
    free(seven);
    CHECK_STATUS(prompt_read(board, "d4", &ids, &err), SG_EARG); /* it is taken from the beginning */
    CHECK_STATUS(prompt_read(board, "z9", &ids, &err), SG_EARG);
    CHECK_STATUS(prompt_read(board, "f5d", &ids, &err), SG_EARG);
    CHECK_STATUS(prompt_read(plain, "one", &ids, &err), SG_EARG);
    CHECK_TEXT(err.text, "wanted numbers");
    sg_tokens_free(&ids);
    sg_model_close(board);
    sg_model_close(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_is_found_by_its_name_while_it_is_kept),
        cmocka_unit_test(looks_that_keep_much_go_sooner),
        cmocka_unit_test(prompts_are_squares_where_the_vocabulary_is_othellos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
