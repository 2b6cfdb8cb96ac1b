/* `layout POINTS`: a model's embeddings, a harvest or rows of a file in a plane, with how far that can be trusted. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "methods/layout_picture.h"
#include "sightglass/embedgeo.h"
#include "sightglass/layout.h"
#include "sightglass/method.h"
#include "sightglass/npy.h"
#include "sightglass/rng.h"
#include "sightglass/shards.h"
#include "sightglass/table.h"

enum { STREAM = 0x6c61796f, SHOWN = 6 /* series of the figure */ };

typedef struct job {
    sg_method_run *run;
    sg_tensor x; /* [N,D] f32, own */
    sg_dim *row; /* [N] which rows of the source they are */
    sg_dim n_source;
    sg_tensor xy; /* [N,2], own */
    sg_table *table;
    const char **text; /* [N] */
    layout_labels labels;
    sg_error *err;
} job;

static sg_status no_memory(const job *j)
{
    return sg_fail(j->err, SG_ENOMEM, "layout: out of memory");
}

/* ---- points ---- */

/* The rows that are laid out: all, or a sample of them in their order. */
static sg_status choose(job *j, sg_dim n, sg_dim d)
{
    const sg_dim most = (sg_dim)sg_method_number(j->run, "sample"), kept = SG_MIN(n, most);
    j->n_source = n;
    j->row = malloc(sizeof *j->row * (size_t)SG_MAX(n, 1));
    j->x = sg_tensor_of(SG_F32, 2, (sg_dim[]){kept, d}, malloc(sizeof(float) * (size_t)(kept * d) + 1));
    if (!j->row || !j->x.data)
        return no_memory(j);
    /* Each row is taken with the probability that leaves the wanted number (Knuth's selection sampling). */
    sg_rng r = sg_rng_new(sg_method_seed(j->run), STREAM);
    sg_dim taken = 0;
    for (sg_dim i = 0; i < n && taken < kept; i++)
        if (n - i <= kept - taken || sg_rng_uniform(&r) * (double)(n - i) < (double)(kept - taken))
            j->row[taken++] = i;
    if (kept < n)
        SG_TRY(sg_result_note(sg_method_result(j->run), "%lld of %lld rows, drawn by the seed.", (long long)kept,
                              (long long)n));
    return SG_OK;
}

static sg_status copy_rows(job *j, const sg_tensor *t, const char *path)
{
    char shape[SG_SHAPE_TEXT];
    if (t->n_dims != 2 || t->dims[1] < 1 || !sg_dtype_is_float(t->dtype))
        return sg_fail(j->err, SG_ESHAPE, "%s: %s %s; wanted [N,D] of floats", path, sg_dtype_name(t->dtype),
                       sg_shape_text(shape, t->n_dims, t->dims));
    const sg_dim d = t->dims[1];
    SG_TRY(choose(j, t->dims[0], d));
    for (sg_dim i = 0; i < j->x.dims[0]; i++)
        sg_convert((float *)j->x.data + i * d, SG_F32,
                   (const char *)t->data + (size_t)(j->row[i] * d) * sg_dtype_bytes(t->dtype), t->dtype, d);
    return SG_OK;
}

static sg_status from_file(job *j, const char *path)
{
    sg_npy *file;
    SG_TRY(sg_method_data(j->run, path, j->err));
    SG_TRY(sg_npy_open(&file, path, j->err));
    const sg_status status = copy_rows(j, sg_npy_tensor(file), path);
    sg_npy_close(file);
    return status;
}

static sg_status read_harvest(job *j, const sg_shards *s, const char *path)
{
    const char *site = sg_method_text(j->run, "site");
    int which = 0;
    for (; site && which < sg_shards_n_sites(s) && strcmp(sg_shards_site(s, which), site) != 0; which++)
        ;
    if (which >= sg_shards_n_sites(s))
        return sg_fail(j->err, SG_ENOTFOUND, "%s: no site is called \"%.60s\"; the first is %s", path, site,
                       sg_shards_site(s, 0));
    SG_TRY(choose(j, sg_shards_n_rows(s), sg_shards_width(s, which)));
    for (sg_dim i = 0; i < j->x.dims[0]; i++)
        SG_TRY(sg_shards_read(s, which, j->row[i], 1, (float *)j->x.data + i * j->x.dims[1], j->err));
    return sg_result_note(sg_method_result(j->run), "Rows are of %s.", sg_shards_site(s, which));
}

