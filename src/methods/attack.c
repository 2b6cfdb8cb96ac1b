/* All rows go together: each step asks once for all of them. A row that has erred keeps its place, and is asked along
 * for as long as others climb, since what is fed beside it has a row for it too. */
#include "sightglass/attack.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"

typedef struct owned {
    sg_attack face;
    sg_arena *arena;
} owned;

typedef struct work {
    sg_attack *a;
    sg_attack_asked asked;
    const sg_attack_opts *opts;
    const float *start;
    sg_tensor x;           /* where rows are asked now */
    float *far, *aim;      /* [n,width]: where a row erred; the direction it was reached by */
    double *low, *high;    /* [n] shares of the way */
    float *step;           /* [width] */
    const float *gradient; /* of the last ask */
    const uint8_t *wrong;
    double done, share; /* progress: so far, and of the part at hand */
} work;

sg_attack_opts sg_attack_defaults(void)
{
    return (sg_attack_opts){.step = .01, .n_steps = 500, .n_bisect = 20};
}

/* ---- vectors ---- */

static double dot(const float *a, const float *b, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void scale_to(float *x, double length, sg_dim n)
{
    const double now = sqrt(dot(x, x, n)), by = now > 0 ? length / now : 0;
    for (sg_dim i = 0; i < n; i++)
        x[i] = (float)(by * (double)x[i]);
}

/* ---- the sphere ---- */

static void sphere_direct(const void *self, float *gradient, const float *x, sg_dim n)
{
    (void)self;
    const double along = dot(gradient, x, n) / fmax(dot(x, x, n), 1e-300);
    for (sg_dim i = 0; i < n; i++)
        gradient[i] = (float)((double)gradient[i] - along * (double)x[i]);
    scale_to(gradient, 1, n);
}

static void sphere_project(const void *self, float *x, const float *start, sg_dim n)
{
    (void)self;
    scale_to(x, sqrt(dot(start, start, n)), n);
}

/* The point of the arc at that share of its angle; where the ends are opposite there is no one arc. */
static void sphere_between(const void *self, float *x, const float *from, const float *to, double t, sg_dim n)
{
    const double r = sqrt(dot(from, from, n)), other = sqrt(dot(to, to, n));
    double chord = 0;
    for (sg_dim i = 0; i < n; i++) {
        const double d = (double)to[i] / other - (double)from[i] / r;
        chord += d * d;
    }
    const double angle = 2 * asin(fmin(1, sqrt(chord) / 2)), sine = sin(angle);
    const double a = sine > 1e-9 ? sin((1 - t) * angle) / sine : 1 - t, b = sine > 1e-9 ? sin(t * angle) / sine : t;
    for (sg_dim i = 0; i < n; i++)
        x[i] = (float)(a * (double)from[i] + b * (double)to[i] * r / other);
    sphere_project(self, x, from, n);
}

static void sphere_scatter(const void *self, float *x, const float *start, sg_dim n, sg_rng *r)
{
    for (sg_dim i = 0; i < n; i++)
        x[i] = (float)sg_rng_normal(r);
    sphere_project(self, x, start, n);
}

sg_attack_region sg_attack_sphere(void)
{
    return (sg_attack_region){sphere_direct, sphere_project, sphere_between, sphere_scatter, NULL};
}

/* ---- balls ---- */

static float clamped(double x, double low, double high)
{
    return (float)fmin(fmax(x, low), high);
}

static void linf_direct(const void *self, float *gradient, const float *x, sg_dim n)
{
    (void)self;
    (void)x;
    for (sg_dim i = 0; i < n; i++)
        gradient[i] = (float)((gradient[i] > 0) - (gradient[i] < 0));
}

static void linf_project(const void *self, float *x, const float *start, sg_dim n)
{
    const sg_attack_ball *ball = self;
    for (sg_dim i = 0; i < n; i++) {
        const double s = (double)start[i];
        x[i] = clamped(fmin(fmax((double)x[i], s - ball->radius), s + ball->radius), ball->low, ball->high);
    }
}

static void linf_scatter(const void *self, float *x, const float *start, sg_dim n, sg_rng *r)
{
    const sg_attack_ball *ball = self;
    for (sg_dim i = 0; i < n; i++)
        x[i] = (float)((double)start[i] + ball->radius * (2 * sg_rng_uniform(r) - 1));
    linf_project(self, x, start, n);
}

sg_attack_region sg_attack_linf(const sg_attack_ball *ball)
{
    return (sg_attack_region){linf_direct, linf_project, NULL, linf_scatter, ball};
}

static void l2_direct(const void *self, float *gradient, const float *x, sg_dim n)
{
    (void)self;
    (void)x;
    scale_to(gradient, 1, n);
}

/* Onto the ball, then into the box, which brings no point further from a start inside it. */
static void l2_project(const void *self, float *x, const float *start, sg_dim n)
{
    const sg_attack_ball *ball = self;
    double square = 0;
    for (sg_dim i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)start[i];
        square += d * d;
    }
    const double by = square > ball->radius * ball->radius ? ball->radius / sqrt(square) : 1;
    for (sg_dim i = 0; i < n; i++)
        x[i] = clamped((double)start[i] + by * ((double)x[i] - (double)start[i]), ball->low, ball->high);
}

