/* Nets of one setting, and what is measured of each: how often it errs, how far the nearest error is by the attack and
 * exactly, and how far it could be at most. */
#include "spheres_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = SPHERES_SEEDS, OF_STARTS = 1 << 20, OF_COUNT, OF_OUTER, OF_FAR };

/* Points of the measuring are of no step of the training, and of another seed than its points. */
static sg_origin origin(uint64_t seed, int of)
{
    return (sg_origin){.seed = seed + 500, .stream = (uint32_t)of};
}

/* Share of n random points of a sphere that err; at most `keep` of those that do are copied to kept [keep,d]. */
static sg_status count(const spheres_parts *s, spheres_asked *a, sg_dim d, double radius, int of, uint64_t seed,
                       sg_dim n, double *share, sg_dim keep, float *kept, sg_dim *n_kept)
{
    enum { AT_ONCE = 2000 };
    float *x = malloc((size_t)(AT_ONCE * d) * sizeof *x);
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){AT_ONCE, d}, x);
    sg_status status = x ? SG_OK : sg_fail(s->err, SG_ENOMEM, "spheres: out of memory");
    sg_origin from = origin(seed, of);
    double wrong = 0;
    if (n_kept)
        *n_kept = 0;
    for (sg_dim done = 0; done < n && status == SG_OK; done += AT_ONCE, from.step++) {
        const uint8_t *errs;
        status = sg_spheres_on(&t, radius, from, s->err);
        if (status == SG_OK)
            status = sg_attack_ask_session(&a->ask).ask(&a->ask, &t, NULL, &errs, s->err);
        for (sg_dim i = 0; i < AT_ONCE && status == SG_OK; i++) {
            wrong += errs[i];
            if (errs[i] && n_kept && *n_kept < keep)
                memcpy(kept + (*n_kept)++ * d, x + i * d, (size_t)d * sizeof *x);
        }
    }
    free(x);
    *share = wrong / (double)n;
    return status;
}

static sg_attack_opts attacking(const spheres_parts *s)
{
    sg_attack_opts opts = sg_attack_defaults();
    opts.region = sg_attack_sphere();
    opts.n_refine = 6;
    opts.cancel = s->opts->cancel;
    return opts;
}

static double nearest_of(const float *x, const float *others, sg_dim n, sg_dim d)
{
    double best = HUGE_VAL;
    for (sg_dim k = 0; k < n; k++) {
        double square = 0;
        for (sg_dim i = 0; i < d; i++)
            square += pow((double)x[i] - (double)others[k * d + i], 2);
        best = fmin(best, square);
    }
    return sqrt(best);
}

/* What the attack and the exact search find from `starts`, and what random directions do. */
static sg_status from_starts(const spheres_parts *s, spheres_row *r, int k, const sg_quadric *q, spheres_asked *a,
                             sg_tensor *starts, const float *kept, sg_dim n_kept)
{
    const sg_attack_opts opts = attacking(s);
    const sg_dim n = starts->dims[0], d = r->d;
    const float *x = starts->data;
    sg_attack *found;
    SG_TRY(sg_attack_run(&found, sg_attack_ask_session(&a->ask), starts, opts, s->err));
    double mean = 0, exact = 0, excess = 0, far = 0, n_right = 0;
    for (sg_dim i = 0; i < n; i++) {
        mean += found->found[i] ? found->distance[i] / (double)n : 0;
        const double e = q ? sg_quadric_nearest(q, x + i * d, false, NULL) : (double)NAN;
        exact += e / (double)n;
        if (e > 0 && isfinite(e)) {
            excess += found->distance[i] / e;
            far += n_kept ? nearest_of(x + i * d, kept, n_kept, d) / e : 0;
            n_right++;
        }
    }
    r->found[k] = (double)found->n_found / (double)n;
    r->distance[k] = mean;
    r->exact[k] = exact;
    r->excess[k] = excess / n_right;
    r->far[k] = far / n_right;
    sg_attack_free(found);

    return SG_OK;
}

