/* The record. Fields are those DESIGN fixes, plus `question` and `setup`; a paper's number comes with its standing, and
 * only readers decide by it whether to show it. Numbers that are not finite are written as null: JSON has none. */
#include <jansson.h>
#include <math.h>

#include "report/json.h"
#include "report/report_internal.h"

json_t *sg_number_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *numbers(const double *x, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n && array; i++)
        if (json_array_append_new(array, sg_number_json(x[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

json_t *sg_text_json(const char *s)
{
    return s ? json_string(s) : json_null();
}

/* Puts `item` into the array; takes it over either way. False when memory is out. */
static bool append(json_t *array, json_t *item)
{
    return json_array_append_new(array, item) == 0;
}

static json_t *criterion(const sg_measure *m)
{
    char words[SG_CRITERION_TEXT];
    return json_sprintf("%s: %s", m->what, sg_measure_criterion(m, words));
}

static json_t *claim_json(const sg_claim *c)
{
    json_t *seeds = json_array();
    for (int i = 0; i < c->n_seeds && seeds; i++)
        if (!append(seeds, json_integer((json_int_t)c->seeds[i]))) {
            json_decref(seeds);
            seeds = NULL;
        }
    json_t *paper = c->paper ? json_pack("{s:o, s:s}", "value", sg_number_json(c->paper->value), "standing",
                                         sg_standing_text(c->paper->standing))
                             : json_null();
    const sg_measure *m = &c->measured, *k = &c->control.measured;
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:[o,o], s:o, s:o, s:b, s:{s:s, s:o, s:o, s:b}}", "id", c->id, "text",
                     c->text, "source", c->source, "paper_value", paper, "value", sg_number_json(sg_measure_mean(m)),
                     "interval", sg_number_json(sg_measure_least(m)), sg_number_json(sg_measure_most(m)), "seeds",
                     seeds, "criterion", criterion(m), "holds", sg_measure_holds(m), "control", "text", c->control.text,
                     "value", sg_number_json(sg_measure_mean(k)), "criterion", criterion(k), "holds",
                     sg_measure_holds(k));
}

static json_t *axis_json(const sg_axis *a)
{
    return json_pack("{s:o, s:o, s:s}", "label", sg_text_json(a->label), "unit", sg_text_json(a->unit), "scale",
                     a->log ? "log" : "linear");
}

static json_t *panel_json(const sg_figure *f, const sg_panel *p)
{
    json_t *rows = json_array(), *series = json_array();
    bool good = rows && series;
    for (int i = 0; i < p->n_series && good; i++)
        good = append(series,
                      json_pack("{s:o, s:o, s:o}", "name", sg_text_json(p->series[i].name), "x",
                                numbers(p->series[i].x, p->series[i].n), "y", numbers(p->series[i].y, p->series[i].n)));
    for (int i = 0; i < p->n_rows && good; i++)
        good = append(rows, numbers(p->cells + i * p->n_columns, p->n_columns));
    json_t *panel = NULL;
    if (good && f->kind == SG_FIGURE_MATRIX)
        panel = json_pack("{s:o, s:O, s:o, s:o}", "title", sg_text_json(p->title), "matrix", rows, "row_at",
                          p->row_at ? numbers(p->row_at, p->n_rows) : json_null(), "column_at",
                          p->column_at ? numbers(p->column_at, p->n_columns) : json_null());
    else if (good)
        panel = json_pack("{s:o, s:O}", "title", sg_text_json(p->title), "series", series);
    json_decref(rows);
    json_decref(series);
    return panel;
}

json_t *sg_figure_json(const sg_figure *f)
{
    static const char *const kind[] = {"lines", "points", "arrows", "matrix"};
    json_t *panels = json_array(), *names = json_array();
    bool good = panels && names;
    for (int i = 0; i < f->n_panels && good; i++)
        good = append(panels, panel_json(f, &f->panels[i]));
    for (int i = 0; i < f->n_names && good; i++)
        good = append(names, json_string(f->names[i]));
    json_t *figure = NULL;
    if (good)
        figure = json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:O}", "id", f->id, "title", f->title, "caption",
                           sg_text_json(f->caption), "kind", kind[f->kind], "x", axis_json(&f->x), "y",
                           axis_json(&f->y), "panels", panels);
    if (figure && f->kind == SG_FIGURE_MATRIX &&
        (json_object_set_new(figure, "value", axis_json(&f->value)) != 0 ||
         (f->n_names && json_object_set(figure, "names", names) != 0))) {
        json_decref(figure);
        figure = NULL;
    }
    json_decref(panels);
    json_decref(names);
    return figure;
}

