/* What only --full asks of toy models: where the phases of two features in one dimension meet, and how the shares of
 * 400 features cluster. */
#include <math.h>
#include <stdlib.h>

#include "toy_closed_form.h"
#include "toy_parts.h"

/* ---- two features, one dimension ---- */

enum { SIDE = 12, CELLS = SIDE * SIDE };

typedef struct diagram {
    double p[SIDE], r[SIDE];
    double kind[CELLS], expected[CELLS], ratio[CELLS]; /* [r,p]; ratio: best loss over that of the best closed form */
    double start_ratio[CELLS];
    double agree, start_agree; /* of the cells further than 20 % of p* from the boundary */
} diagram;

static bool near_boundary(double p, double r)
{
    return fabs(p - toy_boundary(r)) <= 0.2 * toy_boundary(r);
}

/* Each cell is judged by the seed whose loss is least: the phase diagram is about optima, not about luck. */
static void judge(diagram *d, const float *w, const float *b, double *ratio, double *kind, double *agree)
{
    int n = 0, n_agree = 0;
    for (int i = 0; i < CELLS; i++) {
        const double p = d->p[i % SIDE], r = d->r[i / SIDE];
        const toy_winner expected = toy_closed_winner(p, r);
        double least = HUGE_VAL;
        toy_winner best = TOY_NEITHER;
        for (int k = i * SEEDS; k < (i + 1) * SEEDS; k++) {
            const double loss = toy_exact_loss(w + 2 * k, b + 2 * k, p, r);
            if (loss < least) {
                least = loss;
                best = toy_kind(w + 2 * k);
            }
        }
        ratio[i] = least / toy_closed_loss(expected, p, r);
        d->expected[i] = expected;
        if (kind)
            kind[i] = best;
        if (!near_boundary(p, r)) {
            n++;
            n_agree += best == expected;
        }
    }
    *agree = (double)n_agree / n;
}

static sg_status diagram_train(const toy_parts *s, diagram *d)
{
    float p[CELLS * SEEDS], importance[CELLS * SEEDS * 2];
    const float no_bias[CELLS * SEEDS * 2] = {0};
    for (int i = 0; i < CELLS * SEEDS; i++) {
        p[i] = (float)d->p[i / SEEDS % SIDE];
        importance[2 * i] = 1;
        importance[2 * i + 1] = (float)d->r[i / SEEDS / SIDE];
    }
    toy_model m = s->budget;
    m.n_instances = CELLS * SEEDS;
    m.n_features = 2;
    m.n_dims = 1;
    m.p = p;
    m.importance = importance;
    toy_trained t;
    sg_status status = toy_train(&t, &m, s->opts, "phase diagram", s->report, s->err);
    if (status == SG_OK) {
        judge(d, t.start_w, no_bias, d->start_ratio, NULL, &d->start_agree);
        judge(d, t.w, t.b, d->ratio, d->kind, &d->agree);
    }
    toy_free(&t);
    return status;
}

sg_status toy_phase_diagram(const toy_parts *s)
{
    static const char *const names[] = {"neither", "first alone", "second alone", "antipodal"};
    diagram d;
    for (int i = 0; i < SIDE; i++) {
        d.p[i] = pow(50, -(double)i / (SIDE - 1));  /* 1 to .02 */
        d.r[i] = pow(10, 2.0 * i / (SIDE - 1) - 1); /* .1 to 10 */
    }
    SG_TRY(diagram_train(s, &d));
    double least_at_start = HUGE_VAL;
    for (int i = 0; i < CELLS; i++)
        least_at_start = fmin(least_at_start, d.start_ratio[i]);
    const sg_panel panel[] = {
        {.title = "trained", .n_rows = SIDE, .n_columns = SIDE, .cells = d.kind, .row_at = d.r, .column_at = d.p},
        {.title = "closed form",
         .n_rows = SIDE,
         .n_columns = SIDE,
         .cells = d.expected,
         .row_at = d.r,
         .column_at = d.p}};
    const sg_figure figure = {
        .id = "phase-diagram",
        .title = "Two features, one dimension: what is kept",
        .caption = "Best of three seeds in each cell, beside the least of three losses known in closed form.",
        .kind = SG_FIGURE_MATRIX,
        .x = {.label = "p(active)", .log = true},
        .y = {.label = "importance of the second", .log = true},
        .n_names = 4,
        .names = names,
        .n_panels = 2,
        .panels = panel};
    SG_TRY(sg_report_add_figure(s->report, &figure, s->err));
    SG_TRY(toy_claim(s, "phase-diagram",
                     "Two features in one dimension: which is kept, or both as a pair, is as the closed forms say.",
                     "derived: p* = 2r / (1 + 2.5 r) for r <= 1, 2 / (2.5 + r) above",
                     (sg_measure){"share of cells, those within 20 % of p* left out", 1, &d.agree, 0.95, 1},
                     (sg_control){"the same weights before training", {"share of cells", 1, &d.start_agree, 0, 0.6}}));
    return toy_claim(
        s, "closed-form-loss", "Training finds a loss no worse than the best closed form's.",
        "derived: three candidates",
        (sg_measure){"loss over the best closed form's, every cell", CELLS, d.ratio, -HUGE_VAL, 1.02},
        (sg_control){"the same weights before training", {"least such ratio", 1, &least_at_start, 1.02, HUGE_VAL}});
}

