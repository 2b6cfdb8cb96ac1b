/* What does it mean for a neural network to learn a world model? (Li, Viegas, Wattenberg, 2025).
 *
 * Question  Which states of the board does a model of Othello moves hold and use, and which are only trivially
 * readable? Claim     Of filled squares as mine or yours the check-list says yes. Of the same network it refuses two
 * states that a probe reads as well: whether a square is empty, which the input shows, and the legal moves, which the
 * output shows. Of a network with fresh weights it refuses the first. Measure   The check-list's five numbers
 * (worldmodel.h) after three quarters of the blocks; tau .05. Control   For each claim the same difference in a case
 * where it is to come out the other way. Run       sightglass study run world-model-criteria [--small|--full] [--model
 * DIR] Expect    6x6: .80 at the site, .50 untrained, .47 embedding (a pilot). The four verdicts, 3 of 3 seeds. The
 *           specification's second model, kb4, came later and is not asked here. */
#include <math.h>
#include <stdio.h>

#include "world_model_parts.h"

#define TAU  .05
#define SPEC "choice of this project: tau .05; expected verdicts from a pilot on 6x6"

typedef struct study {
    othello_parts parts;
    char site[64];
    sg_model *fresh;
    sg_worldmodel found[CRITERIA_CASES][CRITERIA_SEEDS];
} study;

static void progress(void *context, const char *part, double done)
{
    (void)part;
    othello_progress(context, done);
}

static sg_status check(study *s, int which, int seed)
{
    othello_parts *o = &s->parts;
    const bool full = o->opts->full;
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    sg_worldmodel_data d;
    opts.exec = o->opts->exec;
    opts.cancel = o->opts->cancel;
    opts.tau = TAU;
    opts.seed = o->seeds[seed];
    opts.weights = o->seeds[seed]; /* of the network with fresh weights; each seed has its own */
    opts.progress = progress;
    opts.context = o;
    opts.n_rows = full ? 10000 : 6000;
    opts.n_edits = full ? 500 : 200;
    opts.n_resamples = full ? 1000 : 300;
    SG_TRY(sg_worldmodel_draw(&d, o->world, 1, &o->setting, criteria_case(which)->state, full ? 500 : 300,
                              o->seeds[seed], o->err));
    const sg_status status = sg_worldmodel_check(&s->found[which][seed], which == UNTRAINED ? s->fresh : o->model,
                                                 s->site, &d, opts, o->err);
    sg_worldmodel_data_free(&d);
    return status;
}

/* ---- claims ---- */

typedef struct half {
    const char *text;
    int which, number;
    double low, high;
} half;

static const struct {
    const char *id, *text;
    half measured, control;
} claims_table[] = {
    {"margin",
     "Filled squares are read better off the site than off all else, by more than tau.",
     {"accuracy less the best of input, untrained and output", FILLED, MARGIN, TAU, HUGE_VAL},
     {"the same of an untrained network", UNTRAINED, MARGIN, -HUGE_VAL, TAU}},
    {"used",
     "Turning a disc along the probe moves the predicted legal moves towards those of the turned board.",
     {"lower end of the effect, squares fewer wrong", FILLED, EFFECT_LOW, 0, HUGE_VAL},
     {"as far in a random direction", FILLED, RANDOM_LOW, -HUGE_VAL, 0}},
    {"input",
     "Whether a square is empty is read off the tokens as well as off the site.",
     {"accuracy at the site less that of the input", EMPTY, OVER_INPUT, -HUGE_VAL, TAU},
     {"filled squares", FILLED, OVER_INPUT, TAU, HUGE_VAL}},
    {"output",
     "Which moves are legal is read off the logits as well as off the site.",
     {"accuracy at the site less that of the output", LEGAL, OVER_OUTPUT, -HUGE_VAL, TAU},
     {"filled squares", FILLED, OVER_OUTPUT, TAU, HUGE_VAL}},
    {"untrained",
     "A network with fresh weights shows no more than others with fresh weights.",
     {"accuracy at the site less that of three others", UNTRAINED, OVER_FRESH, -HUGE_VAL, TAU},
     {"the trained network, filled squares", FILLED, OVER_FRESH, TAU, HUGE_VAL}},
};

static sg_measure measure(double to[CRITERIA_SEEDS], const study *s, const half *h, const char *what)
{
    for (int i = 0; i < CRITERIA_SEEDS; i++)
        to[i] = criteria_number(&s->found[h->which][i], h->number);
    return (sg_measure){what, CRITERIA_SEEDS, to, h->low, h->high};
}

