/* The registry and the pool, on the models that lie in the tree. */
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "serve/models.h"

#define FOLDER SG_SOURCE_DIR "/models"
#define N      6
#define VOCAB  64

static const int32_t game[N] = {9, 8, 2, 3, 10, 16}; /* tokens of othello6, whatever they mean */

static serve_models *open_models(serve_models_opts opts)
{
    serve_models *models;
    sg_error err;

    CHECK_OK(serve_models_new(&models, opts, &err), &err);
    CHECK_OK(serve_models_add(models, FOLDER "/othello6", &err), &err);
    CHECK_OK(serve_models_add(models, FOLDER "/othello8", &err), &err);
    return models;
}

static json_t *parse(const char *text)
{
    json_error_t at;
    json_t *j = json_loads(text, 0, &at);

    if (!j)
        print_error("%s\n", at.text);
    CHECK(j != NULL);
    return j;
}

/* Logits behind the last token of a run without a cache; returns its plan. */
static const sg_plan *logits_of(serve_models *models, const char *edits, float out[VOCAB])
{
    json_t *list = edits ? parse(edits) : NULL;
    const int32_t *row = game;
    const sg_dim n = N;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    serve_glass *g;
    sg_value *logits;
    sg_tensor t;
    sg_error err;

    CHECK_OK(serve_glass_take(&g, models, (serve_glass_ask){.model = "othello6", .edits = list}, &err), &err);
    json_decref(list);
    CHECK_OK(sg_glass_find(g->glass, "logits", &logits, &err), &err);
    CHECK_OK(sg_glass_run(g->glass, &rows, 0, NULL, 1, &logits, &t, &err), &err);
    CHECK(t.dims[2] <= VOCAB);
    memset(out, 0, VOCAB * sizeof *out);
    memcpy(out, (const float *)t.data + (N - 1) * t.dims[2], (size_t)t.dims[2] * sizeof *out);
    const sg_plan *plan = sg_session_plan(sg_glass_session(g->glass));
    serve_glass_give(g, true);
    return plan;
}

static void models_are_named_by_their_folders(void **state)
{
    (void)state;
    serve_models *models;
    const sg_model *a, *b;
    sg_error err;

    /* A folder of folders: all of them, by their names; gan/ is no model of this kind. */
    CHECK_OK(serve_models_new(&models, serve_models_defaults(), &err), &err);
    CHECK_OK(serve_models_add(models, FOLDER, &err), &err);
    CHECK(serve_models_count(models) > 2);
    for (int i = 0; i < serve_models_count(models); i++) {
        CHECK(strcmp(serve_models_id(models, i), "gan") != 0);
        CHECK(i == 0 || strcmp(serve_models_id(models, i - 1), serve_models_id(models, i)) < 0);
    }
    serve_models_free(models);
    models = open_models(serve_models_defaults());
    CHECK(serve_models_count(models) == 2);
    CHECK(strcmp(serve_models_id(models, 0), "othello6") == 0 && strcmp(serve_models_id(models, 1), "othello8") == 0);
    CHECK(!serve_models_is_open(models, 0) && serve_models_hash(models, "othello6") == 0);
    CHECK_OK(serve_models_add(models, FOLDER "/othello6", &err), &err); /* named twice: one model */
    CHECK_OK(serve_models_add(models, FOLDER "/../models/othello6/", &err), &err);
    CHECK(strcmp(serve_models_id(models, serve_models_count(models) - 1), "othello6") != 0);
    CHECK_OK(serve_models_open(&a, models, "othello6", &err), &err);
    CHECK_OK(serve_models_open(&b, models, "othello6", &err), &err);
    CHECK(a == b && serve_models_is_open(models, 0) && !serve_models_is_open(models, 1));
    CHECK(serve_models_hash(models, "othello6") == sg_model_hash(a));
    serve_models_free(models);
}

