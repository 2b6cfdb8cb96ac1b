/* Adversarial Spheres (Gilmer et al., 2018).
 *
 * Question  Why does a net that hardly ever errs have an error near every point?
 * Claim     Among all sets of errors of one measure on a sphere a cap is the furthest away on average, and it is near
 * in high dimension. Trained nets come close to that bound, so that their errors are about as far away as can be.
 * Measure   Mean distance (chord) from points of the inner sphere to the nearest error, by attack and exactly, over the
 * bound of a cap as large as what errs. Control   A random direction as far; a net whose alphas are clamped into the
 * band in which no error exists. Run       sightglass study run adversarial-spheres [--small|--full] Expect    Mean
 * distance over bound .74 to .78 (a pilot, by the limit of the bound), one over the root of d at equal measure; no
 * error found online. */
#include <math.h>
#include <stdio.h>

#include "sightglass/statistics.h"
#include "spheres_parts.h"

enum { K = SPHERES_SEEDS, MOST = 8 };

#define THEOREM "Gilmer et al. 2018, theorem 5.1; the bound is computed for finite d"
#define PILOT   "a pilot of one seed"
#define DERIVED "derived: no error exists if and only if every alpha is within [1/R^2, 1]"

typedef struct study {
    spheres_parts parts;
    int n_rows;
    spheres_row rows[MOST]; /* the last one is online */
} study;

static sg_status claim(const study *s, const char *id, const char *text, const char *source, sg_measure measured,
                       sg_control control)
{
    return sg_report_add_claim(s->parts.report,
                               &(sg_claim){.id = id,
                                           .text = text,
                                           .source = source,
                                           .n_seeds = K,
                                           .seeds = s->parts.seeds,
                                           .measured = measured,
                                           .control = control},
                               s->parts.err);
}

static sg_status bound_claims(const study *s, const spheres_row *rows, int n)
{
    double ratio[MOST * K], random[MOST * K], same[MOST * K], distance[MOST], mean = 0, mean_distance = 0;
    for (int i = 0; i < n * K; i++) {
        const spheres_row *r = &rows[i / K];
        ratio[i] = r->distance[i % K] / r->bound[i % K];
        random[i] = r->random[i % K] / r->counted[i % K];
        mean += ratio[i] / (n * K);
        mean_distance += r->distance[i % K] / (n * K);
    }
    double most = 0;
    for (int r = 0; r < n; r++) {
        double row_ratio = 0;
        distance[r] = 0;
        for (int k = 0; k < K; k++) {
            row_ratio += ratio[r * K + k] / K;
            distance[r] += rows[r].distance[k] / K;
        }
        same[r] = row_ratio / mean;
        most = fmax(most, fmax(distance[r] / mean_distance, mean_distance / distance[r]));
    }
    const sg_control aimless = {"a step as long in a random direction, from new points",
                                {"share that errs, over the share that errs anyway", n * K, random, .7, 1.4}};
    SG_TRY(claim(s, "bound", "Errors are never further away, on average, than a cap as large would be.", THEOREM,
                 (sg_measure){"mean distance over the bound", n * K, ratio, 0, 1.02}, aimless));
    SG_TRY(claim(s, "ratio", "They are not much nearer either: nets come close to the bound.", PILOT,
                 (sg_measure){"mean distance over the bound", n * K, ratio, .6, 1}, aimless));
    return claim(
        s, "constant", "How close is nearly the same whatever the dimension and the share of errors.", PILOT,
        (sg_measure){"a row's ratio over the mean of all rows'", n, same, .9, 1.1},
        (sg_control){"the distances themselves", {"greatest factor from their mean", 1, &most, 1.25, HUGE_VAL}});
}

/* Mean distance of d = 100 at another measure, between or beyond its rows: straight in the normal quantile. */
static double interpolated(const study *s, int k, double measure)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (int r = 0; r < s->n_rows - 1; r++)
        if (s->rows[r].d == 100) {
            const double q = s->rows[r].limit[k] * 10, v = s->rows[r].distance[k];
            n++, x += q, y += v, xx += q * q, xy += q * v;
        }
    const double slope = (n * xy - x * y) / (n * xx - x * x);
    return y / n + slope * (sg_cap_limit(100, measure) * 10 - x / n);
}

static sg_status scaling_claim(const study *s)
{
    double scaled[MOST * K], plain[MOST * K];
    int n = 0;
    for (int r = 0; r < s->n_rows - 1; r++)
        for (int k = 0; s->rows[r].d != 100 && k < K; k++, n++) {
            const double d = (double)s->rows[r].d, other = interpolated(s, k, s->rows[r].counted[k]);
            scaled[n] = s->rows[r].distance[k] / other * sqrt(d / 100);
            plain[n] = fmax(s->rows[r].distance[k] / other, other / s->rows[r].distance[k]);
        }
    return claim(s, "root", "With as many errors, distances go as one over the root of the dimension.", THEOREM,
                 (sg_measure){"distance times root d, over that of d = 100 at equal measure", n, scaled, .85, 1.15},
                 (sg_control){"without the root", {"factor between the two distances", n, plain, 1.2, HUGE_VAL}});
}

