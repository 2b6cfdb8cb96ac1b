/* Drawing with SVG. Colours are classes that the page's style gives a light and a dark face; a series has a shape
 * beside its colour. A cell of a matrix is one hue by sign, as opaque as it is large, so that zero is the page itself
 * in both. */
#include "report/svg.h"

#include <math.h>
#include <string.h>

#define N_COLOURS 6
#define MARKED    60 /* a series of more points is drawn as one path of dots */

void sg_html_text(FILE *to, const char *text)
{
    for (; text && *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", to);
            break;
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '"':
            fputs("&quot;", to);
            break;
        default:
            fputc(*text, to);
        }
    }
}

static void put_text(FILE *to, double x, double y, const char *classes, const char *text)
{
    fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, classes);
    sg_html_text(to, text);
    fputs("</text>", to);
}

static void begin(FILE *to, const sg_figure *f, int i_panel, double width, double height)
{
    const sg_panel *p = &f->panels[i_panel];
    fprintf(to, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-labelledby=\"", width, height);
    sg_html_text(to, f->id);
    fprintf(to, "-%d\"><title id=\"", i_panel);
    sg_html_text(to, f->id);
    fprintf(to, "-%d\">", i_panel);
    sg_html_text(to, f->title);
    if (p->title) {
        fputs(": ", to);
        sg_html_text(to, p->title);
    }
    fputs("</title>", to);
    if (p->title)
        put_text(to, width / 2, 13, "m b", p->title);
}

/* ---- arrows ---- */

#define ARROWS_SIDE 180.0
#define TITLE       18.0

static void draw_arrow(FILE *to, double x0, double y0, double x1, double y1, int index)
{
    const double length = hypot(x1 - x0, y1 - y0);
    const int colour = index % N_COLOURS;
    char number[16];
    snprintf(number, sizeof number, "%d", index);
    if (length < 4) { /* too short for a head: a dot at the origin */
        fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" class=\"f%d\"><title>feature %d</title></circle>", x1,
                y1, colour, index);
        return;
    }
    const double ux = (x1 - x0) / length, uy = (y1 - y0) / length;
    fprintf(to, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"l s%d\"/>", x0, y0, x1 - 6 * ux,
            y1 - 6 * uy, colour);
    fprintf(to, "<polygon points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\" class=\"f%d\"/>", x1, y1, x1 - 8 * ux - 4 * uy,
            y1 - 8 * uy + 4 * ux, x1 - 8 * ux + 4 * uy, y1 - 8 * uy - 4 * ux, colour);
    put_text(to, x1 + 8 * ux, y1 + 8 * uy + 4, "m", number);
}

static void arrows(FILE *to, const sg_figure *f, int i_panel)
{
    const sg_panel *p = &f->panels[i_panel];
    const sg_range rx = sg_figure_x_range(f), ry = sg_figure_y_range(f);
    begin(to, f, i_panel, ARROWS_SIDE, ARROWS_SIDE + TITLE);
    const double x0 = sg_axis_place(&f->x, rx, 0) * ARROWS_SIDE;
    const double y0 = TITLE + (1 - sg_axis_place(&f->y, ry, 0)) * ARROWS_SIDE;
    const double unit = ARROWS_SIDE / (rx.high - rx.low);
    fprintf(to, "<path d=\"M0 %.1fH%.0fM%.1f %.0fV%.0f\" class=\"a\"/>", y0, ARROWS_SIDE, x0, TITLE,
            ARROWS_SIDE + TITLE);
    fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"a d\"><title>length 1</title></circle>", x0, y0,
            unit);
    int index = 0;
    for (int s = 0; s < p->n_series; s++)
        for (int i = 0; i < p->series[s].n; i++, index++) {
            const double x = sg_axis_place(&f->x, rx, p->series[s].x[i]);
            const double y = sg_axis_place(&f->y, ry, p->series[s].y[i]);
            if (!isnan(x) && !isnan(y))
                draw_arrow(to, x0, y0, x * ARROWS_SIDE, TITLE + (1 - y) * ARROWS_SIDE, index);
        }
    fputs("</svg>", to);
}

/* ---- lines and points ---- */

typedef struct plot {
    double left, top, width, height;
    sg_range x, y;
} plot;

