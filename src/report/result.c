/* A result copies what it is given into one arena, as a report does. Every writer asks sg_result_check first, so that
 * no number leaves without its control. */
#include "sightglass/result.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "report/html.h"
#include "report/json.h"
#include "report/report_internal.h"
#include "report/svg.h"

/* Items in the order in which they were added. */
typedef struct list {
    int n, capacity;
    size_t size;
    void *items;
} list;

struct sg_result {
    sg_arena *arena;
    sg_manifest about;
    list findings, tables, figures, files, notes;
};

static sg_status out_of_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "result: out of memory");
}

static sg_status append(sg_result *r, list *l, const void *item, bool good, sg_error *err)
{
    if (good && l->n == l->capacity) {
        const int capacity = SG_MAX(8, 2 * l->capacity);
        void *more = sg_arena_array(r->arena, (size_t)capacity, l->size);
        if (more && l->n)
            memcpy(more, l->items, (size_t)l->n * l->size);
        l->items = more;
        l->capacity = capacity;
    }
    if (!good || !l->items)
        return out_of_memory(err);
    memcpy((char *)l->items + (size_t)l->n++ * l->size, item, l->size);
    return SG_OK;
}

sg_status sg_result_new(sg_result **out, const sg_manifest *about, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_result *r = arena ? sg_arena_alloc(arena, sizeof *r) : NULL;
    if (!r) {
        sg_arena_free(arena);
        return out_of_memory(err);
    }
    r->arena = arena;
    r->findings.size = sizeof(sg_finding);
    r->tables.size = sizeof(sg_result_table);
    r->figures.size = sizeof(sg_figure);
    r->files.size = sizeof(sg_result_file);
    r->notes.size = sizeof(const char *);
    const sg_status status = sg_result_set_manifest(r, about, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = r;
    return SG_OK;
}

void sg_result_free(sg_result *r)
{
    if (r)
        sg_arena_free(r->arena);
}

sg_status sg_result_set_manifest(sg_result *r, const sg_manifest *about, sg_error *err)
{
    bool good = true;
    sg_manifest copy = *about;
    const char **text[] = {&copy.method, &copy.build,     &copy.model,   &copy.model_hash,
                           &copy.data,   &copy.data_hash, &copy.options, &copy.backend};
    for (size_t i = 0; i < SG_COUNT_OF(text); i++)
        *text[i] = sg_text_copy(r->arena, *text[i], &good);
    if (!good)
        return out_of_memory(err);
    r->about = copy;
    return SG_OK;
}

sg_status sg_result_add(sg_result *r, const sg_finding *f, sg_error *err)
{
    bool good = true;
    sg_finding copy = *f;
    copy.id = sg_text_copy(r->arena, f->id, &good);
    copy.where = sg_text_copy(r->arena, f->where, &good);
    copy.text = sg_text_copy(r->arena, f->text, &good);
    copy.control = sg_text_copy(r->arena, f->control, &good);
    return append(r, &r->findings, &copy, good, err);
}

/* Bytes of a text that are no UTF-8, as parts of a character that is several tokens are, in figures: "\\xE2". */
static const char *readable_copy(sg_arena *arena, const char *text, bool *good)
{
    sg_str s = {0};
    bool odd = false;
    for (const unsigned char *at = (const unsigned char *)text; at && *at;) {
        utf8proc_int32_t sign;
        const utf8proc_ssize_t n = utf8proc_iterate(at, -1, &sign);
        if (n > 0)
            sg_str_append(&s, (const char *)at, (size_t)n);
        else
            sg_str_printf(&s, "\\x%02X", *at);
        odd |= n <= 0;
        at += n > 0 ? n : 1;
    }
    *good = *good && !s.failed;
    const char *copy = sg_text_copy(arena, odd && !s.failed ? s.text : text, good);
    sg_str_free(&s);
    return copy;
}

sg_status sg_result_add_table(sg_result *r, const sg_result_table *t, sg_error *err)
{
    bool good = true;
    sg_result_table copy = *t;
    const size_t n_cells = (size_t)t->n_rows * (size_t)t->n_columns;
    copy.id = sg_text_copy(r->arena, t->id, &good);
    copy.title = sg_text_copy(r->arena, t->title, &good);
    copy.control = sg_text_copy(r->arena, t->control, &good);
    const char **columns = sg_bytes_copy(r->arena, t->columns, (size_t)t->n_columns, sizeof *columns, &good);
    for (int i = 0; i < t->n_columns && columns; i++)
        columns[i] = sg_text_copy(r->arena, columns[i], &good);
    copy.columns = columns;
    sg_cell *cells = sg_bytes_copy(r->arena, t->cells, n_cells, sizeof *cells, &good);
    for (size_t i = 0; i < n_cells && cells; i++)
        cells[i].text = readable_copy(r->arena, cells[i].text, &good);
    copy.cells = cells;
    return append(r, &r->tables, &copy, good, err);
}

sg_status sg_result_add_figure(sg_result *r, const sg_figure *f, sg_error *err)
{
    bool good = true;
    const sg_figure copy = sg_figure_copy(r->arena, f, &good);
    return append(r, &r->figures, &copy, good, err);
}

sg_status sg_result_add_file(sg_result *r, const char *path, const char *what, sg_error *err)
{
    bool good = true;
    const sg_result_file copy = {sg_text_copy(r->arena, path, &good), sg_text_copy(r->arena, what, &good)};
    return append(r, &r->files, &copy, good, err);
}

sg_status sg_result_note(sg_result *r, const char *fmt, ...)
{
    char text[1024];
    bool good = true;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *copy = readable_copy(r->arena, text, &good);
    return append(r, &r->notes, &copy, good, NULL);
}

/* ---- looking at it ---- */

const sg_manifest *sg_result_about(const sg_result *r)
{
    return &r->about;
}

int sg_result_n_findings(const sg_result *r)
{
    return r->findings.n;
}

const sg_finding *sg_result_finding(const sg_result *r, int i)
{
    SG_ASSERT(i >= 0 && i < r->findings.n);
    return (const sg_finding *)r->findings.items + i;
}

sg_finding sg_finding_of(const char *id, const char *text, double value, int64_t n, const char *control,
                         double control_value)
{
    return (sg_finding){.id = id,
                        .text = text,
                        .value = value,
                        .low = (double)NAN,
                        .high = (double)NAN,
                        .n = n,
                        .control = control,
                        .control_value = control_value,
                        .control_low = (double)NAN,
                        .control_high = (double)NAN,
                        .least = -(double)INFINITY,
                        .most = (double)INFINITY};
}

bool sg_finding_holds(const sg_finding *f)
{
    return !f->judged || (f->value >= f->least && f->value <= f->most);
}

int sg_result_n_tables(const sg_result *r)
{
    return r->tables.n;
}

const sg_result_table *sg_result_get_table(const sg_result *r, int i)
{
    SG_ASSERT(i >= 0 && i < r->tables.n);
    return (const sg_result_table *)r->tables.items + i;
}

static const sg_figure *figure_at(const sg_result *r, int i)
{
    return (const sg_figure *)r->figures.items + i;
}

static const sg_result_file *file_at(const sg_result *r, int i)
{
    return (const sg_result_file *)r->files.items + i;
}

static const char *note_at(const sg_result *r, int i)
{
    return ((const char *const *)r->notes.items)[i];
}

static bool is_empty(const char *text)
{
    return !text || !*text;
}

sg_status sg_result_check(const sg_result *r, sg_error *err)
{
    const char *method = r->about.method ? r->about.method : "result";
    for (int i = 0; i < r->findings.n; i++) {
        const sg_finding *f = sg_result_finding(r, i);
        if (is_empty(f->id) || is_empty(f->text))
            return sg_fail(err, SG_EARG, "%s: number %d has no %s", method, i, is_empty(f->id) ? "name" : "text");
        if (is_empty(f->control) || isnan(f->control_value))
            return sg_fail(err, SG_EARG, "%s: %s has no control, and no number is told without one", method, f->id);
    }
    for (int i = 0; i < r->tables.n; i++) {
        const sg_result_table *t = sg_result_get_table(r, i);
        if (is_empty(t->title) || is_empty(t->control))
            return sg_fail(err, SG_EARG, "%s: the table %s does not say what its %s", method, t->id ? t->id : "",
                           is_empty(t->title) ? "title is" : "control is, and no number is told without one");
    }
    return SG_OK;
}

/* ---- JSON ---- */

static json_t *or_null(json_t *value)
{
    return value ? value : json_null();
}

static json_t *manifest_json(const sg_manifest *m)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:I, s:o}", "method", sg_text_json(m->method),
                     "build", sg_text_json(m->build), "model", sg_text_json(m->model), "model_hash",
                     sg_text_json(m->model_hash), "data", sg_text_json(m->data), "data_hash",
                     sg_text_json(m->data_hash), "options", sg_text_json(m->options), "backend",
                     sg_text_json(m->backend), "threads", m->threads, "seed", (json_int_t)m->seed, "seconds",
                     sg_number_json(m->seconds));
}

