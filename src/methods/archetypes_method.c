/* sightglass archetypes: the corners of a cloud of rows, beside those of a normal cloud. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/methods.h"
#include "methods/rows_file.h"
#include "sightglass/archetypes.h"
#include "sightglass/geometry.h"
#include "sightglass/linalg.h"
#include "sightglass/safetensors.h"

enum { MOST_BLOCKS = 64, CURVE = 12, SHOWN = 3 };

typedef struct work {
    sg_method_run *r;
    sg_error *err;
    sg_arena *arena;
    sg_rows_file file;
    sg_tensor cloud; /* [N,D] f64 normal rows of equal mean and covariance */
    int n_blocks;
    sg_dim block[MOST_BLOCKS], k;
    sg_archetypes *found, *normal;
    double from, to; /* of the progress */
} work;

static void progress(void *context, double done)
{
    const work *w = context;
    sg_method_progress(w->r, w->from + (w->to - w->from) * done, "archetypes");
}

static sg_archetypes_opts options_of(work *w)
{
    sg_archetypes_opts o = sg_archetypes_defaults();
    o.n_restarts = (int)sg_method_number(w->r, "restarts");
    o.max_rounds = (int)sg_method_number(w->r, "rounds");
    o.scout = (sg_dim)sg_method_number(w->r, "scout");
    o.trim = sg_method_number(w->r, "trim");
    o.seed = sg_method_seed(w->r);
    o.cancel = sg_method_cancel(w->r);
    o.progress = progress;
    o.context = w;
    return o;
}

static sg_status read_blocks(work *w)
{
    double *list;
    int n;
    SG_TRY(sg_method_numbers(w->r, "blocks", &list, &n, w->err));
    w->n_blocks = n ? n : 1;
    if (!n)
        w->block[0] = (sg_dim)sg_method_number(w->r, "k");
    sg_status status = n <= MOST_BLOCKS
                           ? SG_OK
                           : sg_fail(w->err, SG_EARG, "--blocks has %d numbers, at most %d make sense", n, MOST_BLOCKS);
    for (int i = 0; i < n && status == SG_OK; i++) {
        w->block[i] = (sg_dim)list[i];
        if (!(list[i] >= 1 && list[i] <= 4096))
            status = sg_fail(w->err, SG_EARG, "--blocks has a block of %g archetypes, wanted 1 to 4096", list[i]);
    }
    free(list);
    for (int i = 0; i < w->n_blocks; i++)
        w->k += w->block[i];
    return status;
}

static sg_status fit_both(work *w)
{
    const sg_archetypes_opts o = options_of(w);
    w->from = 0;
    w->to = .4;
    SG_TRY(sg_archetypes_fit(&w->found, &w->file.rows, w->n_blocks, w->block, o, w->err));
    w->from = .4;
    w->to = .8;
    return sg_archetypes_fit(&w->normal, &w->cloud, w->n_blocks, w->block, o, w->err);
}

static sg_status tell(work *w)
{
    sg_result *result = sg_method_result(w->r);
    const sg_finding f = {.id = "r2",
                          .text = "share of the variance that the mixtures explain",
                          .value = w->found->r2,
                          .low = (double)NAN,
                          .high = (double)NAN,
                          .n = w->file.rows.dims[0] - w->found->n_trimmed,
                          .control = "a normal cloud of equal mean and covariance, as many archetypes",
                          .control_value = w->normal->r2,
                          .control_low = (double)NAN,
                          .control_high = (double)NAN};
    SG_TRY(sg_result_add(result, &f, w->err));
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (int i = 0; i < w->found->n_restarts; i++) {
        low = fmin(low, w->found->restart_r2[i]);
        high = fmax(high, w->found->restart_r2[i]);
    }
    SG_TRY(sg_result_note(
        result,
        "%" PRId64 " of %" PRId64 " rows of %" PRId64 " numbers, of which %" PRId64 " were left out as outliers; "
        "%d rounds after %d restarts on %d rows, whose R^2 there lay between %.3f and %.3f.",
        w->file.rows.dims[0], w->file.n_all, w->file.rows.dims[1], w->found->n_trimmed, w->found->n_rounds,
        w->found->n_restarts, (int)SG_MIN(options_of(w).scout, w->file.rows.dims[0]), low, high));
    if (w->file.position)
        SG_TRY(sg_result_note(
            result,
            "Rows come from sequences: a smooth cloud of few corners may be their positions (`sightglass geometry "
            "--acts` takes these out)."));
    return SG_OK;
}

