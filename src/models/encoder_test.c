/* Encoders against values that test/make_models/encoders.py computed in double from the same weights. */
#include <string.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/model.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"

#define DATA SG_SOURCE_DIR "/test/data/encoders/"

typedef struct fixture {
    const char *name, *family;
    sg_task task;
    int n_sites, n_gradients; /* that are compared, so that none is left out unseen */
} fixture;

static const fixture fixtures[] = {
    {"bert_pretraining", "bert", SG_TASK_MASKED, 41, 3},
    {"bert_labels", "bert", SG_TASK_LABEL, 7, 1},
    {"distilbert_masked", "distilbert", SG_TASK_MASKED, 38, 2},
    {"distilbert_labels", "distilbert", SG_TASK_LABEL, 6, 1},
    {"vit_labels", "vit", SG_TASK_LABEL, 36, 3},
    {"vit_pooled", "vit", SG_TASK_EMBED, 6, 1},
    {"deit_teacher", "deit", SG_TASK_LABEL, 39, 2},
    {"dinov2_plain", "dinov2", SG_TASK_EMBED, 38, 3},
    {"dinov2_registers", "dinov2_with_registers", SG_TASK_LABEL, 38, 3},
    {"clip_both", "clip", SG_TASK_MATCH, 76, 3},
    {"clip_text_alone", "clip_text", SG_TASK_EMBED, 6, 1},
    {"clip_vision_alone", "clip_vision", SG_TASK_EMBED, 6, 1},
};

/* A fixture opened: the model, a glass, its golden values and its inputs. */
typedef struct opened {
    sg_model *m;
    sg_glass *glass;
    sg_safetensors *golden;
    const int32_t *tokens[8], *types[8];
    sg_dim lengths[8];
    sg_rows rows;
    bool reads_text;
    sg_named_feed feed;
    int n_feeds;
    void *numbers; /* of pixels, in what is computed in */
} opened;

static const char *path_of(char buf[512], const char *name, const char *file)
{
    snprintf(buf, 512, DATA "%s%s%s", name, file ? "/" : "", file ? file : "");
    return buf;
}

