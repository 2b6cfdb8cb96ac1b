/* The kinds of maps: each is a rule for the rows of a batch, and a sum over their gradients or scores. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/math.h"
#include "methods/attribute_internal.h"
#include "ops/iter.h"
#include "sightglass/rng.h"

enum { STREAM = 0x61747472 };

static const struct {
    const char *name, *text;
} kinds[SG_N_ATTRIBUTE_KINDS] = {
    {"gradient", "gradient"},
    {"input-x-gradient", "input times gradient"},
    {"smooth", "mean gradient over noisy copies (SmoothGrad)"},
    {"smooth2", "mean squared gradient over noisy copies (not the paper's formula; without sign)"},
    {"vargrad", "variance of the gradient over noisy copies"},
    {"integrated", "integrated gradients"},
    {"guided", "guided backpropagation (not a gradient)"},
    {"occlusion", "fall of the score where a part is filled"},
};

const char *sg_attribute_kind_name(sg_attribute_kind kind)
{
    return kinds[kind].name;
}

const char *sg_attribute_kind_text(sg_attribute_kind kind)
{
    return kinds[kind].text;
}

sg_attribute_opts sg_attribute_defaults(void)
{
    return (sg_attribute_opts){.n = -1, .noise = 0.15, .mean_fill = true};
}

/* ---- one input, repeated ---- */

/* Few enough rows that what they hold stays near the processor, and enough to keep it busy. */
static sg_dim rows_at_once(const sg_attribute_opts *opts, sg_dim n)
{
    return opts->batch > 0 ? opts->batch : n > 16384 ? 5 : 25;
}

static sg_status repeat(sg_attribute_work *w, sg_error *err)
{
    const sg_attribute_input *in = w->in;
    const size_t batch = (size_t)w->batch;
    w->feeds = sg_arena_array(w->arena, (size_t)SG_MAX(in->n_feeds, 1), sizeof *w->feeds);
    w->tokens = sg_arena_array(w->arena, batch, sizeof *w->tokens);
    w->lengths = sg_arena_array(w->arena, batch, sizeof *w->lengths);
    w->index = sg_arena_array(w->arena, batch, sizeof *w->index);
    w->other = sg_arena_array(w->arena, batch, sizeof *w->other);
    if (!w->feeds || !w->tokens || !w->lengths || !w->index || !w->other)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    for (size_t r = 0; r < batch; r++) {
        w->tokens[r] = in->tokens;
        w->lengths[r] = in->n_tokens;
        w->index[r] = (int32_t)in->index;
        w->other[r] = (int32_t)in->other;
    }
    for (int i = 0; i < in->n_feeds; i++) {
        const sg_named_feed *f = &in->feeds[i];
        if (strcmp(f->name, w->a->site_name) == 0)
            continue;
        const size_t bytes = sg_tensor_bytes(&f->tensor);
        char *copies = sg_arena_array(w->arena, batch, SG_MAX(bytes, 1));
        if (!copies)
            return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
        for (size_t r = 0; r < batch; r++)
            memcpy(copies + r * bytes, f->tensor.data, bytes);
        w->feeds[w->n_feeds] = *f;
        w->feeds[w->n_feeds].tensor.data = copies;
        w->feeds[w->n_feeds++].tensor.dims[0] = w->batch;
    }
    return SG_OK;
}

static sg_attribute_rows all_rows(const sg_attribute_work *w)
{
    return (sg_attribute_rows){.n = w->batch,
                               .n_feeds = w->n_feeds,
                               .feeds = w->feeds,
                               .tokens = w->in->tokens ? w->tokens : NULL,
                               .lengths = w->lengths,
                               .index = w->index,
                               .other = w->other};
}

