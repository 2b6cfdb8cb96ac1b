/* The logit lens: what enters each block is fetched in one run, and fed in the place of what leaves the last block in
 * others, a batch of rows at a time, so that final norm and unembedding are the model's own. */
#include "sightglass/lens.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/ops.h"

#define MOST_LOGITS ((sg_dim)1 << 24) /* that are held at once: 64 MB */

sg_lens_opts sg_lens_defaults(void)
{
    return (sg_lens_opts){.top = 3, .token = SG_LENS_FINAL, .exec = sg_exec_defaults()};
}

typedef struct reading {
    const sg_model *m;
    const int32_t *tokens;
    sg_dim n_tokens, d, n_vocab;
    const sg_lens_opts *opts;
    sg_glass *glass;
    char last[64];  /* name of what leaves the last block */
    float *streams; /* [rows,n,d] */
    sg_lens *lens;
    double *final; /* [n,vocab] log-probabilities of the model itself */
} reading;

static sg_status check(const sg_model_info *info, sg_dim n, const int32_t *tokens, const sg_lens_opts *o, sg_error *err)
{
    if (o->top < 1 || o->top > 64 || o->top > info->n_vocab)
        return sg_fail(err, SG_EARG, "lens: %d likeliest tokens, wanted 1 to %" PRId64, o->top,
                       SG_MIN(info->n_vocab, (sg_dim)64));
    if (n < 1 || n > info->n_context)
        return sg_fail(err, SG_EARG, "lens: %" PRId64 " tokens, wanted 1 to %" PRId64, n, info->n_context);
    if (o->first < 0 || o->first >= n)
        return sg_fail(err, SG_EARG, "lens: positions from %" PRId64 " on, of %" PRId64, o->first, n);
    if (o->token < SG_LENS_NEXT || o->token >= info->n_vocab)
        return sg_fail(err, SG_EARG, "lens: token %" PRId32 " is outside 0 to %" PRId64, o->token, info->n_vocab - 1);
    for (sg_dim i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= info->n_vocab)
            return sg_fail(err, SG_EARG, "lens: token %" PRId32 " at place %" PRId64 " is outside 0 to %" PRId64,
                           tokens[i], i, info->n_vocab - 1);
    return SG_OK;
}

/* ---- the streams ---- */

static sg_status fetch_streams(reading *r, sg_error *err)
{
    const sg_lens *lens = r->lens;
    sg_value **fetches = calloc((size_t)lens->n_rows, sizeof *fetches);
    sg_tensor *got = calloc((size_t)lens->n_rows, sizeof *got);
    sg_status status = fetches && got ? SG_OK : sg_fail(err, SG_ENOMEM, "lens: out of memory");
    sg_graph *g = sg_glass_graph(r->glass);
    for (int i = 0; i < lens->n_rows && status == SG_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.%d.hook_resid_pre", i);
        status = sg_glass_find(r->glass, i + 1 < lens->n_rows ? name : r->last, &fetches[i], err);
        if (status == SG_OK)
            fetches[i] = sg_slice(g, fetches[i], 1, lens->first, sg_value_dim(fetches[i], 1), 1);
    }
    if (status == SG_OK)
        status = sg_graph_status(g, err);
    if (status == SG_OK) {
        const sg_rows rows = {.n_rows = 1, .tokens = &r->tokens, .lengths = &r->n_tokens};
        status = sg_glass_run(r->glass, &rows, 0, NULL, lens->n_rows, fetches, got, err);
    }
    const sg_dim per = lens->n * r->d;
    for (int i = 0; i < lens->n_rows && status == SG_OK; i++)
        sg_convert(r->streams + i * per, SG_F32, got[i].data, got[i].dtype, per);
    free(fetches);
    free(got);
    return status;
}

/* ---- reading them ---- */

/* Log-probabilities in place of logits, in double. */
static void log_softmax(const sg_tensor *logits, sg_dim at, sg_dim n, double *out)
{
    double most = -HUGE_VAL, sum = 0;
    for (sg_dim i = 0; i < n; i++) {
        out[i] = sg_tensor_get(logits, at * n + i);
        most = fmax(most, out[i]);
    }
    for (sg_dim i = 0; i < n; i++)
        sum += exp(out[i] - most);
    const double whole = most + log(sum);
    for (sg_dim i = 0; i < n; i++)
        out[i] -= whole;
}

static void read_place(const reading *r, int row, sg_dim t, const double *logp)
{
    sg_lens *lens = r->lens;
    const sg_dim n = r->n_vocab;
    sg_lens_place *p = &lens->places[row * lens->n + t];
    sg_lens_guess *top = lens->guesses + (row * lens->n + t) * lens->top;
    const double *final = r->final + t * n;
    int k = 0;
    for (sg_dim i = 0; i < n; i++) { /* an insertion into a short list; of equals the first stays before */
        if (k == lens->top && !(logp[i] > top[k - 1].p))
            continue;
        k += k < lens->top;
        int at = k - 1;
        for (; at > 0 && logp[i] > top[at - 1].p; at--)
            top[at] = top[at - 1];
        top[at] = (sg_lens_guess){(int32_t)i, logp[i]};
    }
    const double followed = logp[lens->token[t]];
    sg_dim rank = 0;
    double entropy = 0, kl = 0;
    for (sg_dim i = 0; i < n; i++) {
        rank += logp[i] > followed;
        entropy -= logp[i] > -HUGE_VAL ? exp(logp[i]) * logp[i] : 0;
        kl += final[i] > -HUGE_VAL ? exp(final[i]) * (final[i] - logp[i]) : 0;
    }
    for (int i = 0; i < lens->top; i++)
        top[i].p = exp(top[i].p);
    *p = (sg_lens_place){.top = top, .p = exp(followed), .rank = rank, .entropy = entropy, .kl = fmax(kl, 0)};
}