/* Each archetype: how much of the rows it has, and of which rows it is made. */
static sg_status table(work *w)
{
    enum { COLUMNS = 4 };
    static const char *const columns[COLUMNS] = {"archetype", "mean weight", "in a normal cloud", "made of rows"};
    const sg_dim n = w->file.rows.dims[0], k = w->k;
    sg_cell *cells = sg_arena_array(w->arena, (size_t)(k * COLUMNS), sizeof *cells);
    if (!cells)
        return sg_fail(w->err, SG_ENOMEM, "archetypes: out of memory");
    for (sg_dim j = 0; j < k; j++) {
        double own = 0, other = 0;
        sg_str rows = {0};
        for (sg_dim i = 0; i < n; i++) {
            own += sg_tensor_get(&w->found->weights, i * k + j) / (double)n;
            other += sg_tensor_get(&w->normal->weights, i * k + j) / (double)n;
        }
        sg_dim before = -1;
        float last = 2;
        for (int s = 0; s < SHOWN; s++) { /* the largest shares, falling */
            sg_dim best = -1;
            const float *b = (const float *)w->found->mixtures.data + j * n;
            for (sg_dim i = 0; i < n; i++)
                if (b[i] > 0 && (b[i] < last || (!(b[i] > last) && i > before)) && (best < 0 || b[i] > b[best]))
                    best = i;
            if (best < 0)
                break;
            sg_str_printf(&rows, "%s%d (%.2f)", s ? ", " : "", w->file.which[best], (double)b[best]);
            before = best;
            last = b[best];
        }
        const char *text = rows.failed ? NULL : sg_arena_strdup(w->arena, rows.text ? rows.text : "");
        sg_str_free(&rows);
        if (!text)
            return sg_fail(w->err, SG_ENOMEM, "archetypes: out of memory");
        cells[j * COLUMNS] = (sg_cell){NULL, (double)j};
        cells[j * COLUMNS + 1] = (sg_cell){NULL, own};
        cells[j * COLUMNS + 2] = (sg_cell){NULL, other};
        cells[j * COLUMNS + 3] = (sg_cell){text, 0};
    }
    return sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){.id = "archetypes",
                           .title = "The archetypes",
                           .n_columns = COLUMNS,
                           .n_rows = (int)k,
                           .columns = columns,
                           .cells = cells,
                           .control = "in a normal cloud: the mean weight of as many archetypes of that cloud, in "
                                      "no order that fits the first"},
        w->err);
}

/* Rows and archetypes in the plane in which rows vary most. */
static sg_status cloud_figure(work *w)
{
    const sg_dim n = SG_MIN(w->file.rows.dims[0], 1500), d = w->file.rows.dims[1], k = w->k;
    double *x = sg_arena_array(w->arena, (size_t)(n * d), sizeof *x),
           *at = sg_arena_array(w->arena, (size_t)(2 * (n + k)), sizeof *at);
    double *mean = sg_arena_array(w->arena, (size_t)d, sizeof *mean);
    if (!x || !at || !mean)
        return sg_fail(w->err, SG_ENOMEM, "archetypes: out of memory");
    for (sg_dim i = 0; i < n * d; i++)
        mean[i % d] += (x[i] = sg_tensor_get(&w->file.rows, i)) / (double)n;
    for (sg_dim i = 0; i < n * d; i++)
        x[i] -= mean[i % d];
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, d}, x);
    sg_svd *svd;
    SG_TRY(sg_svd_new(&svd, &t, SG_FACTORS_THIN, w->err));
    double *series[4] = {at, at + n, at + 2 * n, at + 2 * n + k};
    for (int axis = 0; axis < 2; axis++) {
        const double *v = (const double *)svd->vt.data + (svd->vt.dims[0] > axis ? axis : 0) * d;
        for (sg_dim i = 0; i < n + k; i++) {
            double sum = 0;
            for (sg_dim j = 0; j < d; j++)
                sum += v[j] * (i < n ? x[i * d + j]
                                     : sg_tensor_get(&w->found->archetypes, (i - n) * d + j) -
                                           (w->n_blocks == 1 ? mean[j] : 0));
            if (i < n)
                series[axis][i] = sum;
            else
                series[2 + axis][i - n] = sum;
        }
    }
    sg_svd_free(svd);
    const sg_series s[2] = {{"rows", (int)n, series[0], series[1]}, {"archetypes", (int)k, series[2], series[3]}};
    const sg_panel panel = {.n_series = 2, .series = s};
    return sg_result_add_figure(
        sg_method_result(w->r),
        &(sg_figure){.id = "cloud",
                     .title = "Rows and archetypes",
                     .kind = SG_FIGURE_POINTS,
                     .caption = "In the plane in which the rows vary most. Archetypes of several blocks add up.",
                     .x = {.label = "first principal component"},
                     .y = {.label = "second principal component"},
                     .n_panels = 1,
                     .panels = &panel},
        w->err);
}

