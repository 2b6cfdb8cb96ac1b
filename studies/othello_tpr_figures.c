#include <math.h>

#include "othello_tpr_parts.h"

static sg_status accuracy_figure(const tpr_study *s)
{
    const sg_tpr_table *t = s->table[0];
    double x[TPR_MOST_SIZES], y[TPR_MOST_SIZES], cut_x[TPR_MOST_SIZES], cut_y[TPR_MOST_SIZES];
    const double linear_x = (double)t->linear_parameters, linear_y = t->linear_hard.value;
    for (int i = 0; i < t->n_sizes; i++) {
        const sg_tpr_size *z = &t->sizes[i];
        x[i] = (double)z->fitted.n_parameters, y[i] = z->fitted.hard.value;
        cut_x[i] = (double)(z->rank * (t->width + t->n_roles * t->n_classes)), cut_y[i] = z->truncated_hard.value;
    }
    const double fresh_x = (double)t->untrained.n_parameters, fresh_y = t->untrained.hard.value;
    const sg_series series[] = {{"tensor-product", t->n_sizes, x, y},
                                {"linear, truncated SVD", t->n_sizes, cut_x, cut_y},
                                {"linear", 1, &linear_x, &linear_y},
                                {"untrained network, tensor-product", 1, &fresh_x, &fresh_y}};
    const sg_panel panel = {.n_series = 4, .series = series};
    return sg_report_add_figure(
        s->parts.report,
        &(sg_figure){.id = "accuracy",
                     .title = "What is read, and with how many numbers",
                     .kind = SG_FIGURE_LINES,
                     .caption = "Accuracy on filled squares of other games against the numbers of a probe. First seed.",
                     .x = {.label = "numbers", .log = true},
                     .y = {.label = "accuracy", .low = .2, .high = 1},
                     .n_panels = 1,
                     .panels = &panel},
        s->parts.err);
}

static sg_status sweep_figure(const tpr_study *s)
{
    const sg_tpr_table *t = s->table[0];
    enum { N = 6 };
    double x[TPR_MOST_SIZES], y[N][TPR_MOST_SIZES];
    for (int i = 0; i < t->n_sizes; i++) {
        const sg_tpr_size *z = &t->sizes[i];
        const double lines[N] = {z->fitted.geometry->agreement, z->fitted.geometry->permuted, z->likeness,
                                 z->likeness_truncated,         z->likeness_permuted,         t->likeness_again};
        x[i] = (double)z->role_dim;
        for (int k = 0; k < N; k++)
            y[k][i] = lines[k];
    }
    const sg_series agreement[] = {{"squares", t->n_sizes, x, y[0]}, {"squares permuted", t->n_sizes, x, y[1]}};
    const sg_series likeness[] = {{"tensor-product", t->n_sizes, x, y[2]},
                                  {"linear, truncated SVD of as many numbers", t->n_sizes, x, y[3]},
                                  {"directions of other squares", t->n_sizes, x, y[4]},
                                  {"a second linear probe", t->n_sizes, x, y[5]}};
    const sg_panel panels[] = {{.title = "neighbour agreement", .n_series = 2, .series = agreement},
                               {.title = "likeness to the linear probe", .n_series = 4, .series = likeness}};
    return sg_report_add_figure(s->parts.report,
                                &(sg_figure){.id = "sweep",
                                             .title = "How many dimensions squares need",
                                             .kind = SG_FIGURE_LINES,
                                             .caption = "Left: share of neighbours among the nearest embeddings. "
                                                        "Right: mean cosine of class differences. First seed.",
                                             .x = {.label = "role dimension"},
                                             .y = {.label = "share, cosine", .low = 0, .high = 1},
                                             .n_panels = 2,
                                             .panels = panels},
                                s->parts.err);
}

static sg_panel cosines_of(const char *title, const sg_tpr_fitted *f)
{
    const int n = (int)f->geometry->n_roles;
    return (sg_panel){.title = title, .n_rows = n, .n_columns = n, .cells = f->geometry->cosine};
}

static sg_status gram_figure(const tpr_study *s)
{
    const sg_tpr_table *t = s->table[0];
    const sg_panel panels[] = {
        cosines_of("the model", &tpr_size(t, s->controlled)->fitted), cosines_of("untrained network", &t->untrained),
        cosines_of("random, the same boards", &t->board), cosines_of("random, independent squares", &t->independent)};
    return sg_report_add_figure(s->parts.report,
                                &(sg_figure){.id = "gram",
                                             .title = "Which squares' embeddings are alike",
                                             .kind = SG_FIGURE_MATRIX,
                                             .caption = "Cosines of square embeddings in the fixed gauge, squares row "
                                                        "by row from the upper left. First seed.",
                                             .x = {.label = "square"},
                                             .y = {.label = "square"},
                                             .value = {.label = "cosine", .low = -1, .high = 1},
                                             .n_panels = 4,
                                             .panels = panels},
                                s->parts.err);
}

/* From a corner, from between it and the middle, from the middle. */
static sg_status distance_figure(const tpr_study *s)
{
    enum { N = 3 };
    static const char *const title[2][N] = {{"from a1", "from b2", "from the middle"},
                                            {"a1, untrained", "b2, untrained", "the middle, untrained"}};
    const sg_tpr_table *t = s->table[0];
    const int n = s->parts.size, from[N] = {0, n + 1, n / 2 * n + n / 2}, squares = n * n;
    const sg_tpr_fitted *const of[2] = {&tpr_size(t, s->controlled)->fitted, &t->untrained};
    double cells[2 * N][SG_OTHELLO_MAX_SQUARES];
    sg_panel panels[2 * N];
    for (int k = 0; k < 2 * N; k++) {
        for (int i = 0; i < squares; i++)
            cells[k][i] = 1 - of[k / N]->geometry->cosine[from[k % N] * squares + i];
        panels[k] = (sg_panel){.title = title[k / N][k % N], .n_rows = n, .n_columns = n, .cells = cells[k]};
    }
    return sg_report_add_figure(s->parts.report,
                                &(sg_figure){.id = "distance",
                                             .title = "How far other squares lie",
                                             .kind = SG_FIGURE_MATRIX,
                                             .caption = "One less the cosine of embeddings, from three squares to all "
                                                        "of the board. First seed.",
                                             .x = {.label = "column"},
                                             .y = {.label = "row"},
                                             .value = {.label = "distance", .low = 0, .high = 1.5},
                                             .n_panels = 2 * N,
                                             .panels = panels},
                                s->parts.err);
}

sg_status tpr_figures(const tpr_study *s)
{
    SG_TRY(accuracy_figure(s));
    SG_TRY(sweep_figure(s));
    SG_TRY(gram_figure(s));
    return distance_figure(s);
}
