/* Pictures of the TCAV study: scores and accuracy by how often captions are wrong; what smooth maps show of the
 * caption. */
#include <stdlib.h>

#include "tcav_parts.h"

enum { POINTS = TCAV_SEEDS * TCAV_NETS };

static sg_status points(const tcav_study *s, const char *id, const char *title, const char *caption, const char *label,
                        int n_series, const sg_series *series)
{
    const sg_panel panel = {.n_series = n_series, .series = series};
    const sg_figure f = {.id = id,
                         .title = title,
                         .caption = caption,
                         .kind = SG_FIGURE_POINTS,
                         .x = {.label = "probability that the caption says nothing", .low = -.1, .high = 1.1},
                         .y = {.label = label, .low = -.02, .high = 1.02},
                         .n_panels = 1,
                         .panels = &panel};
    return sg_report_add_figure(s->report, &f, s->err);
}

sg_status tcav_figures(const tcav_study *s)
{
    double x[4][POINTS], score[CONCEPTS][POINTS], random[POINTS], accuracy[POINTS], inside[POINTS], area[POINTS];
    for (int k = 0; k < POINTS; k++) {
        const tcav_net *n = &s->seeds[k / TCAV_NETS].nets[k % TCAV_NETS];
        for (int i = 0; i < 4; i++) /* next to each other, so that none hides another */
            x[i][k] = strtod(tcav_wrong[k % TCAV_NETS], NULL) + .03 * (i - 1.5);
        for (int c = 0; c < CONCEPTS; c++) {
            score[c][k] = 0;
            for (int j = 0; j < SHAPE_CLASSES; j++)
                score[c][k] += n->score[c][j] / SHAPE_CLASSES;
        }
        random[k] = n->random;
        accuracy[k] = n->accuracy;
        inside[k] = n->in_caption;
        area[k] = n->caption_area;
    }
    const sg_series scores[] = {{"score of the caption", POINTS, x[0], score[CAPTION]},
                                {"score of the image", POINTS, x[1], score[IMAGE]},
                                {"score of random sets", POINTS, x[2], random},
                                {"accuracy without captions", POINTS, x[3], accuracy}};
    const sg_series shares[] = {{"smooth maps: share in the caption", POINTS, x[0], inside},
                                {"share of the image that it takes", POINTS, x[1], area}};
    SG_TRY(points(s, "scores", "Scores of both concepts, and how much the image is used",
                  "Mean over four classes; a point for each seed.", "score, accuracy", 4, scores));
    return points(s, "maps", "What smooth maps show of the caption",
                  "Where the network ignores captions the share should fall to what the caption takes of the image.",
                  "share", 2, shares);
}
