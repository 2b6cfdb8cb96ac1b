/* sightglass echo: atoms that are one feature in two roles, beside atoms that were turned at random. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/atoms_file.h"
#include "methods/methods.h"
#include "methods/rows_file.h"
#include "sightglass/echo.h"
#include "sightglass/npy.h"

enum { SHOWN = 20 };

typedef struct work {
    sg_method_run *r;
    sg_error *err;
    sg_arena *arena;
    sg_atoms_file dict;
    sg_rows_file acts;
    sg_tensor codes;
    int32_t *side;
    sg_echo *e;
} work;

static void progress(void *context, double done)
{
    sg_method_progress(((work *)context)->r, done, "pairings");
}

/* --split N: the first N atoms are one side. */
static sg_status split(work *w)
{
    const sg_dim first = (sg_dim)sg_method_number(w->r, "split"), m = w->dict.atoms.dims[0];
    if (!first)
        return SG_OK;
    w->side = sg_arena_array(w->arena, (size_t)m, sizeof *w->side);
    if (!w->side)
        return sg_fail(w->err, SG_ENOMEM, "echo: out of memory");
    for (sg_dim i = 0; i < m; i++)
        w->side[i] = i >= first;
    return SG_OK;
}

static sg_status tell(work *w)
{
    enum { COLUMNS = 3 };
    static const char *const columns[COLUMNS] = {"from", "to", "cosine, held out"};
    const sg_echo *e = w->e;
    sg_cell cells[SHOWN * COLUMNS];
    const int n = (int)SG_MIN(e->n_pairs, SHOWN);
    sg_finding f = {.id = "echo",
                    .text = "mean cosine of an atom with what the map of all other pairs makes of its partner",
                    .value = e->score,
                    .low = (double)NAN,
                    .high = (double)NAN,
                    .n = e->n_pairs,
                    .control = "the same search over atoms that were each turned at random: their mean, and 95 % below",
                    .control_value = e->null_mean,
                    .control_low = e->nulls[0],
                    .control_high = e->null_high};
    SG_TRY(sg_result_add(sg_method_result(w->r), &f, w->err));
    SG_TRY(sg_result_note(sg_method_result(w->r),
                          "%" PRId64 " atoms (%" PRId64 " copies were left out), %" PRId64
                          " on the one side and %" PRId64 " on the other (%s); %" PRId64 " pairs determine %" PRId64
                          " of %" PRId64 " dimensions of the map; p %.3f.",
                          e->n_atoms, e->n_copies, e->n_side[0], e->n_side[1],
                          w->side         ? "as given"
                          : w->codes.data ? "across which they fire together"
                                          : "any may go to any: weak, and the better half of the pairs counts",
                          e->n_pairs, e->rank, w->dict.atoms.dims[1], e->p));
    for (int i = 0; i < n; i++) {
        cells[i * COLUMNS] = (sg_cell){NULL, e->pairs[i].from};
        cells[i * COLUMNS + 1] = (sg_cell){NULL, e->pairs[i].to};
        cells[i * COLUMNS + 2] = (sg_cell){NULL, e->pairs[i].cosine};
    }
    return sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){.id = "pairs",
                           .title = "The pairs that are predicted best",
                           .n_columns = COLUMNS,
                           .n_rows = n,
                           .columns = columns,
                           .cells = cells,
                           .control = "none by pair: the score of all of them stands beside that of turned atoms"},
        w->err);
}

static sg_status nulls_figure(work *w)
{
    const int n = w->e->n_nulls;
    double *x = sg_arena_array(w->arena, (size_t)n, sizeof *x), at = (double)n, score = w->e->score;
    if (!x)
        return sg_fail(w->err, SG_ENOMEM, "echo: out of memory");
    for (int i = 0; i < n; i++)
        x[i] = i;
    const sg_series s[2] = {{"turned atoms", n, x, w->e->nulls}, {"the atoms", 1, &at, &score}};
    const sg_panel panel = {.n_series = 2, .series = s};
    return sg_result_add_figure(sg_method_result(w->r),
                                &(sg_figure){.id = "nulls",
                                             .title = "The score among those of turned atoms",
                                             .kind = SG_FIGURE_POINTS,
                                             .x = {.label = "search, in order of its score"},
                                             .y = {.label = "mean cosine, held out"},
                                             .n_panels = 1,
                                             .panels = &panel},
                                w->err);
}

