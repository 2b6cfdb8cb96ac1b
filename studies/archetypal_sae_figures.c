/* Pictures of the study of archetypal dictionaries. */
#include "archetypal_sae_parts.h"

static sg_status add(const arch_parts *p, sg_figure figure, const sg_panel *panel)
{
    figure.n_panels = 1;
    figure.panels = panel;
    return sg_report_add_figure(p->report, &figure, p->err);
}

/* Every kind by how well it reconstructs and how much two starts agree. */
static sg_status trade(const arch_parts *p)
{
    sg_series series[ARCH_ARMS];
    double x[ARCH_ARMS][ARCH_PAIRS], y[ARCH_ARMS][ARCH_PAIRS];
    int n = 0;

    for (int which = 0; which < ARCH_ARMS; which++) {
        const arch_found *f = &p->found[which];
        if (!f->there)
            continue;
        for (int i = 0, pair = 0; i < p->n_starts; i++)
            for (int j = i + 1; j < p->n_starts; j++, pair++) {
                x[which][pair] = (f->r2[i] + f->r2[j]) / 2;
                y[which][pair] = f->stability[pair];
            }
        series[n++] = (sg_series){arch_name((arch_which)which), p->n_pairs, x[which], y[which]};
    }
    return add(p,
               (sg_figure){.id = "trade",
                           .title = "Reconstruction and agreement",
                           .caption = "A point for each pair of starts. Random atoms agree by what the set-up says.",
                           .kind = SG_FIGURE_POINTS,
                           .x = {.label = "R2 on rows held out"},
                           .y = {.label = "mean matched cosine", .low = 0, .high = 1}},
               &(sg_panel){.n_series = n, .series = series});
}

static sg_status matched(const arch_parts *p)
{
    static const arch_which shown[] = {ARCH_TOPK, ARCH_RELAXED, ARCH_HULL};
    sg_series series[3];
    double at[ARCH_BINS];

    for (int i = 0; i < ARCH_BINS; i++)
        at[i] = -1 + 2 * (i + .5) / ARCH_BINS;
    for (int i = 0; i < 3; i++)
        series[i] = (sg_series){arch_name(shown[i]), ARCH_BINS, at, p->found[shown[i]].histogram};
    return add(p,
               (sg_figure){.id = "matched",
                           .title = "Cosines of atoms with their partners in another start",
                           .caption = "Atoms near 1 are the same in both; the others are where a dictionary is free.",
                           .kind = SG_FIGURE_LINES,
                           .x = {.label = "cosine", .low = -1, .high = 1},
                           .y = {.label = "atoms"}},
               &(sg_panel){.n_series = 3, .series = series});
}

static sg_status archetypes(const arch_parts *p)
{
    static const arch_which shown[] = {ARCH_TOPK, ARCH_RELAXED, ARCH_HULL, ARCH_RANDOM};
    sg_series series[4];
    double at[ARCH_SORTED];

    for (int i = 0; i < ARCH_SORTED; i++)
        at[i] = i + 1;
    for (int i = 0; i < 4; i++)
        series[i] = (sg_series){arch_name(shown[i]), ARCH_SORTED, at, p->found[shown[i]].cosine};
    return add(p,
               (sg_figure){.id = "archetypes",
                           .title = "True archetypes and the atoms nearest to them",
                           .caption = "Cosines in falling order, first start; .9 counts as found.",
                           .kind = SG_FIGURE_LINES,
                           .x = {.label = "archetype, by rank"},
                           .y = {.label = "matched cosine", .low = 0, .high = 1}},
               &(sg_panel){.n_series = 4, .series = series});
}

sg_status arch_figures(const arch_parts *p)
{
    SG_TRY(trade(p));
    SG_TRY(matched(p));
    return archetypes(p);
}
