/* SmoothGrad: removing noise by adding noise (Smilkov, Thorat, Kim, Viegas, Wattenberg 2017).
 *
 * Question  Does averaging a gradient over noisy copies of an image make a map that is nearer to what the network was
 * to look at, and not only one that looks better? Claim     On drawn shapes, whose masks are known: smooth maps find
 * the shape better than plain ones, are less ragged, and say nothing any more once the network's weights are shuffled.
 * Measure   AUC of |map| against the mask, total variation over the sum of the map, Spearman's correlation of maps.
 * Control   The same network with shuffled weights, noise 0, noise 2, other noise, edges of the image.
 * Run       sightglass study run smoothgrad [--small|--full]
 * Expect    AUC higher with a paired interval above 0; variation lower by 20 %; correlation below .2 (specification).
 */
#include <math.h>
#include <stdio.h>

#include "smoothgrad_parts.h"

#define SPEC "criterion written before the run; the paper shows pictures and gives no number"

typedef struct measured {
    const char *text;
    double low, high;
} measured;

typedef enum number {
    SMOOTH_ABOVE,
    SHUFFLED_BELOW,
    LESS_RAGGED,
    STILL_AS_RAGGED,
    KEPT,
    AGAIN,
    SHUFFLED_OVER_EDGES,
    SMOOTH_OVER_EDGES,
    LOUD_BELOW,
    STILL_OFF,
    LABELS_BELOW,
    HEART
} number;

static double size_of(const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += fabs(x[i]) / n;
    return sum;
}

static double number_of(const smooth_seed *d, number which)
{
    const int n = d->n;
    switch (which) {
    case SMOOTH_ABOVE:
        return smooth_end(d->auc[SMOOTH], d->auc[GRADIENT], n, false);
    case SHUFFLED_BELOW:
        return smooth_end(d->auc[SHUFFLED], d->auc[SMOOTH], n, true);
    case LESS_RAGGED:
        return 1 - smooth_mean(d->variation[SMOOTH], n) / smooth_mean(d->variation[GRADIENT], n);
    case STILL_AS_RAGGED:
        return 1 - smooth_mean(d->variation[STILL], n) / smooth_mean(d->variation[GRADIENT], n);
    case KEPT:
        return size_of(d->kept, n);
    case AGAIN:
        return smooth_mean(d->again, n);
    case SHUFFLED_OVER_EDGES:
        return smooth_end(d->auc[SHUFFLED], d->auc[EDGES], n, true);
    case SMOOTH_OVER_EDGES:
        return smooth_end(d->auc[SMOOTH], d->auc[EDGES], n, false);
    case LOUD_BELOW:
        return smooth_end(d->auc[LOUD], d->auc[SMOOTH], n, true);
    case STILL_OFF:
        return fabs(smooth_mean(d->auc[STILL], n) - smooth_mean(d->auc[GRADIENT], n));
    case LABELS_BELOW:
        return smooth_end(d->auc[LABELS], d->auc[SMOOTH], n, true);
    default:
        return d->heart_accuracy;
    }
}

