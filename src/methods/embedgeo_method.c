/* The geometry of embeddings as methods: `embeddings compare`, `localdim`, `dimension` and `energy`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/embedgeo.h"
#include "sightglass/method.h"
#include "sightglass/npy.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"
#include "sightglass/table.h"

enum { STREAM_SAMPLE = 0x73616d70, STREAM_PERMUTED = 0x7065726d };
enum { N_PERMUTED = 5, MOST_SHOWN = 50, WORDS = 160 };

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "embeddings: out of memory");
}

/* Neighbours of each for a local dimension: as 1,200 of some 50,000 tokens, but 32 at least. */
static sg_dim scaled_k(double asked, sg_dim n)
{
    const sg_dim k = asked > 0 ? (sg_dim)asked : SG_MAX(32, n * 1200 / 50257);
    return SG_MAX(1, SG_MIN(k, n - 1));
}

static void shuffle(int32_t *ids, sg_dim n, uint64_t seed, uint32_t stream, uint64_t step)
{
    sg_rng r = sg_rng_new(seed, stream);
    r.step = step;
    for (sg_dim i = n - 1; i > 0; i--) {
        const sg_dim j = (sg_dim)sg_rng_below(&r, (uint32_t)i + 1);
        const int32_t kept = ids[i];
        ids[i] = ids[j];
        ids[j] = kept;
    }
}

/* The table of some tokens alone. */
static sg_status rows_of(sg_tensor *out, const sg_tensor *table, const int32_t *ids, sg_dim n, sg_error *err)
{
    const sg_dim d = table->dims[1];
    *out = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, malloc(sizeof(float) * (size_t)(n * d) + 1));
    if (!out->data)
        return no_memory(err);
    for (sg_dim i = 0; i < n; i++)
        memcpy((float *)out->data + i * d, (const float *)table->data + ids[i] * d, sizeof(float) * (size_t)d);
    return SG_OK;
}

static sg_neighbours_opts near_opts(const sg_method_run *r, sg_metric metric)
{
    return (sg_neighbours_opts){metric, sg_method_exec(r).n_threads, sg_method_cancel(r)};
}

/* ---- compare ---- */

typedef struct compared {
    sg_method_run *run;
    sg_embedding *table[2];
    int32_t *ids[2];
    sg_dim n; /* tokens compared */
    sg_tensor rows[2];
    sg_neighbours *near[2], *random;
    sg_error *err;
} compared;

static void close_compared(compared *c)
{
    for (int k = 0; k < 2; k++) {
        sg_embedding_free(c->table[k]);
        free(c->ids[k]);
        free(c->rows[k].data);
        sg_neighbours_free(c->near[k]);
    }
    sg_neighbours_free(c->random);
}

/* Shared tokens, and of these a sample, in the order of the first's ids. */
static sg_status sample(compared *c, const sg_model *const m[2])
{
    sg_token_match *both = NULL;
    sg_result *result = sg_method_result(c->run);
    const sg_dim most = (sg_dim)sg_method_number(c->run, "sample");
    sg_dim n;
    if (sg_model_tokenizer(m[0]) && sg_model_tokenizer(m[1])) {
        SG_TRY(sg_token_match_new(&both, sg_model_tokenizer(m[0]), sg_model_tokenizer(m[1]), c->err));
        n = both->n;
    } else {
        if (c->table[0]->table.dims[0] != c->table[1]->table.dims[0])
            return sg_fail(c->err, SG_EARG,
                           "embeddings: vocabularies of %lld and %lld, and no tokenizer beside one of them",
                           (long long)c->table[0]->table.dims[0], (long long)c->table[1]->table.dims[0]);
        n = c->table[0]->table.dims[0];
        SG_TRY(sg_result_note(result, "A model has no tokenizer: tokens were taken to be the same by their ids."));
    }
    int32_t *which = malloc(sizeof *which * (size_t)SG_MAX(n, 1));
    bool *taken = calloc((size_t)n + 1, sizeof *taken);
    sg_status status = which && taken ? SG_OK : no_memory(c->err);
    for (int k = 0; status == SG_OK && k < 2; k++)
        if (!(c->ids[k] = malloc(sizeof(int32_t) * (size_t)SG_MAX(n, 1))))
            status = no_memory(c->err);
    if (status == SG_OK) {
        for (sg_dim i = 0; i < n; i++)
            which[i] = (int32_t)i;
        shuffle(which, n, sg_method_seed(c->run), STREAM_SAMPLE, 0);
        for (sg_dim i = 0; i < SG_MIN(n, most); i++)
            taken[which[i]] = true;
        for (sg_dim i = 0; i < n; i++) {
            const int32_t ids[2] = {both ? both->ids[0][i] : (int32_t)i, both ? both->ids[1][i] : (int32_t)i};
            /* A tokenizer may have more tokens than the table rows. */
            if (!taken[i] || ids[0] >= c->table[0]->table.dims[0] || ids[1] >= c->table[1]->table.dims[0])
                continue;
            c->ids[0][c->n] = ids[0];
            c->ids[1][c->n++] = ids[1];
        }
        status = sg_result_note(result, "%lld tokens are shared, %lld of them were compared.", (long long)n,
                                (long long)c->n);
    }
    free(which);
    free(taken);
    sg_token_match_free(both);
    return status;
}

