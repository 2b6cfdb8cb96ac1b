/* Harvests: the rows are those that a language model is asked about, and what stands in them is what a glass shows. */
#include "sightglass/harvest.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"

enum { E = 5, T = 8, V = 11, D = 12, HEADS = 3 };

static const char config[] = "{\"model_type\":\"gpt2\",\"n_embd\":12,\"n_layer\":2,\"n_head\":3,\"vocab_size\":11,"
                             "\"n_positions\":8,\"initializer_range\":0.3}";

/* Sequences of 8, 3, 1, 0 and 6 tokens. */
static int32_t ids[E * T];
static uint8_t counted[E * T];
static const int lengths[E] = {8, 3, 1, 0, 6};
static sg_tensor tokens, counts;
static sg_model *model;

static int begin(void **state)
{
    (void)state;
    char path[] = "/tmp/sightglass-harvest-XXXXXX";
    sg_error err;
    const int fd = mkstemp(path);
    if (fd < 0 || write(fd, config, sizeof config - 1) != sizeof config - 1 || close(fd) != 0)
        return -1;
    const sg_status status = sg_model_new(&model, path, NULL, sg_model_defaults(), &err);
    unlink(path);
    for (int e = 0; e < E; e++)
        for (int t = 0; t < lengths[e]; t++) {
            ids[e * T + t] = (e * 5 + t * 3) % (V - 1) + 1;
            counted[e * T + t] = 1;
        }
    tokens = sg_tensor_of(SG_I32, 2, (sg_dim[]){E, T}, ids);
    counts = sg_tensor_of(SG_BOOL, 2, (sg_dim[]){E, T}, counted);
    return status == SG_OK ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_model_close(model);
    return 0;
}

static sg_store *harvest(int n, const char *const *sites, sg_harvest_opts opts)
{
    sg_store *s;
    sg_error err;
    CHECK_OK(sg_harvest(&s, model, n, sites, &tokens, &counts, opts, &err), &err);
    return s;
}

static const char *const post = "blocks.1.hook_resid_post";

static void a_row_is_a_token_that_another_follows(void **state)
{
    (void)state;
    sg_store *s = harvest(1, &post, sg_harvest_defaults());
    CHECK(sg_store_n_rows(s) == 7 + 2 + 0 + 0 + 5);
    const sg_store_row *row = sg_store_rows(s);
    for (int e = 0, r = 0; e < E; e++)
        for (int t = 0; t + 1 < lengths[e]; t++, r++)
            CHECK(row[r].episode == e && row[r].position == t && row[r].token == ids[e * T + t]);
    CHECK(sg_store_n_sites(s) == 1 && strcmp(sg_store_site(s, 0), post) == 0);
    CHECK(sg_store_acts(s, 0)->dims[0] == 14 && sg_store_acts(s, 0)->dims[1] == D);
    /* two fifths of the episodes are 0 and 1; a half of them, rounded up, 0 to 2 */
    CHECK(sg_store_split(s, 0.4) == 9 && sg_store_split(s, 0.5) == 9 && sg_store_split(s, 1) == 14);
    CHECK(sg_store_split(s, 0) == 0 && sg_store_split(s, 0.1) == 7);
    sg_store_free(s);

    sg_harvest_opts opts = sg_harvest_defaults();
    opts.positions = (sg_span){1, 4};
    s = harvest(1, &post, opts);
    CHECK(sg_store_n_rows(s) == 4 + 1 + 4);
    sg_store_free(s);
}

