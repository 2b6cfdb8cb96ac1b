/* What the writers share. */
#ifndef SG_REPORT_INTERNAL_H
#define SG_REPORT_INTERNAL_H

#include "base/base.h"
#include "sightglass/report.h"

/* ---- copies: each gives NULL for NULL, and remembers in *good when memory is out ---- */

const char *sg_text_copy(sg_arena *arena, const char *text, bool *good);
void *sg_bytes_copy(sg_arena *arena, const void *from, size_t count, size_t size, bool *good);
double *sg_numbers_copy(sg_arena *arena, const double *from, int n, bool *good);
sg_figure sg_figure_copy(sg_arena *arena, const sg_figure *f, bool *good);

/* ---- for a terminal ---- */

/* Words of `text` after `lead` in lines of 80; further lines begin under the first word. */
void sg_text_paragraph(FILE *to, const char *lead, const char *text);
/* Signs of the first `bytes` bytes. */
int sg_text_width(const char *text, size_t bytes);
/* A tick or a cross. */
const char *sg_text_mark(bool holds, bool colour);

/* ---- pictures and numbers ---- */

/* Least and greatest of what an axis shows, over all panels; on a log axis of what is above 0. Never empty. */
typedef struct sg_range {
    double low, high;
} sg_range;
sg_range sg_figure_x_range(const sg_figure *f);
sg_range sg_figure_y_range(const sg_figure *f);
sg_range sg_figure_cell_range(const sg_figure *f);

/* Where x lies in the range, 0..1 (outside: beyond), on the axis's scale; NaN where it has no place. */
double sg_axis_place(const sg_axis *axis, sg_range range, double x);

/* Up to `most` round numbers within the range, in rising order; returns how many. */
#define SG_MAX_TICKS 12
int sg_axis_ticks(const sg_axis *axis, sg_range range, int most, double ticks[SG_MAX_TICKS]);

/* A number as a reader wants it: four digits, no needless zeros; returns buf. */
#define SG_NUMBER_TEXT 32
const char *sg_number_text(double x, char buf[SG_NUMBER_TEXT]);

/* "0.4 (0.39 to 0.41)", or only the number where all agree; returns buf. */
#define SG_VALUE_TEXT 112
const char *sg_measure_text(const sg_measure *m, char buf[SG_VALUE_TEXT]);
double sg_measure_least(const sg_measure *m);
double sg_measure_most(const sg_measure *m);

/* "the paper: 0.4 (stated in the abstract)" if it may be shown, else ""; returns buf. */
const char *sg_paper_text(const sg_paper_value *p, char buf[SG_VALUE_TEXT]);

/* "p(active)", "time (s)"; returns buf. */
#define SG_LABEL_TEXT 160
const char *sg_axis_text(const sg_axis *axis, char buf[SG_LABEL_TEXT]);

/* Place of the column or row along its axis's numbers. */
double sg_panel_column(const sg_panel *p, int i);
double sg_panel_row(const sg_panel *p, int i);

#endif
