/* Dictionaries as methods: `dictionary fit`, `report`, `compare` and `cards`. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "methods/dictionary_internal.h"
#include "sightglass/corpus.h"
#include "sightglass/method.h"
#include "sightglass/npy.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"

enum { MOST_DICTS = 16, MOST_CARDS = 64, WORDS_BEFORE = 8, STREAM_CONTROL = 0x636f6e74, JUDGED_ROWS = 100000 };
enum { CELL = 320 };

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
}

/* ---- rows, from whatever was named ---- */

typedef struct acts {
    sg_dict_data data;
    sg_shards *shards; /* NULL: no harvest */
    int site;
    sg_npy *npy;
    float *rows;
    sg_corpus *corpus;
    sg_source source;
    sg_model *model; /* the run's */
} acts;

static void acts_close(acts *a)
{
    sg_dict_data_free(&a->data);
    sg_shards_close(a->shards);
    sg_npy_close(a->npy);
    free(a->rows);
    sg_source_free(&a->source);
    sg_corpus_free(a->corpus);
    *a = (acts){0};
}

static bool has(const char *dir, const char *name)
{
    char path[4096];

    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && access(path, R_OK) == 0;
}

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The site of a harvest: the one that was named, or its only one. */
static sg_status find_site(acts *a, const char *path, const char *site, sg_error *err)
{
    const int n = sg_shards_n_sites(a->shards);

    if (!site && n == 1)
        return SG_OK;
    for (a->site = 0; site && a->site < n; a->site++)
        if (strcmp(sg_shards_site(a->shards, a->site), site) == 0)
            return SG_OK;
    a->site = 0;
    return site ? sg_fail(err, SG_ENOTFOUND, "%s: it has no site %.80s; %s is one", path, site,
                          sg_shards_site(a->shards, 0))
                : sg_fail(err, SG_EARG, "%s: it has %d sites; --site names one, such as %s", path, n,
                          sg_shards_site(a->shards, 0));
}

static sg_status open_npy(acts *a, const char *path, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];

    SG_TRY(sg_npy_open(&a->npy, path, err));
    const sg_tensor *t = sg_npy_tensor(a->npy);
    if (t->n_dims != 2 || !sg_dtype_is_float(t->dtype))
        return sg_fail(err, SG_ESHAPE, "%s: %s %s, floats [rows,width] were wanted", path, sg_dtype_name(t->dtype),
                       sg_shape_text(shape, t->n_dims, t->dims));
    a->rows = malloc((size_t)sg_tensor_count(t) * sizeof *a->rows + 1);
    if (!a->rows)
        return no_memory(err);
    sg_convert(a->rows, SG_F32, t->data, t->dtype, sg_tensor_count(t));
    const sg_tensor rows = sg_tensor_of(SG_F32, 2, t->dims, a->rows);
    return sg_dict_rows(&a->data, &rows, err);
}

/* A model that is run as rows are asked for. */
static sg_status open_live(acts *a, sg_method_run *r, int input, const char *site, sg_error *err)
{
    const char *text = sg_method_text(r, "text");
    sg_dict_live_opts how = sg_dict_live_defaults();

    if (!site || !text)
        return sg_fail(err, SG_EARG, "%s: of a model --site and --text are wanted too", sg_method_input_at(r, input));
    SG_TRY(sg_method_model(r, input, &a->model, err));
    SG_TRY(sg_method_data(r, text, err));
    SG_TRY(sg_corpus_new(&a->corpus, err));
    SG_TRY(sg_corpus_add(a->corpus, text, sg_model_tokenizer(a->model), err));
    const sg_dim most = SG_MIN(sg_model_get_info(a->model)->n_context, (sg_dim)256);
    SG_TRY(sg_corpus_source(&a->source, a->corpus, 8, SG_MIN(most, sg_corpus_get_info(a->corpus).time),
                            sg_method_seed(r), err));
    how.seed = sg_method_seed(r);
    how.exec = sg_method_exec(r);
    return sg_dict_live(&a->data, a->model, site, &a->source, how, err);
}

static sg_status acts_open(acts *a, sg_method_run *r, int input, const char *site, bool live, sg_error *err)
{
    const char *path = sg_method_input_at(r, input);

    *a = (acts){0};
    if (live && (has(path, "config.json") || ends_in(path, ".gguf")))
        return open_live(a, r, input, site, err);
    SG_TRY(sg_method_data(r, path, err));
    if (ends_in(path, ".npy"))
        return open_npy(a, path, err);
    SG_TRY(sg_shards_open(&a->shards, path, err));
    SG_TRY(find_site(a, path, site, err));
    return sg_dict_shards(&a->data, a->shards, a->site, err);
}

/* ---- the dictionary of chance: random directions, as many kept as the other keeps ---- */

static sg_status by_chance(sg_dict **out, const sg_dict *d, double l0, uint64_t seed, sg_error *err)
{
    sg_tensor dec = d->dec;
    const sg_dim k = (sg_dim)fmin(fmax(l0 + 0.5, 1), (double)d->m);

    dec.data = malloc(sg_tensor_bytes(&dec) + 1);
    if (!dec.data)
        return no_memory(err);
    dict_random_rows(dec.data, d->m, d->d, seed, STREAM_CONTROL);
    const sg_status status = sg_dict_of(out, SG_DICT_TOPK, k, &dec, NULL, NULL, &d->b_dec, err);
    free(dec.data);
    return status;
}

