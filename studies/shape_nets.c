/* Networks, images and progress of the studies of drawn shapes. */
#include "shape_nets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, MOST_SETTINGS = 8 };
#define TRAIN_SEED 1000003u /* of images to train on, past those of tests */

static const char config[] = "{\"architectures\": [\"ConvNetForImageClassification\"], \"image_size\": 24, "
                             "\"num_channels\": 1, \"num_labels\": 4,"
                             " \"layers\": [{\"kind\": \"conv\", \"channels\": 16}, {\"kind\": \"max_pool\"}, "
                             "{\"kind\": \"conv\", \"channels\": 32},"
                             " {\"kind\": \"max_pool\"}, {\"kind\": \"dense\", \"channels\": 32}]}";

static sg_status train(sg_model *m, const sg_study_opts *opts, const char *name, const sg_source *images, int n_steps,
                       sg_error *err)
{
    sg_study_part part = {opts, name};
    const sg_train_opts told = sg_study_training(&part);
    sg_convnet_train_opts o = sg_convnet_train_defaults();
    double loss;
    o.n_steps = n_steps;
    o.progress = told.progress;
    o.context = told.context;
    o.cancel = told.cancel;
    o.exec = opts->exec;
    return sg_convnet_train(m, images, o, &loss, err);
}

static sg_status finish(sg_model **out, sg_model *m, sg_status status)
{
    if (status != SG_OK)
        sg_model_close(m);
    *out = status == SG_OK ? m : NULL;
    return status;
}

sg_status shape_net(sg_model **out, const sg_study_opts *opts, const char *part, int n_settings,
                    const sg_setting *settings, int n_steps, uint64_t seed, sg_error *err)
{
    static const char *const fields[2] = {"pixels", "label"};
    const sg_world *world = sg_world_find("shapes", err);
    sg_source images = {.n_fields = 0};
    sg_model *m = NULL;
    *out = NULL;
    sg_status status = world ? sg_convnet_new(&m, config, seed, err) : SG_ENOTFOUND;
    if (status == SG_OK)
        status = sg_world_batches(&images, world, n_settings, settings, 2, fields, ROWS, TRAIN_SEED + seed, err);
    if (status == SG_OK)
        status = train(m, opts, part, &images, n_steps, err);
    sg_source_free(&images);
    return finish(out, m, status);
}

/* ---- by heart ---- */

typedef struct heart {
    const float *pixels;
    const int32_t *labels;
    int n;
} heart;

static sg_status fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    const heart *h = self;
    (void)err;
    for (int r = 0; r < ROWS; r++) {
        const sg_dim k = (i * ROWS + r) * 7 % h->n; /* n is no multiple of 7: every image in turn */
        memcpy((float *)field[0].data + r * SHAPE_PIXELS, h->pixels + k * SHAPE_PIXELS, SHAPE_PIXELS * sizeof(float));
        ((int32_t *)field[1].data)[r] = h->labels[k];
    }
    return SG_OK;
}

sg_status shape_net_by_heart(sg_model **out, const sg_study_opts *opts, const char *part, int n_settings,
                             const sg_setting *settings, int n, int n_steps, uint64_t seed, double *accuracy,
                             sg_error *err)
{
    sg_sample *s = NULL;
    sg_model *m = NULL;
    *out = NULL;
    sg_status status = shape_images(&s, n_settings, settings, n, TRAIN_SEED + seed, err);
    if (status == SG_OK)
        status = sg_convnet_new(&m, config, seed, err);
    if (status == SG_OK) {
        heart h = {shape_pixels(s), shape_labels(s), n};
        const sg_source images = {.n_fields = 2,
                                  .field = {sg_tensor_of(SG_F32, 4, (sg_dim[]){ROWS, 1, SHAPE_SIDE, SHAPE_SIDE}, NULL),
                                            sg_tensor_of(SG_I32, 1, (sg_dim[]){ROWS}, NULL)},
                                  .fill = fill,
                                  .self = &h};
        status = train(m, opts, part, &images, n_steps, err);
    }
    if (status == SG_OK)
        status = shape_accuracy(accuracy, m, s, opts->exec, err);
    sg_sample_free(s);
    return finish(out, m, status);
}

/* ---- images ---- */

sg_status shape_images(sg_sample **out, int n_settings, const sg_setting *settings, int n, uint64_t seed, sg_error *err)
{
    const sg_world *world = sg_world_find("shapes", err);
    return world ? sg_world_sample(out, world, n_settings, settings, n, seed, err) : SG_ENOTFOUND;
}

const float *shape_pixels(const sg_sample *s)
{
    return sg_sample_find(s, "pixels")->data;
}

const int32_t *shape_labels(const sg_sample *s)
{
    return sg_sample_find(s, "label")->data;
}

const bool *shape_mask(const sg_sample *s, const char *field)
{
    return sg_sample_find(s, field)->data;
}

sg_status shape_accuracy(double *out, const sg_model *m, const sg_sample *s, sg_exec_opts exec, sg_error *err)
{
    return sg_convnet_accuracy(out, m, sg_sample_find(s, "pixels"), sg_sample_find(s, "label"), exec, err);
}

sg_status shape_progress(const sg_study_opts *opts, const char *part, double done, sg_error *err)
{
    if (opts->progress)
        opts->progress(opts->context, &(sg_study_progress){part, done, (double)NAN, (double)NAN});
    return opts->cancel && *opts->cancel ? sg_fail(err, SG_ECANCELLED, "stopped in %s", part) : SG_OK;
}

sg_status shape_ran_on(sg_report *report, sg_exec_opts exec, sg_error *err)
{
    return sg_report_set_machine(report, sg_exec_name(&exec), exec.n_threads, err);
}
