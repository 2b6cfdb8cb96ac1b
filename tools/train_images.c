/* The folder gets the model, recipe.json, and score.json: its accuracy on images that it was not trained on, beside
 * that of the same network with fresh weights. There are no checkpoints: it takes a minute or two. */
#include "train_images.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "recipe.h"
#include "sightglass/convnet.h"

enum { JUDGED = 4000 };
#define JUDGED_SEED 1000003u /* away from any seed that people type */

static const char *const fields[] = {"pixels", "label"};

static bool has(const sg_world *world, const char *name)
{
    for (int i = 0; i < world->n_fields; i++)
        if (strcmp(world->fields[i].name, name) == 0)
            return true;
    return false;
}

bool train_images_can(const sg_world *world)
{
    return !world->tokens && has(world, fields[0]) && has(world, fields[1]);
}

typedef struct work {
    const train_images_ask *ask;
    sg_model *model, *fresh;
    sg_source source;
    sg_sample *judged;
    sg_exec_opts exec;
    double loss, began, shown, right, by_fresh;
    char data[300];
} work;

static void show(void *context, const sg_train_progress *at)
{
    work *w = context;
    const double now = sg_now();

    if (!isatty(STDERR_FILENO) || (now - w->shown < 0.1 && at->step < at->n_steps))
        return;
    w->shown = now;
    fprintf(stderr, "\rstep %" PRId64 " of %" PRId64 ", loss %.4f, %.0f s left \033[K%s", at->step, at->n_steps,
            at->loss, at->seconds_left, at->step == at->n_steps ? "\n" : "");
}

static sg_status describe(work *w, sg_error *err)
{
    const train_images_ask *a = w->ask;
    double value[64];
    int n = snprintf(w->data, sizeof w->data, "world %s", a->world->name);

    SG_ASSERT(a->world->n_options <= (int)SG_COUNT_OF(value));
    SG_TRY(sg_options_parse(value, a->world->name, a->world->n_options, a->world->options, a->n_settings, a->settings,
                            err));
    for (int i = 0; i < a->world->n_options && n < (int)sizeof w->data; i++)
        n += snprintf(w->data + n, sizeof w->data - (size_t)n, " %s %.9g", a->world->options[i].name, value[i]);
    return SG_OK;
}

static sg_status prepare(work *w, sg_error *err)
{
    const train_images_ask *a = w->ask;
    sg_file *config;

    w->exec = sg_exec_defaults();
    if (a->backend)
        SG_TRY(sg_exec_use(&w->exec, a->backend, err));
    SG_TRY(describe(w, err));
    SG_TRY(sg_file_open(&config, a->config, err));
    sg_str text = {0};
    sg_str_append(&text, sg_file_bytes(config) ? (const char *)sg_file_data(config) : "", sg_file_bytes(config));
    sg_file_close(config);
    const sg_status made =
        text.failed ? sg_fail(err, SG_ENOMEM, "out of memory") : sg_convnet_new(&w->model, text.text, a->seed, err);
    sg_str_free(&text);
    SG_TRY(made);
    SG_TRY(sg_convnet_fresh(&w->fresh, w->model, a->seed + 1, err));
    SG_TRY(sg_world_batches(&w->source, a->world, a->n_settings, a->settings, 2, fields, a->batch, a->seed, err));
    const sg_model_info *in = sg_model_get_info(w->model);
    const sg_tensor *p = &w->source.field[0];
    if (p->n_dims != 4 || p->dims[1] != in->n_channels || p->dims[2] != in->image_side)
        return sg_fail(err, SG_EARG,
                       "%s reads images of %" PRId64 " channels and %" PRId64
                       " pixels along each side, the world %s draws others",
                       a->config, in->n_channels, in->image_side, a->world->name);
    return sg_world_sample(&w->judged, a->world, a->n_settings, a->settings, JUDGED, a->seed + JUDGED_SEED, err);
}

static sg_status learn(work *w, sg_error *err)
{
    const train_images_ask *a = w->ask;
    sg_convnet_train_opts opts = sg_convnet_train_defaults();

    opts.n_steps = a->steps;
    opts.schedule.lr = a->lr;
    opts.schedule.warmup = a->warmup;
    opts.schedule.decay = a->decay < 0 ? a->steps / 5 : a->decay;
    if (a->schedule)
        SG_TRY(sg_schedule_kind_of(&opts.schedule.kind, a->schedule, err));
    opts.weight_decay = a->weight_decay;
    opts.progress = show;
    opts.context = w;
    opts.cancel = a->cancel;
    opts.exec = w->exec;
    return sg_convnet_train(w->model, &w->source, opts, &w->loss, err);
}

static json_t *score_json(const work *w)
{
    return json_pack("{s:i, s:I, s:f, s:f, s:s}", "images", (int)JUDGED, "seed",
                     (json_int_t)(w->ask->seed + JUDGED_SEED), "accuracy", w->right, "accuracy_of_fresh_weights",
                     w->by_fresh, "data", w->data);
}

static sg_status save(work *w, sg_error *err)
{
    const train_images_ask *a = w->ask;
    const sg_tensor *pixels = sg_sample_find(w->judged, fields[0]), *labels = sg_sample_find(w->judged, fields[1]);
    sg_writer *to;
    sg_str path = {0};

    SG_TRY(sg_convnet_accuracy(&w->right, w->model, pixels, labels, w->exec, err));
    SG_TRY(sg_convnet_accuracy(&w->by_fresh, w->fresh, pixels, labels, w->exec, err));
    SG_TRY(sg_convnet_save(w->model, a->stored, a->out, err));
    const recipe r = {.argc = a->argc - 1,
                      .argv = a->argv + 1,
                      .data = w->data,
                      .backend = sg_exec_name(&w->exec),
                      .dtype = "f32",
                      .threads = w->exec.n_threads,
                      .processes = 1,
                      .parameters = sg_model_get_info(w->model)->n_parameters,
                      .steps = a->steps,
                      .rows = a->steps * a->batch,
                      .loss = w->loss,
                      .seconds = sg_now() - w->began};
    SG_TRY(recipe_write(&r, a->out, err));
    sg_str_printf(&path, "%s/score.json", a->out);
    sg_status status = path.failed ? sg_fail(err, SG_ENOMEM, "out of memory") : sg_writer_begin(&to, path.text, err);
    if (status == SG_OK) {
        json_t *root = score_json(w);
        (void)json_dumpf(root, sg_writer_stream(to), JSON_INDENT(1) | JSON_REAL_PRECISION(6)); /* the commit tells */
        fputc('\n', sg_writer_stream(to));
        json_decref(root);
        status = sg_writer_commit(to, err);
    }
    sg_str_free(&path);
    return status;
}

int train_images(const train_images_ask *ask)
{
    work w = {.ask = ask, .began = sg_now()};
    sg_error err;
    sg_status status = prepare(&w, &err);

    if (status == SG_OK)
        status = learn(&w, &err);
    if (status == SG_OK)
        status = save(&w, &err);
    int code = 0;
    if (status != SG_OK)
        code = cli_fail(&err);
    else if (ask->json)
        code = cli_print_json(score_json(&w));
    else
        printf("%s: %" PRId64 " steps, loss %.4f in %.1f s; %.2f %% of %d other images right, fresh weights %.2f %%\n",
               ask->out, ask->steps, w.loss, sg_now() - w.began, 100 * w.right, JUDGED, 100 * w.by_fresh);
    sg_sample_free(w.judged);
    sg_source_free(&w.source);
    sg_model_close(w.fresh);
    sg_model_close(w.model);
    return code;
}