static sg_status permuted(sg_geo_alike *mean, const compared *c, sg_dim first, sg_dim n)
{
    int32_t *ids = malloc(sizeof *ids * (size_t)n);
    sg_status status = ids ? SG_OK : no_memory(c->err);
    *mean = (sg_geo_alike){n, 0, 0, 0};
    for (int t = 0; status == SG_OK && t < N_PERMUTED; t++) {
        sg_geo_alike one;
        memcpy(ids, c->ids[1] + first, sizeof *ids * (size_t)n);
        shuffle(ids, n, sg_method_seed(c->run), STREAM_PERMUTED, (uint64_t)t);
        status = sg_geo_pearson(&one, &c->table[0]->table, &c->table[1]->table, c->ids[0] + first, ids, n, c->err);
        mean->r += one.r / N_PERMUTED;
        mean->centred += one.centred / N_PERMUTED;
        mean->turned += one.turned / N_PERMUTED;
    }
    free(ids);
    return status;
}

static sg_status globally(compared *c)
{
    sg_result *result = sg_method_result(c->run);
    sg_geo_alike found, null;
    static const char permuted_text[] = "tokens permuted, mean of 5";
    SG_TRY(sg_geo_pearson(&found, &c->table[0]->table, &c->table[1]->table, c->ids[0], c->ids[1], c->n, c->err));
    SG_TRY(permuted(&null, c, 0, c->n));
    const sg_finding f[] = {sg_finding_of("cosines", "correlation of the cosines of all pairs of tokens", found.r, c->n,
                                          permuted_text, null.r),
                            sg_finding_of("cosines-centred", "the same with the mean embedding taken off",
                                          found.centred, c->n, permuted_text, null.centred),
                            sg_finding_of("orientation",
                                          "share of the second's variance that the first has, turned and scaled",
                                          found.turned, c->n, permuted_text, null.turned)};
    for (size_t i = 0; i < SG_COUNT_OF(f); i++)
        SG_TRY(sg_result_add(result, &f[i], c->err));
    /* Rare tokens stay where they were drawn: what all tokens show may be how often they come. */
    enum { BANDS = 4, COLUMNS = 6 };
    static const char *const columns[COLUMNS] = {"ids from", "to",       "cosines",
                                                 "centred",  "permuted", "permuted, centred"};
    sg_cell cells[BANDS * COLUMNS];
    if (c->n < 4 * BANDS)
        return SG_OK;
    for (int b = 0; b < BANDS; b++) {
        const sg_dim first = c->n * b / BANDS, n = c->n * (b + 1) / BANDS - first;
        SG_TRY(sg_geo_pearson(&found, &c->table[0]->table, &c->table[1]->table, c->ids[0] + first, c->ids[1] + first, n,
                              c->err));
        SG_TRY(permuted(&null, c, first, n));
        const double row[COLUMNS] = {c->ids[0][first], c->ids[0][first + n - 1], found.r, found.centred, null.r,
                                     null.centred};
        for (int k = 0; k < COLUMNS; k++)
            cells[b * COLUMNS + k] = (sg_cell){NULL, row[k]};
    }
    return sg_result_add_table(
        result,
        &(sg_result_table){.id = "bands",
                           .title = "Within quarters of the first's ids, which learnt merges order "
                                    "by frequency",
                           .n_columns = COLUMNS,
                           .n_rows = BANDS,
                           .columns = columns,
                           .cells = cells,
                           .control = "the last two columns: tokens permuted within the quarter"},
        c->err);
}

