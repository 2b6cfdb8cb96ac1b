/* Adapters against what PyTorch computed with them (test/make_models/adapters.py): each kind, each strength, alone and
 * in a batch, with and without a cache, merged; and files that are not what they say. */
#include <string.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/adapt.h"
#include "sightglass/convert.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"

#define DATA SG_SOURCE_DIR "/test/data/adapters/"

enum { ROWS = 2, TIME = 6, VOCAB = 32, WIDTH = 16, FEATURES = 24, LOGITS = ROWS * TIME * VOCAB };

/* Values are near 1 and went through some ten products in f32, beside golden ones in f64. */
#define NEAR 2e-4

static sg_error err;
static int32_t tokens[ROWS][TIME];
static const int32_t *const token_rows[ROWS] = {tokens[0], tokens[1]};
static const sg_dim lengths[ROWS] = {TIME, TIME};
static const sg_rows rows = {.n_rows = ROWS, .tokens = token_rows, .lengths = lengths};

static int read_tokens(void **state)
{
    sg_safetensors *st;
    (void)state;
    CHECK_OK(sg_safetensors_open(&st, DATA "tokens.safetensors", &err), &err);
    const sg_tensor *t = sg_safetensors_find(st, "tokens");
    for (int i = 0; i < ROWS * TIME; i++)
        tokens[i / TIME][i % TIME] = (int32_t)sg_tensor_get(t, i);
    sg_safetensors_close(st);
    return 0;
}

static sg_model *open_as(const char *name, sg_dtype dtype)
{
    char path[1024];
    sg_model *m;
    sg_model_opts opts = sg_model_defaults();

    opts.dtype = dtype;
    snprintf(path, sizeof path, DATA "%s", name);
    CHECK_OK(sg_model_open(&m, path, opts, &err), &err);
    return m;
}

static void add_lora(sg_model *m, const char *name, double strength)
{
    char path[1024];

    snprintf(path, sizeof path, DATA "%s", name);
    CHECK_OK(sg_model_add_lora(m, path, strength, &err), &err);
}

static void add_sae(sg_model *m, const char *name, sg_sae_use use)
{
    char path[1024];

    snprintf(path, sizeof path, DATA "%s", name);
    CHECK_OK(sg_model_add_sae(m, path, use, &err), &err);
}

static sg_glass *glass_of(const sg_model *m)
{
    sg_glass *glass;

    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    return glass;
}

static sg_tensor run(sg_glass *glass, const char *name)
{
    sg_value *v;
    sg_tensor t;

    CHECK_OK(sg_glass_find(glass, name, &v, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &t, &err), &err);
    return t;
}

static double logits_of(const sg_model *m, double out[LOGITS])
{
    sg_glass *glass = glass_of(m);
    const sg_tensor t = run(glass, "logits");
    double sum = 0;

    CHECK(sg_tensor_count(&t) == LOGITS);
    for (int i = 0; i < LOGITS; i++) {
        out[i] = sg_tensor_get(&t, i);
        sum += fabs(out[i]);
    }
    sg_glass_free(glass);
    return sum;
}

static void check_golden(const sg_tensor *t, const char *folder, const char *name, double near)
{
    char path[1024];
    sg_safetensors *st;

    snprintf(path, sizeof path, DATA "%s/golden.safetensors", folder);
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    const sg_tensor *want = sg_safetensors_find(st, name);
    CHECK(want && sg_tensor_count(want) == sg_tensor_count(t));
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        if (fabs(sg_tensor_get(t, i) - sg_tensor_get(want, i)) > near * (1 + fabs(sg_tensor_get(want, i)))) {
            print_error("%s of %s, number %d\n", name, folder, (int)i);
            CHECK_NEAR(sg_tensor_get(t, i), sg_tensor_get(want, i), near, near);
        }
    sg_safetensors_close(st);
}

/* ---- LoRA ---- */

static const struct {
    const char *folder, *base;
} loras[] = {{"lora-plain", "llama"}, {"lora-patterns", "llama"}, {"lora-half", "llama"},
             {"lora-head", "llama"},  {"lora-gpt2", "gpt2"},      {"lora-gpt2-all", "gpt2"}};

static void each_kind_of_lora_gives_pytorchs_logits_at_each_strength(void **state)
{
    static const struct {
        double strength;
        const char *name;
    } at[] = {{1, "logits.1"}, {0.5, "logits.0.5"}, {-2, "logits.-2"}};
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(loras); i++)
        for (size_t k = 0; k < SG_COUNT_OF(at); k++) {
            sg_model *m = open_as(loras[i].base, SG_F32);
            add_lora(m, loras[i].folder, at[k].strength);
            sg_glass *glass = glass_of(m);
            const sg_tensor t = run(glass, "logits");
            check_golden(&t, loras[i].folder, at[k].name, NEAR);
            sg_glass_free(glass);
            sg_model_close(m);
        }
}

static void a_lora_in_f64_agrees_to_what_the_files_hold(void **state)
{
    (void)state;
    sg_model *m = open_as("llama", SG_F64);
    add_lora(m, "lora-patterns", 1);
    sg_glass *glass = glass_of(m);
    const sg_tensor t = run(glass, "logits");
    check_golden(&t, "lora-patterns", "logits.1", 1e-6); /* golden numbers are stored in f32 */
    sg_glass_free(glass);
    sg_model_close(m);
}

static void strengths_differ_by_row_without_a_new_plan_and_zero_is_the_base(void **state)
{
    static double base[LOGITS], with[LOGITS];
    (void)state;
    sg_model *m = open_as("llama", SG_F32);
    logits_of(m, base);
    add_lora(m, "lora-plain", 1);
    logits_of(m, with);
    sg_glass *glass = glass_of(m);
    run(glass, "logits");
    CHECK_OK(sg_glass_lora(glass, 0, 2, (double[]){0, 1}, &err), &err);
    sg_tensor t = run(glass, "logits");
    double apart = 0;
    for (int i = 0; i < LOGITS; i++) {
        CHECK_NEAR(sg_tensor_get(&t, i), i < LOGITS / 2 ? base[i] : with[i], 0, 0); /* the same bits */
        apart += fabs(base[i] - with[i]);
    }
    CHECK(apart > 1);
    CHECK_OK(sg_glass_lora(glass, 0, 1, (double[]){0.5}, &err), &err);
    t = run(glass, "logits");
    check_golden(&t, "lora-plain", "logits.0.5", NEAR);
    CHECK_OK(sg_glass_lora(glass, 0, 3, (double[]){0, 1, 2}, &err), &err);
    sg_value *logits = sg_graph_find(sg_glass_graph(glass), "logits");
    CHECK_STATUS(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &t, &err), SG_EARG);
    CHECK_TEXT(err.text, "3 rows");
    CHECK_STATUS(sg_glass_lora(glass, 1, 1, (double[]){1}, &err), SG_EARG);
    sg_glass_free(glass);
    sg_model_close(m);
}

