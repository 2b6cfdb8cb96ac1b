/* Every family of decoders against an independent implementation: test/make_models/families.py wrote a tiny model of
 * each, and what it has inside, in double. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "check.h"
#include "models/arch.h"
#include "sightglass/generate.h"
#include "sightglass/model.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"

#define MOST_SITES 80
#define LONG       150 /* tokens: more than two blocks of keys of the fused step */

static const struct {
    const char *folder, *family;
    int n_sites; /* values that the reference has */
} families[] = {
    {"gpt2", "gpt2", 35},        {"llama", "llama", 40},       {"llama3", "llama", 40},
    {"llama_yarn", "llama", 40}, {"mistral", "mistral", 40},   {"qwen2", "qwen2", 40},
    {"qwen3", "qwen3", 44},      {"gpt_neox", "gpt_neox", 36}, {"gpt_neox_serial", "gpt_neox", 38},
    {"gptj", "gptj", 34},        {"gemma", "gemma", 40},       {"gemma2", "gemma2", 64},
    {"phi3", "phi3", 40},        {"olmo", "olmo", 40},         {"olmo2", "olmo2", 44},
};

/* A model and what is known of it. */
typedef struct fixture {
    sg_model *m;
    sg_safetensors *golden;
    const int32_t *rows[2]; /* the two texts */
    sg_dim lengths[2];
} fixture;

static fixture begin(const char *folder, sg_dtype dtype)
{
    char path[1200];
    sg_error err;
    fixture f;

    snprintf(path, sizeof path, SG_SOURCE_DIR "/test/data/families/%s", folder);
    CHECK_OK(sg_model_open(&f.m, path, (sg_model_opts){.dtype = dtype}, &err), &err);
    snprintf(path, sizeof path, SG_SOURCE_DIR "/test/data/families/%s/golden.safetensors", folder);
    CHECK_OK(sg_safetensors_open(&f.golden, path, &err), &err);
    for (int r = 0; r < 2; r++) {
        const sg_tensor *t = sg_safetensors_find(f.golden, r ? "second.tokens" : "tokens");
        f.rows[r] = t->data;
        f.lengths[r] = t->dims[0];
    }
    return f;
}

static void end(fixture *f)
{
    sg_safetensors_close(f->golden);
    sg_model_close(f->m);
}

static sg_glass *glass_of(const fixture *f, sg_dim capacity)
{
    sg_glass_opts opts = sg_glass_defaults();
    sg_error err;
    sg_glass *glass;

    opts.capacity = capacity;
    CHECK_OK(sg_glass_new(&glass, f->m, opts, &err), &err);
    return glass;
}

static sg_value *value_of(sg_glass *glass, const char *name)
{
    sg_error err;
    sg_value *v;

    CHECK_OK(sg_glass_find(glass, name, &v, &err), &err);
    return v;
}

/* Numbers of the reference at [first, first + n) of a value, which has them at `got`. */
static void compare(const char *folder, const char *name, const sg_tensor *got, sg_dim from, const sg_tensor *want,
                    sg_dim first, sg_dim n, double abs_tol, double rel_tol, double *worst)
{
    for (sg_dim i = 0; i < n; i++) {
        const double g = sg_tensor_get(got, from + i), w = sg_tensor_get(want, first + i);
        if (g != w)
            *worst = fmax(*worst, fabs(g - w) / (1 + fabs(w)));
        if (!(g == w || fabs(g - w) <= abs_tol + rel_tol * fabs(w)))
            print_error("%s: %s at %lld: ", folder, name, (long long)i);
        CHECK_NEAR(g, w, abs_tol, rel_tol);
    }
}

/* Sites of the reference are floats, which differ from its doubles by 6e-8 of them. In f32 sums of some 30 terms are
 * off by as much as their largest terms are worth, which two or three layers deep is some 1e-5. */
