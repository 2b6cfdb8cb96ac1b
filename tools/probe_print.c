/* What sightglass probe prints: no accuracy without its controls. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probe_parts.h"
#include "sightglass/bootstrap.h"
#include "sightglass/report.h"

const char probe_legend[] =
    "of: all labels, or those that are not 0 (an empty square is nearly free). Controls, of the same kind of probe on\n"
    "the same episodes: the untrained network at the site, which tokens occurred, the embedding, labels of other\n"
    "episodes at the same positions. Intervals are 95 %, by bootstrap over episodes.\n\n";

/* ---- for people ---- */

static void print_rate(const sg_rate *r)
{
    if (r->n)
        printf("  %5.1f (%5.1f to %5.1f)", 100 * r->value, 100 * r->low, 100 * r->high);
    else
        printf("  %5s  %16s", "-", "");
}

void probe_print_head(const char *first)
{
    printf("%-30s %-12s %-6s  %-22s %10s %8s %10s %9s\n", first, "label", "of", "accuracy, %", "untrained", "tokens",
           "embedding", "shuffled");
}

static void print_row(const char *site, const char *label, const char *of, const sg_rate *r,
                      const sg_rate *const control[SG_N_PROBE_CONTROLS])
{
    static const int width[SG_N_PROBE_CONTROLS] = {
        [SG_CONTROL_UNTRAINED] = 12, [SG_CONTROL_BAG] = 8, [SG_CONTROL_EMBEDDING] = 10, [SG_CONTROL_SHUFFLED] = 9};
    printf("%-30.48s %-12.24s %-6s", site, label, of);
    print_rate(r);
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        printf("%*.1f%s", width[c] - (c == 0 ? 2 : 0), 100 * control[c]->value,
               c + 1 < SG_N_PROBE_CONTROLS ? " " : "\n");
}

void probe_print_result(const sg_probe_result *x)
{
    const sg_rate *all[SG_N_PROBE_CONTROLS], *hard[SG_N_PROBE_CONTROLS];
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++) {
        all[c] = &x->control[c]->all;
        hard[c] = &x->control[c]->hard;
    }
    print_row(x->site, x->label, "not 0", &x->score->hard, hard);
    print_row("", "", "all", &x->score->all, all);
}

static double gap_of(const sg_probe_score *a, const sg_probe_score *b)
{
    return a->hard.value - b->hard.value;
}

/* Paired: both labels are asked at the same rows of the same episodes. */
static sg_status gap_interval(sg_interval *out, const sg_probe_score *a, const sg_probe_score *b, sg_error *err)
{
    const sg_dim n = a->n_episodes;
    double *part = malloc((size_t)SG_MAX(n, 1) * sizeof *part);
    if (!part)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (sg_dim i = 0; i < n; i++) /* the labels may ask for different numbers, as when one is not known */
        part[i] = b->hard_asked[i] > 0 && a->hard_asked[i] > 0
                      ? a->hard_right[i] - b->hard_right[i] * a->hard_asked[i] / b->hard_asked[i]
                      : 0;
    const sg_status status = sg_bootstrap_ratio(out, n, part, a->hard_asked, sg_bootstrap_defaults(), err);
    free(part);
    return status;
}

sg_status probe_print_gaps(const sg_probe_table *t, sg_error *err)
{
    printf("\n%s less %s, of labels that are not 0, in percent points\n", t->results[0].label, t->results[1].label);
    for (int i = 0; i < t->n; i += 2) {
        const sg_probe_result *a = &t->results[i], *b = &t->results[i + 1];
        sg_interval in;
        SG_TRY(gap_interval(&in, a->score, b->score, err));
        printf("%-50.50s  %5.1f (%5.1f to %5.1f)", a->site, 100 * gap_of(a->score, b->score), 100 * in.low,
               100 * in.high);
        static const int width[SG_N_PROBE_CONTROLS] = {10, 8, 10, 9};
        for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
            printf("%*.1f%s", width[c], 100 * gap_of(a->control[c], b->control[c]),
                   c + 1 < SG_N_PROBE_CONTROLS ? " " : "\n");
    }
    return SG_OK;
}

/* The accuracy of each task where tasks are the squares of a board, of the label's best site beside its untrained
 * network. */
