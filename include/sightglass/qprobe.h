/* Q-probes: of k completions of a frozen model one is picked by a small function of its hidden state.
 *
 *     sg_qprobe *q;
 *     SG_TRY(sg_qprobe_fit(&q, &embeddings, rewards, groups, sg_qprobe_defaults(), err)); // [N,D], [N], [N]
 *     SG_TRY(sg_qprobe_score(q, &candidates, scores, err));                               // [k,D] -> [k]
 *     const int i = sg_qprobe_pick(scores, k, .1, &rng);
 *
 * Completion i is picked with probability softmax(Q / beta)_i. As k grows the law of the pick tends to
 * pi*(a) = pi_0(a) exp(Q(a) / beta) / Z, which maximises E[Q] - beta KL(pi | pi_0) (Li et al. 2024). Completions that
 * were drawn twice count twice: the theorem is about the k draws, not about the different ones among them. */
#ifndef SIGHTGLASS_QPROBE_H
#define SIGHTGLASS_QPROBE_H

#include <signal.h>

#include "sightglass/bootstrap.h"
#include "sightglass/generate.h"
#include "sightglass/graph.h"
#include "sightglass/rng.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- picking ---- */

/* softmax(score / beta), for any finite scores and any beta in [0, inf]: 0 is the largest (the first of equals), inf
 * all alike. */
void sg_qprobe_weights(double *out, const double *score, int k, double beta);
/* One of k. k = 1 draws nothing from the generator. */
int sg_qprobe_pick(const double *score, int k, double beta, sg_rng *rng);

/* The law of the pick over n different completions of probabilities pi0 and scores q, when k are drawn. Exact:
 *
 *     p(a) = k pi0(a) w_a  integral_0^inf e^(-t w_a) (sum_b pi0(b) e^(-t w_b))^(k-1) dt,  w = e^(q / beta),
 *
 * from 1/x = integral e^(-tx) dt; by the trapezoidal rule in log t, to some 1e-12. beta > 0. */
sg_status sg_qprobe_law(double *out, int n, const double *pi0, const double *q, int k, double beta,
                        sg_error *err) SG_MUST_CHECK;
/* The same by going through all multisets of k of the n. SG_EUNSUPPORTED: more than 2e6 of them. */
sg_status sg_qprobe_law_by_sets(double *out, int n, const double *pi0, const double *q, int k, double beta,
                                sg_error *err) SG_MUST_CHECK;
/* pi*, its limit. */
sg_status sg_qprobe_limit(double *out, int n, const double *pi0, const double *q, double beta,
                          sg_error *err) SG_MUST_CHECK;
double sg_qprobe_distance(const double *a, const double *b, int n); /* total variation, in [0,1] */
double sg_qprobe_kl(const double *a, const double *b, int n);       /* sum a log(a / b), nats */
/* log k - (k - 1) / k: the KL from pi_0 of picking the best of k, an upper bound where completions may be equal. */
double sg_qprobe_best_kl(int k);

/* ---- fitting ---- */

typedef enum sg_qprobe_loss {
    SG_QPROBE_MSE, /* mean (Q - r)^2 */
    SG_QPROBE_BCE, /* cross-entropy of sigmoid(Q) with r in [0,1] */
    SG_QPROBE_PG,  /* - mean over chunks of sum_i r_i softmax(Q / tau)_i */
    SG_QPROBE_CPG, /* the same with the chunk's mean reward taken off: a softmax sums to 1, so that the gradient is that
                      of PG */
    SG_N_QPROBE_LOSSES
} sg_qprobe_loss;
const char *sg_qprobe_loss_name(sg_qprobe_loss loss); /* "pg" */
/* The loss as graph: q, r [chunks,chunk] -> scalar. */
sg_value *sg_qprobe_loss_value(sg_graph *g, sg_qprobe_loss loss, sg_value *q, sg_value *r, double tau);