/* x: as it was fed, or as the network computes it. */
static sg_status find_x(sg_attribute_work *w, sg_error *err)
{
    sg_attributer *a = w->a;
    sg_tensor x = {.data = NULL};
    for (int i = 0; i < w->in->n_feeds; i++)
        if (strcmp(w->in->feeds[i].name, a->site_name) == 0)
            x = w->in->feeds[i].tensor;
    if (!x.data) {
        int32_t index = (int32_t)w->in->index, other = (int32_t)w->in->other;
        const sg_attribute_rows one = {.n = 1,
                                       .n_feeds = w->in->n_feeds,
                                       .feeds = w->in->feeds,
                                       .tokens = w->in->tokens ? &w->in->tokens : NULL,
                                       .lengths = &w->in->n_tokens,
                                       .index = &index,
                                       .other = &other};
        SG_TRY(sg_attributer_batch(a, &one, 0, 1, NULL, 1, &a->site, &x, err));
    }
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
    bool fits = x.n_dims == sg_value_n_dims(a->site) && x.dtype == sg_value_dtype(a->site);
    for (int k = 1; k < x.n_dims && fits; k++)
        fits = sg_value_dim(a->site, k) < 0 || sg_value_dim(a->site, k) == x.dims[k];
    if (!fits || x.dims[0] != 1)
        return sg_fail(err, SG_ESHAPE, "attribute: %s is %s %s, wanted one row of %s %s", a->site_name,
                       sg_dtype_name(x.dtype), sg_shape_text(found, x.n_dims, x.dims),
                       sg_dtype_name(sg_value_dtype(a->site)), sg_value_shape_text(a->site, wanted));
    w->n_dims = x.n_dims - 1;
    w->n = sg_tensor_count(&x);
    memcpy(w->dims, x.dims + 1, (size_t)w->n_dims * sizeof *w->dims);
    w->by_position = sg_value_axes(a->site)[0] && sg_value_axes(a->site)[1] == 't';
    if (!w->by_position && w->n_dims == 2)
        w->by_position = true; /* [rows, places, components] */
    w->batch = rows_at_once(w->opts, w->n);
    w->x = sg_arena_array(w->arena, (size_t)SG_MAX(w->n, 1), sizeof *w->x);
    w->points = sg_arena_array(w->arena, (size_t)(w->batch * w->n) + 1, sizeof *w->points);
    w->values = sg_arena_array(w->arena, (size_t)(w->batch * w->n) + 1, sg_dtype_bytes(x.dtype));
    if (!w->x || !w->points || !w->values)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory for %" PRId64 " rows", w->batch);
    sg_convert(w->x, SG_F64, x.data, x.dtype, w->n);
    return SG_OK;
}

sg_status sg_attribute_begin(sg_attribute_work *w, sg_attributer *a, const sg_attribute_input *in,
                             const sg_attribute_opts *opts, sg_error *err)
{
    *w = (sg_attribute_work){.a = a, .in = in, .opts = opts, .arena = sg_arena_new()};
    if (!w->arena)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    if (in->index < 0 || in->index > INT32_MAX || in->other < 0 || in->other > INT32_MAX)
        return sg_fail(err, SG_EARG, "attribute: there is no number %" PRId64 " to ask about", in->index);
    SG_TRY(find_x(w, err));
    return repeat(w, err);
}

void sg_attribute_end(sg_attribute_work *w)
{
    sg_arena_free(w->arena);
}

/* ---- rows ---- */

typedef struct filling {
    const sg_attribute_work *w;
    sg_attribute_point point;
    void *context;
    sg_dim first;
    sg_dtype type;
} filling;

static void fill_rows(void *context, sg_dim from, sg_dim to)
{
    const filling *f = context;
    const sg_attribute_work *w = f->w;
    for (sg_dim r = from; r < to; r++) {
        double *x = w->points + r * w->n;
        memcpy(x, w->x, (size_t)w->n * sizeof *x);
        f->point(f->context, f->first + r, x);
        sg_convert((char *)w->values + (size_t)(r * w->n) * sg_dtype_bytes(f->type), f->type, x, SG_F64, w->n);
    }
}

static sg_status run_points(sg_attribute_work *w, sg_attributer *by, sg_dim first, sg_dim n, sg_attribute_point point,
                            void *context, sg_value *fetch, sg_tensor *out, sg_error *err)
{
    const sg_attribute_rows rows = all_rows(w);
    const sg_dtype type = sg_value_dtype(by->site);
    sg_tensor site = {.dtype = type, .n_dims = w->n_dims + 1, .data = w->values};
    if (w->opts->cancel && *w->opts->cancel)
        return sg_fail(err, SG_ECANCELLED, "stopped at row %" PRId64, first);
    site.dims[0] = n;
    memcpy(site.dims + 1, w->dims, (size_t)w->n_dims * sizeof *w->dims);
    filling f = {w, point, context, first, type};
    sg_split(n, w->n * 8, w->a->exec.n_threads, fill_rows,
             &f); /* a row's numbers are drawn, say, from its own stream */
    SG_TRY(sg_attributer_batch(by, &rows, 0, n, &site, 1, &fetch, out, err));
    w->done += (double)n;
    if (w->opts->progress && w->whole > 0)
        w->opts->progress(w->opts->context, SG_MIN(w->done / w->whole, 1));
    return SG_OK;
}

