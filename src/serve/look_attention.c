/* Attention, a head and a range of queries at a time: computed from what enters the block, so that reading one head
 * costs about one head. A whole pattern of many tokens is seen as a pyramid of pooled levels; its finest level is never
 * kept, since a band of it is as quickly computed as read. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/look_internal.h"
#include "sightglass/ops.h"

const char *const look_measures[LOOK_N_MEASURES] = {"entropy", "most", "self", "previous", "first", "distance", "out"};

static sg_status check(const look *l, int layer, int head, int n_heads, sg_dim first, sg_dim stop, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(l->of.model);
    if (layer < 0 || layer >= in->n_layers || head < 0 || n_heads < 1 || head + n_heads > in->n_heads)
        return sg_fail(err, SG_EARG, "layer %d, head %d: the model has %" PRId64 " layers of %" PRId64 " heads", layer,
                       head + n_heads - 1, in->n_layers, in->n_heads);
    if (first < 0 || stop <= first || stop > l->of.n)
        return sg_fail(err, SG_EARG, "positions %" PRId64 " to %" PRId64 " of %" PRId64, first, stop - 1, l->of.n);
    return SG_OK;
}

static sg_status pattern(look *l, int layer, int head, int n_heads, sg_dim first, sg_dim stop, float **out,
                         sg_error *err)
{
    sg_glass *glass = NULL;
    sg_value *v = NULL;
    sg_tensor got;
    char name[48], site[64];

    *out = NULL;
    SG_TRY(check(l, layer, head, n_heads, first, stop, err));
    SG_TRY(look_enter(l, err));
    SG_TRY(look_glass(l, true, &glass, err));
    snprintf(site, sizeof site, "blocks.%d.attn.hook_pattern", layer);
    sg_status status = sg_glass_find(glass, site, &v, err);
    if (status == SG_OK) {
        sg_graph *g = sg_glass_graph(glass);
        if (n_heads < sg_model_get_info(l->of.model)->n_heads)
            v = sg_slice(g, v, 1, head, head + n_heads, 1);
        if (stop - first < l->of.n)
            v = sg_slice(g, v, 2, first, stop, 1);
        const sg_named_feed feed = look_feed(l, layer, name);
        status = sg_graph_status(g, err);
        if (status == SG_OK)
            status = look_run(l, glass, 1, &feed, 1, &v, &got, err);
    }
    if (status == SG_OK) {
        *out = malloc((size_t)sg_tensor_count(&got) * sizeof **out);
        if (*out)
            sg_convert(*out, SG_F32, got.data, got.dtype, sg_tensor_count(&got));
        else
            status = sg_fail(err, SG_ENOMEM, "out of memory for a pattern");
    }
    sg_glass_free(glass);
    return status;
}

sg_status look_pattern(look *l, int layer, int head, int n_heads, sg_dim first, sg_dim stop, float **out, sg_error *err)
{
    pthread_mutex_lock(&l->lock);
    const sg_status status = pattern(l, layer, head, n_heads, first, stop, out, err);
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* ---- every head of a layer ---- */

/* Queries that are scanned at once: some megabytes of weights. */
static sg_dim band_rows(sg_dim n, sg_dim n_heads)
{
    return SG_MAX(1, SG_MIN(n, ((sg_dim)1 << 22) / (n * n_heads)));
}

static void measure_row(look_scan *s, float *thumbs, int head, sg_dim n, sg_dim t, const float *w)
{
    float *to = s->measure + head * n + t;
    const size_t step = (size_t)(s->n_heads * n);
    double entropy = 0, distance = 0;
    float most = 0;
    for (sg_dim j = 0; j < n; j++) {
        if (w[j] > 0) {
            entropy -= (double)w[j] * log((double)w[j]);
            distance += (double)w[j] * (double)(t - j);
        }
        most = fmaxf(most, w[j]);
    }
    to[LOOK_ENTROPY * step] = (float)entropy;
    to[LOOK_MOST * step] = most;
    to[LOOK_SELF * step] = w[t];
    to[LOOK_PREVIOUS * step] = t ? w[t - 1] : 0;
    to[LOOK_FIRST * step] = w[0];
    to[LOOK_DISTANCE * step] = (float)distance;
    float *thumb = thumbs + (head * s->side + (int)(t * s->side / n)) * s->side;
    for (sg_dim j = 0; j <= t; j++)
        thumb[j * s->side / n] = fmaxf(thumb[j * s->side / n], w[j]);
}

/* What each head adds: hook_attn_out is linear in hook_z, so a row in which only one head's z is left, less a row
 * without any (the bias), is what this head writes. Some positions at a time; edits of hook_attn_out have no part in
 * it. */
