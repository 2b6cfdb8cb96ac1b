/* A report as one page. Everything is inside: nothing is asked of any machine, and nothing runs. Light or dark is the
 * reader's setting; narrow screens stack what wide ones put side by side. */
#include <inttypes.h>
#include <string.h>

#include "report/html.h"
#include "report/svg.h"

#define TABLE_MOST 600 /* numbers of a figure that are also given as a table */

/* Series colours after Okabe and Ito's palette, which the common kinds of colour blindness tell apart, darkened on
 * light paper and lightened on dark until each has three times the paper's luminance contrast. */
static const char style[] =
    ":root{color-scheme:light dark;--paper:#fdfdfb;--card:#fff;--ink:#1b1f24;--soft:#5a6370;--rule:#dcdfe3;"
    "--good:#00694c;--bad:#b03a00;--band:#dcebf5;--s0:#0072b2;--s1:#c65200;--s2:#008a64;--s3:#a8447c;--s4:#8a6d00;"
    "--s5:#4a55a8;--c0:#e9ebee;--c1:#8cc5ea;--c2:#f3c98b;--c3:#7fd0b4;--c4:#dfa6c6;--c5:#c9c98a}"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1c2024;--ink:#e7eaed;--soft:#a0a9b4;--rule:#"
    "353b42;"
    "--good:#4fd1a5;--bad:#ff9d66;--band:#1f3a4d;--s0:#56b4e9;--s1:#ff9248;--s2:#36c79b;--s3:#e391bf;--s4:#e6c34a;"
    "--s5:#9aa5f2;--c0:#2b3036;--c1:#1f5f8a;--c2:#8a5a12;--c3:#12664b;--c4:#7a3c60;--c5:#5c5c1e}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 "
    "system-ui,sans-serif}"
    "main{max-width:60rem;margin:0 auto;padding:2rem 1rem 4rem}h1{font-size:1.7rem;line-height:1.2;margin:.1em 0}"
    "h2{font-size:1.15rem;margin:0 0 .2em}h3{font-size:1rem;margin:0 0 .3em;display:flex;gap:.6em;align-items:baseline;"
    "flex-wrap:wrap}p{margin:.3em 0;max-width:44rem}.soft{color:var(--soft)}.small{font-size:.875rem}"
    ".question{font-size:1.15rem}.verdict{font-weight:600;border-left:4px solid;padding-left:.7em;margin:1em 0}"
    ".yes{color:var(--good)}.no{color:var(--bad)}section{margin-top:2.2rem}"
    "figure{margin:0 0 2.4rem}.panels{display:grid;gap:.6rem 1rem;margin-top:.6rem}"
    ".panels "
    "svg,.strip{display:block;width:100%;height:auto}.arrows{grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr))"
    "}"
    ".matrix.many{grid-template-columns:repeat(auto-fit,minmax(10rem,1fr))}.many.lines,.many.points{grid-template-"
    "columns:"
    "repeat(auto-fit,minmax(min(18rem,100%),1fr))}.one{max-width:34rem}.matrix.one{max-width:26rem}"
    "svg text{fill:var(--ink);font:11px system-ui,sans-serif}svg .m{text-anchor:middle}svg .e{text-anchor:end}svg .b{"
    "font-weight:600}svg .w{fill:var(--paper)}svg .k{font-size:10px}.a{stroke:var(--soft);stroke-width:1;fill:none}.d{"
    "stroke-dasharray:2 3}.g{stroke:var(--rule);stroke-width:1}.l{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".o{fill:none;stroke-width:3.2;stroke-linecap:round;stroke-opacity:.35}.p{fill:var(--s0)}.n{fill:var(--s1)}"
    ".s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}.s5{"
    "stroke:var(--s5)}.f0{fill:var(--s0)}.f1{fill:var(--s1)}.f2{fill:var(--s2)}.f3{fill:var(--s3)}.f4{fill:var(--s4)}"
    ".f5{fill:var(--s5)}.c0{fill:var(--c0)}.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}"
    ".c5{fill:var(--c5)}.band{fill:var(--band);stroke:var(--soft);stroke-width:.5}"
    ".legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0;margin:.4rem 0;font-size:.875rem}"
    ".legend svg{width:14px;height:14px;vertical-align:-2px;margin-right:.4em}"
    "article{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:.9rem 1rem;margin:0 0 1rem}"
    "dl{display:grid;grid-template-columns:6rem 1fr;gap:.15rem .8rem;margin:.6rem 0 "
    "0;font-size:.9375rem}dt{color:var(--soft)}"
    "dd{margin:0;min-width:0;overflow-wrap:anywhere}.strip{max-width:15rem;margin-top:.15rem}"
    "details{font-size:.875rem;margin-top:.4rem}summary{cursor:pointer;color:var(--soft)}.scroll{overflow-x:auto}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin-top:.4rem}th,td{padding:.1rem "
    ".6rem;text-align:right;"
    "border-bottom:1px solid var(--rule);white-space:nowrap}th{font-weight:600}.t{text-align:left}"
    "@media(max-width:30rem){dl{grid-template-columns:1fr;gap:0}dt{margin-top:.4rem}main{padding-top:1rem}}"
    "@media print{article,figure{break-inside:avoid}}";

