/* A book keeps the records as JSON, checked once when they are read, and makes figures of them when it writes. */
#include "sightglass/report_book.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "report/html.h"
#include "report/svg.h"

enum { MOST_NUMBERS = 1 << 22 }; /* in one list of a figure */

struct sg_report_book {
    int n, capacity;
    json_t **records;
};

/* ---- reading ---- */

static const char *text_of(const json_t *of, const char *name)
{
    return json_string_value(json_object_get(of, name));
}

static double number_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static bool all_lists(const json_t *lists)
{
    size_t i;
    json_t *list;
    json_array_foreach(lists, i, list)
    {
        if (!json_is_array(list) || json_array_size(list) != json_array_size(json_array_get(lists, 0)))
            return false;
    }
    return json_is_array(lists);
}

static sg_status check_panel(const json_t *p, bool is_matrix, const char *name, const char *figure, sg_error *err)
{
    size_t i;
    json_t *s;
    if (is_matrix) {
        if (!all_lists(json_object_get(p, "matrix")))
            return sg_fail(err, SG_EFORMAT, "%s: figure %s has a panel whose matrix has rows of different lengths",
                           name, figure);
        return SG_OK;
    }
    json_array_foreach(json_object_get(p, "series"), i, s)
    {
        const json_t *x = json_object_get(s, "x"), *y = json_object_get(s, "y");
        if (!json_is_array(x) || !json_is_array(y) || json_array_size(x) != json_array_size(y) ||
            json_array_size(x) > MOST_NUMBERS || !text_of(s, "name"))
            return sg_fail(err, SG_EFORMAT, "%s: figure %s has a series without a name or with lists that differ", name,
                           figure);
    }
    return SG_OK;
}

static int kind_of(const json_t *figure)
{
    static const char *const kinds[] = {"lines", "points", "arrows", "matrix"};
    const char *kind = text_of(figure, "kind");
    for (int i = 0; i < 4; i++)
        if (kind && strcmp(kind, kinds[i]) == 0)
            return i;
    return -1;
}

static sg_status check_figure(const json_t *f, const char *name, sg_error *err)
{
    size_t i;
    json_t *p;
    const char *id = text_of(f, "id");
    const json_t *panels = json_object_get(f, "panels");
    if (!id || !text_of(f, "title") || kind_of(f) < 0 || !json_array_size(panels) || json_array_size(panels) > 1000)
        return sg_fail(err, SG_EFORMAT, "%s: a figure without id, title, kind or panels", name);
    json_array_foreach(panels, i, p)
    {
        SG_TRY(check_panel(p, kind_of(f) == SG_FIGURE_MATRIX, name, id, err));
    }
    json_array_foreach(json_object_get(f, "names"), i, p)
    {
        if (!json_is_string(p))
            return sg_fail(err, SG_EFORMAT, "%s: figure %s has names that are no texts", name, id);
    }
    return SG_OK;
}

static sg_status check_claim(const json_t *c, const char *name, sg_error *err)
{
    const json_t *control = json_object_get(c, "control");
    const char *id = text_of(c, "id"), *words = text_of(control, "text");
    if (!id || !text_of(c, "text") || !json_is_boolean(json_object_get(c, "holds")))
        return sg_fail(err, SG_EFORMAT, "%s: a claim without id, text or verdict", name);
    if (!words || !*words || !json_is_boolean(json_object_get(control, "holds")))
        return sg_fail(err, SG_EARG, "%s: claim %s has no control, and no claim is told without one", name, id);
    return SG_OK;
}

static sg_status check_record(const json_t *record, const char *name, sg_error *err)
{
    size_t i;
    json_t *item;
    if (!text_of(record, "study") || !text_of(record, "question") || !json_is_array(json_object_get(record, "claims")))
        return sg_fail(err, SG_EFORMAT, "%s: no report of a study: wanted study, question and claims", name);
    json_array_foreach(json_object_get(record, "claims"), i, item)
    {
        SG_TRY(check_claim(item, name, err));
    }
    json_array_foreach(json_object_get(record, "figures"), i, item)
    {
        SG_TRY(check_figure(item, name, err));
    }
    return SG_OK;
}

sg_status sg_report_book_new(sg_report_book **out, sg_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a book of reports");
}

void sg_report_book_free(sg_report_book *b)
{
    for (int i = 0; b && i < b->n; i++)
        json_decref(b->records[i]);
    if (b)
        free(b->records);
    free(b);
}

