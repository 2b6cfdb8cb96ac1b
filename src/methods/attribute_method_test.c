/* The methods attribute map, attribute patch and tcav on small networks with fresh weights: what they tell, what they
 * refuse. */
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/bitmap.h"
#include "sightglass/convnet.h"
#include "sightglass/method.h"
#include "sightglass/npy.h"
#include "sightglass/safetensors.h"

static char folder[256], model[300], picture[300];

static int begin(void **state)
{
    static const char config[] =
        "{\"architectures\": [\"ConvNetForImageClassification\"], \"image_size\": 12, \"num_channels\": 1, "
        "\"num_labels\": 3, \"layers\": [{\"kind\": \"conv\", \"channels\": 4}, {\"kind\": \"max_pool\"}, "
        "{\"kind\": \"dense\", \"channels\": 8}]}";
    sg_model *m;
    sg_bitmap *b;
    sg_error err;
    (void)state;
    snprintf(folder, sizeof folder, "attribute_method_%ld", (long)getpid());
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(picture, sizeof picture, "%s/picture.png", folder);
    CHECK(mkdir(folder, 0700) == 0);
    CHECK_OK(sg_convnet_new(&m, config, 1, &err), &err);
    CHECK_OK(sg_convnet_save(m, SG_F32, model, &err), &err);
    sg_model_close(m);
    CHECK_OK(sg_bitmap_new(&b, 20, 30, &err), &err);
    for (int i = 0; i < 20 * 30 * 3; i++)
        b->rgb[i] = (uint8_t)(i * i % 251);
    CHECK_OK(sg_bitmap_save(b, picture, &err), &err);
    sg_bitmap_free(b);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

static sg_status ask(sg_result **out, const char *name, const char *action, int n_inputs, const char *const *inputs,
                     int n_settings, const sg_setting *settings, const char *to, sg_error *err)
{
    sg_method_ask a = sg_method_ask_defaults();
    a.n_inputs = n_inputs;
    a.inputs = inputs;
    a.n_settings = n_settings;
    a.settings = settings;
    a.out = to;
    *out = NULL;
    return sg_method_do(out, sg_method_find(name, action), &a, err);
}

static const sg_finding *finding(const sg_result *r, const char *id)
{
    for (int i = 0; i < sg_result_n_findings(r); i++)
        if (strcmp(sg_result_finding(r, i)->id, id) == 0)
            return sg_result_finding(r, i);
    return NULL;
}

static void a_picture_is_mapped_beside_its_controls(void **state)
{
    (void)state;
    static const char *const kinds[] = {"gradient", "input-x-gradient", "smooth", "smooth2",
                                        "vargrad",  "integrated",       "guided", "occlusion"};
    const char *const inputs[2] = {model, picture};
    char sheet[300], numbers[300];
    sg_result *r;
    sg_error err;
    snprintf(sheet, sizeof sheet, "%s/map.png", folder);
    snprintf(numbers, sizeof numbers, "%s/map.npy", folder);
    for (size_t k = 0; k < SG_COUNT_OF(kinds); k++) {
        const sg_setting settings[] = {{"kind", kinds[k]}, {"class", "1"}, {"n", "3"}, {"levels", "2"}};
        CHECK_OK(ask(&r, "attribute", "map", 2, inputs, 4, settings, k % 2 ? sheet : numbers, &err), &err);
        CHECK_OK(sg_result_check(r, &err), &err);
        CHECK(finding(r, "left") && finding(r, "deletion") && finding(r, "insertion"));
        CHECK(!finding(r, "residual") == (k != 5));
        CHECK(sg_result_n_tables(r) == 1);
        const sg_result_table *t = sg_result_get_table(r, 0);
        CHECK(t->n_rows == 3 && (t->cells[2].number == 1 || isnan(t->cells[2].number))); /* nothing shuffled */
        sg_result_free(r);
    }
    sg_bitmap *b;
    CHECK_OK(sg_bitmap_open(&b, sheet, &err), &err);
    CHECK(b->width > 4 * 200 && b->height > 200); /* picture, map, both, shuffled, enlarged */
    sg_bitmap_free(b);
    sg_npy *n;
    CHECK_OK(sg_npy_open(&n, numbers, &err), &err);
    CHECK(sg_tensor_count(sg_npy_tensor(n)) == 12 * 12);
    sg_npy_close(n);
    const sg_setting bad = {"class", "7"};
    CHECK_STATUS(ask(&r, "attribute", "map", 2, inputs, 1, &bad, NULL, &err), SG_EARG);
    CHECK_STATUS(ask(&r, "attribute", "map", 1, inputs, 0, NULL, NULL, &err), SG_EARG);
    const sg_setting text = {"text", "word"};
    CHECK_STATUS(ask(&r, "attribute", "map", 1, inputs, 1, &text, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "no tokenizer");
}

static void concepts_of_textures_are_tested(void **state)
{
    (void)state;
    char images[300], cavs[300];
    sg_result *r;
    sg_error err;
    snprintf(images, sizeof images, "%s/class", folder);
    snprintf(cavs, sizeof cavs, "%s/cavs.safetensors", folder);
    CHECK(mkdir(images, 0700) == 0);
    for (int i = 0; i < 21; i++) {
        char path[400];
        sg_bitmap *b;
        snprintf(path, sizeof path, "%s/%02d.png", images, i);
        CHECK_OK(sg_bitmap_new(&b, 12, 12, &err), &err);
        for (int p = 0; p < 12 * 12 * 3; p++)
            b->rgb[p] = (uint8_t)((p + 31 * i) * (p + i) % 253);
        CHECK_OK(sg_bitmap_save(b, path, &err), &err);
        sg_bitmap_free(b);
    }
    const char *const inputs[2] = {model, images};
    const sg_setting settings[] = {{"class", "2"},    {"textures", "stripes,dots"},
                                   {"at", "pool1.*"}, {"set", "6"},
                                   {"repeats", "3"},  {"sort", "yes"}};
    CHECK_OK(ask(&r, "tcav", NULL, 2, inputs, 6, settings, cavs, &err), &err);
    CHECK_OK(sg_result_check(r, &err), &err);
    CHECK(finding(r, "score stripes") && finding(r, "score dots"));
    const sg_finding *f = finding(r, "score stripes");
    CHECK(f->control_value >= 0 && f->control_value <= 1 && f->n == 21);
    CHECK(sg_result_n_tables(r) == 4); /* concepts, cosines, two sorted lists */
    sg_result_free(r);
    sg_safetensors *file;
    CHECK_OK(sg_safetensors_open(&file, cavs, &err), &err);
    sg_safetensors_close(file);
    const sg_setting none[] = {{"class", "2"}, {"at", "pool1.*"}};
    CHECK_STATUS(ask(&r, "tcav", NULL, 2, inputs, 2, none, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "--concept");
    const sg_setting wrong[] = {{"class", "2"}, {"textures", "zebra"}, {"at", "pool1.*"}};
    CHECK_STATUS(ask(&r, "tcav", NULL, 2, inputs, 3, wrong, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "stripes");
}

static void texts_are_mapped_and_patched(void **state)
{
    (void)state;
    char path[1024];
    const char *const stories = sg_test_shared(path, "models/stories260K");
    sg_result *r;
    sg_error err;
    SKIP_WITHOUT(stories, "models/stories260K");
    const sg_setting map[] = {{"text", "Lily went to the"}, {"kind", "integrated"}, {"n", "20"}, {"reduce", "signed"}};
    CHECK_OK(ask(&r, "attribute", "map", 1, &stories, 4, map, NULL, &err), &err);
    CHECK(finding(r, "left") && finding(r, "residual") && sg_result_n_tables(r) == 1);
    CHECK(sg_result_get_table(r, 0)->n_rows >= 5);
    sg_result_free(r);
    const sg_setting patch[] = {
        {"base", "Lily said that"}, {"source", "Tim said that"}, {"token", "▁she"}, {"minus", "▁he"}, {"heads", "yes"}};
    CHECK_OK(ask(&r, "attribute", "patch", 1, &stories, 5, patch, NULL, &err), &err);
    const sg_finding *error = finding(r, "error"), *rho = finding(r, "correlation");
    CHECK(error->value < error->control_value && rho->value > 0.9 && rho->control_value < 0.5);
    sg_result_free(r);
    const sg_setting uneven[] = {{"base", "Lily said that"}, {"source", "Tim said"}, {"token", "▁she"}};
    CHECK_STATUS(ask(&r, "attribute", "patch", 1, &stories, 3, uneven, NULL, &err), SG_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_is_mapped_beside_its_controls),
        cmocka_unit_test(concepts_of_textures_are_tested),
        cmocka_unit_test(texts_are_mapped_and_patched),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
