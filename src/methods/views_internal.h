/* What both views share: running a model over episodes in batches. */
#ifndef SG_METHODS_VIEWS_INTERNAL_H
#define SG_METHODS_VIEWS_INTERNAL_H

#include "base/base.h"
#include "sightglass/views.h"

sg_status sg_views_check(const sg_model *m, const sg_tensor *tokens, const sg_tensor *counts, const sg_views_opts *opts,
                         sg_error *err) SG_MUST_CHECK;
/* Whether position t of episode e is asked about: it counts, and one that counts follows. */
bool sg_views_asked(const sg_tensor *tokens, const sg_tensor *counts, sg_dim first, sg_dim e, sg_dim t);
sg_status sg_views_tell(const sg_views_opts *opts, const char *part, double done, sg_error *err) SG_MUST_CHECK;

/* other [E]: whose labels an episode is given as shuffled ones. Episodes of each half take each other's, in a circle of
 * random order; free() it. */
sg_status sg_views_others(sg_dim **other, sg_dim episodes, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* A run of episodes first..first+n, whole rows, so that one plan serves all batches of a size. Feeds are named. */
sg_status sg_views_run(sg_glass *glass, const sg_tensor *tokens, sg_dim first, sg_dim n, int n_feeds,
                       const sg_named_feed *feeds, int n_fetches, sg_value *const *fetches, sg_tensor *out,
                       sg_error *err) SG_MUST_CHECK;

#endif