static json_t *criterion_json(const sg_finding *f)
{
    char words[SG_CRITERION_TEXT];
    const sg_measure m = {.what = f->text, .low = f->least, .high = f->most};
    return f->judged ? json_string(sg_measure_criterion(&m, words)) : json_null();
}

static json_t *finding_json(const sg_finding *f)
{
    return json_pack("{s:s, s:o, s:s, s:o, s:[o,o], s:I, s:o, s:o, s:{s:s, s:o, s:[o,o]}}", "id", f->id, "where",
                     sg_text_json(f->where), "text", f->text, "value", sg_number_json(f->value), "interval",
                     sg_number_json(f->low), sg_number_json(f->high), "n", (json_int_t)f->n, "criterion",
                     criterion_json(f), "holds", f->judged ? json_boolean(sg_finding_holds(f)) : json_null(), "control",
                     "text", f->control, "value", sg_number_json(f->control_value), "interval",
                     sg_number_json(f->control_low), sg_number_json(f->control_high));
}

static json_t *table_json(const sg_result_table *t)
{
    json_t *columns = json_array(), *rows = json_array();
    for (int k = 0; k < t->n_columns; k++)
        json_array_append_new(columns, sg_text_json(t->columns[k]));
    for (int i = 0; i < t->n_rows; i++) {
        json_t *row = json_array();
        for (int k = 0; k < t->n_columns; k++) {
            const sg_cell *c = &t->cells[i * t->n_columns + k];
            json_array_append_new(row, c->text ? sg_text_json(c->text) : sg_number_json(c->number));
        }
        json_array_append_new(rows, row);
    }
    return json_pack("{s:o, s:s, s:s, s:o, s:o}", "id", sg_text_json(t->id), "title", t->title, "control", t->control,
                     "columns", or_null(columns), "rows", or_null(rows));
}