static json_t *report_json(const sg_report *r)
{
    const sg_report_info *info = sg_report_about(r);
    json_t *claims = json_array(), *figures = json_array(), *root = NULL;
    bool good = claims && figures;
    for (int i = 0; i < sg_report_n_claims(r) && good; i++)
        good = append(claims, claim_json(sg_report_claim(r, i)));
    for (int i = 0; i < sg_report_n_figures(r) && good; i++)
        good = append(figures, sg_figure_json(sg_report_figure(r, i)));
    if (good)
        root =
            json_pack("{s:s, s:s, s:o, s:s, s:s, s:I, s:s, s:i, s:s, s:f, s:O, s:O}", "study", info->study, "question",
                      info->question, "setup", sg_text_json(info->setup), "budget", info->budget, "commit",
                      info->commit, "seed", (json_int_t)info->seed, "backend", info->backend, "threads", info->threads,
                      "cpu", info->cpu, "seconds", info->seconds, "claims", claims, "figures", figures);
    json_decref(claims);
    json_decref(figures);
    return root;
}

/* Seven digits are what an f32 can tell; more would only be noise between machines. */
static bool write_value(json_t *value, FILE *to)
{
    return json_dumpf(value, to, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7)) == 0;
}

bool sg_json_lines(json_t *root, FILE *to)
{
    const char *key;
    json_t *value, *item;
    size_t i, n_left = json_object_size(root);
    bool good = fputs("{\n", to) >= 0;
    json_object_foreach(root, key, value)
    {
        good = good && fprintf(to, "  \"%s\": ", key) > 0;
        if (json_is_array(value)) {
            good = good && fputs("[", to) >= 0;
            json_array_foreach(value, i, item) good =
                good && fputs(i ? ",\n    " : "\n    ", to) >= 0 && write_value(item, to);
            good = good && fputs("\n  ]", to) >= 0;
        } else {
            good = good && write_value(value, to);
        }
        good = good && fputs(--n_left ? ",\n" : "\n", to) >= 0;
    }
    return good && fputs("}\n", to) >= 0;
}

sg_status sg_report_write_json(const sg_report *r, FILE *to, sg_error *err)
{
    SG_TRY(sg_report_check(r, err));
    json_t *root = report_json(r);
    if (!root)
        return sg_fail(err, SG_ENOMEM, "report %s: out of memory for JSON, or a text that is not UTF-8",
                       sg_report_about(r)->study);
    const bool good = sg_json_lines(root, to);
    json_decref(root);
    return good ? SG_OK : sg_fail(err, SG_EIO, "report %s: the JSON could not be written", sg_report_about(r)->study);
}

/* ---- files ---- */

static sg_status save(sg_status (*write)(const sg_report *, FILE *, sg_error *), const sg_report *r, const char *path,
                      sg_error *err)
{
    sg_writer *w;
    SG_TRY(sg_report_check(r, err)); /* before there is a file */
    SG_TRY(sg_writer_begin(&w, path, err));
    return sg_writer_end(w, write(r, sg_writer_stream(w), err), err);
}

sg_status sg_report_save_json(const sg_report *r, const char *path, sg_error *err)
{
    return save(sg_report_write_json, r, path, err);
}

sg_status sg_report_save_html(const sg_report *r, const char *path, sg_error *err)
{
    return save(sg_report_write_html, r, path, err);
}
