/* `steer transfer FROM TO EDITS`: a list of edits of one model as edits of another, by a map between their embeddings.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/methods.h"
#include "sightglass/emb2emb.h"
#include "sightglass/embedgeo.h"
#include "sightglass/rng.h"

enum { STREAM = 0x7472616e, HELD_OUT = 5 /* every fifth token */, N_PERMUTED = 5 };

typedef struct job {
    sg_method_run *run;
    sg_model *model[2];
    sg_embedding *table[2];
    sg_token_match *both;
    int32_t *ids[3]; /* shuffled tokens of both models; room for a permutation */
    sg_edit_list *from, *to;
    sg_emb2emb *map;
    sg_error *err;
} job;

static sg_status no_memory(const job *j)
{
    return sg_fail(j->err, SG_ENOMEM, "steer transfer: out of memory");
}

static void shuffle(int32_t *a, int32_t *b, sg_dim n, sg_rng *r)
{
    for (sg_dim i = n - 1; i > 0; i--) {
        const sg_dim j = (sg_dim)sg_rng_below(r, (uint32_t)i + 1);
        for (int k = 0; k < (b ? 2 : 1); k++) {
            int32_t *list = k ? b : a;
            const int32_t kept = list[i];
            list[i] = list[j];
            list[j] = kept;
        }
    }
}

/* Share of the variance of tokens that the map was not fitted to. */
static double share(const job *j, const sg_emb2emb *map, sg_dim first, sg_dim n)
{
    const sg_dim d = map->a.dims[0], e = map->a.dims[1];
    double left = 0, whole = 0;
    float *carried = malloc(sizeof *carried * (size_t)e);
    for (sg_dim i = first; carried && i < n; i++) {
        const float *want = (const float *)j->table[1]->table.data + j->ids[1][i] * e;
        sg_emb2emb_vector(carried, map, (const float *)j->table[0]->table.data + j->ids[0][i] * d);
        for (sg_dim c = 0; c < e; c++) {
            left += (double)((want[c] - carried[c]) * (want[c] - carried[c]));
            whole += (double)(want[c] * want[c]);
        }
    }
    const double found = carried && whole > 0 ? 1 - left / whole : (double)NAN;
    free(carried);
    return found;
}

/* Fitted to four fifths and judged on the rest, beside maps of permuted tokens; then to all. */
static sg_status fit(job *j)
{
    const sg_dim n = j->both->n, held = n / HELD_OUT;
    sg_emb2emb_opts opts = sg_emb2emb_defaults();
    const sg_tensor *a = &j->table[0]->table, *b = &j->table[1]->table;
    double null = 0;
    sg_emb2emb *map;
    opts.ridge = sg_method_number(j->run, "ridge");
    sg_rng r = sg_rng_new(sg_method_seed(j->run), STREAM);
    shuffle(j->ids[0], j->ids[1], n, &r);
    SG_TRY(sg_emb2emb_fit(&map, a, b, j->ids[0] + held, j->ids[1] + held, n - held, opts, j->err));
    const double found = share(j, map, 0, held);
    sg_emb2emb_free(map);
    for (int t = 0; t < N_PERMUTED; t++) {
        memcpy(j->ids[2], j->ids[1] + held, sizeof(int32_t) * (size_t)(n - held));
        shuffle(j->ids[2], NULL, n - held, &r);
        SG_TRY(sg_emb2emb_fit(&map, a, b, j->ids[0] + held, j->ids[2], n - held, opts, j->err));
        null += share(j, map, 0, held) / N_PERMUTED;
        sg_emb2emb_free(map);
    }
    SG_TRY(
        sg_result_add(sg_method_result(j->run),
                      &(sg_finding){.id = "map",
                                    .text = "share of the target's embeddings that the map gives, of tokens left out",
                                    .value = found,
                                    .low = (double)NAN,
                                    .high = (double)NAN,
                                    .n = held,
                                    .control = "fitted to permuted tokens, mean of 5",
                                    .control_value = null,
                                    .control_low = (double)NAN,
                                    .control_high = (double)NAN,
                                    .least = -(double)INFINITY,
                                    .most = (double)INFINITY},
                      j->err));
    return sg_emb2emb_fit(&j->map, a, b, j->both->ids[0], j->both->ids[1], n, opts, j->err);
}

static double length_of(const sg_edit *e)
{
    double sum = 0;
    for (sg_dim i = 0; e->value.data && i < sg_tensor_count(&e->value); i++)
        sum += sg_tensor_get(&e->value, i) * sg_tensor_get(&e->value, i);
    return sqrt(sum);
}

