/* Drawn grey images. An item is drawn in layers, and each random number has its place, so that an image with and
 * without a caption, say, is otherwise the same one:
 *
 *     stream     0 what it is   1 background   2 noise   3 distractors   4 the object   5 occlusion   6 the caption
 *
 * Streams are numbered from eight times that of the origin on; item i of a sample is drawn at step + i. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

#define MOST_SIDE 64
#define PI        3.14159265358979323846
#define SUPER     4 /* samples of a pixel along each side */
#define STRIP     8 /* rows that a caption takes */

enum { N_SHAPES = 8, N_TEXTURES = 8, N_STREAMS = 8 };
enum { WHAT, BACKGROUND, NOISE, DISTRACTORS, OBJECT, OCCLUSION, CAPTION };
enum { OF_SHAPES, OF_TEXTURES, OF_CAPTIONS };
enum { FILLED, OUTLINED, EITHER };
enum { TEXTURED, PLAIN, NOISY };
enum { NO_CAPTION, WRITTEN, ROOM };

static const char *const captions[N_SHAPES] = {"DISC", "SQUARE", "WEDGE", "CROSS", "STAR", "RHOMB", "BAR", "HEART"};

typedef struct settings {
    int size, classes, content, fill, background, distractors, captions, only;
    double occlusion, wrong;
    bool random_labels;
} settings;

typedef struct item {
    const settings *s;
    sg_origin from;
    float *pixels;
    uint8_t *mask, *written;
    int32_t label, caption, texture;
} item;

static sg_rng rng_of(const item *t, int what)
{
    sg_rng r = sg_rng_new(t->from.seed, t->from.stream * N_STREAMS + (uint32_t)what);

    r.step = t->from.step;
    return r;
}

static double between(sg_rng *r, double low, double high)
{
    return low + (high - low) * sg_rng_uniform(r);
}

/* ---- textures: from -1 to 1 ---- */

typedef struct texture {
    int kind;
    double across, down, phase[2], wave, size; /* unit vector, phases, numbers per pixel */
    double blobs[4][3];
} texture;

static texture draw_texture(sg_rng *r, int kind)
{
    texture t = {.kind = kind};
    const double angle = between(r, 0, PI);
    static const double shortest[N_TEXTURES] = {2.6, 7, 4, 4.5, 4.5, 1, 1, 4},
                        longest[N_TEXTURES] = {4.5, 11, 7, 6.5, 6.5, 1, 1, 7};

    t.across = sg_math_cos(angle);
    t.down = sg_math_sin(angle);
    t.wave = 2 * PI / between(r, shortest[kind], longest[kind]);
    t.size = between(r, 0.3, 0.4);
    for (int i = 0; i < 2; i++)
        t.phase[i] = between(r, 0, 2 * PI);
    for (int i = 0; i < 4; i++) {
        const double length = 2 * PI / between(r, 8, 20), turn = between(r, 0, 2 * PI);
        t.blobs[i][0] = length * sg_math_cos(turn);
        t.blobs[i][1] = length * sg_math_sin(turn);
        t.blobs[i][2] = between(r, 0, 2 * PI);
    }
    return t;
}

static double texture_at(const texture *t, double x, double y, sg_rng *noise)
{
    const double u = (x * t->across + y * t->down) * t->wave + t->phase[0];
    const double v = (y * t->across - x * t->down) * t->wave + t->phase[1];
    const double dx = x - 8 * t->across - t->phase[0], dy = y - 8 * t->down - t->phase[1];
    double sum = 0;

    switch (t->kind) {
    case 0: /* fine stripes */
    case 1: /* wide ones */
        return sg_math_sin(u);
    case 2: /* checks */
        return sg_math_sin(u) * sg_math_sin(v) > 0 ? 1 : -1;
    case 3: /* dots */
        return sg_math_cos(u) + sg_math_cos(v) > 1 ? 1 : -1 + t->size;
    case 4: /* a grid */
        return sg_math_cos(u) > 0.8 || sg_math_cos(v) > 0.8 ? 1 : -t->size;
    case 5:
        return 2 * sg_rng_uniform(noise) - 1;
    case 6: /* blobs */
        for (int i = 0; i < 4; i++)
            sum += sg_math_sin(x * t->blobs[i][0] + y * t->blobs[i][1] + t->blobs[i][2]) / 2;
        return SG_MAX(-1, SG_MIN(1, sum));
    default: /* rings about a place outside the middle */
        return sg_math_sin(t->wave * sqrt(dx * dx + dy * dy));
    }
}

/* ---- shapes: which points are inside one of radius 1 ---- */

