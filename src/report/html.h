/* Pieces of a page: its head with all styles, and what stands in it. */
#ifndef SG_REPORT_HTML_H
#define SG_REPORT_HTML_H

#include "sightglass/report.h"

void sg_html_open(FILE *to, const char *title); /* up to <main> */
void sg_html_close(FILE *to);
/* <tag class="classes">text</tag>; classes "": none. */
void sg_html_element(FILE *to, const char *tag, const char *classes, const char *text);
void sg_html_term(FILE *to, const char *name, const char *text); /* of a <dl> */
void sg_html_figure(FILE *to, const sg_figure *f);

#endif
