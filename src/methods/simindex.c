/* Two passes over the stimuli: one for the mean of each value, one for cosines. A batch has, for each triple, its
 * whole, its near one and its far ones; activations are never kept. */
#include "sightglass/simindex.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/image.h"
#include "sightglass/ops.h"

#define GABOR_SIDE 32 /* pixels that pictures are shrunk to for the filters */

sg_simindex_opts sg_simindex_defaults(void)
{
    sg_simindex_opts o = {.batch = 16, .bootstrap = sg_bootstrap_defaults(), .exec = sg_exec_defaults()};

    o.bootstrap.n_resamples = 10000;
    return o;
}

struct sg_simindex {
    sg_arena *arena;
    int n;
    sg_simindex_site *sites;
};

int sg_simindex_n(const sg_simindex *x)
{
    return x->n;
}

const sg_simindex_site *sg_simindex_get(const sg_simindex *x, int i)
{
    SG_ASSERT(i >= 0 && i < x->n);
    return &x->sites[i];
}

void sg_simindex_free(sg_simindex *x)
{
    if (x)
        sg_arena_free(x->arena);
}

/* ---- one site ---- */

typedef struct site {
    sg_dim width;    /* numbers of one image */
    double *mean;    /* [width] */
    float *averaged; /* over space, of a batch */
    double *each[2]; /* [n] plain, centred */
} site;

typedef struct work {
    const sg_triples *t;
    const sg_simindex_opts *o;
    int n_sites;
    sg_session *session;
    sg_value *pixels, **fetches;
    site *sites;
    sg_tensor *out;
    float *images;     /* a batch */
    sg_dim n, k, each; /* triples, far ones of each, numbers of an image */
    sg_arena *arena;
} work;

/* Images of triple i, one after another: whole, near, far ... */
static sg_status gather(const work *w, sg_dim i, float *to, sg_error *err)
{
    const size_t bytes = (size_t)w->each * sizeof(float);

    if (w->t->fill)
        return w->t->fill(w->t->context, i, to, err);
    memcpy(to, (const float *)w->t->whole.data + i * w->each, bytes);
    memcpy(to + w->each, (const float *)w->t->near.data + i * w->each, bytes);
    memcpy(to + 2 * w->each, (const float *)w->t->far.data + i * w->k * w->each, (size_t)w->k * bytes);
    return SG_OK;
}

/* [images,C,H,W] -> [images,C] */
static void average(const sg_tensor *x, float *to)
{
    const sg_dim plane = x->dims[2] * x->dims[3];
    const float *from = x->data;

    for (sg_dim i = 0; i < x->dims[0] * x->dims[1]; i++) {
        double sum = 0;
        for (sg_dim p = 0; p < plane; p++)
            sum += (double)from[i * plane + p];
        to[i] = (float)(sum / (double)plane);
    }
}