static sg_status mean_lle(double *mean, const compared *c, const sg_neighbours *a, int of_a, const sg_neighbours *b,
                          int of_b)
{
    const sg_dim n = c->n, k[2] = {a->k, b->k};
    const sg_neighbours *const near[2] = {a, b};
    const int of[2] = {of_a, of_b};
    double *cosine = malloc(sizeof *cosine * (size_t)n);
    sg_tensor w[2];
    sg_status status = cosine ? SG_OK : no_memory(c->err);
    for (int i = 0; i < 2; i++) {
        w[i] = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, k[i]}, malloc(sizeof(double) * (size_t)(n * k[i])));
        if (status == SG_OK)
            status =
                w[i].data ? sg_geo_lle(&w[i], &c->rows[of[i]], near[i], SG_GEO_REGULARISE, c->err) : no_memory(c->err);
    }
    if (status == SG_OK)
        status = sg_geo_lle_alike(cosine, a, &w[0], b, &w[1], c->err);
    if (status == SG_OK)
        *mean = sg_stats_mean(n, cosine);
    for (int i = 0; i < 2; i++)
        free(w[i].data);
    free(cosine);
    return status;
}

static sg_status locally(compared *c)
{
    sg_result *result = sg_method_result(c->run);
    const sg_dim k = SG_MIN((sg_dim)sg_method_number(c->run, "k"), c->n - 1);
    double found, null;
    for (int i = 0; i < 2; i++)
        SG_TRY(sg_neighbours_new(&c->near[i], &c->rows[i], NULL, k, near_opts(c->run, SG_METRIC_COSINE), c->err));
    SG_TRY(sg_neighbours_random(&c->random, c->n, k, sg_method_seed(c->run), c->err));
    SG_TRY(mean_lle(&found, c, c->near[0], 0, c->near[1], 1));
    SG_TRY(mean_lle(&null, c, c->near[0], 0, c->random, 1));
    const sg_finding f =
        sg_finding_of("lle", "mean cosine of rows of locally linear weights over the k nearest by cosine", found, c->n,
                      "as many random tokens reconstruct in the second", null);
    return sg_result_add(result, &f, c->err);
}

static sg_status dimensions_of(double *to, const compared *c, int of, sg_dim k)
{
    sg_neighbours *near;
    int32_t *dim = malloc(sizeof *dim * (size_t)c->n);
    if (!dim)
        return no_memory(c->err);
    sg_status status = sg_neighbours_new(&near, &c->rows[of], NULL, k, near_opts(c->run, SG_METRIC_EUCLIDEAN), c->err);
    if (status == SG_OK)
        status = sg_geo_localdim(dim, &c->rows[of], near, sg_method_number(c->run, "share"),
                                 sg_method_exec(c->run).n_threads, sg_method_cancel(c->run), c->err);
    for (sg_dim i = 0; status == SG_OK && i < c->n; i++)
        to[i] = dim[i];
    sg_neighbours_free(near);
    free(dim);
    return status;
}

static sg_status local_dimensions(compared *c)
{
    const sg_dim n = c->n, k = scaled_k(sg_method_number(c->run, "dim-k"), n);
    double *dim = malloc(3 * sizeof *dim * (size_t)n), found, null = 0;
    int32_t *order = malloc(sizeof *order * (size_t)n);
    sg_status status = dim && order ? SG_OK : no_memory(c->err);
    for (int i = 0; status == SG_OK && i < 2; i++)
        status = dimensions_of(dim + i * n, c, i, k);
    if (status == SG_OK)
        status = sg_stats_spearman(&found, n, dim, dim + n, c->err);
    for (int t = 0; status == SG_OK && t < N_PERMUTED; t++) {
        double one;
        for (sg_dim i = 0; i < n; i++)
            order[i] = (int32_t)i;
        shuffle(order, n, sg_method_seed(c->run), STREAM_PERMUTED, 100 + (uint64_t)t);
        for (sg_dim i = 0; i < n; i++)
            dim[2 * n + i] = dim[n + order[i]];
        status = sg_stats_spearman(&one, n, dim, dim + 2 * n, c->err);
        null += one / N_PERMUTED;
    }
    if (status == SG_OK) {
        const sg_finding f = sg_finding_of("local-dimension", "rank correlation of tokens' local dimensions", found, n,
                                           "tokens permuted, mean of 5", null);
        status = sg_result_add(sg_method_result(c->run), &f, c->err);
    }
    if (status == SG_OK)
        status = sg_result_note(
            sg_method_result(c->run),
            "Local dimensions are of %lld neighbours; they can be compared at one such number alone.", (long long)k);
    free(dim);
    free(order);
    return status;
}