static bool is_expected(sg_worldmodel_verdict v, int which)
{
    static const sg_worldmodel_verdict expected[CRITERIA_CASES] = {
        SG_WORLDMODEL_YES, SG_WORLDMODEL_FROM_INPUT, SG_WORLDMODEL_FROM_OUTPUT, SG_WORLDMODEL_FROM_UNTRAINED};
    return v == expected[which] || (which == UNTRAINED && v == SG_WORLDMODEL_NOT_REPRESENTED);
}

static sg_status claims(const study *s)
{
    double verdicts[CRITERIA_CASES * CRITERIA_SEEDS], yes[CRITERIA_CASES * CRITERIA_SEEDS], a[CRITERIA_SEEDS],
        b[CRITERIA_SEEDS];
    for (int k = 0; k < CRITERIA_CASES * CRITERIA_SEEDS; k++) {
        const sg_worldmodel_verdict v = s->found[k / CRITERIA_SEEDS][k % CRITERIA_SEEDS].verdict;
        verdicts[k] = is_expected(v, k / CRITERIA_SEEDS);
        yes[k] = v == SG_WORLDMODEL_YES;
    }
    SG_TRY(othello_claim(
        &s->parts, "verdicts",
        "The four cases get the four verdicts: yes; readable from the input; readable from the output; "
        "not represented, or readable from an untrained network.",
        SPEC, (sg_measure){"1 where the verdict is the expected one", CRITERIA_CASES * CRITERIA_SEEDS, verdicts, 1, 1},
        (sg_control){
            "the three cases that are to be refused",
            {"1 where the verdict is yes", (CRITERIA_CASES - 1) * CRITERIA_SEEDS, yes + CRITERIA_SEEDS, 0, 0}}));
    for (size_t i = 0; i < sizeof claims_table / sizeof claims_table[0]; i++)
        SG_TRY(othello_claim(
            &s->parts, claims_table[i].id, claims_table[i].text, SPEC,
            measure(a, s, &claims_table[i].measured, claims_table[i].measured.text),
            (sg_control){claims_table[i].control.text, measure(b, s, &claims_table[i].control, "the same number")}));
    return SG_OK;
}

static sg_status run(study *s)
{
    othello_parts *o = &s->parts;
    char text[512];
    const int n_layers = (int)sg_model_get_info(o->model)->n_layers;
    snprintf(s->site, sizeof s->site, "blocks.%d.hook_resid_post", n_layers > 1 ? n_layers * 3 / 4 - 1 : 0);
    SG_TRY(sg_model_untrained(&s->fresh, o->model, o->err));
    for (int which = 0; which < CRITERIA_CASES; which++)
        for (int i = 0; i < CRITERIA_SEEDS; i++) {
            othello_begin(o, criteria_case(which)->part);
            SG_TRY(check(s, which, i));
        }
    const sg_worldmodel *f = &s->found[FILLED][0];
    snprintf(text, sizeof text,
             "%s at %s; ridge probes, penalties and strengths chosen on episodes of their own: %lld to fit, %lld to "
             "choose, %lld to judge on; %lld edits.",
             sg_model_get_info(o->model)->path, s->site, (long long)f->n_episodes[0], (long long)f->n_episodes[1],
             (long long)f->n_episodes[2], (long long)f->used.effect.n);
    SG_TRY(sg_report_set_setup(o->report, text, o->err));
    SG_TRY(claims(s));
    SG_TRY(criteria_figure(
        &s->parts, s->found[0], "readings", "What the state can be read off",
        "On episodes held out, a point for each seed. A state is held where the activation stands above all.",
        "accuracy", ACTIVATION, SHUFFLED + 1));
    return criteria_figure(&s->parts, s->found[0], "effects", "What an edit along the probe does to the output",
                           "In the predicted set of legal moves of the edited board; below 0 the output got worse.",
                           "squares fewer wrong", EFFECT, 2);
}

sg_status sg_study_world_model_criteria(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    study s = {.fresh = NULL};
    sg_status status = othello_open(&s.parts, opts, report, CRITERIA_SEEDS, err);
    if (status == SG_OK)
        status = run(&s);
    sg_model_close(s.fresh);
    othello_close(&s.parts);
    return status;
}
