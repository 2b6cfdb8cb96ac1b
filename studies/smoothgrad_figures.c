/* Pictures of the SmoothGrad study: maps side by side, AUC by map, and in the full budget all kinds, noise by copies,
 * and layers shuffled one after the other. */
#include <stdio.h>
#include <string.h>

#include "sightglass/statistics.h"
#include "smoothgrad_parts.h"

enum { SHOWN = 2, MAPS = 4, SOME = 100 };

static sg_status maps_figure(smooth_study *s)
{
    static const char *const titles[MAPS] = {"image", "gradient", "smooth", "smooth, weights shuffled"};
    static double cells[SHOWN * MAPS][SHAPE_PIXELS];
    sg_panel panels[SHOWN * MAPS];
    sg_attributer *own = NULL, *shuffled = NULL;
    const smooth_seed *d = &s->seeds[0];
    sg_status status = smooth_attributer(&own, d->net, s->opts, s->err);
    if (status == SG_OK)
        status = sg_attributer_shuffled(&shuffled, own, sg_attributer_n_weights(own), d->seed, s->err);
    for (int k = 0; k < SHOWN * MAPS && status == SG_OK; k++) {
        const int i = k / MAPS, map = k % MAPS;
        sg_attribute_opts o = sg_attribute_defaults();
        o.kind = map == 1 ? SG_ATTRIBUTE_GRADIENT : SG_ATTRIBUTE_SMOOTH;
        panels[k] = (sg_panel){.title = titles[map], .n_rows = SHAPE_SIDE, .n_columns = SHAPE_SIDE, .cells = cells[k]};
        for (int p = 0; p < SHAPE_PIXELS && map == 0; p++)
            cells[k][p] = (double)shape_pixels(d->images)[i * SHAPE_PIXELS + p];
        if (map > 0) {
            status = smooth_places(cells[k], map == 3 ? shuffled : own, d, i, &o, s->err);
            sg_attribute_cap(SHAPE_PIXELS, cells[k], 0.99);
        }
    }
    if (status == SG_OK)
        status = sg_report_add_figure(
            s->report,
            &(sg_figure){.id = "maps",
                         .title = "Maps of two images",
                         .caption = "Size of the gradient of the true class's logit, capped at the 99th percentile, "
                                    "each to its own scale.",
                         .kind = SG_FIGURE_MATRIX,
                         .x = {.label = "column"},
                         .y = {.label = "row"},
                         .value = {.label = "size", .low = 0, .high = 1},
                         .n_panels = SHOWN * MAPS,
                         .panels = panels},
            s->err);
    sg_attributer_free(own);
    sg_attributer_free(shuffled);
    return status;
}

static sg_status auc_figure(smooth_study *s)
{
    static const char *const names[N_SMOOTH_MAPS] = {"gradient", "smooth",         "noise 0",      "noise 2",
                                                     "shuffled", "edges of image", "random labels"};
    const int n = s->opts->full ? N_SMOOTH_MAPS : LABELS;
    double x[N_SMOOTH_MAPS][SMOOTH_SEEDS], y[N_SMOOTH_MAPS][SMOOTH_SEEDS];
    sg_series series[N_SMOOTH_MAPS];
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < SMOOTH_SEEDS; i++) {
            x[k][i] = k + 1;
            y[k][i] = smooth_mean(s->seeds[i].auc[k], s->seeds[i].n);
        }
        series[k] = (sg_series){names[k], SMOOTH_SEEDS, x[k], y[k]};
    }
    const sg_panel panel = {.n_series = n, .series = series};
    return sg_report_add_figure(s->report,
                                &(sg_figure){.id = "auc",
                                             .title = "How well each map finds the shape",
                                             .caption = "A point for each seed; .5 is chance.",
                                             .kind = SG_FIGURE_POINTS,
                                             .x = {.label = "map", .low = .5, .high = n + .5},
                                             .y = {.label = "AUC against the mask"},
                                             .n_panels = 1,
                                             .panels = &panel},
                                s->err);
}