void sg_html_element(FILE *to, const char *tag, const char *classes, const char *text)
{
    fprintf(to, "<%s%s%s%s>", tag, *classes ? " class=\"" : "", classes, *classes ? "\"" : "");
    sg_html_text(to, text);
    fprintf(to, "</%s>\n", tag);
}

void sg_html_open(FILE *to, const char *title)
{
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">",
          to);
    sg_html_element(to, "title", "", title);
    fprintf(to, "<style>%s</style></head>\n<body><main>", style);
}

void sg_html_close(FILE *to)
{
    fputs("</main></body></html>\n", to);
}

/* ---- figures ---- */

static void legend(FILE *to, const sg_figure *f)
{
    static const char *const shape[] = {"<circle cx=\"7\" cy=\"7\" r=\"4.5\"", "<path d=\"M7 1.5l5.5 10h-11z\"",
                                        "<path d=\"M2.5 2.5h9v9h-9z\"", "<path d=\"M7 1l6 6l-6 6l-6 -6z\""};
    const int n_series =
        f->kind == SG_FIGURE_MATRIX || f->kind == SG_FIGURE_ARROWS || !f->n_panels ? 0 : f->panels[0].n_series;
    const int n = f->kind == SG_FIGURE_MATRIX ? f->n_names : n_series > 1 ? n_series : 0;
    if (n == 0)
        return;
    fputs("<ul class=\"legend\">", to);
    for (int i = 0; i < n; i++) {
        if (f->kind == SG_FIGURE_MATRIX)
            fprintf(to,
                    "<li><svg viewBox=\"0 0 14 14\" aria-hidden=\"true\"><rect width=\"14\" height=\"14\" "
                    "class=\"c%d\"/></svg>",
                    i % 6);
        else
            fprintf(to, "<li><svg viewBox=\"0 0 14 14\" aria-hidden=\"true\">%s class=\"f%d\"/></svg>", shape[i % 4],
                    i % 6);
        sg_html_text(to, f->kind == SG_FIGURE_MATRIX ? f->names[i] : f->panels[0].series[i].name);
        fputs("</li>", to);
    }
    fputs("</ul>\n", to);
}

static void header_cells(FILE *to, int n, const char *const *text)
{
    fputs("<tr>", to);
    for (int i = 0; i < n; i++) {
        fputs("<th scope=\"col\">", to);
        sg_html_text(to, text[i]);
        fputs("</th>", to);
    }
    fputs("</tr>", to);
}

