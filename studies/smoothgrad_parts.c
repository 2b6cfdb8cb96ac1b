/* Training, maps and measures of the SmoothGrad study. */
#include "smoothgrad_parts.h"

#include <math.h>
#include <stdlib.h>

#include "sightglass/bootstrap.h"
#include "sightglass/statistics.h"

enum { HEART = 256, FULL_STEPS = 2000, SMALL_IMAGES = 150, FULL_IMAGES = 500 };
#define UNSEEN 5000011u /* models/shapes-cnn was trained on images of seed 1 */

sg_status smooth_attributer(sg_attributer **out, const sg_model *m, const sg_study_opts *opts, sg_error *err)
{
    const sg_attribute_target target = sg_attribute_target_defaults();
    return sg_attributer_model(out, m, "pixels", &target, 0, opts->exec, err);
}

sg_status smooth_places(double places[SHAPE_PIXELS], sg_attributer *a, const smooth_seed *s, int i,
                        const sg_attribute_opts *opts, sg_error *err)
{
    sg_tensor pixels = *sg_sample_find(s->images, "pixels");
    sg_attribute_map *m;
    pixels.dims[0] = 1;
    pixels.data = (float *)pixels.data + i * SHAPE_PIXELS;
    const sg_named_feed f = {"pixels", pixels};
    const sg_attribute_input in = {.n_feeds = 1, .feeds = &f, .index = shape_labels(s->images)[i]};
    SG_TRY(sg_attribute(&m, a, &in, opts, err));
    sg_attribute_places(places, m, SG_REDUCE_ABS_SUM);
    sg_attribute_map_free(m);
    return SG_OK;
}

double smooth_mean(const double *x, int n)
{
    return sg_stats_mean(n, x);
}

double smooth_end(const double *a, const double *b, int n, bool high)
{
    double *d = malloc((size_t)n * sizeof *d);
    sg_interval i = {(double)NAN, (double)NAN};
    for (int k = 0; k < n && d; k++)
        d[k] = a[k] - (b ? b[k] : 0);
    if (!d || sg_bootstrap_ratio(&i, n, d, NULL, sg_bootstrap_defaults(), NULL) != SG_OK)
        i.low = i.high = (double)NAN;
    free(d);
    return high ? i.high : i.low;
}

static sg_status train(smooth_study *s, smooth_seed *d)
{
    static const sg_setting random_labels = {"labels", "random"};
    const bool full = s->opts->full;
    if (full)
        SG_TRY(shape_net(&d->net, s->opts, "training", 0, NULL, FULL_STEPS, d->seed, s->err));
    else /* the one that ships; seeds are of images and noise */
        SG_TRY(sg_study_model(&d->net, s->opts, "shapes-cnn", s->err));
    SG_TRY(shape_images(&d->images, 0, NULL, d->n, d->seed + (full ? 0 : UNSEEN), s->err));
    SG_TRY(shape_accuracy(&d->accuracy, d->net, d->images, s->opts->exec, s->err));
    if (full)
        SG_TRY(shape_net_by_heart(&d->by_heart, s->opts, "random labels", 1, &random_labels, HEART, FULL_STEPS, d->seed,
                                  &d->heart_accuracy, s->err));
    return SG_OK;
}

static sg_status note(smooth_seed *d, smooth_map k, int i, const double places[SHAPE_PIXELS], sg_error *err)
{
    d->variation[k][i] = sg_attribute_variation(SHAPE_SIDE, SHAPE_SIDE, places);
    return sg_stats_auroc(&d->auc[k][i], SHAPE_PIXELS, places, shape_mask(d->images, "mask") + i * SHAPE_PIXELS, err);
}

