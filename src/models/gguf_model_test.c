/* Models from GGUF files beside the folders that they were made from. */
#include "models/gguf_model.h"

#include <sys/stat.h>

#include "check.h"
#include "sightglass/model.h"

#define STORIES "models/stories260K/stories260K"

static const char *const texts[] = {"Once upon a time", "  two  spaces", "Zo\xc3\xab ate 12 figs\n", ""};

static void the_tokenizer_is_that_of_the_folder(void **state)
{
    (void)state;
    char path[1024], folder[1024];
    sg_error err;
    sg_model *m, *same;
    SKIP_WITHOUT(sg_test_shared(path, STORIES "-f32.gguf"), "stories260K");
    CHECK_OK(sg_model_open(&m, path, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_open(&same, sg_test_shared(folder, "models/stories260K"), sg_model_defaults(), &err), &err);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        sg_tokens a = {0}, b = {0};
        CHECK_OK(sg_tokenizer_encode(sg_model_tokenizer(m), texts[i], sg_encode_defaults(), &a, &err), &err);
        CHECK_OK(sg_tokenizer_encode(sg_model_tokenizer(same), texts[i], sg_encode_defaults(), &b, &err), &err);
        CHECK(a.n == b.n && (a.n == 0 || memcmp(a.ids, b.ids, (size_t)a.n * sizeof *a.ids) == 0));
        sg_tokens_free(&a);
        sg_tokens_free(&b);
    }
    const sg_model_info *x = sg_model_get_info(m), *y = sg_model_get_info(same);
    CHECK(x->n_layers == y->n_layers && x->d_model == y->d_model && x->n_heads == y->n_heads &&
          x->n_kv_heads == y->n_kv_heads);
    CHECK(x->n_vocab == y->n_vocab && x->n_context == y->n_context && x->n_parameters == y->n_parameters &&
          x->tied == y->tied);
    CHECK(x->bos == y->bos && x->n_eos == y->n_eos && x->eos[0] == y->eos[0]);
    assert_string_equal(x->architecture, y->architecture);
    CHECK(!sg_model_warning(m, 0));
    sg_model *planned;
    sg_model_opts opts = sg_model_defaults();
    opts.only_sizes = true;
    CHECK_OK(sg_model_open(&planned, path, opts, &err), &err);
    CHECK(x->converted_bytes == 5 * (64 + 32) * 64 * 4); /* the rows that were put back */
    CHECK(sg_model_get_info(planned)->converted_bytes == x->converted_bytes);
    sg_model_close(planned);
    CHECK(sg_model_hash(m) == sg_model_hash(same)); /* all weights, rows of queries and keys put back */
    sg_model_close(m);
    sg_model_close(same);
}

/* Within 2e-5 + 1e-4 |x| of the reference that an independent program computed, every named value. */
static void a_file_of_f32_gives_the_reference_values(void **state)
{
    (void)state;
    char path[1024], golden[1024];
    sg_error err;
    sg_model *m;
    sg_safetensors *st;
    sg_glass *glass;
    sg_value *fetches[128];
    sg_tensor out[128];
    int n = 0, at[128];
    SKIP_WITHOUT(sg_test_shared(path, STORIES "-f32.gguf"), "stories260K");
    SKIP_WITHOUT(sg_test_shared(golden, "golden/stories260K.safetensors"), "reference values of stories260K");
    CHECK_OK(sg_model_open(&m, path, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_safetensors_open(&st, golden, &err), &err);
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    for (int i = 0; i < sg_safetensors_count(st); i++)
        if (strcmp(sg_safetensors_name(st, i), "tokens") != 0) {
            CHECK_OK(sg_glass_find(glass, sg_safetensors_name(st, i), &fetches[n], &err), &err);
            at[n++] = i;
        }
    CHECK(n == 77);
    const sg_tensor *tokens = sg_safetensors_find(st, "tokens");
    const int32_t *ids = tokens->data;
    const sg_dim length = sg_tensor_count(tokens);
    const sg_rows rows = {.n_rows = 1, .tokens = &ids, .lengths = &length};
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, n, fetches, out, &err), &err);
    for (int k = 0; k < n; k++) {
        const sg_tensor *want = sg_safetensors_at(st, at[k]);
        CHECK(sg_tensor_count(want) == sg_tensor_count(&out[k]));
        for (sg_dim i = 0; i < sg_tensor_count(want); i++)
            CHECK_NEAR(sg_tensor_get(&out[k], i), sg_tensor_get(want, i), 2e-5, 1e-4);
    }
    sg_glass_free(glass);
    sg_safetensors_close(st);
    sg_model_close(m);
}

