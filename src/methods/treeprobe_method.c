/* `embeddings trees ACTS TREES`: a structural probe of trees, on sentences that it was not fitted to. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/methods.h"
#include "sightglass/npy.h"
#include "sightglass/table.h"
#include "sightglass/treeprobe.h"

enum { FIT = 0, JUDGE = 1 };

typedef struct job {
    sg_method_run *run;
    sg_npy *acts;
    int32_t *head, *permuted;
    sg_dim *first, *first_held; /* of sentences, from their own first rows on */
    sg_trees part[2];
    sg_error *err;
} job;

static sg_status no_memory(const job *j)
{
    return sg_fail(j->err, SG_ENOMEM, "embeddings trees: out of memory");
}

/* A row for each word: the number of its sentence, which only rises, and its head. */
static sg_status read_trees(job *j, const sg_table *t, const char *path, sg_dim n, sg_dim *n_sentences)
{
    int sentence, head;
    double last = (double)NAN;
    SG_TRY(sg_table_get(&sentence, t, "sentence", j->err));
    SG_TRY(sg_table_get(&head, t, "head", j->err));
    if (sg_table_n_rows(t) != n)
        return sg_fail(j->err, SG_ESHAPE, "%s: %lld words for %lld rows of activations", path,
                       (long long)sg_table_n_rows(t), (long long)n);
    for (sg_dim i = 0; i < n; i++) {
        const double number = sg_table_number(t, i, sentence), of = sg_table_number(t, i, head);
        if (!(of >= -1 && of < 1e6) || of != floor(of) || isnan(number) || number < last)
            return sg_fail(j->err, SG_EFORMAT, "%s: word %lld: sentence \"%.20s\", head \"%.20s\"", path, (long long)i,
                           sg_table_at(t, i, sentence), sg_table_at(t, i, head));
        if (i == 0 || number > last)
            j->first[(*n_sentences)++] = i;
        last = number;
        j->head[i] = (int32_t)of;
    }
    j->first[*n_sentences] = n;
    return SG_OK;
}

/* The last fifth of the sentences is held out. */
static sg_status part(job *j, const sg_tensor *acts, sg_dim n_sentences)
{
    const sg_dim d = acts->dims[1], held = SG_MAX(1, n_sentences / 5), fitted = n_sentences - held;
    if (n_sentences < 5)
        return sg_fail(j->err, SG_EARG, "embeddings trees: %lld sentences; a probe takes 5", (long long)n_sentences);
    const sg_dim row = j->first[fitted];
    for (sg_dim s = 0; s <= held; s++)
        j->first_held[s] = j->first[fitted + s] - row;
    j->part[FIT] = (sg_trees){*acts, j->head, fitted, j->first};
    j->part[FIT].acts.dims[0] = row;
    j->part[JUDGE] = (sg_trees){*acts, j->head + row, held, j->first_held};
    j->part[JUDGE].acts.dims[0] = acts->dims[0] - row;
    j->part[JUDGE].acts.data = (char *)acts->data + (size_t)(row * d) * sg_dtype_bytes(acts->dtype);
    return SG_OK;
}

static sg_status fitted(sg_treeprobe_score *to, const job *j, const int32_t *head)
{
    sg_treeprobe *p;
    sg_trees t = j->part[FIT];
    sg_treeprobe_opts opts = sg_treeprobe_defaults();
    opts.rank = SG_MIN((sg_dim)sg_method_number(j->run, "rank"), t.acts.dims[1]);
    opts.epochs = (sg_dim)sg_method_number(j->run, "epochs");
    opts.lr = sg_method_number(j->run, "lr");
    opts.seed = sg_method_seed(j->run);
    opts.exec = sg_method_exec(j->run);
    opts.progress = sg_method_on_progress;
    opts.context = j->run;
    opts.cancel = sg_method_cancel(j->run);
    t.head = head;
    SG_TRY(sg_treeprobe_fit(&p, &t, opts, j->err));
    const sg_status status = sg_treeprobe_judge(to, p, &j->part[JUDGE], j->err);
    sg_treeprobe_free(p);
    return status;
}