static void l2_scatter(const void *self, float *x, const float *start, sg_dim n, sg_rng *r)
{
    const sg_attack_ball *ball = self;
    for (sg_dim i = 0; i < n; i++)
        x[i] = (float)sg_rng_normal(r);
    scale_to(x, ball->radius * sg_math_pow(sg_rng_uniform(r), 1 / (double)n), n);
    for (sg_dim i = 0; i < n; i++)
        x[i] += start[i];
    l2_project(self, x, start, n);
}

sg_attack_region sg_attack_l2(const sg_attack_ball *ball)
{
    return (sg_attack_region){l2_direct, l2_project, NULL, l2_scatter, ball};
}

/* ---- asking ---- */

static sg_status ask_session(void *self, const sg_tensor *x, const float **gradient, const uint8_t **wrong,
                             sg_error *err)
{
    const sg_attack_session *s = self;
    sg_feed feeds[SG_ATTACK_FEEDS + 1] = {{s->x, *x}};
    sg_tensor out[2];
    SG_ASSERT(s->n_feeds <= SG_ATTACK_FEEDS);
    if (s->n_feeds)
        memcpy(feeds + 1, s->feeds, (size_t)s->n_feeds * sizeof *feeds);
    SG_TRY(sg_session_run(s->session, 1 + s->n_feeds, feeds, gradient ? 2 : 1, (sg_value *[]){s->wrong, s->gradient},
                          out, err));
    if (out[0].dtype != SG_BOOL || sg_tensor_count(&out[0]) != x->dims[0])
        return sg_fail(err, SG_ESHAPE, "attack: whether rows err is not told by one bool for each of %" PRId64,
                       x->dims[0]);
    *wrong = out[0].data;
    if (gradient) {
        if (out[1].dtype != SG_F32 || sg_tensor_count(&out[1]) != sg_tensor_count(x))
            return sg_fail(err, SG_ESHAPE, "attack: the gradient is not f32 of the shape of what is moved");
        *gradient = out[1].data;
    }
    return SG_OK;
}

sg_attack_asked sg_attack_ask_session(sg_attack_session *s)
{
    return (sg_attack_asked){ask_session, s};
}

static sg_status ask(work *w, bool with_gradient, sg_error *err)
{
    if (w->opts->cancel && *w->opts->cancel)
        return sg_fail(err, SG_ECANCELLED, "attack: stopped");
    return w->asked.ask(w->asked.self, &w->x, with_gradient ? &w->gradient : NULL, &w->wrong, err);
}

static float *row(const work *w, float *of, sg_dim i)
{
    return of + i * w->a->width;
}

static float *at(const work *w, sg_dim i)
{
    return row(w, w->x.data, i);
}

static const float *start_of(const work *w, sg_dim i)
{
    return w->start + i * w->a->width;
}

static void between(const work *w, float *x, const float *from, const float *to, double t)
{
    const sg_attack_region *region = &w->opts->region;
    if (region->between) {
        region->between(region->self, x, from, to, t, w->a->width);
        return;
    }
    for (sg_dim k = 0; k < w->a->width; k++)
        x[k] = (float)((1 - t) * (double)from[k] + t * (double)to[k]);
}