sg_status sg_attribute_scores(sg_attribute_work *w, sg_dim n, sg_attribute_point point, void *context, double *scores,
                              sg_error *err)
{
    for (sg_dim first = 0, now; first < n; first += now) {
        sg_tensor out;
        now = SG_MIN(w->batch, n - first);
        SG_TRY(run_points(w, w->a, first, now, point, context, w->a->score, &out, err));
        for (sg_dim r = 0; r < now; r++)
            scores[first + r] = sg_tensor_get(&out, r);
    }
    return SG_OK;
}

typedef struct adding {
    const sg_tensor *t; /* [rows,n] */
    sg_dim rows, n;
    double *sum, *squares; /* squares may be NULL */
} adding;

/* In double, whatever the type; the order of rows is that of their numbers, however elements are shared out. */
static void add_rows(void *context, sg_dim from, sg_dim to)
{
    const adding *d = context;
    for (sg_dim r = 0; r < d->rows; r++) {
        const float *x = d->t->dtype == SG_F32 ? (const float *)d->t->data + r * d->n : NULL;
        const double *x64 = d->t->dtype == SG_F64 ? (const double *)d->t->data + r * d->n : NULL;
        for (sg_dim i = from; i < to; i++) {
            const double v = x ? (double)x[i] : x64[i];
            d->sum[i] += v;
            if (d->squares)
                d->squares[i] += v * v;
        }
    }
}

sg_status sg_attribute_sums(sg_attribute_work *w, sg_attributer *by, sg_dim n, sg_attribute_point point, void *context,
                            double *sum, double *squares, sg_error *err)
{
    for (sg_dim first = 0, now; first < n; first += now) {
        sg_tensor out;
        now = SG_MIN(w->batch, n - first);
        SG_TRY(run_points(w, by, first, now, point, context, by->gradient, &out, err));
        adding d = {&out, now, w->n, sum, squares};
        sg_split(w->n, now, w->a->exec.n_threads, add_rows, &d);
    }
    return SG_OK;
}

static void itself(void *context, sg_dim j, double *x)
{
    (void)context;
    (void)j;
    (void)x;
}

typedef struct noise {
    double sigma;
    uint64_t seed;
    sg_dim n;
} noise;

/* Normal numbers by Box and Muller (1958), from blocks of four words as everywhere; logarithms many at a time. */
static void noisy(void *context, sg_dim j, double *x)
{
    enum { PAIRS = 128 };
    const noise *e = context;
    double u[PAIRS], angle[PAIRS], logs[PAIRS];
    uint32_t words[4];
    for (sg_dim first = 0; first < e->n; first += 2 * PAIRS) {
        for (int k = 0; k < PAIRS; k += 2) {
            sg_philox_block(words, e->seed, STREAM, (uint64_t)j, (uint32_t)((first + 2 * k) / 4));
            for (int half = 0; half < 2; half++) {
                u[k + half] = ((double)words[2 * half] + 1.0) * 0x1p-32; /* (0,1] */
                angle[k + half] = 6.283185307179586477 * ((double)words[2 * half + 1] * 0x1p-32);
            }
        }
        sg_math_log_n(logs, u, PAIRS);
        for (int k = 0; k < PAIRS && first + 2 * k < e->n; k++) {
            const double radius = e->sigma * sqrt(-2.0 * logs[k]);
            double sine, cosine;
            sg_math_sincos(angle[k], &sine, &cosine);
            x[first + 2 * k] += radius * cosine;
            if (first + 2 * k + 1 < e->n)
                x[first + 2 * k + 1] += radius * sine;
        }
    }
}

typedef struct path {
    const double *x0; /* NULL: zeros */
    sg_dim n, n_steps;
} path;