static void a_strength_may_be_fed_as_any_value(void **state)
{
    float strength[ROWS * TIME];
    sg_tensor t;
    (void)state;
    sg_model *m = open_as("gpt2", SG_F32);
    add_lora(m, "lora-gpt2-all", 1);
    sg_glass *glass = glass_of(m);
    sg_value *logits = sg_graph_find(sg_glass_graph(glass), "logits");
    const sg_named_feed feed = {"lora.0.strength", sg_tensor_of(SG_F32, 2, (sg_dim[]){ROWS, TIME}, strength)};
    for (int i = 0; i < ROWS * TIME; i++)
        strength[i] = 0.5f;
    CHECK_OK(sg_glass_run(glass, &rows, 1, &feed, 1, &logits, &t, &err), &err);
    check_golden(&t, "lora-gpt2-all", "logits.0.5", NEAR);
    sg_glass_free(glass);
    sg_model_close(m);
}

/* "Applied as an edit": the strength is a value, so one row may have another from some position on. */
static void a_strength_is_edited_by_row_and_position(void **state)
{
    static double with[LOGITS], base[LOGITS];
    const sg_span row = {1, 1}, later = {3, 100};
    double zero = 0;
    (void)state;
    sg_model *m = open_as("llama", SG_F32);
    logits_of(m, base);
    add_lora(m, "lora-plain", 1);
    logits_of(m, with);
    sg_edit e = sg_edit_defaults();
    e.site = "lora.0.strength";
    e.op = SG_EDIT_SET;
    e.value = sg_tensor_of(SG_F64, 0, NULL, &zero);
    e.rows = (sg_spans){1, &row};
    sg_glass *glass = glass_of(m);
    CHECK_OK(sg_glass_edit(glass, 1, &e, &err), &err);
    sg_tensor t = run(glass, "logits");
    for (int i = 0; i < LOGITS; i++)
        CHECK_NEAR(sg_tensor_get(&t, i), i < LOGITS / 2 ? with[i] : base[i], 0, 0);
    sg_glass_free(glass);
    e.positions = (sg_spans){1, &later};
    glass = glass_of(m);
    CHECK_OK(sg_glass_edit(glass, 1, &e, &err), &err);
    t = run(glass, "logits");
    for (int i = 0; i < LOGITS; i++)
        if (i < LOGITS / 2 + 3 * VOCAB)
            CHECK_NEAR(sg_tensor_get(&t, i), with[i], 0, 0);
    CHECK(sg_tensor_get(&t, LOGITS - 1) != with[LOGITS - 1] && sg_tensor_get(&t, LOGITS - 1) != base[LOGITS - 1]);
    sg_glass_free(glass);
    sg_model_close(m);
}

static void two_loras_add_up_and_a_second_use_of_the_first_doubles_it(void **state)
{
    static double once[LOGITS], twice[LOGITS], both[LOGITS], merged[LOGITS];
    (void)state;
    sg_model *m = open_as("llama", SG_F32);
    add_lora(m, "lora-plain", 2);
    logits_of(m, twice);
    sg_model_close(m);
    m = open_as("llama", SG_F32);
    add_lora(m, "lora-plain", 1);
    add_lora(m, "lora-plain", 1);
    logits_of(m, once);
    for (int i = 0; i < LOGITS; i++)
        CHECK_NEAR(once[i], twice[i], NEAR, NEAR);
    add_lora(m, "lora-patterns", 0.5);
    CHECK(sg_model_n_loras(m) == 3 && sg_model_lora_strength(m, 2) == 0.5);
    logits_of(m, both);
    CHECK_OK(sg_model_merge(m, &err), &err);
    CHECK(sg_model_n_loras(m) == 0);
    logits_of(m, merged);
    double apart = 0;
    for (int i = 0; i < LOGITS; i++) {
        CHECK_NEAR(merged[i], both[i], NEAR, NEAR);
        apart += fabs(both[i] - twice[i]);
    }
    CHECK(apart > 1);
    sg_model_close(m);
}

static void merging_gives_the_numbers_of_applying_for_each_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(loras); i++) {
        sg_model *m = open_as(loras[i].base, SG_F32);
        add_lora(m, loras[i].folder, 0.5);
        const sg_status status = sg_model_merge(m, &err);
        if (strcmp(loras[i].folder, "lora-half") == 0) {
            CHECK(status == SG_EUNSUPPORTED); /* a bias where the base has none */
            CHECK_TEXT(err.text, "lora_B.bias");
        } else {
            CHECK_OK(status, &err);
            sg_glass *glass = glass_of(m);
            const sg_tensor t = run(glass, "logits");
            check_golden(&t, loras[i].folder, "logits.0.5", NEAR);
            sg_glass_free(glass);
        }
        sg_model_close(m);
    }
}

static void what_a_lora_adds_is_read_and_edited_by_its_name(void **state)
{
    static double base[LOGITS];
    (void)state;
    sg_model *m = open_as("llama", SG_F32);
    logits_of(m, base);
    add_lora(m, "lora-plain", 1);
    sg_glass *glass = glass_of(m);
    sg_tensor t = run(glass, "blocks.1.attn.v.lora.0");
    CHECK(t.n_dims == 3 && t.dims[2] == WIDTH);
    t = run(glass, "blocks.1.attn.v.lora.0.hidden");
    CHECK(t.n_dims == 3 && t.dims[2] == 2);
    sg_glass_free(glass);
    glass = glass_of(m);
    sg_edit off[4];
    const char *const sites[4] = {"blocks.0.attn.q.lora.0", "blocks.1.attn.q.lora.0", "blocks.0.attn.v.lora.0",
                                  "blocks.1.attn.v.lora.0"};
    for (int i = 0; i < 4; i++) {
        off[i] = sg_edit_defaults();
        off[i].site = sites[i];
        off[i].op = SG_EDIT_ABLATE;
    }
    CHECK_OK(sg_glass_edit(glass, 4, off, &err), &err);
    t = run(glass, "logits");
    for (int i = 0; i < LOGITS; i++)
        CHECK_NEAR(sg_tensor_get(&t, i), base[i], 0, 0);
    sg_glass_free(glass);
    sg_model_close(m);
}

