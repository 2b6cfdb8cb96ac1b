/* Models from nothing: how they start, and that what is saved is what is opened. */
#include <string.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/model.h"

static const char gpt2[] = "{\"model_type\":\"gpt2\",\"n_embd\":48,\"n_layer\":3,\"n_head\":4,\"vocab_size\":50,"
                           "\"n_positions\":16,\"initializer_range\":0.05}";
static const char llama[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"intermediate_size\":96,\"vocab_size\":50,\"max_position_embeddings\":16,"
    "\"hidden_act\":\"silu\",\"attention_bias\":true}";

static char folder[200], config[260];

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-create-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "tokenizer.json", "m/config.json", "m/model.safetensors",
                                        "m/tokenizer.json"};
    char path[260];
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/m", folder);
    rmdir(path);
    return rmdir(folder);
}

typedef struct fixture {
    sg_model *m;
    sg_graph *g;
    sg_state *state;
} fixture;

static fixture make_of(const char *text, uint64_t seed, sg_dtype dtype)
{
    fixture f;
    sg_error err;
    sg_model_opts opts = sg_model_defaults();
    opts.dtype = dtype;
    snprintf(config, sizeof config, "%s/config.json", folder);
    FILE *to = fopen(config, "wb");
    CHECK(to && fputs(text, to) >= 0 && fclose(to) == 0);
    CHECK_OK(sg_model_new(&f.m, config, NULL, opts, &err), &err);
    CHECK_OK(sg_model_graph(&f.g, f.m, 0, 0, &err), &err);
    CHECK_OK(sg_state_new(&f.state, f.g, &err), &err);
    CHECK_OK(sg_model_bind(f.m, f.g, f.state, &err), &err); /* binds nothing */
    CHECK_OK(sg_state_init(f.state, seed, &err), &err);
    return f;
}

static fixture make(const char *text, uint64_t seed)
{
    return make_of(text, seed, SG_F32);
}

static void end(fixture *f)
{
    sg_state_free(f->state);
    sg_graph_free(f->g);
    sg_model_close(f->m);
}

/* The weight is normal of this deviation and mean 0, to five standard errors, or with 0 the constant `mean`. */
static void expect(const fixture *f, const char *name, double mean, double deviation)
{
    const sg_value *v = sg_graph_find(f->g, name);
    CHECK(v != NULL);
    const sg_tensor *t = sg_state_tensor(f->state, v);
    const sg_dim n = sg_tensor_count(t);
    double sum = 0, squares = 0;
    for (sg_dim i = 0; i < n; i++) {
        const double x = sg_tensor_get(t, i);
        sum += x;
        squares += (x - mean) * (x - mean);
    }
    CHECK_NEAR(sum / (double)n, mean, 5 * deviation / sqrt((double)n), 0);
    CHECK_NEAR(sqrt(squares / (double)n), deviation, 5 * deviation / sqrt(2.0 * (double)n), 0);
}

static void weights_start_as_the_family_does(void **state)
{
    (void)state;
    fixture f = make(gpt2, 1);
    const double residual = 0.05 / sqrt(6);
    expect(&f, "transformer.wte.weight", 0, 0.05);
    expect(&f, "transformer.wpe.weight", 0, 0.05);
    expect(&f, "transformer.h.2.attn.c_attn.weight", 0, 0.05);
    expect(&f, "transformer.h.2.attn.c_attn.bias", 0, 0);
    expect(&f, "transformer.h.0.attn.c_proj.weight", 0, residual);
    expect(&f, "transformer.h.1.mlp.c_proj.weight", 0, residual);
    expect(&f, "transformer.h.1.mlp.c_fc.weight", 0, 0.05);
    expect(&f, "transformer.h.1.ln_2.weight", 1, 0);
    expect(&f, "transformer.ln_f.bias", 0, 0);
    CHECK(sg_graph_find(f.g, "lm_head.weight") == NULL); /* tied */
    end(&f);

    f = make(llama, 1);
    expect(&f, "model.embed_tokens.weight", 0, 0.02);
    expect(&f, "model.layers.1.self_attn.o_proj.weight", 0, 0.02);
    expect(&f, "model.layers.1.self_attn.q_proj.bias", 0, 0);
    expect(&f, "model.layers.0.mlp.down_proj.weight", 0, 0.02);
    expect(&f, "model.norm.weight", 1, 0);
    expect(&f, "lm_head.weight", 0, 0.02);
    end(&f);
}