static json_t *result_json(const sg_result *r)
{
    json_t *findings = json_array(), *tables = json_array(), *figures = json_array(), *files = json_array(),
           *notes = json_array();
    bool good = findings && tables && figures && files && notes;
    for (int i = 0; i < r->findings.n && good; i++)
        good = json_array_append_new(findings, finding_json(sg_result_finding(r, i))) == 0;
    for (int i = 0; i < r->tables.n && good; i++)
        good = json_array_append_new(tables, table_json(sg_result_get_table(r, i))) == 0;
    for (int i = 0; i < r->figures.n && good; i++)
        good = json_array_append_new(figures, sg_figure_json(figure_at(r, i))) == 0;
    for (int i = 0; i < r->files.n && good; i++)
        good = json_array_append_new(files, json_pack("{s:s, s:o}", "path", file_at(r, i)->path, "what",
                                                      sg_text_json(file_at(r, i)->what))) == 0;
    for (int i = 0; i < r->notes.n && good; i++)
        good = json_array_append_new(notes, sg_text_json(note_at(r, i))) == 0;
    json_t *root = NULL;
    if (good)
        root = json_pack("{s:o, s:O, s:O, s:O, s:O, s:O}", "manifest", manifest_json(&r->about), "findings", findings,
                         "tables", tables, "figures", figures, "files", files, "notes", notes);
    json_decref(findings);
    json_decref(tables);
    json_decref(figures);
    json_decref(files);
    json_decref(notes);
    return root;
}

