/* Figures for a terminal. A canvas of character cells, each with 2 x 4 braille dots or a sign of its own, is drawn on
 * and then written line by line. A cell is about twice as high as wide, so dots are about square. Colour only repeats
 * what signs already say. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report_internal.h"

#define COLUMNS    80
#define N_COLOURS  6
#define PLAIN      (-1)
#define FAINT      (-2)
#define SIGN_BYTES 5

typedef struct cell {
    unsigned char dots;    /* braille: bits as Unicode numbers them */
    char sign[SIGN_BYTES]; /* UTF-8; "" where there is none */
    short colour, back;    /* index of a series, PLAIN or FAINT; `back` a colour of 256, or PLAIN */
} cell;

typedef struct canvas {
    int width, height;
    cell *cells;
} canvas;

static const char *const markers[] = {"●", "▲", "■", "◆", "○", "△", "□", "◇"};

static cell *cell_at(canvas *c, int x, int y)
{
    return x >= 0 && x < c->width && y >= 0 && y < c->height ? &c->cells[y * c->width + x] : NULL;
}

static void put_sign(canvas *c, int x, int y, const char *sign, int colour)
{
    cell *at = cell_at(c, x, y);
    if (!at)
        return;
    snprintf(at->sign, SIGN_BYTES, "%s", sign);
    at->colour = (short)colour;
}

/* Bytes of the UTF-8 character at s. */
static int char_bytes(const char *s)
{
    int n = 1;
    while (((unsigned char)s[n] & 0xC0) == 0x80)
        n++;
    return n;
}

static int text_width(const char *s)
{
    int width = 0;
    for (; *s; s += char_bytes(s))
        width++;
    return width;
}

/* At most `most` characters, the last an ellipsis where more were asked for. */
static void put_text(canvas *c, int x, int y, int most, const char *text, int colour)
{
    const bool cut = text_width(text) > most;
    for (int i = 0; *text && i < most; i++, text += char_bytes(text)) {
        char sign[SIGN_BYTES];
        snprintf(sign, sizeof sign, "%.*s", char_bytes(text), text);
        put_sign(c, x + i, y, cut && i == most - 1 ? "…" : sign, colour);
    }
}

static void put_centred(canvas *c, int x, int y, int width, const char *text, int colour)
{
    put_text(c, x + SG_MAX(0, (width - text_width(text)) / 2), y, width, text, colour);
}