static void series_rows(FILE *to, const sg_figure *f, const sg_panel *p)
{
    char x[SG_NUMBER_TEXT], y[SG_NUMBER_TEXT];
    (void)f;
    for (int s = 0; s < p->n_series; s++)
        for (int i = 0; i < p->series[s].n; i++) {
            fputs("<tr><td>", to);
            sg_html_text(to, p->title);
            fputs("</td><td>", to);
            sg_html_text(to, p->series[s].name);
            fprintf(to, "</td><td>%s</td><td>%s</td></tr>", sg_number_text(p->series[s].x[i], x),
                    sg_number_text(p->series[s].y[i], y));
        }
}

static void matrix_rows(FILE *to, const sg_figure *f, const sg_panel *p)
{
    char number[SG_NUMBER_TEXT];
    for (int i = 0; i < p->n_rows; i++) {
        fputs("<tr><td>", to);
        sg_html_text(to, p->title);
        fprintf(to, "</td><th scope=\"row\">%s</th>", sg_number_text(sg_panel_row(p, i), number));
        for (int k = 0; k < p->n_columns; k++) {
            const double value = p->cells[i * p->n_columns + k];
            const bool named = f->n_names && value >= 0 && value < f->n_names;
            fputs("<td>", to);
            sg_html_text(to, named ? f->names[(int)value] : sg_number_text(value, number));
            fputs("</td>", to);
        }
        fputs("</tr>", to);
    }
}

static int n_numbers(const sg_figure *f)
{
    int n = 0;
    for (int i = 0; i < f->n_panels; i++) {
        n += f->panels[i].n_rows * f->panels[i].n_columns;
        for (int s = 0; s < f->panels[i].n_series; s++)
            n += 2 * f->panels[i].series[s].n;
    }
    return n;
}

static void numbers(FILE *to, const sg_figure *f)
{
    char x[SG_LABEL_TEXT], y[SG_LABEL_TEXT];
    if (n_numbers(f) > TABLE_MOST)
        return;
    fputs("<details><summary>The numbers</summary><div class=\"scroll\"><table>", to);
    const char *const of_series[] = {"panel", "series", sg_axis_text(&f->x, x), sg_axis_text(&f->y, y)};
    const char *const of_matrix[] = {"panel", of_series[3], of_series[2]};
    if (f->kind == SG_FIGURE_MATRIX)
        header_cells(to, 3, of_matrix);
    else
        header_cells(to, 4, of_series);
    for (int i = 0; i < f->n_panels; i++) {
        if (f->kind == SG_FIGURE_MATRIX)
            matrix_rows(to, f, &f->panels[i]);
        else
            series_rows(to, f, &f->panels[i]);
    }
    fputs("</table></div></details>\n", to);
}

void sg_html_figure(FILE *to, const sg_figure *f)
{
    static const char *const kind[] = {"lines", "points", "arrows", "matrix"};
    fputs("<figure id=\"", to);
    sg_html_text(to, f->id);
    fputs("\"><figcaption>", to);
    sg_html_element(to, "h2", "", f->title);
    if (f->caption)
        sg_html_element(to, "p", "soft small", f->caption);
    fputs("</figcaption>", to);
    fprintf(to, "<div class=\"panels %s %s\">\n", kind[f->kind], f->n_panels > 1 ? "many" : "one");
    for (int i = 0; i < f->n_panels; i++)
        sg_svg_panel(to, f, i);
    fputs("</div>\n", to);
    legend(to, f);
    numbers(to, f);
    fputs("</figure>\n", to);
}

/* ---- claims ---- */

static void measure(FILE *to, const char *term, const char *before, const sg_measure *m)
{
    char value[SG_VALUE_TEXT], wanted[SG_CRITERION_TEXT];
    fprintf(to, "<dt>%s</dt><dd>", term);
    if (before) {
        sg_html_text(to, before);
        fputs("<br>", to);
    }
    sg_html_text(to, m->what);
    fprintf(to, ": <strong>%s</strong>, wanted %s <span class=\"%s\">%s</span>", sg_measure_text(m, value),
            sg_measure_criterion(m, wanted), sg_measure_holds(m) ? "yes" : "no", sg_measure_holds(m) ? "✓" : "✗");
    sg_svg_strip(to, m);
    fputs("</dd>\n", to);
}

