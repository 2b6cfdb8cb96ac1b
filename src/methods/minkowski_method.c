/* sightglass minkowski: whether what attention writes is rebuilt, and found among mixtures, in each layer. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/methods.h"
#include "sightglass/minkowski.h"
#include "sightglass/rng.h"

enum { MOST_TEXTS = 8, MOST_LAYERS = 256, COLUMNS = 8 };

typedef struct work {
    sg_method_run *r;
    sg_error *err;
    sg_model *m;
    sg_tokens ids[MOST_TEXTS];
    const int32_t *row[MOST_TEXTS];
    sg_dim length[MOST_TEXTS];
    int n_rows;
} work;

/* Texts, or where there is no tokenizer random tokens. */
static sg_status read_rows(work *w)
{
    const sg_model_info *in = sg_model_get_info(w->m);
    const int n_texts = sg_method_n_inputs(w->r) - 1;
    const sg_tokenizer *t = sg_model_tokenizer(w->m);
    if (in->n_vocab < 1)
        return sg_fail(w->err, SG_EUNSUPPORTED, "minkowski: %s reads no tokens", in->path);
    if (n_texts && !t)
        return sg_fail(w->err, SG_EARG, "minkowski: %s has no tokenizer; leave the texts away, and tokens are drawn",
                       in->path);
    static const char *const standard[2] = {"Once upon a time there was a little girl who liked to play in the garden.",
                                            "The dog and the cat went to the park, and they saw a big red ball."};
    w->n_rows = n_texts ? n_texts : 2;
    for (int i = 0; i < w->n_rows; i++) {
        if (t) {
            SG_TRY(sg_tokenizer_encode(t, n_texts ? sg_method_input_at(w->r, i + 1) : standard[i], sg_encode_defaults(),
                                       &w->ids[i], w->err));
        } else {
            sg_rng r = sg_rng_new(sg_method_seed(w->r), (uint32_t)i);
            for (int k = 0; k < SG_MIN(in->n_context, 24); k++)
                SG_TRY(sg_tokens_push(&w->ids[i], (int32_t)sg_rng_below(&r, (uint32_t)in->n_vocab), w->err));
        }
        w->row[i] = w->ids[i].ids;
        w->length[i] = SG_MIN(w->ids[i].n, in->n_context);
    }
    return t ? SG_OK
             : sg_result_note(sg_method_result(w->r),
                              "The model has no tokenizer: two rows of random tokens were read.");
}

static sg_status tell(work *w, const sg_minkowski *k)
{
    char where[32];
    sg_result *result = sg_method_result(w->r);
    snprintf(where, sizeof where, "layer %d", k->layer);
    sg_finding f = {.id = "rebuilt",
                    .where = where,
                    .text = "relative residual of what attention writes, made again of pattern, values and W_O",
                    .value = k->rebuilt,
                    .low = (double)NAN,
                    .high = (double)NAN,
                    .n = k->n_positions,
                    .control = k->n_places ? "least residual with another layer's values, whatever the pattern"
                                           : "zeros in its place",
                    .control_value = k->n_places ? k->other_layer : 1,
                    .control_low = (double)NAN,
                    .control_high = (double)NAN,
                    .least = 0,
                    .most = 1e-4,
                    .judged = true};
    if (k->n_places && k->other < 0) {
        f.control = "zeros in its place";
        f.control_value = 1;
    }
    SG_TRY(sg_result_add(result, &f, w->err));
    if (!k->n_places || (k->other < 0 && !isfinite(k->other_sequence)))
        return SG_OK;
    f.id = "member";
    f.text = "relative residual of the nearest mixture of the heads' own values, the pattern not given";
    f.value = k->member;
    f.high = k->worst;
    f.n = k->n_places;
    f.control = k->other >= 0 ? "the values of another layer" : "the values of another sequence";
    f.control_value = k->other >= 0 ? k->other_layer : k->other_sequence;
    return sg_result_add(result, &f, w->err);
}

