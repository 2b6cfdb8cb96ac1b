/* Emergent linear representations: mine and yours (Nanda, Lee, Wattenberg, 2023).
 *
 * Question  Does a model of Othello moves hold the board in colours, or as mine and yours?
 * Claim     A linear probe reads mine/yours far better than black/white off the same activations, and writes it.
 * Measure   Accuracy on filled squares of ridge probes (and softmax ones at the best layer, as another seed has it)
 *           on other games; the gap between the two. Errors of the legal moves with a disc turned along a direction.
 * Control   The untrained network, the embedding, boards of other games; random directions, wrong classes, as long.
 * Run       sightglass study run othello-linear [--small|--full] [--model DIR]
 * Expect    6x6: .80 and .57 after block 3, untrained .50 and .45 (a pilot); a gap >= .15, >= .10 of it learnt. */
#include <math.h>
#include <stdlib.h>

#include "othello_parts.h"

enum { REL, ABS, N_LABELS, SEEDS = 3, MOST = 64 /* sites */, TRAINED = -1 /* in the place of a control */ };
#define SPEC  "a pilot on 6x6 (gap .229 trained, .050 untrained)"
#define PAPER "Nanda, Lee, Wattenberg 2023; criterion from a pilot on 6x6"

static const char *const labels[N_LABELS] = {"board_rel", "board_abs"};

typedef struct study {
    othello_parts parts;
    char **sites;
    int n_sites;
    sg_probe_table *ridge[SEEDS], *softmax[SEEDS]; /* all sites; the best */
    int best[SEEDS];                               /* site, chosen on another seed */
    othello_causes causes[SEEDS];
} study;

static const sg_probe_result *at(const sg_probe_table *t, int site, int label)
{
    return &t->results[site * N_LABELS + label];
}

static const sg_probe_score *score_of(const sg_probe_result *r, int which)
{
    return which == TRAINED ? r->score : r->control[which];
}

static double gap(const sg_probe_table *t, int site, int which)
{
    return score_of(at(t, site, REL), which)->hard.value - score_of(at(t, site, ABS), which)->hard.value;
}

static sg_status probes(study *s, int seed, const char *part, sg_probe_kind kind, int first, int n,
                        sg_probe_table **out)
{
    sg_probe_job job = othello_job(&s->parts, seed, part);
    job.n_sites = n;
    job.sites = (const char *const *)s->sites + first;
    job.n_labels = N_LABELS;
    job.labels = labels;
    job.probe.kind = kind;
    job.probe.bias = false; /* of softmax, as the authors have it */
    return sg_probe_run(out, &job, s->parts.err);
}

static sg_status fit(study *s)
{
    for (int i = 0; i < SEEDS; i++)
        SG_TRY(probes(s, i, "ridge probes", SG_PROBE_RIDGE, 0, s->n_sites, &s->ridge[i]));
    for (int i = 0; i < SEEDS; i++) {
        const sg_probe_table *other = s->ridge[(i + 1) % SEEDS];
        for (int k = 1; k < s->n_sites; k++)
            if (at(other, k, REL)->score->hard.value > at(other, s->best[i], REL)->score->hard.value)
                s->best[i] = k;
        SG_TRY(probes(s, i, "softmax probes", SG_PROBE_SOFTMAX, s->best[i], 1, &s->softmax[i]));
        SG_TRY(othello_causal(&s->parts, i, s->ridge[i], &s->causes[i]));
    }
    return SG_OK;
}

static sg_status claims(const study *s)
{
    double trained[SEEDS], untrained[SEEDS], above[SEEDS], embedding_above[SEEDS], read[SEEDS], shuffled[SEEDS];
    double soft[SEEDS], soft_untrained[SEEDS];
    for (int i = 0; i < SEEDS; i++) {
        const sg_probe_result *mine = at(s->ridge[i], s->best[i], REL);
        trained[i] = gap(s->ridge[i], s->best[i], TRAINED);
        untrained[i] = gap(s->ridge[i], s->best[i], SG_CONTROL_UNTRAINED);
        above[i] = trained[i] - untrained[i];
        embedding_above[i] = gap(s->ridge[i], s->best[i], SG_CONTROL_EMBEDDING) - untrained[i];
        read[i] = mine->score->hard.value - mine->control[SG_CONTROL_UNTRAINED]->hard.value;
        shuffled[i] = mine->control[SG_CONTROL_SHUFFLED]->hard.value - mine->control[SG_CONTROL_UNTRAINED]->hard.value;
        soft[i] = gap(s->softmax[i], 0, TRAINED);
        soft_untrained[i] = gap(s->softmax[i], 0, SG_CONTROL_UNTRAINED);
    }
    const othello_parts *o = &s->parts;
    SG_TRY(
        othello_claim(o, "mine", "At its best layer a linear probe reads whose each filled square is, mine or yours.",
                      PAPER, (sg_measure){"accuracy above that of the untrained network", SEEDS, read, .15, HUGE_VAL},
                      (sg_control){"the same probe fitted to the boards of other games",
                                   {"accuracy above that of the untrained network", SEEDS, shuffled, -HUGE_VAL, .15}}));
    SG_TRY(othello_claim(
        o, "gap", "The same activations say mine/yours better than black/white.", SPEC,
        (sg_measure){"accuracy mine/yours less accuracy black/white", SEEDS, trained, .15, HUGE_VAL},
        (sg_control){"the untrained network", {"the same difference", SEEDS, untrained, -HUGE_VAL, .15}}));
    SG_TRY(othello_claim(o, "gap-learnt",
                         "Most of that gap was learnt: parity and the order of moves give some without learning.", SPEC,
                         (sg_measure){"gap less that of the untrained network", SEEDS, above, .10, HUGE_VAL},
                         (sg_control){"the embedding of move and position",
                                      {"the same difference", SEEDS, embedding_above, -HUGE_VAL, .10}}));
    return othello_claim(
        o, "gap-softmax", "Probes trained by cross-entropy, without bias, say the same.", PAPER,
        (sg_measure){"accuracy mine/yours less accuracy black/white", SEEDS, soft, .15, HUGE_VAL},
        (sg_control){"the untrained network", {"the same difference", SEEDS, soft_untrained, -HUGE_VAL, .15}});
}