/* d logit / d strength by the graph, beside the difference of two runs. */
static void gradients_flow_through_a_lora(void **state)
{
    double l[2];
    (void)state;
    sg_model *m = open_as("llama", SG_F64);
    add_lora(m, "lora-plain", 1);
    sg_glass *glass = glass_of(m);
    sg_graph *g = sg_glass_graph(glass);
    sg_value *strength = sg_graph_find(g, "lora.0.strength"),
             *b = sg_graph_find(g, "lora.0.model.layers.0.self_attn.v_proj.lora_B.weight");
    sg_value *loss = sg_graph_find(g, "loss"), *fetches[3];
    CHECK(strength && b && loss);
    fetches[0] = sg_grad(g, loss, strength);
    fetches[1] = sg_grad(g, loss, b);
    fetches[2] = loss;
    sg_tensor t[3];
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 3, fetches, t, &err), &err);
    double slope = 0, size = 0;
    for (int i = 0; i < TIME; i++)
        slope += sg_tensor_get(&t[0], i); /* of the first row's strength */
    for (sg_dim i = 0; i < sg_tensor_count(&t[1]); i++)
        size += fabs(sg_tensor_get(&t[1], i));
    CHECK(size > 1e-3);
    for (int k = 0; k < 2; k++) {
        CHECK_OK(sg_glass_lora(glass, 0, 2, (double[]){k ? 1 + 1e-5 : 1 - 1e-5, 1}, &err), &err);
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &loss, t, &err), &err);
        l[k] = sg_tensor_get(&t[0], 0);
    }
    CHECK_NEAR(slope, (l[1] - l[0]) / 2e-5, 1e-7, 1e-6);
    sg_glass_free(glass);
    sg_model_close(m);
}

static void with_a_cache_a_lora_gives_the_same(void **state)
{
    static double whole[LOGITS];
    sg_glass *glass;
    (void)state;
    sg_model *m = open_as("gpt2", SG_F32);
    add_lora(m, "lora-gpt2", 1);
    logits_of(m, whole);
    sg_glass_opts opts = sg_glass_defaults();
    opts.capacity = 8;
    opts.n_rows = ROWS;
    CHECK_OK(sg_glass_new(&glass, m, opts, &err), &err);
    sg_value *logits = sg_graph_find(sg_glass_graph(glass), "logits");
    for (int at = 0; at < TIME; at++) {
        const sg_dim one[ROWS] = {1, 1};
        const int32_t *const next[ROWS] = {&tokens[0][at], &tokens[1][at]};
        sg_tensor t;
        CHECK_OK(
            sg_glass_extend(glass, &(sg_rows){.n_rows = ROWS, .tokens = next, .lengths = one}, 1, &logits, &t, &err),
            &err);
        for (int i = 0; i < ROWS * VOCAB; i++)
            CHECK_NEAR(sg_tensor_get(&t, i), whole[(i / VOCAB * TIME + at) * VOCAB + i % VOCAB], NEAR, NEAR);
    }
    sg_glass_free(glass);
    sg_model_close(m);
}

static void the_hash_tells_adapters_apart(void **state)
{
    (void)state;
    sg_model *m = open_as("llama", SG_F32);
    const uint64_t base = sg_model_hash(m);
    add_sae(m, "sae-standard", SG_SAE_LOOK);
    CHECK(sg_model_hash(m) == base); /* it changes no number */
    add_lora(m, "lora-plain", 1);
    const uint64_t one = sg_model_hash(m);
    add_sae(m, "sae-legacy", SG_SAE_REPLACE);
    CHECK(base != one && one != sg_model_hash(m));
    sg_model_close(m);
}

/* A folder with a changed configuration, or with other weights. */
static void write_folder(char dir[64], const char *from, const char *config)
{
    char path[1200], command[2400];

    strcpy(dir, "/tmp/sg_adapt_XXXXXX");
    CHECK(mkdtemp(dir));
    snprintf(command, sizeof command, "cp " DATA "%s/*.safetensors '%s'", from, dir);
    CHECK(system(command) == 0);
    snprintf(path, sizeof path, "%s/%s", dir, strncmp(from, "sae", 3) == 0 ? "cfg.json" : "adapter_config.json");
    FILE *f = fopen(path, "w");
    CHECK(f);
    fputs(config, f);
    fclose(f);
}

static void remove_folder(const char *dir)
{
    char command[200];

    snprintf(command, sizeof command, "rm -r '%s'", dir);
    CHECK(system(command) == 0);
}

static void what_a_lora_wants_and_is_not_done_is_refused_by_name(void **state)
{
    static const struct {
        const char *config;
        sg_status status;
        const char *words;
    } cases[] = {
        {"{\"peft_type\":\"LORA\",\"r\":2,\"use_dora\":true}", SG_EUNSUPPORTED, "use_dora"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"modules_to_save\":[\"score\"]}", SG_EUNSUPPORTED, "modules_to_save"},
        {"{\"peft_type\":\"IA3\"}", SG_EUNSUPPORTED, "IA3"},
        {"{\"r\":2}", SG_EFORMAT, "peft_type"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"init_lora_weights\":\"pissa_niter_4\"}", SG_EUNSUPPORTED, "pissa"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"bias\":\"some\"}", SG_EFORMAT, "bias is \"some\""},
        {"{\"peft_type\":\"LORA\",\"r\":3}", SG_EFORMAT, "is [2,16], the configuration says [3,in]"},
        {"{\"peft_type\":\"LORA\",\"r\":0}", SG_EFORMAT, "rank"},
        {"{\"peft_type\":\"LORA\",\"r\":1e30}", SG_EFORMAT, "rank"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"rank_pattern\":{\"(\":3}}", SG_EFORMAT, "no pattern"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"rank_pattern\":{\"(.*)*x(.*)*y(.*)*\":3}}", SG_EFORMAT, "takes too long"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":[\"q_proj\"]}", SG_EFORMAT, "v_proj"},
        {"{\"peft_type\":\"LORA\",\"r\":2,", SG_EFORMAT, "line 1"},
        {"[]", SG_EFORMAT, "not an object"},
    };
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        char dir[64];
        sg_lora *l = NULL;
        write_folder(dir, "lora-plain", cases[i].config);
        CHECK_STATUS(sg_lora_open(&l, dir, &err), cases[i].status);
        CHECK_TEXT(err.text, cases[i].words);
        CHECK(!l);
        remove_folder(dir);
    }
}

