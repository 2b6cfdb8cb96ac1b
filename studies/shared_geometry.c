/* Shared global and local geometry of language-model embeddings (Lee, Weber, Viegas, Wattenberg, 2025).
 *
 * Question  Do language models of one text arrange their tokens alike, and can a direction of one steer another?
 * Claim     Cosines of token pairs correlate between seeds and widths, far less with a model of shuffled text; the same
 *           neighbours reconstruct a token; the same tokens lie in patches of low dimension; a direction carried by a
 *           least-squares map between embeddings does at least half of what the target's own does.
 * Measure   Pearson's r of all cosines, cosines of locally linear weights, Spearman's r of local dimensions, log-odds
 * of upper case at one cost in nats per token. Control   Permuted tokens, random neighbours, a third model of the same
 * text in the shuffled one's place, a map of permuted tokens. Run       sightglass study run shared-geometry
 * [--small|--full] [--model DIR of scripts/train-shared-geometry] Expect    The thresholds of the specification, set
 * before any run: r .5 and .2, cosine .2, Spearman .4, shares .5 and .15. */
#include <math.h>
#include <stdio.h>

#include "shared_geometry_parts.h"

#define SPEC "choice of this project, set before any run; that geometry is shared is stated in the abstract"
enum { MOST_CARRIED = GEO_SAME * (GEO_SAME - 1) };

typedef struct study {
    geo_study geo;
    geo_pair pair[GEO_PAIRS];    /* of the same text */
    geo_pair shuffled[GEO_SAME]; /* each of these and the model of shuffled text */
    geo_steered *steered[GEO_SAME];
    geo_carried carried[MOST_CARRIED];
    int n_carried;
} study;

static const uint64_t seeds[GEO_SEEDS] = {1, 2, 3};

static sg_status claim(const study *s, const char *id, const char *text, sg_measure measured, sg_control control)
{
    return sg_report_add_claim(s->geo.report,
                               &(sg_claim){.id = id,
                                           .text = text,
                                           .source = SPEC,
                                           .n_seeds = GEO_SEEDS,
                                           .seeds = seeds,
                                           .measured = measured,
                                           .control = control},
                               s->geo.err);
}

static const geo_pair *pair_of(const study *s, int a, int b)
{
    for (int i = 0; i < GEO_PAIRS; i++)
        if ((s->pair[i].a == a && s->pair[i].b == b) || (s->pair[i].a == b && s->pair[i].b == a))
            return &s->pair[i];
    return NULL;
}

static sg_status geometry_claims(const study *s)
{
    double r[GEO_PAIRS], null[GEO_PAIRS], less[GEO_SEEDS], third[GEO_SEEDS], dim[GEO_SEEDS], dim_null[GEO_SEEDS];
    for (int i = 0; i < GEO_PAIRS; i++) {
        r[i] = s->pair[i].alike.r;
        null[i] = s->pair[i].permuted.r;
    }
    SG_TRY(claim(s, "global",
                 "Cosines of token pairs correlate between models of one text, whatever their seed and width.",
                 (sg_measure){"Pearson's r of a pair of models", GEO_PAIRS, r, .5, HUGE_VAL},
                 (sg_control){"tokens permuted", {"the same, mean of 5", GEO_PAIRS, null, -.02, .02}}));
    for (int i = 0; i < GEO_SEEDS; i++) {
        const int j = (i + 1) % GEO_SEEDS, k = (i + 2) % GEO_SEEDS;
        less[i] = pair_of(s, i, j)->alike.r - s->shuffled[i].alike.r;
        third[i] = pair_of(s, i, j)->alike.r - pair_of(s, i, k)->alike.r;
        dim[i] = pair_of(s, i, j)->dim;
        dim_null[i] = pair_of(s, i, j)->dim_permuted;
    }
    SG_TRY(
        claim(s, "text", "A model of the text with its words shuffled is less alike, by .2 at least.",
              (sg_measure){"r with another seed less r with the shuffled text's model", GEO_SEEDS, less, .2, HUGE_VAL},
              (sg_control){"a third seed of the same text in the place of the shuffled one",
                           {"the same difference", GEO_SEEDS, third, -.1, .1}}));
    for (int i = 0; i < GEO_PAIRS; i++) {
        r[i] = s->pair[i].lle - s->pair[i].lle_random;
        null[i] = s->pair[i].lle_random;
    }
    SG_TRY(claim(
        s, "local", "The same neighbours reconstruct a token in two models.",
        (sg_measure){"mean cosine of locally linear weights, above random neighbours", GEO_PAIRS, r, .2, HUGE_VAL},
        (sg_control){"random tokens reconstruct it in the second model", {"mean cosine", GEO_PAIRS, null, -.1, .1}}));
    return claim(s, "dimension", "The same tokens lie in patches of low dimension, across seeds.",
                 (sg_measure){"Spearman's r of local dimensions of two seeds", GEO_SEEDS, dim, .4, HUGE_VAL},
                 (sg_control){"tokens permuted", {"the same, mean of 5", GEO_SEEDS, dim_null, -.1, .1}});
}