static double measure(const work *w, sg_dim i, const float *x, double *most)
{
    const float *s = start_of(w, i);
    double square = 0, largest = 0;
    for (sg_dim k = 0; k < w->a->width; k++) {
        const double d = (double)x[k] - (double)s[k];
        square += d * d;
        largest = fmax(largest, fabs(d));
    }
    *most = largest;
    return sqrt(square);
}

static void tell(work *w, double of_part)
{
    if (w->opts->progress)
        w->opts->progress(w->opts->context, fmin(1, w->done + w->share * of_part));
}

/* ---- out ---- */

static bool finite_row(const float *g, sg_dim n)
{
    double sum = 0;
    for (sg_dim k = 0; k < n; k++)
        sum += fabs((double)g[k]);
    return isfinite(sum);
}

/* Rows without an error climb until they have one, or for n_steps. */
static sg_status climb(work *w, int so_far, sg_error *err)
{
    const sg_attack_region *region = &w->opts->region;
    sg_attack *a = w->a;
    for (int step = 0;; step++) {
        SG_TRY(ask(w, step < w->opts->n_steps, err));
        for (sg_dim i = 0; i < a->n; i++)
            if (!a->found[i] && w->wrong[i]) {
                a->found[i] = true;
                a->n_found++;
                a->steps[i] = so_far + step;
                memcpy(row(w, w->far, i), at(w, i), (size_t)a->width * sizeof(float));
            }
        if (step == w->opts->n_steps || a->n_found == a->n)
            return SG_OK;
        for (sg_dim i = 0; i < a->n; i++) {
            if (a->found[i])
                continue;
            memcpy(w->step, w->gradient + i * a->width, (size_t)a->width * sizeof(float));
            if (!finite_row(w->step, a->width))
                return sg_fail(err, SG_ENUMERIC, "attack: the gradient of row %" PRId64 " at step %d is not finite", i,
                               step);
            region->direct(region->self, w->step, at(w, i), a->width);
            for (sg_dim k = 0; k < a->width; k++)
                at(w, i)[k] += (float)(w->opts->step * (double)w->step[k]);
            region->project(region->self, at(w, i), start_of(w, i), a->width);
        }
        tell(w, (double)(step + 1) / w->opts->n_steps);
    }
}

/* ---- and back ---- */

static void keep_nearer(work *w, sg_dim i, const float *x)
{
    double most;
    const double distance = measure(w, i, x, &most);
    if (!(distance >= w->a->distance[i])) { /* nothing was kept yet, or it is nearer */
        w->a->distance[i] = distance;
        w->a->most[i] = most;
        memcpy(row(w, w->a->x, i), x, (size_t)w->a->width * sizeof(float));
    }
}

/* The nearest error on the way from the start to where each row of `far` erred; erred[i] false: it did not. */
static sg_status come_back(work *w, const bool *erred, sg_error *err)
{
    const sg_dim n = w->a->n;
    for (sg_dim i = 0; i < n; i++) {
        w->low[i] = 0;
        w->high[i] = erred[i] && w->a->steps[i] > 0 ? 1 : 0; /* it erred where it started: there it stays */
    }
    for (int k = 0; k < w->opts->n_bisect; k++) {
        for (sg_dim i = 0; i < n; i++)
            between(w, at(w, i), start_of(w, i), row(w, w->far, i), (w->low[i] + w->high[i]) / 2);
        SG_TRY(ask(w, false, err));
        for (sg_dim i = 0; i < n; i++)
            *(w->wrong[i] ? &w->high[i] : &w->low[i]) = (w->low[i] + w->high[i]) / 2;
        tell(w, (double)(k + 1) / w->opts->n_bisect);
    }
    for (sg_dim i = 0; i < n; i++) {
        if (!erred[i])
            continue;
        if (w->high[i] < 1)
            between(w, row(w, w->far, i), start_of(w, i), row(w, w->far, i), w->high[i]);
        keep_nearer(w, i, row(w, w->far, i));
    }
    return SG_OK;
}

