/* Neural networks trained on natural scenes exhibit Gestalt closure (Kim, Reif, Wattenberg, Bengio, Mozer, 2019).
 *
 * Question  Does a network make of a triangle's three corners what it makes of the triangle?
 * Claim     More so than the same network with fresh weights; the more so the deeper the layer; the less so the wider
 * the gaps. Measure   cos(whole, corners in place) - cos(whole, corners turned away), flattened, plain and centred;
 * pieces have equal ink. Control   Fresh weights, labels at random, training on textures; three parallel lines, which
 * close nothing; shuffled gaps. Run       sightglass study run gestalt-closure [--small|--full] [--model FOLDER] Expect
 * The three claims of the small networks, 3 of 3 seeds; of MobileNet v2 and ResNet-20 whatever comes. Those small
 *           networks saw drawn shapes, so they say nothing about natural scenes; the other two were trained on
 * photographs.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gestalt_closure_parts.h"
#include "sightglass/rng.h"

#define LAST     (CLOSURE_LAYERS - 1)
#define ABSTRACT "trained networks exhibit closure, stated in the abstract; threshold: choice of the specification"
#define MEMORY   "from memory of the paper: the index grows with depth; threshold: choice of the specification"
#define OURS     "choice of this project"

enum { GAP_3 = 1, GAP_8 = 6, SHUFFLES = 200 };

/* ---- claims about the small networks ---- */

static sg_status over_fresh(const closure_study *s, bool centred)
{
    double trained[CLOSURE_SEEDS], fresh[CLOSURE_SEEDS], other[CLOSURE_SEEDS];

    for (int i = 0; i < CLOSURE_SEEDS; i++) {
        trained[i] = i < s->n_seeds ? closure_value(s, SHAPES, i, LAST, centred)->index : 0;
        fresh[i] = closure_value(s, FRESH, i, LAST, centred)->index;
        other[i] = closure_value(s, OTHER, i, LAST, centred)->index;
    }
    return closure_claim(
        s, centred ? "over-fresh-centred" : "over-fresh",
        centred ? "The same of activations less their mean over the stimuli."
                : "In the last convolution the trained network has a larger index than the same with fresh weights.",
        ABSTRACT,
        (sg_measure){"lower end of the 95 % interval of the difference over networks", 1,
                     (double[]){closure_over(s->n_seeds, trained, fresh)}, 1e-9, HUGE_VAL},
        (sg_control){
            "other networks with fresh weights in the place of the trained ones",
            {"lower end of the same interval", 1, (double[]){closure_over(s->n_seeds, other, fresh)}, -HUGE_VAL, 0}});
}

static sg_status rises(const closure_study *s, bool centred)
{
    double a[CLOSURE_SEEDS], b[3 * CLOSURE_SEEDS];
    static const int controls[3] = {FRESH, LABELS, TEXTURES};

    for (int i = 0; i < s->n_seeds; i++) {
        SG_TRY(closure_rise(s, &a[i], s->found[SHAPES][i], centred, 0, 1));
        for (int k = 0; k < 3; k++)
            b[k * s->n_seeds + i] = closure_value(s, controls[k], i, LAST, centred)->index -
                                    fmax(closure_value(s, controls[k], i, 0, centred)->index,
                                         closure_value(s, controls[k], i, -1, centred)->index);
    }
    return closure_claim(
        s, centred ? "rises-centred" : "rises",
        centred ? "The same of activations less their mean over the stimuli."
                : "The index of the trained network rises with depth.",
        MEMORY, (sg_measure){"Spearman's correlation of index and layer", s->n_seeds, a, 1e-9, HUGE_VAL},
        (sg_control){
            "fresh weights, labels at random, trained on textures: no rise beyond the first layer and the pixels",
            {"last convolution less the larger of the first and the pixels", 3 * s->n_seeds, b, -HUGE_VAL, 0}});
}

/* Gap .8 less gap .3, with gaps dealt out anew: the mean over shuffles. */
static double shuffled_gap(const sg_simindex_value *v, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 7);
    double sum = 0;

    for (int k = 0; k < SHUFFLES; k++) {
        double part[2] = {0}, n[2] = {0};
        for (sg_dim i = 0; i < v->n; i++) {
            const int g = (int)sg_rng_below(&r, CLOSURE_GAPS);
            if (g == GAP_3 || g == GAP_8) {
                part[g == GAP_8] += v->each[i];
                n[g == GAP_8]++;
            }
        }
        if (n[0] > 0 && n[1] > 0)
            sum += (part[1] / n[1] - part[0] / n[0]) / SHUFFLES;
    }
    return sum;
}

