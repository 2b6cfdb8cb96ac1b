/* The Jacobian of a linear relational embedding on GPT-2's shape: the last token's state behind the last block by a
 * state behind block 9, 768 rows. `lre_jacobian` has the subject near the end of a prompt of 24 tokens, as prompts with
 * shots have it: ours feeds keys and values of what lies before it. `lre_jacobian_4` has it at the beginning of four
 * tokens, where there is nothing to feed. */
#include <math.h>
#include <stdlib.h>

#include "bench.h"
#include "sightglass/jacobian.h"

enum { D = 768, MOST_TOKENS = 24, BEHIND = 4, LAYERS_ABOVE = 2 };

/* Forward and backward of what has to be computed, the positions from the subject on. */
#define WORK (2 * 2.0 * D * BEHIND * BENCH_GPT_WEIGHTS(LAYERS_ABOVE, D, 4 * D))

typedef struct prompt {
    sg_dim n, at;
} prompt;

typedef struct work {
    sg_model *model;
    sg_jacobian *j;
    int32_t ids[MOST_TOKENS];
    prompt prompt;
    sg_jacobian_result result;
    float shown[D * D]; /* relative to the largest, which random weights make small */
} work;

static void close_row(void *self)
{
    work *w = self;
    if (!w)
        return;
    sg_jacobian_free(w->j);
    sg_model_close(w->model);
    free(w);
}

static sg_status open_row(void **self, bench *b, const bench_row *row, sg_error *err)
{
    static const char *const source = "blocks.9.hook_resid_post";
    char path[512];
    sg_jacobian_opts opts = sg_jacobian_defaults();
    work *w = *self = calloc(1, sizeof *w);
    if (!w)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    w->prompt = *(const prompt *)row->shape;
    for (sg_dim i = 0; i < w->prompt.n; i++)
        w->ids[i] = bench_token(i, bench_gpt2.n_vocab);
    SG_TRY(bench_gpt_folder(b, &bench_gpt2, path, err));
    SG_TRY(sg_model_open(&w->model, path, sg_model_defaults(), err));
    opts.n_sources = 1;
    opts.sources = &source;
    opts.mode = SG_JACOBIAN_ROWS;
    opts.batch = 128;
    return sg_jacobian_new(&w->j, w->model, opts, err);
}

static sg_status run_row(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    const double start = sg_now();
    SG_TRY(sg_jacobian_run(w->j, w->ids, w->prompt.n, w->prompt.at, w->prompt.n - 1, &w->result, err));
    *seconds = sg_now() - start;
    return SG_OK;
}

static const float *matrix(void *self, sg_dim *n)
{
    work *w = self;
    float most = 0;
    *n = D * D;
    for (sg_dim i = 0; i < D * D; i++)
        most = fmaxf(most, fabsf(w->result.j[0][i]));
    for (sg_dim i = 0; i < D * D; i++)
        w->shown[i] = w->result.j[0][i] / most;
    return w->shown;
}

static const prompt shots = {MOST_TOKENS, MOST_TOKENS - BEHIND}, alone = {BEHIND, 0};

const bench_row bench_lre_rows[] = {
    {.name = "lre_jacobian",
     .unit = "ms",
     .scale = 1e3,
     .work = WORK,
     .peak = BENCH_F32,
     .peer = true,
     .shape = &shots,
     .open = open_row,
     .run = run_row,
     .close = close_row,
     .numbers = matrix},
    {.name = "lre_jacobian_4",
     .unit = "ms",
     .scale = 1e3,
     .work = WORK,
     .peak = BENCH_F32,
     .peer = true,
     .shape = &alone,
     .open = open_row,
     .run = run_row,
     .close = close_row,
     .numbers = matrix},
};
const int bench_n_lre_rows = SG_COUNT_OF(bench_lre_rows);