/* Mean AUC over some images of a seed. */
static sg_status mean_auc(double *out, smooth_study *s, sg_attributer *a, const smooth_seed *d,
                          const sg_attribute_opts *o)
{
    double places[SHAPE_PIXELS], auc, sum = 0;
    for (int i = 0; i < SOME; i++) {
        SG_TRY(smooth_places(places, a, d, i, o, s->err));
        SG_TRY(sg_stats_auroc(&auc, SHAPE_PIXELS, places, shape_mask(d->images, "mask") + i * SHAPE_PIXELS, s->err));
        sum += auc / SOME;
    }
    *out = sum;
    return SG_OK;
}

static sg_status kinds_figure(smooth_study *s, sg_attributer *const own[SMOOTH_SEEDS])
{
    double x[SG_N_ATTRIBUTE_KINDS][SMOOTH_SEEDS], y[SG_N_ATTRIBUTE_KINDS][SMOOTH_SEEDS];
    sg_series series[SG_N_ATTRIBUTE_KINDS];
    for (int k = 0; k < SG_N_ATTRIBUTE_KINDS; k++) {
        sg_attribute_opts o = sg_attribute_defaults();
        o.kind = (sg_attribute_kind)k;
        for (int i = 0; i < SMOOTH_SEEDS; i++) {
            x[k][i] = k + 1;
            SG_TRY(mean_auc(&y[k][i], s, own[i], &s->seeds[i], &o));
            SG_TRY(shape_progress(s->opts, "kinds",
                                  (k * SMOOTH_SEEDS + i + 1.0) / (SG_N_ATTRIBUTE_KINDS * SMOOTH_SEEDS), s->err));
        }
        series[k] = (sg_series){sg_attribute_kind_name(o.kind), SMOOTH_SEEDS, x[k], y[k]};
    }
    const sg_panel panel = {.n_series = SG_N_ATTRIBUTE_KINDS, .series = series};
    return sg_report_add_figure(
        s->report,
        &(sg_figure){.id = "kinds",
                     .title = "All kinds of maps",
                     .caption =
                         "A point for each seed, 100 images. guided is no gradient; smooth2 and vargrad have no sign.",
                     .kind = SG_FIGURE_POINTS,
                     .x = {.label = "kind", .low = .5, .high = SG_N_ATTRIBUTE_KINDS + .5},
                     .y = {.label = "AUC against the mask"},
                     .n_panels = 1,
                     .panels = &panel},
        s->err);
}

static sg_status sweep_figure(smooth_study *s, sg_attributer *const own[SMOOTH_SEEDS])
{
    enum { NOISES = 6, COPIES = 4 };
    static const double noise[NOISES] = {.02, .05, .1, .15, .3, .6}, copies[COPIES] = {1, 5, 25, 100};
    double cells[NOISES * COPIES] = {0};
    for (int k = 0; k < NOISES * COPIES; k++) {
        sg_attribute_opts o = sg_attribute_defaults();
        o.kind = SG_ATTRIBUTE_SMOOTH;
        o.noise = noise[k / COPIES];
        o.n = (int)copies[k % COPIES];
        for (int i = 0; i < SMOOTH_SEEDS; i++) {
            double auc;
            SG_TRY(mean_auc(&auc, s, own[i], &s->seeds[i], &o));
            cells[k] += auc / SMOOTH_SEEDS;
        }
        SG_TRY(shape_progress(s->opts, "noise by copies", (k + 1.0) / (NOISES * COPIES), s->err));
    }
    const sg_panel panel = {
        .n_rows = NOISES, .n_columns = COPIES, .cells = cells, .row_at = noise, .column_at = copies};
    return sg_report_add_figure(s->report,
                                &(sg_figure){.id = "sweep",
                                             .title = "Noise by number of copies",
                                             .caption = "Mean of three seeds, 100 images each.",
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "copies"},
                                             .y = {.label = "noise, share of the range"},
                                             .value = {.label = "AUC"},
                                             .n_panels = 1,
                                             .panels = &panel},
                                s->err);
}

