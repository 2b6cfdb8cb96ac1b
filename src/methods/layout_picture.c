/* A layout as a picture that needs nothing else: a scatter in SVG, coloured by a label. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/layout_picture.h"

enum { SIDE = 640, EDGE = 24, KEY = 170 };

/* Told apart also by most who see few colours (Okabe & Ito 2008); the last is for all other labels. */
static const char *const colours[] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9",
                                      "#d55e00", "#b0a000", "#7f3fbf", "#8c564b", "#9a9a9a"};
enum { N_COLOURS = (int)SG_COUNT_OF(colours), OTHERS = N_COLOURS - 1 };

void layout_labels_free(layout_labels *l)
{
    free(l->of);
    free(l->text);
    free(l->count);
    free(l->number);
}

typedef struct counted {
    const char *text;
    sg_dim count, first;
} counted;

static int by_count(const void *a, const void *b)
{
    const counted *x = a, *y = b;
    return x->count != y->count ? (x->count > y->count ? -1 : 1) : x->first < y->first ? -1 : x->first > y->first;
}

/* Distinct texts, the most frequent first. */
static sg_status distinct(layout_labels *l, sg_dim n, const char *const *text, sg_error *err)
{
    sg_map *map = sg_map_new((size_t)n);
    counted *all = malloc(sizeof *all * (size_t)SG_MAX(n, 1));
    int32_t *now = malloc(sizeof *now * (size_t)SG_MAX(n, 1));
    l->of = malloc(sizeof *l->of * (size_t)SG_MAX(n, 1));
    bool good = map && all && now && l->of;
    int32_t kinds = 0;
    for (sg_dim i = 0; good && i < n; i++) {
        int32_t kind = sg_map_get(map, text[i], strlen(text[i]));
        if (kind < 0) {
            kind = kinds++;
            all[kind] = (counted){text[i], 0, i};
            good = sg_map_put(map, text[i], strlen(text[i]), kind) == SG_OK;
        }
        all[kind].count++;
        l->of[i] = kind;
    }
    if (good) {
        l->n = kinds;
        l->text = malloc(sizeof *l->text * (size_t)SG_MAX(kinds, 1));
        l->count = malloc(sizeof *l->count * (size_t)SG_MAX(kinds, 1));
        good = l->text && l->count;
    }
    if (good) {
        qsort(all, (size_t)kinds, sizeof *all, by_count);
        for (int32_t k = 0; k < kinds; k++) {
            now[l->of[all[k].first]] = k;
            l->text[k] = all[k].text;
            l->count[k] = all[k].count;
        }
        for (sg_dim i = 0; i < n; i++)
            l->of[i] = now[l->of[i]];
    }
    free(now);
    free(all);
    sg_map_free(map);
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "layout: out of memory for labels");
}

/* Numbers of many kinds are a scale, not names. */
static sg_status scale_of(layout_labels *l, sg_dim n, const char *const *text, sg_error *err)
{
    double *number = malloc(sizeof *number * (size_t)SG_MAX(n, 1));
    if (!number)
        return sg_fail(err, SG_ENOMEM, "layout: out of memory for labels");
    l->low = (double)INFINITY;
    l->high = -(double)INFINITY;
    for (sg_dim i = 0; i < n; i++) {
        char *end;
        number[i] = strtod(text[i], &end);
        if (end == text[i] || *end || !isfinite(number[i])) {
            free(number);
            return SG_OK;
        }
        l->low = fmin(l->low, number[i]);
        l->high = fmax(l->high, number[i]);
    }
    l->number = number;
    return SG_OK;
}

sg_status layout_labels_of(layout_labels *out, sg_dim n, const char *const *text, sg_error *err)
{
    *out = (layout_labels){.n = 0};
    SG_TRY(distinct(out, n, text, err));
    return out->n > OTHERS ? scale_of(out, n, text, err) : SG_OK;
}