static void open_fixture(opened *to, const char *name, sg_dtype dtype)
{
    opened o = {0};
    char path[512];
    sg_error err;

    CHECK_OK(sg_model_open(&o.m, path_of(path, name, NULL), (sg_model_opts){.dtype = dtype}, &err), &err);
    CHECK_OK(sg_glass_new(&o.glass, o.m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_safetensors_open(&o.golden, path_of(path, name, "golden.safetensors"), &err), &err);
    const sg_tensor *tokens = sg_safetensors_find(o.golden, "tokens"),
                    *mask = sg_safetensors_find(o.golden, "key_mask");
    const sg_tensor *types = sg_safetensors_find(o.golden, "token_types"),
                    *pixels = sg_safetensors_find(o.golden, "pixels");
    for (sg_dim r = 0; tokens && r < tokens->dims[0]; r++) {
        o.tokens[r] = (const int32_t *)tokens->data + r * tokens->dims[1];
        o.types[r] = types ? (const int32_t *)types->data + r * tokens->dims[1] : NULL;
        for (sg_dim t = 0; t < tokens->dims[1]; t++)
            o.lengths[r] += ((const uint8_t *)mask->data)[r * tokens->dims[1] + t];
    }
    o.reads_text = tokens != NULL;
    o.rows.n_rows = tokens ? (int)tokens->dims[0] : 0;
    if (pixels) {
        sg_tensor t = *pixels;
        t.dtype = dtype;
        o.numbers = t.data = malloc(sg_tensor_bytes(&t));
        sg_convert(t.data, dtype, pixels->data, pixels->dtype, sg_tensor_count(pixels));
        o.feed = (sg_named_feed){"pixels", t};
        o.n_feeds = 1;
    }
    *to = o;
    to->rows.tokens = to->tokens;
    to->rows.lengths = to->lengths;
    to->rows.types = types ? to->types : NULL;
}

static void close_fixture(opened *o)
{
    free(o->numbers);
    sg_safetensors_close(o->golden);
    sg_glass_free(o->glass);
    sg_model_close(o->m);
}

static void run(opened *o, int n, sg_value *const *fetches, sg_tensor *out)
{
    sg_error err;

    CHECK_OK(sg_glass_run(o->glass, o->reads_text ? &o->rows : NULL, o->n_feeds, &o->feed, n, fetches, out, &err),
             &err);
}

static void compare(const char *model, const char *site, const sg_tensor *got, const sg_tensor *want, double tol)
{
    char element[200];

    if (sg_tensor_count(got) != sg_tensor_count(want))
        print_error("%s: %s has %lld numbers, wanted %lld\n", model, site, (long long)sg_tensor_count(got),
                    (long long)sg_tensor_count(want));
    CHECK(sg_tensor_count(got) == sg_tensor_count(want));
    for (sg_dim i = 0; i < sg_tensor_count(want); i++) {
        snprintf(element, sizeof element, "%s: %s, number %lld", model, site, (long long)i);
        sg_check_near(sg_tensor_get(got, i), sg_tensor_get(want, i), tol, tol, element, __FILE__, __LINE__);
    }
}

/* Every site and gradient; f64 to rounding, f32 to what sums of its numbers lose. */
static void all_values(const fixture *f, sg_dtype dtype)
{
    opened o;
    open_fixture(&o, f->name, dtype);
    sg_graph *g = sg_glass_graph(o.glass);
    sg_value *fetches[128];
    sg_tensor out[128];
    const char *names[128], *of = sg_safetensors_metadata(o.golden, "of");
    const double tol = dtype == SG_F64 ? 1e-11 : 3e-5;
    int n = 0, n_gradients = 0;
    sg_error err;

    CHECK(strcmp(sg_model_get_info(o.m)->family, f->family) == 0 && sg_model_get_info(o.m)->task == f->task);
    CHECK(sg_model_warning(o.m, 0) == NULL);
    sg_value *y = sg_sum_all(g, sg_square(g, sg_graph_find(g, of)));
    for (int i = 0; i < sg_safetensors_count(o.golden); i++) {
        const char *name = names[n] = sg_safetensors_name(o.golden, i);
        if (strcmp(name, "tokens") == 0 || strcmp(name, "key_mask") == 0 || strcmp(name, "token_types") == 0 ||
            strcmp(name, "pixels") == 0)
            continue;
        const bool gradient = strncmp(name, "grad.", 5) == 0;
        sg_value *v;
        CHECK_OK(sg_glass_find(o.glass, gradient ? name + 5 : name, &v, &err), &err);
        fetches[n++] = gradient ? sg_grad(g, y, v) : v;
        n_gradients += gradient;
    }
    if (n - n_gradients != f->n_sites || n_gradients != f->n_gradients)
        print_error("%s: %d sites and %d gradients\n", f->name, n - n_gradients, n_gradients);
    CHECK(n - n_gradients == f->n_sites && n_gradients == f->n_gradients);
    run(&o, n, fetches, out);
    for (int i = 0; i < n; i++) {
        const sg_tensor *want = sg_safetensors_find(o.golden, names[i]);
        double most = 1; /* gradients of squares are as large as what is squared */
        for (sg_dim k = 0; strncmp(names[i], "grad.", 5) == 0 && k < sg_tensor_count(want); k++)
            most = fmax(most, fabs(sg_tensor_get(want, k)));
        compare(f->name, names[i], &out[i], want, tol * most);
    }
    close_fixture(&o);
}

static void every_value_and_gradient_agrees_in_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(fixtures); i++)
        all_values(&fixtures[i], SG_F64);
}

static void every_value_and_gradient_agrees_in_single(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(fixtures); i++)
        all_values(&fixtures[i], SG_F32);
}

