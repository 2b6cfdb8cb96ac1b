/* A real model against reference numbers that an independent program computed in double. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/model.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"

static sg_model *open_stories(sg_dtype dtype)
{
    char path[1024];
    sg_error err;
    sg_model *m;

    if (!sg_test_shared(path, "models/stories260K"))
        return NULL;
    CHECK_OK(sg_model_open(&m, path, (sg_model_opts){.dtype = dtype}, &err), &err);
    return m;
}

static sg_safetensors *open_golden(void)
{
    char path[1024];
    sg_error err;
    sg_safetensors *st;

    if (!sg_test_shared(path, "golden/stories260K.safetensors"))
        return NULL;
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    return st;
}

static sg_rows rows_of(const sg_safetensors *golden, const int32_t **ids, sg_dim *n)
{
    const sg_tensor *tokens = sg_safetensors_find(golden, "tokens");

    *ids = tokens->data;
    *n = sg_tensor_count(tokens);
    return (sg_rows){.n_rows = 1, .tokens = ids, .lengths = n};
}

/* Opened for its sizes alone a model is planned as any, and is not run. */
static void sizes_alone_are_planned(void **state)
{
    (void)state;
    char path[1024];
    sg_error err;
    sg_model *m[2];
    sg_glass *glass[2];
    const sg_plan *plans[2];
    const int32_t ids[3] = {1, 5, 7}, *row = ids;
    const sg_dim n = 3;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};

    SKIP_WITHOUT(sg_test_shared(path, "models/stories260K"), "models/stories260K");
    for (int k = 0; k < 2; k++) {
        sg_value *logits;
        sg_tensor out;
        CHECK_OK(sg_model_open(&m[k], path, (sg_model_opts){.dtype = SG_F64, .only_sizes = k}, &err), &err);
        CHECK_OK(sg_glass_new(&glass[k], m[k], sg_glass_defaults(), &err), &err);
        CHECK_OK(sg_glass_find(glass[k], "logits", &logits, &err), &err);
        CHECK_OK(sg_glass_plan(glass[k], &rows, 0, NULL, 1, &logits, &plans[k], &err), &err);
        CHECK(sg_plan_fetched_bytes(plans[k]) == 3 * 512 * 8);
        const sg_status status = sg_glass_run(glass[k], &rows, 0, NULL, 1, &logits, &out, &err);
        CHECK(status == (k ? SG_EARG : SG_OK));
        if (k)
            CHECK_TEXT(err.text, "only the sizes of its weights");
        else
            CHECK(sg_plan_bytes(sg_session_plan(sg_glass_session(glass[k]))) == sg_plan_bytes(plans[k]));
    }
    CHECK(sg_plan_bytes(plans[0]) == sg_plan_bytes(plans[1]) && sg_plan_n_steps(plans[0]) == sg_plan_n_steps(plans[1]));
    CHECK(sg_model_get_info(m[0])->converted_bytes == 260032 * 8 &&
          sg_model_get_info(m[1])->weight_bytes == 260032 * 4);
    for (int k = 0; k < 2; k++) {
        sg_glass_free(glass[k]);
        sg_model_close(m[k]);
    }
}

