/* Sampling the next token: temperature, then the k most likely, then the nucleus of mass p, then what is near the likeliest. */
#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/sample.h"

sg_sample_opts sg_sample_defaults(void)
{
    return (sg_sample_opts){.temperature = 0, .top_k = 0, .top_p = 1, .min_p = 0};
}

static int by_weight(const void *a, const void *b)
{
    const sg_sample_pair *x = a, *y = b;

    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

int32_t sg_sample_next(const float *logits, int32_t n, sg_sample_opts opts, sg_rng *r, sg_sample_pair *scratch)
{
    int32_t best = -1, count = 0;

    for (int32_t i = 0; i < n; i++)
        if (logits[i] > -INFINITY && (best < 0 || logits[i] > logits[best]))
            best = i;
    if (best < 0 || opts.temperature <= 0)
        return best;
    double total = 0, most = (double)logits[best];
    for (int32_t i = 0; i < n; i++) {
        const double w = sg_math_exp(((double)logits[i] - most) / opts.temperature);
        if (w > 0) /* not NaN either */
            scratch[count++] = (sg_sample_pair){w, i};
    }
    if (count == 0) /* an infinite logit: what is likeliest has no weight beside others */
        return best;
    qsort(scratch, (size_t)count, sizeof scratch[0], by_weight);
    if (opts.top_k > 0)
        count = SG_MIN(count, opts.top_k);
    for (int32_t i = 0; i < count; i++)
        total += scratch[i].weight;
    if (opts.top_p < 1) {
        double sum = 0;
        int32_t kept = 0;
        while (kept < count && (kept == 0 || sum < opts.top_p * total))
            sum += scratch[kept++].weight;
        count = kept;
        total = sum;
    }
    if (opts.min_p > 0) {
        const double least = opts.min_p * scratch[0].weight;
        while (count > 1 && scratch[count - 1].weight < least)
            total -= scratch[--count].weight;
    }
    double u = sg_rng_uniform(r) * total;
    for (int32_t i = 0; i + 1 < count; i++) {
        if (u < scratch[i].weight)
            return scratch[i].id;
        u -= scratch[i].weight;
    }
    return scratch[count - 1].id;
}

void sg_penalise(float *logits, int32_t n, sg_penalties p, const int32_t *count, const uint8_t *seen)
{
    for (int32_t i = 0; i < n; i++) {
        if (seen[i] && p.repetition != 1)
            logits[i] = (float)(logits[i] > 0 ? (double)logits[i] / p.repetition : (double)logits[i] * p.repetition);
        if (count[i])
            logits[i] -= (float)(p.presence + p.frequency * count[i]);
    }
}
