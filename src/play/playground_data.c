/* Points: six data sets, drawn in the order of the original so that a seed gives its points, and those of one's own. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "play/play_internal.h"
#include "play/play_math.h"

static const double pi = 3.14159265358979323846;

static double uniform(sg_play_stream *r, double a, double b)
{
    return sg_play_stream_next(r) * (b - a) + a;
}

/* From [a,b] to [c,d] along a line that does not end there, rounded as D3's scales round. */
static double mapped(double x, double a, double b, double c, double d)
{
    const double t = (x - a) / (b - a);
    return c * (1 - t) + d * t;
}

/* Marsaglia's polar method, of which only one of the two numbers is used. */
static double normal(sg_play_stream *r, double mean, double variance)
{
    double v1, v2, s;
    do {
        v1 = 2 * sg_play_stream_next(r) - 1;
        v2 = 2 * sg_play_stream_next(r) - 1;
        s = v1 * v1 + v2 * v2;
    } while (s > 1);
    return mean + sqrt(variance) * (sqrt(-2 * play_log(s) / s) * v1);
}

static void circle(sg_play_point *out, int n, double noise, sg_play_stream *r)
{
    const double radius = 5, ends[2][2] = {{0, radius * 0.5}, {radius * 0.7, radius}};
    for (int ring = 0; ring < 2; ring++)
        for (int i = 0; i < n / 2; i++) {
            const double d = uniform(r, ends[ring][0], ends[ring][1]), angle = uniform(r, 0, 2 * pi);
            const double x = d * play_sin(angle), y = d * play_cos(angle);
            const double nx = x + uniform(r, -radius, radius) * noise, ny = y + uniform(r, -radius, radius) * noise;
            *out++ = (sg_play_point){x, y, sqrt(nx * nx + ny * ny) < radius * 0.5 ? 1 : -1};
        }
}

static void exclusive_or(sg_play_point *out, int n, double noise, sg_play_stream *r)
{
    for (int i = 0; i < n; i++) {
        double x = uniform(r, -5, 5);
        x += x > 0 ? 0.3 : -0.3;
        double y = uniform(r, -5, 5);
        y += y > 0 ? 0.3 : -0.3;
        const double nx = uniform(r, -5, 5) * noise, ny = uniform(r, -5, 5) * noise;
        out[i] = (sg_play_point){x, y, (x + nx) * (y + ny) >= 0 ? 1 : -1};
    }
}

static void gauss(sg_play_point *out, int n, double noise, sg_play_stream *r)
{
    const double variance = mapped(noise, 0, 0.5, 0.5, 4);
    for (int cloud = 0; cloud < 2; cloud++)
        for (int i = 0; i < n / 2; i++) {
            const double centre = cloud ? -2 : 2, x = normal(r, centre, variance), y = normal(r, centre, variance);
            *out++ = (sg_play_point){x, y, cloud ? -1 : 1};
        }
}

static void spiral(sg_play_point *out, int n, double noise, sg_play_stream *r)
{
    const int half = n / 2;
    for (int arm = 0; arm < 2; arm++)
        for (int i = 0; i < half; i++) {
            const double d = (double)i / half * 5, turn = 1.75 * i / half * 2 * pi + (arm ? pi : 0);
            const double x = d * play_sin(turn) + uniform(r, -1, 1) * noise;
            const double y = d * play_cos(turn) + uniform(r, -1, 1) * noise;
            *out++ = (sg_play_point){x, y, arm ? -1 : 1};
        }
}

static double plane_label(double x, double y)
{
    return mapped(x + y, -10, 10, -1, 1);
}

/* The bump largest in absolute value, the first of equals. */
static double bumps_label(double x, double y)
{
    static const double centres[][3] = {{-4, 2.5, 1},   {0, 2.5, -1}, {4, 2.5, 1},
                                        {-4, -2.5, -1}, {0, -2.5, 1}, {4, -2.5, -1}};
    double label = 0;
    for (size_t i = 0; i < SG_COUNT_OF(centres); i++) {
        const double dx = x - centres[i][0], dy = y - centres[i][1];
        const double height = 1 - sqrt(dx * dx + dy * dy) / 2, bump = centres[i][2] * (height < 0 ? 0 : height);
        if (fabs(bump) > fabs(label))
            label = bump;
    }
    return label;
}

static void field_of(double (*label)(double, double), sg_play_point *out, int n, double noise, sg_play_stream *r)
{
    for (int i = 0; i < n; i++) {
        const double x = uniform(r, -6, 6), y = uniform(r, -6, 6);
        const double nx = uniform(r, -6, 6) * noise, ny = uniform(r, -6, 6) * noise;
        out[i] = (sg_play_point){x, y, label(x + nx, y + ny)};
    }
}

static void plane(sg_play_point *out, int n, double noise, sg_play_stream *r)
{
    field_of(plane_label, out, n, noise, r);
}

static void bumps(sg_play_point *out, int n, double noise, sg_play_stream *r)
{
    field_of(bumps_label, out, n, noise, r);
}

static void (*const draws[])(sg_play_point *, int, double, sg_play_stream *) = {
    [SG_PLAY_CIRCLE] = circle, [SG_PLAY_XOR] = exclusive_or, [SG_PLAY_GAUSS] = gauss,
    [SG_PLAY_SPIRAL] = spiral, [SG_PLAY_REG_PLANE] = plane,  [SG_PLAY_REG_GAUSS] = bumps,
};

sg_play_dataset play_dataset(const sg_play_state *s)
{
    return s->problem == SG_PLAY_REGRESSION ? s->reg_dataset : s->dataset;
}