static sg_status compare(compared *c)
{
    sg_model *m[2];
    const bool output = sg_method_number(c->run, "side") > 0;
    for (int i = 0; i < 2; i++) {
        SG_TRY(sg_method_model(c->run, i, &m[i], c->err));
        SG_TRY(sg_embedding_new(&c->table[i], m[i], output, c->err));
    }
    SG_TRY(sample(c, (const sg_model *const[]){m[0], m[1]}));
    if (c->n < 20)
        return sg_fail(c->err, SG_EARG, "embeddings: %lld tokens are shared; a comparison takes 20", (long long)c->n);
    for (int i = 0; i < 2; i++)
        SG_TRY(rows_of(&c->rows[i], &c->table[i]->table, c->ids[i], c->n, c->err));
    SG_TRY(sg_result_note(sg_method_result(c->run), "The first's tables are %s, the second's %s.",
                          c->table[0]->tied ? "tied (one for input and output)" : "two",
                          c->table[1]->tied ? "tied (one for input and output)" : "two"));
    sg_method_progress(c->run, 0, "cosines");
    SG_TRY(globally(c));
    sg_method_progress(c->run, .4, "neighbours");
    SG_TRY(locally(c));
    sg_method_progress(c->run, .7, "local dimensions");
    return local_dimensions(c);
}

static sg_status run_compare(sg_method_run *r, sg_error *err)
{
    compared c = {.run = r, .err = err};
    const sg_status status = compare(&c);
    close_compared(&c);
    return status;
}

static const sg_method_input two_models[] = {{"M1", SG_METHOD_MODEL, 1, 1, "a model"},
                                             {"M2", SG_METHOD_MODEL, 1, 1, "another, with a vocabulary that overlaps"}};
static const sg_option compare_options[] = {
    {"side", SG_OPTION_CHOICE, "input", 0, 0, "input|output",
     "which table: of what is read, or of what is said (unembedding)"},
    {"sample", SG_OPTION_WHOLE, "20000", 20, 10000000, NULL, "tokens at most, drawn from the shared ones"},
    {"k", SG_OPTION_WHOLE, "10", 1, 1000, NULL, "neighbours that reconstruct a token"},
    {"dim-k", SG_OPTION_WHOLE, "0", 0, 100000, NULL,
     "neighbours of a local dimension; 0: as 1,200 of 50,257, but 32 at least"},
    {"share", SG_OPTION_REAL, "0.95", 0.01, 1, NULL, "of the neighbours' variance that the local dimension reaches"},
};
const sg_method sg_method_embeddings_compare = {
    .name = "embeddings",
    .action = "compare",
    .help = "how alike two models arrange the tokens that they share",
    .about =
        "Tokens are matched by their bytes. Globally: Pearson's correlation of the cosines of all pairs, with and "
        "without "
        "the mean embedding, and how much of one table is the other, turned. Locally: cosines of locally linear "
        "weights, "
        "and whether the same tokens lie in patches of low dimension. Controls: tokens permuted, random neighbours. "
        "(Lee, Weber, Viegas, Wattenberg 2025.)",
    .n_inputs = 2,
    .inputs = two_models,
    .n_options = (int)SG_COUNT_OF(compare_options),
    .options = compare_options,
    .run = run_compare,
};

/* ---- one table: of a model, or rows in a file ---- */

typedef struct points {
    sg_method_run *run;
    sg_embedding *table;
    sg_npy *file;
    sg_model *model; /* NULL: a file */
    sg_tensor x;     /* [N,D] f32, borrowed or `own` */
    float *own;
    sg_error *err;
} points;

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static sg_status open_points(points *p, int input, const char *side_option)
{
    const char *path = sg_method_input_at(p->run, input);
    char shape[SG_SHAPE_TEXT];
    if (!ends_with(path, ".npy")) {
        if (!side_option)
            return sg_fail(p->err, SG_EARG, "%s: wanted a .npy file of rows", path);
        SG_TRY(sg_method_model(p->run, input, &p->model, p->err));
        SG_TRY(sg_embedding_new(&p->table, p->model, sg_method_number(p->run, side_option) > 0, p->err));
        p->x = p->table->table;
        return SG_OK;
    }
    SG_TRY(sg_method_data(p->run, path, p->err));
    SG_TRY(sg_npy_open(&p->file, path, p->err));
    const sg_tensor *t = sg_npy_tensor(p->file);
    if (t->n_dims != 2 || !sg_dtype_is_float(t->dtype))
        return sg_fail(p->err, SG_ESHAPE, "%s: %s %s; wanted [N,D] of floats", path, sg_dtype_name(t->dtype),
                       sg_shape_text(shape, t->n_dims, t->dims));
    p->own = malloc(sizeof *p->own * (size_t)sg_tensor_count(t) + 1);
    if (!p->own)
        return no_memory(p->err);
    sg_convert(p->own, SG_F32, t->data, t->dtype, sg_tensor_count(t));
    p->x = sg_tensor_of(SG_F32, 2, t->dims, p->own);
    return SG_OK;
}