/* Within 2e-5 + 1e-4 |x| of the reference, every named value. */
static void every_named_value_agrees_with_the_reference(void **state)
{
    (void)state;
    sg_model *m = open_stories(SG_F32);
    sg_safetensors *golden = open_golden();
    if (!m || !golden) {
        print_message("skipped: the model stories260K or its reference values are not here\n");
        skip();
    }
    sg_error err;
    sg_glass *glass;
    sg_value *fetches[256];
    sg_tensor out[256];
    const int32_t *ids;
    sg_dim n;
    const sg_rows rows = rows_of(golden, &ids, &n);
    int count = 0, at[256];

    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    for (int i = 0; i < sg_safetensors_count(golden); i++) {
        if (strcmp(sg_safetensors_name(golden, i), "tokens") == 0)
            continue;
        CHECK_OK(sg_glass_find(glass, sg_safetensors_name(golden, i), &fetches[count], &err), &err);
        at[count++] = i;
    }
    CHECK(count == 77); /* the embedding, 15 values of each of 5 blocks, the logits */
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, count, fetches, out, &err), &err);
    for (int c = 0; c < count; c++) {
        const sg_tensor *want = sg_safetensors_at(golden, at[c]);
        CHECK(sg_tensor_count(want) == sg_tensor_count(&out[c]));
        for (sg_dim i = 0; i < sg_tensor_count(want); i++)
            CHECK_NEAR(sg_tensor_get(&out[c], i), sg_tensor_get(want, i), 2e-5, 1e-4);
    }
    sg_glass_free(glass);
    sg_safetensors_close(golden);
    sg_model_close(m);
}

/* 200 greedy tokens one by one through the cache. */
static void greedy_tokens_through_the_cache_are_the_published_ones(void **state)
{
    (void)state;
    char path[1024];
    sg_model *m = open_stories(SG_F32);
    if (!m || !sg_test_shared(path, "golden/stories260K.json")) {
        print_message("skipped: the model stories260K or its reference values are not here\n");
        skip();
    }
    sg_error err;
    json_t *golden = json_load_file(path, 0, NULL);
    const json_t *want = json_object_get(golden, "greedy_from_bos_tokens");
    sg_glass_opts opts = sg_glass_defaults();
    sg_glass *glass;
    sg_value *logits;
    sg_tensor out;

    opts.capacity = 256;
    CHECK_OK(sg_glass_new(&glass, m, opts, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    int32_t id = (int32_t)json_integer_value(json_array_get(want, 0));
    for (size_t i = 0; i + 1 < json_array_size(want); i++) {
        const int32_t *row = &id;
        const sg_dim one = 1;
        const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &one};
        CHECK_OK(sg_glass_extend(glass, &rows, 1, &logits, &out, &err), &err);
        int32_t best = 0;
        for (sg_dim v = 1; v < sg_tensor_count(&out); v++)
            if (sg_tensor_get(&out, v) > sg_tensor_get(&out, best))
                best = (int32_t)v;
        id = best;
        CHECK(id == json_integer_value(json_array_get(want, i + 1)));
    }
    json_decref(golden);
    sg_glass_free(glass);
    sg_model_close(m);
}

/* Feeding a value with what it held anyway changes nothing, and nothing behind it runs. */
static void a_fed_value_cuts_off_what_is_behind_it(void **state)
{
    (void)state;
    sg_model *m = open_stories(SG_F32);
    sg_safetensors *golden = open_golden();
    if (!m || !golden) {
        print_message("skipped: the model stories260K or its reference values are not here\n");
        skip();
    }
    sg_error err;
    sg_glass *glass;
    sg_value *both[2];
    sg_tensor out[2];
    const int32_t *ids;
    sg_dim n;
    const sg_rows rows = rows_of(golden, &ids, &n);

    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, "blocks.2.hook_resid_pre", &both[0], &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &both[1], &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, both, out, &err), &err);
    const size_t bytes = sg_tensor_bytes(&out[1]), resid_bytes = sg_tensor_bytes(&out[0]);
    void *logits = malloc(bytes), *resid = malloc(resid_bytes);
    memcpy(logits, out[1].data, bytes);
    memcpy(resid, out[0].data, resid_bytes);
    sg_named_feed feed = {"blocks.2.hook_resid_pre", out[0]};
    feed.tensor.data = resid;
    CHECK_OK(sg_glass_run(glass, &rows, 1, &feed, 1, &both[1], out, &err), &err);
    CHECK(memcmp(logits, out[0].data, bytes) == 0);
    const sg_plan *plan = sg_session_plan(sg_glass_session(glass));
    CHECK(sg_plan_n_steps(plan) > 10);
    for (int s = 0; s < sg_plan_n_steps(plan); s++) {
        CHECK(strstr(sg_plan_step_name(plan, s), "blocks.0.") == NULL);
        CHECK(strstr(sg_plan_step_name(plan, s), "blocks.1.") == NULL);
        CHECK(strstr(sg_plan_step_name(plan, s), "hook_embed") == NULL);
    }
    free(logits);
    free(resid);
    sg_glass_free(glass);
    sg_safetensors_close(golden);
    sg_model_close(m);
}