/* The model's own distribution, which the others are compared with, and the tokens that are followed. */
static void keep_final(const reading *r, const sg_tensor *logits)
{
    sg_lens *lens = r->lens;
    for (sg_dim t = 0; t < lens->n; t++) {
        double *logp = r->final + t * r->n_vocab;
        log_softmax(logits, t, r->n_vocab, logp);
        sg_dim best = 0;
        for (sg_dim i = 1; i < r->n_vocab; i++)
            best = logp[i] > logp[best] ? i : best;
        const bool follows = r->opts->token == SG_LENS_NEXT && lens->first + t + 1 < r->n_tokens;
        lens->token[t] = r->opts->token >= 0 ? r->opts->token
                         : follows           ? r->tokens[lens->first + t + 1]
                                             : (int32_t)best;
    }
}

static sg_status read_rows(reading *r, sg_value *logits, int first, int n_rows, bool final, double *room, sg_error *err)
{
    const sg_lens *lens = r->lens;
    const int32_t **rows = malloc((size_t)n_rows * sizeof *rows);
    sg_dim *lengths = malloc((size_t)n_rows * sizeof *lengths);
    sg_status status = rows && lengths ? SG_OK : sg_fail(err, SG_ENOMEM, "lens: out of memory");
    for (int i = 0; i < n_rows && status == SG_OK; i++) {
        rows[i] = r->tokens; /* nothing reads them: what leaves the last block is fed */
        lengths[i] = lens->n;
    }
    if (status == SG_OK) {
        sg_tensor got;
        const sg_rows what = {.n_rows = n_rows, .tokens = rows, .lengths = lengths};
        const sg_named_feed feed = {
            r->last, sg_tensor_of(SG_F32, 3, (sg_dim[]){n_rows, lens->n, r->d}, r->streams + first * lens->n * r->d)};
        status = sg_glass_run(r->glass, &what, 1, &feed, 1, &logits, &got, err);
        if (status == SG_OK && final)
            keep_final(r, &got);
        for (sg_dim at = 0; at < n_rows * lens->n && status == SG_OK && !final; at++) {
            log_softmax(&got, at, r->n_vocab, room);
            read_place(r, first + (int)(at / lens->n), at % lens->n, room);
        }
    }
    free(rows);
    free(lengths);
    return status;
}

static sg_status read_all(reading *r, sg_error *err)
{
    const sg_lens *lens = r->lens;
    sg_value *logits = NULL;
    const sg_dim at_once = SG_MAX(MOST_LOGITS / (lens->n * r->n_vocab), (sg_dim)1);
    double *room = malloc((size_t)r->n_vocab * sizeof *room);
    sg_status status = room ? fetch_streams(r, err) : sg_fail(err, SG_ENOMEM, "lens: out of memory");
    if (status == SG_OK)
        status = sg_glass_find(r->glass, "logits", &logits, err);
    if (status == SG_OK)
        status = read_rows(r, logits, lens->n_rows - 1, 1, true, room, err);
    for (int row = 0; row < lens->n_rows && status == SG_OK; row += (int)at_once) {
        status = r->opts->cancel && *r->opts->cancel ? sg_fail(err, SG_ECANCELLED, "lens: stopped") : SG_OK;
        if (status == SG_OK)
            status = read_rows(r, logits, row, (int)SG_MIN(at_once, lens->n_rows - row), false, room, err);
    }
    free(room);
    return status;
}

sg_status sg_lens_view(sg_lens **out, const sg_model *m, sg_dim n, const int32_t *tokens, sg_lens_opts opts,
                       sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(m);
    *out = NULL;
    SG_TRY(check(info, n, tokens, &opts, err));
    reading r = {.m = m, .tokens = tokens, .n_tokens = n, .d = info->d_model, .n_vocab = info->n_vocab, .opts = &opts};
    const int rows = (int)info->n_layers + 1;
    const size_t kept = (size_t)(n - opts.first), places = kept * (size_t)rows;
    snprintf(r.last, sizeof r.last, "blocks.%" PRId64 ".hook_resid_post", info->n_layers - 1);
    r.lens = calloc(1, sizeof *r.lens);
    r.streams = malloc(places * (size_t)r.d * sizeof *r.streams);
    r.final = malloc(kept * (size_t)r.n_vocab * sizeof *r.final);
    if (r.lens)
        *r.lens = (sg_lens){.n_rows = rows,
                            .top = opts.top,
                            .first = opts.first,
                            .n = (sg_dim)kept,
                            .token = calloc(kept, sizeof(int32_t)),
                            .places = calloc(places, sizeof(sg_lens_place)),
                            .guesses = calloc(places * (size_t)opts.top, sizeof(sg_lens_guess))};
    sg_status status = r.lens && r.streams && r.final && r.lens->token && r.lens->places && r.lens->guesses
                           ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "lens: out of memory for %zu places", places);
    sg_glass_opts how = sg_glass_defaults();
    how.exec = opts.exec;
    if (status == SG_OK)
        status = sg_glass_new(&r.glass, m, how, err);
    if (status == SG_OK)
        status = read_all(&r, err);
    sg_glass_free(r.glass);
    free(r.streams);
    free(r.final);
    if (status != SG_OK) {
        sg_lens_free(r.lens);
        return status;
    }
    *out = r.lens;
    return SG_OK;
}

void sg_lens_free(sg_lens *lens)
{
    if (!lens)
        return;
    free(lens->token);
    free(lens->places);
    free(lens->guesses);
    free(lens);
}