sg_status sg_result_write_json(const sg_result *r, FILE *to, sg_error *err)
{
    SG_TRY(sg_result_check(r, err));
    json_t *root = result_json(r);
    if (!root)
        return sg_fail(err, SG_ENOMEM, "result: out of memory for JSON, or a text that is not UTF-8");
    const bool good = sg_json_lines(root, to);
    json_decref(root);
    return good ? SG_OK : sg_fail(err, SG_EIO, "result: the JSON could not be written");
}

/* ---- text ---- */

/* "0.61 (0.55 to 0.67)", or the number alone. */
static const char *interval(double value, double low, double high, char buf[SG_VALUE_TEXT])
{
    char a[SG_NUMBER_TEXT], b[SG_NUMBER_TEXT], c[SG_NUMBER_TEXT];
    if (isnan(low) || isnan(high))
        snprintf(buf, SG_VALUE_TEXT, "%s", sg_number_text(value, a));
    else
        snprintf(buf, SG_VALUE_TEXT, "%s (%s to %s)", sg_number_text(value, a), sg_number_text(low, b),
                 sg_number_text(high, c));
    return buf;
}

static const char *cell_text(const sg_cell *c, char buf[SG_NUMBER_TEXT])
{
    if (c->text)
        return c->text;
    return isnan(c->number) ? "-" : sg_number_text(c->number, buf);
}

static int columns_of(const char *text)
{
    return sg_text_width(text, strlen(text));
}

static void table_text(FILE *to, const sg_result_table *t, bool colour)
{
    char buf[SG_NUMBER_TEXT];
    fprintf(to, "\n%s%s%s\n", colour ? "\x1b[1m" : "", t->title, colour ? "\x1b[0m" : "");
    for (int i = -1; i < t->n_rows; i++) {
        for (int k = 0; k < t->n_columns; k++) {
            int width = columns_of(t->columns[k]);
            bool words = false;
            for (int j = 0; j < t->n_rows; j++) {
                width = SG_MAX(width, columns_of(cell_text(&t->cells[j * t->n_columns + k], buf)));
                words |= t->cells[j * t->n_columns + k].text != NULL;
            }
            const char *text = i < 0 ? t->columns[k] : cell_text(&t->cells[i * t->n_columns + k], buf);
            const int pad = width - columns_of(text);
            const bool last = k + 1 == t->n_columns;
            fprintf(to, "%s%*s%s%*s", k ? "  " : "  ", words ? 0 : pad, "", text, words && !last ? pad : 0, "");
        }
        fputc('\n', to);
    }
    sg_text_paragraph(to, "  control: ", t->control);
}

static void finding_text(FILE *to, const sg_finding *f, bool colour)
{
    char value[SG_VALUE_TEXT], control[SG_VALUE_TEXT], words[SG_CRITERION_TEXT], n[32] = "";
    sg_str s = {0};
    const sg_measure m = {.what = f->text, .low = f->least, .high = f->most};
    if (f->n > 0)
        snprintf(n, sizeof n, ", n %" PRId64, f->n);
    fprintf(to, "%s%s%s%s%s%s%s\n", f->judged ? sg_text_mark(sg_finding_holds(f), colour) : "", f->judged ? " " : "",
            colour ? "\x1b[1m" : "", f->id, colour ? "\x1b[0m" : "", f->where ? "  at " : "", f->where ? f->where : "");
    sg_str_printf(&s, "%s: %s%s%s%s", f->text, interval(f->value, f->low, f->high, value), n,
                  f->judged ? ", wanted " : "", f->judged ? sg_measure_criterion(&m, words) : "");
    if (!s.failed)
        sg_text_paragraph(to, "    ", s.text);
    sg_str_free(&s);
    s = (sg_str){0};
    sg_str_printf(&s, "%s: %s", f->control, interval(f->control_value, f->control_low, f->control_high, control));
    if (!s.failed)
        sg_text_paragraph(to, "    control  ", s.text);
    sg_str_free(&s);
}

