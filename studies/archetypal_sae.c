/* Archetypal SAE (Fel, Lubana, Prince, Kowal, Boutin, Papadimitriou, Wang, Wattenberg, Ba, Konkle, 2025).
 *
 * Question  Train a sparse autoencoder twice: are the two dictionaries the same, and does tying atoms to the hull of
 * the data make them so? Claim     Relaxed archetypal dictionaries agree across starts by .2 more than TopK ones at
 * nearly the same reconstruction; archetypal atoms lie in the hull of the points; relaxed ones find as many true
 * archetypes. Measure   Mean cosine of atoms matched one to one between starts; R2 on rows held out; residual of the
 * best mixture of points; archetypes with a cosine of .9. World archetypes: 64 of them in 64 dimensions, 4 in each row.
 * Control   Random points as long as the rows; orthogonal sparse rows, where TopK should be stable already; rows in
 * another order. Run       sightglass study run archetypal-sae [--small|--full] Expect    Gain .2, R2 lower by no more
 * than .02 and by .1 over random points (choices of the specification); .54 -> .93 in the paper, on features of vision
 * models (second-hand). */
#include "archetypal_sae_parts.h"

#include <math.h>
#include <stdio.h>

#define SPEC  "choice of this project; stability and hull: Fel et al. 2025, abstract"
#define NOISE "choice of this project, set before the run"

static sg_status claim(const arch_parts *p, const char *id, const char *text, const char *source,
                       const sg_paper_value *paper, sg_measure measured, sg_control control)
{
    return sg_report_add_claim(p->report,
                               &(sg_claim){.id = id,
                                           .text = text,
                                           .source = source,
                                           .paper = paper,
                                           .n_seeds = p->n_starts,
                                           .seeds = p->seeds,
                                           .measured = measured,
                                           .control = control},
                               p->err);
}

static void less(double *out, const double *a, const double *b, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = a[i] - b[i];
}

static sg_status claims(const arch_parts *p)
{
    const arch_found *f = p->found, *topk = &f[ARCH_TOPK], *relaxed = &f[ARCH_RELAXED];
    const sg_paper_value gain = {.39, SG_STANDING_SECOND_HAND};
    const int n = p->n_starts, pairs = p->n_pairs;
    double more[ARCH_PAIRS], right[ARCH_PAIRS], cost[ARCH_STARTS], random[ARCH_STARTS], found[ARCH_STARTS],
        chance[ARCH_STARTS], order[2 * ARCH_PAIRS], start[ARCH_PAIRS];

    less(more, relaxed->stability, topk->stability, pairs);
    less(right, f[ARCH_RELAXED_RIGHT].stability, f[ARCH_TOPK_RIGHT].stability, pairs);
    less(cost, topk->r2, relaxed->r2, n);
    less(random, relaxed->r2, f[ARCH_RANDOM].r2, n);
    less(found, relaxed->recovered, topk->recovered, n);
    less(order, f[ARCH_TOPK_SHUFFLED].stability, topk->stability, pairs);
    less(order + pairs, f[ARCH_RELAXED_SHUFFLED].stability, relaxed->stability, pairs);
    for (int i = 0; i < n; i++)
        chance[i] = p->random_recovered;
    for (int i = 0; i < pairs; i++)
        start[i] = topk->stability[i] - topk->null;
    SG_TRY(claim(p, "stability", "Two relaxed dictionaries agree more than two TopK ones.", SPEC, &gain,
                 (sg_measure){"mean matched cosine, relaxed less TopK, per pair of starts", pairs, more, .2, HUGE_VAL},
                 (sg_control){"orthogonal sparse rows, for which TopK is made",
                              {"the same number", pairs, right, -HUGE_VAL, .1}}));
    SG_TRY(claim(p, "reconstruction", "The hull costs next to no reconstruction.", SPEC, NULL,
                 (sg_measure){"R2 on rows held out, TopK less relaxed, per start", n, cost, -HUGE_VAL, .02},
                 (sg_control){"random points as long as the rows in the centroids' place",
                              {"R2, over centroids less over random points", n, random, .1, HUGE_VAL}}));
    SG_TRY(claim(p, "hull", "Archetypal atoms are mixtures of the points.", "derived: rows of mix lie on the simplex",
                 NULL,
                 (sg_measure){"residual of the best mixture over the atom's length, worst atom, per start", n,
                              f[ARCH_HULL].outside, 0, 1e-4},
                 (sg_control){"atoms of TopK", {"the same number", n, topk->outside, 1e-2, HUGE_VAL}}));
    SG_TRY(claim(
        p, "recovered", "Relaxed dictionaries find at least as many of the true archetypes.", SPEC, NULL,
        (sg_measure){"archetypes with a cosine of .9 or more, relaxed less TopK, per start", n, found, 0, HUGE_VAL},
        (sg_control){"random atoms of the same shape", {"archetypes that they find", n, chance, 0, 0}}));
    return claim(p, "order", "It is not the order of the rows: in another one stability is the same.", NOISE, NULL,
                 (sg_measure){"change of stability per pair, TopK and relaxed", 2 * pairs, order, -.05, .05},
                 (sg_control){"random atoms, which stability does tell apart",
                              {"stability of TopK less that of random atoms", pairs, start, .05, HUGE_VAL}});
}

static sg_status setup(const arch_parts *p)
{
    char text[512];

    snprintf(
        text, sizeof text,
        "64 archetypes in 64 dimensions, 4 in each of %lld rows, noise .02; %lld atoms, k 8, %lld points; Adam 1e-3 to "
        "1e-5 by half a cosine, %lld steps of 512 rows, AuxK .1; rows centred; R2 on %lld other rows; centroids are "
        "shared by "
        "all starts but where it says otherwise. Random atoms: stability %.3f.",
        (long long)p->n_rows, (long long)p->width, (long long)p->n_points, (long long)p->n_steps, (long long)p->n_held,
        p->found[ARCH_TOPK].null);
    return sg_report_set_setup(p->report, text, p->err);
}

sg_status sg_study_archetypal_sae(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    arch_parts p = {.opts = opts,
                    .report = report,
                    .err = err,
                    .n_starts = opts->full ? ARCH_STARTS : 3,
                    .width = opts->full ? 128 : 64,
                    .n_rows = opts->full ? 100000 : 20000,
                    .n_held = opts->full ? 10000 : 4000,
                    .n_points = opts->full ? 512 : 256,
                    .n_steps = opts->full ? 2000 : 600};

    p.n_pairs = p.n_starts * (p.n_starts - 1) / 2;
    for (int i = 0; i < ARCH_STARTS; i++)
        p.seeds[i] = opts->seed + 1 + (uint64_t)i;
    SG_TRY(arch_run(&p));
    SG_TRY(sg_report_set_machine(report, sg_exec_name(&opts->exec), opts->exec.n_threads, err));
    SG_TRY(setup(&p));
    SG_TRY(claims(&p));
    return arch_figures(&p);
}
