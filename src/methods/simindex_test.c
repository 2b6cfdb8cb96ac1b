/* Indices that are known: of the identity, of a constant, of far ones that are near ones. */
#include "sightglass/simindex.h"

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/convnet.h"
#include "sightglass/method.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"
#include "sightglass/world.h"

enum { N = 12, DRAWS = 3 };

static sg_sample *draw(sg_triples *t)
{
    sg_sample *s;
    sg_error err;
    const sg_setting with[] = {{"draws", "3"}, {"size", "16"}};
    CHECK_OK(sg_world_sample(&s, sg_world_find("kanizsa", &err), 2, with, N, 3, &err), &err);
    *t = (sg_triples){.whole = *sg_sample_find(s, "whole"),
                      .near = *sg_sample_find(s, "pieces"),
                      .far = *sg_sample_find(s, "turned")};
    t->far = sg_tensor_of(SG_F32, 5, (sg_dim[]){N, DRAWS, 1, 16, 16}, t->far.data);
    return s;
}

static sg_simindex_opts quick(void)
{
    sg_simindex_opts o = sg_simindex_defaults();
    o.bootstrap.n_resamples = 200;
    o.batch = 5;
    return o;
}

static const char config[] =
    "{\"architectures\": [\"ConvNetModel\"], \"image_size\": 16, \"num_channels\": 1, \"num_labels\": 2, "
    "\"layers\": [{\"kind\": \"conv\", \"channels\": 1, \"kernel\": 1, \"activation\": \"linear\"}, "
    "{\"kind\": \"conv\", \"channels\": 4}]}";

/* The network of that config in a folder, its first layer w x + b. */
static sg_model *network(float w, float b)
{
    sg_model *made, *m;
    sg_error err;
    CHECK_OK(sg_convnet_new(&made, config, 4, &err), &err);
    CHECK_OK(sg_convnet_save(made, SG_F32, "simindex_folder", &err), &err);
    sg_model_close(made);
    sg_safetensors *f;
    CHECK_OK(sg_safetensors_open(&f, "simindex_folder/model.safetensors", &err), &err);
    sg_named_tensor list[16];
    int n = 0;
    for (; n < sg_safetensors_count(f); n++) {
        list[n] = (sg_named_tensor){sg_safetensors_name(f, n), *sg_safetensors_at(f, n)};
        if (strcmp(list[n].name, "conv1.weight") == 0)
            list[n].tensor.data = &w;
        if (strcmp(list[n].name, "conv1.bias") == 0)
            list[n].tensor.data = &b;
    }
    CHECK_OK(sg_safetensors_save("simindex_folder/model.safetensors", list, n, NULL, 0, &err), &err);
    sg_safetensors_close(f);
    CHECK_OK(sg_model_open(&m, "simindex_folder", sg_model_defaults(), &err), &err);
    sg_test_remove_all("simindex_folder");
    return m;
}

static double plain_cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < 256; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static void the_identity_has_the_index_of_the_pixels(void **state)
{
    (void)state;
    static const char *const sites[] = {"conv1.out", "pixels"};
    sg_triples t;
    sg_simindex *x, *base;
    sg_error err;
    sg_sample *s = draw(&t);
    sg_model *m = network(2, 0);
    CHECK_OK(sg_simindex_new(&x, m, &t, 2, sites, quick(), &err), &err);
    CHECK_OK(sg_simindex_baselines(&base, &t, quick(), &err), &err);
    const sg_simindex_site *pixels = sg_simindex_get(base, 0);
    CHECK(strcmp(pixels->site, "pixels") == 0 && strcmp(sg_simindex_get(base, 1)->site, "gabor") == 0);
    double mean = 0;
    for (int i = 0; i < N; i++) { /* by its definition */
        const float *whole = (const float *)t.whole.data + i * 256, *near = (const float *)t.near.data + i * 256;
        double far = 0;
        for (int d = 0; d < DRAWS; d++)
            far += plain_cosine(whole, (const float *)t.far.data + (i * DRAWS + d) * 256) / DRAWS;
        CHECK_NEAR(pixels->plain.each[i], plain_cosine(whole, near) - far, 1e-9, 0);
        mean += pixels->plain.each[i] / N;
    }
    CHECK_NEAR(pixels->plain.index, mean, 1e-12, 0);
    CHECK(pixels->plain.low < mean && pixels->plain.high > mean && pixels->centred.index > pixels->plain.index);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < N; i++) {
            CHECK_NEAR(sg_simindex_get(x, k)->plain.each[i], pixels->plain.each[i], 1e-9, 0);
            CHECK_NEAR(sg_simindex_get(x, k)->centred.each[i], pixels->centred.each[i], 1e-6, 0);
        }
    sg_simindex_free(x);
    sg_simindex_free(base);
    sg_model_close(m);
    sg_sample_free(s);
}

