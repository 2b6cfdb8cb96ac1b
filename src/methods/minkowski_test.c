/* The identity holds on a tiny model of every family, biases, grouped heads and norms behind attention included, and
 * does not hold with the values of another layer or of another sequence. */
#include "sightglass/minkowski.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/safetensors.h"

static sg_model *open_family(const char *kind, const char *folder, sg_dtype dtype)
{
    char path[1200];
    sg_model *m;
    sg_error err;
    snprintf(path, sizeof path, SG_SOURCE_DIR "/test/data/%s/%s", kind, folder);
    CHECK_OK(sg_model_open(&m, path, (sg_model_opts){.dtype = dtype}, &err), &err);
    return m;
}

enum { ROWS = 3, TIME = 12 };

/* Any tokens will do. */
static sg_rows rows_of(const sg_model *m, int32_t tokens[ROWS][TIME], const int32_t *rows[ROWS], sg_dim lengths[ROWS])
{
    for (int r = 0; r < ROWS; r++) {
        for (int t = 0; t < TIME; t++)
            tokens[r][t] = (int32_t)((7 + 13 * r + 5 * t + r * t) % sg_model_get_info(m)->n_vocab);
        rows[r] = tokens[r];
        lengths[r] = TIME - r;
    }
    return (sg_rows){.n_rows = ROWS, .tokens = rows, .lengths = lengths};
}

static const char *const families[] = {
    "gpt2", "llama", "llama3", "llama_yarn", "mistral", "qwen2", "qwen3", "gpt_neox", "gpt_neox_serial",
    "gptj", "gemma", "gemma2", "phi3",       "olmo",    "olmo2"};

static void attention_is_rebuilt_and_found_in_every_family(void **state)
{
    (void)state;
    int with_bias = 0, grouped = 0;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int f64 = 0; f64 < 2; f64++) {
            sg_model *m = open_family("families", families[i], f64 ? SG_F64 : SG_F32);
            int32_t tokens[ROWS][TIME];
            const int32_t *row[ROWS];
            sg_dim lengths[ROWS];
            sg_rows rows = rows_of(m, tokens, row, lengths);
            rows.pad_left = f64;
            sg_minkowski_opts opts = sg_minkowski_defaults();
            sg_minkowski *k;
            sg_error err;
            opts.share = .8; /* these models are narrow */
            CHECK_OK(sg_minkowski_check(&k, m, 1, &rows, opts, &err), &err);
            CHECK(k->n_positions == 3 * TIME - 3);
            CHECK(k->rebuilt < (f64 ? 1e-12 : 1e-5));
            with_bias += k->bias;
            grouped += k->n_kv_heads < k->n_heads;
            if (k->n_places) {
                CHECK(k->member < (f64 ? 1e-5 : 1e-4) && k->worst < 1e-3 && k->most_vertices <= k->d_model * 8 / 10);
                if (!(k->other_layer > .1 && k->other_sequence > .05))
                    print_error("%s: %g and %g\n", families[i], k->other_layer, k->other_sequence);
                CHECK(k->other_layer > .1 && k->other_sequence > .05);
            }
            sg_minkowski_free(k);
            sg_model_close(m);
        }
    CHECK(with_bias > 0 && grouped > 0);
}

static void an_encoder_mixes_all_positions(void **state)
{
    (void)state;
    sg_model *m = open_family("encoders", "bert_labels", SG_F32);
    const int32_t a[3] = {1, 5, 9}, b[3] = {7, 2, 11}, *const row[2] = {a, b};
    const sg_dim lengths[2] = {3, 3};
    const sg_rows rows = {.n_rows = 2, .tokens = row, .lengths = lengths};
    sg_minkowski_opts opts = sg_minkowski_defaults();
    sg_minkowski *k;
    sg_error err;
    opts.share = .8;
    CHECK_OK(sg_minkowski_check(&k, m, 0, &rows, opts, &err), &err);
    CHECK(k->rebuilt < 1e-5 && k->n_places == 6 && k->member < 1e-4 && k->other_layer > .1);
    sg_minkowski_free(k);
    sg_model_close(m);
}

static void where_vertices_are_many_membership_is_not_told(void **state)
{
    (void)state;
    sg_model *m = open_family("families", "gpt2", SG_F32);
    int32_t tokens[ROWS][TIME];
    const int32_t *row[ROWS];
    sg_dim lengths[ROWS];
    const sg_rows rows = rows_of(m, tokens, row, lengths);
    sg_minkowski_opts opts = sg_minkowski_defaults();
    sg_minkowski *k;
    sg_error err;
    opts.share = .01;
    CHECK_OK(sg_minkowski_check(&k, m, 0, &rows, opts, &err), &err);
    CHECK(k->n_places == 0 && isnan(k->member) && k->rebuilt < 1e-5);
    sg_minkowski_free(k);
    CHECK_STATUS(sg_minkowski_check(&k, m, 99, &rows, opts, &err), SG_EARG);
    opts.other = 0;
    CHECK_STATUS(sg_minkowski_check(&k, m, 0, &rows, opts, &err), SG_EARG);
    CHECK_STATUS(sg_minkowski_check(&k, m, 1, NULL, opts, &err), SG_EARG);
    CHECK(k == NULL);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_rebuilt_and_found_in_every_family),
        cmocka_unit_test(an_encoder_mixes_all_positions),
        cmocka_unit_test(where_vertices_are_many_membership_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
