/* Emergent world representations (Li et al., 2022): a board inside a model of moves.
 *
 * Question  Does a model that was only shown moves of Othello hold the board, and does it use it?
 *
 * Claim     It plays legal moves; a linear probe reads whose disc is on each filled square; and when activations are
 *           changed so that a square reads otherwise, the moves become those of the changed board.
 *
 * Measure   Illegal likeliest moves of fresh games; accuracy on filled squares; errors of the top N moves on the
 *           changed board, N being the number of legal ones there, with the edit and without, by pairs. Kind of edit,
 *           layers and strength are chosen on other boards than those that are reported.
 *
 * Control   Fresh weights; the embedding; labels of other games; a random direction as long as the edit; what was
 *           fitted to boards of other games; the model's own errors, which no edit removes.
 *
 * Run       sightglass study run othello-world [--small|--full] [--model DIR]
 *
 * Expect    6x6: 4-7 % illegal, .80 on filled squares (untrained .50), errors 3.06 -> 2.67, random 5.68 (a pilot). */
#include <math.h>
#include <stdlib.h>

#include "othello_world.h"

#define SPEC  "a pilot on 6x6, one core"
#define PAPER "Li et al. 2022; numbers of the paper from memory"

typedef struct study {
    othello_parts parts;
    world_rates model[WORLD_SEEDS], fresh[WORLD_SEEDS];
    sg_probe_table *read[WORLD_SEEDS];
    world_seed *seeds; /* [WORLD_SEEDS] */
} study;

static sg_status measure(study *s)
{
    othello_parts *o = &s->parts;
    static const char *const label = "board_rel";
    char **sites;
    int n_sites;
    sg_model *untrained;
    SG_TRY(sg_model_untrained(&untrained, o->model, o->err));
    sg_status status = SG_OK;
    for (int i = 0; i < o->n_seeds && status == SG_OK; i++) {
        status = world_illegal(&s->model[i], o, i, o->model);
        if (status == SG_OK)
            status = world_illegal(&s->fresh[i], o, i, untrained);
    }
    sg_model_close(untrained);
    SG_TRY(status);
    SG_TRY(othello_layers(o, &sites, &n_sites));
    for (int i = 0; i < o->n_seeds && status == SG_OK; i++) {
        sg_probe_job job = othello_job(o, i, "probes");
        if (!o->opts->full)
            job.n_fit = 300, job.n_test = 100;
        job.n_sites = 1; /* after the last block but one: where an edit can still be used */
        job.sites = (const char *const *)sites + (n_sites - 2);
        job.n_labels = 1;
        job.labels = &label;
        status = sg_probe_run(&s->read[i], &job, o->err);
    }
    free(sites);
    for (int i = 0; i < o->n_seeds && status == SG_OK; i++)
        status = world_edit(&s->seeds[i], o, i);
    return status;
}

static sg_status legality_claims(const study *s)
{
    double top[WORLD_SEEDS], fresh[WORLD_SEEDS];
    const bool full = s->parts.opts->full;
    for (int i = 0; i < s->parts.n_seeds; i++)
        top[i] = s->model[i].top, fresh[i] = s->fresh[i].top;
    return othello_claim(&s->parts, "legal",
                         "The likeliest move of the model is hardly ever illegal, in games that it has not seen.",
                         full ? "the bar for the model that is shipped" : SPEC,
                         (sg_measure){"share of positions", s->parts.n_seeds, top, 0, full ? .02 : .07},
                         (sg_control){"fresh weights", {"the same share", s->parts.n_seeds, fresh, .5, 1}});
}

static sg_status probe_claims(const study *s)
{
    double is[WORLD_SEEDS], control[SG_N_PROBE_CONTROLS][WORLD_SEEDS], above[WORLD_SEEDS], shuffled_above[WORLD_SEEDS];
    for (int i = 0; i < s->parts.n_seeds; i++) {
        const sg_probe_result *r = &s->read[i]->results[0];
        is[i] = r->score->hard.value;
        for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
            control[c][i] = r->control[c]->hard.value;
        above[i] = is[i] - control[SG_CONTROL_UNTRAINED][i];
        shuffled_above[i] = control[SG_CONTROL_SHUFFLED][i] - control[SG_CONTROL_UNTRAINED][i];
    }
    SG_TRY(othello_claim(
        &s->parts, "read", "Mine, yours or empty can be read off filled squares by a linear map.", SPEC,
        (sg_measure){"accuracy on filled squares", s->parts.n_seeds, is, .72, 1},
        (sg_control){"the embedding", {"the same accuracy", s->parts.n_seeds, control[SG_CONTROL_EMBEDDING], 0, .72}}));
    return othello_claim(
        &s->parts, "read-learnt", "It was learnt: fresh weights let much less be read.", SPEC,
        (sg_measure){"accuracy less that of fresh weights", s->parts.n_seeds, above, .15, 1},
        (sg_control){"labels of other games",
                     {"accuracy less that of fresh weights", s->parts.n_seeds, shuffled_above, -1, .05}});
}