/* Means over seeds. */
static sg_status layer_figure(const study *s)
{
    enum { N = 4 };
    static const struct {
        const char *name;
        int label, which;
    } lines[N] = {{"mine/yours", REL, TRAINED},
                  {"black/white", ABS, TRAINED},
                  {"mine/yours, untrained", REL, SG_CONTROL_UNTRAINED},
                  {"black/white, untrained", ABS, SG_CONTROL_UNTRAINED}};
    double x[MOST], y[N][MOST] = {{0}};
    sg_series series[N];
    const int n = s->n_sites < MOST ? s->n_sites : MOST;
    for (int k = 0; k < N; k++) {
        for (int site = 0; site < n; site++) {
            x[site] = site;
            for (int i = 0; i < SEEDS; i++)
                y[k][site] += score_of(at(s->ridge[i], site, lines[k].label), lines[k].which)->hard.value / SEEDS;
        }
        series[k] = (sg_series){lines[k].name, n, x, y[k]};
    }
    const sg_panel panel = {.n_series = N, .series = series};
    const sg_figure figure = {.id = "layers",
                              .title = "What a linear probe reads, after each block",
                              .kind = SG_FIGURE_LINES,
                              .caption =
                                  "Accuracy on filled squares of ridge probes, on games they were not fitted to. "
                                  "0: the embedding. Means over seeds.",
                              .x = {.label = "after block"},
                              .y = {.label = "accuracy", .low = .3, .high = 1},
                              .n_panels = 1,
                              .panels = &panel};
    return sg_report_add_figure(s->parts.report, &figure, s->parts.err);
}

static sg_status map_figure(const study *s)
{
    const sg_probe_result *mine = at(s->ridge[0], s->best[0], REL), *black = at(s->ridge[0], s->best[0], ABS);
    const double *const cells[] = {mine->score->hard_by_task, black->score->hard_by_task,
                                   mine->control[SG_CONTROL_UNTRAINED]->hard_by_task};
    static const char *const titles[] = {"mine/yours", "black/white", "mine/yours, untrained"};
    const int n = s->parts.size;
    sg_panel panels[3];
    for (int i = 0; i < 3; i++)
        panels[i] = (sg_panel){.title = titles[i], .n_rows = n, .n_columns = n, .cells = cells[i]};
    const sg_figure figure = {.id = "squares",
                              .title = "Which squares are read",
                              .kind = SG_FIGURE_MATRIX,
                              .caption = "Accuracy of each square while it is filled, at the best layer. First seed.",
                              .x = {.label = "column"},
                              .y = {.label = "row"},
                              .value = {.label = "accuracy", .low = 0, .high = 1},
                              .n_panels = 3,
                              .panels = panels};
    return sg_report_add_figure(s->parts.report, &figure, s->parts.err);
}

static sg_status tell(const study *s)
{
    SG_TRY(layer_figure(s));
    SG_TRY(map_figure(s));
    SG_TRY(claims(s));
    return othello_causal_claims(&s->parts, s->causes);
}

sg_status sg_study_othello_linear(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    static const char setup[] = "Games drawn move by move from the legal ones, none of them trained on. Ridge probes "
                                "(lambda 1e-4 for each row, in "
                                "units of a feature's mean variance) on the residual stream before and after each "
                                "block; softmax probes without "
                                "bias at the best layer. Fitted on three quarters of the games, judged on the rest.";
    study s = {0};
    sg_status status = othello_open(&s.parts, opts, report, SEEDS, err);
    if (status == SG_OK)
        status = sg_report_set_setup(report, setup, err);
    if (status == SG_OK)
        status = othello_layers(&s.parts, &s.sites, &s.n_sites);
    if (status == SG_OK)
        status = fit(&s);
    if (status == SG_OK)
        status = tell(&s);
    for (int i = 0; i < SEEDS; i++) {
        sg_probe_table_free(s.ridge[i]);
        sg_probe_table_free(s.softmax[i]);
    }
    free(s.sites);
    othello_close(&s.parts);
    return status;
}