static void axes(FILE *to, const sg_figure *f, const plot *at)
{
    double ticks[SG_MAX_TICKS];
    char text[SG_NUMBER_TEXT], label[SG_LABEL_TEXT];
    int n = sg_axis_ticks(&f->y, at->y, 6, ticks);
    for (int i = 0; i < n; i++) {
        const double y = at->top + (1 - sg_axis_place(&f->y, at->y, ticks[i])) * at->height;
        fprintf(to, "<path d=\"M%.1f %.1fh%.1f\" class=\"g\"/>", at->left, y, at->width);
        put_text(to, at->left - 5, y + 4, "e", sg_number_text(ticks[i], text));
    }
    n = sg_axis_ticks(&f->x, at->x, 7, ticks);
    for (int i = 0; i < n; i++) {
        const double x = at->left + sg_axis_place(&f->x, at->x, ticks[i]) * at->width;
        fprintf(to, "<path d=\"M%.1f %.1fv4\" class=\"a\"/>", x, at->top + at->height);
        put_text(to, x, at->top + at->height + 16, "m", sg_number_text(ticks[i], text));
    }
    fprintf(to, "<path d=\"M%.1f %.1fh%.1f\" class=\"a\"/>", at->left, at->top + at->height, at->width);
    put_text(to, at->left + at->width / 2, at->top + at->height + 32, "m", sg_axis_text(&f->x, label));
    /* The label of the upright axis lies above it, where it can be read without turning the head. */
    put_text(to, 4, at->top - 8, "", sg_axis_text(&f->y, label));
}

static void draw_mark(FILE *to, double x, double y, int s)
{
    const int c = s % N_COLOURS;
    switch (s % 4) {
    case 0:
        fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" class=\"f%d\"/>", x, y, c);
        break;
    case 1:
        fprintf(to, "<path d=\"M%.1f %.1fl4 7h-8z\" class=\"f%d\"/>", x, y - 4, c);
        break;
    case 2:
        fprintf(to, "<path d=\"M%.1f %.1fh6v6h-6z\" class=\"f%d\"/>", x - 3, y - 3, c);
        break;
    default:
        fprintf(to, "<path d=\"M%.1f %.1fl4 4l-4 4l-4 -4z\" class=\"f%d\"/>", x, y - 4, c);
    }
}

static void draw_series(FILE *to, const sg_figure *f, const plot *at, const sg_series *series, int s)
{
    const bool dots = f->kind == SG_FIGURE_POINTS && series->n > MARKED, line = f->kind == SG_FIGURE_LINES;
    if (dots || line)
        fprintf(to, "<path class=\"%s s%d\" d=\"", dots ? "o" : "l", s % N_COLOURS);
    for (int pass = dots || line ? 0 : 1; pass < (dots || series->n > MARKED ? 1 : 2); pass++) {
        bool broken = true;
        for (int i = 0; i < series->n; i++) {
            const double x = at->left + sg_axis_place(&f->x, at->x, series->x[i]) * at->width;
            const double y = at->top + (1 - sg_axis_place(&f->y, at->y, series->y[i])) * at->height;
            const bool inside = x >= at->left - 0.1 && x <= at->left + at->width + 0.1 && y >= at->top - 0.1 &&
                                y <= at->top + at->height + 0.1;
            if (inside && pass == 0)
                fprintf(to, "%c%.1f %.1f%s", broken || dots ? 'M' : 'L', x, y, dots ? "h0" : "");
            else if (inside)
                draw_mark(to, x, y, s);
            broken = !inside;
        }
        if (pass == 0)
            fputs("\"/>", to);
    }
}

static void series(FILE *to, const sg_figure *f, int i_panel)
{
    const sg_panel *p = &f->panels[i_panel];
    const bool small = f->n_panels > 1;
    const double width = small ? 300 : 400, height = small ? 220 : 270, title = p->title ? TITLE : 0;
    const plot at = {.left = 42,
                     .top = 26 + title,
                     .width = width - 54,
                     .height = height - 66,
                     .x = sg_figure_x_range(f),
                     .y = sg_figure_y_range(f)};
    begin(to, f, i_panel, width, height + title);
    axes(to, f, &at);
    for (int s = p->n_series - 1; s >= 0; s--) /* the first on top */
        draw_series(to, f, &at, &p->series[s], s);
    fputs("</svg>", to);
}

/* ---- matrices ---- */

static void draw_cell(FILE *to, const sg_figure *f, sg_range range, double value, double x, double y, double side)
{
    char text[SG_NUMBER_TEXT];
    fprintf(to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" ", x, y, side - 1, side - 1);
    if (f->n_names) {
        const int name = isfinite(value) && value >= 0 && value < f->n_names ? (int)value : 0;
        fprintf(to, "class=\"c%d\"><title>", name % N_COLOURS);
        sg_html_text(to, f->names[name]);
        fputs("</title></rect>", to);
        const char letter[2] = {f->names[name][0], '\0'};
        put_text(to, x + side / 2, y + side / 2 + 4, "m k", letter);
        return;
    }
    const double most = fmax(fabs(range.low), fabs(range.high));
    const double place = isfinite(value) ? fmin(fabs(value) / most, 1) : 0;
    fprintf(to, "class=\"%s\" fill-opacity=\"%.2f\"><title>%s</title></rect>", value < 0 ? "n" : "p", place,
            sg_number_text(value, text));
    if (side >= 30) {
        if (isnan(value))
            snprintf(text, sizeof text, "–");
        else
            snprintf(text, sizeof text, "%.2f", fabs(value) < 0.005 ? 0 : value); /* no -0.00 */
        put_text(to, x + (side - 1) / 2, y + side / 2 + 4, place > 0.55 ? "m w" : "m", text);
    }
}