/* Untrained, all tokens are nearly equally likely: the loss is near log V. */
static void an_untrained_model_knows_nothing(void **state)
{
    (void)state;
    fixture f = make(llama, 3);
    sg_glass *glass;
    sg_error err;
    int32_t ids[16];
    for (int i = 0; i < 16; i++)
        ids[i] = i * 3;
    CHECK_OK(sg_glass_new(&glass, f.m, sg_glass_defaults(), &err), &err);
    const sg_rows rows = {.n_rows = 1, .tokens = (const int32_t *const[]){ids}, .lengths = &(sg_dim){16}};
    sg_value *loss = sg_graph_find(sg_glass_graph(glass), "loss");
    sg_tensor got;
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &loss, &got, &err), &err);
    CHECK_NEAR(sg_tensor_get(&got, 0), log(50), 0.1, 0);
    sg_glass_free(glass);
    end(&f);
}

/* Of every weight, one number or another, in f64 against central differences. */
static void gradients_are_those_of_the_loss(void **state)
{
    (void)state;
    static const char *const texts[] = {gpt2, llama};
    enum { ROWS = 3, TIME = 6, MOST = 64 };
    for (int k = 0; k < 2; k++) {
        fixture f = make_of(texts[k], 2, SG_F64);
        sg_value *weights[MOST], *fetches[MOST + 1];
        int n = 0;
        for (; sg_model_get_weight(f.m, n).name; n++) {
            CHECK(n < MOST);
            weights[n] = sg_graph_find(f.g, sg_model_get_weight(f.m, n).name);
        }
        sg_value *loss = sg_graph_find(f.g, "loss");
        sg_gradients(f.g, loss, NULL, n, weights, fetches);
        fetches[n] = loss;
        int32_t ids[ROWS * TIME], places[ROWS * TIME];
        uint8_t mask[ROWS * TIME];
        for (int i = 0; i < ROWS * TIME; i++) {
            ids[i] = (i * 7 + i / 5) % 50;
            places[i] = i % TIME;
            mask[i] = 1;
        }
        const sg_dim dims[2] = {ROWS, TIME};
        const sg_feed feeds[3] = {{sg_graph_find(f.g, "tokens"), sg_tensor_of(SG_I32, 2, dims, ids)},
                                  {sg_graph_find(f.g, "positions"), sg_tensor_of(SG_I32, 2, dims, places)},
                                  {sg_graph_find(f.g, "key_mask"), sg_tensor_of(SG_BOOL, 2, dims, mask)}};
        sg_session *session;
        sg_tensor out[MOST + 1], value;
        double want[MOST], got[MOST];
        sg_dim at[MOST];
        sg_error err;
        CHECK_OK(sg_session_new(&session, f.g, f.state, sg_exec_defaults(), &err), &err);
        CHECK_OK(sg_session_run(session, 3, feeds, n + 1, fetches, out, &err), &err);
        for (int i = 0; i < n; i++) {
            const sg_dim count = sg_tensor_count(&out[i]);
            at[i] = count * 5 / 7 - count * 5 / 7 % sg_value_dim(weights[i], -1) + i % sg_value_dim(weights[i], -1);
            if (strstr(sg_value_name(weights[i]), "wte") || strstr(sg_value_name(weights[i]), "embed"))
                at[i] = ids[4] * 48 + 3;
            if (strstr(sg_value_name(weights[i]), "wpe"))
                at[i] = 2 * 48 + 5;
            if (at[i] >= count)
                at[i] = count - 1;
            got[i] = sg_tensor_get(&out[i], at[i]);
        }
        const double h = 1e-4;
        int moved = 0;
        for (int i = 0; i < n; i++) {
            sg_tensor *w = sg_state_tensor(f.state, weights[i]);
            const double was = sg_tensor_get(w, at[i]);
            double side[2];
            for (int s = 0; s < 2; s++) {
                sg_tensor_set(w, at[i], was + (s ? h : -h));
                CHECK_OK(sg_session_run(session, 3, feeds, 1, &loss, &value, &err), &err);
                side[s] = sg_tensor_get(&value, 0);
            }
            sg_tensor_set(w, at[i], was);
            want[i] = (side[1] - side[0]) / (2 * h);
            CHECK_NEAR(got[i], want[i], 1e-9, 1e-4);
            moved += fabs(want[i]) > 1e-9;
        }
        CHECK(moved > n * 3 / 4);
        sg_session_free(session);
        end(&f);
    }
}

