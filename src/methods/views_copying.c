/* Heads on repeated tokens: patterns are reduced to a score as they come, a few sequences at a time. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "methods/views_internal.h"
#include "sightglass/bootstrap.h"
#include "sightglass/rng.h"

#define MOST_BYTES ((sg_dim)256 << 20) /* of patterns that are held at once */

const char *sg_copying_name(sg_copying c)
{
    static const char *const names[SG_N_COPYINGS] = {"induction", "duplicate", "previous", "first"};
    return c >= 0 && c < SG_N_COPYINGS ? names[c] : "unknown";
}

typedef struct copying {
    const sg_model_info *info;
    const sg_views_opts *opts;
    sg_dim n, period, time, lead; /* lead: 1 where a first token stands before */
    int32_t *tokens;              /* [n,time] */
    double *scores;               /* [heads,copyings,n] */
    double nll[2];
} copying;

static sg_status draw(copying *c, const sg_model *m, sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(m);
    const sg_dim vocabulary = c->info->n_vocab;
    int32_t *usual = malloc((size_t)vocabulary * sizeof *usual), n = 0;
    c->tokens = malloc((size_t)(c->n * c->time) * sizeof *c->tokens);
    if (!usual || !c->tokens) {
        free(usual);
        return sg_fail(err, SG_ENOMEM, "view: out of memory for %" PRId64 " sequences", c->n);
    }
    for (int32_t i = 0; i < vocabulary; i++)
        if (i != c->info->bos && (!t || (sg_tokenizer_token(t, i) && !sg_tokenizer_is_special(t, i))))
            usual[n++] = i;
    sg_rng r = sg_rng_new(c->opts->seed, 0x636f7079u);
    for (sg_dim e = 0; e < c->n && n > 1; e++) {
        int32_t *row = c->tokens + e * c->time;
        if (c->lead)
            row[0] = c->info->bos;
        for (sg_dim k = 0; k < c->period; k++)
            row[c->lead + k] = row[c->lead + c->period + k] = usual[sg_rng_below(&r, (uint32_t)n)];
    }
    free(usual);
    return n > 1 ? SG_OK : sg_fail(err, SG_EARG, "view: the vocabulary has no two tokens that are not special");
}

/* One head's pattern [time,time] on one sequence. */
static void score(const copying *c, const sg_tensor *pattern, sg_dim at, double out[SG_N_COPYINGS])
{
    const sg_dim time = c->time, second = c->lead + c->period;
    double sum[SG_N_COPYINGS] = {0};
    for (sg_dim t = 1; t < time; t++) {
        const sg_dim row = (at * time + t) * time;
        sum[SG_COPY_PREVIOUS] += sg_tensor_get(pattern, row + t - 1);
        sum[SG_COPY_FIRST] += sg_tensor_get(pattern, row);
        if (t < second)
            continue;
        sum[SG_COPY_INDUCTION] += sg_tensor_get(pattern, row + t - c->period + 1);
        sum[SG_COPY_DUPLICATE] += sg_tensor_get(pattern, row + t - c->period);
    }
    for (int k = 0; k < SG_N_COPYINGS; k++)
        out[k] = sum[k] / (double)(k <= SG_COPY_DUPLICATE ? c->period : time - 1);
}

static void take(copying *c, const sg_tensor *got, sg_dim first, sg_dim n)
{
    const sg_dim heads = c->info->n_heads, layers = c->info->n_layers;
    for (sg_dim i = 0; i < n; i++) {
        for (sg_dim l = 0; l < layers; l++)
            for (sg_dim h = 0; h < heads; h++) {
                double s[SG_N_COPYINGS];
                score(c, &got[l], i * heads + h, s);
                for (int k = 0; k < SG_N_COPYINGS; k++)
                    c->scores[((l * heads + h) * SG_N_COPYINGS + k) * c->n + first + i] = s[k];
            }
        /* nll[t] is of token t + 1. Of the second half the first token cannot be known either. */
        for (sg_dim t = c->lead ? 0 : 1; t + 1 < c->time; t++) {
            const bool again = t + 1 >= c->lead + c->period;
            if (again && t + 1 == c->lead + c->period)
                continue;
            const double counted = again ? (double)(c->period - 1) : (double)(c->period - (c->lead ? 0 : 2));
            c->nll[again] += sg_tensor_get(&got[layers], i * (c->time - 1) + t) / (counted * (double)c->n);
        }
    }
}

static sg_status watch(copying *c, const sg_model *m, const char *part, sg_error *err)
{
    const int layers = (int)c->info->n_layers;
    const sg_dim each = (sg_dim)layers * c->info->n_heads * c->time * c->time * 4;
    const sg_dim batch = SG_MIN(SG_MAX(MOST_BYTES / each, (sg_dim)1), c->n);
    sg_glass_opts how = sg_glass_defaults();
    how.exec = c->opts->exec;
    how.seed = c->opts->seed;
    sg_glass *glass = NULL;
    sg_value **fetches = calloc((size_t)layers + 1, sizeof *fetches);
    sg_tensor *got = calloc((size_t)layers + 1, sizeof *got);
    sg_status status =
        fetches && got ? sg_glass_new(&glass, m, how, err) : sg_fail(err, SG_ENOMEM, "view: out of memory");
    for (int l = 0; l <= layers && status == SG_OK; l++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.%d.attn.hook_pattern", l);
        status = sg_glass_find(glass, l < layers ? name : "nll", &fetches[l], err);
    }
    c->nll[0] = c->nll[1] = 0;
    const sg_tensor tokens = sg_tensor_of(SG_I32, 2, (sg_dim[]){c->n, c->time}, c->tokens);
    for (sg_dim first = 0; first < c->n && status == SG_OK; first += batch) {
        const sg_dim n = SG_MIN(batch, c->n - first);
        status = sg_views_run(glass, &tokens, first, n, 0, NULL, layers + 1, fetches, got, err);
        if (status == SG_OK) {
            take(c, got, first, n);
            status = sg_views_tell(c->opts, part, (double)(first + n) / (double)c->n, err);
        }
    }
    sg_glass_free(glass);
    free(fetches);
    free(got);
    return status;
}