/* From dark blue over green to yellow, about evenly bright. */
static void ramp(char to[8], double at)
{
    static const int stops[5][3] = {{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}};
    const double x = fmin(fmax(at, 0), 1) * 4;
    const int i = SG_MIN((int)x, 3);
    int c[3];
    for (int k = 0; k < 3; k++)
        c[k] = (int)(stops[i][k] + (x - i) * (stops[i + 1][k] - stops[i][k]) + .5) & 255;
    snprintf(to, 8, "#%02x%02x%02x", (unsigned)c[0], (unsigned)c[1], (unsigned)c[2]);
}

static void put_text(FILE *to, const char *text, size_t most)
{
    for (size_t i = 0; text[i] && i < most; i++)
        switch (text[i]) {
        case '&':
            fputs("&amp;", to);
            break;
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        default:
            fputc((unsigned char)text[i] < ' ' ? ' ' : text[i], to);
        }
}

static void put_key(FILE *to, const layout_labels *l)
{
    if (l->number) {
        for (int i = 0; i < 50; i++) {
            char colour[8];
            ramp(colour, 1 - i / 49.);
            fprintf(to, "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"5\" fill=\"%s\"/>\n", SIDE + 8, 50 + 4 * i,
                    colour);
        }
        fprintf(to, "<text x=\"%d\" y=\"58\">%g</text><text x=\"%d\" y=\"252\">%g</text>\n", SIDE + 28, l->high,
                SIDE + 28, l->low);
        return;
    }
    for (int k = 0; k < SG_MIN(l->n, N_COLOURS); k++) {
        const bool rest = k == OTHERS && l->n > N_COLOURS;
        fprintf(to, "<circle cx=\"%d\" cy=\"%d\" r=\"5\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">", SIDE + 14, 52 + 20 * k,
                colours[k], SIDE + 26, 56 + 20 * k);
        put_text(to, rest ? "others" : l->text[k], 22);
        fputs("</text>\n", to);
    }
}

void layout_picture(FILE *to, const sg_tensor *xy, const char *title, const layout_labels *l)
{
    const sg_dim n = xy->dims[0];
    const float *y = xy->data;
    double low[2] = {(double)INFINITY, (double)INFINITY}, high[2] = {-(double)INFINITY, -(double)INFINITY};
    for (sg_dim i = 0; i < 2 * n; i++) {
        low[i % 2] = fmin(low[i % 2], (double)y[i]);
        high[i % 2] = fmax(high[i % 2], (double)y[i]);
    }
    const double span = fmax(fmax(high[0] - low[0], high[1] - low[1]), 1e-30), scale = (SIDE - 2 * EDGE) / span;
    const double radius = n > 20000 ? .8 : n > 5000 ? 1.3 : n > 1000 ? 2 : 3.2;
    const bool key = l && l->n > 0;
    fprintf(
        to,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\" "
        "fill=\"#777\">\n<title>",
        SIDE + (key ? KEY : 0), SIDE + 20);
    put_text(to, title, 200);
    fprintf(to, "</title>\n<text x=\"%d\" y=\"16\">", EDGE);
    put_text(to, title, 200);
    fputs("</text>\n<g fill-opacity=\".75\">\n", to);
    for (sg_dim i = 0; i < n; i++) {
        char colour[8];
        const double x = EDGE + ((double)y[2 * i] - (low[0] + high[0] - span) / 2) * scale;
        const double down = SIDE + 20 - EDGE - ((double)y[2 * i + 1] - (low[1] + high[1] - span) / 2) * scale;
        if (key && l->number)
            ramp(colour, l->high > l->low ? (l->number[i] - l->low) / (l->high - l->low) : .5);
        else
            snprintf(colour, sizeof colour, "%s", colours[key ? SG_MIN(l->of[i], OTHERS) : 0]);
        fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\"/>\n", x, down, radius, colour);
    }
    fputs("</g>\n", to);
    if (key)
        put_key(to, l);
    fputs("</svg>\n", to);
}
