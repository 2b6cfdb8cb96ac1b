/* What the files of the tensor-product probe share: matrices of numbers that are the caller's, and products of them by
 * the engine. */
#ifndef SG_METHODS_TPR_INTERNAL_H
#define SG_METHODS_TPR_INTERNAL_H

#include "base/base.h"
#include "sightglass/run.h"
#include "sightglass/tpr.h"

struct sg_tpr {
    sg_arena *arena; /* owns everything, this struct included */
    sg_tpr_parts parts;
    sg_tensor lift; /* [r f,D]: what an entry of T(h) puts into h */
};

/* Room for numbers, all 0; data the caller's to free(). */
sg_status tpr_room(sg_tensor *out, sg_dtype dtype, int n_dims, const sg_dim *dims, sg_error *err) SG_MUST_CHECK;
/* The same numbers with other extents, borrowed. */
sg_tensor tpr_as(const sg_tensor *t, int n_dims, const sg_dim *dims);
/* A copy in a type. */
sg_status tpr_copy(sg_tensor *out, const sg_tensor *t, sg_dtype dtype, sg_error *err) SG_MUST_CHECK;
/* SG_ENUMERIC, with the first place that is not finite. */
sg_status tpr_check_finite(const sg_tensor *t, const char *what, sg_error *err) SG_MUST_CHECK;

/* Runs a graph without inputs, or with some; *out is a copy that is the caller's. Frees the graph. */
sg_status tpr_evaluate(sg_tensor *out, sg_graph *g, sg_value *v, int n_feeds, const sg_feed *feeds,
                       sg_error *err) SG_MUST_CHECK;
/* a b of matrices of one type, each transposed first where it is said so; data of out the caller's. */
sg_status tpr_product(sg_tensor *out, const sg_tensor *a, bool trans_a, const sg_tensor *b, bool trans_b,
                      sg_error *err) SG_MUST_CHECK;

/* Every R_s x F_c as columns: [r f,S C] of roles [S,r] and fillers [C,f]. */
sg_value *tpr_bindings(sg_graph *g, sg_value *roles, sg_value *fillers);

/* Mean of w [D,S,C] over classes taken off, f64. */
sg_status tpr_centred(sg_tensor *out, const sg_tensor *w, sg_error *err) SG_MUST_CHECK;
/* SG_ESHAPE or SG_ETYPE where w is no [D,S,C] of floats, SG_ENUMERIC where it is not finite. */
sg_status tpr_check_linear(const sg_tensor *w, sg_error *err) SG_MUST_CHECK;

#endif