static sg_status judge(const copying *c, sg_copy_heads *h, sg_error *err)
{
    sg_bootstrap_opts how = sg_bootstrap_defaults();
    how.n_resamples = c->opts->n_resamples;
    how.seed = c->opts->seed;
    for (int i = 0; i < h->n; i++) {
        sg_copy_head *a = &h->heads[i];
        a->kind = -1;
        for (int k = 0; k < SG_N_COPYINGS; k++) {
            const double *by = c->scores + (i * SG_N_COPYINGS + k) * c->n;
            sg_interval x;
            double sum = 0;
            for (sg_dim e = 0; e < c->n; e++)
                sum += by[e];
            SG_TRY(sg_bootstrap_ratio(&x, c->n, by, NULL, how, err));
            a->score[k] = (sg_rate){sum / (double)c->n, x.low, x.high, c->n};
            if (k < SG_COPY_FIRST && x.low > SG_COPY_LEAST && x.low > h->bar[k] &&
                (a->kind < 0 || a->score[k].value > a->score[a->kind].value))
                a->kind = k;
        }
    }
    return SG_OK;
}

/* Fresh weights first, whose scores are the bar. */
static sg_status measure(copying *c, const sg_model *m, sg_copy_heads *h, sg_error *err)
{
    sg_model *fresh;
    SG_TRY(sg_model_untrained(&fresh, m, err));
    sg_status status = watch(c, fresh, "untrained network", err);
    sg_model_close(fresh);
    SG_TRY(status);
    for (int i = 0; i < h->n; i++) {
        h->heads[i].layer = i / (int)c->info->n_heads;
        h->heads[i].head = i % (int)c->info->n_heads;
        for (int k = 0; k < SG_N_COPYINGS; k++) {
            const double *by = c->scores + (i * SG_N_COPYINGS + k) * c->n;
            double sum = 0;
            for (sg_dim e = 0; e < c->n; e++)
                sum += by[e];
            h->heads[i].untrained[k] = sum / (double)c->n;
            h->bar[k] = fmax(h->bar[k], h->heads[i].untrained[k]);
        }
    }
    SG_TRY(watch(c, m, "attention", err));
    h->nll[0] = c->nll[0];
    h->nll[1] = c->nll[1];
    for (sg_dim t = 1; t < c->time; t++) {
        const double each = 1 / (double)(t + 1);
        h->even[SG_COPY_PREVIOUS] += each / (double)(c->time - 1);
        h->even[SG_COPY_FIRST] += each / (double)(c->time - 1);
        if (t >= c->lead + c->period)
            h->even[SG_COPY_INDUCTION] += each / (double)c->period;
    }
    h->even[SG_COPY_DUPLICATE] = h->even[SG_COPY_INDUCTION];
    return judge(c, h, err);
}

sg_status sg_copy_heads_view(sg_copy_heads **out, const sg_model *m, sg_dim n_sequences, sg_dim period,
                             sg_views_opts opts, sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(m);
    *out = NULL;
    copying c = {.info = info, .opts = &opts, .n = n_sequences, .lead = info->bos >= 0};
    const sg_dim most = (info->n_context - c.lead) / 2;
    c.period = period ? period : SG_MIN(most, (sg_dim)50);
    c.time = c.lead + 2 * c.period;
    if (n_sequences < 2 || n_sequences > 1 << 20 || opts.n_resamples < 1)
        return sg_fail(err, SG_EARG, "view: %" PRId64 " sequences, %d resamples", n_sequences, opts.n_resamples);
    if (c.period < 3 || c.period > most)
        return sg_fail(err, SG_EARG,
                       "view: %" PRId64 " tokens and again as many, the context of %" PRId64 " holds 3 to %" PRId64,
                       c.period, info->n_context, most);
    const size_t n = (size_t)(info->n_layers * info->n_heads);
    sg_copy_heads *h = calloc(1, sizeof *h);
    c.scores = calloc(n * SG_N_COPYINGS * (size_t)c.n, sizeof *c.scores);
    if (h)
        *h = (sg_copy_heads){.n = (int)n, .heads = calloc(n, sizeof *h->heads), .n_sequences = c.n, .period = c.period};
    sg_status status = h && h->heads && c.scores ? draw(&c, m, err) : sg_fail(err, SG_ENOMEM, "view: out of memory");
    if (status == SG_OK)
        status = measure(&c, m, h, err);
    free(c.tokens);
    free(c.scores);
    if (status != SG_OK) {
        sg_copy_heads_free(h);
        return status;
    }
    *out = h;
    return SG_OK;
}

void sg_copy_heads_free(sg_copy_heads *h)
{
    if (h)
        free(h->heads);
    free(h);
}