static void manifest_text(FILE *to, const sg_manifest *m)
{
    sg_str s = {0};
    sg_str_printf(&s, "%s", m->method ? m->method : "result");
    if (m->model)
        sg_str_printf(&s, ", model %s%s%.12s", m->model, m->model_hash ? " " : "", m->model_hash ? m->model_hash : "");
    if (m->data)
        sg_str_printf(&s, ", data %s%s%.12s", m->data, m->data_hash ? " " : "", m->data_hash ? m->data_hash : "");
    sg_str_printf(&s, ", seed %" PRIu64 ", %s, %d thread%s, %s, %.1f s", m->seed, m->backend ? m->backend : "?",
                  m->threads, m->threads == 1 ? "" : "s", m->build ? m->build : "unknown build", m->seconds);
    if (!s.failed)
        sg_text_paragraph(to, "", s.text);
    sg_str_free(&s);
}

sg_status sg_result_write_text(const sg_result *r, FILE *to, bool colour, sg_error *err)
{
    SG_TRY(sg_result_check(r, err));
    for (int i = 0; i < r->findings.n; i++)
        finding_text(to, sg_result_finding(r, i), colour);
    for (int i = 0; i < r->tables.n; i++)
        table_text(to, sg_result_get_table(r, i), colour);
    for (int i = 0; i < r->figures.n; i++) {
        const sg_figure *f = figure_at(r, i);
        fprintf(to, "\n%s%s%s\n", colour ? "\x1b[1m" : "", f->title, colour ? "\x1b[0m" : "");
        if (f->caption)
            sg_text_paragraph(to, "", f->caption);
        SG_TRY(sg_figure_write_text(f, to, colour, err));
    }
    if (r->notes.n || r->files.n)
        fputc('\n', to);
    for (int i = 0; i < r->notes.n; i++)
        sg_text_paragraph(to, "note: ", note_at(r, i));
    for (int i = 0; i < r->files.n; i++)
        fprintf(to, "wrote %s%s%s\n", file_at(r, i)->path, file_at(r, i)->what ? ": " : "",
                file_at(r, i)->what ? file_at(r, i)->what : "");
    fputc('\n', to);
    manifest_text(to, &r->about);
    return ferror(to) ? sg_fail(err, SG_EIO, "result: could not be written") : SG_OK;
}

/* ---- a page ---- */

static void finding_html(FILE *to, const sg_finding *f)
{
    char value[SG_VALUE_TEXT], words[SG_CRITERION_TEXT], number[64];
    const sg_measure m = {.what = f->text, .low = f->least, .high = f->most};
    fputs("<article><h3>", to);
    sg_html_text(to, f->id);
    if (f->where) {
        fputs(" <span class=\"soft small\">at ", to);
        sg_html_text(to, f->where);
        fputs("</span>", to);
    }
    if (f->judged)
        fprintf(to, " <span class=\"%s\">%s</span>", sg_finding_holds(f) ? "yes" : "no",
                sg_finding_holds(f) ? "✓" : "✗");
    fputs("</h3>", to);
    sg_html_element(to, "p", "", f->text);
    fputs("<dl>", to);
    sg_html_term(to, "value", interval(f->value, f->low, f->high, value));
    if (f->judged)
        sg_html_term(to, "wanted", sg_measure_criterion(&m, words));
    snprintf(number, sizeof number, "%" PRId64, f->n);
    if (f->n > 0)
        sg_html_term(to, "n", number);
    fputs("<dt>control</dt><dd>", to);
    sg_html_text(to, f->control);
    fputs(": ", to);
    sg_html_text(to, interval(f->control_value, f->control_low, f->control_high, value));
    fputs("</dd></dl></article>\n", to);
}

