/* Figures and their pieces as a model reads them, one triple at a time, so that large pictures need no room. How pieces
 * are turned is worked out once. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/kanizsa.h"
#include "sightglass/simindex.h"

sg_figures_opts sg_figures_defaults(void)
{
    return (sg_figures_opts){.n = 64, .n_turns = 4};
}

typedef struct figures {
    const sg_model *m;
    sg_figures_opts o;
    int size;
    sg_kanizsa *each; /* [n] */
    double *turns;    /* [n,n_turns,SG_KANIZSA_MOST] */
    float *grey;      /* one */
    uint8_t *rgb;     /* of a triple */
} figures;

static void free_figures(figures *f)
{
    if (!f)
        return;
    free(f->each);
    free(f->turns);
    free(f->grey);
    free(f->rgb);
    free(f);
}

static sg_status fill(void *context, sg_dim i, float *images, sg_error *err)
{
    figures *f = context;
    enum { MOST = 66 };
    const size_t n = (size_t)f->size * (size_t)f->size;
    const int stimuli = 2 + (int)f->o.n_turns;
    sg_bitmap pictures[MOST];
    const sg_bitmap *list[MOST];
    sg_tensor read;

    for (int k = 0; k < stimuli; k++) {
        const double *turns = k < 2 ? NULL : f->turns + (i * f->o.n_turns + k - 2) * SG_KANIZSA_MOST;
        uint8_t *rgb = f->rgb + (size_t)k * n * 3;
        sg_kanizsa_draw(f->grey, &f->each[i], k ? SG_KANIZSA_PIECES : SG_KANIZSA_WHOLE, turns);
        for (size_t p = 0; p < n; p++) {
            const float v = SG_MAX(0.0f, SG_MIN(1.0f, f->grey[p]));
            rgb[3 * p] = rgb[3 * p + 1] = rgb[3 * p + 2] = (uint8_t)(255 * v + 0.5f);
        }
        pictures[k] = (sg_bitmap){f->size, f->size, rgb};
        list[k] = &pictures[k];
    }
    SG_TRY(sg_model_pixels(f->m, stimuli, list, &read, err));
    memcpy(images, read.data, sg_tensor_bytes(&read));
    free(read.data);
    return SG_OK;
}

sg_status sg_figures_new(sg_triples *out, const sg_model *m, sg_figures_opts opts, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(m);
    const sg_dim side = in->image_side;

    *out = (sg_triples){.fill = NULL};
    if (!side)
        return sg_fail(err, SG_EARG, "%s reads no images", in->path);
    if (opts.n < 1 || opts.n_turns < 1 || opts.n_turns > 64 || side > 4096)
        return sg_fail(err, SG_EARG, "%lld figures of %lld pixels along each side, turned %lld times",
                       (long long)opts.n, (long long)side, (long long)opts.n_turns);
    figures *f = calloc(1, sizeof *f);
    if (!f)
        return sg_fail(err, SG_ENOMEM, "out of memory for figures");
    *f = (figures){.m = m, .o = opts, .size = (int)side};
    f->each = calloc((size_t)opts.n, sizeof *f->each);
    f->turns = calloc((size_t)(opts.n * opts.n_turns) * SG_KANIZSA_MOST, sizeof *f->turns);
    f->grey = malloc((size_t)(side * side) * sizeof *f->grey);
    f->rgb = malloc((size_t)(side * side * 3 * (2 + opts.n_turns)));
    if (!f->each || !f->turns || !f->grey || !f->rgb) {
        free_figures(f);
        return sg_fail(err, SG_ENOMEM, "out of memory for %lld figures", (long long)opts.n);
    }
    for (sg_dim i = 0; i < opts.n; i++) { /* the figures that the world draws */
        const double gap = opts.gap > 0 ? opts.gap : 0.2 + 0.1 * (double)(i % 7);
        f->each[i] = sg_kanizsa_random(opts.open ? SG_KANIZSA_OPEN : SG_KANIZSA_TRIANGLE, f->size, gap,
                                       (sg_origin){.seed = opts.seed, .step = (uint64_t)i});
        for (sg_dim d = 0; d < opts.n_turns; d++)
            sg_kanizsa_turns(f->turns + (i * opts.n_turns + d) * SG_KANIZSA_MOST, &f->each[i],
                             (sg_origin){opts.seed, 1 + (uint32_t)d, (uint64_t)i});
    }
    const sg_dim c = in->n_channels;
    *out = (sg_triples){.whole = sg_tensor_of(SG_F32, 4, (sg_dim[]){opts.n, c, side, side}, NULL),
                        .near = sg_tensor_of(SG_F32, 4, (sg_dim[]){opts.n, c, side, side}, NULL),
                        .far = sg_tensor_of(SG_F32, 5, (sg_dim[]){opts.n, opts.n_turns, c, side, side}, NULL),
                        .fill = fill,
                        .context = f};
    return SG_OK;
}

void sg_figures_free(sg_triples *t)
{
    if (t->fill == fill)
        free_figures(t->context);
    *t = (sg_triples){.fill = NULL};
}