static sg_status from_harvest(job *j, const char *path)
{
    sg_shards *s;
    SG_TRY(sg_method_data(j->run, path, j->err));
    SG_TRY(sg_shards_open(&s, path, j->err));
    const sg_status status = read_harvest(j, s, path);
    sg_shards_close(s);
    return status;
}

static sg_status from_model(job *j)
{
    sg_model *m;
    sg_embedding *e;
    SG_TRY(sg_method_model(j->run, 0, &m, j->err));
    SG_TRY(sg_embedding_new(&e, m, false, j->err));
    sg_status status = copy_rows(j, &e->table, sg_method_input_at(j->run, 0));
    sg_embedding_free(e);
    if (status == SG_OK)
        status = sg_result_note(sg_method_result(j->run), "Rows are the input embeddings of tokens.");
    return status;
}

static sg_status open_rows(job *j)
{
    const char *path = sg_method_input_at(j->run, 0);
    const size_t n = strlen(path);
    char index[1100];
    struct stat found;
    if (n > 4 && strcmp(path + n - 4, ".npy") == 0)
        return from_file(j, path);
    snprintf(index, sizeof index, "%.1000s/index.json", path);
    return stat(index, &found) == 0 ? from_harvest(j, path) : from_model(j);
}

static sg_status open_labels(job *j)
{
    const char *path = sg_method_text(j->run, "labels"), *column = sg_method_text(j->run, "column");
    const sg_dim n = j->x.dims[0];
    int which = 0;
    if (!path)
        return SG_OK;
    SG_TRY(sg_table_open(&j->table, path, j->err));
    if (sg_table_n_rows(j->table) != j->n_source)
        return sg_fail(j->err, SG_EARG, "%s: %lld rows of labels for %lld points", path,
                       (long long)sg_table_n_rows(j->table), (long long)j->n_source);
    if (column)
        SG_TRY(sg_table_get(&which, j->table, column, j->err));
    j->text = malloc(sizeof *j->text * (size_t)SG_MAX(n, 1));
    if (!j->text)
        return no_memory(j);
    for (sg_dim i = 0; i < n; i++)
        j->text[i] = sg_table_at(j->table, j->row[i], which);
    return layout_labels_of(&j->labels, n, j->text, j->err);
}

/* ---- what comes of it ---- */

/* What a layout of other points would reach: the rows of the picture are dealt out anew. */
static sg_status permuted(sg_layout_quality *out, const job *j, sg_layout_judge_opts how)
{
    const sg_dim n = j->xy.dims[0];
    sg_tensor xy = j->xy;
    xy.data = malloc(sizeof(float) * 2 * (size_t)n);
    if (!xy.data)
        return no_memory(j);
    float *y = xy.data;
    memcpy(y, j->xy.data, sizeof(float) * 2 * (size_t)n);
    sg_rng r = sg_rng_new(sg_method_seed(j->run), STREAM + 1);
    for (sg_dim i = n - 1; i > 0; i--) {
        const sg_dim other = (sg_dim)sg_rng_below(&r, (uint32_t)i + 1);
        for (int k = 0; k < 2; k++) {
            const float kept = y[2 * i + k];
            y[2 * i + k] = y[2 * other + k];
            y[2 * other + k] = kept;
        }
    }
    const sg_status status = sg_layout_judge(out, &j->x, &xy, how, j->err);
    free(xy.data);
    return status;
}