static void a_lora_of_another_model_names_tensor_and_both_shapes(void **state)
{
    char dir[64];
    (void)state;
    sg_model *m = open_as("gpt2", SG_F32);
    CHECK_STATUS(sg_model_add_lora(m, DATA "lora-plain", 1, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "model.layers.0.self_attn.q_proj");
    CHECK(sg_model_n_loras(m) == 0);
    sg_model_close(m);

    /* The same names, another width: lora-half is of up_proj [24,16], and says so of down_proj here. */
    strcpy(dir, "/tmp/sg_adapt_XXXXXX");
    CHECK(mkdtemp(dir));
    float a[2 * 16] = {0}, b[24 * 2] = {0};
    const sg_named_tensor list[] = {{"base_model.model.model.layers.0.mlp.down_proj.lora_A.default.weight",
                                     sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 16}, a)},
                                    {"base_model.model.model.layers.0.mlp.down_proj.lora_B.default.weight",
                                     sg_tensor_of(SG_F32, 2, (sg_dim[]){24, 2}, b)}};
    char path[128];
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
    CHECK_OK(sg_safetensors_save(path, list, 2, NULL, 0, &err), &err);
    snprintf(path, sizeof path, "%s/adapter_config.json", dir);
    FILE *f = fopen(path, "w");
    fputs("{\"peft_type\": \"LORA\", \"r\": 2}", f);
    fclose(f);
    m = open_as("llama", SG_F32);
    CHECK_STATUS(sg_model_add_lora(m, dir, 1, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "model.layers.0.mlp.down_proj has lora_A [2,16] and lora_B [24,2], the model's "
                         "model.layers.0.mlp.down_proj.weight is [16,24]");
    static double base[LOGITS];
    CHECK(logits_of(m, base) > 1); /* the model is as before */
    sg_model_close(m);
    remove_folder(dir);
}

/* ---- any model: what is applied is what is merged ---- */

/* Writes an adapter of rank 2 with random numbers for modules of these shapes [out,in]. */
typedef struct module {
    char name[128];
    sg_dim n_out, n_in;
} module;

static void write_lora(char dir[64], int n, const module *modules)
{
    sg_named_tensor *list = calloc((size_t)n * 2, sizeof *list);
    char path[128];
    sg_rng r = sg_rng_new(7, 0);

    for (int i = 0; i < 2 * n; i++) {
        const module *at = &modules[i / 2];
        const sg_dim dims[2] = {i % 2 ? at->n_out : 2, i % 2 ? 2 : at->n_in};
        float *x = malloc((size_t)(dims[0] * dims[1]) * sizeof *x);
        char *name = malloc(200);
        for (sg_dim k = 0; k < dims[0] * dims[1]; k++)
            x[k] = 0.2f * (float)sg_rng_normal(&r);
        snprintf(name, 200, "base_model.model.%s.lora_%c.weight", at->name, i % 2 ? 'B' : 'A');
        list[i] = (sg_named_tensor){name, sg_tensor_of(SG_F32, 2, dims, x)};
    }
    strcpy(dir, "/tmp/sg_adapt_XXXXXX");
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
    CHECK_OK(sg_safetensors_save(path, list, 2 * n, NULL, 0, &err), &err);
    snprintf(path, sizeof path, "%s/adapter_config.json", dir);
    FILE *f = fopen(path, "w");
    CHECK(f);
    fputs("{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4}", f);
    fclose(f);
    for (int i = 0; i < 2 * n; i++) {
        union {
            const char *in;
            char *out;
        } name = {list[i].name};
        free(name.out);
        free(list[i].tensor.data);
    }
    free(list);
}

/* All matrices of a model that are multiplied with. in_out: they are stored [in,out]. */
static int modules_of(const sg_model *m, bool in_out, module *out, int most)
{
    sg_graph *g;
    int n = 0;

    CHECK_OK(sg_model_graph(&g, m, 0, 1, &err), &err);
    for (int i = 0; sg_model_get_weight(m, i).name && n < most; i++) {
        const sg_model_weight w = sg_model_get_weight(m, i);
        const char *dot = strrchr(w.name, '.');
        const sg_value *v = sg_graph_find(g, w.name);
        if (!w.decays || !v || strcmp(dot, ".weight") != 0)
            continue;
        snprintf(out[n].name, sizeof out[n].name, "%.*s", (int)(dot - w.name), w.name);
        out[n].n_out = sg_value_dim(v, in_out ? 1 : 0);
        out[n++].n_in = sg_value_dim(v, in_out ? 0 : 1);
    }
    sg_graph_free(g);
    return n;
}

static double *all_logits(const sg_model *m, sg_dim *n)
{
    sg_glass *glass = glass_of(m);
    const sg_tensor t = run(glass, "logits");
    double *out = malloc((size_t)sg_tensor_count(&t) * sizeof *out);

    *n = sg_tensor_count(&t);
    for (sg_dim i = 0; i < *n; i++)
        out[i] = sg_tensor_get(&t, i);
    sg_glass_free(glass);
    return out;
}

/* An adapter of every matrix, applied and then merged; it changes something, and the same both ways. */
static void check_applied_and_merged(sg_model *m, bool in_out, double near)
{
    static module modules[64];
    char dir[64];
    const int n = modules_of(m, in_out, modules, 64);
    sg_dim count;
    CHECK(n >= 4);
    double *base = all_logits(m, &count), apart = 0;
    write_lora(dir, n, modules);
    CHECK_OK(sg_model_add_lora(m, dir, 0.5, &err), &err);
    double *applied = all_logits(m, &count);
    CHECK_OK(sg_model_merge(m, &err), &err);
    double *merged = all_logits(m, &count);
    for (sg_dim i = 0; i < count; i++) {
        CHECK_NEAR(merged[i], applied[i], near, near);
        apart += fabs(applied[i] - base[i]);
    }
    CHECK(apart / (double)count > 1e-2);
    free(base);
    free(applied);
    free(merged);
    remove_folder(dir);
}

static void every_family_takes_a_lora_at_every_matrix(void **state)
{
    static const char *const names[] = {"gemma", "gemma2", "gpt2",   "gpt_neox", "gpt_neox_serial",
                                        "gptj",  "llama",  "llama3", "mistral",  "olmo",
                                        "olmo2", "phi3",   "qwen2",  "qwen3"};
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        char path[1024];
        sg_model *m;
        sg_model_opts opts = sg_model_defaults();
        opts.dtype = SG_F64;
        snprintf(path, sizeof path, SG_SOURCE_DIR "/test/data/families/%s", names[i]);
        CHECK_OK(sg_model_open(&m, path, opts, &err), &err);
        check_applied_and_merged(m, strcmp(names[i], "gpt2") == 0, 1e-6);
        sg_model_close(m);
    }
}