static sg_status exact_claims(const study *s)
{
    const spheres_row *online = &s->rows[s->n_rows - 1], *first = &s->rows[0];
    double excess[MOST * K], far[MOST * K], closed[MOST * K], fourfold[MOST * K], band[2 * K];
    int n = 0;
    for (int i = 0; i < (s->n_rows - 1) * K; i++, n++) {
        const spheres_row *r = &s->rows[i / K];
        excess[n] = r->excess[i % K];
        far[n] = r->far[i % K];
        closed[n] = r->closed[i % K] / r->counted[i % K];
        fourfold[n] = sg_normal_cdf(2 * sg_normal_quantile(r->closed[i % K])) / r->counted[i % K];
    }
    SG_TRY(claim(s, "attack", "The attack finds the nearest error: within 3 % of the exact one, never nearer.", DERIVED,
                 (sg_measure){"mean of distance over the exact one", n, excess, 1 - 1e-4, 1.03},
                 (sg_control){"the nearest of 2,000 random points that err", {"the same", n, far, 2, HUGE_VAL}}));
    SG_TRY(claim(s, "rate", "How often a net errs follows from its alphas.",
                 "derived: mean and variance of sum alpha z^2, taken as normal",
                 (sg_measure){"closed form over the counted share", n, closed, .8, 1.25},
                 (sg_control){"the same as if there were four times as many axes (chosen after a first small run)",
                              {"the same", n, fourfold, 0, .75}}));
    for (int k = 0; k < K; k++)
        band[k] = online->least[k], band[K + k] = online->most[k];
    SG_TRY(claim(s, "online", "A net that sees new points at every step ends with every alpha in the band.", PILOT,
                 (sg_measure){"least and greatest alpha of each seed", 2 * K, band, 1 / 1.69, 1},
                 (sg_control){"the nets of the first row", {"greatest alpha", K, first->most, 1.0001, HUGE_VAL}}));
    SG_TRY(claim(s, "none", "And no error is found from any start.", PILOT,
                 (sg_measure){"share of starts with an error", K, online->found, 0, 0},
                 (sg_control){"the nets of the first row", {"the same", K, first->found, 1, 1}}));
    return claim(s, "clamped",
                 "Clamping the alphas into the band takes every error away, from any start, with ten restarts.",
                 DERIVED, (sg_measure){"share of starts with an error", K, first->band, 0, 0},
                 (sg_control){"the same nets as they were trained", {"the same", K, first->unclamped, 1, 1}});
}

static sg_status run(study *s)
{
    const bool full = s->parts.opts->full;
    static const spheres_row table[] = {
        {.name = "d 50, 2,000 points", .d = 50, .train = 2000}, {.name = "d 100, 1,000", .d = 100, .train = 1000},
        {.name = "d 100, 4,000", .d = 100, .train = 4000},      {.name = "d 100, 2,000", .d = 100, .train = 2000},
        {.name = "d 200, 4,000", .d = 200, .train = 4000},      {.name = "d 100, online", .d = 100},
    };
    char text[512];
    for (int r = 0; r < (int)(sizeof table / sizeof table[0]); r++) {
        if (!full && (r == 3 || r == 4))
            continue;
        spheres_row *row = &s->rows[s->n_rows++];
        *row = table[r];
        if (!full && !row->train)
            row->d = 50, row->lr = 3e-3, row->name = "d 50, online";
        row->h = 2 * row->d;
        row->n_steps = full ? 20000 : row->train ? 10000 : 6000;
        SG_TRY(spheres_measure(&s->parts, row));
    }
    SG_TRY(spheres_clamp(&s->parts, &s->rows[0], full ? 1000 : 100));
    snprintf(text, sizeof text,
             "Quadratic nets of 2 d hidden units, three seeds; Adam at 1e-3, a tenth of it in the last third, %lld "
             "steps of 50 "
             "(online %lld). %lld starts on the inner sphere; shares of errors counted on %lld points; steps of .01, "
             "bisected, then out again along the gradient six times.",
             (long long)s->rows[0].n_steps, (long long)s->rows[s->n_rows - 1].n_steps, (long long)s->parts.n_starts,
             (long long)s->parts.n_counted);
    SG_TRY(sg_report_set_setup(s->parts.report, text, s->parts.err));
    SG_TRY(bound_claims(s, s->rows, s->n_rows - 1));
    SG_TRY(scaling_claim(s));
    SG_TRY(exact_claims(s));
    if (full) {
        spheres_row *relu = &s->rows[s->n_rows]; /* behind those that are quadratic */
        *relu = (spheres_row){
            .name = "ReLU, d 100, 4,000", .d = 100, .train = 4000, .h = 400, .n_steps = 10000, .relu = true};
        SG_TRY(spheres_measure(&s->parts, relu));
        double ratio[K], random[K];
        for (int k = 0; k < K; k++)
            ratio[k] = relu->distance[k] / relu->bound[k], random[k] = relu->random[k] / relu->counted[k];
        SG_TRY(claim(s, "relu", "The bound holds for any net: two ReLU layers of 400 with batch normalisation.",
                     THEOREM, (sg_measure){"mean distance over the bound", K, ratio, 0, 1.02},
                     (sg_control){"a step as long in a random direction",
                                  {"share that errs, over the share that errs anyway", K, random, .7, 1.4}}));
    }
    return spheres_figures(&s->parts, s->n_rows + full, s->rows);
}

sg_status sg_study_adversarial_spheres(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    study s = {.parts = {.opts = opts, .report = report, .err = err, .n_starts = 200, .n_counted = 20000}};
    if (opts->full)
        s.parts.n_counted = 100000;
    for (int k = 0; k < K; k++)
        s.parts.seeds[k] = 1000 * opts->seed + (uint64_t)k;
    return run(&s);
}
