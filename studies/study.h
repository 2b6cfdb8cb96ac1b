/* Studies: one paper's question each, asked over the public headers alone, answered by a report.
 *
 *     sg_study_opts opts = sg_study_defaults();
 *     opts.html = "toy.html";
 *     sg_report *r;
 *     SG_TRY(sg_study_run(&r, sg_study_find("toy-superposition"), &opts, err));
 *     const int exit_status = sg_report_holds(r) ? 0 : 1;
 *     sg_report_free(r); */
#ifndef SG_STUDIES_STUDY_H
#define SG_STUDIES_STUDY_H

#include "sightglass/model.h"
#include "sightglass/report.h"
#include "sightglass/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_study_progress {
    const char *part;    /* what is being done: "phases" */
    double done;         /* of this part, 0..1 */
    double seconds_left; /* of this part */
    double loss;         /* NaN where nothing is trained */
} sg_study_progress;

typedef struct sg_study_opts {
    bool full;               /* false */
    uint64_t seed;           /* 0 */
    const char *commit;      /* NULL: unknown */
    const char *json, *html; /* files to write; NULL: none */
    const char *model;       /* NULL: the one that comes with the study; of studies that look into a trained model */
    sg_exec_opts exec;
    void (*progress)(void *context, const sg_study_progress *at); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* see sg_train_opts */
} sg_study_opts;
sg_study_opts sg_study_defaults(void);

typedef struct sg_study {
    const char *name, *stem, *question; /* "toy-superposition", "toy_superposition" */
    /* Adds set-up, claims and figures to the report. */
    sg_status (*run)(const sg_study_opts *opts, sg_report *report, sg_error *err);
} sg_study;

int sg_study_count(void);
const sg_study *sg_study_at(int i);
const sg_study *sg_study_find(const char *name); /* by name or stem; NULL if there is none */

/* Why a claim that holds in the full run does not in the small one (differs.def); NULL: it is not known to. */
const char *sg_study_differs(const char *study, const char *claim);

/* Runs, times, writes the files that opts name, and leaves the report to the caller. That a claim does not hold is no
 * failure: sg_report_holds says it. */
sg_status sg_study_run(sg_report **out, const sg_study *study, const sg_study_opts *opts, sg_error *err) SG_MUST_CHECK;

/* ---- for studies ---- */

/* Training options that pass progress and cancelling on. `part` names what is trained; it and opts outlive the
 * training. */
typedef struct sg_study_part {
    const sg_study_opts *opts;
    const char *name;
} sg_study_part;
sg_train_opts sg_study_training(sg_study_part *part);

/* Opens the model that opts name, else `standard` ("othello6") from models/ in the current folder or in the source tree. */
sg_status sg_study_model(sg_model **out, const sg_study_opts *opts, const char *standard, sg_error *err) SG_MUST_CHECK;

/* Tells the report what a plan ran on: its backends ("onednn+reference"), and threads if they are the most so far. */
sg_status sg_study_ran_on(sg_report *report, const sg_plan *plan, int n_threads, sg_error *err) SG_MUST_CHECK;

#define SG_STUDY(stem, name, question)                                                                                 \
    sg_status sg_study_##stem(const sg_study_opts *opts, sg_report *report, sg_error *err);
#include "studies.def"
#undef SG_STUDY

#ifdef __cplusplus
}
#endif
#endif
