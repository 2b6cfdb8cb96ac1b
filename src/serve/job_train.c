/* The kind of jobs `train`: a language model from nothing, on a world's sequences, as `sightglass train` does it. Its
 * folder holds checkpoints, so that a job which was cut off goes on from the newest one and ends in the same bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "serve/jobs.h"
#include "sightglass/checkpoint.h"
#include "sightglass/learner.h"
#include "sightglass/world.h"

enum { SAVE_SECONDS = 20, MOST_SETTINGS = 32 };

static const char spec_type[] =
    "{config: {[key: string]: unknown}, world: string, settings?: Record<string, string | number>, steps: integer,"
    " batch?: integer, lr?: number, warmup?: integer, seed?: integer, save_every?: integer}";

typedef struct work {
    sg_server_job *job;
    json_t *spec;
    const char *folder;
    sg_model *model;
    sg_source source;
    sg_learner *learner;
    sg_dim steps;
    double told;
    char data[1024];
    char text[MOST_SETTINGS][32];
} work;

static json_int_t whole(const work *w, const char *name, json_int_t without)
{
    const json_t *value = json_object_get(w->spec, name);
    return value ? json_integer_value(value) : without;
}

static void on_step(void *context, const sg_train_progress *at)
{
    work *w = context;
    const double now = sg_now();

    if (now - w->told > 0.1 || at->steps_done == w->steps) {
        w->told = now;
        if (isfinite(at->loss))
            serve_publish(serve_job_server(w->job), "run.scalar",
                          json_pack("{s:s, s:s, s:I, s:f}", "run", sg_job_id(w->job), "tag", "loss", "step",
                                    (json_int_t)at->steps_done, "value", at->loss),
                          true);
    }
    sg_job_progress(w->job, (double)at->steps_done, (double)w->steps, "training");
}

static sg_status write_config(work *w, char path[4300], sg_error *err)
{
    sg_writer *to = NULL;
    snprintf(path, 4300, "%s/config.json", w->folder);
    SG_TRY(sg_writer_begin(&to, path, err));
    if (json_dumpf(json_object_get(w->spec, "config"), sg_writer_stream(to), JSON_INDENT(2)) != 0) {
        sg_writer_abort(to);
        return sg_fail(err, SG_EIO, "%s: could not be written", path);
    }
    return sg_writer_commit(to, err);
}

static sg_status open_world(work *w, sg_error *err)
{
    sg_setting settings[MOST_SETTINGS];
    int n = 0;
    const char *name;
    json_t *value;
    sg_dim n_vocab;
    const sg_world *world = sg_world_find(json_string_value(json_object_get(w->spec, "world")), err);

    if (!world)
        return SG_EARG;
    size_t at = (size_t)snprintf(w->data, sizeof w->data, "world %s", world->name);
    json_object_foreach(json_object_get(w->spec, "settings"), name, value)
    {
        if (n == MOST_SETTINGS)
            return sg_fail(err, SG_EARG, "more than %d settings of a world", MOST_SETTINGS);
        if (json_is_integer(value))
            snprintf(w->text[n], sizeof w->text[n], "%lld", (long long)json_integer_value(value));
        else if (json_is_real(value))
            snprintf(w->text[n], sizeof w->text[n], "%.17g", json_real_value(value));
        else
            snprintf(w->text[n], sizeof w->text[n], "%s", json_string_value(value));
        settings[n] = (sg_setting){name, w->text[n]};
        if (at < sizeof w->data)
            at += (size_t)snprintf(w->data + at, sizeof w->data - at, " %s %s", name, w->text[n]);
        n++;
    }
    SG_TRY(sg_world_source(&w->source, world, n, settings, (sg_dim)whole(w, "batch", 16), (uint64_t)whole(w, "seed", 0),
                           &n_vocab, err));
    const sg_model_info *in = sg_model_get_info(w->model);
    if (n_vocab > in->n_vocab)
        return sg_fail(err, SG_EARG, "the config's vocabulary is %lld, the world %s needs %lld", (long long)in->n_vocab,
                       world->name, (long long)n_vocab);
    return SG_OK;
}

static sg_status prepare(work *w, sg_error *err)
{
    char config[4300];
    sg_learner_opts opts = sg_learner_defaults();
    const json_t *lr = json_object_get(w->spec, "lr");

    w->steps = (sg_dim)whole(w, "steps", 0);
    if (w->steps < 1 || whole(w, "batch", 16) < 1 || whole(w, "batch", 16) > 1 << 16)
        return sg_fail(err, SG_EARG, "steps and batch are counted from 1 on");
    SG_TRY(write_config(w, config, err));
    SG_TRY(sg_model_new(&w->model, config, NULL, sg_model_defaults(), err));
    SG_TRY(open_world(w, err));
    opts.schedule.lr = lr ? json_number_value(lr) : 1e-3;
    opts.schedule.warmup = (sg_dim)whole(w, "warmup", 0);
    opts.schedule.n_steps = w->steps;
    SG_TRY(sg_schedule_check(&opts.schedule, err));
    opts.update.clip = 1;
    opts.seed = (uint64_t)whole(w, "seed", 0);
    opts.data = w->data;
    opts.progress = on_step;
    opts.context = w;
    opts.cancel = sg_job_cancel_flag(w->job);
    sg_job_ran_on(w->job, sg_exec_name(&opts.exec), opts.seed);
    SG_TRY(sg_learner_new(&w->learner, w->model, &w->source, opts, err));
    if (sg_job_resumed(w->job) && sg_checkpoint_newest(w->folder) >= 0)
        SG_TRY(sg_learner_resume(w->learner, w->folder, NULL, NULL, err));
    return SG_OK;
}

/* A checkpoint every so many steps, and after an interruption too. */
static sg_status train(work *w, sg_error *err)
{
    const sg_dim every = (sg_dim)whole(w, "save_every", 100);
    sg_job_progress(w->job, (double)sg_learner_step(w->learner), (double)w->steps, "training");
    for (sg_dim step = sg_learner_step(w->learner); step < w->steps; step = sg_learner_step(w->learner)) {
        const sg_dim next = SG_MIN(step - step % SG_MAX(every, 1) + SG_MAX(every, 1), w->steps);
        const sg_status status = sg_learner_run(w->learner, next - step, err);
        if (status != SG_OK && status != SG_ECANCELLED)
            return status;
        sg_error saving;
        SG_TRY(sg_learner_save(w->learner, w->folder, 2, status == SG_OK ? err : &saving));
        serve_publish(
            serve_job_server(w->job), "run.checkpoint",
            json_pack("{s:s, s:I}", "run", sg_job_id(w->job), "step", (json_int_t)sg_learner_step(w->learner)), true);
        if (status != SG_OK)
            return status;
        if (sg_job_cancelled(w->job))
            return sg_fail(err, SG_ECANCELLED, "stopped");
    }
    return sg_learner_export(w->learner, w->folder, err);
}

