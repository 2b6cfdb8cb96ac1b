/* Results: what a method found, every number beside its control, with tables, pictures and the files it wrote.
 *
 *     sg_result *r;
 *     SG_TRY(sg_result_new(&r, &about, err));
 *     SG_TRY(sg_result_add(r, &(sg_finding){.id = "faithfulness", .text = "share of answers that are the model's own",
 *         .value = .61, .low = .55, .high = .67, .n = 212, .control = "the map of another relation",
 *         .control_value = .08, .control_low = .05, .control_high = .12,
 *         .least = -INFINITY, .most = INFINITY}, err));
 *     SG_TRY(sg_result_write_text(r, stdout, true, err));
 *     sg_result_free(r);
 *
 * One rule, as for reports: no number is printed without its control. Whichever way a result is written, a finding or a
 * table whose control is empty is SG_EARG, and nothing is written. */
#ifndef SIGHTGLASS_RESULT_H
#define SIGHTGLASS_RESULT_H

#include "sightglass/report.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One number. Where an interval is not known low and high are NaN. */
typedef struct sg_finding {
    const char *id;    /* "faithfulness" */
    const char *where; /* "blocks.3.hook_resid_post", "head 2.1"; NULL: nowhere in particular */
    const char *text;  /* what the number is, in a line, with its unit */
    double value, low, high;
    int64_t n;           /* items, seeds or resamples behind it, as the text says */
    const char *control; /* what was done instead, such that the number could have come out otherwise */
    double control_value, control_low, control_high;
    double least, most; /* what it had to be, -INFINITY and INFINITY: nothing was asked of it */
    bool judged;        /* false: least and most are not looked at */
} sg_finding;

/* One that nothing is asked of, without intervals: texts are borrowed. */
sg_finding sg_finding_of(const char *id, const char *text, double value, int64_t n, const char *control,
                         double control_value);

typedef struct sg_cell {
    const char *text; /* NULL: the number */
    double number;
} sg_cell;

typedef struct sg_result_table {
    const char *id, *title;
    int n_columns, n_rows;
    const char *const *columns;
    const sg_cell *cells; /* [rows,columns] */
    const char *control;  /* which columns or rows are the control, or why the table needs none */
} sg_result_table;

/* A file that was written. */
typedef struct sg_result_file {
    const char *path, *what;
} sg_result_file;

/* Where the numbers come from. Texts may be NULL: not known. */
typedef struct sg_manifest {
    const char *method;             /* "dictionary fit" */
    const char *build;              /* "0.1.0 (d208fb6)" */
    const char *model, *model_hash; /* a path; SHA-256 of its files, in hex */
    const char *data, *data_hash;   /* likewise */
    const char *options;            /* "k 32, width 512" */
    const char *backend;
    int threads;
    uint64_t seed;
    double seconds;
} sg_manifest;

typedef struct sg_result sg_result;

/* Everything added is copied. */
sg_status sg_result_new(sg_result **out, const sg_manifest *about, sg_error *err) SG_MUST_CHECK;
sg_status sg_result_set_manifest(sg_result *r, const sg_manifest *about, sg_error *err) SG_MUST_CHECK;
sg_status sg_result_add(sg_result *r, const sg_finding *f, sg_error *err) SG_MUST_CHECK;
sg_status sg_result_add_table(sg_result *r, const sg_result_table *t, sg_error *err) SG_MUST_CHECK;
sg_status sg_result_add_figure(sg_result *r, const sg_figure *f, sg_error *err) SG_MUST_CHECK;
sg_status sg_result_add_file(sg_result *r, const char *path, const char *what, sg_error *err) SG_MUST_CHECK;
/* A sentence for whoever reads it: a caveat, what was left out. */
sg_status sg_result_note(sg_result *r, const char *fmt, ...) SG_PRINTF(2, 3);
void sg_result_free(sg_result *r); /* NULL is fine */

const sg_manifest *sg_result_about(const sg_result *r);
int sg_result_n_findings(const sg_result *r);
const sg_finding *sg_result_finding(const sg_result *r, int i);
bool sg_finding_holds(const sg_finding *f); /* true where nothing was asked of it */
int sg_result_n_tables(const sg_result *r);
const sg_result_table *sg_result_get_table(const sg_result *r, int i);

/* SG_EARG: a finding or a table without text or control, or a control that is not a number. Writers ask this first. */
sg_status sg_result_check(const sg_result *r, sg_error *err) SG_MUST_CHECK;

sg_status sg_result_write_json(const sg_result *r, FILE *to, sg_error *err) SG_MUST_CHECK;
sg_status sg_result_write_text(const sg_result *r, FILE *to, bool colour, sg_error *err) SG_MUST_CHECK;
/* One page, as sg_report_write_html writes it. */
sg_status sg_result_write_html(const sg_result *r, FILE *to, sg_error *err) SG_MUST_CHECK;
sg_status sg_result_save_json(const sg_result *r, const char *path, sg_error *err) SG_MUST_CHECK;
sg_status sg_result_save_html(const sg_result *r, const char *path, sg_error *err) SG_MUST_CHECK;
/* The manifest alone, { "method", "build", ... }, as a file beside an artefact. */
sg_status sg_manifest_save(const sg_manifest *about, const char *path, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