static void matrix(FILE *to, const sg_figure *f, int i_panel)
{
    const sg_panel *p = &f->panels[i_panel];
    const int longest = SG_MAX(1, SG_MAX(p->n_rows, p->n_columns));
    const bool small = f->n_panels > 1;
    size_t widest = 1;
    char text[SG_NUMBER_TEXT], label[SG_LABEL_TEXT];
    for (int i = 0; i < p->n_rows; i++)
        widest = SG_MAX(widest, strlen(sg_number_text(sg_panel_row(p, i), text)));
    const double side = (small ? 170.0 : 320.0) / longest, left = 12 + 6.5 * (double)widest;
    const double title = p->title ? TITLE : 0, top = 18 + title;
    const sg_range range = sg_figure_cell_range(f);
    begin(to, f, i_panel, left + side * p->n_columns + 12, top + side * p->n_rows + 38);
    put_text(to, 4, top - 6, "", sg_axis_text(&f->y, label));
    const int every = SG_MAX(1, (int)ceil(28 / side)); /* labels have room */
    for (int i = 0; i < p->n_rows; i++) {
        for (int k = 0; k < p->n_columns; k++)
            draw_cell(to, f, range, p->cells[i * p->n_columns + k], left + k * side, top + i * side, side);
        if (i % SG_MAX(1, (int)ceil(13 / side)) == 0)
            put_text(to, left - 5, top + (i + 0.5) * side + 4, "e", sg_number_text(sg_panel_row(p, i), text));
    }
    for (int k = 0; k < p->n_columns; k += every)
        put_text(to, left + (k + 0.5) * side, top + p->n_rows * side + 14, "m",
                 sg_number_text(sg_panel_column(p, k), text));
    put_text(to, left + side * p->n_columns / 2, top + side * p->n_rows + 31, "m", sg_axis_text(&f->x, label));
    fputs("</svg>", to);
}

void sg_svg_panel(FILE *to, const sg_figure *f, int i_panel)
{
    switch (f->kind) {
    case SG_FIGURE_ARROWS:
        arrows(to, f, i_panel);
        break;
    case SG_FIGURE_MATRIX:
        matrix(to, f, i_panel);
        break;
    case SG_FIGURE_LINES:
    case SG_FIGURE_POINTS:
        series(to, f, i_panel);
        break;
    }
    fputc('\n', to);
}

/* ---- strips ---- */

void sg_svg_strip(FILE *to, const sg_measure *m)
{
    const double least = sg_measure_least(m), most = sg_measure_most(m), mean = sg_measure_mean(m);
    if (!isfinite(least) || !isfinite(most) || (m->low == m->high && sg_measure_holds(m)))
        return; /* nothing that the words do not say */
    double low = fmin(least, isfinite(m->low) ? m->low : least), high = fmax(most, isfinite(m->high) ? m->high : most);
    const double room = fmax((high - low) * 0.35, fabs(high) * 0.02 + 1e-9);
    low -= room;
    high += room;
    const double scale = 200 / (high - low);
    const double from = isfinite(m->low) ? (m->low - low) * scale : 0,
                 to_x = isfinite(m->high) ? (m->high - low) * scale : 200;
    fputs("<svg class=\"strip\" viewBox=\"0 0 200 16\" aria-hidden=\"true\"><path d=\"M0 8H200\" class=\"a\"/>", to);
    fprintf(to, "<rect x=\"%.1f\" y=\"2\" width=\"%.1f\" height=\"12\" rx=\"2\" class=\"band\"/>", fmin(from, 198),
            fmax(to_x - from, 2));
    fprintf(to, "<path d=\"M%.1f 8H%.1f\" class=\"l s%d\"/>", (least - low) * scale, (most - low) * scale,
            sg_measure_holds(m) ? 0 : 1);
    fprintf(to, "<circle cx=\"%.1f\" cy=\"8\" r=\"3.6\" class=\"f%d\"/></svg>", (mean - low) * scale,
            sg_measure_holds(m) ? 0 : 1);
}
