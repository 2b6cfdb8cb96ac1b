/* Pictures: the stimuli, the index over depth, the index over gaps. */
#include <stdio.h>
#include <stdlib.h>

#include "gestalt_closure_parts.h"
#include "sightglass/kanizsa.h"

enum { SIDE = 24, PICTURES = 4, DRAWN = 5 };

static const char *const drawn_names[DRAWN] = {"shapes", "labels at random", "textures", "fresh weights", "pixels"};

static sg_status stimuli(const closure_study *s)
{
    static const char *const titles[PICTURES] = {"whole", "in place, gap .3", "in place, gap .7", "turned, gap .3"};
    double *cells = calloc((size_t)PICTURES * SIDE * SIDE, sizeof *cells);
    float pixels[SIDE * SIDE];
    sg_panel panels[PICTURES] = {{.title = NULL}};

    if (!cells)
        return sg_fail(s->err, SG_ENOMEM, "out of memory for a figure");
    for (int i = 0; i < PICTURES; i++) {
        sg_kanizsa k = sg_kanizsa_defaults(SIDE);
        double turns[SG_KANIZSA_MOST];
        k.gap = i == 2 ? .7 : .3;
        k.turn = .3;
        sg_kanizsa_turns(turns, &k, (sg_origin){.seed = 3});
        sg_kanizsa_draw(pixels, &k, i ? SG_KANIZSA_PIECES : SG_KANIZSA_WHOLE, i == 3 ? turns : NULL);
        for (int p = 0; p < SIDE * SIDE; p++)
            cells[i * SIDE * SIDE + p] = (double)pixels[p];
        panels[i] = (sg_panel){.title = titles[i], .n_rows = SIDE, .n_columns = SIDE, .cells = cells + i * SIDE * SIDE};
    }
    const sg_status status = sg_report_add_figure(
        s->report,
        &(sg_figure){.id = "stimuli",
                     .title = "A triangle, its corners, and the corners turned away",
                     .caption = "Pieces have the same ink and stay where they are; only their alignment differs.",
                     .kind = SG_FIGURE_MATRIX,
                     .x = {.label = "column"},
                     .y = {.label = "row"},
                     .value = {.label = "grey"},
                     .n_panels = PICTURES,
                     .panels = panels},
        s->err);
    free(cells);
    return status;
}

static double mean_index(const closure_study *s, int which, int layer, bool centred, int gap)
{
    double sum = 0;
    for (int i = 0; i < s->n_seeds; i++) {
        const sg_simindex_value *v = closure_value(s, which, i, which == DRAWN - 1 ? -1 : layer, centred);
        sum += (gap < 0 ? v->index : closure_at_gap(v, gap)) / s->n_seeds;
    }
    return sum;
}

/* The five curves over layers or gaps, plain and centred. */
static sg_status curves(const closure_study *s, bool gaps)
{
    enum { MOST = 8 };
    double x[MOST], y[2][DRAWN][MOST];
    const int n = gaps ? CLOSURE_GAPS : CLOSURE_LAYERS;
    sg_series series[2][DRAWN];

    for (int c = 0; c < 2; c++)
        for (int k = 0; k < DRAWN; k++) {
            for (int i = 0; i < n; i++) {
                x[i] = gaps ? .2 + .1 * i : i + 1;
                y[c][k][i] = mean_index(s, k, gaps ? CLOSURE_LAYERS - 1 : i, c == 1, gaps ? i : -1);
            }
            series[c][k] = (sg_series){drawn_names[k], n, x, y[c][k]};
        }
    const sg_panel panels[] = {{.title = "as they are", .n_series = DRAWN, .series = series[0]},
                               {.title = "centred", .n_series = DRAWN, .series = series[1]}};
    return sg_report_add_figure(
        s->report,
        &(sg_figure){.id = gaps ? "gaps" : "depth",
                     .title = gaps ? "The wider the gaps, the smaller the index" : "Index over depth",
                     .caption = gaps ? "Last convolution, mean over seeds."
                                     : "Mean over seeds; pixels are the same at every depth.",
                     .kind = SG_FIGURE_LINES,
                     .x = {.label = gaps ? "share of each edge that is left out" : "convolution"},
                     .y = {.label = "index"},
                     .n_panels = 2,
                     .panels = panels},
        s->err);
}

sg_status closure_figures(const closure_study *s)
{
    SG_TRY(stimuli(s));
    SG_TRY(curves(s, false));
    return curves(s, true);
}

sg_status closure_depth_figure(const closure_study *s, const char *id, const char *title, const sg_simindex *trained,
                               const sg_simindex *fresh, const sg_simindex *front)
{
    static const char *const names[3] = {"trained", "fresh weights", "pixels"};
    const int n = sg_simindex_n(trained);
    double *x = calloc((size_t)n * 7, sizeof *x);
    sg_series series[6];

    if (!x)
        return sg_fail(s->err, SG_ENOMEM, "out of memory for a figure");
    for (int k = 0; k < 6; k++) {
        double *y = x + (k + 1) * n;
        for (int i = 0; i < n; i++) {
            const sg_simindex_site *v = k % 3 == 0   ? sg_simindex_get(trained, i)
                                        : k % 3 == 1 ? sg_simindex_get(fresh, i)
                                                     : sg_simindex_get(front, 0);
            x[i] = i + 1;
            y[i] = k < 3 ? v->plain.index : v->centred.index;
        }
        series[k] = (sg_series){names[k % 3], n, x, y};
    }
    const sg_panel panels[] = {{.title = "as they are", .n_series = 3, .series = series},
                               {.title = "centred", .n_series = 3, .series = series + 3}};
    const sg_status status = sg_report_add_figure(
        s->report,
        &(sg_figure){.id = id,
                     .title = title,
                     .caption = "Beside one network with fresh weights, calibrated, and the pixels.",
                     .kind = SG_FIGURE_LINES,
                     .x = {.label = "convolution"},
                     .y = {.label = "index"},
                     .n_panels = 2,
                     .panels = panels},
        s->err);
    free(x);
    return status;
}
