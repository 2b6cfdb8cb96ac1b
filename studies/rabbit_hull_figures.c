/* Pictures of the study rabbit-hull. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "rabbit_hull_parts.h"

static sg_status identity_figure(const rh_parts *p)
{
    enum { KINDS = 4 };
    static const char *const kinds[KINDS] = {"rebuilt", "found among mixtures", "another layer's values",
                                             "another sequence's values"};
    double x[KINDS][RH_MODELS * RH_SEEDS], y[KINDS][RH_MODELS * RH_SEEDS];
    sg_series series[KINDS];
    char caption[400] = "Largest residual of all layers, and least of the two controls; a point for each seed.";
    for (int i = 0; i < p->n_models; i++)
        snprintf(caption + strlen(caption), sizeof caption - strlen(caption),
                 " %d: %s, up to %lld vertices in width %lld.", i, p->identity[i].name,
                 (long long)p->identity[i].vertices, (long long)p->identity[i].width);
    for (int k = 0; k < KINDS; k++) {
        for (int i = 0; i < p->n_models * RH_SEEDS; i++) {
            const rh_identity *m = &p->identity[i / RH_SEEDS];
            const double *of[KINDS] = {m->rebuilt, m->member, m->other_layer, m->other_sequence};
            x[k][i] = i / RH_SEEDS;
            y[k][i] = of[k][i % RH_SEEDS];
        }
        series[k] = (sg_series){kinds[k], p->n_models * RH_SEEDS, x[k], y[k]};
    }
    const sg_panel panel = {.n_series = KINDS, .series = series};
    return sg_report_add_figure(p->report,
                                &(sg_figure){.id = "identity",
                                             .title = "What is left of attention's output, by what it is made of",
                                             .kind = SG_FIGURE_POINTS,
                                             .caption = caption,
                                             .x = {.label = "model"},
                                             .y = {.label = "relative residual", .log = true},
                                             .n_panels = 1,
                                             .panels = &panel},
                                p->err);
}

static sg_status plane_figure(const rh_parts *p)
{
    const rh_mixture *m = &p->mixture;
    const sg_series series[3] = {{"rows, the part of this factor", m->n_points, m->points[0], m->points[1]},
                                 {"its vertices", 3, m->vertices[0], m->vertices[1]},
                                 {"archetypes", 3, m->corners[0], m->corners[1]}};
    const sg_panel panel = {.n_series = 3, .series = series};
    return sg_report_add_figure(
        p->report,
        &(sg_figure){
            .id = "triangle",
            .title = "The smallest of three polytopes, taken out of their sum",
            .kind = SG_FIGURE_POINTS,
            .caption =
                "In the plane of its three vertices, first seed. Archetypes lie within the hull of the rows, and those "
                "seldom reach a corner.",
            .x = {.label = "along the first vertex"},
            .y = {.label = "across"},
            .n_panels = 1,
            .panels = &panel},
        p->err);
}

static sg_status r2_figure(const rh_parts *p)
{
    const double *of[3] = {p->mixture.blocks, p->mixture.single, p->mixture.normal};
    static const char *const names[3] = {"three blocks", "one block", "three blocks, normal cloud"};
    double x[3][RH_SEEDS];
    sg_series series[3];
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < RH_SEEDS; i++)
            x[k][i] = k;
        series[k] = (sg_series){names[k], RH_SEEDS, x[k], of[k]};
    }
    const sg_panel panel = {.n_series = 3, .series = series};
    return sg_report_add_figure(p->report,
                                &(sg_figure){.id = "r2",
                                             .title = "Variance explained by twelve archetypes",
                                             .kind = SG_FIGURE_POINTS,
                                             .x = {.label = "form"},
                                             .y = {.label = "R^2"},
                                             .n_panels = 1,
                                             .panels = &panel},
                                p->err);
}

static sg_status cosines_figure(const rh_parts *p)
{
    static const char *const names[SG_N_DICT_GEOMETRIES] = {"the dictionary", "normal numbers", "low coherence"};
    double x[SG_DICT_GEOMETRY_BINS];
    sg_series series[SG_N_DICT_GEOMETRIES];
    for (int i = 0; i < SG_DICT_GEOMETRY_BINS; i++)
        x[i] = -1 + 2 * (i + .5) / SG_DICT_GEOMETRY_BINS;
    for (int k = 0; k < SG_N_DICT_GEOMETRIES; k++)
        series[k] = (sg_series){names[k], SG_DICT_GEOMETRY_BINS, x, p->statistics.g->histogram[k]};
    const sg_panel panel = {.n_series = SG_N_DICT_GEOMETRIES, .series = series};
    return sg_report_add_figure(p->report,
                                &(sg_figure){.id = "cosines",
                                             .title = "Cosines of pairs of atoms of a TopK dictionary",
                                             .kind = SG_FIGURE_LINES,
                                             .caption = "First seed, beside two dictionaries of equal shape.",
                                             .x = {.label = "cosine"},
                                             .y = {.label = "share of pairs"},
                                             .n_panels = 1,
                                             .panels = &panel},
                                p->err);
}

sg_status rh_figures(const rh_parts *p)
{
    SG_TRY(identity_figure(p));
    SG_TRY(plane_figure(p));
    SG_TRY(r2_figure(p));
    return cosines_figure(p);
}
