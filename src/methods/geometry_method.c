/* sightglass geometry: how the atoms of a dictionary lie, beside two dictionaries of equal shape; with activations also
 * which fire together, how rows bend, and what of it is position. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/atoms_file.h"
#include "methods/methods.h"
#include "methods/rows_file.h"
#include "sightglass/geometry.h"
#include "sightglass/npy.h"

enum { SHUFFLES = 20, MOST_WAYS = 3000, TARGETS = 3, NAMES = SG_N_DICT_GEOMETRIES };
static const char *const names[NAMES] = {"this dictionary", "normal numbers", "low coherence"};

typedef struct work {
    sg_method_run *r;
    sg_error *err;
    sg_arena *arena;
    sg_atoms_file dict;
    sg_rows_file acts; /* rows.data NULL: none */
    sg_tensor codes;   /* [N,M] f32 */
    sg_dict_geometry *g;
} work;

static void progress(void *context, double done)
{
    sg_method_progress(((work *)context)->r, .8 * done, "dictionaries");
}

/* ---- the dictionary ---- */

static sg_status number_table(work *w)
{
    enum { COLUMNS = 4, ROWS = 8 };
    static const char *const columns[COLUMNS] = {"of the atoms", "this dictionary", "normal numbers", "low coherence"};
    static const char *const what[ROWS] = {"greatest |cosine|",
                                           "|cosine| with the nearest, mean",
                                           "|cosine|, 99 of 100 are below",
                                           "cosine, root mean square",
                                           "pairs below -.8 for 1000 atoms",
                                           "effective rank",
                                           "firing together against cosine",
                                           "Hoyer sparsity of codes"};
    sg_cell cells[ROWS * COLUMNS];
    const int n = w->codes.data ? ROWS : ROWS - 2;
    for (int i = 0; i < n; i++) {
        cells[i * COLUMNS] = (sg_cell){what[i], 0};
        for (int c = 0; c < NAMES; c++) {
            const sg_dict_geometry_numbers *k = &w->g->of[c];
            const double value[ROWS] = {k->coherence, k->nearest,        k->tail,     k->rms,
                                        k->antipodal, k->effective_rank, k->together, k->hoyer};
            cells[i * COLUMNS + 1 + c] = isfinite(value[i]) ? (sg_cell){NULL, value[i]} : (sg_cell){"-", 0};
        }
    }
    return sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){.id = "numbers",
                           .title = "How the atoms lie",
                           .n_columns = COLUMNS,
                           .n_rows = n,
                           .columns = columns,
                           .cells = cells,
                           .control =
                               "the last two columns: dictionaries of equal shape; their codes are as many of the "
                               "greatest products with the rows that the codes make"},
        w->err);
}

static sg_status figures(work *w)
{
    double x[SG_DICT_GEOMETRY_BINS], *at = sg_arena_array(w->arena, (size_t)w->g->n_spectrum, sizeof *at);
    sg_series s[NAMES], t[NAMES];
    if (!at)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory");
    for (int i = 0; i < SG_DICT_GEOMETRY_BINS; i++)
        x[i] = -1 + 2 * (i + .5) / SG_DICT_GEOMETRY_BINS;
    for (sg_dim i = 0; i < w->g->n_spectrum; i++)
        at[i] = (double)(i + 1);
    for (int c = 0; c < NAMES; c++) {
        s[c] = (sg_series){names[c], SG_DICT_GEOMETRY_BINS, x, w->g->histogram[c]};
        t[c] = (sg_series){names[c], (int)w->g->n_spectrum, at, w->g->spectrum[c]};
    }
    const sg_panel cosines = {.n_series = NAMES, .series = s}, spectrum = {.n_series = NAMES, .series = t};
    SG_TRY(sg_result_add_figure(sg_method_result(w->r),
                                &(sg_figure){.id = "cosines",
                                             .title = "Cosines of pairs of atoms",
                                             .kind = SG_FIGURE_LINES,
                                             .x = {.label = "cosine"},
                                             .y = {.label = "share of pairs"},
                                             .n_panels = 1,
                                             .panels = &cosines},
                                w->err));
    return sg_result_add_figure(sg_method_result(w->r),
                                &(sg_figure){.id = "spectrum",
                                             .title = "Singular values of the atoms, each of length 1",
                                             .kind = SG_FIGURE_LINES,
                                             .x = {.label = "place"},
                                             .y = {.label = "singular value"},
                                             .n_panels = 1,
                                             .panels = &spectrum},
                                w->err);
}

