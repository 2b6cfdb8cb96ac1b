/* The cases of the world-model study, their numbers, and pictures of these. */
#include "world_model_parts.h"

#include <math.h>

const criteria_of *criteria_case(int which)
{
    static const criteria_of cases[CRITERIA_CASES] = {
        [FILLED] = {"filled squares", "board_rel"},
        [EMPTY] = {"empty squares", "board_rel=0"},
        [LEGAL] = {"legal moves", "legal"},
        [UNTRAINED] = {"untrained network", "board_rel"},
    };
    return &cases[which];
}

double criteria_number(const sg_worldmodel *f, int which)
{
    const double reads = f->site_reads.rate.value, input = f->input.rate.value, fresh = f->untrained.rate.value;
    const double output = f->output.rate.value;
    switch (which) {
    case ACTIVATION:
        return reads;
    case INPUT:
        return input;
    case FRESH:
        return fresh;
    case OUTPUT:
        return output;
    case SHUFFLED:
        return f->shuffled.rate.value;
    case EFFECT:
        return f->used.effect.value;
    case RANDOM:
        return f->used.random.value;
    case MARGIN:
        return reads - fmax(fmax(input, fresh), output);
    case OVER_INPUT:
        return reads - input;
    case OVER_FRESH:
        return reads - fresh;
    case OVER_OUTPUT:
        return reads - output;
    case EFFECT_LOW:
        return f->used.effect.low;
    default:
        return f->used.random.low;
    }
}

sg_status criteria_figure(const othello_parts *o, const sg_worldmodel *found, const char *id, const char *title,
                          const char *caption, const char *what, int first, int n)
{
    enum { N = CRITERIA_CASES * CRITERIA_SEEDS };
    static const char *const names[MARGIN] = {"activation",      "input",           "untrained network", "output",
                                              "shuffled states", "along the probe", "random direction"};
    double x[N], y[MARGIN][N];
    sg_series series[MARGIN];
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < N; k++) {
            x[k] = k / CRITERIA_SEEDS + 1;
            y[i][k] = criteria_number(&found[k], first + i);
        }
        series[i] = (sg_series){names[first + i], N, x, y[i]};
    }
    const sg_panel panel = {.n_series = n, .series = series};
    const sg_figure f = {.id = id,
                         .title = title,
                         .caption = caption,
                         .kind = SG_FIGURE_POINTS,
                         .x = {.label = "1 filled squares, 2 is it empty, 3 legal moves, 4 untrained network",
                               .low = .5,
                               .high = CRITERIA_CASES + .5},
                         .y = {.label = what},
                         .n_panels = 1,
                         .panels = &panel};
    return sg_report_add_figure(o->report, &f, o->err);
}
