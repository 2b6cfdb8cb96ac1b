/* Pieces of a record as JSON. */
#ifndef SG_REPORT_JSON_H
#define SG_REPORT_JSON_H

#include <jansson.h>

#include "sightglass/report.h"

json_t *sg_number_json(double x);           /* null where it is not finite */
json_t *sg_text_json(const char *s);        /* null for NULL */
json_t *sg_figure_json(const sg_figure *f); /* NULL: out of memory, or a text that is not UTF-8 */
/* An object with one line for each field and for each item of a list in it: short enough to keep, and a change shows
 * where it is. */
bool sg_json_lines(json_t *root, FILE *to);

#endif
