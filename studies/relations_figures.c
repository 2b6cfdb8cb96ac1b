/* Pictures of linear-relations: means over seeds, and the lens on one prompt. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "relations_parts.h"

enum { R = SG_KB_N_RELATIONS, MOST = RELATIONS_MOST_SITES };

static double mean(const double x[RELATIONS_SEEDS])
{
    double sum = 0;
    for (int k = 0; k < RELATIONS_SEEDS; k++)
        sum += x[k] / RELATIONS_SEEDS;
    return sum;
}

static sg_status by_relation(relations_parts *p)
{
    enum { LINES = 6 };
    static const char *const names[LINES] = {"lre",        "identity",         "translation",
                                             "regression", "another relation", "token before"};
    double x[R], y[LINES][R];
    sg_series series[LINES];
    for (int i = 0; i < p->n_rows; i++) {
        x[i] = p->rows[i].relation;
        for (int k = 0; k < SG_N_LRE_READINGS; k++)
            y[k][i] = mean(p->rows[i].faithful[k]);
        y[LINES - 1][i] = mean(p->rows[i].beside);
    }
    for (int k = 0; k < LINES; k++)
        series[k] = (sg_series){names[k], p->n_rows, x, y[k]};
    const sg_panel panel = {.n_series = LINES, .series = series};
    return sg_report_add_figure(
        p->report,
        &(sg_figure){.id = "by-relation",
                     .title = "What reads the object off the subject",
                     .caption = "Relations 0 colour, 1 region, 2 language (shared objects), 3 chief, 4 motto (one "
                                "to one). Means over seeds, each at the site, and with the beta, that were chosen.",
                     .kind = SG_FIGURE_POINTS,
                     .x = {.label = "relation", .low = -.5, .high = R - .5},
                     .y = {.label = "faithful", .low = 0, .high = 1},
                     .n_panels = 1,
                     .panels = &panel},
        p->err);
}

static sg_status by_edit(relations_parts *p)
{
    double x[R], y[SG_N_LRE_CAUSES][R];
    sg_series series[SG_N_LRE_CAUSES];
    for (int i = 0; i < p->n_rows; i++)
        x[i] = p->rows[i].relation;
    for (int k = 0; k < SG_N_LRE_CAUSES; k++) {
        for (int i = 0; i < p->n_rows; i++)
            y[k][i] = mean(p->rows[i].changed[k]);
        series[k] = (sg_series){sg_lre_cause_name((sg_lre_cause)k), p->n_rows, x, y[k]};
    }
    const sg_panel panel = {.n_series = SG_N_LRE_CAUSES, .series = series};
    return sg_report_add_figure(
        p->report,
        &(sg_figure){.id = "by-edit",
                     .title = "What an edit of the subject makes the model say",
                     .caption = "The share that then says another subject's object. A copy of that subject's state "
                                "is what could be had at most.",
                     .kind = SG_FIGURE_POINTS,
                     .x = {.label = "relation", .low = -.5, .high = R - .5},
                     .y = {.label = "changed", .low = 0, .high = 1},
                     .n_panels = 1,
                     .panels = &panel},
        p->err);
}

typedef enum which { READ, COPIED, AT_LAST } which;

/* A line for each relation over the sites. */
static sg_status by_site(relations_parts *p, const char *id, const char *title, const char *caption, const char *label,
                         which what)
{
    double x[MOST], y[R][MOST];
    sg_series series[R];
    for (int s = 0; s < p->n_sites; s++)
        x[s] = s - 1;
    for (int i = 0; i < p->n_rows; i++) {
        for (int s = 0; s < p->n_sites; s++) {
            y[i][s] = 0;
            for (int k = 0; k < RELATIONS_SEEDS; k++) {
                const relations_row *r = &p->rows[i];
                y[i][s] += (what == COPIED    ? r->copy_at
                            : what == AT_LAST ? r->at_last
                                              : r->by_site)[k][s] /
                           RELATIONS_SEEDS;
            }
        }
        series[i] = (sg_series){sg_kb_relation_name(p->rows[i].relation), p->n_sites, x, y[i]};
    }
    const sg_panel panel = {.n_series = p->n_rows, .series = series};
    return sg_report_add_figure(p->report,
                                &(sg_figure){.id = id,
                                             .title = title,
                                             .caption = caption,
                                             .kind = SG_FIGURE_LINES,
                                             .x = {.label = "block behind which (-1: the embedding)"},
                                             .y = {.label = label, .low = 0, .high = 1},
                                             .n_panels = 1,
                                             .panels = &panel},
                                p->err);
}

static sg_status by_beta(relations_parts *p)
{
    double y[R][RELATIONS_BETAS];
    sg_series series[R];
    for (int i = 0; i < p->n_rows; i++) {
        for (int b = 0; b < RELATIONS_BETAS; b++) {
            y[i][b] = 0;
            for (int k = 0; k < RELATIONS_SEEDS; k++)
                y[i][b] += p->rows[i].by_beta[k][b] / RELATIONS_SEEDS;
        }
        series[i] = (sg_series){sg_kb_relation_name(p->rows[i].relation), RELATIONS_BETAS, relations_betas, y[i]};
    }
    const sg_panel panel = {.n_series = p->n_rows, .series = series};
    return sg_report_add_figure(p->report,
                                &(sg_figure){.id = "by-beta",
                                             .title = "The Jacobian underestimates the slope",
                                             .caption = "On the half that chooses, at the chosen site.",
                                             .kind = SG_FIGURE_LINES,
                                             .x = {.label = "beta"},
                                             .y = {.label = "faithful", .low = 0, .high = 1},
                                             .n_panels = 1,
                                             .panels = &panel},
                                p->err);
}

sg_status relations_figures(relations_parts *p)
{
    SG_TRY(by_relation(p));
    SG_TRY(by_edit(p));
    SG_TRY(by_site(p, "by-site", "Where the object can be read off the subject", "Each site with its own beta.",
                   "faithful", READ));
    SG_TRY(by_site(p, "copied", "Where the subject's state is used",
                   "Copying another subject's state to this site alone: the share that then says the other's object. "
                   "Below 1 the model "
                   "has read the subject before.",
                   "changed by a copy", COPIED));
    if (p->opts->full)
        SG_TRY(
            by_site(p, "at-last", "The same map from the last token's state",
                    "No place of the paper's: behind block 0 the subject has been brought to the last token. Looked at "
                    "after a first run.",
                    "faithful", AT_LAST));
    return by_beta(p);
}