static bool inside(int shape, double x, double y)
{
    const double r = sqrt(x * x + y * y);

    switch (shape) {
    case 0:
        return r < 0.95;
    case 1:
        return SG_MAX(fabs(x), fabs(y)) < 0.8;
    case 2: /* a triangle with its point up; y grows downwards */
        return y < 0.55 && y > -1.05 + 1.7320508 * fabs(x);
    case 3:
        return (fabs(x) < 0.32 && fabs(y) < 1) || (fabs(y) < 0.32 && fabs(x) < 1);
    case 4: { /* five points: within at least four of the five lines that join every second point */
        static const double points[5][2] = {{0, -1},
                                            {0.95105652, -0.30901699},
                                            {0.58778525, 0.80901699},
                                            {-0.58778525, 0.80901699},
                                            {-0.95105652, -0.30901699}};
        int within = 0;
        for (int k = 0; k < 5; k++)
            within += x * points[k][0] + y * points[k][1] < 0.30901699;
        return within >= 4;
    }
    case 5:
        return fabs(x) / 0.6 + fabs(y) < 1.05;
    case 6:
        return fabs(x) < 1 && fabs(y) < 0.35;
    default: { /* a heart: (x^2 + y^2 - 1)^3 < x^2 y^3, y upwards */
        const double u = 1.2 * x, v = -1.2 * y + 0.1, q = u * u + v * v - 1;
        return q * q * q < u * u * v * v * v;
    }
    }
}

/* ---- captions ---- */

/* Letters three wide and five high, a bit each, from the top left. */
static uint16_t letter(char c)
{
    static const struct {
        char c;
        uint16_t bits;
    } font[] = {{'A', 0x2bed}, {'B', 0x6bae}, {'C', 0x3923}, {'D', 0x6b6e}, {'E', 0x79a7}, {'G', 0x396b},
                {'H', 0x5bed}, {'I', 0x7497}, {'M', 0x5fed}, {'O', 0x2b6a}, {'Q', 0x2b73}, {'R', 0x6bad},
                {'S', 0x388e}, {'T', 0x7492}, {'U', 0x5b6f}, {'W', 0x5bfd}};

    for (size_t i = 0; i < SG_COUNT_OF(font); i++)
        if (font[i].c == c)
            return font[i].bits;
    return 0;
}

static void write_caption(item *t)
{
    const int size = t->s->size;
    const char *text = captions[t->caption];
    const int width = 4 * (int)strlen(text) - 1, most = SG_MAX(size - width - 2, 0);
    sg_rng r = rng_of(t, CAPTION);
    const int left = 1 + (int)sg_rng_below(&r, (uint32_t)most + 1), top = size - STRIP + 1 + (int)sg_rng_below(&r, 2);
    const bool bright = sg_rng_uniform(&r) < 0.5;
    const float ink = (float)(bright ? 1 : 0), paper = (float)(bright ? 0.1 : 0.9);

    for (int y = top - 1; y < top + 6 && y < size; y++)
        for (int x = SG_MAX(left - 1, 0); x < left + width + 1 && x < size; x++) {
            const int row = y - top, column = x - left, at = y * size + x;
            const bool in_letter = row >= 0 && row < 5 && column >= 0 && column < width && column % 4 < 3;
            const bool lit = in_letter && (letter(text[column / 4]) >> (14 - row * 3 - column % 4) & 1);
            t->pixels[at] = lit ? ink : paper;
            t->written[at] = true;
            t->mask[at] = false;
        }
}

/* ---- an image ---- */

static void draw_background(item *t, double mean, double depth)
{
    const int size = t->s->size;
    sg_rng r = rng_of(t, BACKGROUND), noise = rng_of(t, NOISE);
    const texture of = draw_texture(&r, t->texture);

    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            const double grain = 0.04 * (2 * sg_rng_uniform(&noise) - 1);
            double v = mean + grain;
            if (t->s->background == NOISY)
                v = sg_rng_uniform(&noise);
            else if (t->s->background == TEXTURED || t->s->content == OF_TEXTURES)
                v += depth * texture_at(&of, x + 0.5, y + 0.5, &noise);
            t->pixels[y * size + x] = (float)v;
        }
}