static void what_is_the_same_for_all_has_the_index_0(void **state)
{
    (void)state;
    static const char *const sites[] = {"conv1.out", "conv2.out", "class_logits"};
    sg_triples t;
    sg_simindex *x;
    sg_error err;
    sg_sample *s = draw(&t);
    for (int k = 0; k < 2; k++) {
        sg_model *m = network(0, k ? 0 : 1.5f); /* a constant, and nothing at all */
        CHECK_OK(sg_simindex_new(&x, m, &t, 3, sites, quick(), &err), &err);
        for (int i = 0; i < 3; i++)
            CHECK(fabs(sg_simindex_get(x, i)->plain.index) < 1e-12);
        CHECK(sg_simindex_get(x, 0)->centred.index == 0);
        sg_simindex_free(x);
        sg_model_close(m);
    }
    sg_sample_free(s);
}

static void far_ones_that_are_near_ones_give_exactly_0(void **state)
{
    (void)state;
    static const char *const sites[] = {"conv2.out", "class_logits"};
    sg_triples t;
    sg_simindex *x;
    sg_error err;
    sg_sample *s = draw(&t);
    sg_model *m = network(1, 0.1f);
    float *far = t.far.data;
    for (int i = 0; i < N * DRAWS; i++)
        memcpy(far + i * 256, (const float *)t.near.data + i / DRAWS * 256, 256 * sizeof(float));
    for (int over_space = 0; over_space < 2; over_space++) {
        sg_simindex_opts o = quick();
        o.over_space = over_space;
        CHECK_OK(sg_simindex_new(&x, m, &t, 2, sites, o, &err), &err);
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < N; k++)
                CHECK(sg_simindex_get(x, i)->plain.each[k] == 0 && sg_simindex_get(x, i)->centred.each[k] == 0);
        sg_simindex_free(x);
    }
    sg_model_close(m);
    sg_sample_free(s);
}

/* Batches of any size, and a mean over some of the triples, change nothing but what they should. */
static void batches_do_not_matter(void **state)
{
    (void)state;
    static const char *const sites[] = {"conv2.out"};
    sg_triples t;
    sg_simindex *x[3];
    sg_simindex_value d;
    sg_error err;
    sg_sample *s = draw(&t);
    sg_model *m = network(1, 0.1f);
    for (int k = 0; k < 3; k++) {
        sg_simindex_opts o = quick();
        o.batch = k ? 12 : 1;
        o.centre_on = k == 2 ? 4 : 0;
        CHECK_OK(sg_simindex_new(&x[k], m, &t, 1, sites, o, &err), &err);
    }
    for (int i = 0; i < N; i++) {
        CHECK_NEAR(sg_simindex_get(x[0], 0)->plain.each[i], sg_simindex_get(x[1], 0)->plain.each[i], 1e-6, 0);
        CHECK_NEAR(sg_simindex_get(x[0], 0)->centred.each[i], sg_simindex_get(x[1], 0)->centred.each[i], 1e-5, 0);
        CHECK(sg_simindex_get(x[1], 0)->plain.each[i] == sg_simindex_get(x[2], 0)->plain.each[i]);
    }
    CHECK(sg_simindex_get(x[1], 0)->centred.index != sg_simindex_get(x[2], 0)->centred.index);
    CHECK_OK(sg_simindex_difference(&d, &sg_simindex_get(x[1], 0)->plain, &sg_simindex_get(x[2], 0)->plain,
                                    quick().bootstrap, &err),
             &err);
    CHECK(d.index == 0 && d.low == 0 && d.high == 0);
    for (int k = 0; k < 3; k++)
        sg_simindex_free(x[k]);
    sg_model_close(m);
    sg_sample_free(s);
}

/* 95 % intervals of the mean of 100 numbers. */
static void intervals_cover_the_true_mean(void **state)
{
    (void)state;
    enum { TRIALS = 1200, ITEMS = 100 };
    double x[ITEMS];
    sg_bootstrap_opts o = sg_bootstrap_defaults();
    sg_rng r = sg_rng_new(12, 0);
    int covered = 0;
    o.n_resamples = 400;
    for (int k = 0; k < TRIALS; k++) {
        sg_interval i;
        for (int n = 0; n < ITEMS; n++)
            x[n] = 0.03 + 0.1 * sg_rng_normal(&r);
        o.seed = (uint64_t)k;
        CHECK_OK(sg_bootstrap_ratio(&i, ITEMS, x, NULL, o, NULL), NULL);
        covered += i.low <= 0.03 && i.high >= 0.03;
    }
    CHECK(covered >= 0.93 * TRIALS && covered <= 0.97 * TRIALS);
}

