/* Several threads look at the same runs and at others, while some are let go. */
#include "serve/looks.h"

#include <pthread.h>

#include "base/base.h"
#include "check.h"

enum { THREADS = 4, TURNS = 6, N = 5 };

static looks *all;
static look_glasses *glasses;
static sg_model *model;

static void *work(void *me)
{
    const int who = *(const int *)me;
    for (int turn = 0; turn < TURNS; turn++) {
        int32_t ids[N] = {(who + turn) % 3, 1, 2, 3, 4};
        sg_error err;
        look *l = NULL, *again = NULL;
        json_t *edits =
            json_pack("[{s:s, s:s, s:f}]", "site", "blocks.0.hook_mlp_out", "op", "scale", "strength", turn / 2.0);
        const look_of of = {model, sg_exec_defaults(), N, ids, 0, turn % 2 ? edits : NULL};
        look_prediction *p;
        const look_scan *scan;
        uint16_t *tile;
        sg_dim rows, columns;
        CHECK_OK(looks_open(all, of, "m", &l, &err), &err);
        CHECK_OK(look_predict(glasses, of, (look_question){.k = 2}, &p, &err), &err);
        CHECK_OK(look_heads(l, 1, &scan, &err), &err);
        CHECK_OK(look_tile(l, 0, 1, 0, 0, 0, false, &tile, &rows, &columns, &err), &err);
        CHECK(rows == N && scan->n_heads == 2 && p->n_rows == 1 + turn % 2);
        CHECK_OK(looks_find(all, look_id(l), "m", &again, &err), &err);
        CHECK(again == l);
        looks_let_go(all, again);
        looks_let_go(all, l);
        look_prediction_free(p);
        free(tile);
        json_decref(edits);
    }
    return NULL;
}

static void threads_share_looks(void **state)
{
    (void)state;
    static const char config[] =
        "{\"model_type\": \"gpt2\", \"n_embd\": 8, \"n_layer\": 2, \"n_head\": 2, \"n_positions\": 8, "
        "\"vocab_size\": 17, \"tie_word_embeddings\": false}";
    pthread_t thread[THREADS];
    int who[THREADS];
    sg_error err;
    FILE *f = fopen("looks_thread_config.json", "w");
    CHECK(f && fputs(config, f) >= 0 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&model, "looks_thread_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("looks_thread_config.json");
    CHECK_OK(looks_new(&all, 2, 1 << 20, &err), &err);
    CHECK_OK(look_glasses_new(&glasses, 2, &err), &err);
    for (int i = 0; i < THREADS; i++) {
        who[i] = i;
        CHECK(pthread_create(&thread[i], NULL, work, &who[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    look_glasses_free(glasses);
    looks_free(all);
    sg_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_looks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
