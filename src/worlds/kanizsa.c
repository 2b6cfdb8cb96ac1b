/* A figure is lines with round ends; a pixel's grey is the share of 16 points in it that lie on one. Points are
 * multiples of an eighth, so that a quarter turn of the image gives the same points, exactly. */
#include "sightglass/kanizsa.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

#define PI         3.14159265358979323846
#define SUPER      4
#define POINTS     (SUPER * SUPER)
#define MOST_LINES 6
#define MOST_SIDE  512
#define NEAR_INK   0.005 /* how far the ink of turned pieces may be off before greys even it out */
#define TRIES      200

typedef struct line {
    double x[2], y[2];
} line;

typedef struct lines {
    int n;
    line line[MOST_LINES];
} lines;

sg_kanizsa sg_kanizsa_defaults(int size)
{
    return (sg_kanizsa){.figure = SG_KANIZSA_TRIANGLE,
                        .size = size,
                        .edge = 0.65 * size,
                        .gap = 0.4,
                        .x = 0.5 * size,
                        .y = 0.5 * size,
                        .width = 0.06 * size,
                        .ink = 1,
                        .paper = 0};
}

/* Of the triangle's corners, or of the three lines' ends: line i goes from end 0 to end 1. */
static void figure_lines(const sg_kanizsa *k, line out[3])
{
    double c, s;

    sg_math_sincos(k->turn, &s, &c);
    for (int i = 0; i < 3; i++)
        for (int e = 0; e < 2; e++) {
            double x, y;
            if (k->figure == SG_KANIZSA_TRIANGLE) {
                static const double corner[3][2] = {{0, -1}, {0.86602540378443865, 0.5}, {-0.86602540378443865, 0.5}};
                x = corner[(i + e) % 3][0] * k->edge / 1.7320508075688772;
                y = corner[(i + e) % 3][1] * k->edge / 1.7320508075688772;
            } else {
                x = (e - 0.5) * k->edge;
                y = (i - 1) * 0.38 * k->edge;
            }
            out[i].x[e] = k->x + c * x - s * y;
            out[i].y[e] = k->y + s * x + c * y;
        }
}

int sg_kanizsa_n_pieces(const sg_kanizsa *k)
{
    return k->figure == SG_KANIZSA_TRIANGLE ? 3 : 6;
}

/* Piece i, in place: two arms from a corner, or half of a line. */
static int piece_lines(const sg_kanizsa *k, int i, line out[2])
{
    const double arm = (1 - k->gap) / 2; /* of a line, at each end */
    line whole[3];

    figure_lines(k, whole);
    if (k->figure == SG_KANIZSA_TRIANGLE) { /* corner i begins line i and ends the one before it */
        const line *a = &whole[i], *b = &whole[(i + 2) % 3];
        out[0] = (line){{a->x[0], a->x[0] + arm * (a->x[1] - a->x[0])}, {a->y[0], a->y[0] + arm * (a->y[1] - a->y[0])}};
        out[1] = (line){{b->x[1], b->x[1] + arm * (b->x[0] - b->x[1])}, {b->y[1], b->y[1] + arm * (b->y[0] - b->y[1])}};
        return 2;
    }
    const line *a = &whole[i / 2];
    const int e = i % 2;
    out[0] =
        (line){{a->x[e], a->x[e] + arm * (a->x[1 - e] - a->x[e])}, {a->y[e], a->y[e] + arm * (a->y[1 - e] - a->y[e])}};
    return 1;
}

void sg_kanizsa_centre(double centre[2], const sg_kanizsa *k, int i)
{
    line l[2];
    const int n = piece_lines(k, i, l);

    centre[0] = centre[1] = 0;
    for (int j = 0; j < n; j++) { /* arms are equally long */
        centre[0] += (l[j].x[0] + l[j].x[1]) / (2 * n);
        centre[1] += (l[j].y[0] + l[j].y[1]) / (2 * n);
    }
}

static void lines_of(lines *out, const sg_kanizsa *k, sg_kanizsa_part part, const double *turns)
{
    out->n = 0;
    if (part == SG_KANIZSA_WHOLE) {
        figure_lines(k, out->line);
        out->n = 3;
        return;
    }
    for (int i = 0; i < sg_kanizsa_n_pieces(k); i++) {
        line l[2];
        const int n = piece_lines(k, i, l);
        double centre[2], c, s;
        sg_kanizsa_centre(centre, k, i);
        for (int j = 0; j < n; j++) {
            for (int e = 0; e < 2 && turns && turns[i] != 0; e++) {
                const double x = l[j].x[e] - centre[0], y = l[j].y[e] - centre[1];
                sg_math_sincos(turns[i], &s, &c);
                l[j].x[e] = centre[0] + c * x - s * y;
                l[j].y[e] = centre[1] + s * x + c * y;
            }
            out->line[out->n++] = l[j];
        }
    }
}

