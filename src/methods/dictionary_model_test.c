/* Dictionaries in a model: a perfect one changes nothing, edits of codes change what they should, a live model gives
 * the rows of a harvest, and cards find what was planted. */
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/adapt.h"
#include "sightglass/dictionary.h"
#include "sightglass/harvest.h"

enum { E = 6, T = 8, V = 11, D = 12 };

static const char config[] = "{\"model_type\":\"gpt2\",\"n_embd\":12,\"n_layer\":2,\"n_head\":3,\"vocab_size\":11,"
                             "\"n_positions\":8,\"initializer_range\":0.3}";
static const char site[] = "blocks.0.hook_resid_post";
static int32_t ids[E * T];
static sg_tensor tokens;
static sg_model *model;

static int begin(void **state)
{
    (void)state;
    char path[] = "/tmp/sightglass-dict-XXXXXX";
    sg_error err;
    const int fd = mkstemp(path);
    if (fd < 0 || write(fd, config, sizeof config - 1) != sizeof config - 1 || close(fd) != 0)
        return -1;
    const sg_status status = sg_model_new(&model, path, NULL, sg_model_defaults(), &err);
    unlink(path);
    for (int i = 0; i < E * T; i++)
        ids[i] = (i * 7 + i / T * 3) % V;
    tokens = sg_tensor_of(SG_I32, 2, (sg_dim[]){E, T}, ids);
    return status == SG_OK ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_model_close(model);
    return 0;
}

/* Codes max(x, 0) and max(-x, 0): any row is put together again. */
static sg_dict *perfect(const char *at)
{
    float dec[2 * D * D] = {0};
    sg_dict *d;
    for (int i = 0; i < D; i++) {
        dec[i * D + i] = 1;
        dec[(D + i) * D + i] = -1;
    }
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2 * D, D}, dec);
    CHECK_OK(sg_dict_of(&d, SG_DICT_RELU, 0, &t, NULL, NULL, NULL, NULL), NULL);
    d->site = at;
    return d;
}

static void logits_of(float *out, const sg_dict *d, sg_dict_use use, int n_edits, const sg_edit *edits, float *code)
{
    sg_glass *glass;
    sg_error err;
    sg_value *fetches[2];
    sg_tensor got[2];
    CHECK_OK(sg_glass_new(&glass, model, sg_glass_defaults(), &err), &err);
    if (d)
        CHECK_OK(sg_dict_splice(glass, d, use, &err), &err);
    if (n_edits)
        CHECK_OK(sg_glass_edit(glass, n_edits, edits, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &fetches[0], &err), &err);
    if (code)
        CHECK_OK(sg_glass_find(glass, "blocks.0.hook_resid_post/dict.code", &fetches[1], &err), &err);
    const int32_t *row = ids;
    const sg_dim n = T;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, code ? 2 : 1, fetches, got, &err), &err);
    memcpy(out, got[0].data, T * V * sizeof *out);
    if (code)
        memcpy(code, got[1].data, T * 2 * D * sizeof *code);
    sg_glass_free(glass);
}

static void a_perfect_dictionary_leaves_the_logits_and_its_codes_are_edited(void **state)
{
    (void)state;
    float plain[T * V], with[T * V], edited[T * V], direct[T * V], code[T * 2 * D];
    sg_dict *d = perfect(site);
    logits_of(plain, NULL, SG_DICT_LOOK, 0, NULL, NULL);
    for (int use = SG_DICT_LOOK; use <= SG_DICT_REPLACE; use++) {
        logits_of(with, d, (sg_dict_use)use, 0, NULL, code);
        for (int i = 0; i < T * V; i++)
            CHECK_NEAR(with[i], plain[i], 1e-5, 0);
        for (int i = 0; i < T * 2 * D; i++)
            CHECK(code[i] >= 0);
    }
    /* code 3 and two more everywhere is two more of the third number */
    float two = 2, third[D] = {0};
    third[3] = 2;
    sg_edit e = sg_edit_defaults();
    e.site = "blocks.0.hook_resid_post/dict.code";
    e.op = SG_EDIT_ADD;
    e.value = sg_tensor_of(SG_F32, 0, NULL, &two);
    e.features = (sg_spans){.n = 1, .spans = &(sg_span){3, 3}};
    logits_of(edited, d, SG_DICT_KEEP, 1, &e, NULL);
    sg_edit on_x = sg_edit_defaults();
    on_x.site = site;
    on_x.op = SG_EDIT_ADD;
    on_x.value = sg_tensor_of(SG_F32, 1, (sg_dim[]){D}, third);
    logits_of(direct, NULL, SG_DICT_LOOK, 1, &on_x, NULL);
    double moved = 0;
    for (int i = 0; i < T * V; i++) {
        CHECK_NEAR(edited[i], direct[i], 1e-4, 0);
        moved = fmax(moved, fabs((double)edited[i] - (double)plain[i]));
    }
    CHECK(moved > 0.1);
    sg_dict_free(d);
    d = perfect("blocks.0.hook_resid_pots");
    sg_glass *glass;
    sg_error err;
    CHECK_OK(sg_glass_new(&glass, model, sg_glass_defaults(), NULL), NULL);
    CHECK(sg_dict_splice(glass, d, SG_DICT_KEEP, &err) == SG_ENOTFOUND);
    CHECK_TEXT(err.text, "blocks.0.hook_resid_post");
    sg_glass_free(glass);
    sg_dict_free(d);
}

