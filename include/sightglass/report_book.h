/* Books of reports: what several studies found, read from their records, as one page.
 *
 *     sg_report_book *b;
 *     SG_TRY(sg_report_book_new(&b, err));
 *     SG_TRY(sg_report_book_read(b, "studies/reports/toy-superposition.json", err));
 *     SG_TRY(sg_report_book_save_html(b, "studies.html", err));
 *     sg_report_book_free(b);
 *
 * The page asks for nothing else: styles and pictures are inside, no script. Verdicts are those of the records. */
#ifndef SIGHTGLASS_REPORT_BOOK_H
#define SIGHTGLASS_REPORT_BOOK_H

#include "sightglass/report.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_report_book sg_report_book;

sg_status sg_report_book_new(sg_report_book **out, sg_error *err) SG_MUST_CHECK;
void sg_report_book_free(sg_report_book *b); /* NULL is fine */

/* A record as sg_report_save_json wrote it. SG_EFORMAT: it is none; the text says what is missing, and the book is as
 * it was. SG_EARG: a claim in it has no control. */
sg_status sg_report_book_read(sg_report_book *b, const char *path, sg_error *err) SG_MUST_CHECK;
/* The same from memory; `name` is for the texts of errors. */
sg_status sg_report_book_add(sg_report_book *b, const char *name, const void *json, size_t bytes,
                             sg_error *err) SG_MUST_CHECK;

int sg_report_book_count(const sg_report_book *b);
const char *sg_report_book_study(const sg_report_book *b, int i);
int sg_report_book_n_claims(const sg_report_book *b, int i);
const char *sg_report_book_claim(const sg_report_book *b, int i, int k); /* its id */
bool sg_report_book_holds(const sg_report_book *b, int i, int k);        /* claim k and its control */

sg_status sg_report_book_write_html(const sg_report_book *b, FILE *to, sg_error *err) SG_MUST_CHECK;
sg_status sg_report_book_save_html(const sg_report_book *b, const char *path, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
