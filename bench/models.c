/* Rows that run models: GPT-2's shape with random weights, read, patched, watched and written on from. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "sightglass/ops.h"

#define D        768
#define LAYERS   12
#define N_VOCAB  50257
#define PATCH_AT 9
#define PATCHED  64 /* tokens of the prompt, and rows: one position each */
#define PROMPT   128
#define WRITTEN  128

#define FORWARD(time) BENCH_GPT_FLOPS(1, time, LAYERS, D, 4 * D, N_VOCAB)

/* A pass of `time` tokens with all logits. */
typedef struct pass {
    int time;
    bool bf16, watch; /* watch: residuals and patterns of all layers are fetched */
} pass;

typedef struct work {
    sg_model *model;
    sg_glass *glass;
    sg_value *fetches[1 + 2 * LAYERS];
    sg_tensor out[1 + 2 * LAYERS];
    int n_fetches;
    int32_t *ids, *other;
    sg_dim n;
    float *patched;       /* [PATCHED,PATCHED,D] */
    const int32_t **rows; /* [PATCHED], all `other` */
    sg_dim *lengths;
    int32_t written;
} work;

static sg_session *session(void *self)
{
    work *w = self;
    return sg_glass_session(w->glass);
}

static void close_work(void *self)
{
    work *w = self;
    if (!w)
        return;
    sg_glass_free(w->glass);
    sg_model_close(w->model);
    free(w->ids);
    free(w->other);
    free(w->patched);
    free(w->rows);
    free(w->lengths);
    free(w);
}

/* A glass of the GPT-2 and n tokens for it. */
static sg_status open_gpt2(void **self, const bench *b, sg_dim n, sg_glass_opts opts, sg_error *err)
{
    char path[512];
    work *w = *self = calloc(1, sizeof *w);

    if (!w || !(w->ids = malloc((size_t)n * sizeof *w->ids)))
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    w->n = n;
    for (sg_dim i = 0; i < n; i++)
        w->ids[i] = bench_token(i, bench_gpt2.n_vocab);
    SG_TRY(bench_gpt_folder(b, &bench_gpt2, path, err));
    SG_TRY(sg_model_open(&w->model, path, sg_model_defaults(), err));
    SG_TRY(sg_glass_new(&w->glass, w->model, opts, err));
    w->n_fetches = 1;
    return sg_glass_find(w->glass, "logits", &w->fetches[0], err);
}

/* ---- a pass, watched or not ---- */

static sg_status open_pass(void **self, bench *b, const bench_row *row, sg_error *err)
{
    const pass *p = row->shape;
    sg_glass_opts opts = sg_glass_defaults();
    char name[64];

    if (p->bf16) {
#ifdef SG_EXEC_HAS_COMPUTE
        opts.exec.compute = SG_BF16;
#else
        return sg_fail(err, SG_EUNSUPPORTED, "the engine computes in f32 only");
#endif
    }
    SG_TRY(open_gpt2(self, b, p->time, opts, err));
    work *w = *self;
    for (int i = 0; p->watch && i < LAYERS; i++) {
        snprintf(name, sizeof name, "blocks.%d.hook_resid_post", i);
        SG_TRY(sg_glass_find(w->glass, name, &w->fetches[w->n_fetches++], err));
        snprintf(name, sizeof name, "blocks.%d.attn.hook_pattern", i);
        SG_TRY(sg_glass_find(w->glass, name, &w->fetches[w->n_fetches++], err));
    }
    return SG_OK;
}

static sg_status run_pass(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    const int32_t *ids = w->ids;
    const sg_rows rows = {.n_rows = 1, .tokens = &ids, .lengths = &w->n};
    const double start = sg_now();

    SG_TRY(sg_glass_run(w->glass, &rows, 0, NULL, w->n_fetches, w->fetches, w->out, err));
    *seconds = sg_now() - start;
    return SG_OK;
}

static const float *last_logits(void *self, sg_dim *n)
{
    const work *w = self;
    *n = N_VOCAB;
    return (const float *)w->out[0].data + sg_tensor_count(&w->out[0]) - N_VOCAB;
}

/* ---- writing on ---- */

static sg_status open_decode(void **self, bench *b, const bench_row *row, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    (void)row;
    opts.capacity = PROMPT + WRITTEN;
    return open_gpt2(self, b, PROMPT, opts, err);
}

static sg_status extend(work *w, const int32_t *ids, sg_dim n, sg_error *err)
{
    const sg_rows rows = {.n_rows = 1, .tokens = &ids, .lengths = &n};
    sg_dim count;

    SG_TRY(sg_glass_extend(w->glass, &rows, 1, w->fetches, w->out, err));
    const float *x = last_logits(w, &count);
    w->written = 0;
    for (int32_t v = 1; v < N_VOCAB; v++)
        w->written = x[v] > x[w->written] ? v : w->written;
    return SG_OK;
}

static sg_status run_decode(void *self, double *seconds, sg_error *err)
{
    work *w = self;

    sg_glass_forget(w->glass);
    SG_TRY(extend(w, w->ids, w->n, err));
    const double start = sg_now();
    for (int i = 0; i < WRITTEN; i++) {
        const int32_t id = w->written;
        SG_TRY(extend(w, &id, 1, err));
    }
    *seconds = (sg_now() - start) / WRITTEN;
    return SG_OK;
}

/* ---- patching every position ---- */

