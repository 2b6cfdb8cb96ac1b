/* othello-world: illegal moves; what is edited along, fitted; layers and strengths, chosen. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "othello_world.h"

const char *world_way_name(world_way way)
{
    static const char *const names[N_WAYS] = {"ridge direction", "parts", "gradient steps, softmax",
                                              "gradient steps, mlp"};
    return names[way];
}

sg_status world_illegal(world_rates *out, const othello_parts *o, int seed, const sg_model *m)
{
    sg_legality *l = NULL;
    sg_sample *s = NULL;
    const sg_dim n = m != o->model ? 100 : o->opts->full ? 3334 : 300;
    sg_status status = sg_world_sample(&s, o->world, 1, &o->setting, n, o->seeds[seed] + ILLEGAL, o->err);
    if (status == SG_OK)
        status = sg_legality_new(&l, m, sg_legality_defaults(), o->err);
    if (status == SG_OK)
        status = sg_legality_add(l, sg_sample_find(s, "tokens"), sg_sample_find(s, "counts"), sg_sample_find(s, "next"),
                                 o->err);
    if (status == SG_OK)
        *out = (world_rates){sg_legality_get(l).top.value, sg_legality_get(l).mass.value};
    sg_legality_free(l);
    sg_sample_free(s);
    return status;
}

static sg_status fit_way(sg_probe **out, const othello_parts *o, world_way way, const sg_tensor *acts,
                         const sg_tensor *labels)
{
    sg_probe_opts opts = sg_probe_defaults();
    opts.kind = way == WAY_MLP ? SG_PROBE_MLP : way == WAY_STEPS ? SG_PROBE_SOFTMAX : SG_PROBE_RIDGE;
    opts.n_classes = 3;
    opts.hidden = 256;
    opts.n_epochs = 6;
    opts.cancel = o->opts->cancel;
    return way == WAY_PARTS ? sg_parts_fit(out, acts, labels, 3, 1e-3, o->err)
                            : sg_probe_fit(out, acts, labels, opts, o->err);
}

/* The blocks whose edits a later one can use: the middle ones. */
static int first_block(const world_seed *w)
{
    return w->n_layers > 5 ? w->n_layers / 2 - 2 : 0;
}

/* One layer at a time: all of them would not fit into memory at once. `board` may be that of other games. */
static sg_status fit_layer(world_seed *w, const othello_parts *o, const sg_sample *s, const sg_tensor *board, int layer,
                           int first_way, int last_way, sg_probe *to[N_WAYS])
{
    const sg_tensor *tokens = sg_sample_find(s, "tokens"), *counts = sg_sample_find(s, "counts");
    sg_store *store;
    sg_tensor labels = {0};
    sg_harvest_opts opts = sg_harvest_defaults();
    opts.cancel = o->opts->cancel;
    SG_TRY(sg_harvest(&store, o->model, 1, &w->sites[layer], tokens, counts, opts, o->err));
    sg_status status = sg_store_labels(&labels, store, board, o->err);
    for (int way = first_way; way <= last_way && status == SG_OK; way++)
        status = fit_way(&to[way], o, (world_way)way, sg_store_acts(store, 0), &labels);
    free(labels.data);
    sg_store_free(store);
    return status;
}