static sg_status run(sg_server_job *job, const char *spec, char **result, sg_error *err)
{
    work w = {.job = job, .spec = json_loads(spec, 0, NULL)};
    const double began = sg_now();

    sg_status status = w.spec ? sg_job_folder(job, &w.folder, err) : sg_fail(err, SG_ENOMEM, "out of memory for a job");
    if (status == SG_OK)
        status = prepare(&w, err);
    if (status == SG_OK)
        status = train(&w, err);
    if (status == SG_OK) {
        const double loss = sg_learner_loss(w.learner);
        json_t *out =
            json_pack("{s:s, s:I, s:o, s:I, s:f, s:I}", "model", sg_job_id(job), "steps",
                      (json_int_t)sg_learner_step(w.learner), "loss", isfinite(loss) ? json_real(loss) : json_null(),
                      "tokens", (json_int_t)(sg_learner_step(w.learner) * sg_learner_tokens(w.learner)), "seconds",
                      sg_now() - began, "parameters", (json_int_t)sg_model_get_info(w.model)->n_parameters);
        *result = out ? json_dumps(out, JSON_COMPACT) : NULL;
        json_decref(out);
    }
    sg_learner_free(w.learner);
    sg_source_free(&w.source);
    sg_model_close(w.model);
    json_decref(w.spec);
    return status;
}

const sg_job_kind serve_train_kind = {"train", "Trains a language model from nothing on a world's sequences.",
                                      spec_type, true, run};