/* px, py count dots from the canvas's top left. */
static void put_dot(canvas *c, int px, int py, int colour)
{
    static const unsigned char bit[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    cell *at = px >= 0 && py >= 0 ? cell_at(c, px / 2, py / 4) : NULL;
    if (!at)
        return;
    at->dots |= bit[py % 4][px % 2];
    at->colour = (short)colour;
}

static void put_line(canvas *c, double x0, double y0, double x1, double y1, int colour)
{
    const int n = (int)ceil(fmax(fabs(x1 - x0), fabs(y1 - y0))) + 1;
    for (int i = 0; i <= n; i++)
        put_dot(c, (int)floor(x0 + (x1 - x0) * i / n), (int)floor(y0 + (y1 - y0) * i / n), colour);
}

static void write_cell(const cell *at, FILE *to, bool colour)
{
    static const char *const escape[N_COLOURS] = {"34", "33", "32", "35", "36", "31"};
    char sign[SIGN_BYTES] = " ";
    if (at->sign[0])
        memcpy(sign, at->sign, SIGN_BYTES);
    else if (at->dots) /* U+2800 + dots */
        snprintf(sign, sizeof sign, "\xE2%c%c", 0xA0 + (at->dots >> 6), 0x80 + (at->dots & 0x3F));
    const bool fore = at->colour != PLAIN && strcmp(sign, " ") != 0, back = at->back != PLAIN;
    if (!colour || (!fore && !back)) {
        fputs(sign, to);
        return;
    }
    if (back)
        fprintf(to, "\x1b[48;5;%dm\x1b[38;5;%dm%s\x1b[0m", at->back, at->colour, sign);
    else
        fprintf(to, "\x1b[%sm%s\x1b[0m", at->colour == FAINT ? "2" : escape[at->colour % N_COLOURS], sign);
}

static bool is_blank(const cell *at, bool colour)
{
    return !at->dots && (!at->sign[0] || at->sign[0] == ' ') && (at->back == PLAIN || !colour);
}

static void write_canvas(const canvas *c, FILE *to, bool colour)
{
    for (int y = 0; y < c->height; y++) {
        const cell *line = &c->cells[y * c->width];
        int width = c->width;
        while (width > 0 && is_blank(&line[width - 1], colour))
            width--;
        for (int x = 0; x < width; x++)
            write_cell(&line[x], to, colour);
        fputc('\n', to);
    }
}

/* ---- panels: each draws itself into a box of the canvas, its title in the first line ---- */

typedef struct box {
    int x, y, width, height;
} box;

typedef struct picture {
    const sg_figure *f;
    canvas *c;
    sg_range x, y, cells;
} picture;

static void draw_arrows(const picture *p, const sg_panel *panel, box b)
{
    const int size = b.height - 1, left = b.x + (b.width - 2 * size) / 2, top = b.y + 1;
    put_sign(p->c, left + size, top + size / 2, "·", FAINT);
    int index = 0;
    for (int s = 0; s < panel->n_series; s++)
        for (int i = 0; i < panel->series[s].n; i++, index++) {
            const double x = sg_axis_place(&p->f->x, p->x, panel->series[s].x[i]);
            const double y = 1 - sg_axis_place(&p->f->y, p->y, panel->series[s].y[i]);
            if (isnan(x) || isnan(y))
                continue;
            const double px = 2 * left + x * 4 * size, py = 4 * top + y * 4 * size;
            put_line(p->c, 2 * left + 2 * size, 4 * top + 2 * size, px, py, index % N_COLOURS);
            if (hypot(px - 2 * left - 2 * size, py - 4 * top - 2 * size) < 3)
                continue; /* no direction, so no name */
            char digit[2] = {"0123456789abcdefghijklmnopqrstuvwxyz"[index % 36], '\0'};
            put_sign(p->c, (int)(px / 2), (int)(py / 4), digit, index % N_COLOURS);
        }
}

static void draw_axes(const picture *p, box plot)
{
    double ticks[SG_MAX_TICKS];
    char text[SG_NUMBER_TEXT];
    for (int y = 0; y < plot.height; y++)
        put_sign(p->c, plot.x - 1, plot.y + y, "│", FAINT);
    for (int x = -1; x < plot.width; x++)
        put_sign(p->c, plot.x + x, plot.y + plot.height, x < 0 ? "└" : "─", FAINT);
    int n = sg_axis_ticks(&p->f->y, p->y, SG_MAX(2, plot.height / 3), ticks);
    for (int i = 0; i < n; i++) {
        const int y = plot.y + (int)lround((1 - sg_axis_place(&p->f->y, p->y, ticks[i])) * (plot.height - 1));
        sg_number_text(ticks[i], text);
        put_text(p->c, plot.x - 1 - text_width(text), y, text_width(text), text, PLAIN);
        put_sign(p->c, plot.x - 1, y, "┤", FAINT);
    }
    n = sg_axis_ticks(&p->f->x, p->x, SG_MAX(2, plot.width / 8), ticks);
    for (int i = 0; i < n; i++) {
        const int x = plot.x + (int)lround(sg_axis_place(&p->f->x, p->x, ticks[i]) * (plot.width - 1));
        sg_number_text(ticks[i], text);
        const int at = SG_MIN(x - text_width(text) / 2, plot.x + plot.width - text_width(text));
        put_text(p->c, at, plot.y + plot.height + 1, text_width(text), text, PLAIN);
        put_sign(p->c, x, plot.y + plot.height, "┬", FAINT);
    }
}

#define MARKED 60 /* a series of more points is shown by dots alone */

static void draw_series(const picture *p, const sg_panel *panel, box b)
{
    const box plot = {b.x + 8, b.y + 1, b.width - 9, b.height - 4};
    char label[SG_LABEL_TEXT];
    draw_axes(p, plot);
    put_centred(p->c, plot.x, b.y + b.height - 1, plot.width, sg_axis_text(&p->f->x, label), PLAIN);
    const int wide = 2 * plot.width - 1, high = 4 * plot.height - 1;
    for (int s = panel->n_series - 1; s >= 0; s--) { /* the first on top */
        const sg_series *series = &panel->series[s];
        double last_x = nan(""), last_y = nan("");
        for (int i = 0; i < series->n; i++) {
            const double x = 2 * plot.x + sg_axis_place(&p->f->x, p->x, series->x[i]) * wide;
            const double y = 4 * plot.y + (1 - sg_axis_place(&p->f->y, p->y, series->y[i])) * high;
            const bool inside = x >= 2 * plot.x && x <= 2 * plot.x + wide && y >= 4 * plot.y && y <= 4 * plot.y + high;
            if (inside && p->f->kind == SG_FIGURE_LINES && !isnan(last_x))
                put_line(p->c, last_x, last_y, x, y, s);
            if (inside && series->n > MARKED)
                put_dot(p->c, (int)x, (int)y, s);
            else if (inside)
                put_sign(p->c, (int)x / 2, (int)y / 4, markers[s % (int)SG_COUNT_OF(markers)], s);
            last_x = inside ? x : nan("");
            last_y = y;
        }
    }
}

/* Colours of 256 from blue over grey to orange; with sequential cells the upper half alone. */
static void shade(cell *at, double place)
{
    static const short ramp[] = {25, 31, 74, 110, 152, 254, 223, 216, 209, 202, 166};
    const int i = (int)lround(fmin(fmax(place, 0), 1) * 10);
    at->back = ramp[i];
    at->colour = i < 2 || i > 8 ? 231 : 16;
}

static const char *const categories[] = {"··", "░░", "▒▒", "▓▓", "██"};
static const short category_colours[] = {252, 153, 75, 214, 130};

static void draw_cell(const picture *p, double value, int x, int y, int width)
{
    char text[SG_NUMBER_TEXT];
    const bool two_signed = p->cells.low < 0 && p->cells.high > 0;
    const double place = sg_axis_place(&p->f->value, p->cells, value);
    const int category = p->f->n_names ? (int)value % 5 : 0;
    if (p->f->n_names)
        snprintf(text, sizeof text, "%s", categories[category]);
    else if (width > 2)
        snprintf(text, sizeof text, "%*.2f ", width - 1, fabs(value) < 0.005 ? 0 : value); /* no -0.00 */
    else
        snprintf(text, sizeof text, "%s", isnan(place) ? "??" : categories[(int)lround(fmin(fmax(place, 0), 1) * 4)]);
    put_text(p->c, x, y, width, text, PLAIN);
    for (int i = 0; i < width; i++) {
        cell *at = cell_at(p->c, x + i, y);
        if (at && p->f->n_names) {
            at->back = category_colours[category];
            at->colour = 16;
        } else if (at && !isnan(place)) {
            shade(at, two_signed ? place : 0.5 + place / 2);
        }
    }
}

static int cell_width(const sg_figure *f)
{
    return !f->n_names && f->n_panels && f->panels[0].n_columns <= 12 ? 6 : 2;
}

static void draw_matrix(const picture *p, const sg_panel *panel, box b)
{
    char text[SG_NUMBER_TEXT], label[SG_LABEL_TEXT];
    const int width = cell_width(p->f);
    for (int i = 0; i < panel->n_rows; i++) {
        sg_number_text(sg_panel_row(panel, i), text);
        put_text(p->c, b.x + 7 - text_width(text), b.y + 1 + i, 7, text, PLAIN);
        for (int k = 0; k < panel->n_columns; k++)
            draw_cell(p, panel->cells[i * panel->n_columns + k], b.x + 8 + k * width, b.y + 1 + i, width);
    }
    const int every = width > 2 ? 1 : 4;
    for (int k = 0; k < panel->n_columns; k += every) {
        sg_number_text(sg_panel_column(panel, k), text);
        put_text(p->c, b.x + 8 + k * width + (width > 2 ? 3 : 0), b.y + 1 + panel->n_rows, every * width - 1, text,
                 PLAIN);
    }
    put_centred(p->c, b.x + 8, b.y + 2 + panel->n_rows, width * panel->n_columns, sg_axis_text(&p->f->x, label), PLAIN);
}

/* The box that every panel of a figure gets. */
static box box_of(const sg_figure *f)
{
    int rows = 0, columns = 0;
    for (int i = 0; i < f->n_panels; i++) {
        rows = SG_MAX(rows, f->panels[i].n_rows);
        columns = SG_MAX(columns, f->panels[i].n_columns);
    }
    if (f->kind == SG_FIGURE_ARROWS)
        return (box){0, 0, 20, 11};
    if (f->kind == SG_FIGURE_MATRIX)
        return (box){0, 0, SG_MIN(COLUMNS, 9 + cell_width(f) * columns), rows + 3};
    return f->n_panels > 1 ? (box){0, 0, 40, 14} : (box){0, 0, COLUMNS, 20};
}

static sg_status draw_row(const sg_figure *f, int first, int n, box b, FILE *to, bool colour, sg_error *err)
{
    canvas c = {.width = COLUMNS, .height = b.height};
    c.cells = calloc((size_t)(c.width * c.height), sizeof *c.cells);
    if (!c.cells)
        return sg_fail(err, SG_ENOMEM, "figure %s: out of memory", f->id);
    for (int i = 0; i < c.width * c.height; i++)
        c.cells[i].colour = c.cells[i].back = PLAIN;
    const picture p = {f, &c, sg_figure_x_range(f), sg_figure_y_range(f), sg_figure_cell_range(f)};
    for (int i = 0; i < n; i++) {
        const sg_panel *panel = &f->panels[first + i];
        b.x = i * (COLUMNS / SG_MAX(1, COLUMNS / b.width));
        if (panel->title)
            put_centred(&c, b.x, 0, b.width, panel->title, PLAIN);
        if (f->kind == SG_FIGURE_ARROWS)
            draw_arrows(&p, panel, b);
        else if (f->kind == SG_FIGURE_MATRIX)
            draw_matrix(&p, panel, b);
        else
            draw_series(&p, panel, b);
    }
    write_canvas(&c, to, colour);
    free(c.cells);
    return SG_OK;
}

static void write_legend(const sg_figure *f, FILE *to)
{
    char label[SG_LABEL_TEXT];
    if (f->kind == SG_FIGURE_MATRIX) {
        fprintf(to, "  rows: %s", sg_axis_text(&f->y, label));
        if (f->n_names == 0 && f->value.label)
            fprintf(to, "; cells: %s", sg_axis_text(&f->value, label));
        for (int i = 0; i < f->n_names; i++)
            fprintf(to, "%s%s %s", i ? ", " : "\n  ", categories[i % (int)SG_COUNT_OF(categories)], f->names[i]);
        fputc('\n', to);
        return;
    }
    if (f->kind == SG_FIGURE_ARROWS || f->n_panels == 0)
        return;
    fprintf(to, "  up: %s", sg_axis_text(&f->y, label));
    const sg_panel *p = &f->panels[0];
    for (int s = 0; s < p->n_series && p->n_series > 1; s++)
        fprintf(to, "%s%s %s", s ? ", " : "; ", markers[s % (int)SG_COUNT_OF(markers)], p->series[s].name);
    fputc('\n', to);
}

sg_status sg_figure_write_text(const sg_figure *f, FILE *to, bool colour, sg_error *err)
{
    const box b = box_of(f);
    const int per_row = SG_MAX(1, COLUMNS / b.width);
    for (int i = 0; i < f->n_panels; i += per_row)
        SG_TRY(draw_row(f, i, SG_MIN(per_row, f->n_panels - i), b, to, colour, err));
    write_legend(f, to);
    return ferror(to) ? sg_fail(err, SG_EIO, "figure %s: could not be written", f->id) : SG_OK;
}
