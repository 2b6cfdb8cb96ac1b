/* othello-world: the pictures, and what was done in words. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "othello_world.h"

/* Mean errors of every seed, by what was done; a panel for each kind of board. */
static sg_status errors_figure(const othello_parts *parts, const world_seed *seeds)
{
    enum { N_DONE = 6 };
    static const char *const titles[N_BOARDS] = {"one disc turned", "other moves lead there", "no game has it"};
    static const char *const done[N_DONE] = {"no edit",     "edit",       "random direction",
                                             "wrong class", "own errors", "moves that lead there"};
    double x[N_DONE][WORLD_SEEDS], y[N_BOARDS][N_DONE][WORLD_SEEDS];
    sg_series series[N_BOARDS][N_DONE];
    sg_panel panels[N_BOARDS];
    for (int b = 0; b < N_BOARDS; b++) {
        int n = 0;
        for (int d = 0; d < N_DONE; d++) {
            bool any = true;
            for (int i = 0; i < parts->n_seeds; i++) {
                const sg_othello_outcome *o = &seeds[i].outcome[b];
                const sg_rate *r[N_DONE] = {&o->null, &o->edit, &o->random, &o->wrong, &o->own, &o->witness};
                x[d][i] = d;
                y[b][d][i] = r[d]->value;
                any = any && r[d]->n > 0;
            }
            if (any)
                series[b][n++] = (sg_series){done[d], parts->n_seeds, x[d], y[b][d]};
        }
        panels[b] = (sg_panel){.title = titles[b], .n_series = n, .series = series[b]};
    }
    return sg_report_add_figure(
        parts->report,
        &(sg_figure){
            .id = "errors",
            .title = "Wrong moves among the top N, by what was done inside the model",
            .kind = SG_FIGURE_POINTS,
            .caption = "False positives and negatives on the changed board, mean over boards, a point for each seed. "
                       "From left to right: 0 no edit, 1 the edit, 2 a random direction as long, 3 towards the wrong "
                       "class, 4 no edit on the board as it is (what no edit can remove), 5 no edit, given moves that "
                       "lead to the changed board.",
            .x = {.label = "what was done"},
            .y = {.label = "errors"},
            .n_panels = N_BOARDS,
            .panels = panels},
        parts->err);
}

/* For each way its best layers, as the strength goes. First seed. */
static sg_status sweep_figure(const othello_parts *parts, const world_seed *w)
{
    enum { MOST = 8 };
    double x[N_WAYS][MOST], y[N_WAYS][MOST];
    sg_series series[N_WAYS];
    char names[N_WAYS][80];
    int n_series = 0;
    for (int way = 0; way < N_WAYS; way++) {
        int best = -1, n = 0;
        for (int k = 0; k < w->n_tries; k++)
            if (w->way_of[k] == (world_way)way && (best < 0 || w->tries[k].error < w->tries[best].error))
                best = k;
        for (int k = 0; k < w->n_tries && best >= 0 && n < MOST; k++) {
            const sg_othello_try *t = &w->tries[k], *b = &w->tries[best];
            if (w->way_of[k] != (world_way)way || t->first != b->first || t->last != b->last)
                continue;
            const double at = t->opts.kind == SG_INTERVENE_GRADIENT ? 100 * t->opts.lr : t->opts.strength;
            int place = n++; /* in order of strength */
            for (; place > 0 && x[way][place - 1] > at; place--) {
                x[way][place] = x[way][place - 1];
                y[way][place] = y[way][place - 1];
            }
            x[way][place] = at;
            y[way][place] = t->error;
        }
        if (best < 0)
            continue;
        snprintf(names[way], sizeof names[way], "%s, blocks %d-%d", world_way_name((world_way)way),
                 w->tries[best].first, w->tries[best].last);
        series[n_series++] = (sg_series){names[way], n, x[way], y[way]};
    }
    const sg_panel panel = {.n_series = n_series, .series = series};
    return sg_report_add_figure(
        parts->report,
        &(sg_figure){.id = "strength",
                     .title = "Errors as the strength goes",
                     .kind = SG_FIGURE_LINES,
                     .caption = "Mean errors on the boards that the choice was made on, all kinds together, at each "
                                "way's best blocks. Strength: of a ridge direction in |x|, of parts as they are, of "
                                "gradient steps the rate times 100. First seed.",
                     .x = {.label = "strength"},
                     .y = {.label = "errors"},
                     .n_panels = 1,
                     .panels = &panel},
        parts->err);
}