static void a_site_with_heads_is_joined(void **state)
{
    (void)state;
    float plain[T * V], with[T * V];
    sg_dict *d = perfect("blocks.1.attn.hook_z");
    logits_of(plain, NULL, SG_DICT_LOOK, 0, NULL, NULL);
    logits_of(with, d, SG_DICT_REPLACE, 0, NULL, NULL);
    for (int i = 0; i < T * V; i++)
        CHECK_NEAR(with[i], plain[i], 1e-5, 0);
    sg_dict_free(d);
}

static void the_loss_is_recovered_by_a_perfect_dictionary_and_not_by_zeros(void **state)
{
    (void)state;
    sg_dict *d = perfect(site);
    sg_dict_loss loss;
    sg_error err;
    CHECK_OK(sg_dict_loss_of(&loss, model, d, &tokens, sg_exec_defaults(), &err), &err);
    CHECK(loss.n_tokens == E * (T - 1));
    CHECK_NEAR(loss.spliced, loss.clean, 1e-5, 0);
    CHECK_NEAR(loss.recovered, 1, 1e-3, 0);
    CHECK(fabs(loss.zero - loss.clean) > 1e-3 && fabs(loss.mean - loss.clean) > 1e-3);
    for (sg_dim i = 0; i < 2 * D * D; i++) /* decodes to nothing: as zeros */
        ((float *)d->dec.data)[i] = 0;
    CHECK_OK(sg_dict_loss_of(&loss, model, d, &tokens, sg_exec_defaults(), &err), &err);
    CHECK_NEAR(loss.spliced, loss.zero, 1e-12, 0);
    sg_dict_free(d);
}

/* ---- a live model ---- */

static sg_status fill(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    (void)self;
    (void)err;
    for (sg_dim i = 0; i < 2 * T; i++)
        ((int32_t *)field[0].data)[i] = ids[(batch * 2 * T + i) % (E * T)];
    return SG_OK;
}