static void midpoint(void *context, sg_dim j, double *x)
{
    const path *p = context;
    const double t = ((double)j + 0.5) / (double)p->n_steps;
    for (sg_dim i = 0; i < p->n; i++) {
        const double x0 = p->x0 ? p->x0[i] : 0;
        x[i] = x0 + t * (x[i] - x0);
    }
}

/* Row 0 is x, row 1 is x0. */
static void ends(void *context, sg_dim j, double *x)
{
    const path *p = context;
    for (sg_dim i = 0; i < p->n && j == 1; i++)
        x[i] = p->x0 ? p->x0[i] : 0;
}

/* ---- kinds ---- */

static double range(const sg_attribute_work *w)
{
    double low = w->n ? w->x[0] : 0, high = low;
    for (sg_dim i = 0; i < w->n; i++) {
        low = SG_MIN(low, w->x[i]);
        high = SG_MAX(high, w->x[i]);
    }
    return high - low;
}

static sg_status smoothed(sg_attribute_work *w, sg_attribute_map *m, sg_error *err)
{
    const sg_dim n = w->opts->n < 0 ? 25 : w->opts->n;
    const bool mean_only = m->kind == SG_ATTRIBUTE_SMOOTH;
    double *squares = mean_only ? NULL : sg_arena_array(w->arena, (size_t)SG_MAX(w->n, 1), sizeof *squares);
    noise e = {.sigma = w->opts->noise * range(w), .seed = w->opts->seed, .n = w->n};
    if (!squares && !mean_only)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    m->sigma = e.sigma;
    w->whole = (double)n;
    SG_TRY(sg_attribute_sums(w, w->a, n, noisy, &e, m->map, squares, err));
    for (sg_dim i = 0; i < w->n; i++) {
        const double mean = m->map[i] / (double)n, square = squares ? squares[i] / (double)n : 0;
        m->map[i] = m->kind == SG_ATTRIBUTE_SMOOTH    ? mean
                    : m->kind == SG_ATTRIBUTE_SMOOTH2 ? square
                                                      : SG_MAX(square - mean * mean, 0);
    }
    return SG_OK;
}

static sg_status integrated(sg_attribute_work *w, sg_attribute_map *m, sg_error *err)
{
    path p = {w->opts->baseline, w->n, w->opts->n < 0 ? 50 : w->opts->n};
    double both[2], sum = 0;
    w->whole = (double)p.n_steps + 2;
    SG_TRY(sg_attribute_scores(w, 2, ends, &p, both, err));
    SG_TRY(sg_attribute_sums(w, w->a, p.n_steps, midpoint, &p, m->map, NULL, err));
    for (sg_dim i = 0; i < w->n; i++) {
        m->map[i] *= (w->x[i] - (p.x0 ? p.x0[i] : 0)) / (double)p.n_steps;
        sum += m->map[i];
    }
    m->baseline_score = both[1];
    m->residual = sum - (both[0] - both[1]);
    return SG_OK;
}

/* The same network under the other rule. */
static sg_status guided_of(sg_attributer *a, sg_error *err)
{
    if (a->guided)
        return SG_OK;
    sg_attributer *g = calloc(1, sizeof *g);
    if (!g)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    *g = (sg_attributer){.from = a->from,
                         .state = a->state,
                         .target = a->target,
                         .exec = a->exec,
                         .is_guided = true,
                         .site_name = strdup(a->site_name),
                         .target_site = a->target_site ? strdup(a->target_site) : NULL};
    sg_status status = g->site_name && (g->target_site || !a->target_site)
                           ? sg_attributer_build(g, err)
                           : sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    if (status != SG_OK)
        sg_attributer_free(g);
    else
        a->guided = g;
    return status;
}