static sg_status fit_all(world_seed *w, othello_parts *o, int seed, bool shuffled)
{
    const sg_dim n = o->opts->full ? 1200 : 500;
    const sg_othello_try *best = &w->tries[w->best];
    const int first = shuffled ? best->first : first_block(w), last = shuffled ? best->last : w->n_layers - 2;
    const int way = (int)w->way_of[w->best];
    sg_sample *s = NULL, *other = NULL;
    sg_status status = sg_world_sample(&s, o->world, 1, &o->setting, n, o->seeds[seed], o->err);
    if (status == SG_OK)
        status = sg_world_sample(&other, o->world, 1, &o->setting, n, o->seeds[seed] + TO_SHUFFLE, o->err);
    othello_begin(o, shuffled ? "boards of others" : "directions");
    for (int l = first; l <= last && status == SG_OK; l++) {
        sg_probe *fitted[N_WAYS] = {NULL};
        status = fit_layer(w, o, s, sg_sample_find(shuffled ? other : s, "board_rel"), l, shuffled ? way : 0,
                           shuffled        ? way
                           : o->opts->full ? WAY_MLP
                                           : WAY_PARTS,
                           fitted);
        for (int k = 0; k < N_WAYS; k++)
            if (fitted[k])
                (shuffled ? w->shuffled : w->probes)[k][l] = fitted[k];
        othello_progress(o, (double)(l - first + 1) / (last - first + 1));
    }
    sg_sample_free(s);
    sg_sample_free(other);
    return status;
}

sg_status world_fit(world_seed *w, othello_parts *o, int seed)
{
    return fit_all(w, o, seed, false);
}

sg_status world_fit_shuffled(world_seed *w, othello_parts *o, int seed)
{
    return fit_all(w, o, seed, true);
}

/* Up to three blocks in a row, of those whose edit a later block can use. */
static void list_tries(world_seed *w, const othello_parts *o)
{
    static const double strength[2][4] = {{.3, .2, .4, .6}, {1, 1.5, .75, 2}}, rate = .02;
    const int full = o->opts->full, first = first_block(w), last = w->n_layers - 2;
    for (int way = 0; way < (full ? N_WAYS : WAY_STEPS); way++)
        for (int a = first; a <= last; a++)
            for (int b = a; b <= last && b < a + 3; b++)
                for (int k = 0; k < (way >= WAY_STEPS ? 1 : full ? 4 : 2); k++) {
                    if (b < last - 2 || w->n_tries == WORLD_TRIES)
                        continue;
                    sg_othello_try *t = &w->tries[w->n_tries];
                    *t = (sg_othello_try){.first = a, .last = b, .opts = sg_intervene_defaults()};
                    t->opts.cancel = o->opts->cancel;
                    t->opts.scale = way == WAY_RIDGE ? SG_SCALE_NORM : SG_SCALE_RAW;
                    if (way >= WAY_STEPS) {
                        t->opts.kind = SG_INTERVENE_GRADIENT;
                        t->opts.lr = rate;
                    } else {
                        t->opts.strength = strength[way][k];
                    }
                    w->way_of[w->n_tries++] = (world_way)way;
                }
}

sg_status world_draw(sg_othello_case *out, const othello_parts *o, sg_dim n, uint64_t seed)
{
    for (int k = 0; k < SG_OTHELLO_GIVEN; k++)
        SG_TRY(sg_othello_cases_draw(out + k * n, n, o->size, (sg_othello_case_kind)k, seed, o->err));
    return SG_OK;
}

sg_status world_choose(world_seed *w, othello_parts *o, int seed)
{
    const sg_dim n = o->opts->full ? 50 : 60;
    sg_othello_case *cases = malloc((size_t)(SG_OTHELLO_GIVEN * n) * sizeof *cases);
    sg_status status =
        cases ? world_draw(cases, o, n, o->seeds[seed] + TO_CHOOSE) : sg_fail(o->err, SG_ENOMEM, "out of memory");
    list_tries(w, o);
    othello_begin(o, "layers, strengths");
    for (int k = 0; k < w->n_tries && status == SG_OK; k++) {
        status = sg_othello_sweep(&w->tries[k], 1, o->model, w->sites, (const sg_probe *const *)w->probes[w->way_of[k]],
                                  SG_OTHELLO_GIVEN * n, cases, o->opts->exec, o->err);
        w->best = w->tries[k].error < w->tries[w->best].error ? k : w->best;
        othello_progress(o, (double)(k + 1) / w->n_tries);
    }
    free(cases);
    return status;
}