/* ---- 400 features, 30 dimensions ---- */

enum { N_SPARSITIES = 24, N = 400, M = 30 };

/* Sparsities at which D*, dimensions per feature, is within .05 of a plateau. */
static double on_plateau(const sg_superposition *s, double plateau)
{
    double n = 0;
    for (int k = 0; k < N_SPARSITIES; k++)
        n += fabs(1 / s->per_dimension[k] - plateau) <= 0.05;
    return n;
}

static sg_status plateau_report(const toy_parts *s, const double *p, const toy_trained *relu, const toy_trained *linear)
{
    double inverse[N_SPARSITIES], d[N_SPARSITIES], d_linear[N_SPARSITIES],
        *each = malloc(N_SPARSITIES * N * sizeof *each);
    if (!each)
        return sg_fail(s->err, SG_ENOMEM, "plateaus: out of memory");
    for (int k = 0; k < N_SPARSITIES; k++) {
        inverse[k] = 1 / p[k];
        d[k] = 1 / relu->shape->per_dimension[k];
        d_linear[k] = 1 / linear->shape->per_dimension[k];
    }
    for (int i = 0; i < N_SPARSITIES * N; i++)
        each[i] = 1 / p[i / N];
    const sg_series lines[] = {{"ReLU", N_SPARSITIES, inverse, d},
                               {"linear (control)", N_SPARSITIES, inverse, d_linear}};
    const sg_series points[] = {{"features", N_SPARSITIES * N, each, relu->shape->dimensionality}};
    const sg_panel star = {.n_series = 2, .series = lines}, shares = {.n_series = 1, .series = points};
    const sg_axis x = {"1 / p(active)", NULL, true, 0, 0};
    sg_status status = sg_report_add_figure(s->report,
                                            &(sg_figure){.id = "plateaus",
                                                         .title = "400 features in 30 dimensions",
                                                         .caption = "Dimensions per feature, D* = m / |W|^2.",
                                                         .kind = SG_FIGURE_LINES,
                                                         .x = x,
                                                         .y = {"D*", NULL, false, 0, 1.2},
                                                         .n_panels = 1,
                                                         .panels = &star},
                                            s->err);
    if (status == SG_OK)
        status = sg_report_add_figure(s->report,
                                      &(sg_figure){.id = "plateau-shares",
                                                   .title = "The share that each of the 400 has",
                                                   .caption = "D_i; antipodal pairs are at 1/2.",
                                                   .kind = SG_FIGURE_POINTS,
                                                   .x = x,
                                                   .y = {"D_i", NULL, false, 0, 1.05},
                                                   .n_panels = 1,
                                                   .panels = &shares},
                                      s->err);
    free(each);
    SG_TRY(status);
    const double half = on_plateau(relu->shape, 0.5), half_linear = on_plateau(linear->shape, 0.5);
    const double one = on_plateau(relu->shape, 1), one_start = on_plateau(relu->start, 1);
    const char *source = "Elhage et al. 2022, from memory; what counts as a plateau was set before the run";
    SG_TRY(toy_claim(s, "plateau-half", "D* stays near 1/2, antipodal pairs, over a range of p.", source,
                     (sg_measure){"of 24 values of p, those with D* within .05 of 1/2", 1, &half, 3, 24},
                     (sg_control){"linear output", {"the same", 1, &half_linear, 0, 0}}));
    return toy_claim(
        s, "plateau-one",
        "D* stays near 1 where features are dense: W is an orthogonal projection, whatever features share it.", source,
        (sg_measure){"of 24 values of p, those with D* within .05 of 1", 1, &one, 3, 24},
        (sg_control){"the same weights before training", {"the same", 1, &one_start, 0, 0}});
}

sg_status toy_plateaus(const toy_parts *s)
{
    double p[N_SPARSITIES];
    toy_trained relu = {0}, linear = {0};
    toy_parts quick = *s; /* 9.8 million numbers per value at the full batch: forty minutes */
    quick.n_seeds = 1;
    quick.budget.n_steps = 4000;
    quick.budget.batch = 256;
    quick.budget.lr = 5e-3;
    quick.budget.lr_end = 5e-4;
    for (int k = 0; k < N_SPARSITIES; k++)
        p[k] = pow(20, -(double)k / (N_SPARSITIES - 1));
    sg_status status = toy_sweep(&quick, &relu, "plateaus", N, M, 1, N_SPARSITIES, p, 1, false);
    if (status == SG_OK)
        status = toy_sweep(&quick, &linear, "plateaus, linear control", N, M, 1, N_SPARSITIES, p, 1, true);
    if (status == SG_OK)
        status = plateau_report(&quick, p, &relu, &linear);
    toy_free(&relu);
    toy_free(&linear);
    return status;
}