/* ---- with activations ---- */

static sg_status blocks(work *w)
{
    const sg_dim m = w->g->n_atoms, n = w->codes.dims[0], all = w->codes.dims[1];
    double *weight = sg_arena_array(w->arena, (size_t)(m * m), sizeof *weight);
    float *few = sg_arena_array(w->arena, (size_t)(n * m), sizeof *few);
    if (!weight || !few)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory");
    for (sg_dim i = 0; i < n * m; i++)
        few[i] = ((const float *)w->codes.data)[i / m * all + w->g->atom[i % m]];
    const sg_tensor z = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, m}, few),
                    k = sg_tensor_of(SG_F64, 2, (sg_dim[]){m, m}, weight);
    SG_TRY(sg_blocks_weight(&k, &z, w->err));
    sg_blocks *b;
    SG_TRY(sg_blocks_new(&b, &k, 4 * m, SHUFFLES, sg_method_seed(w->r), w->err));
    sg_finding f = sg_finding_of(
        "modularity", "of blocks of atoms that fire together, in the graph of the strongest pairs, four for each atom",
        b->modularity, b->n_links, "graphs in which each atom has as many links, mean of 20", b->null_mean);
    f.control_high = b->null_high;
    f.control_low = b->null_mean;
    const int n_blocks = (int)b->n_blocks;
    sg_blocks_free(b);
    SG_TRY(sg_result_add(sg_method_result(w->r), &f, w->err));
    return sg_result_note(sg_method_result(w->r), "%d blocks.", n_blocks);
}

static sg_status ways(work *w, const sg_tensor *all, const char *id, const char *of)
{
    const sg_dim n = SG_MIN(all->dims[0], MOST_WAYS), d = all->dims[1];
    const sg_tensor few = sg_tensor_of(all->dtype, 2, (sg_dim[]){n, d}, all->data), *const rows = &few;
    char text[160];
    double *cloud = sg_arena_array(w->arena, (size_t)(n * d), sizeof *cloud);
    if (!cloud)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory");
    const sg_tensor normal = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, d}, cloud);
    sg_ways own, other;
    SG_TRY(sg_ways_against_chords(&own, rows, 10, 100, sg_method_seed(w->r), w->err));
    SG_TRY(sg_gaussian_like(&normal, rows, sg_method_seed(w->r), w->err));
    SG_TRY(sg_ways_against_chords(&other, &normal, 10, 100, sg_method_seed(w->r), w->err));
    snprintf(text, sizeof text, "share of points on ways through neighbours that lie nearer to rows than the chord's%s",
             of);
    if (own.n_points < 1 || other.n_points < 1)
        return sg_result_note(sg_method_result(w->r), "Too few pairs of rows are connected for ways against chords.");
    const sg_finding f =
        sg_finding_of(id, text, own.nearer, own.n_points, "a normal cloud of equal mean and covariance", other.nearer);
    return sg_result_add(sg_method_result(w->r), &f, w->err);
}

/* Rows without what varies with their position, and the same test of them. */
static sg_status position(work *w)
{
    const sg_dim n = w->acts.rows.dims[0], d = w->acts.rows.dims[1];
    double *x = sg_arena_array(w->arena, (size_t)(n * d), sizeof *x),
           *y = sg_arena_array(w->arena, (size_t)(n * TARGETS), sizeof *y);
    if (!x || !y)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory");
    sg_convert(x, SG_F64, w->acts.rows.data, SG_F32, n * d);
    const sg_tensor rows = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, d}, x),
                    targets = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, TARGETS}, y);
    sg_position p;
    SG_TRY(sg_position_targets(&targets, w->acts.position, w->err));
    SG_TRY(sg_position_remove(&p, &rows, &targets, n * 3 / 4, w->err));
    const sg_finding f =
        sg_finding_of("position", "R^2 of a linear probe for three functions of the position, on rows held out",
                      p.before, n / 4, "the same behind the removal of the directions that vary with them", p.after);
    SG_TRY(sg_result_add(sg_method_result(w->r), &f, w->err));
    SG_TRY(sg_result_note(sg_method_result(w->r),
                          "%" PRId64 " directions vary with position and were taken out for nearer-without-position.",
                          p.removed));
    return ways(w, &rows, "nearer-without-position", ", position taken out");
}

