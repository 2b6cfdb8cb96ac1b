/* See othello_parts.h. */
#include "othello_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Tells the report on what the model runs, by planning a run of it. */
static sg_status say_machine(othello_parts *o)
{
    static const int32_t tokens[2] = {1, 2};
    const int32_t *const row = tokens;
    const sg_dim length = 2;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
    sg_glass_opts how = sg_glass_defaults();
    sg_glass *glass;
    sg_value *logits;
    const sg_plan *plan;
    how.exec = o->opts->exec;
    SG_TRY(sg_glass_new(&glass, o->model, how, o->err));
    sg_status status = sg_glass_find(glass, "logits", &logits, o->err);
    if (status == SG_OK)
        status = sg_glass_plan(glass, &rows, 0, NULL, 1, &logits, &plan, o->err);
    if (status == SG_OK)
        status = sg_study_ran_on(o->report, plan, how.exec.n_threads, o->err);
    sg_glass_free(glass);
    return status;
}

sg_status othello_open(othello_parts *o, const sg_study_opts *opts, sg_report *report, int n_seeds, sg_error *err)
{
    *o = (othello_parts){.opts = opts, .report = report, .err = err, .n_seeds = n_seeds};
    for (int i = 0; i < n_seeds; i++)
        o->seeds[i] = sg_probe_job_defaults().seed + 1000 * opts->seed + (uint64_t)i;
    if (!(o->world = sg_world_find("othello", err)))
        return SG_ENOTFOUND;
    SG_TRY(sg_study_model(&o->model, opts, opts->full ? "othello8" : "othello6", err));
    const sg_model_info *in = sg_model_get_info(o->model);
    for (int size = 4; size <= 8; size += 2)
        if (in->n_vocab == sg_othello_vocabulary(size))
            o->size = size;
    if (!o->size) {
        const sg_status status =
            sg_fail(err, SG_EARG, "%s: a vocabulary of %lld is no board's", in->path, (long long)in->n_vocab);
        othello_close(o);
        return status;
    }
    const sg_status status = say_machine(o);
    if (status != SG_OK) {
        othello_close(o);
        return status;
    }
    snprintf(o->size_text, sizeof o->size_text, "%d", o->size);
    o->setting = (sg_setting){"size", o->size_text};
    return SG_OK;
}

void othello_close(othello_parts *o)
{
    sg_model_close(o->model);
    o->model = NULL;
}

void othello_begin(othello_parts *o, const char *part)
{
    o->part = part;
    o->began = now();
}

void othello_progress(void *context, double done)
{
    const othello_parts *o = context;
    if (!o->opts->progress)
        return;
    const sg_study_progress at = {.part = o->part,
                                  .done = done,
                                  .seconds_left = done > 0 ? (now() - o->began) * (1 - done) / done : 0,
                                  .loss = (double)NAN};
    o->opts->progress(o->opts->context, &at);
}

static void on_job(void *context, double done, const char *what)
{
    (void)what;
    othello_progress(context, done);
}

sg_probe_job othello_job(othello_parts *o, int i, const char *part)
{
    sg_probe_job job = sg_probe_job_defaults();
    othello_begin(o, part);
    job.model = o->model;
    job.world = o->world;
    job.n_settings = 1;
    job.settings = &o->setting;
    job.seed = o->seeds[i];
    job.untrained_seed = o->seeds[i];
    if (!o->opts->full) /* seconds */
        job.n_fit = 600, job.n_test = 200, job.probe.n_epochs = 4;
    job.exec = o->opts->exec;
    job.progress = on_job;
    job.context = o;
    job.cancel = o->opts->cancel;
    return job;
}

sg_status othello_layers(const othello_parts *o, char ***out, int *n)
{
    enum { NAME = 48 };
    *n = (int)sg_model_get_info(o->model)->n_layers + 1;
    char **sites = malloc((size_t)*n * (sizeof *sites + NAME)); /* the names lie behind the list */
    *out = sites;
    if (!sites)
        return sg_fail(o->err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < *n; i++) {
        sites[i] = (char *)(sites + *n) + (size_t)i * NAME;
        if (i == 0)
            snprintf(sites[i], NAME, "blocks.0.hook_resid_pre");
        else
            snprintf(sites[i], NAME, "blocks.%d.hook_resid_post", i - 1);
    }
    return SG_OK;
}

sg_status othello_claim(const othello_parts *o, const char *id, const char *text, const char *source,
                        sg_measure measured, sg_control control)
{
    return sg_report_add_claim(o->report,
                               &(sg_claim){.id = id,
                                           .text = text,
                                           .source = source,
                                           .n_seeds = o->n_seeds,
                                           .seeds = o->seeds,
                                           .measured = measured,
                                           .control = control},
                               o->err);
}