sg_status probe_print_map(const sg_probe_table *t, int label, sg_error *err)
{
    const sg_probe_result *best = &t->results[label];
    for (int i = label; i < t->n; i += t->n_labels)
        if (t->results[i].score->hard.value > best->score->hard.value)
            best = &t->results[i];
    const sg_dim side = (sg_dim)lround(sqrt((double)best->score->n_tasks));
    char title[240];
    if (side * side != best->score->n_tasks || side < 2)
        return sg_fail(err, SG_EARG, "--map: %s has %" PRId64 " tasks, which make no square", best->label,
                       best->score->n_tasks);
    snprintf(title, sizeof title, "%s at %s: accuracy of labels that are not 0, by task", best->label, best->site);
    const sg_panel panels[2] = {
        {.title = "trained", .n_rows = (int)side, .n_columns = (int)side, .cells = best->score->hard_by_task},
        {.title = "untrained network",
         .n_rows = (int)side,
         .n_columns = (int)side,
         .cells = best->control[SG_CONTROL_UNTRAINED]->hard_by_task}};
    printf("\n%s\n", title);
    return sg_figure_write_text(&(sg_figure){.id = "map",
                                             .title = title,
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "column"},
                                             .y = {.label = "row"},
                                             .value = {.label = "accuracy", .low = 0, .high = 1},
                                             .n_panels = 2,
                                             .panels = panels},
                                stdout, cli_colours().bold[0] != 0, err);
}

/* ---- for machines ---- */

json_t *probe_real_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *probe_reals_json(const double *x, sg_dim n)
{
    json_t *a = json_array();
    for (sg_dim i = 0; i < n; i++)
        json_array_append_new(a, probe_real_json(x[i]));
    return a;
}

static json_t *rate_json(const sg_rate *r)
{
    return json_pack("{s:o, s:o, s:o, s:I}", "value", probe_real_json(r->value), "low", probe_real_json(r->low), "high",
                     probe_real_json(r->high), "n", (json_int_t)r->n);
}

static json_t *score_json(const sg_probe_score *s)
{
    return json_pack("{s:o, s:o, s:o, s:i, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "all", rate_json(&s->all), "not_0",
                     rate_json(&s->hard), "macro_f1", probe_real_json(s->macro_f1), "absent_classes", s->n_absent,
                     "rows", (json_int_t)s->n_rows, "episodes", (json_int_t)s->n_episodes, "by_task",
                     probe_reals_json(s->by_task, s->n_tasks), "not_0_by_task",
                     probe_reals_json(s->hard_by_task, s->n_tasks), "recall", probe_reals_json(s->recall, s->n_classes),
                     "precision", probe_reals_json(s->precision, s->n_classes), "not_0_by_position",
                     probe_reals_json(s->hard_by_position, s->n_positions));
}

json_t *probe_result_json(const sg_probe_result *x)
{
    static const char *const keys[SG_N_PROBE_CONTROLS] = {"untrained", "bag", "embedding", "shuffled"};
    json_t *controls = json_object();
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        json_object_set_new(controls, keys[c], score_json(x->control[c]));
    return json_pack("{s:s, s:s, s:o, s:o}", "site", x->site, "label", x->label, "score", score_json(x->score),
                     "controls", controls);
}

sg_status probe_gaps_json(json_t *root, const sg_probe_table *t, sg_error *err)
{
    json_t *gaps = json_array();
    json_object_set_new(root, "gaps", gaps);
    for (int i = 0; i < t->n; i += 2) {
        const sg_probe_result *a = &t->results[i], *b = &t->results[i + 1];
        sg_interval in;
        SG_TRY(gap_interval(&in, a->score, b->score, err));
        json_array_append_new(
            gaps,
            json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "site", a->site, "of", a->label, "less", b->label,
                      "value", probe_real_json(gap_of(a->score, b->score)), "low", probe_real_json(in.low), "high",
                      probe_real_json(in.high), "untrained",
                      probe_real_json(gap_of(a->control[SG_CONTROL_UNTRAINED], b->control[SG_CONTROL_UNTRAINED])),
                      "embedding",
                      probe_real_json(gap_of(a->control[SG_CONTROL_EMBEDDING], b->control[SG_CONTROL_EMBEDDING]))));
    }
    return SG_OK;
}