/* R^2 of 2, 3, ... archetypes, of the rows and of the normal cloud. */
static sg_status curve(work *w)
{
    double k[CURVE], r2[2][CURVE];
    const int most = (int)SG_MIN(w->block[0], CURVE + 1), n = most - 1;
    if (w->n_blocks > 1 || n < 2)
        return SG_OK;
    sg_archetypes_opts o = options_of(w);
    o.n_restarts = 1;
    o.progress = NULL;
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 2; c++) {
            const sg_dim block = i + 2;
            sg_archetypes *a;
            SG_TRY(sg_archetypes_fit(&a, c ? &w->cloud : &w->file.rows, 1, &block, o, w->err));
            k[i] = (double)block;
            r2[c][i] = a->r2;
            sg_archetypes_free(a);
            sg_method_progress(w->r, .8 + .2 * i / n, "curve");
        }
    const sg_series s[2] = {{"rows", n, k, r2[0]}, {"a normal cloud", n, k, r2[1]}};
    const sg_panel panel = {.n_series = 2, .series = s};
    return sg_result_add_figure(
        sg_method_result(w->r),
        &(sg_figure){
            .id = "curve",
            .title = "Variance explained by so many archetypes",
            .kind = SG_FIGURE_LINES,
            .caption =
                "One start each. Where the rows' curve bends and the normal cloud's does not, there are corners.",
            .x = {.label = "archetypes"},
            .y = {.label = "R^2"},
            .n_panels = 1,
            .panels = &panel},
        w->err);
}

static sg_status save(work *w)
{
    const char *path = sg_method_out(w->r);
    if (!path)
        return SG_OK;
    sg_named_tensor t[4] = {{"archetypes", w->found->archetypes},
                            {"weights", w->found->weights},
                            {"mean", w->found->mean},
                            {"mixtures", w->found->mixtures}};
    SG_TRY(sg_safetensors_save(path, t, 4, NULL, 0, w->err));
    return sg_result_add_file(sg_method_result(w->r), path, "archetypes [K,D], weights [N,K], mixtures [K,N], mean [D]",
                              w->err);
}

static sg_status all(work *w)
{
    char path[1024];
    SG_TRY(sg_writer_check(sg_method_out(w->r), w->err));
    SG_TRY(read_blocks(w));
    SG_TRY(sg_method_data(w->r, sg_rows_file_path(sg_method_input_at(w->r, 0), path), w->err));
    SG_TRY(sg_rows_file_read(&w->file, sg_method_input_at(w->r, 0), sg_method_text(w->r, "site"),
                             (sg_dim)sg_method_number(w->r, "rows"), sg_method_seed(w->r), w->err));
    const sg_dim *dims = w->file.rows.dims;
    double *cloud = sg_arena_array(w->arena, (size_t)(dims[0] * dims[1]), sizeof *cloud);
    if (!cloud)
        return sg_fail(w->err, SG_ENOMEM, "archetypes: out of memory for %" PRId64 " rows", dims[0]);
    w->cloud = sg_tensor_of(SG_F64, 2, dims, cloud);
    SG_TRY(sg_gaussian_like(&w->cloud, &w->file.rows, sg_method_seed(w->r), w->err));
    SG_TRY(fit_both(w));
    SG_TRY(tell(w));
    SG_TRY(table(w));
    SG_TRY(cloud_figure(w));
    SG_TRY(curve(w));
    return save(w);
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    work w = {.r = r, .err = err, .arena = sg_arena_new()};
    const sg_status status = w.arena ? all(&w) : sg_fail(err, SG_ENOMEM, "archetypes: out of memory");
    sg_archetypes_free(w.found);
    sg_archetypes_free(w.normal);
    sg_rows_file_free(&w.file);
    sg_arena_free(w.arena);
    return status;
}

static const sg_method_input inputs[] = {
    {"ACTS", SG_METHOD_FILE, 1, 1, "rows: a harvest's folder, FILE.npy or FILE.safetensors[:NAME]"}};
static const sg_option options[] = {
    {"k", SG_OPTION_WHOLE, "8", 1, 4096, NULL, "archetypes, in one block"},
    {"blocks", SG_OPTION_TEXT, "", 0, 0, NULL, "archetypes of each of several blocks that add up, as 3,4,5"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "of a harvest (its first)"},
    {"rows", SG_OPTION_WHOLE, "4000", 4, 1000000, NULL, "at most, drawn from all"},
    {"restarts", SG_OPTION_WHOLE, "10", 1, 1000, NULL, "starts, of which the best goes on"},
    {"scout", SG_OPTION_WHOLE, "500", 4, 100000, NULL, "rows that restarts look at"},
    {"rounds", SG_OPTION_WHOLE, "100", 1, 100000, NULL, "at most, of weights and archetypes"},
    {"trim", SG_OPTION_REAL, "0", 0, 0.5, NULL,
     "share of rows furthest from the mean that are left out: outliers become archetypes"},
};
const sg_method sg_method_archetypes = {
    .name = "archetypes",
    .help = "the corners of a cloud of rows: archetypal analysis, also in blocks that add up",
    .about = "Rows become mixtures of few archetypes, which are themselves mixtures of rows; with --blocks, sums of "
             "one mixture out of each "
             "block. Control: a normal cloud of equal mean and covariance, which has no corners. (Cutler and Breiman "
             "1994; Fel et al. 2025.)",
    .artefact = "FILE.safetensors with archetypes, weights and mixtures",
    .n_inputs = 1,
    .inputs = inputs,
    .n_options = (int)SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