/* Shorter rows filled up on the left, and a row alone, have the logits that they have in the batch. */
static void padding_changes_nothing(void **state)
{
    (void)state;
    opened o;
    open_fixture(&o, "bert_pretraining", SG_F64);
    const sg_tensor *want = sg_safetensors_find(o.golden, "logits");
    const sg_dim v = want->dims[2], time = want->dims[1], n = o.lengths[1];
    sg_value *logits;
    sg_tensor out;
    sg_error err;

    CHECK_OK(sg_glass_find(o.glass, "logits", &logits, &err), &err);
    o.rows.pad_left = true;
    run(&o, 1, &logits, &out);
    for (sg_dim i = 0; i < n * v; i++)
        CHECK_NEAR(sg_tensor_get(&out, (time + time - n) * v + i), sg_tensor_get(want, time * v + i), 1e-11, 1e-11);
    const sg_rows alone = {
        .n_rows = 1, .tokens = o.tokens + 1, .lengths = o.lengths + 1, .types = o.types + 1, .time = n};
    CHECK_OK(sg_glass_run(o.glass, &alone, 0, NULL, 1, &logits, &out, &err), &err);
    for (sg_dim i = 0; i < n * v; i++)
        CHECK_NEAR(sg_tensor_get(&out, i), sg_tensor_get(want, time * v + i), 1e-11, 1e-11);
    close_fixture(&o);
}

/* A patch, all of an image's, one image, a vector of one row, and a key that is masked. */
static void edits_reach_images_and_pooled_values(void **state)
{
    (void)state;
    const char *names[] = {"hook_patch_embed", "blocks.0.attn.hook_pattern", "hook_registers", "class_logits"};
    opened plain, o;
    open_fixture(&plain, "dinov2_registers", SG_F64);
    open_fixture(&o, "dinov2_registers", SG_F64);
    const double direction[8] = {1, 2, 3, 4, 5, 6, 7, 8}, zero[3] = {0};
    const sg_span last = {3, 3}, second = {1, 1}, key = {2, 2};
    sg_edit edits[4] = {sg_edit_defaults(), sg_edit_defaults(), sg_edit_defaults(), sg_edit_defaults()};
    sg_value *fetches[2][4];
    sg_tensor out[2][4];
    sg_error err;

    edits[0].site = names[0];
    edits[0].op = SG_EDIT_ADD;
    edits[0].value = sg_tensor_of(SG_F64, 1, (sg_dim[]){8}, (void *)(uintptr_t)direction);
    edits[0].positions = (sg_spans){1, &last};
    edits[0].rows = (sg_spans){1, &second};
    edits[1].site = names[1];
    edits[1].op = SG_EDIT_MASK;
    edits[1].keys = (sg_spans){1, &key};
    edits[2].site = names[2];
    edits[2].op = SG_EDIT_SCALE;
    edits[2].strength = 2;
    edits[3].site = names[3];
    edits[3].op = SG_EDIT_SET;
    edits[3].value = sg_tensor_of(SG_F64, 1, (sg_dim[]){3}, (void *)(uintptr_t)zero);
    edits[3].rows = (sg_spans){1, &second};
    CHECK_OK(sg_glass_edit(o.glass, 4, edits, &err), &err);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 4; i++)
            CHECK_OK(sg_glass_find(k ? o.glass : plain.glass, names[i], &fetches[k][i], &err), &err);
        run(k ? &o : &plain, 4, fetches[k], out[k]);
    }
    for (sg_dim i = 0; i < 2 * 4 * 8; i++)
        CHECK_NEAR(sg_tensor_get(&out[1][0], i), sg_tensor_get(&out[0][0], i) + (i >= 7 * 8 ? direction[i % 8] : 0),
                   1e-12, 0);
    for (sg_dim i = 0; i < sg_tensor_count(&out[1][1]); i++)
        CHECK(i % 7 == 2 ? sg_tensor_get(&out[1][1], i) == 0 : sg_tensor_get(&out[1][1], i) > 0);
    for (sg_dim i = 0; i < sg_tensor_count(&out[1][2]); i++)
        CHECK_NEAR(sg_tensor_get(&out[1][2], i), 2 * sg_tensor_get(&out[0][2], i), 1e-12, 0);
    for (sg_dim i = 0; i < 3; i++)
        CHECK(fabs(sg_tensor_get(&out[1][3], i) - sg_tensor_get(&out[0][3], i)) > 1e-6 &&
              sg_tensor_get(&out[1][3], 3 + i) == 0);
    close_fixture(&plain);
    close_fixture(&o);
}

