/* GGUF files that an independent script wrote (test/make_models/gguf.py): models of each family against their reference
 * values, blocks of each packed type against another decoder's numbers, a packed model against another forward pass. */
#include <dirent.h>
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/convert.h"
#include "sightglass/gguf.h"
#include "sightglass/model.h"

#define DATA SG_SOURCE_DIR "/test/data/"

static const struct {
    const char *name;
    const char *from,
        *to; /* in config.json, what GGUF cannot say is replaced: the reference values are not of that model */
} families[] = {
    {"gemma", NULL, NULL},
    {"gemma2", NULL, NULL},
    {"gpt2", "\"scale_attn_by_inverse_layer_idx\": true", "\"scale_attn_by_inverse_layer_idx\": false"},
    {"gpt_neox", NULL, NULL},
    {"gpt_neox_serial", NULL, NULL},
    {"llama", NULL, NULL},
    {"llama3", NULL, NULL},
    {"llama_yarn", NULL, NULL},
    {"mistral", NULL, NULL},
    {"olmo", NULL, NULL},
    {"olmo2", NULL, NULL},
    {"phi3", NULL, NULL},
    {"qwen2", "\"use_sliding_window\": true", "\"use_sliding_window\": false"},
    {"qwen3", NULL, NULL},
};

static char folder[256];

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-gguf-families-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

static const char *in_folder(char buf[600], const char *name)
{
    snprintf(buf, 600, "%s/%s", folder, name);
    return buf;
}

/* The family's folder with a changed config beside links to its weights. */
static const char *changed(char buf[600], size_t i)
{
    char path[1400], link[1400], config[4096];
    snprintf(buf, 600, "%s/%s", folder, families[i].name);
    mkdir(buf, 0777);
    snprintf(path, sizeof path, DATA "families/%s", families[i].name);
    DIR *d = opendir(path);
    CHECK(d != NULL);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, "model", 5) == 0) {
            snprintf(path, sizeof path, DATA "families/%s/%s", families[i].name, e->d_name);
            snprintf(link, sizeof link, "%s/%s", buf, e->d_name);
            CHECK(symlink(path, link) == 0 || access(link, R_OK) == 0);
        }
    closedir(d);
    snprintf(path, sizeof path, DATA "families/%s/config.json", families[i].name);
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    const size_t n = fread(config, 1, sizeof config - 1, f);
    fclose(f);
    config[n] = 0;
    const char *at = families[i].from ? strstr(config, families[i].from) : NULL;
    CHECK(!families[i].from || at);
    snprintf(path, sizeof path, "%s/config.json", buf);
    f = fopen(path, "wb");
    CHECK(f != NULL);
    if (at)
        fprintf(f, "%.*s%s%s", (int)(at - config), config, families[i].to, at + strlen(families[i].from));
    else
        fputs(config, f);
    CHECK(fclose(f) == 0);
    return buf;
}

typedef struct run {
    sg_model *m;
    sg_glass *glass;
    sg_tensor logits;
} run;

static run run_of(const char *path, const int32_t *tokens, sg_dim n, sg_dtype dtype)
{
    const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
    sg_model_opts opts = sg_model_defaults();
    sg_error err;
    sg_value *logits;
    run r;
    opts.dtype = dtype;
    CHECK_OK(sg_model_open(&r.m, path, opts, &err), &err);
    CHECK_OK(sg_glass_new(&r.glass, r.m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(r.glass, "logits", &logits, &err), &err);
    CHECK_OK(sg_glass_run(r.glass, &rows, 0, NULL, 1, &logits, &r.logits, &err), &err);
    return r;
}

static void end(run *r)
{
    sg_glass_free(r->glass);
    sg_model_close(r->m);
}

static void check_alike(const char *name, const sg_tensor *got, const sg_tensor *want, double tol)
{
    CHECK(sg_tensor_count(got) == sg_tensor_count(want));
    for (sg_dim i = 0; i < sg_tensor_count(want); i++) {
        const double g = sg_tensor_get(got, i), w = sg_tensor_get(want, i);
        if (!(fabs(g - w) <= tol + tol * fabs(w)))
            print_error("%s: logit %lld: ", name, (long long)i);
        CHECK_NEAR(g, w, tol, tol);
    }
}

/* In f64, so that what is off is a mistake and no rounding: only metadata are f32, which the angles feel. */
static void every_family_gives_its_reference_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++) {
        char path[1024], buf[600];
        sg_error err;
        sg_safetensors *golden;
        snprintf(path, sizeof path, DATA "families/%s/golden.safetensors", families[i].name);
        CHECK_OK(sg_safetensors_open(&golden, path, &err), &err);
        const sg_tensor *tokens = sg_safetensors_find(golden, "tokens");
        snprintf(path, sizeof path, DATA "gguf/%s.gguf", families[i].name);
        run a = run_of(path, tokens->data, tokens->dims[0], SG_F64);
        if (sg_model_warning(a.m, 0))
            print_error("%s: %s\n", families[i].name, sg_model_warning(a.m, 0));
        CHECK(!sg_model_warning(a.m, 0));
        if (families[i].from) {
            run b = run_of(changed(buf, i), tokens->data, tokens->dims[0], SG_F64);
            check_alike(families[i].name, &a.logits, &b.logits, 5e-6);
            end(&b);
        } else {
            check_alike(families[i].name, &a.logits, sg_safetensors_find(golden, "logits"), 5e-6);
        }
        end(&a);
        sg_safetensors_close(golden);
    }
}

