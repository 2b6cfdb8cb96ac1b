/* Reports: what a study found, every claim beside its control, and pictures as data.
 *
 *     SG_TRY(sg_report_new(&r, &info, err));
 *     SG_TRY(sg_report_add_claim(r, &(sg_claim){
 *         .id = "pentagon", .text = "...", .source = "...", .n_seeds = 3, .seeds = seeds,
 *         .measured = {"D of each feature", 15, d, .38, .42},
 *         .control = {"the same with a linear output", {"features represented", 3, linear, 2, 2}}}, err));
 *     SG_TRY(sg_report_save_json(r, "toy.json", err));
 *
 * One rule: no claim is printed without its control. Whichever way a report is written, one claim whose control is
 * empty is SG_EARG and nothing is written. Whether a claim holds is worked out here from its numbers and its criterion.
 */
#ifndef SIGHTGLASS_REPORT_H
#define SIGHTGLASS_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- claims ---- */

/* Numbers that were measured, all of them meant to lie in low..high (an end may be infinite). A NaN never does. */
typedef struct sg_measure {
    const char *what; /* what each number is: "D of each feature" */
    int n;
    const double *values; /* one per seed, or per seed and feature */
    double low, high;
} sg_measure;

typedef struct sg_control {
    const char *text; /* what was done instead, such that the claim could fail */
    sg_measure measured;
} sg_control;

/* How well a number given for the paper is known. Only the first two are shown as the paper's number. */
typedef enum sg_standing {
    SG_STANDING_CHECKED = 1, /* checked against the authors' code */
    SG_STANDING_ABSTRACT,    /* stated in the abstract */
    SG_STANDING_SECOND_HAND,
    SG_STANDING_FROM_MEMORY,
    SG_STANDING_DERIVED /* follows from mathematics, not from the paper */
} sg_standing;
const char *sg_standing_text(sg_standing s); /* "stated in the abstract" */

typedef struct sg_paper_value {
    double value;
    sg_standing standing;
} sg_paper_value;

typedef struct sg_claim {
    const char *id, *text;
    const char *source;          /* where the claim or its expected number comes from */
    const sg_paper_value *paper; /* NULL: the paper gives no number */
    int n_seeds;
    const uint64_t *seeds;
    sg_measure measured;
    sg_control control;
} sg_claim;

bool sg_measure_holds(const sg_measure *m); /* false where nothing was measured */
double sg_measure_mean(const sg_measure *m);
bool sg_claim_holds(const sg_claim *c); /* the claim and its control */
/* "between 0.38 and 0.42", "exactly 2", "at least 0.95"; returns buf. */
#define SG_CRITERION_TEXT 96
const char *sg_measure_criterion(const sg_measure *m, char buf[SG_CRITERION_TEXT]);

/* ---- figures ---- */

typedef enum sg_figure_kind {
    SG_FIGURE_LINES,
    SG_FIGURE_POINTS,
    SG_FIGURE_ARROWS, /* from the origin to each point; both axes have one scale */
    SG_FIGURE_MATRIX
} sg_figure_kind;

typedef struct sg_axis {
    const char *label;
    const char *unit; /* NULL: none */
    bool log;
    double low, high; /* both 0: as far as the numbers go */
} sg_axis;

typedef struct sg_series {
    const char *name;
    int n;
    const double *x, *y;
} sg_series;

/* One picture of a figure: series, or the cells of a matrix. */
typedef struct sg_panel {
    const char *title; /* NULL: none */
    int n_series;
    const sg_series *series;
    int n_rows, n_columns;
    const double *cells;              /* [rows,columns] */
    const double *row_at, *column_at; /* what a row and a column stand for on the axes; NULL: 0, 1, ... */
} sg_panel;

typedef struct sg_figure {
    const char *id, *title;
    const char *caption; /* what to see in it; NULL: none */
    sg_figure_kind kind;
    sg_axis x, y;
    sg_axis value; /* matrices: what a cell is */
    int n_names;
    const char *const *names; /* matrices: cell c means names[c]; NULL: cells are numbers */
    int n_panels;
    const sg_panel *panels; /* on common axes */
} sg_figure;

/* ---- reports ---- */

typedef struct sg_report_info {
    const char *study;                  /* "toy-superposition" */
    const char *question;               /* one sentence */
    const char *setup;                  /* how it was run, for who wants to repeat it; NULL: none */
    const char *budget;                 /* "small" or "full" */
    const char *commit, *backend, *cpu; /* NULL: "unknown"; for cpu what sg_cpu_name finds */
    uint64_t seed;
    int threads;
    double seconds;
} sg_report_info;

typedef struct sg_report sg_report;

/* Everything added is copied. */
sg_status sg_report_new(sg_report **out, const sg_report_info *info, sg_error *err) SG_MUST_CHECK;
sg_status sg_report_add_claim(sg_report *r, const sg_claim *claim, sg_error *err) SG_MUST_CHECK;
sg_status sg_report_add_figure(sg_report *r, const sg_figure *figure, sg_error *err) SG_MUST_CHECK;
/* What is only known at the end. */
void sg_report_set_seconds(sg_report *r, double seconds);
sg_status sg_report_set_setup(sg_report *r, const char *setup, sg_error *err) SG_MUST_CHECK;
sg_status sg_report_set_machine(sg_report *r, const char *backend, int threads, sg_error *err) SG_MUST_CHECK;
void sg_report_free(sg_report *r); /* NULL is fine */

const sg_report_info *sg_report_about(const sg_report *r);
int sg_report_n_claims(const sg_report *r);
const sg_claim *sg_report_claim(const sg_report *r, int i);
int sg_report_n_figures(const sg_report *r);
const sg_figure *sg_report_figure(const sg_report *r, int i);
/* Every claim and every control holds, and there is at least one. */
bool sg_report_holds(const sg_report *r);

/* SG_EARG: a claim without text, source or numbers, or whose control is empty. Every writer below asks this first. */
sg_status sg_report_check(const sg_report *r, sg_error *err) SG_MUST_CHECK;

sg_status sg_report_write_json(const sg_report *r, FILE *to, sg_error *err) SG_MUST_CHECK;
/* For a terminal of at least 80 columns; colour: with ANSI escapes. Without, everything is still told apart. */
sg_status sg_report_write_text(const sg_report *r, FILE *to, bool colour, sg_error *err) SG_MUST_CHECK;
/* One page that asks for nothing else: styles and pictures are inside, no script. */
sg_status sg_report_write_html(const sg_report *r, FILE *to, sg_error *err) SG_MUST_CHECK;

/* The same into files, which appear whole or not at all. */
sg_status sg_report_save_json(const sg_report *r, const char *path, sg_error *err) SG_MUST_CHECK;
sg_status sg_report_save_html(const sg_report *r, const char *path, sg_error *err) SG_MUST_CHECK;

/* One figure for a terminal. */
sg_status sg_figure_write_text(const sg_figure *f, FILE *to, bool colour, sg_error *err) SG_MUST_CHECK;

/* The processor's name as the system tells it, or "unknown"; returns buf. */
#define SG_CPU_TEXT 128
const char *sg_cpu_name(char buf[SG_CPU_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