static sg_status edits_table(job *j)
{
    enum { COLUMNS = 5 };
    static const char *const columns[COLUMNS] = {"site", "becomes", "strength", "length", "becomes"};
    const int n = sg_edit_list_count(j->to);
    sg_cell *cells = malloc(sizeof *cells * COLUMNS * (size_t)(n ? n : 1));
    if (!cells)
        return no_memory(j);
    for (int i = 0; i < n; i++) {
        const sg_edit *a = sg_edit_list_at(j->from, i), *b = sg_edit_list_at(j->to, i);
        sg_cell *row = cells + i * COLUMNS;
        row[0] = (sg_cell){a->site, 0};
        row[1] = (sg_cell){b->site, 0};
        row[2] = (sg_cell){NULL, b->strength};
        row[3] = (sg_cell){NULL, length_of(a)};
        row[4] = (sg_cell){NULL, length_of(b)};
    }
    const sg_status status = sg_result_add_table(
        sg_method_result(j->run),
        &(sg_result_table){.id = "edits",
                           .title = "What became of each edit",
                           .n_columns = COLUMNS,
                           .n_rows = n,
                           .columns = columns,
                           .cells = cells,
                           .control =
                               "none: it says what was written. What an edit does is for `steer sweep` to judge"},
        j->err);
    free(cells);
    return status;
}

static sg_status transfer(job *j)
{
    const char *path = sg_method_input_at(j->run, 2), *out = sg_method_out(j->run);
    for (int k = 0; k < 2; k++) {
        SG_TRY(sg_method_model(j->run, k, &j->model[k], j->err));
        SG_TRY(sg_embedding_new(&j->table[k], j->model[k], false, j->err));
    }
    SG_TRY(sg_method_data(j->run, path, j->err));
    SG_TRY(sg_edit_list_open(&j->from, path, j->err));
    SG_TRY(sg_token_match_new(&j->both, sg_model_tokenizer(j->model[0]), sg_model_tokenizer(j->model[1]), j->err));
    if (j->both->n < 2 * HELD_OUT)
        return sg_fail(j->err, SG_EARG, "steer transfer: the models share %lld tokens", (long long)j->both->n);
    for (int k = 0; k < 3; k++) {
        j->ids[k] = malloc(sizeof(int32_t) * (size_t)j->both->n);
        if (!j->ids[k])
            return no_memory(j);
        memcpy(j->ids[k], j->both->ids[k > 0], sizeof(int32_t) * (size_t)j->both->n);
    }
    SG_TRY(fit(j));
    SG_TRY(sg_edit_list_new(&j->to, out ? out : "carried", j->err));
    SG_TRY(sg_emb2emb_apply(j->map, sg_model_get_info(j->model[0])->n_layers, j->from,
                            sg_model_get_info(j->model[1])->n_layers, j->to, j->err));
    SG_TRY(edits_table(j));
    SG_TRY(sg_result_note(
        sg_method_result(j->run),
        "%lld shared tokens. A strength is carried as it is; the same strength does not cost the same in both "
        "models.",
        (long long)j->both->n));
    if (!out)
        return sg_result_note(sg_method_result(j->run), "Nothing was written: -o FILE takes the edits.");
    SG_TRY(sg_edit_list_save(j->to, out, j->err));
    return sg_result_add_file(sg_method_result(j->run), out, "the edits for the other model", j->err);
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    job j = {.run = r, .err = err};
    const sg_status status = transfer(&j);
    for (int k = 0; k < 2; k++)
        sg_embedding_free(j.table[k]);
    for (int k = 0; k < 3; k++)
        free(j.ids[k]);
    sg_token_match_free(j.both);
    sg_edit_list_free(j.from);
    sg_edit_list_free(j.to);
    sg_emb2emb_free(j.map);
    return status;
}

static const sg_method_input inputs[] = {
    {"FROM", SG_METHOD_MODEL, 1, 1, "the model that the edits are of"},
    {"TO", SG_METHOD_MODEL, 1, 1, "the model that they are to steer"},
    {"EDITS", SG_METHOD_FILE, 1, 1, "a list of edits (JSON) at sites of the residual stream"}};
static const sg_option options[] = {
    {"ridge", SG_OPTION_REAL, "1e-6", 0, 1e6, NULL, "penalty of the map, in mean squares of a component"}};
const sg_method sg_method_steer_transfer = {
    .name = "steer",
    .action = "transfer",
    .help = "edits of one model as edits of another, by a map between their embeddings",
    .about = "The least-squares map from the one's input embeddings to the other's, over the tokens that they share by "
             "their "
             "bytes, carries vectors; layer l of L becomes round(l L' / L) (Lee, Weber, Viegas, Wattenberg 2025). The "
             "map is "
             "judged on a fifth of the tokens that it was not fitted to, beside maps of permuted tokens.",
    .artefact = "a list of edits (JSON)",
    .n_inputs = 3,
    .inputs = inputs,
    .n_options = 1,
    .options = options,
    .run = run,
};