static void close_points(points *p)
{
    sg_embedding_free(p->table);
    sg_npy_close(p->file);
    free(p->own);
}

/* Bytes of the character there, 0 where it is none. */
static size_t utf8_char(const char *text, size_t n)
{
    const unsigned char c = (unsigned char)text[0];
    const size_t want = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    for (size_t k = 1; k < want; k++)
        if (k >= n || ((unsigned char)text[k] & 0xC0) != 0x80)
            return 0;
    return want;
}

/* A token as people read it: in quotes, with what cannot be seen written out. */
static void show_token(char *to, size_t room, const points *p, sg_token_escape how, int32_t id)
{
    const sg_tokenizer *t = p->model ? sg_model_tokenizer(p->model) : NULL;
    char *bytes = NULL;
    size_t n = 0, at = 0;
    if (!t || sg_token_bytes(&bytes, &n, t, how, id, NULL) != SG_OK || !bytes) {
        snprintf(to, room, "%d", id);
        return;
    }
    to[at++] = '"';
    for (size_t i = 0, more; i < n && at + 6 < room; i += more) {
        const unsigned char c = (unsigned char)bytes[i];
        more = SG_MAX(utf8_char(bytes + i, n - i), 1);
        if (c < ' ' || c == 127 || (c >= 128 && more == 1))
            at += (size_t)snprintf(to + at, room - at, c == '\n' ? "\\n" : "\\x%02X", c);
        else
            for (size_t k = 0; k < more; k++)
                to[at++] = bytes[i + k];
    }
    to[at++] = '"';
    to[at] = 0;
    free(bytes);
}

/* ---- local dimension ---- */

typedef struct ranked {
    const points *p;
    const sg_neighbours *near;
    const int32_t *dim, *null;
    const sg_dim *order; /* rising */
    sg_dim n_shown;
} ranked;

/* The lowest and the highest, with their nearest neighbours. */
static sg_status ranked_table(const ranked *r)
{
    enum { COLUMNS = 4, NEAREST = 5 };
    static const char *const columns[COLUMNS] = {"token", "dimension", "shuffled", "nearest"};
    const sg_dim n = r->near->n, half = SG_MIN(r->n_shown, n / 2);
    const sg_token_escape how = r->p->model && sg_model_tokenizer(r->p->model)
                                    ? sg_token_escape_of(sg_model_tokenizer(r->p->model))
                                    : SG_ESCAPE_NONE;
    sg_cell cells[2 * MOST_SHOWN * COLUMNS];
    char(*words)[WORDS] = malloc(sizeof *words * 2 * (size_t)(2 * MOST_SHOWN));
    if (!words)
        return no_memory(r->p->err);
    for (sg_dim i = 0; i < 2 * half; i++) {
        const sg_dim id = r->order[i < half ? i : n - 2 * half + i];
        char *nearest = words[2 * i + 1];
        size_t at = 0;
        show_token(words[2 * i], WORDS, r->p, how, (int32_t)id);
        nearest[0] = 0;
        for (sg_dim j = 0; j < SG_MIN(NEAREST, r->near->k) && at + 24 < WORDS; j++) {
            char one[24];
            show_token(one, sizeof one, r->p, how, r->near->index[id * r->near->k + j]);
            at += (size_t)snprintf(nearest + at, WORDS - at, "%s%s", j ? " " : "", one);
        }
        sg_cell *row = cells + i * COLUMNS;
        row[0] = (sg_cell){words[2 * i], 0};
        row[1] = (sg_cell){NULL, r->dim[id]};
        row[2] = (sg_cell){NULL, r->null[id]};
        row[3] = (sg_cell){nearest, 0};
    }
    const sg_status status = sg_result_add_table(
        sg_method_result(r->p->run),
        &(sg_result_table){.id = "tokens",
                           .title = "The lowest dimensions, and the highest",
                           .n_columns = COLUMNS,
                           .n_rows = (int)(2 * half),
                           .columns = columns,
                           .cells = cells,
                           .control = "shuffled: the same row's where each component is dealt out anew over the rows"},
        r->p->err);
    free(words);
    return status;
}