/* A folder with the file's weights unpacked by hand: rows of queries and keys put back here by their definition. */
static void write_folder(const char *folder, sg_gguf *g)
{
    static const char *const names[][2] = {{"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
                                           {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
                                           {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
                                           {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
                                           {"ffn_down", "mlp.down_proj"}};
    char path[1024], config[1024];
    sg_error err;
    sg_named_tensor list[64];
    const int n = sg_gguf_count(g);
    CHECK(n == 47);
    for (int i = 0; i < n; i++) {
        const sg_tensor *t = sg_gguf_at(g, i);
        char *name = malloc(128);
        float *data = malloc((size_t)sg_tensor_count(t) * sizeof *data), *turned = data;
        const char *own = sg_gguf_name(g, i);
        sg_convert(data, SG_F32, t->data, t->dtype, sg_tensor_count(t));
        snprintf(name, 128, "%s",
                 strcmp(own, "token_embd.weight") == 0 ? "model.embed_tokens.weight" : "model.norm.weight");
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            char want[64];
            snprintf(want, sizeof want, "blk.%d.%s.weight", own[4] - '0', names[k][0]);
            if (strcmp(own, want) == 0)
                snprintf(name, 128, "model.layers.%d.%s.weight", own[4] - '0', names[k][1]);
        }
        if (strstr(own, "attn_q.") || strstr(own, "attn_k.")) {
            turned = malloc((size_t)sg_tensor_count(t) * sizeof *data);
            for (int head = 0; head < t->dims[0] / 8; head++)
                for (int pair = 0; pair < 4; pair++)
                    for (int side = 0; side < 2; side++)
                        memcpy(turned + (head * 8 + side * 4 + pair) * 64, data + (head * 8 + pair * 2 + side) * 64,
                               64 * sizeof *data);
            free(data);
        }
        list[i] = (sg_named_tensor){name, sg_tensor_of(SG_F32, t->n_dims, t->dims, turned)};
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    CHECK_OK(sg_safetensors_save(path, list, n, NULL, 0, &err), &err);
    for (int i = 0; i < n; i++) {
        free((void *)(uintptr_t)list[i].name);
        free(list[i].tensor.data);
    }
    CHECK(sg_test_shared(config, "models/stories260K/config.json"));
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *from = fopen(config, "rb"), *to = fopen(path, "wb");
    CHECK(from && to);
    const size_t bytes = fread(config, 1, sizeof config, from);
    CHECK(bytes > 100 && fwrite(config, 1, bytes, to) == bytes && fclose(to) == 0);
    fclose(from);
}

static sg_tensor logits_of(const char *path, sg_glass **glass, sg_model **m)
{
    static const int32_t ids[6] = {1, 403, 407, 261, 378, 500};
    const int32_t *row = ids;
    const sg_dim n = 6;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    sg_error err;
    sg_value *logits;
    sg_tensor out;
    CHECK_OK(sg_model_open(m, path, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_glass_new(glass, *m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(*glass, "logits", &logits, &err), &err);
    CHECK_OK(sg_glass_run(*glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
    return out;
}

static void packed_files_run_as_their_numbers_do(void **state)
{
    (void)state;
    static const char *const files[] = {STORIES "-q8_0.gguf", STORIES "-q4_0.gguf", STORIES "-f16.gguf"};
    char path[1024], folder[] = "/tmp/sightglass-gguf-models-XXXXXX", inside[1200];
    SKIP_WITHOUT(sg_test_shared(path, files[0]), "stories260K");
    CHECK(mkdtemp(folder) != NULL);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        sg_error err;
        sg_gguf *g;
        sg_glass *glass[2];
        sg_model *m[2];
        CHECK(sg_test_shared(path, files[i]));
        CHECK_OK(sg_gguf_open(&g, path, &err), &err);
        write_folder(folder, g);
        sg_gguf_close(g);
        const sg_tensor a = logits_of(path, &glass[0], &m[0]), b = logits_of(folder, &glass[1], &m[1]);
        CHECK(sg_tensor_count(&a) == 6 * 512 && sg_tensor_count(&b) == 6 * 512);
        for (sg_dim k = 0; k < 6 * 512; k++) /* weights used as they are stored sum in another order */
            CHECK_NEAR(sg_tensor_get(&a, k), sg_tensor_get(&b, k), 1e-4, 1e-4);
        for (int k = 0; k < 2; k++) {
            sg_glass_free(glass[k]);
            sg_model_close(m[k]);
        }
    }
    snprintf(inside, sizeof inside, "%s/config.json", folder);
    unlink(inside);
    snprintf(inside, sizeof inside, "%s/model.safetensors", folder);
    unlink(inside);
    rmdir(folder);
}

/* Llama's conversion lays rows a and b of a pair side by side: of a head of 6 rows, 0 1 2 3 4 5 become 0 3 1 4 2 5. */
static void moved_rows_are_found(void **state)
{
    (void)state;
    static const int queries[6] = {0, 2, 4, 1, 3, 5};
    const sg_gguf_heads heads = {4, 2};
    for (int head = 0; head < 4; head++)
        for (int i = 0; i < 6; i++)
            CHECK(sg_gguf_row(SG_MOVE_QUERY, &heads, 24, head * 6 + i) == head * 6 + queries[i]);
    for (int i = 0; i < 6; i++)
        CHECK(sg_gguf_row(SG_MOVE_KEY, &heads, 12, 6 + i) == 6 + queries[i]);
    /* Two heads of two rows, q0 q0 k0 k0 v0 v0 q1 ... by heads; q0 q0 q1 q1 k0 ... by parts. */
    static const int parts[12] = {0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11};
    const sg_gguf_heads two = {2, 2};
    for (int i = 0; i < 12; i++)
        CHECK(sg_gguf_row(SG_MOVE_QKV, &two, 12, i) == parts[i]);
    CHECK(sg_gguf_row(SG_MOVE_NONE, &two, 12, 7) == 7);
}

static void names_are_translated_both_ways(void **state)
{
    (void)state;
    static const struct {
        const char *family, *gguf, *hf;
        sg_gguf_move move;
    } cases[] = {
        {"llama", "blk.11.attn_q.weight", "model.layers.11.self_attn.q_proj.weight", SG_MOVE_QUERY},
        {"llama", "blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight", SG_MOVE_NONE},
        {"qwen2", "blk.3.attn_k.bias", "model.layers.3.self_attn.k_proj.bias", SG_MOVE_NONE},
        {"gemma2", "blk.3.ffn_norm.weight", "model.layers.3.pre_feedforward_layernorm.weight", SG_MOVE_ONE},
        {"gpt2", "blk.7.ffn_down.bias", "transformer.h.7.mlp.c_proj.bias", SG_MOVE_TURNED},
        {"gptneox", "blk.7.attn_qkv.weight", "gpt_neox.layers.7.attention.query_key_value.weight", SG_MOVE_QKV},
        {"gptneox", "output.weight", "embed_out.weight", SG_MOVE_NONE},
        {"phi3", "blk.1.ffn_up.weight", "model.layers.1.mlp.gate_up_proj.weight", SG_MOVE_NONE},
        {"olmo2", "blk.1.post_ffw_norm.weight", "model.layers.1.post_feedforward_layernorm.weight", SG_MOVE_NONE},
    };
    char name[256];
    sg_gguf_move move;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sg_gguf_family *f = sg_gguf_family_of(cases[i].family);
        CHECK(f && sg_gguf_name_to_hf(f, cases[i].gguf, name, sizeof name, &move));
        assert_string_equal(name, cases[i].hf);
        CHECK(move == cases[i].move);
        CHECK(sg_gguf_name_from_hf(f, cases[i].hf, name, sizeof name, &move));
        assert_string_equal(name, cases[i].gguf);
    }
    const sg_gguf_family *f = sg_gguf_family_of("llama");
    CHECK(!sg_gguf_name_to_hf(f, "blk.x.attn_q.weight", name, sizeof name, &move));
    CHECK(!sg_gguf_name_to_hf(f, "blk..attn_q.weight", name, sizeof name, &move));
    CHECK(!sg_gguf_name_to_hf(f, "blk.1.attn_q", name, sizeof name, &move));
    CHECK(!sg_gguf_name_to_hf(f, "blk.1.attn_q.weight", name, 10, &move));
}

static void check_refused(sg_gguf_meta *meta, const sg_named_tensor *tensors, int n, sg_status wanted,
                          const char *words)
{
    char path[] = "/tmp/sightglass-gguf-refused-XXXXXX";
    const int f = mkstemp(path);
    sg_error err;
    sg_model *m;
    CHECK(f >= 0);
    close(f);
    CHECK_OK(sg_gguf_save(path, meta, tensors, n, &err), &err);
    const sg_status status = sg_model_open(&m, path, sg_model_defaults(), &err);
    unlink(path);
    CHECK(status == wanted);
    CHECK_TEXT(err.text, words);
    sg_gguf_meta_free(meta);
}

static void what_is_no_model_here_is_refused_by_name(void **state)
{
    (void)state;
    float x[64] = {0};
    const sg_named_tensor embed = {"token_embd.weight", sg_tensor_of(SG_F32, 2, (sg_dim[]){8, 8}, x)};
    sg_gguf_meta *m = sg_gguf_meta_new();
    check_refused(m, NULL, 0, SG_EFORMAT, "general.architecture is missing");
    m = sg_gguf_meta_new();
    sg_gguf_meta_text(m, "general.architecture", "phi2");
    check_refused(m, &embed, 1, SG_EUNSUPPORTED, "general.architecture is \"phi2\"; this version knows llama, ");
    m = sg_gguf_meta_new();
    sg_gguf_meta_text(m, "general.architecture", "llama");
    sg_gguf_meta_whole(m, "llama.expert_count", 8);
    check_refused(m, &embed, 1, SG_EUNSUPPORTED, "llama.expert_count is 8");
    m = sg_gguf_meta_new();
    sg_gguf_meta_text(m, "general.architecture", "llama");
    check_refused(m, &embed, 1, SG_EFORMAT, "llama.embedding_length is missing");
    m = sg_gguf_meta_new();
    sg_gguf_meta_text(m, "general.architecture", "llama");
    sg_gguf_meta_reals(m, "llama.embedding_length", 2, x);
    check_refused(m, &embed, 1, SG_EFORMAT, "llama.embedding_length is not one whole number");
    m = sg_gguf_meta_new();
    sg_gguf_meta_text(m, "general.architecture", "llama");
    sg_gguf_meta_whole(m, "split.count", 3);
    check_refused(m, &embed, 1, SG_EUNSUPPORTED, "one of 3 files");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tokenizer_is_that_of_the_folder),
        cmocka_unit_test(a_file_of_f32_gives_the_reference_values),
        cmocka_unit_test(packed_files_run_as_their_numbers_do),
        cmocka_unit_test(moved_rows_are_found),
        cmocka_unit_test(names_are_translated_both_ways),
        cmocka_unit_test(what_is_no_model_here_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