static void every_site_is_the_reference_s(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int wide = 0; wide < 2; wide++) {
            const char *folder = families[i].folder;
            fixture f = begin(folder, wide ? SG_F64 : SG_F32);
            sg_glass *glass = glass_of(&f, 0);
            sg_value *fetches[MOST_SITES];
            sg_tensor out[MOST_SITES];
            int at[MOST_SITES], n = 0;
            sg_error err;
            double worst = 0;

            CHECK(strcmp(sg_model_get_info(f.m)->family, families[i].family) == 0);
            CHECK(sg_model_warning(f.m, 0) == NULL);
            for (int k = 0; k < sg_safetensors_count(f.golden); k++) {
                const char *name = sg_safetensors_name(f.golden, k);
                if (strstr(name, "tokens") || strncmp(name, "second.", 7) == 0 || strchr(name, ' '))
                    continue;
                CHECK(n < MOST_SITES);
                fetches[n] = value_of(glass, name);
                at[n++] = k;
            }
            CHECK(n == families[i].n_sites);
            const sg_rows rows = {.n_rows = 1, .tokens = f.rows, .lengths = f.lengths};
            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, n, fetches, out, &err), &err);
            for (int k = 0; k < n; k++) {
                const sg_tensor *want = sg_safetensors_at(f.golden, at[k]);
                const double tol = !wide ? 3e-5 : want->dtype == SG_F64 ? 1e-12 : 2e-7;
                CHECK(sg_tensor_count(&out[k]) == sg_tensor_count(want));
                compare(folder, sg_safetensors_name(f.golden, at[k]), &out[k], 0, want, 0, sg_tensor_count(want), tol,
                        tol, &worst);
            }
            print_message("%s in %s: %d values, at most %.1e off\n", folder, wide ? "f64" : "f32", n, worst);
            sg_glass_free(glass);
            end(&f);
        }
}

static void through_the_cache_it_is_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++) {
        fixture f = begin(families[i].folder, SG_F64);
        sg_glass *glass = glass_of(&f, 16);
        sg_value *logits = value_of(glass, "logits");
        const sg_tensor *want[2] = {sg_safetensors_find(f.golden, "logits"),
                                    sg_safetensors_find(f.golden, "second.logits")};
        const sg_dim vocab = sg_model_get_info(f.m)->n_vocab;
        sg_error err;
        sg_tensor out;
        double worst = 0;

        for (int r = 0; r < 2; r++) {
            const bool changes = r == 0 && strcmp(families[i].family, "phi3") == 0;
            sg_glass_forget(glass);
            for (sg_dim done = 0, n; done < f.lengths[r]; done += n) {
                n = changes ? f.lengths[r] : done == 0 ? 3 : 1; /* phi3's angles change at 5 tokens */
                const int32_t *piece = f.rows[r] + done;
                const sg_rows rows = {.n_rows = 1, .tokens = &piece, .lengths = &n};
                CHECK_OK(sg_glass_extend(glass, &rows, 1, &logits, &out, &err), &err);
                compare(families[i].folder, "logits", &out, 0, want[r], done * vocab, n * vocab, 1e-12, 1e-12, &worst);
            }
        }
        sg_glass_free(glass);
        end(&f);
    }
}

/* Two texts of different lengths in one batch, filled up on either side. */
static void padding_does_not_show(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int left = 0; left < 2; left++) {
            fixture f = begin(families[i].folder, SG_F64);
            sg_glass *glass = glass_of(&f, 0);
            sg_value *logits = value_of(glass, "logits");
            const sg_rows rows = {.n_rows = 2, .tokens = f.rows, .lengths = f.lengths, .pad_left = left, .time = 9};
            const sg_dim vocab = sg_model_get_info(f.m)->n_vocab;
            sg_error err;
            sg_tensor out;
            double worst = 0;

            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
            for (int r = 0; r < 2; r++)
                compare(families[i].folder, "logits", &out, (r * 9 + (left ? 9 - f.lengths[r] : 0)) * vocab,
                        sg_safetensors_find(f.golden, r ? "second.logits" : "logits"), 0, f.lengths[r] * vocab, 1e-12,
                        1e-12, &worst);
            sg_glass_free(glass);
            end(&f);
        }
}