static sg_status fill(sg_attribute_work *w, sg_attribute_map *m, sg_error *err)
{
    sg_attributer *by = w->a;
    SG_TRY(sg_attribute_scores(w, 1, itself, NULL, &m->score, err));
    w->done = 0;
    switch (m->kind) {
    case SG_ATTRIBUTE_SMOOTH:
    case SG_ATTRIBUTE_SMOOTH2:
    case SG_ATTRIBUTE_VARGRAD:
        return smoothed(w, m, err);
    case SG_ATTRIBUTE_INTEGRATED:
        return integrated(w, m, err);
    case SG_ATTRIBUTE_OCCLUSION:
        return sg_attribute_occlusion(w, m->map, err);
    case SG_ATTRIBUTE_GUIDED:
        SG_TRY(guided_of(w->a, err));
        by = w->a->guided;
        break;
    default:
        break;
    }
    SG_TRY(sg_attribute_sums(w, by, 1, itself, NULL, m->map, NULL, err));
    for (sg_dim i = 0; i < w->n && m->kind == SG_ATTRIBUTE_INPUT_X_GRADIENT; i++)
        m->map[i] *= w->x[i];
    return SG_OK;
}

typedef struct owned {
    sg_attribute_map face;
    bool by_position;
    sg_arena *arena;
} owned;

static sg_status check(const sg_attribute_opts *opts, sg_error *err)
{
    if (opts->kind < 0 || opts->kind >= SG_N_ATTRIBUTE_KINDS || opts->n == 0 || opts->n < -1 || opts->n > 1000000 ||
        !(opts->noise >= 0 && opts->noise < 1e6) || opts->batch < 0 || opts->batch > 65536 || opts->window < 0 ||
        opts->stride < 0)
        return sg_fail(err, SG_EARG, "attribute: %d copies with noise %g, batches of %" PRId64 ", windows of %" PRId64,
                       opts->n, opts->noise, opts->batch, opts->window);
    return SG_OK;
}

sg_status sg_attribute(sg_attribute_map **out, sg_attributer *a, const sg_attribute_input *in,
                       const sg_attribute_opts *opts, sg_error *err)
{
    sg_attribute_work w;
    *out = NULL;
    SG_TRY(check(opts, err));
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    if (!o) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    }
    o->arena = arena;
    sg_attribute_map *m = &o->face;
    sg_status status = sg_attribute_begin(&w, a, in, opts, err);
    if (status == SG_OK) {
        const size_t n = (size_t)SG_MAX(w.n, 1);
        o->by_position = w.by_position;
        m->kind = opts->kind;
        m->n_dims = w.n_dims;
        memcpy(m->dims, w.dims, sizeof m->dims);
        m->n = w.n;
        m->baseline_score = m->residual = nan("");
        m->map = sg_arena_array(arena, n, sizeof *m->map);
        m->x = sg_arena_array(arena, n, sizeof *m->x);
        if (!m->map || !m->x)
            status = sg_fail(err, SG_ENOMEM, "attribute: out of memory");
        else
            memcpy(m->x, w.x, (size_t)w.n * sizeof *m->x);
    }
    if (status == SG_OK)
        status = fill(&w, m, err);
    sg_attribute_end(&w);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = m;
    return SG_OK;
}

void sg_attribute_map_free(sg_attribute_map *m)
{
    if (m)
        sg_arena_free(((owned *)m)->arena);
}

/* ---- places ---- */

void sg_attribute_size(const sg_attribute_map *m, sg_dim *height, sg_dim *width)
{
    const bool by_position = ((const owned *)m)->by_position;
    *height = by_position || m->n_dims < 2 ? m->dims[0] : m->dims[m->n_dims - 2];
    *width = by_position || m->n_dims < 2 ? 1 : m->dims[m->n_dims - 1];
}

void sg_attribute_places(double *places, const sg_attribute_map *m, sg_attribute_reduce how)
{
    sg_dim height, width;
    sg_attribute_size(m, &height, &width);
    const sg_dim n = height * width, each = n ? m->n / n : 0;
    const bool inner = ((const owned *)m)->by_position; /* the components of a place lie together */
    for (sg_dim p = 0; p < n; p++) {
        double sum = 0, most = 0, squares = 0, plain = 0;
        for (sg_dim k = 0; k < each; k++) {
            const double v = m->map[inner ? p * each + k : k * n + p];
            plain += v;
            sum += fabs(v);
            squares += v * v;
            most = SG_MAX(most, fabs(v));
        }
        places[p] = how == SG_REDUCE_ABS_SUM   ? sum
                    : how == SG_REDUCE_ABS_MAX ? most
                    : how == SG_REDUCE_L2      ? sqrt(squares)
                                               : plain;
    }
}
