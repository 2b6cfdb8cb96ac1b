/* Model files: there and back, as GAN Lab wrote them, and with each key wrong. The numbers of the four files of GAN Lab
 * are those of the specification, computed from the original weights. */
#include "base/base.h"
#include "check.h"
#include "play/gan_internal.h"

static char folder[] = "/tmp/sg-gan-XXXXXX";

static const char *in_folder(char path[200], const char *name)
{
    snprintf(path, 200, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static sg_gan *trained(const sg_gan_opts *o, int n)
{
    sg_gan *gan = NULL;
    sg_error err;
    CHECK_OK(sg_gan_new(&gan, o, &err), &err);
    for (int i = 0; i < n; i++)
        CHECK_OK(sg_gan_step(gan, SG_GAN_BOTH, &err), &err);
    CHECK_OK(sg_gan_look(gan, SG_GAN_SEE_ALL, &err), &err);
    return gan;
}

static void a_saved_model_comes_back_whole(void **state)
{
    (void)state;
    const float strokes[3][2] = {{0.1f, 0.2f}, {1, 0}, {0.333333343f, 0.75f}};
    for (int shape = 0; shape < SG_N_GAN_SHAPES; shape++) {
        sg_gan_opts o = sg_gan_defaults();
        char path[200];
        sg_error err;
        o.shape = (sg_gan_shape)shape;
        o.noise = (sg_gan_noise)(shape % SG_N_GAN_NOISES);
        o.loss = SG_GAN_SQUARES;
        o.net[SG_GAN_D] = (sg_gan_net_opts){2, 7, 3, SG_GAN_ADAM, 0.003};
        o.net[SG_GAN_G] = (sg_gan_net_opts){0, 100, 10, SG_GAN_SGD, 0.3};
        o.seed = UINT64_MAX;
        if (shape == SG_GAN_DRAWING)
            o.strokes = strokes[0], o.n_strokes = 3;
        sg_gan *gan = trained(&o, 3), *back = NULL;
        CHECK_OK(sg_gan_save(gan, in_folder(path, "m.json"), &err), &err);
        CHECK_OK(sg_gan_load(&back, path, 1, &err), &err);
        CHECK_OK(sg_gan_look(back, SG_GAN_SEE_ALL, &err), &err);
        const sg_gan_opts *b = sg_gan_options(back);
        CHECK(sg_gan_iteration(back) == 3 && b->shape == o.shape && b->noise == o.noise && b->loss == o.loss &&
              b->seed == o.seed && b->n_strokes == o.n_strokes);
        for (int net = 0; net < SG_N_GAN_NETS; net++)
            CHECK(memcmp(&b->net[net], &o.net[net], sizeof o.net[net]) == 0);
        const sg_gan_view *x = sg_gan_view_of(gan), *y = sg_gan_view_of(back);
        CHECK(memcmp(x->fake, y->fake, sizeof x->fake) == 0 && memcmp(x->field, y->field, sizeof x->field) == 0);
        CHECK(x->kl == y->kl && x->js == y->js);
        /* One iteration changes it. */
        CHECK_OK(sg_gan_step(back, SG_GAN_BOTH, &err), &err);
        CHECK_OK(sg_gan_look(back, SG_GAN_SEE_ALL, &err), &err);
        CHECK(memcmp(x->fake, y->fake, sizeof x->fake) != 0);
        sg_gan_free(gan);
        sg_gan_free(back);
    }
}

/* ---- facts by hand ---- */

static const char *const usual[][2] = {{"shape_name", "Ring"},
                                       {"iter_count", "812"},
                                       {"config.selectedNoiseType", "2d uniform"},
                                       {"config.noiseSize", "2"},
                                       {"config.numGeneratorLayers", "0"},
                                       {"config.numDiscriminatorLayers", "0"},
                                       {"config.numGeneratorNeurons", "1"},
                                       {"config.numDiscriminatorNeurons", "1"},
                                       {"config.dLearningRate", "0.1"},
                                       {"config.gLearningRate", "0.03"},
                                       {"config.dOptimizerType", "SGD"},
                                       {"config.gOptimizerType", "sgd"},
                                       {"config.kDSteps", "3"},
                                       {"config.kGSteps", "1"}};

/* The usual ones, of which `key` has this text (NULL: is not there). */
static sg_status with(const char *key, const char *text, const char *extra_weight, sg_gan **gan, sg_error *err)
{
    static const float x[] = {1, 2, 0.5f, 3, 0.25f, 1, -1, 0.5f, 2, 4, 0.1f, 0.2f};
    const char *const names[] = {"d-0", "d-1", "d-2", "d-3", "g-0", "g-1", "g-2", "g-3"};
    const sg_dim shapes[][2] = {{2, 1}, {1, 0}, {1, 1}, {1, 0}, {2, 1}, {1, 0}, {1, 2}, {2, 0}};
    sg_tfjs *t = NULL;
    CHECK_OK(sg_tfjs_new(&t, "m", err), err);
    for (size_t i = 0; i < SG_COUNT_OF(usual); i++)
        if (!key || strcmp(key, usual[i][0]) != 0)
            CHECK_OK(sg_tfjs_add_fact(t, usual[i][0], usual[i][1], err), err);
    if (key && text)
        CHECK_OK(sg_tfjs_add_fact(t, key, text, err), err);
    const float *at = x;
    for (int i = 0; i < 8; i++) {
        const sg_tfjs_entry e = {
            .name = names[i], .dtype = "float32", .n_dims = shapes[i][1] ? 2 : 1, .dims = {shapes[i][0], shapes[i][1]}};
        const sg_dim n = shapes[i][0] * SG_MAX(shapes[i][1], 1);
        CHECK_OK(sg_tfjs_add_group(t, 1, &e, at, (size_t)n * 4, err), err);
        at += n;
        if (at - x > 9)
            at = x;
    }
    if (extra_weight) {
        const sg_tfjs_entry e = {.name = extra_weight, .dtype = "float32", .n_dims = 1, .dims = {1}};
        CHECK_OK(sg_tfjs_add_group(t, 1, &e, x, 4, err), err);
    }
    const sg_status status = sg_gan_from(gan, t, 5, err);
    sg_tfjs_free(t);
    return status;
}

static void names_are_compared_without_case_and_the_loss_may_be_absent(void **state)
{
    (void)state;
    sg_gan *gan = NULL;
    sg_error err;
    CHECK_OK(with(NULL, NULL, NULL, &gan, &err), &err);
    const sg_gan_opts *o = sg_gan_options(gan);
    CHECK(o->shape == SG_GAN_RING && o->noise == SG_GAN_2D_UNIFORM && o->loss == SG_GAN_LOG && o->seed == 5);
    CHECK(o->net[SG_GAN_D].k == 3 && o->net[SG_GAN_G].rate == 0.03 && sg_gan_iteration(gan) == 812);
    sg_gan_free(gan);
    CHECK_OK(with("config.lossType", "leastsq LOSS", NULL, &gan, &err), &err);
    CHECK(sg_gan_options(gan)->loss == SG_GAN_SQUARES);
    sg_gan_free(gan);
}

static void each_key_is_needed_and_looked_at(void **state)
{
    (void)state;
    sg_gan *gan = NULL;
    sg_error err;
    for (size_t i = 0; i < SG_COUNT_OF(usual); i++) {
        CHECK(with(usual[i][0], NULL, NULL, &gan, &err) == SG_EFORMAT && !gan);
        CHECK_TEXT(err.text, usual[i][0]);
        CHECK(with(usual[i][0], "-7", NULL, &gan, &err) == SG_EFORMAT && !gan);
        CHECK(with(usual[i][0], "1e99", NULL, &gan, &err) == SG_EFORMAT && !gan);
        CHECK(with(usual[i][0], "", NULL, &gan, &err) == SG_EFORMAT && !gan);
        CHECK(with(usual[i][0], "nan", NULL, &gan, &err) == SG_EFORMAT && !gan);
    }
    CHECK(with("config.noiseSize", "1", NULL, &gan, &err) == SG_EFORMAT);
    CHECK_TEXT(err.text, "\"2D Uniform\" of noiseSize 1");
    CHECK(with("config.numGeneratorNeurons", "2", NULL, &gan, &err) == SG_EFORMAT);
    CHECK_TEXT(err.text, "weight g-0 is f32[2,1], its layers want f32[2,2]");
    CHECK(with("config.numGeneratorLayers", "1", NULL, &gan, &err) == SG_EFORMAT);
    CHECK(with(NULL, NULL, "g-4", &gan, &err) == SG_EFORMAT);
    CHECK_TEXT(err.text, "9 weights");
    CHECK(with("shape_name", "drawing", NULL, &gan, &err) == SG_EUNSUPPORTED);
    CHECK(with("seed", "-1", NULL, &gan, &err) == SG_EFORMAT);
}

static void a_place_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    const sg_gan_opts o = sg_gan_defaults();
    sg_gan *gan = trained(&o, 0), *back;
    sg_error err;
    CHECK(sg_gan_save(gan, "/nowhere/at/all.json", &err) != SG_OK);
    CHECK(sg_gan_save(gan, "model", &err) == SG_EARG);
    CHECK(sg_gan_load(&back, "/nowhere.json", 1, &err) == SG_ENOTFOUND);
    sg_gan_free(gan);
}

/* ---- what ships, and the originals ---- */

static void what_ships_has_learnt_its_shape(void **state)
{
    (void)state;
    static const struct {
        const char *shape;
        double js;
    } shipped[] = {{"line", 0.3}, {"gaussians", 0.5}, {"ring", 0.5}, {"disjoint", 0.5}};
    for (size_t i = 0; i < SG_COUNT_OF(shipped); i++) {
        char path[400];
        sg_gan *gan = NULL;
        sg_error err;
        snprintf(path, sizeof path, "%s/models/gan/%s.json", SG_SOURCE_DIR, shipped[i].shape);
        CHECK_OK(sg_gan_load(&gan, path, 1, &err), &err);
        CHECK_OK(sg_gan_look(gan, SG_GAN_SEE_ALL, &err), &err);
        CHECK_TEXT(sg_gan_shape_name(sg_gan_options(gan)->shape), shipped[i].shape);
        CHECK(sg_gan_view_of(gan)->js < shipped[i].js && sg_gan_view_of(gan)->outside_fake < 8);
        sg_gan_free(gan);
    }
}

static void the_originals_give_the_numbers_of_the_specification(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sg_dim iteration;
        double g[2], d, real, fake, kl, js;
    } golden[] = {{"line", 466, {0.469388, 0.732471}, 0.404622, 0.496, 0.482, 2.83, 0.419},
                  {"ring", 812, {0.498704, 0.432898}, 0.415240, 0.514, 0.502, 3.98, 0.555}};
    for (int i = 0; i < 2; i++) {
        char at[1024], name[100];
        sg_gan *gan = NULL;
        sg_error err;
        snprintf(name, sizeof name, "data/ganlab/pretrained_%s.json", golden[i].name);
        SKIP_WITHOUT(sg_test_shared(at, name), name);
        CHECK_OK(sg_gan_load(&gan, at, 1, &err), &err);
        CHECK(sg_gan_iteration(gan) == golden[i].iteration);
        const float half[2] = {0.5f, 0.5f};
        float x[2], d;
        double real = 0, fake = 0;
        CHECK_OK(sg_gan_generate(gan, x, half, 1, &err), &err);
        CHECK_OK(sg_gan_judge(gan, &d, NULL, half, 1, &err), &err);
        CHECK_NEAR(x[0], golden[i].g[0], 1e-6, 0);
        CHECK_NEAR(x[1], golden[i].g[1], 1e-6, 0);
        CHECK_NEAR(d, golden[i].d, 1e-6, 0);
        CHECK_OK(sg_gan_look(gan, SG_GAN_SEE_ALL, &err), &err);
        const sg_gan_view *v = sg_gan_view_of(gan);
        for (int b = 0; b < SG_GAN_BATCH; b++)
            real += (double)v->d_real[b] / SG_GAN_BATCH, fake += (double)v->d_fake[b] / SG_GAN_BATCH;
        CHECK_NEAR(real, golden[i].real, 0.02, 0);
        CHECK_NEAR(fake, golden[i].fake, 0.02, 0);
        CHECK_NEAR(v->kl, golden[i].kl, 0.3, 0);
        CHECK_NEAR(v->js, golden[i].js, 0.05, 0);
        sg_gan_free(gan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_model_comes_back_whole),
        cmocka_unit_test(names_are_compared_without_case_and_the_loss_may_be_absent),
        cmocka_unit_test(each_key_is_needed_and_looked_at),
        cmocka_unit_test(a_place_that_cannot_be_written_is_an_error),
        cmocka_unit_test(what_ships_has_learnt_its_shape),
        cmocka_unit_test(the_originals_give_the_numbers_of_the_specification),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