static sg_status steering_claims(const study *s)
{
    double carried[MOST_CARRIED], permuted[MOST_CARRIED], beyond[MOST_CARRIED], random[MOST_CARRIED];
    for (int i = 0; i < s->n_carried; i++) {
        const geo_effect *way = s->carried[i].way;
        carried[i] = way[GEO_CARRIED].log_odds / way[GEO_NATIVE].log_odds;
        permuted[i] = way[GEO_PERMUTED].log_odds / way[GEO_NATIVE].log_odds;
        beyond[i] = way[GEO_CARRIED].log_odds - way[GEO_RANDOM].log_odds;
        random[i] = way[GEO_RANDOM_MAP].log_odds / way[GEO_NATIVE].log_odds;
    }
    SG_TRY(claim(s, "carried",
                 "A direction carried from another model does at least half of what the target's own does.",
                 (sg_measure){"share of the native effect, at equal cost", s->n_carried, carried, .5, HUGE_VAL},
                 (sg_control){"the map is of permuted tokens, mean of its draws",
                              {"the same share", s->n_carried, permuted, -HUGE_VAL, .15}}));
    return claim(
        s, "beyond", "It does more than random directions of equal cost (a claim added after a first small run).",
        (sg_measure){"log-odds of upper case less those of a random direction", s->n_carried, beyond, 0, HUGE_VAL},
        (sg_control){"a random map of the same singular values, mean of its draws",
                     {"share of the native effect, at equal cost", s->n_carried, random, -HUGE_VAL, .5}});
}

static sg_status compare_all(study *s)
{
    int n = 0;
    for (int a = 0; a < GEO_SAME; a++)
        for (int b = a + 1; b < GEO_SAME; b++, n++) {
            geo_tell(&s->geo, "geometry", (double)n / (GEO_PAIRS + GEO_SAME));
            SG_TRY(geo_compare(&s->pair[n], &s->geo, a, b, s->geo.opts->seed + (uint64_t)n));
        }
    for (int i = 0; i < GEO_SAME; i++) {
        geo_tell(&s->geo, "geometry", (double)(GEO_PAIRS + i) / (GEO_PAIRS + GEO_SAME));
        SG_TRY(geo_compare(&s->shuffled[i], &s->geo, i, GEO_SHUFFLED, s->geo.opts->seed + (uint64_t)(n + i)));
    }
    return SG_OK;
}

/* From each seed to the next and to a wider model; the full budget goes all ways. */
static sg_status carry_all(study *s)
{
    const bool full = s->geo.opts->full;
    const int n = full ? MOST_CARRIED : GEO_SEEDS;
    for (int from = 0; from < GEO_SAME; from++)
        for (int to = 0; to < GEO_SAME; to++) {
            if (from == to || (!full && (from >= GEO_SEEDS || to != GEO_SEEDS)))
                continue;
            geo_tell(&s->geo, "steering", (double)s->n_carried / n);
            for (int k = 0; k < 2; k++)
                if (!s->steered[k ? to : from])
                    SG_TRY(geo_steered_new(&s->steered[k ? to : from], &s->geo, k ? to : from));
            SG_TRY(geo_carry(&s->carried[s->n_carried++], &s->geo, s->steered[from], s->steered[to], from, to,
                             s->geo.opts->seed));
        }
    return SG_OK;
}

static sg_status run(study *s)
{
    char text[640];
    SG_TRY(compare_all(s));
    SG_TRY(carry_all(s));
    snprintf(
        text, sizeof text,
        "%s and its neighbours: five models of one text, widths 64 (three seeds), 96 and 128, and one of the same with "
        "its "
        "words shuffled; tied embeddings, %lld tokens that come 100 times or more; 10 neighbours for weights, 48 for "
        "dimensions; directions are added behind the last block at every position, at the strength that costs %.2g "
        "nats per "
        "token of plain text. The models are trained beforehand, by scripts/train-shared-geometry, in both budgets.",
        sg_model_get_info(s->geo.model[0])->path, (long long)s->geo.n, GEO_COST);
    SG_TRY(sg_report_set_setup(s->geo.report, text, s->geo.err));
    SG_TRY(geometry_claims(s));
    SG_TRY(steering_claims(s));
    return geo_figures(&s->geo, s->pair, s->shuffled, s->n_carried, s->carried, s->steered[0], s->steered[GEO_SEEDS]);
}

sg_status sg_study_shared_geometry(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    study s = {.n_carried = 0};
    sg_status status = geo_open(&s.geo, opts, report, err);
    if (status == SG_OK)
        status = run(&s);
    for (int i = 0; i < GEO_SAME; i++)
        geo_steered_free(s.steered[i]);
    geo_close(&s.geo);
    return status;
}