/* Patches of texture that fade out, so that they have no shape. */
static void draw_distractors(item *t)
{
    const int size = t->s->size;
    sg_rng r = rng_of(t, DISTRACTORS), noise = rng_of(t, DISTRACTORS);

    noise.block = 1u << 20; /* numbers of the same stream that nothing else takes */
    for (int i = 0; i < t->s->distractors; i++) {
        const texture of = draw_texture(&r, (int)sg_rng_below(&r, N_TEXTURES));
        const double cx = between(&r, 0, size), cy = between(&r, 0, size), wide = between(&r, 0.06, 0.12) * size;
        const double depth = between(&r, 0.2, 0.4);
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++) {
                const double far =
                    ((x + 0.5 - cx) * (x + 0.5 - cx) + (y + 0.5 - cy) * (y + 0.5 - cy)) / (2 * wide * wide);
                if (far < 4)
                    t->pixels[y * size + x] += (float)(depth * sg_math_exp(-far) * texture_at(&of, x, y, &noise));
            }
    }
}

static void draw_object(item *t, int shape, double mean)
{
    const int size = t->s->size, bottom = size - (t->s->captions == NO_CAPTION ? 0 : STRIP);
    sg_rng r = rng_of(t, OBJECT), o = rng_of(t, OCCLUSION);
    const double most = SG_MIN(0.34 * size, 0.5 * bottom - 0.5), radius = between(&r, 0.7 * most, most);
    const double cx = between(&r, radius, size - radius), cy = between(&r, radius, bottom - radius);
    const double turn = between(&r, -0.3, 0.3), c = sg_math_cos(turn), s = sg_math_sin(turn);
    const double grey = mean < 0.5 ? between(&r, mean + 0.3, 1) : between(&r, 0, mean - 0.3);
    const bool outlined = t->s->fill == OUTLINED || (t->s->fill == EITHER && sg_rng_uniform(&r) < 0.5);
    const double hole = 1 - between(&r, 1.6, 2.6) / radius; /* an outline of some two pixels */
    /* A bar across it. */
    const bool occluded = sg_rng_uniform(&o) < t->s->occlusion;
    const double bar = between(&o, 0, PI), bx = sg_math_cos(bar), by = sg_math_sin(bar);
    const double off = between(&o, -0.5, 0.5) * radius, half = between(&o, 0.8, 1.8), bar_grey = between(&o, 0, 1);

    for (int y = SG_MAX(0, (int)(cy - 1.2 * radius)); y < SG_MIN(size, (int)(cy + 1.2 * radius) + 2); y++)
        for (int x = SG_MAX(0, (int)(cx - 1.2 * radius)); x < SG_MIN(size, (int)(cx + 1.2 * radius) + 2); x++) {
            int lit = 0, covered = 0;
            for (int k = 0; k < SUPER * SUPER; k++) {
                const double px = x + (k % SUPER + 0.5) / SUPER - cx, py = y + (k / SUPER + 0.5) / SUPER - cy;
                const double u = (c * px + s * py) / radius, v = (c * py - s * px) / radius;
                const bool over = occluded && fabs(px * by - py * bx - off) < half && u * u + v * v < 1.3;
                covered += over;
                lit += !over && inside(shape, u, v) && !(outlined && inside(shape, u / hole, v / hole));
            }
            const double n = SUPER * SUPER, rest = n - lit - covered;
            float *p = &t->pixels[y * size + x];
            *p = (float)((rest * (double)*p + lit * grey + covered * bar_grey) / n);
            t->mask[y * size + x] = 2 * lit >= SUPER * SUPER;
        }
}

static void draw_item(item *t)
{
    const settings *s = t->s;
    const size_t n = (size_t)s->size * (size_t)s->size;
    sg_rng r = rng_of(t, WHAT);
    const int drawn = (int)sg_rng_below(&r, (uint32_t)s->classes), what = s->only >= 0 ? s->only : drawn;
    const bool wrong = sg_rng_uniform(&r) < s->wrong;
    const int other = (int)sg_rng_below(&r, (uint32_t)s->classes), kind = (int)sg_rng_below(&r, N_TEXTURES);
    const int random_label = (int)sg_rng_below(&r, (uint32_t)s->classes);
    const double mean = between(&r, 0.2, 0.8),
                 depth = s->content == OF_TEXTURES ? between(&r, 0.15, 0.3) : between(&r, 0.05, 0.15);

    memset(t->mask, 0, n);
    memset(t->written, 0, n);
    t->texture = s->content == OF_TEXTURES ? what : s->background == TEXTURED ? kind : -1;
    t->caption = s->content == OF_CAPTIONS                           ? what
                 : s->content == OF_SHAPES && s->captions == WRITTEN ? (wrong ? other : what)
                                                                     : -1;
    t->label = s->random_labels ? random_label : what;
    const int32_t shown = t->texture;
    t->texture = SG_MAX(shown, 0);
    draw_background(t, mean, depth);
    t->texture = shown;
    draw_distractors(t);
    for (size_t i = 0; i < n; i++)
        t->pixels[i] = SG_MAX(0.0f, SG_MIN(1.0f, t->pixels[i]));
    if (s->content == OF_SHAPES)
        draw_object(t, what, mean);
    if (t->caption >= 0)
        write_caption(t);
}