static sg_status dims_figure(const points *p, const int32_t *dim, const int32_t *null, sg_dim n, sg_dim most)
{
    double *x = calloc(3 * ((size_t)most + 1), sizeof *x), *y = x ? x + most + 1 : NULL, *z = x ? y + most + 1 : NULL;
    if (!x)
        return no_memory(p->err);
    for (sg_dim i = 0; i <= most; i++)
        x[i] = (double)i;
    for (sg_dim i = 0; i < n; i++) {
        y[dim[i]] += 1;
        z[null[i]] += 1;
    }
    const sg_series series[] = {{"as they are", (int)most + 1, x, y}, {"components shuffled", (int)most + 1, x, z}};
    const sg_panel panel = {.n_series = 2, .series = series};
    const sg_status status = sg_result_add_figure(sg_method_result(p->run),
                                                  &(sg_figure){.id = "dimensions",
                                                               .title = "How many tokens have which local dimension",
                                                               .kind = SG_FIGURE_LINES,
                                                               .x = {.label = "local dimension"},
                                                               .y = {.label = "tokens"},
                                                               .n_panels = 1,
                                                               .panels = &panel},
                                                  p->err);
    free(x);
    return status;
}

static sg_status dims_of(int32_t *dim, sg_neighbours **near, const points *p, const sg_tensor *x, sg_dim k)
{
    SG_TRY(sg_neighbours_new(near, x, NULL, k, near_opts(p->run, SG_METRIC_EUCLIDEAN), p->err));
    return sg_geo_localdim(dim, x, *near, sg_method_number(p->run, "share"), sg_method_exec(p->run).n_threads,
                           sg_method_cancel(p->run), p->err);
}

static sg_status localdim_result(points *p, const int32_t *dim, const int32_t *null, const sg_neighbours *near)
{
    const sg_dim n = near->n;
    double *numbers = malloc(2 * sizeof *numbers * (size_t)n), mean[2] = {0, 0};
    sg_dim *order = malloc(sizeof *order * (size_t)n);
    sg_status status = numbers && order ? SG_OK : no_memory(p->err);
    for (sg_dim i = 0; status == SG_OK && i < n; i++) {
        numbers[i] = dim[i];
        mean[0] += (double)dim[i] / (double)n;
        mean[1] += (double)null[i] / (double)n;
    }
    if (status == SG_OK) {
        const sg_finding f = sg_finding_of("local-dimension", "mean local dimension of tokens", mean[0], n,
                                           "each component dealt out anew over the tokens", mean[1]);
        status = sg_result_add(sg_method_result(p->run), &f, p->err);
    }
    if (status == SG_OK)
        status = sg_stats_order(order, n, numbers, false, p->err);
    if (status == SG_OK)
        status = ranked_table(&(ranked){p, near, dim, null, order, (sg_dim)sg_method_number(p->run, "top")});
    if (status == SG_OK)
        status = dims_figure(p, dim, null, n, SG_MIN(near->k, p->x.dims[1]));
    free(numbers);
    free(order);
    return status;
}

static sg_status localdim(points *p, int32_t **dim, sg_neighbours **near, sg_tensor *shuffled)
{
    SG_TRY(open_points(p, 0, "side"));
    const sg_dim n = p->x.dims[0];
    if (n < 3)
        return sg_fail(p->err, SG_EARG, "embeddings: %lld rows; a local dimension takes 3", (long long)n);
    const sg_dim k = scaled_k(sg_method_number(p->run, "k"), n);
    for (int i = 0; i < 2; i++)
        if (!(dim[i] = malloc(sizeof(int32_t) * (size_t)n)))
            return no_memory(p->err);
    *shuffled = sg_tensor_of(SG_F32, 2, p->x.dims, malloc(sizeof(float) * (size_t)sg_tensor_count(&p->x)));
    if (!shuffled->data)
        return no_memory(p->err);
    sg_method_progress(p->run, 0, "neighbourhoods");
    SG_TRY(dims_of(dim[0], &near[0], p, &p->x, k));
    sg_method_progress(p->run, .5, "the same of shuffled components");
    SG_TRY(sg_geo_shuffle(shuffled, &p->x, sg_method_seed(p->run), p->err));
    SG_TRY(dims_of(dim[1], &near[1], p, shuffled, k));
    SG_TRY(sg_result_note(sg_method_result(p->run),
                          "%lld neighbours of each of %lld tokens; dimension grows with that number.", (long long)k,
                          (long long)n));
    return localdim_result(p, dim[0], dim[1], near[0]);
}

static sg_status run_localdim(sg_method_run *r, sg_error *err)
{
    points p = {.run = r, .err = err};
    int32_t *dim[2] = {NULL, NULL};
    sg_neighbours *near[2] = {NULL, NULL};
    sg_tensor shuffled = {0};
    const sg_status status = localdim(&p, dim, near, &shuffled);
    for (int i = 0; i < 2; i++) {
        free(dim[i]);
        sg_neighbours_free(near[i]);
    }
    free(shuffled.data);
    close_points(&p);
    return status;
}