/* Share of n new points that err after a step of that length in a random direction. */
static sg_status aimless(const spheres_parts *s, spheres_asked *a, sg_dim d, double length, uint64_t seed, sg_dim n,
                         double *share)
{
    enum { AT_ONCE = 2000 };
    float *x = malloc((size_t)(AT_ONCE * d) * sizeof *x);
    double *lengths = malloc(AT_ONCE * sizeof *lengths), wrong = 0;
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){AT_ONCE, d}, x);
    sg_status status = x && lengths ? SG_OK : sg_fail(s->err, SG_ENOMEM, "spheres: out of memory");
    sg_origin from = origin(seed, OF_FAR);
    for (sg_dim i = 0; status == SG_OK && i < AT_ONCE; i++)
        lengths[i] = length;
    for (sg_dim done = 0; done < n && status == SG_OK; done += AT_ONCE, from.step++) {
        sg_dim errs = 0;
        status = sg_spheres_on(&t, 1, from, s->err);
        if (status == SG_OK)
            status = sg_attack_random(&errs, sg_attack_ask_session(&a->ask), &t, lengths, sg_attack_sphere(),
                                      seed + 7919 * from.step, s->err);
        wrong += (double)errs;
    }
    free(x);
    free(lengths);
    *share = wrong / (double)n;
    return status;
}

static sg_status measure_net(const spheres_parts *s, spheres_row *r, int k, const spheres_net *net, const sg_quadric *q)
{
    enum { KEEP = 2000 };
    const sg_dim d = r->d, n = s->n_counted * (r->relu ? 4 : 1); /* ReLU nets err rarely */
    sg_dim n_kept = 0;
    spheres_asked inner = {0}, outer = {0};
    float *x = malloc((size_t)((s->n_starts + KEEP) * d) * sizeof *x), *kept = x ? x + s->n_starts * d : NULL;
    sg_tensor starts = sg_tensor_of(SG_F32, 2, (sg_dim[]){s->n_starts, d}, x);
    sg_status status = x ? SG_OK : sg_fail(s->err, SG_ENOMEM, "spheres: out of memory");
    if (status == SG_OK)
        status = spheres_ask(&inner, net, false, s->opts, s->err);
    if (status == SG_OK)
        status = spheres_ask(&outer, net, true, s->opts, s->err);
    if (status == SG_OK)
        status = count(s, &inner, d, 1, OF_COUNT, s->seeds[k], n, &r->counted[k], KEEP, kept, &n_kept);
    if (status == SG_OK)
        status = count(s, &outer, d, 1.3, OF_OUTER, s->seeds[k], n, &r->outer[k], 0, NULL, NULL);
    if (status == SG_OK)
        status = sg_spheres_on(&starts, 1, origin(s->seeds[k], OF_STARTS), s->err);
    if (status == SG_OK)
        status = from_starts(s, r, k, q, &inner, &starts, kept, n_kept);
    if (status == SG_OK)
        status = aimless(s, &inner, d, r->distance[k], s->seeds[k], n, &r->random[k]);
    r->closed[k] = q ? sg_quadric_error(q, 1, false) : (double)NAN;
    r->bound[k] = sg_cap_distance(d, r->counted[k]);
    r->limit[k] = sg_cap_limit(d, r->counted[k]);
    spheres_asked_free(&inner);
    spheres_asked_free(&outer);
    free(x);
    return status;
}

static sg_status trained(const spheres_parts *s, const spheres_row *r, spheres_net net[K])
{
    spheres_job job = {.world = {.d = r->d, .outer = 1.3, .train = r->train},
                       .h = r->h,
                       .n_steps = r->n_steps,
                       .batch = 50,
                       .lr = r->lr > 0 ? r->lr : 1e-3,
                       .seed = s->seeds[0]};
    if (!r->relu)
        return spheres_train(net, &job, s->opts, r->name, s->report, s->err);
    for (int k = 0; k < K; k++) {
        job.seed = s->seeds[k];
        SG_TRY(spheres_train_relu(&net[k], &job, s->opts, r->name, s->report, s->err));
    }
    return SG_OK;
}