static sg_status edit_claims(const study *s)
{
    double high[N_BOARDS][WORLD_SEEDS], random[N_BOARDS][WORLD_SEEDS], factor[WORLD_SEEDS], random_factor[WORLD_SEEDS],
        shuffled[WORLD_SEEDS], less_random[WORLD_SEEDS], share[WORLD_SEEDS], wrong[WORLD_SEEDS], same[WORLD_SEEDS],
        moved[WORLD_SEEDS];
    for (int i = 0; i < s->parts.n_seeds; i++) {
        const world_seed *w = &s->seeds[i];
        const sg_othello_outcome *one = &w->outcome[ONE_TURNED];
        for (int b = 0; b < N_BOARDS; b++) {
            high[b][i] = w->outcome[b].edit_less_null.high;
            random[b][i] = w->outcome[b].random_less_null.value;
        }
        factor[i] = one->null.value / one->edit.value;
        random_factor[i] = one->null.value / one->random.value;
        shuffled[i] = w->shuffled_less_null.high;
        less_random[i] = one->edit_less_random.high;
        const double room =
            one->null.value - one->own.value; /* none where the model is no better on the board as it is */
        share[i] = room > .1 * one->null.value ? (one->null.value - one->edit.value) / room : (double)NAN;
        wrong[i] = room > .1 * one->null.value ? (one->null.value - one->random.value) / room : (double)NAN;
        same[i] = w->same, moved[i] = w->moved;
    }
    static const char *const ids[N_BOARDS] = {"edit", "edit-natural", "edit-unnatural"};
    static const char *const texts[N_BOARDS] = {
        "With a disc turned inside, the moves are more those of the changed board.",
        "The same on boards that other moves are known to lead to.", "The same on boards that no game ever has."};
    for (int b = 0; b < (s->parts.opts->full ? N_BOARDS : 1); b++) /* few boards tell too little of each kind apart */
        SG_TRY(othello_claim(&s->parts, ids[b], texts[b], SPEC,
                             (sg_measure){"errors with the edit less without, upper end of the 95 % interval by pairs",
                                          s->parts.n_seeds, high[b], -HUGE_VAL, 0},
                             (sg_control){"a random direction, as long",
                                          {"errors with it less without", s->parts.n_seeds, random[b], 0, HUGE_VAL}}));
    SG_TRY(othello_claim(&s->parts, "edit-meant", "It is the direction that does it.",
                         "ours; which end of the control's interval is asked was corrected after a first run",
                         (sg_measure){"errors with the edit less with a random one, upper end of the interval",
                                      s->parts.n_seeds, less_random, -HUGE_VAL, 0},
                         (sg_control){"fitted to boards of other games",
                                      {"errors with that edit less without, upper end of the interval",
                                       s->parts.n_seeds, shuffled, 0, HUGE_VAL}}));
    SG_TRY(othello_claim(
        &s->parts, "edit-share",
        "The edit takes away a good part of what an edit can: the model's own errors on real boards stay.",
        "ours, set after a pilot of another model (.5 to .6)",
        (sg_measure){"(null - edit) / (null - own)", s->parts.n_seeds, share, 1.0 / 3, HUGE_VAL},
        (sg_control){"a random direction, as long", {"the same", s->parts.n_seeds, wrong, -HUGE_VAL, .1}}));
    SG_TRY(othello_claim(&s->parts, "edit-nothing",
                         "Gradient steps towards what is read already leave the top N moves.",
                         "acceptance of the method; boards whose square is misread were left out after a first run",
                         (sg_measure){"share of boards", s->parts.n_seeds, same, .99, 1},
                         (sg_control){"writing the other disc", {"the same share", s->parts.n_seeds, moved, 0, .9}}));
    return othello_claim(
        &s->parts, "edit-factor", "Errors fall by a factor of three.", PAPER " (2.68 to .12)",
        (sg_measure){"errors without the edit over with it", s->parts.n_seeds, factor, 3, HUGE_VAL},
        (sg_control){"a random direction, as long", {"the same", s->parts.n_seeds, random_factor, 0, 1}});
}

sg_status sg_study_othello_world(const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    study s = {.seeds = calloc(WORLD_SEEDS, sizeof *s.seeds)};
    sg_status status = s.seeds ? othello_open(&s.parts, opts, report, opts->full ? WORLD_SEEDS : 1, err)
                               : sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = measure(&s);
    if (status == SG_OK)
        status = world_describe(&s.parts, s.seeds, s.model, s.fresh);
    if (status == SG_OK)
        status = legality_claims(&s);
    if (status == SG_OK)
        status = probe_claims(&s);
    if (status == SG_OK)
        status = edit_claims(&s);
    if (status == SG_OK)
        status = world_figures(&s.parts, s.seeds);
    for (int i = 0; i < WORLD_SEEDS && s.seeds; i++) {
        sg_probe_table_free(s.read[i]);
        world_free(&s.seeds[i]);
    }
    free(s.seeds);
    othello_close(&s.parts);
    return status;
}
