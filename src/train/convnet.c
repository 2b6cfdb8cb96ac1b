/* Training of convolutional networks: Adam on the cross-entropy of labelled images. */
#include "sightglass/convnet.h"

#include <stdlib.h>
#include <string.h>

#include "models/conv.h"

#define MOST_ROWS 256 /* that are scored at a time */

sg_convnet_train_opts sg_convnet_train_defaults(void)
{
    sg_convnet_train_opts o = {
        .n_steps = 1000, .schedule = sg_schedule_defaults(), .weight_decay = 1e-4, .exec = sg_exec_defaults()};

    o.schedule.kind = SG_SCHEDULE_COSINE;
    o.schedule.lr = 2e-3;
    o.schedule.warmup = 50;
    return o;
}

typedef struct training {
    sg_graph *g;
    sg_state *state;
    sg_updates *updates;
    sg_train *train;
    sg_value **weights;
    bool *decays;
} training;

static void end(training *t)
{
    sg_train_free(t->train);
    sg_updates_free(t->updates);
    sg_state_free(t->state);
    sg_graph_free(t->g);
    free(t->weights);
    free(t->decays);
}

static sg_status prepare(training *t, sg_model *m, const sg_source *source, const sg_convnet_train_opts *o,
                         const sg_schedule *schedule, sg_error *err)
{
    const sg_encoder *e = m->encoder;
    const int n = e->n_weights;

    SG_TRY(sg_model_graph(&t->g, m, 0, 1, err));
    t->weights = calloc((size_t)n, sizeof *t->weights);
    t->decays = calloc((size_t)n, sizeof *t->decays);
    if (!t->weights || !t->decays)
        return sg_fail(err, SG_ENOMEM, "out of memory for training");
    for (int i = 0; i < n; i++) {
        t->weights[i] = sg_graph_find(t->g, e->weights[i].name);
        t->decays[i] = e->weights[i].tensor.n_dims > 1;
    }
    sg_value *pixels = sg_graph_find(t->g, "pixels"), *logits = sg_graph_find(t->g, "class_logits");
    sg_value *labels = sg_input(t->g, "labels", SG_I32, 1, sg_value_dims(logits));
    sg_value *loss = sg_mean_all(t->g, sg_cross_entropy(t->g, logits, labels));
    sg_value *step = sg_input(t->g, "step", SG_I32, 0, NULL), *lr = sg_input(t->g, "lr", SG_F32, 0, NULL);
    sg_update_opts update = sg_update_defaults();
    update.adam.weight_decay = o->weight_decay;
    update.decays = t->decays;
    SG_TRY(sg_updates_new(&t->updates, t->g, loss, NULL, n, t->weights, lr, step, update, err));
    SG_TRY(sg_state_new(&t->state, t->g, err));
    SG_TRY(sg_state_init(t->state, 0, err));
    for (int i = 0; i < n; i++)
        memcpy(sg_state_tensor(t->state, t->weights[i])->data, e->weights[i].tensor.data,
               sg_tensor_bytes(&e->weights[i].tensor));
    sg_train_opts opts = sg_train_defaults();
    opts.schedule = schedule;
    opts.source = source;
    opts.progress = o->progress;
    opts.context = o->context;
    opts.cancel = o->cancel;
    opts.exec = o->exec;
    sg_value *const inputs[] = {pixels, labels};
    const sg_train_graph what = {
        .step = step, .lr = lr, .loss = loss, .made = t->updates, .n_inputs = 2, .inputs = inputs};
    return sg_train_new(&t->train, t->g, t->state, what, opts, err);
}

sg_status sg_convnet_train(sg_model *m, const sg_source *source, sg_convnet_train_opts opts, double *loss,
                           sg_error *err)
{
    const sg_encoder *e = m->encoder;
    training t = {0};
    sg_schedule schedule = opts.schedule;

    if (!e || !e->conv || m->file)
        return sg_fail(err, SG_EARG, "%s: only a network that sg_convnet_new or sg_convnet_fresh made is trained",
                       m->info.path);
    for (int i = 0; i < e->conv->n_layers; i++)
        if (e->conv->layers[i].bound[SG_CONV_NORM_MEAN])
            return sg_fail(err, SG_EUNSUPPORTED, "%s: networks with norms (%s) are not trained in this version",
                           m->info.path, m->info.family);
    if (source->n_fields != 2 || source->field[0].n_dims != 4 || source->field[1].n_dims != 1 ||
        source->field[0].dtype != SG_F32 || source->field[1].dtype != SG_I32)
        return sg_fail(err, SG_EARG,
                       "images to train on are a source of pixels [rows,C,S,S] f32 and labels [rows] i32");
    schedule.n_steps = opts.n_steps;
    schedule.warmup = SG_MIN(schedule.warmup, opts.n_steps / 2);
    sg_status status = prepare(&t, m, source, &opts, &schedule, err);
    if (status == SG_OK) {
        status = sg_train_run(t.train, opts.n_steps, err);
        if (loss)
            *loss = sg_train_loss(t.train);
        sg_error lost;
        const sg_status fetched = sg_state_fetch(t.state, status == SG_OK ? err : &lost);
        status = status == SG_OK ? fetched : status;
        for (int i = 0; i < e->n_weights && fetched == SG_OK; i++)
            memcpy(e->weights[i].tensor.data, sg_state_tensor(t.state, t.weights[i])->data,
                   sg_tensor_bytes(&e->weights[i].tensor));
    }
    end(&t);
    return status;
}

/* ---- accuracy ---- */

static sg_status score(sg_dim *right, sg_glass *glass, const sg_tensor *pixels, const sg_tensor *labels, sg_error *err)
{
    const sg_dim n = pixels->dims[0], each = n ? sg_tensor_count(pixels) / n : 0;
    sg_value *logits;

    SG_TRY(sg_glass_find(glass, "class_logits", &logits, err));
    for (sg_dim at = 0; at < n; at += MOST_ROWS) {
        const sg_dim rows = SG_MIN(MOST_ROWS, n - at);
        sg_named_feed feed = {"pixels", *pixels};
        sg_tensor out;
        feed.tensor.dims[0] = rows;
        feed.tensor.data = (char *)pixels->data + (size_t)(at * each) * sg_dtype_bytes(pixels->dtype);
        SG_TRY(sg_glass_run(glass, NULL, 1, &feed, 1, &logits, &out, err));
        for (sg_dim i = 0; i < rows; i++) {
            sg_dim best = 0;
            for (sg_dim k = 1; k < out.dims[1]; k++)
                if (sg_tensor_get(&out, i * out.dims[1] + k) > sg_tensor_get(&out, i * out.dims[1] + best))
                    best = k;
            *right += best == (sg_dim)sg_tensor_get(labels, at + i);
        }
    }
    return SG_OK;
}

sg_status sg_convnet_accuracy(double *out, const sg_model *m, const sg_tensor *pixels, const sg_tensor *labels,
                              sg_exec_opts exec, sg_error *err)
{
    sg_glass *glass;
    sg_glass_opts opts = sg_glass_defaults();
    sg_dim right = 0;

    if (pixels->n_dims != 4 || sg_tensor_count(labels) != pixels->dims[0] || !pixels->dims[0])
        return sg_fail(err, SG_ESHAPE, "accuracy is of pixels [n,C,S,S] and n labels, at least 1");
    opts.exec = exec;
    SG_TRY(sg_glass_new(&glass, m, opts, err));
    const sg_status status = score(&right, glass, pixels, labels, err);
    sg_glass_free(glass);
    *out = (double)right / (double)pixels->dims[0];
    return status;
}