/* hook_q is the product, so what it changes by is what the LoRA says it adds. */
static void an_encoder_takes_a_lora(void **state)
{
    static const module query = {"bert.encoder.layer.0.attention.self.query", 8, 8};
    static const sg_dim n = 5;
    const int32_t ids[5] = {1, 5, 3, 2, 9};
    const int32_t *const row = ids;
    const sg_rows one = {.n_rows = 1, .tokens = &row, .lengths = &n};
    char dir[64];
    sg_value *v[2];
    sg_tensor t[2];
    sg_model *m;
    float before[40];
    (void)state;
    CHECK_OK(sg_model_open(&m, SG_SOURCE_DIR "/test/data/encoders/bert_labels", sg_model_defaults(), &err), &err);
    sg_glass *glass = glass_of(m);
    v[0] = sg_graph_find(sg_glass_graph(glass), "blocks.0.attn.hook_q");
    CHECK_OK(sg_glass_run(glass, &one, 0, NULL, 1, v, t, &err), &err);
    CHECK(sg_tensor_count(&t[0]) == 40);
    memcpy(before, t[0].data, sizeof before);
    sg_glass_free(glass);
    write_lora(dir, 1, &query);
    CHECK_OK(sg_model_add_lora(m, dir, 0.5, &err), &err);
    glass = glass_of(m);
    v[0] = sg_graph_find(sg_glass_graph(glass), "blocks.0.attn.hook_q");
    v[1] = sg_graph_find(sg_glass_graph(glass), "bert.encoder.layer.0.attention.self.query.lora.0");
    CHECK(v[0] && v[1]);
    CHECK_OK(sg_glass_run(glass, &one, 0, NULL, 2, v, t, &err), &err);
    double size = 0;
    for (int i = 0; i < 40; i++) {
        CHECK_NEAR(sg_tensor_get(&t[0], i) - (double)before[i], 0.5 * sg_tensor_get(&t[1], i), 1e-6, 1e-5);
        size += fabs(sg_tensor_get(&t[1], i));
    }
    CHECK(size > 0.1);
    sg_glass_free(glass);
    sg_model_close(m);
    remove_folder(dir);
}

/* The base lies in a GGUF file in blocks of 8 bits; adapters are in f32, and gradients reach them. */
static void the_base_may_be_quantised(void **state)
{
    static const char config[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 32, "
        "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"intermediate_size\": 64, \"vocab_size\": 32, "
        "\"max_position_embeddings\": 16, \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\", \"initializer_range\": "
        "0.3}";
    char dir[64] = "/tmp/sg_adapt_XXXXXX", path[128], folder[128], packed[128];
    sg_model *m;
    sg_graph *g;
    sg_state *s;
    sg_conversion *c;
    (void)state;
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/new.json", dir);
    snprintf(folder, sizeof folder, "%s/base", dir);
    snprintf(packed, sizeof packed, "%s/base.gguf", dir);
    FILE *f = fopen(path, "w");
    fputs(config, f);
    fclose(f);
    CHECK_OK(sg_model_new(&m, path, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 1, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 3, &err), &err);
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, folder, &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
    sg_convert_opts opts = sg_convert_defaults();
    opts.as_stored = false;
    opts.dtype = SG_Q8_0;
    CHECK_OK(sg_convert_model(&c, folder, packed, &opts, &err), &err);
    sg_conversion_free(c);
    CHECK_OK(sg_model_open(&m, packed, sg_model_defaults(), &err), &err);
    CHECK(sg_model_get_info(m)->stored == SG_Q8_0);
    check_applied_and_merged(m, false, 2e-2); /* products with packed matrices round what they multiply */
    sg_model_close(m);
    remove_folder(dir);
}

static void read_whole(const char *path, char **bytes, size_t *n)
{
    FILE *f = fopen(path, "rb");

    CHECK(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    *bytes = malloc(*n + 1);
    CHECK(fread(*bytes, 1, *n, f) == *n);
    (*bytes)[*n] = '\0';
    fclose(f);
}

/* Every shorter file is refused, and nothing is read behind its end (the copies are exact, for the sanitizer to see).
 */
static void truncated_files_are_refused_at_every_length(void **state)
{
    char *config, *weights;
    size_t n_config, n_weights;
    (void)state;
    read_whole(DATA "lora-plain/adapter_config.json", &config, &n_config);
    read_whole(DATA "lora-plain/adapter_model.safetensors", &weights, &n_weights);
    for (size_t n = 0; n <= n_weights; n += n < 1200 ? 1 : 97) {
        char *copy = malloc(n + !n);
        sg_lora *l = NULL;
        memcpy(copy, weights, n);
        const sg_status status = sg_lora_parse(&l, config, n_config, copy, n, "lora", &err);
        CHECK((status == SG_OK) == (n == n_weights));
        sg_lora_close(l);
        free(copy);
    }
    for (size_t n = 0; n + 2 < n_config; n++) {
        sg_lora *l = NULL;
        CHECK_STATUS(sg_lora_parse(&l, config, n, weights, n_weights, "lora", &err), SG_EFORMAT);
    }
    free(config);
    free(weights);
    read_whole(DATA "sae-jumprelu/cfg.json", &config, &n_config);
    read_whole(DATA "sae-jumprelu/sae_weights.safetensors", &weights, &n_weights);
    for (size_t n = 0; n + 2 < n_config; n++) {
        sg_sae *s = NULL;
        CHECK_STATUS(sg_sae_parse(&s, config, n, weights, n_weights, "sae", &err), SG_EFORMAT);
    }
    for (size_t n = 0; n < n_weights; n += 13) {
        sg_sae *s = NULL;
        CHECK(sg_sae_parse(&s, config, n_config, weights, n, "sae", &err) != SG_OK);
    }
    free(config);
    free(weights);
}

/* ---- autoencoders ---- */

static const char *const saes[] = {"sae-standard", "sae-legacy",   "sae-topk",         "sae-topk-rescaled",
                                   "sae-gated",    "sae-jumprelu", "sae-log-threshold"};

static const char *value_of(const sg_model *m, const char *what, char buf[160])
{
    snprintf(buf, 160, "%s.%s", sg_model_sae(m, 0)->hook, what);
    return buf;
}

static void each_kind_of_autoencoder_gives_pytorchs_values_and_leaves_the_model_alone(void **state)
{
    static const char *const parts[][2] = {{"hook_sae_acts_pre", "acts_pre"},
                                           {"hook_sae_acts_post", "acts_post"},
                                           {"hook_sae_recons", "recons"},
                                           {"hook_sae_error", "error"}};
    static double base[LOGITS];
    char name[160];
    (void)state;
    sg_model *plain = open_as("llama", SG_F32);
    logits_of(plain, base);
    sg_model_close(plain);
    for (size_t i = 0; i < SG_COUNT_OF(saes); i++)
        for (int use = SG_SAE_LOOK; use <= SG_SAE_KEEP; use++) {
            sg_model *m = open_as("llama", SG_F32);
            add_sae(m, saes[i], (sg_sae_use)use);
            sg_glass *glass = glass_of(m);
            for (size_t k = 0; k < SG_COUNT_OF(parts); k++) {
                const sg_tensor t = run(glass, value_of(m, parts[k][0], name));
                check_golden(&t, saes[i], parts[k][1], NEAR);
            }
            const sg_tensor t = run(glass, "logits");
            for (int k = 0; k < LOGITS; k++)
                CHECK_NEAR(sg_tensor_get(&t, k), base[k], 0, 0); /* the same bits */
            check_golden(&t, saes[i], "plain", NEAR);
            sg_glass_free(glass);
            sg_model_close(m);
        }
}

static void a_reconstruction_takes_the_values_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(saes); i++) {
        sg_model *m = open_as("llama", SG_F32);
        add_sae(m, saes[i], SG_SAE_REPLACE);
        sg_glass *glass = glass_of(m);
        const sg_tensor t = run(glass, "logits");
        check_golden(&t, saes[i], "replaced", NEAR);
        sg_glass_free(glass);
        sg_model_close(m);
    }
}