static sg_status check_layers(work *w, int first, int n, sg_cell *cells)
{
    sg_minkowski_opts o = sg_minkowski_defaults();
    o.exec = sg_method_exec(w->r);
    o.seed = sg_method_seed(w->r);
    o.share = sg_method_number(w->r, "share");
    o.other = (int)sg_method_number(w->r, "other");
    const sg_rows rows = {.n_rows = w->n_rows, .tokens = w->row, .lengths = w->length};
    for (int i = 0; i < n; i++) {
        const volatile sig_atomic_t *cancel = sg_method_cancel(w->r);
        if (cancel && *cancel)
            return sg_fail(w->err, SG_ECANCELLED, "minkowski: stopped before layer %d", first + i);
        sg_method_progress(w->r, (double)i / n, "layers");
        sg_minkowski *k;
        SG_TRY(sg_minkowski_check(&k, w->m, first + i, &rows, o, w->err));
        const double row[COLUMNS] = {
            k->layer,  k->rebuilt,     k->n_places,      (double)k->most_vertices, (double)k->most_dims,
            k->member, k->other_layer, k->other_sequence};
        for (int c = 0; c < COLUMNS; c++)
            cells[i * COLUMNS + c] = isfinite(row[c]) ? (sg_cell){NULL, row[c]} : (sg_cell){"-", 0};
        const sg_dim places = k->n_places, width = k->d_model, heads = k->n_heads;
        sg_status status = tell(w, k);
        if (status == SG_OK && i == 0)
            status = sg_result_note(
                sg_method_result(w->r),
                "%" PRId64 " heads on %" PRId64 " of keys and values, width %" PRId64 ", %s bias; "
                "membership is judged where vertices are at most %.0f %% of the width, and says nothing beyond.",
                heads, k->n_kv_heads, width, k->bias ? "with a" : "no", 100 * o.share);
        if (status == SG_OK && i == 0 && !places)
            status =
                sg_result_note(sg_method_result(w->r),
                               "Two positions of %" PRId64 " heads have more vertices than that already: membership "
                               "was not judged.",
                               heads);
        sg_minkowski_free(k);
        SG_TRY(status);
    }
    return SG_OK;
}

static sg_status all(work *w)
{
    SG_TRY(sg_method_model(w->r, 0, &w->m, w->err));
    SG_TRY(read_rows(w));
    const int layer = (int)sg_method_number(w->r, "layer"), n_layers = (int)sg_model_get_info(w->m)->n_layers;
    const int first = layer < 0 ? 0 : layer, n = layer < 0 ? SG_MIN(n_layers, MOST_LAYERS) : 1;
    sg_cell *cells = calloc((size_t)SG_MAX(n, 1) * COLUMNS, sizeof *cells);
    if (!cells)
        return sg_fail(w->err, SG_ENOMEM, "minkowski: out of memory");
    sg_status status = check_layers(w, first, n, cells);
    static const char *const columns[COLUMNS] = {
        "layer",  "rebuilt",     "positions judged", "vertices, at most", "dimensions, at most",
        "member", "other layer", "other sequence"};
    if (status == SG_OK)
        status = sg_result_add_table(
            sg_method_result(w->r),
            &(sg_result_table){.id = "layers",
                               .title = "Relative residuals by layer",
                               .n_columns = COLUMNS,
                               .n_rows = n,
                               .columns = columns,
                               .cells = cells,
                               .control = "the last two columns: vertices of another layer's values, and of another "
                                          "sequence's, through the same W_O"},
            w->err);
    free(cells);
    return status;
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    work w = {.r = r, .err = err};
    const sg_status status = all(&w);
    for (int i = 0; i < MOST_TEXTS; i++)
        sg_tokens_free(&w.ids[i]);
    return status;
}

static const sg_method_input inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1, "a model that reads tokens"},
    {"TEXT", SG_METHOD_TEXT, 0, MOST_TEXTS, "what it reads; without, two short texts"}};
static const sg_option options[] = {
    {"layer", SG_OPTION_WHOLE, "-1", -1, 100000, NULL, "one layer; -1 is all"},
    {"other", SG_OPTION_WHOLE, "-1", -1, 100000, NULL, "layer whose values are the control; -1 is the next"},
    {"share", SG_OPTION_REAL, "0.5", 0.01, 1, NULL, "of the width, that a position's vertices are at most"},
};
const sg_method sg_method_minkowski = {
    .name = "minkowski",
    .help = "what attention writes as a sum of mixtures, one for each head: rebuilt, and found",
    .about = "out_t = b + sum_h W_O^h (a mixture of the values that head h may read). It is rebuilt from the pattern; "
             "and weights on each head's "
             "simplex are sought with out_t alone. Controls: the values of another layer and of another sequence. (Fel "
             "et al. 2025.)",
    .n_inputs = 2,
    .inputs = inputs,
    .n_options = (int)SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
