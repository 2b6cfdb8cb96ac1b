/* What becomes of S when parts of the input are filled: occlusion by windows, deletion and insertion by order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/attribute_internal.h"
#include "sightglass/statistics.h"

static bool is_image(const sg_attribute_work *w)
{
    return !w->by_position && w->n_dims > 1;
}

sg_dim sg_attribute_n_places(const sg_attribute_work *w)
{
    return is_image(w) ? w->dims[w->n_dims - 2] * w->dims[w->n_dims - 1] : w->dims[0];
}

sg_dim sg_attribute_place(const sg_attribute_work *w, sg_dim element)
{
    const sg_dim n = sg_attribute_n_places(w);
    return is_image(w) ? element % n : element / (w->n / n);
}

/* The baseline, or the mean of a channel over its places, or 0; of a table, whose columns are different things, 0. */
void sg_attribute_fill(const sg_attribute_work *w, double *fill)
{
    const sg_dim n = SG_MAX(sg_attribute_n_places(w), 1), each = w->n / n;
    memset(fill, 0, (size_t)w->n * sizeof *fill);
    if (w->opts->baseline) {
        memcpy(fill, w->opts->baseline, (size_t)w->n * sizeof *fill);
        return;
    }
    for (sg_dim c = 0; c < each && w->opts->mean_fill && w->n_dims > 1; c++) {
        const sg_dim first = is_image(w) ? c * n : c, step = is_image(w) ? 1 : each;
        double mean = 0;
        for (sg_dim p = 0; p < n; p++)
            mean += w->x[first + p * step] / (double)n;
        for (sg_dim p = 0; p < n; p++)
            fill[first + p * step] = mean;
    }
}

/* ---- occlusion ---- */

typedef struct windows {
    const sg_attribute_work *w;
    const double *fill;
    sg_dim height, width, side[2], stride[2], n[2]; /* of places; windows down and across */
} windows;

static bool covers(const windows *s, sg_dim j, sg_dim place)
{
    const sg_dim top = j / s->n[1] * s->stride[0], left = j % s->n[1] * s->stride[1];
    const sg_dim y = place / s->width, x = place % s->width;
    return y >= top && y < top + s->side[0] && x >= left && x < left + s->side[1];
}

static void occluded(void *context, sg_dim j, double *x)
{
    const windows *s = context;
    for (sg_dim i = 0; i < s->w->n; i++)
        if (covers(s, j, sg_attribute_place(s->w, i)))
            x[i] = s->fill[i];
}

/* Windows that together cover all; the last may hang over the edge. */
static void lay_windows(windows *s)
{
    const sg_attribute_work *w = s->w;
    const bool image = is_image(w);
    s->height = image ? w->dims[w->n_dims - 2] : w->dims[0];
    s->width = image ? w->dims[w->n_dims - 1] : 1;
    const sg_dim standard = image ? SG_MAX(SG_MIN(s->height, s->width) / 8, 1) : 1;
    const sg_dim side = w->opts->window > 0 ? w->opts->window : standard;
    const sg_dim stride = w->opts->stride > 0 ? w->opts->stride : image ? SG_MAX(side / 2, 1) : 1;
    const sg_dim extent[2] = {s->height, s->width};
    for (int k = 0; k < 2; k++) {
        s->side[k] = SG_MIN(side, extent[k]);
        s->stride[k] = SG_MIN(stride, s->side[k]);
        s->n[k] = (SG_MAX(extent[k] - s->side[k], 0) + s->stride[k] - 1) / s->stride[k] + 1;
    }
}

/* The fall of S by each window that covers a place, their mean, shared equally among the place's components: summed
 * over them it is the fall again. */
