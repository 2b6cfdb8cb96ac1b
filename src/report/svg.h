/* One panel of a figure as an inline SVG element, and text made safe for a page. */
#ifndef SG_REPORT_SVG_H
#define SG_REPORT_SVG_H

#include "report/report_internal.h"

void sg_svg_panel(FILE *to, const sg_figure *f, int i_panel);
/* Where a measure lies within its criterion: the band that was wanted, and the numbers' least, mean and most on it. */
void sg_svg_strip(FILE *to, const sg_measure *m);
/* Letters of text that mean something to HTML are written so that they do not. NULL is "". */
void sg_html_text(FILE *to, const char *text);

#endif