static const sg_method_input one_table[] = {
    {"POINTS", SG_METHOD_FILE, 1, 1, "a model, or rows in a file (.npy, [N,D])"}};
static const sg_option localdim_options[] = {
    {"side", SG_OPTION_CHOICE, "input", 0, 0, "input|output",
     "of a model: the table of what is read, or of what is said"},
    {"k", SG_OPTION_WHOLE, "0", 0, 100000, NULL, "neighbours of each; 0: as 1,200 of 50,257, but 32 at least"},
    {"share", SG_OPTION_REAL, "0.95", 0.01, 1, NULL, "of the neighbours' variance that is to be reached"},
    {"top", SG_OPTION_WHOLE, "10", 1, MOST_SHOWN, NULL, "tokens that are shown at either end"},
};
const sg_method sg_method_embeddings_localdim = {
    .name = "embeddings",
    .action = "localdim",
    .help = "which tokens lie in patches of low dimension",
    .about = "The local dimension of a token is the number of principal components of its nearest neighbours that "
             "reach a share "
             "of their variance (Lee et al. 2025; theirs has 1,200 neighbours and .95). It is at most k - 1. Control: "
             "the same "
             "where each component is dealt out anew over the tokens.",
    .n_inputs = 1,
    .inputs = one_table,
    .n_options = (int)SG_COUNT_OF(localdim_options),
    .options = localdim_options,
    .run = run_localdim,
};

/* ---- intrinsic dimension ---- */

static sg_status estimate(sg_geo_dimension *to, const points *p, const sg_tensor *x)
{
    sg_neighbours *near;
    const sg_dim k = SG_MIN((sg_dim)sg_method_number(p->run, "k"), x->dims[0] - 1);
    SG_TRY(sg_neighbours_new(&near, x, NULL, k, near_opts(p->run, SG_METRIC_EUCLIDEAN), p->err));
    const sg_status status = sg_geo_dimension_of(to, near, p->err);
    sg_neighbours_free(near);
    return status;
}

static sg_status dimension(points *p, sg_tensor *shuffled)
{
    sg_geo_dimension found, null;
    SG_TRY(open_points(p, 0, "side"));
    *shuffled = sg_tensor_of(SG_F32, 2, p->x.dims, malloc(sizeof(float) * (size_t)sg_tensor_count(&p->x) + 1));
    if (!shuffled->data)
        return no_memory(p->err);
    SG_TRY(estimate(&found, p, &p->x));
    SG_TRY(sg_geo_shuffle(shuffled, &p->x, sg_method_seed(p->run), p->err));
    SG_TRY(estimate(&null, p, shuffled));
    static const char control[] = "each component dealt out anew over the rows";
    const sg_finding f[] = {
        sg_finding_of("two-nn", "dimension by the two nearest neighbours", found.two_nn, found.n, control, null.two_nn),
        sg_finding_of("likelihood", "dimension by maximum likelihood over k neighbours", found.likely, found.n, control,
                      null.likely)};
    for (size_t i = 0; i < SG_COUNT_OF(f); i++)
        SG_TRY(sg_result_add(sg_method_result(p->run), &f[i], p->err));
    if (found.n < p->x.dims[0])
        SG_TRY(sg_result_note(sg_method_result(p->run), "%lld rows are copies of others and were left out.",
                              (long long)(p->x.dims[0] - found.n)));
    return SG_OK;
}

static sg_status run_dimension(sg_method_run *r, sg_error *err)
{
    points p = {.run = r, .err = err};
    sg_tensor shuffled = {0};
    const sg_status status = dimension(&p, &shuffled);
    free(shuffled.data);
    close_points(&p);
    return status;
}

static const sg_option dimension_options[] = {
    {"side", SG_OPTION_CHOICE, "input", 0, 0, "input|output",
     "of a model: the table of what is read, or of what is said"},
    {"k", SG_OPTION_WHOLE, "20", 3, 10000, NULL, "neighbours of the likelihood"},
};
const sg_method sg_method_embeddings_dimension = {
    .name = "embeddings",
    .action = "dimension",
    .help = "the intrinsic dimension of embeddings or of other rows",
    .about = "By distances of neighbours alone: TwoNN (Facco et al. 2017) and maximum likelihood (Levina & Bickel "
             "2004, averaged "
             "as MacKay & Ghahramani say). Both fall short where the dimension is high and the points are few; what "
             "tells is "
             "the distance from the control, the same marginals with nothing joint.",
    .n_inputs = 1,
    .inputs = one_table,
    .n_options = (int)SG_COUNT_OF(dimension_options),
    .options = dimension_options,
    .run = run_dimension,
};