static sg_dim strongest_of(const char *folder)
{
    char path[1024];
    sg_safetensors *st;

    snprintf(path, sizeof path, DATA "%s/golden.safetensors", folder);
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    const sg_dim i = (sg_dim)sg_tensor_get(sg_safetensors_find(st, "strongest"), 0);
    sg_safetensors_close(st);
    return i;
}

static void a_feature_is_ablated_with_the_error_kept(void **state)
{
    char name[160];
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(saes); i++)
        for (int use = SG_SAE_LOOK; use <= SG_SAE_KEEP; use++) {
            sg_model *m = open_as("llama", SG_F32);
            add_sae(m, saes[i], (sg_sae_use)use);
            const sg_span feature = {strongest_of(saes[i]), strongest_of(saes[i])};
            sg_edit e = sg_edit_defaults();
            e.site = value_of(m, "hook_sae_acts_post", name);
            e.op = SG_EDIT_ABLATE;
            e.features = (sg_spans){1, &feature};
            sg_glass *glass = glass_of(m);
            CHECK_OK(sg_glass_edit(glass, 1, &e, &err), &err);
            const sg_tensor t = run(glass, "logits");
            check_golden(&t, saes[i], "ablated", NEAR);
            sg_glass_free(glass);
            sg_model_close(m);
        }
}

/* One row with an edit of a feature, the other without: as each alone, and the other as the base, bit for bit. */
static void edits_of_features_in_a_batch_are_as_alone(void **state)
{
    static double base[LOGITS];
    char name[160];
    (void)state;
    sg_model *m = open_as("llama", SG_F32);
    logits_of(m, base);
    add_sae(m, "sae-standard", SG_SAE_LOOK);
    add_lora(m, "lora-plain", 0);
    const sg_span feature = {3, 4}, row = {1, 1};
    float nine = 9;
    sg_edit e = sg_edit_defaults();
    e.site = value_of(m, "hook_sae_acts_post", name);
    e.op = SG_EDIT_SET;
    e.value = sg_tensor_of(SG_F32, 0, NULL, &nine);
    e.features = (sg_spans){1, &feature};
    sg_glass *alone = glass_of(m);
    CHECK_OK(sg_glass_edit(alone, 1, &e, &err), &err);
    e.rows = (sg_spans){1, &row};
    sg_glass *batch = glass_of(m);
    CHECK_OK(sg_glass_edit(batch, 1, &e, &err), &err);
    const sg_tensor all = run(batch, "logits");
    sg_value *logits = sg_graph_find(sg_glass_graph(alone), "logits");
    sg_tensor t;
    CHECK_OK(sg_glass_run(alone, &(sg_rows){.n_rows = 1, .tokens = token_rows + 1, .lengths = lengths}, 0, NULL, 1,
                          &logits, &t, &err),
             &err);
    double apart = 0;
    for (int i = 0; i < LOGITS / 2; i++) {
        CHECK_NEAR(sg_tensor_get(&all, i), base[i], 0, 0);
        CHECK_NEAR(sg_tensor_get(&all, LOGITS / 2 + i), sg_tensor_get(&t, i), NEAR, NEAR);
        apart += fabs(sg_tensor_get(&t, i) - base[LOGITS / 2 + i]);
    }
    CHECK(apart > 1);
    const sg_tensor acts = run(batch, name);
    CHECK_NEAR(sg_tensor_get(&acts, (TIME + 2) * FEATURES + 3), 9, 0, 0);
    CHECK_NEAR(sg_tensor_get(&acts, (TIME + 2) * FEATURES + 4), 9, 0, 0);
    CHECK(sg_tensor_get(&acts, 2 * FEATURES + 3) != 9 && sg_tensor_get(&acts, (TIME + 2) * FEATURES + 5) != 9);
    sg_glass_free(batch);
    sg_glass_free(alone);
    sg_model_close(m);
}

/* Scaling the whole reconstruction by 2 adds it once more; ablating the error leaves the reconstruction. */
static void edits_of_reconstruction_and_error_reach_the_model(void **state)
{
    char name[160];
    (void)state;
    for (int use = SG_SAE_LOOK; use <= SG_SAE_KEEP; use++) {
        sg_model *m = open_as("llama", SG_F32);
        add_sae(m, "sae-legacy", (sg_sae_use)use); /* with a norm to undo */
        sg_edit e = sg_edit_defaults();
        e.site = value_of(m, "hook_sae_error", name);
        e.op = SG_EDIT_ABLATE;
        sg_glass *glass = glass_of(m);
        CHECK_OK(sg_glass_edit(glass, 1, &e, &err), &err);
        sg_tensor t = run(glass, "logits");
        check_golden(&t, "sae-legacy", "replaced", NEAR);
        sg_glass_free(glass);

        glass = glass_of(m);
        e.site = value_of(m, "hook_sae_recons", name);
        e.op = SG_EDIT_SCALE;
        e.strength = 1.5;
        CHECK_OK(sg_glass_edit(glass, 1, &e, &err), &err);
        t = run(glass, "blocks.1.hook_resid_pre");
        static float edited[ROWS * TIME * WIDTH];
        memcpy(edited, t.data, sizeof edited);
        sg_glass_free(glass);
        glass = glass_of(m);
        static float x[ROWS * TIME * WIDTH], r[ROWS * TIME * WIDTH];
        t = run(glass, "blocks.0.hook_resid_post");
        memcpy(x, t.data, sizeof x);
        t = run(glass, name);
        memcpy(r, t.data, sizeof r);
        for (int i = 0; i < ROWS * TIME; i++) {
            double mean = 0, square = 0;
            for (int k = 0; k < WIDTH; k++)
                mean += (double)x[i * WIDTH + k] / WIDTH;
            for (int k = 0; k < WIDTH; k++)
                square += ((double)x[i * WIDTH + k] - mean) * ((double)x[i * WIDTH + k] - mean);
            const double deviation = sqrt(square / (WIDTH - 1));
            for (int k = 0; k < WIDTH; k++)
                CHECK_NEAR(edited[i * WIDTH + k], (double)x[i * WIDTH + k] + 0.5 * (double)r[i * WIDTH + k] * deviation,
                           NEAR, NEAR);
        }
        sg_glass_free(glass);
        sg_model_close(m);
    }
}

