/* What studies share: the table, running one, and passing progress on. */
#include "study.h"

#include <string.h>
#include <time.h>

static const sg_study studies[] = {
#define SG_STUDY(stem, name, question) {name, #stem, question, sg_study_##stem},
#include "studies.def"
#undef SG_STUDY
};

int sg_study_count(void)
{
    return (int)(sizeof studies / sizeof studies[0]);
}

const sg_study *sg_study_at(int i)
{
    return i >= 0 && i < sg_study_count() ? &studies[i] : NULL;
}

const sg_study *sg_study_find(const char *name)
{
    for (int i = 0; i < sg_study_count(); i++)
        if (!strcmp(name, studies[i].name) || !strcmp(name, studies[i].stem))
            return &studies[i];
    return NULL;
}

sg_study_opts sg_study_defaults(void)
{
    return (sg_study_opts){.exec = sg_exec_defaults()};
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *sg_study_differs(const char *study, const char *claim)
{
    static const struct {
        const char *study, *claim, *why;
    } list[] = {
#define SG_DIFFERS(study, claim, why) {study, claim, why},
#include "differs.def"
#undef SG_DIFFERS
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(list[i].study, study) == 0 && strcmp(list[i].claim, claim) == 0)
            return list[i].why;
    return NULL;
}

sg_status sg_study_run(sg_report **out, const sg_study *study, const sg_study_opts *opts, sg_error *err)
{
    const sg_report_info info = {.study = study->name,
                                 .question = study->question,
                                 .budget = opts->full ? "full" : "small",
                                 .commit = opts->commit,
                                 .seed = opts->seed,
                                 .threads = 1};
    const double began = now();
    sg_report *r;
    *out = NULL;
    SG_TRY(sg_report_new(&r, &info, err));
    sg_status status = study->run(opts, r, err);
    sg_report_set_seconds(r, now() - began);
    if (status == SG_OK)
        status = sg_report_check(r, err);
    if (status == SG_OK && opts->json)
        status = sg_report_save_json(r, opts->json, err);
    if (status == SG_OK && opts->html)
        status = sg_report_save_html(r, opts->html, err);
    if (status != SG_OK) {
        sg_report_free(r);
        return status;
    }
    *out = r;
    return SG_OK;
}

static void pass_on(void *context, const sg_train_progress *at)
{
    const sg_study_part *part = context;
    if (!part->opts->progress)
        return;
    const sg_study_progress progress = {.part = part->name,
                                        .done = at->n_steps ? (double)at->step / (double)at->n_steps : 1,
                                        .seconds_left = at->seconds_left,
                                        .loss = at->loss};
    part->opts->progress(part->opts->context, &progress);
}

sg_train_opts sg_study_training(sg_study_part *part)
{
    sg_train_opts opts = sg_train_defaults();
    opts.progress = pass_on;
    opts.context = part;
    opts.cancel = part->opts->cancel;
    opts.exec = part->opts->exec;
    return opts;
}

sg_status sg_study_model(sg_model **out, const sg_study_opts *opts, const char *standard, sg_error *err)
{
    static const char *const places[] = {"models", SG_STUDY_MODELS};
    char path[1024];
    if (opts->model)
        return sg_model_open(out, opts->model, sg_model_defaults(), err);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", places[i], standard);
        const sg_status status = sg_model_open(out, path, sg_model_defaults(), err);
        if (status != SG_ENOTFOUND)
            return status;
    }
    return sg_fail(err, SG_ENOTFOUND, "models/%s is not here; --model DIR names another model", standard);
}

sg_status sg_study_ran_on(sg_report *report, const sg_plan *plan, int n_threads, sg_error *err)
{
    const char *names[8];
    char text[256] = "";
    int n = 0;
    for (int i = 0; i < sg_plan_n_steps(plan); i++) {
        const char *name = sg_plan_step_backend(plan, i);
        int k = 0;
        while (k < n && strcmp(names[k], name) != 0)
            k++;
        if (k == n && n < 8)
            names[n++] = name;
    }
    /* In the order of the alphabet, so that the text does not depend on which operation came first. */
    for (int i = 0; i < n; i++)
        for (int k = i + 1; k < n; k++)
            if (strcmp(names[k], names[i]) < 0) {
                const char *swapped = names[i];
                names[i] = names[k];
                names[k] = swapped;
            }
    for (int i = 0; i < n; i++) {
        if (i)
            strncat(text, "+", sizeof text - strlen(text) - 1);
        strncat(text, names[i], sizeof text - strlen(text) - 1);
    }
    const int most = sg_report_about(report)->threads;
    return sg_report_set_machine(report, text, n_threads > most ? n_threads : most, err);
}
