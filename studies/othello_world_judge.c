/* othello-world: the edit that was chosen, on boards that it was not chosen on. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "othello_world.h"
#include "sightglass/saliency.h"

typedef struct judging {
    world_seed *w;
    othello_parts *o;
    sg_dim n; /* boards of each kind */
    sg_othello_case *cases, *room;
    double *errors[2];
} judging;

static sg_status intervener(sg_intervener **out, const judging *j, sg_probe *const *probes)
{
    const world_seed *w = j->w;
    const sg_othello_try *t = &w->tries[w->best];
    return sg_intervener_new(out, j->o->model, t->last - t->first + 1, w->sites + t->first,
                             (const sg_probe *const *)probes + t->first, j->o->opts->exec, j->o->err);
}

/* Share of boards whose top N moves stay when `to` is written: the other disc, or what is there. Then only those count
 * whose square the probes read rightly; *read is their share. */
static sg_status stays(double *share, double *read, const judging *j, sg_intervener *iv, bool same,
                       sg_intervene_opts opts)
{
    sg_intervention *runs[2] = {NULL, NULL};
    const sg_dim n = j->n;
    sg_dim n_counted = 0, n_same = 0;
    sg_rewrite *rows = malloc((size_t)n * sizeof *rows);
    sg_status status = rows ? SG_OK : sg_fail(j->o->err, SG_ENOMEM, "out of memory");
    for (sg_dim i = 0; i < n && status == SG_OK; i++) {
        j->room[i] = j->cases[i];
        if (same)
            j->room[i].change.to = j->room[i].change.from;
        rows[i] = sg_othello_case_rewrite(&j->room[i]);
    }
    for (int k = 0; k < 2 && status == SG_OK; k++) {
        sg_intervene_opts how = opts;
        how.kind = k ? opts.kind : SG_INTERVENE_NONE;
        status = sg_intervener_run(&runs[k], iv, n, rows, how, j->o->err);
    }
    for (sg_dim i = 0; i < n && status == SG_OK; i++) {
        const int n_legal = __builtin_popcountll(sg_othello_legal(&j->cases[i].board));
        const sg_dim at = i * runs[0]->n_vocab;
        bool rightly = true;
        for (int k = 0; k < runs[1]->n_sites; k++)
            rightly = rightly && runs[1]->norm[i * runs[1]->n_sites + k] <= 0;
        n_counted += rightly || !same;
        n_same += (rightly || !same) && sg_othello_top(n_legal, runs[0]->logits + at, runs[0]->n_vocab) ==
                                            sg_othello_top(n_legal, runs[1]->logits + at, runs[1]->n_vocab);
    }
    *share = n_counted ? (double)n_same / (double)n_counted : (double)NAN;
    *read = (double)n_counted / (double)n;
    sg_intervention_free(runs[0]);
    sg_intervention_free(runs[1]);
    free(rows);
    return status;
}

/* The edit whose probes read boards of other games: on all boards with one disc turned. */
static sg_status judge_shuffled(const judging *j)
{
    world_seed *w = j->w;
    const sg_othello_try *t = &w->tries[w->best];
    sg_intervener *iv;
    sg_intervene_opts none = t->opts;
    none.kind = SG_INTERVENE_NONE;
    SG_TRY(intervener(&iv, j, w->shuffled[w->way_of[w->best]]));
    sg_status status = sg_othello_intervene(j->errors[0], NULL, iv, 2 * j->n, j->cases, none, j->o->err);
    if (status == SG_OK)
        status = sg_othello_intervene(j->errors[1], NULL, iv, 2 * j->n, j->cases, t->opts, j->o->err);
    if (status == SG_OK)
        status = sg_othello_mean(&w->shuffled_less_null, j->errors[1], j->errors[0], 2 * j->n, j->o->err);
    sg_intervener_free(iv);
    return status;
}

