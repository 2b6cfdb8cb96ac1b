/* Requests at once: one model, many glasses, each answer that which it gives alone. */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "serve/models.h"

#define FOLDER  SG_SOURCE_DIR "/models"
#define THREADS 6
#define ROUNDS  5
#define N       6
#define VOCAB   64

static const int32_t game[N] = {9, 8, 2, 3, 10, 16};

typedef struct asker {
    serve_models *models;
    int number;
    float wanted[VOCAB], found[VOCAB];
    const sg_model *model;
    bool failed;
} asker;

/* No check in here: cmocka's leave by longjmp, which is for the main thread alone. */
static bool ask(serve_models *models, int number, float out[VOCAB])
{
    const int32_t *row = game;
    const sg_dim n = N;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    json_t *edits = json_pack("[{s:s, s:s, s:f}]", "site", "blocks.2.hook_resid_post", "op", "scale", "strength",
                              0.25 * (number + 1));
    serve_glass *g = NULL;
    sg_value *logits = NULL;
    sg_tensor t;

    bool ok = serve_glass_take(&g, models, (serve_glass_ask){.model = "othello6", .edits = edits}, NULL) == SG_OK &&
              sg_glass_find(g->glass, "logits", &logits, NULL) == SG_OK &&
              sg_glass_run(g->glass, &rows, 0, NULL, 1, &logits, &t, NULL) == SG_OK && t.dims[2] <= VOCAB;
    if (ok)
        memcpy(out, (const float *)t.data + (N - 1) * t.dims[2], (size_t)t.dims[2] * sizeof *out);
    serve_glass_give(g, ok);
    json_decref(edits);
    return ok;
}

static void *work(void *context)
{
    asker *a = context;

    a->failed |= serve_models_open(&a->model, a->models, "othello6", NULL) != SG_OK;
    for (int i = 0; i < ROUNDS && !a->failed; i++)
        a->failed |= !ask(a->models, a->number, a->found) || memcmp(a->found, a->wanted, sizeof a->found) != 0;
    return NULL;
}

static void each_gets_what_it_gets_alone(void **state)
{
    (void)state;
    serve_models *alone, *shared;
    static asker askers[THREADS];
    pthread_t threads[THREADS];
    sg_error err;

    CHECK_OK(serve_models_new(&alone, serve_models_defaults(), &err), &err);
    CHECK_OK(serve_models_new(&shared, serve_models_defaults(), &err), &err);
    CHECK_OK(serve_models_add(alone, FOLDER, &err), &err);
    CHECK_OK(serve_models_add(shared, FOLDER, &err), &err);
    for (int i = 0; i < THREADS; i++) {
        askers[i].models = shared;
        askers[i].number = i;
        CHECK(ask(alone, i, askers[i].wanted));
        CHECK(i == 0 || memcmp(askers[i].wanted, askers[i - 1].wanted, sizeof askers[i].wanted) != 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, &askers[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        CHECK(!askers[i].failed && askers[i].model == askers[0].model);
    const serve_glass_count count = serve_glass_counted(shared);
    CHECK(count.made <= THREADS && count.made + count.reused == THREADS * ROUNDS && count.n == count.made);
    serve_models_free(alone);
    serve_models_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_gets_what_it_gets_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