/* One sequence at a time, whole, by the glass itself, is what batches of any size give at any of the sites. */
static void rows_hold_what_a_glass_shows_at_their_positions(void **state)
{
    (void)state;
    static const char *const sites[] = {"blocks.0.attn.hook_z", "logits", "blocks.1.hook_resid_post"};
    static const sg_dim widths[] = {D, V, D};
    sg_error err;
    sg_value *v[3];
    sg_glass_opts how = sg_glass_defaults();
    how.seed = 9;
    sg_glass *glass;
    CHECK_OK(sg_glass_new(&glass, model, how, &err), &err);
    for (int i = 0; i < 3; i++)
        CHECK_OK(sg_glass_find(glass, sites[i], &v[i], &err), &err);
    for (sg_dim batch = 1; batch <= 4; batch += 3) {
        sg_harvest_opts opts = sg_harvest_defaults();
        opts.batch = batch;
        opts.seed = 9;
        sg_store *s = harvest(3, sites, opts);
        sg_dim r = 0;
        for (int e = 0; e < E; e++) {
            if (lengths[e] < 2)
                continue;
            const int32_t *row = ids + e * T;
            const sg_dim n = lengths[e];
            sg_tensor out[3];
            CHECK_OK(
                sg_glass_run(glass, &(sg_rows){.n_rows = 1, .tokens = &row, .lengths = &n}, 0, NULL, 3, v, out, &err),
                &err);
            for (int t = 0; t + 1 < lengths[e]; t++, r++)
                for (int i = 0; i < 3; i++) {
                    const sg_tensor *acts = sg_store_acts(s, i);
                    CHECK(acts->dims[1] == widths[i]);
                    for (sg_dim k = 0; k < widths[i]; k++)
                        CHECK_NEAR(((float *)acts->data)[r * widths[i] + k], ((float *)out[i].data)[t * widths[i] + k],
                                   1e-5, 1e-4);
                }
        }
        CHECK(r == sg_store_n_rows(s));
        sg_store_free(s);
    }
    sg_glass_free(glass);
}

static void another_seed_is_another_untrained_network(void **state)
{
    (void)state;
    sg_harvest_opts opts = sg_harvest_defaults();
    sg_store *a = harvest(1, &post, opts), *b = harvest(1, &post, opts);
    opts.seed = 1;
    sg_store *c = harvest(1, &post, opts);
    const size_t bytes = sg_tensor_bytes(sg_store_acts(a, 0));
    CHECK(memcmp(sg_store_acts(a, 0)->data, sg_store_acts(b, 0)->data, bytes) == 0);
    CHECK(memcmp(sg_store_acts(a, 0)->data, sg_store_acts(c, 0)->data, bytes) != 0);
    /* and a model that was made after another has its sizes, so that the same seed draws the same weights */
    sg_model *twin;
    sg_store *d;
    sg_error err;
    CHECK_OK(sg_model_untrained(&twin, model, &err), &err);
    CHECK_OK(sg_harvest(&d, twin, 1, &post, &tokens, &counts, opts, &err), &err);
    CHECK(memcmp(sg_store_acts(c, 0)->data, sg_store_acts(d, 0)->data, bytes) == 0);
    CHECK(sg_model_hash(twin) == 0);
    sg_store_free(a);
    sg_store_free(b);
    sg_store_free(c);
    sg_store_free(d);
    sg_model_close(twin);
}

static void labels_are_the_truth_of_the_rows(void **state)
{
    (void)state;
    int32_t truth[E * T * 2];
    for (int i = 0; i < E * T * 2; i++)
        truth[i] = i;
    sg_tensor t = sg_tensor_of(SG_I32, 3, (sg_dim[]){E, T, 2}, truth), labels;
    sg_store *s = harvest(1, &post, sg_harvest_defaults());
    sg_error err;
    CHECK_OK(sg_store_labels(&labels, s, &t, &err), &err);
    CHECK(labels.n_dims == 2 && labels.dims[0] == 14 && labels.dims[1] == 2);
    for (int r = 0; r < 14; r++) {
        const sg_store_row row = sg_store_rows(s)[r];
        CHECK(((int32_t *)labels.data)[2 * r + 1] == (row.episode * T + row.position) * 2 + 1);
    }
    free(labels.data);
    CHECK_OK(sg_store_labels(&labels, s, &counts, &err), &err); /* bool, one task */
    CHECK(labels.dims[1] == 1 && ((int32_t *)labels.data)[13] == 1);
    free(labels.data);
    t.dims[0]--;
    CHECK_STATUS(sg_store_labels(&labels, s, &t, &err), SG_ESHAPE);
    CHECK(labels.data == NULL);
    sg_store_free(s);
}