static sg_status gaps(const closure_study *s)
{
    double a[CLOSURE_SEEDS], b[CLOSURE_SEEDS];

    for (int i = 0; i < s->n_seeds; i++) {
        const sg_simindex_value *v = closure_value(s, SHAPES, i, LAST, false);
        a[i] = closure_at_gap(v, GAP_8) - closure_at_gap(v, GAP_3);
        b[i] = shuffled_gap(v, s->seeds[i]);
    }
    return closure_claim(
        s, "gap", "The index is smaller where .8 of each edge is missing than where .3 is.", OURS,
        (sg_measure){"index at gap .8 less that at gap .3, last convolution", s->n_seeds, a, -HUGE_VAL, -1e-9},
        (sg_control){"gaps shuffled among the figures, mean of 200",
                     {"the same difference", s->n_seeds, b, -.02, .02}});
}

static sg_status closes(const closure_study *s)
{
    double a[CLOSURE_SEEDS], b[CLOSURE_SEEDS];

    for (int i = 0; i < s->n_seeds; i++) {
        SG_TRY(closure_lower(s, &a[i], closure_value(s, SHAPES, i, LAST, true),
                             &sg_simindex_get(s->open[SHAPES][i], LAST)->centred));
        SG_TRY(closure_lower(s, &b[i], closure_value(s, FRESH, i, LAST, true),
                             &sg_simindex_get(s->open[FRESH][i], LAST)->centred));
    }
    return closure_claim(
        s, "closes",
        "It is about closing, not about going on straight: triangles have a larger index than three parallel lines.",
        OURS ", asked beyond the paper; centred, last convolution",
        (sg_measure){"lower end of the interval of triangles less lines", s->n_seeds, a, 0, HUGE_VAL},
        (sg_control){"the same with fresh weights", {"lower end of the same interval", s->n_seeds, b, -HUGE_VAL, 0}});
}

/* ---- all ---- */

static sg_status run(closure_study *s)
{
    char setup[1400];
    int n = snprintf(
        setup, sizeof setup,
        "Networks of four convolutions (16, 32, 32, 64, stride 2 at the second and fourth, mean over space), 32 x 32 "
        "greys: %s. "
        "%d figures a seed, gaps .2 to .8, pieces turned %d times; fresh networks calibrated on whole figures. They "
        "saw drawn "
        "shapes: this says nothing about natural scenes.",
        s->opts->full ? "60,000 images of shapes (labels true, labels at random) or 32,000 of textures each, 3 seeds"
                      : "those that ship, one seed",
        s->opts->full ? 768 : 98, s->opts->full ? 8 : 4);

    SG_TRY(closure_measure(s));
    for (int centred = 0; centred < 2; centred++) {
        SG_TRY(over_fresh(s, centred));
        SG_TRY(rises(s, centred));
    }
    SG_TRY(gaps(s));
    SG_TRY(closes(s));
    SG_TRY(closure_figures(s));
    const size_t used = (size_t)n < sizeof setup ? (size_t)n : sizeof setup - 1;
    if (s->opts->model)
        SG_TRY(closure_replicate(s, "model", s->opts->model, setup + used, sizeof setup - used));
    else if (s->opts->full)
        for (int k = 0; k < 2; k++) {
            const size_t at = used + (k ? (size_t)snprintf(NULL, 0, "%s", setup + used) : 0);
            SG_TRY(closure_replicate(s, k ? "resnet_cifar10" : "mobilenet", NULL, setup + at, sizeof setup - at));
        }
    SG_TRY(sg_report_set_machine(s->report, sg_exec_name(&s->opts->exec), s->opts->exec.n_threads, s->err));
    return sg_report_set_setup(s->report, setup, s->err);
}

sg_status sg_study_gestalt_closure(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    closure_study s = {.opts = opts, .report = report, .err = err, .n_seeds = opts->full ? CLOSURE_SEEDS : 1};

    for (int i = 0; i < CLOSURE_SEEDS; i++)
        s.seeds[i] = opts->seed + 1 + (uint64_t)i;
    const sg_status status = run(&s);
    closure_free(&s);
    return status;
}