static void only_matrices_decay(void **state)
{
    (void)state;
    fixture f = make(gpt2, 0);
    int decaying = 0, n = 0;
    for (; sg_model_get_weight(f.m, n).name; n++) {
        const sg_model_weight w = sg_model_get_weight(f.m, n);
        decaying += w.decays;
        if (strstr(w.name, ".bias") || strstr(w.name, "ln_") || strstr(w.name, "wte") || strstr(w.name, "wpe"))
            CHECK(!w.decays);
    }
    CHECK(decaying == 4 * 3 && n == 12 * 3 + 4);
    CHECK(sg_model_get_info(f.m)->n_parameters == 50 * 48 + 16 * 48 + 2 * 48 + 3 * (12 * 48 * 48 + 13 * 48));
    end(&f);
}

static void what_is_saved_is_what_is_opened(void **state)
{
    (void)state;
    static const char *const texts[] = {gpt2, llama};
    for (int k = 0; k < 2; k++) {
        fixture f = make(texts[k], 5);
        char dir[260];
        sg_error err;
        sg_model *m;
        sg_graph *g;
        sg_state *s;
        snprintf(dir, sizeof dir, "%s/m", folder);
        CHECK_OK(sg_model_save(f.m, f.g, f.state, "", SG_F32, dir, &err), &err);
        CHECK_OK(sg_model_open(&m, dir, sg_model_defaults(), &err), &err);
        CHECK(sg_model_warning(m, 0) == NULL);
        CHECK(sg_model_get_info(m)->n_parameters == sg_model_get_info(f.m)->n_parameters);
        CHECK_OK(sg_model_graph(&g, m, 0, 0, &err), &err);
        CHECK_OK(sg_state_new(&s, g, &err), &err);
        CHECK_OK(sg_model_bind(m, g, s, &err), &err);
        for (int i = 0; sg_model_get_weight(f.m, i).name; i++) {
            const char *name = sg_model_get_weight(f.m, i).name;
            const sg_tensor *a = sg_state_tensor(f.state, sg_graph_find(f.g, name));
            const sg_tensor *b = sg_state_tensor(s, sg_graph_find(g, name));
            CHECK(a && b && memcmp(a->data, b->data, sg_tensor_bytes(a)) == 0);
        }
        CHECK_STATUS(sg_model_save(f.m, f.g, f.state, "average.", SG_F32, dir, &err), SG_EARG);
        CHECK_TEXT(err.text, "average.");
        CHECK_STATUS(sg_model_save(m, g, s, "", SG_F32, dir, &err), SG_EARG);
        sg_state_free(s);
        sg_graph_free(g);
        sg_model_close(m);
        end(&f);
    }
}

static void what_cannot_be_made_is_refused(void **state)
{
    (void)state;
    fixture f = make(llama, 5);
    char path[1024];
    sg_model *m = NULL;
    sg_error err;
    CHECK_STATUS(sg_model_new(&m, "nowhere.json", NULL, sg_model_defaults(), &err), SG_ENOTFOUND);
    CHECK_STATUS(sg_model_new(&m, config, "nowhere.json", sg_model_defaults(), &err), SG_ENOTFOUND);
    if (sg_test_shared(path, "models/stories260K/tokenizer.json")) {
        CHECK_STATUS(sg_model_new(&m, config, path, sg_model_defaults(), &err), SG_EARG);
        CHECK_TEXT(err.text, "512 ids");
    }
    CHECK(m == NULL);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_start_as_the_family_does), cmocka_unit_test(an_untrained_model_knows_nothing),
        cmocka_unit_test(gradients_are_those_of_the_loss),  cmocka_unit_test(only_matrices_decay),
        cmocka_unit_test(what_is_saved_is_what_is_opened),  cmocka_unit_test(what_cannot_be_made_is_refused),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