static void the_gradient_of_the_loss_is_the_reference_s(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int wide = 0; wide < 2; wide++) {
            fixture f = begin(families[i].folder, wide ? SG_F64 : SG_F32);
            sg_glass *glass = glass_of(&f, 0);
            sg_value *loss = value_of(glass, "loss");
            sg_value *fetches[2] = {loss, sg_grad(sg_glass_graph(glass), loss, value_of(glass, "hook_embed"))};
            const sg_rows rows = {.n_rows = 1, .tokens = f.rows, .lengths = f.lengths};
            const sg_tensor *want = sg_safetensors_find(f.golden, "loss by hook_embed");
            const double tol = wide ? 1e-12 : 3e-5;
            sg_error err;
            sg_tensor out[2];
            double worst = 0;

            CHECK_OK(sg_graph_status(sg_glass_graph(glass), &err), &err);
            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, fetches, out, &err), &err);
            CHECK_NEAR(sg_tensor_get(&out[0], 0), sg_tensor_get(sg_safetensors_find(f.golden, "loss"), 0), tol, tol);
            CHECK(sg_tensor_count(want) == sg_tensor_count(&out[1]));
            compare(families[i].folder, "d loss / d hook_embed", &out[1], 0, want, 0, sg_tensor_count(want), tol, tol,
                    &worst);
            sg_glass_free(glass);
            end(&f);
        }
}

/* Nobody looks at the pattern, so attention is one step; in double it never is. */
static void long_texts_in_one_step_are_the_same(void **state)
{
    (void)state;
    static double wanted[LONG * 64];
    int32_t ids[LONG];
    const int32_t *row = ids;
    sg_error err;

    for (int t = 0; t < LONG; t++)
        ids[t] = (t * t + 3 * t) % 43;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int wide = 1; wide >= 0; wide--) {
            fixture f = begin(families[i].folder, wide ? SG_F64 : SG_F32);
            sg_glass *glass = glass_of(&f, 0);
            sg_value *logits = value_of(glass, "logits");
            const sg_dim n = SG_MIN((sg_dim)LONG, sg_model_get_info(f.m)->n_context);
            const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
            sg_tensor out;
            int n_fused = 0;

            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
            const sg_plan *plan = sg_session_plan(sg_glass_session(glass));
            for (int s = 0; s < sg_plan_n_steps(plan); s++)
                n_fused += strcmp(sg_plan_step_op(plan, s), "attention") == 0;
            if (!wide)
                CHECK(n_fused == (int)sg_model_get_info(f.m)->n_layers);
            for (sg_dim k = 0; k < sg_tensor_count(&out); k++)
                if (wide)
                    wanted[k] = sg_tensor_get(&out, k);
                else
                    CHECK_NEAR(sg_tensor_get(&out, k), wanted[k], 2e-4, 2e-4);
            sg_glass_free(glass);
            end(&f);
        }
}

/* ---- configs ---- */

/* Sizes of a model of any family that has llama's keys. */
#define SIZES                                                                                                          \
    "\"hidden_size\":24,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":20,\"vocab_size\":9,"  \
    "\"max_position_embeddings\":64,\"hidden_act\":\"silu\""
#define LLAMA "{\"architectures\":[\"LlamaForCausalLM\"]," SIZES

static sg_status parse(sg_model *m, const char *text, sg_error *err)
{
    *m = (sg_model){.arena = sg_arena_new(), .opts = sg_model_defaults()};
    return sg_config_parse(m, text, strlen(text), "config.json", err);
}