typedef struct sg_qprobe_opts {
    sg_qprobe_loss loss; /* pg */
    int n_hidden;        /* 0: linear; up to 2 hidden layers of */
    sg_dim width;        /* 256 ReLU */
    double tau;          /* 1 */
    sg_dim chunk; /* 10; samples of one group that a softmax is taken over. What is left of a group waits for the next
                     epoch */
    sg_dim batch; /* 1000; samples of a step */
    sg_dim n_epochs; /* 150 */
    double lr;       /* 5e-5; AdamW without decay */
    double
        held_out; /* .2; share of groups whose best-of-group reward decides which epoch's probe is kept. 0: the last */
    uint64_t seed;
    sg_exec_opts exec;
    void (*progress)(void *context, double done); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_qprobe_opts;
sg_qprobe_opts sg_qprobe_defaults(void);

typedef struct sg_qprobe sg_qprobe;

/* embeddings [N,D] f32, reward [N], group [N]: which prompt; those of a group lie together. Inputs are standardised by
 * mean and deviation of what is fitted. SG_EARG: no group is as large as a chunk; BCE with rewards outside [0,1]. */
sg_status sg_qprobe_fit(sg_qprobe **out, const sg_tensor *embeddings, const double *reward, const int32_t *group,
                        sg_qprobe_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_qprobe_free(sg_qprobe *q); /* NULL is fine */

sg_dim sg_qprobe_width(const sg_qprobe *q);    /* D */
int sg_qprobe_n_epochs(const sg_qprobe *q);    /* of the probe that was kept */
double sg_qprobe_held_out(const sg_qprobe *q); /* its reward of best-of-group on groups held out; NaN: there are none */

/* Q of x [...,D] in f32 -> [...]: graph, to be put behind any value. */
sg_value *sg_qprobe_value(sg_graph *g, const sg_qprobe *q, sg_value *x);
/* embeddings [N,D] -> out [N]. */
sg_status sg_qprobe_score(const sg_qprobe *q, const sg_tensor *embeddings, double *out, sg_error *err) SG_MUST_CHECK;

/* What a probe was fitted on; texts may be NULL. */
typedef struct sg_qprobe_about {
    const char *site, *model, *reward, *loss;
    uint64_t model_hash;
} sg_qprobe_about;
/* A safetensors file. */
sg_status sg_qprobe_save(const sg_qprobe *q, const sg_qprobe_about *about, const char *path,
                         sg_error *err) SG_MUST_CHECK;
/* about may be NULL; its texts are borrowed from the probe. SG_EFORMAT. */
sg_status sg_qprobe_open(sg_qprobe **out, sg_qprobe_about *about, const char *path, sg_error *err) SG_MUST_CHECK;

/* ---- judging ---- */

/* Of groups of samples with rewards and scores: each group is cut into as many sets of k as it has, in order. */
typedef struct sg_qprobe_rates {
    sg_dim n_sets;
    double picked;         /* mean over sets of sum_i softmax(Q / beta)_i r_i: the expected reward of the pick */
    sg_interval within;    /* 95 %, by bootstrap over groups */
    double random, oracle; /* of any; of the best by the true reward, which no method knows */
    sg_interval random_within;
    double random_error; /* standard error of the mean over groups */
} sg_qprobe_rates;
sg_status sg_qprobe_judge(sg_qprobe_rates *out, sg_dim n, const double *score, const double *reward,
                          const int32_t *group, int k, double beta, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* Rewards changed about within each group: what a probe cannot learn from. */
void sg_qprobe_shuffle(double *reward, sg_dim n, const int32_t *group, uint64_t seed);

/* ---- sampling from a model ---- */

typedef struct sg_qprobe_samples {
    int k;
    sg_dim width;
    sg_generation *texts; /* [k] */
    float *embeddings; /* [k,width] of the last token that was read: the completion's last, or the prompt's where it is
                          empty */
    sg_dim *lengths;   /* [k] tokens written */
} sg_qprobe_samples;

/* A batch for it: the prompt is read once, its keys and values are each row's; what leaves the last block is fetched by
 * every run that samples. */
sg_status sg_qprobe_batch(sg_batch **out, const sg_model *m, int n_rows, sg_exec_opts exec,
                          sg_error *err) SG_MUST_CHECK;
/* Completion i has the stream opts.stream + i, and is what sg_generate_all writes, bit for bit. */
sg_status sg_qprobe_sample(sg_qprobe_samples *out, sg_batch *b, const int32_t *prompt, sg_dim n, int k,
                           const sg_generate_opts *opts, sg_error *err) SG_MUST_CHECK;
void sg_qprobe_samples_free(sg_qprobe_samples *s); /* a zeroed struct is fine */

#ifdef __cplusplus
}
#endif
#endif