static sg_status tell(const job *j, const sg_treeprobe_score *found, const sg_treeprobe_score *null,
                      const sg_treeprobe_score *random)
{
    enum { ROWS = 4, COLUMNS = 3 };
    const struct {
        const char *id, *text;
        double value, control;
    } rows[] = {
        {"spearman", "correlation of distances with links, by length of sentence", found->spearman, null->spearman},
        {"attached", "share of the links that the minimum spanning tree has", found->attached, null->attached}};
    for (size_t i = 0; i < SG_COUNT_OF(rows); i++) {
        const sg_finding f = sg_finding_of(rows[i].id, rows[i].text, rows[i].value, j->part[JUDGE].n_sentences,
                                           "fitted to trees of other sentences of that length", rows[i].control);
        SG_TRY(sg_result_add(sg_method_result(j->run), &f, j->err));
    }
    static const char *const columns[COLUMNS] = {"read by", "spearman", "attached"};
    const sg_cell cells[ROWS * COLUMNS] = {{"the probe", 0},
                                           {NULL, found->spearman},
                                           {NULL, found->attached},
                                           {"how far apart words stand", 0},
                                           {NULL, found->by_position},
                                           {NULL, found->chain},
                                           {"a random map of that rank", 0},
                                           {NULL, random->spearman},
                                           {NULL, random->attached},
                                           {"fitted to other trees", 0},
                                           {NULL, null->spearman},
                                           {NULL, null->attached}};
    return sg_result_add_table(sg_method_result(j->run),
                               &(sg_result_table){.id = "baselines",
                                                  .title = "What reads the trees of sentences held out",
                                                  .n_columns = COLUMNS,
                                                  .n_rows = ROWS,
                                                  .columns = columns,
                                                  .cells = cells,
                                                  .control = "all rows but the first"},
                               j->err);
}

static sg_status probe(job *j)
{
    const char *path = sg_method_input_at(j->run, 0), *trees = sg_method_input_at(j->run, 1);
    char shape[SG_SHAPE_TEXT];
    sg_table *table;
    sg_dim n_sentences = 0;
    SG_TRY(sg_method_data(j->run, path, j->err));
    SG_TRY(sg_npy_open(&j->acts, path, j->err));
    const sg_tensor *acts = sg_npy_tensor(j->acts);
    if (acts->n_dims != 2)
        return sg_fail(j->err, SG_ESHAPE, "%s: %s; wanted [N,D]", path, sg_shape_text(shape, acts->n_dims, acts->dims));
    const sg_dim n = acts->dims[0];
    j->head = malloc(sizeof *j->head * (size_t)(n + 1));
    j->permuted = malloc(sizeof *j->permuted * (size_t)(n + 1));
    j->first = malloc(sizeof *j->first * (size_t)(n + 2));
    j->first_held = malloc(sizeof *j->first_held * (size_t)(n + 2));
    if (!j->head || !j->permuted || !j->first || !j->first_held)
        return no_memory(j);
    SG_TRY(sg_table_open(&table, trees, j->err));
    const sg_status status = read_trees(j, table, trees, n, &n_sentences);
    sg_table_free(table);
    SG_TRY(status);
    SG_TRY(part(j, acts, n_sentences));
    sg_treeprobe_score found, null, random;
    sg_treeprobe *drawn;
    sg_method_progress(j->run, 0, "probe");
    SG_TRY(fitted(&found, j, j->head));
    sg_method_progress(j->run, 0, "the same of permuted trees");
    SG_TRY(sg_trees_permute(j->permuted, &j->part[FIT], sg_method_seed(j->run), j->err));
    SG_TRY(fitted(&null, j, j->permuted));
    SG_TRY(sg_treeprobe_random(&drawn, acts->dims[1], SG_MIN((sg_dim)sg_method_number(j->run, "rank"), acts->dims[1]),
                               sg_method_seed(j->run), j->err));
    const sg_status judged = sg_treeprobe_judge(&random, drawn, &j->part[JUDGE], j->err);
    sg_treeprobe_free(drawn);
    SG_TRY(judged);
    return tell(j, &found, &null, &random);
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    job j = {.run = r, .err = err};
    const sg_status status = probe(&j);
    sg_npy_close(j.acts);
    free(j.head);
    free(j.permuted);
    free(j.first);
    free(j.first_held);
    return status;
}

static const sg_method_input inputs[] = {{"ACTS", SG_METHOD_FILE, 1, 1, "a row for each word (.npy, [N,D])"},
                                         {"TREES", SG_METHOD_FILE, 1, 1,
                                          "a table (.csv) of as many rows: `sentence`, a number that rises, and "
                                          "`head`, a place in it from 0, -1 for the root"}};
static const sg_option options[] = {
    {"rank", SG_OPTION_WHOLE, "64", 1, 100000, NULL, "of the map"},
    {"epochs", SG_OPTION_WHOLE, "40", 1, 100000, NULL, "times that each sentence is read"},
    {"lr", SG_OPTION_REAL, "0.001", 1e-9, 10, NULL, "Adam's rate"},
};
const sg_method sg_method_embeddings_trees = {
    .name = "embeddings",
    .action = "trees",
    .help = "trees read off activations as squared distances: a structural probe",
    .about =
        "A map B is trained such that |B (x_i - x_j)|^2 is the number of links between two words of a sentence's tree "
        "(Hewitt & Manning 2019), and judged on the last fifth of the sentences: by Spearman's correlation, and by how "
        "many "
        "links the minimum spanning tree has. Beside it: the distance of words in the sentence, a random map, and a "
        "probe "
        "fitted to trees of other sentences.",
    .n_inputs = 2,
    .inputs = inputs,
    .n_options = (int)SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