/* At the nearest point of a smooth boundary the gradient points along the way from the start. So each row goes out
 * along the gradient of its nearest error so far, as far as that was, and where it errs it comes back. */
static sg_status refine(work *w, bool *erred, sg_error *err)
{
    const sg_attack_region *region = &w->opts->region;
    sg_attack *a = w->a;
    memcpy(w->x.data, a->x, (size_t)(a->n * a->width) * sizeof(float));
    SG_TRY(ask(w, true, err));
    for (sg_dim i = 0; i < a->n; i++) {
        float *x = at(w, i), *aim = row(w, w->aim, i);
        const float *start = start_of(w, i);
        erred[i] = a->found[i] && a->distance[i] > 0;
        memcpy(w->step, w->gradient + i * a->width, (size_t)a->width * sizeof(float));
        if (!erred[i] || !finite_row(w->step, a->width))
            continue;
        region->direct(region->self, w->step, start, a->width);
        /* Half of the way that led here keeps the search from swinging about a curved boundary. */
        for (sg_dim k = 0; k < a->width; k++)
            aim[k] = x[k] - start[k];
        region->direct(region->self, aim, start, a->width);
        for (sg_dim k = 0; k < a->width; k++)
            aim[k] += w->step[k];
        region->direct(region->self, aim, start, a->width);
        double norm = sqrt(dot(aim, aim, a->width));
        for (sg_dim k = 0; k < a->width; k++)
            x[k] = (float)((double)start[k] + a->distance[i] / fmax(norm, 1e-300) * (double)aim[k]);
        region->project(region->self, x, start, a->width);
    }
    memcpy(w->far, w->x.data, (size_t)(a->n * a->width) * sizeof(float));
    SG_TRY(ask(w, false, err));
    for (sg_dim i = 0; i < a->n; i++)
        erred[i] = erred[i] && w->wrong[i];
    return come_back(w, erred, err);
}

static sg_status run(work *w, sg_arena *room, sg_error *err)
{
    const sg_attack_opts *opts = w->opts;
    const sg_attack_region *region = &opts->region;
    sg_attack *a = w->a;
    const size_t bytes = (size_t)(a->n * a->width) * sizeof(float);
    sg_rng rng = sg_rng_new(opts->seed, 0);
    bool *erred = sg_arena_array(room, (size_t)a->n, sizeof *erred);
    w->x.data = sg_arena_alloc(room, SG_MAX(bytes, 1));
    w->far = sg_arena_alloc(room, SG_MAX(bytes, 1));
    w->aim = sg_arena_alloc(room, SG_MAX(bytes, 1));
    w->step = sg_arena_array(room, (size_t)a->width, sizeof *w->step);
    w->low = sg_arena_array(room, (size_t)a->n, sizeof *w->low);
    w->high = sg_arena_array(room, (size_t)a->n, sizeof *w->high);
    if (!erred || !w->x.data || !w->far || !w->aim || !w->step || !w->low || !w->high)
        return sg_fail(err, SG_ENOMEM, "attack: out of memory for %" PRId64 " rows of %" PRId64, a->n, a->width);
    memcpy(w->x.data, w->start, bytes);
    w->share = 1.0 / (1 + opts->n_restarts + 1 + opts->n_refine);
    for (int k = 0; k <= opts->n_restarts && a->n_found < a->n; k++) {
        if (k > 0 && !region->scatter)
            break;
        for (sg_dim i = 0; k > 0 && i < a->n; i++)
            if (!a->found[i])
                region->scatter(region->self, at(w, i), start_of(w, i), a->width, &rng);
        SG_TRY(climb(w, k * opts->n_steps, err));
        w->done += w->share;
    }
    memcpy(a->x, w->x.data, bytes);
    memcpy(erred, a->found, (size_t)a->n * sizeof *erred);
    SG_TRY(come_back(w, erred, err));
    for (int k = 0; k < opts->n_refine; k++) {
        w->done += w->share;
        SG_TRY(refine(w, erred, err));
    }
    w->done = 1;
    tell(w, 0);
    return SG_OK;
}