int play_n_points(sg_play_dataset d)
{
    return d >= SG_PLAY_REG_PLANE ? PLAY_REGRESSED : PLAY_CLASSIFIED;
}

void play_draw(sg_play_point *out, int n, sg_play_dataset d, double noise, sg_play_stream *stream)
{
    draws[d](out, n, noise / 100, stream);
}

int sg_play_sample(sg_play_point *out, sg_play_dataset dataset, int n, double noise, const char *seed)
{
    sg_play_stream stream;
    const int most = SG_MIN(n, play_n_points(dataset));
    sg_play_stream_seed(&stream, seed);
    play_draw(out, most, dataset, noise, &stream);
    return dataset == SG_PLAY_XOR || dataset >= SG_PLAY_REG_PLANE ? most : most / 2 * 2;
}

void play_shuffle(sg_play_point *points, int n, sg_play_stream *stream)
{
    for (int left = n; left > 0; left--) {
        const int k = (int)floor(sg_play_stream_next(stream) * left);
        const sg_play_point t = points[left - 1];
        points[left - 1] = points[k];
        points[k] = t;
    }
}

/* ---- points of one's own ---- */

/* The next field of a line, without blanks and quotes around it; where it ends, or NULL where the line had no more. */
static const char *next_cell(const char *at, const char *end, const char **cell, size_t *n)
{
    if (!at)
        return NULL;
    const char *stop = at;
    while (stop < end && *stop != ',' && *stop != ';' && *stop != '\t')
        stop++;
    const char *last = stop;
    while (at < last && (isspace((unsigned char)*at) || *at == '"'))
        at++;
    while (last > at && (isspace((unsigned char)last[-1]) || last[-1] == '"'))
        last--;
    *cell = at;
    *n = (size_t)(last - at);
    return stop < end ? stop + 1 : end + 1;
}

static bool number(const char *text, size_t n, double *out)
{
    char copy[64], *end = NULL;
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (strspn(copy, "+-.0123456789eE") != n)
        return false;
    *out = strtod(copy, &end);
    return *end == '\0' && isfinite(*out);
}

static bool is_word(const char *cell, size_t n, const char *const *words)
{
    for (; *words; words++) {
        size_t i = 0;
        while (i < n && (*words)[i] && tolower((unsigned char)cell[i]) == (*words)[i])
            i++;
        if (i == n && !(*words)[i])
            return true;
    }
    return false;
}

/* Which column holds x, y and the label. True where the line is a heading. */
static bool heading(const char *line, const char *end, int columns[3])
{
    static const char *const names[3][6] = {
        {"x", "x1", "x_1", NULL}, {"y", "x2", "x_2", NULL}, {"label", "class", "target", "z", "t", NULL}};
    const char *cell = NULL;
    size_t n = 0;
    double x = 0;
    int found[3] = {-1, -1, -1};
    bool is_heading = false;
    int c = 0;
    for (const char *at = line; at <= end && (at = next_cell(at, end, &cell, &n)); c++) {
        for (int k = 0; k < 3; k++)
            if (is_word(cell, n, names[k]) && found[k] < 0)
                found[k] = c;
        is_heading = is_heading || (n > 0 && !number(cell, n, &x));
        if (at > end)
            break;
    }
    if (is_heading && found[0] >= 0 && found[1] >= 0 && found[2] >= 0)
        memcpy(columns, found, sizeof found);
    return is_heading;
}

sg_status sg_play_read_csv(sg_play_point **out, int *n_out, const char *bytes, size_t n_bytes, const char *name,
                           sg_error *err)
{
    const char *end = bytes + n_bytes;
    int columns[3] = {0, 1, 2}, n = 0, capacity = 0, line_number = 0;
    sg_play_point *points = NULL;
    bool began = false;
    sg_status status = SG_OK;

    *out = NULL;
    *n_out = 0;
    for (const char *line = bytes; line < end && status == SG_OK;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line)), *cell = NULL;
        const char *last = stop ? stop : end;
        line_number++;
        if (line_number == 1 && last - line >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0)
            line += 3;
        const char *text = line;
        line = last + 1;
        while (text < last && isspace((unsigned char)*text))
            text++;
        if (text == last || *text == '#')
            continue;
        if (!began && heading(text, last, columns)) {
            began = true;
            continue;
        }
        began = true;
        double values[3] = {0};
        int found = 0, c = 0;
        size_t length = 0;
        for (const char *at = text; at <= last && (at = next_cell(at, last, &cell, &length)); c++)
            for (int k = 0; k < 3; k++)
                if (columns[k] == c && number(cell, length, &values[k]))
                    found++;
        if (found != 3)
            status = sg_fail(err, SG_EFORMAT, "%s: line %d: three numbers x, y, label were wanted, \"%.*s\" is there",
                             name, line_number, (int)SG_MIN(last - text, 60), text);
        else if (n == PLAY_OWN_MOST)
            status = sg_fail(err, SG_EARG, "%s: more than %d points", name, PLAY_OWN_MOST);
        if (status == SG_OK && n == capacity) {
            capacity = capacity ? 2 * capacity : 256;
            sg_play_point *more = realloc(points, (size_t)capacity * sizeof *more);
            if (!more)
                status = sg_fail(err, SG_ENOMEM, "%s: out of memory for %d points", name, capacity);
            points = more ? more : points;
        }
        if (status == SG_OK)
            points[n++] = (sg_play_point){values[0], values[1], values[2]};
    }
    if (status == SG_OK && n == 0)
        status = sg_fail(err, SG_EFORMAT, "%s: no points; lines of x,y,label were wanted", name);
    if (status != SG_OK) {
        free(points);
        return status;
    }
    *out = points;
    *n_out = n;
    return SG_OK;
}