static void errors_say_which_models_there_are(void **state)
{
    (void)state;
    serve_models *models = open_models(serve_models_defaults());
    const sg_model *m;
    sg_error err;

    CHECK_STATUS(serve_models_open(&m, models, "gpt-4", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "no model \"gpt-4\" is here; there are othello6, othello8");
    CHECK_STATUS(serve_models_add(models, FOLDER "/nowhere", &err), SG_ENOTFOUND);
    CHECK_STATUS(serve_models_add(models, SG_SOURCE_DIR "/docs", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "config.json");
    serve_models_free(models);
    CHECK_OK(serve_models_new(&models, serve_models_defaults(), &err), &err);
    CHECK_STATUS(serve_models_open(&m, models, "othello6", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "there are none");
    serve_models_free(models);
}

static void two_folders_of_one_name_are_told_apart(void **state)
{
    (void)state;
    char folder[] = "/tmp/sightglass-models-XXXXXX", path[256], command[512];
    serve_models *models = open_models(serve_models_defaults());
    sg_error err;

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/othello6", folder);
    snprintf(command, sizeof command, "cp -r '%s/othello6' '%s' && mkdir '%s/a b'", FOLDER, path, folder);
    CHECK(system(command) == 0);
    CHECK_OK(serve_models_add(models, path, &err), &err);
    CHECK(strcmp(serve_models_id(models, serve_models_count(models) - 1), "othello6-2") == 0);
    snprintf(command, sizeof command, "cp '%s/othello6/config.json' '%s/a b/'", FOLDER, folder);
    CHECK(system(command) == 0);
    snprintf(path, sizeof path, "%s/a b", folder);
    CHECK_OK(serve_models_add(models, path, &err), &err);
    CHECK(strcmp(serve_models_id(models, serve_models_count(models) - 1), "a-b") == 0);
    const sg_model *m;
    for (int i = 0; i < 2; i++) /* a model that cannot be opened says so each time */
        CHECK(serve_models_open(&m, models, "a-b", &err) != SG_OK);
    CHECK_TEXT(err.text, "model.safetensors");
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK(system(command) == 0);
    serve_models_free(models);
}

static void a_slider_plans_nothing_anew(void **state)
{
    (void)state;
    static const char weak[] = "[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"scale\", \"strength\": 0.5}]";
    static const char strong[] = "[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"scale\", \"strength\": 4, "
                                 "\"positions\": [[1, 3], -1]}]";
    static const char other[] = "[{\"site\": \"blocks.1.hook_resid_post\", \"op\": \"scale\", \"strength\": 4}]";
    float plain[VOCAB], first[VOCAB], second[VOCAB], again[VOCAB], alone[VOCAB];
    serve_models *models = open_models(serve_models_defaults()), *fresh = open_models(serve_models_defaults());

    logits_of(models, NULL, plain);
    const sg_plan *plan = logits_of(models, weak, first);
    CHECK(logits_of(models, strong, second) == plan);
    CHECK(logits_of(models, weak, again) == plan);
    CHECK(serve_glass_counted(models).made == 2 && serve_glass_counted(models).reused == 2);
    CHECK(memcmp(first, again, sizeof first) == 0 && memcmp(first, second, sizeof first) != 0);
    CHECK(memcmp(first, plain, sizeof first) != 0);
    logits_of(fresh, strong, alone);
    CHECK(memcmp(alone, second, sizeof alone) == 0);
    CHECK(logits_of(models, other, again) != plan);
    CHECK(serve_glass_counted(models).made == 3 && serve_glass_counted(models).n == 3);
    CHECK(serve_glass_counted(models).bytes > 0);
    serve_models_free(models);
    serve_models_free(fresh);
}

static void values_from_runs_are_computed_for_each_request(void **state)
{
    (void)state;
    static const char one[] = "[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"patch\", \"value\": "
                              "{\"run\": {\"tokens\": [9, 8, 2, 3, 10, 17]}}}]";
    static const char two[] = "[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"patch\", \"value\": "
                              "{\"run\": {\"tokens\": [9, 8, 2, 3, 10, 16]}}}]";
    float plain[VOCAB], a[VOCAB], b[VOCAB];
    serve_models *models = open_models(serve_models_defaults());

    logits_of(models, NULL, plain);
    logits_of(models, one, a);
    logits_of(models, two, b);
    CHECK(serve_glass_counted(models).made == 2); /* the plain one, which also runs what values come from, and one */
    CHECK(memcmp(a, plain, sizeof a) != 0);
    for (int i = 0; i < VOCAB; i++) /* patched from a run of the same tokens: as if it were not */
        CHECK_NEAR(b[i], plain[i], 1e-5, 1e-5);
    serve_models_free(models);
}

static void glasses_that_waited_longest_go_first(void **state)
{
    (void)state;
    serve_models_opts opts = serve_models_defaults();
    opts.most_glasses = 2;
    serve_models *models = open_models(opts);
    float out[VOCAB];
    char edits[128];

    for (int i = 0; i < 4; i++) {
        snprintf(edits, sizeof edits, "[{\"site\": \"blocks.%d.hook_resid_post\", \"op\": \"scale\"}]", i);
        logits_of(models, edits, out);
        logits_of(models, "[{\"site\": \"blocks.0.hook_attn_out\", \"op\": \"scale\"}]", out);
        CHECK(serve_glass_counted(models).n == 2 || i == 0);
    }
    CHECK(serve_glass_counted(models).made == 5); /* the one used all along was kept */
    serve_models_free(models);

    opts.most_bytes = 1;
    models = open_models(opts);
    logits_of(models, NULL, out);
    CHECK(serve_glass_counted(models).n == 0 && serve_glass_counted(models).bytes == 0);
    serve_models_free(models);
}

static void a_cache_starts_empty_each_time(void **state)
{
    (void)state;
    serve_models *models = open_models(serve_models_defaults());
    const int32_t *row = game;
    sg_dim n = N;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    float first[VOCAB] = {0};
    sg_glass *same = NULL;
    sg_error err;

    for (int i = 0; i < 3; i++) {
        serve_glass *g;
        sg_tensor t;
        CHECK_OK(serve_glass_take(&g, models, (serve_glass_ask){.model = "othello6", .capacity = 10 + i}, &err), &err);
        CHECK(sg_glass_past(g->glass) == 0 && (!same || g->glass == same));
        same = g->glass;
        CHECK_OK(sg_glass_extend(g->glass, &rows, 1, &g->last, &t, &err), &err);
        CHECK(t.dims[1] == 1 && sg_glass_past(g->glass) == N);
        if (i == 0)
            memcpy(first, t.data, sg_tensor_bytes(&t));
        else
            CHECK(memcmp(first, t.data, sg_tensor_bytes(&t)) == 0);
        serve_glass_give(g, true);
    }
    serve_glass *g;
    CHECK_STATUS(serve_glass_take(&g, models, (serve_glass_ask){.model = "othello6", .capacity = 33}, &err), SG_EARG);
    serve_models_free(models);
}

static void edits_that_are_wrong_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *edits, *text;
        sg_status status;
    } wrong[] = {
        {"{}", "a list", SG_EARG},
        {"[3]", "edits[0]", SG_EARG},
        {"[{\"site\": \"logits\", \"op\": \"set\", \"value\": {\"file\": \"/etc/passwd\"}}]", "may not name files",
         SG_EARG},
        {"[{\"site\": \"blocks.2.hook_resid_pots\", \"op\": \"scale\"}]", "blocks.2.hook_resid_post", SG_ENOTFOUND},
        {"[{\"site\": \"logits\", \"op\": \"sett\"}]", "none of set, add", SG_EFORMAT},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"add\", \"value\": [1, 2]}]", "the value is", SG_ESHAPE},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"set\", \"value\": {\"run\": {\"tokens\": [99]}}}]",
         "outside the vocabulary", SG_EARG},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"set\", \"value\": {\"run\": {\"text\": \"a\"}}}]",
         "no tokenizer", SG_EARG},
    };
    serve_models *models = open_models(serve_models_defaults());

    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        json_t *list = parse(wrong[i].edits);
        serve_glass *g;
        sg_error err;
        CHECK_STATUS(serve_glass_take(&g, models, (serve_glass_ask){.model = "othello6", .edits = list}, &err),
                     wrong[i].status);
        CHECK_TEXT(err.text, wrong[i].text);
        json_decref(list);
    }
    /* Numbers that are refused end the glass that they were put into. */
    static const char *const heads[] = {"1", "9", "2"};
    for (int i = 0; i < 3; i++) {
        char text[128];
        snprintf(text, sizeof text, "[{\"site\": \"blocks.1.attn.hook_z\", \"op\": \"ablate\", \"heads\": %s}]",
                 heads[i]);
        json_t *list = parse(text);
        serve_glass *g = NULL;
        sg_error err;
        const sg_status status =
            serve_glass_take(&g, models, (serve_glass_ask){.model = "othello6", .edits = list}, &err);
        CHECK(status == (i == 1 ? SG_EARG : SG_OK));
        serve_glass_give(g, true);
        json_decref(list);
    }
    serve_models_free(models);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_named_by_their_folders),
        cmocka_unit_test(errors_say_which_models_there_are),
        cmocka_unit_test(two_folders_of_one_name_are_told_apart),
        cmocka_unit_test(a_slider_plans_nothing_anew),
        cmocka_unit_test(values_from_runs_are_computed_for_each_request),
        cmocka_unit_test(glasses_that_waited_longest_go_first),
        cmocka_unit_test(a_cache_starts_empty_each_time),
        cmocka_unit_test(edits_that_are_wrong_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
