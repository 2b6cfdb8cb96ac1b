/* Studies for the server: what their committed reports say, and running one as a job. */
#include "serve_studies.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "commit.h"
#include "study_all.h"

/* ---- what was found ---- */

static json_t *report_of(const char *name)
{
    size_t bytes = 0;
    const void *json = study_record(name, &bytes);
    return json ? json_loadb(json, bytes, 0, NULL) : NULL;
}

/* A field, or null where the report has none. */
static json_t *field(const json_t *of, const char *name)
{
    json_t *value = json_object_get(of, name);
    return value ? json_incref(value) : json_null();
}

static json_t *number(const json_t *of, const char *name)
{
    json_t *value = json_object_get(of, name);
    return json_is_number(value) ? json_incref(value) : json_null();
}

static json_t *claim_of(const json_t *c)
{
    const json_t *control = json_object_get(c, "control");
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o, s:o}}", "id", field(c, "id"), "text",
                     field(c, "text"), "source", field(c, "source"), "paper_value", number(c, "paper_value"), "value",
                     number(c, "value"), "criterion", field(c, "criterion"), "holds", field(c, "holds"), "control",
                     "text", field(control, "text"), "value", number(control, "value"), "criterion",
                     field(control, "criterion"), "holds", field(control, "holds"));
}

static json_t *study_of(const sg_study *study)
{
    json_t *report = report_of(study->name), *claims = json_array(), *of = json_object_get(report, "claims");
    bool holds = report != NULL;

    for (size_t i = 0; i < json_array_size(of); i++) {
        const json_t *c = json_array_get(of, i);
        holds &= json_is_true(json_object_get(c, "holds")) &&
                 json_is_true(json_object_get(json_object_get(c, "control"), "holds"));
        json_array_append_new(claims, claim_of(c));
    }
    json_t *all = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", study->name, "question",
                            study->question, "budget", field(report, "budget"), "commit", field(report, "commit"),
                            "cpu", field(report, "cpu"), "seconds", number(report, "seconds"), "holds",
                            report ? json_boolean(holds) : json_null(), "claims", claims);
    json_decref(report);
    return all;
}

char *serve_studies_json(void)
{
    json_t *list = json_array();
    for (int i = 0; i < sg_study_count(); i++)
        json_array_append_new(list, study_of(sg_study_at(i)));
    json_t *root = json_pack("{s:o}", "studies", list);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

/* ---- running one ---- */

static void on_progress(void *context, const sg_study_progress *at)
{
    sg_job_progress(context, at->done, 1, at->part);
}

static sg_status as_text(const sg_report *report, char **out, sg_error *err)
{
    size_t n = 0;
    FILE *to = open_memstream(out, &n);
    if (!to)
        return sg_fail(err, SG_ENOMEM, "out of memory for a report");
    const sg_status status = sg_report_write_json(report, to, err);
    if (fclose(to) != 0 && status == SG_OK)
        return sg_fail(err, SG_ENOMEM, "out of memory for a report");
    return status;
}

static sg_status run(sg_server_job *job, const char *spec, char **result, sg_error *err)
{
    json_t *of = json_loads(spec, 0, NULL);
    const char *name = json_string_value(json_object_get(of, "study"));
    const sg_study *study = name ? sg_study_find(name) : NULL;
    const json_int_t seed = json_integer_value(json_object_get(of, "seed"));
    sg_study_opts opts = sg_study_defaults();
    sg_report *report = NULL;

    if (!study) {
        sg_fail(err, SG_EARG, "no study is called \"%.60s\"", name ? name : "");
        json_decref(of);
        return SG_EARG;
    }
    opts.full = json_is_true(json_object_get(of, "full"));
    opts.seed = seed > 0 ? (uint64_t)seed : 0;
    opts.commit = SG_COMMIT;
    opts.progress = on_progress;
    opts.context = job;
    opts.cancel = sg_job_cancel_flag(job);
    sg_job_progress(job, 0, 1, "begins");
    sg_status status = sg_study_run(&report, study, &opts, err);
    if (status == SG_OK) {
        sg_job_ran_on(job, sg_report_about(report)->backend, opts.seed);
        status = as_text(report, result, err);
    }
    sg_report_free(report);
    json_decref(of);
    return status;
}

const sg_job_kind serve_study_kind = {"study", "Asks one paper's question again; the result is the study's report.",
                                      "{study: string, full?: boolean, seed?: integer}", false, run};