/* ---- energy on a graph ---- */

static sg_status read_links(sg_links **out, const char *path, sg_dim n, sg_error *err)
{
    sg_table *t;
    SG_TRY(sg_table_open(&t, path, err));
    const sg_dim n_edges = sg_table_n_rows(t);
    const int weight = sg_table_n_columns(t) > 2 ? 2 : -1;
    int32_t *edges = malloc(2 * sizeof *edges * (size_t)SG_MAX(n_edges, 1));
    double *weights = malloc(sizeof *weights * (size_t)SG_MAX(n_edges, 1));
    sg_status status = edges && weights ? SG_OK : no_memory(err);
    if (status == SG_OK && sg_table_n_columns(t) < 2)
        status = sg_fail(err, SG_EFORMAT, "%s: one column; edges have two ends, and a weight if they like", path);
    for (sg_dim i = 0; status == SG_OK && i < n_edges; i++) {
        for (int k = 0; k < 2 && status == SG_OK; k++) {
            const double end = sg_table_number(t, i, k);
            if (!(end >= 0 && end < (double)n) || end != floor(end))
                status = sg_fail(err, SG_EFORMAT, "%s: edge %lld ends at \"%.40s\"; rows are 0 to %lld", path,
                                 (long long)i, sg_table_at(t, i, k), (long long)n - 1);
            else
                edges[2 * i + k] = (int32_t)end;
        }
        weights[i] = weight < 0 ? 1 : sg_table_number(t, i, weight);
    }
    if (status == SG_OK)
        status = sg_links_new(out, n, n_edges, edges, weights, err);
    free(edges);
    free(weights);
    sg_table_free(t);
    return status;
}

static sg_status energy(points *p, sg_links **links)
{
    sg_dirichlet found;
    sg_dirichlet_opts opts = sg_dirichlet_defaults();
    const char *path = sg_method_input_at(p->run, 1);
    opts.n_permutations = (int)sg_method_number(p->run, "permutations");
    opts.seed = sg_method_seed(p->run);
    SG_TRY(open_points(p, 0, NULL));
    SG_TRY(sg_method_data(p->run, path, p->err));
    SG_TRY(read_links(links, path, p->x.dims[0], p->err));
    SG_TRY(sg_dirichlet_energy(&found, &p->x, *links, opts, p->err));
    sg_finding f =
        sg_finding_of("energy", "mean squared distance over links, over that of all pairs: 1 is no structure",
                      found.ratio, found.n_links, "rows change places: mean and 95 % of the permutations", found.null);
    f.control_low = found.null_low;
    f.control_high = found.null_high;
    SG_TRY(sg_result_add(sg_method_result(p->run), &f, p->err));
    return sg_result_note(
        sg_method_result(p->run),
        "%lld rows and %lld links among them. On a bipartite graph (grids, even rings) a colouring with two "
        "colours makes linked rows far: a ratio above 1 may be structure too.",
        (long long)found.n_points, (long long)found.n_links);
}

static sg_status run_energy(sg_method_run *r, sg_error *err)
{
    points p = {.run = r, .err = err};
    sg_links *links = NULL;
    const sg_status status = energy(&p, &links);
    sg_links_free(links);
    close_points(&p);
    return status;
}

static const sg_method_input states_and_edges[] = {
    {"STATES", SG_METHOD_FILE, 1, 1, "a row for each node (.npy, [N,D]); a row with a NaN is missing"},
    {"EDGES", SG_METHOD_FILE, 1, 1,
     "a table (.csv) of two ends and, if there is a third column, a weight; rows count from 0"}};
static const sg_option energy_options[] = {
    {"permutations", SG_OPTION_WHOLE, "200", 1, 100000, NULL, "in which rows change places"},
};
const sg_method sg_method_embeddings_energy = {
    .name = "embeddings",
    .action = "energy",
    .help = "how smooth rows are on a graph: Dirichlet energy, normalised",
    .about = "The mean squared distance of rows that are linked over that of all pairs (after Park, Lee, Lubana et al. "
             "2024, "
             "whose energy falls with the norm alone): 1 means no structure, below 1 graph-like. Control: rows change "
             "places.",
    .n_inputs = 2,
    .inputs = states_and_edges,
    .n_options = (int)SG_COUNT_OF(energy_options),
    .options = energy_options,
    .run = run_energy,
};