sg_status sg_report_book_add(sg_report_book *b, const char *name, const void *json, size_t bytes, sg_error *err)
{
    json_error_t why;
    if (!bytes)
        return sg_fail(err, SG_EFORMAT, "%s: is empty, wanted the report of a study", name);
    json_t *record = json_loadb(json, bytes, 0, &why);
    if (!record)
        return sg_fail(err, SG_EFORMAT, "%s: line %d: %s", name, why.line, why.text);
    sg_status status = check_record(record, name, err);
    if (status == SG_OK && b->n == b->capacity) {
        const int capacity = 2 * b->capacity + 16;
        json_t **more = realloc(b->records, (size_t)capacity * sizeof *more);
        if (more) {
            b->records = more;
            b->capacity = capacity;
        } else {
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory for a book of reports", name);
        }
    }
    if (status != SG_OK) {
        json_decref(record);
        return status;
    }
    b->records[b->n++] = record;
    return SG_OK;
}

sg_status sg_report_book_read(sg_report_book *b, const char *path, sg_error *err)
{
    sg_file *f;
    SG_TRY(sg_file_open(&f, path, err));
    const sg_status status = sg_report_book_add(b, path, sg_file_data(f), sg_file_bytes(f), err);
    sg_file_close(f);
    return status;
}

/* ---- looking at it ---- */

static const json_t *claim_at(const sg_report_book *b, int i, int k)
{
    SG_ASSERT(i >= 0 && i < b->n);
    return json_array_get(json_object_get(b->records[i], "claims"), (size_t)k);
}

int sg_report_book_count(const sg_report_book *b)
{
    return b->n;
}

const char *sg_report_book_study(const sg_report_book *b, int i)
{
    SG_ASSERT(i >= 0 && i < b->n);
    return text_of(b->records[i], "study");
}

int sg_report_book_n_claims(const sg_report_book *b, int i)
{
    SG_ASSERT(i >= 0 && i < b->n);
    return (int)json_array_size(json_object_get(b->records[i], "claims"));
}

const char *sg_report_book_claim(const sg_report_book *b, int i, int k)
{
    return text_of(claim_at(b, i, k), "id");
}

static bool holds(const json_t *claim)
{
    return json_is_true(json_object_get(claim, "holds")) &&
           json_is_true(json_object_get(json_object_get(claim, "control"), "holds"));
}

bool sg_report_book_holds(const sg_report_book *b, int i, int k)
{
    return holds(claim_at(b, i, k));
}

static int n_hold(const sg_report_book *b, int i)
{
    int n = 0;
    for (int k = 0; k < sg_report_book_n_claims(b, i); k++)
        n += sg_report_book_holds(b, i, k);
    return n;
}

/* ---- figures out of records ---- */

static double *numbers(sg_arena *arena, const json_t *list, bool *good)
{
    const size_t n = json_array_size(list);
    double *x = sg_arena_array(arena, n + 1, sizeof *x);
    for (size_t i = 0; x && i < n; i++)
        x[i] = number_of(json_array_get(list, i));
    *good = *good && x;
    return x;
}

static sg_axis axis(const json_t *of)
{
    const char *label = text_of(of, "label"), *scale = text_of(of, "scale");
    return (sg_axis){label ? label : "", text_of(of, "unit"), scale && strcmp(scale, "log") == 0, 0, 0};
}

static void matrix(sg_arena *arena, sg_panel *to, const json_t *p, bool *good)
{
    const json_t *rows = json_object_get(p, "matrix"), *row_at = json_object_get(p, "row_at"),
                 *column_at = json_object_get(p, "column_at");
    const size_t n_rows = json_array_size(rows), n_columns = json_array_size(json_array_get(rows, 0));
    double *cells =
        n_rows * n_columns <= MOST_NUMBERS ? sg_arena_array(arena, n_rows * n_columns + 1, sizeof *cells) : NULL;
    *good = *good && cells;
    if (!cells)
        return;
    for (size_t i = 0; i < n_rows; i++)
        for (size_t k = 0; k < n_columns; k++)
            cells[i * n_columns + k] = number_of(json_array_get(json_array_get(rows, i), k));
    to->n_rows = (int)n_rows;
    to->n_columns = (int)n_columns;
    to->cells = cells;
    if (json_array_size(row_at) == n_rows)
        to->row_at = numbers(arena, row_at, good);
    if (json_array_size(column_at) == n_columns)
        to->column_at = numbers(arena, column_at, good);
}