static void table_html(FILE *to, const sg_result_table *t)
{
    char buf[SG_NUMBER_TEXT];
    sg_html_element(to, "h2", "", t->title);
    fputs("<div class=\"scroll\"><table><tr>", to);
    for (int k = 0; k < t->n_columns; k++)
        sg_html_element(to, "th", "", t->columns[k]);
    fputs("</tr>\n", to);
    for (int i = 0; i < t->n_rows; i++) {
        fputs("<tr>", to);
        for (int k = 0; k < t->n_columns; k++)
            sg_html_element(to, "td", "", cell_text(&t->cells[i * t->n_columns + k], buf));
        fputs("</tr>\n", to);
    }
    fputs("</table></div>", to);
    fputs("<p class=\"soft small\">Control: ", to);
    sg_html_text(to, t->control);
    fputs("</p>\n", to);
}

static void manifest_html(FILE *to, const sg_manifest *m)
{
    char number[64];
    const struct {
        const char *name, *text;
    } terms[] = {{"model", m->model},     {"its hash", m->model_hash}, {"data", m->data},  {"hash", m->data_hash},
                 {"options", m->options}, {"backend", m->backend},     {"build", m->build}};
    fputs("<footer><section class=\"soft small\"><h2>The run</h2><dl>", to);
    for (size_t i = 0; i < SG_COUNT_OF(terms); i++)
        if (terms[i].text)
            sg_html_term(to, terms[i].name, terms[i].text);
    snprintf(number, sizeof number, "%" PRIu64, m->seed);
    sg_html_term(to, "seed", number);
    snprintf(number, sizeof number, "%d", m->threads);
    sg_html_term(to, "threads", number);
    snprintf(number, sizeof number, "%.1f s", m->seconds);
    sg_html_term(to, "time", number);
    fputs("</dl></section></footer>\n", to);
}

sg_status sg_result_write_html(const sg_result *r, FILE *to, sg_error *err)
{
    SG_TRY(sg_result_check(r, err));
    const char *method = r->about.method ? r->about.method : "result";
    sg_html_open(to, method);
    fputs("<header><p class=\"soft small\">Sightglass</p>", to);
    sg_html_element(to, "h1", "", method);
    fputs("</header>\n", to);
    for (int i = 0; i < r->figures.n; i++)
        sg_html_figure(to, figure_at(r, i));
    fputs("<section>", to);
    for (int i = 0; i < r->findings.n; i++)
        finding_html(to, sg_result_finding(r, i));
    fputs("</section>", to);
    for (int i = 0; i < r->tables.n; i++)
        table_html(to, sg_result_get_table(r, i));
    for (int i = 0; i < r->notes.n; i++)
        sg_html_element(to, "p", "", note_at(r, i));
    manifest_html(to, &r->about);
    sg_html_close(to);
    return ferror(to) ? sg_fail(err, SG_EIO, "result: the page could not be written") : SG_OK;
}

/* ---- files ---- */

static sg_status save(sg_status (*write)(const sg_result *, FILE *, sg_error *), const sg_result *r, const char *path,
                      sg_error *err)
{
    sg_writer *w;
    SG_TRY(sg_result_check(r, err)); /* before there is a file */
    SG_TRY(sg_writer_begin(&w, path, err));
    return sg_writer_end(w, write(r, sg_writer_stream(w), err), err);
}

sg_status sg_result_save_json(const sg_result *r, const char *path, sg_error *err)
{
    return save(sg_result_write_json, r, path, err);
}

sg_status sg_result_save_html(const sg_result *r, const char *path, sg_error *err)
{
    return save(sg_result_write_html, r, path, err);
}

sg_status sg_manifest_save(const sg_manifest *about, const char *path, sg_error *err)
{
    sg_writer *w;
    json_t *root = manifest_json(about);
    if (!root)
        return sg_fail(err, SG_ENOMEM, "manifest: out of memory, or a text that is not UTF-8");
    const sg_status status = sg_writer_begin(&w, path, err);
    if (status != SG_OK) {
        json_decref(root);
        return status;
    }
    const bool good = sg_json_lines(root, sg_writer_stream(w));
    json_decref(root);
    if (!good) {
        sg_writer_abort(w);
        return sg_fail(err, SG_EIO, "%s: could not be written", path);
    }
    return sg_writer_commit(w, err);
}