/* Cosine of a - mean and b - mean; mean NULL: of a and b. */
static double cosine(const float *a, const float *b, const double *mean, sg_dim n)
{
    double ab = 0, aa = 0, bb = 0;

    for (sg_dim i = 0; i < n; i++) {
        const double m = mean ? mean[i] : 0, x = (double)a[i] - m, y = (double)b[i] - m;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : (double)NAN;
}

/* A triple whose figures are all nothing, or all the same, says nothing: 0. */
static double index_of(const site *s, const float *images, const double *mean, sg_dim n_far)
{
    const double near = cosine(images, images + s->width, mean, s->width);
    double index = 0;

    for (sg_dim d = 0; d < n_far; d++) /* exactly 0 where far is near */
        index += (near - cosine(images, images + (2 + d) * s->width, mean, s->width)) / (double)n_far;
    return isfinite(index) ? index : 0;
}

static const float *numbers(const work *w, int i)
{
    site *s = &w->sites[i];

    if (!s->averaged)
        return w->out[i].data;
    average(&w->out[i], s->averaged);
    return s->averaged;
}

/* A pass over the first `n` triples: sums into means, or indices. */
static sg_status pass(work *w, sg_dim n, bool means, double from, double to, sg_error *err)
{
    const sg_dim stimuli = 2 + w->k;

    for (sg_dim at = 0; at < n; at += w->o->batch) {
        const sg_dim triples = SG_MIN(w->o->batch, n - at);
        if (w->o->cancel && *w->o->cancel)
            return sg_fail(err, SG_ECANCELLED, "the index was cancelled after %lld of %lld triples", (long long)at,
                           (long long)n);
        for (sg_dim i = 0; i < triples; i++)
            SG_TRY(gather(w, at + i, w->images + i * stimuli * w->each, err));
        sg_tensor x = w->t->whole;
        x.dims[0] = triples * stimuli;
        x.data = w->images;
        SG_TRY(sg_session_run(w->session, 1, &(sg_feed){w->pixels, x}, w->n_sites, w->fetches, w->out, err));
        for (int s = 0; s < w->n_sites; s++) {
            site *v = &w->sites[s];
            const float *a = numbers(w, s);
            for (sg_dim i = 0; means && i < triples * stimuli; i++)
                for (sg_dim d = 0; d < v->width; d++)
                    v->mean[d] += (double)a[i * v->width + d] / (double)(n * stimuli);
            for (sg_dim i = 0; !means && i < triples; i++)
                for (int c = 0; c < 2; c++)
                    v->each[c][at + i] = index_of(v, a + i * stimuli * v->width, c ? v->mean : NULL, w->k);
        }
        if (w->o->progress)
            w->o->progress(w->o->context, from + (to - from) * (double)(at + triples) / (double)n);
    }
    return SG_OK;
}

/* ---- all ---- */

static sg_status check(work *w, sg_error *err)
{
    const sg_triples *t = w->t;
    char whole[SG_SHAPE_TEXT], far[SG_SHAPE_TEXT];

    if (t->whole.n_dims != 4 || t->near.n_dims != 4 || t->far.n_dims != 5 || t->whole.dims[0] < 1 ||
        t->far.dims[1] < 1 || t->whole.dtype != SG_F32 || t->near.dtype != SG_F32 || t->far.dtype != SG_F32 ||
        memcmp(t->whole.dims, t->near.dims, 4 * sizeof(sg_dim)) != 0 || t->far.dims[0] != t->whole.dims[0] ||
        memcmp(t->whole.dims + 1, t->far.dims + 2, 3 * sizeof(sg_dim)) != 0)
        return sg_fail(err, SG_ESHAPE, "triples are f32 [n,C,S,S] twice and [n,k,C,S,S], not %s and %s",
                       sg_shape_text(whole, t->whole.n_dims, t->whole.dims),
                       sg_shape_text(far, t->far.n_dims, t->far.dims));
    if (w->o->batch < 1 || w->o->centre_on < 0)
        return sg_fail(err, SG_EARG, "batches of %lld triples, centred on %lld", (long long)w->o->batch,
                       (long long)w->o->centre_on);
    w->n = t->whole.dims[0];
    w->k = t->far.dims[1];
    w->each = sg_tensor_count(&t->whole) / w->n;
    return SG_OK;
}

static sg_status room(work *w, sg_simindex *x, const char *const *names, sg_error *err)
{
    const sg_dim most = SG_MIN(w->o->batch, w->n) * (2 + w->k);

    w->sites = sg_arena_array(w->arena, (size_t)w->n_sites, sizeof *w->sites);
    w->out = sg_arena_array(w->arena, (size_t)w->n_sites, sizeof *w->out);
    w->images = sg_arena_array(w->arena, (size_t)(most * w->each), sizeof(float));
    x->sites = sg_arena_array(x->arena, (size_t)w->n_sites, sizeof *x->sites);
    bool ok = w->sites && w->out && w->images && x->sites;
    for (int i = 0; i < w->n_sites && ok; i++) {
        site *s = &w->sites[i];
        const sg_value *v = w->fetches[i];
        const int n_dims = sg_value_n_dims(v);
        sg_dim width = 1;
        for (int k = 1; k < n_dims; k++)
            width *= sg_value_dim(v, k);
        if (sg_value_dtype(v) != SG_F32 || n_dims < 2 || width < 1 || sg_value_dim(v, 0) != sg_value_dim(w->pixels, 0))
            return sg_fail(err, SG_EARG, "%s has not a row of f32 for each image", names[i]);
        const bool maps = w->o->over_space && n_dims == 4;
        s->width = maps ? sg_value_dim(v, 1) : width;
        s->averaged = maps ? sg_arena_array(w->arena, (size_t)(most * s->width), sizeof(float)) : NULL;
        s->mean = sg_arena_array(w->arena, (size_t)s->width, sizeof(double));
        ok = s->mean && (!maps || s->averaged) && (x->sites[i].site = sg_arena_strdup(x->arena, names[i]));
        for (int c = 0; c < 2 && ok; c++)
            ok = (s->each[c] = sg_arena_array(x->arena, (size_t)w->n, sizeof(double))) != NULL;
    }
    x->n = w->n_sites;
    return ok ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for an index of %lld triples", (long long)w->n);
}

static sg_status finish(sg_simindex_value *v, const double *each, sg_dim n, sg_bootstrap_opts bootstrap, sg_error *err)
{
    sg_interval i;
    double sum = 0;

    for (sg_dim k = 0; k < n; k++)
        sum += each[k];
    SG_TRY(sg_bootstrap_ratio(&i, n, each, NULL, bootstrap, err));
    *v = (sg_simindex_value){.index = sum / (double)n, .low = i.low, .high = i.high, .n = n, .each = each};
    return SG_OK;
}

/* Of a graph with the input w->pixels, whose session and fetches are there. */
static sg_status run(sg_simindex **out, work *w, const char *const *names, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_simindex *x = arena ? sg_arena_alloc(arena, sizeof *x) : NULL;

    if (!x) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for an index");
    }
    x->arena = arena;
    w->arena = sg_arena_new();
    const sg_dim seen = w->o->centre_on ? SG_MIN(w->o->centre_on, w->n) : w->n;
    const double part = (double)seen / (double)(seen + w->n);
    sg_status status = w->arena ? room(w, x, names, err) : sg_fail(err, SG_ENOMEM, "out of memory for an index");
    if (status == SG_OK)
        status = pass(w, seen, true, 0, part, err);
    if (status == SG_OK)
        status = pass(w, w->n, false, part, 1, err);
    for (int i = 0; i < w->n_sites && status == SG_OK; i++) {
        status = finish(&x->sites[i].plain, w->sites[i].each[0], w->n, w->o->bootstrap, err);
        if (status == SG_OK)
            status = finish(&x->sites[i].centred, w->sites[i].each[1], w->n, w->o->bootstrap, err);
    }
    sg_arena_free(w->arena);
    if (status != SG_OK) {
        sg_simindex_free(x);
        return status;
    }
    *out = x;
    return SG_OK;
}