/* Folder -> GGUF -> folder, and what the script wrote beside what is written here: the same weights in the same places.
 */
static void conversions_keep_everything(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++) {
        char from[600], file[700], back[700], own[1024];
        sg_error err;
        sg_conversion *c;
        sg_convert_opts opts = sg_convert_defaults();
        static const int32_t tokens[5] = {7, 0, 21, 42, 5};
        changed(from, i);
        snprintf(file, sizeof file, "%s.gguf", from);
        snprintf(back, sizeof back, "%s-back", from);
        CHECK_OK(sg_convert_model(&c, from, file, &opts, &err), &err);
        CHECK(sg_conversion_error(c) == 0);
        sg_conversion_free(c);
        CHECK_OK(sg_convert_model(&c, file, back, &opts, &err), &err);
        CHECK(sg_conversion_error(c) == 0);
        sg_conversion_free(c);
        run a = run_of(from, tokens, 5, SG_F64), b = run_of(file, tokens, 5, SG_F64),
            d = run_of(back, tokens, 5, SG_F64);
        check_alike(families[i].name, &b.logits, &a.logits, 5e-6);
        check_alike(families[i].name, &d.logits, &a.logits, 5e-6);
        end(&a);
        end(&b);
        end(&d);

        sg_gguf *x, *y;
        snprintf(own, sizeof own, DATA "gguf/%s.gguf", families[i].name);
        CHECK_OK(sg_gguf_open(&x, file, &err), &err);
        CHECK_OK(sg_gguf_open(&y, own, &err), &err);
        CHECK(sg_gguf_count(x) == sg_gguf_count(y));
        for (int k = 0; k < sg_gguf_count(y); k++) {
            const sg_tensor *want = sg_gguf_at(y, k), *got;
            CHECK_OK(sg_gguf_get(&got, x, sg_gguf_name(y, k), &err), &err);
            CHECK(got->n_dims == want->n_dims && memcmp(got->dims, want->dims, sizeof got->dims) == 0);
            for (sg_dim n = 0; n < sg_tensor_count(want); n++)
                CHECK_NEAR(sg_tensor_get(got, n), sg_tensor_get(want, n), 1e-6,
                           strncmp(sg_gguf_name(y, k), "rope", 4) ? 0 : 1e-6);
        }
        sg_gguf_close(x);
        sg_gguf_close(y);
    }
}

static void what_gguf_cannot_say_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *words;
    } cases[] = {{"gpt2", "scale of the scores"},
                 {"qwen2", "which layers of a qwen2 are windowed"},
                 {"gptj", "there are names for"}};
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        char from[1024], to[600];
        sg_error err;
        sg_conversion *c;
        sg_convert_opts opts = sg_convert_defaults();
        snprintf(from, sizeof from, DATA "families/%s", cases[i].name);
        in_folder(to, "refused.gguf");
        CHECK_STATUS(sg_convert_model(&c, from, to, &opts, &err), SG_EUNSUPPORTED);
        CHECK_TEXT(err.text, cases[i].words);
        CHECK(access(to, F_OK) != 0);
    }
}

static void packed_blocks_are_the_numbers_of_another_decoder(void **state)
{
    (void)state;
    sg_error err;
    sg_gguf *g;
    sg_safetensors *st;
    CHECK_OK(sg_gguf_open(&g, DATA "gguf/types.gguf", &err), &err);
    CHECK_OK(sg_safetensors_open(&st, DATA "gguf/types.safetensors", &err), &err);
    CHECK(sg_gguf_count(g) == 9 && sg_safetensors_count(st) == 9);
    for (int t = SG_Q8_0; t < SG_N_DTYPES; t++) {
        const sg_tensor *got, *want;
        float numbers[512];
        CHECK_OK(sg_gguf_get(&got, g, sg_dtype_name((sg_dtype)t), &err), &err);
        CHECK_OK(sg_safetensors_get(&want, st, sg_dtype_name((sg_dtype)t), &err), &err);
        CHECK(got->dtype == (sg_dtype)t && got->dims[0] == 1 && got->dims[1] == 512);
        sg_convert(numbers, SG_F32, got->data, got->dtype, 512);
        CHECK(memcmp(numbers, want->data, sizeof numbers) == 0);
    }
    sg_gguf_close(g);
    sg_safetensors_close(st);
}

static void a_packed_model_gives_the_logits_of_another_program(void **state)
{
    (void)state;
    sg_error err;
    sg_safetensors *st;
    CHECK_OK(sg_safetensors_open(&st, DATA "gguf/packed.safetensors", &err), &err);
    const sg_tensor *tokens = sg_safetensors_find(st, "tokens"), *want = sg_safetensors_find(st, "logits");
    run a = run_of(DATA "gguf/packed.gguf", tokens->data, tokens->dims[0], SG_F64);
    check_alike("f64", &a.logits, want, 1e-7);
    run b = run_of(DATA "gguf/packed.gguf", tokens->data, tokens->dims[0], SG_F32);
    check_alike("f32", &b.logits, want, 2e-2); /* products over packed weights may pack what they are multiplied with */
    end(&a);
    end(&b);
    sg_safetensors_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_gives_its_reference_values),
        cmocka_unit_test(conversions_keep_everything),
        cmocka_unit_test(what_gguf_cannot_say_is_refused),
        cmocka_unit_test(packed_blocks_are_the_numbers_of_another_decoder),
        cmocka_unit_test(a_packed_model_gives_the_logits_of_another_program),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
