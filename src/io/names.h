/* The named values of a graph as JSON, for `sightglass inspect --json` and the server alike. */
#ifndef SG_IO_NAMES_H
#define SG_IO_NAMES_H

#include <jansson.h>

#include "sightglass/graph.h"

/* [{"name", "dtype", "shape": numbers and symbols, "axes", "kind": the operation, or "variable", "input"}], the
 * caller's. */
json_t *sg_names_json(const sg_graph *g);

#endif