static void what_would_change_the_result_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words[2];
        sg_status status;
    } cases[] = {
        {LLAMA ",\"final_logit_softcapping\":30}", {"final_logit_softcapping", "llama"}, SG_EUNSUPPORTED},
        {LLAMA ",\"sliding_window\":32}", {"sliding_window", "llama"}, SG_EUNSUPPORTED},
        {LLAMA ",\"quantization_config\":{\"bits\":4}}", {"quantization_config", "llama"}, SG_EUNSUPPORTED},
        {LLAMA ",\"num_local_experts\":8}", {"num_local_experts", "llama"}, SG_EUNSUPPORTED},
        {LLAMA ",\"rope_scaling\":{\"type\":\"mrope\",\"factor\":2}}", {"rope_type", "mrope"}, SG_EUNSUPPORTED},
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"curve\":1}}",
         {"rope_scaling", "curve"},
         SG_EUNSUPPORTED},
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", {"rope_scaling", "factor is missing"}, SG_EFORMAT},
        {LLAMA ",\"rope_scaling\":7}", {"rope_scaling", "not an object"}, SG_EFORMAT},
        {LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}}",
         {"high_freq_factor 4", "low_freq_factor 4"},
         SG_EFORMAT},
        {LLAMA ",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1],\"long_factor\":[1,1]}}",
         {"long_factor", "list of 3"},
         SG_EFORMAT},
        {LLAMA ",\"partial_rotary_factor\":1.5}", {"partial_rotary_factor", "at most 1"}, SG_EFORMAT},
        {LLAMA ",\"partial_rotary_factor\":0.5}", {"3 of the 6", "even"}, SG_EFORMAT},
        {"{\"architectures\":[\"Gemma2ForCausalLM\"]," SIZES
         ",\"layer_types\":[\"full_attention\",\"linear_attention\"]}",
         {"layer_types", "linear_attention"},
         SG_EUNSUPPORTED},
        {"{\"architectures\":[\"Gemma2ForCausalLM\"]," SIZES ",\"layer_types\":[\"full_attention\"]}",
         {"layer_types", "2 layers"},
         SG_EFORMAT},
        {"{\"architectures\":[\"MistralForCausalLM\"]," SIZES ",\"sliding_window\":0}",
         {"sliding_window", "0"},
         SG_EFORMAT},
        {"{\"architectures\":[\"MixtralForCausalLM\"]," SIZES "}", {"MixtralForCausalLM", "olmo2"}, SG_EUNSUPPORTED},
    };

    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_error err;
        sg_model m;
        CHECK_STATUS(parse(&m, cases[i].text, &err), cases[i].status);
        CHECK_TEXT(err.text, "config.json");
        CHECK_TEXT(err.text, cases[i].words[0]);
        CHECK_TEXT(err.text, cases[i].words[1]);
        sg_arena_free(m.arena);
    }
}

static void what_changes_nothing_is_taken(void **state)
{
    (void)state;
    sg_error err;
    sg_model m;

    /* Angles of the kind "dynamic" are the plain ones within the context; the newer place of theta; neutral values. */
    CHECK_OK(parse(&m,
                   LLAMA ",\"rope_parameters\":{\"rope_type\":\"dynamic\",\"factor\":4,\"rope_theta\":500},"
                         "\"sliding_window\":null,\"logit_scale\":1.0,\"num_experts\":0,\"attention_dropout\":0.1}",
                   &err),
             &err);
    CHECK(m.arch.rope.kind == SG_ROPE_PLAIN && m.arch.rope_theta == 500 && sg_model_warning(&m, 0) == NULL);
    sg_arena_free(m.arena);
    /* What is not known at all is a warning with its name. */
    CHECK_OK(parse(&m, LLAMA ",\"flux\":1,\"tea\":\"green\"}", &err), &err);
    CHECK_TEXT(sg_model_warning(&m, 0), "flux, tea");
    sg_arena_free(m.arena);
}

