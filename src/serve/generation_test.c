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

/* A folder with a random model of 512 tokens' context. */
static void make_model(const char *folder)
{
    static const char text[] =
        "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 32, "
        "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 48, "
        "\"vocab_size\": 60, \"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-5, \"initializer_range\": 0.3, "
        "\"hidden_act\": \"silu\", \"eos_token_id\": 0}";
    char config[300];
    sg_model *m;
    sg_graph *g;
    sg_state *s;
    sg_error err;

    snprintf(config, sizeof config, "%s/config.json", folder);
    FILE *to = fopen(config, "wb");
    CHECK(to && fputs(text, to) >= 0 && fclose(to) == 0);
    CHECK_OK(sg_model_new(&m, config, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 0, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 5, &err), &err);
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, folder, &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
}

/* What a prompt had in common with one before is not read again, and the text is the same; other edits share nothing. */
static void a_common_prefix_is_read_once(void **state)
{
    (void)state;
    enum { N = 400 };
    char folder[] = "/tmp/sg-prefix-XXXXXX", path[300];
    int32_t ids[N];
    json_t *weak = json_loads("[{\"site\": \"blocks.0.hook_resid_post\", \"op\": \"scale\", \"strength\": 0.9}]", 0, NULL);
    json_t *strong = json_loads("[{\"site\": \"blocks.0.hook_resid_post\", \"op\": \"scale\", \"strength\": 0.1}]", 0, NULL);
    const json_t *const edits[5] = {NULL, NULL, weak, strong, strong};
    const sg_dim shared[5] = {0, 384, 0, 0, 384};
    sg_error err;

    CHECK(mkdtemp(folder) != NULL);
    make_model(folder);
    for (int i = 0; i < N; i++)
        ids[i] = 1 + i * i % 59;
    serve_models *models;
    CHECK_OK(serve_models_new(&models, serve_models_defaults(), &err), &err);
    CHECK_OK(serve_models_add(models, folder, &err), &err);
    for (int i = 0; i < 5; i++) {
        serve_models *fresh;
        generation g = {0}, alone = {0};
        generation_ask ask = generation_defaults();
        CHECK_OK(serve_models_new(&fresh, serve_models_defaults(), &err), &err);
        CHECK_OK(serve_models_add(fresh, folder, &err), &err);
        ids[N - 1] = i + 1; /* the prompts differ in their last token */
        ask.models = models;
        ask.model = serve_models_id(models, 0);
        ask.tokens = ids;
        ask.n = N;
        ask.edits = edits[i];
        ask.write.sample.temperature = 1;
        ask.write.n_top = 1;
        CHECK_OK(generation_run(&g, &ask, NULL, &err), &err);
        ask.models = fresh;
        CHECK_OK(generation_run(&alone, &ask, NULL, &err), &err);
        CHECK(g.w.n_shared == shared[i] && alone.w.n_shared == 0);
        assert_string_equal(g.w.text, alone.w.text);
        CHECK(g.w.logprob == alone.w.logprob);
        generation_free(&g);
        generation_free(&alone);
        serve_models_free(fresh);
    }
    const serve_batches_count count = serve_batches_counted(serve_models_batches(models));
    CHECK(count.made == 2 && count.n == 2 && count.shared == 2 * 384); /* with and without an edit */
    serve_models_free(models);
    json_decref(weak);
    json_decref(strong);
    static const char *const files[] = {"config.json", "model.safetensors"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* The same where memory runs out for a row of a batch. */
static void rows_run_out_of_memory_too(void **state)
{
    (void)state;
    json_t *edits = json_loads("[{\"site\": \"blocks.1.hook_resid_post\", \"op\": \"scale\", \"strength\": 0.5}]", 0, NULL);

    for (long n = 0;; n++) {
        serve_models *models = NULL;
        generation g = {0};
        sg_error err = {SG_OK, ""};
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = serve_models_new(&models, serve_models_defaults(), &err);
        if (status == SG_OK)
            status = serve_models_add(models, SG_SOURCE_DIR "/models/othello6", &err);
        generation_ask ask = ask_of(models);
        ask.write.most = 2;
        ask.edits = edits;
        if (status == SG_OK)
            status = generation_run(&g, &ask, NULL, &err);
        const bool fired = sg_faults_end();
        if (!fired)
            CHECK_OK(status, &err);
        else if (status != SG_OK && status != SG_ENOMEM) {
            print_error("allocation %ld: %s\n", n, err.text);
            CHECK(status == SG_ENOMEM);
        }
        CHECK(!models || serve_batches_counted(serve_models_batches(models)).rows == 0);
        generation_free(&g);
        serve_models_free(models);
        if (!fired)
            break;
    }
    json_decref(edits);
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
        cmocka_unit_test(a_common_prefix_is_read_once),
        cmocka_unit_test(running_out_of_memory_is_reported),
        cmocka_unit_test(rows_run_out_of_memory_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