static bool on(const line *l, double x, double y, double half)
{
    const double dx = l->x[1] - l->x[0], dy = l->y[1] - l->y[0], length = dx * dx + dy * dy;
    double t = length > 0 ? ((x - l->x[0]) * dx + (y - l->y[0]) * dy) / length : 0;

    t = SG_MAX(0, SG_MIN(1, t));
    const double ox = x - l->x[0] - t * dx, oy = y - l->y[0] - t * dy;
    return ox * ox + oy * oy < half * half;
}

/* Whether any line comes near a pixel: most do not. */
static bool is_near(const lines *l, double x, double y, double half)
{
    for (int i = 0; i < l->n; i++)
        if (on(&l->line[i], x, y, half + 0.75))
            return true;
    return false;
}

/* How many of the pixel's points are ink: 0 to POINTS. */
static int lit(const sg_kanizsa *k, const lines *l, int px, int py)
{
    const double half = k->width / 2;
    double x = px + 0.5, y = py + 0.5;
    int n = 0;

    for (int q = 0; q < (k->quarters & 3); q++) { /* back to where the image was */
        const double was = x;
        x = y;
        y = k->size - was;
    }
    if (!is_near(l, x, y, half))
        return 0;
    for (int p = 0; p < POINTS; p++) {
        const double ax = x + (p % SUPER - 1.5) / SUPER, ay = y + (p / SUPER - 1.5) / SUPER;
        for (int i = 0; i < l->n; i++)
            if (on(&l->line[i], ax, ay, half)) {
                n++;
                break;
            }
    }
    return n;
}

static double ink_of(const sg_kanizsa *k, const lines *l)
{
    int64_t n = 0;

    for (int y = 0; y < k->size; y++)
        for (int x = 0; x < k->size; x++)
            n += lit(k, l, x, y);
    return (double)n / POINTS;
}

double sg_kanizsa_ink(const sg_kanizsa *k, sg_kanizsa_part part, const double *turns)
{
    lines l;

    lines_of(&l, k, part, turns);
    return ink_of(k, &l);
}

void sg_kanizsa_draw(float *pixels, const sg_kanizsa *k, sg_kanizsa_part part, const double *turns)
{
    lines l;
    int64_t n = 0;
    double strength = 1;

    lines_of(&l, k, part, turns);
    for (int i = 0; i < k->size * k->size; i++) {
        const int points = lit(k, &l, i % k->size, i / k->size);
        pixels[i] = (float)points;
        n += points;
    }
    if (part == SG_KANIZSA_PIECES && turns && n) {
        const double even = sg_kanizsa_ink(k, part, NULL) * POINTS / (double)n;
        strength = SG_MAX(0.99, SG_MIN(1.01, even));
    }
    for (int i = 0; i < k->size * k->size; i++)
        pixels[i] = (float)(k->paper + strength * (k->ink - k->paper) * (double)pixels[i] / POINTS);
}

void sg_kanizsa_turns(double *turns, const sg_kanizsa *k, sg_origin from)
{
    const int n = sg_kanizsa_n_pieces(k);
    const double wanted = sg_kanizsa_ink(k, SG_KANIZSA_PIECES, NULL);
    const double most = k->figure == SG_KANIZSA_TRIANGLE ? 1.75 * PI : 0.75 * PI; /* a line turned by half is itself */
    double best[SG_KANIZSA_MOST] = {0}, off = (double)INFINITY;
    sg_rng r = sg_rng_new(from.seed, from.stream);

    r.step = from.step;
    for (int i = 0; i < TRIES && off > NEAR_INK * wanted; i++) {
        for (int p = 0; p < n; p++)
            turns[p] = PI / 4 + (most - PI / 4) * sg_rng_uniform(&r);
        const double now = fabs(sg_kanizsa_ink(k, SG_KANIZSA_PIECES, turns) - wanted);
        if (now < off) {
            off = now;
            memcpy(best, turns, sizeof best[0] * (size_t)n);
        }
    }
    memcpy(turns, best, sizeof best[0] * (size_t)n);
}

static double between(sg_rng *r, double low, double high)
{
    return low + (high - low) * sg_rng_uniform(r);
}