/* Those of a model are the world's, in the 256 greys of a picture. */
static void figures_of_a_model_are_the_worlds(void **state)
{
    (void)state;
    sg_triples world, t;
    sg_error err;
    sg_sample *s = draw(&world);
    sg_model *m = network(1, 0);
    sg_figures_opts o = sg_figures_defaults();
    float images[(2 + DRAWS) * 256];
    o.n = N;
    o.n_turns = DRAWS;
    o.seed = 3;
    CHECK_OK(sg_figures_new(&t, m, o, &err), &err);
    for (int i = 0; i < N; i++) {
        CHECK_OK(t.fill(t.context, i, images, &err), &err);
        for (int k = 0; k < 2 + DRAWS; k++) {
            const float *want = k == 0   ? (const float *)world.whole.data + i * 256
                                : k == 1 ? (const float *)world.near.data + i * 256
                                         : (const float *)world.far.data + (i * DRAWS + k - 2) * 256;
            for (int p = 0; p < 256; p++)
                CHECK_NEAR(images[k * 256 + p], want[p], 0.51 / 255, 0);
        }
    }
    sg_figures_free(&t);
    o.n_turns = 0;
    CHECK_STATUS(sg_figures_new(&t, m, o, &err), SG_EARG);
    sg_model_close(m);
    sg_sample_free(s);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const char *const odd[] = {"conv9.out"};
    static const char *const sites[] = {"conv2.out"};
    static const volatile sig_atomic_t stop = 1;
    sg_triples t, bad;
    sg_simindex *x;
    sg_error err;
    sg_sample *s = draw(&t);
    sg_model *m = network(1, 0);
    CHECK_STATUS(sg_simindex_new(&x, m, &t, 1, odd, quick(), &err), SG_ENOTFOUND);
    sg_simindex_opts o = quick();
    o.cancel = &stop;
    CHECK_STATUS(sg_simindex_new(&x, m, &t, 1, sites, o, &err), SG_ECANCELLED);
    bad = t;
    bad.far.dims[0]--;
    CHECK_STATUS(sg_simindex_new(&x, m, &bad, 1, sites, quick(), &err), SG_ESHAPE);
    bad = t;
    bad.whole.dims[2] = bad.near.dims[2] = bad.far.dims[3] = 8;
    CHECK_STATUS(sg_simindex_new(&x, m, &bad, 1, sites, quick(), &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "16 pixels");
    CHECK(x == NULL);
    sg_model_close(m);
    sg_sample_free(s);
}

/* The method over a network that ships: every layer beside fresh weights and front ends, and what it refuses. */
static void the_method_says_it_of_every_layer(void **state)
{
    (void)state;
    static const char *const model = SG_SOURCE_DIR "/models/closure-shapes";
    SKIP_WITHOUT(model, "models/closure-shapes");
    const sg_setting settings[] = {{"n", "14"}, {"draws", "2"}, {"resamples", "100"}};
    sg_method_ask ask = sg_method_ask_defaults();
    const sg_method *m = sg_method_find("closure", NULL);
    sg_result *r;
    sg_error err;
    CHECK(m != NULL);
    ask.n_inputs = 1;
    ask.inputs = &model;
    ask.n_settings = 3;
    ask.settings = settings;
    CHECK_OK(sg_method_do(&r, m, &ask, &err), &err);
    CHECK_OK(sg_result_check(r, &err), &err);
    CHECK(sg_result_n_findings(r) == 2 && sg_result_n_tables(r) == 1);
    const sg_finding *f = sg_result_finding(r, 1);
    CHECK(strcmp(f->where, "conv4.out") == 0 && f->value > f->control_value && f->n == 14);
    const sg_result_table *t = sg_result_get_table(r, 0);
    CHECK(t->n_rows == 6 && strcmp(t->cells[0].text, "(pixels)") == 0);
    CHECK_NEAR(t->cells[5 * t->n_columns + 5].number, f->value, 1e-12, 0); /* the last layer, centred */
    sg_result_free(r);
    ask.n_settings = 1;
    ask.settings = &(sg_setting){"at", "conv9.*"};
    CHECK_STATUS(sg_method_do(&r, m, &ask, &err), SG_ENOTFOUND);
    const char *text_model = SG_SOURCE_DIR "/models/othello6";
    ask.inputs = &text_model;
    ask.settings = &(sg_setting){"at", "logits"};
    CHECK_STATUS(sg_method_do(&r, m, &ask, &err), SG_EARG);
    CHECK_TEXT(err.text, "reads no images");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_identity_has_the_index_of_the_pixels),
        cmocka_unit_test(what_is_the_same_for_all_has_the_index_0),
        cmocka_unit_test(far_ones_that_are_near_ones_give_exactly_0),
        cmocka_unit_test(batches_do_not_matter),
        cmocka_unit_test(intervals_cover_the_true_mean),
        cmocka_unit_test(figures_of_a_model_are_the_worlds),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(the_method_says_it_of_every_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
