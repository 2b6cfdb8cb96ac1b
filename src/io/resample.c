/* Resampling: filters along a line, and pictures resized by them. */
#include "io/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"

#define PI 3.14159265358979323846

static double sinc(double x)
{
    return x == 0 ? 1 : sg_math_sin(PI * x) / (PI * x);
}

/* Keys 1981, equation 15 */
static double cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? a * (((x - 5) * x + 8) * x - 4) : 0;
}

static double weight_of(sg_filter filter, double x)
{
    switch (filter) {
    case SG_FILTER_LANCZOS:
        return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
    case SG_FILTER_BILINEAR:
        return fabs(x) < 1 ? 1 - fabs(x) : 0;
    case SG_FILTER_BICUBIC:
        return cubic(x, -0.5);
    case SG_FILTER_HAMMING:
        return fabs(x) < 1 ? sinc(x) * (0.54 + 0.46 * sg_math_cos(PI * x)) : 0;
    default:
        return x > -0.5 && x <= 0.5 ? 1 : 0;
    }
}

static double reach_of(sg_filter filter, sg_dim from, sg_dim to)
{
    static const double reach[SG_N_FILTERS] = {0.5, 3, 1, 2, 0.5, 1};

    return reach[filter] * fmax(1, (double)from / (double)to);
}

sg_dim sg_resample_most(sg_filter filter, sg_dim from, sg_dim to)
{
    return (sg_dim)ceil(reach_of(filter, from, to)) * 2 + 1;
}

void sg_resample_taps(sg_filter filter, sg_dim from, sg_dim to, sg_dim i, sg_taps *t)
{
    const double step = (double)from / (double)to, middle = ((double)i + 0.5) * step,
                 reach = reach_of(filter, from, to);
    const double narrow = 1 / fmax(1, step);
    double sum = 0;

    if (filter == SG_FILTER_NEAREST) {
        t->first = SG_MIN((sg_dim)middle, from - 1);
        t->n = 1;
        t->weights[0] = 1;
        return;
    }
    t->first = (sg_dim)fmax(0, middle - reach + 0.5);
    t->n = (int)(SG_MIN((sg_dim)(middle + reach + 0.5), from) - t->first);
    for (int k = 0; k < t->n; k++)
        sum += t->weights[k] = weight_of(filter, ((double)(t->first + k) - middle + 0.5) * narrow);
    for (int k = 0; k < t->n && sum != 0; k++)
        t->weights[k] /= sum;
}

void sg_resample_matrix(sg_filter filter, sg_dim from, sg_dim to, double *matrix)
{
    for (sg_dim i = 0; i < to; i++) {
        sg_taps t = {.weights = matrix + i * from};
        sg_resample_taps(filter, from, to, i, &t); /* at the row's start, never more than there are numbers */
        memmove(t.weights + t.first, t.weights, (size_t)t.n * sizeof(double));
        memset(t.weights, 0, (size_t)t.first * sizeof(double));
    }
}

void sg_resample_points(sg_dim from, sg_dim to, double *matrix)
{
    const double step = (double)from / (double)to;

    for (sg_dim i = 0; i < to; i++) {
        const double at = ((double)i + 0.5) * step - 0.5, left = floor(at);
        for (int k = -1; k <= 2; k++) {
            const sg_dim place = SG_MAX((sg_dim)0, SG_MIN((sg_dim)left + k, from - 1));
            matrix[i * from + place] += cubic(at - left - k, -0.75);
        }
    }
}

/* ---- pictures ---- */

enum { WEIGHT_BITS = 22 };

typedef struct line {
    int *first, *n, *weights; /* [to], [to], [to,most] */
    int most;
} line;

static bool plan(line *l, sg_filter filter, int from, int to)
{
    const sg_dim most = sg_resample_most(filter, from, to);
    double *weights = malloc((size_t)most * sizeof *weights);

    l->most = (int)most;
    l->first = malloc((size_t)to * 2 * sizeof *l->first);
    l->weights = malloc((size_t)to * (size_t)most * sizeof *l->weights);
    const bool ok = weights && l->first && l->weights;
    l->n = ok ? l->first + to : NULL;
    for (int i = 0; ok && i < to; i++) {
        sg_taps t = {.weights = weights};
        sg_resample_taps(filter, from, to, i, &t);
        l->first[i] = (int)t.first;
        l->n[i] = t.n;
        for (int k = 0; k < t.n; k++)
            l->weights[i * most + k] = (int)(t.weights[k] * (1 << WEIGHT_BITS) + (t.weights[k] < 0 ? -0.5 : 0.5));
    }
    free(weights);
    return ok;
}

static void drop(line *l)
{
    free(l->first);
    free(l->weights);
}

/* n_lines lines of numbers `step` apart; a line begins `row` after the one before. Channels are 3, side by side. */
static void resample(const line *l, const uint8_t *from, sg_dim from_line, sg_dim from_step, uint8_t *to,
                     sg_dim to_line, sg_dim to_step, int n_lines, int n)
{
    for (int y = 0; y < n_lines; y++)
        for (int i = 0; i < n; i++)
            for (int c = 0; c < 3; c++) {
                const uint8_t *x = from + y * from_line + l->first[i] * from_step + c;
                const int *w = l->weights + (sg_dim)i * l->most;
                int64_t sum = 1 << (WEIGHT_BITS - 1);
                for (int k = 0; k < l->n[i]; k++)
                    sum += (int64_t)x[k * from_step] * w[k];
                sum = sum < 0 ? 0 : sum >> WEIGHT_BITS;
                to[y * to_line + i * to_step + c] = (uint8_t)SG_MIN(sum, (int64_t)255);
            }
}

sg_status sg_bitmap_resize(sg_bitmap **out, const sg_bitmap *b, int height, int width, sg_filter filter, sg_error *err)
{
    *out = NULL;
    if (height < 1 || width < 1 || height > 16384 || width > 16384 || (int64_t)height * width > 1 << 26)
        return sg_fail(err, SG_EARG, "a picture of %d rows and %d columns was asked for", height, width);
    sg_bitmap *to = calloc(1, sizeof *to);
    line across = {0}, down = {0};
    uint8_t *between = malloc((size_t)b->height * (size_t)width * 3);
    uint8_t *rgb = malloc((size_t)height * (size_t)width * 3);
    const bool ok =
        to && between && rgb && plan(&across, filter, b->width, width) && plan(&down, filter, b->height, height);

    if (ok) {
        resample(&across, b->rgb, (sg_dim)b->width * 3, 3, between, (sg_dim)width * 3, 3, b->height, width);
        resample(&down, between, 3, (sg_dim)width * 3, rgb, 3, (sg_dim)width * 3, width, height);
        *to = (sg_bitmap){height, width, rgb};
        *out = to;
    } else {
        free(to);
        free(rgb);
    }
    free(between);
    drop(&across);
    drop(&down);
    return ok ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a picture of %d rows and %d columns", height, width);
}