sg_kanizsa sg_kanizsa_random(sg_kanizsa_figure figure, int size, double gap, sg_origin from)
{
    sg_kanizsa k = {.figure = figure, .size = size};
    sg_rng r = sg_rng_new(from.seed, from.stream);

    r.step = from.step;
    const double drawn = between(&r, 0.2, 0.8);
    k.gap = gap > 0 ? gap : drawn;
    k.edge = between(&r, 0.55, 0.8) * size;
    k.width = between(&r, 0.05, 0.075) * size;
    k.turn = between(&r, 0, 2 * PI);
    /* All of it, turned or not, lies within this distance from the middle. */
    const double reach = SG_MIN(k.edge * (figure == SG_KANIZSA_TRIANGLE ? 0.6 : 0.64) + k.width, 0.5 * size);
    k.x = between(&r, reach, size - reach);
    k.y = between(&r, reach, size - reach);
    k.paper = between(&r, 0, 1);
    k.ink = k.paper < 0.5 ? between(&r, k.paper + 0.3, 1) : between(&r, 0, k.paper - 0.3);
    return k;
}

/* ---- as a world ---- */

static const sg_option options[] = {
    {"size", SG_OPTION_WHOLE, "32", 16, MOST_SIDE, NULL, "pixels along each side"},
    {"figure", SG_OPTION_CHOICE, "triangle", 0, 0, "triangle|open",
     "open: three parallel lines, which enclose nothing"},
    {"gap", SG_OPTION_REAL, "0", 0, 0.95, NULL,
     "share of each line that pieces leave out; 0: .2 to .8 by tenths, in turn"},
    {"draws", SG_OPTION_WHOLE, "8", 1, 64, NULL, "how often pieces are turned at random"},
};

static const sg_world_field fields[] = {
    {"whole", "[count,1,size,size] the figure, greys from 0 to 1"},
    {"pieces", "[count,1,size,size] its pieces, in place"},
    {"turned", "[count,draws,size,size] the same, each turned by an angle of its own"},
    {"gap", "[count] the share that is left out"},
    {"place", "[count,4] middle (x, y), length of a line, angle"},
    {"ink", "[count] pixels' worth of ink that pieces have"},
};

static sg_status world_shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const sg_dim n = (sg_dim)option[0], draws = (sg_dim)option[3];

    (void)err;
    field[0] = field[1] = sg_tensor_of(SG_F32, 4, (sg_dim[]){count, 1, n, n}, NULL);
    field[2] = sg_tensor_of(SG_F32, 4, (sg_dim[]){count, draws, n, n}, NULL);
    field[3] = field[5] = sg_tensor_of(SG_F32, 1, &count, NULL);
    field[4] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, 4}, NULL);
    return SG_OK;
}

static void world_sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const int size = (int)option[0], draws = (int)option[3];
    const size_t n = (size_t)size * (size_t)size;

    for (sg_dim i = 0; i < count; i++) {
        const uint64_t step = from.step + (uint64_t)i;
        const double gap = option[2] > 0 ? option[2] : 0.2 + 0.1 * (double)(step % 7);
        const sg_kanizsa k = sg_kanizsa_random((sg_kanizsa_figure)(int)option[1], size, gap,
                                               (sg_origin){from.seed, from.stream * 128, step});
        sg_kanizsa_draw((float *)field[0].data + (size_t)i * n, &k, SG_KANIZSA_WHOLE, NULL);
        sg_kanizsa_draw((float *)field[1].data + (size_t)i * n, &k, SG_KANIZSA_PIECES, NULL);
        for (int d = 0; d < draws; d++) {
            double turns[SG_KANIZSA_MOST];
            sg_kanizsa_turns(turns, &k, (sg_origin){from.seed, from.stream * 128 + 1 + (uint32_t)d, step});
            sg_kanizsa_draw((float *)field[2].data + ((size_t)i * (size_t)draws + (size_t)d) * n, &k, SG_KANIZSA_PIECES,
                            turns);
        }
        ((float *)field[3].data)[i] = (float)k.gap;
        float *place = (float *)field[4].data + 4 * i;
        place[0] = (float)k.x;
        place[1] = (float)k.y;
        place[2] = (float)k.edge;
        place[3] = (float)k.turn;
        ((float *)field[5].data)[i] = (float)sg_kanizsa_ink(&k, SG_KANIZSA_PIECES, NULL);
    }
}

const sg_world sg_world_kanizsa = {
    .name = "kanizsa",
    .help = "triangles, their corners alone, and the same corners turned away, with the same ink",
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = world_shape,
    .sample = world_sample,
};
