/* What the files of probe share. */
#ifndef SG_METHODS_PROBE_INTERNAL_H
#define SG_METHODS_PROBE_INTERNAL_H

#include "base/base.h"
#include "sightglass/probe.h"

/* Linear: w [D,S,C], b [S,C].  mlp: first [D,H], first_bias [H] and then w [H,S,C], b [S,C]. The struct leads its
 * arena, which holds the numbers and the texts of a manifest. */
struct sg_probe {
    sg_arena *arena;
    sg_probe_kind kind;
    sg_dim width, tasks, hidden;
    int classes;
    sg_tensor w, b, first, first_bias;
};

/* With memory for its numbers, all 0; hidden: of an mlp. */
sg_status sg_probe_new(sg_probe **out, sg_probe_kind kind, sg_dim width, sg_dim tasks, int classes, sg_dim hidden,
                       sg_error *err) SG_MUST_CHECK;

/* Fits a probe that has memory: each kind's way. */
sg_status sg_probe_fit_closed(sg_probe *p, const sg_tensor *acts, const sg_tensor *labels, const sg_probe_opts *opts,
                              sg_error *err) SG_MUST_CHECK;
sg_status sg_probe_fit_means(sg_probe *p, const sg_tensor *acts, const sg_tensor *labels, const sg_probe_opts *opts,
                             sg_error *err) SG_MUST_CHECK;
sg_status sg_probe_fit_trained(sg_probe *p, const sg_tensor *acts, const sg_tensor *labels, const sg_probe_opts *opts,
                               sg_error *err) SG_MUST_CHECK;

/* The formula over values of the graph, wherever they come from; first is NULL for a linear one, biases may be. */
sg_value *sg_probe_formula(sg_graph *g, sg_value *x, sg_value *first, sg_value *first_bias, sg_value *w, sg_value *b,
                           sg_dim tasks, int classes);

/* Without probes or scores. */
sg_status sg_probe_table_new(sg_probe_table **out, int n_sites, int n_labels, sg_error *err) SG_MUST_CHECK;
/* Whether a control is of the input alone, and so the same at every site: the first site's results own it. */
bool sg_probe_control_is_shared(int c);

#endif