/* All maps of one image. */
static sg_status one_image(smooth_study *s, smooth_seed *d, int i, sg_attributer *own, sg_attributer *shuffled,
                           sg_attributer *heart)
{
    double smooth[SHAPE_PIXELS], places[SHAPE_PIXELS], x[SHAPE_PIXELS];
    sg_attribute_opts o = sg_attribute_defaults();
    SG_TRY(smooth_places(places, own, d, i, &o, s->err));
    SG_TRY(note(d, GRADIENT, i, places, s->err));
    o.kind = SG_ATTRIBUTE_SMOOTH;
    o.seed = 2 * (uint64_t)i;
    SG_TRY(smooth_places(smooth, own, d, i, &o, s->err));
    SG_TRY(note(d, SMOOTH, i, smooth, s->err));
    SG_TRY(smooth_places(places, shuffled, d, i, &o, s->err));
    SG_TRY(note(d, SHUFFLED, i, places, s->err));
    SG_TRY(sg_stats_spearman(&d->kept[i], SHAPE_PIXELS, smooth, places, s->err));
    if (heart) {
        SG_TRY(smooth_places(places, heart, d, i, &o, s->err));
        SG_TRY(note(d, LABELS, i, places, s->err));
    }
    o.seed++;
    SG_TRY(smooth_places(places, own, d, i, &o, s->err));
    SG_TRY(sg_stats_spearman(&d->again[i], SHAPE_PIXELS, smooth, places, s->err));
    o.noise = 2;
    SG_TRY(smooth_places(places, own, d, i, &o, s->err));
    SG_TRY(note(d, LOUD, i, places, s->err));
    o.noise = 0;
    o.n = 1;
    SG_TRY(smooth_places(places, own, d, i, &o, s->err));
    SG_TRY(note(d, STILL, i, places, s->err));
    for (int p = 0; p < SHAPE_PIXELS; p++)
        x[p] = (double)shape_pixels(d->images)[i * SHAPE_PIXELS + p];
    sg_attribute_edges(places, 1, SHAPE_SIDE, SHAPE_SIDE, x);
    return note(d, EDGES, i, places, s->err);
}

static sg_status all_images(smooth_study *s, smooth_seed *d)
{
    sg_attributer *own = NULL, *shuffled = NULL, *heart = NULL;
    sg_status status = smooth_attributer(&own, d->net, s->opts, s->err);
    if (status == SG_OK)
        status = sg_attributer_shuffled(&shuffled, own, sg_attributer_n_weights(own), d->seed, s->err);
    if (status == SG_OK && d->by_heart)
        status = smooth_attributer(&heart, d->by_heart, s->opts, s->err);
    for (int i = 0; i < d->n && status == SG_OK; i++) {
        status = one_image(s, d, i, own, shuffled, heart);
        if (status == SG_OK)
            status = shape_progress(s->opts, "maps", (double)(i + 1) / d->n, s->err);
    }
    sg_attributer_free(heart);
    sg_attributer_free(shuffled);
    sg_attributer_free(own);
    return status;
}

sg_status smooth_measure(smooth_study *s, int i)
{
    smooth_seed *d = &s->seeds[i];
    d->seed = s->opts->seed + (uint64_t)i;
    d->n = s->opts->full ? FULL_IMAGES : SMALL_IMAGES;
    double **const arrays[] = {&d->kept, &d->again};
    for (int k = 0; k < 2 * N_SMOOTH_MAPS + 2; k++) {
        double **to = k < N_SMOOTH_MAPS       ? &d->auc[k]
                      : k < 2 * N_SMOOTH_MAPS ? &d->variation[k - N_SMOOTH_MAPS]
                                              : arrays[k - 2 * N_SMOOTH_MAPS];
        if (!(*to = calloc((size_t)d->n, sizeof **to)))
            return sg_fail(s->err, SG_ENOMEM, "out of memory for %d images", d->n);
    }
    SG_TRY(train(s, d));
    return all_images(s, d);
}

void smooth_free(smooth_study *s)
{
    for (int i = 0; i < SMOOTH_SEEDS; i++) {
        smooth_seed *d = &s->seeds[i];
        for (int k = 0; k < N_SMOOTH_MAPS; k++) {
            free(d->auc[k]);
            free(d->variation[k]);
        }
        free(d->kept);
        free(d->again);
        sg_sample_free(d->images);
        sg_model_close(d->net);
        sg_model_close(d->by_heart);
    }
}