/* clip: either side runs without the other, and an edit of one leaves the other alone. */
static void either_tower_runs_alone(void **state)
{
    (void)state;
    opened o;
    open_fixture(&o, "clip_both", SG_F64);
    const double shift = 3;
    sg_edit e = sg_edit_defaults();
    sg_value *texts, *images, *match;
    sg_tensor out;
    sg_error err;

    e.site = "vision.blocks.1.hook_resid_pre";
    e.op = SG_EDIT_SCALE;
    e.value = sg_tensor_of(SG_F64, 0, NULL, (void *)(uintptr_t)&shift);
    CHECK_OK(sg_glass_edit(o.glass, 1, &e, &err), &err);
    CHECK_OK(sg_glass_find(o.glass, "text_embeds", &texts, &err), &err);
    CHECK_OK(sg_glass_find(o.glass, "image_embeds", &images, &err), &err);
    CHECK_OK(sg_glass_find(o.glass, "logits_per_image", &match, &err), &err);
    CHECK_OK(sg_glass_run(o.glass, &o.rows, 0, NULL, 1, &texts, &out, &err), &err);
    compare("clip_both", "text_embeds", &out, sg_safetensors_find(o.golden, "text_embeds"), 1e-11);
    CHECK_OK(sg_glass_run(o.glass, NULL, 1, &o.feed, 1, &images, &out, &err), &err);
    CHECK(fabs(sg_tensor_get(&out, 0) - sg_tensor_get(sg_safetensors_find(o.golden, "image_embeds"), 0)) > 1e-6);
    CHECK_STATUS(sg_glass_run(o.glass, NULL, 0, NULL, 1, &images, &out, &err), SG_EARG);
    CHECK_STATUS(sg_glass_run(o.glass, &o.rows, 0, NULL, 1, &match, &out, &err), SG_EARG);
    CHECK_TEXT(err.text, "pixels");
    close_fixture(&o);
}

/* ---- what is refused ---- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");

    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* A folder with a fixture's weights under another config, or its config over other weights. */