/* Rank correlation with the own map as more layers are shuffled, from the logits down. */
static sg_status cascade_figure(smooth_study *s, sg_attributer *const own[SMOOTH_SEEDS])
{
    enum { KINDS = 3, MOST = 8, IMAGES = 40 };
    static const sg_attribute_kind kinds[KINDS] = {SG_ATTRIBUTE_GRADIENT, SG_ATTRIBUTE_SMOOTH, SG_ATTRIBUTE_GUIDED};
    double x[MOST], y[KINDS][MOST] = {{0}}, a[SHAPE_PIXELS], b[SHAPE_PIXELS], rho, counted[KINDS][MOST] = {{0}};
    sg_series series[KINDS];
    const int n = sg_attributer_n_weights(own[0]) < MOST ? sg_attributer_n_weights(own[0]) : MOST - 1;
    for (int top = 0; top <= n; top++) {
        x[top] = top;
        for (int i = 0; i < SMOOTH_SEEDS; i++) {
            const smooth_seed *d = &s->seeds[i];
            sg_attributer *shuffled;
            SG_TRY(sg_attributer_shuffled(&shuffled, own[i], top, d->seed, s->err));
            sg_status status = SG_OK;
            for (int k = 0; k < KINDS * IMAGES && status == SG_OK; k++) {
                sg_attribute_opts o = sg_attribute_defaults();
                o.kind = kinds[k / IMAGES];
                status = smooth_places(a, own[i], d, k % IMAGES, &o, s->err);
                if (status == SG_OK)
                    status = smooth_places(b, shuffled, d, k % IMAGES, &o, s->err);
                if (status == SG_OK)
                    status = sg_stats_spearman(&rho, SHAPE_PIXELS, a, b, s->err);
                if (status == SG_OK && rho == rho) { /* a guided map may be 0 everywhere: it agrees with nothing */
                    y[k / IMAGES][top] += rho;
                    counted[k / IMAGES][top]++;
                }
            }
            sg_attributer_free(shuffled);
            SG_TRY(status);
        }
        SG_TRY(shape_progress(s->opts, "layers shuffled", (top + 1.0) / (n + 1), s->err));
    }
    for (int k = 0; k < KINDS; k++)
        for (int top = 0; top <= n; top++)
            y[k][top] /= counted[k][top];
    for (int k = 0; k < KINDS; k++)
        series[k] = (sg_series){sg_attribute_kind_name(kinds[k]), n + 1, x, y[k]};
    const sg_panel panel = {.n_series = KINDS, .series = series};
    return sg_report_add_figure(
        s->report,
        &(sg_figure){.id = "cascade",
                     .title = "Maps as weights are shuffled, from the logits down",
                     .caption =
                         "Mean over 40 images of three seeds. A map that stays as it is says little of the network.",
                     .kind = SG_FIGURE_LINES,
                     .x = {.label = "layers shuffled"},
                     .y = {.label = "rank correlation with the own map"},
                     .n_panels = 1,
                     .panels = &panel},
        s->err);
}

sg_status smooth_figures(smooth_study *s)
{
    sg_attributer *own[SMOOTH_SEEDS] = {NULL};
    SG_TRY(maps_figure(s));
    SG_TRY(auc_figure(s));
    if (!s->opts->full)
        return SG_OK;
    sg_status status = SG_OK;
    for (int i = 0; i < SMOOTH_SEEDS && status == SG_OK; i++)
        status = smooth_attributer(&own[i], s->seeds[i].net, s->opts, s->err);
    if (status == SG_OK)
        status = kinds_figure(s, own);
    if (status == SG_OK)
        status = sweep_figure(s, own);
    if (status == SG_OK)
        status = cascade_figure(s, own);
    for (int i = 0; i < SMOOTH_SEEDS; i++)
        sg_attributer_free(own[i]);
    return status;
}