/* d loss / d resid_post by the graph and by central differences, both in f64. */
static void the_gradient_of_the_loss_agrees_with_differences(void **state)
{
    (void)state;
    sg_model *m = open_stories(SG_F64);
    sg_safetensors *golden = open_golden();
    if (!m || !golden) {
        print_message("skipped: the model stories260K or its reference values are not here\n");
        skip();
    }
    sg_error err;
    sg_glass *glass;
    sg_value *site, *loss;
    sg_tensor out[2];
    const int32_t *ids;
    sg_dim n;
    const sg_rows rows = rows_of(golden, &ids, &n);

    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, "blocks.0.hook_resid_post", &site, &err), &err);
    CHECK_OK(sg_glass_find(glass, "loss", &loss, &err), &err);
    sg_value *fetches[2] = {site, sg_grad(sg_glass_graph(glass), loss, site)};
    CHECK_OK(sg_graph_status(sg_glass_graph(glass), &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, fetches, out, &err), &err);
    const sg_dim count = sg_tensor_count(&out[0]);
    double *x = malloc((size_t)count * sizeof *x), *grad = malloc((size_t)count * sizeof *grad);
    memcpy(x, out[0].data, (size_t)count * sizeof *x);
    memcpy(grad, out[1].data, (size_t)count * sizeof *grad);
    sg_named_feed feed = {"blocks.0.hook_resid_post", out[0]};
    feed.tensor.data = x;
    double norm = 0;
    for (sg_dim i = 0; i < count; i++)
        norm = fmax(norm, fabs(grad[i]));
    CHECK(norm > 1e-4);
    for (sg_dim i = 7; i < count; i += 61) { /* 22 places spread over positions and widths */
        const double h = 1e-5, kept = x[i];
        double side[2];
        for (int s = 0; s < 2; s++) {
            x[i] = kept + (s ? h : -h);
            CHECK_OK(sg_glass_run(glass, &rows, 1, &feed, 1, &loss, out, &err), &err);
            side[s] = sg_tensor_get(&out[0], 0);
        }
        x[i] = kept;
        /* Central differences err by h^2 and by rounding / h, both near 1e-10 here; relative to the largest slope. */
        CHECK_NEAR((side[1] - side[0]) / (2 * h), grad[i], 1e-6 * norm, 1e-6);
    }
    free(x);
    free(grad);
    sg_glass_free(glass);
    sg_safetensors_close(golden);
    sg_model_close(m);
}