sg_status sg_simindex_new(sg_simindex **out, const sg_model *m, const sg_triples *t, int n_sites,
                          const char *const *sites, sg_simindex_opts opts, sg_error *err)
{
    work w = {.t = t, .o = &opts, .n_sites = n_sites};
    sg_glass_opts glass_opts = sg_glass_defaults();
    sg_glass *glass;

    *out = NULL;
    SG_TRY(check(&w, err));
    if (!sg_model_get_info(m)->image_side)
        return sg_fail(err, SG_EARG, "%s reads no images", sg_model_get_info(m)->path);
    glass_opts.exec = opts.exec;
    SG_TRY(sg_glass_new(&glass, m, glass_opts, err));
    w.pixels = sg_graph_find(sg_glass_graph(glass), "pixels");
    w.fetches = calloc((size_t)SG_MAX(n_sites, 1), sizeof *w.fetches);
    sg_status status = w.fetches ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for %d sites", n_sites);
    for (int i = 0; i < n_sites && status == SG_OK; i++)
        status = sg_glass_find(glass, sites[i], &w.fetches[i], err);
    for (int k = 1; k < 4 && status == SG_OK; k++)
        if (t->whole.dims[k] != sg_value_dim(w.pixels, k))
            status = sg_fail(err, SG_ESHAPE, "%s reads images of %lld channels and %lld pixels along each side",
                             sg_model_get_info(m)->path, (long long)sg_value_dim(w.pixels, 1),
                             (long long)sg_value_dim(w.pixels, 2));
    if (status == SG_OK)
        status = sg_glass_ready(glass, err);
    if (status == SG_OK) {
        w.session = sg_glass_session(glass);
        status = run(out, &w, sites, err);
    }
    free(w.fetches);
    sg_glass_free(glass);
    return status;
}

/* ---- baselines ---- */