static int by_first(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void a_live_model_gives_the_rows_of_a_harvest_in_another_order(void **state)
{
    (void)state;
    const sg_source source = {.n_fields = 1, .field = {sg_tensor_of(SG_I32, 2, (sg_dim[]){2, T}, NULL)}, .fill = fill};
    sg_dict_live_opts opts = sg_dict_live_defaults();
    opts.batches = E / 2;
    opts.skip = 0;
    sg_dict_data data;
    sg_error err;
    CHECK_OK(sg_dict_live(&data, model, site, &source, opts, &err), &err);
    CHECK(data.width == D && data.n_rows == INT64_MAX && strcmp(data.site, site) == 0);
    static float rows[E * T * D], again[E * T * D];
    CHECK_OK(data.read(data.self, 0, E * T, rows, &err), &err);
    for (int i = E * T - 1; i >= 0; i--) /* the same one by one, from the end */
        CHECK_OK(data.read(data.self, i, 1, again + i * D, &err), &err);
    assert_memory_equal(rows, again, sizeof rows);
    sg_glass *glass;
    sg_value *x;
    sg_tensor got;
    CHECK_OK(sg_glass_new(&glass, model, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, site, &x, &err), &err);
    const int32_t *of[E];
    sg_dim lengths[E];
    for (int e = 0; e < E; e++) {
        of[e] = ids + e * T;
        lengths[e] = T;
    }
    const sg_rows all = {.n_rows = E, .tokens = of, .lengths = lengths};
    CHECK_OK(sg_glass_run(glass, &all, 0, NULL, 1, &x, &got, &err), &err);
    float mine[E * T], want[E * T];
    for (int i = 0; i < E * T; i++) {
        mine[i] = rows[i * D];
        want[i] = ((float *)got.data)[i * D];
    }
    CHECK(fabsf(mine[0] - want[0]) > 1e-6F || fabsf(mine[1] - want[1]) > 1e-6F);
    qsort(mine, E * T, sizeof *mine, by_first);
    qsort(want, E * T, sizeof *want, by_first);
    for (int i = 0; i < E * T; i++)
        CHECK_NEAR(mine[i], want[i], 1e-5, 0);
    sg_glass_free(glass);
    sg_dict_opts o = sg_dict_defaults(); /* and a dictionary is fitted to it */
    o.width = 16;
    o.k = 4;
    o.batch = 32;
    o.n_steps = 50;
    o.lr = 1e-2;
    sg_dict *d;
    CHECK_OK(sg_dict_fit(&d, &data, o, &err), &err);
    CHECK(strcmp(d->site, site) == 0);
    sg_dict_report *r;
    CHECK_OK(sg_dict_report_new(&r, d, &data, 200, sg_exec_defaults(), &err), &err);
    CHECK(r->r2 > 0.3);
    sg_dict_report_free(r);
    sg_dict_free(d);
    sg_dict_data_free(&data);
    CHECK(sg_dict_live(&data, model, "logit", &source, opts, &err) == SG_ENOTFOUND);
    CHECK_TEXT(err.text, "logits");
}

/* ---- cards ---- */

static void cards_have_the_rows_where_an_atom_is_greatest_and_the_tokens_it_raises(void **state)
{
    (void)state;
    enum { N = 300 };
    static float rows[N * D];
    for (int i = 0; i < N; i++)
        for (int c = 0; c < D; c++)
            rows[i * D + c] = c == 5 ? (float)(i % 100) : -1;
    rows[250 * D + 5] = 500;
    rows[252 * D + 5] = 400; /* too near to be told apart */
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, rows);
    sg_dict_data data;
    sg_dict *d = perfect(site);
    sg_dict_card *cards;
    sg_error err;
    sg_dict_card_opts opts = sg_dict_card_defaults();
    opts.n_rows = 3;
    opts.model = model;
    opts.n_logits = 4;
    CHECK_OK(sg_dict_rows(&data, &t, &err), &err);
    CHECK_OK(sg_dict_cards_new(&cards, d, &data, 2, (sg_dim[]){5, D + 5}, opts, &err), &err);
    CHECK(cards[0].atom == 5 && cards[0].n_rows == 3);
    CHECK(cards[0].rows[0] == 250 && cards[0].values[0] == 500);
    CHECK(cards[0].rows[1] == 99 && cards[0].rows[2] == 199); /* of equals the first */
    CHECK_NEAR(cards[0].firing, 1 - 3.0 / N, 1e-12, 0);
    CHECK(cards[1].n_rows == 0 && cards[1].firing == 0);
    double sum = 0;
    for (int b = 0; b < SG_DICT_BINS; b++)
        sum += cards[0].histogram[b];
    CHECK(sum == N - 3);
    /* the unembedding is the embedding: feeding e_5 gives its column 5 */
    sg_glass *glass;
    sg_value *w = NULL;
    CHECK_OK(sg_glass_new(&glass, model, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_ready(glass, &err), &err);
    for (int i = 0; i < sg_graph_size(sg_glass_graph(glass)) && !w; i++) {
        sg_value *v = sg_graph_at(sg_glass_graph(glass), i);
        if (!strcmp(sg_value_op(v), "variable") && sg_value_n_dims(v) == 2 && sg_value_dim(v, 0) == V)
            w = v;
    }
    CHECK(w);
    sg_tensor table;
    const sg_rows none = {.n_rows = 1, .tokens = (const int32_t *const[]){ids}, .lengths = (sg_dim[]){1}};
    CHECK_OK(sg_glass_run(glass, &none, 0, NULL, 1, &w, &table, &err), &err);
    int best = 0, worst = 0;
    for (int v = 1; v < V; v++) {
        const float *e = table.data;
        best = e[v * D + 5] > e[best * D + 5] ? v : best;
        worst = e[v * D + 5] < e[worst * D + 5] ? v : worst;
    }
    CHECK(cards[0].most[0] == best && cards[0].least[0] == worst);
    CHECK_NEAR(cards[0].most_by[0], ((float *)table.data)[best * D + 5], 1e-5, 0);
    CHECK(cards[1].most[0] == worst && cards[0].most_by[0] >= cards[0].most_by[1]);
    sg_glass_free(glass);
    sg_dict_cards_free(cards);
    CHECK(sg_dict_cards_new(&cards, d, &data, 1, (sg_dim[]){2 * D}, opts, &err) == SG_EARG && !cards);
    sg_dict_data_free(&data);
    sg_dict_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_perfect_dictionary_leaves_the_logits_and_its_codes_are_edited),
        cmocka_unit_test(a_site_with_heads_is_joined),
        cmocka_unit_test(the_loss_is_recovered_by_a_perfect_dictionary_and_not_by_zeros),
        cmocka_unit_test(a_live_model_gives_the_rows_of_a_harvest_in_another_order),
        cmocka_unit_test(cards_have_the_rows_where_an_atom_is_greatest_and_the_tokens_it_raises),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
