/* Operations by name. */
#ifndef SG_WEB_BUILDERS_H
#define SG_WEB_BUILDERS_H

#include "graph/op.h"

/* Calls the builder of this name with its values and its numbers. A failure is the graph's, as with the builders. */
sg_value *builder_call(sg_graph *g, const char *name, int n_x, sg_value *const *x, int n_a, const double *a);

/* The names there are, NULL behind the last. */
const char *builder_name(int i);

#endif