static void series(sg_arena *arena, sg_panel *to, const json_t *p, bool *good)
{
    const json_t *list = json_object_get(p, "series");
    const size_t n = json_array_size(list);
    sg_series *s = sg_arena_array(arena, n + 1, sizeof *s);
    *good = *good && s;
    for (size_t i = 0; *good && i < n; i++) {
        const json_t *of = json_array_get(list, i);
        s[i].name = text_of(of, "name");
        s[i].n = (int)json_array_size(json_object_get(of, "x"));
        s[i].x = numbers(arena, json_object_get(of, "x"), good);
        s[i].y = numbers(arena, json_object_get(of, "y"), good);
    }
    to->n_series = (int)n;
    to->series = s;
}

/* Its texts are borrowed from the record; ids get the study's name before them, so that a page has each but once. */
static bool figure_of(sg_arena *arena, sg_figure *out, const json_t *f, const char *study)
{
    const json_t *list = json_object_get(f, "panels"), *names = json_object_get(f, "names");
    bool good = true;
    sg_panel *panels = sg_arena_array(arena, json_array_size(list), sizeof *panels);
    const char **name = sg_arena_array(arena, json_array_size(names) + 1, sizeof *name);
    *out = (sg_figure){.id = sg_arena_printf(arena, "%s-%s", study, text_of(f, "id")),
                       .title = text_of(f, "title"),
                       .caption = text_of(f, "caption"),
                       .kind = (sg_figure_kind)kind_of(f),
                       .x = axis(json_object_get(f, "x")),
                       .y = axis(json_object_get(f, "y")),
                       .value = axis(json_object_get(f, "value")),
                       .n_names = (int)json_array_size(names),
                       .names = name,
                       .n_panels = (int)json_array_size(list),
                       .panels = panels};
    if (!panels || !name || !out->id)
        return false;
    for (int i = 0; i < out->n_names; i++)
        name[i] = json_string_value(json_array_get(names, (size_t)i));
    for (int i = 0; i < out->n_panels && good; i++) {
        const json_t *p = json_array_get(list, (size_t)i);
        panels[i].title = text_of(p, "title");
        if (out->kind == SG_FIGURE_MATRIX)
            matrix(arena, &panels[i], p, &good);
        else
            series(arena, &panels[i], p, &good);
    }
    return good;
}

/* ---- the page ---- */

/* "0.61 (0.55 to 0.67)" */
static void value(FILE *to, const json_t *of)
{
    char a[SG_NUMBER_TEXT], b[SG_NUMBER_TEXT], c[SG_NUMBER_TEXT];
    const json_t *interval = json_object_get(of, "interval");
    const double x = number_of(json_object_get(of, "value")), low = number_of(json_array_get(interval, 0)),
                 high = number_of(json_array_get(interval, 1));
    fprintf(to, "<strong>%s</strong>", sg_number_text(x, a));
    if (!isnan(low) && !isnan(high) && low != high)
        fprintf(to, " (%s to %s)", sg_number_text(low, b), sg_number_text(high, c));
}

static void measured(FILE *to, const char *term, const char *before, const json_t *of)
{
    const bool good = json_is_true(json_object_get(of, "holds"));
    fprintf(to, "<dt>%s</dt><dd>", term);
    if (before) {
        sg_html_text(to, before);
        fputs("<br>", to);
    }
    value(to, of);
    fputs("; ", to);
    sg_html_text(to, text_of(of, "criterion"));
    fprintf(to, " <span class=\"%s\">%s</span></dd>\n", good ? "yes" : "no", good ? "✓" : "✗");
}

static void claim(FILE *to, const json_t *c)
{
    char number[SG_NUMBER_TEXT];
    const json_t *control = json_object_get(c, "control"), *paper = json_object_get(c, "paper_value");
    const char *standing = text_of(paper, "standing");
    fputs("<article><h3>", to);
    sg_html_text(to, text_of(c, "id"));
    fprintf(to, " <span class=\"%s\">%s</span></h3>\n", holds(c) ? "yes" : "no",
            holds(c)                                    ? "✓ holds"
            : json_is_true(json_object_get(c, "holds")) ? "✗ its control does not hold"
                                                        : "✗ does not hold");
    sg_html_element(to, "p", "", text_of(c, "text"));
    fputs("<dl>", to);
    measured(to, "measured", NULL, c);
    measured(to, "control", text_of(control, "text"), control);
    fprintf(to, "<dt>seeds</dt><dd>%zu</dd><dt>source</dt><dd>", json_array_size(json_object_get(c, "seeds")));
    sg_html_text(to, text_of(c, "source"));
    if (standing && (strcmp(standing, sg_standing_text(SG_STANDING_CHECKED)) == 0 ||
                     strcmp(standing, sg_standing_text(SG_STANDING_ABSTRACT)) == 0)) {
        fprintf(to, "; the paper: %s (", sg_number_text(number_of(json_object_get(paper, "value")), number));
        sg_html_text(to, standing);
        fputs(")", to);
    }
    fputs("</dd></dl></article>\n", to);
}