static void with_the_error_kept_gradients_reach_features_and_stay_the_models(void **state)
{
    static double of_x[2][ROWS * TIME * WIDTH];
    char name[160];
    (void)state;
    for (int with = 0; with < 2; with++) {
        sg_model *m = open_as("llama", SG_F64);
        if (with)
            add_sae(m, "sae-log-threshold", SG_SAE_KEEP);
        sg_glass *glass = glass_of(m);
        sg_graph *g = sg_glass_graph(glass);
        sg_value *loss = sg_graph_find(g, "loss"), *x = sg_graph_find(g, "blocks.1.hook_resid_post"), *fetches[2];
        fetches[0] = sg_grad(g, loss, x);
        fetches[1] = with ? sg_grad(g, loss, sg_graph_find(g, value_of(m, "hook_sae_acts_post", name))) : fetches[0];
        CHECK_OK(sg_graph_status(g, &err), &err);
        sg_tensor t[2];
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, fetches, t, &err), &err);
        for (int i = 0; i < ROWS * TIME * WIDTH; i++)
            of_x[with][i] = sg_tensor_get(&t[0], i);
        double size = 0;
        for (sg_dim i = 0; with && i < sg_tensor_count(&t[1]); i++)
            size += fabs(sg_tensor_get(&t[1], i));
        CHECK(!with || size > 1e-2);
        sg_glass_free(glass);
        sg_model_close(m);
    }
    for (int i = 0; i < ROWS * TIME * WIDTH; i++)
        CHECK_NEAR(of_x[1][i], of_x[0][i], 1e-12, 1e-9);
}

static void a_look_costs_nothing_that_is_not_asked_for(void **state)
{
    (void)state;
    sg_model *m = open_as("llama", SG_F32);
    sg_glass *plain = glass_of(m);
    const sg_plan *p;
    sg_value *logits = sg_graph_find(sg_glass_graph(plain), "logits");
    CHECK_OK(sg_glass_plan(plain, &rows, 0, NULL, 1, &logits, &p, &err), &err);
    const int steps = sg_plan_n_steps(p);
    sg_glass_free(plain);
    add_sae(m, "sae-gated", SG_SAE_LOOK);
    sg_glass *glass = glass_of(m);
    logits = sg_graph_find(sg_glass_graph(glass), "logits");
    CHECK_OK(sg_glass_plan(glass, &rows, 0, NULL, 1, &logits, &p, &err), &err);
    CHECK(sg_plan_n_steps(p) == steps);
    sg_glass_free(glass);
    sg_model_close(m);
}

static void labels_are_read_from_json_and_csv(void **state)
{
    sg_sae *s;
    (void)state;
    CHECK_OK(sg_sae_open(&s, DATA "sae-standard", &err), &err);
    CHECK(strcmp(s->labels[3], "ends of words") == 0 && strcmp(s->labels[7], "na\xc3\xafve things") == 0 &&
          !s->labels[0]);
    sg_sae_close(s);
    CHECK_OK(sg_sae_open(&s, DATA "sae-legacy", &err), &err);
    CHECK(strcmp(s->labels[3], "first, second") == 0 && strcmp(s->labels[5], "fifth") == 0);
    sg_sae_close(s);
    CHECK_OK(sg_sae_open(&s, DATA "sae-gated", &err), &err);
    CHECK(!s->labels);
    sg_sae_close(s);
}

static void a_saved_autoencoder_opens_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(saes); i++) {
        char dir[64] = "/tmp/sg_adapt_XXXXXX", from[1024];
        sg_sae *s, *t;
        CHECK(mkdtemp(dir));
        snprintf(from, sizeof from, DATA "%s", saes[i]);
        CHECK_OK(sg_sae_open(&s, from, &err), &err);
        CHECK_OK(sg_sae_save(s, dir, &err), &err);
        CHECK_OK(sg_sae_open(&t, dir, &err), &err);
        CHECK(t->kind == s->kind && t->k == s->k && t->norm == s->norm && t->apply_b_dec == s->apply_b_dec &&
              t->by_heads == s->by_heads);
        CHECK(strcmp(t->hook, s->hook) == 0 && strcmp(t->model, s->model) == 0 && !t->labels == !s->labels);
        CHECK(!s->labels || (t->labels[3] && strcmp(t->labels[3], s->labels[3]) == 0));
        const sg_tensor *const pairs[][2] = {
            {&s->w_enc, &t->w_enc},         {&s->w_dec, &t->w_dec}, {&s->b_enc, &t->b_enc}, {&s->b_dec, &t->b_dec},
            {&s->threshold, &t->threshold}, {&s->r_mag, &t->r_mag}, {&s->b_mag, &t->b_mag}, {&s->b_gate, &t->b_gate}};
        for (size_t k = 0; k < SG_COUNT_OF(pairs); k++) {
            CHECK(!pairs[k][0]->data == !pairs[k][1]->data);
            CHECK(!pairs[k][0]->data ||
                  memcmp(pairs[k][0]->data, pairs[k][1]->data, sg_tensor_bytes(pairs[k][0])) == 0);
        }
        sg_sae_close(s);
        sg_sae_close(t);
        remove_folder(dir);
    }
    sg_sae *s;
    CHECK_OK(sg_sae_open(&s, DATA "sae-gated", &err), &err);
    s->kind = SG_SAE_JUMPRELU;
    CHECK_STATUS(sg_sae_save(s, "/tmp/never", &err), SG_EARG);
    CHECK_TEXT(err.text, "wants b_enc");
    sg_sae_close(s);
}

