/* Maps as numbers and pictures; nothing here knows of networks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/attribute.h"
#include "sightglass/statistics.h"

double sg_attribute_cap(sg_dim n, double *x, double q)
{
    double *sizes = malloc((size_t)SG_MAX(n, 1) * sizeof *sizes), cap = 0;
    for (sg_dim i = 0; i < n; i++) {
        cap = SG_MAX(cap, fabs(x[i]));
        if (sizes)
            sizes[i] = fabs(x[i]);
    }
    if (sizes && q < 1) { /* without memory the largest is the cap */
        sg_stats_sort(n, sizes);
        const double at = sg_stats_quantile(n, sizes, q);
        cap = at > 0 ? at : cap; /* where nearly all is 0 */
    }
    free(sizes);
    for (sg_dim i = 0; i < n && cap > 0; i++)
        x[i] = SG_MIN(SG_MAX(x[i] / cap, -1), 1);
    return cap;
}

double sg_attribute_variation(sg_dim height, sg_dim width, const double *places)
{
    double steps = 0, sum = 0;
    for (sg_dim y = 0; y < height; y++)
        for (sg_dim x = 0; x < width; x++) {
            const double v = places[y * width + x];
            sum += fabs(v);
            steps += x + 1 < width ? fabs(v - places[y * width + x + 1]) : 0;
            steps += y + 1 < height ? fabs(v - places[(y + 1) * width + x]) : 0;
        }
    return sum > 0 ? steps / sum : nan("");
}

double sg_attribute_inside(sg_dim n, const double *places, const bool *mask)
{
    double sum = 0, inside = 0;
    for (sg_dim i = 0; i < n; i++) {
        sum += fabs(places[i]);
        inside += mask[i] ? fabs(places[i]) : 0;
    }
    return sum > 0 ? inside / sum : nan("");
}

void sg_attribute_edges(double *places, sg_dim channels, sg_dim height, sg_dim width, const double *x)
{
    memset(places, 0, (size_t)(height * width) * sizeof *places);
    for (sg_dim c = 0; c < channels; c++)
        for (sg_dim y = 0; y < height; y++)
            for (sg_dim k = 0; k < width; k++) {
                const double *plane = x + c * height * width;
                const sg_dim up = SG_MAX(y - 1, 0), down = SG_MIN(y + 1, height - 1);
                const sg_dim left = SG_MAX(k - 1, 0), right = SG_MIN(k + 1, width - 1);
                places[y * width + k] += fabs(plane[down * width + k] - plane[up * width + k]) +
                                         fabs(plane[y * width + right] - plane[y * width + left]);
            }
}

/* ---- pictures ---- */

static uint8_t byte(double x)
{
    return (uint8_t)(SG_MIN(SG_MAX(x, 0), 1) * 255 + 0.5);
}

/* White at 0, red above, blue below; or black to white. */
static void colour(uint8_t rgb[3], double v, bool with_sign)
{
    const double size = SG_MIN(fabs(v), 1);
    if (!with_sign) {
        rgb[0] = rgb[1] = rgb[2] = byte(size);
        return;
    }
    rgb[v < 0 ? 2 : 0] = byte(1 - 0.15 * size);
    rgb[1] = byte(1 - 0.9 * size);
    rgb[v < 0 ? 0 : 2] = byte(1 - 0.95 * size);
}

static void over(uint8_t rgb[3], const uint8_t under[3], double v)
{
    const double grey = (0.299 * under[0] + 0.587 * under[1] + 0.114 * under[2]) / 255, size = SG_MIN(fabs(v), 1);
    const double base = 0.25 + 0.6 * grey, keep = 1 - size;
    const double red = v < 0 ? 0.1 : 0.95, blue = v < 0 ? 0.9 : 0.1;
    rgb[0] = byte(base * keep + red * size);
    rgb[1] = byte(base * keep + 0.1 * size);
    rgb[2] = byte(base * keep + blue * size);
}

sg_status sg_attribute_picture(sg_bitmap **out, sg_dim height, sg_dim width, const double *places, bool with_sign,
                               int zoom, const sg_bitmap *under, sg_error *err)
{
    *out = NULL;
    if (height < 1 || width < 1 || zoom < 1 || height * zoom > 16384 || width * zoom > 16384)
        return sg_fail(err, SG_EARG, "attribute: no picture has %lld rows and %lld columns at %d pixels each",
                       (long long)height, (long long)width, zoom);
    const int h = (int)height * zoom, w = (int)width * zoom;
    sg_bitmap *below = NULL, *b;
    SG_TRY(sg_bitmap_new(&b, h, w, err));
    if (under) {
        const sg_status status = sg_bitmap_resize(&below, under, h, w, SG_FILTER_BILINEAR, err);
        if (status != SG_OK) {
            sg_bitmap_free(b);
            return status;
        }
    }
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const double v = places[(sg_dim)(y / zoom) * width + x / zoom];
            const size_t at = ((size_t)y * (size_t)w + (size_t)x) * 3;
            if (below)
                over(b->rgb + at, below->rgb + at, v);
            else
                colour(b->rgb + at, v, with_sign);
        }
    sg_bitmap_free(below);
    *out = b;
    return SG_OK;
}