/* Even and odd filters [8,1,k,k] of four orientations, one after another; mean 0, norm 1. */
static sg_value *gabors(sg_graph *g, double wave, int k)
{
    const sg_dim dims[4] = {8, 1, k, k};
    float *x = calloc((size_t)(8 * k * k), sizeof *x);
    sg_tensor t = sg_tensor_of(SG_F32, 4, dims, x);

    for (int f = 0; x && f < 8; f++) {
        const double angle = (f / 2) * 3.14159265358979323846 / 4, phase = f % 2 ? 3.14159265358979323846 / 2 : 0;
        double mean = 0, norm = 0;
        for (int i = 0; i < k * k; i++) {
            const double dx = i % k - (k - 1) / 2.0, dy = i / k - (k - 1) / 2.0, sigma = 0.4 * wave;
            const double v = exp(-(dx * dx + dy * dy) / (2 * sigma * sigma)) *
                             cos(2 * 3.14159265358979323846 / wave * (dx * cos(angle) + dy * sin(angle)) + phase);
            x[f * k * k + i] = (float)v;
            mean += v / (k * k);
        }
        for (int i = 0; i < k * k; i++) {
            x[f * k * k + i] -= (float)mean;
            norm += (double)x[f * k * k + i] * (double)x[f * k * k + i];
        }
        for (int i = 0; i < k * k; i++)
            x[f * k * k + i] /= (float)sqrt(norm);
    }
    sg_value *v = x ? sg_const(g, &t) : sg_zeros_like(g, sg_full(g, SG_F32, 4, dims, 0));
    free(x);
    return v;
}

/* Energy of each orientation: sqrt(even^2 + odd^2). */
static sg_value *energy(sg_graph *g, sg_value *grey, double wave, int k)
{
    sg_conv2d_opts o = sg_conv2d_strided(1, k / 2);
    sg_value *pairs = sg_square(g, sg_conv2d(g, grey, gabors(g, wave, k), NULL, o)); /* [images,8,S,S] */
    const sg_dim images = sg_value_dim(pairs, 0), h = sg_value_dim(pairs, 2), w = sg_value_dim(pairs, 3);

    pairs = sg_sum(g, sg_reshape(g, pairs, 5, (sg_dim[]){images, 4, 2, h, w}), 2, false);
    return sg_sqrt(g, sg_add_scalar(g, pairs, 1e-12));
}

sg_status sg_simindex_baselines(sg_simindex **out, const sg_triples *t, sg_simindex_opts opts, sg_error *err)
{
    static const char *const names[] = {"pixels", "gabor"};
    work w = {.t = t, .o = &opts, .n_sites = 2};
    sg_graph *g;
    sg_state *state = NULL;

    *out = NULL;
    opts.over_space = false;
    SG_TRY(check(&w, err));
    if (!(g = sg_graph_new()))
        return sg_fail(err, SG_ENOMEM, "out of memory for a graph");
    const sg_dim side = t->whole.dims[2], images = sg_extent(g, "images"), window = SG_MAX(side / GABOR_SIDE, 1);
    w.pixels = sg_input(g, "pixels", SG_F32, 4, (sg_dim[]){images, t->whole.dims[1], side, t->whole.dims[3]});
    sg_value *grey = sg_mean(g, w.pixels, 1, true);
    if (window > 1)
        grey = sg_avg_pool2d(g, grey, sg_pool2d_strided(window, window));
    sg_value *parts[2] = {energy(g, grey, 4, 7), energy(g, grey, 8, 13)};
    sg_value *fetches[2] = {sg_identity(g, w.pixels), sg_concat(g, 2, parts, 1)};
    w.fetches = fetches;
    sg_status status = sg_graph_status(g, err);
    if (status == SG_OK)
        status = sg_state_new(&state, g, err);
    if (status == SG_OK)
        status = sg_state_init(state, 0, err);
    if (status == SG_OK)
        status = sg_session_new(&w.session, g, state, opts.exec, err);
    if (status == SG_OK)
        status = run(out, &w, names, err);
    sg_session_free(w.session);
    sg_state_free(state);
    sg_graph_free(g);
    return status;
}

/* ---- differences ---- */

sg_status sg_simindex_difference(sg_simindex_value *out, const sg_simindex_value *a, const sg_simindex_value *b,
                                 sg_bootstrap_opts bootstrap, sg_error *err)
{
    if (a->n != b->n)
        return sg_fail(err, SG_ESHAPE, "indices of %lld and %lld triples", (long long)a->n, (long long)b->n);
    double *each = malloc((size_t)SG_MAX(a->n, 1) * sizeof *each);
    if (!each)
        return sg_fail(err, SG_ENOMEM, "out of memory for a difference");
    for (sg_dim i = 0; i < a->n; i++)
        each[i] = a->each[i] - b->each[i];
    const sg_status status = finish(out, each, a->n, bootstrap, err);
    out->each = NULL;
    free(each);
    return status;
}