static sg_status tell_histograms(sg_result *to, const sg_dict_report *r, const sg_dict_report *chance, sg_error *err)
{
    double at[SG_DICT_BINS];

    for (int i = 0; i < SG_DICT_BINS; i++)
        at[i] = -6 + 6 * (i + 0.5) / SG_DICT_BINS;
    const sg_series lines[2] = {{"dictionary", SG_DICT_BINS, at, r->histogram},
                                {"random atoms", SG_DICT_BINS, at, chance->histogram}};
    const sg_panel panel = {.n_series = 2, .series = lines};
    return sg_result_add_figure(
        to,
        &(sg_figure){.id = "firing",
                     .title = "How often atoms fire",
                     .caption = "Dense atoms are at the right end, atoms that hardly live at the left; those that "
                                "never fire are not in it.",
                     .kind = SG_FIGURE_LINES,
                     .x = {.label = "log10 of the share of rows"},
                     .y = {.label = "atoms"},
                     .n_panels = 1,
                     .panels = &panel},
        err);
}

/* The report of a dictionary beside that of random atoms. */
static sg_status tell_report(sg_method_run *run, const sg_dict *d, const sg_dict_data *data, sg_error *err)
{
    static const char *const columns[] = {"", "dictionary", "random atoms"};
    sg_dict_report *r = NULL, *c = NULL;
    sg_dict *chance = NULL;
    sg_result *to = sg_method_result(run);
    const sg_dim n = SG_MIN((sg_dim)JUDGED_ROWS, data->n_rows);

    sg_method_progress(run, 0.9, "report");
    sg_status status = sg_dict_report_new(&r, d, data, n, sg_method_exec(run), err);
    if (status == SG_OK)
        status = by_chance(&chance, d, r->l0, sg_method_seed(run), err);
    if (status == SG_OK)
        status = sg_dict_report_new(&c, chance, data, n, sg_method_exec(run), err);
    if (status == SG_OK)
        status = sg_result_add(to,
                               &(sg_finding){.id = "r2",
                                             .where = d->site,
                                             .text = "share of the rows' variance that is reconstructed",
                                             .value = r->r2,
                                             .low = (double)NAN,
                                             .high = (double)NAN,
                                             .n = r->n_rows,
                                             .control = "random atoms of the same shape, as many kept",
                                             .control_value = c->r2,
                                             .control_low = (double)NAN,
                                             .control_high = (double)NAN,
                                             .least = -HUGE_VAL,
                                             .most = HUGE_VAL},
                               err);
    if (status == SG_OK) {
        const struct {
            const char *what;
            double value, chance;
        } all[] = {{"codes that fire, of a row (L0)", r->l0, c->l0},
                   {"share of atoms that never fire", r->dead, c->dead},
                   {"share of atoms that fire in over a tenth of the rows", r->dense, c->dense},
                   {"cosine of the two most alike atoms", r->max_cosine, c->max_cosine},
                   {"cosine of an atom with its nearest, mean", r->mean_max_cosine, c->mean_max_cosine},
                   {"effective rank of the atoms", r->effective_rank, c->effective_rank}};
        sg_cell cells[SG_COUNT_OF(all) * 3];
        for (size_t i = 0; i < SG_COUNT_OF(all); i++) {
            cells[3 * i] = (sg_cell){.text = all[i].what};
            cells[3 * i + 1] = (sg_cell){.number = all[i].value};
            cells[3 * i + 2] = (sg_cell){.number = all[i].chance};
        }
        status =
            sg_result_add_table(to,
                                &(sg_result_table){.id = "report",
                                                   .title = "The dictionary",
                                                   .n_columns = 3,
                                                   .n_rows = SG_COUNT_OF(all),
                                                   .columns = columns,
                                                   .cells = cells,
                                                   .control = "the last column: random directions of the same shape"},
                                err);
    }
    if (status == SG_OK)
        status = tell_histograms(to, r, c, err);
    sg_dict_report_free(r);
    sg_dict_report_free(c);
    sg_dict_free(chance);
    return status;
}

/* ---- fit ---- */

static void on_fit(void *context, double done, double left, double loss)
{
    char part[64];

    if (isfinite(left))
        snprintf(part, sizeof part, "training, loss %.4g, %.0f s left", loss, left);
    else
        snprintf(part, sizeof part, "fitting");
    sg_method_progress(context, 0.9 * done, part);
}

static sg_dict_opts asked(const sg_method_run *r)
{
    sg_dict_opts o = sg_dict_defaults();

    o.kind = (sg_dict_kind)sg_method_number(r, "kind");
    o.width = (sg_dim)sg_method_number(r, "width");
    o.k = (sg_dim)sg_method_number(r, "k");
    o.l1 = sg_method_number(r, "l1");
    o.l0 = sg_method_number(r, "l0");
    o.bandwidth = sg_method_number(r, "bandwidth");
    o.aux = sg_method_number(r, "aux");
    o.n_aux = sg_method_given(r, "n-aux") ? (sg_dim)sg_method_number(r, "n-aux") : o.n_aux;
    o.resample = (sg_dim)sg_method_number(r, "resample");
    o.points = (sg_dict_points)sg_method_number(r, "points");
    o.n_points = (sg_dim)sg_method_number(r, "n-points");
    o.points_seed = (uint64_t)sg_method_number(r, "points-seed");
    o.delta = sg_method_number(r, "delta");
    o.centre = !sg_method_flag(r, "no-centre");
    o.batch = (sg_dim)sg_method_number(r, "batch");
    o.n_steps = (sg_dim)sg_method_number(r, "steps");
    o.lr = sg_method_number(r, "lr");
    o.lr_end = o.lr / 100;
    o.weight_decay = sg_method_number(r, "weight-decay");
    o.seed = sg_method_seed(r);
    o.exec = sg_method_exec(r);
    if (sg_method_number(r, "dtype") > 0)
        o.exec.compute = SG_BF16;
    o.cancel = sg_method_cancel(r);
    o.progress = on_fit;
    o.context = (void *)(uintptr_t)r;
    return o;
}

