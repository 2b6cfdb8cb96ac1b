/* Training of convolutional networks on images that a few lines draw. */
#include "base/base.h"
#include "check.h"
#include "sightglass/convnet.h"
#include "sightglass/rng.h"

static const char config[] = "{\"architectures\": [\"ConvNetForImageClassification\"], \"image_size\": 8, "
                             "\"num_channels\": 1, \"num_labels\": 2,"
                             " \"layers\": [{\"kind\": \"conv\", \"channels\": 4}, {\"kind\": \"max_pool\"}, "
                             "{\"kind\": \"dense\", \"channels\": 8}]}";

/* Stripes across (0) or down (1), at random phases, with noise. */
static sg_status draw(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    (void)self, (void)err;
    sg_rng r = sg_rng_new(11, 0);
    r.step = (uint64_t)batch;
    for (sg_dim i = 0; i < field[0].dims[0]; i++) {
        const int label = (int)sg_rng_below(&r, 2), phase = (int)sg_rng_below(&r, 2);
        ((int32_t *)field[1].data)[i] = label;
        for (int k = 0; k < 64; k++)
            ((float *)field[0].data)[i * 64 + k] =
                (float)(((label ? k % 8 : k / 8) + phase) % 2) + (float)(0.3 * sg_rng_normal(&r));
    }
    return SG_OK;
}

static sg_source source_of(sg_dim rows)
{
    return (sg_source){
        .n_fields = 2,
        .field = {sg_tensor_of(SG_F32, 4, (sg_dim[]){rows, 1, 8, 8}, NULL), sg_tensor_of(SG_I32, 1, &rows, NULL)},
        .fill = draw};
}

static double accuracy(const sg_model *m)
{
    sg_source s = source_of(300);
    sg_error err;
    double share;
    for (int i = 0; i < 2; i++)
        s.field[i].data = malloc(sg_tensor_bytes(&s.field[i]));
    CHECK_OK(draw(NULL, 1 << 20, s.field, &err), &err);
    CHECK_OK(sg_convnet_accuracy(&share, m, &s.field[0], &s.field[1], sg_exec_defaults(), &err), &err);
    for (int i = 0; i < 2; i++)
        free(s.field[i].data);
    return share;
}

static void stripes_are_learnt_and_the_same_seed_gives_the_same_network(void **state)
{
    (void)state;
    sg_model *m[2];
    sg_error err;
    const sg_source source = source_of(32);
    sg_convnet_train_opts opts = sg_convnet_train_defaults();
    opts.n_steps = 150;
    opts.schedule.lr = 1e-2;
    for (int i = 0; i < 2; i++) {
        double loss;
        CHECK_OK(sg_convnet_new(&m[i], config, 5, &err), &err);
        const uint64_t before = sg_model_hash(m[i]);
        CHECK_OK(sg_convnet_train(m[i], &source, opts, &loss, &err), &err);
        CHECK(loss < 0.2 && sg_model_hash(m[i]) != before);
    }
    CHECK(sg_model_hash(m[0]) == sg_model_hash(m[1]));
    CHECK(accuracy(m[0]) > 0.97);
    sg_model *fresh;
    CHECK_OK(sg_convnet_fresh(&fresh, m[0], 6, &err), &err);
    CHECK(accuracy(fresh) < 0.9);
    sg_model_close(fresh);
    for (int i = 0; i < 2; i++)
        sg_model_close(m[i]);
}

static void a_cancelled_training_keeps_the_weights_it_has(void **state)
{
    (void)state;
    sg_model *m;
    sg_error err;
    const sg_source source = source_of(8);
    const volatile sig_atomic_t stop = 1;
    sg_convnet_train_opts opts = sg_convnet_train_defaults();
    opts.cancel = &stop;
    CHECK_OK(sg_convnet_new(&m, config, 5, &err), &err);
    const uint64_t before = sg_model_hash(m);
    CHECK_STATUS(sg_convnet_train(m, &source, opts, NULL, &err), SG_ECANCELLED);
    CHECK(sg_model_hash(m) == before);
    sg_source odd = source;
    odd.n_fields = 1;
    CHECK_STATUS(sg_convnet_train(m, &odd, opts, NULL, &err), SG_EARG);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stripes_are_learnt_and_the_same_seed_gives_the_same_network),
        cmocka_unit_test(a_cancelled_training_keeps_the_weights_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