static void windows_are_of_the_layers_that_the_config_says(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        sg_dim window;
        bool first, second;
    } cases[] = {
        {"{\"architectures\":[\"MistralForCausalLM\"]," SIZES ",\"sliding_window\":8}", 8, true, true},
        {"{\"architectures\":[\"MistralForCausalLM\"]," SIZES ",\"sliding_window\":null}", 0, false, false},
        {"{\"architectures\":[\"MistralForCausalLM\"]," SIZES "}", 0, false,
         false}, /* 4096, which is all of the context */
        {"{\"architectures\":[\"Qwen2ForCausalLM\"]," SIZES ",\"sliding_window\":8,\"max_window_layers\":1,"
         "\"use_sliding_window\":true}",
         8, false, true},
        {"{\"architectures\":[\"Qwen2ForCausalLM\"]," SIZES ",\"sliding_window\":8,\"max_window_layers\":1}", 0, false,
         false},
        {"{\"architectures\":[\"Gemma2ForCausalLM\"]," SIZES ",\"head_dim\":6,\"sliding_window\":8}", 8, true, false},
        {"{\"architectures\":[\"Gemma2ForCausalLM\"]," SIZES ",\"head_dim\":6,\"sliding_window\":8,"
         "\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
         8, false, true},
    };

    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_error err;
        sg_model m;
        CHECK_OK(parse(&m, cases[i].text, &err), &err);
        CHECK(m.arch.window == cases[i].window);
        CHECK(sg_arch_windowed(&m.arch, 0) == cases[i].first && sg_arch_windowed(&m.arch, 1) == cases[i].second);
        sg_arena_free(m.arena);
    }
}

/* ---- files ---- */

static char scratch[200];

static int make_scratch(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");

    snprintf(scratch, sizeof scratch, "%s/sightglass-families-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(scratch) ? 0 : -1;
}

static int drop_scratch(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "model.safetensors"};
    char path[260];

    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", scratch, names[i]);
        unlink(path);
    }
    return rmdir(scratch);
}

/* A model without weights, drawn, saved and opened again: the same names, and a loss near that of guessing. */
static void every_family_is_made_from_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++) {
        char path[300];
        sg_error err;
        sg_model *m[2];
        sg_graph *g;
        sg_state *s;
        const int32_t ids[6] = {1, 5, 7, 5, 2, 40}, *row = ids;
        const sg_dim n = 6;
        const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
        sg_tensor out[2][2];
        sg_glass *glass[2];

        snprintf(path, sizeof path, SG_SOURCE_DIR "/test/data/families/%s/config.json", families[i].folder);
        CHECK_OK(sg_model_new(&m[0], path, NULL, sg_model_defaults(), &err), &err);
        CHECK_OK(sg_model_graph(&g, m[0], 0, 0, &err), &err);
        CHECK_OK(sg_state_new(&s, g, &err), &err);
        CHECK_OK(sg_state_init(s, 0, &err), &err);
        CHECK_OK(sg_model_save(m[0], g, s, "", SG_F32, scratch, &err), &err);
        CHECK_OK(sg_model_open(&m[1], scratch, sg_model_defaults(), &err), &err);
        CHECK(sg_model_get_info(m[0])->n_parameters == sg_model_get_info(m[1])->n_parameters);
        for (int k = 0; k < 2; k++) {
            CHECK_OK(sg_glass_new(&glass[k], m[k], sg_glass_defaults(), &err), &err);
            sg_value *fetches[2] = {value_of(glass[k], "loss"), value_of(glass[k], "blocks.1.hook_mlp_out")};
            CHECK_OK(sg_glass_run(glass[k], &rows, 0, NULL, 2, fetches, out[k], &err), &err);
        }
        CHECK_NEAR(sg_tensor_get(&out[0][0], 0), log(43), 0.3, 0);
        CHECK(memcmp(out[0][0].data, out[1][0].data, sizeof(float)) == 0);
        CHECK(memcmp(out[0][1].data, out[1][1].data, sg_tensor_bytes(&out[0][1])) == 0);
        for (int k = 0; k < 2; k++) {
            sg_glass_free(glass[k]);
            sg_model_close(m[k]);
        }
        sg_state_free(s);
        sg_graph_free(g);
    }
}