sg_status spheres_measure(const spheres_parts *s, spheres_row *r)
{
    spheres_net net[K] = {{0}};
    sg_status status = trained(s, r, net);
    for (int k = 0; k < K && status == SG_OK; k++) {
        sg_quadric *q = NULL;
        if (!r->relu)
            status = spheres_quadric(&q, &net[k], s->err);
        if (status == SG_OK)
            status = measure_net(s, r, k, &net[k], q);
        if (status == SG_OK && q) {
            r->least[k] = q->alpha[0];
            r->most[k] = q->alpha[r->d - 1];
            for (sg_dim i = 0; k == 0 && i < r->d; i++)
                r->alpha[i] = q->alpha[i];
        }
        sg_quadric_free(q);
    }
    for (int k = 0; k < K; k++)
        spheres_net_free(&net[k]);
    return status;
}

/* Share of starts of a net from which an error is found, with ten more tries each. */
static sg_status search(const spheres_parts *s, const spheres_net *net, uint64_t seed, sg_dim n, double *share)
{
    sg_attack_opts opts = attacking(s);
    float *x = malloc((size_t)(n * net->d) * sizeof *x);
    sg_tensor starts = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, net->d}, x);
    spheres_asked a = {0};
    sg_attack *found = NULL;
    sg_status status = x ? SG_OK : sg_fail(s->err, SG_ENOMEM, "spheres: out of memory");
    opts.n_restarts = 10;
    opts.n_steps = 150; /* of .01: further than errors lie, and uphill all the way */
    opts.n_refine = 0;
    opts.seed = seed;
    if (status == SG_OK)
        status = spheres_ask(&a, net, false, s->opts, s->err);
    if (status == SG_OK)
        status = sg_spheres_on(&starts, 1, origin(seed, OF_STARTS), s->err);
    if (status == SG_OK)
        status = sg_attack_run(&found, sg_attack_ask_session(&a.ask), &starts, opts, s->err);
    *share = found ? (double)found->n_found / (double)n : (double)NAN;
    sg_attack_free(found);
    spheres_asked_free(&a);
    free(x);
    return status;
}

sg_status spheres_clamp(const spheres_parts *s, spheres_row *r, sg_dim n_starts)
{
    spheres_net net[K] = {{0}};
    sg_status status = trained(s, r, net);
    for (int k = 0; k < K && status == SG_OK; k++) {
        sg_quadric *q = NULL;
        spheres_net clamped = {0};
        status = spheres_quadric(&q, &net[k], s->err);
        for (sg_dim i = 0; status == SG_OK && i < r->d; i++) /* a hair inside, so that rounding makes no error */
            q->alpha[i] = fmin(fmax(q->alpha[i], 1 / 1.69 + 1e-5), 1 - 1e-5);
        if (status == SG_OK)
            status = spheres_net_of(&clamped, r->d, q->alpha, q->vectors, s->err);
        if (status == SG_OK)
            status = search(s, &clamped, s->seeds[k], n_starts, &r->band[k]);
        if (status == SG_OK)
            status = search(s, &net[k], s->seeds[k], n_starts, &r->unclamped[k]);
        spheres_net_free(&clamped);
        sg_quadric_free(q);
    }
    for (int k = 0; k < K; k++)
        spheres_net_free(&net[k]);
    return status;
}

/* ---- figures ---- */

