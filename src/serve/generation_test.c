/* What routes do not show: when writing stops, what is told, and that memory may run out anywhere. */
#include "faults.h"

#include <jansson.h>
#include <string.h>

#include "check.h"
#include "serve/batches.h"
#include "serve/generation.h"

static const int32_t game[4] = {9, 8, 2, 3};

static serve_models *open_models(void)
{
    serve_models *models;
    sg_error err;

    CHECK_OK(serve_models_new(&models, serve_models_defaults(), &err), &err);
    CHECK_OK(serve_models_add(models, SG_SOURCE_DIR "/models/othello6", &err), &err);
    return models;
}

static generation_ask ask_of(serve_models *models)
{
    generation_ask ask = generation_defaults();

    ask.models = models;
    ask.model = "othello6";
    ask.tokens = game;
    ask.n = 4;
    return ask;
}

typedef struct listener {
    atomic_bool gone;
    int calls, last, leaves_after;
    size_t text;
    int token, step;
    bool in_order;
} listener;

static sg_status listen(void *context, const generation *g, size_t text, int token, int step, bool last, sg_error *err)
{
    listener *l = context;

    (void)err;
    l->in_order &= text == l->text && token == l->token && step == l->step;
    l->text = g->w.bytes;
    l->token = g->w.n_tokens;
    l->step = fetched_steps(g->fetched);
    l->calls++;
    l->last += last;
    if (l->calls == l->leaves_after)
        l->gone = true;
    return SG_OK;
}

static void pieces_follow_one_another(void **state)
{
    (void)state;
    serve_models *models = open_models();
    generation_ask ask = ask_of(models);
    generation g = {0};
    listener l = {.in_order = true};
    json_t *fetch = json_string("blocks.0.hook_resid_post");
    sg_error err;

    ask.tell = listen;
    ask.context = &l;
    ask.fetch = fetch;
    ask.write.most = 6;
    CHECK_OK(generation_run(&g, &ask, NULL, &err), &err);
    CHECK(l.in_order && l.last == 1 && l.calls == 6 && l.token == 6 && l.step == 6);
    CHECK(g.w.n_written == 6 && strcmp(g.w.reason, "length") == 0 && g.w.bytes == l.text);
    generation_free(&g);
    json_decref(fetch);
    serve_models_free(models);
}

static void who_leaves_is_not_written_for(void **state)
{
    (void)state;
    serve_models *models = open_models();
    generation_ask ask = ask_of(models);
    generation g = {0};
    listener l = {.leaves_after = 3};
    sg_error err;

    ask.tell = listen;
    ask.context = &l;
    ask.gone = &l.gone;
    CHECK_STATUS(generation_run(&g, &ask, NULL, &err), SG_ECANCELLED);
    CHECK(g.w.n_written == 3 && l.last == 0);
    generation_free(&g);
    /* Its row went back and begins anew. */
    serve_batches *batches = serve_models_batches(models);
    CHECK(serve_batches_counted(batches).n == 1 && serve_batches_counted(batches).rows == 0);
    l = (listener){.in_order = true};
    CHECK_OK(generation_run(&g, &ask, NULL, &err), &err);
    CHECK(g.w.n_written == 16 && serve_batches_counted(batches).made == 1 &&
          serve_batches_counted(batches).joined == 2);
    generation_free(&g);
    serve_models_free(models);
}

static void what_stops_is_held_back_until_it_is_certain(void **state)
{
    (void)state;
    serve_models *models = open_models();
    generation_ask ask = ask_of(models);
    generation whole = {0}, g = {0};
    listener l = {.in_order = true};
    char stop[8];
    sg_error err;

    CHECK_OK(generation_run(&whole, &ask, NULL, &err), &err);
    CHECK(whole.w.bytes == 16 * 3); /* " d2" sixteen times */
    /* The fourth and fifth words end it; the fourth alone is not shown before the fifth is known. */
    snprintf(stop, sizeof stop, "%.6s", whole.w.text + 9);
    ask.write.stops[0] = stop;
    ask.write.n_stops = 1;
    ask.tell = listen;
    ask.context = &l;
    CHECK_OK(generation_run(&g, &ask, NULL, &err), &err);
    CHECK(g.w.bytes == 9 && strncmp(g.w.text, whole.w.text, 9) == 0 && strcmp(g.w.reason, "stop") == 0);
    CHECK(g.w.n_tokens == 3 && g.w.n_written == 5 && l.in_order && l.last == 1);
    generation_free(&g);
    /* A stop that never comes holds back what may be its beginning, and lets it go at the end. */
    snprintf(stop, sizeof stop, "%.3szz", whole.w.text + 45);
    l = (listener){.in_order = true};
    CHECK_OK(generation_run(&g, &ask, NULL, &err), &err);
    assert_string_equal(g.w.text, whole.w.text);
    CHECK(g.w.n_tokens == 16 && l.token == 16 && l.in_order);
    generation_free(&g);
    generation_free(&whole);
    serve_models_free(models);
}

static void running_out_of_memory_is_reported(void **state)
{
    (void)state;
    json_error_t at;
    json_t *edits =
        json_loads("[{\"site\": \"blocks.1.hook_resid_post\", \"op\": \"patch\", \"value\": {\"run\": {\"tokens\": "
                   "[9, 8, 2]}}}]",
                   0, &at);
    json_t *fetch = json_string("blocks.0.hook_resid_post");

    for (long n = 0;; n++) {
        serve_models *models = NULL;
        generation g = {0};
        sg_error err = {SG_OK, ""};
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = serve_models_new(&models, serve_models_defaults(), &err);
        if (status == SG_OK)
            status = serve_models_add(models, SG_SOURCE_DIR "/models/othello6", &err);
        generation_ask ask = ask_of(models);
        ask.write.most = 3;
        ask.write.n_top = 2;
        ask.write.echo = true;
        ask.edits = edits;
        ask.fetch = fetch;
        ask.write.stops[0] = "zz";
        ask.write.n_stops = 1;
        ask.write.frequency = 1;
        if (status == SG_OK)
            status = generation_run(&g, &ask, NULL, &err);
        const bool fired = sg_faults_end();
        if (!fired)
            CHECK_OK(status, &err);
        /* Some libraries do without what they did not get. */
        else if (status != SG_OK && status != SG_ENOMEM) {
            print_error("allocation %ld: %s\n", n, err.text);
            CHECK(status == SG_ENOMEM);
        }
        json_t *j = fetched_json(g.fetched, 0);
        CHECK(j || fired);
        json_decref(j);
        generation_free(&g);
        serve_models_free(models);
        if (!fired) {
            CHECK(n > 100);
            break;
        }
    }
    json_decref(edits);
    json_decref(fetch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_follow_one_another),
        cmocka_unit_test(who_leaves_is_not_written_for),
        cmocka_unit_test(what_stops_is_held_back_until_it_is_certain),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
