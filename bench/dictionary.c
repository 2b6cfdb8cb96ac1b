/* A dictionary is trained: one step of a TopK autoencoder, as `dictionary fit` makes it. */
#include <stdlib.h>

#include "bench.h"
#include "sightglass/dictionary.h"
#include "sightglass/rng.h"

#define WIDTH  768
#define ATOMS  12288
#define KEPT   32
#define BATCH  4096
#define N_ROWS 8192

typedef struct work {
    float *rows;
    sg_dict_data data;
    sg_dict_trainer *trainer;
} work;

static void close_work(void *self)
{
    work *w = self;
    if (!w)
        return;
    sg_dict_trainer_free(w->trainer);
    sg_dict_data_free(&w->data);
    free(w->rows);
    free(w);
}

static sg_status open_topk(void **self, bench *b, const bench_row *row, sg_error *err)
{
    sg_dict_opts o = sg_dict_defaults();
    work *w = calloc(1, sizeof *w);

    (void)b, (void)row;
    *self = w;
    if (!w || !(w->rows = malloc(sizeof(float) * N_ROWS * WIDTH)))
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    sg_rng rng = sg_rng_new(0, 0);
    for (sg_dim i = 0; i < (sg_dim)N_ROWS * WIDTH; i++)
        w->rows[i] = (float)sg_rng_normal(&rng);
    const sg_tensor rows = sg_tensor_of(SG_F32, 2, (sg_dim[]){N_ROWS, WIDTH}, w->rows);
    SG_TRY(sg_dict_rows(&w->data, &rows, err));
    o.kind = SG_DICT_TOPK;
    o.width = ATOMS;
    o.k = KEPT;
    o.batch = BATCH;
    o.aux = 0; /* the peer is a plain one */
    o.lr = 1e-4;
    o.lr_end = 1e-6;
    o.exec.compute = SG_BF16;
    return sg_dict_trainer_new(&w->trainer, &w->data, o, err);
}

static sg_status run(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    const double start = sg_now();

    SG_TRY(sg_dict_trainer_run(w->trainer, 1, err));
    *seconds = sg_now() - start;
    return SG_OK;
}

/* One product has to be made whole, that of the encoder: of the others a part KEPT / ATOMS, in the decoder, its
 * gradient, that of the codes and that of the encoder. */
const bench_row bench_dictionary_rows[] = {
    {"sae_topk", .unit = "ms", .scale = 1e3, .open = open_topk, .run = run, .close = close_work, .peer = true,
     .work = 2.0 * BATCH * WIDTH * (ATOMS + 4.0 * KEPT), .peak = BENCH_BF16},
};
const int bench_n_dictionary_rows = (int)SG_COUNT_OF(bench_dictionary_rows);