static sg_status all(work *w)
{
    sg_echo_opts o = sg_echo_defaults();
    const char *out = sg_method_out(w->r);
    char path[1024];
    SG_TRY(sg_writer_check(out, w->err));
    SG_TRY(sg_method_data(w->r, sg_rows_file_path(sg_method_input_at(w->r, 0), path), w->err));
    SG_TRY(sg_atoms_file_open(&w->dict, sg_method_input_at(w->r, 0), w->err));
    if (sg_method_text(w->r, "acts"))
        SG_TRY(sg_atoms_file_codes(&w->codes, &w->acts, &w->dict, w->r, w->arena, w->err));
    SG_TRY(split(w));
    o.n_nulls = (int)sg_method_number(w->r, "nulls");
    o.n_restarts = (int)sg_method_number(w->r, "restarts");
    o.n_rounds = (int)sg_method_number(w->r, "rounds");
    o.most = (sg_dim)sg_method_number(w->r, "atoms");
    o.ridge = sg_method_number(w->r, "ridge");
    o.same = sg_method_number(w->r, "same");
    o.seed = sg_method_seed(w->r);
    o.cancel = sg_method_cancel(w->r);
    o.progress = progress;
    o.context = w;
    SG_TRY(sg_echo_search(&w->e, &w->dict.atoms, w->codes.data ? &w->codes : NULL, w->side, o, w->err));
    SG_TRY(tell(w));
    SG_TRY(nulls_figure(w));
    if (out) {
        SG_TRY(sg_npy_save(out, &w->e->map, w->err));
        SG_TRY(sg_result_add_file(sg_method_result(w->r), out, "the orthogonal map: D_to = D_from map", w->err));
    }
    return SG_OK;
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    work w = {.r = r, .err = err, .arena = sg_arena_new()};
    const sg_status status = w.arena ? all(&w) : sg_fail(err, SG_ENOMEM, "echo: out of memory");
    sg_echo_free(w.e);
    sg_atoms_file_close(&w.dict);
    sg_rows_file_free(&w.acts);
    sg_arena_free(w.arena);
    return status;
}

static const sg_method_input inputs[] = {
    {"DICT", SG_METHOD_FILE, 1, 1, "a dictionary's folder, or atoms: FILE.npy, FILE.safetensors[:NAME]"}};
static const sg_option options[] = {
    {"acts", SG_OPTION_PATH, "", 0, 0, NULL,
     "rows to encode, which tell the two sides: a harvest's folder, FILE.npy or FILE.safetensors[:NAME]"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "of a harvest (its first)"},
    {"rows", SG_OPTION_WHOLE, "4000", 4, 100000, NULL, "at most, drawn from all"},
    {"split", SG_OPTION_WHOLE, "0", 0, 1e9, NULL,
     "the first so many atoms are one side, the others the other; 0: the sides are found"},
    {"atoms", SG_OPTION_WHOLE, "256", 4, 8192, NULL, "at most: those that fire most, or the first"},
    {"ridge", SG_OPTION_REAL, "0.1", 1e-12, 1e6, NULL, "penalty on the map, beside atoms of length 1"},
    {"same", SG_OPTION_REAL, "0.6", 0, 1, NULL,
     "of atoms with a cosine above this all but one are left out, as copies"},
    {"rounds", SG_OPTION_WHOLE, "20", 1, 10000, NULL, "at most, of map and pairing"},
    {"restarts", SG_OPTION_WHOLE, "5", 1, 1000, NULL, "pairings that it begins at"},
    {"nulls", SG_OPTION_WHOLE, "20", 1, 10000, NULL, "searches over turned atoms"},
};
const sg_method sg_method_echo = {
    .name = "echo",
    .help = "atoms that are one feature in two roles: pairs that one linear map relates",
    .about = "Atoms are paired so that each is predicted best, by ridge regression on all other pairs, from its "
             "partner. Control: the same search over "
             "atoms that were each turned at random; with few pairs any map fits. (After Wattenberg and Viegas 2024; "
             "the search is this project's.)",
    .artefact = "FILE.npy with the orthogonal map",
    .n_inputs = 1,
    .inputs = inputs,
    .n_options = (int)SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
