/* Rows that gather activations: a harvest to disk beside the bare forward pass to the same layer. */
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "sightglass/npy.h"
#include "sightglass/shards.h"

#define LAYER     6 /* of 12: its residual stream behind the block */
#define D         768
#define TIME      512
#define BATCH     8
#define SEQUENCES 128 /* so that what comes once, 0.4 s, is not what is measured */
#define SITE      "blocks.6.hook_resid_post"
#define WORK      BENCH_GPT_FLOPS((double)SEQUENCES, TIME, LAYER + 1, D, 4.0 * D, 0)

typedef struct work {
    sg_model *model;
    sg_glass *glass; /* of the forward pass alone */
    sg_value *site;
    int32_t *ids; /* [SEQUENCES,TIME] */
    char tokens[512], out[512];
} work;

static void clear(const work *w)
{
    char path[600];
    for (int i = 0; i < 64; i++) {
        snprintf(path, sizeof path, "%s/shard-%05d.safetensors", w->out, i);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/index.json", w->out);
    unlink(path);
    rmdir(w->out);
}

static void close_work(void *self)
{
    work *w = self;
    if (!w)
        return;
    clear(w);
    unlink(w->tokens);
    sg_glass_free(w->glass);
    sg_model_close(w->model);
    free(w->ids);
    free(w);
}

static sg_status open_work(void **self, bench *b, const bench_row *row, sg_error *err)
{
    char path[512];
    work *w = *self = calloc(1, sizeof *w);
    (void)row;
    if (!w || !(w->ids = malloc(sizeof(int32_t) * SEQUENCES * TIME)))
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    for (sg_dim i = 0; i < SEQUENCES * TIME; i++)
        w->ids[i] = bench_token(i, bench_gpt2.n_vocab);
    snprintf(w->tokens, sizeof w->tokens, "%s/harvest.npy", b->folder);
    snprintf(w->out, sizeof w->out, "%s/harvest", b->folder);
    const sg_tensor t = sg_tensor_of(SG_I32, 2, (sg_dim[]){SEQUENCES, TIME}, w->ids);
    SG_TRY(sg_npy_save(w->tokens, &t, err));
    SG_TRY(bench_gpt_folder(b, &bench_gpt2, path, err));
    return sg_model_open(&w->model, path, sg_model_defaults(), err);
}

static sg_status run_harvest(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    static const char *const site = SITE;
    const char *tokens = w->tokens;
    sg_shards_report report;
    sg_shards_opts opts = sg_shards_defaults();
    opts.batch = BATCH;
    opts.context = TIME;
    opts.stored = SG_BF16;
    opts.exec.compute = SG_BF16;
    clear(w);
    const double start = sg_now();
    SG_TRY(sg_shards_harvest(&report, w->out, w->model, 1, &site, 1, &tokens, opts, err));
    *seconds = sg_now() - start;
    return SG_OK;
}

static sg_status open_forward(void **self, bench *b, const bench_row *row, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec.compute = SG_BF16;
    SG_TRY(open_work(self, b, row, err));
    work *w = *self;
    SG_TRY(sg_glass_new(&w->glass, w->model, opts, err));
    return sg_glass_find(w->glass, SITE, &w->site, err);
}

static sg_status run_forward(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    const int32_t *rows[BATCH];
    sg_dim lengths[BATCH];
    sg_tensor out;
    const double start = sg_now();
    for (int first = 0; first < SEQUENCES; first += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            rows[i] = w->ids + (first + i) * TIME;
            lengths[i] = TIME;
        }
        const sg_rows batch = {.n_rows = BATCH, .tokens = rows, .lengths = lengths};
        SG_TRY(sg_glass_run(w->glass, &batch, 0, NULL, 1, &w->site, &out, err));
    }
    *seconds = sg_now() - start;
    return SG_OK;
}

const bench_row bench_harvest_rows[] = {
    {"harvest", .unit = "s", .scale = 1, .open = open_work, .run = run_harvest, .close = close_work, .peer = true,
     .work = WORK, .peak = BENCH_BF16},
    {"harvest_forward", .unit = "s", .scale = 1, .open = open_forward, .run = run_forward, .close = close_work,
     .work = WORK, .peak = BENCH_BF16},
};
const int bench_n_harvest_rows = (int)SG_COUNT_OF(bench_harvest_rows);