sg_status spheres_figures(const spheres_parts *s, int n_rows, const spheres_row *rows)
{
    enum { MOST = 8, CURVE = 40 };
    double bound[MOST][K], distance[MOST][K], at[MOST][SPHERES_MOST_D], measure[CURVE], cap[MOST][CURVE];
    sg_series points[MOST + 1], curves[2 * MOST], strips[MOST + 2];
    const double edge[2] = {0, .4};
    int n_points = 0, n_curves = 0, n_strips = 0;
    for (int i = 0; i < CURVE; i++)
        measure[i] = pow(10, -3 + 2.7 * i / (CURVE - 1));
    for (int r = 0; r < n_rows; r++) {
        for (sg_dim i = 0; i < rows[r].d; i++)
            at[r][i] = ((double)i + .5) / (double)rows[r].d;
        if (!rows[r].relu)
            strips[n_strips++] = (sg_series){rows[r].name, (int)rows[r].d, at[r], rows[r].alpha};
        if (!rows[r].train)
            continue;
        for (int k = 0; k < K; k++)
            bound[r][k] = rows[r].bound[k], distance[r][k] = rows[r].distance[k];
        points[n_points++] = (sg_series){rows[r].name, K, bound[r], distance[r]};
        curves[n_curves++] = (sg_series){rows[r].name, K, rows[r].counted, distance[r]};
    }
    for (int r = 0; r < n_rows; r++) {
        bool seen = rows[r].relu;
        for (int o = 0; o < r; o++)
            seen = seen || rows[o].d == rows[r].d;
        if (seen)
            continue;
        static char names[MOST][32];
        for (int i = 0; i < CURVE; i++)
            cap[r][i] = sg_cap_distance(rows[r].d, measure[i]);
        snprintf(names[r], sizeof names[r], "bound, d = %lld", (long long)rows[r].d);
        curves[n_curves++] = (sg_series){names[r], CURVE, measure, cap[r]};
    }
    points[n_points++] = (sg_series){"as far as is possible", 2, edge, edge};
    static const double ends[2] = {0, 1}, low[2] = {1 / 1.69, 1 / 1.69}, high[2] = {1, 1};
    strips[n_strips++] = (sg_series){"no errors above", 2, ends, low};
    strips[n_strips++] = (sg_series){"and below", 2, ends, high};
    const sg_panel p_points = {.n_series = n_points, .series = points},
                   p_curves = {.n_series = n_curves, .series = curves},
                   p_strips = {.n_series = n_strips, .series = strips};
    SG_TRY(sg_report_add_figure(
        s->report,
        &(sg_figure){.id = "bound",
                     .title = "How far away errors are, and how far they could be",
                     .caption =
                         "A point for each net. Right on the line is a net whose errors are a cap. None is above it.",
                     .kind = SG_FIGURE_POINTS,
                     .x = {.label = "bound: mean distance to a cap of the same measure"},
                     .y = {.label = "mean distance to the nearest error"},
                     .n_panels = 1,
                     .panels = &p_points},
        s->err));
    SG_TRY(sg_report_add_figure(
        s->report,
        &(sg_figure){.id = "measure",
                     .title = "Distance against the share of the sphere that errs",
                     .caption =
                         "Points are nets, curves the bound in their dimension. More dimensions with as many errors: "
                         "nearer, as 1 over the root of d.",
                     .kind = SG_FIGURE_POINTS,
                     .x = {.label = "share of the inner sphere that errs", .log = true},
                     .y = {.label = "mean distance"},
                     .n_panels = 1,
                     .panels = &p_curves},
        s->err));
    return sg_report_add_figure(
        s->report,
        &(sg_figure){.id = "alpha",
                     .title = "The axes of the boundary",
                     .caption =
                         "Every alpha of the first seed, in rising order. Only where all lie between the two lines "
                         "is there no error at all; the net that saw new points at every step is.",
                     .kind = SG_FIGURE_LINES,
                     .x = {.label = "share of the axes"},
                     .y = {"alpha", NULL, false, 0, 3},
                     .n_panels = 1,
                     .panels = &p_strips},
        s->err);
}