static void contents(const sg_report_book *b, FILE *to)
{
    char number[SG_NUMBER_TEXT];
    fputs("<div class=\"scroll\"><table><tr><th class=\"t\">study</th><th>claims that "
          "hold</th><th>budget</th><th>seconds</th>"
          "<th>commit</th></tr>\n",
          to);
    for (int i = 0; i < b->n; i++) {
        const json_t *r = b->records[i];
        const int n = sg_report_book_n_claims(b, i), good = n_hold(b, i);
        fputs("<tr><td class=\"t\"><a href=\"#", to);
        sg_html_text(to, text_of(r, "study"));
        fputs("\">", to);
        sg_html_text(to, text_of(r, "study"));
        fprintf(to, "</a></td><td class=\"%s\">%d of %d</td>", good == n ? "yes" : "no", good, n);
        sg_html_element(to, "td", "", text_of(r, "budget"));
        sg_html_element(to, "td", "", sg_number_text(number_of(json_object_get(r, "seconds")), number));
        sg_html_element(to, "td", "", text_of(r, "commit"));
        fputs("</tr>\n", to);
    }
    fputs("</table></div>\n", to);
}

static sg_status study(const sg_report_book *b, int i, FILE *to, sg_error *err)
{
    const json_t *r = b->records[i], *figures = json_object_get(r, "figures");
    const char *name = text_of(r, "study");
    const int n = sg_report_book_n_claims(b, i), good = n_hold(b, i);
    fputs("<section id=\"", to);
    sg_html_text(to, name);
    fputs("\">", to);
    sg_html_element(to, "h1", "", name);
    sg_html_element(to, "p", "question", text_of(r, "question"));
    fprintf(to, "<p class=\"verdict %s\">%d of %d claims hold, with their controls</p>\n", good == n ? "yes" : "no",
            good, n);
    if (text_of(r, "setup"))
        sg_html_element(to, "p", "soft small", text_of(r, "setup"));
    for (size_t k = 0; k < json_array_size(figures); k++) {
        sg_arena *arena = sg_arena_new();
        sg_figure f;
        const bool made = arena && figure_of(arena, &f, json_array_get(figures, k), name);
        if (made)
            sg_html_figure(to, &f);
        sg_arena_free(arena);
        if (!made)
            return sg_fail(err, SG_ENOMEM, "report %s: out of memory for a figure", name);
    }
    for (int k = 0; k < n; k++)
        claim(to, claim_at(b, i, k));
    fputs("</section>\n", to);
    return SG_OK;
}

sg_status sg_report_book_write_html(const sg_report_book *b, FILE *to, sg_error *err)
{
    int all = 0, good = 0;
    for (int i = 0; i < b->n; i++) {
        all += sg_report_book_n_claims(b, i);
        good += n_hold(b, i);
    }
    sg_html_open(to, "Sightglass studies");
    fputs("<header><p class=\"soft small\">Sightglass</p><h1>Studies</h1>", to);
    fprintf(to, "<p class=\"verdict %s\">%d of %d claims of %d stud%s hold, with their controls</p></header>\n",
            good == all ? "yes" : "no", good, all, b->n, b->n == 1 ? "y" : "ies");
    contents(b, to);
    for (int i = 0; i < b->n; i++)
        SG_TRY(study(b, i, to, err));
    sg_html_close(to);
    return ferror(to) ? sg_fail(err, SG_EIO, "the page of reports could not be written") : SG_OK;
}

sg_status sg_report_book_save_html(const sg_report_book *b, const char *path, sg_error *err)
{
    sg_writer *w;
    SG_TRY(sg_writer_begin(&w, path, err));
    return sg_writer_end(w, sg_report_book_write_html(b, sg_writer_stream(w), err), err);
}