static const struct {
    const char *id, *text;
    number which;
    measured measure;
    const char *control;
    number control_which;
    measured control_measure;
    bool full;
} claims_table[] = {
    {"auc",
     "Smooth maps (noise .15, 25 copies) rank the shape's pixels above the others better than plain gradients do.",
     SMOOTH_ABOVE,
     {"AUC smooth less gradient, lower end of the paired interval over images", 0, HUGE_VAL},
     "the same map of the network with all weights shuffled must not reach the trained one's",
     SHUFFLED_BELOW,
     {"AUC shuffled less trained, upper end", -HUGE_VAL, 0},
     false},
    {"variation",
     "Smooth maps are less ragged by a fifth or more.",
     LESS_RAGGED,
     {"total variation, share by which smooth is lower", .2, HUGE_VAL},
     "smooth maps with noise 0",
     STILL_AS_RAGGED,
     {"the same share", -1e-4, 1e-4},
     false},
    {"randomised",
     "Once the weights are shuffled nothing of the smooth map is left.",
     KEPT,
     {"mean |rank correlation| of both maps", 0, .2},
     "the same network, other noise",
     AGAIN,
     {"mean rank correlation of both maps", .5, 1},
     false},
    {"edges",
     "Under shuffled weights the map finds the shape no better than edges of the image do.",
     SHUFFLED_OVER_EDGES,
     {"AUC shuffled less edges, upper end", -HUGE_VAL, .05},
     "the trained network finds it better than edges",
     SMOOTH_OVER_EDGES,
     {"AUC smooth less edges, lower end", 0, HUGE_VAL},
     false},
    {"loud",
     "Too much noise (2.0) spoils the map.",
     LOUD_BELOW,
     {"AUC at noise 2 less at .15, upper end", -HUGE_VAL, 0},
     "noise 0 gives the plain gradient's AUC",
     STILL_OFF,
     {"difference of AUC", 0, 1e-4},
     false},
    {"labels",
     "A network that learnt random labels by heart makes maps that find the shape less well.",
     LABELS_BELOW,
     {"AUC random labels less true ones, upper end", -HUGE_VAL, 0},
     "it did learn them",
     HEART,
     {"accuracy on its 256 images", .9, 1},
     true},
};

static sg_status claims(const smooth_study *s)
{
    uint64_t seeds[SMOOTH_SEEDS];
    double a[SMOOTH_SEEDS], b[SMOOTH_SEEDS];
    for (int i = 0; i < SMOOTH_SEEDS; i++)
        seeds[i] = s->seeds[i].seed;
    for (size_t k = 0; k < sizeof claims_table / sizeof claims_table[0]; k++) {
        if (claims_table[k].full && !s->opts->full)
            continue;
        for (int i = 0; i < SMOOTH_SEEDS; i++) {
            a[i] = number_of(&s->seeds[i], claims_table[k].which);
            b[i] = number_of(&s->seeds[i], claims_table[k].control_which);
        }
        const measured *m = &claims_table[k].measure, *c = &claims_table[k].control_measure;
        const sg_claim claim = {.id = claims_table[k].id,
                                .text = claims_table[k].text,
                                .source = SPEC,
                                .n_seeds = SMOOTH_SEEDS,
                                .seeds = seeds,
                                .measured = {m->text, SMOOTH_SEEDS, a, m->low, m->high},
                                .control = {claims_table[k].control, {c->text, SMOOTH_SEEDS, b, c->low, c->high}}};
        SG_TRY(sg_report_add_claim(s->report, &claim, s->err));
    }
    return SG_OK;
}

static sg_status run(smooth_study *s)
{
    char text[512];
    for (int i = 0; i < SMOOTH_SEEDS; i++)
        SG_TRY(smooth_measure(s, i));
    snprintf(text, sizeof text,
             "World shapes: 24 x 24 greys, 4 filled shapes on textures with 2 patches of others. %s, accuracy %.3f, "
             "%.3f, %.3f; maps of the "
             "true class's logit, |.|, on %d images of each seed.",
             s->opts->full ? "Convolutions 16-32 and a dense layer, one network a seed"
                           : sg_model_get_info(s->seeds[0].net)->path,
             s->seeds[0].accuracy, s->seeds[1].accuracy, s->seeds[2].accuracy, s->seeds[0].n);
    SG_TRY(sg_report_set_setup(s->report, text, s->err));
    SG_TRY(shape_ran_on(s->report, s->opts->exec, s->err));
    SG_TRY(claims(s));
    return smooth_figures(s);
}

sg_status sg_study_smoothgrad(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    smooth_study s = {.opts = opts, .report = report, .err = err};
    const sg_status status = run(&s);
    smooth_free(&s);
    return status;
}
