/* What the parts of dictionaries share: making one, its formula, reading rows. */
#ifndef SG_METHODS_DICTIONARY_INTERNAL_H
#define SG_METHODS_DICTIONARY_INTERNAL_H

#include "base/base.h"
#include "sightglass/dictionary.h"
#include "sightglass/ops.h"

/* ---- dictionary.c ---- */

/* An empty one with an arena of its own, and zeroed tensors in it. */
sg_status dict_begin(sg_dict **out, sg_dict_kind kind, sg_dim d, sg_dim m, sg_error *err) SG_MUST_CHECK;
sg_status dict_tensor(sg_dict *d, sg_tensor *t, int n_dims, const sg_dim *dims, sg_error *err) SG_MUST_CHECK;
sg_status dict_note(sg_dict *d, const char *site, const char *model, sg_error *err) SG_MUST_CHECK;
bool dict_is_topk(sg_dict_kind kind); /* topk and the archetypal kinds */
bool dict_is_archetypal(sg_dict_kind kind);
bool dict_is_closed(sg_dict_kind kind); /* kmeans, pca, nmf */

/* ---- the formula, of numbers that are constants or variables ---- */

typedef struct dict_values {
    sg_dict_kind kind;
    sg_dim m, k;
    bool training; /* codes that are kept are worked out apart, so that gradients cost as little as they */
    sg_value *dec, *b_dec, *enc, *b_enc, *threshold, *r_mag, *b_mag; /* NULL: the kind has none */
} dict_values;

typedef struct dict_codes {
    sg_value *x;          /* less b_dec */
    sg_value *pre;        /* p; NULL in nmf */
    sg_value *ids, *kept; /* topk kinds: [...,k]; else NULL */
    sg_value *codes;      /* [...,M]; NULL where there are ids */
} dict_codes;

void dict_encode(sg_graph *g, sg_value *x, const dict_values *v, dict_codes *out);
sg_value *dict_dense(sg_graph *g, const dict_values *v, const dict_codes *c); /* codes [...,M] in any case */
sg_value *dict_decode(sg_graph *g, const dict_values *v, sg_value *codes);
/* As many kept codes as make products with single rows cheaper than whole ones. */
bool dict_few(sg_dim k, sg_dim m);

/* ---- dictionary_data.c ---- */

/* Up to `most` rows for statistics, centroids and closed forms: all of them, or some that a seed draws. *rows [n,D] by
 * malloc. */
sg_status dict_sample(float **rows, sg_dim *n, const sg_dict_data *data, sg_dim most, uint64_t seed,
                      sg_error *err) SG_MUST_CHECK;
/* Mean of the rows, and sqrt(D) over the mean length of what is left when it is taken off. */
void dict_standard(float *mean, double *scale, const float *rows, sg_dim n, sg_dim width, bool centre);

/* ---- dictionary_closed.c ---- */

sg_status dict_fit_closed(sg_dict **out, const sg_dict_data *data, const sg_dict_opts *opts,
                          sg_error *err) SG_MUST_CHECK;

/* ---- small things ---- */

static inline double dict_length(const float *x, sg_dim n)
{
    double sum = 0;

    for (sg_dim i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return __builtin_sqrt(sum);
}

/* Rows of length 1, drawn. */
void dict_random_rows(float *rows, sg_dim n, sg_dim width, uint64_t seed, uint32_t stream);

#endif