static void claim(FILE *to, const sg_claim *c)
{
    const bool holds = sg_claim_holds(c);
    char paper[SG_VALUE_TEXT];
    fputs("<article id=\"", to);
    sg_html_text(to, c->id);
    fputs("\"><h3>", to);
    sg_html_text(to, c->id);
    fprintf(to, " <span class=\"%s\">%s</span></h3>\n", holds ? "yes" : "no",
            holds                            ? "✓ holds"
            : sg_measure_holds(&c->measured) ? "✗ its control does not hold"
                                             : "✗ does not hold");
    sg_html_element(to, "p", "", c->text);
    fputs("<dl>", to);
    measure(to, "measured", NULL, &c->measured);
    measure(to, "control", c->control.text, &c->control.measured);
    fputs("<dt>seeds</dt><dd>", to);
    for (int i = 0; i < c->n_seeds; i++)
        fprintf(to, "%s%" PRIu64, i ? ", " : "", c->seeds[i]);
    fputs("</dd>\n<dt>source</dt><dd>", to);
    sg_html_text(to, c->source);
    if (*sg_paper_text(c->paper, paper)) {
        fputs("; ", to);
        sg_html_text(to, paper);
    }
    fputs("</dd></dl></article>\n", to);
}

void sg_html_term(FILE *to, const char *name, const char *text)
{
    fprintf(to, "<dt>%s</dt>", name);
    sg_html_element(to, "dd", "", text);
}

static void foot(FILE *to, const sg_report_info *info)
{
    char number[64];
    fputs("<footer><section class=\"soft small\"><h2>The run</h2><dl>", to);
    if (info->setup)
        sg_html_term(to, "set-up", info->setup);
    sg_html_term(to, "commit", info->commit);
    snprintf(number, sizeof number, "%" PRIu64, info->seed);
    sg_html_term(to, "seed", number);
    sg_html_term(to, "backend", info->backend);
    snprintf(number, sizeof number, "%d", info->threads);
    sg_html_term(to, "threads", number);
    sg_html_term(to, "processor", info->cpu);
    snprintf(number, sizeof number, "%.1f s", info->seconds);
    sg_html_term(to, "time", number);
    fputs("</dl></section></footer>\n", to);
}

sg_status sg_report_write_html(const sg_report *r, FILE *to, sg_error *err)
{
    SG_TRY(sg_report_check(r, err));
    const sg_report_info *info = sg_report_about(r);
    int n_hold = 0;
    for (int i = 0; i < sg_report_n_claims(r); i++)
        n_hold += sg_claim_holds(sg_report_claim(r, i));
    sg_html_open(to, info->study);
    fputs("<header><p class=\"soft small\">Sightglass study, ", to);
    sg_html_text(to, info->budget);
    fputs(" budget</p>", to);
    sg_html_element(to, "h1", "", info->study);
    sg_html_element(to, "p", "question", info->question);
    fprintf(to, "<p class=\"verdict %s\">%d of %d claims hold, with their controls</p></header>\n",
            sg_report_holds(r) ? "yes" : "no", n_hold, sg_report_n_claims(r));
    fputs("<section aria-label=\"Figures\">\n", to);
    for (int i = 0; i < sg_report_n_figures(r); i++)
        sg_html_figure(to, sg_report_figure(r, i));
    fputs("</section><section><h2>Claims</h2>\n", to);
    for (int i = 0; i < sg_report_n_claims(r); i++)
        claim(to, sg_report_claim(r, i));
    fputs("</section>", to);
    foot(to, info);
    sg_html_close(to);
    return ferror(to) ? sg_fail(err, SG_EIO, "report %s: the page could not be written", info->study) : SG_OK;
}
