/* JSON from outside: bounded before it is read. */
#ifndef SG_SERVE_JSON_H
#define SG_SERVE_JSON_H

#include <jansson.h>

#include "base/base.h"

/* SG_EFORMAT: no JSON, nested deeper than `depth`, or of more than `values` values. The bounds are looked at before
 * anything is allocated, so that small bytes do not become large memory. Names that come twice are refused. */
sg_status serve_json_read(json_t **out, const char *bytes, size_t n, int depth, size_t values,
                          sg_error *err) SG_MUST_CHECK;

#endif