/* Weights of llama beside a config that has no place for one of them. */
static void a_tensor_that_has_no_place_is_named(void **state)
{
    (void)state;
    char path[260];
    sg_error err;
    sg_safetensors *st;
    sg_model *m;

    CHECK_OK(sg_safetensors_open(&st, SG_SOURCE_DIR "/test/data/families/qwen3/model.safetensors", &err), &err);
    const int n = sg_safetensors_count(st);
    sg_named_tensor *list = calloc((size_t)n, sizeof *list);
    for (int i = 0; i < n; i++)
        list[i] = (sg_named_tensor){sg_safetensors_name(st, i), *sg_safetensors_at(st, i)};
    snprintf(path, sizeof path, "%s/model.safetensors", scratch);
    CHECK_OK(sg_safetensors_save(path, list, n, NULL, 0, &err), &err);
    snprintf(path, sizeof path, "%s/config.json", scratch);
    FILE *to = fopen(path, "wb");
    CHECK(to &&
          fputs("{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":20,\"num_hidden_layers\":2,"
                "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":8,\"intermediate_size\":27,"
                "\"vocab_size\":43,\"max_position_embeddings\":64,\"hidden_act\":\"silu\"}",
                to) >= 0 &&
          fclose(to) == 0);
    CHECK_STATUS(sg_model_open(&m, scratch, sg_model_defaults(), &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "_norm.weight has no place in the family llama");
    free(list);
    sg_safetensors_close(st);
}

/* phi3's keys of short texts are no use behind a longer one. */
static void a_cache_does_not_grow_past_a_change_of_angles(void **state)
{
    (void)state;
    fixture f = begin("phi3", SG_F32);
    sg_glass *glass = glass_of(&f, 16);
    sg_value *logits = value_of(glass, "logits");
    sg_dim n = 4;
    const sg_rows rows = {.n_rows = 1, .tokens = f.rows, .lengths = &n};
    sg_error err;
    sg_tensor out;

    CHECK_OK(sg_glass_extend(glass, &rows, 1, &logits, &out, &err), &err);
    n = 1;
    CHECK_OK(sg_glass_extend(glass, &rows, 1, &logits, &out, &err), &err); /* 5 are still short */
    CHECK_STATUS(sg_glass_extend(glass, &rows, 1, &logits, &out, &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "past 5 tokens");
    CHECK(sg_glass_past(glass) == 5);
    /* Nor do the rows of a batch, whose texts are read in pieces. */
    sg_batch_opts opts = sg_batch_defaults();
    sg_batch *batch;
    opts.capacity = 6;
    CHECK_STATUS(sg_batch_new(&batch, f.m, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "context is 5; longer texts have other rotary angles");
    sg_glass_free(glass);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_site_is_the_reference_s),
        cmocka_unit_test(through_the_cache_it_is_the_same),
        cmocka_unit_test(padding_does_not_show),
        cmocka_unit_test(the_gradient_of_the_loss_is_the_reference_s),
        cmocka_unit_test(long_texts_in_one_step_are_the_same),
        cmocka_unit_test(what_would_change_the_result_is_refused_by_name),
        cmocka_unit_test(what_changes_nothing_is_taken),
        cmocka_unit_test(windows_are_of_the_layers_that_the_config_says),
        cmocka_unit_test_setup_teardown(every_family_is_made_from_nothing, make_scratch, drop_scratch),
        cmocka_unit_test_setup_teardown(a_tensor_that_has_no_place_is_named, make_scratch, drop_scratch),
        cmocka_unit_test(a_cache_does_not_grow_past_a_change_of_angles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
