/* Values that are fetched while a model writes: kept step by step, given back as JSON.
 *
 * Asked as names and patterns, ["blocks.*.hook_resid_post"], or as {"names": [...], "positions": [0, [2, 5], -1],
 * "as": "numbers"}: positions as in edits, below 0 from the prompt's end, and numbers as a list instead of base64. */
#ifndef SG_SERVE_FETCHED_H
#define SG_SERVE_FETCHED_H

#include <jansson.h>

#include "sightglass/model.h"

/* That may come back from one request, as they are stored; and as numbers in a list. */
#define FETCHED_MOST_BYTES   ((size_t)32 << 20)
#define FETCHED_MOST_NUMBERS ((size_t)1 << 20)
enum { FETCHED_MOST_VALUES = 512 };

typedef struct fetched fetched;

/* For a prompt of n tokens, at most `most` positions in all and so many choices, checked against the bounds before
 * anything is run. ask NULL: *out is NULL, and all that follows does nothing. SG_EARG: a name that is none (with the
 * nearest), no positions in it, too much. */
sg_status fetched_new(fetched **out, const sg_graph *g, const json_t *ask, sg_dim n, sg_dim most, int n_choices,
                      sg_error *err) SG_MUST_CHECK;
void fetched_free(fetched *f); /* NULL is fine */

/* For the runs of the graph; what follows needs it no longer. */
int fetched_count(const fetched *f);
sg_value *const *fetched_values(const fetched *f);
/* What a step gave, values of one row at positions from `first`; those asked for are copied. */
sg_status fetched_keep(fetched *f, sg_dim first, sg_dim time, const sg_tensor *values, sg_error *err) SG_MUST_CHECK;

/* [{"name", "axes", "dtype", "shape", "positions", "base64" or "numbers"}] over the steps from `from`, and how many
 * steps there were. NULL: nothing was asked, or memory is out. Numbers that JSON has no words for are null. Key
 * positions that a step did not have yet are 0. */
json_t *fetched_json(const fetched *f, int from);
int fetched_steps(const fetched *f);

/* NULL when memory is out. */
json_t *fetched_base64(const void *bytes, size_t n);
json_t *fetched_numbers(const sg_tensor *t);

#endif