static sg_status head_writes(look *l, int layer, look_scan *s, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(l->of.model);
    const sg_dim h = in->n_heads, d = in->d_head, n = l->of.n, all = h * d;
    const sg_dim step = SG_MAX(1, SG_MIN(n, ((sg_dim)1 << 23) / ((h + 1) * SG_MAX(all, in->d_model))));
    const size_t each = (size_t)(step * all);
    sg_glass *glass = NULL, *edited = NULL;
    sg_value *z, *written;
    sg_tensor got;
    char name[48], site[64], at[64];
    float *fed = malloc((size_t)(h + 1) * each * sizeof *fed), *kept = malloc((size_t)(n * all) * sizeof *kept);
    const int32_t **rows = calloc((size_t)h + 1, sizeof *rows);
    sg_dim *lengths = calloc((size_t)h + 1, sizeof *lengths);

    sg_status status =
        fed && kept && rows && lengths ? look_glass(l, true, &edited, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    snprintf(site, sizeof site, "blocks.%d.attn.hook_z", layer);
    snprintf(at, sizeof at, "blocks.%d.hook_attn_out", layer);
    if (status == SG_OK)
        status = sg_glass_find(edited, site, &z, err);
    if (status == SG_OK) {
        const sg_named_feed feed = look_feed(l, layer, name);
        status = look_run(l, edited, 1, &feed, 1, &z, &got, err);
    }
    if (status == SG_OK) {
        sg_convert(kept, SG_F32, got.data, got.dtype, n * all);
        status = look_glass(l, false, &glass, err);
    }
    if (status == SG_OK)
        status = sg_glass_find(glass, at, &written, err);
    for (sg_dim first = 0; first < n && status == SG_OK; first += step) {
        const sg_dim count = SG_MIN(step, n - first);
        memset(fed, 0, (size_t)((h + 1) * count * all) * sizeof *fed);
        for (sg_dim r = 0; r <= h; r++) {
            rows[r] = l->tokens;
            lengths[r] = count;
            for (sg_dim t = 0; t < count && r < h; t++)
                memcpy(fed + ((r * count + t) * all + r * d), kept + (first + t) * all + r * d,
                       (size_t)d * sizeof *fed);
        }
        const sg_rows rs = {.n_rows = (int)h + 1, .tokens = rows, .lengths = lengths};
        const sg_named_feed feed = {site, sg_tensor_of(SG_F32, 4, (sg_dim[]){h + 1, count, h, d}, fed)};
        status = look_run_rows(glass, &rs, 1, &feed, 1, &written, &got, err);
        for (sg_dim r = 0; r < h && status == SG_OK; r++)
            for (sg_dim t = 0; t < count; t++) {
                double sum = 0;
                for (sg_dim k = 0; k < in->d_model; k++) {
                    const double x = sg_tensor_get(&got, (r * count + t) * in->d_model + k) -
                                     sg_tensor_get(&got, (h * count + t) * in->d_model + k);
                    sum += x * x;
                }
                s->measure[(LOOK_OUT * h + r) * n + first + t] = (float)sqrt(sum);
            }
    }
    sg_glass_free(glass);
    sg_glass_free(edited);
    free(fed);
    free(kept);
    free(rows);
    free(lengths);
    return status;
}

static sg_status scan(look *l, int layer, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(l->of.model);
    const sg_dim n = l->of.n, h = in->n_heads;
    SG_TRY(check(l, layer, 0, 1, 0, n, err));
    if (l->scans[layer])
        return SG_OK;
    look_scan *s = calloc(1, sizeof *s);
    if (!s)
        return sg_fail(err, SG_ENOMEM, "out of memory for a layer's heads");
    s->n_heads = (int)h;
    s->side = (int)SG_MIN(n, LOOK_THUMB);
    const size_t numbers = (size_t)(LOOK_N_MEASURES * h * n), pixels = (size_t)(h * s->side * s->side);
    s->measure = calloc(numbers, sizeof *s->measure);
    s->thumb = calloc(pixels, sizeof *s->thumb);
    float *thumbs = calloc(pixels, sizeof *thumbs);
    sg_status status =
        s->measure && s->thumb && thumbs ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a layer's heads");
    /* Short prompts: all heads at once. Long ones: a head at a time, in bands. */
    const int at_once = n * n * h <= ((sg_dim)1 << 22) ? (int)h : 1;
    const sg_dim rows = band_rows(n, at_once);
    for (int head = 0; head < h && status == SG_OK; head += at_once)
        for (sg_dim first = 0; first < n && status == SG_OK; first += rows) {
            const sg_dim stop = SG_MIN(n, first + rows);
            float *w;
            status = pattern(l, layer, head, at_once, first, stop, &w, err);
            for (int k = 0; k < at_once && status == SG_OK; k++)
                for (sg_dim t = first; t < stop; t++)
                    measure_row(s, thumbs, head + k, n, t, w + ((k * (stop - first)) + t - first) * n);
            free(w);
        }
    for (size_t i = 0; i < pixels && status == SG_OK; i++)
        s->thumb[i] = sg_f32_to_f16(thumbs[i]);
    free(thumbs);
    if (status == SG_OK)
        status = head_writes(l, layer, s, err);
    if (status != SG_OK) {
        free(s->measure);
        free(s->thumb);
        free(s);
        return status;
    }
    l->scans[layer] = s;
    l->bytes += numbers * sizeof *s->measure + pixels * sizeof *s->thumb;
    return SG_OK;
}

sg_status look_heads(look *l, int layer, const look_scan **out, sg_error *err)
{
    pthread_mutex_lock(&l->lock);
    const sg_status status = scan(l, layer, err);
    if (status == SG_OK)
        *out = l->scans[layer];
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* ---- tiles ---- */

sg_dim look_level_size(sg_dim n, int level)
{
    return (n + ((sg_dim)1 << level) - 1) >> level;
}

int look_levels(sg_dim n)
{
    int levels = 1;
    while (look_level_size(n, levels - 1) > LOOK_TILE)
        levels++;
    return levels;
}

static void free_pyramid(look *l, look_pyramid *p)
{
    for (int i = 0; i < p->n_levels; i++) {
        free(p->most[i]);
        free(p->mean[i]);
    }
    l->bytes -= p->bytes;
    free(p);
}

/* Levels 1 and above of a head. Pooling goes level by level in floats, of which two rows at a time are needed; weights
 * outside the pattern (at odd sizes) are not there, and a mean is over those that are. */
typedef struct pooling {
    look_pyramid *p;
    sg_dim n;
    float *waiting_most[24], *waiting_mean[24]; /* an even row of the level below, until its odd one comes */
} pooling;

static void pool(pooling *b, int level, sg_dim row, const float *most, const float *mean);

/* A finished row of `level`: stored, and pooled on. */
static void row_done(pooling *b, int level, sg_dim row, const float *most, const float *mean)
{
    const sg_dim size = look_level_size(b->n, level);
    for (sg_dim j = 0; j < size && level > 0; j++) {
        b->p->most[level][row * size + j] = sg_f32_to_f16(most[j]);
        b->p->mean[level][row * size + j] = sg_f32_to_f16(mean[j]);
    }
    if (level + 1 < b->p->n_levels)
        pool(b, level + 1, row, most, mean);
}

static void pool(pooling *b, int level, sg_dim row, const float *most, const float *mean)
{
    const sg_dim below = look_level_size(b->n, level - 1), size = look_level_size(b->n, level);
    float *m = b->waiting_most[level], *a = b->waiting_mean[level];
    const bool odd = row & 1, last = row == below - 1;
    for (sg_dim j = 0; j < size; j++) {
        const sg_dim x = 2 * j, y = SG_MIN(x + 1, below - 1);
        const float high = fmaxf(most[x], most[y]), middle = (mean[x] + mean[y]) / 2;
        m[j] = odd ? fmaxf(m[j], high) : high;
        a[j] = odd ? (a[j] + middle) / 2 : middle;
    }
    if (odd || last)
        row_done(b, level, row / 2, m, a);
}

static sg_status build_pyramid(look *l, int layer, int head, look_pyramid **out, sg_error *err)
{
    const sg_dim n = l->of.n, rows = band_rows(n, 1);
    pooling b = {.p = calloc(1, sizeof *b.p), .n = n};
    if (!b.p)
        return sg_fail(err, SG_ENOMEM, "out of memory for a pattern");
    b.p->layer = layer;
    b.p->head = head;
    b.p->n_levels = look_levels(n);
    sg_status status = SG_OK;
    for (int i = 1; i < b.p->n_levels; i++) {
        const size_t size = (size_t)look_level_size(n, i);
        b.p->bytes += 2 * size * size * sizeof(uint16_t);
    }
    if (b.p->bytes > LOOK_MOST_BYTES / 8)
        status = sg_fail(err, SG_EARG,
                         "the pattern of %" PRId64 " tokens is too large to be seen as a whole; ask for level 0", n);
    for (int i = 1; i < b.p->n_levels && status == SG_OK; i++) {
        const size_t size = (size_t)look_level_size(n, i);
        b.p->most[i] = malloc(size * size * sizeof(uint16_t));
        b.p->mean[i] = malloc(size * size * sizeof(uint16_t));
        b.waiting_most[i] = malloc(size * sizeof(float));
        b.waiting_mean[i] = malloc(size * sizeof(float));
        if (!b.p->most[i] || !b.p->mean[i] || !b.waiting_most[i] || !b.waiting_mean[i])
            status = sg_fail(err, SG_ENOMEM, "out of memory for a pattern");
    }
    for (sg_dim first = 0; first < n && status == SG_OK; first += rows) {
        const sg_dim stop = SG_MIN(n, first + rows);
        float *w;
        status = pattern(l, layer, head, 1, first, stop, &w, err);
        for (sg_dim t = first; t < stop && status == SG_OK; t++)
            row_done(&b, 0, t, w + (t - first) * n, w + (t - first) * n);
        free(w);
    }
    for (int i = 1; i < b.p->n_levels; i++) {
        free(b.waiting_most[i]);
        free(b.waiting_mean[i]);
    }
    l->bytes += b.p->bytes;
    if (status != SG_OK) {
        free_pyramid(l, b.p);
        return status;
    }
    *out = b.p;
    return SG_OK;
}

/* The head's pyramid, at the front of the list; those at its end go when there are too many bytes. */
static sg_status find_pyramid(look *l, int layer, int head, look_pyramid **out, sg_error *err)
{
    look_pyramid **at = &l->pyramids, *p;
    while (*at && ((*at)->layer != layer || (*at)->head != head))
        at = &(*at)->next;
    p = *at;
    if (p)
        *at = p->next;
    else
        SG_TRY(build_pyramid(l, layer, head, &p, err));
    p->next = l->pyramids;
    l->pyramids = p;
    size_t bytes = 0;
    for (at = &p->next; *at;) {
        look_pyramid *q = *at;
        bytes += q->bytes;
        if (bytes + p->bytes > LOOK_MOST_BYTES / 8) {
            *at = q->next;
            free_pyramid(l, q);
        } else {
            at = &q->next;
        }
    }
    *out = p;
    return SG_OK;
}

static sg_status find_band(look *l, int layer, int head, sg_dim first, sg_dim stop, const float **out, sg_error *err)
{
    look_band *oldest = &l->bands[0];
    for (int i = 0; i < LOOK_BANDS; i++) {
        look_band *b = &l->bands[i];
        if (b->rows && b->layer == layer && b->head == head && b->first == first) {
            b->used = ++l->clock;
            *out = b->rows;
            return SG_OK;
        }
        if (b->used < oldest->used)
            oldest = b;
    }
    float *rows;
    SG_TRY(pattern(l, layer, head, 1, first, stop, &rows, err));
    if (oldest->rows)
        l->bytes -= (size_t)((oldest->stop - oldest->first) * l->of.n) * sizeof(float);
    free(oldest->rows);
    *oldest = (look_band){layer, head, first, stop, rows, ++l->clock};
    l->bytes += (size_t)((stop - first) * l->of.n) * sizeof(float);
    *out = rows;
    return SG_OK;
}

static sg_status tile(look *l, int layer, int head, int level, sg_dim row, sg_dim column, bool mean, uint16_t **out,
                      sg_dim *rows, sg_dim *columns, sg_error *err)
{
    const sg_dim n = l->of.n;
    SG_TRY(check(l, layer, head, 1, 0, n, err));
    if (level < 0 || level >= look_levels(n))
        return sg_fail(err, SG_EARG, "level %d of %d", level, look_levels(n));
    const sg_dim size = look_level_size(n, level), tiles = (size + LOOK_TILE - 1) / LOOK_TILE;
    if (row < 0 || row >= tiles || column < 0 || column >= tiles)
        return sg_fail(err, SG_EARG, "tile %" PRId64 ",%" PRId64 " of %" PRId64 " in each direction", row, column,
                       tiles);
    const sg_dim top = row * LOOK_TILE, left = column * LOOK_TILE, height = SG_MIN(LOOK_TILE, size - top),
                 width = SG_MIN(LOOK_TILE, size - left);
    look_pyramid *p = NULL;
    const float *band = NULL;
    if (level)
        SG_TRY(find_pyramid(l, layer, head, &p, err));
    else
        SG_TRY(find_band(l, layer, head, top, top + height, &band, err));
    uint16_t *t = malloc((size_t)(height * width) * sizeof *t);
    if (!t)
        return sg_fail(err, SG_ENOMEM, "out of memory for a tile");
    for (sg_dim i = 0; i < height; i++)
        for (sg_dim j = 0; j < width; j++)
            t[i * width + j] = level ? (mean ? p->mean : p->most)[level][(top + i) * size + left + j]
                                     : sg_f32_to_f16(band[i * n + left + j]);
    *out = t;
    *rows = height;
    *columns = width;
    return SG_OK;
}

sg_status look_tile(look *l, int layer, int head, int level, sg_dim row, sg_dim column, bool mean, uint16_t **out,
                    sg_dim *rows, sg_dim *columns, sg_error *err)
{
    pthread_mutex_lock(&l->lock);
    const sg_status status = tile(l, layer, head, level, row, column, mean, out, rows, columns, err);
    pthread_mutex_unlock(&l->lock);
    return status;
}