static sg_status judge(job *j, sg_layout_kind kind)
{
    sg_layout_judge_opts how = sg_layout_judge_defaults();
    sg_layout_quality found, null;
    how.metric =
        kind != SG_LAYOUT_PCA && sg_method_number(j->run, "metric") > 0 ? SG_METRIC_COSINE : SG_METRIC_EUCLIDEAN;
    how.n_threads = sg_method_exec(j->run).n_threads;
    how.cancel = sg_method_cancel(j->run);
    how.k = SG_MIN((sg_dim)sg_method_number(j->run, "judge-k"), SG_MAX(1, (2 * j->x.dims[0] - 2) / 3));
    SG_TRY(sg_layout_judge(&found, &j->x, &j->xy, how, j->err));
    SG_TRY(permuted(&null, j, how));
    const struct {
        const char *id, *text;
        double value, control;
    } rows[] = {
        {"trustworthiness", "are those near in the picture near in the data? 1 is perfect", found.trust, null.trust},
        {"continuity", "are those near in the data near in the picture? 1 is perfect", found.continuity,
         null.continuity},
        {"neighbours-kept", "share of the k nearest that are among the k nearest in the picture", found.kept,
         null.kept}};
    for (size_t i = 0; i < SG_COUNT_OF(rows); i++) {
        const sg_finding f = sg_finding_of(rows[i].id, rows[i].text, rows[i].value, found.n,
                                           "the points of the picture change places", rows[i].control);
        SG_TRY(sg_result_add(sg_method_result(j->run), &f, j->err));
    }
    return sg_result_note(sg_method_result(j->run), "Judged by %lld neighbours of each point.", (long long)how.k);
}

static sg_status figure(job *j, const char *title)
{
    const sg_dim n = j->x.dims[0];
    const int n_series = j->labels.n > 0 && !j->labels.number ? SG_MIN(j->labels.n, SHOWN) : 1;
    double *x = malloc(2 * sizeof *x * (size_t)n), *y = x + n;
    sg_series series[SHOWN];
    sg_dim at = 0;
    if (!x)
        return no_memory(j);
    for (int k = 0; k < n_series; k++) {
        const sg_dim first = at;
        for (sg_dim i = 0; i < n; i++)
            if (n_series == 1 || SG_MIN(j->labels.of[i], SHOWN - 1) == k) {
                x[at] = (double)((const float *)j->xy.data)[2 * i];
                y[at++] = (double)((const float *)j->xy.data)[2 * i + 1];
            }
        series[k] = (sg_series){n_series == 1                           ? "points"
                                : k == SHOWN - 1 && j->labels.n > SHOWN ? "others"
                                                                        : j->labels.text[k],
                                (int)(at - first), x + first, y + first};
    }
    const sg_panel panel = {.n_series = n_series, .series = series};
    const sg_status status = sg_result_add_figure(sg_method_result(j->run),
                                                  &(sg_figure){.id = "layout",
                                                               .title = title,
                                                               .kind = SG_FIGURE_POINTS,
                                                               .x = {.label = "first coordinate"},
                                                               .y = {.label = "second coordinate"},
                                                               .n_panels = 1,
                                                               .panels = &panel},
                                                  j->err);
    free(x);
    return status;
}