static sg_status open_patch(void **self, bench *b, const bench_row *row, sg_error *err)
{
    (void)row;
    SG_TRY(open_gpt2(self, b, PATCHED, sg_glass_defaults(), err));
    work *w = *self;
    w->other = malloc(PATCHED * sizeof *w->other);
    w->patched = malloc((size_t)PATCHED * PATCHED * D * sizeof *w->patched);
    w->rows = malloc(PATCHED * sizeof *w->rows);
    w->lengths = malloc(PATCHED * sizeof *w->lengths);
    if (!w->other || !w->patched || !w->rows || !w->lengths)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    for (int i = 0; i < PATCHED; i++) {
        w->other[i] = bench_token(1000 + i, bench_gpt2.n_vocab);
        w->rows[i] = w->other;
        w->lengths[i] = PATCHED;
    }
    sg_graph *g = sg_glass_graph(w->glass);
    const sg_dim time = sg_value_dim(w->fetches[0], 1);
    w->fetches[0] = sg_slice(g, w->fetches[0], 1, sg_dim_sub(g, time, 1), time, 1);
    return sg_glass_find(w->glass, "blocks.9.hook_resid_pre", &w->fetches[1], err);
}

static sg_status run_patch(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    const int32_t *ids = w->ids, *other = w->other;
    sg_rows rows = {.n_rows = 1, .tokens = &other, .lengths = w->lengths};
    sg_tensor site;
    const double start = sg_now();

    SG_TRY(sg_glass_run(w->glass, &rows, 0, NULL, 1, &w->fetches[1], &site, err));
    for (int i = 0; i < PATCHED; i++)
        memcpy(w->patched + (size_t)i * PATCHED * D, site.data, sg_tensor_bytes(&site));
    rows.tokens = &ids;
    SG_TRY(sg_glass_run(w->glass, &rows, 0, NULL, 1, &w->fetches[1], &site, err));
    for (size_t i = 0; i < PATCHED; i++)
        memcpy(w->patched + (i * PATCHED + i) * D, (const float *)site.data + i * D, D * sizeof(float));
    rows = (sg_rows){.n_rows = PATCHED, .tokens = w->rows, .lengths = w->lengths};
    const sg_named_feed feed = {sg_value_name(w->fetches[1]),
                                sg_tensor_of(SG_F32, 3, (sg_dim[]){PATCHED, PATCHED, D}, w->patched)};
    SG_TRY(sg_glass_run(w->glass, &rows, 1, &feed, 1, w->fetches, w->out, err));
    *seconds = sg_now() - start;
    return SG_OK;
}

static const float *all_logits(void *self, sg_dim *n)
{
    const work *w = self;
    *n = sg_tensor_count(&w->out[0]);
    return w->out[0].data;
}

/* ---- from nothing to a token, beside the peer's import ---- */

typedef struct command {
    char model[512], tokens[512];
} command;

static sg_status open_import(void **self, bench *b, const bench_row *row, sg_error *err)
{
    command *c = *self = calloc(1, sizeof *c);
    (void)row;
    if (!c)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    SG_TRY(bench_gpt_folder(b, &bench_gpt2, c->model, err));
    snprintf(c->tokens, sizeof c->tokens, "%s/tokens.txt", b->folder);
    FILE *f = fopen(c->tokens, "w");
    if (!f || fputs("1 2 3 4 5 6 7 8\n", f) < 0 || fclose(f) != 0)
        return sg_fail(err, SG_EIO, "%s cannot be written", c->tokens);
    return SG_OK;
}

static sg_status run_import(void *self, double *seconds, sg_error *err)
{
    const command *c = self;
    const char *const argv[] = {SG_COMMAND, "generate", c->model, "--tokens", c->tokens, "-n", "1", NULL};
    return bench_time_command(argv, seconds, err);
}

/* ---- the rows ---- */

static const pass prefill = {.time = 1024}, prefill_bf16 = {.time = 1024, .bf16 = true}, unwatched = {.time = 512},
                  watched = {.time = 512, .watch = true};

#define PASS                                                                                                           \
    .open = open_pass, .run = run_pass, .close = close_work, .session = session, .numbers = last_logits, .peer = true
#define MS .unit = "ms", .scale = 1e3

const bench_row bench_model_rows[] = {
    {"gpt2_prefill_f32", MS, PASS, .shape = &prefill, .work = FORWARD(1024.0), .peak = BENCH_F32},
    {"gpt2_prefill_bf16", MS, PASS, .shape = &prefill_bf16, .work = FORWARD(1024.0), .peak = BENCH_BF16},
    /* per token: every weight is read once */
    {"gpt2_decode_f32", .unit = "ms/token", .scale = 1e3, .open = open_decode, .run = run_decode, .close = close_work,
     .session = session, .numbers = last_logits, .peer = true,
     .work = 4.0 * (BENCH_GPT_WEIGHTS(LAYERS, D, 4.0 * D) + (double)N_VOCAB * D), .peak = BENCH_MEMORY},
    /* what is needed: two prompts up to the site, the layers behind it for each row, logits of one position */
    {"patch_sweep", MS, .open = open_patch, .run = run_patch, .close = close_work, .session = session,
     .numbers = all_logits, .peer = true,
     .work = BENCH_GPT_FLOPS(2.0, PATCHED, PATCH_AT, D, 4.0 * D, 0) +
             BENCH_GPT_FLOPS((double)PATCHED, PATCHED, LAYERS - PATCH_AT, D, 4.0 * D, 0) + 2.0 * PATCHED * D * N_VOCAB,
     .peak = BENCH_F32},
    {"observe_none", MS, PASS, .shape = &unwatched, .work = FORWARD(512.0), .peak = BENCH_F32},
    {"observe_all", MS, PASS, .shape = &watched, .work = FORWARD(512.0), .peak = BENCH_F32},
    {"import_start", MS, .open = open_import, .run = run_import, .close = free, .peer = true},
};
const int bench_n_model_rows = (int)SG_COUNT_OF(bench_model_rows);