sg_status sg_attribute_occlusion(sg_attribute_work *w, double *map, sg_error *err)
{
    windows s = {.w = w};
    lay_windows(&s);
    const sg_dim n = s.n[0] * s.n[1], places = s.height * s.width, each = w->n / SG_MAX(places, 1);
    double *fill = sg_arena_array(w->arena, (size_t)w->n + 1, sizeof *fill);
    double *scores = sg_arena_array(w->arena, (size_t)n, sizeof *scores);
    double *fall = sg_arena_array(w->arena, (size_t)places + 1, sizeof *fall), whole;
    if (!fill || !scores || !fall)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory for %lld windows", (long long)n);
    sg_attribute_fill(w, fill);
    s.fill = fill;
    w->whole = (double)n + 1;
    windows none = s;
    none.side[0] = none.side[1] = 0;
    SG_TRY(sg_attribute_scores(w, 1, occluded, &none, &whole, err));
    SG_TRY(sg_attribute_scores(w, n, occluded, &s, scores, err));
    for (sg_dim p = 0; p < places; p++) {
        double sum = 0;
        int covering = 0;
        for (sg_dim j = 0; j < n; j++)
            if (covers(&s, j, p)) {
                sum += whole - scores[j];
                covering++;
            }
        fall[p] = covering ? sum / covering : 0;
    }
    for (sg_dim i = 0; i < w->n; i++)
        map[i] = fall[sg_attribute_place(w, i)] / (double)each;
    return SG_OK;
}

/* ---- deletion and insertion ---- */

typedef struct owned {
    sg_attribute_curve face;
    sg_arena *arena;
} owned;

typedef struct filling {
    const sg_attribute_work *w;
    const double *fill;
    const sg_dim *rank; /* [places] place in the order, 0 first */
    sg_dim places;
    int n_steps;
    bool insert;
} filling;

static void filled(void *context, sg_dim j, double *x)
{
    const filling *f = context;
    const double until = (double)j * (double)f->places / f->n_steps;
    for (sg_dim i = 0; i < f->w->n; i++) {
        const bool done = (double)f->rank[sg_attribute_place(f->w, i)] < until;
        if (done != f->insert)
            x[i] = f->fill[i];
    }
}

static double area(const double *y, int n_steps)
{
    double sum = 0;
    for (int i = 0; i < n_steps; i++)
        sum += (y[i] + y[i + 1]) / 2;
    return sum / n_steps;
}

static sg_status curves(owned *o, sg_attribute_work *w, const double *places, sg_error *err)
{
    const sg_dim n = sg_attribute_n_places(w);
    const int n_steps = o->face.n_steps;
    double *size = sg_arena_array(w->arena, (size_t)n + 1, sizeof *size);
    double *fill = sg_arena_array(w->arena, (size_t)w->n + 1, sizeof *fill);
    sg_dim *order = sg_arena_array(w->arena, (size_t)n + 1, sizeof *order);
    sg_dim *rank = sg_arena_array(w->arena, (size_t)n + 1, sizeof *rank);
    o->face.deletion = sg_arena_array(o->arena, (size_t)n_steps + 1, sizeof(double));
    o->face.insertion = sg_arena_array(o->arena, (size_t)n_steps + 1, sizeof(double));
    if (!size || !fill || !order || !rank || !o->face.deletion || !o->face.insertion)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory for %lld places", (long long)n);
    for (sg_dim p = 0; p < n; p++)
        size[p] = fabs(places[p]);
    SG_TRY(sg_stats_order(order, n, size, true, err));
    for (sg_dim k = 0; k < n; k++)
        rank[order[k]] = k;
    sg_attribute_fill(w, fill);
    filling f = {.w = w, .fill = fill, .rank = rank, .places = n, .n_steps = n_steps};
    w->whole = 2.0 * (n_steps + 1);
    SG_TRY(sg_attribute_scores(w, n_steps + 1, filled, &f, o->face.deletion, err));
    f.insert = true;
    SG_TRY(sg_attribute_scores(w, n_steps + 1, filled, &f, o->face.insertion, err));
    o->face.deletion_area = area(o->face.deletion, n_steps);
    o->face.insertion_area = area(o->face.insertion, n_steps);
    return SG_OK;
}

sg_status sg_attribute_curves(sg_attribute_curve **out, sg_attributer *a, const sg_attribute_input *in,
                              const double *places, int n_steps, const sg_attribute_opts *opts, sg_error *err)
{
    sg_attribute_work w;
    *out = NULL;
    if (n_steps < 1 || n_steps > 100000)
        return sg_fail(err, SG_EARG, "attribute: %d steps of a curve", n_steps);
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    if (!o) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    }
    o->arena = arena;
    o->face.n_steps = n_steps;
    sg_status status = sg_attribute_begin(&w, a, in, opts, err);
    if (status == SG_OK)
        status = curves(o, &w, places, err);
    sg_attribute_end(&w);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_attribute_curve_free(sg_attribute_curve *c)
{
    if (c)
        sg_arena_free(((owned *)c)->arena);
}