static sg_status save(job *j, const char *dir, const char *title)
{
    char path[1100];
    sg_result *result = sg_method_result(j->run);
    sg_writer *w;
    if (strlen(dir) > 1000)
        return sg_fail(j->err, SG_EARG, "layout: the path to write to is too long");
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(j->err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    snprintf(path, sizeof path, "%s/coordinates.npy", dir);
    SG_TRY(sg_npy_save(path, &j->xy, j->err));
    SG_TRY(sg_result_add_file(result, path, "a point for each row, [N,2]", j->err));
    snprintf(path, sizeof path, "%s/layout.svg", dir);
    SG_TRY(sg_writer_begin(&w, path, j->err));
    layout_picture(sg_writer_stream(w), &j->xy, title, j->text ? &j->labels : NULL);
    SG_TRY(sg_writer_commit(w, j->err));
    SG_TRY(sg_result_add_file(result, path, "the picture", j->err));
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    SG_TRY(sg_manifest_save(sg_method_manifest(j->run), path, j->err));
    return sg_result_add_file(result, path, "where they come from", j->err);
}

static sg_status lay_out(job *j)
{
    char title[300];
    const char *out = sg_method_out(j->run);
    sg_layout_opts opts = sg_layout_defaults();
    opts.kind = (sg_layout_kind)sg_method_number(j->run, "kind");
    opts.metric = sg_method_number(j->run, "metric") > 0 ? SG_METRIC_COSINE : SG_METRIC_EUCLIDEAN;
    opts.n_steps = (int)sg_method_number(j->run, "steps");
    opts.perplexity = sg_method_number(j->run, "perplexity");
    opts.theta = sg_method_number(j->run, "theta");
    opts.n_neighbours = (int)sg_method_number(j->run, "neighbours");
    opts.min_dist = sg_method_number(j->run, "min-dist");
    opts.seed = sg_method_seed(j->run);
    opts.n_threads = sg_method_exec(j->run).n_threads;
    opts.progress = sg_method_on_progress;
    opts.context = j->run;
    opts.cancel = sg_method_cancel(j->run);
    SG_TRY(open_rows(j));
    SG_TRY(open_labels(j));
    j->xy = sg_tensor_of(SG_F32, 2, (sg_dim[]){j->x.dims[0], 2}, malloc(sizeof(float) * 2 * (size_t)j->x.dims[0] + 1));
    if (!j->xy.data)
        return no_memory(j);
    sg_method_progress(j->run, 0, "layout");
    SG_TRY(sg_layout_make(&j->xy, &j->x, opts, j->err));
    snprintf(title, sizeof title, "%s of %lld points, %.200s", sg_layout_name(opts.kind), (long long)j->x.dims[0],
             sg_method_input_at(j->run, 0));
    SG_TRY(judge(j, opts.kind));
    SG_TRY(figure(j, title));
    return out ? save(j, out, title) : SG_OK;
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    job j = {.run = r, .err = err};
    const sg_status status = lay_out(&j);
    free(j.x.data);
    free(j.row);
    free(j.xy.data);
    layout_labels_free(&j.labels);
    free(j.text);
    sg_table_free(j.table);
    return status;
}

static const sg_method_input inputs[] = {
    {"POINTS", SG_METHOD_FILE, 1, 1,
     "rows in a file (.npy, [N,D]), a harvest's folder, or a model, for its embeddings"}};
static const sg_option options[] = {
    {"kind", SG_OPTION_CHOICE, "tsne", 0, 0, "pca|tsne|umap", "how: largest variance, or who is near whom"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "of a harvest: whose rows (the first site)"},
    {"labels", SG_OPTION_PATH, "", 0, 0, NULL, "a table (.csv) with a row for each of the points, for colours"},
    {"column", SG_OPTION_TEXT, "", 0, 0, NULL, "of the labels (the first column)"},
    {"sample", SG_OPTION_WHOLE, "20000", 4, 10000000, NULL, "points at most, drawn from the rows"},
    {"metric", SG_OPTION_CHOICE, "euclidean", 0, 0, "euclidean|cosine", "of the data"},
    {"steps", SG_OPTION_WHOLE, "0", 0, 1000000, NULL, "0: 1000 for t-SNE, 500 for UMAP (200 above 10,000 points)"},
    {"perplexity", SG_OPTION_REAL, "30", 1, 10000, NULL, "t-SNE: neighbours that count, smoothly"},
    {"theta", SG_OPTION_REAL, "0.5", 0, 10, NULL, "t-SNE: how coarsely far points are taken; 0 is exact and slow"},
    {"neighbours", SG_OPTION_WHOLE, "15", 2, 1000, NULL, "UMAP: of each point"},
    {"min-dist", SG_OPTION_REAL, "0.1", 0, 10, NULL, "UMAP: how near points may come"},
    {"judge-k", SG_OPTION_WHOLE, "15", 1, 10000, NULL, "neighbours by which the picture is judged"},
};
const sg_method sg_method_layout = {
    .name = "layout",
    .help = "points in a plane by PCA, t-SNE or UMAP, and how far that can be trusted",
    .about =
        "t-SNE (van der Maaten & Hinton 2008) by a quadtree and UMAP (McInnes, Healy, Melville 2018), from exact "
        "neighbours, "
        "the same bytes for a seed whatever the threads. Trustworthiness and continuity (Venna & Kaski 2001) say how "
        "far "
        "neighbours are kept; the control is the same picture with its points exchanged. Distances between groups mean "
        "little in either.",
    .artefact = "a folder: coordinates.npy, layout.svg and their manifest",
    .n_inputs = 1,
    .inputs = inputs,
    .n_options = (int)SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