static sg_status all(work *w)
{
    sg_dict_geometry_opts o = sg_dict_geometry_defaults();
    const char *out = sg_method_out(w->r);
    char path[1024];
    SG_TRY(sg_writer_check(out, w->err));
    SG_TRY(sg_method_data(w->r, sg_rows_file_path(sg_method_input_at(w->r, 0), path), w->err));
    SG_TRY(sg_atoms_file_open(&w->dict, sg_method_input_at(w->r, 0), w->err));
    if (sg_method_text(w->r, "acts"))
        SG_TRY(sg_atoms_file_codes(&w->codes, &w->acts, &w->dict, w->r, w->arena, w->err));
    o.most = (sg_dim)sg_method_number(w->r, "atoms");
    o.n_steps = (int)sg_method_number(w->r, "steps");
    o.seed = sg_method_seed(w->r);
    o.exec = sg_method_exec(w->r);
    o.cancel = sg_method_cancel(w->r);
    o.progress = progress;
    o.context = w;
    SG_TRY(sg_dict_geometry_new(&w->g, &w->dict.atoms, w->codes.data ? &w->codes : NULL, o, w->err));
    const sg_finding f = sg_finding_of(
        "coherence", "greatest |cosine| of two atoms", w->g->of[SG_DICT_GEOMETRY_OWN].coherence, w->g->n_atoms,
        "a dictionary of normal numbers of equal shape", w->g->of[SG_DICT_GEOMETRY_GAUSSIAN].coherence);
    SG_TRY(sg_result_add(sg_method_result(w->r), &f, w->err));
    SG_TRY(sg_result_note(sg_method_result(w->r),
                          "%" PRId64 " atoms of width %" PRId64 " were looked at; %" PRId64
                          " never fire or have no length. "
                          "No dictionary of this shape has a coherence below %.3f (Welch).",
                          w->g->n_atoms, w->g->width, w->g->n_dead, w->g->welch));
    SG_TRY(number_table(w));
    SG_TRY(figures(w));
    if (w->codes.data) {
        sg_method_progress(w->r, .85, "blocks");
        SG_TRY(blocks(w));
        sg_method_progress(w->r, .9, "ways and chords");
        if (w->acts.rows.dims[0] > 50)
            SG_TRY(ways(w, &w->acts.rows, "nearer", ""));
        if (w->acts.position && w->acts.rows.dims[0] > 50)
            SG_TRY(position(w));
    }
    if (out) {
        const sg_tensor low = sg_tensor_of(SG_F32, 2, (sg_dim[]){w->g->n_atoms, w->g->width}, w->g->low);
        SG_TRY(sg_npy_save(out, &low, w->err));
        SG_TRY(
            sg_result_add_file(sg_method_result(w->r), out, "the dictionary of low coherence, [atoms,width]", w->err));
    }
    return SG_OK;
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    work w = {.r = r, .err = err, .arena = sg_arena_new()};
    const sg_status status = w.arena ? all(&w) : sg_fail(err, SG_ENOMEM, "geometry: out of memory");
    sg_dict_geometry_free(w.g);
    sg_atoms_file_close(&w.dict);
    sg_rows_file_free(&w.acts);
    sg_arena_free(w.arena);
    return status;
}

static const sg_method_input inputs[] = {
    {"DICT", SG_METHOD_FILE, 1, 1, "a dictionary's folder, or atoms: FILE.npy, FILE.safetensors[:NAME]"}};
static const sg_option options[] = {
    {"acts", SG_OPTION_PATH, "", 0, 0, NULL, "rows to encode: a harvest's folder, FILE.npy or FILE.safetensors[:NAME]"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "of a harvest (its first)"},
    {"rows", SG_OPTION_WHOLE, "1500", 4, 100000, NULL, "at most, drawn from all"},
    {"atoms", SG_OPTION_WHOLE, "512", 3, 8192, NULL, "at most: those with most energy, or the first"},
    {"steps", SG_OPTION_WHOLE, "300", 1, 100000, NULL, "of descent for the dictionary of low coherence"},
};
const sg_method sg_method_geometry = {
    .name = "geometry",
    .help = "how the atoms of a dictionary lie, beside random ones and ones of low coherence",
    .about = "Cosines, spectrum, antipodes; with --acts which atoms fire together, how sparse codes are, whether they "
             "form blocks, and whether rows "
             "bend. Controls: two dictionaries of equal shape, graphs of equal degrees, a normal cloud; position taken "
             "out. (Fel et al. 2025.)",
    .artefact = "FILE.npy with the dictionary of low coherence",
    .n_inputs = 1,
    .inputs = inputs,
    .n_options = (int)SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