/* Writes stories260K with its matrices in another type, as people store models. */
static void save_as(const char *dir, sg_dtype type)
{
    char path[1100], from[1024];
    sg_error err;
    sg_safetensors *st;

    CHECK(sg_test_shared(from, "models/stories260K/model.safetensors"));
    CHECK_OK(sg_safetensors_open(&st, from, &err), &err);
    const int n = sg_safetensors_count(st);
    sg_named_tensor *list = calloc((size_t)n, sizeof *list);
    CHECK(list != NULL);
    int n_list = 0;
    for (int vectors = 1; vectors >= 0; vectors--) /* wider types first, so that all are aligned */
        for (int i = 0; i < n; i++) {
            sg_tensor t = *sg_safetensors_at(st, i);
            if ((t.n_dims == 1) != (vectors == 1))
                continue;
            if (t.n_dims == 2) {
                void *low = malloc((size_t)sg_tensor_count(&t) * 2);
                CHECK(low != NULL);
                sg_convert(low, type, t.data, t.dtype, sg_tensor_count(&t));
                t = sg_tensor_of(type, 2, t.dims, low);
            }
            list[n_list++] = (sg_named_tensor){sg_safetensors_name(st, i), t};
        }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK_OK(sg_safetensors_save(path, list, n_list, NULL, 0, &err), &err);
    for (int i = 0; i < n_list; i++)
        if (list[i].tensor.n_dims == 2)
            free(list[i].tensor.data);
    free(list);
    sg_safetensors_close(st);
    snprintf(path, sizeof path, "%s/config.json", dir);
    CHECK(sg_test_shared(from, "models/stories260K/config.json"));
    sg_file *config;
    CHECK_OK(sg_file_open(&config, from, &err), &err);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(sg_file_data(config), 1, sg_file_bytes(config), f) == sg_file_bytes(config) && fclose(f) == 0);
    sg_file_close(config);
}

/* Read as they lie the weights are the same numbers as their f32 copies: sums differ in their order alone. */
static void weights_as_they_are_stored_give_what_their_copies_give(void **state)
{
    (void)state;
    char dir[] = "/tmp/sightglass-stories-XXXXXX", path[64];
    const int32_t ids[6] = {1, 403, 407, 261, 378, 432}, *row = ids;
    const sg_dim n = 6;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    sg_error err;

    char there[1024];
    SKIP_WITHOUT(sg_test_shared(there, "models/stories260K"), "models/stories260K");
    CHECK(mkdtemp(dir) != NULL);
    for (int half = 0; half < 2; half++) {
        sg_model *m[2];
        sg_glass *glass[2];
        sg_tensor out[2][2];
        save_as(dir, half ? SG_F16 : SG_BF16);
        for (int k = 0; k < 2; k++) {
            sg_model_opts opts = sg_model_defaults();
            sg_value *fetches[2];
            opts.as_stored = k == 0;
            CHECK_OK(sg_model_open(&m[k], dir, opts, &err), &err);
            CHECK_OK(sg_glass_new(&glass[k], m[k], sg_glass_defaults(), &err), &err);
            CHECK_OK(sg_glass_find(glass[k], "logits", &fetches[0], &err), &err);
            CHECK_OK(sg_glass_find(glass[k], "blocks.0.hook_resid_pre", &fetches[1], &err), &err);
            sg_value *loss;
            CHECK_OK(sg_glass_find(glass[k], "loss", &loss, &err), &err);
            fetches[1] = sg_grad(sg_glass_graph(glass[k]), loss, fetches[1]);
            CHECK_OK(sg_glass_run(glass[k], &rows, 0, NULL, 2, fetches, out[k], &err), &err);
        }
        CHECK(sg_model_hash(m[0]) == sg_model_hash(m[1]));
        CHECK(sg_model_get_info(m[0])->converted_bytes == 0);
        CHECK(sg_model_get_info(m[1])->converted_bytes > sg_model_get_info(m[1])->weight_bytes);
        for (int f = 0; f < 2; f++)
            for (sg_dim i = 0; i < sg_tensor_count(&out[0][f]); i++)
                CHECK_NEAR(((float *)out[0][f].data)[i], ((float *)out[1][f].data)[i], f ? 1e-6 : 1e-4, 1e-4);
        for (int k = 0; k < 2; k++) {
            sg_glass_free(glass[k]);
            sg_model_close(m[k]);
        }
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_named_value_agrees_with_the_reference),
        cmocka_unit_test(greedy_tokens_through_the_cache_are_the_published_ones),
        cmocka_unit_test(a_fed_value_cuts_off_what_is_behind_it),
        cmocka_unit_test(sizes_alone_are_planned),
        cmocka_unit_test(weights_as_they_are_stored_give_what_their_copies_give),
        cmocka_unit_test(the_gradient_of_the_loss_agrees_with_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