static void what_an_autoencoder_wants_and_is_not_done_is_refused_by_name(void **state)
{
#define BASE "\"d_in\":16,\"d_sae\":24,\"hook_name\":\"blocks.1.hook_resid_post\""
    static const struct {
        const char *from, *config;
        sg_status status;
        const char *words;
    } cases[] = {
        {"sae-standard", "{" BASE ",\"architecture\":\"transcoder\"}", SG_EUNSUPPORTED, "transcoder"},
        {"sae-standard", "{" BASE ",\"architecture\":\"batchtopk\"}", SG_EUNSUPPORTED, "saves as jumprelu"},
        {"sae-standard", "{" BASE ",\"hook_name_out\":\"blocks.1.hook_mlp_out\"}", SG_EUNSUPPORTED, "hook_name_out"},
        {"sae-standard", "{" BASE ",\"hook_head_index\":1}", SG_EUNSUPPORTED, "hook_head_index"},
        {"sae-standard", "{" BASE ",\"activation_fn_str\":\"tanh-relu\"}", SG_EUNSUPPORTED, "tanh-relu"},
        {"sae-standard", "{" BASE ",\"normalize_activations\":\"batch\"}", SG_EUNSUPPORTED, "\"batch\""},
        {"sae-standard", "{" BASE ",\"architecture\":\"topk\",\"k\":25}", SG_EFORMAT, "25 of 24"},
        {"sae-standard", "{" BASE ",\"architecture\":\"jumprelu\"}", SG_ENOTFOUND, "threshold"},
        {"sae-gated", "{" BASE "}", SG_ENOTFOUND, "b_enc"},
        {"sae-jumprelu", "{\"d_in\":16,\"d_sae\":25,\"hook_name\":\"x\"}", SG_EFORMAT,
         "W_enc is [16,24], the configuration says [16,25]"},
        {"sae-standard", "{\"d_in\":16,\"d_sae\":1e18,\"hook_name\":\"x\"}", SG_EFORMAT, "d_sae"},
        {"sae-standard", "{\"d_in\":16,\"d_sae\":24}", SG_EFORMAT, "hook_name is missing"},
    };
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        char dir[64];
        sg_sae *s = NULL;
        write_folder(dir, cases[i].from, cases[i].config);
        CHECK_STATUS(sg_sae_open(&s, dir, &err), cases[i].status);
        CHECK_TEXT(err.text, cases[i].words);
        remove_folder(dir);
    }
}

static void an_autoencoder_that_does_not_fit_the_model_says_what_does(void **state)
{
    char dir[64];
    (void)state;
    sg_model *m = open_as("llama", SG_F32);
    write_folder(dir, "sae-standard", "{\"d_in\":16,\"d_sae\":24,\"hook_name\":\"blocks.1.hook_resid_pst\"}");
    CHECK_STATUS(sg_model_add_sae(m, dir, SG_SAE_LOOK, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "blocks.1.hook_resid_post");
    remove_folder(dir);
    write_folder(dir, "sae-standard", "{\"d_in\":16,\"d_sae\":24,\"hook_name\":\"blocks.1.mlp.hook_post\"}");
    CHECK_STATUS(sg_model_add_sae(m, dir, SG_SAE_LOOK, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "reads 16 numbers, blocks.1.mlp.hook_post is f32 [batch,time,24]");
    remove_folder(dir);
    CHECK(sg_model_n_saes(m) == 0);
    add_sae(m, "sae-standard", SG_SAE_REPLACE);
    CHECK_STATUS(sg_model_add_sae(m, DATA "sae-topk", SG_SAE_LOOK, &err), SG_EARG);
    CHECK_TEXT(err.text, "already");
    sg_edit e = sg_edit_defaults();
    char name[160];
    e.site = value_of(m, "hook_sae_error", name);
    e.op = SG_EDIT_ABLATE;
    sg_glass *glass = glass_of(m);
    CHECK_STATUS(sg_glass_edit(glass, 1, &e, &err), SG_EARG);
    CHECK_TEXT(err.text, "change nothing");
    sg_glass_free(glass);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_lora_gives_pytorchs_logits_at_each_strength),
        cmocka_unit_test(a_lora_in_f64_agrees_to_what_the_files_hold),
        cmocka_unit_test(strengths_differ_by_row_without_a_new_plan_and_zero_is_the_base),
        cmocka_unit_test(a_strength_may_be_fed_as_any_value),
        cmocka_unit_test(a_strength_is_edited_by_row_and_position),
        cmocka_unit_test(two_loras_add_up_and_a_second_use_of_the_first_doubles_it),
        cmocka_unit_test(merging_gives_the_numbers_of_applying_for_each_kind),
        cmocka_unit_test(what_a_lora_adds_is_read_and_edited_by_its_name),
        cmocka_unit_test(gradients_flow_through_a_lora),
        cmocka_unit_test(with_a_cache_a_lora_gives_the_same),
        cmocka_unit_test(the_hash_tells_adapters_apart),
        cmocka_unit_test(what_a_lora_wants_and_is_not_done_is_refused_by_name),
        cmocka_unit_test(a_lora_of_another_model_names_tensor_and_both_shapes),
        cmocka_unit_test(every_family_takes_a_lora_at_every_matrix),
        cmocka_unit_test(an_encoder_takes_a_lora),
        cmocka_unit_test(the_base_may_be_quantised),
        cmocka_unit_test(truncated_files_are_refused_at_every_length),
        cmocka_unit_test(each_kind_of_autoencoder_gives_pytorchs_values_and_leaves_the_model_alone),
        cmocka_unit_test(a_reconstruction_takes_the_values_place),
        cmocka_unit_test(a_feature_is_ablated_with_the_error_kept),
        cmocka_unit_test(edits_of_features_in_a_batch_are_as_alone),
        cmocka_unit_test(edits_of_reconstruction_and_error_reach_the_model),
        cmocka_unit_test(with_the_error_kept_gradients_reach_features_and_stay_the_models),
        cmocka_unit_test(a_look_costs_nothing_that_is_not_asked_for),
        cmocka_unit_test(labels_are_read_from_json_and_csv),
        cmocka_unit_test(a_saved_autoencoder_opens_as_it_was),
        cmocka_unit_test(what_an_autoencoder_wants_and_is_not_done_is_refused_by_name),
        cmocka_unit_test(an_autoencoder_that_does_not_fit_the_model_says_what_does),
    };
    return cmocka_run_group_tests(tests, read_tokens, NULL);
}