static void the_input_alone_has_the_same_rows(void **state)
{
    (void)state;
    sg_store *bag, *places;
    sg_error err;
    const sg_span all = {0, INT64_MAX};
    CHECK_OK(sg_harvest_input(&bag, SG_INPUT_BAG, V, &tokens, &counts, all, &err), &err);
    CHECK_OK(sg_harvest_input(&places, SG_INPUT_PLACES, V, &tokens, &counts, all, &err), &err);
    CHECK(sg_store_n_rows(bag) == 14 && sg_store_acts(bag, 0)->dims[1] == V);
    CHECK(sg_store_acts(places, 0)->dims[1] == T * V);
    for (int r = 0; r < 14; r++) {
        const sg_store_row row = sg_store_rows(bag)[r];
        const float *x = (float *)sg_store_acts(bag, 0)->data + r * V,
                    *y = (float *)sg_store_acts(places, 0)->data + r * T * V;
        double in_bag = 0, in_places = 0;
        for (int k = 0; k < V; k++)
            in_bag += (double)x[k];
        for (int k = 0; k < T * V; k++)
            in_places += (double)y[k];
        CHECK(in_bag == row.position + 1 && in_places == row.position + 1);
        CHECK(x[row.token] >= 1 && y[row.position * V + row.token] == 1);
    }
    sg_store_free(bag);
    sg_store_free(places);
    CHECK_STATUS(sg_harvest_input(&bag, SG_INPUT_BAG, 5, &tokens, &counts, all, &err), SG_EARG);
}

static void what_cannot_be_harvested_is_refused(void **state)
{
    (void)state;
    static const char *const scores = "blocks.0.attn.hook_attn_scores", *const wrong = "blocks.0.hook_resid_pots";
    sg_store *s;
    sg_error err;
    sg_harvest_opts opts = sg_harvest_defaults();
    CHECK_STATUS(sg_harvest(&s, model, 1, &scores, &tokens, &counts, opts, &err), SG_ESHAPE);
    CHECK_STATUS(sg_harvest(&s, model, 1, &wrong, &tokens, &counts, opts, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "blocks.0.hook_resid_post");
    CHECK_STATUS(sg_harvest(&s, model, 0, NULL, &tokens, &counts, opts, &err), SG_EARG);
    const sg_tensor flat = sg_tensor_of(SG_I32, 1, (sg_dim[]){T}, ids);
    CHECK_STATUS(sg_harvest(&s, model, 1, &post, &flat, NULL, opts, &err), SG_ESHAPE);
    const sg_tensor none = sg_rows_of(&tokens, 2, 2), no_counts = sg_rows_of(&counts, 2, 2);
    CHECK_STATUS(sg_harvest(&s, model, 1, &post, &none, &no_counts, opts, &err), SG_EARG);
    volatile sig_atomic_t stop = 1;
    opts.cancel = &stop;
    CHECK_STATUS(sg_harvest(&s, model, 1, &post, &tokens, &counts, opts, &err), SG_ECANCELLED);
    CHECK(s == NULL);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    sg_harvest_opts opts = sg_harvest_defaults();
    opts.exec.n_backends = 0; /* a library's own memory is not ours to fail */
    sg_store *s;
    sg_error err;
    for (long n = 0;; n++) {
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_harvest(&s, model, 1, &post, &tokens, &counts, opts, &err);
        if (!sg_faults_end()) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK((status == SG_ENOMEM) == (s == NULL));
        sg_store_free(s); /* where something else could take the place of what failed */
    }
    sg_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_a_token_that_another_follows),
        cmocka_unit_test(rows_hold_what_a_glass_shows_at_their_positions),
        cmocka_unit_test(another_seed_is_another_untrained_network),
        cmocka_unit_test(labels_are_the_truth_of_the_rows),
        cmocka_unit_test(the_input_alone_has_the_same_rows),
        cmocka_unit_test(what_cannot_be_harvested_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