/* The likeliest legal move of the first natural board: how much of its probability rests on each disc. */
static sg_status look(const judging *j, sg_intervener *iv)
{
    world_seed *w = j->w;
    const sg_othello_case *c = &j->cases[j->n];
    const int size = j->o->size, n_squares = size * size;
    const uint64_t own = c->board.disc[c->board.mover], other = c->board.disc[!c->board.mover];
    sg_change changes[SG_OTHELLO_MAX_SQUARES];
    sg_saliency *s;
    char name[4];
    int n = 0, move = -1;
    for (int q = 0; q < n_squares; q++) {
        w->saliency[q] = (double)NAN;
        if ((own | other) >> q & 1)
            changes[n++] = (sg_change){q, own >> q & 1 ? SG_OTHELLO_MINE : SG_OTHELLO_YOURS,
                                       own >> q & 1 ? SG_OTHELLO_YOURS : SG_OTHELLO_MINE};
    }
    SG_TRY(sg_saliency_latent(&s, iv, c->tokens, c->board.n_moves, n, changes, w->tries[w->best].opts, j->o->err));
    const uint64_t legal = sg_othello_legal(&c->board);
    for (int q = 0; q < n_squares; q++) {
        const int token = sg_othello_token(size, q);
        if (legal >> q & 1 && (move < 0 || s->before[token] > s->before[sg_othello_token(size, move)]))
            move = q;
    }
    for (int i = 0; i < n; i++)
        w->saliency[changes[i].task] = sg_saliency_score(s, i, sg_othello_token(size, move));
    int at = snprintf(w->saliency_of, sizeof w->saliency_of, "%s, p = %.3f, after ", sg_othello_name(size, move, name),
                      s->before[sg_othello_token(size, move)]);
    for (int k = 0; k < c->board.n_moves; k++)
        at += snprintf(w->saliency_of + at, sizeof w->saliency_of - (size_t)at, "%s",
                       sg_othello_name(size, sg_othello_square(size, c->tokens[k]), name));
    sg_saliency_free(s);
    return SG_OK;
}

static sg_status judge_with(const judging *j, sg_intervener *iv)
{
    world_seed *w = j->w;
    const sg_intervene_opts opts = w->tries[w->best].opts;
    const sg_dim first[N_BOARDS] = {0, j->n, 2 * j->n}, n[N_BOARDS] = {2 * j->n, j->n, j->n};
    for (int k = 0; k < N_BOARDS; k++) {
        SG_TRY(sg_othello_outcome_of(&w->outcome[k], iv, n[k], j->cases + first[k], opts, j->o->err));
        othello_progress(j->o, (double)(k + 1) / (N_BOARDS + 2));
    }
    /* A direction to what is there already is no edit at all; gradient steps do something all the same. */
    sg_intervene_opts steps = opts;
    steps.kind = SG_INTERVENE_GRADIENT;
    steps.n_steps = 30;
    steps.lr = opts.kind == SG_INTERVENE_GRADIENT ? opts.lr : .03;
    SG_TRY(look(j, iv));
    sg_intervener *by_steps;
    double all;
    SG_TRY(intervener(&by_steps, j, w->probes[w->way_of[w->best] >= WAY_STEPS ? w->way_of[w->best] : WAY_RIDGE]));
    sg_status status = stays(&w->same, &w->rightly, j, by_steps, true, steps);
    if (status == SG_OK)
        status = stays(&w->moved, &all, j, by_steps, false, steps);
    sg_intervener_free(by_steps);
    return status;
}

static sg_status judge(world_seed *w, othello_parts *o, int seed)
{
    judging j = {.w = w, .o = o, .n = o->opts->full ? 400 : 200};
    const size_t all = (size_t)(SG_OTHELLO_GIVEN * j.n);
    sg_intervener *iv = NULL;
    j.cases = malloc(all * sizeof *j.cases);
    j.room = malloc(all * sizeof *j.room);
    j.errors[0] = malloc(all * sizeof(double));
    j.errors[1] = malloc(all * sizeof(double));
    const bool good = j.cases && j.room && j.errors[0] && j.errors[1];
    sg_status status =
        good ? world_draw(j.cases, o, j.n, o->seeds[seed] + TO_JUDGE) : sg_fail(o->err, SG_ENOMEM, "out of memory");
    othello_begin(o, "the best edit");
    if (status == SG_OK)
        status = intervener(&iv, &j, w->probes[w->way_of[w->best]]);
    if (status == SG_OK)
        status = judge_with(&j, iv);
    if (status == SG_OK)
        status = world_fit_shuffled(w, o, seed);
    if (status == SG_OK)
        status = judge_shuffled(&j);
    othello_progress(o, 1);
    sg_intervener_free(iv);
    free(j.cases);
    free(j.room);
    free(j.errors[0]);
    free(j.errors[1]);
    return status;
}

sg_status world_edit(world_seed *w, othello_parts *o, int seed)
{
    w->n_layers = (int)sg_model_get_info(o->model)->n_layers;
    if (w->n_layers > WORLD_LAYERS)
        return sg_fail(o->err, SG_EARG, "othello-world: the model has %d layers, at most %d are edited", w->n_layers,
                       WORLD_LAYERS);
    for (int l = 0; l < w->n_layers; l++) {
        snprintf(w->site_room[l], sizeof w->site_room[l], "blocks.%d.hook_resid_mid", l);
        w->sites[l] = w->site_room[l];
    }
    SG_TRY(world_fit(w, o, seed));
    SG_TRY(world_choose(w, o, seed));
    return judge(w, o, seed);
}

void world_free(world_seed *w)
{
    for (int way = 0; way < N_WAYS; way++)
        for (int l = 0; l < WORLD_LAYERS; l++) {
            sg_probe_free(w->probes[way][l]);
            sg_probe_free(w->shuffled[way][l]);
        }
}