static sg_status saliency_figure(const othello_parts *parts, const world_seed *w)
{
    const int size = parts->size;
    char title[240];
    double cells[SG_OTHELLO_MAX_SQUARES], most = 1e-6;
    for (int s = 0; s < size * size; s++) {
        cells[s] = isnan(w->saliency[s]) ? (double)NAN : 100 * w->saliency[s];
        most = isnan(cells[s]) ? most : fmax(most, fabs(cells[s]));
    }
    snprintf(title, sizeof title, "Latent saliency of %s", w->saliency_of);
    const sg_panel panel = {.n_rows = size, .n_columns = size, .cells = cells};
    return sg_report_add_figure(
        parts->report,
        &(sg_figure){.id = "saliency",
                     .title = title,
                     .kind = SG_FIGURE_MATRIX,
                     .caption = "By how many percent points the move becomes less likely when the disc is turned "
                                "inside the model; empty squares are blank. First seed.",
                     .x = {.label = "column"},
                     .y = {.label = "row"},
                     .value = {.label = "percent points", .low = -most, .high = most},
                     .n_panels = 1,
                     .panels = &panel},
        parts->err);
}

sg_status world_figures(const othello_parts *o, const world_seed *seeds)
{
    SG_TRY(errors_figure(o, seeds));
    SG_TRY(sweep_figure(o, &seeds[0]));
    return saliency_figure(o, &seeds[0]);
}

sg_status world_describe(const othello_parts *o, const world_seed *seeds, const world_rates *model,
                         const world_rates *fresh)
{
    char text[1600];
    int n = snprintf(
        text, sizeof text,
        "%d seeds; likeliest moves illegal %.4f (fresh weights %.4f), probability of illegal ones %.4f (%.4f), first "
        "seed. Of each seed the edit with the fewest errors among %d of kind, blocks and strength:",
        o->n_seeds, model[0].top, fresh[0].top, model[0].mass, fresh[0].mass, seeds[0].n_tries);
    for (int i = 0; i < o->n_seeds && n < (int)sizeof text; i++) {
        const world_seed *w = &seeds[i];
        const sg_othello_try *t = &w->tries[w->best];
        n += snprintf(text + n, sizeof text - (size_t)n, "%s %s at resid_mid of blocks %d to %d, strength %g",
                      i ? ";" : "", world_way_name(w->way_of[w->best]), t->first, t->last,
                      t->opts.kind == SG_INTERVENE_GRADIENT ? t->opts.lr : t->opts.strength);
    }
    for (int b = 0; b < N_BOARDS && n < (int)sizeof text; b++) {
        const sg_othello_outcome *r = &seeds[0].outcome[b];
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "%s %s: none %.3f, edit %.3f, random %.3f, wrong class %.3f, own %.3f",
                      b ? ";" : ". Errors of the first seed on boards",
                      b == ONE_TURNED ? "with one disc turned"
                      : b == NATURAL  ? "that other moves lead to"
                                      : "that no game has",
                      r->null.value, r->edit.value, r->random.value, r->wrong.value, r->own.value);
    }
    if (n < (int)sizeof text)
        snprintf(text + n, sizeof text - (size_t)n,
                 ". Written was what is there (edit-nothing) on %.3f of boards: the rest were misread",
                 seeds[0].rightly);
    return sg_report_set_setup(o->report, text, o->err);
}
