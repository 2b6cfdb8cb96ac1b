/* One attention head on the world `recall`: what the study of query-key contrasts trains and looks into. */
#ifndef SG_STUDIES_QK_HEAD_H
#define SG_STUDIES_QK_HEAD_H

#include "sightglass/qk.h"
#include "sightglass/recall.h"
#include "study.h"

/* q = x_q W_Q', k = x W_K', v = x W_V', softmax(q.k / sqrt K) over the context, a linear read-out; no biases. */
typedef struct qk_head {
    sg_recall world;
    sg_dim width;
    uint64_t seed;
    sg_exec_opts exec;
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    sg_value *x, *query, *answer, *q, *k, *pattern, *loss, *right, *w[4];
    sg_value *step, *lr, *updates[4];
} qk_head;

sg_status qk_head_new(qk_head *h, const sg_recall *world, sg_dim width, uint64_t seed, const sg_study_opts *opts,
                      sg_error *err) SG_MUST_CHECK;
void qk_head_free(qk_head *h); /* a zeroed struct is fine */
/* AdamW, decay .01, batches of 256. */
sg_status qk_head_train(qk_head *h, sg_dim n_steps, double lr, const sg_study_opts *opts, sg_report *report,
                        sg_error *err) SG_MUST_CHECK;
sg_status qk_head_accuracy(qk_head *h, double *out, sg_error *err) SG_MUST_CHECK;

/* The contrast of a factor on n pairs of the world; see sg_recall_pairs. */
sg_status qk_head_contrast(qk_head *h, sg_qk_factor **out, int factor, bool along, sg_dim n, uint64_t shuffle,
                           sg_error *err) SG_MUST_CHECK;
/* Its closed form from the weights: [width,width]. */
sg_status qk_head_closed_form(qk_head *h, double *out, int factor, sg_error *err) SG_MUST_CHECK;
/* G = (W_Q B)'(W_K A), [n + m,n + m]: how latents of the query meet latents of a key in the scores. */
sg_status qk_head_meeting(qk_head *h, double *out, sg_error *err) SG_MUST_CHECK;

/* Attention on the target less that on another token, and the share of it that goes along when their keys exchange what
 * they have in each basis: by edits at hook_k, on `n` contexts. */
sg_status qk_head_swaps(qk_head *h, double *moved, int n_bases, const sg_qk_basis *bases, sg_dim n,
                        sg_error *err) SG_MUST_CHECK;
/* The share of centred scores that the bases explain, on `n` contexts. */
sg_status qk_head_explained(qk_head *h, double *out, int n_bases, const sg_qk_basis *bases, sg_dim n,
                            sg_error *err) SG_MUST_CHECK;

#endif
