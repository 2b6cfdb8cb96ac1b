/* Rows of layouts: 10,000 points of 50 components in twenty groups, to a plane. What a layout is worth is said with its
 * time: its trustworthiness and how many neighbours it keeps. No peer runs beside them: scikit-learn's t-SNE takes
 * minutes for one run (bench/README.md has what it gave), and there is no package of UMAP in Debian. */
#include <stdlib.h>

#include "bench.h"
#include "sightglass/layout.h"
#include "sightglass/rng.h"

enum { N = 10000, D = 50, GROUPS = 20 };

typedef struct work {
    sg_layout_opts opts;
    float *x, *y;
    bool told;
    const char *name;
} work;

static void close_work(void *self)
{
    work *w = self;
    if (!w)
        return;
    free(w->x);
    free(w->y);
    free(w);
}

static sg_status open_work(void **self, bench *b, const bench_row *row, sg_error *err)
{
    work *w = *self = calloc(1, sizeof *w);
    if (!w || !(w->x = malloc(sizeof(float) * N * D)) || !(w->y = malloc(sizeof(float) * N * 2)))
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    float middle[GROUPS][D];
    sg_rng r = sg_rng_new(1, 1);
    for (int g = 0; g < GROUPS; g++)
        for (int c = 0; c < D; c++)
            middle[g][c] = (float)(3 * sg_rng_normal(&r));
    for (int i = 0; i < N; i++)
        for (int c = 0; c < D; c++)
            w->x[i * D + c] = middle[i % GROUPS][c] + (float)sg_rng_normal(&r);
    w->opts = sg_layout_defaults();
    w->opts.kind = *(const sg_layout_kind *)row->shape;
    w->opts.n_threads = b->n_threads;
    w->name = row->name;
    return SG_OK;
}

static sg_status run_layout(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    sg_layout_quality q;
    sg_layout_judge_opts how = sg_layout_judge_defaults();
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, w->x),
                    y = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, 2}, w->y);
    const double start = sg_now();
    SG_TRY(sg_layout_make(&y, &x, w->opts, err));
    *seconds = sg_now() - start;
    if (w->told) /* every run gives the same bytes */
        return SG_OK;
    how.n_threads = w->opts.n_threads;
    SG_TRY(sg_layout_judge(&q, &x, &y, how, err));
    printf("%-20s  trustworthiness %.4f, continuity %.4f, of the 15 nearest %.3f kept\n", w->name, q.trust,
           q.continuity, q.kept);
    w->told = true;
    return SG_OK;
}

static const sg_layout_kind tsne = SG_LAYOUT_TSNE, umap = SG_LAYOUT_UMAP;

const bench_row bench_layout_rows[] = {
    {"tsne", .unit = "s", .scale = 1, .open = open_work, .run = run_layout, .close = close_work, .shape = &tsne},
    {"umap", .unit = "s", .scale = 1, .open = open_work, .run = run_layout, .close = close_work, .shape = &umap},
};
const int bench_n_layout_rows = (int)SG_COUNT_OF(bench_layout_rows);