static void altered(char dir[64], const char *name, const char *config, const sg_named_tensor *extra)
{
    char path[512], room[512];
    sg_safetensors *st;
    sg_error err;

    snprintf(dir, 64, "/tmp/sightglass-encoder-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    CHECK_OK(sg_safetensors_open(&st, path_of(path, name, "model.safetensors"), &err), &err);
    sg_named_tensor list[128];
    int n = 0;
    for (; n < sg_safetensors_count(st); n++)
        list[n] = (sg_named_tensor){sg_safetensors_name(st, n), *sg_safetensors_at(st, n)};
    if (extra)
        list[n++] = *extra;
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK_OK(sg_safetensors_save(path, list, n, NULL, 0, &err), &err);
    sg_safetensors_close(st);
    snprintf(path, sizeof path, "%s/config.json", dir);
    if (config) {
        write_file(path, config);
        return;
    }
    sg_file *f;
    char text[4096];
    CHECK_OK(sg_file_open(&f, path_of(room, name, "config.json"), &err), &err);
    snprintf(text, sizeof text, "%.*s", (int)sg_file_bytes(f), (const char *)sg_file_data(f));
    sg_file_close(f);
    write_file(path, text);
}

static void remove_altered(const char *dir)
{
    static const char *const files[] = {"model.safetensors", "config.json", "preprocessor_config.json"};

    for (size_t i = 0; i < SG_COUNT_OF(files); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void refused(const char *name, const char *config, const sg_named_tensor *extra, const char *words)
{
    char dir[64];
    sg_model *m;
    sg_error err;

    altered(dir, name, config, extra);
    CHECK(sg_model_open(&m, dir, sg_model_defaults(), &err) != SG_OK);
    CHECK_TEXT(err.text, words);
    remove_altered(dir);
}

static void what_has_no_place_is_refused_by_name(void **state)
{
    (void)state;
    float number = 1;
    const sg_named_tensor extra = {"bert.encoder.layer.0.attention.self.distance_embedding.weight",
                                   sg_tensor_of(SG_F32, 1, (sg_dim[]){1}, &number)};

    refused("bert_labels", NULL, &extra, "distance_embedding.weight has no place in a model of the family bert");
    refused(
        "vit_pooled",
        "{\"architectures\": [\"ViTModel\"], \"hidden_size\": 8, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
        "\"intermediate_size\": 13, \"image_size\": 4, \"patch_size\": 2}",
        NULL, "encoder.layer.0.intermediate.dense.weight is [12,8], the config says [13,8]");
    refused(
        "vit_pooled",
        "{\"architectures\": [\"ViTModel\"], \"hidden_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
        "\"intermediate_size\": 12, \"image_size\": 4, \"patch_size\": 2}",
        NULL, "the tensor encoder.layer.1.");
    refused(
        "bert_labels",
        "{\"architectures\": [\"BertForSequenceClassification\"], \"hidden_size\": 8, \"num_hidden_layers\": 2, "
        "\"num_attention_heads\": 2, \"intermediate_size\": 12, \"vocab_size\": 17, \"max_position_embeddings\": 7, "
        "\"id2label\": {\"0\": \"a\", \"1\": \"b\"}}",
        NULL, "classifier.weight has 3 labels, id2label of config.json 2");
    /* Nested configs leave out what clip has by itself. */
    refused("clip_both", "{\"architectures\": [\"CLIPModel\"], \"text_config\": {}, \"vision_config\": {}}", NULL,
            "token_embedding.weight is [17,6], the config says [49408,512]");
    refused("bert_labels", "{\"architectures\": [\"BertGenerationEncoder\"]}", NULL, "BertGenerationEncoder");
    refused("bert_labels", "{\"architectures\": [\"BertModel\"], \"hidden_size\": 8}", NULL,
            "num_hidden_layers is missing");
}

static void wrong_inputs_are_told(void **state)
{
    (void)state;
    opened bert, vit;
    open_fixture(&bert, "bert_labels", SG_F32);
    open_fixture(&vit, "vit_labels", SG_F32);
    sg_glass_opts cached = sg_glass_defaults();
    sg_glass *glass;
    sg_value *logits;
    sg_tensor out;
    sg_error err;

    cached.capacity = 8;
    CHECK_STATUS(sg_glass_new(&glass, bert.m, cached, &err), SG_EARG);
    CHECK_TEXT(err.text, "encoder");
    CHECK_OK(sg_glass_find(vit.glass, "class_logits", &logits, &err), &err);
    CHECK_STATUS(sg_glass_run(vit.glass, &bert.rows, 0, NULL, 1, &logits, &out, &err), SG_EARG);
    CHECK_TEXT(err.text, "reads images and no tokens");
    CHECK_STATUS(sg_glass_run(vit.glass, NULL, 0, NULL, 1, &logits, &out, &err), SG_EARG);
    vit.feed.tensor.dims[2]--;
    CHECK_STATUS(sg_glass_run(vit.glass, NULL, 1, &vit.feed, 1, &logits, &out, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "wanted [images,3,4,4]");
    CHECK_OK(sg_glass_find(bert.glass, "class_logits", &logits, &err), &err);
    CHECK_STATUS(sg_glass_run(bert.glass, NULL, 0, NULL, 1, &logits, &out, &err), SG_EARG);
    CHECK_TEXT(err.text, "no tokens");
    CHECK(strcmp(sg_model_label(bert.m, 2), "good") == 0 && !sg_model_label(bert.m, 3) &&
          sg_model_get_info(bert.m)->n_labels == 3);
    close_fixture(&bert);
    close_fixture(&vit);
}

/* ---- pictures ---- */

/* What Pillow and numpy make of the same file under the same settings. */
static void pictures_become_the_pixels_of_the_directory(void **state)
{
    (void)state;
    static const struct {
        const char *model, *golden;
    } cases[] = {{"dinov2_registers", "dinov2 pixels"}, {"vit_labels", "vit pixels"}};
    sg_bitmap *picture;
    sg_safetensors *golden;
    char path[512];
    sg_error err;

    CHECK_OK(sg_bitmap_open(&picture, DATA "pictures/rgb.png", &err), &err);
    CHECK_OK(sg_safetensors_open(&golden, DATA "pictures/golden.safetensors", &err), &err);
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_model *m;
        sg_tensor pixels;
        CHECK_OK(sg_model_open(&m, path_of(path, cases[i].model, NULL), (sg_model_opts){.dtype = SG_F64}, &err), &err);
        CHECK_OK(sg_model_pixels(m, 1, (const sg_bitmap *const[]){picture}, &pixels, &err), &err);
        CHECK(pixels.n_dims == 4 && pixels.dims[1] == 3 && pixels.dims[2] == 4 && pixels.dims[3] == 4);
        compare(cases[i].model, cases[i].golden, &pixels, sg_safetensors_find(golden, cases[i].golden), 1e-12);
        free(pixels.data);
        sg_model_close(m);
    }
    sg_model *m;
    sg_tensor none;
    CHECK_OK(sg_model_open(&m, path_of(path, "vit_pooled", NULL), sg_model_defaults(), &err), &err);
    CHECK_STATUS(sg_model_pixels(m, 1, (const sg_bitmap *const[]){picture}, &none, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "preprocessor_config.json");
    sg_model_close(m);
    sg_safetensors_close(golden);
    sg_bitmap_free(picture);
}

/* A picture smaller than what is cut from it lies in the middle, a pixel lower and to the right where that is not
 * exact, with black around. */
static void small_pictures_lie_in_the_middle(void **state)
{
    (void)state;
    uint8_t rgb[2 * 3 * 3];
    const sg_bitmap picture = {2, 3, rgb}, *pictures = &picture;
    char dir[64], path[512];
    sg_model *m;
    sg_tensor pixels;
    sg_error err;

    for (int i = 0; i < 18; i++)
        rgb[i] = (uint8_t)(i + 1);
    altered(dir, "dinov2_plain", NULL, NULL);
    snprintf(path, sizeof path, "%s/preprocessor_config.json", dir);
    write_file(path, "{\"do_resize\": false, \"do_center_crop\": true, \"crop_size\": {\"height\": 4, \"width\": 4}, "
                     "\"do_rescale\": false, \"do_normalize\": false}");
    CHECK_OK(sg_model_open(&m, dir, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_pixels(m, 1, &pictures, &pixels, &err), &err);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++) {
                const bool inside = y >= 1 && y < 3 && x >= 1;
                CHECK(sg_tensor_get(&pixels, (c * 4 + y) * 4 + x) == (inside ? ((y - 1) * 3 + x - 1) * 3 + c + 1 : 0));
            }
    free(pixels.data);
    sg_model_close(m);
    write_file(path, "{\"do_resize\": true, \"size\": {\"shortest_edge\": 4}, \"do_center_crop\": false, "
                     "\"do_normalize\": false}");
    CHECK(sg_model_open(&m, dir, sg_model_defaults(), &err) == SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "keep a shape of their own");
    remove_altered(dir);
}

/* Opened, built, given a picture: whatever is out of memory says so, and leaves nothing behind. */
static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    static const char *const models[] = {DATA "dinov2_plain", DATA "bert_labels"};
    uint8_t grey[5 * 7 * 3] = {0};
    const sg_bitmap picture = {5, 7, grey}, *pictures = &picture;

    for (size_t i = 0; i < SG_COUNT_OF(models); i++)
        for (long n = 0;; n++) {
            sg_model *m = NULL;
            sg_graph *g = NULL;
            sg_tensor pixels = {.data = NULL};
            sg_error err;
            sg_faults_begin(n, SG_FAULT_ONCE);
            sg_status status = sg_model_open(&m, models[i], sg_model_defaults(), &err);
            if (status == SG_OK)
                status = sg_model_graph(&g, m, 0, 1, &err);
            if (status == SG_OK && i == 0)
                status = sg_model_pixels(m, 1, &pictures, &pixels, &err);
            const bool fired = sg_faults_end();
            if (status != (fired ? SG_ENOMEM : SG_OK))
                print_error("allocation %ld of %s: %s\n", n, models[i], status ? err.text : "no error");
            CHECK(status == (fired ? SG_ENOMEM : SG_OK));
            free(pixels.data);
            sg_graph_free(g);
            sg_model_close(m);
            if (!fired)
                break;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_and_gradient_agrees_in_double),
        cmocka_unit_test(every_value_and_gradient_agrees_in_single),
        cmocka_unit_test(padding_changes_nothing),
        cmocka_unit_test(edits_reach_images_and_pooled_values),
        cmocka_unit_test(either_tower_runs_alone),
        cmocka_unit_test(what_has_no_place_is_refused_by_name),
        cmocka_unit_test(wrong_inputs_are_told),
        cmocka_unit_test(pictures_become_the_pixels_of_the_directory),
        cmocka_unit_test(small_pictures_lie_in_the_middle),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