/* ---- as a world ---- */

static const sg_option options[] = {
    {"size", SG_OPTION_WHOLE, "24", 16, MOST_SIDE, NULL, "pixels along each side"},
    {"classes", SG_OPTION_WHOLE, "4", 2, N_SHAPES, NULL,
     "of disc, square, triangle, cross, star, rhombus, bar, heart, the first so many"},
    {"content", SG_OPTION_CHOICE, "shapes", 0, 0, "shapes|textures|captions",
     "what the label is of: a shape, the texture of an image without one, a written name without one"},
    {"fill", SG_OPTION_CHOICE, "filled", 0, 0, "filled|outlined|either", "how shapes are drawn"},
    {"background", SG_OPTION_CHOICE, "textured", 0, 0, "textured|plain|noise", "what is behind them"},
    {"distractors", SG_OPTION_WHOLE, "2", 0, 16, NULL, "patches of other textures"},
    {"occlusion", SG_OPTION_REAL, "0", 0, 1, NULL, "probability that a bar lies over the shape"},
    {"captions", SG_OPTION_CHOICE, "none", 0, 0, "none|written|room",
     "whether the name of the shape is written below it; room: not, but its place is left free"},
    {"wrong", SG_OPTION_REAL, "0", 0, 1, NULL, "probability that the caption is drawn at random; 1: it says nothing"},
    {"only", SG_OPTION_WHOLE, "-1", -1, N_SHAPES - 1, NULL, "the one class that is drawn; -1: all"},
    {"labels", SG_OPTION_CHOICE, "true", 0, 0, "true|random", "random: labels that the image says nothing of"},
};

static const sg_world_field fields[] = {
    {"pixels", "[count,1,size,size] greys from 0 (black) to 1"},
    {"label", "[count] the class"},
    {"mask", "[count,size,size] where the shape can be seen (at least half of the pixel)"},
    {"caption", "[count] the class that is written; -1: none"},
    {"caption_mask", "[count,size,size] where it is written"},
    {"texture", "[count] of the background, 0 to 7; -1: it has none"},
};

static settings settings_of(const double *o)
{
    return (settings){.size = (int)o[0],
                      .classes = (int)o[1],
                      .content = (int)o[2],
                      .fill = (int)o[3],
                      .background = (int)o[4],
                      .distractors = (int)o[5],
                      .occlusion = o[6],
                      .captions = (int)o[7],
                      .wrong = o[8],
                      .only = (int)o[9],
                      .random_labels = o[10] != 0};
}

static sg_status world_shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const settings s = settings_of(option);
    const sg_dim n = s.size;

    if (s.only >= s.classes)
        return sg_fail(err, SG_EARG, "shapes: only class %d of %d (from 0)", s.only, s.classes);
    if ((s.content == OF_CAPTIONS || s.captions == WRITTEN) && n < 24)
        return sg_fail(err, SG_EARG, "shapes: a caption of six letters takes 24 pixels, size is %d", s.size);
    field[0] = sg_tensor_of(SG_F32, 4, (sg_dim[]){count, 1, n, n}, NULL);
    field[1] = sg_tensor_of(SG_I32, 1, &count, NULL);
    field[2] = sg_tensor_of(SG_BOOL, 3, (sg_dim[]){count, n, n}, NULL);
    field[3] = sg_tensor_of(SG_I32, 1, &count, NULL);
    field[4] = sg_tensor_of(SG_BOOL, 3, (sg_dim[]){count, n, n}, NULL);
    field[5] = sg_tensor_of(SG_I32, 1, &count, NULL);
    return SG_OK;
}

static void world_sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const settings s = settings_of(option);
    const sg_dim n = (sg_dim)s.size * s.size;

    for (sg_dim i = 0; i < count; i++) {
        item t = {.s = &s,
                  .from = {from.seed, from.stream, from.step + (uint64_t)i},
                  .pixels = (float *)field[0].data + i * n,
                  .mask = (uint8_t *)field[2].data + i * n,
                  .written = (uint8_t *)field[4].data + i * n};
        draw_item(&t);
        ((int32_t *)field[1].data)[i] = t.label;
        ((int32_t *)field[3].data)[i] = t.caption;
        ((int32_t *)field[5].data)[i] = t.texture;
    }
}

const sg_world sg_world_shapes = {
    .name = "shapes",
    .help = "grey images of a shape on a textured background, with its mask, and a caption if wanted",
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = world_shape,
    .sample = world_sample,
};