static void remove_checkpoints(const char *dir, sg_dim step)
{
    char path[4096];

    if (snprintf(path, sizeof path, "%s/checkpoint-%08" PRId64 ".safetensors", dir, step) < (int)sizeof path)
        (void)remove(path);
    (void)rmdir(dir);
}

static sg_status save(sg_method_run *r, const sg_dict *d, const char *dir, sg_error *err)
{
    char path[4096];

    SG_TRY(sg_dict_save(d, dir, err));
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    SG_TRY(sg_manifest_save(sg_method_manifest(r), path, err));
    return sg_result_add_file(sg_method_result(r), dir, "the dictionary, in SAELens' layout where that has its kind",
                              err);
}

static sg_status fit(sg_method_run *r, sg_error *err)
{
    const char *out = sg_method_out(r);
    sg_dict_opts o = asked(r);
    char checkpoint[4096];
    sg_dict *d = NULL;
    acts a;

    if (out && strlen(out) + 64 > sizeof checkpoint)
        return sg_fail(err, SG_EARG, "-o: a path of %zu bytes", strlen(out));
    if (out && mkdir(out, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", out, strerror(errno));
    if (out) { /* a run that is cut off goes on from here */
        snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", out);
        o.checkpoint = checkpoint;
    }
    sg_status status = acts_open(&a, r, 0, sg_method_text(r, "site"), true, err);
    if (status == SG_OK)
        status = sg_dict_fit(&d, &a.data, o, err);
    if (status == SG_OK && out)
        status = save(r, d, out, err);
    if (status == SG_OK && out)
        remove_checkpoints(checkpoint, o.n_steps);
    if (status == SG_OK)
        status = tell_report(r, d, &a.data, err);
    if (status == SG_OK && a.data.n_rows != INT64_MAX)
        status = sg_result_note(sg_method_result(r), "the report is over rows that were trained on");
    sg_dict_free(d);
    acts_close(&a);
    return status;
}

static const sg_method_input fit_inputs[] = {
    {"ACTS", SG_METHOD_FILE, 1, 1,
     "a harvest, FILE.npy [rows,width], or a model (with --site and --text), which is then run as it is needed"},
};

static const sg_option fit_options[] = {
    {"kind", SG_OPTION_CHOICE, "topk", 0, 0, "relu|gated|topk|batchtopk|jumprelu|archetypal|relaxed|kmeans|pca|nmf",
     "what codes are; archetypal kinds make atoms of the data, the last three are baselines"},
    {"width", SG_OPTION_WHOLE, "512", 1, 1 << 24, NULL, "atoms"},
    {"k", SG_OPTION_WHOLE, "8", 1, 1 << 20, NULL, "codes that are kept (topk, batchtopk, archetypal kinds)"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "of a harvest that has several, or of a model"},
    {"text", SG_OPTION_TEXT, "", 0, 0, NULL, "what a model reads: texts or tokens"},
    {"steps", SG_OPTION_WHOLE, "1000", 0, 1e9, NULL, "of training"},
    {"batch", SG_OPTION_WHOLE, "2048", 1, 1 << 24, NULL, "rows of a step"},
    {"lr", SG_OPTION_REAL, "0.001", 1e-9, 10, NULL,
     "learning rate of Adam, which falls to a hundredth by half a cosine"},
    {"weight-decay", SG_OPTION_REAL, "0", 0, 10, NULL, "of the encoder"},
    {"l1", SG_OPTION_REAL, "0.3", 0, 1e6, NULL,
     "relu, gated: penalty on the sum of codes, over the square root of a row's width"},
    {"l0", SG_OPTION_REAL, "0.02", 0, 1e6, NULL, "jumprelu: penalty on the number of codes"},
    {"bandwidth", SG_OPTION_REAL, "0.1", 1e-9, 1e3, NULL, "jumprelu: of what thresholds learn by, times the same root"},
    {"aux", SG_OPTION_REAL, "0.1", 0, 1e3, NULL, "topk kinds: weight of AuxK"},
    {"n-aux", SG_OPTION_WHOLE, "512", 1, 1 << 24, NULL, "topk kinds: codes of AuxK; half of all where it is not given"},
    {"resample", SG_OPTION_WHOLE, "0", 0, 1e9, NULL,
     "relu, gated: steps after which atoms that never fired begin anew; 0: never"},
    {"points", SG_OPTION_CHOICE, "centroids", 0, 0, "centroids|sample|random",
     "archetypal kinds: what atoms are mixtures of"},
    {"n-points", SG_OPTION_WHOLE, "512", 1, 1 << 20, NULL, "how many of them"},
    {"points-seed", SG_OPTION_WHOLE, "0", 0, 1e15, NULL,
     "of the points alone, so that runs with other seeds share them"},
    {"delta", SG_OPTION_REAL, "1", 0, 1e6, NULL, "relaxed: how far atoms may leave the hull"},
    {"no-centre", SG_OPTION_FLAG, "no", 0, 0, NULL, "the rows' mean is not taken off"},
    {"dtype", SG_OPTION_CHOICE, "f32", 0, 0, "f32|bf16", "what large products multiply in"},
};

const sg_method sg_method_dictionary_fit = {
    .name = "dictionary",
    .action = "fit",
    .help = "fit a dictionary: rows of activations as sums of few out of many atoms",
    .about =
        "Sparse autoencoders (ReLU, gated, TopK, BatchTopK, JumpReLU), archetypal ones, whose atoms are mixtures of "
        "points of "
        "the data (Fel et al. 2025), and k-means, PCA and NMF as baselines of the same type. With -o a run that was "
        "stopped goes on where it ended, to the same bytes. The report stands beside random atoms.",
    .artefact = "DIR: cfg.json and sae_weights.safetensors (SAELens), dictionary.json, manifest.json",
    .n_inputs = SG_COUNT_OF(fit_inputs),
    .inputs = fit_inputs,
    .n_options = SG_COUNT_OF(fit_options),
    .options = fit_options,
    .run = fit,
};

/* ---- report ---- */

static sg_status tokens_of(sg_tensor *out, const sg_model *m, const char *text, sg_dim rows, uint64_t seed,
                           sg_error *err)
{
    sg_corpus *c = NULL;
    sg_source s = {0};
    const sg_dim most = SG_MIN(sg_model_get_info(m)->n_context, (sg_dim)256);

    out->data = NULL;
    SG_TRY(sg_corpus_new(&c, err));
    sg_status status = sg_corpus_add(c, text, sg_model_tokenizer(m), err);
    if (status == SG_OK)
        status = sg_corpus_source(&s, c, rows, SG_MIN(most, sg_corpus_get_info(c).time), seed, err);
    if (status == SG_OK) {
        *out = s.field[0];
        out->data = malloc(sg_tensor_bytes(out) + 1);
        status = out->data ? s.fill(s.self, 0, out, err) : no_memory(err);
    }
    sg_source_free(&s);
    sg_corpus_free(c);
    return status;
}

static sg_status tell_loss(sg_method_run *r, const sg_dict *d, const sg_model *m, sg_error *err)
{
    static const char *const columns[] = {"what the model reads at the site", "nats per token"};
    const char *text = sg_method_text(r, "text");
    sg_dict *chance = NULL;
    sg_dict_loss loss, random;
    sg_tensor tokens = {0};

    if (!text)
        return sg_fail(err, SG_EARG, "dictionary report: with a model --text is wanted too");
    SG_TRY(sg_method_data(r, text, err));
    sg_method_progress(r, 0.95, "the model's loss");
    sg_status status = tokens_of(&tokens, m, text, (sg_dim)sg_method_number(r, "sequences"), sg_method_seed(r), err);
    if (status == SG_OK)
        status = sg_dict_loss_of(&loss, m, d, &tokens, sg_method_exec(r), err);
    if (status == SG_OK)
        status = by_chance(&chance, d, d->k ? (double)d->k : 32, sg_method_seed(r), err);
    if (status == SG_OK)
        status = dict_note(chance, d->site, NULL, err);
    if (status == SG_OK)
        status = sg_dict_loss_of(&random, m, chance, &tokens, sg_method_exec(r), err);
    if (status == SG_OK)
        status =
            sg_result_add(sg_method_result(r),
                          &(sg_finding){.id = "recovered",
                                        .where = d->site,
                                        .text = "share of the loss that zeros cost and the reconstruction does not",
                                        .value = loss.recovered,
                                        .low = (double)NAN,
                                        .high = (double)NAN,
                                        .n = loss.n_tokens,
                                        .control = "random atoms of the same shape, as many kept",
                                        .control_value = random.recovered,
                                        .control_low = (double)NAN,
                                        .control_high = (double)NAN,
                                        .least = -HUGE_VAL,
                                        .most = HUGE_VAL},
                          err);
    if (status == SG_OK) {
        const sg_cell cells[] = {{"what it is", 0},     {NULL, loss.clean},    {"the reconstruction", 0},
                                 {NULL, loss.spliced},  {"the rows' mean", 0}, {NULL, loss.mean},
                                 {"zeros", 0},          {NULL, loss.zero},     {"that of random atoms", 0},
                                 {NULL, random.spliced}};
        status = sg_result_add_table(
            sg_method_result(r),
            &(sg_result_table){.id = "loss",
                               .title = "The model's loss",
                               .n_columns = 2,
                               .n_rows = SG_COUNT_OF(cells) / 2,
                               .columns = columns,
                               .cells = cells,
                               .control = "zeros, the mean and random atoms in the reconstruction's place"},
            err);
    }
    free(tokens.data);
    sg_dict_free(chance);
    return status;
}

static sg_status tell_plausibility(sg_method_run *r, const sg_dict *d, const char *path, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    double value = (double)NAN, null = (double)NAN;
    sg_npy *npy;

    SG_TRY(sg_npy_open(&npy, path, err));
    const sg_tensor *t = sg_npy_tensor(npy);
    sg_status status = t->n_dims == 2 && t->dtype == SG_F32 && t->dims[1] == d->d
                           ? sg_dict_plausibility(&value, &null, d, t, sg_method_seed(r), err)
                           : sg_fail(err, SG_ESHAPE, "%s: %s %s, f32 [directions,%" PRId64 "] was wanted", path,
                                     sg_dtype_name(t->dtype), sg_shape_text(shape, t->n_dims, t->dims), d->d);
    if (status == SG_OK)
        status = sg_result_add(sg_method_result(r),
                               &(sg_finding){.id = "plausibility",
                                             .text = "cosine of each direction with the atom nearest to it, mean",
                                             .value = value,
                                             .low = (double)NAN,
                                             .high = (double)NAN,
                                             .n = t->dims[0],
                                             .control = "random atoms of the same shape",
                                             .control_value = null,
                                             .control_low = (double)NAN,
                                             .control_high = (double)NAN,
                                             .least = -HUGE_VAL,
                                             .most = HUGE_VAL},
                               err);
    sg_npy_close(npy);
    return status;
}

static sg_status report(sg_method_run *r, sg_error *err)
{
    const char *directions = sg_method_text(r, "directions");
    sg_dict *d = NULL;
    sg_model *m = NULL;
    acts a = {0};

    sg_status status = sg_dict_open(&d, sg_method_input_at(r, 0), err);
    if (status == SG_OK)
        status = sg_method_data(r, sg_method_input_at(r, 0), err);
    if (status == SG_OK)
        status = acts_open(&a, r, 1, sg_method_text(r, "site") ? sg_method_text(r, "site") : d->site, false, err);
    if (status == SG_OK)
        status = tell_report(r, d, &a.data, err);
    if (status == SG_OK && directions)
        status = tell_plausibility(r, d, directions, err);
    if (status == SG_OK && sg_method_n_inputs(r) > 2)
        status = sg_method_model(r, 2, &m, err);
    if (status == SG_OK && m)
        status = tell_loss(r, d, m, err);
    sg_dict_free(d);
    acts_close(&a);
    return status;
}

static const sg_method_input report_inputs[] = {
    {"DICT", SG_METHOD_FILE, 1, 1, "a dictionary, of ours or of SAELens"},
    {"ACTS", SG_METHOD_FILE, 1, 1, "rows to judge it on: a harvest or FILE.npy"},
    {"MODEL", SG_METHOD_MODEL, 0, 1, "with --text: what the model loses by reading the reconstruction"},
};

static const sg_option report_options[] = {
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "of a harvest that has several; else the dictionary's own"},
    {"text", SG_OPTION_TEXT, "", 0, 0, NULL, "what the model reads: texts or tokens"},
    {"sequences", SG_OPTION_WHOLE, "32", 1, 1 << 16, NULL, "of that, of up to 256 tokens"},
    {"directions", SG_OPTION_PATH, "", 0, 0, NULL,
     "FILE.npy [n,width], a classifier's directions: is there an atom near each? (plausibility)"},
};

const sg_method sg_method_dictionary_report = {
    .name = "dictionary",
    .action = "report",
    .help = "what a dictionary is like: reconstruction, sparsity, dead and dense atoms, the loss it costs",
    .about = "R2 about the mean of the rows, L0, dead and dense atoms, collinearity, effective rank (Roy & Vetterli "
             "2007), how often "
             "atoms fire; with a model the loss when it reads the reconstruction, beside zeros and the mean. Each "
             "stands beside "
             "random directions of the same shape.",
    .n_inputs = SG_COUNT_OF(report_inputs),
    .inputs = report_inputs,
    .n_options = SG_COUNT_OF(report_options),
    .options = report_options,
    .run = report,
};

/* ---- compare ---- */

static sg_status tell_pairs(sg_method_run *r, int n, sg_dict *const *d, sg_error *err)
{
    static const char *const columns[] = {"", "", "mean cosine", "random", "mean |cosine|", "random"};
    const int n_pairs = n * (n - 1) / 2;
    double *stability = calloc((size_t)n_pairs + 1, sizeof *stability), null = 0;
    double bins[SG_DICT_BINS] = {0}, at[SG_DICT_BINS];
    sg_cell *cells = calloc(6 * (size_t)n_pairs + 1, sizeof *cells);
    sg_status status = stability && cells ? SG_OK : no_memory(err);
    int p = 0;

    for (int i = 0; i < n && status == SG_OK; i++)
        for (int j = i + 1; j < n && status == SG_OK; j++, p++) {
            sg_dict_match *m;
            status = sg_dict_match_new(&m, &d[i]->dec, &d[j]->dec, sg_method_seed(r), err);
            if (status != SG_OK)
                break;
            stability[p] = m->stability;
            null += m->null / n_pairs;
            const sg_cell row[6] = {{.text = sg_method_input_at(r, i)},
                                    {.text = sg_method_input_at(r, j)},
                                    {.number = m->stability},
                                    {.number = m->null},
                                    {.number = m->absolute},
                                    {.number = m->absolute_null}};
            memcpy(cells + 6 * p, row, sizeof row);
            for (sg_dim k = 0; k < d[i]->m; k++)
                if (m->pair[k] >= 0)
                    bins[(int)fmin(fmax((m->cosine[k] + 1) / 2 * SG_DICT_BINS, 0), SG_DICT_BINS - 1)] += 1.0 / n_pairs;
            sg_dict_match_free(m);
            sg_method_progress(r, (double)(p + 1) / n_pairs, "matching");
        }
    if (status == SG_OK)
        status = sg_result_add_table(
            sg_method_result(r),
            &(sg_result_table){.id = "pairs",
                               .title = "Which atoms are the same",
                               .n_columns = 6,
                               .n_rows = n_pairs,
                               .columns = columns,
                               .cells = cells,
                               .control = "the random columns: directions of the same shapes, matched alike"},
            err);
    if (status == SG_OK) {
        const double half = n_pairs > 1 ? 1.96 * sg_stats_deviation(n_pairs, stability) / sqrt(n_pairs) : (double)NAN;
        const double mean = sg_stats_mean(n_pairs, stability);
        status =
            sg_result_add(sg_method_result(r),
                          &(sg_finding){.id = "stability",
                                        .text = "mean cosine of atoms with their partners, over pairs of dictionaries",
                                        .value = mean,
                                        .low = mean - half,
                                        .high = mean + half,
                                        .n = n_pairs,
                                        .control = "random directions of the same shapes",
                                        .control_value = null,
                                        .control_low = (double)NAN,
                                        .control_high = (double)NAN,
                                        .least = -HUGE_VAL,
                                        .most = HUGE_VAL},
                          err);
    }
    for (int i = 0; i < SG_DICT_BINS; i++)
        at[i] = -1 + 2 * (i + 0.5) / SG_DICT_BINS;
    if (status == SG_OK) {
        const sg_series line = {"pairs of atoms", SG_DICT_BINS, at, bins};
        const sg_panel panel = {.n_series = 1, .series = &line};
        status = sg_result_add_figure(sg_method_result(r),
                                      &(sg_figure){.id = "cosines",
                                                   .title = "Cosines of matched atoms",
                                                   .kind = SG_FIGURE_LINES,
                                                   .x = {.label = "cosine", .low = -1, .high = 1},
                                                   .y = {.label = "atoms"},
                                                   .n_panels = 1,
                                                   .panels = &panel},
                                      err);
    }
    free(stability);
    free(cells);
    return status;
}

static sg_status compare(sg_method_run *r, sg_error *err)
{
    const int n = sg_method_n_inputs(r);
    sg_dict *d[MOST_DICTS] = {0};
    sg_status status = SG_OK;

    for (int i = 0; i < n && status == SG_OK; i++) {
        status = sg_dict_open(&d[i], sg_method_input_at(r, i), err);
        if (status == SG_OK)
            status = sg_method_data(r, sg_method_input_at(r, i), err);
    }
    if (status == SG_OK)
        status = tell_pairs(r, n, d, err);
    for (int i = 0; i < n; i++)
        sg_dict_free(d[i]);
    return status;
}

static const sg_method_input compare_inputs[] = {
    {"DICT", SG_METHOD_FILE, 2, MOST_DICTS, "dictionaries of rows of one width"},
};

const sg_method sg_method_dictionary_compare = {
    .name = "dictionary",
    .action = "compare",
    .help = "are the atoms of dictionaries the same? Matched one to one by their cosines",
    .about = "A Hungarian assignment on the cosines of all pairs of atoms; stability is the mean cosine of the "
             "partners. Random directions "
             "matched alike stand beside it, as their mean cosine is far from 0 where there are few dimensions.",
    .n_inputs = SG_COUNT_OF(compare_inputs),
    .inputs = compare_inputs,
    .run = compare,
};

/* ---- cards ---- */

/* A token as text: the mark that stands for a space before it becomes one. NULL where it is not known. */
static void put_token(char *out, size_t room, const sg_model *m, int32_t id)
{
    const char *t = m && sg_model_tokenizer(m) ? sg_tokenizer_token(sg_model_tokenizer(m), id) : NULL;
    const bool space = t && (strncmp(t, "\xe2\x96\x81", 3) == 0 || strncmp(t, "\xc4\xa0", 2) == 0);

    if (t)
        snprintf(out, room, "%s%s", space ? " " : "", t + (space ? (t[0] == '\xe2' ? 3 : 2) : 0));
    else
        snprintf(out, room, " %" PRId32, id);
}

/* The row's tokens and those before it in its sequence, the row's own in brackets. */
static void words_of(char out[CELL], const acts *a, const sg_model *m, sg_dim row)
{
    sg_shards_row own, at;
    char word[48];
    size_t n = 0;

    snprintf(out, CELL, "row %" PRId64, row);
    if (!a->shards || sg_shards_row_at(a->shards, row, &own, NULL) != SG_OK)
        return;
    sg_dim first = row;
    while (first > 0 && row - first < WORDS_BEFORE && sg_shards_row_at(a->shards, first - 1, &at, NULL) == SG_OK &&
           at.position == own.position - (int32_t)(row - first + 1))
        first--;
    for (sg_dim i = first; i <= row && n + sizeof word < CELL; i++) {
        if (sg_shards_row_at(a->shards, i, &at, NULL) != SG_OK)
            break;
        put_token(word, sizeof word, m, at.token);
        n += (size_t)snprintf(out + n, CELL - n, i == row ? " [%s ]" : "%s", word);
    }
}

/* Of these rows the share that has the token that most of them have; NaN without tokens. */
static double alike(const acts *a, int n, const sg_dim *rows)
{
    int32_t tokens[64];
    int most = 0;

    for (int i = 0; i < n; i++) {
        sg_shards_row at;
        if (!a->shards || sg_shards_row_at(a->shards, rows[i], &at, NULL) != SG_OK)
            return (double)NAN;
        tokens[i] = at.token;
    }
    for (int i = 0; i < n; i++) {
        int same = 0;
        for (int j = 0; j < n; j++)
            same += tokens[j] == tokens[i];
        most = SG_MAX(most, same);
    }
    return n ? (double)most / n : (double)NAN;
}

static void list_tokens(char out[CELL], const sg_model *m, int n, const int32_t *ids)
{
    size_t at = 0;
    char word[48];

    snprintf(out, CELL, "-");
    for (int i = 0; i < n && ids && at + sizeof word < CELL; i++) {
        put_token(word, sizeof word, m, ids[i]);
        at += (size_t)snprintf(out + at, CELL - at, "%s\"%s\"", i ? " " : "", word);
    }
}

static sg_status tell_examples(sg_method_run *r, const acts *a, const sg_model *m, const sg_dict_card *card,
                               sg_error *err)
{
    static const char *const columns[] = {"value", "where, the token itself in brackets"};
    char id[48], title[120], (*words)[CELL] = calloc((size_t)card->n_rows + 1, sizeof *words);
    sg_cell *cells = calloc(2 * (size_t)card->n_rows + 1, sizeof *cells);
    sg_status status = words && cells ? SG_OK : no_memory(err);

    for (int i = 0; i < card->n_rows && status == SG_OK; i++) {
        words_of(words[i], a, m, card->rows[i]);
        cells[2 * i] = (sg_cell){.number = (double)card->values[i]};
        cells[2 * i + 1] = (sg_cell){.text = words[i]};
    }
    snprintf(id, sizeof id, "atom-%" PRId64, card->atom);
    snprintf(title, sizeof title, "Atom %" PRId64 ", where it is greatest", card->atom);
    if (status == SG_OK && card->n_rows)
        status = sg_result_add_table(
            sg_method_result(r),
            &(sg_result_table){.id = id,
                               .title = title,
                               .n_columns = 2,
                               .n_rows = card->n_rows,
                               .columns = columns,
                               .cells = cells,
                               .control = "none: examples; the finding says how alike rows drawn by chance are"},
            err);
    free(words);
    free(cells);
    return status;
}

static sg_status tell_values(sg_method_run *r, int n, const sg_dict_card *cards, sg_error *err)
{
    sg_panel panels[MOST_CARDS];
    sg_series lines[MOST_CARDS];
    double at[MOST_CARDS][SG_DICT_BINS];
    char titles[MOST_CARDS][32];

    for (int k = 0; k < n; k++) {
        for (int b = 0; b < SG_DICT_BINS; b++)
            at[k][b] = cards[k].greatest * (b + 0.5) / SG_DICT_BINS;
        snprintf(titles[k], sizeof titles[k], "atom %" PRId64, cards[k].atom);
        lines[k] = (sg_series){"rows", SG_DICT_BINS, at[k], cards[k].histogram};
        panels[k] = (sg_panel){.title = titles[k], .n_series = 1, .series = &lines[k]};
    }
    return sg_result_add_figure(sg_method_result(r),
                                &(sg_figure){.id = "values",
                                             .title = "How strongly they fire",
                                             .kind = SG_FIGURE_LINES,
                                             .x = {.label = "value"},
                                             .y = {.label = "rows"},
                                             .n_panels = SG_MIN(n, 12),
                                             .panels = panels},
                                err);
}

static sg_status tell_cards(sg_method_run *r, const acts *a, const sg_model *m, int n, const sg_dict_card *cards,
                            sg_error *err)
{
    static const char *const columns[] = {"atom",   "share of rows", "mean",  "greatest",
                                          "raises", "lowers",        "alike", "alike, by chance"};
    enum { COLUMNS = 8 };
    char(*words)[2][CELL] = calloc((size_t)n, sizeof *words);
    sg_cell *cells = calloc(COLUMNS * (size_t)n, sizeof *cells);
    sg_rng rng = sg_rng_new(sg_method_seed(r), STREAM_CONTROL);
    double same = 0, random = 0;
    int known = 0;
    sg_status status = words && cells ? SG_OK : no_memory(err);

    for (int k = 0; k < n && status == SG_OK; k++) {
        const sg_dict_card *c = &cards[k];
        sg_dim rows[64];
        for (int i = 0; i < c->n_rows; i++)
            rows[i] = (sg_dim)(sg_rng_uniform(&rng) * (double)a->data.n_rows);
        const double own = alike(a, c->n_rows, c->rows), chance = alike(a, c->n_rows, rows);
        if (isfinite(own)) {
            same += own;
            random += chance;
            known++;
        }
        list_tokens(words[k][0], m, c->n_logits, c->most);
        list_tokens(words[k][1], m, c->n_logits, c->least);
        const sg_cell row[COLUMNS] = {
            {.number = (double)c->atom}, {.number = c->firing}, {.number = c->mean}, {.number = c->greatest},
            {.text = words[k][0]},       {.text = words[k][1]}, {.number = own},     {.number = chance}};
        memcpy(cells + COLUMNS * k, row, sizeof row);
        status = tell_examples(r, a, m, c, err);
    }
    if (status == SG_OK)
        status = sg_result_add_table(
            sg_method_result(r),
            &(sg_result_table){
                .id = "cards",
                .title = "Atoms",
                .n_columns = COLUMNS,
                .n_rows = n,
                .columns = columns,
                .cells = cells,
                .control = "alike is the share of an atom's rows that have one token; by chance: of rows drawn"},
            err);
    if (status == SG_OK && known)
        status = sg_result_add(
            sg_method_result(r),
            &(sg_finding){
                .id = "alike",
                .text = "share of the rows where an atom is greatest that have one and the same token, mean over atoms",
                .value = same / known,
                .low = (double)NAN,
                .high = (double)NAN,
                .n = known,
                .control = "as many rows drawn by chance",
                .control_value = random / known,
                .control_low = (double)NAN,
                .control_high = (double)NAN,
                .least = -HUGE_VAL,
                .most = HUGE_VAL},
            err);
    if (status == SG_OK)
        status = tell_values(r, n, cards, err);
    free(words);
    free(cells);
    return status;
}

/* The atoms that were asked for; else those with most energy. */
static sg_status choose(sg_dim *atoms, int *n, sg_method_run *r, const sg_dict *d, const sg_dict_data *data,
                        sg_error *err)
{
    double *list = NULL;

    *n = 0;
    if (sg_method_text(r, "atoms")) {
        SG_TRY(sg_method_numbers(r, "atoms", &list, n, err));
        sg_status status = SG_OK;
        if (*n > MOST_CARDS)
            status = sg_fail(err, SG_EARG, "dictionary cards: %d atoms, at most %d are shown", *n, MOST_CARDS);
        for (int i = 0; i < *n && status == SG_OK; i++) {
            if (list[i] < 0 || list[i] >= (double)d->m || list[i] != floor(list[i]))
                status = sg_fail(err, SG_EARG, "dictionary cards: atom %g, wanted 0 to %" PRId64, list[i], d->m - 1);
            atoms[i] = (sg_dim)list[i];
        }
        free(list);
        return status;
    }
    sg_dict_report *report;
    sg_dim *order = malloc((size_t)d->m * sizeof *order);
    if (!order)
        return no_memory(err);
    sg_status status = sg_dict_report_new(&report, d, data, 20000, sg_method_exec(r), err);
    if (status == SG_OK) {
        status = sg_stats_order(order, d->m, report->energy, true, err);
        *n = (int)SG_MIN(d->m, (sg_dim)sg_method_number(r, "n"));
        for (int i = 0; i < *n && status == SG_OK; i++)
            atoms[i] = order[i];
        sg_dict_report_free(report);
    }
    free(order);
    return status;
}

static void on_cards(void *context, double done)
{
    sg_method_progress(context, done, "cards");
}

static sg_status cards(sg_method_run *r, sg_error *err)
{
    sg_dict *d = NULL;
    sg_model *m = NULL;
    sg_dict_card *made = NULL;
    acts a = {0};
    sg_dim atoms[MOST_CARDS];
    int n = 0;
    sg_dict_card_opts opts = sg_dict_card_defaults();

    opts.n_rows = (int)sg_method_number(r, "rows");
    opts.exec = sg_method_exec(r);
    opts.cancel = sg_method_cancel(r);
    opts.progress = on_cards;
    opts.context = r;
    sg_status status = sg_dict_open(&d, sg_method_input_at(r, 0), err);
    if (status == SG_OK)
        status = sg_method_data(r, sg_method_input_at(r, 0), err);
    if (status == SG_OK)
        status = acts_open(&a, r, 1, sg_method_text(r, "site") ? sg_method_text(r, "site") : d->site, false, err);
    if (status == SG_OK && sg_method_n_inputs(r) > 2)
        status = sg_method_model(r, 2, &m, err);
    if (m && sg_model_get_info(m)->d_model == d->d && sg_model_get_info(m)->task == SG_TASK_NEXT)
        opts.model = m;
    if (status == SG_OK)
        status = choose(atoms, &n, r, d, &a.data, err);
    if (status == SG_OK)
        status = sg_dict_cards_new(&made, d, &a.data, n, atoms, opts, err);
    if (status == SG_OK)
        status = tell_cards(r, &a, m, n, made, err);
    if (status == SG_OK && opts.model)
        status = sg_result_note(
            sg_method_result(r),
            "raises and lowers: the unembedding of the atom as it is, behind no norm and no later layer");
    sg_dict_cards_free(made);
    sg_dict_free(d);
    acts_close(&a);
    return status;
}

static const sg_method_input cards_inputs[] = {
    {"DICT", SG_METHOD_FILE, 1, 1, "a dictionary, of ours or of SAELens"},
    {"ACTS", SG_METHOD_FILE, 1, 1, "rows to look for examples in: a harvest or FILE.npy"},
    {"MODEL", SG_METHOD_MODEL, 0, 1, "tokens as text, and which an atom raises"},
};

static const sg_option cards_options[] = {
    {"atoms", SG_OPTION_TEXT, "", 0, 0, NULL, "which, with commas; else those with most energy"},
    {"n", SG_OPTION_WHOLE, "8", 1, MOST_CARDS, NULL, "how many of those"},
    {"rows", SG_OPTION_WHOLE, "8", 1, 64, NULL, "examples of each"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "of a harvest that has several; else the dictionary's own"},
};

const sg_method sg_method_dictionary_cards = {
    .name = "dictionary",
    .action = "cards",
    .help = "where atoms fire most, how strongly, and which tokens they raise",
    .about = "Of each atom the rows where its code is greatest, with their tokens, how its values are spread, and with "
             "a model the tokens "
             "whose logits it raises and lowers most. How alike the tokens of an atom's rows are stands beside rows "
             "drawn by chance.",
    .n_inputs = SG_COUNT_OF(cards_inputs),
    .inputs = cards_inputs,
    .n_options = SG_COUNT_OF(cards_options),
    .options = cards_options,
    .run = cards,
};
