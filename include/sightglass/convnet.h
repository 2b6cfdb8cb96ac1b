/* Convolutional networks of images that are made here: fresh, trained, calibrated, saved. sg_model_open (model.h) reads
 * them, and those of others (mobilenet_v2, resnet_cifar).
 *
 *     const char *config = "{\"architectures\": [\"ConvNetForImageClassification\"], \"image_size\": 24,"
 *                          " \"num_channels\": 1, \"num_labels\": 4, \"layers\": [{\"kind\": \"conv\", \"channels\": 16},"
 *                          " {\"kind\": \"max_pool\"}, {\"kind\": \"dense\", \"channels\": 32}]}";
 *     SG_TRY(sg_convnet_new(&m, config, 1, err));
 *     SG_TRY(sg_world_batches(&images, sg_world_find("shapes", err), 0, NULL, 2, (const char *[]){"pixels", "label"}, 64, 1, err));
 *     SG_TRY(sg_convnet_train(m, &images, sg_convnet_train_defaults(), NULL, err));
 *     SG_TRY(sg_convnet_save(m, SG_F32, "shapes-cnn", err));
 *
 * Such a model is one as any other: its glasses read, feed, edit and differentiate its values. A layer of kind conv or depthwise
 * (channels, kernel 3, stride 1, padding kernel / 2) is called conv1, conv2 ..., a dense one (channels) dense1 ..., with
 * activation relu, relu6 or linear; max_pool and mean_pool (kernel 2, stride, padding 0) and global_mean_pool are pool1 ...
 * Class logits are read off whatever the last of them gives. docs/names.md has the values. */
#ifndef SIGHTGLASS_CONVNET_H
#define SIGHTGLASS_CONVNET_H

#include "sightglass/model.h"
#include "sightglass/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A network of a config's sizes whose weights are drawn by `seed`: normal with variance 2 / inputs where a ReLU follows, else
 * 1 / inputs (He et al. 2015, equation 10), biases 0. SG_EFORMAT: what the config says does not fit together. */
sg_status sg_convnet_new(sg_model **out, const char *config, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* The same of another network's sizes, which may be one that was opened; that one is closed after it. SG_EARG: it is no
 * convolutional network. */
sg_status sg_convnet_fresh(sg_model **out, const sg_model *like, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* Gives each layer's numbers mean 0 and variance 1 in each channel over these pixels [n,C,S,S], as a norm does that was
 * trained on them: a network with norms gets their statistics, the weights of another are scaled and its biases set. What an
 * untrained network has to be given to be a fair control. m comes from one of the two above. */
sg_status sg_convnet_calibrate(sg_model *m, const sg_tensor *pixels, sg_error *err) SG_MUST_CHECK;

typedef struct sg_convnet_train_opts {
    sg_dim n_steps;       /* 1000 */
    sg_schedule schedule; /* cosine, lr 2e-3, warm-up 50; its n_steps is the above */
    double weight_decay;  /* 1e-4; of matrices and kernels */
    void (*progress)(void *context, const sg_train_progress *at); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* see train.h */
    sg_exec_opts exec;
} sg_convnet_train_opts;
sg_convnet_train_opts sg_convnet_train_defaults(void);

/* Adam on the cross-entropy of `source`'s two fields, pixels [rows,C,S,S] f32 and labels [rows] i32. The weights of m, which
 * comes from one of the two makers above, are then those after the last step (also where it was cancelled); glasses that are
 * open read them. loss, unless NULL, gets that of the last step. SG_EUNSUPPORTED: a network with norms. */
sg_status sg_convnet_train(sg_model *m, const sg_source *source, sg_convnet_train_opts opts, double *loss,
                           sg_error *err) SG_MUST_CHECK;

/* Share of pixels [n,C,S,S] whose likeliest label is that of labels [n]. Any model of the task SG_TASK_LABEL. */
sg_status sg_convnet_accuracy(double *out, const sg_model *m, const sg_tensor *pixels, const sg_tensor *labels,
                              sg_exec_opts exec, sg_error *err) SG_MUST_CHECK;

/* Writes the folder (made if it is not there) that sg_model_open opens. stored: SG_F32, or SG_F16 or SG_BF16 for half the
 * bytes of kernels and matrices. SG_EUNSUPPORTED: the network did not come from a config of this family. */
sg_status sg_convnet_save(const sg_model *m, sg_dtype stored, const char *dir, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