static sg_status check(const sg_tensor *x, const sg_attack_opts *opts, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->dtype != SG_F32 || x->n_dims < 2 || sg_tensor_count(x) == 0)
        return sg_fail(err, SG_ESHAPE, "attack: starts are %s %s, wanted f32 [rows,...]", sg_dtype_name(x->dtype),
                       sg_shape_text(shape, x->n_dims, x->dims));
    if (!opts->region.direct || !opts->region.project)
        return sg_fail(err, SG_EARG, "attack: no region says where rows may go");
    if (!(opts->step > 0) || !isfinite(opts->step) || opts->n_steps < 1 || opts->n_restarts < 0 || opts->n_bisect < 0 ||
        opts->n_refine < 0)
        return sg_fail(err, SG_EARG,
                       "attack: %d steps of %g, %d restarts, %d bisections, %d refinements; wanted at least one step "
                       "of more than 0 and none less than 0",
                       opts->n_steps, opts->step, opts->n_restarts, opts->n_bisect, opts->n_refine);
    return SG_OK;
}

sg_status sg_attack_run(sg_attack **out, sg_attack_asked asked, const sg_tensor *starts, sg_attack_opts opts,
                        sg_error *err)
{
    *out = NULL;
    SG_TRY(check(starts, &opts, err));
    sg_arena *arena = sg_arena_new(), *room = sg_arena_new();
    owned *o = arena && room ? sg_arena_alloc(arena, sizeof *o) : NULL;
    const sg_dim n = starts->dims[0], width = sg_tensor_count(starts) / n;
    sg_status status = SG_OK;
    if (o) {
        *o = (owned){.arena = arena, .face = {.n = n, .width = width}};
        o->face.x = sg_arena_array(arena, (size_t)(n * width), sizeof *o->face.x);
        o->face.found = sg_arena_array(arena, (size_t)n, sizeof *o->face.found);
        o->face.distance = sg_arena_array(arena, (size_t)n, sizeof *o->face.distance);
        o->face.most = sg_arena_array(arena, (size_t)n, sizeof *o->face.most);
        o->face.steps = sg_arena_array(arena, (size_t)n, sizeof *o->face.steps);
    }
    if (!o || !o->face.x || !o->face.found || !o->face.distance || !o->face.most || !o->face.steps)
        status = sg_fail(err, SG_ENOMEM, "attack: out of memory for %" PRId64 " rows of %" PRId64, n, width);
    if (status == SG_OK) {
        for (sg_dim i = 0; i < n; i++)
            o->face.distance[i] = o->face.most[i] = (double)NAN;
        work w = {.a = &o->face, .asked = asked, .opts = &opts, .start = starts->data, .x = *starts};
        status = run(&w, room, err);
    }
    sg_arena_free(room);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_attack_free(sg_attack *a)
{
    if (a)
        sg_arena_free(((owned *)a)->arena);
}

sg_status sg_attack_random(sg_dim *n_wrong, sg_attack_asked asked, const sg_tensor *x, const double *length,
                           sg_attack_region region, uint64_t seed, sg_error *err)
{
    const sg_dim n = x->dims[0], width = n ? sg_tensor_count(x) / n : 0;
    sg_rng rng = sg_rng_new(seed, 1);
    const uint8_t *wrong;
    float *step = malloc((size_t)SG_MAX(2 * width, 1) * sizeof *step), *start = step ? step + width : NULL;
    if (!step)
        return sg_fail(err, SG_ENOMEM, "attack: out of memory");
    for (sg_dim i = 0; i < n; i++) {
        float *at_row = (float *)x->data + i * width;
        memcpy(start, at_row, (size_t)width * sizeof *start);
        for (sg_dim k = 0; k < width; k++)
            step[k] = (float)sg_rng_normal(&rng);
        region.direct(region.self, step, at_row, width);
        for (sg_dim k = 0; k < width; k++)
            at_row[k] += (float)(length[i] * (double)step[k]);
        region.project(region.self, at_row, start, width);
    }
    free(step);
    SG_TRY(asked.ask(asked.self, x, NULL, &wrong, err));
    *n_wrong = 0;
    for (sg_dim i = 0; i < n; i++)
        *n_wrong += wrong[i] != 0;
    return SG_OK;
}
